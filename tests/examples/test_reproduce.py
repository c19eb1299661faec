"""The scripts of ``examples/reproduce``: each starts, writes its report, and resumes from it.

The quick tests are of the code that the scripts share; those that start the scripts are slow.
"""

import argparse
import importlib
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tools import ROOT

from skdistill import DistilledDataset, RaTBPTTDistiller
from skdistill.datasets import list_distilled, load_distilled
from skdistill.evaluation import evaluate
from skdistill.exceptions import DivergenceError

SCRIPTS = ROOT / "examples" / "reproduce"


@pytest.fixture
def docs(monkeypatch):
    """Return the module that renders reports in the documentation."""
    monkeypatch.syspath_prepend(ROOT / "docs")
    return importlib.import_module("reproduction")


# --- reports ----------------------------------------------------------------------------------


def head(**parameters):
    return {"data": "nothing", "parameters": {"size": (1, 2), "seeds": [0], **parameters}}


def once(row):
    """Return a function that gives a row, but only once."""
    rows = [row]
    return rows.pop


def test_rows_are_written_one_by_one_and_kept(shared, tmp_path):
    report, path = shared("report"), tmp_path / "new" / "a.json"
    first = report.Report(path, head(), ("name", "seed"), lambda rows: {"n": len(rows)})
    row = {"name": "a", "seed": 0, "accuracy": 0.5}
    assert first.run(once(row), name="a", seed=0) == row
    written = json.loads(path.read_text())
    assert written == {**json.loads(json.dumps(head())), "summary": {"n": 1}, "rows": [row]}
    assert not path.with_name("a.json.part").exists()

    second = report.Report(path, head(seeds=[1]), ("name", "seed"), lambda rows: {"n": len(rows)})
    assert second.run(lambda: pytest.fail("computed again"), name="a", seed=0) == row
    other = {"name": "a", "seed": 1, "accuracy": 0.75}
    assert second.run(once(other), name="a", seed=1) == other
    written = json.loads(path.read_text())
    assert written["rows"] == [row, other]
    assert written["summary"] == {"n": 2}
    assert written["parameters"]["seeds"] == [0, 1]


def test_a_file_names_all_machines_that_its_rows_are_from(shared, tmp_path):
    report, path = shared("report"), tmp_path / "a.json"
    for seed, machine in enumerate(["4 cores", "2 cores", "4 cores"]):
        here = report.Report(path, {**head(), "machine": machine, "threads": 1}, ("seed",))
        here.run(once({"seed": seed}), seed=seed)
    written = json.loads(path.read_text())
    assert written["machine"] == "2 cores and 4 cores"
    assert [row["seed"] for row in written["rows"]] == [0, 1, 2]
    with pytest.raises(SystemExit, match=r"'threads': 1.*'threads': 2"):
        report.Report(path, {**head(), "machine": "2 cores", "threads": 2}, ("seed",))


def test_rows_that_another_process_wrote_meanwhile_stay(shared, tmp_path):
    report, path = shared("report"), tmp_path / "a.json"
    first, second = (report.Report(path, head(seeds=[k]), ("seed",)) for k in (0, 1))
    first.run(once({"seed": 0}), seed=0)
    second.run(once({"seed": 1}), seed=1)
    first.run(once({"seed": 2}), seed=2)
    written = json.loads(path.read_text())
    assert [row["seed"] for row in written["rows"]] == [0, 1, 2]
    assert written["parameters"]["seeds"] == [0, 1]
    # What another has is not computed again.
    assert first.run(lambda: pytest.fail("computed"), seed=1) == {"seed": 1}
    assert [file.name for file in tmp_path.iterdir()] == ["a.json"]


def test_rows_that_were_measured_differently_are_left_alone(shared, tmp_path):
    report, path = shared("report"), tmp_path / "a.json"
    report.Report(path, head(), ("seed",)).run(once({"seed": 0}), seed=0)
    before = path.read_text()
    with pytest.raises(SystemExit, match=r"measured otherwise: .*'ipc': 3"):
        report.Report(path, head(ipc=3), ("seed",))
    with pytest.raises(SystemExit, match=r"'data': 'nothing'.*'data': 'all'"):
        report.Report(path, {**head(), "data": "all"}, ("seed",))
    assert path.read_text() == before


def test_a_report_without_a_file_keeps_its_rows(shared):
    report = shared("report").Report(None, head(), ("seed",))
    report.run(once({"seed": 0}), seed=0)
    assert report.rows == [{"seed": 0}]


def test_reports_do_not_name_places(shared):
    paths = {"json": Path("a.json"), "data": Path("here"), "checkpoints": Path("there")}
    args = argparse.Namespace(ipc=1, only=["a"], end=3.0, **paths)
    about = shared("report").about(args, "nothing")
    assert about["parameters"] == {"ipc": 1}
    assert re.fullmatch(r"\d+ cores, \w+", about["machine"])
    assert about["threads"] >= 1


def test_results_of_long_runs_can_be_tested_again():
    published = {load_distilled(*each).provenance["about"]["report"] for each in list_distilled()}
    for report in (SCRIPTS / "results").glob("table1-*.json"):
        assert report.with_suffix(".npz").exists() or report.name in published, report.name


# --- the paper's numbers ----------------------------------------------------------------------


def test_columns_are_as_long_as_those_of_table_1(shared):
    published = shared("published")
    assert published.column("digits", 1) == {}
    # No cell was shifted.
    lengths = [len(published.column(*column)) for column in published.COLUMNS]
    assert lengths == [13, 13, 12, 13, 12, 9, 7, 6, 10, 9]


# --- curves -----------------------------------------------------------------------------------


def test_curves_are_compared_at_equal_steps_and_equal_time(shared):
    curves = shared("curves")
    slow = {"step": [10, 20], "seconds": [4.0, 8.0], "accuracy": [0.5, 0.6]}
    fast = {"step": [10, 20, 30], "seconds": [2.0, 4.0, 7.0], "accuracy": [0.4, 0.5, 0.7]}
    rows = [
        {"method": "slow", "seed": 0, "curve": slow},
        {"method": "fast", "seed": 0, "curve": fast},
    ]
    table = curves.summary(rows, ["fast", "slow", "none"], lambda own, n: {"steps": [n] * len(own)})
    assert (table["steps"], table["seconds"]) == (20, 7.0)
    assert list(table["methods"]) == ["fast", "slow"]
    assert table["methods"]["fast"] == {
        "at equal steps": [0.5, 0.0],
        "at equal time": [0.7, 0.0],
        "steps at equal time": [30.0, 0.0],
        "steps": [20.0, 0.0],
    }
    assert table["methods"]["slow"]["at equal time"] == [0.5, 0.0]


def test_a_curve_ends_where_its_run_diverged(shared):
    curves, sittings = shared("curves"), shared("sittings")
    sitting = sittings.Sitting(None, argparse.Namespace(json=None, checkpoints=None, end=np.inf))
    cell = sitting.cell("a")

    class Diverging:
        """A distiller of 7 steps."""

        def set_params(self, max_iter=0, **parameters):
            self.max_iter = max_iter or getattr(self, "max_iter", 0)
            return self

        def set_callbacks(self, *callbacks):
            return self

        def fit(self, X, y):
            self.n_iter_ = min(7, self.max_iter)
            self.history_ = {"seconds": [1.0] * self.n_iter_}
            if self.max_iter > 7:
                raise DivergenceError("too far")
            return self

        def score(self, X, y):
            return self.n_iter_ / 10

    arrays = [np.zeros((2, 2))] * 4
    for _ in range(2):
        # In a later sitting there is nothing to add.
        curve = curves.distill(Diverging(), arrays, 100, 5, cell)
        assert curve == {"step": [5, 7], "seconds": [5.0, 7.0], "accuracy": [0.5, 0.7]}
    assert cell.notes["ended by"] == "too far"


# --- methods ----------------------------------------------------------------------------------


def test_what_methods_get_besides_their_defaults_is_theirs(shared):
    methods = shared("methods")
    for name, own in [*methods.SETTINGS.items(), *methods.COLORED.items()]:
        kind, _, variant = methods.VARIANTS.get(name, (name, 1, {}))
        distiller = methods.METHODS[kind](**variant | own)
        assert own.items() <= distiller.get_params().items()


def test_sets_of_every_method_are_judged_with_as_many_steps(shared):
    methods = shared("methods")
    learned = load_distilled("cifar10")
    recipe = replace(learned.recipe, optimizer="sgd", learning_rate=0.1, steps=300)
    for ipc in (1, learned.ipc):
        own = replace(learned.subset(ipc), recipe=recipe)
        protocol = methods.common(own)
        assert (protocol.steps, protocol.optimizer) == (300, "adam")


def test_methods_of_a_class_are_those_of_table_1_and_gray_images_are_not_mirrored(
    shared, monkeypatch
):
    methods = shared("methods")
    assert {"RaTBPTTDistiller", "bptt", "mtt", "ftd", "dsa"} <= set(methods.NAMES)
    assert "TrajectoryMatchingDistiller" not in methods.NAMES
    made = []

    class Cell:
        def fit_for(self, distiller, *rest):
            made.append(distiller)
            raise DivergenceError("experts")

    X = np.zeros((2, 8, 8))
    args = argparse.Namespace(
        clip_norm="feng23",
        minutes=6,
        ipc=1,
        width=4,
        curve_networks=0,
        networks=1,
        dataset="fashion-mnist",
    )
    for args.dataset in ("fashion-mnist", "cifar10-folder"):
        # What has no samples has a row without accuracies.
        found = methods.one_row("dsa", 0, Cell(), args, [X, X, None, None])
        assert found["ended by"] == "experts"
        assert methods.line("dsa", methods.summarize([found])["methods"]["dsa"])
    gray, colored = (distiller.augmentation for distiller in made)
    assert "Flip" not in repr(gray)
    assert colored == "dsa"
    methods.one_row("bptt", 0, Cell(), args, [X, X, None, None])
    assert made[-1].schedule == "bptt"


# --- hardness ---------------------------------------------------------------------------------


def test_samples_that_a_network_never_learned_have_a_bin_of_their_own(shared):
    hardness = shared("hardness")
    scores = np.array([[0, 3, 20, 0], [0, 5, 0, 1]])
    mean = hardness.mean_score(scores, 20)
    assert mean.tolist() == [0, 4, hardness.NEVER_LEARNED, 0.5]
    bins = np.digitize(mean, hardness.EDGES[1:-1])
    assert [hardness.BINS[k] for k in bins] == ["0", "from 3", "never learned", "to 1"]


# --- uses -------------------------------------------------------------------------------------


def test_a_store_of_bytes_keeps_whole_pixels_and_counts_what_it_takes(shared):
    stored = shared("small_sets").stored
    pixels = np.array([[[0, 16], [255, 3]]], np.float64)
    X, n_bytes = stored(pixels)
    np.testing.assert_array_equal(X, pixels)
    assert n_bytes == 4
    samples = np.random.default_rng(0).normal(3, 10, (7, 8, 8))
    X, n_bytes = stored(samples)
    assert n_bytes == 7 * 64 + 8
    assert len(np.unique(X)) <= 256
    step = np.ptp(samples) / 255
    assert 0.2 * step < np.abs(X - samples).max() < 0.51 * step
    # A constant has no levels between.
    np.testing.assert_array_equal(stored(np.full((1, 2, 2), 0.5))[0], 0.5)


def uses_args(**more):
    """Return arguments of the scripts of the uses, for moments."""
    least = {"max_iter": 1, "width": 4, "steps": 2, "networks": 1, "ipc": 1}
    return argparse.Namespace(clip_norm="robust", **least, **more)


def test_a_memory_of_earlier_classes_takes_part_and_only_new_samples_are_kept(shared, digits):
    continual = shared("continual_learning")
    X, _, y, _ = digits
    X = X.reshape(-1, 8, 8)
    old, new = (X[:0], y[:0]), (X[np.isin(y, [3, 5])], y[np.isin(y, [3, 5])])
    args = uses_args()
    alone, labels = continual.remembered(continual.WITH_MEMORY, new, old, 2, 0, args)
    assert labels.tolist() == [3, 5, 3, 5]
    plain, _ = continual.remembered("RaT-BPTT", new, old, 2, 0, args)
    assert alone.shape == plain.shape
    memory = (X[np.isin(y, [0, 9])][:40], y[np.isin(y, [0, 9])][:40])
    beside, labels = continual.remembered(continual.WITH_MEMORY, new, memory, 2, 0, args)
    assert labels.tolist() == [3, 5, 3, 5]
    assert np.abs(beside - alone).max() > 0.01


def test_the_margin_of_a_memory_is_over_random_exemplars_of_the_same_seed_and_size(shared):
    continual = shared("continual_learning")
    rows = [
        {
            "name": name,
            "ipc": ipc,
            "seed": seed,
            "classes": 5,
            "accuracies": [1.0, last],
            "bytes": 8,
            "seconds": 1.0,
        }
        for name, ipc, seed, last in [
            (continual.EVERYTHING, None, 0, 0.9),
            (continual.RANDOM, 1, 0, 0.5),
            (continual.RANDOM, 1, 1, 0.6),
            (continual.RANDOM, 5, 0, 0.8),
            ("herding", 1, 1, 0.7),
            ("herding", 5, 0, 0.75),
        ]
    ]
    methods = continual.summarize(rows)["methods"]
    assert list(methods)[:2] == ["everything kept", "random exemplars, 1 per class"]
    assert methods["random exemplars, 1 per class"]["after 10 classes"] == pytest.approx(
        [0.55, 0.05 * 2**0.5]
    )
    assert methods["herding, 1 per class"]["above random exemplars"] == pytest.approx([0.1, 0])
    assert methods["herding, 5 per class"]["above random exemplars"] == pytest.approx([-0.05, 0])
    assert "above random exemplars" not in methods["everything kept"]


def test_rankings_are_compared_with_that_of_the_same_seed(shared):
    ranking = shared("architecture_ranking")

    def row(name, seed, *accuracies):
        seconds = {"seconds": 1.0, "seconds before": 0.5}
        return {"name": name, "seed": seed, "accuracies": list(accuracies), **seconds}

    methods = ranking.summarize(
        [
            row(ranking.TRUTH, 0, 0.7, 0.8, 0.9),
            row(ranking.TRUTH, 1, 0.9, 0.8, 0.7),
            row("herding", 0, 0.3, 0.2, 0.1),
            row("herding", 1, 0.3, 0.2, 0.1),
            # The truth of this seed is not there yet.
            row("herding", 2, 0.3, 0.2, 0.1),
            row("k-means", 0, 0.5, 0.5, 0.5),
        ]
    )["methods"]
    assert methods[ranking.TRUTH]["rank correlation"] == pytest.approx([1, 0])
    assert methods["herding"]["rank correlation"] == pytest.approx([0, 2**0.5])
    assert methods["herding"]["points lost"] == pytest.approx([0.1, 0.1 * 2**0.5])
    assert methods["k-means"]["rank correlation"] == [0, 0]


def test_rivals_of_a_small_set_see_as_many_samples(shared):
    ranking = shared("architecture_ranking")
    args = uses_args(whole_steps=600, batch_size=64)
    args.steps = 300
    cost = {
        name: (how.steps, how.steps * min(how.batch_size, size))
        for name, size in [("RaT-BPTT", 10), (ranking.SMALL_BATCHES, 900), (ranking.EARLY, 900)]
        for how in [ranking.protocol(name, args, 10)]
    }
    assert cost["RaT-BPTT"] == cost[ranking.SMALL_BATCHES] == (300, 3000)
    assert 3000 - 64 < cost[ranking.EARLY][1] <= 3000
    for name in (ranking.TRUTH, ranking.AGAIN):
        how = ranking.protocol(name, args, 10)
        assert (how.steps, how.batch_size) == (600, 64)


def test_networks_learn_the_samples_that_they_are_given(shared, digits):
    sets, active = shared("small_sets"), shared("active_learning")
    X_train, X_test, y_train, y_test = digits
    X_train, X_test = (X.reshape(-1, 8, 8) for X in (X_train, X_test))
    args = uses_args()
    args.width, args.steps = 16, 100
    protocol, moments = sets.protocol(args), sets.moments(X_train)
    like = sets.as_set(X_train, y_train, moments, protocol, seed=3)
    networks = active.DistilledClassifier(active.AsGiven(like)).fit(X_train[:50], y_train[:50])
    expected = evaluate(
        sets.as_set(X_train[:50], y_train[:50], moments, protocol, 3), X_test, y_test
    )
    assert networks.score(X_test, y_test) == pytest.approx(expected.mean)
    assert expected.mean > 0.5


def test_labels_are_bought_where_networks_are_least_sure(shared):
    active = shared("active_learning")

    class Networks:
        def predict_proba(self, X):
            return np.array([[0.9, 0.1, 0], [0.4, 0.35, 0.25], [0.5, 0, 0.5], [0.2, 0.2, 0.6]])

    rng = np.random.default_rng(0)
    X = np.zeros((4, 2, 2))
    assert active.choose(active.NOTHING, X, Networks(), 2, rng).tolist() == [2, 1]
    assert active.choose(active.CENTERS, X, Networks(), 2, rng).tolist() == [2, 1]
    drawn = {tuple(active.choose(active.RANDOM, X, Networks(), 2, rng)) for _ in range(20)}
    assert len(drawn) > 3
    # Two groups, and a sample in the middle of each.
    X = np.array([0.0, 1, 2, 10, 11, 12]).reshape(-1, 1, 1)
    assert sorted(active.choose(active.CENTERS, X, None, 2, rng)) == [1, 4]


@pytest.mark.parametrize(
    ("script", "arguments", "message"),
    [
        ("active_learning", ["--labels", "25"], "must be a multiple of --batch and at most 441"),
        ("active_learning", ["--labels", "500"], "got --labels 500 --batch 10"),
        ("continual_learning", ["--classes", "3"], "must be at least 2 and divide 10; got 3"),
    ],
)
def test_uses_refuse(start, script, arguments, message, tmp_path):
    done = start(script, *arguments, "--json", tmp_path / "a.json")
    assert done.returncode != 0
    assert message in done.stderr


# --- the scripts ------------------------------------------------------------------------------

QUICK = ["--seeds", "0", "--networks", "1"]
WINDOWS = ["--window", "1", "--unroll", "2"]
TIMED = [*QUICK, "--minutes", "0.001"]
USES = ["--max-iter", "1", "--width", "4", "--steps", "2"]
SIZES = {
    "active_learning": [*QUICK, *USES, "--labels", "10"],
    "architecture_ranking": [*QUICK, *USES, "--whole-steps", "2"],
    "architectures": [*TIMED, *WINDOWS, "--on", "convnet", "mlp"],
    "boosting": [
        *[*QUICK, *WINDOWS, "--ipc", "2", "--block-size", "1", "--max-iter", "1"],
        *["--kip-steps", "1", "--draws", "1", "--width", "4"],
    ],
    "continual_learning": [*QUICK, *USES, "--ipc", "1", "--classes", "5"],
    "digits": [*QUICK, "--ipc", "1", "--max-iter", "1"],
    "figure11": [*TIMED, "--divide", "40", "--every", "1", "--width", "4"],
    "hardness": [
        *[*QUICK, *WINDOWS, "--ipc", "2", "--max-iter", "2", "--begin", "1", "--renew-every", "1"],
        *["--epochs", "2", "--score-networks", "2", "--width", "4"],
    ],
    "kip": ["--dataset", "digits", "--steps", "0", "2", "--batch-size", "100"],
    "methods": [*TIMED, "--width", "4", "--curve-networks", "1"],
    "parametrizations": [
        *[*QUICK, *WINDOWS, "--storage", "1", "3", "--max-iter", "1", "--width", "4"],
    ],
    "settings": [
        *TIMED,
        *["--setting", "width=4", "window=2", "unroll=3", "compile=false"],
        *["--setting", "augmentation=flip_rotate", "window=2", "unroll=3", "compile=false"],
    ],
    "truncations": [*TIMED, *WINDOWS, "--every", "1", "--width", "4"],
    "windows": [*TIMED, "--settings", "0", "1"],
}


def test_no_script_has_the_name_of_one_of_the_documentation():
    # The tests import both in one process, and the second would get the first.
    names = [{path.name for path in folder.glob("*.py")} for folder in (SCRIPTS, ROOT / "docs")]
    assert not set.intersection(*names)


def test_every_script_is_started_here():
    shared = {"curves", "data", "published", "report", "sittings", "small_resnet", "small_sets"}
    shared |= {"claims_plan", "claims_rows", "claims_rule"}
    others = {"claims", "table1", "evaluate", "publish"}
    assert {path.stem for path in SCRIPTS.glob("*.py")} == {*SIZES, *shared, *others}


@pytest.mark.slow
@pytest.mark.parametrize("script", SIZES)
def test_scripts_write_a_report_and_resume_it(start, script, tmp_path, docs):
    path = tmp_path / "report.json"
    done = start(script, *SIZES[script], "--json", path)
    assert done.returncode == 0, done.stderr
    report = json.loads(path.read_text())
    assert report["data"].startswith("scikit-learn's digits")
    assert report["rows"]
    # What was kept of unfinished runs is gone.
    assert not path.with_suffix(".run").exists()
    assert "list-table" in docs.render_report(report)
    again = start(script, *SIZES[script], "--json", path)
    assert again.returncode == 0, again.stderr
    assert f"{len(report['rows'])} row(s) are there" in again.stdout
    assert json.loads(path.read_text()) == report
    # The text at the end is made only from the rows.
    assert again.stdout.splitlines()[-1] == done.stdout.splitlines()[-1]


@pytest.mark.slow
def test_methods_are_tested_by_networks_and_by_their_kernels(start, tmp_path):
    path = tmp_path / "report.json"
    names = ["random real samples", "KIPDistiller", "DistributionMatchingDistiller"]
    command = [*QUICK, "--minutes", "0.01", "--width", "4", "--json", path, "--only"]
    done = start("methods", *command, *names[:2])
    assert done.returncode == 0, done.stderr
    # Methods may be added to a file.
    done = start("methods", *command, *names)
    assert done.returncode == 0, done.stderr
    assert "2 row(s) are there" in done.stdout
    report = json.loads(path.read_text())
    random, kip, matching = report["rows"]
    assert [row["method"] for row in report["rows"]] == names
    # The samples of KIP are made for its kernel; networks of width 4 are only distilled through.
    assert kip["accuracy by kernel regression"] > random["accuracy by kernel regression"] + 0.1
    assert "accuracy by kernel regression" not in matching
    assert [kip["distilled through"], matching["distilled through"]] == [
        "no networks",
        "ConvNets of width 4",
    ]
    for row in (kip, matching):
        assert row["steps"] >= 1
        # A run ends before a step that would end too late.
        assert row["seconds"] > 0.3
    assert matching["accuracy"] > 0.6
    assert list(report["summary"]["methods"]) == names


@pytest.mark.slow
def test_scores_that_were_not_kept_are_made_again(start, tmp_path):
    path = tmp_path / "report.json"
    command = ["hardness", *SIZES["hardness"], "--json", path, "--only"]
    done = start(*command, "scores")
    assert done.returncode == 0, done.stderr
    scores = tmp_path / "report-scores.npz"
    before = np.load(scores)["scores"]
    scores.unlink()
    done = start(*command, "whole training set")
    assert done.returncode == 0, done.stderr
    np.testing.assert_array_equal(np.load(scores)["scores"], before)
    rows = json.loads(path.read_text())["rows"]
    assert [row["name"] for row in rows] == ["scores", "whole training set"]
    assert list(rows[1]["took"]) == ["everything"]
    assert sorted(file.name for file in tmp_path.iterdir()) == ["report-scores.npz", "report.json"]


@pytest.mark.slow
def test_a_narrow_network_may_have_the_loop_of_the_usual_one(start, tmp_path):
    path = tmp_path / "report.json"
    arguments = ["--through", "convnet-32-usual", "--on", "mlp", "--json", path]
    done = start("architectures", *TIMED, *arguments)
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(path.read_text())["rows"]
    assert [row[name] for name in ("window", "unroll", "inner_lr")] == [15, 45, 0.001]
    assert row["machine"] == json.loads(path.read_text())["machine"]


@pytest.mark.slow
def test_samples_on_the_way_are_tested(start, tmp_path):
    path = tmp_path / "report.json"
    arguments = ["--minutes", "0.02", "--curve-networks", "1", "--only", "pixels", "--json", path]
    done = start("parametrizations", *SIZES["parametrizations"], *arguments)
    assert done.returncode == 0, done.stderr
    for row in json.loads(path.read_text())["rows"]:
        curve = row["curve"]
        assert len(curve["accuracy"]) == len(curve["seconds"]) == len(curve["step"]) > 1
        assert curve["step"][-1] == row["steps"]
        assert curve["seconds"] == sorted(curve["seconds"])


TABLE_1 = [
    *["--networks", "1", "--curve-networks", "1", "--baseline-networks", "1", "--eval-steps", "3"],
    *["--unroll", "2", "--json"],
]


@pytest.mark.slow
def test_table_1_resumes_only_the_same_run(start, tmp_path, docs):
    path = tmp_path / "a.json"
    command = ["--dataset", "digits", "--window", "1", *TABLE_1, path, "--minutes"]
    done = start("table1", *command, "0.001", "--transfer", "--baselines")
    assert done.returncode == 0, done.stderr
    first = json.loads(path.read_text())
    # Digits are too small for a ResNet-18.
    names = ["distilled", "distilled, on convnet_x4", "distilled, on convnet_x8"]
    assert list(first["results"]) == names

    done = start("table1", *command, "0.02")
    assert done.returncode == 0, done.stderr
    report = json.loads(path.read_text())
    times = [point["seconds"] for point in report["curve"]]
    assert times == sorted(times)
    assert times[-1] > first["provenance"]["seconds"]
    assert report["provenance"]["n_iter"] > first["provenance"]["n_iter"]
    assert list(report["results"]) == [
        "distilled",
        "random real samples",
        "herding",
        "k-means centroids",
    ]
    assert "| skdistill, distilled | " in done.stdout
    assert "list-table" in docs.render_report(report)
    assert path.with_suffix(".npz").stat().st_size < 2**20

    done = start("evaluate", path, "--networks", "1")
    assert done.returncode == 0, done.stderr
    here, there = done.stdout.splitlines()
    accuracy = here.split("per class: ")[1].split(" (")[0]
    assert there == f"in the report: {accuracy} (1 network)"

    # A run that was stopped before it came to the chosen samples.
    stopped = json.loads(path.read_text())
    del stopped["results"]["herding"]
    path.write_text(json.dumps(stopped))
    done = start("evaluate", path, "--baselines")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("herding: ")
    again = json.loads(path.read_text())["results"]
    assert again["herding"].pop("machine")
    assert again["herding"].pop("threads")
    assert again == report["results"]

    done = start("table1", "--dataset", "digits", "--window", "2", *TABLE_1, path)
    assert done.returncode != 0
    assert "window must be 1; got 2" in done.stderr
    assert json.loads(path.read_text())["curve"] == report["curve"]


def test_large_samples_are_halved_and_others_kept(shared):
    table1 = shared("table1")
    X, y = np.random.default_rng(0).normal(size=(60, 3, 70, 70)).astype(np.float32), [0, 1, 2] * 20
    quick = RaTBPTTDistiller(
        ipc=20, max_iter=1, window=1, unroll=1, inner_batch_size=1, n_networks=1
    )
    quick.set_params(init="real", eval_steps=1, architecture="mlp", random_state=0)
    large = quick.fit(X, y).distilled_
    halved = table1.small(large)
    assert halved.X.dtype == np.float16
    np.testing.assert_allclose(halved.X, large.X, rtol=1e-3, atol=1e-3)
    # A file and a network take it.
    assert evaluate(halved, X[:9], y[:9]).accuracies.shape == (1,)
    assert table1.small(large.subset(2)).X.dtype == np.float32


@pytest.mark.slow
def test_table_1_of_an_image_folder_stands_beside_the_papers(start, tmp_path):
    rng = np.random.default_rng(0)
    for part in ("train", "test"):
        for name in ("cat", "dog"):
            folder = tmp_path / part / name
            folder.mkdir(parents=True)
            for k in range(6):
                pixels = rng.integers(0, 256, (8, 8, 3)).astype(np.uint8)
                Image.fromarray(pixels).save(folder / f"{k}.png")
    path = tmp_path / "a.json"
    command = ["--dataset", "cifar10-folder", "--data", tmp_path, "--window", "1", *TABLE_1, path]
    done = start("table1", *command, "--minutes", "0.001", "--width", "8")
    assert done.returncode == 0, done.stderr
    report = json.loads(path.read_text())
    assert report["data"] == "CIFAR-10 (JPEG copy), whitened"
    assert str(tmp_path) not in path.read_text()
    assert "| the paper | 53.2±0.7 |" in done.stdout
    assert "| DSA (as the paper reports) | 28.8±0.7 |" in done.stdout

    # Distilled through networks of another width, evaluated with the usual ones.
    assert "width=8" in report["provenance"]["parameters"]["inner_architecture"]
    done = start("evaluate", path, "--data", tmp_path, "--networks", "1")
    assert done.returncode == 0, done.stderr
    assert "CIFAR-10 (JPEG copy), whitened, 1 per class: " in done.stdout
    done = start("table1", *command, "--minutes", "0.001")
    assert "inner_architecture must be" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--dataset", "cifar10"], "--dataset cifar10 needs --data"),
        (["--dataset", "mnist"], "invalid choice: 'mnist'"),
        (["--dataset", "digits", "--paper", "--small"], "not allowed with"),
        (["--dataset", "digits", "--paper", "--ipc", "3"], "ipc must be one of 1, 10, 50"),
    ],
)
def test_table_1_refuses(start, arguments, message, tmp_path):
    done = start("table1", *arguments, "--json", tmp_path / "a.json")
    assert done.returncode != 0
    assert message in done.stderr


# --- sets for the package ---------------------------------------------------------------------


@pytest.mark.parametrize("zca", [False, True])
def test_a_result_moves_into_the_package(shared, tmp_path, zca):
    publish = shared("publish").publish
    (tmp_path / "sets").mkdir()
    distilled = load_distilled("cifar10")
    bare = {k: v for k, v in distilled.provenance.items() if k != "about"}
    recipe = replace(distilled.recipe, architecture=None)
    replace(distilled, recipe=recipe, provenance=bare).save(tmp_path / "table1-x.npz")
    result = {"mean": 0.25, "std": 0.125, "n_networks": 3, "n_samples": 10}
    report = {
        "data": "CIFAR-10",
        "parameters": {"dataset": "cifar10-folder", "zca": zca},
        "results": {"distilled": result},
    }
    (tmp_path / "table1-x.json").write_text(json.dumps(report))
    file = publish(tmp_path / "table1-x.json", tmp_path / "sets")
    assert file == tmp_path / "sets" / "cifar10-1.npz"
    assert not (tmp_path / "table1-x.npz").exists()
    published = DistilledDataset.load(file)
    np.testing.assert_array_equal(published.X, distilled.X)
    assert published.recipe.architecture == "convnet"
    known = published.provenance["about"]
    assert known["test_accuracy"] == {**result, "architecture": "convnet"}
    assert known["report"] == "table1-x.json"
    assert ("ZCAWhitener(0.1, per_sample=True)" in (known["preprocessing"] or "")) == zca
