"""The blocks of a ConvNet on a CPU: which layers `fused.py` has, and all of them in one call."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from ctypes import CDLL
from math import prod

import torch

from .fused import (
    BlockSizes,
    FewInputsDirect,
    FirstBlock,
    NormReLUPool,
    Winograd,
    at,
    at_two,
)
from .layers import AvgPool, Convolution, FewInputs, Flatten, InstanceNorm, Layer, ReLU

# Blocks after the first that native.c has room for.
_MOST_OTHERS = 15


def replaced(layers: Sequence[Layer], kernels: CDLL) -> list[Layer]:
    """Return layers that compute the same as these, some of them by `kernels`."""
    out: list[Layer] = []
    rest = list(layers)
    while rest:
        # Up to the first layer with parameters there are no tangents.
        moves = any(layer.n_parameters for layer in out)
        if moves and (norm := _taken_norm(rest)) is not None:
            out.append(NormReLUPool(*norm, kernels))
            continue
        layer = rest.pop(0)
        if isinstance(layer, Convolution) and layer.is_plain_3x3:
            out.append(Winograd(layer, kernels))
        elif not isinstance(layer, FewInputs):
            out.append(layer)
        elif not moves and (norm := _taken_norm(rest)) is not None:
            out.append(FirstBlock(layer.conv, *norm, kernels))
        else:
            out.append(FewInputsDirect(layer.conv, kernels))
    return _with_blocks(out, kernels)


def _with_blocks(layers: list[Layer], kernels: CDLL) -> list[Layer]:
    """Return these layers with those that `Blocks` computes in one."""
    before = list[Layer]()
    rest = list(layers)
    while rest:
        first = rest.pop(0)
        if isinstance(first, FirstBlock):
            break
        before.append(first)
    else:
        return layers
    others = list[tuple[Winograd, NormReLUPool]]()
    while len(rest) > 1:
        conv, norm = rest[:2]
        if not (isinstance(conv, Winograd) and isinstance(norm, NormReLUPool)):
            break
        others.append((conv, norm))
        del rest[:2]
    if len(others) > _MOST_OTHERS or not (rest and isinstance(rest[0], Flatten)):
        return layers
    return [*before, Blocks(first, others, kernels), *rest[1:]]


def _taken_norm(rest: list[Layer]) -> tuple[float, int] | None:
    """Take the layers of a `NormReLUPool`, if they come next, and return its options."""
    if not (len(rest) > 1 and isinstance(rest[0], InstanceNorm) and isinstance(rest[1], ReLU)):
        return None
    eps = rest[0].eps
    side = rest[2].side if len(rest) > 2 and isinstance(rest[2], AvgPool) else None
    del rest[: 2 if side is None else 3]
    return eps, side or 1


class Blocks(Layer):
    """A `FirstBlock`, then pairs of a `Winograd` and a `NormReLUPool`, and `Flatten`, in one call.

    For small networks most of a step's time would else go by between the calls.
    """

    def __init__(
        self, first: FirstBlock, others: Sequence[tuple[Winograd, NormReLUPool]], kernels: CDLL
    ):
        self._first, self._others = first, others
        self.n_parameters = first.n_parameters + sum(
            conv.n_parameters + norm.n_parameters for conv, norm in others
        )
        self._kernels = kernels
        self._sized: dict[tuple, tuple] = {}

    def forward(self, x, *parameters):
        (out,), kept = self._compute(x, parameters)
        return out, (x, kept)

    def pair_forward(self, x, *parameters):
        out, kept = self._compute(x[0], parameters)
        return out, (x[0], kept)

    def backward(self, g, kept, wants_input, *parameters):
        return self._adjoint(g, kept, parameters, wants_input)

    def pair_backward(self, g, kept, *parameters):
        x_bar, grad = self._adjoint(g, kept, parameters, True)
        return x_bar[None], grad

    def takes(self, shape: Sequence[int], n_features: int) -> bool:
        """Return whether images ``(n, channels, height, width)`` fit, and have so many features."""
        _, channels, height, width = shape
        if channels != self._first.n_in:
            return False
        return self.sizes((1, height, width, channels), 1)[1] == n_features

    def _compute(self, x, parameters):
        """Return the features, of values and perhaps tangents, and what is kept."""
        theta, copies = self._vectors(parameters)
        blocks, n_features, sizes = self.sizes(x.shape, copies)
        out = x.new_empty(copies, len(x), n_features)
        kept, scratch = x.new_empty(sizes[0]), x.new_empty(sizes[1])
        self._kernels.blocks_forward(
            blocks, *theta, *at(x, kept, scratch, out), len(blocks), len(x)
        )
        return out, kept

    def _adjoint(self, g, kept, parameters, wants_input):
        x, kept = kept
        # Of few features it may be transposed, see `matmul`.
        g = g.contiguous()
        theta, copies = self._vectors(parameters)
        blocks, _, sizes = self.sizes(x.shape, copies)
        n_parameters = sum(piece.numel() for piece in parameters[: self.n_parameters])
        grad, scratch = x.new_empty(n_parameters), x.new_empty(sizes[2])
        x_bar = torch.empty_like(x) if wants_input else None
        self._kernels.blocks_backward(
            blocks,
            *theta,
            *at(x, kept, scratch, g),
            None if x_bar is None else x_bar.data_ptr(),
            *at(grad),
            len(blocks),
            len(x),
        )
        return x_bar, grad

    def _vectors(self, parameters) -> tuple[list[int | None], int]:
        """Return where the parameters, consecutive pieces of a vector, and tangents are."""
        starts = parameters[:: self.n_parameters]
        return at_two(starts), len(starts)

    def sizes(self, shape: Sequence[int], copies: int) -> tuple:
        """Return the blocks, the number of features and the sizes of what they need.

        The shape is that of images ``(n, height, width, channels)``; with tangents there are two
        copies of them.
        """
        key = (*shape, copies)
        if key not in self._sized:
            n, *image = shape
            blocks = (BlockSizes * (1 + len(self._others)))()
            image = self._first.describe(blocks[0], image)
            for block, (conv, norm) in zip(blocks[1:], self._others):
                conv.describe(block, (n, *image))
                image = norm.describe(block, (*image[:2], block.n_out))
            sizes = (ctypes.c_ssize_t * 3)()
            self._kernels.blocks_sizes(blocks, sizes, len(blocks), n, copies)
            self._sized[key] = blocks, prod(image), tuple(sizes)
        return self._sized[key]


# The layers that are computed by native.c.
LAYERS = (Winograd, NormReLUPool, FewInputsDirect, FirstBlock, Blocks)
