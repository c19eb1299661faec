"""Several processes that do one run together: which they are, and how they communicate.

Under ``torchrun`` every process computes the meta-gradient of its own networks on its own real
batches, over one window, and moves its own copy of the samples down the mean. The copies stay the
same because all see the same mean, so no samples are ever sent.
"""

import atexit
import json
import multiprocessing
import os
import threading
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from ..exceptions import LostProcessError
from .methods.base import Gradient

# How long to wait for the others: longer than the first step with its compilation, and shorter than
# anybody wants to pay for processes that hang.
_TIMEOUT = timedelta(minutes=10)


@dataclass(frozen=True)
class Group:
    """The processes of a run; by default only this one.

    Parameters
    ----------
    rank : int
        Which of them this one is. The first, 0, writes and reports.
    size : int
        How many there are.
    """

    rank: int = 0
    size: int = 1

    def mean(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """Return the means over the processes of tensors of one dtype and device."""
        if self.size == 1:
            return list(tensors)
        flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
        with self._together():
            dist.all_reduce(flat)
        parts = (flat / self.size).split([tensor.numel() for tensor in tensors])
        return [part.view_as(tensor) for part, tensor in zip(parts, tensors)]

    def total(self, array: np.ndarray) -> np.ndarray:
        """Return the sum over the processes of arrays of one shape."""
        if self.size == 1:
            return array
        tensor = torch.from_numpy(array.copy())
        with self._together():
            dist.all_reduce(tensor)
        return tensor.numpy()

    def any(self, flag: bool) -> bool:
        """Return whether a flag is set in any process."""
        return bool(self.total(np.array([float(flag)])) > 0)

    def decide(self, choose: Callable):
        """Return in all processes the (JSON-safe) value that the first one chooses.

        Its error is raised in all: as it is in the first, as a RuntimeError in the others.
        """
        if self.size == 1:
            return choose()
        content, error = b"", None
        if self.rank == 0:
            try:
                answer = {"value": choose()}
            except Exception as raised:
                error, answer = raised, {"error": f"{type(raised).__name__}: {raised}"}
            content = json.dumps(answer).encode()
        length = self.broadcast(np.array([len(content)]))
        content = self.broadcast(np.frombuffer(content.ljust(length[0], b" "), np.uint8))
        if error is not None:
            raise error
        answer = json.loads(content.tobytes())
        if "error" in answer:
            raise RuntimeError(f"The first process stopped: {answer['error']}")
        return answer["value"]

    def averaged(self, local: Gradient) -> Gradient:
        """Return the mean over processes of their losses and gradients."""
        if self.size == 1:
            return local
        # Pixels, bases and labels are the same in all processes, and their gradients are linear in
        # these: the mean of these gives the mean gradient of every learned tensor.
        parts = {"X": local.X, "y": local.y, **{f"extra.{k}": v for k, v in local.extra.items()}}
        if local.batch_accuracy is not None:
            parts["batch_accuracy"] = local.batch_accuracy.to(local.X)
        parts = {name: part for name, part in parts.items() if part is not None}
        loss, *means = self.mean([local.loss.to(local.X), *parts.values()])
        parts = dict(zip(parts, means))
        return replace(
            local,
            loss=loss,
            X=parts["X"],
            y=parts.get("y"),
            extra={k: parts[f"extra.{k}"] for k in local.extra},
            batch_accuracy=parts.get("batch_accuracy"),
        )

    def broadcast(self, array: np.ndarray) -> np.ndarray:
        """Return the first process's array; the others pass one of the same shape and dtype."""
        if self.size == 1:
            return array
        tensor = torch.from_numpy(array.copy())
        with self._together():
            dist.broadcast(tensor, src=0)
        return tensor.numpy()

    @contextmanager
    def _together(self):
        """Raise a clear error if the others do not answer."""
        try:
            yield
        except RuntimeError as error:
            raise LostProcessError(
                f"Process {self.rank} of {self.size} waited for the others in vain: one of them "
                "has ended, failed or hangs, or does something else. All must call fit, score and "
                f"evaluate in the same order. ({str(error).splitlines()[0]})"
            ) from error


def join_group() -> Group:
    """Return the processes that ``torchrun`` or the caller has put together, or this one alone.

    Whoever wants another backend or timeout calls ``torch.distributed.init_process_group`` before.

    Raises
    ------
    ValueError
        If the backend serves no CPU: what processes decide together is sent from there.
    """
    # Work in threads or workers is not done in step with other ranks.
    apart = (
        threading.current_thread() is not threading.main_thread()
        or multiprocessing.current_process().name != "MainProcess"
    )
    if apart or not dist.is_available():
        return Group()
    if not dist.is_initialized():
        if "TORCHELASTIC_RUN_ID" not in os.environ or int(os.environ["WORLD_SIZE"]) == 1:
            return Group()
        # With it NCCL raises an error after the timeout; without it, it ends the process at once.
        os.environ.setdefault("TORCH_NCCL_BLOCKING_WAIT", "1")
        backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
        dist.init_process_group(backend, timeout=_TIMEOUT)
        atexit.register(_leave)
    backend = dist.get_backend_config()
    if dist.get_world_size() > 1 and "cpu:" not in backend:
        raise ValueError(
            "torch.distributed's backend must serve the CPU as well, as that of "
            f"init_process_group('cpu:gloo,cuda:nccl') does; got {backend!r}."
        )
    return Group(dist.get_rank(), dist.get_world_size())


def _leave() -> None:
    if dist.is_initialized():
        dist.destroy_process_group()
