"""A distilled set as a Dataset of the package datasets, with features for images and classes."""

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .._data.columns import default_names
from .._files import images as _image_folder
from .._files import png as _png
from ._known import mapping

if TYPE_CHECKING:
    import datasets

    from ._dataset import DistilledDataset

__all__ = ["to_hf"]


def to_hf(
    data: "DistilledDataset", *, images: bool, value_range: tuple[float, float] | None
) -> "datasets.Dataset":
    """Return one row per sample, as in `DistilledDataset.to_hf`."""
    try:
        import datasets
    except ImportError as error:
        raise ImportError(
            'to_hf needs the package datasets: pip install "skdistill[datasets]", or datasets.'
        ) from error
    layout = data.recipe.layout
    pictures = images and layout.is_image and layout.network_shape[0] in _image_folder.CHANNELS
    if value_range is not None and not pictures:
        raise ValueError(
            f"value_range={value_range!r} must be None unless samples become pictures: those of 1, "
            "3 or 4 channels, with images=True."
        )
    columns: dict[str, Any]
    features: dict[str, Any]
    if pictures:
        columns, features = {"image": _files(data, value_range)}, {"image": datasets.Image()}
    elif layout.is_image:
        columns, features = {"image": list(_native(data.X))}, {"image": _array(datasets, data.X)}
    else:
        names = _distinct(data.feature_names, data.X.shape[1])
        columns = dict(zip(names, _native(data.X).T))
        features = dict.fromkeys(names, datasets.Value(data.X.dtype.name))
    label = "label"
    while label in columns:
        label += "_"
    if data.y.ndim == 2:
        value = datasets.Value(data.y.dtype.name)
        columns[label] = list(_native(data.y))
        features[label] = datasets.List(value, length=len(data.classes))
    else:
        columns[label] = data._class_index()
        features[label] = datasets.ClassLabel(names=_class_names(data))
    return datasets.Dataset.from_dict(columns, features=datasets.Features(features))


def _files(
    data: "DistilledDataset", value_range: tuple[float, float] | None
) -> list[dict[str, bytes | None]]:
    """Return each sample as a PNG file, in the form in which `datasets.Image` holds it."""
    return [{"bytes": _png.encode(image), "path": None} for image in data._pixels(value_range)]


def _array(datasets: Any, X: np.ndarray) -> Any:
    """Return the feature of an image's numbers: flat, gray, or with channels."""
    shape, dtype = X.shape[1:], X.dtype.name
    if len(shape) == 1:
        return datasets.List(datasets.Value(dtype), length=shape[0])
    return {2: datasets.Array2D, 3: datasets.Array3D}[len(shape)](shape=shape, dtype=dtype)


def _native(array: np.ndarray) -> np.ndarray:
    """Return an array in this machine's byte order: Arrow has no other."""
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _distinct(names: Sequence[str] | None, n: int) -> list[str]:
    """Return the names of the columns, or raise a ValueError if two have the same."""
    known = default_names(n) if names is None else list(names)
    twice = [name for name, count in Counter(known).items() if count > 1]
    if twice:
        raise ValueError(f"feature_names must be distinct; {twice[0]!r} is there twice.")
    return known


def _class_names(data: "DistilledDataset") -> list[str]:
    """Return the names of the classes if the set knows them, or else their labels."""
    labels = [str(label) for label in data.classes.tolist()]
    names = mapping(data.provenance.get("about")).get("class_names")
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        return labels
    return list(names) if len(set(names)) == len(names) == len(labels) else labels
