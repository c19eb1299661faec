"""Layouts: every way of holding images, there and back."""

import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.datasets import load_sample_image
from tools import quick

from skdistill._data.layout import infer_layout, warn_of_channels_last
from skdistill._data.rows import take


@pytest.mark.parametrize(
    ("shape", "image_shape", "network_shape"),
    [
        ((5, 7), None, (7,)),
        ((5, 9, 8), None, (1, 9, 8)),
        ((5, 3, 9, 8), None, (3, 9, 8)),
        ((5, 9, 8, 3), None, (3, 9, 8)),
        ((5, 72), (1, 9, 8), (1, 9, 8)),
        ((5, 216), (3, 9, 8), (3, 9, 8)),
        ((5, 9, 8), (1, 9, 8), (1, 9, 8)),
        ((5, 6, 9, 8), (6, 9, 8), (6, 9, 8)),
        ((5, 9, 8, 6), (6, 9, 8), (6, 9, 8)),
        ((5, 3, 9, 3), (3, 3, 9), (3, 3, 9)),
        ((5, 22, 40, 1), (22, 40, 1), (22, 40, 1)),
    ],
)
def test_round_trip(shape, image_shape, network_shape):
    X = np.arange(np.prod(shape)).reshape(shape)
    layout = infer_layout(shape, image_shape)
    assert layout.network_shape == network_shape
    engine = layout.to_engine(X)
    assert engine.shape == (5, *network_shape)
    np.testing.assert_array_equal(layout.to_caller(engine), X)


def test_channels_last_moves_channels_not_pixels():
    X = np.random.default_rng(0).normal(size=(2, 9, 8, 3))
    np.testing.assert_array_equal(infer_layout(X.shape, None).to_engine(X)[1, 2], X[1, :, :, 2])


@pytest.mark.parametrize(
    ("shape", "image_shape", "message"),
    [
        ((5, 3, 9, 3), None, r"ambiguous.*Pass image_shape"),
        ((5, 6, 9, 8), None, r"ambiguous.*Pass image_shape"),
        ((5, 3, 9, 8), (1, 9, 8), r"image_shape=\(1, 9, 8\) must fit.*\(3, 9, 8\)"),
        ((5, 70), (1, 9, 8), r"72 features.*got samples of shape \(70,\)"),
        ((5, 32, 32, 3), (32, 32, 3), r"must be \(channels, height, width\): \(3, 32, 32\)\? If"),
        ((5, 784), (28, 28, 1), r"must be \(channels, height, width\): \(1, 28, 28\)\? If"),
        ((5, 3072), (32, 32, 3), r"\(3, 32, 32\)\?.* pass X\.reshape\(-1, 32, 32, 3\), and no"),
        ((5, 2, 3, 9, 8), None, r"X must be \(n, features\)"),
    ],
)
def test_unclear_shapes(shape, image_shape, message):
    with pytest.raises(ValueError, match=message):
        infer_layout(shape, image_shape)


# --- flat images whose channels are last ------------------------------------------------------


def waves(n, height, width, channels):
    """Return smooth images of a few colors, with their channels last."""
    rng = np.random.default_rng(0)
    across, down, phase = rng.uniform(0.5, 1.5, (3, n, 1, 1))
    x, y = np.arange(width) / width, np.arange(height)[:, None] / height
    gray = np.cos(2 * np.pi * (across * x + down * y + phase))
    return gray[..., None] * rng.normal(size=(n, 1, 1, channels)) + rng.normal(size=channels)


def photos(name, size):
    """Return pieces of one of scikit-learn's photos."""
    photo, rng = load_sample_image(name), np.random.default_rng(0)
    corners = zip(rng.integers(427 - size, size=80), rng.integers(640 - size, size=80))
    return np.stack([photo[i : i + size, j : j + size] for i, j in corners])


PICTURES = {
    "waves": waves(100, 48, 48, 3),
    "few and small": waves(5, 8, 8, 3),
    "with noise": waves(20, 16, 16, 3) + np.random.default_rng(1).normal(0, 0.1, (20, 16, 16, 3)),
    "four channels": waves(20, 12, 40, 4),
    "gray": np.repeat(waves(20, 28, 28, 1), 3, axis=3),
    "buildings": photos("china.jpg", 48),
    "flower": photos("flower.jpg", 32),
}


def is_told_to_be_scrambled(X, image_shape):
    with warnings.catch_warnings(record=True) as record:
        warnings.simplefilter("always")
        warn_of_channels_last(X, infer_layout(X.shape, image_shape))
    return len(record) == 1 and "with their channels last" in str(record[0].message)


@pytest.mark.parametrize("pictures", PICTURES.values(), ids=PICTURES)
def test_flat_images_are_warned_of_if_their_channels_are_last(pictures):
    n, height, width, channels = pictures.shape
    shape = channels, height, width
    first = np.moveaxis(pictures, -1, 1).copy()
    assert is_told_to_be_scrambled(pictures.reshape(n, -1), shape)
    assert not is_told_to_be_scrambled(first.reshape(n, -1), shape)
    # Their shape tells the order of all others.
    assert not is_told_to_be_scrambled(pictures, shape)
    assert not is_told_to_be_scrambled(first, shape)


@pytest.mark.parametrize(
    "X",
    [
        np.random.default_rng(0).normal(size=(100, 192)),
        np.random.default_rng(0).integers(0, 256, (3, 192), np.uint8),
        np.random.default_rng(0).random((50, 192)) < 0.05,
        np.zeros((2, 192)),
        np.repeat(np.arange(6.0).reshape(2, 3), 64, axis=1),
    ],
    ids=["normal", "bytes", "sparse", "constant", "one color each"],
)
def test_noise_and_flat_colors_are_not_warned_of(X):
    assert not is_told_to_be_scrambled(X, (3, 8, 8))


def test_other_rows_than_color_images_of_some_size_are_not_warned_of():
    X = waves(20, 8, 8, 3).reshape(20, -1)
    assert is_told_to_be_scrambled(X, (3, 8, 8))
    for shape in (None, (1, 8, 24), (6, 4, 8), (3, 4, 16)):
        assert not is_told_to_be_scrambled(X, shape)


BYTES = photos("china.jpg", 32).reshape(80, -1)


def memory_mapped(folder):
    np.save(folder / "X.npy", BYTES)
    return np.load(folder / "X.npy", mmap_mode="r")


@pytest.mark.parametrize(
    "make",
    [
        lambda _: BYTES,
        memory_mapped,
        lambda _: torch.from_numpy(BYTES),
        lambda _: torch.from_numpy(BYTES).to(torch.bfloat16),
        lambda _: pd.DataFrame(BYTES),
        lambda _: BYTES.astype(object),
        lambda _: (BYTES / 255).astype(np.float16),
    ],
    ids=["bytes", "memory map", "tensor", "bfloat16", "frame", "objects", "float16"],
)
@pytest.mark.parametrize("weights", [None, np.arange(80) % 4])
def test_fit_warns_whatever_holds_the_images(tmp_path, make, weights):
    distiller = quick(image_shape=(3, 32, 32))
    with pytest.warns(UserWarning, match=r"Pass X\.reshape\(-1, 32, 32, 3\), and no") as record:
        distiller.check_input(make(tmp_path), np.arange(80) // 40, sample_weight=weights)
    assert [each.filename for each in record] == [__file__]


def test_the_way_out_is_right():
    X = BYTES.reshape(-1, 32, 32, 3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        checked = quick().check_input(X, np.arange(80) // 40)
    assert checked.layout.network_shape == (3, 32, 32)


def test_only_a_few_rows_are_read():
    class Counted(np.ndarray):
        n_read = 0

        def __getitem__(self, rows):
            Counted.n_read += np.size(rows)
            return np.asarray(self)[rows]

    X = np.zeros((1000, 192)).view(Counted)
    assert not is_told_to_be_scrambled(X, (3, 8, 8))
    assert not is_told_to_be_scrambled(take(X, np.arange(500)), (3, 8, 8))
    assert Counted.n_read == 128
