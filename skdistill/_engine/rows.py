"""Which rows are of which class: in a synthetic set, and in batches of real samples."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class ClassRows:
    """The order of a synthetic set: the first sample of every class, then the second, and so on.

    Prefixes hold equally many of each class.

    Parameters
    ----------
    n_classes, ipc : int
        How many classes, and samples per class.
    """

    n_classes: int
    ipc: int

    def __len__(self) -> int:
        return self.n_classes * self.ipc

    def labels(self, device: torch.device | str = "cpu") -> Tensor:
        """Return the class index of each row."""
        return torch.arange(self.n_classes, device=device).repeat(self.ipc)

    def by_class(self, X: Tensor) -> Tensor:
        """Return rows as ``(ipc, n_classes, ...)``."""
        return X.unflatten(0, (self.ipc, self.n_classes))

    def spread(self, per_rank: np.ndarray) -> np.ndarray:
        """Return for each row the value given for its position within its class."""
        return np.repeat(per_rank, self.n_classes)


def rows_by_class(y: Tensor, n_classes: int) -> list[np.ndarray]:
    """Return the rows of each class among these class indices."""
    labels = y.cpu().numpy()
    return [np.flatnonzero(labels == c) for c in range(n_classes)]


def balanced_batch(
    by_class: Sequence[np.ndarray], n_per_class: int, rng: np.random.Generator
) -> np.ndarray:
    """Return ``n_per_class`` rows of each class at random; a class that has fewer gives all."""
    return np.concatenate(
        [
            rows if len(rows) <= n_per_class else rng.choice(rows, n_per_class, replace=False)
            for rows in by_class
        ]
    )
