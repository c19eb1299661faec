"""Distilled sets side by side with each other and with real samples, by one protocol or several."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike

from .. import coresets
from .._data.validation import check_count, check_sample_weight
from .._data.wording import percent
from .._engine.streams import Streams
from ..augmentation import Augmentation
from ..distilled._dataset import DistilledDataset
from ..distilled._protocol import EvaluationProtocol
from ..networks import Architecture
from ._papers import check_said_once, resolve_protocol
from ._protocol import (
    EvaluationResult,
    check_known_data,
    check_test_data,
    evaluate_checked,
    in_words,
    telling_what_is_done,
)

__all__ = ["BASELINES", "WHOLE", "Comparison", "baseline_samples", "compare", "judged_draws"]

# What a protocol may be given as.
AnyProtocol = str | EvaluationProtocol | None
_Samples = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True, eq=False)
class Comparison:
    """Results of several training sets, under one protocol or several; prints as a table.

    Parameters
    ----------
    results : dict
        The results by name of the training set, in the order of the table; of several protocols, by
        ``(name of the training set, name of the protocol)``.
    """

    results: dict[Any, EvaluationResult]

    def __getitem__(self, name: str | tuple[str, str]) -> EvaluationResult:
        return self.results[name]

    def __str__(self) -> str:
        if any(isinstance(key, tuple) for key in self.results):
            return self._side_by_side()
        width = max(map(len, self.results))
        lines = [f"{'training set':<{width}}  samples  networks  test accuracy (%)"]
        for name, r in self.results.items():
            accuracy = percent(r.mean, r.std, len(r.accuracies))
            lines.append(
                f"{name:<{width}}  {r.n_samples:7d}  {len(r.accuracies):8d}  {accuracy:>17}"
                + (f"  ({r.n_diverged} diverged)" if r.n_diverged else "")
            )
        return "\n".join(lines)

    def _side_by_side(self) -> str:
        """Return a table with a row per training set, and its accuracies under each protocol."""
        rows, protocols = (list(dict.fromkeys(names)) for names in zip(*self.results))
        table = [["training set", "samples", *(f"{name} (%)" for name in protocols)]]
        for row in rows:
            results = [self.results[row, protocol] for protocol in protocols]
            cells = [
                percent(r.mean, r.std, len(r.accuracies))
                + (f" ({r.n_diverged} diverged)" if r.n_diverged else "")
                for r in results
            ]
            table.append([row, str(results[0].n_samples), *cells])
        widths = [max(map(len, column)) for column in zip(*table)]
        return "\n".join(
            "  ".join(
                cell.ljust(width) if i == 0 else cell.rjust(width)
                for i, (cell, width) in enumerate(zip(line, widths))
            )
            for line in table
        )


BASELINES: dict[str, Callable[..., tuple[np.ndarray, np.ndarray]]] = {
    "random real samples": coresets.random_samples,
    "herding": coresets.herding,
    "k-means centroids": coresets.kmeans_centroids,
}
WHOLE = "whole training set"


def compare(
    distilled: DistilledDataset | Mapping[str, DistilledDataset],
    X_train: ArrayLike,
    y_train: ArrayLike,
    X_test: ArrayLike,
    y_test: ArrayLike,
    *,
    protocols: AnyProtocol | Sequence[AnyProtocol] | Mapping[str, AnyProtocol] = None,
    baselines: Sequence[str] = (*BASELINES, WHOLE),
    n_draws: int = 5,
    n_networks: int | None = None,
    n_networks_whole: int | None = None,
    sample_weight: ArrayLike | None = None,
    architecture: str | Architecture | None = None,
    augmentation: str | Augmentation | None = "recipe",
    device: str | torch.device = "auto",
) -> Comparison:
    """Compare distilled sets with each other, with equally many real samples, and with all of them.

    A distilled set follows its own recipe, or each of the protocols. Real samples follow that of
    the distilled set, of several the first: the same kind and number of networks, optimizer, number
    of steps and augmentation, with mini-batches if a set is larger than one. Networks start from
    the same initializations, but for those of all random draws after the first.
    Herding and k-means choose among samples as networks see them, standardized by the recipe's
    scale: the unit of a feature changes nothing.

    Parameters
    ----------
    distilled : DistilledDataset or mapping of str to DistilledDataset
        The set, or several by their names: `DistilledDataset.from_arrays` makes one of anybody's
        samples. Several sets have the same classes, and each prepares the test data in its own way,
        by the preprocessing that it keeps.
    X_train, y_train : array-like
        The real training data, from which the baselines choose.
    X_test, y_test : array-like
        The test data.
    protocols : str, EvaluationProtocol, sequence or mapping of them, or None, default=None
        How the sets are judged, as in `evaluate`: "recipe" and names of papers, or by name of your
        own any `EvaluationProtocol`, ``{"wide": EvaluationProtocol(...)}``. Without a mapping, such
        a value is called by its place, "protocol 2". None is the recipe of each set alone.
    baselines : sequence of str, default=all
        Which of "random real samples", "herding", "k-means centroids" and "whole training set" to
        compare with the distilled set, in this order; of several sets, with the first, as many per
        class as that has. See `skdistill.coresets` for the first three.
    n_draws : int, default=5
        Draws of random real samples, among which the networks are divided: each draw is evaluated
        by ``ceil(n_networks / n_draws)``. Draw ``k``, counted from 0, takes the first ones of the
        recipe's seed plus ``k``.
    n_networks : int or None, default=None
        Networks for each set; None takes the protocol's or recipe's.
    n_networks_whole : int or None, default=None
        Networks for the whole training set, the costly row; None takes ``n_networks``.
    sample_weight : array-like of shape (n,) or None, default=None
        Weights of the test samples in all accuracies, such as
        ``sklearn.utils.class_weight.compute_sample_weight("balanced", y_test)``.
    architecture, augmentation, device
        As in `evaluate`.

    Returns
    -------
    Comparison
        With the row "distilled", or a row per name of several sets, and one row per baseline. With
        `protocols`, ``comparison[row, protocol]`` is a result, and the table has a column per
        protocol.

    Raises
    ------
    ValueError
        If a baseline or a protocol is unknown, if there are fewer samples of a class than a
        baseline needs, if sets differ in their classes, or if the data does not fit a set.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skdistill import RaTBPTTDistiller
    >>> from skdistill.evaluation import compare
    >>> X, y = load_iris(return_X_y=True)
    >>> distiller = RaTBPTTDistiller(max_iter=20, window=5, unroll=10, random_state=0)
    >>> rows = ["herding", "whole training set"]
    >>> comparison = compare(
    ...     distiller.fit(X, y).distilled_, X, y, X, y, baselines=rows, n_networks=1
    ... )
    >>> list(comparison.results), comparison["herding"].n_samples
    (['distilled', 'herding', 'whole training set'], 3)

    Several sets and protocols:

    >>> from skdistill import DistilledDataset
    >>> from skdistill.evaluation import EvaluationProtocol
    >>> sets = {
    ...     "RaT-BPTT": distiller.distilled_,
    ...     "first flowers": DistilledDataset.from_arrays(
    ...         X[::50], y[::50], mean=X.mean(axis=0), scale=X.std(axis=0)
    ...     ),
    ... }
    >>> protocols = {"recipe": "recipe", "squared": EvaluationProtocol(steps=50, loss="mse")}
    >>> comparison = compare(
    ...     sets, X, y, X, y, protocols=protocols, baselines=["herding"], n_networks=1
    ... )
    >>> list(comparison.results)[:2]
    [('RaT-BPTT', 'recipe'), ('RaT-BPTT', 'squared')]
    >>> comparison["first flowers", "squared"].steps.tolist()
    [50]
    """
    baselines = _check_baselines(baselines)
    check_count("n_draws", n_draws, 1)
    for name, n in (("n_networks", n_networks), ("n_networks_whole", n_networks_whole)):
        if n is not None:
            check_count(name, n, 1)
    sets = _named_sets(distilled, baselines)
    ways = _named_protocols(protocols)
    resolved = {
        (row, way): resolve_protocol(protocol, data)
        for row, data in sets.items()
        for way, protocol in ways.items()
    }
    for protocol in resolved.values():
        check_said_once(protocol, None, architecture, augmentation)
    reference, first = next(iter(sets.items()))
    X_train, y_index = check_known_data(first, X_train, y_train, "y_train", samples="X_train")
    y_train = first.classes[y_index]
    _check_enough(first, y_index, baselines)
    tests = _test_data(sets, X_test, y_test)
    if sample_weight is not None:
        check_sample_weight(sample_weight, tests[reference][0], ensure_non_negative=True)
    # By row: the set whose rules it follows, its samples, and how many networks learn them.
    rows: dict[str, tuple[str, list[_Samples], int | None]] = {
        name: (name, [(data.X, data.y)], n_networks) for name, data in sets.items()
    }
    n_whole = n_networks if n_networks_whole is None else n_networks_whole
    for name in baselines:
        draws = baseline_samples(name, first, X_train, y_train, n_draws)
        rows[name] = reference, draws, n_whole if name == WHOLE else n_networks
    how = {
        "sample_weight": sample_weight,
        "architecture": architecture,
        "augmentation": augmentation,
        "device": device,
    }
    results: dict[tuple[str, str], EvaluationResult] = {}
    with telling_what_is_done() as done:
        for way, (row, (like, draws, n)) in product(ways, rows.items()):
            result = _judged(sets[like], tests[like], resolved[like, way], draws, n, **how)
            results[row, way] = result
            done.append(in_words(row if protocols is None else f"{row}, {way}", result.accuracies))
    if protocols is None:
        return Comparison({row: result for (row, _), result in results.items()})
    return Comparison({(row, way): results[row, way] for row in rows for way in ways})


def _check_baselines(names: Sequence[str]) -> tuple[str, ...]:
    """Raise ValueError unless these are names of baselines."""
    known = [*BASELINES, WHOLE]
    if isinstance(names, str):
        raise ValueError(f"baselines must be a sequence of names among {known}; got {names!r}.")
    # A generator would be empty the second time.
    names = tuple(names)
    if unknown := set(names) - set(known):
        raise ValueError(f"baselines must be among {known}; got {sorted(unknown)}.")
    return names


def _check_enough(distilled: DistilledDataset, y: np.ndarray, baselines: Sequence[str]) -> None:
    """Raise ValueError if a class is too small for baselines that choose as many as a set has."""
    fewest = np.bincount(y, minlength=len(distilled.classes)).min()
    if distilled.ipc > fewest and set(baselines) - {WHOLE}:
        raise ValueError(
            f"The set has {distilled.ipc} samples per class, but the smallest class of y_train has "
            f"{fewest} to choose as many from. Pass baselines=[{WHOLE!r}]"
            + (f", or the set's subset({fewest})." if fewest else ".")
        )


def _judged(
    data: DistilledDataset,
    test: _Samples,
    protocol: EvaluationProtocol | None,
    draws: list[_Samples],
    n_networks: int | None,
    **how: Any,
) -> EvaluationResult:
    """Return the result of samples by the rules for a set; ``how`` as in `evaluate`."""
    if n_networks is None:
        n_networks = data.recipe.n_networks if protocol is None else protocol.n_networks
    sets = [replace(data, X=X, y=y, bases=()) for X, y in draws]
    evaluate = partial(evaluate_checked, protocol=protocol, **how)
    return _pooled(list(judged_draws(sets, test, n_networks, evaluate)))


def judged_draws(
    draws: Sequence[DistilledDataset],
    test: _Samples,
    n_networks: int,
    evaluate: Callable[..., EvaluationResult],
) -> Iterator[EvaluationResult]:
    """Yield the result of each draw of samples; ``evaluate`` is called as `evaluate_checked` is.

    The draws divide the networks; draw ``k`` has the first ones of another seed.
    """
    n = -(-n_networks // len(draws))
    for k, data in enumerate(draws):
        recipe = replace(data.recipe, seed=data.recipe.seed + k)
        yield evaluate(replace(data, recipe=recipe), *test, n_networks=n)


def baseline_samples(
    name: str, distilled: DistilledDataset, X: np.ndarray, y: np.ndarray, n_draws: int = 1
) -> list[_Samples]:
    """Return the samples of a baseline beside a distilled set, once for every draw.

    The real samples are those of `check_known_data`, with the labels that their indices stand for.
    """
    if name == WHOLE:
        return [(X, y)]
    seed, ipc = distilled.recipe.seed, distilled.ipc
    scale = distilled.recipe.layout.spread(distilled.recipe.scale)
    draws = n_draws if name == "random real samples" else 1
    return [
        BASELINES[name](
            X, y, distilled.classes, ipc, Streams(seed).numpy("coreset", draw), scale=scale
        )
        for draw in range(draws)
    ]


def _named_sets(
    distilled: DistilledDataset | Mapping[str, DistilledDataset], baselines: Sequence[str]
) -> dict[str, DistilledDataset]:
    """Return the sets by name, or raise an error unless they can be compared."""
    if isinstance(distilled, DistilledDataset):
        return {"distilled": distilled}
    if not isinstance(distilled, Mapping) or not distilled:
        raise TypeError(
            "distilled must be a DistilledDataset, or a mapping of names to at least one; got "
            f"{type(distilled).__name__}."
        )
    sets = dict(distilled)
    for name, data in sets.items():
        if not isinstance(name, str) or not isinstance(data, DistilledDataset):
            raise TypeError(
                "distilled must map names to DistilledDatasets; got "
                f"{name!r}: {type(data).__name__}. A fitted distiller has one as distilled_."
            )
        if name in baselines:
            raise ValueError(f"distilled must have other names than baselines; got {name!r}.")
    first, *others = sets.items()
    for name, data in others:
        if data.classes.tolist() != first[1].classes.tolist():
            raise ValueError(
                f"distilled must be sets of the same classes; {name!r} has "
                f"{data.classes.tolist()!r:.200}, {first[0]!r} {first[1].classes.tolist()!r:.200}."
            )
    return sets


def _named_protocols(
    protocols: AnyProtocol | Sequence[AnyProtocol] | Mapping[str, AnyProtocol],
) -> dict[str, AnyProtocol]:
    """Return the protocols by name; only those of a mapping have names of the caller's."""
    if isinstance(protocols, Mapping):
        named = dict(protocols)
        if not all(isinstance(name, str) for name in named):
            raise TypeError(f"protocols must have strings for names; got {list(named)!r:.200}.")
    else:
        if protocols is None or isinstance(protocols, str | EvaluationProtocol):
            protocols = [protocols]
        named = {}
        for k, protocol in enumerate(protocols):
            name = "recipe" if protocol is None else protocol
            name = name if isinstance(name, str) else f"protocol {k + 1}"
            if name in named:
                raise ValueError(f"protocols must differ; got {name!r} twice.")
            named[name] = protocol
    if not named:
        raise ValueError("protocols must not be empty; None is the recipe of each set.")
    return named


def _test_data(
    sets: Mapping[str, DistilledDataset], X: ArrayLike, y: ArrayLike
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return the test data as each set needs it; labels that are no classes are told once."""
    ready: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    for name, data in sets.items():
        try:
            ready[name] = check_test_data(data, X, y, warns_of_labels=not ready)
        except ValueError as error:
            if len(sets) == 1:
                raise
            raise ValueError(f"The test data does not fit the set {name!r}: {error}") from error
    return ready


def _pooled(parts: list[EvaluationResult]) -> EvaluationResult:
    curve = np.concatenate([part.curve for part in parts])
    n_diverged = sum(part.n_diverged for part in parts)
    recipe = parts[0].recipe
    return replace(
        parts[0],
        accuracies=curve[:, -1].copy(),
        curve=curve,
        n_diverged=n_diverged,
        recipe=None if recipe is None else replace(recipe, n_networks=len(curve)),
    )
