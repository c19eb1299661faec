"""Where and in which pieces the engine computes."""

import ctypes
import os
from contextlib import suppress
from functools import cache

import torch

from .chain import Chain
from .learner import Learner
from .optimizers import InnerOptimizer

# Bytes that the activations of one chunk of a batch may take. On a CPU a chunk should stay near the
# cache, and not be so small that threads idle; on a GPU it only has to fit.
_CHUNK_BYTES = {"cpu": 48 * 2**20}
_CHUNK_BYTES_GPU = 4 * 2**30
# Of synthetic samples. On two cores, 100 samples of 28 x 28 in chunks of 50 take 0.89 of the time
# of chunks of 25, and chunks of 10 or 100 about as long as those of 25.
_SYNTHETIC_CHUNK_BYTES = {"cpu": 96 * 2**20}
# Compilation takes up to a minute and saves about half of the time: worth it from here on.
_SECONDS_TO_COMPILE = 240.0
# Where steps are differentiated by rules: what compilation takes, and what it saves of each step.
# On one core it saves 0.3 to 1.1 ms, on 8, 28 and 32 pixels, through widths of 16 to 128.
_SECONDS_OF_COMPILATION = 60.0
_SECONDS_SAVED = 0.0004


# Freed memory at the end of the heap that the process keeps at most: above all what the blocks of a
# network need for one chunk (`_SYNTHETIC_CHUNK_BYTES`).
_KEPT_BYTES = 512 * 2**20
# glibc's names for what it keeps, and for the size of blocks that it gives back at once.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3


def resolve_device(device) -> torch.device:
    """Return the device that "auto" or a device's name stands for, or raise a ValueError."""
    if device == "auto":
        if not torch.cuda.is_available():
            return torch.device("cpu")
        # Under torchrun every process of a machine has a GPU of its own; perhaps only one is
        # visible.
        local = int(os.environ.get("LOCAL_RANK", torch.cuda.current_device()))
        return torch.device("cuda", local % torch.cuda.device_count())
    try:
        resolved = torch.device(device)
        torch.empty(0, device=resolved)
    except (RuntimeError, AssertionError, NotImplementedError, TypeError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(
            "device must be 'auto' or a device that torch can use here, such as 'cpu' or "
            f"'cuda:0'; got {device!r} ({reason})."
        ) from error
    return resolved


@cache
def keep_freed_memory() -> None:
    """Let the C library keep what tensors free, instead of returning it after each step.

    What goes back to the system comes again page by page, each of which costs as much as the
    arithmetic on it. This holds for the whole process, whose arrays of up to half of _KEPT_BYTES
    then lie on the heap: one small block that lives above them keeps all. It takes precedence over
    thresholds in the environment: Dask's nanny sets one for all of its workers, with which a search
    took 1.8 times as long.
    """
    with suppress(OSError, AttributeError, TypeError):  # another C library than glibc
        mallopt = ctypes.CDLL(None).mallopt
        # An older glibc maps all larger blocks than 32 MiB for themselves.
        if not mallopt(_M_MMAP_THRESHOLD, _KEPT_BYTES // 2):
            mallopt(_M_MMAP_THRESHOLD, 32 * 2**20)
        mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)


def chunk_size(learner: Learner, sample_shape: tuple[int, ...]) -> int:
    """Return how many samples to put through a network at once."""
    return _fitting(learner, sample_shape, _CHUNK_BYTES)


def synthetic_chunk(
    learner: Learner, sample_shape: tuple[int, ...], real_chunk: int | None
) -> int | None:
    """Return how many synthetic samples to put through a network at once.

    None for all if that is so for the real ones: the network couples the samples of a batch.
    """
    if real_chunk is None:
        return None
    return _fitting(learner, sample_shape, _SYNTHETIC_CHUNK_BYTES)


def _fitting(learner: Learner, sample_shape: tuple[int, ...], bytes_of: dict[str, int]) -> int:
    budget = bytes_of.get(learner.device.type, _CHUNK_BYTES_GPU)
    return max(1, budget // learner.activation_bytes(sample_shape))


def pays_to_compile(
    learner: Learner,
    optimizer: InnerOptimizer,
    sample_shape: tuple[int, ...],
    batch_size: int,
    n_steps: float,
) -> bool:
    """Return whether so many inner steps on so many samples repay their compilation.

    It depends only on counts, not on a clock, so that a run decides the same way each time. By
    autograd a step takes 2.5 ms on two cores, and 1.9 ms for each MiB of activations. By rules
    (`Chain`) it is fast from the beginning, and compilation saves a part of a millisecond.
    """
    if learner.device.type != "cpu":
        return False
    chain = Chain.of(learner)
    if chain is not None:
        # Nothing that is compiled is faster than the functions of native.c.
        in_c = chain.is_fused or chain.whole_steps(chain.optimizer(optimizer)) is not None
        return not in_c and n_steps * _SECONDS_SAVED > _SECONDS_OF_COMPILATION
    mib = batch_size * learner.activation_bytes(sample_shape) / 2**20
    return n_steps * (0.0025 + 0.0019 * mib) > _SECONDS_TO_COMPILE
