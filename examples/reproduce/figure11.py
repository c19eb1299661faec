"""Figure 11 of [Feng23, C.2]: how far to unroll, and how long a window.

[Feng23] has CIFAR-10 with ten samples per class: window 40 with an unrolling of 80, 120, 200 and
300 (two to five times the window are equally good, 300 steps do harm), and unroll 200 with windows
of 40, 60 and 100 (the latter two are equally good). This is run with ``--dataset cifar10 --data
FOLDER`` on a GPU, or with ``--paper``. Otherwise the size is for minutes on one core: 8 x 8 digits,
a quarter held out, one sample per class, and a fifth of all these lengths.

Each pair distills for ``--minutes``; every ``--every`` outer steps networks are trained on its
samples, with a number of steps that is fixed beforehand, and tested.

    python examples/reproduce/figure11.py
    python examples/reproduce/figure11.py --dataset fashion-mnist --data FOLDER --minutes 7.5 \
        --width 32 --divide 4 --inner-lr 0.003 --every 200
"""

from collections.abc import Sequence

import curves
import data
import sittings
from report import RESULTS, arguments

# (window, unroll): the pairs of the left figure, then those that the right figure adds.
PAPER = [(40, 80), (40, 120), (40, 200), (40, 300), (60, 200), (100, 200)]


def label(pair: tuple[int, int]) -> str:
    """Return what a pair is called in tables: its lengths in [Feng23]."""
    return "{} of {} in the paper".format(*pair)


def main(argv: Sequence[str] | None = None) -> None:
    """Distill with all pairs, print tables, write JSON."""
    parser = arguments(__doc__)
    curves.add_arguments(parser)
    sittings.add_arguments(parser, list(map(label, PAPER)))
    parser.add_argument("--divide", type=int, help="all lengths by it; default: 5, or 1")
    args = data.parse(parser, argv)
    args.ipc = args.ipc or (10 if args.paper else 1)
    args.divide = args.divide or (1 if args.paper else 5)
    args.json = args.json or RESULTS / f"figure11-{args.dataset}.json"
    pairs = {
        label((m, t)): {"window": max(1, m // args.divide), "unroll": max(1, t // args.divide)}
        for m, t in PAPER
    }
    curves.compare(args, pairs, data.load(args))


if __name__ == "__main__":
    main()
