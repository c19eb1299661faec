"""Distilled sets that come with the package. Needs only NumPy."""

from pathlib import Path

from ..distilled._dataset import DistilledDataset

# Made by examples/reproduce/publish.py: one file per set, <name>-<samples per class>.npz.
SETS = Path(__file__).parent / "sets"


def load_distilled(name: str, ipc: int = 1) -> DistilledDataset:
    """Load a distilled set that comes with the package.

    .. list-table::
       :header-rows: 1

       * - `name`
         - `ipc`
         - samples
         - test accuracy (%)
       * - "digits"
         - 1
         - (10, 64), from 0 to 16
         - 93.3 ± 0.9
       * - "fashion-mnist"
         - 1
         - (10, 28, 28), from 0 to 255
         - 81.0 ± 0.4
       * - "fashion-mnist"
         - 10
         - (100, 28, 28), from 0 to 255
         - 86.7 ± 0.3
       * - "cifar10"
         - 1
         - (10, 32, 32, 3), whitened
         - 45.8 ± 0.4

    The accuracy is that of ten ConvNets, mean ± standard deviation, trained as the set's recipe
    says and tested on all test images. All were distilled by `RaTBPTTDistiller` on a CPU, within
    75 minutes of one core or, with ten samples per class, in six hours.
    ``load_distilled(name).provenance`` has method, parameters, versions and a fingerprint of the
    training data; under "about" it describes the data, and has the script, the names of the classes
    and the accuracy.

    * **digits** is README's first example, in one thread. Training data: three quarters of
      scikit-learn's digits, ``train_test_split(*sklearn.datasets.load_digits(return_X_y=True),
      stratify=y, random_state=0)``, flat.
    * **fashion-mnist** was made from the training images of `fetch_fashion_mnist`.
    * **cifar10** was made from the training images of a JPEG copy of CIFAR-10, in the layout of
      `fetch_cifar10`, **whitened** by ``ZCAWhitener(0.1, per_sample=True)``. The whitener, a matrix
      of 37 MB, does not come with it. Test images must be whitened by the same one, or networks do
      far worse than they could; the example shows how to fit it again and keep it with the set.

    Parameters
    ----------
    name : {"digits", "fashion-mnist", "cifar10"}
        The data from which it was distilled.
    ipc : int, default=1
        Samples per class.

    Returns
    -------
    DistilledDataset

    Raises
    ------
    ValueError
        If there is no such set. The message lists the sets.

    See Also
    --------
    list_distilled : Names and sizes of the sets.
    DistilledDataset.standardize : Makes test samples ready for a network trained on a set.
    DistilledDataset.card : All that is known of a set.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skdistill.datasets import load_distilled
    >>> from skdistill.evaluation import evaluate
    >>> digits = load_distilled("digits")
    >>> digits
    DistilledDataset(ipc=1, n_classes=10, X=float64(10, 64), y=int64(10,))
    >>> X, y = load_digits(return_X_y=True)
    >>> result = evaluate(digits, X, y, n_networks=1, steps=50)
    >>> result.mean > 0.6
    True

    CIFAR-10, on images as they come:

    >>> from dataclasses import replace
    >>> from skdistill import ZCAWhitener
    >>> from skdistill.datasets import fetch_cifar10
    >>> X_train, _ = fetch_cifar10(return_X_y=True)  # doctest: +SKIP
    >>> whitener = ZCAWhitener(0.1, per_sample=True).fit(X_train)  # doctest: +SKIP
    >>> cifar10 = replace(load_distilled("cifar10"), preprocessing=whitener)  # doctest: +SKIP
    >>> X_test, y_test = fetch_cifar10(subset="test", return_X_y=True)  # doctest: +SKIP
    >>> evaluate(cifar10, X_test, y_test)  # doctest: +SKIP
    """
    files = _files()
    if (name, ipc) not in files:
        known = ", ".join(f"{n!r} with ipc={k}" for n, k in sorted(files))
        raise ValueError(
            f"name={name!r}, ipc={ipc!r} must be a set that comes with the package: {known}."
        )
    return DistilledDataset.load(files[name, ipc])


def list_distilled() -> list[tuple[str, int]]:
    """Return name and samples per class of all sets that `load_distilled` knows.

    Examples
    --------
    >>> from skdistill.datasets import list_distilled
    >>> ("digits", 1) in list_distilled()
    True
    """
    return sorted(_files())


def _files() -> dict[tuple[str, int], Path]:
    parts = {file: file.stem.rpartition("-") for file in SETS.glob("*.npz")}
    return {(name, int(ipc)): file for file, (name, _, ipc) in parts.items()}
