"""Inner optimizers as pure steps, each with its exact vector-Jacobian product.

A state is one tensor of shape ``(n_slots, *theta.shape)``: row 0 holds the parameters, the other
rows the optimizer's own moments. One tensor per step makes a window cheap to keep. The outer
loop moves the synthetic samples with the same steps.

For a step ``state' = step(state, g)`` with ``g`` the gradient of the inner loss at ``state[0]``,
``adjoint`` takes both states and the sensitivity of the outer loss to ``state'``, and returns the
sensitivities to ``g`` and to ``state`` (without the path through ``g``, which needs the network:
see ``steps.py``).
"""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


class InnerOptimizer(Protocol):
    """What the unrolling needs from an optimizer.

    Numbers that depend on the step are computed separately, by `scalars`, in double precision.
    Passed as tensors, they let one compiled graph serve all steps.
    """

    @property
    def n_slots(self) -> int:
        """Tensors in a state."""

    def init(self, theta: Tensor) -> Tensor:
        """Return the state before the first step."""

    def scalars(self, t: int) -> tuple[float, ...]:
        """Return the numbers that `step` and `adjoint` need for step ``t`` (counted from 1)."""

    def step(self, state: Tensor, grad: Tensor, *scalars) -> Tensor:
        """Return the state after a step."""

    def adjoint(self, state: Tensor, new: Tensor, bar: Tensor, *scalars) -> tuple[Tensor, Tensor]:
        """Return ``(grad_bar, state_bar)`` for ``bar``, the sensitivity to ``new``."""


def _initial(theta: Tensor, n_slots: int) -> Tensor:
    state = theta.new_zeros(n_slots, *theta.shape)
    state[0] = theta
    return state


@dataclass(frozen=True)
class SGD:
    """``torch.optim.SGD``: heavy-ball momentum without dampening, L2 added to the gradient."""

    lr: float = 0.01
    momentum: float = 0.0
    weight_decay: float = 0.0

    @property
    def n_slots(self) -> int:
        return 2 if self.momentum else 1

    def init(self, theta: Tensor) -> Tensor:
        return _initial(theta, self.n_slots)

    def scalars(self, t: int) -> tuple[float, ...]:
        return ()

    def step(self, state: Tensor, grad: Tensor) -> Tensor:
        if self.weight_decay:
            grad = grad + self.weight_decay * state[0]
        if not self.momentum:
            return torch.add(state[0], grad, alpha=-self.lr).unsqueeze(0)
        velocity = torch.add(grad, state[1], alpha=self.momentum)
        return torch.stack((torch.add(state[0], velocity, alpha=-self.lr), velocity))

    def adjoint(self, state: Tensor, new: Tensor, bar: Tensor):
        theta_bar = bar[0]
        grad_bar = -self.lr * theta_bar
        if self.momentum:
            grad_bar = grad_bar + bar[1]
        if self.weight_decay:
            theta_bar = torch.add(theta_bar, grad_bar, alpha=self.weight_decay)
        rows = (theta_bar, self.momentum * grad_bar) if self.momentum else (theta_bar,)
        return grad_bar, torch.stack(rows)


@dataclass(frozen=True)
class GradientDescent:
    """Gradient descent whose learning rate is a tensor without axes, because it is learned.

    A state keeps the gradient of the step that led to it, to which the rate is sensitive: what the
    step has moved, divided by a small rate, would have lost its digits.
    """

    lr: Tensor

    n_slots = 2

    def init(self, theta: Tensor) -> Tensor:
        return _initial(theta, self.n_slots)

    def scalars(self, t: int) -> tuple[float, ...]:
        return ()

    def step(self, state: Tensor, grad: Tensor) -> Tensor:
        return torch.stack((state[0] - self.lr * grad, grad))

    def adjoint(self, state: Tensor, new: Tensor, bar: Tensor):
        # No step reads the gradient of the one before.
        return bar[1] - self.lr * bar[0], torch.stack((bar[0], torch.zeros_like(bar[0])))

    def rate_bar(self, new: Tensor, bar: Tensor) -> Tensor:
        """Return the sensitivity to the learning rate, through the step to ``new`` alone."""
        return -(bar[0] @ new[1])


@dataclass(frozen=True)
class Adam:
    """``torch.optim.Adam``: bias correction, epsilon outside the root, L2 added to the gradient."""

    lr: float | Tensor = 0.001
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8
    weight_decay: float = 0.0

    n_slots = 3

    def init(self, theta: Tensor) -> Tensor:
        return _initial(theta, self.n_slots)

    def scalars(self, t: int) -> tuple[float, ...]:
        return 1 - self.beta1**t, 1 - self.beta2**t

    def step(self, state: Tensor, grad: Tensor, correction1, correction2) -> Tensor:
        theta, m, v = state
        if self.weight_decay:
            grad = grad + self.weight_decay * theta
        new = torch.empty_like(state)
        new_theta, new_m, new_v = new
        torch.lerp(m, grad, 1 - self.beta1, out=new_m)
        torch.mul(v, self.beta2, out=new_v).addcmul_(grad, grad, value=1 - self.beta2)
        change = (new_v / correction2).sqrt_().add_(self.eps)
        torch.div(new_m, change, out=change).mul_(self.lr / correction1)
        torch.sub(theta, change, out=new_theta)
        return new

    def adjoint(self, state: Tensor, new: Tensor, bar: Tensor, correction1, correction2):
        _, m, v = new
        # The gradient (with the decay) that turned the old moment into m: it need be neither kept
        # nor computed again.
        grad = torch.lerp(state[1], m, 1 / (1 - self.beta1))
        theta_bar, m_bar, v_bar = bar
        root = (v / correction2).sqrt_()
        denominator = root + self.eps
        scaled = (theta_bar * (self.lr / correction1)).div_(denominator)
        m_bar = m_bar - scaled
        # d(theta')/dv goes through the square root, whose slope at 0 is infinite. v' is a weighted
        # sum of squared gradients, so v' = 0 means that every gradient up to here was 0 and with
        # it m': the path's true contribution is 0 there (it vanishes like |g|), not 0 * inf.
        slope = (scaled * m).div_((2 * correction2 * root).mul_(denominator))
        v_bar = v_bar + torch.ops.aten.threshold_backward(slope, root, 0)
        grad_bar = torch.addcmul((1 - self.beta1) * m_bar, grad, v_bar, value=2 - 2 * self.beta2)
        if self.weight_decay:
            theta_bar = torch.add(theta_bar, grad_bar, alpha=self.weight_decay)
        return grad_bar, torch.stack((theta_bar, self.beta1 * m_bar, self.beta2 * v_bar))
