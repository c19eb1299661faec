"""Shared by the displays: where they draw, and how axes look."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["floats", "in_percent", "in_whole_numbers", "panels", "tidy"]


def panels(
    ax: Axes | Sequence[Axes] | None,
    n: int,
    *,
    figsize: tuple[float, float],
    heights: Sequence[float] | None = None,
) -> tuple[Any, np.ndarray]:
    """Return a figure and an array of n Axes: new ones, the given ones, or parts of a given one."""
    import matplotlib.pyplot as plt
    from matplotlib.axes import Axes

    grid: dict[str, Any] = {"nrows": 1, "ncols": n} if heights is None else {"nrows": n, "ncols": 1}
    ratios: dict[str, Any] = {} if heights is None else {"height_ratios": heights}
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
        axes = [ax.figure.add_subplot(parts[k]) for k in range(n)]
        return ax.figure, np.array(axes, dtype=object)
    axes = np.array([ax] if isinstance(ax, Axes) else ax, dtype=object).ravel()
    if len(axes) != n:
        raise ValueError(f"ax must be {n} Axes, one per panel, or one; got {len(axes)}.")
    return axes[0].figure, axes


def floats(values: ArrayLike) -> np.ndarray:
    """Return an array of floats; None becomes NaN."""
    return np.asarray(values, dtype=np.float64)


def in_percent(ax: Axes) -> None:
    """Write the y axis in percent."""
    from matplotlib.ticker import PercentFormatter

    ax.yaxis.set_major_formatter(PercentFormatter(1.0))


def in_whole_numbers(ax: Axes) -> None:
    """Put the ticks of the x axis at whole numbers."""
    from matplotlib.ticker import MaxNLocator

    ax.xaxis.set_major_locator(MaxNLocator("auto", integer=True, steps=[1, 2, 5, 10]))


def tidy(ax: Axes) -> None:
    """Remove the upper and the right spine."""
    ax.spines[["top", "right"]].set_visible(False)
