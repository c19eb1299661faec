"""Neural feature regression with a pool (FRePo): the last layer is solved for [Zhou22].

[Zhou22]: Y. Zhou, E. Nezhadarya and J. Ba, "Dataset Distillation using Neural Feature Regression",
NeurIPS 2022; its code is ``lib/datadistillation/frepo.py`` of github.com/yongchaoz/FRePo.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .. import ridge
from ..labels import centered, centered_one_hot
from ..memory import PeakMemory, pooled_peak
from ..outer_optimizers import OuterLAMB
from ..pool import Pool
from ..protocols import mean_squared_error
from ..steps import n_chunks
from ..transfer import to_device
from .base import Free, Gradient, Method, Problem, State, Synthetic
from .matching import Embedding


@dataclass(frozen=True, eq=False)
class FeatureRegression(Method):
    """Algorithm 1 of [Zhou22]: the loss of a network whose last layer is a ridge regression.

    The network is one of a pool, and its other layers do not depend on the synthetic set as far as
    the gradient is concerned: there is no training to differentiate.

    Parameters
    ----------
    embed : Embedding
        A network up to its last layer.
    pool : Pool
    batch : callable
        Returns the rows of the real batch of an outer step.
    regularization : float
        The ridge, in units of the mean of the kernel's diagonal.
    flips : bool
        Whether the mirror image of each synthetic image is in the regression.
    pool_steps : int, default=1
        Steps by which a network is trained after the outer step that it was drawn for.
    """

    embed: Embedding
    pool: Pool
    batch: Callable[[int], np.ndarray]
    regularization: float
    flips: bool
    pool_steps: int = 1

    project_labels = Free()
    label_loss = "mse"
    optimizer = OuterLAMB()
    clip = None

    def first_labels(self, one_hot: Tensor) -> Tensor:
        """Return centered labels, smaller for more than ten classes and larger for fewer."""
        return centered(one_hot) / (one_hot.shape[1] / 10) ** 0.5

    def init(self, problem: Problem) -> State:
        """Return the state with which a run starts."""
        return {"pool": self.pool.init(problem.rngs)}

    def gradient(
        self, problem: Problem, synthetic: Synthetic, state: State, step: int
    ) -> tuple[Gradient, State]:
        """Return the loss of outer step ``step`` with its derivatives, and the next state.

        The network of the step before is trained first, on the samples as that step left them.
        """
        X, n_classes, rngs = synthetic.X, problem.rows.n_classes, problem.rngs
        learns = synthetic.learns_labels
        y = synthetic.y if learns else centered_one_hot(synthetic.y, n_classes, X.dtype)
        pool = state["pool"]
        if step > 0:
            last = self.pool.draw(rngs, step - 1)
            pool = self.pool.advance(pool, last, X, y, rngs, step, self.pool_steps)
        k = self.pool.draw(rngs, step)
        theta, age = self.pool.network(pool, k), self.pool.age(pool, k)
        real, y_real, weight = self._real_features(problem, theta, rngs.draw_index(step))
        support, phi = self._support(problem, theta, X)
        features = phi.detach().requires_grad_()
        labels = y.detach().requires_grad_()
        with torch.enable_grad():
            twice = labels.repeat(2, 1) if self.flips else labels
            loss, n_raised = regression_loss(
                features, twice, real, y_real, weight, self.regularization
            )
            if learns:
                loss = loss + label_term(labels)
        features_bar, labels_bar = torch.autograd.grad(loss, (features, labels))
        X_bar = self._pulled_back(problem, theta, support, phi, features_bar)
        # Of what all processes of a run share, so that they replace the same networks.
        if n_raised is None:
            pool = self.pool.diverged(pool, k, rngs, step)
        record = {"age": age, "n_diverged": pool["n_diverged"], "n_raised": n_raised or 0}
        found = Gradient(loss.detach().to(X), X_bar, labels_bar if learns else None, record=record)
        return found, {"pool": pool}

    def check_state(self, problem: Problem, state: State, step: int) -> None:
        """Raise any error if a run cannot continue from a state that was read from a file."""
        super().check_state(problem, state, step)
        self.pool.check(state["pool"])

    def peak(self, problem: Problem, synthetic: Synthetic) -> PeakMemory:
        """Return the memory that an outer step takes."""
        return pooled_peak(
            self.embed.learner,
            self.pool.n_bytes(),
            self.pool.steps.optimizer.n_slots,
            self.embed.n_features,
            problem.shape,
            len(problem.rows) * (2 if self.flips else 1),
            len(self.batch(0)),
            problem.chunk,
            problem.real.n_bytes,
        )

    @torch.no_grad()
    def _real_features(
        self, problem: Problem, theta: Tensor, index: int
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return the features, labels and (perhaps) weights of the real batch."""
        rows, parts = self.batch(index), []
        n = n_chunks(len(rows), problem.chunk)
        draws = self._draws(problem, len(rows), index)
        part_draws = [None] * n if draws is None else draws.tensor_split(n, dim=1)
        for part, numbers in zip(np.array_split(rows, n), part_draws):
            X, y, *weight = problem.real.batch(part)
            if numbers is not None:
                assert problem.augmentation is not None  # that they were drawn for
                X = problem.augmentation.apply(X, numbers)
            labels = centered_one_hot(y, problem.rows.n_classes, X.dtype)
            parts.append((self.embed(theta, X), labels, *weight))
        features, labels, *weight = map(torch.cat, zip(*parts))
        return features, labels, weight[0] if weight else None

    def _draws(self, problem: Problem, n: int, index: int) -> Tensor | None:
        """Draw the numbers of the real batch's augmentation, ``(n_numbers, n)``."""
        if problem.augmentation is None:
            return None
        generator = problem.rngs.torch("real_augmentation", index)
        draws = problem.augmentation.draw(generator, n, problem.shape)
        return to_device(draws, problem.device, self.embed.learner.dtype)

    def _support(self, problem: Problem, theta: Tensor, X: Tensor) -> tuple[Tensor, Tensor]:
        """Return the samples of the regression and their features.

        Where these samples are one chunk, the features know what they were made of; for several the
        graphs would take more memory than making them again.
        """
        support = torch.cat((X, X.flip(-1))) if self.flips else X
        support = support.detach().requires_grad_()
        n = n_chunks(len(support), problem.chunk)
        with torch.set_grad_enabled(n == 1):
            return support, torch.cat([self.embed(theta, part) for part in support.chunk(n)])

    def _pulled_back(
        self, problem: Problem, theta: Tensor, support: Tensor, phi: Tensor, bar: Tensor
    ) -> Tensor:
        """Return the derivative at the samples, given that at the features."""
        if phi.requires_grad:
            support_bar = torch.autograd.grad(phi, support, bar)[0]
        else:
            n = n_chunks(len(support), problem.chunk)
            bars = []
            for part, part_bar in zip(support.detach().chunk(n), bar.chunk(n)):
                part.requires_grad_()
                with torch.enable_grad():
                    features = self.embed(theta, part)
                bars.append(torch.autograd.grad(features, part, part_bar)[0])
            support_bar = torch.cat(bars)
        if not self.flips:
            return support_bar
        plain, mirrored = support_bar.chunk(2)
        return plain + mirrored.flip(-1)


def regression_loss(
    support: Tensor,
    y: Tensor,
    real: Tensor,
    y_real: Tensor,
    weight: Tensor | None,
    regularization: float,
) -> tuple[Tensor, int | None]:
    """Return the (weighted) mean loss on real samples of a ridge regression on the synthetic ones.

    Parameters
    ----------
    support : Tensor of shape (n, n_features)
        Features of the synthetic samples.
    y : Tensor of shape (n, n_classes)
        Their labels.
    real : Tensor of shape (m, n_features)
    y_real : Tensor of shape (m, n_classes)
    weight : Tensor of shape (m,) or None
    regularization : float

    Returns
    -------
    loss : Tensor
        Scalar, in double precision.
    n_raised : int or None
        How often the ridge had to be raised, as in `ridge.Regression`; None if there is no
        regression, because the features are not finite or all 0.
    """
    support, real = ridge.in_double(support), ridge.in_double(real)
    found = ridge.fit(support @ support.T, y, regularization)
    # The last layer: predictions are then one product, not one with the kernel of both sets.
    head = support.T @ found.coefficients
    losses = mean_squared_error(real @ head, ridge.in_double(y_real), reduction="none")
    is_fit = bool(found.coefficients.isfinite().all())
    if weight is None:
        loss = losses.mean()
    else:
        weight = ridge.in_double(weight)
        loss = (losses * weight).sum() / weight.sum()
    return loss, found.n_raised if is_fit else None


def label_term(y: Tensor) -> Tensor:
    """Return what keeps labels apart: minus the mean margin of each largest label, cut off.

    Beyond a margin of ``1 / n_classes`` to the second largest there is no more to gain.
    """
    largest, second = y.topk(2, dim=1).values.unbind(dim=1)
    return -(largest - second).clamp(max=1 / y.shape[1]).mean()
