"""Tiny-ImageNet-200."""

import os
from pathlib import Path
from typing import Literal

import numpy as np

from ..exceptions import InvalidFileError
from ._annotations import files_inside, read_table
from ._arguments import Answer, answer, check_arguments, check_folder
from ._decode import decode

_DESCR = """Tiny-ImageNet-200

Images of 64 x 64 pixels in 200 classes of ImageNet: 500 per class for training and 50 per class for
validation. (The labels of the test images were never published.)

Y. Le and X. Yang, "Tiny ImageNet Visual Recognition Challenge", Stanford CS 231N, 2015.
"""


def load_tiny_imagenet(
    path: str | os.PathLike[str],
    *,
    subset: Literal["train", "val"] = "train",
    size: int | tuple[int, int] | None = None,
    n_jobs: int | None = None,
    verbose: bool = False,
    mmap_path: str | os.PathLike[str] | None = None,
    return_X_y: bool = False,
) -> Answer:
    """Load Tiny-ImageNet-200 from its unpacked archive.

    Images of 64 x 64 pixels in 200 classes: 100,000 for training and 10,000 for validation. Papers
    test on the validation images, because the labels of the test images were never published.

    Parameters
    ----------
    path : str or path-like
        The folder ``tiny-imagenet-200`` of the archive ``tiny-imagenet-200.zip``: it holds
        ``wnids.txt``, ``words.txt``, ``train/`` and ``val/``.
    subset : {"train", "val"}, default="train"
        Which images to load.
    size : int, tuple of int (height, width) or None, default=None
        Size in pixels to resize to, as in `load_image_folder`. None keeps 64 x 64, as in section 4
        of [Feng23]_.
    n_jobs : int or None, default=None
        Threads that decode; None means 1 except in a ``joblib.parallel_config`` context, -1 all
        cores.
    verbose : bool, default=False
        Whether to print about ten lines on the progress.
    mmap_path : str, path-like or None, default=None
        If given, a new ``.npy`` file that the images are written to and mapped from.
    return_X_y : bool, default=False
        Whether to return ``(data, target)`` instead of a Bunch.

    Returns
    -------
    data : Bunch
        ``data``, uint8 array of shape (n, 64, 64, 3), gray images are converted; ``target``,
        ndarray of shape (n,), positions in ``wnids`` and ``target_names``; ``wnids``, ndarray of
        shape (200,), the classes' WordNet ids, sorted, as torchvision's ``ImageFolder`` would
        number the folders in ``train/``; ``target_names``, ndarray of shape (200,), their words;
        ``filenames``, ndarray of shape (n,); and ``DESCR``, a description.
    (data, target) : tuple of array
        With ``return_X_y=True``.

    Raises
    ------
    FileNotFoundError
        If annotations are missing, or the images of a class.
    InvalidFileError
        If annotations do not fit each other, or images are missing or cannot be read; it lists all
        of them. It is a ValueError.
    ValueError
        If a parameter is unfit.

    References
    ----------
    .. [Feng23] Y. Feng, R. Vedantam and J. Kempe, "Embarrassingly Simple Dataset Distillation",
       arXiv:2311.07025.

    Examples
    --------
    >>> from skdistill.datasets import load_tiny_imagenet
    >>> X, y = load_tiny_imagenet("tiny-imagenet-200", return_X_y=True)  # doctest: +SKIP
    >>> X.shape  # doctest: +SKIP
    (100000, 64, 64, 3)
    """
    check_arguments(
        "load_tiny_imagenet",
        ("train", "val"),
        path=path,
        subset=subset,
        size=size,
        n_jobs=n_jobs,
        verbose=verbose,
        mmap_path=mmap_path,
        return_X_y=return_X_y,
    )
    folder = check_folder(path, "wnids.txt and the other files of Tiny-ImageNet-200")
    wnids = sorted(read_table(folder / "wnids.txt"))
    words = read_table(folder / "words.txt")
    unnamed = [wnid for wnid in wnids if wnid not in words]
    if unnamed:
        raise InvalidFileError(f"{folder / 'words.txt'} has no line for {unnamed[0]!r}.")
    files, labels = (_train if subset == "train" else _val)(folder, wnids)
    positions = {wnid: k for k, wnid in enumerate(wnids)}
    X, _ = decode(files, size=size, n_jobs=n_jobs, verbose=verbose, mmap_path=mmap_path)
    return answer(
        return_X_y,
        data=X,
        target=np.array([positions[wnid] for wnid in labels]),
        target_names=np.array([words[wnid] for wnid in wnids]),
        wnids=np.array(wnids),
        filenames=np.array(files),
        DESCR=_DESCR,
    )


def _train(folder: Path, wnids: list[str]) -> tuple[list[str], list[str]]:
    """Return the training images' files and WordNet ids."""
    files, labels = [], []
    folders = files_inside(folder / "train", wnids, folder / "wnids.txt")
    for wnid, images in zip(wnids, (folder / "images" for folder in folders)):
        # macOS puts a hidden file beside each.
        found = sorted(str(f) for f in images.glob("*.JPEG") if not f.name.startswith("."))
        if not found:
            raise FileNotFoundError(f"{images} must be a folder of .JPEG files; there are none.")
        files += found
        labels += [wnid] * len(found)
    return files, labels


def _val(folder: Path, wnids: list[str]) -> tuple[list[str], list[str]]:
    """Return the validation images' files and WordNet ids."""
    annotations = folder / "val" / "val_annotations.txt"
    # The position of the object in the image follows the WordNet id.
    labels = {file: rest.partition("\t")[0] for file, rest in read_table(annotations).items()}
    for file, wnid in labels.items():
        if wnid not in wnids:
            raise InvalidFileError(
                f"{annotations} has {wnid!r} for {file!r}, which is not in wnids.txt."
            )
    images = check_folder(folder / "val" / "images", "the validation images of Tiny-ImageNet-200")
    return list(map(str, files_inside(images, labels, annotations))), list(labels.values())
