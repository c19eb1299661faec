"""Shared by this folder: whether networks are right while they train, and checks."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from math import prod
from numbers import Real
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike

from .._data.seeds import draw_seed
from .._data.training import check_training_data, training_data
from .._data.validation import check_count, check_image_shape
from .._engine.data import RealData
from .._engine.runtime import chunk_size, resolve_device
from ..distilled._dataset import DistilledDataset
from ..distilled._protocol import TrainingProtocol
from ..evaluation._network_checks import make_learner
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
from ..evaluation._papers import warn_of_negative_labels
from ..networks import Architecture

__all__ = [
    "RealTraining",
    "check_scores",
    "correct_while_training",
    "family_of",
    "training_on_real_samples",
]


@dataclass(frozen=True, eq=False)
class RealTraining:
    """The training of networks on all samples of a training set.

    Parameters
    ----------
    family : NetworkFamily
    training : TrainingSamples
    counts : list of int
        The steps done after each epoch.
    real : RealData
        The samples, on which the networks are tested.
    classes : ndarray of shape (n_classes,)
    """

    family: NetworkFamily
    training: TrainingSamples
    counts: list[int]
    real: RealData
    classes: np.ndarray


def training_on_real_samples(
    estimator: Any,
    X: ArrayLike,
    y: ArrayLike,
    *,
    architecture: str | Architecture,
    image_shape: Sequence[int] | None,
    n_networks: int,
    n_epochs: int,
    least_epochs: int,
    batch_size: int,
    learning_rate: float,
    random_state: int | np.random.RandomState | None,
    device: str | torch.device,
) -> RealTraining:
    """Return the training of networks on all samples, or raise a ValueError.

    Parameters
    ----------
    estimator : BaseEstimator
        It gets the names and the number of features.
    X, y, architecture, image_shape, n_networks, n_epochs
    least_epochs : int
        The least that `n_epochs` may be.
    batch_size, learning_rate, random_state, device
        As for `skdistill.hardness.forgetting_scores`.
    """
    check_count("n_networks", n_networks, 1)
    check_count("n_epochs", n_epochs, least_epochs)
    check_count("batch_size", batch_size, 1)
    if not (isinstance(learning_rate, Real) and 0 < learning_rate < np.inf):
        raise ValueError(f"learning_rate must be a positive number; got {learning_rate!r}.")
    device = resolve_device(device)
    X, y, _, classes, layout = check_training_data(
        estimator, X, y, None, check_image_shape(image_shape), 1
    )
    # Of images, scikit-learn has counted the first axis alone.
    estimator.n_features_in_ = prod(layout.user_shape)
    data = training_data(X, y, None, classes, layout, device, {})
    # As in an epoch of the mini-batches that `train_networks` draws, a remainder is left out.
    epoch = len(X) // min(batch_size, len(X))
    learner = make_learner(architecture, layout.network_shape, len(classes), device)
    family = NetworkFamily(learner, chunk_size(learner, layout.network_shape))
    protocol = TrainingProtocol(epoch * n_epochs, float(learning_rate), batch_size)
    samples, index, *_ = data.real.batch(np.arange(len(X)))
    training = TrainingSamples(samples, index, protocol, draw_seed(random_state))
    counts = [epoch * k for k in range(1, n_epochs + 1)]
    return RealTraining(family, training, counts, data.real, classes)


def family_of(
    distilled: DistilledDataset, architecture: str | Architecture | None, device: str | torch.device
) -> NetworkFamily:
    """Return the networks of this architecture, or of the recipe's.

    Warns, as an evaluation does, of labels for which their loss has no minimum.
    """
    warn_of_negative_labels(distilled)
    return network_family(distilled, architecture, device)


def correct_while_training(
    family: NetworkFamily,
    training: TrainingSamples,
    n_networks: int,
    counts: Sequence[int],
    data: RealData,
) -> Iterator[tuple[int, int, np.ndarray]]:
    """Yield network and position in counts, as `train_networks` does, and whether it is right."""
    diverged, visit = set(), partial(judge, data=data)
    for k, j, verdicts in train_networks(family, training, n_networks, counts, visit):
        verdicts = verdicts.cpu().numpy()
        if (verdicts == NOT_FINITE).any():
            diverged.add(k)
        yield k, j, verdicts == RIGHT
    warn_of_divergence(len(diverged), n_networks)


def check_scores(scores: ArrayLike, n: int | None) -> np.ndarray:
    """Return scores as an array of finite numbers, or raise a ValueError."""
    scores = np.asarray(scores, dtype=np.float64)
    if scores.ndim != 1 or (n is not None and len(scores) != n):
        shape = "(n,)" if n is None else f"({n},), one score per sample"
        raise ValueError(f"scores must be of shape {shape}; got shape {scores.shape}.")
    if not np.isfinite(scores).all():
        raise ValueError("scores must be finite; got NaN or infinity.")
    return scores
