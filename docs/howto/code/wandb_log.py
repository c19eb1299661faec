"""Log every outer step of a run to Weights & Biases."""

import wandb


class WandbLog:
    """Each fit is a run of Weights & Biases; the settings are those of ``wandb.init``."""

    def __init__(self, **settings):
        # By fit: a search may make several at once, in threads, with one callback.
        self.settings, self.runs, self.finished = settings, {}, set()

    def setup(self, estimator, context):
        """Begin a run, with the distiller's parameters as its configuration."""
        parameters = estimator.get_params()
        run = wandb.init(config=parameters, reinit="create_new", **self.settings)
        self.runs[context.root_uuid] = run

    def on_fit_task_begin(self, estimator, context):
        """Do nothing."""

    def on_fit_task_end(self, estimator, context, *, fitted_estimator=None):
        """Log what the history has of this outer step."""
        if context.task_name != "outer step":
            # The end of the fit itself, which one that fails does not reach.
            self.finished.add(context.root_uuid)
            return
        last = {name: values[-1] for name, values in fitted_estimator.history_.items()}
        known = {name: value for name, value in last.items() if value is not None}
        self.runs[context.root_uuid].log(known, step=fitted_estimator.n_iter_)

    def teardown(self, estimator, context):
        """End the run, however the fit ended."""
        run = self.runs.pop(context.root_uuid, None)
        if run is not None:
            run.finish(exit_code=int(context.root_uuid not in self.finished))
        self.finished.discard(context.root_uuid)
