"""The order of synthetic samples: the first of every class, then the second of every class..."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class ClassRows:
    """Which rows of a synthetic set belong to which class: prefixes hold equally many of each.

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
