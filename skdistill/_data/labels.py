"""Labels: their classes, and what a file can hold of them without a pickle."""

import numpy as np

__all__ = ["classes_and_index", "plain_labels", "refuse_missing"]


def refuse_missing(y: np.ndarray) -> None:
    """Raise a ValueError if labels are missing: None, NaN, or a library's own NA."""
    if y.ndim != 1:
        return
    if y.dtype.kind == "O":
        missing = [
            type(label).__name__ in ("NoneType", "NAType", "NaTType")
            or (isinstance(label, float) and label != label)
            for label in y.tolist()
        ]
    else:
        missing = np.isnan(y) if y.dtype.kind == "f" else []
    if n := int(np.sum(missing)):
        raise ValueError(
            "y must have no NaN or None: leave out samples whose label is missing, "
            f"{n} of {len(y)} here."
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
