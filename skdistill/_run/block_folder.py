"""The folder in which a boosted run survives its process."""

import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from .._data.warn import warn
from .._data.wording import reason
from .._files import npz as _npz
from .._files.formats import BLOCKS, BOOSTED_RUN, VERSIONS
from .._files.lock import InUseError, NoLocksError, WriteLock
from ..exceptions import CheckpointWarning, InvalidFileError

__all__ = ["BlockFolder"]

# What all blocks share.
_COMMON = ("seed", "block_size", "beta")
# How many outer steps blocks have that others began from, by samples per class.
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
        self.path = Path(path).expanduser().absolute()
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
            The three of the folder, and the outer steps of blocks that others began from, by their
            samples per class (as strings).

        Raises
        ------
        ValueError
            If the folder is in use or cannot be written, or if its blocks have an unknown seed.
        InvalidFileError
            If the shared file is damaged.
        """
        saved = self._read()
        if saved is not None:
            return saved
        lock = WriteLock(self._shared)
        try:
            if not self.path.parent.is_dir():
                raise FileNotFoundError(
                    f"there is no folder {os.fspath(self.path.parent)!r}; make it first"
                )
            self.path.mkdir(exist_ok=True)
            # If two fits begin in it at once, the second must find what the first has written.
            with suppress(NoLocksError):
                lock.acquire()
            saved = self._read()
            if saved is None:
                if seed_is_drawn:
                    self._refuse_blocks()
                saved = {**here, _ENDS: {}}
                self._write(saved)
            return saved
        except InUseError as error:
            raise ValueError(f"{self!r} is in use by {error}.") from None
        except OSError as error:
            why = str(error).removesuffix(".")
            raise ValueError(
                f"{self!r} must be a folder that can be written, or a place for one: {why}."
            ) from error
        finally:
            lock.release()

    def note_end(self, ipc: int, n_steps: int) -> None:
        """Note that a block has so many outer steps, before another begins from its samples."""
        try:
            saved = self._read()
            if saved is None or saved[_ENDS].get(str(ipc)) == n_steps:
                return
            self._write({**saved, _ENDS: {**saved[_ENDS], str(ipc): n_steps}})
        except (OSError, InvalidFileError) as error:
            # It is of use only to a later fit with other parameters.
            warn(f"{self._shared} could not be written: {reason(error)}.", CheckpointWarning)

    def _refuse_blocks(self) -> None:
        """Raise ValueError if there are blocks, whose seed is not known."""
        there = sorted(path.name for path in self.path.glob("ipc-*.npz"))
        if there:
            raise ValueError(
                f"{self!r} holds {there[0]}, but no {BLOCKS} any more, which had the seed of its "
                "blocks: give the random_state that they were begun with, or another folder."
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
            # Folders of 0.1.0 have none.
            ends = dict(meta.get(_ENDS, {}))
            if not all(type(n) is int and n > 0 for n in ends.values()):
                raise ValueError(f"it must hold numbers of outer steps; got {ends!r:.200}.")
            return {**common, _ENDS: ends}
        except (FileNotFoundError, NotADirectoryError):
            return None
        except Exception as error:
            raise InvalidFileError(
                f"{self._shared} cannot be loaded: {reason(error)} If the blocks were begun with "
                "a random_state, remove it, and give the same one."
            ) from error
