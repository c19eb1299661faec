"""Samples of equal storage, distilled by RaT-BPTT: pixels, learned labels, bases, tiles and more.

For every storage, in plain samples per class, each parametrization makes as many samples as the
storage holds; what it learns is counted in full (see `sizes`). Only learned labels come on top of
their pixels, a number for every sample and class. All distill through the same narrow networks, and
see equally many samples per class in an inner step, as far as they have them: for equally many
outer steps or, with ``--minutes``, for the same time. Then networks are trained on the result, with
a number of steps that is fixed beforehand, and tested. The last samples are the result, and the
test set is looked at once for each: nothing is chosen by it. With ``--curve-networks``, the samples
that a run of ``--minutes`` had after parts of them are tested as well: whether it still gained.

Hallucinators need room: a storage that does not hold them and a basis for every class has no row of
theirs.

    python examples/reproduce/parametrizations.py --seeds 0 --storage 1
    python examples/reproduce/parametrizations.py --dataset fashion-mnist --data FOLDER --seeds 0 \
        --storage 1 --minutes 20 --only pixels "linear basis"
"""

from collections.abc import Sequence
from functools import partial
from math import prod

import data
import sittings
from report import RESULTS, Report, about, arguments, mean_and_std
from sittings import Cell, Sitting, tested_on_the_way

from skdistill import RaTBPTTDistiller
from skdistill.evaluation import evaluate
from skdistill.networks import ConvNet
from skdistill.parametrization import Hallucinated, LinearBasis, Tiled

# As few as tell whether the second half of a run still gained.
MOMENTS = (1 / 4, 1 / 2)
NAMES = ("pixels", "learned labels", "linear basis", "tiles", "hallucinators")


def sizes(storage: int, shape: tuple[int, int, int], n_classes: int) -> dict[str, dict]:
    """Return the parameters of each parametrization that fits the storage, for images of a shape.

    Samples and tiles fill it; bases and hallucinators take at most as much.
    """
    channels, height, width = shape
    room = storage * n_classes * prod(shape)
    # As in [Deng22]: 16 bases of a quarter of the pixels for each unit of storage, and coefficients
    # in the rest.
    n_basis = 16 * storage
    n_rows = (room - n_basis * prod(shape) // 4) // n_basis
    # As in [Liu22]: five hallucinators, and bases in the rest.
    kernels = 2 * (channels**2 * 9 + channels)
    hallucinators = 5 * (kernels + 2 * channels * (height - 2) * (width - 2))
    bases = (room - hallucinators) // (n_classes * prod(shape))
    found = {
        "pixels": {"ipc": storage},
        "learned labels": {"ipc": storage, "learn_labels": True},
        "linear basis": {
            "ipc": n_rows // n_classes,
            "parametrization": LinearBasis(n_basis, downsample=2),
            # They start at random.
            "init": "gaussian",
        },
        "tiles": {"ipc": 4 * storage, "parametrization": Tiled(factor=2)},
        "hallucinators": {"ipc": 5 * bases, "parametrization": Hallucinated(n=5)},
    }
    return {name: parameters for name, parameters in found.items() if parameters["ipc"] > 0}


def one_cell(name: str, storage: int, seed: int, cell: Cell, args, arrays) -> dict:
    """Distill, test the result, and return a row of the report."""
    X_train, X_test, y_train, y_test = arrays
    shape = data.image_shape(args, X_train)
    own = sizes(storage, shape, len(set(y_train.tolist())))[name]
    parameters = {
        "init": args.init,
        # All samples, if there are no more.
        "inner_batch_size": args.inner_batch_size if own["ipc"] > args.inner_batch_size else None,
        "inner_architecture": partial(ConvNet, width=args.width),
        "image_shape": shape,
        "max_iter": args.max_iter,
        "clip_norm": args.clip_norm,
        "n_networks": args.networks,
        "random_state": seed,
    }
    given = data.given(args, (*data.LOOP, "augmentation"))
    distiller = RaTBPTTDistiller(**parameters | given | own)
    on_the_way = []
    if args.minutes is None:
        cell.fit(distiller, X_train, y_train, keeps_diverged=True)
    else:
        moments = MOMENTS if args.curve_networks else ()
        on_the_way = cell.fit_for(distiller, X_train, y_train, 60 * args.minutes, moments)
    distilled = distiller.distilled_
    width = args.test_width
    architecture = "convnet" if width is None else partial(ConvNet, width=width)

    test = partial(evaluate, X=X_test, y=y_test, architecture=architecture, steps=args.test_steps)

    def whole() -> list[float]:
        result = test(distilled)
        return [result.mean, result.std]

    mean, deviation = cell.once("test", whole)
    row = {
        "name": name,
        "storage": storage,
        "seed": seed,
        "samples per class": distilled.ipc,
        "storage taken": distilled.storage,
        "accuracy": mean,
        "deviation over networks": deviation,
        "steps": distiller.n_iter_,
        "skipped steps": sum(distiller.history_["skipped"]),
        "seconds": sum(distiller.history_["seconds"]),
    }
    if distilled.y.ndim == 2:
        hard = distilled.with_hard_labels()
        row["with hard labels"] = cell.once("hard", lambda: test(hard).mean)
    if args.curve_networks and on_the_way:
        few = partial(test, n_networks=args.curve_networks)
        row["curve"] = tested_on_the_way(cell, on_the_way, few)
    return row


def summarize(rows: list[dict]) -> dict:
    """Return mean and deviation over seeds by parametrization and storage."""
    methods = {}
    for key in dict.fromkeys((row["name"], row["storage"]) for row in rows):
        own = [row for row in rows if (row["name"], row["storage"]) == key]
        methods["{}, storage {}".format(*key)] = {
            what: mean_and_std(row[what] for row in own)
            for what in ("accuracy", "samples per class", "storage taken", "seconds")
        }
    return {"methods": methods}


def line(name: str, measured: dict) -> str:
    """Return what was measured of a parametrization, as means over seeds, for printing."""
    accuracy, ipc, taken, seconds = (measured[what][0] for what in measured)
    return (
        f"{name:26s}  {100 * accuracy:5.1f} %, {ipc:.0f} samples per class in {taken:.2f}, "
        f"{seconds:.0f} s"
    )


def main(argv: Sequence[str] | None = None) -> None:
    """Distill by all parametrizations, test, print a table, write JSON."""
    parser = arguments(__doc__)
    data.add_arguments(parser)
    data.add_clipping(parser)
    sittings.add_arguments(parser, NAMES)
    parser.add_argument("--storage", type=int, nargs="+", default=[1, 10], help="samples per class")
    parser.add_argument("--max-iter", type=int, default=1000, help="outer steps")
    parser.add_argument("--minutes", type=float, help="instead of outer steps")
    parser.add_argument("--width", type=int, default=16, help="of the networks to distill through")
    parser.add_argument("--test-width", type=int, help="of those in the test; default: the usual")
    parser.add_argument("--test-steps", type=int, help="of those networks; default: the usual")
    data.add_loop(parser)
    parser.add_argument("--augmentation", choices=["flip_rotate", "dsa"])
    parser.add_argument("--init", default="real", choices=["gaussian", "real", "kmeans"])
    parser.add_argument(
        "--inner-batch-size", type=int, default=10, help="samples per class in an inner step"
    )
    parser.add_argument("--networks", type=int, default=5, help="networks in the test")
    parser.add_argument("--curve-networks", type=int, default=0, help="for each moment of a run")
    args = data.parse(parser, argv)
    # Rows of other storages may stay in the file.
    storages, names = args.storage, args.only or NAMES
    del args.storage
    # There is one size, with a GPU and without.
    del args.paper
    args.json = args.json or RESULTS / f"parametrizations-{args.dataset}.json"
    arrays = data.load(args)
    report = Report(args.json, about(args, data.name(args)), ("name", "storage", "seed"), summarize)
    shape, n_classes = data.image_shape(args, arrays[0]), len(set(arrays[2].tolist()))
    with Sitting(report, args) as sitting:
        for seed in args.seeds:
            for storage in storages:
                for name in (n for n in sizes(storage, shape, n_classes) if n in names):
                    compute = partial(one_cell, name, storage, seed, args=args, arrays=arrays)
                    row = sitting.run(compute, name=name, storage=storage, seed=seed)
                    measured = summarize([row])["methods"]
                    print(f"seed {seed}  {line(*measured.popitem())}", flush=True)
    print("\nmeans over seeds")
    for name, measured in summarize(report.rows)["methods"].items():
        print(line(name, measured))


if __name__ == "__main__":
    main()
