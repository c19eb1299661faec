"""How networks are trained when a set is judged. Needs no torch."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ._rules import RULES, check_training, check_values

if TYPE_CHECKING:
    from ..augmentation import Augmentation

__all__ = ["TRAINING", "EvaluationProtocol", "TrainingProtocol"]


@dataclass(frozen=True)
class TrainingProtocol:
    """How a network is trained on samples and labels.

    Parameters
    ----------
    steps : int
        Steps of the optimizer.
    learning_rate : float or "stable", default=0.001
        The default is that of Appendix C.1 of [Feng23]_. "stable" is the largest rate at which
        gradient descent on the squared error is stable at initialization: twice the number of
        samples divided by the largest eigenvalue of the first network's tangent kernel, as
        [Nguyen21b]_ has it.
    batch_size : int, default=256
        More samples than this are trained on in mini-batches of this size.
    loss : {"cross-entropy", "mse"}, default="cross-entropy"
        "mse" is half the squared error, summed over classes, which takes soft labels of any sign.
        Cross-entropy takes soft labels that need not sum to one; it has no minimum if some are
        negative.
    optimizer : {"adam", "sgd"}, default="adam"
    momentum : float, default=0.0
        Momentum of "sgd".
    weight_decay : float, default=0.0
        L2 penalty that is added to the gradient.
    schedule : {"constant", "cosine", "step"}, default="constant"
        Schedule of the learning rate: "cosine" falls to `final_factor`, "step" is multiplied by
        `gamma` at each of the `milestones`.
    milestones : tuple of float, default=(0.5,)
        Where "step" decays, as shares of the steps, ascending.
    gamma : float, default=0.1
        Factor of "step" at each milestone.
    final_factor : float, default=0.0
        The share of the learning rate at which "cosine" ends.
    warmup_steps : int, default=0
        Steps before the schedule, in which the rate rises from 0 in a straight line.
    targets : {"given", "centered", "hard", "softmax"}, default="given"
        What networks learn of the labels. "given" takes soft labels as they are; "hard", of soft
        labels the class of the largest; "softmax", the softmax of soft labels. "centered" takes
        soft labels as they are, and hard ones as 1 for the class, 0 for the others, minus one
        divided by the number of classes.
    label_scale : float, default=1.0
        Factor of the labels, for "mse".
    subtract_initial : bool, default=False
        Whether the scores of a network are those minus the ones that it had before training, as in
        [Loo22]_.

    References
    ----------
    .. [Feng23] Y. Feng, R. Vedantam and J. Kempe, "Embarrassingly Simple Dataset Distillation",
       arXiv:2311.07025.
    .. [Nguyen21b] T. Nguyen, R. Novak, L. Xiao and J. Lee, "Dataset Distillation with Infinitely
       Wide Convolutional Networks", NeurIPS 2021.
    .. [Loo22] N. Loo, R. Hasani, A. Amini and D. Rus, "Efficient Dataset Distillation using Random
       Feature Approximation", NeurIPS 2022.
    """

    steps: int
    learning_rate: float | Literal["stable"] = 0.001
    batch_size: int = 256
    loss: Literal["cross-entropy", "mse"] = "cross-entropy"
    optimizer: Literal["adam", "sgd"] = "adam"
    momentum: float = 0.0
    weight_decay: float = 0.0
    schedule: Literal["constant", "cosine", "step"] = "constant"
    milestones: tuple[float, ...] = (0.5,)
    gamma: float = 0.1
    final_factor: float = 0.0
    warmup_steps: int = 0
    targets: Literal["given", "centered", "hard", "softmax"] = "given"
    label_scale: float = 1.0
    subtract_initial: bool = False


# The names of its values.
TRAINING = tuple(field.name for field in fields(TrainingProtocol))


@dataclass(frozen=True)
class EvaluationProtocol(TrainingProtocol):
    """How a set is judged: which networks are trained on it, how many, and how.

    `skdistill.evaluation.evaluate` takes one in place of the set's own recipe, and
    `skdistill.evaluation.paper_protocol` returns those of the papers. Change one with
    ``dataclasses.replace``.

    Parameters
    ----------
    steps : int
    learning_rate : float or "stable", default=0.001
    batch_size : int, default=256
    loss : {"cross-entropy", "mse"}, default="cross-entropy"
    optimizer : {"adam", "sgd"}, default="adam"
    momentum : float, default=0.0
    weight_decay : float, default=0.0
    schedule : {"constant", "cosine", "step"}, default="constant"
    milestones : tuple of float, default=(0.5,)
    gamma : float, default=0.1
    final_factor : float, default=0.0
    warmup_steps : int, default=0
    targets : {"given", "centered", "hard", "softmax"}, default="given"
    label_scale : float, default=1.0
    subtract_initial : bool, default=False
        As in `skdistill.distilled.TrainingProtocol`.
    n_networks : int, default=10
        Freshly initialized networks over which accuracy is averaged.
    architecture : str, callable or None, default=None
        Network family, as in `RaTBPTTDistiller`: width and normalization are options of
        `skdistill.networks.ConvNet`, ``functools.partial(ConvNet, width=1024, norm="none")``. None
        takes the one of the set's recipe.
    augmentation : str, Augmentation or None, default="recipe"
        Augmentation of the synthetic samples; None means no augmentation, and "recipe" the one of
        the set's recipe.

    Raises
    ------
    ValueError
        If a value is not one of those above, or two contradict each other.

    Examples
    --------
    >>> from functools import partial
    >>> from skdistill.evaluation import EvaluationProtocol
    >>> from skdistill.networks import ConvNet
    >>> wide = EvaluationProtocol(
    ...     steps=500,
    ...     optimizer="sgd",
    ...     learning_rate=0.01,
    ...     momentum=0.9,
    ...     schedule="cosine",
    ...     architecture=partial(ConvNet, width=256, norm="none"),
    ... )
    >>> wide.n_networks, wide.loss
    (10, 'cross-entropy')
    """

    n_networks: int = 10
    architecture: "str | Callable[..., Any] | None" = None
    augmentation: "str | Augmentation | None" = "recipe"

    def __post_init__(self) -> None:
        # Networks and augmentations are checked where they are known: this needs no torch.
        values = {name: _plain(getattr(self, name)) for name in ("n_networks", *TRAINING)}
        for name, value in values.items():
            object.__setattr__(self, name, value)
        check_values(values, RULES)
        check_training(self)


def _plain(value: Any) -> Any:
    """Return NumPy's numbers as Python's, and lists as tuples, as recipes have them."""
    if isinstance(value, list | tuple):
        return tuple(map(_plain, value))
    return value.item() if isinstance(value, np.generic) else value
