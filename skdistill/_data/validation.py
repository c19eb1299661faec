"""scikit-learn's private helpers, imported in this one place, and checks that it lacks."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from numbers import Integral
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike
from sklearn.model_selection._search import BaseSearchCV
from sklearn.utils._param_validation import (
    InvalidParameterError,
    StrOptions,
    validate_parameter_constraints,
)
from sklearn.utils._set_output import _get_output_config as get_output_config
from sklearn.utils.validation import _check_sample_weight, check_array, validate_data

from .arrays import LARGEST, as_array
from .bases import MYPY
from .columns import other_columns
from .frames import refuse_unencoded
from .gaps import explaining_gaps
from .layout import Layout

if MYPY:
    _Function = TypeVar("_Function", bound=Callable[..., Any])

    def fit_context(*, prefer_skip_nested_validation: bool) -> Callable[[_Function], _Function]: ...

    class _Interval:
        def __init__(
            self, type: type, left: float | None, right: float | None, *, closed: str
        ) -> None: ...
        def is_satisfied_by(self, val: object) -> bool: ...

else:
    from sklearn.base import _fit_context as fit_context
    from sklearn.utils._param_validation import Interval as _Interval

__all__ = [
    "BaseSearchCV",
    "Interval",
    "InvalidParameterError",
    "StrOptions",
    "as_array",
    "check_count",
    "check_image_shape",
    "check_magnitude",
    "check_sample_weight",
    "check_samples",
    "fit_context",
    "get_output_config",
    "keeping_features",
    "validate_parameter_constraints",
]


class Interval(_Interval):
    """Numbers between two bounds; unlike in Python, True and False are not numbers.

    Parameters
    ----------
    type : type
        `numbers.Integral` or `numbers.Real`.
    left, right : number or None
        The bounds; None: no bound.
    closed : {"left", "right", "both", "neither"}
        Which of the bounds are allowed values.
    """

    def is_satisfied_by(self, val: object) -> bool:
        """Return whether a value is a number in the interval."""
        return not isinstance(val, bool) and super().is_satisfied_by(val)


def check_count(name: str, value: object, least: int) -> None:
    """Raise ValueError unless a value is an integer of at least ``least``, which True is not."""
    if not isinstance(value, Integral) or isinstance(value, bool) or int(value) < least:
        raise ValueError(f"{name} must be an integer of at least {least}; got {value!r}.")


def check_image_shape(image_shape: Sequence[int] | None) -> tuple[int, int, int] | None:
    """Return ``image_shape`` as three positive ints, or None; anything else is a ValueError."""
    if image_shape is None:
        return None
    shape = tuple(image_shape)
    good = len(shape) == 3 and all(
        isinstance(n, Integral) and not isinstance(n, bool) and int(n) >= 1 for n in shape
    )
    if not good:
        raise InvalidParameterError(
            "image_shape must be None or three positive integers (channels, height, width); "
            f"got {image_shape!r}."
        )
    channels, height, width = map(int, shape)
    return channels, height, width


@contextmanager
def keeping_features(estimator: object) -> Iterator[None]:
    """Restore what an estimator knows about the features if a fit fails before it began.

    Otherwise a fitted estimator would have the features of other data than its samples.
    """
    names = ("n_features_in_", "feature_names_in_")
    before = {name: vars(estimator)[name] for name in names if name in vars(estimator)}
    fitted = vars(estimator).get("distilled_")
    try:
        yield
    except BaseException:
        if vars(estimator).get("distilled_") is fitted:
            for name in names:
                vars(estimator).pop(name, None)
            vars(estimator).update(before)
        raise


def check_sample_weight(sample_weight: Any, X: Any, **options: Any) -> np.ndarray:
    """Return weights as an array, as scikit-learn checks them; they may be a tensor of torch."""
    return _check_sample_weight(as_array(sample_weight), X, **options)


def check_magnitude(X: np.ndarray, largest: float = LARGEST) -> None:
    """Raise a ValueError if samples hold values beyond what networks compute with."""
    if X.dtype.kind == "f" and max(float(X.max()), -float(X.min())) > largest:
        raise ValueError(
            f"X must hold values between -{largest:g} and {largest:g}, because networks compute in "
            f"single precision; got values from {X.min():g} to {X.max():g}."
        )


def check_samples(estimator: object, X: ArrayLike, layout: Layout) -> np.ndarray:
    """Return ``X`` as an array, or raise scikit-learn's errors for what `fit` did not see.

    Parameters
    ----------
    estimator : object
        The fitted estimator, whose features those of a table must be.
    X : array-like of shape (n, ...)
    layout : Layout
        How `fit` got its samples.
    """
    X = as_array(X)
    names = getattr(estimator, "feature_names_in_", None)
    # Of other columns scikit-learn says which they are.
    if other_columns(X, None if names is None else tuple(names)) is None:
        refuse_unencoded(X, in_fit=False)
    with explaining_gaps(X, layout.is_image, in_fit=False):
        if len(layout.user_shape) > 1:
            X = check_array(X, allow_nd=True, dtype="numeric")
            layout.check(X)
            return X
        if getattr(X, "ndim", 2) > 2:
            # Images where there were rows: scikit-learn would name neither shape.
            layout.check(X)
        return validate_data(estimator, X, reset=False, dtype="numeric")
