"""Callbacks that watch a run: scikit-learn's protocol, for `set_callbacks`."""

import os
from pathlib import Path
from typing import Any

__all__ = ["TensorBoard"]


class TensorBoard:
    """Write the history of a run to files that TensorBoard shows, while the run goes on.

    Each run has a folder of its own, with a scalar for each value of ``history_``: loss, norm of
    the meta-gradient, level at which it is clipped, window position, seconds, and so on. A run that
    resumes from a checkpoint has a new folder, too; its curves begin at the step after the last one
    of the checkpoint. Set on a meta-estimator (`BoostedDistiller`, a grid search that supports
    callbacks), it watches all distillers inside, each in its own folder.

    Parameters
    ----------
    log_dir : path, default="runs"
        Folder of all runs; ``tensorboard --logdir runs`` shows it.

    Raises
    ------
    ImportError
        When it is made, if the package tensorboard is not installed
        (``pip install tensorboard``).
    OSError
        In ``fit``, before any work, if `log_dir` can be no folder.

    Examples
    --------
    >>> from skdistill import RaTBPTTDistiller
    >>> from skdistill.monitoring import TensorBoard
    >>> distiller = RaTBPTTDistiller().set_callbacks(TensorBoard("runs"))
    """

    # In scikit-learn's protocol: distillers at any depth inside others are watched.
    max_propagation_depth = None

    def __init__(self, log_dir: str | os.PathLike[str] = "runs"):
        # Here, as scikit-learn's ProgressBar does it.
        _summary_writer()
        self.log_dir = log_dir
        self._writers: dict[Any, Any] = {}

    def __getstate__(self) -> dict[str, Any]:
        # Open files belong to their process: another process opens its own.
        return {"log_dir": self.log_dir, "_writers": {}}

    def setup(self, estimator: Any, context: Any) -> None:
        """Refuse what would fail in the first step, in which a run's files are opened."""
        # A copy in another process was not made there, and may lack the package.
        _summary_writer()
        Path(self.log_dir).mkdir(parents=True, exist_ok=True)

    def on_fit_task_begin(self, estimator: Any, context: Any) -> None:
        """Do nothing."""

    def on_fit_task_end(self, estimator: Any, context: Any) -> None:
        """Write an outer step; close the files after the last."""
        if context.task_name != "outer step":
            self._close(context)
            return
        run = getattr(estimator, "_current_run", None)
        if run is None:
            # An outer step of another estimator.
            return
        writer = self._writer(context.parent)
        for name, value in run.last.items():
            if value is not None:
                writer.add_scalar(name, value, run.step)

    def teardown(self, estimator: Any, context: Any) -> None:
        """Close what an error or an interruption left open."""
        for fit in [fit for fit in self._writers if fit.root_uuid == context.root_uuid]:
            self._close(fit)

    def _writer(self, fit: Any) -> Any:
        """Return the writer for the run of this task."""
        if fit not in self._writers:
            folder = os.fspath(Path(self.log_dir, *_folders(fit)))
            self._writers[fit] = _summary_writer()(folder)
        return self._writers[fit]

    def _close(self, fit: Any) -> None:
        if fit in self._writers:
            self._writers.pop(fit).close()


def _summary_writer() -> Any:
    """Return the class of TensorBoard's writers, or raise an ImportError that says the way out."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise ImportError(
            "TensorBoard needs the package tensorboard: pip install tensorboard."
        ) from error
    return SummaryWriter


def _folders(fit: Any) -> list[str]:
    """Return the folders of a run: its start time, its estimator, and the path of its parts."""
    path = [fit]
    while path[0].parent is not None:
        path.insert(0, path[0].parent)
    began = f"{path[0].init_time:%Y-%m-%d_%H-%M-%S}_{path[0].estimator_name}"
    # The same second is enough for two short runs.
    parts = [f"{task.source_task_name or task.task_name}-{task.task_id}" for task in path[1:]]
    return [f"{began}_{path[0].root_uuid.hex[:6]}", *parts]
