"""Sets as Datasets of Hugging Face's package datasets."""

import sys
from dataclasses import replace

import numpy as np
import pytest
from sklearn.preprocessing import StandardScaler
from tools import LAYOUTS, make

datasets = pytest.importorskip("datasets")


def test_images_become_pictures():
    data = make("gray", dtype=np.float64)
    found = data.to_hf(value_range=(-1, 2))
    assert found.features == datasets.Features(
        {"image": datasets.Image(), "label": datasets.ClassLabel(names=["a", "bc", "d"])}
    )
    expected = np.rint(255 * ((data.X + 1) / 3).clip(0, 1))
    np.testing.assert_array_equal([np.asarray(image) for image in found["image"]], expected)
    assert found["label"][:] == [0, 1, 2, 0, 1, 2]


@pytest.mark.parametrize(
    ("layout", "mode", "size"), [("rgb", "RGB", (2, 4)), ("channels last", "RGB", (2, 4))]
)
def test_pictures_have_their_channels_last(layout, mode, size):
    data = make(layout)
    image = data.to_hf()[0]["image"]
    assert (image.mode, image.size) == (mode, size)
    pixels = np.moveaxis(data.recipe.layout.to_engine(data.X), 1, -1)
    expected = np.rint(255 * (pixels[0] - data.X.min()) / np.ptp(data.X))
    np.testing.assert_allclose(np.asarray(image), expected, atol=1)


@pytest.mark.parametrize("layout", [name for name in LAYOUTS if name != "table"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, ">f4"])
def test_numbers_are_exact(layout, dtype):
    data = make(layout, dtype=dtype)
    found = data.to_hf(images=False)
    feature = found.features["image"]
    assert getattr(feature, "feature", feature).dtype == np.dtype(dtype).name
    np.testing.assert_array_equal(np.array(found["image"][:]), data.X)


def test_pictures_go_back_through_the_preprocessing():
    data = make("flat")
    scaler = StandardScaler().fit(np.random.default_rng(1).normal(size=(50, 16)) * np.arange(1, 17))
    found = replace(data, preprocessing=scaler)
    expected = scaler.inverse_transform(data.X)
    pictures = np.array([np.asarray(image) for image in found.to_hf()["image"]]).reshape(6, 16)
    np.testing.assert_allclose(
        pictures, 255 * (expected - expected.min()) / np.ptp(expected), atol=0.51
    )
    np.testing.assert_array_equal(np.array(found.to_hf(images=False)["image"][:]), data.X)


def test_a_table_has_its_columns():
    data = make("table", feature_names=("a", "b", "label", "d", "é"), classes=[1, 5])
    found = data.to_hf()
    assert found.column_names == ["a", "b", "label", "d", "é", "label_"]
    np.testing.assert_array_equal(found["label"][:], data.X[:, 2])
    assert found.features["a"] == datasets.Value("float32")
    assert found.features["label_"].names == ["1", "5"]
    assert found["label_"][:] == [0, 1, 0, 1]
    assert make("table").to_hf().column_names == ["x0", "x1", "x2", "x3", "x4", "label"]


@pytest.mark.parametrize("layout", ["table", "gray"])
def test_soft_labels_are_lists(layout):
    data = make(layout, soft=True)
    found = data.to_hf()
    assert found.features["label"] == datasets.List(datasets.Value("float32"), length=3)
    np.testing.assert_array_equal(np.array(found["label"][:], np.float32), data.y)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["x", "y", "z"], ["x", "y", "z"]),
        (["x", "x", "z"], ["a", "bc", "d"]),
        (["x", "y"], ["a", "bc", "d"]),
        ([1, 2, 3], ["a", "bc", "d"]),
        ("xyz", ["a", "bc", "d"]),
    ],
)
def test_names_of_classes_that_the_set_knows(names, expected):
    data = make("table", provenance={"about": {"class_names": names}})
    assert data.to_hf().features["label"].names == expected


@pytest.mark.parametrize(
    ("layout", "options", "message"),
    [
        ("table", {"value_range": (0, 1)}, r"value_range=\(0, 1\) must be None unless samples"),
        ("gray", {"images": False, "value_range": (0, 1)}, "must be None unless samples become"),
        ("gray", {"value_range": (1, 0)}, r"value_range must be \(low, high\)"),
    ],
)
def test_a_range_that_makes_no_sense(layout, options, message):
    with pytest.raises(ValueError, match=message):
        make(layout).to_hf(**options)


def test_columns_of_the_same_name_are_refused():
    with pytest.raises(ValueError, match="feature_names must be distinct; 'a' is there twice"):
        make("table", feature_names=tuple("abcad")).to_hf()


def test_without_the_package_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(ImportError, match=r'to_hf needs the package datasets: .*\[datasets\]"'):
        make("table").to_hf()
