"""Torch's global settings: what a caller has chosen for other work is no part of a result."""

from contextlib import ExitStack, contextmanager

import torch


@contextmanager
def own_settings():
    """Compute as ever, whatever the caller has told torch to do in general.

    Gradients are on, inference mode and automatic casts are off, and tensors are made on the CPU
    unless they are told another device. All of these belong to a thread: no other one notices. The
    default dtype belongs to the process and is left alone: our own draws name theirs, and
    `float32_by_default` pins it for the moment in which a network is built.

    It serves as a decorator, too: of every function through which a caller comes to our tensors.
    """
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
def on_the_cpu():
    """Make tensors on the CPU unless they are told another device, in this thread."""
    with ExitStack() as settings:
        # Only if need be: the setting costs a little with every call of torch's.
        if torch.empty(0).device.type != "cpu":
            settings.enter_context(torch.device("cpu"))
        yield


@contextmanager
def float32_by_default():
    """Make tensors in single precision unless they are told another, in the whole process.

    Whoever uses it holds a lock, or two threads would restore each other's setting.
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
