"""How the caller lays out samples, and the way to the engine's layout and back.

The engine sees ``(n, features)`` for tables and ``(n, channels, height, width)`` for images.
"""

from dataclasses import dataclass
from math import prod

import numpy as np

# The numbers of channels that an image array may have without being told: grey, RGB, RGBA.
_USUAL_CHANNELS = (1, 3, 4)


@dataclass(frozen=True)
class Layout:
    """The caller's sample shape and the engine's.

    Parameters
    ----------
    outer : tuple of int
        Shape of one sample as the caller has it.
    inner : tuple of int
        Shape of one sample as the engine has it: ``(features,)`` or ``(C, H, W)``.
    channels_last : bool
        Whether the caller's samples are ``(H, W, C)``.
    """

    outer: tuple[int, ...]
    inner: tuple[int, ...]
    channels_last: bool = False

    @property
    def is_image(self) -> bool:
        """Whether samples are images."""
        return len(self.inner) == 3

    def smaller(self, factor: int) -> "Layout":
        """Return the layout of images with so many times fewer rows and columns."""
        if factor == 1:
            return self
        channels, height, width = self.inner
        inner = channels, height // factor, width // factor
        if self.channels_last:
            outer = (*inner[1:], channels)
        else:
            outer = {3: inner, 2: inner[1:], 1: (prod(inner),)}[len(self.outer)]
        return Layout(outer, inner, self.channels_last)

    def factor_of(self, n_values: int) -> int:
        """Return which of the `smaller` layouts has so many values, or raise a ValueError."""
        sides = self.inner[1:] if self.is_image else ()
        for factor in range(1, min(sides, default=1) + 1):
            fits = all(side % factor == 0 for side in sides)
            if fits and n_values * factor ** len(sides) == prod(self.inner):
                return factor
        raise ValueError(f"no images of shape {self.inner} made smaller have {n_values} values.")

    def to_engine(self, X: np.ndarray) -> np.ndarray:
        """Return ``X`` in the engine's layout (a view wherever NumPy can make one)."""
        if self.channels_last:
            return np.moveaxis(X, -1, 1)
        return X.reshape(len(X), *self.inner)

    def to_caller(self, X: np.ndarray) -> np.ndarray:
        """Return ``X``, given in the engine's layout, in the caller's."""
        if self.channels_last:
            return np.ascontiguousarray(np.moveaxis(X, 1, -1))
        return X.reshape(len(X), *self.outer)

    def spread(self, values) -> np.ndarray:
        """Return one value a channel or feature as a sample, in the caller's layout."""
        column = np.asarray(values).reshape(-1, *[1] * (len(self.inner) - 1))
        return self.to_caller(np.broadcast_to(column, (1, *self.inner)))[0]

    def check(self, X: np.ndarray, name: str = "X") -> None:
        """Raise ValueError unless the samples of ``X`` have the caller's shape."""
        if X.shape[1:] == self.outer:
            return
        if len(self.outer) == 1 and X.ndim == 2:
            # scikit-learn's own words, which its users and its checks know.
            raise ValueError(
                f"{name} has {X.shape[1]} features, but the distilled data set is expecting "
                f"{self.outer[0]} features as input."
            )
        raise ValueError(
            f"{name} must hold samples of shape {self.outer}, as in fit; "
            f"got samples of shape {X.shape[1:]}."
        )


def infer_layout(shape: tuple[int, ...], image_shape: tuple[int, int, int] | None) -> Layout:
    """Return the layout of an array of this shape, or raise a ValueError that names the way out."""
    outer = tuple(int(n) for n in shape[1:])
    if image_shape is not None:
        return _told_layout(outer, image_shape)
    if len(outer) == 1:
        return Layout(outer, outer)
    if len(outer) == 2:
        return Layout(outer, (1, *outer))
    if len(outer) == 3:
        first, last = outer[0] in _USUAL_CHANNELS, outer[2] in _USUAL_CHANNELS
        if first and not last:
            return Layout(outer, outer)
        if last and not first:
            return Layout(outer, (outer[2], outer[0], outer[1]), channels_last=True)
        raise ValueError(
            f"X of shape {tuple(shape)} is ambiguous: its channels may come first or last. "
            "Pass image_shape=(channels, height, width)."
        )
    raise ValueError(
        "X must be (n, features), (n, H, W), (n, C, H, W) or (n, H, W, C); "
        f"got an array of shape {tuple(shape)}."
    )


def _told_layout(outer: tuple[int, ...], image_shape: tuple[int, int, int]) -> Layout:
    channels, height, width = image_shape
    if outer == image_shape or outer == (prod(image_shape),):
        return Layout(outer, image_shape)
    if outer == (height, width) and channels == 1:
        return Layout(outer, image_shape)
    if outer == (height, width, channels):
        return Layout(outer, image_shape, channels_last=True)
    raise ValueError(
        f"image_shape={image_shape} must fit the samples of X: "
        f"{prod(image_shape)} features, {(height, width)} for one channel, {image_shape} or "
        f"{(height, width, channels)}; got samples of shape {outer}."
    )
