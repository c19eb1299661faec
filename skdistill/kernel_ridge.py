"""Kernel ridge regression as a classifier, by the kernel of an infinitely wide network."""

from __future__ import annotations

from math import prod, sqrt
from numbers import Integral, Real
from typing import Any, Literal, Self

import numpy as np
import torch
from numpy.typing import ArrayLike
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from ._data.bases import BaseEstimator, ClassifierMixin
from ._data.frames import plain_target, refuse_unencoded
from ._data.gaps import explaining_gaps
from ._data.labels import classes_and_index, refuse_missing
from ._data.layout import Layout
from ._data.validation import (
    Interval,
    StrOptions,
    as_array,
    check_magnitude,
    fit_context,
    keeping_features,
)
from ._engine import ridge
from ._engine.data import as_tensor
from ._engine.kernels import FullyConnected, blocks
from ._engine.runtime import resolve_device
from ._engine.settings import own_settings
from .distilled._dataset import DistilledDataset

__all__ = ["KernelRidgeClassifier"]

KERNELS = {"ntk", "nngp"}


class KernelRidgeClassifier(ClassifierMixin, BaseEstimator):
    """Classify by kernel ridge regression, with the kernel of an infinitely wide network.

    The regression is fitted to labels that are one-hot minus ``1 / n_classes``, and a sample is of
    the class whose prediction is the largest. Samples that `KIPDistiller` makes are made for it.

    Parameters
    ----------
    kernel : {"ntk", "nngp"}, default="ntk"
        The neural tangent kernel of a fully connected ReLU network, or the covariance of its
        outputs.
    depth : int, default=1
        Hidden layers of the network; with 0 it is linear.
    weight_std : float, default=1.4142135623730951
        Standard deviation of the network's weights, times the root of the number of a layer's
        inputs.
    bias_std : float, default=0.1
        Standard deviation of its biases.
    regularization : float, default=1e-6
        What is added to the diagonal of the kernel, in units of the diagonal's mean. The defaults
        are those of `KIPDistiller`.
    device : str, default="auto"
        Where to compute: "auto" is a CUDA GPU if there is one, else the CPU. All is computed in
        double precision; for "mps", which has none, on the CPU.

    Attributes
    ----------
    X_fit_ : ndarray of shape (n, n_features)
        The samples that the regression was fitted to, less `mean_` and divided by `scale_`.
    dual_coef_ : ndarray of shape (n, n_classes)
        The coefficients of their kernel.
    mean_, scale_ : ndarray of shape (n_features,)
        What samples are standardized with: 0 and 1 after `fit`, and the training set's after
        `fit_distilled`.
    n_raised_ : int
        How often `regularization` was raised, tenfold each time, because the kernel was singular.
    classes_ : ndarray of shape (n_classes,)
        The class labels.
    n_features_in_ : int
        Number of features, or of values in an image, of a sample.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the features; only if `fit` was given a DataFrame whose column names are strings.

    See Also
    --------
    KIPDistiller : Makes samples for this classifier.
    DistilledClassifier : Distills, then fits this classifier: pass it as `classifier`.

    Notes
    -----
    `fit` takes samples as they are: scale them before. `fit_distilled` standardizes them as
    networks see them, and uses learned labels as they are. `DistilledClassifier` calls the latter.

    Time and memory grow with the square of the number of samples: it is for small sets. Only the
    prediction goes in blocks.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skdistill import DistilledClassifier, KernelRidgeClassifier, KIPDistiller
    >>> X, y = load_iris(return_X_y=True)
    >>> distiller = KIPDistiller(ipc=3, learn_labels=True, max_iter=40, random_state=0)
    >>> DistilledClassifier(distiller, KernelRidgeClassifier()).fit(X, y).score(X, y) > 0.9
    True
    """

    # The shape of a sample in fit; None in pickles of earlier versions, which do not know it.
    _sample_shape: tuple[int, ...] | None = None

    _parameter_constraints = {
        "kernel": [StrOptions(KERNELS)],
        "depth": [Interval(Integral, 0, None, closed="left")],
        "weight_std": [Interval(Real, 0, None, closed="neither")],
        "bias_std": [Interval(Real, 0, None, closed="left")],
        "regularization": [Interval(Real, 0, None, closed="left")],
        "device": [str, torch.device],
    }

    def __init__(
        self,
        kernel: Literal["ntk", "nngp"] = "ntk",
        *,
        depth: int = 1,
        weight_std: float = sqrt(2),
        bias_std: float = 0.1,
        regularization: float = 1e-6,
        device: str | torch.device = "auto",
    ):
        self.kernel = kernel
        self.depth = depth
        self.weight_std = weight_std
        self.bias_std = bias_std
        self.regularization = regularization
        self.device = device

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Fit the regression to samples.

        Parameters
        ----------
        X : array-like of shape (n, ...)
            Samples; images are flattened.
        y : array-like of shape (n,)
            Class labels.

        Returns
        -------
        self : object

        Raises
        ------
        ValueError
            If a parameter or the data is unfit.
        """
        given, y = as_array(X), as_array(y)
        refuse_missing(y)
        y = plain_target(y)
        with keeping_features(self):
            X, y = validate_data(self, _flat(given), y, dtype="numeric")
            check_magnitude(X)
            check_classification_targets(y)
            classes, index = classes_and_index(y)
            n_features = X.shape[1]
            one_hot = np.eye(len(classes))[index]
            shape = tuple(given.shape[1:]) if _are_images(given) else (n_features,)
            return self._fit(
                X,
                one_hot - 1 / len(classes),
                classes,
                np.zeros(n_features),
                np.ones(n_features),
                shape,
            )

    @fit_context(prefer_skip_nested_validation=True)
    def fit_distilled(self, distilled: DistilledDataset) -> Self:
        """Fit the regression to a distilled set.

        Parameters
        ----------
        distilled : DistilledDataset
            Its samples are standardized as its recipe says. Learned labels are fitted as they are
            if they are centered (those that networks learn by squared error), and minus ``1 /
            n_classes`` otherwise.

        Returns
        -------
        self : object
            It predicts samples in the units and the layout of ``distilled.X``, or flattened ones.
        """
        if not isinstance(distilled, DistilledDataset):
            raise ValueError(
                f"distilled must be a DistilledDataset; got {type(distilled).__name__}. fit takes "
                "samples and labels."
            )
        recipe, n_classes = distilled.recipe, len(distilled.classes)
        if distilled.y.ndim == 2:
            y = distilled.y.astype(np.float64) - (0 if recipe.loss == "mse" else 1 / n_classes)
        else:
            y = np.eye(n_classes)[np.searchsorted(distilled.classes, distilled.y)] - 1 / n_classes
        mean, scale = (
            recipe.layout.spread(values).ravel().astype(np.float64)
            for values in (recipe.mean, recipe.scale)
        )
        shape = recipe.layout.user_shape
        self._fit(_flat(distilled.X), y, distilled.classes.copy(), mean, scale, shape)
        vars(self).pop("feature_names_in_", None)
        if distilled.feature_names is not None:
            self.feature_names_in_ = np.array(distilled.feature_names, dtype=object)
        self.n_features_in_ = prod(shape)
        return self

    @own_settings()
    def _fit(
        self,
        X: np.ndarray,
        y: np.ndarray,
        classes: np.ndarray,
        mean: np.ndarray,
        scale: np.ndarray,
        shape: tuple[int, ...],
    ) -> Self:
        X = (X.astype(np.float64) - mean) / scale
        Z, y = self._on_device(X), self._on_device(y)
        with torch.no_grad():
            fitted = ridge.fit(self._kernel()(Z), y, self.regularization)
        if not fitted.coefficients.isfinite().all():
            raise ValueError(
                "X must hold samples whose kernel is finite and not zero; it holds values that are "
                "too large or, without biases, only zeros. Scale X, or use a positive bias_std."
            )
        self.classes_, self.mean_, self.scale_ = classes, mean, scale
        self.X_fit_, self.dual_coef_ = X, fitted.coefficients.cpu().numpy()
        self.n_raised_ = fitted.n_raised
        self._sample_shape = shape
        return self

    def predict(self, X: ArrayLike) -> np.ndarray:
        """Return the predicted labels.

        Parameters
        ----------
        X : array-like of shape (n, ...)
            Samples in the shape of those of `fit`, or flattened.

        Returns
        -------
        ndarray of shape (n,)
        """
        best = self._scores(X).argmax(axis=1)
        return self.classes_[best]

    def decision_function(self, X: ArrayLike) -> np.ndarray:
        """Return the regression's predictions: they are not probabilities.

        Parameters
        ----------
        X : array-like of shape (n, ...)
            Samples in the shape of those of `fit`, or flattened.

        Returns
        -------
        ndarray of shape (n, n_classes) or, for two classes, (n,)
            One column for each of `classes_`. For two classes, the second column minus the first.
        """
        scores = self._scores(X)
        return scores[:, 1] - scores[:, 0] if scores.shape[1] == 2 else scores

    @own_settings()
    @torch.no_grad()
    def _scores(self, X: ArrayLike) -> np.ndarray:
        """Return the predictions ``(n, n_classes)``, computed in blocks."""
        check_is_fitted(self)
        X = as_array(X)
        # Flattened in another layout, images would have their pixels in another order.
        if self._sample_shape is not None and _are_images(X):
            Layout(self._sample_shape, self._sample_shape).check(X)
        refuse_unencoded(X, in_fit=False)
        with explaining_gaps(X, _are_images(X), in_fit=False):
            X = validate_data(self, _flat(X), reset=False, dtype="numeric")
        check_magnitude(X)
        support, coefficients = self._on_device(self.X_fit_), self._on_device(self.dual_coef_)
        scores = np.empty((len(X), len(self.classes_)))
        kernel = self._kernel()
        for block in blocks(len(X), len(support), support.device):
            Z = self._on_device((X[block].astype(np.float64) - self.mean_) / self.scale_)
            scores[block] = (kernel(Z, support) @ coefficients).cpu().numpy()
        return scores

    def _kernel(self) -> FullyConnected:
        return FullyConnected(self.depth, self.weight_std, self.bias_std, self.kernel)

    def _on_device(self, array: np.ndarray) -> torch.Tensor:
        # In double precision already: on a device that has none, `in_double` leaves it on the CPU.
        device = resolve_device(self.device)
        return as_tensor(array).to("cpu" if device.type == "mps" else device)

    def __sklearn_tags__(self) -> Any:
        """Return scikit-learn's tags: images have more than two dimensions."""
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        return tags


def _are_images(X: Any) -> bool:
    """Return whether ``X`` is an array of more than two dimensions."""
    return bool(getattr(X, "ndim", 2) > 2)


def _flat(X: Any) -> Any:
    """Return images as rows; what is no array of more than two dimensions stays as it is."""
    return X.reshape(len(X), -1) if _are_images(X) else X
