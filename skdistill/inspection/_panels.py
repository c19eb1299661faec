"""What the displays share: where they draw, and how axes look."""

import numpy as np

__all__ = ["floats", "in_percent", "in_whole_numbers", "panels", "tidy"]


def panels(ax, n: int, *, figsize, heights=None):
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


def floats(values) -> np.ndarray:
    """Return an array of floats; None becomes NaN."""
    return np.asarray(values, dtype=np.float64)


def in_percent(ax) -> None:
    """Write the y axis in percent."""
    from matplotlib.ticker import PercentFormatter

    ax.yaxis.set_major_formatter(PercentFormatter(1.0))


def in_whole_numbers(ax) -> None:
    """Put the ticks of the x axis at whole numbers."""
    from matplotlib.ticker import MaxNLocator

    ax.xaxis.set_major_locator(MaxNLocator("auto", integer=True, steps=[1, 2, 5, 10]))


def tidy(ax) -> None:
    """Take away the upper and the right spine."""
    ax.spines[["top", "right"]].set_visible(False)
