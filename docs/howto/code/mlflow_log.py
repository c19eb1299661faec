"""Log every outer step of a run to MLflow."""

import mlflow


class MlflowLog:
    """Each fit is a run of MLflow; the settings are those of ``mlflow.start_run``."""

    def __init__(self, **settings):
        # By fit: a search may make several at once, in threads, with one callback.
        self.settings, self.run_ids, self.finished = settings, {}, set()

    def setup(self, estimator, context):
        """Begin a run, inside the one that is active if there is one."""
        nested = mlflow.active_run() is not None
        run = mlflow.start_run(nested=nested, **self.settings)
        self.run_ids[context.root_uuid] = run.info.run_id
        mlflow.log_params(estimator.get_params())

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
        run_id = self.run_ids[context.root_uuid]
        mlflow.log_metrics(known, step=fitted_estimator.n_iter_, run_id=run_id)

    def teardown(self, estimator, context):
        """End the run, however the fit ended."""
        if self.run_ids.pop(context.root_uuid, None) is not None:
            # MLflow keeps the active runs of each thread.
            mlflow.end_run("FINISHED" if context.root_uuid in self.finished else "FAILED")
        self.finished.discard(context.root_uuid)
