"""Networks of this package as JSON, the form in which a distilled set keeps its own."""

from functools import partial
from inspect import Parameter, signature
from typing import Any

from ..networks import ARCHITECTURES, MLP, Architecture, ConvNet, check_architecture

__all__ = ["from_plain", "to_plain"]

# The classes whose options can be saved. A file can name no others.
_CLASSES: dict[str, Architecture] = {"ConvNet": ConvNet, "MLP": MLP}
# A file must not ask for a network that no machine can hold.
_LIMITS = {"width": (1, 16_384), "depth": (1, 64), "padding": (0, 64)}


def to_plain(architecture: str | Architecture) -> str | dict[str, Any] | None:
    """Return a JSON-safe form of an architecture, from which `from_plain` restores it.

    None means that it has no such form: it is a callable of the user's.
    """
    if isinstance(architecture, str):
        return architecture
    for name, known in ARCHITECTURES.items():
        if architecture is known:
            return name
    if not isinstance(architecture, partial) or architecture.args:
        return None
    for name, kind in _CLASSES.items():
        if architecture.func is kind:
            plain = {"class": name, **architecture.keywords}
            try:
                from_plain(plain)
            except ValueError:
                return None
            return plain
    return None


def from_plain(plain: str | dict[str, Any] | None) -> str | Architecture | None:
    """Return the architecture from the output of `to_plain`; None stays None.

    Raises
    ------
    ValueError
        If it is not an output of `to_plain`.
    """
    if plain is None:
        return None
    if not isinstance(plain, dict):
        check_architecture(plain)
        return plain
    options = dict(plain)
    name = options.pop("class", None)
    kind = _CLASSES.get(name) if isinstance(name, str) else None
    if kind is None or not all(_is_option(kind, name, value) for name, value in options.items()):
        raise ValueError(f"architecture cannot be restored from {plain!r:.200}.")
    return partial(kind, **options)


def _is_option(kind: Architecture, name: str, value: object) -> bool:
    """Return whether a class of networks has an option of this name, and this type of value."""
    options = signature(kind).parameters
    if name not in options or name in ("input_shape", "n_classes"):
        return False
    default = options[name].default
    assert default is not Parameter.empty
    if name in _LIMITS:
        least, most = _LIMITS[name]
        return value is default or (type(value) is int and least <= value <= most)
    return type(value) is type(default)
