"""Figure 6 of [Feng23, 4.3]: a random window and windows that move forward and backward.

[Feng23] has CIFAR-10 with ten samples per class, window 40, unroll 120. A window moves by its size
when the loss has stagnated for 2,000 outer steps, and the random window is best throughout. This is
run with ``--dataset cifar10 --data FOLDER`` on a GPU, or with ``--paper``. Otherwise the size is
for minutes on one core: 8 x 8 digits, a quarter held out, one sample per class, window 15, unroll
45, and a patience of 15 steps, because a run has only some hundred.

Each method distills in turn for the same time, a share of ``--minutes``; every ``--every`` outer
steps networks are trained on its samples, with a number of steps that is fixed beforehand, and
tested.

    python examples/reproduce/figure6.py --minutes 14
"""

import curves
import data
from report import RESULTS, Report, about, arguments

from skdistill import RaTBPTTDistiller
from skdistill.windows import MovingWindow, UniformWindow

METHODS = ("random", "forward", "backward")
PAPER = [("random", "forward"), ("random", "backward")]


def one_run(method: str, seed: int, seconds: float, args, arrays) -> dict:
    """Distill for so many seconds, tests included; return the curve and the window's places."""
    schedule = UniformWindow()
    if method != "random":
        schedule = MovingWindow(method, patience=args.patience, smoothing=args.smoothing)
    parameters = data.settings(args, args.ipc) | {
        "window": args.window,
        "unroll": args.unroll,
        "schedule": schedule,
        "compile": False,
        "n_networks": args.networks,
        "random_state": seed,
    }
    distiller = RaTBPTTDistiller(**parameters)
    curve = curves.distill(distiller, arrays, seconds, args.every)
    return {
        "method": method,
        "seed": seed,
        "curve": curve,
        "start": distiller.history_["start"],
    }


def places(rows: list[dict], steps: int) -> dict:
    """Return at how many places the window was in the steps that all runs have done."""
    return {"places of the window": [len(set(row["start"][:steps])) for row in rows]}


def summarize(rows: list[dict]) -> dict:
    """Return the numbers in the tables, over all runs."""
    return curves.summary(rows, METHODS, places)


def main() -> None:
    """Distill with all methods, print tables, write JSON."""
    parser = arguments(__doc__, RESULTS / "figure6.json")
    data.add_arguments(parser)
    parser.add_argument("--minutes", type=float, default=14, help="for all runs together")
    parser.add_argument("--ipc", type=int, help="default: 1, or 10 at the paper's size")
    parser.add_argument("--window", type=int, help="default: 15, or 40")
    parser.add_argument("--unroll", type=int, help="default: 45, or 120")
    parser.add_argument("--patience", type=int, help="default: 15, or 2000")
    parser.add_argument("--smoothing", type=float, help="of the loss; default: 0.8, or 0.98")
    parser.add_argument("--every", type=int, default=25, help="outer steps between two tests")
    parser.add_argument("--networks", type=int, default=5, help="networks in a test")
    args = data.parse(parser)
    sizes = {
        "ipc": (1, 10),
        "window": (15, 40),
        "unroll": (45, 120),
        "patience": (15, 2000),
        "smoothing": (0.8, 0.98),
    }
    for name, size in sizes.items():
        if getattr(args, name) is None:
            setattr(args, name, size[args.paper])
    arrays = data.load(args)
    seconds = 60 * args.minutes / (len(args.seeds) * len(METHODS))
    report = Report(args.json, about(args, data.name(args)), ("method", "seed"), summarize)
    for row in report.run_all(
        METHODS, args.seeds, lambda *run: one_run(*run, seconds, args, arrays)
    ):
        curves.print_row(row)
    table = summarize(report.rows)
    curves.print_summary(table, len({row["seed"] for row in report.rows}))
    for method, values in table["methods"].items():
        mean, _ = values["places of the window"]
        print(f"{method}: the window was at {mean:.1f} places in {table['steps']} steps")
    curves.print_order(table, PAPER)


if __name__ == "__main__":
    main()
