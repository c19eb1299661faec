"""Labels: their classes, and what a file can hold of them without a pickle."""

from numbers import Integral, Real
from typing import Any

import numpy as np

__all__ = ["classes_and_index", "plain_labels", "refuse_missing", "refuse_objects"]


def refuse_missing(y: Any) -> None:
    """Raise a ValueError if labels are missing: None, NaN, or a library's own NA.

    They are looked for before labels become an array, in which NaN among text is the text "nan".
    """
    y = np.asarray(y, dtype=object) if isinstance(y, list | tuple) else np.asarray(y)
    if y.ndim == 2 and y.shape[1] == 1:
        y = y.ravel()
    if y.ndim != 1:
        return
    missing: Any = []
    if y.dtype.kind == "O":
        labels = y.tolist()
        # Of millions, most are of a type that has nothing missing.
        kinds = set(map(type, labels))
        if odd := {kind for kind in kinds if not issubclass(kind, str | bytes | int)}:
            missing = [type(label) in odd and _is_missing(label) for label in labels]
    elif y.dtype.kind in "fmM":
        missing = np.isnan(y) if y.dtype.kind == "f" else np.isnat(y)
    if n := int(np.sum(missing)):
        raise ValueError(
            "y must have no NaN or None: leave out samples whose label is missing, "
            f"{n} of {len(y)} here."
        )


def _is_missing(label: Any) -> bool:
    if type(label).__name__ in ("NoneType", "NAType", "NaTType"):
        return True
    try:
        return bool(label != label)
    except (TypeError, ValueError):
        return False  # an array, say: others say what is wrong


def refuse_objects(y: np.ndarray) -> None:
    """Raise a ValueError if labels are objects of anything but text, and say what to do.

    A column of an array that also holds text is such a one.
    """
    if y.dtype != object or y.ndim == 0 or y.size != len(y):
        return
    kinds = set(map(type, y.ravel().tolist()))
    if all(issubclass(kind, str | bytes) for kind in kinds):
        return
    dtypes = {"bool": bool | np.bool_, "int": Integral, "float": Real}
    fits = (name for name, kind in dtypes.items() if all(issubclass(k, kind) for k in kinds))
    raise ValueError(
        # scikit-learn's own words, which its checks know, come first.
        "Unknown label type: y must hold labels of one kind, numbers in a dtype of their own; got "
        f"objects of {', '.join(sorted(kind.__name__ for kind in kinds))}. Pass "
        f"y.astype({next(fits, 'str')})."
    )


def classes_and_index(y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the sorted classes and each label's index into them; one class is a ValueError."""
    classes, index = np.unique(y, return_inverse=True)
    if len(classes) < 2:
        raise ValueError(f"y must hold at least 2 classes; got 1 class, {classes[0]!r}.")
    return classes, index


def plain_labels(labels: np.ndarray, name: str) -> np.ndarray:
    """Return labels of a dtype that needs no pickle: strings in objects become NumPy's strings."""
    if labels.dtype.kind in "biufU":
        return labels
    # "T" is NumPy's StringDType, which is saved by pickle as well.
    if labels.dtype.kind not in "OT":
        raise ValueError(
            f"{name} must hold strings, numbers or booleans to be saved; got {labels.dtype}. "
            "y.astype(str) turns most labels into strings."
        )
    items = labels.tolist()
    strangers = [item for item in items if not isinstance(item, str)]
    if strangers:
        raise ValueError(
            f"{name} must hold strings, numbers or booleans to be saved; "
            f"got {strangers[0]!r} of type {type(strangers[0]).__name__}."
        )
    plain = np.array(items, np.str_)
    if plain.tolist() != items:
        raise ValueError(f"{name} must not hold strings that end in a null character.")
    return plain
