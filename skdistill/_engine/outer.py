"""The outer loop: gradient of an objective, clipping, a step of Adam, a record."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import isfinite, nan
from time import perf_counter
from typing import Protocol

import torch
from torch import Tensor

from .memory import PeakMemory
from .optimizers import Adam
from .parametrization import LABELS, Parametrization

# Section C.1: "meta-gradient clipping with an exponential moving average"; the paper gives no
# constants.
_CLIP_DECAY = 0.9
_CLIP_FACTOR = 2.0


class Objective(Protocol):
    """What the outer loop moves the synthetic samples and labels down."""

    def begin(self) -> dict:
        """Return the (JSON-safe) memory with which a run starts."""

    def prepare(self, X: Tensor, y: Tensor, step: int, memory: dict) -> dict:
        """Return the memory for outer step ``step``, which starts from these samples and labels."""

    def gradient(
        self, X: Tensor, y: Tensor, step: int, memory: dict
    ) -> tuple[Tensor, Tensor, Tensor | None, dict]:
        """Return the loss of outer step ``step``, its gradients, and what to record.

        The gradients are those at the samples ``X`` and, if the labels ``y`` are soft, at these.
        """

    def observe(self, loss: float, memory: dict) -> dict:
        """Return the memory after an outer step with this loss."""

    def peak(self, X: Tensor) -> PeakMemory:
        """Return what an outer step on the samples ``X`` takes of the memory."""


@dataclass(frozen=True)
class OuterState:
    """All that changes during a run.

    Parameters
    ----------
    adam : dict of str to Tensor of shape (3, ...)
        What is learned, by name, each with the two moments of the outer Adam.
    memory : dict
        What the objective remembers.
    step : int
        Outer steps done.
    n_updates : int
        Outer steps that moved the tensors; the others were skipped.
    n_failures : int
        Steps skipped in a row up to now.
    clip_average : float or None
        Moving average of the norm of the meta-gradient; None before the first.
    """

    adam: dict[str, Tensor]
    memory: dict
    step: int = 0
    n_updates: int = 0
    n_failures: int = 0
    clip_average: float | None = None

    @property
    def tensors(self) -> dict[str, Tensor]:
        """What is learned, by name."""
        return {name: slots[0] for name, slots in self.adam.items()}


@dataclass(frozen=True)
class Record:
    """What one outer step reports: loss, norm before clipping, the objective's ``detail``."""

    loss: float
    grad_norm: float
    clip_level: float
    skipped: bool
    seconds: float
    detail: dict

    def row(self) -> dict:
        """Return it flat, with None for what is not finite: JSON has no NaN."""
        row = {**vars(self), **self.detail}
        del row["detail"]
        return {name: value if isfinite(value) else None for name, value in row.items()}


def gaussian_rows(n: int, sample_shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Return ``n`` Gaussian samples, each scaled to norm 1 (Appendix C.1), on the CPU."""
    X = torch.randn(n, *sample_shape, generator=generator, dtype=torch.float64)
    return X / X.flatten(1).norm(dim=1).view(-1, *[1] * len(sample_shape))


def initial_state(objective: Objective, tensors: Mapping[str, Tensor]) -> OuterState:
    """Return the state of a run that starts from these tensors."""
    adam = {name: Adam().init(tensor) for name, tensor in tensors.items()}
    return OuterState(adam=adam, memory=objective.begin())


def update(
    objective: Objective,
    state: OuterState,
    parametrization: Parametrization,
    learning_rates: Mapping[str, float | Tensor],
) -> tuple[OuterState, Record]:
    """Do one outer step; if its loss or gradient is not finite, only the counts move.

    A tensor's learning rate may be a tensor that broadcasts over it: one for each sample, say.
    """
    began = perf_counter()
    tensors = state.tensors
    X, y = parametrization.samples(tensors), parametrization.labels(tensors)
    memory = objective.prepare(X, y, state.step, state.memory)
    loss, *bars, detail = objective.gradient(X, y, state.step, memory)
    grads = parametrization.pull_back(tensors, *bars)
    norm = torch.cat([grad.flatten() for grad in grads.values()]).norm()
    # The only point at which the host waits for the device.
    loss, norm = torch.stack((loss, norm)).tolist()
    if not (isfinite(loss) and isfinite(norm)):
        new = replace(state, memory=memory, step=state.step + 1, n_failures=state.n_failures + 1)
        return new, Record(loss, norm, nan, True, perf_counter() - began, detail)
    average, level = clip_level(norm, state.clip_average)
    factor = min(1.0, level / norm) if norm else 1.0
    new = OuterState(
        adam={
            name: _step(name, slots, factor * grads[name], learning_rates[name], state.n_updates)
            for name, slots in state.adam.items()
        },
        memory=objective.observe(loss, memory),
        step=state.step + 1,
        n_updates=state.n_updates + 1,
        clip_average=average,
    )
    return new, Record(loss, norm, level, False, perf_counter() - began, detail)


def _step(
    name: str, slots: Tensor, grad: Tensor, learning_rate: float | Tensor, n_updates: int
) -> Tensor:
    """Return a tensor and its moments after a step of Adam."""
    adam = Adam(lr=learning_rate)
    slots = adam.step(slots, grad, *adam.scalars(n_updates + 1))
    if name == LABELS:
        slots[0].clamp_(min=0)  # probabilities, but for their sum (Appendix C.1)
    return slots


def clip_level(norm: float, average: float | None) -> tuple[float, float]:
    """Return the moving average of the norm with this one, and the norm to clip at."""
    average = norm if average is None else _CLIP_DECAY * average + (1 - _CLIP_DECAY) * norm
    return average, _CLIP_FACTOR * average
