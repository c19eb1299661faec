"""The numbers that rows of the scripts have for a claim, and the lines that are drawn of them."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import product

import numpy as np
from claims_rule import OWN, Statement, Values


def collect(found: Iterable[tuple[str, int, float | None]]) -> Values:
    """Return accuracies by name and seed, in points."""
    values: Values = {}
    for name, seed, accuracy in found:
        if accuracy is not None:
            values.setdefault(name, {})[seed] = 100 * accuracy
    return values


def of_sets(parts: list[list[dict]], names: Sequence[str] = ()) -> Values:
    """Return what rows of boosting.py say."""
    found = []
    for row in (row for rows in parts for row in rows):
        name, seed, budgets = row["set"], row["seed"], row["budgets"]
        for budget, accuracy in zip(budgets, row["accuracy"]):
            found.append((f"{name}, {budget} per class", seed, accuracy))
        for budget, accuracy in zip(budgets, row.get("accuracy of random parts", [])):
            found.append((f"{name}, {budget} random of {budgets[-1]}", seed, accuracy))
        if "accuracy of single blocks" in row:
            first, *later = row["accuracy of single blocks"]
            found.append((f"{name}, first block", seed, first))
            found.append((f"{name}, later blocks alone", seed, float(np.mean(later))))
        longer = row.get("accuracy of the largest in the time of all blocks")
        found.append((f"{name}, {budgets[-1]} per class, in equal time", seed, longer))
    return collect(found)


ACCURACY = "test accuracy (%)"
# Names of the x and the y of a panel, and its lines.
Panels = dict[tuple[str, str], dict[str, list]]


def percent(values: Iterable[float]) -> list[float]:
    """Return accuracies as they are drawn."""
    return [100 * value for value in values]


def lines_of_sets(parts: list[list[dict]]) -> Panels:
    """Return accuracy by samples per class, of sets and of random parts of the largest."""
    panel: dict[str, list] = {}
    for row in (row for rows in parts for row in rows):
        panel.setdefault(row["set"], []).append((row["budgets"], percent(row["accuracy"])))
        if "accuracy of random parts" in row:
            line = row["budgets"], percent(row["accuracy of random parts"])
            panel.setdefault(f"{row['set']}, random parts", []).append(line)
    return {("samples per class", ACCURACY): panel}


def of_curves(*labels: str) -> Callable[[list[list[dict]], Sequence[str]], Values]:
    """Return what reads rows with a curve: accuracy at equal steps, and at equal time.

    It is the mean of the tests in the last quarter, because a run's samples may be some points
    worse for a while. Steps and time are those that all runs had which are compared and did not
    diverge: others may have been slower.
    """

    def values(parts: list[list[dict]], names: Sequence[str]) -> Values:
        return collect(
            (name, row["seed"], late(row["curve"], axis, limit))
            for name, row, axis, limit in compared(labels, parts, names)
        )

    return values


def compared(
    labels: Sequence[str], parts: list[list[dict]], names: Sequence[str]
) -> Iterator[tuple[str, dict, str, float]]:
    """Yield the name, row, axis and limit of each curve that has one of these names."""
    for label, rows in zip(labels, parts):
        for axis, words in (("step", "equal steps"), ("seconds", "equal time")):
            named = [(", ".join(filter(None, [label, row["method"], words])), row) for row in rows]
            named = [(name, row) for name, row in named if name in names]
            # One that diverged has ended: it does not shorten the others.
            whole = [row for _, row in named if "ended by" not in row]
            rows_of_limit = whole or [row for _, row in named]
            limit = min((row["curve"][axis][-1] for row in rows_of_limit), default=0)
            yield from ((name, row, axis, limit) for name, row in named)


# In rows of truncations.py: windows that are to move, and what curves have.
FORWARD, BACKWARD = "moves forward", "moves backward"
PLACES, NORM = "places of the window", "norm, median"


def has_not_moved(parts: list[list[dict]], statement: Statement) -> str | None:
    """Return that windows which are to move have not, within what is compared, if that is so."""
    places = [
        last_within(row["curve"], axis, limit, PLACES)
        for _, row, axis, limit in compared([""], parts, (statement.better, statement.worse))
        if row["method"] in (FORWARD, BACKWARD) and PLACES in row["curve"]
    ]
    if places and np.median(places) <= 1:
        return "the window is still at its first place"
    return None


def last_within(curve: dict, axis: str, limit: float, what: str) -> float:
    """Return a curve's value at the last test within a limit, or at the first of all."""
    within = [value for value, x in zip(curve[what], curve[axis]) if x <= limit]
    return (within or curve[what])[-1 if within else 0]


def late(curve: dict, axis: str, limit: float) -> float:
    """Return the mean accuracy of the tests in the last quarter of a limit."""
    tests = [a for a, x in zip(curve["accuracy"], curve[axis]) if 0.75 * limit <= x <= limit]
    # If there is none, the last before, or the first of all.
    before = [a for a, x in zip(curve["accuracy"], curve[axis]) if x <= limit]
    return float(np.mean(tests or before[-1:] or curve["accuracy"][:1]))


def lines_of_curves(*labels: str, key: str = "method") -> Callable[[list[list[dict]]], Panels]:
    """Return what reads rows with a curve: accuracy by minutes and outer steps, and norms."""
    kinds = (
        ("step", "outer steps", 1, "accuracy", ACCURACY),
        ("seconds", "minutes", 60, "accuracy", ACCURACY),
        ("step", "outer steps", 1, NORM, "norm of the meta-gradient, median between two tests"),
    )

    def lines(parts: list[list[dict]]) -> Panels:
        panels: Panels = {}
        for (label, rows), (axis, unit, factor, what, words) in product(zip(labels, parts), kinds):
            for row in (row for row in rows if what in row.get("curve", {})):
                x = [value / factor for value in row["curve"][axis]]
                y = row["curve"][what]
                panel = panels.setdefault((", ".join(filter(None, [label, unit])), words), {})
                panel.setdefault(row[key], []).append((x, percent(y) if words == ACCURACY else y))
        return panels

    return lines


def of_parametrizations(*labels: str) -> Callable[[list[list[dict]], Sequence[str]], Values]:
    """Return what reads rows of parametrizations.py."""
    return lambda parts, names: collect(
        (f"{label}, {row['name']}", row["seed"], row["accuracy"])
        for label, rows in zip(labels, parts)
        for row in rows
    )


# The first four bins of the forgetting score, and what is told by them. Samples in the fifth were
# never learned by a network: how often it would have forgotten them is not known.
NEVER, SELDOM, OFTEN, MOST = (
    "never forgotten",
    "forgotten less than once",
    "forgotten one to three times",
    "forgotten three times or more",
)
LACK, GAIN = "what ten per class lack of everything", "what ten per class add to one"


def of_hardness(parts: list[list[dict]], names: Sequence[str] = ()) -> Values:
    """Return what rows of hardness.py say: accuracies, and differences of sets by score."""
    found, by_score = [], {}
    for row in (row for rows in parts for row in rows):
        if "accuracy" in row:
            found.append((f"{row['name']} batches", row["seed"], row["accuracy"]))
        if "accuracy by score" in row:
            by_score[row["name"], row["seed"]] = row["accuracy by score"]
    for name, seed in by_score:
        sets = [
            by_score.get((each, seed))
            for each in ("one per class", "uniform", "whole training set")
        ]
        if name != "uniform" or None in sets:
            continue
        for where, k in ((NEVER, 0), (OFTEN, 2)):
            one, ten, whole = (each[k] for each in sets)
            if None not in (one, ten, whole):
                found.append((f"{LACK}, {where}", seed, whole - ten))
        for where, k in ((SELDOM, 1), (MOST, 3)):
            one, ten, _ = (each[k] for each in sets)
            if None not in (one, ten):
                found.append((f"{GAIN}, {where}", seed, ten - one))
    return collect(found)


def lines_of_hardness(parts: list[list[dict]]) -> Panels:
    """Return accuracy by bins of the forgetting score."""
    panel: dict[str, list] = {}
    names = {"uniform": "ten per class"}
    for row in (row for rows in parts for row in rows):
        values = row.get("accuracy by score")
        if values is not None and row["name"] not in ("extremes", "medium"):
            known = [(k, 100 * value) for k, value in enumerate(values) if value is not None]
            name = names.get(row["name"], row["name"])
            panel.setdefault(name, []).append(tuple(map(list, zip(*known))))
    bins = "bin of the forgetting score: 0, to 1, 1 to 3, from 3, never learned"
    return {(bins, ACCURACY): panel}


def of_transfer(parts: list[list[dict]], names: Sequence[str] = ()) -> Values:
    """Return what rows of architectures.py say."""
    return collect(
        (f"through {row['through']}, {name}", row["seed"], value["mean"])
        for rows in parts
        for row in rows
        for name, value in row.items()
        if name.startswith("on ")
    )


def of_methods(*labels: str) -> Callable[[list[list[dict]], Sequence[str]], Values]:
    """Return what reads rows of methods.py: by our protocol, and by its own if it has one."""

    def values(parts: list[list[dict]], names: Sequence[str]) -> Values:
        found = []
        for label, rows in zip(labels, parts):
            for row in rows:
                name, seed = f"{label}, {row['method']}", row["seed"]
                # A run that diverged before its first step has none.
                found.append((name, seed, row.get("accuracy")))
                found += [(f"{name}, own protocol", seed, row[OWN])] if OWN in row else []
        return collect(found)

    return values
