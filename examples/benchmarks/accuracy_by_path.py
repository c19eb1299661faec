"""Whether runs by our functions give sets as good as those by autograd: the same seeds, both ways.

In single precision every path rounds in its own way, and runs of some hundred outer steps go apart,
so that no two sets are the same. Scikit-learn's digits, a quarter held out, are distilled by the
functions in C and by autograd through torch's operations, and the networks of an evaluation are
trained on both in the same way.

    python examples/benchmarks/accuracy_by_path.py --seeds 0 1 2 3 4 --json out.json
"""

import argparse
import warnings
from pathlib import Path
from statistics import mean, stdev
from unittest.mock import patch

import report
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from skdistill import RaTBPTTDistiller
from skdistill._engine.chain import Chain
from skdistill.evaluation import evaluate


def distill(by_autograd: bool, seed: int, max_iter: int, X, y) -> RaTBPTTDistiller:
    """Distill one sample per class with the defaults."""
    distiller = RaTBPTTDistiller(
        image_shape=(1, 8, 8), max_iter=max_iter, compile=False, random_state=seed, device="cpu"
    )
    if not by_autograd:
        return distiller.fit(X, y)
    # Networks that are no chain of known layers are differentiated by autograd.
    with patch.object(Chain, "of", lambda learner: None):
        return distiller.fit(X, y)


def main() -> None:
    """Print accuracies by seed and path, and write JSON if asked to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--max-iter", type=int, default=200, help="outer steps")
    parser.add_argument("--json", type=Path, help="file to write")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    X, y = load_digits(return_X_y=True)
    X_train, X_test, y_train, y_test = train_test_split(X, y, stratify=y, random_state=0)
    rows = []
    for seed in args.seeds:
        for way, by_autograd in (("functions in C", False), ("autograd", True)):
            distiller = distill(by_autograd, seed, args.max_iter, X_train, y_train)
            result = evaluate(distiller.distilled_, X_test, y_test)
            seconds = sum(distiller.history_["seconds"])
            rows.append({"way": way, "seed": seed, "accuracy": result.mean, "seconds": seconds})
            print(f"seed {seed}  {way:15s} {result}  {seconds:.1f} s", flush=True)
    for way in dict.fromkeys(row["way"] for row in rows):
        found = [100 * row["accuracy"] for row in rows if row["way"] == way]
        spread = f" ± {stdev(found):.1f}" if len(found) > 1 else ""
        print(f"{way}: {mean(found):.1f}{spread} % over {len(found)} seeds")
    report.write(args.json, "cpu", max_iter=args.max_iter, rows=rows)


if __name__ == "__main__":
    main()
