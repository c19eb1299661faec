"""A run in a file, and the run before it in another: read and written as a whole."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .._data.warn import warn
from .._data.wording import reason
from .._files import npz as _npz
from .._files.formats import RUN, VERSIONS
from .._files.paths import expanded
from ..exceptions import CheckpointWarning, InvalidFileError
from .check import check_values
from .state import Run

__all__ = ["RunFile", "steps_in"]

# What distinguishes a file from others at the same place: its time and size.
_Stamp = tuple[int, int]
# What distinguishes a run from others, and from itself some steps before: its seed and its seconds.
_State = tuple[Any, ...]


class RunFile:
    """The file of a run.

    A run is written under another name, flushed to the disk and renamed. The previous file is kept
    as ``<path>.previous``, and there is a whole file at ``path`` at every moment.

    Parameters
    ----------
    path : path
        Used as it is: no suffix is added. ``~`` is expanded, and a link is followed: the other
        files are beside its target, partial ones in a hidden folder.

    Raises
    ------
    ValueError
        If nothing can be written there.
    """

    def __init__(self, path: str | os.PathLike):
        # Once and for all, because the program may change its folder during a run.
        self._given = expanded(path).absolute()
        self.path = self._find_place()
        self.previous = self.path.with_name(f"{self.path.name}.previous")
        # A name nobody else uses: the folder is deleted with its contents.
        self._partial = self.path.with_name(f".{self.path.name}.skdistill-partial")
        # What this run may replace: the files that it read and wrote, and, if only the time of one
        # is another, as after `touch`, the states of the run that are in them. (None is a damaged
        # file.)
        self._own: set[_Stamp | None] = set()
        self._own_states: set[_State | None] = set()
        # Whether the file at `path` is worth keeping as the previous one.
        self._is_sound = False

    def __repr__(self) -> str:
        return f"checkpoint={os.fspath(self._given)!r}"

    def _find_place(self) -> Path:
        try:
            place = _npz.place_of(self._given)
            if place.is_dir():
                raise IsADirectoryError("it is a folder.")
        except OSError as error:
            raise self.unwritable(error) from error
        return place

    def unwritable(self, error: OSError) -> ValueError:
        """Return an error that says why nothing can be written here."""
        return ValueError(
            f"{self!r} must be a file that can be written: {reason(error).removesuffix('.')}."
        )

    def check_writable(self) -> None:
        """Raise ValueError if nothing can be written here."""
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
            raise self.unwritable(error) from error

    def has_changed(self) -> bool:
        """Return whether somebody has written the file since it was loaded."""
        return {_stamp(self.path)} != (self._own or {None})

    def load(
        self, complete: Callable[[dict], dict], agree: Callable[[Path, dict], None]
    ) -> Run | None:
        """Return the run in the file, at rest; None if there is no file.

        If the file is damaged, the one before it is used, with a warning.

        Parameters
        ----------
        complete : callable
            Returns the identity in a file as this version would write it.
        agree : callable
            Is called with the file and its identity; raises ValueError if it is a different run.

        Raises
        ------
        InvalidFileError
            If neither can be loaded, or if a newer version wrote the file.
        ValueError
            If it is a different run.
        """
        self._own, self._own_states, self._is_sound = set(), set(), False
        try:
            stamp, run = _read(self.path, complete, agree)
        except FileNotFoundError:
            return None
        except InvalidFileError as error:
            if isinstance(error.__cause__, _npz.NewerVersionError | _npz.ForeignFileError):
                # It is no damage: going on from the file before would write over a longer run, or
                # over something else.
                raise
            self._own_states = {None}
            stamp, run = _stamp(self.path), self._load_previous(error, complete, agree)
        else:
            self._own_states, self._is_sound = {_state_of(run)}, True
        self._own = {stamp}
        return run

    def _load_previous(self, error: InvalidFileError, complete, agree) -> Run:
        way_out = "Remove them, or give another path, to begin anew."
        try:
            _, run = _read(self.previous, complete, agree)
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

    def write(self, run: Run, identity: dict) -> None:
        """Write a run and its identity.

        Raises
        ------
        OSError
            If it cannot be written, or if somebody else has written since. The file from before is
            still there.
        """
        stamp = _stamp(self.path)
        is_known = stamp is None or stamp in self._own
        if not is_known and _state_in(self.path) not in self._own_states:
            raise FileExistsError("another run has written to it since")
        arrays, plain = run.to_cpu_arrays().to_plain()
        self._make_partial()
        try:
            new, kept = self._partial / "new", self._partial / "kept"
            _npz.write(new, RUN, VERSIONS[RUN], arrays, {"identity": identity, "run": plain})
            _npz.keep_mode(self.path, new)
            if self._is_sound and stamp is not None:
                _link(self.path, kept)
                os.replace(kept, self.previous)
            # Before it is in place, because an interruption may come in between.
            self._own = {stamp, _stamp(new)}
            self._own_states = {*self._own_states, _state_of(run)}
            os.replace(new, self.path)
            self._own_states, self._is_sound = {_state_of(run)}, True
        finally:
            self._remove_partial()

    def _make_partial(self) -> None:
        # A process that was killed may have left one.
        self._remove_partial()
        self._partial.mkdir()

    def _remove_partial(self) -> None:
        shutil.rmtree(self._partial, ignore_errors=True)


def _read(
    path: Path, complete: Callable[[dict], dict], agree: Callable[[Path, dict], None]
) -> tuple[_Stamp, Run]:
    """Return what distinguishes a file, and the run in it; see `RunFile.load`."""
    with open(path, "rb") as file:
        stamp = _stamp_of(os.fstat(file.fileno()))
        try:
            arrays, meta = _npz.read(file, RUN, VERSIONS[RUN], (), "run.")
            run = Run.from_plain(arrays, meta["run"])
            check_values(run)
            identity = complete(dict(meta["identity"]))
        except Exception as error:
            raise InvalidFileError(f"{path} cannot be loaded: {reason(error)}") from error
    agree(path, identity)
    return stamp, run


def _stamp(path: Path) -> _Stamp | None:
    """Return what distinguishes a file from others at the same place; None if there is no file."""
    try:
        return _stamp_of(os.stat(path))
    except FileNotFoundError:
        return None


def _stamp_of(status: os.stat_result) -> _Stamp:
    # Without the inode's number, which some network file systems make up anew.
    return status.st_mtime_ns, status.st_size


def _state_of(run: Run) -> _State:
    return run.seed, run.seconds


def _state_in(path: Path) -> _State | None:
    """Return the state of the run in a file: nothing if it is of another kind, None if damaged."""
    try:
        with open(path, "rb") as file:
            run = _npz.read_meta(file).get("run")
    except Exception:
        # Of many kinds: see `read_meta`.
        return None
    return (run.get("seed"), run.get("seconds")) if isinstance(run, dict) else ()


def steps_in(path: Path) -> int | None:
    """Return the outer steps of the run in a file, without checks; None if there is none."""
    try:
        with open(path, "rb") as file:
            step = _npz.read_meta(file)["run"]["state"]["step"]
    except Exception:
        # No file, or of many kinds: see `read_meta`.
        return None
    return step if type(step) is int else None


def _link(source: Path, target: Path) -> None:
    """Give a file a second name or, where that is impossible, make a copy."""
    try:
        os.link(source, target)
    except (OSError, AttributeError):
        shutil.copyfile(source, target)
