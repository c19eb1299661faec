"""What the layers of a network do not tell: how weights are drawn, and what a user's own computes.

A function may be rewritten under its name, and the layers of a network do not tell what its
``forward`` does with them.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from .._engine.learner import Learner
from ..evaluation._plain_architecture import to_plain
from ..networks import Architecture

__all__ = [
    "TAKEN_FOR_GRANTED",
    "describe_initialization",
    "describe_scores",
    "same_scores",
    "to_distill_through",
]

# Of samples, and at most of their scores.
_N_SAMPLES, _N_SCORES = 4, 64
# Devices, machines and versions of torch agree to a thousandth, even where products are rounded to
# ten bits.
_TOLERANCE = 0.01
# How weights are drawn: the default of the package's networks, and those of the user, whose scores
# tell more.
_USUAL, _OWN = "torch", "that of a network of your own"
# What a cache of before, which does not say it, is taken to be of.
TAKEN_FOR_GRANTED = (None, _USUAL, _OWN)


def to_distill_through(parameters: Mapping[str, Any]) -> str | Architecture:
    """Return the architecture that a distiller with these parameters distills through."""
    inner = parameters["inner_architecture"]
    return parameters["architecture"] if inner is None else inner


@torch.no_grad()
def describe_scores(
    place: object, parameters: Mapping[str, Any], learner: Learner | None, shape: tuple[int, ...]
) -> list[float] | None:
    """Return the scores that a network gives a few samples, if it is one of the user's.

    None is for networks of the package, which have tests that they remain what they are; for
    networks that not even the seed determines; and if there is no place (None) where a later run
    could find them.

    Parameters
    ----------
    place : path or None
    parameters : mapping
        Those of the distiller.
    learner : Learner or None
    shape : tuple of int
        Shape of a sample.
    """
    if place is None or learner is None or to_plain(to_distill_through(parameters)) is not None:
        return None
    theta = learner.init(0)
    if not torch.equal(theta, learner.flat(learner.module)):
        return None
    # Near these: a last layer of zeros would hide what is before it.
    # In the precision of the parameters: others are rounded so much that machines differ.
    X, near = learner.probes(_N_SAMPLES, shape), learner.parameters(learner.near(theta))
    scores = torch.func.functional_call(learner.module, near, (X,))
    return [float(f"{score:.6g}") for score in scores.flatten()[:_N_SCORES].tolist()]


def describe_initialization(parameters: Mapping[str, Any], learner: Learner | None) -> str | None:
    """Return how the weights of the networks to distill through are drawn; None without networks.

    Of what the package's networks may be told, it is all that changes no layer.

    Parameters
    ----------
    parameters : mapping
        Those of the distiller.
    learner : Learner or None
    """
    if learner is None:
        return None
    plain = to_plain(to_distill_through(parameters))
    if plain is None:
        return _OWN
    return _USUAL if isinstance(plain, str) else plain.get("initialization", _USUAL)


def same_scores(saved: object, current: object) -> bool:
    """Return whether two descriptions may be those of one network; one that lacks fits all.

    So a run of an older version goes on, whose identity has none.
    """
    if saved is None or current is None:
        return True
    try:
        # Of a file, which may hold anything.
        before, now = (np.array(scores, dtype=np.float64) for scores in (saved, current))
    except (TypeError, ValueError):
        return False
    if before.shape != now.shape:
        return False
    size = np.abs(now[np.isfinite(now)]).max(initial=0)
    return np.allclose(before, now, rtol=0, atol=_TOLERANCE * size, equal_nan=True)
