"""Batches by hardness on 8 x 8 digits: both signs of the weight, beside uniform batches (D.2).

A quarter of scikit-learn's digits is held out. The paper's formula draws the easiest and the
hardest samples most ("extremes"), its text those in between ("medium"); both are measured, after
the same uniform start. Ten networks for each set, with the number of steps fixed beforehand.

    python examples/reproduce/hardness_sampler.py --seeds 0 1 2
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
from skdistill.hardness import HardnessSampler

SAMPLERS = ("uniform", "extremes", "medium")
RESULTS = Path(__file__).parent / "results" / "hardness_sampler.json"


def one_run(name: str, seed: int, args, data) -> dict:
    """Distil, test and return a row of the report."""
    X_train, X_test, y_train, y_test = data
    sampler = name
    if name != "uniform":
        sampler = HardnessSampler(
            args.threshold, favour=name, renew_every=args.renew_every, begin=args.begin
        )
    distiller = RaTBPTTDistiller(
        args.ipc,
        image_shape=(1, 8, 8),
        max_iter=args.max_iter,
        sampler=sampler,
        random_state=seed,
    ).fit(X_train, y_train)
    return {
        "name": name,
        "seed": seed,
        "accuracy": distiller.score(X_test, y_test),
        "seconds": distiller.distilled_.provenance["seconds"],
    }


def main() -> None:
    """Distil, print a table, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ipc", type=int, default=1)
    parser.add_argument("--max-iter", type=int, default=200)
    parser.add_argument("--begin", type=int, default=50, help="outer steps with uniform batches")
    parser.add_argument("--renew-every", type=int, default=10, help="epochs, of 5 steps each")
    parser.add_argument("--threshold", type=float, default=1.0)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--json", type=Path, default=RESULTS)
    args = parser.parse_args()
    X, y = load_digits(return_X_y=True)
    data = train_test_split(X, y, stratify=y, random_state=0)
    rows = []
    for seed in args.seeds:
        for name in SAMPLERS:
            rows.append(one_run(name, seed, args, data))
            row = rows[-1]
            print(
                f"seed {seed}  {name:8s}  {100 * row['accuracy']:5.1f} %  {row['seconds']:4.0f} s",
                flush=True,
            )
            report = {
                "data": "scikit-learn's digits, a quarter held out",
                "parameters": {k: v for k, v in vars(args).items() if k != "json"},
                "machine": f"{os.cpu_count()} cores",
                "threads": torch.get_num_threads(),
                "rows": rows,
            }
            args.json.parent.mkdir(parents=True, exist_ok=True)
            args.json.write_text(json.dumps(report, indent=1) + "\n")
    accuracy = {
        name: np.array([row["accuracy"] for row in rows if row["name"] == name])
        for name in SAMPLERS
    }
    print(
        f"\nmean ± standard deviation over {len(args.seeds)} seed(s), and the margin over uniform"
    )
    for name, values in accuracy.items():
        margin = 100 * (values - accuracy["uniform"])
        print(
            f"{name:8s}  {100 * values.mean():5.1f} ± {100 * values.std():3.1f} %  "
            f"{margin.mean():+5.1f} points ({margin.min():+.1f} to {margin.max():+.1f})"
        )


if __name__ == "__main__":
    main()
