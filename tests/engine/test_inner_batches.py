"""Which synthetic samples an inner step trains on: how many, of how many classes."""

import numpy as np
import pytest
import torch
from tools import a_problem, quick

from skdistill._engine.inner_batches import InnerBatches
from skdistill._engine.learner import Learner
from skdistill._engine.methods import unrolled
from skdistill._engine.methods.base import Synthetic
from skdistill._engine.methods.unrolled import Unrolled
from skdistill._engine.optimizers import SGD
from skdistill._engine.steps import Steps
from skdistill._engine.streams import Streams
from skdistill.networks import MLP
from skdistill.sampling import UniformSampler
from skdistill.windows import resolve_schedule

N_CLASSES, IPC = 5, 4
SIZES = [(None, None), (2, None), (None, 3), (2, 3), (1, 1), (4, 5)]


@pytest.fixture
def gradient():
    """Return a function that gives the loop of an outer step, and its gradients, in float64."""
    real_X = torch.linspace(-1, 1, 40 * 6, dtype=torch.float64).view(40, 6).sin()
    real_y = torch.arange(40) % N_CLASSES
    steps = Steps(Learner(lambda: MLP((6,), N_CLASSES, width=5, depth=1), dtype=torch.float64),
                  SGD(lr=0.1, momentum=0.9))  # fmt: skip
    loops = []

    def remember(loop, *rest):
        loops.append(loop)
        return original(loop, *rest)

    original = unrolled.meta_gradient
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(unrolled, "meta_gradient", remember)

        def run(inner_batch_size, classes_per_step, step=0, seed=0, soft=False, unroll=6):
            rngs = Streams(seed)
            method = Unrolled(
                steps=steps,
                sampler=UniformSampler(40, 10, lambda epoch: rngs.numpy("synthetic", epoch)),
                schedule=resolve_schedule("t-bptt"),
                window=4,
                unroll=unroll,
                batches=InnerBatches(inner_batch_size, classes_per_step),
            )
            problem = a_problem(real_X, real_y, IPC, steps.learner, rngs=rngs)
            X = torch.linspace(-2, 2, IPC * N_CLASSES * 6, dtype=torch.float64).view(-1, 6).cos()
            y = torch.arange(N_CLASSES).repeat(IPC)
            if soft:
                y = torch.eye(N_CLASSES, dtype=torch.float64)[y] + 0.1
            state = method.init(problem)
            found, _ = method.gradient(problem, Synthetic(X, y), state, step)
            rows = method.sampler.batch(step, state["sampler"])
            return loops[-1], (method, problem), found, (real_X[rows], real_y[rows])

        yield run


def by_autograd(loop, made, start, real, soft):
    """Return the loss and its gradients, by autograd through plain steps on the loop's rows."""
    method, problem = made
    learner, rate = loop.steps.learner, 0.1
    X, y = loop.X.clone().requires_grad_(), loop.y.clone().requires_grad_(soft)
    theta = learner.init(problem.rngs.integer("network", 0)).requires_grad_()
    velocity = torch.zeros_like(theta)
    everything = range(len(X))
    for i in range(method.unroll):
        rows = list(everything) if loop.batches is None else loop.batches[i].tolist()
        loss = learner.loss(
            theta, torch.stack([X[r] for r in rows]), torch.stack([y[r] for r in rows])
        )
        grad = torch.autograd.grad(loss, theta, create_graph=True)[0]
        velocity = 0.9 * velocity + grad
        theta = theta - rate * velocity
        if i < start:
            theta, velocity = theta.detach().requires_grad_(), velocity.detach()
    loss = learner.loss(theta, *real)
    return loss, torch.autograd.grad(loss, (X, y) if soft else (X,))


@pytest.mark.parametrize("soft", [False, True], ids=["hard", "soft"])
@pytest.mark.parametrize("sizes", SIZES, ids=map(str, SIZES))
def test_the_meta_gradient_equals_autograd(gradient, sizes, soft):
    loop, made, found, real = gradient(*sizes, soft=soft)
    expected, grads = by_autograd(loop, made, found.record["start"], real, soft)
    assert found.loss.item() == pytest.approx(expected.item(), rel=1e-12)
    assert grads[0].norm() > 1e-3
    torch.testing.assert_close(found.X, grads[0], rtol=1e-9, atol=1e-14)
    if soft:
        torch.testing.assert_close(found.y, grads[1], rtol=1e-9, atol=1e-14)


@pytest.mark.parametrize("sizes", SIZES, ids=map(str, SIZES))
def test_every_step_has_so_many_samples_of_so_many_classes(gradient, sizes):
    batches = gradient(*sizes)[0].batches
    if sizes in [(None, None), (4, 5)]:
        assert batches is None
        return
    per_class, n_classes = sizes[0] or IPC, sizes[1] or N_CLASSES
    assert batches.shape == (6, per_class * n_classes)
    for rows in batches.tolist():
        assert len(set(rows)) == len(rows)
        # Rows are one sample of each class after the other. The order of a batch decides the last
        # bits of its gradient, so it may not depend on whether classes are drawn.
        assert [r % N_CLASSES for r in rows] == sorted(r % N_CLASSES for r in rows)
        counts = np.bincount(np.array(rows) % N_CLASSES, minlength=N_CLASSES)
        assert sorted(counts) == [0] * (N_CLASSES - n_classes) + [per_class] * n_classes


def test_all_classes_and_samples_get_their_turn(gradient):
    batches = gradient(1, 2, unroll=600)[0].batches
    counts = np.bincount(batches.flatten(), minlength=N_CLASSES * IPC)
    # 60 expected of each, with a standard deviation of about 7.5.
    assert (np.abs(counts - 60) < 38).all()
    pairs = {tuple(sorted(row)) for row in (batches % N_CLASSES).tolist()}
    assert len(pairs) == 10


def test_draws_are_functions_of_seed_and_step(gradient):
    def rows(**kwargs):
        return gradient(2, 3, **kwargs)[0].batches

    assert torch.equal(rows(), rows())
    assert torch.equal(rows(unroll=9)[:6], rows())
    for other in (rows(step=1), rows(seed=1)):
        assert not torch.equal(other % N_CLASSES, rows() % N_CLASSES)


def test_drawing_classes_leaves_the_draws_of_samples(gradient):
    some, every = (gradient(2, n)[0].batches for n in (3, None))
    for few, all_rows in zip(some.tolist(), every.tolist()):
        assert few == [r for r in all_rows if r % N_CLASSES in {f % N_CLASSES for f in few}]


# --- the distiller ----------------------------------------------------------------------------


@pytest.fixture
def many():
    """Return 48 rows of a table with six classes."""
    rng = np.random.default_rng(0)
    y = np.arange(48) % 6
    return rng.normal(size=(48, 5)) + 2 * np.eye(6, 5)[y], y


def samples(data, **parameters):
    return quick(**parameters).fit(*data).transform()[0]


def test_class_subsets_change_the_run_and_all_classes_do_not(many):
    whole = samples(many)
    np.testing.assert_array_equal(samples(many, classes_per_step=6), whole)
    assert np.abs(samples(many, classes_per_step=2) - whole).max() > 1e-3
    first, second = (samples(many, classes_per_step=2, learn_labels=True) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_too_many_classes_are_refused_before_any_work(many, tmp_path):
    checkpoint = tmp_path / "run.npz"
    message = r"classes_per_step=7 must be at most 6, the number of classes in y\."
    with pytest.raises(ValueError, match=message):
        quick(classes_per_step=7, checkpoint=checkpoint).fit(*many)
    assert not checkpoint.exists()
    with pytest.raises(ValueError, match=message):
        quick(classes_per_step=7).estimate(*many)
    for bad in (0, 1.5, "all"):
        with pytest.raises(ValueError, match=r"'classes_per_step' parameter"):
            quick(classes_per_step=bad).fit(*many)


def test_the_forecast_counts_the_samples_of_a_step(many):
    def activations(**parameters):
        return quick(ipc=2, **parameters).estimate(*many, n_steps=1).memory.activations

    # Twelve, four and two samples, beside what takes the same memory for any number.
    twelve, four = activations(), activations(classes_per_step=2)
    two = activations(classes_per_step=2, inner_batch_size=1)
    assert twelve - four == pytest.approx(4 * (four - two), rel=0.02)
    assert twelve > four > two


def test_compilation_is_decided_by_the_samples_of_a_step(many, monkeypatch):
    sizes = []
    monkeypatch.setattr(
        "skdistill.distillers.rat_bptt.pays_to_compile",
        lambda learner, optimizer, shape, size, n: sizes.append(size) or False,
    )
    for parameters in ({}, {"classes_per_step": 2}, {"classes_per_step": 2, "inner_batch_size": 1}):
        quick(ipc=2, max_iter=1, **parameters).fit(*many)
    assert sizes == [12, 4, 2]


def test_a_checkpoint_of_other_class_subsets_is_refused(many, tmp_path):
    parameters = {"classes_per_step": 2, "checkpoint": tmp_path / "run.npz"}
    whole = samples(many, classes_per_step=2, max_iter=5)
    quick(**parameters).fit(*many)
    with pytest.raises(ValueError, match="classes_per_step must be 2; got 3"):
        quick(**parameters | {"classes_per_step": 3}).fit(*many)
    np.testing.assert_array_equal(samples(many, max_iter=5, **parameters), whole)
