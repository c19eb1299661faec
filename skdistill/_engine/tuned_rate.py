"""Learning rates that are found by trial, and follow how well their descents go.

The descents of RCIG minimize quadratics of unknown scale by a fixed number of steps. Too low a rate
wastes the steps, too high a one diverges. So a rate starts at the highest of a series with which
the first descent falls in every step, and later follows the share of descents that do, and of those
that end higher than they began [Loo23]. All are pure functions of a state that a checkpoint holds.

[Loo23]: N. Loo, R. Hasani, M. Lechner and D. Rus, "Dataset Distillation with Convexified Implicit
Gradients", ICML 2023; its code is ``distill_dataset.py`` and ``algorithms.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import isfinite
from typing import Literal

from .methods.base import State

Verdict = Literal["monotone", "diverged", "other"]

# The series of rates is tried in steps of the first factor; what is taken when one is no longer
# monotone is a little more than the last that was.
_TRIED, _TAKEN = 1.2, 1.2 * 0.7
# After so many descents: what the rate is multiplied by, and for which share of them.
_EVERY = 50
_LOWER, _DIVERGED = 0.9, 0.29
_HIGHER, _MONOTONE = 1.05, 0.7
# A descent that stays monotone at 10^20 times the first rate has nothing to tell.
_MOST = 256
_COUNTS = ("n_seen", "n_monotone", "n_diverged")


def verdict(values: Sequence[float]) -> Verdict:
    """Return how a descent went, from its values before the first step to after the last."""
    if len(values) < 2:
        return "other"
    if not all(map(isfinite, values)) or values[-1] > values[0]:
        return "diverged"
    if all(later < earlier for earlier, later in pairwise(values)):
        return "monotone"
    return "other"


def first_that_fails(holds: Callable[[int], bool], most: int) -> int:
    """Return the first number, at most ``most``, for which something does not hold.

    It is found as if all later ones failed, too: by doubling, and then by halving.
    """
    if not holds(0):
        return 0
    low, high = 0, 1
    while high < most and holds(high):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return high


@dataclass(frozen=True)
class TunedRate:
    """A learning rate.

    Parameters
    ----------
    first : float
        The lowest rate that is tried.
    fixed : float or None, default=None
        The rate if nothing is to be tried, and nothing to be followed.
    """

    first: float
    fixed: float | None = None

    def init(self) -> State:
        """Return the state of a rate that has not been tried."""
        return {"value": self.fixed, **dict.fromkeys(_COUNTS, 0)}

    def tried(self, state: State, descend: Callable[[float], Verdict]) -> State:
        """Return the state after the first descents, if the rate has not been tried before.

        Parameters
        ----------
        state : dict
        descend : callable
            Returns how a descent with a rate goes.
        """
        if state["value"] is not None:
            return state
        n = first_that_fails(lambda k: descend(self.first * _TRIED**k) == "monotone", _MOST)
        return {**state, "value": _TAKEN * self.first * _TRIED**n}

    def followed(self, state: State, how: Verdict) -> State:
        """Return the state after a descent."""
        if self.fixed is not None:
            return state
        state = {**state, "n_seen": state["n_seen"] + 1}
        if how != "other":
            state[f"n_{how}"] += 1
        if state["n_seen"] < _EVERY:
            return state
        if state["n_diverged"] >= _DIVERGED * _EVERY:
            factor = _LOWER
        else:
            factor = _HIGHER if state["n_monotone"] >= _MONOTONE * _EVERY else 1.0
        return {"value": factor * state["value"], **dict.fromkeys(_COUNTS, 0)}

    def check(self, name: str, state: State) -> None:
        """Raise ValueError unless a state, which may come from a file, is one of this rate."""
        value, counts = state.get("value"), [state.get(count, -1) for count in _COUNTS]
        good = value is None or (type(value) is float and isfinite(value) and value > 0)
        if not good or (self.fixed is not None and value != self.fixed):
            raise ValueError(f"its {name} must have a positive rate; got {value!r:.200}.")
        good = all(type(count) is int and count >= 0 for count in counts)
        if not good or not sum(counts[1:]) <= counts[0] < _EVERY:
            raise ValueError(f"its {name} must count less than {_EVERY} descents; got {counts}.")
