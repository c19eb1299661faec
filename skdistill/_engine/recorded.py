"""A function of tensors recorded on a GPU, to be replayed without a launch for each operation."""

from collections.abc import Callable

import torch
from torch import Tensor

# Calls before the recording, in which libraries choose their algorithms and allocate.
_WARM_UP = 3


class Recorded:
    """A function's kernels for tensors of fixed shapes, in a CUDA graph.

    A step of a small network is hundreds of kernels of a few microseconds each: launching them one
    by one takes longer than running them.

    Parameters
    ----------
    function : callable
        Maps tensors to a tensor or a tuple of tensors. It must not wait for the GPU, and must do
        the same whatever the tensors hold.
    tensors : tuple of Tensor
        Like those that it will be called with.
    """

    def __init__(self, function: Callable, tensors: tuple[Tensor, ...]):
        # Recorded kernels read from and write to the same memory each time.
        self._inputs = [x.detach().clone() for x in tensors]
        with torch.no_grad():
            stream = torch.cuda.Stream()
            stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(stream):
                for _ in range(_WARM_UP):
                    function(*self._inputs)
            torch.cuda.current_stream().wait_stream(stream)
            self._graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self._graph):
                self._outputs = function(*self._inputs)

    def __call__(self, *tensors: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Return what the function gives for tensors of the same shapes."""
        for mine, given in zip(self._inputs, tensors):
            mine.copy_(given)
        self._graph.replay()
        if isinstance(self._outputs, Tensor):
            return self._outputs.clone()
        return tuple(x.clone() for x in self._outputs)
