"""Some rows of an array, without a copy: what is memory-mapped may be larger than the memory."""

import numpy as np

__all__ = ["Rows", "take", "whole_and_rows"]


class Rows:
    """The rows ``X[rows]``, of which only those that are asked for are copied.

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
        """Shape of the array that they would be."""
        return (len(self.rows), *self.X.shape[1:])

    @property
    def dtype(self) -> np.dtype:
        """Of the values."""
        return self.X.dtype

    def __getitem__(self, index) -> np.ndarray:
        return self.X[self.rows[index]]

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        """Return a copy of them all."""
        return np.asarray(self[:], dtype=dtype)


def take(X: np.ndarray | Rows, rows: np.ndarray) -> Rows:
    """Return rows of an array, or of rows of one."""
    return Rows(*((X, rows) if isinstance(X, np.ndarray) else (X.X, X.rows[rows])))


def whole_and_rows(X: np.ndarray | Rows) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the array, and which of its rows are meant; None is all."""
    return (X, None) if isinstance(X, np.ndarray) else (X.X, X.rows)
