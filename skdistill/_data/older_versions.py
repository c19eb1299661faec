"""Pickles and checkpoints of other versions: what older ones lack, and which are too new.

The default of a new parameter means "as before", so it is the value for an older file, but for
those in `AS_BEFORE`.
"""

from inspect import Parameter, signature
from typing import Any

from ..exceptions import InvalidFileError

__all__ = [
    "FORMER_AUTO",
    "RENAMED_PARAMETERS",
    "OlderPicklesMixin",
    "as_before",
    "parameter_defaults",
    "said_auto",
    "stamped",
    "unstamped",
]

# The version of what pickles hold, to be raised when older versions of skdistill would misread what
# a newer one writes, and where it stands. Those of 0.1.0 do not say that theirs is 1.
_VERSION, _STAMP = 1, "_pickle_version"

# Parameters that had another name in an older version, by class.
RENAMED_PARAMETERS = {"skdistill.HardnessSampler": {"favour": "favor", "begin": "start_step"}}
# The values that new parameters had before there were any, where their defaults are others, by the
# class in this package that has them.
AS_BEFORE: dict[str, dict[str, Any]] = {
    "BaseDistiller": {"inner_architecture": None},
    "RaTBPTTDistiller": {"clip_norm": "feng23"},
}
# What stood for "auto" in files that say "auto", where those of today say what it stands for.
FORMER_AUTO = {"clip_norm": "feng23"}


def as_before(kind: type) -> dict[str, Any]:
    """Return the values that new parameters of a class had, where their defaults are others."""
    ours = [c.__name__ for c in kind.__mro__ if c.__module__.split(".")[0] == "skdistill"]
    found: dict[str, Any] = {}
    for name in reversed(ours):
        found |= AS_BEFORE.get(name, {})
    return found


def said_auto(saved: dict[str, Any], current: dict[str, Any]) -> dict[str, Any]:
    """Return what stood for the values that a file calls "auto", and a fit of today does not."""
    return {
        name: value
        for name, value in FORMER_AUTO.items()
        if saved.get(name) == "auto" and current.get(name, "auto") != "auto"
    }


def parameter_defaults(kind: type) -> dict[str, Any]:
    """Return the values of an estimator's parameters in a file that lacks them, by name."""
    before = as_before(kind)
    parameters = signature(kind.__init__).parameters.values()  # type: ignore[misc]
    return {
        p.name: before.get(p.name, p.default)
        for p in parameters
        if p.default is not Parameter.empty
    }


def stamped(state: dict) -> dict:
    """Return the state that a pickle holds, with its version."""
    return {**state, _STAMP: _VERSION}


def unstamped(state: dict, name: str) -> dict:
    """Return the state that a pickle of a ``name`` holds; raise InvalidFileError if it is newer."""
    state = dict(state)
    version = state.pop(_STAMP, 1)
    if version > _VERSION:
        raise InvalidFileError(
            f"this {name} is in version {version} of its form, which a newer skdistill wrote; the "
            f"version must be at most {_VERSION} here. Update skdistill to load it."
        )
    return state


class OlderPicklesMixin:
    """An estimator whose older pickles load with defaults for later parameters."""

    def __getstate__(self) -> dict[str, Any]:
        # What it is mixed into has one.
        return stamped(super().__getstate__())  # type: ignore[arg-type]

    def __setstate__(self, state: dict[str, Any]) -> None:
        state = unstamped(state, type(self).__name__)
        names = RENAMED_PARAMETERS.get(f"skdistill.{type(self).__name__}", {})
        state = {names.get(name, name): value for name, value in state.items()}
        # What it is mixed into has one.
        super().__setstate__(  # type: ignore[misc]
            {**parameter_defaults(type(self)), **state}
        )
