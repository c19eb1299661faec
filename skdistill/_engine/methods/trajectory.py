"""Matching of training trajectories (MTT, TESLA, FTD, DATM): the loss is where training ends.

A network that starts where an expert was, and is trained on the synthetic samples, is to arrive
where the expert was some epochs later [Cazenavette22]. The derivative is that of the whole training
(`_engine.unroll`), whose last parameters have a loss in closed form instead of real samples.

[Cazenavette22]: G. Cazenavette et al., "Dataset Distillation by Matching Training Trajectories",
CVPR 2022; its code is ``distill.py`` of github.com/GeorgeCazenavette/mtt-distillation. [Cui23]: J.
Cui et al., "Scaling Up Dataset Distillation to ImageNet-1K with Constant Memory", ICML 2023.
[Guo24]: Z. Guo et al., "Towards Lossless Dataset Distillation via Difficulty-Aligned Trajectory
Matching", ICLR 2024.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..experts import Training, Trajectories, trajectories
from ..inner_batches import InnerBatches, inner_draws
from ..memory import PeakMemory, unrolled_peak
from ..optimizers import GradientDescent
from ..outer_optimizers import Clip, OuterOptimizer
from ..steps import Steps
from ..transfer import to_device
from ..unroll import InnerLoop, meta_gradient
from .base import Cache, Extra, Gradient, Method, Problem, State, Synthetic

_INNER_LR = "inner_lr"
# The rate that a recipe can have; networks diverge long before.
_MOST = 1000.0


@dataclass(frozen=True)
class Starts:
    """From which epochs of an expert a network may start, in each outer step.

    Parameters
    ----------
    least, most : int
        The first epoch, and the end of the range, which is not part of it.
    first_most : int or None, default=None
        The end of the range in the first outer step; it grows from there in a straight line, as in
        DATM [Guo24]. None is ``most``.
    n_growing : int, default=1
        Outer steps in which it grows.
    """

    least: int
    most: int
    first_most: int | None = None
    n_growing: int = 1

    def end(self, step: int) -> int:
        """Return the end of the range in an outer step."""
        if self.first_most is None:
            return self.most
        grown = (self.most - self.first_most) * step // self.n_growing
        return min(self.most, self.first_most + grown)

    def draw(self, rng: np.random.Generator, step: int) -> int:
        """Return an epoch."""
        return int(rng.integers(self.least, self.end(step)))


@dataclass(frozen=True, eq=False)
class TrajectoryMatching(Method):
    """The distance of a network trained on the synthetic samples from an expert.

    With an expert's parameters ``a`` at the start and ``b`` some epochs later, and those of the
    network ``theta`` after training from ``a``, the loss is ``|theta - b|^2 / |a - b|^2``.

    Parameters
    ----------
    training : Training
        How experts are trained.
    recipe : mapping
        What tells experts from others in a cache.
    n_experts, expert_epochs : int
        How many experts there are, and the epochs between start and target.
    starts : Starts
    syn_steps : int
        Steps of gradient descent on the synthetic samples.
    batches : InnerBatches
        The synthetic samples of each of these steps.
    inner_lr, inner_lr_lr, inner_lr_min : float
        The learning rate of these steps in the beginning, by how much it is learned, and its lower
        bound.
    first_order : bool, default=False
        Whether the steps before a step count as constant for its gradient, as in TESLA [Cui23].
    expert_labels : bool, default=False
        Whether learned labels start as what experts answer, as in DATM [Guo24].
    optimizer, clip
        As in `Method`.
    """

    training: Training
    recipe: Mapping[str, Any]
    n_experts: int
    expert_epochs: int
    starts: Starts
    syn_steps: int
    batches: InnerBatches
    inner_lr: float
    inner_lr_lr: float
    inner_lr_min: float
    first_order: bool = False
    expert_labels: bool = False
    optimizer: OuterOptimizer = Method.optimizer
    clip: Clip | None = Method.clip

    @property
    def n_epochs(self) -> int:
        """The epochs of an expert that are used: no others are trained."""
        return self.starts.most - 1 + self.expert_epochs

    def prepare(self, problem: Problem, cache: Cache) -> Trajectories:
        """Return the experts."""
        return trajectories(
            self.training, problem, cache, self.recipe, self.n_experts, self.n_epochs
        )

    def stand_in(self, problem: Problem) -> Trajectories:
        """Return experts that move in a straight line."""
        start, other = (self.training.first(k).cpu() for k in range(2))
        epochs = torch.arange(self.n_epochs + 1, dtype=start.dtype).unsqueeze(1)
        thetas = start + 0.01 * epochs * (other - start)
        return Trajectories(thetas.expand(self.n_experts, *thetas.shape))

    def relabeled(self, problem: Problem, synthetic: Synthetic) -> Tensor:
        """Return the probabilities of the experts' mean scores for the first samples.

        An expert that takes a sample for another class has no say; if all do, its label stays.
        """
        if not self.expert_labels:
            return synthetic.y
        experts, learner = problem.prepared, self.training.steps.learner
        assert isinstance(experts, Trajectories)
        X, classes = synthetic.X, problem.rows.labels(problem.device)
        total, n_right = torch.zeros_like(synthetic.y), X.new_zeros(len(X), 1)
        with torch.no_grad():
            for k in range(self.n_experts):
                theta = experts(k, self.n_epochs, learner.device)
                parts = X.split(problem.chunk or len(X))
                scores = torch.cat([learner.logits(theta, part) for part in parts])
                right = (scores.argmax(dim=1) == classes).to(X).unsqueeze(1)
                total += right * scores
                n_right += right
        labels = (total / n_right.clamp(min=1)).softmax(dim=1)
        return torch.where(n_right > 0, labels, synthetic.y)

    def extra(self, problem: Problem) -> dict[str, Extra]:
        """Return the learning rate of the steps on the synthetic samples."""
        learner = self.training.steps.learner
        value = torch.full((1,), self.inner_lr, device=problem.device, dtype=learner.dtype)
        return {_INNER_LR: Extra(value, self.inner_lr_lr, least=self.inner_lr_min)}

    def protocol(self, extra: Mapping[str, Tensor]) -> dict[str, Any]:
        """Return the training that samples are learned for: plain, by the rate that was learned."""
        return {"optimizer": "sgd", "learning_rate": min(float(extra[_INNER_LR]), _MOST)}

    def gradient(
        self, problem: Problem, synthetic: Synthetic, state: State, step: int
    ) -> tuple[Gradient, State]:
        """Return the loss of outer step ``step`` with its derivatives, and the (empty) state."""
        index = problem.rngs.draw_index(step)
        rng = problem.rngs.numpy("expert of a step", index)
        expert, start = int(rng.integers(self.n_experts)), self.starts.draw(rng, step)
        experts, device = problem.prepared, self.training.steps.learner.device
        assert isinstance(experts, Trajectories)
        first, target = (
            experts(expert, epoch, device) for epoch in (start, start + self.expert_epochs)
        )
        loop = self._loop(problem, synthetic, index)
        loss = distance(first, target)
        meta = meta_gradient(loop, first, 0, self.syn_steps, loss, self.first_order)
        assert meta.lr is not None
        rate = synthetic.extra[_INNER_LR]
        found = Gradient(
            loss=meta.loss,
            X=meta.X,
            y=meta.y,
            extra={_INNER_LR: meta.lr.view_as(rate)},
            record={"expert": expert, "start": start},
        )
        return found, state

    def peak(self, problem: Problem) -> PeakMemory:
        """Return the memory that an outer step takes."""
        steps, experts = self.training.steps, 0
        if steps.learner.device.type == "cpu" and isinstance(problem.prepared, Trajectories):
            experts = problem.prepared.n_bytes
        return unrolled_peak(
            steps.learner,
            GradientDescent.n_slots,
            problem.shape,
            self.batches.size(problem),
            min(self.training.batch_size, len(problem.real)),
            self.syn_steps,
            steps.chunk,
            problem.chunk,
            problem.real.n_bytes + experts,
            steps.is_fused,
        )

    def _loop(self, problem: Problem, synthetic: Synthetic, index: int) -> InnerLoop:
        """Return the training of a network on the synthetic samples."""
        experts = self.training.steps
        learner = experts.learner
        # The rate is another one in each outer step; what is known of the network stays.
        steps = Steps(
            learner,
            GradientDescent(synthetic.extra[_INNER_LR][0]),
            experts.chunk,
            experts.augment,
            experts.derivatives,
        )
        rows = self.batches.draw(problem, index, self.syn_steps)
        batches = None if rows is None else to_device(rows, learner.device)
        n = self.batches.size(problem)
        draws = inner_draws(problem, learner, n, index, self.syn_steps)
        return InnerLoop(steps, synthetic.X, synthetic.y, batches, draws)


def distance(start: Tensor, target: Tensor) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
    """Return the squared distance to a target, and its gradient, as a function of parameters.

    It is in units of the squared distance of the start.
    """
    unit = (start - target).square().sum()

    def evaluate(theta: Tensor) -> tuple[Tensor, Tensor]:
        gap = theta - target
        return gap.square().sum() / unit, 2 * gap / unit

    return evaluate
