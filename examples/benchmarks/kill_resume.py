"""Kill a run again and again, at any moment, and check that nothing of it is lost or changed.

Every run is a process that is killed by SIGKILL: a random time after it began, or at a certain
point of writing a checkpoint. The next process resumes the run. After the last kill the run goes on
to its end, and must have the same bits as a run that was never killed.

    python examples/benchmarks/kill_resume.py --kills 100

Needs a system with ``os.fork``. Processes are forked from one that has torch loaded, so a kill
takes a fraction of a second.
"""

import argparse
import os
import signal
import tempfile
import warnings
from functools import partial
from pathlib import Path
from time import perf_counter, sleep

import numpy as np
import torch
from sklearn.datasets import load_iris

from skdistill import RaTBPTTDistiller
from skdistill._files import npz as _npz
from skdistill.windows import MovingWindow

# Functions of `os`, called in writing a checkpoint, in which a process kills itself.
DEADLY = ["fsync", "link", "replace", "mkdir"]


def make(path, max_iter):
    """Return a distiller whose runs have all that a checkpoint must keep."""
    return RaTBPTTDistiller(
        ipc=2,
        max_iter=max_iter,
        window=1,
        unroll=3,
        batch_size=16,
        inner_batch_size=1,
        schedule=MovingWindow(patience=3),
        architecture=network,
        validation_fraction=0.25,
        validation_interval=20,
        eval_steps=5,
        checkpoint=path,
        checkpoint_every=1,
        random_state=0,
        device="cpu",
    )


def network(input_shape, n_classes):
    """Return a network so small that outer steps take milliseconds."""
    return torch.nn.Sequential(
        torch.nn.Linear(input_shape[0], 8), torch.nn.ReLU(), torch.nn.Linear(8, n_classes)
    )


def result(distiller):
    """Return the bits that must be the same."""
    history = {k: v for k, v in distiller.history_.items() if k != "seconds"}
    adam = {name: slots.tobytes() for name, slots in distiller._run.state.slots.items()}
    return distiller.transform()[0].tobytes(), adam, history


def child(path, max_iter, data, prepare):
    """Run `fit` in a process of its own, and return its id."""
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        prepare()
        make(path, max_iter).fit(*data)
        status = 0
    finally:
        os._exit(status)


def make_deadly(name, nth):
    """Have the n-th call of a function end this process, before it does anything."""
    function, calls = getattr(os, name), []

    def deadly(*args, **kwargs):
        calls.append(1)
        if len(calls) == nth:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*args, **kwargs)

    setattr(os, name, deadly)


def make_slow():
    """Have flushing take most of the time, so that most kills are in the middle of writing."""
    fsync = os.fsync
    os.fsync = lambda fd: (sleep(0.02), fsync(fd))


def seconds_of(data, max_iter):
    """Return the seconds of a run."""
    began = perf_counter()
    make(None, max_iter).fit(*data)
    return perf_counter() - began


def steps_saved(path):
    """Return the outer steps that are in a checkpoint."""
    if not path.exists():
        return 0
    with open(path, "rb") as file:
        return _npz.read(file, "skdistill.Run", 1, (), "run.")[1]["run"]["state"]["step"]


def kill_and_resume(folder, n_kills, seed):
    """Return the steps that each process left, and those of the run; raise if bits differ."""
    data, rng = load_iris(return_X_y=True), np.random.default_rng(seed)
    # The first step is the slowest, because torch warms up.
    *_, eleven_steps = (seconds_of(data, n) for n in (1, 11))
    # More steps than all processes together can do before they are killed.
    max_iter = 8 * n_kills
    whole = result(make(None, max_iter).fit(*data))
    path, steps = folder / "killed.npz", []
    for i in range(n_kills):
        # In turn: at any moment; at a deadly call; at any moment, with slow flushing; at a call.
        name = DEADLY[i // 2 % len(DEADLY)] if i % 2 else None
        nth = int(rng.integers(1, 9))
        prepare = partial(make_deadly, name, nth) if name else make_slow if i % 4 else bool
        pid = child(path, max_iter, data, prepare)
        if name is None:
            sleep(rng.uniform(0, eleven_steps))
            os.kill(pid, signal.SIGKILL)
        status = os.waitpid(pid, 0)[1]
        if not os.WIFSIGNALED(status):
            raise RuntimeError(f"process {i} was to be killed, and ended with status {status}.")
        steps.append(steps_saved(path))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        last = make(path, max_iter).fit(*data)
    if result(last) != whole:
        raise RuntimeError("the run that was killed has other bits than the one that was not.")
    left = sorted(p.name for p in folder.iterdir() if "killed" in p.name or p.name[0] == ".")
    if left != ["killed.npz", "killed.npz.previous"]:
        raise RuntimeError(f"other files than the two checkpoints were left: {left}.")
    return steps, max_iter


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    # A process that has had threads at work cannot be forked.
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        steps, max_iter = kill_and_resume(Path(folder), arguments.kills, arguments.seed)
    print(f"outer steps of {max_iter} that each of {len(steps)} killed processes left:")
    print(*steps)
    print("same bits: yes")
