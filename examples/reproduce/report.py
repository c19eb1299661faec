"""What the scripts here share: their arguments, their JSON report, and lines that they print.

A report is a JSON file: the data, the parameters, where it was measured, and one row per run. It is
written after every row, so that a long measurement loses nothing. A script that is started again
keeps the rows of the file, if they were measured in the same way, and measures the others. Several
may write one file at the same time: each adds its rows to those that are there by then.

In these scripts "the paper" is [Feng23]: Y. Feng, R. Vedantam and J. Kempe, "Embarrassingly Simple
Dataset Distillation", arXiv:2311.07025.
"""

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock

RESULTS = Path(__file__).parent / "results"
DIGITS = "scikit-learn's digits, a quarter held out"
# What says nothing about the measurement of a row: paths, and which rows there are.
_NOT_MEASURED = {"json", "data", "only", "checkpoints", "end"}


def arguments(doc: str, json: Path | None = None, seeds: bool = True) -> argparse.ArgumentParser:
    """Return a parser that has a script's docstring for help, with --seeds and --json."""
    parser = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    if seeds:
        parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--json", type=Path, default=json, help=f"the report; default: {json}")
    return parser


def about(args: argparse.Namespace, data: str, device: str = "cpu") -> dict:
    """Return what a report says of data, parameters, machine and threads."""
    return {
        "data": data,
        "parameters": {k: v for k, v in vars(args).items() if k not in _NOT_MEASURED},
        "machine": machine(device),
        "threads": torch.get_num_threads(),
    }


def machine(device: str = "cpu") -> str:
    """Return what this machine is called in reports: what decides how much it does in a minute."""
    gpu = f", {torch.cuda.get_device_name()}" if device.startswith("cuda") else ""
    return f"{os.cpu_count()} cores, {torch.backends.cpu.get_cpu_capability()}{gpu}"


def write(path: Path | None, report: dict) -> None:
    """Write a report; nothing if there is no path."""
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        # To another file first, one of this process: an interruption while writing must not lose
        # the old rows, nor must another process that writes them.
        part = path.with_name(f"{path.name}.{os.getpid()}.part")
        part.write_text(json.dumps(report, indent=1) + "\n")
        part.replace(path)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Let no other process into this block for the same file; wait until it is out."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path.with_name(f".{path.name}.lock"))
    with lock:
        try:
            yield
        finally:
            # Removed while it is held: who has opened it before sees that, and makes another.
            with suppress(OSError):
                Path(lock.lock_file).unlink()


class Report:
    """Rows, and the file that they are kept in.

    Parameters
    ----------
    path : Path or None
        None keeps no file.
    head : dict
        What holds for all rows, see `about`. A file with another head is refused; only its seeds
        may differ, and the machine, of which the file then names all.
    key : sequence of str
        The names in a row that identify its run.
    summarize : callable or None, default=None
        Returns what the file says about all rows, under "summary".
    """

    def __init__(
        self,
        path: Path | None,
        head: dict,
        key: Sequence[str],
        summarize: Callable[[list[dict]], dict] | None = None,
    ):
        self.key = tuple(key)
        self._path, self._summarize = path, summarize
        # As it comes back from a file: without tuples.
        self._head = json.loads(json.dumps(head))
        self.rows: list[dict] = []
        self._take_up()
        if self.rows:
            print(f"{path}: {len(self.rows)} row(s) are there", flush=True)
            # The summary may be computed differently today.
            self._write()

    def _take_up(self) -> None:
        """Add the rows of the file that are not here: of earlier runs, or of another process."""
        if self._path is None or not self._path.exists():
            return
        report = json.loads(self._path.read_text())
        rows = report.pop("rows", [])
        report.pop("summary", None)
        _name_all(report, self._head)
        if report != self._head:
            names = [k for k in {**report, **self._head} if report.get(k) != self._head.get(k)]
            there, here = ({k: head.get(k) for k in names} for head in (report, self._head))
            sys.exit(
                f"{self._path} holds rows that were measured otherwise: {there}, and here {here}. "
                "Take another --json, or remove the file."
            )
        there = [self._cell(row) for row in rows]
        self.rows = [*rows, *(row for row in self.rows if self._cell(row) not in there)]

    def _cell(self, row: dict) -> list:
        return [row.get(name) for name in self.key]

    def _row(self, cell: dict) -> dict | None:
        found = (row for row in self.rows if self._cell(row) == list(cell.values()))
        return next(found, None)

    def run(self, compute: Callable[[], dict], **key) -> dict:
        """Return the row of this run: the file's or, if it has none, one that is computed."""
        assert tuple(key) == self.key
        if self._row(key) is None:
            # Another process may have it by now.
            self._take_up()
        if self._row(key) is None:
            self.rows.append(compute())
            self._write()
        return self._row(key)

    def _write(self) -> None:
        if self._path is None:
            return
        with locked(self._path):
            self._take_up()
            summary = {} if self._summarize is None else {"summary": self._summarize(self.rows)}
            write(self._path, {**self._head, **summary, "rows": self.rows})


def _name_all(*heads: dict) -> None:
    """Let heads name the seeds and the machines of all of them."""
    parameters = [head.get("parameters", {}) for head in heads]
    if all("seeds" in each for each in parameters):
        seeds = sorted({seed for each in parameters for seed in each["seeds"]})
        for each in parameters:
            each["seeds"] = seeds
    if all("machine" in head for head in heads):
        machines = sorted({name for head in heads for name in head["machine"].split(" and ")})
        for head in heads:
            head["machine"] = " and ".join(machines)


def mean_std(values: Iterable[float]) -> str:
    """Return the mean and standard deviation of accuracies over seeds, in percent."""
    values = list(values)
    mean, std = mean_and_std(values)
    return f"{100 * mean:5.1f}" + (f" ± {100 * std:3.1f}" if len(values) > 1 else "")


def mean_and_std(values: Iterable[float]) -> list[float]:
    """Return the mean over seeds and its standard deviation, as a report's summary holds them.

    Seeds are a few of many, so the deviation is the sample's (divided by one less than there are);
    0 stands for that of a single one.
    """
    values = list(values)
    return [float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else 0.0]
