"""AT-BPTT in runs: what windows are told, stages in checkpoints, and samples of a fixed norm."""

import json
from functools import partial

import numpy as np
import pytest
import torch
from tools import a_problem, quick, slide, tiny

from skdistill import BoostedDistiller, RaTBPTTDistiller
from skdistill._engine.data import RealData
from skdistill._engine.group import Group
from skdistill._engine.inner_batches import InnerBatches, inner_draws
from skdistill._engine.learner import Learner
from skdistill._engine.methods.base import Gradient, Method, Synthetic
from skdistill._engine.methods.unrolled import Unrolled
from skdistill._engine.optimizers import Adam
from skdistill._engine.outer import initial_state, observed, update
from skdistill._engine.parametrization import Parametrization, Rows
from skdistill._engine.real_batch import RealBatch
from skdistill._engine.steps import Steps
from skdistill._run.checkpoint import Checkpoint
from skdistill.augmentation import Rotation
from skdistill.exceptions import InvalidFileError
from skdistill.networks import MLP
from skdistill.parametrization import LinearBasis
from skdistill.sampling import BatchStrategy
from skdistill.windows import StageAwareWindow, WindowSchedule

# No accuracy rises by 1: a stage ends after one period of two outer steps.
STAGES = partial(
    StageAwareWindow,
    1,
    renew_every=2,
    early_tol=1,
    middle_tol=1,
    early_patience=0.1,
    middle_patience=0.1,
)
SMALL = partial(
    quick,
    schedule=STAGES(),
    window=2,
    unroll=5,
    batch_size=16,
    ipc=2,
    architecture=tiny,
    max_iter=7,
)


class Sized(WindowSchedule):
    """A window of one's own that draws NumPy's integers."""

    def draw(self, rng, window, unroll, state):
        return rng.integers(unroll - window + 1), np.int64(window)


def test_a_window_of_numpys_integers_is_saved(images, tmp_path):
    path = tmp_path / "run.npz"
    distiller = SMALL(schedule=Sized(), checkpoint=path).fit(*images)
    assert [type(value) for value in distiller.history_["window"]] == [int] * distiller.n_iter_
    again = SMALL(schedule=Sized(), checkpoint=path).fit(*images)
    assert again.distilled_.X.tobytes() == distiller.distilled_.X.tobytes()


class Drawing(WindowSchedule):
    """A window that is what one passes."""

    def __init__(self, drawn):
        self.drawn = drawn

    def draw(self, rng, window, unroll, state):
        return self.drawn


@pytest.mark.parametrize(
    "drawn", [(5, 3), (2, 0), (-2, 3), (4, 2), (1.7, 2.9), (1, 2, 3), (1, "2"), None, torch.eye(2)]
)
def test_windows_that_are_not_within_the_unrolling_are_refused(drawn, images, tmp_path):
    path = tmp_path / "run.npz"
    message = r"schedule Drawing must give a window within 5 steps: .* returned"
    with pytest.raises(ValueError, match=message):
        SMALL(schedule=Drawing(drawn), checkpoint=path).fit(*images)


@pytest.mark.parametrize("drawn", [(0, 5), (3, 2), [1, 2], (torch.tensor(1), torch.tensor(2))])
def test_windows_within_the_unrolling_are_taken(drawn, images):
    history = SMALL(schedule=Drawing(drawn)).fit(*images).history_
    assert (history["start"][0], history["window"][0]) == tuple(map(int, drawn))


class Taking(BatchStrategy):
    """A sampler whose batches are what one passes, and its own sampler."""

    def __init__(self, rows):
        self.rows = rows

    def during(self, problem, batch_size):
        return self

    def init_state(self):
        return {}

    def prepare(self, X, y, step, state):
        return state

    def batch(self, step, state):
        return self.rows


@pytest.mark.parametrize(
    "rows",
    [
        np.array([-1, 0]),
        np.array([0, 99]),
        np.arange(24) < 4,
        np.array([0.0, 1.0]),
        np.array([], dtype=int),
        [],
        np.array([[0, 1]]),
        3,
    ],
)
def test_rows_that_are_not_of_the_training_set_are_refused(rows, images):
    with pytest.raises(ValueError, match=r"sampler Taking must give rows of the training set, "):
        SMALL(sampler=Taking(rows)).fit(*images)


def test_rows_may_be_any_whole_numbers(images):
    expected = SMALL(sampler=Taking(np.arange(5))).fit(*images).distilled_.X
    for rows in (range(5), [0, 1, 2, 3, 4], np.arange(5, dtype=np.uint8), torch.arange(5)):
        found = SMALL(sampler=Taking(rows)).fit(*images).distilled_.X
        np.testing.assert_array_equal(found, expected)


class Curious(WindowSchedule):
    """A window that keeps what it is told."""

    uses_accuracy = True

    def init_state(self, window, unroll):
        return {"norms": [], "seen": []}

    def prepare(self, step, gradient_norms, window, unroll, state):
        return {**state, "norms": [*state["norms"], gradient_norms().tolist()]}

    def draw(self, rng, window, unroll, state):
        return unroll - window, window

    def observe(self, seen, window, unroll, state):
        return {**state, "seen": [*state["seen"], seen.batch_accuracy]}


# What a schedule is told --------------------------------------------------------------------------


@pytest.mark.parametrize("chunk", [None, 2])
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("batch_size", [None, 1])
def test_norms_are_those_of_a_fresh_networks_training(chunk, shared, batch_size):
    draw = partial(torch.randn, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    learner = Learner(partial(MLP, (1, 4, 4), 3, width=5, depth=1), dtype=torch.float64)
    real, y, rotation = draw(9, 1, 4, 4), torch.arange(9) % 3, Rotation()
    problem = a_problem(real, y, 2, learner, augmentation=rotation)
    steps = Steps(learner, Adam(lr=0.05, weight_decay=0.1), chunk, augment=rotation.apply)
    method = Unrolled(steps, None, None, 2, 6, InnerBatches(batch_size), shared_augmentation=shared)
    X, labels = draw(6, 1, 4, 4), torch.arange(3).repeat(2)
    found = method._gradient_norms(problem, Synthetic(X, labels), 7)
    batches = method.batches.draw(problem, 7, 6)
    n = 6 if batches is None else 3
    if shared:
        draws = rotation.draw(problem.rngs.torch("real_augmentation", 7), 1, (1, 4, 4))
        draws = draws.repeat(6, 1, n)
    else:
        draws = inner_draws(problem, learner, n, 7, 6)
    optimizer, expected = steps.optimizer, []
    state = optimizer.init(learner.init(problem.rngs.integer("gradient_norms", 7)))
    for i in range(6):
        theta = state[0].clone().requires_grad_()
        rows = slice(None) if batches is None else batches[i]
        loss = learner.loss(theta, rotation.apply(X[rows], draws[i]), labels[rows])
        (grad,) = torch.autograd.grad(loss, theta)
        expected.append(grad.norm().item())
        state = optimizer.step(state, grad, *optimizer.scalars(i + 1))
    np.testing.assert_allclose(found, expected, rtol=1e-9)
    assert np.ptp(found) > 0.01


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("chunk", [None, 4])
def test_accuracy_is_that_on_the_real_batch(weighted, chunk):
    generator = torch.Generator().manual_seed(0)
    X = torch.randn(30, 1, 4, 4, generator=generator, dtype=torch.float64)
    y = torch.arange(30) % 3
    weight = torch.rand(30, generator=generator, dtype=torch.float64) if weighted else None
    learner = Learner(partial(MLP, (1, 4, 4), 3, width=5, depth=1), dtype=torch.float64)
    data: RealData = a_problem(X, y, 1, learner, weight).real
    rows, theta = np.arange(3, 26), learner.init(0)
    right = (learner.logits(theta, X[rows]).argmax(dim=1) == y[rows]).double().numpy()
    expected = np.average(right, weights=None if weight is None else weight[rows].numpy())
    steps = Steps(learner, Adam())
    found = RealBatch(steps, data, rows, chunk).accuracy(theta)
    assert found.item() == pytest.approx(expected, rel=1e-12)
    assert 0 < expected < 1


def test_schedules_see_it_and_the_history_keeps_it(images):
    distiller = SMALL(schedule=Curious(), max_iter=4).fit(*images)
    state = distiller._run.state.method["schedule"]
    assert state["seen"] == distiller.history_["batch_accuracy"]
    assert 0.3 < np.mean(state["seen"]) <= 1
    # After training, all are right about some; each is one of 16 parts.
    assert all((16 * a) % 1 == 0 for a in state["seen"])
    assert [len(norms) for norms in state["norms"]] == [5] * 4
    assert len({tuple(norms) for norms in state["norms"]}) == 4
    assert "batch_accuracy" not in SMALL(schedule="rat-bptt", max_iter=1).fit(*images).history_


class Counting(Method):
    """A method whose accuracy is a number of each process."""

    def __init__(self, accuracy):
        self.accuracy = accuracy

    def gradient(self, problem, synthetic, state, step):
        X = torch.ones_like(synthetic.X)
        return Gradient(X.sum(), X, batch_accuracy=torch.tensor(self.accuracy)), state

    def observe(self, seen, state):
        return {"accuracy": seen.batch_accuracy}


def test_processes_see_the_mean_accuracy(monkeypatch):
    monkeypatch.setattr(Group, "mean", lambda self, tensors: [t - 0.25 for t in tensors])
    method = Counting(0.75)
    parametrization = Parametrization((Rows(),), torch.zeros(1))
    state = initial_state(method, None, {"X": torch.zeros(1, 2)})
    state, record = update(method, None, state, parametrization, {"X": 0.1}, group=Group(0, 2))
    assert record.row()["batch_accuracy"] == 0.5
    assert observed(method, state, record, None).method == {"accuracy": 0.5}


# In a run -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "parameters", [{}, {"augmentation": "flip_rotate", "sample_norm": 1.5}], ids=str
)
def test_all_stages_resume_to_the_bit(images, tmp_path, parameters):
    make = partial(SMALL, **parameters)
    whole = make().fit(*images)
    lengths = whole.history_["window"]
    assert max(lengths[:2]) < 3
    assert set(lengths[2:4]) == {3}
    assert set(lengths[4:]) == {1}
    assert whole._run.state.method["schedule"]["stage"] == 2
    for n in (1, 3, 5):
        make(checkpoint=tmp_path / "run", max_iter=n).fit(*images)
    parts = make(checkpoint=tmp_path / "run").fit(*images)
    np.testing.assert_array_equal(parts.transform()[0], whole.transform()[0])
    for name in ("loss", "start", "window", "batch_accuracy"):
        assert parts.history_[name] == whole.history_[name]


@pytest.mark.parametrize(
    "changes",
    [{"stage": 7}, {"norms": [1.0]}, {"total": "much"}, {"norms": ["a"] * 5}],
    ids=str,
)
def test_states_that_cannot_be_are_refused(images, tmp_path, monkeypatch, changes):
    path = tmp_path / "run"
    original = Checkpoint.save_if_due
    make = partial(SMALL, checkpoint=path, schedule=STAGES(early_patience=9))

    def spoil(self, run):
        run.state.method["schedule"].update(changes)
        original(self, run)

    monkeypatch.setattr(Checkpoint, "save_if_due", spoil)
    make(max_iter=1).fit(*images)
    monkeypatch.undo()
    with pytest.raises(InvalidFileError, match="holds no run that can go on"):
        make(max_iter=2).fit(*images)


def test_a_network_that_diverges_is_no_guide(images):
    X, y = images
    distiller = SMALL(inner_optimizer="sgd", inner_lr=1e30, max_iter=1)
    with pytest.warns(UserWarning, match="not finite"):
        distiller.fit(X, y)
    assert distiller._run.state.method["schedule"]["norms"] == []


def test_windows_need_room_before_any_work(images, outer_step):
    outer_step.refuse()
    for parameters in ({"window": 1}, {"window": 5}, {"window": "auto", "unroll": 5}):
        with pytest.raises(ValueError, match="radius=1 of StageAwareWindow must be less than"):
            SMALL(**parameters).fit(*images)


def test_memory_is_that_of_the_longest_window(images):
    X, y = images
    states = [
        SMALL(schedule=schedule, unroll=9).estimate(X, y, n_steps=1).memory.states
        for schedule in ("rat-bptt", STAGES(), "r-bptt")
    ]
    one = (states[2] - states[0]) / 7
    assert states[1] - states[0] == one


# Samples of a fixed norm --------------------------------------------------------------------------


@pytest.mark.parametrize("init", ["gaussian", "real"])
def test_samples_have_the_norm_after_every_step(images, init):
    free = SMALL(init=init, max_iter=3).fit(*images)
    fixed = SMALL(init=init, max_iter=3, sample_norm=2.0).fit(*images)
    norms = [
        np.linalg.norm(each._run.state.slots["X"][0].reshape(4, -1), axis=1)
        for each in (free, fixed)
    ]
    assert np.abs(norms[0] - 2).max() > 0.01
    np.testing.assert_allclose(norms[1], 2.0, rtol=1e-6)


def test_directions_are_those_of_the_step(images):
    free = SMALL(max_iter=1).fit(*images)._run.state.slots["X"][0]
    fixed = SMALL(max_iter=1, sample_norm=0.5).fit(*images)._run.state.slots["X"][0]
    free, fixed = free.reshape(4, -1), fixed.reshape(4, -1)
    expected = 0.5 * free / np.linalg.norm(free, axis=1, keepdims=True)
    np.testing.assert_allclose(fixed, expected, atol=1e-6)


def test_samples_that_are_held_back_are_not_scaled(images):
    start = SMALL(ipc=1, max_iter=1).fit(*images).distilled_
    both = SMALL(ipc=2, max_iter=2, sample_norm=3.0)
    both.fit(*images, start=start, learning_rate_factors=[0.0, 1.0])
    np.testing.assert_array_equal(both.distilled_.X[:2], start.X)
    rows = both._run.state.slots["X"][0].reshape(4, -1)
    norms = np.linalg.norm(rows, axis=1)
    np.testing.assert_allclose(norms[2:], 3.0, rtol=1e-6)
    assert np.abs(norms[:2] - 3.0).min() > 0.1
    boosted = BoostedDistiller(2, block_size=1, beta=0, distiller=SMALL(ipc=1, sample_norm=1.0))
    assert boosted.fit(*images).budgets_ == [1, 2]


def test_values_that_do_not_vary_do_not_count(table):
    X, y = table
    X = np.column_stack([X, np.full(len(X), 7.0)])
    fitted = SMALL(sample_norm=1.0, max_iter=2).fit(X, y)
    rows = fitted._run.state.slots["X"][0]
    np.testing.assert_allclose(np.linalg.norm(rows[:, :3], axis=1), 1.0, rtol=1e-6)
    assert (fitted.transform()[0][:, 3] == 7).all()


def test_norms_of_zero_and_infinity_are_left():
    parametrization = Parametrization((Rows(),), torch.zeros(3))
    X = torch.tensor([[0.0, 0.0], [3e38, 3e38], [3.0, 4.0]])
    scale = parametrization.scales({"X": X}, 10.0)["X"]
    assert scale.flatten().tolist() == [1, 1, 2]


def test_every_method_takes_it(images):
    fitted = slide(sample_norm=1.0, learn_labels=False).fit(*images)
    rows = fitted._run.state.slots["X"][0].reshape(2, -1)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1.0, rtol=1e-6)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"sample_norm": 0.0}, "'sample_norm' parameter of RaTBPTTDistiller"),
        (
            {"sample_norm": 1.0, "parametrization": LinearBasis(2)},
            r"sample_norm=1.0 must be None wi",
        ),
    ],
)
def test_bad_norms(images, outer_step, parameters, message):
    outer_step.refuse()
    with pytest.raises(ValueError, match=message):
        SMALL(**parameters).fit(*images)


# Its paper ----------------------------------------------------------------------------------------


def test_the_values_are_those_of_its_commands():
    # Read in the README of its code.
    expected = {
        "cifar10": (40, 200, 10, 5000, 0.001, None, None, False, 10),
        "cifar100": (100, 300, 20, 1000, 0.001, 1, None, True, 50),
        "tinyimagenet": (100, 300, 30, 1000, 0.0003, 1, 50, True, 100),
    }
    for dataset, values in expected.items():
        distiller = RaTBPTTDistiller.from_paper(dataset, 10, paper="at-bptt")
        assert values == (
            distiller.window, distiller.unroll, distiller.schedule.radius, distiller.batch_size,
            distiller.learning_rate, distiller.inner_batch_size, distiller.classes_per_step,
            distiller.learn_labels, distiller.schedule.renew_every,
        )  # fmt: skip
        distiller.schedule.check(distiller.window, distiller.unroll)
        assert json.dumps(distiller.get_params()["schedule__early_tol"]) == "0.015"
