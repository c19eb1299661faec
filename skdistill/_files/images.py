"""Images as a folder of PNG files, one folder per class, which other tools read."""

import csv
import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

_TABLE = "labels.csv"
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
    if X.shape[1] not in (1, 3, 4):
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
        from PIL import Image
    except ImportError as error:
        raise ImportError("export_images needs Pillow: pip install pillow.") from error

    _make_room(folder, overwrite)
    # If the folder exists by now, its name differs only in case, on a system that ignores case.
    for name in sorted(set(names)):
        (folder / name).mkdir(parents=True)
    seen = Counter[str]()
    # ASCII would be enough for numbers, but class names may be anything.
    with open(folder / _TABLE, "w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["file", *header])
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


def _make_room(folder: Path, overwrite: bool) -> None:
    """Remove an earlier export if that is allowed, and nothing else."""
    entries = list(folder.iterdir()) if folder.exists() else []
    if not entries:
        return
    if not overwrite:
        raise FileExistsError(f"{folder} is not empty; pass overwrite=True to replace an export.")
    foreign = [entry.name for entry in entries if not _is_exported(entry)]
    if foreign:
        raise FileExistsError(
            f"{folder} holds more than an earlier export, which overwrite=True would replace: "
            f"{foreign[0]!r}."
        )
    for entry in entries:
        if entry.is_dir():
            shutil.rmtree(entry)
        else:
            entry.unlink()


def _is_exported(entry: Path) -> bool:
    if entry.is_symlink() or not entry.is_dir():
        return entry.name == _TABLE
    return all(
        image.suffix == ".png" and image.stem.isdecimal() and image.is_file()
        for image in entry.iterdir()
    )
