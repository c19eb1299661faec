"""What networks that were trained on the set show: divergence, few classes, a better rival."""

from math import sqrt

import numpy as np

from .._run.health import ERRORS
from ._answers import Answers
from ._report import Finding, NotMade

__all__ = ["diverged_networks", "few_classes", "no_better_than_kmeans"]

# Answers whose entropy is less than this share of that of the labels. Of ten classes of one size
# that is fewer than 3.2 (10 ** 0.5), of two a share of more than 89 percent for one of them, and
# with one tenth of positive labels fewer than 4 percent of positive answers.
_ENTROPY = 0.5

_ALL_DIVERGED = NotMade("All networks diverged: see diverged-networks.")


def diverged_networks(own: Answers) -> Finding | None:
    """Look for networks whose scores are not finite after training on the set."""
    n, n_networks = int(own.has_diverged.sum()), len(own.indices)
    if not n:
        return None
    return Finding(
        "diverged-networks",
        "error",
        f"{n} of {n_networks} networks diverged in {own.steps} steps on the set: their scores are "
        "not finite, and count as errors.",
        "Use a lower learning_rate in the recipe (DistilledDataset.with_protocol), and check the "
        "synthetic samples, the recipe's mean and scale, and the network.",
    )


def few_classes(own: Answers) -> Finding | NotMade | None:
    """Look whether networks that were trained on the set answer with few of the classes."""
    expected = _entropy(own.y[own.y >= 0], own.n_classes)
    if not expected > 0:
        return NotMade("The test data has only one class.")
    finite = own.indices[~own.has_diverged]
    if not len(finite):
        return _ALL_DIVERGED
    # Of each network by itself: several may collapse, each to another class.
    found = float(np.mean([_entropy(answers, own.n_classes) for answers in finite]))
    if found >= _ENTROPY * expected:
        return None
    shares = np.mean(
        [np.bincount(each, minlength=own.n_classes) / each.size for each in finite], axis=0
    )
    n_used = float(np.mean([len(np.unique(each)) for each in finite]))
    return Finding(
        "few-classes",
        "error",
        f"Networks that were trained on the set answer with {np.exp(found):.1f} classes, counted "
        f"by their entropy, where the test labels have {np.exp(expected):.1f}. A network uses "
        f"{n_used:.3g} of {own.n_classes} classes; the most frequent has {shares.max():.0%} of all "
        "answers.",
        "Look at samples and labels of the set for classes that look alike (show the set in a "
        "notebook). Distill longer (max_iter), or train longer (eval_steps); class_weight="
        "'balanced' if classes differ in size.",
    )


def no_better_than_kmeans(own: Answers, rival: Answers) -> Finding | NotMade | None:
    """Look whether networks do better after training on the set than on k-means centroids."""
    if len(own.indices) < 2:
        return NotMade("It needs n_networks of at least 2, for the deviation from each other.")
    if own.has_diverged.all():
        return _ALL_DIVERGED
    n_lost = int(rival.has_diverged.sum())
    if n_lost:
        # Their scores count as errors, so that the set would seem better than it is.
        return NotMade(
            f"{n_lost} of {len(rival.indices)} networks diverged when they were trained on the "
            "centroids by the set's recipe, so that these are no rival. Choose a protocol by which "
            "networks learn from both: skdistill.evaluation.compare(..., protocols=...), with the "
            'baseline "k-means centroids".'
        )
    ours, theirs = own.result, rival.result
    difference = ours.mean - theirs.mean
    per_sample = own.right.mean(axis=0) - rival.right.mean(axis=0)
    # Other networks, and other test samples, would give another difference.
    variance = sum(each.accuracies.var(ddof=1) / len(each.accuracies) for each in (ours, theirs))
    variance += per_sample.var(ddof=1) / per_sample.size if per_sample.size > 1 else 0
    margin = ERRORS * sqrt(variance)
    if difference > margin:
        return None
    return Finding(
        "no-better-than-k-means",
        "error" if difference < -margin else "warning",
        f"Networks reach {ours} after training on the set, and {theirs} on equally many centroids "
        f"of k-means. The difference, {100 * difference:+.1f} points, is not above {ERRORS:g} "
        f"standard errors ({100 * margin:.1f} points).",
        "Distill longer (max_iter), or from the centroids on (init='kmeans'); or take the "
        "centroids (skdistill.coresets.kmeans_centroids), which cost seconds. A larger n_networks "
        "tells smaller differences.",
    )


def _entropy(indices: np.ndarray, n_classes: int) -> float:
    """Return the entropy of class indices, in nats."""
    if not len(indices):
        return 0.0
    shares = np.bincount(indices, minlength=n_classes) / len(indices)
    shares = shares[shares > 0]
    return float(-(shares * np.log(shares)).sum())
