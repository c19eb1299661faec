"""Named arrays and JSON-safe metadata in one ``.npz`` file without pickles.

Files may come from anywhere, so reading one runs no code, takes no more memory than a few times the
file's size, and checks the checksums of everything that it returns.
"""

import errno
import json
import os
import secrets
import shutil
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from io import BytesIO
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.lib import format as npy

from .formats import BOOSTED_RUN, DISTILLED, RUN
from .paths import expanded

# The member that holds the metadata: JSON in UTF-8, as bytes.
_META = "meta"
# What files of ours are that may be taken for one another, and what they are good for.
_KINDS = {
    DISTILLED: "a distilled set, which DistilledDataset.load reads",
    RUN: "the checkpoint of a run. Fit a distiller with checkpoint=... and the same "
    "data and parameters to go on, and save its distilled_",
    BOOSTED_RUN: "part of the checkpoints of a boosted run. Fit a BoostedDistiller with "
    "its folder as checkpoint and the same data and parameters to go on, and save its distilled_",
}


class ForeignFileError(ValueError):
    """A file is whole, and not one of ours, or of another kind."""


class NewerVersionError(ValueError):
    """A file is whole, and of a version that a newer skdistill wrote."""


def write(
    path: str | os.PathLike,
    kind: str,
    version: int,
    arrays: Mapping[str, np.ndarray],
    meta: Mapping,
) -> None:
    """Write a file completely or not at all: under another name, to the disk, then renamed.

    Parameters
    ----------
    path : path
        Used as it is: no suffix is added. ``~`` is expanded, and a link is followed.
    kind, version : str, int
        What the file holds, and the version of its layout; `read` checks them.
    arrays : mapping of str to ndarray
        Arrays of objects are not allowed.
    meta : mapping
        Values that JSON can hold.

    Raises
    ------
    ValueError
        If JSON cannot hold ``meta``.
    OSError
        If the file cannot be written. The previous file is then still there.
    """
    try:
        text = json.dumps({**meta, "format": kind, "version": version}, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(f"recipe and provenance must be JSON-safe: {error}.") from error
    path = place_of(path)
    try:
        with partial_file(path) as partial, open(partial, "xb") as file:
            # Not compressed: floats hardly shrink, and `read` can bound the memory it takes.
            contents: dict[str, Any] = {**arrays, _META: np.frombuffer(text.encode(), np.uint8)}
            np.savez(file, **contents)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        if error.errno is None:
            raise
        # Name the file that was asked for, not the partial one.
        raise OSError(error.errno, error.strerror, os.fspath(path)) from error


@contextmanager
def partial_file(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a path beside ``path`` to write to; rename it if all went well, else remove it."""
    path = Path(path)
    # In the same folder, because renaming is atomic only within a file system. Not by tempfile,
    # because only the owner may read its files.
    partial = path.with_name(f".{secrets.token_hex(8)}.partial")
    try:
        yield partial
        keep_mode(path, partial)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def keep_mode(path: Path, partial: Path) -> None:
    """Give a file the permissions of the one that it will replace, if there is one."""
    # On Windows a file that may only be read can be neither replaced nor removed.
    if os.name != "nt":
        with suppress(OSError):
            shutil.copymode(path, partial)


def place_of(path: str | os.PathLike) -> Path:
    """Return where a file is to be written, with ``~`` expanded and links followed.

    Raises
    ------
    OSError
        If there is no such folder, or links lead in a circle.
    """
    path = expanded(path)
    try:
        place = path.resolve()
    except RuntimeError:
        place = path  # a circle of links, for which newer versions of Python raise no error
    if place.is_symlink():
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), os.fspath(path))
    folder = place.parent
    if not folder.is_dir():
        kind, way_out = FileNotFoundError, "make it first"
        if folder.exists():
            kind, way_out = NotADirectoryError, "that is a file"
        raise kind(f"there is no folder {os.fspath(folder)!r} for {place.name!r}; {way_out}.")
    return place


def read(
    file: BinaryIO, kind: str, version: int, names: Sequence[str], prefix: str | tuple[str, ...]
) -> tuple[dict[str, np.ndarray], dict]:
    """Return the arrays of these names, and the metadata, of an open file.

    Parameters
    ----------
    file : file object
    kind, version : str, int
        What the file must hold, as passed to `write`.
    names : sequence of str
        Arrays that must be there.
    prefix : str or tuple of str
        Prefix of the names of further arrays; there may be any number of these.

    Raises
    ------
    ForeignFileError
        If it lacks an array, or is of another format.
    NewerVersionError
        If a newer skdistill wrote it.
    Exception
        Of many kinds: zipfile and NumPy raise all sorts of errors for garbage.
    """
    size = os.fstat(file.fileno()).st_size
    with _archive(file) as archive:
        missing = {f"{name}.npy" for name in (*names, _META)} - set(archive.namelist())
        # The metadata first: it tells whether the file is one of ours, and what others hold.
        if f"{_META}.npy" not in missing:
            meta = _parse(_member(archive, _META, size))
            _check_format(meta.get("format"), kind)
            _check_version(meta.get("version"), version)
        if missing:
            raise ForeignFileError(f"it lacks {', '.join(sorted(missing))}.")
        stems = {member.removesuffix(".npy") for member in archive.namelist()}
        names = [*names, *sorted(stem for stem in stems if stem.startswith(prefix))]
        # Each member may claim all bytes of the file, but not all members together.
        if sum(archive.getinfo(f"{name}.npy").file_size for name in names) > size:
            raise ValueError(f"its arrays must fit into the file's {size} bytes together.")
        return {name: _member(archive, name, size) for name in names}, meta


def read_meta(file: BinaryIO) -> dict:
    """Return the metadata of an open file, whatever it holds and whichever version it has.

    Raises
    ------
    Exception
        Of many kinds, as `read` does.
    """
    size = os.fstat(file.fileno()).st_size
    with _archive(file) as archive:
        return _parse(_member(archive, _META, size))


def _archive(file: BinaryIO) -> zipfile.ZipFile:
    """Return the archive in an open file, or raise ValueError."""
    _check_start(file.read(4))
    try:
        return zipfile.ZipFile(file)
    except zipfile.BadZipFile as error:
        # The list of its members is at its end, without which zipfile takes it for no archive.
        raise ValueError("it is truncated or damaged.") from error


def _check_format(there: object, kind: str) -> None:
    if there != kind:
        what = _KINDS.get(there) if isinstance(there, str) else None
        raise ForeignFileError(
            f"its format must be {kind!r}; got {there!r:.100}{f': it is {what}' if what else ''}."
        )


def _check_version(there, version: int) -> None:
    if type(there) is int and there > version:
        raise NewerVersionError(
            f"its format's version must be at most {version} here; got {there}, which a newer "
            "skdistill wrote. Update skdistill to read it."
        )
    if type(there) is not int or there != version:
        raise ValueError(f"its format's version must be {version}; got {there!r:.100}.")


def _check_start(start: bytes) -> None:
    """Raise ValueError unless a file that starts like this may be an ``.npz``.

    One that is empty, or lost its content in a crash, may have been one.
    """
    if start[:1] == b"\x80":
        raise ForeignFileError(
            "it is a pickle, which may run code and is never loaded here; joblib.load reads it, "
            "if you trust where it comes from."
        )
    if start != b"PK\x03\x04":
        was_one = start.startswith(b"PK") or not start.strip(b"\0")
        raise (ValueError if was_one else ForeignFileError)("it is not an .npz file.")


def _member(archive: zipfile.ZipFile, name: str, size: int) -> np.ndarray:
    """Return one array of an archive in a file of ``size`` bytes."""
    info = archive.getinfo(f"{name}.npy")
    # A member that is stored uncompressed cannot be larger than the file.
    if info.compress_type != zipfile.ZIP_STORED or info.file_size > size:
        raise ValueError(f"{name} must be stored uncompressed, within the file's {size} bytes.")
    # Read all of it, because the checksum is only checked at the last byte.
    content = archive.read(info)
    stream = BytesIO(content)
    if npy.read_magic(stream) != (1, 0):
        raise ValueError(f"{name} must be in version 1.0 of NumPy's format.")
    shape, _, dtype = npy.read_array_header_1_0(stream)
    if dtype.hasobject:
        raise ValueError(f"{name} holds pickled objects, which may run code and are never loaded.")
    # Before NumPy reserves memory for what the header claims. Elements without bytes would let it
    # claim any number of them.
    if dtype.itemsize == 0 or min(shape, default=0) < 0:
        raise ValueError(f"{name} cannot be of shape {shape} and dtype {dtype}.")
    claimed, available = prod(shape) * dtype.itemsize, len(content) - stream.tell()
    if claimed != available:
        raise ValueError(f"{name} of shape {shape} needs {claimed} bytes; it has {available}.")
    stream.seek(0)
    return npy.read_array(stream, allow_pickle=False)


def _parse(array: np.ndarray) -> dict:
    """Return the metadata; JSON has no NaN, but Python's parser would accept it."""
    if array.dtype != np.uint8 or array.ndim != 1:
        raise ValueError(f"{_META} must be bytes; got {array.dtype} of shape {array.shape}.")
    meta = json.loads(array.tobytes(), parse_constant=_refuse_constant)
    if not isinstance(meta, dict):
        raise ValueError(f"{_META} must be a JSON object; got {type(meta).__name__}.")
    return meta


def _refuse_constant(name: str):
    raise ValueError(f"{_META} holds {name}, which is not JSON.")
