"""Checks whether a run that comes from a file can continue.

A checksum cannot tell: a file may be whole and hold anything.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from .._engine.outer import OuterState
from ..distilled._rules import is_number
from .state import Run, RunState

__all__ = ["check_clipping", "check_state", "check_tensors", "check_values"]

# Values that the history of any run holds.
_HISTORY = {"loss", "grad_norm", "clip_level", "skipped", "seconds"}


def check_values(run: Run) -> None:
    """Raise ValueError unless a run's numbers are possible."""
    state, best = run.state, run.best
    _require(_is_count(run.seed, 2**32 - 1), "seed", "an integer from 0 to 2**32 - 1", run.seed)
    _require(_is_count(state.step), "step", "a non-negative integer", state.step)
    words = f"an integer from 0 to {state.step}"
    _require(_is_count(state.n_updates, state.step), "n_updates", words, state.n_updates)
    n_skipped = state.step - state.n_updates
    words = f"an integer from 0 to {n_skipped}"
    _require(_is_count(state.n_failures, n_skipped), "n_failures", words, state.n_failures)
    _require(isinstance(state.method, dict), "state of the method", "a mapping", state.method)
    _require(_is_size(run.seconds), "seconds", "a non-negative number", run.seconds)
    _check_history(run)
    if best is not None:
        good = _is_size(best.accuracy) and best.accuracy <= 1
        _require(good, "best accuracy", "a number from 0 to 1", best.accuracy)
        good = _is_count(best.step, state.step) and best.step > 0
        _require(good, "best step", f"an integer from 1 to {state.step}", best.step)
    for name, tensors in {
        "tensors": state.slots,
        **({"best tensors": best.tensors} if best else {}),
        **({} if state.averages is None else {"averages": state.averages}),
    }.items():
        good = isinstance(tensors, dict) and all(
            isinstance(array, np.ndarray) for array in tensors.values()
        )
        _require(good, name, "a mapping to arrays", tensors)


def check_clipping(state: RunState, clips: bool) -> None:
    """Raise ValueError unless the moving average of the norm is one of a method that clips."""
    if clips and state.n_updates:
        good, words = _is_size(state.clip_average), "a non-negative number"
    else:
        good = state.clip_average is None
        words = "None before the first update" if clips else "None where nothing is clipped"
    _require(good, "clip_average", words, state.clip_average)


def _check_history(run: Run) -> None:
    history, step = run.raw_history, run.step
    good = isinstance(history, dict) and all(isinstance(c, list) for c in history.values())
    _require(good, "history", "a mapping to lists", history)
    lengths = {name: len(values) for name, values in history.items()}
    if step or lengths:
        good = set(lengths.values()) == {step}
        _require(good, "history", f"a mapping to lists of {step} outer steps", lengths)
        missing = _HISTORY - history.keys()
        _require(not missing, "history", f"one with {', '.join(sorted(_HISTORY))}", sorted(history))
    for name, values in history.items():
        good = all(v is None or isinstance(v, bool) or is_number(v) for v in values)
        _require(good, f"history's {name}", "numbers, booleans or None", values)


def check_tensors(run: Run, fresh: OuterState) -> None:
    """Raise ValueError unless the tensors of a run at rest match those of a fresh one.

    Parameters
    ----------
    run : Run
    fresh : OuterState
        The first state of a run of the same parameters and data; only the names, shapes and dtypes
        of its tensors count.
    """
    expected = {name: slots.cpu().numpy() for name, slots in fresh.slots.items()}
    # At rest, tensors are arrays.
    slots_at_rest: Mapping[str, Any] = run.state.slots
    _check_arrays("tensors", slots_at_rest, expected)
    for name, slots in run.state.slots.items():
        # Row 1 may have any sign; gradient descent has no others.
        second = slots[2:]
        words = "one with second moments that are not negative"
        _require(bool((second >= 0).all()), f"tensor {name}", words, second)
    values = {name: slots[0] for name, slots in expected.items()}
    if run.best is not None:
        _check_arrays("best tensors", run.best.tensors, values)
    averages: Any = run.state.averages
    if fresh.averages is None:
        _require(averages is None, "averages", "None with ema_decay=None", averages)
    else:
        _require(averages is not None, "averages", "arrays with ema_decay", averages)
        _check_arrays("averages", averages, values)


def _check_arrays(
    name: str, arrays: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray]
) -> None:
    _require(arrays.keys() == expected.keys(), name, f"{[*expected]}", [*arrays])
    for part, array in arrays.items():
        shape, dtype = expected[part].shape, expected[part].dtype
        good = (array.shape, array.dtype) == (shape, dtype)
        found = f"{array.dtype} of shape {array.shape}"
        _require(good, f"{name[:-1]} {part}", f"{dtype} of shape {shape}", found)
        _require(bool(np.isfinite(array).all()), f"{name[:-1]} {part}", "finite", "NaN or infinity")


def check_state(state: dict, fresh: dict) -> None:
    """Raise ValueError unless a method's state has the form of a fresh one.

    Schedules and samplers may add to its contents.
    """
    _require(state.keys() == fresh.keys(), "state", f"one with {[*fresh]}", [*state])
    for name, part in fresh.items():
        if isinstance(part, dict):
            good = isinstance(state[name], dict) and part.keys() <= state[name].keys()
            _require(good, f"state's {name}", f"a mapping with {[*part]}", state[name])


def _is_count(value, most: int | None = None) -> bool:
    return type(value) is int and value >= 0 and (most is None or value <= most)


def _is_size(value) -> bool:
    return is_number(value) and value >= 0


def _require(good: bool, name: str, words: str, value) -> None:
    if not good:
        raise ValueError(f"its {name} must be {words}; got {value!r:.200}.")
