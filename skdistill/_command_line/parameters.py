"""A distiller from words: the name of its method, and NAME=VALUE for its parameters."""

import ast
import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any

import click

from .. import _HOMES

if TYPE_CHECKING:
    from ..distillers import BaseDistiller, BoostedDistiller

__all__ = ["BOOSTED", "METHODS", "make_distiller", "parse_settings"]

_PACKAGE = "distillers."
# The classes by the names of their modules, which are those of the methods: "rat-bptt" and so on.
METHODS = {
    home.removeprefix(_PACKAGE).replace("_", "-"): name
    for name, home in sorted(_HOMES.items(), key=lambda item: item[1])
    if home.startswith(_PACKAGE) and not home.startswith(f"{_PACKAGE}_")
}
BOOSTED = "boosted"
# Where the classes of objects stand that parameters may be.
_MODULES = (
    "augmentation",
    "hardness",
    "learning_rates",
    "parametrization",
    "sampling",
    "windows",
)


def parse_settings(texts: Sequence[str]) -> dict[str, Any]:
    """Return the values of NAME=VALUE by name."""
    found: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not name or not equals:
            raise click.BadParameter(f"{text!r} must be NAME=VALUE.", param_hint="--set")
        if name in found:
            raise click.BadParameter(f"{name} is set twice.", param_hint="--set")
        found[name] = _built(_value(value))
    return found


def _value(text: str) -> Any:
    """Return the value of a literal of Python or JSON; any other text is a string."""
    readers: tuple[Callable[[str], Any], ...] = (ast.literal_eval, json.loads)
    for read in readers:
        try:
            return read(text)
        # Both may say so in any of these ways, and neither runs anything.
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            continue
    return text


def _built(value: Any) -> Any:
    """Return a value in which objects stand for {"class": NAME, ...}, as recipes write them."""
    if isinstance(value, list | tuple):
        return type(value)(map(_built, value))
    if not isinstance(value, dict) or not isinstance(value.get("class"), str):
        return value
    options = {name: _built(part) for name, part in value.items()}
    kinds = _kinds()
    name = options.pop("class")
    if name not in kinds:
        raise ValueError(f"class must be one of {', '.join(kinds)}; got {name!r}.")
    try:
        return kinds[name](**options)
    except TypeError as error:
        raise ValueError(f"{name} cannot be made of {options!r:.200}: {error}.") from error


def _kinds() -> dict[str, Callable[..., Any]]:
    """Return the classes of objects that parameters may be, by name."""
    from .._data.strategy import Strategy
    from ..networks import MLP, ConvNet

    # A distiller calls these for every fresh network.
    found: dict[str, Callable[..., Any]] = {
        "ConvNet": partial(partial, ConvNet),
        "MLP": partial(partial, MLP),
    }
    for module in _MODULES:
        home = import_module(f"..{module}", __package__)
        for name in home.__all__:
            value = getattr(home, name)
            # What derives from it directly is the base of a kind, and can do nothing itself.
            if _is_a(Strategy, value) and Strategy not in value.__bases__:
                found[name] = value
    return found


def _is_a(kind: type, value: object) -> bool:
    return isinstance(value, type) and issubclass(value, kind)


def make_distiller(
    method: str, given: Mapping[str, Any], settings: Mapping[str, Any]
) -> "BaseDistiller | BoostedDistiller":
    """Return a distiller with valid parameters.

    Parameters
    ----------
    method : str
        One of `METHODS`.
    given : mapping
        Values of parameters that have options of their own; None if an option was not given.
    settings : mapping
        Values by `parse_settings`. For "boosted", `distiller` is the name of the method that makes
        a block.

    Raises
    ------
    ValueError
        If the distiller has no such parameter, or a value is not valid by itself. What depends on
        the data or on other parameters is checked by its ``fit``.
    """
    values = {name: value for name, value in given.items() if value is not None}
    if twice := values.keys() & settings.keys():
        raise click.UsageError(
            f"{', '.join(sorted(twice))} must be given by an option or by --set, not by both."
        )
    values |= settings
    made = _class(method)()
    if method == BOOSTED:
        inner = values.pop("distiller", "rat-bptt")
        if inner == BOOSTED or inner not in list(METHODS):
            known = ", ".join(name for name in METHODS if name != BOOSTED)
            raise ValueError(f"distiller must be one of {known}; got {inner!r}.")
        made.set_params(distiller=_class(inner)())
    made.set_params(**values)
    made._validate_params()
    if method == BOOSTED:
        made.distiller._validate_params()
    return made


def _class(method: str) -> Any:
    return getattr(import_module("..", __package__), METHODS[method])
