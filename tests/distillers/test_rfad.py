"""RFAD: the regression on random features against other ways to compute it, and the distiller."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import tools
import torch
import torch.nn.functional as F
from tools import a_problem
from torch import nn
from torch.func import functional_call

from skdistill import BoostedDistiller, RFADDistiller
from skdistill._engine.methods.base import Synthetic
from skdistill._engine.methods.matching import Embedding
from skdistill._engine.methods.random_features import RandomFeatures
from skdistill._engine.streams import Streams
from skdistill.augmentation import Rotation

SHAPE = (1, 8, 8)
quick = partial(tools.quick, RFADDistiller, batch_size=16)


def method_of(learner, X, y, weight=None, chunk=None, platt=True, redraw_every=1, rngs=Streams(0)):  # noqa: B008
    """Return the method, with two networks, and the problem of these real samples."""
    problem = a_problem(X, y, 2, learner, weight, rngs, chunk=chunk)

    def batch(index):
        return np.sort(rngs.numpy("batch", index).permutation(len(X))[:15])

    embed = Embedding(learner, tuple(X.shape[1:]))
    return RandomFeatures(embed, 2, redraw_every, batch, 1e-3, 0.01 if platt else None), problem


def gradient(method, X_syn, y_syn, step=0, log_scale=0.3):
    """Return the gradient of an outer step."""
    method, problem = method
    extra = {
        name: torch.full((1,), log_scale, dtype=torch.float64) for name in method.extra(problem)
    }
    found, state = method.gradient(problem, Synthetic(X_syn, y_syn, extra), {}, step)
    assert state == {}
    return found


# --- the objective ----------------------------------------------------------------------------


def test_products_of_features_are_the_kernel(learner, problem):
    X, y, *_ = problem
    method, posed = method_of(learner, X, y)
    features, real = method._of_stretch(posed, 0)
    thetas = [learner.init(Streams(0).integer("random features", i)) for i in range(2)]
    phi = torch.cat([method.embed(theta, X) for theta in thetas], dim=1)
    K = 2 * phi @ phi.T / phi.shape[1] + 0.01
    got = features.embed(X)
    torch.testing.assert_close(got @ got.T, K)
    torch.testing.assert_close(real.features, got[method.batch(0)])


def by_autograd(learner, X, y, weight, X_syn, y_syn, log_scale):
    """Return loss and gradients through everything at once, in other words."""
    body = nn.Sequential(*list(learner.module)[:-1])
    names = dict(body.named_parameters())
    X_syn, y_syn, k = (
        tensor.clone().requires_grad_()
        for tensor in (X_syn, y_syn, torch.full((1,), log_scale or 0.0, dtype=torch.float64))
    )
    K, K_real, n_features = 0, 0, 0
    for i in range(2):
        theta = learner.init(Streams(0).integer("random features", i))
        own = {name: v for name, v in learner.parameters(theta).items() if name in names}
        phi, phi_real = (functional_call(body, own, (x,)) for x in (X_syn, X))
        K, K_real = K + phi @ phi.T, K_real + phi_real @ phi.T
        n_features += phi.shape[1]
    K, K_real = (2 / n_features * each + 0.01 for each in (K, K_real))
    K = K + 1e-3 * K.trace() / len(K) * torch.eye(len(K)).double()
    predicted = K_real @ torch.linalg.solve(K, y_syn)
    if log_scale is None:
        losses = (predicted - torch.eye(3).double()[y] + 1 / 3).square().sum(dim=1) / 2
    else:
        losses = F.cross_entropy(k.exp() * predicted, y, reduction="none")
    loss = (losses * weight).sum() / weight.sum()
    return loss, *torch.autograd.grad(loss, (X_syn, y_syn, k), allow_unused=True)


@pytest.mark.parametrize("chunk", [None, 4])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("platt", [False, True])
@pytest.mark.parametrize("learns", [False, True])
def test_equals_autograd(learner, problem, learns, platt, weighted, chunk):
    X, y, weight, X_syn, y_syn = problem
    method = method_of(learner, X, y, weight if weighted else None, chunk, platt)
    rows = method[0].batch(0)
    if not learns:
        y_syn = torch.arange(3).repeat(2)
    found = gradient(method, X_syn, y_syn)
    weight = weight if weighted else torch.ones_like(weight)
    soft = y_syn if learns else torch.eye(3).double()[y_syn] - 1 / 3
    loss, *bars = by_autograd(
        learner, X[rows], y[rows], weight[rows], X_syn, soft, 0.3 if platt else None
    )
    assert found.loss.item() == pytest.approx(loss.item(), rel=1e-9)
    got = [found.X, found.y if learns else None, *found.extra.values()]
    assert (found.y is None, [*found.extra]) == (not learns, ["log_scale"] * platt)
    for ours, theirs in zip(got, bars):
        if ours is not None:
            assert theirs.norm() > 1e-4
            assert (ours - theirs).norm() < 1e-9 * theirs.norm()


def test_gradient_equals_finite_differences(learner, problem):
    X, y, weight, X_syn, y_syn = problem
    method = method_of(learner, X, y, weight, chunk=4)
    found = gradient(method, X_syn, y_syn)
    draw = partial(torch.randn, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    dX, dy, dk = draw(X_syn.shape), draw(y_syn.shape), 0.7
    above, below = (
        gradient(method, X_syn + e * dX, y_syn + e * dy, log_scale=0.3 + e * dk).loss
        for e in (1e-6, -1e-6)
    )
    slope = (found.X * dX).sum() + (found.y * dy).sum() + found.extra["log_scale"] * dk
    assert ((above - below) / 2e-6).item() == pytest.approx(slope.item(), rel=1e-5)


# --- networks and real features that are kept --------------------------------------------------


def test_networks_and_real_features_are_kept_for_a_stretch(learner, problem):
    X, y, _, X_syn, y_syn = problem
    make = partial(method_of, learner, X, y, redraw_every=3)
    method = make()
    losses = [gradient(method, X_syn, y_syn, step).loss.item() for step in range(7)]
    assert [losses[i] == losses[i + 1] for i in range(6)] == [True, True, False, True, True, False]
    # Networks are others, too, and no network serves twice.
    embedded = [method[0]._of_stretch(method[1], step)[0].embed(X) for step in (0, 3)]
    assert not torch.allclose(*embedded)
    # Who comes in the middle of a stretch, after another one, sees the same.
    assert gradient(make(), X_syn, y_syn, 4).loss.item() == losses[4]
    assert gradient(method, X_syn, y_syn, 1).loss.item() == losses[1]


def test_real_samples_pass_once_in_a_stretch(learner, problem, monkeypatch):
    X, y, _, X_syn, y_syn = problem
    method, sizes, call = method_of(learner, X, y, redraw_every=3), [], Embedding.__call__
    monkeypatch.setattr(
        Embedding, "__call__", lambda *args: sizes.append(len(args[2])) or call(*args)
    )
    for step in range(3):
        gradient(method, X_syn, y_syn, step)
    assert sizes == [15, 15, *[6, 6] * 3]


def test_processes_have_networks_and_batches_of_their_own(learner, problem):
    X, y, _, X_syn, y_syn = problem
    of_rank = [method_of(learner, X, y, rngs=Streams(0, rank, 2)) for rank in range(2)]
    losses = [gradient(method, X_syn, y_syn, step).loss for method in of_rank for step in range(2)]
    assert len({loss.item() for loss in losses}) == 4


def test_augmentation_changes_the_real_batch(learner, problem):
    X, y, _, X_syn, y_syn = problem
    turn, (method, posed) = Rotation(90.0), method_of(learner, X, y)
    draws = turn.draw(Streams(0).torch("real_augmentation", 2), 15, SHAPE)
    turned, rows = X.clone(), method.batch(2)
    turned[rows] = turn.apply(X[rows], draws)
    expected = gradient(method_of(learner, turned, y), X_syn, y_syn, 2).loss.item()
    got = gradient((method, replace(posed, augmentation=turn)), X_syn, y_syn, 2).loss.item()
    assert got == pytest.approx(expected, rel=1e-9)
    assert gradient(method_of(learner, X, y), X_syn, y_syn, 2).loss.item() != got


# --- the distiller ----------------------------------------------------------------------------


def test_what_comes_out(images):
    X, y = images
    distiller = quick(ipc=2).fit(X, np.array(["down", "up"])[y])
    X_syn, y_syn = distiller.transform()
    assert (X_syn.shape, y_syn.tolist()) == ((4, 6, 6), ["down", "up"] * 2)
    assert set(distiller.history_) == {
        *("loss", "grad_norm", "clip_level", "skipped", "seconds", "n_raised")
    }
    assert distiller.extra_["log_scale"].shape == (1,)
    assert distiller.extra_["log_scale"] != 0
    assert distiller.distilled_.recipe.loss == "cross-entropy"
    soft = quick(ipc=2, learn_labels=True, loss="mse").fit(X, y)
    assert (soft.distilled_.recipe.loss, soft.extra_) == ("mse", {})
    assert soft.transform()[1].min() < 0
    # The first step has the labels that are not learned.
    hard = quick(ipc=2, loss="mse").fit(X, y)
    assert soft.history_["loss"][0] == pytest.approx(hard.history_["loss"][0], rel=1e-5)


@pytest.mark.parametrize("how", ["warm start", "checkpoint after Ctrl-C"])
def test_a_resumed_run_gives_the_same_bits(images, tmp_path, how):
    make = partial(quick, ipc=2, max_iter=6, redraw_every=2, learn_labels=True)
    tools.check_same_bits_after(how, make, images, tmp_path, first=3)


def test_boosting_learns_a_scale_in_every_block(images):
    boosted = BoostedDistiller(2, block_size=1, distiller=quick(), random_state=0).fit(*images)
    assert boosted.distiller_.extra_["log_scale"] != 0
    assert boosted.transform()[0].shape == (4, 6, 6)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"loss": "hinge"}, "'loss' parameter .* Got 'hinge'"),
        ({"log_scale_lr": 0.0}, "'log_scale_lr' parameter .* Got 0.0"),
        ({"regularization": -1e-9}, "'regularization' parameter .* Got -1e-09"),
        ({"n_feature_networks": 0}, "'n_feature_networks' parameter .* Got 0"),
        ({"redraw_every": 0}, "'redraw_every' parameter .* Got 0"),
        (
            {"architecture": lambda shape, n: nn.Sequential(nn.Flatten(), nn.Linear(36, n + 1))},
            "architecture must build a network with output",
        ),
    ],
)
def test_bad_parameters(images, outer_step, parameters, message):
    outer_step.refuse()
    with pytest.raises(ValueError, match=message):
        quick(**parameters).fit(*images)
