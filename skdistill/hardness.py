"""How hard samples are to learn, and what a distilled set teaches of the hard ones (Appendix D)."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from numbers import Integral, Real

import numpy as np
import torch
from sklearn.base import BaseEstimator
from torch import Tensor

from ._engine.data import RealData, Standardizer
from ._engine.learner import Learner
from ._engine.runtime import chunk_size, resolve_device
from ._layout import Layout
from ._seeds import draw_seed
from ._training_data import check_training_data, training_data
from ._validation import (
    Interval,
    StrOptions,
    check_image_shape,
    validate_parameter_constraints,
)
from .distilled import DistilledDataset, EvaluationRecipe
from .evaluation import (
    WHOLE,
    NetworkFamily,
    check_test_data,
    logits_in_chunks,
    network_family,
    train_networks,
)
from .networks import check_network

__all__ = [
    "AdaptiveSampler",
    "HardnessResult",
    "HardnessSampler",
    "WeightedSampler",
    "accuracy_by_hardness",
    "count_forgetting_events",
    "disagreement_scores",
    "forgetting_scores",
    "hardness_weights",
    "scores_in_a_run",
]


def count_forgetting_events(correct) -> np.ndarray:
    """Return how often each sample goes from right to wrong while a network trains.

    Parameters
    ----------
    correct : array-like of bool, of shape (n_epochs, n)
        Whether the network was right about each sample after each epoch.

    Returns
    -------
    ndarray of int, of shape (n,)
        From 0 to ``n_epochs // 2``; ``n_epochs``, more than any learnt sample can have, for a
        sample that the network was never right about.

    Examples
    --------
    >>> from skdistill.hardness import count_forgetting_events
    >>> count_forgetting_events([[1, 1, 0], [1, 0, 0], [1, 1, 0], [1, 0, 0]]).tolist()
    [0, 2, 4]
    """
    correct = np.asarray(correct, dtype=bool)
    events = (correct[:-1] & ~correct[1:]).sum(axis=0)
    return np.where(correct.any(axis=0), events, len(correct))


def forgetting_scores(
    X,
    y,
    *,
    architecture="auto",
    image_shape=None,
    n_networks: int = 10,
    n_epochs: int = 20,
    batch_size: int = 128,
    learning_rate: float = 0.001,
    random_state=None,
    device="auto",
) -> np.ndarray:
    """Return how often each training sample is forgotten while networks train on all of them.

    Appendix D.1 of the paper: "For each data point x and a network trained for T epochs, we say x
    has a forgetting event at time t if x is correctly classified at time t and misclassified at
    time t+1. The forgetting score of a data point is the sum of its forgetting events before time
    T, averaged over 10 random initializations." A score of 0 is a sample that was learnt and never
    forgotten.

    Parameters
    ----------
    X : array-like of shape (n, features), (n, H, W), (n, C, H, W) or (n, H, W, C)
        Training samples.
    y : array-like of shape (n,)
        Class labels.
    architecture : str or callable, default="auto"
        Network family, as in `RaTBPTTDistiller`.
    image_shape : tuple of int or None, default=None
        ``(channels, height, width)`` of the samples, needed if they are flat or if it is ambiguous.
    n_networks : int, default=10
        Networks over which the score is averaged. The paper: 10 (Appendix D.1).
    n_epochs : int, default=20
        Epochs of training, T; at least 2. The paper gives none, Toneva et al. train for 200 on
        CIFAR-10. With few, only the hardest samples tell themselves apart.
    batch_size : int, default=128
        Samples in a step of training, as in Toneva et al.; at most all there are.
    learning_rate : float, default=0.001
        Of Adam. The paper's, for all its networks (Appendix C.1).
    random_state : int, RandomState instance or None, default=None
        Determines the networks and batches.
    device : str, default="auto"
        Where to compute.

    Returns
    -------
    ndarray of float64, of shape (n,)
        From 0 to ``n_epochs``. A network that was never right about a sample counts ``n_epochs``
        for it, as in the code of Toneva et al., so that it is harder than any that was learnt.

    Raises
    ------
    ValueError
        If a parameter or the data is unfit, before any work starts.

    Notes
    -----
    After every epoch the network is asked about all samples. Toneva et al. record whether a sample
    was right whenever it is in a batch instead, which is cheaper by the forward passes that are
    spent here, but judges each sample by another state of the network.

    References
    ----------
    M. Toneva et al., "An empirical study of example forgetting during deep neural network
    learning", ICLR 2019.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skdistill.hardness import forgetting_scores
    >>> X, y = load_iris(return_X_y=True)
    >>> scores = forgetting_scores(X, y, n_networks=2, n_epochs=4, random_state=0)
    >>> scores.shape, bool((scores <= 4).all())
    ((150,), True)
    """
    _check_count("n_networks", n_networks, 1)
    _check_count("n_epochs", n_epochs, 2)
    _check_count("batch_size", batch_size, 1)
    if not (isinstance(learning_rate, Real) and 0 < learning_rate < np.inf):
        raise ValueError(f"learning_rate must be a positive number; got {learning_rate!r}.")
    device = resolve_device(device)
    # A plain estimator is what scikit-learn's checks note the features' names and number on.
    X, y, _, classes, layout = check_training_data(
        BaseEstimator(), X, y, None, check_image_shape(image_shape), 1
    )
    data = training_data(X, y, None, classes, layout, device, {})
    # As in an epoch of the mini-batches that `train_networks` draws, a remainder is left out.
    epoch = len(X) // min(batch_size, len(X))
    recipe = EvaluationRecipe(
        layout=layout,
        mean=tuple(data.mean.tolist()),
        scale=tuple(data.scale.tolist()),
        architecture=None,
        steps=epoch * n_epochs,
        n_networks=n_networks,
        learning_rate=float(learning_rate),
        batch_size=batch_size,
        seed=draw_seed(random_state),
    )
    everything = DistilledDataset(X, classes[y], classes, len(X) // len(classes), recipe)
    family = network_family(everything, architecture, device)
    probe = torch.zeros(2, *layout.inner, device=device, dtype=family.learner.dtype)
    check_network(family.learner.module, probe, len(classes))

    counts = epoch * np.arange(1, n_epochs + 1)
    history, total = np.empty((n_epochs, len(X)), dtype=bool), np.zeros(len(X))
    for _, j, correct in _correct_while_training(family, everything, n_networks, counts, data.real):
        history[j] = correct
        if j == n_epochs - 1:
            total += count_forgetting_events(history)
    return total / n_networks


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
        By what the networks were trained on: the accuracy of each on each bin's samples, NaN for a
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
                mean, std = 100 * values[:, i].mean(), 100 * values[:, i].std()
                cell = "-" if np.isnan(mean) else f"{mean:.1f} ± {std:.1f}"
                cells.append(f"{cell:>{max(12, len(head))}}")
            lines.append("  ".join(cells))
        return "\n".join(lines)


def accuracy_by_hardness(
    distilled: DistilledDataset | Mapping[str, DistilledDataset],
    X,
    y,
    scores,
    *,
    n_networks: int | None = None,
    n_networks_whole: int | None = None,
    bins=10,
    architecture=None,
    device="auto",
) -> HardnessResult:
    """Test networks trained on a distilled set on the easy and on the hard samples (figure 10).

    Beside them stand networks trained on all of ``X`` (the figure's "Optimal"), by the same recipe.
    What these show is their accuracy on samples that they were trained on.

    Parameters
    ----------
    distilled : DistilledDataset, or mapping of str to DistilledDataset
        A set, or several by name: those of other sizes, say, ``{f"IPC {k}": distilled.subset(k)
        for k in (1, 5, 10)}`` of a boosted set. All are evaluated by the first one's recipe.
    X, y : array-like
        The samples that were scored, in the layout of the training data, and their labels.
    scores : array-like of shape (n,)
        How hard each sample is: of `forgetting_scores`, or any other finite numbers.
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
        With a row of accuracies for each set ("distilled" if it came without a name), and for the
        "whole training set".

    Raises
    ------
    ValueError
        If scores, samples, sets and bins do not fit each other, before any work starts.

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
    sets = {"distilled": distilled} if isinstance(distilled, DistilledDataset) else dict(distilled)
    first = _check_sets(sets)
    n_networks = first.recipe.n_networks if n_networks is None else n_networks
    n_whole = n_networks if n_networks_whole is None else n_networks_whole
    _check_count("n_networks", n_networks, 1)
    _check_count("n_networks_whole", n_whole, 0)
    samples = {name: _check_known(data, X, y) for name, data in sets.items()}
    n = len(samples[next(iter(sets))][0])
    scores = _check_scores(scores, n)
    edges = _bin_edges(scores, bins)

    if n_whole:
        ready, index = samples[next(iter(sets))]
        sets[WHOLE] = replace(first, X=ready, y=first.classes[index], bases=())
        samples[WHOLE] = ready, index
    # The last bin has its upper limit in it.
    place = np.minimum(np.searchsorted(edges, scores, side="right") - 1, len(edges) - 2)
    counts = np.bincount(place, minlength=len(edges) - 1)
    accuracies = {}
    for name, data in sets.items():
        # Only what belongs to the data that a set was distilled from stays its own.
        recipe = replace(first.recipe, mean=data.recipe.mean, scale=data.recipe.scale)
        data = replace(data, recipe=recipe)
        family = _family(data, architecture, device)
        k_networks = n_whole if name == WHOLE else n_networks
        trained = _correct_while_training(
            family, data, k_networks, [recipe.steps], family.data(*samples[name])
        )
        right = [np.bincount(place, correct, minlength=len(counts)) for _, _, correct in trained]
        with np.errstate(invalid="ignore"):  # a bin without samples: 0 / 0
            accuracies[name] = np.stack(right) / counts
    return HardnessResult(edges, counts, accuracies)


def disagreement_scores(
    distilled: DistilledDataset,
    X,
    y,
    *,
    n_networks: int = 8,
    architecture=None,
    random_state=None,
    device="auto",
) -> np.ndarray:
    """Return how many networks trained on a distilled set are wrong about each real sample.

    The adaptive hardness score of Appendix D.2: "This score is computed based on the disagreement
    in predictions Feng et al. (2020) across 8 randomly trained networks using the current distilled
    dataset", with "hardness score HS(x) in {0, ..., 8}". The paper does not say with what the
    predictions disagree. Here it is with the label: of 8 networks 0 to 8 can be wrong, which are
    the score's nine values, while at most 7 can differ from what most of them say.

    Parameters
    ----------
    distilled : DistilledDataset
    X, y : array-like
        Real samples in the layout of the training data, and their labels. A label that is no class
        of the distilled set is one that every network is wrong about.
    n_networks : int, default=8
        The paper: 8 (Appendix D.2).
    architecture : str, callable or None, default=None
        As in `skdistill.evaluation.evaluate`.
    random_state : int, RandomState instance or None, default=None
        Determines the networks. None takes the recipe's seed, so that they are the first ones that
        `skdistill.evaluation.evaluate` trains.
    device : str, default="auto"
        Where to compute.

    Returns
    -------
    ndarray of int64, of shape (n,)
        From 0, the easiest, to ``n_networks``.

    Raises
    ------
    ValueError
        If `n_networks` is less than 1, or the data does not fit the distilled set.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skdistill import RaTBPTTDistiller
    >>> from skdistill.hardness import disagreement_scores
    >>> X, y = load_iris(return_X_y=True)
    >>> distilled = RaTBPTTDistiller(max_iter=2, window=2, unroll=4).fit(X, y).distilled_
    >>> scores = disagreement_scores(distilled, X, y, n_networks=4)
    >>> scores.shape, bool((scores <= 4).all())
    ((150,), True)
    """
    _check_count("n_networks", n_networks, 1)
    X, index = check_test_data(distilled, X, y)
    recipe = distilled.recipe
    if random_state is not None:
        recipe = replace(recipe, seed=draw_seed(random_state))
    data = replace(distilled, recipe=recipe)
    family = _family(data, architecture, device)
    wrong = np.zeros(len(X), dtype=np.int64)
    real = family.data(X, index)
    for _, _, correct in _correct_while_training(family, data, n_networks, [recipe.steps], real):
        wrong += ~correct
    return wrong


def scores_in_a_run(
    learner: Learner,
    X: Tensor,
    y: Tensor,
    real: RealData,
    n_classes: int,
    n_networks: int,
    steps: int,
    seed: int,
) -> np.ndarray:
    """Return the `disagreement_scores` of a run's real samples for its current synthetic ones.

    Parameters
    ----------
    learner : Learner
    X, y : Tensor
        Synthetic samples, standardised, with class indices or soft labels.
    real : RealData
    n_classes : int
    n_networks, steps, seed : int
        How many networks, how long they are trained, and what makes them.
    """
    shape = tuple(X.shape[1:])
    layout, channels = Layout(shape, shape), shape[0]
    mean, scale = (0.0,) * channels, (1.0,) * channels
    # The samples as networks see them are a set of their own, in units that need no change.
    current = DistilledDataset(
        X=X.cpu().numpy(),
        y=y.cpu().numpy(),
        classes=np.arange(n_classes),
        ipc=len(X) // n_classes,
        recipe=EvaluationRecipe(layout, mean, scale, None, steps, n_networks, seed=seed),
    )
    standardizer = Standardizer(mean, scale, shape, learner.device, learner.dtype)
    family = NetworkFamily(learner, layout, standardizer, chunk_size(learner, shape))
    wrong = np.zeros(len(real), dtype=np.int64)
    for _, _, correct in _correct_while_training(family, current, n_networks, [steps], real):
        wrong += ~correct
    return wrong


def hardness_weights(
    scores, n_networks: int = 8, threshold: float = 1.0, favour: str = "extremes"
) -> np.ndarray:
    """Return the weight with which each sample is drawn, from its disagreement score.

    With ``distance = abs(HS(x) - n_networks / 2)`` (for the paper's 8 networks, from 4), it is

    - "extremes": ``threshold + distance``, the formula that Appendix D.2 prints;
    - "medium": ``threshold + n_networks / 2 - distance``, the same weights the other way round.

    The paper means to "down-weight the easiest and hardest examples" and says that its weight
    "upweights medium-hard examples the most"; the formula that it prints does the opposite. Which
    of the two made its figure 15 is not known.

    Parameters
    ----------
    scores : array-like of shape (n,)
        Disagreement scores, from 0 to `n_networks`.
    n_networks : int, default=8
        Networks that made the scores.
    threshold : float, default=1.0
        The least weight, positive; the greatest is ``threshold + n_networks / 2``. The larger it
        is, the more alike the weights are. The paper: 1 or 4 (Appendix D.2).
    favour : {"extremes", "medium"}, default="extremes"
        Which samples weigh most.

    Returns
    -------
    ndarray of float64, of shape (n,)

    Examples
    --------
    >>> from skdistill.hardness import hardness_weights
    >>> hardness_weights([0, 4, 7]).tolist()
    [5.0, 1.0, 4.0]
    >>> hardness_weights([0, 4, 7], favour="medium").tolist()
    [1.0, 5.0, 2.0]
    """
    if favour not in ("extremes", "medium"):
        raise ValueError(f"favour must be 'extremes' or 'medium'; got {favour!r}.")
    if not threshold > 0:
        raise ValueError(f"threshold={threshold} must be positive.")
    scores = _check_scores(scores, None)
    if scores.size and (scores.min() < 0 or scores.max() > n_networks):
        raise ValueError(
            f"scores must be between 0 and n_networks={n_networks}; "
            f"got {scores.min():g} to {scores.max():g}."
        )
    middle = n_networks / 2
    distance = np.abs(scores - middle)
    return threshold + (distance if favour == "extremes" else middle - distance)


class WeightedSampler:
    """Samples drawn in proportion to their weights, each independently of the others.

    With replacement: only so is a draw in proportion to the weights whatever the batch's size; a
    batch as large as the training set would else be all of it. A batch is a pure function of the
    step.

    Parameters
    ----------
    weights : array-like of shape (n,)
        Not negative, and not all 0.
    batch_size : int
        Samples a batch; at most n are used.
    generator : callable
        Maps a step's number to a ``numpy.random.Generator``.

    Examples
    --------
    >>> import numpy as np
    >>> from skdistill.hardness import WeightedSampler
    >>> sampler = WeightedSampler([1.0, 0.0, 1.0], 3, np.random.default_rng)
    >>> set(sampler.batch(0).tolist()) <= {0, 2}
    True
    """

    def __init__(self, weights, batch_size: int, generator: Callable[[int], np.random.Generator]):
        weights = np.asarray(weights, dtype=np.float64)
        self._p = weights / weights.sum()
        self._batch_size = min(batch_size, len(weights))
        self._generator = generator

    def batch(self, step: int) -> np.ndarray:
        """Return the rows of the training set that make the batch of this outer step."""
        return self._generator(step).choice(len(self._p), self._batch_size, p=self._p)


class AdaptiveSampler:
    """What a `HardnessSampler` is in a run: see `skdistill.sampling`.

    Parameters
    ----------
    strategy : HardnessSampler
    uniform : UniformSampler
        What draws as long as there are no scores.
    n_samples, batch_size : int
        Size of the training set, and real samples in an outer step.
    generator : callable
        Maps a step's number to a ``numpy.random.Generator``.
    score : callable
        Maps synthetic samples, their labels and the number of the outer step to the disagreement
        scores of the real samples.
    """

    def __init__(self, strategy, uniform, n_samples: int, batch_size: int, generator, score):
        self._strategy = strategy
        self._uniform = uniform
        self._n_samples = n_samples
        self._batch_size = batch_size
        self._generator = generator
        self._score = score

    def begin(self) -> dict:
        """Return the memory with which a run starts: no scores."""
        return {"scores": None}

    def prepare(self, X, y, step: int, memory: dict) -> dict:
        """Return the memory for outer step ``step``, with new scores if they are due."""
        if not self._strategy.is_due(step, self._n_samples, self._batch_size):
            return memory
        return {"scores": self._score(X, y, step).tolist()}

    def batch(self, step: int, memory: dict) -> np.ndarray:
        """Return the rows of the training set that make the batch of this outer step."""
        if memory["scores"] is None:
            return self._uniform.batch(step)
        sampler = self._strategy.make(memory["scores"], self._batch_size, self._generator)
        return sampler.batch(step)


class HardnessSampler(BaseEstimator):
    """Draw real samples by how many networks the current synthetic samples teach wrong about them.

    Appendix D.2 of the paper: every `renew_every` epochs, `disagreement_scores` tells how hard each
    real sample is for networks trained on the current synthetic samples, and the batches of the
    outer loss are drawn in proportion to `hardness_weights` of these scores.

    It is the ``sampler`` of a `RaTBPTTDistiller`. The object holds parameters only: the run keeps
    the scores, and so do its checkpoints.

    Parameters
    ----------
    threshold : float, default=1.0
        The least weight, positive. The paper: 1 or 4.
    favour : {"extremes", "medium"}, default="extremes"
        Which samples are drawn most: the easiest and the hardest, as the paper's formula has it, or
        those in between, as its text does. See `hardness_weights`.
    n_networks : int, default=8
        Networks that make the scores, at least 2 (with one, all weights are the same). The paper:
        8.
    steps : int, default=300
        Steps of Adam, learning rate 0.001, that train each of them: as in an evaluation.
    renew_every : int, default=50
        Epochs between two computations of the scores. The paper: 50. An epoch is as many outer
        steps as batches fit into the training set.
    begin : int, default=0
        Outer step before which samples are drawn uniformly. The paper: 25,000, for hard samples
        matter "in the later stages of distillation" (figure 15).

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skdistill import RaTBPTTDistiller
    >>> from skdistill.hardness import HardnessSampler
    >>> X, y = load_iris(return_X_y=True)
    >>> distiller = RaTBPTTDistiller(
    ...     sampler=HardnessSampler(threshold=1, steps=10), max_iter=2, window=2, unroll=4
    ... ).fit(X, y)

    The parts that make it can be asked by themselves:

    >>> import numpy as np
    >>> strategy = HardnessSampler(favour="medium", renew_every=2)
    >>> [step for step in range(100) if strategy.is_due(step, n_samples=60, batch_size=4)]
    [0, 30, 60, 90]
    >>> sampler = strategy.make([0, 4, 8], batch_size=2, generator=np.random.default_rng)
    >>> sampler.batch(5).shape
    (2,)
    """

    _parameter_constraints: dict = {
        "threshold": [Interval(Real, 0, None, closed="neither")],
        "favour": [StrOptions({"extremes", "medium"})],
        "n_networks": [Interval(Integral, 2, None, closed="left")],
        "steps": [Interval(Integral, 1, None, closed="left")],
        "renew_every": [Interval(Integral, 1, None, closed="left")],
        "begin": [Interval(Integral, 0, None, closed="left")],
    }

    def __init__(
        self, threshold=1.0, favour="extremes", n_networks=8, steps=300, renew_every=50, begin=0
    ):
        self.threshold = threshold
        self.favour = favour
        self.n_networks = n_networks
        self.steps = steps
        self.renew_every = renew_every
        self.begin = begin

    def validate(self) -> None:
        """Raise ``InvalidParameterError`` if a parameter of the sampler is out of range."""
        validate_parameter_constraints(
            self._parameter_constraints, self.get_params(deep=False), type(self).__name__
        )

    def is_due(self, step: int, n_samples: int, batch_size: int) -> bool:
        """Return whether scores are to be computed before this outer step, counted from 0.

        Parameters
        ----------
        step : int
        n_samples : int
            Size of the training set.
        batch_size : int
            Real samples in an outer step.
        """
        epoch = n_samples // min(batch_size, n_samples)
        since = step - self.begin
        return since >= 0 and since % (self.renew_every * epoch) == 0

    def make(
        self, scores, batch_size: int, generator: Callable[[int], np.random.Generator]
    ) -> WeightedSampler:
        """Return the sampler of the outer steps until scores are due again.

        Parameters
        ----------
        scores : array-like of shape (n,)
            Disagreement scores of the real samples, by `n_networks` networks.
        batch_size : int
        generator : callable
            Maps a step's number to a ``numpy.random.Generator``.
        """
        weights = hardness_weights(scores, self.n_networks, self.threshold, self.favour)
        return WeightedSampler(weights, batch_size, generator)


def _family(distilled: DistilledDataset, architecture, device) -> NetworkFamily:
    recipe = distilled.recipe
    return network_family(
        distilled, recipe.architecture if architecture is None else architecture, device
    )


def _correct_while_training(
    family: NetworkFamily, distilled: DistilledDataset, n_networks: int, counts, data: RealData
) -> Iterator[tuple[int, int, np.ndarray]]:
    """Yield `train_networks`' network and place in counts, and whether it is right, by sample."""
    for k, j, theta in train_networks(family, distilled, n_networks, counts):
        # Collected on the device, and read once: to read after each chunk would wait for the GPU.
        parts = [logits.argmax(dim=1) == y for logits, y in logits_in_chunks(family, theta, data)]
        yield k, j, torch.cat(parts).cpu().numpy()


def _check_count(name: str, value, least: int) -> None:
    if not isinstance(value, Integral) or value < least:
        raise ValueError(f"{name} must be an integer of at least {least}; got {value!r}.")


def _check_sets(sets: Mapping[str, DistilledDataset]) -> DistilledDataset:
    """Return the first of the sets, or raise a ValueError."""
    if not sets or WHOLE in sets:
        raise ValueError(
            f"distilled must hold at least one set, and none named {WHOLE!r}; got {sorted(sets)}."
        )
    first = next(iter(sets.values()))
    for name, data in sets.items():
        same = np.array_equal(data.classes, first.classes)
        if not same or data.recipe.layout != first.recipe.layout:
            raise ValueError(
                f"distilled must hold sets of the same classes and sample shape; {name!r} differs."
            )
    return first


def _check_known(distilled: DistilledDataset, X, y) -> tuple[np.ndarray, np.ndarray]:
    X, index = check_test_data(distilled, X, y)
    if (index < 0).any():
        raise ValueError("y must hold only labels that the distilled set knows.")
    return X, index


def _check_scores(scores, n: int | None) -> np.ndarray:
    scores = np.asarray(scores, dtype=np.float64)
    if scores.ndim != 1 or (n is not None and len(scores) != n):
        shape = "(n,)" if n is None else f"({n},), one score a sample"
        raise ValueError(f"scores must be of shape {shape}; got shape {scores.shape}.")
    if not np.isfinite(scores).all():
        raise ValueError("scores must be finite; got NaN or infinity.")
    return scores


def _bin_edges(scores: np.ndarray, bins) -> np.ndarray:
    """Return the limits of the bins, or raise a ValueError."""
    if isinstance(bins, Integral):
        _check_count("bins", bins, 1)
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
