"""The session of the documentation: its commands run, and print what the page says."""

import re
import shlex
from inspect import cleandoc

import pandas as pd
import pytest
from running import QUICK, run
from tools import ROOT

from skdistill import DistilledDataset

PAGE = (ROOT / "docs/command_line.rst").read_text(encoding="utf-8")
NUMBER = r"\d+(?:\.\d+)?(?:e[-+]?\d+)?"
# Points of accuracy by which networks and runs may differ between machines.
MARGIN = 15
# What the commands and the Python of the page leave in the folder.
LEAVES = {
    "nine-wines.csv", "pictures", "pictures.md", "pictures.npz", "pictures.png", "run.npz",
    "test-pictures", "test-wines.csv", "three-pictures", "wines.csv", "wines.md", "wines.npz",
}  # fmt: skip


def blocks(language):
    """Return the code blocks of the page in a language."""
    pattern = rf"^\.\. code-block:: {language}\n\n((?:   .*\n|\n)+)"
    return [cleandoc(block) for block in re.findall(pattern, PAGE, re.M)]


def session():
    """Return the commands of the page, as words, and what each of them prints."""
    found = []
    for block in blocks("console"):
        for part in re.split(r"^\$ ", block, flags=re.M)[1:]:
            line, _, output = part.partition("\n")
            program, *words = shlex.split(line)
            assert program == "skdistill"
            found.append((words, output.strip()))
    return found


def smaller(words):
    """Return a command whose run, if it has one, takes a moment."""
    if words[0] != "distill":
        return words
    kept = " ".join(words)
    for setting in QUICK:
        name = setting.removeprefix("--set=").partition("=")[0]
        kept = re.sub(rf" --set {name}=\S+", "", kept)
    return [*kept.split(), *QUICK]


def pattern(expected):
    """Return a pattern of an output: numbers and the device may be others, dots are any lines."""
    lines = []
    for line in expected.splitlines():
        if line == "...":
            lines.append("(?:.*\n)*")
            continue
        # The width of a column depends on its numbers.
        text = re.sub(r"\s+", " ", line)
        parts = [re.escape(part) for part in re.split(NUMBER, text)]
        lines.append(NUMBER.join(parts).replace(r"\ ", r"\s+").replace("cpu", r"\w+") + "\n")
    return "".join(lines)


def play(change):
    """Run the session in the current folder; return what each command printed."""
    exec(blocks("python")[0], {})
    printed = []
    for words, expected in session():
        output = run(*change(words)).output
        assert re.fullmatch(pattern(expected), output), (words, output)
        printed.append(output)
    return printed


def test_the_page_has_a_session():
    used = [words[0] for words, _ in session()]
    assert {"distill", "evaluate", "compare", "show", "export", "info"} <= set(used)
    assert used.count("distill") == 3


def test_the_session_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    play(smaller)
    assert {path.name for path in tmp_path.iterdir() if path.name[0] != "."} == LEAVES
    wines, rows = pd.read_csv("wines.csv"), pd.read_csv("nine-wines.csv")
    assert rows.columns.tolist() == wines.columns.tolist()
    assert set(rows["hue"]) <= {"brick", "ruby", "purple"}
    card = (tmp_path / "pictures.md").read_text(encoding="utf-8")
    assert card.startswith("# 3 distilled images of 3 classes")
    assert "Test accuracy: **not" not in card
    assert "| data | pictures |" in card
    assert len(list(tmp_path.glob("three-pictures/*/*.png"))) == 3
    assert DistilledDataset.load("pictures.npz").X.shape == (3, 16, 16)


@pytest.mark.slow
def test_the_session_runs_as_it_stands(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    printed = play(list)
    accuracies = rf"({NUMBER}) ± {NUMBER}"
    compared = 0
    for (words, expected), output in zip(session(), printed):
        if words[0] in ("evaluate", "compare"):
            said, got = (re.findall(accuracies, text) for text in (expected, output))
            compared += len(said)
            assert [float(a) for a in got] == pytest.approx([float(a) for a in said], abs=MARGIN)
    assert compared == 6
