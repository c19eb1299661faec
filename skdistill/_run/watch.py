"""Reports on a run in progress: how far it is, and what goes wrong."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from statistics import fmean, median

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning

from .._data.warn import warn
from .._engine.memory import PeakMemory
from .._engine.outer import Record
from ..exceptions import DivergenceError, DivergenceWarning, LongRunWarning
from ..forecast import Hints, advice, duration
from .health import BLOCK, MAX_FAILURES, PATIENCE, has_exploded, has_fallen, in_blocks
from .state import Run

__all__ = ["Watch", "explaining_out_of_memory", "ways_out"]

# Outer steps after which a long run is reported, and the seconds from which a run is long.
_STEPS_TO_FORECAST, _LONG = 5, 600.0


@dataclass(frozen=True)
class Watch:
    """Reports on the runs of an estimator.

    Parameters
    ----------
    name : str
        The estimator's class.
    max_iter : int
        The outer step at which the run ends.
    verbose : int
        Its parameter: with 1 about ten lines a run, with more one for each step.
    advice : str
        What to change if a run does not go well.
    speaks : bool
        Whether to report; errors are raised in any case. Only one of several processes reports.
    expects_progress : bool
        Whether the loss should fall: not if the run starts from samples that were distilled before.
    ways_out : str
        What to do about a run that takes long.
    n_blocks : int
        Blocks of a boosted run, this one included, of whose time to warn; 0 warns of none.
    """

    name: str
    max_iter: int
    verbose: int
    advice: str
    speaks: bool = True
    expects_progress: bool = True
    ways_out: str = ""
    n_blocks: int = 1
    # Seconds of the outer steps that this process has done.
    _seconds: list[float] = field(default_factory=list)
    # And of its first validation.
    _validations: list[float] = field(default_factory=list)

    def begin(self, run: Run) -> None:
        """Report that a run is resumed."""
        if self.speaks and self.verbose and run.step:
            print(f"[{self.name}] goes on from outer step {run.step}")

    def step(self, run: Run, record: Record) -> None:
        """Report the last outer step; warn about a skipped one, and raise an error after many."""
        every = max(1, self.max_iter // 10) if self.verbose == 1 else 1
        if self.speaks and self.verbose and (run.step % every == 0 or run.step == self.max_iter):
            print(
                f"[{self.name}] outer step {run.step}/{self.max_iter}: loss {record.loss:.4f}, "
                f"gradient norm {record.grad_norm:.3g}, {record.seconds:.2f} s"
            )
        self.give_up_after_many_failures(run)
        if not self.speaks:
            return
        if record.skipped and run.state.n_failures == 1:
            warn(
                f"The meta-gradient of outer step {run.step} was not finite; the step was skipped. "
                + self.advice,
                DivergenceWarning,
            )
        if run.step % BLOCK == 0:
            self._look_back(run)
        self._seconds.append(record.seconds)
        if len(self._seconds) == _STEPS_TO_FORECAST:
            self._look_ahead(run)

    def validated(self, run: Run, seconds: float, n_to_come: int) -> None:
        """Warn of how long the run will take, if the first validation makes that another matter.

        So it is if nothing was said of the steps alone, or if most of the time is validation.

        Parameters
        ----------
        run : Run
        seconds : float
            What the validation took.
        n_to_come : int
            How many more there will be.
        """
        if self._validations or not self.speaks:
            return
        self._validations.append(seconds)
        steps = (self.max_iter - run.step) * self._seconds_per_step()
        validations = n_to_come * seconds
        is_news = validations > steps or self.n_blocks * steps <= _LONG
        if is_news and self.n_blocks * (steps + validations) > _LONG:
            warn(
                f"About {duration(steps + validations)} to go{self._of_block()}, "
                f"{duration(validations)} of it for {n_to_come} validations of {seconds:.2g} s. "
                "A larger validation_interval, or fewer eval_steps, take less time.",
                LongRunWarning,
            )

    def _seconds_per_step(self) -> float:
        # The first step may have compiled.
        return fmean(self._seconds[1:] or self._seconds)

    def _of_block(self) -> str:
        """Return which part of the time is told, if it is not all."""
        more = self.n_blocks - 1
        return f" in this block, and as long or longer in each of {more} more" if more > 0 else ""

    def _look_ahead(self, run: Run) -> None:
        """Warn of how long the run will take, if that is long."""
        left, per_step = self.max_iter - run.step, self._seconds_per_step()
        if self.n_blocks * left * per_step > _LONG:
            warn(
                f"About {duration(left * per_step)} to go{self._of_block()}: {left} outer steps of "
                f"{per_step:.2g} s. {self.ways_out}.",
                LongRunWarning,
            )

    def _look_back(self, run: Run) -> None:
        """Warn if the norms explode, or if the loss has not fallen; at the end of a block."""
        norms = [median(block) for block in _blocks(run, "grad_norm")]
        if has_exploded(norms) and not has_exploded(norms[:-1]):
            warn(
                f"The norm of the meta-gradient has risen to {norms[-1]:.3g}, from "
                f"{min(norms):.3g}, at outer step {run.step}. {self.advice}",
                DivergenceWarning,
            )
        losses = _blocks(run, "loss")
        if self.expects_progress and len(losses) == PATIENCE and not has_fallen(losses):
            warn(
                f"The loss has not fallen in {run.step} outer steps: it was "
                f"{fmean(losses[0]):.4g} in the first {BLOCK}, and is {fmean(losses[-1]):.4g}. "
                + self.advice,
                ConvergenceWarning,
            )

    def give_up_after_many_failures(self, run: Run) -> None:
        """Raise DivergenceError if nothing has moved for long."""
        if run.state.n_failures >= MAX_FAILURES:
            raise DivergenceError(
                f"{MAX_FAILURES} meta-gradients in a row were not finite, up to outer step "
                f"{run.step}. {self.advice} The samples from before are kept: transform() returns "
                "them."
            )

    def check_result(self, run: Run, X: np.ndarray) -> None:
        """Raise DivergenceError if the last step was so long that the result has overflowed.

        No later step finds it. Samples that are finite to the networks need not be so in the units
        of the training data, which are those of ``X``.
        """
        tensors = run.state.tensors.values() if run.best is None else ()
        if not (np.isfinite(X).all() and all(bool(each.isfinite().all()) for each in tensors)):
            raise DivergenceError(
                f"What is learned is not finite after outer step {run.step}: a step was too long. "
                + self.advice
            )


def _blocks(run: Run, name: str) -> list[list[float]]:
    """Return the blocks of a column of the history that count.

    There are none if the last does not count: nothing new is reported after such a block.
    """
    blocks = in_blocks(run.raw_history[name][: run.step])
    if not blocks or blocks[-1] is None:
        return []
    return [block for block in blocks if block is not None]


def ways_out(shows_progress: bool, is_kept: bool, costs: Sequence[str]) -> str:
    """Return what to do about a run that takes long, in words.

    Parameters
    ----------
    shows_progress : bool
        Whether the user sees how far the run is.
    is_kept : bool
        Whether there is a checkpoint.
    costs : sequence of str
        What to lower for less time.
    """
    ways = []
    if not shows_progress:
        ways.append("set_callbacks(sklearn.callback.ProgressBar()) shows progress")
    if not is_kept:
        ways.append("checkpoint=PATH keeps the run if it is interrupted")
    return "; ".join([*ways, f"a lower max_iter, {', '.join(costs)} takes less time"])


@contextmanager
def explaining_out_of_memory(
    run: Run, peak: Callable[[], PeakMemory], hints: Hints
) -> Iterator[None]:
    """Add what can be done about it to an error that says so.

    Parameters
    ----------
    run : Run
    peak : callable
        Returns what an outer step takes of the memory; a method need not know.
    hints : Hints
    """
    try:
        yield
    except Exception as error:
        # torch's allocator on the CPU has no error of its own.
        by_torch = isinstance(error, RuntimeError) and "can't allocate" in str(error)
        if by_torch or isinstance(error, MemoryError | torch.OutOfMemoryError):
            text = f"Outer step {run.step + 1} ran out of memory"
            with suppress(NotImplementedError):
                text += f": {advice(peak(), hints)}"
            error.add_note(text)
        raise
