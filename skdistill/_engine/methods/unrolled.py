"""RaT-BPTT: the loss on real data after an unrolled inner loop [Feng23, Algorithm 1]."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from operator import index as whole
from typing import Protocol

import numpy as np
from torch import Tensor

from ..inner_batches import ALL, InnerBatches, inner_draws
from ..memory import PeakMemory, unrolled_peak
from ..observation import Observation
from ..outer_optimizers import Clip, OuterOptimizer
from ..real_batch import RealBatch, real_draws
from ..steps import Steps
from ..transfer import to_device
from ..unroll import InnerLoop, gradient_norms, meta_gradient
from .base import Gradient, Method, Problem, State, Synthetic


class Sampler(Protocol):
    """Which real samples make the batch of an outer step; see ``skdistill.sampling``."""

    def init_state(self) -> State:
        """Return the state with which a run starts."""

    def prepare(self, X: Tensor, y: Tensor, step: int, state: State) -> State:
        """Return the state for an outer step that starts from these synthetic samples."""

    def batch(self, step: int, state: State) -> np.ndarray:
        """Return the rows of the training set."""


class Schedule(Protocol):
    """Where the window sits; see ``skdistill.windows``."""

    @property
    def uses_accuracy(self) -> bool:
        """Whether `observe` is to see the accuracy on the real batch."""

    def longest(self, window: int, unroll: int) -> int:
        """Return the most steps that are in a window."""

    def init_state(self, window: int, unroll: int) -> State:
        """Return the state with which a run starts."""

    def prepare(
        self,
        step: int,
        gradient_norms: Callable[[], np.ndarray],
        window: int,
        unroll: int,
        state: State,
    ) -> State:
        """Return the state for an outer step, before `draw`."""

    def draw(
        self, rng: np.random.Generator, window: int, unroll: int, state: State
    ) -> tuple[int, int]:
        """Return ``(start, window)`` for one outer step."""

    def observe(self, seen: Observation, window: int, unroll: int, state: State) -> State:
        """Return the state after an outer step."""


@dataclass(frozen=True, eq=False)
class Unrolled(Method):
    """Lines 3 to 11 of [Feng23, Algorithm 1]: the loss on real data and its meta-gradient.

    Parameters
    ----------
    steps : Steps
        The inner step of the networks, and how it is computed; each outer step draws a fresh
        network.
    sampler : Sampler
    schedule : Schedule
    window, unroll : int
        M and T of Algorithm 1.
    batches : InnerBatches
        Which synthetic samples take part in each inner step.
    shared_augmentation : bool, default=False
        Whether the same numbers augment all samples, synthetic and real, in all inner steps of an
        outer step.
    optimizer : OuterOptimizer, default=OuterAdam()
    clip : Clip or None, default=MovingAverageClip()
        As in `Method`.
    """

    steps: Steps
    sampler: Sampler
    schedule: Schedule
    window: int
    unroll: int
    batches: InnerBatches = ALL
    shared_augmentation: bool = False
    optimizer: OuterOptimizer = Method.optimizer
    clip: Clip | None = Method.clip

    def init(self, problem: Problem) -> State:
        """Return the state with which a run starts."""
        return {
            "schedule": self.schedule.init_state(self.window, self.unroll),
            "sampler": self.sampler.init_state(),
        }

    def observe(self, seen: Observation, state: State) -> State:
        """Return the state after an outer step that was not skipped."""
        schedule = self.schedule.observe(seen, self.window, self.unroll, state["schedule"])
        return {**state, "schedule": schedule}

    def gradient(
        self, problem: Problem, synthetic: Synthetic, state: State, step: int
    ) -> tuple[Gradient, State]:
        """Return the loss of outer step ``step`` with its derivatives, and the next state."""
        X, y, rngs = synthetic.X, synthetic.y, problem.rngs
        state = {
            "sampler": self.sampler.prepare(X, y, step, state["sampler"]),
            "schedule": self.schedule.prepare(
                step,
                lambda: self._gradient_norms(problem, synthetic, step),
                self.window,
                self.unroll,
                state["schedule"],
            ),
        }
        start, window = self._draw_window(rngs.numpy("window", step), state)
        # Only the window is shared by the processes of a run.
        index = rngs.draw_index(step)
        theta = self.steps.learner.init(rngs.integer("network", index))
        real = self._real_rows(problem, index, state)
        shared = self._shared_draw(problem, index)
        on_real = self._real_batch(problem, real, index, shared)
        ends: list[Tensor] = []

        def outer_loss(theta: Tensor) -> tuple[Tensor, Tensor]:
            ends.append(theta)
            return on_real.loss(theta)

        loop = self._inner_loop(problem, X, y, index, start + window, shared)
        meta = meta_gradient(loop, theta, start, window, outer_loss)
        X_bar = meta.X
        if shared is not None:
            X_bar = self.steps.augmentation_adjoint(X, shared.repeat(1, len(X)), X_bar)
        accuracy = on_real.accuracy(ends[0]) if self.schedule.uses_accuracy else None
        record = {"start": start, "window": window}
        return Gradient(meta.loss, X_bar, meta.y, record=record, batch_accuracy=accuracy), state

    def check_state(self, problem: Problem, state: State, step: int) -> None:
        """Raise any error if a run cannot continue from a state that was read from a file."""
        super().check_state(problem, state, step)
        # The draw is thrown away: the numbers of a step do not depend on earlier ones.
        self._draw_window(np.random.default_rng(0), state)
        self._real_rows(problem, step, state)

    def peak(self, problem: Problem) -> PeakMemory:
        """Return the memory that an outer step takes."""
        n = self.batches.size(problem)
        whole = self.steps.whole(n)
        return unrolled_peak(
            self.steps.learner,
            self.steps.optimizer.n_slots,
            problem.shape,
            n,
            len(self.sampler.batch(0, self.sampler.init_state())),
            self.schedule.longest(self.window, self.unroll),
            self.steps.chunk,
            problem.chunk,
            problem.real.n_bytes,
            self.steps.is_fused,
            None if whole is None else whole.adjoint_bytes(n, problem.shape),
        )

    def _draw_window(self, rng: np.random.Generator, state: State) -> tuple[int, int]:
        """Return ``(start, window)`` as the schedule draws them, or raise a ValueError."""
        drawn = self.schedule.draw(rng, self.window, self.unroll, state["schedule"])
        try:
            # NumPy's integers, as a schedule of the user's may return, cannot be saved.
            start, window = map(whole, drawn)
        except (TypeError, ValueError):
            start = window = -1
        if window < 1 or start not in range(self.unroll - window + 1):
            raise ValueError(
                f"schedule {type(self.schedule).__name__} must give a window within {self.unroll} "
                "steps: whole numbers (start, window), window at least 1 and start + window at "
                f"most {self.unroll}; its draw returned {drawn!r:.100}."
            )
        return start, window

    def _real_rows(self, problem: Problem, index: int, state: State) -> np.ndarray:
        """Return the rows that the sampler gives, as int64, or raise a ValueError."""
        rows, n = np.asarray(self.sampler.batch(index, state["sampler"])), len(problem.real)
        # Negative rows would count from the end, and a mask would be taken for the rows 0 and 1.
        is_fit = rows.ndim == 1 and rows.size > 0 and rows.dtype.kind in "iu"
        if not is_fit or rows.min() < 0 or rows.max() >= n:
            raise ValueError(
                f"sampler {type(self.sampler).__name__} must give rows of the training set, one or "
                f"more whole numbers from 0 to {n - 1} in one dimension; its batch returned "
                f"{rows!r:.100}."
            )
        return rows.astype(np.int64, copy=False)

    def _shared_draw(self, problem: Problem, index: int) -> Tensor | None:
        """Draw the numbers ``(n_numbers, 1)`` that all samples share, if they share some."""
        return real_draws(problem, 1, index) if self.shared_augmentation else None

    def _inner_loop(
        self,
        problem: Problem,
        X: Tensor,
        y: Tensor,
        index: int,
        n_steps: int,
        shared: Tensor | None,
    ) -> InnerLoop:
        """Return an inner loop with its draws; ``X`` is augmented by shared numbers already."""
        rows = self.batches.draw(problem, index, n_steps)
        batches = None if rows is None else to_device(rows, self.steps.learner.device)
        if shared is not None:
            # What is the same in all inner steps is done once, and undone once.
            X = self.steps.augmented(X, shared.repeat(1, len(X)))
            return InnerLoop(self.steps, X, y, batches)
        n = self.batches.size(problem)
        draws = inner_draws(problem, self.steps.learner, n, index, n_steps)
        return InnerLoop(self.steps, X, y, batches, draws)

    def _gradient_norms(self, problem: Problem, synthetic: Synthetic, step: int) -> np.ndarray:
        """Return the norms of the gradients of all steps of a fresh network.

        They are the same in all processes of a run.
        """
        theta = self.steps.learner.init(problem.rngs.integer("gradient_norms", step))
        shared = self._shared_draw(problem, step)
        loop = self._inner_loop(problem, synthetic.X, synthetic.y, step, self.unroll, shared)
        return gradient_norms(loop, theta, self.unroll).cpu().double().numpy()

    def _real_batch(
        self, problem: Problem, real: np.ndarray, index: int, shared: Tensor | None
    ) -> RealBatch:
        """Return the real batch of an outer step, augmented once."""
        if shared is None:
            draws = real_draws(problem, len(real), index)
        else:
            draws = shared.repeat(1, len(real))
        return RealBatch(self.steps, problem.real, real, problem.chunk, draws)
