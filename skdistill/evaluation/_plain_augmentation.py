"""Augmentations as JSON, the form in which a distilled set keeps its own."""

from collections.abc import Callable
from typing import Any

from .. import augmentation as kinds
from ..augmentation import Augmentation, check_augmentation

__all__ = ["from_plain", "is_restorable", "to_plain"]

# The classes that have a plain form. A file can name no others.
_CLASSES: dict[str, Callable[..., Augmentation]] = {
    name: getattr(kinds, name)
    for name in ("Color", "Compose", "Crop", "Cutout", "Flip", "OneOf", "Rotation", "Scale")
}


def to_plain(augmentation: str | Augmentation | None) -> str | dict[str, Any] | None:
    """Return a JSON-safe form of a valid augmentation, from which `from_plain` restores it.

    None and names stay as they are. The form of a class that is not skdistill's has only its name,
    and cannot be restored.
    """
    if not isinstance(augmentation, Augmentation):
        return augmentation
    kind = type(augmentation)
    if kind not in _CLASSES.values():
        return {"class": f"{kind.__module__}.{kind.__qualname__}"}
    params = augmentation.get_params(deep=False)
    if "steps" in params:
        params["steps"] = [to_plain(step) for step in params["steps"]]
    else:
        params = {name: None if v is None else float(v) for name, v in params.items()}
    return {"class": kind.__name__, **params}


def from_plain(plain: str | dict[str, Any] | None) -> Augmentation | None:
    """Return the augmentation from the output of `to_plain`.

    Raises
    ------
    ValueError
        If it is not an output of `to_plain`, or that of a class that is not skdistill's.
    """
    return check_augmentation(_from_plain(plain) if isinstance(plain, dict) else plain)


def is_restorable(plain: str | dict[str, Any] | None) -> bool:
    """Return whether `from_plain` restores an augmentation."""
    try:
        from_plain(plain)
    except ValueError:
        return False
    return True


def _from_plain(plain: Any) -> Augmentation:
    params = dict(plain) if isinstance(plain, dict) else {}
    name = params.pop("class", None)
    if isinstance(params.get("steps"), list):
        params["steps"] = [_from_plain(step) for step in params["steps"]]
    if isinstance(name, str) and "." in name:
        raise ValueError(
            f"augmentation must be given: the set was distilled with {name}, a class that is not "
            "skdistill's and is not saved."
        )
    try:
        return _CLASSES[name](**params)
    except (KeyError, TypeError) as error:
        raise ValueError(f"augmentation cannot be restored from {plain!r:.200}.") from error
