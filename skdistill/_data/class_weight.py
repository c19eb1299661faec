"""Weights of classes, as scikit-learn's classifiers take them."""

from collections.abc import Mapping
from numbers import Real
from typing import Any

import numpy as np
from sklearn.utils.class_weight import compute_class_weight

__all__ = ["check_class_weight", "class_weights", "weigh_samples"]


def check_class_weight(class_weight: Mapping[Any, float] | str | None, classes: np.ndarray) -> None:
    """Raise a ValueError if a mapping names an unknown class or holds an invalid weight."""
    if not isinstance(class_weight, Mapping):
        return
    labels = classes.tolist()
    unknown = [label for label in class_weight if label not in labels]
    if unknown:
        raise ValueError(
            f"class_weight must name classes of y, which are {labels!r:.200}; "
            f"got {unknown!r:.200} as well."
        )
    for label, weight in class_weight.items():
        if not isinstance(weight, Real) or not 0 < float(weight) < np.inf:
            raise ValueError(
                f"class_weight must hold positive numbers; got {weight!r} for class {label!r}. "
                "To leave a class out, leave its samples out."
            )


def class_weights(
    class_weight: Mapping[Any, float] | str | None,
    classes: np.ndarray,
    y: np.ndarray | None,
    sample_weight: np.ndarray | None,
) -> np.ndarray | None:
    """Return the weight of each class; None if all are the same.

    Parameters
    ----------
    class_weight : mapping of labels to weights, "balanced" or None
        Classes that a mapping does not name have weight 1.
    classes : ndarray of shape (n_classes,)
    y : ndarray of int of shape (n,) or None
        Class indices of the samples; a mapping needs none.
    sample_weight : ndarray of shape (n,) or None
        A sample of weight 2 counts as two for "balanced".
    """
    if class_weight is None:
        return None
    if isinstance(class_weight, Mapping):
        # Found by equality: scikit-learn would look for int("1") where "1" is a class.
        return np.array([float(class_weight.get(label, 1)) for label in classes.tolist()])
    indices = np.arange(len(classes))
    return compute_class_weight(class_weight, classes=indices, y=y, sample_weight=sample_weight)


def weigh_samples(
    class_weight: Mapping | str | None,
    classes: np.ndarray,
    y: np.ndarray,
    sample_weight: np.ndarray | None,
) -> np.ndarray | None:
    """Return the samples' weights, multiplied by those of their classes; None if all are 1.

    Parameters are those of `class_weights`.
    """
    of_class = class_weights(class_weight, classes, y, sample_weight)
    if of_class is None:
        return sample_weight
    return of_class[y] if sample_weight is None else sample_weight * of_class[y]
