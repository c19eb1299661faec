"""How the learning rate of the outer optimizer changes during a run.

A schedule is a function of the outer step and of `max_iter`: the factor that multiplies every
learning rate of the step. It has no state, so a run can be resumed at any step.
"""

from math import cos, isfinite, pi
from numbers import Real
from typing import Any, Literal

from ._data.strategy import Strategy
from ._data.validation import Interval

__all__ = [
    "RATE_SCHEDULES",
    "ConstantRate",
    "CosineDecay",
    "LearningRateSchedule",
    "LinearDecay",
]


class LearningRateSchedule(Strategy):
    """Base class of the schedules of the learning rate. A subclass implements `factor`."""

    @property
    def uses_max_iter(self) -> bool:
        """Whether the factor of a step depends on `max_iter`, so that no run can be prolonged."""
        return True

    def factor(self, step: int, max_iter: int) -> float:
        """Return what multiplies the learning rates of an outer step.

        Parameters
        ----------
        step : int
            Outer steps done before this one, from 0 to ``max_iter - 1``; skipped ones count.
        max_iter : int
            The distiller's outer steps.
        """
        raise NotImplementedError


class _WithWarmup(LearningRateSchedule):
    """A schedule that begins with a rise, and goes on with `_after`."""

    warmup: float

    def factor(self, step: int, max_iter: int) -> float:
        """Return what multiplies the learning rates of an outer step."""
        n_warmup = round(self.warmup * max_iter)
        if step < n_warmup:
            return (step + 1) / n_warmup
        return self._after((step - n_warmup) / (max_iter - n_warmup))

    def _after(self, progress: float) -> float:
        """Return the factor at this part of the steps that follow the rise, from 0 up to 1."""
        raise NotImplementedError


class ConstantRate(_WithWarmup):
    """The same learning rate in all steps, after a rise if there is one.

    Parameters
    ----------
    warmup : float, default=0.0
        The part of `max_iter` in which the rate rises evenly to its value, from 0 to below 1.

    Examples
    --------
    >>> from skdistill.learning_rates import ConstantRate
    >>> [ConstantRate(warmup=0.4).factor(step, 10) for step in range(10)]
    [0.25, 0.5, 0.75, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]
    """

    _parameter_constraints: dict[str, Any] = {"warmup": [Interval(Real, 0, 1, closed="left")]}

    def __init__(self, warmup: float = 0.0):
        self.warmup = warmup

    @property
    def uses_max_iter(self) -> bool:
        """Whether there is a rise."""
        return self.warmup > 0

    def _after(self, progress: float) -> float:
        return 1.0


class _Decay(_WithWarmup):
    """A schedule that falls to a final factor."""

    _parameter_constraints: dict[str, Any] = {
        "final": [Interval(Real, 0, 1, closed="both")],
        "warmup": [Interval(Real, 0, 1, closed="left")],
    }

    def __init__(self, final: float = 0.0, warmup: float = 0.0):
        self.final = final
        self.warmup = warmup


class LinearDecay(_Decay):
    """A learning rate that falls evenly from step to step.

    Parameters
    ----------
    final : float, default=0.0
        The factor that the rate approaches in the last step, from 0 to 1.
    warmup : float, default=0.0
        The part of `max_iter` in which the rate rises evenly before it falls, from 0 to below 1.

    Examples
    --------
    >>> from skdistill.learning_rates import LinearDecay
    >>> [LinearDecay(final=0.5).factor(step, 4) for step in range(4)]
    [1.0, 0.875, 0.75, 0.625]
    """

    def _after(self, progress: float) -> float:
        return self.final + (1 - self.final) * (1 - progress)


class CosineDecay(_Decay):
    """A learning rate that falls along half a period of a cosine.

    FRePo has ``final=0.1`` for its samples, without a rise. In its training of networks the rise
    begins at a rate of 0; here the first step already has its share, so that it is not in vain.

    Parameters
    ----------
    final : float, default=0.0
        The factor that the rate approaches in the last step, from 0 to 1.
    warmup : float, default=0.0
        The part of `max_iter` in which the rate rises evenly before it falls, from 0 to below 1.

    Examples
    --------
    >>> from skdistill.learning_rates import CosineDecay
    >>> [round(CosineDecay(final=0.1).factor(step, 4), 3) for step in range(4)]
    [1.0, 0.868, 0.55, 0.232]
    """

    def _after(self, progress: float) -> float:
        return self.final + (1 - self.final) * (1 + cos(pi * progress)) / 2


RateScheduleName = Literal["constant", "linear", "cosine"]
RATE_SCHEDULES: dict[str, LearningRateSchedule] = {
    "constant": ConstantRate(),
    "linear": LinearDecay(),
    "cosine": CosineDecay(),
}


def resolve_rate_schedule(schedule: str | LearningRateSchedule) -> LearningRateSchedule:
    """Return the schedule that a name stands for, or the (checked) schedule itself."""
    schedule = RATE_SCHEDULES[schedule] if isinstance(schedule, str) else schedule
    schedule.validate()
    return schedule


def factor_of(schedule: LearningRateSchedule, step: int, max_iter: int) -> float:
    """Return a schedule's factor for a step; raise ValueError unless it is possible."""
    factor = float(schedule.factor(step, max_iter))
    if not (isfinite(factor) and factor >= 0):
        raise ValueError(
            f"learning_rate_schedule={schedule!r} must give a factor of at least 0 in each outer "
            f"step; got {factor} in step {step}."
        )
    return factor
