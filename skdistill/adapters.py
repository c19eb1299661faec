"""Distillers where scikit-learn wants a classifier, and imbalanced-learn a sampler."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Literal, Self

import numpy as np
import sklearn
import torch
from numpy.typing import ArrayLike
from sklearn.base import clone
from sklearn.metrics import accuracy_score
from sklearn.pipeline import Pipeline
from sklearn.utils import column_or_1d, get_tags
from sklearn.utils.metadata_routing import UNUSED, MetadataRouter, MethodMapping, process_routing
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import (
    check_is_fitted,
    has_fit_parameter,
    validate_data,
)

from ._data.bases import BaseEstimator, ClassifierMixin, MetaEstimatorMixin, available_if
from ._data.class_weight import check_class_weight, class_weights
from ._data.frames import Origin, like_series, plain_target
from ._data.labels import refuse_missing
from ._data.older_versions import OlderPicklesMixin
from ._data.validation import (
    BaseSearchCV,
    InvalidParameterError,
    as_array,
    check_magnitude,
    check_sample_weight,
    check_samples,
)
from ._data.warn import warn
from ._engine.data import as_tensor
from ._engine.settings import own_settings
from .distilled._dataset import DistilledDataset
from .distillers.rat_bptt import RaTBPTTDistiller
from .evaluation._networks import (
    NetworkFamily,
    logits_in_chunks,
    network_family,
    train_networks,
    training_samples,
    with_what_is_not_kept,
)
from .exceptions import DivergenceWarning

__all__ = ["DistillationSampler", "DistilledClassifier"]


def _classifier_has(method: str, networks_have: bool) -> Callable[[Any], bool]:
    """Return a check for `available_if`: whether the predictor has this method."""

    def check(self: Any) -> bool:
        classifier = getattr(self, "classifier_", self.classifier)
        if classifier is None:
            return networks_have
        # The classifier's own AttributeError says more than ours could.
        getattr(classifier, method)
        return True

    return check


class _Adapter(MetaEstimatorMixin, OlderPicklesMixin, BaseEstimator):
    """An estimator whose `fit` passes the samples and their weights to a distiller."""

    # The distiller requests the weights; see `get_metadata_routing`.
    __metadata_request__fit = {"sample_weight": UNUSED}

    distiller: Any
    # What `fit` sets.
    distiller_: Any
    classes_: np.ndarray
    n_features_in_: int

    def get_metadata_routing(self) -> Any:
        """Return scikit-learn's router: weights in `fit` go to the distiller."""
        to_fit = MethodMapping().add(caller="fit", callee="fit")
        # scikit-learn knows this method only if imbalanced-learn has registered it.
        with suppress(ValueError):
            to_fit.add(caller="fit_resample", callee="fit")
        return MetadataRouter(owner=self).add(distiller=_distiller(self), method_mapping=to_fit)

    def __sklearn_tags__(self) -> Any:
        """Return scikit-learn's tags: labels are needed, images have more than two dimensions."""
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        tags.input_tags.three_d_array = True
        return tags


class DistilledClassifier(ClassifierMixin, _Adapter):
    """Distill the training set, then train a classifier on the few synthetic samples.

    Parameters
    ----------
    distiller : estimator or None, default=None
        Distills the training set; cloned before it is fitted. None is ``RaTBPTTDistiller()``.
    classifier : estimator or None, default=None
        Trained on the synthetic samples; cloned before it is fitted. It gets flattened images,
        data frames with the columns of `X` if that is one and, instead of learned soft labels, the
        label of the largest probability. One with a method
        ``fit_distilled``, as `KernelRidgeClassifier` has, gets the distilled set itself, with
        learned labels and scale. None trains the distiller's own networks by its recipe,
        `n_networks` of them for `eval_steps` steps, and averages their probabilities.

    Attributes
    ----------
    distiller_ : estimator
        The fitted distiller, with the synthetic samples in `distilled_`. If `fit` was interrupted
        while it distilled, it has the samples so far.
    classifier_ : estimator or None
        The fitted classifier; None if networks predict.
    ensemble_ : ndarray of shape (n_networks, n_parameters) or None
        The parameters of the trained networks; None if a classifier predicts.
    classes_ : ndarray of shape (n_classes,)
        The class labels, in the order of the probabilities' columns.
    n_features_in_ : int
        Number of features, or of values in an image, of a sample.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the features; only if `fit` was given a DataFrame whose column names are strings.

    See Also
    --------
    DistillationSampler : Only distills, as a step of imbalanced-learn's pipelines.

    Notes
    -----
    Samples reach a classifier in the units of `X`. If a classifier needs scaled samples, pass
    ``make_pipeline(StandardScaler(), classifier)``; networks standardize by themselves.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.neighbors import KNeighborsClassifier
    >>> from skdistill import DistilledClassifier, RaTBPTTDistiller
    >>> X, y = load_iris(return_X_y=True)
    >>> distiller = RaTBPTTDistiller(max_iter=10, window=5, unroll=10, random_state=0)
    >>> networks = DistilledClassifier(distiller).fit(X, y)
    >>> networks.predict_proba(X).shape
    (150, 3)
    >>> neighbors = DistilledClassifier(distiller, KNeighborsClassifier(1)).fit(X, y)
    >>> neighbors.classifier_.n_samples_fit_
    3
    """

    # What `fit` sets as well.
    classifier_: Any
    ensemble_: np.ndarray | None
    # The form of the samples that the classifier gets; None for flat arrays.
    _origin: Origin | None = None

    def __init__(self, distiller: Any = None, classifier: Any = None):
        self.distiller = distiller
        self.classifier = classifier

    def fit(self, X: ArrayLike, y: ArrayLike, *, sample_weight: ArrayLike | None = None) -> Self:
        """Distill a training set and train on the synthetic samples.

        Parameters
        ----------
        X : array-like of shape (n, features), (n, H, W), (n, C, H, W) or (n, H, W, C)
            Training samples, as the distiller takes them.
        y : array-like of shape (n,)
            Class labels.
        sample_weight : array-like of shape (n,) or None, default=None
            Weights of the real samples, for the distiller's `fit`; the predictor learns only from
            the synthetic samples. With metadata routing the distiller must request them, as
            ``RaTBPTTDistiller().set_fit_request(sample_weight=True)`` does.

        Returns
        -------
        self : object

        Raises
        ------
        TypeError
            If there are weights and the distiller takes none.
        ValueError
            If a parameter or the data is unfit, as in the distiller's `fit`.
        """
        if self.classifier is not None and not _is_classifier(self.classifier):
            raise InvalidParameterError(
                "classifier must be None or a classifier with fit and predict; "
                f"got {self.classifier!r}."
            )
        weight = _routed(self, sample_weight)
        # It has taken long, so it is kept even if the classifier fails.
        distiller = _fit_distiller(self, clone(_distiller(self)), X, y, weight)
        distilled, origin = distiller.distilled_, None
        _note_features(self, X, distiller)
        ensemble = classifier = None
        if self.classifier is None:
            ensemble = _train_ensemble(_networks(distiller), distilled)
        elif hasattr(self.classifier, "fit_distilled"):
            classifier = clone(self.classifier).fit_distilled(distilled)
            # One that knows the names of the columns is to be asked with them.
            origin = Origin.of(X) if hasattr(classifier, "feature_names_in_") else None
        else:
            origin = Origin.of(X)
            X_syn = origin.frame(_flat(distilled.X.copy()))
            classifier = clone(self.classifier).fit(X_syn, distilled.hard_labels())
        self.classes_ = (distiller if classifier is None else classifier).classes_
        self._origin, self.ensemble_, self.classifier_ = origin, ensemble, classifier
        return self

    def __sklearn_is_fitted__(self) -> bool:
        """Return whether there is something to predict with, and not only a distilled set."""
        return hasattr(self, "classifier_")

    def _for_classifier(self, X: np.ndarray) -> Any:
        """Return samples in the form in which the classifier got the synthetic ones."""
        return _flat(X) if self._origin is None else self._origin.frame(_flat(X))

    def predict(self, X: ArrayLike) -> np.ndarray:
        """Return the predicted labels.

        Parameters
        ----------
        X : array-like of shape (n, ...)
            Samples in the layout of the training samples.

        Returns
        -------
        ndarray of shape (n,)
            For a sample for which no network has finite scores it is the first class, which says
            nothing: `predict_proba` has NaN for it.

        Warns
        -----
        DivergenceWarning
            If the scores of some networks are not finite. The others predict.
        """
        X = self._check_samples(X)
        if self.classifier_ is not None:
            return self.classifier_.predict(self._for_classifier(X))
        return self.classes_[self._probabilities(X).argmax(axis=1)]

    def score(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
        """Return the accuracy of the predicted labels.

        Parameters
        ----------
        X : array-like of shape (n, ...)
            Samples in the layout of the training samples.
        y : array-like of shape (n,)
            Their labels.
        sample_weight : array-like of shape (n,) or None, default=None
            Weights of the samples.

        Returns
        -------
        float
            Between 0 and 1. A sample for which no network has finite scores counts as an error.

        Warns
        -----
        DivergenceWarning
            As in `predict`.
        """
        samples = self._check_samples(X)
        if sample_weight is not None:
            sample_weight = check_sample_weight(sample_weight, samples, ensure_non_negative=True)
        if self.classifier_ is not None:
            return super().score(X, as_array(y), sample_weight)
        probabilities = self._probabilities(samples)
        y = column_or_1d(as_array(y))
        predicted = self.classes_[probabilities.argmax(axis=1)]
        accuracy_score(y, predicted)  # refuses labels of another kind
        right = predicted == y
        right &= np.isfinite(probabilities).all(axis=1)
        return float(np.average(right, weights=sample_weight))

    @available_if(_classifier_has("predict_proba", networks_have=True))
    def predict_proba(self, X: ArrayLike) -> np.ndarray:
        """Return the probabilities of the classes; only if the classifier has them.

        Parameters
        ----------
        X : array-like of shape (n, ...)
            Samples in the layout of the training samples.

        Returns
        -------
        ndarray of shape (n, n_classes)
            One column for each of `classes_`. The probabilities of networks are the mean of their
            softmax, in float32, over the networks whose scores for a sample are finite; NaN if
            there are none.

        Warns
        -----
        DivergenceWarning
            As in `predict`.
        """
        X = self._check_samples(X)
        if self.classifier_ is not None:
            return self.classifier_.predict_proba(self._for_classifier(X))
        return self._probabilities(X)

    @available_if(_classifier_has("decision_function", networks_have=False))
    def decision_function(self, X: ArrayLike) -> np.ndarray:
        """Return the classifier's decision function; only if it has one, and networks have none.

        Parameters
        ----------
        X : array-like of shape (n, ...)
            Samples in the layout of the training samples.

        Returns
        -------
        ndarray of shape (n,) or (n, n_classes)
        """
        X = self._check_samples(X)
        return self.classifier_.decision_function(self._for_classifier(X))

    def _check_samples(self, X: ArrayLike) -> np.ndarray:
        """Return ``X`` as an array, or raise scikit-learn's errors for what `fit` did not see."""
        check_is_fitted(self)
        return check_samples(self, X, self.distiller_.distilled_.recipe.layout)

    @own_settings()
    def _probabilities(self, X: np.ndarray) -> np.ndarray:
        """Return the mean of the networks' probabilities ``(n, n_classes)``."""
        check_magnitude(X)
        networks = _networks(self.distiller_)
        assert self.ensemble_ is not None  # what predicts, if no classifier does
        probabilities, n_diverged = _ensemble_probabilities(networks, self.ensemble_, X)
        if n_diverged:
            n_unknown = np.isnan(probabilities).any(axis=1).sum()
            warn(
                f"{n_diverged} of {len(self.ensemble_)} networks diverged: their scores are not "
                f"finite for some samples, and left out. For {n_unknown} of {len(X)} samples no "
                "network has finite scores, and the prediction says nothing. Check the synthetic "
                "samples, the values of X and the network.",
                DivergenceWarning,
            )
        return probabilities

    def get_metadata_routing(self) -> Any:
        """Return scikit-learn's router: weights in `fit` go to the distiller."""
        return super().get_metadata_routing().add_self_request(self)


class DistillationSampler(_Adapter):
    """Replace the training set by a distilled one in imbalanced-learn's pipelines.

    imbalanced-learn's `Pipeline` calls `fit_resample` when it is fitted and skips this step when it
    predicts, so later steps learn from synthetic samples and predict real ones. imbalanced-learn
    itself is not needed to import or use this class.

    Parameters
    ----------
    distiller : estimator or None, default=None
        Distills the training set; cloned before it is fitted. None is ``RaTBPTTDistiller()``.
    class_weight : "balanced", dict or None, default="balanced"
        Weights of the classes in the loss that the distiller minimizes: ``{label: weight}``, where
        a class that is not named has 1. They multiply ``sample_weight``. "balanced" gives every
        class the same total weight. With None the synthetic samples, although equally many of each
        class, teach networks the frequencies of the classes in ``y``. Not used if the distiller, or
        that of a `BoostedDistiller`, has a `class_weight` of its own.

    Attributes
    ----------
    distiller_ : estimator
        The fitted distiller, with the synthetic samples in `distilled_`.
    classes_ : ndarray of shape (n_classes,)
        The class labels.
    n_features_in_ : int
        Number of features, or of values in an image, of a sample.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the features; only if `fit` was given a DataFrame whose column names are strings.

    See Also
    --------
    DistilledClassifier : Distiller and classifier in one, for scikit-learn's pipelines.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skdistill import DistillationSampler, RaTBPTTDistiller
    >>> X, y = load_iris(return_X_y=True)
    >>> sampler = DistillationSampler(RaTBPTTDistiller(ipc=2, max_iter=2, window=2, unroll=4))
    >>> X_syn, y_syn = sampler.fit_resample(X, y)
    >>> X_syn.shape, y_syn.tolist()
    ((6, 4), [0, 1, 2, 0, 1, 2])
    """

    def __init__(
        self,
        distiller: Any = None,
        class_weight: Mapping[Any, float] | Literal["balanced"] | None = "balanced",
    ):
        self.distiller = distiller
        self.class_weight = class_weight

    def fit(self, X: ArrayLike, y: ArrayLike, *, sample_weight: ArrayLike | None = None) -> Self:
        """Distill a training set.

        Parameters
        ----------
        X : array-like of shape (n, features), (n, H, W), (n, C, H, W) or (n, H, W, C)
            Training samples, as the distiller takes them.
        y : array-like of shape (n,)
            Class labels.
        sample_weight : array-like of shape (n,) or None, default=None
            Weights of the real samples, for the distiller's `fit`. With metadata routing the
            distiller must request them, as in `DistilledClassifier`.

        Returns
        -------
        self : object

        Raises
        ------
        TypeError
            If there are weights, of samples or classes, and the distiller takes none.
        ValueError
            If a parameter or the data is unfit, as in the distiller's `fit`.
        """
        X, y = as_array(X), as_array(y)
        weight = _routed(self, sample_weight)
        distiller = clone(_distiller(self))
        if self.class_weight is not None and not _weighs_classes(distiller):
            if (of_terms := _that_weighs_terms(distiller)) is None:
                weight = self._weigh_classes(y, weight)
            else:
                # It takes classes one by one, and would not see the weights of whole classes in
                # those of their samples.
                of_terms.set_params(class_weight=self.class_weight)
        _fit_distiller(self, distiller, X, y, weight)
        _note_features(self, X, self.distiller_)
        self.classes_ = self.distiller_.classes_
        return self

    def _weigh_classes(self, y: ArrayLike, weight: ArrayLike | None) -> ArrayLike:
        """Return the samples' weights, multiplied by those of their classes."""
        # Checked here, because the errors below give less of a reason for impossible labels.
        refuse_missing(y)
        y = column_or_1d(plain_target(as_array(y)), warn=True, dtype=None)
        check_classification_targets(y)
        if weight is not None:
            weight = check_sample_weight(weight, y, dtype=np.float64, ensure_non_negative=True)
        kept = slice(None) if weight is None else weight > 0
        classes, index = np.unique(y[kept], return_inverse=True)
        check_class_weight(self.class_weight, classes)
        counted = None if weight is None else weight[kept]
        of_class = class_weights(self.class_weight, classes, index, counted)
        assert of_class is not None
        weight = np.ones(len(y)) if weight is None else weight.copy()
        weight[kept] *= of_class[index]
        return weight

    def fit_resample(
        self, X: ArrayLike, y: ArrayLike, *, sample_weight: ArrayLike | None = None
    ) -> tuple[Any, Any]:
        """Distill a training set and return the synthetic samples in its place.

        Parameters
        ----------
        X : array-like of shape (n, features), (n, H, W), (n, C, H, W) or (n, H, W, C)
            Training samples, as the distiller takes them.
        y : array-like of shape (n,)
            Class labels.
        sample_weight : array-like of shape (n,) or None, default=None
            Weights of the real samples, for the distiller's `fit`. With metadata routing the
            distiller must request them, as in `DistilledClassifier`; without routing,
            imbalanced-learn's pipelines pass no weights to a sampler.

        Returns
        -------
        X_syn : ndarray or DataFrame of shape (n_classes * ipc, ...)
            Synthetic samples in the units, shape and layout of ``X``; a DataFrame of the same
            library with the same columns if ``X`` is one.
        y_syn : ndarray or Series of shape (n_classes * ipc,)
            Their labels; for learned soft labels the label of the largest probability. A Series of
            the same library, name and dtype if ``y`` is one.
        """
        distilled = self.fit(X, y, sample_weight=sample_weight).distiller_.distilled_
        X_syn = Origin.of(X).frame(distilled.X.copy())
        return X_syn, like_series(distilled.hard_labels(), y)


def _distiller(owner: Any) -> Any:
    """Return the owner's distiller; the default one requests weights."""
    if owner.distiller is None:
        distiller = RaTBPTTDistiller()
        return distiller.set_fit_request(sample_weight=True) if _routing_enabled() else distiller
    # These have no distilled_ of their own, which would be found out only when they are fitted.
    holds_others = isinstance(owner.distiller, Pipeline | BaseSearchCV)
    if holds_others or not _is_estimator(owner.distiller, "transform"):
        raise InvalidParameterError(
            "distiller must be None or a distiller such as RaTBPTTDistiller(); "
            f"got {owner.distiller!r}."
        )
    return owner.distiller


def _weighs_classes(distiller: Any) -> bool:
    """Return whether a distiller, or the one in it, has weights of classes."""
    if distiller is None:
        return False
    has_own = getattr(distiller, "class_weight", None) is not None
    return has_own or _weighs_classes(getattr(distiller, "distiller", None))


def _that_weighs_terms(distiller: Any) -> Any:
    """Return the distiller, or the one in it, if class weights are those of its loss's terms."""
    if distiller is None or getattr(distiller, "_weighs_terms", False):
        return distiller
    return _that_weighs_terms(getattr(distiller, "distiller", None))


def _routing_enabled() -> bool:
    return sklearn.get_config()["enable_metadata_routing"]


def _routed(owner: Any, sample_weight: ArrayLike | None) -> ArrayLike | None:
    """Return the weights that are routed to the owner's distiller."""
    if sample_weight is None or not _routing_enabled():
        return sample_weight
    routed = process_routing(owner, "fit", sample_weight=sample_weight)
    return routed.distiller.fit.get("sample_weight")


def _fit_distiller(
    owner: Any, distiller: Any, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None
) -> Any:
    """Fit this distiller and return it, as the owner's ``distiller_``."""
    metadata = {}
    if sample_weight is not None:
        if not has_fit_parameter(distiller, "sample_weight"):
            raise TypeError(
                "distiller must take sample_weight in fit if samples or classes are weighted; "
                f"{type(distiller).__name__} does not."
            )
        metadata["sample_weight"] = sample_weight
    try:
        distiller.fit(X, y, **metadata)
    finally:
        # However the run ended, even with an error or Ctrl-C, its result so far is kept (that of a
        # boosted run's first block is in its distiller_). What an earlier fit has trained on other
        # samples goes.
        if hasattr(distiller, "distilled_") or hasattr(distiller, "distiller_"):
            for name in ("classifier_", "ensemble_", "classes_"):
                vars(owner).pop(name, None)
            owner.distiller_ = distiller
    if not hasattr(distiller, "distilled_"):
        raise InvalidParameterError(
            "distiller must set distilled_ when it is fitted, as RaTBPTTDistiller does; "
            f"got {_distiller(owner)!r}."
        )
    return distiller


def _note_features(owner: Any, X: ArrayLike, distiller: Any) -> None:
    """Copy what the distiller knows about the features, and drop names of an earlier fit."""
    validate_data(owner, X, skip_check_array=True)
    owner.n_features_in_ = distiller.n_features_in_


def _is_estimator(value: object, method: str) -> bool:
    return not isinstance(value, type) and hasattr(value, "fit") and hasattr(value, method)


def _is_classifier(value: object) -> bool:
    """Return whether an estimator predicts, and does not say that it predicts no classes."""
    if not _is_estimator(value, "predict"):
        return False
    try:
        return get_tags(value).estimator_type in (None, "classifier")
    except AttributeError:
        return True  # none of scikit-learn's kind


def _flat(X: np.ndarray) -> np.ndarray:
    return X.reshape(len(X), -1)


def _networks(distiller: Any) -> NetworkFamily:
    """Return a fitted distiller's networks, on the device that its parameter means here."""
    distilled = distiller.distilled_
    source = getattr(distiller, "_evaluates_like", lambda: distiller)()
    architecture, augmentation = with_what_is_not_kept(distilled.recipe, source)
    device = getattr(source, "device", "auto")
    # The distiller's fit has checked the network.
    return network_family(distilled, architecture, device, augmentation, check=False)


@own_settings()
def _train_ensemble(family: NetworkFamily, distilled: DistilledDataset) -> np.ndarray:
    """Return the parameters ``(n_networks, n_parameters)`` of networks trained by the recipe."""
    recipe = distilled.recipe
    training = training_samples(family, distilled)
    trained = train_networks(family, training, recipe.n_networks, [recipe.steps])
    return np.stack([theta.cpu().numpy() for _, _, theta in trained])


def _ensemble_probabilities(
    family: NetworkFamily, parameters: np.ndarray, X: np.ndarray
) -> tuple[np.ndarray, int]:
    """Return the mean over the networks of their classes' probabilities ``(n, n_classes)``.

    A network is left out for samples for which its scores are not finite. The number of networks
    with such samples is returned as well.
    """
    unlabeled = family.data(X, np.full(len(X), -1))
    total: Any = 0
    n_finite: Any = 0
    diverged = []
    for theta in as_tensor(parameters).to(family.learner.device):
        chunks = logits_in_chunks(family, theta, unlabeled)
        probabilities = torch.cat([logits.softmax(dim=1) for logits, _ in chunks])
        finite = probabilities.isfinite().all(dim=1, keepdim=True)
        total = total + probabilities.where(finite, 0)
        n_finite = n_finite + finite.to(total)
        diverged.append(~finite.all())
    # 0 / 0, which is NaN, where no network has finite scores.
    return (total / n_finite).cpu().numpy(), int(torch.stack(diverged).sum())
