"""What a claim is, and the rule that says whether it holds.

A statement compares two numbers of the same seeds. Its margin is the 95 % quantile of Student's t
times the standard error of the mean difference. The deviation in it is that over seeds, pooled over
all statements of the claim, because two or three seeds alone say little of it; if the statement's
own is larger, it is that. A statement holds if the difference less the margin is above what the
statement asks for, it does not hold if the difference plus the margin is below, and is undecided
otherwise, or as long as a run that it rests on is missing. Runs of so many minutes that are from
different machines are told: it may decide which of them got further. The statements of a claim
share runs, so this is a rule, and not a test of significance.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy.stats import t as student

HOLDS, FAILS, OPEN = "holds", "does not hold", "undecided"
# Numbers by name and seed, accuracies in points.
Values = dict[str, dict[int, float]]
# What rows of methods.py may have besides the accuracy by our protocol.
OWN = "accuracy by its own recipe"


def accuracies(row: dict) -> list[float]:
    """Return a row's accuracies by our protocol, 0 without samples, and by its own recipe."""
    return [row.get("accuracy", 0.0), *([row[OWN]] if OWN in row else [])]


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
