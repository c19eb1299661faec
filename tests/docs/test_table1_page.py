"""The page of Table 1: published numbers and ours, from the scripts' files."""

import json

import pytest
import table1_page
from tools import ROOT

from skdistill import all_distillers


def test_every_method_has_a_published_row_that_names_its_class(tmp_path):
    table1_page.write(tmp_path, tmp_path)
    names = ("table1", "table1_parametrized", "table1_fashion")
    text = "".join((tmp_path / f"{name}.txt").read_text(encoding="utf-8") for name in names)
    for name, _ in all_distillers():
        assert f"`skdistill.{name}`" in text, name
    papers = [*text.split("   * - ")]
    dsa = next(row for row in papers if row.startswith("DSA\n") and "13.9±0.3" in row)
    assert dsa.split("     - ")[2:5] == ["28.8±0.7\n", "52.1±0.5\n", "60.6±0.5\n"]
    # Where nothing was published there is no number.
    assert dsa.rstrip().endswith("14.4±2.0")
    kip = next(row for row in papers if row.startswith("KIP"))
    assert kip.count("- –") == 5


def test_columns_are_as_many_as_cells():
    published = table1_page.PUBLISHED
    for text, columns in (
        (published.TABLE_1, published.COLUMNS),
        (published.PARAMETRIZED, published.PARAMETRIZED_COLUMNS),
        (published.FASHION, published.FASHION_COLUMNS),
    ):
        for name, cells in published.rows(text).items():
            assert name in table1_page.HERE
            assert len(cells) == len(columns)


def methods_report(seeds):
    """Return a file of methods.py with two methods and a choice of real samples."""
    methods = {
        "herding": {"accuracy": [0.5, 0.0]},
        "mtt": {"accuracy": [0.6, 0.1], "accuracy by its own recipe": [0.7, 0.1], "steps": [9, 0]},
        # It diverged before the first step.
        "tesla": {"steps": [0, 0]},
        "RaTBPTTDistiller": {"accuracy": [0.8, 0.01], "steps": [9, 0]},
    }
    parameters = {"ipc": 1, "minutes": 3.0, "width": 32, "seeds": seeds}
    # Trajectory matching has all seeds, and the others one.
    rows = [{"method": name, "seed": 0} for name in methods]
    rows += [{"method": "mtt", "seed": seed} for seed in seeds[1:]]
    where = {"data": "Bits, whole", "machine": "2 cores, AVX2", "threads": 1}
    return where | {"parameters": parameters, "rows": rows, "summary": {"methods": methods}}


@pytest.mark.parametrize(
    ("seeds", "own", "networks"), [([0], "70.0", "60.0"), ([0, 1], "70.0 ± 10.0", "60.0 ± 10.0")]
)
def test_rows_of_methods_stand_best_first(tmp_path, seeds, own, networks):
    (tmp_path / "methods-bits.json").write_text(json.dumps(methods_report(seeds)))
    rows = list(table1_page.measured_rows(tmp_path))
    assert [row[1] for row in rows] == ["RaT-BPTT", "MTT", "herding", "TESLA"]
    run = "3 min, width 32, seeds: {}, 1 thread of 2 cores, AVX2"
    one = run.format(1)
    assert rows[0] == ["Bits", "RaT-BPTT", "1", one, "80.0", "–", "–", "``methods-bits``"]
    assert rows[1][3:6] == [run.format(len(seeds)), networks, own]
    assert rows[2][3].startswith("none, ")
    assert rows[3][4:7] == ["–", "–", "–"]


@pytest.mark.parametrize(
    ("width", "augmentation", "settings"),
    [
        (None, None, "window 30, unroll 40"),
        (16, "flip_rotate", r"width 16, window 30, unroll 40, augmentation flip\_rotate"),
    ],
)
def test_a_long_run_has_its_settings_and_not_the_threads_of_its_last_test(
    tmp_path, width, augmentation, settings
):
    parameters = {"ipc": 1, "window": 30, "unroll": 40, "augmentation": augmentation}
    report = {
        "data": "Bits",
        "machine": "2 cores",
        "threads": 2,
        "parameters": {} if width is None else {"width": width},
        "provenance": {"parameters": parameters},
        "results": {"distilled": {"mean": 0.5, "std": 0.01}},
        "curve": [{"seconds": 2700.0}],
    }
    (tmp_path / "table1-bits.json").write_text(json.dumps(report))
    (row,) = table1_page.measured_rows(tmp_path)
    run = f"45 min, {settings}, machine: 2 cores"
    assert row == ["Bits", "RaT-BPTT", "1", run, "50.0 ± 1.0", "–", "–", "``table1-bits``"]


def test_what_samples_are_made_of_is_told(tmp_path):
    rows = [
        {"name": name, "storage": 1, "seconds": 600.0, "accuracy": 0.5}
        for name in ("pixels", "learned labels", "tiles")
    ]
    report = {
        "data": "Bits",
        "machine": "2 cores",
        "threads": 1,
        "parameters": {"width": 16, "test_width": 32},
        "rows": rows,
    }
    (tmp_path / "parametrizations-bits.json").write_text(json.dumps(report))
    (row,) = table1_page.measured_rows(tmp_path)
    assert row[1:5] == [
        "RaT-BPTT with the tiles of IDC",
        "storage of 1",
        "10 min, width 16, tested by 32, 1 thread of 2 cores",
        "50.0",
    ]


def test_the_files_of_the_tree_are_read():
    results = ROOT / "examples" / "reproduce" / "results"
    rows = list(table1_page.measured_rows(results))
    assert all(len(row) == len(table1_page.HEADS) for row in rows)
    files = {row[-1].strip("`") for row in rows}
    assert {"table1-fashion-mnist-1", "kip-cifar10-folder-10"} <= files
