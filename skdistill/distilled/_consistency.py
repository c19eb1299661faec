"""Checks that the parts of a distilled set, which may come from a file, fit each other."""

import sys
from collections.abc import Callable, Mapping
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from .._data.arrays import LARGEST
from .._data.dtypes import is_plain_dtype
from .._data.layout import Layout

# A smaller scale would be 0 in single precision.
_SMALLEST_SCALE = float(np.finfo(np.float32).tiny)
# Nobody would wait for more, but a file may hold any number.
MAX_NETWORKS, MAX_STEPS, _MAX_RATE = 10_000, 10_000_000, 1000.0

if TYPE_CHECKING:
    from ._dataset import BasisBlock, DistilledDataset, EvaluationRecipe


def check_consistency(data: "DistilledDataset") -> None:
    """Raise ValueError unless all parts have the types they must have and fit each other."""
    _check_recipe(data.recipe)
    _require(_is_count(data.ipc), "ipc", "a positive integer", data.ipc)
    _require(isinstance(data.provenance, Mapping), "provenance", "a mapping", data.provenance)
    if data.feature_names is not None:
        n = prod(data.recipe.layout.user_shape)
        good = _all(_is_string, data.feature_names, n)
        _require(good, "feature_names", f"None or {n} strings", data.feature_names)
    good = data.target_name is None or (_is_string(data.target_name) and data.target_name != "")
    _require(good, "target_name", "None or a string that is not empty", data.target_name)
    if data.original_dtypes is not None:
        # Only preprocessing knows how many columns it was given.
        n = prod(data.recipe.layout.user_shape) if data.preprocessing is None else None
        words = "None or the dtypes of numbers and categories, or None, one for each column"
        good = _all(is_plain_dtype, data.original_dtypes, n)
        _require(good, "original_dtypes", words, data.original_dtypes)
    good = data.preprocessing is None or hasattr(data.preprocessing, "transform")
    _require(good, "preprocessing", "None or a fitted transformer", data.preprocessing)
    _check_arrays(data.X, data.y, data.classes, data.ipc, data.recipe.layout.user_shape)
    if data.bases:
        _check_bases(data.bases, data.X.shape, data.recipe.layout)


def _check_arrays(
    X: np.ndarray, y: np.ndarray, classes: np.ndarray, ipc: int, shape: tuple[int, ...]
) -> None:
    good = classes.dtype.kind in "biufU" and np.array_equal(np.unique(classes), classes)
    words = "numbers, booleans or strings, in one dimension, sorted and distinct"
    _require(good and classes.size > 0, "classes", words, classes)
    n = ipc * len(classes)
    _require(X.shape == (n, *shape), "X", f"of shape {(n, *shape)}, as ipc and recipe say", X.shape)
    _require(_is_real(X), "X", "real numbers of at most 64 bits", X.dtype)
    _check_range(X, "X")
    if y.ndim == 2:
        shape = (n, len(classes))
        _require(y.shape == shape, "y", f"of shape {shape}, a column per class", y.shape)
        _require(y.dtype.kind == "f" and _is_real(y), "y", "soft labels", y.dtype)
        _check_range(y, "y")
    else:
        _require(y.shape == (n,), "y", f"of shape {(n,)}, as ipc and classes say", y.shape)
        # Checked before comparing, because NumPy finds that 1 is in ["1"].
        good = y.dtype.kind == classes.dtype.kind and bool(np.isin(y, classes).all())
        _require(good, "y", f"labels that are in classes, {classes.tolist()!r:.100}", y)


def _check_bases(bases: tuple["BasisBlock", ...], shape: tuple[int, ...], layout: Layout) -> None:
    for block in bases:
        n, n_basis = len(block.coefficients), len(block.basis)
        try:
            smaller = layout.smaller(layout.factor_of(prod(block.basis.shape[1:])))
        except ValueError:
            smaller = layout  # no such layout: reported below as a wrong shape
        shapes = {
            "basis": (n_basis, *smaller.user_shape),
            "coefficients": (n, n_basis),
            "offset": shape[1:],
        }
        for name, expected in shapes.items():
            array = getattr(block, name)
            good = array.dtype.kind == "f" and _is_real(array) and array.shape == expected
            words = f"real numbers of shape {expected}"
            _require(good, f"bases' {name}", words, f"{array.dtype} of shape {array.shape}")
            _check_range(array, f"bases' {name}")
    n = sum(len(block.coefficients) for block in bases)
    _require(n == shape[0], "bases' coefficients", f"a row per sample, {shape[0]}", n)


def _check_recipe(recipe: "EvaluationRecipe") -> None:
    _check_layout(recipe.layout)
    n = recipe.layout.network_shape[0]
    words = f"{n} numbers, one per channel or feature, from {{:.2g}} to {LARGEST:g}"
    good = _all(_is_between(-LARGEST, LARGEST), recipe.mean, n)
    _require(good, "recipe.mean", words.format(-LARGEST), recipe.mean)
    good = _all(_is_between(_SMALLEST_SCALE, LARGEST), recipe.scale, n)
    _require(good, "recipe.scale", words.format(_SMALLEST_SCALE), recipe.scale)
    for name, (is_good, words) in _RECIPE_RULES.items():
        value = getattr(recipe, name)
        _require(is_good(value), f"recipe.{name}", words, value)


def _is_real(array: np.ndarray) -> bool:
    # torch, which evaluates, has no larger integers.
    return array.dtype.kind in "fiu" and array.dtype.itemsize <= 8


def _check_range(array: np.ndarray, name: str) -> None:
    _require(bool(np.isfinite(array).all()), name, "finite", "NaN or infinity")
    largest = max(abs(float(array.min(initial=0))), abs(float(array.max(initial=0))))
    _require(largest <= LARGEST, name, f"at most {LARGEST:g} in size", largest)


def _check_layout(layout: Layout) -> None:
    network, user, last = layout.network_shape, layout.user_shape, layout.channels_last
    _require(isinstance(last, bool), "recipe.layout.channels_last", "true or false", last)
    good = _all(_is_count, network) and len(network) in (1, 3)
    _require(good, "recipe.layout.network_shape", "1 or 3 positive integers", network)
    if last:
        shapes = [(*network[1:], network[0])] if len(network) == 3 else []
    else:
        # Like the networks' shape, or flat, or gray images without the channel.
        shapes = [network, (prod(network),), *([network[1:]] if network[0] == 1 else [])]
    good = _all(_is_count, user) and user in shapes
    _require(good, "recipe.layout.user_shape", f"a shape that becomes {network} for networks", user)


def _is_count(value: Any) -> bool:
    return type(value) is int and value >= 1  # a bool is an int, but not a count


def _is_count_to(most: int) -> Callable[[Any], bool]:
    return lambda value: _is_count(value) and value <= most


def _is_between(least: float, most: float) -> Callable[[Any], bool]:
    return lambda value: is_number(value) and least <= value <= most


def is_number(value: Any) -> bool:
    """Return whether a value is a finite number."""
    # JSON's integers may be too large for a float.
    return type(value) in (int, float) and abs(value) <= sys.float_info.max


def _is_string(value: Any) -> bool:
    return isinstance(value, str)


def _all(is_good: Callable[[Any], bool], values: object, n: int | None = None) -> bool:
    """Return whether values are a non-empty tuple of good ones, of length n if that is given."""
    if not isinstance(values, tuple) or not values or n not in (None, len(values)):
        return False
    return all(map(is_good, values))


# The plain values of a recipe; layout, mean and scale are checked against each other.
_RECIPE_RULES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "architecture": (lambda v: v is None or isinstance(v, str | dict), "a name, a dict or None"),
    "steps": (_is_count_to(MAX_STEPS), f"an integer from 1 to {MAX_STEPS:,}"),
    "n_networks": (_is_count_to(MAX_NETWORKS), f"an integer from 1 to {MAX_NETWORKS:,}"),
    "learning_rate": (
        lambda v: is_number(v) and 0 < v <= _MAX_RATE,
        f"a positive number up to {_MAX_RATE:g}",
    ),
    "batch_size": (_is_count, "a positive integer"),
    "seed": (lambda v: type(v) is int and v >= 0, "a non-negative integer"),
    "augmentation": (lambda v: v is None or isinstance(v, str | dict), "a name, a dict or None"),
    "loss": (lambda v: v in ("cross-entropy", "mse"), "'cross-entropy' or 'mse'"),
    "optimizer": (lambda v: v in ("adam", "sgd"), "'adam' or 'sgd'"),
    "momentum": (lambda v: is_number(v) and 0 <= v < 1, "a number from 0 to below 1"),
    "weight_decay": (
        lambda v: is_number(v) and 0 <= v <= _MAX_RATE,
        f"a number from 0 to {_MAX_RATE:g}",
    ),
    "schedule": (
        lambda v: v in ("constant", "cosine", "step"),
        "'constant', 'cosine' or 'step'",
    ),
}


def _require(good: bool, name: str, words: str, value: object) -> None:
    if not good:
        raise ValueError(f"{name} must be {words}; got {value!r:.200}.")
