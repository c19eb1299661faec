"""How hard samples are to learn, and what a distilled set teaches of the hard ones [Feng23, D]."""

from .disagreement import disagreement_scores, scores_in_a_run
from .forgetting import count_forgetting_events, forgetting_scores
from .losses import loss_scores
from .sampler import AdaptiveSampler, HardnessSampler, WeightedSampler, hardness_weights
from .stratified import HardnessResult, accuracy_by_hardness

__all__ = [
    "AdaptiveSampler",
    "HardnessResult",
    "HardnessSampler",
    "WeightedSampler",
    "accuracy_by_hardness",
    "count_forgetting_events",
    "disagreement_scores",
    "forgetting_scores",
    "hardness_weights",
    "loss_scores",
    "scores_in_a_run",
]
