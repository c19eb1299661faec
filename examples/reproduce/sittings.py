"""Runs that take several sittings: the cells of a report, each with a folder until it is finished.

A cell is a run that has one row in the report. Until it has it, it has a folder: the checkpoint of
its distiller, samples that were kept on the way, and notes of what was measured so far. Whoever has
the folder and the report, on this machine or another, starts the script again, and it goes on. The
clock of a run stands still between sittings. A finished cell has a row, and no folder any more.
"""

import argparse
import json
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from math import inf
from pathlib import Path
from time import perf_counter
from warnings import catch_warnings, simplefilter

from report import Report, machine, write

from skdistill import DistilledDataset
from skdistill.exceptions import DivergenceError, LongRunWarning

# Parts of a run's time at which its samples are kept, for a curve; the last are its result.
MOMENTS = (1 / 16, 1 / 8, 1 / 4, 1 / 2, 3 / 4)
# A run of at most so many seconds is not begun by a sitting that ends before it.
FEW = 600.0
# The checkpoint of a run in its folder, whose name is also in notes.
RUN = "run.npz"
PREPARED = f"prepared {RUN}"
# What notes and rows have besides what was measured: where, for how long, and what ended it.
MACHINES, TOOK, ENDED = "machines", "took", "ended by"


class OutOfTimeError(Exception):
    """The sitting is over; what is unfinished has been kept."""


def add_arguments(parser: argparse.ArgumentParser, names: Sequence[str] = ()) -> None:
    """Add --checkpoints, --minutes-left and, if rows have names, --only to a script's arguments."""
    if names:
        texts = ", ".join(names)
        parser.add_argument("--only", nargs="+", choices=names, metavar="NAME", help=texts)
    parser.add_argument(
        "--checkpoints",
        type=Path,
        help="folder of unfinished runs; default: beside the report, <report>.run",
    )
    parser.add_argument(
        "--minutes-left",
        type=_end_after,
        default=inf,
        dest="end",
        metavar="MINUTES",
        help="stop after so many minutes; a later call goes on",
    )


def _end_after(minutes: str) -> float:
    """Return when they are over, from now, when arguments are read: to load data takes of them."""
    return perf_counter() + 60 * float(minutes)


class Sitting:
    """The time that a script has, and the folder of its unfinished cells.

    ``with sitting:`` ends when the time is over, and says so.

    Parameters
    ----------
    report : Report or None
        Where the rows of finished cells go; None if it has none.
    args : argparse.Namespace
        Arguments of `add_arguments`, and ``json``. Without a report's file nothing is kept.

    Attributes
    ----------
    end : float
        When it is over, by `time.perf_counter`.
    took : dict of str to float
        How long the last measurement of a name took, in any sitting whose rows the report has.
    """

    def __init__(self, report: Report | None, args: argparse.Namespace):
        self._report, self._folder = report, args.checkpoints
        if self._folder is None and args.json is not None:
            self._folder = args.json.with_suffix(".run")
        self._prefix = "" if args.json is None else args.json.stem
        self.end = args.end
        self.took: dict[str, float] = {}
        for row in [] if report is None else report.rows:
            self.took |= row.get(TOOK, {})

    def __enter__(self) -> "Sitting":
        return self

    def __exit__(self, kind, error, traceback) -> bool:
        if kind is OutOfTimeError:
            print("The time is over. The next call goes on from here.", flush=True)
        return kind is OutOfTimeError

    def check(self, seconds: float = 0.0) -> None:
        """Raise OutOfTimeError if less than so many seconds are left."""
        if perf_counter() + seconds >= self.end:
            raise OutOfTimeError

    def cell(self, *key) -> "Cell":
        """Return what is kept of a cell."""
        folder = None
        if self._folder is not None:
            words = re.findall(r"[a-z0-9.]+", " ".join(map(str, key)).lower())
            folder = self._folder / "-".join([self._prefix, *words])
        return Cell(self, folder)

    def run(self, compute: Callable[["Cell"], dict], **key) -> dict:
        """Return the row of a cell: the report's or, if it has none, what is computed in it.

        It says on which machine that was (a list, if there were several), how long measurements
        took, and what ended a run that diverged.
        """
        cell = self.cell(*key.values())

        def in_time() -> dict:
            self.check()
            cell.begin()
            row = compute(cell)
            machines = cell.notes[MACHINES]
            row["machine"] = machines[0] if len(machines) == 1 else machines
            return row | {name: cell.notes[name] for name in (TOOK, ENDED) if name in cell.notes}

        row = self._report.run(in_time, **key)
        cell.remove()
        return row

    def run_all(
        self, names: Iterable, seeds: Iterable[int], compute: Callable[[str, int, "Cell"], dict]
    ) -> Iterator[dict]:
        """Yield the row of each name and seed, of a report with a key of these two."""
        name_key, seed_key = self._report.key
        for seed in seeds:
            for name in names:
                yield self.run(partial(compute, name, seed), **{name_key: name, seed_key: seed})


class Cell:
    """A run that has no row yet.

    Parameters
    ----------
    sitting : Sitting
    folder : Path or None
        Where it is kept; None keeps nothing.

    Attributes
    ----------
    notes : dict
        What was measured so far, JSON-safe. `save` writes it.
    """

    def __init__(self, sitting: Sitting, folder: Path | None):
        self.sitting, self.folder = sitting, folder
        self.notes: dict = {}
        if folder is not None and self._file.exists():
            self.notes = json.loads(self._file.read_text())

    @property
    def _file(self) -> Path:
        return self.folder / "notes.json"

    def begin(self) -> None:
        """Note the machine."""
        there = self.folder is not None and self.folder.exists()
        # Older notes do not have it.
        machines = self.notes.setdefault(MACHINES, ["unknown"] if there else [])
        if machine() not in machines:
            machines.append(machine())
            self.save()

    def save(self) -> None:
        """Write the notes."""
        if self.folder is not None:
            write(self._file, self.notes)

    def remove(self) -> None:
        """Remove the folder, and the one that it is in if that is empty then."""
        if self.folder is not None and self.folder.exists():
            shutil.rmtree(self.folder)
            with suppress(OSError):
                self.folder.parent.rmdir()

    def once(self, name: str, compute: Callable[[], object]):
        """Return what was computed in this or an earlier sitting, a JSON-safe value."""
        if name not in self.notes:
            self.sitting.check(self.sitting.took.get(name, 0.0))
            began = perf_counter()
            self.notes[name] = compute()
            took = round(perf_counter() - began, 3)
            self.sitting.took[name] = self.notes.setdefault(TOOK, {})[name] = took
            self.save()
        return self.notes[name]

    def fit(self, distiller, X, y, name: str = RUN, *, keeps_diverged: bool = False) -> None:
        """Distill to the end, ``max_iter``, from where an earlier sitting was.

        Parameters
        ----------
        distiller : estimator
        X, y : array-like
        name : str
            The distiller's ``checkpoint`` in the folder.
        keeps_diverged : bool, default=False
            Whether a run that diverges has ended, with its last samples, and not failed.
        """
        clock = Clock(self.sitting)
        if keeps_diverged:
            self._fit_until_diverged(distiller, X, y, name, clock)
        else:
            self._fit(distiller, X, y, name, clock)

    def fit_for(
        self, distiller, X, y, seconds: float, moments: Sequence[float] = ()
    ) -> list[DistilledDataset]:
        """Distill for so many seconds of all sittings together, but for one step at least.

        A run of a few minutes is only begun if the sitting has them left: some methods' checkpoints
        are large, and then there is none between sittings. A run that diverges has ended, with its
        last samples; if it did so before the first step, it has none, and the error is raised.

        They begin with `fit`, so what a method prepares counts, if it takes place before the first
        step; what is prepared again in a later sitting does not. Neither does the time between
        steps, in which the samples are made that callbacks see: some have many more than others.

        Parameters
        ----------
        distiller : estimator
        X, y : array-like
        seconds : float
        moments : sequence of float
            Parts of the time at which the samples are kept.

        Returns
        -------
        list of DistilledDataset
            The samples at the moments that a step ended near, and at the end.
        """
        kept = {part: self._kept(part * seconds) for part in moments}
        clock = TimeLimit(self, seconds, kept)
        steps = f"steps of {RUN} in {seconds:g} s"
        if seconds <= FEW and not (self.folder is not None and (self.folder / RUN).exists()):
            # And for what comes between steps.
            self.sitting.check(1.2 * seconds)
        # A run that has had its time is read, and does no further step.
        distiller.set_params(max_iter=self.notes.get(steps, 10**6))
        self._fit_until_diverged(distiller, X, y, RUN, clock)
        self.notes[steps] = distiller.n_iter_
        self.notes[_at_step(distiller.n_iter_)] = self.seconds_so_far(distiller)
        self.save()
        return [*clock.sets(), distiller.distilled_]

    def seconds(self, distilled: DistilledDataset) -> float:
        """Return the time that a run of `fit_for` had taken, in all sittings, for these samples."""
        step, whole = distilled.provenance["n_iter"], distilled.provenance["seconds"]
        # Older notes do not have it.
        return self.notes.get(_at_step(step), whole + self.notes.get(PREPARED, 0.0))

    def seconds_so_far(self, distiller) -> float:
        """Return the time of a distiller's steps, and before the first."""
        return sum(distiller.history_["seconds"]) + self.notes.get(PREPARED, 0.0)

    def _kept(self, at: float) -> Path | None:
        return None if self.folder is None else self.folder / f"{at:g}s-{RUN}"

    def _fit_until_diverged(self, distiller, X, y, name: str, clock: "Clock") -> None:
        try:
            self._fit(distiller, X, y, name, clock)
        except DivergenceError as error:
            if not hasattr(distiller, "n_iter_"):
                # Before the first step: there are no samples.
                raise
            # The checkpoint holds that, too: a later fit raises this again, and does no step.
            self.notes[ENDED] = str(error)
            self.save()

    def _fit(self, distiller, X, y, name: str, clock: "Clock") -> None:
        if self.folder is not None:
            self.folder.mkdir(parents=True, exist_ok=True)
            distiller.set_params(checkpoint=self.folder / name)
        with catch_warnings():
            # Whoever starts this knows.
            simplefilter("ignore", LongRunWarning)
            distiller.set_callbacks(clock).fit(X, y)


def tested_on_the_way(
    cell: Cell, sets: Sequence[DistilledDataset], test: Callable[[DistilledDataset], object]
) -> dict[str, list[float]]:
    """Return a curve of the sets of `fit_for`: seconds, outer steps and the accuracy of a test.

    Parameters
    ----------
    cell : Cell
    sets : sequence of DistilledDataset
    test : callable
        Returns an `EvaluationResult`, given a set.
    """

    def point(each: DistilledDataset) -> list[float]:
        return [cell.seconds(each), each.provenance["n_iter"], test(each).mean]

    points = [cell.once(f"moment {k}", partial(point, each)) for k, each in enumerate(sets)]
    columns = [list(column) for column in zip(*points)]
    return dict(zip(("seconds", "step", "accuracy"), columns))


def _at_step(step: int) -> str:
    """Return the note of how long a run had taken after a step."""
    return f"seconds of {RUN} at step {step}"


class Clock:
    """A scikit-learn callback: end a run before a step that the sitting has no time for.

    It does so by an error, which leaves a checkpoint, and after which no block follows.
    """

    # Also the distillers inside others are watched.
    max_propagation_depth = None

    def __init__(self, sitting: Sitting):
        self._sitting, self._last = sitting, None

    def setup(self, estimator, context):
        """Do nothing."""

    def teardown(self, estimator, context):
        """Do nothing."""

    def on_fit_task_begin(self, estimator, context):
        """Do nothing."""

    def on_fit_task_end(self, estimator, context):
        """Raise OutOfTimeError if one more step like this one would take too long."""
        if context.task_name == "outer step":
            now = perf_counter()
            step = 0.0 if self._last is None else now - self._last
            self._last = now
            self._sitting.check(step)


class TimeLimit(Clock):
    """A scikit-learn callback: keep samples at given parts of a run's time, and stop at its end.

    Parameters
    ----------
    cell : Cell
    seconds : float
    kept : dict of float to (Path or None)
        Where samples are kept, by the part of the time.
    """

    def __init__(self, cell: Cell, seconds: float, kept: dict[float, Path | None]):
        super().__init__(cell.sitting)
        self._cell, self._seconds = cell, seconds
        self._sets = {
            part: DistilledDataset.load(file)
            for part, file in kept.items()
            if file is not None and file.exists()
        }
        self._due = {part: file for part, file in kept.items() if part not in self._sets}
        self._began, self._at = perf_counter(), None

    def sets(self) -> list[DistilledDataset]:
        """Return the samples that were kept, in the order of time."""
        return [self._sets[part] for part in sorted(self._sets)]

    def on_fit_task_end(self, estimator, context, *, fitted_estimator=None):
        """Keep the samples if the next step would end after a moment; stop if that is the last."""
        if context.task_name != "outer step":
            return False
        distilled, notes = fitted_estimator.distilled_, self._cell.notes
        if PREPARED not in notes:
            # The first step of the first sitting.
            whole = perf_counter() - self._began
            first = distilled.provenance["seconds"]
            notes[PREPARED] = max(0.0, whole - first)
            self._cell.save()
        at = self._cell.seconds_so_far(fitted_estimator)
        step = 0.0 if self._at is None else at - self._at
        self._at = at
        passed = [part for part in self._due if at + step > part * self._seconds]
        if passed:
            # The last of them: no sample is kept twice.
            part = max(passed)
            self._sets[part] = distilled
            notes[_at_step(fitted_estimator.n_iter_)] = at
            self._cell.save()
            if self._due[part] is not None:
                distilled.save(self._due[part])
            self._due = {part: file for part, file in self._due.items() if part not in passed}
        if at + step > self._seconds:
            return True
        super().on_fit_task_end(estimator, context)
        return False
