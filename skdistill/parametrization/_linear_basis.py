"""Samples that are linear combinations of bases."""

from collections.abc import Callable, Mapping
from math import prod
from numbers import Integral, Real
from typing import Any

import torch
from torch import Tensor

from .._data.layout import Layout
from .._data.training import TrainingData
from .._data.validation import Interval
from .._engine.data import as_tensor
from .._engine.parametrization import Combinations, Part, xavier_size, xavier_uniform
from ..distilled._blocks import BasisBlock
from ..distilled._dataset import DistilledDataset
from ._blocks import BlockParametrization, check_factor, factor_of, mean_sample, shift_of

__all__ = ["LinearBasis"]


class LinearBasis(BlockParametrization):
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
    coef_penalty : float, default=0.0
        Factor of the Euclidean norm of a block's coefficients, which is added to the loss of every
        outer step; ``history_`` has the loss without it. The authors' code has 1e-4, but in the
        loss of the inner steps, whose gradient it does not change.

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
        "coef_penalty": [Interval(Real, 0, None, closed="left")],
    }
    _kind, _names, _per_sample = BasisBlock, ("basis", "coefficients"), "coefficients"

    def __init__(self, n_basis: int, downsample: int = 1, coef_penalty: float = 0.0):
        self.n_basis = n_basis
        self.downsample = downsample
        self.coef_penalty = coef_penalty

    def check(self, init: object, ipc: int, start: DistilledDataset | None = None) -> None:
        """Raise ValueError if it cannot make these samples."""
        if isinstance(init, str) and init != "gaussian":
            raise ValueError(
                f"init={init!r} must be 'gaussian', or a set that was distilled with a "
                f"LinearBasis, with parametrization={self!r}: bases start at random."
            )
        super().check(init, ipc, start)

    def check_layout(self, layout: Layout) -> None:
        """Raise ValueError if it cannot make samples of this layout."""
        check_factor("downsample", self.downsample, layout)

    def _fresh(
        self,
        make_samples: Callable[[], Tensor],
        data: TrainingData,
        n: int,
        generator: torch.Generator,
    ) -> dict[str, Tensor]:
        shape = data.layout.smaller(self.downsample).network_shape
        basis = xavier_uniform(self.n_basis, prod(shape), generator).unflatten(1, shape)
        return {"basis": basis, "coefficients": xavier_uniform(n, self.n_basis, generator)}

    def _read(self, block: BasisBlock, data: TrainingData) -> dict[str, Tensor]:
        layout = data.layout.smaller(factor_of(block.basis, data))
        basis = as_tensor(layout.to_engine(block.basis))
        return {
            "basis": basis / data.standardizer.scale.to(basis),
            "coefficients": as_tensor(block.coefficients),
        }

    def _part(self, k: int, block: BasisBlock | None, data: TrainingData, n: int) -> Part:
        factor = self.downsample if block is None else factor_of(block.basis, data)
        shift = None if block is None else shift_of(block.offset, data)
        size = None
        if factor > 1:
            _, height, width = data.layout.network_shape
            size = height, width
        names = f"basis.{k}", f"coefficients.{k}"
        return Combinations(*names, shift, size, float(self.coef_penalty))

    def _rates(
        self, rate: float | None, block: BasisBlock | None, data: TrainingData, n: int
    ) -> dict[str, float]:
        if block is None:
            n_basis = self.n_basis
            n_values = prod(data.layout.smaller(self.downsample).network_shape)
        else:
            n_basis, n_values = len(block.basis), block.basis[0].size
        shapes = {"basis": (n_basis, n_values), "coefficients": (n, n_basis)}
        # A quarter of their size, as for samples.
        return {
            name: 0.25 * xavier_size(*shape) if rate is None else rate
            for name, shape in shapes.items()
        }

    def _restandardized(
        self, tensors: Mapping[str, Tensor], block: BasisBlock | None, factor: Tensor, shift: Tensor
    ) -> dict[str, Tensor]:
        if block is None and shift.any():
            # Its samples are relative to the mean, whatever the coefficients.
            return super()._restandardized(tensors, block, factor, shift)
        return {"basis": tensors["basis"] * factor}

    def _keep(
        self, tensors: Mapping[str, Tensor], block: BasisBlock | None, data: TrainingData
    ) -> BasisBlock:
        factor = self.downsample if block is None else factor_of(block.basis, data)
        return BasisBlock(
            basis=data.to_caller(tensors["basis"] * data.units, factor),
            coefficients=tensors["coefficients"].cpu().numpy().astype(data.dtype),
            offset=mean_sample(data) if block is None else block.offset,
        )
