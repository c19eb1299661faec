"""The table of what was tried says what each setting changed, and what that brought."""

import json

import pytest
import tried
from tools import ROOT


@pytest.mark.parametrize("clipping", ["robust", "feng23"])
def test_settings_stand_beside_the_best(tmp_path, clipping):
    assert tried.tried_table(tmp_path) == "Nothing has been measured yet.\n"
    accuracies = {
        "window 20, width 16, augmentation dsa": 0.5,
        "window 20, width 32, augmentation dsa": 0.625,
        "window 30, width 32": 0.25,
    }
    report = {
        "data": "Bits",
        "parameters": {"ipc": 1, "minutes": 5.0, "clip_norm": clipping},
        "rows": [
            *({"setting": name, "seed": 0, "accuracy": a} for name, a in accuracies.items()),
            # The last has one seed.
            *({"setting": name, "seed": 1, "accuracy": 0.75} for name in list(accuracies)[:2]),
        ],
        "summary": {
            "methods": {
                name: {"accuracy": [a, 0], "steps": [9, 0]} for name, a in accuracies.items()
            }
        },
    }
    (tmp_path / "settings-bits-1.json").write_text(json.dumps(report))
    data = "Bits, 1 per class"
    data += ", clipped as in the paper's code" if clipping == "feng23" else ""
    rows = list(tried.rows_of(report))
    assert rows == [
        [data, "5", "window 20, width 32, augmentation dsa", "68.8", "", "2", "9"],
        [data, "5", "width 16", "62.5", "-6.2", "2", "9"],
        # By the seed that both have.
        [data, "5", "window 30, no augmentation", "25.0", "-37.5", "1", "9"],
    ]
    assert all(cell in tried.tried_table(tmp_path) for row in rows for cell in row)


def test_the_files_of_the_tree_are_read():
    results = ROOT / "examples" / "reproduce" / "results"
    assert tried.tried_table(results).count("width 16") >= 2
