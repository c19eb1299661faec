"""A batch of real samples: its augmentation, and how networks do on it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from .data import RealData
from .steps import Steps, n_chunks
from .transfer import to_device

if TYPE_CHECKING:
    from .methods.base import Problem

__all__ = ["RealBatch", "real_draws"]


def real_draws(problem: Problem, n: int, index: int) -> Tensor | None:
    """Draw the numbers of a real batch's augmentation, ``(n_numbers, n)``, if there is one."""
    if problem.augmentation is None:
        return None
    generator = problem.rngs.torch("real_augmentation", index)
    draws = problem.augmentation.draw(generator, n, problem.shape)
    return to_device(draws, problem.device, torch.float32)


@dataclass(frozen=True, eq=False)
class RealBatch:
    """Real samples of an outer step, on which networks are judged.

    The batch is taken at most ``chunk`` samples at a time: that bounds memory, and on a CPU it is
    faster because a chunk's activations stay near the cache.

    Parameters
    ----------
    steps : Steps
    data : RealData
    rows : ndarray
        The rows of the training set.
    chunk : int or None
        Most samples that go through a network at once; None for all.
    draws : Tensor of shape (n_numbers, n) or None, default=None
        The numbers of an augmentation, of which each chunk has its columns; None augments nothing.
    """

    steps: Steps
    data: RealData
    rows: np.ndarray
    chunk: int | None
    draws: Tensor | None = None

    def loss(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mean (weighted) loss and its gradient."""
        total, total_grad = theta.new_zeros(()), torch.zeros_like(theta)
        total_weight = theta.new_zeros(())
        for X, y, *weight in self._parts():
            loss, grad = self.steps.gradient(theta, X, y, *weight)
            total += loss
            total_grad += grad
            total_weight += weight[0].sum() if weight else len(y)
        return total / total_weight, total_grad / total_weight

    @torch.no_grad()
    def accuracy(self, theta: Tensor) -> Tensor:
        """Return the (weighted) part of the samples about which a network is right."""
        right, total_weight = theta.new_zeros(()), theta.new_zeros(())
        for X, y, *weight in self._parts():
            correct = (self.steps.learner.logits(theta, X).argmax(dim=1) == y).to(theta)
            counted = weight[0] if weight else torch.ones_like(correct)
            right += (correct * counted).sum()
            total_weight += counted.sum()
        return right / total_weight

    def _parts(self) -> Iterator[tuple[Tensor, ...]]:
        n = n_chunks(len(self.rows), self.chunk)
        draws = [None] * n if self.draws is None else self.draws.tensor_split(n, dim=1)
        for part, numbers in zip(np.array_split(self.rows, n), draws):
            X, *rest = self.data.batch(part)
            yield X if numbers is None else self.steps.augmented(X, numbers), *rest
