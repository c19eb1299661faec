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
otherwise, or as long as a run that it rests on is missing. The statements of a claim share runs, so
this is a rule, and not a test of significance.

This file needs nothing of the package, so that the documentation can read it.
"""

import argparse
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
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
        below the first name with the first seed.
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
        best, other = (found[each]["accuracy"] for each in (self.names[0], name))
        return 100 * (best - other) <= self.close

    def missing(self, rows: list[dict]) -> list[tuple[str, int]]:
        """Return the cells without a row."""
        done = {(row[self.key], row["seed"]) for row in rows}
        return [cell for cell in self.cells(rows) if cell not in done]


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
        Returns `Values`, given the rows of each part.
    findings : tuple of Finding
    hours : float
        About what the runs take, of one core.
    lines : callable or None, default=None
        Returns what to draw, given the rows of each part: by panel and label, ``(x, y)`` of one
        run each, with ``x`` named by the panel.
    """

    title: str
    parts: tuple[Part, ...]
    values: Callable[[list[list[dict]]], Values]
    findings: tuple[Finding, ...]
    hours: float
    lines: Callable[[list[list[dict]]], dict] | None = None

    def rows(self, results: Path) -> list[list[dict]]:
        """Return the rows of each part that are there."""
        return [part.rows(results) for part in self.parts]


# --- the rule -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Judged:
    """A statement's difference in points, its margin, its number of seeds, and what follows."""

    statement: Statement
    difference: float | None
    margin: float | None
    n_seeds: int
    verdict: str


def judge(claim: Claim, rows: list[list[dict]]) -> list[list[Judged]]:
    """Return what the rows say of the statements of each finding."""
    values = claim.values(rows) if any(rows) else {}
    # Each difference once, whatever is asked of it.
    statements = [statement for finding in claim.findings for statement in finding.statements]
    differences = {(s.better, s.worse): differ(values, s.better, s.worse) for s in statements}
    degrees = sum(max(0, len(each) - 1) for each in differences.values())
    squares = sum(((each - each.mean()) ** 2).sum() for each in differences.values() if len(each))
    pooled = np.sqrt(squares / degrees) if degrees else None
    missing = [bool(part.missing(own)) for part, own in zip(claim.parts, rows)]
    judged = []
    for finding in claim.findings:
        parts = range(len(rows)) if finding.parts is None else finding.parts
        complete = not any(missing[k] for k in parts)
        judged.append(
            [
                decide(s, differences[s.better, s.worse], pooled, degrees, complete)
                for s in finding.statements
            ]
        )
    return judged


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


def of_sets(parts: list[list[dict]]) -> Values:
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


def lines_of_sets(parts: list[list[dict]]) -> dict:
    """Return accuracy by samples per class, of sets and of random parts of the largest."""
    panel: dict[str, list] = {}
    for row in (row for rows in parts for row in rows):
        panel.setdefault(row["set"], []).append((row["budgets"], row["accuracy"]))
        if "accuracy of random parts" in row:
            line = row["budgets"], row["accuracy of random parts"]
            panel.setdefault(f"{row['set']}, random parts", []).append(line)
    return {"samples per class": panel}


def of_curves(*labels: str) -> Callable[[list[list[dict]]], Values]:
    """Return what reads rows with a curve: accuracy at equal steps, and at equal time.

    It is the mean of the tests in the last quarter, because a run's samples may be some points
    worse for a while.
    """

    def values(parts: list[list[dict]]) -> Values:
        found = []
        for label, rows in zip(labels, parts):
            for axis, words in (("step", "equal steps"), ("seconds", "equal time")):
                limit = min((row["curve"][axis][-1] for row in rows), default=0)
                for row in rows:
                    name = ", ".join(filter(None, [label, row["method"], words]))
                    found.append((name, row["seed"], late(row["curve"], axis, limit)))
        return collect(found)

    return values


def late(curve: dict, axis: str, limit: float) -> float:
    """Return the mean accuracy of the tests in the last quarter of a limit."""
    tests = [a for a, x in zip(curve["accuracy"], curve[axis]) if 0.75 * limit <= x <= limit]
    # If there is none, the last before, or the first of all.
    before = [a for a, x in zip(curve["accuracy"], curve[axis]) if x <= limit]
    return float(np.mean(tests or before[-1:] or curve["accuracy"][:1]))


def lines_of_curves(*labels: str) -> Callable[[list[list[dict]]], dict]:
    """Return what reads rows with a curve: accuracy by minutes, and by outer steps."""

    def lines(parts: list[list[dict]]) -> dict:
        panels: dict[str, dict] = {}
        for label, rows in zip(labels, parts):
            for axis, unit, factor in (("step", "outer steps", 1), ("seconds", "minutes", 60)):
                panel = panels.setdefault(", ".join(filter(None, [label, unit])), {})
                for row in (row for row in rows if "curve" in row):
                    x = [value / factor for value in row["curve"][axis]]
                    panel.setdefault(row["method"], []).append((x, row["curve"]["accuracy"]))
        return {title: panel for title, panel in panels.items() if panel}

    return lines


def of_parametrizations(*labels: str) -> Callable[[list[list[dict]]], Values]:
    """Return what reads rows of parametrizations.py."""
    return lambda parts: collect(
        (f"{label}, {row['name']}", row["seed"], row["accuracy"])
        for label, rows in zip(labels, parts)
        for row in rows
    )


# The first four bins of the forgetting score, and what is told by them.
NEVER, SELDOM, OFTEN, MOST = (
    "never forgotten",
    "forgotten less than once",
    "forgotten one to three times",
    "forgotten three to five times",
)
LACK, GAIN = "what ten per class lack of everything", "what ten per class add to one"


def of_hardness(parts: list[list[dict]]) -> Values:
    """Return what rows of hardness.py say: accuracies, and differences of sets by score."""
    found, by_score = [], {}
    for row in (row for rows in parts for row in rows):
        if "accuracy" in row:
            found.append((f"{row['name']} batches", row["seed"], row["accuracy"]))
        if "accuracy by score" in row:
            by_score[row["name"], row["seed"]] = row["accuracy by score"]
    for name, seed in by_score:
        sets = [by_score.get((n, seed)) for n in ("one per class", "uniform", "whole training set")]
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


def lines_of_hardness(parts: list[list[dict]]) -> dict:
    """Return accuracy by bins of the forgetting score."""
    panel: dict[str, list] = {}
    names = {"uniform": "ten per class"}
    for row in (row for rows in parts for row in rows):
        values = row.get("accuracy by score")
        if values is not None and row["name"] not in ("extremes", "medium"):
            known = [(k, value) for k, value in enumerate(values) if value is not None]
            name = names.get(row["name"], row["name"])
            panel.setdefault(name, []).append(tuple(map(list, zip(*known))))
    return {"bin of the forgetting score: 0, to 1, 1 to 3, 3 to 5, from 5": panel}


def of_transfer(parts: list[list[dict]]) -> Values:
    """Return what rows of architectures.py say."""
    return collect(
        (f"through {row['through']}, {name}", row["seed"], value["mean"])
        for rows in parts
        for row in rows
        for name, value in row.items()
        if name.startswith("on ")
    )


def of_methods(*labels: str) -> Callable[[list[list[dict]]], Values]:
    """Return what reads rows of methods.py: by our protocol, and by its own if it has one."""
    own = ("accuracy by its own recipe", "accuracy by kernel regression")

    def values(parts: list[list[dict]]) -> Values:
        found = []
        for label, rows in zip(labels, parts):
            for row in rows:
                name, seed = f"{label}, {row['method']}", row["seed"]
                found.append((name, seed, row["accuracy"]))
                found += [(f"{name}, own protocol", seed, row[key]) for key in own if key in row]
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
            "--ipc 1 --width 16 --window 20 --unroll 60 --inner-lr 0.003 "
            "--augmentation flip_rotate --patience 150 --smoothing 0.98 "
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
)


def lengths(window: int, unroll: int) -> str:
    """Return what figure11.py calls a window."""
    return f"{window} of {unroll} in the paper"


PAIRS = tuple(
    lengths(*pair) for pair in ((40, 80), (40, 120), (40, 200), (40, 300), (60, 200), (100, 200))
)
SIZES = {
    "28 pixels": (FASHION, "--width 32"),
    "32 pixels": (CIFAR, "--width 16 --augmentation flip_rotate"),
}


def of_lengths(part: int, size: str) -> tuple[Finding, ...]:
    """Return the findings of figure 11 for images of a size, from a part of the claim."""

    def above(better: tuple[int, int], worse: tuple[int, int], least: float) -> Statement:
        names = (f"{size}, {lengths(*pair)}, {STEPS}" for pair in (better, worse))
        return Statement(*names, least)

    return (
        Finding(
            f"{size}: three times the window is as good as two and five times (figure 11, left).",
            (above((40, 120), (40, 80), -1), above((40, 120), (40, 200), -1)),
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
            (above((60, 200), (40, 200), 0.5), above((60, 200), (100, 200), -1)),
            parts=(part,),
        ),
    )


LENGTHS = Claim(
    title="Window and unrolling",
    parts=tuple(
        Part(
            "figure11",
            name,
            f"figure11-{name}.json",
            # Three times the learning rate and a quarter of the steps: about as far in all.
            f"--ipc 1 {own} --divide 4 --inner-lr 0.003 --minutes 7.5 --every 100 --networks 3",
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
STORED = f"--storage 1 10 --width 16 --test-width 32 {NARROW} --inner-batch-size 5 --networks 5"


def stored(data: str, own: str, names: tuple[str, ...], storage: int, seeds: tuple) -> Part:
    """Return runs of parametrizations.py."""
    file, where = f"parametrizations-{data}.json", ("storage", storage)
    arguments = STORED.replace("1 10", str(storage)) + own
    return Part("parametrizations", data, file, arguments, "name", names, seeds, where)


PARAMETRIZED = Claim(
    title="Bases and labels",
    parts=(
        stored(CIFAR, " --augmentation flip_rotate --minutes 40", (PIXELS, BASIS), 1, (0, 1)),
        stored(FASHION, " --minutes 15", (PIXELS, BASIS), 1, (0, 1, 2)),
        stored(FASHION, " --minutes 15", (PIXELS, LABELS), 10, (0, 1, 2)),
    ),
    values=of_parametrizations("CIFAR-10", "Fashion-MNIST", "Fashion-MNIST, 10 per class"),
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

ON = "convnet-32 convnet convnet_x4 convnet_x8 resnet-small resnet18 vgg11 alexnet"
THROUGH = ("convnet-32", "convnet", "resnet-small")
TRANSFER = Claim(
    title="Transfer",
    parts=(
        Part(
            "architectures",
            FASHION,
            "architectures-fashion-mnist-1.json",
            f"--ipc 1 --minutes 12 --through {' '.join(THROUGH)} --on {ON} --networks 2",
            "through",
            THROUGH,
            (0, 1),
        ),
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
            "Narrow networks are good enough to distill through (section 4.1).",
            (Statement("through convnet-32, on convnet", "through convnet, on convnet", -2),),
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
    hours=6,
)

BEST = "RaTBPTTDistiller"
RIVALS = (
    "KIPDistiller",
    "RFADDistiller",
    "FRePoDistiller",
    "RCIGDistiller",
    "DistributionMatchingDistiller",
    "dc",
    "dsa",
    "idc",
    "mtt",
    "tesla",
)
# By the step size that they learned, and by kernel regression.
WITH_OWN = ("KIPDistiller", "mtt", "tesla")
TABLES = {
    "Fashion-MNIST, 1 per class": (FASHION, 1, "--width 32 --curve-networks 1", (0, 1)),
    "Fashion-MNIST, 10 per class": (FASHION, 10, "--width 32", (0, 1)),
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
            # One seed is enough for a method that is far away.
            close=10.0,
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
            (", all by our protocol", "", RIVALS),
            (" that has a protocol of its own, by that", ", own protocol", WITH_OWN),
        )
    ),
    hours=6.5,
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
            missing = [cell for cell in part.missing(part.rows(results)) if cell[1] in seeds]
            wanted = [n for n in part.names if n in {n for n, _ in missing} and only in (None, n)]
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
