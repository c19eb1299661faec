"""Kernel ridge regression as a classifier, by itself and on distilled sets."""

import pickle
from functools import partial

import numpy as np
import pandas as pd
import pytest
import tools
import torch
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.kernel_ridge import KernelRidge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skdistill import DistilledClassifier, KernelRidgeClassifier, KIPDistiller
from skdistill._engine import kernels
from skdistill._engine.kernels import FullyConnected

quick = partial(tools.quick, KIPDistiller)
OTHER = {"kernel": "nngp", "depth": 2, "weight_std": 1.1, "bias_std": 0.3, "regularization": 1e-3}


def kernel(X, Z, parameters):
    names = ("depth", "weight_std", "bias_std", "kernel")
    wide = FullyConnected(*(parameters[name] for name in names))
    return wide(torch.from_numpy(X), torch.from_numpy(Z)).numpy()


@pytest.mark.parametrize("changes", [{}, OTHER])
def test_predictions_are_those_of_scikit_learns_kernel_ridge(changes):
    X, y = load_iris(return_X_y=True)
    ours = KernelRidgeClassifier(**changes).fit(X[::3], y[::3])
    parameters = ours.get_params()
    K = kernel(X[::3], X[::3], parameters)
    shift = parameters["regularization"] * np.trace(K) / len(K)
    theirs = KernelRidge(alpha=shift, kernel="precomputed").fit(K, np.eye(3)[y[::3]] - 1 / 3)
    expected = theirs.predict(kernel(X, X[::3], parameters))
    np.testing.assert_allclose(ours.decision_function(X), expected, atol=1e-6)
    assert ours.score(X, y) > 0.9


def test_two_classes_have_one_decision(table):
    X, y = table
    y = np.array(["no", "yes"])[y]
    classifier = KernelRidgeClassifier(regularization=0.1).fit(X, y)
    decision = classifier.decision_function(X)
    assert decision.shape == (30,)
    np.testing.assert_array_equal(classifier.predict(X), np.where(decision > 0, "yes", "no"))


@pytest.mark.parametrize("learn_labels", [False, True])
def test_a_distilled_set_is_standardized_and_its_labels_are_kept(learn_labels):
    X, y = load_iris(return_X_y=True)
    X = 1000 + 50 * X
    distiller = quick(learn_labels=learn_labels, ipc=2, max_iter=20, **OTHER)
    classifier = DistilledClassifier(distiller, KernelRidgeClassifier(**OTHER)).fit(X, y)
    fitted = classifier.distiller_
    distilled = fitted.distilled_
    labels = distilled.y if learn_labels else np.eye(3)[distilled.y] - 1 / 3
    scaler = StandardScaler().fit(X)
    X_syn, X_test = (scaler.transform(part.astype(float)) for part in (distilled.X, X))
    K = kernel(X_syn, X_syn, OTHER)
    K += OTHER["regularization"] * np.trace(K) / len(K) * np.eye(len(K))
    expected = kernel(X_test, X_syn, OTHER) @ np.linalg.solve(K, labels)
    np.testing.assert_allclose(classifier.decision_function(X), expected, atol=1e-4)
    own = fitted.kernel_classifier()
    np.testing.assert_array_equal(own.decision_function(X), classifier.decision_function(X))
    assert classifier.score(X, y) == own.score(X, y)
    # The last loss of the run is that of these predictions, before the last step moved them.
    loss = 0.5 * np.square(expected - (np.eye(3)[y] - 1 / 3)).mean()
    assert loss == pytest.approx(fitted.history_["loss"][-1], rel=0.3)


def test_the_loss_of_a_run_is_that_of_the_classifier(images):
    X, y = images
    # Samples that do not move.
    fitted = quick(learning_rate=1e-12, max_iter=2, ipc=3).fit(X, y)
    scores = fitted.kernel_classifier().decision_function(X)
    loss = 0.5 * np.square(scores[:, None] / 2 * [-1, 1] - (np.eye(2)[y] - 0.5)).mean()
    assert loss == pytest.approx(fitted.history_["loss"][-1], rel=1e-5)


def test_probabilities_as_labels_are_centered(images):
    X, y = images
    distilled = tools.quick(ipc=2, learn_labels=True).fit(X, y).distilled_
    got = KernelRidgeClassifier().fit_distilled(distilled)
    K = got._kernel()(torch.from_numpy(got.X_fit_)).numpy()
    np.testing.assert_allclose(K @ got.dual_coef_, distilled.y - 0.5, atol=1e-4)


@pytest.mark.parametrize("channels_last", [False, True])
def test_images_of_any_layout_or_flat(channels_last):
    rng = np.random.default_rng(0)
    y = np.arange(24) % 2
    X = (
        rng.normal(size=(24, 3, 5, 5)) * np.array([1, 10, 100])[:, None, None]
        + y[:, None, None, None]
    )
    X = np.moveaxis(X, 1, -1) if channels_last else X
    classifier = quick(ipc=2).fit(X, y).kernel_classifier()
    assert classifier.n_features_in_ == 75
    scores = classifier.decision_function(X)
    np.testing.assert_array_equal(classifier.decision_function(X.reshape(24, -1)), scores)
    other = quick(ipc=2).fit(np.moveaxis(X, -1, 1) if channels_last else X, y).kernel_classifier()
    planes = np.moveaxis(X, -1, 1) if channels_last else X
    np.testing.assert_allclose(other.decision_function(planes), scores, rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="has 74 features, but KernelRidgeClassifier is expecting"):
        classifier.predict(X.reshape(24, -1)[:, 1:])
    other_layout = np.moveaxis(X, -1, 1) if channels_last else np.moveaxis(X, 1, -1)
    with pytest.raises(ValueError, match=r"X must hold samples of shape .*, as in fit; got"):
        classifier.predict(other_layout)


def test_images_in_another_layout_than_in_fit_are_refused():
    X, y = np.random.default_rng(0).normal(size=(6, 4, 5, 3)), np.arange(6) % 2
    planes, rows = np.moveaxis(X, -1, 1), X.reshape(6, -1)
    classifier = KernelRidgeClassifier().fit(X, y)
    scores = classifier.decision_function(X)
    np.testing.assert_array_equal(classifier.decision_function(rows), scores)
    with pytest.raises(ValueError, match=r"of shape \(4, 5, 3\), as in fit; .* \(3, 4, 5\)"):
        classifier.predict(planes)
    with pytest.raises(ValueError, match="X has 59 features, but KernelRidgeClassifier is expec"):
        classifier.predict(rows[:, 1:])
    # Whether rows were flattened in this order, nobody knows.
    with pytest.raises(ValueError, match=r"of shape \(60,\), as in fit; .* \(4, 5, 3\)"):
        KernelRidgeClassifier().fit(rows, y).predict(X)
    assert classifier.fit(planes, y).predict(planes).shape == (6,)


def test_a_pickle_that_does_not_know_the_shape_takes_any():
    X, y = np.random.default_rng(0).normal(size=(6, 4, 5, 3)), np.arange(6) % 2
    classifier = KernelRidgeClassifier().fit(X, y)
    # As an earlier version wrote it.
    del classifier._sample_shape
    older = pickle.loads(pickle.dumps(classifier))
    assert older.predict(np.moveaxis(X, -1, 1)).shape == (6,)


def test_blocks_make_no_difference(table, monkeypatch):
    classifier = KernelRidgeClassifier().fit(*table)
    whole = classifier.decision_function(table[0])
    monkeypatch.setattr(kernels, "_BLOCK", {"cpu": 120})
    monkeypatch.setattr(kernels, "_FEWEST_ROWS", 1)
    np.testing.assert_allclose(classifier.decision_function(table[0]), whole, atol=1e-9)


def test_equal_samples_without_regularization_are_counted():
    X = np.repeat([[1.0, 2.0], [3.0, -1.0]], 3, axis=0)
    classifier = KernelRidgeClassifier(regularization=0.0).fit(X, [0, 0, 0, 1, 1, 1])
    assert classifier.n_raised_ > 0
    assert classifier.score(X, [0, 0, 0, 1, 1, 1]) == 1
    assert KernelRidgeClassifier().fit(X, [0, 0, 0, 1, 1, 1]).n_raised_ == 0


def test_columns_keep_their_names(table):
    X, y = pd.DataFrame(table[0], columns=["a", "b", "c"]), table[1]
    classifier = quick().fit(X, y).kernel_classifier()
    assert classifier.feature_names_in_.tolist() == ["a", "b", "c"]
    classifier.predict(X)
    with pytest.raises(ValueError, match="feature names"):
        classifier.predict(X[["b", "a", "c"]])


def test_in_a_pipeline_it_is_fitted_to_hard_labels(table):
    steps = make_pipeline(StandardScaler(), KernelRidgeClassifier())
    classifier = DistilledClassifier(quick(learn_labels=True, ipc=3), steps).fit(*table)
    last = classifier.classifier_[-1]
    assert set(last.mean_) == {0.0}
    assert last.dual_coef_.shape == (6, 2)


def test_an_unfitted_distiller_has_no_classifier():
    with pytest.raises(ValueError, match="not fitted"):
        KIPDistiller().kernel_classifier()


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"kernel": "rbf"}, "'kernel' parameter"),
        ({"depth": 1.5}, "'depth' parameter"),
        ({"weight_std": -1}, "'weight_std' parameter"),
        ({"bias_std": None}, "'bias_std' parameter"),
        ({"regularization": -1}, "'regularization' parameter"),
        ({"device": "abacus"}, "device must be 'auto' or"),
    ],
)
def test_bad_parameters(table, parameters, message):
    with pytest.raises(ValueError, match=message):
        KernelRidgeClassifier(**parameters).fit(*table)
    distilled = quick(max_iter=1).fit(*table).distilled_
    with pytest.raises(ValueError, match=message):
        clone(KernelRidgeClassifier(**parameters)).fit_distilled(distilled)


def test_a_kernel_of_zeros_is_refused():
    with pytest.raises(ValueError, match="X must hold samples whose kernel is finite and not zero"):
        KernelRidgeClassifier(depth=0, bias_std=0).fit(np.zeros((4, 2)), [0, 1, 0, 1])


def test_samples_are_no_distilled_set(table):
    with pytest.raises(ValueError, match="distilled must be a DistilledDataset; got ndarray"):
        KernelRidgeClassifier().fit_distilled(table[0])


def test_a_fit_that_fails_leaves_an_earlier_one_as_it_was(table):
    X, y = table
    frame = pd.DataFrame(X, columns=["a", "b", "c"])
    classifier = KernelRidgeClassifier(regularization=0.1).fit(frame, y)
    accuracy = classifier.score(frame, y)
    turned = frame[["c", "b", "a"]]
    with pytest.raises(ValueError, match="class"):
        classifier.fit(turned, np.zeros(30))
    assert classifier.score(frame, y) == accuracy
    with pytest.raises(ValueError, match="feature names should match"):
        classifier.score(turned, y)


@pytest.mark.parametrize(("dtype", "kind"), [("Int64", "i"), ("boolean", "b")])
def test_labels_of_a_dtype_that_may_have_gaps_stay_what_they_are(table, dtype, kind):
    X, y = table
    classifier = KernelRidgeClassifier(regularization=0.1).fit(X, pd.Series(y, dtype=dtype))
    assert classifier.classes_.dtype.kind == kind


@pytest.mark.parametrize("missing", [None, pd.NA, float("nan")])
def test_missing_labels_are_refused(table, missing):
    X, y = table
    with pytest.raises(ValueError, match=r"y must have no NaN or None: .*, 1 of 30 here"):
        KernelRidgeClassifier().fit(X, [missing, *np.array(["no", "yes"])[y[1:]]])


@pytest.mark.filterwarnings("error")
def test_a_classifier_of_sets_knows_the_columns(table):
    X, y = table
    frame = pd.DataFrame(X, columns=["a", "b", "c"])
    classifier = DistilledClassifier(quick(), KernelRidgeClassifier()).fit(frame, y)
    assert classifier.predict(frame).shape == (30,)
