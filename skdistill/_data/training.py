"""The training set: checked in one place, and on the device with its moments."""

from collections.abc import Callable
from dataclasses import dataclass
from math import prod, sqrt
from typing import NamedTuple

import numpy as np
import torch
from scipy.sparse import issparse
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import validate_data

from .._engine.data import RealData, Standardizer, as_tensor
from .arrays import LARGEST, LARGEST_REAL, SMALLEST
from .fingerprint import describe, describe_as_before
from .frames import is_polars_categorical, plain_target, refuse_target_in, refuse_unencoded
from .gaps import explaining_gaps
from .labels import classes_and_index, plain_labels, refuse_missing
from .layout import Layout, infer_layout, warn_of_channels_last
from .network_input import warn_of_lost_digits
from .rows import Rows, blocks, take, whole_and_rows
from .validation import as_array, check_magnitude, check_sample_weight
from .warn import warn
from .wording import listed

# Relative to a mean: a standard deviation that needs a closer look, and one that is rounding.
_SMALL, _NOISE = 1e-6, 10 * np.finfo(np.float64).eps


@dataclass(frozen=True)
class TrainingData:
    """A validated training set and what belongs to it on the device.

    Parameters
    ----------
    device : torch.device
    layout : Layout
    classes : ndarray of shape (n_classes,)
    dtype : numpy.dtype
        Dtype of the synthetic samples.
    mean, scale : ndarray
        One value per channel or feature.
    varies : ndarray of bool
        Whether a channel or feature varies. If not, there is nothing to learn: it has its mean in
        synthetic samples.
    standardizer : Standardizer
    real : RealData
    provenance : dict
        Fingerprint, shape and dtype of the samples as the user passed them (JSON-safe).
    """

    device: torch.device
    layout: Layout
    classes: np.ndarray
    dtype: np.dtype
    mean: np.ndarray
    scale: np.ndarray
    varies: np.ndarray
    standardizer: Standardizer
    real: RealData
    provenance: dict

    @property
    def auto_rate(self) -> float:
        """The outer learning rate that "auto" stands for, for samples of norm 1."""
        # A value is then about n ** -0.5, and a step of Adam moves it by about the learning rate:
        # this is a quarter of its size ([Feng23, C.1] on scale and rate).
        return 0.25 / sqrt(prod(self.layout.network_shape))

    @property
    def mask(self) -> torch.Tensor | None:
        """Return 0 for channels or features that do not vary, else 1; None if all do."""
        if self.varies.all():
            return None
        shape = (-1, *[1] * (len(self.layout.network_shape) - 1))
        return torch.from_numpy(self.varies.astype(np.float32)).view(shape).to(self.device)

    @property
    def units(self) -> torch.Tensor:
        """Return the raw units in a standardized unit; 0 for a constant channel or feature."""
        scale = self.standardizer.scale
        return scale if self.mask is None else scale * self.mask

    @property
    def described_units(self) -> dict:
        """What samples are standardized by, JSON-safe."""
        return {name: getattr(self, name).tolist() for name in ("mean", "scale", "varies")}

    def to_raw(self, X: torch.Tensor, factor: int = 1) -> np.ndarray:
        """Return standardized samples as arrays of the user's units, layout and dtype.

        Their images may have ``factor`` times fewer rows and columns than the samples.
        """
        wide = self.dtype == np.float64
        raw = self.standardizer.inverse(X, torch.float64 if wide else torch.float32)
        # Constant channels or features come back exactly, without rounding.
        for i in np.flatnonzero(~self.varies):
            raw[:, i] = self.mean[i]
        return self.to_caller(raw, factor)

    def to_caller(self, X: torch.Tensor, factor: int = 1) -> np.ndarray:
        """Return samples in raw units as arrays of the user's layout and dtype."""
        return self.layout.smaller(factor).to_caller(X.cpu().numpy()).astype(self.dtype)


class Checked(NamedTuple):
    """Training data that has been checked: samples, class indices, weights, classes and layout."""

    X: np.ndarray | Rows
    y: np.ndarray
    sample_weight: np.ndarray | None
    classes: np.ndarray
    layout: Layout

    def fingerprint(self) -> dict:
        """Return what identifies the data."""
        return describe(self.X, self.classes[self.y], self.sample_weight)

    def fingerprint_before(self) -> dict | None:
        """Return what 0.1.0 would have returned, or None if that is the same."""
        return describe_as_before(self.X, self.classes[self.y], self.sample_weight)


def check_training_data(estimator, X, y, sample_weight, image_shape, ipc: int) -> Checked:
    """Return samples, class indices, weights, classes and layout, or raise a ValueError.

    Warns of flat images that look as if their channels were last, and of classes whose samples all
    have weight 0.

    Samples of weight 0 are left out, so a run cannot start from them, either. The samples that are
    returned are an array, or `Rows` of one.
    Sets the estimator's ``n_features_in_`` and ``feature_names_in_``, as scikit-learn does.
    """
    X, y = as_array(X), as_array(y)
    _refuse_sparse(X)
    _refuse_no_features(X)
    refuse_unencoded(X)
    refuse_target_in(X, y)
    _refuse_ragged(X)
    _refuse_empty_categories(y)
    refuse_missing(y)
    y = plain_target(y)
    with explaining_gaps(X, image_shape is not None):
        X, y = validate_data(estimator, X, y, allow_nd=True, dtype="numeric", ensure_min_samples=2)
    # Frames with numbers that NumPy does not have, such as decimals, become arrays of objects, and
    # files hold no long doubles.
    X = X.astype(np.float64, copy=False) if X.dtype in (object, np.longdouble) else X
    check_magnitude(X, LARGEST_REAL)
    check_classification_targets(y)
    layout = infer_layout(X.shape, image_shape)
    if sample_weight is not None:
        sample_weight = check_sample_weight(
            sample_weight, X, dtype=np.float64, ensure_non_negative=True
        )
        _check_weights(sample_weight)
        kept = sample_weight > 0
        if not kept.all():
            _warn_of_lost_classes(y, y[kept])
            X, y, sample_weight = take(X, np.flatnonzero(kept)), y[kept], sample_weight[kept]
    classes, y = classes_and_index(y)
    # Labels that cannot be saved are refused now, not after the run.
    plain_labels(classes, "y")
    if ipc * len(classes) > len(X):
        raise ValueError(
            f"ipc={ipc} must be at most {len(X) // len(classes)}: a distilled set of "
            f"{ipc} x {len(classes)} classes would be larger than the {len(X)} training samples."
        )
    warn_of_channels_last(X, layout)
    return Checked(X, y, sample_weight, classes, layout)


def _check_weights(sample_weight: np.ndarray) -> None:
    """Raise a ValueError if single precision, in which losses are weighted, has no such weights.

    Single ones may be too small: they are 0 there.
    """
    largest, total = float(sample_weight.max()), float(sample_weight.sum())
    if 0 < largest < SMALLEST or total > LARGEST:
        raise ValueError(
            f"sample_weight must have a maximum of at least {SMALLEST:.1g} and a sum of at most "
            f"{LARGEST:.1g}, because networks compute in single precision; got {largest:.3g} and "
            f"{total:.3g}. Only their ratios matter: divide them by their maximum."
        )


def _warn_of_lost_classes(y: np.ndarray, kept: np.ndarray) -> None:
    """Warn of classes of y that are not among the labels that are kept."""
    lost = np.setdiff1d(y, kept).tolist()
    if lost:
        warn(
            f"sample_weight is 0 for all samples of {listed(map(repr, lost))}: the distilled set "
            "will not have these classes.",
            UserWarning,
        )


def _refuse_no_features(X) -> None:
    """Raise a ValueError if samples hold no values; NumPy's errors do not say so."""
    shape = tuple(getattr(X, "shape", ()))
    if 0 in shape[1:]:
        # scikit-learn's own wording, which its users and its checks know.
        raise ValueError(
            f"Found array with 0 feature(s) (shape={shape}) while a minimum of 1 is required."
        )


def _refuse_sparse(X) -> None:
    """Raise a TypeError for sparse samples, which most often come out of an encoder."""
    if issparse(X):
        raise TypeError(
            f"X must be dense; got a sparse {type(X).__name__}. An encoder gives dense data with "
            "OneHotEncoder(sparse_output=False), a ColumnTransformer with sparse_threshold=0; "
            "X.toarray() makes any other dense."
        )
    # Frames of pandas have it if all their columns are sparse. Single ones become dense.
    if hasattr(X, "sparse") and len(X.columns):
        raise TypeError(
            "X must be dense; got a DataFrame of sparse columns. Pass X.sparse.to_dense()."
        )


def _refuse_ragged(X) -> None:
    """Raise a clear ValueError if samples differ in shape (NumPy's names no culprit)."""
    if isinstance(X, list | tuple) or (isinstance(X, np.ndarray) and X.dtype == object):
        shapes = {np.shape(x) for x in X} if _shapes_known(X) else None
        if shapes is None or len(shapes) > 1:
            found = "ragged samples" if shapes is None else f"shapes {sorted(shapes)[:3]}"
            raise ValueError(f"X must hold samples of one shape; got {found}.")


def _shapes_known(X) -> bool:
    try:
        for x in X:
            np.shape(x)
    except ValueError:
        return False
    return True


def _refuse_empty_categories(y) -> None:
    """Raise a ValueError if a categorical ``y`` declares a class that has no samples."""
    categories = getattr(getattr(y, "dtype", None), "categories", None)
    # A polars Categorical declares no classes: all columns share their categories.
    if categories is None or is_polars_categorical(y):
        return
    missing = [c for c in categories if not (y == c).any()]
    if missing:
        raise ValueError(
            f"y must have samples of every class that it declares; {missing} have none. "
            "Drop them with y.cat.remove_unused_categories()."
        )


def training_data(
    X,
    y,
    sample_weight,
    classes,
    layout: Layout,
    device: torch.device,
    provenance: dict,
    feature_names=None,
    on_host: bool = False,
) -> TrainingData:
    """Return the training set with its moments; ``X`` keeps its dtype, so bytes stay bytes.

    Warns of channels or features, by ``feature_names``, whose differences are lost to rounding.
    """
    mean, deviation = _moments(X, layout, sample_weight)
    varies = (deviation > _NOISE * np.abs(mean)) & (deviation >= SMALLEST)
    warn_of_lost_digits(
        X.dtype,
        layout,
        np.where(deviation == 0, 0.0, mean),
        np.where(deviation == 0, 1.0, deviation),
        feature_names,
    )
    # The deviation of a constant feature is mere rounding; dividing by it would make noise.
    scale = np.where(varies, deviation, 1.0)
    standardizer = Standardizer(mean, scale, layout.network_shape, device, torch.float32)
    weight = None if sample_weight is None else as_tensor(sample_weight.astype(np.float32))
    whole, rows = whole_and_rows(X)
    samples = as_tensor(layout.to_engine(whole))
    real = RealData(samples, as_tensor(y), standardizer, device, weight, rows, on_host)
    # Values that single precision does not hold come back in double precision.
    dtype = np.dtype(np.float32 if np.can_cast(X.dtype, np.float32) else np.float64)
    return TrainingData(
        device, layout, classes, dtype, mean, scale, varies, standardizer, real, provenance
    )


def _moments(
    X: np.ndarray | Rows, layout: Layout, weight: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and standard deviation of each channel or feature.

    If it is constant, the mean is its value, bit for bit, and the deviation is 0.
    """
    axes, sides = (0, *range(2, 1 + len(layout.network_shape))), layout.network_shape[1:]
    weight = np.ones(len(X)) if weight is None else weight
    weight = weight.reshape(-1, 1, *[1] * len(sides))
    count = weight.sum() * prod(sides)

    def mean_and_deviation(prepare: Callable[[np.ndarray], np.ndarray]):
        def parts():
            return ((weight[b], prepare(layout.to_engine(X[b]))) for b in blocks(X))

        mean = sum((w * x).sum(axis=axes) for w, x in parts()) / count
        column = mean.reshape(-1, *[1] * len(sides))
        variance = sum((w * (x - column) ** 2).sum(axis=axes) for w, x in parts()) / count
        return mean, np.sqrt(variance)

    mean, deviation = mean_and_deviation(lambda x: x)
    few = np.flatnonzero(deviation <= _SMALL * np.abs(mean))
    if len(few):
        # These deviations may be mere rounding. Relative to their first values, large numbers are
        # as exact as small ones, and constant ones are 0.
        first = layout.to_engine(X[:1])[0][few].reshape(len(few), -1)[:, 0].astype(np.float64)
        origin = first.reshape(-1, *[1] * len(sides))
        shift, deviation[few] = mean_and_deviation(lambda x: x[:, few] - origin)
        mean[few] = first + shift
    return mean, deviation
