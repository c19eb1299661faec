"""The file in which a run survives its process, and the one before it."""

import os
import shutil
from collections.abc import Callable, Collection, Mapping
from contextlib import contextmanager, nullcontext
from numbers import Integral
from pathlib import Path
from time import perf_counter
from types import MappingProxyType

from .._data.seeds import draw_seed
from .._data.warn import warn
from .._files import npz as _npz
from .._files.lock import InUseError, NoLocksError, WriteLock
from ..exceptions import CheckpointWarning, InvalidFileError
from .check import check_values
from .identity import complete, differences
from .interruption import sigterm_interrupts
from .state import Run

__all__ = ["Checkpoint", "NoCheckpoint"]

_FORMAT, _VERSION = "skdistill.Run", 1


class Checkpoint:
    """The file of a run.

    A run is written under another name, flushed to the disk and renamed. The previous file is kept
    as ``<path>.previous``, and there is a whole file at ``path`` at every moment. From `resume` to
    `release` no other run may write there.

    Parameters
    ----------
    path : path
        Used as it is: no suffix is added. ``~`` is expanded, and a link is followed: the other
        files are beside its target, partial ones in a hidden folder.
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
    ):
        # Once and for all, because the program may change its folder during a run.
        self._given = Path(path).expanduser().absolute()
        self.path = self._find_place()
        self.previous = self.path.with_name(f"{self.path.name}.previous")
        # A name nobody else uses: the folder is deleted with its contents.
        self._partial = self.path.with_name(f".{self.path.name}.skdistill-partial")
        self._every = every
        self._identity = identity
        self._open_names = open_names
        self._defaults = defaults
        # Files that this run may replace: the one that it read and those that it wrote.
        self._own: set[tuple] = set()
        # Whether the file at `path` is worth keeping as the previous one.
        self._is_sound = False
        self._saved_step = 0
        self._saved_at = perf_counter()
        self._lock = WriteLock(self.path)

    def __repr__(self) -> str:
        return f"checkpoint={os.fspath(self._given)!r}"

    def _find_place(self) -> Path:
        try:
            place = _npz.place_of(self._given)
            if place.is_dir():
                raise IsADirectoryError("it is a folder.")
        except OSError as error:
            raise self._unwritable(error) from error
        return place

    def _unwritable(self, error: OSError) -> ValueError:
        reason = _reason(error).removesuffix(".")
        return ValueError(f"{self!r} must be a file that can be written: {reason}.")

    def _check_writable(self) -> None:
        try:
            self._make_partial()
            try:
                with open(self._partial / "test", "xb") as file:
                    file.write(bytes(4096))
                    file.flush()
                    os.fsync(file.fileno())
            finally:
                self._remove_partial()
        except OSError as error:
            raise self._unwritable(error) from error

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
        if self._is_saved(run) and is_complete(run):
            return run
        self._take_lock()
        if {_stamp(self.path)} != (self._own or {None}):
            # Whoever had the lock until now has written.
            run = self._choose(earlier, random_state, max_iter)
        self._check_writable()
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
            raise self._unwritable(error) from error

    def release(self) -> None:
        """Let others write to the file."""
        self._lock.release()

    def _choose(self, earlier: Run | None, random_state, max_iter: int) -> Run | None:
        """Return the saved run, or ``earlier`` if that has done more steps."""
        saved = self.load()
        if saved is None:
            return earlier
        if earlier is not None:
            seed = earlier.seed
        else:
            seed = saved.seed if random_state is None else draw_seed(random_state)
        if seed != saved.seed:
            raise ValueError(
                f"random_state={random_state!r} must be what the run in {self!r} was begun with, "
                f"which gave the seed {saved.seed}; got the seed {seed}. (A RandomState gives "
                "another seed each time.) Give another path to begin a new run."
            )
        if max_iter < saved.step:
            raise ValueError(
                f"max_iter={max_iter} must be at least {saved.step}, the outer steps done in the "
                f"run in {self!r}. Give another path to begin a new run."
            )
        return earlier if earlier is not None and earlier.step > saved.step else saved

    def load(self) -> Run | None:
        """Return the run in the file, at rest; None if there is no file.

        If the file is damaged, the one before it is used, with a warning.

        Raises
        ------
        InvalidFileError
            If neither can be loaded, or if a newer version wrote the file.
        ValueError
            If it is a different run.
        """
        self._own, self._is_sound = set(), False
        try:
            stamp, run = self._read(self.path)
        except FileNotFoundError:
            return None
        except InvalidFileError as error:
            if isinstance(error.__cause__, _npz.NewerVersionError):
                # It is no damage: going on from the file before would write over a longer run.
                raise
            stamp, run = _stamp(self.path), self._load_previous(error)
        else:
            self._is_sound = True
        self._own = {stamp}
        self._saved_step = run.step
        return run

    def _load_previous(self, error: InvalidFileError) -> Run:
        way_out = "Remove them, or give another path, to begin anew."
        try:
            _, run = self._read(self.previous)
        except FileNotFoundError:
            raise InvalidFileError(
                f"{error} There is no {self.previous} to go on from. {way_out}"
            ) from error
        except InvalidFileError as second:
            raise InvalidFileError(f"{error} {second} {way_out}") from second
        warn(
            f"{error} The run goes on from {self.previous}, outer step {run.step}.",
            CheckpointWarning,
        )
        return run

    def _read(self, path: Path) -> tuple[tuple, Run]:
        with open(path, "rb") as file:
            stamp = _stamp_of(os.fstat(file.fileno()))
            try:
                arrays, meta = _npz.read(file, _FORMAT, _VERSION, (), "run.")
                run = Run.from_plain(arrays, meta["run"])
                check_values(run)
                identity = self._completed(dict(meta["identity"]))
            except Exception as error:
                # A dozen kinds of exceptions, from zipfile's to NumPy's, mean the same here.
                reason = str(error) or type(error).__name__
                raise InvalidFileError(f"{path} cannot be loaded: {reason}") from error
        self._check_identity(path, identity)
        return stamp, run

    @property
    def open_values(self) -> dict:
        """The values of parameters that were left open: those of the run in the file, if any."""
        return {name: self._identity[name] for name in self._open_names}

    def _check_identity(self, path: Path, saved: dict) -> None:
        taken = {
            name: saved[name]
            for name in self._open_names
            if type(saved.get(name)) is type(self._identity[name])
        }
        current = {**self._identity, **taken}
        texts = differences(saved, current)
        if texts:
            raise ValueError(
                f"{'; '.join(texts)}; as in the run that checkpoint={os.fspath(path)!r} holds. "
                "Give another path to begin a new run."
            )
        self._identity = current

    def _completed(self, saved: dict) -> dict:
        """Return a run's identity, completed by later parameters if the run is older than these."""
        saved, kind = complete(saved, self._defaults), self._identity.get("the distiller")
        if saved.get("the distiller") != kind:
            return saved
        defaults = self._defaults.get(kind, {})
        later = {name: defaults[name] for name in defaults.keys() & self._identity.keys()}
        return {**later, **saved}

    @contextmanager
    def saving(self, run: Run):
        """Save a run, however the block ends; SIGTERM ends it like Ctrl-C."""
        with sigterm_interrupts():
            try:
                yield
            except BaseException as error:
                self.save(run)
                if self._saved_step > 0:
                    error.add_note(
                        f"The run is kept up to outer step {self._saved_step} in {self!r}: fit "
                        "with the same parameters and data goes on from there."
                    )
                raise
            else:
                self.save(run)

    def save_if_due(self, run: Run) -> None:
        """Save a run if it was last saved long enough ago."""
        if isinstance(self._every, Integral):
            due = run.step - self._saved_step >= self._every
        else:
            due = perf_counter() - self._saved_at >= self._every
        if due:
            self.save(run)

    def save(self, run: Run) -> None:
        """Save a run, unless this step has been saved; warn if that fails."""
        if run.step == self._saved_step:
            return
        try:
            self._write(run)
        except (OSError, MemoryError) as error:
            # The same words each time, so that Python shows them only once.
            warn(
                f"{self!r} could not be written: {_reason(error)}. The run continues "
                "without; the last saved state is still there.",
                CheckpointWarning,
            )
        else:
            self._saved_step = run.step
        self._saved_at = perf_counter()

    def _write(self, run: Run) -> None:
        stamp = _stamp(self.path)
        if stamp is not None and stamp not in self._own:
            raise FileExistsError("another run has written to it since")
        arrays, plain = run.to_cpu_arrays().to_plain()
        self._make_partial()
        try:
            new, kept = self._partial / "new", self._partial / "kept"
            _npz.write(new, _FORMAT, _VERSION, arrays, {"identity": self._identity, "run": plain})
            if self._is_sound and stamp is not None:
                _link(self.path, kept)
                os.replace(kept, self.previous)
            # Before it is in place, because an interruption may come in between.
            self._own = {stamp, _stamp(new)}
            os.replace(new, self.path)
            self._is_sound = True
        finally:
            self._remove_partial()

    def _make_partial(self) -> None:
        # A process that was killed may have left one.
        self._remove_partial()
        self._partial.mkdir()

    def _remove_partial(self) -> None:
        shutil.rmtree(self._partial, ignore_errors=True)


class NoCheckpoint:
    """Replaces a `Checkpoint` if a run has none."""

    open_values: Mapping = MappingProxyType({})

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


def _stamp(path: Path) -> tuple | None:
    """Return what distinguishes a file from others at the same place; None if there is no file."""
    try:
        return _stamp_of(os.stat(path))
    except FileNotFoundError:
        return None


def _stamp_of(status: os.stat_result) -> tuple:
    # Without the inode's number, which some network file systems make up anew.
    return status.st_mtime_ns, status.st_size


def _reason(error: OSError | MemoryError) -> str:
    """Return what went wrong, without the name of a partial file, which differs each time."""
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def _link(source: Path, target: Path) -> None:
    """Give a file a second name or, where that is impossible, make a copy."""
    try:
        os.link(source, target)
    except (OSError, AttributeError):
        shutil.copyfile(source, target)
