"""The scripts of ``examples/reproduce``, from which pages take what is planned and published."""

import sys
from importlib import import_module
from pathlib import Path

FOLDER = Path(__file__).parent.parent / "examples" / "reproduce"


def load(name: str):
    """Return a script as a module; those beside it are there while it is imported."""
    sys.path.insert(0, str(FOLDER))
    try:
        return import_module(name)
    finally:
        sys.path.remove(str(FOLDER))
