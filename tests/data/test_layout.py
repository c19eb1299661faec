"""Layouts: every way of holding images, there and back."""

import numpy as np
import pytest

from skdistill._data.layout import infer_layout


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
