"""Accuracy during distillation, for scripts that compare methods at equal steps and equal time."""

import argparse
from collections.abc import Callable, Sequence
from functools import partial

import data
import numpy as np
from report import Report, about, mean_and_std
from sittings import ENDED, Cell, Sitting

from skdistill import RaTBPTTDistiller
from skdistill.networks import ConvNet


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of a comparison: data, minutes, networks and tests."""
    data.add_arguments(parser)
    data.add_clipping(parser)
    parser.add_argument("--minutes", type=float, default=1, help="of outer steps, for each run")
    parser.add_argument("--ipc", type=int, help="default: 1, or 10 at the paper's size")
    parser.add_argument("--width", type=int, help="of the networks; default: the usual one")
    parser.add_argument("--inner-lr", type=float)
    parser.add_argument("--augmentation", choices=["flip_rotate", "dsa"])
    parser.add_argument("--every", type=int, default=25, help="outer steps between two tests")
    parser.add_argument("--networks", type=int, default=5, help="networks in a test")


def parameters(args: argparse.Namespace, seed: int, X) -> dict:
    """Return the distiller's parameters that all methods of a comparison share."""
    shared = data.settings(args, args.ipc) | {
        "compile": False,
        "clip_norm": args.clip_norm,
        "image_shape": data.image_shape(args, X),
        "n_networks": args.networks,
        "random_state": seed,
    }
    if args.width is not None:
        # Distilled through and tested: what is compared are methods, on the same networks.
        shared["architecture"] = partial(ConvNet, width=args.width)
    return shared | data.given(args, ("inner_lr", "augmentation"))


def distill(
    distiller,
    arrays,
    seconds: float,
    every: int,
    cell: Cell,
    more: Callable[[dict[str, list], int], dict[str, float]] | None = None,
) -> dict[str, list]:
    """Distill for so many seconds of outer steps; return accuracy by outer steps and seconds.

    Every `every` outer steps networks are trained on the samples, with a number of steps that is
    fixed beforehand, and tested. ``more`` returns other values for the curve, by name, given the
    distiller's history and the outer steps since the last test. A run that diverges ends with its
    last samples.
    """
    X_train, X_test, y_train, y_test = arrays
    distiller.set_params(warm_start=True)
    curve = cell.notes.setdefault("curve", {"step": [], "seconds": [], "accuracy": []})
    while True:
        n = len(curve["step"])
        # One more lap only if there is time for it, but at least one.
        if n and curve["seconds"][-1] * (n + 1) / n > seconds:
            return curve
        distiller.set_params(max_iter=every * (n + 1))
        cell.fit(distiller, X_train, y_train, keeps_diverged=True)
        if n and distiller.n_iter_ == curve["step"][-1]:
            # It diverged in an earlier sitting.
            return curve
        cell.sitting.check()
        values = {
            "step": distiller.n_iter_,
            "seconds": sum(distiller.history_["seconds"]),
            "accuracy": distiller.score(X_test, y_test),
            **({} if more is None else more(distiller.history_, every)),
        }
        for name, value in values.items():
            curve.setdefault(name, []).append(value)
        cell.save()
        if ENDED in cell.notes:
            return curve


def compare(
    args: argparse.Namespace,
    methods: dict[str, dict],
    arrays,
    more: Callable[[dict[str, list], int], dict[str, float]] | None = None,
    measures: Callable[[list[dict], int], dict[str, Sequence[float]]] | None = None,
) -> dict | None:
    """Distill with all methods, print a table, write JSON; return the table, if there are rows.

    Parameters
    ----------
    args : argparse.Namespace
        Arguments of `add_arguments` and of `sittings.add_arguments`.
    methods : dict of str to dict
        The parameters of each method, by name.
    arrays : sequence of ndarray
        From `data.load`.
    more, measures : callable or None
        As in `distill`, and as ``more`` in `summary`.
    """

    def summarize(rows: list[dict]) -> dict:
        return summary(rows, list(methods), measures)

    def one_run(method: str, seed: int, cell: Cell) -> dict:
        shared = parameters(args, seed, arrays[0])
        distiller = RaTBPTTDistiller(**shared | methods[method])
        curve = distill(distiller, arrays, 60 * args.minutes, args.every, cell, more)
        return {"method": method, "seed": seed, "curve": curve}

    head = about(args, data.name(args))
    report = Report(args.json, head, ("method", "seed"), summarize)
    with Sitting(report, args) as sitting:
        for row in sitting.run_all(args.only or methods, args.seeds, one_run):
            print_row(row)
    if not report.rows:
        return None
    table = summarize(report.rows)
    print_summary(table, len({row["seed"] for row in report.rows}))
    return table


def at(row: dict, axis: str, limit: float, what: str = "accuracy") -> float:
    """Return the accuracy at the last test within a limit, or at the first test if none is."""
    within = [k for k, value in enumerate(row["curve"][axis]) if value <= limit]
    return row["curve"][what][within[-1] if within else 0]


def summary(
    rows: list[dict],
    methods: Sequence[str],
    more: Callable[[list[dict], int], dict[str, Sequence[float]]] | None = None,
) -> dict:
    """Return mean and standard deviation over seeds, by method.

    "At equal steps" is after as many steps as the slowest run did. "At equal time" is at the last
    test within the time of the run that took least; only outer steps count as time. ``more``
    returns other measures of a method's rows, by name.
    """
    steps = min(row["curve"]["step"][-1] for row in rows)
    seconds = min(row["curve"]["seconds"][-1] for row in rows)
    table = {"steps": steps, "seconds": seconds, "methods": {}}
    for method in methods:
        own = [row for row in rows if row["method"] == method]
        if not own:
            continue
        values = {
            "at equal steps": [at(row, "step", steps) for row in own],
            "at equal time": [at(row, "seconds", seconds) for row in own],
            "steps at equal time": [at(row, "seconds", seconds, "step") for row in own],
            **({} if more is None else more(own, steps)),
        }
        table["methods"][method] = {name: mean_and_std(v) for name, v in values.items()}
    return table


def print_row(row: dict) -> None:
    """Print the steps, time and accuracy of a run."""
    curve = row["curve"]
    print(
        f"seed {row['seed']}  {row['method']:24s}  {curve['step'][-1]:5d} steps  "
        f"{curve['seconds'][-1]:5.0f} s  {100 * curve['accuracy'][-1]:5.1f} %",
        flush=True,
    )


def print_summary(table: dict, n_seeds: int) -> None:
    """Print accuracy at equal steps and at equal time by method."""
    width = max(map(len, table["methods"]))
    print(f"\nmean ± standard deviation over {n_seeds} seed(s), test accuracy (%) after")
    print(
        f"{'':{width}s}  {table['steps']:5d} steps  {table['seconds']:5.0f} s  (steps in that time)"
    )
    for method, row in table["methods"].items():
        steps, seconds = (row[f"at equal {axis}"] for axis in ("steps", "time"))
        print(
            f"{method:{width}s}  {100 * steps[0]:5.1f} ± {100 * steps[1]:3.1f}  "
            f"{100 * seconds[0]:5.1f} ± {100 * seconds[1]:3.1f}  "
            f"{row['steps at equal time'][0]:15.0f}"
        )


def print_order(table: dict, order: Sequence[tuple[str, str]]) -> None:
    """Print whether the order in [Feng23], pairs of a better and a worse method, holds."""
    if not {method for pair in order for method in pair} <= table["methods"].keys():
        return
    for name in ("at equal steps", "at equal time"):
        print(f"\nThe paper's order, {name}:")
        for better, worse in order:
            (a, a_std), (b, b_std) = (table["methods"][m][name] for m in (better, worse))
            spread = np.hypot(a_std, b_std)
            verdict = "holds" if a > b else "does not hold"
            if abs(a - b) <= spread:
                verdict = f"within the spread ({verdict} for the means)"
            print(
                f"  {better} above {worse}: {100 * (a - b):+.1f} points "
                f"(spread over seeds {100 * spread:.1f}): {verdict}"
            )
