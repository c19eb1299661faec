"""Real and synthetic samples on the device, standardised."""

import warnings
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


class Standardizer:
    """Shift and scale a channel (images) or a feature (tables), on the way in and out.

    Parameters
    ----------
    mean, scale : sequence of float
        One value a channel or feature.
    sample_shape : tuple of int
        ``(features,)`` or ``(channels, height, width)``.
    """

    def __init__(self, mean: Sequence[float], scale: Sequence[float], sample_shape, device, dtype):
        shape = (-1, *[1] * (len(sample_shape) - 1))
        self._mean = torch.tensor(mean, device=device, dtype=dtype).view(shape)
        self._scale = torch.tensor(scale, device=device, dtype=dtype).view(shape)

    @property
    def scale(self) -> Tensor:
        """What a channel or feature is divided by; it broadcasts over samples."""
        return self._scale

    def forward(self, X: Tensor) -> Tensor:
        """Return raw samples, of any dtype and device, standardised."""
        X = X.to(device=self._mean.device, dtype=self._mean.dtype)
        return (X - self._mean) / self._scale

    def inverse(self, X: Tensor) -> Tensor:
        """Return standardised samples in raw units."""
        return X * self._scale + self._mean


class RealData:
    """Raw samples with class indices, of which batches are standardised when they are needed.

    Parameters
    ----------
    X : Tensor of shape (n, *sample_shape)
        Raw samples of any dtype. They stay as they are: ``uint8`` takes a quarter of ``float32``.
    y : Tensor of shape (n,)
        Class indices.
    standardizer : Standardizer
    device : torch.device
        Where the samples are kept and the batches arrive.
    weight : Tensor of shape (n,) or None, default=None
        Weights of the samples; None weighs all the same.
    """

    def __init__(
        self, X: Tensor, y: Tensor, standardizer: Standardizer, device, weight: Tensor | None = None
    ):
        self._X = X.to(device)
        self._y = y.to(device)
        self._weight = None if weight is None else weight.to(device)
        self._device = device
        self._standardizer = standardizer

    def __len__(self) -> int:
        return len(self._X)

    @property
    def y(self) -> Tensor:
        """The class indices of all samples."""
        return self._y

    @property
    def n_bytes(self) -> int:
        """What the samples take of the device's memory."""
        return self._X.nbytes

    def batch(self, rows: np.ndarray) -> tuple[Tensor, ...]:
        """Return the standardised samples, class indices and, if there are any, weights."""
        index = torch.from_numpy(rows).to(self._device)
        batch = self._standardizer.forward(self._X[index]), self._y[index]
        return batch if self._weight is None else (*batch, self._weight[index])


def as_tensor(array: np.ndarray) -> Tensor:
    """Return a tensor that shares the memory of ``array`` where torch can (no one writes to it)."""
    if array.dtype.byteorder not in "=|" or array.dtype in (np.uint16, np.uint32, np.uint64):
        array = array.astype(np.float64 if array.dtype.kind == "f" else np.int64)
    if any(stride < 0 for stride in array.strides):
        array = array.copy()
    if not array.flags.writeable:
        # torch warns that a tensor on a read-only array could be written to. Ours never is; a
        # DLPack capsule or a copy would lose memory-mapped arrays that do not fit into memory.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            return torch.from_numpy(array)
    return torch.from_numpy(array)
