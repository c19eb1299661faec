"""The distillers, one file per method, and the tools to write another one.

A method of your own derives from `Method`, and a distiller from `BaseDistiller`; its parameters are
fields that `param` declares. :doc:`/howto/extend` shows a whole one.
"""

from .._data.validation import Interval, StrOptions
from .._engine.methods.base import Extra, Free, Gradient, Method, NonNegative, Problem, Synthetic
from .._engine.outer_optimizers import (
    MovingAverageClip,
    NormClip,
    OuterAdaBelief,
    OuterAdam,
    OuterLAMB,
    OuterSGD,
    RobustClip,
)
from ._parameters import param
from .base import BaseDistiller
from .boosted import BoostedDistiller
from .distribution_matching import DistributionMatchingDistiller
from .frepo import FRePoDistiller
from .gradient_matching import GradientMatchingDistiller
from .kip import KIPDistiller
from .rat_bptt import RaTBPTTDistiller
from .rcig import RCIGDistiller
from .rfad import RFADDistiller
from .trajectory_matching import TrajectoryMatchingDistiller

__all__ = [
    "BaseDistiller",
    "BoostedDistiller",
    "DistributionMatchingDistiller",
    "Extra",
    "FRePoDistiller",
    "Free",
    "Gradient",
    "GradientMatchingDistiller",
    "Interval",
    "KIPDistiller",
    "Method",
    "MovingAverageClip",
    "NonNegative",
    "NormClip",
    "OuterAdaBelief",
    "OuterAdam",
    "OuterLAMB",
    "OuterSGD",
    "Problem",
    "RCIGDistiller",
    "RFADDistiller",
    "RaTBPTTDistiller",
    "RobustClip",
    "StrOptions",
    "Synthetic",
    "TrajectoryMatchingDistiller",
    "param",
]
