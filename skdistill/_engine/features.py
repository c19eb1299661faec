"""Features of real and synthetic samples, a chunk at a time, and derivatives at the latter."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from .methods.base import Problem
from .real_batch import real_draws
from .steps import n_chunks


class RealFeatures(NamedTuple):
    """Features of a real batch.

    Parameters
    ----------
    features : Tensor of shape (m, n_features)
    y : Tensor of shape (m,)
        Class indices.
    weight : Tensor of shape (m,) or None
    """

    features: Tensor
    y: Tensor
    weight: Tensor | None

    def mean(self, losses: Tensor) -> Tensor:
        """Return the (weighted) mean of a loss ``(m,)``."""
        if self.weight is None:
            return losses.mean()
        weight = self.weight.to(losses)
        return (losses * weight).sum() / weight.sum()


@dataclass(frozen=True, eq=False)
class Features:
    """A function of samples, and how many samples it takes at once.

    Parameters
    ----------
    embed : callable
        Returns the features ``(n, n_features)`` of samples, differentiably.
    chunk : int or None
        Most samples at once; None for all, which a function that couples samples needs.
    """

    embed: Callable[[Tensor], Tensor]
    chunk: int | None

    @torch.no_grad()
    def of_real(self, problem: Problem, rows: np.ndarray, index: int) -> RealFeatures:
        """Return the features of these rows of the training set; ``index`` makes augmentations."""
        n, parts = n_chunks(len(rows), self.chunk), []
        draws = real_draws(problem, len(rows), index)
        part_draws = [None] * n if draws is None else draws.tensor_split(n, dim=1)
        for part, numbers in zip(np.array_split(rows, n), part_draws):
            X, y, *weight = problem.real.batch(part)
            if numbers is not None:
                assert problem.augmentation is not None  # that they were drawn for
                X = problem.augmentation.apply(X, numbers.to(X))
            parts.append((self.embed(X), y, *weight))
        features, y, *weight = map(torch.cat, zip(*parts))
        return RealFeatures(features, y, weight[0] if weight else None)

    def of(self, X: Tensor) -> tuple[Tensor, Tensor]:
        """Return samples that can be differentiated, and their features.

        Where the samples are one chunk, the features know what they were made of; for several the
        graphs would take more memory than making them again.
        """
        X = X.detach().requires_grad_()
        n = n_chunks(len(X), self.chunk)
        with torch.set_grad_enabled(n == 1):
            return X, torch.cat([self.embed(part) for part in X.chunk(n)])

    def pulled_back(self, X: Tensor, features: Tensor, bar: Tensor) -> Tensor:
        """Return the derivative at samples, given that at their features; both come from `of`."""
        if features.requires_grad:
            return torch.autograd.grad(features, X, bar)[0]
        n = n_chunks(len(X), self.chunk)
        bars = []
        for part, part_bar in zip(X.detach().chunk(n), bar.chunk(n)):
            part.requires_grad_()
            with torch.enable_grad():
                again = self.embed(part)
            bars.append(torch.autograd.grad(again, part, part_bar)[0])
        return torch.cat(bars)
