"""The estimator around the engine: validation, reproducibility, fitted attributes, failure."""

import json
import pickle
import pickletools
import warnings
from math import prod

import joblib
import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.callback import ProgressBar, ScoringMonitor
from sklearn.exceptions import DataConversionWarning, NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from tools import StopAfter, a_problem, quick
from torch import nn

from skdistill import RaTBPTTDistiller
from skdistill._engine.learner import Learner
from skdistill.exceptions import DivergenceError, DivergenceWarning
from skdistill.networks import ConvNet, network_factory
from skdistill.windows import MovingWindow


@pytest.fixture
def table():
    rng = np.random.default_rng(0)
    y = np.repeat(["no", "yes"], 15)
    return rng.normal(size=(30, 4)) * [1, 10, 100, 0] + (y == "yes")[:, None] + 5, y


# --- what comes out ---------------------------------------------------------------------------


def test_fitted_attributes(images):
    X, y = images
    distiller = quick(ipc=3).fit(X, y)
    X_syn, y_syn = distiller.transform()
    assert X_syn.shape == (6, 6, 6)
    assert X_syn.dtype == np.float64
    assert y_syn.tolist() == [0, 1, 0, 1, 0, 1]
    assert distiller.n_iter_ == 3
    assert distiller.n_features_in_ == 36
    assert distiller.device_ == ("cuda" if torch.cuda.is_available() else "cpu")
    assert set(map(len, distiller.history_.values())) == {3}
    assert json.loads(json.dumps(distiller.history_, allow_nan=False)) == distiller.history_
    provenance = distiller.distilled_.provenance
    assert json.loads(json.dumps(provenance, allow_nan=False)) == provenance
    assert provenance["parameters"]["window"] == 2


@pytest.mark.parametrize(
    ("shape", "image_shape"),
    [((1, 6, 6), None), ((6, 6, 3), None), ((36,), (1, 6, 6)), ((6, 6, 2), (2, 6, 6))],
)
def test_samples_come_back_in_the_layout_of_X(images, shape, image_shape):
    y = images[1]
    X = np.random.default_rng(0).integers(256, size=(40, *shape), dtype=np.uint8)
    X_syn, _ = quick(image_shape=image_shape).fit(X, y).transform()
    assert X_syn.shape == (2, *shape)
    assert X_syn.dtype == np.float32


def test_same_layouts_give_same_samples(images):
    X, y = images
    color = np.stack([X, 2 * X, X**2], axis=1)
    first = quick().fit(color, y).transform()[0]
    last = quick().fit(np.moveaxis(color, 1, -1), y).transform()[0]
    flat = quick(image_shape=(3, 6, 6)).fit(color.reshape(40, -1), y).transform()[0]
    np.testing.assert_array_equal(np.moveaxis(last, -1, 1), first)
    np.testing.assert_array_equal(flat.reshape(first.shape), first)


def test_samples_are_in_the_units_of_X(table):
    X, y = table
    X_syn, _ = quick().fit(X, y).transform()
    np.testing.assert_allclose(X_syn[:, 3].std(), 0, atol=1.0)
    # Columns of scale 1, 10 and 100 around 5: norm-1 rows stay within one deviation of the mean.
    assert (np.abs(X_syn - X.mean(axis=0)) <= 1.1 * X.std(axis=0).clip(min=1)).all()


def test_units_do_not_matter(images):
    X, y = images
    X_syn = quick().fit(X, y).transform()[0]
    scaled = quick().fit(1000 * X + 7, y).transform()[0]
    np.testing.assert_allclose((scaled - 7) / 1000, X_syn, rtol=1e-3, atol=1e-4)


def test_kmeans_starts_from_the_clusters_of_standardized_samples(table):
    X, y = table
    units = np.array([2.0**30, 1, 1, 1])  # a power of two changes no other bit
    start = {"ipc": 3, "init": "kmeans", "learning_rate": 1e-9}
    X_syn = quick(**start).fit(X, y).transform()[0]
    np.testing.assert_allclose(quick(**start).fit(X * units, y).transform()[0] / units, X_syn)


def test_the_callers_arrays_are_not_touched(images):
    X, y = images
    X_before, y_before = X.copy(), y.copy()
    X.flags.writeable = y.flags.writeable = False
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        distiller = quick().fit(X, y)
    np.testing.assert_array_equal(X, X_before)
    np.testing.assert_array_equal(y, y_before)
    distiller.transform()[0][:] = 0
    assert distiller.distilled_.X.any()


@pytest.mark.parametrize("labels", [["no", "yes"], [False, True], [-5, 3], [1.0, 2.0]])
def test_labels_of_any_kind(images, labels):
    X, y = images
    y = np.asarray(labels)[y]
    distiller = quick().fit(X, y)
    assert distiller.transform()[1].tolist() == labels
    assert distiller.transform()[1].dtype == y.dtype
    assert 0 <= distiller.score(X, y) <= 1


def test_labels_in_a_column_are_taken_as_a_row_with_a_warning(images):
    X, y = images
    with pytest.warns(DataConversionWarning, match="column-vector y was passed"):
        X_syn = quick().fit(X, y[:, None]).transform()[0]
    np.testing.assert_array_equal(X_syn, quick().fit(X, y).transform()[0])


def test_tensors(images):
    X, y = images
    from_arrays = quick().fit(X, y).transform()[0]
    from_tensors = quick().fit(torch.from_numpy(X), torch.from_numpy(y)).transform()[0]
    np.testing.assert_array_equal(from_tensors, from_arrays)
    # NumPy has no bfloat16.
    half = torch.from_numpy(X).bfloat16()
    from_half = quick().fit(half, torch.from_numpy(y)).transform()[0]
    np.testing.assert_array_equal(from_half, quick().fit(half.float(), y).transform()[0])


# --- what stays the same ----------------------------------------------------------------------


@pytest.mark.parametrize("inner_batch_size", [None, 1])
def test_same_random_state_same_bits(images, inner_batch_size):
    X, y = images
    first, second = (
        quick(ipc=2, batch_size=16, inner_batch_size=inner_batch_size).fit(X, y) for _ in range(2)
    )
    np.testing.assert_array_equal(first.transform()[0], second.transform()[0])
    assert first.history_["loss"] == second.history_["loss"]
    assert first.score(X, y) == second.score(X, y)


def test_another_random_state_other_samples(images):
    X, y = images
    a, b = (quick(random_state=s).fit(X, y).transform()[0] for s in (0, 1))
    assert not np.allclose(a, b)


@pytest.mark.parametrize("random_state", [None, 0])
def test_global_random_states_are_left_alone(images, random_state):
    X, y = images
    numpy_before, torch_before = np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    distiller = quick(random_state=random_state).fit(X, y)
    distiller.score(X, y)
    np.testing.assert_array_equal(np.random.get_state()[1], numpy_before[1])  # noqa: NPY002
    assert np.random.get_state()[2] == numpy_before[2]  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), torch_before)


def test_runs_are_prefixes_of_longer_runs(images):
    X, y = images
    short, long = (quick(max_iter=n, batch_size=16).fit(X, y) for n in (3, 6))
    assert long.history_["loss"][:3] == short.history_["loss"]


@pytest.mark.parametrize("dump", [pickle.dumps, None], ids=["pickle", "joblib"])
def test_persistence(images, tmp_path, dump):
    X, y = images
    distiller = quick().fit(X, y)
    if dump:
        loaded = pickle.loads(pickle.dumps(distiller))
    else:
        joblib.dump(distiller, tmp_path / "distiller.joblib")
        loaded = joblib.load(tmp_path / "distiller.joblib")
    np.testing.assert_array_equal(loaded.transform()[0], distiller.transform()[0])
    assert loaded.score(X, y) == distiller.score(X, y)


# --- how it is used ---------------------------------------------------------------------------


def test_fit_transform_clone_and_pipeline(table):
    X, y = table
    X_syn, _ = quick().fit_transform(X, y)
    np.testing.assert_array_equal(clone(quick()).fit(X, y).transform()[0], X_syn)
    pipeline = make_pipeline(StandardScaler(), quick()).fit(X, y)
    assert pipeline[-1].transform()[0].shape == (2, 4)
    scaled = StandardScaler().fit_transform(X)
    assert pipeline.score(X, y) == quick().fit(scaled, y).score(scaled, y)
    with pytest.raises(TypeError, match="a distiller must be the last step of a pipeline"):
        make_pipeline(quick(), LogisticRegression()).fit(X, y)


def test_architecture_of_the_user(images):
    X, y = images

    def linear(input_shape, n_classes):
        assert input_shape == (1, 6, 6)
        return nn.Sequential(nn.Flatten(), nn.Linear(36, n_classes))

    distiller = quick(architecture=linear).fit(X, y)
    assert 0 <= distiller.score(X, y) <= 1
    assert distiller.distilled_.recipe.architecture is None


def test_schedule_object_and_its_parameters(images):
    X, y = images
    distiller = quick(schedule=MovingWindow("backward", patience=1), max_iter=5)
    distiller.set_params(schedule__patience=2)
    assert distiller.fit(X, y).history_["start"][0] == 2


@pytest.mark.parametrize("schedule", ["bptt", "t-bptt", "r-bptt", "early", "forward", "backward"])
def test_every_schedule_runs(images, schedule):
    X, y = images
    history = quick(schedule=schedule).fit(X, y).history_
    assert all(s + w <= 4 for s, w in zip(history["start"], history["window"]))
    assert history["skipped"] == [False] * 3


def test_sgd(images):
    X, y = images
    history = (
        quick(inner_optimizer="sgd", inner_lr=0.05, inner_weight_decay=1e-3).fit(X, y).history_
    )
    assert None not in history["grad_norm"]


def test_automatic_learning_rate_is_a_quarter_of_the_initial_values(images):
    distilled = quick().fit(*images).distilled_
    assert distilled.provenance["learning_rate"] == pytest.approx(0.25 / 6)
    assert quick(learning_rate=0.1).fit(*images).distilled_.provenance["learning_rate"] == 0.1


@pytest.mark.slow
def test_compiled_runs_equal_plain_ones(images):
    X, y = images
    plain, compiled = (quick(compile=c, batch_size=16).fit(X, y) for c in (False, True))
    np.testing.assert_allclose(compiled.transform()[0], plain.transform()[0], rtol=1e-3, atol=1e-3)
    again = quick(compile=True, batch_size=16).fit(X, y).transform()[0]
    np.testing.assert_array_equal(again, compiled.transform()[0])


@pytest.mark.parametrize("compile", [True, "auto"])
def test_compile_true_warns_once_why_steps_run_eagerly(monkeypatch, images, compile):
    def no_compiler(*args, **kwargs):
        raise RuntimeError("InvalidCxxCompiler: none of them\nis here")

    expected = quick().fit(*images).transform()[0]
    monkeypatch.setattr("torch.compile", no_compiler)
    monkeypatch.setattr("skdistill.distillers.rat_bptt.pays_to_compile", lambda *args: True)
    distiller = quick(compile=compile)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        distiller.fit(*images)
    told = [(str(w.message), w.filename) for w in caught if "eagerly" in str(w.message)]
    if compile == "auto":
        assert not told
    else:
        ((text, filename),) = told
        assert "The reason: RuntimeError: InvalidCxxCompiler: none of them. A C++" in text
        assert filename == __file__
    np.testing.assert_allclose(distiller.transform()[0], expected, rtol=1e-3, atol=1e-5)


def test_compiles_long_runs_only():
    distiller = RaTBPTTDistiller(window=15, unroll=45)
    learner = Learner(lambda: ConvNet((1, 28, 28), 10, norm="batch"))
    problem = a_problem(torch.zeros(10, 1, 28, 28), torch.arange(10), 1, learner)
    assert not distiller.set_params(max_iter=5)._compiles(problem)
    assert distiller.set_params(max_iter=2000)._compiles(problem)
    assert not distiller.set_params(compile=False)._compiles(problem)


def test_compiles_steps_by_rules_only_if_there_are_many():
    distiller = RaTBPTTDistiller(window=20, unroll=60, inner_lr=0.001)

    def compiles(network, max_iter, optimizer="adam"):
        distiller.set_params(inner_optimizer=optimizer)
        learner = Learner(network_factory(network, (1, 8, 8), 10))
        problem = a_problem(torch.zeros(10, 1, 8, 8), torch.arange(10), 1, learner)
        return distiller.set_params(max_iter=max_iter)._compiles(problem)

    def without_whole_steps(shape, n_classes):
        layers = [nn.Linear(prod(shape), 128), nn.ReLU(), nn.LayerNorm(128)]
        return nn.Sequential(nn.Flatten(), *layers, nn.Linear(128, n_classes))

    assert not compiles(without_whole_steps, 1000)
    assert compiles(without_whole_steps, 3000)
    # Nothing that is compiled is faster than the functions of native.c.
    assert not compiles("mlp", 10**6)
    assert compiles("mlp", 10**6, "sgd")
    assert not compiles("convnet", 10**6)
    assert not compiles("convnet", 10**6, "sgd")


def test_verbose_prints_and_silence_is_silent(images, capsys):
    X, y = images
    quick().fit(X, y)
    assert capsys.readouterr().out == ""
    quick(verbose=1).fit(X, y)
    assert "outer step 3/3: loss" in capsys.readouterr().out


def test_callbacks_see_the_steps_and_may_stop(images):
    callback = StopAfter(2)
    distiller = quick().set_callbacks(callback).fit(*images)
    assert (callback.steps, distiller.n_iter_) == (2, 2)


def test_a_scoring_monitor_scores_every_step(images):
    X, y = images
    y = np.array(["down", "up"])[y]
    monitor = ScoringMonitor(scoring={"accuracy": lambda distiller, *data: distiller.score(*data)})
    distiller = quick(eval_steps=50).set_callbacks(monitor).fit(X, y)
    rows = monitor.get_logs().data
    steps = [row["accuracy"] for row in rows if row["task_name"] == "outer step"]
    assert len(steps) == distiller.n_iter_
    assert steps[-1] == distiller.score(X, y) > 0
    make_pipeline(FunctionTransformer(), distiller).fit(X, y)
    rows = monitor.get_logs(include_lineage=True).data
    assert [row["accuracy"] for row in rows if row["task_name"] == "outer step"] == steps
    assert "Pipeline" in {row["estimator_name"] for row in rows}


def test_the_training_set_leaves_a_fingerprint(images):
    X, y = images
    y = np.array(["down", "up"])[y]
    weight = np.linspace(1, 2, len(X))
    first = quick().fit(X, y).distilled_.provenance["training_data"]
    assert first == {
        "fingerprint": joblib.hash((X, y)),
        "shape": list(X.shape),
        "dtype": str(X.dtype),
    }
    weighted = quick().fit(X, y, sample_weight=weight).distilled_.provenance["training_data"]
    assert weighted["fingerprint"] == joblib.hash((X, y, weight))


def test_a_pickled_distiller_holds_nothing_of_a_device(images):
    distiller = quick(validation_fraction=0.25).fit(*images)
    modules = {
        str(argument).split()[0]
        for opcode, argument, _ in pickletools.genops(pickle.dumps(distiller, protocol=2))
        if opcode.name == "GLOBAL"
    }
    assert "skdistill.distillers.rat_bptt" in modules
    # A tensor would be rebuilt by torch, on the device that it was on.
    assert not {name for name in modules if name.split(".")[0] == "torch"}


def test_progress_bar(images, capsys):
    pytest.importorskip("rich")
    quick().set_callbacks(ProgressBar()).fit(*images)
    assert "RaTBPTTDistiller" in capsys.readouterr().out


# --- bad input --------------------------------------------------------------------------------

RNG = np.random.default_rng(0)
IMAGES, LABELS = RNG.normal(size=(20, 6, 6)), np.arange(20) % 2
WITH_NAN = np.where(np.arange(36).reshape(6, 6) == 7, np.nan, IMAGES)
RAGGED = [np.zeros((6, 6))] * 10 + [np.zeros((6, 5))] * 10
WITH_EMPTY_CLASS = pd.Series(pd.Categorical(["a", "b"] * 10, categories=["a", "b", "c"]))

BAD = {
    "window > unroll": ({"window": 5}, IMAGES, LABELS, r"window=5 must be at most unroll=4\."),
    "ipc 0": ({"ipc": 0}, IMAGES, LABELS, r"'ipc' parameter .* must be an int in .* Got 0"),
    "ipc float": ({"ipc": 1.5}, IMAGES, LABELS, r"'ipc' parameter .* must be an int .* Got 1.5"),
    "ipc too large": ({"ipc": 11}, IMAGES, LABELS, r"ipc=11 must be at most 10"),
    "inner_batch_size > ipc": (
        {"inner_batch_size": 2},
        IMAGES,
        LABELS,
        r"inner_batch_size=2 must be at most ipc=1",
    ),
    "learning_rate": ({"learning_rate": -1.0}, IMAGES, LABELS, r"'learning_rate' .* Got -1.0"),
    "learning_rate text": (
        {"learning_rate": "fast"},
        IMAGES,
        LABELS,
        r"'learning_rate' .* Got 'fast'",
    ),
    "window 0": ({"window": 0}, IMAGES, LABELS, r"'window' parameter .* Got 0"),
    "unroll text": ({"unroll": "60"}, IMAGES, LABELS, r"'unroll' parameter .* Got '60'"),
    "max_iter": ({"max_iter": 0}, IMAGES, LABELS, r"'max_iter' parameter .* Got 0"),
    "batch_size": ({"batch_size": 0}, IMAGES, LABELS, r"'batch_size' parameter .* Got 0"),
    "inner_optimizer": (
        {"inner_optimizer": "lbfgs"},
        IMAGES,
        LABELS,
        r"'inner_optimizer' parameter .* Got 'lbfgs'",
    ),
    "inner_lr": ({"inner_lr": 0}, IMAGES, LABELS, r"'inner_lr' parameter .* Got 0"),
    "inner_momentum": ({"inner_momentum": 1}, IMAGES, LABELS, r"'inner_momentum' .* Got 1"),
    "n_networks": ({"n_networks": 0}, IMAGES, LABELS, r"'n_networks' parameter .* Got 0"),
    "too many networks": ({"n_networks": 10**9}, IMAGES, LABELS, r"'n_networks' .* Got 10+"),
    "too many steps": ({"eval_steps": 10**9}, IMAGES, LABELS, r"'eval_steps' .* Got 10+"),
    "eval_steps": ({"eval_steps": -1}, IMAGES, LABELS, r"'eval_steps' parameter .* Got -1"),
    "random_state": ({"random_state": "a"}, IMAGES, LABELS, r"'random_state' .* Got 'a'"),
    "compile": ({"compile": "yes"}, IMAGES, LABELS, r"'compile' parameter .* Got 'yes'"),
    "init": ({"init": "zeros"}, IMAGES, LABELS, r"'init' parameter .* Got 'zeros'"),
    "one class": ({}, IMAGES, 0 * LABELS, r"y must hold at least 2 classes; got 1 class"),
    "empty class": ({}, IMAGES, WITH_EMPTY_CLASS, r"every class that it declares; \['c'\] have"),
    "continuous y": ({}, IMAGES, LABELS + 0.5 * RNG.random(20), r"Unknown label type: continuous"),
    "labels of dates": (
        {},
        IMAGES,
        np.array(["2001", "2002"] * 10, "M8[Y]"),
        r"y must hold strings, numbers or booleans to be saved; got datetime64\[Y\]. y.astype",
    ),
    "whole numbers in objects": (
        {},
        IMAGES,
        LABELS.astype(object),
        r"got objects of int. Pass y.astype\(int\)",
    ),
    "booleans in objects": (
        {},
        IMAGES,
        pd.Series(LABELS == 1, dtype=object),
        r"of bool. Pass y.astype\(bool\)",
    ),
    "text and numbers": (
        {},
        IMAGES,
        np.array(["a", 1] * 10, object),
        r"of int, str. Pass y.astype\(str\)",
    ),
    "labels of bytes": ({}, IMAGES, LABELS.astype("S"), r"labels represented as bytes is not"),
    "lengths": ({}, IMAGES, LABELS[:-1], r"inconsistent numbers of samples"),
    "nan": ({}, WITH_NAN, LABELS, r"no missing values; 20 of 20 samples contain NaN"),
    "inf": ({}, np.full((20, 6, 6), np.inf), LABELS, r"Input X contains infinity"),
    "too large to be saved": (
        {},
        2e37 * IMAGES,
        LABELS,
        r"X must hold values between -1e\+37 and 1e\+37",
    ),
    "no columns": (
        {},
        pd.DataFrame(index=range(20)),
        LABELS,
        r"0 feature\(s\) \(shape=\(20, 0\)\)",
    ),
    "no pixels": ({}, IMAGES[:, :0], LABELS, r"0 feature\(s\) \(shape=\(20, 0, 6\)\)"),
    "ragged": ({}, RAGGED, LABELS, r"X must hold samples of one shape; got shapes \[\(6, 5\)"),
    "text": ({}, [["a", "b"]] * 20, LABELS, r"could not convert string to float|dtype"),
    "ambiguous": ({}, np.zeros((20, 3, 6, 3)), LABELS, r"ambiguous.*Pass image_shape"),
    "channels": (
        {"image_shape": (3, 6, 6)},
        IMAGES,
        LABELS,
        r"image_shape=\(3, 6, 6\) must fit.*got samples of shape \(6, 6\)",
    ),
    "image_shape": ({"image_shape": (6, 6)}, IMAGES, LABELS, r"three positive integers"),
    "schedule": ({"schedule": "random"}, IMAGES, LABELS, r"'schedule' parameter .* Got 'random'"),
    "schedule object": (
        {"schedule": MovingWindow(patience=0)},
        IMAGES,
        LABELS,
        r"'patience' parameter of MovingWindow must be",
    ),
    "architecture": (
        {"architecture": "resnet"},
        IMAGES,
        LABELS,
        r"'architecture' parameter .* Got 'resnet'",
    ),
    "architecture of a table": (
        {"architecture": "convnet"},
        IMAGES.reshape(20, 36),
        LABELS,
        r"architecture='convnet' must be given images",
    ),
    "architecture output": (
        {"architecture": lambda shape, n: nn.Sequential(nn.Flatten(), nn.Linear(36, 5))},
        IMAGES,
        LABELS,
        r"output of shape \(n, 2\); for n=2 the one built gave \(2, 5\)",
    ),
    "architecture input": (
        {"architecture": lambda shape, n: nn.Linear(7, n)},
        IMAGES,
        LABELS,
        r"architecture must accept batches of shape \(n, 1, 6, 6\)",
    ),
    "device": ({"device": "tpu"}, IMAGES, LABELS, r"device must be 'auto' or a device .*'tpu'"),
}


@pytest.mark.parametrize(("parameters", "X", "y", "message"), BAD.values(), ids=BAD)
def test_bad_input_is_refused_before_any_work(outer_step, parameters, X, y, message):
    outer_step.refuse()
    distiller = quick(**parameters)
    with pytest.raises((ValueError, TypeError), match=message):
        distiller.fit(X, y)
    assert not hasattr(distiller, "distilled_")


@pytest.mark.parametrize("name", ["ipc", "max_iter", "learning_rate", "window"])
def test_booleans_are_not_numbers(name):
    with pytest.raises(ValueError, match=f"The '{name}' parameter .* Got True instead"):
        quick(**{name: True}).fit(IMAGES, LABELS)


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_missing_gpu():
    with pytest.raises(ValueError, match=r"device must be .*'cuda'"):
        quick(device="cuda").fit(IMAGES, LABELS)


@pytest.mark.parametrize("method", ["transform", "score", "evaluate"])
def test_unfitted(method):
    with pytest.raises(NotFittedError, match="not fitted yet"):
        getattr(quick(), method)(*((IMAGES, LABELS) if method != "transform" else ()))


def test_test_data_of_another_shape(table):
    with pytest.raises(ValueError, match=r"samples of shape \(6, 6\), as in fit.*\(5, 6\)"):
        quick().fit(IMAGES, LABELS).score(IMAGES[:, :5], LABELS)
    X, y = table
    with pytest.raises(ValueError, match="X has 3 features, but RaTBPTTDistiller is expecting 4"):
        quick().fit(X, y).score(X[:, :3], y)
    with pytest.raises(ValueError, match=r"samples of shape \(4,\), as in fit; got .* \(2, 2\)"):
        quick().fit(X, y).score(X.reshape(-1, 2, 2), y)


# --- divergence and interruption --------------------------------------------------------------


def test_a_bad_meta_gradient_is_skipped_counted_and_warned_of(outer_step):
    outer_step.spoil(lambda step: step == 1)
    with pytest.warns(DivergenceWarning, match="outer step 2 was not finite; the step was skipped"):
        distiller = quick().fit(IMAGES, LABELS)
    assert distiller.history_["skipped"] == [False, True, False]
    assert distiller.history_["grad_norm"][1] is None
    assert distiller.distilled_.provenance["n_skipped"] == 1
    assert np.isfinite(distiller.transform()[0]).all()


def test_lasting_divergence_raises_with_advice_and_keeps_what_was_good(outer_step):
    good = quick(max_iter=2).fit(IMAGES, LABELS).transform()[0]
    outer_step.spoil(lambda step: step >= 2)
    distiller = quick(max_iter=100)
    with (
        pytest.warns(DivergenceWarning),
        pytest.raises(DivergenceError, match=r"up to outer step 12\. Use a shorter window"),
    ):
        distiller.fit(IMAGES, LABELS)
    np.testing.assert_array_equal(distiller.transform()[0], good)


def test_ctrl_c_keeps_what_was_done(outer_step):
    outer_step(at=3, do=KeyboardInterrupt)
    distiller = quick()
    with pytest.raises(KeyboardInterrupt):
        distiller.fit(IMAGES, LABELS)
    assert distiller.n_iter_ == 2
    expected = quick(max_iter=2)
    outer_step.undo()
    np.testing.assert_array_equal(
        distiller.transform()[0], expected.fit(IMAGES, LABELS).transform()[0]
    )


def test_a_fit_that_fails_leaves_the_features_of_an_earlier_one(table, outer_step):
    X, y = table
    frame = pd.DataFrame(X, columns=list("abcd"))
    distiller = quick().fit(frame, y)
    score = distiller.score(frame, y)
    with pytest.raises(ValueError, match="at least 2 classes"):
        distiller.fit(X[:, :2], np.zeros(len(X)))
    assert distiller.score(frame, y) == score
    outer_step(do=ZeroDivisionError)
    with pytest.raises(ZeroDivisionError):
        distiller.fit(frame.set_axis(list("wxyz"), axis=1), y)
    assert distiller.score(frame, y) == score
    with pytest.raises(ZeroDivisionError):
        distiller.fit(X, y)
    assert distiller.feature_names_in_.tolist() == list("abcd")


def test_a_check_leaves_a_fitted_distiller_as_it_was(table):
    X, y = table
    distiller = quick().fit(pd.DataFrame(X, columns=list("abcd")), y)
    distiller.check_input(X[:, :2], y)
    assert distiller.n_features_in_ == 4
    assert distiller.feature_names_in_.tolist() == list("abcd")


def test_columns_of_one_name_are_refused(table, outer_step):
    X, y = table
    frame = pd.DataFrame(X, columns=list("abca"))
    outer_step.refuse()
    with pytest.raises(ValueError, match=r"X must have columns of different names; got \['a'\]"):
        quick().fit(frame, y)


def test_what_is_held_out_is_checked_like_all_input(images):
    with pytest.raises(ValueError, match="ipc=11 must be at most 10"):
        quick(validation_fraction=0.5, ipc=11).check_input(*images)


def test_an_error_in_the_first_step_leaves_nothing_fitted(outer_step):
    outer_step(at=1, do=MemoryError)
    distiller = quick()
    with pytest.raises(MemoryError):
        distiller.fit(IMAGES, LABELS)
    with pytest.raises(NotFittedError):
        distiller.transform()
