"""Strategies: small objects with parameters that a user passes to a distiller."""

from typing import Any

from .bases import BaseEstimator
from .older_versions import OlderPicklesMixin
from .validation import validate_parameter_constraints

__all__ = ["Strategy"]


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
