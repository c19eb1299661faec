"""A start for active learning: what is left of earlier data, when labels of new data are bought.

All that a distilled set knows it has from labels. Distilling the few labels that have been bought
adds nothing to them, so this is about another case: earlier data of the same classes was labeled,
and cannot be kept as a whole; a small set is. Now new data comes, from other writers, without
labels. Does the small set save labels?

Rows of scikit-learn's digits are in the order in which they were collected, a few writers after
each other: the first half is the earlier data, of the second half one half is the pool, without
labels, and the other the test, by a split of its own for each seed. "Everything earlier" shows what
the earlier data is worth if it need not go.

Labels are bought in batches of ten: those of the samples for which the averaged probabilities of
the networks differ least between the two most probable classes. Networks are trained anew on the
small set and all labels, with the number of steps fixed beforehand, and tested together. Without a
start the first ten are random, because there are no networks to ask; a further row has random ones
throughout. Small sets take a byte per value, as in continual_learning.py. Samples are standardized
by the pool, which needs no labels.

    python examples/reproduce/active_learning.py
"""

from dataclasses import replace

import numpy as np
import small_sets
from report import RESULTS, Report, about, arguments, mean_and_std
from sklearn.base import BaseEstimator
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from skdistill import DistilledClassifier, DistilledDataset

DATA = "scikit-learn's digits, the first half earlier, the second new"
RANDOM, NOTHING, EVERYTHING = (
    "no start, random labels",
    "no start",
    "everything earlier",
)
STARTS = [RANDOM, NOTHING, *small_sets.NAMES, EVERYTHING]


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


def one_run(name: str, seed: int, args) -> dict:
    """Buy labels, batch after batch, from one start, and return a row of the report."""
    X, y = load_digits(return_X_y=True)
    X, half = np.float32(X.reshape(-1, 8, 8)), len(X) // 2
    earlier, new = (X[:half], y[:half]), (X[half:], y[half:])
    X_pool, X_test, y_pool, y_test = train_test_split(
        *new, test_size=0.5, stratify=new[1], random_state=seed
    )
    X_start, y_start = start(name, *earlier, seed, args)
    X_start, n_bytes = small_sets.stored(X_start) if len(X_start) else (X_start, 0)
    # Only its recipe and classes count.
    like = small_sets.as_set(*earlier, small_sets.moments(X_pool), small_sets.protocol(args), seed)
    rng = np.random.default_rng(seed)
    bought, labels, accuracies = np.zeros(0, int), [], []
    while True:
        X_known = np.concatenate([X_start, X_pool[bought]])
        y_known = np.concatenate([y_start, y_pool[bought]])
        networks = None
        if len(y_known):
            networks = DistilledClassifier(AsGiven(like)).fit(X_known, y_known)
            labels.append(len(bought))
            accuracies.append(networks.score(X_test, y_test))
        if len(bought) >= args.labels:
            break
        left = np.setdiff1d(np.arange(len(X_pool)), bought)
        if networks is None or name == RANDOM:
            chosen = rng.choice(left, args.batch, replace=False)
        else:
            probabilities = np.sort(networks.predict_proba(X_pool[left]), axis=1)
            margins = probabilities[:, -1] - probabilities[:, -2]
            chosen = left[np.argsort(margins, kind="stable")[: args.batch]]
        bought = np.concatenate([bought, chosen])
    curve = {"labels": labels, "accuracy": accuracies}
    return {"name": name, "seed": seed, "bytes": n_bytes, "curve": curve}


def start(name: str, X: np.ndarray, y: np.ndarray, seed: int, args):
    """Return what is left of the earlier data."""
    if name in (RANDOM, NOTHING):
        return X[:0], y[:0]
    if name == EVERYTHING:
        return X, y
    return small_sets.small_set(name, X, y, args.ipc, seed, args)


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
    report = Report(args.json, about(args, DATA), ("name", "seed"), summarize)
    for row in report.run_all(STARTS, args.seeds, lambda *run: one_run(*run, args)):
        accuracies = "  ".join(f"{100 * value:5.1f}" for value in row["curve"]["accuracy"])
        print(f"seed {row['seed']}  {row['name']:24s}  {accuracies:>47s} %", flush=True)
    print("\nmeans over seeds (%)")
    for name, measured in summarize(report.rows)["methods"].items():
        values = [value[0] for key, value in measured.items() if key.endswith("labels")]
        accuracies = "  ".join(f"{100 * value:5.1f}" for value in values)
        print(f"{name:24s}  {accuracies:>47s}")


if __name__ == "__main__":
    main()
