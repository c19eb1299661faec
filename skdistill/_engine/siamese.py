"""Siamese augmentation: one draw for all samples of a class, real and synthetic [Zhao21b].

What a network says of real and of synthetic samples is compared, so both are changed in the same
way.

[Zhao21b]: B. Zhao and H. Bilen, "Dataset Condensation with Differentiable Siamese Augmentation",
ICML 2021.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .methods.base import Augmentation, Problem
from .transfer import to_device


def class_draws(problem: Problem, index: int) -> Tensor | None:
    """Draw the numbers of each class's augmentation, ``(n_numbers, n_classes)``, if there is one.

    They are drawn class by class, because numbers that an augmentation draws once per batch must
    differ between classes.
    """
    if problem.augmentation is None:
        return None
    generator = problem.rngs.torch("real_augmentation", index)
    draws = [
        problem.augmentation.draw(generator, 1, problem.shape)
        for _ in range(problem.rows.n_classes)
    ]
    learner = problem.networks
    return to_device(torch.cat(draws, dim=1), learner.device, learner.dtype)


def augmented(
    augmentation: Augmentation | None, X: Tensor, y: Tensor, draws: Tensor | None
) -> Tensor:
    """Return samples of these classes, each augmented as its class is."""
    if draws is None:
        return X
    assert augmentation is not None  # that they were drawn for
    return augmentation.apply(X, draws[:, y])
