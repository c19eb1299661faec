"""The names of modules in 0.1.0 that pickles use.

An import of an old name gives the module that replaces it.
"""

import sys
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec

__all__ = ["install"]

_NEW_NAMES = {
    "_layout": "_data.layout",
    "base": "distillers.base",
    "boosted": "distillers.boosted",
    "distribution_matching": "distillers.distribution_matching",
    "rat_bptt": "distillers.rat_bptt",
}


class _OldNames(MetaPathFinder, Loader):
    """Finds modules by their old names."""

    def find_spec(self, name, path=None, target=None):
        """Return how to import an old name; None for all other names."""
        package, _, rest = name.partition(".")
        if package != "skdistill" or rest not in _NEW_NAMES:
            return None
        return ModuleSpec(name, self, origin=_NEW_NAMES[rest])

    def create_module(self, spec):
        """Return the module that replaces the old one."""
        module = import_module(f"skdistill.{spec.origin}")
        # The import system writes the old one into it.
        self._own = module.__spec__
        return module

    def exec_module(self, module):
        """Leave the module as it is: it has already been executed."""
        module.__spec__ = self._own


def install() -> None:
    """Let old names be imported if nothing else can find them."""
    if not any(isinstance(finder, _OldNames) for finder in sys.meta_path):
        sys.meta_path.append(_OldNames())
