"""Which synthetic samples each step of an inner loop has, and how they are augmented.

All is drawn before the loop, and replayed in its adjoint.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from .learner import Learner
from .methods.base import Problem
from .transfer import to_device


@dataclass(frozen=True)
class InnerBatches:
    """The batches of inner steps: equally many samples of each of some classes.

    All steps have one size, so one compiled step serves them.

    Parameters
    ----------
    per_class : int or None
        Samples per class in a step; None for all.
    n_classes : int or None
        Classes in a step, drawn anew for each; None for all.
    """

    per_class: int | None = None
    n_classes: int | None = None

    def size(self, problem: Problem) -> int:
        """Return the number of samples in a step."""
        per_class, n_classes = self._counts(problem)
        return per_class * n_classes

    def draw(self, problem: Problem, index: int, n_steps: int) -> Tensor | None:
        """Draw the rows ``(n_steps, size)`` of an inner loop, on the CPU; None means all."""
        ipc, n_classes = problem.rows.ipc, problem.rows.n_classes
        per_class, n_drawn = self._counts(problem)
        if per_class == ipc and n_drawn == n_classes:
            return None
        # Separate streams: drawing classes does not change which samples a class gives.
        samples = _subsets(problem.rngs.torch("inner_batch", index), (n_steps, n_classes, ipc))
        classes = _subsets(problem.rngs.torch("inner_classes", index), (n_steps, n_classes))
        classes = classes[:, :n_drawn].sort(dim=1).values[..., None]
        samples = samples[..., :per_class].take_along_dim(classes, dim=1)
        return (samples * n_classes + classes).flatten(1)

    def _counts(self, problem: Problem) -> tuple[int, int]:
        """Return the samples per class in a step, and the classes."""
        ipc, n_classes = problem.rows.ipc, problem.rows.n_classes
        return min(ipc, self.per_class or ipc), min(n_classes, self.n_classes or n_classes)


# All samples in each step.
ALL = InnerBatches()


def _subsets(generator: torch.Generator, shape: tuple[int, ...]) -> Tensor:
    """Draw random orders of the last axis, of which the first entries are random subsets."""
    return torch.rand(shape, generator=generator, dtype=torch.float32).argsort(dim=-1)


def inner_draws(
    problem: Problem, learner: Learner, n: int, index: int, n_steps: int
) -> Tensor | None:
    """Draw the numbers of each inner step's augmentation of ``n`` samples, if there is one."""
    if problem.augmentation is None:
        return None
    generator = problem.rngs.torch("inner_augmentation", index)
    # Step by step, because numbers that are drawn once per batch must differ between steps.
    draws = [problem.augmentation.draw(generator, n, problem.shape) for _ in range(n_steps)]
    return to_device(torch.stack(draws), learner.device, learner.dtype)
