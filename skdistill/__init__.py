"""Dataset distillation behind scikit-learn's fit, transform and score."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .adapters import DistillationSampler, DistilledClassifier
    from .boosted import BoostedDistiller
    from .distilled import DistilledDataset
    from .distribution_matching import DistributionMatchingDistiller
    from .paper import paper_settings
    from .preprocessing import ZCAWhitener
    from .rat_bptt import RaTBPTTDistiller

__version__ = "0.1.0"

# A distilled data set must load where torch is not installed, so names are imported when used.
_HOMES = {
    "BoostedDistiller": "boosted",
    "DistillationSampler": "adapters",
    "DistilledClassifier": "adapters",
    "DistilledDataset": "distilled",
    "DistributionMatchingDistiller": "distribution_matching",
    "RaTBPTTDistiller": "rat_bptt",
    "ZCAWhitener": "preprocessing",
    "paper_settings": "paper",
}

__all__ = [
    "BoostedDistiller",
    "DistillationSampler",
    "DistilledClassifier",
    "DistilledDataset",
    "DistributionMatchingDistiller",
    "RaTBPTTDistiller",
    "ZCAWhitener",
    "paper_settings",
]


def __getattr__(name: str):
    if name in _HOMES:
        return getattr(import_module(f".{_HOMES[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
