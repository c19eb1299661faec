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


@dataclass(frozen=True)
class OuterLAMB:
    """LAMB: Adam whose steps have the length of the tensor that they move [You20].

    In each tensor, Adam's change ``u = m / (sqrt(v) + eps)``, of corrected moments, plus
    ``weight_decay`` times the values, is multiplied by ``norm(values) / norm(u)``; by 1 where one
    of these norms is 0. The norms are those of all rows, also of those that are held back. The
    defaults are those of ``optax.lamb``, with which FRePo learns its samples and labels, but for
    `most`. Without it the samples grow exponentially if their scale makes no difference, as with
    instance normalization: nothing pulls against steps of a constant share of their length, and
    within some thousand steps they overflow.

    Parameters
    ----------
    beta1 : float, default=0.9
        Decay of the moving average of the gradients.
    beta2 : float, default=0.999
        Decay of that of their squares.
    eps : float, default=1e-6
        Added to the root.
    weight_decay : float, default=0.0
    most : float, default=10.0
        The root mean square of the values at which their norm stops to count: the bound of phi in
        [You20]. Real samples, which are standardized, have 1.

    References
    ----------
    .. [You20] Y. You et al., "Large Batch Optimization for Deep Learning: Training BERT in 76
       minutes", ICLR 2020.
    """

    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-6
    weight_decay: float = 0.0
    most: float = 10.0

    def init(self, tensor: Tensor) -> Tensor:
        """Return the state before the first step."""
        return Adam().init(tensor)

    def step(self, slots: Tensor, grad: Tensor, learning_rate: float | Tensor, t: int) -> Tensor:
        """Return the state after step ``t`` (counted from 1)."""
        theta, m, v = slots
        m = torch.lerp(m, grad, 1 - self.beta1)
        v = self.beta2 * v + (1 - self.beta2) * grad.square()
        change = m / (1 - self.beta1**t) / ((v / (1 - self.beta2**t)).sqrt() + self.eps)
        if self.weight_decay:
            change = change + self.weight_decay * theta
        size = theta.norm().clamp(max=self.most * theta.numel() ** 0.5)
        length = change.norm()
        # Values of 0 would never move, and a change of 0 has no direction.
        ratio = torch.where((size == 0) | (length == 0), torch.ones_like(size), size / length)
        return torch.stack((theta - learning_rate * (ratio * change), m, v))


@dataclass(frozen=True)
class OuterAdaBelief:
    """AdaBelief: Adam with the variance of the gradients instead of their squares [Zhuang20].

    The variance is that around the moving average *before* the step, with ``eps_root`` added in
    every step, as in ``optax.adabelief``, whose defaults these are, and with which RCIG learns its
    samples and labels. ([Zhuang20] takes the average after the step.)

    Parameters
    ----------
    beta1 : float, default=0.9
        Decay of the moving average of the gradients.
    beta2 : float, default=0.999
        Decay of that of the squared differences from it.
    eps : float, default=1e-16
        Added to the root.
    eps_root : float, default=1e-16
        Added to the squares in every step.

    References
    ----------
    .. [Zhuang20] J. Zhuang et al., "AdaBelief Optimizer: Adapting Stepsizes by the Belief in
       Observed Gradients", NeurIPS 2020.
    """

    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-16
    eps_root: float = 1e-16

    def init(self, tensor: Tensor) -> Tensor:
        """Return the state before the first step."""
        return Adam().init(tensor)

    def step(self, slots: Tensor, grad: Tensor, learning_rate: float | Tensor, t: int) -> Tensor:
        """Return the state after step ``t`` (counted from 1)."""
        theta, m, v = slots
        v = self.beta2 * v + (1 - self.beta2) * (grad - m).square() + self.eps_root
        m = torch.lerp(m, grad, 1 - self.beta1)
        change = m / (1 - self.beta1**t) / ((v / (1 - self.beta2**t)).sqrt() + self.eps)
        return torch.stack((theta - learning_rate * change, m, v))


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
class RobustClip:
    """Clip at a multiple of the moving average of the norms before, as they were clipped.

    A norm does not raise the level at which it is clipped itself, as it does by
    `MovingAverageClip`, and raises that of later ones by a tenth at most. A single gradient of a
    thousand times the usual norm, which the first steps of Adam make if a parameter's gradient is
    near its ``eps``, moves the samples no further than any other then: up to twice the usual norm
    of it gets through, in its direction. The first of a run is not clipped, because there is
    nothing to compare it with, and norms that grow by themselves are clipped until the level has
    followed, by a tenth in each step.

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
        if not average:
            # None, or 0: nothing could rise above it.
            return norm, self.factor * norm
        level = self.factor * average
        return self.decay * average + (1 - self.decay) * min(norm, level), level


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
