"""The adapters: what they train and predict, and how scikit-learn and imbalanced-learn use them."""

import pickle
import warnings
from dataclasses import replace
from functools import partial
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
import sklearn
import tools
import torch
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.compose import ColumnTransformer
from sklearn.datasets import make_blobs
from sklearn.exceptions import NotFittedError, UnsetMetadataPassedError
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import accuracy_score
from sklearn.model_selection import GridSearchCV, HalvingGridSearchCV, cross_val_predict
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, LinearSVC
from sklearn.utils.class_weight import compute_sample_weight
from torch import nn

import skdistill
from skdistill import (
    BoostedDistiller,
    DistillationSampler,
    DistilledClassifier,
    DistributionMatchingDistiller,
    RaTBPTTDistiller,
    adapters,
)
from skdistill.distillers import param
from skdistill.exceptions import DivergenceWarning
from skdistill.networks import MLP

quick = partial(
    tools.quick, init="kmeans", max_iter=2, window=1, unroll=2, n_networks=3, eval_steps=30
)


@pytest.fixture
def table():
    """Return 45 rows of three features in three classes that lie apart."""
    X, y = make_blobs(45, 3, centers=[[0, 0, 9], [0, 9, 0], [9, 0, 0]], random_state=0)
    return X, np.array(["a", "b", "c"])[y]


class SoftDistiller(RaTBPTTDistiller):
    """Stands for a distiller that learns labels: every sample is mostly of its successor's class.

    With ``ties`` the first class is as probable as the last where that is the most probable.
    """

    ties: bool = param(default=False, constraints=["boolean"], kind="bool", doc="See above.")

    def fit(self, X, y):
        super().fit(X, y)
        n = len(self.classes_)
        hard = np.searchsorted(self.classes_, self.distilled_.y)
        soft = 0.2 / n + 0.8 * np.eye(n)[(hard + 1) % n]
        if self.ties:
            last = soft.argmax(axis=1) == n - 1
            soft[last, 0] = soft[last, n - 1]
        self.distilled_ = replace(self.distilled_, y=soft)
        return self


soft_distiller = partial(quick, SoftDistiller)


# --- what is trained and predicted ------------------------------------------------------------


def test_a_classifier_is_trained_on_the_synthetic_samples(table):
    X, y = table
    X_syn, y_syn = quick(ipc=2).fit(X, y).transform()
    expected = KNeighborsClassifier(1).fit(X_syn, y_syn)
    classifier = DistilledClassifier(quick(ipc=2), KNeighborsClassifier(1)).fit(X, y)
    assert classifier.classifier_.n_samples_fit_ == 6
    np.testing.assert_array_equal(classifier.predict(X), expected.predict(X))
    np.testing.assert_array_equal(classifier.predict_proba(X), expected.predict_proba(X))
    assert classifier.ensemble_ is None
    assert classifier.classes_.tolist() == ["a", "b", "c"]


def test_decision_function(table):
    X, y = table
    expected = LinearSVC(random_state=0).fit(*quick().fit(X, y).transform())
    classifier = DistilledClassifier(quick(), LinearSVC(random_state=0)).fit(X, y)
    np.testing.assert_array_equal(classifier.decision_function(X), expected.decision_function(X))


def test_images_are_only_flattened_for_a_classifier(images):
    X, y = images
    X_syn, y_syn = quick().fit(X, y).transform()
    expected = LogisticRegression().fit(X_syn.reshape(2, 36), y_syn)
    classifier = DistilledClassifier(quick(), LogisticRegression()).fit(X, y)
    np.testing.assert_array_equal(classifier.predict(X), expected.predict(X.reshape(40, 36)))
    assert classifier.n_features_in_ == 36
    assert classifier.distiller_.distilled_.X.shape == (2, 6, 6)


def test_networks_that_diverged_do_not_predict(table):
    X, y = table
    classifier = DistilledClassifier(quick()).fit(X, y)
    rest = classifier.ensemble_[1:]
    classifier.ensemble_[0] = np.nan
    with pytest.warns(DivergenceWarning, match="1 of 3 networks diverged.* For 0 of 45 samples"):
        probabilities = classifier.predict_proba(X)
    with pytest.warns(DivergenceWarning) as caught:
        score = classifier.score(X, y)
    assert [warning.filename for warning in caught] == [__file__]
    with pytest.warns(DivergenceWarning):
        predicted = classifier.predict(X)
    classifier.ensemble_ = rest
    np.testing.assert_array_equal(probabilities, classifier.predict_proba(X))
    np.testing.assert_array_equal(predicted, classifier.predict(X))
    assert score == classifier.score(X, y) == np.mean(predicted == y) > 0.9


def test_what_no_network_predicts_is_an_error(table):
    X, y = table
    classifier = DistilledClassifier(quick()).fit(X, y)
    classifier.ensemble_[:] = np.inf
    with pytest.warns(DivergenceWarning, match="3 of 3 networks diverged.* For 45 of 45 samples"):
        assert np.isnan(classifier.predict_proba(X)).all()
    with pytest.warns(DivergenceWarning):
        assert classifier.score(X, y) == 0
    with pytest.warns(DivergenceWarning):
        assert classifier.predict(X).shape == (45,)


def test_the_score_of_networks_is_scikit_learns(table):
    X, y = table
    classifier = DistilledClassifier(quick(eval_steps=2)).fit(X, y)
    weight = np.random.default_rng(0).random(45)
    predicted, y = classifier.predict(X), np.roll(y, 1)
    assert 0 < classifier.score(X, y) == accuracy_score(y, predicted) < 1
    expected = accuracy_score(y, predicted, sample_weight=weight)
    assert classifier.score(X, y, sample_weight=weight) == expected
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        classifier.score(X, y[1:])
    codes = np.unique(y, return_inverse=True)[1]
    for other, message in ((codes, "Mix of label input types"), (codes * np.nan, "NaN")):
        with pytest.raises(ValueError, match=message):
            classifier.score(X, other)


def test_an_ensemble_is_the_networks_that_the_distiller_evaluates(images):
    X, y = images
    poor = quick(init="gaussian", eval_steps=3)
    classifier = DistilledClassifier(poor).fit(X, y)
    expected = poor.fit(X, y).evaluate(X, y, steps=None).accuracies
    assert len(set(expected)) > 1
    ensemble, accuracies = classifier.ensemble_, []
    for network in ensemble:
        classifier.ensemble_ = network[None]
        accuracies.append(classifier.score(X, y))
    np.testing.assert_array_equal(accuracies, expected)
    assert ensemble.dtype == np.float32
    assert classifier.classifier_ is None


def test_probabilities_of_an_ensemble_are_the_mean_of_the_networks(table):
    X, y = table
    classifier = DistilledClassifier(quick(eval_steps=3)).fit(X, y)
    standardized = (X - X.mean(axis=0)) / X.std(axis=0)
    network, expected = MLP((3,), 3), []
    for theta in classifier.ensemble_:
        nn.utils.vector_to_parameters(torch.from_numpy(theta), network.parameters())
        with torch.no_grad():
            expected.append(network(torch.tensor(standardized, dtype=torch.float32)).softmax(1))
    assert (expected[0] - expected[1]).abs().max() > 0.01
    probabilities = classifier.predict_proba(X)
    np.testing.assert_allclose(probabilities, torch.stack(expected).mean(dim=0), atol=1e-6)
    assert classifier.predict(X).tolist() == [*classifier.classes_[probabilities.argmax(axis=1)]]


def test_chunks_do_not_matter(monkeypatch, images):
    X, y = images
    classifier = DistilledClassifier(quick()).fit(X, y)
    whole = classifier.predict_proba(X)
    monkeypatch.setattr("skdistill.evaluation._networks.chunk_size", lambda learner, shape: 7)
    np.testing.assert_allclose(classifier.predict_proba(X), whole, rtol=1e-4)


@pytest.mark.parametrize("classifier", [None, LogisticRegression()], ids=["networks", "logistic"])
def test_good_synthetic_samples_give_good_predictions(table, classifier):
    assert DistilledClassifier(quick(), classifier).fit(*table).score(*table) > 0.9


@pytest.mark.parametrize(
    "classifier", [None, KNeighborsClassifier(1)], ids=["networks", "neighbors"]
)
def test_soft_labels(table, classifier):
    X, y = table
    successor = np.roll(["a", "b", "c"], -1)[np.searchsorted(["a", "b", "c"], y)]
    assert DistilledClassifier(soft_distiller(), classifier).fit(X, y).score(X, successor) > 0.9


def test_networks_learn_all_of_a_soft_label(table):
    # If trained only on the most probable label, the others' probability would vanish.
    X, y = table
    soft = DistilledClassifier(soft_distiller(eval_steps=300)).fit(X, y).predict_proba(X)
    hard = DistilledClassifier(quick(eval_steps=300)).fit(X, y).predict_proba(X)
    assert np.median(soft.max(axis=1)) < 0.93 < np.median(hard.max(axis=1))


def test_a_class_that_is_never_the_most_probable(table):
    X, y = table
    classifier = DistilledClassifier(soft_distiller(ties=True), KNeighborsClassifier(1)).fit(X, y)
    assert classifier.distiller_.classes_.tolist() == ["a", "b", "c"]
    assert classifier.classes_.tolist() == ["a", "b"]
    assert classifier.predict_proba(X).shape == (45, 2)


@pytest.mark.parametrize("classifier", [None, KNeighborsClassifier(1)], ids=["networks", "other"])
@pytest.mark.parametrize("labels", [[False, True], [-5, 3], ["no", "yes"]])
def test_labels_of_any_kind(images, labels, classifier):
    X, y = images[0], np.asarray(labels)[images[1]]
    predicted = DistilledClassifier(quick(), classifier).fit(X, y).predict(X)
    assert predicted.dtype == y.dtype
    assert set(predicted) <= set(labels)


# --- how they are used ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("classifier", "methods"),
    [
        (None, {"predict_proba"}),
        (KNeighborsClassifier(1), {"predict_proba"}),
        (LinearSVC(), {"decision_function"}),
        (LogisticRegression(), {"predict_proba", "decision_function"}),
    ],
    ids=["networks", "neighbors", "svc", "logistic"],
)
def test_methods_are_the_classifiers(table, classifier, methods):
    adapter = DistilledClassifier(quick(), classifier)
    for _ in ("before fit", "after"):
        assert {m for m in ("predict_proba", "decision_function") if hasattr(adapter, m)} == methods
        adapter.fit(*table)


def test_arguments_are_not_modified(table):
    X, y = table
    distiller, classifier = quick(), LogisticRegression()
    DistilledClassifier(distiller, classifier).fit(X, y)
    DistillationSampler(distiller).fit_resample(X, y)
    assert not hasattr(distiller, "distilled_")
    assert not hasattr(classifier, "classes_")


def test_refit_with_another_kind_of_classifier(table):
    X, y = table
    adapter = DistilledClassifier(quick(), KNeighborsClassifier(1)).fit(X, y)
    first = adapter.predict(X)
    adapter.set_params(classifier=None).fit(X, y)
    assert adapter.classifier_ is None
    adapter.set_params(classifier=KNeighborsClassifier(1)).fit(X, y)
    assert adapter.ensemble_ is None
    np.testing.assert_array_equal(adapter.predict(X), first)


@pytest.mark.parametrize("scoring", [None, "roc_auc_ovr", "neg_log_loss", "balanced_accuracy"])
@pytest.mark.parametrize("classifier", [None, LogisticRegression()], ids=["networks", "logistic"])
def test_grid_search(table, scoring, classifier):
    search = GridSearchCV(
        DistilledClassifier(quick(eval_steps=2), classifier),
        {"distiller__window": [1, 2]},
        scoring=scoring,
        cv=2,
        error_score="raise",
    ).fit(*table)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert search.best_estimator_.distiller_.window == search.best_params_["distiller__window"]


def test_grid_search_over_classifiers(table):
    grid = {"classifier": [None, KNeighborsClassifier(1)], "distiller__ipc": [1, 2]}
    search = GridSearchCV(DistilledClassifier(quick()), grid, cv=2, error_score="raise")
    assert search.fit(*table).best_score_ > 0.9


def test_cross_val_predict(table):
    X, y = table
    adapter = DistilledClassifier(quick())
    assert (cross_val_predict(adapter, X, y, cv=3) == y).mean() > 0.9
    probabilities = cross_val_predict(adapter, X, y, cv=3, method="predict_proba")
    np.testing.assert_allclose(probabilities.sum(axis=1), np.ones(45), rtol=1e-5)


def test_pipeline(table):
    X, y = table
    pipeline = make_pipeline(StandardScaler(), DistilledClassifier(quick())).fit(X, y)
    assert pipeline.score(X, y) > 0.9
    assert pipeline[-1].distiller_.distilled_.X.mean() == pytest.approx(0, abs=0.5)


def test_a_classifier_that_scales(table):
    X, y = table
    inner = make_pipeline(StandardScaler(), LogisticRegression())
    adapter = DistilledClassifier(quick(), inner).fit(1e6 * X, y)
    assert adapter.score(1e6 * X, y) > 0.9


def test_tensors(images):
    X, y = images
    classifier = DistilledClassifier(quick()).fit(torch.from_numpy(X), torch.from_numpy(y))
    expected = DistilledClassifier(quick()).fit(X, y).predict_proba(X)
    # NumPy refuses to read a tensor that requires a gradient, or one on a GPU.
    tensor = torch.from_numpy(X).requires_grad_()
    np.testing.assert_array_equal(classifier.predict_proba(tensor), expected)


def test_frames(table):
    X, y = table
    frame = pd.DataFrame(X, columns=["p", "q", "r"])
    classifier = DistilledClassifier(quick(), LogisticRegression()).fit(frame, pd.Series(y))
    assert classifier.feature_names_in_.tolist() == ["p", "q", "r"]
    assert classifier.score(frame, y) > 0.9
    with pytest.raises(ValueError, match="feature names should match those that were passed"):
        classifier.predict(frame[["q", "p", "r"]])
    classifier.fit(X, y)
    assert not hasattr(classifier, "feature_names_in_")


def linear(input_shape, n_classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(int(np.prod(input_shape)), n_classes))


@pytest.mark.parametrize("architecture", ["auto", linear])
@pytest.mark.parametrize("classifier", [None, KNeighborsClassifier(1)], ids=["networks", "other"])
def test_persistence(images, tmp_path, architecture, classifier):
    X, y = images
    adapter = DistilledClassifier(quick(architecture=architecture), classifier).fit(X, y)
    expected = adapter.predict_proba(X)
    loaded = pickle.loads(pickle.dumps(adapter))
    np.testing.assert_array_equal(loaded.predict_proba(X), expected)
    joblib.dump(adapter, tmp_path / "adapter.joblib")
    mapped = joblib.load(tmp_path / "adapter.joblib", mmap_mode="r")
    # torch warns of arrays that cannot be written to, but only once a process.
    torch.set_warn_always(True)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            np.testing.assert_array_equal(mapped.predict_proba(X), expected)
    finally:
        torch.set_warn_always(False)


def test_networks_of_a_callable_architecture_predict(images):
    adapter = DistilledClassifier(quick(architecture=linear)).fit(*images)
    assert adapter.ensemble_.shape == (3, 36 * 2 + 2)


@pytest.mark.parametrize("make", [DistilledClassifier, DistillationSampler])
def test_default_distiller(monkeypatch, table, make):
    monkeypatch.setattr("skdistill.adapters.RaTBPTTDistiller", partial(quick, max_iter=1))
    adapter = make().fit(*table)
    assert (type(adapter.distiller_), adapter.distiller_.n_iter_) == (RaTBPTTDistiller, 1)
    assert adapter.distiller is None


# --- the sampler ------------------------------------------------------------------------------


def test_resampled_is_the_synthetic_set(images):
    X, y = images
    X_syn, y_syn = DistillationSampler(quick(ipc=2)).fit_resample(X, y)
    expected_X, expected_y = quick(ipc=2).fit(X, y).transform()
    assert X_syn.shape == (4, 6, 6)
    np.testing.assert_array_equal(X_syn, expected_X)
    np.testing.assert_array_equal(y_syn, expected_y)


def test_resampled_arrays_are_the_callers_own(table):
    sampler = DistillationSampler(quick())
    X_syn, y_syn = sampler.fit_resample(*table)
    X_syn[:], y_syn[:] = 0, "b"
    distilled = sampler.distiller_.distilled_
    assert distilled.X.any()
    assert distilled.y.tolist() == ["a", "b", "c"]


def test_resampled_soft_labels_become_hard(table):
    y_syn = DistillationSampler(soft_distiller(ipc=2), class_weight=None).fit_resample(*table)[1]
    assert y_syn.tolist() == ["b", "c", "a"] * 2


@pytest.mark.parametrize("names", [["p", "q", "r"], [10, 20, 30]])
@pytest.mark.parametrize("dtype", ["object", "category", "string"])
def test_resampled_frames(table, names, dtype):
    X, y = table
    frame = pd.DataFrame(X, columns=names, index=range(100, 145))
    series = pd.Series(y, name="kind", index=frame.index, dtype=dtype)
    sampler = DistillationSampler(quick(ipc=2))
    X_syn, y_syn = sampler.fit_resample(frame, series)
    expected_X, expected_y = DistillationSampler(quick(ipc=2)).fit_resample(X, y)
    pd.testing.assert_frame_equal(X_syn, pd.DataFrame(expected_X, columns=names))
    pd.testing.assert_series_equal(y_syn, pd.Series(expected_y, name="kind", dtype=series.dtype))
    assert hasattr(sampler, "feature_names_in_") == (names == ["p", "q", "r"])


def test_a_sampler_does_not_transform(table):
    # imbalanced-learn refuses a step with both.
    assert not hasattr(DistillationSampler(quick()).fit(*table), "transform")


def test_imbalanced_learns_pipeline(table):
    imblearn = pytest.importorskip("imblearn.pipeline")
    X, y = table
    pipeline = imblearn.make_pipeline(
        StandardScaler(), DistillationSampler(quick()), KNeighborsClassifier(1)
    ).fit(X, y)
    assert pipeline[-1].n_samples_fit_ == 3
    assert pipeline.predict(X).shape == (45,)
    assert pipeline.score(X, y) > 0.9
    # Scaled samples went in, and scaled ones came out.
    assert abs(pipeline[-1]._fit_X).max() < 3


def test_grid_search_over_imbalanced_learns_pipeline(table):
    imblearn = pytest.importorskip("imblearn.pipeline")
    pipeline = imblearn.make_pipeline(DistillationSampler(quick()), KNeighborsClassifier(1))
    grid = {"distillationsampler__distiller__window": [1, 2]}
    search = GridSearchCV(pipeline, grid, cv=2, error_score="raise").fit(*table)
    assert search.best_score_ > 0.9
    assert search.best_estimator_[0].distiller_.window == search.best_params_[next(iter(grid))]


def test_imbalanced_learn_is_not_imported():
    sources = list(Path(skdistill.__file__).parent.rglob("*.py"))
    assert Path(adapters.__file__) in sources
    assert [path for path in sources if "imblearn" in path.read_text(encoding="utf-8")] == []


# --- bad input --------------------------------------------------------------------------------


@pytest.mark.parametrize("classifier", [None, LogisticRegression()], ids=["networks", "logistic"])
@pytest.mark.parametrize("method", ["predict", "predict_proba", "score"])
def test_unfitted(images, method, classifier):
    adapter = DistilledClassifier(quick(), classifier)
    with pytest.raises(NotFittedError, match="This DistilledClassifier instance is not fitted yet"):
        getattr(adapter, method)(*images[: 1 + (method == "score")])


@pytest.mark.parametrize("classifier", [None, LogisticRegression()], ids=["networks", "logistic"])
def test_samples_of_another_shape(images, table, classifier):
    adapter = DistilledClassifier(quick(), classifier).fit(*images)
    for wrong in (images[0][:, :5], images[0].reshape(40, 36)):
        with pytest.raises(ValueError, match=r"must hold samples of shape \(6, 6\), as in fit"):
            adapter.predict(wrong)
    adapter.fit(*table)
    with pytest.raises(ValueError, match="X has 2 features, but DistilledClassifier is expecting"):
        adapter.predict(table[0][:, :2])
    with pytest.raises(ValueError, match=r"samples of shape \(3,\), as in fit; got .* \(3, 1\)"):
        adapter.predict(table[0][:, :, np.newaxis])
    with pytest.raises(ValueError, match="Expected 2D array, got 1D array"):
        adapter.predict(table[0][0])
    with pytest.raises(ValueError, match="contains NaN"):
        adapter.predict(table[0] * np.nan)


BAD_DATA = {
    "one class": (lambda X, y: (X, y[:1].repeat(45)), "at least 2 classes; got 1 class"),
    "too few samples": (lambda X, y: (X[:2], y[:2]), "ipc=2 must be at most"),
    "lengths": (lambda X, y: (X, y[:-1]), "inconsistent numbers of samples"),
    "nan": (lambda X, y: (X * np.nan, y), "contains NaN"),
    "continuous": (lambda X, y: (X, X[:, 0]), "Unknown label type: continuous"),
}
METHODS = {
    "classifier": lambda distiller: DistilledClassifier(distiller).fit,
    "sampler": lambda distiller: DistillationSampler(distiller).fit_resample,
}


@pytest.mark.parametrize(("spoil", "message"), BAD_DATA.values(), ids=BAD_DATA)
@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_bad_data(table, method, spoil, message):
    with pytest.raises(ValueError, match=message):
        method(quick(ipc=2))(*spoil(*table))


class Mute(LogisticRegression):
    """Fits and transforms, but distills nothing."""

    def transform(self, X):
        return X


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
@pytest.mark.parametrize(
    ("distiller", "message"),
    [
        (RaTBPTTDistiller, "distiller must be None or a distiller .*; got <class"),
        ("rat-bptt", "distiller must be None or a distiller .*; got 'rat-bptt'"),
        (LogisticRegression(), r"distiller must be None or .*; got LogisticRegression\(\)"),
        (Mute(), r"distiller must set distilled_ when it is fitted.*; got Mute\(\)"),
    ],
    ids=["class", "text", "classifier", "no distiller"],
)
def test_bad_distiller(table, method, distiller, message):
    with pytest.raises(ValueError, match=message):
        method(distiller)(*table)


@pytest.mark.parametrize("classifier", ["svm", LogisticRegression, StandardScaler(), Ridge()])
def test_bad_classifier_is_refused_before_any_work(monkeypatch, table, classifier):
    monkeypatch.setattr("skdistill.adapters.clone", lambda _: pytest.fail("work was started"))
    with pytest.raises(ValueError, match="classifier must be None or a classifier with fit and"):
        DistilledClassifier(quick(), classifier).fit(*table)


def test_nested_parameters_are_checked(table):
    with pytest.raises(ValueError, match=r"window=3 must be at most unroll=2"):
        DistilledClassifier(quick()).set_params(distiller__window=3).fit(*table)


def test_clone(table):
    adapter = DistilledClassifier(quick(), LogisticRegression(C=3)).fit(*table)
    copy = clone(adapter)
    assert copy.get_params()["classifier__C"] == 3
    assert copy.get_params()["distiller__window"] == 1
    assert not hasattr(copy, "distiller_")


def test_the_sampler_balances_classes_by_default(table):
    X, y = table
    rare = np.flatnonzero(y == y[0])[:3]
    rows = np.concatenate([rare, np.flatnonzero(y != y[0])])
    X, y = X[rows], y[rows]
    distiller = quick()
    weight = compute_sample_weight("balanced", y)
    expected = quick().fit(X, y, sample_weight=weight).transform()[0]
    plain = quick().fit(X, y).transform()[0]
    np.testing.assert_array_equal(DistillationSampler(distiller).fit_resample(X, y)[0], expected)
    without = DistillationSampler(distiller, class_weight=None)
    np.testing.assert_array_equal(without.fit_resample(X, y)[0], plain)
    assert not np.allclose(expected, plain)


@pytest.mark.parametrize("boosts", [False, True])
def test_classes_are_weighed_in_methods_that_take_them_one_by_one(table, boosts):
    X, y = table

    def first_loss(class_weight, own=None):
        distiller = DistributionMatchingDistiller(
            max_iter=2, architecture=tools.tiny, class_weight=own, random_state=0
        )
        if boosts:
            distiller = BoostedDistiller(1, distiller=distiller, random_state=0)
        sampler = DistillationSampler(distiller, class_weight).fit(X, y)
        return sampler.distiller_.history_["loss"][0]

    heavy = {"a": 100.0}
    assert first_loss(heavy) == first_loss(None, own=heavy) > 5 * first_loss({"a": 1.0})
    assert first_loss(heavy, own={"a": 1.0}) == first_loss({"a": 1.0})


@pytest.mark.parametrize("make", [DistilledClassifier, DistillationSampler])
def test_an_interrupted_run_keeps_its_samples(table, make, outer_step):
    adapter = make(quick(max_iter=4)).fit(*table)
    before = adapter.distiller_
    outer_step(KeyboardInterrupt, at=3)
    with pytest.raises(KeyboardInterrupt):
        adapter.fit(*table)
    assert adapter.distiller_ is not before
    assert adapter.distiller_.n_iter_ == 2
    assert len(adapter.distiller_.transform()[0]) == 3
    assert not hasattr(adapter, "classes_")


@pytest.mark.parametrize("make", [DistilledClassifier, DistillationSampler])
def test_an_interrupted_first_block_keeps_its_samples(table, make, outer_step):
    adapter = make(BoostedDistiller(2, block_size=1, distiller=quick(max_iter=4), random_state=0))
    outer_step(KeyboardInterrupt, at=3)
    with pytest.raises(KeyboardInterrupt):
        adapter.fit(*table)
    assert adapter.distiller_.distiller_.n_iter_ == 2


# --- weights ----------------------------------------------------------------------------------


@pytest.fixture
def weighted(table):
    """Return the table with whole numbers as weights, zeros among them."""
    return *table, np.random.default_rng(0).integers(0, 4, 45)


def test_weights_reach_the_distiller(weighted):
    X, y, weight = weighted
    expected = quick().fit(X, y, sample_weight=weight).transform()[0]
    classifier = DistilledClassifier(quick()).fit(X, y, sample_weight=weight)
    np.testing.assert_array_equal(classifier.distiller_.transform()[0], expected)
    sampler = DistillationSampler(quick(), class_weight=None)
    np.testing.assert_array_equal(sampler.fit_resample(X, y, sample_weight=weight)[0], expected)


def test_the_sampler_multiplies_the_weights_of_samples_and_classes(weighted):
    X, y, weight = weighted
    for class_weight in ("balanced", {"a": 5}):
        one = quick(class_weight=class_weight).fit(X, y, sample_weight=weight).transform()[0]
        sampler = DistillationSampler(quick(), class_weight)
        np.testing.assert_array_equal(sampler.fit_resample(X, y, sample_weight=weight)[0], one)


def test_a_class_whose_weights_are_zero_is_left_out(weighted):
    X, y, weight = weighted
    weight[y == "b"] = 0
    with pytest.warns(UserWarning, match="sample_weight is 0 for all samples of 'b'"):
        _, y_syn = DistillationSampler(quick()).fit_resample(X, y, sample_weight=weight)
    assert y_syn.tolist() == ["a", "c"]


def test_a_distillers_own_class_weight_comes_before_the_samplers(table):
    X, y = table
    expected = quick(class_weight={"a": 9}).fit(X, y).transform()[0]
    sampler = DistillationSampler(quick(class_weight={"a": 9}))
    np.testing.assert_array_equal(sampler.fit_resample(X, y)[0], expected)


def test_weights_equal_repetition(weighted):
    X, y, weight = weighted
    # A Gaussian start and all samples in each batch, so that chance makes no difference.
    distiller = quick(init="gaussian", eval_steps=5)
    a = DistilledClassifier(distiller).fit(X, y, sample_weight=weight).predict_proba(X)
    b = DistilledClassifier(distiller).fit(X.repeat(weight, axis=0), y.repeat(weight))
    np.testing.assert_allclose(a, b.predict_proba(X), rtol=1e-3)
    assert abs(a - DistilledClassifier(distiller).fit(X, y).predict_proba(X)).max() > 1e-3


def test_a_distiller_that_takes_no_weights(weighted):
    X, y, weight = weighted
    for adapter in (DistilledClassifier(soft_distiller()), DistillationSampler(soft_distiller())):
        with pytest.raises(TypeError, match=r"distiller must take sample_weight .* SoftDistiller"):
            adapter.fit(X, y, sample_weight=weight)


def test_weights_are_routed_to_the_distiller(weighted):
    X, y, weight = weighted
    expected = quick().fit(X, y, sample_weight=weight).transform()[0]
    plain = quick().fit(X, y).transform()[0]
    with sklearn.config_context(enable_metadata_routing=True):
        for wanted, samples in ((True, expected), (False, plain)):
            distiller = quick().set_fit_request(sample_weight=wanted)
            classifier = DistilledClassifier(distiller)
            # In a pipeline, where an estimator that does not request weights gets none.
            scaled = make_pipeline(StandardScaler().set_fit_request(sample_weight=True), classifier)
            scaled.fit(X, y, sample_weight=weight)
            fitted = classifier.set_score_request(sample_weight=True)
            pipeline = make_pipeline("passthrough", fitted).fit(
                X, y, **({"sample_weight": weight} if wanted else {})
            )
            np.testing.assert_array_equal(pipeline[-1].distiller_.transform()[0], samples)
            assert 0 <= pipeline.score(X, y, sample_weight=weight) <= 1
        with pytest.raises(UnsetMetadataPassedError, match="set_fit_request"):
            DistilledClassifier(quick()).fit(X, y, sample_weight=weight)
        default = DistilledClassifier().get_metadata_routing()
        assert default.consumes("fit", ["sample_weight"]) == {"sample_weight"}


def test_imbalanced_learns_pipeline_routes_weights(weighted):
    imblearn = pytest.importorskip("imblearn.pipeline")
    X, y, weight = weighted
    sampler = DistillationSampler(quick())
    expected = sampler.fit_resample(X, y, sample_weight=weight)[0]
    pipeline = imblearn.make_pipeline(sampler, KNeighborsClassifier(1))
    with sklearn.config_context(enable_metadata_routing=True):
        pipeline.set_params(
            distillationsampler__distiller=quick().set_fit_request(sample_weight=True)
        )
        routed = pipeline.fit(X, y, sample_weight=weight)
    np.testing.assert_array_equal(routed[-1]._fit_X, expected)


def test_a_classifier_that_fails_leaves_the_distilled_set(table):
    X, y = table
    classifier = DistilledClassifier(quick(), KNeighborsClassifier(1)).fit(X, y)
    classifier.set_params(classifier__n_neighbors=-1)
    with pytest.raises(ValueError, match="n_neighbors"):
        classifier.fit(X[:, :2], y)
    assert classifier.distiller_.distilled_.X.shape == (3, 2)
    assert classifier.n_features_in_ == 2
    # Nothing predicts by the samples of before.
    with pytest.raises(NotFittedError):
        classifier.predict(X[:, :2])


def test_a_distiller_that_fails_leaves_an_earlier_fit_as_it_was(table):
    X, y = table
    classifier = DistilledClassifier(quick(), KNeighborsClassifier(1)).fit(X, y)
    with pytest.raises(ValueError, match="ipc=1000 must be at most"):
        classifier.set_params(distiller__ipc=1000).fit(X[:, :2], y)
    assert classifier.n_features_in_ == 3
    assert classifier.predict(X).shape == (45,)


def test_a_classifier_of_sets_that_knows_no_columns_gets_arrays(table):
    class Nearest(ClassifierMixin, BaseEstimator):
        def fit_distilled(self, distilled):
            self.classes_, self.X_, self.y_ = distilled.classes, distilled.X, distilled.y
            return self

        def predict(self, X):
            distances = ((X[:, None] - self.X_) ** 2).sum(axis=2)
            return self.y_[distances.argmin(axis=1)]

        fit = None

    X, y = table
    frame = pd.DataFrame(X, columns=["p", "q", "r"])
    classifier = DistilledClassifier(quick(), Nearest()).fit(frame, y)
    np.testing.assert_array_equal(classifier.predict(frame), classifier.classifier_.predict(X))


def test_classifiers_get_the_columns(table):
    X, y = table
    frame = pd.DataFrame(X, columns=["p", "q", "r"])
    chosen = make_pipeline(ColumnTransformer([("kept", "passthrough", ["r", "p"])]), SVC())
    classifier = DistilledClassifier(quick(), chosen).fit(frame, y)
    assert classifier.classifier_.feature_names_in_.tolist() == ["p", "q", "r"]
    assert classifier.predict(frame).shape == classifier.decision_function(frame)[:, 0].shape
    # A pickle of an older version has a classifier of plain arrays.
    older = DistilledClassifier(quick(), KNeighborsClassifier(1)).fit(X, y)
    expected = older.predict(X)
    del older._origin
    np.testing.assert_array_equal(older.predict(X), expected)


@pytest.mark.parametrize("classifier", [None, KNeighborsClassifier(1)], ids=["networks", "other"])
@pytest.mark.parametrize("weight", [-1.0, np.nan])
def test_bad_weights_of_a_score(table, classifier, weight):
    X, y = table
    fitted = DistilledClassifier(quick(), classifier).fit(X, y)
    weights = np.r_[weight, np.ones(len(y) - 1)]
    with pytest.raises(ValueError, match=r"(?i)sample.weight"):
        fitted.score(X, y, sample_weight=weights)
    with pytest.raises(ValueError, match="sample_weight"):
        fitted.score(X, y, sample_weight=np.ones(3))


def test_a_boosted_distillers_class_weight_comes_before_the_samplers(table):
    X, y = table
    boosted = BoostedDistiller(1, distiller=quick(class_weight={"a": 9}), random_state=0)
    expected = clone(boosted).fit(X, y).transform()[0]
    np.testing.assert_array_equal(DistillationSampler(boosted).fit_resample(X, y)[0], expected)


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_what_holds_a_distiller_is_refused_before_any_work(monkeypatch, table, method):
    monkeypatch.setattr("skdistill.adapters.clone", lambda _: pytest.fail("work was started"))
    search = GridSearchCV(make_pipeline(StandardScaler()), {}, scoring=lambda *args: 1)
    halving = HalvingGridSearchCV(quick(), {"ipc": [1, 2]})
    for holder in (make_pipeline(StandardScaler(), quick()), search, halving):
        with pytest.raises(ValueError, match="distiller must be None or a distiller such as"):
            method(holder)(*table)
