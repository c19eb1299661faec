"""Accuracy by hardness [Feng23, figure 10]."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils._optional_dependencies import check_matplotlib_support

from ._panels import floats, in_percent, panels, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from ..hardness import HardnessResult

__all__ = ["HardnessDisplay"]


class HardnessDisplay:
    """Accuracy by hardness, over a histogram of the hardness.

    Make one with `from_result`. It draws figure 10 of [Feng23]_.

    Parameters
    ----------
    edges : array-like of shape (n_bins + 1,)
        The bins' limits.
    counts : array-like of shape (n_bins,)
        Samples in each bin.
    accuracies : mapping of str to array-like of shape (n_networks, n_bins)
        Accuracies by training set of the networks; NaN for bins without samples.

    Attributes
    ----------
    lines_ : dict of str to matplotlib Line2D
        Mean accuracy at the middle of each bin that has samples.
    bands_ : dict of str to matplotlib PolyCollection
        One standard deviation over the networks to both sides, clipped to possible accuracies.
    histogram_ : matplotlib BarContainer
    axes_ : ndarray of matplotlib Axes
        Accuracy, histogram.
    ax_ : matplotlib Axes
        The first of the axes.
    figure_ : matplotlib Figure

    References
    ----------
    .. [Feng23] Y. Feng, R. Vedantam and J. Kempe, "Embarrassingly Simple Dataset Distillation",
       arXiv:2311.07025.

    Examples
    --------
    >>> from skdistill.inspection import HardnessDisplay
    >>> accuracies = {"IPC 1": [[0.8, 0.3], [0.9, 0.4]], "Optimal": [[1.0, 0.9], [1.0, 0.8]]}
    >>> display = HardnessDisplay(edges=[0, 1, 5], counts=[90, 10], accuracies=accuracies).plot()
    >>> len(display.axes_)
    2
    """

    def __init__(self, *, edges: ArrayLike, counts: ArrayLike, accuracies: Mapping[str, ArrayLike]):
        self.edges = floats(edges)
        self.counts = np.asarray(counts)
        self.accuracies = {name: floats(values) for name, values in accuracies.items()}

    @classmethod
    def from_result(
        cls, result: HardnessResult, *, ax: Axes | Sequence[Axes] | None = None, **kwargs: Any
    ) -> Self:
        """Draw the result of `skdistill.hardness.accuracy_by_hardness`.

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

    def plot(
        self, ax: Axes | Sequence[Axes] | None = None, *, xlabel: str = "hardness score"
    ) -> Self:
        """Draw accuracies and histogram.

        Parameters
        ----------
        ax : matplotlib Axes, sequence of two or None, default=None
            Where to draw: one Axes for the accuracies and one for the histogram, or one Axes that
            is divided; None makes a figure.
        xlabel : str, default="hardness score"
            The name of the hardness.

        Returns
        -------
        HardnessDisplay
            This object.
        """
        check_matplotlib_support(f"{type(self).__name__}.plot")
        self.figure_, self.axes_ = panels(ax, 2, figsize=(5, 4.6), heights=(2, 1))
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
        in_percent(self.ax_)
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
        # Most samples are easy; this scale shows the few hard ones as well.
        below.set_yscale("symlog", linthresh=1)
        self.ax_.sharex(below)
        self.ax_.tick_params(labelbottom=False)
        for panel in self.axes_:
            tidy(panel)
        return self
