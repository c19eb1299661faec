"""Fashion-MNIST: accuracy against distillation time, beside real samples.

Distils for ``--minutes`` with the package's defaults unless told otherwise, keeps the samples at a
few moments, and evaluates them afterwards; the evaluation does not count as distillation time. The
number of evaluation steps is fixed beforehand, and the last samples are the result, whatever the
curve says. ``--data`` is a folder with the four gzipped IDX files (Debian's package
``dataset-fashion-mnist`` puts them into ``/usr/share/datasets/fashion-mnist``).

    python examples/reproduce/fashion_mnist.py --data FOLDER --ipc 1 --minutes 38 --json out.json
"""

import argparse
import gzip
import json
import os
import platform
import shutil
import tempfile
from pathlib import Path
from time import perf_counter

import torch
from torchvision.datasets import FashionMNIST

from skdistill import RaTBPTTDistiller
from skdistill.evaluation import BASELINES, WHOLE, compare, evaluate


def load(folder: Path):
    """Return training and test images and labels, read by torchvision from unpacked copies."""
    with tempfile.TemporaryDirectory() as root:
        raw = Path(root, "FashionMNIST", "raw")
        raw.mkdir(parents=True)
        for packed in folder.glob("*-ubyte.gz"):
            with gzip.open(packed) as source, open(raw / packed.stem, "wb") as target:
                shutil.copyfileobj(source, target)
        train, test = (FashionMNIST(root, train=part) for part in (True, False))
        return train.data.numpy(), train.targets.numpy(), test.data.numpy(), test.targets.numpy()


class Snapshots:
    """A scikit-learn callback: keep the samples at given times, stop at the last."""

    def __init__(self, seconds):
        self._due = list(seconds)
        self._began = perf_counter()
        self.taken = []

    def setup(self, estimator, context):
        """Start the clock."""
        self._began = perf_counter()

    def teardown(self, estimator, context):
        """Do nothing."""

    def on_fit_task_begin(self, estimator, context):
        """Do nothing."""

    def on_fit_task_end(self, estimator, context, *, fitted_estimator=None):
        """Take a snapshot if one is due."""
        elapsed = perf_counter() - self._began
        if self._due and elapsed >= self._due[0]:
            self._due.pop(0)
            step = fitted_estimator.n_iter_
            self.taken.append((elapsed, step, fitted_estimator.distilled_))
            loss = fitted_estimator.history_["loss"][-20:]
            print(
                f"{elapsed:6.0f} s, outer step {step}, loss {sum(loss) / len(loss):.3f}", flush=True
            )
        return not self._due


def main() -> None:
    """Distil, evaluate, compare, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--ipc", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=38)
    parser.add_argument("--window", type=int)
    parser.add_argument("--unroll", type=int)
    parser.add_argument("--learning-rate", type=float)
    parser.add_argument("--batch-size", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--curve-networks", type=int, default=2)
    parser.add_argument("--baseline-networks", type=int, default=5)
    parser.add_argument("--baselines", nargs="+", default=[*BASELINES, WHOLE])
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()

    X_train, y_train, X_test, y_test = load(args.data)
    given = ("window", "unroll", "learning_rate", "batch_size")
    parameters = {k: v for k in given if (v := getattr(args, k)) is not None}
    distiller = RaTBPTTDistiller(ipc=args.ipc, max_iter=10**6, random_state=args.seed, **parameters)
    total = 60 * args.minutes
    snapshots = Snapshots([total * f for f in (1 / 16, 1 / 8, 1 / 4, 1 / 2, 3 / 4, 1)])
    distiller.set_callbacks(snapshots).fit(X_train, y_train)

    curve = []
    for elapsed, step, distilled in snapshots.taken:
        result = evaluate(distilled, X_test, y_test, n_networks=args.curve_networks)
        curve.append({"seconds": elapsed, "outer_steps": step, "accuracy": result.mean})
        print(f"{elapsed:6.0f} s, outer step {step}: {result}", flush=True)
    final = evaluate(distiller.distilled_, X_test, y_test)
    print(f"distilled, the result: {final}", flush=True)
    comparison = compare(
        distiller.distilled_,
        X_train,
        y_train,
        X_test,
        y_test,
        baselines=args.baselines,
        n_networks=args.baseline_networks,
        n_networks_whole=1,
    )
    comparison.results["distilled"] = final
    print(comparison)
    if args.json:
        report = {
            "data": "Fashion-MNIST",
            "machine": f"{os.cpu_count()} cores, {platform.machine()}, {distiller.device_}",
            "threads": torch.get_num_threads(),
            "curve": curve,
            "curve_networks": args.curve_networks,
            "results": {
                name: {
                    "mean": r.mean,
                    "std": r.std,
                    "n_networks": len(r.accuracies),
                    "n_samples": r.n_samples,
                }
                for name, r in comparison.results.items()
            },
            "provenance": distiller.distilled_.provenance,
        }
        args.json.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
