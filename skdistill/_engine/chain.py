"""Networks that are a chain of common layers, differentiated by rules instead of autograd.

For a small network on few samples autograd's own work takes longer than the arithmetic, and of a
second derivative it makes more and slower operations than need be. `layers.py` has the rules. What
the pass backwards finds in the tangents is the derivative of the product of the gradient with the
vector along which the parameters move: with respect to the parameters, to the samples and to soft
labels.

On a CPU with a C compiler, `fused.py` and `blocks.py` compute what networks of images consist of,
and `whole_steps.py` whole steps of these and of multilayer perceptrons.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from ctypes import CDLL
from itertools import takewhile
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.module import _has_any_global_hook

from . import blocks, fused, native
from .fused import FusedAdam
from .layers import (
    AvgPool,
    Convolution,
    FewInputs,
    Flatten,
    InstanceNorm,
    Layer,
    LayerNorm,
    Linear,
    ReLU,
    channels_last,
    channels_second,
)
from .learner import Learner
from .optimizers import InnerOptimizer
from .rewrites import FEW_INPUTS
from .whole_steps import Parts, WholeSteps

_aten = torch.ops.aten

# How torch's loss treats samples: each by itself, or their sum.
_NONE, _SUM = 0, 2
# A label to pass over: none is, and all that are not there raise an error.
_NO_LABEL = -(2**31)


class Chain:
    """The loss of a chain of layers, its gradient and the derivative of that.

    Parameters
    ----------
    learner : Learner
    layers : sequence of Layer
    kernels : ctypes.CDLL or None, default=None
        The functions of ``native.c``, if some layers may be computed by them.
    """

    def __init__(self, learner: Learner, layers: Sequence[Layer], kernels: CDLL | None = None):
        self._sizes, self._n_parameters = learner.sizes, learner.n_parameters
        self._dtype = learner.dtype
        self._kernels = kernels
        self._layers = layers if kernels is None else blocks.replaced(layers, kernels)
        self.is_fused = any(isinstance(layer, blocks.LAYERS) for layer in self._layers)
        self._parts = None if kernels is None else Parts.of(self._layers)
        # Of images, as the first layer has them: a convolution, or a normalization.
        self._n_channels = learner.shapes[0][1 if len(learner.shapes[0]) > 1 else 0]
        self._n_frozen = sum(1 for _ in takewhile(lambda layer: not layer.n_parameters, layers))

    @staticmethod
    def of(learner: Learner, is_fused: bool = True) -> Chain | None:
        """Return the chain that a network is, or None if it has a layer without a rule here.

        Parameters
        ----------
        learner : Learner
        is_fused : bool, default=True
            Whether to compute by the functions of native.c what they have, where that can be.
        """
        if learner.autocast is not None or learner.criterion is not F.cross_entropy:
            return None
        if _has_any_global_hook():
            return None
        modules = _flat(learner.module)
        layers, is_flat = [], False
        if not any(isinstance(module, nn.Flatten) for module in modules):
            is_flat = True  # a table's
        for module in modules:
            layer = _layer(module, is_flat)
            if layer is None:
                return None
            is_flat = is_flat or isinstance(layer, Flatten)
            layers.append(layer)
        # The rules take them in this order from the vector. It may have others, the same one twice,
        # not all (a weight that is a buffer), or a bias before the weight (which was once
        # normalized, or pruned, and made anew).
        used = [p for module in modules for p in _weight_and_bias(module)]
        if [*map(id, used)] != [*map(id, learner.module.parameters())]:
            return None
        kernels = native.load(learner.dtype) if is_fused and learner.device.type == "cpu" else None
        return Chain(learner, layers, kernels)

    def optimizer(self, optimizer: InnerOptimizer) -> InnerOptimizer:
        """Return what computes an optimizer's steps here."""
        return optimizer if self._kernels is None else fused.optimizer_of(optimizer, self._kernels)

    def whole_steps(self, optimizer: InnerOptimizer) -> WholeSteps | None:
        """Return what computes whole steps of what `optimizer` returned, or None."""
        if self._kernels is None or self._parts is None or not isinstance(optimizer, FusedAdam):
            return None
        return WholeSteps(self._parts, optimizer, self._n_parameters, self._dtype, self._kernels)

    def scores(self, theta: Tensor, X: Tensor) -> Tensor:
        """Return the class scores ``(n, n_classes)``, which do not go into autograd's graphs."""
        x = self._laid_out(X, theta)
        for layer, own in zip(self._layers, self._parameters(theta)):
            x, _ = layer.forward(x, *own)
        return x

    def gradient(
        self, theta: Tensor, X: Tensor, y: Tensor, *weight: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the sum of the (weighted) loss over samples, and its gradient."""
        values = self._parameters(theta)
        x, kept, grads = self._laid_out(X, theta), list[Any](), list[Tensor]()
        for layer, own in zip(self._layers, values):
            x, keep = layer.forward(x, *own)
            kept.append(keep)
        loss, g = _cross_entropy(x, y, *weight)
        for i in reversed(range(self._n_frozen, len(self._layers))):
            g, *own = self._layers[i].backward(g, kept.pop(), i > self._n_frozen, *values[i])
            grads = own + grads
        return loss, torch.cat([grad.reshape(-1) for grad in grads])

    def curvature(self, theta: Tensor, X: Tensor, y: Tensor, vector: Tensor) -> tuple[Tensor, ...]:
        """Differentiate the product of the gradient of the summed loss with a vector.

        Returns the derivatives with respect to ``theta``, ``X`` and, if labels are soft, ``y``.
        """
        values, tangents = self._parameters(theta), self._parameters(vector)
        x, kept, grads = self._laid_out(X, theta).unsqueeze(0), list[Any](), list[Tensor]()
        for layer, own, along in zip(self._layers, values, tangents):
            x, keep = layer.pair_forward(x, *own, *along)
            kept.append(keep)
        g, *label_bar = _cross_entropy_pair(x, y)
        for i in reversed(range(len(self._layers))):
            g, *own = self._layers[i].pair_backward(g, kept.pop(), *values[i], *tangents[i])
            grads = own + grads
        X_bar = channels_second(g[0]).contiguous() if X.ndim == 4 else g[0]
        return torch.cat([grad.reshape(-1) for grad in grads]), X_bar, *label_bar

    def _laid_out(self, X: Tensor, theta: Tensor) -> Tensor:
        """Return samples as layers take them. C functions would not notice what does not fit."""
        n_in, dtypes = self._n_channels, {X.dtype, theta.dtype}
        if self.is_fused and (X.ndim != 4 or X.shape[1] != n_in or dtypes != {self._dtype}):
            raise ValueError(
                f"the network takes images (n, {n_in}, height, width) and parameters of "
                f"{self._dtype}; got {tuple(X.shape)} of {X.dtype}, and {theta.dtype}."
            )
        return channels_last(X)

    def _parameters(self, theta: Tensor) -> list[list[Tensor]]:
        """Return the pieces of a flat vector that each layer has."""
        pieces = iter(theta.split(self._sizes))
        return [[next(pieces) for _ in range(layer.n_parameters)] for layer in self._layers]


def scorer(learner: Learner) -> Callable[[Tensor, Tensor], Tensor]:
    """Return what computes a network's class scores fastest, without autograd."""
    chain = Chain.of(learner)
    return learner.logits if chain is None or not chain.is_fused else chain.scores


def _flat(module: Any) -> list[nn.Module]:
    """Return the layers of nested `nn.Sequential`s, in order; of any other module itself."""
    kind = type(module)
    is_plain = (kind.forward, kind.__call__) == (nn.Sequential.forward, nn.Module.__call__)
    if _is_altered(module) or not is_plain:
        return [module]
    return [layer for child in module for layer in _flat(child)]


def _is_altered(module: nn.Module) -> bool:
    """Return whether this module may compute otherwise than its class: it has hooks, or methods."""
    hooks = (
        module._forward_hooks,
        module._forward_pre_hooks,
        module._backward_hooks,
        module._backward_pre_hooks,
    )
    return any(hooks) or "forward" in vars(module)


def _weight_and_bias(module: nn.Module) -> list[Tensor]:
    """Return what a layer's rule takes from the vector of the parameters, in its order."""
    own = (getattr(module, name, None) for name in ("weight", "bias"))
    return [p for p in own if p is not None]


def _layer(module: Any, is_flat: bool) -> Layer | None:
    """Return the rule of a module for images or for what was flattened, or None without one."""
    if _is_altered(module):
        return None
    kind = type(module)
    if kind is nn.ReLU:
        return ReLU()
    if is_flat:
        if kind is nn.Linear:
            return Linear(module)
        if kind is nn.LayerNorm and len(module.normalized_shape) == 1:
            return LayerNorm(module) if module.bias is not None else None
        return None
    if kind is nn.Flatten:
        return Flatten() if (module.start_dim, module.end_dim) == (1, -1) else None
    if kind is nn.Conv2d:
        if module.groups != 1 or module.padding_mode != "zeros" or isinstance(module.padding, str):
            return None
        few = module.weight[0].numel() <= FEW_INPUTS
        plain = module.stride == module.dilation == (1, 1)
        return FewInputs(module) if few and plain else Convolution(module)
    if kind is nn.GroupNorm and module.num_groups == module.num_channels and module.affine:
        return InstanceNorm(module) if module.bias is not None else None
    if kind is nn.AvgPool2d and not (module.ceil_mode or module.divisor_override):
        return AvgPool(module)
    return None


def _cross_entropy(scores: Tensor, y: Tensor, *weight: Tensor) -> tuple[Tensor, Tensor]:
    """Return the sum of the (weighted) cross-entropy, and its gradient in the scores."""
    log_p = scores.log_softmax(1)
    if y.is_floating_point():
        losses = -(y * log_p).sum(1)
        g = log_p.exp() * y.sum(1, keepdim=True) - y
        if weight:
            losses, g = losses * weight[0], g * weight[0].unsqueeze(1)
        return losses.sum(), g
    # Four operations, where indexing would take ten: of a small network that is felt.
    options = (log_p, y, None, _NONE if weight else _SUM, _NO_LABEL)
    losses, total = _aten.nll_loss_forward.default(*options)
    along = weight[0].to(losses) if weight else torch.ones_like(losses)
    g = _aten.nll_loss_backward.default(along, *options, total)
    g = _aten._log_softmax_backward_data.default(g, log_p, 1, log_p.dtype)
    return (losses * along).sum() if weight else losses, g


def _cross_entropy_pair(scores: Tensor, y: Tensor) -> tuple[Tensor, ...]:
    """Return the pair of the gradient in the scores, and of soft labels the gradient's tangent."""
    z, z_along = scores
    p = z.softmax(1)
    log_p_along = z_along - (p * z_along).sum(1, keepdim=True)
    if y.is_floating_point():
        total = y.sum(1, keepdim=True)
        return torch.stack((p * total - y, p * log_p_along * total)), -log_p_along
    along = p * log_p_along
    y = y.unsqueeze(1)
    return (torch.stack((p.scatter_add(1, y, p.new_full((), -1.0).expand_as(y)), along)),)
