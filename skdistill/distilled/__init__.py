"""The result of a distillation: samples, labels, and how to evaluate them. Needs no torch."""

from ._blocks import BasisBlock, HallucinatorBlock, TileBlock
from ._dataset import DistilledDataset, EvaluationRecipe
from ._protocol import TrainingProtocol

__all__ = [
    "BasisBlock",
    "DistilledDataset",
    "EvaluationRecipe",
    "HallucinatorBlock",
    "TileBlock",
    "TrainingProtocol",
]
