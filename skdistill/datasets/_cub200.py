"""Caltech-UCSD Birds-200-2011."""

import os
from pathlib import Path
from typing import Literal

import numpy as np

from ..exceptions import InvalidFileError
from ._annotations import files_inside, read_table
from ._arguments import Answer, answer, check_arguments, check_folder
from ._decode import decode

_DESCR = """Caltech-UCSD Birds-200-2011 (CUB-200-2011)

11,788 photographs of 200 kinds of birds: 5,994 for training and 5,794 for testing.

C. Wah, S. Branson, P. Welinder, P. Perona and S. Belongie, "The Caltech-UCSD Birds-200-2011
Dataset", California Institute of Technology, CNS-TR-2011-001, 2011.
"""
_SPLITS = {"train": {"1"}, "test": {"0"}, "all": {"0", "1"}}


def load_cub200(
    path: str | os.PathLike[str],
    *,
    subset: Literal["train", "test", "all"] = "train",
    size: int | tuple[int, int] = 32,
    n_jobs: int | None = None,
    verbose: bool = False,
    mmap_path: str | os.PathLike[str] | None = None,
    return_X_y: bool = False,
) -> Answer:
    """Load Caltech-UCSD Birds-200-2011 from its unpacked archive.

    11,788 photographs of 200 kinds of birds: 5,994 for training and 5,794 for testing.

    Parameters
    ----------
    path : str or path-like
        The folder ``CUB_200_2011`` of the archive ``CUB_200_2011.tgz``: it holds ``images.txt``,
        ``image_class_labels.txt``, ``classes.txt``, ``train_test_split.txt`` and ``images/``.
    subset : {"train", "test", "all"}, default="train"
        Which images to load.
    size : int or tuple of int (height, width), default=32
        Size in pixels: of the squares that are cropped from the centers of the resized photographs,
        or of images that are resized whatever their proportions. See `load_image_folder`. Section 4
        of [Feng23]_ has 32.
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
        ``data``, uint8 array of shape (n, height, width, 3), gray photographs are converted;
        ``target``, ndarray of shape (n,), positions in ``target_names``; ``target_names``, ndarray
        of shape (200,), as in ``classes.txt``; ``filenames``, ndarray of shape (n,); and ``DESCR``,
        a description.
    (data, target) : tuple of array
        With ``return_X_y=True``.

    Raises
    ------
    FileNotFoundError
        If a file of annotations is missing.
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
    >>> from skdistill.datasets import load_cub200
    >>> X, y = load_cub200("CUB_200_2011", return_X_y=True)  # doctest: +SKIP
    >>> X.shape  # doctest: +SKIP
    (5994, 32, 32, 3)
    """
    check_arguments(
        "load_cub200",
        tuple(_SPLITS),
        path=path,
        subset=subset,
        size=size,
        n_jobs=n_jobs,
        verbose=verbose,
        mmap_path=mmap_path,
        return_X_y=return_X_y,
    )
    folder = check_folder(path, "images.txt and the other files of CUB-200-2011")
    names = read_table(folder / "classes.txt")
    images = read_table(folder / "images.txt")
    labels = _of_images(folder / "image_class_labels.txt", images, set(names))
    splits = _of_images(folder / "train_test_split.txt", images, {"0", "1"})
    chosen = [image for image in images if splits[image] in _SPLITS[subset]]
    if not chosen:
        raise InvalidFileError(f"{folder / 'train_test_split.txt'} has no images for {subset=}.")
    photographs = check_folder(folder / "images", "the photographs of CUB-200-2011")
    names_there = [images[image] for image in chosen]
    files = list(map(str, files_inside(photographs, names_there, folder / "images.txt")))
    positions = {class_id: k for k, class_id in enumerate(names)}
    X, _ = decode(files, size=size, n_jobs=n_jobs, verbose=verbose, mmap_path=mmap_path)
    return answer(
        return_X_y,
        data=X,
        target=np.array([positions[labels[image]] for image in chosen]),
        target_names=np.array(list(names.values())),
        filenames=np.array(files),
        DESCR=_DESCR,
    )


def _of_images(file: Path, images: dict[str, str], allowed: set[str]) -> dict[str, str]:
    """Return a table's values; raise unless it has an allowed value for every image."""
    table = read_table(file)
    missing, foreign = images.keys() - table.keys(), table.keys() - images.keys()
    if missing or foreign:
        number, told = (min(missing), "none") if missing else (min(foreign), "one")
        raise InvalidFileError(
            f"{file} must have a line for each image of images.txt and no other; it has {told} for "
            f"image {number!r}."
        )
    for image, value in table.items():
        if value not in allowed:
            raise InvalidFileError(f"{file} has an unknown value, {value!r}, for image {image!r}.")
    return table
