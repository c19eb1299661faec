"""Shared by this folder: whether networks are right while they train, and checks."""

from collections.abc import Iterator, Sequence
from numbers import Integral

import numpy as np
import torch
from numpy.typing import ArrayLike

from .._engine.data import RealData
from ..distilled._dataset import DistilledDataset
from ..evaluation._networks import (
    NOT_FINITE,
    RIGHT,
    NetworkFamily,
    TrainingSamples,
    judge,
    network_family,
    train_networks,
    warn_of_divergence,
)
from ..networks import Architecture

__all__ = ["check_count", "check_scores", "correct_while_training", "family_of"]


def family_of(
    distilled: DistilledDataset, architecture: str | Architecture | None, device: str | torch.device
) -> NetworkFamily:
    """Return the networks of this architecture, or of the recipe's."""
    recipe = distilled.recipe
    return network_family(
        distilled, recipe.architecture if architecture is None else architecture, device
    )


def correct_while_training(
    family: NetworkFamily,
    training: TrainingSamples,
    n_networks: int,
    counts: Sequence[int],
    data: RealData,
) -> Iterator[tuple[int, int, np.ndarray]]:
    """Yield network and position in counts, as `train_networks` does, and whether it is right."""
    diverged = set()
    for k, j, theta in train_networks(family, training, n_networks, counts):
        verdicts = judge(family, theta, data).cpu().numpy()
        if (verdicts == NOT_FINITE).any():
            diverged.add(k)
        yield k, j, verdicts == RIGHT
    warn_of_divergence(len(diverged), n_networks)


def check_count(name: str, value: object, least: int) -> None:
    """Raise ValueError unless a value is an integer of at least ``least``."""
    if not isinstance(value, Integral) or int(value) < least:
        raise ValueError(f"{name} must be an integer of at least {least}; got {value!r}.")


def check_scores(scores: ArrayLike, n: int | None) -> np.ndarray:
    """Return scores as an array of finite numbers, or raise a ValueError."""
    scores = np.asarray(scores, dtype=np.float64)
    if scores.ndim != 1 or (n is not None and len(scores) != n):
        shape = "(n,)" if n is None else f"({n},), one score per sample"
        raise ValueError(f"scores must be of shape {shape}; got shape {scores.shape}.")
    if not np.isfinite(scores).all():
        raise ValueError("scores must be finite; got NaN or infinity.")
    return scores
