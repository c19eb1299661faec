"""What a distiller may be asked for, and how one refuses what its method cannot do.

A class lists its refusals, each with the reason, and the base class raises them before any work::

    class MeansDistiller(BaseDistiller):
        _refuses = {"learned labels": "no label enters its loss"}

The documentation prints the same lists.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ..parametrization import Hallucinated, LinearBasis, Tiled

__all__ = ["FEATURES", "check_refusals"]


def _is_given(value: object) -> bool:
    return value is not None


@dataclass(frozen=True)
class Feature:
    """Something that a distiller may be asked for.

    Parameters
    ----------
    argument : str
        The parameter or argument that asks for it.
    must : str
        What it must be where this is refused; ``{}`` stands for its value.
    asks : callable
        Whether a value of it asks for the feature.
    """

    argument: str
    must: str
    asks: Callable[[Any], bool] = _is_given


def _parametrization(kind: type) -> Feature:
    """Return the feature that asks for a kind of parametrization."""
    must = "parametrization={} must be 'pixels'"
    return Feature("parametrization", must, lambda v: isinstance(v, kind))


# By the name that refusals and the documentation have for it.
FEATURES = {
    "tables": Feature("layout", "X must hold images and no table", lambda v: not v.is_image),
    "images": Feature("layout", "X must hold a table and no images", lambda v: v.is_image),
    "learned labels": Feature("learn_labels", "learn_labels={} must be False", bool),
    "linear bases": _parametrization(LinearBasis),
    "tiles": _parametrization(Tiled),
    "hallucinators": _parametrization(Hallucinated),
    "augmentation": Feature("augmentation", "augmentation={} must be None"),
    "sample weights": Feature("sample_weight", "sample_weight must be None"),
    "class weights": Feature("class_weight", "class_weight={} must be None"),
    "validation": Feature("validation_fraction", "validation_fraction={} must be None"),
    "averages": Feature("ema_decay", "ema_decay={} must be None"),
    "other learning rates during a run": Feature(
        "learning_rate_schedule",
        "learning_rate_schedule={} must be 'constant'",
        lambda v: v != "constant",
    ),
    "boosting": Feature("start", "start and learning_rate_factors must be None, so no boosting"),
    "several processes": Feature("n_processes", "a run must have one process", lambda n: n > 1),
}


def check_refusals(kind: type, refuses: Mapping[str, str], given: Mapping[str, Any]) -> None:
    """Raise ValueError if a distiller is asked for something that it refuses.

    Parameters
    ----------
    kind : type
        The distiller's class.
    refuses : mapping of str to str
        The names of features, each with the reason for which it is refused.
    given : mapping of str to object
        Parameters and arguments, by name.

    Raises
    ------
    TypeError
        If a class refuses what is not a feature.
    """
    for name, why in refuses.items():
        if name not in FEATURES:
            raise TypeError(
                f"{kind.__name__}._refuses must name features, which are "
                f"{', '.join(map(repr, FEATURES))}; got {name!r}."
            )
        feature = FEATURES[name]
        if feature.argument in given and feature.asks(given[feature.argument]):
            must = feature.must.format(f"{given[feature.argument]!r:.200}")
            raise ValueError(f"{must} with {kind.__name__}: {why}.")
