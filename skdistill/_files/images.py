"""Images as a folder of PNG files, one folder per class, which other tools read."""

import csv
import os
import re
import secrets
import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

# The numbers of channels that PNG has: gray, RGB, RGBA.
CHANNELS = (1, 3, 4)

_TABLE = "labels.csv"
# The folder of an export that is not whole yet.
_N_BYTES = 8
_PARTIAL = re.compile(rf"\.[0-9a-f]{{{2 * _N_BYTES}}}\.partial")
# The first column of the table, and how the others begin.
_FILE, _LABEL = "file", "label"
# Names of devices on Windows, whatever their suffix: no folder can have such a name.
_DEVICES = {"aux", "con", "nul", "prn", *(f"{d}{n}" for d in ("com", "lpt") for n in range(1, 10))}


def to_pixels(X: np.ndarray, value_range: tuple[float, float] | None) -> np.ndarray:
    """Return images of shape (n, C, H, W) as bytes of shape (n, H, W) or (n, H, W, C).

    Parameters
    ----------
    X : ndarray of shape (n, C, H, W)
    value_range : (low, high) or None
        Values that become 0 and 255; values beyond them are clipped. None takes the range of ``X``.

    Raises
    ------
    ValueError
        If PNG does not have that many channels, or values or range are invalid.
    """
    if X.shape[1] not in CHANNELS:
        raise ValueError(
            f"Images must have 1 (gray), 3 (RGB) or 4 (RGBA) channels; got {X.shape[1]}."
        )
    if not np.isfinite(X).all():
        raise ValueError("X must be finite to be exported; it holds NaN or infinity.")
    if value_range is None:
        low, high = float(X.min()), float(X.max())
        high = high if high > low else low + 1.0  # a constant set is black
    else:
        try:
            low, high = map(float, value_range)
        except (TypeError, ValueError):
            low = high = np.nan
        if not -np.inf < low < high < np.inf:
            raise ValueError(
                f"value_range must be (low, high), finite, low < high; got {value_range!r}."
            )
    unit = ((X.astype(np.float64) - low) / (high - low)).clip(0, 1)
    pixels = np.moveaxis(np.rint(255 * unit).astype(np.uint8), 1, -1)
    return pixels[..., 0] if pixels.shape[-1] == 1 else pixels


def check_names(names: Sequence[str]) -> None:
    """Raise ValueError if the name of a class cannot be that of a folder."""
    for name in names:
        # On Windows a colon names a drive, and a name of dots or spaces is shortened to nothing.
        # Names that begin with a dot are hidden, and `load_image_folder` skips them.
        unsafe = not name.strip() or name[0] == "." or set(name) & set("/\\:\0")
        if unsafe or name == _TABLE or name.split(".")[0].strip().lower() in _DEVICES:
            raise ValueError(
                f"Class names must be safe as names of folders, without '/', '\\' and ':', not "
                f"empty, hidden ('.a'), a device on Windows ('con') or {_TABLE!r}; got {name!r}. "
                "Rename the class with dataclasses.replace(distilled, y=..., classes=...)."
            )


def write(
    folder: Path,
    pixels: np.ndarray,
    names: Sequence[str],
    header: Sequence[str],
    labels: Sequence[Sequence],
    *,
    overwrite: bool,
) -> None:
    """Write ``<folder>/<name>/<nnn>.png``, numbered within each name, and the table of labels.

    Parameters
    ----------
    folder : Path
    pixels : ndarray of uint8, of shape (n, H, W) or (n, H, W, C)
    names : sequence of str, of length n
        The folder of each image.
    header, labels : sequences
        Columns of the table beside ``file``, and its n rows.
    overwrite : bool
        Whether an earlier export may be replaced.
    """
    try:
        import PIL  # noqa: F401 (before anything is written)
    except ImportError as error:
        raise ImportError("export_images needs Pillow: pip install pillow.") from error

    earlier = _earlier_export(folder, overwrite)
    folder.mkdir(parents=True, exist_ok=True)
    # Inside the folder: it may be where a disk is mounted, or all that may be written to.
    partial = folder / f".{secrets.token_hex(_N_BYTES)}.partial"
    try:
        _write_tree(partial, pixels, names, header, labels)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    # From here on the new export is whole, and its files stay if anything goes wrong. A table is
    # the last to go and the first to come: without it, nobody knows what may be replaced.
    for entry in earlier:
        if entry.is_dir():
            entry.rmdir()
        else:
            entry.unlink()
    for entry in sorted(partial.iterdir(), key=lambda entry: entry.name != _TABLE):
        os.replace(entry, folder / entry.name)
    partial.rmdir()


def _write_tree(
    folder: Path,
    pixels: np.ndarray,
    names: Sequence[str],
    header: Sequence[str],
    labels: Sequence[Sequence],
) -> None:
    """Write images and table to a new folder."""
    from PIL import Image

    # If the folder exists by now, its name differs only in case, on a system that ignores case.
    for name in sorted(set(names)):
        (folder / name).mkdir(parents=True)
    seen = Counter[str]()
    # ASCII would be enough for numbers, but class names may be anything.
    with open(folder / _TABLE, "w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow([_FILE, *header])
        for image, name, label in zip(pixels, names, labels):
            place = f"{name}/{seen[name]:03d}.png"
            Image.fromarray(image).save(folder / place)
            table.writerow([f"./{place}" if _is_formula(place) else place, *map(_as_text, label)])
            seen[name] += 1


def _as_text(value):
    """Return a value of the table so that spreadsheets read it as plain text or a number."""
    return f"'{value}" if isinstance(value, str) and _is_formula(value) else value


def _is_formula(text: str) -> bool:
    """Return whether spreadsheets may compute a text, or run a program that it names."""
    if not text.startswith(("=", "+", "-", "@", "\t", "\r")):
        return False
    try:
        float(text)
    except ValueError:
        return True
    return False


def _earlier_export(folder: Path, overwrite: bool) -> list[Path]:
    """Return an earlier export that may be replaced, or raise a FileExistsError.

    It is the files that the table lists, with their folders after them, and then the table:
    pictures with numbers for names may be anybody's. What is left of an export that was killed is
    removed.
    """
    entries = sorted(folder.iterdir()) if folder.exists() else []
    if not entries:
        return []
    if not overwrite:
        raise FileExistsError(f"{folder} is not empty; pass overwrite=True to replace an export.")
    for entry in filter(_is_partial, entries):
        shutil.rmtree(entry)
    entries = [entry for entry in entries if entry.exists() or entry.is_symlink()]
    ours = _listed(folder / _TABLE)
    places = {file.parent for file in ours}
    files: list[Path] = []
    folders: list[Path] = []
    while entries:
        entry = entries.pop(0)
        is_link, is_folder = entry.is_symlink(), entry.is_dir()
        if is_link or entry not in (places if is_folder else ours):
            raise FileExistsError(
                f"{folder} holds more than an earlier export, which overwrite=True would replace: "
                f"{entry.relative_to(folder).as_posix()!r}."
            )
        (folders if is_folder else files).append(entry)
        entries += sorted(entry.iterdir()) if is_folder else []
    return sorted([*files, *folders], key=lambda entry: entry == folder / _TABLE)


def _is_partial(entry: Path) -> bool:
    is_name = _PARTIAL.fullmatch(entry.name) is not None
    return is_name and entry.is_dir() and not entry.is_symlink()


def _listed(table: Path) -> set[Path]:
    """Return the table of an export and the files that it lists; nothing if it is none."""
    if table.is_symlink() or not table.is_file():
        return set()
    try:
        with open(table, newline="", encoding="utf-8") as file:
            header, *rows = csv.reader(file)
            names = [row[0] for row in rows]
    except (ValueError, IndexError, csv.Error):
        return set()
    if header[:1] != [_FILE] or not all(name.startswith(_LABEL) for name in header[1:]):
        return set()
    return {table, *(table.parent / name for name in names)}
