"""Writes the table of what was tried: settings of a distiller at equal time, beside the best one.

The rows are those of ``examples/reproduce/settings.py``, from its files in
``examples/reproduce/results``.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean

from generated import write_all
from reproduction import escape, percent, table

HEADS = ["data", "minutes", "setting", "held-out images (%)", "points", "seeds", "outer steps"]


def rows_of(report: dict) -> Iterator[list[str]]:
    """Yield the best setting of a file, and what the others change in it, with the difference.

    The best is one of those with the most seeds, and others are compared on the seeds that they
    share with it.
    """
    parameters, found = report["parameters"], report["summary"]["methods"]
    seeds: dict[str, dict[int, float]] = {}
    for row in report["rows"]:
        seeds.setdefault(row["setting"], {})[row["seed"]] = row["accuracy"]
    best = max(seeds, key=lambda name: (len(seeds[name]), fmean(seeds[name].values())))
    points = {
        name: 100 * fmean(own[seed] - seeds[best][seed] for seed in own.keys() & seeds[best].keys())
        for name, own in seeds.items()
    }
    data = f"{escape(report['data'])}, {parameters['ipc']} per class"
    if parameters.get("clip_norm") == "feng23":
        data += ", clipped as in the paper's code"
    for name in [best, *sorted(seeds.keys() - {best}, key=lambda name: -points[name])]:
        yield [
            data,
            f"{parameters['minutes']:g}",
            escape(name if name == best else changes(parts_of(best), parts_of(name))),
            percent(100 * fmean(seeds[name].values())),
            "" if name == best else f"{points[name]:+.1f}",
            str(len(seeds[name])),
            f"{found[name]['steps'][0]:.0f}",
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
