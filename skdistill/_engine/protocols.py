"""What trains networks in an evaluation: losses, optimizers and schedules by their names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import cos, pi
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from .optimizers import SGD, Adam, InnerOptimizer

if TYPE_CHECKING:
    from ..distilled._dataset import TrainingProtocol

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


def protocol_optimizer(protocol: TrainingProtocol, n_steps: int) -> InnerOptimizer:
    """Return the optimizer that trains a network for so many steps."""
    rate, decay = protocol.learning_rate, protocol.weight_decay
    if protocol.optimizer == "adam":
        optimizer: InnerOptimizer = Adam(lr=rate, weight_decay=decay)
    else:
        optimizer = SGD(lr=rate, momentum=protocol.momentum, weight_decay=decay)
    if protocol.schedule == "constant":
        return optimizer
    factors = {
        "cosine": lambda t: (1 + cos(pi * (t - 1) / n_steps)) / 2,
        # From the middle on a tenth of the rate, as in DC and DSA.
        "step": lambda t: 1.0 if t <= n_steps // 2 else 0.1,
    }
    return Scheduled(optimizer, factors[protocol.schedule])
