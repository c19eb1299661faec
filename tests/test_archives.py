"""What .ci/archives.py says of wheels and source archives that are not as they should be.

``.ci/run`` runs it with those that are built.
"""

import io
import tarfile
import zipfile

import pytest
import tools
from tools import ROOT

import skdistill

archives = tools.load(ROOT / ".ci" / "archives.py")

NATIVE = "skdistill/_engine/csrc/native.c"
PACKAGE = {
    "skdistill/__init__.py",
    NATIVE,
    "skdistill/datasets/sets/digits-1.npz",
}
ABOUT = {f"skdistill-0.2.0.dist-info/{name}" for name in ("METADATA", "RECORD", "licenses/LICENSE")}
WHEEL = PACKAGE | ABOUT | {"skdistill-0.2.0.dist-info/entry_points.txt"}
SOURCES = {
    *PACKAGE,
    *archives.SOURCES,
    "skdistill.egg-info/PKG-INFO",
    "skdistill.egg-info/SOURCES.txt",
    "tests/test_windows.py",
}


def write(folder, kind, names):
    """Write an archive of empty files, as `build` calls it."""
    path = folder / f"skdistill-0.2.0{kind}"
    if kind == ".whl":
        with zipfile.ZipFile(path, "w") as file:
            for name in names:
                file.writestr(name, "")
    else:
        with tarfile.open(path, "w:gz") as file:
            for name in names:
                file.addfile(tarfile.TarInfo(f"skdistill-0.2.0/{name}"), io.BytesIO())
    return path


@pytest.mark.parametrize(
    ("kind", "names", "change", "words"),
    [
        (".whl", WHEEL, set(), []),
        (".tar.gz", SOURCES, set(), []),
        (
            ".whl",
            WHEEL,
            {NATIVE},
            [f"lacks {NATIVE}"],
        ),
        (".whl", WHEEL, ABOUT, [f"lacks {name}" for name in sorted(ABOUT)]),
        (".whl", WHEEL, {"tests/test_windows.py"}, ["has tests/test_windows.py, which does not"]),
        (
            ".whl",
            WHEEL,
            {"skdistill/results.json", "examples/reproduce/results/a.json"},
            ["has examples/reproduce/results/a.json", "has skdistill/results.json"],
        ),
        (
            ".tar.gz",
            SOURCES,
            {"skdistill/datasets/sets/digits-1.npz", "LICENSE", "docs/index.rst"},
            [
                "lacks LICENSE",
                "lacks skdistill/datasets/sets/digits-1.npz",
                "has docs/index.rst, which does not",
            ],
        ),
    ],
)
def test_what_is_missing_or_too_much_is_named(tmp_path, kind, names, change, words):
    # What is there is taken out, what is not is put in.
    path = write(tmp_path, kind, names ^ change)
    found = archives.problems(path, PACKAGE, "0.2.0")
    assert len(found) == len(words)
    assert all(text.startswith(f"{path.name} {word}") for text, word in zip(found, words))


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="a copy of the files without git's list")
def test_the_package_is_what_git_knows():
    files = archives.package_files()
    assert {NATIVE, "skdistill/py.typed"} <= files
    assert sum(name.startswith("skdistill/datasets/sets/") for name in files) >= 3
    assert all((ROOT / name).is_file() for name in files)


def test_the_version_is_that_of_the_package():
    assert archives.version_here() == skdistill.__version__


@pytest.mark.parametrize(
    ("tag", "heading", "words"),
    [
        ("v0.2.0", "0.2.0 (2026-12-01)", []),
        ("v0.2.1", "0.2.0 (2026-12-01)", ["the tag must be v0.2.0"]),
        ("0.2.0", "0.2.0 (2026-12-01)", ["the tag must be v0.2.0"]),
        ("v0.2.0", "0.2.0 (not released)", ["docs/changelog.rst has no section"]),
        ("v0.2.0", "0.1.0 (2026-12-01)", ["docs/changelog.rst has no section"]),
    ],
)
def test_a_release_has_its_tag_and_its_changes(tag, heading, words):
    found = archives.tag_problems(tag, "0.2.0", f"Changelog\n===\n\n{heading}\n------\n\n* A.\n")
    assert len(found) == len(words)
    assert all(text.startswith(word) for text, word in zip(found, words))
