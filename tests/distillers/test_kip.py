"""KIP: the objective against autograd through everything, and the distiller."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import tools
import torch
from sklearn.datasets import load_iris
from tools import a_problem
from torch import nn

from skdistill import KIPDistiller, RaTBPTTDistiller
from skdistill._engine import kernels
from skdistill._engine.kernels import FullyConnected
from skdistill._engine.labels import centered_one_hot
from skdistill._engine.methods.base import Synthetic
from skdistill._engine.methods.kernel import KernelRidge
from skdistill._engine.outer_optimizers import OuterAdam
from skdistill._engine.rows import balanced_batch, rows_by_class
from skdistill.augmentation import check_augmentation
from skdistill.parametrization import LinearBasis

quick = partial(tools.quick, KIPDistiller)
CLASSES = torch.arange(20) ** 2 % 3  # not equally many of each


def samples(n, seed, shape=(1, 4, 4)):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, *shape, generator=generator, dtype=torch.float64)


def regression(real, weight=None, batch_size=60, regularization=1e-2, depth=1, **options):
    """Return the method, and the problem of these real samples, with two synthetic per class."""
    problem = a_problem(real, CLASSES, 2, None, weight, **options)
    rows = rows_by_class(CLASSES, 2)
    return KernelRidge(FullyConnected(depth), regularization, rows, batch_size), problem


def gradient(method, problem, X, y, step=0):
    found, state = method.gradient(problem, Synthetic(X, y), {}, step)
    assert state == {}
    return found


def by_autograd(depth, real, weight, class_weight, X, y, regularization):
    """Return the loss of all real samples, by a dense solve, class by class."""
    kernel, n_classes = FullyConnected(depth), 2
    K = kernel(X)
    A = K + regularization * K.trace() / len(X) * torch.eye(len(X), dtype=X.dtype)
    errors = kernel(real, X) @ torch.linalg.solve(A, y) - centered_one_hot(
        CLASSES, n_classes, X.dtype
    )
    errors = 0.5 * errors.square().mean(dim=1)
    shares = weight * (torch.arange(n_classes)[:, None] == CLASSES)
    means = shares @ errors / shares.sum(dim=1)
    return (class_weight * means).mean()


@pytest.fixture(params=[False, True], ids=["hard", "learned"])
def labels(request):
    """Return labels of four synthetic samples as a method sees them, and as numbers."""
    hard = torch.arange(2).repeat(2)
    if request.param:
        soft = samples(4, 5, (2,))
        return soft, soft
    return hard, centered_one_hot(hard, 2, torch.float64)


# --- the objective ----------------------------------------------------------------------------


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("depth", [1, 2])
def test_loss_and_gradients_are_autograds_through_everything(labels, weighted, depth):
    real, X = samples(20, 0), samples(4, 1)
    weight = samples(20, 2, ()).abs() if weighted else None
    class_weight = torch.tensor([1.0, 3.0]).double() if weighted else None
    method, problem = regression(real, weight, depth=depth, class_weight=class_weight)
    found = gradient(method, problem, X, labels[0])
    inputs = [X.clone().requires_grad_(), labels[1].clone().requires_grad_()]
    ones = torch.ones(20).double(), torch.ones(2).double()
    loss = by_autograd(
        depth,
        real,
        weight if weighted else ones[0],
        class_weight if weighted else ones[1],
        *inputs,
        1e-2,
    )
    expected = torch.autograd.grad(loss, inputs)
    torch.testing.assert_close(found.loss, loss.detach(), rtol=1e-9, atol=0)
    torch.testing.assert_close(found.X, expected[0], rtol=1e-9, atol=1e-12)
    if labels[0].is_floating_point():
        torch.testing.assert_close(found.y, expected[1], rtol=1e-9, atol=1e-12)
    else:
        assert found.y is None


@pytest.mark.parametrize("augmentation", [None, "flip_rotate"])
def test_gradients_are_finite_differences(augmentation):
    real, X, y = samples(20, 0), samples(4, 1), samples(4, 5, (2,))
    method, problem = regression(real, batch_size=8, augmentation=check_augmentation(augmentation))
    found = gradient(method, problem, X, y, step=3)
    for name, direction in (("X", samples(4, 7)), ("y", samples(4, 7, (2,)))):
        values = {"X": X, "y": y}
        losses = [
            gradient(method, problem, **values | {name: values[name] + s * direction}, step=3).loss
            for s in (1e-5, -1e-5)
        ]
        slope = (getattr(found, name) * direction).sum()
        assert ((losses[0] - losses[1]) / 2e-5).item() == pytest.approx(slope.item(), rel=1e-6)


@pytest.mark.parametrize("augmentation", [None, "flip_rotate"])
def test_blocks_make_no_difference(monkeypatch, augmentation):
    weight = samples(20, 2, ()).abs()
    method, problem = regression(
        samples(20, 0), weight, augmentation=check_augmentation(augmentation)
    )
    X, y = samples(4, 1), samples(4, 5, (2,))
    whole = gradient(method, problem, X, y)
    monkeypatch.setattr(kernels, "_BLOCK", {"cpu": 12})
    monkeypatch.setattr(kernels, "_FEWEST_ROWS", 1)
    parts = gradient(method, problem, X, y)
    for name in ("loss", "X", "y"):
        torch.testing.assert_close(getattr(parts, name), getattr(whole, name), rtol=1e-11, atol=0)


def test_augmentation_changes_the_real_samples():
    losses = [
        gradient(*regression(samples(20, 0), augmentation=each), samples(4, 1), CLASSES[:4]).loss
        for each in (None, check_augmentation("flip_rotate"))
    ]
    assert abs(losses[0] - losses[1]) > 1e-3


def test_a_batch_has_equally_many_of_each_class_and_no_row_twice():
    by_class = [np.arange(10), np.arange(10, 13), np.arange(13, 40)]
    rows = balanced_batch(by_class, 5, np.random.default_rng(0))
    assert len(set(rows)) == len(rows)
    assert [np.isin(rows, each).sum() for each in by_class] == [5, 3, 5]


def test_every_step_has_another_batch_and_a_step_always_its_own():
    method, problem = regression(samples(20, 0), batch_size=4)
    X, y = samples(4, 1), CLASSES[:4]
    losses = [gradient(method, problem, X, y, step).loss.item() for step in (0, 1, 0)]
    assert losses[0] == losses[2] != losses[1]


def test_equal_samples_without_regularization_are_counted_and_have_a_gradient():
    method, problem = regression(samples(20, 0), regularization=0.0)
    X = samples(4, 1)
    X[2:] = X[:1]
    found = gradient(method, problem, X, CLASSES[:4])
    assert found.record["n_raised"] > 0
    assert found.X.isfinite().all()
    method = replace(method, regularization=1e-6)
    assert gradient(method, problem, X, CLASSES[:4]).record == {"n_raised": 0}


def test_a_real_sample_that_is_a_synthetic_one_has_a_gradient():
    real = samples(20, 0)
    assert gradient(*regression(real), real[:4].clone(), CLASSES[:4]).X.isfinite().all()


def test_samples_that_are_not_finite_give_a_loss_that_is_not():
    X = samples(4, 1)
    X[0] = float("nan")
    assert not gradient(*regression(samples(20, 0)), X, CLASSES[:4]).loss.isfinite()


# --- the distiller ----------------------------------------------------------------------------


def test_it_does_as_the_notebook_by_default():
    distiller = KIPDistiller()
    assert (distiller.learning_rate, distiller.batch_size, distiller.max_iter) == (0.04, 5000, 300)
    assert (distiller.weight_std**2, distiller.bias_std) == (pytest.approx(2), 0.1)
    assert (distiller.kernel, distiller.depth, distiller.regularization) == ("ntk", 1, 1e-6)
    assert (KernelRidge.clip, KernelRidge.optimizer) == (None, OuterAdam())


@pytest.mark.parametrize("learn_labels", [False, True])
def test_the_regression_learns_a_table(learn_labels):
    X, y = load_iris(return_X_y=True)
    distiller = quick(ipc=3, learn_labels=learn_labels, max_iter=40).fit(X, y)
    assert distiller.history_["loss"][-1] < 0.5 * distiller.history_["loss"][0]
    assert distiller.kernel_classifier().score(X, y) > 0.9
    assert set(distiller.history_) == {
        "loss", "grad_norm", "clip_level", "skipped", "seconds", "n_raised"
    }  # fmt: skip
    assert 0 <= distiller.score(X, y) <= 1
    assert distiller.evaluate(X, y, steps=[2, 4]).curve.shape == (2, 2)


def test_labels_start_centered_and_get_any_sign(images):
    distilled = quick(learn_labels=True, ipc=2, max_iter=2).fit(*images).distilled_
    first = np.tile([[0.5, -0.5], [-0.5, 0.5]], (2, 1))
    assert distilled.recipe.loss == "mse"
    # Two steps of Adam: each moves a label by the learning rate at most.
    assert 0 < abs(distilled.y - first).max() < 2.1 * 0.04
    assert distilled.hard_labels().tolist() == [0, 1, 0, 1]
    assert quick().fit(*images).distilled_.recipe.loss == "cross-entropy"


def test_an_augmented_run_goes_on_bit_for_bit(images, tmp_path):
    make = partial(quick, learn_labels=True, batch_size=8, augmentation="flip_rotate")
    tools.check_same_bits_after("checkpoint", make, images, tmp_path, first=2)


def test_a_checkpoint_of_another_kernel_is_refused(images, tmp_path):
    quick(checkpoint=tmp_path / "run").fit(*images)
    with pytest.raises(ValueError, match="depth must be 1"):
        quick(checkpoint=tmp_path / "run", depth=2).fit(*images)


def test_a_basis_of_images_has_images(images):
    basis = quick(parametrization=LinearBasis(3), ipc=2, init="gaussian").fit(*images)
    assert basis.distilled_.bases[0].basis.shape == (3, 6, 6)


def test_classes_count_the_same_and_weights_count_within_them():
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1], [25, 5])
    X = rng.normal(size=(30, 3)) + y[:, None]

    def loss(X, y, weight=None, **options):
        # One step from what does not depend on the number of samples.
        distiller = quick(init=start, max_iter=1, **options)
        return distiller.fit(X, y, sample_weight=weight).history_["loss"][0]

    start = quick(max_iter=1).fit(X, y).distilled_
    both = [loss(X, y, class_weight={c: 1e-9}) for c in (0, 1)]
    assert sum(both) == pytest.approx(loss(X, y), rel=1e-5)
    assert loss(X, y, class_weight="balanced") == loss(X, y)
    weight = rng.integers(1, 4, size=30)
    repeated = loss(X.repeat(weight, axis=0), y.repeat(weight))
    assert loss(X, y, weight) == pytest.approx(repeated, rel=1e-5)
    assert loss(X, y) != pytest.approx(repeated, rel=1e-2)


def wrong_network(shape, n_classes):
    return nn.Linear(shape[0], n_classes + 1)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"batch_size": 2}, "batch_size=2 must be at least 3, one real sample of each class"),
        ({"batch_size": 0}, "'batch_size' parameter"),
        ({"kernel": "rbf"}, "'kernel' parameter"),
        ({"depth": -1}, "'depth' parameter"),
        ({"depth": True}, "'depth' parameter"),
        ({"weight_std": 0}, "'weight_std' parameter"),
        ({"weight_std": float("nan")}, "'weight_std' parameter"),
        ({"bias_std": -0.1}, "'bias_std' parameter"),
        ({"regularization": -1e-6}, "'regularization' parameter"),
        ({"regularization": float("inf")}, "'regularization' parameter"),
        ({"inner_architecture": "mlp"}, "inner_architecture must be None: KIPDistiller distills"),
        ({"architecture": wrong_network}, "architecture must build a network with output"),
    ],
    ids=tools.label,
)
def test_bad_parameters_are_refused_before_work(outer_step, parameters, message):
    outer_step.refuse()
    with pytest.raises(ValueError, match=message):
        quick(**parameters).fit(*load_iris(return_X_y=True))


def test_labels_that_mean_probabilities_are_no_start(images):
    soft = tools.quick(RaTBPTTDistiller, learn_labels=True).fit(*images).distilled_
    with pytest.raises(ValueError, match="labels that networks learn by 'mse'"):
        quick(learn_labels=True, init=soft).fit(*images)


def test_a_forecast(images):
    forecast = quick(ipc=4).estimate(*images, n_steps=1)
    half = quick(ipc=2).estimate(*images, n_steps=1)
    assert forecast.memory.activations == 2 * half.memory.activations
    assert forecast.memory.states == 4 * half.memory.states
    assert "batch_size" in forecast.advice
