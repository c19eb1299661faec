"""How far a meta-gradient is from the exact one, by the precision that it is computed in.

Fresh networks on scikit-learn's digits, or on noise of a larger size. The exact meta-gradient is
computed by autograd in float64; the error is the norm of the difference over the norm. In float32
there are our own functions and torch's operations, which sum in other orders. Times alternate in
one process.

    python examples/benchmarks/bench_precision.py
"""

import argparse
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter

import report
import torch
from sklearn.datasets import load_digits

from skdistill._engine.learner import Learner
from skdistill._engine.optimizers import Adam
from skdistill._engine.steps import Autograd, Steps
from skdistill._engine.unroll import InnerLoop, meta_gradient
from skdistill.networks import ConvNet


@dataclass(frozen=True)
class Config:
    """One problem: samples, network and truncation."""

    shape: tuple[int, int, int]
    ipc: int
    width: int
    window: int
    unroll: int


CONFIGS = {
    "digits-ipc1": Config((1, 8, 8), 1, 64, 20, 30),
    "digits-ipc5": Config((1, 8, 8), 5, 64, 20, 30),
    "28x28-ipc1": Config((1, 28, 28), 1, 32, 20, 30),
    "28x28-ipc10": Config((1, 28, 28), 10, 32, 20, 30),
}
# The options of the networks, and whether torch's operations compute them.
WAYS = {
    "exact": ({"dtype": torch.float64}, True),
    "float32": ({}, False),
    "float32 by torch": ({}, True),
    "bfloat16": ({"autocast": torch.bfloat16}, True),
}
N_CLASSES, N_REAL = 10, 256


def samples(config: Config, seed: int) -> tuple[torch.Tensor, ...]:
    """Return synthetic samples and labels, and real ones."""
    generator = torch.Generator().manual_seed(seed)
    if config.shape == (1, 8, 8):
        X, y = map(torch.from_numpy, load_digits(return_X_y=True))
        X = ((X - X.mean()) / X.std()).view(-1, *config.shape)
    else:
        y = torch.arange(10 * N_REAL) % N_CLASSES
        X = torch.randn(len(y), *config.shape, generator=generator, dtype=torch.float64)
    order = torch.randperm(len(y), generator=generator)
    rows = torch.cat([order[y[order] == c][: config.ipc] for c in range(N_CLASSES)])
    real = order[-N_REAL:]
    return X[rows], y[rows], X[real], y[real]


def one(way: str, config: Config, seed: int, device: str) -> tuple[torch.Tensor, float]:
    """Return a meta-gradient and its time."""
    options, by_torch = WAYS[way]
    factory = partial(ConvNet, config.shape, N_CLASSES, config.width)
    learner = Learner(factory, device, **options)
    X, y, X_real, y_real = (
        each.to(learner.device, learner.dtype if each.is_floating_point() else None)
        for each in samples(config, seed)
    )

    def outer_loss(theta):
        theta = theta.detach().requires_grad_()
        with torch.enable_grad():
            loss = learner.loss(theta, X_real, y_real)
        return loss.detach(), torch.autograd.grad(loss, theta)[0]

    steps = Steps(learner, Adam(), derivatives=Autograd(learner) if by_torch else None)
    began = perf_counter()
    start = config.unroll - config.window
    meta = meta_gradient(
        InnerLoop(steps, X, y), learner.init(seed), start, config.window, outer_loss
    )
    result = meta.X.double().cpu()
    return result, perf_counter() - began


def main() -> None:
    """Print the table and write JSON if asked to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", nargs="+", choices=CONFIGS, default=[*CONFIGS])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--json", type=Path, help="file to write")
    args = parser.parse_args()
    rows = []
    print("config       precision         median error  largest  time / float32")
    for name in args.config:
        config = CONFIGS[name]
        runs = [{way: one(way, config, seed, args.device) for way in WAYS} for seed in args.seeds]
        for way in [*WAYS][1:]:
            exact = [run["exact"][0] for run in runs]
            errors = [((run[way][0] - e).norm() / e.norm()).item() for run, e in zip(runs, exact)]
            ratio = median(run[way][1] / run["float32"][1] for run in runs)
            rows.append({"config": name, "precision": way, "errors": errors, "time_ratio": ratio})
            print(f"{name:12s} {way:16s} {median(errors):13.2g} {max(errors):8.2g} {ratio:15.2f}")
    report.write(args.json, args.device, rows=rows)


if __name__ == "__main__":
    main()
