"""The meta-gradient is exact: against autograd, finite differences and the library higher."""

from dataclasses import dataclass, fields, replace
from functools import partial

import higher
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from skdistill._engine.learner import Learner
from skdistill._engine.optimizers import SGD, Adam, GradientDescent
from skdistill._engine.real_batch import RealBatch
from skdistill._engine.steps import CompiledSteps, Steps
from skdistill._engine.unroll import InnerLoop, meta_gradient, run
from skdistill.augmentation import AUGMENTATIONS
from skdistill.networks import ConvNet
from skdistill.windows import resolve_schedule

WINDOW, UNROLL = 4, 7
OPTIMIZERS = {
    "sgd": SGD(lr=0.1),
    "sgd-momentum-decay": SGD(lr=0.1, momentum=0.9, weight_decay=0.01),
    "adam": Adam(lr=0.01),
    "adam-decay": Adam(lr=0.01, weight_decay=0.01),
}
TRUNCATIONS = ["rat-bptt", "bptt", "t-bptt", "r-bptt"]


def problem(learner, optimizer, mini_batches=False, soft=False, channels=1):
    """Return an inner loop on six samples, initial parameters and an outer loss."""
    generator = torch.Generator().manual_seed(1)
    draw = partial(torch.randn, generator=generator, dtype=torch.float64)
    X, y = draw(6, channels, 8, 8), torch.arange(3).repeat(2)
    if soft:
        y = F.one_hot(y, 3).to(torch.float64) + 0.1 * draw(6, 3).abs()
    batches = torch.stack([torch.randperm(6, generator=generator)[:3] for _ in range(UNROLL)])
    loop = InnerLoop(Steps(learner, optimizer), X, y, batches if mini_batches else None)
    real = draw(20, channels, 8, 8), torch.arange(20) % 3

    def outer_loss(theta):
        theta = theta.detach().requires_grad_()
        with torch.enable_grad():
            loss = learner.loss(theta, *real)
        return loss.detach(), torch.autograd.grad(loss, theta)[0]

    return loop, learner.init(3), outer_loss, real


def window_of(truncation):
    schedule = resolve_schedule(truncation)
    return schedule.draw(
        np.random.default_rng(5), WINDOW, UNROLL, schedule.init_state(WINDOW, UNROLL)
    )


@dataclass(frozen=True)
class SafeAdam(Adam):
    """Adam for autograd: the square root's infinite slope at 0 is masked before the division."""

    def step(self, state, grad, correction1, correction2):
        theta, m, v = state
        grad = grad + self.weight_decay * theta
        m = self.beta1 * m + (1 - self.beta1) * grad
        v = self.beta2 * v + (1 - self.beta2) * grad**2
        positive = v > 0
        root = torch.where(positive, torch.where(positive, v, 1.0).sqrt(), 0.0)
        root = root / correction2**0.5
        theta = theta - self.lr / correction1 * m / (root + self.eps)
        return torch.stack((theta, m, v))


def seen(loop, i):
    """Return the batch of a step, computed plainly."""
    rows = slice(None) if loop.batches is None else loop.batches[i]
    X = loop.X[rows]
    return X if loop.draws is None else loop.steps.augment(X, loop.draws[i]), loop.y[rows]


def final_loss(loop, state, start, window, real):
    """Return the outer loss after the window, as an ordinary autograd graph."""
    steps = loop.steps
    for i in range(start, start + window):
        theta = state[0] if state.requires_grad else state[0].clone().requires_grad_()
        loss = steps.learner.loss(theta, *seen(loop, i))
        grad = torch.autograd.grad(loss, theta, create_graph=True)[0]
        state = torch.cat((theta[None], state[1:]))
        state = steps.optimizer.step(state, grad, *steps.optimizer.scalars(i + 1))
    return steps.learner.loss(state[0], *real)


def by_autograd(loop, theta, start, window, real, soft=False):
    """Return the truncated meta-gradient by autograd through the whole unrolled graph."""
    steps = loop.steps
    if isinstance(steps.optimizer, Adam):
        constants = {each.name: getattr(steps.optimizer, each.name) for each in fields(Adam)}
        steps = Steps(steps.learner, SafeAdam(**constants), augment=steps.augment)
    loop = replace(loop, steps=steps)
    state = run(loop, steps.optimizer.init(theta), 0, start).detach()
    X, y = loop.X.clone().requires_grad_(), loop.y.clone()
    inputs = (X, y.requires_grad_()) if soft else (X,)
    loss = final_loss(replace(loop, X=X, y=y), state, start, window, real)
    return loss, torch.autograd.grad(loss, inputs)


class Rows:
    """Real data whose batches are rows of tensors: samples, classes and, if any, weights."""

    def __init__(self, *tensors):
        self.tensors = tensors

    def batch(self, rows):
        return tuple(x[rows] for x in self.tensors)


def assert_equals_finite_differences(loop, theta, start, window, outer_loss):
    grad = meta_gradient(loop, theta, start, window, outer_loss).X
    # The steps before the window are constants of the truncated gradient: run them once.
    before = run(loop, loop.steps.optimizer.init(theta), 0, start)
    direction = grad / grad.norm()

    def loss_at(distance):
        moved = replace(loop, X=loop.X + distance * direction)
        return outer_loss(run(moved, before, start, window)[0])[0].item()

    h = 1e-5
    # Four-point central difference: its error is of order h**4.
    slope = (8 * (loss_at(h) - loss_at(-h)) - loss_at(2 * h) + loss_at(-2 * h)) / (12 * h)
    assert slope == pytest.approx(grad.norm().item(), rel=1e-5)


def relative_error(a, b):
    return ((a - b).norm() / b.norm()).item()


@pytest.mark.parametrize("mini_batches", [False, True], ids=["whole", "mini-batches"])
@pytest.mark.parametrize("truncation", TRUNCATIONS)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_equals_autograd_through_the_unrolled_graph(learner, optimizer, truncation, mini_batches):
    loop, theta, outer_loss, real = problem(learner, OPTIMIZERS[optimizer], mini_batches)
    start, window = window_of(truncation)
    ours = meta_gradient(loop, theta, start, window, outer_loss)
    loss, (X_grad,) = by_autograd(loop, theta, start, window, real)
    assert X_grad.norm() > 1e-4
    assert ours.loss.item() == pytest.approx(loss.item(), rel=1e-12)
    assert relative_error(ours.X, X_grad) < 1e-9


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_gradient_of_soft_labels_equals_autograd(learner, optimizer):
    loop, theta, outer_loss, real = problem(learner, OPTIMIZERS[optimizer], True, soft=True)
    ours = meta_gradient(loop, theta, 2, WINDOW, outer_loss)
    _, (X_grad, y_grad) = by_autograd(loop, theta, 2, WINDOW, real, soft=True)
    assert relative_error(ours.X, X_grad) < 1e-9
    assert relative_error(ours.y, y_grad) < 1e-9


@pytest.mark.parametrize("mini_batches", [False, True], ids=["whole", "mini-batches"])
@pytest.mark.parametrize("truncation", TRUNCATIONS)
@pytest.mark.parametrize("optimizer", ["sgd-momentum-decay", "adam"])
def test_equals_finite_differences(learner, optimizer, truncation, mini_batches):
    loop, theta, outer_loss, _ = problem(learner, OPTIMIZERS[optimizer], mini_batches)
    start, window = window_of(truncation)
    assert_equals_finite_differences(loop, theta, start, window, outer_loss)


def test_truncation_matters(learner):
    loop, theta, outer_loss, _ = problem(learner, SGD(lr=0.1))
    full = meta_gradient(loop, theta, 0, UNROLL, outer_loss)
    truncated = meta_gradient(loop, theta, UNROLL - WINDOW, WINDOW, outer_loss)
    assert full.loss.item() == pytest.approx(truncated.loss.item(), rel=1e-12)
    assert relative_error(truncated.X, full.X) > 0.01


class BiasedConvNet(nn.Sequential):
    """A convolution whose bias instance normalization removes: its gradient is 0."""

    def __init__(self):
        super().__init__(
            nn.Conv2d(1, 4, 3, padding=1),
            nn.InstanceNorm2d(4, affine=True),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(256, 3),
        )


class UnusedParameter(nn.Module):
    """A parameter that enters the output times 0: its gradient is exactly 0 in every arithmetic."""

    def __init__(self):
        super().__init__()
        self.idle = nn.Parameter(torch.ones(3))
        self.linear = nn.Linear(64, 3)

    def forward(self, X):
        """Return the class scores."""
        return self.linear(X.flatten(1)) + 0.0 * self.idle


@pytest.mark.parametrize("factory", [BiasedConvNet, UnusedParameter])
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_parameter_without_gradient(factory, optimizer):
    learner = Learner(factory, dtype=torch.float64)
    loop, theta, outer_loss, real = problem(learner, OPTIMIZERS[optimizer])
    ours = meta_gradient(loop, theta, 1, WINDOW, outer_loss)
    assert ours.X.isfinite().all()
    _, (expected,) = by_autograd(loop, theta, 1, WINDOW, real)
    assert relative_error(ours.X, expected) < 1e-9


@pytest.mark.parametrize("t", [1, 5])
def test_adam_adjoint_where_every_gradient_was_zero(t):
    adam = Adam(lr=0.01)
    state = adam.init(torch.ones(2, dtype=torch.float64))
    grad = torch.zeros(2, dtype=torch.float64)
    bar = torch.tensor([[1.0, -2.0], [0.0, 0.0], [0.0, 0.0]], dtype=torch.float64)
    scalars = adam.scalars(t)
    new = adam.step(state, grad, *scalars)
    grad_bar, state_bar = adam.adjoint(state, new, bar, *scalars)
    # theta' = theta - lr * m' / c1 / (|g| + eps) has slope -lr * (1 - beta1) / c1 / eps at g = 0.
    slope = -0.01 * (1 - 0.9) / (1 - 0.9**t) / 1e-8
    torch.testing.assert_close(grad_bar, slope * bar[0], rtol=1e-12, atol=0)
    assert state_bar.isfinite().all()
    torch.testing.assert_close(state_bar[0], bar[0])


def higher_meta_gradient(learner, loop, theta, start, window, real, make_optimizer):
    """Return the meta-gradient as in [Feng23]'s code: `higher.innerloop_ctx` over the window."""
    model = learner._factory().to(torch.float64)
    model.load_state_dict(learner.parameters(theta))
    optimizer = make_optimizer(model.parameters())
    for _ in range(start):
        optimizer.zero_grad()
        F.cross_entropy(model(loop.X), loop.y).backward()
        optimizer.step()
    X = loop.X.clone().requires_grad_()
    with higher.innerloop_ctx(model, optimizer) as (fmodel, diffopt):
        for _ in range(window):
            diffopt.step(F.cross_entropy(fmodel(X), loop.y))
        return torch.autograd.grad(F.cross_entropy(fmodel(real[0]), real[1]), X)[0]


@pytest.mark.parametrize("start", [0, 3])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_equals_higher_with_sgd(learner, start, momentum):
    loop, theta, outer_loss, real = problem(learner, SGD(lr=0.1, momentum=momentum))
    ours = meta_gradient(loop, theta, start, WINDOW, outer_loss)
    make = partial(torch.optim.SGD, lr=0.1, momentum=momentum)
    theirs = higher_meta_gradient(learner, loop, theta, start, WINDOW, real, make)
    assert relative_error(ours.X, theirs) < 1e-9


@dataclass(frozen=True)
class HigherAdam(Adam):
    """higher's Adam adds epsilon before the bias correction of the root, torch's after it."""

    def _with_their_epsilon(self, correction2):
        return Adam(lr=self.lr, eps=self.eps / correction2**0.5)

    def step(self, state, grad, *scalars):
        return self._with_their_epsilon(scalars[1]).step(state, grad, *scalars)

    def adjoint(self, state, new, bar, *scalars):
        return self._with_their_epsilon(scalars[1]).adjoint(state, new, bar, *scalars)


# A large epsilon makes its place visible; with the usual 1e-8 the two agree to several digits.
@pytest.mark.parametrize("eps", [1e-8, 1e-3])
def test_differs_from_higher_with_adam_only_in_where_epsilon_enters(learner, eps):
    make = partial(torch.optim.Adam, lr=0.01, eps=eps)
    loop, theta, outer_loss, real = problem(learner, HigherAdam(lr=0.01, eps=eps))
    theirs = higher_meta_gradient(learner, loop, theta, 0, WINDOW, real, make)
    alike = meta_gradient(loop, theta, 0, WINDOW, outer_loss)
    assert relative_error(alike.X, theirs) < 1e-9
    usual = replace(loop, steps=Steps(learner, Adam(lr=0.01, eps=eps)))
    ours = meta_gradient(usual, theta, 0, WINDOW, outer_loss)
    if eps == 1e-3:
        assert relative_error(ours.X, theirs) > 1e-3


@pytest.mark.parametrize("optimizer", ["sgd-momentum-decay", "adam-decay"])
def test_plain_steps_equal_torch_optim(learner, optimizer):
    ours = OPTIMIZERS[optimizer]
    loop, theta, _, _ = problem(learner, ours)
    model = learner._factory().to(torch.float64)
    model.load_state_dict(learner.parameters(theta))
    if isinstance(ours, SGD):
        theirs = torch.optim.SGD(model.parameters(), ours.lr, ours.momentum, weight_decay=0.01)
    else:
        theirs = torch.optim.Adam(model.parameters(), ours.lr, weight_decay=0.01)
    for _ in range(5):
        theirs.zero_grad()
        F.cross_entropy(model(loop.X), loop.y).backward()
        theirs.step()
    result = learner.parameters(run(loop, ours.init(theta), 0, 5)[0])
    expected = dict(model.named_parameters())
    torch.testing.assert_close(result, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("chunk", [1, 7, 100])
def test_real_loss_in_chunks_equals_the_whole(learner, chunk):
    _, theta, outer_loss, real = problem(learner, SGD())
    loss, grad = RealBatch(Steps(learner, SGD()), Rows(*real), np.arange(20), chunk).loss(theta)
    expected_loss, expected_grad = outer_loss(theta)
    torch.testing.assert_close(loss, expected_loss)
    torch.testing.assert_close(grad, expected_grad)


@pytest.mark.parametrize("chunk", [1, 4, 6])
@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_steps_in_chunks_equal_whole_ones(learner, optimizer, soft, chunk):
    loop, theta, outer_loss, _ = problem(learner, OPTIMIZERS[optimizer], soft=soft)
    whole = meta_gradient(loop, theta, 2, WINDOW, outer_loss)
    steps = Steps(learner, OPTIMIZERS[optimizer], chunk)
    assert steps._n_chunks(loop.X) == {1: 6, 4: 2, 6: 1}[chunk]
    chunked = meta_gradient(replace(loop, steps=steps), theta, 2, WINDOW, outer_loss)
    assert relative_error(chunked.X, whole.X) < 1e-12
    if soft:
        assert relative_error(chunked.y, whole.y) < 1e-12


def assert_compiled_equals_plain(compiled, loop, theta, real, draws=None):
    """Compare meta-gradients; return which functions were compiled, for each set of shapes."""

    def result(steps):
        # 19 rows at most 8 at a time are chunks of 7, 6 and 6: two sets of shapes.
        outer_loss = RealBatch(steps, Rows(*real), np.arange(19), 8, draws).loss
        return meta_gradient(replace(loop, steps=steps), theta, 3, WINDOW, outer_loss)

    plain, fast = result(loop.steps), result(compiled)
    assert fast.loss.item() == pytest.approx(plain.loss.item(), rel=1e-12)
    assert relative_error(fast.X, plain.X) < 1e-9
    return {
        name.split("._")[-1]: [graph is not None for graph in graphs.values()]
        for name, graphs in compiled._graphs.items()
    }


@pytest.mark.slow
@pytest.mark.parametrize(("optimizer", "chunk"), [("sgd-momentum-decay", None), ("adam", 2)])
def test_compiled_steps_equal_the_plain_ones(learner, optimizer, chunk):
    loop, theta, _, real = problem(learner, OPTIMIZERS[optimizer], mini_batches=True)
    compiled = CompiledSteps(learner, OPTIMIZERS[optimizer], chunk)
    graphs = assert_compiled_equals_plain(compiled, loop, theta, real)
    expected = {"gradient": [True, True], "forward": [True], "adjoint": [True]}
    if chunk:
        own = type(OPTIMIZERS[optimizer]).__name__
        # Batches of three at most two at a time are chunks of one.
        expected = {"gradient": [True, True], "curvature": [True]}
        expected |= {f"{own}.step": [True], f"{own}.adjoint": [True]}
    assert graphs == expected


def test_what_cannot_be_compiled_runs_eagerly(learner, monkeypatch):
    def no_compiler(*args, **options):
        raise RuntimeError("no C++ compiler")

    monkeypatch.setattr(torch, "compile", no_compiler)
    loop, theta, outer_loss, _ = problem(learner, SGD(lr=0.1))
    compiled = replace(loop, steps=CompiledSteps(learner, SGD(lr=0.1)))
    plain = meta_gradient(loop, theta, 1, WINDOW, outer_loss)
    fast = meta_gradient(compiled, theta, 1, WINDOW, outer_loss)
    torch.testing.assert_close(fast.X, plain.X, rtol=0, atol=0)


def test_after_one_failure_other_functions_are_compiled_all_the_same(learner, monkeypatch):
    """Traced, the functions in C that take its place would leave out what they compute."""
    outcomes = iter([RuntimeError("out of memory")])

    def compiler(traced, **options):
        if error := next(outcomes, None):
            raise error
        return traced

    monkeypatch.setattr(torch, "compile", compiler)
    loop, theta, _, real = problem(learner, Adam(lr=0.01))
    graphs = assert_compiled_equals_plain(CompiledSteps(learner, Adam(lr=0.01)), loop, theta, real)
    assert [False] in graphs.values()
    assert [True] in graphs.values()


# With augmentation ------------------------------------------------------------------------------

AUGMENTED = pytest.mark.parametrize(
    ("alias", "channels"), [(alias, channels) for alias in AUGMENTATIONS for channels in (1, 3)]
)


def augmented_problem(alias, channels, optimizer, mini_batches=False, soft=False):
    """Return an inner loop that augments, initial parameters, an outer loss and its samples."""
    learner = Learner(partial(ConvNet, (channels, 8, 8), 3, width=4, depth=2), dtype=torch.float64)
    optimizer, augmentation = OPTIMIZERS[optimizer], AUGMENTATIONS[alias]
    loop, *others = problem(learner, optimizer, mini_batches, soft, channels)
    generator = torch.Generator().manual_seed(2)
    n = 3 if mini_batches else 6
    draws = [augmentation.draw(generator, n, (channels, 8, 8)) for _ in range(UNROLL)]
    steps = Steps(learner, optimizer, augment=augmentation.apply)
    return replace(loop, steps=steps, draws=torch.stack(draws)), *others


@pytest.mark.parametrize("mini_batches", [False, True], ids=["whole", "mini-batches"])
@pytest.mark.parametrize("optimizer", ["sgd-momentum-decay", "adam"])
@AUGMENTED
def test_augmented_equals_autograd(alias, channels, optimizer, mini_batches):
    loop, theta, outer_loss, real = augmented_problem(
        alias, channels, optimizer, mini_batches, soft=True
    )
    start = UNROLL - WINDOW
    ours = meta_gradient(loop, theta, start, WINDOW, outer_loss)
    loss, (X_grad, y_grad) = by_autograd(loop, theta, start, WINDOW, real, soft=True)
    assert ours.loss.item() == pytest.approx(loss.item(), rel=1e-12)
    assert relative_error(ours.X, X_grad) < 1e-9
    assert relative_error(ours.y, y_grad) < 1e-9
    bare = meta_gradient(replace(loop, draws=None), theta, start, WINDOW, outer_loss)
    assert relative_error(ours.X, bare.X) > 0.01


@pytest.mark.parametrize("mini_batches", [False, True], ids=["whole", "mini-batches"])
@pytest.mark.parametrize("optimizer", ["sgd-momentum-decay", "adam"])
@AUGMENTED
def test_augmented_equals_finite_differences(alias, channels, optimizer, mini_batches):
    loop, theta, outer_loss, _ = augmented_problem(alias, channels, optimizer, mini_batches)
    assert_equals_finite_differences(loop, theta, UNROLL - WINDOW, WINDOW, outer_loss)


@pytest.mark.parametrize("chunk", [1, 4])
@pytest.mark.parametrize("soft", [False, True])
@AUGMENTED
def test_augmented_steps_in_chunks_equal_whole_ones(alias, channels, soft, chunk):
    loop, theta, outer_loss, _ = augmented_problem(alias, channels, "adam", soft=soft)
    whole = meta_gradient(loop, theta, 2, WINDOW, outer_loss)
    steps = Steps(loop.steps.learner, loop.steps.optimizer, chunk, loop.steps.augment)
    chunked = meta_gradient(replace(loop, steps=steps), theta, 2, WINDOW, outer_loss)
    assert relative_error(chunked.X, whole.X) < 1e-12
    if soft:
        assert relative_error(chunked.y, whole.y) < 1e-12


@AUGMENTED
def test_augmented_steps_equal_torch_optim(alias, channels):
    loop, theta, _, _ = augmented_problem(alias, channels, "adam", mini_batches=True)
    learner = loop.steps.learner
    model = learner._factory().to(torch.float64)
    model.load_state_dict(learner.parameters(theta))
    theirs = torch.optim.Adam(model.parameters(), 0.01)
    for rows, draws in zip(loop.batches, loop.draws):
        theirs.zero_grad()
        X = AUGMENTATIONS[alias].apply(loop.X[rows], draws)
        F.cross_entropy(model(X), loop.y[rows]).backward()
        theirs.step()
    result = run(loop, loop.steps.optimizer.init(theta), 0, UNROLL)[0]
    expected = dict(model.named_parameters())
    torch.testing.assert_close(learner.parameters(result), expected, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("chunk", [1, 7, 100])
@AUGMENTED
def test_augmented_real_loss_in_chunks_equals_the_whole(alias, channels, chunk):
    loop, theta, _, (X, y) = augmented_problem(alias, channels, "adam")
    steps, augmentation = loop.steps, AUGMENTATIONS[alias]
    rows, weight = np.arange(20)[::-1].copy(), torch.linspace(0, 1, 20, dtype=torch.float64)
    draws = augmentation.draw(torch.Generator().manual_seed(3), 20, (channels, 8, 8))
    loss, grad = RealBatch(steps, Rows(X, y, weight), rows, chunk, draws).loss(theta)
    theta.requires_grad_()
    augmented = augmentation.apply(X[rows], draws)
    losses = steps.learner.loss(theta, augmented, y[rows], reduction="none")
    expected = (losses * weight[rows]).sum() / weight.sum()
    torch.testing.assert_close(loss, expected.detach())
    torch.testing.assert_close(grad, torch.autograd.grad(expected, theta)[0])


# Half a minute of compilation.
@pytest.mark.slow
def test_compiled_augmented_steps_equal_the_plain_ones():
    loop, theta, _, real = augmented_problem("dsa", 3, "adam", mini_batches=True)
    draws = AUGMENTATIONS["dsa"].draw(torch.Generator().manual_seed(3), 19, (3, 8, 8))
    compiled = CompiledSteps(loop.steps.learner, OPTIMIZERS["adam"], augment=loop.steps.augment)
    graphs = assert_compiled_equals_plain(compiled, loop, theta, real, draws)
    assert graphs == {
        # The synthetic batch's and the first of the real chunks'; the others run eagerly.
        "augmented": [True, True],
        "augmentation_adjoint": [True],
        "gradient": [True, True],
        "forward": [True],
        "adjoint": [True],
    }


def test_the_derivative_in_a_small_rate_keeps_its_digits():
    # What a step has moved, in single precision, has lost most of the gradient's.
    def rate_bar(dtype):
        learner = Learner(partial(ConvNet, (1, 8, 8), 3, width=6), dtype=dtype)
        X = torch.linspace(-1, 1, 6 * 64, dtype=dtype).reshape(6, 1, 8, 8).sin()
        along = torch.linspace(-1, 1, learner.n_parameters, dtype=dtype)
        rate = torch.tensor(1e-6, dtype=dtype)
        loop = InnerLoop(Steps(learner, GradientDescent(rate)), X, torch.arange(6) % 3)
        found = meta_gradient(loop, learner.init(0), 0, 3, lambda theta: (theta @ along, along))
        return found.lr.item()

    assert rate_bar(torch.float32) == pytest.approx(rate_bar(torch.float64), rel=1e-4)
