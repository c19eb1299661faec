"""Some rows of an array, without a copy: a memory-mapped array may exceed the memory."""

from math import prod

import numpy as np

__all__ = ["Rows", "blocks", "take", "whole_and_rows"]

# About this many values are read at a time.
_BLOCK = 2**22


class Rows:
    """The rows ``X[rows]``; only those that are requested are copied.

    Parameters
    ----------
    X : ndarray of shape (n, ...)
    rows : ndarray of int
    """

    def __init__(self, X: np.ndarray, rows: np.ndarray):
        self.X, self.rows = X, rows

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of ``X[rows]``."""
        return (len(self.rows), *self.X.shape[1:])

    @property
    def dtype(self) -> np.dtype:
        """Dtype of the values."""
        return self.X.dtype

    def __getitem__(self, index) -> np.ndarray:
        return self.X[self.rows[index]]

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        """Return a copy of all rows."""
        return np.asarray(self[:], dtype=dtype)


def take(X: np.ndarray | Rows, rows: np.ndarray) -> Rows:
    """Return rows of an array, or of `Rows`."""
    return Rows(*((X, rows) if isinstance(X, np.ndarray) else (X.X, X.rows[rows])))


def whole_and_rows(X: np.ndarray | Rows) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the array, and which of its rows are meant; None means all."""
    return (X, None) if isinstance(X, np.ndarray) else (X.X, X.rows)


def blocks(X: np.ndarray | Rows) -> list[slice]:
    """Return consecutive rows, of about `_BLOCK` values each."""
    size = max(1, _BLOCK // max(1, prod(X.shape[1:])))
    return [slice(first, first + size) for first in range(0, len(X), size)]
