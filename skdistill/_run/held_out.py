"""The part of the training data on which the samples of a run are validated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from sklearn.model_selection import train_test_split
from torch import Tensor

from .._data.rows import Rows, take, whole_and_rows
from .._data.training import TrainingData
from .._engine.data import RealData, as_tensor
from .._engine.protocols import loss_of
from .._engine.runtime import chunk_size
from ..augmentation import check_augmentation
from ..distilled._protocol import TrainingProtocol
from ..evaluation._network_checks import make_learner
from ..evaluation._networks import (
    NetworkFamily,
    TrainingSamples,
    accuracy_curve,
    warn_of_divergence,
)

__all__ = ["HeldOut", "hold_out"]

# Networks that validate samples. They are the same each time, so that the comparison is fair.
_N_NETWORKS = 3


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Samples that a run is not trained on, and the networks that are tested on them.

    Parameters
    ----------
    family : NetworkFamily
    real : RealData
    protocol : TrainingProtocol
    seed : int
    """

    family: NetworkFamily
    real: RealData
    protocol: TrainingProtocol
    seed: int

    @classmethod
    def of(
        cls,
        X: np.ndarray | Rows,
        y: np.ndarray,
        real: TrainingData,
        seed: int,
        steps: int,
        architecture,
        augmentation,
        loss: Literal["cross-entropy", "mse"],
    ) -> HeldOut:
        """Return held-out samples with their class indices, and the data of the run."""
        layout = real.layout
        # Not the learner of the run, whose precision may differ.
        learner = make_learner(
            architecture, layout.network_shape, len(real.classes), real.device, check=False
        )
        learner.criterion = loss_of(loss)
        augmentation = check_augmentation(augmentation, layout.network_shape)
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
        return cls(family, held, TrainingProtocol(int(steps), loss=loss), seed)

    def accuracy(self, X: Tensor, y: Tensor, changes: Mapping[str, Any]) -> float:
        """Return the mean accuracy of networks trained on standardized samples.

        ``changes`` are those of the method in the protocol, see `Method.protocol`.
        """
        training = TrainingSamples(X, y, replace(self.protocol, **changes), self.seed)
        counts = [self.protocol.steps]
        curve, n_diverged = accuracy_curve(self.family, training, _N_NETWORKS, counts, self.real)
        warn_of_divergence(n_diverged, _N_NETWORKS)
        return float(curve[:, -1].mean())


def hold_out(
    fraction: float | None,
    X: np.ndarray | Rows,
    y: np.ndarray,
    weight: np.ndarray | None,
    seed: int,
) -> tuple[np.ndarray | Rows, np.ndarray, np.ndarray | None, tuple[Rows, np.ndarray] | None]:
    """Return training data and, unless ``fraction`` is None, a stratified held-out part of it.

    Both are rows of ``X``, which is not copied. The held-out part is samples and their class
    indices.
    """
    if fraction is None:
        return X, y, weight, None
    try:
        rows, rows_out = train_test_split(
            np.arange(len(y)), test_size=fraction, stratify=y, random_state=seed % 2**32
        )
    except ValueError as error:
        raise ValueError(
            f"validation_fraction={fraction} must leave samples of every class on both sides: "
            f"{error}"
        ) from error
    weight = None if weight is None else weight[rows]
    return take(X, rows), y[rows], weight, (take(X, rows_out), y[rows_out])
