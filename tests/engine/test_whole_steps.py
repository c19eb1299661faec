"""Whole steps of a ConvNet or an MLP in one C call, against autograd."""

from functools import partial

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from skdistill._engine import whole_steps
from skdistill._engine.learner import Learner
from skdistill._engine.optimizers import SGD, Adam
from skdistill._engine.steps import Autograd, Steps
from skdistill._engine.unroll import InnerLoop, meta_gradient, run, run_keeping
from skdistill.networks import MLP, ConvNet

N_CLASSES = 3
ADAM = Adam(0.01, weight_decay=0.003)


def without_biases(shape, n_classes):
    layers = [nn.Conv2d(shape[0], 6, 3, padding=1, bias=False), nn.GroupNorm(6, 6), nn.ReLU()]
    layers += [nn.Conv2d(6, 6, 3, padding=1, bias=False), nn.GroupNorm(6, 6), nn.ReLU()]
    pixels = shape[1] * shape[2]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(6 * pixels, n_classes, bias=False))


def after_blocks(shape, n_classes):
    blocks = [*ConvNet(shape, n_classes, width=5, depth=1)][:-1]
    hidden = [nn.Linear(5 * 4 * 4, 7, bias=False), nn.LayerNorm(7, eps=0.01), nn.ReLU()]
    hidden += [nn.Linear(7, 5), nn.ReLU()]
    return nn.Sequential(*blocks, *hidden, nn.Linear(5, n_classes))


NETWORKS = {
    "one block": partial(ConvNet, width=6, depth=1),
    "two blocks": partial(ConvNet, width=21, depth=2),
    "without biases": without_biases,
    "hidden layers": partial(MLP, width=21, depth=2),
    "hidden layer without normalization": partial(MLP, width=8, depth=1, norm="none"),
    "hidden layers after blocks": after_blocks,
    "linear": partial(MLP, depth=0),
}


def learner_of(name="two blocks", shape=(2, 9, 9), dtype=torch.float64):
    return Learner(lambda: NETWORKS[name](shape, N_CLASSES), dtype=dtype)


def samples(n=7, shape=(2, 9, 9), soft=False):
    draw = torch.Generator().manual_seed(0)
    X = torch.randn(n, *shape, generator=draw, dtype=torch.float64)
    y = torch.randint(N_CLASSES, (n,), generator=draw)
    # Rows need not sum to 1.
    return X, torch.rand(n, N_CLASSES, generator=draw, dtype=torch.float64) if soft else y


def check(learner, X, y, batches=None, start=3, window=4):
    """Compare loss and sensitivities after steps in C with those by autograd."""
    theta = learner.init(1)
    along = torch.linspace(-1, 1, len(theta), dtype=theta.dtype)
    found = []
    for derivatives in (None, Autograd(learner)):
        loop = InnerLoop(Steps(learner, ADAM, derivatives=derivatives), X, y, batches)
        assert (loop.whole is not None) == (derivatives is None)
        found.append(meta_gradient(loop, theta, start, window, lambda t: (t @ along, along)))
    ours, expected = found
    assert ours.loss == pytest.approx(expected.loss.item(), rel=1e-9)
    scale = expected.X.abs().max().item()
    assert scale > 0
    torch.testing.assert_close(ours.X, expected.X, rtol=0, atol=1e-9 * scale)
    assert (ours.y is None) == (expected.y is None)
    if expected.y is not None:
        scale = expected.y.abs().max().item()
        torch.testing.assert_close(ours.y, expected.y, rtol=0, atol=1e-9 * scale)


def batches_of(size, n=7):
    """Rows of seven steps, some of them twice in a batch."""
    draw = torch.Generator().manual_seed(1)
    rows = torch.randint(n, (7, size), generator=draw)
    assert any(len(row.unique()) < size for row in rows)
    return rows


@pytest.mark.parametrize("soft", [False, True], ids=["labels", "soft labels"])
@pytest.mark.parametrize("batch_size", [None, 4])
@pytest.mark.parametrize("name", NETWORKS)
def test_steps_and_their_derivatives_equal_those_by_autograd(name, batch_size, soft):
    batches = None if batch_size is None else batches_of(batch_size)
    check(learner_of(name), *samples(soft=soft), batches)


# Fewer samples than are worth panels of kernels, as many, and so many that threads share the work.
@pytest.mark.parametrize("n", [7, 8, 40])
@pytest.mark.parametrize("soft", [False, True], ids=["labels", "soft labels"])
def test_steps_on_tables_equal_those_by_autograd(n, soft):
    learner = Learner(partial(MLP, (162,), N_CLASSES, width=75), dtype=torch.float64)
    X, y = samples(n, (162,), soft)
    check(learner, X, y)
    check(learner, X, y, batches_of(9, n))


def test_threads_change_no_bits(cores):
    learner = Learner(partial(MLP, (162,), N_CLASSES, width=75))
    X, y = samples(40, (162,))
    loop = InnerLoop(Steps(learner, ADAM), X.float(), y)
    theta = learner.init(0)
    along = torch.ones_like(theta)
    found = []
    for n_cores in (1, 2):
        cores(n_cores)
        found.append(meta_gradient(loop, theta, 1, 2, lambda t: (t @ along, along)).X)
    assert torch.equal(*found)


def test_what_is_not_a_number_stays_so():
    learner = learner_of("hidden layers")
    X, y = samples()
    X[2, 0, 1, 1] = torch.nan
    steps = Steps(learner, ADAM)
    state = steps.forward(steps.optimizer.init(learner.init(0)), X, y, 1)
    assert not state[0].isfinite().any()


@pytest.mark.parametrize("name", ["two blocks", "hidden layers"])
def test_single_precision_is_near_double_precision(name):
    X, y = samples(10)
    rows, found = batches_of(9, 10), {}
    for dtype in (torch.float32, torch.float64):
        learner = learner_of(name, dtype=dtype)
        along = torch.linspace(-1, 1, learner.n_parameters, dtype=dtype)
        loop = InnerLoop(Steps(learner, Adam(0.001)), X.to(dtype), y, rows)
        meta = meta_gradient(loop, learner.init(1), 1, 2, lambda t, v=along: (t @ v, v))
        found[dtype] = meta.X.double()
    exact = found[torch.float64]
    assert (found[torch.float32] - exact).norm() < 1e-4 * exact.norm()


@pytest.mark.parametrize("batch_size", [None, 4])
@pytest.mark.parametrize("n_at_once", [1, 3])
def test_in_how_many_calls_makes_no_difference(n_at_once, batch_size, monkeypatch):
    X, y = samples()
    loop = InnerLoop(
        Steps(learner_of(), ADAM), X, y, None if batch_size is None else batches_of(batch_size)
    )
    state = loop.steps.optimizer.init(loop.steps.learner.init(0))
    rows, bar = loop.rows(2, 5), torch.ones_like(state)
    assert loop.n_at_once > 5
    last, states = run(loop, state, 2, 5), run_keeping(loop, state, 2, 5)
    assert torch.equal(states[0], state)
    assert torch.equal(states[-1], last)
    back = loop.whole.pull_back(states, X, y, rows, 2, bar)
    of_one = whole_steps._VALUES_IN_A_CALL // loop.n_at_once
    monkeypatch.setattr(whole_steps, "_VALUES_IN_A_CALL", n_at_once * of_one)
    assert loop.n_at_once == n_at_once
    assert torch.equal(run(loop, state, 2, 5), last)
    assert torch.equal(run_keeping(loop, state, 2, 5), states)
    for a, b in zip(loop.whole.pull_back(states, X, y, rows, 2, bar), back, strict=True):
        assert torch.equal(a, b)
    # The sensitivity that was given is as it was.
    assert torch.equal(bar, torch.ones_like(state))


def test_only_the_rows_of_a_call_are_laid_out_anew(monkeypatch):
    X, y = samples(n=200)
    loop = InnerLoop(Steps(learner_of(), ADAM), X, y, torch.arange(12).view(3, 4) + 100)
    seen = []

    def channels_last(x):
        seen.append(len(x))
        return x.permute(0, 2, 3, 1).contiguous()

    monkeypatch.setattr(whole_steps, "channels_last", channels_last)
    state = loop.steps.optimizer.init(loop.steps.learner.init(0))
    last = run(loop, state, 0, 3)
    assert max(seen) == 12
    # The same samples by all rows.
    every = InnerLoop(loop.steps, X[100:112], y[100:112], torch.arange(12).view(3, 4))
    assert torch.equal(run(every, state, 0, 3), last)


def test_a_state_holds_no_more_memory_than_its_own():
    X, y = samples()
    steps = Steps(learner_of(), ADAM)
    state = steps.optimizer.init(steps.learner.init(0))
    for n_steps in (1, 2, 3):
        last = run(InnerLoop(steps, X, y), state, 0, n_steps)
        assert last.untyped_storage().nbytes() == state.untyped_storage().nbytes()


def test_large_scores_overflow_nothing():
    X, y = samples()
    learner = learner_of(dtype=torch.float32)
    steps = Steps(learner, Adam(0.01))
    theta = 1e4 * learner.init(0)
    loop = InnerLoop(steps, X.float(), y)
    states = run_keeping(loop, steps.optimizer.init(theta), 0, 2)
    assert states.isfinite().all()
    assert (states[1, 0] != theta).any()
    bar, X_bar = loop.whole.pull_back(states, loop.X, y, None, 0, torch.ones_like(states[0]))
    assert bar.isfinite().all()
    assert X_bar.isfinite().all()


@pytest.mark.parametrize("label", [-1, N_CLASSES])
def test_a_label_of_no_class_is_an_error(label):
    X, y = samples()
    steps = Steps(learner_of(), ADAM)
    state = steps.optimizer.init(steps.learner.init(0))
    states = torch.stack((state, steps.forward(state, X, y, 1)))
    y[3] = label
    with pytest.raises(IndexError, match="none of the network's classes"):
        steps.forward(state, X, y, 1)
    with pytest.raises(IndexError, match="none of the network's classes"):
        steps.adjoint(states, X, y, state, 1)


def test_a_state_of_another_network_is_an_error():
    steps, other = (Steps(learner_of(name), ADAM) for name in ("two blocks", "one block"))
    with pytest.raises(ValueError, match=r"the shape \(3, \d+\) and be torch\.float64; got"):
        steps.forward(other.optimizer.init(other.learner.init(0)), *samples(), 1)


@pytest.mark.parametrize("shape", [(1, 5, 6), (2, 9, 9)])
def test_the_memory_of_the_way_back_is_known_beforehand(shape):
    # Narrow layers are filled up to whole vectors: their outputs alone would say too little.
    steps = Steps(learner_of("one block", shape), ADAM)
    X, y = samples(shape=shape)
    state = steps.optimizer.init(steps.learner.init(0))
    states = torch.stack((state, steps.forward(state, X, y, 1)))
    with Allocated() as allocated:
        steps.adjoint(states, X, y, state, 1)
    assert steps.whole(len(X)).adjoint_bytes(len(X), shape) == max(allocated.sizes)


class Allocated(TorchDispatchMode):
    """Notes the bytes of arrays that are made without values."""

    def __init__(self):
        super().__init__()
        self.sizes = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        made = function(*args, **(kwargs or {}))
        if function is torch.ops.aten.new_empty.default:
            self.sizes.append(made.nbytes)
        return made


def test_another_precision_is_an_error():
    # The functions would take the bytes of one for those of the other.
    steps = Steps(learner_of(dtype=torch.float32), ADAM)
    (X, y), theta = samples(), steps.learner.init(0).double()
    with pytest.raises(ValueError, match=r"be torch\.float32; got \(3, \d+\) and torch\.float64"):
        steps.forward(steps.optimizer.init(theta), X, y, 1)
    with pytest.raises(ValueError, match=r"parameters of torch\.float32; got"):
        steps.gradient(theta, X, y)


@pytest.mark.parametrize("row", [-1, 7])
def test_a_row_of_no_sample_is_an_error(row):
    X, y = samples()
    loop = InnerLoop(Steps(learner_of(), ADAM), X, y, batches_of(4))
    loop.batches[2, 1] = row
    state = loop.steps.optimizer.init(loop.steps.learner.init(0))
    with pytest.raises(IndexError, match="a row none of the samples"):
        run(loop, state, 0, 7)
    states = torch.stack([state] * 8)
    with pytest.raises(IndexError, match="a row none of the samples"):
        loop.whole.pull_back(states, X, y, loop.batches, 0, state)
    with pytest.raises(IndexError, match="rows for 7 steps of 8"):
        run(loop, state, 0, 8)


@pytest.mark.parametrize("name", NETWORKS)
def test_samples_of_another_shape_are_an_error(name):
    X, y = samples()
    steps = Steps(learner_of(name), ADAM)
    state = steps.optimizer.init(steps.learner.init(0))
    for bad in (X[:, :1], X[:, :, :5], X[:, :, :, :3]):
        with pytest.raises(ValueError, match="the network does not take samples of shape"):
            steps.forward(state, bad, y, 1)


def test_a_network_that_does_not_flatten_takes_no_images():
    X, y = samples()
    steps = Steps(Learner(lambda: nn.Sequential(nn.Linear(162, 3)), dtype=X.dtype), ADAM)
    state = steps.optimizer.init(steps.learner.init(0))
    steps.forward(state, X.flatten(1), y, 1)
    with pytest.raises(ValueError, match=r"the network does not take samples of shape \(2, 9, 9\)"):
        steps.forward(state, X, y, 1)


def test_samples_and_labels_that_do_not_fit_are_an_error():
    X, y = samples()
    steps = Steps(learner_of(), ADAM)
    state = steps.optimizer.init(steps.learner.init(0))
    soft = torch.ones(len(X), N_CLASSES + 1, dtype=X.dtype)
    for bad in ((X.float(), y), (X, y[1:]), (X, soft)):
        with pytest.raises(ValueError, match=r"X and y must be on the CPU, X torch\.float64"):
            steps.forward(state, *bad, 1)


def test_a_step_needs_samples():
    X, y = samples()
    steps = Steps(learner_of(), ADAM)
    state = steps.optimizer.init(steps.learner.init(0))
    nothing = InnerLoop(steps, X, y, torch.zeros(2, 0, dtype=torch.long))
    with pytest.raises(ValueError, match="a step needs samples"):
        run(nothing, state, 0, 2)
    assert torch.equal(run(nothing, state, 0, 0), state)
    with pytest.raises(ValueError, match="a step needs samples"):
        steps.forward(state, X[:0], y[:0], 1)


def test_other_optimizers_and_networks_take_their_steps_one_by_one():
    X, y = samples()
    for steps in (
        Steps(learner_of(), SGD(0.1, momentum=0.9)),
        Steps(Learner(lambda: nn.Sequential(nn.Flatten(), nn.ReLU(), nn.Linear(162, 3))), ADAM),
        # Chunks have a gradient each.
        Steps(learner_of(), ADAM, chunk=4),
    ):
        loop = InnerLoop(steps, X.to(steps.learner.dtype), y)
        assert loop.whole is None
        assert loop.n_at_once == 1
