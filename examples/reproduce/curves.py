"""Accuracy during distillation, for scripts that compare methods at equal steps and equal time."""

from collections.abc import Callable, Sequence
from time import perf_counter

import numpy as np
from report import mean_and_std


def distill(distiller, data, seconds: float, every: int) -> dict[str, list]:
    """Distill for so many seconds, tests included; return accuracy by outer steps and seconds.

    Every `every` outer steps networks are trained on the samples, with a number of steps that is
    fixed beforehand, and tested. The seconds in the result are those of the outer steps alone.
    """
    X_train, X_test, y_train, y_test = data
    distiller.set_params(warm_start=True)
    began, lap = perf_counter(), 0.0
    curve = {"step": [], "seconds": [], "accuracy": []}
    # One more lap only if there is time for it, but at least one.
    while not curve["step"] or perf_counter() - began + lap < seconds:
        lap_began = perf_counter()
        distiller.set_params(max_iter=every * (len(curve["step"]) + 1)).fit(X_train, y_train)
        curve["step"].append(distiller.n_iter_)
        curve["seconds"].append(sum(distiller.history_["seconds"]))
        curve["accuracy"].append(distiller.score(X_test, y_test))
        lap = perf_counter() - lap_began
    return curve


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
