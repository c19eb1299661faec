"""Labels that a file can hold without a pickle."""

import numpy as np

__all__ = ["plain_labels"]


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
