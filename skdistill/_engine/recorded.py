"""Compiled functions recorded on a GPU, to be replayed without a launch for each operation."""

from collections.abc import Callable

import torch
from torch import Tensor


def recorded(traced: Callable) -> Callable:
    """Return a traced function of tensors, compiled, with its kernels in torch's CUDA graphs.

    A step of a small network is hundreds of kernels of a few microseconds each: to launch them one
    by one takes longer than to run them. What cannot be recorded, torch launches.

    Parameters
    ----------
    traced : callable
        Maps tensors to a tensor or a tuple of tensors. It must not wait for the GPU, and must do
        the same whatever the tensors hold.
    """
    graph = torch.compile(traced, fullgraph=True, dynamic=False, mode="reduce-overhead")

    def call(*tensors: Tensor) -> Tensor | tuple[Tensor, ...]:
        # From here on torch may overwrite what earlier calls returned: callers have copies of that.
        torch.compiler.cudagraph_mark_step_begin()
        outputs = graph(*tensors)
        if isinstance(outputs, Tensor):
            return outputs.clone()
        return tuple(x.clone() for x in outputs)

    return call
