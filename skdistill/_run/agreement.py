"""Whether a saved run is the one that a fit may continue."""

import os
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from .._data.fingerprint import updated
from .._data.older_versions import said_auto
from .._data.seeds import draw_seed
from .._files.formats import VALIDATION
from .identity import DATA, OF_VALIDATION, complete, differences
from .state import Run

__all__ = ["agreed", "completed", "further_run"]


def completed(
    saved: dict,
    current: dict,
    defaults: Mapping[str, Mapping],
    data_before: Callable[[], dict | None],
) -> dict:
    """Return a run's identity as this version would write it: with later parameters, for instance.

    Parameters
    ----------
    saved, current : dict
        Outputs of `identify`: that in the file, and that of the fit.
    defaults : mapping of str to mapping
        The output of `describe_defaults`.
    data_before : callable
        Returns what an older version says of the data, or None if that is nothing else.
    """
    saved, kind = complete(saved, defaults), current.get("the distiller")
    if saved.get("the distiller") != kind:
        return saved
    if DATA in saved and DATA in current:
        saved[DATA] = updated(saved[DATA], current[DATA], data_before)
    saved |= said_auto(saved, current)
    of_kind = defaults.get(kind, {})
    later = {name: of_kind[name] for name in of_kind.keys() & current.keys()}
    if VALIDATION in current:
        later[VALIDATION] = None
    return {**later, **saved}


def agreed(path: Path, saved: dict, current: dict, open_names: Collection[str]) -> dict:
    """Return the identity of a run that continues, or raise ValueError if the saved one differs.

    Parameters
    ----------
    path : Path
        The file's path.
    saved, current : dict
        Identities: that in the file, and that of the fit.
    open_names : collection of str
        Names in it that the user left open: the saved values hold.
    """
    taken = {
        name: saved[name] for name in open_names if type(saved.get(name)) is type(current[name])
    }
    current = {**current, **taken}
    if VALIDATION in current and saved.get(VALIDATION, current) is None:
        current[VALIDATION] = None
    fractions = [values.get("validation_fraction") for values in (saved, current)]
    # Of a run that is validated and one that is not, the fraction tells all.
    untold = OF_VALIDATION if None in fractions else ()
    texts = differences(
        *({k: v for k, v in values.items() if k not in untold} for values in (saved, current))
    )
    if texts:
        raise ValueError(
            f"{'; '.join(texts)}; as in the run that checkpoint={os.fspath(path)!r} holds. "
            "Give another path to begin a new run."
        )
    return current


def further_run(
    saved: Run | None, earlier: Run | None, random_state, max_iter: int, name: str
) -> Run | None:
    """Return the saved run, or that of an earlier fit if that has done more steps.

    Parameters
    ----------
    saved, earlier : Run or None
    random_state, max_iter
        The distiller's parameters.
    name : str
        How errors name the checkpoint.

    Raises
    ------
    ValueError
        If the saved run was begun with another seed, or has gone beyond ``max_iter``.
    """
    if saved is None:
        return earlier
    if earlier is not None:
        seed = earlier.seed
    else:
        seed = saved.seed if random_state is None else draw_seed(random_state)
    if seed != saved.seed:
        raise ValueError(
            f"random_state={random_state!r} must be what the run in {name} was begun with, "
            f"which gave the seed {saved.seed}; got the seed {seed}. (A RandomState gives "
            "another seed each time.) Give another path to begin a new run."
        )
    if max_iter < saved.step:
        raise ValueError(
            f"max_iter={max_iter} must be at least {saved.step}, the outer steps done in the "
            f"run in {name}. Give another path to begin a new run."
        )
    return earlier if earlier is not None and earlier.step > saved.step else saved
