"""Continual learning with a memory of a few samples per class: distilled, or real exemplars.

Classes come in tasks of two, in an order drawn for each seed. While a task is there, all of its
training samples are; afterwards only those that the memory holds. After each task, freshly
initialized networks are trained on the memory alone, with the number of steps fixed beforehand, and
tested on the test samples of all classes seen so far. This is the protocol of GDumb [Prabhu20], in
which distribution matching has been tested, too [Zhao23]: the memory is all that differs.

Memories take the same bytes: a byte per value. Pixels of real samples are whole numbers and lose
nothing by it; centroids and distilled samples are rounded to 256 levels (and take 8 bytes more for
each task, which the file counts). Samples are standardized by the mean and the deviation of the
first task.

A task is distilled from its own samples, by distribution matching and by RaT-BPTT. The latter
learns what tells these two classes apart, and not what tells them from others. Therefore a second
row, "with the memory": the memory's samples of earlier classes take part as if they were real,
classes weighted equally, and only the samples of the new classes are kept.

    python examples/reproduce/continual_learning.py
    python examples/reproduce/continual_learning.py --dataset fashion-mnist --data FOLDER --ipc 1 \
        --json out.json

[Prabhu20] is A. Prabhu, P. H. S. Torr and P. K. Dokania, "GDumb: A Simple Approach that Questions
Our Progress in Continual Learning", ECCV 2020; [Zhao23] B. Zhao and H. Bilen, "Dataset Condensation
with Distribution Matching", WACV 2023.
"""

from time import perf_counter

import data
import numpy as np
import small_sets
from report import RESULTS, Report, about, arguments, mean_and_std, mean_std

from skdistill.evaluation import evaluate

RANDOM, WITH_MEMORY, EVERYTHING = (
    "random exemplars",
    "RaT-BPTT, with the memory",
    "everything kept",
)
MEMORIES = [*small_sets.NAMES, WITH_MEMORY]


def one_run(name: str, ipc: int | None, seed: int, args, arrays) -> dict:
    """Go through all tasks with one kind of memory, and return a row of the report."""
    X_train, X_test, y_train, y_test = arrays
    tasks = np.random.default_rng(seed).permutation(np.unique(y_train)).reshape(-1, args.classes)
    X_memory, y_memory = X_train[:0], y_train[:0]
    moments, accuracies, n_bytes, seconds = None, [], 0, 0.0
    for k, task in enumerate(tasks):
        of_task = np.isin(y_train, task)
        X, y = X_train[of_task], y_train[of_task]
        moments = small_sets.moments(X) if moments is None else moments
        began = perf_counter()
        X_new, y_new = remembered(name, (X, y), (X_memory, y_memory), ipc, seed, args)
        seconds += perf_counter() - began
        X_new, size = small_sets.stored(X_new)
        n_bytes += size
        X_memory, y_memory = np.concatenate([X_memory, X_new]), np.concatenate([y_memory, y_new])
        seen = np.isin(y_test, tasks[: k + 1])
        memory = small_sets.as_set(X_memory, y_memory, moments, small_sets.protocol(args), seed)
        accuracies.append(evaluate(memory, X_test[seen], y_test[seen]).mean)
    return {
        "name": name,
        "ipc": ipc,
        "seed": seed,
        "classes": args.classes,
        "accuracies": accuracies,
        "bytes": n_bytes,
        "seconds": seconds,
    }


def remembered(name: str, task, memory, ipc: int | None, seed: int, args):
    """Return the samples of a task that go into the memory, and their labels."""
    if name == EVERYTHING:
        return task
    if name != WITH_MEMORY:
        return small_sets.small_set(name, *task, ipc, seed, args)
    X, y = (np.concatenate(parts) for parts in zip(memory, task))
    # k-means of as many samples as centroids returns the samples: old ones start as they are.
    X, y = small_sets.small_set("RaT-BPTT", X, y, ipc, seed, args, class_weight="balanced")
    is_new = np.isin(y, task[1])
    return X[is_new], y[is_new]


def label(row: dict) -> str:
    """Return what a row is called in tables."""
    return row["name"] if row["ipc"] is None else f"{row['name']}, {row['ipc']} per class"


def summarize(rows: list[dict]) -> dict:
    """Return the accuracies after each task: means and standard deviations over seeds.

    The last one has its margin over random exemplars, over the seeds that both have.
    """
    methods = {}
    for name, ipc in dict.fromkeys((row["name"], row["ipc"]) for row in rows):
        own = {row["seed"]: row for row in rows if (row["name"], row["ipc"]) == (name, ipc)}
        first = next(iter(own.values()))
        n_tasks, n_classes = len(first["accuracies"]), first["classes"]
        measured = {
            f"after {(k + 1) * n_classes} classes": mean_and_std(
                row["accuracies"][k] for row in own.values()
            )
            for k in range(n_tasks)
        }
        random = {r["seed"]: r for r in rows if (r["name"], r["ipc"]) == (RANDOM, ipc)}
        shared = own.keys() & random.keys()
        if shared:
            measured[f"above {RANDOM}"] = mean_and_std(
                own[seed]["accuracies"][-1] - random[seed]["accuracies"][-1]
                for seed in sorted(shared)
            )
        methods[label(first)] = measured | {
            "bytes": first["bytes"],
            "seconds": mean_and_std(row["seconds"] for row in own.values()),
        }
    return {"methods": methods}


def main() -> None:
    """Go through the tasks with every memory, print a table, write JSON."""
    parser = arguments(__doc__, RESULTS / "uses-continual-learning.json")
    data.add_arguments(parser)
    small_sets.add_arguments(parser)
    parser.add_argument("--ipc", type=int, nargs="+", default=[1], help="samples per class")
    parser.add_argument("--classes", type=int, default=2, help="in each task")
    args = data.parse(parser)
    # Every distiller has its own defaults, whatever the machine.
    del args.paper
    arrays = small_sets.load(args)
    n_classes = len(np.unique(arrays[2]))
    if args.classes < 2 or n_classes % args.classes:
        parser.error(f"--classes must be at least 2 and divide {n_classes}; got {args.classes}")
    ipcs = args.ipc
    # Rows of other sizes may stay in the file.
    del args.ipc
    report = Report(args.json, about(args, data.name(args)), ("name", "ipc", "seed"), summarize)
    runs = [(EVERYTHING, None), *((name, ipc) for ipc in ipcs for name in MEMORIES)]
    for seed in args.seeds:
        for name, ipc in runs:
            row = report.run(
                lambda run=(name, ipc, seed): one_run(*run, args, arrays),
                name=name,
                ipc=ipc,
                seed=seed,
            )
            accuracies = "  ".join(f"{100 * value:5.1f}" for value in row["accuracies"])
            print(f"seed {seed}  {label(row):40s}  {accuracies} %", flush=True)
    print("\naccuracy over all classes after the last task: mean ± deviation over seeds")
    for name in dict.fromkeys(map(label, report.rows)):
        own = [row["accuracies"][-1] for row in report.rows if label(row) == name]
        print(f"{name:40s}  {mean_std(own)} %")


if __name__ == "__main__":
    main()
