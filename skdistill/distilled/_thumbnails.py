"""The samples of an image set as small pictures: for a notebook and for a card."""

from contextlib import suppress
from typing import TYPE_CHECKING

import numpy as np

from .._files import png as _png
from .._files.images import CHANNELS, to_pixels

if TYPE_CHECKING:
    from ._dataset import DistilledDataset

__all__ = ["SIDE", "sheet", "thumbnails"]

# The longer side of a picture, in pixels.
SIDE = 64
# Of a sheet: pictures side by side, pictures in all, and white pixels around each.
_COLUMNS, _PICTURES, _GAP = 10, 100, 2


def thumbnails(distilled: "DistilledDataset", n: int) -> np.ndarray | None:
    """Return the first n samples as small images of bytes; None if they are not pictures."""
    layout = distilled.recipe.layout
    if not layout.is_image or layout.network_shape[0] not in CHANNELS:
        return None
    X = distilled.X[:n]
    # It may need a package that is not installed; whitened samples are pictures as well.
    with suppress(Exception):
        X = distilled._unprocessed(X)
    images = np.asarray(layout.to_engine(X), np.float64)
    if not np.isfinite(images).all():
        return None
    return to_pixels(_smaller(images), None)


def sheet(distilled: "DistilledDataset") -> bytes | None:
    """Return the first samples side by side as a PNG file; None if they are not pictures.

    With up to ten classes each column holds samples of one class.
    """
    pixels = thumbnails(distilled, _PICTURES)
    if pixels is None:
        return None
    pixels = pixels[..., None] if pixels.ndim == 3 else pixels
    enlarged = max(1, SIDE // max(pixels.shape[1:3]))
    pixels = pixels.repeat(enlarged, axis=1).repeat(enlarged, axis=2)
    n, height, width, channels = pixels.shape
    n_classes = len(distilled.classes)
    columns = _COLUMNS - _COLUMNS % n_classes if n_classes <= _COLUMNS else _COLUMNS
    columns = min(columns, n)
    rows = -(-n // columns)
    step_down, step_right = height + _GAP, width + _GAP
    paper = np.full(
        (rows * step_down + _GAP, columns * step_right + _GAP, channels), 255, dtype=np.uint8
    )
    for k, image in enumerate(pixels):
        top, left = _GAP + k // columns * step_down, _GAP + k % columns * step_right
        paper[top : top + height, left : left + width] = image
    return _png.encode(paper)


def _smaller(images: np.ndarray) -> np.ndarray:
    """Return images (n, C, H, W) whose longer side is at most `SIDE`: means of squares."""
    n, channels, *sides = images.shape
    factor = -(-max(sides) // SIDE)
    # A side that is shorter than a square becomes one pixel.
    height, width = (min(factor, side) for side in sides)
    rows, columns = sides[0] // height, sides[1] // width
    cut = images[:, :, : rows * height, : columns * width]
    return cut.reshape(n, channels, rows, height, columns, width).mean(axis=(3, 5))
