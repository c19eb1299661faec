"""The deviation of whitened images, by which `skdistill.paper` converts learning rates.

The codes of MTT, FTD and DATM whiten pixels between 0 and 1 by kornia's ``ZCAWhitening(eps=0.1)``;
those of FRePo, RCIG and RFAD standardize every channel first, and add a tenth of the mean
eigenvalue. None standardizes what comes out, of which this prints the deviation (the root of the
mean of its square over channels), and the `ZCAWhitener` that does the same.

    python examples/benchmarks/whitened_deviation.py cifar10/train
"""

import argparse

import numpy as np
from report import write

from skdistill import ZCAWhitener
from skdistill.datasets import load_image_folder

CHANNELS = (0, 1, 2)
# What the codes add to the eigenvalues: kornia this, the others this share of their mean.
ADDED = 0.1


def deviation(X: np.ndarray) -> float:
    """Return the deviation of images with channels last."""
    return float(np.sqrt(X.var(axis=CHANNELS, dtype=np.float64).mean()))


def measure(X: np.ndarray) -> dict[str, float]:
    """Return what is printed, of pixels between 0 and 1."""
    mean_eigenvalue = float(X.var(axis=0, dtype=np.float64).mean())
    kornia = ZCAWhitener(ADDED / mean_eigenvalue, per_sample=False)
    standardized = (X - X.mean(axis=CHANNELS)) / X.std(axis=CHANNELS)
    return {
        "pixels": deviation(X),
        "regularization that does as kornia": kornia.regularization,
        "whitened as by kornia": deviation(kornia.fit_transform(X)),
        "standardized and whitened": deviation(
            ZCAWhitener(ADDED, per_sample=False).fit_transform(standardized)
        ),
    }


def main() -> None:
    """Print the deviations of a folder of images, and write them to a file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", help="a folder of images for each class")
    parser.add_argument("--per-class", type=int, default=1200, help="images of each class")
    parser.add_argument("--json", help="file to write")
    args = parser.parse_args()
    X, y = load_image_folder(args.folder, return_X_y=True)
    rng = np.random.default_rng(0)
    rows = [rng.permutation(np.flatnonzero(y == label))[: args.per_class] for label in np.unique(y)]
    X = np.float32(X[np.concatenate(rows)]) / 255
    found = {name: round(value, 4) for name, value in measure(X).items()}
    print(f"{len(X)} images")
    for name, value in found.items():
        print(f"{name}: {value}")
    write(args.json, "cpu", images=len(X), deviations=found)


if __name__ == "__main__":
    main()
