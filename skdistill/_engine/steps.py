"""One inner step and its adjoint: plainly, or traced once and compiled.

All are pure functions of tensors, so that one graph, compiled for the shapes of a run, serves all
its steps. The traced graph holds the gradients themselves as operations: the compiler needs no
autograd.

A batch may be taken in chunks, because the loss is a mean over samples: a chunk's activations stay
near the cache, and memory holds only those of one chunk.

Augmentation comes before a step: the step sees the augmented batch, and the sensitivity to
that batch is pulled back through the augmentation, replayed with the same numbers. So a step is the
same with and without augmentation, whose second derivative is never needed.
"""

import logging
from collections.abc import Callable

import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

from .chain import Chain
from .learner import Learner
from .optimizers import InnerOptimizer
from .recorded import recorded
from .rewrites import Rewrites
from .runtime import keep_freed_memory
from .whole_steps import WholeSteps

_logger = logging.getLogger(__name__)

# Steps for which the optimizer's numbers are tabulated at first.
_TABLE = 256


def n_chunks(n: int, most: int | None) -> int:
    """Return into how many chunks to divide ``n`` samples, of at most ``most`` (None: of all).

    Up to twice as many as needed if that makes them equal, because one compiled graph then serves
    all.
    """
    if most is None or n <= most:
        return 1
    needed = -(-n // most)
    return next((k for k in range(needed, 2 * needed + 1) if n % k == 0), needed)


class Autograd:
    """The loss of any network, its gradient and the derivative of that, by autograd.

    Parameters
    ----------
    learner : Learner
    """

    def __init__(self, learner: Learner):
        self.learner = learner

    def optimizer(self, optimizer: InnerOptimizer) -> InnerOptimizer:
        """Return what computes an optimizer's steps here."""
        return optimizer

    def whole_steps(self, optimizer: InnerOptimizer) -> None:
        """Return that nothing computes whole steps here."""

    def gradient(self, theta: Tensor, X: Tensor, y: Tensor, *weight: Tensor):
        """Return the sum of the (weighted) loss over samples, and its gradient."""
        theta = theta.detach().requires_grad_()
        with torch.enable_grad():
            if weight:
                loss = (self.learner.loss(theta, X, y, reduction="none") * weight[0]).sum()
            else:
                loss = self.learner.loss(theta, X, y, reduction="sum")
        return loss.detach(), torch.autograd.grad(loss, theta)[0]

    def curvature(self, theta: Tensor, X: Tensor, y: Tensor, vector: Tensor):
        """Differentiate the product of the gradient of the summed loss with a vector."""
        inputs = [x.detach().requires_grad_() for x in (theta, X)]
        if y.is_floating_point():
            y = y.detach().requires_grad_()
            inputs.append(y)
        with torch.enable_grad():
            loss = self.learner.loss(inputs[0], inputs[1], y, reduction="sum")
            (grad,) = torch.autograd.grad(loss, inputs[0], create_graph=True)
        # A network that is linear in an input has no second derivative there: None means 0.
        return torch.autograd.grad(grad, inputs, vector, materialize_grads=True)


class Steps:
    """The inner step of a network family under an optimizer, and its adjoint, run eagerly.

    Parameters
    ----------
    learner : Learner
    optimizer : InnerOptimizer
    chunk : int or None, default=None
        Most synthetic samples that go through the network at once; None for all.
    augment : callable or None, default=None
        Maps samples and the numbers drawn for them, ``(n_numbers, n)``, to augmented samples: a
        pure function, differentiable in the samples, that does not mix them. None augments nothing.
    derivatives : Autograd, Chain or None, default=None
        What differentiates the loss. None: by rules if the network is a chain of layers that have
        them, and else by autograd.
    """

    def __init__(
        self,
        learner: Learner,
        optimizer: InnerOptimizer,
        chunk: int | None = None,
        augment: Callable[[Tensor, Tensor], Tensor] | None = None,
        derivatives: Autograd | Chain | None = None,
    ):
        if learner.device.type == "cpu":
            keep_freed_memory()
        self.derivatives = derivatives or Chain.of(learner) or Autograd(learner)
        # Whether steps and adjoints can do without all that torch does for autograd's sake. (Not
        # every device can.)
        by_rules = isinstance(self.derivatives, Chain)
        self.without_autograd = by_rules and learner.device.type == "cpu"
        self.learner = learner
        self.optimizer = self.derivatives.optimizer(optimizer)
        self._whole = self.derivatives.whole_steps(self.optimizer)
        self.chunk = chunk
        self.augment = augment

    @property
    def is_fused(self) -> bool:
        """Whether C functions compute the network."""
        return isinstance(self.derivatives, Chain) and self.derivatives.is_fused

    def whole(self, n: int) -> WholeSteps | None:
        """Return what computes whole steps on batches of so many samples, or None."""
        return self._whole if n_chunks(n, self.chunk) == 1 else None

    def forward(self, state: Tensor, X: Tensor, y: Tensor, t: int) -> Tensor:
        """Return the state after step ``t`` (counted from 1) on the batch ``(X, y)``."""
        if (whole := self.whole(len(X))) is not None:
            return whole.last(state, X, y, None, t - 1, 1)
        scalars = self._scalars(state, t)
        if self._n_chunks(X) == 1:
            return self._call(self._forward, state, X, y, *scalars)
        grad = self._mean_gradient(state[0], X, y)
        return self._call(self.optimizer.step, state, grad, *scalars)

    def forward_with_norm(
        self, state: Tensor, X: Tensor, y: Tensor, t: int
    ) -> tuple[Tensor, Tensor]:
        """Return the state after step ``t``, and the norm of the gradient that moved it."""
        grad = self._mean_gradient(state[0], X, y)
        new = self._call(self.optimizer.step, state, grad, *self._scalars(state, t))
        return new, grad.norm()

    def adjoint(
        self, states: Tensor, X: Tensor, y: Tensor, bar: Tensor, t: int
    ) -> tuple[Tensor, ...]:
        """Pull ``bar``, the sensitivity to the state after step ``t``, back through that step.

        The states, ``(2, n_slots, n_parameters)``, are those before and after it. Returns the
        sensitivities to the state before it, to ``X`` and, if labels are soft, to ``y``.
        """
        if (whole := self.whole(len(X))) is not None:
            return whole.pull_back(states, X, y, None, t - 1, bar)
        state, new = states
        scalars = self._scalars(state, t)
        if self._n_chunks(X) == 1:
            return self._call(self._adjoint, state, new, X, y, bar, *scalars)
        grad_bar, bar = self._call(self.optimizer.adjoint, state, new, bar, *scalars)
        grad_bar = grad_bar / len(X)
        data_bars = []
        for part in self._chunks(X, y):
            theta_bar, *bars = self._call(self._curvature, state[0], *part, grad_bar)
            bar[0] += theta_bar
            data_bars.append(bars)
        return bar, *map(torch.cat, zip(*data_bars))

    def gradient(
        self, theta: Tensor, X: Tensor, y: Tensor, *weight: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the sum of the (weighted) loss over samples, and its gradient."""
        return self._call(self._gradient, theta, X, y, *weight)

    def curvature(self, theta: Tensor, X: Tensor, y: Tensor, vector: Tensor) -> tuple[Tensor, ...]:
        """Differentiate the product of the gradient of the summed loss with a vector.

        Returns the derivatives with respect to ``theta``, ``X`` and, if labels are soft, ``y``.
        """
        return self._call(self._curvature, theta, X, y, vector)

    def augmented(self, X: Tensor, draws: Tensor) -> Tensor:
        """Return samples augmented with the numbers ``(n_numbers, n)`` drawn for them."""
        n = self._n_chunks(X)
        parts = zip(X.chunk(n), draws.chunk(n, dim=1))
        return torch.cat([self._call(self._augmented, *part) for part in parts])

    def augmentation_adjoint(self, X: Tensor, draws: Tensor, bar: Tensor) -> Tensor:
        """Pull ``bar``, the sensitivity to the augmented samples, back to the samples ``X``."""
        n = self._n_chunks(X)
        parts = zip(X.chunk(n), draws.chunk(n, dim=1), bar.chunk(n))
        return torch.cat([self._call(self._augmentation_adjoint, *part) for part in parts])

    def _mean_gradient(self, theta: Tensor, X: Tensor, y: Tensor) -> Tensor:
        first, *others = (self.gradient(theta, *part)[1] for part in self._chunks(X, y))
        return sum(others, first) / len(X)

    def _call(self, function: Callable, *tensors):
        return function(*tensors)

    def _scalars(self, state: Tensor, t: int) -> tuple:
        return self.optimizer.scalars(t)

    def _n_chunks(self, X: Tensor) -> int:
        return n_chunks(len(X), self.chunk)

    def _chunks(self, *tensors: Tensor):
        n = self._n_chunks(tensors[0])
        return zip(*(x.chunk(n) for x in tensors))

    def _gradient(self, theta: Tensor, X: Tensor, y: Tensor, *weight: Tensor):
        return self.derivatives.gradient(theta, X, y, *weight)

    def _curvature(self, theta: Tensor, X: Tensor, y: Tensor, vector: Tensor):
        return self.derivatives.curvature(theta, X, y, vector)

    def _forward(self, state: Tensor, X: Tensor, y: Tensor, *scalars) -> Tensor:
        grad = self._gradient(state[0], X, y)[1] / len(X)
        return self.optimizer.step(state, grad, *scalars)

    def _augmented(self, X: Tensor, draws: Tensor) -> Tensor:
        assert self.augment is not None
        return self.augment(X, draws)

    def _augmentation_adjoint(self, X: Tensor, draws: Tensor, bar: Tensor) -> Tensor:
        assert self.augment is not None
        X = X.detach().requires_grad_()
        with torch.enable_grad():
            augmented = self.augment(X, draws)
        return torch.autograd.grad(augmented, X, bar)[0]

    def _adjoint(self, state: Tensor, new: Tensor, X: Tensor, y: Tensor, bar: Tensor, *scalars):
        grad_bar, state_bar = self.optimizer.adjoint(state, new, bar, *scalars)
        theta_bar, *data_bars = self._curvature(state[0], X, y, grad_bar / len(X))
        state_bar[0] += theta_bar
        return state_bar, *data_bars


class CompiledSteps(Steps):
    """Like `Steps`, but each function is traced and compiled for the shapes that it meets first.

    What autograd and `Rewrites` make is compiled, not the rules of a chain: the rules save calls,
    which cost nothing in compiled code, and are slower there on 28 x 28 and 32 x 32 pixels.

    Each function has at most two sets of shapes, such as a step's and the real batch's. Other
    shapes, such as a smaller last chunk, and whatever cannot be compiled run eagerly.

    Parameters
    ----------
    learner, optimizer, *args, **kwargs
        As for `Steps`.
    report : callable or None, default=None
        Called once, with the reason, if something could not be compiled.
    """

    _MAX_SHAPES = 2

    def __init__(
        self,
        learner: Learner,
        optimizer: InnerOptimizer,
        *args,
        report: Callable[[str], None] | None = None,
        **kwargs,
    ):
        super().__init__(learner, optimizer, *args, **kwargs)
        self._uncompiled = self.derivatives
        # What is traced. A trace does not see functions in C, and would leave out what they do.
        self.derivatives, self.optimizer = Autograd(learner), optimizer
        self.without_autograd, self._whole = False, None
        self._report = report
        self._graphs: dict[str, dict[tuple, Callable | None]] = {}
        self._table: Tensor | tuple = ()

    def _scalars(self, state: Tensor, t: int) -> tuple[Tensor, ...]:
        # Tensors, so that one graph serves all steps; and all at once, because bringing a number to
        # a GPU waits for the GPU.
        if t > len(self._table):
            steps = range(1, 2 * max(t, _TABLE) + 1)
            self._table = state.new_tensor([self.optimizer.scalars(i) for i in steps])
        return self._table[t - 1].unbind()

    def _call(self, function: Callable, *tensors: Tensor):
        graphs = self._graphs.setdefault(function.__qualname__, {})
        shapes = tuple((x.shape, x.dtype) for x in tensors)
        if shapes not in graphs:
            if len(graphs) == self._MAX_SHAPES:
                return self._eagerly(function, *tensors)
            graphs[shapes] = self._compiled(function, tensors)
        graph = graphs[shapes]
        if graph is None:
            return self._eagerly(function, *tensors)
        with torch.no_grad():
            return graph(*tensors)

    def _eagerly(self, function: Callable, *tensors: Tensor):
        traced, self.derivatives = self.derivatives, self._uncompiled
        try:
            return function(*tensors)
        finally:
            self.derivatives = traced

    def _compiled(self, function: Callable, tensors: tuple[Tensor, ...]) -> Callable | None:
        """Return ``function`` compiled for tensors like these, or None if that fails."""
        try:
            return _compiled(function, tensors)
        except Exception as error:
            # Compilation is optional: a machine without a C++ compiler still gets the result.
            _logger.debug("running eagerly: %s", error)
            if self._report is not None:
                report, self._report = self._report, None
                first, *_ = str(error).strip().splitlines() or [""]
                report(f"{type(error).__name__}: {first}")
            return None


def _compiled(function: Callable, tensors: tuple[Tensor, ...]) -> Callable:
    """Return ``function`` traced and compiled for tensors like these."""
    with torch.enable_grad(), Rewrites():
        # make_fx counts the self of a bound method as an argument: hide it.
        traced = make_fx(lambda *args: function(*args))(*(x.detach() for x in tensors))
    traced.graph.eliminate_dead_code()
    traced.recompile()
    if tensors[0].is_cuda:
        graph = recorded(traced)
    else:
        graph = torch.compile(traced, fullgraph=True, dynamic=False)
    with torch.no_grad():
        graph(*tensors)  # compilation happens here
    return graph
