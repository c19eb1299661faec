"""The requested start of a run: samples that come first, and how fast they move."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from .._data.columns import check_names
from .._data.network_input import find_classes
from .._data.training import Checked
from .._data.units import are_known, some_rows, warn_of_other_units
from ..distilled._dataset import DistilledDataset
from ..parametrization import SampleParametrization

__all__ = ["check_factors", "check_label_loss", "check_start"]


def check_factors(factors, ipc: int) -> np.ndarray | None:
    """Return the factors of the learning rates as numbers, or raise ValueError."""
    if factors is None:
        return None
    shown = factors
    try:
        factors = np.asarray(factors, dtype=np.float64)
        shown = factors.tolist()
        good = factors.shape == (ipc,) and (np.isfinite(factors) & (factors >= 0)).all()
    except (TypeError, ValueError):
        good = False
    if not good:
        raise ValueError(
            f"learning_rate_factors must be ipc={ipc} non-negative numbers; got {shown!r:.200}."
        )
    return factors


def check_start(
    start,
    init,
    data: Checked,
    ipc: int,
    learn_labels: bool,
    parametrization: SampleParametrization,
    feature_names: Sequence[str] | None,
) -> DistilledDataset | None:
    """Return the set whose samples come first, ``start`` or ``init``, or raise ValueError.

    Its rows are in the order of a run: one sample of every class, then the next.

    Parameters
    ----------
    start, init
        What was given.
    data : Checked
    ipc : int
    learn_labels : bool
    parametrization : SampleParametrization
    feature_names : sequence of str or None
        Names of the columns of the data.
    """
    name, most = "start", f"at most ipc={ipc}"
    if isinstance(init, DistilledDataset):
        if start is not None:
            raise ValueError("start must not be given with an init that is a set as well.")
        name, start, most = "init", init, f"ipc={ipc}"
    if start is None:
        return None
    if not isinstance(start, DistilledDataset):
        raise ValueError(f"start must be a DistilledDataset; got {type(start).__name__}.")
    good = start.ipc == ipc if name == "init" else start.ipc <= ipc
    if not good or start.recipe.layout != data.layout:
        raise ValueError(
            f"{name} must hold {most} samples per class of shape {data.layout.user_shape}; "
            f"got ipc={start.ipc} of shape {start.recipe.layout.user_shape}."
        )
    if not np.array_equal(start.classes, data.classes):
        raise ValueError(f"{name} must hold the classes of y; its own differ.")
    check_names(feature_names, start.feature_names, name, f"X[list({name}.feature_names)]")
    if start.y.ndim == 2 and not learn_labels:
        raise ValueError(
            f"{name} must hold hard labels unless learn_labels=True; its own are soft. "
            "with_hard_labels() of a distilled set makes them."
        )
    parametrization.check(init, ipc, start)
    recipe = start.recipe
    if are_known(recipe.mean, recipe.scale):
        # In other units its samples would be far from those of X.
        X, y = some_rows(data.X), some_rows(data.y)
        warn_of_other_units(X, data.layout, recipe.mean, recipe.scale, len(data.classes), y)
    return _in_order(start, name, parametrization)


def _in_order(
    start: DistilledDataset, name: str, parametrization: SampleParametrization
) -> DistilledDataset:
    """Return a set whose rows are in the order of a run, which knows classes by their rows.

    Hard labels may be in another: those of a set made by hand, or of soft labels whose largest is
    not that of the row's class any more.
    """
    if start.y.ndim == 2 or np.array_equal(start.y, np.tile(start.classes, start.ipc)):
        return start
    index = find_classes(start.y, start.classes)
    counts = np.bincount(index[index >= 0], minlength=len(start.classes))
    if (counts != start.ipc).any():
        found = dict(zip(start.classes.tolist(), counts.tolist()))
        raise ValueError(
            f"{name} must hold {start.ipc} samples of every class; by its labels it has "
            f"{found!r:.200}. If these are the largest of soft labels, start from the soft ones, "
            "with learn_labels=True; or leave samples out, and make a set of the others with "
            "DistilledDataset.from_arrays."
        )
    if not parametrization.learns_samples and start.bases:
        raise ValueError(
            f"{name} must hold its classes in turn, one sample of every class after the other, "
            f"with parametrization={parametrization!r}, whose bases are in that order; its hard "
            "labels are in another. Start from the soft labels that it had, with "
            "learn_labels=True, or from its samples, with parametrization='pixels'."
        )
    order = np.argsort(index, kind="stable").reshape(len(counts), -1).T.ravel()
    # Bases are of no use to what learns the samples themselves.
    return replace(start, X=start.X[order], y=start.y[order], bases=())


def check_label_loss(start: DistilledDataset | None, loss: str) -> None:
    """Raise ValueError if soft labels of a set to start from mean something else in this run.

    Parameters
    ----------
    start : DistilledDataset or None
    loss : str
        The loss by which networks learn the labels of the run.
    """
    if start is None or start.y.ndim == 1:
        return
    found = None
    if start.recipe.loss != loss:
        found = f"learned by {start.recipe.loss!r}"
    elif start.recipe.targets == "softmax":
        # DATM's code learns such scores; here labels themselves are learned.
        found = "scores, whose softmax networks learn (targets='softmax')"
    elif loss == "cross-entropy" and bool((start.y < 0).any()):
        # A protocol for an evaluation may have changed the recipe.
        found = "negative in part"
    if found is not None:
        raise ValueError(
            f"init and start must hold labels that networks learn by {loss!r}, as those of this "
            f"method; those of the set given are {found}. with_hard_labels() of that set makes "
            "labels for every method."
        )
