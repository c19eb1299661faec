"""How good a set is: train networks on it, report their accuracy, compare with real samples."""

from ..distilled._protocol import EvaluationProtocol
from ._papers import PROTOCOLS, paper_protocol
from ._protocol import BASELINES, WHOLE, Comparison, EvaluationResult, compare, evaluate

__all__ = [
    "BASELINES",
    "PROTOCOLS",
    "WHOLE",
    "Comparison",
    "EvaluationProtocol",
    "EvaluationResult",
    "compare",
    "evaluate",
    "paper_protocol",
]
