"""What a method prepares before a run, kept in a folder that runs share."""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import Tensor

from .._data.fingerprint import updated
from .._data.training import Checked
from .._data.warn import warn
from .._data.wording import reason
from .._engine.data import as_tensor
from .._engine.learner import Learner
from .._engine.methods.base import Keep
from .._files import npz as _npz
from .._files.formats import BOOSTED_RUN, DISTILLED, NETWORK_SCORES, PREPARED, RUN, VERSIONS
from .._files.lock import NoLocksError, WriteLock
from .._files.paths import expanded
from ..exceptions import CheckpointWarning, InvalidFileError
from .identity import describe_value, differences
from .network_scores import TAKEN_FOR_GRANTED

__all__ = ["FolderCache"]

# What a result says of the data that it was made of.
_DATA = "the training data"
# And of the networks.
_INITIALIZATION = "the initialization of the network"


class FolderCache:
    """The cache of `Method.prepare`: a folder with a file for each result.

    Each file says what its result depends on, so that nothing of other data is ever taken. Of runs
    that are there at once, one makes a result and the others wait for it. (Where files have no
    locks all make it, and the files of one take the place of equal ones.)

    Parameters
    ----------
    folder : path or None
        ``~`` is expanded. It is made if only it is missing. None keeps nothing.
    data : Checked
        What is trained on, without what is held out.
    learner : Learner or None
    writes : bool, default=True
        Whether this process writes; one of several does.
    scores : list of float or None, default=None
        What the network computes (`describe_scores`).
    initialization : str or None, default=None
        How its weights are drawn (`describe_initialization`).
    """

    def __init__(
        self,
        folder: str | os.PathLike | None,
        data: Checked,
        learner: Learner | None,
        writes: bool = True,
        scores: list[float] | None = None,
        initialization: str | None = None,
    ):
        # The program may change its folder during a run.
        self._folder = None if folder is None else expanded(folder).absolute()
        self._data, self._learner, self._writes = data, learner, writes
        self._scores, self._initialization = scores, initialization

    def __repr__(self) -> str:
        return f"cache={None if self._folder is None else os.fspath(self._folder)!r}"

    def open(self, parameters: Mapping) -> Keep:
        """Return what keeps results; see `Cache.open`.

        Raises
        ------
        ValueError
            If the folder holds results of other data, networks or parameters, or cannot be made.
        InvalidFileError
            If a file in it is damaged, none of ours, or of a newer version.
        """
        folder = self._folder
        if folder is None:
            return lambda name, make: {k: as_tensor(v) for k, v in _arrays(make()).items()}
        identity = self._identity(parameters)
        try:
            folder.mkdir(exist_ok=True)
        except OSError as error:
            raise ValueError(
                f"{self!r} must be a folder, or a place for one: {error.strerror}."
            ) from error
        # Before any work, and those too that this run will not need: a folder is of one kind.
        for path in sorted(folder.glob("*.npz")):
            # Checkpoints and sets may be in the same folder.
            if _format_of(path) not in (DISTILLED, RUN, BOOSTED_RUN):
                self._read(path, identity, arrays=False)

        def keep(name: str, make: Callable[[], Mapping[str, Tensor]]) -> dict[str, Tensor]:
            path = folder / f"{name}.npz"
            if path.exists():
                arrays = self._read(path, identity)
            else:
                with self._alone(path):
                    # Another run may have made it meanwhile.
                    if path.exists():
                        arrays = self._read(path, identity)
                    else:
                        arrays = _arrays(make())
                        self._write(path, identity, arrays)
            return {part: as_tensor(array) for part, array in arrays.items()}

        return keep

    def _identity(self, parameters: Mapping) -> dict:
        network = self._learner and {
            "module": repr(self._learner.module),
            "dtype": str(self._learner.dtype),
            "autocast": str(self._learner.autocast),
        }
        return describe_value(
            {
                **parameters,
                "the network": network,
                # Layers do not tell it.
                _INITIALIZATION: self._initialization,
                **({} if self._scores is None else {NETWORK_SCORES: self._scores}),
                "the shape of samples": self._data.layout.network_shape,
                # Less what is held out, and with the weights of classes in those of samples.
                _DATA: self._data.fingerprint(),
            }
        )

    def _read(self, path: Path, identity: dict, arrays: bool = True) -> dict:
        try:
            with open(path, "rb") as file:
                prefix = "result." if arrays else ()
                found, meta = _npz.read(file, PREPARED, VERSIONS[PREPARED], (), prefix)
                there = dict(meta["identity"])
        except Exception as error:
            way_out = "Remove it to have it made anew, or give another folder as cache."
            if isinstance(error, _npz.ForeignFileError | _npz.NewerVersionError):
                # It is whole, and perhaps there is no other copy of it.
                way_out = "Give another folder as cache."
            raise InvalidFileError(f"{path} cannot be loaded: {reason(error)} {way_out}") from error
        if _DATA in there:
            before = self._data.fingerprint_before
            there[_DATA] = updated(there[_DATA], identity[_DATA], before)
        if _INITIALIZATION not in there:
            if identity[_INITIALIZATION] not in TAKEN_FOR_GRANTED:
                raise ValueError(
                    f"What {self!r} holds was made by a version that did not note how weights are "
                    f"drawn, and may be of networks with another initialization than "
                    f"{identity[_INITIALIZATION]!r}. Give another folder."
                )
            there[_INITIALIZATION] = identity[_INITIALIZATION]
        texts = differences(there, identity)
        if texts:
            raise ValueError(
                f"{'; '.join(texts)}; as in what {self!r} holds. Give another folder to begin anew."
            )
        return {name.removeprefix("result."): array for name, array in found.items()}

    @contextmanager
    def _alone(self, path: Path) -> Iterator[None]:
        """Keep other runs from making a result; wait until one that makes it has done so."""
        if not self._writes:
            # The processes of a run are in step: this one makes it beside the one that writes.
            yield
            return
        lock = WriteLock(path, patience=-1)
        try:
            lock.acquire()
        except (NoLocksError, OSError):
            # Made twice is better than not at all; that nothing can be written is said later.
            yield
            return
        try:
            yield
        finally:
            lock.release()

    def _write(self, path: Path, identity: dict, arrays: dict) -> None:
        if not self._writes:
            return
        try:
            named = {f"result.{name}": array for name, array in arrays.items()}
            _npz.write(path, PREPARED, VERSIONS[PREPARED], named, {"identity": identity})
        except (OSError, MemoryError) as error:
            # The same words each time, so that Python shows them once.
            warn(
                f"{self!r} could not be written: {reason(error)}. The run goes on without; what it "
                "prepared is lost at its end.",
                CheckpointWarning,
            )


def _format_of(path: Path) -> Any:
    """Return what a file says that it holds; None if it says nothing."""
    try:
        with open(path, "rb") as file:
            return _npz.read_meta(file).get("format")
    except Exception:
        # Of many kinds: see `read_meta`. Whoever reads it says what is wrong.
        return None


def _arrays(result: Mapping[str, Tensor]) -> dict:
    return {name: tensor.detach().cpu().numpy() for name, tensor in result.items()}
