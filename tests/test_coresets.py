"""Selections of real samples on sets small enough to know the answer."""

import numpy as np
import pytest

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
    with pytest.raises(ValueError, match="ipc=4 must be at most 3"):
        choose(X, Y, CLASSES, 4, np.random.default_rng(0))
