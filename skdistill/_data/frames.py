"""Data frames of pandas, polars and others: what may come in, and samples in the same form.

narwhals handles all of them; scikit-learn requires it, too.
"""

from dataclasses import dataclass, replace
from datetime import date, time, timedelta
from typing import Any

import narwhals.stable.v2 as nw
import numpy as np
from narwhals.exceptions import DuplicateError

from .columns import default_names
from .dtypes import NUMERIC, Dtypes, is_plain_category
from .gaps import n_gaps
from .labels import refuse_objects
from .wording import listed

__all__ = [
    "Origin",
    "dtypes_of",
    "is_polars_categorical",
    "like_series",
    "plain_target",
    "refuse_target_in",
    "refuse_unencoded",
]

# A message names at most this many columns.
_N_NAMED = 8
_TIMES, _LISTS, _COMPLEX = "dates or times", "lists or records", "complex numbers"
# What to do with columns that no encoder of scikit-learn takes.
_WAYS = {
    _TIMES: "Turn times into numbers: a year, an hour, the days since the first one.",
    _LISTS: "Spread lists and records over columns of numbers, one for each part.",
    _COMPLEX: "Split complex numbers into real and imaginary parts, or size and angle.",
}


@dataclass(frozen=True, eq=False)
class Origin:
    """What X and y were before they became arrays.

    Parameters
    ----------
    library : str or None
        The library whose data frame X was; None if X was no data frame.
    columns : pandas.Index or list of str or None
        The columns of the frame.
    dtypes : tuple or None
        See `dtypes_of`.
    target_name : str or None
        The name of y, if it had one.
    """

    library: str | None
    columns: Any
    dtypes: Dtypes | None
    target_name: str | None

    @classmethod
    def of(cls, X: Any, y: Any = None) -> "Origin":
        """Return the origin of X and y, which may be of any kind."""
        library = columns = None
        if nw.dependencies.is_into_dataframe(X):
            frame = _frame(X)
            library = frame.implementation.value
            # Columns of pandas may have several levels, or be other things than strings.
            columns = X.columns if library == "pandas" else frame.columns
        return cls(library, columns, dtypes_of(X), _target_name(y))

    def as_frame_of(self, library: str, n_columns: int) -> "Origin":
        """Return an origin that was a frame of this library, with the same columns."""
        columns = self.columns
        if columns is None:
            columns = default_names(n_columns)
        elif library != self.library:
            columns = list(map(str, columns))
        return replace(self, library=library, columns=columns)

    def frame(self, X: np.ndarray) -> Any:
        """Return samples as a frame of the same library with the same columns, if X was one."""
        if self.library is None:
            return X
        if self.library == "pandas":
            import pandas as pd

            return pd.DataFrame(X, columns=self.columns)
        backend: Any = self.library
        return nw.from_numpy(X, self.columns, backend=backend).to_native()


def like_series(y: np.ndarray, original: Any) -> Any:
    """Return labels as a series of the same library, name and dtype, if the original is one."""
    if not nw.dependencies.is_into_series(original):
        return y
    series = nw.from_native(original, series_only=True)
    if series.implementation.is_pandas():
        import pandas as pd

        # Some dtypes of pyarrow take lists alone.
        return pd.Series(y.tolist(), name=original.name, dtype=original.dtype)
    new = nw.new_series(series.name, y.tolist(), series.dtype, backend=series.implementation)
    return new.to_native()


def dtypes_of(X: Any) -> Dtypes | None:
    """Return the dtype of each column of a table, in the form of ``dtypes.py``.

    None instead of the tuple means no table, or a table of plain floats.
    """
    if nw.dependencies.is_into_dataframe(X):
        return tuple(map(_plain_dtype, _frame(X).iter_columns()))
    if isinstance(X, np.ndarray) and X.ndim == 2 and X.dtype.kind in "biu":
        # Without the order of bytes.
        return (X.dtype.name,) * X.shape[1]
    return None


def _plain_dtype(series: nw.Series) -> str | dict | None:
    is_pandas = series.implementation.is_pandas()
    # A column of pyarrow has none.
    native = getattr(series.to_native(), "dtype", None)
    if is_pandas and NUMERIC.fullmatch(str(native)):
        return str(native)
    if series.dtype in (nw.Categorical, nw.Enum):
        is_arrow = is_pandas and not hasattr(native, "categories")
        if is_arrow or is_polars_categorical(series.to_native()):
            # Such a column has no categories of its own.
            categories = sorted(set(series.drop_nulls().to_list()))
        else:
            categories = series.cat.get_categories().to_list()
        ordered = bool(getattr(native, "ordered", series.dtype == nw.Enum))
        good = all(map(is_plain_category, categories))
        return {"categories": categories, "ordered": ordered} if good else None
    name = "bool" if series.dtype == nw.Boolean else str(series.dtype).lower()
    return name if NUMERIC.fullmatch(name) else None


def is_polars_categorical(y: Any) -> bool:
    """Return whether labels are a polars Categorical, whose categories all columns share."""
    return (
        nw.dependencies.is_polars_series(y)
        and nw.from_native(y, series_only=True).dtype == nw.Categorical
    )


def plain_target(y: Any) -> Any:
    """Return labels of whole numbers or booleans as an array of those, and others as they are.

    scikit-learn makes floats of dtypes that could have gaps, even where there are none. Numbers
    among objects, which it takes for no labels at all, raise a ValueError that says what to do.
    """
    if not hasattr(y, "dtype"):
        return y
    plain = np.asarray(y)
    if y.dtype == object:  # and not what some versions of pandas make of dtypes of their own
        refuse_objects(plain)
    # With gaps they are objects.
    return plain if plain.dtype.kind in "biu" else y


def _target_name(y: Any) -> str | None:
    name = None
    if nw.dependencies.is_into_series(y):
        name = getattr(y, "name", None)  # a ChunkedArray of pyarrow has none
    elif nw.dependencies.is_into_dataframe(y) and len(_columns(y)) == 1:
        name = _columns(y)[0]
    return str(name) if isinstance(name, str) and name else None


def _columns(frame: Any) -> list[str]:
    return _frame(frame).columns


def _frame(X: Any) -> Any:
    """Return a data frame as narwhals has it, or raise a ValueError if columns share a name."""
    try:
        return nw.from_native(X, eager_only=True)
    except DuplicateError:
        columns = list(X.columns)
        repeated = {name: None for name in columns if columns.count(name) > 1}
        raise ValueError(
            f"X must have columns of different names; got {[*repeated]!r:.200} more than once."
        ) from None


def refuse_target_in(X: Any, y: Any) -> None:
    """Raise a ValueError if a column of X has the name of y: it would give the answer away."""
    name = _target_name(y)
    if name is not None and nw.dependencies.is_into_dataframe(X) and name in _columns(X):
        raise ValueError(
            f"X must not hold the target: it has a column {name!r}, which is the name of y. Leave "
            "that column out of X, or give y another name if it is not the target."
        )


def refuse_unencoded(X: Any, *, in_fit: bool = True) -> None:
    """Raise a ValueError that names columns of anything but numbers, and says what to do.

    What is not for a fit must become numbers as the training data did.
    """
    kinds, columns = {}, []
    if _has_plain_numbers(X):
        return
    if nw.dependencies.is_into_dataframe(X):
        columns = [*_frame(X).iter_columns()]
        kinds = {series.name: kind for series in columns if (kind := _stranger(series))}
    elif isinstance(X, np.ndarray) and X.dtype.kind in "mM":
        raise ValueError(f"X must hold numbers; got an array of {X.dtype}. {_WAYS[_TIMES]}")
    if not kinds:
        return
    found = [f"{name!r} ({kind})" for name, kind in kinds.items()]
    if not in_fit:
        raise ValueError(
            f"X must hold numbers; got {listed(found, _N_NAMED)}. Turn them into numbers as in the "
            "training data."
        )
    ways = []
    categories = [name for name, kind in kinds.items() if kind not in _WAYS]
    if categories:
        more_names = ", ..." if len(categories) > _N_NAMED else ""
        names = f"[{', '.join(map(repr, categories[:_N_NAMED]))}{more_names}]"
        # To an encoder a gap is a category, but other columns must have none.
        has_gaps = any(n_gaps(series) for series in columns if series.name not in kinds)
        rest = "SimpleImputer()" if has_gaps else "'passthrough'"
        ways.append(
            "Encode categories in front of the distiller, in a pipeline: make_pipeline("
            "make_column_transformer((OneHotEncoder(handle_unknown='ignore', "
            f"sparse_output=False), {names}), remainder={rest}), distiller); OrdinalEncoder is for "
            "those with an order."
        )
    ways += [way for kind, way in _WAYS.items() if kind in kinds.values()]
    raise ValueError(f"X must hold numbers; got {listed(found, _N_NAMED)}. {' '.join(ways)}")


def _has_plain_numbers(X: Any) -> bool:
    """Return whether X is a frame of pandas of numbers alone: to look at each column takes long."""
    if not nw.dependencies.is_pandas_dataframe(X):
        return False
    return all(isinstance(dtype, np.dtype) and dtype.kind in "biuf" for dtype in X.dtypes)


def _stranger(series: nw.Series) -> str | None:
    """Return what a column holds instead of numbers; None if it holds numbers."""
    dtype = series.dtype
    if dtype.is_numeric() or dtype == nw.Boolean:
        return None
    if dtype in (nw.Categorical, nw.Enum):
        return "categories"
    if dtype.is_temporal():
        return _TIMES
    if dtype in (nw.String, nw.Binary):
        return "text"
    if dtype in (nw.List, nw.Array, nw.Struct):
        return _LISTS
    # Python objects may be numbers, and so may columns that narwhals does not know (sparse ones).
    stranger = next((value for value in series.to_list() if not _is_number(value)), None)
    return None if stranger is None else _kind_of(stranger)


def _kind_of(value: Any) -> str:
    """Return what kind of thing an object is that is no number."""
    # A Period is a date of pandas, and of no class of Python's.
    if isinstance(value, date | time | timedelta) or type(value).__name__ == "Period":
        return _TIMES
    if isinstance(value, complex | np.complexfloating):
        return _COMPLEX
    return _LISTS if isinstance(value, list | tuple | set | dict | np.ndarray) else "objects"


def _is_number(value: Any) -> bool:
    # scikit-learn reports missing values. pandas.NA is of the class NAType.
    if value is None or type(value).__name__ == "NAType":
        return True
    # NumPy's complex numbers and arrays have a __float__, which fails or loses something.
    strangers = str | bytes | np.complexfloating | np.ndarray
    return hasattr(value, "__float__") and not isinstance(value, strangers)
