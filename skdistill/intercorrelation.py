"""How much the samples of a distilled set depend on each other ([Feng23, section 5])."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from numpy.typing import ArrayLike

from . import coresets
from ._data.seeds import draw_seed
from ._data.validation import check_count
from ._data.wording import percent
from ._engine.streams import Streams
from .distilled._dataset import DistilledDataset, check_is_set
from .evaluation._comparison import Comparison, judged_draws
from .evaluation._papers import by_recipe_of
from .evaluation._protocol import (
    check_known_data,
    check_test_data,
    evaluate_checked,
    in_words,
    telling_what_is_done,
)
from .networks import Architecture

__all__ = ["SubsampleCurve", "compare_blocks", "subsample_curve"]

# Returns samples and labels of a size and a draw.
Chooser = Callable[[int, int], tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True, eq=False)
class SubsampleCurve:
    """Test accuracy by samples per class: random subsets of a set, and other sets of their size.

    Prints as a table. `skdistill.inspection.BudgetCurveDisplay` draws it.

    Parameters
    ----------
    ipc : int
        Samples per class of the set from which the subsets are drawn.
    sizes : ndarray of shape (n_sizes,)
        Samples per class of the subsets, ascending.
    subsets : ndarray of shape (n_sizes, n_draws, n_networks_a_draw)
        Accuracy of each network on each random subset.
    real : ndarray of shape (n_sizes, n_draws, n_networks_a_draw) or None, default=None
        The same for random real samples; None if there were none.
    direct : ndarray of shape (n_sizes, n_networks) or None, default=None
        Accuracy of each network on the set that was distilled at that size; NaN where there is no
        such set, None if there is none at all.
    """

    ipc: int
    sizes: np.ndarray
    subsets: np.ndarray
    real: np.ndarray | None = None
    direct: np.ndarray | None = None

    @property
    def curves(self) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Mean and standard deviation of the accuracy, over draws and networks, by size.

        The names are "distilled at that size", "random subsets" and "random real samples".
        """
        flat = self._accuracies()
        return {name: (values.mean(axis=1), values.std(axis=1)) for name, values in flat.items()}

    def _accuracies(self) -> dict[str, np.ndarray]:
        """Return what each curve is the mean of, ``(n_sizes, n_draws * n_networks)``."""
        named = {
            "distilled at that size": self.direct,
            "random subsets": self.subsets,
            "random real samples": self.real,
        }
        return {k: v.reshape(len(self.sizes), -1) for k, v in named.items() if v is not None}

    def __str__(self) -> str:
        curves = self._accuracies()
        first = "samples per class"
        lines = ["  ".join([first, *(f"{name} (%)" for name in curves)])]
        for i, size in enumerate(self.sizes):
            cells = [f"{size:>{len(first)}}"]
            for name, values in curves.items():
                mean, std = values[i].mean(), values[i].std()
                cell = "-" if np.isnan(mean) else percent(mean, std, len(values[i]))
                cells.append(f"{cell:>{len(name) + 4}}")
            lines.append("  ".join(cells))
        _, n_draws, n_networks = self.subsets.shape
        lines.append(
            f"Subsets of {self.ipc} samples per class. Draws x networks: {n_draws} x {n_networks}."
        )
        return "\n".join(lines)


def subsample_curve(
    distilled: DistilledDataset,
    X: ArrayLike,
    y: ArrayLike,
    *,
    sizes: Sequence[int],
    n_draws: int = 5,
    n_networks: int | None = None,
    real: tuple[ArrayLike, ArrayLike] | None = None,
    sets: Mapping[int, DistilledDataset] | None = None,
    architecture: str | Architecture | None = None,
    random_state: int | np.random.RandomState | None = None,
    device: str | torch.device = "auto",
) -> SubsampleCurve:
    """Evaluate random subsets of a distilled set, for several sizes.

    If samples were distilled jointly, a random part of them is far worse than a set distilled at
    that size, and a small part is worse than random real samples (figure 7 of [Feng23]_). The
    difference tells how much the samples depend on each other. All networks are trained by the
    recipe of `distilled`.

    Parameters
    ----------
    distilled : DistilledDataset
    X, y : array-like
        Test samples in the layout of the training data, and their labels.
    sizes : sequence of int
        Samples per class of the subsets, each at most ``distilled.ipc``. At ``distilled.ipc``
        itself all draws are the whole set.
    n_draws : int, default=5
        Random subsets of each size, and random draws of real samples. The networks are divided
        among them: each draw has ``ceil(n_networks / n_draws)`` of its own, as in
        `skdistill.evaluation.compare`. Samples are drawn per class. The draws at one size do not
        depend on the other sizes.
    n_networks : int or None, default=None
        Networks for each size and kind of samples; None takes the recipe's.
    real : (X_train, y_train) or None, default=None
        Real samples; random ones of them are evaluated as well.
    sets : mapping of int to DistilledDataset or None, default=None
        Sets that were distilled at these sizes, by samples per class.
    architecture : str, callable or None, default=None
        As in `skdistill.evaluation.evaluate`.
    random_state : int, RandomState instance or None, default=None
        Determines the draws. None takes the recipe's seed, which determines the networks.
    device : str, default="auto"
        Where to compute.

    Returns
    -------
    SubsampleCurve

    Raises
    ------
    ValueError
        If a size is more than there are samples of a class, if `sets` do not fit `sizes` and
        `distilled`, or if the data does not fit the distilled set.

    References
    ----------
    .. [Feng23] Y. Feng, R. Vedantam and J. Kempe, "Embarrassingly Simple Dataset Distillation",
       arXiv:2311.07025.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skdistill import RaTBPTTDistiller
    >>> from skdistill.intercorrelation import subsample_curve
    >>> X, y = load_iris(return_X_y=True)
    >>> distilled = RaTBPTTDistiller(ipc=4, max_iter=2, window=2, unroll=4).fit(X, y).distilled_
    >>> curve = subsample_curve(
    ...     distilled, X, y, sizes=[1, 2], n_draws=3, n_networks=3, real=(X, y)
    ... )
    >>> curve.subsets.shape, list(curve.curves)
    ((2, 3, 1), ['random subsets', 'random real samples'])
    """
    check_is_set(distilled)
    sizes = _check_sizes(sizes, distilled.ipc)
    n_networks = distilled.recipe.n_networks if n_networks is None else n_networks
    check_count("n_draws", n_draws, 1)
    check_count("n_networks", n_networks, 1)
    sets = _check_sets({} if sets is None else sets, distilled, sizes)
    known = None if real is None else _check_real(real, distilled, sizes[-1])
    seed = distilled.recipe.seed if random_state is None else draw_seed(random_state)
    # Preprocessed once, not once for every set; `sets` have their own preprocessing.
    ready = check_test_data(distilled, X, y)
    bare = replace(distilled, bases=())
    evaluate = partial(evaluate_checked, architecture=architecture, device=device)

    def over_draws(choose: Chooser) -> np.ndarray:
        """Return the accuracies of the samples that are chosen at each size and draw."""
        values = []
        with telling_what_is_done() as done:
            for size in sizes.tolist():
                chosen = [choose(size, draw) for draw in range(n_draws)]
                draws = [replace(bare, X=X, y=y, ipc=size) for X, y in chosen]
                # As in `compare`: every draw has networks of its own.
                for k, result in enumerate(judged_draws(draws, ready, n_networks, evaluate)):
                    values.append(result.accuracies)
                    done.append(in_words(f"{size} per class, draw {k + 1}", result.accuracies))
        return np.reshape(values, (len(sizes), n_draws, -1))

    def subset(size: int, draw: int) -> tuple[np.ndarray, np.ndarray]:
        rows = _subset_rows(bare, size, _generator(seed, "synthetic", size, draw))
        return bare.X[rows], bare.y[rows]

    def real_samples(size: int, draw: int) -> tuple[np.ndarray, np.ndarray]:
        rng = _generator(seed, "coreset", size, draw)
        assert known is not None  # who asks for them has given them
        return coresets.random_samples(*known, bare.classes, size, rng)

    def directly(data: DistilledDataset) -> np.ndarray:
        test = check_test_data(data, X, y, warns=False)
        return evaluate(data, *test, n_networks=n_networks).accuracies

    direct = _at_sizes(sets, sizes, n_networks, directly) if sets else None
    return SubsampleCurve(
        ipc=distilled.ipc,
        sizes=sizes,
        subsets=over_draws(subset),
        real=None if known is None else over_draws(real_samples),
        direct=direct,
    )


def _at_sizes(
    sets: Mapping[int, DistilledDataset],
    sizes: np.ndarray,
    n_networks: int,
    accuracies: Callable[[DistilledDataset], np.ndarray],
) -> np.ndarray:
    """Return the accuracies of the sets at these sizes; NaN where there is none."""
    missing = np.full(n_networks, np.nan)
    return np.stack([accuracies(sets[n]) if n in sets else missing for n in sizes.tolist()])


def compare_blocks(
    distilled: DistilledDataset,
    X: ArrayLike,
    y: ArrayLike,
    *,
    block_size: int,
    n_networks: int | None = None,
    architecture: str | Architecture | None = None,
    device: str | torch.device = "auto",
) -> Comparison:
    """Evaluate the consecutive blocks of a set one by one.

    The later blocks of a boosted set are good sets, but worse than the first one, which shows how
    much they depend on it. The blocks of a jointly distilled set are no better than random subsets
    (figure 9b of [Feng23]_).

    Parameters
    ----------
    distilled : DistilledDataset
    X, y : array-like
        Test samples in the layout of the training data, and their labels.
    block_size : int
        Samples per class in a block. If ``distilled.ipc`` is not a multiple of it, the last block
        is smaller.
    n_networks, architecture, device
        As in `skdistill.evaluation.evaluate`.

    Returns
    -------
    Comparison
        With the rows "block 1", "block 2", ...

    Raises
    ------
    ValueError
        If `block_size` is not between 1 and ``distilled.ipc``, or the data does not fit the set.

    References
    ----------
    .. [Feng23] Y. Feng, R. Vedantam and J. Kempe, "Embarrassingly Simple Dataset Distillation",
       arXiv:2311.07025.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skdistill import RaTBPTTDistiller
    >>> from skdistill.intercorrelation import compare_blocks
    >>> X, y = load_iris(return_X_y=True)
    >>> distilled = RaTBPTTDistiller(ipc=3, max_iter=2, window=2, unroll=4).fit(X, y).distilled_
    >>> blocks = compare_blocks(distilled, X, y, block_size=2, n_networks=2)
    >>> [(name, result.n_samples) for name, result in blocks.results.items()]
    [('block 1', 6), ('block 2', 3)]
    """
    check_is_set(distilled)
    check_count("block_size", block_size, 1)
    if block_size > distilled.ipc:
        raise ValueError(
            f"block_size={block_size} must be between 1 and {distilled.ipc}, what was distilled."
        )
    ready = check_test_data(distilled, X, y)
    n_classes, results = len(distilled.classes), {}
    with telling_what_is_done() as done:
        for k, first in enumerate(range(0, distilled.ipc, block_size)):
            last = min(first + block_size, distilled.ipc)
            rows = slice(first * n_classes, last * n_classes)
            block = replace(
                distilled,
                X=distilled.X[rows],
                y=distilled.y[rows],
                ipc=last - first,
                bases=(),
            )
            name = f"block {k + 1}"
            results[name] = evaluate_checked(
                block, *ready, n_networks=n_networks, architecture=architecture, device=device
            )
            done.append(in_words(name, results[name].accuracies))
    return Comparison(results)


def _subset_rows(distilled: DistilledDataset, size: int, rng: np.random.Generator) -> np.ndarray:
    """Return the rows of ``size`` random samples of every class, in the order of sets."""
    # A sample's class comes from its row, k * n_classes + c, because its labels may be soft.
    places = np.tile(np.arange(len(distilled.classes)), distilled.ipc)
    rows, _ = coresets.random_samples(
        np.arange(len(places)), places, np.arange(len(distilled.classes)), size, rng
    )
    # Sorted within a class, so that a subset of all samples is the set itself.
    return np.sort(rows.reshape(size, -1), axis=0).ravel()


def _generator(seed: int, purpose: str, size: int, draw: int) -> np.random.Generator:
    return Streams(Streams(seed).integer(purpose, size)).numpy(purpose, draw)


def _check_sizes(sizes: Sequence[int], ipc: int) -> np.ndarray:
    """Return the sizes ascending, each once, or raise a ValueError."""
    array = np.unique(np.atleast_1d(sizes))
    if array.ndim != 1 or array.size == 0 or array.dtype.kind not in "iu" or array[0] < 1:
        raise ValueError(f"sizes must be positive integers; got {sizes!r}.")
    if array[-1] > ipc:
        raise ValueError(f"sizes must be at most ipc={ipc}, what was distilled; got {array[-1]}.")
    return array


def _check_sets(
    sets: Mapping[int, DistilledDataset], distilled: DistilledDataset, sizes: np.ndarray
) -> dict[int, DistilledDataset]:
    """Return the sets with the protocol of `distilled`, or raise a ValueError."""
    ready = {}
    for size, other in sets.items():
        if size not in sizes:
            raise ValueError(f"sets must be of sizes among {sizes.tolist()}; got one of {size!r}.")
        if other.ipc != size:
            raise ValueError(
                f"sets[{size}] must hold {size} samples per class; got ipc={other.ipc}."
            )
        refusal = f"sets[{size}] must have the classes and sample shape of distilled."
        ready[int(size)] = by_recipe_of(distilled, other, refusal)
        if (other.preprocessing is None) != (distilled.preprocessing is None):
            raise ValueError(
                f"sets[{size}] must keep its preprocessing if distilled does, and only then: the "
                "test samples would be in the units of one of them alone."
            )
    return ready


def _check_real(
    real: tuple[ArrayLike, ArrayLike], distilled: DistilledDataset, most: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return real samples, ready for networks, and their labels, or raise a ValueError."""
    if not isinstance(real, tuple | list) or len(real) != 2:
        raise ValueError(f"real must be (X_train, y_train); got {type(real).__name__}.")
    X_train, y_train = real
    X, index = check_known_data(distilled, X_train, y_train, "real", samples="real")
    fewest = np.bincount(index, minlength=len(distilled.classes)).min()
    if fewest < most:
        raise ValueError(
            f"sizes must be at most {fewest}, the smallest class of the real samples; got {most}."
        )
    return X, distilled.classes[index]
