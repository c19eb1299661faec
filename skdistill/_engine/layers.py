"""Common layers of networks, differentiated by rules instead of autograd; see `chain.py`.

Each layer says what it does forwards and backwards, and what its tangent does: for parameters that
move along a vector, ``theta + e vector``, every activation and every sensitivity is a pair of its
value and its derivative in e. Value and tangent lie in one tensor ``(2, n, ...)``, and most
operations take both at once.

Before the first layer with parameters nothing moves: there a pair is ``(1, n, ...)``, the value on
the way forwards, and the tangent on the way backwards. Images have their channels last.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_aten = torch.ops.aten

# Columns of a product of matrices that are too few: patches of three channels have 27.
_FEW_COLUMNS = 32


class Layer:
    """The rules of a layer. What the way forwards keeps, the way back is given again.

    A layer's parameters are pieces of the flat vector; those of pairs are followed by the pieces
    of the vector along which they move.
    """

    n_parameters = 0

    def forward(self, x: Tensor, *parameters: Tensor) -> tuple[Tensor, object]:
        """Return the output, and what to keep."""
        raise NotImplementedError

    def backward(self, g: Tensor, kept, wants_input: bool, *parameters: Tensor) -> tuple:
        """Return the gradients of the input (None unless it is wanted) and of the parameters."""
        raise NotImplementedError

    def pair_forward(self, x: Tensor, *parameters: Tensor) -> tuple[Tensor, object]:
        """Return the output's pair, and what to keep."""
        raise NotImplementedError

    def pair_backward(self, g: Tensor, kept, *parameters: Tensor) -> tuple[Tensor, ...]:
        """Return the pair of the input's gradient, and the tangents of the parameters' ones."""
        raise NotImplementedError


class ReLU(Layer):
    def forward(self, x):
        out = x.relu()
        return out, out

    def backward(self, g, kept, wants_input):
        return (_aten.threshold_backward.default(g, kept, 0),)

    def pair_forward(self, x):
        # A tangent passes where the value does.
        out = _aten.threshold_backward.default(x, x[:1].expand_as(x), 0)
        return out, out[:1]

    def pair_backward(self, g, kept):
        return (_aten.threshold_backward.default(g, kept.expand_as(g), 0),)


class Flatten(Layer):
    def forward(self, x):
        # The channels come first in the order of the linear layer that follows.
        out = channels_second(x) if x.ndim == 4 else x
        return out.flatten(1), x.shape

    def backward(self, g, kept, wants_input):
        if len(kept) != 4:
            return (g.view(kept),)
        n, height, width, channels = kept
        return (_last(g.view(n, channels, height, width)).contiguous(),)

    def pair_forward(self, x):
        out, _ = self.forward(x.flatten(0, 1))
        return out.unflatten(0, x.shape[:2]), x.shape[2:]

    def pair_backward(self, g, kept):
        (out,) = self.backward(g.flatten(0, 1), (g.shape[0] * g.shape[1], *kept), True)
        return (out.unflatten(0, g.shape[:2]),)


class AvgPool(Layer):
    def __init__(self, pool: nn.AvgPool2d):
        self._sizes = [
            (n, n) if isinstance(n, int) else n
            for n in (pool.kernel_size, pool.stride, pool.padding)
        ]
        self._options = (*self._sizes, False, pool.count_include_pad)

    @property
    def side(self) -> int | None:
        """The side of the squares that are averaged, if it is squares that fill the image."""
        kernel, stride, padding = self._sizes
        is_plain = kernel == stride == (kernel[0],) * 2 and padding == (0, 0)
        return kernel[0] if is_plain else None

    def forward(self, x):
        x = channels_second(x)
        return _last(F.avg_pool2d(x, *self._options)).contiguous(), x

    def backward(self, g, kept, wants_input):
        out = _aten.avg_pool2d_backward.default(channels_second(g), kept, *self._options, None)
        return (_last(out).contiguous(),)

    def pair_forward(self, x):
        out, _ = self.forward(x.flatten(0, 1))
        return out.unflatten(0, x.shape[:2]), x

    def pair_backward(self, g, kept):
        kept = channels_second(kept[: len(g)].flatten(0, 1))
        (out,) = self.backward(g.flatten(0, 1), kept, True)
        return (out.unflatten(0, g.shape[:2]),)


class Linear(Layer):
    """A linear layer of inputs ``(n, n_in)``."""

    def __init__(self, module: nn.Linear | nn.Conv2d):
        self.n_out, self.n_in = module.weight.flatten(1).shape
        self.n_parameters = 1 if module.bias is None else 2

    def forward(self, x, w, *bias):
        w = w.view(self.n_out, -1)
        return torch.addmm(*bias, x, w.t()) if bias else x @ w.t(), x

    def backward(self, g, kept, wants_input, w, *bias):
        x_grad = matmul(g, w.view(self.n_out, -1)) if wants_input else None
        return x_grad, matmul(g.t(), kept), *(g.sum(0) for _ in bias)

    def pair_forward(self, x, *parameters):
        (w, *bias), (w_along, *bias_along) = self._split(parameters)
        out = _product(x, w, w_along)
        if bias:
            out += torch.stack((bias[0], bias_along[0])).unsqueeze(1)
        return out, x

    def pair_backward(self, g, kept, *parameters):
        (w, *bias), (w_along, *_) = self._split(parameters)
        x_bar = _product_input(g, len(kept) == 2, w, w_along)
        return x_bar, _product_weight(g, kept), *(g[1].sum(0) for _ in bias)

    def _split(self, parameters):
        halves = parameters[: self.n_parameters], parameters[self.n_parameters :]
        return [(w.view(self.n_out, -1), *bias) for w, *bias in halves]


class FewInputs(Layer):
    """A convolution of stride 1 as the product of all patches with the kernels."""

    def __init__(self, conv: nn.Conv2d):
        self._linear = Linear(conv)
        self.n_parameters = self._linear.n_parameters
        self.conv = conv
        self._kernel, self._padding = conv.kernel_size, conv.padding

    def forward(self, x, *parameters):
        patches, size = self._patches(x)
        out, _ = self._linear.forward(patches, *parameters)
        return out.view(len(x), *size, -1), (patches, x.shape)

    def backward(self, g, kept, wants_input, *parameters):
        patches, shape = kept
        out, *grads = self._linear.backward(g.flatten(0, 2), patches, wants_input, *parameters)
        return self._folded(out, shape, g.shape) if wants_input else None, *grads

    def pair_forward(self, x, *parameters):
        patches, size = self._patches(x.flatten(0, 1))
        patches = patches.view(len(x), -1, patches.shape[-1])
        out, _ = self._linear.pair_forward(patches, *parameters)
        return out.view(2, x.shape[1], *size, -1), (patches, x.shape)

    def pair_backward(self, g, kept, *parameters):
        patches, shape = kept
        out, *grads = self._linear.pair_backward(g.flatten(1, 3), patches, *parameters)
        k, n, *image = shape
        out = out.squeeze(0) if k == 1 else out.flatten(0, 1)
        folded = self._folded(out, (k * n, *image), g.shape[1:])
        return folded.view(shape), *grads

    def _patches(self, x):
        """Return the patches, each as a row in the order of the kernels, and the output's size."""
        (height, width), (top, left) = self._kernel, self._padding
        x = F.pad(x, (0, 0, left, left, top, top)).unfold(1, height, 1).unfold(2, width, 1)
        _, *size, channels, _, _ = x.shape
        return x.movedim(3, -1).reshape(-1, height * width * channels), size

    def _folded(self, rows, shape, out_shape):
        """Return the sum of what all patches say of an image's pixels."""
        n, height, width, channels = shape
        per_image = rows.unflatten(0, (n, -1)).unflatten(2, (-1, channels)).permute(0, 3, 2, 1)
        folded = F.fold(
            per_image.flatten(1, 2), (height, width), self._kernel, padding=self._padding
        )
        return _last(folded).contiguous()


class Convolution(Layer):
    def __init__(self, conv: nn.Conv2d):
        self.shape = conv.weight.shape
        self._options = (conv.stride, conv.padding, conv.dilation, False, (0, 0), 1)
        self.n_parameters = 1 if conv.bias is None else 2

    @property
    def is_plain_3x3(self) -> bool:
        """Whether it has kernels of 3 x 3, and outputs of the size of its inputs."""
        return self.shape[2:] == (3, 3) and self._options[:3] == ((1, 1),) * 3

    def forward(self, x, w, *bias):
        out = self._convolved(x, self._kernels(w))
        return out + bias[0] if bias else out, x

    def backward(self, g, kept, wants_input, w, *bias):
        x_grad, w_grad = self._grads(g, kept, self._kernels(w), wants_input, True)
        return x_grad, w_grad, *(g.sum((0, 1, 2)) for _ in bias)

    def pair_forward(self, x, *parameters):
        (w, *bias), (w_along, *bias_along) = self._split(parameters)
        along = self._convolved(x[0], w_along)
        out = self._convolved(x.flatten(0, 1), w)
        if len(x) == 2:
            out = out.unflatten(0, x.shape[:2])
            out[1] += along
        else:
            out = torch.stack((out, along))
        if bias:
            out += torch.stack((bias[0], bias_along[0])).view(2, 1, 1, 1, -1)
        return out, x

    def pair_backward(self, g, kept, *parameters):
        (w, *bias), (w_along, *_) = self._split(parameters)
        along, _ = self._grads(g[0], kept[0], w_along, True, False)
        if len(kept) == 2:
            flat = kept.flatten(0, 1)
            # The tangent of the weights' gradient is that of each with the other's half.
            _, w_bar = self._grads(g.flip(0).flatten(0, 1), flat, w, False, True)
            x_bar, _ = self._grads(g.flatten(0, 1), flat, w, True, False)
            x_bar = x_bar.view(kept.shape)
            x_bar[1] += along
        else:
            x_bar, w_bar = self._grads(g[1], kept[0], w, True, True)
            x_bar = (x_bar + along).unsqueeze(0)
        return x_bar, w_bar, *(g[1].sum((0, 1, 2)) for _ in bias)

    def _kernels(self, w):
        """Return the kernels as torch wants them: of the memory, the channels stay last."""
        n_out, n_in, *size = self.shape
        return channels_second(w.view(n_out, *size, n_in))

    def _split(self, parameters):
        halves = parameters[: self.n_parameters], parameters[self.n_parameters :]
        return [(self._kernels(w), *bias) for w, *bias in halves]

    def _convolved(self, x, w):
        out = _aten.convolution.default(channels_second(x), w, None, *self._options)
        return _last(out).contiguous()

    def _grads(self, g, x, w, of_x, of_w):
        x_grad, w_grad, _ = _aten.convolution_backward.default(
            channels_second(g), channels_second(x), w, None, *self._options, (of_x, of_w, False)
        )
        x_grad = _last(x_grad).contiguous() if of_x else None
        return x_grad, _last(w_grad) if of_w else None


class _Norm(Layer):
    """A normalisation over dimension `_dim`, counted from the end, with a scale and a shift.

    With n values normalised together, u is the normalised input divided by the root of n: what is
    left of its mean, times a factor r that makes its norm 1 (but for epsilon). The input's gradient
    for a sensitivity s to u is ``r (s - mean(s) - u sum(s u))``, exactly so with epsilon in r. The
    tangent of u is ``e - u sum(u e)`` with ``e = r (x' - mean(x'))``, that of r ``-r sum(u e)``.
    """

    n_parameters = 2

    def __init__(self, eps: float):
        self.eps = eps

    def forward(self, x, scale, shift):
        n = x.shape[self._dim]
        u = self._centered(x)
        r = self._sum(u * u).add_(n * self.eps).rsqrt_()
        u.mul_(r)
        return torch.addcmul(shift, u, scale * n**0.5), (u, r)

    def pair_forward(self, x, scale, shift, scale_along, shift_along):
        moves, n = len(x) == 2, x.shape[self._dim]
        u = self._centered(x if moves else torch.cat((x, torch.zeros_like(x))))
        u_value, u_along = u
        r = self._sum(u_value * u_value).add_(n * self.eps).rsqrt_()
        u.mul_(r)
        slope = self._sum(u_value * u_along)
        u_along.addcmul_(u_value, slope, value=-1)
        shifts = torch.stack((shift, shift_along)).view(2, *[1] * (u.ndim - 2), -1)
        out = torch.addcmul(shifts, u, scale * n**0.5)
        out[1].addcmul_(u_value, scale_along * n**0.5)
        return out, (moves, u, r, slope)

    def _sum(self, x):
        return x.sum(self._dim, keepdim=True)

    def _centered(self, x):
        return torch.sub(x, self._sum(x), alpha=1 / x.shape[self._dim])

    def _projected(self, s, u):
        """Return ``s - mean(s) - u sum(s u)``, and both sums."""
        of_s, of_su = self._sum(s), self._sum(s * u)
        out = torch.sub(s, of_s, alpha=1 / s.shape[self._dim])
        return out.addcmul_(u, of_su, value=-1), of_s, of_su

    def _projected_pair(self, s, u):
        of_s, su = self._sum(s), s * u[0]
        su[1].addcmul_(s[0], u[1])
        of_su = self._sum(su)
        out = torch.sub(s, of_s, alpha=1 / s.shape[self._dim]).addcmul_(u[0], of_su, value=-1)
        out[1].addcmul_(u[1], of_su[0], value=-1)
        return out, of_s, of_su


class InstanceNorm(_Norm):
    """Instance normalisation: over an image's pixels, which are one dimension here.

    A scale is the same for all that is normalised together, and is multiplied in last.
    """

    _dim = -2

    def __init__(self, norm: nn.GroupNorm):
        super().__init__(norm.eps)

    def forward(self, x, scale, shift):
        out, kept = super().forward(x.flatten(1, 2), scale, shift)
        return out.view(x.shape), kept

    def backward(self, g, kept, wants_input, scale, shift):
        u, r = kept
        root = u.shape[1] ** 0.5
        out, of_g, of_gu = self._projected(g.flatten(1, 2), u)
        out.mul_(r * (scale * root))
        return out.view(g.shape), of_gu.sum((0, 1)) * root, of_g.sum((0, 1))

    def pair_forward(self, x, *parameters):
        out, kept = super().pair_forward(x.flatten(2, 3), *parameters)
        return out.view(2, *x.shape[1:]), kept

    def pair_backward(self, g, kept, scale, shift, scale_along, shift_along):
        moves, u, r, slope = kept
        root = u.shape[2] ** 0.5
        out, of_g, of_gu = self._projected_pair(g.flatten(2, 3), u)
        r = r * root
        value, along = out
        along.mul_(r * scale).addcmul_(value, r * (scale_along - scale * slope))
        value.mul_(r * scale)
        grads = of_gu[1].sum((0, 1)) * root, of_g[1].sum((0, 1))
        return (out if moves else out[1:]).unflatten(2, g.shape[2:4]), *grads


class LayerNorm(_Norm):
    """Layer normalisation: over features, each of which has a scale."""

    _dim = -1

    def __init__(self, norm: nn.LayerNorm):
        super().__init__(norm.eps)

    def backward(self, g, kept, wants_input, scale, shift):
        u, r = kept
        root = u.shape[1] ** 0.5
        out, _, _ = self._projected(g * scale, u)
        return out.mul_(r * root), (g * u).sum(0) * root, g.sum(0)

    def pair_backward(self, g, kept, scale, shift, scale_along, shift_along):
        moves, u, r, slope = kept
        root = u.shape[2] ** 0.5
        s = g * scale
        s[1].addcmul_(g[0], scale_along)
        out, _, _ = self._projected_pair(s, u)
        out.mul_(r * root)
        out[1].addcmul_(out[0], slope, value=-1)
        grads = torch.addcmul(g[1] * u[0], g[0], u[1]).sum(0) * root, g[1].sum(0)
        return out if moves else out[1:], *grads


def channels_last(X: Tensor) -> Tensor:
    """Return samples as the layers take them: images have their channels last."""
    return _last(X).contiguous() if X.ndim == 4 else X


def _last(x: Tensor) -> Tensor:
    """Return a view with the channels last."""
    return x.permute(0, 2, 3, 1)


def channels_second(x: Tensor) -> Tensor:
    """Return a view with the channels where torch has them."""
    return x.permute(0, 3, 1, 2)


# Products of matrices: of pairs of inputs x and of weights w. -----------------------------------


def _product(x: Tensor, w: Tensor, w_along: Tensor) -> Tensor:
    """Return the pair of ``x w'`` for inputs ``(1 or 2, n, n_in)``."""
    if len(x) == 1:
        return torch.bmm(x.expand(2, -1, -1), torch.stack((w, w_along)).transpose(1, 2))
    out = (x.flatten(0, 1) @ w.t()).view(2, x.shape[1], -1)
    out[1].addmm_(x[0], w_along.t())
    return out


def _product_input(g: Tensor, moves: bool, w: Tensor, w_along: Tensor) -> Tensor:
    """Return the sensitivity to the inputs: its pair, or its tangent if they do not move."""
    if not moves:
        return matmul(g[1], w).add_(matmul(g[0], w_along)).unsqueeze(0)
    out = matmul(g.flatten(0, 1), w).unflatten(0, (2, -1))
    out[1] += matmul(g[0], w_along)
    return out


def _product_weight(g: Tensor, x: Tensor) -> Tensor:
    """Return the tangent of the gradient of the weights, ``g[1]' x[0] + g[0]' x[1]``."""
    if len(x) == 1:
        return matmul(g[1].t(), x[0])
    return matmul(g.flip(0).flatten(0, 1).t(), x.flatten(0, 1))


def matmul(a: Tensor, b: Tensor) -> Tensor:
    """Return ``a @ b``; on a CPU a product of few columns is far slower than one of few rows."""
    if b.shape[1] < min(a.shape[0], _FEW_COLUMNS):
        return (b.t() @ a.t()).t()
    return a @ b
