"""Layers written so that a compiled second derivative is fast.

torch's own layers are written for a first derivative. Their second derivative takes some
convolutions with kernels as large as the image, and dozens of operations for a normalization. While
a step is traced for compilation, the mode here replaces them by functions whose backward passes are
themselves in closed form. They compute the same numbers, up to rounding.
"""

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import Function
from torch.overrides import TorchFunctionMode

# A convolution with so few values per output (3 x 3 pixels of three channels are 27) is bound by
# memory: as a matrix product it takes a quarter of the time on a CPU, and its gradients less.
FEW_INPUTS = 32


class Rewrites(TorchFunctionMode):
    """Replaces convolutions and instance normalizations called within it."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func is torch.conv2d:
            result = _conv2d(*args, **kwargs)
        elif func is F.group_norm:
            result = _group_norm(*args, **kwargs)
        elif func is F.avg_pool2d:
            result = _avg_pool2d(*args, **kwargs)
        else:
            result = None
        return func(*args, **kwargs) if result is None else result


def _conv2d(input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    """Return the convolution rewritten, or None if it should be left alone."""
    if input.ndim != 4 or isinstance(padding, str) or groups != 1:
        return None
    stride, padding, dilation = _pair(stride), _pair(padding), _pair(dilation)
    if weight[0].numel() <= FEW_INPUTS and stride == dilation == (1, 1):
        out = _as_product(input, weight, padding)
    else:
        out = _Convolution.apply(input, weight, stride, padding, dilation)
    return out if bias is None else out + bias.view(1, -1, 1, 1)


def _group_norm(input, num_groups, weight=None, bias=None, eps=1e-5):
    """Return an instance normalization rewritten; None for groups of several channels."""
    if input.ndim != 4 or num_groups != input.shape[1] or weight is None or bias is None:
        return None
    return _InstanceNorm.apply(input, weight.view(1, -1, 1, 1), bias.view(1, -1, 1, 1), eps)


def _avg_pool2d(
    input,
    kernel_size,
    stride=None,
    padding=0,
    ceil_mode=False,
    count_include_pad=True,
    divisor_override=None,
):
    """Return an average pooling of disjoint windows rewritten; None for others."""
    size = _pair(kernel_size)
    if input.ndim != 4 or len(size) != 2 or _pair(padding) != (0, 0):
        return None
    if ceil_mode or divisor_override or (stride is not None and _pair(stride) != size):
        return None
    height, width = (n // k for n, k in zip(input.shape[2:], size))
    if not height or not width:
        return None  # torch has an error for it
    input = input[..., : height * size[0], : width * size[1]]
    return input.unflatten(3, (width, size[1])).unflatten(2, (height, size[0])).mean((3, 5))


def _pair(value) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else tuple(value)


def _as_product(X: Tensor, weight: Tensor, padding: tuple[int, int]) -> Tensor:
    """Return a convolution of stride 1 as the product of all patches with the kernels."""
    n, channels, _, _ = X.shape
    n_out, _, height, width = weight.shape
    X = F.pad(X, (padding[1], padding[1], padding[0], padding[0]))
    H, W = X.shape[2] - height + 1, X.shape[3] - width + 1
    patches = torch.stack(
        [
            X[:, c, i : i + H, j : j + W]
            for c in range(channels)
            for i in range(height)
            for j in range(width)
        ],
        dim=-1,
    )
    out = patches.view(-1, patches.shape[-1]) @ weight.reshape(n_out, -1).t()
    # The channels are last in memory, as the other convolutions need them.
    return out.view(n, H, W, n_out).movedim(-1, 1)


class _Convolution(Function):
    """A convolution whose second derivative is made of ordinary convolutions."""

    @staticmethod
    def forward(ctx, X, weight, *options):
        ctx.save_for_backward(X, weight)
        ctx.options = options
        return _convolution(X, weight, options)

    @staticmethod
    def backward(ctx, grad):
        X_grad, weight_grad = _ConvolutionBackward.apply(grad, *ctx.saved_tensors, *ctx.options)
        return X_grad, weight_grad, None, None, None


class _ConvolutionBackward(Function):
    """The gradients of a convolution."""

    @staticmethod
    def forward(ctx, grad, X, weight, *options):
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(grad, X, weight)
        ctx.options = options
        return _X_grad(grad, X, weight, options), _weight_grad(grad, X, weight, options)

    @staticmethod
    def backward(ctx, X_bar, weight_bar):
        # X_grad is bilinear in grad and weight, weight_grad in grad and X.
        grad, X, weight = ctx.saved_tensors
        grad_bar = X_out = weight_out = None
        if weight_bar is not None:
            grad_bar = _convolution(X, weight_bar, ctx.options)
            X_out = _X_grad(grad, X, weight_bar, ctx.options)
        if X_bar is not None:
            of_X = _convolution(X_bar, weight, ctx.options)
            grad_bar = of_X if grad_bar is None else grad_bar + of_X
            weight_out = _weight_grad(grad, X_bar, weight, ctx.options)
        return grad_bar, X_out, weight_out, None, None, None


def _convolution(X, weight, options):
    return torch.ops.aten.convolution(X, weight, None, *options, False, (0, 0), 1)


# Separate, so that tracing can leave out the one that is not used.
def _X_grad(grad, X, weight, options):
    return torch.ops.aten.convolution_backward(
        grad, X, weight, None, *options, False, (0, 0), 1, (True, False, False)
    )[0]


def _weight_grad(grad, X, weight, options):
    return torch.ops.aten.convolution_backward(
        grad, X, weight, None, *options, False, (0, 0), 1, (False, True, False)
    )[1]


def _mean(X: Tensor) -> Tensor:
    return X.mean((2, 3), keepdim=True)


class _InstanceNorm(Function):
    """Instance normalization; scale and shift have shape ``(1, channels, 1, 1)``."""

    @staticmethod
    def forward(ctx, X, scale, shift, eps):
        mean = _mean(X)
        centered = X - mean
        factor = torch.rsqrt(_mean(centered * centered) + eps)
        ctx.save_for_backward(X, scale, mean, factor)
        return centered * (factor * scale) + shift

    @staticmethod
    def backward(ctx, grad):
        return *_InstanceNormBackward.apply(grad, *ctx.saved_tensors), None


class _InstanceNormBackward(Function):
    """The gradients of an instance normalization.

    With h the normalized input, r the factor, w the scale and means over the pixels of a channel:
    ``X_grad = w r (g - mean(g) - h mean(g h))``. That is self-adjoint in g, and depends on X
    through h and r, with ``dh = r (dX - mean(dX) - h mean(h dX))`` and
    ``dr = -r^2 mean(h dX)``, exactly so with eps as well.
    """

    @staticmethod
    def forward(ctx, grad, X, scale, mean, factor):
        n = X.shape[2] * X.shape[3]
        h = (X - mean) * factor
        g_mean, gh_mean = _mean(grad), _mean(grad * h)
        ctx.save_for_backward(grad, X, scale, mean, factor, g_mean, gh_mean)
        X_grad = (scale * factor) * (grad - g_mean - h * gh_mean)
        return X_grad, gh_mean.sum(0, keepdim=True) * n, g_mean.sum(0, keepdim=True) * n

    @staticmethod
    def backward(ctx, X_bar, scale_bar, shift_bar):
        g, X, w, mean, r, g_mean, gh_mean = ctx.saved_tensors
        n = X.shape[2] * X.shape[3]
        h, u = (X - mean) * r, X_bar
        u_mean, uh_mean = _mean(u), _mean(u * h)
        # n r w times this is the product of X_bar with X_grad.
        product = _mean(u * g) - u_mean * g_mean - uh_mean * gh_mean
        wr = w * r
        g_out = wr * (u - u_mean - h * uh_mean) + scale_bar * h + shift_bar
        of_g = r * (scale_bar - wr * uh_mean)
        of_u = -r * wr * gh_mean
        of_h = r * (2 * wr * gh_mean * uh_mean - scale_bar * gh_mean - wr * product)
        X_out = of_g * (g - g_mean) + of_u * (u - u_mean) + of_h * h
        return g_out, X_out, (r * product).sum(0, keepdim=True) * n, None, None
