"""What trains networks in an evaluation: losses, optimizers and schedules by their names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from math import cos, pi
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from .labels import centered_one_hot
from .learner import Learner
from .optimizers import SGD, Adam, InnerOptimizer

if TYPE_CHECKING:
    from ..distilled._protocol import TrainingProtocol

Loss = Callable[..., Tensor]


def mean_squared_error(scores: Tensor, y: Tensor, reduction: str = "mean") -> Tensor:
    """Return half the squared error, summed over classes, against class indices or soft labels."""
    if not y.is_floating_point():
        y = F.one_hot(y, scores.shape[-1]).to(scores)
    losses = (scores - y).square().sum(dim=-1) / 2
    reductions: dict[str, Callable[[Tensor], Tensor]] = {
        "mean": torch.mean,
        "sum": torch.sum,
        "none": lambda x: x,
    }
    return reductions[reduction](losses)


def loss_of(name: str) -> Loss:
    """Return the loss that a protocol names."""
    losses: dict[str, Loss] = {"cross-entropy": F.cross_entropy, "mse": mean_squared_error}
    return losses[name]


@dataclass(frozen=True)
class Scheduled:
    """An optimizer whose learning rate follows a schedule.

    Its steps are linear in the learning rate, so a step at another rate is a fraction of one.

    Parameters
    ----------
    optimizer : InnerOptimizer
    factor : callable
        Maps a step (counted from 1) to the factor of the learning rate.
    """

    optimizer: InnerOptimizer
    factor: Callable[[int], float]

    @property
    def n_slots(self) -> int:
        """Slots in a state of the optimizer."""
        return self.optimizer.n_slots

    def init(self, theta: Tensor) -> Tensor:
        """Return the state before the first step."""
        return self.optimizer.init(theta)

    def scalars(self, t: int) -> tuple[float, ...]:
        """Return the numbers that `step` needs for step ``t`` (counted from 1)."""
        return (self.factor(t), *self.optimizer.scalars(t))

    def step(self, state: Tensor, grad: Tensor, factor, *scalars) -> Tensor:
        """Return the state after a step."""
        new = self.optimizer.step(state, grad, *scalars)
        new[0] = state[0] + factor * (new[0] - state[0])
        return new

    def adjoint(self, state: Tensor, new: Tensor, bar: Tensor, *scalars) -> tuple[Tensor, Tensor]:
        """Raise an error: nobody unrolls an evaluation."""
        raise NotImplementedError


def protocol_optimizer(
    protocol: TrainingProtocol, n_steps: int, rate: float | None = None
) -> InnerOptimizer:
    """Return the optimizer that trains a network for so many steps.

    ``rate`` replaces the learning rate of the protocol, which may not be a number.
    """
    decay = protocol.weight_decay
    if rate is None:
        assert not isinstance(protocol.learning_rate, str)
        rate = protocol.learning_rate
    if protocol.optimizer == "adam":
        optimizer: InnerOptimizer = Adam(lr=rate, weight_decay=decay)
    else:
        optimizer = SGD(lr=rate, momentum=protocol.momentum, weight_decay=decay)
    if protocol.schedule == "constant" and not protocol.warmup_steps:
        return optimizer
    return Scheduled(optimizer, partial(_factor, protocol, n_steps))


def _factor(protocol: TrainingProtocol, n_steps: int, t: int) -> float:
    """Return the factor of the learning rate at step ``t`` (counted from 1) of so many."""
    done = t - 1
    if done < protocol.warmup_steps:
        return done / protocol.warmup_steps
    done, n_steps = done - protocol.warmup_steps, n_steps - protocol.warmup_steps
    if protocol.schedule == "cosine":
        share = (1 + cos(pi * done / n_steps)) / 2
        return protocol.final_factor + (1 - protocol.final_factor) * share
    if protocol.schedule == "step":
        # The share of the steps may be a whole number but for rounding.
        n_passed = sum(done >= int(share * n_steps + 1e-6) for share in protocol.milestones)
        return protocol.gamma**n_passed
    return 1.0


def targets(protocol: TrainingProtocol, y: Tensor, n_classes: int, dtype: torch.dtype) -> Tensor:
    """Return what networks learn of class indices ``(n,)`` or soft labels ``(n, n_classes)``."""
    if protocol.targets == "centered" and not y.is_floating_point():
        y = centered_one_hot(y, n_classes, dtype)
    elif protocol.targets == "hard" and y.is_floating_point():
        y = y.argmax(dim=1)
    elif protocol.targets == "softmax" and y.is_floating_point():
        y = y.softmax(dim=1)
    if protocol.label_scale == 1:
        return y
    if not y.is_floating_point():
        y = F.one_hot(y, n_classes).to(dtype)
    return protocol.label_scale * y


class WithoutInitialScores(Learner):
    """The networks of a learner, with the scores that each had before training subtracted.

    Their parameters are those of the network, and again those at initialization. These have a
    gradient of exactly 0, so no optimizer without weight decay moves them.

    Parameters
    ----------
    learner : Learner
    """

    def __init__(self, learner: Learner):
        vars(self).update(vars(learner))
        self._n = learner.n_parameters
        self.n_parameters = 2 * self._n
        # Not the loss itself: rules that are known for it do not know these scores.
        self.criterion = partial(learner.criterion)

    def flat(self, module: torch.nn.Module) -> Tensor:
        """Return the parameters of a network of this family as one vector, twice."""
        return super().flat(module).repeat(2)

    def logits(self, theta: Tensor, X: Tensor) -> Tensor:
        """Return the scores ``(n, n_classes)`` minus the initial ones."""
        now, at_first = theta.split(self._n, dim=-1)
        return super().logits(now, X) - super().logits(at_first.detach(), X)


# Of the power iteration, which needs few steps: the largest eigenvalue of a tangent kernel is far
# from the second.
_N_ITERATIONS = 50
# Samples from which the largest rate is estimated, as in the code of KIP.
_N_SAMPLES = 50


def largest_stable_rate(learner: Learner, theta: Tensor, X: Tensor) -> float:
    """Return the largest learning rate of stable gradient descent on the squared error.

    It is twice the number of samples over the largest eigenvalue of the network's tangent kernel,
    for the loss of `mean_squared_error`. The kernel is that of the sum of the scores over classes,
    divided by the square root of their number, as in the code of KIP.

    Raises
    ------
    ValueError
        If there is none, because the scores do not depend on the parameters.
    """
    # From all over the set: the first samples of a sorted one are of one class.
    rows = torch.linspace(0, len(X) - 1, min(len(X), _N_SAMPLES)).long()
    X, theta = X[rows.to(X.device)], theta.detach().requires_grad_()
    v, largest = (X.new_ones(len(X)) / len(X) ** 0.5).requires_grad_(), 0.0
    with torch.enable_grad():
        scores = learner.logits(theta, X)
        reduced = scores.sum(dim=1) / scores.shape[1] ** 0.5
        for _ in range(_N_ITERATIONS):
            # The transposed Jacobian times v is linear in v: its derivative along itself is the
            # kernel times v.
            (pulled,) = torch.autograd.grad(reduced, theta, v, create_graph=True)
            (w,) = torch.autograd.grad(pulled, v, pulled.detach(), retain_graph=True)
            largest = float(w.norm())
            v = (w / largest if largest > 0 else w).requires_grad_()
    if not 0 < largest < float("inf"):
        raise ValueError(
            "learning_rate='stable' needs networks whose scores depend on their parameters and are "
            f"finite; the largest eigenvalue of the tangent kernel is {largest}."
        )
    return 2 * len(X) / largest
