"""When a run is saved, by whom, and which run a fit continues."""

import os
from collections.abc import Callable, Collection, Mapping
from contextlib import contextmanager, nullcontext
from numbers import Integral
from pathlib import Path
from time import perf_counter
from types import MappingProxyType

from .._data.warn import warn
from .._data.wording import reason
from .._files.formats import VALIDATION
from .._files.lock import InUseError, NoLocksError, WriteLock
from ..exceptions import CheckpointWarning
from .agreement import agreed, completed, further_run
from .interruption import signals_interrupt
from .run_file import RunFile
from .state import Run

__all__ = ["Checkpoint", "NoCheckpoint"]


class Checkpoint:
    """The file in which a run survives its process.

    From `resume` to `release` no other run may write there.

    Parameters
    ----------
    path : path
        As in `RunFile`.
    every : int or float
        When `save_if_due` saves: after so many outer steps (int) or seconds (float).
    identity : dict
        Values that must be the same when a run is resumed (JSON-safe).
    open_names : collection of str, default=()
        Names in `identity` that the user left open ("auto"): a resumed run keeps its values, so
        that it is not refused because another version has other defaults.
    defaults : dict of str to dict, default={}
        The output of `describe_defaults`: the values of a run of an older version for parameters
        that came later.
    data_before : callable
        Returns what an older version says of the data in `identity`, or None if that is nothing
        else. By default, nothing else.

    Raises
    ------
    ValueError
        If nothing can be written there.
    """

    def __init__(
        self,
        path: str | os.PathLike,
        every: int | float,
        identity: dict,
        open_names: Collection[str] = (),
        defaults: Mapping[str, Mapping] = MappingProxyType({}),
        data_before: Callable[[], dict | None] = lambda: None,
    ):
        self._file = RunFile(path)
        self._every = every
        self._identity = identity
        self._open_names = open_names
        self._defaults = defaults
        self._data_before = data_before
        self._saved_step = 0
        # The last attempt, which may have failed: the next one is not due before it would be.
        self._tried_step, self._tried_at = 0, perf_counter()
        self._lock = WriteLock(self._file.path)

    def __repr__(self) -> str:
        return repr(self._file)

    def resume(
        self,
        earlier: Run | None,
        random_state,
        max_iter: int,
        is_complete: Callable[[Run], bool] = lambda run: False,
    ) -> Run | None:
        """Return the run to continue: the saved one, or ``earlier`` if that has done more steps.

        If the run will be written, nobody else may write it until `release`. A saved run that is
        complete is only read, wherever it is.

        Raises
        ------
        ValueError
            If the saved run is a different one, or has gone beyond ``max_iter``; if another fit
            writes to the file, or if nothing can be written there.
        """
        run = self._choose(earlier, random_state, max_iter)
        if run is not None and self._is_saved(run) and is_complete(run):
            return run
        self._take_lock()
        if self._file.has_changed():
            # Whoever had the lock until now has written.
            run = self._choose(earlier, random_state, max_iter)
        self._file.check_writable()
        return run

    def _is_saved(self, run: Run | None) -> bool:
        return run is not None and run.step == self._saved_step

    def _take_lock(self) -> None:
        try:
            self._lock.acquire()
        except InUseError as error:
            raise ValueError(
                f"{self!r} is in use by {error}: wait until that fit has ended, or give another "
                "path to begin a new run."
            ) from None
        except NoLocksError as error:
            warn(
                f"{self!r} is on a file system without locks ({error}): see to it that no other "
                "fit uses it at the same time.",
                CheckpointWarning,
            )
        except OSError as error:
            raise self._file.unwritable(error) from error

    def release(self) -> None:
        """Let others write to the file."""
        self._lock.release()

    def _choose(self, earlier: Run | None, random_state, max_iter: int) -> Run | None:
        """Return the saved run, or ``earlier`` if that has done more steps."""
        return further_run(self.load(), earlier, random_state, max_iter, repr(self))

    def load(self) -> Run | None:
        """Return the run in the file, at rest; None if there is no file.

        Raises
        ------
        InvalidFileError
            If neither the file nor the one before it can be loaded, or if a newer version wrote
            the file.
        ValueError
            If it is a different run.
        """
        run = self._file.load(self._complete, self._agree)
        if run is not None:
            self._saved_step = self._tried_step = run.step
        return run

    def _complete(self, saved: dict) -> dict:
        return completed(saved, self._identity, self._defaults, self._data_before)

    def _agree(self, path: Path, saved: dict) -> None:
        self._identity = agreed(path, saved, self._identity, self._open_names)

    @property
    def open_values(self) -> dict:
        """The values of parameters that were left open: those of the run in the file, if any."""
        return {name: self._identity[name] for name in self._open_names}

    @property
    def validates_as_before(self) -> bool:
        """Whether the run in the file is of a version that validated in another way."""
        return self._identity.get(VALIDATION, True) is None

    def validate_as_before(self) -> None:
        """Say in the file that its run, an earlier fit's, is of a version that validated so."""
        # Anew, because processes compare the one that was given.
        self._identity = {**self._identity, VALIDATION: None}

    @contextmanager
    def saving(self, run: Run):
        """Save a run, however the block ends; SIGTERM and SIGHUP end it like Ctrl-C."""
        with signals_interrupt():
            try:
                try:
                    yield
                finally:
                    self.save(run)
            except BaseException as error:
                # Once more if Ctrl-C came while it was written; nothing if it has been.
                self.save(run)
                if self._saved_step > 0:
                    error.add_note(
                        f"The run is kept up to outer step {self._saved_step} in {self!r}: fit "
                        "with the same parameters and data goes on from there."
                    )
                raise

    def save_if_due(self, run: Run) -> None:
        """Save a run if it was last saved long enough ago."""
        if isinstance(self._every, Integral):
            due = run.step - self._tried_step >= self._every
        else:
            due = perf_counter() - self._tried_at >= self._every
        if due:
            self.save(run)

    def save(self, run: Run) -> None:
        """Save a run, unless this step has been saved; warn if that fails."""
        if run.step == self._saved_step:
            return
        try:
            self._file.write(run, self._identity)
        except Exception as error:
            # Of any kind: it must neither end a run nor hide the error that has ended one.
            # The same words each time, so that Python shows them only once.
            warn(
                f"{self!r} could not be written: {reason(error)}. The run continues "
                "without; the last saved state is still there.",
                CheckpointWarning,
            )
        else:
            self._saved_step = run.step
        self._tried_step, self._tried_at = run.step, perf_counter()


class NoCheckpoint:
    """Replaces a `Checkpoint` if a run has none."""

    open_values: Mapping = MappingProxyType({})
    validates_as_before = False

    def validate_as_before(self) -> None:
        """Do nothing."""

    def resume(self, earlier: Run | None, random_state, max_iter: int, is_complete) -> Run | None:
        """Return the run of the previous fit, if any."""
        return earlier

    def release(self) -> None:
        """Do nothing."""

    def saving(self, run: Run):
        """Do nothing."""
        return nullcontext()

    def save_if_due(self, run: Run) -> None:
        """Do nothing."""
