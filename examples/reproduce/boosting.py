"""Boost-DD on 8 x 8 digits: is every prefix as good as a set distilled at its size? (Figure 8.)

A quarter of scikit-learn's digits is held out. For each seed: a strongly boosted set (Algorithm 2),
sets distilled at the size of each of its budgets, random subsets of the largest of those, and
random real digits; every block and every set gets the same number of outer steps. Several networks
are trained on each, with the number of steps fixed beforehand. With the defaults an hour or two on
two cores.

    python examples/reproduce/boosting.py --seeds 0 1 2 --json out.json
"""

import argparse
import json
import os
from pathlib import Path
from time import perf_counter

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from skdistill import BoostedDistiller, RaTBPTTDistiller
from skdistill.intercorrelation import subsample_curve

NESTED, DIRECT, SUBSETS, REAL = COLUMNS = (
    "boosted",
    "distilled at that size",
    "random subsets",
    "random real samples",
)


def one_seed(seed: int, args, data) -> dict:
    """Return, by column, the mean accuracy at every budget."""
    X_train, X_test, y_train, y_test = data
    distiller = RaTBPTTDistiller(
        image_shape=(1, 8, 8),
        max_iter=args.max_iter,
        init=args.init,
        n_networks=args.networks,
        random_state=seed,
    )
    began = perf_counter()
    boosted = BoostedDistiller(
        args.ipc, block_size=args.block_size, distiller=distiller, random_state=seed
    ).fit(X_train, y_train)
    sets = {
        ipc: distiller.set_params(ipc=ipc).fit(X_train, y_train).distilled_
        for ipc in boosted.budgets_
    }
    seconds = perf_counter() - began
    nested = boosted.evaluate_budgets(X_test, y_test)
    curve = subsample_curve(
        sets[args.ipc],
        X_test,
        y_test,
        sizes=boosted.budgets_,
        n_draws=args.draws,
        real=(X_train, y_train),
        sets=sets,
    )
    columns = {name: mean.tolist() for name, (mean, _) in curve.curves.items()}
    columns[NESTED] = [result.mean for result in nested.values()]
    return {"seed": seed, "seconds": seconds, "budgets": boosted.budgets_, **columns}


def main() -> None:
    """Distil, evaluate, print a table, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ipc", type=int, default=10)
    parser.add_argument("--block-size", type=int, default=2)
    parser.add_argument("--max-iter", type=int, default=100, help="outer steps of a block or set")
    parser.add_argument("--init", default="gaussian", choices=["gaussian", "real", "kmeans"])
    parser.add_argument("--networks", type=int, default=10, help="networks in an evaluation")
    parser.add_argument("--draws", type=int, default=5, help="random subsets of each size")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    X, y = load_digits(return_X_y=True)
    data = train_test_split(X, y, stratify=y, random_state=0)
    rows = []
    for seed in args.seeds:
        rows.append(one_seed(seed, args, data))
        print_table([rows[-1]], f"seed {seed}, {rows[-1]['seconds']:.0f} s of distillation")
        if args.json:  # after every seed: a long run loses nothing
            report = {
                "data": "scikit-learn's digits, a quarter held out",
                "parameters": {k: v for k, v in vars(args).items() if k != "json"},
                "machine": f"{os.cpu_count()} cores",
                "threads": torch.get_num_threads(),
                "rows": rows,
            }
            args.json.write_text(json.dumps(report, indent=1) + "\n")
    print_table(rows, f"mean of {len(rows)} seeds")
    means = {name: np.mean([row[name] for row in rows], axis=0) for name in COLUMNS}
    gap = 100 * (means[DIRECT] - means[NESTED])
    margin = 100 * (means[NESTED] - means[SUBSETS])[:-1]
    print(f"\nBoosted is at most {gap.max():.1f} points below a set distilled at that size,")
    print(f"and {margin.min():.1f} to {margin.max():.1f} points above random subsets.")


def print_table(rows: list[dict], title: str) -> None:
    """Print the mean accuracy over rows by budget."""
    print(f"\n{title}, test accuracy (%)")
    print("samples a class  " + "  ".join(COLUMNS))
    for i, budget in enumerate(rows[0]["budgets"]):
        cells = [
            f"{100 * np.mean([row[name][i] for row in rows]):{len(name)}.1f}" for name in COLUMNS
        ]
        print(f"{budget:15d}  " + "  ".join(cells), flush=True)


if __name__ == "__main__":
    main()
