"""Accuracy against samples per class [Feng23, figures 7 and 8]."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils._optional_dependencies import check_matplotlib_support

from ._panels import floats, in_percent, in_whole_numbers, panels, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from ..evaluation._protocol import EvaluationResult
    from ..intercorrelation import SubsampleCurve

__all__ = ["BudgetCurveDisplay"]


class BudgetCurveDisplay:
    """Accuracy against samples per class, for several kinds of sets.

    It draws figures 7 and 8 of [Feng23]_.

    Parameters
    ----------
    budgets : array-like of shape (n_budgets,)
        Samples per class.
    curves : mapping of str to (mean, std)
        Mean accuracy, from 0 to 1, and its standard deviation, by name: arrays of shape
        (n_budgets,). NaN for a budget without a value; None for a standard deviation that is not
        known.

    Attributes
    ----------
    lines_ : dict of str to matplotlib Line2D
        The means, without the budgets that have no value.
    errors_ : dict of str to matplotlib LineCollection
        One standard deviation to both sides.
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure

    References
    ----------
    .. [Feng23] Y. Feng, R. Vedantam and J. Kempe, "Embarrassingly Simple Dataset Distillation",
       arXiv:2311.07025.

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

    def __init__(
        self,
        *,
        budgets: ArrayLike,
        curves: Mapping[str, tuple[ArrayLike, ArrayLike | None]],
    ):
        self.budgets = np.asarray(budgets)
        self.curves = {
            name: (floats(mean), None if std is None else floats(std))
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
        cls,
        results: Mapping[str, Mapping[int, EvaluationResult]],
        *,
        ax: Axes | None = None,
        **kwargs: Any,
    ) -> Self:
        """Draw evaluations of sets of several sizes.

        Parameters
        ----------
        results : mapping of str to mapping of int to EvaluationResult
            Results by name of the curve, then by samples per class, such as ``{"boosted":
            boosted.evaluate_budgets(X, y)}``. Curves may differ in their budgets.
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

        def values(by_budget: Mapping[int, EvaluationResult], name: str) -> list[float]:
            return [getattr(by_budget.get(budget), name, np.nan) for budget in budgets]

        curves = {k: (values(v, "mean"), values(v, "std")) for k, v in results.items()}
        return cls(budgets=budgets, curves=curves).plot(ax=ax, **kwargs)

    @classmethod
    def from_subsample_curve(
        cls, curve: SubsampleCurve, *, ax: Axes | None = None, **kwargs: Any
    ) -> Self:
        """Draw the result of `skdistill.intercorrelation.subsample_curve`.

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

    def plot(self, ax: Axes | None = None) -> Self:
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
        self.figure_, (self.ax_,) = panels(ax, 1, figsize=(5, 3.6))
        self.lines_, self.errors_ = {}, {}
        for i, (name, (mean, std)) in enumerate(self.curves.items()):
            known = np.isfinite(mean)
            # Bars instead of a band, which would hide a curve with a single budget.
            drawn = self.ax_.errorbar(
                self.budgets[known],
                mean[known],
                yerr=None if std is None else std[known],
                fmt="o-",
                markersize=4,
                elinewidth=1,
                capsize=2.5,
                label=name,
                zorder=3 - 0.01 * i,  # the first curve lies on top
            )
            self.lines_[name] = drawn.lines[0]
            if std is not None:
                self.errors_[name] = drawn.lines[2][0]
        self.ax_.set(xlabel="samples per class", ylabel="test accuracy")
        in_percent(self.ax_)
        in_whole_numbers(self.ax_)
        self.ax_.legend(frameon=False)
        tidy(self.ax_)
        return self
