"""Displays: distilled images, the course of a run, accuracy by budget and by hardness.

They follow scikit-learn's Displays: an object holds what is to be drawn, its ``from_*`` class
methods compute that, and `plot` draws it. Needs matplotlib, and no torch.
"""

from .budgets import BudgetCurveDisplay
from .hardness import HardnessDisplay
from .images import DistilledImagesDisplay
from .training import TrainingCurveDisplay

__all__ = [
    "BudgetCurveDisplay",
    "DistilledImagesDisplay",
    "HardnessDisplay",
    "TrainingCurveDisplay",
]
