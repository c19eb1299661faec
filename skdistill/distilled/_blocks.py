"""What consecutive samples of a set are made of, if they were not learned value by value."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import prod
from typing import ClassVar, Self

import numpy as np

from .._data.layout import Layout
from ._rules import check_reals, require

__all__ = ["BasisBlock", "Block", "HallucinatorBlock", "TileBlock", "block_from_arrays"]


class Block:
    """Base class: arrays from which consecutive samples can be made again."""

    # The name of the array with a row for each sample.
    _per_sample: ClassVar[str]

    @property
    def per_sample(self) -> np.ndarray:
        """The array with a row for each sample."""
        return getattr(self, self._per_sample)

    @property
    def n_samples(self) -> int:
        """How many samples are made of it."""
        return len(self.per_sample)

    @property
    def n_values(self) -> int:
        """How many learned numbers it holds: its storage."""
        raise NotImplementedError

    def first(self, n: int) -> Self:
        """Return the block of the first ``n`` samples."""
        return replace(self, **{self._per_sample: self.per_sample[:n]})  # type: ignore[type-var]

    def check(self, layout: Layout) -> None:
        """Raise ValueError unless the arrays fit each other and samples of this layout."""
        raise NotImplementedError


@dataclass(frozen=True, eq=False)
class BasisBlock(Block):
    """Bases and coefficients that consecutive samples are made of.

    The samples are ``np.tensordot(coefficients, basis, 1) + offset``, up to rounding. Bases that
    are smaller than the samples are enlarged first, as by ``torch.nn.functional.interpolate(basis,
    size, mode="bilinear")``.

    Parameters
    ----------
    basis : ndarray of shape (n_basis, ...)
        In the units, shape and layout of the samples, without the offset; the images may be smaller
        by a whole factor in height and width.
    coefficients : ndarray of shape (n, n_basis)
        One row per sample.
    offset : ndarray of shape (...)
        A sample: the training set's mean per channel or feature. It is not learned.
    """

    basis: np.ndarray
    coefficients: np.ndarray
    offset: np.ndarray

    _per_sample = "coefficients"

    @property
    def n_values(self) -> int:
        """How many learned numbers it holds: its storage."""
        return self.basis.size + self.coefficients.size

    def check(self, layout: Layout) -> None:
        """Raise ValueError unless the arrays fit each other and samples of this layout."""
        n, n_basis = len(self.coefficients), len(self.basis)
        shapes = {
            "basis": (n_basis, *_smaller(layout, self.basis)),
            "coefficients": (n, n_basis),
            "offset": layout.user_shape,
        }
        _check_shapes(self, shapes)


@dataclass(frozen=True, eq=False)
class TileBlock(Block):
    """Small images that consecutive samples are enlarged from.

    The samples are ``torch.nn.functional.interpolate(tiles, size, mode="bilinear")``, with channels
    first, up to rounding.

    Parameters
    ----------
    tiles : ndarray of shape (n, ...)
        One per sample, in the units and layout of the samples, smaller by a whole factor in height
        and width.
    """

    tiles: np.ndarray

    _per_sample = "tiles"

    @property
    def n_values(self) -> int:
        """How many learned numbers it holds: its storage."""
        return self.tiles.size

    def check(self, layout: Layout) -> None:
        """Raise ValueError unless the arrays fit each other and samples of this layout."""
        _check_shapes(self, {"tiles": (len(self.tiles), *_smaller(layout, self.tiles))})


@dataclass(frozen=True, eq=False)
class HallucinatorBlock(Block):
    """Bases and hallucinators that consecutive samples are made of.

    Sample ``k`` is what hallucinator ``h`` makes of basis ``b``, for ``b, h = pairs[k]``. With
    channels first, and up to rounding, that is, by functions of ``torch.nn.functional``::

        inner = conv2d(basis[b], conv_weight[h], conv_bias[h]) * scale[h] + shift[h]
        sample = conv_transpose2d(inner, transposed_weight[h], transposed_bias[h]) + offset

    Parameters
    ----------
    basis : ndarray of shape (n_basis, ...)
        In the shape and layout of the samples, and standardized.
    conv_weight : ndarray of shape (n_hallucinators, inner, channels, 3, 3)
        ``inner`` are the channels between the two convolutions.
    conv_bias : ndarray of shape (n_hallucinators, inner)
    scale, shift : ndarray of shape (n_hallucinators, inner, height - 2, width - 2)
    transposed_weight : ndarray of shape (n_hallucinators, inner, channels, 3, 3)
        In the units of the samples, as `transposed_bias`.
    transposed_bias : ndarray of shape (n_hallucinators, channels)
    pairs : ndarray of int, of shape (n, 2)
        The rows of each sample's basis and hallucinator. They are not learned.
    offset : ndarray of shape (...)
        A sample: the training set's mean per channel. It is not learned.
    """

    basis: np.ndarray
    conv_weight: np.ndarray
    conv_bias: np.ndarray
    scale: np.ndarray
    shift: np.ndarray
    transposed_weight: np.ndarray
    transposed_bias: np.ndarray
    pairs: np.ndarray
    offset: np.ndarray

    _per_sample = "pairs"

    @property
    def hallucinators(self) -> dict[str, np.ndarray]:
        """Their arrays, each with a row per hallucinator."""
        return {k: v for k, v in vars(self).items() if k not in ("basis", "pairs", "offset")}

    @property
    def n_values(self) -> int:
        """How many learned numbers it holds: its storage."""
        return self.basis.size + sum(array.size for array in self.hallucinators.values())

    def first(self, n: int) -> Self:
        """Return the block of the first ``n`` samples, without what only others are made of."""
        pairs = self.pairs[:n]
        (bases, b), (used, h) = (np.unique(column, return_inverse=True) for column in pairs.T)
        kept = {name: array[used] for name, array in self.hallucinators.items()}
        return replace(self, basis=self.basis[bases], pairs=np.stack([b, h], axis=1), **kept)

    def check(self, layout: Layout) -> None:
        """Raise ValueError unless the arrays fit each other and samples of this layout."""
        require(layout.is_image, "a set with hallucinators", "one of images", layout.user_shape)
        channels, height, width = layout.network_shape
        n, inner = self.conv_weight.shape[:2] if self.conv_weight.ndim == 5 else (0, 0)
        kernels, pixels = (n, inner, channels, 3, 3), (n, inner, height - 2, width - 2)
        shapes = {
            "basis": (len(self.basis), *layout.user_shape),
            "conv_weight": kernels,
            "conv_bias": (n, inner),
            "scale": pixels,
            "shift": pixels,
            "transposed_weight": kernels,
            "transposed_bias": (n, channels),
            "offset": layout.user_shape,
        }
        _check_shapes(self, shapes)
        pairs = self.pairs
        good = pairs.ndim == 2 and pairs.shape[1] == 2 and pairs.dtype == np.int64
        good = good and bool(((pairs >= 0) & (pairs < (len(self.basis), n))).all())
        require(good, "bases' pairs", "rows of a basis and a hallucinator for each sample", pairs)


# By the array that only this kind has.
_KINDS: dict[str, type[Block]] = {
    kind._per_sample: kind for kind in (BasisBlock, TileBlock, HallucinatorBlock)
}


def block_from_arrays(arrays: Mapping[str, np.ndarray]) -> Block:
    """Return the block that has these arrays, which are not checked yet, or raise an error."""
    for name, kind in _KINDS.items():
        if name in arrays:
            return kind(**arrays)
    raise ValueError(f"a block of bases must have one of {', '.join(_KINDS)}; got {[*arrays]}.")


def _smaller(layout: Layout, images: np.ndarray) -> tuple[int, ...]:
    """Return the shape that images smaller than the samples must have."""
    try:
        return layout.smaller(layout.factor_of(prod(images.shape[1:]))).user_shape
    except ValueError:
        return layout.user_shape  # no such layout: reported as a wrong shape


def _check_shapes(block: Block, shapes: Mapping[str, tuple[int, ...]]) -> None:
    for name, shape in shapes.items():
        check_reals(getattr(block, name), f"bases' {name}", shape)
