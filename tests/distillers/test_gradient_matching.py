"""Gradient matching: the distance against other ways to compute it, its network, the distiller."""

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

from skdistill import BoostedDistiller, GradientMatchingDistiller
from skdistill._engine.learner import Learner
from skdistill._engine.methods.base import Synthetic
from skdistill._engine.methods.gradient_matching import (
    DISTANCES,
    GradientDistance,
    GradientMatching,
)
from skdistill._engine.optimizers import SGD
from skdistill._engine.pool import Pool
from skdistill._engine.siamese import class_draws
from skdistill._engine.steps import Autograd, Steps
from skdistill._engine.streams import Streams
from skdistill.augmentation import Rotation, check_augmentation
from skdistill.networks import ConvNet

SHAPE = (1, 8, 8)
quick = partial(tools.quick, GradientMatchingDistiller, batch_size=16)


def smooth(n_classes=3):
    """Return a network that only autograd can differentiate."""
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 5), nn.Tanh(), nn.Linear(5, n_classes))


def matching_of(
    learner, X, y, weight=None, distance="cosine", *, n_axes=2, batch_size=100, chunk=None,
    augmentation=None, class_weight=None, on_real=False, n_updates=3, n_steps=2, train_batch=None,
    rngs=Streams(0),  # noqa: B008
):  # fmt: skip
    """Return the method, and the problem of these real samples; networks serve for three steps."""
    augmentation = check_augmentation(augmentation)
    problem = a_problem(
        X, y, 2, learner, weight, rngs, chunk=chunk, augmentation=augmentation,
        class_weight=class_weight,
    )  # fmt: skip
    augment = None if augmentation is None else augmentation.apply
    steps = Steps(learner, SGD(0.1, 0.5, 0.01), chunk, augment)
    method = GradientMatching(
        steps,
        Pool(steps, 1, (n_updates - 1) * n_steps - 1, train_batch, augmentation),
        GradientDistance(learner, DISTANCES[distance], n_axes),
        [np.flatnonzero(y.numpy() == c) for c in range(problem.rows.n_classes)],
        batch_size,
        n_steps,
        on_real,
    )
    return method, problem


def gradient(matching, X_syn, y_syn=None, step=0, state=None):
    """Return the gradient and the state of an outer step."""
    method, problem = matching
    state = method.init(problem) if state is None else state
    y_syn = problem.rows.labels() if y_syn is None else y_syn
    return method.gradient(problem, Synthetic(X_syn, y_syn), state, step)


def network(state):
    return state["pool"]["networks"]["0"]["slots"][0]


@pytest.fixture
def problem():
    """Return 20 real images of three classes, their weights, two synthetic ones per class."""
    draw = partial(torch.randn, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    X, X_syn, y_syn, weight = draw(20, *SHAPE), draw(6, *SHAPE), draw(6, 3).abs(), draw(20).abs()
    return X, torch.arange(20) % 3, weight, X_syn, y_syn


# --- the distance -----------------------------------------------------------------------------


def by_autograd(learner, X, y, weight, X_syn, y_syn, distance, n_axes=2, class_weight=(1, 1, 1)):
    """Return loss and gradients by double differentiation of everything, in other words."""
    theta = learner.init(Streams(0).integer("pool network", 0))
    parameters = {k: p.clone().requires_grad_() for k, p in learner.parameters(theta).items()}
    X_syn, y_syn = X_syn.clone().requires_grad_(), y_syn.clone()
    y_syn.requires_grad_(y_syn.is_floating_point())
    loss = 0
    for c in range(3):
        losses = F.cross_entropy(
            functional_call(learner.module, parameters, (X[y == c],)), y[y == c], reduction="none"
        )
        real_loss = (losses * weight[y == c]).sum() / weight[y == c].sum()
        real = torch.autograd.grad(real_loss, list(parameters.values()))
        scores = functional_call(learner.module, parameters, (X_syn[c::3],))
        synthetic = torch.autograd.grad(
            F.cross_entropy(scores, y_syn[c::3]), list(parameters.values()), create_graph=True
        )
        for g, h in zip(real, synthetic):
            if g.ndim < n_axes:
                continue
            g, h = g.flatten(1), h.flatten(1)
            if distance == "cosine":
                cosines = (g * h).sum(dim=1) / (g.norm(dim=1) * h.norm(dim=1) + 1e-6)
                gap = (1 - cosines).sum()
            else:
                gap = ((g - h) ** 2).sum() if distance == "mse" else (g - h).abs().sum()
            loss = loss + class_weight[c] * gap
    return loss, *torch.autograd.grad(loss, [X_syn, y_syn] if y_syn.requires_grad else [X_syn])


@pytest.mark.parametrize("distance", DISTANCES)
@pytest.mark.parametrize(
    ("learns", "weighted", "chunk"), [(False, False, None), (True, True, 1), (False, True, 3)]
)
def test_equals_autograd(learner, problem, distance, learns, weighted, chunk):
    X, y, weight, X_syn, y_syn = problem
    class_weight = torch.tensor([1.0, 2.0, 0.5]) if weighted else torch.ones(3)
    matching = matching_of(
        learner, X, y, weight if weighted else None, distance, chunk=chunk,
        class_weight=class_weight if weighted else None,
    )  # fmt: skip
    y_syn = y_syn if learns else torch.arange(3).repeat(2)
    found, _ = gradient(matching, X_syn, y_syn)
    weight = weight if weighted else torch.ones_like(weight)
    loss, *bars = by_autograd(
        learner, X, y, weight, X_syn, y_syn, distance, class_weight=class_weight.tolist()
    )
    assert found.loss.item() == pytest.approx(loss.item(), rel=1e-9)
    assert (found.y is None) == (not learns)
    for ours, theirs in zip((found.X, found.y), bars):
        assert theirs.norm() > 1e-4
        assert (ours - theirs).norm() < 1e-9 * theirs.norm()


@pytest.mark.parametrize("distance", DISTANCES)
def test_equals_autograd_for_any_network(problem, distance):
    X, y, weight, X_syn, y_syn = problem
    learner = Learner(smooth, dtype=torch.float64)
    matching = matching_of(learner, X, y, weight, distance, chunk=4)
    assert isinstance(matching[0].steps.derivatives, Autograd)
    found, _ = gradient(matching, X_syn, y_syn)
    loss, *bars = by_autograd(learner, X, y, weight, X_syn, y_syn, distance)
    assert found.loss.item() == pytest.approx(loss.item(), rel=1e-9)
    for ours, theirs in zip((found.X, found.y), bars):
        assert (ours - theirs).norm() < 1e-9 * theirs.norm()


@pytest.mark.parametrize("learner", ["convnet"], indirect=True)
def test_convolutions_alone(learner, problem):
    X, y, weight, X_syn, _ = problem
    found, _ = gradient(matching_of(learner, X, y, weight, n_axes=3), X_syn)
    labels = torch.arange(3).repeat(2)
    loss, X_bar = by_autograd(learner, X, y, weight, X_syn, labels, "cosine", n_axes=3)
    assert found.loss.item() == pytest.approx(loss.item(), rel=1e-9)
    assert (found.X - X_bar).norm() < 1e-9 * X_bar.norm()


@pytest.mark.parametrize(
    ("norm", "n_axes", "expected"),
    [
        # Kernels 4 x 1 x 3 x 3 and 4 x 4 x 3 x 3, and 3 x 16 of the last layer.
        ("instance", 2, 180 + 48),
        ("instance", 3, 180),
        ("batch", 2, 180 + 48),
        # Scales and shifts of 4 x 8 x 8 and 4 x 4 x 4, too.
        ("layer", 2, 180 + 48 + 640),
        ("layer", 3, 180 + 640),
    ],
)
def test_what_counts(norm, n_axes, expected):
    learner = Learner(partial(ConvNet, SHAPE, 3, width=4, depth=2, norm=norm))
    distance = GradientDistance(learner, DISTANCES["l1"], n_axes)
    real = torch.zeros(sum(learner.sizes))
    value, slope = distance(real, torch.ones_like(real))
    assert value == slope.count_nonzero() == expected


@pytest.mark.parametrize(
    ("distance", "augmentation"), [("cosine", "dsa"), ("mse", "flip_rotate"), ("l1", None)]
)
def test_gradient_equals_finite_differences(problem, distance, augmentation):
    X, y, weight, X_syn, y_syn = problem
    learner = Learner(smooth, dtype=torch.float64)  # without kinks
    matching = matching_of(
        learner, X, y, weight, distance, batch_size=4, chunk=5, augmentation=augmentation
    )
    found, _ = gradient(matching, X_syn, y_syn)
    draw = partial(torch.randn, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    dX, dy = draw(X_syn.shape), draw(y_syn.shape)
    above, below = (
        gradient(matching, X_syn + e * dX, y_syn + e * dy)[0].loss for e in (1e-6, -1e-6)
    )
    slope = (found.X * dX).sum() + (found.y * dy).sum()
    assert ((above - below) / 2e-6).item() == pytest.approx(slope.item(), rel=1e-5)


@pytest.mark.parametrize("distance", DISTANCES)
def test_distances_by_hand(distance):
    real = torch.tensor([[3.0, 4.0], [0.0, 0.0], [1.0, 0.0], [0.0, 0.0]], dtype=torch.float64)
    synthetic = torch.tensor([[4.0, 3.0], [2.0, 0.0], [0.0, 0.0], [0.0, 0.0]]).double()
    # Where a gradient is 0, the cosine is, and a derivative is that of a norm with slope 0.
    expected = {"cosine": 0.04 + 3, "mse": 2 + 4 + 1, "l1": 2 + 2 + 1}[distance]
    value, slope = DISTANCES[distance](real, synthetic)
    assert value.item() == pytest.approx(expected, rel=1e-6)
    x = synthetic.clone().requires_grad_()
    if distance == "cosine":
        sizes = real.norm(dim=1) * x.norm(dim=1) + 1e-6
        theirs = (1 - (real * x).sum(dim=1) / sizes).sum()
    else:
        theirs = (real - x).square().sum() if distance == "mse" else (real - x).abs().sum()
    torch.testing.assert_close(slope, torch.autograd.grad(theirs, x)[0])


@pytest.mark.parametrize("distance", DISTANCES)
def test_dead_layers_have_finite_gradients(problem, distance):
    X, y, _, X_syn, _ = problem
    learner = Learner(partial(tools.tiny, SHAPE, 3), dtype=torch.float64)
    theta = learner.init(0)
    learner.parameters(theta)["1.bias"][:] = -100.0
    matching = matching_of(learner, X, y, distance=distance)
    state = matching[0].init(matching[1])
    network(state)[:] = theta
    found, _ = gradient(matching, X_syn, state=state)
    assert torch.isfinite(found.loss)
    assert not found.X.any()


def test_real_gradients_are_not_differentiated(problem, monkeypatch):
    X, y, _, X_syn, _ = problem
    matching, seen = matching_of(Learner(smooth, dtype=torch.float64), X, y), []
    grad = torch.autograd.grad

    def noting(outputs, inputs, *args, **kwargs):
        seen.append(kwargs.get("create_graph", False))
        return grad(outputs, inputs, *args, **kwargs)

    monkeypatch.setattr(torch.autograd, "grad", noting)
    found, _ = gradient(matching, X_syn)
    # Per class: the real gradient, the synthetic one, and this again, differentiated.
    assert seen == [False, False, True, False] * 3
    assert not found.X.requires_grad


def test_a_network_needs_a_layer_to_match(problem):
    learner = Learner(partial(tools.tiny, SHAPE, 3), dtype=torch.float64)
    with pytest.raises(ValueError, match=r"'convolutions' must be .* has no convolutions"):
        matching_of(learner, *problem[:2], n_axes=3)


# --- what is drawn ----------------------------------------------------------------------------


class Spy:
    """Real data that records the rows that were requested."""

    def __init__(self, data):
        self.data, self.rows = data, []
        self.weight = data.weight

    def __len__(self):
        return len(self.data)

    def batch(self, rows):
        self.rows.append(rows.tolist())
        return self.data.batch(rows)


def spied(matching):
    method, problem = matching
    spy = Spy(problem.real)
    return (method, replace(problem, real=spy)), spy.rows


def test_every_step_draws_a_batch_of_each_class(learner, problem):
    X, y, _, X_syn, _ = problem
    matching, rows = spied(matching_of(learner, X, y, batch_size=5, n_updates=1))
    state = None
    for step in range(3):
        _, state = gradient(matching, X_syn, step=step, state=state)
    assert [np.unique(y[batch]).tolist() for batch in rows] == [[0], [1], [2]] * 3
    assert [len(set(batch)) for batch in rows] == [5] * 9
    assert len({str(rows[3 * step : 3 * step + 3]) for step in range(3)}) == 3


@pytest.mark.parametrize("augmentation", ["dsa", "flip_rotate", Rotation(90.0)])
def test_augmentation_is_siamese(learner, problem, augmentation):
    X = problem[0][:6]
    matching = matching_of(
        learner, X, torch.arange(6) % 3, distance="mse", augmentation=augmentation, n_updates=1
    )
    state = None
    for step in range(4):
        # The real samples themselves: no distance if both sides get the same augmentation.
        found, next_state = gradient(matching, X, step=step, state=state)
        other, _ = gradient(matching, X.flip(-1), step=step, state=state)
        assert found.loss < 1e-20
        assert other.loss > 1e-6
        state = next_state


def test_each_sample_is_augmented_as_its_class(learner, problem):
    X, y, _, X_syn, _ = problem
    matching = matching_of(learner, X, y, chunk=2, augmentation=Rotation(90.0))
    draws, turn = class_draws(matching[1], 0), matching[1].augmentation.apply
    turned = matching_of(learner, turn(X, draws[:, y]), y)
    expected, _ = gradient(turned, turn(X_syn, draws.repeat(1, 2)))
    found, _ = gradient(matching, X_syn)
    assert found.loss.item() == pytest.approx(expected.loss.item(), rel=1e-9)
    assert len(set(draws.flatten().tolist())) == 3


# --- the network ------------------------------------------------------------------------------


def by_sgd(learner, theta, batches):
    """Return the parameters of a network after a step of torch's SGD for each of these batches."""
    theta = nn.Parameter(theta.clone())
    optimizer = torch.optim.SGD([theta], lr=0.1, momentum=0.5, weight_decay=0.01)
    for X, y in batches:
        optimizer.zero_grad()
        learner.loss(theta, X, y).backward()
        optimizer.step()
    return theta.detach()


@pytest.mark.parametrize("on_real", [False, True])
def test_a_network_is_trained_between_steps_and_then_replaced(learner, problem, on_real):
    X, y, _, X_syn, _ = problem
    matching = matching_of(learner, X, y, on_real=on_real)
    state, seen, ages = None, [], []
    for step in range(7):
        # As an update leaves them: others in each step.
        found, state = gradient(matching, X_syn + step, step=step, state=state)
        seen.append(network(state))
        ages.append(found.record["age"])
    assert ages == [0, 2, 4, 0, 2, 4, 0]
    batch = (X, y) if on_real else (X_syn + 1, torch.arange(3).repeat(2))
    torch.testing.assert_close(seen[1], by_sgd(learner, seen[0], [batch] * 2))
    batch = (X, y) if on_real else (X_syn + 4, torch.arange(3).repeat(2))
    torch.testing.assert_close(seen[4], by_sgd(learner, seen[3], [batch] * 2))
    assert len({tuple(theta.tolist()) for theta in (seen[0], seen[3], seen[6])}) == 3


def test_soft_labels_teach_the_network(learner, problem):
    X, y, _, X_syn, y_syn = problem
    matching = matching_of(learner, X, y)
    _, first = gradient(matching, X_syn, y_syn)
    _, state = gradient(matching, X_syn, y_syn, step=1, state=first)
    expected = by_sgd(learner, network(first), [(X_syn, y_syn)] * 2)
    torch.testing.assert_close(network(state), expected)


def test_real_samples_teach_in_proportion_to_their_weights(learner, problem):
    X, y, _, X_syn, _ = problem
    weight = torch.zeros(20)
    weight[3:6] = torch.tensor([1.0, 1.0, 6.0])
    matching, rows = spied(
        matching_of(learner, X, y, weight, on_real=True, n_steps=20, train_batch=8)
    )
    _, state = gradient(matching, X_syn)
    rows.clear()
    gradient(matching, X_syn, step=1, state=state)
    drawn = np.bincount(np.concatenate(rows[:20]), minlength=20)
    assert (drawn.sum(), drawn[3:6].sum()) == (160, 160)
    assert drawn[5] > drawn[3] + drawn[4]


def test_processes_have_the_same_networks_and_batches_of_their_own(learner, problem):
    X, y, _, X_syn, _ = problem
    for on_real in (False, True):
        of_rank = []
        for rank in range(2):
            matching = matching_of(
                learner, X, y, batch_size=4, on_real=on_real, train_batch=5,
                rngs=Streams(0, rank, 2),
            )  # fmt: skip
            first, state = gradient(matching, X_syn)
            second, state = gradient(matching, X_syn, step=1, state=state)
            of_rank.append((network(state), first.loss.item(), second.loss.item()))
        assert torch.equal(of_rank[0][0], of_rank[1][0])
        assert len({loss for _, *losses in of_rank for loss in losses}) == 4


def test_a_state_of_another_pool_is_refused(learner, problem):
    method, posed = matching_of(learner, *problem[:2])
    method.check_state(posed, method.init(posed), 1)
    with pytest.raises(ValueError, match="pool must have 1 networks"):
        method.check_state(posed, {"pool": {**method.init(posed)["pool"], "networks": {}}}, 1)


# --- the distiller ----------------------------------------------------------------------------


def test_what_comes_out(images):
    X, y = images
    y = np.array(["down", "up"])[y]
    distiller = quick(ipc=2).fit(X, y)
    X_syn, y_syn = distiller.transform()
    assert (X_syn.shape, y_syn.tolist()) == ((4, 6, 6), ["down", "up"] * 2)
    assert set(distiller.history_) == {
        *("loss", "grad_norm", "clip_level", "skipped", "seconds", "age", "n_diverged")
    }
    assert distiller.history_["age"] == [0, 50, 0]
    assert 0 <= distiller.score(X, y) <= 1


@pytest.mark.parametrize(
    ("ipc", "loops"),
    {1: (1, 1), 2: (2, 50), 10: (10, 50), 20: (20, 25), 30: (30, 20), 40: (40, 15), 50: (50, 10),
     100: (50, 10)}.items(),
)  # fmt: skip
def test_auto_is_that_of_the_code(ipc, loops):
    def resolved(**parameters):
        found = GradientMatchingDistiller(ipc=ipc, **parameters)._resolve(SHAPE)
        return found["outer_loop"], found["inner_loop"]

    assert resolved() == loops
    assert resolved(inner_loop=3) == (loops[0], 3)
    assert resolved(outer_loop=7) == (7, loops[1])
    assert resolved(network_data="real", network_batch_size=64) == (100, 32)


@pytest.mark.parametrize("how", ["warm start", "checkpoint after Ctrl-C"])
@pytest.mark.parametrize("network_data", ["synthetic", "real"])
def test_a_resumed_run_gives_the_same_bits(images, tmp_path, how, network_data):
    # The network has served for a part of its steps.
    make = partial(
        quick, ipc=2, max_iter=7, outer_loop=5, inner_loop=2, network_data=network_data,
        network_momentum=0.5, network_batch_size=3, augmentation="flip_rotate",
    )  # fmt: skip
    whole = tools.check_same_bits_after(how, make, images, tmp_path, first=3)
    steps = 2 * (2 if network_data == "synthetic" else 1)
    assert whole.history_["age"] == [steps * age for age in (0, 1, 2, 3, 4, 0, 1)]


def test_a_network_that_diverges_is_replaced_and_counted(images):
    distiller = quick(
        ipc=2, max_iter=6, outer_loop=9, inner_loop=30, network_lr=1e8, architecture=tools.tiny
    ).fit(*images)
    assert distiller.history_["n_diverged"][-1] > 0
    assert np.isfinite(distiller.transform()[0]).all()


def test_boosting_has_loops_for_each_block(images):
    boosted = BoostedDistiller(3, block_size=2, distiller=quick(), random_state=0).fit(*images)
    assert boosted.distiller_.outer_loop_ == 3
    assert boosted.transform()[0].shape == (6, 6, 6)


def test_the_loss_falls(images):
    history = quick(max_iter=40, init="gaussian", architecture="mlp").fit(*images).history_
    assert np.mean(history["loss"][30:]) < 0.9 * np.mean(history["loss"][:10])


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"distance": "l2"}, "'distance' parameter .* Got 'l2'"),
        ({"matched": "biases"}, "'matched' parameter .* Got 'biases'"),
        ({"outer_loop": 0}, "'outer_loop' parameter .* Got 0"),
        ({"inner_loop": "all"}, "'inner_loop' parameter .* Got 'all'"),
        ({"network_data": "both"}, "'network_data' parameter .* Got 'both'"),
        ({"network_batch_size": 0}, "'network_batch_size' parameter .* Got 0"),
        ({"network_lr": 0.0}, "'network_lr' parameter .* Got 0.0"),
        ({"network_momentum": 1.0}, "'network_momentum' parameter .* Got 1.0"),
        ({"network_weight_decay": -0.1}, "'network_weight_decay' parameter .* Got -0.1"),
        ({"outer_optimizer": "sgd"}, "learning_rate='auto' must be a number with outer_opt.*0.1"),
        (
            {"matched": "convolutions", "architecture": "mlp"},
            "matched='convolutions' must be what the networks have",
        ),
    ],
    ids=str,
)
def test_bad_parameters(images, outer_step, parameters, message):
    outer_step.refuse()
    with pytest.raises(ValueError, match=message):
        quick(**parameters).fit(*images)
