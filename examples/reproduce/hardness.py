"""[Feng23, appendix D]: what a set teaches of easy and of hard samples, and batches by hardness.

Figure 10: networks train on all of the training set, and a sample's score is how often one of them
forgets it; samples about which one of them was never right are told apart. The accuracy of networks
that are trained on distilled sets, and on everything, is then told by score, on the training
samples that were scored. The networks that are tested are not those of the scores. The first one on
each set has the initialization of one of these, though, and the first one on everything sees the
samples in its order, too, in batches of another size.

Figure 15: the formula in [Feng23, D.2] draws the easiest and the hardest samples most ("extremes"),
its text those in between ("medium"); both are measured against uniform batches, after the same
uniform start, at the size of the largest set.

The number of steps that train the networks on a set is fixed beforehand, and so are the epochs on
everything.

    python examples/reproduce/hardness.py --ipc 1
    python examples/reproduce/hardness.py --dataset fashion-mnist --data FOLDER --width 16 \
        --max-iter 1000 --begin 500 --renew-every 1 --inner-lr 0.003 --window 20 --unroll 30
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import data
import numpy as np
import sittings
from report import RESULTS, Report, about, arguments, mean_and_std
from sittings import Cell, Sitting

from skdistill import RaTBPTTDistiller
from skdistill.hardness import HardnessSampler, accuracy_by_hardness, forgetting_scores
from skdistill.networks import ConvNet

SCORES, ONE, UNIFORM, EXTREMES, MEDIUM, WHOLE = NAMES = (
    "scores",
    "one per class",
    "uniform",
    "extremes",
    "medium",
    "whole training set",
)
# The score of a sample that a network never learned. Such a network forgets nothing, and if its
# epochs counted, the mean over networks would look like that of a sample which all of them forget.
NEVER_LEARNED = 1000.0
# Limits of the scores: never forgotten by any network, at most once on average, and so on.
EDGES = (0, 1e-6, 1, 3, NEVER_LEARNED, np.inf)
BINS = ("0", "to 1", "1 to 3", "from 3", "never learned")
BY_SCORE = "accuracy by score"


def scores_of(seed: int, cell: Cell, args, arrays) -> dict:
    """Score the training samples, keep the scores beside the report, and return their histogram."""
    X, _, y, _ = arrays
    architecture, shape = partial(ConvNet, width=args.width), data.image_shape(args, X)
    each = []
    cell.folder.mkdir(parents=True, exist_ok=True)
    for k in range(args.score_networks):
        file = cell.folder / f"network-{k}.npz"
        if not file.exists():
            cell.sitting.check()
            found = forgetting_scores(
                X,
                y,
                architecture=architecture,
                image_shape=shape,
                n_networks=1,
                n_epochs=args.epochs,
                random_state=1000 * seed + k,
            )
            save_whole(file, found.astype(np.uint16))
        each.append(np.load(file)["scores"])
    mean = mean_score(np.array(each), args.epochs)
    save_whole(scores_file(args), mean)
    # A bin holds its lower limit, as in `accuracy_by_hardness`.
    counts = np.bincount(np.digitize(mean, EDGES[1:-1]), minlength=len(BINS))
    return {"name": SCORES, "seed": seed, "samples": dict(zip(BINS, counts.tolist()))}


def mean_score(scores: np.ndarray, n_epochs: int) -> np.ndarray:
    """Return the mean over networks of `forgetting_scores` of each, and `NEVER_LEARNED` if any."""
    # No sample that was learned has as many events as there were epochs.
    return np.where((scores >= n_epochs).any(axis=0), NEVER_LEARNED, scores.mean(axis=0))


def save_whole(file: Path, scores: np.ndarray) -> None:
    """Write scores to a file that is there only once it is whole."""
    part = file.with_name(f"{file.stem}.part.npz")
    np.savez_compressed(part, scores=scores)
    part.replace(file)


def scores_file(args) -> Path:
    """Return where the scores are, one for each training sample."""
    return args.json.with_name(f"{args.json.stem}-scores.npz")


def one_row(name: str, seed: int, cell: Cell, args, arrays) -> dict:
    """Distill, test and return a row of the report."""
    X, X_test, y, y_test = arrays
    if name == WHOLE:
        found = cell.once("everything", lambda: on_everything(seed, args, arrays))
        return {"name": name, "seed": seed, BY_SCORE: found}
    sampler = "uniform"
    if name in (EXTREMES, MEDIUM):
        sampler = HardnessSampler(
            args.threshold, favor=name, renew_every=args.renew_every, start_step=args.begin
        )
    distiller = RaTBPTTDistiller(
        1 if name == ONE else args.ipc,
        image_shape=data.image_shape(args, X),
        architecture=partial(ConvNet, width=args.width),
        max_iter=args.max_iter,
        sampler=sampler,
        n_networks=args.networks,
        clip_norm=args.clip_norm,
        random_state=seed,
        **data.given(args),
    )
    cell.fit(distiller, X, y, keeps_diverged=True)
    distilled = distiller.distilled_

    def by_score() -> list[float | None]:
        scores = np.load(scores_file(args))["scores"]
        found = accuracy_by_hardness(
            distilled, X, y, scores, bins=EDGES, n_networks_whole=0
        ).accuracies
        return means(found["distilled"])

    return {
        "name": name,
        "seed": seed,
        "accuracy": cell.once("test", lambda: distiller.score(X_test, y_test)),
        BY_SCORE: cell.once("test by score", by_score),
        "steps": distiller.n_iter_,
        "seconds": sum(distiller.history_["seconds"]),
    }


def on_everything(seed: int, args, arrays) -> list[float | None]:
    """Return the accuracy, by score, of a network that is trained on all samples."""
    X, _, y, _ = arrays
    (few,) = data.chosen("random real samples", seed, 1, args, X, y)
    # Networks learn from everything for many more steps than from a few samples.
    n_steps = max(1, args.epochs * len(X) // few.recipe.batch_size)
    few = replace(few, recipe=replace(few.recipe, steps=n_steps))
    found = accuracy_by_hardness(
        few,
        X,
        y,
        np.load(scores_file(args))["scores"],
        bins=EDGES,
        n_networks=1,
        n_networks_whole=1,
        architecture=partial(ConvNet, width=args.width),
    ).accuracies
    return means(found[WHOLE])


def means(accuracies: np.ndarray) -> list[float | None]:
    """Return the mean over networks by bin, and None for a bin without samples."""
    return [None if np.isnan(x) else float(x) for x in accuracies.mean(axis=0)]


def summarize(rows: list[dict]) -> dict:
    """Return mean and deviation over seeds by name: of the test accuracy, and of that by score."""
    methods = {}
    for name in NAMES[1:]:
        own = [row for row in rows if row["name"] == name]
        if not own:
            continue
        methods[name] = {}
        if "accuracy" in own[0]:
            methods[name]["test"] = mean_and_std(row["accuracy"] for row in own)
        for bin_name, column in zip(BINS, zip(*(row[BY_SCORE] for row in own))):
            if None not in column:
                methods[name][f"score {bin_name}"] = mean_and_std(column)
    return {"methods": methods}


def main(argv: Sequence[str] | None = None) -> None:
    """Score, distill, print a table, write JSON."""
    parser = arguments(__doc__)
    data.add_arguments(parser)
    data.add_clipping(parser)
    sittings.add_arguments(parser, NAMES)
    parser.add_argument("--ipc", type=int, default=10, help="of the largest set")
    parser.add_argument("--max-iter", type=int, default=200)
    parser.add_argument("--begin", type=int, default=50, help="outer steps with uniform batches")
    parser.add_argument("--renew-every", type=int, default=10, help="epochs of outer steps")
    parser.add_argument("--threshold", type=float, default=1.0)
    parser.add_argument("--epochs", type=int, default=20, help="of training on everything")
    parser.add_argument("--score-networks", type=int, default=5, help="networks that score")
    parser.add_argument("--width", type=int, default=64, help="of the networks")
    data.add_loop(parser)
    parser.add_argument("--networks", type=int, default=10, help="networks in a test")
    args = data.parse(parser, argv)
    # There is one size, with a GPU and without.
    del args.paper
    args.json = args.json or RESULTS / f"hardness-{args.dataset}-{args.ipc}.json"
    arrays = data.load(args)
    report = Report(args.json, about(args, data.name(args)), ("name", "seed"), summarize)
    compute = partial(one_row, args=args, arrays=arrays)
    with Sitting(report, args) as sitting:
        # All that follows is told by the scores.
        first = partial(scores_of, 0, args=args, arrays=arrays)
        print(sitting.run(first, name=SCORES, seed=0)["samples"], flush=True)
        if not scores_file(args).exists():
            # The row was kept, and the scores were not: they are the same if made again.
            cell = sitting.cell(SCORES, 0)
            first(cell)
            cell.remove()
        names = [name for name in NAMES[1:] if name in (args.only or NAMES)]
        for row in sitting.run_all(names, args.seeds, compute):
            print_line(f"seed {row['seed']}  {row['name']}", summarize([row])["methods"])
    print("\nmeans over seeds")
    for name, values in summarize(report.rows)["methods"].items():
        print_line(name, {name: values})


def print_line(title: str, methods: dict) -> None:
    """Print the accuracies of a set, or their means."""
    (values,) = methods.values()
    texts = (f"{name} {100 * mean:.1f} %" for name, (mean, _) in values.items())
    print(f"{title:28s}  {', '.join(texts)}", flush=True)


if __name__ == "__main__":
    main()
