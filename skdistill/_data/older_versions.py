"""Pickles and checkpoints of other versions: what older ones lack, and which are too new.

The default of a new parameter means "as before", so it is the value for an older file, but for
those in `AS_BEFORE`.
"""

from inspect import Parameter, signature
from typing import Any

from ..exceptions import InvalidFileError

__all__ = [
    "AS_BEFORE",
    "FORMER_AUTO",
    "RENAMED_PARAMETERS",
    "OlderPicklesMixin",
    "parameter_defaults",
    "stamped",
    "unstamped",
]

# The version of what pickles hold, to be raised when older versions of skdistill would misread what
# a newer one writes, and where it stands. Those of 0.1.0 do not say that theirs is 1.
_VERSION, _STAMP = 1, "_pickle_version"

# Parameters that had another name in an older version, by class.
RENAMED_PARAMETERS = {"skdistill.HardnessSampler": {"favour": "favor", "begin": "start_step"}}
# The values that new parameters had before there were any, where their defaults are others.
AS_BEFORE = {"inner_architecture": None, "clip_norm": "feng23"}
# What stood for "auto" in files that say "auto": those of today say what it stands for.
FORMER_AUTO = {"clip_norm": "feng23"}


def parameter_defaults(kind: type) -> dict[str, Any]:
    """Return the values of an estimator's parameters in a file that lacks them, by name."""
    parameters = signature(kind.__init__).parameters.values()  # type: ignore[misc]
    return {
        p.name: AS_BEFORE.get(p.name, p.default)
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
