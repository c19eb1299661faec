"""Neural feature regression with a pool (FRePo): the last layer is solved for [Zhou22].

[Zhou22]: Y. Zhou, E. Nezhadarya and J. Ba, "Dataset Distillation using Neural Feature Regression",
NeurIPS 2022; its code is ``lib/datadistillation/frepo.py`` of github.com/yongchaoz/FRePo.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from .. import ridge
from ..features import Features
from ..labels import centered, centered_one_hot
from ..memory import PeakMemory, features_peak
from ..outer_optimizers import OuterLAMB
from ..pool import Pool
from ..protocols import mean_squared_error
from .base import Gradient, Problem, RegressionMethod, State, Synthetic
from .matching import Embedding


@dataclass(frozen=True, eq=False)
class PooledRegression(RegressionMethod):
    """What FRePo and RCIG have in common: a regression on the features of networks of a pool.

    Their parameters have the same names and, but for the unit of the ridge, the same meaning; see
    `FeatureRegression`.
    """

    embed: Embedding
    pool: Pool
    batch: Callable[[int], np.ndarray]
    regularization: float
    flips: bool

    _peak = staticmethod(features_peak)

    def init(self, problem: Problem) -> State:
        """Return the state with which a run starts."""
        return {"pool": self.pool.init(problem.rngs)}

    def check_state(self, problem: Problem, state: State, step: int) -> None:
        """Raise any error if a run cannot continue from a state that was read from a file."""
        super().check_state(problem, state, step)
        self.pool.check(state["pool"])

    def peak(self, problem: Problem) -> PeakMemory:
        """Return the memory that an outer step takes."""
        return self._peak(
            self.embed.learner,
            self.pool.n_bytes(),
            self.embed.n_features,
            problem.shape,
            len(problem.rows) * (2 if self.flips else 1),
            len(self.batch(0)),
            problem.chunk,
            problem.real.n_bytes,
        )

    def _support(self, X: Tensor) -> Tensor:
        """Return samples and, if these are in the regression, their mirror images."""
        return torch.cat((X, X.flip(-1))) if self.flips else X

    def _folded(self, X_bar: Tensor) -> Tensor:
        """Return the derivative at samples, given that at what `_support` returns."""
        if not self.flips:
            return X_bar
        plain, mirrored = X_bar.chunk(2)
        return plain + mirrored.flip(-1)


@dataclass(frozen=True, eq=False)
class FeatureRegression(PooledRegression):
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

    pool_steps: int = 1

    optimizer = OuterLAMB()

    def first_labels(self, one_hot: Tensor) -> Tensor:
        """Return centered labels, smaller for more than ten classes and larger for fewer."""
        return centered(one_hot) / (one_hot.shape[1] / 10) ** 0.5

    def gradient(
        self, problem: Problem, synthetic: Synthetic, state: State, step: int
    ) -> tuple[Gradient, State]:
        """Return the loss of outer step ``step`` with its derivatives, and the next state.

        The network of the step before is trained first, on the samples as that step left them.
        """
        X, n_classes, rngs = synthetic.X, problem.rows.n_classes, problem.rngs
        y = self.labels(synthetic, n_classes, X.dtype)
        pool = state["pool"]
        if step > 0:
            last = self.pool.draw(rngs, step - 1)
            pool = self.pool.advance(pool, last, X, y, rngs, step, self.pool_steps)
        k = self.pool.draw(rngs, step)
        theta, age = self.pool.network(pool, k), self.pool.age(pool, k)
        index = rngs.draw_index(step)
        features = Features(partial(self.embed, theta), problem.chunk)
        real = features.of_real(problem, self.batch(index), index)
        support, phi = features.of(self._support(X))
        inputs = phi.detach().requires_grad_(), y.detach().requires_grad_()
        with torch.enable_grad():
            labels = inputs[1].repeat(2, 1) if self.flips else inputs[1]
            predicted, n_raised = predictions(inputs[0], labels, real.features, self.regularization)
            target = centered_one_hot(real.y, n_classes, X.dtype).to(predicted)
            loss = real.mean(mean_squared_error(predicted, target, reduction="none"))
            if synthetic.learns_labels:
                loss = loss + label_term(inputs[1])
        phi_bar, y_bar = torch.autograd.grad(loss, inputs)
        X_bar = self._folded(features.pulled_back(support, phi, phi_bar))
        # Of what all processes of a run share, so that they replace the same networks.
        if n_raised is None:
            pool = self.pool.diverged(pool, k, rngs, step)
        record = {"age": age, "n_diverged": pool["n_diverged"], "n_raised": n_raised or 0}
        found = Gradient(
            loss.detach().to(X), X_bar, y_bar if synthetic.learns_labels else None, record=record
        )
        return found, {"pool": pool}


def predictions(
    support: Tensor, y: Tensor, real: Tensor, regularization: float
) -> tuple[Tensor, int | None]:
    """Return what a ridge regression on the synthetic samples predicts for real ones.

    Parameters
    ----------
    support : Tensor of shape (n, n_features)
        Features of the synthetic samples.
    y : Tensor of shape (n, n_classes)
        Their labels.
    real : Tensor of shape (m, n_features)
    regularization : float
        As in `ridge.fit`.

    Returns
    -------
    predicted : Tensor of shape (m, n_classes)
        In double precision.
    n_raised : int or None
        How often the ridge had to be raised, as in `ridge.Regression`; None if there is no
        regression, because the features are not finite or all 0.
    """
    support = ridge.in_double(support)
    found = ridge.fit(support @ support.T, y, regularization)
    # The last layer: predictions are then one product, not one with the kernel of both sets.
    head = support.T @ found.coefficients
    is_fit = bool(found.coefficients.isfinite().all())
    return ridge.in_double(real) @ head, found.n_raised if is_fit else None


def label_term(y: Tensor, most: float = 1.0) -> Tensor:
    """Return what keeps labels apart: minus the mean margin of each largest label, cut off.

    Beyond a margin of ``most / n_classes`` to the second largest there is no more to gain.
    """
    largest, second = y.topk(2, dim=1).values.unbind(dim=1)
    return -(largest - second).clamp(max=most / y.shape[1]).mean()
