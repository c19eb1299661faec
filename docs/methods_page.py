"""Writes the tables of what each method can, from the distillers' classes: nothing is typed.

``methods.txt`` has a row for each of ``skdistill.all_distillers()``, ``refusals.txt`` what they
refuse, and ``features.txt`` what they can be asked for. ``measured.txt`` is what
``examples/reproduce/methods.py`` measured, from its files. ``user_guide/methods.rst`` includes
them.
"""

import json
from collections.abc import Iterable
from pathlib import Path

from generated import write_all
from reproduction import cell, escape, table
from table1_page import ACCURACIES, accuracies

from skdistill import all_distillers
from skdistill.distillers import BaseDistiller
from skdistill.distillers._features import FEATURES

HEADS = [
    "method",
    "tables",
    "images",
    "learned labels",
    "networks while distilling",
    "an outer step is",
    "its time grows with",
    "memory grows with",
    "``from_paper``",
]
# The files of examples/reproduce/methods.py: what they measured is in two columns of a table.
MEASURED = ("methods-digits-1.json", "methods-fashion-mnist-1.json")


def method_table(kinds: Iterable[type[BaseDistiller]]) -> str:
    """Return a row for each class."""
    return table(HEADS, [row(kind) for kind in kinds])


def row(kind: type[BaseDistiller]) -> list[str]:
    """Return what a class says of itself."""
    hints = kind._hints
    labels = "by default" if kind().learn_labels else "if asked for"
    return [
        f"`skdistill.{kind.__name__}`",
        *("no" if name in kind._refuses else "yes" for name in ("tables", "images")),
        "no" if "learned labels" in kind._refuses else labels,
        "yes" if kind._needs_network else "no",
        escape(hints.step) or "–",
        escape(", ".join(hints.time)),
        escape("; ".join((hints.states, hints.activations, hints.real))),
        runs(kind),
    ]


def runs(kind: type[BaseDistiller]) -> str:
    """Return the runs of its paper that a class knows."""
    if kind._paper is None:
        return "–"
    named = {
        f'``paper="{name}"``, ': paper
        for name, paper in kind._other_papers.items()
        if paper is not kind._paper
    }
    return "; ".join(
        f"{which}{data}: {', '.join(map(str, ipcs))}"
        for which, paper in {"": kind._paper, **named}.items()
        for data, ipcs in paper.columns.items()
    )


def refusal_table(kinds: Iterable[type[BaseDistiller]]) -> str:
    """Return a row for each refusal, or that there is none."""
    rows = [
        [f"`skdistill.{kind.__name__}`", name, escape(why)]
        for kind in kinds
        for name, why in kind._refuses.items()
    ]
    return table(["method", "refuses", "because"], rows) if rows else "No method refuses any.\n"


def feature_list() -> str:
    """Return the names of all features, in words."""
    return ", ".join(FEATURES) + ".\n"


def measured_table(results: Path) -> str:
    """Return the accuracy of each method on all data that has been measured."""
    files = [results / name for name in MEASURED]
    reports = [json.loads(f.read_text(encoding="utf-8")) for f in files if f.exists()]
    if not reports:
        return "Nothing has been measured yet.\n"
    heads, lines = ["method"], []
    by_networks, *by_others = ACCURACIES.values()
    for report in reports:
        data = escape(report["data"].split(",")[0])
        heads += [f"{data}: {by_networks}", *by_others, "outer steps"]
        lines.append(f"* {data}: {conditions(report)}.")
    names = dict.fromkeys(name for report in reports for name in report["summary"]["methods"])
    rows = [
        [method(name), *(text for report in reports for text in measured(name, report))]
        for name in names
    ]
    return "\n".join([*lines, "", table(heads, rows)])


def conditions(report: dict) -> str:
    """Return how a report was measured, in words."""
    parameters = report["parameters"]
    width = parameters["width"]
    through = "the usual width" if width is None else f"width {width}"
    threads = "one thread" if report["threads"] == 1 else f"{report['threads']} threads"
    return (
        f"{parameters['ipc']} per class, {parameters['minutes']:g} minutes for each method and "
        f"seed on {threads}, seeds {cell(parameters['seeds'])}, distilled "
        f"through networks of {through}, tested by {parameters['networks']} networks"
    )


def method(name: str) -> str:
    """Return a name as the table has it: a link if it is a class."""
    return f"`skdistill.{name}`" if name in dict(all_distillers()) else escape(name)


def measured(name: str, report: dict) -> list[str]:
    """Return the cells of a method for one data set."""
    steps = report["summary"]["methods"].get(name, {}).get("steps")
    return [*accuracies(name, report), "–" if steps is None else f"{steps[0]:.0f}"]


def write(generated: Path, results: Path) -> None:
    """Write the tables into a folder, if they are not there already."""
    kinds = [kind for _, kind in all_distillers()]
    parts = {
        "methods.txt": method_table(kinds),
        "refusals.txt": refusal_table(kinds),
        "features.txt": feature_list(),
        "measured.txt": measured_table(results),
    }
    write_all(generated, parts)
