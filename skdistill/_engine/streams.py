"""Randomness as a pure function of a seed, a step and a purpose.

No generator is carried along: every draw of a run is made from ``(seed, purpose, step)``. A run can
therefore be resumed at any step, repeated bit for bit, and changed in one purpose (more networks,
another batch size) without moving the draws of the others. All draws are made on the CPU, so that a
run on another device starts from the same numbers, and no global random state is read or written.
"""

import hashlib
from dataclasses import dataclass

import numpy as np
import torch

# The first purposes have numbers. Repeating a run depends on them, so no other purpose may get
# them; the names of newer purposes are hashed.
_NUMBERS = {
    "synthetic": 0,
    "window": 1,
    "real_batch": 2,
    "network": 3,
    "inner_batch": 4,
    "evaluation_network": 5,
    "evaluation_batch": 6,
    "coreset": 7,
    "inner_augmentation": 8,
    "real_augmentation": 9,
    "hardness": 10,
    "inner_classes": 11,
    "evaluation_augmentation": 12,
}


def purpose_number(name: str) -> int:
    """Return the integer that stands for a purpose: the same everywhere, and unique."""
    if name in _NUMBERS:
        return _NUMBERS[name]
    # 64 bits, the highest of them set: never a small number.
    digest = hashlib.sha256(name.encode()).digest()
    return int.from_bytes(digest[:8], "big") | 2**63


@dataclass(frozen=True)
class Streams:
    """Independent random streams that all derive from one ``seed``, by the name of a purpose.

    Parameters
    ----------
    seed : int
    rank, n_ranks : int
        This process, and the number of processes of the run.
    """

    seed: int
    rank: int = 0
    n_ranks: int = 1

    def draw_index(self, step: int) -> int:
        """Return a step number that is unique to this process.

        Draws that must differ between processes use it; draws that they share use the step.
        """
        return step * self.n_ranks + self.rank

    def integer(self, purpose: str, step: int) -> int:
        """Return 32 well-mixed bits (torch's CPU generator seeds itself from no more)."""
        entropy = (self.seed, purpose_number(purpose), step)
        return int(np.random.SeedSequence(entropy).generate_state(1)[0])

    def numpy(self, purpose: str, step: int) -> np.random.Generator:
        """Return a NumPy generator for this purpose and step."""
        return np.random.default_rng((self.seed, purpose_number(purpose), step))

    def torch(self, purpose: str, step: int) -> torch.Generator:
        """Return a torch CPU generator for this purpose and step."""
        return torch.Generator().manual_seed(self.integer(purpose, step))
