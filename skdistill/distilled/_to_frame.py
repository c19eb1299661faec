"""A distilled set as a pandas data frame, with the columns of its samples or the original ones."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .._data.columns import default_names

if TYPE_CHECKING:
    import pandas as pd

    from ._dataset import DistilledDataset

__all__ = ["to_frame"]


def to_frame(
    data: "DistilledDataset", *, original: bool, target_name: str | None
) -> "pd.DataFrame":
    """Return one row per sample, as in `DistilledDataset.to_frame`."""
    try:
        import pandas as pd
    except ImportError as error:
        raise ImportError("to_frame needs pandas: pip install pandas.") from error
    if original:
        names, columns = _original(data)
        features = pd.DataFrame(dict(enumerate(columns)))
        features.columns = names
    else:
        X = data.X.reshape(len(data.X), -1)
        features = pd.DataFrame(X.copy(), columns=_names(data.feature_names, X.shape[1]))
    targets = _label_names(data, set(features.columns), target_name)
    labels = pd.DataFrame(data.y.reshape(len(data.y), -1).copy(), columns=targets)
    return pd.concat([features, labels], axis=1)


def _names(names: Sequence[str] | None, n: int) -> list[str]:
    return default_names(n) if names is None else list(names)


def _label_names(
    data: "DistilledDataset", features: set[str], target_name: str | None
) -> list[str]:
    """Return the names of the label columns, which no feature may have."""
    known_name = data.target_name if target_name is None else target_name
    name = "target" if known_name is None else known_name
    if not isinstance(name, str) or not name:
        raise ValueError(f"target_name must be a string that is not empty; got {target_name!r}.")
    while known_name is None and features & {*data._label_columns(name)}:
        name += "_"
    taken = sorted(features & {*data._label_columns(name)})
    if taken:
        raise ValueError(
            f"target_name={name!r} must not give a column the name of a feature, {taken[0]!r}. "
            "Pass another target_name."
        )
    return data._label_columns(name)


def _original(data: "DistilledDataset") -> tuple[list[str], list["pd.Series"]]:
    """Return names and values of the columns as they were before preprocessing."""
    if data.preprocessing is None:
        X = data.X.reshape(len(data.X), -1)
        names, columns, n = data.feature_names, dict(enumerate(X.T)), X.shape[1]
    else:
        # Imported when used: it needs scikit-learn, as preprocessing does.
        from ._way_back import original_columns

        names, columns, n = original_columns(data.preprocessing, data.X)
    names, dtypes = _names(names, n), data.original_dtypes or (None,) * n
    if len(dtypes) != n:
        raise ValueError(
            f"original_dtypes must be None or one for each of the {n} original columns; "
            f"got {len(dtypes)}."
        )
    return [names[j] for j in columns], [_restored(c, dtypes[j]) for j, c in columns.items()]


def _restored(values: np.ndarray, dtype: str | dict[str, Any] | None) -> "pd.Series":
    """Return a column in its original dtype; unchanged if its values do not fit that."""
    import pandas as pd

    # pandas infers the dtype of objects: strings have another dtype from version 3 on.
    values = np.array(values.tolist()) if _is_plain_objects(values) else values
    as_it_is = pd.Series(values.tolist() if values.dtype.kind in "OU" else values.copy())
    if isinstance(dtype, dict):
        return _categorical(values, dtype["categories"], dtype["ordered"], as_it_is)
    if dtype is None or values.dtype.kind not in "biuf":
        return as_it_is
    name = dtype.lower()
    if name.startswith("float"):
        return as_it_is.astype(dtype)
    finite = np.isfinite(values)
    if dtype == name != "boolean" and not finite.all():
        return as_it_is  # only pandas' own dtypes have room for a missing integer or boolean
    present = values[finite]
    if name.startswith("bool"):
        present = present >= 0.5
    elif present.dtype.kind == "f":
        present = _to_integers(present, np.iinfo(name))
    restored = pd.Series(present, index=np.flatnonzero(finite)).astype(dtype)
    return restored.reindex(range(len(values)))


def _is_plain_objects(values: np.ndarray) -> bool:
    """Return whether all objects are of one of Python's types of numbers."""
    return values.dtype == object and {type(v) for v in values} in ({bool}, {int}, {float})


def _to_integers(values: np.ndarray, limits: np.iinfo) -> np.ndarray:
    """Return the nearest integers of a dtype: beyond its limits, numbers would wrap around."""
    rounded = np.rint(values.astype(np.float64))
    integers = np.empty(len(values), dtype=limits.dtype)
    # The largest integer of 64 bits is not a float; the next float is above it.
    low, high = rounded <= limits.min, rounded >= limits.max
    integers[low], integers[high] = limits.min, limits.max
    integers[~low & ~high] = rounded[~low & ~high].astype(limits.dtype)
    return integers


def _categorical(
    values: np.ndarray, categories: list[Any], ordered: bool, as_it_is: "pd.Series"
) -> "pd.Series":
    import pandas as pd

    numbers = np.asarray(categories)
    if values.dtype.kind in "iuf" and len(numbers) and numbers.dtype.kind in "biuf":
        codes = abs(values[:, None] - numbers).argmin(axis=1)
        # No category is near to NaN or infinity; argmin would name the first.
        codes[~np.isfinite(values)] = -1
    else:
        codes = pd.Index(categories).get_indexer_for(values)
    if ((codes < 0) & as_it_is.notna()).any():
        return as_it_is  # a value that is none of the categories would be missing
    return pd.Series(pd.Categorical.from_codes(codes, categories=categories, ordered=ordered))
