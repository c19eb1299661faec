"""[Feng23, figures 4 and 6]: which inner steps are differentiated, at equal steps and equal time.

Figure 4 has RaT-BPTT, BPTT, T-BPTT and R-BPTT; figure 6 a random window, which is RaT-BPTT, and
windows that move forward and backward when the loss has stagnated for 2,000 outer steps; section
4.3 a random window that favors the first steps. All on CIFAR-10 with ten samples per class, window
40, unroll 120. This is run with ``--dataset cifar10 --data FOLDER`` on a GPU, or with ``--paper``.
Otherwise the size is for minutes on one core: 8 x 8 digits, a quarter held out, one sample per
class, window 15, unroll 45, and a patience of 15 steps, because a run has only some hundred.

Each method distills for ``--minutes``; every ``--every`` outer steps networks are trained on its
samples, with the number of steps fixed beforehand, and tested. Time is that of the outer steps
alone. Tables give mean and spread over seeds:

- at equal steps: after as many as the slowest run did;
- at equal time: the last test within the time of the run that took least;
- norms of the meta-gradients before clipping: their median, and how far they scatter around it;
- at how many places the window was.

    python examples/reproduce/truncations.py
    python examples/reproduce/truncations.py --dataset cifar10-folder --data FOLDER --minutes 12 \
        --width 16 --unroll 60 --window 20 --inner-lr 0.003 --patience 75 --every 100
"""

from collections.abc import Sequence

import curves
import data
import numpy as np
import sittings
from report import RESULTS, arguments

from skdistill.windows import MovingWindow

FORWARD, BACKWARD = "moves forward", "moves backward"
SCHEDULES = {
    "RaT-BPTT": "rat-bptt",
    "BPTT": "bptt",
    "T-BPTT": "t-bptt",
    "R-BPTT": "r-bptt",
    FORWARD: "forward",
    BACKWARD: "backward",
    "favors first steps": "early",
}
# "Using random unrolling (R-BPTT) and truncated window (T-BPTT) are both worse than BPTT. Combining
# them into RaT-BPTT gives the best performance." [Feng23, figure 4] The last two: figure 6.
PAPER = [
    ("RaT-BPTT", "BPTT"),
    ("BPTT", "T-BPTT"),
    ("BPTT", "R-BPTT"),
    ("RaT-BPTT", FORWARD),
    ("RaT-BPTT", BACKWARD),
]
MEDIAN, QUARTILES, LARGEST = "norm, median", "norm, quartiles apart", "norm, largest"
PLACES = "places of the window"


def methods(args) -> dict[str, dict]:
    """Return the parameters of each method."""
    found = {}
    for name, schedule in SCHEDULES.items():
        if name in (FORWARD, BACKWARD):
            schedule = MovingWindow(schedule, patience=args.patience, smoothing=args.smoothing)
        found[name] = {"window": args.window, "unroll": args.unroll, "schedule": schedule}
    return found


def of_a_lap(history: dict[str, list], n: int) -> dict[str, float]:
    """Return how large the last ``n`` meta-gradients were, and where the window has been so far."""
    norms = [norm for norm in history["grad_norm"][-n:] if norm is not None] or [np.nan]
    low, median, high = np.percentile(norms, [25, 50, 75])
    values = {MEDIAN: median, QUARTILES: high - low, LARGEST: max(norms)}
    # JSON has no NaN.
    known = {name: float(x) if np.isfinite(x) else 0.0 for name, x in values.items()}
    return known | {PLACES: len(set(history["start"]))}


def measures(rows: list[dict], steps: int) -> dict[str, Sequence[float]]:
    """Return, of each run of a method, what `of_a_lap` says of as many steps as all have done."""
    found = {name: [] for name in ("norm", *_RATIOS, PLACES)}
    for row in rows:
        curve = row["curve"]
        laps = [k for k, step in enumerate(curve["step"]) if step <= steps and curve[MEDIAN][k] > 0]
        median = np.array(curve[MEDIAN])[laps]
        found["norm"].append(float(np.median(median)))
        apart, largest = (np.array(curve[name])[laps] for name in (QUARTILES, LARGEST))
        found[_RATIOS[0]].append(float(np.mean(apart / median)))
        found[_RATIOS[1]].append(float(np.max(largest / median)))
        found[PLACES].append(curves.at(row, "step", steps, PLACES))
    return found


# Within a lap, because norms fall during a run.
_RATIOS = ("norm: quartiles apart / median", "norm: largest / median")


def main(argv: Sequence[str] | None = None) -> None:
    """Distill with all methods, print tables, write JSON."""
    parser = arguments(__doc__)
    curves.add_arguments(parser)
    sittings.add_arguments(parser, list(SCHEDULES))
    parser.add_argument("--window", type=int, help="default: 15, or 40")
    parser.add_argument("--unroll", type=int, help="default: 45, or 120")
    parser.add_argument("--patience", type=int, help="default: 15, or 2000")
    parser.add_argument("--smoothing", type=float, help="of the loss; default: 0.8, or 0.98")
    args = data.parse(parser, argv)
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
    args.json = args.json or RESULTS / f"truncations-{args.dataset}.json"
    table = curves.compare(args, methods(args), data.load(args), of_a_lap, measures)
    if table is None:
        return
    print(f"\n{'meta-gradient norm':20s}  median   {_RATIOS[0]}   {_RATIOS[1]}   {PLACES}")
    for method, values in table["methods"].items():
        median, apart, largest, places = (values[n][0] for n in ("norm", *_RATIOS, PLACES))
        print(f"{method:20s}  {median:7.3g}  {apart:30.2f}  {largest:23.1f}  {places:21.1f}")
    curves.print_order(table, PAPER)


if __name__ == "__main__":
    main()
