"""The result of a distillation: samples, labels, and how to evaluate them. Needs no torch."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from ._layout import Layout

__all__ = ["DistilledDataset", "EvaluationRecipe"]


@dataclass(frozen=True)
class EvaluationRecipe:
    """How networks are trained on a distilled set, fixed before any test data is seen.

    Parameters
    ----------
    layout : Layout
        The samples' shape as the user has it and as networks see it.
    mean, scale : tuple of float
        Mean and standard deviation of the training set, one value a channel (images) or feature
        (tables), with which samples are standardised before a network sees them.
    architecture : str or None
        Name of the network family; None if it was a callable of the user's, which is not saved.
    steps : int
        Steps of Adam, learning rate `learning_rate`, that train each network.
    n_networks : int
        Freshly initialised networks over which accuracy is averaged.
    learning_rate : float
        0.001, as in Appendix C.1 of the paper.
    batch_size : int
        Sets with more samples than this are trained on in mini-batches of this size.
    seed : int
        Determines the networks' initialisations and mini-batches.
    """

    layout: Layout
    mean: tuple[float, ...]
    scale: tuple[float, ...]
    architecture: str | None
    steps: int
    n_networks: int = 10
    learning_rate: float = 0.001
    batch_size: int = 256
    seed: int = 0


@dataclass(frozen=True, eq=False)
class DistilledDataset:
    """Synthetic samples with their labels, and the recipe to evaluate them.

    Rows are ordered so that the first ``k * n_classes`` are ``k`` samples of every class.

    Parameters
    ----------
    X : ndarray of shape (n_classes * ipc, ...)
        Synthetic samples in the units, shape and layout of the training data.
    y : ndarray of shape (n_classes * ipc,) or (n_classes * ipc, n_classes)
        Labels, or learned soft labels with one column a class.
    classes : ndarray of shape (n_classes,)
        The class labels, sorted.
    ipc : int
        Samples a class ("images per class").
    recipe : EvaluationRecipe
        How to train networks on the samples.
    provenance : mapping
        Where the samples come from: method, parameters, versions, steps, seconds (JSON-safe).

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skdistill import RaTBPTTDistiller
    >>> X, y = load_iris(return_X_y=True)
    >>> distilled = RaTBPTTDistiller(ipc=2, max_iter=2, window=2, unroll=4).fit(X, y).distilled_
    >>> distilled.X.shape, distilled.y.tolist()
    ((6, 4), [0, 1, 2, 0, 1, 2])
    >>> distilled.subset(1).X.shape
    (3, 4)
    """

    X: np.ndarray
    y: np.ndarray
    classes: np.ndarray
    ipc: int
    recipe: EvaluationRecipe
    provenance: Mapping = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.X)

    def __repr__(self) -> str:
        return (
            f"DistilledDataset(ipc={self.ipc}, n_classes={len(self.classes)}, "
            f"X={self.X.dtype}{self.X.shape}, y={self.y.dtype}{self.y.shape})"
        )

    def subset(self, ipc: int) -> "DistilledDataset":
        """Return the first ``ipc`` samples of every class."""
        if not 1 <= ipc <= self.ipc:
            raise ValueError(f"ipc={ipc} must be between 1 and {self.ipc}, what was distilled.")
        n = ipc * len(self.classes)
        return replace(self, X=self.X[:n], y=self.y[:n], ipc=ipc)
