"""Several networks trained on the same samples, together where that is faster.

A step of a small network on a few samples costs launches and Python more than arithmetic, and
leaves most of a device idle. On a GPU several networks therefore become one: their states are
stacked, and `torch.func.vmap` takes the loss over the stack. On a CPU, where the convolutions that
this makes (one with a group for each network) are slow, each network has a thread: it is computed
as if it were alone, to the bit.
"""

import logging
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from copy import copy, deepcopy
from dataclasses import dataclass
from itertools import islice
from queue import SimpleQueue
from threading import Event
from typing import Any

import torch
from threadpoolctl import threadpool_limits
from torch import Tensor

from .learner import Learner
from .optimizers import InnerOptimizer
from .steps import Steps
from .unroll import InnerLoop, run

_logger = logging.getLogger(__name__)

# A CPU's cores share the work of one network badly if its batch's activations take less than this.
_SMALL_BYTES_CPU = 8 * 2**20
# With less than this Python's own time is most of a step's, unless C functions compute whole steps,
# and threads wait for each other: on a table of 30 features they took 1.5 times as long
# (bench_evaluation.py).
_TINY_BYTES_CPU = 64 * 2**10
# Bytes that a stack's activations and states may take on a GPU. More would fit, but there a single
# network already keeps the device busy.
_STACK_BYTES_GPU = 2**30
# Values per parameter in a step of Adam: the state before and after, gradient, parts of the state.
_PARAMETERS_IN_A_STEP = 10


@dataclass(frozen=True)
class Plan:
    """How networks are trained together.

    Parameters
    ----------
    stack : int, default=1
        Networks in one stack.
    workers : int or None, default=None
        Threads, each of which trains one network at a time on one core. None trains in the calling
        thread, with all cores. A stack has no threads of its own.
    """

    stack: int = 1
    workers: int | None = None


ONE_AFTER_THE_OTHER = Plan()


def takes_whole_steps(learner: Learner, optimizer: InnerOptimizer) -> bool:
    """Return whether C functions compute whole steps of this network, without augmentation."""
    return Steps(learner, optimizer).whole(1) is not None


def choose_plan(
    learner: Learner,
    sample_shape: tuple[int, ...],
    batch_size: int,
    n_networks: int,
    whole_steps: bool = False,
) -> Plan:
    """Return how to train this many networks on batches of this size.

    It depends only on counts, not on a clock. On a CPU, the number of networks may change it only
    in ways that do not change any network's bits. With `whole_steps`, C functions compute them.
    """
    activations = batch_size * learner.activation_bytes(sample_shape)
    if learner.device.type == "cpu":
        n_cores = torch.get_num_threads()
        is_tiny = activations < _TINY_BYTES_CPU and not whole_steps
        if n_cores == 1 or is_tiny or activations > _SMALL_BYTES_CPU:
            return ONE_AFTER_THE_OTHER
        return Plan(workers=min(n_networks, n_cores))
    if learner.device.type != "cuda":
        return ONE_AFTER_THE_OTHER
    states = _PARAMETERS_IN_A_STEP * learner.n_parameters * learner.dtype.itemsize
    most = max(1, _STACK_BYTES_GPU // (activations + states))
    n_stacks = -(-n_networks // most)
    return Plan(stack=-(-n_networks // n_stacks))


@dataclass(frozen=True)
class Member:
    """The tensors that belong to one network, or to one stack of networks.

    Parameters
    ----------
    theta : Tensor of shape ([n_networks,] n_parameters)
        Its parameters before the first step.
    batches : Tensor of shape (n_steps, [n_networks,] batch_size) or None
        The rows that each step uses; None uses all.
    draws : Tensor of shape (n_steps, n_numbers, [n_networks,] batch_size) or None
        The random numbers of each step's augmentation; None augments nothing.
    """

    theta: Tensor
    batches: Tensor | None = None
    draws: Tensor | None = None


@dataclass(frozen=True)
class SharedTraining:
    """What networks that are trained together have in common.

    Parameters
    ----------
    learner : Learner
    optimizer : InnerOptimizer
    X, y : Tensor
        The training samples and their class indices ``(n,)`` or soft labels ``(n, n_classes)``.
    counts : tuple of int
        Ascending step counts; a network is trained for the last of them.
    visit : callable
        Called with the learner and a network's parameters at each of the counts. Only what it
        returns is kept. It may run in a thread.
    augment : callable or None, default=None
        As in `Steps`, for members that have draws.
    """

    learner: Learner
    optimizer: InnerOptimizer
    X: Tensor
    y: Tensor
    counts: tuple[int, ...]
    visit: Callable[[Learner, Tensor], Any]
    augment: Callable[[Tensor, Tensor], Tensor] | None = None


class StackedSteps(Steps):
    """Like `Steps`, for a stack of networks: a state is ``(n_slots, n_networks, n_parameters)``.

    Parameters
    ----------
    learner : Learner
    optimizer : InnerOptimizer
    own_batches : bool
        Whether each network has samples of its own, ``(n_networks, n, ...)``, or all share them.
    augment : callable or None, default=None
        As in `Steps`. Each network then sees shared samples augmented in its own way.
    """

    def __init__(
        self,
        learner: Learner,
        optimizer: InnerOptimizer,
        own_batches: bool,
        augment: Callable[[Tensor, Tensor], Tensor] | None = None,
    ):
        super().__init__(learner, optimizer, augment=augment)
        # vmap takes the gradient by autograd.
        self.without_autograd, self._whole = False, None
        self._own_batches = own_batches
        X_dim = 0 if own_batches or augment is not None else None
        y_dim = 0 if own_batches else None
        self._loss = torch.func.vmap(learner.loss, in_dims=(0, X_dim, y_dim))

    def forward(self, state: Tensor, X: Tensor, y: Tensor, t: int) -> Tensor:
        """Return the states after step ``t`` (counted from 1)."""
        theta = state[0].detach().requires_grad_()
        with torch.enable_grad():
            # No network's loss depends on another's parameters: the gradient of the sum holds all.
            loss = self._loss(theta, X, y).sum()
        (grad,) = torch.autograd.grad(loss, theta)
        return self.optimizer.step(state, grad, *self.optimizer.scalars(t))

    def augmented(self, X: Tensor, draws: Tensor) -> Tensor:
        """Return each network's samples, with draws ``(n_numbers, n_networks, n)``: augmented."""
        n_networks = draws.shape[1]
        if not self._own_batches:
            X = X.expand(n_networks, *X.shape)
        # An augmentation mixes no samples, so it can take those of all networks as one batch.
        flat = super().augmented(X.flatten(0, 1), draws.flatten(1))
        return flat.unflatten(0, (n_networks, -1))


def train(
    shared: SharedTraining, members: Iterable[Member], plan: Plan
) -> Iterator[tuple[int, int, Any]]:
    """Train networks and yield what was seen of each at each count.

    Parameters
    ----------
    shared : SharedTraining
    members : iterable of Member
        Consumed in the calling thread, when there is room for another one.
    plan : Plan

    Yields
    ------
    k, j : int
        The network, and the position in the shared counts of the number of steps that it has been
        trained for; sorted by ``k``, then ``j``.
    seen
        What ``shared.visit`` returned.
    """
    if plan.stack > 1:
        lists = _in_stacks(shared, iter(members), plan.stack)
    elif plan.workers is not None:
        lists = _in_threads(shared, members, plan.workers)
    else:
        lists = (_train_one(shared, shared.learner, member) for member in members)
    for k, seen in enumerate(lists):
        for j, value in enumerate(seen):
            yield k, j, value


@torch.no_grad()
def _trained(
    steps: Steps, shared: SharedTraining, member: Member, stopped: Event | None = None
) -> Iterator[Tensor]:
    """Yield the parameters ``([n_networks,] n_parameters)`` at each count."""
    loop = InnerLoop(steps, shared.X, shared.y, member.batches, member.draws)
    mode = torch.inference_mode if loop.without_autograd else torch.no_grad
    state, done, n_at_once = steps.optimizer.init(member.theta), 0, loop.n_at_once
    for count in shared.counts:
        with mode():
            for i in range(done, count, n_at_once):
                if stopped is not None and stopped.is_set():
                    return
                state = run(loop, state, i, min(n_at_once, count - i))
        done = count
        # A copy, because what inference mode made can enter no graph.
        yield state[0].clone()


@torch.no_grad()
def _train_one(
    shared: SharedTraining, learner: Learner, member: Member, stopped: Event | None = None
) -> Iterator[Any]:
    """Yield what is seen of a network at each count."""
    steps = Steps(learner, shared.optimizer, augment=shared.augment)
    for theta in _trained(steps, shared, member, stopped):
        yield shared.visit(learner, theta)


def _in_threads(
    shared: SharedTraining, members: Iterable[Member], n_workers: int
) -> Iterator[Iterable[Any]]:
    """Yield, for each network, what is seen at the counts; several are trained at once."""
    try:
        # Calling a network with other parameters swaps them in its module: each thread needs its
        # own.
        learners = [_twin(shared.learner) for _ in range(n_workers)]
        _check_twin(shared, learners[0])
    except Exception as error:
        _logger.debug("one network after the other: %s", error)
        yield from (_train_one(shared, shared.learner, member) for member in members)
        return
    free: SimpleQueue[Learner] = SimpleQueue()
    for learner in learners:
        free.put(learner)
    stopped = Event()

    def work(member: Member) -> list:
        learner = free.get()
        try:
            return list(_train_one(shared, learner, member, stopped))
        finally:
            free.put(learner)

    pool = ThreadPoolExecutor(n_workers, "skdistill", _keep_to_one_core)
    pending: deque[Future[list[Any]]] = deque()
    try:
        for member in members:
            pending.append(pool.submit(work, member))
            # One network more than threads, so that no thread waits for the consumer of the
            # results.
            if len(pending) > n_workers:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        # An error, an interrupt, or a caller who has seen enough.
        stopped.set()
        pool.shutdown(cancel_futures=True)


def _twin(learner: Learner) -> Learner:
    twin = copy(learner)
    twin.module = deepcopy(learner.module)
    return twin


@torch.no_grad()
def _check_twin(shared: SharedTraining, twin: Learner) -> None:
    """Raise a ValueError if a network is computed by layers of the one that it is a copy of.

    A copy shares its functions: a hook, or a lambda among its attributes, may hold on to the
    layers of the first network, and with them to the parameters of another thread.
    """
    theta, X = shared.learner.near(shared.learner.init(0)), shared.X[:2]
    scores, of_twin = (learner.logits(theta, X) for learner in (shared.learner, twin))
    if not torch.allclose(scores, of_twin, rtol=1e-3, atol=1e-5, equal_nan=True):
        raise ValueError("a copy of the network computes other scores")


def _keep_to_one_core() -> None:
    """Keep torch's operations in this thread, to its end, from being divided among cores.

    ``torch.set_num_threads`` would do so for the whole process. OpenMP's own setting is a thread's.
    """
    torch.get_num_threads()  # torch sets it when a thread first asks, and not again
    threadpool_limits(1, user_api="openmp")


def _in_stacks(shared: SharedTraining, members: Iterator[Member], size: int) -> Iterator[Iterable]:
    """Yield, for each network, what is seen at the counts; a stack is trained at once."""
    stackable = True
    while group := list(islice(members, size)):
        seen = None
        if stackable and len(group) > 1:
            try:
                seen = _train_stack(shared, group)
            except Exception as error:
                # vmap cannot take it, or memory cannot hold it. The network's own errors will come
                # again.
                _logger.debug("one network after the other: %s", error)
                stackable = False
        yield from seen or (_train_one(shared, shared.learner, member) for member in group)


@torch.no_grad()
def _train_stack(shared: SharedTraining, group: list[Member]) -> list[list]:
    seen: list[list] = [[] for _ in group]
    stack = _stacked(group, shared.learner.device)
    own_batches = stack.batches is not None
    steps = StackedSteps(shared.learner, shared.optimizer, own_batches, shared.augment)
    with warnings.catch_warnings():
        # vmap loops over operations that it has no rule for, and warns: that is not faster.
        warnings.filterwarnings("error", message="There is a performance drop")
        for thetas in _trained(steps, shared, stack):
            # One by one: a test set's chunks keep a device busy without a stack.
            for theta, values in zip(thetas, seen):
                values.append(shared.visit(shared.learner, theta))
    return seen


def _stacked(group: list[Member], device: torch.device) -> Member:
    theta = torch.stack([member.theta for member in group])
    batches = draws = None
    if group[0].batches is not None:
        batches = torch.stack(
            [member.batches for member in group if member.batches is not None], dim=1
        ).to(device)
    if group[0].draws is not None:
        draws = torch.stack(
            [member.draws for member in group if member.draws is not None], dim=2
        ).to(device)
    return Member(theta, batches, draws)
