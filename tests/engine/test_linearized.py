"""Linearized networks: against torch's own derivatives, in one chunk and in several."""

from functools import partial

import pytest
import torch
from tools import plain
from torch import nn
from torch.func import jvp, vjp

from skdistill._engine.learner import Learner
from skdistill._engine.linearized import Linearized, softened
from skdistill._engine.methods.matching import Embedding
from skdistill.networks import ConvNet, resnet18

SHAPE = (1, 8, 8)
draw = partial(torch.randn, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.fixture(params=[None, 2], ids=["one chunk", "chunks of two"])
def case(request, learner):
    """Return a linearized network, and its scores as a function of tangents and samples."""
    learner = learner.changed(partial(softened, beta=5.0))
    embed, theta, X = Embedding(learner, SHAPE), learner.init(1), draw(5, *SHAPE)
    network = Linearized(embed.with_scores, theta, embed.body, X, request.param)
    other = learner.changed(plain)

    def scores(t, X):
        return jvp(lambda theta: other.logits(theta, X), (theta,), (t * embed.body,))[1]

    return network, scores, embed, theta


def test_scores_are_those_of_the_first_order(case):
    network, scores, _, theta = case
    t = draw(len(theta))
    torch.testing.assert_close(network.scores(t), scores(t, network.X), rtol=1e-10, atol=1e-12)


def test_pulled_back_is_the_transpose(case):
    network, scores, _, theta = case
    _, transposed = vjp(lambda t: scores(t, network.X), torch.zeros_like(theta))
    a = draw(5, 3)
    torch.testing.assert_close(network.pulled_back(a), transposed(a)[0], rtol=1e-10, atol=1e-12)


def test_the_last_weights_have_no_tangents_and_all_others_do(case):
    network, _, embed, theta = case
    names = [*embed.learner.parameters(theta)]
    body = embed.learner.parameters(embed.body)
    assert [name for name in names if not body[name].any()] == [names[-2]]
    assert all(body[name].all() for name in names if name != names[-2])
    last = 1 - embed.body
    assert last.sum() == 3 * embed.n_features
    assert not network.scores(last).any()
    assert not (network.pulled_back(draw(5, 3)) * last).any()


def test_features_are_the_inputs_of_the_last_layer(case):
    network, _, embed, theta = case
    torch.testing.assert_close(network.features, embed(theta, network.X))
    features, scores = embed.with_scores(theta, network.X)
    torch.testing.assert_close(features, network.features)
    torch.testing.assert_close(scores, embed.learner.logits(theta, network.X))


def test_derivatives_at_samples_equal_autograd(case):
    network, scores, embed, theta = case
    features_bar = draw(5, embed.n_features)
    pairs = [(draw(len(theta)), draw(5, 3)) for _ in range(2)]
    X = network.X.clone().requires_grad_()
    total = (embed(theta, X) * features_bar).sum()
    total = total + sum((scores(t, X) * a).sum() for t, a in pairs)
    (expected,) = torch.autograd.grad(total, X)
    got = network.pulled_to_samples(features_bar, pairs)
    assert expected.norm() > 1e-3
    assert (got - expected).norm() < 1e-9 * expected.norm()


def test_a_network_without_a_body_has_the_tangents_of_its_bias():
    learner = Learner(lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 3)), dtype=torch.float64)
    embed, X = Embedding(learner, SHAPE), draw(4, *SHAPE)
    network = Linearized(embed.with_scores, learner.init(0), embed.body, X)
    t = draw(learner.n_parameters)
    torch.testing.assert_close(network.scores(t), t[-3:].expand(4, 3))
    bar = draw(4, 64)
    got = network.pulled_to_samples(bar, [(t, draw(4, 3))])
    torch.testing.assert_close(got.flatten(1), bar)


def test_softplus_replaces_every_relu_and_nothing_else():
    for build in (partial(ConvNet, (1, 8, 8), 3), partial(resnet18, (3, 9, 9), 2)):
        kinds = [type(m) for m in build().modules()]
        soft = [*softened(build(), 7.0).modules()]
        expected = [nn.Softplus if kind is nn.ReLU else kind for kind in kinds]
        assert [type(m) for m in soft] == expected
        assert nn.ReLU in kinds
        assert {m.beta for m in soft if isinstance(m, nn.Softplus)} == {7.0}
    assert isinstance(softened(nn.ReLU(), 7.0), nn.Softplus)


def test_a_family_of_changed_networks_has_the_same_parameters(learner):
    soft = learner.changed(partial(softened, beta=60.0))
    assert torch.equal(soft.init(3), learner.init(3))
    assert soft.dtype == torch.float64
    X, theta = draw(4, *SHAPE), learner.init(3)
    torch.testing.assert_close(soft.logits(theta, X), learner.logits(theta, X), atol=0.1, rtol=0)
    assert not torch.equal(soft.logits(theta, X), learner.logits(theta, X))
    assert not any(isinstance(m, nn.Softplus) for m in learner.module.modules())
