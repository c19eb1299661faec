"""Whether a commit is slower than another: their wheels, alternating in one run.

Builds a wheel of each commit and starts a process with each. They do the same work in turn, one
waits while the other computes, and the ratio, after over before, is the median over pairs: what
slows the machine for a while slows both. A run of each that does not count comes first; in it steps
are compiled. Everything goes through the public API, so that commits with other insides compare.

    python examples/benchmarks/compare_commits.py HEAD~10 HEAD --json out.json

Run it before every release. A ratio above 1.05 that comes again is a regression.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

import report
from wheels import install

# Name: shape of a sample, classes, and parameters of the distiller. A few steps are as good as
# many: the samples are noise, and the time of a step does not depend on their values.
RUNS = {
    "table": ((13,), 3, {"ipc": 2, "window": 5, "unroll": 15, "max_iter": 20}),
    "digits": ((1, 8, 8), 10, {"window": 20, "unroll": 30, "max_iter": 10}),
    "digits, compiled": (
        (1, 8, 8),
        10,
        {"window": 20, "unroll": 30, "max_iter": 20, "compile": True},
    ),
    "digits, DM": ((1, 8, 8), 10, {"ipc": 10, "max_iter": 10, "method": "DM"}),
    "28x28-ipc1": ((1, 28, 28), 10, {"window": 5, "unroll": 10, "max_iter": 2}),
    "28x28-ipc1, compiled": (
        (1, 28, 28),
        10,
        {"window": 5, "unroll": 10, "max_iter": 4, "compile": True},
    ),
    "28x28-ipc10": ((1, 28, 28), 10, {"ipc": 10, "window": 2, "unroll": 4, "max_iter": 2}),
    "28x28-ipc10, compiled": (
        (1, 28, 28),
        10,
        {"ipc": 10, "window": 2, "unroll": 4, "max_iter": 2, "compile": True},
    ),
    "32x32-ipc1": ((3, 32, 32), 10, {"window": 5, "unroll": 10, "max_iter": 6}),
    "32x32-ipc1, wide": (
        (3, 32, 32),
        10,
        {"window": 5, "unroll": 10, "max_iter": 2, "inner_architecture": None},
    ),
    "32x32-ipc10": ((3, 32, 32), 10, {"ipc": 10, "window": 2, "unroll": 4, "max_iter": 2}),
    "32x32-ipc1, compiled": (
        (3, 32, 32),
        10,
        {"window": 5, "unroll": 10, "max_iter": 3, "compile": True},
    ),
}
EVALUATIONS = {"digits, evaluation": ((1, 8, 8), 10), "28x28, evaluation": ((1, 28, 28), 10)}

# Each of the two processes reads a job from each line, and answers with its seconds.
CHILD = """
import json
import sys
import warnings
from time import perf_counter
import numpy as np
from skdistill import DistributionMatchingDistiller, RaTBPTTDistiller

warnings.simplefilter("ignore")
for line in sys.stdin:
    shape, n_classes, options = json.loads(line)
    rng = np.random.default_rng(0)
    X = rng.standard_normal((40 * n_classes, *shape), dtype=np.float32)
    y = np.arange(len(X)) % n_classes
    evaluation = options.pop("evaluation", None)
    is_matching = options.pop("method", None) == "DM"
    options |= {"batch_size": 256, "random_state": 0, "device": "cpu"}
    distiller = (DistributionMatchingDistiller if is_matching else RaTBPTTDistiller)(**options)
    began = perf_counter()
    distiller.fit(X, y)
    if evaluation:
        began = perf_counter()
        distiller.evaluate(X, y, **evaluation)
    print(json.dumps(perf_counter() - began), flush=True)
"""


def jobs() -> dict[str, tuple]:
    """Return the jobs to compare, by name."""
    tiny = {"window": 1, "unroll": 1, "max_iter": 1, "compile": False}
    evaluation = {"evaluation": {"n_networks": 4, "steps": 40}}
    return RUNS | {
        name: (*problem, {**tiny, **evaluation}) for name, problem in EVALUATIONS.items()
    }


def ask(child: subprocess.Popen, job: tuple) -> float:
    """Let a process do a piece of work, and return the seconds that it took."""
    child.stdin.write(json.dumps(job) + "\n")
    child.stdin.flush()
    line = child.stdout.readline()
    if not line:
        sys.exit(f"the process ended with {child.wait()}: {job}")
    return json.loads(line)


def compare(name: str, children: list[subprocess.Popen], repeats: int) -> dict:
    """Return the row of one piece of work."""
    job = jobs()[name]
    for child in children:
        ask(child, job)
    pairs = [[ask(child, job) for child in children] for _ in range(repeats)]
    before, after = (median(times) for times in zip(*pairs))
    ratios = [b / a for a, b in pairs]
    return {
        "run": name,
        "before_s": before,
        "after_s": after,
        "ratio": median(ratios),
        "ratios": ratios,
    }


def main() -> None:
    """Compare two commits, print a table, write JSON if asked to."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("before", help="a commit")
    parser.add_argument("after", help="a commit")
    parser.add_argument("--run", nargs="+", default=list(jobs()), choices=list(jobs()))
    parser.add_argument("--repeats", type=int, default=7, help="pairs")
    parser.add_argument("--json", help="file to write")
    args = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        children = [
            subprocess.Popen(
                [sys.executable, "-c", CHILD],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                cwd=folder,
                env=install(commit, Path(folder, name)),
            )
            for name, commit in (("before", args.before), ("after", args.after))
        ]
        print(f"{'run':24s} before (s)  after (s)  after / before")
        for name in args.run:
            row = compare(name, children, args.repeats)
            rows.append(row)
            print(
                f"{name:24s} {row['before_s']:10.3f} {row['after_s']:10.3f} {row['ratio']:15.2f}",
                flush=True,
            )
        for child in children:
            child.stdin.close()
            child.wait()
    report.write(args.json, "cpu", before=args.before, after=args.after, rows=rows)


if __name__ == "__main__":
    main()
