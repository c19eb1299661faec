"""Pruning by loss: which samples are kept, of what kind they are, and before a distiller."""

from functools import partial

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from tools import quick, tiny
from torch import nn

from skdistill import LossPruner, pruning
from skdistill.exceptions import DivergenceWarning
from skdistill.hardness import loss_scores

# Enough for networks of four hidden units to learn 40 images.
SMALL = {"architecture": tiny, "n_networks": 2, "n_epochs": 8, "batch_size": 8, "random_state": 0}
SMALL |= {"learning_rate": 0.01}
pruner = partial(LossPruner, **SMALL)


@pytest.fixture
def mislabeled(images):
    """Return images, labels of which some are wrong, and which."""
    X, y = images
    wrong = np.array([3, 10, 20, 31])
    y = y.copy()
    y[wrong] = 1 - y[wrong]
    return X, y, wrong


def nothing_known(input_shape, n_classes):
    network = tiny(input_shape, n_classes)
    nn.init.zeros_(network[-1].weight)
    nn.init.zeros_(network[-1].bias)
    return network


def test_scores_are_mean_losses(images):
    X, y = images
    at_first = loss_scores(X, y, **SMALL | {"architecture": nothing_known, "learning_rate": 1e-9})
    np.testing.assert_allclose(at_first, np.log(2), atol=1e-5)
    # Means over epochs: those of one and two give the loss after the second epoch.
    one, two, eight = (loss_scores(X, y, **SMALL | {"n_epochs": n}) for n in (1, 2, 8))
    assert (2 * two - one).mean() < one.mean()
    assert eight.mean() < two.mean() < np.log(2)
    # Means over networks, of which the first is the same.
    alone = loss_scores(X, y, **SMALL | {"n_networks": 1})
    assert (2 * eight - alone).min() > 0
    np.testing.assert_array_equal(eight, loss_scores(X, y, **SMALL))


def test_wrong_labels_have_large_losses(mislabeled):
    X, y, wrong = mislabeled
    scores = loss_scores(X, y, **SMALL)
    others = np.delete(scores, wrong)
    assert scores[wrong].min() > np.quantile(others, 0.8)
    assert set(wrong) & set(pruner(0.8).fit(X, y).sample_indices_) == set()
    assert set(wrong) <= set(pruner(0.3, favor="large").fit(X, y).sample_indices_)


@pytest.mark.parametrize("favor", ["small", "large"])
@pytest.mark.parametrize(("keep", "n"), [(1e-12, 1), (0.2, 4), (0.21, 5), (0.7, 14), (1.0, 20)])
def test_the_same_part_of_each_class_is_kept(images, keep, n, favor):
    X, y = images
    fitted = pruner(keep, favor=favor).fit(X, y)
    rows, scores = fitted.sample_indices_, fitted.scores_
    assert (np.diff(rows) > 0).all()
    np.testing.assert_array_equal(scores, loss_scores(X, y, **SMALL))
    for c in (0, 1):
        kept = scores[rows[y[rows] == c]]
        left = scores[np.setdiff1d(np.flatnonzero(y == c), rows)]
        assert len(kept) == n
        if len(left):
            assert kept.max() <= left.min() if favor == "small" else kept.min() >= left.max()


def test_rows_come_back_as_they_were(table):
    X, y = table
    names = ["a", "b", "c"]
    labels = np.array(["no", "yes"])[y]
    rows = pruner(0.5).fit(X, y).sample_indices_
    frame = pd.DataFrame(X, columns=names, index=range(100, 130))
    X_kept, y_kept = (sampler := pruner(0.5)).fit_resample(frame, pd.Series(labels, name="label"))
    pd.testing.assert_frame_equal(X_kept, frame.iloc[rows])
    assert y_kept.tolist() == labels[rows].tolist()
    assert sampler.feature_names_in_.tolist() == names
    assert sampler.classes_.tolist() == ["no", "yes"]
    X_kept, _ = pruner(0.5).fit_resample(pl.DataFrame(X, schema=names), labels)
    assert X_kept.equals(pl.DataFrame(X[rows], schema=names))
    for given in (X, X.tolist(), torch.from_numpy(X)):
        X_kept, y_kept = pruner(0.5).fit_resample(given, y)
        np.testing.assert_array_equal(X_kept, X[rows])
        np.testing.assert_array_equal(y_kept, y[rows])


def test_a_pipeline_distills_what_is_kept_and_tests_on_all(images):
    make_pipeline = pytest.importorskip("imblearn.pipeline").make_pipeline
    X, y = images
    distiller = quick(architecture=tiny, init="real")
    pipeline = make_pipeline(pruner(0.25), distiller).fit(X, y)
    assert 0 <= pipeline.score(X, y) <= 1
    alone = quick(architecture=tiny, init="real").fit(*pruner(0.25).fit_resample(X, y))
    np.testing.assert_array_equal(pipeline[-1].distilled_.X, alone.distilled_.X)


def test_losses_that_are_not_finite_are_left_out(table, monkeypatch):
    X, y = table
    first, second = np.ones(30), np.full(30, 3.0)
    first[[0, 1]], second[[1, 2]] = np.nan, np.inf
    answers = [(k, 0, torch.from_numpy(losses)) for k, losses in enumerate((first, second))]
    monkeypatch.setattr("skdistill.hardness.losses.train_networks", lambda *args: answers)
    with pytest.warns(DivergenceWarning, match="2 of 2 networks diverged"):
        fitted = pruner(14 / 15).fit(X, y)
    assert fitted.scores_[:4].tolist() == [3, np.inf, 1, 2]
    # One of each class is left out.
    assert set(range(30)) - set(fitted.sample_indices_) == {1, 0}


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"keep": 0.0}, "'keep' parameter of LossPruner"),
        ({"keep": 1.5}, "'keep' parameter of LossPruner"),
        ({"favor": "medium"}, "'favor' parameter of LossPruner"),
        ({"n_epochs": 0}, "'n_epochs' parameter of LossPruner"),
        ({"image_shape": (1, 5, 5)}, "image_shape"),
    ],
)
def test_bad_parameters(images, monkeypatch, parameters, message):
    monkeypatch.setattr("skdistill.hardness.losses.train_networks", None)
    with pytest.raises(ValueError, match=message):
        LossPruner(**SMALL | parameters).fit(*images)
    assert pruning.__all__ == ["LossPruner"]


def test_bad_parameters_of_the_scores(images):
    for parameters, message in (
        ({"n_epochs": 0}, "n_epochs must be an integer of at least 1; got 0"),
        ({"learning_rate": -1}, "learning_rate must be a positive number; got -1"),
    ):
        with pytest.raises(ValueError, match=message):
            loss_scores(*images, **SMALL | parameters)


def test_a_fit_that_fails_leaves_the_features_of_an_earlier_one(images):
    X, y = images
    pruner = LossPruner(architecture=tiny, n_networks=1, n_epochs=1).fit(X, y)
    n_features = pruner.n_features_in_
    with pytest.raises(ValueError, match="image_shape"):
        pruner.set_params(image_shape=(1, 2, 2)).fit(X[:, :5], y)
    assert pruner.n_features_in_ == n_features


def test_a_pruner_of_images_counts_their_values(images):
    X, y = images
    assert pruner(n_epochs=1).fit(X, y).n_features_in_ == 36
