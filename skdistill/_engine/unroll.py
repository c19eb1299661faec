"""Run the inner loop and differentiate its truncated window exactly.

With inner steps ``s_{i+1} = step(s_i, g_i, i)``, ``g_i`` the gradient of the inner loss on the
synthetic batch, and the outer loss ``L(theta_N)`` on real data, the truncated meta-gradient
(equation 4 of the paper; 2 and 3 are the cases ``start = 0`` and ``N = T``) is the derivative of
``L`` with respect to the synthetic batch through the last ``window`` steps, all earlier ones held
constant.

Ordinary autograd keeps the graph of every step in the window. Here only the states are kept, one
``(n_slots, n_parameters)`` tensor a step. On the way back each step's graph is built anew, used
and dropped: the optimiser's part of the adjoint is in closed form, the network's part is one
Hessian-vector product, so that memory grows by the states alone.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from .learner import Learner
from .optimizers import InnerOptimizer


@dataclass(frozen=True)
class InnerLoop:
    """What an inner loop trains, on what, and how.

    Parameters
    ----------
    learner : Learner
    optimizer : InnerOptimizer
    X, y : Tensor
        The synthetic samples and their class indices ``(n,)`` or soft labels ``(n, n_classes)``.
    batches : Tensor of shape (n_steps, batch_size) or None
        The rows that each step uses, drawn beforehand so that the adjoint replays them; ``None``
        uses all rows in every step.
    """

    learner: Learner
    optimizer: InnerOptimizer
    X: Tensor
    y: Tensor
    batches: Tensor | None = None

    def batch(self, i: int) -> tuple[Tensor, Tensor]:
        """Return the synthetic samples and labels of step ``i`` (counted from 0)."""
        if self.batches is None:
            return self.X, self.y
        rows = self.batches[i]
        return self.X[rows], self.y[rows]


@dataclass(frozen=True)
class MetaGradient:
    """The outer loss at the end of the inner loop, and its derivative."""

    loss: Tensor
    X: Tensor
    y: Tensor | None


def inner_gradient(learner: Learner, theta: Tensor, X: Tensor, y: Tensor) -> Tensor:
    """Return the gradient of the inner loss with respect to the parameters."""
    theta = theta.detach().requires_grad_()
    with torch.enable_grad():
        loss = learner.loss(theta, X, y)
    return torch.autograd.grad(loss, theta)[0]


def run(loop: InnerLoop, state: Tensor, first: int, n_steps: int) -> Tensor:
    """Return the state after ``n_steps`` steps, of which the first is number ``first``."""
    for i in range(first, first + n_steps):
        grad = inner_gradient(loop.learner, state[0], *loop.batch(i))
        state = loop.optimizer.step(state, grad, i + 1)
    return state


def run_keeping(loop: InnerLoop, state: Tensor, first: int, n_steps: int) -> Tensor:
    """Like `run`, but return all states, from the first to the last: ``(n_steps + 1, ...)``."""
    states = state.new_empty(n_steps + 1, *state.shape)
    states[0] = state
    for k in range(n_steps):
        states[k + 1] = run(loop, states[k], first + k, 1)
    return states


def step_adjoint(
    loop: InnerLoop, i: int, state: Tensor, new: Tensor, bar: Tensor, wants_labels: bool
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Pull ``bar``, the sensitivity to the state after step ``i``, back through that step.

    Returns the sensitivities to the state before the step, to the step's synthetic samples and,
    if asked for, to their labels.
    """
    X, y = loop.batch(i)
    theta = state[0].detach().requires_grad_()
    X = X.detach().requires_grad_()
    y = y.detach().requires_grad_(wants_labels)
    with torch.enable_grad():
        loss = loop.learner.loss(theta, X, y)
        (grad,) = torch.autograd.grad(loss, theta, create_graph=True)
    grad_bar, state_bar = loop.optimizer.adjoint(state, new, grad.detach(), bar, i + 1)
    inputs = (theta, X, y) if wants_labels else (theta, X)
    # A network that is linear in an input has no second derivative there: None means 0.
    pulled = torch.autograd.grad(grad, inputs, grad_bar, materialize_grads=True)
    state_bar[0] += pulled[0]
    return state_bar, pulled[1], pulled[2] if wants_labels else None


def pull_back(
    loop: InnerLoop, states: Tensor, first: int, bar: Tensor, wants_labels: bool
) -> tuple[Tensor, Tensor | None]:
    """Pull ``bar`` back through all kept states; return the sensitivities to ``X`` and ``y``."""
    X_bar = torch.zeros_like(loop.X)
    y_bar = torch.zeros_like(loop.y) if wants_labels else None
    for k in reversed(range(len(states) - 1)):
        i = first + k
        bar, X_part, y_part = step_adjoint(loop, i, states[k], states[k + 1], bar, wants_labels)
        for total, part in ((X_bar, X_part), (y_bar, y_part)):
            if part is None:
                continue
            if loop.batches is None:
                total += part
            else:
                total.index_add_(0, loop.batches[i], part)
    return X_bar, y_bar


def meta_gradient(
    loop: InnerLoop,
    theta: Tensor,
    start: int,
    window: int,
    outer_loss: Callable[[Tensor], tuple[Tensor, Tensor]],
    wants_labels: bool = False,
) -> MetaGradient:
    """Train from ``theta`` for ``start + window`` steps and differentiate the last ``window``.

    Parameters
    ----------
    loop : InnerLoop
    theta : Tensor of shape (n_parameters,)
        The parameters before the first step.
    start, window : int
        The steps before the window, held constant, and the steps in it.
    outer_loss : callable
        Maps parameters to the loss on real data and its gradient.
    wants_labels : bool
        Whether to differentiate with respect to (soft) labels, too.
    """
    with torch.no_grad():
        state = run(loop, loop.optimizer.init(theta), 0, start)
        states = run_keeping(loop, state, start, window)
        loss, theta_bar = outer_loss(states[-1, 0])
        bar = torch.zeros_like(states[-1])
        bar[0] = theta_bar
        X_bar, y_bar = pull_back(loop, states, start, bar, wants_labels)
    return MetaGradient(loss, X_bar, y_bar)
