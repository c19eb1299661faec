"""The sheet of samples that goes with a set's card."""

from io import BytesIO

import numpy as np
import pytest
from PIL import Image
from tools import LAYOUTS, make

from skdistill._data.layout import Layout
from skdistill.distilled._thumbnails import sheet


def read(data):
    return np.asarray(Image.open(BytesIO(sheet(data))))


def test_a_sheet_has_a_class_in_each_column():
    data = make("gray", ipc=4)
    paper = read(data)
    # Twelve images of 4 x 3 pixels, each 16 times as large, nine in a row, with white around.
    assert paper.shape == (2 * (64 + 2) + 2, 9 * (48 + 2) + 2)
    expected = np.rint(255 * (data.X - data.X.min()) / np.ptp(data.X))
    for k in range(12):
        top, left = 2 + k // 9 * 66, 2 + k % 9 * 50
        image = paper[top : top + 64, left : left + 48]
        np.testing.assert_allclose(image, expected[k].repeat(16, 0).repeat(16, 1), atol=1)
        assert (paper[:, left - 2 : left] == 255).all()
    assert (paper[66 + 2 :, 2 + 3 * 50 :] == 255).all()


@pytest.mark.parametrize(("layout", "mode"), [("flat", "L"), ("rgb", "RGB")])
def test_colors(layout, mode):
    assert Image.open(BytesIO(sheet(make(layout)))).mode == mode


def test_large_sets_are_shown_in_part():
    paper = read(make("gray", classes=np.arange(25), ipc=10))
    assert paper.shape == (10 * 66 + 2, 10 * 50 + 2)


def test_what_is_no_picture_has_no_sheet(monkeypatch):
    assert sheet(make("table")) is None
    monkeypatch.setitem(LAYOUTS, "two channels", Layout((2, 4, 4), (2, 4, 4)))
    assert sheet(make("two channels")) is None
