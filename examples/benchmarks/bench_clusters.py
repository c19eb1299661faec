"""Time a grid search on two workers of loky, Dask and Ray, against one process.

It is a search on the digits, through a ConvNet, or on a table, through a multilayer perceptron.
Each way has a process of its own, which starts the cluster, and then times the search with the last
fit on all data. (loky's workers start with the search.) The ways take turns, so that a busy machine
slows all of them. The ratio is to one process with one thread or with all cores, whichever is
faster. Run it alone: it takes both cores of a machine of two.

    python examples/benchmarks/bench_clusters.py --data digits --json clusters.json
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import warnings
from contextlib import ExitStack
from functools import partial
from importlib.metadata import version
from pathlib import Path
from statistics import median
from time import perf_counter

import report
from joblib import parallel_config
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.model_selection import GridSearchCV

from skdistill import RaTBPTTDistiller
from skdistill.networks import ConvNet

# What the how-to page shows.
sys.path.append(str(Path(__file__).parents[2] / "docs" / "howto" / "code"))

N_WORKERS = 2
GRID = {"window": [5, 10], "unroll": [15, 20, 30, 40]}


# Data, outer steps, and parameters that the distiller has for them.
SEARCHES = {
    "digits": (
        load_digits,
        200,
        {"image_shape": (1, 8, 8), "architecture": partial(ConvNet, width=64, depth=2)},
    ),
    "table": (load_breast_cancer, 500, {}),
}


def make_search(data: str, quick: bool) -> GridSearchCV:
    """Return the search; the quick one shows that everything runs, and no more."""
    _, max_iter, own = SEARCHES[data]
    distiller = RaTBPTTDistiller(
        ipc=1,
        max_iter=1 if quick else max_iter,
        n_networks=2,
        eval_steps=10 if quick else 100,
        random_state=0,
        device="cpu",
        **own,
    )
    return GridSearchCV(distiller, GRID, cv=2 if quick else 3)


def on_dask(search: GridSearchCV, X, y, at_end: ExitStack):
    """Start a cluster of Dask; return a function that fits the search on it."""
    from distributed import Client, LocalCluster
    from on_dask import fit_on_dask

    folder = at_end.enter_context(tempfile.TemporaryDirectory())
    cluster = LocalCluster(
        n_workers=N_WORKERS, threads_per_worker=1, dashboard_address=None, local_directory=folder
    )
    client = at_end.enter_context(Client(at_end.enter_context(cluster)))
    return partial(fit_on_dask, search, X, y, client)


def on_ray(search: GridSearchCV, X, y, at_end: ExitStack):
    """Start a cluster of Ray; return a function that fits the search on it."""
    import ray
    from on_ray import fit_on_ray

    ray.init(num_cpus=N_WORKERS, include_dashboard=False, log_to_driver=False)
    at_end.callback(ray.shutdown)
    return partial(fit_on_ray, search, X, y)


def on_loky(search: GridSearchCV, X, y, at_end: ExitStack):
    """Return a function that fits the search on joblib's own processes."""

    def fit():
        with parallel_config("loky", n_jobs=N_WORKERS):
            return search.fit(X, y)

    return fit


def in_one_process(search: GridSearchCV, X, y, at_end: ExitStack):
    """Return a function that fits the search in this process."""
    return partial(search.fit, X, y)


ONE = ("one process, one thread", "one process, all cores")
WAYS = {
    ONE[0]: in_one_process,
    ONE[1]: in_one_process,
    "loky": on_loky,
    "Dask": on_dask,
    "Ray": on_ray,
}


def measure(way: str, data: str, quick: bool) -> dict:
    """Return the seconds of one way's start and search, and what it found, in this process."""
    load, *_ = SEARCHES[data]
    X, y = load(return_X_y=True)
    search = make_search(data, quick)
    # What this compiles is kept in a file, where workers find it.
    search.estimator.set_params(max_iter=1).fit(X, y)
    search = make_search(data, quick)
    with ExitStack() as at_end:
        began = perf_counter()
        fit = WAYS[way](search, X, y, at_end)
        started = perf_counter()
        found = fit()
        ended = perf_counter()
    return {
        "start_s": started - began,
        "search_s": ended - started,
        "best_params": found.best_params_,
        "scores": found.cv_results_["mean_test_score"].tolist(),
    }


def measure_apart(way: str, data: str, quick: bool) -> dict:
    """Return the same, from a process of its own."""
    environment = {k: v for k, v in os.environ.items() if not k.endswith("_NUM_THREADS")}
    environment |= {"RAY_USAGE_STATS_ENABLED": "0", "PYTHONWARNINGS": "ignore"}
    if way == ONE[0]:
        environment["OMP_NUM_THREADS"] = "1"
    command = [sys.executable, __file__, "--way", way, "--data", data]
    command += ["--quick"] if quick else []
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def summary(runs: dict[str, list[dict]]) -> list[dict]:
    """Return the rows of the table: medians, and whether all found the same."""
    seconds = {way: median(run["search_s"] for run in own) for way, own in runs.items()}
    fastest = min(seconds[way] for way in ONE)
    scores, best = (runs[ONE[0]][0][name] for name in ("scores", "best_params"))
    return [
        {
            "way": way,
            "start_s": median(run["start_s"] for run in own),
            "search_s": seconds[way],
            "all_search_s": [run["search_s"] for run in own],
            "ratio": seconds[way] / fastest,
            "ratio_with_start": median(r["start_s"] + r["search_s"] for r in own) / fastest,
            "best_params": own[0]["best_params"],
            "same_best": all(run["best_params"] == best for run in own),
            "scores": own[0]["scores"],
            "same_scores": all(run["scores"] == scores for run in own),
        }
        for way, own in runs.items()
    ]


def main() -> None:
    """Print the table and write JSON if asked to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", choices=SEARCHES, default="digits")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="short runs, once; not to be kept")
    parser.add_argument("--json", help="file to write")
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.way:
        warnings.simplefilter("ignore")
        print(json.dumps(measure(args.way, args.data, args.quick)))
        return
    versions = {name: version(name) for name in ("joblib", "distributed", "ray")}
    runs: dict[str, list[dict]] = {way: [] for way in WAYS}
    for _ in range(1 if args.quick else args.repeats):
        for way, own in runs.items():
            own.append(measure_apart(way, args.data, args.quick))
            print(f"{way:26s}{own[-1]['search_s']:8.1f} s", flush=True)
    rows = summary(runs)
    print(
        "\nway                        start (s)  search (s)  ratio  with start  same best, scores"
    )
    for r in rows:
        same = ", ".join("yes" if r[name] else "no" for name in ("same_best", "same_scores"))
        print(
            f"{r['way']:26s}{r['start_s']:10.1f}{r['search_s']:12.1f}{r['ratio']:7.2f}"
            f"{r['ratio_with_start']:12.2f}  {same}"
        )
    report.write(
        args.json,
        "cpu",
        data=args.data,
        n_workers=N_WORKERS,
        n_fits=len(rows[0]["scores"]) * make_search(args.data, args.quick).cv + 1,
        versions=versions,
        rows=rows,
    )


if __name__ == "__main__":
    main()
