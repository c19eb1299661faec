"""Displays: distilled images, the course of a run, accuracy by budget and by hardness.

They follow scikit-learn's Displays: an object holds what is to be drawn, its ``from_*`` class
methods compute that, and `plot` draws it. Needs matplotlib, and no torch.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from sklearn.utils._optional_dependencies import check_matplotlib_support
from sklearn.utils.validation import check_is_fitted

from ._image_folder import to_pixels
from .distilled import DistilledDataset

if TYPE_CHECKING:
    from .evaluation import EvaluationResult
    from .hardness import HardnessResult
    from .intercorrelation import SubsampleCurve

__all__ = [
    "BudgetCurveDisplay",
    "DistilledImagesDisplay",
    "HardnessDisplay",
    "TrainingCurveDisplay",
]

# The most rows, and columns, of a grid of images that are all named.
_MAX_TICKS = 20


class DistilledImagesDisplay:
    """A grid of distilled images: a class a column, a sample a row.

    Make one with `from_distilled` or `from_estimator`.

    Parameters
    ----------
    images : ndarray of uint8, of shape (ipc, n_classes, H, W) or (ipc, n_classes, H, W, C)
        Grey, RGB or RGBA pixels.
    classes : array-like of shape (n_classes,)
        Names of the columns.
    block_size : int or None, default=None
        A line is drawn under every so many rows: between the blocks of a boosted set.

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

    def __init__(self, *, images, classes, block_size=None):
        self.images = images
        self.classes = classes
        self.block_size = block_size

    @classmethod
    def from_distilled(
        cls,
        distilled: DistilledDataset,
        *,
        ipc=None,
        classes=None,
        inverse_transform=None,
        value_range=None,
        block_size="auto",
        ax=None,
        **kwargs,
    ) -> "DistilledImagesDisplay":
        """Draw the images of a distilled set.

        Parameters
        ----------
        distilled : DistilledDataset
            Of images with 1, 3 or 4 channels. If it keeps its preprocessing, the images go through
            the inverse of that first, so that whitened ones look like the original images.
        ipc : int or None, default=None
            Samples a class to show, the first ones; None shows all.
        classes : array-like or None, default=None
            Class labels to show, in this order; None shows all.
        inverse_transform : callable or None, default=None
            What brings samples back to what one wants to look at, as ``whitener.inverse_transform``
            does: maps an array of samples in the set's layout to one of as many images of the same
            size. It takes the place of the set's own preprocessing.
        value_range : (low, high) or None, default=None
            Values that become black and white; what lies beyond is clipped. None takes the least
            and the greatest value of the whole set, so that images can be compared.
        block_size : int, None or "auto", default="auto"
            Samples a class in a block, between which lines are drawn; "auto" is what a boosted set
            was made with, None draws no lines.
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
            If the samples are no images that can be drawn, or there are no such classes, samples or
            blocks.
        """
        check_matplotlib_support(f"{cls.__name__}.from_distilled")
        layout, n_classes = distilled.recipe.layout, len(distilled.classes)
        if not layout.is_image:
            raise ValueError(
                f"distilled must hold images; got table rows of {layout.outer[0]} features. If "
                "they are flat images, distil with image_shape=(channels, height, width)."
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
            block_size = distilled.provenance.get("parameters", {}).get("block_size")
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
    def from_estimator(cls, estimator, **kwargs) -> "DistilledImagesDisplay":
        """Draw the images of a fitted distiller, or of a pipeline that ends in one.

        Parameters
        ----------
        estimator : distiller or Pipeline
            Fitted. What a pipeline does before the distiller is taken back, where it can be.
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

    def plot(self, ax=None, *, cmap="gray", gap=None, line_kwargs=None) -> "DistilledImagesDisplay":
        """Draw the images.

        Parameters
        ----------
        ax : matplotlib Axes or None, default=None
            Where to draw; None makes a figure.
        cmap : str or matplotlib Colormap, default="gray"
            Colours of grey images.
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
        # Names wider than their image would run into each other.
        slanted = max(map(len, names)) > 4
        ax.set_xticks(
            (width + gap) * shown + (width - 1) / 2,
            names,
            rotation=45 if slanted else 0,
            ha="left" if slanted else "center",
            rotation_mode="anchor",
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
            ax.set_xlim(limits)  # the lines reach beyond the images, and shall not shrink them
        return self

    def _place(self, ax, canvas):
        """Return where to draw, in a figure that fits the grid if there is none yet."""
        rows, columns, *sides = self.images.shape[:4]
        longest = max(rows, columns)
        # Inches of an image: in 8 inches if that leaves enough of each, in 24 at most.
        inches = min(1.0, max(8 / longest, min(0.4, 24 / longest)))
        height, width = (inches / max(sides) * side for side in canvas.shape[:2])
        self.figure_, axes = _panels(ax, 1, figsize=(max(width, 2) + 0.6, height + 0.7))
        self.ax_ = axes[0]
        return axes


class TrainingCurveDisplay:
    """The course of a run: loss, held-out accuracy, and norm of the meta-gradient (figure 4).

    Make one with `from_estimator`. To compare runs, as the figure does, draw one into the axes of
    another: ``TrainingCurveDisplay.from_estimator(b, ax=display.axes_, label="T-BPTT")``.

    Parameters
    ----------
    loss, grad_norm, clip_level : array-like of shape (n_iter,)
        Of every outer step; NaN or None for what was not finite.
    skipped : array-like of bool, of shape (n_iter,)
        The outer steps that were skipped, for their meta-gradient was not finite.
    validation_accuracy : array-like of shape (n_iter,) or None, default=None
        NaN or None for the steps after which it was not measured; None if it never was.

    Attributes
    ----------
    lines_ : dict of str to matplotlib Line2D
        "loss", "loss_mean", "validation_accuracy" (if there is one), "grad_norm", "clip_level" and
        "skipped".
    axes_ : ndarray of matplotlib Axes
        One a panel: loss, accuracy (if there is one), norm.
    ax_ : matplotlib Axes
        The first of them.
    figure_ : matplotlib Figure

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skdistill import RaTBPTTDistiller
    >>> from skdistill.inspection import TrainingCurveDisplay
    >>> X, y = load_iris(return_X_y=True)
    >>> distiller = RaTBPTTDistiller(max_iter=5, window=2, unroll=4).fit(X, y)
    >>> display = TrainingCurveDisplay.from_estimator(distiller)
    >>> len(display.loss), len(display.axes_)
    (5, 2)
    """

    def __init__(self, *, loss, grad_norm, clip_level, skipped, validation_accuracy=None):
        self.loss = _floats(loss)
        self.grad_norm = _floats(grad_norm)
        self.clip_level = _floats(clip_level)
        self.skipped = np.asarray(skipped, dtype=bool)
        self.validation_accuracy = None
        if validation_accuracy is not None:
            self.validation_accuracy = _floats(validation_accuracy)

    @classmethod
    def from_estimator(cls, estimator, *, ax=None, **kwargs) -> "TrainingCurveDisplay":
        """Draw the course of a fitted distiller's run.

        Parameters
        ----------
        estimator : distiller or Pipeline
            Fitted; a pipeline ends in a distiller.
        ax : matplotlib Axes, sequence of them or None, default=None
            Where to draw; see `plot`.
        **kwargs : dict
            Passed to `plot`.

        Returns
        -------
        TrainingCurveDisplay
        """
        check_matplotlib_support(f"{cls.__name__}.from_estimator")
        distiller = estimator.steps[-1][1] if hasattr(estimator, "steps") else estimator
        check_is_fitted(distiller, "history_")
        history = distiller.history_
        display = cls(
            loss=history["loss"],
            grad_norm=history["grad_norm"],
            clip_level=history["clip_level"],
            skipped=history["skipped"],
            validation_accuracy=history.get("validation_accuracy"),
        )
        return display.plot(ax=ax, **kwargs)

    def plot(self, ax=None, *, smoothing=15, label=None) -> "TrainingCurveDisplay":
        """Draw the curves.

        Parameters
        ----------
        ax : matplotlib Axes, sequence of them or None, default=None
            Where to draw: one Axes a panel, in their order, or one that is divided; None makes a
            figure.
        smoothing : int, default=15
            Outer steps over which the mean of the loss is drawn beside it. Each step uses another
            network, another window and other real samples, so a single loss says little.
        label : str or None, default=None
            Name of the run in the legend.

        Returns
        -------
        TrainingCurveDisplay
            This object.
        """
        check_matplotlib_support(f"{type(self).__name__}.plot")
        if smoothing < 1:
            raise ValueError(f"smoothing={smoothing} must be at least 1.")
        has_accuracy = self.validation_accuracy is not None
        n_panels = 3 if has_accuracy else 2
        self.figure_, self.axes_ = _panels(ax, n_panels, figsize=(4 * n_panels, 3.2))
        self.ax_ = self.axes_[0]
        steps = np.arange(1, len(self.loss) + 1)
        self.lines_ = {}

        loss = self.axes_[0]
        mean_label = f"mean of {smoothing} steps" if label is None else label
        (self.lines_["loss_mean"],) = loss.plot(
            steps, _running_mean(self.loss, smoothing), label=mean_label
        )
        # The first line takes the next colour of its axes, the run's other lines take it over.
        color = self.lines_["loss_mean"].get_color()
        (self.lines_["loss"],) = loss.plot(
            steps, self.loss, color=color, alpha=0.25, linewidth=0.8, zorder=1
        )
        loss.set(xlabel="outer step", ylabel="loss on real data")
        loss.legend(frameon=False, loc="upper right")

        if has_accuracy:
            accuracy, measured = self.axes_[1], np.isfinite(self.validation_accuracy)
            (self.lines_["validation_accuracy"],) = accuracy.plot(
                steps[measured], self.validation_accuracy[measured], "o-", color=color, markersize=3
            )
            accuracy.set(xlabel="outer step", ylabel="held-out accuracy")
            _in_percent(accuracy)

        norm = self.axes_[-1]
        (self.lines_["grad_norm"],) = norm.plot(
            steps, self.grad_norm, color=color, alpha=0.6, linewidth=0.8, label="norm"
        )
        (self.lines_["clip_level"],) = norm.plot(
            steps, self.clip_level, "--", color=color, linewidth=1, label="clipped at"
        )
        # At the panel's foot, whatever its scale: a skipped step has no norm to be drawn at.
        (self.lines_["skipped"],) = norm.plot(
            steps[self.skipped],
            np.full(self.skipped.sum(), 0.02),
            "|",
            color="tab:red",
            transform=norm.get_xaxis_transform(),
            label="skipped" if self.skipped.any() else "_skipped",
        )
        norm.set(xlabel="outer step", ylabel="norm of the meta-gradient", yscale="log")
        if label is None:
            norm.legend(frameon=False, loc="upper right")
        for panel in self.axes_:
            _in_whole_numbers(panel)
            _tidy(panel)
        return self


class BudgetCurveDisplay:
    """Accuracy against samples a class, for several kinds of sets (figures 7 and 8).

    Parameters
    ----------
    budgets : array-like of shape (n_budgets,)
        Samples a class.
    curves : mapping of str to (mean, std)
        By name: mean accuracy, from 0 to 1, and its standard deviation, arrays of shape
        (n_budgets,). NaN for a budget that a curve has no value for; None for a standard deviation
        that is not known.

    Attributes
    ----------
    lines_ : dict of str to matplotlib Line2D
        The means, without the budgets that have none.
    errors_ : dict of str to matplotlib LineCollection
        One standard deviation to both sides.
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure

    Examples
    --------
    >>> from skdistill.inspection import BudgetCurveDisplay
    >>> joint, boosted = [0.51, 0.62, 0.66], [0.51, 0.61, 0.65]
    >>> std = [0.01, 0.01, 0.01]
    >>> display = BudgetCurveDisplay(
    ...     budgets=[1, 5, 10], curves={"joint": (joint, std), "boosted": (boosted, std)}
    ... )
    >>> list(display.plot().lines_)
    ['joint', 'boosted']
    """

    def __init__(self, *, budgets, curves):
        self.budgets = np.asarray(budgets)
        self.curves = {
            name: (_floats(mean), None if std is None else _floats(std))
            for name, (mean, std) in curves.items()
        }
        for name, parts in self.curves.items():
            for part in parts:
                if part is not None and part.shape != self.budgets.shape:
                    raise ValueError(
                        f"curves[{name!r}] must have as many values as there are budgets, "
                        f"{len(self.budgets)}; got an array of shape {part.shape}."
                    )

    @classmethod
    def from_results(
        cls, results: "Mapping[str, Mapping[int, EvaluationResult]]", *, ax=None, **kwargs
    ) -> "BudgetCurveDisplay":
        """Draw evaluations of sets of several sizes.

        Parameters
        ----------
        results : mapping of str to mapping of int to EvaluationResult
            By name of the curve, then by samples a class, as
            ``{"boosted": boosted.evaluate_budgets(X, y)}``. Curves may differ in their budgets.
        ax : matplotlib Axes or None, default=None
            Where to draw; None makes a figure.
        **kwargs : dict
            Passed to `plot`.

        Returns
        -------
        BudgetCurveDisplay
        """
        check_matplotlib_support(f"{cls.__name__}.from_results")
        budgets = sorted({budget for by_budget in results.values() for budget in by_budget})

        def values(by_budget, name):
            return [getattr(by_budget.get(budget), name, np.nan) for budget in budgets]

        curves = {k: (values(v, "mean"), values(v, "std")) for k, v in results.items()}
        return cls(budgets=budgets, curves=curves).plot(ax=ax, **kwargs)

    @classmethod
    def from_subsample_curve(
        cls, curve: "SubsampleCurve", *, ax=None, **kwargs
    ) -> "BudgetCurveDisplay":
        """Draw what `skdistill.intercorrelation.subsample_curve` returned (figure 7).

        Parameters
        ----------
        curve : SubsampleCurve
        ax : matplotlib Axes or None, default=None
            Where to draw; None makes a figure.
        **kwargs : dict
            Passed to `plot`.

        Returns
        -------
        BudgetCurveDisplay
        """
        check_matplotlib_support(f"{cls.__name__}.from_subsample_curve")
        return cls(budgets=curve.sizes, curves=curve.curves).plot(ax=ax, **kwargs)

    def plot(self, ax=None) -> "BudgetCurveDisplay":
        """Draw the curves.

        Parameters
        ----------
        ax : matplotlib Axes or None, default=None
            Where to draw; None makes a figure.

        Returns
        -------
        BudgetCurveDisplay
            This object.
        """
        check_matplotlib_support(f"{type(self).__name__}.plot")
        self.figure_, (self.ax_,) = _panels(ax, 1, figsize=(5, 3.6))
        self.lines_, self.errors_ = {}, {}
        for i, (name, (mean, std)) in enumerate(self.curves.items()):
            known = np.isfinite(mean)
            # Bars and no band, which would hide the curve that has a single budget.
            drawn = self.ax_.errorbar(
                self.budgets[known],
                mean[known],
                yerr=None if std is None else std[known],
                fmt="o-",
                markersize=4,
                elinewidth=1,
                capsize=2.5,
                label=name,
                zorder=3 - 0.01 * i,  # what is named first lies on top
            )
            self.lines_[name] = drawn.lines[0]
            if std is not None:
                self.errors_[name] = drawn.lines[2][0]
        self.ax_.set(xlabel="samples a class", ylabel="test accuracy")
        _in_percent(self.ax_)
        _in_whole_numbers(self.ax_)
        self.ax_.legend(frameon=False)
        _tidy(self.ax_)
        return self


class HardnessDisplay:
    """Accuracy by hardness, over a histogram of the hardness (figure 10).

    Make one with `from_result`.

    Parameters
    ----------
    edges : array-like of shape (n_bins + 1,)
        The bins' limits.
    counts : array-like of shape (n_bins,)
        Samples in each bin.
    accuracies : mapping of str to array-like of shape (n_networks, n_bins)
        By what networks were trained on; NaN for bins without samples.

    Attributes
    ----------
    lines_ : dict of str to matplotlib Line2D
        Mean accuracy at the middle of each bin that has samples.
    bands_ : dict of str to matplotlib PolyCollection
        One standard deviation over the networks to both sides, where that is an accuracy.
    histogram_ : matplotlib BarContainer
    axes_ : ndarray of matplotlib Axes
        Accuracy, histogram.
    ax_ : matplotlib Axes
        The first of them.
    figure_ : matplotlib Figure

    Examples
    --------
    >>> from skdistill.inspection import HardnessDisplay
    >>> accuracies = {"IPC 1": [[0.8, 0.3], [0.9, 0.4]], "Optimal": [[1.0, 0.9], [1.0, 0.8]]}
    >>> display = HardnessDisplay(edges=[0, 1, 5], counts=[90, 10], accuracies=accuracies).plot()
    >>> len(display.axes_)
    2
    """

    def __init__(self, *, edges, counts, accuracies):
        self.edges = _floats(edges)
        self.counts = np.asarray(counts)
        self.accuracies = {name: _floats(values) for name, values in accuracies.items()}

    @classmethod
    def from_result(cls, result: "HardnessResult", *, ax=None, **kwargs) -> "HardnessDisplay":
        """Draw what `skdistill.hardness.accuracy_by_hardness` returned.

        Parameters
        ----------
        result : HardnessResult
        ax : matplotlib Axes, sequence of two or None, default=None
            Where to draw; see `plot`.
        **kwargs : dict
            Passed to `plot`.

        Returns
        -------
        HardnessDisplay
        """
        check_matplotlib_support(f"{cls.__name__}.from_result")
        display = cls(edges=result.edges, counts=result.counts, accuracies=result.accuracies)
        return display.plot(ax=ax, **kwargs)

    def plot(self, ax=None, *, xlabel="hardness score") -> "HardnessDisplay":
        """Draw accuracies and histogram.

        Parameters
        ----------
        ax : matplotlib Axes, sequence of two or None, default=None
            Where to draw: an Axes for the accuracies and one for the histogram, or one that is
            divided; None makes a figure.
        xlabel : str, default="hardness score"
            What the hardness is.

        Returns
        -------
        HardnessDisplay
            This object.
        """
        check_matplotlib_support(f"{type(self).__name__}.plot")
        self.figure_, self.axes_ = _panels(ax, 2, figsize=(5, 4.6), heights=(2, 1))
        self.ax_, below = self.axes_
        middles, filled = (self.edges[:-1] + self.edges[1:]) / 2, self.counts > 0
        self.lines_, self.bands_ = {}, {}
        for name, values in self.accuracies.items():
            mean, std = values[:, filled].mean(axis=0), values[:, filled].std(axis=0)
            (line,) = self.ax_.plot(middles[filled], mean, "o-", markersize=4, label=name)
            self.lines_[name] = line
            self.bands_[name] = self.ax_.fill_between(
                middles[filled],
                (mean - std).clip(0, 1),
                (mean + std).clip(0, 1),
                color=line.get_color(),
                alpha=0.2,
                linewidth=0,
            )
        self.ax_.set(ylabel="accuracy", ylim=(-0.03, 1.03))
        _in_percent(self.ax_)
        self.ax_.legend(frameon=False)
        self.histogram_ = below.bar(
            self.edges[:-1],
            self.counts,
            np.diff(self.edges),
            align="edge",
            color="0.6",
            edgecolor="white",
        )
        below.set(xlabel=xlabel, ylabel="samples", xlim=(self.edges[0], self.edges[-1]))
        # Most samples are easy; the scale shows the few hard ones as well.
        below.set_yscale("symlog", linthresh=1)
        self.ax_.sharex(below)
        self.ax_.tick_params(labelbottom=False)
        for panel in self.axes_:
            _tidy(panel)
        return self


def _panels(ax, n: int, *, figsize, heights=None):
    """Return a figure and an array of n Axes: new ones, those given, or parts of the one given."""
    import matplotlib.pyplot as plt
    from matplotlib.axes import Axes

    grid = {"nrows": 1, "ncols": n} if heights is None else {"nrows": n, "ncols": 1}
    ratios = {} if heights is None else {"height_ratios": heights}
    if ax is None:
        figure, axes = plt.subplots(
            **grid, figsize=figsize, layout="constrained", gridspec_kw=ratios, squeeze=False
        )
        return figure, axes.ravel()
    if isinstance(ax, Axes) and n > 1:
        spec = ax.get_subplotspec()
        if spec is None:
            raise ValueError(f"ax must be made by subplots to be divided; pass {n} Axes instead.")
        ax.set_axis_off()
        parts = spec.subgridspec(**grid, **ratios)
        return ax.figure, np.array([ax.figure.add_subplot(part) for part in parts], dtype=object)
    axes = np.array([ax] if isinstance(ax, Axes) else ax, dtype=object).ravel()
    if len(axes) != n:
        raise ValueError(f"ax must be {n} Axes, one a panel, or one; got {len(axes)}.")
    return axes[0].figure, axes


def _mosaic(images: np.ndarray, gap: int) -> np.ndarray:
    """Return the images of a grid as one, with white between them."""
    rows, columns, height, width, *channels = images.shape
    full = np.full((rows, columns, height + gap, width + gap, *channels), 255, dtype=np.uint8)
    full[:, :, :height, :width] = images
    whole = full.swapaxes(1, 2).reshape(rows * (height + gap), columns * (width + gap), *channels)
    return whole[: rows * (height + gap) - gap, : columns * (width + gap) - gap]


def _columns(classes: np.ndarray, chosen) -> np.ndarray:
    """Return the places of the chosen class labels, of all if None."""
    if chosen is None:
        return np.arange(len(classes))
    known = classes.tolist()
    chosen = np.atleast_1d(chosen).tolist()
    unknown = [c for c in chosen if c not in known]
    if unknown or not chosen:
        raise ValueError(f"classes must be among the classes of the set; got {unknown}.")
    return np.array([known.index(c) for c in chosen])


def _stride(n: int) -> int:
    """Return every how many of n rows or columns is named."""
    return -(-n // _MAX_TICKS)


def _floats(values) -> np.ndarray:
    """Return an array of floats; None becomes NaN."""
    return np.asarray(values, dtype=np.float64)


def _running_mean(values: np.ndarray, length: int) -> np.ndarray:
    """Return the mean of the last ``length`` finite values (at first of fewer); NaN if none."""
    finite = np.isfinite(values)

    def sums(x):
        total = np.concatenate([np.zeros(length), np.cumsum(x)])
        return total[length:] - total[:-length]

    with np.errstate(invalid="ignore"):
        return sums(np.where(finite, values, 0.0)) / sums(finite.astype(np.float64))


def _in_percent(ax) -> None:
    from matplotlib.ticker import PercentFormatter

    ax.yaxis.set_major_formatter(PercentFormatter(1.0))


def _in_whole_numbers(ax) -> None:
    from matplotlib.ticker import MaxNLocator

    ax.xaxis.set_major_locator(MaxNLocator("auto", integer=True, steps=[1, 2, 5, 10]))


def _tidy(ax) -> None:
    ax.spines[["top", "right"]].set_visible(False)
