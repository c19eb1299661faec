"""Distillers where scikit-learn wants a classifier, and imbalanced-learn a sampler."""

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassifierMixin, MetaEstimatorMixin, clone
from sklearn.utils import check_array, column_or_1d
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_consistent_length, check_is_fitted, validate_data

from ._engine.data import as_tensor
from ._engine.settings import own_settings
from ._frames import Origin, like_series
from ._fresh_networks import NetworkFamily, logits_in_chunks, network_family, train_networks
from ._validation import InvalidParameterError, as_array
from ._warn import warn
from .exceptions import DivergenceWarning
from .rat_bptt import RaTBPTTDistiller

__all__ = ["DistillationSampler", "DistilledClassifier"]


def _classifier_has(method: str, networks_have: bool):
    """Return a check for `available_if`: whether what predicts has this method."""

    def check(self):
        classifier = getattr(self, "classifier_", self.classifier)
        if classifier is None:
            return networks_have
        # The classifier's own AttributeError says more than one of ours could.
        getattr(classifier, method)
        return True

    return check


class DistilledClassifier(ClassifierMixin, MetaEstimatorMixin, BaseEstimator):
    """Distil the training set, then train a classifier on the few samples that come out.

    Parameters
    ----------
    distiller : estimator or None, default=None
        What distils; cloned before it is fitted. None is ``RaTBPTTDistiller()``.
    classifier : estimator or None, default=None
        What is trained on the synthetic samples; cloned before it is fitted. It gets images
        flattened, and learned soft labels as the label of the largest probability. None trains the
        distiller's own networks by its recipe, `n_networks` of them for `eval_steps` steps, and
        averages their probabilities.

    Attributes
    ----------
    distiller_ : estimator
        The fitted distiller, with the synthetic samples in `distilled_`.
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
    DistillationSampler : The same first half as a step of imbalanced-learn's pipelines.

    Notes
    -----
    Samples reach a classifier in the units of `X`. A classifier that needs them scaled is best
    given as ``make_pipeline(StandardScaler(), classifier)``; networks standardise by themselves.

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

    def __init__(self, distiller=None, classifier=None):
        self.distiller = distiller
        self.classifier = classifier

    def fit(self, X, y):
        """Distil a training set and train on the synthetic samples.

        Parameters
        ----------
        X : array-like of shape (n, features), (n, H, W), (n, C, H, W) or (n, H, W, C)
            Training samples, as the distiller takes them.
        y : array-like of shape (n,)
            Class labels.

        Returns
        -------
        self : object

        Raises
        ------
        ValueError
            If a parameter or the data is unfit, as in the distiller's `fit`.
        """
        if self.classifier is not None and not _is_estimator(self.classifier, "predict"):
            raise InvalidParameterError(
                "classifier must be None or an estimator with fit and predict; "
                f"got {self.classifier!r}."
            )
        self.distiller_ = _fit_distiller(self, X, y)
        distilled = self.distiller_.distilled_
        self.ensemble_ = self.classifier_ = None
        if self.classifier is None:
            self.ensemble_ = self._train_networks()
            self.classes_ = self.distiller_.classes_
        else:
            X_syn = _flat(distilled.X.copy())
            self.classifier_ = clone(self.classifier).fit(X_syn, distilled.hard_labels())
            self.classes_ = self.classifier_.classes_
        return self

    def predict(self, X):
        """Return the predicted labels.

        Parameters
        ----------
        X : array-like of shape (n, ...)
            Samples in the layout of the training samples.

        Returns
        -------
        ndarray of shape (n,)
            Of a sample of which no network has finite scores, the first class, which says nothing:
            `predict_proba` has NaN for it.

        Warns
        -----
        DivergenceWarning
            If the scores of some networks are not finite. The others predict.
        """
        X = self._check_samples(X)
        if self.classifier_ is not None:
            return self.classifier_.predict(_flat(X))
        return self.classes_[self._probabilities(X).argmax(axis=1)]

    def score(self, X, y, sample_weight=None) -> float:
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
            Between 0 and 1. A sample of which no network has finite scores counts as an error.

        Warns
        -----
        DivergenceWarning
            As in `predict`.
        """
        if getattr(self, "classifier_", None) is not None:
            return super().score(X, y, sample_weight)
        probabilities = self._probabilities(self._check_samples(X))
        y = column_or_1d(as_array(y))
        check_consistent_length(probabilities, y, sample_weight)
        right = self.classes_[probabilities.argmax(axis=1)] == y
        right &= np.isfinite(probabilities).all(axis=1)
        return float(np.average(right, weights=sample_weight))

    @available_if(_classifier_has("predict_proba", networks_have=True))
    def predict_proba(self, X):
        """Return the probabilities of the classes; only if the classifier has them.

        Parameters
        ----------
        X : array-like of shape (n, ...)
            Samples in the layout of the training samples.

        Returns
        -------
        ndarray of shape (n, n_classes)
            With a column for each of `classes_`. Those of networks are the mean of each network's
            softmax, in float32, over the networks whose scores of a sample are finite; NaN if none
            are.

        Warns
        -----
        DivergenceWarning
            As in `predict`.
        """
        X = self._check_samples(X)
        if self.classifier_ is not None:
            return self.classifier_.predict_proba(_flat(X))
        return self._probabilities(X)

    @available_if(_classifier_has("decision_function", networks_have=False))
    def decision_function(self, X):
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
        return self.classifier_.decision_function(_flat(X))

    def _check_samples(self, X) -> np.ndarray:
        """Return ``X`` as an array, or raise scikit-learn's errors for what `fit` did not see."""
        check_is_fitted(self)
        X = as_array(X)
        layout = self.distiller_.distilled_.recipe.layout
        if len(layout.outer) == 1:
            return validate_data(self, X, reset=False, dtype="numeric")
        X = check_array(X, allow_nd=True, dtype="numeric")
        layout.check(X)
        return X

    @own_settings()
    def _train_networks(self) -> np.ndarray:
        """Return the parameters ``(n_networks, n_parameters)`` of networks the recipe trains."""
        distilled = self.distiller_.distilled_
        recipe = distilled.recipe
        trained = train_networks(self._networks(), distilled, recipe.n_networks, [recipe.steps])
        return np.stack([theta.cpu().numpy() for _, _, theta in trained])

    @own_settings()
    def _probabilities(self, X: np.ndarray) -> np.ndarray:
        """Return the mean of the networks' probabilities ``(n, n_classes)``."""
        probabilities, n_diverged = _ensemble_probabilities(self._networks(), self.ensemble_, X)
        if n_diverged:
            n_unknown = np.isnan(probabilities).any(axis=1).sum()
            warn(
                f"{n_diverged} of {len(self.ensemble_)} networks diverged: scores of theirs are "
                f"not finite, and left out. For {n_unknown} of {len(X)} samples no network has "
                "finite ones, and what is predicted says nothing. Check the synthetic samples, the "
                "values of X and the network.",
                DivergenceWarning,
            )
        return probabilities

    def _networks(self) -> NetworkFamily:
        """Return the distiller's networks, on the device that its parameter means here and now."""
        distilled = self.distiller_.distilled_
        like = getattr(self.distiller_, "_evaluates_like", lambda: self.distiller_)()
        architecture = distilled.recipe.architecture
        if architecture is None:
            # A callable, which a recipe cannot hold but the fitted distiller does.
            architecture = getattr(like, "architecture", None)
        augmentation = getattr(like, "augmentation", "recipe")
        device = getattr(like, "device", "auto")
        # The distiller's fit has checked the network.
        return network_family(distilled, architecture, device, augmentation, check=False)

    def __sklearn_tags__(self):
        """Return scikit-learn's tags: images have more than two dimensions."""
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        return tags


class DistillationSampler(MetaEstimatorMixin, BaseEstimator):
    """Replace the training set by a distilled one in imbalanced-learn's pipelines.

    imbalanced-learn's `Pipeline` calls `fit_resample` when it is fitted and passes the samples by
    when it predicts, so that later steps learn from the synthetic samples and predict real ones.
    imbalanced-learn itself is not needed to import or use this class.

    Parameters
    ----------
    distiller : estimator or None, default=None
        What distils; cloned before it is fitted. None is ``RaTBPTTDistiller()``.
    class_weight : "balanced", dict or None, default="balanced"
        Weights of the classes in what the distiller minimises, as in
        `sklearn.utils.class_weight.compute_sample_weight`. "balanced" weighs each class the same;
        with None the synthetic samples, though as many of each class, teach the networks the
        classes' frequencies in ``y``.

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

    def __init__(self, distiller=None, class_weight="balanced"):
        self.distiller = distiller
        self.class_weight = class_weight

    def fit(self, X, y):
        """Distil a training set.

        Parameters
        ----------
        X : array-like of shape (n, features), (n, H, W), (n, C, H, W) or (n, H, W, C)
            Training samples, as the distiller takes them.
        y : array-like of shape (n,)
            Class labels.

        Returns
        -------
        self : object

        Raises
        ------
        ValueError
            If a parameter or the data is unfit, as in the distiller's `fit`.
        """
        X, y = as_array(X), as_array(y)
        metadata = {}
        if self.class_weight is not None:
            # Checked here, for labels that cannot be are refused with less of a reason below.
            y = column_or_1d(y, warn=True, dtype=None)
            check_classification_targets(y)
            metadata["sample_weight"] = compute_sample_weight(self.class_weight, y)
        self.distiller_ = _fit_distiller(self, X, y, **metadata)
        self.classes_ = self.distiller_.classes_
        return self

    def fit_resample(self, X, y):
        """Distil a training set and return the synthetic samples in its place.

        Parameters
        ----------
        X : array-like of shape (n, features), (n, H, W), (n, C, H, W) or (n, H, W, C)
            Training samples, as the distiller takes them.
        y : array-like of shape (n,)
            Class labels.

        Returns
        -------
        X_syn : ndarray or DataFrame of shape (n_classes * ipc, ...)
            Synthetic samples in the units, shape and layout of ``X``; a DataFrame of the same
            library with the same columns if ``X`` is one.
        y_syn : ndarray or Series of shape (n_classes * ipc,)
            Their labels; of learned soft labels that of the largest probability. A Series of the
            same library, name and dtype if ``y`` is one.
        """
        distilled = self.fit(X, y).distiller_.distilled_
        X_syn = Origin.of(X).frame(distilled.X.copy())
        return X_syn, like_series(distilled.hard_labels(), y)

    def __sklearn_tags__(self):
        """Return scikit-learn's tags: labels are needed, images have more than two dimensions."""
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        tags.input_tags.three_d_array = True
        return tags


def _fit_distiller(owner: BaseEstimator, X, y, **metadata):
    """Return the owner's distiller fitted, and give the owner what it saw of the features."""
    distiller = RaTBPTTDistiller() if owner.distiller is None else owner.distiller
    if not _is_estimator(distiller, "transform"):
        raise InvalidParameterError(
            f"distiller must be None or a distiller such as RaTBPTTDistiller(); got {distiller!r}."
        )
    fitted = clone(distiller).fit(X, y, **metadata)
    if not hasattr(fitted, "distilled_"):
        raise InvalidParameterError(
            "distiller must set distilled_ when it is fitted, as RaTBPTTDistiller does; "
            f"got {distiller!r}."
        )
    # The distiller has checked X; this records the feature names, and forgets those of an
    # earlier fit.
    validate_data(owner, X, skip_check_array=True)
    owner.n_features_in_ = fitted.n_features_in_
    return fitted


def _is_estimator(value, method: str) -> bool:
    return not isinstance(value, type) and hasattr(value, "fit") and hasattr(value, method)


def _flat(X: np.ndarray) -> np.ndarray:
    return X.reshape(len(X), -1)


def _ensemble_probabilities(
    family: NetworkFamily, parameters: np.ndarray, X: np.ndarray
) -> tuple[np.ndarray, int]:
    """Return the mean over the networks of their classes' probabilities ``(n, n_classes)``.

    A network does not take part for a sample of which its scores are not finite, and how many there
    are that have such samples is returned as well.
    """
    unlabelled = family.data(X, np.full(len(X), -1))
    total, n_finite, diverged = 0, 0, []
    for theta in as_tensor(parameters).to(family.learner.device):
        chunks = logits_in_chunks(family, theta, unlabelled)
        probabilities = torch.cat([logits.softmax(dim=1) for logits, _ in chunks])
        finite = probabilities.isfinite().all(dim=1, keepdim=True)
        total = total + probabilities.where(finite, 0)
        n_finite = n_finite + finite.to(total)
        diverged.append(~finite.all())
    # 0 / 0, which is NaN, where no network knows.
    return (total / n_finite).cpu().numpy(), int(torch.stack(diverged).sum())
