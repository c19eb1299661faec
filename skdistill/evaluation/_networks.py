"""Train fresh networks on samples and labels by a protocol."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .._data.layout import Layout
from .._data.rows import Rows, whole_and_rows
from .._data.warn import warn
from .._engine.chain import scorer
from .._engine.data import RealData, Standardizer, as_tensor
from .._engine.ensemble import Member, Plan, SharedTraining, choose_plan, takes_whole_steps, train
from .._engine.group import join_group
from .._engine.learner import Learner
from .._engine.optimizers import InnerOptimizer
from .._engine.protocols import (
    WithoutInitialScores,
    largest_stable_rate,
    loss_of,
    protocol_optimizer,
    targets,
)
from .._engine.runtime import chunk_size, resolve_device
from .._engine.streams import Streams
from .._engine.transfer import to_device
from ..augmentation import Augmentation, check_augmentation
from ..distilled._dataset import DistilledDataset
from ..distilled._protocol import TrainingProtocol
from ..distilled._recipe import EvaluationRecipe
from ..exceptions import DivergenceWarning
from ..networks import Architecture
from ..sampling import UniformSampler
from . import _plain_architecture, _plain_augmentation
from ._network_checks import make_learner

__all__ = [
    "NOT_FINITE",
    "RIGHT",
    "NetworkFamily",
    "TrainingSamples",
    "accuracy_curve",
    "answers",
    "judge",
    "logits_in_chunks",
    "network_family",
    "plan_of",
    "train_networks",
    "training_samples",
    "warn_of_divergence",
]

# The answer of a network, and the verdict on it, where scores are not finite. They have no largest
# one: the network has diverged, and its answer counts as an error.
NOT_FINITE = -1
# The verdict on an answer that is right; 0 is that on one that is wrong.
RIGHT = 1


@dataclass(frozen=True, eq=False)
class NetworkFamily:
    """The networks that a distilled set trains, and how samples are made ready for them.

    Parameters
    ----------
    learner : Learner
    chunk : int
        Samples to put through a network at once.
    layout : Layout or None, default=None
    standardizer : Standardizer or None, default=None
        Standardizes samples of the caller; not needed for samples that are standardized.
    augmentation : Augmentation or None, default=None
        Augmentation of the samples on which the networks are trained.
    """

    learner: Learner
    chunk: int
    layout: Layout | None = None
    standardizer: Standardizer | None = None
    augmentation: Augmentation | None = None

    def data(self, X: np.ndarray | Rows, y: np.ndarray) -> RealData:
        """Return samples in the caller's layout, with class indices, on the networks' device."""
        # Who gives samples of the caller's has said what makes them ready.
        assert self.layout is not None
        assert self.standardizer is not None
        X, rows = whole_and_rows(X)
        samples = as_tensor(self.layout.to_engine(X))
        return RealData(samples, as_tensor(y), self.standardizer, self.learner.device, rows=rows)


@dataclass(frozen=True, eq=False)
class TrainingSamples:
    """The samples on which networks are trained, and the protocol.

    Parameters
    ----------
    X : Tensor of shape (n, *sample_shape)
        Standardized samples.
    y : Tensor of shape (n,) or (n, n_classes)
        Class indices, or soft labels.
    protocol : TrainingProtocol
    seed : int
        Determines the networks' initializations, mini-batches and augmentations.
    """

    X: Tensor
    y: Tensor
    protocol: TrainingProtocol
    seed: int


def network_family(
    distilled: DistilledDataset,
    architecture: str | Architecture | dict[str, Any] | None,
    device: str | torch.device,
    augmentation: str | Augmentation | None = "recipe",
    check: bool = True,
) -> NetworkFamily:
    """Return the networks of this architecture for a distilled set, on this device.

    None means the recipe's architecture, and one may have the plain form that recipes have. The
    networks of a callable are tried (`make_learner`) unless ``check`` is false.

    Raises
    ------
    ValueError
        If there is no architecture (the set was distilled with a callable, which is not saved), if
        the augmentation is unknown or not in the recipe, or if the networks cannot be trained.
    """
    recipe = distilled.recipe
    architecture = recipe.architecture if architecture is None else architecture
    if architecture is None:
        raise ValueError(
            "architecture must be given: the set was distilled with a callable, which is not saved."
        )
    if isinstance(architecture, dict):
        architecture, check = _plain_architecture.from_plain(architecture), False
        assert architecture is not None
    device = resolve_device(device)
    shape = recipe.layout.network_shape
    if isinstance(augmentation, str) and augmentation == "recipe":
        augmentation = _plain_augmentation.from_plain(recipe.augmentation)
    augmentation = check_augmentation(augmentation, shape)
    learner = make_learner(architecture, shape, len(distilled.classes), device, check=check)
    learner.criterion = loss_of(recipe.loss)
    if recipe.subtract_initial:
        learner = WithoutInitialScores(learner)
    standardizer = Standardizer(recipe.mean, recipe.scale, shape, device, learner.dtype)
    chunk = chunk_size(learner, shape)
    return NetworkFamily(learner, chunk, recipe.layout, standardizer, augmentation)


def with_what_is_not_kept(
    recipe: EvaluationRecipe,
    source: Any,
    architecture: str | Architecture | None = None,
    augmentation: str | Augmentation | None = "recipe",
) -> tuple[str | Architecture | None, str | Augmentation | None]:
    """Return a network and an augmentation for `network_family`, with what a recipe cannot keep.

    That comes from the parameters of the estimator, ``source``, that has made the set: they may
    have been set since, and nothing else of them is that of the samples.
    """
    if architecture is None and recipe.architecture is None:
        architecture = getattr(source, "architecture", None)
    is_recipes = isinstance(augmentation, str) and augmentation == "recipe"
    if is_recipes and not _plain_augmentation.is_restorable(recipe.augmentation):
        augmentation = getattr(source, "augmentation", "recipe")
    return architecture, augmentation


def accuracy_curve(
    family: NetworkFamily,
    training: TrainingSamples,
    networks: int | Sequence[int],
    counts: Sequence[int] | np.ndarray,
    test: RealData,
    sample_weight: np.ndarray | None = None,
    plan: Plan | None = None,
) -> tuple[np.ndarray, int]:
    """Return the test accuracy ``(n_networks, n_counts)`` of fresh networks at each step count.

    The parameters are those of `train_networks`, and the test samples with their weights. The
    processes of a group divide the networks among them; each returns all accuracies, and the number
    of networks that diverged.
    """
    group = join_group()
    networks = range(networks) if isinstance(networks, int | np.integer) else networks
    mine = networks[group.rank :: group.size]
    rows = {network: row for row, network in enumerate(networks)}
    curve, diverged = both = np.zeros((2, len(networks), len(counts)))
    visit = partial(judge, data=test)
    for k, j, verdicts in train_networks(family, training, mine, counts, visit, plan):
        verdicts = verdicts.cpu().numpy()
        curve[rows[k], j] = np.average(verdicts == RIGHT, weights=sample_weight)
        diverged[rows[k], j] = (verdicts == NOT_FINITE).any()
    curve, diverged = group.total(both)
    return curve, int(diverged.any(axis=1).sum())


def train_networks(
    family: NetworkFamily,
    training: TrainingSamples,
    networks: int | Sequence[int],
    counts: Sequence[int] | np.ndarray,
    visit: Callable[[NetworkFamily, Tensor], Any] | None = None,
    plan: Plan | None = None,
) -> Iterator[tuple[int, int, Any]]:
    """Train fresh networks by a protocol, together where that is faster.

    Network ``k`` does not depend on the other networks; on a CPU, bit for bit. On ``counts`` it
    depends only if the protocol has a schedule, which is that of the last of them.

    Parameters
    ----------
    family : NetworkFamily
    training : TrainingSamples
    networks : int or sequence of int
        How many networks, or which ones.
    counts : sequence of int
        Ascending step counts; a network is trained for the last of them.
    visit : callable or None, default=None
        Called with the family and the parameters ``(n_parameters,)`` of a network, perhaps in a
        thread, perhaps again if the networks turn out not to fit into memory together. None copies
        the parameters: those of several networks are then held at all counts.
    plan : Plan or None, default=None
        How networks are trained together; None decides by their size.

    Yields
    ------
    k, j : int
        The network, and the position in ``counts`` of the number of steps that it has been trained
        for; sorted by ``k``, then ``j``.
    seen
        What ``visit`` returned.
    """
    networks = range(networks) if isinstance(networks, int | np.integer) else networks
    if not networks:
        return
    learner, protocol = family.learner, training.protocol
    X, y = training.X, training.y
    augmentation = family.augmentation
    n_steps, size = int(counts[-1]), min(len(X), protocol.batch_size)

    def seen(learner: Learner, theta: Tensor) -> Any:
        return theta.clone() if visit is None else visit(replace(family, learner=learner), theta)

    def member(k: int) -> Member:
        rngs = Streams(training.seed)
        theta = learner.init(rngs.integer("evaluation_network", k))
        batches = _mini_batches(len(X), protocol.batch_size, n_steps, rngs, k)
        # All at once: a step that had to fetch its own would wait for the device each time.
        batches = None if batches is None else to_device(batches, X.device)
        if augmentation is None:
            return Member(theta, batches)
        generator = rngs.torch("evaluation_augmentation", k)
        draws = [augmentation.draw(generator, size, tuple(X.shape[1:])) for _ in range(n_steps)]
        return Member(theta, batches, to_device(torch.stack(draws), X.device, X.dtype))

    rate = None
    if protocol.learning_rate == "stable":
        # Of the first network, whichever are trained here: no network depends on which others are.
        first = learner.init(Streams(training.seed).integer("evaluation_network", 0))
        rate = largest_stable_rate(learner, first, X)
    optimizer = protocol_optimizer(protocol, n_steps, rate)
    if plan is None:
        plan = plan_of(family, training, optimizer, len(networks))
    shared = SharedTraining(
        learner,
        optimizer,
        X,
        y,
        tuple(map(int, counts)),
        seen,
        None if augmentation is None else augmentation.apply,
    )
    for i, j, value in train(shared, map(member, networks), plan):
        yield networks[i], j, value


def plan_of(
    family: NetworkFamily, training: TrainingSamples, optimizer: InnerOptimizer, n_networks: int
) -> Plan:
    """Return how to train so many networks of a family together."""
    X, size = training.X, min(len(training.X), training.protocol.batch_size)
    whole = family.augmentation is None and takes_whole_steps(family.learner, optimizer)
    return choose_plan(family.learner, tuple(X.shape[1:]), size, n_networks, whole)


@torch.no_grad()
def logits_in_chunks(
    family: NetworkFamily, theta: Tensor, data: RealData
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the class scores of consecutive samples, and the samples' class indices."""
    scores = scorer(family.learner)
    for first in range(0, len(data), family.chunk):
        X, y = data.batch(np.arange(first, min(first + family.chunk, len(data))))
        try:
            yield scores(theta, X), y
        except ValueError as error:
            if len(X) > 1:
                raise
            raise ValueError(
                "X must not leave one sample to itself: the network failed on it, as those do that "
                f"normalize by the batch they see ({error}). Give it more samples at once, or use "
                "a network with instance, group or layer normalization."
            ) from error


def answers(family: NetworkFamily, theta: Tensor, data: RealData) -> Tensor:
    """Return, by sample, the index of the class that a network takes it for, or `NOT_FINITE`."""
    # Left on the device: reading it after each chunk would wait for the GPU.
    parts = [
        logits.argmax(dim=1).masked_fill(~logits.isfinite().all(dim=1), NOT_FINITE)
        for logits, _ in logits_in_chunks(family, theta, data)
    ]
    return torch.cat(parts)


def judge(family: NetworkFamily, theta: Tensor, data: RealData) -> Tensor:
    """Return, by sample, `RIGHT`, `NOT_FINITE`, or 0 for a network that is wrong."""
    given = answers(family, theta, data)
    # In a byte each: those of several networks are held at all counts of steps.
    return (given == data.y).to(torch.int8).masked_fill(given == NOT_FINITE, NOT_FINITE)


def warn_of_divergence(n_diverged: int, n_networks: int) -> None:
    """Warn if some of the networks that were trained on a set diverged, only in one process."""
    if n_diverged and join_group().rank == 0:
        warn(
            f"{n_diverged} of {n_networks} networks diverged: their scores are not finite, which "
            "counts as errors. Use a lower learning_rate in the recipe, and check the synthetic "
            "samples, the recipe's mean and scale, and the network.",
            DivergenceWarning,
        )


def training_samples(family: NetworkFamily, distilled: DistilledDataset) -> TrainingSamples:
    """Return the samples and labels of a distilled set, as networks see them."""
    assert family.layout is not None
    assert family.standardizer is not None
    learner, recipe = family.learner, distilled.recipe
    X = family.standardizer.forward(as_tensor(family.layout.to_engine(distilled.X)))
    if distilled.y.ndim == 2:
        y = as_tensor(distilled.y).to(device=learner.device, dtype=learner.dtype)
    else:
        y = as_tensor(np.searchsorted(distilled.classes, distilled.y)).to(learner.device)
    y = targets(recipe.protocol, y, len(distilled.classes), learner.dtype)
    return TrainingSamples(X, y, recipe.protocol, recipe.seed)


def _mini_batches(n: int, size: int, n_steps: int, rngs: Streams, k: int) -> Tensor | None:
    """Draw the training rows of each step of network ``k``; None if all fit into one batch."""
    if n <= size:
        return None
    rng = rngs.numpy("evaluation_batch", k)
    sampler = UniformSampler(n, size, lambda epoch: rng)
    return torch.from_numpy(np.stack([sampler.batch(i) for i in range(n_steps)]))
