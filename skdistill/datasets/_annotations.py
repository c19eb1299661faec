"""Text files that say what each image is: a key and a value per line."""

from collections.abc import Iterable
from pathlib import Path, PurePosixPath, PureWindowsPath

from ..exceptions import InvalidFileError


def read_table(file: Path) -> dict[str, str]:
    """Return the values by their keys, in the order of the file.

    White space ends a key; the rest of the line is its value, which may be empty.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    InvalidFileError
        If it is not text in UTF-8, is empty, or has a key twice.
    """
    table = {}
    try:
        # Editors of Windows put a mark before the first key.
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise FileNotFoundError(
            f"{file} is missing; path must be the data set's own folder, unpacked as it comes."
        ) from error
    except UnicodeDecodeError as error:
        raise InvalidFileError(f"{file} must be text: {error}.") from error
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        key, *value = line.split(maxsplit=1)
        if key in table:
            raise InvalidFileError(f"{file}, line {number}: {key!r} is there for a second time.")
        table[key] = value[0].strip() if value else ""
    if not table:
        raise InvalidFileError(f"{file} is empty.")
    return table


def files_inside(folder: Path, names: Iterable[str], table: Path) -> list[Path]:
    """Return the paths, in a folder, of the files that a table names.

    Raises
    ------
    InvalidFileError
        If a file is not in the folder: the table may come from anywhere.
    """
    files = []
    for name in names:
        posix, windows = PurePosixPath(name), PureWindowsPath(name)
        if posix.is_absolute() or windows.anchor or ".." in {*posix.parts, *windows.parts}:
            raise InvalidFileError(f"{table} names {name!r}, which is not in {folder}.")
        files.append(folder / posix)
    return files
