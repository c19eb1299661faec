"""BPTT as Deng and Russakovsky (2022) ran it: its outer optimizer, clipping and augmentation."""

from functools import partial

import numpy as np
import pytest
import tools
import torch
from tools import OuterStep, a_problem, quick, tiny

from skdistill import BoostedDistiller, RaTBPTTDistiller
from skdistill._engine.inner_batches import InnerBatches
from skdistill._engine.learner import Learner
from skdistill._engine.methods.base import Synthetic
from skdistill._engine.methods.unrolled import Unrolled
from skdistill._engine.optimizers import SGD
from skdistill._engine.steps import Steps
from skdistill.augmentation import Compose, Flip, OneOf, Rotation
from skdistill.networks import MLP
from skdistill.parametrization import LinearBasis
from skdistill.sampling import UniformSampler
from skdistill.windows import FullWindow, UniformWindow

T = 4
SMALL = partial(
    quick, schedule="bptt", unroll=T, batch_size=16, ipc=2, architecture=tiny, max_iter=4
)


# The outer step -----------------------------------------------------------------------------------


def test_steps_are_those_of_gradient_descent_with_momentum_and_a_clipped_gradient(
    images, monkeypatch
):
    grads, original = [], Unrolled.gradient

    def noted(self, *args):
        gradient, state = original(self, *args)
        grads.append(gradient.X.double().numpy())
        return gradient, state

    monkeypatch.setattr(Unrolled, "gradient", noted)
    rate, momentum = 0.1, 0.5
    plain = SMALL(max_iter=1).fit(*images).history_["grad_norm"][0]
    # Some gradients are clipped, and some are not.
    most = 0.9 * plain
    grads.clear()
    distiller = SMALL(
        outer_optimizer="sgd", learning_rate=rate, outer_momentum=momentum, clip_norm=most
    ).fit(*images)
    norms = [np.linalg.norm(grad) for grad in grads]
    assert norms == pytest.approx(distiller.history_["grad_norm"], rel=1e-5)
    assert norms[0] > most
    assert distiller.history_["clip_level"] == [most] * 4
    # The start is that of a run that does not move.
    still = SMALL(max_iter=1, outer_optimizer="sgd", learning_rate=1e-30).fit(*images)
    X, velocity = still._run.state.slots["X"][0].astype(float), 0.0
    for grad, norm in zip(grads[:4], norms):
        velocity = momentum * velocity + grad * min(1.0, most / norm)
        X = X - rate * velocity
    np.testing.assert_allclose(distiller._run.state.slots["X"][0], X, rtol=0, atol=1e-6)


@pytest.mark.parametrize("clip_norm", [None, 0.05])
def test_clipping_may_be_fixed_or_absent(images, clip_norm):
    history = SMALL(clip_norm=clip_norm).fit(*images).history_
    assert history["clip_level"] == [clip_norm] * 4


def test_one_large_gradient_does_not_get_through(images):
    def levels(clip_norm, factor):
        """Return the levels of the clipping of a run with one gradient that is so much larger."""
        with OuterStep(factor=lambda step: factor if step == 6 else 1.0):
            fitted = SMALL(max_iter=16, clip_norm=clip_norm).fit(*images)
        assert max(fitted.history_["grad_norm"]) > 1e-3 * factor
        return fitted.history_["clip_level"]

    usual = max(levels("auto", 1.0))
    assert max(levels("auto", 1e4)) < 1.5 * usual
    # By the rule of the paper's code a fifth of it does.
    assert max(levels("feng23", 1e4)) > 10 * usual


@pytest.mark.parametrize("parametrization", ["pixels", LinearBasis(2, downsample=2)], ids=str)
def test_runs_resume_and_boost(images, tmp_path, parametrization):
    make = partial(
        SMALL,
        parametrization=parametrization,
        outer_optimizer="sgd",
        learning_rate=0.1,
        clip_norm=2.0,
        augmentation="flip_rotate",
        shared_augmentation=True,
        inner_optimizer="sgd",
        inner_batch_size=1,
    )
    whole = make().fit(*images)
    make(checkpoint=tmp_path / "run", max_iter=2).fit(*images)
    parts = make(checkpoint=tmp_path / "run").fit(*images)
    np.testing.assert_array_equal(parts.transform()[0], whole.transform()[0])
    assert parts.history_["loss"] == whole.history_["loss"]
    other = make(checkpoint=tmp_path / "run", outer_momentum=0.9)
    with pytest.raises(ValueError, match=r"outer_momentum must be 0\.5; got 0\.9"):
        other.fit(*images)
    boosted = BoostedDistiller(
        2, block_size=1, beta=0, distiller=make(ipc=1, inner_batch_size=None)
    )
    assert boosted.fit(*images).budgets_ == [1, 2]


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"outer_optimizer": "sgd"}, "learning_rate='auto' must be a number with outer_optimizer"),
        ({"outer_optimizer": "lamb"}, "'outer_optimizer' parameter of RaTBPTTDistiller"),
        ({"outer_momentum": 1.0}, "'outer_momentum' parameter of RaTBPTTDistiller"),
        ({"clip_norm": 0.0}, "'clip_norm' parameter of RaTBPTTDistiller"),
        ({"shared_augmentation": "yes"}, "'shared_augmentation' parameter of RaTBPTTDistiller"),
    ],
)
def test_bad_parameters(images, outer_step, parameters, message):
    outer_step.refuse()
    with pytest.raises(ValueError, match=message):
        SMALL(**parameters).fit(*images)


# One draw of augmentation for all samples of an outer step ----------------------------------------


class Counted(Compose):
    """A flip and a rotation that notes its draws, and the numbers that it was applied with."""

    # As one of the package's, it is not tried before a run.
    __module__ = Compose.__module__

    def draw(self, generator, n, shape):
        numbers = super().draw(generator, n, shape)
        self.__dict__.setdefault("drawn", []).append(numbers)
        return numbers

    def apply(self, X, parameters):
        self.__dict__.setdefault("applied", []).append((len(X), parameters))
        return super().apply(X, parameters)


@pytest.mark.parametrize("chunk", [None, 3])
def test_all_samples_of_an_outer_step_get_the_same_numbers(images, monkeypatch, chunk):
    monkeypatch.setattr("skdistill._run.problem.chunk_size", lambda *args, **options: chunk)
    spy = Counted([Flip(), Rotation()])
    SMALL(augmentation=spy, shared_augmentation=True, max_iter=3).fit(*images)
    assert [tuple(numbers.shape) for numbers in spy.drawn] == [(2, 1)] * 3
    assert len({tuple(numbers[:, 0].tolist()) for numbers in spy.drawn}) == 3
    seen = [set(map(tuple, numbers.T.tolist())) for _, numbers in spy.applied]
    per_step = len(seen) // 3
    for k, numbers in enumerate(spy.drawn):
        here = seen[k * per_step : (k + 1) * per_step]
        assert here == [{tuple(numbers[:, 0].tolist())}] * per_step
    if chunk is None:
        # Synthetic, real, and the way back: once each.
        assert [n for n, _ in spy.applied] == [4, 16, 4] * 3


@pytest.mark.parametrize("schedule", [FullWindow(), UniformWindow()], ids=str)
@pytest.mark.parametrize("mini_batches", [False, True])
def test_the_gradient_is_that_of_autograd_through_everything(schedule, mini_batches):
    generator = torch.Generator().manual_seed(0)
    draw = partial(torch.randn, generator=generator, dtype=torch.float64)
    learner = Learner(partial(MLP, (1, 6, 6), 3, width=6, depth=2), dtype=torch.float64)
    real, y = draw(12, 1, 6, 6), torch.arange(12) % 3
    augmentation = OneOf([Flip(p=1.0), Rotation()])
    problem = a_problem(real, y, 2, learner, augmentation=augmentation)
    steps = Steps(learner, SGD(lr=0.1, momentum=0.9), augment=augmentation.apply)
    method = Unrolled(
        steps=steps,
        sampler=UniformSampler(12, 5, lambda epoch: problem.rngs.numpy("real_batch", epoch)),
        schedule=schedule,
        window=2,
        unroll=T,
        batches=InnerBatches(1 if mini_batches else None),
        shared_augmentation=True,
    )
    X, labels = draw(6, 1, 6, 6), torch.arange(3).repeat(2)
    for step in range(3):
        found, _ = method.gradient(problem, Synthetic(X, labels), method.init(problem), step)
        start, window = found.record["start"], found.record["window"]
        numbers = augmentation.draw(problem.rngs.torch("real_augmentation", step), 1, (1, 6, 6))
        leaf = X.clone().requires_grad_()
        batches = method.batches.draw(problem, step, start + window)
        theta = learner.init(problem.rngs.integer("network", step))
        state = steps.optimizer.init(theta)
        for i in range(start + window):
            rows = slice(None) if batches is None else batches[i]
            seen = augmentation.apply(leaf[rows], numbers.repeat(1, len(leaf[rows])))
            theta = state[0] if state.requires_grad else state[0].clone().requires_grad_()
            loss = learner.loss(theta, seen, labels[rows])
            grad = torch.autograd.grad(loss, theta, create_graph=True)[0]
            state = torch.cat((theta[None], state[1:]))
            state = steps.optimizer.step(state, grad, *steps.optimizer.scalars(i + 1))
            if i + 1 == start:
                state = state.detach()
        rows = method.sampler.batch(step, {})
        batch = augmentation.apply(real[rows], numbers.repeat(1, 5))
        loss = learner.loss(state[0], batch, y[rows])
        (expected,) = torch.autograd.grad(loss, leaf)
        assert found.loss.item() == pytest.approx(loss.item(), abs=1e-12)
        assert expected.norm() > 1e-4
        torch.testing.assert_close(found.X, expected, rtol=1e-9, atol=1e-12)


def test_it_changes_nothing_without_augmentation(images):
    one, other = (SMALL(shared_augmentation=flag).fit(*images) for flag in (False, True))
    np.testing.assert_array_equal(one.transform()[0], other.transform()[0])
    augmented = [
        SMALL(augmentation="flip_rotate", shared_augmentation=flag).fit(*images).history_["loss"]
        for flag in (False, True)
    ]
    assert augmented[0] != augmented[1]


# Its paper ----------------------------------------------------------------------------------------


def test_the_values_are_those_of_its_code():
    # Read in its command, configuration and runner.
    distiller = RaTBPTTDistiller.from_paper("cifar10", 1, paper="bptt")
    expected = {
        "schedule": "bptt", "unroll": 150, "inner_optimizer": "sgd", "inner_lr": 0.01,
        "inner_momentum": 0.9, "outer_optimizer": "sgd", "outer_momentum": 0.5,
        "max_iter": 500_000, "batch_size": 64 * 10,
        "n_networks": 10, "eval_steps": 300, "inner_batch_size": None, "learn_labels": False,
        "parametrization": "pixels", "shared_augmentation": True,
    }  # fmt: skip
    assert {name: getattr(distiller, name) for name in expected} == expected
    # The command for BPTT has mini-batches of ten per class; that with bases of 32.
    batches = [
        RaTBPTTDistiller.from_paper("cifar10", ipc, paper="bptt").inner_batch_size
        for ipc in (1, 10, 50)
    ]
    assert batches == [None, None, 10]


@pytest.mark.parametrize("ipc", [1, 10, 50])
def test_steps_are_those_of_the_code_whose_samples_are_larger(ipc):
    samples = torch.empty(10 * ipc, 3 * 32 * 32)
    torch.nn.init.xavier_uniform_(samples, generator=torch.Generator().manual_seed(0))
    norm = samples.norm(dim=1).square().mean().sqrt().item()
    distiller = RaTBPTTDistiller.from_paper("cifar10", ipc, paper="bptt")
    assert distiller.learning_rate * norm**2 == pytest.approx(0.1, rel=0.02)
    assert distiller.clip_norm / norm == pytest.approx(2, rel=0.01)
    # The step that the code does with a gradient there, and ours with the same one here.
    for size in (1.0, 5.0):
        theirs = 0.1 * min(size, 2.0) / norm
        ours = distiller.learning_rate * min(size * norm, distiller.clip_norm)
        assert ours == pytest.approx(theirs, rel=0.02)


def test_bases_take_the_storage_of_the_samples_that_are_asked_for():
    distiller = RaTBPTTDistiller.from_paper("cifar10", 1, paper="linba", max_iter=1, batch_size=10)
    basis = distiller.parametrization
    assert (basis.n_basis, basis.downsample, distiller.inner_batch_size) == (16, 2, 32)
    # Bases and coefficients start as in the code.
    assert (distiller.learning_rate, distiller.clip_norm) == (0.1, 2.0)
    distiller.set_params(unroll=1, architecture=tiny)
    X = np.random.default_rng(0).normal(size=(1200, 3, 32, 32)).astype(np.float32)
    distilled = distiller.fit(X, np.arange(1200) % 10).distilled_
    assert distilled.ipc == 115
    assert 0.998 < distilled.storage <= 1


@pytest.mark.parametrize(
    ("kind", "arguments", "message"),
    [
        (RaTBPTTDistiller, ("cifar10", 1, "ssnl"), r"paper must be one of None, 'bptt', 'linba', "),
        (RaTBPTTDistiller, ("cifar10", 10, "linba"), r"ipc must be one of 1 for 'cifar10', as in"),
        (RaTBPTTDistiller, ("mnist", 1, "bptt"), r"dataset must be one of 'cifar10', those of the"),
        (tools.Slide, ("cifar10", 1, "bptt"), "Slide knows no runs of a paper"),
    ],
)
def test_papers_that_are_not_known(kind, arguments, message):
    dataset, ipc, paper = arguments
    with pytest.raises(ValueError, match=message):
        kind.from_paper(dataset, ipc, paper=paper)
