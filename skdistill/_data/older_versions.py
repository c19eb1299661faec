"""Values of parameters that pickles and checkpoints of older versions do not have yet.

The default of a new parameter means "as before", so it is the value for an older file.
"""

from inspect import Parameter, signature

__all__ = ["RENAMED_PARAMETERS", "OlderPicklesMixin", "parameter_defaults"]

# Parameters that had another name in an older version, by class.
RENAMED_PARAMETERS = {"skdistill.HardnessSampler": {"favour": "favor", "begin": "start_step"}}


def parameter_defaults(kind: type) -> dict:
    """Return the defaults of an estimator's parameters, by name."""
    parameters = signature(kind.__init__).parameters.values()
    return {p.name: p.default for p in parameters if p.default is not Parameter.empty}


class OlderPicklesMixin:
    """An estimator whose older pickles load with defaults for later parameters."""

    def __setstate__(self, state: dict) -> None:
        names = RENAMED_PARAMETERS.get(f"skdistill.{type(self).__name__}", {})
        state = {names.get(name, name): value for name, value in state.items()}
        super().__setstate__({**parameter_defaults(type(self)), **state})
