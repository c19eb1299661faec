"""Make all checks of a distiller or a set, and say what they found."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from sklearn.pipeline import Pipeline
from sklearn.utils import column_or_1d
from sklearn.utils.validation import check_is_fitted

from .._data.arrays import as_array
from .._data.validation import check_count
from ..augmentation import Augmentation
from ..distilled._dataset import DistilledDataset
from ..distillers._all import all_distillers
from ..distillers.base import BaseDistiller
from ..evaluation._comparison import baseline_samples
from ..evaluation._networks import with_what_is_not_kept
from ..evaluation._output import DistillerOutputMixin
from ..evaluation._protocol import check_known_data, check_test_data
from ..networks import Architecture
from ._answers import Answers, train_and_ask
from ._case import Case, runs_of
from ._history import exploding_gradients, skipped_steps, stagnation
from ._labels import labels_alike, missing_classes, negative_labels
from ._networks import diverged_networks, few_classes, no_better_than_kmeans
from ._report import Diagnosis, Finding, NotMade
from ._test_data import unprepared_test_data, wrong_labels
from ._window import short_window

__all__ = ["CHECKS", "diagnose"]

_Outcome = Finding | NotMade | None

# What needs no networks, by the names of the findings.
_OF_THE_CASE: dict[str, Callable[[Case], _Outcome]] = {
    "skipped-steps": skipped_steps,
    "exploding-gradients": exploding_gradients,
    "stagnation": stagnation,
    "short-window": short_window,
    "labels-alike": labels_alike,
    "missing-classes": missing_classes,
    "negative-labels": negative_labels,
    "wrong-labels": wrong_labels,
    "unprepared-test-data": unprepared_test_data,
}
_OF_THE_NETWORKS: dict[str, Callable[[Answers], _Outcome]] = {
    "diverged-networks": diverged_networks,
    "few-classes": few_classes,
}
_KMEANS = "no-better-than-k-means"
CHECKS = (*_OF_THE_CASE, *_OF_THE_NETWORKS, _KMEANS)


def diagnose(
    distiller_or_set: Any,
    X_test: ArrayLike,
    y_test: ArrayLike,
    X_train: ArrayLike | None = None,
    y_train: ArrayLike | None = None,
    *,
    n_networks: int = 3,
    architecture: str | Architecture | None = None,
    augmentation: str | Augmentation | None = "recipe",
    device: str | torch.device | None = None,
) -> Diagnosis:
    """Look for what is wrong with a run, a distilled set or test data.

    Parameters
    ----------
    distiller_or_set : estimator, Pipeline or DistilledDataset
        A fitted distiller, a fitted pipeline that ends in one, or a set. A set keeps no history, so
        what only the history shows is not looked for.
    X_test : array-like of shape (n, ...)
        Test samples in the layout of the training data; before preprocessing, if the set keeps that
        or the pipeline has such steps.
    y_test : array-like of shape (n,)
        Their labels.
    X_train, y_train : array-like or None, default=None
        The real training data, in the same form. With it, the set is compared with centroids of
        k-means, as `skdistill.evaluation.compare` does it.
    n_networks : int, default=3
        Fresh networks to train on the set, and as many on the centroids. 0 trains none: what takes
        networks is not looked for.
    architecture : str, callable or None, default=None
        Network family, as in `skdistill.evaluation.evaluate`. None takes the recipe's. A recipe
        cannot keep a callable: then None takes the distiller's, which a set does not have.
    augmentation : str, Augmentation or None, default="recipe"
        As in `skdistill.evaluation.evaluate`.
    device : str or None, default=None
        Where to compute; None takes the distiller's, and for a set "auto".

    Returns
    -------
    Diagnosis
        Its `findings` have a name, a severity, the evidence and the remedy. It prints as text;
        ``to_html()`` and ``to_json()`` give it to others. Checks that could not be made are listed
        as such, and not as passed.

    Raises
    ------
    TypeError
        If ``distiller_or_set`` is none of the above.
    ValueError
        If the data does not fit the set, if `n_networks` is negative, or if one of ``X_train`` and
        ``y_train`` is missing.
    sklearn.exceptions.NotFittedError
        If the distiller is not fitted.

    See Also
    --------
    skdistill.evaluation.compare : The set beside several baselines, in full.
    skdistill.inspection.TrainingCurveDisplay : Draws the history of a run.

    Notes
    -----
    The user guide has a page on the findings, with the numbers behind each criterion. The networks
    are the first ``n_networks`` of an evaluation by the set's recipe. If the test data is far from
    the units of the training data, none are trained: mend that first.

    Examples
    --------
    Pixels from 0 to 1, where the training data had them from 0 to 16:

    >>> from sklearn.datasets import load_digits
    >>> from skdistill import diagnose
    >>> from skdistill.datasets import load_distilled
    >>> X, y = load_digits(return_X_y=True)
    >>> diagnosis = diagnose(load_distilled("digits"), X / 16, y)
    >>> [finding.name for finding in diagnosis.findings]
    ['unprepared-test-data']
    >>> diagnosis.not_made["stagnation"]
    'A set keeps no history of its run: pass the fitted distiller instead of the set.'
    """
    check_count("n_networks", n_networks, 0)
    if (X_train is None) != (y_train is None):
        missing = "X_train" if X_train is None else "y_train"
        raise ValueError(f"X_train and y_train must be given together; {missing} is missing.")
    distilled, distiller = _set_and_distiller(distiller_or_set)
    # Other columns are a finding.
    X, y = check_test_data(distilled, X_test, y_test, warns=False, checks_columns=False)
    case = Case(
        distilled=distilled,
        history=None if distiller is None else distiller.history_,
        advice=_advice(distilled, distiller),
        given=X_test,
        X=X,
        labels=column_or_1d(as_array(y_test)),
        y=y,
    )
    real = None
    if X_train is not None and y_train is not None:
        real = check_known_data(
            distilled, X_train, y_train, "y_train", samples="X_train", checks_columns=False
        )
    outcomes = {name: check(case) for name, check in _OF_THE_CASE.items()}
    source = None if distiller is None else distiller._evaluates_like()
    if source is not None:
        architecture, augmentation = with_what_is_not_kept(
            distilled.recipe, source, architecture, augmentation
        )
        device = source.device if device is None else device
    reason = _why_no_networks(case, outcomes, n_networks, architecture)
    if reason is not None:
        names = (*_OF_THE_NETWORKS, _KMEANS)
        outcomes |= dict.fromkeys(names, NotMade(reason))
        return _diagnosis(repr(distilled), outcomes, None)
    options = (int(n_networks), architecture, augmentation, "auto" if device is None else device)
    own = train_and_ask(distilled, X, y, *options)
    outcomes |= {name: check(own) for name, check in _OF_THE_NETWORKS.items()}
    rival = _rival(distilled, real)
    if isinstance(rival, NotMade):
        outcomes[_KMEANS] = rival
    else:
        outcomes[_KMEANS] = no_better_than_kmeans(own, train_and_ask(rival, X, y, *options))
    return _diagnosis(repr(distilled), outcomes, own)


def _set_and_distiller(value: Any) -> tuple[DistilledDataset, DistillerOutputMixin | None]:
    """Return the set, and the distiller that has made it if that is known."""
    if isinstance(value, DistilledDataset):
        return value, None
    last = value.steps[-1][1] if isinstance(value, Pipeline) else value
    if not isinstance(last, DistillerOutputMixin):
        hint = " Its distiller_ is one." if hasattr(last, "distiller_") else ""
        raise TypeError(
            "distiller_or_set must be a fitted distiller, a Pipeline that ends in one, or a "
            f"DistilledDataset; got {type(value).__name__}.{hint}"
        )
    check_is_fitted(last, "distilled_")
    if isinstance(value, Pipeline):
        return DistilledDataset.from_pipeline(value), last
    return last.distilled_, last


def _advice(distilled: DistilledDataset, distiller: Any) -> str:
    """Return what the distiller says to change if a run does not go well."""
    # A boosted distiller has one within.
    distiller = getattr(distiller, "distiller_", distiller)
    if distiller is None:
        distiller = dict(all_distillers()).get(str(runs_of(distilled)[-1].get("method")))
    advice: str = getattr(distiller, "_advice", BaseDistiller._advice)
    return advice


def _rival(
    distilled: DistilledDataset, real: tuple[np.ndarray, np.ndarray] | None
) -> DistilledDataset | NotMade:
    """Return equally many centroids of the real training data, with the recipe of a set."""
    if real is None:
        return NotMade("It needs the training data: pass X_train and y_train.")
    X, index = real
    labels = distilled.classes[index]
    try:
        ((X, labels),) = baseline_samples("k-means centroids", distilled, X, labels)
    except ValueError as error:
        return NotMade(f"There are no such centroids: {error}")
    return replace(distilled, X=X, y=labels, bases=())


def _why_no_networks(
    case: Case,
    outcomes: Mapping[str, _Outcome],
    n_networks: int,
    architecture: str | Architecture | None,
) -> str | None:
    """Return why no networks are trained, or None if they are."""
    if not n_networks:
        return "It needs networks that are trained on the set: n_networks is 0."
    if architecture is None and case.distilled.recipe.architecture is None:
        return (
            "It needs networks, and the set was distilled with a callable that is not saved: pass "
            "it as architecture."
        )
    units = outcomes["unprepared-test-data"]
    if isinstance(units, Finding) and units.severity == "error":
        return "No network can be judged by this test data: see unprepared-test-data."
    if not np.any(case.y >= 0):
        return "No test label is a class of the set: see wrong-labels."
    return None


def _diagnosis(subject: str, outcomes: Mapping[str, _Outcome], own: Answers | None) -> Diagnosis:
    found = [outcome for outcome in outcomes.values() if isinstance(outcome, Finding)]
    return Diagnosis(
        subject,
        sorted(found, key=lambda finding: finding.severity != "error"),
        [name for name, outcome in outcomes.items() if outcome is None],
        {name: each.reason for name, each in outcomes.items() if isinstance(each, NotMade)},
        None if own is None else own.result,
    )
