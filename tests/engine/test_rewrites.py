"""Layers rewritten for a second derivative compute what torch's own do."""

from contextlib import nullcontext
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from skdistill._engine.learner import Learner
from skdistill._engine.optimizers import Adam
from skdistill._engine.rewrites import Rewrites
from skdistill._engine.steps import Autograd, CompiledSteps
from skdistill.networks import ConvNet, resnet18


class Unusual(nn.Sequential):
    """Convolutions, normalizations and poolings of every kind."""

    def __init__(self):
        super().__init__(
            nn.Conv2d(4, 6, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(6, 6, 3, dilation=2, padding=2),
            nn.GroupNorm(6, 6, eps=0.1),
            nn.Conv2d(6, 6, 3, padding="same"),
            nn.Tanh(),
            nn.Conv2d(6, 6, (2, 3), padding=(1, 2), groups=2),
            nn.GroupNorm(6, 6, affine=False),
            nn.AvgPool2d(2, stride=1, padding=1),
            nn.Conv2d(6, 5, 1),
            nn.AvgPool2d((1, 2)),
            nn.Conv2d(5, 4, (1, 3), padding=(0, 2), bias=False),
            nn.GroupNorm(2, 4),
            nn.Sigmoid(),
            nn.Flatten(),
        )
        self.append(nn.Linear(self(torch.zeros(1, 4, 8, 8)).shape[1], 3))


NETWORKS = {
    "one channel": ((1, 8, 8), partial(ConvNet, (1, 8, 8), 3, width=6)),
    "odd sides": ((3, 9, 7), partial(ConvNet, (3, 9, 7), 3, width=6, depth=2)),
    "many channels": ((8, 8, 8), partial(ConvNet, (8, 8, 8), 3, width=6)),
    "groups": ((3, 8, 8), partial(ConvNet, (3, 8, 8), 3, width=8, norm="group")),
    "batch": ((3, 8, 8), partial(ConvNet, (3, 8, 8), 3, width=6, norm="batch", pooling="max")),
    "unusual": ((4, 8, 8), Unusual),
    "resnet": ((3, 16, 16), partial(resnet18, (3, 16, 16), 3)),
}


@pytest.mark.parametrize("network", NETWORKS)
def test_first_and_second_derivatives(network):
    shape, factory = NETWORKS[network]
    learner = Learner(factory, dtype=torch.float64)
    autograd = Autograd(learner)
    draw = partial(torch.randn, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    X, y = draw(5, *shape), torch.arange(5) % 3
    # Away from where scales are 1 and shifts are 0.
    theta = learner.init(1) + 0.1 * draw(learner.n_parameters)
    vector = draw(learner.n_parameters)

    def results():
        grad = autograd.gradient(theta, X, y)
        return *grad, *autograd.curvature(theta, X, y, vector)

    expected = results()
    with Rewrites():
        got = results()
    for new, old in zip(got, expected):
        scale = old.abs().max().item()
        assert scale > 0
        torch.testing.assert_close(new, old, rtol=0, atol=1e-9 * scale)


@pytest.mark.parametrize("bias", [True, False])
def test_the_second_derivative_has_ordinary_kernels(bias):
    """torch's own makes a convolution whose kernel is as large as the image."""

    def kernels(mode):
        X = torch.randn(2, 40, 8, 8, requires_grad=True)
        conv = nn.Conv2d(40, 6, 3, padding=1, bias=bias)
        with torch.autograd.profiler.profile(record_shapes=True) as profile, mode():
            loss = conv(X).square().sum()
            grads = torch.autograd.grad(loss, (X, conv.weight), create_graph=True)
            torch.autograd.grad(sum(g.square().sum() for g in grads), (X, conv.weight))
        shapes = [e.input_shapes for e in profile.function_events if e.name == "aten::convolution"]
        return {tuple(shape[1][2:]) for shape in shapes}

    assert max(kernels(nullcontext)) > (3, 3)
    assert kernels(Rewrites) == {(3, 3)}


def pooling_kernels(pool, X):
    """Return what a pooling gives with the rewrites, and whether torch's own computed it."""
    with torch.autograd.profiler.profile() as profile, Rewrites():
        pooled = pool(X)
    return pooled, any(event.name == "aten::avg_pool2d" for event in profile.function_events)


@pytest.mark.parametrize(
    ("pool", "is_rewritten"),
    [
        (nn.AvgPool2d(2), True),
        (nn.AvgPool2d((1, 3), count_include_pad=False), True),
        (partial(F.avg_pool2d, kernel_size=2), True),
        (nn.AvgPool2d(2, stride=1), False),
        (nn.AvgPool2d(2, padding=1), False),
        (nn.AvgPool2d(2, ceil_mode=True), False),
        (nn.AvgPool2d(2, divisor_override=3), False),
    ],
    ids=str,
)
def test_average_pooling_of_disjoint_windows_is_rewritten(pool, is_rewritten):
    X = torch.randn(2, 3, 7, 9)
    pooled, is_torchs = pooling_kernels(pool, X)
    assert is_torchs != is_rewritten
    torch.testing.assert_close(pooled, pool(X))
    with pytest.raises(RuntimeError, match="Output size is too small"), Rewrites():
        nn.AvgPool2d(8)(X)


def test_what_is_not_rewritten_is_left_alone():
    X = torch.randn(2, 3, 8, 8)
    weight = torch.randn(3, 1, 3, 3)
    with Rewrites():
        assert torch.equal(F.relu(X), X.clamp(min=0))
        grouped = F.conv2d(X, weight, groups=3)
        single = F.conv2d(X[0], torch.ones(1, 3, 1, 1))
    assert torch.equal(grouped, F.conv2d(X, weight, groups=3))
    assert torch.equal(single, F.conv2d(X[0], torch.ones(1, 3, 1, 1)))


def test_compiled_steps_are_traced_with_them(monkeypatch, learner):
    traced = []
    monkeypatch.setattr(torch, "compile", lambda graph, **options: traced.append(graph) or graph)
    steps = CompiledSteps(learner, Adam(), derivatives=Autograd(learner))
    X, y = torch.randn(3, 1, 8, 8, dtype=torch.float64), torch.arange(3)
    steps.gradient(learner.init(0), X, y)
    assert "mm" in str(traced[0].code)
    assert "native_group_norm" not in str(traced[0].code)
