"""Time of an evaluation: networks one after the other, and together as `evaluate` trains them.

A third way is a loop of PyTorch's own, one network after the other with `torch.optim.Adam`, as
scripts have it. All train the same networks on the same samples and test them at the last step;
their accuracies are compared too. They take turns in one process, after a run of each that does not
count. The ratios, of the time together over that of the two others, are medians over rounds. The
samples are noise: no time depends on their values.

    python examples/benchmarks/bench_evaluation.py --config digits-ipc1 --json out.json
"""

import argparse
from collections.abc import Callable
from copy import deepcopy
from dataclasses import asdict, dataclass
from functools import partial
from statistics import median
from time import perf_counter

import numpy as np
import report
import torch
import torch.nn.functional as F

from skdistill._data.layout import Layout
from skdistill._engine.ensemble import ONE_AFTER_THE_OTHER, Plan
from skdistill._engine.protocols import protocol_optimizer
from skdistill._engine.streams import Streams
from skdistill.distilled import DistilledDataset, EvaluationRecipe
from skdistill.evaluation._networks import (
    NetworkFamily,
    accuracy_curve,
    network_family,
    plan_of,
    training_samples,
)


@dataclass(frozen=True)
class Config:
    """One evaluation: samples, network and protocol."""

    shape: tuple[int, ...]
    ipc: int
    steps: int = 300
    n_test: int = 2000
    architecture: str = "auto"
    n_classes: int = 10
    n_networks: int = 10


CONFIGS = {
    "table-ipc1": Config((30,), 1, n_classes=2),
    "digits-ipc1": Config((1, 8, 8), 1, n_test=450),
    "28x28-ipc1": Config((1, 28, 28), 1, steps=30, n_test=500),
    "28x28-ipc10": Config((1, 28, 28), 10, steps=6, n_test=500),
}
# These take minutes a run on a few cores.
GPU_CONFIGS = {
    "28x28-ipc1": Config((1, 28, 28), 1, n_test=10_000),
    "28x28-ipc10": Config((1, 28, 28), 10, n_test=10_000),
    "32x32-ipc1": Config((3, 32, 32), 1, n_test=10_000),
    "32x32-ipc10": Config((3, 32, 32), 10, n_test=10_000),
    "32x32-ipc50": Config((3, 32, 32), 50, n_test=10_000),
}


class Problem:
    """A distilled set of noise, its networks, and test samples."""

    def __init__(self, config: Config, device: str):
        rng = np.random.default_rng(0)
        n = config.ipc * config.n_classes
        self.config = config
        recipe = EvaluationRecipe(
            layout=Layout(config.shape, config.shape),
            mean=(0.0,) * config.shape[0],
            scale=(1.0,) * config.shape[0],
            architecture=config.architecture,
            steps=config.steps,
        )
        self.distilled = DistilledDataset(
            X=rng.standard_normal((n, *config.shape), dtype=np.float32),
            y=np.tile(np.arange(config.n_classes), config.ipc),
            classes=np.arange(config.n_classes),
            ipc=config.ipc,
            recipe=recipe,
            provenance={},
        )
        self.family: NetworkFamily = network_family(self.distilled, config.architecture, device)
        self.test = self.family.data(
            rng.standard_normal((config.n_test, *config.shape), dtype=np.float32),
            rng.integers(config.n_classes, size=config.n_test),
        )
        self.training = training_samples(self.family, self.distilled)
        optimizer = protocol_optimizer(self.training.protocol, config.steps)
        self.plan = plan_of(self.family, self.training, optimizer, config.n_networks)

    def accuracies(self, plan: Plan) -> np.ndarray:
        """Return each network's accuracy, trained by this plan."""
        config = self.config
        curve, _ = accuracy_curve(
            self.family,
            self.training,
            config.n_networks,
            [config.steps],
            self.test,
            plan=plan,
        )
        return curve[:, 0]

    def by_torch(self) -> np.ndarray:
        """Return each network's accuracy, trained by a loop of PyTorch's own."""
        learner, training, chunk = self.family.learner, self.training, self.family.chunk
        right = []
        for k in range(self.config.n_networks):
            theta = learner.init(Streams(training.seed).integer("evaluation_network", k))
            network = deepcopy(learner.module)
            network.load_state_dict(learner.parameters(theta))
            optimizer = torch.optim.Adam(network.parameters(), training.protocol.learning_rate)
            for _ in range(self.config.steps):
                optimizer.zero_grad()
                F.cross_entropy(network(training.X), training.y).backward()
                optimizer.step()
            with torch.no_grad():
                batches = (
                    self.test.batch(np.arange(i, min(i + chunk, len(self.test))))
                    for i in range(0, len(self.test), chunk)
                )
                n_right = sum((network(X).argmax(dim=1) == y).sum().item() for X, y in batches)
            right.append(n_right / len(self.test))
        return np.array(right)


def seconds(accuracies: Callable[[], np.ndarray]) -> float:
    """Return the time of an evaluation."""
    # An accuracy is a number on the CPU: there is no device to wait for.
    began = perf_counter()
    accuracies()
    return perf_counter() - began


def measure(name: str, config: Config, device: str, repeats: int) -> dict:
    """Return the row of the table for one configuration."""
    problem = Problem(config, device)
    ways = (
        problem.by_torch,
        partial(problem.accuracies, ONE_AFTER_THE_OTHER),
        partial(problem.accuracies, problem.plan),
    )
    by_torch, apart, together = (way() for way in ways)
    times = np.array([[seconds(way) for way in ways] for _ in range(repeats)])
    ratios = times[:, 2] / times[:, 1]
    torch_s, sequential_s, together_s = np.median(times, axis=0).tolist()
    return {
        "config": name,
        **asdict(config),
        "plan": asdict(problem.plan),
        "torch_s": torch_s,
        "sequential_s": sequential_s,
        "together_s": together_s,
        "ratio": median(ratios.tolist()),
        "ratios": ratios.tolist(),
        "torch_ratio": median((times[:, 2] / times[:, 0]).tolist()),
        "largest_difference": float(np.abs(apart - together).max()),
        "torch_difference": float(np.abs(by_torch - together).max()),
    }


def main() -> None:
    """Print the table and write JSON if asked to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", nargs="+", help="by default those that suit the device")
    parser.add_argument("--networks", type=int, help="instead of the configuration's")
    parser.add_argument("--steps", type=int, help="instead of the configuration's")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--json", help="file to write")
    args = parser.parse_args()
    cuda = args.device.startswith("cuda")
    configs = CONFIGS | GPU_CONFIGS if cuda else GPU_CONFIGS | CONFIGS
    names = args.config or list(configs if cuda else CONFIGS)
    if unknown := set(names) - set(configs):
        parser.error(f"--config must be among {list(configs)}; got {sorted(unknown)}")
    rows = []
    print(
        "config        networks  steps  plan           torch (s)  apart (s)  together (s)  ratio  "
        "range      of torch"
    )
    for name in names:
        config = asdict(configs[name])
        config |= {"n_networks": args.networks} if args.networks else {}
        config |= {"steps": args.steps} if args.steps else {}
        r = measure(name, Config(**config), args.device, args.repeats)
        rows.append(r)
        stack, workers = r["plan"]["stack"], r["plan"]["workers"]
        plan = f"stacks of {stack}" if stack > 1 else f"{workers} threads" if workers else "apart"
        print(
            f"{name:13s} {r['n_networks']:8d} {r['steps']:6d}  {plan:13s} "
            f"{r['torch_s']:10.3f} {r['sequential_s']:10.3f} {r['together_s']:13.3f} "
            f"{r['ratio']:6.2f}  {min(r['ratios']):.2f}-{max(r['ratios']):.2f}  "
            f"{r['torch_ratio']:8.2f}",
            flush=True,
        )
    report.write(args.json, args.device, rows=rows)


if __name__ == "__main__":
    main()
