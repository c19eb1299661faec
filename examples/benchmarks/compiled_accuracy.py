"""Do compiled runs reach the accuracy of eager ones? On digits, over seeds.

Compiled steps compute the same numbers up to rounding, which changes the samples of a long run; the
accuracy must be the same.

    python examples/benchmarks/compiled_accuracy.py
"""

import argparse
from pathlib import Path

import numpy as np
import report
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from skdistill import RaTBPTTDistiller


def main() -> None:
    """Print the table and write JSON if asked to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--max-iter", type=int, default=150)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--json", type=Path, help="file to write")
    args = parser.parse_args()
    X, y = load_digits(return_X_y=True)
    X_train, X_test, y_train, y_test = train_test_split(X, y, stratify=y, random_state=0)
    rows = []
    print("seed  eager (%)  compiled (%)")
    for seed in args.seeds:
        row = {"seed": seed}
        for name, compiled in (("eager", False), ("compiled", True)):
            distiller = RaTBPTTDistiller(
                image_shape=(1, 8, 8), max_iter=args.max_iter, compile=compiled, random_state=seed
            )
            row[name] = distiller.fit(X_train, y_train).score(X_test, y_test)
        rows.append(row)
        print(f"{seed:4d} {100 * row['eager']:10.1f} {100 * row['compiled']:13.1f}", flush=True)
    means = {name: 100 * np.mean([row[name] for row in rows]) for name in ("eager", "compiled")}
    print(f"mean {means['eager']:10.1f} {means['compiled']:13.1f}")
    report.write(args.json, "cpu", rows=rows)


if __name__ == "__main__":
    main()
