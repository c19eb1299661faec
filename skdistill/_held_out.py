"""The part of the training data on which the iterates of a run are judged."""

from dataclasses import dataclass

import numpy as np
from sklearn.model_selection import train_test_split

from ._rows import Rows, take
from .distilled import DistilledDataset
from .evaluation import evaluate_checked

__all__ = ["HeldOut", "hold_out"]

# Networks that judge an iterate. They are the same ones each time, so that iterates are compared on
# equal terms.
_N_NETWORKS = 3


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Samples with their class indices that a run is not trained on."""

    X: Rows
    y: np.ndarray

    def accuracy(self, distilled: DistilledDataset, architecture, augmentation, device) -> float:
        """Return the mean accuracy of networks that a distilled set trains."""
        return evaluate_checked(
            distilled,
            self.X,
            self.y,
            n_networks=_N_NETWORKS,
            architecture=architecture,
            augmentation=augmentation,
            device=device,
        ).mean


def hold_out(fraction: float | None, X, y, weight, seed: int):
    """Return training data and, unless ``fraction`` is None, a stratified part of it held out.

    Both are rows of ``X``, which is not copied.
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
    return take(X, rows), y[rows], weight, HeldOut(take(X, rows_out), y[rows_out])
