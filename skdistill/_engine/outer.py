"""The outer loop's step: a method's gradient, clipping, the optimizer, a record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from math import inf, isfinite, nan
from time import perf_counter
from typing import TypeVar

import torch
from torch import Tensor

from .group import Group
from .methods.base import Gradient, Method, Problem, State, Synthetic
from .observation import Observation
from .parametrization import LABELS, Parametrization


@dataclass(frozen=True)
class OuterState:
    """All that changes during a run.

    Parameters
    ----------
    slots : dict of str to Tensor
        The learned tensors, by name, each with the moments of the outer optimizer: the values are
        in row 0.
    method : dict
        The state of the method.
    step : int
        Outer steps done.
    n_updates : int
        Outer steps that moved the tensors; the others were skipped.
    n_failures : int
        Steps skipped in a row up to now.
    clip_average : float or None
        Moving average of the norm of the gradient; None before the first.
    averages : dict of str to Tensor or None
        Moving averages of the values of the learned tensors; None if they are not averaged.
    """

    slots: dict[str, Tensor]
    method: State
    step: int = 0
    n_updates: int = 0
    n_failures: int = 0
    clip_average: float | None = None
    averages: dict[str, Tensor] | None = None

    def __setstate__(self, state: dict) -> None:
        """Restore a pickle; those of 0.1.0 have other names."""
        old = {"adam": "slots", "memory": "method"}
        vars(self).update({old.get(name, name): value for name, value in state.items()})

    @property
    def tensors(self) -> dict[str, Tensor]:
        """The learned tensors, by name."""
        return tensors_of(self.slots)

    @property
    def result(self) -> dict[str, Tensor]:
        """The values that are the run's result so far: the averages, or the learned tensors."""
        return self.tensors if self.averages is None else self.averages


def tensors_of(slots: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the values, by name, of tensors with their moments."""
    return {name: rows[0] for name, rows in slots.items()}


# The least and the greatest value of a tensor, both of one type; None for no such bound.
Limits = tuple[float | Tensor | None, float | Tensor | None]

_State = TypeVar("_State", bound=OuterState)
_ALONE = Group()


@dataclass(frozen=True)
class Record:
    """What one outer step reports: loss, norm before clipping, the method's ``detail``."""

    loss: float
    grad_norm: float
    clip_level: float
    skipped: bool
    seconds: float
    detail: Mapping[str, float]

    def row(self) -> dict:
        """Return a flat mapping, with None for values that are not finite: JSON has no NaN."""
        row = {**vars(self), **self.detail}
        del row["detail"]
        return {name: value if isfinite(value) else None for name, value in row.items()}


# What else the history has of a step is measured by the run.
_OWN_NAMES = {each.name for each in fields(Record)} - {"detail"} | {
    "batch_accuracy",
    "validation_accuracy",
}


def gaussian_rows(n: int, sample_shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Return ``n`` Gaussian samples, each scaled to norm 1 [Feng23, C.1], on the CPU."""
    X = torch.randn(n, *sample_shape, generator=generator, dtype=torch.float64)
    return X / X.flatten(1).norm(dim=1).view(-1, *[1] * len(sample_shape))


def initial_state(
    method: Method, problem: Problem, tensors: Mapping[str, Tensor], averages: bool = False
) -> OuterState:
    """Return the state of a run that starts from these tensors, and perhaps averages them."""
    slots = {name: method.optimizer.init(tensor) for name, tensor in tensors.items()}
    first = {name: tensor.clone() for name, tensor in tensors.items()} if averages else None
    return OuterState(slots=slots, method=method.init(problem), averages=first)


def update(
    method: Method,
    problem: Problem,
    state: _State,
    parametrization: Parametrization,
    learning_rates: Mapping[str, float | Tensor],
    limits: Mapping[str, Limits] | None = None,
    ema_decay: float | None = None,
    sample_norm: float | None = None,
    group: Group = _ALONE,
) -> tuple[_State, Record]:
    """Do one outer step; if its loss or gradient is not finite, only the counts move.

    Parameters
    ----------
    method, problem, state, parametrization
    learning_rates : mapping
        By tensor. A rate may be a tensor that broadcasts: one rate per sample, for example.
    limits : mapping or None, default=None
        The least and greatest values of tensors that are kept between such, by name.
    ema_decay : float or None, default=None
        Decay of the state's averages; not None if there are some.
    sample_norm : float or None, default=None
        The norm to which samples that are learned themselves are scaled after the step; None leaves
        them as they are.
    group : Group, default=Group()
        The processes of the run, which all move by the mean of their gradients.
    """
    began = perf_counter()
    tensors = state.tensors
    synthetic = parametrization.synthetic(tensors)
    local, method_state = _checked_gradient(method, problem, synthetic, state)
    gradient = group.averaged(local)
    grads = parametrization.pull_back(tensors, gradient)
    norm = torch.cat([grad.flatten() for grad in grads.values()]).norm()
    measured = [gradient.loss, norm]
    if gradient.batch_accuracy is not None:
        measured.append(gradient.batch_accuracy.to(norm))
    # The only point at which the host waits for the device.
    loss, norm, *accuracy = torch.stack(measured).tolist()
    detail = {**gradient.record, **({"batch_accuracy": accuracy[0]} if accuracy else {})}
    if not (isfinite(loss) and isfinite(norm)):
        new = replace(
            state, method=method_state, step=state.step + 1, n_failures=state.n_failures + 1
        )
        return new, Record(loss, norm, nan, True, perf_counter() - began, detail)
    average, level = state.clip_average, inf
    if method.clip is not None:
        average, level = method.clip.level(norm, state.clip_average)
    factor = min(1.0, level / norm) if norm else 1.0
    t = state.n_updates + 1
    slots = {
        name: method.optimizer.step(old, factor * grads[name], learning_rates[name], t)
        for name, old in state.slots.items()
    }
    _project(slots, method, parametrization, learning_rates, limits or {}, sample_norm)
    averages = state.averages
    if averages is not None and ema_decay is not None:
        averages = {
            name: averaged(old, slots[name][0], ema_decay, t) for name, old in averages.items()
        }
    new = replace(
        state,
        slots=slots,
        averages=averages,
        method=method_state,
        step=state.step + 1,
        n_updates=t,
        n_failures=0,
        clip_average=average,
    )
    return new, Record(loss, norm, level, False, perf_counter() - began, detail)


def _checked_gradient(
    method: Method, problem: Problem, synthetic: Synthetic, state: OuterState
) -> tuple[Gradient, State]:
    """Return a method's gradient and its next state, or raise a ValueError if they cannot be."""
    given = [synthetic.X, synthetic.y, *state.tensors.values()]
    versions = [tensor._version for tensor in given]
    gradient, next_state = method.gradient(problem, synthetic, state.method, state.step)
    # By torch's count of changes.
    if [tensor._version for tensor in given] != versions:
        raise ValueError(
            "synthetic.X and labels must be left as they are; the method or the augmentation "
            "changed them in place. Take X + ... instead of X += ... or X.add_(...)."
        )
    _check_gradient(method, gradient, synthetic)
    return gradient, next_state


def _check_gradient(method: Method, gradient: Gradient, synthetic: Synthetic) -> None:
    """Raise a ValueError unless a method's gradient is one of the tensors that are learned.

    One of another shape could be broadcast, and a name that is not learned would count in the norm.
    """
    kind = type(method).__name__
    loss = gradient.loss
    if not isinstance(loss, Tensor) or loss.ndim:
        got = tuple(loss.shape) if isinstance(loss, Tensor) else type(loss).__name__
        raise ValueError(f"the loss of a Gradient must be a scalar tensor; {kind} gave {got}.")
    if gradient.extra.keys() != synthetic.extra.keys():
        raise ValueError(
            f"extra of a Gradient must have the names that the method's extra(problem) declares, "
            f"{sorted(synthetic.extra)}; {kind} gave {sorted(gradient.extra)}."
        )
    learned = {"X": (gradient.X, synthetic.X)}
    if synthetic.learns_labels and gradient.y is not None:
        learned["y"] = gradient.y, synthetic.y
    learned |= {f"extra[{k!r}]": (bar, synthetic.extra[k]) for k, bar in gradient.extra.items()}
    for name, (bar, tensor) in learned.items():
        if bar.numel() != tensor.numel():
            raise ValueError(
                f"{name} of a Gradient must have the shape of what it is the derivative by, "
                f"{tuple(tensor.shape)}; that of {kind} has {tuple(bar.shape)}."
            )
    taken = gradient.record.keys() & _OWN_NAMES
    if taken:
        raise ValueError(
            f"record of a Gradient must have names of its own; history_ has {sorted(taken)} "
            f"already. {kind} has to call them something else."
        )


def _project(
    slots: Mapping[str, Tensor],
    method: Method,
    parametrization: Parametrization,
    learning_rates: Mapping[str, float | Tensor],
    limits: Mapping[str, Limits],
    sample_norm: float | None,
) -> None:
    """Move the values, in place, to where they are to stay; parameters as in `update`.

    Samples that are held back stay where they are, because the result has them as they were.
    """
    if sample_norm is not None:
        scales = parametrization.scales(tensors_of(slots), sample_norm)
        _scale(slots, scales, learning_rates)
    if LABELS in slots:
        slots[LABELS][0] = method.project_labels(slots[LABELS][0])
    for name, (low, high) in limits.items():
        rate, values = learning_rates[name], slots[name][0]
        kept = values.clamp(low, high)  # type: ignore[arg-type]  # both of one type
        if isinstance(rate, Tensor):
            slots[name][0] = torch.where(rate == 0, values, kept)
        elif rate != 0:
            slots[name][0] = kept


def _scale(
    slots: Mapping[str, Tensor],
    scales: Mapping[str, Tensor],
    learning_rates: Mapping[str, float | Tensor],
) -> None:
    """Multiply samples by these factors; those that are held back keep every bit."""
    for name, scale in scales.items():
        rate = learning_rates[name]
        if isinstance(rate, Tensor):
            scale = torch.where(rate == 0, torch.ones_like(scale), scale)
        elif rate == 0:
            continue
        slots[name][0] *= scale


def averaged(average: Tensor, value: Tensor, decay: float, t: int) -> Tensor:
    """Return the exponential moving average after value number ``t`` (counted from 1).

    It is corrected as Adam's moments are, the sum of ``decay**(t - s) * value_s`` divided by that
    of the weights, so that what was there before the first value has no weight. In this form a
    value that never changes is its average to the bit.
    """
    return torch.lerp(average, value, (1 - decay) / (1 - decay**t))


def observed(method: Method, state: _State, record: Record, accuracy: float | None) -> _State:
    """Return the state after the method has observed the result of an outer step."""
    if record.skipped:
        return state
    on_batch = record.detail.get("batch_accuracy")
    seen = Observation(record.loss, record.grad_norm, accuracy, on_batch)
    return replace(state, method=method.observe(seen, state.method))
