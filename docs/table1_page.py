"""Writes the tables of ``table1.rst``: what papers report of each method, and what we measured.

The former is from ``examples/reproduce/published.py``, the latter from the files in
``examples/reproduce/results``: what is typed here is which of our rows belongs to which method.
"""

import json
from collections.abc import Iterator
from pathlib import Path

from generated import write_all
from reproduction import NAMES, PUBLISHED, cell, escape, percent, table

# How a method of a published table is made here, and what it is called in the files of methods.py.
HERE = {
    "BPTT": ("`skdistill.RaTBPTTDistiller`, paper ``bptt``", None),
    "KIP*": ("`skdistill.KIPDistiller`", "KIPDistiller"),
    "RFAD*": ("`skdistill.RFADDistiller`", "RFADDistiller"),
    "FRePO*": ("`skdistill.FRePoDistiller`", "FRePoDistiller"),
    "FRePO": ("`skdistill.FRePoDistiller`", "FRePoDistiller"),
    "RCIG*": ("`skdistill.RCIGDistiller`", "RCIGDistiller"),
    "RCIG": ("`skdistill.RCIGDistiller`", "RCIGDistiller"),
    "DC": ("`skdistill.GradientMatchingDistiller`", "dc"),
    "DSA": ("`skdistill.GradientMatchingDistiller`, paper ``dsa``", "dsa"),
    "IDC": ("`skdistill.GradientMatchingDistiller`, paper ``idc``", "idc"),
    "IDC-I": ("`skdistill.GradientMatchingDistiller`, paper ``idc-i``", None),
    "DM": ("`skdistill.DistributionMatchingDistiller`", "DistributionMatchingDistiller"),
    "MTT": ("`skdistill.TrajectoryMatchingDistiller`", "mtt"),
    "FTD": ("`skdistill.TrajectoryMatchingDistiller`, paper ``ftd``", None),
    "Ours": ("`skdistill.RaTBPTTDistiller`", "RaTBPTTDistiller"),
    "Ours (transfer to wide)": ("`skdistill.RaTBPTTDistiller`", None),
    "LinBa": ("`skdistill.RaTBPTTDistiller`, paper ``linba``", None),
    "HaBa": (
        "`skdistill.TrajectoryMatchingDistiller` with `skdistill.parametrization.Hallucinated`",
        None,
    ),
    "Linear + RaT-BPTT": (
        "`skdistill.RaTBPTTDistiller` with `skdistill.parametrization.LinearBasis`",
        None,
    ),
}
ALIASES = {
    "Ours": "RaT-BPTT",
    "Ours (transfer to wide)": "RaT-BPTT, tested on wider networks",
    "Linear + RaT-BPTT": "RaT-BPTT with a linear basis",
}
# What methods.py measures by, and the columns of that.
ACCURACIES = {
    "accuracy": "networks (%)",
    "accuracy by its own recipe": "its own recipe (%)",
    "accuracy by kernel regression": "kernel regression (%)",
}
HEADS = ["data", "method", "samples per class", "a run", *ACCURACIES.values(), "file"]
# What samples are made of in rows of parametrizations.py.
WAYS = {
    "linear basis": "a linear basis",
    "tiles": "the tiles of IDC",
    "hallucinators": "the hallucinators of HaBa",
}


def published_table(text: str, columns: list[tuple[str, int]]) -> str:
    """Return a table of published numbers, with how each method is made here."""
    heads = [f"{NAMES.get(data, 'Fashion-MNIST')}, {ipc}" for data, ipc in columns]
    lines = [
        [escape(ALIASES.get(name, name)), HERE[name][0], *(cell or "–" for cell in cells)]
        for name, cells in PUBLISHED.rows(text).items()
    ]
    return table(["method", "here", *heads], lines)


def measured_rows(results: Path) -> Iterator[list[str]]:
    """Yield a row for each method in the files of methods.py, and for each longer run."""
    readers = {
        "methods": rows_of_methods,
        "parametrizations": rows_of_parametrizations,
        "table1": row_of_a_long_run,
        "kip": row_of_kip,
    }
    for script, read in readers.items():
        for file in sorted(results.glob(f"{script}-*.json")):
            report = json.loads(file.read_text(encoding="utf-8"))
            data = escape(report["data"].split(",")[0])
            threads = "1 thread" if report["threads"] == 1 else f"{report['threads']} threads"
            # Whoever tests the result of a long run again writes the threads of the test.
            threads = "machine:" if script == "table1" else f"{threads} of"
            machine = f"{threads} {escape(report['machine'])}"
            for method, ipc, run, *accuracies in read(report):
                yield [data, method, str(ipc), f"{run}, {machine}", *accuracies, f"``{file.stem}``"]


def rows_of_methods(report: dict) -> Iterator[list]:
    """Yield what methods.py measured, best first."""
    parameters, methods = report["parameters"], report["summary"]["methods"]
    width = parameters["width"]
    minutes = f"{parameters['minutes']:g} min" + ("" if width is None else f", width {width}")
    for name in sorted(methods, key=lambda name: -methods[name].get("accuracy", [0])[0]):
        run = minutes if "steps" in methods[name] else "none"
        run += f", seeds: {n_seeds_of(name, report)}"
        yield [method_name(name), parameters["ipc"], run, *accuracies(name, report)]


def row_of_a_long_run(report: dict) -> Iterator[list]:
    """Yield what table1.py measured of RaT-BPTT; the deviation is that over networks."""
    parameters = report["provenance"]["parameters"]
    found, seconds = report["results"]["distilled"], report["curve"][-1]["seconds"]
    # The width is None or left out for the usual networks.
    settings = {
        "width": report["parameters"].get("width"),
        "window": parameters["window"],
        "unroll": parameters["unroll"],
        "augmentation": parameters["augmentation"],
    }
    texts = [f"{name} {escape(str(v))}" for name, v in settings.items() if v is not None]
    run = ", ".join([f"{seconds / 60:.0f} min", *texts])
    yield ["RaT-BPTT", parameters["ipc"], run, cell(found), "–", "–"]


def row_of_kip(report: dict) -> Iterator[list]:
    """Yield what kip.py measured at the end of the run."""
    last = report["rows"][-1]
    run = f"{last['seconds'] / 60:.0f} min"
    yield ["KIP", report["parameters"]["ipc"], run, "–", "–", percent(100 * last["accuracy"])]


def rows_of_parametrizations(report: dict) -> Iterator[list]:
    """Yield what parametrizations.py measured, all by RaT-BPTT, with the storage of so many pixels.

    Samples that are learned themselves are in the other files.
    """
    parameters = report["parameters"]
    for row in report["rows"]:
        if row["name"] in WAYS:
            minutes = f"{row['seconds'] / 60:.0f} min"
            run = f"{minutes}, width {parameters['width']}, tested by {parameters['test_width']}"
            method, size = f"RaT-BPTT with {WAYS[row['name']]}", f"storage of {row['storage']}"
            yield [method, size, run, percent(100 * row["accuracy"]), "–", "–"]


def method_name(name: str) -> str:
    """Return what papers call a method of methods.py."""
    papers = [paper for paper, (_, own) in HERE.items() if own == name]
    # The last is the one without a star.
    paper = papers[-1].rstrip("*") if papers else name
    return escape({**ALIASES, "tesla": "TESLA"}.get(paper, paper))


def n_seeds_of(name: str, report: dict) -> int:
    """Return how many seeds a method has in a file of methods.py: some may have fewer."""
    return sum(row["method"] == name for row in report["rows"])


def accuracies(name: str, report: dict) -> list[str]:
    """Return the cells of a method, by `ACCURACIES`: mean and deviation over seeds, in percent.

    One seed has no deviation, and what was not measured a dash.
    """
    found, shown = report["summary"]["methods"].get(name, {}), min(2, n_seeds_of(name, report))
    numbers = [[100 * number for number in found.get(key, [])[:shown]] for key in ACCURACIES]
    return [percent(*own) if own else "–" for own in numbers]


def write(generated: Path, results: Path) -> None:
    """Write the tables into a folder, if they are not there already."""
    parts = {
        "table1.txt": published_table(PUBLISHED.TABLE_1, PUBLISHED.COLUMNS),
        "table1_parametrized.txt": published_table(
            PUBLISHED.PARAMETRIZED, PUBLISHED.PARAMETRIZED_COLUMNS
        ),
        "table1_fashion.txt": published_table(PUBLISHED.FASHION, PUBLISHED.FASHION_COLUMNS),
        "table1_here.txt": table(HEADS, list(measured_rows(results))),
    }
    write_all(generated, parts)
