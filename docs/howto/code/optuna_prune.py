"""Search parameters with Optuna, which ends the runs that fall behind."""

import optuna
from sklearn.base import clone
from sklearn.datasets import load_digits

from skdistill import RaTBPTTDistiller


class Prune:
    """End a run when Optuna's pruner finds its validation accuracy too low at this step."""

    def __init__(self, trial):
        self.trial, self.pruned = trial, False

    def setup(self, estimator, context):
        """Do nothing."""

    def on_fit_task_begin(self, estimator, context):
        """Do nothing."""

    def on_fit_task_end(self, estimator, context, *, fitted_estimator=None):
        """Report an outer step that was validated; return whether it is to be the last."""
        if context.task_name != "outer step":
            return False
        accuracy = fitted_estimator.history_["validation_accuracy"][-1]
        if accuracy is not None:
            self.trial.report(accuracy, step=fitted_estimator.n_iter_)
            self.pruned = self.trial.should_prune()
        return self.pruned

    def teardown(self, estimator, context):
        """Do nothing."""


def objective(trial, distiller, X, y):
    """Return the best validation accuracy of a run with the parameters that a trial suggests."""
    distiller = clone(distiller).set_params(
        learning_rate=trial.suggest_float("learning_rate", 1e-4, 0.1, log=True),
        window=trial.suggest_int("window", 5, 20, step=5),
    )
    prune = Prune(trial)
    distiller.set_callbacks(prune).fit(X, y)
    if prune.pruned:
        raise optuna.TrialPruned
    validated = distiller.history_["validation_accuracy"]
    return max(accuracy for accuracy in validated if accuracy is not None)


if __name__ == "__main__":
    X, y = load_digits(return_X_y=True)
    distiller = RaTBPTTDistiller(
        image_shape=(1, 8, 8),
        unroll=40,
        max_iter=100,
        validation_fraction=0.2,
        validation_interval=10,
        random_state=0,
    )
    pruner = optuna.pruners.MedianPruner(n_startup_trials=4)
    study = optuna.create_study(direction="maximize", pruner=pruner)
    study.optimize(lambda trial: objective(trial, distiller, X, y), n_trials=20)
    print(study.best_params, study.best_value)
