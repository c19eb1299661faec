"""[Feng23, figure 4] on 8 x 8 digits: RaT-BPTT, BPTT, T-BPTT, R-BPTT at equal steps and equal time.

A quarter of scikit-learn's digits is held out. Each method distills in turn for the same time, a
share of ``--minutes``; every ``--every`` outer steps networks are trained on its samples, with the
number of steps fixed beforehand, and tested on what was held out. Time is that of the outer steps
alone. Tables give mean and spread over seeds:

- at equal steps: after as many as the slowest run did;
- at equal time: the last test within the time of the run that took least;
- norms of the meta-gradients before clipping: their median, and how far they scatter around it.

    python examples/reproduce/figure4.py --minutes 14
"""

import curves
import numpy as np
import torch
from report import DIGITS, RESULTS, Report, about, arguments
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from skdistill import RaTBPTTDistiller

METHODS = {"RaT-BPTT": "rat-bptt", "BPTT": "bptt", "T-BPTT": "t-bptt", "R-BPTT": "r-bptt"}
# "Using random unrolling (R-BPTT) and truncated window (T-BPTT) are both worse than BPTT. Combining
# them into RaT-BPTT gives the best performance." [Feng23, figure 4]
PAPER = [("RaT-BPTT", "BPTT"), ("BPTT", "T-BPTT"), ("BPTT", "R-BPTT")]
QUARTILES, LARGEST = "norm: quartiles apart / median", "norm: largest / median"


def one_run(method: str, seed: int, seconds: float, args, data) -> dict:
    """Distill for so many seconds, tests included, and return the curve."""
    distiller = RaTBPTTDistiller(
        args.ipc,
        window=args.window,
        unroll=args.unroll,
        schedule=METHODS[method],
        image_shape=(1, 8, 8),
        compile=False,
        n_networks=args.networks,
        random_state=seed,
    )
    curve = curves.distill(distiller, data, seconds, args.every)
    norms = distiller.history_["grad_norm"]
    return {"method": method, "seed": seed, "curve": curve, "grad_norm": norms}


def norms(rows: list[dict], steps: int) -> dict:
    """Return how large the meta-gradients of a method's runs are, and how far they scatter."""
    norms = [[n for n in row["grad_norm"][:steps] if n is not None] for row in rows]
    quartiles = np.array([np.percentile(n, [25, 50, 75]) for n in norms])
    return {
        "norm": quartiles[:, 1],
        QUARTILES: (quartiles[:, 2] - quartiles[:, 0]) / quartiles[:, 1],
        LARGEST: [max(n) / median for n, median in zip(norms, quartiles[:, 1])],
    }


def summarize(rows: list[dict]) -> dict:
    """Return the numbers in the tables, over all runs."""
    return curves.summary(rows, list(METHODS), norms)


def main() -> None:
    """Distill with all methods, print tables, write JSON."""
    parser = arguments(__doc__, RESULTS / "figure4.json")
    parser.add_argument("--minutes", type=float, default=14, help="for all runs together")
    parser.add_argument("--ipc", type=int, default=1)
    parser.add_argument("--window", type=int, default=15)
    parser.add_argument("--unroll", type=int, default=45)
    parser.add_argument("--every", type=int, default=50, help="outer steps between two tests")
    parser.add_argument("--networks", type=int, default=5, help="networks in a test")
    args = parser.parse_args()
    X, y = load_digits(return_X_y=True)
    data = train_test_split(X, y, stratify=y, random_state=0)
    seconds = 60 * args.minutes / (len(args.seeds) * len(METHODS))
    head = {**about(args, DIGITS), "torch": str(torch.__version__)}
    report = Report(args.json, head, ("method", "seed"), summarize)
    for row in report.run_all(METHODS, args.seeds, lambda *run: one_run(*run, seconds, args, data)):
        curves.print_row(row)
    table = summarize(report.rows)
    curves.print_summary(table, len({row["seed"] for row in report.rows}))
    print("\nmeta-gradient norm   median   quartiles apart / median   largest / median")
    for method, values in table["methods"].items():
        print(
            f"{method:18s}  {values['norm'][0]:7.3g}  {values[QUARTILES][0]:25.2f}  "
            f"{values[LARGEST][0]:17.1f}"
        )
    curves.print_order(table, PAPER)


if __name__ == "__main__":
    main()
