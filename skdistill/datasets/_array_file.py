"""A ``.npy`` file that is filled through memory, completely or not at all."""

import os
import shutil
from collections.abc import Callable
from math import prod
from pathlib import Path

import numpy as np
from numpy.lib import format as npy

from .._files.npz import partial_file


def check_free(path: str | os.PathLike[str], shape: tuple[int, ...]) -> None:
    """Raise an OSError if something is at ``path``, or its disk has no room for such an array."""
    path = Path(path)
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


def new_array(
    path: str | os.PathLike[str],
    shape: tuple[int, ...],
    dtype: np.dtype,
    fill: Callable[[np.ndarray], None],
) -> np.memmap:
    """Return an array in a new file, mapped read-only, after ``fill`` was called with it."""
    check_free(path, (*shape, np.dtype(dtype).itemsize))
    with partial_file(path) as partial:
        X = npy.open_memmap(partial, mode="w+", dtype=dtype, shape=shape)
        fill(X)
        X.flush()
        del X  # Windows does not rename a file that is mapped
    return npy.open_memmap(path, mode="r")


def move_to_front(X: np.ndarray, rows: np.ndarray) -> None:
    """Copy these rows, which ascend, to the front of ``X``, within it."""
    for to, row in enumerate(rows):
        # Forward, so that no row is overwritten before it has moved.
        if to != row:
            X[to] = X[row]


def shorten(path: Path, n_rows: int) -> None:
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
