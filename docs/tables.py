"""Write tables of pages from the benchmarks' JSON files: none of them is typed.

``python docs/tables.py`` rewrites the tables between their marks; with ``--check`` it fails if one
is not what its file gives.
"""

import argparse
import json
import re
import sys
from pathlib import Path
from statistics import mean, median, stdev

DOCS = Path(__file__).parent
RESULTS = DOCS.parent / "examples" / "benchmarks" / "results"
PAGES = [DOCS / "performance.md", DOCS / "scaling.md"]


def meta_gradient_table(report: dict) -> str:
    """Return the table of bench_meta_gradient.py's report."""
    columns = (
        "configuration | window | unroll | skdistill (s) | higher (s) | ratio | floor (s) "
        "| skdistill / floor | skdistill (MiB) | higher (MiB) | ratio"
    )
    lines = [f"| {columns} |", "|" + "---|" * (columns.count("|") + 1)]
    for r in report["rows"]:
        how = "compiled" if r["compiled"] else "eager"
        lines.append(
            f"| {r['config']}, {how} | {r['window']} | {r['unroll']} | {r['ours_s']:.3g} "
            f"| {r['higher_s']:.3g} | {r['time_ratio']:.2f} | {r['floor_s']:.3g} "
            f"| {r['floor_ratio']:.1f} | {r['ours_mib']:.0f} | {r['higher_mib']:.0f} "
            f"| {r['memory_ratio']:.2f} |"
        )
    return "\n".join([about(report), "", *lines])


def step_table(report: dict) -> str:
    """Return the problems and seconds of bench_meta_gradient.py's report."""
    lines = ["| problem | width | window / unroll | seconds |", "|---|---|---|---|"]
    lines += [
        f"| {' x '.join(map(str, r['shape']))}, ipc {r['ipc']}, {r['real']} real | {r['width']} "
        f"| {r['window']} / {r['unroll']} | {r['ours_s']:.3g} |"
        for r in report["rows"]
    ]
    return "\n".join([about(report), "", *lines])


def evaluation_table(report: dict) -> str:
    """Return the table of bench_evaluation.py's report."""
    columns = (
        "configuration | a loop of PyTorch's (s) | one after the other (s) | together (s) "
        "| together / PyTorch's | together / one after the other"
    )
    lines = [f"| {columns} |", "|" + "---|" * (columns.count("|") + 1)]
    lines += [
        f"| {r['config']} | {r['torch_s']:.3g} | {r['sequential_s']:.3g} | {r['together_s']:.3g} "
        f"| {r['torch_ratio']:.2f} | {r['ratio']:.2f} |"
        for r in report["rows"]
    ]
    return "\n".join([about(report), "", *lines])


def growth_table(report: dict) -> str:
    """Return the table of bench_growth.py's report."""
    lines = ["| grows | values | seconds | slope |", "|---|---|---|---|"]
    for r in report["rows"]:
        values = ", ".join(map(str, r["values"]))
        seconds = ", ".join(f"{t:.2f}" for t in r["seconds"])
        lines.append(f"| {r['grows']} | {values} | {seconds} | {r['slope']:.2f} |")
    return "\n".join([about(report), "", *lines])


def precision_table(report: dict) -> str:
    """Return the table of bench_precision.py's report."""
    lines = [
        "| configuration | precision | median error | largest | time / float32 |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| {r['config']} | {r['precision']} | {median(r['errors']):.2g} "
        f"| {max(r['errors']):.2g} | {r['time_ratio']:.2f} |"
        for r in report["rows"]
    ]
    return "\n".join([about(report), "", *lines])


def paper_memory_table(report: dict) -> str:
    """Return the table of paper_memory.py's report."""
    lines = [
        "| data : samples per class | states | synthetic batch | real batch | training set "
        "| forecast of the peak | measured |",
        "|---|---|---|---|---|---|---|",
    ]
    for r in report["rows"]:
        parts = [r[name] for name in ("states", "activations", "real", "data", "forecast_gib")]
        measured = "" if r["measured_gib"] is None else f"{r['measured_gib']:.2f}"
        cells = [r["column"], *(f"{part:.2f}" for part in parts), measured]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([about(report), "", *lines])


def ratios_table(report: dict) -> str:
    """Return the ratios alone of bench_meta_gradient.py's report."""
    rows = report["rows"]
    lines = [
        f"| {' | '.join(row['config'] for row in rows)} |",
        "|" + "---|" * len(rows),
        f"| {' | '.join(format(row['time_ratio'], '.2f') for row in rows)} |",
    ]
    return "\n".join([about(report), "", *lines])


def fit_table(report: dict) -> str:
    """Return the table of bench_fit.py's report."""
    lines = ["| round | first run (s) | second run (s) | higher (s) |", "|---|---|---|---|"]
    lines += [
        f"| {i} | {r['first_s']:.1f} | {r['second_s']:.1f} | {r['higher_s']:.1f} |"
        for i, r in enumerate(report["rounds"], 1)
    ]
    ratios = report["ratios"]
    lines.append(
        f"| median ratio to higher | {ratios['first_ratio']:.2f} | {ratios['second_ratio']:.2f} | |"
    )
    return "\n".join([about(report), "", *lines])


def two_cores_table(report: dict) -> str:
    """Return the table of bench_two_cores.py's report."""
    lines = [
        "| configuration | near: round trip (ns) | seconds | far: round trip (ns) | seconds "
        "| one thread, seconds |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {r['config']} | {r['near_ns']:.0f} | {r['near_s']:.3g} | {r['far_ns']:.0f} "
        f"| {r['far_s']:.3g} | {r['one_thread_s']:.3g} |"
        for r in report["rows"]
    ]
    return "\n".join([about(report), "", *lines])


def clusters_table(report: dict) -> str:
    """Return the table of bench_clusters.py's report."""
    lines = [
        "| | start (s) | search (s) | ratio to one process | with the start | same best, scores |",
        "|---|---|---|---|---|---|",
    ]
    for r in report["rows"]:
        same = ", ".join("yes" if r[name] else "no" for name in ("same_best", "same_scores"))
        lines.append(
            f"| {r['way']} | {r['start_s']:.1f} | {r['search_s']:.1f} | {r['ratio']:.2f} "
            f"| {r['ratio_with_start']:.2f} | {same} |"
        )
    versions = ", ".join(f"{name} {version}" for name, version in report["versions"].items())
    names = {"digits": "Digits, a ConvNet", "table": "A table, a multilayer perceptron"}
    data = names[report["data"]]
    size = f"{report['n_fits']} fits on {report['n_workers']} workers"
    head = f"{data}: {size}; {versions}; {about(report)}"
    return "\n".join([head, "", *lines])


def two_processes_table(report: dict) -> str:
    """Return the table of bench_two_processes.py's report."""
    names = [*report["seconds"], "two / the faster one"]
    values = [*(f"{seconds:.2f} s" for seconds in report["seconds"].values())]
    values.append(f"{report['ratio']:.2f}")
    lines = [f"| {' | '.join(names)} |", "|" + "---|" * len(names), f"| {' | '.join(values)} |"]
    return "\n".join([about(report), "", *lines])


def checkpoint_table(report: dict) -> str:
    """Return the table of bench_checkpoint.py's report."""
    return "\n".join(
        [
            about(report),
            "",
            "| an outer step | a write | file | share of the time |",
            "|---|---|---|---|",
            f"| {report['step_s']:.2f} s | {1e3 * report['write_s']:.0f} ms "
            f"| {report['write_bytes'] / 1024:.0f} KiB | {report['share']:.2%} |",
        ]
    )


def accuracy_table(report: dict) -> str:
    """Return the table of accuracy_by_path.py's report."""
    rows = report["rows"]
    seeds = list(dict.fromkeys(row["seed"] for row in rows))
    lines = [
        f"| seed | {' | '.join(map(str, seeds))} | mean | seconds of the steps |",
        "|" + "---|" * (len(seeds) + 3),
    ]
    for way in dict.fromkeys(row["way"] for row in rows):
        own = [row for row in rows if row["way"] == way]
        found = [100 * row["accuracy"] for row in own]
        cells = [way, *(f"{a:.1f}" for a in found), f"{mean(found):.1f} ± {stdev(found):.1f}"]
        lines.append(f"| {' | '.join(cells)} | {median(row['seconds'] for row in own):.1f} |")
    return "\n".join([about(report), "", *lines])


def about(report: dict) -> str:
    """Return where and when a report was made."""
    machine = report["machine"] or "CPU"
    return (
        f"{machine}, {report['threads']} threads, torch {report['torch']}, {report['date']}; "
        f"`{report['command']}`"
    )


TABLES = {
    "meta-gradient": meta_gradient_table,
    "step": step_table,
    "evaluation": evaluation_table,
    "fit": fit_table,
    "ratios": ratios_table,
    "growth": growth_table,
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
            table = TABLES[match["kind"]](json.loads(file.read_text()))
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
