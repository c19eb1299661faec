"""Dataset distillation behind scikit-learn's fit, transform and score."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ._engine.forked import watch
from ._old_names import install
from ._version import __version__ as __version__

if TYPE_CHECKING:
    from .adapters import DistillationSampler, DistilledClassifier
    from .diagnosis import diagnose
    from .distilled._dataset import DistilledDataset
    from .distillers._all import all_distillers
    from .distillers.boosted import BoostedDistiller
    from .distillers.distribution_matching import DistributionMatchingDistiller
    from .distillers.frepo import FRePoDistiller
    from .distillers.gradient_matching import GradientMatchingDistiller
    from .distillers.kip import KIPDistiller
    from .distillers.rat_bptt import RaTBPTTDistiller
    from .distillers.rcig import RCIGDistiller
    from .distillers.rfad import RFADDistiller
    from .distillers.trajectory_matching import TrajectoryMatchingDistiller
    from .kernel_ridge import KernelRidgeClassifier
    from .paper import paper_settings
    from .preprocessing import ZCAWhitener
    from .pruning import LossPruner

install()
watch()

# A distilled data set must load where torch is not installed, so names are imported when used.
_HOMES = {
    "BoostedDistiller": "distillers.boosted",
    "DistillationSampler": "adapters",
    "DistilledClassifier": "adapters",
    "DistilledDataset": "distilled",
    "DistributionMatchingDistiller": "distillers.distribution_matching",
    "GradientMatchingDistiller": "distillers.gradient_matching",
    "KIPDistiller": "distillers.kip",
    "KernelRidgeClassifier": "kernel_ridge",
    "FRePoDistiller": "distillers.frepo",
    "LossPruner": "pruning",
    "RCIGDistiller": "distillers.rcig",
    "RFADDistiller": "distillers.rfad",
    "RaTBPTTDistiller": "distillers.rat_bptt",
    "TrajectoryMatchingDistiller": "distillers.trajectory_matching",
    "ZCAWhitener": "preprocessing",
    "all_distillers": "distillers._all",
    "diagnose": "diagnosis",
    "paper_settings": "paper",
}

__all__ = [
    "BoostedDistiller",
    "DistillationSampler",
    "DistilledClassifier",
    "DistilledDataset",
    "DistributionMatchingDistiller",
    "FRePoDistiller",
    "GradientMatchingDistiller",
    "KIPDistiller",
    "KernelRidgeClassifier",
    "LossPruner",
    "RCIGDistiller",
    "RFADDistiller",
    "RaTBPTTDistiller",
    "TrajectoryMatchingDistiller",
    "ZCAWhitener",
    "all_distillers",
    "diagnose",
    "paper_settings",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f".{_HOMES[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
