"""Chains of layers: rules for their derivatives give what autograd gives."""

from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import prune

from skdistill._engine.chain import Chain
from skdistill._engine.learner import Learner
from skdistill._engine.optimizers import Adam
from skdistill._engine.steps import Autograd, Steps
from skdistill.networks import MLP, ConvNet, resnet18


class Unusual(nn.Sequential):
    """Layers with options, nested, and with some before the first that has parameters."""

    def __init__(self):
        super().__init__(
            nn.ReLU(),
            nn.AvgPool2d(2),
            nn.Conv2d(4, 6, 3, stride=2, padding=1),
            nn.Sequential(nn.ReLU(), nn.Conv2d(6, 6, 3, dilation=2, padding=2, bias=False)),
            nn.AvgPool2d(2, stride=1, padding=1, count_include_pad=False),
            nn.Conv2d(6, 5, 1),
            nn.GroupNorm(5, 5, eps=0.1),
            nn.Conv2d(5, 4, (1, 3), padding=(0, 2)),
            nn.ReLU(),
            nn.Flatten(),
        )
        self.append(nn.Linear(self(torch.zeros(1, 4, 12, 12)).shape[1], 3))


CHAINS = {
    "one channel": ((1, 8, 8), partial(ConvNet, (1, 8, 8), 3, width=6)),
    # Fewer features than samples.
    "one pixel left": ((1, 4, 4), partial(ConvNet, (1, 4, 4), 3, width=4, depth=2)),
    "odd sides": ((3, 9, 7), partial(ConvNet, (3, 9, 7), 3, width=6, depth=2)),
    "many channels": ((8, 8, 8), partial(ConvNet, (8, 8, 8), 3, width=6)),
    "biases": ((3, 8, 8), partial(ConvNet, (3, 8, 8), 3, width=6, norm="none")),
    "unusual": ((4, 12, 12), Unusual),
    "mlp of images": ((1, 8, 8), partial(MLP, (1, 8, 8), 3, width=6)),
    "mlp of a table": ((9,), partial(MLP, (9,), 3, width=40)),
    "no pooling": ((3, 6, 5), partial(ConvNet, (3, 6, 5), 3, width=6, pooling="none")),
    "many channels first": (
        (6, 9, 11),
        lambda: nn.Sequential(
            nn.Conv2d(6, 18, 3, padding=1),
            nn.GroupNorm(18, 18),
            nn.ReLU(),
            nn.AvgPool2d(3),
            nn.Conv2d(18, 5, 3, padding=1, bias=False),
            nn.GroupNorm(5, 5),
            nn.Flatten(),
            nn.Linear(45, 3),
        ),
    ),
    "blocks with biases": (
        (2, 8, 6),
        lambda: nn.Sequential(
            nn.Conv2d(2, 5, 3, padding=1),
            nn.GroupNorm(5, 5),
            nn.ReLU(),
            nn.Conv2d(5, 6, 3, padding=1),
            nn.GroupNorm(6, 6),
            nn.ReLU(),
            nn.AvgPool2d(2),
            nn.Flatten(),
            nn.Linear(72, 3),
        ),
    ),
    "a first block alone": (
        (1, 8, 8),
        lambda: nn.Sequential(
            nn.Conv2d(1, 5, 3, padding=1, bias=False),
            nn.GroupNorm(5, 5),
            nn.ReLU(),
            nn.AvgPool2d(2),
            nn.Conv2d(5, 4, 3, stride=2),
            nn.Flatten(),
            nn.Linear(4, 3),
        ),
    ),
    "few inputs later": (
        (1, 7, 8),
        lambda: nn.Sequential(
            nn.Conv2d(1, 2, 5, padding=(1, 2)),
            nn.ReLU(),
            nn.Conv2d(2, 17, (3, 2), bias=False),
            nn.Flatten(),
            nn.Linear(17 * 3 * 7, 3),
        ),
    ),
    "norm first": (
        (4, 4, 4),
        lambda: nn.Sequential(nn.GroupNorm(4, 4), nn.Flatten(), nn.Linear(64, 3)),
    ),
    "layer norm first": (
        (9,),
        lambda: nn.Sequential(nn.LayerNorm(9), nn.Linear(9, 3, bias=False)),
    ),
}


@pytest.mark.parametrize("is_fused", [False, True], ids=["rules", "fused"])
@pytest.mark.parametrize("soft", [False, True], ids=["hard", "soft"])
@pytest.mark.parametrize("network", CHAINS)
def test_first_and_second_derivatives(network, soft, is_fused):
    shape, factory = CHAINS[network]
    learner = Learner(factory, dtype=torch.float64)
    chain, autograd = Chain.of(learner, is_fused), Autograd(learner)
    generator = torch.Generator().manual_seed(0)
    draw = partial(torch.randn, generator=generator, dtype=torch.float64)
    X, y, weight = draw(5, *shape), torch.arange(5) % 3, draw(5).abs()
    if soft:
        y = draw(5, 3).abs()
    # Away from where scales are 1 and shifts are 0.
    theta = learner.init(1) + 0.1 * draw(learner.n_parameters)
    vector, before = draw(learner.n_parameters), X.clone()

    def results(derivatives):
        return (
            *derivatives.gradient(theta, X, y),
            *derivatives.gradient(theta, X, y, weight),
            *derivatives.curvature(theta, X, y, vector),
        )

    torch.testing.assert_close(chain.scores(theta, X), learner.logits(theta, X), rtol=0, atol=1e-12)
    for new, old in zip(results(chain), results(autograd), strict=True):
        scale = old.abs().max().item()
        assert scale > 0
        torch.testing.assert_close(new, old, rtol=0, atol=1e-12 * scale)
    assert torch.equal(X, before)


def test_layers_of_images_are_fused():
    _, factory = CHAINS["one channel"]
    assert Chain.of(Learner(factory)).is_fused
    assert not Chain.of(Learner(factory), is_fused=False).is_fused
    assert not Chain.of(Learner(CHAINS["mlp of a table"][1])).is_fused


def test_in_single_precision_fused_layers_are_as_exact_as_the_rules():
    shape = (3, 32, 32)
    factory = partial(ConvNet, shape, 10, width=32)
    generator = torch.Generator().manual_seed(0)
    draw = partial(torch.randn, generator=generator, dtype=torch.float64)
    exact = Learner(factory, dtype=torch.float64)
    X, y, vector = draw(4, *shape), torch.arange(4), draw(exact.n_parameters)
    theta = exact.init(0) + 0.1 * draw(exact.n_parameters)
    expected = Chain.of(exact, is_fused=False).curvature(theta, X, y, vector)

    def error(is_fused):
        chain = Chain.of(Learner(factory), is_fused)
        got = chain.curvature(theta.float(), X.float(), y, vector.float())
        return [(a - b).norm() / b.norm() for a, b in zip(got, expected, strict=True)]

    for fused, rules in zip(error(True), error(False)):
        assert fused < 2 * rules + 1e-7


@pytest.mark.parametrize("is_fused", [False, True], ids=["rules", "fused"])
def test_what_is_not_a_number_stays_none(is_fused):
    # A rectifier that makes NaN a zero would let a run that has diverged look sound.
    shape, factory = CHAINS["one channel"]
    learner = Learner(factory)
    chain = Chain.of(learner, is_fused)
    theta, y = learner.init(0), torch.arange(2)
    X = torch.randn(2, *shape, generator=torch.Generator().manual_seed(0))
    X[0, 0, 3, 3] = torch.nan
    loss, grad = chain.gradient(theta, X, y)
    assert loss.isnan()
    assert grad.isnan().all()
    assert all(x.isnan().any() for x in chain.curvature(theta, X, y, theta))


class Reversed(nn.Sequential):
    """A sequence that is no sequence."""

    def forward(self, X):
        """Return the scores."""
        for layer in reversed(self):
            X = layer(X)
        return X


def tied():
    """Return a network that has one layer twice."""
    layer = nn.Linear(9, 9)
    return nn.Sequential(layer, nn.ReLU(), layer, nn.Linear(9, 3))


def hooked():
    """Return a network with a hook that changes a layer's output."""
    network = nn.Sequential(nn.Linear(9, 3))
    network[0].register_forward_hook(lambda module, inputs, output: 2 * output)
    return network


def patched():
    """Return a network with a layer whose forward pass somebody has replaced."""
    network = nn.Sequential(nn.Linear(9, 9), nn.ReLU(), nn.Linear(9, 3))
    network[1].forward = torch.tanh
    return network


def clipped():
    """Return a network with a hook that changes a layer's gradient."""
    network = nn.Sequential(nn.Linear(9, 3))
    network[0].register_full_backward_hook(lambda module, inputs, outputs: inputs)
    return network


def made_anew(change):
    """Return a factory of a network whose first layer has its bias before its weight."""

    def build():
        network = nn.Sequential(nn.Linear(9, 9), nn.ReLU(), nn.Linear(9, 3))
        change(network[0])
        assert [name for name, _ in network[0].named_parameters()] == ["bias", "weight"]
        return network

    return build


def unnormalized(layer):
    """Take back the parametrization of a layer's weight."""
    nn.utils.parametrizations.weight_norm(layer)
    nn.utils.parametrize.remove_parametrizations(layer, "weight")


def pruned(layer):
    """Prune a layer's weight for good."""
    prune.remove(prune.l1_unstructured(layer, "weight", 3), "weight")


def fixed():
    """Return a network with a layer whose weight is a buffer."""
    network = nn.Sequential(nn.Linear(9, 9), nn.ReLU(), nn.Linear(9, 3))
    weight = network[0].weight.detach()
    del network[0].weight
    network[0].register_buffer("weight", weight)
    return network


class Called(nn.Sequential):
    """A sequence that does more when it is called."""

    def __call__(self, X):
        """Return the scores."""
        return super().__call__(2 * X)


def image_layers(*layers):
    """Return a factory of a network with these layers between a convolution and the scores."""
    return lambda: nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), *layers, nn.Flatten(), nn.Linear(256, 3)
    )


OTHERS = {
    "max pooling": partial(ConvNet, (3, 8, 8), 3, width=4, pooling="max"),
    "groups": partial(ConvNet, (3, 8, 8), 3, width=8, norm="group"),
    "batch": partial(ConvNet, (3, 8, 8), 3, width=4, norm="batch"),
    "activation": partial(ConvNet, (3, 8, 8), 3, width=4, activation="swish"),
    "grouped convolution": image_layers(nn.Conv2d(4, 4, 3, padding=1, groups=2)),
    "circular padding": image_layers(nn.Conv2d(4, 4, 3, padding=1, padding_mode="circular")),
    "not affine": image_layers(nn.GroupNorm(4, 4, affine=False)),
    "resnet": partial(resnet18, (3, 16, 16), 3),
    "own forward": lambda: Reversed(nn.Linear(3, 3), nn.Linear(9, 3)),
    "a shared layer": tied,
    "a hook": hooked,
    "a hook on the way back": clipped,
    "a replaced forward pass": patched,
    "a call of its own": lambda: Called(nn.Linear(9, 3)),
    "a weight that was normalized": made_anew(unnormalized),
    "a weight that was pruned": made_anew(pruned),
    "a weight that is a buffer": fixed,
}


@pytest.mark.parametrize("network", OTHERS)
def test_other_networks_are_differentiated_by_autograd(network):
    learner = Learner(OTHERS[network])
    assert Chain.of(learner) is None
    assert isinstance(Steps(learner, Adam()).derivatives, Autograd)


def test_a_hook_on_all_modules_is_heard():
    learner = Learner(partial(MLP, (9,), 3))
    handle = nn.modules.module.register_module_forward_hook(lambda *args: None)
    try:
        assert Chain.of(learner) is None
    finally:
        handle.remove()
    assert Chain.of(learner) is not None


def test_another_loss_or_precision_is_left_to_autograd():
    factory = partial(MLP, (9,), 3)
    assert Chain.of(Learner(factory, autocast=torch.bfloat16)) is None
    learner = Learner(factory)
    assert Chain.of(learner) is not None
    learner.criterion = F.mse_loss
    assert Chain.of(learner) is None
