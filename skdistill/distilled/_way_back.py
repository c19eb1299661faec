"""From the columns that preprocessing made back to the original ones.

Synthetic samples are not exact encodings of rows: one-hot columns hold 0.7 and 0.4, ordinal codes
1.3. So the way back takes the nearest row that the transformers could have encoded. A column that
they dropped, or that went through a transformer without an inverse, is `Lost`.
"""

from copy import deepcopy
from dataclasses import dataclass
from functools import singledispatch
from typing import Any

import numpy as np
from sklearn.compose import ColumnTransformer
from sklearn.feature_selection import SelectorMixin
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    KBinsDiscretizer,
    MaxAbsScaler,
    MinMaxScaler,
    OneHotEncoder,
    OrdinalEncoder,
    PowerTransformer,
    QuantileTransformer,
    RobustScaler,
    StandardScaler,
)

from .._data.columns import default_names
from .._data.dtypes import Dtypes
from .._data.frames import Origin, dtypes_of
from .._data.warn import warn

__all__ = ["dtypes_before", "names_after", "original_columns", "warn_of_target_before"]

# scikit-learn's name for all categories that its encoders pool because they are rare.
_RARE = "infrequent_sklearn"
# Each of their columns comes from the one at its place: a lost column does not affect the others.
_COLUMNWISE = (
    MaxAbsScaler,
    MinMaxScaler,
    PowerTransformer,
    QuantileTransformer,
    RobustScaler,
    StandardScaler,
)


@dataclass(frozen=True)
class Lost:
    """A column that cannot be restored.

    Parameters
    ----------
    by : str or None
        The class of the transformer without an inverse; None if the column was dropped on purpose.
    """

    by: str | None = None


Columns = list[np.ndarray | Lost]


def _names_before(preprocessing: Any) -> list[str] | None:
    """Return the names of the columns that preprocessing was fitted on, if they had names."""
    names = getattr(preprocessing, "feature_names_in_", None)
    return None if names is None else [str(name) for name in names]


def _names_used(preprocessing: Any) -> list[str]:
    """Return the names of the columns that preprocessing does not drop at once."""
    names = _names_before(preprocessing) or []
    first = preprocessing.steps[0][1] if isinstance(preprocessing, Pipeline) else preprocessing
    if not isinstance(first, ColumnTransformer):
        return names
    return [
        names[j]
        for name, inner, _ in first.transformers_
        if not (isinstance(inner, str) and inner == "drop")
        for j in (first._transformer_to_input_indices[name] if names else ())
    ]


def steps_before(pipeline: Any) -> Pipeline | None:
    """Return a copy of what a fitted pipeline does to test data before its last step."""
    steps = [
        (name, step)
        for name, step in pipeline.steps[:-1]
        if step not in (None, "passthrough") and not hasattr(step, "fit_resample")
    ]
    # scikit-learn fits the same steps again if the pipeline is fitted again.
    return own(Pipeline(steps)) if steps else None


def own(preprocessing: Any) -> Any:
    """Return a copy of fitted preprocessing, which its owner may fit again.

    What holds a lock, a file or a connection cannot be copied: it is kept as it is.
    """
    try:
        return deepcopy(preprocessing)
    except Exception:
        return preprocessing


def names_after(preprocessing: Any, n: int) -> tuple[str, ...] | None:
    """Return the names of the n columns that preprocessing makes, if they are informative."""
    try:
        names = tuple(map(str, preprocessing.get_feature_names_out()))
    except (AttributeError, ValueError):
        return None  # a step that does not know its names
    return None if len(names) != n or list(names) == default_names(n) else names


def warn_of_target_before(preprocessing: Any, target_name: str | None) -> None:
    """Warn if a table had a column of the name of y: behind an encoder it has another name."""
    if target_name in _names_used(preprocessing):
        warn(
            f"The pipeline was fitted on a table with a column {target_name!r}, which is the name "
            "of y: if it is the target, networks were given the answers, and accuracies say "
            "nothing. Leave that column out of X.",
            UserWarning,
        )


def dtypes_before(preprocessing: Any, X: Any) -> Dtypes | None:
    """Return the dtypes of a table's columns, in the order in which preprocessing got them.

    Raises
    ------
    ValueError
        If the table lacks any of them.
    """
    dtypes, names, columns = dtypes_of(X), _names_before(preprocessing), Origin.of(X).columns
    if dtypes is None:
        return None
    if names is not None and columns is not None:
        by_name = dict(zip(columns, dtypes))
        missing = [name for name in names if name not in by_name]
        if missing:
            raise ValueError(
                f"X must have the columns that pipeline was fitted on; it lacks {missing}."
            )
        return tuple(by_name[name] for name in names)
    n = preprocessing.n_features_in_
    if len(dtypes) != n:
        raise ValueError(f"X must have the {n} columns that pipeline was fitted on.")
    return dtypes


def original_columns(
    preprocessing: Any, X: np.ndarray
) -> tuple[list[str] | None, dict[int, np.ndarray], int]:
    """Return the samples before preprocessing, as far as that can be known.

    Returns
    -------
    names : list of str or None
        Names of all columns, if they had names.
    columns : dict of int to ndarray of shape (n,)
        The columns by position, without those that were dropped.
    n_columns : int

    Raises
    ------
    ValueError
        If a column that was not dropped, or an image, has no way back.
    """
    if X.ndim != 2:
        if one_way := [step for step in _steps(preprocessing) if _is_one_way(step)]:
            raise ValueError(_no_way_back(f"{one_way[0]!r:.200}"))
        X = np.asarray(preprocessing.inverse_transform(X)).reshape(len(X), -1)
        return None, dict(enumerate(X.T)), X.shape[1]
    names = _names_before(preprocessing)
    columns = dict(enumerate(columns_before(preprocessing, list(X.T), len(X))))
    lost = {j: column.by for j, column in columns.items() if isinstance(column, Lost)}
    stuck = [f"{f'x{j}' if names is None else names[j]!r} ({by})" for j, by in lost.items() if by]
    if stuck:
        raise ValueError(_no_way_back(", ".join(stuck)))
    there = {j: c for j, c in columns.items() if not isinstance(c, Lost)}
    return names, there, len(columns)


def _steps(preprocessing: Any) -> list[Any]:
    """Return the transformers of a preprocessing, without those that do nothing."""
    if not isinstance(preprocessing, Pipeline):
        return [preprocessing]
    steps = [step for _, step in preprocessing.steps if step not in (None, "passthrough")]
    return [inner for step in steps for inner in _steps(step)]


def _is_one_way(transformer: Any) -> bool:
    """Return whether a transformer cannot undo what it does."""
    if isinstance(transformer, FunctionTransformer):
        return transformer.func is not None and transformer.inverse_func is None
    return not hasattr(transformer, "inverse_transform")


def _no_way_back(stuck: str) -> str:
    return (
        f"original=True needs a way back for every column; {stuck} has none. A transformer needs "
        "inverse_transform, a FunctionTransformer inverse_func; original=False gives the columns "
        "as they were distilled."
    )


@singledispatch
def columns_before(transformer: Any, columns: Columns, n: int) -> Columns:
    """Return the columns that a fitted transformer was given.

    Parameters
    ----------
    transformer : estimator, "passthrough", "drop" or None
    columns : list of ndarray of shape (n,) or Lost
        The columns that the transformer made.
    n : int
        Number of samples.
    """
    n_before = getattr(transformer, "n_features_in_", len(columns))
    lost: Columns = [Lost(type(transformer).__name__)] * n_before
    if not hasattr(transformer, "inverse_transform"):
        return lost
    is_kept = [not isinstance(column, Lost) for column in columns]
    columnwise = isinstance(transformer, _COLUMNWISE)
    if not columnwise and not all(is_kept):
        return lost
    filled = [np.zeros(n) if isinstance(c, Lost) else c for c in columns]
    before = np.asarray(_inverse(transformer, np.column_stack(filled).astype(np.float64)))
    if before.shape != (n, n_before):
        return lost
    return [before[:, j] if not columnwise or is_kept[j] else columns[j] for j in range(n_before)]


def _inverse(transformer: Any, X: np.ndarray) -> Any:
    before = transformer.inverse_transform(X)
    if np.asarray(before).dtype.kind == "f" and not np.isfinite(before).all():
        warn(
            f"{type(transformer).__name__}.inverse_transform knows no original for some values of "
            "the synthetic samples: they become NaN or infinite.",
            UserWarning,
        )
    return before


@columns_before.register(str)
@columns_before.register(type(None))
def _(transformer: str | None, columns: Columns, n: int) -> Columns:
    return [Lost()] * len(columns) if transformer == "drop" else columns


@columns_before.register
def _(transformer: Pipeline, columns: Columns, n: int) -> Columns:
    for _, step in reversed(transformer.steps):
        columns = columns_before(step, columns, n)
    return columns


@columns_before.register
def _(transformer: ColumnTransformer, columns: Columns, n: int) -> Columns:
    before: Columns = [Lost()] * transformer.n_features_in_
    weights = transformer.transformer_weights or {}
    for name, inner, _ in transformer.transformers_:
        used = transformer._transformer_to_input_indices[name]
        if len(used) == 0 or (isinstance(inner, str) and inner == "drop"):
            continue
        weight = weights.get(name, 1)
        made = [
            c if isinstance(c, Lost) or weight == 1 else c / weight
            for c in columns[transformer.output_indices_[name]]
        ]
        found = columns_before(inner, made, n)
        if len(found) != len(used) or weight == 0:
            found = [Lost(type(inner).__name__)] * len(used)
        for j, column in zip(used, found):
            # If several transformers got a column, the first that can be inverted counts.
            dropped = isinstance(column, Lost) and column.by is None
            if isinstance(before[j], Lost) and not dropped:
                before[j] = column
    return before


@columns_before.register
def _(transformer: FunctionTransformer, columns: Columns, n: int) -> Columns:
    if transformer.func is None:
        return columns
    if _is_one_way(transformer):
        return [Lost(type(transformer).__name__)] * len(columns)
    return columns_before.dispatch(object)(transformer, columns, n)


@columns_before.register
def _(transformer: SelectorMixin, columns: Columns, n: int) -> Columns:
    before: Columns = [Lost()] * transformer.n_features_in_
    for j, column in zip(np.flatnonzero(transformer.get_support()), columns):
        before[j] = column
    return before


@columns_before.register
def _(transformer: SimpleImputer, columns: Columns, n: int) -> Columns:
    # A column without values was left out, unless it was to be kept; it was always missing.
    kept = np.array([s == s for s in transformer.statistics_], dtype=bool)
    kept |= transformer.keep_empty_features
    places, missing = np.flatnonzero(kept), transformer.missing_values
    before: Columns = [np.full(n, missing, dtype=object)] * len(kept)
    for j, column in zip(places, columns):
        before[j] = column
    if transformer.add_indicator:
        for j, indicator in zip(transformer.indicator_.features_, columns[len(places) :]):
            if not isinstance(before[j], Lost) and not isinstance(indicator, Lost):
                before[j] = before[j].astype(object)
                before[j][indicator.astype(np.float64) > 0.5] = missing
    return before


@columns_before.register
def _(transformer: KBinsDiscretizer, columns: Columns, n: int) -> Columns:
    if transformer.encode == "ordinal":
        columns = [
            c if isinstance(c, Lost) else np.clip(np.rint(c.astype(np.float64)), 0, bins - 1)
            for c, bins in zip(columns, transformer.n_bins_)
        ]
    return columns_before.dispatch(object)(transformer, columns, n)


@columns_before.register
def _(transformer: OneHotEncoder, columns: Columns, n: int) -> Columns:
    before, start = Columns(), 0
    for i in range(len(transformer.categories_)):
        categories, _ = _told_apart(transformer, i)
        dropped = transformer._drop_idx_after_grouping
        dropped = None if dropped is None else dropped[i]
        stop = start + len(categories) - (dropped is not None)
        group, start = columns[start:stop], stop
        known = [column for column in group if not isinstance(column, Lost)]
        if len(known) < len(group):
            before.append(next(column for column in group if isinstance(column, Lost)))
            continue
        scores = np.column_stack([np.zeros((n, 0)), *known]).astype(np.float64)
        if dropped is not None:
            # The column that was dropped is 1 minus the others.
            scores = np.insert(scores, dropped, 1 - scores.sum(axis=1), axis=1)
        before.append(categories[scores.argmax(axis=1)])
    return before


@columns_before.register
def _(transformer: OrdinalEncoder, columns: Columns, n: int) -> Columns:
    before: Columns = []
    for i, column in enumerate(columns):
        if isinstance(column, Lost):
            before.append(column)
            continue
        categories, missing = _told_apart(transformer, i)
        codes = np.arange(len(categories), dtype=np.float64)
        if missing is not None:
            code = transformer.encoded_missing_value
            # It has no place among the codes of the others: the pooled one, which comes after it,
            # is counted without it.
            codes[missing + 1 :] -= 1
            codes[missing] = code if code == code else np.inf
        values = column.astype(np.float64)
        found = categories[abs(values[:, None] - codes).argmin(axis=1)]
        # Those that an imputer has restored, for which argmin names the first category.
        restored = np.isnan(values)
        if restored.any():
            found = found if found.dtype.kind == "f" else found.astype(object)
            found[restored] = np.nan
        before.append(found)
    return before


def _told_apart(encoder: Any, i: int) -> tuple[np.ndarray, int | None]:
    """Return a column's categories as they are encoded, and the place of the missing one.

    Rare categories that the encoder has pooled are one, scikit-learn's "infrequent_sklearn".
    """
    categories = encoder.categories_[i]
    missing = getattr(encoder, "_missing_indices", {}).get(i)
    rare = encoder._infrequent_indices[i] if encoder._infrequent_enabled else None
    if rare is not None and len(rare):
        if missing is not None:
            missing -= int((rare < missing).sum())
        categories = np.append(np.delete(categories.astype(object), rare), _RARE)
    return categories, missing
