"""What the outer loop learns, by name, and the synthetic samples and labels made of it.

The outer loop moves named tensors and knows nothing else about them; a method knows samples, labels
and further tensors of its own. In between are the pure functions here, from tensors to samples, and
back for sensitivities.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import sqrt

import torch
import torch.nn.functional as F
from torch import Tensor

from .methods.base import Gradient, Synthetic

# The name of learned labels among the tensors.
LABELS = "y"
# The prefix of the names of a method's further tensors.
EXTRA = "extra."


class Part:
    """Consecutive samples, made of some of the tensors."""

    def samples(self, tensors: Mapping[str, Tensor]) -> Tensor:
        """Return the samples, ``(n, *sample_shape)``."""
        raise NotImplementedError

    def penalty(self, tensors: Mapping[str, Tensor]) -> Tensor | None:
        """Return what is added to the loss; None for nothing."""
        return None


@dataclass(frozen=True)
class Rows(Part):
    """Samples that are learned themselves, value by value."""

    name: str = "X"

    def samples(self, tensors: Mapping[str, Tensor]) -> Tensor:
        """Return the samples, ``(n, *sample_shape)``."""
        return tensors[self.name]


@dataclass(frozen=True)
class Combinations(Part):
    """Samples that are linear combinations of learned bases [Feng23, 4.2].

    Parameters
    ----------
    basis, coefficients : str
        Names of the tensors, of shapes ``(n_basis, *sample_shape)`` and ``(n, n_basis)``.
    shift : Tensor or None, default=None
        Added to every sample; not learned.
    size : (int, int) or None, default=None
        Height and width that smaller bases are enlarged to, bilinearly; None keeps them.
    coef_penalty : float, default=0.0
        Factor of the Euclidean norm of the coefficients in the loss.
    """

    basis: str
    coefficients: str
    shift: Tensor | None = None
    size: tuple[int, int] | None = None
    coef_penalty: float = 0.0

    def samples(self, tensors: Mapping[str, Tensor]) -> Tensor:
        """Return the samples, ``(n, *sample_shape)``."""
        basis = tensors[self.basis]
        if self.size is not None:
            basis = F.interpolate(basis, self.size, mode="bilinear")
        X = (tensors[self.coefficients] @ basis.flatten(1)).unflatten(1, basis.shape[1:])
        return X if self.shift is None else X + self.shift

    def penalty(self, tensors: Mapping[str, Tensor]) -> Tensor | None:
        """Return the weighted norm of the coefficients; None if its weight is 0."""
        if self.coef_penalty == 0:
            return None
        return self.coef_penalty * tensors[self.coefficients].norm()


@dataclass(frozen=True)
class Enlarged(Part):
    """Samples that are smaller images, enlarged bilinearly [Kim22].

    Parameters
    ----------
    name : str
        Name of the tensor, of shape ``(n, channels, smaller height, smaller width)``.
    size : (int, int)
        Height and width of the samples.
    """

    name: str
    size: tuple[int, int]

    def samples(self, tensors: Mapping[str, Tensor]) -> Tensor:
        """Return the samples, ``(n, *sample_shape)``."""
        return F.interpolate(tensors[self.name], self.size, mode="bilinear")


# The tensors of hallucinators, in the order in which they act: convolution, scale and shift of each
# pixel, transposed convolution. Row k of each belongs to hallucinator k.
HALLUCINATOR = (
    "conv_weight", "conv_bias", "scale", "shift", "transposed_weight", "transposed_bias"
)  # fmt: skip
# Side of their kernels.
KERNEL = 3


@dataclass(frozen=True)
class Hallucinations(Part):
    """Samples that hallucinators make of bases [Liu22].

    Parameters
    ----------
    basis : str
        Name of the bases, of shape ``(n_basis, *sample_shape)``.
    suffix : str
        What follows the names in `HALLUCINATOR`. The tensors are ``(n, inner, channels, 3, 3)`` and
        ``(n, inner)`` for the convolution; ``(n, inner, height - 2, width - 2)`` for scale and
        shift; ``(n, inner, channels, 3, 3)`` and ``(n, channels)`` for the transposed convolution.
    pairs : Tensor of shape (n_samples,)
        Of each sample, the row of its basis times ``n``, plus that of its hallucinator.
    offset : Tensor or None, default=None
        Added to every sample; not learned.
    """

    basis: str
    suffix: str
    pairs: Tensor
    offset: Tensor | None = None

    def samples(self, tensors: Mapping[str, Tensor]) -> Tensor:
        """Return the samples, ``(n, *sample_shape)``."""
        # Every basis by all hallucinators: their channels side by side, as groups.
        weight, bias, scale, shift, weight_back, bias_back = (
            tensors[name + self.suffix].flatten(0, 1) for name in HALLUCINATOR
        )
        n = len(tensors[HALLUCINATOR[0] + self.suffix])
        inner = F.conv2d(tensors[self.basis], weight, bias) * scale + shift
        X = F.conv_transpose2d(inner, weight_back, bias_back, groups=n)
        X = X.unflatten(1, (n, -1)).flatten(0, 1)[self.pairs]
        return X if self.offset is None else X + self.offset


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

    def penalty(self, tensors: Mapping[str, Tensor]) -> Tensor | None:
        """Return what is added to the method's loss; None for nothing."""
        terms = [part.penalty(tensors) for part in self.parts]
        given = [term for term in terms if term is not None]
        return torch.stack(given).sum() if given else None

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
        """Return the derivatives of loss and penalty with respect to the tensors."""
        inputs = {
            k: v.detach().requires_grad_()
            for k, v in tensors.items()
            if k != LABELS and not k.startswith(EXTRA)
        }
        with torch.enable_grad():
            outputs, bars = [self.samples(inputs)], [gradient.X]
            penalty = self.penalty(inputs)
        if penalty is not None:
            outputs.append(penalty)
            bars.append(torch.ones_like(penalty))
        grads = dict(zip(inputs, torch.autograd.grad(outputs, list(inputs.values()), bars)))
        if LABELS in tensors:
            if gradient.y is None:
                raise ValueError(
                    "learn_labels must be False for a method whose Gradient has no y, the "
                    "derivative with respect to the labels."
                )
            grads[LABELS] = gradient.y
        return grads | {EXTRA + k: bar for k, bar in gradient.extra.items()}


def first_hallucinators(
    n: int, shape: tuple[int, ...], generator: torch.Generator
) -> dict[str, Tensor]:
    """Return ``n`` hallucinators for samples of this shape as Liu et al. (2022) initialize them.

    Kernels and biases are those of torch's layers, scales are 1, shifts are 0. There are as many
    inner channels as the samples have.
    """
    channels, height, width = shape
    kernels = n, channels, channels, KERNEL, KERNEL
    pixels = n, channels, height - KERNEL + 1, width - KERNEL + 1
    # Both fan-ins are the same, because channels are.
    bound = 1 / sqrt(channels * KERNEL**2)

    def uniform(*shape: int) -> Tensor:
        return bound * (2 * torch.rand(shape, generator=generator, dtype=torch.float64) - 1)

    values = (
        uniform(*kernels),
        uniform(n, channels),
        torch.ones(pixels),
        torch.zeros(pixels),
        uniform(*kernels),
        uniform(n, channels),
    )
    return dict(zip(HALLUCINATOR, values))


def xavier_size(n_rows: int, n_columns: int) -> float:
    """Return the standard deviation of the values of `xavier_uniform`."""
    return sqrt(2 / (n_rows + n_columns))


def xavier_uniform(n_rows: int, n_columns: int, generator: torch.Generator) -> Tensor:
    """Return a matrix as Deng and Russakovsky (2022) initialize bases, on the CPU."""
    bound = sqrt(3) * xavier_size(n_rows, n_columns)
    uniform = torch.rand(n_rows, n_columns, generator=generator, dtype=torch.float64)
    return bound * (2 * uniform - 1)
