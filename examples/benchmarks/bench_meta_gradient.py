"""Time and memory of one exact meta-gradient: skdistill against ``higher``.

The code of [Feng23] (arXiv:2311.07025) uses ``higher``: plain steps up to the window, then
``higher.innerloop_ctx``, which keeps the graph of every step. Both get the same network, initial
parameters, data, window and unroll. Each has a process of its own, because skdistill makes the C
library keep freed memory, and they take turns; the ratio is the median over pairs. Each peak of
memory is measured in one more process, above what that held before.

The floor is the time that the arithmetic alone would take: the operations that must be done, each
once (a plain step: the network and its gradient; a step of the window: these and the derivative of
the gradient; the real batch: the network and its gradient), at the rate that a large convolution
reaches here, in the same precision.

    python examples/benchmarks/bench_meta_gradient.py --config digits 28x28-ipc1 --json out.json
"""

import argparse
import ctypes
import json
import subprocess
import sys
from dataclasses import asdict, dataclass, replace
from functools import cached_property, partial
from math import nan
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np
import report
import torch
import torch.nn.functional as F
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils.flop_counter import FlopCounterMode

from skdistill._engine.data import RealData, Standardizer
from skdistill._engine.learner import Learner
from skdistill._engine.optimizers import Adam
from skdistill._engine.real_batch import RealBatch
from skdistill._engine.runtime import chunk_size, keep_freed_memory, synthetic_chunk
from skdistill._engine.steps import Autograd, CompiledSteps, Steps
from skdistill._engine.unroll import InnerLoop, meta_gradient
from skdistill.networks import MLP, ConvNet


@dataclass(frozen=True)
class Config:
    """One problem: samples, network, truncation and real batch."""

    shape: tuple[int, ...]
    ipc: int
    window: int
    unroll: int
    real: int
    width: int = 128
    depth: int = 3
    n_classes: int = 10


CONFIGS = {
    "table": Config((30,), 1, 20, 60, 512, depth=2, n_classes=2),
    "digits": Config((1, 8, 8), 1, 20, 60, 512, width=64, depth=2),
    "28x28-ipc1": Config((1, 28, 28), 1, 20, 60, 256),
    "28x28-ipc10": Config((1, 28, 28), 10, 4, 12, 256),
    "32x32-ipc1": Config((3, 32, 32), 1, 20, 60, 256),
    "32x32-ipc1-narrow": Config((3, 32, 32), 1, 20, 60, 256, width=32),
    "32x32-ipc10": Config((3, 32, 32), 10, 4, 12, 256),
    "32x32-ipc50": Config((3, 32, 32), 50, 1, 3, 256),
}
# The windows and real batches of [Feng23, C.1 and C.2]: for a GPU.
PAPER_CONFIGS = {
    "paper-32x32-ipc1": Config((3, 32, 32), 1, 60, 200, 5000),
    "paper-32x32-ipc10": Config((3, 32, 32), 10, 80, 250, 5000),
    "paper-32x32-ipc50": Config((3, 32, 32), 50, 100, 300, 5000),
    "paper-64x64-ipc1": Config((3, 64, 64), 1, 60, 200, 1000, depth=4, n_classes=200),
}


class Problem:
    """The tensors of a configuration, and one meta-gradient by either implementation."""

    def __init__(self, config: Config, device: str, compiled: bool = False):
        generator = torch.Generator().manual_seed(0)
        self.config, self.device, self.compiled = config, torch.device(device), compiled
        kind = ConvNet if len(config.shape) == 3 else MLP
        factory = partial(kind, config.shape, config.n_classes, config.width, config.depth)
        self.learner = Learner(factory, device)
        self.chunk = chunk_size(self.learner, config.shape)
        n = config.ipc * config.n_classes
        self.X = torch.randn(n, *config.shape, generator=generator).to(device)
        self.y = torch.arange(config.n_classes, device=device).repeat(config.ipc)
        X_real = torch.randn(config.real, *config.shape, generator=generator).to(device)
        y_real = torch.randint(config.n_classes, (config.real,), generator=generator).to(device)
        standardizer = Standardizer(
            [0.0] * config.shape[0], [1.0] * config.shape[0], config.shape, device, torch.float32
        )
        self.data = RealData(X_real, y_real, standardizer, self.device)
        self.real = X_real, y_real
        self.model = factory().to(device)

    @cached_property
    def steps(self) -> Steps:
        """What computes our steps; it makes the C library keep memory, for the whole process."""
        chunk = synthetic_chunk(self.learner, self.config.shape, self.chunk)
        return (CompiledSteps if self.compiled else Steps)(self.learner, Adam(), chunk)

    def ours(self, start: int, window: int) -> torch.Tensor:
        """Return skdistill's meta-gradient."""
        loss = RealBatch(self.steps, self.data, np.arange(self.config.real), self.chunk).loss
        loop = InnerLoop(self.steps, self.X, self.y)
        return meta_gradient(loop, self.learner.init(0), start, window, loss).X

    def higher(self, start: int, window: int) -> torch.Tensor:
        """Return the meta-gradient as the code of [Feng23] computes it."""
        import higher

        self.model.load_state_dict(self.learner.parameters(self.learner.init(0)))
        optimizer = torch.optim.Adam(self.model.parameters())
        for _ in range(start):
            optimizer.zero_grad()
            F.cross_entropy(self.model(self.X), self.y).backward()
            optimizer.step()
        X = self.X.clone().requires_grad_()
        with higher.innerloop_ctx(self.model, optimizer) as (fmodel, diffopt):
            for _ in range(window):
                diffopt.step(F.cross_entropy(fmodel(X), self.y))
            return torch.autograd.grad(F.cross_entropy(fmodel(self.real[0]), self.real[1]), X)[0]


def count_operations(problem: Problem) -> int:
    """Return the floating-point operations that one meta-gradient must take."""
    config = problem.config
    # Operations of torch's are counted, and not what C functions do.
    plain = Steps(problem.learner, Adam(), derivatives=Autograd(problem.learner))
    theta = problem.learner.init(0)
    real = problem.real[0][:1], problem.real[1][:1]

    def count(function, *args) -> int:
        # Traced first: the counter cannot follow a derivative of a derivative by itself.
        traced = make_fx(lambda *args: function(*args))(*args)
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            traced(*args)
        return counter.get_total_flops()

    step = count(plain._gradient, theta, problem.X, problem.y)
    window_step = count(plain._curvature, theta, problem.X, problem.y, torch.zeros_like(theta))
    outer = config.real * count(plain._gradient, theta, *real)
    return (config.unroll - config.window) * step + config.window * window_step + outer


def convolution_rate(device: str) -> float:
    """Return the operations per second of a large convolution: the best of several runs."""
    n, channels, side = (256, 256, 56) if device.startswith("cuda") else (16, 128, 28)
    layout = {"memory_format": torch.channels_last, "device": device}
    X = torch.randn(n, channels, side, side).to(**layout)
    weight = torch.randn(channels, channels, 3, 3).to(**layout)
    times = []
    with torch.no_grad():
        for _ in range(20):
            began = perf_counter()
            F.conv2d(X, weight, padding=1)
            if device.startswith("cuda"):
                torch.cuda.synchronize()
            times.append(perf_counter() - began)
    return 2 * 9 * channels**2 * side**2 * n / min(times)


def peak_mib(config: Config, device: str, which: str) -> float:
    """Return the peak of memory of one meta-gradient over what the process held before, in MiB."""
    return_freed_memory_at_once()
    # Libraries and their buffers are loaded at first use: by little, whose peak is not counted.
    getattr(Problem(replace(config, width=8, real=8), device), which)(1, 1)
    compute = getattr(Problem(config, device), which)
    if device.startswith("cuda"):
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        compute(config.unroll - config.window, config.window)
        return (torch.cuda.max_memory_allocated() - before) / 2**20
    before = resident_peak_kib()
    compute(config.unroll - config.window, config.window)
    return (resident_peak_kib() - before) / 2**10


def return_freed_memory_at_once() -> None:
    """Let glibc map every tensor by itself, so that a peak counts live memory.

    Left alone it serves them from a heap whose holes depend on the order in which threads free:
    the same run's peak then differs by 20 MiB from one process to the next.
    """
    keep_freed_memory()  # once in a process: it does not undo this later
    m_mmap_threshold = -3
    ctypes.CDLL(None).mallopt(m_mmap_threshold, 64 * 1024)


def resident_peak_kib() -> int:
    """Return the peak of this program's resident memory (Linux).

    ``resource.getrusage`` would not do: its peak is inherited from the process that started this
    one, and a large one hides what happens here.
    """
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1])
    raise OSError("/proc/self/status has no VmHWM: peaks on the CPU need Linux")


def peak_in_own_process(config: Config, device: str, which: str) -> float:
    """Return `peak_mib`, measured in a fresh process."""
    job = json.dumps({"config": asdict(config), "device": device, "which": which})
    done = subprocess.run([sys.executable, __file__, "--peak", job], capture_output=True, text=True)
    if done.returncode and "OutOfMemoryError" in done.stderr:
        return nan
    done.check_returncode()
    return float(done.stdout.split()[-1])


def seconds(compute, config: Config, device: str) -> float:
    """Return the time of one meta-gradient."""
    began = perf_counter()
    compute(config.unroll - config.window, config.window)
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    return perf_counter() - began


class Timed:
    """A process of one implementation, which computes a meta-gradient whenever it is asked to.

    Attributes
    ----------
    first_s : float
        The time of its first one, of two steps; what is compiled is compiled here.
    """

    def __init__(self, config: Config, device: str, which: str, compiled: bool):
        job = {"config": asdict(config), "device": device, "which": which, "compiled": compiled}
        self._process = subprocess.Popen(
            [sys.executable, __file__, "--serve", json.dumps(job)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.first_s = self._number()

    def __enter__(self) -> "Timed":
        return self

    def __exit__(self, *error) -> None:
        self._process.stdin.close()
        self._process.wait()

    def seconds(self) -> float:
        """Return the time of one meta-gradient."""
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return self._number()

    def _number(self) -> float:
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the process ended with {self._process.wait()}.")
        return float(line)


def serve(config: Config, device: str, which: str, compiled: bool) -> None:
    """Print the time of a first meta-gradient, and then of one for each line that is read."""
    compute = getattr(Problem(config, device, compiled), which)
    began = perf_counter()
    compute(1, 1)
    print(perf_counter() - began, flush=True)
    for _ in sys.stdin:
        cuda = device.startswith("cuda")
        try:
            if cuda:
                compute(1, 1)  # most of its memory is there again
            print(seconds(compute, config, device), flush=True)
        except torch.OutOfMemoryError:
            print(nan, flush=True)
        if cuda:
            # The other process needs it.
            torch.cuda.empty_cache()


def measure(name: str, config: Config, device: str, repeats: int, compiled: bool) -> dict:
    """Return the row of the table for one configuration."""
    problem = Problem(config, device, compiled)
    operations, rate = count_operations(problem), convolution_rate(device)
    ours, theirs = problem.ours(1, 1), problem.higher(1, 1)
    del problem
    if device.startswith("cuda"):
        torch.cuda.empty_cache()
    with (
        Timed(config, device, "ours", compiled) as first,
        Timed(config, device, "higher", compiled) as second,
    ):
        pairs = [(first.seconds(), second.seconds()) for _ in range(repeats)]
    row = {
        "config": name,
        **asdict(config),
        "ours_s": median(a for a, _ in pairs),
        "higher_s": median(b for _, b in pairs),
        "gflop": operations / 1e9,
        "gflop_per_s": rate / 1e9,
        "floor_s": operations / rate,
        "floor_ratio": median(a for a, _ in pairs) * rate / operations,
        "compiled": compiled,
        "first_call_s": first.first_s,
        "time_ratio": median(a / b for a, b in pairs),
        # higher adds epsilon before the bias correction: close, not equal.
        "relative_difference": ((ours - theirs).norm() / theirs.norm()).item(),
    }
    for which in ("ours", "higher"):
        row[f"{which}_mib"] = peak_in_own_process(config, device, which)
    # On tiny problems the process's own memory hides the peak.
    row["memory_ratio"] = row["ours_mib"] / row["higher_mib"] if row["higher_mib"] else nan
    return row


def main() -> None:
    """Print the table and write JSON if asked to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    configs = CONFIGS | PAPER_CONFIGS
    parser.add_argument("--config", nargs="+", default=list(CONFIGS), choices=list(configs))
    parser.add_argument("--window", type=int, help="instead of the configuration's")
    parser.add_argument("--unroll", type=int, help="instead of the configuration's")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--compile", action="store_true", help="time ours compiled")
    parser.add_argument("--json", help="file to write")
    parser.add_argument("--peak", help=argparse.SUPPRESS)
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.peak:
        job = json.loads(args.peak)
        print(peak_mib(Config(**job["config"]), job["device"], job["which"]))
        return
    if args.serve:
        job = json.loads(args.serve)
        serve(Config(**job.pop("config")), **job)
        return
    rows = []
    print(
        "config            window unroll  ours (s)  higher (s)  ratio  floor (s)  ours/floor"
        "  ours (MiB)  higher  ratio"
    )
    for name in args.config:
        config = asdict(configs[name])
        config |= {k: v for k in ("window", "unroll") if (v := getattr(args, k))}
        r = measure(name, Config(**config), args.device, args.repeats, args.compile)
        rows.append(r)
        print(
            f"{name:17s} {r['window']:6d} {r['unroll']:6d} {r['ours_s']:9.3f} "
            f"{r['higher_s']:11.3f} {r['time_ratio']:6.2f} {r['floor_s']:10.3f} "
            f"{r['floor_ratio']:11.1f} {r['ours_mib']:11.0f} "
            f"{r['higher_mib']:7.0f} {r['memory_ratio']:6.2f}",
            flush=True,
        )
    report.write(args.json, args.device, rows=rows)


if __name__ == "__main__":
    main()
