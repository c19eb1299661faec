"""Paths as a user gives them."""

import os
from pathlib import Path

__all__ = ["expanded"]


def expanded(path: str | os.PathLike[str]) -> Path:
    """Return a path with ``~`` expanded.

    Raises
    ------
    FileNotFoundError
        If it begins with a home folder that is not known.
    """
    path = Path(path)
    try:
        return path.expanduser()
    except RuntimeError:
        home = path.parts[0]
        raise FileNotFoundError(
            f"{path}: the home folder {home} is not known; give the path without {home}."
        ) from None
