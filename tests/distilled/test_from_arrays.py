"""Sets made elsewhere: what they hold, how they are judged, and what is refused."""

import subprocess
import sys
import warnings
from dataclasses import replace
from functools import partial

import joblib
import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.datasets import load_iris
from sklearn.preprocessing import StandardScaler
from tools import tiny

from skdistill import DistilledDataset, RaTBPTTDistiller, ZCAWhitener
from skdistill._data.layout import usual_architecture
from skdistill.augmentation import Flip
from skdistill.evaluation import EvaluationProtocol, compare, evaluate
from skdistill.networks import ConvNet, resolve_architecture

from_arrays = DistilledDataset.from_arrays
MEAN, STD = (0.49, 0.48, 0.45), (0.25, 0.24, 0.26)


def images(n=6, seed=0):
    """Return standardized color images, and labels in the order of most codes: class by class."""
    X = np.random.default_rng(seed).normal(size=(n, 3, 8, 8)).astype(np.float32)
    return X, np.repeat(["cat", "dog"], n // 2)


def pixels(n=40):
    rng = np.random.default_rng(5)
    return rng.uniform(size=(n, 3, 8, 8)), np.array(["cat", "dog"])[np.arange(n) % 2]


def test_rows_become_one_sample_of_every_class_after_the_other():
    X, y = images()
    made = from_arrays(X, y)
    assert made.y.tolist() == ["cat", "dog"] * 3
    np.testing.assert_array_equal(made.X, X[[0, 3, 1, 4, 2, 5]])
    assert (made.ipc, made.classes.tolist()) == (3, ["cat", "dog"])
    np.testing.assert_array_equal(made.subset(1).X, X[[0, 3]])


def test_soft_labels_of_any_sign_with_classes_in_any_order():
    X, _ = images(4)
    y = torch.tensor([[0.7, -0.5], [0.9, -2.0], [-0.1, 0.3], [-0.4, 1.5]], requires_grad=True)
    made = from_arrays(X, y, classes=["dog", "cat"])
    # The columns follow the sorted classes; rows follow the largest label.
    assert made.classes.tolist() == ["cat", "dog"]
    assert made.hard_labels().tolist() == ["cat", "dog"] * 2
    expected = y.detach().numpy()[[2, 0, 3, 1]][:, ::-1]
    np.testing.assert_array_equal(made.y, expected)
    assert made.y.dtype == np.float32
    assert (made.recipe.loss, made.recipe.targets) == ("mse", "centered")
    assert from_arrays(X, y.detach().abs(), classes=["dog", "cat"]).recipe.loss == "cross-entropy"


def test_soft_labels_in_blocks_are_put_in_order_by_their_mass():
    X, _ = images(6)
    # Class after class, as tensors of some codes are; the largest of row 2 is not its own.
    y = np.array([[3, 0, 0], [3, 0, 0], [0.3, 0.2, 0], [0, 3, 0], [0, 0, 3], [0, 0, 3]])
    made = from_arrays(X, y, classes=[0, 1, 2])
    np.testing.assert_array_equal(made.y, y[[0, 2, 4, 1, 3, 5]])
    np.testing.assert_array_equal(made.X, X[[0, 2, 4, 1, 3, 5]])
    assert made.subset(1).y.argmax(axis=1).tolist() == [0, 0, 2]


def test_soft_labels_whose_largest_are_not_balanced_keep_their_order():
    X, _ = images(4)
    y = np.array([[1, 0], [2, 0], [0.3, 0.2], [0, 1]])
    made = from_arrays(X, y, classes=[0, 1])
    np.testing.assert_array_equal(made.X, X)
    np.testing.assert_array_equal(made.y, y)


def test_standardized_tensors_come_back_in_the_units_of_the_training_data():
    X, y = images()
    made = from_arrays(torch.tensor(X), y, mean=MEAN, scale=STD, standardized=True)
    column = np.reshape(STD, (3, 1, 1)), np.reshape(MEAN, (3, 1, 1))
    np.testing.assert_allclose(made.X, (X * column[0] + column[1])[[0, 3, 1, 4, 2, 5]], rtol=1e-6)
    assert made.X.dtype == np.float32
    # Networks see what was given.
    samples, _ = made.to_torch().tensors
    np.testing.assert_allclose(samples, X[[0, 3, 1, 4, 2, 5]], atol=1e-5)
    # And pixels standardized in the same way.
    X_test, _ = pixels()
    np.testing.assert_allclose(
        made.standardize(X_test), (X_test - column[1]) / column[0], atol=1e-5
    )


def test_digits_that_single_precision_lacks():
    X, far = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32), {"mean": 1.7e9}
    made = from_arrays(X, [0, 1, 0, 1], scale=1.0, standardized=True, **far)
    assert made.X.dtype == np.float64
    np.testing.assert_allclose(made.to_torch().tensors[0], X, atol=1e-6)
    # In the units of the training data they are lost before the set is made.
    frame = pd.DataFrame(300 * X + 1.7e9, columns=["a", "b", "c"])
    with pytest.warns(UserWarning, match=r"column 'a', column 'b', column 'c' .* in float32"):
        from_arrays(frame.astype(np.float32), [0, 1, 0, 1], scale=300.0, **far)
    # A constant has none, and StandardScaler gives it a scale of 1.
    constant = np.column_stack([X[:, 0], np.full(4, 1.7e9, np.float32)])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        from_arrays(constant, [0, 1, 0, 1], mean=(0, 1.7e9), scale=(1, 1))


def test_labels_among_objects_are_those_of_the_classes_given():
    y = np.array([0, 1, 0, 1], dtype=object)
    assert from_arrays(np.eye(4), y, classes=[0, 1]).y.tolist() == [0, 1, 0, 1]


@pytest.mark.parametrize(
    ("shape", "image_shape", "network_shape"),
    [
        ((5,), None, (5,)),
        ((192,), (3, 8, 8), (3, 8, 8)),
        ((8, 8), None, (1, 8, 8)),
        ((8, 8, 3), None, (3, 8, 8)),
        ((3, 8, 3), (3, 8, 3), (3, 8, 3)),
    ],
)
def test_layouts(shape, image_shape, network_shape):
    X = np.random.default_rng(0).normal(size=(4, *shape))
    made = from_arrays(X, [0, 1, 0, 1], image_shape=image_shape)
    assert made.recipe.layout.network_shape == network_shape
    assert made.recipe.architecture == resolve_architecture("auto", network_shape)
    assert usual_architecture(network_shape) == resolve_architecture("auto", network_shape)
    X_test = np.random.default_rng(1).normal(size=(10, *shape))
    assert evaluate(made, X_test, np.arange(10) % 2, steps=2, n_networks=1).n_samples == 4


def test_bytes_with_their_mean_and_scale():
    X = np.random.default_rng(0).integers(0, 256, size=(4, 8, 8), dtype=np.uint8)
    made = from_arrays(X, [0, 1, 0, 1], mean=127, scale=74.0)
    assert made.X.dtype == np.float32
    np.testing.assert_array_equal(made.X, X)
    assert made.recipe.mean == (127.0,)


def test_a_data_frame_and_a_series():
    frame, target = load_iris(return_X_y=True, as_frame=True)
    mean, scale = frame.mean(), frame.std()
    rows = [0, 50, 100]
    made = from_arrays(frame.iloc[rows], target[rows], mean=mean, scale=scale)
    assert made.feature_names == tuple(frame.columns)
    assert made.target_name == "target"
    assert list(made.to_frame()) == [*frame.columns, "target"]
    assert made.X.dtype == np.float64
    # Three flowers teach their species.
    assert evaluate(made, frame, target, n_networks=2).mean > 0.6


def test_it_evaluates_saves_loads_and_compares_like_any_other(tmp_path):
    X, y = images()
    X_test, y_test = pixels()
    made = from_arrays(
        X, y, mean=MEAN, scale=STD, standardized=True, seed=np.int64(3),
        provenance={"method": "MTT", "url": "https://example.org/images_best.pt"},
    )  # fmt: skip
    made = replace(made, recipe=replace(made.recipe, steps=3, n_networks=2))
    result = evaluate(made, X_test, y_test)
    made.save(tmp_path / "set.npz")
    joblib.dump(made, tmp_path / "set.joblib")
    for loaded in (
        DistilledDataset.load(tmp_path / "set.npz"),
        joblib.load(tmp_path / "set.joblib"),
    ):
        assert loaded.recipe == made.recipe
        assert loaded.provenance["method"] == "MTT"
        np.testing.assert_array_equal(loaded.X, made.X)
        np.testing.assert_array_equal(evaluate(loaded, X_test, y_test).curve, result.curve)
    rows = ["random real samples"]
    comparison = compare(made, X_test, y_test, X_test, y_test, baselines=rows, n_draws=1)
    assert [r.n_samples for r in comparison.results.values()] == [6, 6]
    assert "MTT" in made.card(result)
    assert "<b>DistilledDataset</b>" in made._repr_html_()
    with pytest.warns(UserWarning, match="does not seem to be in the units of the training data"):
        evaluate(made, 255 * X_test, y_test)


def test_it_has_the_accuracy_of_the_distillers_own_set():
    X, y = load_iris(return_X_y=True)
    own = RaTBPTTDistiller(max_iter=3, window=2, unroll=4, random_state=0).fit(X, y).distilled_
    recipe = own.recipe
    again = from_arrays(own.X, own.y, mean=recipe.mean, scale=recipe.scale, seed=recipe.seed)
    assert again.recipe == recipe
    few = {"n_networks": 2, "steps": 5}
    np.testing.assert_array_equal(
        evaluate(again, X, y, **few).curve, evaluate(own, X, y, **few).curve
    )


def test_whitened_images_keep_their_whitening(tmp_path):
    X_train = np.random.default_rng(1).uniform(size=(50, 3, 5, 5))
    whitener = ZCAWhitener().fit(X_train)
    white = whitener.transform(X_train)
    made = from_arrays(white[:4], [0, 0, 1, 1], preprocessing=whitener)
    made.save(tmp_path / "set.npz")
    loaded = DistilledDataset.load(tmp_path / "set.npz")
    np.testing.assert_allclose(loaded.standardize(X_train), white, atol=1e-5)
    test = X_train, np.arange(50) % 2
    protocol = EvaluationProtocol(steps=2, n_networks=1)
    np.testing.assert_array_equal(
        evaluate(loaded, *test, protocol=protocol).curve,
        evaluate(replace(made, preprocessing=None), white, test[1], protocol=protocol).curve,
    )


# The recipe ---------------------------------------------------------------------------------------


def test_a_set_can_have_the_protocol_of_a_paper(tmp_path):
    X, y = images()
    made = from_arrays(X, y, protocol="frepo")
    recipe = made.recipe
    assert (recipe.loss, recipe.optimizer, recipe.warmup_steps) == ("mse", "adam", 500)
    assert recipe.architecture == {
        "class": "ConvNet", "width": 128, "norm": "none", "doubling": True, "padding": 1,
        "initialization": "lecun",
    }  # fmt: skip
    assert recipe.augmentation["class"] == "OneOf"
    made.save(tmp_path / "set.npz")
    assert DistilledDataset.load(tmp_path / "set.npz").recipe == recipe
    # Whoever leaves things open gets the recipe's.
    open_to_all = made.with_protocol(EvaluationProtocol(steps=5)).recipe
    assert (open_to_all.steps, open_to_all.loss) == (5, "cross-entropy")
    assert open_to_all.architecture == recipe.architecture
    assert open_to_all.augmentation == recipe.augmentation
    assert made.with_protocol("recipe") is made


def test_a_recipe_trains_as_the_protocol_does():
    X, y = images()
    network = partial(ConvNet, width=4, norm="none")
    protocol = EvaluationProtocol(
        steps=4, n_networks=2, loss="mse", targets="centered", architecture=network,
        augmentation=Flip(),
    )  # fmt: skip
    made = from_arrays(X, y, mean=MEAN, scale=STD, standardized=True)
    by_recipe = evaluate(made.with_protocol(protocol), *pixels())
    np.testing.assert_array_equal(
        by_recipe.curve, evaluate(made, *pixels(), protocol=protocol).curve
    )


def test_networks_that_a_recipe_cannot_keep_are_refused():
    made = from_arrays(*images())
    with pytest.raises(ValueError, match=r"an architecture that a recipe can keep.*got tiny"):
        made.with_protocol(EvaluationProtocol(steps=5, architecture=tiny))
    with pytest.raises(ValueError, match="architecture must be one of 'auto', 'convnet'"):
        made.with_protocol(EvaluationProtocol(steps=5, architecture="lenet"))


# What is refused ----------------------------------------------------------------------------------

N = np.random.default_rng(0).normal(size=(4, 3))
HARD = [0, 1, 0, 1]
BYTES = np.random.default_rng(0).integers(0, 256, size=(4, 3, 8, 8))
BAD = {
    "no feature": ((N[:, :0], HARD), {}, r"X must hold samples; got .* \(4, 0\)"),
    "no sample": ((np.empty((0, 3)), []), {}, r"X must hold samples; got .* \(0, 3\)"),
    "one dimension": ((N[:, 0], HARD), {}, r"X must hold samples; got .* \(4,\)"),
    "text": (([["a", "b"]] * 4, HARD), {}, "X must hold real numbers"),
    "digits as text": (
        (pd.DataFrame({"a": list("1212"), "b": 0.5}), HARD), {},
        r"X must hold numbers; got 'a' \(text\)\. Turn them",
    ),
    "NA": (
        (pd.DataFrame({"a": pd.array([1, None, 1, 2], "Int64")}), HARD), {},
        r"X must have no missing values; it contains NaN in 'a' \(1\)",
    ),
    "NaN": ((N * np.nan, HARD), {}, "X must hold finite numbers; it holds NaN or infinity"),
    "ambiguous": ((np.zeros((4, 3, 8, 3)), HARD), {}, "is ambiguous.*Pass image_shape="),
    "image_shape": ((N, HARD), {"image_shape": (1, 2, 2)}, "must fit the samples of X"),
    "length": ((N, HARD[:3]), {}, "X and y must have the same length; got 4 and 3"),
    "unequal": ((N, [0, 1, 1, 1]), {}, "equally many samples of every class.*{0: 1, 1: 3}"),
    "one class": ((N, [1, 1, 1, 1]), {}, r"y must have at least 2 classes; got \[1\]"),
    "column": ((N, np.reshape(HARD, (4, 1))), {}, r"y must have one dimension.*y.ravel\(\)"),
    "3-d labels": ((N, np.zeros((4, 2, 2))), {}, "y must hold a label per sample, or a row of"),
    "label NaN": ((N, [0, 1, 0, np.nan]), {}, "y must have no NaN or None: .*, 1 of 4 here"),
    "NaN and text": ((N, [np.nan, "a"] * 2), {}, "y must have no NaN or None: .*, 2 of 4 here"),
    "label infinity": ((N, [0, 1, 0, np.inf]), {}, "y must hold labels; it holds infinity"),
    "unknown label": ((N, HARD), {"classes": [0, 2]}, r"among classes, \[0, 2\]; got 1"),
    "class without samples": (
        (N, HARD), {"classes": [0, 1, 2]}, "equally many samples of every class.*2: 0}"
    ),
    "classes twice": ((N, HARD), {"classes": [0, 0]}, "classes must be distinct labels"),
    "soft without classes": ((N, N[:, :2]), {}, r"classes must be given .*np.arange\(2\)"),
    "soft with few classes": (
        (N, N), {"classes": [0, 1]}, "must name the 3 columns of y; got 2 classes"
    ),
    "soft NaN": ((N, N * np.nan), {"classes": [0, 1, 2]}, "y must hold finite soft labels"),
    "soft text": ((N, N.astype(str)), {"classes": [0, 1, 2]}, "y must hold numbers as soft labels"),
    "soft rows": ((N, N), {"classes": [0, 1, 2]}, "equally many samples of every class"),
    "objects": (
        (N, np.array([0, 1, 0, 1], object)), {}, r"got objects of int\. Pass y\.astype\(int\)"
    ),
    "classes of two kinds": (
        (N, HARD), {"classes": np.array([1, "a"], object)}, "must hold labels of one kind"
    ),
    "mean alone": ((N, HARD), {"mean": 0.5}, "mean and scale must be .* together; scale is miss"),
    "standardized by what": ((N, HARD), {"standardized": True}, "needs mean and scale"),
    "means": ((N, HARD), {"mean": [0, 1], "scale": 1}, "mean must be a number, or 3 of them"),
    "mean image": (
        (BYTES, HARD), {"mean": np.zeros((3, 8, 8)), "scale": 1}, "(?s)per channel.*StandardScaler"
    ),
    "scale 0": ((N, HARD), {"mean": 0, "scale": 0}, "scale must be positive; got 0"),
    "scale NaN": ((N, HARD), {"mean": 0, "scale": np.nan}, "scale must be positive; got nan"),
    "bytes as they are": (
        (BYTES, HARD), {}, "about 1 in size, unless mean and scale .* values go from [01] to 255"
    ),
    "bytes and scale of pixels": (
        (BYTES, HARD), {"mean": 0.5, "scale": 0.25}, "255 times smaller than those of bytes"
    ),
    "pixels and scale of bytes": (
        (BYTES / 255, HARD), {"mean": 127, "scale": 74}, "must be in the units of X.*from 0 to 1"
    ),
    "bytes called standardized": (
        (BYTES, HARD), {"mean": 0.5, "scale": 0.25, "standardized": True},
        "X must have been standardized already with standardized=True",
    ),
    "not fitted": ((N, HARD), {"preprocessing": StandardScaler()}, r"must be fitted.*StandardSc"),
    "no transformer": ((N, HARD), {"preprocessing": "zca"}, "a fitted transformer; got 'zca'"),
    "class of one": ((N, HARD), {"preprocessing": StandardScaler}, "None or a fitted transformer"),
    "provenance": ((N, HARD), {"provenance": {"X": N}}, "provenance must be JSON-safe"),
    "provenance text": ((N, HARD), {"provenance": "MTT"}, "provenance must be a mapping"),
    "names": ((N, HARD), {"feature_names": ["a"]}, "feature_names must be None or 3 strings"),
    "seed": ((N, HARD), {"seed": -1}, "recipe.seed must be a non-negative integer"),
    "protocol": ((N, HARD), {"protocol": "idc"}, "protocol must be 'recipe', an EvaluationProt"),
    "huge": ((N * 1e300, HARD), {"mean": 0, "scale": 1e300}, r"recipe.scale must be .* to 1e\+38"),
}  # fmt: skip


@pytest.mark.parametrize(("arrays", "options", "message"), BAD.values(), ids=BAD)
def test_what_is_refused(arrays, options, message):
    with pytest.raises(ValueError, match=message):
        from_arrays(*arrays, **options)


def test_rows_of_norm_one_and_constant_tables_are_no_mistake():
    # A distiller's samples start so: they hardly vary, but about 0.
    X = np.random.default_rng(0).normal(size=(4, 3, 32, 32))
    X /= np.linalg.norm(X.reshape(4, -1), axis=1)[:, None, None, None]
    assert from_arrays(X, HARD).ipc == 2


def test_the_arrays_of_the_caller_stay_as_they_are():
    X, y = images()
    X.flags.writeable = y.flags.writeable = False
    made = from_arrays(X, y, mean=MEAN, scale=STD, standardized=True)
    assert not np.shares_memory(made.X, X)
    made.X[:] = 0


def test_it_needs_no_torch(tmp_path):
    code = (
        "import sys\n"
        "class NoTorch:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.partition('.')[0] == 'torch':\n"
        "            raise ImportError('no torch here')\n"
        "sys.meta_path.insert(0, NoTorch())\n"
        "import numpy as np\n"
        "from skdistill import DistilledDataset\n"
        "made = DistilledDataset.from_arrays(np.eye(4), [0, 1, 0, 1], mean=0.25, scale=0.5)\n"
        f"made.save({str(tmp_path / 'set.npz')!r})\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
    assert DistilledDataset.load(tmp_path / "set.npz").ipc == 2


def test_frames_of_other_numbers():
    frame = pd.DataFrame({"a": [1, 2, 3, 4], "b": [0.5, 0.25, 0, 1]})
    made = from_arrays(frame, pd.Series(["u", "v", "u", "v"]), mean=[2.5, 0.4], scale=[1, 0.5])
    assert made.target_name is None
    assert made.to_frame()["a"].tolist() == [1, 2, 3, 4]


def test_it_keeps_a_copy_of_the_preprocessing():
    X = np.random.default_rng(0).normal(5, 2, size=(6, 3))
    scaler = StandardScaler().fit(X)
    made = DistilledDataset.from_arrays(scaler.transform(X), [0, 1] * 3, preprocessing=scaler)
    expected = scaler.transform(X)
    scaler.fit(100 * X)
    np.testing.assert_array_equal(made.preprocessing.transform(X), expected)
