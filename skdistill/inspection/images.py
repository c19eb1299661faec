"""A distilled set's images in a grid."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils._optional_dependencies import check_matplotlib_support
from sklearn.utils.validation import check_is_fitted

from .._files.images import to_pixels
from ..distilled._dataset import DistilledDataset, check_is_set
from ..distilled._known import mapping
from ._panels import panels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap

__all__ = ["DistilledImagesDisplay"]

# The largest number of rows, or columns, of a grid that are all named.
_MAX_TICKS = 20


class DistilledImagesDisplay:
    """A grid of distilled images: one column per class, one row per sample of a class.

    Make one with `from_distilled` or `from_estimator`.

    Parameters
    ----------
    images : ndarray of uint8, of shape (ipc, n_classes, H, W) or (ipc, n_classes, H, W, C)
        Gray, RGB or RGBA pixels.
    classes : array-like of shape (n_classes,)
        Names of the columns.
    block_size : int or None, default=None
        Number of rows after which a line is drawn, between the blocks of a boosted set.

    Attributes
    ----------
    image_ : matplotlib AxesImage
        All images as one, with a gap between them.
    block_lines_ : matplotlib LineCollection or None
        The lines between blocks.
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skdistill import RaTBPTTDistiller
    >>> from skdistill.inspection import DistilledImagesDisplay
    >>> X, y = load_digits(return_X_y=True)
    >>> distiller = RaTBPTTDistiller(image_shape=(1, 8, 8), max_iter=1, window=1, unroll=1)
    >>> display = DistilledImagesDisplay.from_estimator(distiller.fit(X, y))
    >>> display.images.shape
    (1, 10, 8, 8)
    """

    def __init__(
        self,
        *,
        images: np.ndarray,
        classes: Sequence[Any] | np.ndarray,
        block_size: int | None = None,
    ):
        self.images = images
        self.classes = classes
        self.block_size = block_size

    @classmethod
    def from_distilled(
        cls,
        distilled: DistilledDataset,
        *,
        ipc: int | None = None,
        classes: ArrayLike | None = None,
        inverse_transform: Callable[[np.ndarray], ArrayLike] | None = None,
        value_range: tuple[float, float] | None = None,
        block_size: int | Literal["auto"] | None = "auto",
        ax: Axes | None = None,
        **kwargs: Any,
    ) -> Self:
        """Draw the images of a distilled set.

        Parameters
        ----------
        distilled : DistilledDataset
            A set of images with 1, 3 or 4 channels. If it keeps its preprocessing, the images first
            go through its inverse, so that whitened images look like original ones.
        ipc : int or None, default=None
            Samples per class to show, the first ones; None shows all.
        classes : array-like or None, default=None
            Class labels to show, in this order; None shows all.
        inverse_transform : callable or None, default=None
            Turns samples into the images to look at, such as ``whitener.inverse_transform``: it
            maps an array of samples in the set's layout to equally many images of the same size. It
            replaces the inverse of the set's own preprocessing.
        value_range : (low, high) or None, default=None
            Values that become black and white; values beyond them are clipped. None takes the least
            and the greatest value of the whole set, so that images can be compared.
        block_size : int, None or "auto", default="auto"
            Samples per class in a block; lines are drawn between blocks. "auto" takes the value
            with which a boosted set was made, None draws no lines.
        ax : matplotlib Axes or None, default=None
            Where to draw; None makes a figure.
        **kwargs : dict
            Passed to `plot`.

        Returns
        -------
        DistilledImagesDisplay

        Raises
        ------
        ValueError
            If the samples are not images that can be drawn, or there are no such classes, samples
            or blocks.
        """
        check_matplotlib_support(f"{cls.__name__}.from_distilled")
        check_is_set(distilled)
        layout, n_classes = distilled.recipe.layout, len(distilled.classes)
        if not layout.is_image:
            raise ValueError(
                f"distilled must hold images; got table rows of {layout.user_shape[0]} features. "
                "If they are flat images, distill with image_shape=(channels, height, width)."
            )
        ipc = distilled.ipc if ipc is None else ipc
        if not 1 <= ipc <= distilled.ipc:
            raise ValueError(
                f"ipc={ipc} must be between 1 and {distilled.ipc}, what was distilled."
            )
        columns = _columns(distilled.classes, classes)
        if isinstance(block_size, str):
            if block_size != "auto":
                raise ValueError(
                    f"block_size must be 'auto', an integer or None; got {block_size!r}."
                )
            block_size = mapping(distilled.provenance.get("parameters")).get("block_size")
            if type(block_size) is not int or block_size < 1:
                block_size = None  # a provenance may come from anywhere
        if inverse_transform is None:
            inverse_transform = getattr(distilled.preprocessing, "inverse_transform", None)
        X = distilled.X if inverse_transform is None else np.asarray(inverse_transform(distilled.X))
        if X.shape[:1] != distilled.X.shape[:1] or X.size != distilled.X.size:
            raise ValueError(
                f"inverse_transform must keep the number and size of the images, "
                f"{distilled.X.shape}; got {X.shape}."
            )
        pixels = to_pixels(layout.to_engine(X), value_range)
        # The order of rows: the first sample of every class, then the second of every class...
        images = pixels.reshape(distilled.ipc, n_classes, *pixels.shape[1:])[:ipc, columns]
        display = cls(images=images, classes=distilled.classes[columns], block_size=block_size)
        return display.plot(ax=ax, **kwargs)

    @classmethod
    def from_estimator(cls, estimator: Any, **kwargs: Any) -> Self:
        """Draw the images of a fitted distiller, or of a pipeline that ends in one.

        Parameters
        ----------
        estimator : distiller or Pipeline
            Fitted. The steps of a pipeline before the distiller are inverted, if possible.
        **kwargs : dict
            Passed to `from_distilled`.

        Returns
        -------
        DistilledImagesDisplay
        """
        check_matplotlib_support(f"{cls.__name__}.from_estimator")
        if hasattr(estimator, "steps"):
            return cls.from_distilled(DistilledDataset.from_pipeline(estimator), **kwargs)
        check_is_fitted(estimator, "distilled_")
        return cls.from_distilled(estimator.distilled_, **kwargs)

    def plot(
        self,
        ax: Axes | None = None,
        *,
        cmap: str | Colormap = "gray",
        gap: int | None = None,
        line_kwargs: dict[str, Any] | None = None,
    ) -> Self:
        """Draw the images.

        Parameters
        ----------
        ax : matplotlib Axes or None, default=None
            Where to draw; None makes a figure.
        cmap : str or matplotlib Colormap, default="gray"
            Colors of gray images.
        gap : int or None, default=None
            Pixels between two images; None is a tenth of their smaller side, and at least 1.
        line_kwargs : dict or None, default=None
            Passed to ``ax.hlines`` for the lines between blocks.

        Returns
        -------
        DistilledImagesDisplay
            This object.
        """
        check_matplotlib_support(f"{type(self).__name__}.plot")
        if self.block_size is not None and self.block_size < 1:
            raise ValueError(f"block_size={self.block_size} must be at least 1.")
        ipc, n_classes, height, width = self.images.shape[:4]
        gap = max(1, round(min(height, width) / 10)) if gap is None else gap
        canvas = _mosaic(self.images, gap)
        (ax,) = self._place(ax, canvas)
        self.image_ = ax.imshow(canvas, cmap=cmap, vmin=0, vmax=255, interpolation="nearest")

        rows, columns = np.arange(ipc), np.arange(n_classes)
        ax.set_yticks(
            (height + gap) * rows[:: _stride(ipc)] + (height - 1) / 2,
            [str(k + 1) for k in rows[:: _stride(ipc)]],
        )
        shown = columns[:: _stride(n_classes)]
        names = [str(self.classes[c]) for c in shown]
        # Names that are wider than their images would overlap.
        slanted = max(map(len, names)) > 4
        ax.set_xticks(
            (width + gap) * shown + (width - 1) / 2,
            names,
            rotation=45 if slanted else 0,
            ha="left" if slanted else "center",
            rotation_mode="anchor",
            parse_math=False,  # dollars in names are no formulas
        )
        ax.tick_params(length=0, top=False, labeltop=True, bottom=False, labelbottom=False)
        ax.set(xlabel="class", ylabel="sample")
        ax.xaxis.set_label_position("top")
        ax.spines[:].set_visible(False)
        self.block_lines_ = None
        if self.block_size is not None and self.block_size < ipc:
            ends = np.arange(self.block_size, ipc, self.block_size)
            style = {"color": "tab:red", "linewidth": 1.5, **(line_kwargs or {})}
            middle_of_gap = (height + gap) * ends - (gap + 1) / 2
            left, right = -0.5 - gap, canvas.shape[1] - 0.5 + gap
            limits = ax.get_xlim()
            self.block_lines_ = ax.hlines(middle_of_gap, left, right, clip_on=False, **style)
            ax.set_xlim(limits)  # the lines reach beyond the images, and must not shrink them
        return self

    def _place(self, ax: Axes | None, canvas: np.ndarray) -> np.ndarray:
        """Return the Axes, in a figure that fits the grid if there is none yet."""
        rows, columns, *sides = self.images.shape[:4]
        longest = max(rows, columns)
        # Inches per image: 8 inches in all if that is enough for each, at most 24.
        inches = min(1.0, max(8 / longest, min(0.4, 24 / longest)))
        height, width = (inches / max(sides) * side for side in canvas.shape[:2])
        self.figure_, axes = panels(ax, 1, figsize=(max(width, 2) + 0.6, height + 0.7))
        self.ax_ = axes[0]
        return axes


def _mosaic(images: np.ndarray, gap: int) -> np.ndarray:
    """Return the images of a grid as one, with white between them."""
    rows, columns, height, width, *channels = images.shape
    full = np.full((rows, columns, height + gap, width + gap, *channels), 255, dtype=np.uint8)
    full[:, :, :height, :width] = images
    whole = full.swapaxes(1, 2).reshape(rows * (height + gap), columns * (width + gap), *channels)
    return whole[: rows * (height + gap) - gap, : columns * (width + gap) - gap]


def _columns(classes: np.ndarray, chosen: ArrayLike | None) -> np.ndarray:
    """Return the positions of the chosen class labels; of all if None."""
    if chosen is None:
        return np.arange(len(classes))
    known = classes.tolist()
    chosen = np.atleast_1d(chosen).tolist()
    unknown = [c for c in chosen if c not in known]
    if unknown or not chosen:
        raise ValueError(f"classes must be among the classes of the set; got {unknown}.")
    return np.array([known.index(c) for c in chosen])


def _stride(n: int) -> int:
    """Return the step between named rows or columns of n."""
    return -(-n // _MAX_TICKS)
