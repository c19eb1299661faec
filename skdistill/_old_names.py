"""The names of modules in 0.1.0, which pickles use, and perhaps code of that time.

An import of an old name gives the module that replaces it.
"""

import sys
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec

__all__ = ["install"]

_NEW_NAMES = {
    "_agreement": "_run.processes",
    "_checkpoint": "_run.checkpoint",
    "_consistency": "distilled._consistency",
    "_engine.matching": "_engine.methods.matching",
    "_engine.objective": "_engine.methods.unrolled",
    "_estimator_state": "_files.estimators",
    "_fresh_networks": "evaluation._networks",
    "_held_out": "_run.held_out",
    "_identity": "_run.identity",
    "_image_folder": "_files.images",
    "_interruption": "_run.interruption",
    "_layout": "_data.layout",
    "_learned": "_run.synthetic",
    "_npz": "_files.npz",
    "_outer_callbacks": "_run.callbacks",
    "_output": "evaluation._output",
    "_plain_augmentation": "evaluation._plain_augmentation",
    "_seeds": "_data.seeds",
    "_training_data": "_data.training",
    "_validation": "_data.validation",
    "_warn": "_data.warn",
    "_watch": "_run.watch",
    "_whitening": "_data.whitening",
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
