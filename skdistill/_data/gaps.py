"""Missing values: where they are, and what to do about them."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import narwhals.stable.v2 as nw
import numpy as np

from .rows import blocks
from .wording import listed

__all__ = ["explain_gaps", "explaining_gaps", "n_gaps", "refuse_gaps"]

# A message names at most this many columns.
_N_NAMED = 8


def n_gaps(series: nw.Series) -> int:
    """Return how many values of a column are missing, which NaN means as well."""
    missing = series.is_null()
    if series.dtype.is_float():
        missing = missing | series.is_nan()
    return int(missing.sum())


def explain_gaps(X: Any, are_images: bool, in_fit: bool = True) -> str | None:
    """Return where samples have missing values, and what to do; None if they have none.

    Parameters
    ----------
    X : data frame or array-like
    are_images : bool
        Whether rows of numbers are flat images, whose columns have no meaning of their own.
    in_fit : bool, default=True
        Whether the samples are for a fit. Others are to be filled as the training data was.
    """
    if nw.dependencies.is_into_dataframe(X):
        columns = nw.from_native(X, eager_only=True).iter_columns()
        return _in_columns({repr(series.name): n_gaps(series) for series in columns}, in_fit)
    try:
        X = np.asarray(X)
        # By parts, because an array may be larger than the memory.
        parts = (np.isnan(X[rows].astype(float, copy=False)) for rows in blocks(X))
        if X.ndim == 2 and not are_images:
            counts = sum(part.sum(axis=0) for part in parts)
            return _in_columns({f"column {i}": int(n) for i, n in enumerate(counts)}, in_fit)
        n = sum(int(part.reshape(len(part), -1).any(axis=1).sum()) for part in parts)
    except (TypeError, ValueError):
        # Of other things than numbers.
        return None
    return f"{n} of {len(X)} samples contain NaN. Leave them out, or fill them." if n else None


def refuse_gaps(X: Any, are_images: bool, in_fit: bool = True) -> None:
    """Raise a ValueError that says where samples have missing values, if they have any."""
    where = explain_gaps(X, are_images, in_fit)
    if where is not None:
        raise ValueError(f"X must have no missing values; {where}") from None


@contextmanager
def explaining_gaps(X: Any, are_images: bool, in_fit: bool = True) -> Iterator[None]:
    """Say where X has missing values, and what to do, if these are what scikit-learn refuses."""
    try:
        yield
    except (TypeError, ValueError) as error:
        # pandas.NA among objects is no float to it.
        if any(word in str(error) for word in ("NaN", "NAType")):
            refuse_gaps(X, are_images, in_fit)
        raise


def _in_columns(counts: dict[str, int], in_fit: bool) -> str | None:
    found = [f"{name} ({n})" for name, n in counts.items() if n]
    if not found:
        return None
    way = "Fill them as in the training data"
    if in_fit:
        way = (
            "Fill gaps in front of the distiller, in a pipeline: make_pipeline(SimpleImputer(), "
            "distiller)"
        )
    return f"it contains NaN in {listed(found, _N_NAMED)}. {way}; or leave these rows out."
