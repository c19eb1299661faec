"""The output of a fitted distiller: its samples, and what networks learn from them."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils import ClassifierTags
from sklearn.utils.validation import check_is_fitted

from .._data.bases import TransformerMixin
from .._data.frames import Origin
from .._data.older_versions import OlderPicklesMixin
from .._data.validation import check_samples, get_output_config
from ..distilled._dataset import DistilledDataset
from ..distilled._protocol import EvaluationProtocol
from ..networks import Architecture
from ._networks import with_what_is_not_kept
from ._papers import check_said_once, resolve_protocol
from ._protocol import (
    EvaluationResult,
    check_test_data,
    evaluate_checked,
    in_words,
    telling_what_is_done,
)

__all__ = ["DistillerOutputMixin"]


class _Pair(tuple[Any, np.ndarray]):
    """Samples and labels, which are no array: the next step of a pipeline would make it of them."""

    def __array__(self, *args: Any, **kwargs: Any) -> np.ndarray:
        raise TypeError(
            "a distiller must be the last step of a pipeline: it returns samples and labels. In "
            "front of a classifier use DistilledClassifier(distiller, classifier), or a "
            "DistillationSampler in a pipeline of imbalanced-learn."
        )


class DistillerOutputMixin(TransformerMixin, OlderPicklesMixin, auto_wrap_output_keys=None):
    """`transform`, `score` and `evaluate` of an estimator with a ``distilled_``.

    The estimator keeps the form of X and y in ``_origin``. `_evaluates_like` returns the estimator
    whose ``device`` applies, and whose ``architecture`` and ``augmentation`` are those that a
    recipe cannot keep.
    """

    # What `fit` sets. They stand here, where they are no fields, and so no parameters.
    distilled_: DistilledDataset
    classes_: np.ndarray
    history_: dict[str, list[Any]]
    n_features_in_: int
    n_iter_: int
    feature_names_in_: np.ndarray
    _origin: Origin

    if TYPE_CHECKING:
        # scikit-learn makes these of what `fit` and `score` take.
        def set_fit_request(self, *, sample_weight: bool | str | None = ...) -> Self: ...
        def set_score_request(self, *, sample_weight: bool | str | None = ...) -> Self: ...

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore a pickle; one of 0.1.0 has the columns of a pandas frame, and no origin."""
        state = dict(state)
        if "distilled_" in state and "_origin" not in state:
            columns = state.pop("_columns", None)
            library = None if columns is None else "pandas"
            state["_origin"] = Origin(library, columns, None, None)
        super().__setstate__(state)

    def _evaluates_like(self) -> Any:
        """Return the estimator whose parameters say how networks are trained and where."""
        return self

    def transform(self, X: ArrayLike | None = None) -> tuple[Any, np.ndarray]:
        """Return the synthetic samples and their labels.

        Parameters
        ----------
        X : array-like or None, default=None
            Checked if given, but not used: a distiller changes the number of samples, so it must be
            the last step of a pipeline, whose samples are ``pipe[-1].transform()``. (In the middle
            of a pipeline the next step would get this pair instead of its ``X``, and refuse it: use
            `DistilledClassifier` or `DistillationSampler` there.)

        Returns
        -------
        X_syn : ndarray or DataFrame of shape (n_classes * ipc, ...)
            Samples in the units, shape and layout of the training samples: a DataFrame of the same
            library (pandas, polars) with the same columns if those were a DataFrame. Their dtype is
            float32 if that holds every value of the training samples' dtype, else float64: whole
            numbers come back as floats, of 32 and 64 bits as float64, and
            ``distilled_.to_frame(original=True)`` rounds them. The first ``k * n_classes`` are
            ``k`` of every class. (``set_output`` and scikit-learn's ``transform_output`` have no
            part in this: rows are not those of ``X``.)
        y_syn : ndarray of shape (n_classes * ipc,) or (n_classes * ipc, n_classes)
            Their labels.
        """
        check_is_fitted(self, "distilled_")
        if X is not None:
            check_samples(self, X, self.distilled_.recipe.layout)
        origin, is_table = self._origin, len(self.distilled_.recipe.layout.user_shape) == 1
        library = get_output_config("transform", self)["dense"]
        if library != "default" and is_table:
            origin = origin.as_frame_of(library, self.distilled_.X.shape[1])
        return origin.frame(self.distilled_.X.copy()), self.distilled_.y.copy()

    def fit_transform(
        self, X: ArrayLike, y: ArrayLike | None = None, **fit_params: Any
    ) -> tuple[Any, np.ndarray]:
        """Distill a training set, and return the synthetic samples and their labels.

        Parameters
        ----------
        X, y : array-like
            As in `fit`.
        **fit_params : dict
            Other arguments of `fit`.

        Returns
        -------
        X_syn : ndarray or DataFrame of shape (n_classes * ipc, ...)
        y_syn : ndarray of shape (n_classes * ipc,) or (n_classes * ipc, n_classes)
            As in `transform`.
        """
        # It is mixed into what has one.
        fitted = self.fit(X, y, **fit_params)  # type: ignore[attr-defined]
        return _Pair(fitted.transform())

    def set_output(
        self, *, transform: Literal["default", "pandas", "polars"] | None = None
    ) -> Self:
        """Choose the form in which `transform` returns the synthetic rows of a table.

        ``pipe.set_output(transform="pandas")`` of a pipeline passes it on to the last step.

        Parameters
        ----------
        transform : {"default", "pandas", "polars"} or None, default=None
            "default" is the form that `fit` was given, an array or a DataFrame. A DataFrame made
            from an array has the columns ``x0``, ``x1``, ... None changes nothing. Images that are
            not flat stay arrays. ``sklearn.set_config(transform_output=...)`` is the choice for all
            estimators.

        Returns
        -------
        self : object
        """
        if transform not in (None, "default", "pandas", "polars"):
            raise ValueError(
                f"transform must be 'default', 'pandas', 'polars' or None; got {transform!r}."
            )
        if transform is not None:
            # The attribute that scikit-learn uses, and clones.
            self._sklearn_output_config = {"transform": transform}
        return self

    def score(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
        """Return the mean test accuracy of `n_networks` networks trained on the synthetic samples.

        They are trained as the recipe of ``distilled_`` says, which `fit` made.

        Parameters
        ----------
        X : array-like of shape (n, ...)
            Test samples in the layout of the training samples.
        y : array-like of shape (n,)
            Test labels. Labels that were not in `fit` count as errors, with a warning.
        sample_weight : array-like of shape (n,) or None, default=None
            Weights of the test samples.

        Returns
        -------
        float
            Between 0 and 1.

        Notes
        -----
        Searches and `cross_val_score` use it by default. Scorers such as ``scoring="accuracy"``
        call `predict`, which a distiller does not have; put it into a `DistilledClassifier` for
        them.
        """
        return self.evaluate(X, y, sample_weight=sample_weight, steps=None).mean

    def evaluate(
        self,
        X: ArrayLike,
        y: ArrayLike,
        *,
        protocol: str | EvaluationProtocol | None = None,
        sample_weight: ArrayLike | None = None,
        n_networks: int | None = None,
        steps: int | Sequence[int] | Literal["curve"] | None = "curve",
        architecture: str | Architecture | None = None,
    ) -> EvaluationResult:
        """Train fresh networks on the synthetic samples and test them.

        Parameters
        ----------
        X, y : array-like
            Test samples in the layout of the training samples, and their labels.
        protocol : str, EvaluationProtocol or None, default=None
            How the samples are judged, as in `skdistill.evaluation.evaluate`: the name of a paper,
            for instance. None or "recipe" trains networks as `score` does.
        sample_weight : array-like of shape (n,) or None, default=None
            Weights of the test samples in the accuracy.
        n_networks : int or None, default=None
            Networks to train; None takes those of the protocol, or of the recipe of ``distilled_``,
            which has the parameter `n_networks` that `fit` saw.
        steps : int, sequence of int, None or "curve", default="curve"
            Steps of training; a sequence gives the accuracy at each, and the largest counts. None
            takes those of the recipe, the parameter `eval_steps` that `fit` saw, and "curve" five
            counts up to it; with a protocol, both take its steps.
        architecture : str, callable or None, default=None
            Network family; None takes that of the recipe. A callable, which a recipe cannot keep,
            is taken from the parameter `architecture`. It is the same with augmentations of a class
            of your own.

        Returns
        -------
        EvaluationResult
        """
        check_is_fitted(self, "distilled_")
        (result,) = self._evaluate(
            [self.distilled_],
            X,
            y,
            protocol=protocol,
            sample_weight=sample_weight,
            n_networks=n_networks,
            steps=steps,
            architecture=architecture,
        )
        return result

    def _evaluate(
        self,
        sets: list[DistilledDataset],
        X: ArrayLike,
        y: ArrayLike,
        *,
        protocol: str | EvaluationProtocol | None,
        steps: int | Sequence[int] | str | None,
        architecture: str | Architecture | None,
        **options: Any,
    ) -> list[EvaluationResult]:
        """Evaluate sets: the fitted set, or parts of it."""
        protocols = [resolve_protocol(protocol, distilled) for distilled in sets]
        if protocols[0] is not None and isinstance(steps, str) and steps == "curve":
            steps = None
        for resolved in protocols:
            check_said_once(resolved, steps, architecture)
        test = check_test_data(
            self.distilled_, check_samples(self, X, self.distilled_.recipe.layout), y
        )
        source, recipe = self._evaluates_like(), self.distilled_.recipe
        if isinstance(steps, str):
            if steps != "curve":
                raise ValueError(f"steps must be 'curve', integers or None; got {steps!r}.")
            counts = [max(1, recipe.steps * k // 12) for k in (1, 2, 4, 8, 12)]
            steps = np.unique(counts).tolist()
        architecture, augmentation = with_what_is_not_kept(recipe, source, architecture)
        results = []
        with telling_what_is_done() as done:
            for distilled, resolved in zip(sets, protocols):
                result = evaluate_checked(
                    distilled,
                    *test,
                    protocol=resolved,
                    steps=steps,
                    architecture=architecture,
                    augmentation=augmentation,
                    device=source.device,
                    **options,
                )
                results.append(result)
                done.append(in_words(f"{distilled.ipc} per class", result.accuracies))
        return results

    def __sklearn_tags__(self) -> Any:
        """Return scikit-learn's tags: a classifier that needs labels and takes images as well."""
        tags = super().__sklearn_tags__()
        # It is fitted on class labels and scored by accuracy: scikit-learn's searches and
        # cross-validation stratify their folds by this. ClassifierMixin would promise `predict`.
        tags.estimator_type = "classifier"
        tags.classifier_tags = ClassifierTags()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        tags.target_tags.required = True
        tags.input_tags.three_d_array = True
        return tags
