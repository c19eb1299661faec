"""Errors and warnings of skdistill that are more specific than Python's and scikit-learn's."""

__all__ = ["DivergenceError", "DivergenceWarning"]


class DivergenceWarning(UserWarning):
    """A meta-gradient was not finite; the outer step was skipped."""


class DivergenceError(FloatingPointError):
    """Meta-gradients stayed non-finite for many outer steps in a row.

    The distiller's fitted attributes hold the samples as they were before the first of them.
    """
