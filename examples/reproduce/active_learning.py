"""A start for active learning: what is left of earlier data, when labels of new data are bought.

All that a distilled set knows it has from labels. Distilling the few labels that have been bought
adds nothing to them, so this is about another case: earlier data of the same classes was labeled,
and cannot be kept as a whole; a small set is. Now new data comes, from other writers, without
labels. Does the small set save labels?

Rows of scikit-learn's digits come writer by writer. The first 915, of seven writers, are the
earlier data: this is where scikit-learn's own course has a new writer begin, see "Sample grouping"
on inria.github.io/scikit-learn-mooc. Of the others one half is the pool, without labels, and the
other the test, by a split of its own for each seed. "Everything earlier" shows what the earlier
data is worth if it need not go.

Labels are bought in batches of ten: those of the samples for which the averaged probabilities of
the networks differ least between the two most probable classes. Networks are trained anew on the
small set and all labels, with the number of steps fixed beforehand, and tested together. Without a
start there are no networks to ask at first: the first ten are random, or the samples next to ten
centroids of the pool, which need no labels. A further row has random labels throughout.

Small sets take a byte per value, as in continual_learning.py. Samples are standardized by the pool.

    python examples/reproduce/active_learning.py
"""

from dataclasses import replace
from functools import partial
from itertools import product

import numpy as np
import small_sets
from report import RESULTS, Report, about, arguments, mean_and_std
from sklearn.base import BaseEstimator
from sklearn.cluster import KMeans
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from skdistill import DistilledClassifier, DistilledDataset

DATA = "scikit-learn's digits, of seven writers earlier, of the others new"
FIRST_NEW = 915
RANDOM, NOTHING, CENTERS, EVERYTHING = (
    "no start, random labels",
    "no start",
    "no start, centers first",
    "everything earlier",
)
STARTS = [RANDOM, NOTHING, CENTERS, *small_sets.NAMES, EVERYTHING]


class AsGiven(BaseEstimator):
    """Stands where a distiller is wanted, and distills nothing: networks learn what is given.

    ``like`` is a set with the recipe by which they are trained.
    """

    def __init__(self, like: DistilledDataset):
        self.like = like

    def fit(self, X, y):
        """Take the samples."""
        self.classes_, self.n_features_in_ = self.like.classes, X[0].size
        self.distilled_ = replace(self.like, X=X, y=y)
        return self

    def transform(self, X=None):
        """Return the samples."""
        return self.distilled_.X, self.distilled_.y


def load() -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Return images and labels of the earlier writers, and those of the new ones."""
    X, y = load_digits(return_X_y=True)
    X = np.float32(X.reshape(-1, 8, 8))
    return (X[:FIRST_NEW], y[:FIRST_NEW]), (X[FIRST_NEW:], y[FIRST_NEW:])


def one_run(name: str, seed: int, args) -> dict:
    """Buy labels, batch after batch, from one start, and return a row of the report."""
    earlier, (X, y) = load()
    X_pool, X_test, y_pool, y_test = train_test_split(
        X, y, test_size=0.5, stratify=y, random_state=seed
    )
    X_start, y_start = start(name, *earlier, seed, args)
    X_start, n_bytes = small_sets.stored(X_start) if len(X_start) else (X_start, 0)
    # Only its recipe and classes count.
    like = small_sets.as_set(*earlier, small_sets.moments(X_pool), small_sets.protocol(args), seed)
    rng = np.random.default_rng(seed)
    bought, labels, accuracies = np.zeros(0, int), [], []
    for n in range(0, args.labels + 1, args.batch):
        networks = None
        if len(X_start) + len(bought):
            X_known = np.concatenate([X_start, X_pool[bought]])
            y_known = np.concatenate([y_start, y_pool[bought]])
            networks = DistilledClassifier(AsGiven(like)).fit(X_known, y_known)
            labels.append(n)
            accuracies.append(networks.score(X_test, y_test))
        if n < args.labels:
            left = np.setdiff1d(np.arange(len(X_pool)), bought)
            chosen = choose(name, X_pool[left], networks, args.batch, rng)
            bought = np.concatenate([bought, left[chosen]])
    curve = {"labels": labels, "accuracy": accuracies}
    return {"name": name, "seed": seed, "bytes": n_bytes, "curve": curve}


def start(name: str, X: np.ndarray, y: np.ndarray, seed: int, args):
    """Return what is left of the earlier data."""
    if name in (RANDOM, NOTHING, CENTERS):
        return X[:0], y[:0]
    if name == EVERYTHING:
        return X, y
    return small_sets.small_set(name, X, y, args.ipc, seed, args)


def choose(
    name: str,
    X: np.ndarray,
    networks: DistilledClassifier | None,
    n: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """Return the rows of the samples whose labels are bought next."""
    if networks is None and name == CENTERS:
        flat = X.reshape(len(X), -1)
        kmeans = KMeans(n, n_init=10, random_state=int(rng.integers(2**31))).fit(flat)
        distances, clusters = kmeans.transform(flat), kmeans.labels_
        # Of each cluster the one next to its center: no two are the same.
        members = [np.flatnonzero(clusters == k) for k in range(n)]
        return np.array([rows[distances[rows, k].argmin()] for k, rows in enumerate(members)])
    if networks is None or name == RANDOM:
        return rng.choice(len(X), n, replace=False)
    probabilities = np.sort(networks.predict_proba(X), axis=1)
    return np.argsort(probabilities[:, -1] - probabilities[:, -2], kind="stable")[:n]


def summarize(rows: list[dict]) -> dict:
    """Return the accuracies after so many labels: means and standard deviations over seeds."""
    methods = {}
    for name in dict.fromkeys(row["name"] for row in rows):
        own = [row for row in rows if row["name"] == name]
        measured = {"bytes": own[0]["bytes"]}
        for k, n in enumerate(own[0]["curve"]["labels"]):
            measured[f"{n} labels"] = mean_and_std(row["curve"]["accuracy"][k] for row in own)
        methods[name] = measured
    return {"methods": methods}


def main() -> None:
    """Buy labels from every start, print a table, write JSON."""
    parser = arguments(__doc__, RESULTS / "uses-active-learning.json")
    small_sets.add_arguments(parser)
    parser.add_argument("--ipc", type=int, default=1, help="samples per class of the start")
    parser.add_argument("--labels", type=int, default=60, help="that are bought in all")
    parser.add_argument("--batch", type=int, default=10, help="labels that are bought at a time")
    args = parser.parse_args()
    _, (X_new, _) = load()
    if not 1 <= args.batch <= args.labels <= len(X_new) // 2 or args.labels % args.batch:
        parser.error(
            f"--labels must be a multiple of --batch and at most {len(X_new) // 2}, the size of "
            f"the pool; got --labels {args.labels} --batch {args.batch}"
        )
    report = Report(args.json, about(args, DATA), ("name", "seed"), summarize)
    for seed, name in product(args.seeds, STARTS):
        row = report.run(partial(one_run, name, seed, args), name=name, seed=seed)
        accuracies = "  ".join(f"{100 * value:5.1f}" for value in row["curve"]["accuracy"])
        print(f"seed {row['seed']}  {row['name']:24s}  {accuracies:>47s} %", flush=True)
    print("\nmeans over seeds (%)")
    for name, measured in summarize(report.rows)["methods"].items():
        values = [value[0] for key, value in measured.items() if key.endswith("labels")]
        accuracies = "  ".join(f"{100 * value:5.1f}" for value in values)
        print(f"{name:24s}  {accuracies:>47s}")


if __name__ == "__main__":
    main()
