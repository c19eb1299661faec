r"""Which settings of the distiller give the most accuracy in a given time.

Each setting gets the same number of minutes, one after the other on the same machine; compilation
counts. Then networks of the usual width are trained on the result, with a number of steps that is
fixed beforehand, and tested on training images that were held out. The test sets are not looked at,
so that a run with the winner may report on them. A setting is a list of parameters of
`RaTBPTTDistiller`, and ``width`` for the networks that it distills through (the usual one without
it); ``sampler=kmeans`` draws batches from the clusters of the samples. The networks of the test are
the same for all settings:

    python examples/reproduce/settings.py --dataset cifar10-folder --data FOLDER --minutes 5 \
        --setting width=16 augmentation=flip_rotate --setting width=32 augmentation=flip_rotate

Each row is written to the JSON file as soon as it is measured; a setting that has its row is not
run again.
"""

import json
from functools import partial

import data
import sittings
from report import RESULTS, Report, about, arguments
from sittings import Cell, Sitting
from windows import summarize, timed_row

from skdistill.networks import ConvNet
from skdistill.sampling import KMeansSampler

# Parameters that a setting has unless it gives others.
COMMON = {"window": 20, "unroll": 30, "inner_lr": 0.003}
# Values that have a word here.
WORDS = {"sampler": {"kmeans": KMeansSampler("samples", choose="random", renew_every=None)}}
# What the label of a setting leaves out.
UNSAID = {"compile": "auto"}


def one_run(setting: dict, seed: int, cell: Cell, args, arrays) -> dict:
    """Distill with a setting, and return a row of the report."""
    parameters = dict(setting)
    width = parameters.pop("width", None)
    parameters["inner_architecture"] = None if width is None else partial(ConvNet, width=width)
    for name in WORDS.keys() & parameters.keys():
        parameters[name] = WORDS[name].get(parameters[name], parameters[name])
    parameters = {"ipc": args.ipc, "clip_norm": args.clip_norm, **UNSAID, **parameters}
    return timed_row(parameters, label(setting), seed, cell, args, arrays)


def label(setting: dict) -> str:
    """Return what a setting is called in tables."""
    return ", ".join(f"{name} {value}" for name, value in setting.items())


def parsed(words: list[str]) -> dict:
    """Return a setting from words like ``width=16``."""
    setting = dict(COMMON)
    for word in words:
        name, _, value = word.partition("=")
        try:
            setting[name] = json.loads(value)
        except json.JSONDecodeError:
            setting[name] = value
    return setting


def main() -> None:
    """Distill with all settings, print a table, write JSON."""
    parser = arguments(__doc__)
    data.add_arguments(parser)
    data.add_clipping(parser, default="robust")
    parser.add_argument("--ipc", type=int, default=1, help="samples per class")
    parser.add_argument("--minutes", type=float, default=5, help="for each setting and seed")
    parser.add_argument(
        "--setting", nargs="+", action="append", required=True, metavar="NAME=VALUE"
    )
    parser.add_argument("--networks", type=int, default=3, help="networks in the test")
    sittings.add_arguments(parser)
    args = data.parse(parser)
    settings = [parsed(words) for words in args.setting]
    # Rows of other settings may stay in the file.
    del args.setting
    args.json = args.json or RESULTS / f"settings-{args.dataset}-{args.ipc}.json"
    X, _, y, _ = data.load(args)
    arrays = data.held_out(X, y)
    report = Report(args.json, about(args, data.name(args)), ("setting", "seed"), summarize)
    with Sitting(report, args) as sitting:
        for seed in args.seeds:
            for setting in settings:
                compute = partial(one_run, setting, seed, args=args, arrays=arrays)
                row = sitting.run(compute, setting=label(setting), seed=seed)
                print(
                    f"{100 * row['accuracy']:5.1f} %  {row['steps']:5d} steps  seed {seed}  "
                    f"{row['setting']}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
