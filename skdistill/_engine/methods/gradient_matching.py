"""Gradient matching (DC, DSA, IDC): what real and synthetic samples teach a network [Zhao21a].

[Zhao21a]: B. Zhao, K. R. Mopuri and H. Bilen, "Dataset Condensation with Gradient Matching", ICLR
2021; the code of DC and DSA is ``main.py`` and ``utils.py`` of
github.com/VICO-UoE/DatasetCondensation.
[Kim22]: J.-H. Kim et al., "Dataset Condensation via Efficient Synthetic-Data Parameterization",
ICML 2022 (IDC); its code is ``condense.py`` of
github.com/snu-mllab/Efficient-Dataset-Condensation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..learner import Learner
from ..memory import PeakMemory, gradients_peak
from ..outer_optimizers import Clip, OuterOptimizer
from ..pool import Pool
from ..real_batch import RealBatch
from ..rows import balanced_batch
from ..siamese import class_draws
from ..steps import Steps, n_chunks
from .base import Gradient, Method, Problem, State, Synthetic

# What the code of DC adds to the product of two norms: a gradient of 0 has the distance 1.
_EPS = 1e-6

# The distance of a layer's gradients ``(n_rows, n_inputs)``, and its derivative in the second.
LayerDistance = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


def cosine(real: Tensor, synthetic: Tensor) -> tuple[Tensor, Tensor]:
    """Return the sum over rows of one minus the cosine [Zhao21a], and its derivative.

    A norm has no slope at 0; it is taken as 0 there.
    """
    a, b = (g.norm(dim=1, keepdim=True) for g in (real, synthetic))
    size = a * b + _EPS
    similarity = (real * synthetic).sum(dim=1, keepdim=True) / size
    direction = synthetic / torch.where(b == 0, 1, b)
    return (1 - similarity).sum(), (similarity * a * direction - real) / size


def squared(real: Tensor, synthetic: Tensor) -> tuple[Tensor, Tensor]:
    """Return the sum of squared differences, and its derivative."""
    gap = synthetic - real
    return gap.square().sum(), 2 * gap


def absolute(real: Tensor, synthetic: Tensor) -> tuple[Tensor, Tensor]:
    """Return the sum of absolute differences, and its derivative, which is 0 where they are 0."""
    gap = synthetic - real
    return gap.abs().sum(), gap.sign()


DISTANCES: dict[str, LayerDistance] = {"cosine": cosine, "mse": squared, "l1": absolute}


@dataclass(frozen=True, eq=False)
class GradientDistance:
    """The distance of two gradients of a network: the sum of those of its layers.

    Parameters
    ----------
    learner : Learner
    of_layer : callable
        One of `DISTANCES`.
    n_axes : int, default=2
        Axes of the parameters that count, at least: 2 leaves out biases and the scales and shifts
        of normalizations, 3 linear layers as well. Scales and shifts of layer normalization over
        images have three axes, and count in either case, as in the codes of DC and IDC.

    Raises
    ------
    ValueError
        If no parameter counts.
    """

    learner: Learner
    of_layer: LayerDistance
    n_axes: int = 2

    def __post_init__(self):
        if all(len(shape) < self.n_axes for shape in self.learner.shapes):
            kind = "convolutions" if self.n_axes > 2 else "weights"
            raise ValueError(
                f"matched={kind!r} must be what the networks have; the one that architecture "
                f"builds has no {kind}."
            )

    def __call__(self, real: Tensor, synthetic: Tensor) -> tuple[Tensor, Tensor]:
        """Return the distance, and its derivative with respect to the second gradient."""
        total, slope = synthetic.new_zeros(()), torch.zeros_like(synthetic)
        pieces = (g.split(self.learner.sizes) for g in (real, synthetic, slope))
        for shape, *piece in zip(self.learner.shapes, *pieces):
            if len(shape) >= self.n_axes:
                # The flat vector has the outputs first.
                of_real, of_synthetic, out = (g.view(shape[0], -1) for g in piece)
                distance, out[:] = self.of_layer(of_real, of_synthetic)
                total += distance
        return total, slope


@dataclass(frozen=True, eq=False)
class GradientMatching(Method):
    """Algorithm 1 of [Zhao21a]: the distance of a network's gradients, class by class.

    One network serves for several outer steps, and is trained between them. It is the only one of a
    pool, which replaces it when it is old enough.

    Parameters
    ----------
    steps : Steps
        The networks' loss, how its gradient is differentiated, and how they are trained.
    pool : Pool
        Of one network.
    distance : GradientDistance
    real_rows : sequence of ndarray
        The rows of each class in the training set.
    batch_size : int
        Real samples per class in each outer step; a class that has fewer uses all.
    n_steps : int
        Steps by which the network is trained between two outer steps.
    on_real : bool, default=False
        Whether it is trained on real samples [Kim22] instead of the synthetic ones.
    optimizer, clip
        As in `Method`.
    """

    steps: Steps
    pool: Pool
    distance: GradientDistance
    real_rows: Sequence[np.ndarray]
    batch_size: int
    n_steps: int
    on_real: bool = False
    optimizer: OuterOptimizer = Method.optimizer
    clip: Clip | None = Method.clip

    def init(self, problem: Problem) -> State:
        """Return the state with which a run starts."""
        return {"pool": self.pool.init(problem.rngs)}

    def gradient(
        self, problem: Problem, synthetic: Synthetic, state: State, step: int
    ) -> tuple[Gradient, State]:
        """Return the loss of outer step ``step`` with its derivatives, and the next state.

        The network of the step before is trained first, on the samples as that step left them.
        """
        pool = self._trained(problem, synthetic, state["pool"], step)
        theta, age = self.pool.network(pool, 0), self.pool.age(pool, 0)
        index = problem.rngs.draw_index(step)
        rng = problem.rngs.numpy("real_batch", index)
        draws = class_draws(problem, index)
        X, y = (problem.rows.by_class(part) for part in (synthetic.X, synthetic.y))
        loss, X_bar = X.new_zeros(()), torch.empty_like(X)
        y_bar = torch.empty_like(y) if synthetic.learns_labels else None
        for c, of_class in enumerate(self.real_rows):
            rows = balanced_batch([of_class], self.batch_size, rng)
            own = None if draws is None else draws[:, c : c + 1]
            real = self._real_gradient(problem, theta, rows, own)
            distance, *bars = self._distance(theta, X[:, c], y[:, c], real, own)
            weight = 1 if problem.class_weight is None else problem.class_weight[c]
            loss += weight * distance
            for whole, bar in zip((X_bar, y_bar), bars):
                if whole is not None:
                    whole[:, c] = weight * bar
        record = {"age": age, "n_diverged": pool["n_diverged"]}
        labels = None if y_bar is None else y_bar.flatten(0, 1)
        return Gradient(loss, X_bar.flatten(0, 1), labels, record=record), {"pool": pool}

    def check_state(self, problem: Problem, state: State, step: int) -> None:
        """Raise any error if a run cannot continue from a state that was read from a file."""
        super().check_state(problem, state, step)
        self.pool.check(state["pool"])

    def peak(self, problem: Problem) -> PeakMemory:
        """Return the memory that an outer step takes."""
        n = len(problem.real if self.on_real else problem.rows)
        return gradients_peak(
            self.steps.learner,
            self.pool.n_bytes(),
            problem.shape,
            problem.rows.ipc,
            min(n, self.pool.batch_size or n),
            max(min(len(rows), self.batch_size) for rows in self.real_rows),
            self.steps.chunk,
            problem.chunk,
            problem.real.n_bytes,
        )

    def _trained(self, problem: Problem, synthetic: Synthetic, pool: State, step: int) -> State:
        """Return the pool for an outer step."""
        if step == 0:
            return pool
        rngs = problem.rngs
        if self.on_real:
            batches = self._real_batches(problem, step)
            return self.pool.train(pool, 0, batches, rngs, step, self.n_steps)
        X, y = synthetic.X, synthetic.y
        return self.pool.advance(pool, 0, X, y, rngs, step, self.n_steps)

    def _real_batches(self, problem: Problem, step: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield random batches of real samples, the same in all processes.

        Samples are drawn in proportion to their weights, if they have some.
        """
        n, weight = len(problem.real), problem.real.weight
        size = min(n, self.pool.batch_size or n)
        share = None if weight is None else weight.cpu().double().numpy()
        share = None if share is None else share / share.sum()
        rng = problem.rngs.numpy("pool real batch", step)
        while True:
            X, y, *_ = problem.real.batch(rng.choice(n, size, replace=share is not None, p=share))
            yield X, y

    def _real_gradient(
        self, problem: Problem, theta: Tensor, rows: np.ndarray, draws: Tensor | None
    ) -> Tensor:
        """Return the gradient of the mean loss on these real samples of one class."""
        if draws is not None:
            draws = draws.expand(-1, len(rows))
        return RealBatch(self.steps, problem.real, rows, problem.chunk, draws).loss(theta)[1]

    def _distance(
        self, theta: Tensor, X: Tensor, y: Tensor, real: Tensor, draws: Tensor | None
    ) -> tuple[Tensor, ...]:
        """Return the distance for a class's samples, and its derivatives in X and soft labels.

        With ``g`` the gradient of their mean loss, that is ``d(distance)/dg`` times the derivative
        of ``g``: the gradient is differentiated along one vector.
        """
        n, augmented = len(X), X
        if draws is not None:
            draws = draws.expand(-1, n)
            augmented = self.steps.augmented(X, draws)
        k = n_chunks(n, self.steps.chunk)
        parts = [*zip(augmented.chunk(k), y.chunk(k))]
        grads = [self.steps.gradient(theta, *part)[1] for part in parts]
        synthetic = sum(grads, torch.zeros_like(theta)) / n
        distance, slope = self.distance(real, synthetic)
        bars = [self.steps.curvature(theta, *part, slope / n)[1:] for part in parts]
        X_bar, *y_bar = map(torch.cat, zip(*bars))
        if draws is not None:
            X_bar = self.steps.augmentation_adjoint(X, draws, X_bar)
        return distance, X_bar, *y_bar
