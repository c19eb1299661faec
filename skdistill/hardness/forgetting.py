"""How often networks forget a sample while they train on all of them [Feng23, D.1]."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator

from .._engine.settings import own_settings
from ..networks import Architecture
from ._common import correct_while_training, training_on_real_samples

__all__ = ["count_forgetting_events", "forgetting_scores"]


def count_forgetting_events(correct: ArrayLike) -> np.ndarray:
    """Return how often each sample goes from right to wrong while a network trains.

    Parameters
    ----------
    correct : array-like of bool, of shape (n_epochs, n)
        Whether the network was right about each sample after each epoch.

    Returns
    -------
    ndarray of int, of shape (n,)
        From 0 to ``n_epochs // 2``; ``n_epochs``, more than any learned sample can have, for a
        sample about which the network was never right.

    Raises
    ------
    ValueError
        If ``correct`` has not two dimensions.

    Examples
    --------
    >>> from skdistill.hardness import count_forgetting_events
    >>> count_forgetting_events([[1, 1, 0], [1, 0, 0], [1, 1, 0], [1, 0, 0]]).tolist()
    [0, 2, 4]
    """
    correct = np.asarray(correct, dtype=bool)
    if correct.ndim != 2:
        raise ValueError(f"correct must be of shape (n_epochs, n); got shape {correct.shape}.")
    events = (correct[:-1] & ~correct[1:]).sum(axis=0)
    return np.where(correct.any(axis=0), events, len(correct))


@own_settings()
def forgetting_scores(
    X: ArrayLike,
    y: ArrayLike,
    *,
    architecture: str | Architecture = "auto",
    image_shape: Sequence[int] | None = None,
    n_networks: int = 10,
    n_epochs: int = 20,
    batch_size: int = 128,
    learning_rate: float = 0.001,
    random_state: int | np.random.RandomState | None = None,
    device: str | torch.device = "auto",
) -> np.ndarray:
    """Return how often each training sample is forgotten while networks train on all of them.

    Appendix D.1 of [Feng23]_ says: "For each data point x and a network trained for T epochs, we
    say x has a forgetting event at time t if x is correctly classified at time t and misclassified
    at time t+1. The forgetting score of a data point is the sum of its forgetting events before
    time T, averaged over 10 random initializations." A sample with score 0 was learned and never
    forgotten.

    Parameters
    ----------
    X : array-like of shape (n, features), (n, H, W), (n, C, H, W) or (n, H, W, C)
        Training samples.
    y : array-like of shape (n,)
        Class labels.
    architecture : str or callable, default="auto"
        Network family, as in `RaTBPTTDistiller`.
    image_shape : tuple of int or None, default=None
        ``(channels, height, width)`` of the samples, needed if they are flat or if it is ambiguous.
    n_networks : int, default=10
        Networks over which the score is averaged; 10 as in [Feng23, D.1].
    n_epochs : int, default=20
        Epochs of training, T; at least 2. [Feng23] does not give it; [Toneva19]_ trains for 200 on
        CIFAR-10. With few epochs only the hardest samples stand out.
    batch_size : int, default=128
        Samples in a step of training, as in [Toneva19]; at most all of the training set.
    learning_rate : float, default=0.001
        Learning rate of Adam, as in [Feng23, C.1] for all networks.
    random_state : int, RandomState instance or None, default=None
        Determines the networks and batches.
    device : str, default="auto"
        Where to compute.

    Returns
    -------
    ndarray of float64, of shape (n,)
        From 0 to ``n_epochs``. If a network was never right about a sample, it counts ``n_epochs``
        for it, as in the code of [Toneva19], so that the sample is harder than any that was
        learned.

    Raises
    ------
    ValueError
        If a parameter or the data is unfit, before any work starts.

    Notes
    -----
    After every epoch the network is tested on all samples. [Toneva19] records instead whether a
    sample was right whenever it is in a batch. That saves the forward passes of the test, but
    judges each sample by another state of the network.

    References
    ----------
    .. [Feng23] Y. Feng, R. Vedantam and J. Kempe, "Embarrassingly Simple Dataset Distillation",
       arXiv:2311.07025.
    .. [Toneva19] M. Toneva et al., "An empirical study of example forgetting during deep neural
       network learning", ICLR 2019.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skdistill.hardness import forgetting_scores
    >>> X, y = load_iris(return_X_y=True)
    >>> scores = forgetting_scores(X, y, n_networks=2, n_epochs=4, random_state=0)
    >>> scores.shape, bool((scores <= 4).all())
    ((150,), True)
    """
    # scikit-learn's checks store the names and number of features on an estimator: a plain one.
    on_real = training_on_real_samples(
        BaseEstimator(),
        X,
        y,
        architecture=architecture,
        image_shape=image_shape,
        n_networks=n_networks,
        n_epochs=n_epochs,
        least_epochs=2,
        batch_size=batch_size,
        learning_rate=learning_rate,
        random_state=random_state,
        device=device,
    )
    n = len(on_real.real)
    history, total = np.empty((n_epochs, n), dtype=bool), np.zeros(n)
    for _, j, correct in correct_while_training(
        on_real.family, on_real.training, n_networks, on_real.counts, on_real.real
    ):
        history[j] = correct
        if j == n_epochs - 1:
            total += count_forgetting_events(history)
    return total / n_networks
