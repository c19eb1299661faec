"""Real batches in runs: from the clusters of k-means."""

from functools import partial

import numpy as np
import pytest
import tools
import torch
from sklearn.datasets import make_blobs
from tools import tiny

from skdistill import BoostedDistiller
from skdistill._engine.learner import Learner
from skdistill._engine.optimizers import Adam
from skdistill._run.checkpoint import Checkpoint
from skdistill.exceptions import InvalidFileError
from skdistill.sampling import ClusterSampler, KMeansSampler, shares

quick = partial(tools.quick, batch_size=6, architecture=tiny, max_iter=5)
ON_SAMPLES = partial(KMeansSampler, features="samples")


@pytest.fixture
def blobs():
    """Return 60 samples in two classes of three tight clusters each, labels, and the clusters."""
    X, blob = make_blobs(60, 2, centers=6, cluster_std=0.01, random_state=1)
    return X, blob % 2, blob


def test_a_batch_has_the_nearest_to_the_center_of_each_cluster(blobs, rows):
    X, y, blob = blobs
    quick(sampler=ON_SAMPLES()).fit(X, y)
    assert rows == [rows[0]] * 5
    assert sorted(blob[rows[0]]) == list(range(6))
    scale = X.std(axis=0)
    for row in rows[0]:
        members = np.flatnonzero(blob == blob[row])
        distances = np.linalg.norm((X[members] - X[members].mean(axis=0)) / scale, axis=1)
        # Mini-batches come near to the mean of a cluster, and not to its last digits.
        assert distances[members == row] <= np.sort(distances)[2]


def test_a_batch_may_have_a_random_sample_of_each_cluster(blobs, rows):
    X, y, blob = blobs
    quick(sampler=ON_SAMPLES(choose="random")).fit(X, y)
    assert all(sorted(blob[batch]) == list(range(6)) for batch in rows)
    assert len(set(map(tuple, rows))) == 5


@pytest.mark.parametrize("choose", ["nearest", "random"])
def test_clusters_may_give_several(blobs, rows, choose):
    X, y, blob = blobs
    sampler = ON_SAMPLES(choose=choose, per_cluster=3)
    quick(sampler=sampler, batch_size=18).fit(X, y)
    for batch in rows:
        assert sorted(blob[batch]) == sorted([*range(6)] * 3)
        assert len(set(batch)) == 18


def test_classes_have_their_frequencies(blobs, rows):
    X, y, _ = blobs
    kept = np.r_[np.flatnonzero(y == 0), np.flatnonzero(y == 1)[:10]]
    quick(sampler=ON_SAMPLES(), batch_size=8).fit(X[kept], y[kept])
    assert [int((y[kept][batch] == 0).sum()) for batch in rows] == [6] * 5


@pytest.mark.parametrize(
    ("sizes", "total", "expected"),
    [
        ([30, 10], 8, [6, 2]),
        ([5, 5, 5], 7, [3, 2, 2]),
        ([98, 1, 1], 10, [8, 1, 1]),
        ([50, 49, 1], 3, [1, 1, 1]),
        ([4, 3, 2], 9, [4, 3, 2]),
    ],
)
def test_shares_are_in_proportion_and_at_least_one(sizes, total, expected):
    assert shares(sizes, total) == expected


def test_shares_never_exceed_the_sizes():
    rng = np.random.default_rng(0)
    for _ in range(300):
        sizes = rng.integers(1, 12, size=rng.integers(1, 6))
        total = int(rng.integers(len(sizes), sizes.sum() + 1))
        found = np.array(shares(sizes, total))
        assert found.sum() == total
        assert ((found >= 1) & (found <= sizes)).all()


# When, and by which features ----------------------------------------------------------------------


def states(distiller, data, monkeypatch):
    """Return the clusters of each outer step of a fit."""
    found, original = [], ClusterSampler.batch

    def noted(self, step, state):
        found.append(state["clusters"])
        return original(self, step, state)

    with monkeypatch.context() as patch:
        patch.setattr(ClusterSampler, "batch", noted)
        distiller.fit(*data)
    return found


@pytest.mark.parametrize(
    ("every", "changes"), [(2, [2, 4]), (1, [1, 2, 3, 4]), (None, []), (9, [])]
)
def test_clusters_are_renewed_when_they_are_due(images, monkeypatch, every, changes):
    found = states(quick(sampler=KMeansSampler(renew_every=every)), images, monkeypatch)
    assert all(clusters is not None for clusters in found)
    assert [k for k in range(1, 5) if found[k] != found[k - 1]] == changes


def test_a_network_is_trained_on_the_current_samples(images):
    X, y = images
    sampler = KMeansSampler(steps=4)
    problem = tools.a_problem(
        torch.from_numpy(X)[:, None].float(),
        torch.from_numpy(y),
        2,
        Learner(partial(tiny, (1, 6, 6), 2)),
        chunk=7,
    )
    clusters = sampler.during(problem, 6)
    generator = torch.Generator().manual_seed(0)
    synthetic = torch.randn(4, 1, 6, 6, generator=generator)
    labels = problem.rows.labels()
    embed = clusters._embedding(synthetic, labels, 3)
    found = clusters._features(embed, np.arange(40))
    learner = problem.networks
    optimizer = Adam(lr=0.001)
    state = optimizer.init(learner.init(problem.rngs.integer("clusters", 3)))
    for i in range(4):
        theta = state[0].clone().requires_grad_()
        (grad,) = torch.autograd.grad(learner.loss(theta, synthetic, labels), theta)
        state = optimizer.step(state, grad, *optimizer.scalars(i + 1))
    hidden = learner.parameters(state[0])
    real = problem.real.batch(np.arange(40))[0].flatten(1)
    expected = torch.relu(real @ hidden["1.weight"].T + hidden["1.bias"])
    np.testing.assert_allclose(found, expected, atol=1e-5)
    fresh = KMeansSampler().during(problem, 6)
    other = fresh._features(fresh._embedding(synthetic, labels, 3), np.arange(40))
    assert np.abs(other - found).max() > 1e-3


def test_features_that_are_not_finite_change_nothing(images, rows, monkeypatch):
    monkeypatch.setattr(
        ClusterSampler, "_features", lambda self, embed, rows: np.full((len(rows), 2), np.nan)
    )
    quick(sampler=KMeansSampler()).fit(*images)
    other = rows.copy()
    rows.clear()
    quick().fit(*images)
    assert rows == other


def test_a_part_of_a_large_class_is_clustered(blobs, monkeypatch):
    X, y, _ = blobs
    monkeypatch.setattr("skdistill.sampling._MOST", 2 * 10)
    sampler = ON_SAMPLES(choose="random", renew_every=1)
    found = states(quick(sampler=sampler), (X, y), monkeypatch)
    members = [sorted(row for _, rows in clusters for row in rows) for clusters in found]
    assert [len(each) for each in members] == [20] * 5
    assert len(set(map(tuple, members))) == 5


def test_a_sample_near_to_two_centers_is_taken_once(images, rows):
    # Of 40 samples nearly all, in a few clusters of which some are smaller than what they give.
    sampler = ON_SAMPLES(per_cluster=6)
    quick(sampler=sampler, batch_size=38, max_iter=1).fit(*images)
    assert [len(set(batch)) for batch in rows] == [38]


# In runs ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["warm start", "checkpoint"])
@pytest.mark.parametrize("choose", ["nearest", "random"])
def test_resuming_gives_the_same_bits(images, tmp_path, how, choose):
    sampler = KMeansSampler(steps=2, choose=choose, renew_every=2)
    make = partial(quick, ipc=2, sampler=sampler, augmentation="flip_rotate")
    whole = tools.check_same_bits_after(how, make, images, tmp_path, first=3)
    assert make(sampler="uniform").fit(*images).history_["loss"] != whole.history_["loss"]


@pytest.mark.parametrize(
    "parameters",
    [{"learn_labels": True}, {"sample": True}, {"batch_size": 100}, {"validation_fraction": 0.2}],
    ids=str,
)
def test_with_other_options_and_in_blocks(images, parameters):
    X, y = images
    weight = None
    if parameters.pop("sample", False):
        weight = np.arange(40) % 5
    distiller = quick(max_iter=2, sampler=KMeansSampler(renew_every=1), **parameters)
    assert np.isfinite(distiller.fit(X, y, sample_weight=weight).transform()[0]).all()
    boosted = BoostedDistiller(2, block_size=1, distiller=distiller, random_state=0).fit(X, y)
    assert boosted.budgets_ == [1, 2]


@pytest.mark.parametrize(
    "clusters", [[], [[1, [99]]] * 6, [[1, [0]]], [[7, []]], [["a", "b"]]], ids=str
)
def test_clusters_that_cannot_be_are_refused(images, tmp_path, monkeypatch, clusters):
    original = Checkpoint.save_if_due

    def spoil(self, run):
        run.state.method["sampler"]["clusters"] = clusters
        original(self, run)

    make = partial(quick, checkpoint=tmp_path / "run", sampler=KMeansSampler())
    monkeypatch.setattr(Checkpoint, "save_if_due", spoil)
    make(max_iter=1).fit(*images)
    monkeypatch.undo()
    with pytest.raises(InvalidFileError, match="holds no run that can go on"):
        make(max_iter=2).fit(*images)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"sampler": KMeansSampler("pixels")}, "'features' parameter of KMeansSampler"),
        ({"sampler": KMeansSampler(per_cluster=0)}, "'per_cluster' parameter of KMeansSampler"),
        ({"sampler": KMeansSampler(renew_every=0)}, "'renew_every' parameter of KMeansSampler"),
        (
            {"sampler": KMeansSampler(), "batch_size": 1},
            "batch_size=1 must be at least 2, the",
        ),
        ({"sampler": "kmeans"}, "'sampler' parameter of RaTBPTTDistiller"),
    ],
)
def test_bad_samplers(images, outer_step, parameters, message):
    outer_step.refuse()
    with pytest.raises(ValueError, match=message):
        quick(**parameters).fit(*images)
