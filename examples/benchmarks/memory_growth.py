"""Do thousands of outer steps, and check that the memory of the process stops growing.

Prints the resident memory after 100 outer steps and after the last. The run is on scikit-learn's
digits with small networks, a checkpoint, and, with ``--monitor``, a callback that is called after
every step.

    python examples/benchmarks/memory_growth.py --steps 2000
"""

import argparse
import json
import tempfile
from pathlib import Path

import torch
from sklearn.datasets import load_digits

from skdistill import RaTBPTTDistiller


class Resident:
    """A callback that reads the process's memory after some outer steps."""

    def __init__(self):
        self.mib, self.steps = {}, 0

    def setup(self, estimator, context):
        """Do nothing."""

    def teardown(self, estimator, context):
        """Do nothing."""

    def on_fit_task_begin(self, estimator, context):
        """Do nothing."""

    def on_fit_task_end(self, estimator, context):
        """Read the memory every 100 steps."""
        self.steps += context.task_name == "outer step"
        if self.steps % 100 == 0:
            self.mib[self.steps] = resident_mib()


def resident_mib():
    """Return the resident memory of this process (Linux)."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 2**20


def network(input_shape, n_classes):
    """Return a small network."""
    return torch.nn.Sequential(
        torch.nn.Linear(input_shape[0], 16), torch.nn.ReLU(), torch.nn.Linear(16, n_classes)
    )


def measure(folder, n_steps, with_callback):
    """Return resident MiB by outer steps done."""
    distiller = RaTBPTTDistiller(
        max_iter=100,
        window=3,
        unroll=9,
        batch_size=64,
        architecture=network,
        warm_start=True,
        checkpoint=folder / "run.npz",
        checkpoint_every=100,
        random_state=0,
        device="cpu",
    )
    monitor = Resident()
    if with_callback:
        distiller.set_callbacks(monitor)
    X, y = load_digits(return_X_y=True)
    mib = {}
    # In two parts, to look in between without a callback.
    for max_iter in (100, n_steps):
        distiller.set_params(max_iter=max_iter).fit(X, y)
        mib[max_iter] = resident_mib()
    return {**monitor.mib, **mib}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--monitor", action="store_true", help="tell a callback of every step")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(measure(Path(folder), arguments.steps, arguments.monitor)))
