"""The loss of each sample while networks begin to train on all of them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator
from torch import Tensor

from .._engine.settings import own_settings
from ..evaluation._networks import (
    NetworkFamily,
    logits_in_chunks,
    train_networks,
    warn_of_divergence,
)
from ..networks import Architecture
from ._common import RealTraining, training_on_real_samples

__all__ = ["loss_scores", "scores_of"]


@own_settings()
def loss_scores(
    X: ArrayLike,
    y: ArrayLike,
    *,
    architecture: str | Architecture = "auto",
    image_shape: Sequence[int] | None = None,
    n_networks: int = 3,
    n_epochs: int = 5,
    batch_size: int = 128,
    learning_rate: float = 0.001,
    random_state: int | np.random.RandomState | None = None,
    device: str | torch.device = "auto",
) -> np.ndarray:
    """Return the mean loss of each training sample in the first epochs of training on all.

    After each epoch the cross-entropy of every sample is measured, and averaged over epochs and
    networks. [Xu24]_ calls it the loss "in the initial epochs", and prunes by it what is to be
    distilled: see `skdistill.LossPruner`.

    Parameters
    ----------
    X : array-like of shape (n, features), (n, H, W), (n, C, H, W) or (n, H, W, C)
        Training samples.
    y : array-like of shape (n,)
        Class labels.
    architecture : str or callable, default="auto"
        Network family, as in `RaTBPTTDistiller`. Narrow networks,
        ``functools.partial(skdistill.networks.ConvNet, width=32)``, save time.
    image_shape : tuple of int or None, default=None
        ``(channels, height, width)`` of the samples, needed if they are flat or if it is ambiguous.
    n_networks : int, default=3
        Networks over which the loss is averaged. [Xu24]'s files do not say how many; ours.
    n_epochs : int, default=5
        Epochs of training. With many the loss is that "after convergence", by which [Xu24] prunes
        as well.
    batch_size : int, default=128
        Samples in a step of training; at most all of the training set.
    learning_rate : float, default=0.001
        Learning rate of Adam.
    random_state : int, RandomState instance or None, default=None
        Determines the networks and batches.
    device : str, default="auto"
        Where to compute.

    Returns
    -------
    ndarray of float64, of shape (n,)
        Not negative. Losses that are not finite are left out; a sample that has no other gets
        infinity.

    Raises
    ------
    ValueError
        If a parameter or the data is unfit, before any work starts.

    References
    ----------
    .. [Xu24] Y. Xu et al., "Distill Gold from Massive Ores: Bi-level Data Pruning towards Efficient
       Dataset Distillation" (BiLP), ECCV 2024. Its code is github.com/silicx/GoldFromOres.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skdistill.hardness import loss_scores
    >>> X, y = load_iris(return_X_y=True)
    >>> scores = loss_scores(X, y, n_networks=2, n_epochs=4, random_state=0)
    >>> scores.shape, bool((scores >= 0).all())
    ((150,), True)
    """
    _, scores = scores_of(
        # scikit-learn's checks store the names and number of features on an estimator: a plain one.
        BaseEstimator(),
        X,
        y,
        architecture=architecture,
        image_shape=image_shape,
        n_networks=n_networks,
        n_epochs=n_epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        random_state=random_state,
        device=device,
    )
    return scores


def scores_of(
    estimator: Any, X: ArrayLike, y: ArrayLike, *, n_networks: int, **parameters: Any
) -> tuple[RealTraining, np.ndarray]:
    """Return the training on the samples, and the `loss_scores`, whose parameters these are.

    The estimator gets the names and the number of features.
    """
    on_real = training_on_real_samples(
        estimator, X, y, n_networks=n_networks, least_epochs=1, **parameters
    )

    def visit(family: NetworkFamily, theta: Tensor) -> Tensor:
        parts = logits_in_chunks(family, theta, on_real.real)
        return torch.cat([F.cross_entropy(logits, y, reduction="none") for logits, y in parts])

    total, n_finite = np.zeros((2, len(on_real.real)))
    diverged = set()
    for k, _, losses in train_networks(
        on_real.family, on_real.training, n_networks, on_real.counts, visit
    ):
        values = losses.cpu().double().numpy()
        finite = np.isfinite(values)
        if not finite.all():
            diverged.add(k)
        total += np.where(finite, values, 0)
        n_finite += finite
    warn_of_divergence(len(diverged), n_networks)
    scores = np.full_like(total, np.inf)
    np.divide(total, n_finite, out=scores, where=n_finite > 0)
    return on_real, scores
