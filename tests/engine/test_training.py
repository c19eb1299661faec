"""Whole steps of a ConvNet in one C call, against autograd."""

from functools import partial

import pytest
import torch
from torch import nn

from skdistill._engine import training
from skdistill._engine.learner import Learner
from skdistill._engine.optimizers import SGD, Adam
from skdistill._engine.steps import Autograd, Steps
from skdistill._engine.unroll import InnerLoop, meta_gradient, run, run_keeping
from skdistill.networks import ConvNet

N_CLASSES = 3
ADAM = Adam(0.01, weight_decay=0.003)


def without_biases(shape, n_classes):
    layers = [nn.Conv2d(shape[0], 6, 3, padding=1, bias=False), nn.GroupNorm(6, 6), nn.ReLU()]
    layers += [nn.Conv2d(6, 6, 3, padding=1, bias=False), nn.GroupNorm(6, 6), nn.ReLU()]
    pixels = shape[1] * shape[2]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(6 * pixels, n_classes, bias=False))


NETWORKS = {
    "one block": partial(ConvNet, width=6, depth=1),
    "two blocks": partial(ConvNet, width=21, depth=2),
    "without biases": without_biases,
}


def learner_of(name="two blocks", shape=(2, 9, 9), dtype=torch.float64):
    return Learner(lambda: NETWORKS[name](shape, N_CLASSES), dtype=dtype)


def samples(n=7, shape=(2, 9, 9), soft=False):
    draw = torch.Generator().manual_seed(0)
    X = torch.randn(n, *shape, generator=draw, dtype=torch.float64)
    y = torch.randint(N_CLASSES, (n,), generator=draw)
    # Rows need not sum to 1.
    return X, torch.rand(n, N_CLASSES, generator=draw, dtype=torch.float64) if soft else y


def compare(learner, X, y, batches=None, start=3, window=4):
    """Compare loss and sensitivities after steps in C with those by autograd."""
    theta = learner.init(1)
    along = torch.linspace(-1, 1, len(theta), dtype=theta.dtype)
    found = []
    for derivatives in (None, Autograd(learner)):
        loop = InnerLoop(Steps(learner, ADAM, derivatives=derivatives), X, y, batches)
        assert (loop.training is not None) == (derivatives is None)
        found.append(meta_gradient(loop, theta, start, window, lambda t: (t @ along, along)))
    ours, expected = found
    assert ours.loss == pytest.approx(expected.loss.item(), rel=1e-9)
    scale = expected.X.abs().max().item()
    assert scale > 0
    torch.testing.assert_close(ours.X, expected.X, rtol=0, atol=1e-9 * scale)
    assert (ours.y is None) == (expected.y is None)
    if expected.y is not None:
        scale = expected.y.abs().max().item()
        torch.testing.assert_close(ours.y, expected.y, rtol=0, atol=1e-9 * scale)


@pytest.mark.parametrize("soft", [False, True], ids=["labels", "soft labels"])
@pytest.mark.parametrize("batch_size", [None, 4])
@pytest.mark.parametrize("name", NETWORKS)
def test_steps_and_their_derivatives_equal_those_by_autograd(name, batch_size, soft):
    batches = None
    if batch_size is not None:
        draw = torch.Generator().manual_seed(1)
        batches = torch.stack([torch.randperm(7, generator=draw)[:batch_size] for _ in range(7)])
    compare(learner_of(name), *samples(soft=soft), batches)


@pytest.mark.parametrize("n_at_once", [1, 3])
def test_in_how_many_calls_makes_no_difference(n_at_once, monkeypatch):
    X, y = samples()
    loop = InnerLoop(Steps(learner_of(), ADAM), X, y)
    state = loop.steps.optimizer.init(loop.steps.learner.init(0))
    assert loop.n_at_once > 8
    last, states = run(loop, state, 2, 8), run_keeping(loop, state, 2, 8)
    assert torch.equal(states[0], state)
    assert torch.equal(states[-1], last)
    bar = torch.ones_like(state)
    back = loop.training.pull_back(states, X, y, None, 2, bar)
    monkeypatch.setattr(training, "_VALUES_IN_A_CALL", n_at_once * X.numel())
    assert loop.n_at_once == n_at_once
    assert torch.equal(run(loop, state, 2, 8), last)
    assert torch.equal(run_keeping(loop, state, 2, 8), states)
    for a, b in zip(loop.training.pull_back(states, X, y, None, 2, bar), back, strict=True):
        assert torch.equal(a, b)
    # The sensitivity that was given is as it was.
    assert torch.equal(bar, torch.ones_like(state))


def test_large_scores_overflow_nothing():
    X, y = samples()
    learner = learner_of(dtype=torch.float32)
    steps = Steps(learner, ADAM)
    theta = 1e4 * learner.init(0)
    states = run_keeping(InnerLoop(steps, X.float(), y), steps.optimizer.init(theta), 0, 2)
    assert states.isfinite().all()
    assert (states[1, 0] != theta).any()


@pytest.mark.parametrize("label", [-1, N_CLASSES])
def test_a_label_of_no_class_is_an_error(label):
    X, y = samples()
    y[3] = label
    steps = Steps(learner_of(), ADAM)
    state = steps.optimizer.init(steps.learner.init(0))
    with pytest.raises(IndexError, match="none of the network's classes"):
        steps.forward(state, X, y, 1)


def test_other_optimizers_and_networks_take_their_steps_one_by_one():
    X, y = samples()
    for steps in (
        Steps(learner_of(), SGD(0.1, momentum=0.9)),
        Steps(Learner(lambda: nn.Sequential(nn.Flatten(), nn.Linear(162, 3))), ADAM),
        # Chunks have a gradient each.
        Steps(learner_of(), ADAM, chunk=4),
    ):
        loop = InnerLoop(steps, X.to(steps.learner.dtype), y)
        assert loop.training is None
        assert loop.n_at_once == 1
