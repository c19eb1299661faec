"""What a distiller learns: the samples themselves, or bases whose combinations they are."""

from collections.abc import Callable, Mapping
from math import prod
from numbers import Integral
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ._data.layout import Layout
from ._data.strategy import Strategy
from ._data.training import TrainingData
from ._data.validation import Interval
from ._engine.data import as_tensor
from ._engine.parametrization import Combinations, Part, Rows, xavier_size, xavier_uniform
from .distilled._dataset import BasisBlock, DistilledDataset

__all__ = ["LinearBasis", "Pixels", "SampleParametrization", "resolve_parametrization"]


class SampleParametrization(Strategy):
    """Base class of the parametrizations.

    A parametrization defines named tensors, their initial values, their learning rates, and the
    part of the samples that they make.
    """

    # Whether its tensors are the samples themselves.
    learns_samples = False

    def check(self, init: object, start: DistilledDataset | None = None) -> None:
        """Raise ValueError if samples cannot start as ``init`` says, or from ``start``."""

    def check_layout(self, layout: Layout) -> None:
        """Raise ValueError if it cannot make samples of this layout."""

    def first_tensors(
        self,
        make_samples: Callable[[], Tensor],
        data: TrainingData,
        start: DistilledDataset | None,
        n_fresh: int,
        generator: torch.Generator,
    ) -> dict[str, Tensor]:
        """Return the tensors of a new run, on the CPU.

        Parameters
        ----------
        make_samples : callable
            Returns the standardized samples of the distiller's ``init``, those of ``start`` first.
        data : TrainingData
        start : DistilledDataset or None
            The set whose samples come first.
        n_fresh : int
            Samples that come after these, of all classes together.
        generator : torch.Generator
        """
        raise NotImplementedError

    def parts(
        self, data: TrainingData, start: DistilledDataset | None, n_fresh: int
    ) -> tuple[Part, ...]:
        """Return the functions that make samples of the tensors."""
        raise NotImplementedError

    def rates(
        self,
        rate: float | None,
        data: TrainingData,
        start: DistilledDataset | None,
        factors: np.ndarray,
    ) -> dict[str, float | np.ndarray]:
        """Return each tensor's learning rate: a number, or an array with one for each row.

        Parameters
        ----------
        rate : float or None
            None means ``learning_rate="auto"``.
        data, start
            As in `first_tensors`.
        factors : ndarray of shape (n,)
            Factor of each sample's rate.
        """
        raise NotImplementedError

    def blocks(
        self,
        tensors: Mapping[str, Tensor],
        data: TrainingData,
        start: DistilledDataset | None,
        factors: np.ndarray,
    ) -> tuple[BasisBlock, ...]:
        """Return the bases that a distilled set keeps: none, if the tensors are its samples."""
        return ()


class Pixels(SampleParametrization):
    """Every value of every sample is learned: the object behind "pixels".

    Examples
    --------
    >>> from skdistill.parametrization import Pixels
    >>> Pixels()
    Pixels()
    """

    learns_samples = True

    def first_tensors(
        self,
        make_samples: Callable[[], Tensor],
        data: TrainingData,
        start: DistilledDataset | None,
        n_fresh: int,
        generator: torch.Generator,
    ) -> dict[str, Tensor]:
        """Return the samples."""
        return {"X": make_samples()}

    def parts(
        self, data: TrainingData, start: DistilledDataset | None, n_fresh: int
    ) -> tuple[Part, ...]:
        """Return a single part, all samples."""
        return (Rows("X"),)

    def rates(
        self,
        rate: float | None,
        data: TrainingData,
        start: DistilledDataset | None,
        factors: np.ndarray,
    ) -> dict[str, float | np.ndarray]:
        """Return a rate for each sample."""
        return {"X": (data.auto_rate if rate is None else rate) * factors}


class LinearBasis(SampleParametrization):
    """Samples are linear combinations of learned bases, which all classes share.

    ``X = coefficients @ basis`` (section 4.2 of [Feng23]_, after [Deng22]_). A basis takes the
    storage of a sample, but each further sample only that of `n_basis` coefficients, so that many
    samples per class fit into the storage of a few. ``distilled_.storage`` tells how much a set
    takes, in units of samples per class. A basis of half the height and width takes a quarter:
    images are smooth, and many bases of few pixels may say more than few large ones.

    Bases and coefficients start from Xavier's uniform distribution, as in [Deng22]; ``init`` must
    be "gaussian" for that.

    In `BoostedDistiller` every block has bases of its own.

    Parameters
    ----------
    n_basis : int
        Bases per block. [Deng22] has 16, of half the height and width, for CIFAR-10 at the storage
        of one image per class.
    downsample : int, default=1
        Factor by which bases are smaller than the images in height and width; they are enlarged
        bilinearly. Must divide height and width. [Deng22] has 2 for CIFAR-10.

    References
    ----------
    .. [Feng23] Y. Feng, R. Vedantam and J. Kempe, "Embarrassingly Simple Dataset Distillation",
       arXiv:2311.07025.
    .. [Deng22] Z. Deng and O. Russakovsky, "Remember the Past: Distilling Datasets into Addressable
       Memories for Neural Networks", NeurIPS 2022.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skdistill import RaTBPTTDistiller
    >>> from skdistill.parametrization import LinearBasis
    >>> X, y = load_digits(return_X_y=True)
    >>> distiller = RaTBPTTDistiller(
    ...     ipc=9, parametrization=LinearBasis(n_basis=4), image_shape=(1, 8, 8), max_iter=1,
    ...     window=1, unroll=2, random_state=0,
    ... ).fit(X, y)
    >>> distiller.distilled_
    DistilledDataset(ipc=9, storage=0.963, n_classes=10, X=float64(90, 64), y=int64(90,))
    """

    _parameter_constraints: dict[str, Any] = {
        "n_basis": [Interval(Integral, 1, None, closed="left")],
        "downsample": [Interval(Integral, 1, None, closed="left")],
    }

    def __init__(self, n_basis: int, downsample: int = 1):
        self.n_basis = n_basis
        self.downsample = downsample

    def check(self, init: object, start: DistilledDataset | None = None) -> None:
        """Raise ValueError if samples cannot start as ``init`` says, or from ``start``."""
        if isinstance(init, str) and init != "gaussian":
            raise ValueError(
                f"init={init!r} must be 'gaussian', or a set that was distilled with a "
                f"LinearBasis, with parametrization={self!r}: bases start at random."
            )
        if start is not None and not start.bases:
            raise ValueError(
                "a set to start from must have been distilled with a LinearBasis, because "
                f"parametrization={self!r} continues with its bases; it has none."
            )

    def check_layout(self, layout: Layout) -> None:
        """Raise ValueError if it cannot make samples of this layout."""
        if self.downsample == 1:
            return
        if not layout.is_image:
            raise ValueError(
                f"downsample={self.downsample} must be 1 for samples that are not images."
            )
        if any(side % self.downsample for side in layout.network_shape[1:]):
            raise ValueError(
                f"downsample={self.downsample} must divide the images' height and width, "
                f"{layout.network_shape[1:]}."
            )

    def first_tensors(
        self,
        make_samples: Callable[[], Tensor],
        data: TrainingData,
        start: DistilledDataset | None,
        n_fresh: int,
        generator: torch.Generator,
    ) -> dict[str, Tensor]:
        """Return bases and coefficients, of the blocks of ``start`` and of a fresh one."""
        tensors = {}
        earlier = () if start is None else start.bases
        for k, block in enumerate(earlier):
            layout = data.layout.smaller(_factor(block, data))
            basis = as_tensor(layout.to_engine(block.basis))
            tensors[f"basis.{k}"] = basis / data.standardizer.scale.to(basis)
            tensors[f"coefficients.{k}"] = as_tensor(block.coefficients)
        if n_fresh:
            k, shape = len(earlier), data.layout.smaller(self.downsample).network_shape
            basis = xavier_uniform(self.n_basis, prod(shape), generator)
            tensors[f"basis.{k}"] = basis.unflatten(1, shape)
            tensors[f"coefficients.{k}"] = xavier_uniform(n_fresh, self.n_basis, generator)
        return tensors

    def parts(
        self, data: TrainingData, start: DistilledDataset | None, n_fresh: int
    ) -> tuple[Part, ...]:
        """Return a part for each block."""
        parts = []
        for k, block in enumerate(() if start is None else start.bases):
            # Zero unless the real samples had other moments when the block was distilled.
            offset = as_tensor(data.layout.to_engine(block.offset[None]))
            shift = data.standardizer.forward(offset)
            parts.append(self._part(k, _factor(block, data), data, shift))
        if n_fresh:
            parts.append(self._part(len(parts), self.downsample, data))
        return tuple(parts)

    def _part(
        self, k: int, factor: int, data: TrainingData, shift: Tensor | None = None
    ) -> Combinations:
        size = None
        if factor > 1:
            _, height, width = data.layout.network_shape
            size = height, width
        return Combinations(f"basis.{k}", f"coefficients.{k}", shift, size)

    def rates(
        self,
        rate: float | None,
        data: TrainingData,
        start: DistilledDataset | None,
        factors: np.ndarray,
    ) -> dict[str, float | np.ndarray]:
        """Return a rate for the bases of each block and one for each sample's coefficients."""
        # For each block: samples, bases, values of a basis.
        sizes = []
        for block in () if start is None else start.bases:
            sizes.append((*block.coefficients.shape, block.basis[0].size))
        n_fresh = len(factors) - sum(n for n, _, _ in sizes)
        if n_fresh:
            n_values = prod(data.layout.smaller(self.downsample).network_shape)
            sizes.append((n_fresh, self.n_basis, n_values))
        rates, first = {}, 0
        for k, (n, n_basis, n_values) in enumerate(sizes):
            block_factors = factors[first : first + n]
            first += n
            shapes = {"basis": (n_basis, n_values), "coefficients": (n, n_basis)}
            # A sample that must move slowly slows the bases that it is made of.
            by_name = {"basis": block_factors.min(), "coefficients": block_factors}
            for name, factor in by_name.items():
                # A quarter of their size, as for samples.
                base = 0.25 * xavier_size(*shapes[name]) if rate is None else rate
                rates[f"{name}.{k}"] = base * factor
        return rates

    def blocks(
        self,
        tensors: Mapping[str, Tensor],
        data: TrainingData,
        start: DistilledDataset | None,
        factors: np.ndarray,
    ) -> tuple[BasisBlock, ...]:
        """Return the bases in X's units, and the coefficients."""
        n_blocks = sum(name.startswith("basis.") for name in tensors)
        earlier = () if start is None else start.bases
        zeros = torch.zeros(1, *data.layout.network_shape, dtype=torch.float32, device=data.device)
        mean = data.to_raw(zeros)[0]
        blocks, first = [], 0
        for k in range(n_blocks):
            basis, coefficients = tensors[f"basis.{k}"], tensors[f"coefficients.{k}"]
            block_factors = factors[first : first + len(coefficients)]
            first += len(coefficients)
            if k < len(earlier) and not block_factors.any():
                blocks.append(earlier[k])
                continue
            factor = _factor(earlier[k], data) if k < len(earlier) else self.downsample
            block = BasisBlock(
                basis=data.to_caller(basis * data.units, factor),
                coefficients=coefficients.cpu().numpy().astype(data.dtype),
                offset=earlier[k].offset if k < len(earlier) else mean,
            )
            blocks.append(block)
        return tuple(blocks)


def _factor(block: BasisBlock, data: TrainingData) -> int:
    """Return by which factor a block's bases are smaller than the samples, per side."""
    return data.layout.factor_of(block.basis[0].size)


def resolve_parametrization(parametrization: str | SampleParametrization) -> SampleParametrization:
    """Return the object that ``parametrization`` names, with its parameters checked."""
    resolved = Pixels() if isinstance(parametrization, str) else parametrization
    resolved.validate()
    return resolved
