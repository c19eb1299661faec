"""One inner step and its adjoint: plainly, or traced once and compiled.

Both are pure functions of tensors, so that one graph, compiled for the shapes of a run, serves all
its steps. The traced graph holds the gradients themselves as operations: what the compiler sees
needs no autograd any more.
"""

import logging
from collections.abc import Callable

import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

from .learner import Learner
from .optimizers import InnerOptimizer

_logger = logging.getLogger(__name__)


class Steps:
    """The inner step of a network family under an optimiser, and its adjoint, run eagerly.

    Parameters
    ----------
    learner : Learner
    optimizer : InnerOptimizer
    """

    def __init__(self, learner: Learner, optimizer: InnerOptimizer):
        self.learner = learner
        self.optimizer = optimizer

    def forward(self, state: Tensor, X: Tensor, y: Tensor, t: int) -> Tensor:
        """Return the state after step ``t`` (counted from 1) on the batch ``(X, y)``."""
        return self._forward(state, X, y, *self.optimizer.scalars(t))

    def adjoint(
        self, state: Tensor, new: Tensor, X: Tensor, y: Tensor, bar: Tensor, t: int
    ) -> tuple[Tensor, ...]:
        """Pull ``bar``, the sensitivity to the state after step ``t``, back through that step.

        Returns the sensitivities to the state before the step, to ``X`` and, if labels are soft, to
        ``y``.
        """
        return self._adjoint(state, new, X, y, bar, *self.optimizer.scalars(t))

    def real_gradient(
        self, theta: Tensor, X: Tensor, y: Tensor, *weight: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the sum of the (weighted) loss over real samples, and its gradient."""
        theta = theta.detach().requires_grad_()
        with torch.enable_grad():
            if weight:
                loss = (self.learner.loss(theta, X, y, reduction="none") * weight[0]).sum()
            else:
                loss = self.learner.loss(theta, X, y, reduction="sum")
        return loss.detach(), torch.autograd.grad(loss, theta)[0]

    def _forward(self, state: Tensor, X: Tensor, y: Tensor, *scalars) -> Tensor:
        theta = state[0].detach().requires_grad_()
        with torch.enable_grad():
            loss = self.learner.loss(theta, X, y)
        (grad,) = torch.autograd.grad(loss, theta)
        return self.optimizer.step(state, grad, *scalars)

    def _adjoint(self, state: Tensor, new: Tensor, X: Tensor, y: Tensor, bar: Tensor, *scalars):
        theta = state[0].detach().requires_grad_()
        inputs = [theta, X.detach().requires_grad_()]
        if y.is_floating_point():
            y = y.detach().requires_grad_()
            inputs.append(y)
        with torch.enable_grad():
            loss = self.learner.loss(theta, inputs[1], y)
            (grad,) = torch.autograd.grad(loss, theta, create_graph=True)
        grad_bar, state_bar = self.optimizer.adjoint(state, new, grad.detach(), bar, *scalars)
        # A network that is linear in an input has no second derivative there: None means 0.
        theta_bar, *data_bars = torch.autograd.grad(grad, inputs, grad_bar, materialize_grads=True)
        return torch.cat((state_bar[:1] + theta_bar, state_bar[1:])), *data_bars


class CompiledSteps(Steps):
    """Like `Steps`, but each function is traced and compiled for the first shapes that it meets.

    Other shapes, a smaller last chunk of a real batch for one, and whatever cannot be compiled are
    run eagerly.
    """

    def __init__(self, learner: Learner, optimizer: InnerOptimizer):
        super().__init__(learner, optimizer)
        self._graphs: dict[str, tuple[tuple, Callable | None]] = {}

    def forward(self, state: Tensor, X: Tensor, y: Tensor, t: int) -> Tensor:
        """Return the state after step ``t`` (counted from 1) on the batch ``(X, y)``."""
        return self._call("forward", super()._forward, state, X, y, *self._tensors(state, t))

    def adjoint(
        self, state: Tensor, new: Tensor, X: Tensor, y: Tensor, bar: Tensor, t: int
    ) -> tuple[Tensor, ...]:
        """Pull ``bar`` back through step ``t``; see `Steps`."""
        scalars = self._tensors(state, t)
        return self._call("adjoint", super()._adjoint, state, new, X, y, bar, *scalars)

    def real_gradient(
        self, theta: Tensor, X: Tensor, y: Tensor, *weight: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the sum of the (weighted) loss over real samples, and its gradient."""
        return self._call("real_gradient", super().real_gradient, theta, X, y, *weight)

    def _tensors(self, state: Tensor, t: int) -> tuple[Tensor, ...]:
        return tuple(state.new_tensor(self.optimizer.scalars(t)).unbind())

    def _call(self, name: str, function: Callable, *tensors: Tensor):
        shapes = tuple((x.shape, x.dtype) for x in tensors)
        if name not in self._graphs:
            self._graphs[name] = shapes, _compiled(function, tensors)
        expected, graph = self._graphs[name]
        if graph is None or shapes != expected:
            return function(*tensors)
        with torch.no_grad():
            return graph(*tensors)


def _compiled(function: Callable, tensors: tuple[Tensor, ...]) -> Callable | None:
    """Return ``function`` traced and compiled for tensors like these, or None if that fails."""
    try:
        with torch.enable_grad():
            # make_fx counts the self of a bound method as an argument: hide it.
            traced = make_fx(lambda *args: function(*args))(*(x.detach() for x in tensors))
        traced.graph.eliminate_dead_code()
        traced.recompile()
        graph = torch.compile(traced, fullgraph=True, dynamic=False)
        with torch.no_grad():
            graph(*tensors)  # compilation happens here
    except Exception as error:
        # Compiling is an offer: a machine without a C++ compiler, say, still gets the result.
        _logger.debug("running eagerly: %s", error)
        return None
    return graph
