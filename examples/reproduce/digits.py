"""8 x 8 digits: distilled sets compared with random real digits, over seeds of the distiller.

A quarter of scikit-learn's digits is held out. For each seed, ten networks are trained on the
distilled set and ten on random real digits (five draws); both see the same number of steps, fixed
beforehand. Ten samples per class start from k-means centroids.

    python examples/reproduce/digits.py --ipc 1 10 --seeds 0 1 2 --json out.json
"""

import numpy as np
from data import add_clipping
from report import DIGITS, Report, about, arguments
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from skdistill import DistilledDataset, RaTBPTTDistiller
from skdistill.evaluation import compare

PARAMETERS = {1: {}, 10: {"init": "kmeans", "max_iter": 100}}


def distill(
    ipc: int, seed: int, max_iter: int | None, data, clip_norm: str = "auto"
) -> DistilledDataset:
    """Distill the training digits with the parameters of this size."""
    X_train, _, y_train, _ = data
    parameters = PARAMETERS[ipc] | ({} if max_iter is None else {"max_iter": max_iter})
    distiller = RaTBPTTDistiller(
        ipc, image_shape=(1, 8, 8), clip_norm=clip_norm, random_state=seed, **parameters
    )
    return distiller.fit(X_train, y_train).distilled_


def one_run(ipc: int, seed: int, args, data) -> dict:
    """Distill, compare and return a row of the report."""
    X_train, X_test, y_train, y_test = data
    distilled = distill(ipc, seed, args.max_iter, data, args.clip_norm)
    comparison = compare(
        distilled, X_train, y_train, X_test, y_test, n_networks=args.networks, n_networks_whole=1
    )
    results = {
        name: {"mean": r.mean, "std": r.std, "n_networks": len(r.accuracies)}
        for name, r in comparison.results.items()
    }
    return {"ipc": ipc, "seed": seed, "provenance": distilled.provenance, **results}


def main() -> None:
    """Distill, compare, print a table, write JSON."""
    parser = arguments(__doc__)
    parser.add_argument("--ipc", type=int, nargs="+", default=[1, 10], choices=list(PARAMETERS))
    parser.add_argument("--max-iter", type=int, help="default: 200, or 100 for ten per class")
    parser.add_argument("--networks", type=int, default=10, help="networks in an evaluation")
    add_clipping(parser, default="robust")
    args = parser.parse_args()
    X, y = load_digits(return_X_y=True)
    data = train_test_split(X, y, stratify=y, random_state=0)
    report = Report(args.json, about(args, DIGITS), ("ipc", "seed"))
    print("ipc  seed  distilled (%)  random (%)  k-means (%)  seconds")
    for ipc in args.ipc:
        for seed in args.seeds:
            row = report.run(
                lambda ipc=ipc, seed=seed: one_run(ipc, seed, args, data), ipc=ipc, seed=seed
            )
            print(
                f"{ipc:3d}  {seed:4d}  {100 * row['distilled']['mean']:13.1f}  "
                f"{100 * row['random real samples']['mean']:10.1f}  "
                f"{100 * row['k-means centroids']['mean']:11.1f}  "
                f"{row['provenance']['seconds']:7.0f}",
                flush=True,
            )
        done = [row["distilled"]["mean"] for row in report.rows if row["ipc"] == ipc]
        print(f"{ipc:3d}  mean  {100 * np.mean(done):13.1f}")


if __name__ == "__main__":
    main()
