"""An array that is filled row by row, in memory or in a ``.npy`` file; completely or not at all."""

import os
import shutil
from collections.abc import Callable
from math import prod
from pathlib import Path

import numpy as np
from numpy.lib import format as npy

from .npz import partial_file
from .paths import expanded

__all__ = ["filled", "move_to_front"]


def filled(
    mmap_path: str | os.PathLike[str] | None,
    shape: tuple[int, ...],
    dtype: np.dtype,
    fill: Callable[[np.ndarray], int],
) -> np.ndarray:
    """Return an array's first rows, in memory or mapped read-only from a new file.

    Parameters
    ----------
    mmap_path : path or None
        The path of the file, which must not exist; None keeps the array in memory.
    shape : tuple of int
    dtype : dtype
    fill : callable
        Gives the array its values, and returns how many rows stay. If it raises, there is no file.

    Raises
    ------
    OSError
        If the file exists, or there is no folder for it, or no room on its disk.
    """
    if mmap_path is None:
        X = np.empty(shape, dtype)
        return X[: fill(X)]
    mmap_path = expanded(mmap_path)
    _check_free(mmap_path, (*shape, np.dtype(dtype).itemsize))
    with partial_file(mmap_path) as partial:
        X = npy.open_memmap(partial, mode="w+", dtype=dtype, shape=shape)
        n_rows = fill(X)
        X.flush()
        del X  # Windows neither cuts nor renames a file that is mapped
        _shorten(partial, n_rows)
    return npy.open_memmap(mmap_path, mode="r")


def move_to_front(X: np.ndarray, rows: np.ndarray) -> None:
    """Copy these rows, which ascend, to the front of ``X``, within it."""
    for to, row in enumerate(rows):
        # Forward, so that no row is overwritten before it has moved.
        if to != row:
            X[to] = X[row]


def _check_free(path: Path, shape: tuple[int, ...]) -> None:
    """Raise an OSError if something is at ``path``, or its disk has no room for such an array."""
    if os.path.lexists(path):
        raise FileExistsError(
            f"mmap_path={str(path)!r} must be the path of a new file; this one exists, and is "
            "never overwritten. np.load(mmap_path, mmap_mode='r') reads it."
        )
    if not path.parent.is_dir():
        raise FileNotFoundError(f"mmap_path={str(path)!r} must be in a folder; there is none.")
    # The file is mapped before it is filled; a full disk would then kill the process.
    needed, free = prod(shape), shutil.disk_usage(path.parent).free
    if needed > free:
        raise OSError(
            f"mmap_path={str(path)!r} must be on a disk with room for {needed:,} bytes; "
            f"{free:,} are free."
        )


def _shorten(path: Path, n_rows: int) -> None:
    """Cut off what follows the first rows of the array in a ``.npy`` file."""
    array = npy.open_memmap(path, mode="r")
    shape, dtype, offset, row_bytes = array.shape, array.dtype, array.offset, array[0].nbytes
    del array
    if n_rows == shape[0]:
        return
    with open(path, "r+b") as file:
        # NumPy pads headers, so they have the same length for any number of rows.
        header = {
            "descr": npy.dtype_to_descr(dtype),
            "fortran_order": False,
            "shape": (n_rows, *shape[1:]),
        }
        npy.write_array_header_1_0(file, header)
        file.truncate(offset + n_rows * row_bytes)
