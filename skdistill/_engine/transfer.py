"""From the host's memory to a device, without waiting for what the device is at."""

import torch
from torch import Tensor

# Where memory is one, a copy is all there is; and Apple's reads the host's memory at a later time,
# by when it may hold something else.
_AT_ONCE = ("cpu", "mps")


def to_device(x: Tensor, device: torch.device, dtype: torch.dtype | None = None) -> Tensor:
    """Return a tensor of the host's on a device, in this dtype (None keeps its own).

    A plain copy waits until the device has done all that it was told before. One from pinned memory
    takes its turn among the device's own work, and torch keeps the memory until it is done.
    """
    x = x.to(x.dtype if dtype is None else dtype)
    if device.type in _AT_ONCE or x.device.type != "cpu":
        return x.to(device)
    return x.pin_memory().to(device, non_blocking=True)
