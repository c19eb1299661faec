"""The course of a run [Feng23, figure 4]."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils._optional_dependencies import check_matplotlib_support
from sklearn.utils.validation import check_is_fitted

from ._panels import floats, in_percent, in_whole_numbers, panels, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

__all__ = ["TrainingCurveDisplay"]


class TrainingCurveDisplay:
    """The course of a run: loss, held-out accuracy, and norm of the meta-gradient.

    Make one with `from_estimator`. To compare runs, as figure 4 of [Feng23]_ does, draw one into
    the axes of another: ``TrainingCurveDisplay.from_estimator(b, ax=display.axes_,
    label="T-BPTT")``.

    Parameters
    ----------
    loss, grad_norm, clip_level : array-like of shape (n_iter,)
        One value per outer step; NaN or None for values that were not finite.
    skipped : array-like of bool, of shape (n_iter,)
        The outer steps that were skipped because their meta-gradient was not finite.
    validation_accuracy : array-like of shape (n_iter,) or None, default=None
        NaN or None for steps after which it was not measured; None if it never was.

    Attributes
    ----------
    lines_ : dict of str to matplotlib Line2D
        "loss", "loss_mean", "validation_accuracy" (if there is one), "grad_norm", "clip_level" and
        "skipped".
    axes_ : ndarray of matplotlib Axes
        One per panel: loss, accuracy (if there is one), norm.
    ax_ : matplotlib Axes
        The first of the axes.
    figure_ : matplotlib Figure

    References
    ----------
    .. [Feng23] Y. Feng, R. Vedantam and J. Kempe, "Embarrassingly Simple Dataset Distillation",
       arXiv:2311.07025.

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

    def __init__(
        self,
        *,
        loss: ArrayLike,
        grad_norm: ArrayLike,
        clip_level: ArrayLike,
        skipped: ArrayLike,
        validation_accuracy: ArrayLike | None = None,
    ):
        self.loss = floats(loss)
        self.grad_norm = floats(grad_norm)
        self.clip_level = floats(clip_level)
        self.skipped = np.asarray(skipped, dtype=bool)
        self.validation_accuracy: np.ndarray | None = None
        if validation_accuracy is not None:
            self.validation_accuracy = floats(validation_accuracy)

    @classmethod
    def from_estimator(
        cls, estimator: Any, *, ax: Axes | Sequence[Axes] | None = None, **kwargs: Any
    ) -> Self:
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

    def plot(
        self,
        ax: Axes | Sequence[Axes] | None = None,
        *,
        smoothing: int = 15,
        label: str | None = None,
    ) -> Self:
        """Draw the curves.

        Parameters
        ----------
        ax : matplotlib Axes, sequence of them or None, default=None
            Where to draw: one Axes per panel, in order, or one Axes that is divided; None makes a
            figure.
        smoothing : int, default=15
            Outer steps over which the mean of the loss is drawn in addition. Each step uses another
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
        validation = self.validation_accuracy
        n_panels = 2 if validation is None else 3
        self.figure_, self.axes_ = panels(ax, n_panels, figsize=(4 * n_panels, 3.2))
        self.ax_ = self.axes_[0]
        self.lines_: dict[str, Line2D] = {}
        color = self._draw_loss(self.axes_[0], smoothing, label)
        if validation is not None:
            self._draw_accuracy(self.axes_[1], validation, color)
        self._draw_norm(self.axes_[-1], color)
        if label is None:
            self.axes_[-1].legend(frameon=False, loc="upper right")
        for panel in self.axes_:
            in_whole_numbers(panel)
            tidy(panel)
        return self

    @property
    def _steps(self) -> np.ndarray:
        return np.arange(1, len(self.loss) + 1)

    def _draw_loss(self, panel: Axes, smoothing: int, label: str | None) -> Any:
        """Draw the loss and its mean, and return the color of the run."""
        mean_label = f"mean of {smoothing} steps" if label is None else label
        (self.lines_["loss_mean"],) = panel.plot(
            self._steps, _running_mean(self.loss, smoothing), label=mean_label
        )
        # The first line takes the next color of its axes; the other lines of the run get the same
        # color.
        color = self.lines_["loss_mean"].get_color()
        (self.lines_["loss"],) = panel.plot(
            self._steps, self.loss, color=color, alpha=0.25, linewidth=0.8, zorder=1
        )
        panel.set(xlabel="outer step", ylabel="loss on real data")
        panel.legend(frameon=False, loc="upper right")
        return color

    def _draw_accuracy(self, panel: Axes, accuracy: np.ndarray, color: Any) -> None:
        measured = np.isfinite(accuracy)
        (self.lines_["validation_accuracy"],) = panel.plot(
            self._steps[measured], accuracy[measured], "o-", color=color, markersize=3
        )
        panel.set(xlabel="outer step", ylabel="held-out accuracy")
        in_percent(panel)

    def _draw_norm(self, panel: Axes, color: Any) -> None:
        """Draw the norm, the level at which it is clipped, and the steps that were skipped."""
        (self.lines_["grad_norm"],) = panel.plot(
            self._steps, self.grad_norm, color=color, alpha=0.6, linewidth=0.8, label="norm"
        )
        (self.lines_["clip_level"],) = panel.plot(
            self._steps, self.clip_level, "--", color=color, linewidth=1, label="clipped at"
        )
        # At the bottom of the panel, whatever its scale: a skipped step has no norm.
        (self.lines_["skipped"],) = panel.plot(
            self._steps[self.skipped],
            np.full(self.skipped.sum(), 0.02),
            "|",
            color="tab:red",
            transform=panel.get_xaxis_transform(),
            label="skipped" if self.skipped.any() else "_skipped",
        )
        panel.set(xlabel="outer step", ylabel="norm of the meta-gradient", yscale="log")


def _running_mean(values: np.ndarray, length: int) -> np.ndarray:
    """Return the mean of the last ``length`` finite values (fewer at first); NaN if none."""
    finite = np.isfinite(values)

    def sums(x: np.ndarray) -> np.ndarray:
        # Each of its own numbers: of a cumulative sum, one large value would leave nothing of those
        # that come after it.
        padded = np.concatenate([np.zeros(length), x])
        return np.lib.stride_tricks.sliding_window_view(padded, length).sum(axis=1)[1:]

    with np.errstate(invalid="ignore"):
        return sums(np.where(finite, values, 0.0)) / sums(finite.astype(np.float64))
