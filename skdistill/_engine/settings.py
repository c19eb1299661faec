"""Torch's global settings: a caller's choices for other work must not change a result."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch

from .forked import has_lost_threads


@contextmanager
def own_settings() -> Iterator[None]:
    """Compute with settings of our own, whatever the caller has set in torch.

    Gradients are on, inference mode and automatic casts are off, and tensors are made on the CPU
    unless another device is named. These settings belong to a thread, so other threads are not
    affected. The default dtype belongs to the process and is left alone: our own draws name theirs,
    and `float32_by_default` pins it while a network is built. A process that lost its threads in a
    fork gets a single one, for good.

    It is also a decorator, for every function through which a caller reaches our tensors.
    """
    if has_lost_threads():
        torch.set_num_threads(1)
    with ExitStack() as settings:
        # This turns gradients on as well.
        settings.enter_context(torch.inference_mode(False))
        accelerator = torch.accelerator.current_accelerator()
        for kind in {"cpu"} if accelerator is None else {"cpu", accelerator.type}:
            if torch.is_autocast_enabled(kind):
                settings.enter_context(torch.autocast(kind, enabled=False))
        settings.enter_context(on_the_cpu())
        yield


@contextmanager
def on_the_cpu() -> Iterator[None]:
    """Make tensors on the CPU unless another device is named, in this thread."""
    with ExitStack() as settings:
        # Only if needed: the setting slows every call of torch a little.
        if torch.empty(0).device.type != "cpu":
            settings.enter_context(torch.device("cpu"))
        yield


@contextmanager
def float32_by_default() -> Iterator[None]:
    """Make tensors in single precision unless another is named, in the whole process.

    Callers must hold a lock; otherwise two threads would restore each other's setting.
    """
    before = torch.get_default_dtype()
    if before == torch.float32:
        yield
        return
    torch.set_default_dtype(torch.float32)
    try:
        yield
    finally:
        torch.set_default_dtype(before)
