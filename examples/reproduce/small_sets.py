"""Small sets in the place of large ones: chosen, averaged or distilled, and the bytes they take.

What continual_learning.py, architecture_ranking.py and active_learning.py share. Distilled samples
start from the centroids of k-means, so what they have over these is what distilling adds.
"""

import argparse
from dataclasses import replace
from functools import partial

import data
import numpy as np

from skdistill import DistilledDataset, DistributionMatchingDistiller, RaTBPTTDistiller
from skdistill.coresets import herding, kmeans_centroids, random_samples
from skdistill.evaluation import EvaluationProtocol
from skdistill.networks import ConvNet

CHOSEN = {
    "random exemplars": random_samples,
    "herding": herding,
    "k-means": kmeans_centroids,
}
DISTILLERS = {
    "distribution matching": DistributionMatchingDistiller,
    "RaT-BPTT": RaTBPTTDistiller,
}
NAMES = [*CHOSEN, *DISTILLERS]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what says how samples are distilled and networks trained."""
    parser.add_argument("--max-iter", type=int, default=100, help="outer steps of each distilling")
    parser.add_argument("--width", type=int, default=16, help="of the ConvNets")
    parser.add_argument("--steps", type=int, default=200, help="that train a network")
    parser.add_argument("--networks", type=int, default=3, help="in the test of each set")
    data.add_clipping(parser, default="robust")


def load(args: argparse.Namespace) -> list[np.ndarray]:
    """Return X_train, X_test, y_train and y_test, of which digits are images, too."""
    X_train, X_test, y_train, y_test = data.load(args)
    if args.dataset == "digits":
        X_train, X_test = (X.reshape(-1, 8, 8) for X in (X_train, X_test))
    return [X_train, X_test, y_train, y_test]


def small_set(
    name: str, X: np.ndarray, y: np.ndarray, ipc: int, seed: int, args: argparse.Namespace, **more
) -> tuple[np.ndarray, np.ndarray]:
    """Return ``ipc`` samples of every class in the place of these, and their labels.

    ``more`` are parameters of a distiller besides those that the arguments give.
    """
    if name in CHOSEN:
        return CHOSEN[name](X, y, np.unique(y), ipc, np.random.default_rng(seed))
    if name == "RaT-BPTT":
        more["clip_norm"] = args.clip_norm
    distiller = DISTILLERS[name](
        ipc,
        init="kmeans",
        max_iter=args.max_iter,
        architecture=partial(ConvNet, width=args.width),
        random_state=seed,
        **more,
    )
    return distiller.fit(X, y).transform()


def stored(X: np.ndarray) -> tuple[np.ndarray, int]:
    """Return samples as they come out of a store with a byte per value, and the store's bytes.

    Whole numbers from 0 to 255, as the pixels of real samples are, come out as they went in. Others
    are rounded to 256 levels from the smallest to the largest value, which are stored as well.
    """
    X = np.asarray(X, np.float32)
    low, high = X.min(), X.max()
    if low >= 0 and high <= 255 and (np.round(X) == X).all():
        return X, X.size
    step = (high - low) / 255 or 1
    levels = np.round((X - low) / step).astype(np.uint8)
    return np.float32(low + step * levels), levels.nbytes + low.nbytes + high.nbytes


def protocol(args: argparse.Namespace) -> EvaluationProtocol:
    """Return how networks are trained on a set."""
    return EvaluationProtocol(
        steps=args.steps,
        n_networks=args.networks,
        architecture=partial(ConvNet, width=args.width),
    )


def as_set(
    X: np.ndarray,
    y: np.ndarray,
    moments: tuple[float, float],
    protocol: EvaluationProtocol,
    seed: int,
) -> DistilledDataset:
    """Return samples, not necessarily equally many of each class, for networks to be trained on.

    ``moments`` are the mean and the standard deviation by which they are standardized.
    """
    _, first = np.unique(y, return_index=True)
    mean, scale = moments
    # `from_arrays` checks layout, units and protocol, but takes only equally many of each class.
    like = DistilledDataset.from_arrays(
        X[first], y[first], mean=mean, scale=scale, protocol=protocol, seed=seed
    )
    return replace(like, X=X, y=y)


def moments(X: np.ndarray) -> tuple[float, float]:
    """Return the mean and the standard deviation of all values."""
    return float(X.mean(dtype=np.float64)), float(X.std(dtype=np.float64))
