"""Renders the measured results, the JSON files in ``examples/reproduce/results``, as tables.

Numbers of ours are never typed: what is not in a file is not in the documentation. "The paper" is
[Feng23] (https://arxiv.org/abs/2311.07025); its numbers are those of its Table 1, row "Ours".
"""

import json
from math import floor, isfinite, log10
from pathlib import Path

from generated import write_all
from scripts import load

PUBLISHED = load("published")
# Test accuracy in percent, mean and standard deviation over ten networks, by data and samples per
# class.
PAPER = {
    column: accuracy.replace("±", " ± ")
    for column, accuracy in zip(PUBLISHED.COLUMNS, PUBLISHED.rows(PUBLISHED.TABLE_1)["Ours"])
}
NAMES = {
    "cifar10": "CIFAR-10",
    "cifar100": "CIFAR-100",
    "cub200": "CUB-200",
    "tinyimagenet": "Tiny-ImageNet",
}


def paper_table() -> str:
    """Return the paper's own numbers as a table."""
    rows = [[NAMES[data], str(ipc), accuracy] for (data, ipc), accuracy in PAPER.items()]
    return table(["data", "samples per class", "the paper (%)"], rows)


def render(folder: Path) -> str:
    """Return all files of a folder, in the order of their names, as reStructuredText."""
    parts = [paper_table()]
    files = sorted(Path(folder).glob("*.json")) if Path(folder).is_dir() else []
    if not files:
        parts.append("No results have been recorded yet.\n")
    for file in files:
        parts.append(heading(file.stem))
        parts.append(render_file(file))
    return "\n".join(parts)


def render_file(file: Path) -> str:
    """Return one file's report, or that the file is not JSON."""
    try:
        return render_report(json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return f"``{file.name}`` could not be read as JSON.\n"


def write(folder: Path, generated: Path) -> None:
    """Write all files as ``reproduction.txt``, and each one's report as ``results/<its name>.txt``.

    Pages of the guide include the latter where they speak of a measurement.
    """
    parts = {"reproduction.txt": render(folder)}
    for file in sorted(Path(folder).glob("*.json")):
        parts[f"results/{file.stem}.txt"] = render_file(file)
    write_all(generated, parts)


def heading(name: str) -> str:
    """Return a subtitle, with characters of a file's name that would be markup escaped."""
    title = literal(name)
    return f"\n{title}\n{'-' * len(title)}\n"


def render_report(report) -> str:
    """Return one file's report: what it says of itself, and its table."""
    if isinstance(report, list):
        report = {"rows": report}
    if not isinstance(report, dict):
        return f"{cell(report)}\n"
    lines = [
        f"* {escape(name)}: {cell(value)}"
        for name, value in report.items()
        if isinstance(value, str | int | float) and not isinstance(value, bool)
    ]
    parameters = report.get("parameters")
    if isinstance(parameters, dict) and parameters:
        texts = [f"{escape(k)} {cell(v)}" for k, v in parameters.items() if fits_a_cell(v)]
        lines.append(f"* parameters: {', '.join(texts)}")
    parts = ["\n".join(lines) + "\n"] if lines else []
    results, rows, summary = report.get("results"), report.get("rows"), report.get("summary")
    methods = summary.get("methods") if isinstance(summary, dict) else None
    if isinstance(methods, dict):
        found = rows if isinstance(rows, list) else []
        parts.append(summary_table(methods, [row for row in found if isinstance(row, dict)]))
    if isinstance(results, dict):
        parts.append(result_table(report, results))
    for part in (report.get("curve"), rows):
        if isinstance(part, list) and all(isinstance(row, dict) for row in part) and part:
            parts.append(row_table(report, part))
    return "\n".join(parts) or "An empty report.\n"


def result_table(report: dict, results: dict) -> str:
    """Return accuracies by training set, the distilled one beside the paper's."""
    heads = ["training set", "samples", "networks", "test accuracy (%)", "the paper (%)"]
    rows = []
    for name, result in results.items():
        if not isinstance(result, dict):
            result = {"mean": result}
        paper = published(report, samples_a_class(report)) if name == "distilled" else None
        numbers = [cell(result.get(key)) for key in ("n_samples", "n_networks")]
        rows.append([escape(name), *numbers, cell(result), paper or "–"])
    return table(heads, rows)


def summary_table(methods: dict, rows: list[dict]) -> str:
    """Return what was measured of each method, as mean ± standard deviation over seeds.

    A single seed has no deviation: the file has 0 in its place.
    """
    seeds = len({str(row.get("seed")) for row in rows})
    methods = {name: values for name, values in methods.items() if isinstance(values, dict)}
    measures = list(dict.fromkeys(name for values in methods.values() for name in values))
    lines = []
    for name, values in methods.items():
        # Of a part of what has a row, as many as there are in all.
        is_single = (sum(name in [*row.values()] for row in rows) or seeds) == 1
        pairs = [values.get(measure) for measure in measures]
        texts = [
            measured(*pair[: 1 if is_single else 2])
            if isinstance(pair, list) and fits_a_cell(pair) and len(pair) == 2
            else cell(pair)
            for pair in pairs
        ]
        lines.append([escape(name), *texts])
    return table(["mean ± standard deviation", *map(escape, measures)], lines)


def measured(mean: float, *deviation: float) -> str:
    """Return three digits of a mean, and its deviation, if there is one, to the same place.

    It may be any quantity: in the units of the file, no percent.
    """
    decimals = max(0, 2 - floor(log10(abs(mean)))) if mean and isfinite(mean) else 3
    return " ± ".join(f"{number:.{decimals}f}" for number in (mean, *deviation))


def row_table(report: dict, rows: list[dict]) -> str:
    """Return rows of one shape or several, with the columns that can be shown in a cell."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    names = [n for n in names if any(fits_a_cell(row.get(n)) for row in rows)]
    papers = [published(report, row.get("ipc"), row.get("data")) for row in rows]
    heads, cells = [escape(name) for name in names], []
    for row, paper in zip(rows, papers):
        values = [row.get(n) if fits_a_cell(row.get(n)) else None for n in names]
        cells.append([*map(cell, values), *([paper or "–"] if any(papers) else [])])
    return table([*heads, *(["the paper (%)"] if any(papers) else [])], cells)


def samples_a_class(report: dict):
    """Return a report's ``ipc``, wherever it has it; None if it does not say."""
    provenance = report.get("provenance")
    places = [report, report.get("parameters"), provenance]
    places.append(provenance.get("parameters") if isinstance(provenance, dict) else None)
    found = [place["ipc"] for place in places if isinstance(place, dict) and "ipc" in place]
    return found[0] if found else None


def published(report: dict, ipc, data=None) -> str | None:
    """Return the paper's accuracy for the report's data and this many samples per class."""
    data = str(data or report.get("data", "")).lower()
    # "CIFAR-10, whitened" is CIFAR-10, and "CIFAR-100" is not.
    key = "".join(c for c in data.split(",")[0].split("(")[0] if c.isalnum())
    return PAPER.get((key, ipc)) if isinstance(ipc, int) else None


def is_number(value) -> bool:
    """Return whether a value is a number and not a boolean."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def fits_a_cell(value) -> bool:
    """Return whether a value is short enough for a table."""
    if isinstance(value, dict):
        return is_number(value.get("mean")) or is_curve(value)
    if isinstance(value, list):
        return 0 < len(value) <= 12 and all(map(is_number, value))
    return value is not None


def is_curve(value: dict) -> bool:
    """Return whether all values of a dictionary are lists of numbers, of one length."""
    lists = list(value.values())
    good = all(isinstance(v, list) and v and all(map(is_number, v)) for v in lists)
    return bool(lists) and good and len({len(v) for v in lists}) == 1


def percent(mean: float, std: float | None = None) -> str:
    """Return a mean with its standard deviation, both in percent."""
    return f"{mean:.1f}" + ("" if std is None else f" ± {std:.1f}")


def cell(value) -> str:
    """Return a value as a cell of a table shows it: accuracies, from 0 to 1, in percent."""
    if isinstance(value, dict):
        mean, std = value.get("mean"), value.get("std")
        if is_curve(value):
            return "at the end: " + ", ".join(f"{escape(k)} {v[-1]:.4g}" for k, v in value.items())
        if not is_number(mean):
            return "–"
        # A single network has no deviation.
        has_std = is_number(std) and value.get("n_networks") != 1
        return percent(100 * mean, 100 * std if has_std else None)
    if isinstance(value, list):
        return ", ".join(map(cell, value))
    if isinstance(value, float):
        return f"{value:.4g}"
    return "–" if value is None else escape(str(value))


def escape(text: str) -> str:
    """Return text in which nothing is markup."""
    text = " ".join(text.split())
    return "".join(f"\\{c}" if c in "\\`*_|<>" else c for c in text)


def literal(text: str) -> str:
    """Return a name, as a title can hold it."""
    return escape(text.replace("_", " "))


def table(heads: list[str], rows: list[list[str]]) -> str:
    """Return a list-table."""
    lines = [".. list-table::", "   :header-rows: 1", ""]
    for row in [heads, *rows]:
        for i, text in enumerate(row):
            lines.append(f"   {'*' if i == 0 else ' '} - {text}".rstrip())
    return "\n".join([*lines, ""])
