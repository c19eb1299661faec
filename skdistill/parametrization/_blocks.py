"""Parametrizations whose samples come in blocks: those of a set to start from, and a fresh one.

A set keeps its blocks, and a run that starts from it goes on with each of them as it is, also if
the parametrization has other parameters now. The tensors of block ``k`` are called ``<name>.<k>``.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from .._data.layout import Layout
from .._data.training import TrainingData
from .._engine.data import as_tensor
from .._engine.parametrization import Part
from ..distilled._blocks import Block
from ..distilled._dataset import DistilledDataset
from ._base import SampleParametrization

__all__ = [
    "BlockParametrization",
    "check_factor",
    "factor_of",
    "mean_sample",
    "n_blocks",
    "shift_of",
]


class BlockParametrization(SampleParametrization):
    """Base class of the parametrizations that make samples in blocks.

    A subclass says how the tensors, the part and the rates of one block come about, and how the
    block is kept.
    """

    # How a set keeps a block.
    _kind: ClassVar[type[Block]]
    # The names of a block's tensors, in order, and the one that has a row for each sample, if any.
    _names: ClassVar[tuple[str, ...]]
    _per_sample: ClassVar[str | None] = None

    def check(self, init: object, ipc: int, start: DistilledDataset | None = None) -> None:
        """Raise ValueError if it cannot make these samples."""
        if start is None or (start.bases and all(isinstance(b, self._kind) for b in start.bases)):
            return
        found = "it has none" if not start.bases else "its own are of another kind"
        name = type(self).__name__
        raise ValueError(
            f"a set to start from must have been distilled with a {name}, because "
            f"parametrization={self!r} continues with its bases; {found}."
        )

    # --- one block ----------------------------------------------------------------------------

    def _fresh(
        self,
        make_samples: Callable[[], Tensor],
        data: TrainingData,
        n: int,
        generator: torch.Generator,
    ) -> dict[str, Tensor]:
        """Return the tensors of a new block; its samples are the last ``n`` of ``init``."""
        raise NotImplementedError

    def _read(self, block: Any, data: TrainingData) -> dict[str, Tensor]:
        """Return the tensors of a block of the set to start from."""
        raise NotImplementedError

    def _part(self, k: int, block: Any, data: TrainingData, n: int) -> Part:
        """Return the function that makes the ``n`` samples of block ``k``; None is a new one."""
        raise NotImplementedError

    def _rates(
        self, rate: float | None, block: Any, data: TrainingData, n: int
    ) -> dict[str, float]:
        """Return the learning rates of a block's tensors."""
        raise NotImplementedError

    def _keep(self, tensors: Mapping[str, Tensor], block: Any, data: TrainingData) -> Block:
        """Return a block as a set keeps it; ``block`` is what it was in the set to start from."""
        raise NotImplementedError

    def _restandardized(
        self, tensors: Mapping[str, Tensor], block: Any, factor: Tensor, shift: Tensor
    ) -> dict[str, Tensor]:
        """Return the tensors of a block, those that change, for other standardized units.

        What is added to the samples of a block of ``start`` (`shift_of`) follows the units.
        """
        return super().restandardized(tensors, None, 0, factor, shift)

    # --- all blocks ---------------------------------------------------------------------------

    def first_tensors(
        self,
        make_samples: Callable[[], Tensor],
        data: TrainingData,
        start: DistilledDataset | None,
        n_fresh: int,
        generator: torch.Generator,
    ) -> dict[str, Tensor]:
        """Return the tensors of the blocks of ``start`` and of a fresh one."""
        tensors: dict[str, Tensor] = {}
        for k, block, rows in _blocks(start, n_fresh):
            if block is None:
                own = self._fresh(make_samples, data, rows.stop - rows.start, generator)
            else:
                own = self._read(block, data)
            tensors |= {f"{name}.{k}": tensor for name, tensor in own.items()}
        return tensors

    def parts(
        self, data: TrainingData, start: DistilledDataset | None, n_fresh: int
    ) -> tuple[Part, ...]:
        """Return a part for each block."""
        return tuple(
            self._part(k, block, data, rows.stop - rows.start)
            for k, block, rows in _blocks(start, n_fresh)
        )

    def rates(
        self,
        rate: float | None,
        data: TrainingData,
        start: DistilledDataset | None,
        factors: np.ndarray,
    ) -> dict[str, float | np.ndarray]:
        """Return a rate for each sample or, for what they share, one for the block."""
        rates: dict[str, float | np.ndarray] = {}
        for k, block, rows in _blocks(start, len(factors) - _n_samples(start)):
            own = factors[rows]
            for name, base in self._rates(rate, block, data, len(own)).items():
                # A sample that must move slowly slows what it is made of.
                rates[f"{name}.{k}"] = base * (own if name == self._per_sample else own.min())
        return rates

    def restandardized(
        self,
        tensors: Mapping[str, Tensor],
        start: DistilledDataset | None,
        n_fresh: int,
        factor: Tensor,
        shift: Tensor,
    ) -> dict[str, Tensor]:
        """Return the tensors of all blocks in other standardized units."""
        moved: dict[str, Tensor] = {}
        for k, block, _ in _blocks(start, n_fresh):
            own = {name: tensors[f"{name}.{k}"] for name in self._names}
            own |= self._restandardized(own, block, factor, shift)
            moved |= {f"{name}.{k}": tensor for name, tensor in own.items()}
        return moved

    def blocks(
        self,
        tensors: Mapping[str, Tensor],
        data: TrainingData,
        start: DistilledDataset | None,
        factors: np.ndarray,
    ) -> tuple[Block, ...]:
        """Return the blocks in X's units."""
        kept: list[Block] = []
        for k, block, rows in _blocks(start, len(factors) - _n_samples(start)):
            if block is not None and not factors[rows].any():
                kept.append(block)
                continue
            own = {name: tensors[f"{name}.{k}"] for name in self._names}
            new = self._keep(own, block, data)
            if block is not None:
                # Rounding on the way in and out would move what must not move.
                still = factors[rows] == 0
                new.per_sample[still] = block.per_sample[still]
            kept.append(new)
        return tuple(kept)


def _n_samples(start: DistilledDataset | None) -> int:
    return 0 if start is None else len(start)


def _blocks(start: DistilledDataset | None, n_fresh: int) -> Iterator[tuple[int, Any, slice]]:
    """Yield number, block (None for the fresh one) and rows of each block."""
    earlier: tuple[Block, ...] = () if start is None else start.bases
    first = 0
    for k, block in enumerate(earlier):
        yield k, block, slice(first, first + block.n_samples)
        first += block.n_samples
    if n_fresh:
        yield len(earlier), None, slice(first, first + n_fresh)


def n_blocks(start: DistilledDataset | None, n_fresh: int) -> int:
    """Return the number of blocks, the fresh one included."""
    return sum(1 for _ in _blocks(start, n_fresh))


def check_factor(name: str, factor: int, layout: Layout) -> None:
    """Raise ValueError unless images of this layout can be smaller by a factor, per side."""
    if factor == 1:
        return
    if not layout.is_image:
        raise ValueError(f"{name}={factor} must be 1 for samples that are not images.")
    if any(side % factor for side in layout.network_shape[1:]):
        raise ValueError(
            f"{name}={factor} must divide the images' height and width, {layout.network_shape[1:]}."
        )


def factor_of(images: np.ndarray, data: TrainingData) -> int:
    """Return by which factor kept images are smaller than the samples, per side."""
    return data.layout.factor_of(images[0].size)


def mean_sample(data: TrainingData) -> np.ndarray:
    """Return the training set's mean as a sample: what a new block's samples are relative to."""
    zeros = torch.zeros(1, *data.layout.network_shape, dtype=torch.float32, device=data.device)
    return data.to_raw(zeros)[0]


def shift_of(offset: np.ndarray, data: TrainingData) -> Tensor:
    """Return what a block's offset is in the units of networks.

    Zero unless the real samples had other moments when the block was distilled.
    """
    return data.standardizer.forward(as_tensor(data.layout.to_engine(offset[None])))
