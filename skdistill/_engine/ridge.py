"""Kernel ridge regression in double precision: pure functions that autograd differentiates.

The coefficients of ``n`` support samples with labels ``y`` are ``(K + shift I)^-1 y``, and the
predictions at other samples are their kernel with the support, times the coefficients. KIP, RFAD
and FRePo scale the shift by the kernel: ``shift = regularization * trace(K) / n``, so that it means
the same for a kernel that is twice as large.

Everything is differentiable any number of times, with respect to kernels and labels, forward and in
reverse.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

# Shifts that are tried in turn for a kernel that is singular with its own: the first is some
# rounding errors of a matrix of n rows, the last is the trace itself.
_FACTOR = 10.0


class Regression(NamedTuple):
    """The solution of a kernel ridge regression.

    Parameters
    ----------
    coefficients : Tensor of shape (n, n_outputs)
        In double precision. NaN if the kernel is not finite or has no positive diagonal.
    n_raised : int
        How often the shift had to be raised, tenfold each time, because the kernel was singular.
    """

    coefficients: Tensor
    n_raised: int


def in_double(tensor: Tensor) -> Tensor:
    """Return a tensor in double precision: on the CPU, if its device has none."""
    device = "cpu" if tensor.device.type == "mps" else tensor.device
    return tensor.to(device=device, dtype=torch.float64)


def fit(K: Tensor, y: Tensor, regularization: float | Tensor) -> Regression:
    """Fit labels by a kernel, with a shift in proportion to the mean of the kernel's diagonal.

    Parameters
    ----------
    K : Tensor of shape (n, n)
        Symmetric and positive semi-definite. Only the lower triangle is read.
    y : Tensor of shape (n, n_outputs)
    regularization : float or Tensor
        The shift, in units of ``trace(K) / n``.

    Returns
    -------
    Regression
    """
    K = in_double(K)
    return fit_shifted(K, y, regularization * K.diagonal().mean())


def fit_shifted(K: Tensor, y: Tensor, shift: float | Tensor) -> Regression:
    """Fit labels by a kernel with this shift, in the kernel's own units; see `fit`."""
    solver = factored(K, shift)
    return Regression(solver.solve(y), solver.n_raised)


class Factored(NamedTuple):
    """A kernel with its shift, factored once to solve for several labels.

    Parameters
    ----------
    L : Tensor of shape (n, n)
        Cholesky's factor in double precision. NaN if the kernel is not finite or has no positive
        diagonal.
    n_raised : int
        As in `Regression`.
    """

    L: Tensor
    n_raised: int

    def solve(self, y: Tensor) -> Tensor:
        """Return the coefficients ``(n, n_outputs)`` of labels."""
        return torch.cholesky_solve(in_double(y), self.L)


def factored(K: Tensor, shift: float | Tensor) -> Factored:
    """Factor a kernel with this shift; see `fit_shifted`."""
    K = in_double(K)
    unit = K.diagonal().mean()
    eye = torch.eye(len(K), dtype=K.dtype, device=K.device)
    least = _FACTOR * len(K) * torch.finfo(K.dtype).eps
    more, n_raised = 0.0, 0
    while True:
        L, failed = torch.linalg.cholesky_ex(K + (shift + more * unit) * eye)
        if not failed.item():
            return Factored(L, n_raised)
        if more >= 1:
            # No multiple of its trace makes a semi-definite matrix that is finite singular.
            return Factored(torch.nan * K, n_raised)
        more, n_raised = max(_FACTOR * more, least), n_raised + 1
