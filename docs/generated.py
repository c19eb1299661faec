"""Files that pages include, written while the documentation is built."""

from collections.abc import Mapping
from pathlib import Path


def write_all(folder: Path, parts: Mapping[str, str]) -> None:
    """Write texts into a folder, by names that may have folders of their own.

    A file that holds its text stays: Sphinx reads a page again when what it includes is newer.
    """
    for name, text in parts.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
