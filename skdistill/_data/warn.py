"""Warnings that point at the user's line, however deep in a run they come about."""

import sys
import warnings

__all__ = ["warn"]

# Packages whose frames lie between the user's call of `fit` and a run: this package and
# scikit-learn's wrappers.
_INSIDE = ("skdistill", "sklearn", "contextlib")


def warn(text: str, category: type[Warning]) -> None:
    """Warn at the line where the user called this package."""
    level, frame = 1, sys._getframe()
    while frame.f_back and frame.f_globals.get("__name__", "").partition(".")[0] in _INSIDE:
        level, frame = level + 1, frame.f_back
    warnings.warn(text, category, stacklevel=level)
