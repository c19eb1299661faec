"""Whether test data is what the set expects: its labels, and its units."""

from collections.abc import Iterator

import numpy as np

from .._data.arrays import as_array
from .._data.columns import other_columns
from .._data.network_input import unknown_labels
from .._data.units import FEW, Moments, are_known, moments, some_rows, standardized_part
from .._data.wording import listed
from ..distilled._dataset import DistilledDataset
from ..distilled._known import mapping, short
from ._case import Case
from ._report import Finding, NotMade

__all__ = ["unprepared_test_data", "wrong_labels"]

# Of any distribution at most a quarter lies two standard deviations or more from the mean
# (Chebyshev). A feature with more than half of its values there is not the one of the training
# data, however skewed that was.
_DEVIATIONS, _SHARE = 2.0, 0.5


def wrong_labels(case: Case) -> Finding | None:
    """Look for test labels that are no classes of the set."""
    n, classes = int(np.count_nonzero(case.y < 0)), case.distilled.classes
    if not n:
        return None
    return Finding(
        "wrong-labels",
        "error" if n == len(case.y) else "warning",
        f"{n} of {len(case.y)} test labels are no classes of the set, and count as errors: "
        f"[{unknown_labels(case.labels, case.y)}]. Its classes are {classes.tolist()!r:.200}.",
        "Pass y_test as the labels were in the training data, of the same type (1 is not '1'), "
        "and without samples of other classes.",
    )


def unprepared_test_data(case: Case) -> Finding | NotMade | None:
    """Look whether the test data was preprocessed as the training data was."""
    distilled, X = case.distilled, case.X
    other_columns = _other_columns(case)
    if other_columns is not None:
        return other_columns
    if len(X) < FEW:
        return NotMade(f"It needs {FEW} test samples; there are {len(X)}.")
    recipe = distilled.recipe
    found, columns = _moments(distilled, X, case.y), _far_columns(distilled, X)
    level = found.level
    if not are_known(recipe.mean, recipe.scale) and not found.is_hopeless:
        return NotMade("The set does not know the mean and deviation of its training data.")
    if not level and not columns:
        return None
    what = "channel" if recipe.layout.is_image else "feature"
    evidence = (
        f"Standardized as the set says, X_test has a mean of {found.shift:.2g} in size (root mean "
        f"square over {what}s) and a standard deviation of {found.median:.2g} (median), at most "
        f"{found.largest:.2g}; the training data had 0 and 1."
    )
    if columns:
        evidence += (
            f" More than half of its values are {_DEVIATIONS:g} deviations or more from the "
            f"training data's mean in {listed(columns)}."
        )
    evidence += (
        f" Its values are from {X.min():.4g} to {X.max():.4g}; the training data had a mean of "
        f"{np.mean(recipe.mean):.4g} and a deviation of {np.mean(recipe.scale):.4g}"
        f"{'' if len(recipe.mean) == 1 else ' on average'}, and the synthetic samples are from "
        f"{distilled.X.min():.4g} to {distilled.X.max():.4g}."
    )
    return Finding(
        "unprepared-test-data", "error" if level == 2 else "warning", evidence, _remedy(case)
    )


def _other_columns(case: Case) -> Finding | None:
    """Look for columns that are not those of the training data, or in another order."""
    # A preprocessor compares its columns with its own.
    if case.distilled.preprocessing is not None:
        return None
    found = other_columns(case.given, case.distilled.feature_names)
    if found is None:
        return None
    difference, way_out = found
    return Finding(
        "unprepared-test-data",
        "error",
        f"X_test must have the columns of the training data, in their order: {difference}.",
        way_out,
    )


def _moments(distilled: DistilledDataset, X: np.ndarray, y: np.ndarray) -> Moments:
    recipe = distilled.recipe
    return moments(X, recipe.layout, recipe.mean, recipe.scale, len(distilled.classes), y)


def _far_columns(distilled: DistilledDataset, X: np.ndarray) -> list[str]:
    """Return the names of channels or features most of whose values are far from the mean."""
    part = np.abs(_standardized(distilled, X))
    shares = (part >= _DEVIATIONS).mean(axis=(0, *range(2, part.ndim)))
    far = np.flatnonzero(shares > _SHARE).tolist()
    if distilled.recipe.layout.is_image:
        return [f"channel {i}" for i in far]
    names = distilled.feature_names
    return [f"column {i}" if names is None else f"column {str(names[i])!r}" for i in far]


def _standardized(distilled: DistilledDataset, X: np.ndarray) -> np.ndarray:
    recipe = distilled.recipe
    return standardized_part(X, recipe.layout, recipe.mean, recipe.scale)


def _remedy(case: Case) -> str:
    """Return what to do: what the set says, or what has been tried and makes the data fit."""
    note = mapping(case.distilled.provenance.get("about")).get("preprocessing")
    if note is not None and case.distilled.preprocessing is None:
        return (
            f"The set says: {short(note, 400)} Give X_test the same, fitted on the training data, "
            "or keep it with the set: dataclasses.replace(distilled, preprocessing=...)."
        )
    for text, X in _cures(case):
        y = some_rows(case.y)
        if _moments(case.distilled, X, y).level == 0 and not _far_columns(case.distilled, X):
            return text
    kept = "" if case.distilled.preprocessing is None else " before the steps that the set keeps"
    return (
        "Treat X_test as the training data was treated before it was distilled (the same fitted "
        f"scaler or whitening, range of pixels and order of columns){kept}, and in no other way. "
        "DistilledDataset.from_pipeline keeps such steps with a set, which then takes test data as "
        "it was before them."
    )


def _cures(case: Case) -> Iterator[tuple[str, np.ndarray]]:
    """Yield usual ways out, and what the test samples are then."""
    distilled, recipe = case.distilled, case.distilled.recipe
    given = np.asarray(as_array(case.given))
    if given.dtype.kind not in "biuf":
        return
    given = some_rows(given).astype(np.float64)
    if distilled.preprocessing is not None and given.shape[1:] == recipe.layout.user_shape:
        yield (
            "X_test has gone through the preprocessing already, which the set keeps and applies "
            "itself. Pass X_test as it was before.",
            given,
        )
    if distilled.preprocessing is None:
        mean, scale = (recipe.layout.spread(values) for values in (recipe.mean, recipe.scale))
        yield (
            "X_test is standardized already, which the set does itself, by recipe.mean and "
            "recipe.scale. Pass X_test as it was before.",
            given * scale + mean,
        )
    if recipe.layout.is_image:
        for text, factor in (
            ("X_test was divided by 255: multiply it by 255, the range of the training data.", 255),
            ("The training data was divided by 255: divide X_test by 255.", 1 / 255),
        ):
            X = factor * given
            if distilled.preprocessing is not None:
                try:
                    X = np.asarray(distilled.preprocessing.transform(X))
                except Exception:
                    # Steps of anybody's need not take such values: then this is no way out.
                    continue
            yield text, X
