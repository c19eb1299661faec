"""How good a set is: train networks on it, report their accuracy, compare with real samples."""

from ._protocol import BASELINES, WHOLE, Comparison, EvaluationResult, compare, evaluate

__all__ = ["BASELINES", "WHOLE", "Comparison", "EvaluationResult", "compare", "evaluate"]
