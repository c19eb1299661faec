"""The part of the training data on which the iterates of a run are judged."""

from dataclasses import dataclass

import numpy as np
from sklearn.model_selection import train_test_split

from .distilled import DistilledDataset
from .evaluation import evaluate

__all__ = ["HeldOut", "hold_out"]

# Networks that judge an iterate. They are the same ones each time, so that iterates are compared on
# equal terms.
_N_NETWORKS = 3


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Samples with their labels that a run is not trained on."""

    X: np.ndarray
    y: np.ndarray

    def accuracy(self, distilled: DistilledDataset, architecture, augmentation, device) -> float:
        """Return the mean accuracy of networks that a distilled set trains."""
        return evaluate(
            distilled,
            self.X,
            self.y,
            n_networks=_N_NETWORKS,
            architecture=architecture,
            augmentation=augmentation,
            device=device,
        ).mean


def hold_out(fraction: float | None, X, y, weight, classes, seed: int):
    """Return training data and, unless ``fraction`` is None, a stratified part of it held out."""
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
    return X[rows], y[rows], weight, HeldOut(X[rows_out], classes[y[rows_out]])
