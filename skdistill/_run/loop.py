"""The outer loop of a run: a function of values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import ceil
from time import perf_counter

import numpy as np
from torch import Tensor

from .._engine.data import as_tensor
from .._engine.group import Group
from .._engine.methods.base import Method, Problem
from .._engine.outer import Limits, observed, update
from .._engine.parametrization import Parametrization
from ..learning_rates import LearningRateSchedule, factor_of
from .callbacks import OuterCallbacks
from .checkpoint import Checkpoint, NoCheckpoint
from .held_out import HeldOut
from .state import Best, Run, RunState
from .watch import Watch

__all__ = ["OuterLoop", "distill", "is_complete", "validate_anew"]


@dataclass(frozen=True, eq=False)
class OuterLoop:
    """All that the outer steps of a run need, and when they end.

    Parameters
    ----------
    method : Method
    problem : Problem
    parametrization : Parametrization
        Samples and labels as a function of the learned tensors.
    rates : mapping of str to float or Tensor
        The learning rate of each tensor, before the schedule.
    schedule : LearningRateSchedule
        What multiplies the learning rates in each outer step.
    limits : mapping of str to (float or Tensor or None, float or Tensor or None)
        The least and greatest values of tensors that are kept between such.
    ema_decay : float or None
        Decay of the averages of the tensors; None if they are not averaged.
    sample_norm : float or None
        The norm to which samples are scaled after each outer step.
    max_iter : int
        By which the schedule goes.
    last_step : int
        The outer step with which the run ends: `max_iter`, or an earlier one.
    held_out : HeldOut or None
        The data on which the samples are validated; None validates nothing.
    validation_interval : int
        Outer steps between two validations.
    n_iter_no_change : int or None
        Outer steps without a better validation after which the run ends.
    stops_every : int
        Outer steps between two at which it may end for that.
    group : Group
        The processes of the run.
    """

    method: Method
    problem: Problem
    parametrization: Parametrization
    rates: Mapping[str, float | Tensor]
    schedule: LearningRateSchedule
    limits: Mapping[str, Limits]
    ema_decay: float | None
    sample_norm: float | None
    max_iter: int
    last_step: int
    held_out: HeldOut | None
    validation_interval: int
    n_iter_no_change: int | None
    stops_every: int
    group: Group

    def rates_at(self, step: int) -> Mapping[str, float | Tensor]:
        """Return the learning rate of each tensor in the outer step after so many."""
        factor = factor_of(self.schedule, step, self.max_iter)
        if factor == 1:
            return self.rates
        return {name: factor * rate for name, rate in self.rates.items()}


def distill(
    run: Run,
    loop: OuterLoop,
    watch: Watch,
    callbacks: OuterCallbacks,
    checkpoint: Checkpoint | NoCheckpoint,
    from_file: bool,
) -> None:
    """Do a run's outer steps; the run holds the last good state at every moment.

    Parameters
    ----------
    run : Run
    loop : OuterLoop
    watch : Watch
    callbacks : OuterCallbacks
    checkpoint : Checkpoint or NoCheckpoint
        Of several processes only the first has one.
    from_file : bool
        Whether the run comes from a checkpoint, in whichever process.
    """
    began = perf_counter() - run.seconds
    n_steps = loop.last_step - run.step
    watch.begin(run)
    callbacks.fit_begins()
    if from_file:
        # A run that had stopped after failures when it was saved stops again.
        watch.give_up_after_many_failures(run)
    for _ in range(n_steps):
        if has_stagnated(run, loop.n_iter_no_change, loop.stops_every):
            break
        callbacks.step_begins()
        state, record = update(
            loop.method,
            loop.problem,
            run.state,
            loop.parametrization,
            loop.rates_at(run.step),
            loop.limits,
            loop.ema_decay,
            loop.sample_norm,
            loop.group,
        )
        validation_began = perf_counter()
        best, validated = validate(run, state, loop)
        validation_seconds = perf_counter() - validation_began
        accuracy = validated.get("validation_accuracy")
        # A longer run would not validate this step, so what continues must not depend on it.
        seen = None if state.step % loop.validation_interval else accuracy
        state = observed(loop.method, state, record, seen)
        state = replace(state, best=best, seconds=perf_counter() - began)
        run.advance(state, record.row() | validated)
        watch.step(run, record)
        if accuracy is not None:
            n_to_come = ceil(loop.last_step / loop.validation_interval) - ceil(
                run.step / loop.validation_interval
            )
            watch.validated(run, validation_seconds, n_to_come)
        checkpoint.save_if_due(run)
        if callbacks.step_ends():
            break
    callbacks.fit_ends()


def validate(run: Run, state: RunState, loop: OuterLoop) -> tuple[Best | None, dict]:
    """Every `validation_interval` steps, and at the end, validate the samples in the next state.

    Returns the best samples so far, and the values for the history. The end of a run off the
    interval is in the history alone: a run that goes on from there must be as one that was not
    interrupted. `Run.best_or_last` counts it.
    """
    if loop.held_out is None:
        return run.best, {}
    is_due = state.step % loop.validation_interval == 0
    if not is_due and state.step != loop.last_step:
        return run.best, {"validation_accuracy": None}
    accuracy = _accuracy(state.result, loop, loop.held_out)
    best = run.best
    if is_due and (best is None or accuracy > best.accuracy):
        best = Best(accuracy, state.step, _arrays(state.result))
    return best, {"validation_accuracy": accuracy}


def validate_anew(run: Run, loop: OuterLoop) -> None:
    """Measure anew, in a run of an earlier fit, the accuracies that later ones are compared with.

    Those are of its best samples and of its last. Data, weights, networks and their training may be
    others than in that fit, and accuracies of two kinds cannot be compared. If all are the same, so
    are the accuracies.
    """
    best, last = run.best, run.last if run.step else {}
    if best is None or loop.held_out is None:
        return
    tensors = {name: as_tensor(x).to(loop.problem.device) for name, x in best.tensors.items()}
    best = replace(best, accuracy=_accuracy(tensors, loop, loop.held_out))
    if last.get("validation_accuracy") is not None:
        accuracy = best.accuracy
        if best.step != run.step:
            accuracy = _accuracy(run.state.result, loop, loop.held_out)
        run.raw_history["validation_accuracy"][run.step - 1] = accuracy
        if run.step % loop.validation_interval == 0 and accuracy > best.accuracy:
            best = Best(accuracy, run.step, _arrays(run.state.result))
    run.state = replace(run.state, best=best)


def _accuracy(tensors: Mapping[str, Tensor], loop: OuterLoop, held_out: HeldOut) -> float:
    """Return the accuracy of the samples that these tensors stand for, on held-out data."""
    synthetic = loop.parametrization.synthetic(tensors)
    changes = loop.method.protocol(synthetic.extra)
    return held_out.accuracy(synthetic.X, synthetic.y, changes)


def _arrays(tensors: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
    return {name: tensor.cpu().numpy() for name, tensor in tensors.items()}


def has_stagnated(run: Run, n_iter_no_change: int | None, stops_every: int) -> bool:
    """Return whether the best of a run's outer steps is ``n_iter_no_change`` steps ago.

    Only a step that was validated can tell: the steps since the last one may be better.
    """
    return (
        n_iter_no_change is not None
        and run.best is not None
        and run.step % stops_every == 0
        and run.step - run.best.step >= n_iter_no_change
    )


def is_complete(run: Run, max_iter: int, n_iter_no_change: int | None, stops_every: int) -> bool:
    """Return whether a run is at its end."""
    return run.step >= max_iter or has_stagnated(run, n_iter_no_change, stops_every)
