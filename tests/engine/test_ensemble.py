"""Networks trained together equal networks that are trained one after the other."""

import logging
import threading
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from skdistill._engine.ensemble import (
    ONE_AFTER_THE_OTHER,
    Member,
    Plan,
    SharedTraining,
    StackedSteps,
    choose_plan,
    train,
)
from skdistill._engine.learner import Learner
from skdistill._engine.optimizers import SGD, Adam
from skdistill.networks import ConvNet, network_factory

STACKED = {"all at once": Plan(stack=5), "with a rest": Plan(stack=3), "and one": Plan(stack=4)}
COUNTS = (1, 4, 6)


@pytest.fixture
def all_are_stacked(caplog):
    """Fail if networks that are to be stacked are trained one after the other."""
    with caplog.at_level(logging.DEBUG, "skdistill._engine.ensemble"):
        yield
    assert not caplog.messages


def make_shared(learner, soft=False, visit=None, optimizer=None, augment=None):
    """Return the training of networks for three classes on twelve samples of 1 x 8 x 8."""
    generator = torch.Generator().manual_seed(0)
    X = torch.randn(12, 1, 8, 8, generator=generator, dtype=learner.dtype)
    y = torch.arange(12) % 3
    if soft:
        y = torch.randn(12, 3, generator=generator, dtype=learner.dtype).softmax(dim=1)
    visit = visit or (lambda learner, theta: theta.clone())
    return SharedTraining(learner, optimizer or Adam(), X, y, COUNTS, visit, augment)


def make_members(learner, n=5, own_batches=False, augmented=False):
    """Yield networks, each with four random samples of its own per step or with all samples."""
    for k in range(n):
        generator = torch.Generator().manual_seed(k)
        batches = torch.randint(12, (COUNTS[-1], 4), generator=generator) if own_batches else None
        size, draws = 4 if own_batches else 12, None
        if augmented:
            draws = torch.randn(COUNTS[-1], 2, size, generator=generator, dtype=learner.dtype)
        yield Member(learner.init(k), batches, draws)


def scale_and_shift(X, draws):
    """Augment: a number and another of each sample's own."""
    factor, shift = draws[..., None, None, None]
    return X * (1 + factor) + shift


def thetas(shared, plan, own_batches=False, n=5):
    """Return the parameters by network and place in the counts."""
    members = make_members(shared.learner, n, own_batches, shared.augment is not None)
    return {(k, j): theta for k, j, theta in train(shared, members, plan)}


def assert_same(got, expected):
    """Assert that the same parameters came in the same order, to the bit."""
    assert list(got) == list(expected)
    for key, theta in expected.items():
        assert torch.equal(got[key], theta)


@pytest.mark.usefixtures("all_are_stacked")
@pytest.mark.parametrize("plan", STACKED.values(), ids=STACKED)
@pytest.mark.parametrize("own_batches", [False, True], ids=["all samples", "mini-batches"])
@pytest.mark.parametrize("soft", [False, True], ids=["hard", "soft"])
@pytest.mark.parametrize("augment", [None, scale_and_shift], ids=["as they are", "augmented"])
def test_a_stack_trains_what_one_after_the_other_does(learner, augment, soft, own_batches, plan):
    shared = make_shared(learner, soft, augment=augment)
    expected = thetas(shared, ONE_AFTER_THE_OTHER, own_batches)
    got = thetas(shared, plan, own_batches)
    assert list(got) == list(expected) == [(k, j) for k in range(5) for j in range(3)]
    for key, theta in expected.items():
        torch.testing.assert_close(got[key], theta, rtol=0, atol=1e-9)
    # Five networks, at three counts: what is compared is not all the same.
    assert not torch.equal(expected[0, 2], expected[1, 2])
    assert not torch.equal(expected[0, 1], expected[0, 2])


def test_samples_are_augmented_anew_at_every_step(learner):
    seen = []

    def augment(X, draws):
        seen.append(draws)
        return scale_and_shift(X, draws)

    thetas(make_shared(learner, augment=augment), ONE_AFTER_THE_OTHER, n=1)
    (member,) = make_members(learner, 1, augmented=True)
    assert torch.equal(torch.stack(seen), member.draws)


@pytest.mark.usefixtures("all_are_stacked")
@pytest.mark.parametrize("optimizer", [SGD(lr=0.1, momentum=0.9), Adam(weight_decay=0.1)])
def test_a_stack_under_another_optimizer(learner, optimizer):
    shared = make_shared(learner, optimizer=optimizer)
    expected, got = thetas(shared, ONE_AFTER_THE_OTHER), thetas(shared, Plan(stack=5))
    for key, theta in expected.items():
        torch.testing.assert_close(got[key], theta, rtol=0, atol=1e-9)


@pytest.mark.usefixtures("all_are_stacked")
def test_a_stack_in_single_precision():
    learner = Learner(partial(ConvNet, (1, 8, 8), 3, width=4))
    # If a gradient is nearly 0, Adam's step may have either sign; SGD's step is tiny.
    shared = make_shared(learner, optimizer=SGD(lr=0.1))
    expected, got = thetas(shared, ONE_AFTER_THE_OTHER), thetas(shared, Plan(stack=5))
    for key, theta in expected.items():
        assert theta.dtype == torch.float32
        torch.testing.assert_close(got[key], theta, rtol=1e-4, atol=1e-5)


@pytest.mark.usefixtures("all_are_stacked")
@pytest.mark.parametrize("norm", ["batch", "layer", "group"])
def test_a_stack_keeps_each_networks_own_statistics(norm):
    factory = partial(ConvNet, (1, 8, 8), 3, width=4, norm=norm, pooling="max", activation="swish")
    learner = Learner(factory, dtype=torch.float64)
    shared = make_shared(learner)
    for own_batches in (False, True):
        expected = thetas(shared, ONE_AFTER_THE_OTHER, own_batches)
        got = thetas(shared, Plan(stack=5), own_batches)
        for key, theta in expected.items():
            torch.testing.assert_close(got[key], theta, rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    "architecture", ["alexnet", pytest.param("resnet18", marks=pytest.mark.slow)]
)
def test_the_other_architectures_can_be_stacked(architecture):
    learner = Learner(network_factory(architecture, (1, 16, 16), 3))
    members = list(make_members(learner, 2))
    X = torch.randn(2, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    y = torch.tensor([0, 2])
    state = torch.stack([member.theta for member in members])[None]
    with torch.no_grad():
        stacked = StackedSteps(learner, SGD(), own_batches=False).forward(state, X, y, 1)
    for k, member in enumerate(members):
        theta = member.theta.clone().requires_grad_()
        (grad,) = torch.autograd.grad(learner.loss(theta, X, y), theta)
        torch.testing.assert_close(stacked[0, k], theta.detach() - 0.01 * grad)


class Fickle(nn.Sequential):
    """A network that reads a number that depends on its parameters."""

    def forward(self, X):
        scores = super().forward(X)
        return -scores if scores.sum() > 0 else scores


class Looped(nn.Sequential):
    """A network with an operation for which vmap has no rule but a loop."""

    def forward(self, X):
        return torch.renorm(super().forward(X), 2, 0, 0.5)


@pytest.mark.parametrize(
    ("network", "reason"), [(Fickle, "vmap"), (Looped, "There is a performance drop")]
)
@pytest.mark.filterwarnings("error")
def test_networks_that_cannot_be_stacked_are_trained_one_after_the_other(network, reason):
    learner = Learner(lambda: network(nn.Flatten(), nn.Linear(64, 3)))
    shared = make_shared(learner)
    stack = torch.stack([member.theta for member in make_members(learner)])
    with pytest.raises((RuntimeError, UserWarning), match=reason):
        StackedSteps(learner, Adam(), False).forward(
            shared.optimizer.init(stack), shared.X, shared.y, 1
        )
    assert_same(thetas(shared, Plan(stack=3)), thetas(shared, ONE_AFTER_THE_OTHER))


def test_a_stack_that_memory_cannot_hold(monkeypatch, learner):
    tried = []

    def no_memory(self, state, X, y, t):
        tried.append(t)
        raise torch.OutOfMemoryError

    monkeypatch.setattr(StackedSteps, "forward", no_memory)
    shared = make_shared(learner)
    assert_same(thetas(shared, Plan(stack=2)), thetas(shared, ONE_AFTER_THE_OTHER))
    assert tried == [1]  # and not again for the next two


@pytest.mark.parametrize("own_batches", [False, True], ids=["all samples", "mini-batches"])
def test_threads_change_no_bit(cores, learner, own_batches):
    cores(1)
    shared = make_shared(learner)
    expected = thetas(shared, ONE_AFTER_THE_OTHER, own_batches)
    cores(3)
    for workers in (1, 2, 7):
        assert_same(thetas(shared, Plan(workers=workers), own_batches), expected)


def test_threads_work_at_once_and_each_on_one_core(cores):
    # Two networks wait for each other in every visit: one after the other they would wait for ever.
    barrier = threading.Barrier(2, timeout=20)
    modules, caller = set(), threading.get_ident()

    def visit(learner, theta):
        barrier.wait()
        modules.add(id(learner.module))
        assert threading.get_ident() != caller
        assert not torch.is_grad_enabled()
        return torch.get_num_threads()

    cores(3)
    learner = Learner(lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 3)))
    shared = make_shared(learner, visit=visit)
    assert list(thetas(shared, Plan(workers=2), n=4).values()) == [1] * 12
    assert len(modules) == 2
    assert id(learner.module) not in modules


def test_threads_leave_the_number_of_cores_to_others(cores):
    seen = []

    def look():
        seen.append(torch.get_num_threads())

    def visit(learner, theta):
        if not seen:
            bystander = threading.Thread(target=look)
            bystander.start()
            bystander.join()

    cores(3)
    shared = make_shared(
        Learner(lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 3))), visit=visit
    )
    thetas(shared, Plan(workers=2))
    # Two networks may come to it at once.
    assert set(seen) == {3}
    assert torch.get_num_threads() == 3


def test_networks_that_share_a_module_do_not_meet_in_threads():
    torch_module = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.Tanh(), nn.Linear(16, 3))
    shared = make_shared(Learner(lambda: torch_module))
    assert_same(thetas(shared, Plan(workers=4)), thetas(shared, ONE_AFTER_THE_OTHER))


class Captured(nn.Module):
    """A network with a function that holds on to it, as an attribute or a hook."""

    def __init__(self, how):
        super().__init__()
        self.hidden, self.head = nn.Linear(64, 16), nn.Linear(16, 3)
        self.scale = nn.Parameter(torch.ones(16))
        if how == "hook":
            self.hidden.register_forward_hook(lambda layer, args, out: torch.tanh(out * self.scale))
            self.block = self.hidden
        else:
            self.block = lambda X: torch.tanh(self.hidden(X) * self.scale)

    def forward(self, X):
        return self.head(self.block(X.flatten(1)))


@pytest.mark.parametrize("how", ["attribute", "hook"])
def test_networks_whose_copies_would_share_layers_have_no_threads(how, cores):
    cores(3)
    shared = make_shared(Learner(lambda: Captured(how)))
    assert_same(thetas(shared, Plan(workers=2)), thetas(shared, ONE_AFTER_THE_OTHER))


def test_a_network_that_cannot_be_copied_has_no_thread():
    class Uncopyable(nn.Sequential):
        def __deepcopy__(self, memo):
            raise TypeError("cannot be copied")

    caller, threads = threading.get_ident(), set()

    def visit(learner, theta):
        threads.add(threading.get_ident())
        return theta

    learner = Learner(lambda: Uncopyable(nn.Flatten(), nn.Linear(64, 3)))
    shared = make_shared(learner, visit=visit)
    assert_same(thetas(shared, Plan(workers=2)), thetas(shared, ONE_AFTER_THE_OTHER))
    assert threads == {caller}


PLANS = {"alone": ONE_AFTER_THE_OTHER, "stack": Plan(stack=2), "threads": Plan(workers=2)}


@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)
def test_errors_come_out(learner, plan):
    def visit(learner, theta):
        raise ArithmeticError("from a visit")

    with pytest.raises(ArithmeticError, match="from a visit"):
        thetas(make_shared(learner, visit=visit), plan)


class Broken(nn.Sequential):
    """A network that fails."""

    def forward(self, X):
        raise ArithmeticError("from the network")


@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)
def test_a_networks_own_error_comes_out(plan):
    learner = Learner(lambda: Broken(nn.Flatten(), nn.Linear(64, 3)))
    with pytest.raises(ArithmeticError, match="from the network"):
        thetas(make_shared(learner), plan)


def test_a_consumer_that_stops_early_stops_the_threads():
    visited = []

    def visit(learner, theta):
        visited.append(theta)

    learner = Learner(lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 3)))
    shared = make_shared(learner, visit=visit)
    seen = train(shared, make_members(learner, 50), Plan(workers=2))
    next(seen)
    seen.close()
    n_visited = len(visited)
    assert not [t for t in threading.enumerate() if t.name.startswith("skdistill")]
    assert n_visited < 50 * len(COUNTS)


def fake_learner(device, activation_bytes, n_parameters=1000):
    """Return a learner that is enough for `choose_plan`, for a device that need not be here."""
    return SimpleNamespace(
        device=torch.device(device),
        dtype=torch.float32,
        n_parameters=n_parameters,
        activation_bytes=lambda shape: activation_bytes,
    )


def test_small_networks_on_a_cpu_have_threads(cores):
    cores(4)
    small, large = fake_learner("cpu", 2**18), fake_learner("cpu", 2**24)
    assert choose_plan(small, (1, 8, 8), 10, 10) == Plan(workers=4)
    assert choose_plan(small, (1, 8, 8), 10, 3) == Plan(workers=3)
    # On one core as well, so that it is the same network as among others.
    assert choose_plan(small, (1, 8, 8), 10, 1) == Plan(workers=1)
    # A large one has all cores, whatever the number of networks.
    assert choose_plan(large, (1, 8, 8), 10, 1) == ONE_AFTER_THE_OTHER
    assert choose_plan(large, (1, 8, 8), 10, 10) == ONE_AFTER_THE_OTHER
    assert choose_plan(small, (1, 8, 8), 1000, 10) == ONE_AFTER_THE_OTHER
    # Threads would wait for Python.
    tiny = fake_learner("cpu", 2**12)
    assert choose_plan(tiny, (30,), 10, 10) == ONE_AFTER_THE_OTHER
    assert choose_plan(tiny, (30,), 10, 10, whole_steps=True) == Plan(workers=4)
    cores(1)
    assert choose_plan(small, (1, 8, 8), 10, 10) == ONE_AFTER_THE_OTHER


@pytest.mark.parametrize(
    ("activation_bytes", "n_parameters", "n_networks", "stack"),
    [
        (2**20, 1000, 10, 10),  # 10 MiB per network with 10 samples
        (2**20, 1000, 1, 1),
        (2**25, 1000, 10, 3),  # 320 MiB
        (2**25, 1000, 7, 3),
        (2**25, 1000, 4, 2),  # two pairs, not three and one
        (2**27, 1000, 10, 1),
        (2**20, 10**7, 10, 2),  # 10 MiB, and states of 381 MiB
    ],
)
def test_a_gpu_stacks_what_fits_the_budget(activation_bytes, n_parameters, n_networks, stack):
    learner = fake_learner("cuda", activation_bytes, n_parameters)
    assert choose_plan(learner, (3, 32, 32), 10, n_networks) == Plan(stack=stack)


def test_other_devices_train_one_network_after_the_other():
    assert choose_plan(fake_learner("mps", 1000), (1, 8, 8), 10, 10) == ONE_AFTER_THE_OTHER
