"""The pages of several versions beside each other; ``.ci/run`` builds those of this one."""

import json
import subprocess
import sys
from urllib.parse import urljoin

import links
import pytest
import versions
from tools import ROOT


def write_site(folder, *names):
    for name in names:
        (folder / name).mkdir()
        (folder / name / "index.html").write_text(f"<p>{name}</p>")
    versions.write_list(folder, "/skdistill/")
    return json.loads((folder / "versions.json").read_text())


def test_the_menu_has_what_is_there(tmp_path):
    (tmp_path / "0.3.0").mkdir()  # without pages
    (tmp_path / "notes").mkdir()
    entries = write_site(tmp_path, "0.2.0", "0.10.0", "dev", "0.2.1", "pictures")
    assert [entry["version"] for entry in entries] == ["dev", "0.10.0", "0.2.1", "0.2.0"]
    # The theme warns on the pages of all but the one that it is to prefer.
    assert [entry["version"] for entry in entries if entry.get("preferred")] == ["0.10.0"]
    assert entries[1]["name"] == "0.10.0 (stable)"
    # From a page in a folder of its version, the menu leads to the same page of another.
    page = "user_guide/what.html"
    here = f"https://host/skdistill/dev/{page}"
    assert urljoin(here, entries[1]["url"] + page) == f"https://host/skdistill/0.10.0/{page}"
    assert links.check(tmp_path)[0] == []
    assert "url=0.10.0/index.html" in (tmp_path / "index.html").read_text()


def test_without_a_release_the_site_leads_to_what_is_there(tmp_path):
    (entry,) = write_site(tmp_path, "dev")
    assert entry == {"name": "dev", "version": "dev", "url": "/skdistill/dev/"}
    assert "url=dev/index.html" in (tmp_path / "index.html").read_text()
    assert links.check(tmp_path)[0] == []


@pytest.mark.parametrize(
    ("version", "folder"), [("0.2.0", "0.2.0"), ("0.3.0.dev0", "dev"), ("0.3.0rc1", "dev")]
)
def test_pages_find_the_list_and_their_place_in_it(tmp_path, version, folder):
    entries = write_site(tmp_path, versions.folder_of(version))
    options = versions.menu(version)["switcher"]
    assert options["version_match"] == entries[0]["version"] == folder
    # The theme looks for it from the root of the version.
    assert urljoin(f"https://host/a/{folder}/", options["json_url"]) == (
        "https://host/a/versions.json"
    )


def test_a_release_is_not_built_again(tmp_path):
    write_site(tmp_path, "0.2.0")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.*") if path.is_file()}
    with pytest.raises(SystemExit, match=r"0\.2\.0 is there already; remove it"):
        versions.build(tmp_path, "0.2.0", [])
    assert {p: p.read_bytes() for p in tmp_path.rglob("*.*") if p.is_file()} == before


def build_with(monkeypatch, run):
    """Take a function for Sphinx, which gets the folder of the pages."""
    monkeypatch.setattr(versions.subprocess, "run", lambda command, check: run(command[-1]))


def test_a_build_that_fails_leaves_the_pages_that_were_there(tmp_path, monkeypatch):
    write_site(tmp_path, "dev")

    def fail(pages):
        raise subprocess.CalledProcessError(2, "sphinx")

    build_with(monkeypatch, fail)
    with pytest.raises(subprocess.CalledProcessError):
        versions.build(tmp_path, "dev", [])
    assert versions.versions_in(tmp_path) == ["dev"]
    # Nothing else is left, hidden or not.
    assert {path.name for path in tmp_path.iterdir()} == {"dev", "index.html", "versions.json"}


def test_new_pages_take_the_place_of_all_old_ones(tmp_path, monkeypatch):
    write_site(tmp_path, "dev")
    (tmp_path / "dev" / "gone.html").write_text("")

    def write(pages):
        (tmp_path / pages).mkdir()
        (tmp_path / pages / "index.html").write_text("new")

    build_with(monkeypatch, write)
    versions.build(tmp_path, "dev", [])
    assert [path.name for path in (tmp_path / "dev").iterdir()] == ["index.html"]
    assert (tmp_path / "dev" / "index.html").read_text() == "new"


def test_a_base_that_would_lead_nowhere_is_refused(tmp_path):
    command = [sys.executable, ROOT / "docs" / "versions.py", tmp_path, "--base", "skdistill"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "--base must be a path or a URL that ends with '/'; got 'skdistill'" in done.stderr
