"""The result of a distillation: samples, labels, and how to evaluate them. Needs no torch."""

from ._dataset import BasisBlock, DistilledDataset, EvaluationRecipe
from ._protocol import TrainingProtocol

__all__ = ["BasisBlock", "DistilledDataset", "EvaluationRecipe", "TrainingProtocol"]
