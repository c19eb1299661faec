"""What identifies a training set, so that anybody who has the data can tell that it is the same."""

from collections.abc import Callable

import numpy as np
from joblib.hashing import NumpyHasher

from .rows import Rows, blocks

__all__ = ["describe", "describe_as_before", "updated"]


def describe(X: np.ndarray | Rows, y: np.ndarray, sample_weight: np.ndarray | None) -> dict:
    """Return what identifies a training set: a hash of it, its shape and its dtype.

    The hash is ``joblib.hash((X, y))``, or of ``(X, y, sample_weight)``, of plain arrays in C
    order, whatever order they have: that of a data frame depends on how it was made.
    """
    return _described(X, y, sample_weight, _Hasher())


def describe_as_before(
    X: np.ndarray | Rows, y: np.ndarray, sample_weight: np.ndarray | None
) -> dict | None:
    """Return what 0.1.0 would have returned, where the order in memory was hashed as well.

    None if that is the same.
    """
    if _strides_of(X) == _strides_in_order(X):
        return None
    return _described(X, y, sample_weight, _HasherBefore())


def updated(saved, current: dict, before: Callable[[], dict | None]):
    """Return what a file says of its data, in today's words if 0.1.0 wrote the same.

    Parameters
    ----------
    saved : dict or None
        What the file says; None if it says nothing.
    current : dict
        The output of `describe` for the data of this fit.
    before : callable
        Returns the output of `describe_as_before` for them.
    """
    return current if saved not in (None, current) and saved == before() else saved


def _described(X, y, sample_weight, hasher: NumpyHasher) -> dict:
    parts = (X, y) if sample_weight is None else (X, y, sample_weight)
    return {"fingerprint": hasher.hash(parts), "shape": list(X.shape), "dtype": str(X.dtype)}


class _HasherBefore(NumpyHasher):  # type: ignore[misc]  # joblib has no annotations
    """joblib's hash; `Rows` get the hash of the array that they stand for."""

    def __init__(self) -> None:
        super().__init__(hash_name="md5", coerce_mmap=True)

    def save(self, obj):
        """Add an object to the hash."""
        if isinstance(obj, Rows):
            obj = self._saved(obj, _strides_of(obj))
        super().save(obj)

    def _saved(self, X: np.ndarray | Rows, strides: tuple[int, ...]) -> tuple:
        """Add values, in C order, and return what joblib adds to them."""
        for block in blocks(X):
            self._hash.update(np.ascontiguousarray(X[block]).view(np.uint8).data)
        return (np.ndarray, ("HASHED", X.dtype, X.shape, strides))


class _Hasher(_HasherBefore):
    """The hash of arrays as if they were in C order."""

    def save(self, obj):
        """Add an object to the hash."""
        if isinstance(obj, Rows | np.ndarray) and not obj.dtype.hasobject:
            strides = _strides_in_order(obj)
            if strides != _strides_of(obj):
                # Block by block, without a copy of the whole.
                obj = self._saved(obj, strides)
        super().save(obj)


def _strides_of(X: np.ndarray | Rows) -> tuple[int, ...]:
    return X.strides if isinstance(X, np.ndarray) else X[:1].strides


def _strides_in_order(X: np.ndarray | Rows) -> tuple[int, ...]:
    return np.empty((1, *X.shape[1:]), X.dtype).strides
