"""What the values of a protocol and the arrays of a set may be, and what contradicts each other."""

import sys
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

import numpy as np

from .._data.arrays import LARGEST

__all__ = [
    "MAX_NETWORKS",
    "MAX_STEPS",
    "RULES",
    "Rules",
    "check_range",
    "check_reals",
    "check_training",
    "check_values",
    "is_count",
    "is_number",
    "is_real",
    "require",
]

# Nobody would wait for more, but a file may hold any number.
MAX_NETWORKS, MAX_STEPS, _MAX_RATE = 10_000, 10_000_000, 1000.0
_MAX_MILESTONES = 1000


def is_count(value: Any) -> bool:
    """Return whether a value is a positive integer."""
    return type(value) is int and value >= 1  # a bool is an int, but not a count


def is_number(value: Any) -> bool:
    """Return whether a value is a finite number."""
    # JSON's integers may be too large for a float.
    return type(value) in (int, float) and abs(value) <= sys.float_info.max


def _is_count_to(most: int) -> Callable[[Any], bool]:
    return lambda value: is_count(value) and value <= most


def _is_milestones(value: Any) -> bool:
    if not isinstance(value, tuple) or not 1 <= len(value) <= _MAX_MILESTONES:
        return False
    if not all(is_number(share) and 0 < share < 1 for share in value):
        return False
    return all(a < b for a, b in pairwise(value))


def _one_of(*names: str) -> tuple[Callable[[Any], bool], str]:
    *first, last = map(repr, names)
    # A value from a file may be a list, which no name equals.
    return (lambda v: isinstance(v, str) and v in names), f"{', '.join(first)} or {last}"


# By name, whether a value is allowed, and which are.
Rules = Mapping[str, tuple[Callable[[Any], bool], str]]
RULES: Rules = {
    "steps": (_is_count_to(MAX_STEPS), f"an integer from 1 to {MAX_STEPS:,}"),
    "n_networks": (_is_count_to(MAX_NETWORKS), f"an integer from 1 to {MAX_NETWORKS:,}"),
    "learning_rate": (
        lambda v: v == "stable" or (is_number(v) and 0 < v <= _MAX_RATE),
        f"a positive number up to {_MAX_RATE:g}, or 'stable'",
    ),
    "batch_size": (is_count, "a positive integer"),
    "loss": _one_of("cross-entropy", "mse"),
    "optimizer": _one_of("adam", "sgd"),
    "momentum": (lambda v: is_number(v) and 0 <= v < 1, "a number from 0 to below 1"),
    "weight_decay": (
        lambda v: is_number(v) and 0 <= v <= _MAX_RATE,
        f"a number from 0 to {_MAX_RATE:g}",
    ),
    "schedule": _one_of("constant", "cosine", "step"),
    "milestones": (_is_milestones, "ascending numbers between 0 and 1"),
    "gamma": (lambda v: is_number(v) and 0 < v <= 1, "a number from above 0 to 1"),
    "final_factor": (lambda v: is_number(v) and 0 <= v <= 1, "a number from 0 to 1"),
    "warmup_steps": (
        lambda v: type(v) is int and 0 <= v < MAX_STEPS,
        f"an integer from 0 to below {MAX_STEPS:,}",
    ),
    "targets": _one_of("given", "centered", "hard", "softmax"),
    "label_scale": (
        lambda v: is_number(v) and 0 < v <= _MAX_RATE,
        f"a positive number up to {_MAX_RATE:g}",
    ),
    "subtract_initial": (lambda v: isinstance(v, bool), "True or False"),
}


def require(good: bool, name: str, words: str, value: object) -> None:
    """Raise a ValueError that says what a value must be, unless it is good."""
    if not good:
        raise ValueError(f"{name} must be {words}; got {value!r:.200}.")


def is_real(array: np.ndarray) -> bool:
    """Return whether an array holds real numbers."""
    # torch, which evaluates, has no larger integers.
    return array.dtype.kind in "fiu" and array.dtype.itemsize <= 8


def check_range(array: np.ndarray, name: str) -> None:
    """Raise a ValueError unless all numbers of an array are finite, and not too large."""
    require(bool(np.isfinite(array).all()), name, "finite", "NaN or infinity")
    largest = max(abs(float(array.min(initial=0))), abs(float(array.max(initial=0))))
    require(largest <= LARGEST, name, f"at most {LARGEST:g} in size", largest)


def check_reals(array: np.ndarray, name: str, shape: tuple[int, ...]) -> None:
    """Raise a ValueError unless an array holds floating-point numbers, and has this shape."""
    good = array.dtype.kind == "f" and is_real(array) and array.shape == shape
    words = f"real numbers of shape {shape}"
    require(good, name, words, f"{array.dtype} of shape {array.shape}")
    check_range(array, name)


def check_values(values: Mapping[str, Any], rules: Rules, prefix: str = "") -> None:
    """Raise a ValueError unless each of these values is allowed under its name."""
    for name, value in values.items():
        is_good, words = rules[name]
        require(is_good(value), f"{prefix}{name}", words, value)


def check_training(protocol: Any, prefix: str = "") -> None:
    """Raise a ValueError if values of a protocol, each of them allowed, contradict each other."""
    p = protocol
    squared, gradient_descent = p.loss == "mse", p.optimizer == "sgd"
    for name, neutral, applies, where in (
        ("momentum", 0, gradient_descent, "optimizer='sgd'"),
        ("milestones", (0.5,), p.schedule == "step", "schedule='step'"),
        ("gamma", 0.1, p.schedule == "step", "schedule='step'"),
        ("final_factor", 0, p.schedule == "cosine", "schedule='cosine'"),
        ("label_scale", 1, squared, "loss='mse'"),
    ):
        value = getattr(p, name)
        if value != neutral and not applies:
            raise ValueError(f"{prefix}{name}={value!r} has a meaning only with {where}.")
    if p.warmup_steps >= p.steps:
        raise ValueError(
            f"{prefix}warmup_steps={p.warmup_steps} must be less than steps={p.steps}."
        )
    if p.targets == "centered" and not squared:
        raise ValueError(
            f"{prefix}targets='centered' needs loss='mse', because cross-entropy has no minimum "
            f"for labels below 0; got loss={p.loss!r}."
        )
    if p.learning_rate == "stable" and not (squared and gradient_descent):
        raise ValueError(
            f"{prefix}learning_rate='stable' needs loss='mse' and optimizer='sgd', for which it is "
            f"known; got loss={p.loss!r} and optimizer={p.optimizer!r}."
        )
    if p.subtract_initial and p.weight_decay:
        raise ValueError(
            f"{prefix}weight_decay={p.weight_decay} must be 0 with subtract_initial=True: it would "
            "pull the scores away from the ones that are subtracted."
        )
