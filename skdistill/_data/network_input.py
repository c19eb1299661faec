"""Samples and labels as networks see them: standardized arrays, class indices. Needs no torch."""

from collections.abc import Sequence
from math import prod

import numpy as np

from .arrays import SMALLEST, as_array
from .columns import check_columns, column_names
from .labels import refuse_missing
from .layout import Layout
from .warn import warn
from .wording import listed

__all__ = [
    "as_numbers",
    "class_indices",
    "find_classes",
    "loses_digits",
    "standardize",
    "standardized_in_double",
    "unknown_labels",
    "warn_of_lost_digits",
]

# One for each channel or feature.
Numbers = Sequence[float] | np.ndarray

# Values that are converted to double precision at a time.
_BLOCK = 2**20

# Binary digits of a feature's standard deviation that a dtype must hold.
_SPARE = 3


def standardize(X: np.ndarray, layout: Layout, mean: Numbers, scale: Numbers) -> np.ndarray:
    """Return samples of the caller's layout, standardized, in the networks'.

    The difference and the quotient are computed in double precision and rounded once, so that a
    large mean costs no digits.

    Parameters
    ----------
    X : ndarray of numbers, of shape (n, ...)
    layout : Layout
    mean, scale : sequence of float
        One value per channel or feature.

    Returns
    -------
    ndarray of float32, of shape (n, features) or (n, C, H, W)

    Raises
    ------
    ValueError
        If the samples have another shape, or a result is not finite in single precision.
    """
    layout.check(X)
    samples = layout.to_engine(X)
    out = np.empty(samples.shape, np.float32)
    rows = max(1, _BLOCK // prod(layout.network_shape))
    # A value that is too large becomes infinite, and is found below.
    with np.errstate(over="ignore", invalid="ignore"):
        for first in range(0, len(samples), rows):
            block = slice(first, first + rows)
            out[block] = standardized_in_double(samples[block], mean, scale)
            if not np.isfinite(out[block]).all():
                raise ValueError(
                    "X must hold finite numbers that networks can compute with, standardized in "
                    "single precision; it holds NaN, infinity or values of too large a size."
                )
    return out


def warn_of_lost_digits(
    dtype: np.dtype,
    layout: Layout,
    mean: Numbers,
    scale: Numbers,
    feature_names: Sequence[str] | None = None,
) -> None:
    """Warn, by name, of channels or features whose differences a dtype can hardly hold."""
    mean, scale = np.asarray(mean, np.float64), np.asarray(scale, np.float64)
    lost = np.flatnonzero(loses_digits(dtype, mean, scale)).tolist()
    if not lost:
        return
    if layout.is_image:
        names = [f"channel {i}" for i in lost]
    elif feature_names is None:
        names = [f"column {i}" for i in lost]
    else:
        names = [f"column {str(feature_names[i])!r}" for i in lost]
    warn(
        f"Differences in {listed(names)} of X are lost to rounding: in {dtype} a standard "
        f"deviation must be at least {_least(dtype):.1g} of the mean, and {SMALLEST:.1g}; the "
        f"first has {scale[lost[0]]:.3g} and a mean of {mean[lost[0]]:.3g}. Subtract an offset "
        "before X is made, or pass float64 where it holds more.",
        UserWarning,
    )


def loses_digits(dtype: np.dtype, mean: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Return of which channels or features a dtype can hardly hold the differences."""
    return (scale < _least(dtype) * np.abs(mean)) | (scale < SMALLEST)


def _least(dtype: np.dtype) -> float:
    """Return what part of the mean a standard deviation must be at least."""
    # Whole numbers are exact, but they are subtracted in double precision.
    digits = min(np.finfo(dtype).nmant, 52) if dtype.kind == "f" else 52
    return 2.0 ** (_SPARE - digits)


def standardized_in_double(samples: np.ndarray, mean: Numbers, scale: Numbers) -> np.ndarray:
    """Return samples of the networks' layout, standardized, in double precision."""
    column = (-1, *[1] * (samples.ndim - 2))
    mean, scale = (np.asarray(values, np.float64).reshape(column) for values in (mean, scale))
    return (samples.astype(np.float64) - mean) / scale


def as_numbers(X, feature_names: tuple[str, ...] | None = None) -> np.ndarray:
    """Return an array, a tensor or a data frame of these columns as an array of real numbers."""
    check_columns(X, feature_names)
    frame, X = X, np.asarray(as_array(X))
    if column_names(frame) is not None:
        may_have_gaps = X.dtype == object or bool(X.dtype.kind == "f" and np.isnan(X).any())
        _refuse_no_numbers(frame, may_have_gaps)
    if X.dtype == object:
        # A data frame with several kinds of numbers.
        try:
            X = X.astype(np.float64)
        except (TypeError, ValueError) as error:
            raise ValueError(f"X must hold samples of numbers of one shape: {error}.") from error
    if X.dtype.kind not in "biuf":
        raise ValueError(f"X must hold real numbers; got an array of dtype {X.dtype}.")
    return X


def _refuse_no_numbers(frame, may_have_gaps: bool) -> None:
    """Raise a ValueError that names columns of a data frame that hold text, or have gaps."""
    try:
        from .frames import refuse_unencoded
        from .gaps import refuse_gaps
    except ImportError:
        return  # NumPy is all there is: the errors below name no columns
    refuse_unencoded(frame, in_fit=False)
    if may_have_gaps:
        refuse_gaps(frame, are_images=False, in_fit=False)


def class_indices(y, classes: np.ndarray) -> np.ndarray:
    """Return the position in ``classes`` of each label, or raise a ValueError."""
    y = as_array(y)
    refuse_missing(y)
    labels = np.asarray(y)
    if labels.ndim != 1:
        raise ValueError(f"y must hold one label per sample; got an array of shape {labels.shape}.")
    index = find_classes(labels, classes)
    if (index < 0).any():
        raise ValueError(
            f"y must hold labels that are among the classes {classes.tolist()!r:.200}; "
            f"got {unknown_labels(labels, index)}."
        )
    return index


def find_classes(labels: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Return the position in ``classes`` of each label, -1 for labels that are not among them."""
    # Python's equality: 1 equals 1.0 but not "1", which NumPy would find in an array of strings.
    positions = {label: i for i, label in enumerate(classes.tolist())}
    return np.array([positions.get(label, -1) for label in labels.tolist()], np.int64)


def unknown_labels(labels: np.ndarray, index: np.ndarray) -> str:
    """Return the first five labels that `find_classes` did not find, as text."""
    unknown = list(dict.fromkeys(labels[index < 0].tolist()))
    return listed(map(repr, unknown))
