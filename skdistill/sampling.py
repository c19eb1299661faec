"""Which real samples make the batch of an outer step.

During a run a sampler remembers values in a dictionary, its state, which the run carries.
`init_state` makes the state, `prepare` may change it before an outer step, given the synthetic
samples from which the step starts, and `batch` reads it. `skdistill.hardness.AdaptiveSampler` uses
it.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

__all__ = ["UniformSampler"]


class UniformSampler:
    """Every sample once per epoch, in a new random order: the ``d ~ D`` of [Feng23, Algorithm 1].

    A batch is a pure function of the step, so a resumed run has the same batches. If an epoch does
    not divide into whole batches, it leaves out a remainder, which differs each time.

    Parameters
    ----------
    n_samples : int
        Size of the training set.
    batch_size : int
        Samples per batch; at most ``n_samples`` are used.
    permutation : callable
        Maps an epoch's number to a ``numpy.random.Generator``.
    """

    def __init__(
        self,
        n_samples: int,
        batch_size: int,
        permutation: Callable[[int], np.random.Generator],
    ):
        self._n_samples = n_samples
        self._batch_size = min(batch_size, n_samples)
        self._permutation = permutation
        self._epoch = -1
        self._order = np.empty(0, dtype=np.int64)

    def init_state(self) -> dict[str, Any]:
        """Return the state with which a run starts: none."""
        return {}

    def prepare(self, X: object, y: object, step: int, state: dict[str, Any]) -> dict[str, Any]:
        """Return the state unchanged."""
        return state

    def batch(self, step: int, state: dict[str, Any] | None = None) -> np.ndarray:
        """Return the rows of the training set that make the batch of this outer step."""
        epoch, position = divmod(step, self._n_samples // self._batch_size)
        if epoch != self._epoch:
            self._order = self._permutation(epoch).permutation(self._n_samples)
            self._epoch = epoch
        first = position * self._batch_size
        return self._order[first : first + self._batch_size]
