"""Leave out a part of the training set before it is distilled."""

from collections.abc import Sequence
from math import ceil
from numbers import Integral, Real
from typing import Any, Literal, Self

import numpy as np
import torch
from numpy.typing import ArrayLike
from sklearn.utils import _safe_indexing

from ._data.bases import BaseEstimator
from ._data.older_versions import OlderPicklesMixin
from ._data.validation import Interval, StrOptions, as_array, fit_context, keeping_features
from ._engine.settings import own_settings
from .hardness.losses import scores_of
from .networks import ARCHITECTURES, Architecture

__all__ = ["LossPruner"]


class LossPruner(OlderPicklesMixin, BaseEstimator):
    """Keep the samples of each class that networks learn first, or last (BiLP).

    Networks are trained on all samples for some epochs, and of each class those with the smallest
    mean loss (`skdistill.hardness.loss_scores`) are kept. [Xu24]_ finds that a part of a training
    set is enough to distill from, which saves time where a distiller's time grows with it, and that
    few synthetic samples are better distilled from easy samples: they cannot teach the hard ones.

    It is a sampler as imbalanced-learn's are: in a pipeline of imbalanced-learn's it stands before
    the distiller, and what it leaves out is still tested on. imbalanced-learn itself is not needed
    to import or use this class.

    Parameters
    ----------
    keep : float, default=0.2
        The part of each class that is kept (rounded up), above 0 and at most 1. [Xu24] keeps a
        hundredth of CIFAR-10 for one sample per class, and a fifth or more for others.
    favor : {"small", "large"}, default="small"
        Which losses are kept. [Xu24] recommends the small ones.
    architecture : str or callable, default="auto"
        Networks, as in `RaTBPTTDistiller`.
    image_shape : tuple of int or None, default=None
        ``(channels, height, width)`` of the samples, needed if they are flat or if it is ambiguous.
    n_networks : int, default=3
        Networks over which losses are averaged.
    n_epochs : int, default=5
        Epochs for which they are trained, and after each of which the losses are measured.
    batch_size : int, default=128
        Samples in a step of training.
    learning_rate : float, default=0.001
        Learning rate of Adam.
    random_state : int, RandomState instance or None, default=None
        Determines the networks and batches.
    device : str, default="auto"
        Where to compute.

    Attributes
    ----------
    scores_ : ndarray of float64, of shape (n,)
        The mean loss of each sample.
    sample_indices_ : ndarray of int, of shape (n_kept,)
        The rows that are kept, in ascending order.
    classes_ : ndarray of shape (n_classes,)
        The class labels.
    n_features_in_ : int
        Number of features, or of values in an image, of a sample.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the features; only if `fit` was given a DataFrame whose column names are strings.

    See Also
    --------
    skdistill.hardness.HardnessSampler : Chooses real samples anew while it distills.
    DistillationSampler : A distiller in place of a sampler.

    References
    ----------
    .. [Xu24] Y. Xu et al., "Distill Gold from Massive Ores: Bi-level Data Pruning towards Efficient
       Dataset Distillation" (BiLP), ECCV 2024. Its code is github.com/silicx/GoldFromOres.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skdistill import LossPruner
    >>> X, y = load_iris(return_X_y=True)
    >>> X_easy, y_easy = LossPruner(keep=0.5, random_state=0).fit_resample(X, y)
    >>> X_easy.shape
    (75, 4)
    """

    _parameter_constraints: dict[str, Any] = {
        "keep": [Interval(Real, 0, 1, closed="right")],
        "favor": [StrOptions({"small", "large"})],
        "architecture": [StrOptions({"auto", *ARCHITECTURES}), callable],
        "image_shape": [tuple, list, None],
        "n_networks": [Interval(Integral, 1, None, closed="left")],
        "n_epochs": [Interval(Integral, 1, None, closed="left")],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "learning_rate": [Interval(Real, 0, None, closed="neither")],
        "random_state": ["random_state"],
        "device": [str, torch.device],
    }

    def __init__(
        self,
        keep: float = 0.2,
        *,
        favor: Literal["small", "large"] = "small",
        architecture: str | Architecture = "auto",
        image_shape: Sequence[int] | None = None,
        n_networks: int = 3,
        n_epochs: int = 5,
        batch_size: int = 128,
        learning_rate: float = 0.001,
        random_state: int | np.random.RandomState | None = None,
        device: str | torch.device = "auto",
    ):
        self.keep = keep
        self.favor = favor
        self.architecture = architecture
        self.image_shape = image_shape
        self.n_networks = n_networks
        self.n_epochs = n_epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.random_state = random_state
        self.device = device

    def __sklearn_tags__(self) -> Any:
        """Return scikit-learn's tags: labels are needed, images have more than two dimensions."""
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        tags.input_tags.three_d_array = True
        return tags

    @fit_context(prefer_skip_nested_validation=True)
    @own_settings()
    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Measure the losses, and choose what to keep.

        Parameters
        ----------
        X : array-like of shape (n, features), (n, H, W), (n, C, H, W) or (n, H, W, C)
            Training samples.
        y : array-like of shape (n,)
            Class labels.

        Returns
        -------
        self : object

        Raises
        ------
        ValueError
            If a parameter or the data is unfit, before any work starts.

        Warns
        -----
        DivergenceWarning
            If losses of some networks are not finite.
        """
        with keeping_features(self):
            on_real, scores = scores_of(
                self,
                X,
                y,
                architecture=self.architecture,
                image_shape=self.image_shape,
                n_networks=self.n_networks,
                n_epochs=self.n_epochs,
                batch_size=self.batch_size,
                learning_rate=self.learning_rate,
                random_state=self.random_state,
                device=self.device,
            )
        index = on_real.real.y.cpu().numpy()
        kept = []
        for c in range(len(on_real.classes)):
            rows = np.flatnonzero(index == c)
            order = rows[np.argsort(scores[rows], kind="stable")]
            # 0.7 * 10 is more than 7 by a rounding; a share so small that this leaves nothing of it
            # keeps one as well.
            n = max(1, ceil(self.keep * len(rows) - 1e-9))
            kept.append(order[:n] if self.favor == "small" else order[-n:])
        self.scores_ = scores
        self.sample_indices_ = np.sort(np.concatenate(kept))
        self.classes_ = on_real.classes
        return self

    def fit_resample(self, X: ArrayLike, y: ArrayLike) -> tuple[Any, Any]:
        """Return the samples that are kept, and their labels.

        Parameters
        ----------
        X : array-like of shape (n, features), (n, H, W), (n, C, H, W) or (n, H, W, C)
            Training samples.
        y : array-like of shape (n,)
            Class labels.

        Returns
        -------
        X : ndarray or DataFrame of shape (n_kept, ...)
            Rows of ``X``, in their order.
        y : ndarray or Series of shape (n_kept,)
            Their labels.
        """
        X, y = as_array(X), as_array(y)
        rows = self.fit(X, y).sample_indices_
        return _safe_indexing(X, rows), _safe_indexing(y, rows)
