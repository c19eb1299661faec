"""Batches of real samples drawn by how hard these are [Feng23, D.2]."""

from __future__ import annotations

from collections.abc import Callable
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from .._data.validation import Interval, StrOptions
from ..sampling import BatchStrategy, UniformSampler, uniform_batches
from ._common import check_scores
from .disagreement import scores_in_a_run

if TYPE_CHECKING:
    from torch import Tensor

    from .._engine.methods.base import Problem

__all__ = ["AdaptiveSampler", "HardnessSampler", "WeightedSampler", "hardness_weights"]


def hardness_weights(
    scores: ArrayLike,
    n_networks: int = 8,
    threshold: float = 1.0,
    favor: Literal["extremes", "medium"] = "extremes",
) -> np.ndarray:
    """Return the weight with which each sample is drawn, from its disagreement score.

    With ``distance = abs(HS(x) - n_networks / 2)`` (for 8 networks, the distance from 4), it is

    - "extremes": ``threshold + distance``, the formula in Appendix D.2 of [Feng23]_;
    - "medium": ``threshold + n_networks / 2 - distance``, the same weights the other way round.

    [Feng23] means to "down-weight the easiest and hardest examples" and says that its weight
    "upweights medium-hard examples the most"; the formula that it prints does the opposite. It does
    not say which of the two it ran for its figure 15.

    Parameters
    ----------
    scores : array-like of shape (n,)
        Disagreement scores, from 0 to `n_networks`.
    n_networks : int, default=8
        Networks that made the scores.
    threshold : float, default=1.0
        The least weight, positive; the greatest is ``threshold + n_networks / 2``. The larger it
        is, the more similar the weights are. [Feng23, D.2] has 1 or 4.
    favor : {"extremes", "medium"}, default="extremes"
        Which samples weigh most.

    Returns
    -------
    ndarray of float64, of shape (n,)

    References
    ----------
    .. [Feng23] Y. Feng, R. Vedantam and J. Kempe, "Embarrassingly Simple Dataset Distillation",
       arXiv:2311.07025.

    Examples
    --------
    >>> from skdistill.hardness import hardness_weights
    >>> hardness_weights([0, 4, 7]).tolist()
    [5.0, 1.0, 4.0]
    >>> hardness_weights([0, 4, 7], favor="medium").tolist()
    [1.0, 5.0, 2.0]
    """
    if favor not in ("extremes", "medium"):
        raise ValueError(f"favor must be 'extremes' or 'medium'; got {favor!r}.")
    if not threshold > 0:
        raise ValueError(f"threshold={threshold} must be positive.")
    scores = check_scores(scores, None)
    if scores.size and (scores.min() < 0 or scores.max() > n_networks):
        raise ValueError(
            f"scores must be between 0 and n_networks={n_networks}; "
            f"got {scores.min():g} to {scores.max():g}."
        )
    middle = n_networks / 2
    distance = np.abs(scores - middle)
    return threshold + (distance if favor == "extremes" else middle - distance)


class WeightedSampler:
    """Samples drawn in proportion to their weights, each independently of the others.

    They are drawn with replacement. Otherwise draws would not be in proportion to the weights: a
    batch as large as the training set would be all of it. A batch is a pure function of the step.

    Parameters
    ----------
    weights : array-like of shape (n,)
        Non-negative, and not all 0.
    batch_size : int
        Samples per batch; at most n are used.
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

    def __init__(
        self,
        weights: ArrayLike,
        batch_size: int,
        generator: Callable[[int], np.random.Generator],
    ):
        given, weights = weights, np.asarray(weights, dtype=np.float64)
        good = weights.ndim == 1 and (np.isfinite(weights) & (weights >= 0)).all()
        if not good or not weights.any():
            raise ValueError(
                f"weights must be non-negative numbers, and not all 0; got {given!r:.200}."
            )
        self._p = weights / weights.sum()
        self._batch_size = min(batch_size, len(weights))
        self._generator = generator

    def batch(self, step: int) -> np.ndarray:
        """Return the rows of the training set that make the batch of this outer step."""
        return self._generator(step).choice(len(self._p), self._batch_size, p=self._p)


class AdaptiveSampler:
    """A `HardnessSampler` during a run: see `skdistill.sampling`.

    Parameters
    ----------
    strategy : HardnessSampler
    uniform : UniformSampler
        Draws as long as there are no scores.
    n_samples, batch_size : int
        Size of the training set, and real samples in an outer step.
    generator : callable
        Maps a step's number to a ``numpy.random.Generator``.
    score : callable
        Maps synthetic samples, their labels and the number of the outer step to the disagreement
        scores of the real samples.
    """

    def __init__(
        self,
        strategy: HardnessSampler,
        uniform: UniformSampler,
        n_samples: int,
        batch_size: int,
        generator: Callable[[int], np.random.Generator],
        score: Callable[[Tensor, Tensor, int], np.ndarray],
    ):
        self._strategy = strategy
        self._uniform = uniform
        self._n_samples = n_samples
        self._batch_size = batch_size
        self._generator = generator
        self._score = score

    def init_state(self) -> dict[str, Any]:
        """Return the state with which a run starts: no scores."""
        return {"scores": None}

    def prepare(self, X: Tensor, y: Tensor, step: int, state: dict[str, Any]) -> dict[str, Any]:
        """Return the state for outer step ``step``, with new scores if they are due."""
        if not self._strategy.is_due(step, self._n_samples, self._batch_size):
            return state
        return {"scores": self._score(X, y, step).tolist()}

    def batch(self, step: int, state: dict[str, Any]) -> np.ndarray:
        """Return the rows of the training set that make the batch of this outer step."""
        if state["scores"] is None:
            return self._uniform.batch(step)
        if len(state["scores"]) != self._n_samples:
            raise ValueError(
                f"scores must be {self._n_samples}, one for each training sample; "
                f"got {len(state['scores'])}."
            )
        sampler = self._strategy.make(state["scores"], self._batch_size, self._generator)
        return sampler.batch(step)


class HardnessSampler(BatchStrategy):
    """Draw real samples by how many networks, trained on the current synthetic ones, are wrong.

    As in Appendix D.2 of [Feng23]_, every `renew_every` epochs `disagreement_scores` measures how
    hard each real sample is for networks trained on the current synthetic samples, and the batches
    of the outer loss are drawn in proportion to the `hardness_weights` of these scores.

    It is the ``sampler`` of a `RaTBPTTDistiller`. The object holds parameters only: the run keeps
    the scores, and so do its checkpoints.

    Parameters
    ----------
    threshold : float, default=1.0
        The least weight, positive. [Feng23] has 1 or 4.
    favor : {"extremes", "medium"}, default="extremes"
        Which samples are drawn most: the easiest and the hardest, as in the formula of [Feng23], or
        those in between, as in its text. See `hardness_weights`.
    n_networks : int, default=8
        Networks that make the scores, at least 2 (with one, all weights are the same); 8 as in
        [Feng23].
    steps : int, default=300
        Steps of Adam, learning rate 0.001, that train each of these networks, with the run's
        augmentation, as in an evaluation. The networks are those that the run distills through
        (``inner_architecture``), which may be narrower than those of an evaluation.
    renew_every : int, default=50
        Epochs between two computations of the scores; 50 as in [Feng23]. An epoch has as many outer
        steps as batches fit into the training set.
    start_step : int, default=0
        Outer step before which samples are drawn uniformly. [Feng23, figure 15] has 25,000, because
        hard samples matter "in the later stages of distillation".

    References
    ----------
    .. [Feng23] Y. Feng, R. Vedantam and J. Kempe, "Embarrassingly Simple Dataset Distillation",
       arXiv:2311.07025.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skdistill import RaTBPTTDistiller
    >>> from skdistill.hardness import HardnessSampler
    >>> X, y = load_iris(return_X_y=True)
    >>> distiller = RaTBPTTDistiller(
    ...     sampler=HardnessSampler(threshold=1, steps=10), max_iter=2, window=2, unroll=4
    ... ).fit(X, y)

    Its parts can be used by themselves:

    >>> import numpy as np
    >>> strategy = HardnessSampler(favor="medium", renew_every=2)
    >>> [step for step in range(100) if strategy.is_due(step, n_samples=60, batch_size=4)]
    [0, 30, 60, 90]
    >>> sampler = strategy.make([0, 4, 8], batch_size=2, generator=np.random.default_rng)
    >>> sampler.batch(5).shape
    (2,)
    """

    _parameter_constraints: dict[str, Any] = {
        "threshold": [Interval(Real, 0, None, closed="neither")],
        "favor": [StrOptions({"extremes", "medium"})],
        "n_networks": [Interval(Integral, 2, None, closed="left")],
        "steps": [Interval(Integral, 1, None, closed="left")],
        "renew_every": [Interval(Integral, 1, None, closed="left")],
        "start_step": [Interval(Integral, 0, None, closed="left")],
    }

    def __init__(
        self,
        threshold: float = 1.0,
        favor: Literal["extremes", "medium"] = "extremes",
        n_networks: int = 8,
        steps: int = 300,
        renew_every: int = 50,
        start_step: int = 0,
    ):
        self.threshold = threshold
        self.favor = favor
        self.n_networks = n_networks
        self.steps = steps
        self.renew_every = renew_every
        self.start_step = start_step

    def during(self, problem: Problem, batch_size: int) -> AdaptiveSampler:
        """Return the sampler of a run."""
        rngs = problem.rngs

        def score(X: Tensor, y: Tensor, step: int) -> np.ndarray:
            return scores_in_a_run(problem, X, y, self.n_networks, self.steps, step)

        return AdaptiveSampler(
            self,
            uniform_batches(problem, batch_size),
            len(problem.real),
            batch_size,
            lambda step: rngs.numpy("real_batch", step),
            score,
        )

    def is_due(self, step: int, n_samples: int, batch_size: int) -> bool:
        """Return whether scores must be computed before this outer step, counted from 0.

        Parameters
        ----------
        step : int
        n_samples : int
            Size of the training set.
        batch_size : int
            Real samples in an outer step.
        """
        epoch = n_samples // min(batch_size, n_samples)
        since = step - self.start_step
        return since >= 0 and since % (self.renew_every * epoch) == 0

    def make(
        self, scores: ArrayLike, batch_size: int, generator: Callable[[int], np.random.Generator]
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
        weights = hardness_weights(scores, self.n_networks, self.threshold, self.favor)
        return WeightedSampler(weights, batch_size, generator)
