r"""Put a distilled set into the package, where skdistill.datasets.load_distilled finds it.

A result of table1.py is its report, ``.json``, and the samples beside it, ``.npz``. The samples
move into the package, together with what the report says of them; the report stays. ``digits`` is
distilled and compared here, with the settings of examples/plot_digits.py, in some four minutes.
A set of the same name and size is replaced: update the table of load_distilled's docstring.

    python examples/reproduce/publish.py digits
    python examples/reproduce/publish.py \
        examples/reproduce/results/table1-fashion-mnist-1-narrow.json
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path

import data
from digits import distill
from report import RESULTS, about, write
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from table1 import NETWORK, plain

from skdistill import DistilledDataset
from skdistill.datasets._ready import SETS
from skdistill.evaluation import compare

FASHION = "T-shirt/top,Trouser,Pullover,Dress,Coat,Sandal,Shirt,Sneaker,Bag,Ankle boot"
CIFAR = "airplane,automobile,bird,cat,deer,dog,frog,horse,ship,truck"
# By table1.py's names: the set's name, what it was distilled from, and its classes' names.
SOURCES = {
    "digits": (
        "digits",
        "three quarters of sklearn.datasets.load_digits(return_X_y=True), by "
        "train_test_split(X, y, stratify=y, random_state=0)",
        "zero,one,two,three,four,five,six,seven,eight,nine",
    ),
    "fashion-mnist": ("fashion-mnist", "the 60,000 training images, bytes", FASHION),
    "cifar10-folder": (
        "cifar10",
        "the 50,000 training images of a JPEG copy (quality 75) of CIFAR-10, in the layout of "
        "skdistill.datasets.fetch_cifar10",
        CIFAR,
    ),
}
WHITENED = (
    "The training images were whitened by ZCAWhitener(0.1, per_sample=True), which does not come "
    "with the set. Test images must be whitened by one that is fitted on the training images, best "
    "with dataclasses.replace(distilled, preprocessing=whitener); on other images networks do far "
    "worse than they could."
)


def main() -> None:
    """Publish one set."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("result", help="digits, or a report of table1.py")
    args = parser.parse_args()
    report_file = RESULTS / "digits-1.json" if args.result == "digits" else Path(args.result)
    if args.result == "digits":
        make_digits(report_file)
    print(publish(report_file, SETS))


def make_digits(report_file: Path) -> None:
    """Distill scikit-learn's digits as examples/plot_digits.py does, and write report and set."""
    X, y = load_digits(return_X_y=True)
    split = train_test_split(X, y, stratify=y, random_state=0)
    distilled = distill(1, 0, None, split)
    distilled.save(report_file.with_suffix(".npz"))
    comparison = compare(distilled, split[0], split[2], split[1], split[3], n_networks_whole=1)
    print(comparison)
    parameters = argparse.Namespace(dataset="digits", ipc=1, seed=0, zca=False)
    report = about(parameters, data.NAMES["digits"], distilled.provenance["device"])
    report["results"] = {name: plain(result) for name, result in comparison.results.items()}
    write(report_file, report | {"provenance": distilled.provenance})


def publish(report_file: Path, folder: Path) -> Path:
    """Move the set beside a report into a folder, with what the report says; return the file."""
    report = json.loads(report_file.read_text())
    samples = report_file.with_suffix(".npz")
    distilled = DistilledDataset.load(samples)
    name, source, class_names = SOURCES[report["parameters"]["dataset"]]
    known = {
        "name": name,
        "data": report["data"],
        "training_data": source,
        "preprocessing": WHITENED if report["parameters"]["zca"] else None,
        "class_names": class_names.split(","),
        "test_accuracy": report["results"]["distilled"] | {"architecture": NETWORK},
        "script": "examples/reproduce/" + ("publish.py" if name == "digits" else "table1.py"),
        "report": report_file.name,
    }
    published = replace(
        distilled,
        # What a user should train, even if the samples were distilled through another width.
        recipe=replace(distilled.recipe, architecture=NETWORK),
        provenance={**distilled.provenance, "about": known},
    )
    file = folder / f"{name}-{distilled.ipc}.npz"
    published.save(file)
    samples.unlink()
    return file


if __name__ == "__main__":
    main()
