"""What distillers that match what real and synthetic samples do to networks have in common."""

from typing import ClassVar, Literal

from .._data.validation import StrOptions
from .._engine.outer_optimizers import Clip, MovingAverageClip, OuterAdam, OuterOptimizer, OuterSGD
from ._parameter_checks import check_rate
from ._parameters import param
from ._shared_parameters import StartsFromReal, WeighsTerms
from .base import BaseDistiller

__all__ = ["ClassMatchingDistiller", "MatchingDistiller"]


class MatchingDistiller(StartsFromReal, BaseDistiller):
    """Base class of the distillers that move samples by Adam, or as their papers do.

    Parameters
    ----------
    {parameters}
    """

    outer_optimizer: Literal["adam", "sgd"] = param(
        default="adam",
        constraints=[StrOptions({"adam", "sgd"})],
        kind='{"adam", "sgd"}',
        doc="""What moves the samples: Adam with gradients that are clipped at twice the moving
        average of their norms, each with itself in it (``MovingAverageClip``), or, as in DC, DSA,
        DM and IDC, gradient descent with momentum 0.5 and without clipping, for which
        `learning_rate` must be a number: 0.1 in DC and DSA, 1 in DM.""",
    )

    # What the method's paper has as the learning rate of gradient descent.
    _paper_rate: ClassVar[str]

    def _check_parameters(self) -> None:
        check_rate(self.outer_optimizer, self.learning_rate, self._paper_rate)

    def _optimizer(self) -> OuterOptimizer:
        return OuterAdam() if self.outer_optimizer == "adam" else OuterSGD()

    def _clip(self) -> Clip | None:
        return MovingAverageClip() if self.outer_optimizer == "adam" else None


class ClassMatchingDistiller(WeighsTerms, MatchingDistiller):
    """Base class of the distillers whose loss is a sum over classes of distances.

    Parameters
    ----------
    {parameters}
    """

    batch_size: int = param(
        default=256,
        doc="""Real samples *of each class* in each outer step; a class that has fewer uses all of
        them. The default is that of DC, DSA and DM.""",
    )
