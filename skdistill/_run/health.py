"""When a run does not go well: what its history must look like for that.

`watch` asks while a run goes on, `skdistill.diagnosis` asks afterwards.
"""

from collections.abc import Sequence
from math import sqrt
from statistics import fmean, variance

__all__ = [
    "BLOCK",
    "ERRORS",
    "EXPLODES",
    "MAX_FAILURES",
    "PATIENCE",
    "has_exploded",
    "has_fallen",
    "in_blocks",
]

# Skipped outer steps in a row after which a run stops with an error.
MAX_FAILURES = 10
# Outer steps that are judged together: the loss of a step is that of one network and one batch, and
# the norm of a meta-gradient is ten times the usual now and then.
BLOCK = 25
# In healthy runs on digits, wine, iris and breast cancer the medians of the norm fall; they rise to
# at most 1.6 times their lowest.
EXPLODES = 10.0
# Blocks in which the loss must have fallen, and by how many standard errors of the difference.
PATIENCE, ERRORS = 4, 2.0


def in_blocks(column: Sequence[float | None]) -> list[list[float] | None]:
    """Return a column of the history in blocks, without values that were not finite.

    A block of which little is left does not count: it is None.
    """
    parts = [column[i : i + BLOCK] for i in range(0, len(column), BLOCK)]
    finite = [[value for value in part if value is not None] for part in parts]
    return [part if len(part) > BLOCK // 2 else None for part in finite]


def has_exploded(norms: Sequence[float]) -> bool:
    """Return whether the last of the blocks' medians is far above the lowest."""
    return bool(norms) and norms[-1] > EXPLODES * min(norms)


def has_fallen(losses: Sequence[Sequence[float]]) -> bool:
    """Return whether the mean of any block is below that of the first, beyond chance."""
    first = losses[0]

    def error(block: Sequence[float]) -> float:
        return sqrt(variance(first) / len(first) + variance(block) / len(block))

    return any(fmean(first) - fmean(block) > ERRORS * error(block) for block in losses[1:])
