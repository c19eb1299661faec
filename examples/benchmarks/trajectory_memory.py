"""The memory of an outer step of trajectory matching, by the steps on the synthetic samples.

The usual ConvNet on 3 x 32 x 32 pixels, one sample for each of ten classes. Each peak is that of a
process of its own, above what it held before. What may grow with the steps are the parameters after
each of them, which are kept.

    python examples/benchmarks/trajectory_memory.py --steps 10 50
"""

import argparse
import subprocess
import sys
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from bench_meta_gradient import resident_peak_kib, return_freed_memory_at_once
from report import write

from skdistill._engine.data import RealData, Standardizer
from skdistill._engine.experts import Sharpness, Training
from skdistill._engine.inner_batches import InnerBatches
from skdistill._engine.learner import Learner
from skdistill._engine.methods.base import Problem, Synthetic
from skdistill._engine.methods.trajectory import Starts, TrajectoryMatching
from skdistill._engine.optimizers import SGD
from skdistill._engine.outer import gaussian_rows
from skdistill._engine.rows import ClassRows
from skdistill._engine.steps import Steps
from skdistill._engine.streams import Streams
from skdistill.networks import ConvNet

SHAPE, N_CLASSES = (3, 32, 32), 10


def peak_mib(n_steps: int, first_order: bool) -> float:
    """Return the peak of memory of one outer step over what the process held before, in MiB."""
    return_freed_memory_at_once()
    # Libraries and their buffers are loaded at first use.
    compute(Learner(partial(ConvNet, SHAPE, N_CLASSES, width=8)), 1, first_order)
    learner = Learner(partial(ConvNet, SHAPE, N_CLASSES))
    before = resident_peak_kib()
    compute(learner, n_steps, first_order)
    return (resident_peak_kib() - before) / 2**10


def compute(learner: Learner, n_steps: int, first_order: bool) -> None:
    """Do an outer step with experts that move in a straight line."""
    method = TrajectoryMatching(
        training=Training(Steps(learner, SGD()), 0, 0.01, 10, Sharpness(0.0)),
        recipe={},
        n_experts=1,
        expert_epochs=1,
        starts=Starts(0, 1),
        syn_steps=n_steps,
        batches=InnerBatches(),
        inner_lr=0.01,
        inner_lr_lr=1e-4,
        inner_lr_min=0.001,
        first_order=first_order,
    )
    standardizer = Standardizer([0.0] * 3, [1.0] * 3, SHAPE, "cpu", torch.float32)
    real = RealData(torch.zeros(10, *SHAPE), torch.arange(10), standardizer, "cpu")
    rows = ClassRows(N_CLASSES, 1)
    problem = Problem(real, rows, SHAPE, torch.device("cpu"), Streams(0), learner)
    problem = replace(problem, prepared=method.stand_in(problem))
    X = gaussian_rows(len(rows), SHAPE, torch.Generator().manual_seed(0)).float()
    extra = {name: each.value for name, each in method.extra(problem).items()}
    found, _ = method.gradient(problem, Synthetic(X, rows.labels(), extra), {}, 0)
    assert np.isfinite(found.loss.item())


def main() -> None:
    """Measure, print a table, write JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", nargs="+", type=int, default=[10, 50])
    parser.add_argument("--json", help="file to write")
    parser.add_argument("--peak", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.peak:
        n_steps, gradient = args.peak
        print(peak_mib(int(n_steps), gradient == "first_order"))
        return
    learner, rows = Learner(partial(ConvNet, SHAPE, N_CLASSES)), []
    for gradient in ("exact", "first_order"):
        for n_steps in args.steps:
            command = [sys.executable, __file__, "--peak", str(n_steps), gradient]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            peak = float(done.stdout.split()[-1])
            kept = n_steps * learner.n_parameters * learner.dtype.itemsize / 2**20
            rows.append(
                {"gradient": gradient, "steps": n_steps, "peak_mib": peak, "kept_mib": kept}
            )
            print(
                f"{gradient:12s} {n_steps:3d} steps: {peak:6.1f} MiB, of which {kept:5.1f} kept",
                flush=True,
            )
    write(args.json, "cpu", rows=rows)


if __name__ == "__main__":
    main()
