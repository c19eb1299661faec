"""Which window, unrolling and inner learning rate suit which size of images, at equal time.

``window="auto"``, ``unroll="auto"`` and ``inner_lr="auto"`` of `RaTBPTTDistiller` come from this
table. One sample per class is distilled through the usual networks with each setting in turn, for
the same number of minutes; then networks are trained on the result, with a number of steps that is
fixed beforehand, and tested on training images that were held out. The test sets are not looked at.

Sizes are 8 (digits), 16 (CIFAR-10, means of 2 x 2 pixels), 28 (Fashion-MNIST) and 32 (CIFAR-10);
color images are whitened. ``--table`` takes one of scikit-learn's tables instead.

    python examples/reproduce/windows.py --size 8 --minutes 2
    python examples/reproduce/windows.py --table wine --minutes 0.1 --seeds 0 1 2
    python examples/reproduce/windows.py --size 28 --data FOLDER --minutes 8
"""

from functools import partial
from pathlib import Path

import data
import numpy as np
import sittings
from report import RESULTS, Report, about, arguments, mean_and_std
from sittings import Cell, Sitting
from sklearn.datasets import load_breast_cancer, load_iris, load_wine

from skdistill import RaTBPTTDistiller
from skdistill.evaluation import evaluate

# (window, unroll, inner learning rate).
SETTINGS = [(15, 45, 0.001), (20, 30, 0.003), (40, 60, 0.001), (40, 60, 0.003)]
TABLES = {"iris": load_iris, "wine": load_wine, "breast-cancer": load_breast_cancer}
DATASETS = {8: "digits", 16: "cifar10-folder", 28: "fashion-mnist", 32: "cifar10-folder"}


def load(args) -> list[np.ndarray]:
    """Return X_train, X_held, y_train and y_held, all of the training images (or of a table)."""
    if args.table:
        X, y = TABLES[args.table](return_X_y=True)
    else:
        X, _, y, _ = data.load(args)
    if args.size == 16 and not args.table:
        n, *_, channels = X.shape
        X = X.reshape(n, 16, 2, 16, 2, channels).mean(axis=(2, 4), dtype=np.float32)
    return data.held_out(X, y)


def one_run(setting: tuple, seed: int, cell: Cell, args, arrays) -> dict:
    """Distill with a setting, and return a row of the report."""
    window, unroll, inner_lr = setting
    parameters = {"window": window, "unroll": unroll, "inner_lr": inner_lr, "compile": False}
    parameters["clip_norm"] = args.clip_norm
    return timed_row(parameters, label(setting), seed, cell, args, arrays)


def timed_row(parameters: dict, setting: str, seed: int, cell: Cell, args, arrays) -> dict:
    """Distill for `minutes`, test the result on the held-out images, and return a row."""
    X_train, X_held, y_train, y_held = arrays
    distiller = RaTBPTTDistiller(
        image_shape=(1, 8, 8) if args.dataset == "digits" else None,
        random_state=seed,
        **{"inner_architecture": None, **parameters},
    )
    cell.fit_for(distiller, X_train, y_train, 60 * args.minutes)
    result = evaluate(distiller.distilled_, X_held, y_held, n_networks=args.networks)
    return {
        "setting": setting,
        "seed": seed,
        "steps": distiller.n_iter_,
        "seconds": sum(distiller.history_["seconds"]),
        "accuracy": result.mean,
        "accuracies": result.accuracies.tolist(),
    }


def label(setting: tuple) -> str:
    """Return what a setting is called in tables."""
    return "window {}, unroll {}, inner_lr {}".format(*setting)


def summarize(rows: list[dict]) -> dict:
    """Return mean and deviation over seeds by setting."""
    names = list(dict.fromkeys(row["setting"] for row in rows))
    of = {name: [row for row in rows if row["setting"] == name] for name in names}
    methods = {
        name: {key: mean_and_std(row[key] for row in own) for key in ("accuracy", "steps")}
        for name, own in of.items()
    }
    return {"methods": methods}


def main() -> None:
    """Distill with all settings, print a table, write JSON."""
    parser = arguments(__doc__)
    parser.add_argument("--size", type=int, choices=list(DATASETS), default=8)
    parser.add_argument("--table", choices=list(TABLES), help="instead of images")
    parser.add_argument("--data", type=Path, help="folder of the images, as in table1.py")
    parser.add_argument("--minutes", type=float, default=2, help="for each setting and seed")
    parser.add_argument(
        "--settings", type=int, nargs="+", default=range(len(SETTINGS)), help="which, by number"
    )
    parser.add_argument("--networks", type=int, default=3, help="networks in the test")
    data.add_clipping(parser, default="robust")
    sittings.add_arguments(parser)
    args = parser.parse_args()
    args.settings = list(args.settings)
    args.dataset = args.table or DATASETS[args.size]
    args.zca = args.dataset == "cifar10-folder"
    args.json = args.json or RESULTS / f"windows-{args.table or args.size}.json"
    arrays = load(args)
    name = args.table or data.name(args)
    report = Report(args.json, about(args, name), ("setting", "seed"), summarize)
    with Sitting(report, args) as sitting:
        for seed in args.seeds:
            for setting in (SETTINGS[k] for k in args.settings):
                compute = partial(one_run, setting, seed, args=args, arrays=arrays)
                row = sitting.run(compute, setting=label(setting), seed=seed)
                print(
                    f"seed {seed}  {row['setting']:40s}  {row['steps']:5d} steps  "
                    f"{100 * row['accuracy']:5.1f} %",
                    flush=True,
                )
    for name, row in summarize(report.rows)["methods"].items():
        mean, std = row["accuracy"]
        print(f"{name:40s}  {100 * mean:5.1f} ± {100 * std:3.1f}  ({row['steps'][0]:.0f} steps)")


if __name__ == "__main__":
    main()
