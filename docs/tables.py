"""Write tables of pages from the benchmarks' JSON files: none of them is typed.

``python docs/tables.py`` rewrites the tables between their marks; with ``--check`` it fails if one
is not what its file gives.
"""

import argparse
import json
import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import mean, median, stdev

DOCS = Path(__file__).parent
RESULTS = DOCS.parent / "examples" / "benchmarks" / "results"
PAGES = [DOCS / "performance.md", DOCS / "scaling.md"]


def lines(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return the lines of a table."""
    first, *others = (f"| {' | '.join(cells)} |" for cells in (heads, *rows))
    return [first, "|" + "---|" * len(heads), *others]


def meta_gradient_table(report: dict) -> list[str]:
    """Return the table of bench_meta_gradient.py's report."""
    heads = (
        *("configuration", "window", "unroll", "skdistill (s)", "higher (s)", "ratio", "floor (s)"),
        *("skdistill / floor", "skdistill (MiB)", "higher (MiB)", "ratio"),
    )
    rows = (
        (
            f"{r['config']}, {'compiled' if r['compiled'] else 'eager'}",
            f"{r['window']}",
            f"{r['unroll']}",
            f"{r['ours_s']:.3g}",
            f"{r['higher_s']:.3g}",
            f"{r['time_ratio']:.2f}",
            f"{r['floor_s']:.3g}",
            f"{r['floor_ratio']:.1f}",
            f"{r['ours_mib']:.0f}",
            f"{r['higher_mib']:.0f}",
            f"{r['memory_ratio']:.2f}",
        )
        for r in report["rows"]
    )
    return lines(heads, rows)


def evaluation_table(report: dict) -> list[str]:
    """Return the table of bench_evaluation.py's report."""
    heads = (
        *("configuration", "a loop of PyTorch's (s)", "one after the other (s)", "together (s)"),
        *("together / PyTorch's", "together / one after the other"),
    )
    rows = (
        (
            r["config"],
            *(f"{r[name]:.3g}" for name in ("torch_s", "sequential_s", "together_s")),
            *(f"{r[name]:.2f}" for name in ("torch_ratio", "ratio")),
        )
        for r in report["rows"]
    )
    return lines(heads, rows)


def precision_table(report: dict) -> list[str]:
    """Return the table of bench_precision.py's report."""
    heads = ("configuration", "precision", "median error", "largest", "time / float32")
    rows = (
        (
            r["config"],
            r["precision"],
            f"{median(r['errors']):.2g}",
            f"{max(r['errors']):.2g}",
            f"{r['time_ratio']:.2f}",
        )
        for r in report["rows"]
    )
    return lines(heads, rows)


def paper_memory_table(report: dict) -> list[str]:
    """Return the table of paper_memory.py's report."""
    heads = (
        *("data : samples per class", "states", "synthetic batch", "real batch", "training set"),
        *("forecast of the peak", "measured"),
    )
    names = ("states", "activations", "real", "data", "forecast_gib", "measured_gib")
    rows = (
        (r["column"], *("" if r[name] is None else f"{r[name]:.2f}" for name in names))
        for r in report["rows"]
    )
    return lines(heads, rows)


def ratios_table(report: dict) -> list[str]:
    """Return the ratios alone of bench_meta_gradient.py's report."""
    rows = report["rows"]
    return lines([r["config"] for r in rows], [[f"{r['time_ratio']:.2f}" for r in rows]])


def fit_table(report: dict) -> list[str]:
    """Return the table of bench_fit.py's report."""
    names, ratios = ("first_s", "second_s", "higher_s"), report["ratios"]
    rows = [
        (str(i), *(f"{r[name]:.1f}" for name in names)) for i, r in enumerate(report["rounds"], 1)
    ]
    medians = (f"{ratios[name]:.2f}" for name in ("first_ratio", "second_ratio"))
    heads = ("round", "first run (s)", "second run (s)", "higher (s)")
    return lines(heads, [*rows, ("median ratio to higher", *medians, "")])


def two_cores_table(report: dict) -> list[str]:
    """Return the table of bench_two_cores.py's report."""
    heads = (
        *("configuration", "near: round trip (ns)", "seconds", "far: round trip (ns)", "seconds"),
        "one thread, seconds",
    )
    rows = (
        (
            r["config"],
            *(f"{r['near_ns']:.0f}", f"{r['near_s']:.3g}"),
            *(f"{r['far_ns']:.0f}", f"{r['far_s']:.3g}"),
            f"{r['one_thread_s']:.3g}",
        )
        for r in report["rows"]
    )
    return lines(heads, rows)


def clusters_table(report: dict) -> list[str]:
    """Return the table of bench_clusters.py's report, with what was searched."""
    names = {"digits": "Digits, a ConvNet", "table": "A table, a multilayer perceptron"}
    versions = ", ".join(f"{name} {version}" for name, version in report["versions"].items())
    what = f"{names[report['data']]}: {report['n_fits']} fits on {report['n_workers']} workers"
    heads = (
        *("", "start (s)", "search (s)", "ratio to one process", "with the start"),
        "same best, scores",
    )
    rows = (
        (
            r["way"],
            *(f"{r[name]:.1f}" for name in ("start_s", "search_s")),
            *(f"{r[name]:.2f}" for name in ("ratio", "ratio_with_start")),
            ", ".join("yes" if r[name] else "no" for name in ("same_best", "same_scores")),
        )
        for r in report["rows"]
    )
    return [f"{what}; {versions}.", "", *lines(heads, rows)]


def two_processes_table(report: dict) -> list[str]:
    """Return the table of bench_two_processes.py's report."""
    seconds = [f"{seconds:.2f} s" for seconds in report["seconds"].values()]
    heads = [*report["seconds"], "two / the faster one"]
    return lines(heads, [[*seconds, f"{report['ratio']:.2f}"]])


def checkpoint_table(report: dict) -> list[str]:
    """Return the table of bench_checkpoint.py's report."""
    row = (
        f"{report['step_s']:.2f} s",
        f"{1e3 * report['write_s']:.0f} ms",
        f"{report['write_bytes'] / 1024:.0f} KiB",
        f"{report['share']:.2%}",
    )
    return lines(("an outer step", "a write", "file", "share of the time"), [row])


def accuracy_table(report: dict) -> list[str]:
    """Return the table of accuracy_by_path.py's report."""
    seeds = dict.fromkeys(row["seed"] for row in report["rows"])
    rows = []
    for way in dict.fromkeys(row["way"] for row in report["rows"]):
        own = [row for row in report["rows"] if row["way"] == way]
        found = [100 * row["accuracy"] for row in own]
        average = f"{mean(found):.1f} ± {stdev(found):.1f}"
        took = f"{median(row['seconds'] for row in own):.1f}"
        rows.append((way, *(f"{a:.1f}" for a in found), average, took))
    return lines(("seed", *map(str, seeds), "mean", "seconds of the steps"), rows)


def about(report: dict) -> str:
    """Return where and when a report was made."""
    machine = report["machine"] or "CPU"
    return (
        f"{machine}, {report['threads']} threads, torch {report['torch']}, {report['date']}; "
        f"`{report['command']}`"
    )


TABLES = {
    "meta-gradient": meta_gradient_table,
    "evaluation": evaluation_table,
    "fit": fit_table,
    "ratios": ratios_table,
    "precision": precision_table,
    "paper-memory": paper_memory_table,
    "clusters": clusters_table,
    "two-cores": two_cores_table,
    "two-processes": two_processes_table,
    "checkpoint": checkpoint_table,
    "accuracy": accuracy_table,
}


def filled(text: str) -> str:
    """Return the page with every ``<!-- table KIND FILE -->`` ... ``<!-- end -->`` filled."""

    def fill(match: re.Match) -> str:
        file = RESULTS / match["file"]
        table = "Not measured yet."
        if file.exists():
            report = json.loads(file.read_text())
            table = "\n".join([about(report), "", *TABLES[match["kind"]](report)])
        return f"{match['mark']}\n{table}\n<!-- end -->"

    pattern = r"(?P<mark><!-- table (?P<kind>\S+) (?P<file>\S+) -->)\n.*?<!-- end -->"
    return re.sub(pattern, fill, text, flags=re.DOTALL)


def main() -> None:
    """Rewrite the pages, or check them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true")
    args = parser.parse_args()
    for page in PAGES:
        old = page.read_text()
        new = filled(old)
        if args.check and new != old:
            sys.exit(f"docs/{page.name} is not what its files give: run python docs/tables.py")
        page.write_text(new)


if __name__ == "__main__":
    main()
