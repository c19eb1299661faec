"""What a checkpoint every so many outer steps costs: the time of one write over that of the steps.

The run has the shape of CIFAR-10 (32 x 32 pixels in three colors, ten classes; noise instead of
pictures, which takes the same time) and a history of ``--history`` outer steps, because the history
makes the file of a long run large. Writes are the real ones: they are flushed to the disk, and the
previous file is kept.

    python examples/benchmarks/bench_checkpoint.py --config 32x32-ipc10 --json out.json
"""

import argparse
import os
import tempfile
from dataclasses import replace
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np
import report
import torch
from bench_meta_gradient import CONFIGS, PAPER_CONFIGS, Problem, seconds

from skdistill._engine.optimizers import Adam
from skdistill._run.run_file import RunFile
from skdistill._run.state import Best, Run, RunState


def long_run(X: torch.Tensor, n_steps: int) -> Run:
    """Return a run of so many outer steps, with a history and a best state."""
    rng = np.random.default_rng(0)
    measured = ["loss", "grad_norm", "clip_level", "seconds"]
    history = {name: rng.random(n_steps).tolist() for name in measured}
    history["skipped"] = [False] * n_steps
    history["start"] = rng.integers(200, size=n_steps).tolist()
    history["window"] = [60] * n_steps
    method_state = {"schedule": {}, "sampler": {}}
    best = Best(0.5, 1, {"X": X.cpu().numpy()})
    state = RunState(
        slots={"X": Adam().init(X)},
        method=method_state,
        step=n_steps,
        n_updates=n_steps,
        clip_average=1.0,
        best=best,
        seconds=1.0,
    )
    return Run(0, state, history)


def write_seconds(run: Run, folder: str, repeats: int) -> tuple[float, int]:
    """Return the median seconds of a write, and the file's size in bytes."""
    file, times = RunFile(Path(folder) / "run.npz"), []
    for _ in range(repeats + 1):
        began = perf_counter()
        file.write(run, {"benchmark": 1})
        times.append(perf_counter() - began)
    # The first has no file before it to keep.
    return median(times[1:]), os.path.getsize(file.path)


def main() -> None:
    """Print the share, and write JSON if asked to."""
    configs = CONFIGS | PAPER_CONFIGS
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", choices=configs, default="32x32-ipc10")
    parser.add_argument("--every", type=int, default=100, help="outer steps between two writes")
    parser.add_argument("--history", type=int, default=2000, help="outer steps done before")
    parser.add_argument("--repeats", type=int, default=9, help="writes to time")
    parser.add_argument("--steps", type=int, default=3, help="outer steps to time")
    parser.add_argument("--compile", action="store_true", help="compiled outer steps")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--folder", help="where to write; a temporary folder if none is given")
    parser.add_argument("--json", type=Path, help="file to write")
    args = parser.parse_args()
    config = configs[args.config]
    problem = Problem(config, args.device, args.compile)
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        write, size = write_seconds(long_run(problem.X, args.history), folder, args.repeats)
    problem.ours(1, 1)
    # On average a window ends halfway between its own length and the longest unroll.
    average = replace(config, unroll=(config.unroll + config.window) // 2)
    times = [seconds(problem.ours, average, args.device) for _ in range(args.steps)]
    step = median(times)
    share = write / (args.every * step)
    print(f"one write: {1e3 * write:.1f} ms, {size / 1024:.0f} KiB after {args.history} steps")
    print(f"one outer step: {step:.3f} s")
    print(f"a write every {args.every} outer steps takes {share:.3%} of the time")
    report.write(
        args.json,
        args.device,
        config=args.config,
        every=args.every,
        history=args.history,
        write_s=write,
        write_bytes=size,
        step_s=step,
        share=share,
    )


if __name__ == "__main__":
    main()
