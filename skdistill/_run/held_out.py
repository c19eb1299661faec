"""The part of the training data on which the samples of a run are validated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from time import perf_counter
from typing import Any, Literal

import numpy as np
from sklearn.model_selection import train_test_split
from torch import Tensor

from .._data.rows import Rows, whole_and_rows
from .._data.training import TrainingData
from .._engine.data import RealData, as_tensor
from .._engine.group import join_group
from .._engine.protocols import loss_of
from .._engine.runtime import chunk_size
from .._engine.streams import Streams
from ..augmentation import check_augmentation
from ..distilled._protocol import TrainingProtocol
from ..evaluation._network_checks import make_learner
from ..evaluation._networks import (
    NetworkFamily,
    TrainingSamples,
    accuracy_curve,
    judge,
    train_networks,
    warn_of_divergence,
)

__all__ = ["HeldOut", "hold_out", "seed_of_networks"]

# Networks that validate samples. They are the same each time, so that the comparison is fair.
_N_NETWORKS = 3
# Steps of training from which the time of many is told.
_FEW, _MORE = 2, 12


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Samples that a run is not trained on, and the networks that are tested on them.

    Parameters
    ----------
    family : NetworkFamily
    real : RealData
    protocol : TrainingProtocol
    seed : int
        Of the networks.
    sample_weight : ndarray of shape (n,) or None
        Weights of the samples in the accuracy.
    """

    family: NetworkFamily
    real: RealData
    protocol: TrainingProtocol
    seed: int
    sample_weight: np.ndarray | None

    @classmethod
    def of(
        cls,
        X: np.ndarray | Rows,
        y: np.ndarray,
        sample_weight: np.ndarray | None,
        real: TrainingData,
        seed: int,
        parameters: Mapping[str, Any],
        loss: Literal["cross-entropy", "mse"],
    ) -> HeldOut:
        """Return held-out samples with their class indices and weights, as networks see them.

        Parameters
        ----------
        X, y, sample_weight
            The held-out samples, their class indices and weights.
        real : TrainingData
            The data of the run.
        seed : int
            Of the networks.
        parameters : mapping
            Those of the distiller.
        loss : {"cross-entropy", "mse"}
        """
        layout = real.layout
        # Not the learner of the run, whose precision may differ.
        learner = make_learner(
            parameters["architecture"],
            layout.network_shape,
            len(real.classes),
            real.device,
            check=False,
        )
        learner.criterion = loss_of(loss)
        augmentation = check_augmentation(parameters["augmentation"], layout.network_shape)
        family = NetworkFamily(
            learner, chunk_size(learner, layout.network_shape), augmentation=augmentation
        )
        whole, rows = whole_and_rows(X)
        samples = as_tensor(layout.to_engine(whole))
        held = RealData(
            samples,
            as_tensor(y),
            real.standardizer,
            real.device,
            rows=rows,
            on_host=real.real.on_host,
        )
        protocol = TrainingProtocol(int(parameters["eval_steps"]), loss=loss)
        return cls(family, held, protocol, seed, sample_weight)

    def accuracy(self, X: Tensor, y: Tensor, changes: Mapping[str, Any]) -> float:
        """Return the mean accuracy of networks trained on standardized samples.

        ``changes`` are those of the method in the protocol, see `Method.protocol`.
        """
        training = TrainingSamples(X, y, replace(self.protocol, **changes), self.seed)
        counts = [self.protocol.steps]
        curve, n_diverged = accuracy_curve(
            self.family, training, _N_NETWORKS, counts, self.real, self.sample_weight
        )
        warn_of_divergence(n_diverged, _N_NETWORKS)
        return float(curve[:, -1].mean())

    def seconds(self, X: Tensor, y: Tensor, changes: Mapping[str, Any]) -> float:
        """Return about how long `accuracy` takes; networks are trained for a few steps only.

        Of several processes each may ask by itself.
        """
        training = TrainingSamples(X, y, replace(self.protocol, **changes), self.seed)
        group, taken = join_group(), {}
        mine, visit = range(_N_NETWORKS)[group.rank :: group.size], partial(judge, data=self.real)
        # The first time is not counted.
        for steps in (_FEW, _FEW, _MORE):
            began = perf_counter()
            counts = [min(steps, self.protocol.steps)]
            for *_, verdicts in train_networks(self.family, training, mine, counts, visit):
                verdicts.cpu()  # waits for a GPU
            taken[steps] = perf_counter() - began
        per_step = max(0.0, taken[_MORE] - taken[_FEW]) / (_MORE - _FEW)
        return taken[_MORE] + per_step * max(0, self.protocol.steps - _MORE)


def seed_of_networks(seed: int) -> int:
    """Return the seed of the networks that validate a run of this seed.

    Those of the run's seed are the networks that `score` trains: samples must not be chosen by
    them.
    """
    return Streams(seed).integer("validation", 0)


def hold_out(
    fraction: float | None, y: np.ndarray, n_classes: int, ipc: int, seed: int
) -> tuple[np.ndarray, np.ndarray] | None:
    """Return which rows are trained on and, stratified, which are held out; None for no fraction.

    Raises
    ------
    ValueError
        If there are too few samples for that, or if ``ipc`` samples per class are more than those
        that are trained on.
    """
    if fraction is None:
        return None
    try:
        rows, rows_out = train_test_split(
            np.arange(len(y)), test_size=fraction, stratify=y, random_state=seed % 2**32
        )
    except ValueError as error:
        raise ValueError(
            f"validation_fraction={fraction} must leave samples of every class on both sides: "
            f"{error}"
        ) from error
    if ipc * n_classes > len(rows):
        raise ValueError(
            f"ipc={ipc} must be at most {len(rows) // n_classes}: a distilled set of {ipc} x "
            f"{n_classes} classes would be larger than the {len(rows)} training samples that "
            f"validation_fraction={fraction} leaves."
        )
    return rows, rows_out
