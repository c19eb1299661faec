"""Sets, tables and folders of pictures from the disk, in the form that the estimators take."""

import csv
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import click

from .._data.warn import warn
from .._data.wording import listed
from .columns import check_values, columns_of, words_of
from .options import Size
from .pictures import pictures_for, read_pictures

if TYPE_CHECKING:
    import pandas as pd

    from ..distilled import DistilledDataset

__all__ = ["Training", "check_same_columns", "load_set", "read_for", "read_training"]

# A column of text with more values than this is no column of categories if most rows differ.
_FEW = 20
# Of text, only what is not there is a gap: "NA", "None" and "null" are words as well.
_AS_IT_STANDS: dict[str, Any] = {"keep_default_na": False, "na_values": [""]}


@dataclass(frozen=True)
class Training:
    """A training set.

    Parameters
    ----------
    X : DataFrame or ndarray
        Samples: the rows of a table, or images of bytes.
    y : Series or ndarray
        Labels.
    encoder : transformer or None
        Makes numbers of a table's rows; not fitted. None if they are numbers.
    """

    X: Any
    y: Any
    encoder: Any = None


def load_set(path: Path, ipc: int | None = None) -> "DistilledDataset":
    """Return the set in a file, or the first samples of each of its classes."""
    from ..distilled import DistilledDataset

    distilled = DistilledDataset.load(path)
    return distilled if ipc is None else distilled.subset(ipc)


def read_training(
    source: Path,
    target: str | None,
    drop: Sequence[str],
    size: Size | None,
    gray: bool,
) -> Training:
    """Return the training set in a folder of pictures or a CSV file.

    Parameters
    ----------
    source : path
    target : str or None
        The column of a table that holds the labels.
    drop : sequence of str
        Columns of a table to leave out.
    size : int, (int, int) or None
        The side of squares that are cut out of pictures, or the height and width to which they are
        stretched; None if they are to stay as they are.
    gray : bool
        Whether pictures are to be gray.
    """
    if source.is_dir():
        if target is not None or drop:
            raise click.UsageError(
                f"--target and --drop are for tables; {source} is a folder, whose folders are the "
                "classes."
            )
        X, y, _ = read_pictures(source, size, gray)
        return Training(X, y)
    if size is not None or gray:
        raise click.UsageError(f"--size and --gray are for folders of pictures; {source} is none.")
    X, y, text = _read_table(source, target)
    if unknown := [name for name in drop if name not in X]:
        raise _no_column("--drop", unknown[0], X)
    X = X.drop(columns=list(drop))
    _check_names(source, [*X, y.name])
    if X.shape[1] == 0:
        left = " that --drop leaves" if drop else ""
        raise ValueError(f"{source} must have columns beside {target!r}{left}; got none.")
    text = [name for name in text if name in X]
    _check_columns(X, text)
    return Training(X, y, _make_encoder(X, text))


def read_for(
    distilled: "DistilledDataset",
    source: Path,
    target: str | None,
    others: Collection["DistilledDataset"] = (),
    size: Size | None = None,
) -> tuple[Any, Any]:
    """Return the samples and labels in a folder or a CSV file as a set takes real data.

    A table's values are checked for it, and for other sets of the same columns. ``size`` is that of
    `read_training`; None if it is to be what the sets know of theirs.
    """
    if source.is_dir():
        if target is not None:
            raise click.UsageError(f"--target is for tables; {source} is a folder of pictures.")
        return pictures_for(distilled, source, others, size)
    if size is not None:
        raise click.UsageError(f"--size is for folders of pictures; {source} is none.")
    target = distilled.target_name if target is None else target
    names, text = columns_of(distilled)
    if target is not None and distilled.classes.dtype.kind in "OTU":
        text = {*text, target}
    X, y, _ = _read_table(source, target, text, words_of((distilled, *others)))
    if names is not None:
        if missing := [name for name in names if name not in X]:
            raise ValueError(f"{source} lacks columns that the set was distilled from: {missing}.")
        X = X[list(names)]
    _check_names(source, [*X, y.name])
    for each in (distilled, *others):
        check_values(each, X, source)
    return X, y


def check_same_columns(sets: Collection["DistilledDataset"]) -> None:
    """Raise an error unless sets take the same columns of a table, in the same order."""
    if len({columns_of(distilled)[0] for distilled in sets}) > 1:
        raise ValueError("The sets must have been distilled from the same columns to be compared.")


def _read_table(
    path: Path,
    target: str | None,
    text: Collection[str] | None = None,
    known: Mapping[str, Collection[object]] = MappingProxyType({}),
) -> tuple["pd.DataFrame", "pd.Series", list[str]]:
    """Return the features and the labels of a table, and the names of columns of text.

    Parameters
    ----------
    path : path
    target : str or None
    text : collection of str or None, default=None
        Columns that are text, whatever they look like; None if that is to be found out.
    known : mapping of str to collection, default={}
        Words by column: what pandas takes for a gap there, such as "NA", is one unless it is among
        them. In other columns it is a word.
    """
    _check_first_rows(path)
    frame = _read_csv(path, text or ())
    if frame.empty:
        raise ValueError(f"{path} must have rows below its header; got none.")
    if text is None:
        plain = frame.select_dtypes(["number", "bool"]).columns
        text = [name for name in frame.columns if name not in plain]
    if target is None:
        raise click.UsageError(f"Missing option '--target': one of {_listed(frame)}.")
    if target not in frame:
        raise _no_column("--target", target, frame)
    text = [name for name in text if name in frame]
    # Once more: a gap may stand as "NA" there, True as "TRUE", and 1 as "01".
    if unsure := [name for name in text if not frame[name].map(type).eq(str).all()]:
        words = _read_csv(path, unsure, usecols=unsure, **_AS_IT_STANDS)
        for name in unsure:
            gaps = frame[name].isna() & words[name].notna()
            if name == target and gaps.any():
                n = int(gaps.sum())
                click.echo(f"{n} labels in {target!r} such as 'NA' are taken as names.", err=True)
            if name in known:
                words[name] = words[name].mask(gaps & ~words[name].isin(list(known[name])))
            frame[name] = words[name]
    y = frame.pop(target)
    if n_missing := int(y.isna().sum()):
        raise ValueError(
            f"The column {target!r} of {path} must have a label in every row; {n_missing} of "
            f"{len(y)} have none."
        )
    return frame, y, [name for name in text if name != target]


def _read_csv(path: Path, as_text: Collection[str] | None = None, **how: Any) -> "pd.DataFrame":
    """Return a table as pandas reads it, with columns that are to be text; None if all are."""
    try:
        import pandas as pd
    except ImportError as error:
        raise ImportError('Tables need pandas: pip install "skdistill[cli]".') from error
    dtype: Any = str if as_text is None else dict.fromkeys(as_text, str)
    try:
        # Not by parts, of which each could have other kinds of values.
        frame = pd.read_csv(path, dtype=dtype, low_memory=False, **how)
    except ValueError as error:
        raise ValueError(f"{path} cannot be read as a CSV file: {error}") from error
    # A value beyond those of the header names the row to pandas, as in files of R.
    return frame.reset_index(drop=True)


def _first_rows(path: Path) -> tuple[list[str], list[str]]:
    """Return the header of a table and the row below it, as they stand."""
    # By lines, which no unit separator parts, because pandas gives other names to columns of one
    # name, and does not tell rows with names from others. A cell may have several lines.
    as_lines: dict[str, Any] = {"sep": "\x1f", "quoting": csv.QUOTE_NONE, "nrows": 100}
    lines = _read_csv(path, header=None, keep_default_na=False, **as_lines)[0]
    rows = csv.reader(lines + "\n")
    return next(rows), next(rows, [])


def _check_first_rows(path: Path) -> None:
    """Raise an error if columns lie between other marks than commas, or rows end in a comma."""
    header, row = _first_rows(path)
    for separator in (";", "\t"):
        if len(header) == 1 and separator in header[0]:
            raise ValueError(
                f"{path} must have commas between its columns; it has {separator!r}. Convert it: "
                f"pandas.read_csv({path.name!r}, sep={separator!r}).to_csv('commas.csv', "
                "index=False), with decimal=',' beside sep if its numbers have commas."
            )
    # All values would be a column off: pandas would take the first for the row's name.
    if len(row) > len(header) and row[-1] == "":
        raise ValueError(
            f"Rows of {path} must have a value for each column of its header; got rows that end in "
            "a comma, unlike the header."
        )


def _check_names(path: Path, used: Collection[str]) -> None:
    """Raise an error if a column that is used shares its name with another."""
    header, _ = _first_rows(path)
    if twice := [repr(name) for name in used if header.count(name) > 1]:
        raise ValueError(
            f"{path} must have one column of each name that is used; got more than one "
            f"{listed(twice)}."
        )


def _no_column(option: str, name: str, frame: "pd.DataFrame") -> click.BadParameter:
    return click.BadParameter(
        f"there is no column {name!r}; there are {_listed(frame)}.", param_hint=option
    )


def _listed(frame: "pd.DataFrame") -> str:
    names = ", ".join(map(repr, frame.columns[:20]))
    return names + (", ..." if len(frame.columns) > 20 else "")


def _check_columns(X: "pd.DataFrame", text: Sequence[str]) -> None:
    """Raise an error for columns that say nothing of a class, or give it away."""
    way_out = "--drop {0!r} leaves it out."
    for name in X.columns:
        if name.startswith("Unnamed:"):
            raise ValueError(
                f"The column {name!r} has no name in the file. Row numbers that were saved look "
                f"like this, and give away the class if rows are sorted. {way_out.format(name)}"
            )
    for name in text:
        if (n := X[name].nunique()) <= _FEW:
            continue
        odd = _odd_among_numbers(X[name])
        found = listed((f"{value!r:.50}" for value in odd), 3)
        if odd and not any(map(_may_be_code, odd)):
            raise ValueError(
                f"The column {name!r} must be numbers or categories; got {n} different texts, most "
                f"of them numbers, but not {found}. Correct these: a cell is empty if its value is "
                "not known, 1,200 is 1200, and 0,5 is 0.5. If all are codes, put a letter before "
                f"each. {way_out.format(name)}"
            )
        if 2 * n > len(X):
            raise ValueError(
                f"The column {name!r} has {n} different texts in {len(X)} rows. Names, dates and "
                f"free text are no categories. {way_out.format(name)}"
            )
        if odd:
            warn(
                f"The column {name!r} becomes {n} categories, though most of its texts are "
                f"numbers, because of {found}.",
                UserWarning,
            )


def _odd_among_numbers(column: "pd.Series") -> list[str]:
    """Return the texts of a column that are no numbers, if most are; 1,200 is meant as one."""
    import pandas as pd

    texts = pd.Series(column.dropna().unique(), dtype=object)
    meant = pd.to_numeric(texts.str.replace(",", ""), errors="coerce").notna()
    odd = texts[pd.to_numeric(texts, errors="coerce").isna()]
    return odd.tolist() if meant.mean() > 0.5 else []


def _may_be_code(text: str) -> bool:
    """Return whether a text has digits and letters, as "2A" does, but not "?" or "1,200"."""
    return any(map(str.isdigit, text)) and any(map(str.isalpha, text))


def _make_encoder(X: "pd.DataFrame", text: Sequence[str]) -> Any:
    """Return what makes numbers of a table: a column per category, and means for gaps."""
    if not text and not X.isna().to_numpy().any():
        return None
    from sklearn.compose import make_column_transformer
    from sklearn.impute import SimpleImputer
    from sklearn.preprocessing import OneHotEncoder

    categories = OneHotEncoder(sparse_output=False, handle_unknown="ignore")
    return make_column_transformer((categories, list(text)), remainder=SimpleImputer())
