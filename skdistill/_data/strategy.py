"""Strategies: small objects with parameters that a user passes to a distiller."""

from copy import copy
from numbers import Integral, Real
from operator import is_
from typing import Any

import numpy as np

from .bases import BaseEstimator
from .older_versions import OlderPicklesMixin
from .validation import validate_parameter_constraints

__all__ = ["Strategy", "plain", "plain_parameters"]


class Strategy(OlderPicklesMixin, BaseEstimator):
    """Base class of the objects by which a user chooses a strategy.

    It is an estimator, so that a grid reaches its parameters (``schedule__patience``).
    """

    _parameter_constraints: dict[str, Any] = {}

    def validate(self) -> None:
        """Raise ``InvalidParameterError`` if a parameter is out of range."""
        validate_parameter_constraints(
            self._parameter_constraints, self.get_params(deep=False), type(self).__name__
        )


def plain(value: Any) -> Any:
    """Return a parameter's value with Python's numbers in place of NumPy's and others.

    JSON, torch and files know no others, and grids are often made of NumPy's. What holds none is
    returned as it is; a strategy that does is copied, because it is the user's.
    """
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real):
        return float(value)
    if type(value) in (list, tuple):
        parts = [plain(part) for part in value]
        return value if all(map(is_, parts, value)) else type(value)(parts)
    if isinstance(value, Strategy):
        parameters = value.get_params(deep=False)
        made = plain_parameters(value)
        if not all(map(is_, made.values(), parameters.values())):
            value = copy(value)
            vars(value).update(made)
    return value


def plain_parameters(estimator: BaseEstimator) -> dict[str, Any]:
    """Return the parameters of an estimator, each as `plain` makes it."""
    return {name: plain(value) for name, value in estimator.get_params(deep=False).items()}
