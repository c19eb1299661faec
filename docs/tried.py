"""Writes the table of what was tried: settings of a distiller at equal time, beside the best one.

The rows are those of ``examples/reproduce/settings.py``, from its files in
``examples/reproduce/results``.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path

from generated import write_all
from reproduction import escape, percent, table

HEADS = ["data", "minutes", "setting", "held-out images (%)", "points", "seeds", "outer steps"]


def rows_of(report: dict) -> Iterator[list[str]]:
    """Yield the best setting of a file, and what the others change in it, with the difference."""
    parameters, found = report["parameters"], report["summary"]["methods"]
    names = sorted(found, key=lambda name: -found[name]["accuracy"][0])
    best = parts_of(names[0])
    most = found[names[0]]["accuracy"][0]
    for name in names:
        accuracy, steps = found[name]["accuracy"][0], found[name]["steps"][0]
        n_seeds = sum(row["setting"] == name for row in report["rows"])
        yield [
            f"{escape(report['data'])}, {parameters['ipc']} per class",
            f"{parameters['minutes']:g}",
            escape(name if name == names[0] else changes(best, parts_of(name))),
            percent(100 * accuracy),
            "" if name == names[0] else f"{100 * (accuracy - most):+.1f}",
            str(n_seeds),
            f"{steps:.0f}",
        ]


def parts_of(label: str) -> dict[str, str]:
    """Return a setting's values by their names, from its label in the file."""
    return dict(part.split(" ", 1) for part in re.split(r", (?=[a-z]\w* )", label))


def changes(best: dict[str, str], other: dict[str, str]) -> str:
    """Return in words what a setting has that the best has not."""
    new = [f"{name} {value}" for name, value in other.items() if best.get(name) != value]
    gone = [f"no {name}" for name in best if name not in other]
    return ", ".join(new + gone)


def tried_table(results: Path) -> str:
    """Return the rows of all files, each from the best to the worst."""
    reports = [
        json.loads(file.read_text(encoding="utf-8"))
        for file in sorted(Path(results).glob("settings-*.json"))
    ]
    rows = [row for report in reports for row in rows_of(report)]
    return table(HEADS, rows) if rows else "Nothing has been measured yet.\n"


def write(generated: Path, results: Path) -> None:
    """Write the table into a folder, if it is not there already."""
    write_all(generated, {"tried.txt": tried_table(results)})
