"""Networks that are linear in their parameters: the first order of a network around its own ones.

With the Jacobian ``J`` of the scores with respect to the parameters, a linearized network has the
scores ``J t`` for a change ``t`` of the parameters (the tangents). The weights of the last layer do
not change: they are solved for, so only those of the body have tangents [Loo23].

The scores of a batch are differentiated once, with a placeholder for the derivative at the scores.
``J^T a`` is then a pass backwards through the graph of the scores, and ``J t`` one through the
graph of ``J^T``, which is linear in its placeholder: neither computes a network again. (Derivatives
of torch's forward mode are not to be trusted here: those of its layer normalization are wrong.)

[Loo23]: N. Loo, R. Hasani, M. Lechner and D. Rus, "Dataset Distillation with Convexified Implicit
Gradients", ICML 2023.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor, nn

from .steps import n_chunks


def softened(module: nn.Module, beta: float) -> nn.Module:
    """Return a network whose layers of ReLU are softplus, ``log(1 + exp(beta x)) / beta``.

    The derivative of ``J t`` with respect to samples goes through the slope of the activations,
    which for ReLU has no derivative where it jumps.
    """
    if isinstance(module, nn.ReLU):
        return nn.Softplus(beta=beta)
    for name, child in list(module._modules.items()):
        if child is not None:
            setattr(module, name, softened(child, beta))
    return module


class _Forward(NamedTuple):
    """A chunk of samples with the graphs of its features and scores."""

    X: Tensor
    theta: Tensor
    features: Tensor
    scores: Tensor


class _Part(NamedTuple):
    """The same with the graph of the Jacobian."""

    forward: _Forward
    placeholder: Tensor
    pulled: Tensor


class Linearized:
    """A linearized network at some samples.

    If the samples are one chunk, their graphs are kept; for several they would take more memory
    than making them again.

    Parameters
    ----------
    network : callable
        ``(theta, X) -> (features, scores)``: the inputs ``(n, n_features)`` of a network's last
        layer, and its scores ``(n, n_classes)``.
    theta : Tensor of shape (n_parameters,)
        Where it is linearized.
    body : Tensor of shape (n_parameters,)
        1 for parameters that have tangents, 0 for the others.
    X : Tensor
        The samples.
    chunk : int or None, default=None
        Most samples at once; None for all.

    Attributes
    ----------
    X : Tensor
    """

    def __init__(
        self,
        network: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]],
        theta: Tensor,
        body: Tensor,
        X: Tensor,
        chunk: int | None = None,
    ):
        self._network, self._theta, self._body = network, theta, body
        self.X = X.detach()
        self._kept: _Part | None = None
        self._chunks = self.X.chunk(n_chunks(len(X), chunk))
        if len(self._chunks) == 1:
            self._kept = self._make(self.X)

    @cached_property
    def features(self) -> Tensor:
        """The inputs ``(n, n_features)`` of the last layer; they do not depend on the tangents."""
        if self._kept is not None:
            return self._kept.forward.features.detach()
        with torch.no_grad():
            return torch.cat([self._network(self._theta, X)[0] for X in self._chunks])

    def scores(self, t: Tensor) -> Tensor:
        """Return the scores ``J t``, of shape ``(n, n_classes)``."""
        return self.features_and_scores(t)[1]

    def features_and_scores(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """Return both, for less than each by itself if there are several chunks."""
        t, features, scores = t * self._body, list[Tensor](), list[Tensor]()
        for X in self._chunks:
            part = self._kept or self._make(X)
            features.append(part.forward.features.detach())
            scores += torch.autograd.grad(part.pulled, part.placeholder, t, retain_graph=True)
        return torch.cat(features), torch.cat(scores)

    def pulled_back(self, scores_bar: Tensor) -> Tensor:
        """Return ``J^T a``: the derivative at the tangents, given that at the scores."""
        bars = scores_bar.to(self._theta).split([len(X) for X in self._chunks])
        total = torch.zeros_like(self._theta)
        for X, bar in zip(self._chunks, bars):
            _, theta, _, scores = self._forward(X)
            total += torch.autograd.grad(scores, theta, bar, retain_graph=True)[0]
        return total * self._body

    def pulled_to_samples(
        self, features_bar: Tensor, pairs: Sequence[tuple[Tensor, Tensor]]
    ) -> Tensor:
        """Return the derivative of ``<features, features_bar> + sum <J t, a>`` at the samples.

        Parameters
        ----------
        features_bar : Tensor of shape (n, n_features)
        pairs : sequence of (Tensor, Tensor)
            Tangents ``t`` and derivatives ``a`` at the scores ``J t``.
        """
        sizes, X_bars = [len(X) for X in self._chunks], []
        parts = [bar.to(self._theta).split(sizes) for bar in (features_bar, *(a for _, a in pairs))]
        for X, bar, *bars in zip(self._chunks, *parts):
            X, theta, features, scores = self._forward(X)
            with torch.enable_grad():
                total = (features * bar).sum()
                for (t, _), a in zip(pairs, bars):
                    # <J t, a> is <t, J^T a>.
                    (pulled,) = torch.autograd.grad(scores, theta, a, create_graph=True)
                    total = total + (pulled * (t * self._body)).sum()
            X_bars.append(torch.autograd.grad(total, X, retain_graph=True)[0])
        return torch.cat(X_bars)

    def _forward(self, X: Tensor) -> _Forward:
        if self._kept is not None:
            return self._kept.forward
        X, theta = X.detach().requires_grad_(), self._theta.detach().requires_grad_()
        with torch.enable_grad():
            return _Forward(X, theta, *self._network(theta, X))

    def _make(self, X: Tensor) -> _Part:
        forward = self._forward(X)
        with torch.enable_grad():
            placeholder = torch.zeros_like(forward.scores, requires_grad=True)
            (pulled,) = torch.autograd.grad(
                forward.scores, forward.theta, placeholder, create_graph=True
            )
        return _Part(forward, placeholder, pulled)
