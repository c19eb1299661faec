"""Whether two commits distill the same bits: their wheels, side by side in one environment.

Builds a wheel of each commit, distills digits with each method, and a table, and compares samples,
labels and histories, bit for bit. Whatever differs is listed with its largest difference. (Bits can
only be compared on one machine with one version of torch.)

    python examples/benchmarks/same_bits.py HEAD~1 HEAD
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from wheels import install

# Run with each of the two packages: parameters that both have, spelled out.
CHILD = """
import sys
import warnings
import numpy as np
from sklearn.datasets import load_digits, load_wine
from skdistill import BoostedDistiller, RaTBPTTDistiller, all_distillers
from skdistill.parametrization import LinearBasis

warnings.simplefilter("ignore")
few = {
    "max_iter": 6, "n_networks": 2, "eval_steps": 20, "random_state": 0, "window": 3, "unroll": 8,
    "inner_lr": 0.001, "n_experts": 1, "max_start": 1, "expert_epochs": 1, "syn_steps": 3,
    "pool_size": 2, "n_feature_networks": 2,
}
def small(kind, **more):
    return kind(**{k: v for k, v in few.items() if k in kind().get_params()} | more)

(X, y), wine = load_digits(return_X_y=True), load_wine(return_X_y=True)
digits, bases = (X.reshape(-1, 8, 8).astype(np.float32), y), LinearBasis(2)
rat = small(RaTBPTTDistiller, ipc=2)
runs = {name: (small(kind, ipc=2), *digits) for name, kind in all_distillers()}
runs["a table"] = rat, *wine
runs["labels, mini-batches, moving window"] = (
    small(RaTBPTTDistiller, ipc=2, learn_labels=True, schedule="forward", inner_batch_size=1),
    *digits,
)
runs["bases, validation"] = (
    small(
        RaTBPTTDistiller, ipc=3, parametrization=bases, validation_fraction=0.2,
        validation_interval=2,
    ),
    *digits,
)
runs["boosted"] = (
    BoostedDistiller(ipc=2, block_size=1, beta=0.1, distiller=rat, random_state=0), *digits
)
arrays = {}
for name, (distiller, X, y) in runs.items():
    X_syn, y_syn = distiller.fit(X, y).transform()
    loss = [np.nan if value is None else value for value in distiller.history_["loss"]]
    arrays |= {f"{name}: X": X_syn, f"{name}: y": y_syn, f"{name}: loss": np.array(loss)}
    arrays[f"{name}: score"] = np.array(distiller.score(X[:300], y[:300]))
np.savez(sys.argv[1], **arrays)
"""


def results(commit: str, folder: Path) -> dict[str, np.ndarray]:
    """Build the wheel of a commit, and return the results of its distillers."""
    environment = install(commit, folder)
    file = folder / "results.npz"
    command = [sys.executable, "-c", CHILD, str(file)]
    subprocess.run(command, check=True, cwd=folder, env=environment)
    with np.load(file) as arrays:
        return dict(arrays)


def main() -> None:
    """Compare two commits; exit with 1 if anything differs."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("before", help="a commit")
    parser.add_argument("after", help="a commit")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        before = results(args.before, Path(folder, "before"))
        after = results(args.after, Path(folder, "after"))
    differ = 0
    for name, a in before.items():
        b = after[name]
        if np.array_equal(a, b, equal_nan=a.dtype.kind == "f"):
            print(f"{name:50s} the same")
        else:
            differ += 1
            print(f"{name:50s} differs by up to {np.abs(a - b).max():.3g}")
    print(f"{len(before) - differ} of {len(before)} are the same, bit for bit")
    sys.exit(bool(differ))


if __name__ == "__main__":
    main()
