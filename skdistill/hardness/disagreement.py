"""How many networks trained on a distilled set are wrong about a sample [Feng23, D.2]."""

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from .._data.seeds import draw_seed
from .._data.validation import check_count
from .._engine.methods.base import Problem
from .._engine.runtime import chunk_size
from .._engine.settings import own_settings
from ..augmentation import Augmentation
from ..distilled._dataset import DistilledDataset, check_is_set
from ..distilled._protocol import TrainingProtocol
from ..evaluation._networks import NetworkFamily, TrainingSamples, training_samples
from ..evaluation._protocol import check_test_data
from ..networks import Architecture
from ._common import correct_while_training, family_of

__all__ = ["disagreement_scores", "scores_in_a_run"]


@own_settings()
def disagreement_scores(
    distilled: DistilledDataset,
    X: ArrayLike,
    y: ArrayLike,
    *,
    n_networks: int = 8,
    architecture: str | Architecture | None = None,
    random_state: int | np.random.RandomState | None = None,
    device: str | torch.device = "auto",
) -> np.ndarray:
    """Return how many networks trained on a distilled set are wrong about each real sample.

    This is the adaptive hardness score of Appendix D.2 of [Feng23]_: "This score is computed based
    on the disagreement in predictions Feng et al. (2020) across 8 randomly trained networks using
    the current distilled dataset", with "hardness score HS(x) in {0, ..., 8}". [Feng23] does not
    say with what the predictions disagree. Here it is the label: of 8 networks 0 to 8 can be wrong,
    which gives the nine values of the score, while at most 7 can differ from the majority.

    Parameters
    ----------
    distilled : DistilledDataset
    X, y : array-like
        Real samples in the layout of the training data, and their labels. About a label that is not
        a class of the distilled set, every network is wrong.
    n_networks : int, default=8
        8 as in [Feng23, D.2].
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

    References
    ----------
    .. [Feng23] Y. Feng, R. Vedantam and J. Kempe, "Embarrassingly Simple Dataset Distillation",
       arXiv:2311.07025.

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
    check_count("n_networks", n_networks, 1)
    check_is_set(distilled)
    X, index = check_test_data(distilled, X, y)
    recipe = distilled.recipe
    if random_state is not None:
        recipe = replace(recipe, seed=draw_seed(random_state))
    data = replace(distilled, recipe=recipe)
    family = family_of(data, architecture, device)
    wrong = np.zeros(len(X), dtype=np.int64)
    real = family.data(X, index)
    training = training_samples(family, data)
    counts = [recipe.steps]
    for _, _, correct in correct_while_training(family, training, n_networks, counts, real):
        wrong += ~correct
    return wrong


def scores_in_a_run(
    problem: Problem, X: Tensor, y: Tensor, n_networks: int, steps: int, step: int
) -> np.ndarray:
    """Return the `disagreement_scores` of a run's real samples for its current synthetic ones.

    The networks are those that the run distills through, which may be narrower than those of an
    evaluation, and are trained with the run's augmentation, as in an evaluation.

    Parameters
    ----------
    problem : Problem
        The problem of the run.
    X, y : Tensor
        Synthetic samples, standardized, with class indices or soft labels.
    n_networks, steps : int
        The number of networks, and the steps for which they are trained.
    step : int
        The outer step; together with the run's seed it determines the networks.
    """
    augmentation = problem.augmentation
    assert augmentation is None or isinstance(augmentation, Augmentation)
    chunk = chunk_size(problem.networks, problem.shape)
    family = NetworkFamily(problem.networks, chunk, augmentation=augmentation)
    seed = problem.rngs.integer("hardness", step)
    training = TrainingSamples(X, y, TrainingProtocol(steps), seed)
    wrong = np.zeros(len(problem.real), dtype=np.int64)
    for _, _, correct in correct_while_training(
        family, training, n_networks, [steps], problem.real
    ):
        wrong += ~correct
    return wrong
