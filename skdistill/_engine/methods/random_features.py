"""Random feature approximation (RFAD): a kernel regression on features of fresh networks [Loo22].

[Loo22]: N. Loo, R. Hasani, A. Amini and D. Rus, "Efficient Dataset Distillation using Random
Feature Approximation", NeurIPS 2022; its code is ``distillation.py`` and ``random_features.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..features import Features, RealFeatures
from ..labels import centered_one_hot
from ..memory import PeakMemory, features_peak
from ..outer_optimizers import OuterAdaBelief
from ..protocols import mean_squared_error
from .base import Extra, Gradient, Problem, RegressionMethod, State, Synthetic
from .feature_regression import predictions
from .matching import Embedding

# The kernel is twice that of the features, plus this.
_CONSTANT = 0.01
LOG_SCALE = "log_scale"


@dataclass(frozen=True, eq=False)
class RandomFeatures(RegressionMethod):
    """The loss of [Loo22]: a ridge regression on the features of networks that are not trained.

    The kernel ``2 phi phi^T / (n_networks * width) + 0.01``, with the features of all networks in
    ``phi``, approximates that of infinitely wide networks (NNGP).

    Parameters
    ----------
    embed : Embedding
        A network up to its last layer.
    n_networks : int
        How many networks make the kernel.
    redraw_every : int
        Outer steps for which networks, real batch and its features are kept.
    batch : callable
        Returns the rows of the real batch for the number of such a stretch.
    regularization : float
        The ridge, in units of the mean of the kernel's diagonal.
    log_scale_lr : float or None
        Learning rate of the logarithm of the scale with which the predictions are the scores of a
        cross-entropy (Platt scaling); None for the squared error.
    """

    embed: Embedding
    n_networks: int
    redraw_every: int
    batch: Callable[[int], np.ndarray]
    regularization: float
    log_scale_lr: float | None
    # What is kept, with the number of the stretch. A resumed run makes the same again.
    _kept: dict[int, tuple[Features, RealFeatures]] = field(default_factory=dict)

    optimizer = OuterAdaBelief()

    def extra(self, problem: Problem) -> dict[str, Extra]:
        """Return the logarithm of the scale of the scores."""
        lr = self.log_scale_lr
        return {} if lr is None else {LOG_SCALE: scale_of_scores(problem, self.embed, lr)}

    def gradient(
        self, problem: Problem, synthetic: Synthetic, state: State, step: int
    ) -> tuple[Gradient, State]:
        """Return the loss of outer step ``step`` with its derivatives, and the (empty) state."""
        X, n_classes = synthetic.X, problem.rows.n_classes
        y = self.labels(synthetic, n_classes, X.dtype)
        features, real = self._of_stretch(problem, step)
        X, phi = features.of(X)
        inputs = [
            tensor.detach().requires_grad_() for tensor in (phi, y, *synthetic.extra.values())
        ]
        with torch.enable_grad():
            predicted, n_raised = predictions(
                inputs[0], inputs[1], real.features, self.regularization
            )
            if self.log_scale_lr is None:
                target = centered_one_hot(real.y, n_classes, X.dtype).to(predicted)
                losses = mean_squared_error(predicted, target, reduction="none")
            else:
                scores = predicted * inputs[2].exp().to(predicted)
                losses = F.cross_entropy(scores, real.y.to(scores.device), reduction="none")
            loss = real.mean(losses)
        phi_bar, y_bar, *extra_bars = torch.autograd.grad(loss, inputs)
        found = Gradient(
            loss=loss.detach().to(X),
            X=features.pulled_back(X, phi, phi_bar),
            y=y_bar if synthetic.learns_labels else None,
            extra=dict(zip(synthetic.extra, extra_bars)),
            record={"n_raised": n_raised or 0},
        )
        return found, state

    def peak(self, problem: Problem) -> PeakMemory:
        """Return the memory that an outer step takes."""
        learner = self.embed.learner
        return features_peak(
            learner,
            self.n_networks * learner.n_parameters * learner.dtype.itemsize,
            self.n_networks * self.embed.n_features,
            problem.shape,
            len(problem.rows),
            len(self.batch(0)),
            problem.chunk,
            problem.real.n_bytes,
        )

    def _of_stretch(self, problem: Problem, step: int) -> tuple[Features, RealFeatures]:
        """Return the features of an outer step, and those of its real batch."""
        index = problem.rngs.draw_index(step // self.redraw_every)
        if index not in self._kept:
            learner, first = self.embed.learner, index * self.n_networks
            numbers = range(first, first + self.n_networks)
            thetas = [learner.init(problem.rngs.integer("random features", i)) for i in numbers]
            features = Features(partial(self._embedded, thetas), problem.chunk)
            self._kept.clear()
            self._kept[index] = features, features.of_real(problem, self.batch(index), index)
        return self._kept[index]

    def _embedded(self, thetas: list[Tensor], X: Tensor) -> Tensor:
        """Return features whose products are the kernel."""
        parts = [self.embed(theta, X) for theta in thetas]
        scale = (2 / sum(part.shape[1] for part in parts)) ** 0.5
        constant = X.new_full((len(X), 1), _CONSTANT**0.5)
        return torch.cat([*(scale * part for part in parts), constant], dim=1)


def scale_of_scores(problem: Problem, embed: Embedding, learning_rate: float) -> Extra:
    """Return the logarithm of the scale with which predictions are the scores of a cross-entropy.

    It starts at 0, and is learned with the samples.
    """
    zero = torch.zeros(1, device=problem.device, dtype=embed.learner.dtype)
    return Extra(zero, learning_rate)
