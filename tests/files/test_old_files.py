"""Files of earlier versions are promises: they load, and runs go on, as they would have then.

The files in ``old_files/0.1.0`` were written by that version and ``old_files/make_0_1_0.py``, which
says what they are made of.
"""

import json
import shutil
from importlib import util
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
import torch

from skdistill import DistilledDataset
from skdistill._files import npz as _npz
from skdistill.evaluation import evaluate

FOLDER = Path(__file__).parents[1] / "old_files" / "0.1.0"
spec = util.spec_from_file_location("make_0_1_0", FOLDER.with_name("make_0_1_0.py"))
made = util.module_from_spec(spec)
spec.loader.exec_module(made)

pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.InconsistentVersionWarning"),
    pytest.mark.filterwarnings("ignore:X does not have valid feature names"),
    pytest.mark.filterwarnings("error::skdistill.exceptions.CheckpointWarning"),
]

DATA, ENDS = (dict(np.load(FOLDER / name)) for name in ("data.npz", "runs/ends.npz"))
ACCURACIES = json.loads((FOLDER / "sets" / "accuracies.json").read_text())


@pytest.fixture(autouse=True)
def one_thread():
    """As the files were made: the number of threads decides the last bits of some sums."""
    n = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(n)


def data_of(kind):
    return DATA[f"{kind} X"], DATA[f"{kind} y"]


def has_same_bits(kind):
    """Whether this version and machine must give the bits of the old files."""
    same_machine = json.loads((FOLDER / "environment.json").read_text()) == made.environment()
    # float64 data was rounded before its mean was subtracted.
    return same_machine and kind != "float64 table"


def check_end(name, distiller):
    """Compare a run with where the old version would have ended."""
    kind = made.RUNS[name][0]
    X, y = distiller.transform()
    expected_X, expected_y, loss = (ENDS[f"{name} {part}"] for part in ("X", "y", "loss"))
    assert (X.dtype, X.shape) == (expected_X.dtype, expected_X.shape)
    assert (y.dtype, y.shape) == (expected_y.dtype, expected_y.shape)
    if has_same_bits(kind):
        np.testing.assert_array_equal(X, expected_X)
        np.testing.assert_array_equal(y, expected_y)
        assert distiller.history_["loss"] == loss.tolist()
        return
    scale = data_of(kind)[0].std(axis=0)
    assert (np.abs(X - expected_X) <= 0.01 * scale).all()
    np.testing.assert_allclose(distiller.history_["loss"], loss, rtol=0.01)
    if y.dtype.kind == "f":
        np.testing.assert_allclose(y, expected_y, atol=0.01)
    else:
        np.testing.assert_array_equal(y, expected_y)


def test_the_files_are_small():
    assert sum(path.stat().st_size for path in FOLDER.rglob("*.*")) < 500_000


# --- runs -------------------------------------------------------------------------------------


@pytest.fixture
def copied(tmp_path):
    """Return a function that copies an old checkpoint to where it may be written to."""

    def copy(name):
        source = FOLDER / "runs" / name
        if source.is_dir():
            return shutil.copytree(source, tmp_path / name)
        return shutil.copy(source.with_name(f"{name}.npz"), tmp_path)

    return copy


def read_run(path):
    with open(path, "rb") as file:
        return _npz.read(file, "skdistill.Run", 1, (), "run.")


@pytest.mark.parametrize("name", made.RUNS)
def test_a_run_goes_on_to_the_end_that_it_would_have_had(copied, name):
    kind, make = made.RUNS[name]
    path = copied(name)
    distiller = make(path).fit(*data_of(kind))
    # It did go on: steps from before have the seconds that they took then.
    old = FOLDER / "runs" / ("boosted/ipc-1.npz" if name == "boosted" else f"{name}.npz")
    seconds = read_run(old)[1]["run"]["history"]["seconds"]
    assert len(seconds) >= 3
    assert distiller.history_["seconds"][: len(seconds)] == seconds
    check_end(name, distiller)


def change_identity(path, change):
    """Change what a checkpoint says that its run is."""
    arrays, meta = read_run(path)
    change(meta["identity"])
    _npz.write(path, "skdistill.Run", 1, arrays, meta)


def test_a_parameter_that_came_later_has_its_default_in_older_runs(copied):
    kind, make = made.RUNS["table"]
    path = copied("table")

    def forget(identity):
        # As if all of these had come after the run.
        for name in ("classes_per_step", "inner_momentum", "precision"):
            del identity[name]
        (schedule,) = identity["schedule"].values()
        del schedule["tol"], schedule["direction"]

    change_identity(path, forget)
    for parameters, message in [
        ({"classes_per_step": 1}, "classes_per_step must be None; got 1"),
        ({"inner_momentum": 0.5}, "inner_momentum must be 0.9; got 0.5"),
        ({"schedule__tol": 0.5}, r"schedule must be .*'tol': 0.001.*; got .*'tol': 0.5.*"),
    ]:
        with pytest.raises(ValueError, match=f"^{message}; as in the run"):
            make(path).set_params(**parameters).fit(*data_of(kind))
    check_end("table", make(path).fit(*data_of(kind)))


def test_a_parameter_that_is_no_more_is_a_difference(copied):
    kind, make = made.RUNS["table32"]
    path = copied("table32")
    change_identity(path, lambda identity: identity.update(gone=1))
    with pytest.raises(ValueError, match="gone must be 1; got 'absent'; as in the run"):
        make(path).fit(*data_of(kind))


# --- sets -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ACCURACIES)
def test_a_set_is_evaluated_as_it_was(name):
    kind, expected = ACCURACIES[name]
    distilled = DistilledDataset.load(FOLDER / "sets" / f"{name}.npz")
    assert distilled.provenance["versions"]["skdistill"] == "0.1.0"
    architecture = None if distilled.recipe.architecture else made.SMALL_NET
    result = evaluate(distilled, *data_of(kind), architecture=architecture, device="cpu")
    if has_same_bits(kind):
        assert result.accuracies.tolist() == expected
    else:
        # Three of 40 samples.
        np.testing.assert_allclose(result.accuracies, expected, atol=0.08)


@pytest.mark.parametrize("name", ["images", "table"])
def test_a_set_that_is_saved_again_has_the_words_of_the_old_file(name, tmp_path):
    def recipe(path):
        with open(path, "rb") as file:
            arrays = "X", "y", "classes"
            _, meta = _npz.read(file, "skdistill.DistilledDataset", 1, arrays, "preprocessing.")
        return meta["recipe"]

    old, new = FOLDER / "sets" / f"{name}.npz", tmp_path / "new.npz"
    DistilledDataset.load(old).save(new)
    assert recipe(new)["layout"] == recipe(old)["layout"]
    assert recipe(new).keys() >= recipe(old).keys()


def test_what_sets_hold():
    def load(name):
        return DistilledDataset.load(FOLDER / "sets" / f"{name}.npz")

    frame, scaled, soft = map(load, ("frame", "scaled", "table"))
    assert frame.feature_names == ("width", "height", "weight")
    table = data_of("float64 table")[0]
    # Back in the units of the table, by the scaler of the old version.
    inside = scaled.preprocessing.inverse_transform(scaled.X)
    assert (np.abs(inside - table.mean(axis=0)) < 3 * table.std(axis=0)).all()
    assert soft.y.shape == (4, 2)
    (block,) = load("basis").bases
    assert block.basis.shape == (4, 3, 3, 3)
    assert [part["ipc"] for part in load("boosted").provenance["blocks"]] == [1, 2]


# --- pickles ----------------------------------------------------------------------------------


def unpickle(name):
    return joblib.load(FOLDER / "pickles" / f"{name}.joblib")


def test_a_pickled_distiller_answers_and_goes_on():
    distiller, data = unpickle("distiller"), data_of("float32 images")
    assert distiller.n_iter_ == 3
    assert distiller.transform()[0].shape == (4, 6, 6)
    assert 0 <= distiller.score(*data) <= 1
    assert "RaTBPTTDistiller" in repr(distiller)
    check_end("images", distiller.set_params(max_iter=made.STEPS).fit(*data))


def test_a_pickled_boosted_distiller_answers():
    boosted = unpickle("boosted")
    check_end("boosted", boosted)
    assert boosted.transform(ipc=1)[0].shape == (2, 6, 6)
    results = boosted.evaluate_budgets(*data_of("float32 images"))
    assert [len(result.accuracies) for result in results.values()] == [2, 2]


def test_a_pickled_distiller_of_a_frame_answers_with_one():
    distiller = unpickle("frame")
    X, _ = distiller.transform()
    assert list(X.columns) == made.NAMES
    saved = DistilledDataset.load(FOLDER / "sets" / "frame.npz")
    np.testing.assert_array_equal(X.to_numpy(), saved.X)
    table, labels = data_of("float64 table")
    frame = pd.DataFrame(table, columns=made.NAMES)
    assert distiller.score(frame, labels) == evaluate(saved, table, labels).mean


def test_a_pickled_set_is_the_saved_one():
    pickled = unpickle("distilled")
    saved = DistilledDataset.load(FOLDER / "sets" / "scaled.npz")
    np.testing.assert_array_equal(pickled.X, saved.X)
    np.testing.assert_array_equal(pickled.y, saved.y)
    assert pickled.recipe == saved.recipe
    data = data_of("float64 table")
    assert evaluate(pickled, *data).mean == evaluate(saved, *data).mean


@pytest.mark.parametrize("name", ["distiller", "boosted"])
def test_a_parameter_that_came_later_has_its_default_in_older_pickles(name):
    distiller = unpickle(name)
    inner = distiller if name == "distiller" else distiller.distiller
    state = dict(inner.__getstate__())
    del state["compile"], state["inner_batch_size"]
    old = object.__new__(type(inner))
    old.__setstate__(state)
    assert (old.compile, old.inner_batch_size) == ("auto", None)
    assert old.get_params()["compile"] == "auto"
