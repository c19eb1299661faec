"""Real and synthetic samples on the device, standardized."""

import warnings
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from .transfer import to_device

# Single precision holds every value of these dtypes. Values of other dtypes may have to be centered
# in double precision; they come to a device in single precision, which all devices have.
_EXACT = {
    torch.bool, torch.uint8, torch.int8, torch.int16, torch.float16, torch.bfloat16, torch.float32,
}  # fmt: skip
# A mean of more standard deviations than this is subtracted in double precision: single precision
# would round what is left of a value by more than 2**-16 of a deviation.
_FAR = 2.0**8
# Values that are centered, or copied to a device, at a time.
_BLOCK = 2**22


class Standardizer:
    """Shift and scale each channel (images) or feature (tables), on the way in and out.

    Means that are large compared with the scale are subtracted in double precision before rounding:
    identification numbers and time stamps keep their differences. Double precision is used only on
    the CPU, because not all devices have it.

    Parameters
    ----------
    mean, scale : sequence of float
        One value per channel or feature.
    sample_shape : tuple of int
        ``(features,)`` or ``(channels, height, width)``.
    device, dtype
        Of the standardized samples.
    """

    def __init__(
        self,
        mean: Sequence[float] | np.ndarray,
        scale: Sequence[float] | np.ndarray,
        sample_shape: tuple[int, ...],
        device: torch.device | str,
        dtype: torch.dtype,
    ):
        mean, scale = np.asarray(mean, dtype=np.float64), np.asarray(scale, dtype=np.float64)
        far = np.abs(mean) > _FAR * scale

        def column(
            values: np.ndarray,
            device: torch.device | str = device,
            dtype: torch.dtype = dtype,
        ) -> Tensor:
            shape = (-1, *[1] * (len(sample_shape) - 1))
            return torch.tensor(values.tolist(), device=device, dtype=dtype).view(shape)

        self._mean, self._scale = column(mean), column(scale)
        # What is subtracted in double precision, and what is left to subtract after it.
        self._offset = column(mean * far, "cpu", torch.float64) if far.any() else None
        self._rest = column(mean * ~far) if far.any() else self._mean

    @property
    def scale(self) -> Tensor:
        """What a channel or feature is divided by; it broadcasts over samples."""
        return self._scale

    def forward(self, X: Tensor) -> Tensor:
        """Return raw samples, of any dtype and device, standardized."""
        if X.dtype not in _EXACT:
            return self.finish(self.narrow(X))
        X = X.to(device=self._mean.device, dtype=self._mean.dtype)
        return (X - self._mean) / self._scale

    def narrow(self, X: Tensor) -> Tensor:
        """Return raw samples of a wide dtype in single precision; `finish` standardizes them.

        Large means are already subtracted.
        """
        if self._offset is not None:
            X = X.to(self._offset) - self._offset
        return X.to(self._mean.dtype)

    def finish(self, X: Tensor) -> Tensor:
        """Return samples that `narrow` returned, on any device, standardized."""
        return (X.to(self._mean.device) - self._rest) / self._scale

    def inverse(self, X: Tensor, dtype: torch.dtype) -> Tensor:
        """Return standardized samples in raw units, of this dtype, on the CPU."""
        if self._offset is None or dtype != self._offset.dtype:
            return (X * self._scale + self._mean).to("cpu").to(dtype)
        return (X * self._scale + self._rest).to("cpu").to(dtype) + self._offset


class RealData:
    """Raw samples with class indices; batches are standardized when they are needed.

    Parameters
    ----------
    X : Tensor of shape (n, *sample_shape)
        Raw samples of any dtype, on the CPU. There they stay as they are: ``uint8`` takes a quarter
        of ``float32``, and a memory-mapped array is not read before it is needed. On other devices,
        wider dtypes are kept as ``float32``, minus large means.
    y : Tensor of shape (n_rows,)
        Class indices.
    standardizer : Standardizer
    device : torch.device
        Where the samples are kept, unless `on_host`, and the batches arrive.
    weight : Tensor of shape (n_rows,) or None, default=None
        Weights of the samples; None weighs all the same.
    rows : ndarray of shape (n_rows,) or None, default=None
        The rows of ``X`` that are the samples; None means all. On the CPU the other rows are not
        touched; to other devices they are not copied.
    on_host : bool, default=False
        Whether the samples stay on the CPU as they are, whatever the device; each batch is sent to
        the device. Class indices and weights are on the device in any case.
    """

    def __init__(
        self,
        X: Tensor,
        y: Tensor,
        standardizer: Standardizer,
        device,
        weight: Tensor | None = None,
        rows: np.ndarray | None = None,
        on_host: bool = False,
    ):
        device = torch.device(device)
        # On the CPU both are the same.
        self.on_host = on_host or device.type == "cpu"
        self._is_narrow = X.dtype not in _EXACT and device.type != "cpu"
        if not self.on_host and (self._is_narrow or rows is not None):
            X, rows = _copied(X, rows, standardizer if self._is_narrow else None, device), None
        self._X, self._rows = X if self.on_host else X.to(device), rows
        self._y = y.to(device)
        self._weight = None if weight is None else weight.to(device)
        self._device = device
        self._standardizer = standardizer

    def __len__(self) -> int:
        return len(self._y)

    @property
    def y(self) -> Tensor:
        """The class indices of all samples."""
        return self._y

    @property
    def weight(self) -> Tensor | None:
        """The weights of all samples; None if they weigh the same."""
        return self._weight

    @property
    def n_bytes(self) -> int:
        """The memory of the device that the samples take."""
        if self.on_host and self._device.type != "cpu":
            return 0
        return self._X[:1].nbytes * len(self)

    def batch(self, rows: np.ndarray) -> tuple[Tensor, ...]:
        """Return the standardized samples, class indices and, if there are any, weights."""
        index = to_device(torch.from_numpy(rows), self._device)
        X = self._from_host(rows) if self.on_host else self._X[index]
        X = self._standardizer.finish(X) if self._is_narrow else self._standardizer.forward(X)
        batch = X, self._y[index]
        return batch if self._weight is None else (*batch, self._weight[index])

    def limits(self) -> tuple[Tensor, Tensor]:
        """Return the least and the greatest standardized value of each channel or feature.

        They broadcast over samples.
        """
        size = max(1, _BLOCK // max(1, self._X[:1].numel()))
        least, greatest = [], []
        for first in range(0, len(self), size):
            X = self.batch(np.arange(first, min(first + size, len(self))))[0]
            # Of single pixels, or of the features of a table.
            axes = (0, *range(2, X.ndim))
            least.append(X.amin(axes, keepdim=True)[0])
            greatest.append(X.amax(axes, keepdim=True)[0])
        return torch.stack(least).amin(0), torch.stack(greatest).amax(0)

    def _from_host(self, rows: np.ndarray) -> Tensor:
        """Send raw samples that are kept on the CPU; narrow ones must still be finished."""
        X = self._X[torch.from_numpy(rows if self._rows is None else self._rows[rows])]
        return to_device(self._standardizer.narrow(X) if self._is_narrow else X, self._device)


def _copied(
    X: Tensor, rows: np.ndarray | None, standardizer: Standardizer | None, device: torch.device
) -> Tensor:
    """Return rows of ``X`` on the device, narrowed, without a copy of them all on the CPU."""
    n = len(X) if rows is None else len(rows)
    # The axes keep their order in memory, as in batches of X itself.
    strides = X.stride()
    order = [0, *sorted(range(1, X.ndim), key=lambda axis: -strides[axis])]
    dtype = X.dtype if standardizer is None else standardizer.narrow(X[:0]).dtype
    out = torch.empty_permuted((n, *X.shape[1:]), order, dtype=dtype, device=device)
    size = max(1, _BLOCK // max(1, X[:1].numel()))
    for first in range(0, n, size):
        block = slice(first, first + size)
        part = X[block] if rows is None else X[torch.from_numpy(rows[block])]
        out[block] = (part if standardizer is None else standardizer.narrow(part)).to(device)
    return out


def as_tensor(array: np.ndarray) -> Tensor:
    """Return a tensor that shares the memory of ``array`` where torch can (no one writes to it)."""
    if array.dtype.kind == "f" and array.dtype.itemsize > 8:
        array = array.astype(np.float64)
    elif array.dtype.byteorder not in "=|":
        array = array.astype(array.dtype.newbyteorder("="))
    if any(stride < 0 for stride in array.strides):
        array = array.copy()
    if not array.flags.writeable:
        # torch warns that a tensor on a read-only array could be written to. Ours never is; a
        # DLPack capsule or a copy would lose memory-mapped arrays that do not fit into memory.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            return torch.from_numpy(array)
    return torch.from_numpy(array)
