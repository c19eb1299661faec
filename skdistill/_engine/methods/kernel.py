"""Kernel inducing points (KIP): samples that a kernel regression learns the real ones from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
import torch
from torch import Tensor

from .. import ridge
from ..kernels import FullyConnected, blocks, rows_of_a_block
from ..labels import centered_one_hot
from ..memory import PeakMemory, kernel_peak
from ..real_batch import real_draws
from ..ridge import in_double
from ..rows import balanced_batch
from ..transfer import to_device
from .base import Gradient, Problem, RegressionMethod, State, Synthetic


@dataclass(frozen=True, eq=False)
class KernelRidge(RegressionMethod):
    """Equation 2 of [Nguyen21a]: the loss of kernel ridge regression, and its gradient.

    The regression is fitted to the synthetic samples, and its loss is half the squared error at a
    real batch, as a mean over classes and samples. All is computed in double precision, the kernel
    with the real batch in blocks: memory does not grow with the batch.

    Parameters
    ----------
    kernel : FullyConnected
    regularization : float
        As in `skdistill._engine.ridge.fit`.
    real_rows : sequence of ndarray
        The rows of each class in the training set.
    batch_size : int
        Real samples in each outer step, equally many of each class; a class that has fewer uses
        all.
    """

    kernel: FullyConnected
    regularization: float
    real_rows: Sequence[np.ndarray]
    batch_size: int

    def gradient(
        self, problem: Problem, synthetic: Synthetic, state: State, step: int
    ) -> tuple[Gradient, State]:
        """Return the loss of outer step ``step`` with its derivatives, and the (empty) state."""
        index, n_classes = problem.rngs.draw_index(step), problem.rows.n_classes
        rng = problem.rngs.numpy("real_batch", index)
        rows = balanced_batch(self.real_rows, self.batch_size // n_classes, rng)
        X = in_double(synthetic.X.detach()).requires_grad_()
        if synthetic.learns_labels:
            y = in_double(synthetic.y.detach()).requires_grad_()
        else:
            y = centered_one_hot(synthetic.y.to(X.device), n_classes, torch.float64)
        with torch.enable_grad():
            fitted = ridge.fit(self.kernel(X), y, self.regularization)
        loss, X_bar, coefficients_bar = self._real_loss(problem, rows, index, X, fitted)
        inputs = [each for each in (X, y) if each.requires_grad]
        more = torch.autograd.grad(fitted.coefficients, inputs, coefficients_bar)
        like = synthetic.X
        found = Gradient(
            loss=loss.to(like),
            X=(X_bar + more[0]).to(like),
            y=more[1].to(like) if len(more) > 1 else None,
            record={"n_raised": fitted.n_raised},
        )
        return found, state

    def peak(self, problem: Problem) -> PeakMemory:
        """Return the memory that an outer step takes."""
        n = len(problem.rows)
        n_rows = min(rows_of_a_block(n, problem.device), self.batch_size)
        return kernel_peak(prod(problem.shape), n, n_rows, self.kernel.depth, problem.real.n_bytes)

    def _real_loss(
        self, problem: Problem, rows: np.ndarray, index: int, X: Tensor, fitted: ridge.Regression
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the loss on real samples, with its derivatives at samples and coefficients.

        The coefficients are taken as independent of the samples here.
        """
        coefficients = fitted.coefficients.detach().requires_grad_()
        weights = _weights(problem, rows).to(X.device)
        draws = real_draws(problem, len(rows), index)
        loss = X.new_zeros(())
        X_bar, coefficients_bar = torch.zeros_like(X), torch.zeros_like(coefficients)
        for block in blocks(len(rows), len(X), X.device):
            Z, labels, *_ = problem.real.batch(rows[block])
            if draws is not None:
                assert problem.augmentation is not None  # that they were drawn for
                Z = problem.augmentation.apply(Z, draws[:, block])
            # There, because a device may have no double precision.
            labels = labels.to(X.device)
            target = centered_one_hot(labels, problem.rows.n_classes, torch.float64)
            with torch.enable_grad():
                predicted = self.kernel(Z, X) @ coefficients
                part = weights[block] @ (predicted - target).square().mean(dim=1) / 2
            loss += part.detach()
            more = torch.autograd.grad(part, (X, coefficients))
            X_bar += more[0]
            coefficients_bar += more[1]
        return loss, X_bar, coefficients_bar


def _weights(problem: Problem, rows: np.ndarray) -> Tensor:
    """Return the share of each real sample in the loss: all classes count the same.

    Within a class samples count by their weights, and class weights multiply the classes' terms.
    """
    index = to_device(torch.from_numpy(rows), problem.device)
    labels, n_classes = problem.real.y[index], problem.rows.n_classes
    members = torch.arange(n_classes, device=problem.device)[:, None] == labels
    shares = in_double(members)
    if problem.real.weight is not None:
        shares = shares * in_double(problem.real.weight[index])
    shares = shares / shares.sum(dim=1, keepdim=True) / n_classes
    if problem.class_weight is not None:
        shares = shares * in_double(problem.class_weight)[:, None]
    return shares.sum(dim=0)
