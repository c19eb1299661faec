"""Boost-DD: is every prefix as good as a set distilled at its size? [Feng23, figure 8]

The data is 8 x 8 digits, a quarter held out, or some of Fashion-MNIST's images made smaller. For
each seed these are compared: a strongly boosted set (Algorithm 2), sets distilled at the size of
each of its budgets, random subsets of the largest of those, and random real samples. Every block
and every set gets the same number of outer steps. Several networks are trained on each, with the
number of steps fixed beforehand. The defaults take some hours on two cores; the files in
``results`` are of narrower networks.

    python examples/reproduce/boosting.py --width 64 --max-iter 60 --networks 5 --draws 3
    python examples/reproduce/boosting.py --dataset fashion-mnist --ipc 4 --width 64
"""

from functools import partial
from pathlib import Path
from time import perf_counter

import numpy as np
import torch
from report import DIGITS, Report, about, arguments, mean_and_std
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from skdistill import BoostedDistiller, RaTBPTTDistiller
from skdistill.datasets import fetch_fashion_mnist
from skdistill.intercorrelation import subsample_curve
from skdistill.networks import ConvNet

NESTED, DIRECT, SUBSETS, REAL = COLUMNS = (
    "boosted",
    "distilled at that size",
    "random subsets",
    "random real samples",
)


def one_seed(seed: int, args, data) -> dict:
    """Return, by column, the mean accuracy at every budget."""
    X_train, X_test, y_train, y_test = data
    architecture = partial(ConvNet, width=args.width)
    distiller = RaTBPTTDistiller(
        image_shape=(1, *X_train.shape[1:]),
        architecture=architecture,
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
        architecture=architecture,
    )
    columns = {name: mean.tolist() for name, (mean, _) in curve.curves.items()}
    columns[NESTED] = [result.mean for result in nested.values()]
    return {"seed": seed, "seconds": seconds, "budgets": boosted.budgets_, **columns}


def summarize(rows: list[dict]) -> dict:
    """Return the accuracies by budget and column: means and standard deviations over seeds."""
    methods = {}
    for i, budget in enumerate(rows[0]["budgets"]):
        methods[f"{budget} per class"] = {
            name: mean_and_std(row[name][i] for row in rows) for name in COLUMNS
        }
    return {"methods": methods}


def load(args) -> tuple[str, list[np.ndarray]]:
    """Return what the data is, and training and test images and their labels."""
    if args.dataset == "digits":
        X, y = load_digits(return_X_y=True)
        data = train_test_split(X.reshape(-1, 8, 8), y, stratify=y, random_state=0)
        return DIGITS, data
    parts = []
    for subset, n in (("train", args.samples), ("test", args.samples // 2)):
        X, y = fetch_fashion_mnist(subset=subset, data_home=args.data_home, return_X_y=True)
        X, _, y, _ = train_test_split(X, y, train_size=n, stratify=y, random_state=0)
        size = (args.side, args.side)
        X = torch.from_numpy(X)[:, None].float()
        parts.append((torch.nn.functional.adaptive_avg_pool2d(X, size)[:, 0].numpy(), y))
    (X_train, y_train), (X_test, y_test) = parts
    what = f"Fashion-MNIST, {args.samples} training images of {args.side} x {args.side} pixels"
    return what, [X_train, X_test, y_train, y_test]


def main() -> None:
    """Distill, evaluate, print a table, write JSON."""
    parser = arguments(__doc__)
    parser.add_argument("--ipc", type=int, default=10)
    parser.add_argument("--block-size", type=int, default=2)
    parser.add_argument("--width", type=int, default=128, help="of the ConvNets")
    parser.add_argument("--dataset", default="digits", choices=["digits", "fashion-mnist"])
    parser.add_argument("--data-home", type=Path, help="where Fashion-MNIST is, or goes")
    parser.add_argument("--samples", type=int, default=5000, help="of Fashion-MNIST, for training")
    parser.add_argument("--side", type=int, default=14, help="pixels, of Fashion-MNIST's images")
    parser.add_argument("--max-iter", type=int, default=100, help="outer steps of a block or set")
    parser.add_argument("--init", default="gaussian", choices=["gaussian", "real", "kmeans"])
    parser.add_argument("--networks", type=int, default=10, help="networks in an evaluation")
    parser.add_argument("--draws", type=int, default=5, help="random subsets of each size")
    args = parser.parse_args()
    what, data = load(args)
    report = Report(args.json, about(args, what), ("seed",), summarize)
    for seed in args.seeds:
        row = report.run(lambda seed=seed: one_seed(seed, args, data), seed=seed)
        print_table([row], f"seed {seed}, {row['seconds']:.0f} s of distillation")
    rows = report.rows
    print_table(rows, f"mean of {len(rows)} seeds")
    means = {name: np.mean([row[name] for row in rows], axis=0) for name in COLUMNS}
    gap = 100 * (means[DIRECT] - means[NESTED])
    margin = 100 * (means[NESTED] - means[SUBSETS])[:-1]
    print(f"\nBoosted is at most {gap.max():.1f} points below a set distilled at that size,")
    print(f"and {margin.min():.1f} to {margin.max():.1f} points above random subsets.")


def print_table(rows: list[dict], title: str) -> None:
    """Print the mean accuracy over rows by budget."""
    print(f"\n{title}, test accuracy (%)")
    print("samples per class  " + "  ".join(COLUMNS))
    for i, budget in enumerate(rows[0]["budgets"]):
        cells = [
            f"{100 * np.mean([row[name][i] for row in rows]):{len(name)}.1f}" for name in COLUMNS
        ]
        print(f"{budget:15d}  " + "  ".join(cells), flush=True)


if __name__ == "__main__":
    main()
