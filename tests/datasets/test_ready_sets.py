"""Distilled sets that come with the package: they are as documented, and in the wheel."""

import configparser
import json
import subprocess
import sys

import numpy as np
import pytest
from sklearn.model_selection import train_test_split
from tools import ROOT

from skdistill.datasets import list_distilled, load_digits, load_distilled
from skdistill.datasets._ready import SETS
from skdistill.evaluation import evaluate


@pytest.mark.parametrize(("name", "ipc"), list_distilled())
def test_a_set_is_what_its_report_and_the_docstring_say(name, ipc):
    distilled = load_distilled(name, ipc)
    provenance = {**distilled.provenance}
    known = provenance.pop("about")
    report = json.loads((ROOT / "examples/reproduce/results" / known["report"]).read_text())
    assert provenance == report["provenance"]
    assert known["data"] == report["data"]
    accuracy = known["test_accuracy"]
    assert accuracy == {**report["results"]["distilled"], "architecture": "convnet"}
    assert (distilled.ipc, len(distilled)) == (ipc, accuracy["n_samples"])
    assert len(known["class_names"]) == len(distilled.classes)
    # The loaded set can be evaluated.
    assert distilled.recipe.architecture == "convnet"
    assert distilled.preprocessing is None
    assert ("whitened" in known["data"]) == (known["preprocessing"] is not None)

    start = f'* - "{name}"\n         - {ipc}\n'
    row = "\n".join((str(ipc), load_distilled.__doc__.split(start)[1].split("* - ")[0])).split("\n")
    cells = [line.strip().removeprefix("- ") for line in row if line.strip()][:3]
    assert cells[0] == str(ipc)
    assert cells[1].startswith(f"{distilled.X.shape}, ")
    assert ("whitened" in cells[1]) == ("whitened" in known["data"])
    assert cells[2] == f"{100 * accuracy['mean']:.1f} ± {100 * accuracy['std']:.1f}"


def test_the_digits_reach_the_accuracy_that_they_claim():
    X, y = load_digits(return_X_y=True)
    _, X_test, _, y_test = train_test_split(X.reshape(-1, 64), y, stratify=y, random_state=0)
    # A third of the steps of the recipe.
    result = evaluate(load_distilled("digits"), X_test, y_test, n_networks=1, steps=100)
    assert result.mean > 0.88


def test_images_that_were_not_whitened_are_noticed():
    images = np.random.default_rng(0).integers(0, 256, (20, 32, 32, 3), dtype=np.uint8)
    distilled = load_distilled("cifar10")
    with pytest.warns(UserWarning, match="the same fitted whitening"):
        distilled.standardize(images)


@pytest.mark.parametrize(
    ("name", "ipc"), [("mnist", 1), ("digits", 2), ("../sets/digits", 1), (None, 1)]
)
def test_unknown_sets_are_an_error_that_lists_the_others(name, ipc):
    with pytest.raises(ValueError, match="'cifar10' with ipc=1, 'digits' with ipc=1, 'fashion-"):
        load_distilled(name, ipc)


def test_the_wheel_holds_every_set():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    pattern = config["options.package_data"]["skdistill.datasets"]
    packed = set((ROOT / "skdistill" / "datasets").glob(pattern))
    assert {file.name for file in packed} == {file.name for file in SETS.iterdir()}
    fashion = {("fashion-mnist", ipc) for ipc in (1, 10)}
    assert {("digits", 1), ("cifar10", 1), *fashion} <= set(list_distilled())
    # The download of the package stays small.
    assert sum(file.stat().st_size for file in packed) < 2**20


NUMPY_ALONE = """
import sys

class NumPyAlone:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] not in {"numpy", "skdistill", *sys.stdlib_module_names}:
            raise ModuleNotFoundError(f"{name} is not for this process", name=name)

sys.meta_path.insert(0, NumPyAlone())
from skdistill import DistilledDataset
from skdistill.datasets import list_distilled, load_distilled

for name, ipc in list_distilled():
    distilled = load_distilled(name, ipc)
    distilled.save(f"{sys.argv[1]}/set.npz")
    again = DistilledDataset.load(f"{sys.argv[1]}/set.npz")
    assert again.standardize(distilled.X).tolist() == distilled.standardize(distilled.X).tolist()
    assert again.encode_labels(distilled.y).tolist() == ipc * list(range(10))
    assert "<img" in again._repr_html_() and again.card() == distilled.card()
    assert again.subset(1).with_hard_labels().y.tolist() == distilled.y[:10].tolist()
print("NumPy will do")
"""


def test_numpy_alone_loads_saves_and_standardizes(tmp_path):
    # python, not pytest: this process has the others already.
    command = [sys.executable, "-c", NUMPY_ALONE, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (0, "NumPy will do\n"), done.stderr


def test_a_set_whose_preprocessing_is_not_installed_says_so():
    path = ROOT / "tests" / "old_files" / "0.1.0" / "sets" / "scaled.npz"
    start = NUMPY_ALONE[: NUMPY_ALONE.index("from skdistill import")]
    code = f"{start}from skdistill import DistilledDataset\nDistilledDataset.load({str(path)!r})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert "ImportError: " in done.stderr
    assert "keeps its preprocessing, which needs sklearn: install it" in done.stderr
