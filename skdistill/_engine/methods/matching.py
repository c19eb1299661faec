"""Distribution matching (DM): each class's mean embedding, synthetic against real [Zhao23]."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..learner import Learner
from ..memory import PeakMemory, matching_peak
from ..outer_optimizers import Clip, OuterOptimizer
from ..rows import balanced_batch
from ..siamese import augmented, class_draws
from ..steps import n_chunks
from ..transfer import to_device
from .base import Gradient, Method, Problem, State, Synthetic


class Embedding:
    """The input of a network's last linear layer: a pure function of parameters and samples.

    The last layer is the one that is called last, wherever the network keeps it.

    Parameters
    ----------
    learner : Learner
    sample_shape : tuple of int

    Raises
    ------
    ValueError
        If the network does not end in a linear layer.
    """

    def __init__(self, learner: Learner, sample_shape: tuple[int, ...]):
        self.learner = learner
        self._layer = _last_linear_layer(learner, sample_shape)

    @property
    def n_features(self) -> int:
        """How many values an embedded sample has."""
        return self._layer.in_features

    @property
    def body(self) -> Tensor:
        """Which of the network's parameters are no weights of that layer: 1 or 0 for each.

        A ValueError if its weights are no parameter, because they are computed from others.
        """
        weight, parameters = self._layer.weight, [*self.learner.module.parameters()]
        if not any(parameter is weight for parameter in parameters):
            raise ValueError(
                "architecture must build a network whose last linear layer has its weights as a "
                "parameter, which is told from the others; those of the one built are computed "
                "from others, as by weight_norm. Leave it out of the last layer."
            )
        parts = [
            torch.full((size,), float(parameter is not weight))
            for parameter, size in zip(parameters, self.learner.sizes)
        ]
        return to_device(torch.cat(parts), self.learner.device, self.learner.dtype)

    def __call__(self, theta: Tensor, X: Tensor) -> Tensor:
        """Return the embedded samples, ``(n, n_features)``."""
        return self.with_scores(theta, X)[0]

    def with_scores(self, theta: Tensor, X: Tensor) -> tuple[Tensor, Tensor]:
        """Return the embedded samples, and the class scores ``(n, n_classes)``."""
        inputs: list[Tensor] = []
        handle = self._layer.register_forward_pre_hook(lambda layer, args: inputs.append(args[0]))
        try:
            scores = self.learner.logits(theta, X)
        finally:
            handle.remove()
        return inputs[-1].flatten(1), scores


@torch.no_grad()
def _last_linear_layer(learner: Learner, sample_shape: tuple[int, ...]) -> nn.Linear:
    """Return the linear layer that a network calls last, from a probe run."""
    calls: list[tuple[nn.Linear, int]] = []

    def note(layer, args):
        calls.append((layer, len(args[0])))

    linear = [m for m in learner.module.modules() if isinstance(m, nn.Linear)]
    handles = [m.register_forward_pre_hook(note) for m in linear]
    X = torch.zeros(2, *sample_shape, device=learner.device, dtype=learner.dtype)
    try:
        n_classes = learner.module(X).shape[1]
    finally:
        for handle in handles:
            handle.remove()
    layer, n = calls[-1] if calls else (None, 0)
    if layer is None or layer.out_features != n_classes or n != len(X):
        raise ValueError(
            f"architecture must build a network that ends in a linear layer (torch.nn.Linear) with "
            f"{n_classes} outputs, because its input is what is matched; "
            f"the last linear layer of the one built is {layer}."
        )
    return layer


@dataclass(frozen=True, eq=False)
class DistributionMatching(Method):
    """Equation 4 of [Zhao23]: the distance of class means, and its gradient.

    Parameters
    ----------
    embed : Embedding
        The embedding by networks; each outer step draws a fresh one.
    real_rows : sequence of ndarray
        The rows of each class in the training set.
    batch_size : int
        Real samples per class in each outer step; a class that has fewer uses all.
    optimizer : OuterOptimizer, default=OuterAdam()
    clip : Clip or None, default=MovingAverageClip()
        As in `Method`.
    """

    embed: Embedding
    real_rows: Sequence[np.ndarray]
    batch_size: int
    optimizer: OuterOptimizer = Method.optimizer
    clip: Clip | None = Method.clip

    def gradient(
        self, problem: Problem, synthetic: Synthetic, state: State, step: int
    ) -> tuple[Gradient, State]:
        """Return the loss of outer step ``step`` with its derivatives, and the (empty) state."""
        index = problem.rngs.draw_index(step)
        theta = self.embed.learner.init(problem.rngs.integer("network", index))
        draws = class_draws(problem, index)
        real = self._real_means(problem, theta, index, draws)
        if synthetic.learns_labels:
            return self._soft_distance(problem, theta, synthetic, real, draws), state
        return self._distance(problem, theta, synthetic.X, real, draws), state

    def peak(self, problem: Problem) -> PeakMemory:
        """Return the memory that an outer step takes."""
        n_real = sum(min(len(rows), self.batch_size) for rows in self.real_rows)
        # Whole classes make a chunk of the synthetic samples.
        chunk = None if problem.chunk is None else max(problem.rows.ipc, problem.chunk)
        return matching_peak(
            self.embed.learner,
            problem.shape,
            len(problem.rows),
            n_real,
            chunk,
            problem.real.n_bytes,
        )

    @torch.no_grad()
    def _real_means(
        self, problem: Problem, theta: Tensor, index: int, draws: Tensor | None
    ) -> Tensor:
        """Return each class's (weighted) mean embedding of a real batch."""
        rng = problem.rngs.numpy("real_batch", index)
        rows = balanced_batch(self.real_rows, self.batch_size, rng)
        classes = torch.arange(len(self.real_rows), device=theta.device)[:, None]
        sums: Any = 0
        total: Any = 0
        for part in np.array_split(rows, n_chunks(len(rows), problem.chunk)):
            X, y, *weight = problem.real.batch(part)
            embedded = self.embed(theta, augmented(problem.augmentation, X, y, draws))
            share = (classes == y).to(embedded)
            if weight:
                share *= weight[0]
            # A product sums in the same order each time, as scattered additions on a GPU do not.
            sums = sums + share @ embedded
            total = total + share.sum(dim=1, keepdim=True)
        return sums / total

    def _distance(
        self, problem: Problem, theta: Tensor, X: Tensor, real: Tensor, draws: Tensor | None
    ) -> Gradient:
        """Return the squared distance of mean embeddings, summed over classes, and its gradient.

        Classes are independent, so whole classes make a chunk.
        """
        n_classes = len(real)
        X = problem.rows.by_class(X)
        most = None if problem.chunk is None else max(1, problem.chunk // len(X))
        total, grad = X.new_zeros(()), torch.empty_like(X)
        for classes in np.array_split(np.arange(n_classes), n_chunks(n_classes, most)):
            y = torch.arange(int(classes[0]), int(classes[-1]) + 1, device=X.device)
            part = X[:, y].detach().requires_grad_()
            with torch.enable_grad():
                samples = augmented(
                    problem.augmentation, part.flatten(0, 1), y.repeat(len(X)), draws
                )
                means = self.embed(theta, samples).unflatten(0, part.shape[:2]).mean(dim=0)
                loss = _summed((means - real[y]) ** 2, problem.class_weight, y)
            grad[:, y] = torch.autograd.grad(loss, part)[0]
            total += loss.detach()
        return Gradient(total, grad.flatten(0, 1))

    def _soft_distance(
        self,
        problem: Problem,
        theta: Tensor,
        synthetic: Synthetic,
        real: Tensor,
        draws: Tensor | None,
    ) -> Gradient:
        """Return the distance and its gradients where a sample counts by its labels in each class.

        A class's mean is over all samples, each with its label as its weight, so that labels that
        are one-hot make the distance that hard labels make. The samples then depend on each other.
        """
        X, y = (tensor.detach().requires_grad_() for tensor in (synthetic.X, synthetic.y))
        with torch.enable_grad():
            classes = problem.rows.labels(X.device)
            samples = augmented(problem.augmentation, X, classes, draws)
            embedded = self.embed(theta, samples)
            # A class may lose all its labels and then has no mean: take 0, with finite slopes.
            total = y.sum(dim=0).clamp(min=torch.finfo(y.dtype).eps)
            gaps = ((y.T @ embedded) / total[:, None] - real) ** 2
            loss = _summed(gaps, problem.class_weight, slice(None))
        X_bar, y_bar = torch.autograd.grad(loss, (X, y))
        return Gradient(loss.detach(), X_bar, y_bar)


def _summed(gaps: Tensor, class_weight: Tensor | None, classes) -> Tensor:
    """Return the sum of the gaps of these classes, weighted if the classes are."""
    if class_weight is None:
        return gaps.sum()
    return (gaps * class_weight[classes, None]).sum()
