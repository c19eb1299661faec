"""Which image files of a folder belong to which class: like torchvision's `ImageFolder`, but safer.

In addition, hidden entries are left out, links that lead back are refused, and files that are not
read are counted.
"""

import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from ..exceptions import InvalidFileError

__all__ = ["EXTENSIONS", "FoundImages", "find_images"]

# The extensions that torchvision's ImageFolder reads.
EXTENSIONS = (".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
# Entries that operating systems put beside images, besides those that begin with a dot.
_CLUTTER = {"__macosx", "desktop.ini", "thumbs.db"}


@dataclass(frozen=True)
class FoundImages:
    """The image files of a folder.

    Parameters
    ----------
    files : list of str
        The files, class by class.
    labels : list of int
        For each file, the position of its class.
    classes : list of str
        The names of the folders, sorted.
    not_read : list of Counter
        For each class, the number of other files by extension.
    """

    files: list[str]
    labels: list[int]
    classes: list[str]
    not_read: list[Counter[str]]

    def say_not_read(self, k: int | None = None) -> str:
        """Return the number of files that are not read, in words: of one class or of all."""
        counts = sum(self.not_read, Counter[str]()) if k is None else self.not_read[k]
        return ", ".join(f"{n} {extension}" for extension, n in counts.most_common())


def find_images(folder: Path) -> FoundImages:
    """Return the image files in the folders of a folder, however deep.

    Raises
    ------
    InvalidFileError
        If a link leads to a folder whose images are read without it, or a name is not in UTF-8.
    """
    with os.scandir(folder) as entries:
        classes = sorted(e.name for e in entries if e.is_dir() and not _is_clutter(e.name))
    _check_names(folder, classes)
    found = FoundImages([], [], classes, [Counter() for _ in classes])
    walk = _Walk(folder)
    for k, name in enumerate(classes):
        for file in walk.files(os.path.join(folder, name)):
            extension = os.path.splitext(file)[1].lower()
            if extension in EXTENSIONS:
                found.files.append(file)
                found.labels.append(k)
            else:
                found.not_read[k][extension or "without extension"] += 1
    return found


def _check_names(folder: Path, classes: list[str]) -> None:
    """Raise an error for names of bytes that are no text, which no file or terminal takes."""
    for name in classes:
        try:
            name.encode()
        except UnicodeEncodeError:
            raise InvalidFileError(
                f"Names of folders in {str(folder)!r} are those of classes and must be in UTF-8; "
                f"got {os.fsencode(name)!r}. Rename it."
            ) from None


class _Walk:
    """Walks through folders and follows links, but never to a folder twice."""

    def __init__(self, root: Path):
        self._root = os.path.realpath(root)
        # Where links have led to.
        self._outside: set[str] = set()

    def files(self, folder: str) -> list[str]:
        """Return the files in a folder, in the order of torchvision's ImageFolder."""
        found: list[tuple[str, list[str]]] = []
        self._collect(folder, os.path.join(self._root, os.path.basename(folder)), found)
        # ImageFolder sorts the folders by their whole paths.
        return [os.path.join(place, name) for place, names in sorted(found) for name in names]

    def _collect(self, folder: str, expected: str, found: list[tuple[str, list[str]]]) -> None:
        """Add to ``found`` the files in a folder; a path other than ``expected`` is a link."""
        real = os.path.realpath(folder)
        if os.path.normcase(real) != os.path.normcase(expected):
            self._check_link(folder, real)
        with os.scandir(folder) as entries:
            kept = sorted((e.name, e.is_dir()) for e in entries if not _is_clutter(e.name))
        found.append((folder, [name for name, is_folder in kept if not is_folder]))
        for name, is_folder in kept:
            if is_folder:
                self._collect(os.path.join(folder, name), os.path.join(real, name), found)

    def _check_link(self, folder: str, real: str) -> None:
        back = _is_in(real, self._root) or _is_in(self._root, real)
        again = any(_is_in(real, other) or _is_in(other, real) for other in self._outside)
        if back or again:
            raise InvalidFileError(
                f"{folder} leads to {real}, whose images are read without it or lead back to it: "
                "they would count more than once. Remove the link."
            )
        self._outside.add(real)


def _is_in(path: str, folder: str) -> bool:
    path, folder = os.path.normcase(path), os.path.normcase(folder)
    return path == folder or path.startswith(os.path.join(folder, ""))


def _is_clutter(name: str) -> bool:
    return name.startswith(".") or name.lower() in _CLUTTER
