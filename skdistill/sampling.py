"""Which real samples make the batch of an outer step.

A strategy, the object behind a distiller's ``sampler``, holds parameters only. For a run it makes a
sampler, which remembers values in a dictionary, its state, which the run carries. `init_state`
makes the state, `prepare` may change it before an outer step, given the synthetic samples from
which the step starts, and `batch` reads it.
"""

from collections.abc import Callable, Sequence
from math import prod
from numbers import Integral
from typing import Any, Literal

import numpy as np
import torch
from sklearn.cluster import MiniBatchKMeans
from sklearn.metrics import pairwise_distances_argmin
from sklearn.metrics.pairwise import euclidean_distances
from torch import Tensor

from ._data.strategy import Strategy
from ._data.validation import Interval, StrOptions
from ._engine.methods.base import Problem
from ._engine.methods.matching import Embedding
from ._engine.methods.unrolled import Sampler
from ._engine.optimizers import Adam
from ._engine.rows import rows_by_class
from ._engine.runtime import synthetic_chunk
from ._engine.steps import Steps, n_chunks
from ._engine.unroll import InnerLoop, run

__all__ = ["BatchStrategy", "KMeansSampler", "UniformSampler"]

# Values of a class that are clustered at most.
_MOST = 2**25
# Learning rate of the Adam that trains the network by which samples are embedded.
_RATE = 0.001


class UniformSampler:
    """Every sample once per epoch, in a new random order: the ``d ~ D`` of [Feng23, Algorithm 1].

    A batch is a pure function of the step, so a resumed run has the same batches. If an epoch does
    not divide into whole batches, it leaves out a remainder, which differs each time.

    Parameters
    ----------
    n_samples : int
        Size of the training set.
    batch_size : int
        Samples per batch; at most ``n_samples`` are used.
    permutation : callable
        Maps an epoch's number to a ``numpy.random.Generator``.
    """

    def __init__(
        self,
        n_samples: int,
        batch_size: int,
        permutation: Callable[[int], np.random.Generator],
    ):
        self._n_samples = n_samples
        self._batch_size = min(batch_size, n_samples)
        self._permutation = permutation
        self._epoch = -1
        self._order = np.empty(0, dtype=np.int64)

    def init_state(self) -> dict[str, Any]:
        """Return the state with which a run starts: none."""
        return {}

    def prepare(self, X: object, y: object, step: int, state: dict[str, Any]) -> dict[str, Any]:
        """Return the state unchanged."""
        return state

    def batch(self, step: int, state: dict[str, Any] | None = None) -> np.ndarray:
        """Return the rows of the training set that make the batch of this outer step."""
        epoch, position = divmod(step, self._n_samples // self._batch_size)
        if epoch != self._epoch:
            self._order = self._permutation(epoch).permutation(self._n_samples)
            self._epoch = epoch
        first = position * self._batch_size
        return self._order[first : first + self._batch_size]


def uniform_batches(problem: Problem, batch_size: int) -> UniformSampler:
    """Return the sampler of a run whose batches are uniform."""
    rngs = problem.rngs
    return UniformSampler(
        len(problem.real), batch_size, lambda epoch: rngs.numpy("real_batch", epoch)
    )


class BatchStrategy(Strategy):
    """Base class of the strategies by which a run's real samples are chosen."""

    def during(self, problem: Problem, batch_size: int) -> Sampler:
        """Return the sampler of a run.

        Parameters
        ----------
        problem : Problem
        batch_size : int
            Real samples in an outer step; at most all of the training set.
        """
        raise NotImplementedError


class KMeansSampler(BatchStrategy):
    """Real batches that represent their classes: samples from the clusters of k-means, as in DREAM.

    A random batch may lack a part of a class and have another twice. Here, every `renew_every`
    outer steps, the samples of each class are clustered into as many clusters as a batch has
    samples of it, and each cluster gives one: the sample nearest to its center, or a random one
    [Liu23]_. Classes have their frequencies of the training set.

    It is the ``sampler`` of a `RaTBPTTDistiller`. The object holds parameters only: the run keeps
    the clusters, and so do its checkpoints.

    Parameters
    ----------
    features : {"network", "samples"}, default="network"
        What is clustered: standardized samples as a network embeds them before its last linear
        layer, drawn anew each time (as in [Liu23]), or as they are.
    steps : int, default=0
        Steps of Adam, learning rate 0.001, that train this network on the current synthetic
        samples; 0 leaves it as it was drawn. [Liu23] takes the network through which gradients are
        matched, which is fresh at first and then trained on real samples.
    choose : {"nearest", "random"}, default="nearest"
        Which sample of a cluster is taken: the nearest to its center (as in [Liu23]), in all outer
        steps until clusters are renewed, or another random one in each. If several processes share
        a run, their batches of "nearest" are the same.
    per_cluster : int, default=1
        Samples that each cluster gives, of which there are fewer then. [Liu23]: 1.
    renew_every : int or None, default=10
        Outer steps between two clusterings; 10 as in the code of [Liu23]. They take most of the
        time where classes are large. None clusters once: "samples" do not change.

    Notes
    -----
    Clusters are those of `sklearn.cluster.MiniBatchKMeans`. ``sample_weight`` plays no part in
    clusters, choice and frequencies: it weighs the losses of the samples that are chosen. If a
    class has more than 2**25 values, a random part of that size, drawn anew each time, is clustered
    and gives the samples. If features are not finite, the last clusters are kept; without any, the
    batch is uniform.

    References
    ----------
    .. [Liu23] Y. Liu et al., "DREAM: Efficient Dataset Distillation by Representative Matching",
       ICCV 2023. Its code is github.com/Yanqing0327/DREAM.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skdistill import RaTBPTTDistiller
    >>> from skdistill.sampling import KMeansSampler
    >>> X, y = load_iris(return_X_y=True)
    >>> distiller = RaTBPTTDistiller(
    ...     sampler=KMeansSampler(features="samples", renew_every=None), batch_size=30,
    ...     max_iter=2, window=2, unroll=4,
    ... ).fit(X, y)
    """

    _parameter_constraints: dict[str, Any] = {
        "features": [StrOptions({"network", "samples"})],
        "steps": [Interval(Integral, 0, None, closed="left")],
        "choose": [StrOptions({"nearest", "random"})],
        "per_cluster": [Interval(Integral, 1, None, closed="left")],
        "renew_every": [Interval(Integral, 1, None, closed="left"), None],
    }

    def __init__(
        self,
        features: Literal["network", "samples"] = "network",
        steps: int = 0,
        choose: Literal["nearest", "random"] = "nearest",
        per_cluster: int = 1,
        renew_every: int | None = 10,
    ):
        self.features = features
        self.steps = steps
        self.choose = choose
        self.per_cluster = per_cluster
        self.renew_every = renew_every

    def during(self, problem: Problem, batch_size: int) -> "ClusterSampler":
        """Return the sampler of a run; ValueError if a batch is too small for all classes."""
        n_classes = problem.rows.n_classes
        if batch_size < n_classes:
            raise ValueError(
                f"batch_size={batch_size} must be at least {n_classes}, the number of classes, "
                "with a KMeansSampler: every batch has samples of each."
            )
        return ClusterSampler(self, problem, batch_size)


class ClusterSampler:
    """A `KMeansSampler` during a run.

    Parameters
    ----------
    strategy : KMeansSampler
    problem : Problem
    batch_size : int
    """

    def __init__(self, strategy: KMeansSampler, problem: Problem, batch_size: int):
        self._strategy = strategy
        self._problem = problem
        self._uniform = uniform_batches(problem, batch_size)
        self._by_class = rows_by_class(problem.real.y, problem.rows.n_classes)
        sizes = [len(rows) for rows in self._by_class]
        self._shares = shares(sizes, min(batch_size, sum(sizes)))
        # Whether the network can be asked for its embedding is to be known before the run.
        self._embed = None
        if strategy.features == "network":
            self._embed = Embedding(problem.networks, problem.shape)

    def init_state(self) -> dict[str, Any]:
        """Return the state with which a run starts: no clusters."""
        return {"clusters": None}

    def prepare(self, X: Tensor, y: Tensor, step: int, state: dict[str, Any]) -> dict[str, Any]:
        """Return the state for outer step ``step``, with new clusters if they are due."""
        every = self._strategy.renew_every
        if state["clusters"] is not None and (every is None or step % every):
            return state
        clusters = self._cluster(X, y, step)
        return state if clusters is None else {"clusters": clusters}

    def batch(self, step: int, state: dict[str, Any]) -> np.ndarray:
        """Return the rows of the training set that make the batch of this outer step."""
        if state["clusters"] is None:
            return self._uniform.batch(step)
        rng = self._problem.rngs.numpy("real_batch", step)
        parts = []
        for n, members in state["clusters"]:
            rows = np.asarray(members, dtype=np.int64)
            if len(rows) != n:
                rows = rng.choice(rows, n, replace=len(rows) < n)
            parts.append(rows)
        batch = np.concatenate(parts)
        n, n_real = sum(self._shares), len(self._problem.real)
        if len(batch) != n or batch.min() < 0 or batch.max() >= n_real:
            raise ValueError(
                f"clusters must give {n} of {n_real} rows; got {batch.tolist()!r:.200}."
            )
        return batch

    def _cluster(self, X: Tensor, y: Tensor, step: int) -> list[list[Any]] | None:
        """Return for each cluster the number of samples to take, and the rows to take them from.

        It is the same in all processes of a run. None if features are not finite.
        """
        rng = self._problem.rngs.numpy("clusters", step)
        embed = self._embedding(X, y, step)
        clusters: list[list[Any]] = []
        for rows, share in zip(self._by_class, self._shares):
            most = max(share, _MOST // self._n_features)
            if len(rows) > most:
                rows = np.sort(rng.choice(rows, most, replace=False))
            features = self._features(embed, rows)
            seed = int(rng.integers(2**31))
            if not np.isfinite(features).all():
                return None
            clusters += self._of_class(rows, features, share, seed)
        return clusters

    def _of_class(
        self, rows: np.ndarray, features: np.ndarray, share: int, seed: int
    ) -> list[list[Any]]:
        """Return the clusters of a class."""
        k = max(1, share // self._strategy.per_cluster)
        # As equally as they divide.
        takes = [len(part) for part in np.array_split(np.arange(share), k)]
        if k == len(rows):
            return [[1, [row]] for row in rows.tolist()]
        kmeans = MiniBatchKMeans(k, n_init=1, random_state=seed, compute_labels=False)
        centers = kmeans.fit(features).cluster_centers_
        distances = euclidean_distances(centers, features)
        order = np.argsort(distances, axis=1, kind="stable")
        if self._strategy.choose == "nearest":
            return _nearest(rows, takes, order)
        labels = pairwise_distances_argmin(features, centers)
        members = [rows[labels == j] for j in range(k)]
        # A cluster without members, as mini-batches may leave one, has the sample nearest to it.
        return [
            [n, (found if len(found) else rows[nearest[:1]]).tolist()]
            for n, found, nearest in zip(takes, members, order)
        ]

    @property
    def _n_features(self) -> int:
        return prod(self._problem.shape) if self._embed is None else self._embed.n_features

    def _embedding(self, X: Tensor, y: Tensor, step: int) -> Callable[[Tensor], Tensor]:
        """Return what maps standardized samples to features ``(n, n_features)``."""
        if self._embed is None:
            return lambda samples: samples.flatten(1)
        problem, embed = self._problem, self._embed
        theta = problem.networks.init(problem.rngs.integer("clusters", step))
        n_steps = self._strategy.steps
        if n_steps:
            chunk = synthetic_chunk(problem.networks, problem.shape, problem.chunk)
            steps = Steps(problem.networks, Adam(_RATE), chunk)
            with torch.no_grad():
                state = run(InnerLoop(steps, X, y), steps.optimizer.init(theta), 0, n_steps)
            theta = state[0]
        return lambda samples: embed(theta, samples)

    @torch.no_grad()
    def _features(self, embed: Callable[[Tensor], Tensor], rows: np.ndarray) -> np.ndarray:
        parts = np.array_split(rows, n_chunks(len(rows), self._problem.chunk))
        return np.concatenate(
            [embed(self._problem.real.batch(part)[0]).float().cpu().numpy() for part in parts]
        )


def shares(sizes: Sequence[int], total: int) -> list[int]:
    """Divide ``total`` in proportion to sizes, at least 1 each, by the largest remainders."""
    quotas = np.asarray(sizes) * total / sum(sizes)
    found = np.maximum(1, np.floor(quotas)).astype(int)
    while found.sum() != total:
        # In turn, the one that lacks most gets one, or the one that has most too many gives one.
        lacks = quotas - found
        if found.sum() < total:
            found[np.argmax(lacks)] += 1
        else:
            found[np.argmin(np.where(found > 1, lacks, np.inf))] -= 1
    return found.tolist()


def _nearest(rows: np.ndarray, takes: Sequence[int], order: np.ndarray) -> list[list[Any]]:
    """Return for each cluster the samples nearest to its center that no earlier one has.

    Parameters
    ----------
    rows : ndarray of shape (n,)
    takes : sequence of int
        How many samples each cluster has, at most ``n`` in all.
    order : ndarray of shape (n_clusters, n)
        Indices of the rows by their distance to each center.
    """
    free = np.ones(len(rows), dtype=bool)
    clusters = []
    for n, nearest in zip(takes, order):
        own = nearest[free[nearest]][:n]
        free[own] = False
        clusters.append([n, rows[own].tolist()])
    return clusters
