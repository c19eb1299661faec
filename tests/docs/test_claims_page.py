"""The page of the claims: plan, rule and results, from the script and its files."""

import json
import re

import claims_page
import pytest
from claims_page import CLAIMS
from tools import ROOT


def test_the_page_has_what_is_planned_and_that_nothing_was_run(tmp_path):
    claims_page.write(tmp_path, tmp_path)
    folder = tmp_path / "claims"
    page = (ROOT / "docs" / "claims.rst").read_text(encoding="utf-8")
    included = re.findall(r"^\.\. include:: generated/claims/(.+)$", page, re.M)
    assert sorted(included) == sorted(path.name for path in folder.iterdir())
    for number, claim in CLAIMS.items():
        assert f"\n{number}. {claim.title}\n---" in page
        assert (folder / f"{number}-found.txt").read_text(encoding="utf-8") == claims_page.NOT_RUN
        asked = (folder / f"{number}-asked.txt").read_text(encoding="utf-8")
        for finding in claim.findings:
            assert claims_page.escape(finding.text) in asked
    assert (folder / "overview.txt").read_text(encoding="utf-8").count("not run yet") == 8


def test_results_are_shown_with_their_figures(tmp_path):
    pytest.importorskip("matplotlib")
    claim = CLAIMS[3]
    (part,) = claim.parts
    rows = []
    for seed in part.seeds:
        for k, name in enumerate(part.names):
            accuracy = [0.3, 0.4 - 0.02 * k + 0.001 * seed * (k + 1)]
            curve = {"step": [100, 200], "seconds": [10.0, 20.0], "accuracy": accuracy}
            curve["norm, median"] = [2.0, 1.0]
            machine = "here" if k else "there"
            rows.append({"method": name, "seed": seed, "curve": curve, "machine": machine})
    (tmp_path / part.file).write_text(json.dumps({"rows": rows}))
    claims_page.write(tmp_path / "generated", tmp_path)
    folder = tmp_path / "generated" / "claims"
    text = (folder / "3-found.txt").read_text(encoding="utf-8")
    # RaT-BPTT is first; the window that favors the first steps is last.
    assert text.startswith("**does not hold**")
    assert "RaT-BPTT, equal steps above BPTT, equal steps" in text
    assert re.search(r"\+1\.\d ± 0\.\d, asked: \+0\.5", text)
    assert "RaT-BPTT, equal time above BPTT, equal time: its rows are from different" in text
    (panels,) = [CLAIMS[3].lines([rows])]
    assert [y for _, y in panels][-1].startswith("norm of the meta-gradient")
    for name in ("3-statements.svg", "3-lines.svg"):
        assert f".. image:: /generated/claims/{name}" in text
        drawn = (folder / name).read_text(encoding="utf-8")
        assert drawn.lstrip().startswith("<?xml")
    # The same figure is the same file.
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    claims_page.write(tmp_path / "generated", tmp_path)
    assert before == {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    overview = (folder / "overview.txt").read_text(encoding="utf-8")
    assert "21 of 21" in overview
