"""ZCA whitening, the preprocessing of [Feng23, C.1], and its inverse."""

from __future__ import annotations

import os
from math import prod
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils.metadata_routing import UNUSED
from sklearn.utils.validation import check_array, check_is_fitted, validate_data

from ._data.bases import BaseEstimator, OneToOneFeatureMixin, TransformerMixin, available_if
from ._data.older_versions import OlderPicklesMixin
from ._data.validation import Interval, StrOptions, as_array, fit_context, keeping_features
from ._files.array_file import filled

if TYPE_CHECKING:
    import torch

__all__ = ["ZCAWhitener"]


def _has_columns(whitener: Any) -> bool:
    """Return whether samples are rows of a table; a frame has no room for images."""
    return len(getattr(whitener, "sample_shape_", (0,))) == 1


class ZCAWhitener(OneToOneFeatureMixin, TransformerMixin, OlderPicklesMixin, BaseEstimator):
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
        samples than features. The default is the lambda of [Feng23, C.1], for all its data sets.
    per_sample : bool or "auto", default="auto"
        How samples are treated before the covariance is computed and `W` applied. True subtracts
        from every sample its own mean over all features and divides it by its own Euclidean norm,
        which removes brightness and contrast. The code of [Feng23]_ and KIP do so with images;
        FRePo, RCIG, RFAD (but for SVHN) and trajectory matching do not. The features of a table
        have no common unit, so the mean of a row says nothing: False subtracts every feature's mean
        over the training set and does not rescale. "auto" is True for images, that is for samples
        with more than one axis, and False for tables. For flat images pass True.
    batch_size : int, default=1024
        Samples that are converted to floating-point numbers at a time. It changes time and memory,
        not the result.
    device : str, default="auto"
        Where to compute: "auto" is a CUDA GPU if there is one, else the CPU. All is computed in
        double precision, which "mps" does not have.

    Attributes
    ----------
    eigenvectors_ : ndarray of shape (n_features, n_features)
        ``U``, one eigenvector per column.
    eigenvalues_ : ndarray of shape (n_features,)
        Eigenvalues of the covariance, with the regularization added, ascending.
    per_sample_ : bool
        The value of `per_sample` that was used.
    mean_ : ndarray of shape (n_features,) or float
        The value that `inverse_transform` adds: the mean of every feature, or, with `per_sample_`,
        the average of the samples' means, in X's units.
    scale_ : float
        The factor of `inverse_transform`: 1, or, with `per_sample_`, the average of the samples'
        norms, in X's units.
    sample_shape_ : tuple of int
        Shape of a sample.
    n_features_in_ : int
        Number of features, or of values in an image, of a sample.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the features, if `X` is a DataFrame whose columns all have strings for names.

    Notes
    -----
    Samples of any shape are flattened internally and returned in that shape, so the channels of an
    image are whitened together, wherever they are.

    The covariance is divided by the number of samples. With `per_sample_` it is that of the
    standardized samples about zero, as in the code of [Feng23]: features keep the small means that
    are left. It is then always singular, because no sample has a mean any more, and
    `regularization` must be positive. KIP, RFAD, FRePo and RCIG standardize every channel first;
    the code of [Feng23] does not. KIP and FRePo leave directions beyond the number of samples
    unscaled; here, as in the code of [Feng23], only the regularization limits them.

    Without `per_sample_`, `inverse_transform` is exact. With it, a sample's own mean and norm are
    lost (and synthetic samples never had any), so `inverse_transform` gives every sample the
    average mean and norm of the training set.

    `fit` reads `X` twice, `batch_size` samples at a time, and never copies it whole: bytes stay
    bytes, and a memory-mapped array may be larger than the memory. (scikit-learn's check for NaN
    reads floating-point numbers once more.) The covariance takes ``8 * n_features ** 2`` bytes.
    `transform` returns an array in memory, of four bytes per value for images, or with
    ``mmap_path`` an array in a file: ``whitener.fit(X).transform(X, mmap_path="white.npy")``.

    References
    ----------
    .. [Feng23] Y. Feng, R. Vedantam and J. Kempe, "Embarrassingly Simple Dataset Distillation",
       arXiv:2311.07025.

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

    # mmap_path is not metadata that a pipeline could route.
    __metadata_request__transform = {"mmap_path": UNUSED}

    _parameter_constraints: dict[str, Any] = {
        "regularization": [Interval(Real, 0, None, closed="left")],
        "per_sample": [StrOptions({"auto"}), "boolean"],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        # Checked by resolve_device: naming torch.device here would need torch, but a distilled set
        # that holds a whitener must load without torch.
        "device": "no_validation",
    }

    def __init__(
        self,
        regularization: float = 0.1,
        *,
        per_sample: bool | Literal["auto"] = "auto",
        batch_size: int = 1024,
        device: str | torch.device = "auto",
    ):
        self.regularization = regularization
        self.per_sample = per_sample
        self.batch_size = batch_size
        self.device = device

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: ArrayLike, y: object = None) -> Self:
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
            If a parameter or the data is unfit, or if the regularized covariance is singular.
        """
        # Imported when used: a distilled set that holds a whitener loads without torch.
        from ._data import whitening as _whitening

        device = _whitening.resolve_device(self.device)
        with keeping_features(self):
            X = validate_data(
                self, as_array(X), allow_nd=True, dtype="numeric", ensure_min_samples=2
            )
            sample_shape = X.shape[1:]
            per_sample = X.ndim > 2 if isinstance(self.per_sample, str) else bool(self.per_sample)
            if per_sample and prod(sample_shape) < 2:
                raise ValueError(
                    "per_sample=True needs samples of at least 2 features, because a sample of one "
                    "is its own mean; got n_features=1."
                )
            learned = _whitening.learn(X, per_sample, self.regularization, self.batch_size, device)
        self.mean_, self.scale_, self.eigenvalues_, self.eigenvectors_ = learned
        self.per_sample_ = per_sample
        self.sample_shape_ = sample_shape
        self.n_features_in_ = prod(sample_shape)
        return self

    # Without it scikit-learn leaves the output of `transform` an array, whatever set_output says.
    @available_if(_has_columns)
    def get_feature_names_out(self, input_features: ArrayLike | None = None) -> np.ndarray:
        """Return the names of a table's features; images have none."""
        return super().get_feature_names_out(input_features)

    def set_output(
        self, *, transform: Literal["default", "pandas", "polars"] | None = None
    ) -> Self:
        """Choose the form of what `transform` returns of tables; images stay arrays."""
        if transform is not None:
            self._sklearn_output_config = {"transform": transform}
        return self

    def transform(
        self, X: ArrayLike, mmap_path: str | os.PathLike[str] | None = None
    ) -> np.ndarray:
        """Whiten samples.

        Parameters
        ----------
        X : array-like of shape (n, ...)
            Samples in the shape and units of the training samples.
        mmap_path : str, path-like or None, default=None
            If given, the whitened samples are written to this new ``.npy`` file and mapped from it,
            read-only, so that they may be larger than the memory, like `X`. ``np.load(mmap_path,
            mmap_mode="r")`` maps them again.

        Returns
        -------
        X_white : ndarray of shape (n, ...)
            Whitened samples, without unit: float32 if that holds all values of the dtype of `X`,
            else float64, as for whole numbers of 32 and 64 bits. A constant sample has no contrast
            to normalize; with `per_sample_` it becomes zero.

        Raises
        ------
        ValueError
            If the samples have another shape than the training samples had, or hold NaN or
            infinity.
        FileExistsError
            If `mmap_path` exists.
        OSError
            If there is no folder for `mmap_path`, or no room on its disk.
        """
        from ._data import whitening as _whitening

        check_is_fitted(self)
        is_table = len(self.sample_shape_) == 1
        # scikit-learn would count an image's second axis as its features: images are checked below.
        X = validate_data(
            self, as_array(X), reset=False, allow_nd=True, dtype="numeric", ensure_2d=is_table
        )
        self._check_sample_shape(X)
        device = _whitening.resolve_device(self.device)
        mean = None if self.per_sample_ else self.mean_

        def whiten(X_white: np.ndarray) -> int:
            matrix = self.eigenvalues_, self.eigenvectors_
            out = X_white.reshape(len(X), -1)
            _whitening.whiten(X, mean, *matrix, self.batch_size, device, out=out)
            return len(X)

        return filled(mmap_path, X.shape, _output_dtype(X), whiten)

    def inverse_transform(self, X: ArrayLike) -> np.ndarray:
        """Bring whitened samples, real or synthetic, back into the units of the training samples.

        Parameters
        ----------
        X : array-like of shape (n, ...)
            Whitened samples.

        Returns
        -------
        X_original : ndarray of shape (n, ...)
            The samples before whitening, of the dtype that `transform` makes of that of `X`; with
            `per_sample_` each of them is shifted and scaled to the average mean and norm of the
            training samples.
        """
        from ._data import whitening as _whitening

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
        device = _whitening.resolve_device(self.device)
        X_original = np.empty((len(X), self.n_features_in_), dtype=_output_dtype(X))
        _whitening.unwhiten(
            X, self.eigenvalues_, self.eigenvectors_, self.batch_size, device, out=X_original
        )
        X_original *= self.scale_
        X_original += self.mean_
        return X_original.reshape(X.shape)

    def _check_sample_shape(self, X: np.ndarray) -> None:
        if X.shape[1:] == self.sample_shape_:
            return
        if X.ndim == 2 and len(self.sample_shape_) == 1:
            # scikit-learn's own wording, which its users and its checks know.
            raise ValueError(
                f"X has {X.shape[1]} features, but {type(self).__name__} is expecting "
                f"{self.n_features_in_} features as input."
            )
        raise ValueError(
            f"X must hold samples of shape {self.sample_shape_}, as in fit; "
            f"got samples of shape {X.shape[1:]}."
        )

    def __sklearn_tags__(self) -> Any:
        """Return scikit-learn's tags: images have more than two dimensions, float32 stays so."""
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


def _output_dtype(X: np.ndarray) -> np.dtype:
    # As for the samples of a distiller: the way back to large whole numbers needs all digits.
    return np.dtype(np.float32 if np.can_cast(X.dtype, np.float32) else np.float64)
