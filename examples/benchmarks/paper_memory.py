"""How much of a GPU's memory an outer step takes at the sizes of Table 1 of [Feng23].

Forecasts all columns, with `paper_settings`, whitened samples (single precision) and the chunks in
which batches go through the network on a GPU. The networks are ConvNets. ``--measure DATA:IPC``
also does one outer step of these columns, with random images of the same number and size, on the
CPU but in the chunks of a GPU, each in a process of its own, and measures the peak of its memory.
That takes minutes per column.

    python examples/benchmarks/paper_memory.py --measure cifar100:50 tinyimagenet:10
"""

import argparse
import subprocess
import sys

import numpy as np
import torch
from bench_meta_gradient import resident_peak_kib
from report import write

from skdistill import RaTBPTTDistiller, paper_settings
from skdistill._engine import runtime
from skdistill._engine.learner import Learner
from skdistill._engine.memory import PeakMemory, unrolled_peak
from skdistill.networks import network_factory

# Classes, pixels a side, and training images.
DATA = {
    "cifar10": (10, 32, 50_000),
    "cifar100": (100, 32, 50_000),
    "cub200": (200, 32, 5_994),
    "tinyimagenet": (200, 64, 100_000),
}
COLUMNS = [
    *[("cifar10", ipc) for ipc in (1, 10, 50)],
    *[("cifar100", ipc) for ipc in (1, 10, 50)],
    *[(name, ipc) for name in ("cub200", "tinyimagenet") for ipc in (1, 10)],
]
GIB = 2**30
# Parameters and Adam's two moments.
SLOTS = 3


def main() -> None:
    """Forecast, measure what is asked for, print a table, write JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = [f"{name}:{ipc}" for name, ipc in COLUMNS]
    parser.add_argument("--measure", nargs="+", choices=names, default=[], metavar="DATA:IPC")
    parser.add_argument("--json", help="write the table to this file")
    parser.add_argument("--child", choices=names, help=argparse.SUPPRESS)
    args = parser.parse_args()
    # As on a GPU: a device without a budget of its own gets that of a GPU.
    runtime._CHUNK_BYTES.clear()
    runtime._SYNTHETIC_CHUNK_BYTES.clear()
    if args.child:
        print(peak_of_a_step(*column(args.child)))
        return
    rows = []
    for name in names:
        memory = forecast(*column(name))
        parts = {part: size / GIB for part, size in vars(memory).items()}
        row = {"column": name, **parts, "forecast_gib": memory.total / GIB, "measured_gib": None}
        if name in args.measure:
            child = [sys.executable, __file__, "--child", name]
            done = subprocess.run(child, check=True, stdout=subprocess.PIPE, text=True)
            row["measured_gib"] = int(done.stdout.split()[-1]) / GIB
        rows.append(row)
        measured = (
            "" if row["measured_gib"] is None else f", measured {row['measured_gib']:.2f} GiB"
        )
        print(f"{name:>15}: forecast {row['forecast_gib']:.2f} GiB{measured}", flush=True)
        write(args.json, "cpu", rows=rows)


def column(name: str) -> tuple[str, int]:
    """Return the data's name and the samples per class."""
    data, ipc = name.split(":")
    return data, int(ipc)


def forecast(name: str, ipc: int) -> PeakMemory:
    """Return the memory that an outer step takes, by what it grows with."""
    n_classes, side, n = DATA[name]
    settings = paper_settings(name, ipc)
    shape = (3, side, side)
    learner = Learner(network_factory("convnet", shape, n_classes), torch.device("cpu"))
    a_class = min(ipc, settings["inner_batch_size"] or ipc)
    chunk = runtime.chunk_size(learner, shape)
    return unrolled_peak(
        learner,
        SLOTS,
        shape,
        a_class * (settings["classes_per_step"] or n_classes),
        settings["batch_size"],
        settings["window"],
        runtime.synthetic_chunk(learner, shape, chunk),
        chunk,
        n * 3 * side**2 * 4,
        # A GPU has no C functions.
        is_fused=False,
    )


def peak_of_a_step(name: str, ipc: int) -> int:
    """Return the bytes that one outer step takes here, the training set included."""
    n_classes, side, n = DATA[name]
    X = np.random.default_rng(0).random((n, 3, side, side), dtype=np.float32)
    y = np.arange(n) % n_classes
    settings = paper_settings(name, ipc) | {"max_iter": 1, "compile": False}
    distiller = RaTBPTTDistiller(**settings, random_state=0, device="cpu")
    before = resident_peak_kib()
    distiller.fit(X, y)
    return 1024 * (resident_peak_kib() - before) + X.nbytes


if __name__ == "__main__":
    main()
