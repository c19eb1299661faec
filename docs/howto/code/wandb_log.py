"""Log every outer step of a run to Weights & Biases."""

import wandb


class WandbLog:
    """Each fit is a run of Weights & Biases; the settings are those of ``wandb.init``."""

    def __init__(self, **settings):
        self.settings, self.run = settings, None

    def setup(self, estimator, context):
        """Begin a run, with the distiller's parameters as its configuration."""
        parameters = estimator.get_params()
        self.run = wandb.init(config=parameters, reinit="create_new", **self.settings)
        self.failed = True

    def on_fit_task_begin(self, estimator, context):
        """Do nothing."""

    def on_fit_task_end(self, estimator, context, *, fitted_estimator=None):
        """Log what the history has of this outer step."""
        if context.task_name != "outer step":
            # The end of the fit itself, which one that fails does not reach.
            self.failed = False
            return
        last = {name: values[-1] for name, values in fitted_estimator.history_.items()}
        known = {name: value for name, value in last.items() if value is not None}
        self.run.log(known, step=fitted_estimator.n_iter_)

    def teardown(self, estimator, context):
        """End the run, however the fit ended."""
        if self.run is not None:
            self.run.finish(exit_code=int(self.failed))
            self.run = None
