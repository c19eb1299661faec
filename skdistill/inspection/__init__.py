"""Displays: distilled images, the course of a run, accuracy by budget and by hardness.

They follow scikit-learn's Displays: an object holds the data of a drawing, its ``from_*`` class
methods compute the data, and `plot` draws it. They need matplotlib, but not torch.
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
