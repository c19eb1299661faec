"""The objective of distribution matching: each class's mean embedding, synthetic against real."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from .data import RealData
from .learner import Learner
from .memory import PeakMemory, matching_peak
from .steps import n_chunks
from .streams import Purpose, Streams


class Embedding:
    """What a network gives to its last linear layer: a pure function of parameters and samples.

    The last layer is the one that is called last, wherever the network keeps it.

    Parameters
    ----------
    learner : Learner
    sample_shape : tuple of int

    Raises
    ------
    ValueError
        If the network does not end in a linear layer.
    """

    def __init__(self, learner: Learner, sample_shape: tuple[int, ...]):
        self.learner = learner
        self._layer = _last_linear_layer(learner, sample_shape)

    def __call__(self, theta: Tensor, X: Tensor) -> Tensor:
        """Return the embedded samples, ``(n, n_features)``."""
        inputs: list[Tensor] = []
        handle = self._layer.register_forward_pre_hook(lambda layer, args: inputs.append(args[0]))
        try:
            self.learner.logits(theta, X)
        finally:
            handle.remove()
        return inputs[-1].flatten(1)


@torch.no_grad()
def _last_linear_layer(learner: Learner, sample_shape: tuple[int, ...]) -> nn.Linear:
    """Return the linear layer that a network calls last, from a probe run."""
    calls: list[tuple[nn.Linear, int]] = []

    def note(layer, args):
        calls.append((layer, len(args[0])))

    linear = [m for m in learner.module.modules() if isinstance(m, nn.Linear)]
    handles = [m.register_forward_pre_hook(note) for m in linear]
    X = torch.zeros(2, *sample_shape, device=learner.device, dtype=learner.dtype)
    try:
        n_classes = learner.module(X).shape[1]
    finally:
        for handle in handles:
            handle.remove()
    layer, n = calls[-1] if calls else (None, 0)
    if layer is None or layer.out_features != n_classes or n != len(X):
        raise ValueError(
            f"architecture must build a network that ends in a linear layer (torch.nn.Linear) with "
            f"{n_classes} outputs, for its input is what is matched; "
            f"the last linear layer of the one built is {layer}."
        )
    return layer


@dataclass(frozen=True)
class MatchingObjective:
    """Equation 4 of Zhao and Bilen (2023): what the outer loop moves the samples down.

    Parameters
    ----------
    embed : Embedding
        Of the networks, of which each outer step draws a fresh one.
    data : RealData
        The training set.
    rows : sequence of ndarray
        The rows of each class in it.
    batch_size : int
        Real samples a class in each outer step; a class that has fewer uses all.
    chunk : int or None
        Most samples that go through the network at once, but for the synthetic samples of a class,
        which stay together; None for all.
    streams : Streams
        The run's randomness.
    augmentation : object with ``draw`` and ``apply``, or None
        See ``skdistill.augmentation``.
    class_weight : Tensor of shape (n_classes, 1) or None, default=None
        What multiplies each class's squared distance; None is 1.
    """

    embed: Embedding
    data: RealData
    rows: Sequence[np.ndarray]
    batch_size: int
    chunk: int | None
    streams: Streams
    augmentation: object | None = None
    class_weight: Tensor | None = None

    def begin(self) -> dict:
        """Return the memory with which a run starts: none."""
        return {}

    def prepare(self, X: Tensor, y: Tensor, step: int, memory: dict) -> dict:
        """Return the memory for outer step ``step``: what it was."""
        return memory

    def observe(self, loss: float, memory: dict) -> dict:
        """Return the memory after an outer step with this loss."""
        return memory

    def peak(self, X: Tensor) -> PeakMemory:
        """Return what an outer step on the samples ``X`` takes of the memory."""
        n_real = sum(min(len(rows), self.batch_size) for rows in self.rows)
        # Whole classes make a chunk of the synthetic samples.
        ipc = len(X) // len(self.rows)
        chunk = None if self.chunk is None else max(ipc, self.chunk)
        return matching_peak(
            self.embed.learner, tuple(X.shape[1:]), len(X), n_real, chunk, self.data.n_bytes
        )

    def gradient(
        self, X: Tensor, y: Tensor, step: int, memory: dict
    ) -> tuple[Tensor, Tensor, Tensor | None, dict]:
        """Return the loss of outer step ``step``, its gradients, and what to record.

        The gradients are those at the samples ``X``, in rows of one sample of each class, and, if
        the labels ``y`` are soft, at these.
        """
        turn = self.streams.turn(step)
        theta = self.embed.learner.init(self.streams.integer(Purpose.NETWORK, turn))
        draws = self._draws(X.shape[1:], turn)
        real = self._real_means(theta, turn, draws)
        if y.is_floating_point():
            return *self._soft_distance(theta, X, y, real, draws), {}
        return *self._distance(theta, X, real, draws), None, {}

    def _draws(self, shape: tuple[int, ...], turn: int) -> Tensor | None:
        """Draw the numbers of each class's augmentation, ``(n_numbers, n_classes)``.

        Siamese: a class's samples, real and synthetic, all get the same. Class by class, for what
        an augmentation draws for a batch as a whole is to differ between classes.
        """
        if self.augmentation is None:
            return None
        generator = self.streams.torch(Purpose.REAL_AUGMENTATION, turn)
        draws = [self.augmentation.draw(generator, 1, shape) for _ in self.rows]
        learner = self.embed.learner
        return torch.cat(draws, dim=1).to(device=learner.device, dtype=learner.dtype)

    def _augmented(self, X: Tensor, y: Tensor, draws: Tensor | None) -> Tensor:
        return X if draws is None else self.augmentation.apply(X, draws[:, y])

    @torch.no_grad()
    def _real_means(self, theta: Tensor, turn: int, draws: Tensor | None) -> Tensor:
        """Return each class's (weighted) mean embedding of a real batch."""
        rng = self.streams.numpy(Purpose.REAL_BATCH, turn)
        rows = np.concatenate([_some(rows, self.batch_size, rng) for rows in self.rows])
        classes = torch.arange(len(self.rows), device=theta.device)[:, None]
        sums, total = 0, 0
        for part in np.array_split(rows, n_chunks(len(rows), self.chunk)):
            X, y, *weight = self.data.batch(part)
            embedded = self.embed(theta, self._augmented(X, y, draws))
            share = (classes == y).to(embedded)
            if weight:
                share *= weight[0]
            # A product sums in the same order each time, as scattered additions on a GPU do not.
            sums = sums + share @ embedded
            total = total + share.sum(dim=1, keepdim=True)
        return sums / total

    def _distance(
        self, theta: Tensor, X: Tensor, real: Tensor, draws: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Return the squared distance of mean embeddings, summed over classes, and its gradient.

        Classes are independent, so whole classes make a chunk. ``X`` holds rows of one sample of
        each class.
        """
        n_classes = len(real)
        X = X.unflatten(0, (-1, n_classes))
        most = None if self.chunk is None else max(1, self.chunk // len(X))
        total, grad = X.new_zeros(()), torch.empty_like(X)
        for classes in np.array_split(np.arange(n_classes), n_chunks(n_classes, most)):
            y = torch.from_numpy(classes).to(X.device)
            part = X[:, y].detach().requires_grad_()
            with torch.enable_grad():
                samples = self._augmented(part.flatten(0, 1), y.repeat(len(X)), draws)
                means = self.embed(theta, samples).unflatten(0, part.shape[:2]).mean(dim=0)
                loss = self._sum((means - real[y]) ** 2, y)
            grad[:, y] = torch.autograd.grad(loss, part)[0]
            total += loss.detach()
        return total, grad.flatten(0, 1)

    def _soft_distance(
        self, theta: Tensor, X: Tensor, y: Tensor, real: Tensor, draws: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the distance and its gradients where a sample counts by its labels in each class.

        A class's mean is over all samples, each with its label as its weight, so that labels that
        are one-hot make the distance that hard labels make. Samples then hang together.
        """
        X, y = X.detach().requires_grad_(), y.detach().requires_grad_()
        with torch.enable_grad():
            classes = torch.arange(len(real), device=X.device).repeat(len(X) // len(real))
            embedded = self.embed(theta, self._augmented(X, classes, draws))
            # A class may lose all its labels, and then has no mean: 0, with finite slopes.
            total = y.sum(dim=0).clamp(min=torch.finfo(y.dtype).eps)
            loss = self._sum(((y.T @ embedded) / total[:, None] - real) ** 2)
        return loss.detach(), *torch.autograd.grad(loss, (X, y))

    def _sum(self, squares: Tensor, classes: Tensor | slice = slice(None)) -> Tensor:
        """Return the sum of squares that have a row for each of these classes."""
        if self.class_weight is not None:
            squares = squares * self.class_weight[classes]
        return squares.sum()


def _some(rows: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """Return ``n`` of these rows at random, or all if they are no more."""
    return rows if len(rows) <= n else rng.choice(rows, n, replace=False)
