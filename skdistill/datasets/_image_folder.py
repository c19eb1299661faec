"""A folder of images, one folder per class."""

import os
from pathlib import Path
from typing import Literal

import numpy as np

from .._data.warn import warn
from ..exceptions import InvalidFileError
from ._arguments import Answer, answer, check_arguments, check_folder
from ._decode import decode
from ._folder_walk import EXTENSIONS, FoundImages, find_images

# How the parts of a data set are called.
_SPLITS = {"train", "training", "val", "valid", "validation", "test", "testing"}


def load_image_folder(
    path: str | os.PathLike[str],
    *,
    size: int | tuple[int, int] | None = None,
    mode: Literal["RGB", "L"] = "RGB",
    on_error: Literal["raise", "skip"] = "raise",
    n_jobs: int | None = None,
    verbose: bool = False,
    mmap_path: str | os.PathLike[str] | None = None,
    return_X_y: bool = False,
) -> Answer:
    """Load a folder that has one folder of image files per class.

    Every folder in `path` is a class, in the order of their names, and all image files in it,
    however deep, are its samples: those that end in .bmp, .jpeg, .jpg, .pgm, .png, .ppm, .tif,
    .tiff or .webp, in the order of torchvision's ``ImageFolder``. A warning counts files of other
    kinds, and another one files of several pages or frames, of which the first is read. Hidden
    entries, whose names begin with a dot, and those of operating systems (``__MACOSX``,
    ``Thumbs.db``, ``desktop.ini``) are skipped.

    Parameters
    ----------
    path : str or path-like
        The folder that holds the classes' folders.
    size : int, tuple of int (height, width) or None, default=None
        Size in pixels. An int: the shorter side is resized to it and the center is cropped, so that
        images become squares (torchvision's ``Resize`` and ``CenterCrop``). A pair: images are
        resized to it, whatever their proportions. Both bilinear and antialiased. None: images stay
        as they are, and must all have one size.
    mode : {"RGB", "L"}, default="RGB"
        Color or gray. Images are converted as Pillow does; transparent parts become white.
    on_error : {"raise", "skip"}, default="raise"
        Treatment of files that cannot be read: an error that lists all of them, or a warning that
        lists them, and they are left out.
    n_jobs : int or None, default=None
        Threads that decode; None means 1 except in a ``joblib.parallel_config`` context, -1 all
        cores.
    verbose : bool, default=False
        Whether to print about ten lines on the progress.
    mmap_path : str, path-like or None, default=None
        If given, the images are written to this new ``.npy`` file and `data` is mapped from it,
        read-only, so that the set may be larger than the memory. ``np.load(mmap_path,
        mmap_mode="r")`` maps it again, without decoding.
    return_X_y : bool, default=False
        Whether to return ``(data, target)`` instead of a Bunch.

    Returns
    -------
    data : Bunch
        ``data``, uint8 array of shape (n, height, width, 3), or (n, height, width) for mode "L";
        ``target``, ndarray of shape (n,), positions in ``target_names``; ``target_names``,
        ndarray of shape (n_classes,), the folders' names; ``filenames``, ndarray of shape (n,);
        and ``DESCR``, a description.
    (data, target) : tuple of array
        With ``return_X_y=True``.

    Raises
    ------
    InvalidFileError
        If files cannot be read as images, or are decompression bombs by Pillow's limit, or have
        more than 8 bits per channel; with ``on_error="skip"``, if that leaves a class without
        images. If a link to a folder leads back into `path`, to a folder above `path`, or to the
        same folder as another link: images would count more than once. If the name of a class's
        folder is not in UTF-8. It is a ValueError.
    ValueError
        If a parameter is unfit, or images have several sizes and ``size=None``. If the folders are
        named train, test and the like, and hold folders only: pass one of them.
    FileNotFoundError, NotADirectoryError
        If `path` is not a folder, or has no class folders, or one without image files.
    FileExistsError
        If `mmap_path` exists.

    Notes
    -----
    Pixels stay bytes, and are decoded into one array. Images are read as a viewer shows them:
    rotated as the camera noted (EXIF), and on white where they are transparent. torchvision's
    ``ImageFolder`` does neither, and gives other pixels for such files.

    Examples
    --------
    >>> from pathlib import Path
    >>> import numpy as np
    >>> from PIL import Image
    >>> from skdistill.datasets import load_image_folder
    >>> for name, gray in [("dark", 40), ("light", 200)]:
    ...     Path("pictures", name).mkdir(parents=True)
    ...     for k in range(3):
    ...         image = Image.fromarray(np.full((12, 16), gray + k, dtype=np.uint8))
    ...         image.save(f"pictures/{name}/{k}.png")
    >>> pictures = load_image_folder("pictures", size=8)
    >>> pictures.data.shape, pictures.data.dtype
    ((6, 8, 8, 3), dtype('uint8'))
    >>> pictures.target_names[pictures.target].tolist()
    ['dark', 'dark', 'dark', 'light', 'light', 'light']
    >>> X, y = load_image_folder("pictures", mode="L", return_X_y=True)
    >>> X.shape
    (6, 12, 16)
    """
    check_arguments(
        "load_image_folder",
        path=path,
        size=size,
        mode=mode,
        on_error=on_error,
        n_jobs=n_jobs,
        verbose=verbose,
        mmap_path=mmap_path,
        return_X_y=return_X_y,
    )
    folder = check_folder(path, "a folder of images for each class")
    found = find_images(folder)
    if not found.classes:
        raise FileNotFoundError(
            f"path={str(path)!r} must have a folder of images for each class; it has no folders."
        )
    _check_no_splits(folder, found)
    files, y = np.array(found.files), np.array(found.labels, dtype=int)
    _check_classes(folder, found, y, FileNotFoundError, "image files")
    if not_read := found.say_not_read():
        warn(
            f"Files in path={str(path)!r} that are not read: {not_read}. Images must end in "
            f"{', '.join(EXTENSIONS)}; convert others.",
            UserWarning,
        )
    X, kept = decode(
        files.tolist(),
        size=size,
        mode=mode,
        on_error=on_error,
        n_jobs=n_jobs,
        verbose=verbose,
        mmap_path=mmap_path,
        as_shown=True,
        check_kept=lambda kept: _check_classes(
            folder, found, y[kept], InvalidFileError, "image files that can be read"
        ),
    )
    names = np.array(found.classes)
    height, width = X.shape[1:3]
    return answer(
        return_X_y,
        data=X,
        target=y[kept],
        target_names=names,
        filenames=files[kept],
        DESCR=f"{len(X)} images of {height} x {width} pixels ({mode}) in {len(names)} classes, "
        f"from {folder}.",
    )


def _check_no_splits(folder: Path, found: FoundImages) -> None:
    """Raise an error if what seem to be classes are parts of a data set, with classes in them."""
    if not found.files or not _SPLITS.issuperset(map(str.lower, found.classes)):
        return
    classes = {os.path.join(folder, name) for name in found.classes}
    if not classes.intersection(map(os.path.dirname, found.files)):
        # "test" and "val" are in order before "train".
        first = max(found.classes, key=lambda name: name.lower().startswith("train"))
        raise ValueError(
            f"path={str(folder)!r} has the folders {', '.join(found.classes)}, which hold only "
            "folders: they seem to be parts of a data set, each with a folder for each class. Pass "
            f"one of them, {str(folder / first)!r}."
        )


def _check_classes(
    folder: Path, found: FoundImages, y: np.ndarray, error_class: type[Exception], lacking: str
) -> None:
    """Raise an error that names the folders of classes that are not in ``y``."""
    present, empty = set(y.tolist()), []
    for k, name in enumerate(found.classes):
        if k not in present:
            others = found.say_not_read(k)
            empty.append(f"{folder / name}{f' (but {others})' if others else ''}")
    if empty:
        raise error_class(
            f"Every folder in path={str(folder)!r} is a class and must hold {lacking}; "
            f"there are none in {', '.join(empty)}."
        )
