"""Benchmark sets that torchvision downloads, checks and reads."""

import gzip
import os
import shutil
import tarfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
from sklearn.datasets import get_data_home

from .._files.npz import partial_file
from ..exceptions import InvalidFileError
from ._arguments import Answer, answer, check_arguments

_PARTS = {"train": (True,), "test": (False,), "all": (True, False)}
_CIFAR = """A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", University of
Toronto, 2009.
"""


def fetch_fashion_mnist(
    *,
    subset: Literal["train", "test", "all"] = "train",
    data_home: str | os.PathLike[str] | None = None,
    download_if_missing: bool = True,
    return_X_y: bool = False,
) -> Answer:
    """Load Fashion-MNIST, and download it if necessary.

    70,000 gray images of 28 x 28 pixels in 10 classes, with 6,000 per class for training and 1,000
    per class for testing.

    Parameters
    ----------
    subset : {"train", "test", "all"}, default="train"
        Which images to load; "all" is the training images followed by the test images.
    data_home : str, path-like or None, default=None
        Folder in which the files are, or are put, as ``FashionMNIST/raw/*-ubyte``: any ``root`` of
        torchvision's ``FashionMNIST``. None takes scikit-learn's, ``~/scikit_learn_data``. Files
        ``*-ubyte.gz`` are unpacked there.
    download_if_missing : bool, default=True
        Whether to download 30 MB if files are missing; otherwise that is an OSError.
    return_X_y : bool, default=False
        Whether to return ``(data, target)`` instead of a Bunch.

    Returns
    -------
    data : Bunch
        ``data``, uint8 ndarray of shape (n, 28, 28); ``target``, ndarray of shape (n,), positions
        in ``target_names``; ``target_names``, ndarray of shape (10,); and ``DESCR``, a description.
    (data, target) : tuple of ndarray
        With ``return_X_y=True``.

    Raises
    ------
    OSError
        If files are missing and may not, or cannot, be downloaded.
    InvalidFileError
        If files are damaged. It is a ValueError.
    ValueError
        If a parameter is unfit.

    Examples
    --------
    >>> from skdistill.datasets import fetch_fashion_mnist
    >>> X, y = fetch_fashion_mnist(return_X_y=True)  # doctest: +SKIP
    >>> X.shape  # doctest: +SKIP
    (60000, 28, 28)
    """
    _check("fetch_fashion_mnist", subset, data_home, download_if_missing, return_X_y)
    from torchvision.datasets import FashionMNIST

    home = Path(get_data_home(data_home))
    files = [Path("FashionMNIST", "raw", name[: -len(".gz")]) for name, _ in FashionMNIST.resources]
    for file in files:
        _unpack(home / file)
    parts = _load(FashionMNIST, home, files, subset, download_if_missing)
    return answer(
        return_X_y,
        **_join((part.data.numpy(), part.targets.numpy()) for part in parts),
        target_names=np.array(FashionMNIST.classes),
        DESCR="""Fashion-MNIST

70,000 gray images of 28 x 28 pixels, of clothes in 10 classes: 60,000 for training and 10,000 for
testing.

H. Xiao, K. Rasul and R. Vollgraf, "Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine
Learning Algorithms", arXiv 1708.07747, 2017.
""",
    )


def fetch_cifar10(
    *,
    subset: Literal["train", "test", "all"] = "train",
    data_home: str | os.PathLike[str] | None = None,
    download_if_missing: bool = True,
    return_X_y: bool = False,
) -> Answer:
    """Load CIFAR-10, and download it if necessary.

    60,000 images of 32 x 32 pixels in 10 classes, with 5,000 per class for training and 1,000 per
    class for testing.

    Parameters
    ----------
    subset : {"train", "test", "all"}, default="train"
        Which images to load; "all" is the training images followed by the test images.
    data_home : str, path-like or None, default=None
        Folder in which the files are, or are put, as ``cifar-10-batches-py/*``: any ``root`` of
        torchvision's ``CIFAR10``. None takes scikit-learn's, ``~/scikit_learn_data``.
    download_if_missing : bool, default=True
        Whether to download 170 MB if files are missing or damaged; otherwise that is an error.
    return_X_y : bool, default=False
        Whether to return ``(data, target)`` instead of a Bunch.

    Returns
    -------
    data : Bunch
        ``data``, uint8 ndarray of shape (n, 32, 32, 3); ``target``, ndarray of shape (n,),
        positions in ``target_names``; ``target_names``, ndarray of shape (10,); and ``DESCR``, a
        description.
    (data, target) : tuple of ndarray
        With ``return_X_y=True``.

    Raises
    ------
    OSError
        If files are missing and may not, or cannot, be downloaded.
    InvalidFileError
        If files are damaged: their checksums are compared before they are read. It is a ValueError.
    ValueError
        If a parameter is unfit.

    Examples
    --------
    >>> from skdistill.datasets import fetch_cifar10
    >>> X, y = fetch_cifar10(return_X_y=True)  # doctest: +SKIP
    >>> X.shape  # doctest: +SKIP
    (50000, 32, 32, 3)
    """
    _check("fetch_cifar10", subset, data_home, download_if_missing, return_X_y)
    from torchvision.datasets import CIFAR10

    descr = f"""CIFAR-10

60,000 images of 32 x 32 pixels in 10 classes: 50,000 for training and 10,000 for testing.

{_CIFAR}"""
    return _fetch_cifar(CIFAR10, descr, subset, data_home, download_if_missing, return_X_y)


def fetch_cifar100(
    *,
    subset: Literal["train", "test", "all"] = "train",
    data_home: str | os.PathLike[str] | None = None,
    download_if_missing: bool = True,
    return_X_y: bool = False,
) -> Answer:
    """Load CIFAR-100, and download it if necessary.

    60,000 images of 32 x 32 pixels in 100 classes, with 500 per class for training and 100 per
    class for testing.

    Parameters
    ----------
    subset : {"train", "test", "all"}, default="train"
        Which images to load; "all" is the training images followed by the test images.
    data_home : str, path-like or None, default=None
        Folder in which the files are, or are put, as ``cifar-100-python/*``: any ``root`` of
        torchvision's ``CIFAR100``. None takes scikit-learn's, ``~/scikit_learn_data``.
    download_if_missing : bool, default=True
        Whether to download 169 MB if files are missing or damaged; otherwise that is an error.
    return_X_y : bool, default=False
        Whether to return ``(data, target)`` instead of a Bunch.

    Returns
    -------
    data : Bunch
        ``data``, uint8 ndarray of shape (n, 32, 32, 3); ``target``, ndarray of shape (n,),
        positions in ``target_names``; ``target_names``, ndarray of shape (100,), the fine labels;
        and ``DESCR``, a description.
    (data, target) : tuple of ndarray
        With ``return_X_y=True``.

    Raises
    ------
    OSError
        If files are missing and may not, or cannot, be downloaded.
    InvalidFileError
        If files are damaged: their checksums are compared before they are read. It is a ValueError.
    ValueError
        If a parameter is unfit.

    Examples
    --------
    >>> from skdistill.datasets import fetch_cifar100
    >>> X, y = fetch_cifar100(return_X_y=True)  # doctest: +SKIP
    >>> X.shape  # doctest: +SKIP
    (50000, 32, 32, 3)
    """
    _check("fetch_cifar100", subset, data_home, download_if_missing, return_X_y)
    from torchvision.datasets import CIFAR100

    descr = f"""CIFAR-100

60,000 images of 32 x 32 pixels in 100 classes: 50,000 for training and 10,000 for testing.

{_CIFAR}"""
    return _fetch_cifar(CIFAR100, descr, subset, data_home, download_if_missing, return_X_y)


def _fetch_cifar(
    dataset: Any,
    descr: str,
    subset: str,
    data_home: str | os.PathLike[str] | None,
    download_if_missing: bool,
    return_X_y: bool,
) -> Answer:
    home = Path(get_data_home(data_home))
    names = [name for name, _ in dataset.train_list + dataset.test_list]
    files = [Path(dataset.base_folder, name) for name in (*names, dataset.meta["filename"])]
    parts = _load(dataset, home, files, subset, download_if_missing)
    return answer(
        return_X_y,
        **_join((part.data, np.array(part.targets)) for part in parts),
        target_names=np.array(parts[0].classes),
        DESCR=descr,
    )


def _check(
    caller: str, subset: object, data_home: object, download_if_missing: object, return_X_y: object
) -> None:
    check_arguments(
        caller,
        tuple(_PARTS),
        subset=subset,
        data_home=data_home,
        download_if_missing=download_if_missing,
        return_X_y=return_X_y,
    )


def _load(
    dataset: Any, home: Path, files: list[Path], subset: str, download_if_missing: bool
) -> list[Any]:
    """Return torchvision's data sets for the subset, or raise an error that says what to do."""
    folder = home / files[0].parent
    try:
        with _archives_stay_in_their_folder():
            parts = [dataset(home, train=t, download=download_if_missing) for t in _PARTS[subset]]
        for part in parts:
            _check_labels(part)
        return parts
    # torchvision raises the same errors for missing files, damaged files, and a failing network.
    except Exception as error:
        missing = [file.name for file in files if not (home / file).is_file()]
        if not missing:
            raise InvalidFileError(
                f"{folder} has files of {dataset.__name__} that are damaged; remove them, and they "
                f"are downloaded anew with download_if_missing=True. ({error})"
            ) from error
        failed = f"Their download failed: {error} " if download_if_missing else ""
        raise OSError(
            f"{folder} must hold the files of {dataset.__name__}; {', '.join(missing)} "
            f"{'is' if len(missing) == 1 else 'are'} missing. {failed}Use download_if_missing=True "
            "where there is a network, put the files there, or pass another data_home."
        ) from error


@contextmanager
def _archives_stay_in_their_folder() -> Iterator[None]:
    """Make tarfile refuse members that lead out of their folder, as Python does from 3.14 on.

    torchvision does not say which filter to use, so Python's default applies.
    """
    before = tarfile.TarFile.extraction_filter
    tarfile.TarFile.extraction_filter = staticmethod(tarfile.data_filter)
    try:
        yield
    finally:
        tarfile.TarFile.extraction_filter = before


def _check_labels(part: Any) -> None:
    if len(part.data) != len(part.targets):
        raise ValueError(f"There are {len(part.data)} images and {len(part.targets)} labels.")
    if np.asarray(part.targets).max(initial=0) >= len(part.classes):
        raise ValueError(f"There is a label above {len(part.classes) - 1}.")


def _unpack(file: Path) -> None:
    """Unpack ``<file>.gz`` if the file itself is missing: completely or not at all."""
    packed = file.with_name(f"{file.name}.gz")
    if file.exists() or not packed.exists():
        return
    try:
        with partial_file(file) as partial, gzip.open(packed) as source, open(partial, "wb") as out:
            shutil.copyfileobj(source, out)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise InvalidFileError(f"{os.fspath(packed)} is damaged: {error}") from error


def _join(parts: Iterable[tuple[np.ndarray, np.ndarray]]) -> dict[str, np.ndarray]:
    """Return the images and labels of the parts, concatenated."""
    images, labels = zip(*parts)
    # NumPy would keep the memory order of CIFAR's images, which are transposed views.
    data = np.empty((sum(map(len, images)), *images[0].shape[1:]), dtype=np.uint8)
    return {"data": np.concatenate(images, out=data), "target": np.concatenate(labels)}
