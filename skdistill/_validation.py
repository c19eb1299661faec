"""scikit-learn's private helpers, imported in this one place, and checks that it lacks."""

from numbers import Integral

import numpy as np
from sklearn.base import _fit_context as fit_context
from sklearn.utils._param_validation import (
    Interval,
    InvalidParameterError,
    Options,
    StrOptions,
    validate_parameter_constraints,
)
from sklearn.utils.validation import _check_sample_weight as check_sample_weight

from ._arrays import as_array
from ._consistency import LARGEST

__all__ = [
    "Interval",
    "InvalidParameterError",
    "Options",
    "StrOptions",
    "as_array",
    "check_image_shape",
    "check_magnitude",
    "check_sample_weight",
    "fit_context",
    "validate_parameter_constraints",
]


def check_image_shape(image_shape) -> tuple[int, int, int] | None:
    """Return ``image_shape`` as three positive ints, or None; anything else is a ValueError."""
    if image_shape is None:
        return None
    shape = tuple(image_shape)
    if len(shape) != 3 or not all(isinstance(n, Integral) and n >= 1 for n in shape):
        raise InvalidParameterError(
            "image_shape must be None or three positive integers (channels, height, width); "
            f"got {image_shape!r}."
        )
    return tuple(int(n) for n in shape)


def check_magnitude(X: np.ndarray) -> None:
    """Raise a ValueError if samples hold values beyond what networks compute with."""
    if X.dtype.kind == "f" and max(float(X.max()), -float(X.min())) > LARGEST:
        raise ValueError(
            f"X must hold values between -{LARGEST:g} and {LARGEST:g}, for networks compute in "
            f"single precision; got values from {X.min():g} to {X.max():g}."
        )
