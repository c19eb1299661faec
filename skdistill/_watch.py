"""What is said of a run while it goes on: how far it is, and what goes wrong."""

import warnings
from dataclasses import dataclass

import torch

from ._engine.outer import Record
from ._run import Run
from .exceptions import DivergenceError, DivergenceWarning

__all__ = ["Watch", "explain_out_of_memory"]

# Skipped outer steps in a row after which a run gives up.
_MAX_FAILURES = 10
_ADVICE = (
    "Use a shorter window, a lower inner_lr, or check the scale of X (section 3 and appendix C.2 "
    "of the paper)."
)


@dataclass(frozen=True)
class Watch:
    """Reports on the runs of an estimator.

    Parameters
    ----------
    name : str
        The estimator's class.
    max_iter, verbose : int
        Its parameters: with ``verbose=1`` about ten lines a run, with more one for each step.
    speaks : bool
        Whether anything is said; errors are raised in any case. One of several processes speaks.
    """

    name: str
    max_iter: int
    verbose: int
    speaks: bool

    def begin(self, run: Run) -> None:
        """Say that a run is taken up."""
        if self.speaks and self.verbose and run.step:
            print(f"[{self.name}] goes on from outer step {run.step}")

    def step(self, run: Run, record: Record) -> None:
        """Report the last outer step; warn about a skipped one, and give up after many."""
        every = max(1, self.max_iter // 10) if self.verbose == 1 else 1
        if self.speaks and self.verbose and (run.step % every == 0 or run.step == self.max_iter):
            print(
                f"[{self.name}] outer step {run.step}/{self.max_iter}: loss {record.loss:.4f}, "
                f"gradient norm {record.grad_norm:.3g}, {record.seconds:.2f} s"
            )
        self.give_up_after_many_failures(run)
        if self.speaks and record.skipped and run.state.n_failures == 1:
            warnings.warn(
                f"The meta-gradient of outer step {run.step} was not finite; the step was skipped. "
                + _ADVICE,
                DivergenceWarning,
                stacklevel=4,
            )

    def give_up_after_many_failures(self, run: Run) -> None:
        """Raise DivergenceError if nothing has moved for long."""
        if run.state.n_failures >= _MAX_FAILURES:
            raise DivergenceError(
                f"{_MAX_FAILURES} meta-gradients in a row were not finite, up to outer step "
                f"{run.step}. {_ADVICE} The samples from before are kept: transform() returns them."
            )


def explain_out_of_memory(error: Exception, run: Run) -> None:
    """Add what can be done about it to an error that says so."""
    out_of_memory = isinstance(error, MemoryError | torch.OutOfMemoryError)
    # torch's allocator on the CPU has no error of its own.
    if out_of_memory or (isinstance(error, RuntimeError) and "can't allocate" in str(error)):
        error.add_note(
            f"Outer step {run.step + 1} ran out of memory: lower batch_size, window or ipc, or use "
            "an inner_batch_size."
        )
