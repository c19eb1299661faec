"""How the caller lays out samples, and the way to the engine's layout and back.

The engine sees ``(n, features)`` for tables and ``(n, channels, height, width)`` for images.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Literal

import numpy as np

from .rows import Rows
from .warn import warn

# Fields of `Layout` have been renamed; files and pickles keep the first names.
_NAMES_IN_FILES = {"user_shape": "outer", "network_shape": "inner"}
_FIELDS = {in_files: name for name, in_files in _NAMES_IN_FILES.items()}

# The numbers of channels that are recognized in an image array: gray, RGB, RGBA.
_USUAL_CHANNELS = (1, 3, 4)

# The order of flat images shows in a few of them, and of so many values together.
_ROWS, _VALUES = 64, 2**20
# Read with their channels last, images that have them last differ from one row of pixels to the
# next by less than this part of what they do read with their channels first: CIFAR-10 by 0.30, at
# 8 x 8 pixels 0.59, photos cut to 48 x 48 by 0.17 and 0.49. Images that have their channels first
# differ by 1.4 times as much and more, noise as much.
_SMOOTHER = 0.6
# Of smaller images nothing can be said.
_LEAST_SIDE = 8


@dataclass(frozen=True)
class Layout:
    """The caller's sample shape and the engine's.

    Parameters
    ----------
    user_shape : tuple of int
        Shape of one sample as the caller has it.
    network_shape : tuple of int
        Shape of one sample as the engine has it: ``(features,)`` or ``(C, H, W)``.
    channels_last : bool
        Whether the caller's samples are ``(H, W, C)``.
    """

    user_shape: tuple[int, ...]
    network_shape: tuple[int, ...]
    channels_last: bool = False

    def __setstate__(self, state: dict) -> None:
        """Restore a pickle; those of 0.1.0 have the names that files have."""
        vars(self).update({_FIELDS.get(name, name): value for name, value in state.items()})

    def to_plain(self) -> dict:
        """Return the fields as files name them."""
        return {_NAMES_IN_FILES.get(name, name): value for name, value in vars(self).items()}

    @classmethod
    def from_plain(cls, plain: dict) -> "Layout":
        """Return the layout from the output of `to_plain`; its values are not checked yet."""
        return cls(**{_FIELDS.get(name, name): value for name, value in plain.items()})

    @property
    def is_image(self) -> bool:
        """Whether samples are images."""
        return len(self.network_shape) == 3

    def smaller(self, factor: int) -> "Layout":
        """Return the layout of images with ``factor`` times fewer rows and columns."""
        if factor == 1:
            return self
        channels, height, width = self.network_shape
        sides = height // factor, width // factor
        network_shape = channels, *sides
        if self.channels_last:
            user_shape = *sides, channels
        else:
            user_shapes = {3: network_shape, 2: sides, 1: (prod(network_shape),)}
            user_shape = user_shapes[len(self.user_shape)]
        return Layout(user_shape, network_shape, self.channels_last)

    def factor_of(self, n_values: int) -> int:
        """Return the factor of the `smaller` layout with this many values, or raise ValueError."""
        sides = self.network_shape[1:] if self.is_image else ()
        for factor in range(1, min(sides, default=1) + 1):
            fits = all(side % factor == 0 for side in sides)
            if fits and n_values * factor ** len(sides) == prod(self.network_shape):
                return factor
        raise ValueError(
            f"no images of shape {self.network_shape} made smaller have {n_values} values."
        )

    def to_engine(self, X: np.ndarray) -> np.ndarray:
        """Return ``X`` in the engine's layout (a view wherever NumPy can make one)."""
        if self.channels_last:
            return np.moveaxis(X, -1, 1)
        return X.reshape(len(X), *self.network_shape)

    def to_caller(self, X: np.ndarray) -> np.ndarray:
        """Return ``X``, given in the engine's layout, in the caller's."""
        if self.channels_last:
            return np.ascontiguousarray(np.moveaxis(X, 1, -1))
        return X.reshape(len(X), *self.user_shape)

    def spread(self, values: Sequence[float] | np.ndarray) -> np.ndarray:
        """Return one value per channel or feature as a sample, in the caller's layout."""
        column = np.asarray(values).reshape(-1, *[1] * (len(self.network_shape) - 1))
        return self.to_caller(np.broadcast_to(column, (1, *self.network_shape)))[0]

    def check(self, X: np.ndarray, name: str = "X") -> None:
        """Raise ValueError unless the samples of ``X`` have the caller's shape."""
        if X.shape[1:] == self.user_shape:
            return
        if len(self.user_shape) == 1 and X.ndim == 2:
            # scikit-learn's own wording, which its users and its checks know.
            raise ValueError(
                f"{name} has {X.shape[1]} features, but the distilled data set is expecting "
                f"{self.user_shape[0]} features as input."
            )
        raise ValueError(
            f"{name} must hold samples of shape {self.user_shape}, as in fit; "
            f"got samples of shape {X.shape[1:]}."
        )


def usual_architecture(network_shape: tuple[int, ...]) -> Literal["convnet", "mlp"]:
    """Return the name of the networks that "auto" stands for, for samples of this shape."""
    return "convnet" if len(network_shape) == 3 and min(network_shape[1:]) >= 4 else "mlp"


def infer_layout(shape: tuple[int, ...], image_shape: tuple[int, int, int] | None) -> Layout:
    """Return the layout of an array of this shape, or raise a ValueError that names the way out."""
    user_shape = tuple(int(n) for n in shape[1:])
    if image_shape is not None:
        return _told_layout(user_shape, image_shape)
    if len(user_shape) == 1:
        return Layout(user_shape, user_shape)
    if len(user_shape) == 2:
        return Layout(user_shape, (1, *user_shape))
    if len(user_shape) == 3:
        first, last = user_shape[0] in _USUAL_CHANNELS, user_shape[2] in _USUAL_CHANNELS
        if first and not last:
            return Layout(user_shape, user_shape)
        if last and not first:
            height, width, channels = user_shape
            return Layout(user_shape, (channels, height, width), channels_last=True)
        raise ValueError(
            f"X of shape {tuple(shape)} is ambiguous: its channels may come first or last. "
            "Pass image_shape=(channels, height, width)."
        )
    raise ValueError(
        "X must be (n, features), (n, H, W), (n, C, H, W) or (n, H, W, C); "
        f"got an array of shape {tuple(shape)}."
    )


def _told_layout(user_shape: tuple[int, ...], image_shape: tuple[int, int, int]) -> Layout:
    _refuse_channels_last(user_shape, image_shape)
    channels, height, width = image_shape
    if user_shape == image_shape or user_shape == (prod(image_shape),):
        return Layout(user_shape, image_shape)
    if user_shape == (height, width) and channels == 1:
        return Layout(user_shape, image_shape)
    if user_shape == (height, width, channels):
        return Layout(user_shape, image_shape, channels_last=True)
    raise ValueError(
        f"image_shape={image_shape} must fit the samples of X: "
        f"{prod(image_shape)} features, {(height, width)} for one channel, {image_shape} or "
        f"{(height, width, channels)}; got samples of shape {user_shape}."
    )


def _refuse_channels_last(user_shape: tuple[int, ...], image_shape: tuple[int, int, int]) -> None:
    """Raise a ValueError if an image's shape looks like (height, width, channels)."""
    first, second, last = image_shape
    # Of a height of a few values nothing can be said.
    if last not in _USUAL_CHANNELS or first in _USUAL_CHANNELS or second <= max(_USUAL_CHANNELS):
        return
    if last == 1 and first != second:
        return  # perhaps several series of one length, as channels of width 1
    text = (
        f"image_shape={image_shape} must be (channels, height, width): {(last, first, second)}? "
        f"If there are {first} channels, pass {(first, last, second)}, the pixels transposed."
    )
    if len(user_shape) == 1 and last > 1:
        text += (
            " If the rows of X are images that were flattened with their channels last, pass "
            f"X.reshape(-1, {first}, {second}, {last}), and no image_shape."
        )
    raise ValueError(text)


def warn_of_channels_last(X: np.ndarray | Rows, layout: Layout) -> None:
    """Warn if flat color images look as if they had been flattened with their channels last.

    A row has no shape that could be checked, and in the wrong order networks see scrambled images.
    """
    channels, *sides = layout.network_shape
    is_flat = layout.is_image and len(layout.user_shape) == 1
    if not is_flat or channels not in _USUAL_CHANNELS[1:] or min(sides) < _LEAST_SIDE:
        return
    height, width = sides
    n = max(1, min(_ROWS, len(X), _VALUES // prod(layout.network_shape)))
    rows = np.asarray(X[np.linspace(0, len(X) - 1, n).astype(int)], np.float64)
    # Along a row of pixels the difference is smaller: the next value is then another channel's, in
    # gray images the same.
    as_told = np.abs(np.diff(rows.reshape(n, channels, height, width), axis=2)).mean()
    as_last = np.abs(np.diff(rows.reshape(n, height, width * channels), axis=1)).mean()
    if as_last < _SMOOTHER * as_told:
        warn(
            "The rows of X look like images that were flattened with their channels last; "
            f"image_shape={layout.network_shape} takes them for images with their channels first, "
            f"and networks see them scrambled. Pass X.reshape(-1, {height}, {width}, {channels}), "
            "and no image_shape.",
            UserWarning,
        )
