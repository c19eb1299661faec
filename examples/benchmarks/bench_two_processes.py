"""Time outer steps of two processes, against one process that does the shares of both.

Each process has half of the cores; the single process has all of them, or half, whichever is
faster. Runs alternate, so that a busy machine slows all of them.

    python examples/benchmarks/bench_two_processes.py --steps 20
"""

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import warnings
from dataclasses import replace
from functools import partial
from time import perf_counter

import report
import torch
import torch.distributed as dist
from sklearn.datasets import load_digits

from skdistill import RaTBPTTDistiller
from skdistill._engine import outer
from skdistill._engine.group import join_group
from skdistill._engine.methods.base import Gradient, Method
from skdistill._engine.streams import Streams
from skdistill._run import loop
from skdistill.networks import ConvNet


class BothShares(Method):
    """What two processes would do, in one."""

    def __init__(self, shares):
        self.shares = shares

    def init(self, problem):
        """Return the state of either."""
        return self.shares[0][0].init(problem)

    def observe(self, seen, state):
        """Return the state of either."""
        return self.shares[0][0].observe(seen, state)

    def gradient(self, problem, synthetic, state, step):
        """Return the mean over both shares."""
        found = [method.gradient(own, synthetic, state, step)[0] for method, own in self.shares]
        loss, X = (sum(getattr(each, name) for each in found) / 2 for name in ("loss", "X"))
        return Gradient(loss, X, record=found[0].record), state


class BothDistiller(RaTBPTTDistiller):
    """A distiller whose one process does the shares of two."""

    def _make_method(self, problem):
        shares = []
        for rank in range(2):
            own = replace(problem, rngs=Streams(problem.rngs.seed, rank, 2))
            shares.append((super()._make_method(own), own))
        return BothShares(shares)


def seconds(kind, n_steps, width):
    """Return the seconds of some outer steps, after one that does not count."""
    times = []

    def update(*args):
        if join_group().size > 1:
            dist.barrier()
        began = perf_counter()
        result = outer.update(*args)
        times.append(perf_counter() - began)
        return result

    loop.update = update
    X, y = load_digits(return_X_y=True)
    make = RaTBPTTDistiller if kind == "two" else BothDistiller
    make(
        ipc=1,
        max_iter=n_steps + 1,
        image_shape=(1, 8, 8),
        architecture=partial(ConvNet, width=width, depth=2),
        compile=False,
        random_state=0,
        device="cpu",
    ).fit(X, y)
    return sum(times[1:])


def start(kind, arguments, threads, rank=None, port=0):
    """Start a process that prints its seconds."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    if rank is not None:
        environment |= {
            "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2",
            "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "TORCHELASTIC_RUN_ID": "none",
        }  # fmt: skip
    command = [sys.executable, __file__, "--kind", kind, "--steps", str(arguments.steps)]
    command += ["--width", str(arguments.width)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)


def result(process):
    """Return what a process printed."""
    out, _ = process.communicate()
    return json.loads(out.splitlines()[-1])


def compare(arguments):
    """Return seconds of two processes, and of one with half and with all of the cores."""
    cores = os.cpu_count()
    half = max(1, cores // 2)
    times = {"two": [], "one, half of the cores": [], "one, all cores": []}
    for _ in range(arguments.repeats):
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            port = s.getsockname()[1]
        both = [start("two", arguments, half, rank, port) for rank in range(2)]
        times["two"].append(max(map(result, both)))
        times["one, half of the cores"].append(result(start("one", arguments, half)))
        times["one, all cores"].append(result(start("one", arguments, cores)))
    return {name: statistics.median(values) for name, values in times.items()}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", help="file to write")
    parser.add_argument("--kind", choices=["one", "two"], help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    if arguments.kind:
        torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
        print(json.dumps(seconds(arguments.kind, arguments.steps, arguments.width)))
    else:
        times = compare(arguments)
        for name, value in times.items():
            print(f"{name:<24}{value:8.2f} s for {arguments.steps} outer steps")
        one = min(value for name, value in times.items() if name != "two")
        ratio = times["two"] / one
        print(f"two processes take {ratio:.2f} of the faster single process")
        report.write(
            arguments.json,
            "cpu",
            steps=arguments.steps,
            width=arguments.width,
            seconds=times,
            ratio=ratio,
        )
