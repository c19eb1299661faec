"""Layers of images on a CPU that are computed by the functions of ``native.c``.

What torch makes of a dozen operations, each a pass over memory, is one pass here; and a convolution
of 3 x 3 takes Winograd's way, with less than half of the multiplications. Both equal the rules of
`layers.py` up to rounding.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from ctypes import CDLL
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from .layers import Convolution, Layer, matmul
from .optimizers import Adam, InnerOptimizer

# Values of one transformed array that are made at a time: two or three such arrays fit the cache.
_CACHED_VALUES = 320 * 1024
# To transform a convolution's kernels takes the time of so many tiles. (With 10 tiles of side 4
# those of side 2 were faster, with 40 slower, for 16 to 128 channels on a core with AVX2.)
_KERNELS_AS_TILES = 30


def at(*tensors: Tensor) -> list[int]:
    """Return the addresses of tensors, which a function of native.c takes as they lie there."""
    first = tensors[0].dtype
    if not all(x.is_contiguous() and x.dtype == first and x.device.type == "cpu" for x in tensors):
        raise ValueError("the functions of native.c take contiguous arrays of one type on the CPU.")
    return [x.data_ptr() for x in tensors]


class BlockSizes(ctypes.Structure):
    """The sizes of a block of `Blocks`, as in ``native.c``."""

    _fields_ = [
        *((name, ctypes.c_ssize_t) for name in ("h", "w", "c", "kh", "kw", "ph", "pw", "n_out")),
        *((name, ctypes.c_ssize_t) for name in ("pool", "has_bias", "side", "part")),
        ("eps", ctypes.c_double),
    ]


class Winograd(Layer):
    """A convolution of 3 x 3, stride 1 and padding 1, as products of transformed matrices.

    An image is cut into tiles of side R. Samples are transformed to ``((R + 2)^2, tiles,
    channels)``, kernels to ``((R + 2)^2, n_in, n_out)`` and its transpose. The pass backwards is
    the transposed one, so that each array is transformed once for all products. It takes some
    images at a time, whose transformed arrays fit the cache.
    """

    def __init__(self, conv: Convolution, kernels: CDLL):
        self._n_out, self._n_in = conv.shape[:2]
        self.n_parameters = conv.n_parameters
        self._kernels = kernels

    def forward(self, x, w, *bias):
        side = _tile_side(x.shape)
        forward, backward = self._weight(w, side)
        out = x.new_empty(*x.shape[:3], self._n_out)
        (v,) = self._compute(x[None], out[None], [forward], [bias], side)
        return out, (v, None, backward, None, side, x.shape)

    def pair_forward(self, x, *parameters):
        (w, *bias), (w_along, *bias_along) = self._split(parameters)
        side = _tile_side(x.shape[1:])
        (u, u_back), (u_along, u_along_back) = (self._weight(each, side) for each in (w, w_along))
        out = x.new_empty(2, *x.shape[1:4], self._n_out)
        v, *v_along = self._compute(x, out, [u, u_along], [bias, bias_along], side)
        return out, (v, *(v_along or [None]), u_back, u_along_back, side, x.shape[1:])

    def backward(self, g, kept, wants_input, w, *bias):
        x_bar = g.new_empty(kept[-1]) if wants_input else None
        w_bar = self._adjoint(g[None], kept, x_bar, None)
        return x_bar, w_bar, *(g.sum((0, 1, 2)) for _ in bias)

    def pair_backward(self, g, kept, *parameters):
        v_along, shape = kept[1], kept[-1]
        x_bar = g.new_empty(1 if v_along is None else 2, *shape)
        w_bar = self._adjoint(g, kept, x_bar[0] if v_along is not None else None, x_bar[-1])
        return x_bar, w_bar, *(g[1].sum((0, 1, 2)) for _ in range(self.n_parameters - 1))

    def _split(self, parameters):
        return parameters[: self.n_parameters], parameters[self.n_parameters :]

    def _weight(self, w, side):
        products = _n_products(side)
        forward = w.new_empty(products, self._n_in, _filled(self._n_out, w))
        backward = w.new_empty(products, self._n_out, _filled(self._n_in, w))
        self._kernels.winograd_kernels(*at(w, forward, backward), self._n_out, self._n_in, side)
        return forward, backward

    def _compute(self, x, out, weights, biases, side):
        """Fill ``out`` for values and, perhaps, tangents; return the transformed ``x``."""
        shape, products = x.shape[1:], _n_products(side)
        tiles, part = _n_tiles(shape, side), self._part(shape, side)
        v = [x.new_empty(products, shape[0] * tiles, _filled(self._n_in, x)) for _ in x]
        room = x.new_empty(products, part * tiles, _filled(self._n_out, x))
        shifts = [bias[0] if bias else x.new_zeros(self._n_out) for bias in biases]
        self._kernels.winograd(
            *at_two(x),
            *at_two(weights),
            *at_two(shifts),
            *at_two(out),
            *at_two(v),
            *at(room),
            *shape,
            self._n_out,
            part,
            side,
        )
        return v

    def _adjoint(self, g, kept, x_bar, x_along_bar):
        """Fill ``x_bar`` and ``x_along_bar``, where they are wanted, and return that of ``w``."""
        v, v_along, u, u_along, side, shape = kept
        tiles, part, products = _n_tiles(shape, side), self._part(shape, side), _n_products(side)
        columns = len(g) * _filled(self._n_out, g) + _filled(self._n_in, g)
        room = g.new_empty(products, part * tiles, columns)
        u_bar = g.new_empty(products, self._n_out, self._n_in)
        self._kernels.winograd_adjoint(
            *at_two(g),
            *at_two((v, v_along)),
            *at_two((u, u_along)),
            *at_two((x_bar, x_along_bar)),
            *at(u_bar, room),
            *shape,
            self._n_out,
            part,
            side,
        )
        w_bar = g.new_empty(self._n_out, 3, 3, self._n_in)
        self._kernels.winograd_kernels_adjoint(*at(u_bar, w_bar), self._n_out, self._n_in, side)
        return w_bar

    def describe(self, block: BlockSizes, shape) -> None:
        """Fill in the sizes of a block's convolution of images ``(n, height, width, channels)``."""
        block.side = _tile_side(shape)
        block.part = self._part(shape, block.side)
        _, block.h, block.w, block.c = shape
        block.kh = block.kw = 3
        block.ph = block.pw = 1
        block.n_out, block.has_bias = self._n_out, self.n_parameters == 2

    def _part(self, shape, side) -> int:
        """Return how many images are taken at a time."""
        values = _n_products(side) * _n_tiles(shape, side) * max(self._n_in, self._n_out)
        return min(shape[0], max(1, _CACHED_VALUES // max(1, values)))


def _filled(n_channels: int, like: Tensor) -> int:
    """Return the number of channels that fill whole cache lines, in which arrays are made."""
    values = 64 // like.element_size()
    return -(-n_channels // values) * values


def at_two(tensors: Sequence[Tensor | None]) -> list[int | None]:
    """Return the addresses of a pair, of which the second may be missing."""
    both = [*tensors, None][:2]
    return [None if x is None else at(x)[0] for x in both]


def _tile_side(shape) -> int:
    """Return the side of the tiles of images ``(n, height, width, ...)`` that takes least work.

    Larger tiles take fewer multiplications per pixel, but have more kernels to transform.
    """

    def work(side: int) -> int:
        return _n_products(side) * (shape[0] * _n_tiles(shape, side) + _KERNELS_AS_TILES)

    return min((2, 4), key=work)


def _n_tiles(shape, side: int) -> int:
    """Return the number of tiles of an image."""
    _, height, width = shape[:3]
    return -(-height // side) * -(-width // side)


def _n_products(side: int) -> int:
    """Return the number of values of a transformed tile: multiplications per pair of channels."""
    return (side + 2) ** 2


class NormReLUPool(Layer):
    """Instance normalization, a rectifier and average pooling over squares of side `side`."""

    n_parameters = 2

    def __init__(self, eps: float, side: int, kernels: CDLL):
        self._eps, self._side = eps, side
        self._kernels = kernels

    def describe(self, block: BlockSizes, image) -> tuple[int, int, int]:
        """Fill in what follows a block's convolution, and return the shape of its outputs."""
        block.pool, block.eps = self._side, self._eps
        height, width, channels = image
        return height // self._side, width // self._side, channels

    def forward(self, x, scale, shift):
        n, height, width, channels = x.shape
        out = x.new_empty(n, height // self._side, width // self._side, channels)
        stats = x.new_empty(2, n, channels)
        self._kernels.norm_relu_pool(
            *at(x, scale, shift, out, stats), *x.shape, self._side, self._eps
        )
        return out, (x, stats)

    def backward(self, g, kept, wants_input, scale, shift):
        x, stats = kept
        x_grad = torch.empty_like(x)
        sums = torch.empty_like(stats)
        self._kernels.norm_relu_pool_backward(
            *at(g, x, stats, scale, shift, x_grad, sums), *x.shape, self._side
        )
        return x_grad, *sums.sum(1)

    def pair_forward(self, x, scale, shift, scale_along, shift_along):
        _, n, height, width, channels = x.shape
        out = x.new_empty(2, n, height // self._side, width // self._side, channels)
        stats = x.new_empty(4, n, channels)
        self._kernels.norm_relu_pool_pair(
            *at(x, scale, shift, scale_along, shift_along, out, stats),
            *x.shape[1:],
            self._side,
            self._eps,
        )
        return out, (x, stats)

    def pair_backward(self, g, kept, scale, shift, scale_along, shift_along):
        x, stats = kept
        x_bar = torch.empty_like(x)
        sums = torch.empty_like(stats[:2])
        self._kernels.norm_relu_pool_pair_backward(
            *at(g, x, stats, scale, shift, scale_along, x_bar, sums),
            *x.shape[1:],
            self._side,
        )
        return x_bar, *sums.sum(1)


class FewInputsDirect(Layer):
    """A convolution of stride 1 of few inputs, usually the first, without patches in memory."""

    def __init__(self, conv: nn.Conv2d, kernels: CDLL):
        assert not isinstance(conv.padding, str)
        self._n_out, self._kernel = conv.weight.shape[0], conv.kernel_size
        self._options = (*conv.kernel_size, *conv.padding)
        self._border = [2 * p - k + 1 for k, p in zip(conv.kernel_size, conv.padding)]
        self.n_parameters = 1 if conv.bias is None else 2
        self._kernels = kernels

    def forward(self, x, *parameters):
        out = x.new_empty(self._out_shape(x.shape))
        self._convolve(x, out, *parameters)
        return out, x

    def backward(self, g, kept, wants_input, w, *bias):
        x_grad = None
        if wants_input:
            x_grad = torch.empty_like(kept)
            self._fold(matmul(g.flatten(0, 2), w.view(self._n_out, -1)), x_grad)
        return x_grad, self._of_weights(g, kept), *(g.sum((0, 1, 2)) for _ in bias)

    def pair_forward(self, x, *parameters):
        own, along = parameters[: self.n_parameters], parameters[self.n_parameters :]
        out = x.new_empty(2, *self._out_shape(x.shape[1:]))
        self._convolve(x[0], out[0], *own)
        self._convolve(x[0], out[1], *along)
        if len(x) == 2:
            out[1] += self.forward(x[1], own[0])[0]
        return out, x

    def pair_backward(self, g, kept, *parameters):
        w, w_along = (parameters[i].view(self._n_out, -1) for i in (0, self.n_parameters))
        value, tangent = g.flatten(1, 3)
        w_bar = self._of_weights(g[1], kept[0])
        x_bar = torch.empty_like(kept)
        if len(kept) == 2:
            w_bar += self._of_weights(g[0], kept[1])
            self._fold(matmul(value, w), x_bar[0])
        self._fold(matmul(tangent, w).add_(matmul(value, w_along)), x_bar[-1])
        return x_bar, w_bar, *(g[1].sum((0, 1, 2)) for _ in range(self.n_parameters - 1))

    def _out_shape(self, shape):
        n, height, width, _ = shape
        return n, height + self._border[0], width + self._border[1], self._n_out

    def _convolve(self, x, out, w, *bias):
        shift = bias[0] if bias else x.new_zeros(self._n_out)
        self._kernels.few_inputs(*at(x, w, shift, out), *x.shape, *self._options, self._n_out)

    def _of_weights(self, g, x):
        n, _, _, channels = x.shape
        height, width = self._kernel
        w_bar = x.new_empty(n, height * width * channels, self._n_out)
        self._kernels.few_inputs_weights(*at(x, g, w_bar), *x.shape, *self._options, self._n_out)
        return w_bar.sum(0).t()

    def _fold(self, patches, out):
        patches = patches.contiguous()
        self._kernels.few_inputs_folded(*at(patches, out), *out.shape, *self._options)


class FirstBlock(Layer):
    """`FewInputsDirect` of samples that do not move, and `NormReLUPool` of what it makes.

    The convolution's outputs are computed twice instead of being kept: they are the largest array
    of a network, of the least arithmetic.
    """

    def __init__(self, conv: nn.Conv2d, eps: float, side: int, kernels: CDLL):
        assert not isinstance(conv.padding, str)
        self._n_out, kernel = conv.weight.shape[0], conv.kernel_size
        self.n_in = conv.weight.shape[1]
        self._options = (*kernel, *conv.padding)
        self._border = [2 * p - k + 1 for k, p in zip(kernel, conv.padding)]
        self._has_bias = conv.bias is not None
        self.n_parameters = 4 if self._has_bias else 3
        self._eps, self._side = eps, side
        self._kernels = kernels

    def forward(self, x, *parameters):
        (out,), stats = self._compute(x, [self._filled(parameters)])
        return out, (x, stats)

    def pair_forward(self, x, *parameters):
        out, stats = self._compute(x[0], self._both(parameters))
        return out, (x[0], stats)

    def backward(self, g, kept, wants_input, *parameters):
        x_bar, *bars = self._adjoint(g[None], kept, [self._filled(parameters)], wants_input)
        return x_bar, *bars

    def pair_backward(self, g, kept, *parameters):
        x_bar, *bars = self._adjoint(g, kept, self._both(parameters), True)
        return x_bar[None], *bars

    def describe(self, block: BlockSizes, image) -> tuple[int, int, int]:
        """Fill in a block's sizes, for images of a shape, and return the shape of its outputs."""
        block.h, block.w, block.c = image
        block.kh, block.kw, block.ph, block.pw = self._options
        block.n_out, block.has_bias = self._n_out, self._has_bias
        block.pool, block.eps = self._side, self._eps
        # Its convolution has no tiles.
        block.side = block.part = 1
        height, width = self._out_size(image)
        return height, width, self._n_out

    def _out_size(self, image):
        convolved = [a + b for a, b in zip(image[:2], self._border)]
        if min(convolved) < 1:
            size = " x ".join(map(str, image[:2]))
            raise ValueError(f"the network's kernels are larger than padded images of {size}.")
        return [a // self._side for a in convolved]

    def _both(self, parameters):
        own, along = parameters[: self.n_parameters], parameters[self.n_parameters :]
        return [self._filled(own), self._filled(along)]

    def _filled(self, parameters):
        """Return kernels, bias, scale and shift."""
        if self._has_bias:
            return parameters
        w, *rest = parameters
        return w, w.new_zeros(self._n_out), *rest

    def _compute(self, x, parameters):
        n, *image = x.shape
        out = x.new_empty(len(parameters), n, *self._out_size(image), self._n_out)
        stats = x.new_empty(2 * len(parameters), n, self._n_out)
        w, bias, scale, shift = zip(*parameters)
        addresses = [each for pair in (w, bias, scale, shift, out) for each in at_two(pair)]
        self._kernels.few_inputs_block(
            *at(x),
            *addresses,
            *at(stats),
            *x.shape,
            *self._options,
            self._n_out,
            self._side,
            self._eps,
        )
        return out, stats

    def _adjoint(self, g, kept, parameters, wants_input):
        x, stats = kept
        n, (height, width, *_) = len(x), self._options
        x_bar = torch.empty_like(x) if wants_input else None
        w_bar = x.new_empty(n, height * width * self.n_in, self._n_out)
        bias_bar, sums = x.new_empty(n, self._n_out), x.new_empty(2, n, self._n_out)
        w, bias, scale, shift = zip(*parameters)
        self._kernels.few_inputs_block_adjoint(
            *at_two(g),
            *at(x),
            *[each for pair in (w, bias, scale) for each in at_two(pair)],
            *at(shift[0], stats),
            None if x_bar is None else x_bar.data_ptr(),
            *at(w_bar, bias_bar, sums),
            *x.shape,
            *self._options,
            self._n_out,
            self._side,
        )
        bars = [w_bar.sum(0).t(), *([bias_bar.sum(0)] if self._has_bias else []), *sums.sum(1)]
        return x_bar, *bars


@dataclass(frozen=True)
class FusedAdam(Adam):
    """`Adam`'s inner steps and their adjoints, each in one pass.

    Parameters
    ----------
    lr, beta1, beta2, eps, weight_decay
    kernels : ctypes.CDLL
    """

    kernels: CDLL = field(kw_only=True)

    def step(self, state, grad, correction1, correction2):
        """Return the state after a step."""
        new = torch.empty_like(state)
        self.kernels.adam(
            *at(state, grad, new),
            grad.numel(),
            *self._constants(correction1, correction2),
        )
        return new

    def adjoint(self, state, new, bar, correction1, correction2):
        """Return ``(grad_bar, state_bar)`` for ``bar``, the sensitivity to ``new``."""
        grad_bar, state_bar = torch.empty_like(bar[0]), torch.empty_like(bar)
        self.kernels.adam_adjoint(
            *at(state, new, bar, grad_bar, state_bar),
            grad_bar.numel(),
            *self._constants(correction1, correction2),
        )
        return grad_bar, state_bar

    def _constants(self, correction1, correction2):
        rate = self.lr / correction1
        return rate, correction2, self.beta1, self.beta2, self.eps, self.weight_decay


def optimizer_of(optimizer: InnerOptimizer, kernels: CDLL) -> InnerOptimizer:
    """Return an optimizer that does the same as this one, by `kernels` if they can."""
    if type(optimizer) is Adam and not isinstance(optimizer.lr, Tensor):
        return FusedAdam(**vars(optimizer) | {"lr": float(optimizer.lr)}, kernels=kernels)
    return optimizer
