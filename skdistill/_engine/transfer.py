"""From the host's memory to a device, without waiting for the device's current work."""

import torch
from torch import Tensor

# With shared memory a plain copy is enough; and Apple's device reads the host's memory later, when
# it may hold something else.
_AT_ONCE = ("cpu", "mps")


def to_device(x: Tensor, device: torch.device, dtype: torch.dtype | None = None) -> Tensor:
    """Return a tensor of the host on a device, in this dtype (None keeps its own).

    A plain copy waits until the device has done all earlier work. A copy from pinned memory is
    queued with the device's own work, and torch keeps the memory until it is done.
    """
    x = x.to(x.dtype if dtype is None else dtype)
    if device.type in _AT_ONCE or x.device.type != "cpu":
        return x.to(device)
    return x.pin_memory().to(device, non_blocking=True)
