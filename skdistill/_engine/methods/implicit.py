"""Implicit gradients of linearized networks (RCIG) [Loo23].

A linearized network with the tangents ``t`` of its body predicts ``J t + phi W``, where ``phi`` are
the features of the network that is linearized, and ``W`` is solved for by ridge regression. Its
loss on the ``N`` synthetic labels is then a convex quadratic in the tangents alone::

    L(t) = lambda / N * (<r, (K + lambda)^-1 r> + <t, t>) / 2,   r = y - J t,   K = phi phi^T
    g_s  = lambda / N * (t - J^T (K + lambda)^-1 r)
    H    = lambda / N * (1 + J^T (K + lambda)^-1 J)

and the meta-gradient of the loss ``F`` on real samples is, with ``g_t = dF/dt``, the direct part
``dF/d(X, y)`` minus the implicit one, ``d<H^-1 g_t, g_s>/d(X, y)``.

[Loo23]: N. Loo, R. Hasani, M. Lechner and D. Rus, "Dataset Distillation with Convexified Implicit
Gradients", ICML 2023; its code is ``algorithms.py`` of github.com/yolky/RCIG.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from math import isfinite, nan
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from .. import ridge
from ..features import Features, RealFeatures
from ..linearized import Linearized
from ..memory import linearized_peak
from ..optimizers import Adam
from ..outer_optimizers import OuterAdaBelief
from ..ridge import Factored, in_double
from ..streams import Streams
from ..tuned_rate import TunedRate, verdict
from .base import Extra, Gradient, Problem, State, Synthetic
from .feature_regression import PooledRegression, label_term
from .random_features import LOG_SCALE, scale_of_scores

# The labels' margin, in units of 1 / n_classes, beyond which there is no more to gain.
_MARGIN = 0.5


class SelfLoss:
    """The loss on the synthetic set as a quadratic in the tangents; see the head of the file.

    Parameters
    ----------
    network : Linearized
        At the synthetic samples.
    y : Tensor of shape (n / n_copies, n_classes)
        Their labels.
    shift : float
        The ridge ``lambda``, which the tangents have as well.
    n_copies : int, default=1
        How often the labels are repeated: mirror images follow the samples.
    """

    def __init__(self, network: Linearized, y: Tensor, shift: float, n_copies: int = 1):
        self.network, self.shift = network, shift
        # In double precision, with a graph that both parts of the gradient go back through.
        self.y = in_double(y).detach().requires_grad_()
        self.features = in_double(network.features).requires_grad_()
        with torch.enable_grad():
            self.labels = self.y.repeat(n_copies, 1)
            self.kernel = ridge.factored(self.features @ self.features.T, shift)
        self._solve = Factored(self.kernel.L.detach(), self.kernel.n_raised).solve
        self._unit = shift / self.labels.numel()

    def slope(self) -> Tensor:
        """Return minus the gradient at ``t = 0``."""
        return self._unit * self.network.pulled_back(self._solve(self.labels.detach()))

    def product(self, t: Tensor) -> Tensor:
        """Return ``H t``."""
        solved = self._solve(self.network.scores(t))
        return self._unit * (t + self.network.pulled_back(solved))

    def square(self, t: Tensor) -> Tensor:
        """Return ``<t, H t>``."""
        scores = in_double(self.network.scores(t))
        along = (scores * self._solve(scores)).sum()
        return self._unit * (t.square().sum() + along.to(t))

    def implicit_gradient(self, t: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Return the derivatives of ``-<v, g_s(t)>`` at the samples of the network and at ``y``."""
        scores, along = (in_double(self.network.scores(each)).requires_grad_() for each in (t, v))
        with torch.enable_grad():
            # Without <v, t>, which is constant.
            term = self._unit * (along * self.kernel.solve(self.labels - scores)).sum()
        features_bar, scores_bar, along_bar, y_bar = torch.autograd.grad(
            term, (self.features, scores, along, self.y), retain_graph=True
        )
        pairs = [(t, scores_bar), (v, along_bar)]
        return self.network.pulled_to_samples(features_bar, pairs), y_bar


class DirectGradient(NamedTuple):
    """The loss on real samples, and its derivatives for tangents that do not depend on the others.

    Parameters
    ----------
    loss : Tensor
        Scalar, in double precision.
    X : Tensor
        At the samples of the network.
    y : Tensor of shape (n, n_classes)
    log_scale : Tensor of shape (1,)
    t : Tensor of shape (n_parameters,)
        At the tangents.
    """

    loss: Tensor
    X: Tensor
    y: Tensor
    log_scale: Tensor
    t: Tensor


def direct_gradient(
    self_loss: SelfLoss,
    t: Tensor,
    real: Linearized,
    batch: RealFeatures,
    log_scale: Tensor,
    learns_labels: bool,
) -> DirectGradient:
    """Return the loss on a real batch of what a linearized network has learned.

    Parameters
    ----------
    self_loss : SelfLoss
    t : Tensor of shape (n_parameters,)
        The tangents.
    real : Linearized
        The network at the real samples.
    batch : RealFeatures
        Their labels and weights.
    log_scale : Tensor of shape (1,)
        The logarithm of the scale with which predictions are the scores of a cross-entropy.
    learns_labels : bool
        Whether the loss has the term that keeps labels apart.
    """
    network, features, y = self_loss.network, self_loss.features, self_loss.y
    real_features, real_scores = map(in_double, real.features_and_scores(t))
    real_scores.requires_grad_()
    scores, log_scale = in_double(network.scores(t)).requires_grad_(), log_scale.detach()
    log_scale.requires_grad_()
    with torch.enable_grad():
        # The weights of the last layer.
        head = features.T @ self_loss.kernel.solve(self_loss.labels - scores)
        predicted = (real_scores + real_features @ head) * log_scale.exp().to(features)
        targets = batch.y.to(predicted.device)
        loss = batch.mean(F.cross_entropy(predicted, targets, reduction="none"))
        if learns_labels:
            loss = loss + label_term(y, _MARGIN)
    features_bar, scores_bar, real_bar, y_bar, log_scale_bar = torch.autograd.grad(
        loss, (features, scores, real_scores, y, log_scale), retain_graph=True
    )
    return DirectGradient(
        loss=loss.detach(),
        X=network.pulled_to_samples(features_bar, [(t, scores_bar)]),
        y=y_bar,
        log_scale=log_scale_bar,
        t=network.pulled_back(scores_bar) + real.pulled_back(real_bar),
    )


def inverse_product(
    loss: SelfLoss, b: Tensor, learning_rate: float, n_steps: int
) -> tuple[Tensor, list[float]]:
    """Return ``H^-1 b`` as far as some steps of Adam get, from 0, and the values on the way.

    They minimize ``<t, H t> - 2 <t, b>``, whose values are returned: before the first step, after
    each, and after the last.
    """
    adam = Adam(learning_rate)
    slots, values = adam.init(torch.zeros_like(b)), []
    for step in range(1, n_steps + 1):
        t = slots[0]
        product = loss.product(t)
        values.append(t @ (product - 2 * b))
        slots = adam.step(slots, product - b, *adam.scalars(step))
    t = slots[0]
    values.append(loss.square(t) - 2 * (t @ b))
    return t, torch.stack(values).tolist()


@dataclass(frozen=True, eq=False)
class ImplicitGradient(PooledRegression):
    """Algorithm 1 of [Loo23]: meta-gradients by the implicit function theorem.

    Parameters
    ----------
    embed : Embedding
        A network up to its last layer.
    pool : Pool
        The networks that are linearized, which are trained along with the set.
    batch : callable
        Returns the rows of the real batch of an outer step.
    regularization : float
        The ridge, for each synthetic sample.
    flips : bool
        Whether the mirror image of each synthetic image is learned from as well.
    inner_steps, inverse_steps : int
        Steps of Adam toward the tangents, and toward ``H^-1 g_t``.
    inner_rate, inverse_rate : TunedRate
        Their learning rates.
    pool_steps : int
        Most steps by which a network is trained after the outer step that it was drawn for.
    log_scale_lr : float
        Learning rate of the logarithm of the scale of the scores.
    """

    inner_steps: int
    inverse_steps: int
    inner_rate: TunedRate
    inverse_rate: TunedRate
    pool_steps: int
    log_scale_lr: float

    optimizer = OuterAdaBelief()
    _peak = staticmethod(linearized_peak)

    def __post_init__(self) -> None:
        """Raise a ValueError, before any work, if the last layer has no weights of its own."""
        _ = self.embed.body

    def extra(self, problem: Problem) -> dict[str, Extra]:
        """Return the logarithm of the scale of the scores."""
        return {LOG_SCALE: scale_of_scores(problem, self.embed, self.log_scale_lr)}

    def init(self, problem: Problem) -> State:
        """Return the state with which a run starts."""
        rates = {"inner": self.inner_rate.init(), "inverse": self.inverse_rate.init()}
        return {**super().init(problem), **rates}

    def gradient(
        self, problem: Problem, synthetic: Synthetic, state: State, step: int
    ) -> tuple[Gradient, State]:
        """Return the loss of outer step ``step`` with its derivatives, and the next state.

        The network of the step before is trained first, on the samples as that step left them. A
        network with which the loss is not finite is replaced.
        """
        rngs, X = problem.rngs, synthetic.X
        y = self.labels(synthetic, problem.rows.n_classes, X.dtype)
        support, pool = self._support(X), state["pool"]
        if step > 0:
            last = self.pool.draw(rngs, step - 1)
            labels = y.repeat(2, 1) if self.flips else y
            n_steps = self._n_pool_steps(rngs, step - 1)
            pool = self.pool.advance(pool, last, support, labels, rngs, step, n_steps)
        k = self.pool.draw(rngs, step)
        found, inner, inverse = self._gradient(
            problem, synthetic, support, y, self.pool.network(pool, k), state, step
        )
        age = self.pool.age(pool, k)
        if not found.loss.isfinite().item():
            pool = self.pool.diverged(pool, k, rngs, step)
        record = {**found.record, "age": age, "n_diverged": pool["n_diverged"]}
        state = {"pool": pool, "inner": inner, "inverse": inverse}
        return replace(found, record=record), state

    def _gradient(
        self,
        problem: Problem,
        synthetic: Synthetic,
        support: Tensor,
        y: Tensor,
        theta: Tensor,
        state: State,
        step: int,
    ) -> tuple[Gradient, State, State]:
        """Return the gradient through one network, and the states of both rates after it."""
        index = problem.rngs.draw_index(step)
        linearized = partial(
            Linearized, self.embed.with_scores, theta, self.embed.body, chunk=problem.chunk
        )
        # As "features", the samples themselves.
        batch = Features(lambda X: X, problem.chunk).of_real(problem, self.batch(index), index)
        shift = self.regularization * len(problem.rows)
        loss = SelfLoss(linearized(support), y, shift, len(support) // len(y))
        inner, t = self._descent(
            loss, loss.slope(), self.inner_rate, state["inner"], self.inner_steps
        )
        direct = direct_gradient(
            loss, t, linearized(batch.features), batch, synthetic.extra[LOG_SCALE],
            synthetic.learns_labels,
        )  # fmt: skip
        inverse, v = self._descent(
            loss, direct.t, self.inverse_rate, state["inverse"], self.inverse_steps
        )
        X_implicit, y_implicit = loss.implicit_gradient(t, v)
        X_bar, ratio = with_implicit(self._folded(direct.X), self._folded(X_implicit))
        y_bar, _ = with_implicit(direct.y, y_implicit)
        found = Gradient(
            loss=direct.loss.to(support),
            X=X_bar,
            y=y_bar.to(support) if synthetic.learns_labels else None,
            extra={LOG_SCALE: direct.log_scale},
            record={
                "n_raised": loss.kernel.n_raised,
                "implicit_ratio": ratio,
                # Not tried yet if the networks so far were of no use.
                "inner_lr": inner["value"] or nan,
                "inverse_lr": inverse["value"] or nan,
            },
        )
        return found, inner, inverse

    def _descent(
        self, loss: SelfLoss, b: Tensor, rate: TunedRate, state: State, n_steps: int
    ) -> tuple[State, Tensor]:
        """Return the state of a learning rate after a descent, and where that ended."""
        if not b.isfinite().all().item():
            # That is the network's fault, and says nothing of the rate.
            return state, b
        state = rate.tried(state, lambda lr: verdict(inverse_product(loss, b, lr, n_steps)[1]))
        solution, values = inverse_product(loss, b, state["value"], n_steps)
        return rate.followed(state, verdict(values)), solution

    def _n_pool_steps(self, rngs: Streams, step: int) -> int:
        return int(rngs.numpy("pool steps", step).integers(1, self.pool_steps + 1))

    def check_state(self, problem: Problem, state: State, step: int) -> None:
        """Raise any error if a run cannot continue from a state that was read from a file."""
        super().check_state(problem, state, step)
        self.inner_rate.check("inner rate", state["inner"])
        self.inverse_rate.check("inverse rate", state["inverse"])


def with_implicit(direct: Tensor, implicit: Tensor) -> tuple[Tensor, float]:
    """Return the sum of both parts of a gradient, and the ratio of their norms.

    The implicit part is at most as long as the direct one, because a descent that was cut off may
    have made it far too long. One that is not finite is left out.
    """
    length, most = implicit.norm().item(), direct.norm().item()
    if not isfinite(length):
        return direct, length
    factor = min(1.0, most / length) if length else 0.0
    return direct + factor * implicit, length / most if most else nan
