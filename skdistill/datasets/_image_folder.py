"""A folder of images, one folder a class."""

from pathlib import Path

import numpy as np

from ..exceptions import InvalidFileError
from ._arguments import answer, check_arguments, check_folder
from ._decode import decode


def load_image_folder(
    path,
    *,
    size=None,
    mode="RGB",
    on_error="raise",
    n_jobs=None,
    verbose=False,
    mmap_path=None,
    return_X_y=False,
):
    """Load a folder that has a folder of image files for each class.

    Which files belong to which class is for torchvision's ``ImageFolder`` to say: every folder in
    `path` is a class, in the order of their names, and all image files in it, however deep, are
    its samples.

    Parameters
    ----------
    path : str or path-like
        The folder that holds the classes' folders.
    size : int, tuple of int (height, width) or None, default=None
        Size in pixels. An int: the shorter side is resized to it and the centre cropped out, so
        that images become squares (torchvision's ``Resize`` and ``CenterCrop``). A pair: images
        are resized to it, whatever their proportions. Both bilinear and antialiased. None: images
        stay as they are, and must all have one size.
    mode : {"RGB", "L"}, default="RGB"
        Colour or grey. Images are converted as Pillow does: transparency is dropped.
    on_error : {"raise", "skip"}, default="raise"
        What to do about files that cannot be read: raise an error that lists all of them, or leave
        them out, with a warning that lists them.
    n_jobs : int or None, default=None
        Threads that decode; None is 1 unless in a ``joblib.parallel_config`` context, -1 all cores.
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
        more than 8 bits a channel; with ``on_error="skip"``, if that leaves a class without images.
        It is a ValueError.
    ValueError
        If a parameter is unfit, or images have several sizes and ``size=None``.
    FileNotFoundError, NotADirectoryError
        If `path` is no folder, or has no class folders, or one without image files.
    FileExistsError
        If `mmap_path` exists.

    Notes
    -----
    Pixels stay bytes, and are decoded into one array. An orientation that a camera noted beside
    the pixels (EXIF) is not applied, as in torchvision.

    Examples
    --------
    >>> from pathlib import Path
    >>> import numpy as np
    >>> from PIL import Image
    >>> from skdistill.datasets import load_image_folder
    >>> for name, grey in [("dark", 40), ("light", 200)]:
    ...     Path("pictures", name).mkdir(parents=True)
    ...     for k in range(3):
    ...         image = Image.fromarray(np.full((12, 16), grey + k, dtype=np.uint8))
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
    from torchvision.datasets import ImageFolder

    try:
        found = ImageFolder(folder, allow_empty=True)  # our own error names the folder
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"path={str(path)!r} must have a folder of images for each class: {error}"
        ) from error
    files, y = np.array([file for file, _ in found.samples]), np.array(found.targets, dtype=int)
    _check_classes(folder, found.classes, y, FileNotFoundError, "image files")
    X, kept = decode(
        files.tolist(),
        size=size,
        mode=mode,
        on_error=on_error,
        n_jobs=n_jobs,
        verbose=verbose,
        mmap_path=mmap_path,
        check_kept=lambda kept: _check_classes(
            folder, found.classes, y[kept], InvalidFileError, "image files that can be read"
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


def _check_classes(folder: Path, names: list[str], y: np.ndarray, error_class, lacking) -> None:
    """Raise an error that names the folders of the classes that are not in ``y``."""
    there = set(y.tolist())
    empty = [str(folder / name) for k, name in enumerate(names) if k not in there]
    if empty:
        raise error_class(
            f"Every folder in path={str(folder)!r} is a class and must hold {lacking}; "
            f"there are none in {', '.join(empty)}."
        )
