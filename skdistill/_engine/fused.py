"""Layers of images on a CPU that are computed by the functions of ``native.c``.

What torch makes of a dozen operations, each a pass over memory, is one pass here; and a convolution
of 3 x 3 takes Winograd's way, with less than half of the multiplications. Both equal the rules of
`layers.py` up to rounding.
"""

from __future__ import annotations

from collections.abc import Sequence
from ctypes import CDLL
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from .layers import AvgPool, Convolution, FewInputs, InstanceNorm, Layer, ReLU, matmul
from .optimizers import Adam, InnerOptimizer

# Values of one transformed array that are made at a time: two or three such arrays fit the cache.
_CACHED_VALUES = 320 * 1024


def replaced(layers: Sequence[Layer], kernels: CDLL) -> list[Layer]:
    """Return layers that compute the same as these, some of them by `kernels`."""
    out: list[Layer] = []
    rest = list(layers)
    while rest:
        layer = rest.pop(0)
        if isinstance(layer, Convolution) and layer.is_plain_3x3:
            out.append(Winograd(layer, kernels))
        elif isinstance(layer, FewInputs):
            out.append(FewInputsDirect(layer.conv, kernels))
        # After the first layer with parameters, where all is a pair.
        elif isinstance(layer, InstanceNorm) and rest and _moves(out) and isinstance(rest[0], ReLU):
            rest.pop(0)
            side = rest[0].side if rest and isinstance(rest[0], AvgPool) else None
            if side is not None:
                rest.pop(0)
            out.append(NormReLUPool(layer.eps, side or 1, kernels))
        else:
            out.append(layer)
    return out


def _moves(layers: Sequence[Layer]) -> bool:
    return any(layer.n_parameters for layer in layers)


def _at(*tensors: Tensor) -> list[int]:
    """Return the addresses of tensors."""
    assert all(x.is_contiguous() for x in tensors)
    return [x.data_ptr() for x in tensors]


class Winograd(Layer):
    """A convolution of 3 x 3, stride 1 and padding 1, as products of transformed matrices.

    Samples are transformed to ``(16, tiles, channels)``, kernels to ``(16, n_out, n_in)``. The pass
    backwards is the transposed one, so that each array is transformed once for all products. It
    takes some images at a time, whose transformed arrays fit the cache.
    """

    def __init__(self, conv: Convolution, kernels: CDLL):
        self._n_out, self._n_in = conv.shape[:2]
        self.n_parameters = conv.n_parameters
        self._kernels = kernels

    def forward(self, x, w, *bias):
        u, vs = self._weight(w), []
        out = x.new_empty(*x.shape[:3], self._n_out)
        for part in self._parts(x.shape):
            v = self._input(x[part])
            self._output(torch.bmm(v, u.mT), out[part], *bias)
            vs.append(v)
        return out, (vs, u, x.shape)

    def backward(self, g, kept, wants_input, w, *bias):
        vs, u, shape = kept
        x_grad = g.new_empty(shape) if wants_input else None
        u_grad = torch.zeros_like(u)
        for part, v in zip(self._parts(shape), vs):
            q = self._output_adjoint(g[part])
            u_grad.baddbmm_(q.mT, v)
            if x_grad is not None:
                self._input_adjoint(torch.bmm(q, u), x_grad[part])
        return x_grad, self._weight_adjoint(u_grad), *(g.sum((0, 1, 2)) for _ in bias)

    def pair_forward(self, x, *parameters):
        (w, *bias), (w_along, *bias_along) = self._split(parameters)
        u, u_along, vs = self._weight(w), self._weight(w_along), []
        shape = x.shape[1:]
        out = x.new_empty(2, *shape[:3], self._n_out)
        for part in self._parts(shape):
            v = [self._input(half[part]) for half in x]
            p, p_along = torch.bmm(v[0], u.mT), torch.bmm(v[0], u_along.mT)
            if len(v) == 2:
                p_along.baddbmm_(v[1], u.mT)
            self._output(p, out[0, part], *bias)
            self._output(p_along, out[1, part], *bias_along)
            vs.append(v)
        return out, (vs, u, u_along, shape)

    def pair_backward(self, g, kept, *parameters):
        vs, u, u_along, shape = kept
        moves = len(vs[0]) == 2
        x_bar, u_bar = g.new_empty(1 + moves, *shape), torch.zeros_like(u)
        for part, v in zip(self._parts(shape), vs):
            q, q_along = (self._output_adjoint(half[part]) for half in g)
            u_bar.baddbmm_(q_along.mT, v[0])
            if moves:
                u_bar.baddbmm_(q.mT, v[1])
                self._input_adjoint(torch.bmm(q, u), x_bar[0, part])
            v_bar = torch.bmm(q_along, u).baddbmm_(q, u_along)
            self._input_adjoint(v_bar, x_bar[-1, part])
        biases = self.n_parameters - 1
        return x_bar, self._weight_adjoint(u_bar), *(g[1].sum((0, 1, 2)) for _ in range(biases))

    def _parts(self, shape) -> list[slice]:
        """Return the images that are taken at a time."""
        n = shape[0]
        values = 16 * _n_tiles((1, *shape[1:])) * max(self._n_in, self._n_out)
        size = max(1, _CACHED_VALUES // values)
        return [slice(start, min(start + size, n)) for start in range(0, n, size)]

    def _split(self, parameters):
        return parameters[: self.n_parameters], parameters[self.n_parameters :]

    def _input(self, x):
        v = x.new_empty(16, _n_tiles(x.shape), self._n_in)
        self._kernels.winograd_input(*_at(x, v), *x.shape)
        return v

    def _input_adjoint(self, v, out):
        self._kernels.winograd_input_adjoint(*_at(v, out), *out.shape)

    def _output(self, p, out, *bias):
        shift = bias[0] if bias else p.new_zeros(self._n_out)
        self._kernels.winograd_output(*_at(p, shift, out), *out.shape)

    def _output_adjoint(self, g):
        q = g.new_empty(16, _n_tiles(g.shape), self._n_out)
        self._kernels.winograd_output_adjoint(*_at(g, q), *g.shape)
        return q

    def _weight(self, w):
        u = w.new_empty(16, self._n_out, self._n_in)
        self._kernels.winograd_kernels(*_at(w, u), self._n_out, self._n_in)
        return u

    def _weight_adjoint(self, u):
        w = u.new_empty(self._n_out, 3, 3, self._n_in)
        self._kernels.winograd_kernels_adjoint(*_at(u, w), self._n_out, self._n_in)
        return w


def _n_tiles(shape) -> int:
    n, height, width = shape[:3]
    return n * ((height + 1) // 2) * ((width + 1) // 2)


class NormReLUPool(Layer):
    """Instance normalization, a rectifier and average pooling over squares of side `side`."""

    n_parameters = 2

    def __init__(self, eps: float, side: int, kernels: CDLL):
        self._eps, self._side = eps, side
        self._kernels = kernels

    def forward(self, x, scale, shift):
        n, height, width, channels = x.shape
        out = x.new_empty(n, height // self._side, width // self._side, channels)
        stats = x.new_empty(2, n, channels)
        self._kernels.norm_relu_pool(
            *_at(x, scale, shift, out, stats), *x.shape, self._side, self._eps
        )
        return out, (x, stats)

    def backward(self, g, kept, wants_input, scale, shift):
        x, stats = kept
        x_grad = torch.empty_like(x)
        sums = torch.empty_like(stats)
        self._kernels.norm_relu_pool_backward(
            *_at(g, x, stats, scale, shift, x_grad, sums), *x.shape, self._side
        )
        return x_grad, *sums.sum(1)

    def pair_forward(self, x, scale, shift, scale_along, shift_along):
        _, n, height, width, channels = x.shape
        out = x.new_empty(2, n, height // self._side, width // self._side, channels)
        stats = x.new_empty(4, n, channels)
        self._kernels.norm_relu_pool_pair(
            *_at(x, scale, shift, scale_along, shift_along, out, stats),
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
            *_at(g, x, stats, scale, shift, scale_along, x_bar, sums), *x.shape[1:], self._side
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
        self._kernels.few_inputs(*_at(x, w, shift, out), *x.shape, *self._options, self._n_out)

    def _of_weights(self, g, x):
        n, _, _, channels = x.shape
        height, width = self._kernel
        w_bar = x.new_empty(n, height * width * channels, self._n_out)
        self._kernels.few_inputs_weights(*_at(x, g, w_bar), *x.shape, *self._options, self._n_out)
        return w_bar.sum(0).t()

    def _fold(self, patches, out):
        patches = patches.contiguous()
        self._kernels.few_inputs_folded(*_at(patches, out), *out.shape, *self._options)


# The layers of this module.
LAYERS = (Winograd, NormReLUPool, FewInputsDirect)


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
            *_at(state, grad, new),
            grad.numel(),
            *self._constants(correction1, correction2),
        )
        return new

    def adjoint(self, state, new, bar, correction1, correction2):
        """Return ``(grad_bar, state_bar)`` for ``bar``, the sensitivity to ``new``."""
        grad_bar, state_bar = torch.empty_like(bar[0]), torch.empty_like(bar)
        self.kernels.adam_adjoint(
            *_at(state, new, bar, grad_bar, state_bar),
            grad_bar.numel(),
            *self._constants(correction1, correction2),
        )
        return grad_bar, state_bar

    def _constants(self, correction1, correction2):
        rate = self.lr / correction1
        return rate, correction2, self.beta1, self.beta2, self.eps, self.weight_decay


def optimizer_of(optimizer: InnerOptimizer, kernels: CDLL) -> InnerOptimizer:
    """Return an optimizer that does the same as this one, by `kernels` if they can."""
    if type(optimizer) is Adam and isinstance(optimizer.lr, float):
        return FusedAdam(**vars(optimizer), kernels=kernels)
    return optimizer
