"""The arithmetic of ZCA whitening, in double precision, batch by batch."""

from collections.abc import Iterator
from math import prod

import numpy as np
import torch
from torch import Tensor

from .._engine import runtime
from .._engine.settings import own_settings

__all__ = ["learn", "resolve_device", "unwhiten", "whiten"]

_EPS = np.finfo(np.float64).eps


def resolve_device(device) -> torch.device:
    """Return the device that a parameter stands for, or raise a ValueError; see the engine's."""
    resolved = runtime.resolve_device(device)
    try:
        torch.zeros(1, dtype=torch.float64, device=resolved)
    except (TypeError, RuntimeError) as error:
        raise ValueError(
            f"device must compute in double precision, which whitening needs; got {device!r}, "
            "which does not. Use device='cpu' for the whitening; what comes after it may be "
            "computed elsewhere."
        ) from error
    return resolved


@own_settings()
def learn(
    X: np.ndarray, per_sample: bool, regularization: float, batch_size: int, device: torch.device
) -> tuple[np.ndarray | float, float, np.ndarray, np.ndarray]:
    """Return what `ZCAWhitener` keeps: mean, scale, eigenvalues and eigenvectors."""
    if per_sample:
        mean, scale = sample_averages(X, batch_size, device)
        second_moments = covariance(X, None, batch_size, device)
    else:
        means, scale = feature_means(X, batch_size, device), 1.0
        second_moments = covariance(X, means, batch_size, device)
        mean = means.cpu().numpy()
    values, vectors = regularized_eigh(second_moments, regularization)
    return mean, scale, values.cpu().numpy(), vectors.cpu().numpy()


@own_settings()
def whiten(X, mean, values, vectors, batch_size: int, device: torch.device, out) -> None:
    """Center samples, each by its own mean if ``mean`` is None, and whiten them into ``out``."""
    mean = None if mean is None else torch.tensor(mean, device=device)
    matrices = factors(values, vectors, -0.5, len(X), device)
    for rows, x in batches(X, batch_size, device):
        out[rows] = torch.linalg.multi_dot([centered(x, mean), *matrices]).cpu().numpy()


@own_settings()
def unwhiten(X, values, vectors, batch_size: int, device: torch.device, out) -> None:
    """Undo the whitening of samples, into ``out``; they stay centered."""
    matrices = factors(values, vectors, 0.5, len(X), device)
    for rows, x in batches(X, batch_size, device):
        out[rows] = torch.linalg.multi_dot([x, *matrices]).cpu().numpy()


def factors(
    values: np.ndarray, vectors: np.ndarray, power: float, n_samples: int, device: torch.device
) -> tuple[Tensor, ...]:
    """Return matrices whose product is the covariance to this power."""
    U = torch.tensor(vectors, device=device)
    scaled = U * torch.tensor(values, device=device) ** power
    # Their product takes n_features ** 3 operations: it pays off only for many samples.
    if n_samples < len(values):
        return scaled, U.T
    return (scaled @ U.T,)


def batches(X: np.ndarray, batch_size: int, device: torch.device) -> Iterator[tuple[slice, Tensor]]:
    """Yield rows and their samples, flat and in double precision: copies, free to be changed."""
    for start in range(0, len(X), batch_size):
        rows = slice(start, start + batch_size)
        samples = np.array(X[rows], dtype=np.float64, order="C")
        yield rows, torch.from_numpy(samples.reshape(len(samples), -1)).to(device)


def means_and_norms(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean of every sample and the norm of what is left; both are columns."""
    # Relative to its first value, a constant sample has exactly its mean, and a norm of exactly 0.
    # Otherwise rounding would leave a tiny norm, and dividing by it would make an image of noise.
    first = x[:, :1]
    means = first + (x - first).mean(dim=1, keepdim=True)
    return means, torch.linalg.vector_norm(x - means, dim=1, keepdim=True)


def centered(x: Tensor, mean: Tensor | None) -> Tensor:
    """Subtract the features' means; if they are None, standardize every sample by itself."""
    if mean is not None:
        return x - mean
    means, norms = means_and_norms(x)
    return (x - means) / norms.masked_fill(norms == 0, 1.0)


def sample_averages(X, batch_size: int, device: torch.device) -> tuple[float, float]:
    """Return the average mean and the average norm of the samples."""
    mean = norm = 0.0
    for _, x in batches(X, batch_size, device):
        means, norms = means_and_norms(x)
        mean += means.sum().item()
        norm += norms.sum().item()
    return mean / len(X), norm / len(X)


def feature_means(X, batch_size: int, device: torch.device) -> Tensor:
    # Relative to the first sample, the mean of a constant feature is exact, as above.
    (_, first), *_ = batches(X[:1], 1, device)
    total = sum((x - first).sum(dim=0) for _, x in batches(X, batch_size, device))
    return first[0] + total / len(X)


def covariance(X, mean: Tensor | None, batch_size: int, device: torch.device) -> Tensor:
    """Return the second moments of the centered samples."""
    n_features = prod(X.shape[1:])
    total = torch.zeros(n_features, n_features, dtype=torch.float64, device=device)
    for _, x in batches(X, batch_size, device):
        x = centered(x, mean)
        total.addmm_(x.T, x)
    return total / len(X)


def regularized_eigh(covariance: Tensor, regularization: float) -> tuple[Tensor, Tensor]:
    """Return eigenvalues, regularized, and eigenvectors, or raise ValueError if it is singular."""
    values, vectors = torch.linalg.eigh(covariance)
    n_features, largest = len(values), values[-1].item()
    if largest <= 0.0:
        raise ValueError(
            "X must vary: its covariance is zero, which no regularization makes invertible."
        )
    # Rounding moves eigenvalues by about this, below zero too.
    noise = n_features * _EPS * largest
    regularized = values + regularization * values.mean()
    if regularized[0].item() <= noise:
        rank = int((values > noise).sum())
        raise ValueError(
            f"regularization={regularization} must be larger: the covariance of X has rank {rank} "
            f"for {n_features} features, so it is singular. [Feng23] takes 0.1."
        )
    return regularized, vectors
