"""How networks are trained on a distilled set, as the set keeps it. Needs no torch."""

from dataclasses import dataclass
from typing import Any

from .._data.layout import Layout
from ._protocol import TRAINING, TrainingProtocol

__all__ = ["EvaluationRecipe"]


@dataclass(frozen=True, kw_only=True)
class EvaluationRecipe(TrainingProtocol):
    """How networks are trained on a distilled set, fixed before any test data is seen.

    Parameters
    ----------
    steps : int
        Steps that train each network; at most ten million.
    learning_rate : float or "stable", default=0.001
        At most 1000. The default is that of Appendix C.1 of [Feng23]_.
    batch_size : int, default=256
        Sets with more samples than this are trained on in mini-batches of this size.
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
        As in `TrainingProtocol`.
    layout : Layout
        The samples' shape as the user has it and as networks see it.
    mean, scale : tuple of float
        Mean and standard deviation of the training set, one value per channel (images) or feature
        (tables), with which samples are standardized before a network sees them. They are at most
        1e38 in size; a scale is at least the smallest normal number of single precision, 1.2e-38.
    architecture : str, dict or None
        Name of the network family, or the plain form of one with options, ``{"class": "ConvNet",
        "width": 32}``; None if it was a callable of the user's, which is not saved.
    n_networks : int, default=10
        Freshly initialized networks over which accuracy is averaged; at most ten thousand.
    seed : int, default=0
        Determines the networks' initializations, mini-batches and augmentations.
    augmentation : str, dict or None, default=None
        How the samples are augmented, anew at every step: as in distillation [Feng23, C.1]. A name
        from `skdistill.augmentation`, or the plain form of an augmentation, ``{"class": "Rotation",
        "degrees": 15.0}``.

    Notes
    -----
    The bounds are checked when a set is saved or loaded: a file may come from anywhere, and must
    not cause an evaluation that never ends.

    References
    ----------
    .. [Feng23] Y. Feng, R. Vedantam and J. Kempe, "Embarrassingly Simple Dataset Distillation",
       arXiv:2311.07025.
    """

    layout: Layout
    mean: tuple[float, ...]
    scale: tuple[float, ...]
    architecture: str | dict[str, Any] | None
    n_networks: int = 10
    seed: int = 0
    augmentation: str | dict[str, Any] | None = None

    @property
    def protocol(self) -> TrainingProtocol:
        """How each network is trained."""
        return TrainingProtocol(**{name: getattr(self, name) for name in TRAINING})
