"""What moves the synthetic samples, and how their gradient is clipped."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from .optimizers import SGD, Adam


class OuterOptimizer(Protocol):
    """A pure step of a learned tensor; its state is one tensor, with the values in row 0."""

    def init(self, tensor: Tensor) -> Tensor:
        """Return the state before the first step."""

    def step(self, slots: Tensor, grad: Tensor, learning_rate: float | Tensor, t: int) -> Tensor:
        """Return the state after step ``t`` (counted from 1).

        The learning rate may be a tensor that broadcasts: one rate per sample, for example.
        """


@dataclass(frozen=True)
class OuterAdam:
    """Adam [Feng23, C.1]."""

    def init(self, tensor: Tensor) -> Tensor:
        """Return the state before the first step."""
        return Adam().init(tensor)

    def step(self, slots: Tensor, grad: Tensor, learning_rate: float | Tensor, t: int) -> Tensor:
        """Return the state after step ``t`` (counted from 1)."""
        adam = Adam(lr=learning_rate)
        return adam.step(slots, grad, *adam.scalars(t))


@dataclass(frozen=True)
class OuterSGD:
    """Stochastic gradient descent with heavy-ball momentum.

    Parameters
    ----------
    momentum : float, default=0.5
        As in DC, DSA, DM and MTT.
    """

    momentum: float = 0.5

    def init(self, tensor: Tensor) -> Tensor:
        """Return the state before the first step."""
        return SGD(momentum=self.momentum).init(tensor)

    def step(self, slots: Tensor, grad: Tensor, learning_rate: float | Tensor, t: int) -> Tensor:
        """Return the state after step ``t`` (counted from 1)."""
        # Not by SGD's own step, whose learning rate is a number.
        if not self.momentum:
            return (slots[0] - learning_rate * grad).unsqueeze(0)
        velocity = grad + self.momentum * slots[1]
        return torch.stack((slots[0] - learning_rate * velocity, velocity))


class Clip(Protocol):
    """How a gradient is clipped by its norm."""

    def level(self, norm: float, average: float | None) -> tuple[float, float]:
        """Return the moving average of the norm with this one, and the norm to clip at."""


@dataclass(frozen=True)
class MovingAverageClip:
    """Clip at a multiple of the norm's moving average.

    "meta-gradient clipping with an exponential moving average" [Feng23, C.1], which gives no
    constants; these are those of its code.

    Parameters
    ----------
    decay : float, default=0.9
        Weight of the past in the average.
    factor : float, default=2.0
        The multiple.
    """

    decay: float = 0.9
    factor: float = 2.0

    def level(self, norm: float, average: float | None) -> tuple[float, float]:
        """Return the moving average of the norm with this one, and the norm to clip at."""
        average = norm if average is None else self.decay * average + (1 - self.decay) * norm
        return average, self.factor * average


@dataclass(frozen=True)
class NormClip:
    """Clip at a given norm.

    Parameters
    ----------
    most : float
    """

    most: float

    def level(self, norm: float, average: float | None) -> tuple[float, float]:
        """Return the norm, and the norm to clip at."""
        return norm, self.most
