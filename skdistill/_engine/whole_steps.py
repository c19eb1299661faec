"""Steps of Adam on a ConvNet on a CPU, and back through them: several in one call.

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

# Python hears an interrupt between calls: steps of one call, times the values that one needs in
# memory. It is some tenths of a second.
_VALUES_IN_A_CALL = 2**24


class WholeSteps:
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
        self._sized: dict[tuple, tuple] = {}

    @staticmethod
    def of(
        layers: Sequence[Layer], optimizer: object, n_parameters: int, kernels: CDLL
    ) -> WholeSteps | None:
        """Return the steps on these layers, or None if they or the optimizer are others."""
        if len(layers) != 2 or not isinstance(optimizer, FusedAdam):
            return None
        blocks, classifier = layers
        if not (isinstance(blocks, Blocks) and isinstance(classifier, Linear)):
            return None
        return WholeSteps(blocks, classifier, optimizer, n_parameters, kernels)

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
        x, labels, rows = self._samples(state, *_used(X, y, rows), n_steps)
        for part in self._calls(x, rows, n_steps):
            states = state.new_empty(min(2, len(part)), *state.shape)
            self._forward(state, x, labels, _of(rows, part), states, first, part, keep=False)
            # Not a view of a larger array, which would live as long.
            state = states[0] if len(states) == 1 else states[(len(part) - 1) % 2].clone()
        return state

    def all(
        self, state: Tensor, X: Tensor, y: Tensor, rows: Tensor | None, first: int, n_steps: int
    ) -> Tensor:
        """Like `last`, but return all states, ``(n_steps + 1, 3, n_parameters)``."""
        x, labels, rows = self._samples(state, *_used(X, y, rows), n_steps)
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
        n_steps = len(states) - 1
        x, labels, rows = self._samples(states, X, y, rows, n_steps)
        x_bar, bar = torch.zeros_like(x), bar.clone(memory_format=torch.contiguous_format)
        soft_bar = None if labels[1] is None else torch.zeros_like(labels[1])
        for part in reversed([*self._calls(x, rows, n_steps)]):
            own, (shape, blocks, sizes) = _of(rows, part), self._sizes(x, rows)
            memory = x.new_empty(sizes[1])
            self._kernels.adam_steps_adjoint(
                blocks,
                *at(states[part.start : part.stop + 1], x),
                *map(_at, (*labels, own)),
                *at(bar, x_bar),
                _at(soft_bar),
                *at(memory),
                len(x),
                *shape,
                first + part.start,
                len(part),
                *self._constants(),
            )
        X_bar = channels_second(x_bar).contiguous()
        return (bar, X_bar) if soft_bar is None else (bar, X_bar, soft_bar)

    def n_at_once(self, X: Tensor, rows: Tensor | None) -> int:
        """Return how many steps are done in one call."""
        *_, (_, of_adjoint) = self._sizes(channels_last(X[:1]), rows, len(X))
        return max(1, _VALUES_IN_A_CALL // of_adjoint)

    def _forward(self, state, x, labels, rows, states, first, part, keep) -> None:
        shape, blocks, sizes = self._sizes(x, rows)
        memory = x.new_empty(sizes[0])
        self._kernels.adam_steps(
            blocks,
            *at(state, x),
            *map(_at, (*labels, rows)),
            *at(states, memory),
            len(x),
            *shape,
            first + part.start,
            len(part),
            keep,
            *self._constants(),
        )

    def _samples(
        self, state: Tensor, X: Tensor, y: Tensor, rows: Tensor | None, n_steps: int
    ) -> tuple[Tensor, tuple[Tensor | None, Tensor | None], Tensor | None]:
        """Return samples, class indices or soft labels, and rows as native.c takes them."""
        is_soft = y.is_floating_point()
        shape = (len(X), self._n_classes) if is_soft else (len(X),)
        if X.dtype != state.dtype or y.shape != shape or X.device.type != "cpu":
            raise ValueError(
                f"X and y must be on the CPU, X {state.dtype} and y {shape}; "
                f"got {X.dtype} and {tuple(y.shape)}, on {X.device}."
            )
        if rows is not None:
            rows = rows.long().contiguous()
            if len(rows) < n_steps:
                raise IndexError(f"there are rows for {len(rows)} steps of {n_steps}.")
        labels = (None, y.to(X).contiguous()) if is_soft else (y.long().contiguous(), None)
        return channels_last(X), labels, rows

    def _sizes(self, x: Tensor, rows: Tensor | None, n_samples: int | None = None) -> tuple:
        """Return sizes of the network and its batch, its blocks, and the memory of a step."""
        n = (n_samples or len(x)) if rows is None else rows.shape[1]
        key = (n, *x.shape[1:])
        if key not in self._sized:
            blocks, *_ = self._blocks.sizes(key, 1)
            sizes = (c_ssize_t * 2)()
            shape = len(blocks), n, self._n_classes, self._has_bias, self._n_parameters
            self._kernels.steps_sizes(blocks, sizes, *shape)
            self._sized[key] = shape, blocks, tuple(sizes)
        return self._sized[key]

    def _calls(self, x: Tensor, rows: Tensor | None, n_steps: int) -> Iterator[range]:
        """Yield the steps of each call."""
        *_, (_, of_adjoint) = self._sizes(x, rows)
        most = max(1, _VALUES_IN_A_CALL // of_adjoint)
        for begin in range(0, n_steps, most):
            yield range(begin, min(begin + most, n_steps))

    def _constants(self) -> tuple:
        o = self._optimizer
        return o.lr, o.beta1, o.beta2, o.eps, o.weight_decay


def _used(X: Tensor, y: Tensor, rows: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None]:
    """Return samples, labels and rows, without samples of no row if that makes them fewer.

    All samples may be a whole training set, of which a copy with the channels last would be long.
    """
    if rows is None or rows.numel() >= len(X):
        return X, y, rows
    flat = rows.reshape(-1)
    return X[flat], y[flat], torch.arange(len(flat)).view(rows.shape)


def _of(rows: Tensor | None, steps: range) -> Tensor | None:
    """Return the rows of these steps."""
    return None if rows is None else rows[steps.start : steps.stop]


def _at(tensor: Tensor | None) -> int | None:
    """Return where a tensor is, if there is one."""
    return None if tensor is None else at(tensor)[0]
