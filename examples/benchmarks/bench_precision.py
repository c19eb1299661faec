"""How far a meta-gradient is from the exact one, by the precision that it is computed in.

On scikit-learn's digits: real samples as the synthetic ones, fresh networks, the default window and
unroll. The exact one is computed in float64; the error is the norm of the difference over the norm.
Times alternate in one process.

    python examples/benchmarks/bench_precision.py
"""

import argparse
from pathlib import Path
from statistics import median
from time import perf_counter

import report
import torch
from sklearn.datasets import load_digits

from skdistill._engine.learner import Learner
from skdistill._engine.optimizers import Adam
from skdistill._engine.steps import Steps
from skdistill._engine.unroll import InnerLoop, meta_gradient
from skdistill.networks import ConvNet

PRECISIONS = {
    "float64": {"dtype": torch.float64},
    "float32": {},
    "bfloat16": {"autocast": torch.bfloat16},
}


def one(name: str, ipc: int, seed: int, args) -> tuple[torch.Tensor, float]:
    """Return a meta-gradient and its time."""
    learner = Learner(lambda: ConvNet((1, 8, 8), 10), args.device, **PRECISIONS[name])
    X, y = map(torch.from_numpy, load_digits(return_X_y=True))
    X = ((X - X.mean()) / X.std()).view(-1, 1, 8, 8)
    X, y = X.to(learner.device, learner.dtype), y.to(learner.device)
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(y), generator=generator).to(y.device)
    rows = torch.cat([order[y[order] == c][:ipc] for c in range(10)])
    real = order[-256:]

    def outer_loss(theta):
        theta = theta.detach().requires_grad_()
        with torch.enable_grad():
            loss = learner.loss(theta, X[real], y[real])
        return loss.detach(), torch.autograd.grad(loss, theta)[0]

    loop = InnerLoop(Steps(learner, Adam()), X[rows], y[rows])
    began = perf_counter()
    start = args.unroll - args.window
    meta = meta_gradient(loop, learner.init(seed), start, args.window, outer_loss)
    result = meta.X.double().cpu()
    return result, perf_counter() - began


def main() -> None:
    """Print the table and write JSON if asked to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ipc", type=int, nargs="+", default=[1, 5])
    parser.add_argument("--window", type=int, default=15)
    parser.add_argument("--unroll", type=int, default=45)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--json", type=Path, help="file to write")
    args = parser.parse_args()
    rows = []
    print("ipc  precision   median error  largest  time / float32")
    for ipc in args.ipc:
        runs = [{name: one(name, ipc, seed, args) for name in PRECISIONS} for seed in args.seeds]
        for name in ("float32", "bfloat16"):
            exact = [run["float64"][0] for run in runs]
            errors = [((run[name][0] - e).norm() / e.norm()).item() for run, e in zip(runs, exact)]
            ratio = median(run[name][1] / run["float32"][1] for run in runs)
            rows.append({"ipc": ipc, "precision": name, "errors": errors, "time_ratio": ratio})
            print(f"{ipc:3d}  {name:9s} {median(errors):14.2g} {max(errors):8.2g} {ratio:15.2f}")
    report.write(args.json, args.device, rows=rows)


if __name__ == "__main__":
    main()
