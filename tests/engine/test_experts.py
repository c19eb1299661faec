"""Experts are trained as torch trains them, epoch by epoch, from their own seed."""

from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tools import a_problem

from skdistill._engine.experts import Sharpness, Training, trajectories
from skdistill._engine.optimizers import SGD
from skdistill._engine.steps import Steps
from skdistill._engine.streams import Streams
from skdistill.augmentation import Rotation
from skdistill.exceptions import DivergenceError

PLAIN = Sharpness(0.0)


class Kept:
    """A cache in memory."""

    def __init__(self):
        self.results, self.recipes = {}, []

    def open(self, parameters):
        self.recipes.append(parameters)
        return self._keep

    def _keep(self, name, make):
        if name not in self.results:
            self.results[name] = make()
        return self.results[name]


@pytest.fixture
def real():
    """Return 22 real images of three classes and weights."""
    draw = partial(torch.randn, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return draw(22, 1, 8, 8), torch.arange(22) % 3, draw(22).abs()


def training_of(learner, sharpness=PLAIN, **options):
    augment = options.pop("augment", None)
    given = {"seed": 3, "learning_rate": 0.05, "batch_size": 5, "sharpness": sharpness}
    return Training(Steps(learner, SGD(), augment=augment), **given | options)


def by_torch(learner, X, y, weight, training, epoch, theta, direction):
    """Return parameters after an epoch by the optimizer of torch; ``direction`` makes gradients."""
    theta = theta.clone().requires_grad_()
    optimizer = torch.optim.SGD([theta], lr=training.learning_rate)

    def loss_of(rows):
        def loss(theta):
            losses = F.cross_entropy(learner.logits(theta, X[rows]), y[rows], reduction="none")
            w = torch.ones_like(losses) if weight is None else weight[rows]
            return (losses * w).sum() / w.sum()

        return loss

    order = Streams(3).numpy("batches of expert 2", epoch).permutation(22)
    for rows in (order[i : i + 5] for i in range(0, 20, 5)):
        theta.grad = direction(loss_of(rows), theta)
        optimizer.step()
    return theta.detach()


def plain(loss, theta):
    return torch.autograd.grad(loss(theta), theta)[0]


def gsam(rho, alpha, loss, theta):
    """Return GSAM's gradient, parameter by parameter as its code has it, in other words."""
    here = plain(loss, theta)
    with torch.no_grad():
        scale = rho / ((theta.abs() * here).square().sum().sqrt())
        moved = (theta + theta**2 * here * scale).detach().requires_grad_()
    above = plain(loss, moved)
    cosine = F.cosine_similarity(here, above, dim=0)
    vertical = here - cosine * here.norm() * above / above.norm()
    return above - alpha * vertical


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("chunk", [None, 2])
def test_an_epoch_is_that_of_torch(learner, real, weighted, chunk):
    X, y, weight = real
    weight = weight if weighted else None
    training = training_of(learner)
    theta = training.first(2)
    problem = a_problem(X, y, 1, learner, weight, chunk=chunk)
    for epoch in range(2):
        expected = by_torch(learner, X, y, weight, training, epoch, theta, plain)
        theta = training.epoch(problem, theta, 2, epoch)
        torch.testing.assert_close(theta, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("alpha", [0.0, 0.7])
def test_a_flat_expert_descends_by_gsam(learner, real, alpha):
    X, y, _ = real
    training = training_of(learner, Sharpness(0.3, alpha))
    theta = training.first(2)
    got = training.epoch(a_problem(X, y, 1, learner), theta, 2, 0)
    expected = by_torch(learner, X, y, None, training, 0, theta, partial(gsam, 0.3, alpha))
    torch.testing.assert_close(got, expected, rtol=1e-9, atol=1e-12)
    other = training_of(learner).epoch(a_problem(X, y, 1, learner), theta, 2, 0)
    assert (got - other).norm() > 1e-4 * (other - theta).norm()


def test_steps_in_an_epoch_may_be_given(learner, real):
    X, y, _ = real
    problem = a_problem(X, y, 1, learner)
    whole, parts = training_of(learner), training_of(learner, steps_per_epoch=2)
    theta = whole.first(0)
    half = parts.epoch(problem, theta, 0, 0)
    assert torch.equal(parts.epoch(problem, half, 0, 1), whole.epoch(problem, theta, 0, 0))
    assert (whole.n_steps(22), parts.n_steps(22), whole.n_steps(3)) == (4, 2, 1)


def test_augmentation_differs_from_batch_to_batch(learner, real):
    X, y, _ = real
    turn = Rotation(90.0)
    training = training_of(learner, augment=turn.apply, steps_per_epoch=2)
    theta = training.first(0)
    got = training.epoch(a_problem(X, y, 1, learner, augmentation=turn), theta, 0, 0)
    generator, rows = Streams(3).torch("augmentation of expert 0", 0), []
    for i in range(2):
        rows.append(training._batch(Streams(3), 22, 0, i))
        theta = theta.requires_grad_()
        seen = turn.apply(X[rows[-1]], turn.draw(generator, 5, (1, 8, 8)).double())
        loss = F.cross_entropy(learner.logits(theta, seen), y[rows[-1]])
        theta = (theta - 0.05 * torch.autograd.grad(loss, theta)[0]).detach()
    torch.testing.assert_close(got, theta)
    assert not set(rows[0]) & set(rows[1])


def test_trajectories_go_on_where_they_were(learner, real):
    X, y, _ = real
    training, problem = training_of(learner), a_problem(X, y, 1, learner)
    make = partial(trajectories, training, problem, recipe={"rate": 0.05})
    whole = make(cache=Kept(), n_experts=2, n_epochs=3)
    assert whole.thetas.shape == (2, 4, learner.n_parameters)
    assert whole.n_bytes == 8 * whole.thetas.numel()
    cache = Kept()
    make(cache=cache, n_experts=1, n_epochs=2)
    assert sorted(cache.results) == ["expert-000-epoch-001", "expert-000-epoch-002"]
    # More epochs of an expert, and another one; nothing is made again.
    before = dict(cache.results)
    more = make(cache=cache, n_experts=2, n_epochs=3)
    assert torch.equal(more.thetas, whole.thetas)
    assert all(cache.results[name] is result for name, result in before.items())
    assert cache.recipes == [{"rate": 0.05}] * 2
    theta = whole(1, 0, torch.device("cpu"))
    for epoch in range(3):
        theta = training.epoch(problem, theta, 1, epoch)
        assert torch.equal(whole(1, epoch + 1, torch.device("cpu")), theta)
    # Experts, epochs and seeds differ.
    flat = [tuple(each.tolist()) for each in whole.thetas.flatten(0, 1)]
    other = trajectories(training_of(learner, seed=4), problem, Kept(), {}, 1, 1).thetas[0]
    assert len({*flat, *(tuple(each.tolist()) for each in other)}) == 8 + 2


def test_an_expert_that_diverges_is_not_kept(learner, real):
    X, y, _ = real
    cache = Kept()
    training = training_of(learner, learning_rate=1e300)
    with pytest.raises(DivergenceError, match=r"expert 0 diverged in epoch 1: .* lower expert_lr"):
        trajectories(training, a_problem(X, y, 1, learner), cache, {}, 1, 2)
    assert cache.results == {}


def test_the_run_has_no_part_in_its_experts(learner, real):
    X, y, _ = real
    training = training_of(learner)
    thetas = [
        training.epoch(a_problem(X, y, 1, learner, rngs=Streams(seed)), training.first(0), 0, 0)
        for seed in (0, 1)
    ]
    assert torch.equal(*thetas)
    assert np.isfinite(thetas[0].numpy()).all()
