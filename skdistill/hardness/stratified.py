"""Accuracy of a distilled set on the easy and on the hard samples [Feng23, figure 10]."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from numbers import Integral

import numpy as np
import torch
from numpy.typing import ArrayLike

from .._data.validation import check_count
from .._data.wording import percent
from .._engine.settings import own_settings
from ..distilled._dataset import DistilledDataset, check_is_set
from ..evaluation._comparison import WHOLE
from ..evaluation._networks import training_samples
from ..evaluation._papers import by_recipe_of
from ..evaluation._protocol import check_known_data, in_words, telling_what_is_done
from ..networks import Architecture
from ._common import check_scores, correct_while_training, family_of

__all__ = ["HardnessResult", "accuracy_by_hardness"]


@dataclass(frozen=True, eq=False)
class HardnessResult:
    """Accuracy by how hard samples are; prints as a table.

    `skdistill.inspection.HardnessDisplay` draws it.

    Parameters
    ----------
    edges : ndarray of shape (n_bins + 1,)
        The bins' limits. A bin holds its lower limit and not its upper one; the last holds both.
    counts : ndarray of shape (n_bins,)
        Samples in each bin.
    accuracies : dict of str to ndarray of shape (n_networks, n_bins)
        For each training set, the accuracy of each network on the samples of each bin; NaN for a
        bin without samples.
    """

    edges: np.ndarray
    counts: np.ndarray
    accuracies: dict[str, np.ndarray]

    def __str__(self) -> str:
        names = [f"{low:.4g} to {high:.4g}" for low, high in zip(self.edges, self.edges[1:])]
        width = max(map(len, ["hardness", *names]))
        heads = [f"{name} (%)" for name in self.accuracies]
        lines = ["  ".join([f"{'hardness':<{width}}", "samples", *(f"{h:>12}" for h in heads)])]
        for i, name in enumerate(names):
            cells = [f"{name:<{width}}", f"{self.counts[i]:7d}"]
            for head, values in zip(heads, self.accuracies.values()):
                mean, std = values[:, i].mean(), values[:, i].std()
                cell = "-" if np.isnan(mean) else percent(mean, std, len(values))
                cells.append(f"{cell:>{max(12, len(head))}}")
            lines.append("  ".join(cells))
        return "\n".join(lines)


@own_settings()
def accuracy_by_hardness(
    distilled: DistilledDataset | Mapping[str, DistilledDataset],
    X: ArrayLike,
    y: ArrayLike,
    scores: ArrayLike,
    *,
    n_networks: int | None = None,
    n_networks_whole: int | None = None,
    bins: int | ArrayLike = 10,
    architecture: str | Architecture | None = None,
    device: str | torch.device = "auto",
) -> HardnessResult:
    """Test networks trained on a distilled set on the easy and on the hard samples.

    This is figure 10 of [Feng23]_. For comparison, networks are trained on all of ``X`` (the
    figure's "Optimal") by the same recipe; their accuracy is that on their own training samples.

    Parameters
    ----------
    distilled : DistilledDataset, or mapping of str to DistilledDataset
        A set, or several by name, such as ``{f"IPC {k}": distilled.subset(k) for k in (1, 5, 10)}``
        of a boosted set. All are evaluated by the first one's recipe.
    X, y : array-like
        The samples that were scored, in the layout of the training data, and their labels.
    scores : array-like of shape (n,)
        How hard each sample is: from `forgetting_scores`, or any other finite numbers.
    n_networks : int or None, default=None
        Networks for each set; None takes the recipe's.
    n_networks_whole : int or None, default=None
        Networks trained on all samples, the costly part; None takes `n_networks`, and 0 leaves them
        out.
    bins : int or array-like of float, default=10
        The number of bins of equal width from the lowest to the highest score, or the bins' limits:
        ascending, with every score between the first and the last.
    architecture : str, callable or None, default=None
        As in `skdistill.evaluation.evaluate`.
    device : str, default="auto"
        Where to compute.

    Returns
    -------
    HardnessResult
        With a row of accuracies for each set ("distilled" if it has no name), and for the "whole
        training set".

    Raises
    ------
    ValueError
        If scores, samples, sets and bins do not fit each other, before any work starts.

    Warns
    -----
    UserWarning
        If networks are to learn negative labels by cross-entropy, because the first one's recipe
        says so, for instance.

    References
    ----------
    .. [Feng23] Y. Feng, R. Vedantam and J. Kempe, "Embarrassingly Simple Dataset Distillation",
       arXiv:2311.07025.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skdistill import RaTBPTTDistiller
    >>> from skdistill.hardness import accuracy_by_hardness, forgetting_scores
    >>> X, y = load_iris(return_X_y=True)
    >>> scores = forgetting_scores(X, y, n_networks=2, n_epochs=4, random_state=0)
    >>> distilled = RaTBPTTDistiller(max_iter=2, window=2, unroll=4).fit(X, y).distilled_
    >>> result = accuracy_by_hardness(distilled, X, y, scores, n_networks=2, bins=[0, 0.5, 4])
    >>> int(result.counts.sum()), list(result.accuracies)
    (150, ['distilled', 'whole training set'])
    """
    sets = dict(distilled) if isinstance(distilled, Mapping) else {"distilled": distilled}
    for data in sets.values():
        check_is_set(data)
    sets = _check_sets(sets)
    reference, first = next(iter(sets.items()))
    n_networks = first.recipe.n_networks if n_networks is None else n_networks
    n_whole = n_networks if n_networks_whole is None else n_networks_whole
    check_count("n_networks", n_networks, 1)
    check_count("n_networks_whole", n_whole, 0)
    samples = {name: check_known_data(data, X, y) for name, data in sets.items()}
    n = len(samples[reference][0])
    scores = check_scores(scores, n)
    edges = _bin_edges(scores, bins)

    if n_whole:
        ready, index = samples[reference]
        sets[WHOLE] = replace(first, X=ready, y=first.classes[index], bases=())
        samples[WHOLE] = ready, index
    # The last bin includes its upper limit.
    place = np.minimum(np.searchsorted(edges, scores, side="right") - 1, len(edges) - 2)
    counts = np.bincount(place, minlength=len(edges) - 1)
    accuracies = {}
    with telling_what_is_done() as done:
        for name, data in sets.items():
            family = family_of(data, architecture, device)
            k_networks = n_whole if name == WHOLE else n_networks
            trained = correct_while_training(
                family,
                training_samples(family, data),
                k_networks,
                [first.recipe.steps],
                family.data(*samples[name]),
            )
            right = np.stack(
                [np.bincount(place, correct, minlength=len(counts)) for _, _, correct in trained]
            )
            with np.errstate(invalid="ignore"):  # a bin without samples: 0 / 0
                accuracies[name] = right / counts
            done.append(in_words(name, right.sum(axis=1) / n))
    return HardnessResult(edges, counts, accuracies)


def _check_sets(sets: Mapping[str, DistilledDataset]) -> dict[str, DistilledDataset]:
    """Return the sets with the recipe of the first, or raise a ValueError."""
    if not sets or WHOLE in sets:
        raise ValueError(
            f"distilled must hold at least one set, and none named {WHOLE!r}; got {sorted(sets)}."
        )
    refusal = "distilled must hold sets of the same classes and sample shape; {!r} differs."
    first = next(iter(sets.values()))
    return {name: by_recipe_of(first, data, refusal.format(name)) for name, data in sets.items()}


def _bin_edges(scores: np.ndarray, bins: int | ArrayLike) -> np.ndarray:
    """Return the limits of the bins, or raise a ValueError."""
    if isinstance(bins, Integral):
        check_count("bins", bins, 1)
        return np.histogram_bin_edges(scores, int(bins))
    edges = np.asarray(bins, dtype=np.float64)
    if edges.ndim != 1 or len(edges) < 2 or not (np.diff(edges) > 0).all():
        raise ValueError(f"bins must be a number or at least 2 ascending limits; got {bins!r}.")
    if scores.min() < edges[0] or scores.max() > edges[-1]:
        raise ValueError(
            f"bins must hold every score; got limits from {edges[0]:g} to {edges[-1]:g} "
            f"for scores from {scores.min():g} to {scores.max():g}."
        )
    return edges
