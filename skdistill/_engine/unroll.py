"""Run the inner loop and differentiate its truncated window exactly.

With inner steps ``s_{i+1} = step(s_i, g_i)``, ``g_i`` the gradient of the inner loss on the
synthetic batch, and the outer loss ``L(theta_N)`` on real data, the truncated meta-gradient
(equation 4 of [Feng23]; equations 2 and 3 are the cases ``start = 0`` and ``N = T``) is the
derivative of ``L`` with respect to the synthetic batch through the last ``window`` steps, all
earlier ones held constant.

Ordinary autograd keeps the graph of every step in the window. Here only the states are kept, one
``(n_slots, n_parameters)`` tensor per step. On the way back each step's graph is built anew, used
and dropped: the optimizer's part of the adjoint is in closed form, the network's part is one
Hessian-vector product, so that memory grows by the states alone.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from .optimizers import GradientDescent
from .steps import Steps
from .whole_steps import WholeSteps


@dataclass(frozen=True)
class InnerLoop:
    """What an inner loop trains, on what, and how.

    Parameters
    ----------
    steps : Steps
        The networks, their optimizer and how a step is computed.
    X, y : Tensor
        The synthetic samples and their class indices ``(n,)`` or soft labels ``(n, n_classes)``.
    batches : Tensor of shape (n_steps, batch_size) or None
        The rows that each step uses, drawn beforehand so that the adjoint replays them; ``None``
        uses all rows in every step.
    draws : Tensor of shape (n_steps, n_numbers, batch_size) or None
        The random numbers of each step's augmentation, drawn beforehand for the same reason;
        ``None`` augments nothing.
    """

    steps: Steps
    X: Tensor
    y: Tensor
    batches: Tensor | None = None
    draws: Tensor | None = None

    @property
    def without_autograd(self) -> bool:
        """Whether its steps, and their adjoints, need nothing that torch does for autograd."""
        # An augmentation is differentiated by autograd.
        return self.steps.without_autograd and self.draws is None

    @property
    def whole(self) -> WholeSteps | None:
        """What computes several of its steps at once; or None."""
        if self.draws is not None:
            return None
        return self.steps.whole(len(self.X) if self.batches is None else self.batches.shape[1])

    @property
    def n_at_once(self) -> int:
        """How many of its steps are best done at once."""
        return 1 if self.whole is None else self.whole.n_at_once(self.X, self.batches)

    def rows(self, first: int, n_steps: int) -> Tensor | None:
        """Return the rows that these steps use; None is all."""
        return None if self.batches is None else self.batches[first : first + n_steps]

    def batch(self, i: int) -> tuple[Tensor, Tensor]:
        """Return the synthetic samples, as step ``i`` (counted from 0) sees them, and labels."""
        X, y = self._rows(i)
        if self.draws is None:
            return X, y
        return self.steps.augmented(X, self.draws[i]), y

    def before_augmentation(self, i: int, bar: Tensor) -> Tensor:
        """Pull the sensitivity to the samples that step ``i`` saw back to its rows of ``X``."""
        if self.draws is None:
            return bar
        return self.steps.augmentation_adjoint(self._rows(i)[0], self.draws[i], bar)

    def _rows(self, i: int) -> tuple[Tensor, Tensor]:
        if self.batches is None:
            return self.X, self.y
        rows = self.batches[i]
        return self.X[rows], self.y[rows]


@dataclass(frozen=True)
class MetaGradient:
    """The outer loss at the end of the inner loop, and its derivatives.

    Parameters
    ----------
    loss : Tensor
    X : Tensor
    y : Tensor or None
        Only of soft labels.
    lr : Tensor or None, default=None
        With respect to the learning rate, if it is learned (`GradientDescent`).
    """

    loss: Tensor
    X: Tensor
    y: Tensor | None
    lr: Tensor | None = None


def run(loop: InnerLoop, state: Tensor, first: int, n_steps: int) -> Tensor:
    """Return the state after ``n_steps`` steps, starting with step number ``first``."""
    if (whole := loop.whole) is not None:
        return whole.last(state, loop.X, loop.y, loop.rows(first, n_steps), first, n_steps)
    for i in range(first, first + n_steps):
        state = loop.steps.forward(state, *loop.batch(i), i + 1)
    return state


@torch.no_grad()
def gradient_norms(loop: InnerLoop, theta: Tensor, n_steps: int) -> Tensor:
    """Return the norm of the gradient of each of the steps from ``theta``, ``(n_steps,)``."""
    state, norms = loop.steps.optimizer.init(theta), []
    for i in range(n_steps):
        state, norm = loop.steps.forward_with_norm(state, *loop.batch(i), i + 1)
        norms.append(norm)
    return torch.stack(norms)


def run_keeping(loop: InnerLoop, state: Tensor, first: int, n_steps: int) -> Tensor:
    """Like `run`, but return all states, from the first to the last: ``(n_steps + 1, ...)``."""
    if (whole := loop.whole) is not None:
        return whole.all(state, loop.X, loop.y, loop.rows(first, n_steps), first, n_steps)
    states = state.new_empty(n_steps + 1, *state.shape)
    states[0] = state
    for k in range(n_steps):
        states[k + 1] = run(loop, states[k], first + k, 1)
    return states


def pull_back(
    loop: InnerLoop, states: Tensor, first: int, bar: Tensor, first_order: bool = False
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Pull ``bar`` back through all kept states.

    Returns the sensitivities to ``X``, to ``y`` if labels are soft, and to the learning rate if it
    is learned. With ``first_order`` each gradient of the inner loss counts as if the parameters at
    which it is taken were constant, as in TESLA: the sensitivity to the state stays what it is at
    the end. Only plain gradient descent has this form.
    """
    if (whole := loop.whole) is not None and not first_order:
        rows = loop.rows(first, len(states) - 1)
        _, X_bar, *y_bar = whole.pull_back(states, loop.X, loop.y, rows, first, bar)
        return X_bar, y_bar[0] if y_bar else None, None
    totals = [torch.zeros_like(loop.X)]
    if loop.y.is_floating_point():
        totals.append(torch.zeros_like(loop.y))
    optimizer, lr_bars = loop.steps.optimizer, list[Tensor]()
    for k in reversed(range(len(states) - 1)):
        i = first + k
        if isinstance(optimizer, GradientDescent):
            lr_bars.append(optimizer.rate_bar(states[k + 1], bar))
        before, X_bar, *y_bar = loop.steps.adjoint(states[k : k + 2], *loop.batch(i), bar, i + 1)
        if not first_order:
            bar = before
        for total, part in zip(totals, [loop.before_augmentation(i, X_bar), *y_bar]):
            if loop.batches is None:
                total += part
            else:
                total.index_add_(0, loop.batches[i], part)
    lr_bar = torch.stack(lr_bars).sum() if lr_bars else None
    return totals[0], totals[1] if len(totals) == 2 else None, lr_bar


def meta_gradient(
    loop: InnerLoop,
    theta: Tensor,
    start: int,
    window: int,
    outer_loss: Callable[[Tensor], tuple[Tensor, Tensor]],
    first_order: bool = False,
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
        Maps parameters to the loss on real data, or any other, and its gradient.
    first_order : bool, default=False
        As in `pull_back`.
    """
    mode = torch.inference_mode if loop.without_autograd else torch.no_grad
    with mode():
        state = run(loop, loop.steps.optimizer.init(theta), 0, start)
        states = run_keeping(loop, state, start, window)
    with torch.no_grad():
        # A copy: what inference mode made could enter no graph.
        loss, theta_bar = outer_loss(states[-1, 0].clone())
    with mode():
        bar = torch.zeros_like(states[-1])
        bar[0] = theta_bar
        X_bar, *others = pull_back(loop, states, start, bar, first_order)
    # Copies, for the same reason.
    copies = [None if each is None else each.clone() for each in others]
    return MetaGradient(loss, X_bar.clone(), *copies)
