"""Learned labels and a linear basis on 8 x 8 digits, and plain samples of the same storage.

A quarter of scikit-learn's digits is held out. For each seed and row ten networks are trained on
the distilled set, with the number of steps fixed beforehand. Storage is counted in plain samples
per class, and includes all numbers of bases and coefficients [Feng23, 4.2] and of labels. All rows
get the same number of outer steps, which take longer for the rows with more samples.

    python examples/reproduce/labels_and_basis.py --seeds 0 1 2
"""

import numpy as np
from report import RESULTS, arguments, on_digits, print_margins

from skdistill import RaTBPTTDistiller
from skdistill.evaluation import evaluate
from skdistill.parametrization import LinearBasis

PLAIN = "pixels, 1 per class"
ROWS = {
    PLAIN: {"ipc": 1},
    "and learned labels": {"ipc": 1, "learn_labels": True},
    # 5 x 64 values and 60 x 5 coefficients; 4 x 64 and 90 x 4. Ten plain samples: 640.
    "5 bases, 6 per class": {"ipc": 6, "parametrization": LinearBasis(5)},
    "4 bases, 9 per class": {"ipc": 9, "parametrization": LinearBasis(4)},
}


def one_run(name: str, seed: int, args, data) -> dict:
    """Distill, test and return a row of the report."""
    X_train, X_test, y_train, y_test = data
    distiller = RaTBPTTDistiller(
        image_shape=(1, 8, 8),
        max_iter=args.max_iter,
        n_networks=args.networks,
        random_state=seed,
        **ROWS[name],
    ).fit(X_train, y_train)
    distilled = distiller.distilled_
    row = {
        "name": name,
        "seed": seed,
        "ipc": distilled.ipc,
        "storage": distilled.storage,
        "accuracy": distiller.score(X_test, y_test),
        "provenance": distilled.provenance,
    }
    if distilled.y.ndim == 2:
        row["with hard labels"] = evaluate(distilled.with_hard_labels(), X_test, y_test).mean
    return row


def main() -> None:
    """Distill, print a table, write JSON."""
    parser = arguments(__doc__, RESULTS / "labels_and_basis.json")
    parser.add_argument("--max-iter", type=int, default=200)
    parser.add_argument("--networks", type=int, default=10, help="networks in an evaluation")
    args = parser.parse_args()
    data, report = on_digits(args, list(ROWS), PLAIN)
    print("                      seed  storage  accuracy (%)  seconds")
    for row in report.run_all(ROWS, args.seeds, lambda *run: one_run(*run, args, data)):
        print(
            f"{row['name']:20s}  {row['seed']:4d}  {row['storage']:7.2f}  "
            f"{100 * row['accuracy']:12.1f}  {row['provenance']['seconds']:7.0f}",
            flush=True,
        )
    print_margins(report.rows, list(ROWS), PLAIN)
    hard = [row["with hard labels"] for row in report.rows if "with hard labels" in row]
    print(f"Learned labels made hard: {100 * np.mean(hard):.1f} %")


if __name__ == "__main__":
    main()
