"""The code in README can be pasted: the Python of each part runs, at a smaller size."""

import re

import pandas as pd
import pytest
from tools import ROOT

README = (ROOT / "README.md").read_text()
QUICK = "max_iter=2, n_networks=1, eval_steps=5, window=2, unroll=4"
# Replacements that make each part with Python in it smaller.
SMALLER = {
    "From an array": {"random_state=0)\nprint": f"random_state=0, {QUICK})\nprint"},
    "From a CSV file with text in it": {'init="kmeans"': f'init="kmeans", {QUICK}'},
    "From a folder of pictures": {"max_iter=100": QUICK},
    "What to choose": {
        "max_iter=20, n_networks=3": QUICK,
        "[5, 20]": "[2]",
        "[20, 40]": "[2, 4]",
        "n_jobs=2": "n_jobs=1",
        'checkpoint="run.npz"': f'checkpoint="run.npz", {QUICK}',
    },
    "Use a set elsewhere": {},
}
LEAVES = {
    "From an array": ["digits.npz"],
    "From a CSV file with text in it": ["nine-wines.csv", "wine.csv", "wine.npz"],
    "From a folder of pictures": ["pictures", "pictures.npz", "three-pictures"],
    "What to choose": ["run.npz"],
    "Use a set elsewhere": [],
}


def parts():
    """Return the Python of README by its heading."""
    texts = dict(part.split("\n", 1) for part in re.split(r"^## ", README, flags=re.M)[1:])
    code = {name: re.findall(r"```python\n(.*?)```", text, re.S) for name, text in texts.items()}
    return {name: "\n".join(blocks) for name, blocks in code.items() if blocks}


def test_every_part_with_python_is_run():
    assert list(parts()) == list(SMALLER)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("part", SMALLER)
def test_python_can_be_pasted(part, digits, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code = parts()[part]
    for text, replacement in SMALLER[part].items():
        assert code.count(text) == 1, text
        code = code.replace(text, replacement)
    # This part continues with the digits of the part before.
    names = {"X_test": digits[1], "y_test": digits[3]} if part == "Use a set elsewhere" else {}
    exec(code, names)
    assert {*LEAVES[part]} == {p.name for p in tmp_path.iterdir() if not p.name.startswith(".")}
    if part == "From a CSV file with text in it":
        rows, wine = pd.read_csv("nine-wines.csv"), pd.read_csv("wine.csv")
        assert rows.columns.tolist() == wine.columns.tolist()
        assert rows["target"].tolist() == [0, 1, 2] * 3
        assert set(rows["hue"]) <= set(wine["hue"])
    if part == "What to choose":
        assert names["X_white"].shape == (10, 64)
        assert names["X_2"].shape == (20, 64)
