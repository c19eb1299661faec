"""A set from arrays that were made elsewhere, checked before anybody trains on them."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import linear_sum_assignment
from sklearn.base import BaseEstimator
from sklearn.exceptions import NotFittedError
from sklearn.utils.validation import check_is_fitted

from .._data.columns import column_names
from .._data.labels import plain_labels, refuse_missing, refuse_objects
from .._data.layout import Layout, infer_layout, usual_architecture
from .._data.network_input import (
    as_numbers,
    find_classes,
    loses_digits,
    standardized_in_double,
    unknown_labels,
    warn_of_lost_digits,
)
from .._data.units import FAR, NARROW
from .._data.validation import as_array, check_image_shape
from ._recipe import EvaluationRecipe
from ._way_back import own

__all__ = ["fields_from_arrays"]

# Synthetic samples that hardly vary are in other units only if their mean is this far from 0.
_OFF = 0.5
# The default of a distiller's `eval_steps`.
_STEPS = 300


def fields_from_arrays(
    X: ArrayLike,
    y: ArrayLike,
    classes: ArrayLike | None,
    image_shape: Sequence[int] | None,
    mean: ArrayLike | None,
    scale: ArrayLike | None,
    standardized: bool,
    preprocessing: Any,
    feature_names: Sequence[str] | None,
    provenance: Mapping[str, Any] | None,
    seed: int,
) -> dict[str, Any]:
    """Return the fields of a `DistilledDataset`; the parameters are those of its `from_arrays`."""
    if feature_names is None:
        feature_names = column_names(X)
    target_name = getattr(y, "name", None)
    y = as_array(y)
    refuse_missing(y)
    X, y = as_numbers(X), np.asarray(y)
    if X.ndim < 2 or X.size == 0:
        raise ValueError(f"X must hold samples; got an array of shape {X.shape}.")
    if not np.isfinite(X).all():
        raise ValueError("X must hold finite numbers; it holds NaN or infinity.")
    layout = infer_layout(X.shape, check_image_shape(image_shape))
    if len(X) != len(y):
        raise ValueError(f"X and y must have the same length; got {len(X)} and {len(y)}.")
    y, classes, order = _labels(y, classes)
    wide = not np.can_cast(X.dtype, np.float32)
    means, scales = _moments(mean, scale, standardized, layout)
    if standardized:
        # In the units of the training data they may need more digits than float32 has.
        wide |= bool(loses_digits(np.dtype(np.float32), means, scales).any())
        X = X.astype(np.float64) * layout.spread(scales) + layout.spread(means)
    _check_units(X, layout, means, scales, mean is not None, standardized)
    # Constant features have a scale of 1, and no differences to lose.
    offsets = np.where(scales == 1, 0, means)
    warn_of_lost_digits(X.dtype, layout, offsets, scales, feature_names)
    _check_fitted(preprocessing)
    negative = y.ndim == 2 and bool((y < 0).any())
    return {
        "X": X[order].astype(np.float64 if wide else np.float32),
        "y": y[order],
        "classes": classes,
        "ipc": len(X) // len(classes),
        "recipe": EvaluationRecipe(
            layout=layout,
            mean=tuple(means.tolist()),
            scale=tuple(scales.tolist()),
            architecture=usual_architecture(layout.network_shape),
            steps=_STEPS,
            seed=int(seed) if isinstance(seed, np.integer) else seed,
            loss="mse" if negative else "cross-entropy",
            # The hard labels of real samples beside such labels are centered as these are.
            targets="centered" if negative else "given",
        ),
        "provenance": _json_safe(provenance),
        "feature_names": None if feature_names is None else tuple(map(str, feature_names)),
        # Whoever has fitted it may fit it again.
        "preprocessing": own(preprocessing),
        "target_name": target_name if isinstance(target_name, str) and target_name else None,
    }


def _labels(y: np.ndarray, classes: ArrayLike | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return labels, the sorted classes, and the order in which rows are the sets'."""
    given = None if classes is None else np.asarray(as_array(classes))
    if given is not None and (given.ndim != 1 or len(set(given.tolist())) != len(given)):
        raise ValueError(f"classes must be distinct labels in one dimension; got {classes!r:.200}.")
    if y.ndim == 2:
        y, known, index = _soft_labels(y, given)
    elif y.ndim == 1:
        y, known, index = _hard_labels(y, given)
    else:
        raise ValueError(
            "y must hold a label per sample, or a row of soft labels with a column per class; got "
            f"an array of shape {y.shape}."
        )
    if len(known) < 2:
        raise ValueError(f"y must have at least 2 classes; got {known.tolist()}.")
    plain_labels(known, "classes" if y.ndim == 2 else "y")
    counts = np.bincount(index, minlength=len(known))
    if counts.min() == counts.max():
        # One sample of every class, then the next of every class: each prefix is a set.
        order = np.argsort(index, kind="stable").reshape(len(known), -1).T.ravel()
    elif y.ndim == 2 and len(y) % len(known) == 0:
        order = _order_of_soft_labels(y, index)
    else:
        found = dict(zip(known.tolist(), counts.tolist()))
        raise ValueError(
            "y must hold equally many samples of every class, because a set has so many per class; "
            f"got {found!r:.200}."
        )
    return y, known, order


def _order_of_soft_labels(y: np.ndarray, largest: np.ndarray) -> np.ndarray:
    """Return an order in which each prefix is a set, of labels whose largest are not balanced.

    If most rows are of the class of their place, as in a set whose labels were learned, they are in
    order. Otherwise as many rows go to every class, so that labels have the most of their mass
    there.
    """
    n_classes = y.shape[1]
    places = np.arange(len(y)) % n_classes
    if (largest == places).mean() > 0.5:
        return np.arange(len(y))
    gain = np.repeat(y, len(y) // n_classes, axis=1)
    _, columns = linear_sum_assignment(gain, maximize=True)
    index = columns // (len(y) // n_classes)
    return np.argsort(index, kind="stable").reshape(n_classes, -1).T.ravel()


def _hard_labels(
    y: np.ndarray, classes: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return labels, classes and class indices."""
    if y.dtype.kind == "f" and not np.isfinite(y).all():
        raise ValueError("y must hold labels; it holds infinity.")
    if classes is None:
        refuse_objects(y)
    try:
        known = np.unique(y if classes is None else classes)
    except TypeError as error:
        raise ValueError(f"y and classes must hold labels of one kind: {error}.") from error
    index = find_classes(y, known)
    if (index < 0).any():
        raise ValueError(
            f"y must hold labels that are among classes, {known.tolist()!r:.200}; got "
            f"{unknown_labels(y, index)}."
        )
    # In the dtype of the classes: 1.0 is the class 1.
    return known[index], known, index


def _soft_labels(
    y: np.ndarray, classes: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return soft labels whose columns are in the order of the sorted classes, and the classes."""
    n_columns = y.shape[1]
    if n_columns == 1:
        raise ValueError(
            "y must have one dimension for labels, or a column per class for soft labels; got one "
            "column. y.ravel() makes labels of it."
        )
    if y.dtype.kind not in "biuf":
        raise ValueError(f"y must hold numbers as soft labels; got dtype {y.dtype}.")
    if not np.isfinite(y).all():
        raise ValueError("y must hold finite soft labels; it holds NaN or infinity.")
    if classes is None:
        raise ValueError(
            "classes must be given with soft labels, in the order of their columns: "
            f"classes=np.arange({n_columns}), for instance."
        )
    if len(classes) != n_columns:
        raise ValueError(
            f"classes must name the {n_columns} columns of y; got {len(classes)} classes."
        )
    order = np.argsort(classes, kind="stable")
    dtype = np.float32 if np.can_cast(y.dtype, np.float32) else np.float64
    y = y[:, order].astype(dtype)
    return y, classes[order], y.argmax(axis=1)


def _moments(
    mean: ArrayLike | None, scale: ArrayLike | None, standardized: bool, layout: Layout
) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and scale, one value per channel or feature."""
    if (mean is None) != (scale is None):
        missing = "mean" if mean is None else "scale"
        raise ValueError(f"mean and scale must be given together; {missing} is missing.")
    if mean is None:
        if standardized:
            raise ValueError(
                "standardized=True needs mean and scale: those of the training data with which X "
                "was standardized, and test data has to be."
            )
        mean, scale = 0.0, 1.0
    n = layout.network_shape[0]
    found = []
    for name, value in (("mean", mean), ("scale", scale)):
        try:
            values = np.asarray(as_array(value), np.float64)
            values = np.broadcast_to(values.ravel() if values.ndim > 1 else values, (n,))
        except (TypeError, ValueError) as error:
            what = "channel" if layout.is_image else "feature"
            raise ValueError(
                f"{name} must be a number, or {n} of them, one per {what}; got {value!r:.200}. "
                "Other standardizations are preprocessing: a fitted StandardScaler, for instance."
            ) from error
        found.append(values)
    if not (found[1] > 0).all():
        raise ValueError(f"scale must be positive; got {scale!r:.200}.")
    return found[0], found[1]


def _check_units(
    X: np.ndarray,
    layout: Layout,
    mean: np.ndarray,
    scale: np.ndarray,
    given: bool,
    standardized: bool,
) -> None:
    """Raise a ValueError unless samples can be in the units of the mean and the scale."""
    Z = standardized_in_double(layout.to_engine(X), mean, scale)
    size, spread, offset = np.abs(Z).mean(), Z.std(), abs(Z.mean())
    if size <= FAR and not (spread < NARROW and offset > _OFF):
        return
    if standardized:
        raise ValueError(
            "X must have been standardized already with standardized=True: its values would have a "
            f"mean size of about 1; it is {size:.3g}. With standardized=False, X is in the units "
            "of mean and scale."
        )
    low, high = f"{X.min():.4g}", f"{X.max():.4g}"
    if not given:
        raise ValueError(
            "X must be as networks are to see it, about 1 in size, unless mean and scale of the "
            f"training data are given; its values go from {low} to {high}. Give mean and scale per "
            "channel or feature, in the units of X."
        )
    raise ValueError(
        f"mean and scale must be in the units of X, whose values go from {low} to {high}: "
        f"standardized by them, X has a mean size of {size:.3g} and a standard deviation of "
        f"{spread:.3g}; about 1 is usual. Those of pixels from 0 to 1 are 255 times smaller than "
        "those of bytes. If X has been standardized with them, pass standardized=True."
    )


def _check_fitted(preprocessing: Any) -> None:
    if preprocessing is None:
        return
    if not hasattr(preprocessing, "transform") or isinstance(preprocessing, type):
        raise ValueError(
            f"preprocessing must be None or a fitted transformer; got {preprocessing!r:.200}."
        )
    if isinstance(preprocessing, BaseEstimator):
        try:
            check_is_fitted(preprocessing)
        except NotFittedError as error:
            raise ValueError(
                "preprocessing must be fitted, on the data that X was distilled from: "
                f"{preprocessing!r:.200} is not."
            ) from error


def _json_safe(provenance: Mapping[str, Any] | None) -> dict[str, Any]:
    if provenance is None:
        return {}
    if not isinstance(provenance, Mapping):
        raise ValueError(f"provenance must be a mapping; got {provenance!r:.200}.")
    try:
        json.dumps(dict(provenance), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(f"provenance must be JSON-safe: {error}") from error
    return dict(provenance)
