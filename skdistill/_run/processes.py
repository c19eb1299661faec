"""How the processes of a run come to begin it with the same parameters, data and state."""

from collections.abc import Callable

import joblib
import numpy as np

from .._engine.group import Group
from .state import Run

__all__ = ["begin_together"]


def begin_together(
    group: Group, identity: dict, begin: Callable[[], tuple[int, dict, Run | None]]
) -> tuple[int, dict, Run | None]:
    """Return what the first process starts from: seed, facts, and a run if there is one.

    Parameters
    ----------
    group : Group
    identity : dict
        What must be the same in all processes.
    begin : callable
        Returns the seed, what else all must know (JSON-safe), and the run at rest or None; called
        only in the first process.

    Raises
    ------
    ValueError
        If the processes have other parameters or data.
    """
    if group.size == 1:
        return begin()
    arrays: dict[str, np.ndarray] = {}

    def choose():
        seed, values, run = begin()
        plain = None
        if run is not None:
            found, plain = run.to_plain()
            arrays.update(found)
        shapes = {name: [array.dtype.str, array.shape] for name, array in arrays.items()}
        return {
            "identity": joblib.hash(identity),
            "seed": seed,
            "values": values,
            "run": plain,
            "arrays": shapes,
        }

    chosen = group.decide(choose)
    if group.any(chosen["identity"] != joblib.hash(identity)):
        raise ValueError(
            "X, y, sample_weight and the parameters must be the same in all processes of a run."
        )
    for name, (dtype, shape) in chosen["arrays"].items():
        arrays[name] = group.broadcast(arrays.get(name, np.empty(shape, dtype)))
    run = None if chosen["run"] is None else Run.from_plain(arrays, chosen["run"])
    return chosen["seed"], chosen["values"], run
