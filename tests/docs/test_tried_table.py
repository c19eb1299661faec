"""The table of what was tried says what each setting changed, and what that brought."""

import json

import tried
from tools import ROOT


def test_settings_stand_beside_the_best(tmp_path):
    assert tried.tried_table(tmp_path) == "Nothing has been measured yet.\n"
    accuracies = {
        "window 20, width 16, augmentation dsa": 0.5,
        "window 20, width 32, augmentation dsa": 0.625,
        "window 30, width 32": 0.25,
    }
    report = {
        "data": "Bits",
        "parameters": {"ipc": 1, "minutes": 5.0},
        "rows": [{"setting": name} for name in accuracies],
        "summary": {
            "methods": {
                name: {"accuracy": [a, 0], "steps": [9, 0]} for name, a in accuracies.items()
            }
        },
    }
    (tmp_path / "settings-bits-1.json").write_text(json.dumps(report))
    rows = list(tried.rows_of(report))
    assert rows == [
        ["Bits, 1 per class", "5", "window 20, width 32, augmentation dsa", "62.5", "", "1", "9"],
        ["Bits, 1 per class", "5", "width 16", "50.0", "-12.5", "1", "9"],
        ["Bits, 1 per class", "5", "window 30, no augmentation", "25.0", "-37.5", "1", "9"],
    ]
    assert all(cell in tried.tried_table(tmp_path) for row in rows for cell in row)


def test_the_files_of_the_tree_are_read():
    results = ROOT / "examples" / "reproduce" / "results"
    assert tried.tried_table(results).count("width 16") >= 2
