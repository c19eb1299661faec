"""Eight claims of [Feng23], each with the runs that decide it and the rule of its verdict.

All of it is written down before a run starts: `CLAIMS` says which scripts run with which data,
arguments, seeds and time, and which numbers must be above which others by how much. The runs of a
claim take some six hours of one core, in as many sittings as they need: a finished run has a row in
a file of ``results``, and an unfinished one a folder in ``results/checkpoints``. Commit both after
a sitting, and the next one goes on from them, on this machine or another.

    python examples/reproduce/claims.py status
    python examples/reproduce/claims.py run 3 --cifar10 FOLDER --minutes-left 50
    python examples/reproduce/claims.py run 1 --fashion-mnist FOLDER --only "weakly boosted"
    python examples/reproduce/claims.py verdict

A statement compares two numbers of the same seeds. Its margin is the 95 % quantile of Student's t
times the standard error of the mean difference. The deviation in it is that over seeds, pooled over
all statements of the claim, because two or three seeds alone say little of it; if the statement's
own is larger, it is that. A statement holds if the difference less the margin is above what the
statement asks for, it does not hold if the difference plus the margin is below, and is undecided
otherwise, or as long as a run that it rests on is missing. Runs of so many minutes that are from
different machines are told: it may decide which of them got further. The statements of a claim
share runs, so this is a rule, and not a test of significance.

This file needs nothing of the package, so that the documentation can read it.
"""

import argparse
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from itertools import pairwise, product
from pathlib import Path
from time import perf_counter

import numpy as np
from scipy.stats import t as student

RESULTS = Path(__file__).parent / "results"
FASHION, CIFAR = "fashion-mnist", "cifar10-folder"
HOLDS, FAILS, OPEN = "holds", "does not hold", "undecided"
# Numbers by name and seed, accuracies in points.
Values = dict[str, dict[int, float]]

# --- what a claim is ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Part:
    """Runs of a script that have rows in one file.

    Parameters
    ----------
    script : str
        A file beside this one.
    data : str
        What its ``--dataset`` is.
    file : str
        The report, in ``results``.
    arguments : str
        All others that say what is measured.
    key : str
        What rows call the names.
    names : tuple of str
        What ``--only`` takes: a row for each of them and each seed.
    seeds : tuple of int
    where : tuple of (str, int) or None, default=None
        What rows of this part have besides.
    close : float or None, default=None
        Names after the first get the seeds after the first only if they are at most so many points
        below the first name with the first seed, each by our protocol or the recipe of its own.
    """

    script: str
    data: str
    file: str
    arguments: str
    key: str
    names: tuple[str, ...]
    seeds: tuple[int, ...]
    where: tuple[str, int] | None = None
    close: float | None = None

    @property
    def is_timed(self) -> bool:
        """Whether runs have so many minutes, so that it matters how fast a machine is."""
        return "--minutes" in self.arguments.split()

    def rows(self, results: Path) -> list[dict]:
        """Return the rows that are there."""
        path = results / self.file
        rows = json.loads(path.read_text(encoding="utf-8"))["rows"] if path.exists() else []
        return [row for row in rows if self._has(row)]

    def _has(self, row: dict) -> bool:
        name, value = self.where or ("seed", row["seed"])
        known = row[self.key] in self.names and row["seed"] in self.seeds
        return known and row[name] == value

    def cells(self, rows: list[dict]) -> list[tuple[str, int]]:
        """Return the names and seeds that are needed, in the order of the runs."""
        first, *others = self.seeds
        return [
            *((name, first) for name in self.names),
            *((name, seed) for seed in others for name in self.names if self._is_close(name, rows)),
        ]

    def _is_close(self, name: str, rows: list[dict]) -> bool:
        found = {row[self.key]: row for row in rows if row["seed"] == self.seeds[0]}
        if self.close is None or not {name, self.names[0]} <= found.keys():
            return True
        best, other = (max(accuracies(found[each])) for each in (self.names[0], name))
        return 100 * (best - other) <= self.close

    def missing(self, rows: list[dict]) -> list[tuple[str, int]]:
        """Return the cells without a row."""
        done = {(row[self.key], row["seed"]) for row in rows}
        return [cell for cell in self.cells(rows) if cell not in done]

    def due(self, rows: list[dict]) -> list[tuple[str, int]]:
        """Return the cells without a row that are needed whatever the others will be."""
        first = self.seeds[0]
        known = {row[self.key] for row in rows if row["seed"] == first}
        return [
            (name, seed)
            for name, seed in self.missing(rows)
            if self.close is None or seed == first or {name, self.names[0]} <= known
        ]


@dataclass(frozen=True)
class Statement:
    """One number is above another by more than `least` points, which may be negative."""

    better: str
    worse: str
    least: float


@dataclass(frozen=True)
class Finding:
    """What [Feng23] says, and the statements of which all (or any) must hold for it to hold.

    It rests on the runs of these parts of the claim, by number; None is all of them.
    """

    text: str
    statements: tuple[Statement, ...]
    needs: str = "all"
    parts: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Claim:
    """A claim: its runs, what the rows say, and what must be above what.

    Parameters
    ----------
    title : str
    parts : tuple of Part
    values : callable
        Returns `Values`, given the rows of each part and the names that are compared.
    findings : tuple of Finding
    hours : float
        About what the runs take, of one core.
    lines : callable or None, default=None
        Returns what to draw, given the rows of each part: by panel and label, ``(x, y)`` of one
        run each, with ``x`` and ``y`` named by the panel.
    obstacle : callable or None, default=None
        Returns why rows cannot decide a statement, or None, given the rows of each part and it.
    """

    title: str
    parts: tuple[Part, ...]
    values: Callable[[list[list[dict]], Sequence[str]], Values]
    findings: tuple[Finding, ...]
    hours: float
    lines: Callable[[list[list[dict]]], dict] | None = None
    obstacle: Callable[[list[list[dict]], Statement], str | None] | None = None

    def rows(self, results: Path) -> list[list[dict]]:
        """Return the rows of each part that are there."""
        return [part.rows(results) for part in self.parts]


# --- the rule -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Judged:
    """A statement's difference in points, its margin, its number of seeds, and what follows.

    Remarks are what one should know of its rows.
    """

    statement: Statement
    difference: float | None
    margin: float | None
    n_seeds: int
    verdict: str
    remarks: tuple[str, ...] = ()


def judge(claim: Claim, rows: list[list[dict]]) -> list[list[Judged]]:
    """Return what the rows say of the statements of each finding."""
    # Each difference once, whatever is asked of it.
    statements = [statement for finding in claim.findings for statement in finding.statements]
    pairs = dict.fromkeys((s.better, s.worse) for s in statements)
    differences = {pair: differ(claim.values(rows, pair), *pair) for pair in pairs}
    degrees = sum(max(0, len(each) - 1) for each in differences.values())
    squares = sum(((each - each.mean()) ** 2).sum() for each in differences.values() if len(each))
    pooled = np.sqrt(squares / degrees) if degrees else None
    missing = [bool(part.missing(own)) for part, own in zip(claim.parts, rows)]
    judged = []
    for finding in claim.findings:
        parts = range(len(rows)) if finding.parts is None else finding.parts
        complete = not any(missing[k] for k in parts)
        own = []
        for s in finding.statements:
            obstacle = None if claim.obstacle is None else claim.obstacle(rows, s)
            can_be = complete and obstacle is None
            each = decide(s, differences[s.better, s.worse], pooled, degrees, can_be)
            machines = machines_of(claim, rows, s)
            remarks = [] if obstacle is None else [obstacle]
            if machines:
                remarks.append(f"its rows are from different machines ({'; '.join(machines)})")
            own.append(replace(each, remarks=tuple(remarks)))
        judged.append(own)
    return judged


def machines_of(claim: Claim, rows: list[list[dict]], statement: Statement) -> list[str]:
    """Return the machines of a statement's rows if, for some seed, there are several.

    Only of runs that had so many minutes. Rows of before reports had it name none.
    """
    names = statement.better, statement.worse
    of_seed: dict[int, set[str]] = {}
    for k, part in enumerate(claim.parts):
        for row in rows[k] if part.is_timed else []:
            alone = [[row] if j == k else [] for j in range(len(rows))]
            if claim.values(alone, names).keys() & {*names}:
                machine = row.get("machine", [])
                own = of_seed.setdefault(row["seed"], set())
                own |= {machine} if isinstance(machine, str) else {*machine}
    return sorted(set().union(*(each for each in of_seed.values() if len(each) > 1)))


def differ(values: Values, better: str, worse: str) -> np.ndarray:
    """Return the differences of two numbers, for the seeds that both have."""
    a, b = values.get(better, {}), values.get(worse, {})
    return np.array([a[seed] - b[seed] for seed in sorted(a.keys() & b.keys())])


def decide(
    statement: Statement,
    differences: np.ndarray,
    pooled: float | None,
    degrees: int,
    complete: bool,
) -> Judged:
    """Return whether a statement holds, by the differences and the pooled deviation."""
    n = len(differences)
    if n == 0:
        return Judged(statement, None, None, 0, OPEN)
    mean = float(differences.mean())
    if pooled is None:
        return Judged(statement, mean, None, n, OPEN)
    deviation = max(pooled, differences.std(ddof=1) if n > 1 else 0.0)
    margin = float(student.ppf(0.95, degrees) * deviation / np.sqrt(n))
    verdict = OPEN
    if complete and mean - margin > statement.least:
        verdict = HOLDS
    if complete and mean + margin < statement.least:
        verdict = FAILS
    return Judged(statement, mean, margin, n, verdict)


def of_finding(finding: Finding, judged: list[Judged]) -> str:
    """Return the verdict of a finding, by those of its statements."""
    verdicts = [each.verdict for each in judged]
    if finding.needs == "any":
        if HOLDS in verdicts:
            return HOLDS
        return FAILS if set(verdicts) == {FAILS} else OPEN
    return together(verdicts)


def together(verdicts: Sequence[str]) -> str:
    """Return the verdict of what holds only if all of its parts do."""
    if FAILS in verdicts:
        return FAILS
    return HOLDS if set(verdicts) == {HOLDS} else OPEN


def verdict(claim: Claim, rows: list[list[dict]]) -> str:
    """Return "holds", "does not hold" or "undecided", given the rows of each part of a claim."""
    judged = judge(claim, rows)
    return together([of_finding(*pair) for pair in zip(claim.findings, judged)])


# --- what rows say ------------------------------------------------------------------------------


def collect(found: Iterable[tuple[str, int, float | None]]) -> Values:
    """Return accuracies by name and seed, in points."""
    values: Values = {}
    for name, seed, accuracy in found:
        if accuracy is not None:
            values.setdefault(name, {})[seed] = 100 * accuracy
    return values


# What rows of methods.py may have besides the accuracy by our protocol.
OWN = "accuracy by its own recipe"


def accuracies(row: dict) -> list[float]:
    """Return a row's accuracies by our protocol, 0 without samples, and by its own recipe."""
    return [row.get("accuracy", 0.0), *([row[OWN]] if OWN in row else [])]


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


# In curves of truncations.py.
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


# --- the plan -----------------------------------------------------------------------------------

# What suits narrow networks in minutes: see settings.py.
NARROW = "--window 20 --unroll 30 --inner-lr 0.003"
BOOSTING = f"--ipc 10 --block-size 2 --width 16 {NARROW} --max-iter 1500 --networks 5 --draws 5"
STRONG, WEAK, JOINT, KIP, REAL = (
    "strongly boosted",
    "weakly boosted",
    "distilled at that size",
    "KIP",
    "random real samples",
)


def sets(*names: str) -> Part:
    """Return runs of boosting.py on Fashion-MNIST."""
    file = "boosting-fashion-mnist-10.json"
    return Part("boosting", FASHION, file, BOOSTING, "set", names, (0, 1))


BOOSTED = Claim(
    title="Boosting",
    parts=(sets(STRONG, WEAK, JOINT),),
    values=of_sets,
    findings=(
        Finding(
            "Boosting costs next to nothing at large budgets (figure 8).",
            (
                # Two points: no more is a "minor sacrifice" on ten classes.
                Statement(f"{STRONG}, 10 per class", f"{JOINT}, 10 per class, in equal time", -2),
                Statement(f"{WEAK}, 10 per class", f"{JOINT}, 10 per class, in equal time", -2),
            ),
        ),
        Finding(
            "In the end weak boosting is better than joint distillation (figure 8).",
            (Statement(f"{WEAK}, 10 per class", f"{JOINT}, 10 per class, in equal time", 0),),
        ),
        Finding(
            "Later blocks are worse than the first, and far better than a part of a joint set of "
            "their size (figure 9).",
            (
                Statement(f"{STRONG}, first block", f"{STRONG}, later blocks alone", 0),
                Statement(f"{STRONG}, later blocks alone", f"{JOINT}, 2 random of 10", 2),
            ),
        ),
    ),
    hours=5,
    lines=lines_of_sets,
)

INTERCORRELATION = Claim(
    title="Intercorrelation",
    # The first are those of the claim before.
    parts=(sets(JOINT, REAL, KIP),),
    values=of_sets,
    findings=(
        *(
            Finding(
                f"{words}: a part of a joint set is far below a set of its size, and, if it is "
                "small, below as many real samples (figure 7).",
                (
                    Statement(f"{name}, 2 per class", f"{name}, 2 random of 10", 2),
                    Statement(f"{REAL}, 2 per class", f"{name}, 2 random of 10", 0),
                ),
            )
            for name, words in ((JOINT, "RaT-BPTT"), (KIP, "KIP"))
        ),
        Finding(
            "Parts of sets by RaT-BPTT are better than those of KIP's (figure 7).",
            tuple(
                Statement(f"{JOINT}, {k} random of 10", f"{KIP}, {k} random of 10", 0)
                for k in (4, 6)
            ),
        ),
    ),
    hours=0.5,
    lines=lines_of_sets,
)


def ordered(axis: str, *names: str, least: float = 0.5) -> tuple[Statement, ...]:
    """Return that each number is above the next one.

    Half a point is the standard error of an accuracy on 10,000 test samples: what is less is not
    worth a claim.
    """
    return tuple(Statement(f"{a}, {axis}", f"{b}, {axis}", least) for a, b in pairwise(names))


RAT, FORWARD, BACKWARD, EARLY = "RaT-BPTT", "moves forward", "moves backward", "favors first steps"
STEPS, TIME = "equal steps", "equal time"
WINDOW = Claim(
    title="The random window",
    parts=(
        Part(
            "truncations",
            CIFAR,
            "truncations-cifar10-folder.json",
            # A third of the unrolling, as in figures 4 and 6: narrow networks take less, but then a
            # window has no room to move.
            "--small --ipc 1 --width 16 --window 20 --unroll 60 --inner-lr 0.003 "
            # The mean of the loss has a memory of some fifty steps: with the paper's patience, or
            # 150, a window would hardly move in so short a run.
            "--augmentation flip_rotate --patience 75 --smoothing 0.98 "
            "--minutes 12 --every 100 --networks 3",
            "method",
            (RAT, "BPTT", "T-BPTT", "R-BPTT", FORWARD, BACKWARD, EARLY),
            (0, 1, 2),
        ),
    ),
    values=of_curves(""),
    findings=(
        Finding(
            "RaT-BPTT is better than BPTT, at equal steps and at equal time (figure 4).",
            ordered(STEPS, RAT, "BPTT") + ordered(TIME, RAT, "BPTT"),
        ),
        Finding(
            "BPTT is better than T-BPTT and R-BPTT (figure 4).",
            ordered(STEPS, "BPTT", "T-BPTT") + ordered(STEPS, "BPTT", "R-BPTT"),
        ),
        Finding(
            "A random window is better than one that moves (figure 6).",
            ordered(STEPS, RAT, FORWARD) + ordered(STEPS, RAT, BACKWARD),
        ),
        Finding(
            "A window that favors the first steps is better still (section 4.3: 0.4 points).",
            ordered(STEPS, EARLY, RAT, least=0),
        ),
    ),
    hours=5.5,
    lines=lines_of_curves(""),
    obstacle=has_not_moved,
)


def lengths(window: int, unroll: int) -> str:
    """Return what figure11.py calls a window."""
    return f"{window} of {unroll} in the paper"


PAIRS = tuple(
    lengths(*pair) for pair in ((40, 80), (40, 120), (40, 200), (40, 300), (60, 200), (100, 200))
)
SIZES = {
    "28 pixels": (FASHION, "--width 32 --every 200"),
    "32 pixels": (CIFAR, "--width 16 --augmentation flip_rotate --every 200"),
}


def of_lengths(part: int, size: str) -> tuple[Finding, ...]:
    """Return the findings of figure 11 for images of a size, from a part of the claim."""

    def above(better: tuple[int, int], worse: tuple[int, int], least: float) -> Statement:
        names = (f"{size}, {lengths(*pair)}, {STEPS}" for pair in (better, worse))
        return Statement(*names, least)

    return (
        Finding(
            f"{size}: three times the window is as good as two and five times (figure 11, left).",
            (above((40, 120), (40, 80), -2), above((40, 120), (40, 200), -2)),
            parts=(part,),
        ),
        Finding(
            f"{size}: an unrolling of seven and a half times the window does harm (figure 11, "
            "left).",
            (above((40, 120), (40, 300), 0.5),),
            parts=(part,),
        ),
        Finding(
            f"{size}: a window of about a third is better than a fifth, and as good as a half "
            "(figure 11, right).",
            (above((60, 200), (40, 200), 0.5), above((60, 200), (100, 200), -2)),
            parts=(part,),
        ),
    )


LENGTHS = Claim(
    title="Window and unrolling",
    parts=tuple(
        Part(
            "figure11",
            name,
            f"figure11-{name.replace(' ', '-')}.json",
            # Three times the learning rate and a quarter of the steps: about as far in all.
            f"--small --ipc 1 {own} --divide 4 --inner-lr 0.003 --minutes 7.5 --networks 3",
            "method",
            PAIRS,
            (0, 1, 2),
        )
        for name, own in SIZES.values()
    ),
    values=of_curves(*SIZES),
    findings=tuple(finding for pair in enumerate(SIZES) for finding in of_lengths(*pair)),
    hours=6,
    lines=lines_of_curves(*SIZES),
)

PIXELS, BASIS, LABELS = "pixels", "linear basis", "learned labels"
STORED = (
    # The start whose size the learning rate of pixels goes by.
    f"--init gaussian --storage 1 10 --width 16 --test-width 32 {NARROW} --inner-batch-size 5 "
    # A thousand steps, because a set of bases has a thousand samples.
    "--networks 5 --test-steps 1000 --curve-networks 1"
)


def stored(data: str, own: str, names: tuple[str, ...], storage: int, seeds: tuple) -> Part:
    """Return runs of parametrizations.py."""
    file, where = f"parametrizations-{data}.json", ("storage", storage)
    arguments = STORED.replace("1 10", str(storage)) + own
    return Part("parametrizations", data, file, arguments, "name", names, seeds, where)


STORAGES = ("CIFAR-10", "Fashion-MNIST", "Fashion-MNIST, 10 per class")
PARAMETRIZED = Claim(
    title="Bases and labels",
    parts=(
        stored(CIFAR, " --augmentation flip_rotate --minutes 40", (PIXELS, BASIS), 1, (0, 1)),
        # Not in the paper, so that two seeds have to do.
        stored(FASHION, " --minutes 15", (PIXELS, BASIS), 1, (0, 1)),
        stored(FASHION, " --minutes 15", (PIXELS, LABELS), 10, (0, 1, 2)),
    ),
    values=of_parametrizations(*STORAGES),
    findings=(
        Finding(
            "A linear basis in the storage of one sample per class is far better than pixels "
            "(section 4.2: 15 points on CIFAR-10).",
            # A third of the paper's gain.
            (Statement(f"CIFAR-10, {BASIS}", f"CIFAR-10, {PIXELS}", 5),),
            parts=(0,),
        ),
        Finding(
            "It is better on gray images, too (not in the paper).",
            (Statement(f"Fashion-MNIST, {BASIS}", f"Fashion-MNIST, {PIXELS}", 0.5),),
            parts=(1,),
        ),
        Finding(
            "Learned labels make sets of ten per class better (appendix C.1 has them for large "
            "sets, without a number).",
            (
                Statement(
                    f"Fashion-MNIST, 10 per class, {LABELS}",
                    f"Fashion-MNIST, 10 per class, {PIXELS}",
                    0.5,
                ),
            ),
            parts=(2,),
        ),
    ),
    hours=6,
    lines=lines_of_curves(*STORAGES, key="name"),
)

HARD = (
    f"--ipc 10 --width 16 {NARROW} --max-iter 3000 --begin 1500 --renew-every 1 "
    "--epochs 20 --score-networks 5 --networks 5"
)
HARDNESS = Claim(
    title="Hardness",
    parts=(
        Part(
            "hardness",
            FASHION,
            "hardness-fashion-mnist-10.json",
            HARD,
            "name",
            ("scores",),
            (0,),
        ),
        Part(
            "hardness",
            FASHION,
            "hardness-fashion-mnist-10.json",
            HARD,
            "name",
            ("one per class", "uniform", "extremes", "medium", "whole training set"),
            (0, 1, 2),
        ),
    ),
    values=of_hardness,
    findings=(
        Finding(
            "What ten samples per class lack of training on everything, they lack of the samples "
            "that networks forget (figure 10).",
            (Statement(f"{LACK}, {OFTEN}", f"{LACK}, {NEVER}", 5),),
        ),
        Finding(
            "More samples per class help least where networks forget most (figure 10).",
            (Statement(f"{GAIN}, {SELDOM}", f"{GAIN}, {MOST}", 0),),
        ),
        Finding(
            "Batches by hardness, of one sign or the other, are better than uniform ones "
            "(figure 15).",
            (
                Statement("medium batches", "uniform batches", 0.5),
                Statement("extremes batches", "uniform batches", 0.5),
            ),
            needs="any",
        ),
    ),
    hours=4.5,
    lines=lines_of_hardness,
)

# The last three are told, and decide nothing. Only sets through the usual ConvNet need the wide
# ones, whose tests take most of the time.
ON, WIDE = "convnet-32 convnet resnet-small resnet18 vgg11 alexnet", " convnet_x4 convnet_x8"


def through(file: str, on: str, *names: str) -> Part:
    """Return runs of architectures.py."""
    arguments = f"--small --ipc 1 --minutes 12 --through {' '.join(names)} --on {on} --networks 2"
    file = f"architectures-fashion-mnist-{file}.json"
    return Part("architectures", FASHION, file, arguments, "through", names, (0, 1))


TRANSFER = Claim(
    title="Transfer",
    parts=(
        through("usual", ON + WIDE, "convnet"),
        through("others", ON, "convnet-32", "convnet-32-usual", "resnet-small"),
    ),
    values=of_transfer,
    findings=(
        Finding(
            "Sets do better on wider networks than on those that they were distilled through "
            "(Table 1, last row).",
            (
                Statement("through convnet, on convnet_x4", "through convnet, on convnet", 0),
                Statement("through convnet, on convnet_x8", "through convnet, on convnet", 0),
                Statement("through convnet-32, on convnet", "through convnet-32, on convnet-32", 0),
            ),
        ),
        Finding(
            "Narrow networks are good enough to distill through, with the loop that suits them and "
            "with that of the usual ones (section 4.1).",
            tuple(
                Statement(f"through {narrow}, on convnet", "through convnet, on convnet", -2)
                for narrow in ("convnet-32", "convnet-32-usual")
            ),
        ),
        Finding(
            "A residual network learns more from a set that was distilled through one than from "
            "one of a ConvNet (appendix C.3: 3.5 points).",
            (
                Statement(
                    "through resnet-small, on resnet-small", "through convnet, on resnet-small", 0.5
                ),
            ),
        ),
    ),
    hours=4,
)

BEST = "RaTBPTTDistiller"
# Those of Table 1, and of the table in section 4.2 the one that learns pixels. The others that the
# package has are near to one of these: DC to DSA, TESLA to MTT.
RIVALS = (
    "bptt",
    "KIPDistiller",
    "RFADDistiller",
    "FRePoDistiller",
    "RCIGDistiller",
    "dsa",
    "DistributionMatchingDistiller",
    "mtt",
    "ftd",
    "idc",
)
# By the step size that they learned. (Table 1 has KIP's by networks, and not by its regression.)
WITH_OWN = ("mtt", "ftd")
TABLES = {
    "Fashion-MNIST, 1 per class": (FASHION, 1, "--width 32 --curve-networks 1", (0, 1)),
    "Fashion-MNIST, 10 per class": (FASHION, 10, "--width 32", (0,)),
    "CIFAR-10, 1 per class": (CIFAR, 1, "--width 16", (0,)),
}
TABLE = Claim(
    title="Table 1",
    parts=tuple(
        Part(
            "methods",
            data,
            f"methods-{data}-{ipc}-6min.json",
            f"--ipc {ipc} --minutes 6 --networks 3 {own}",
            "method",
            (BEST, *RIVALS),
            seeds,
            # One seed is enough for a method that is far away: by more than twice the margin that
            # it has then, if accuracies scatter by a point or so from seed to seed.
            close=5.0,
        )
        for data, ipc, own, seeds in TABLES.values()
    ),
    values=of_methods(*TABLES),
    findings=tuple(
        Finding(
            f"{label}: RaT-BPTT is better than every other method{words}.",
            tuple(Statement(f"{label}, {BEST}", f"{label}, {rival}{end}", 0.5) for rival in rivals),
            parts=(part,),
        )
        for part, label in enumerate(TABLES)
        for words, end, rivals in (
            (
                ", all by our protocol (FRePo and RCIG by squared error, as their labels need)",
                "",
                RIVALS,
            ),
            (" that learns a step size, by that", ", own protocol", WITH_OWN),
        )
    ),
    hours=6,
    lines=lines_of_curves(*TABLES),
)

CLAIMS = {
    1: BOOSTED,
    2: INTERCORRELATION,
    3: WINDOW,
    4: LENGTHS,
    5: PARAMETRIZED,
    6: HARDNESS,
    7: TRANSFER,
    8: TABLE,
}

# --- the command line ---------------------------------------------------------------------------


def run(
    claim: Claim,
    folders: dict[str, Path | None],
    only: str | None = None,
    minutes_left: float | None = None,
    results: Path = RESULTS,
) -> None:
    """Do the runs of a claim that are missing, in their order, until the time is over."""
    import torch

    # A claim's hours are those of one core.
    torch.set_num_threads(1)
    began = perf_counter()
    for part in claim.parts:
        # Which runs need a second seed is known when the rows of the first are there.
        groups = [part.seeds] if part.close is None else [(seed,) for seed in part.seeds]
        for seeds in groups:
            due = {name for name, seed in part.due(part.rows(results)) if seed in seeds}
            wanted = [name for name in part.names if name in due and only in (None, name)]
            if not wanted:
                continue
            arguments = [*part.arguments.split(), "--dataset", part.data]
            arguments += ["--data", str(folders[part.data]), "--seeds", *map(str, seeds)]
            arguments += ["--json", str(results / part.file), "--only", *wanted]
            arguments += ["--checkpoints", str(results / "checkpoints")]
            if minutes_left is not None:
                left = minutes_left - (perf_counter() - began) / 60
                if left <= 0:
                    print("The time is over.", flush=True)
                    return
                arguments += ["--minutes-left", f"{left:.3f}"]
            import_module(part.script).main(arguments)
            if {*product(wanted, seeds)} & {*part.missing(part.rows(results))}:
                # The time is over.
                return


def status(results: Path = RESULTS) -> str:
    """Return how far the claims are."""
    lines = []
    for number, claim in CLAIMS.items():
        rows = claim.rows(results)
        cells = [len(part.cells(own)) for part, own in zip(claim.parts, rows)]
        missing = [cell for part, own in zip(claim.parts, rows) for cell in part.missing(own)]
        text = f"{number}. {claim.title}: {sum(cells) - len(missing)} of {sum(cells)} runs"
        following = f"; next {missing[0][0]}, seed {missing[0][1]}" if missing else ""
        lines.append(f"{text}, about {claim.hours:g} h in all{following}")
    folder = results / "checkpoints"
    unfinished = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    return "\n".join([*lines, f"unfinished: {', '.join(unfinished) or 'none'}"])


def verdicts(results: Path = RESULTS) -> str:
    """Return what follows of each statement, finding and claim."""
    lines = []
    for number, claim in CLAIMS.items():
        rows = claim.rows(results)
        if not any(rows):
            lines.append(f"{number}. {claim.title}: not run yet")
            continue
        lines.append(f"{number}. {claim.title}: {verdict(claim, rows)}")
        for finding, judged in zip(claim.findings, judge(claim, rows)):
            lines.append(f"   {of_finding(finding, judged)}: {finding.text}")
            for each in judged:
                s, margin = each.statement, "" if each.margin is None else f" ± {each.margin:.1f}"
                found = "no rows" if each.difference is None else f"{each.difference:+.1f}{margin}"
                asked = f"asked for: more than {s.least:+g}"
                lines.append(f"      {s.better} above {s.worse}: {found} ({asked}): {each.verdict}")
                lines += [f"         {remark}" for remark in each.remarks]
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> None:
    """Run, or print how far the runs are and what follows."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    runs = commands.add_parser("run", help="do the runs of a claim that are missing")
    runs.add_argument("claim", type=int, choices=CLAIMS)
    runs.add_argument("--fashion-mnist", type=Path, help="folder of Fashion-MNIST")
    runs.add_argument("--cifar10", type=Path, help="folder of CIFAR-10, with train and test")
    runs.add_argument("--only", metavar="CELL", help="a name, as status has it")
    runs.add_argument("--minutes-left", type=float, help="stop after so many minutes")
    commands.add_parser("status", help="print how far the runs are")
    commands.add_parser("verdict", help="print what follows from the rows")
    args = parser.parse_args(argv)
    if args.command == "status":
        print(status())
    elif args.command == "verdict":
        print(verdicts())
    else:
        claim, folders = CLAIMS[args.claim], {FASHION: args.fashion_mnist, CIFAR: args.cifar10}
        for part in claim.parts:
            if folders[part.data] is None:
                option = "--fashion-mnist" if part.data == FASHION else "--cifar10"
                parser.error(f"claim {args.claim} needs {option}, the folder of its data")
        names = {name for part in claim.parts for name in part.names}
        if args.only is not None and args.only not in names:
            parser.error(f"--only must be one of {', '.join(sorted(names))}; got {args.only!r}.")
        run(claim, folders, args.only, args.minutes_left)


if __name__ == "__main__":
    main()
