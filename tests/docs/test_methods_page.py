"""The page of what each method can: its tables are what the classes say."""

import json

import methods_page
import pytest

from skdistill import all_distillers
from skdistill.distillers import BaseDistiller
from skdistill.distillers._features import FEATURES


class Refusing(BaseDistiller):
    """A distiller that can do little."""

    _needs_network = False
    _refuses = {"tables": "it needs pixels", "learned labels": "no label enters its loss"}


def cells(text, name):
    """Return the cells of the row of a class."""
    lines = [line[5:].removeprefix("- ") for line in text.splitlines()]
    start = next(i for i, line in enumerate(lines) if line.endswith(f"skdistill.{name}`"))
    return lines[start : start + len(methods_page.HEADS)]


def test_every_method_has_a_row_of_what_its_class_says(tmp_path):
    methods_page.write(tmp_path, tmp_path)
    text = (tmp_path / "methods.txt").read_text(encoding="utf-8")
    for name, kind in all_distillers():
        row = cells(text, name)
        assert row[4] == ("yes" if kind._needs_network else "no")
        # Each says what a step is, for this table.
        assert row[5] != "–", name
    assert cells(text, "DistributionMatchingDistiller")[1:4] == ["yes", "yes", "if asked for"]
    assert "cifar10: 1, 10, 50" in cells(text, "RaTBPTTDistiller")[8]
    features = (tmp_path / "features.txt").read_text(encoding="utf-8")
    assert all(name in features for name in FEATURES)


def test_refusals_are_in_the_tables():
    row = cells(methods_page.method_table([Refusing]), "Refusing")
    assert row[1:5] == ["no", "yes", "no", "no"]
    text = methods_page.refusal_table([Refusing])
    assert "- learned labels\n     - no label enters its loss" in text
    assert methods_page.refusal_table([]) == "No method refuses any.\n"


def test_measured_methods_stand_side_by_side_as_far_as_files_are_there(tmp_path):
    assert methods_page.measured_table(tmp_path) == "Nothing has been measured yet.\n"
    digits, fashion = (tmp_path / name for name in methods_page.MEASURED)
    parameters = {"ipc": 1, "minutes": 10.0, "seeds": [0], "width": 32, "networks": 10}
    kip = {"accuracy": [0.75, 0.0], "accuracy by kernel regression": [0.5, 0.25], "steps": [7, 0]}
    report = {"data": "Fashion-MNIST", "parameters": parameters, "threads": 1}
    report["summary"] = {"methods": {"herding": {"accuracy": [0.625, 0]}, "KIPDistiller": kip}}
    report["rows"] = [{"method": "herding"}, {"method": "KIPDistiller"}]
    fashion.write_text(json.dumps(report))
    alone = methods_page.measured_table(tmp_path)
    assert alone.startswith("* Fashion-MNIST: 1 per class, 10 minutes for each method and seed")
    assert "on one thread, seeds 0, distilled through networks of width 32" in alone
    # One seed has no deviation.
    assert "* - herding\n     - 62.5\n     - –\n     - –\n     - –\n" in alone
    row = "* - `skdistill.KIPDistiller`\n     - 75.0\n     - –\n     - 50.0\n     - 7\n"
    assert row in alone

    more = parameters | {"minutes": 3.0, "seeds": [0, 1, 2], "width": None}
    report |= {
        "parameters": more,
        "data": "digits, a quarter held out",
        "summary": {"methods": {"KIPDistiller": kip}},
        "rows": [{"method": "KIPDistiller"}] * 3,
    }
    digits.write_text(json.dumps(report))
    both = methods_page.measured_table(tmp_path)
    assert "digits: 1 per class, 3 minutes" in both
    assert "seeds 0, 1, 2, distilled through networks of the usual width" in both
    # A method that one file lacks has empty cells there.
    assert "* - herding\n     - –\n     - –\n     - –\n     - –\n     - 62.5\n" in both
    row = ["75.0 ± 0.0", "–", "50.0 ± 25.0", "7", "75.0", "–", "50.0", "7"]
    assert "".join(f"     - {text}\n" for text in row) in both


@pytest.mark.parametrize("name", [name for name, _ in all_distillers()])
def test_classes_refuse_features_by_their_names(name):
    assert dict(all_distillers())[name]._refuses.keys() <= FEATURES.keys()
