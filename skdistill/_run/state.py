"""A run of a distiller: its state, and all that is needed to continue it.

Randomness is a function of the run's seed and the number of the outer step (`_engine.streams`), and
so are the batches (`sampling`): no state of a generator or a sampler is part of it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch

from .._engine.outer import OuterState

__all__ = ["Best", "Run", "RunState"]

# What files call the fields of `RunState` that had other names when their format was made.
_NAMES_IN_FILES = {"slots": "adam", "method": "memory"}
_FIELDS = {in_files: name for name, in_files in _NAMES_IN_FILES.items()}


@dataclass(frozen=True)
class Best:
    """The iterate that did best on the held-out part of the training data."""

    accuracy: float
    step: int
    tensors: dict[str, np.ndarray]


@dataclass(frozen=True)
class RunState(OuterState):
    """The state of a run after an outer step, without its history.

    Parameters
    ----------
    best : Best or None
        The best iterate on held-out data, if any was validated.
    seconds : float
        The time that the run has taken so far, without pauses.
    """

    best: Best | None = None
    seconds: float = 0.0

    def __setstate__(self, state: dict) -> None:
        """Restore a pickle; in those of 0.1.0 the outer loop's state is a part of it."""
        if "state" in state:
            state = {**vars(state["state"]), "best": state["best"], "seconds": state["seconds"]}
        super().__setstate__(state)


@dataclass
class Run:
    """A run. It can be stopped anywhere, even between two lines: what it holds is always whole.

    Parameters
    ----------
    seed : int
    state : RunState
        The current state. A new one replaces the old one in a single assignment.
    raw_history : dict of str to list
        Values of each outer step. Values beyond the state's step belong to a step that was not
        finished.
    begun : dict or None, default=None
        What describes the samples that the run started from and how fast each moves; None if
        nothing is known (in pickles of older versions). A file has it in its identity.
    units : dict or None, default=None
        What the learned tensors are standardized by, JSON-safe: "mean" and "scale" of each channel
        or feature, and whether it "varies". None if nothing is known; a file has the data for it.
    """

    seed: int
    state: RunState
    raw_history: dict[str, list] = field(default_factory=dict)
    begun: dict | None = None
    units: dict | None = None

    def __setstate__(self, state: dict) -> None:
        """Restore a pickle; those of 0.1.0 have other names."""
        old = {"point": "state", "columns": "raw_history"}
        vars(self).update({old.get(name, name): value for name, value in state.items()})

    @property
    def step(self) -> int:
        """Outer steps done."""
        return self.state.step

    @property
    def best(self) -> Best | None:
        """The best iterate on held-out data, if any was validated."""
        return self.state.best

    @property
    def best_or_last(self) -> Best | None:
        """The best iterate on held-out data, or the last one if it was validated and is better.

        The end of a run is validated even if it is none of the steps that are due. That is no part
        of the state, which would otherwise be another one than that of a longer run.
        """
        accuracy = self.last.get("validation_accuracy") if self.step else None
        if accuracy is None or (self.best is not None and accuracy <= self.best.accuracy):
            return self.best
        tensors = _convert(self.state.result, torch.Tensor, lambda tensor: tensor.cpu().numpy())
        return Best(accuracy, self.step, tensors)

    @property
    def seconds(self) -> float:
        """The time that the run has taken so far, without pauses."""
        return self.state.seconds

    @property
    def history(self) -> dict[str, list]:
        """One value per outer step, as copies."""
        return {name: values[: self.step] for name, values in self.raw_history.items()}

    @property
    def last(self) -> dict:
        """The values of the last outer step in the history."""
        return {name: values[self.step - 1] for name, values in self.raw_history.items()}

    def advance(self, state: RunState, row: dict) -> None:
        """Add an outer step: all of it or, in case of an interruption, nothing.

        Where earlier steps did not have a value, or this one lacks it, the value is None.
        """
        for name in (*self.raw_history, *(name for name in row if name not in self.raw_history)):
            column = self.raw_history.setdefault(name, [None] * self.step)
            del column[self.step :]
            column.append(row.get(name))
        self.state = state

    def to_cpu_arrays(self) -> "Run":
        """Return a copy without tensors and without a device, for a pickle or a file."""
        state = _convert(vars(self.state), torch.Tensor, lambda tensor: tensor.cpu().numpy())
        return Run(self.seed, RunState(**state), self.history, self.begun, self.units)

    def to_device(self, device: torch.device) -> "Run":
        """Return a copy of a run at rest that can continue, on this device."""
        state = _convert(
            vars(self.state), np.ndarray, lambda array: torch.tensor(array, device=device)
        )
        return Run(self.seed, RunState(**state), self.history, self.begun, self.units)

    def to_plain(self) -> tuple[dict[str, np.ndarray], dict]:
        """Return arrays by names and JSON-safe values that together hold a run at rest."""
        state = {_NAMES_IN_FILES.get(k, k): v for k, v in vars(self.state).items()}
        del state["best"], state["seconds"]
        if state["averages"] is None:
            # As in files of versions that had none.
            del state["averages"]
        plain = {
            "seed": self.seed,
            "state": state,
            "best": None if self.best is None else vars(self.best),
            "seconds": self.seconds,
            "history": self.history,
        }
        arrays: dict[str, np.ndarray] = {}
        return arrays, _set_apart(plain, "run", arrays)

    @classmethod
    def from_plain(cls, arrays: Mapping[str, np.ndarray], plain: dict) -> "Run":
        """Rebuild a run from `to_plain`'s output; raises if it is malformed."""
        plain = _put_back(plain, arrays)
        state = {_FIELDS.get(name, name): value for name, value in plain["state"].items()}
        best = None if plain["best"] is None else Best(**plain["best"])
        state = RunState(**state, best=best, seconds=plain["seconds"])
        return cls(plain["seed"], state, plain["history"])


def _convert(value, kind: type, convert):
    """Return a value, or a dict of values in dicts, with all of this kind converted."""
    if isinstance(value, dict):
        return {name: _convert(part, kind, convert) for name, part in value.items()}
    return convert(value) if isinstance(value, kind) else value


def _set_apart(value, name: str, arrays: dict[str, np.ndarray]):
    """Return a value with its arrays replaced by their names; the arrays go to ``arrays``."""
    if isinstance(value, dict):
        return {key: _set_apart(part, f"{name}.{key}", arrays) for key, part in value.items()}
    if isinstance(value, np.ndarray):
        arrays[name] = value
        return {"array": name}
    return value


def _put_back(value, arrays: Mapping[str, np.ndarray]):
    if not isinstance(value, dict):
        return value
    if value.keys() == {"array"}:
        return arrays[value["array"]]
    return {key: _put_back(part, arrays) for key, part in value.items()}
