"""Checks that the parts of a distilled set, which may come from a file, fit each other."""

from collections.abc import Callable, Mapping
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from .._data.arrays import LARGEST, SMALLEST
from .._data.dtypes import is_plain_dtype
from .._data.layout import Layout
from ._rules import (
    RULES,
    Rules,
    check_range,
    check_training,
    check_values,
    is_count,
    is_number,
    is_real,
    require,
)

if TYPE_CHECKING:
    from ._dataset import DistilledDataset
    from ._recipe import EvaluationRecipe


def check_consistency(data: "DistilledDataset") -> None:
    """Raise ValueError unless all parts have the types they must have and fit each other."""
    _check_recipe(data.recipe)
    require(is_count(data.ipc), "ipc", "a positive integer", data.ipc)
    require(isinstance(data.provenance, Mapping), "provenance", "a mapping", data.provenance)
    if data.feature_names is not None:
        n = prod(data.recipe.layout.user_shape)
        good = _all(_is_string, data.feature_names, n)
        require(good, "feature_names", f"None or {n} strings", data.feature_names)
    good = data.target_name is None or (_is_string(data.target_name) and data.target_name != "")
    require(good, "target_name", "None or a string that is not empty", data.target_name)
    if data.original_dtypes is not None:
        # Only preprocessing knows how many columns it was given.
        n = prod(data.recipe.layout.user_shape) if data.preprocessing is None else None
        words = "None or the dtypes of numbers and categories, or None, one for each column"
        good = _all(is_plain_dtype, data.original_dtypes, n)
        require(good, "original_dtypes", words, data.original_dtypes)
    good = data.preprocessing is None or hasattr(data.preprocessing, "transform")
    require(good, "preprocessing", "None or a fitted transformer", data.preprocessing)
    _check_arrays(data.X, data.y, data.classes, data.ipc, data.recipe.layout.user_shape)
    if data.bases:
        for block in data.bases:
            block.check(data.recipe.layout)
        n = sum(block.n_samples for block in data.bases)
        good = n == len(data.X)
        name = f"bases' {data.bases[0]._per_sample}"
        require(good, name, f"a row per sample, {len(data.X)}", n)


def _check_arrays(
    X: np.ndarray, y: np.ndarray, classes: np.ndarray, ipc: int, shape: tuple[int, ...]
) -> None:
    good = classes.dtype.kind in "biufU" and np.array_equal(np.unique(classes), classes)
    words = "numbers, booleans or strings, in one dimension, sorted and distinct"
    require(good and classes.size > 0, "classes", words, classes)
    n = ipc * len(classes)
    require(X.shape == (n, *shape), "X", f"of shape {(n, *shape)}, as ipc and recipe say", X.shape)
    require(is_real(X), "X", "real numbers of at most 64 bits", X.dtype)
    check_range(X, "X")
    if y.ndim == 2:
        shape = (n, len(classes))
        require(y.shape == shape, "y", f"of shape {shape}, a column per class", y.shape)
        require(y.dtype.kind == "f" and is_real(y), "y", "soft labels", y.dtype)
        check_range(y, "y")
    else:
        require(y.shape == (n,), "y", f"of shape {(n,)}, as ipc and classes say", y.shape)
        # Checked before comparing, because NumPy finds that 1 is in ["1"].
        good = y.dtype.kind == classes.dtype.kind and bool(np.isin(y, classes).all())
        require(good, "y", f"labels that are in classes, {classes.tolist()!r:.100}", y)


def _check_recipe(recipe: "EvaluationRecipe") -> None:
    _check_layout(recipe.layout)
    n = recipe.layout.network_shape[0]
    words = f"{n} numbers, one per channel or feature, from {{:.2g}} to {LARGEST:g}"
    good = _all(_is_between(-LARGEST, LARGEST), recipe.mean, n)
    require(good, "recipe.mean", words.format(-LARGEST), recipe.mean)
    good = _all(_is_between(SMALLEST, LARGEST), recipe.scale, n)
    require(good, "recipe.scale", words.format(SMALLEST), recipe.scale)
    values = {name: getattr(recipe, name) for name in _RECIPE_RULES}
    check_values(values, _RECIPE_RULES, "recipe.")
    check_training(recipe, "recipe.")


def _check_layout(layout: Layout) -> None:
    network, user, last = layout.network_shape, layout.user_shape, layout.channels_last
    require(isinstance(last, bool), "recipe.layout.channels_last", "true or false", last)
    good = _all(is_count, network) and len(network) in (1, 3)
    require(good, "recipe.layout.network_shape", "1 or 3 positive integers", network)
    if last:
        shapes = [(*network[1:], network[0])] if len(network) == 3 else []
    else:
        # Like the networks' shape, or flat, or gray images without the channel.
        shapes = [network, (prod(network),), *([network[1:]] if network[0] == 1 else [])]
    good = _all(is_count, user) and user in shapes
    require(good, "recipe.layout.user_shape", f"a shape that becomes {network} for networks", user)


def _is_between(least: float, most: float) -> Callable[[Any], bool]:
    return lambda value: is_number(value) and least <= value <= most


def _is_string(value: Any) -> bool:
    return isinstance(value, str)


def _all(is_good: Callable[[Any], bool], values: object, n: int | None = None) -> bool:
    """Return whether values are a non-empty tuple of good ones, of length n if that is given."""
    if not isinstance(values, tuple) or not values or n not in (None, len(values)):
        return False
    return all(map(is_good, values))


# The plain values of a recipe; layout, mean and scale are checked against each other.
_RECIPE_RULES: Rules = {
    **RULES,
    "architecture": (lambda v: v is None or isinstance(v, str | dict), "a name, a dict or None"),
    "seed": (lambda v: type(v) is int and v >= 0, "a non-negative integer"),
    "augmentation": (lambda v: v is None or isinstance(v, str | dict), "a name, a dict or None"),
}
