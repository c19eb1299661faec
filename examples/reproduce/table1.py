"""Table 1 of [Feng23]: distill, evaluate with narrow and other networks, compare with its row.

The script distills for ``--minutes``, keeps the samples at a few moments, and evaluates them
afterwards: accuracy against time. The evaluation does not count as distillation time. Ten networks
are trained on the last samples, which are the result whatever the curve says, with a number of
steps that is fixed beforehand. Random real samples, herding and k-means are evaluated under the
same protocol.

With a GPU, or with ``--paper``, the parameters are `skdistill.paper_settings` for the data and
samples per class; the gray sets, which [Feng23] does not have, take those of CIFAR-10 without
augmentation. Without a GPU, or with ``--small``, they are the package's defaults: 256 real samples
per step, no augmentation, a larger learning rate and, from 17 pixels per side on, networks of width
32, of whose 30 steps a window of 20 is differentiated. Arguments set single values. ``--width``
distills through ConvNets of another width: narrow ones allow more outer steps. The evaluation has
the usual ConvNets, of width 128, whatever the samples were distilled through.

If the script is started again with the same arguments, or with more minutes, it continues its run,
which is kept beside the report, in ``<report>.run``, or in ``--checkpoints``. The result is
``<report>.npz``, with samples of 16 bits if it would be larger than a MiB otherwise; with ``--zca``
it holds samples whitened by ``ZCAWhitener(0.1)``, fitted on the training images. ``evaluate.py``
reads it there. The folders are those that `skdistill.datasets` reads: torchvision's (cifar10,
cifar100; fashion-mnist also as the four files of Debian's ``dataset-fashion-mnist``), one with
``train`` and ``test`` (cifar10-folder), ``CUB_200_2011``, ``tiny-imagenet-200``.

    python examples/reproduce/table1.py --dataset fashion-mnist --data FOLDER --minutes 38
    python examples/reproduce/table1.py --dataset cifar10 --data FOLDER --ipc 10 --minutes 600
"""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import data
import numpy as np
import published
import sittings
from report import RESULTS, about, arguments, write
from sittings import ENDED, MOMENTS, Cell, Sitting

from skdistill import DistilledDataset, RaTBPTTDistiller
from skdistill.augmentation import AUGMENTATIONS
from skdistill.evaluation import BASELINES, WHOLE, EvaluationResult, compare, evaluate
from skdistill.networks import ConvNet

# The networks of the evaluation, whatever the samples were distilled through.
NETWORK = "convnet"
TRANSFER = ("convnet_x4", "convnet_x8", "resnet18")


def main(argv: Sequence[str] | None = None) -> None:
    """Distill, evaluate, compare, write JSON and the samples, print a row."""
    args = parse(argv)
    arrays = data.load(args)
    with Sitting(None, args) as sitting:
        report = measured(args, sitting.cell(), arrays)
        print("\n" + markdown(args, report))


def measured(args: argparse.Namespace, cell: Cell, arrays) -> dict:
    """Distill, evaluate, write the samples and the report, and return it."""
    X_train, _, y_train, _ = arrays
    distiller = RaTBPTTDistiller(**distiller_parameters(args))
    sets = cell.fit_for(distiller, X_train, y_train, 60 * args.minutes, MOMENTS)
    # Evaluate exactly what is saved.
    distilled = sets[-1] = small(sets[-1])
    distilled.save(args.json.with_suffix(".npz"))

    report = about(args, data.name(args), distilled.provenance["device"])
    report |= {"curve": [], "curve_networks": args.curve_networks, "results": {}}
    report["provenance"] = distilled.provenance
    report |= {name: cell.notes[name] for name in (ENDED,) if name in cell.notes}

    def add(name: str, result: dict) -> None:
        report["results"][name] = result
        write(args.json, report)
        print(f"{name}: {words(result)}", flush=True)

    # The result first, because a sitting may end before all is evaluated.
    for architecture in (NETWORK, *args.transfer):
        result = evaluated(distilled, arrays, cell, architecture, args.networks)
        add("distilled" if architecture == NETWORK else f"distilled, on {architecture}", result)
    for each in sets:
        where = {"seconds": cell.seconds(each), "outer_steps": each.provenance["n_iter"]}
        result = evaluated(each, arrays, cell, NETWORK, args.curve_networks)
        report["curve"].append({**where, "accuracy": result["mean"]})
        print(
            "{seconds:6.0f} s, outer step {outer_steps}".format(**where) + f": {words(result)}",
            flush=True,
        )
    write(args.json, report)
    for name, result in rivals(distilled, arrays, args.baselines, args.baseline_networks).items():
        add(name, result)
    return report


def rivals(
    distilled: DistilledDataset, arrays, names: Sequence[str], n_networks: int
) -> dict[str, dict]:
    """Return what a report says of samples that were chosen, by these names."""
    if not names:
        return {}
    X_train, X_test, y_train, y_test = arrays
    comparison = compare(
        distilled,
        X_train,
        y_train,
        X_test,
        y_test,
        baselines=list(names),
        n_networks=n_networks,
        n_networks_whole=1,
        architecture=NETWORK,
    )
    return {name: plain(comparison[name]) for name in names}


def evaluated(
    distilled: DistilledDataset, arrays, cell: Cell, architecture: str, n_networks: int
) -> dict:
    """Return what a report says of an evaluation, of this or an earlier sitting."""
    _, X_test, _, y_test = arrays

    def compute() -> dict:
        return plain(
            evaluate(distilled, X_test, y_test, n_networks=n_networks, architecture=architecture)
        )

    step = distilled.provenance["n_iter"]
    return cell.once(f"{n_networks} {architecture}, outer step {step}", compute)


def plain(result: EvaluationResult) -> dict:
    """Return what a report says of an evaluation."""
    return {
        "mean": result.mean,
        "std": result.std,
        "n_networks": len(result.accuracies),
        "n_samples": result.n_samples,
    }


def words(result: dict) -> str:
    """Return an evaluation in words."""
    return "{:.1f} ± {:.1f} % ({} networks)".format(
        100 * result["mean"], 100 * result["std"], result["n_networks"]
    )


def small(distilled: DistilledDataset) -> DistilledDataset:
    """Return the set with samples of 16 bits if its file would be larger than a MiB."""
    if distilled.X.nbytes < 2**20:
        return distilled
    return replace(distilled, X=distilled.X.astype(np.float16))


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Return the arguments; None for single values that were not given."""
    parser = arguments(__doc__, seeds=False)
    data.add_arguments(parser, default=None)
    data.add_clipping(parser, default="robust")
    sittings.add_arguments(parser)
    parser.add_argument("--ipc", type=int, default=1, help="samples per class")
    parser.add_argument("--minutes", type=float, default=38, help="of distillation")
    data.add_loop(parser)
    parser.add_argument("--width", type=int, help="of the networks to distill through")
    parser.add_argument("--learning-rate", type=float)
    parser.add_argument("--batch-size", type=int)
    parser.add_argument("--augmentation", choices=[*AUGMENTATIONS, "none"])
    parser.add_argument("--learn-labels", action=argparse.BooleanOptionalAction)
    parser.add_argument("--eval-steps", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--transfer", action="store_true", help=f"also test {', '.join(TRANSFER)}")
    parser.add_argument("--networks", type=int, default=10, help="for the result")
    parser.add_argument("--curve-networks", type=int, default=2, help="for each moment")
    parser.add_argument("--baselines", nargs="*", default=[*BASELINES], choices=[*BASELINES, WHOLE])
    parser.add_argument("--baseline-networks", type=int, default=5)
    args = data.parse(parser, argv)
    # A ResNet-18 needs nine pixels per side.
    there = TRANSFER[:2] if args.dataset == "digits" else TRANSFER
    args.transfer = list(there) if args.transfer else []
    if args.json is None:
        args.json = RESULTS / f"table1-{args.dataset}-{args.ipc}.json"
    return args


def distiller_parameters(args: argparse.Namespace) -> dict:
    """Return the distiller's parameters: those of the size, and what was given."""
    names = ("learning_rate", "batch_size", "learn_labels", "eval_steps", "clip_norm")
    given = data.given(args, (*data.LOOP, *names))
    if args.augmentation is not None:
        given["augmentation"] = None if args.augmentation == "none" else args.augmentation
    if args.width is not None:
        given["inner_architecture"] = partial(ConvNet, width=args.width)
    return (
        data.settings(args, args.ipc)
        | given
        | {
            "n_networks": args.networks,
            # In a short run compilation would take most of the time.
            "compile": "auto" if args.minutes >= 10 else False,
            "random_state": args.seed,
        }
    )


def markdown(args: argparse.Namespace, report: dict) -> str:
    """Return our rows, and those of the paper's Table 1, as a Markdown table."""
    rows = {
        f"skdistill, {name}": f"{100 * result['mean']:.1f}±{100 * result['std']:.1f}"
        for name, result in report["results"].items()
    }
    dataset = args.dataset.removesuffix("-folder")
    rows |= published.column(dataset, args.ipc)
    lines = [f"| test accuracy (%) | {report['data']}, {args.ipc} per class |", "|---|---|"]
    return "\n".join([*lines, *(f"| {name} | {value} |" for name, value in rows.items())])


if __name__ == "__main__":
    main()
