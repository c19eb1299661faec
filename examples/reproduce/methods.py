"""Every method of the package on one data set, for the same time on the same machine.

Each of `skdistill.all_distillers` distills for ``--minutes``, which begin with `fit`: what a method
prepares or compiles counts. Then freshly initialized networks are trained on the result, with the
networks and the number of steps that are the defaults of all methods, by Adam, and tested. (Sets of
FRePo and RCIG are learned by squared error, which their labels are made for, and others by
cross-entropy.) Where the method has a recipe of its own (trajectory matching: gradient descent at
the step size that was learned) or a kernel regression, which is fitted to the samples alone, it is
tested as well. Random real samples (five draws), herding and k-means are trained on as the sets of
most methods, and fitted by the kernel regression of KIP. The last samples are the result, and the
test set is looked at once for each: nothing is chosen by it. With ``--curve-networks`` the samples
that a run had at parts of its time are tested as well.

A method has its own defaults, except for `SETTINGS`, `COLORED` and the distance of IDC, and a class
of several methods has a row for each of its `VARIANTS`. Networks of a test augment as the set was
distilled. Gray images are not mirrored. ``--width`` distills through
ConvNets of this width, where a method has networks; the networks of the test are the usual ones.

    python examples/reproduce/methods.py --minutes 3
    python examples/reproduce/methods.py --dataset fashion-mnist --data FOLDER --minutes 10 \
        --width 32 --seeds 0

Each row is written to the JSON file as soon as it is measured; a method that has its row is not run
again.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import data
import numpy as np
import sittings
from report import RESULTS, Report, about, arguments, mean_and_std
from sittings import ENDED, Cell, Sitting, tested_on_the_way

from skdistill import DistilledDataset, KernelRidgeClassifier, all_distillers
from skdistill.augmentation import Color, Compose, Crop, Cutout, OneOf, Rotation, Scale
from skdistill.evaluation import BASELINES, EvaluationProtocol, evaluate, paper_protocol
from skdistill.exceptions import DivergenceError
from skdistill.networks import ConvNet
from skdistill.parametrization import Tiled

METHODS = dict(all_distillers())
# Parts of a run's time at which its samples are kept, for a curve.
MOMENTS = (1 / 4, 1 / 2)
# In place of "dsa" for gray images, as in the package's protocol of that name.
WITHOUT_FLIP = OneOf([Color(), Cutout(), Rotation(), Crop(), Scale()])
# The methods of one class: its name, samples in the storage of one, and parameters.
VARIANTS = {
    "dc": ("GradientMatchingDistiller", 1, {}),
    "dsa": ("GradientMatchingDistiller", 1, {"augmentation": "dsa"}),
    "idc": (
        "GradientMatchingDistiller",
        4,
        {
            "parametrization": Tiled(2, clamp=True),
            "augmentation": Compose([Color(), Crop(), Cutout()]),
            "distance": "mse",
            "matched": "convolutions",
            "network_data": "real",
            # "auto" is 100 steps for a network, in which minutes would see few networks.
            "outer_loop": 10,
            "inner_loop": 8,
            "network_batch_size": 64,
            "network_momentum": 0.9,
            "network_weight_decay": 5e-4,
        },
    ),
    "mtt": ("TrajectoryMatchingDistiller", 1, {}),
    "tesla": ("TrajectoryMatchingDistiller", 1, {"gradient": "first_order"}),
    "ftd": (
        "TrajectoryMatchingDistiller",
        1,
        # As in its code; averages as for ten samples per class of CIFAR-10.
        {"expert_rho": 0.01, "expert_alpha": 0.3, "ema_decay": 0.9995},
    ),
    "bptt": ("RaTBPTTDistiller", 1, {"schedule": "bptt"}),
}
# Without a variant, this class is a method by itself.
OF_SEVERAL = {name for name, *_ in VARIANTS.values()} - {"RaTBPTTDistiller"}
NAMES = [*(name for name in METHODS if name not in OF_SEVERAL), *VARIANTS]
# What a method gets besides, in runs of less than ten minutes.
SETTINGS = {
    # "auto" goes by max_iter, which is out of reach here; compilation may take a minute.
    "RaTBPTTDistiller": {"compile": False},
    "bptt": {"compile": False},
    # Averages that forget the start within the steps that there are.
    "ftd": {"ema_decay": 0.99},
    "RCIGDistiller": {"ema_decay": 0.9},
}
# And for images with colors, as in the papers.
COLORED = {
    "RaTBPTTDistiller": {"augmentation": "flip_rotate"},
    "bptt": {"augmentation": "flip_rotate"},
    "DistributionMatchingDistiller": {"augmentation": "dsa"},
    "mtt": {"augmentation": "dsa"},
    "tesla": {"augmentation": "dsa"},
    "ftd": {"augmentation": "dsa"},
    "FRePoDistiller": {"flips": True},
    "RCIGDistiller": {"flips": True},
}
DRAWS = {"random real samples": 5}
# What a row may have, and by what.
ACCURACIES = {
    "accuracy": "networks",
    "accuracy by its own recipe": "its own recipe",
    "accuracy by kernel regression": "kernel regression",
}


def one_row(name: str, seed: int, cell: Cell, args, arrays) -> dict:
    """Distill by a method or choose samples, test the result, and return a row of the report."""
    X_train, X_test, y_train, y_test = arrays
    if name in BASELINES:
        draws = DRAWS.get(name, 1)
        row, on_the_way = {}, []
        sets = list(data.chosen(name, seed, args.ipc, args, X_train, y_train, draws))
        classifiers = [KernelRidgeClassifier().fit_distilled(each) for each in sets]
    else:
        try:
            row, on_the_way, distiller = distilled(name, seed, cell, args, X_train, y_train)
        except DivergenceError as error:
            # Before the first step, as experts may: there are no samples.
            return {"method": name, "seed": seed, ENDED: str(error), "steps": 0, "seconds": 0.0}
        sets, has_kernel = [distiller.distilled_], hasattr(distiller, "kernel_classifier")
        classifiers = [distiller.kernel_classifier()] if has_kernel else []
    test = partial(evaluate, X=X_test, y=y_test)
    # Sets that have a recipe of their own are trained as those of the other methods.
    has_own = any(each.recipe.optimizer != "adam" for each in sets)
    protocol_of = common if has_own else lambda each: None

    def by_networks(protocol_of) -> list:
        n_networks = -(-args.networks // len(sets))
        results = [test(each, protocol=protocol_of(each), n_networks=n_networks) for each in sets]
        accuracies = np.concatenate([result.accuracies for result in results])
        diverged = sum(result.n_diverged for result in results)
        return [float(accuracies.mean()), float(accuracies.std()), diverged]

    mean, deviation, diverged = cell.once("test", lambda: by_networks(protocol_of))
    row |= {
        "accuracy": mean,
        "deviation over networks": deviation,
        "networks that diverged": diverged,
    }
    if has_own:
        own = cell.once("own", lambda: by_networks(lambda each: None))
        row["accuracy by its own recipe"] = own[0]
    if classifiers:
        scores = [classifier.score(X_test, y_test) for classifier in classifiers]
        row["accuracy by kernel regression"] = float(np.mean(scores))
    if args.curve_networks and on_the_way:

        def few(each: DistilledDataset):
            return test(each, protocol=protocol_of(each), n_networks=args.curve_networks)

        row["curve"] = tested_on_the_way(cell, on_the_way, few)
    return {"method": name, "seed": seed, **row}


def common(distilled: DistilledDataset) -> EvaluationProtocol:
    """Return how every set is judged: by Adam, and as many steps as a set of its method takes."""
    return replace(paper_protocol("rat_bptt", distilled), steps=distilled.recipe.steps)


def distilled(name: str, seed: int, cell: Cell, args, X, y):
    """Return what a row says of a run, the samples on the way, and the fitted distiller."""
    class_name, samples, own = VARIANTS.get(name, (name, 1, {}))
    kind = METHODS[class_name]
    parameters = own | (SETTINGS.get(name, {}) if args.minutes < 10 else {})
    if args.dataset not in data.GRAY:
        parameters |= COLORED.get(name, {})
    if class_name == "RaTBPTTDistiller":
        parameters["clip_norm"] = args.clip_norm
    # As in its code.
    if name == "idc" and args.dataset == "fashion-mnist":
        parameters["distance"] = "l1"
    if parameters.get("augmentation") == "dsa" and args.dataset in data.GRAY:
        parameters["augmentation"] = WITHOUT_FLIP
    narrow = args.width is not None and kind._needs_network
    # "auto" of one method would be narrow by itself.
    parameters["inner_architecture"] = partial(ConvNet, width=args.width) if narrow else None
    distiller = kind(
        ipc=samples * args.ipc,
        image_shape=data.image_shape(args, X),
        random_state=seed,
        **parameters,
    )
    moments = MOMENTS if args.curve_networks else ()
    sets = cell.fit_for(distiller, X, y, 60 * args.minutes, moments)
    row = {
        "steps": distiller.n_iter_,
        "skipped steps": sum(distiller.history_["skipped"]),
        "seconds": cell.seconds(distiller.distilled_),
        "distilled through": networks(kind, args.width if narrow else None),
        "labels": "learned" if distiller.learn_labels else "hard",
    }
    return row, sets, distiller


def networks(kind: type, width: int | None) -> str:
    """Return which networks a method distills through, in words."""
    if not kind._needs_network:
        return "no networks"
    return "ConvNets of the usual width" if width is None else f"ConvNets of width {width}"


def summarize(rows: list[dict]) -> dict:
    """Return mean and deviation over seeds by method, of what all its rows have."""
    methods = {}
    for name in dict.fromkeys(row["method"] for row in rows):
        own = [row for row in rows if row["method"] == name]
        methods[name] = {
            key: mean_and_std(row[key] for row in own)
            for key in (*ACCURACIES, "steps", "seconds")
            if all(key in row for row in own)
        }
    return {"methods": methods}


def line(name: str, measured: dict) -> str:
    """Return what was measured of a method, as means over seeds, for printing."""
    accuracies = (
        f"{100 * measured[key][0]:.1f} % by {by}"
        for key, by in ACCURACIES.items()
        if key in measured
    )
    text = f"{name:30s}  {', '.join(accuracies)}"
    if "steps" in measured:
        text += f", {measured['steps'][0]:.0f} steps in {measured['seconds'][0]:.0f} s"
    return text


def main(argv: Sequence[str] | None = None) -> None:
    """Distill by all methods, test, print a table, write JSON."""
    parser = arguments(__doc__)
    data.add_arguments(parser)
    data.add_clipping(parser)
    names = [*BASELINES, *NAMES]
    sittings.add_arguments(parser, names)
    parser.add_argument("--ipc", type=int, default=1, help="samples per class")
    parser.add_argument("--minutes", type=float, default=3, help="for each method and seed")
    parser.add_argument("--width", type=int, help="of the networks to distill through")
    parser.add_argument("--networks", type=int, default=10, help="networks in the test")
    parser.add_argument("--curve-networks", type=int, default=0, help="for each moment of a run")
    args = data.parse(parser, argv)
    # Every method has its defaults, whatever the machine.
    del args.paper
    args.json = args.json or RESULTS / f"methods-{args.dataset}-{args.ipc}.json"
    arrays = data.load(args)
    report = Report(args.json, about(args, data.name(args)), ("method", "seed"), summarize)
    compute = partial(one_row, args=args, arrays=arrays)
    with Sitting(report, args) as sitting:
        for row in sitting.run_all(args.only or names, args.seeds, compute):
            measured = summarize([row])["methods"][row["method"]]
            print(f"seed {row['seed']}  {line(row['method'], measured)}", flush=True)
    print("\nmeans over seeds")
    for name, measured in summarize(report.rows)["methods"].items():
        print(line(name, measured))


if __name__ == "__main__":
    main()
