"""The global generators of random numbers, which belong to the caller."""

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import RLock
from typing import Any

import joblib
import numpy as np
import torch

# torch's layers initialize themselves from the global generator; this lock keeps two threads of
# this package from borrowing it at once. One thread may borrow it again: a function that builds a
# network may call the package itself.
GLOBAL_GENERATOR = RLock()


@contextmanager
def watched(device: torch.device) -> Iterator[set[str]]:
    """Yield a set that gets, at the end, whose global states changed; they are restored.

    The lock keeps other threads of this package from changing them meanwhile; a change may still
    have come from another thread of the caller.
    """
    generators, moved = _global_generators(device), set[str]()
    with GLOBAL_GENERATOR:
        before = {whose: get() for whose, (get, _) in generators.items()}
        try:
            yield moved
        finally:
            for whose, (get, put_back) in generators.items():
                if joblib.hash(get()) != joblib.hash(before[whose]):
                    put_back(before[whose])
                    moved.add(whose)


def _global_generators(
    device: torch.device,
) -> dict[str, tuple[Callable[[], Any], Callable[[Any], object]]]:
    """Return the functions that get and set the state of each global generator, by its owner."""
    generators: dict[str, tuple[Callable[[], Any], Callable[[Any], object]]] = {
        "torch's": (
            lambda: torch.get_rng_state().numpy(),
            lambda state: torch.set_rng_state(torch.from_numpy(state)),
        ),
        "NumPy's": (np.random.get_state, np.random.set_state),
        "Python's": (random.getstate, random.setstate),
    }
    if device.type == "cuda":
        generators["CUDA's"] = (
            lambda: torch.cuda.get_rng_state(device).numpy(),
            lambda state: torch.cuda.set_rng_state(torch.from_numpy(state), device),
        )
    return generators
