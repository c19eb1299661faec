"""Selections of real samples on sets small enough to know the answer."""

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_digits

from skdistill.coresets import herding, kmeans_centroids, random_samples

X = np.array([[0.0], [1.0], [5.0], [10.0], [11.0], [12.0]])
Y = np.array(["a", "a", "a", "b", "b", "b"])
CLASSES = np.array(["a", "b"])


def test_random_samples_are_distinct_members_in_interleaved_order():
    chosen, labels = random_samples(X, Y, CLASSES, 2, np.random.default_rng(0))
    assert labels.tolist() == ["a", "b", "a", "b"]
    assert len(np.unique(chosen)) == 4
    assert set(chosen[::2, 0]) <= {0, 1, 5}


def test_kmeans_with_one_cluster_is_the_class_mean():
    centroids, labels = kmeans_centroids(X, Y, CLASSES, 1, np.random.default_rng(0))
    np.testing.assert_allclose(centroids, [[2.0], [11.0]])
    assert labels.tolist() == ["a", "b"]


def test_kmeans_finds_the_clusters():
    centroids, _ = kmeans_centroids(X, Y, CLASSES, 2, np.random.default_rng(0))
    assert sorted(centroids[::2, 0].tolist()) == [0.5, 5.0]


def test_herding_follows_the_mean():
    # Class a has mean 2: first 1, then the sample that brings the mean of two closest to 2: 5.
    chosen, _ = herding(X, Y, CLASSES, 2, None)
    assert chosen[:, 0].tolist() == [1.0, 11.0, 5.0, 10.0]


@pytest.mark.parametrize("choose", [random_samples, kmeans_centroids, herding])
def test_more_than_a_class_has(choose):
    message = "ipc=3, the real samples to choose of each class, must be at most 2: .*, 'b'"
    with pytest.raises(ValueError, match=message):
        choose(X[:5], Y[:5], CLASSES, 3, np.random.default_rng(0))


# --- units ------------------------------------------------------------------------------------

# In raw units the second feature alone decides; by the scale, the first.
MIXED = np.array([[0.0, 0.0], [0.2, 500.0], [5.0, 100.0], [5.2, 600.0]])
SCALE = np.array([1.0, 1e4])


def test_kmeans_clusters_by_the_scale_and_returns_raw_units():
    choose = {"X": MIXED, "y": np.zeros(4), "classes": np.zeros(1), "ipc": 2}
    centroids, _ = kmeans_centroids(**choose, rng=np.random.default_rng(0), scale=SCALE)
    expected = [[0.1, 250.0], [5.1, 350.0]]
    np.testing.assert_allclose(centroids[np.argsort(centroids[:, 0])], expected)
    raw, _ = kmeans_centroids(**choose, rng=np.random.default_rng(0))
    assert not np.allclose(raw[np.argsort(raw[:, 0])], expected)


def test_herding_measures_by_the_scale_and_returns_the_rows_themselves():
    X = np.array([[0.3, 1e5], [1.0, 0.0], [2.0, 0.1e5], [9.0, 0.3e5]]) / 3
    chosen, _ = herding(X, np.zeros(4), np.zeros(1), 2, None, scale=[1.0, 1e6])
    np.testing.assert_array_equal(chosen, X[[2, 1]])
    by_units, _ = herding(X / [1.0, 1e6], np.zeros(4), np.zeros(1), 2, None)
    np.testing.assert_array_equal(by_units, (X / [1.0, 1e6])[[2, 1]])
    raw, _ = herding(X, np.zeros(4), np.zeros(1), 2, None)
    assert (raw != chosen).any()


def test_one_scale_for_all_gives_the_bits_of_none():
    X, y = load_digits(return_X_y=True)
    for choose in (kmeans_centroids, herding, random_samples):
        without = choose(X, y, np.unique(y), 3, np.random.default_rng(0))[0]
        with_one = choose(X, y, np.unique(y), 3, np.random.default_rng(0), scale=6.016)[0]
        np.testing.assert_array_equal(with_one, without)


@pytest.mark.parametrize("choose", [kmeans_centroids, herding])
def test_a_scale_that_is_not_positive(choose):
    with pytest.raises(ValueError, match=r"scale must be positive; got 0\.0 for feature 1"):
        choose(MIXED, np.zeros(4), np.zeros(1), 1, np.random.default_rng(0), scale=[1.0, 0.0])


@pytest.mark.parametrize("choose", [random_samples, kmeans_centroids, herding])
def test_series_and_frames_are_taken_by_place(choose):
    def chosen(X, y, classes=CLASSES):
        return choose(X, y, classes, 1, np.random.default_rng(0))

    samples, labels = chosen(X, Y)
    index = [3, 5, 1, 0, 2, 4]
    frame = pd.DataFrame(X, index=index)
    found, names = chosen(frame, pd.Series(Y, index=index), ["a", "b"])
    np.testing.assert_array_equal(found, samples)
    assert names.tolist() == labels.tolist()


@pytest.mark.parametrize("choose", [random_samples, kmeans_centroids, herding])
@pytest.mark.parametrize(
    ("y", "ipc", "message"),
    [
        (Y[:4], 1, r"y must hold a label for each of the 6 samples of X; got shape \(4,\)"),
        (Y, 0, "ipc must be an integer of at least 1; got 0"),
        (Y, -1, "ipc must be an integer of at least 1; got -1"),
    ],
)
def test_unfit_data(choose, y, ipc, message):
    with pytest.raises(ValueError, match=message):
        choose(X, y, CLASSES, ipc, np.random.default_rng(0))


def test_herding_refuses_what_has_no_mean():
    with pytest.raises(ValueError, match="X must hold finite numbers"):
        herding(np.where(X > 5, np.nan, X), Y, CLASSES, 1, None)
