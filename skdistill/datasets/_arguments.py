"""Checks of the loaders' parameters, and the form of their results."""

import os
from numbers import Integral
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from sklearn.utils import Bunch

from .._data.validation import (
    Interval,
    InvalidParameterError,
    StrOptions,
    validate_parameter_constraints,
)
from .._files.paths import expanded

# A Bunch, or ``(data, target)``.
Answer: TypeAlias = Bunch | tuple[np.ndarray, np.ndarray]

_CONSTRAINTS: dict[str, Any] = {
    "path": [str, os.PathLike],
    "size": [Interval(Integral, 1, None, closed="left"), tuple, list, None],
    "mode": [StrOptions({"RGB", "L"})],
    "on_error": [StrOptions({"raise", "skip"})],
    "n_jobs": [Integral, None],
    "verbose": ["verbose"],
    "mmap_path": [str, os.PathLike, None],
    "data_home": [str, os.PathLike, None],
    "download_if_missing": ["boolean"],
    "return_X_y": ["boolean"],
}


def check_arguments(caller: str, subsets: tuple[str, ...] = (), **arguments: Any) -> None:
    """Raise scikit-learn's InvalidParameterError, a ValueError, unless all arguments are valid.

    Parameters
    ----------
    caller : str
        Name of the function to which they were passed.
    subsets : tuple of str
        Allowed values of its ``subset``.
    **arguments : dict
        The arguments by name.
    """
    constraints = {**_CONSTRAINTS, "subset": [StrOptions(set(subsets))]}
    validate_parameter_constraints(
        {name: constraints[name] for name in arguments}, arguments, caller_name=caller
    )
    size = arguments.get("size")
    if isinstance(size, tuple | list) and not (
        len(size) == 2 and all(isinstance(n, Integral) and int(n) >= 1 for n in size)
    ):
        raise InvalidParameterError(
            f"size must be a positive integer, two of them (height, width) or None; got {size!r}."
        )


def check_folder(path: str | os.PathLike[str], holds: str) -> Path:
    """Return the folder, with ``~`` expanded, or raise an OSError that says what it must hold."""
    folder = expanded(path)
    if not folder.exists():
        raise FileNotFoundError(f"path={str(path)!r} must be a folder with {holds}; there is none.")
    if not folder.is_dir():
        raise NotADirectoryError(
            f"path={str(path)!r} must be a folder with {holds}; it is a file. Unpack an archive "
            "first."
        )
    return folder


def answer(return_X_y: bool, **contents: Any) -> Answer:
    """Return ``(data, target)`` or a Bunch of all contents."""
    if return_X_y:
        return contents["data"], contents["target"]
    return Bunch(**contents)
