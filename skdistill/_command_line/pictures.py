"""Folders of pictures: cut or stretched, and for a set as its training pictures were."""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .options import Size

if TYPE_CHECKING:
    from ..distilled import DistilledDataset

__all__ = ["pictures_for", "read_pictures", "size_text"]


def size_text(size: Size) -> str:
    """Return a size as --size takes it."""
    return str(size) if isinstance(size, int) else "x".join(map(str, size))


def read_pictures(folder: Path, size: Size | None, gray: bool) -> tuple[Any, Any, list[str]]:
    """Return the images of a folder, their classes' names and their files."""
    from ..datasets import load_image_folder

    pictures: Any = load_image_folder(folder, size=size, mode="L" if gray else "RGB")
    return pictures.data, pictures.target_names[pictures.target], pictures.filenames.tolist()


def pictures_for(
    distilled: "DistilledDataset",
    folder: Path,
    others: Collection["DistilledDataset"],
    size: Size | None,
) -> tuple[Any, Any]:
    """Return the images of a folder in the size and layout of a set's, and their labels."""
    import numpy as np

    layout = distilled.recipe.layout
    if not layout.is_image:
        raise ValueError(f"{folder} is a folder, but the set has table rows: it needs a CSV file.")
    channels, height, width = layout.network_shape
    if channels not in (1, 3):
        raise ValueError(
            f"Pictures are gray or RGB, with 1 or 3 channels; the set's have {channels}."
        )
    if size is None:
        # Nothing is cut to other shapes than squares.
        is_square = height == width
        size = _known_size(height, (distilled, *others)) if is_square else (height, width)
    elif size_text(size) not in _ways(height, width):
        raise ValueError(
            f"--size {size_text(size)} must be the size of the set's images, {height}x{width}."
        )
    X, names, files = read_pictures(folder, height if size is None else size, gray=channels == 1)
    if size is None:
        _warn_of_cut_pictures(folder, files, height)
    X = X[:, None] if channels == 1 else np.moveaxis(X, -1, 1)
    # A folder is named by text, whatever the classes are.
    classes = {str(label): label for label in distilled.classes.tolist()}
    unknown = sorted(set(names.tolist()) - set(classes))
    # Texts that are no classes count as errors, but a number may be another number's class.
    if unknown and distilled.classes.dtype.kind not in "OTU":
        raise ValueError(
            f"{folder} must have folders that are named by classes of the set, "
            f"{list(classes)!r:.200}; got {unknown!r:.200} as well. Rename them: numbers that are "
            "counted from 1 would be taken for other classes."
        )
    y = np.array([classes.get(name, name) for name in names.tolist()], dtype=object)
    return layout.to_caller(X), y


def _ways(height: int, width: int) -> dict[str, Size]:
    """Return what --size may be for images of this size."""
    sizes: list[Size] = [(height, width), *([height] if height == width else [])]
    return {size_text(size): size for size in sizes}


def _known_size(side: int, sets: Collection["DistilledDataset"]) -> Size | None:
    """Return the --size with which sets of squares were distilled; None if none of them knows."""
    from ..distilled._known import mapping

    ways = _ways(side, side)
    # As text, because a file may say anything.
    said = {str(mapping(each.provenance.get("about")).get("size")) for each in sets}
    known = sorted(said & ways.keys())
    if len(known) > 1:
        raise ValueError(
            f"The sets were distilled with --size {' and '.join(known)}: give the --size of the "
            "pictures that they are to be compared on."
        )
    return ways[known[0]] if known else None


def _warn_of_cut_pictures(folder: Path, files: Sequence[str], side: int) -> None:
    """Warn if pictures lose their edges where the set's may have been stretched."""
    from PIL import Image

    from .._data.warn import warn

    n_cut = 0
    for file in files:
        with Image.open(file) as image:
            n_cut += image.width != image.height
    if n_cut:
        warn(
            f"{n_cut} of {len(files)} pictures in {folder} are not square and are cut, because the "
            "set does not say whether its training pictures were cut or stretched. If they were "
            f"stretched, give --size {side}x{side}; if they were cut, --size {side}.",
            UserWarning,
        )
