"""What is wrong with the labels of a set: all alike, classes without samples, negative ones."""

import numpy as np

from .._data.network_input import find_classes
from .._data.wording import listed
from ..evaluation._papers import n_negative_labels
from ._case import Case
from ._report import Finding, NotMade

__all__ = ["labels_alike", "missing_classes", "negative_labels"]

# The deviation of the labels from sample to sample, as a share of their size (root mean squares).
# One-hot labels of ten classes have 0.95, and of two classes 0.71. At a tenth, the largest of ten
# values is 0.13 where the others are 0.097.
_ALIKE = 0.1

_HARD = NotMade("The labels are hard: none were learned.")


def labels_alike(case: Case) -> Finding | NotMade | None:
    """Look whether the learned labels of all samples are nearly the same."""
    y = case.distilled.y
    if y.ndim == 1:
        return _HARD
    labels = y.astype(np.float64)
    size = float(np.sqrt(np.square(labels).mean()))
    spread = float(np.sqrt(np.square(labels - labels.mean(axis=0)).mean()))
    if spread > _ALIKE * size:
        return None
    return Finding(
        "labels-alike",
        "error",
        f"The soft labels differ from sample to sample by {spread:.2g} (root mean square), and "
        f"their values have a size of {size:.2g}: networks can hardly tell the classes apart.",
        "Lower label_lr_scale, or set learn_labels=False: samples with hard labels always say "
        "which class they are for.",
    )


def missing_classes(case: Case) -> Finding | NotMade | None:
    """Look for classes that are the label of no sample, by the largest of its soft labels."""
    if isinstance(labels_alike(case), Finding):
        return NotMade("The labels of all samples are nearly the same: see labels-alike.")
    classes = case.distilled.classes
    present = find_classes(case.distilled.hard_labels(), classes)
    missing = np.delete(classes, present).tolist()
    if not missing:
        return None
    how = ", by the largest of its soft labels" if case.distilled.y.ndim == 2 else ""
    return Finding(
        "missing-classes",
        "warning",
        f"{len(missing)} of {len(classes)} classes are the label of no sample{how}: "
        f"{listed(map(repr, missing))}.",
        "Lower label_lr_scale, or set learn_labels=False; more samples per class (ipc) leave "
        "room for all. A set made by hand needs samples of each class.",
    )


def negative_labels(case: Case) -> Finding | NotMade | None:
    """Look for negative labels that are to be learned by a loss without a minimum for them."""
    if case.distilled.y.ndim == 1:
        return _HARD
    n = n_negative_labels(case.distilled)
    if not n:
        return None
    return Finding(
        "negative-labels",
        "error",
        f"{n} of {len(case.distilled)} soft labels have values below 0, for which the recipe's "
        "loss, cross-entropy, has no minimum: networks diverge in time.",
        "Give the set a recipe that can learn them, DistilledDataset.with_protocol of a protocol "
        "with loss='mse'; targets='hard' or 'softmax' makes other labels of them.",
    )
