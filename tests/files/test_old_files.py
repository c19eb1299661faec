"""Files of earlier versions are promises: they load, and runs go on, as they would have then.

The files in ``old_files/0.1.0`` were written by that version and ``old_files/make_0_1_0.py``, which
says what they are made of; those in ``old_files/forms`` and ``old_files/experts`` by commits that
``old_files/make_forms.py`` lists.
"""

import json
import pickle
import shutil
from dataclasses import replace
from itertools import chain
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
import tools
import torch
from tools import ROOT, bits

from skdistill import (
    BoostedDistiller,
    DistillationSampler,
    DistilledClassifier,
    DistilledDataset,
    RaTBPTTDistiller,
)
from skdistill._data import older_versions
from skdistill._engine.chain import Chain
from skdistill._engine.experts import Training
from skdistill._files import npz as _npz
from skdistill._files.formats import VERSIONS
from skdistill.datasets import load_image_folder
from skdistill.evaluation import evaluate
from skdistill.exceptions import InvalidFileError
from skdistill.windows import MovingWindow

OLD_FILES = ROOT / "tests" / "old_files"
FOLDER = OLD_FILES / "0.1.0"
made, forms = (tools.load(OLD_FILES / name) for name in ("make_0_1_0.py", "make_forms.py"))

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
    # By the processor as well: others that know the same instructions have other bits.
    same_machine = json.loads((FOLDER / "environment.json").read_text()) == made.environment()
    # float64 data was rounded before its mean was subtracted.
    return same_machine and kind != "float64 table"


# In deviations of the data. Rounding of 1e-7 in a boosted run's first block is 0.15 in its second
# on one processor and 0.49 on another; other samples are two or three apart.
TOLERANCE = {"boosted": 0.8}


def check_end(name, distiller):
    """Compare a run with where the old version ended, on whatever machine that was."""
    kind = made.RUNS[name][0]
    X, y = distiller.transform()
    expected_X, expected_y, loss = (ENDS[f"{name} {part}"] for part in ("X", "y", "loss"))
    assert (X.dtype, X.shape) == (expected_X.dtype, expected_X.shape)
    assert (y.dtype, y.shape) == (expected_y.dtype, expected_y.shape)
    scale = data_of(kind)[0].std(axis=0)
    tolerance = TOLERANCE.get(name, 0.01)
    assert (np.abs(X - expected_X) <= tolerance * scale).all()
    np.testing.assert_allclose(distiller.history_["loss"], loss, rtol=tolerance)
    if y.dtype.kind == "f":
        np.testing.assert_allclose(y, expected_y, atol=0.01)
    else:
        np.testing.assert_array_equal(y, expected_y)


def test_the_files_are_small():
    assert sum(path.stat().st_size for path in OLD_FILES.rglob("*.*")) < 500_000


def test_there_is_a_file_of_every_version_of_every_format():
    kept = set()
    for path in OLD_FILES.rglob("*.npz"):
        with np.load(path) as archive:
            if "meta" in archive:
                meta = json.loads(archive["meta"].tobytes())
                kept.add((meta["format"], meta["version"]))
    ever = {(kind, k + 1) for kind, version in VERSIONS.items() for k in range(version)}
    assert sorted(ever - kept) == []


# --- runs -------------------------------------------------------------------------------------


@pytest.fixture
def copied(tmp_path):
    """Return a function that copies an old checkpoint to where it may be written to."""

    def copy(name):
        source = FOLDER / "runs" / name
        if source.is_dir():
            return shutil.copytree(source, tmp_path / name, dirs_exist_ok=True)
        return shutil.copy(source.with_name(f"{name}.npz"), tmp_path)

    return copy


def read_run(path):
    with open(path, "rb") as file:
        return _npz.read(file, "skdistill.Run", 1, (), "run.")


def steps_in_file(name):
    """Return the history of the steps that were done when an old checkpoint was written."""
    parts = ["boosted/ipc-1", "boosted/ipc-2"] if name == "boosted" else [name]
    histories = [read_run(FOLDER / "runs" / f"{part}.npz")[1]["run"]["history"] for part in parts]
    return {name: [*chain(*(h[name] for h in histories))] for name in histories[0]}


def with_old_defaults(distiller):
    """Give a distiller the values of 0.1.0 where a default is another one today."""
    inner = getattr(distiller, "distiller", distiller)
    if getattr(inner, "inner_lr", None) == "auto":
        inner.set_params(inner_lr=0.001)
    if getattr(inner, "clip_norm", None) == "auto":
        inner.set_params(clip_norm="feng23")
    return distiller


@pytest.mark.parametrize("name", made.RUNS)
def test_a_run_goes_on_to_the_end_that_it_would_have_had(copied, monkeypatch, name):
    kind, make = made.RUNS[name]
    data = data_of(kind)
    check_end(name, make(copied(name)).fit(*data))
    # By autograd, as inner steps were differentiated then, which rounds in another way.
    monkeypatch.setattr(Chain, "of", lambda learner: None)
    path = copied(name)
    resumed = make(path).fit(*data)
    before = steps_in_file(name)
    n = len(before["loss"])
    # It did go on: steps from before have the seconds that they took then.
    assert n == made.STOPPED_AFTER.get(name, made.STEPS // 2)
    assert resumed.history_["seconds"][:n] == before["seconds"]
    check_end(name, resumed)
    if make(None).get_params().get("validation_fraction") is not None:
        return  # a run that is begun today is validated by other networks
    # To the bits of a run that nothing interrupted, where the first steps have the bits of the
    # file: on other machines and versions of torch they need not.
    whole = with_old_defaults(make(None)).fit(*data)
    check_end(name, whole)
    same = all(whole.history_[column][:n] == before[column] for column in ("loss", "grad_norm"))
    assert same or not has_same_bits(kind)
    if same:
        assert bits(resumed) == bits(whole)


@pytest.mark.parametrize("name", made.RUNS)
def test_a_run_that_is_interrupted_again_has_the_same_bits(copied, outer_step, name):
    kind, make = made.RUNS[name]
    data = data_of(kind)
    resumed = make(copied(name)).fit(*data)
    path = copied(name)
    with outer_step(KeyboardInterrupt, total=2), pytest.raises(KeyboardInterrupt):
        make(path).fit(*data)
    assert bits(make(path).fit(*data)) == bits(resumed)


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
        (
            {"learning_rate_schedule": "cosine"},
            r"learning_rate_schedule must be 'constant'; got \{'schedule': 'cosine', .*\d\}",
        ),
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


def assert_same_set(distilled, expected):
    """Compare all fields of two sets; transformers are compared by what they do."""
    found = [{**vars(each)} for each in (distilled, expected)]
    for bases in zip(*(each.pop("bases") for each in found), strict=True):
        assert type(bases[0]) is type(bases[1])
        for name, array in vars(bases[1]).items():
            np.testing.assert_array_equal(getattr(bases[0], name), array, strict=True)
    for name in ("X", "y", "classes"):
        np.testing.assert_array_equal(*(each.pop(name) for each in found), strict=True)
    first, second = (type(each.pop("preprocessing")) for each in found)
    assert first is second
    assert found[0] == found[1]


@pytest.mark.parametrize("name", forms.FORMS)
def test_a_set_of_each_form_is_what_was_saved(name, tmp_path):
    form = forms.FORMS[name]
    loaded = DistilledDataset.load(OLD_FILES / "forms" / f"{name}.npz")
    expected = form.build()
    assert_same_set(loaded, expected)
    X, y = form.test_data()
    np.testing.assert_array_equal(loaded.standardize(X), expected.standardize(X))
    # Networks can be trained on it.
    result = evaluate(loaded, X, y, n_networks=1, device="cpu")
    assert result.accuracies[0] in (0, 0.5, 1)
    loaded.save(tmp_path / "again.npz")
    assert_same_set(DistilledDataset.load(tmp_path / "again.npz"), expected)


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


def test_an_exported_folder_loads_and_is_replaced(tmp_path):
    folder = shutil.copytree(FOLDER / "exported", tmp_path / "exported")
    before = {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*.*")}
    images, labels = load_image_folder(folder, mode="L", return_X_y=True)
    distilled = DistilledDataset.load(FOLDER / "sets" / "images.npz")
    low, high = made.RANGE
    pixels = np.rint(255 * (distilled.X.clip(low, high) - low) / (high - low))
    np.testing.assert_array_equal(images[labels == 1], pixels[distilled.y == 1])
    distilled.export_images(folder, value_range=made.RANGE, overwrite=True)
    assert before.keys() == {path.relative_to(folder) for path in folder.rglob("*.*")}
    table = Path("labels.csv")
    assert (folder / table).read_bytes() == before[table]


# --- a cache ----------------------------------------------------------------------------------


def test_experts_that_were_kept_are_not_trained_again(tmp_path, monkeypatch):
    folder = shutil.copytree(OLD_FILES / "experts", tmp_path / "experts")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    monkeypatch.setattr(Training, "epoch", lambda *args: pytest.fail("an expert was trained"))
    distiller = forms.fit_with_experts(folder)
    np.testing.assert_allclose(
        distiller.history_["loss"], json.loads(before["losses.json"]), rtol=0.01
    )
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


# --- pickles ----------------------------------------------------------------------------------


def unpickle(name):
    return joblib.load(FOLDER / "pickles" / f"{name}.joblib")


def test_a_pickled_distiller_answers_and_goes_on(copied):
    distiller, data = unpickle("distiller"), data_of("float32 images")
    assert distiller.n_iter_ == 3
    assert distiller.transform()[0].shape == (4, 6, 6)
    assert 0 <= distiller.score(*data) <= 1
    assert "RaTBPTTDistiller" in repr(distiller)
    distiller.set_params(max_iter=made.STEPS).fit(*data)
    check_end("images", distiller)
    # Pickle and checkpoint hold the same run, after as many steps.
    assert bits(distiller) == bits(made.RUNS["images"][1](copied("images")).fit(*data))


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


# --- files of newer versions ------------------------------------------------------------------

NEWER = "which a newer skdistill wrote.* Update skdistill"


def make_newer(path, kind, version=2):
    """Make a file say that it is of a newer version."""
    with np.load(path) as archive:
        content = dict(archive)
    meta = json.loads(content["meta"].tobytes())
    assert (meta["format"], meta["version"]) == (kind, 1)
    text = json.dumps({**meta, "version": version}).encode()
    np.savez(path, **{**content, "meta": np.frombuffer(text, np.uint8)})


def test_a_newer_set_is_refused(tmp_path):
    path = shutil.copy(FOLDER / "sets" / "table.npz", tmp_path)
    make_newer(path, "skdistill.DistilledDataset")
    with pytest.raises(InvalidFileError, match=f"table.npz cannot be loaded: .*got 2, {NEWER}"):
        DistilledDataset.load(path)


def test_a_newer_checkpoint_is_refused_and_kept_though_there_is_one_before_it(copied):
    kind, make = made.RUNS["table"]
    path = Path(copied("table"))
    shutil.copy(path, path.with_name("table.npz.previous"))
    make_newer(path, "skdistill.Run")
    before = path.read_bytes()
    with pytest.raises(InvalidFileError, match=f"table.npz cannot be loaded: .*got 2, {NEWER}"):
        make(path).fit(*data_of(kind))
    assert path.read_bytes() == before


def test_a_newer_folder_of_blocks_is_refused(copied):
    kind, make = made.RUNS["boosted"]
    folder = copied("boosted")
    make_newer(folder / "boosted.npz", "skdistill.BoostedRun")
    with pytest.raises(InvalidFileError, match=f"boosted.npz cannot be loaded: .*got 2, {NEWER}"):
        make(folder).fit(*data_of(kind))


def test_newer_estimators_and_sets_in_pickles_and_files_are_refused(tmp_path, monkeypatch):
    whitened = DistilledDataset.load(FOLDER / "sets" / "whitened.npz")
    things = [
        RaTBPTTDistiller(),
        BoostedDistiller(),
        DistilledClassifier(),
        DistillationSampler(),
        MovingWindow(),
        whitened.preprocessing[-1],
        replace(whitened, preprocessing=None),
    ]
    with monkeypatch.context() as newer:
        newer.setattr(older_versions, "_VERSION", 2)
        pickles = [pickle.dumps(thing) for thing in things]
        whitened.save(tmp_path / "whitened.npz")
        assert [type(pickle.loads(text)) for text in pickles] == [type(thing) for thing in things]
    for thing, text in zip(things, pickles):
        message = f"this {type(thing).__name__} is in version 2 .*{NEWER}"
        with pytest.raises(InvalidFileError, match=message):
            pickle.loads(text)
    with pytest.raises(InvalidFileError, match=rf"whitened\.npz cannot .*ZCAWhitener .*{NEWER}"):
        DistilledDataset.load(tmp_path / "whitened.npz")
