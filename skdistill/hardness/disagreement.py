"""How many networks trained on a distilled set are wrong about a sample (Appendix D.2)."""

from dataclasses import replace

import numpy as np
from torch import Tensor

from .._engine.data import RealData, Standardizer
from .._engine.learner import Learner
from .._engine.runtime import chunk_size
from .._engine.settings import own_settings
from .._fresh_networks import NetworkFamily
from .._layout import Layout
from .._seeds import draw_seed
from ..distilled import DistilledDataset, EvaluationRecipe
from ..evaluation import check_test_data
from ._common import check_count, correct_while_training, family_of

__all__ = ["disagreement_scores", "scores_in_a_run"]


@own_settings()
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
    check_count("n_networks", n_networks, 1)
    X, index = check_test_data(distilled, X, y)
    recipe = distilled.recipe
    if random_state is not None:
        recipe = replace(recipe, seed=draw_seed(random_state))
    data = replace(distilled, recipe=recipe)
    family = family_of(data, architecture, device)
    wrong = np.zeros(len(X), dtype=np.int64)
    real = family.data(X, index)
    for _, _, correct in correct_while_training(family, data, n_networks, [recipe.steps], real):
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
    for _, _, correct in correct_while_training(family, current, n_networks, [steps], real):
        wrong += ~correct
    return wrong
