"""Figure 11 of [Feng23, C.2]: how far to unroll, and how long a window.

[Feng23] has CIFAR-10 with ten samples per class: window 40 with an unrolling of 80, 120, 200 and
300 (two to five times the window are equally good, 300 steps do harm), and unroll 200 with windows
of 40, 60 and 100 (the latter two are equally good). This is run with ``--dataset cifar10 --data
FOLDER`` on a GPU, or with ``--paper``. Otherwise the size is for minutes on one core: 8 x 8 digits,
a quarter held out, one sample per class, and a fifth of all these lengths.

Each pair distills in turn for the same time, a share of ``--minutes``; every ``--every`` outer
steps networks are trained on its samples, with a number of steps that is fixed beforehand, and
tested.

    python examples/reproduce/figure11.py --minutes 20
"""

import curves
import data
from report import RESULTS, Report, about, arguments

from skdistill import RaTBPTTDistiller

# (window, unroll): the pairs of the left figure, then those that the right figure adds.
PAPER = [(40, 80), (40, 120), (40, 200), (40, 300), (60, 200), (100, 200)]


def label(pair: tuple[int, int]) -> str:
    """Return what a pair is called in tables."""
    return "window {}, unroll {}".format(*pair)


def one_run(pair: tuple[int, int], seed: int, seconds: float, args, arrays) -> dict:
    """Distill for so many seconds, tests included, and return the curve."""
    parameters = data.settings(args, args.ipc) | {
        "window": pair[0],
        "unroll": pair[1],
        "compile": False,
        "n_networks": args.networks,
        "random_state": seed,
    }
    curve = curves.distill(RaTBPTTDistiller(**parameters), arrays, seconds, args.every)
    return {"method": label(pair), "seed": seed, "curve": curve}


def main() -> None:
    """Distill with all pairs, print tables, write JSON."""
    parser = arguments(__doc__, RESULTS / "figure11.json")
    data.add_arguments(parser)
    parser.add_argument("--minutes", type=float, default=20, help="for all runs together")
    parser.add_argument("--ipc", type=int, help="default: 1, or 10 at the paper's size")
    parser.add_argument("--divide", type=int, help="all lengths by it; default: 5, or 1")
    parser.add_argument("--every", type=int, default=25, help="outer steps between two tests")
    parser.add_argument("--networks", type=int, default=5, help="networks in a test")
    args = data.parse(parser)
    args.ipc = args.ipc or (10 if args.paper else 1)
    args.divide = args.divide or (1 if args.paper else 5)
    pairs = [(max(1, m // args.divide), max(1, t // args.divide)) for m, t in PAPER]
    arrays = data.load(args)
    seconds = 60 * args.minutes / (len(args.seeds) * len(pairs))

    def summarize(rows):
        return curves.summary(rows, list(map(label, pairs)))

    report = Report(args.json, about(args, data.name(args)), ("method", "seed"), summarize)
    for seed in args.seeds:
        for pair in pairs:
            row = report.run(
                lambda pair=pair, seed=seed: one_run(pair, seed, seconds, args, arrays),
                method=label(pair),
                seed=seed,
            )
            curves.print_row(row)
    curves.print_summary(summarize(report.rows), len({row["seed"] for row in report.rows}))


if __name__ == "__main__":
    main()
