"""Differentiable augmentation: flip, rotate, crop, scale, recolor and cut out images.

The strategies are those of DSA (Zhao and Bilen, "Dataset Condensation with Differentiable Siamese
Augmentation", 2021). [Feng23, section 4] applies two of them, flip and rotation.

A strategy has two halves. `Augmentation.draw` makes all random numbers of a batch, before the
step that uses them. `Augmentation.apply` is a pure function of the images and these numbers. It is
differentiable in the images, and takes the same path through the code whatever the numbers are. So
a step's adjoint replays the augmentation that the step had, and one traced and compiled graph
serves all steps.

Images are standardized: 0 is the mean color of the training set, so 0 comes in from outside the
image and fills a hole. No strategy mixes samples: each sample has numbers of its own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from functools import reduce
from itertools import groupby
from numbers import Real
from typing import Any, Literal, Self

import torch
import torch.nn.functional as F
from torch import Tensor

from ._data.strategy import Strategy
from ._data.validation import Interval, InvalidParameterError
from ._engine.augmentation_checks import check_is_pure

__all__ = [
    "AUGMENTATIONS",
    "Augmentation",
    "Color",
    "Compose",
    "Crop",
    "Cutout",
    "Flip",
    "OneOf",
    "Rotation",
    "Scale",
    "check_augmentation",
]


class Augmentation(Strategy):
    """Base class of the augmentations.

    A subclass defines how many numbers it needs per sample (`n_parameters`), which numbers leave
    the sample as it is (`_identity`), how they are drawn (`_draw`), and what they do (`_apply`).

    Examples
    --------
    >>> import torch
    >>> from skdistill.augmentation import Compose, Flip, Rotation
    >>> augmentation = Compose([Flip(), Rotation(degrees=15)])
    >>> X = torch.randn(5, 3, 32, 32)
    >>> parameters = augmentation.draw(torch.Generator().manual_seed(0), 5, (3, 32, 32))
    >>> parameters.shape, augmentation.apply(X, parameters).shape
    (torch.Size([2, 5]), torch.Size([5, 3, 32, 32]))
    """

    n_parameters: int
    _identity: Callable[[tuple[int, ...]], list[float]]
    _draw: Callable[[torch.Generator, int, tuple[int, ...]], Tensor]
    # Functions of the images and of each number, for the whole batch; or only of the numbers.
    _apply: Callable[..., Tensor]
    _matrix: Callable[..., Tensor]

    def draw(self, generator: torch.Generator, n: int, shape: tuple[int, ...]) -> Tensor:
        """Draw the random numbers for a batch.

        Parameters
        ----------
        generator : torch.Generator
            On the CPU.
        n : int
            Samples in the batch. A batch that is taken in chunks is drawn as a whole, and each
            chunk gets its columns.
        shape : tuple of int
            ``(channels, height, width)`` of a sample.

        Returns
        -------
        Tensor of shape (n_parameters, n)
            float32, on the CPU.

        Raises
        ------
        ValueError
            If the samples are not images.
        """
        _check_shape(shape)
        return self._draw(generator, n, shape)

    def identity(self, n: int, shape: tuple[int, ...]) -> Tensor:
        """Return the numbers ``(n_parameters, n)`` with which `apply` changes nothing.

        Resampled values may differ in the last bits. The parameters are those of `draw`.
        """
        _check_shape(shape)
        return torch.tensor(self._identity(shape), dtype=torch.float32)[:, None].repeat(1, n)

    def apply(self, X: Tensor, parameters: Tensor) -> Tensor:
        """Augment a batch: a pure function, differentiable in ``X``.

        Consecutive flips, rotations, crops and scalings are done in a single resampling (bilinear):
        that blurs less, and one of them can move back what another moved out of the image.

        Parameters
        ----------
        X : Tensor of shape (n, channels, height, width)
            Standardized images.
        parameters : Tensor of shape (n_parameters, n)
            What `draw` returned. Put it on the device of ``X`` beforehand to save the transfer.
        """
        leaves = self._leaves()
        blocks = parameters.to(X).split([leaf.n_parameters for leaf in leaves])
        steps = zip(leaves, blocks)
        for geometric, group in groupby(steps, lambda step: isinstance(step[0], _Geometric)):
            if geometric:
                X = _resample(
                    X, reduce(_product, [leaf._matrix(*values) for leaf, values in group])
                )
            else:
                for leaf, values in group:
                    X = leaf._apply(X, *values[..., None, None, None])
        return X

    def _leaves(self) -> list[Augmentation]:
        """Return the elementary augmentations in the order of `apply`."""
        return [self]


class _Geometric(Augmentation):
    """An augmentation that moves pixels.

    Its ``_matrix`` maps a place in the result to the place in the image whose color it gets, as
    affine 3 x 3 matrices ``(n, 3, 3)`` of ``(x, y, 1)``, in pixels from the image's center, x to
    the right and y down.
    """


class Flip(_Geometric):
    """Mirror an image left to right.

    Parameters
    ----------
    p : float, default=0.5
        Probability, for each sample.

    Examples
    --------
    >>> import torch
    >>> from skdistill.augmentation import Flip
    >>> X = torch.tensor([[1.0, 2.0, 3.0]])[None, None]
    >>> Flip().apply(X, torch.tensor([[1.0]]))[0, 0]
    tensor([[3., 2., 1.]])
    """

    _parameter_constraints: dict[str, Any] = {"p": [Interval(Real, 0, 1, closed="both")]}
    n_parameters = 1

    def __init__(self, p: float = 0.5):
        self.p = p

    def _identity(self, shape: tuple[int, ...]) -> list[float]:
        return [0.0]

    def _draw(self, generator: torch.Generator, n: int, shape: tuple[int, ...]) -> Tensor:
        return (torch.rand(1, n, generator=generator, dtype=torch.float32) < self.p).float()

    def _matrix(self, flipped: Tensor) -> Tensor:
        return _matrices([[1 - 2 * flipped, 0, 0], [0, 1, 0]])


class Rotation(_Geometric):
    """Rotate an image about its center.

    Parameters
    ----------
    degrees : float, default=15.0
        The angle is uniform in ``[-degrees, degrees]``; a positive one rotates counterclockwise.
        The default is that of DSA and of the code of [Feng23].

    Examples
    --------
    >>> import torch
    >>> from skdistill.augmentation import Rotation
    >>> X = torch.tensor([[1.0, 2.0], [3.0, 4.0]])[None, None]
    >>> Rotation().apply(X, torch.tensor([[90.0]]))[0, 0]
    tensor([[2., 4.],
            [1., 3.]])
    """

    _parameter_constraints: dict[str, Any] = {"degrees": [Interval(Real, 0, 180, closed="both")]}
    n_parameters = 1

    def __init__(self, degrees: float = 15.0):
        self.degrees = degrees

    def _identity(self, shape: tuple[int, ...]) -> list[float]:
        return [0.0]

    def _draw(self, generator: torch.Generator, n: int, shape: tuple[int, ...]) -> Tensor:
        return _uniform(generator, n, -self.degrees, self.degrees)

    def _matrix(self, degrees: Tensor) -> Tensor:
        angle = torch.deg2rad(degrees)
        cos, sin = angle.cos(), angle.sin()
        return _matrices([[cos, -sin, 0], [sin, cos, 0]])


class Crop(_Geometric):
    """Shift an image by whole pixels, and fill the gap with the mean color.

    Parameters
    ----------
    padding : float, default=0.125
        The largest shift as a fraction of the side (DSA: 4 of 32 pixels). The shifts to the right
        and down are uniform over the whole numbers of pixels.

    Examples
    --------
    >>> import torch
    >>> from skdistill.augmentation import Crop
    >>> X = torch.tensor([[1.0, 2.0, 3.0]])[None, None]
    >>> Crop().apply(X, torch.tensor([[1.0], [0.0]]))[0, 0]
    tensor([[0., 1., 2.]])
    """

    _parameter_constraints: dict[str, Any] = {"padding": [Interval(Real, 0, 1, closed="left")]}
    n_parameters = 2

    def __init__(self, padding: float = 0.125):
        self.padding = padding

    def _identity(self, shape: tuple[int, ...]) -> list[float]:
        return [0.0, 0.0]

    def _draw(self, generator: torch.Generator, n: int, shape: tuple[int, ...]) -> Tensor:
        most = (_round_half_up(self.padding * side) for side in (shape[2], shape[1]))
        return torch.cat([_integers(generator, n, -m, m) for m in most])

    def _matrix(self, right: Tensor, down: Tensor) -> Tensor:
        return _matrices([[1, 0, -right], [0, 1, -down]])


class Scale(_Geometric):
    """Shrink or enlarge an image about its center, its width and height independently.

    Parameters
    ----------
    ratio : float, default=1.2
        At least 1. The visible width is uniform in ``[1 / ratio, ratio]`` times the image's width,
        and independently the height: above 1 the image shrinks, surrounded by the mean color (DSA).

    Examples
    --------
    >>> import torch
    >>> from skdistill.augmentation import Scale
    >>> X = torch.tensor([[1.0, 2.0, 3.0, 4.0]])[None, None]
    >>> Scale().apply(X, torch.tensor([[2.0], [1.0]]))[0, 0]  # half as wide
    tensor([[0.0000, 1.5000, 3.5000, 0.0000]])
    """

    _parameter_constraints: dict[str, Any] = {"ratio": [Interval(Real, 1, None, closed="left")]}
    n_parameters = 2

    def __init__(self, ratio: float = 1.2):
        self.ratio = ratio

    def _identity(self, shape: tuple[int, ...]) -> list[float]:
        return [1.0, 1.0]

    def _draw(self, generator: torch.Generator, n: int, shape: tuple[int, ...]) -> Tensor:
        axes = [_uniform(generator, n, 1 / self.ratio, self.ratio) for _ in range(2)]
        return torch.cat(axes)

    def _matrix(self, width: Tensor, height: Tensor) -> Tensor:
        return _matrices([[width, 0, 0], [0, height, 0]])


class Color(Augmentation):
    """Change brightness, saturation and contrast, in this order, as DSA does.

    Parameters
    ----------
    brightness : float or None, default=1.0
        A number uniform in ``[-brightness / 2, brightness / 2]`` is added to all values. Images are
        standardized: 1 is a standard deviation. (In the codes of DSA, DM and IDC that of CIFAR-10
        is 1.25, so that the same number is less there.)
    saturation : float or None, default=2.0
        The distance of a pixel's channels from their mean is multiplied by a factor uniform in
        ``[0, saturation]``. With one channel this changes nothing.
    contrast : float or None, default=0.5
        The distance of all values from the image's mean is multiplied by a factor uniform in
        ``[contrast, contrast + 1]``.

    Notes
    -----
    None leaves a property as it is.

    Examples
    --------
    >>> import torch
    >>> from skdistill.augmentation import Color
    >>> X = torch.tensor([[1.0, 2.0, 3.0, 4.0]])[None, None]
    >>> Color().apply(X, torch.tensor([[1.0], [1.0], [0.5]]))[0, 0]  # brighter, half the contrast
    tensor([[2.7500, 3.2500, 3.7500, 4.2500]])
    """

    _parameter_constraints: dict[str, Any] = {
        name: [Interval(Real, 0, None, closed="left"), None]
        for name in ("brightness", "saturation", "contrast")
    }
    n_parameters = 3

    def __init__(
        self,
        brightness: float | None = 1.0,
        saturation: float | None = 2.0,
        contrast: float | None = 0.5,
    ):
        self.brightness = brightness
        self.saturation = saturation
        self.contrast = contrast

    def _identity(self, shape: tuple[int, ...]) -> list[float]:
        return [0.0, 1.0, 1.0]

    def _draw(self, generator: torch.Generator, n: int, shape: tuple[int, ...]) -> Tensor:
        b, s, c = self.brightness, self.saturation, self.contrast
        ranges = [
            (0, 0) if b is None else (-b / 2, b / 2),
            (1, 1) if s is None else (0, s),
            (1, 1) if c is None else (c, c + 1),
        ]
        return torch.cat([_uniform(generator, n, *limits) for limits in ranges])

    def _apply(self, X: Tensor, brightness: Tensor, saturation: Tensor, contrast: Tensor) -> Tensor:
        X = X + brightness
        gray = X.mean(dim=1, keepdim=True)
        X = (X - gray) * saturation + gray
        mean = X.mean(dim=(1, 2, 3), keepdim=True)
        return (X - mean) * contrast + mean


class Cutout(Augmentation):
    """Fill a square with the mean color.

    Parameters
    ----------
    ratio : float, default=0.5
        The side of the square as a fraction of the image's side. Its center is uniform over the
        image, so a part of it may lie outside.

    Examples
    --------
    >>> import torch
    >>> from skdistill.augmentation import Cutout
    >>> X = torch.tensor([[1.0, 2.0, 3.0, 4.0]] * 4)[None, None]
    >>> Cutout().apply(X, torch.tensor([[0.0], [2.0]]))[0, 0]
    tensor([[1., 2., 0., 0.],
            [1., 2., 0., 0.],
            [1., 2., 3., 4.],
            [1., 2., 3., 4.]])
    """

    _parameter_constraints: dict[str, Any] = {"ratio": [Interval(Real, 0, 1, closed="both")]}
    n_parameters = 2

    def __init__(self, ratio: float = 0.5):
        self.ratio = ratio

    def _identity(self, shape: tuple[int, ...]) -> list[float]:
        # The numbers are the first row and column of the square: these lie outside.
        return [float(side) for side in shape[1:]]

    def _draw(self, generator: torch.Generator, n: int, shape: tuple[int, ...]) -> Tensor:
        firsts = []
        for side in shape[1:]:
            size = _round_half_up(self.ratio * side)
            # The center of a square of even size lies between pixels: there is one place more.
            last = side - size % 2 - size // 2
            firsts.append(_integers(generator, n, -(size // 2), last))
        return torch.cat(firsts)

    def _apply(self, X: Tensor, row: Tensor, column: Tensor) -> Tensor:
        inside = []
        for dim, first in ((2, row), (3, column)):
            side = X.shape[dim]
            place = torch.arange(side, device=X.device).view(-1, *[1] * (3 - dim))
            inside.append((place >= first) & (place < first + _round_half_up(self.ratio * side)))
        return torch.where(inside[0] & inside[1], 0.0, X)


class Compose(Augmentation):
    """Apply all of several augmentations, in order.

    Parameters
    ----------
    steps : list of Augmentation
        Parameters of a step have its class as a prefix, with a number if there are several steps of
        a class: ``set_params(rotation__degrees=30)``, ``crop_2__padding=0.25``.

    Examples
    --------
    >>> from skdistill.augmentation import Compose, Flip, Rotation
    >>> Compose([Flip(), Rotation()]).set_params(rotation__degrees=30)
    Compose(steps=[Flip(), Rotation(degrees=30)])
    """

    def __init__(self, steps: Sequence[Augmentation]):
        self.steps = steps

    def validate(self) -> None:
        """Raise ``InvalidParameterError`` if the steps or a parameter of one are wrong."""
        if not self._has_steps():
            raise InvalidParameterError(
                f"steps of {type(self).__name__} must be a list of one or more augmentations; "
                f"got {self.steps!r}."
            )
        for step in self.steps:
            step.validate()

    @property
    def n_parameters(self) -> int:  # type: ignore[override]
        """Number of random numbers per sample."""
        return sum(step.n_parameters for step in self.steps)

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the parameters and, if ``deep``, those of the steps by their names."""
        params = super().get_params(deep=False)
        if deep:
            for name, step in self._named_steps().items():
                params[name] = step
                params.update({f"{name}__{k}": v for k, v in step.get_params().items()})
        return params

    def set_params(self, **params: Any) -> Self:
        """Set parameters, steps by their names, or parameters of steps (``rotation__degrees``)."""
        if "steps" in params:
            self.steps = params.pop("steps")
        names = list(self._named_steps())
        replaced = {name: params.pop(name) for name in names if name in params}
        if replaced:
            self.steps = [replaced.get(name, step) for name, step in zip(names, self.steps)]
        return super().set_params(**params)

    def _has_steps(self) -> bool:
        return (
            isinstance(self.steps, list | tuple)
            and len(self.steps) > 0
            and all(isinstance(step, Augmentation) for step in self.steps)
        )

    def _named_steps(self) -> dict[str, Augmentation]:
        if not self._has_steps():
            return {}
        named: dict[str, Augmentation] = {}
        counts: Counter[str] = Counter()
        for step in self.steps:
            name = type(step).__name__.lower()
            counts[name] += 1
            named[name if counts[name] == 1 else f"{name}_{counts[name]}"] = step
        return named

    def _leaves(self) -> list[Augmentation]:
        return [leaf for step in self.steps for leaf in step._leaves()]

    def _identity(self, shape: tuple[int, ...]) -> list[float]:
        return [value for step in self.steps for value in step._identity(shape)]

    def _draw(self, generator: torch.Generator, n: int, shape: tuple[int, ...]) -> Tensor:
        return torch.cat([step._draw(generator, n, shape) for step in self.steps])


class OneOf(Compose):
    """Apply one of several augmentations: one for the whole batch, drawn uniformly, as in DSA.

    The whole chain is always applied, but those that were not chosen get the numbers that change
    nothing.

    Parameters
    ----------
    steps : list of Augmentation
        The choices. Their parameters are reached as in `Compose`.

    Examples
    --------
    >>> from skdistill.augmentation import Color, Crop, Cutout, OneOf, Rotation, Scale
    >>> for_digits = OneOf([Color(), Cutout(), Rotation(), Crop(), Scale()])
    >>> for_digits.set_params(rotation__degrees=10).steps[2]
    Rotation(degrees=10)
    """

    def _draw(self, generator: torch.Generator, n: int, shape: tuple[int, ...]) -> Tensor:
        sizes = [step.n_parameters for step in self.steps]
        parts = list(self.identity(n, shape).split(sizes))
        chosen = int(torch.randint(len(self.steps), (), generator=generator))
        parts[chosen] = self.steps[chosen]._draw(generator, n, shape)
        return torch.cat(parts)


AugmentationName = Literal["dsa", "flip_rotate"]
# Geometric steps are consecutive, so that they are one resampling; DSA applies only one of them.
AUGMENTATIONS: dict[str, Augmentation] = {
    "dsa": OneOf([Color(), Cutout(), Flip(), Rotation(), Crop(), Scale()]),
    "flip_rotate": Compose([Flip(), Rotation()]),
}


def check_augmentation(
    augmentation: str | Augmentation | None, shape: tuple[int, ...] | None = None
) -> Augmentation | None:
    """Return the augmentation that an alias names, or the (checked) object itself.

    Parameters
    ----------
    augmentation : str, Augmentation or None
        None means no augmentation. "flip_rotate" flips and rotates by up to 15 degrees (section 4
        of [Feng23]_). It applies both; the official code of [Feng23] applies one of the two, chosen
        for each batch, which is ``OneOf([Flip(), Rotation()])``. "dsa" is one of color, cutout,
        flip, rotation, crop and scale with DSA's settings. A flip turns a digit or a letter into
        something else: for those use the others of DSA, ``OneOf([Color(), Cutout(), Rotation(),
        Crop(), Scale()])``.
    shape : tuple of int or None, default=None
        Shape of a sample, which must be that of an image, ``(channels, height, width)``. On two
        samples of it classes that are not the package's are tried. None skips both checks.

    Returns
    -------
    Augmentation or None

    Raises
    ------
    ValueError
        If it is none of these, if one of its parameters is out of range, if the samples are not
        images, or if a class of the user's cannot be replayed: it changes samples in place, say.

    References
    ----------
    .. [Feng23] Y. Feng, R. Vedantam and J. Kempe, "Embarrassingly Simple Dataset Distillation",
       arXiv:2311.07025.
    """
    if augmentation is None:
        return None
    if isinstance(augmentation, str) and augmentation in AUGMENTATIONS:
        augmentation = AUGMENTATIONS[augmentation]
    if not isinstance(augmentation, Augmentation):
        raise InvalidParameterError(
            f"augmentation must be None, one of {', '.join(map(repr, AUGMENTATIONS))}, or an "
            f"object from skdistill.augmentation; got {augmentation!r}."
        )
    augmentation.validate()
    if shape is not None:
        _check_shape(shape)
        own = [leaf for leaf in augmentation._leaves() if type(leaf).__module__ != __name__]
        if own or type(augmentation).__module__ != __name__:
            # Each by itself, so that errors name its class; and as they are composed.
            for each in {id(part): part for part in (*own, augmentation)}.values():
                check_is_pure(each, shape)
    return augmentation


def _check_shape(shape: tuple[int, ...]) -> None:
    if len(shape) != 3:
        raise ValueError(
            "augmentation needs images of shape (channels, height, width); got samples of shape "
            f"{tuple(shape)}. Pass image_shape if they are flat images, or augmentation=None."
        )


def _round_half_up(value: float) -> int:
    """Return the nearest whole number, as DSA rounds (Python's ``round`` goes to even ones)."""
    return int(value + 0.5)


def _uniform(generator: torch.Generator, n: int, low: float, high: float) -> Tensor:
    return low + (high - low) * torch.rand(1, n, generator=generator, dtype=torch.float32)


def _integers(generator: torch.Generator, n: int, low: int, high: int) -> Tensor:
    """Draw from ``low`` to ``high``, both included."""
    return torch.randint(low, high + 1, (1, n), generator=generator).float()


def _matrices(rows: Sequence[Sequence[Tensor | float]]) -> Tensor:
    """Return affine matrices ``(n, 3, 3)`` from two rows of tensors ``(n,)`` and numbers."""
    n = next(x for row in rows for x in row if isinstance(x, Tensor))
    entries = [x if isinstance(x, Tensor) else torch.full_like(n, x) for row in rows for x in row]
    last = [torch.full_like(n, x) for x in (0, 0, 1)]
    return torch.stack(entries + last, dim=-1).unflatten(-1, (3, 3))


def _product(a: Tensor, b: Tensor) -> Tensor:
    """Return the matrix products; not by ``@``, which a GPU may round to ten bits (TF32)."""
    return (a[..., None] * b[..., None, :, :]).sum(dim=-2)


def _resample(X: Tensor, matrix: Tensor) -> Tensor:
    """Return images whose pixels have the colors at the places that ``matrix`` maps them to."""
    height, width = X.shape[2:]
    # Places are in pixels, not in halves of a side as in F.affine_grid, which would shear an image
    # that is not square when it rotates.
    x = torch.arange(width, dtype=X.dtype, device=X.device) - (width - 1) / 2
    y = torch.arange(height, dtype=X.dtype, device=X.device)[:, None] - (height - 1) / 2
    m = matrix[..., None, None]
    from_x = m[:, 0, 0] * x + m[:, 0, 1] * y + m[:, 0, 2]
    from_y = m[:, 1, 0] * x + m[:, 1, 1] * y + m[:, 1, 2]
    grid = torch.stack((from_x * (2 / width), from_y * (2 / height)), dim=-1)
    # An adjoint needs only one derivative of this: the inner gradient is one in the parameters.
    return F.grid_sample(X, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
