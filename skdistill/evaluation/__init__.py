"""How good a set is: train networks on it, report their accuracy, compare with real samples."""

from ..distilled._protocol import EvaluationProtocol
from ._comparison import BASELINES, WHOLE, Comparison, compare
from ._papers import PROTOCOLS, paper_protocol
from ._protocol import EvaluationResult, evaluate

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
