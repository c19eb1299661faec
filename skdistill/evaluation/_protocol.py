"""Train networks on a distilled set, and report their accuracy.

The protocol of a set is its recipe, by default that of [Feng23, section 4 and C.1]: ten freshly
initialized networks, Adam with learning rate 0.001 and no schedule, mean and standard deviation of
the test accuracy. Another one, a paper's for instance, may take its place. The number of steps is
fixed before the test set is seen; nothing is selected on it.
"""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from joblib import Parallel, delayed, effective_n_jobs
from numpy.typing import ArrayLike
from sklearn.utils import check_array, column_or_1d

from .._data.columns import are_comparable, check_columns
from .._data.frames import refuse_unencoded
from .._data.gaps import explaining_gaps
from .._data.labels import refuse_missing
from .._data.network_input import (
    find_classes,
    unknown_labels,
    warn_of_lost_digits,
)
from .._data.rows import Rows
from .._data.units import warn_of_other_units
from .._data.validation import as_array, check_count, check_magnitude, check_sample_weight
from .._data.warn import warn
from .._data.wording import percent
from .._engine.group import join_group
from .._engine.settings import own_settings
from ..augmentation import Augmentation
from ..distilled._dataset import DistilledDataset, check_is_set
from ..distilled._protocol import EvaluationProtocol
from ..distilled._recipe import EvaluationRecipe
from ..networks import Architecture, resolve_architecture
from . import _plain_architecture, _plain_augmentation
from ._networks import (
    NetworkFamily,
    accuracy_curve,
    network_family,
    training_samples,
    warn_of_divergence,
)
from ._papers import check_said_once, resolve_protocol, under, warn_of_negative_labels

__all__ = [
    "EvaluationResult",
    "check_known_data",
    "check_test_data",
    "evaluate",
    "evaluate_checked",
    "in_words",
    "telling_what_is_done",
]


@dataclass(frozen=True, eq=False)
class EvaluationResult:
    """Test accuracy of networks trained on a set of samples.

    Parameters
    ----------
    accuracies : ndarray of shape (n_networks,)
        Test accuracy of each network after the last step.
    steps : ndarray of shape (n_counts,)
        Step counts at which accuracy was measured; the last one is the result.
    curve : ndarray of shape (n_networks, n_counts)
        Test accuracy of each network at each step count.
    n_samples : int
        Samples that the networks were trained on.
    n_diverged : int, default=0
        Networks whose scores for some test samples were not finite, which count as errors.
    recipe : EvaluationRecipe or None, default=None
        How the networks were trained: the set's recipe, with the changes that a protocol and other
        arguments made. Its architecture is None if it was a callable that has no plain form.
    weighted : bool, default=False
        Whether test samples had weights: the accuracy is then their mean by these.
    """

    accuracies: np.ndarray
    steps: np.ndarray
    curve: np.ndarray
    n_samples: int
    n_diverged: int = 0
    recipe: EvaluationRecipe | None = None
    weighted: bool = False

    @property
    def mean(self) -> float:
        """Mean test accuracy over the networks."""
        return float(self.accuracies.mean())

    @property
    def std(self) -> float:
        """Standard deviation of the test accuracy over the networks."""
        return float(self.accuracies.std())

    def __str__(self) -> str:
        remarks = "; test samples weighted" if self.weighted else ""
        remarks += f"; {self.n_diverged} diverged" if self.n_diverged else ""
        n = len(self.accuracies)
        return (
            f"{percent(self.mean, self.std, n)} % "
            f"({n} network{'s' * (n > 1)}, {self.steps[-1]} steps{remarks})"
        )


def evaluate(
    distilled: DistilledDataset,
    X: ArrayLike,
    y: ArrayLike,
    *,
    protocol: str | EvaluationProtocol | None = None,
    sample_weight: ArrayLike | None = None,
    n_networks: int | None = None,
    steps: int | Sequence[int] | None = None,
    architecture: str | Architecture | None = None,
    augmentation: str | Augmentation | None = "recipe",
    device: str | torch.device = "auto",
) -> EvaluationResult:
    """Train fresh networks on a distilled set and test them.

    Parameters
    ----------
    distilled : DistilledDataset
    X : array-like of shape (n, ...)
        Test samples in the layout of the training data; before preprocessing, if the set keeps
        that.
    y : array-like of shape (n,)
        Test labels. A label that is no class of the distilled set counts as an error, with a
        warning.
    protocol : str, EvaluationProtocol or None, default=None
        How the set is judged. None or "recipe" is the set's own recipe, which ``score`` always
        uses; the name of a paper, "dm" or "frepo" for instance, is how that paper judges its sets:
        see `paper_protocol`. What a protocol says must not be given again below, except
        `n_networks`.
    sample_weight : array-like of shape (n,) or None, default=None
        Weights of the test samples in the accuracy.
    n_networks : int or None, default=None
        Networks to train; None takes the protocol's or recipe's, 10 by default, as in section 4 of
        [Feng23]_.
    steps : int, sequence of int or None, default=None
        Steps of training; a sequence gives the accuracy at each, and the largest counts. None
        takes the recipe's.
    architecture : str, callable or None, default=None
        Network family, as in `RaTBPTTDistiller`; one that differs from the recipe's shows how the
        set transfers.
    augmentation : str, Augmentation or None, default="recipe"
        Augmentation of the synthetic samples, anew at every step, as in `RaTBPTTDistiller`; None
        means no augmentation. "recipe" is the one that they were distilled with [Feng23, C.1]. Test
        samples are never augmented.
    device : str, default="auto"
        Where to compute.

    Returns
    -------
    EvaluationResult

    Raises
    ------
    ValueError
        If the test samples have another shape than the training samples had, other columns, or hold
        NaN or infinity; if no architecture or augmentation is known, because the set was distilled
        with one that is not saved; or if `protocol` is unknown, or says what another argument says
        as well.

    Warns
    -----
    UserWarning
        If the test samples cannot be in the units of the training samples, because whitening was
        left out or pixels were divided by 255; if a callable builds the same network each time; or
        if networks are to learn negative labels by cross-entropy, which has no minimum for them.
    DivergenceWarning
        If the scores of some networks are not finite. Their answers for these samples count as
        errors.

    Notes
    -----
    The networks are trained together where that is faster: on a CPU each has a core. Under
    ``torchrun`` they are divided among the processes, and under ``joblib.parallel_config("loky",
    n_jobs=4)``, or any other backend, among its workers. A worker that calls this, as in a search,
    trains all of them itself.

    References
    ----------
    .. [Feng23] Y. Feng, R. Vedantam and J. Kempe, "Embarrassingly Simple Dataset Distillation",
       arXiv:2311.07025.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skdistill import RaTBPTTDistiller
    >>> from skdistill.evaluation import evaluate
    >>> X, y = load_iris(return_X_y=True)
    >>> distiller = RaTBPTTDistiller(max_iter=20, window=5, unroll=10, random_state=0).fit(X, y)
    >>> result = evaluate(distiller.distilled_, X, y, n_networks=2, steps=[10, 20])
    >>> result.curve.shape
    (2, 2)

    By the rules of another paper, but with fewer steps:

    >>> from dataclasses import replace
    >>> from skdistill.evaluation import paper_protocol
    >>> protocol = replace(paper_protocol("dm", distiller.distilled_), steps=10)
    >>> result = evaluate(distiller.distilled_, X, y, protocol=protocol, n_networks=2)
    >>> result.steps.tolist()
    [10]
    """
    check_is_set(distilled)
    protocol = resolve_protocol(protocol, distilled)
    check_said_once(protocol, steps, architecture, augmentation)
    return evaluate_checked(
        distilled,
        *check_test_data(distilled, X, y),
        protocol=protocol,
        sample_weight=sample_weight,
        n_networks=n_networks,
        steps=steps,
        architecture=architecture,
        augmentation=augmentation,
        device=device,
    )


@own_settings()
def evaluate_checked(
    distilled: DistilledDataset,
    X: np.ndarray | Rows,
    y: np.ndarray,
    *,
    protocol: EvaluationProtocol | None = None,
    sample_weight: ArrayLike | None = None,
    n_networks: int | None = None,
    steps: int | Sequence[int] | None = None,
    architecture: str | Architecture | dict[str, Any] | None = None,
    augmentation: str | Augmentation | None = "recipe",
    device: str | torch.device = "auto",
) -> EvaluationResult:
    """Do as `evaluate` does, with test data that `check_test_data` returned.

    To evaluate several sets on the same data, check the data once, with one warning. What the
    protocol says goes before the other arguments.
    """
    if protocol is not None:
        distilled = under(distilled, protocol)
        architecture = architecture if protocol.architecture is None else protocol.architecture
        if protocol.augmentation != "recipe":
            augmentation = protocol.augmentation
    recipe = distilled.recipe
    architecture = recipe.architecture if architecture is None else architecture
    counts = np.unique(np.atleast_1d(recipe.steps if steps is None else steps))
    n_networks = recipe.n_networks if n_networks is None else n_networks
    if counts.dtype.kind not in "iu" or counts[0] < 1:
        raise ValueError(f"steps must be positive integers; got {steps!r}.")
    counts = counts.astype(np.int64)
    check_count("n_networks", n_networks, 1)
    n_networks = int(n_networks)
    if counts[-1] <= recipe.warmup_steps:
        raise ValueError(
            f"steps must be more than the warm-up of the recipe, {recipe.warmup_steps} steps; "
            f"got {steps!r}."
        )

    family = network_family(distilled, architecture, device, augmentation)
    warn_of_negative_labels(distilled)
    if sample_weight is not None:
        sample_weight = check_sample_weight(sample_weight, X, ensure_non_negative=True)
    as_evaluated = replace(
        recipe,
        architecture=_plain_network(recipe, architecture),
        augmentation=_plain_augmentation_of(recipe, family.augmentation),
        steps=int(counts[-1]),
        n_networks=n_networks,
    )
    of_family = architecture, device, augmentation
    curve, n_diverged = _trained_and_tested(
        distilled, family, of_family, n_networks, counts, X, (y, sample_weight)
    )
    warn_of_divergence(n_diverged, n_networks)
    return EvaluationResult(
        accuracies=curve[:, -1].copy(),
        steps=counts,
        curve=curve,
        n_samples=len(distilled),
        n_diverged=n_diverged,
        recipe=as_evaluated,
        weighted=sample_weight is not None,
    )


def _trained_and_tested(
    distilled: DistilledDataset,
    family: NetworkFamily,
    of_family: tuple[Any, ...],
    n_networks: int,
    counts: np.ndarray,
    X: np.ndarray | Rows,
    about_rows: tuple[np.ndarray, np.ndarray | None],
) -> tuple[np.ndarray, int]:
    """Train networks, here or divided among joblib's workers, and test them.

    Parameters
    ----------
    distilled : DistilledDataset
    family : NetworkFamily
    of_family : tuple
        What `network_family` makes it of in a worker, in the order that `_job` has.
    n_networks : int
    counts : ndarray of int
        Steps after which they are tested.
    X : ndarray or Rows
        Test samples.
    about_rows : tuple
        Their class indices, and their weights or None.

    Returns
    -------
    curve : ndarray of shape (n_networks, n_counts)
        Accuracies.
    n_diverged : int
        Networks whose scores are not finite for some samples.
    """
    n_jobs = 1 if _is_task_of_dask() else min(effective_n_jobs(None), n_networks)
    if n_jobs == 1 or join_group().size > 1:
        y, sample_weight = about_rows
        training, test = training_samples(family, distilled), family.data(X, y)
        return accuracy_curve(family, training, n_networks, counts, test, sample_weight)
    if isinstance(X, Rows):
        X = X[:]  # send only these rows of a larger array
    # joblib's backend for Dask puts each array on one worker, and loses it with that one, but not
    # what is in a tuple. Of X, which may be large, users can put copies on all workers
    # (``scatter``): for that it is the array that they passed, if it need not be converted.
    shares = np.array_split(np.arange(n_networks), n_jobs)
    parts = Parallel()(
        delayed(_job)(distilled, of_family, share, counts, X, about_rows) for share in shares
    )
    return np.concatenate([curve for curve, _ in parts]), sum(n for _, n in parts)


def _plain_network(
    recipe: EvaluationRecipe, architecture: str | Architecture | dict[str, Any] | None
) -> str | dict[str, Any] | None:
    """Return the networks of an evaluation in the form of a recipe."""
    if architecture is None or isinstance(architecture, dict):
        return architecture
    return _plain_architecture.to_plain(
        resolve_architecture(architecture, recipe.layout.network_shape)
    )


def _plain_augmentation_of(
    recipe: EvaluationRecipe, augmentation: Augmentation | None
) -> str | dict[str, Any] | None:
    """Return an augmentation in the form of a recipe: as this one has it, if it is the same."""
    plain = _plain_augmentation.to_plain(augmentation)
    if not _plain_augmentation.is_restorable(recipe.augmentation):
        return plain
    known = _plain_augmentation.from_plain(recipe.augmentation)
    return recipe.augmentation if plain == _plain_augmentation.to_plain(known) else plain


def _is_task_of_dask() -> bool:
    """Return whether a worker of Dask runs this.

    Of the backends, joblib's for Dask alone would divide the work of a worker among the others.
    These have candidates of their own to fit, and with any of them a search would lose the networks
    and the test data of others' candidates, whose scores would be NaN.
    """
    distributed = sys.modules.get("distributed")
    if distributed is None:
        return False
    try:
        distributed.get_worker()
    except ValueError:
        return False
    return True


@own_settings()
def _job(
    distilled: DistilledDataset,
    of_family: tuple[
        str | Architecture | dict[str, Any] | None, str | torch.device, str | Augmentation | None
    ],
    networks: np.ndarray,
    counts: Sequence[int],
    X: np.ndarray,
    about_rows: tuple[np.ndarray, np.ndarray | None],
) -> tuple[np.ndarray, int]:
    """Do one worker's share of an evaluation, with its own network family."""
    architecture, device, augmentation = of_family
    y, sample_weight = about_rows
    family = network_family(distilled, architecture, device, augmentation, check=False)
    training = training_samples(family, distilled)
    return accuracy_curve(
        family, training, networks.tolist(), counts, family.data(X, y), sample_weight
    )


def check_test_data(
    distilled: DistilledDataset,
    X: ArrayLike,
    y: ArrayLike,
    *,
    warns: bool = True,
    warns_of_labels: bool = True,
    checks_columns: bool = True,
) -> tuple[np.ndarray, np.ndarray]:
    """Return test samples and their class indices (-1 for a label that is no class).

    Warns, unless told not to, of labels that are not classes, and of samples in other units. Raises
    a ValueError for a data frame of other columns, or in another order, unless that is looked for
    by the caller.
    """
    X, y = as_array(X), as_array(y)
    names = distilled.feature_names
    if distilled.preprocessing is not None:
        X = distilled.preprocessing.transform(X)
        # What it makes may have other names than those that the set was given.
        checks_columns &= are_comparable(X, names)
    if checks_columns:
        check_columns(X, names)
    recipe = distilled.recipe
    # What preprocessing made has other columns than the caller's, and errors of its own.
    is_callers = distilled.preprocessing is None
    if is_callers:
        refuse_unencoded(X, in_fit=False)
    known = explaining_gaps(X, recipe.layout.is_image, in_fit=False)
    with known if is_callers else nullcontext():
        X = check_array(X, allow_nd=True, dtype="numeric", ensure_2d=False)
    check_magnitude(X)
    recipe.layout.check(X)
    refuse_missing(y)
    y = column_or_1d(y)
    if len(X) != len(y):
        raise ValueError(f"X and y must have the same length; got {len(X)} and {len(y)}.")
    index = find_classes(y, distilled.classes)
    if warns:
        n_classes = len(distilled.classes)
        warn_of_other_units(X, recipe.layout, recipe.mean, recipe.scale, n_classes, index)
        if X.dtype != distilled.X.dtype:
            # Constant features have a scale of 1, and no differences to lose.
            mean = np.where(np.equal(recipe.scale, 1), 0, recipe.mean)
            warn_of_lost_digits(X.dtype, recipe.layout, mean, recipe.scale, distilled.feature_names)
        if warns_of_labels:
            _warn_of_unknown_labels(y, index, distilled.classes)
    return X, index


def _warn_of_unknown_labels(y: np.ndarray, index: np.ndarray, classes: np.ndarray) -> None:
    n = np.count_nonzero(index < 0)
    if n:
        warn(
            f"{n} of {len(y)} samples have labels that were not in fit: "
            f"[{unknown_labels(y, index)}]; they count as errors. "
            f"The labels in fit were {classes.tolist()!r:.200}.",
            UserWarning,
        )


def check_known_data(
    distilled: DistilledDataset,
    X: ArrayLike,
    y: ArrayLike,
    name: str = "y",
    *,
    samples: str = "X",
    checks_columns: bool = True,
) -> tuple[np.ndarray, np.ndarray]:
    """Return samples and class indices, or raise a ValueError for a label that is not a class.

    Warns of samples in other units: networks would learn nothing from them. ``name`` and
    ``samples`` are what labels and samples are called.
    """
    X, index = check_test_data(distilled, X, y, warns=False, checks_columns=checks_columns)
    if (index < 0).any():
        raise ValueError(
            f"{name} must hold only labels that the distilled set knows; "
            f"got {unknown_labels(column_or_1d(as_array(y)), index)} as well."
        )
    recipe, n_classes = distilled.recipe, len(distilled.classes)
    warn_of_other_units(X, recipe.layout, recipe.mean, recipe.scale, n_classes, index, samples)
    return X, index


@contextmanager
def telling_what_is_done() -> Iterator[list[str]]:
    """Yield a list for lines on what is finished, which an error or Ctrl-C tells in its notes.

    What comes before the end of a long evaluation may have taken hours.
    """
    lines: list[str] = []
    try:
        yield lines
    except BaseException as error:
        for line in lines:
            error.add_note(line)
        raise


def in_words(name: str, accuracies: np.ndarray) -> str:
    """Return a line on the accuracies of networks, for `telling_what_is_done`."""
    return f"{name}: {percent(accuracies.mean(), accuracies.std(), accuracies.size)} %"
