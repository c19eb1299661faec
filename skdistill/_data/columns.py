"""Whether a data frame has the columns of the training data. Needs neither pandas nor narwhals."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from .wording import listed

__all__ = [
    "are_comparable",
    "check_columns",
    "check_names",
    "column_names",
    "default_names",
    "other_columns",
]


def column_names(X: Any) -> list | None:
    """Return the names of the columns of a data frame of any library; None if X is none."""
    # What a table of pyarrow calls its columns are their values; a frame may have a column of any
    # name as an attribute.
    is_arrow = type(X).__module__.partition(".")[0] == "pyarrow"
    names = getattr(X, "column_names" if is_arrow else "columns", None)
    return None if names is None else list(names)


def default_names(n: int) -> list[str]:
    """Return the names that scikit-learn gives n columns without names."""
    return [f"x{i}" for i in range(n)]


def other_columns(X: Any, feature_names: tuple[str, ...] | None) -> tuple[str, str] | None:
    """Return how the columns of a data frame differ, and what to do; None if they do not.

    As for scikit-learn, columns have names only if all of them are strings.
    """
    names = column_names(X)
    if feature_names is None or names is None or tuple(names) == feature_names:
        return None
    if not all(isinstance(name, str) for name in names):
        return None
    return _difference(
        names, feature_names, "the training data", "X[list(distilled.feature_names)]"
    )


def _difference(
    names: Sequence[str], expected: Sequence[str], where: str, in_order: str
) -> tuple[str, str]:
    """Return how names differ from those in ``where``, and what to do."""
    missing = list((Counter(expected) - Counter(names)).elements())
    unexpected = list((Counter(names) - Counter(expected)).elements())
    if not (missing or unexpected):
        i = next(i for i, pair in enumerate(zip(names, expected)) if pair[0] != pair[1])
        found = (
            f"it has the same columns in another order: column {i} is {names[i]!r}, and in {where} "
            f"it was {expected[i]!r}"
        )
        return found, f"Pass {in_order}."
    parts = [f"it lacks {listed(map(repr, missing))}"] if missing else []
    parts += [f"it has {listed(map(repr, unexpected))} besides"] if unexpected else []
    way = f"Pass {in_order}." if not missing else f"Name or make them as then, and pass {in_order}."
    return ", and ".join(parts), way


def are_comparable(made: Any, feature_names: tuple[str, ...] | None) -> bool:
    """Return whether what a preprocessing made has the names of the set's features, in any order.

    It may have others than those that the set was given.
    """
    return sorted(map(str, column_names(made) or ())) == sorted(feature_names or ())


def check_columns(X: Any, feature_names: tuple[str, ...] | None) -> None:
    """Raise a ValueError for a data frame that has other columns, or has them in another order."""
    found = other_columns(X, feature_names)
    if found is not None:
        difference, way_out = found
        raise ValueError(
            f"X must have the columns of the training data, in their order: {difference}. {way_out}"
        )


def check_names(
    names: Sequence[str] | None, expected: Sequence[str] | None, where: str, in_order: str
) -> None:
    """Raise a ValueError if training data has other columns than what it is to go on from.

    Parameters
    ----------
    names, expected : sequence of str or None
        The names of the columns here and there; None if there are none, which fit all.
    where : str
        What the others are those of.
    in_order : str
        An expression for X with these.
    """
    if names is None or expected is None or list(names) == list(expected):
        return
    difference, way_out = _difference(list(names), list(expected), where, in_order)
    raise ValueError(f"X must have the columns of {where}, in their order: {difference}. {way_out}")
