"""The objective of RaT-BPTT: the loss on real data after an unrolled inner loop."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .data import RealData
from .memory import PeakMemory, unrolled_peak
from .steps import Steps, n_chunks
from .streams import Purpose, Streams
from .unroll import InnerLoop, meta_gradient


@dataclass(frozen=True)
class UnrolledObjective:
    """Lines 3 to 11 of Algorithm 1: what the outer loop moves the samples down.

    Parameters
    ----------
    steps : Steps
        The networks of the inner loop, of which each outer step draws a fresh one, what trains
        them, how a step is computed, and how samples are augmented.
    data : RealData
        The training set.
    sampler : object with ``begin``, ``prepare`` and ``batch``
        Which real samples make the batch of an outer step; see ``skdistill.sampling``.
    schedule : object with ``begin``, ``draw`` and ``observe``
        Where the window sits; see ``skdistill.windows``.
    window, unroll : int
        M and T of Algorithm 1.
    n_classes : int
    inner_batch_size : int or None
        Synthetic samples a class in each inner step; None for all.
    classes_per_step : int or None
        Classes whose synthetic samples take part in each inner step; None for all.
    chunk : int or None
        Most real samples that go through the network at once; None for all.
    streams : Streams
        The run's randomness.
    draw : callable or None, default=None
        Maps a CPU generator, a number of samples and their shape to the random numbers of an
        augmentation, ``(n_numbers, n)``. None if there is none.
    """

    steps: Steps
    data: RealData
    sampler: object
    schedule: object
    window: int
    unroll: int
    n_classes: int
    inner_batch_size: int | None
    classes_per_step: int | None
    chunk: int | None
    streams: Streams
    draw: Callable[[torch.Generator, int, tuple[int, ...]], Tensor] | None = None

    def begin(self) -> dict:
        """Return the memory with which a run starts."""
        return {
            "schedule": self.schedule.begin(self.window, self.unroll),
            "sampler": self.sampler.begin(),
        }

    def prepare(self, X: Tensor, y: Tensor, step: int, memory: dict) -> dict:
        """Return the memory for outer step ``step``, which starts from these samples and labels."""
        return {**memory, "sampler": self.sampler.prepare(X, y, step, memory["sampler"])}

    def observe(self, loss: float, memory: dict) -> dict:
        """Return the memory after an outer step with this loss."""
        seen = self.schedule.observe(loss, self.window, self.unroll, memory["schedule"])
        return {**memory, "schedule": seen}

    def gradient(
        self, X: Tensor, y: Tensor, step: int, memory: dict
    ) -> tuple[Tensor, Tensor, Tensor | None, dict]:
        """Return the loss of outer step ``step``, its gradients, and what to record.

        The gradients are those at the samples ``X``, in rows of one sample of each class, and, if
        the labels ``y`` are soft, at these.
        """
        rng = self.streams.numpy(Purpose.WINDOW, step)
        start, window = self.schedule.draw(rng, self.window, self.unroll, memory["schedule"])
        # The window alone is shared by the processes of a run.
        turn = self.streams.turn(step)
        batches = self._inner_batches(len(X), turn, start + window)
        theta = self.steps.learner.init(self.streams.integer(Purpose.NETWORK, turn))
        rows = self.sampler.batch(turn, memory["sampler"])
        outer_loss = self._outer_loss(rows, X.shape[1:], turn)
        n = len(X) if batches is None else batches.shape[1]
        draws = self._inner_draws(n, X.shape[1:], turn, start + window)
        loop = InnerLoop(self.steps, X, y, batches, draws)
        meta = meta_gradient(loop, theta, start, window, outer_loss)
        return meta.loss, meta.X, meta.y, {"start": start, "window": window}

    def peak(self, X: Tensor) -> PeakMemory:
        """Return what an outer step on the samples ``X`` takes of the memory."""
        ipc = len(X) // self.n_classes
        n_synthetic = min(ipc, self.inner_batch_size or ipc) * self._classes_in_a_step
        return unrolled_peak(
            self.steps.learner,
            self.steps.optimizer.n_slots,
            tuple(X.shape[1:]),
            n_synthetic,
            len(self.sampler.batch(0, self.sampler.begin())),
            self.window,
            self.steps.chunk,
            self.chunk,
            self.data.n_bytes,
        )

    @property
    def _classes_in_a_step(self) -> int:
        return min(self.n_classes, self.classes_per_step or self.n_classes)

    def _outer_loss(self, rows, shape: tuple[int, ...], turn: int):
        """Return the loss on the real batch, augmented once, as a function of parameters."""
        draws = None
        if self.draw is not None:
            generator = self.streams.torch(Purpose.REAL_AUGMENTATION, turn)
            draws = self._to_engine(self.draw(generator, len(rows), shape))
        return real_loss(self.steps, self.data, rows, self.chunk, draws)

    def _inner_draws(
        self, n: int, shape: tuple[int, ...], turn: int, n_steps: int
    ) -> Tensor | None:
        """Draw the numbers of each inner step's augmentation, for ``n`` samples; None is none."""
        if self.draw is None:
            return None
        generator = self.streams.torch(Purpose.INNER_AUGMENTATION, turn)
        # Step by step: what an augmentation draws for a batch as a whole differs between steps.
        draws = [self.draw(generator, n, shape) for _ in range(n_steps)]
        return self._to_engine(torch.stack(draws))

    def _to_engine(self, draws: Tensor) -> Tensor:
        return draws.to(device=self.steps.learner.device, dtype=self.steps.learner.dtype)

    def _inner_batches(self, n_synthetic: int, turn: int, n_steps: int) -> Tensor | None:
        """Draw the rows of each inner step; None is all.

        Every step has ``inner_batch_size`` samples of each of ``classes_per_step`` classes: steps
        of one size, for which one compiled step serves.
        """
        ipc, n_classes = n_synthetic // self.n_classes, self._classes_in_a_step
        per_class = min(ipc, self.inner_batch_size or ipc)
        if per_class == ipc and n_classes == self.n_classes:
            return None
        # A stream for each: to draw classes as well does not change which samples a class gives.
        samples = self._subsets(Purpose.INNER_BATCH, turn, (n_steps, self.n_classes, ipc))
        classes = self._subsets(Purpose.INNER_CLASSES, turn, (n_steps, self.n_classes))
        classes = classes[:, :n_classes].sort(dim=1).values[..., None]
        samples = samples[..., :per_class].take_along_dim(classes, dim=1)
        return (samples * self.n_classes + classes).flatten(1).to(self.steps.learner.device)

    def _subsets(self, purpose: Purpose, turn: int, shape: tuple[int, ...]) -> Tensor:
        """Draw random orders of the last axis, of which the first entries are random subsets."""
        generator = self.streams.torch(purpose, turn)
        return torch.rand(shape, generator=generator, dtype=torch.float32).argsort(dim=-1)


def real_loss(
    steps: Steps, data: RealData, rows, chunk: int | None, draws: Tensor | None = None
) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
    """Return the mean loss on these real samples and its gradient as a function of parameters.

    The batch is taken at most ``chunk`` samples at a time: that bounds memory, and on a CPU it is
    faster because a chunk's activations stay near the cache. With ``draws``, the numbers of an
    augmentation ``(n_numbers, len(rows))``, it is augmented; each chunk has its columns.
    """

    def evaluate(theta: Tensor) -> tuple[Tensor, Tensor]:
        total, total_grad = theta.new_zeros(()), torch.zeros_like(theta)
        total_weight = theta.new_zeros(())
        n = n_chunks(len(rows), chunk)
        part_draws = [None] * n if draws is None else draws.tensor_split(n, dim=1)
        for part, numbers in zip(np.array_split(rows, n), part_draws):
            X, y, *weight = data.batch(part)
            if numbers is not None:
                X = steps.augmented(X, numbers)
            loss, grad = steps.gradient(theta, X, y, *weight)
            total += loss
            total_grad += grad
            total_weight += weight[0].sum() if weight else len(y)
        return total / total_weight, total_grad / total_weight

    return evaluate
