"""Trajectory matching: its gradients against autograd and TESLA's own words, and the distiller."""

from copy import deepcopy
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import tools
import torch
from sklearn.base import clone
from tools import a_problem, bits

from skdistill import BoostedDistiller, DistilledDataset, TrajectoryMatchingDistiller
from skdistill._engine.experts import Sharpness, Training, Trajectories
from skdistill._engine.inner_batches import InnerBatches
from skdistill._engine.methods.base import Synthetic
from skdistill._engine.methods.trajectory import Starts, TrajectoryMatching
from skdistill._engine.optimizers import SGD
from skdistill._engine.steps import Steps
from skdistill._engine.streams import Streams
from skdistill.augmentation import Rotation
from skdistill.evaluation import evaluate, paper_protocol
from skdistill.exceptions import DivergenceError
from skdistill.networks import MLP

SHAPE, N_STEPS = (1, 8, 8), 4
# Networks that a recipe can keep.
SMALL = partial(MLP, width=8, depth=1)
quick = partial(
    tools.quick, TrajectoryMatchingDistiller, architecture=tools.tiny, n_experts=2, max_start=2,
    epoch_steps=None, batch_size=16, expert_lr=0.01, syn_steps=3, inner_lr=0.01, inner_lr_lr=1e-4,
)  # fmt: skip


def method_of(learner, ipc=2, rank=0, augmentation=None, chunk=None, **options):
    """Return the method and a problem with two experts of random parameters, in float64."""
    draw = partial(torch.randn, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    X, y = draw(20, *SHAPE), torch.arange(20) % 3
    augment = None if augmentation is None else augmentation.apply
    training = Training(Steps(learner, SGD(), chunk, augment), 0, 0.1, 5, Sharpness(0.0))
    first = torch.stack([learner.init(k) for k in range(2)])
    thetas = torch.stack([first, first + 0.05 * draw(first.shape), first + 0.1 * draw(first.shape)])
    given = {
        "starts": Starts(0, 2), "batches": InnerBatches(), "inner_lr": 0.1, "inner_lr_lr": 1.0,
        "inner_lr_min": 0.001, "n_experts": 2, "expert_epochs": 1, "syn_steps": N_STEPS,
    }  # fmt: skip
    method = TrajectoryMatching(training=training, recipe={}, **given | options)
    problem = a_problem(
        X, y, ipc, learner, rngs=Streams(0, rank, 2), augmentation=augmentation, chunk=chunk,
        prepared=Trajectories(thetas.transpose(0, 1).contiguous()),
    )  # fmt: skip
    return method, problem


def synthetic_of(soft, ipc=2, lr=0.1):
    draw = partial(torch.randn, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    X, y = draw(3 * ipc, *SHAPE), torch.arange(3).repeat(ipc)
    if soft:
        y = torch.eye(3).double()[y] + 0.1 * draw(3 * ipc, 3).abs()
    return Synthetic(X, y, {"inner_lr": torch.full((1,), lr, dtype=torch.float64)})


def gradient(method, problem, synthetic, step=0):
    found, state = method.gradient(problem, synthetic, {}, step)
    assert state == {}
    return found


def batch(method, problem, synthetic, i, index):
    """Return what a step sees, drawn again and computed plainly."""
    rows = method.batches.draw(problem, index, N_STEPS)
    rows = slice(None) if rows is None else rows[i]
    X, y = synthetic.X[rows], synthetic.y[rows]
    if problem.augmentation is not None:
        generator = problem.rngs.torch("inner_augmentation", index)
        draws = [problem.augmentation.draw(generator, len(X), SHAPE) for _ in range(N_STEPS)]
        X = problem.augmentation.apply(X, draws[i].double())
    return X, y


def by_autograd(method, problem, synthetic, found, index):
    """Return loss and gradients through the graph of the whole training."""
    learner = problem.networks
    expert, start = found.record["expert"], found.record["start"]
    thetas = problem.prepared.thetas[expert]
    theta, target = thetas[start].clone().requires_grad_(), thetas[start + 1]
    X, y, lr = (
        x.clone().requires_grad_(x.is_floating_point())
        for x in (synthetic.X, synthetic.y, synthetic.extra["inner_lr"])
    )
    synthetic = Synthetic(X, y)
    for i in range(N_STEPS):
        loss = learner.loss(theta, *batch(method, problem, synthetic, i, index))
        theta = theta - lr * torch.autograd.grad(loss, theta, create_graph=True)[0]
    loss = (theta - target).square().sum() / (thetas[start] - target).square().sum()
    inputs = [x for x in (X, y, lr) if x.requires_grad]
    return loss, torch.autograd.grad(loss, inputs)


def by_tesla(method, problem, synthetic, found, index):
    """Return the gradients as [Cui23] and its code define them, step by step."""
    learner = problem.networks
    expert, start = found.record["expert"], found.record["start"]
    first, target = problem.prepared.thetas[expert, start : start + 2]
    alpha = synthetic.extra["inner_lr"].item()
    thetas, total = [first], torch.zeros_like(first)
    for i in range(N_STEPS):
        theta = thetas[-1].clone().requires_grad_()
        loss = learner.loss(theta, *batch(method, problem, synthetic, i, index))
        (g,) = torch.autograd.grad(loss, theta)
        total += g
        thetas.append(thetas[-1] - alpha * g)
    unit = (first - target).square().sum()
    inputs = [
        x.clone().requires_grad_() for x in (synthetic.X, synthetic.y) if x.is_floating_point()
    ]
    own = Synthetic(inputs[0], inputs[1] if len(inputs) == 2 else synthetic.y)
    bars = [torch.zeros_like(x) for x in inputs]
    for i, theta in enumerate(thetas[:-1]):
        theta = theta.clone().requires_grad_()
        loss = learner.loss(theta, *batch(method, problem, own, i, index))
        (g,) = torch.autograd.grad(loss, theta, create_graph=True)
        term = 2 * (alpha * (target - first) + alpha**2 * total) @ g / unit
        for bar, part in zip(bars, torch.autograd.grad(term, inputs)):
            bar += part
    rate = torch.tensor([alpha], dtype=torch.float64, requires_grad=True)
    loss = (first - rate * total - target).square().sum() / unit
    return loss, [*bars, *torch.autograd.grad(loss, rate)]


CASES = {
    "all samples": {},
    "chunks": {"chunk": 2},
    "some of some classes": {"batches": InnerBatches(1, 2)},
    "augmented": {"augmentation": Rotation(60.0)},
    "augmented batches": {"augmentation": Rotation(60.0), "batches": InnerBatches(1, None)},
}


@pytest.mark.parametrize("reference", [by_autograd, by_tesla])
@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_gradients_are_those_of_autograd_and_of_tesla(learner, case, soft, reference):
    method, problem = method_of(learner, **CASES[case], first_order=reference is by_tesla)
    synthetic = synthetic_of(soft)
    found = gradient(method, problem, synthetic)
    loss, bars = reference(method, problem, synthetic, found, 0)
    assert found.loss.item() == pytest.approx(loss.item(), rel=1e-9)
    got = [found.X, *([found.y] if soft else []), found.extra["inner_lr"]]
    assert (found.y is None) == (not soft)
    for ours, theirs in zip(got, bars, strict=True):
        assert theirs.norm() > 1e-6
        assert (ours - theirs).norm() < 1e-9 * theirs.norm()


def test_exact_and_first_order_differ(learner):
    synthetic = synthetic_of(True)
    exact, first = (
        gradient(*method_of(learner, first_order=first), synthetic) for first in (False, True)
    )
    assert exact.loss == first.loss
    for a, b in [(exact.X, first.X), (exact.y, first.y), (exact.extra, first.extra)]:
        a, b = (x["inner_lr"] if isinstance(x, dict) else x for x in (a, b))
        assert (a - b).norm() > 1e-3 * a.norm()


def test_the_gradient_equals_finite_differences(learner):
    method, problem = method_of(learner)
    synthetic = synthetic_of(True)
    found = gradient(method, problem, synthetic)
    draw = partial(torch.randn, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    dX, dy, dlr = draw(synthetic.X.shape), draw(synthetic.y.shape), draw(1)

    def loss(e):
        moved = {"inner_lr": synthetic.extra["inner_lr"] + e * dlr}
        return gradient(
            method, problem, Synthetic(synthetic.X + e * dX, synthetic.y + e * dy, moved)
        ).loss

    slope = (found.X * dX).sum() + (found.y * dy).sum() + (found.extra["inner_lr"] * dlr).sum()
    difference = (loss(1e-6) - loss(-1e-6)) / 2e-6
    assert difference.item() == pytest.approx(slope.item(), rel=1e-5)


# --- which expert, from where -----------------------------------------------------------------


def test_experts_and_starts_are_drawn_for_each_step_and_process(learner):
    method, problem = method_of(learner)
    synthetic = synthetic_of(False)
    drawn = {
        rank: [
            tuple(gradient(method, p, synthetic, step).record.values()) for step in range(8)
        ]
        for rank, p in enumerate([problem, method_of(learner, rank=1)[1]])
    }  # fmt: skip
    assert set(drawn[0]) == {(expert, start) for expert in (0, 1) for start in (0, 1)}
    assert drawn[0] != drawn[1]


def test_the_range_of_starts_grows():
    starts = Starts(1, 9, first_most=3, n_growing=60)
    assert [starts.end(step) for step in (0, 9, 10, 30, 59, 60, 1000)] == [3, 3, 4, 6, 8, 9, 9]
    rng = np.random.default_rng(0)
    assert {starts.draw(rng, 0) for _ in range(50)} == {1, 2}
    assert {starts.draw(rng, 60) for _ in range(200)} == set(range(1, 9))
    assert Starts(0, 4).end(0) == 4


def test_only_the_epochs_that_are_used_are_trained(learner):
    assert method_of(learner, starts=Starts(0, 5), expert_epochs=3)[0].n_epochs == 7
    method, problem = method_of(learner)
    stand_in = method.stand_in(problem)
    assert stand_in.thetas.shape == problem.prepared.thetas.shape == (2, 3, learner.n_parameters)
    assert torch.isfinite(
        gradient(method, replace(problem, prepared=stand_in), synthetic_of(False)).loss
    )


def test_labels_start_as_what_experts_answer(learner):
    method, problem = method_of(learner, expert_labels=True)
    synthetic = synthetic_of(True)
    labels = method.relabeled(problem, synthetic)
    scores = [learner.logits(thetas[-1], synthetic.X) for thetas in problem.prepared.thetas]
    n_right = 0
    for i, label in enumerate(labels):
        right = [each[i] for each in scores if each[i].argmax() == i % 3]
        expected = torch.stack(right).mean(dim=0).softmax(0) if right else synthetic.y[i]
        torch.testing.assert_close(label, expected)
        n_right += bool(right)
    # Both cases are there.
    assert 0 < n_right < len(labels)
    plain, _ = method_of(learner)
    assert plain.relabeled(problem, synthetic) is synthetic.y


# --- the distiller ----------------------------------------------------------------------------


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_what_comes_out(images):
    X, y = images
    distiller = quick(ipc=2).fit(X, np.array(["down", "up"])[y])
    X_syn, y_syn = distiller.transform()
    assert (X_syn.shape, y_syn.tolist()) == ((4, 6, 6), ["down", "up"] * 2)
    assert set(distiller.history_) == {
        *("loss", "grad_norm", "clip_level", "skipped", "seconds", "expert", "start")
    }
    soft = quick(ipc=2, learn_labels=True).fit(X, y)
    assert soft.transform()[1].shape == (4, 2)
    assert soft.transform()[1].min() >= 0


def test_networks_are_trained_by_the_learned_rate(images, tmp_path):
    distiller = quick(inner_lr_lr=0.005, architecture=SMALL).fit(*images)
    (rate,) = distiller.extra_["inner_lr"].tolist()
    assert rate != pytest.approx(0.01, rel=0.1)
    recipe = distiller.distilled_.recipe
    assert recipe.protocol.optimizer == "sgd"
    assert recipe.learning_rate == rate
    assert (recipe.momentum, recipe.weight_decay, recipe.schedule) == (0, 0, "constant")
    assert paper_protocol("mtt", distiller.distilled_).learning_rate == rate
    distiller.distilled_.save(tmp_path / "set.npz")
    loaded = DistilledDataset.load(tmp_path / "set.npz")
    assert loaded.recipe.learning_rate == rate
    assert evaluate(loaded, *images).mean == distiller.score(*images)
    fixed = quick(inner_lr_lr=0.0).fit(*images)
    assert fixed.distilled_.recipe.learning_rate == pytest.approx(0.01)
    bounded = quick(inner_lr_lr=100.0, inner_lr_min=0.009).fit(*images)
    assert bounded.distilled_.recipe.learning_rate >= np.float32(0.009)


def test_validation_trains_networks_by_the_learned_rate(images, monkeypatch):
    seen = []
    original = __import__("skdistill._run.held_out", fromlist=["TrainingSamples"]).TrainingSamples

    def training(X, y, protocol, seed):
        seen.append((protocol.optimizer, protocol.learning_rate, protocol.steps))
        return original(X, y, protocol, seed)

    monkeypatch.setattr("skdistill._run.held_out.TrainingSamples", training)
    distiller = quick(validation_fraction=0.25, validation_interval=1).fit(*images)
    assert [each[::2] for each in seen] == [("sgd", 5)] * 3
    rates = [rate for _, rate, _ in seen]
    assert len(set(rates)) == 3
    best = distiller.distilled_.provenance["best_iter"]
    assert distiller.distilled_.recipe.learning_rate == rates[best - 1]


@pytest.mark.parametrize("how", ["warm start", "checkpoint after Ctrl-C"])
def test_a_resumed_run_gives_the_same_bits(images, tmp_path, how):
    make = partial(quick, ipc=2, max_iter=6, learn_labels=True, first_max_start=1, max_start=3)
    make = partial(make, expansion_steps=5, ema_decay=0.9, cache=tmp_path / "experts")
    tools.check_same_bits_after(how, make, images, tmp_path, first=3)


def test_the_loss_falls(images):
    # Over seeds 0 to 2: to 29 to 38 % of what it was.
    distiller = quick(max_iter=60, expert_lr=0.1, inner_lr=0.1, inner_lr_lr=1e-3)
    losses = distiller.fit(*images).history_["loss"]
    assert np.mean(losses[-10:]) < 0.6 * np.mean(losses[:10])


# --- experts in a cache -----------------------------------------------------------------------


def test_two_caches_of_one_seed_are_the_same(images, tmp_path):
    made = []
    for name in "ab":
        made.append(bits(quick(cache=tmp_path / name).fit(*images)))
    assert made[0] == made[1] == bits(quick().fit(*images))
    a, b = (contents(tmp_path / name) for name in "ab")
    assert a == b
    assert sorted(a) == [f"expert-00{k}-epoch-00{e}.npz" for k in (0, 1) for e in (1, 2, 3)]
    # What was lost is made again, from the seed.
    for path in sorted((tmp_path / "b").iterdir())[1::2]:
        path.unlink()
    assert bits(quick(cache=tmp_path / "b").fit(*images)) == made[0]
    assert contents(tmp_path / "b") == a


def epochs_made(monkeypatch, killed=None):
    """Return the experts' epochs that are made from now on; making one of them is interrupted."""
    made, epoch = [], Training.epoch

    def counted(training, problem, theta, k, number):
        if (k, number) == killed:
            raise KeyboardInterrupt
        made.append((k, number))
        return epoch(training, problem, theta, k, number)

    monkeypatch.setattr(Training, "epoch", counted)
    return made


def test_an_interrupted_training_of_experts_goes_on(images, tmp_path, monkeypatch, outer_step):
    whole = quick().fit(*images)
    make = partial(quick, cache=tmp_path / "experts")
    with monkeypatch.context() as patch:
        made = epochs_made(patch, killed=(1, 1))
        with pytest.raises(KeyboardInterrupt):
            make().fit(*images)
    assert made == [(0, 0), (0, 1), (0, 2), (1, 0)]
    made = epochs_made(monkeypatch)
    assert bits(make().fit(*images)) == bits(whole)
    assert made == [(1, 1), (1, 2)]
    # Another seed of the run, another set, other steps: the same experts.
    make(random_state=1, ipc=2, syn_steps=2, gradient="first_order", max_start=1).fit(*images)
    assert len(made) == 2
    # More epochs and more experts are added.
    make(max_start=3, n_experts=3).fit(*images)
    assert made[2:] == [(0, 3), (1, 3), *((2, epoch) for epoch in range(4))]


def test_experts_of_a_network_whose_forward_was_edited_are_refused(images, tmp_path):
    def network(shape, n_classes):
        layers = tools.tiny(shape, n_classes)
        layers.forward = lambda X: layers[3](change(layers[1](layers[0](X))))
        return layers

    change = torch.relu
    cached = {"cache": tmp_path / "experts", "max_iter": 1, "n_experts": 1}
    quick(architecture=network, **cached).fit(*images)
    change = torch.tanh
    with pytest.raises(ValueError, match=r"the network's scores of .* as in what cache='.*experts"):
        quick(architecture=network, **cached).fit(*images)


def test_experts_of_other_first_weights_are_refused(images, tmp_path, outer_step):
    cached = {"cache": tmp_path / "experts", "max_iter": 1, "n_experts": 1}
    quick(architecture=SMALL, **cached).fit(*images)
    outer_step.refuse()
    other = quick(architecture=partial(SMALL, initialization="he"), **cached)
    with pytest.raises(ValueError, match="initialization of the network must be 'torch'; got 'he'"):
        other.fit(*images)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"expert_lr": 0.1}, r"expert_lr must be 0\.01; got 0\.1"),
        ({"expert_seed": 1}, "expert_seed must be 0; got 1"),
        ({"expert_rho": 0.1}, r"expert_rho must be 0\.0; got 0\.1"),
        ({"epoch_steps": 5}, "epoch_steps must be None; got 5"),
        ({"batch_size": 8}, "batch_size must be 16; got 8"),
        ({"augmentation": "dsa"}, r"augmentation must be .*None.*; got .*OneOf"),
        ({"architecture": partial(tools.tiny, width=5)}, "the network must be"),
        ({"class_weight": {0: 2.0}}, "the training data must be"),
    ],
    ids=tools.label,
)
def test_a_cache_of_other_experts_is_refused(images, tmp_path, outer_step, parameters, message):
    quick(cache=tmp_path / "experts", max_iter=1, n_experts=1).fit(*images)
    outer_step.refuse()
    with pytest.raises(ValueError, match=f"{message}.*as in what cache='.*experts' holds"):
        quick(cache=tmp_path / "experts", **parameters).fit(*images)


def test_experts_that_diverge_end_a_run_before_its_first_step(images, tmp_path, outer_step):
    outer_step.refuse()
    with pytest.raises(DivergenceError, match="expert 0 diverged in epoch"):
        quick(expert_lr=1e38, cache=tmp_path / "experts").fit(*images)
    assert not any((tmp_path / "experts").iterdir())


def test_what_is_unfit_is_refused_before_experts_are_trained(images, monkeypatch):
    X, y = images
    # Of different sizes, so that the smaller class has too few.
    y = np.arange(len(y)) >= 5
    distiller = quick(ipc=2, learn_labels=True, warm_start=True).fit(X, y)
    made = epochs_made(monkeypatch)
    soft = replace(distiller.distilled_, y=distiller.distilled_.y - 1)
    for change, message in [
        ({"init": "real", "ipc": 6}, "ipc=6 must be at most 5 with init='real': the smallest"),
        ({"init": soft}, "init and start must hold labels that networks learn by"),
        ({"max_iter": 9, "learn_labels": False}, "Parameters must be those of the earlier fit"),
    ]:
        warm = "max_iter" in change
        failing = deepcopy(distiller).set_params(**{"warm_start": warm, **change})
        with pytest.raises(ValueError, match=message):
            failing.fit(X, y)
    assert made == []


@pytest.mark.parametrize("how", ["warm start", "checkpoint"])
def test_a_run_at_its_end_trains_no_experts(images, tmp_path, monkeypatch, how):
    path = tmp_path / "run" if how == "checkpoint" else None
    first = quick(warm_start=True, checkpoint=path).fit(*images)
    made = epochs_made(monkeypatch)
    again = clone(first) if path else deepcopy(first)
    assert bits(again.fit(*images)) == bits(first)
    assert made == []
    assert again.set_params(max_iter=again.max_iter + 1).fit(*images).n_iter_ == again.max_iter
    assert made


# --- with other features ----------------------------------------------------------------------


def test_boosting_shares_experts(images, tmp_path, monkeypatch):
    made = epochs_made(monkeypatch)
    boosted = BoostedDistiller(
        2, block_size=1, distiller=quick(cache=tmp_path / "experts"), random_state=0
    ).fit(*images)
    assert len(made) == 6
    assert boosted.transform()[0].shape == (4, 6, 6)
    assert boosted.distilled_.recipe.learning_rate == boosted.distiller_.extra_["inner_lr"].item()


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"outer_optimizer": "sgd"}, "learning_rate='auto' must be a number with outer_optimizer"),
        ({"inner_lr_min": 0.1}, r"inner_lr_min=0\.1 must be at most inner_lr=0\.01"),
        ({"min_start": 2}, "min_start=2 must be less than max_start=2"),
        ({"first_max_start": 3}, "first_max_start=3 must be more than min_start=0 and at most"),
        ({"min_start": 1, "first_max_start": 1}, "first_max_start=1 must be more than min_start=1"),
        ({"expert_alpha": 0.5}, r"expert_alpha=0\.5 must come with an expert_rho above 0"),
        ({"expert_labels": True}, "expert_labels=True must come with learn_labels=True"),
        ({"inner_batch_size": 2}, "inner_batch_size=2 must be at most ipc=1"),
        ({"classes_per_step": 3}, "classes_per_step=3 must be at most 2"),
        ({"gradient": "none"}, "'gradient' parameter .* Got 'none'"),
        ({"syn_steps": 0}, "'syn_steps' parameter .* Got 0"),
        ({"cache": "nowhere/experts"}, "cache='.*nowhere/experts' must be a folder, or a place"),
    ],
)
def test_bad_parameters(images, outer_step, parameters, message):
    outer_step.refuse()
    with pytest.raises(ValueError, match=message):
        quick(**parameters).fit(*images)
