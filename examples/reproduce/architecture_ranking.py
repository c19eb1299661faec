"""Rank architectures by training them on a small set instead of on everything.

Twelve small networks, ConvNets and multilayer perceptrons, are trained on all training samples and
tested: the ranking to be found. Then they are trained on one sample per class, distilled or chosen,
and the rankings are compared by Spearman's rank correlation. The samples are distilled through one
of the twelve.

The rivals of a small set are not only other small sets. Training on everything can be stopped when
it has cost as much: after equally many steps with equally small batches ("small batches"), or after
equally many samples in the usual batches ("stopped early"). And "everything, again", with other
initializations, shows how well the ranking to be found can be known at all.

No sample judges twice: half of those held out are for the small sets and other rivals, the other
half for the ranking to be found. All numbers of steps are fixed beforehand. Each seed has a split,
sets and networks of its own. The seconds of a row are those of training and testing the twelve, and
of making the set, which pays only if it is used for many networks.

    python examples/reproduce/architecture_ranking.py
"""

from dataclasses import replace
from functools import partial
from time import perf_counter

import data
import numpy as np
import small_sets
from report import RESULTS, Report, about, arguments, mean_and_std
from scipy.stats import spearmanr
from sklearn.model_selection import train_test_split

from skdistill.evaluation import evaluate
from skdistill.networks import MLP, ConvNet

ARCHITECTURES = {
    "ConvNet of width 2": partial(ConvNet, width=2),
    "ConvNet of width 4": partial(ConvNet, width=4),
    "ConvNet of width 8": partial(ConvNet, width=8),
    "ConvNet of width 16": partial(ConvNet, width=16),
    "ConvNet of width 32": partial(ConvNet, width=32),
    "ConvNet of one block": partial(ConvNet, width=16, depth=1),
    "ConvNet of three blocks": partial(ConvNet, width=16, depth=3),
    "ConvNet with sigmoid": partial(ConvNet, width=16, activation="sigmoid"),
    "ConvNet without norm": partial(ConvNet, width=16, norm="none"),
    "ConvNet without pooling": partial(ConvNet, width=8, pooling="none"),
    "MLP of one layer": partial(MLP, width=16, depth=1),
    "MLP of two layers": partial(MLP, width=64, depth=2),
}
TRUTH, AGAIN, SMALL_BATCHES, EARLY = WHOLE = (
    "everything",
    "everything, again",
    "everything, small batches",
    "everything, stopped early",
)
NAMES = [*WHOLE, *small_sets.NAMES]


def one_run(name: str, seed: int, args, arrays) -> dict:
    """Train all architectures in one way, test them, and return a row of the report."""
    X_train, X_held, y_train, y_held = arrays
    # "Everything, again" is judged by the samples that judge the other rivals.
    judges = train_test_split(X_held, y_held, test_size=0.5, stratify=y_held, random_state=seed)
    X_rival, X_truth, y_rival, y_truth = judges
    X, y = (X_truth, y_truth) if name == TRUTH else (X_rival, y_rival)
    began = perf_counter()
    if name in WHOLE:
        samples = X_train, y_train
    else:
        samples = small_sets.small_set(name, X_train, y_train, args.ipc, seed, args)
    before = perf_counter() - began
    # Networks of the truth are no one else's.
    networks = 2 * seed + (name == TRUTH)
    how = protocol(name, args, len(np.unique(y_train)))
    training = small_sets.as_set(*samples, small_sets.moments(X_train), how, networks)
    began = perf_counter()
    accuracies = [
        evaluate(training, X, y, protocol=replace(how, architecture=architecture)).mean
        for architecture in ARCHITECTURES.values()
    ]
    return {
        "name": name,
        "seed": seed,
        "accuracies": accuracies,
        "seconds": perf_counter() - began,
        "seconds before": before,
    }


def protocol(name: str, args, n_classes: int):
    """Return how networks are trained."""
    usual, small = small_sets.protocol(args), args.ipc * n_classes
    if name in (TRUTH, AGAIN):
        return replace(usual, steps=args.whole_steps, batch_size=args.batch_size)
    if name == SMALL_BATCHES:
        return replace(usual, batch_size=small)
    if name == EARLY:
        # As many samples in all as the steps on a small set see.
        steps = max(1, args.steps * small // args.batch_size)
        return replace(usual, steps=steps, batch_size=args.batch_size)
    return usual


def correlation(accuracies: list[float], truth: list[float]) -> float:
    """Return Spearman's rank correlation, and 0 for accuracies that are all the same."""
    if len(set(accuracies)) == 1 or len(set(truth)) == 1:
        return 0.0
    return float(spearmanr(accuracies, truth).statistic)


def summarize(rows: list[dict]) -> dict:
    """Return what each way to rank is worth: means and standard deviations over seeds.

    "Points lost" is how much better the best architecture is, from 0 to 1, than the one that is
    ranked first.
    """
    truths = {row["seed"]: row["accuracies"] for row in rows if row["name"] == TRUTH}
    methods = {}
    for name in dict.fromkeys(row["name"] for row in rows):
        own = [row for row in rows if row["name"] == name and row["seed"] in truths]
        if not own:
            continue
        pairs = [(row["accuracies"], truths[row["seed"]]) for row in own]
        methods[name] = {
            "mean accuracy": mean_and_std(np.mean(accuracies) for accuracies, _ in pairs),
            "rank correlation": mean_and_std(correlation(*pair) for pair in pairs),
            "points lost": mean_and_std(
                max(truth) - truth[int(np.argmax(accuracies))] for accuracies, truth in pairs
            ),
            "seconds": mean_and_std(row["seconds"] for row in own),
            "seconds before": mean_and_std(row["seconds before"] for row in own),
        }
    return {"methods": methods}


def main() -> None:
    """Rank in every way, print a table, write JSON."""
    parser = arguments(__doc__, RESULTS / "uses-architecture-ranking.json")
    data.add_arguments(parser)
    small_sets.add_arguments(parser)
    parser.add_argument("--ipc", type=int, default=1, help="samples per class")
    parser.add_argument("--whole-steps", type=int, default=300, help="on all samples")
    parser.add_argument("--batch-size", type=int, default=64, help="of these steps")
    args = data.parse(parser)
    # Every distiller has its own defaults, whatever the machine.
    del args.paper
    X_train, X_test, y_train, y_test = small_sets.load(args)
    what = f"{data.name(args).split(',')[0]}, half held out"
    report = Report(args.json, about(args, what), ("name", "seed"), summarize)
    for seed in args.seeds:
        arrays = split(X_train, X_test, y_train, y_test, seed)
        for name in NAMES:
            row = report.run(
                lambda run=(name, seed), arrays=arrays: one_run(*run, args, arrays),
                name=name,
                seed=seed,
            )
            low, high = 100 * min(row["accuracies"]), 100 * max(row["accuracies"])
            print(f"seed {seed}  {name:28s}  {low:5.1f} to {high:5.1f} %", flush=True)
    print("\nrank correlation: mean ± deviation over seeds")
    for name, measured in summarize(report.rows)["methods"].items():
        mean, std = measured["rank correlation"]
        print(f"{name:28s}  {mean:6.3f} ± {std:5.3f}")


def split(X_train, X_test, y_train, y_test, seed: int) -> list[np.ndarray]:
    """Return training and held-out samples as this seed divides all of them."""
    X, y = np.concatenate([X_train, X_test]), np.concatenate([y_train, y_test])
    # Half, so that accuracies, whose steps are a sample's, do not tie.
    return train_test_split(X, y, test_size=0.5, stratify=y, random_state=seed)


if __name__ == "__main__":
    main()
