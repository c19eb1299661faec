"""Steps of Adam on a ConvNet or an MLP on a CPU, and back through them: several in one call.

For small images and tables most of a step's time would else go by in Python and in torch, between
one operation and the next.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Sequence
from ctypes import CDLL, POINTER, byref, c_double, c_ssize_t, c_void_p
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor

from .blocks import Blocks
from .fused import BlockSizes, FusedAdam, at
from .layers import Flatten, Layer, LayerNorm, Linear, ReLU, channels_last, channels_second

# Python hears an interrupt between calls: steps of one call, times the values that one needs in
# memory. It is some tenths of a second.
_VALUES_IN_A_CALL = 2**24
# Hidden layers that native.c has room for.
_MOST_HIDDEN = 16


class _Hidden(ctypes.Structure):
    """A hidden layer, as in ``native.c``."""

    _fields_ = [
        *((name, c_ssize_t) for name in ("n_in", "n_out", "has_bias", "has_norm")),
        ("eps", c_double),
    ]

    @staticmethod
    def of(affine: Linear, norm: LayerNorm | None) -> _Hidden:
        """Return the layer of these parts."""
        eps = 0.0 if norm is None else norm.eps
        return _Hidden(affine.n_in, affine.n_out, affine.n_parameters == 2, norm is not None, eps)


class _Training(ctypes.Structure):
    """The sizes of a network and its batch, and Adam's numbers, as in ``native.c``."""

    _fields_ = [
        ("blocks", POINTER(BlockSizes)),
        ("layers", POINTER(_Hidden)),
        *((name, c_ssize_t) for name in ("n_blocks", "n_layers", "n", "n_inputs", "n_classes")),
        *((name, c_ssize_t) for name in ("has_bias", "n_parameters")),
        *((name, c_double) for name in ("lr", "beta1", "beta2", "eps", "decay")),
    ]


class _Samples(ctypes.Structure):
    """All samples and the rows of steps, as in ``native.c``; an array that is missing is null."""

    _fields_ = [
        *((name, c_void_p) for name in ("x", "labels", "soft", "rows")),
        ("n", c_ssize_t),
    ]


@dataclass(frozen=True)
class Parts:
    """A network that `WholeSteps` trains.

    Parameters
    ----------
    blocks : Blocks or None
        Of a network of images.
    flattens : bool
        Whether samples may be of several dimensions.
    hidden : list of (Linear, LayerNorm or None)
        Hidden layers, each of which ends with a rectifier.
    classifier : Linear
    """

    blocks: Blocks | None
    flattens: bool
    hidden: list[tuple[Linear, LayerNorm | None]]
    classifier: Linear

    def check(self, shape: Sequence[int]) -> None:
        """Raise a ValueError unless the network takes samples ``(n, ...)`` of this shape."""
        affine = [*(affine for affine, _ in self.hidden), self.classifier]
        n_in = [each.n_in for each in affine]
        fits = n_in[1:] == [each.n_out for each in affine[:-1]]
        if self.blocks is not None:
            fits &= len(shape) == 4 and self.blocks.takes(shape, n_in[0])
        else:
            fits &= prod(shape[1:]) == n_in[0] and (self.flattens or len(shape) == 2)
        if not fits:
            raise ValueError(f"the network does not take samples of shape {tuple(shape[1:])}.")

    @staticmethod
    def of(layers: Sequence[Layer]) -> Parts | None:
        """Return the parts that these layers are, or None if they are others."""
        rest, blocks = list(layers), None
        flattens = bool(rest) and isinstance(rest[0], (Blocks, Flatten))
        if flattens:
            first = rest.pop(0)
            blocks = first if isinstance(first, Blocks) else None
        hidden = list[tuple[Linear, LayerNorm | None]]()
        while len(rest) > 2:
            affine, second = rest[:2]
            norm = second if isinstance(second, LayerNorm) else None
            n_layers = 2 if norm is None else 3
            if not (isinstance(affine, Linear) and isinstance(rest[n_layers - 1], ReLU)):
                return None
            hidden.append((affine, norm))
            del rest[:n_layers]
        if len(rest) != 1 or not isinstance(rest[0], Linear) or len(hidden) > _MOST_HIDDEN:
            return None
        return Parts(blocks, flattens, hidden, rest[0])


class WholeSteps:
    """Adam on the mean cross-entropy of a network.

    Parameters
    ----------
    parts : Parts
    optimizer : FusedAdam
    n_parameters : int
    dtype : torch.dtype
        The precision of the functions.
    kernels : ctypes.CDLL
    """

    def __init__(
        self,
        parts: Parts,
        optimizer: FusedAdam,
        n_parameters: int,
        dtype: torch.dtype,
        kernels: CDLL,
    ):
        self._parts, self._blocks, classifier = parts, parts.blocks, parts.classifier
        hidden = [_Hidden.of(*layer) for layer in parts.hidden]
        self._hidden = (_Hidden * len(hidden))(*hidden)
        self._n_classes, self._has_bias = classifier.n_out, classifier.n_parameters == 2
        self._n_parameters, self._dtype = n_parameters, dtype
        self._optimizer = optimizer
        self._kernels = kernels
        self._sized: dict[tuple, tuple] = {}

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
            own, (training, sizes) = _of(rows, part), self._sizes(x, rows)
            memory = x.new_empty(sizes[1])
            self._kernels.adam_steps_adjoint(
                byref(training),
                *at(states[part.start : part.stop + 1]),
                byref(_described(x, labels, own)),
                *at(bar, x_bar),
                _at(soft_bar),
                *at(memory),
                first + part.start,
                len(part),
            )
        X_bar = channels_second(x_bar).contiguous() if x.ndim == 4 else x_bar.view(X.shape)
        return (bar, X_bar) if soft_bar is None else (bar, X_bar, soft_bar)

    def n_at_once(self, X: Tensor, rows: Tensor | None) -> int:
        """Return how many steps are done in one call."""
        return self._most_at_once(self._laid_out(X[:1]), rows, len(X))

    def adjoint_bytes(self, n: int, shape: Sequence[int]) -> int:
        """Return the memory that the way back through a step on ``n`` samples takes."""
        x = self._laid_out(torch.empty(n, *shape, device="meta"))
        return self._sizes(x, None)[1][1] * self._dtype.itemsize

    def _forward(self, state, x, labels, rows, states, first, part, keep) -> None:
        training, sizes = self._sizes(x, rows)
        memory = x.new_empty(sizes[0])
        self._kernels.adam_steps(
            byref(training),
            *at(state),
            byref(_described(x, labels, rows)),
            *at(states, memory),
            first + part.start,
            len(part),
            keep,
        )

    def _laid_out(self, X: Tensor) -> Tensor:
        """Return samples as native.c takes them: images with their channels last, or flat."""
        return X.flatten(1).contiguous() if self._blocks is None else channels_last(X)

    def _samples(
        self, state: Tensor, X: Tensor, y: Tensor, rows: Tensor | None, n_steps: int
    ) -> tuple[Tensor, tuple[Tensor | None, Tensor | None], Tensor | None]:
        """Return samples, class indices or soft labels, and rows as native.c takes them."""
        size = 3, self._n_parameters
        if state.shape[-2:] != size or state.dtype != self._dtype:
            raise ValueError(
                f"a state must have the shape {size} and be {self._dtype}; got "
                f"{tuple(state.shape[-2:])} and {state.dtype}."
            )
        is_soft = y.is_floating_point()
        shape = (len(X), self._n_classes) if is_soft else (len(X),)
        if X.dtype != state.dtype or y.shape != shape or X.device.type != "cpu":
            raise ValueError(
                f"X and y must be on the CPU, X {state.dtype} and y {shape}; "
                f"got {X.dtype} and {tuple(y.shape)}, on {X.device}."
            )
        self._parts.check(X.shape)
        if n_steps and 0 in (len(X), *(() if rows is None else rows.shape[1:])):
            raise ValueError("a step needs samples.")
        if rows is not None:
            rows = rows.long().contiguous()
            if len(rows) < n_steps:
                raise IndexError(f"there are rows for {len(rows)} steps of {n_steps}.")
        labels = (None, y.to(X).contiguous()) if is_soft else (y.long().contiguous(), None)
        return self._laid_out(X), labels, rows

    def _sizes(self, x: Tensor, rows: Tensor | None, n_samples: int | None = None) -> tuple:
        """Return the training on batches, and the memory of a step and of one back."""
        n = (n_samples or len(x)) if rows is None else rows.shape[1]
        key = (n, *x.shape[1:])
        if key not in self._sized:
            blocks = None if self._blocks is None else self._blocks.sizes(key, 1)[0]
            o = self._optimizer
            training = _Training(
                blocks,
                self._hidden,
                0 if blocks is None else len(blocks),
                len(self._hidden),
                n,
                prod(x.shape[1:]),
                self._n_classes,
                self._has_bias,
                self._n_parameters,
                *(o.lr, o.beta1, o.beta2, o.eps, o.weight_decay),
            )
            sizes = (c_ssize_t * 2)()
            self._kernels.steps_sizes(byref(training), sizes)
            self._sized[key] = training, tuple(sizes)
        return self._sized[key]

    def _most_at_once(self, x: Tensor, rows: Tensor | None, n_samples: int | None = None) -> int:
        _, (_, of_adjoint) = self._sizes(x, rows, n_samples)
        return max(1, _VALUES_IN_A_CALL // of_adjoint)

    def _calls(self, x: Tensor, rows: Tensor | None, n_steps: int) -> Iterator[range]:
        """Yield the steps of each call."""
        most = self._most_at_once(x, rows)
        for begin in range(0, n_steps, most):
            yield range(begin, min(begin + most, n_steps))


def _described(
    x: Tensor, labels: tuple[Tensor | None, Tensor | None], rows: Tensor | None
) -> _Samples:
    return _Samples(*at(x), *map(_at, (*labels, rows)), len(x))


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
