"""Experts: networks trained on the real samples, of which the parameters after each epoch are kept.

The trajectories of MTT [Cazenavette22]: gradient descent without momentum. Those of FTD are flat:
the gradient is that of GSAM [Zhuang22], in the form that scales with the parameters.

An expert's epoch is a pure function of its number, the epoch, the seed and the parameters before
it. So epochs can be kept one by one, and training goes on wherever it was; more epochs later are
those that would have come.

[Cazenavette22]: G. Cazenavette et al., "Dataset Distillation by Matching Training Trajectories",
CVPR 2022; its code is ``buffer.py`` of github.com/GeorgeCazenavette/mtt-distillation. [Zhuang22]:
J. Zhuang et al., "Surrogate Gap Minimization Improves Sharpness-Aware Training", ICLR 2022.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..exceptions import DivergenceError
from .methods.base import Cache, Problem
from .real_batch import RealBatch
from .steps import Steps
from .streams import Streams
from .transfer import to_device

# Maps parameters to a loss and its gradient.
Loss = Callable[[Tensor], tuple[Tensor, Tensor]]
# Added to the norms that GSAM divides by, as in its code.
_TINY = 1e-12


@dataclass(frozen=True)
class Sharpness:
    """How far an expert looks around for where the loss is flat.

    Parameters
    ----------
    rho : float
        The length of the step up, as a share of the parameters; 0 is plain gradient descent.
    alpha : float, default=0.0
        The weight of the surrogate gap of [Zhuang22]; 0 is sharpness-aware minimization (SAM).
    """

    rho: float
    alpha: float = 0.0

    def gradient(self, loss: Loss, theta: Tensor) -> Tensor:
        """Return the direction in which to descend: the gradient or, with a ``rho``, GSAM's."""
        _, here = loss(theta)
        if not self.rho:
            return here
        # The step up of ASAM: a perturbation of length rho in units of each parameter.
        length = (theta * here).norm() + _TINY
        _, above = loss(theta + self.rho / length * theta.square() * here)
        if not self.alpha:
            return above
        # Less what the gradient has beside the direction of the one above.
        along = (here @ above) / (above.square().sum() + _TINY)
        return above - self.alpha * (here - along * above)


@dataclass(frozen=True, eq=False)
class Training:
    """How experts are trained.

    Parameters
    ----------
    steps : Steps
        The networks and how their gradients are computed; the optimizer is not used.
    seed : int
        What all randomness of the experts comes from; the run's own has no part in it.
    learning_rate : float
    batch_size : int
        Real samples in a step; at most all.
    sharpness : Sharpness
    steps_per_epoch : int or None, default=None
        Steps after which parameters are kept. None is one pass of the real samples.
    """

    steps: Steps
    seed: int
    learning_rate: float
    batch_size: int
    sharpness: Sharpness
    steps_per_epoch: int | None = None

    def n_steps(self, n_samples: int) -> int:
        """Return the steps in an epoch of so many samples."""
        return self.steps_per_epoch or n_samples // min(self.batch_size, n_samples)

    def first(self, k: int) -> Tensor:
        """Return the parameters of expert ``k`` before the first step."""
        return self.steps.learner.init(Streams(self.seed).integer("expert", k))

    def epoch(self, problem: Problem, theta: Tensor, k: int, epoch: int) -> Tensor:
        """Return the parameters of expert ``k`` after an epoch (counted from 0) from ``theta``.

        Every sample is seen once before any is seen again, but for a remainder that makes no whole
        batch, which differs each time.
        """
        rngs = Streams(self.seed)
        n = self.n_steps(len(problem.real))
        changes = rngs.torch(f"augmentation of expert {k}", epoch)
        for i in range(epoch * n, (epoch + 1) * n):
            rows = self._batch(rngs, len(problem.real), k, i)
            draws = None
            if problem.augmentation is not None:
                draws = problem.augmentation.draw(changes, len(rows), problem.shape)
                draws = to_device(draws, theta.device, theta.dtype)
            real = RealBatch(self.steps, problem.real, rows, problem.chunk, draws)
            theta = theta - self.learning_rate * self.sharpness.gradient(real.loss, theta)
        return theta

    def _batch(self, rngs: Streams, n_samples: int, k: int, step: int) -> np.ndarray:
        size = min(self.batch_size, n_samples)
        passed, position = divmod(step, n_samples // size)
        order = rngs.numpy(f"batches of expert {k}", passed).permutation(n_samples)
        return order[position * size : (position + 1) * size]


@dataclass(frozen=True, eq=False)
class Trajectories:
    """The kept parameters of all experts, on the CPU, which may have more room than a device.

    Parameters
    ----------
    thetas : Tensor of shape (n_experts, n_epochs + 1, n_parameters)
    """

    thetas: Tensor

    def __call__(self, k: int, epoch: int, device: torch.device) -> Tensor:
        """Return the parameters of expert ``k`` after so many epochs."""
        return to_device(self.thetas[k, epoch], device)

    @property
    def n_bytes(self) -> int:
        """The bytes that they take."""
        return self.thetas.nbytes


def trajectories(
    training: Training,
    problem: Problem,
    cache: Cache,
    recipe: Mapping[str, Any],
    n_experts: int,
    n_epochs: int,
) -> Trajectories:
    """Return the experts' parameters after each epoch: found in the cache, or made and kept there.

    Parameters
    ----------
    training : Training
    problem : Problem
    cache : Cache
    recipe : mapping
        All that parameters depend on besides networks and training data, for the cache. How many
        experts and epochs there are is no part of it: those that are there already are taken.
    n_experts, n_epochs : int

    Raises
    ------
    DivergenceError
        If the parameters of an expert are not finite. They are not kept.
    """
    keep = cache.open(recipe)
    learner = training.steps.learner
    thetas = torch.empty(n_experts, n_epochs + 1, learner.n_parameters, dtype=learner.dtype)
    for k in range(n_experts):
        # Of no use to anybody but as a start, and made faster than it is read.
        thetas[k, 0] = training.first(k)
        for epoch in range(n_epochs):
            before = thetas[k, epoch]

            def make(k: int = k, epoch: int = epoch, before: Tensor = before) -> dict[str, Tensor]:
                start = to_device(before, learner.device)
                theta = training.epoch(problem, start, k, epoch)
                if not torch.isfinite(theta).all().item():
                    raise DivergenceError(
                        f"expert {k} diverged in epoch {epoch + 1}: its parameters are not finite. "
                        "Use a lower expert_lr or expert_rho, or check the scale of X."
                    )
                return {"theta": theta}

            thetas[k, epoch + 1] = keep(f"expert-{k:03}-epoch-{epoch + 1:03}", make)["theta"]
    return Trajectories(thetas)
