"""What the history of a run shows: skipped steps, exploding meta-gradients, stagnation."""

from collections.abc import Mapping, Sequence
from itertools import groupby
from math import sqrt
from statistics import fmean, median, variance
from typing import Any

from .._data.wording import listed
from .._run.health import (
    BLOCK,
    ERRORS,
    MAX_FAILURES,
    PATIENCE,
    has_exploded,
    has_fallen,
    in_blocks,
)
from ..hardness.sampler import HardnessSampler
from ..windows import SCHEDULES, MovingWindow, StageAwareWindow
from ._case import Case
from ._report import Finding, NotMade

__all__ = ["exploding_gradients", "skipped_steps", "stagnation"]

_NO_HISTORY = NotMade(
    "A set keeps no history of its run: pass the fitted distiller instead of the set."
)
# With these the windows of later outer steps lie elsewhere than those of the first, so that their
# losses are those of networks that were trained for longer, or less long.
_MOVING = (MovingWindow, StageAwareWindow)


def skipped_steps(case: Case) -> Finding | NotMade | None:
    """Look for outer steps that were skipped: their loss or meta-gradient was not finite."""
    stopped = False
    if case.history is None:
        counts = [(run.get("n_skipped"), run.get("n_iter")) for run in case.runs]
        if not all(type(value) is int for pair in counts for value in pair):
            return NotMade("The set does not record how many outer steps were skipped.")
        n_skipped, n_steps = (sum(values) for values in zip(*counts))
        where = ""
    else:
        flags = list(map(bool, case.history.get("skipped", ())))
        n_skipped, n_steps = sum(flags), len(flags)
        streaks = [len(list(each)) for is_skipped, each in groupby(flags) if is_skipped]
        numbers = [str(i) for i, is_skipped in enumerate(flags, start=1) if is_skipped]
        where = f" (number {listed(numbers)}; at most {max(streaks, default=0)} in a row)"
        stopped = bool(flags) and flags[-1] and streaks[-1] >= MAX_FAILURES
    if not n_skipped:
        return None
    end = f" The run ended after {MAX_FAILURES} skipped steps in a row." if stopped else ""
    return Finding(
        "skipped-steps",
        "error" if stopped else "warning",
        f"{n_skipped} of {n_steps} outer steps were skipped{where}, because their loss or their "
        f"meta-gradient was not finite.{end}",
        case.advice,
    )


def exploding_gradients(case: Case) -> Finding | NotMade | None:
    """Look for norms of the meta-gradient far above what they had been."""
    if case.history is None:
        return _NO_HISTORY
    # Whether its run ended so, the highest median, the lowest before it, and where it was. A run
    # that ended so is worse than a later block's higher norms that fell again.
    worst: tuple[bool, float, float, int] | None = None
    longest = 0
    for first, columns in _runs_in(case.history):
        # By the number of the first outer step of each block that counts.
        norms = {
            first + k * BLOCK: median(block)
            for k, block in enumerate(in_blocks(columns["grad_norm"]))
            if block is not None
        }
        starts, values = list(norms), list(norms.values())
        longest = max(longest, len(values))
        ended_so = has_exploded(values)
        for k in range(1, len(values)):
            if not has_exploded(values[: k + 1]):
                continue
            found = ended_so, values[k], min(values[: k + 1]), starts[k]
            if worst is None or found[:2] > worst[:2]:
                worst = found
    if worst is None:
        if longest < 2:
            return NotMade(f"It compares blocks of {BLOCK} outer steps, and the run has only one.")
        return None
    ended_so, high, low, step = worst
    then = ", and the run ended so" if ended_so else "; it fell again later"
    return Finding(
        "exploding-gradients",
        "error" if ended_so else "warning",
        f"The median norm of the meta-gradient in {BLOCK} outer steps rose from {low:.3g} to "
        f"{high:.3g}, from outer step {step} on{then}.",
        case.advice,
    )


def stagnation(case: Case) -> Finding | NotMade | None:
    """Look whether the loss is lower in the second half of a run than at its beginning."""
    if case.history is None:
        return _NO_HISTORY
    change = _what_changes(case.parameters)
    if change is not None:
        return NotMade(
            f"With this {change}, so that losses of early and late outer steps cannot be compared."
        )
    # Later blocks of a boosted set start from samples that were distilled before.
    _, columns = _runs_in(case.history)[0]
    losses, least = columns["loss"], PATIENCE * BLOCK
    if len(losses) < least:
        return NotMade(f"It needs {least} outer steps; the run had {len(losses)}.")
    first = in_blocks(losses)[0]
    rest = [loss for loss in losses[len(losses) // 2 :] if loss is not None]
    if first is None or len(rest) <= BLOCK // 2:
        return NotMade("Too few of the losses are finite.")
    if has_fallen([first, rest]):
        return None
    has_risen = has_fallen([rest, first])
    error = sqrt(variance(first) / len(first) + variance(rest) / len(rest))
    return Finding(
        "stagnation",
        "error" if has_risen else "warning",
        f"The loss on real batches has {'risen' if has_risen else 'not fallen'}: its mean was "
        f"{fmean(first):.4g} in the first {BLOCK} outer steps, and is {fmean(rest):.4g} in the "
        f"second half of {len(losses)} ({ERRORS:g} standard errors of the difference are "
        f"{ERRORS * error:.2g}).",
        f"{case.advice} If the loss is flat, learning_rate may be too low. (A run that started "
        "from a distilled set need not get better.)",
    )


def _runs_in(history: Mapping[str, Sequence[Any]]) -> list[tuple[int, Mapping[str, Sequence[Any]]]]:
    """Return the number of the first outer step and the history of each run.

    There are several in the history of a boosted set, one after the other.
    """
    blocks = history.get("block")
    if blocks is None:
        return [(1, history)]
    runs: list[tuple[int, Mapping[str, Sequence[Any]]]] = []
    first = 0
    for _, members in groupby(blocks):
        after = first + len(list(members))
        columns = {name: values[first:after] for name, values in history.items()}
        runs.append((first + 1, columns))
        first = after
    return runs


def _what_changes(parameters: Mapping[str, Any]) -> str | None:
    """Return the parameter by which later losses are meant to be others, and how, or None."""
    if _moves(parameters.get("schedule")):
        return "schedule the windows move"
    # As in DATM: targets from later epochs of the experts are harder to match. With the same number
    # the range does not grow.
    if parameters.get("first_max_start") not in (None, parameters.get("max_start")):
        return "first_max_start the range of start epochs grows"
    # Provenances have a sampler as text.
    kind, _, _ = str(parameters.get("sampler")).partition("(")
    if kind == HardnessSampler.__name__:
        return "sampler later batches are of harder or easier samples"
    return None


def _moves(schedule: object) -> bool:
    """Return whether a schedule, as provenances have it, is one whose windows move."""
    if not isinstance(schedule, str):
        return False
    if schedule in SCHEDULES:
        return isinstance(SCHEDULES[schedule], _MOVING)
    return schedule.partition("(")[0] in [kind.__name__ for kind in _MOVING]
