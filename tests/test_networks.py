"""Networks: shapes, the depths of the paper, and what the learner makes of them."""

import pytest
import torch
from torch import nn

from skdistill._engine.learner import Learner
from skdistill.networks import MLP, ConvNet, network_factory


@pytest.mark.parametrize(
    ("side", "depth", "width"),
    [(4, 1, 64), (8, 2, 64), (28, 3, 128), (32, 3, 128), (64, 4, 128), (128, 5, 128)],
)
def test_convnet_depth_follows_the_image(side, depth, width):
    network = ConvNet((3, side, side), 7)
    convolutions = [m for m in network if isinstance(m, nn.Conv2d)]
    assert len(convolutions) == depth
    assert {m.out_channels for m in convolutions} == {width}
    assert network(torch.zeros(2, 3, side, side)).shape == (2, 7)


def test_instance_normalisation_makes_the_convnet_blind_to_scale():
    network = ConvNet((1, 8, 8), 3)
    X = torch.rand(4, 1, 8, 8)
    torch.testing.assert_close(network(5 * X), network(X), rtol=1e-2, atol=1e-3)


@pytest.mark.parametrize(("shape", "kind"), [((7,), MLP), ((1, 8, 8), ConvNet), ((1, 2, 9), MLP)])
def test_auto(shape, kind):
    assert isinstance(network_factory("auto", shape, 3)(), kind)


def test_too_small_images_name_the_way_out():
    with pytest.raises(
        ValueError, match=r"at least 4 pixels a side; got 3 x 9.*architecture='mlp'"
    ):
        ConvNet((1, 3, 9), 2, depth=2)


def test_a_table_has_no_convnet():
    with pytest.raises(ValueError, match="architecture='convnet' must be given images"):
        network_factory("convnet", (7,), 3)


def test_learner_equals_the_module():
    learner = Learner(network_factory("convnet", (1, 8, 8), 3))
    theta = learner.init(11)
    module = ConvNet((1, 8, 8), 3)
    nn.utils.vector_to_parameters(theta, module.parameters())
    X = torch.randn(5, 1, 8, 8)
    torch.testing.assert_close(learner.logits(theta, X), module(X))


def test_initialisations_are_repeatable_and_differ():
    learner = Learner(network_factory("mlp", (7,), 3))
    before = torch.get_rng_state()
    assert torch.equal(learner.init(1), learner.init(1))
    assert not torch.equal(learner.init(1), learner.init(2))
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize(
    ("factory", "message"),
    [
        (lambda: nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3)), "must not keep running stat"),
        (lambda: nn.Flatten(), "must have trainable parameters"),
    ],
)
def test_modules_that_are_no_pure_function(factory, message):
    with pytest.raises(ValueError, match=message):
        Learner(factory)


def test_activation_bytes_count_the_layers_outputs():
    learner = Learner(lambda: nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 2)))
    assert learner.activation_bytes((3,)) == 4 * (5 + 5 + 2)
