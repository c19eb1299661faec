"""The input of networks: the same arithmetic for real and synthetic samples."""

import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from sklearn.preprocessing import StandardScaler
from tools import LAYOUTS, make


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", LAYOUTS)
def test_synthetic_and_real_samples_are_standardized_to_the_same_bits(name, dtype):
    data = make(name, dtype=dtype)
    samples, labels = data.to_torch().tensors
    got = data.standardize(data.X)
    assert got.dtype == np.float32
    np.testing.assert_array_equal(samples.numpy(), got, strict=True)
    assert labels.tolist() == data.encode_labels(data.y).tolist() == [0, 1, 2, 0, 1, 2]


@pytest.mark.parametrize("wrap", [np.asarray, torch.tensor, np.ndarray.tolist])
def test_channels_last_images_are_standardized_per_channel(wrap):
    data = make("channels last")
    X = np.arange(2 * 24, dtype=np.uint8).reshape(2, 4, 2, 3)
    expected = (X - np.array(data.recipe.mean)) / data.recipe.scale
    got = data.standardize(wrap(X))
    assert got.shape == (2, 3, 4, 2)
    np.testing.assert_array_equal(np.moveaxis(got, 1, -1), expected.astype(np.float32))


def test_a_large_mean_costs_no_digits():
    data = make("table")
    recipe = replace(data.recipe, mean=(1e9,) * 5, scale=(2.0,) * 5)
    X = 1e9 + np.arange(15.0).reshape(3, 5)
    got = replace(data, recipe=recipe, X=np.tile(X, (2, 1))).standardize(X)
    np.testing.assert_array_equal(got, np.arange(15).reshape(3, 5) / 2)


def test_many_samples_are_standardized_like_few(monkeypatch):
    data = make("rgb")
    X = np.random.default_rng(0).normal(size=(7, 3, 4, 2))
    expected = data.standardize(X)
    monkeypatch.setattr("skdistill._data.network_input._BLOCK", 50)
    np.testing.assert_array_equal(data.standardize(X), expected)


def test_samples_go_through_the_saved_preprocessing_first():
    X = 50 + 10 * np.random.default_rng(0).normal(size=(20, 5))
    scaler = StandardScaler().fit(X)
    data = make("table")
    got = replace(data, preprocessing=scaler).standardize(X)
    np.testing.assert_array_equal(got, data.standardize(scaler.transform(X)))


def test_a_data_frame_must_have_the_columns_of_the_training_data():
    data = make("table", feature_names=tuple("abcde"))
    frame = pd.DataFrame(data.X, columns=list("abcde")).assign(b=[True, False] * 3)
    expected = data.X.copy()
    expected[:, 1] = frame["b"]
    np.testing.assert_array_equal(data.standardize(frame), data.standardize(expected))
    with pytest.raises(ValueError, match="in another order: column 0 is 'e', and in the training"):
        data.standardize(frame[list("edcba")])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda X: X.rename(columns={"d": "D"}), "it lacks 'd', and it has 'D' besides. Name"),
        (lambda X: X.drop(columns=["b", "d"]), "it lacks 'b', 'd'. Name"),
        (
            lambda X: X.assign(f=1),
            r"it has 'f' besides\. Pass X\[list\(distilled\.feature_names\)\]",
        ),
        (lambda X: X[list("abcded")], "it has 'd' besides. Pass"),
        (lambda X: X[list("abced")], "column 3 is 'e', and in the training data it was 'd'. Pass"),
        (lambda X: pl.DataFrame(X).drop("b"), "it lacks 'b'. Name"),
    ],
)
def test_an_error_names_the_columns_that_differ(change, message):
    data = make("table", feature_names=tuple("abcde"))
    with pytest.raises(ValueError, match=f"the columns of the training data.*{message}"):
        data.standardize(change(pd.DataFrame(data.X, columns=list("abcde"))))


def test_numbers_need_no_names_of_their_own():
    data = make("table")
    frame = pd.DataFrame(data.X, columns=["a"] * data.X.shape[1])
    np.testing.assert_array_equal(data.standardize(frame), data.standardize(data.X))


def test_frames_need_numpy_alone(monkeypatch):
    monkeypatch.setitem(sys.modules, "skdistill._data.frames", None)
    data = make("table")
    np.testing.assert_array_equal(data.standardize(pd.DataFrame(data.X)), data.standardize(data.X))


def test_a_table_of_pyarrow_has_names():
    pa = pytest.importorskip("pyarrow")
    data = make("table", feature_names=tuple("abcde"))
    table = pa.table(dict(zip("abcde", data.X.T)))
    np.testing.assert_array_equal(data.standardize(table), data.standardize(data.X))
    with pytest.raises(ValueError, match="it lacks 'b'"):
        data.standardize(table.drop_columns("b"))


@pytest.mark.parametrize(
    ("X", "message"),
    [
        (np.zeros((2, 3)), "X has 3 features, but the distilled data set is expecting 5"),
        (np.full((2, 5), np.nan), "X must hold finite numbers"),
        (np.full((2, 5), 1e300), "values of too large a size"),
        (np.full((2, 5), "x"), "X must hold real numbers; got an array of dtype <U1"),
        (np.full((2, 5), "x", object), "X must hold samples of numbers of one shape: "),
    ],
)
def test_anything_but_samples_is_refused(X, message):
    with pytest.raises(ValueError, match=message):
        make("table").standardize(X)


@pytest.mark.parametrize(
    ("classes", "y", "expected"),
    [
        ([3, 5, 8], np.array([8, 3], np.uint8), [2, 0]),
        ([3, 5, 8], torch.tensor([8, 3]), [2, 0]),
        ([3, 5, 8], [8.0, 3], [2, 0]),
        ([False, True], pd.Series([True]), [1]),
        (["a", "b"], np.array(["b", "a"], object), [1, 0]),
        (["a", "b"], pd.Categorical(["b", "a"]), [1, 0]),
        (["a", "b"], [], []),
    ],
)
def test_labels_become_positions_of_classes(classes, y, expected):
    got = make(classes=classes).encode_labels(y)
    assert got.dtype == np.int64
    assert got.tolist() == expected


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (["a", "e", "z", "e"], r"among the classes \['a', 'bc', 'd'\]; got 'e', 'z'\."),
        ([1], r"got 1\."),
        (list("efghijk"), r"got 'e', 'f', 'g', 'h', 'i' and 2 more\."),
        ([float("nan"), "a"], r"y must have no NaN or None: .*, 1 of 2 here"),
        (np.eye(3), r"one label per sample; got an array of shape \(3, 3\)"),
    ],
)
def test_labels_that_are_not_classes_are_named(y, message):
    with pytest.raises(ValueError, match=message):
        make().encode_labels(y)


def test_numbers_are_not_the_strings_that_name_them():
    with pytest.raises(ValueError, match=r"got 3\."):
        make(classes=["3", "5", "8"]).encode_labels([3])
