"""Training steps of a ConvNet on a CPU by Adam, and back through them: several in one call.

For small images most of a step's time would else go by in Python and in torch, between one C
function and the next.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from ctypes import CDLL, c_ssize_t

import torch
from torch import Tensor

from .blocks import Blocks
from .fused import FusedAdam, at
from .layers import Layer, Linear, channels_last, channels_second

# Values of samples that the steps of one call see: Python hears an interrupt between calls.
_VALUES_IN_A_CALL = 2**18


class Training:
    """Adam on the mean cross-entropy of a ConvNet: `Blocks` and a linear classifier.

    Parameters
    ----------
    blocks : Blocks
    classifier : Linear
    optimizer : FusedAdam
    n_parameters : int
    kernels : ctypes.CDLL
    """

    def __init__(
        self,
        blocks: Blocks,
        classifier: Linear,
        optimizer: FusedAdam,
        n_parameters: int,
        kernels: CDLL,
    ):
        self._blocks = blocks
        self._n_classes, self._has_bias = classifier.n_out, classifier.n_parameters == 2
        self._n_parameters = n_parameters
        self._optimizer = optimizer
        self._kernels = kernels
        self._needed: dict[tuple, tuple] = {}

    @staticmethod
    def of(
        layers: Sequence[Layer], optimizer: object, n_parameters: int, kernels: CDLL
    ) -> Training | None:
        """Return the training of these layers, or None if they or the optimizer are others."""
        if len(layers) != 2 or not isinstance(optimizer, FusedAdam):
            return None
        blocks, classifier = layers
        if not (isinstance(blocks, Blocks) and isinstance(classifier, Linear)):
            return None
        return Training(blocks, classifier, optimizer, n_parameters, kernels)

    def last(
        self, state: Tensor, X: Tensor, y: Tensor, rows: Tensor | None, first: int, n_steps: int
    ) -> Tensor:
        """Return the state after steps number ``first``, counted from 0, and following.

        Parameters
        ----------
        state : Tensor of shape (3, n_parameters)
        X, y : Tensor
            Samples, and class indices ``(n,)`` or soft labels ``(n, n_classes)``.
        rows : Tensor of shape (n_steps, batch_size) or None
            The samples of each step; None: all.
        first, n_steps : int
        """
        x, *labels = self._samples(X, y)
        for part in self._calls(x, rows, n_steps):
            states = state.new_empty(2, *state.shape)
            self._forward(state, x, labels, _of(rows, part), states, first, part, keep=False)
            state = states[(len(part) - 1) % 2]
        return state

    def all(
        self, state: Tensor, X: Tensor, y: Tensor, rows: Tensor | None, first: int, n_steps: int
    ) -> Tensor:
        """Like `last`, but return all states, ``(n_steps + 1, 3, n_parameters)``."""
        x, *labels = self._samples(X, y)
        states = state.new_empty(n_steps + 1, *state.shape)
        states[0] = state
        for part in self._calls(x, rows, n_steps):
            new = states[part.start + 1 : part.stop + 1]
            self._forward(
                states[part.start], x, labels, _of(rows, part), new, first, part, keep=True
            )
        return states

    def pull_back(
        self, states: Tensor, X: Tensor, y: Tensor, rows: Tensor | None, first: int, bar: Tensor
    ) -> tuple[Tensor, ...]:
        """Pull the sensitivity to the last state back to the first, through all states.

        Returns the sensitivities to the first state, to ``X`` and, if labels are soft, to ``y``.
        """
        x, *labels = self._samples(X, y)
        x_bar, bar = torch.zeros_like(x), bar.clone(memory_format=torch.contiguous_format)
        soft_bar = None if labels[1] is None else torch.zeros_like(labels[1])
        for part in reversed([*self._calls(x, rows, len(states) - 1)]):
            own, (shape, blocks, sizes) = _of(rows, part), self._shape(x, rows)
            memory = x.new_empty(sizes[1])
            self._kernels.adam_steps_adjoint(
                blocks,
                *at(states[part.start : part.stop + 1], x),
                *map(_at, (*labels, own)),
                *at(bar, x_bar),
                _at(soft_bar),
                *at(memory),
                *shape,
                first + part.start,
                len(part),
                *self._constants(),
            )
        X_bar = channels_second(x_bar).contiguous()
        return (bar, X_bar) if soft_bar is None else (bar, X_bar, soft_bar)

    def n_at_once(self, X: Tensor, rows: Tensor | None) -> int:
        """Return how many steps are done in one call."""
        n = len(X) if rows is None else rows.shape[1]
        return max(1, _VALUES_IN_A_CALL // max(1, n * X[0].numel()))

    def _forward(self, state, x, labels, rows, states, first, part, keep) -> None:
        shape, blocks, sizes = self._shape(x, rows)
        memory = x.new_empty(sizes[0])
        self._kernels.adam_steps(
            blocks,
            *at(state, x),
            *map(_at, (*labels, rows)),
            *at(states, memory),
            *shape,
            first + part.start,
            len(part),
            keep,
            *self._constants(),
        )

    def _samples(self, X: Tensor, y: Tensor) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Return samples, and class indices or soft labels, as native.c takes them."""
        if y.is_floating_point():
            return channels_last(X), None, y.to(X).contiguous()
        return channels_last(X), y.long().contiguous(), None

    def _shape(self, x: Tensor, rows: Tensor | None) -> tuple:
        """Return sizes of the network and its batch, its blocks, and the memory it needs."""
        n = len(x) if rows is None else rows.shape[1]
        key = (n, *x.shape[1:])
        if key not in self._needed:
            blocks, *_ = self._blocks.sizes(key, 1)
            sizes = (c_ssize_t * 2)()
            shape = len(blocks), n, self._n_classes, self._has_bias, self._n_parameters
            self._kernels.steps_sizes(blocks, sizes, *shape)
            self._needed[key] = shape, blocks, tuple(sizes)
        return self._needed[key]

    def _calls(self, x: Tensor, rows: Tensor | None, n_steps: int) -> Iterator[range]:
        """Yield the steps of each call."""
        most = self.n_at_once(x, rows)
        for begin in range(0, n_steps, most):
            yield range(begin, min(begin + most, n_steps))

    def _constants(self) -> tuple:
        o = self._optimizer
        return o.lr, o.beta1, o.beta2, o.eps, o.weight_decay


def _of(rows: Tensor | None, steps: range) -> Tensor | None:
    """Return the rows of these steps."""
    return None if rows is None else rows[steps.start : steps.stop].long().contiguous()


def _at(tensor: Tensor | None) -> int | None:
    """Return where a tensor is, if there is one."""
    return None if tensor is None else at(tensor)[0]
