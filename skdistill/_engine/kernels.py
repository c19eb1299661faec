"""Kernels of infinitely wide, fully connected ReLU networks, in closed form and double precision.

The recursions are those of Neural Tangents (Novak et al., ICLR 2020) in its "ntk" parametrization,
where a layer is ``W_std / sqrt(n_inputs) * W @ x + b_std * b`` with standard normal weights and
biases. After a layer with weights ``K = W_std**2 * K + b_std**2`` (NNGP) and ``T = W_std**2 * T +
K`` (NTK, from 0); after ReLU, the arc-cosine kernels of degree 1 and 0 (Cho and Saul, 2009).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import pi, sqrt
from typing import Literal

import torch
from torch import Tensor

from .ridge import in_double

# Samples whose directions differ by less than the root of this count as equal: the angle between
# them is rounding, and its slope infinite.
_PARALLEL = 1e-13
# The norm of a sample is not smaller than this, so that an angle with it exists.
_SMALLEST = 1e-60
# Values of a block of a kernel: on one core blocks that stay in the cache are faster. But each
# costs a pass over its columns' samples and their gradient, so that it has some rows at least.
_BLOCK = {"cpu": 2**16}
_BLOCK_GPU = 2**22
_FEWEST_ROWS = 256


@dataclass(frozen=True)
class FullyConnected:
    """A kernel of an infinitely wide network: a symmetric function of two sets of samples.

    Parameters
    ----------
    depth : int, default=1
        Hidden layers; with 0 the network is linear.
    W_std, b_std : float, default=sqrt(2), 0.1
        Standard deviations of weights and biases.
    kind : {"ntk", "nngp"}, default="ntk"
        The neural tangent kernel, by which a wide network learns, or the covariance of the outputs
        of random networks, by which one learns of which only the last layer is trained.
    """

    depth: int = 1
    W_std: float = sqrt(2)
    b_std: float = 0.1
    kind: Literal["ntk", "nngp"] = "ntk"

    def __call__(self, X: Tensor, Z: Tensor | None = None) -> Tensor:
        """Return the kernel of two sets of samples, by pairs.

        It is differentiated by autograd. Where two samples are equal the tangent kernel has a kink,
        and its derivative is 0, the mean of those on both sides.

        Parameters
        ----------
        X : Tensor of shape (n, ...)
        Z : Tensor of shape (m, ...) or None, default=None
            None means ``X``.

        Returns
        -------
        Tensor of shape (n, m)
            In double precision.
        """
        X = in_double(X).flatten(1)
        Z = X if Z is None else in_double(Z).flatten(1)
        weight, bias, n_features = self.W_std**2, self.b_std**2, X.shape[1]
        K = weight / n_features * (X @ Z.T) + bias
        x, z = (weight / n_features * s.square().sum(dim=1) + bias for s in (X, Z))
        T = K
        for _ in range(self.depth):
            norms = _root(x)[:, None] * _root(z)
            angle, sine, cosine = _angle(K / norms)
            # The share of hidden units that are active for both samples.
            both = (pi - angle) / (2 * pi)
            K = weight * norms * (sine / (2 * pi) + both * cosine) + bias
            T = weight * both * T + K
            x, z = (weight / 2 * s + bias for s in (x, z))
        return T if self.kind == "ntk" else K


def rows_of_a_block(n_columns: int, device: torch.device) -> int:
    """Return how many rows of a kernel are computed at a time."""
    return max(_FEWEST_ROWS, _BLOCK.get(device.type, _BLOCK_GPU) // n_columns)


def blocks(n_rows: int, n_columns: int, device: torch.device) -> Iterator[slice]:
    """Yield the rows of a kernel in blocks, each of them a slice."""
    size = rows_of_a_block(n_columns, device)
    for first in range(0, n_rows, size):
        yield slice(first, min(first + size, n_rows))


def _root(squares: Tensor) -> Tensor:
    return squares.clamp(min=_SMALLEST).sqrt()


def _angle(cosine: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return angles, their sines and cosines; those of parallel samples have no slope."""
    squared = 1 - cosine.square()
    parallel = squared < _PARALLEL
    sine = squared.where(~parallel, 1).sqrt()
    angle = torch.atan2(sine, cosine)
    flat = torch.where(cosine > 0, 0.0, pi).to(cosine)
    return angle.where(~parallel, flat), sine.where(~parallel, 0), cosine
