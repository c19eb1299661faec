"""What the commands do with a set: evaluate, compare, show, export, info, doctor."""

import json
import os
import re
import shutil
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from running import QUICK, people, run, skdistill, write_pictures

import skdistill as package
from skdistill import DistilledDataset
from skdistill._command_line.compare import BASELINES
from skdistill._files import npz as _npz
from skdistill.evaluation import BASELINES as CORESETS
from skdistill.evaluation import WHOLE, compare, evaluate


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder with a table, pictures, and a set of each."""
    folder = tmp_path_factory.mktemp("sets")
    people().to_csv(folder / "train.csv", index=False)
    people(seed=1).to_csv(folder / "test.csv", index=False)
    write_pictures(folder / "pictures")
    words = ("--target=bought", "--ipc=2", "--seed=0", *QUICK)
    run("distill", folder / "train.csv", *words, "-o", folder / "rows.npz")
    run("distill", folder / "pictures", "--seed=0", *QUICK, "-o", folder / "images.npz")
    return folder


@pytest.fixture
def in_folder(folder, monkeypatch):
    """Go to this folder."""
    monkeypatch.chdir(folder)


def tables():
    """Return the tables as Python would read them."""
    frames = [pd.read_csv(name, dtype={"code": str}) for name in ("train.csv", "test.csv")]
    return [part for frame in frames for part in (frame.drop(columns="bought"), frame["bought"])]


@pytest.mark.usefixtures("in_folder")
def test_evaluate_says_what_python_says(tmp_path):
    distilled = DistilledDataset.load("rows.npz")
    expected = evaluate(distilled, *tables()[2:])
    words = ("evaluate", "rows.npz", "test.csv")
    assert run(*words).stdout == f"Test accuracy: {expected}\n"
    found = json.loads(run(*words, "--json").stdout)
    assert found["accuracies"] == expected.accuracies.tolist()
    assert (found["mean"], found["steps"], found["n_samples"]) == (expected.mean, 5, 4)
    card = tmp_path / "card.md"
    assert run(*words, "--card", card).stdout.endswith(f"Wrote {card}.\n")
    assert card.read_text(encoding="utf-8") == distilled.card(expected)
    assert skdistill(*words, "--card", card).exit_code == 2
    run(*words, "--card", card, "--overwrite")


@pytest.mark.usefixtures("in_folder")
def test_evaluate_in_other_ways():
    words = ("evaluate", "images.npz", "pictures", "--json")
    options = ("--steps=3", "--networks=1", "--architecture=mlp", "--device=cpu")
    found = json.loads(run(*words, *options).stdout)
    assert (found["steps"], len(found["accuracies"])) == (3, 1)
    found = json.loads(run("evaluate", "rows.npz", "test.csv", "--ipc=1", "--json").stdout)
    assert found["n_samples"] == 2
    result = skdistill(*words, "--protocol=dm", "--steps=3")
    assert (result.exit_code, "protocol" in result.stderr) == (2, True)
    assert skdistill(*words, "--protocol=unknown").exit_code == 2
    assert skdistill("evaluate", "rows.npz", "test.csv", "--ipc=3").exit_code == 2


@pytest.mark.usefixtures("in_folder")
def test_unknown_labels_are_a_line_on_standard_error(tmp_path):
    people().assign(bought="perhaps").to_csv(tmp_path / "test.csv", index=False)
    result = run("evaluate", "rows.npz", tmp_path / "test.csv", "--json")
    assert json.loads(result.stdout)["mean"] == 0
    assert result.stderr.startswith("Warning: 40 of 40 samples have labels that were not in fit")
    assert ".py" not in result.stderr


@pytest.mark.usefixtures("in_folder")
def test_compare_says_what_python_says():
    assert list(BASELINES.values()) == [*CORESETS, WHOLE]
    sets = {"rows": DistilledDataset.load("rows.npz")}
    X_train, y_train, X_test, y_test = tables()
    rows = list(CORESETS)
    expected = compare(sets, X_train, y_train, X_test, y_test, baselines=rows)
    words = ("compare", "rows.npz", "--train=train.csv", "--test=test.csv")
    assert run(*words).stdout == f"{expected}\n"
    found = json.loads(run(*words, "--json", "--baseline=herding").stdout)
    assert list(found) == ["rows", "herding"]
    assert found["herding"]["recipe"]["mean"] == expected["herding"].mean


@pytest.mark.usefixtures("in_folder")
def test_several_sets_are_compared_by_several_protocols(tmp_path):
    # Two sets of one name are told apart by their paths.
    distilled = DistilledDataset.load("rows.npz")
    distilled.subset(1).save(tmp_path / "rows.npz")
    other = str(tmp_path / "rows.npz")
    words = ("--train=train.csv", "--test=test.csv", "--networks=1", "--json", "--target=bought")
    result = run(
        "compare", "rows.npz", other, *words, "--baseline=random", "--protocol=recipe",
        "--protocol=bptt",
    )  # fmt: skip
    found = json.loads(result.stdout)
    assert list(found) == ["rows.npz", other, "random real samples"]
    assert list(found[other]) == ["recipe", "bptt"]
    assert [found[name]["recipe"]["n_samples"] for name in found] == [4, 2, 4]
    assert skdistill("compare", "rows.npz", "rows.npz", *words).exit_code == 2


@pytest.mark.usefixtures("in_folder")
def test_show_prints_the_card_and_draws_images(tmp_path):
    picture = tmp_path / "set.png"
    result = run("show", "images.npz", "-o", picture)
    assert result.stdout == DistilledDataset.load("images.npz").card()
    assert result.stderr == f"Wrote {picture}.\n"
    drawn = np.asarray(Image.open(picture).convert("L"))
    # Two images on white.
    assert drawn.min() < 100 < drawn.max()
    result = skdistill("show", "rows.npz", "-o", tmp_path / "rows.png")
    assert (result.exit_code, "must hold images" in result.stderr) == (2, True)
    assert skdistill("show", "images.npz", "-o", picture).exit_code == 2
    assert skdistill("show", "images.npz", "-o", tmp_path / "set.doc").exit_code == 2


@pytest.mark.usefixtures("in_folder")
def test_export_writes_tables(tmp_path):
    distilled = DistilledDataset.load("rows.npz")
    path = tmp_path / "rows.csv"
    assert run("export", "rows.npz", path).stdout == f"Wrote {path}: 4 samples.\n"
    assert path.read_text() == distilled.to_frame(original=True).to_csv(index=False)
    result = skdistill("export", "rows.npz", path, "--encoded")
    assert (result.exit_code, "exists; --overwrite" in result.stderr) == (2, True)
    run("export", "rows.npz", path, "--encoded", "--overwrite", "--ipc=1")
    assert path.read_text() == distilled.subset(1).to_frame().to_csv(index=False)


@pytest.mark.usefixtures("in_folder")
def test_export_writes_parquet(tmp_path):
    pytest.importorskip("pyarrow")
    run("export", "rows.npz", tmp_path / "rows.parquet")
    expected = DistilledDataset.load("rows.npz").to_frame(original=True)
    found = pd.read_parquet(tmp_path / "rows.parquet")
    pd.testing.assert_frame_equal(found, expected)


@pytest.mark.usefixtures("in_folder")
def test_export_writes_pictures(tmp_path):
    tree = tmp_path / "tree"
    words = ("export", "images.npz", tree)
    assert run(*words, "--value-range", 0, 255).stdout == f"Wrote {tree}: 2 samples.\n"
    pixels = np.asarray(Image.open(tree / "light" / "000.png"), float)
    expected = DistilledDataset.load("images.npz").X[1].clip(0, 255)
    np.testing.assert_allclose(pixels, expected, atol=0.5)
    result = skdistill(*words)
    assert (result.exit_code, "--overwrite replaces" in result.stderr) == (2, True)
    run(*words, "--overwrite")


@pytest.mark.usefixtures("in_folder")
def test_exports_that_cannot_be(tmp_path):
    for words, message in {
        ("rows.npz", tmp_path / "tree"): "must end in .csv or .parquet",
        ("rows.npz", tmp_path / "a.csv", "--value-range", 0, 1): "--value-range is for folders",
        ("images.npz", tmp_path / "tree", "--encoded"): "--encoded is for tables",
    }.items():
        result = skdistill("export", *words)
        assert (result.exit_code, message in result.stderr) == (2, True), result.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("in_folder")
def test_info_of_a_set():
    lines = run("info", "rows.npz").stdout.splitlines()
    assert lines[0] == "kind: a distilled set of table rows"
    assert "target: bought" in lines
    assert "data: train.csv" in lines
    assert "method: RaTBPTTDistiller" in lines
    found = json.loads(run("info", "images.npz", "--json").stdout)
    assert found["kind"] == "a distilled set of images"
    assert (found["shape of a sample"], found["classes"]) == ([12, 12, 3], ["dark", "light"])
    assert (found["outer steps"], found["parameters"]["window"]) == (2, 2)


@pytest.mark.usefixtures("in_folder")
def test_info_of_checkpoints(tmp_path):
    words = ("distill", "train.csv", "--target=bought", "--overwrite", "-o", tmp_path / "set.npz")
    checkpoint = tmp_path / "run.npz"
    run(*words, *QUICK, "--checkpoint", checkpoint, "--seed=3", "--set=validation_fraction=0.3")
    found = json.loads(run("info", checkpoint, "--json").stdout)
    assert found["kind"] == "a checkpoint of a run"
    assert found["distiller"] == "skdistill.RaTBPTTDistiller"
    assert (found["outer steps"], found["parameters"]["window"]) == (2, 2)
    assert 0 <= found["best validation accuracy"] <= 1
    for odd in ("best", {"accuracy": "best"}):
        odd_run = {"best": odd, "history": {"loss": [1.0], "validation_accuracy": [0.5, 0.25]}}
        meta = {"run": odd_run, "identity": {"validation_fraction": 0.3}}
        _npz.write(tmp_path / "odd.npz", "skdistill.Run", 1, {}, meta)
        found = json.loads(run("info", tmp_path / "odd.npz", "--json").stdout)
        assert found["best validation accuracy"] == 0.25
    assert "outer steps: 2" in run("info", checkpoint).stdout.splitlines()
    inner = [f"--set=distiller__{setting.removeprefix('--set=')}" for setting in QUICK]
    run(
        *words, *inner, "--method=boosted", "--ipc=3", "--set=block_size=2", "--checkpoint",
        tmp_path / "blocks",
    )  # fmt: skip
    found = json.loads(run("info", tmp_path / "blocks", "--json").stdout)
    assert found["kind"] == "checkpoints of a boosted run"
    assert (found["block_size"], found["beta"]) == (2, 0.0)
    assert found["outer steps by samples per class"] == {"2": 2, "3": 2}
    assert DistilledDataset.load(tmp_path / "set.npz").ipc == 3
    # Neither is a set, and each says what it is.
    for path, what in {
        checkpoint: "it is the checkpoint of a run. Fit a distiller with checkpoint=...",
        tmp_path / "blocks" / "ipc-2.npz": "it is the checkpoint of a run.",
        tmp_path / "blocks" / "boosted.npz": "it is part of the checkpoints of a boosted run.",
    }.items():
        result = skdistill("show", path)
        assert result.exit_code == 2
        assert result.stderr.startswith(f"Error: {path} cannot be loaded: its format must be")
        assert what in result.stderr


@pytest.mark.usefixtures("in_folder")
def test_info_tells_the_accuracy_of_the_result(tmp_path, monkeypatch):
    script = iter([0.5, 0.9, 0.6, 0.7, 0.3])
    monkeypatch.setattr("skdistill._run.held_out.HeldOut.accuracy", lambda *args: next(script))
    words = ("distill", "train.csv", "--target=bought", "--overwrite", "-o", tmp_path / "set.npz")
    words = (*words, *QUICK[1:], "--set=validation_fraction=0.3", "--set=validation_interval=2")
    # The end of the first run, off the interval, counts no longer for what goes on; that of the
    # last does, and is no better.
    for max_iter, step, accuracy in ((3, 3, 0.9), (6, 6, 0.7), (7, 6, 0.7)):
        run(*words, f"--set=max_iter={max_iter}", "--checkpoint", tmp_path / "run.npz")
        assert DistilledDataset.load(tmp_path / "set.npz").provenance["best_iter"] == step
        found = json.loads(run("info", tmp_path / "run.npz", "--json").stdout)
        assert found["best validation accuracy"] == accuracy


@pytest.mark.usefixtures("in_folder")
def test_info_tells_no_accuracy_of_a_run_that_does_not_validate(tmp_path):
    # An earlier fit did.
    history = {"loss": [1.0], "validation_accuracy": [0.5]}
    meta = {"run": {"best": None, "history": history}, "identity": {"validation_fraction": None}}
    _npz.write(tmp_path / "run.npz", "skdistill.Run", 1, {}, meta)
    found = json.loads(run("info", tmp_path / "run.npz", "--json").stdout)
    assert "best validation accuracy" not in found


def test_info_without_a_file_has_the_versions():
    found = json.loads(run("info", "--json").stdout)
    assert found["skdistill"] == package.__version__
    assert (found["numpy"], found["torch"]) == (np.__version__, version("torch"))
    assert run("info").stdout.startswith(f"skdistill: {package.__version__}\npython: 3.")


@pytest.mark.usefixtures("in_folder")
def test_the_doctor_is_asked_about_the_set_and_the_data(tmp_path, monkeypatch):
    asked = []

    class Diagnosis:
        findings = (SimpleNamespace(name="stagnation", severity="warning"),)

        def __str__(self):
            return "1 finding"

        def to_json(self):
            return '{"findings": ["stagnation"]}'

        def to_html(self):
            return "<p>1 finding</p>"

    def diagnose(distilled, *data):
        asked.append((distilled, *data))
        return Diagnosis()

    monkeypatch.setattr(package, "diagnose", diagnose, raising=False)
    page = tmp_path / "page.html"
    words = ("doctor", "rows.npz", "test.csv")
    assert run(*words, "--html", page).stdout == "1 finding\n"
    assert page.read_text() == "<p>1 finding</p>"
    assert json.loads(run(*words, "--json").stdout) == {"findings": ["stagnation"]}
    distilled, X, y = asked[0]
    assert distilled.ipc == 2
    pd.testing.assert_frame_equal(X, tables()[2], check_dtype=False)
    assert y.tolist() == tables()[3].tolist()
    run(*words, "--train=train.csv")
    assert asked[-1][4].tolist() == tables()[1].tolist()


@pytest.mark.usefixtures("in_folder")
@pytest.mark.skipif("diagnose" not in package.__all__, reason="there is no diagnose yet")
def test_the_doctor_finds_what_python_finds(tmp_path):
    words = ("doctor", "rows.npz", "test.csv")
    found = run(*words, "--html", tmp_path / "page.html").stdout
    expected = package.diagnose(DistilledDataset.load("rows.npz"), *tables()[2:])
    assert found == f"{expected}\n"
    json.loads(run(*words, "--json").stdout)


@pytest.mark.usefixtures("in_folder")
def test_an_estimate_writes_nothing(outer_step):
    outer_step.refuse()
    result = run("distill", "train.csv", "--target=bought", *QUICK, "--estimate")
    assert "s per outer step" in result.stdout
    result = run("distill", "pictures", *QUICK, "--estimate", "-o", "never.npz")
    assert "for 2 steps" in result.stdout
    assert not Path("never.npz").exists()


@pytest.mark.usefixtures("in_folder")
def test_the_home_of_a_user_is_found_and_a_write_that_fails_leaves_what_was(tmp_path, monkeypatch):
    # Caches stay where they are.
    monkeypatch.setenv("XDG_CACHE_HOME", os.environ.get("XDG_CACHE_HOME", f"{Path.home()}/.cache"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    diagnosis = SimpleNamespace(to_html=lambda: "<p>page</p>", to_json=lambda: "{}")
    monkeypatch.setattr(package, "diagnose", lambda *args: diagnosis)
    written = {
        "card.md": ("evaluate", "rows.npz", "test.csv", "--networks=1", "--steps=1", "--card"),
        "page.html": ("doctor", "rows.npz", "test.csv", "--json", "--html"),
        "rows.csv": ("export", "rows.npz"),
        "set.png": ("show", "images.npz", "-o"),
    }
    before = {}
    for name, words in written.items():
        run(*words, f"~/{name}")
        before[name] = (tmp_path / name).read_bytes()
    assert not [*tmp_path.glob(".*.partial")]

    def fail(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr("os.replace", fail)
    for name, words in written.items():
        result = skdistill(*words, tmp_path / name, "--overwrite")
        assert result.exit_code == 130
        assert (result.stdout == "") == (name in {"rows.csv", "set.png"})
        assert (tmp_path / name).read_bytes() == before[name]
    assert not [*tmp_path.glob(".*.partial")]


@pytest.mark.usefixtures("in_folder")
def test_an_export_in_the_home_of_a_user_is_not_replaced_unasked(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    run("export", "images.npz", "~/tree")
    assert (tmp_path / "tree" / "labels.csv").exists()
    result = skdistill("export", "images.npz", "~/tree")
    assert (result.exit_code, "--overwrite replaces" in result.stderr) == (2, True)


@pytest.mark.usefixtures("in_folder")
@pytest.mark.parametrize("ways", [("--overwrite",), ()])
@pytest.mark.parametrize(
    ("words", "name"),
    [
        (("distill", "test.csv", "--target=bought", "-o", "test.csv"), "test.csv"),
        (("distill", "link.csv", "--target=bought", "-o", "test.csv"), "test.csv"),
        (
            ("distill", "test.csv", "--target=bought", "-o", "run.npz", "--checkpoint=link.npz"),
            "run.npz",
        ),
        (("evaluate", "run.npz", "test.csv", "--card", "run.npz"), "run.npz"),
        (("evaluate", "run.npz", "test.csv", "--card", "link.csv"), "test.csv"),
        (("doctor", "run.npz", "test.csv", "--html", "run.npz"), "run.npz"),
        (("doctor", "run.npz", "test.csv", "--html", "test.csv"), "test.csv"),
        (("doctor", "run.npz", "run.npz", "--train=test.csv", "--html", "test.csv"), "test.csv"),
        (("show", "run.npz", "-o", "run.npz"), "run.npz"),
        (("export", "test.csv", "link.csv"), "test.csv"),
    ],
)
def test_no_command_writes_over_what_it_reads(tmp_path, monkeypatch, words, name, ways):
    # That is found before what is in the files.
    for source, target in {"test.csv": "link.csv", "rows.npz": "link.npz"}.items():
        place = tmp_path / source.replace("rows", "run")
        shutil.copyfile(source, place)
        (tmp_path / target).symlink_to(place)
    monkeypatch.chdir(tmp_path)
    before = Path(name).read_bytes()
    result = skdistill(*words, *ways)
    assert result.exit_code == 2
    assert re.search(r"Error: \S+ is read by this command; give another file\.", result.stderr)
    assert Path(name).read_bytes() == before
    assert len([*tmp_path.iterdir()]) == 4


def test_a_set_is_not_written_where_its_checkpoint_will_be(tmp_path, monkeypatch, outer_step):
    outer_step.refuse()
    monkeypatch.chdir(tmp_path)
    people().to_csv("people.csv", index=False)
    words = ("distill", "people.csv", "--target=bought", "-o", "same.npz", "--checkpoint=same.npz")
    for method in ("rat-bptt", "boosted"):
        result = skdistill(*words, "--method", method)
        assert result.exit_code == 2
        assert "same.npz is read by this command; give another file." in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["people.csv"]
    (tmp_path / "blocks").mkdir()
    words = (*words[:3], "-o", "blocks/ipc-1.npz", "--checkpoint=blocks", "--method=boosted")
    result = skdistill(*words)
    assert result.exit_code == 2
    assert "blocks/ipc-1.npz is in the folder of checkpoints; give another" in result.stderr
    os.link("people.csv", "another-name.csv")
    result = skdistill(*words[:3], "-o", "another-name.csv", "--overwrite")
    assert result.exit_code == 2
    assert "another-name.csv is read by this command" in result.stderr


@pytest.mark.usefixtures("in_folder")
@pytest.mark.parametrize(
    "words",
    [
        ("distill", "test.csv", "--target=bought", "-o"),
        ("distill", "test.csv", "--target=bought", "-o", "set.npz", "--checkpoint"),
        ("evaluate", "rows.npz", "test.csv", "--card"),
        ("doctor", "rows.npz", "test.csv", "--html"),
        ("show", "images.npz", "-o"),
        ("export", "images.npz"),
    ],
)
def test_an_unknown_home_is_told(outer_step, words):
    outer_step.refuse()
    before = {*Path().iterdir()}
    for path in ("~nosuchuser/a", "~nosuchuser/a.csv"):
        result = skdistill(*words, path)
        assert result.exit_code == 2
        assert f"{path}: the home folder ~nosuchuser is not known; give" in result.stderr
    assert {*Path().iterdir()} == before
