"""What networks that are trained on a set answer for test samples."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch

from .._engine.settings import own_settings
from ..augmentation import Augmentation
from ..distilled._dataset import DistilledDataset
from ..evaluation._networks import (
    NOT_FINITE,
    answers,
    network_family,
    train_networks,
    training_samples,
)
from ..evaluation._protocol import EvaluationResult
from ..networks import Architecture

__all__ = ["Answers", "train_and_ask"]


@dataclass(frozen=True, eq=False)
class Answers:
    """Answers of several networks.

    Parameters
    ----------
    indices : ndarray of int, of shape (n_networks, n)
        The class that each network takes each test sample for, or `NOT_FINITE`.
    y : ndarray of int, of shape (n,)
        The class indices of the test samples, -1 for labels that are no classes.
    n_classes : int
    steps : int
        Steps for which the networks were trained.
    n_samples : int
        Samples that they were trained on.
    """

    indices: np.ndarray
    y: np.ndarray
    n_classes: int
    steps: int
    n_samples: int

    @property
    def right(self) -> np.ndarray:
        """Whether each network is right about each sample, of shape (n_networks, n)."""
        return (self.indices == self.y) & (self.y >= 0)

    @property
    def has_diverged(self) -> np.ndarray:
        """Whether some scores of each network are not finite, of shape (n_networks,)."""
        return (self.indices == NOT_FINITE).any(axis=1)

    @property
    def result(self) -> EvaluationResult:
        """The networks' test accuracy, as `skdistill.evaluation.evaluate` has it."""
        accuracies = self.right.mean(axis=1)
        return EvaluationResult(
            accuracies,
            np.array([self.steps]),
            accuracies[:, None],
            self.n_samples,
            int(self.has_diverged.sum()),
        )


@own_settings()
def train_and_ask(
    distilled: DistilledDataset,
    X: np.ndarray,
    y: np.ndarray,
    n_networks: int,
    architecture: str | Architecture | dict[str, Any] | None,
    augmentation: str | Augmentation | None,
    device: str | torch.device,
) -> Answers:
    """Train fresh networks by a set's recipe, those of an evaluation, and ask them.

    Parameters
    ----------
    distilled : DistilledDataset
    X, y : ndarray
        Test samples and their class indices, as `check_test_data` returns them.
    n_networks : int
    architecture, augmentation, device
        As in `skdistill.evaluation.evaluate`.
    """
    family = network_family(distilled, architecture, device, augmentation)
    visit = partial(answers, data=family.data(X, y))
    training, steps = training_samples(family, distilled), distilled.recipe.steps
    indices = [
        seen.cpu().numpy()
        for *_, seen in train_networks(family, training, n_networks, [steps], visit)
    ]
    return Answers(np.stack(indices), y, len(distilled.classes), steps, len(distilled))
