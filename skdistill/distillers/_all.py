"""All methods of the package, found among its public names."""

from importlib import import_module

from .base import BaseDistiller

__all__ = ["all_distillers"]


def all_distillers() -> list[tuple[str, type[BaseDistiller]]]:
    """Return the distillers of this package, one for each method.

    `BoostedDistiller` is not among them: it runs any of them block by block.

    Returns
    -------
    distillers : list of (str, type)
        Names and classes, in the order of the names, as `sklearn.utils.discovery.all_estimators`
        returns them.

    Examples
    --------
    >>> from skdistill import all_distillers
    >>> "RaTBPTTDistiller" in dict(all_distillers())
    True
    >>> {name: kind(ipc=1) for name, kind in all_distillers()}["DistributionMatchingDistiller"]
    DistributionMatchingDistiller()
    """
    home = import_module(__package__)
    values = [getattr(home, name) for name in home.__all__]
    kinds = [v for v in values if isinstance(v, type) and issubclass(v, BaseDistiller)]
    return sorted((kind.__name__, kind) for kind in kinds if kind is not BaseDistiller)
