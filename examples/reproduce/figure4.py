"""Figure 4 on 8 x 8 digits: RaT-BPTT, BPTT, T-BPTT and R-BPTT at equal steps and at equal time.

A quarter of scikit-learn's digits is held out. Each method distils in turn for the same time, a
share of ``--minutes``; every ``--every`` outer steps networks are trained on its samples, with the
number of steps fixed beforehand, and tested on what was held out. Time is that of the outer steps
alone. Tables give mean and spread over seeds:

- at equal steps: after as many as the slowest run did;
- at equal time: the last test within the time of the run that took least;
- norms of the meta-gradients before clipping: their median, and how far they scatter around it.

    python examples/reproduce/figure4.py --minutes 14
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

from skdistill import RaTBPTTDistiller

METHODS = {"RaT-BPTT": "rat-bptt", "BPTT": "bptt", "T-BPTT": "t-bptt", "R-BPTT": "r-bptt"}
# "Using random unrolling (R-BPTT) and truncated window (T-BPTT) are both worse than BPTT. Combining
# them into RaT-BPTT gives the best performance." (figure 4)
PAPER = [("RaT-BPTT", "BPTT"), ("BPTT", "T-BPTT"), ("BPTT", "R-BPTT")]
QUARTILES, LARGEST = "norm: quartiles apart / median", "norm: largest / median"
RESULTS = Path(__file__).parent / "results" / "figure4.json"


def one_run(method: str, seed: int, seconds: float, args, data) -> dict:
    """Distil for so long, tests included, and return the curve."""
    X_train, X_test, y_train, y_test = data
    distiller = RaTBPTTDistiller(
        args.ipc,
        window=args.window,
        unroll=args.unroll,
        schedule=METHODS[method],
        image_shape=(1, 8, 8),
        compile=False,
        n_networks=args.networks,
        warm_start=True,
        random_state=seed,
    )
    began, lap = perf_counter(), 0.0
    curve = {"step": [], "seconds": [], "accuracy": []}
    # One more lap only if there is time for it, but at least one.
    while not curve["step"] or perf_counter() - began + lap < seconds:
        lap_began = perf_counter()
        distiller.set_params(max_iter=args.every * (len(curve["step"]) + 1)).fit(X_train, y_train)
        curve["step"].append(distiller.n_iter_)
        curve["seconds"].append(sum(distiller.history_["seconds"]))
        curve["accuracy"].append(distiller.score(X_test, y_test))
        lap = perf_counter() - lap_began
    norms = distiller.history_["grad_norm"]
    return {"method": method, "seed": seed, "curve": curve, "grad_norm": norms}


def at(row: dict, axis: str, limit: float, what: str = "accuracy") -> float:
    """Return the accuracy at the last test within a limit, or at the first if none is."""
    within = [k for k, value in enumerate(row["curve"][axis]) if value <= limit]
    return row["curve"][what][within[-1] if within else 0]


def summary(rows: list[dict]) -> dict:
    """Return mean and standard deviation over seeds, by method."""
    steps = min(row["curve"]["step"][-1] for row in rows)
    seconds = min(row["curve"]["seconds"][-1] for row in rows)
    table = {"steps": steps, "seconds": seconds, "methods": {}}
    for method in METHODS:
        own = [row for row in rows if row["method"] == method]
        if not own:
            continue
        norms = [[n for n in row["grad_norm"][:steps] if n is not None] for row in own]
        quartiles = np.array([np.percentile(n, [25, 50, 75]) for n in norms])
        values = {
            "at equal steps": [at(row, "step", steps) for row in own],
            "at equal time": [at(row, "seconds", seconds) for row in own],
            "steps at equal time": [at(row, "seconds", seconds, "step") for row in own],
            "norm": quartiles[:, 1],
            QUARTILES: (quartiles[:, 2] - quartiles[:, 0]) / quartiles[:, 1],
            LARGEST: [max(n) / median for n, median in zip(norms, quartiles[:, 1])],
        }
        table["methods"][method] = {
            name: [float(np.mean(v)), float(np.std(v))] for name, v in values.items()
        }
    return table


def print_summary(table: dict, n_seeds: int) -> None:
    """Print the tables, and whether the paper's order holds in them."""
    print(f"\nmean ± standard deviation over {n_seeds} seed(s)")
    print(f"            accuracy (%) after            {'meta-gradient norm':>40}")
    print(
        f"            {table['steps']:5d} steps  {table['seconds']:5.0f} s  (steps in that time)"
        "   median   quartiles apart   largest / median"
    )
    for method, row in table["methods"].items():
        steps, seconds = (row[f"at equal {axis}"] for axis in ("steps", "time"))
        print(
            f"{method:10s}  {100 * steps[0]:5.1f} ± {100 * steps[1]:3.1f}  "
            f"{100 * seconds[0]:5.1f} ± {100 * seconds[1]:3.1f}  "
            f"{row['steps at equal time'][0]:15.0f}  "
            f"{row['norm'][0]:12.3g}  {row[QUARTILES][0]:14.2f}  {row[LARGEST][0]:15.1f}"
        )
    if len(table["methods"]) < len(METHODS):
        return
    for name in ("at equal steps", "at equal time"):
        print(f"\nThe paper's order, {name}:")
        for better, worse in PAPER:
            (a, a_std), (b, b_std) = (table["methods"][m][name] for m in (better, worse))
            spread = np.hypot(a_std, b_std)
            verdict = "holds" if a > b else "does not hold"
            if abs(a - b) <= spread:
                verdict = f"within the spread ({verdict} for the means)"
            print(
                f"  {better} above {worse}: {100 * (a - b):+.1f} points "
                f"(spread over seeds {100 * spread:.1f}): {verdict}"
            )


def main() -> None:
    """Distil with all methods, print tables, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=14, help="for all runs together")
    parser.add_argument("--ipc", type=int, default=1)
    parser.add_argument("--window", type=int, default=15)
    parser.add_argument("--unroll", type=int, default=45)
    parser.add_argument("--every", type=int, default=50, help="outer steps between two tests")
    parser.add_argument("--networks", type=int, default=5, help="networks in a test")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--json", type=Path, default=RESULTS)
    args = parser.parse_args()
    X, y = load_digits(return_X_y=True)
    data = train_test_split(X, y, stratify=y, random_state=0)
    seconds = 60 * args.minutes / (len(args.seeds) * len(METHODS))
    rows = []
    for seed in args.seeds:
        for method in METHODS:
            rows.append(one_run(method, seed, seconds, args, data))
            curve = rows[-1]["curve"]
            print(
                f"seed {seed}  {method:10s}  {curve['step'][-1]:5d} steps  "
                f"{curve['seconds'][-1]:5.0f} s  {100 * curve['accuracy'][-1]:5.1f} %",
                flush=True,
            )
            report = {
                "data": "scikit-learn's digits, a quarter held out",
                "parameters": {k: v for k, v in vars(args).items() if k != "json"},
                "machine": f"{os.cpu_count()} cores",
                "threads": torch.get_num_threads(),
                "torch": str(torch.__version__),
                "summary": summary(rows),
                "rows": rows,
            }
            args.json.parent.mkdir(parents=True, exist_ok=True)
            args.json.write_text(json.dumps(report, indent=1) + "\n")
    print_summary(summary(rows), len(args.seeds))


if __name__ == "__main__":
    main()
