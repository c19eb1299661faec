"""Log every outer step of a run to MLflow."""

import mlflow


class MlflowLog:
    """Each fit is a run of MLflow; the settings are those of ``mlflow.start_run``."""

    def __init__(self, **settings):
        self.settings, self.run_id = settings, None

    def setup(self, estimator, context):
        """Begin a run, inside the one that is active if there is one."""
        nested = mlflow.active_run() is not None
        self.run_id = mlflow.start_run(nested=nested, **self.settings).info.run_id
        self.status = "FAILED"
        mlflow.log_params(estimator.get_params())

    def on_fit_task_begin(self, estimator, context):
        """Do nothing."""

    def on_fit_task_end(self, estimator, context, *, fitted_estimator=None):
        """Log what the history has of this outer step."""
        if context.task_name != "outer step":
            # The end of the fit itself, which one that fails does not reach.
            self.status = "FINISHED"
            return
        last = {name: values[-1] for name, values in fitted_estimator.history_.items()}
        known = {name: value for name, value in last.items() if value is not None}
        mlflow.log_metrics(known, step=fitted_estimator.n_iter_, run_id=self.run_id)

    def teardown(self, estimator, context):
        """End the run, however the fit ended."""
        if self.run_id is not None:
            mlflow.end_run(self.status)
            self.run_id = None
