"""The folder in which a boosted run survives its process."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from .._data.warn import warn
from .._data.wording import reason
from .._files import npz as _npz
from .._files.formats import BLOCKS, BOOSTED_RUN, VERSIONS
from .._files.lock import InUseError, NoLocksError, WriteLock
from .._files.paths import expanded
from ..exceptions import CheckpointWarning, InvalidFileError
from .run_file import steps_in

__all__ = ["BlockFolder"]

# What all blocks share.
_COMMON = ("seed", "block_size", "beta")
# How many outer steps blocks have that others began from, and of how many they were to have, by
# samples per class.
_ENDS = "ends"


class BlockFolder:
    """The folder of a boosted run: the file of each block, and one with what they share.

    A block that another has begun from must not change: the other would have begun from samples
    that are nowhere. So the shared file says after how many outer steps it had ended.

    Parameters
    ----------
    path : path
        ``~`` is expanded.
    """

    def __init__(self, path: str | os.PathLike[str]):
        # Once and for all, because the program may change its folder during a run.
        self.path = expanded(path).absolute()
        self._shared = self.path / BLOCKS

    def __repr__(self) -> str:
        return f"checkpoint={os.fspath(self.path)!r}"

    def of_block(self, ipc: int) -> Path:
        """Return the checkpoint of the block that ends with so many samples per class.

        Named by them, so that a larger ipc finds the earlier blocks.
        """
        return self.path / f"ipc-{ipc}.npz"

    def share(self, here: dict[str, Any], seed_is_drawn: bool) -> dict[str, Any]:
        """Return what all blocks share: ``here`` if there is nothing yet.

        Parameters
        ----------
        here : dict
            Seed, block size and beta of this fit.
        seed_is_drawn : bool
            Whether no other fit would have this seed.

        Returns
        -------
        dict
            The three of the folder, and under "ends" the outer steps of blocks that others began
            from, and their `max_iter`, by their samples per class (as strings).

        Raises
        ------
        ValueError
            If the folder is in use or cannot be written, or if its blocks have an unknown seed.
        InvalidFileError
            If the shared file is damaged.
        """
        saved = self._read()
        if saved is not None:
            return {**saved, _ENDS: self._with_files(saved[_ENDS])}
        try:
            if not self.path.parent.is_dir():
                raise FileNotFoundError(
                    f"there is no folder {os.fspath(self.path.parent)!r}; make it first"
                )
            self.path.mkdir(exist_ok=True)
            # If two fits begin in it at once, the second must find what the first has written.
            with self._alone():
                saved = self._read()
                if saved is None:
                    if seed_is_drawn:
                        self._refuse_blocks()
                    # Not that there are none: blocks may be there, if this file was lost.
                    saved = {**here, _ENDS: None}
                    self._write(saved)
            return {**saved, _ENDS: self._with_files(saved[_ENDS])}
        except InUseError as error:
            raise ValueError(f"{self!r} is in use by {error}.") from None
        except OSError as error:
            why = str(error).removesuffix(".")
            raise ValueError(
                f"{self!r} must be a folder that can be written, or a place for one: {why}."
            ) from error

    def note_end(self, ipc: int, n_steps: int, max_iter: int) -> None:
        """Note that a block has so many outer steps, before another begins from its samples."""
        try:
            # It may be in a place where nothing can be written, complete.
            if self._knows_end(self._read(), ipc, n_steps):
                return
            with self._alone():
                saved = self._read()
                if saved is not None and not self._knows_end(saved, ipc, n_steps):
                    ends = self._with_files(saved[_ENDS])
                    self._write({**saved, _ENDS: {**ends, str(ipc): [n_steps, max_iter]}})
        except (OSError, InvalidFileError, InUseError) as error:
            # It is of use only to a later fit with other parameters.
            warn(f"{self._shared} could not be written: {reason(error)}.", CheckpointWarning)

    def _knows_end(self, saved: dict[str, Any] | None, ipc: int, n_steps: int) -> bool:
        ends = {} if saved is None else self._with_files(saved[_ENDS])
        return ends.get(str(ipc), [None])[0] == n_steps

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep other fits from writing the shared file meanwhile, where files have locks."""
        lock = WriteLock(self._shared)
        try:
            with suppress(NoLocksError):
                lock.acquire()
            yield
        finally:
            lock.release()

    def _files(self) -> dict[int, Path]:
        """Return the blocks' files, by their samples per class."""
        stems = {path: path.stem.removeprefix("ipc-") for path in self.path.glob("ipc-*.npz")}
        return {int(stem): path for path, stem in stems.items() if stem.isdecimal()}

    def _with_files(self, ends: dict[str, list[int]] | None) -> dict[str, list[int]]:
        """Return the ends of blocks that are still there, or from which one is that is there.

        None is noted (None) in folders of before, and if the shared file was lost: then what has a
        later block beside it has ended.
        """
        files = self._files()
        last = max(files, default=0)
        if ends is not None:
            return {ipc: end for ipc, end in ends.items() if int(ipc) <= last}
        steps = {str(ipc): steps_in(path) for ipc, path in files.items() if ipc < last}
        return {ipc: [n, n] for ipc, n in steps.items() if n}

    def _refuse_blocks(self) -> None:
        """Raise ValueError if there are blocks, whose seed is not known."""
        there = self._files()
        if there:
            raise ValueError(
                f"{self!r} holds {there[min(there)].name}, but no {BLOCKS} any more, which had the "
                "seed of its blocks: give the random_state that they were begun with, or another "
                "folder."
            )

    def _write(self, meta: dict[str, Any]) -> None:
        _npz.write(self._shared, BOOSTED_RUN, VERSIONS[BOOSTED_RUN], {}, meta)

    def _read(self) -> dict[str, Any] | None:
        """Return what is in the shared file; None if there is none."""
        try:
            with open(self._shared, "rb") as file:
                meta = _npz.read(file, BOOSTED_RUN, VERSIONS[BOOSTED_RUN], (), "blocks.")[1]
            common = {name: meta[name] for name in _COMMON}
            kinds = [type(value) for value in common.values()]
            if kinds != [int, int, float] or common["seed"] < 0:
                raise ValueError(
                    f"it must hold a seed, a block_size and a beta; got {common!r:.200}."
                )
            return {**common, _ENDS: _checked_ends(meta.get(_ENDS))}
        except (FileNotFoundError, NotADirectoryError):
            return None
        except Exception as error:
            way_out = ""
            if not isinstance(error, _npz.NewerVersionError | _npz.ForeignFileError):
                way_out = (
                    " If the blocks were begun with a random_state, remove this file, and fit with "
                    "the same one."
                )
            raise InvalidFileError(
                f"{self._shared} cannot be loaded: {reason(error)}{way_out}"
            ) from error


def _checked_ends(ends: Any) -> dict[str, list[int]] | None:
    """Return the ends in a file, None if it has none, or raise ValueError if they cannot be any."""
    if ends is None:
        return None
    good = isinstance(ends, dict) and all(
        ipc.isdecimal()
        and isinstance(end, list)
        and [type(n) for n in end] == [int, int]
        and min(end) > 0
        for ipc, end in ends.items()
    )
    if not good:
        raise ValueError(f"it must hold numbers of outer steps; got {ends!r:.200}.")
    return ends
