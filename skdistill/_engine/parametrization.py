"""What the outer loop learns, by name, and the synthetic samples and labels made of it.

The outer loop moves named tensors and knows nothing else about them; a method knows samples, labels
and further tensors of its own. In between are the pure functions here, from tensors to samples, and
back for sensitivities.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import sqrt
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from .methods.base import Gradient, Synthetic

# The name of learned labels among the tensors.
LABELS = "y"
# The prefix of the names of a method's further tensors.
EXTRA = "extra."


class Part(Protocol):
    """Consecutive samples, made of some of the tensors."""

    def samples(self, tensors: Mapping[str, Tensor]) -> Tensor:
        """Return the samples, ``(n, *sample_shape)``."""


@dataclass(frozen=True)
class Rows:
    """Samples that are learned themselves, value by value."""

    name: str = "X"

    def samples(self, tensors: Mapping[str, Tensor]) -> Tensor:
        """Return the samples, ``(n, *sample_shape)``."""
        return tensors[self.name]


@dataclass(frozen=True)
class Combinations:
    """Samples that are linear combinations of learned bases [Feng23, 4.2].

    Parameters
    ----------
    basis, coefficients : str
        Names of the tensors, of shapes ``(n_basis, *sample_shape)`` and ``(n, n_basis)``.
    shift : Tensor or None, default=None
        Added to every sample; not learned.
    size : (int, int) or None, default=None
        Height and width that smaller bases are enlarged to, bilinearly; None keeps them.
    """

    basis: str
    coefficients: str
    shift: Tensor | None = None
    size: tuple[int, int] | None = None

    def samples(self, tensors: Mapping[str, Tensor]) -> Tensor:
        """Return the samples, ``(n, *sample_shape)``."""
        basis = tensors[self.basis]
        if self.size is not None:
            basis = F.interpolate(basis, self.size, mode="bilinear")
        X = (tensors[self.coefficients] @ basis.flatten(1)).unflatten(1, basis.shape[1:])
        return X if self.shift is None else X + self.shift


@dataclass(frozen=True)
class Parametrization:
    """All samples and labels as a function of the tensors.

    Parameters
    ----------
    parts : tuple of Part
        The parts that make the samples, in order.
    y : Tensor of shape (n,)
        Class indices; not used if there are learned labels among the tensors.
    mask : Tensor or None, default=None
        The samples are multiplied by it: 0 where nothing is to be learned. None means 1 everywhere.
    """

    parts: tuple[Part, ...]
    y: Tensor
    mask: Tensor | None = None

    def samples(self, tensors: Mapping[str, Tensor]) -> Tensor:
        """Return the samples, ``(n, *sample_shape)``."""
        parts = [part.samples(tensors) for part in self.parts]
        X = parts[0] if len(parts) == 1 else torch.cat(parts)
        return X if self.mask is None else X * self.mask

    def labels(self, tensors: Mapping[str, Tensor]) -> Tensor:
        """Return class indices ``(n,)`` or, if they are learned, soft labels ``(n, n_classes)``."""
        return tensors.get(LABELS, self.y)

    def synthetic(self, tensors: Mapping[str, Tensor]) -> Synthetic:
        """Return the synthetic set that a method sees."""
        extra = {k.removeprefix(EXTRA): v for k, v in tensors.items() if k.startswith(EXTRA)}
        return Synthetic(self.samples(tensors), self.labels(tensors), extra)

    def scales(self, tensors: Mapping[str, Tensor], norm: float) -> dict[str, Tensor]:
        """Return the factors that give samples which are learned themselves this norm.

        They are by tensor, and broadcast over its rows. A sample whose norm is 0, or overflows,
        keeps it.
        """
        factors = {}
        for name in [part.name for part in self.parts if isinstance(part, Rows)]:
            X = tensors[name] if self.mask is None else tensors[name] * self.mask
            norms = X.flatten(1).norm(dim=1)
            usual = (norms > 0) & norms.isfinite()
            scale = torch.where(usual, norm / norms, torch.ones_like(norms))
            factors[name] = scale.view(-1, *[1] * (X.ndim - 1))
        return factors

    def pull_back(self, tensors: Mapping[str, Tensor], gradient: Gradient) -> dict[str, Tensor]:
        """Return the derivatives of the loss with respect to the tensors."""
        inputs = {
            k: v.detach().requires_grad_()
            for k, v in tensors.items()
            if k != LABELS and not k.startswith(EXTRA)
        }
        with torch.enable_grad():
            X = self.samples(inputs)
        grads = dict(zip(inputs, torch.autograd.grad(X, list(inputs.values()), gradient.X)))
        if LABELS in tensors:
            if gradient.y is None:
                raise ValueError(
                    "learn_labels must be False for a method whose Gradient has no y, the "
                    "derivative with respect to the labels."
                )
            grads[LABELS] = gradient.y
        return grads | {EXTRA + k: bar for k, bar in gradient.extra.items()}


def xavier_size(n_rows: int, n_columns: int) -> float:
    """Return the standard deviation of the values of `xavier_uniform`."""
    return sqrt(2 / (n_rows + n_columns))


def xavier_uniform(n_rows: int, n_columns: int, generator: torch.Generator) -> Tensor:
    """Return a matrix as Deng and Russakovsky (2022) initialize bases, on the CPU."""
    bound = sqrt(3) * xavier_size(n_rows, n_columns)
    uniform = torch.rand(n_rows, n_columns, generator=generator, dtype=torch.float64)
    return bound * (2 * uniform - 1)
