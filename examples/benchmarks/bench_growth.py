"""How the cost of an outer step grows with window, unroll, samples per class and image size.

One of them at a time is doubled while the others stay. The slope is that of a straight line through
log(cost) against log(value): a slope of 1 means proportional. Seconds are those of the exact
meta-gradient with its loss on 256 real samples, median over repeats.

    python examples/benchmarks/bench_growth.py --json out.json
"""

import argparse
from dataclasses import replace
from pathlib import Path
from statistics import median

import numpy as np
import report
import torch
from bench_meta_gradient import Config, Problem, seconds

BASE = Config((1, 16, 16), 1, 10, 40, 256, width=32, depth=2)
GROWN = {
    "window": [5, 10, 20, 40],
    "unroll": [20, 40, 80, 160],
    "ipc": [1, 2, 4, 8],
    "side": [8, 16, 32, 64],
}


def grown(name: str, value: int) -> Config:
    """Return the base configuration with one value in place of its own."""
    if name == "side":
        return replace(BASE, shape=(1, value, value))
    return replace(BASE, **{name: value})


def slope(values: list[int], costs: list[float]) -> float:
    """Return the exponent of the power law nearest to these costs."""
    return float(np.polyfit(np.log(values), np.log(costs), 1)[0])


def main() -> None:
    """Print the table and write JSON if asked to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--json", type=Path, help="file to write")
    args = parser.parse_args()
    rows = []
    print("grows    values              seconds                          slope")
    for name, values in GROWN.items():
        configs = [grown(name, value) for value in values]
        problems = [Problem(config, args.device) for config in configs]
        for problem in problems:
            problem.ours(1, 1)
        # In rounds, so that other work of the machine slows all values alike.
        rounds = [
            [seconds(p.ours, c, args.device) for p, c in zip(problems, configs)]
            for _ in range(args.repeats)
        ]
        times = [median(times) for times in zip(*rounds)]
        rows.append({"grows": name, "values": values, "seconds": times})
        rows[-1]["slope"] = slope(values, times)
        print(
            f"{name:8s} {values!s:19s} {'  '.join(f'{t:6.3f}' for t in times):32s} "
            f"{rows[-1]['slope']:5.2f}",
            flush=True,
        )
    report.write(args.json, args.device, rows=rows)


if __name__ == "__main__":
    main()
