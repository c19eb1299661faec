"""The result of a distillation: samples, labels, and how to evaluate them. Needs no torch."""

from ._blocks import BasisBlock, HallucinatorBlock, TileBlock
from ._dataset import DistilledDataset
from ._protocol import TrainingProtocol
from ._recipe import EvaluationRecipe

__all__ = [
    "BasisBlock",
    "DistilledDataset",
    "EvaluationRecipe",
    "HallucinatorBlock",
    "TileBlock",
    "TrainingProtocol",
]
