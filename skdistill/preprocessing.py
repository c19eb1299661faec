"""ZCA whitening, the paper's preprocessing (Appendix C.1), with its way back."""

from collections.abc import Iterator
from math import prod
from numbers import Integral, Real

import numpy as np
import torch
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin
from sklearn.utils.validation import check_array, check_is_fitted, validate_data
from torch import Tensor

from ._engine.runtime import resolve_device
from ._validation import Interval, StrOptions, as_array, fit_context

__all__ = ["ZCAWhitener"]

_EPS = np.finfo(np.float64).eps


class ZCAWhitener(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):
    """Whiten samples, and keep them as close to the original ones as whitening allows (ZCA).

    Features are decorrelated and brought to one variance by the symmetric matrix
    ``W = U diag((e + regularization * mean(e)) ** -0.5) U.T``, where ``U`` and ``e`` are the
    eigenvectors and eigenvalues of the training set's covariance. An image stays an image: its
    edges are stressed, and its smooth parts fade.

    Parameters
    ----------
    regularization : float, default=0.1
        Share of the mean eigenvalue that is added to every eigenvalue. It keeps directions that
        the training set hardly has from being blown up, and `W` invertible if there are fewer
        samples than features. The default is the paper's lambda, for all its data sets
        (Appendix C.1).
    per_sample : bool or "auto", default="auto"
        What is done to the samples before the covariance is taken and `W` applied. True subtracts
        from every sample its own mean over all features and divides it by its own Euclidean norm,
        as the paper's code and its line of work (KIP, RFAD) do with images: brightness and
        contrast go. The features of a table have no common unit, so a row's mean says nothing;
        False subtracts every feature's mean over the training set and does not rescale. "auto" is
        True for images, that is for samples of more than one axis, and False for tables. For flat
        images say True.
    batch_size : int, default=1024
        Samples that are turned into floating-point numbers at a time. It changes time and memory,
        not the result.
    device : str, default="auto"
        Where to compute: "auto" is a CUDA GPU if there is one, else the CPU. All is computed in
        double precision, which "mps" does not have.

    Attributes
    ----------
    eigenvectors_ : ndarray of shape (n_features, n_features)
        ``U``, an eigenvector a column.
    eigenvalues_ : ndarray of shape (n_features,)
        Of the covariance, with the regularisation added, ascending.
    per_sample_ : bool
        What `per_sample` came to.
    mean_ : ndarray of shape (n_features,) or float
        What `inverse_transform` adds: the mean of every feature, or, with `per_sample_`, the
        average of the samples' means, in X's units.
    scale_ : float
        What `inverse_transform` multiplies with: 1, or, with `per_sample_`, the average of the
        samples' norms, in X's units.
    sample_shape_ : tuple of int
        Shape of a sample.
    n_features_in_ : int
        Number of features, or of values in an image, of a sample.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the features, if `X` is a DataFrame whose columns all have strings for names.

    Notes
    -----
    Samples of any shape are flattened inside and come back in it, so the channels of an image are
    whitened together, as in the paper's line of work, and it does not matter where they stand.

    The covariance is divided by the number of samples. With `per_sample_` it is that of the
    standardised samples about zero, as in the paper's code: features keep the small means that
    are left. It is then always singular, for no sample has a mean any more, and `regularization`
    must be positive. KIP and RFAD standardise every channel first; the paper's code does not. KIP
    and FRePo leave directions beyond the number of samples unscaled; here, as in the paper's code,
    the regularisation alone limits them.

    What is whitened can be taken back exactly without `per_sample_`. With it, a sample's own mean
    and norm are gone (and synthetic samples never had any), so `inverse_transform` gives every
    sample the average mean and norm of the training set.

    `fit` reads `X` twice, `batch_size` samples at a time, and never copies it whole: bytes stay
    bytes, and a memory-mapped array may be larger than the memory. (scikit-learn's check for NaN
    reads floating-point numbers once more.) The covariance takes ``8 * n_features ** 2`` bytes.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_digits
    >>> from skdistill import ZCAWhitener
    >>> X = load_digits().images
    >>> whitener = ZCAWhitener().fit(X)
    >>> white = whitener.transform(X)
    >>> white.shape
    (1797, 8, 8)
    >>> back = whitener.inverse_transform(white)
    >>> bool(np.allclose(np.linalg.norm(back - whitener.mean_, axis=(1, 2)), whitener.scale_))
    True
    """

    _parameter_constraints: dict = {
        "regularization": [Interval(Real, 0, None, closed="left")],
        "per_sample": [StrOptions({"auto"}), "boolean"],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "device": [str, torch.device],
    }

    def __init__(self, regularization=0.1, *, per_sample="auto", batch_size=1024, device="auto"):
        self.regularization = regularization
        self.per_sample = per_sample
        self.batch_size = batch_size
        self.device = device

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None):
        """Learn the whitening matrix of a training set.

        Parameters
        ----------
        X : array-like of shape (n, features), (n, H, W), (n, C, H, W) or (n, H, W, C)
            Training samples.
        y : None
            Not used.

        Returns
        -------
        self : object

        Raises
        ------
        ValueError
            If a parameter or the data is unfit, or if the regularised covariance is singular.
        """
        device = resolve_device(self.device)
        X = validate_data(self, as_array(X), allow_nd=True, dtype="numeric", ensure_min_samples=2)
        sample_shape = X.shape[1:]
        per_sample = X.ndim > 2 if isinstance(self.per_sample, str) else bool(self.per_sample)
        if per_sample and prod(sample_shape) < 2:
            raise ValueError(
                "per_sample=True needs samples of at least 2 features, for a sample of one is its "
                "own mean; got n_features=1."
            )
        if per_sample:
            mean, scale = _sample_averages(X, self.batch_size, device)
            covariance = _covariance(X, None, self.batch_size, device)
        else:
            mean, scale = _feature_means(X, self.batch_size, device), 1.0
            covariance = _covariance(X, mean, self.batch_size, device)
        values, vectors = _regularized_eigh(covariance, self.regularization)

        self.eigenvectors_ = vectors.cpu().numpy()
        self.eigenvalues_ = values.cpu().numpy()
        self.per_sample_ = per_sample
        self.mean_ = mean if per_sample else mean.cpu().numpy()
        self.scale_ = scale
        self.sample_shape_ = sample_shape
        self.n_features_in_ = prod(sample_shape)
        return self

    def transform(self, X):
        """Whiten samples.

        Parameters
        ----------
        X : array-like of shape (n, *sample_shape_)
            Samples in the shape and units of the training samples.

        Returns
        -------
        X_white : ndarray of shape (n, *sample_shape_)
            Whitened samples, without unit: float64 if `X` was, else float32. A constant sample
            has no contrast to normalise, and becomes zero with `per_sample_`.
        """
        check_is_fitted(self)
        is_table = len(self.sample_shape_) == 1
        # scikit-learn takes an image's second axis for its features: images are checked below.
        X = validate_data(
            self, as_array(X), reset=False, allow_nd=True, dtype="numeric", ensure_2d=is_table
        )
        self._check_sample_shape(X)
        device = resolve_device(self.device)
        mean = None if self.per_sample_ else torch.tensor(self.mean_, device=device)
        factors = self._factors(-0.5, len(X), device)
        X_white = np.empty((len(X), self.n_features_in_), dtype=_output_dtype(X))
        for rows, x in _batches(X, self.batch_size, device):
            X_white[rows] = torch.linalg.multi_dot([_centered(x, mean), *factors]).cpu().numpy()
        return X_white.reshape(X.shape)

    def inverse_transform(self, X):
        """Bring whitened samples, real or synthetic, back into the units of the training samples.

        Parameters
        ----------
        X : array-like of shape (n, *sample_shape_)
            Whitened samples.

        Returns
        -------
        X_original : ndarray of shape (n, *sample_shape_)
            float64 if `X` was, else float32. The samples that were whitened; with `per_sample_`
            each of them shifted and scaled to the average mean and norm of the training samples.
        """
        check_is_fitted(self)
        X = check_array(
            as_array(X),
            allow_nd=True,
            dtype="numeric",
            ensure_2d=len(self.sample_shape_) == 1,
            estimator=self,
            input_name="X",
        )
        self._check_sample_shape(X)
        device = resolve_device(self.device)
        mean = torch.tensor(self.mean_, dtype=torch.float64, device=device)
        factors = self._factors(0.5, len(X), device)
        X_original = np.empty((len(X), self.n_features_in_), dtype=_output_dtype(X))
        for rows, x in _batches(X, self.batch_size, device):
            X_original[rows] = (
                (torch.linalg.multi_dot([x, *factors]) * self.scale_ + mean).cpu().numpy()
            )
        return X_original.reshape(X.shape)

    def _check_sample_shape(self, X: np.ndarray) -> None:
        if X.shape[1:] == self.sample_shape_:
            return
        if X.ndim == 2 and len(self.sample_shape_) == 1:
            # scikit-learn's own words, which its users and its checks know.
            raise ValueError(
                f"X has {X.shape[1]} features, but {type(self).__name__} is expecting "
                f"{self.n_features_in_} features as input."
            )
        raise ValueError(
            f"X must hold samples of shape {self.sample_shape_}, as in fit; "
            f"got samples of shape {X.shape[1:]}."
        )

    def _factors(self, power: float, n_samples: int, device: torch.device) -> tuple[Tensor, ...]:
        """Return matrices whose product is the covariance to this power."""
        vectors = torch.tensor(self.eigenvectors_, device=device)
        scaled = vectors * torch.tensor(self.eigenvalues_, device=device) ** power
        # The product of the two takes n_features ** 3: it pays off for many samples only.
        if n_samples < self.n_features_in_:
            return scaled, vectors.T
        return (scaled @ vectors.T,)

    def __sklearn_tags__(self):
        """Return scikit-learn's tags: images have more than two dimensions, float32 stays so."""
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


def _output_dtype(X: np.ndarray) -> np.dtype:
    wide = X.dtype.kind == "f" and X.dtype.itemsize >= 8
    return np.dtype(np.float64 if wide else np.float32)


def _batches(
    X: np.ndarray, batch_size: int, device: torch.device
) -> Iterator[tuple[slice, Tensor]]:
    """Yield rows and their samples, flat and in double precision: copies, free to be changed."""
    for start in range(0, len(X), batch_size):
        rows = slice(start, start + batch_size)
        samples = np.array(X[rows], dtype=np.float64, order="C")
        yield rows, torch.from_numpy(samples.reshape(len(samples), -1)).to(device)


def _means_and_norms(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean of every sample and the norm of what is left; both are columns."""
    # Counted from its first value, a constant sample has exactly its mean, and a norm of exactly 0;
    # else rounding would leave a tiny norm, and what is divided by it would look like an image.
    first = x[:, :1]
    means = first + (x - first).mean(dim=1, keepdim=True)
    return means, torch.linalg.vector_norm(x - means, dim=1, keepdim=True)


def _centered(x: Tensor, mean: Tensor | None) -> Tensor:
    """Subtract the features' means; if they are None, standardise every sample by itself."""
    if mean is not None:
        return x - mean
    means, norms = _means_and_norms(x)
    return (x - means) / norms.masked_fill(norms == 0, 1.0)


def _sample_averages(X, batch_size: int, device: torch.device) -> tuple[float, float]:
    """Return the average mean and the average norm of the samples."""
    mean = norm = 0.0
    for _, x in _batches(X, batch_size, device):
        means, norms = _means_and_norms(x)
        mean += means.sum().item()
        norm += norms.sum().item()
    return mean / len(X), norm / len(X)


def _feature_means(X, batch_size: int, device: torch.device) -> Tensor:
    # Counted from the first sample, the mean of a constant feature is exact, as above.
    (_, first), *_ = _batches(X[:1], 1, device)
    total = sum((x - first).sum(dim=0) for _, x in _batches(X, batch_size, device))
    return first[0] + total / len(X)


def _covariance(X, mean: Tensor | None, batch_size: int, device: torch.device) -> Tensor:
    """Return the second moments of the centred samples."""
    n_features = prod(X.shape[1:])
    total = torch.zeros(n_features, n_features, dtype=torch.float64, device=device)
    for _, x in _batches(X, batch_size, device):
        x = _centered(x, mean)
        total.addmm_(x.T, x)
    return total / len(X)


def _regularized_eigh(covariance: Tensor, regularization: float) -> tuple[Tensor, Tensor]:
    """Return eigenvalues, regularised, and eigenvectors, or raise ValueError if it is singular."""
    values, vectors = torch.linalg.eigh(covariance)
    n_features, largest = len(values), values[-1].item()
    if largest <= 0.0:
        raise ValueError(
            "X must vary: its covariance is zero, which no regularization makes invertible."
        )
    # Rounding moves eigenvalues by about this, below zero too.
    noise = n_features * _EPS * largest
    regularized = values + regularization * values.mean()
    if regularized[0].item() <= noise:
        rank = int((values > noise).sum())
        raise ValueError(
            f"regularization={regularization} must be larger: the covariance of X has rank {rank} "
            f"for {n_features} features, so it is singular without. The paper takes 0.1."
        )
    return regularized, vectors
