"""What a set knows of the columns of a table, and whether those of another table are like that."""

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

    from ..distilled import DistilledDataset

__all__ = ["check_values", "columns_of", "words_of"]


def columns_of(distilled: "DistilledDataset") -> tuple[tuple[str, ...] | None, set[str]]:
    """Return the columns of a table that a set was distilled from, and those that are text.

    None if they have no names.
    """
    if distilled.preprocessing is None:
        return distilled.feature_names, set()
    names = getattr(distilled.preprocessing, "feature_names_in_", None)
    if names is None:
        return None, set()
    dtypes = distilled.original_dtypes or ()
    text = {str(name) for name, dtype in zip(names, dtypes) if _is_text(dtype)}
    # Without a table `from_pipeline` knows no dtypes, but encoders know their categories.
    text |= _encoded_text(distilled.preprocessing)
    return tuple(map(str, names)), text


def words_of(sets: Collection["DistilledDataset"]) -> dict[str, set[object]]:
    """Return the words that sets know, by columns of text in which one of them takes gaps.

    Without an encoder that knows its categories, a column of text takes gaps.
    """
    import pandas as pd

    words: dict[str, set[object]] = {}
    for name in set().union(*(columns_of(each)[1] for each in sets)):
        known = [_categories_of(each).get(name) for each in sets]
        if any(some is None or pd.isna(some).any() for some in known):
            words[name] = {word for some in known if some is not None for word in some}
    return words


def _categories_of(distilled: "DistilledDataset") -> dict[str, Any]:
    """Return the categories that a set's encoders know, by column of the table."""
    return {
        name: known
        for step in _first_steps(distilled.preprocessing)
        for name, known in zip(_names(step), getattr(step, "categories_", ()))
    }


def _is_text(dtype: Any) -> bool:
    """Return whether a column of this original dtype is text, or has categories that are."""
    if isinstance(dtype, Mapping):
        return all(isinstance(category, str) for category in dtype["categories"])
    return dtype is None


def _encoded_text(preprocessing: Any) -> set[str]:
    """Return the columns whose categories are texts to an encoder, or to what fills gaps."""
    text: set[str] = set()
    for step in _first_steps(preprocessing):
        values = getattr(step, "categories_", None)
        if values is None:
            values = [[value] for value in getattr(step, "statistics_", ())]
        # Gaps, which may be among them, are no texts.
        text |= {
            str(name)
            for name, known in zip(_names(step), values)
            if any(isinstance(value, str) for value in known)
        }
    return text


def _first_steps(preprocessing: Any) -> Iterator[Any]:
    """Yield what gets columns of the table itself."""
    steps = getattr(preprocessing, "steps", None)
    if steps:
        yield from _first_steps(steps[0][1])  # later ones have columns of their own
        return
    yield preprocessing
    for _, inner, _ in getattr(preprocessing, "transformers_", ()):
        yield from _first_steps(inner)


def _names(step: Any) -> Any:
    return getattr(step, "feature_names_in_", ())


def check_values(distilled: "DistilledDataset", X: "pd.DataFrame", source: Path) -> None:
    """Check the values of a table, in the columns that a set was distilled from.

    Raise an error for text and gaps that it cannot take, and warn of categories that it does not
    know: encoders pass over them without a word.
    """
    names, text = columns_of(distilled)
    kept = distilled.preprocessing
    if kept is not None and names is None:
        return
    numbers = X[[name for name in X.columns if name not in text]]
    # Otherwise preprocessing may make something of text by itself: of dates, say.
    if kept is None or distilled.original_dtypes is not None:
        _check_no_text(numbers, source)
    _check_gaps(numbers, X, kept, source)
    for name, known in _categories_of(distilled).items():
        _warn_of_unknown(X[name], known, source)


def _check_no_text(numbers: "pd.DataFrame", source: Path) -> None:
    import pandas as pd

    from .._data.wording import listed

    found = []
    for name, column in numbers.select_dtypes(exclude=["number", "bool"]).items():
        texts = column[pd.to_numeric(column, errors="coerce").isna() & column.notna()]
        if len(texts):
            found.append(f"{name!r} ({listed(map(_short, texts.unique()), 3)})")
    if found:
        raise ValueError(
            f"Columns of {source} must be numbers, as in the table that the set was distilled "
            f"from; there is text in {listed(found)}. Correct it, or leave these rows out."
        )


def _check_gaps(numbers: "pd.DataFrame", X: "pd.DataFrame", kept: Any, source: Path) -> None:
    """Raise an error for gaps in columns of numbers, unless preprocessing fills them."""
    import numpy as np

    from .._data.wording import listed

    gaps = numbers.isna()
    rows = gaps.any(axis=1)
    if not rows.any():
        return
    # By trial, because many a step lets gaps pass, and a later one fills them.
    if kept is not None:
        try:
            if not np.isnan(np.asarray(kept.transform(X[rows]), float)).any():
                return
        except ValueError:
            # A step that takes no gaps; or one that takes none of the rows, which says so itself.
            kept.transform(X[~rows])
    found = [f"{name!r} ({n})" for name, n in gaps.sum().items() if n]
    raise ValueError(
        f"{source} has gaps where the set was distilled from a table without: in {listed(found)}. "
        "Fill them, or leave these rows out. (Sets from tables with gaps fill them.)"
    )


def _warn_of_unknown(column: "pd.Series", known: Any, source: Path) -> None:
    import pandas as pd

    from .._data.warn import warn
    from .._data.wording import listed

    is_gap, knows_gaps = column.isna(), any(pd.isna(value) for value in known)
    unknown = column[~column.isin(known) & ~(is_gap & knows_gaps)]
    if len(unknown):
        warn(
            f"The column {str(column.name)!r} of {source} has values that the set has never seen, "
            f"in {len(unknown)} of {len(column)} rows: "
            f"{listed(map(_short, unknown.unique()))}. They say nothing to its networks.",
            UserWarning,
        )


def _short(value: Any) -> str:
    return f"{value!r:.50}" if value == value else "gaps"
