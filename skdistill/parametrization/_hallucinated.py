"""Samples that small networks make of shared bases."""

from collections.abc import Callable, Mapping
from numbers import Integral
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .._data.layout import Layout
from .._data.training import TrainingData
from .._data.validation import Interval
from .._engine.data import as_tensor
from .._engine.parametrization import (
    HALLUCINATOR,
    KERNEL,
    Hallucinations,
    Part,
    first_hallucinators,
)
from ..distilled._blocks import HallucinatorBlock
from ..distilled._dataset import DistilledDataset
from ._blocks import BlockParametrization, mean_sample, shift_of

__all__ = ["Hallucinated"]


class Hallucinated(BlockParametrization):
    """Samples are what learned hallucinators make of learned bases, every one of every other.

    A hallucinator [Liu22]_ is a convolution of 3 x 3, a scale and a shift of each of its pixels,
    and a transposed convolution of 3 x 3. A class has ``ipc / n`` bases, images as large as the
    samples; the `n` hallucinators are shared by all classes, and every pair of a basis and a
    hallucinator is a sample. So ``ipc=50`` samples per class take the storage of 10, and that of
    the hallucinators, each about two samples: much for few classes or few bases.

    This is the parametrization of [Liu22] without its adversarial term, which keeps the
    hallucinators different from each other: here only the loss of the method does. Its code also
    draws one hallucinator per inner step for all bases, where here an inner step has all pairs or
    a random choice of samples, and moves all with a momentum of 0.95, where distillers that move
    them by gradient descent have 0.5.

    Bases start from the samples of the distiller's ``init``, [Liu22]: "real"; kernels from the
    uniform distribution of torch's layers, scales from 1 and shifts from 0. All have the same
    learning rate, as in [Liu22].

    In `BoostedDistiller` every block has hallucinators of its own.

    Parameters
    ----------
    n : int, default=5
        Hallucinators per block; `ipc` must be a multiple of it. [Liu22]: 5.

    References
    ----------
    .. [Liu22] S. Liu et al., "Dataset Distillation via Factorization", NeurIPS 2022.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skdistill import RaTBPTTDistiller
    >>> from skdistill.parametrization import Hallucinated
    >>> X, y = load_digits(return_X_y=True)
    >>> distiller = RaTBPTTDistiller(
    ...     ipc=10, parametrization=Hallucinated(n=5), init="real", image_shape=(1, 8, 8),
    ...     max_iter=1, window=1, unroll=2, random_state=0,
    ... ).fit(X, y)
    >>> distiller.distilled_
    DistilledDataset(ipc=10, storage=2.72, n_classes=10, X=float64(100, 64), y=int64(100,))
    """

    _parameter_constraints: dict[str, Any] = {"n": [Interval(Integral, 1, None, closed="left")]}
    _kind, _names = HallucinatorBlock, ("basis", *HALLUCINATOR)

    def __init__(self, n: int = 5):
        self.n = n

    def check(self, init: object, ipc: int, start: DistilledDataset | None = None) -> None:
        """Raise ValueError if it cannot make these samples."""
        if ipc % self.n:
            raise ValueError(
                f"ipc={ipc} must be a multiple of n={self.n} with parametrization={self!r}: every "
                "basis makes a sample with each hallucinator."
            )
        if start is not None and (ipc - start.ipc) % self.n:
            raise ValueError(
                f"the set to start from must hold a multiple of n={self.n} samples per class with "
                f"parametrization={self!r}; got {start.ipc}."
            )
        super().check(init, ipc, start)

    def check_layout(self, layout: Layout) -> None:
        """Raise ValueError if it cannot make samples of this layout."""
        if not layout.is_image:
            raise ValueError(
                f"parametrization={self!r} must be 'pixels' or a LinearBasis for samples that are "
                "not images: hallucinators are convolutions."
            )
        if min(layout.network_shape[1:]) < KERNEL:
            raise ValueError(
                f"parametrization={self!r} needs images of at least {KERNEL} x {KERNEL} pixels; "
                f"got {layout.network_shape[1:]}."
            )

    def _fresh(
        self,
        make_samples: Callable[[], Tensor],
        data: TrainingData,
        n: int,
        generator: torch.Generator,
    ) -> dict[str, Tensor]:
        # What the first hallucinator's samples would start from.
        samples = make_samples()[-n:].unflatten(0, (-1, self.n, len(data.classes)))
        # Numbers of their own: the samples may be noise from the same generator.
        seed = torch.randint(2**62, (), generator=generator).item()
        own = torch.Generator().manual_seed(int(seed))
        hallucinators = first_hallucinators(self.n, data.layout.network_shape, own)
        return {"basis": samples[:, 0].flatten(0, 1), **hallucinators}

    def _read(self, block: HallucinatorBlock, data: TrainingData) -> dict[str, Tensor]:
        arrays = {"basis": data.layout.to_engine(block.basis), **block.hallucinators}
        tensors = {name: as_tensor(array) for name, array in arrays.items()}
        for name, units in _units(data.standardizer.scale).items():
            tensors[name] = tensors[name] / units.to(tensors[name])
        return tensors

    def _pairs(self, n: int, data: TrainingData) -> np.ndarray:
        """Return the rows of basis and hallucinator of each sample of a new block.

        Of every class come the first basis with all hallucinators, then the second.
        """
        n_classes = len(data.classes)
        rank, label = np.divmod(np.arange(n), n_classes)
        basis, hallucinator = np.divmod(rank, self.n)
        return np.stack([basis * n_classes + label, hallucinator], axis=1)

    def _part(self, k: int, block: HallucinatorBlock | None, data: TrainingData, n: int) -> Part:
        pairs = self._pairs(n, data) if block is None else block.pairs
        n_hallucinators = self.n if block is None else len(block.conv_weight)
        flat = as_tensor(pairs @ [n_hallucinators, 1]).to(data.device)
        offset = None if block is None else shift_of(block.offset, data)
        return Hallucinations(f"basis.{k}", f".{k}", flat, offset)

    def _rates(
        self, rate: float | None, block: HallucinatorBlock | None, data: TrainingData, n: int
    ) -> dict[str, float]:
        return dict.fromkeys(self._names, data.auto_rate if rate is None else rate)

    def _keep(
        self, tensors: Mapping[str, Tensor], block: HallucinatorBlock | None, data: TrainingData
    ) -> HallucinatorBlock:
        tensors = dict(tensors)
        for name, units in _units(data.units).items():
            tensors[name] = tensors[name] * units
        arrays = {name: tensors[name].cpu().numpy().astype(data.dtype) for name in HALLUCINATOR}
        n = self.n * len(tensors["basis"])
        return HallucinatorBlock(
            basis=data.to_caller(tensors["basis"]),
            pairs=self._pairs(n, data) if block is None else block.pairs.copy(),
            offset=mean_sample(data) if block is None else block.offset,
            **arrays,
        )


def _units(units: Tensor) -> dict[str, Tensor]:
    """Return the units of the channels as factors of the tensors that carry them, by name."""
    return {"transposed_weight": units, "transposed_bias": units.flatten()}
