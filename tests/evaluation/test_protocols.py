"""Protocols: what they may say, what each paper's says, and networks trained by them."""

import pickle
import re
from dataclasses import fields, replace
from functools import partial

import joblib
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tools import LAYOUTS, make, quick, tiny
from torch import nn

from skdistill import BoostedDistiller
from skdistill._engine.ensemble import Plan
from skdistill._engine.protocols import largest_stable_rate, protocol_optimizer
from skdistill._engine.streams import Streams
from skdistill.augmentation import Flip
from skdistill.distilled import DistilledDataset, TrainingProtocol
from skdistill.distilled import _dataset as distilled_module
from skdistill.evaluation import PROTOCOLS, EvaluationProtocol, evaluate, paper_protocol
from skdistill.evaluation._networks import (
    network_family,
    train_networks,
    training_samples,
)
from skdistill.evaluation._papers import under
from skdistill.exceptions import DivergenceWarning
from skdistill.networks import MLP, ConvNet

SHORT = EvaluationProtocol(steps=6, architecture=tiny, augmentation=None, n_networks=2)


@pytest.fixture
def data():
    """Return a set of six gray images in three classes, not augmented."""
    made = make()
    return replace(made, recipe=replace(made.recipe, augmentation=None, n_networks=2))


@pytest.fixture
def soft(data):
    """Return the set with labels that are negative and do not sum to one."""
    y = np.random.default_rng(1).normal(size=(6, 3)).astype(np.float32)
    return replace(data, y=y, recipe=replace(data.recipe, loss="mse"))


@pytest.fixture
def unseen(data):
    """Return test samples of the three classes."""
    rng = np.random.default_rng(2)
    scale, mean = (np.array(v)[:, None] for v in (data.recipe.scale, data.recipe.mean))
    X = rng.normal(size=(30, 4, 3)) * scale + mean
    return X, data.classes[np.arange(30) % 3]


def trained(data, protocol, n_steps=None, network=0):
    """Return the parameters of a network before and after its training, and what trained it."""
    data = under(data, protocol)
    family = network_family(data, protocol.architecture, "cpu", None)
    training = training_samples(family, data)
    steps = [1, protocol.steps] if n_steps is None else n_steps
    *_, (_, _, theta) = train_networks(family, training, [network], steps)
    return family.learner, training, theta


def by_torch(learner, training, theta, n_steps, loss, make_optimizer, make_schedule=None):
    """Return the parameters after steps of torch's own optimizer and schedule."""
    theta = theta.clone().requires_grad_()
    optimizer = make_optimizer([theta])
    schedule = None if make_schedule is None else make_schedule(optimizer)
    for _ in range(n_steps):
        optimizer.zero_grad()
        loss(learner.logits(theta, training.X), training.y).backward()
        optimizer.step()
        if schedule is not None:
            schedule.step()
    return theta.detach()


def initial(learner, training):
    return learner.init(Streams(training.seed).integer("evaluation_network", 0))


def half_squared_error(scores, y):
    return (scores - y).square().sum(dim=1).mean() / 2


# What networks learn, and how --------------------------------------------------------------------


def test_sgd_with_momentum_decay_and_milestones_is_torchs(data):
    protocol = replace(
        SHORT, steps=10, optimizer="sgd", learning_rate=0.1, momentum=0.9, weight_decay=0.01,
        schedule="step", milestones=(0.3, 0.7), gamma=0.2,
    )  # fmt: skip
    learner, training, theta = trained(data, protocol)
    expected = by_torch(
        learner, training, initial(learner, training), 10, F.cross_entropy,
        partial(torch.optim.SGD, lr=0.1, momentum=0.9, weight_decay=0.01),
        lambda optimizer: torch.optim.lr_scheduler.MultiStepLR(optimizer, [3, 7], gamma=0.2),
    )  # fmt: skip
    torch.testing.assert_close(theta, expected, rtol=1e-4, atol=1e-5)


def test_adam_with_warmup_and_cosine_on_squared_error_is_torchs(soft):
    protocol = replace(
        SHORT, steps=12, learning_rate=0.01, loss="mse", schedule="cosine", warmup_steps=4,
        final_factor=0.1,
    )  # fmt: skip
    learner, training, theta = trained(soft, protocol)
    rates = [0, 0.25, 0.5, 0.75]
    rates += [0.1 + 0.9 * (1 + np.cos(np.pi * k / 8)) / 2 for k in range(9)]
    expected = by_torch(
        learner, training, initial(learner, training), 12, half_squared_error,
        partial(torch.optim.Adam, lr=0.01),
        lambda optimizer: torch.optim.lr_scheduler.LambdaLR(optimizer, rates.__getitem__),
    )  # fmt: skip
    assert (training.y < 0).any()
    torch.testing.assert_close(theta, expected, rtol=1e-4, atol=1e-5)


def test_the_default_protocol_has_the_bits_of_the_recipe(data, unseen):
    recipe = replace(data.recipe, architecture="mlp")
    data = replace(data, recipe=recipe)
    same = EvaluationProtocol(steps=30, n_networks=2)
    by_recipe = evaluate(data, *unseen)
    np.testing.assert_array_equal(evaluate(data, *unseen, protocol=same).curve, by_recipe.curve)
    np.testing.assert_array_equal(evaluate(data, *unseen, protocol="recipe").curve, by_recipe.curve)
    assert type(protocol_optimizer(same, 30)).__name__ == "Adam"


@pytest.mark.parametrize(
    ("targets", "scale", "labels", "expected"),
    [
        ("given", 1, "hard", [0, 2]),
        ("given", 2, "hard", [[2, 0, 0], [0, 0, 2]]),
        ("centered", 1, "hard", [[2 / 3, -1 / 3, -1 / 3], [-1 / 3, -1 / 3, 2 / 3]]),
        ("centered", 3, "hard", [[2, -1, -1], [-1, -1, 2]]),
        ("given", 1, "soft", [[-1, 0.5, 0.25], [0, 0, 1]]),
        ("centered", 2, "soft", [[-2, 1, 0.5], [0, 0, 2]]),
        ("hard", 1, "soft", [1, 2]),
        ("hard", 1, "hard", [0, 2]),
        ("softmax", 1, "soft", torch.tensor([[-1, 0.5, 0.25], [0, 0, 1.0]]).softmax(1).tolist()),
        ("softmax", 1, "hard", [0, 2]),
    ],
)
def test_targets(data, targets, scale, labels, expected):
    y = np.array([[-1, 0.5, 0.25], [0, 0, 1]]) if labels == "soft" else data.classes[[0, 2]]
    data = replace(data, X=data.X[:2], y=y)
    protocol = replace(SHORT, targets=targets, label_scale=float(scale), loss="mse")
    data = under(data, protocol)
    y = training_samples(network_family(data, tiny, "cpu"), data).y
    torch.testing.assert_close(y, torch.tensor(expected), check_dtype=False)
    assert y.is_floating_point() == (torch.tensor(expected).ndim == 2)


@pytest.mark.parametrize("loss", ["mse", "cross-entropy"])
def test_initial_scores_are_subtracted(data, unseen, loss):
    protocol = replace(SHORT, optimizer="sgd", learning_rate=0.1, loss=loss, subtract_initial=True)
    learner, training, theta = trained(data, protocol)
    plain = network_family(data, tiny, "cpu", None).learner
    first = initial(plain, training)
    n = plain.n_parameters
    # The initial parameters stay as they are, next to the trained ones.
    torch.testing.assert_close(theta[n:], first, rtol=0, atol=0)
    assert float(learner.logits(torch.cat((first, first)), training.X).abs().max()) == 0

    def distance(scores, y):
        scores = scores - plain.logits(first, training.X)
        if loss == "mse":
            return half_squared_error(scores, F.one_hot(y, 3))
        return F.cross_entropy(scores, y)

    expected = by_torch(plain, training, first, 6, distance, partial(torch.optim.SGD, lr=0.1))
    torch.testing.assert_close(theta[:n], expected, rtol=1e-4, atol=1e-5)
    # Also where each thread has a network of its own.
    alone = evaluate(data, *unseen, protocol=protocol)
    with joblib.parallel_config("threading", n_jobs=2):
        spread = evaluate(data, *unseen, protocol=protocol)
    np.testing.assert_array_equal(alone.curve, spread.curve)


def test_a_chain_of_layers_without_initial_scores_is_not_taken_for_the_chain(data):
    # The rules for chains know cross-entropy, and would leave out what is subtracted.
    narrow = partial(ConvNet, width=4)
    protocol = replace(SHORT, architecture=narrow, optimizer="sgd", learning_rate=0.5, steps=3)
    shifted = replace(protocol, subtract_initial=True)
    n = network_family(data, narrow, "cpu").learner.n_parameters
    assert not torch.allclose(trained(data, protocol)[2], trained(data, shifted)[2][:n])


def test_the_largest_stable_rate_is_where_gradient_descent_stops_to_diverge(soft):
    linear = partial(_linear)
    family = network_family(soft, linear, "cpu", None)
    training = training_samples(family, soft)
    theta = family.learner.init(0)
    rate = largest_stable_rate(family.learner, theta, training.X)
    # The kernel of a linear network: products of samples.
    X = torch.cat((training.X.flatten(1), torch.ones(6, 1)), dim=1)
    largest = torch.linalg.eigvalsh(X @ X.T)[-1]
    assert rate == pytest.approx(2 * 6 / float(largest), rel=1e-3)
    for factor, diverges in ((0.95, False), (1.1, True)):
        protocol = replace(
            SHORT, steps=200, optimizer="sgd", loss="mse", architecture=linear,
            learning_rate=factor * rate,
        )  # fmt: skip
        size = float(trained(soft, protocol)[2].abs().max())
        assert (size > 1e4) == diverges


def _linear(shape, n_classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(12, n_classes))


def test_a_stable_rate_is_that_of_samples_from_all_over_the_set(soft):
    learner = network_family(soft, partial(_linear), "cpu", None).learner
    generator = torch.Generator().manual_seed(0)
    X = torch.randn(500, 3, 2, 2, generator=generator)
    # Sorted: the last class has large samples, so that gradient descent soon diverges.
    X[450:] *= 100
    rate = largest_stable_rate(learner, learner.init(0), X)
    first = largest_stable_rate(learner, learner.init(0), X[:50])
    assert rate < first / 100


def test_a_stable_rate_is_that_of_the_first_network(soft, unseen):
    protocol = replace(SHORT, optimizer="sgd", loss="mse", learning_rate="stable", n_networks=3)
    result = evaluate(soft, *unseen, protocol=protocol)
    fewer = evaluate(soft, *unseen, protocol=protocol, n_networks=2)
    np.testing.assert_array_equal(result.curve[:2], fewer.curve)
    family = network_family(soft, tiny, "cpu", None)
    training = training_samples(family, soft)
    rate = largest_stable_rate(family.learner, initial(family.learner, training), training.X)
    _, _, theta = trained(soft, protocol, network=2)
    _, _, expected = trained(soft, replace(protocol, learning_rate=rate), network=2)
    torch.testing.assert_close(theta, expected, rtol=0, atol=0)


STACKED = {
    "subtracted": {
        "optimizer": "sgd", "learning_rate": 0.1, "loss": "mse", "subtract_initial": True,
        "schedule": "step", "label_scale": 2.0,
    },
    "cross-entropy, subtracted": {
        "optimizer": "sgd", "learning_rate": 0.1, "subtract_initial": True
    },
    "cosine": {"loss": "mse", "schedule": "cosine", "warmup_steps": 2},
    "stable": {"optimizer": "sgd", "momentum": 0.9, "loss": "mse", "learning_rate": "stable"},
}  # fmt: skip


@pytest.mark.parametrize("changes", STACKED.values(), ids=STACKED)
def test_networks_that_a_gpu_would_stack_follow_the_protocol(data, changes):
    data = under(data, replace(SHORT, **changes))
    family = network_family(data, tiny, "cpu", None)
    training = training_samples(family, data)
    alone, stacked = (
        [theta for *_, theta in train_networks(family, training, 3, [2, 6], plan=plan)]
        for plan in (Plan(), Plan(stack=3))
    )
    assert len(alone) == len(stacked) == 6
    torch.testing.assert_close(torch.stack(stacked), torch.stack(alone), rtol=1e-4, atol=1e-5)


def test_no_rate_is_stable_for_a_network_that_does_not_depend_on_its_parameters(soft, unseen):
    class Constant(nn.Module):
        def __init__(self, shape, n_classes):
            super().__init__()
            self.factor = nn.Parameter(torch.rand(1))

        def forward(self, X):
            return 0 * self.factor * X.flatten(1)[:, :3]

    protocol = replace(
        SHORT, optimizer="sgd", loss="mse", learning_rate="stable", architecture=Constant
    )
    with pytest.raises(ValueError, match="'stable' needs networks whose scores depend on their"):
        evaluate(soft, *unseen, protocol=protocol)


def test_cross_entropy_of_negative_labels_warns(soft, unseen):
    for targets, warns in (("given", True), ("hard", False), ("softmax", False)):
        protocol = replace(SHORT, targets=targets)
        if warns:
            with pytest.warns(UserWarning, match="of 6 soft labels have values below 0.*'mse'"):
                evaluate(soft, *unseen, protocol=protocol)
        else:
            evaluate(soft, *unseen, protocol=protocol)
    evaluate(soft, *unseen, architecture=tiny)  # its own recipe has squared error


def test_width_and_normalization_come_with_the_network(data, unseen):
    network = partial(ConvNet, width=4, norm="none")
    protocol = replace(SHORT, architecture=network)
    result = evaluate(data, *unseen, protocol=protocol)
    same = evaluate(data, *unseen, steps=6, architecture=network, augmentation=None)
    np.testing.assert_array_equal(result.curve, same.curve)


def test_the_augmentation_of_a_protocol(data, unseen):
    flipped = evaluate(data, *unseen, protocol=replace(SHORT, augmentation=Flip(p=1)))
    same = evaluate(data, *unseen, steps=6, architecture=tiny, augmentation=Flip(p=1))
    np.testing.assert_array_equal(flipped.curve, same.curve)
    recipes = replace(data, recipe=replace(data.recipe, augmentation={"class": "Flip", "p": 1.0}))
    followed = evaluate(recipes, *unseen, protocol=replace(SHORT, augmentation="recipe"))
    np.testing.assert_array_equal(followed.curve, same.curve)
    off = evaluate(recipes, *unseen, protocol=SHORT)
    np.testing.assert_array_equal(off.curve, evaluate(data, *unseen, protocol=SHORT).curve)


# What a protocol may say --------------------------------------------------------------------------

BAD = {
    "steps": ({"steps": 0}, "steps must be an integer from 1 to 10,000,000; got 0"),
    "rate": ({"learning_rate": "fast"}, "learning_rate must be a positive number .* or 'stable'"),
    "loss": ({"loss": "hinge"}, "loss must be 'cross-entropy' or 'mse'; got 'hinge'"),
    "optimizer": ({"optimizer": "lion"}, "optimizer must be 'adam' or 'sgd'; got 'lion'"),
    "schedule": ({"schedule": "linear"}, "schedule must be 'constant', 'cosine' or 'step'"),
    "momentum": (
        {"optimizer": "sgd", "momentum": 1.0},
        "momentum must be a number from 0 to",
    ),
    "milestones": (
        {"schedule": "step", "milestones": (0.7, 0.3)},
        "milestones must be ascending numbers between 0 and 1",
    ),
    "no milestone": ({"schedule": "step", "milestones": ()}, "milestones must be ascending"),
    "whole milestones": ({"schedule": "step", "milestones": [5, 9]}, "milestones must be ascend"),
    "gamma": ({"schedule": "step", "gamma": 2.0}, "gamma must be a number from above 0 to 1"),
    "final": ({"schedule": "cosine", "final_factor": -1.0}, "final_factor must be a number from 0"),
    "targets": ({"targets": "one-hot"}, "targets must be 'given', 'centered', 'hard' or 'softmax'"),
    "n_networks": ({"n_networks": 0}, "n_networks must be an integer from 1"),
    "initial": ({"subtract_initial": 1}, "subtract_initial must be True or False; got 1"),
    "Adam's momentum": ({"momentum": 0.9}, "momentum=0.9 has a meaning only with optimizer='sgd'"),
    "milestones of cosine": (
        {"schedule": "cosine", "milestones": (0.3,)},
        r"milestones=\(0.3,\) has a meaning only with schedule='step'",
    ),
    "gamma of none": ({"gamma": 0.5}, "gamma=0.5 has a meaning only with schedule='step'"),
    "final of none": ({"final_factor": 0.5}, "final_factor=0.5 .* only with schedule='cosine'"),
    "scale": ({"label_scale": 2.0}, "label_scale=2.0 has a meaning only with loss='mse'"),
    "warm-up": ({"warmup_steps": 6}, "warmup_steps=6 must be less than steps=6"),
    "centered": ({"targets": "centered"}, "targets='centered' needs loss='mse'.*cross-entropy has"),
    "stable": ({"learning_rate": "stable"}, "'stable' needs loss='mse' and optimizer='sgd'"),
    "decay of scores": (
        {"subtract_initial": True, "weight_decay": 0.1},
        "weight_decay=0.1 must be 0 with subtract_initial=True",
    ),
}


@pytest.mark.parametrize(("change", "message"), BAD.values(), ids=BAD)
def test_what_a_protocol_cannot_say(change, message):
    with pytest.raises(ValueError, match=message):
        replace(SHORT, **change)


def test_numpys_numbers_are_taken():
    protocol = EvaluationProtocol(
        np.int64(5), np.float32(0.5), schedule="step", milestones=np.array([0.25, 0.5]).tolist()
    )
    assert protocol == EvaluationProtocol(5, 0.5, schedule="step", milestones=(0.25, 0.5))
    assert type(protocol.steps) is int


def test_a_recipe_says_all_that_training_can():
    recipe = {f.name: f.default for f in fields(distilled_module.EvaluationRecipe)}
    for field in fields(TrainingProtocol):
        if field.name != "steps":
            assert recipe[field.name] == field.default, field.name


def test_a_recipe_that_contradicts_itself_is_not_saved(data, tmp_path):
    recipe = replace(data.recipe, warmup_steps=30)
    with pytest.raises(ValueError, match=r"recipe\.warmup_steps=30 must be less than steps=30"):
        replace(data, recipe=recipe).save(tmp_path / "set.npz")


def test_a_recipe_with_a_protocol_is_saved_and_described(soft, unseen, tmp_path):
    recipe = replace(
        soft.recipe, architecture="mlp", optimizer="sgd", learning_rate=0.01, momentum=0.9,
        weight_decay=5e-4, schedule="step", milestones=(0.25, 0.75), targets="centered",
        label_scale=2.0, warmup_steps=2,
    )  # fmt: skip
    data = replace(soft, recipe=recipe)
    data.save(tmp_path / "set.npz")
    loaded = DistilledDataset.load(tmp_path / "set.npz")
    assert loaded.recipe == recipe
    np.testing.assert_array_equal(evaluate(loaded, *unseen).curve, evaluate(data, *unseen).curve)
    assert (
        "30 steps of SGD with learning rate 0.01, momentum 0.9, weight decay 0.0005, 0.1 times it "
        "after 0.25, 0.75 of the steps, 2 steps of warm-up, squared error, labels times 2, "
        "centered labels, no augmentation"
    ) in re.sub(r"\\(.)", r"\1", data.card())


# Contradictions and names -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"steps": 3},
            r"steps must not be given beside protocol.*\(6\).*protocol, steps=",
        ),
        ({"architecture": "mlp"}, "architecture must not be given beside protocol"),
        ({"augmentation": None}, r"augmentation must not be given beside protocol.*\(None\)"),
        ({"protocol": "dsac"}, "protocol must be 'recipe', an Eval.*'rat_bptt', 'bptt'.*'dsac'"),
        ({"protocol": 3}, "protocol must be None, the name of a paper or an .* got 3 of type int"),
    ],
)
def test_contradictions_are_refused_before_any_work(data, options, message):
    # Test data that nothing can be done with: the error comes before anybody looks.
    with pytest.raises((ValueError, TypeError), match=message):
        evaluate(data, None, None, **{"protocol": SHORT, **options})


def test_what_the_protocol_leaves_open_may_be_given(data, unseen):
    open_to_all = EvaluationProtocol(steps=6)
    result = evaluate(
        data, *unseen, protocol=open_to_all, architecture=tiny, augmentation=None, n_networks=2
    )
    np.testing.assert_array_equal(result.curve, evaluate(data, *unseen, protocol=SHORT).curve)


def test_steps_within_the_warmup_of_a_recipe_are_refused(data, unseen):
    data = replace(data, recipe=replace(data.recipe, warmup_steps=20, architecture="mlp"))
    with pytest.raises(
        ValueError, match=r"steps must be more than the warm-up .* 20 steps; got 20"
    ):
        evaluate(data, *unseen, steps=20)


def test_a_fitted_distiller_evaluates_by_a_protocol_and_scores_by_its_recipe():
    rng = np.random.default_rng(0)
    y = np.arange(40) % 2
    X = rng.normal(size=(40, 3)) + y[:, None]
    distiller = quick(architecture=tiny).fit(X, y)
    score = distiller.score(X, y)
    # Without a network of its own the protocol takes the estimator's, which is not saved.
    result = distiller.evaluate(X, y, protocol=EvaluationProtocol(steps=7, n_networks=3))
    assert (result.steps.tolist(), result.curve.shape) == ([7], (3, 1))
    expected = evaluate(distiller.distilled_, X, y, steps=7, n_networks=3, architecture=tiny)
    np.testing.assert_array_equal(result.curve, expected.curve)
    assert distiller.score(X, y) == score
    with pytest.raises(ValueError, match="steps must not be given beside protocol"):
        distiller.evaluate(X, y, protocol=SHORT, steps=[1, 2])
    with pytest.raises(ValueError, match="architecture must not be given beside protocol"):
        distiller.evaluate(X, y, protocol=SHORT, architecture="mlp")
    boosted = BoostedDistiller(ipc=2, block_size=1, distiller=quick(architecture=tiny)).fit(X, y)
    by_budget = boosted.evaluate_budgets(X, y, protocol=SHORT)
    assert {k: (r.steps.tolist(), r.n_samples) for k, r in by_budget.items()} == {
        1: ([6], 2), 2: ([6], 4)
    }  # fmt: skip


# The papers ---------------------------------------------------------------------------------------


def cifar_like(ipc, shape=(3, 32, 32), n_classes=10):
    made = make("rgb")
    layout = replace(LAYOUTS["rgb"], user_shape=shape, network_shape=shape)
    recipe = replace(made.recipe, layout=layout, mean=(0.0,) * shape[0], scale=(1.0,) * shape[0])
    classes = np.arange(n_classes)
    return replace(
        made, X=np.zeros((ipc * n_classes, *shape), np.float32), y=np.tile(classes, ipc),
        classes=classes, ipc=ipc, recipe=recipe,
    )  # fmt: skip


# What the official codes say, by paper, for ten color images per class of ten classes.
EXPECTED = {
    "rat_bptt": {"steps": 1000, "optimizer": "adam", "learning_rate": 0.001, "n_networks": 10},
    "bptt": {
        "steps": 300, "batch_size": 640, "optimizer": "sgd", "learning_rate": 0.01,
        "momentum": 0.9, "weight_decay": 0, "schedule": "constant", "n_networks": 10,
        "augmentation": None,
    },
    "dc": {
        "steps": 301, "batch_size": 256, "learning_rate": 0.01, "momentum": 0.9,
        "weight_decay": 0.0005, "schedule": "step", "gamma": 0.1, "n_networks": 20,
        "augmentation": None,
    },
    "dsa": {"steps": 1001, "learning_rate": 0.01, "weight_decay": 0.0005, "n_networks": 20},
    "dm": {"steps": 1001, "learning_rate": 0.01, "weight_decay": 0.0005, "n_networks": 20},
    "mtt": {"steps": 1001, "learning_rate": 0.01, "weight_decay": 0.0005, "n_networks": 5},
    "ftd": {"steps": 1001, "learning_rate": 0.01, "weight_decay": 0.0005, "n_networks": 5},
    "kip": {
        "steps": 5000, "batch_size": 100, "loss": "mse", "optimizer": "sgd",
        "learning_rate": "stable", "momentum": 0.9, "schedule": "cosine", "targets":
        "centered", "augmentation": None,
    },
    "rfad": {
        "steps": 20_000, "loss": "mse", "optimizer": "sgd", "momentum": 0.9, "label_scale":
        2.0, "subtract_initial": True, "schedule": "constant", "augmentation": None,
    },
    "frepo": {
        "steps": 2000, "batch_size": 500, "loss": "mse", "optimizer": "adam",
        "learning_rate": 0.0003, "schedule": "cosine", "warmup_steps": 500, "final_factor":
        0.01, "n_networks": 5,
    },
    "rcig": {
        "steps": 2000, "batch_size": 256, "loss": "mse", "optimizer": "adam",
        "learning_rate": 0.0001, "schedule": "cosine", "warmup_steps": 500, "final_factor":
        0.01, "n_networks": 5,
    },
}  # fmt: skip


@pytest.mark.parametrize("name", PROTOCOLS)
def test_the_constants_of_a_paper(name):
    protocol = paper_protocol(name, cifar_like(10))
    assert {key: getattr(protocol, key) for key in EXPECTED[name]} == EXPECTED[name]
    soft = name in ("rat_bptt", "kip", "rfad", "frepo", "rcig")
    assert (protocol.targets != "hard") == soft


NETWORKS = {
    "rat_bptt": {"width": 128, "norm": "instance"},
    "dm": {"width": 128, "norm": "instance", "padding": 1},
    "kip": {"width": 1024, "norm": "none", "stem": True, "initialization": "he"},
    "rfad": {"width": 1024, "norm": "none", "initialization": "he"},
    "frepo": {
        "width": 128, "norm": "none", "doubling": True, "padding": 1, "initialization": "lecun"
    },
}  # fmt: skip


@pytest.mark.parametrize("name", NETWORKS)
def test_the_network_of_a_paper(name):
    architecture = paper_protocol(name, cifar_like(1)).architecture
    assert (architecture.func, architecture.keywords) == (ConvNet, NETWORKS[name])


def test_widths_double_in_frepo():
    network = paper_protocol("frepo", cifar_like(1, (1, 28, 28))).architecture((1, 28, 28), 10)
    widths = [m.out_channels for m in network if isinstance(m, nn.Conv2d)]
    # 28 pixels become 32, and 4 after three poolings.
    assert (widths, network[-1].in_features) == ([128, 256, 512], 512 * 16)


def test_protocols_depend_on_the_set():
    assert [paper_protocol("frepo", cifar_like(ipc)).steps for ipc in (1, 10, 50, 500)] == [
        1000, 2000, 5000, 40_000
    ]  # fmt: skip
    assert [paper_protocol("rcig", cifar_like(ipc)).steps for ipc in (1, 10)] == [1000, 2000]
    # Two batches an epoch.
    assert paper_protocol("dm", cifar_like(50)).steps == 2002
    # The rate falls after 502 of 1001 epochs.
    (share,) = paper_protocol("dm", cifar_like(50)).milestones
    assert int(share * 2002 + 1e-6) == 1004
    learned = cifar_like(1)
    learned = replace(
        learned, recipe=replace(learned.recipe, optimizer="sgd", learning_rate=0.0234)
    )
    assert paper_protocol("mtt", learned).learning_rate == 0.0234
    assert paper_protocol("dm", learned).learning_rate == 0.01
    # torch.mean((scores - labels) ** 2) / label_scale ** 2, as half a sum over classes.
    assert paper_protocol("rfad", cifar_like(1)).learning_rate == 0.001 * 2 / (10 * 64)
    assert paper_protocol("kip", cifar_like(1)).weight_decay == pytest.approx(0.01)


def test_trajectory_matching_is_judged_with_the_soft_labels_that_were_learned_with_it():
    hard = cifar_like(1)
    soft = replace(hard, y=np.full((10, 10), 0.1))

    def targets(paper, distilled, **recipe):
        distilled = replace(distilled, recipe=replace(distilled.recipe, **recipe))
        return paper_protocol(paper, distilled).targets

    for paper in ("mtt", "ftd"):
        assert targets(paper, hard) == "hard"
        assert targets(paper, soft) == "given"
        # Scores, as DATM's own.
        assert targets(paper, soft, targets="softmax") == "softmax"
        # Labels of any sign, for which cross-entropy has no minimum.
        assert targets(paper, soft, loss="mse", targets="centered") == "hard"
        assert targets(paper, replace(soft, y=soft.y - 0.1 * np.eye(10) - 0.01)) == "hard"
    assert targets("dm", soft) == "hard"


def names(augmentation):
    return sorted(type(step).__name__ for step in augmentation.steps)


def test_images_with_one_channel_are_not_mirrored():
    color, gray = cifar_like(1), cifar_like(1, (1, 28, 28))
    dsa = ["Color", "Crop", "Cutout", "Flip", "Rotation", "Scale"]
    without = [name for name in dsa if name != "Flip"]
    for paper in ("dsa", "dm", "mtt", "frepo"):
        assert names(paper_protocol(paper, color).augmentation) == dsa
        assert names(paper_protocol(paper, gray).augmentation) == without
    assert "Color" not in names(paper_protocol("rcig", gray).augmentation)
    assert paper_protocol("rat_bptt", gray).augmentation == "recipe"


@pytest.mark.parametrize("name", PROTOCOLS)
@pytest.mark.parametrize("layout", ["table", "rgb"])
def test_every_paper_judges_tables_and_images(name, layout):
    data = make(layout, classes=(0, 1))
    protocol = paper_protocol(name, data)
    if layout == "table":
        assert protocol.architecture.func is MLP
        assert protocol.augmentation in (None, "recipe")
        data = replace(data, recipe=replace(data.recipe, augmentation=None))
    elif protocol.architecture.keywords["width"] == 1024:
        narrow = partial(ConvNet, **{**protocol.architecture.keywords, "width": 8})
        protocol = replace(protocol, architecture=narrow)
    warmup = min(protocol.warmup_steps, 1)
    protocol = replace(protocol, steps=3, warmup_steps=warmup, n_networks=1)
    layout = data.recipe.layout
    X = np.random.default_rng(0).normal(size=(20, *layout.user_shape))
    result = evaluate(data, X, np.arange(20) % 2, protocol=protocol)
    assert result.n_diverged == 0
    assert result.steps.tolist() == [3]


def test_a_paper_by_its_name(data, unseen, monkeypatch):
    short = {"dm": lambda distilled: SHORT}
    monkeypatch.setattr("skdistill.evaluation._papers._PAPERS", short)
    by_name = evaluate(data, *unseen, protocol="dm")
    np.testing.assert_array_equal(by_name.curve, evaluate(data, *unseen, protocol=SHORT).curve)
    with pytest.raises(ValueError, match=r"protocol must be one of .*; got 'none'"):
        paper_protocol("none", data)


@pytest.mark.parametrize("name", PROTOCOLS)
def test_protocols_travel_to_other_processes(name):
    protocol = paper_protocol(name, cifar_like(1))
    again = pickle.loads(pickle.dumps(protocol))
    assert replace(again, architecture=None, augmentation=None) == replace(
        protocol, architecture=None, augmentation=None
    )
    assert (again.architecture.func, again.architecture.keywords) == (
        protocol.architecture.func, protocol.architecture.keywords
    )  # fmt: skip
    assert repr(again.augmentation) == repr(protocol.augmentation)


def test_diverged_networks_are_reported_under_a_protocol(data, unseen):
    protocol = replace(SHORT, optimizer="sgd", loss="mse", learning_rate=1000.0, steps=60)
    with pytest.warns(DivergenceWarning, match="2 of 2 networks diverged"):
        assert evaluate(data, *unseen, protocol=protocol).n_diverged == 2
