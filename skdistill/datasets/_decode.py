"""Image files into one array of bytes, by several threads (Pillow decodes without the GIL)."""

import os
from collections.abc import Callable, Sequence
from functools import partial
from numbers import Integral
from time import perf_counter
from typing import Any

import numpy as np
from joblib import Parallel, delayed
from PIL import ExifTags, Image, UnidentifiedImageError

from .._data.warn import warn
from .._data.wording import listed, reason
from .._files.array_file import filled, move_to_front
from ..exceptions import InvalidFileError

# The only formats, whatever a file's name: Pillow would pass some others to other programs (EPS to
# Ghostscript), which a folder of photographs must not start.
_FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
# The tag of a TIFF's page that says what it is, and its bit for a smaller copy of another page.
_SUBFILE_TYPE, _REDUCED = 254, 1
# The operations that undo an orientation noted in EXIF. ImageOps.exif_transpose has the same table,
# but writes all of the EXIF data anew, and fails if any of it is damaged.
_TURNS: dict[object, Image.Transpose] = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# Images that a thread decodes before it reports.
_CHUNK = 32


def decode(
    paths: Sequence[str],
    *,
    size: int | tuple[int, int] | None = None,
    mode: str = "RGB",
    on_error: str = "raise",
    n_jobs: int | None = None,
    verbose: bool = False,
    mmap_path: str | os.PathLike[str] | None = None,
    as_shown: bool = False,
    check_kept: Callable[[np.ndarray], None] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the images of these files, and the positions of the files that could be read.

    Parameters
    ----------
    paths : sequence of str
        At least one.
    size, mode, on_error, n_jobs, verbose, mmap_path
        As in `load_image_folder`.
    as_shown : bool, default=False
        Whether images are as a viewer shows them: rotated as the camera noted, and on white where
        they are transparent. False leaves that to Pillow, as torchvision does.
    check_kept : callable or None, default=None
        Called with the positions of the files that could be read, it may raise an error; with
        ``mmap_path``, before the file is made.

    Returns
    -------
    X : ndarray or memmap of uint8, of shape (n_kept, H, W, 3), or (n_kept, H, W) for mode "L"
    kept : ndarray of shape (n_kept,)
        Positions in ``paths``, ascending.
    """
    if size is not None:  # torchvision takes only Python's integers
        if isinstance(size, int | Integral):
            size = int(size)
        else:
            height, width = size
            size = height, width
    read = partial(read_image, mode=mode, size=size, as_shown=as_shown)
    first, pixels = _first_readable(paths, read)
    shape = (len(paths), *pixels.shape)

    kept = np.arange(len(paths))

    def fill(X: np.ndarray) -> int:
        nonlocal kept
        failures, several = _fill(X, paths, first, read, n_jobs, verbose)
        if failures:
            _report(failures, paths, on_error)
        if several:
            warn(
                f"{len(several)} of {len(paths)} image files hold several images (pages, or frames "
                "of an animation), of which only the first is read: "
                f"{listed(paths[row] for row in several)}. Save the others as files of their own "
                "if they are samples.",
                UserWarning,
            )
        kept = np.delete(kept, list(failures))
        if check_kept is not None:
            check_kept(kept)
        move_to_front(X, kept)
        return len(kept)

    return filled(mmap_path, shape, np.dtype(np.uint8), fill), kept


def _first_readable(
    paths: Sequence[str], read: Callable[[str], tuple[np.ndarray, bool]]
) -> tuple[int, np.ndarray]:
    """Return the first image that can be read, which gives the shape of all, and its position."""
    failures = {}
    for position, path in enumerate(paths):
        try:
            return position, read(path)[0]
        except Exception as error:
            failures[position] = _reason(error)
    raise InvalidFileError(_list_failures(failures, paths))


def _fill(
    X: np.ndarray,
    paths: Sequence[str],
    first: int,
    read: Callable[[str], tuple[np.ndarray, bool]],
    n_jobs: int | None,
    verbose: bool,
) -> tuple[dict[int, str], list[int]]:
    """Decode every file into its row; return errors by row, and rows whose files hold several."""
    n, began, failures = len(paths), perf_counter(), dict[int, str]()
    several: list[int] = []
    chunks = [range(start, min(start + _CHUNK, n)) for start in range(0, n, _CHUNK)]
    # Threads even if the user's joblib settings prefer processes: rows are written in place.
    parallel = Parallel(n_jobs=n_jobs, require="sharedmem", return_as="generator")
    results = parallel(delayed(_fill_rows)(X, paths, rows, first, read) for rows in chunks)
    for rows, (found, more) in zip(chunks, results):
        failures.update(found)
        several += more
        if verbose and 10 * rows.stop // n > 10 * rows.start // n:
            print(f"[skdistill.datasets] {rows.stop}/{n} images, {perf_counter() - began:.1f} s")
    return failures, several


def _fill_rows(
    X: np.ndarray,
    paths: Sequence[str],
    rows: range,
    first: int,
    read: Callable[[str], tuple[np.ndarray, bool]],
) -> tuple[dict[int, str], list[int]]:
    failures, several = {}, []
    for row in rows:
        try:
            pixels, is_one_of_several = read(paths[row])
        # Pillow's readers raise all sorts of errors for garbage.
        except Exception as error:
            failures[row] = _reason(error)
            continue
        if pixels.shape != X.shape[1:]:
            raise ValueError(
                f"Images must all have one size where size=None; {paths[first]} has "
                f"(height, width) = {X.shape[1:3]}, {paths[row]} has {pixels.shape[:2]}. "
                "Pass the size that they are to be resized to."
            )
        X[row] = pixels
        if is_one_of_several:
            several.append(row)
    return failures, several


def read_image(
    path: str, mode: str, size: int | tuple[int, int] | None, as_shown: bool
) -> tuple[np.ndarray, bool]:
    """Return one image as bytes, and whether its file holds others that may be samples as well.

    It has the shape (H, W, 3), or (H, W) for mode "L".
    """
    with Image.open(path, formats=_FORMATS) as image:
        if image.mode == "F" or image.mode.startswith("I"):
            # Pillow would clip, which turns most of such an image white.
            raise ValueError(
                f"it has more than 8 bits per channel (Pillow's mode {image.mode}); "
                "scale it to 8 bits first"
            )
        is_one_of_several = _holds_several(image)
        image = _as_shown(image, mode) if as_shown else image.convert(mode)
    return np.asarray(image if size is None else _resize(image, size)), is_one_of_several


def _holds_several(image: Any) -> bool:
    """Return whether an open file holds more images than previews of the first."""
    # What cameras add to a JPEG, which is an MPO then, belongs to the picture.
    if image.format == "MPO" or not getattr(image, "is_animated", False):
        return False
    if image.format != "TIFF":
        return True
    kinds = []
    for page in range(1, image.n_frames):
        image.seek(page)
        kinds.append(image.tag_v2.get(_SUBFILE_TYPE, 0))
    image.seek(0)
    return not all(kind & _REDUCED for kind in kinds)


def _as_shown(image: Image.Image, mode: str) -> Image.Image:
    """Return an image in a mode without transparency, as a viewer shows it."""
    # Load first: a TIFF is then rotated already, and a PNG may hold its orientation at its end.
    image.load()
    turn = _TURNS.get(image.getexif().get(ExifTags.Base.Orientation))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    image = image.convert(mode)
    return image if turn is None else image.transpose(turn)


def _resize(image: Image.Image, size: int | tuple[int, int]) -> Image.Image:
    from torchvision.transforms.functional import center_crop, resize

    if isinstance(size, tuple):
        return resize(image, list(size))
    # torchvision resizes all of an image before it crops: a line of a million pixels would become
    # gigabytes. Pillow's limit on what is decoded (it may be None) holds for that as well.
    n_pixels, limit = size * size * max(image.size) / min(image.size), Image.MAX_IMAGE_PIXELS
    if limit is not None and n_pixels > 2 * limit:
        raise Image.DecompressionBombError(
            f"resizing {image.size} (width, height) to size={size} would take {n_pixels:.0f} "
            f"pixels, more than {2 * limit}"
        )
    return center_crop(resize(image, size), [size, size])


def _report(failures: dict[int, str], paths: Sequence[str], on_error: str) -> None:
    message = _list_failures(failures, paths)
    if on_error == "raise":
        raise InvalidFileError(message)
    warn(f"Skipped: {message}", UserWarning)


def _list_failures(failures: dict[int, str], paths: Sequence[str]) -> str:
    lines = [f"{paths[row]}: {text}" for row, text in sorted(failures.items())]
    return "\n  ".join([f"{len(lines)} of {len(paths)} image files cannot be read.", *lines])


def _reason(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        return f"it is none of {', '.join(_FORMATS)}"
    return reason(error)
