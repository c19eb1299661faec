"""What identifies a run, in words that a file can hold and an error can show."""

import re
from collections.abc import Collection, Mapping
from functools import partial
from math import isfinite
from numbers import Integral, Real

import joblib
import numpy as np

from .._data.older_versions import RENAMED_PARAMETERS, parameter_defaults
from .._engine.learner import Learner
from .._files.formats import NETWORK_SCORES, VALIDATION
from ..distilled._dataset import DistilledDataset
from ..learning_rates import resolve_rate_schedule
from .network_scores import same_scores, to_distill_through

__all__ = [
    "BEGINNING",
    "DATA",
    "OF_VALIDATION",
    "complete",
    "describe_defaults",
    "describe_value",
    "differences",
    "identify",
]

# What a run cannot change even where another parameter may: the samples that it started from, which
# are part of its result, and how fast each of them moves.
BEGINNING = ("init", "start", "learning_rate_factors")

# What a run was trained on. It is an error's words, too.
DATA = "X, y and sample_weight"

# What only a run that is validated says.
OF_VALIDATION = ("eval_steps", VALIDATION)


def identify(
    kind: type,
    parameters: Mapping,
    may_change: Collection[str],
    learner: Learner | None,
    scores: list[float] | None,
    provenance: dict,
    start: DistilledDataset | None,
    factors: np.ndarray | None,
    split_seed: int | None,
) -> dict:
    """Return what makes a run this one, as JSON can say it.

    Parameters
    ----------
    kind : type
        The distiller's class.
    parameters : mapping
        Its parameters, with numbers instead of "auto".
    may_change : collection of str
        Names of those that the samples do not depend on.
    learner : Learner or None
        The networks, if the method has any.
    scores : list of float or None
        What the network computes (`describe_scores`).
    provenance : dict
        What tells the data from others.
    start : DistilledDataset or None
        The set whose samples come first.
    factors : ndarray or None
        What multiplies the learning rates.
    split_seed : int or None
        As in `Given`.
    """
    architecture = to_distill_through(parameters)
    # A function may have been rewritten under its name.
    module = None if isinstance(architecture, str) or learner is None else learner.module
    # Without validation, networks are evaluated after the run alone.
    others = {*may_change, *(["eval_steps"] if parameters["validation_fraction"] is None else [])}
    rates = parameters["learning_rate_schedule"]
    if resolve_rate_schedule(rates).uses_max_iter:
        # Otherwise max_iter says how far a run goes, and not what its steps are.
        rates = {"schedule": rates, "max_iter": parameters["max_iter"]}
    identity = {
        "the distiller": kind,
        **{name: value for name, value in parameters.items() if name not in others},
        "learning_rate_schedule": rates,
        "the network": None if module is None else repr(module),
        DATA: provenance,
        "start": start if start is not parameters["init"] else None,
        "learning_rate_factors": None if factors is None else factors.tolist(),
    }
    if scores is not None:
        identity[NETWORK_SCORES] = scores
    if parameters["validation_fraction"] is not None:
        identity[VALIDATION] = {"networks": "of its own", "seed of the part": split_seed}
    return describe_value(identity)


def describe_value(value):
    """Return what identifies the value of a parameter, in a form that JSON can hold.

    Functions are identified by their names, objects with parameters by those, others by a hash.
    """
    if value is None or isinstance(value, str | bool):
        return value
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real):
        number = float(value)  # of a Fraction, too
        return number if isfinite(number) else str(number)
    if isinstance(value, list | tuple):
        return [describe_value(v) for v in value]
    if isinstance(value, Mapping):
        return {str(k): describe_value(v) for k, v in value.items()}
    if isinstance(value, partial):
        parts = value.func, value.args, value.keywords
        return {"functools.partial": [describe_value(part) for part in parts]}
    if hasattr(value, "__qualname__"):
        return _placeless(f"{value.__module__}.{value.__qualname__}")
    kind = describe_value(type(value))
    if hasattr(value, "get_params"):
        return {kind: describe_value(value.get_params(deep=False))}
    if isinstance(value, DistilledDataset):
        # Without its provenance, whose seconds and paths differ between equal sets.
        # In one order, because the hash has that of the memory.
        arrays = tuple(map(np.ascontiguousarray, (value.X, value.y)))
        return {kind: joblib.hash((*arrays, tuple(map(vars, value.bases))))}
    try:
        return {kind: joblib.hash(value)}
    except Exception:
        # Values that cannot be pickled may raise any error.
        return kind


def _placeless(name: str) -> str:
    """Return the name of a class of this package without its module, which may change."""
    return re.sub(r"^skdistill\.(?:\w+\.)*([A-Z]\w*)$", r"skdistill.\1", name)


def describe_defaults(value) -> dict[str, dict]:
    """Return the defaults of all objects with parameters in a value, by class and parameter.

    Objects may be nested in parameters, lists and tuples.
    """
    if isinstance(value, list | tuple):
        parts, found = value, {}
    elif hasattr(value, "get_params") and not isinstance(value, type):
        parts = value.get_params(deep=False).values()
        found = {describe_value(type(value)): describe_value(parameter_defaults(type(value)))}
    else:
        return {}
    for part in parts:
        found |= describe_defaults(part)
    return found


def complete(described, defaults: Mapping[str, Mapping]):
    """Return the description by an older version, completed by later parameters.

    Parameters
    ----------
    described : JSON-safe value
        The output of `describe_value`.
    defaults : mapping of str to mapping
        The output of `describe_defaults`.
    """
    if isinstance(described, str):
        return _placeless(described)
    if isinstance(described, list):
        return [complete(part, defaults) for part in described]
    if not isinstance(described, dict):
        return described
    whole = {_placeless(name): complete(part, defaults) for name, part in described.items()}
    for kind, names in RENAMED_PARAMETERS.items():
        if isinstance(whole.get(kind), dict):
            whole[kind] = {names.get(name, name): part for name, part in whole[kind].items()}
    for kind in whole.keys() & defaults.keys():
        if isinstance(whole[kind], dict):
            whole[kind] = {**defaults[kind], **whole[kind]}
    return whole


def differences(saved: dict, current: dict) -> list[str]:
    """Return "name must be ...; got ..." for all in which a saved run differs."""
    texts = []
    for name in {**current, **saved}:
        if name == NETWORK_SCORES and same_scores(saved.get(name), current.get(name)):
            continue
        if name not in current or name not in saved or current[name] != saved[name]:
            pair = [repr(values.get(name, "absent")) for values in (saved, current)]
            texts.append("{} must be {}; got {}".format(name, *_where_they_differ(pair)))
    return texts


def _where_they_differ(texts: list[str]) -> list[str]:
    """Return texts or, if they are long, excerpts that show the first difference."""
    if max(map(len, texts)) <= 200:
        return texts
    first = next((i for i, (a, b) in enumerate(zip(*texts)) if a != b), min(map(len, texts)))
    start = max(0, first - 60)
    return [f"...{text[start : start + 160]}..." for text in texts]
