"""Randomness as a pure function of a seed, a step and a purpose.

No generator is carried along: every draw of a run is made from ``(seed, purpose, step)``. A run can
therefore be resumed at any step, repeated bit for bit, and changed in one purpose (more networks,
another batch size) without moving the draws of the others. All draws are made on the CPU, so that a
run on another device starts from the same numbers, and no global random state is read or written.
"""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import torch


class Purpose(IntEnum):
    """What a draw is for. The numbers are part of what makes a run repeatable: only append."""

    SYNTHETIC = 0
    WINDOW = 1
    REAL_BATCH = 2
    NETWORK = 3
    INNER_BATCH = 4
    EVALUATION_NETWORK = 5
    EVALUATION_BATCH = 6
    CORESET = 7
    INNER_AUGMENTATION = 8
    REAL_AUGMENTATION = 9
    HARDNESS = 10
    INNER_CLASSES = 11
    EVALUATION_AUGMENTATION = 12


@dataclass(frozen=True)
class Streams:
    """Independent random streams that all derive from one ``seed``.

    Parameters
    ----------
    seed : int
    rank, n_ranks : int
        Which of how many processes of a run draws from them.
    """

    seed: int
    rank: int = 0
    n_ranks: int = 1

    def turn(self, step: int) -> int:
        """Return the number of this process's share in an outer step, among all of the run.

        What is to differ between processes is drawn by it, and what they share by the step.
        """
        return step * self.n_ranks + self.rank

    def integer(self, purpose: Purpose, step: int) -> int:
        """Return 32 well-mixed bits (torch's CPU generator seeds itself from no more)."""
        return int(np.random.SeedSequence((self.seed, purpose, step)).generate_state(1)[0])

    def numpy(self, purpose: Purpose, step: int) -> np.random.Generator:
        """Return a NumPy generator for this purpose and step."""
        return np.random.default_rng((self.seed, purpose, step))

    def torch(self, purpose: Purpose, step: int) -> torch.Generator:
        """Return a torch CPU generator for this purpose and step."""
        return torch.Generator().manual_seed(self.integer(purpose, step))
