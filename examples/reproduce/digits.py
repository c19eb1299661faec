"""8 x 8 digits: distilled sets beside random real digits, over seeds of the distiller.

A quarter of scikit-learn's digits is held out. For each seed, ten networks are trained on the
distilled set and ten on random real digits (five draws); both see the same number of steps, fixed
beforehand. Ten samples a class start from k-means centroids.

    python examples/reproduce/digits.py --ipc 1 10 --seeds 0 1 2 --json out.json
"""

import argparse
import json
import os
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from skdistill import RaTBPTTDistiller
from skdistill.evaluation import compare

PARAMETERS = {1: {}, 10: {"init": "kmeans", "max_iter": 100}}


def main() -> None:
    """Distil, compare, print a table, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ipc", type=int, nargs="+", default=[1, 10], choices=list(PARAMETERS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    X, y = load_digits(return_X_y=True)
    X_train, X_test, y_train, y_test = train_test_split(X, y, stratify=y, random_state=0)
    rows = []
    print("ipc  seed  distilled (%)  random (%)  k-means (%)  seconds")
    for ipc in args.ipc:
        for seed in args.seeds:
            distiller = RaTBPTTDistiller(
                ipc, image_shape=(1, 8, 8), random_state=seed, **PARAMETERS[ipc]
            ).fit(X_train, y_train)
            comparison = compare(
                distiller.distilled_, X_train, y_train, X_test, y_test, n_networks_whole=1
            )
            row = {"ipc": ipc, "seed": seed, "provenance": distiller.distilled_.provenance}
            row |= {
                name: {"mean": r.mean, "std": r.std, "n_networks": len(r.accuracies)}
                for name, r in comparison.results.items()
            }
            rows.append(row)
            print(
                f"{ipc:3d}  {seed:4d}  {100 * row['distilled']['mean']:13.1f}  "
                f"{100 * row['random real samples']['mean']:10.1f}  "
                f"{100 * row['k-means centroids']['mean']:11.1f}  "
                f"{row['provenance']['seconds']:7.0f}",
                flush=True,
            )
        done = [row for row in rows if row["ipc"] == ipc]
        print(f"{ipc:3d}  mean  {100 * np.mean([row['distilled']['mean'] for row in done]):13.1f}")
    if args.json:
        report = {
            "data": "scikit-learn's digits, a quarter held out",
            "machine": f"{os.cpu_count()} cores",
            "threads": torch.get_num_threads(),
            "rows": rows,
        }
        args.json.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
