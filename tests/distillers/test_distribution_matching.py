"""Distribution matching: the objective against other ways to compute it, and the distiller."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import tools
import torch
from sklearn.base import clone
from tools import a_problem
from torch import nn
from torch.func import functional_call

from skdistill import BoostedDistiller, DistributionMatchingDistiller
from skdistill._engine.learner import Learner
from skdistill._engine.methods.base import Synthetic
from skdistill._engine.methods.matching import DistributionMatching, Embedding
from skdistill._engine.rows import ClassRows
from skdistill._engine.siamese import class_draws
from skdistill._engine.streams import Streams
from skdistill.augmentation import Compose, Rotation, check_augmentation
from skdistill.networks import ConvNet

SHAPE = (1, 8, 8)
quick = partial(tools.quick, DistributionMatchingDistiller)


def matching_of(learner, X, y, weight=None, batch_size=1000, chunk=None, augmentation=None, ipc=2):
    """Return the method, and the problem of these real samples."""
    problem = a_problem(
        X, y, ipc, learner, weight, chunk=chunk, augmentation=check_augmentation(augmentation)
    )
    rows = [np.flatnonzero(y.numpy() == c) for c in range(problem.rows.n_classes)]
    return DistributionMatching(Embedding(learner, problem.shape), rows, batch_size), problem


def gradients(matching, X_syn, step, y=None):
    """Return the gradient of an outer step for samples in rounds of one of each class."""
    method, problem = matching
    rows = ClassRows(problem.rows.n_classes, len(X_syn) // problem.rows.n_classes)
    synthetic = Synthetic(X_syn, rows.labels() if y is None else y)
    found, state = method.gradient(replace(problem, rows=rows), synthetic, {}, step)
    assert (state, found.record) == ({}, {})
    return found


def gradient(matching, X_syn, step):
    """Return loss and gradient for samples with hard labels."""
    found = gradients(matching, X_syn, step)
    assert found.y is None
    return found.loss, found.X


@pytest.fixture
def problem():
    """Return 20 real images of three classes, their weights, and two synthetic ones per class."""
    draw = partial(torch.randn, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    X, X_syn, weight = draw(20, *SHAPE), draw(6, *SHAPE), draw(20).abs()
    return X, torch.arange(20) % 3, weight, X_syn


# --- the objective ----------------------------------------------------------------------------


def test_by_hand():
    # The embedding of a linear classifier is the sample itself.
    learner = Learner(lambda: nn.Linear(2, 2), dtype=torch.float64)
    X = torch.tensor([[0.0, 0.0], [2.0, 4.0], [1.0, 1.0], [5.0, 5.0], [3.0, 0.0]]).double()
    y = torch.tensor([0, 0, 1, 1, 1])
    X_syn = torch.tensor([[1.0, 0.0], [0.0, 2.0], [3.0, 2.0], [4.0, 6.0]]).double()
    # Synthetic means (2, 1) and (2, 4), real means (1, 2) and (3, 2).
    loss, grad = gradient(matching_of(learner, X, y), X_syn, 0)
    assert loss.item() == pytest.approx(1 + 1 + 1 + 4, rel=1e-12)
    expected = torch.tensor([[1.0, -1.0], [-1.0, 2.0]] * 2).double()
    torch.testing.assert_close(grad, expected, rtol=1e-12, atol=0)
    # With weights the real means are (0.5, 1) and (3, 1.5).
    weight = torch.tensor([3.0, 1.0, 1.0, 1.0, 2.0])
    loss, grad = gradient(matching_of(learner, X, y, weight), X_syn, 0)
    assert loss.item() == pytest.approx(2.25 + 0 + 1 + 6.25, rel=1e-12)
    expected = torch.tensor([[1.5, 0.0], [-1.0, 2.5]] * 2).double()
    torch.testing.assert_close(grad, expected, rtol=1e-12, atol=1e-12)


def by_autograd(learner, theta, X, y, weight, X_syn):
    """Return loss and gradient from the network without its last layer, class by class."""
    body = nn.Sequential(*list(learner.module)[:-1])
    names = dict(body.named_parameters())
    parameters = {k: v for k, v in learner.parameters(theta).items() if k in names}
    embed = partial(functional_call, body, parameters)
    X_syn = X_syn.clone().requires_grad_()
    loss = 0
    for c in range(3):
        share = (weight[y == c] / weight[y == c].sum())[:, None]
        real = (share * embed((X[y == c],))).sum(dim=0)
        loss = loss + (embed((X_syn[c::3],)).mean(dim=0) - real).square().sum()
    return loss, torch.autograd.grad(loss, X_syn)[0]


@pytest.mark.parametrize("chunk", [None, 1, 4, 7])
@pytest.mark.parametrize("weighted", [False, True])
def test_equals_autograd(learner, problem, weighted, chunk):
    X, y, weight, X_syn = problem
    matching = matching_of(learner, X, y, weight if weighted else None, chunk=chunk)
    loss, grad = gradient(matching, X_syn, 4)
    theta = learner.init(Streams(0).integer("network", 4))
    weight = weight if weighted else torch.ones_like(weight)
    expected, expected_grad = by_autograd(learner, theta, X, y, weight, X_syn)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-9)
    assert expected_grad.norm() > 1e-3
    assert (grad - expected_grad).norm() < 1e-9 * expected_grad.norm()


@pytest.mark.parametrize("augmentation", [None, "dsa", "flip_rotate"])
def test_gradient_equals_finite_differences(learner, problem, augmentation):
    X, y, weight, X_syn = problem
    matching = matching_of(learner, X, y, weight, batch_size=4, chunk=5, augmentation=augmentation)
    grad = gradient(matching, X_syn, 2)[1]
    generator = torch.Generator().manual_seed(2)
    for _ in range(3):
        direction = torch.randn(X_syn.shape, generator=generator, dtype=torch.float64)
        above, below = (gradient(matching, X_syn + e * direction, 2)[0] for e in (1e-6, -1e-6))
        assert ((above - below) / 2e-6).item() == pytest.approx(
            (grad * direction).sum().item(), rel=1e-5, abs=1e-7
        )


# --- soft labels ------------------------------------------------------------------------------


@pytest.mark.parametrize("augmentation", [None, "flip_rotate"])
def test_one_hot_labels_are_hard_labels(learner, problem, augmentation):
    X, y, weight, X_syn = problem
    matching = matching_of(learner, X, y, weight, augmentation=augmentation)
    one_hot = torch.eye(3, dtype=torch.float64).repeat(2, 1)
    found = gradients(matching, X_syn, 1, one_hot)
    loss, grad, y_grad = found.loss, found.X, found.y
    expected, expected_grad = gradient(matching, X_syn, 1)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-9)
    assert (grad - expected_grad).norm() < 1e-9 * expected_grad.norm()
    assert y_grad.shape == one_hot.shape


def test_soft_labels_by_hand():
    # Embeddings are the samples: 1 and 4. Class means (1 + 0) / 1 and (1 * 1 + 3 * 4) / 4.
    learner = Learner(lambda: nn.Linear(1, 2), dtype=torch.float64)
    X, y = torch.tensor([[0.0], [3.0]]).double(), torch.tensor([0, 1])
    X_syn = torch.tensor([[1.0], [4.0]]).double()
    labels = torch.tensor([[1.0, 1.0], [0.0, 3.0]]).double()
    found = gradients(matching_of(learner, X, y), X_syn, 0, labels)
    loss, X_grad, y_grad = found.loss, found.X, found.y
    assert loss.item() == pytest.approx(1**2 + 0.25**2)
    expected = [[2 + 2 * 0.25 * 0.25], [2 * 0.25 * 0.75]]
    torch.testing.assert_close(X_grad, torch.tensor(expected).double())
    # d(mean) / d(label) is (sample - mean) / sum of the class's labels.
    expected = [[2 * (1 - 1), 0.5 * (1 - 3.25) / 4], [2 * (4 - 1), 0.5 * (4 - 3.25) / 4]]
    torch.testing.assert_close(y_grad, torch.tensor(expected).double())


def test_a_class_without_labels_has_finite_gradients(learner, problem):
    X, y, _, X_syn = problem
    labels = torch.eye(3, dtype=torch.float64).repeat(2, 1)
    labels[:, 1] = 0
    found = gradients(matching_of(learner, X, y), X_syn, 0, labels)
    assert all(torch.isfinite(value).all() for value in (found.loss, found.X, found.y))


class Spy:
    """Real data that records the rows that were requested."""

    def __init__(self, data):
        self.data, self.rows = data, []

    def batch(self, rows):
        self.rows += rows.tolist()
        return self.data.batch(rows)


def batch_and_loss(matching, X_syn, step):
    method, problem = matching
    spy = Spy(problem.real)
    loss = gradient((method, replace(problem, real=spy)), X_syn, step)[0].item()
    return spy.rows, loss


def test_every_step_draws_a_network_and_a_batch_of_each_class(learner, problem):
    X, y, weight, X_syn = problem
    make = partial(matching_of, learner, X, y, weight, chunk=4)
    matching = make(batch_size=5)
    steps = {step: batch_and_loss(matching, X_syn, step) for step in (0, 1, 7)}
    for rows, _ in steps.values():
        assert np.bincount(y[rows]).tolist() == [5, 5, 5]
        assert len(set(rows)) == 15
    assert len({tuple(sorted(rows)) for rows, _ in steps.values()}) == 3
    # A function only of the step: another object and another order give the same bits.
    again = make(batch_size=5)
    assert {step: batch_and_loss(again, X_syn, step) for step in (7, 0, 1)} == steps
    # Networks differ even where all samples are used.
    everything = make(batch_size=7)
    assert len({batch_and_loss(everything, X_syn, step)[1] for step in range(3)}) == 3


def test_a_class_with_fewer_samples_uses_all(learner, problem):
    X, _, _, X_syn = problem
    y = torch.tensor([0] * 2 + [1] * 3 + [2] * 15)
    rows, _ = batch_and_loss(matching_of(learner, X, y, batch_size=4), X_syn, 0)
    assert np.bincount(y[rows]).tolist() == [2, 3, 4]
    assert {0, 1, 2, 3, 4} <= set(rows)


# --- augmentation -----------------------------------------------------------------------------


@pytest.mark.parametrize("augmentation", ["dsa", "flip_rotate", Rotation(90.0)])
def test_augmentation_is_siamese(learner, problem, augmentation):
    X = problem[0][:18]
    matching = matching_of(learner, X, torch.arange(18) % 3, chunk=7, augmentation=augmentation)
    for step in range(5):
        # The real samples themselves: the distance is 0 if both sides get the same augmentation.
        loss, grad = gradient(matching, X, step)
        assert loss < 1e-20
        assert grad.norm() < 1e-10
        assert gradient(matching, X.flip(-1), step)[0] > 1e-3


def test_each_sample_is_augmented_as_its_class(learner, problem):
    X, y, _, X_syn = problem
    matching = matching_of(learner, X, y, chunk=7, augmentation=Rotation(90.0))
    _, problem = matching
    draws = class_draws(problem, 3)
    turn = problem.augmentation.apply
    turned = matching_of(learner, turn(X, draws[:, y]), y)
    expected = gradient(turned, turn(X_syn, draws.repeat(1, 2)), 3)[0].item()
    assert gradient(matching, X_syn, 3)[0].item() == pytest.approx(expected, rel=1e-9)


def test_each_class_and_step_has_its_augmentation(learner, problem):
    X, y, _, _ = problem
    _, problem = matching_of(learner, X, y, augmentation=Rotation(15.0))
    draws = [class_draws(problem, step) for step in (0, 1, 0)]
    assert draws[0].shape == (1, 3)
    assert len(set(torch.cat(draws[:2]).flatten().tolist())) == 6
    assert torch.equal(draws[0], draws[2])
    # With several augmentations, too, each class draws its own.
    _, problem = matching_of(learner, X, y, augmentation="dsa")
    draws = torch.stack([class_draws(problem, step) for step in range(10)])
    blocks = (draws != problem.augmentation.identity(3, SHAPE)).split([3, 2, 1, 1, 2, 2], dim=1)
    used = torch.stack([block.any(dim=1) for block in blocks])  # (augmentations, steps, classes)
    assert (used.sum(dim=0) <= 1).all()
    assert (used.any(dim=2).sum(dim=0) > 1).any()


# --- the embedding ----------------------------------------------------------------------------


class HeadFirst(nn.Module):
    """Declares the layer that it calls last before the others, under another name."""

    def __init__(self):
        super().__init__()
        self.scores = nn.Linear(4, 3)
        self.body = nn.Linear(64, 4)

    def forward(self, X):
        return self.scores(self.body(X.flatten(1)).tanh()).log_softmax(dim=1)


def test_the_last_layer_is_the_one_called_last():
    learner = Learner(HeadFirst, dtype=torch.float64)
    embed, X = Embedding(learner, SHAPE), torch.randn(5, *SHAPE, dtype=torch.float64)
    theta, other = learner.init(0), learner.init(1)
    p = learner.parameters(theta)
    expected = (X.flatten(1) @ p["body.weight"].T + p["body.bias"]).tanh()
    torch.testing.assert_close(embed(theta, X), expected)
    assert not torch.allclose(embed(other, X), expected)
    torch.testing.assert_close(embed(theta, X), expected)


def test_the_embedding_leaves_no_hook(learner):
    embed = Embedding(learner, SHAPE)
    embed(learner.init(0), torch.zeros(2, *SHAPE, dtype=torch.float64))
    with pytest.raises(RuntimeError):
        embed(learner.init(0), torch.zeros(2, 5, 5, 5, dtype=torch.float64))
    assert not any(m._forward_pre_hooks for m in learner.module.modules())


def convolutional(shape, n_classes):
    return nn.Sequential(nn.Conv2d(1, n_classes, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())


def gated(shape, n_classes):
    """Ends in a convolution; the last linear layer is in the middle."""
    gate = nn.Sequential(nn.Flatten(), nn.Linear(36, 36), nn.Unflatten(1, (1, 6, 6)))
    return nn.Sequential(gate, *convolutional(shape, n_classes))


@pytest.mark.parametrize(
    ("architecture", "found"), [(convolutional, "is None"), (gated, r"is Linear\(in_features=36")]
)
def test_a_network_must_end_in_a_linear_layer(images, outer_step, architecture, found):
    outer_step.refuse()
    with pytest.raises(ValueError, match=r"ends in a linear layer .* with 2 outputs.*" + found):
        quick(architecture=architecture).fit(*images)


@pytest.mark.parametrize(("norm", "coupled"), [("batch", True), ("instance", False)])
def test_networks_that_couple_samples_see_whole_batches(images, monkeypatch, norm, coupled):
    monkeypatch.setattr("skdistill._run.problem.chunk_size", lambda *args: 4)
    sizes, call = [], Embedding.__call__
    monkeypatch.setattr(
        Embedding, "__call__", lambda *args: sizes.append(len(args[2])) or call(*args)
    )
    quick(ipc=3, max_iter=1, architecture=partial(ConvNet, norm=norm)).fit(*images)
    assert sizes == ([40, 6] if coupled else [4] * 10 + [3, 3])


# --- the distiller ----------------------------------------------------------------------------


def test_what_comes_out(images):
    X, y = images
    y = np.array(["down", "up"])[y]
    distiller = quick(ipc=2).fit(X, y)
    X_syn, y_syn = distiller.transform()
    assert X_syn.shape == (4, 6, 6)
    assert y_syn.tolist() == ["down", "up"] * 2
    assert distiller.n_iter_ == 3
    assert set(distiller.history_) == {"loss", "grad_norm", "clip_level", "skipped", "seconds"}
    assert distiller.distilled_.provenance["method"] == "DistributionMatchingDistiller"
    assert 0 <= distiller.score(X, y) <= 1


def test_the_loss_falls(images):
    # The networks differ from step to step, so compare many: 50 steps halve the loss.
    losses = quick(max_iter=60, init="gaussian", architecture="mlp").fit(*images).history_["loss"]
    assert np.mean(losses[50:]) < 0.5 * np.mean(losses[:10])


@pytest.mark.parametrize("augmentation", [None, "dsa"])
def test_same_random_state_same_bits(images, augmentation):
    X, y = images
    make = partial(quick, ipc=2, batch_size=8, augmentation=augmentation)
    numpy_before, torch_before = np.random.get_state()[1], torch.get_rng_state()  # noqa: NPY002
    first, second = make().fit(X, y), make().fit(X, y)
    np.testing.assert_array_equal(np.random.get_state()[1], numpy_before)  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), torch_before)
    np.testing.assert_array_equal(first.transform()[0], second.transform()[0])
    assert first.history_["loss"] == second.history_["loss"]
    other = make(random_state=1).fit(X, y)
    assert first.history_["loss"][0] != other.history_["loss"][0]


def test_an_augmented_run_goes_on_bit_for_bit(images, tmp_path):
    make = partial(quick, ipc=2, batch_size=8, augmentation="dsa", max_iter=5)
    whole = tools.check_same_bits_after("warm start", make, images, tmp_path, first=2)
    first = make(max_iter=2).fit(*images)
    assert abs(whole.transform()[0] - first.transform()[0]).max() > 1e-3


@pytest.mark.parametrize("init", ["gaussian", "real", "kmeans"])
def test_strong_boosting_leaves_earlier_blocks_bit_for_bit(images, init):
    distiller = quick(init=init, batch_size=8)
    make = partial(BoostedDistiller, block_size=1, distiller=distiller, random_state=0)
    long = make(ipc=3).fit(*images)
    for budget in (1, 2):
        short = make(ipc=budget).fit(*images)
        np.testing.assert_array_equal(long.transform(ipc=budget)[0], short.transform()[0])
    assert len(np.unique(long.transform()[0].reshape(6, -1), axis=0)) == 6
    grown = make(ipc=1, warm_start=True).fit(*images).set_params(ipc=3).fit(*images)
    np.testing.assert_array_equal(grown.transform()[0], long.transform()[0])


def test_a_fixed_sample_still_counts(images):
    X, y = images
    first = quick().fit(X, y).distilled_
    fit = partial(clone(quick(ipc=2, init="gaussian")).fit, X, y)
    fresh = fit(start=first, learning_rate_factors=[0, 1]).transform()[0]
    np.testing.assert_array_equal(fresh[:2], first.X)
    moved = fit(start=first, learning_rate_factors=[0, 0]).transform()[0]
    assert abs(fresh[2:] - moved[2:]).max() > 1e-2


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"batch_size": 0}, "'batch_size' .* int in the range"),
        ({"augmentation": "mixup"}, "'augmentation' .* Got 'mixup'"),
        ({"augmentation": Compose([])}, "steps of Compose must be a list of one or more"),
        ({"augmentation": Rotation(degrees=200)}, "'degrees' .* Got 200"),
        ({"init": "zeros"}, "'init' parameter .* Got 'zeros'"),
        ({"ipc": 21}, "ipc=21 must be at most 20"),
        ({"outer_optimizer": "adamw"}, "'outer_optimizer' parameter .* Got 'adamw'"),
        ({"outer_optimizer": "sgd"}, "learning_rate='auto' must be a number with outer_opt.*1 in"),
        ({"n_iter_no_change": 3}, "must come with a validation_fraction"),
    ],
)
def test_bad_parameters(images, outer_step, parameters, message):
    outer_step.refuse()
    with pytest.raises(ValueError, match=message):
        quick(**parameters).fit(*images)


def test_augmentation_needs_images(images):
    X, y = images
    # fit calls it first, and BoostedDistiller before its first block.
    with pytest.raises(ValueError, match=r"needs images .* got samples of shape \(36,\)"):
        quick(augmentation="dsa").check_input(X.reshape(40, -1), y)
