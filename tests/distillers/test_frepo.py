"""FRePo: the regression against other ways to compute it, its pool in a run, and the distiller."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import tools
import torch
from sklearn.datasets import make_classification
from tools import a_problem
from torch import nn
from torch.func import functional_call

from skdistill import BoostedDistiller, FRePoDistiller
from skdistill._engine.features import Features, RealFeatures
from skdistill._engine.learner import Learner
from skdistill._engine.methods.base import Synthetic
from skdistill._engine.methods.feature_regression import (
    FeatureRegression,
    label_term,
    predictions,
)
from skdistill._engine.methods.matching import Embedding
from skdistill._engine.optimizers import Adam
from skdistill._engine.pool import Pool
from skdistill._engine.protocols import mean_squared_error
from skdistill._engine.steps import Steps
from skdistill._engine.streams import Streams
from skdistill.augmentation import Rotation
from skdistill.exceptions import InvalidFileError

SHAPE = (1, 8, 8)
quick = partial(tools.quick, FRePoDistiller)


def regression_of(learner, X, y, weight=None, chunk=None, batch=None, flips=False, rngs=Streams(0)):  # noqa: B008
    """Return the method, and the problem of these real samples."""
    learner.criterion = mean_squared_error
    problem = a_problem(X, y, 2, learner, weight, rngs, chunk=chunk)
    batch = batch or (lambda index: np.arange(len(X)))
    pool = Pool(Steps(learner, Adam(0.01), chunk), size=3, max_age=5)
    embed = Embedding(learner, tuple(X.shape[1:]))
    return FeatureRegression(embed, pool, batch, regularization=1e-3, flips=flips), problem


def gradient(method, X_syn, y_syn, step=0, state=None):
    """Return the gradient and the state of an outer step."""
    method, problem = method
    state = method.init(problem) if state is None else state
    return method.gradient(problem, Synthetic(X_syn, y_syn), state, step)


# --- the objective ----------------------------------------------------------------------------


def test_by_hand():
    # Features (1, 0) and (0, 1): the kernel is the identity, the ridge 0.5.
    support, y = torch.eye(2).double(), torch.tensor([[3.0, 0.0], [0.0, 6.0]]).double()
    real = torch.tensor([[1.0, 0.0], [1.0, 1.0]]).double()
    y_real = torch.tensor([[1.0, 0.0], [0.0, 1.0]]).double()
    # Predictions (2, 0) and (2, 4): half the squared errors are 0.5 and 2 + 4.5.
    predicted, n_raised = predictions(support, y, real, 0.5)
    assert n_raised == 0
    losses = mean_squared_error(predicted, y_real, reduction="none")
    torch.testing.assert_close(losses, torch.tensor([0.5, 6.5]).double())
    for weight, expected in ((None, 3.5), (torch.tensor([3.0, 1.0]), (3 * 0.5 + 6.5) / 4)):
        mean = RealFeatures(real, torch.arange(2), weight).mean(losses)
        assert mean.item() == pytest.approx(expected)


def test_the_label_term_by_hand():
    y = torch.tensor([[2.0, 1.9, 0.0], [-1.0, 3.0, -2.0]], requires_grad=True)
    term = label_term(y)
    assert term.item() == pytest.approx(-(0.1 + 1 / 3) / 2)
    (slope,) = torch.autograd.grad(term, y)
    torch.testing.assert_close(slope, torch.tensor([[-0.5, 0.5, 0.0], [0.0, 0.0, 0.0]]))


def by_autograd(learner, theta, X, y, weight, X_syn, y_syn, learns, flips):
    """Return loss and gradients through everything at once, in other words."""
    body = nn.Sequential(*list(learner.module)[:-1])
    names = dict(body.named_parameters())
    parameters = {k: v for k, v in learner.parameters(theta).items() if k in names}
    embed = partial(functional_call, body, parameters)
    X_syn, y_syn = (tensor.clone().requires_grad_() for tensor in (X_syn, y_syn))
    support, labels = X_syn, y_syn
    if flips:
        support, labels = torch.cat((X_syn, X_syn.flip(3))), torch.cat((y_syn, y_syn))
    phi, phi_real = embed((support,)), embed((X,))
    K = phi @ phi.T
    K = K + 1e-3 * K.trace() / len(K) * torch.eye(len(K), dtype=K.dtype)
    errors = phi_real @ phi.T @ torch.linalg.inv(K) @ labels - (torch.eye(3).double()[y] - 1 / 3)
    loss = (weight * (errors**2).sum(dim=1) / 2).sum() / weight.sum()
    if learns:
        ordered = y_syn.sort(dim=1, descending=True).values
        margins = ordered[:, 0] - ordered[:, 1]
        loss = loss - torch.where(margins < 1 / 3, margins, 1 / 3).mean()
    return loss, *torch.autograd.grad(loss, (X_syn, y_syn))


@pytest.mark.parametrize("chunk", [None, 5])
@pytest.mark.parametrize("flips", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("learns", [False, True])
def test_equals_autograd(learner, problem, learns, weighted, flips, chunk):
    X, y, weight, X_syn, y_syn = problem
    method = regression_of(learner, X, y, weight if weighted else None, chunk, flips=flips)
    if not learns:
        y_syn = torch.arange(3).repeat(2)
    found, state = gradient(method, X_syn, y_syn)
    pool = method[0].pool
    theta = pool.network(state["pool"], pool.draw(Streams(0), 0))
    weight = weight if weighted else torch.ones_like(weight)
    soft = y_syn if learns else (torch.eye(3).double()[y_syn] - 1 / 3) / 0.3**0.5
    loss, X_bar, y_bar = by_autograd(learner, theta, X, y, weight, X_syn, soft, learns, flips)
    assert found.loss.item() == pytest.approx(loss.item(), rel=1e-9)
    assert X_bar.norm() > 1e-3
    assert (found.X - X_bar).norm() < 1e-9 * X_bar.norm()
    if learns:
        assert (found.y - y_bar).norm() < 1e-9 * y_bar.norm()
    else:
        assert found.y is None


@pytest.mark.parametrize("flips", [False, True])
def test_gradient_equals_finite_differences(learner, problem, flips):
    X, y, weight, X_syn, y_syn = problem
    method = regression_of(learner, X, y, weight, chunk=5, flips=flips)
    found, _ = gradient(method, X_syn, y_syn)
    generator = torch.Generator().manual_seed(2)
    for _ in range(2):
        draw = partial(torch.randn, generator=generator, dtype=torch.float64)
        dX, dy = draw(X_syn.shape), draw(y_syn.shape)
        above, below = (
            gradient(method, X_syn + e * dX, y_syn + e * dy)[0].loss for e in (1e-6, -1e-6)
        )
        slope = (found.X * dX).sum() + (found.y * dy).sum()
        assert ((above - below) / 2e-6).item() == pytest.approx(slope.item(), rel=1e-5)


def test_first_labels_are_centered_and_scaled():
    method = regression_of(Learner(lambda: nn.Linear(3, 2)), torch.ones(2, 3), torch.arange(2))[0]
    y = method.first_labels(torch.eye(40))
    assert y[0, 0].item() == pytest.approx((1 - 1 / 40) / 2)
    assert y[0, 1].item() == pytest.approx(-1 / 40 / 2)


# --- labels that are all the same -------------------------------------------------------------


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_labels_that_collapsed_have_finite_gradients_that_part_them(learner, problem, value):
    X, y, _, X_syn, _ = problem
    y_syn = torch.full((6, 3), value, dtype=torch.float64)
    found, _ = gradient(regression_of(learner, X, y), X_syn, y_syn)
    assert found.X.isfinite().all()
    assert found.y.isfinite().all()
    moved = label_term(y_syn - 1e-3 * found.y / found.y.norm())
    assert moved < label_term(y_syn) == 0


# --- the pool in a run ------------------------------------------------------------------------


def test_a_network_is_trained_on_what_its_step_left(learner, problem):
    X, y, _, X_syn, y_syn = problem
    method = regression_of(learner, X, y)
    pool = method[0].pool
    _, state = gradient(method, X_syn, y_syn)
    begun = method[0].init(method[1])["pool"]
    assert all(
        torch.equal(pool.network(state["pool"], k), pool.network(begun, k)) for k in range(3)
    )
    _, state = gradient(method, X_syn + 1, y_syn, 1, state)
    k = pool.draw(Streams(0), 0)
    expected = pool.advance(begun, k, X_syn + 1, y_syn, Streams(0), 1)
    for j in range(3):
        assert torch.equal(pool.network(state["pool"], j), pool.network(expected, j))
    assert pool.age(state["pool"], k) == pool.age(begun, k) + 1


def test_processes_have_one_pool_and_batches_of_their_own(learner, problem):
    X, y, _, X_syn, y_syn = problem
    states, losses = [], []
    for rank in range(2):
        rngs = Streams(0, rank, 2)
        method = regression_of(
            learner, X, y, batch=lambda index: np.arange(4) + 4 * (index % 2), rngs=rngs
        )
        state = None
        for step in range(3):
            found, state = gradient(method, X_syn, y_syn, step, state)
        states.append(state["pool"])
        losses.append(found.loss.item())
    assert losses[0] != losses[1]
    for a, b in zip(*(state["networks"].values() for state in states)):
        assert torch.equal(a["slots"], b["slots"])


@pytest.mark.parametrize("factor", [0.0, 1e200], ids=["dead", "infinite"])
def test_a_network_without_a_regression_is_replaced_and_counted(problem, factor):
    X, y, _, X_syn, y_syn = problem

    body = partial(tools.tiny, SHAPE, 3)
    method = regression_of(Learner(body, dtype=torch.float64), X, y)
    state = method[0].init(method[1])
    k = method[0].pool.draw(Streams(0), 0)
    spoilt = state["pool"]["networks"][str(k)]
    spoilt["slots"] = spoilt["slots"] * factor
    found, new = gradient(method, X_syn, y_syn, 0, state)
    assert not found.loss.isfinite()
    assert new["pool"]["n_diverged"] == found.record["n_diverged"] == 1
    assert gradient(method, X_syn, y_syn, 0, new)[0].loss.isfinite()


@pytest.mark.parametrize("how", ["warm start", "checkpoint", "checkpoint after Ctrl-C"])
def test_a_resumed_run_gives_the_same_bits(images, tmp_path, how):
    # Every network is drawn, trained and replaced.
    make = partial(quick, ipc=2, max_iter=12, pool_size=2, pool_max_age=2, batch_size=8)
    make = partial(make, pool_steps=2, pool_batch_size=3)
    whole = tools.check_same_bits_after(how, make, images, tmp_path, first=5)
    assert max(whole.history_["age"]) == 4
    assert 0 in whole.history_["age"][6:]


def test_a_checkpoint_whose_pool_is_another_is_refused(images, tmp_path, monkeypatch):
    quick(checkpoint=tmp_path / "run", max_iter=2).fit(*images)
    larger = lambda steps, size, *rest: Pool(steps, size + 1, *rest)  # noqa: E731
    monkeypatch.setattr("skdistill.distillers._pool_parameters.Pool", larger)
    with pytest.raises(InvalidFileError, match="pool must have 11 networks"):
        quick(checkpoint=tmp_path / "run").fit(*images)


def test_augmentation_changes_the_real_batch(learner, problem):
    X, y, *_ = problem
    turn, (method, plain) = Rotation(90.0), regression_of(learner, X, y)
    draws = turn.draw(Streams(0).torch("real_augmentation", 3), 20, SHAPE)
    theta = learner.init(0)
    expected = method.embed(theta, turn.apply(X, draws))
    for chunk in (None, 7):
        features = Features(partial(method.embed, theta), chunk)
        turned = replace(plain, augmentation=turn)
        got = features.of_real(turned, np.arange(20), 3).features
        torch.testing.assert_close(got, expected)
    assert not torch.allclose(features.of_real(plain, np.arange(20), 3).features, expected)


def test_augmentation_changes_what_networks_are_trained_on(learner, problem):
    X, y, _, X_syn, y_syn = problem
    turn, pool = Rotation(90.0), regression_of(learner, X, y)[0].pool
    begun = pool.init(Streams(0))
    draws = turn.draw(Streams(0).torch("pool augmentation", 3), 6, SHAPE)
    expected = pool.advance(begun, 1, turn.apply(X_syn, draws), y_syn, Streams(0), 3)
    got = replace(pool, augmentation=turn).advance(begun, 1, X_syn, y_syn, Streams(0), 3)
    assert torch.equal(pool.network(got, 1), pool.network(expected, 1))


# --- the distiller ----------------------------------------------------------------------------


def convolutional(shape, n_classes):
    return nn.Sequential(nn.Conv2d(1, n_classes, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())


def test_what_comes_out(images):
    X, y = images
    y = np.array(["down", "up"])[y]
    distiller = quick(ipc=2).fit(X, y)
    X_syn, y_syn = distiller.transform()
    assert (X_syn.shape, y_syn.shape) == ((4, 6, 6), (4, 2))
    assert set(distiller.history_) == {
        *("loss", "grad_norm", "clip_level", "skipped", "seconds", "age", "n_diverged", "n_raised")
    }
    assert y_syn.min() < 0
    assert distiller.distilled_.hard_labels().tolist() == ["down", "up"] * 2
    assert distiller.distilled_.recipe.loss == "mse"
    assert distiller.distilled_.provenance["method"] == "FRePoDistiller"
    assert 0 <= distiller.score(X, y) <= 1
    hard = quick(ipc=2, learn_labels=False).fit(X, y)
    assert hard.transform()[1].tolist() == ["down", "up"] * 2
    assert hard.distilled_.recipe.loss == "cross-entropy"
    # Hard labels are in the regression what learned ones start as, larger for two classes than for
    # ten; the term that keeps labels apart is a part of the loss only where they are learned.
    term = distiller.history_["loss"][0] - hard.history_["loss"][0]
    assert term == pytest.approx(-0.5, abs=1e-5)


@pytest.mark.parametrize(
    ("shape", "rate"),
    [((2,), 0.25 / 8), ((6, 6), 0.25 / 8), ((8, 8), 0.25 / 8), ((10, 10), 0.25 / 10)],
    ids=str,
)
def test_automatic_steps_are_a_small_share_of_the_length(shape, rate):
    X, y = np.random.default_rng(0).normal(size=(12, *shape)), np.arange(12) % 2

    def moved(**parameters):
        distiller = quick(max_iter=1, **parameters).fit(X, y)
        return distiller, np.concatenate(distiller._run.state.slots["X"][0])

    _, first = moved(learning_rate=1e-9)
    distiller, last = moved()
    assert np.linalg.norm(last - first) == pytest.approx(rate * np.linalg.norm(first), rel=1e-3)
    # Labels move by the same share.
    expected = pytest.approx({"X": rate, "y": rate})
    assert distiller.distilled_.provenance["learning_rate"] == expected
    assert distiller.learning_rate_ == (rate if np.prod(shape) < 64 else "auto")
    assert moved(learning_rate=0.2)[0].learning_rate_ == 0.2


@pytest.mark.parametrize("random_state", [0, 1])
def test_samples_of_two_features_stay_near_and_labels_keep_their_signs(random_state):
    X, y = make_classification(
        600, n_features=2, n_redundant=0, n_clusters_per_class=1, random_state=3
    )
    distiller = FRePoDistiller(
        5, max_iter=100, pool_size=5, batch_size=64, n_networks=2, eval_steps=100,
        random_state=random_state,
    ).fit(X[:300], y[:300])  # fmt: skip
    X_syn, y_syn = distiller.transform()
    # At a quarter of the size of a value, four runs had five to seven of ten labels with a wrong
    # sign, samples at more than 100, and 0.39 to 0.72 of the test; at the bound 0.92 to 0.93.
    assert (y_syn[np.arange(10), np.arange(10) % 2] > 0).all()
    assert np.abs(X_syn).max() < 30
    assert distiller.score(X[300:], y[300:]) > 0.85


def test_a_boosted_set_is_learned_by_squared_errors(images):
    boosted = BoostedDistiller(2, block_size=1, distiller=quick(), random_state=0).fit(*images)
    assert boosted.distilled_.recipe.loss == "mse"


def test_a_forecast_advises_on_the_pool(images):
    assert "pool_size" in quick().estimate(*images, n_steps=1).advice


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"flips": 1}, "'flips' parameter"),
        ({"learning_rate": 1.1}, "'learning_rate' parameter .* Got 1.1"),
        ({"regularization": -1e-9}, "'regularization' parameter .* Got -1e-09"),
        ({"pool_size": 0}, "'pool_size' parameter .* Got 0"),
        ({"pool_size": 1001}, "'pool_size' parameter .* Got 1001"),
        ({"pool_max_age": 0}, "'pool_max_age' parameter .* Got 0"),
        ({"pool_steps": 0}, "'pool_steps' parameter .* Got 0"),
        ({"pool_lr": 0.0}, "'pool_lr' parameter .* Got 0.0"),
        ({"pool_batch_size": 0}, "'pool_batch_size' parameter .* Got 0"),
        ({"architecture": convolutional}, "ends in a linear layer .* with 2 outputs"),
    ],
)
def test_bad_parameters(images, outer_step, parameters, message):
    outer_step.refuse()
    with pytest.raises(ValueError, match=message):
        quick(**parameters).fit(*images)
