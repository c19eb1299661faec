"""PyTorch datasets as arrays."""

import os
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain
from math import prod
from time import perf_counter
from typing import Any

import numpy as np

from .._data.arrays import as_array
from .._files.array_file import filled
from ._arguments import Answer, answer, check_arguments

# Names of the label in items that are mappings, such as Hugging Face's.
_LABEL_NAMES = ("label", "labels", "target", "y")


def from_torch(
    dataset: Any,
    *,
    keys: tuple[str, str] | None = None,
    mmap_path: str | os.PathLike[str] | None = None,
    verbose: bool = False,
    return_X_y: bool = False,
) -> Answer:
    """Turn a map-style PyTorch dataset into arrays, which distillers take.

    It may be any object with ``len(dataset)`` and ``dataset[i]``: a ``TensorDataset``,
    torchvision's ``ImageFolder`` or ``CIFAR10`` with a transform that makes tensors, a ``Subset``,
    a ``ConcatDataset``, a class of your own, or a Hugging Face dataset after
    ``with_format("torch")``.

    Parameters
    ----------
    dataset : torch.utils.data.Dataset
        Each item is a pair ``(sample, label)``, or a mapping that holds both. A sample is a tensor
        or array of numbers; all have one shape and dtype. A label is a number, boolean or string.
    keys : (str, str) or None, default=None
        The names of sample and label in items that are mappings. None finds them if there are two
        and one of them is "label", "labels", "target" or "y".
    mmap_path : str, path-like or None, default=None
        If given, the samples are written to this new ``.npy`` file and `data` is mapped from it,
        read-only, so that the set may be larger than the memory. ``np.load(mmap_path,
        mmap_mode="r")`` maps it again.
    verbose : bool, default=False
        Whether to print about ten lines on the progress.
    return_X_y : bool, default=False
        Whether to return ``(data, target)`` instead of a Bunch.

    Returns
    -------
    data : Bunch
        ``data``, array of shape (n, ...) in the samples' shape and dtype: bytes stay bytes, and
        channels stay where they are (``ToTensor`` puts them first); ``target``, ndarray of shape
        (n,), the labels; ``target_names``, ndarray of the classes' names, or None if the data set
        does not have them (`target` holds positions in it), its ``target_transform`` changes the
        labels, or its parts have different ones; and ``DESCR``, a description. Of what a data set
        is made of, the names are taken for ``Subset`` and ``ConcatDataset`` alone.
    (data, target) : tuple of array
        With ``return_X_y=True``.

    Raises
    ------
    TypeError
        If it is a ``DataLoader``, an ``IterableDataset`` or something else without ``len`` or
        ``[i]``, or if an item is not a pair of a sample and a label, or a sample is a Pillow image.
    ValueError
        If there are no items, samples differ in shape or dtype, labels differ in type, or a
        parameter is unfit.
    FileExistsError
        If `mmap_path` exists.

    Notes
    -----
    Items are read once, in their order, in this process. Random transforms (a crop, a flip) draw
    from torch's, NumPy's and Python's global generators: these are seeded while items are read, so
    that two calls return the same, and restored afterwards. A random change that is drawn once and
    for all is not an augmentation; leave it out, and see the distillers' parameter
    ``augmentation``.

    Normalization in a transform does no harm, but turns every byte into four.

    Examples
    --------
    >>> import torch
    >>> from torch.utils.data import Subset, TensorDataset
    >>> from skdistill.datasets import from_torch
    >>> images = torch.arange(6 * 48, dtype=torch.int32).reshape(6, 3, 4, 4).to(torch.uint8)
    >>> dataset = TensorDataset(images, torch.tensor([0, 1, 0, 1, 0, 1]))
    >>> X, y = from_torch(Subset(dataset, range(4)), return_X_y=True)
    >>> X.shape, X.dtype, y.tolist()
    ((4, 3, 4, 4), dtype('uint8'), [0, 1, 0, 1])
    """
    check_arguments("from_torch", mmap_path=mmap_path, verbose=verbose, return_X_y=return_X_y)
    _check_keys(keys)
    n = _length(dataset)
    with _same_draws():
        pairs = (_pair(dataset, i, keys) for i in range(n))
        first = next(pairs)
        shape, dtype = (n, *first[0].shape), first[0].dtype
        y = np.empty(n)

        def fill(X: np.ndarray) -> int:
            nonlocal y
            y = _fill(X, chain([first], pairs), verbose)
            return n

        X = filled(mmap_path, shape, dtype, fill)
    names = _class_names(dataset, keys)
    # For labels that are not positions, names say nothing.
    if names is not None and not (y.dtype.kind in "iu" and 0 <= y.min() <= y.max() < len(names)):
        names = None
    return answer(
        return_X_y,
        data=X,
        target=y,
        target_names=None if names is None else np.array(names),
        DESCR=f"{n} samples of shape {shape[1:]} ({dtype}) in {len(np.unique(y))} classes, from "
        f"{type(dataset).__name__}.",
    )


def _check_keys(keys: Any) -> None:
    pair = isinstance(keys, tuple | list) and len(keys) == 2
    if keys is not None and not (pair and all(isinstance(key, str) for key in keys)):
        raise ValueError(f"keys must be None or two strings (sample, label); got {keys!r}.")


def _length(dataset: Any) -> int:
    """Return the number of items, or raise an error that says what is wrong with the set."""
    kind = type(dataset).__name__
    if hasattr(dataset, "dataset") and hasattr(dataset, "collate_fn"):
        raise TypeError(f"dataset must be a data set; got a {kind}. Pass its .dataset.")
    from torch.utils.data import IterableDataset

    try:
        n = len(dataset)
    except TypeError:
        n = None
    if n is None or isinstance(dataset, IterableDataset) or not hasattr(dataset, "__getitem__"):
        raise TypeError(
            f"dataset must be map-style, with len(dataset) and dataset[i]; got a {kind}. Collect "
            "the items of an iterable one first: from_torch(list(dataset))."
        )
    if n == 0:
        raise ValueError(f"dataset must hold at least one item; the {kind} is empty.")
    return n


def _fill(X: np.ndarray, pairs: Iterable[tuple[np.ndarray, object]], verbose: bool) -> np.ndarray:
    """Put every sample into its row of ``X``, and return the labels."""
    n, began, labels = len(X), perf_counter(), []
    for row, (sample, label) in enumerate(pairs):
        if (sample.shape, sample.dtype) != (X.shape[1:], X.dtype):
            raise ValueError(
                "dataset must hold samples of one shape and dtype; dataset[0] has "
                f"{X.shape[1:]}, {X.dtype}, and dataset[{row}] has {sample.shape}, {sample.dtype}. "
                "Resize images in the data set's transform, or read their folder with "
                "skdistill.datasets.load_image_folder(folder, size=...)."
            )
        X[row] = sample
        labels.append(label)
        if verbose and 10 * (row + 1) // n > 10 * row // n:
            print(f"[skdistill.datasets] {row + 1}/{n} samples, {perf_counter() - began:.1f} s")
    kinds = sorted({type(label).__name__ for label in labels})
    if len(kinds) > 1:
        raise ValueError(f"dataset must hold labels of one type; got {' and '.join(kinds)}.")
    return np.array(labels)


def _pair(dataset: Any, i: int, keys: Sequence[str] | None) -> tuple[np.ndarray, object]:
    """Return one sample and its label, or raise an error that names the item."""
    item = dataset[i]
    if isinstance(item, Mapping):
        sample, label = (item[key] for key in _keys_of(item, i, keys))
    elif isinstance(item, tuple | list) and len(item) == 2:
        sample, label = item
    else:
        kind = type(item).__name__
        item_kind = f"{kind} of {len(item)}" if isinstance(item, tuple | list) else kind
        raise TypeError(
            f"dataset must hold pairs (sample, label); dataset[{i}] is a {item_kind}. Wrap it in a "
            "Dataset whose __getitem__ returns both."
        )
    return _sample(sample, i), _label(label, i)


def _keys_of(item: Mapping[str, Any], i: int, keys: Sequence[str] | None) -> Sequence[str]:
    labels = [key for key in item if key in _LABEL_NAMES]
    if keys is None and len(item) == 2 and len(labels) == 1:
        (keys,) = ((key, labels[0]) for key in item if key != labels[0])
    if keys is None or not set(keys) <= set(item):
        raise ValueError(
            f"keys must be the names of sample and label, two of {list(item)} in dataset[{i}]; "
            f"got {keys}."
        )
    return keys


def _sample(sample: Any, i: int) -> np.ndarray:
    if hasattr(sample, "getbands"):  # Pillow's images
        raise TypeError(
            f"dataset must hold samples that are tensors or arrays; that of dataset[{i}] is an "
            "image of Pillow's. Give the data set transform=torchvision.transforms.PILToTensor() "
            '(with Resize and CenterCrop before it if sizes differ), or with_format("torch") if it '
            "is Hugging Face's; or read a folder of images with "
            "skdistill.datasets.load_image_folder(folder, size=...)."
        )
    try:
        array = np.asarray(as_array(sample))
    except TypeError as error:
        raise TypeError(f"dataset must hold samples for arrays; dataset[{i}]: {error}") from error
    if array.dtype.kind not in "biuf":
        raise TypeError(
            "dataset must hold samples that are tensors or arrays of real numbers; that of "
            f"dataset[{i}] is a {type(sample).__name__} (dtype {array.dtype})."
        )
    return array


def _label(label: Any, i: int) -> bool | int | float | str:
    if hasattr(label, "item"):  # a tensor, or an array or number of NumPy
        if prod(label.shape) != 1:
            raise TypeError(
                f"dataset must hold one label per sample; that of dataset[{i}] has shape "
                f"{tuple(label.shape)}. For one-hot labels take the position of the 1, with "
                "target_transform=lambda y: y.argmax()."
            )
        label = label.item()
    if not isinstance(label, bool | int | float | str):
        raise TypeError(
            "dataset must hold labels that are numbers, booleans or strings; that of "
            f"dataset[{i}] is a {type(label).__name__}."
        )
    return label


def _class_names(dataset: Any, keys: Sequence[str] | None) -> Sequence[str] | None:
    """Return the names of the classes, if the data set has them, or those that it is made of."""
    from torch.utils.data import ConcatDataset, Subset

    # Names are those of the labels before they are changed.
    if getattr(dataset, "target_transform", None) is not None:
        return None
    names = getattr(dataset, "classes", None)
    if names is None:
        names = _hugging_face_names(dataset, keys)
    if names is not None:
        return list(map(str, names))
    # Of these the labels are those of what they are made of; of another wrapper nobody knows.
    if isinstance(dataset, Subset):
        return _class_names(dataset.dataset, keys)
    if not isinstance(dataset, ConcatDataset):
        return None
    # The same number may be another class in each of several that were put together.
    parts = [_class_names(part, keys) for part in dataset.datasets]
    return parts[0] if all(names == parts[0] for names in parts) else None


def _hugging_face_names(dataset: Any, keys: Sequence[str] | None) -> Sequence[str] | None:
    features = getattr(dataset, "features", None)
    if not isinstance(features, Mapping):
        return None
    key = keys[1] if keys else next((name for name in _LABEL_NAMES if name in features), None)
    return getattr(features.get(key), "names", None)


@contextmanager
def _same_draws() -> Iterator[None]:
    """Seed the global generators in the block, and restore them afterwards."""
    import torch

    pythons, numpys = random.getstate(), np.random.get_state()  # noqa: NPY002
    with torch.random.fork_rng(devices=[]):
        try:
            random.seed(0)
            np.random.seed(0)  # noqa: NPY002 (others draw from it)
            # Only the CPU's generator, which is restored afterwards.
            torch.default_generator.manual_seed(0)
            yield
        finally:
            random.setstate(pythons)
            np.random.set_state(numpys)  # noqa: NPY002
