"""A distilled set as a notebook shows it."""

import re
from base64 import b64decode
from dataclasses import replace
from html.parser import HTMLParser
from io import BytesIO

import numpy as np
import pytest
from PIL import Image
from sklearn.preprocessing import FunctionTransformer
from tools import make

from skdistill._files import png as _png
from skdistill.distilled import _html

EVIL = "<script>alert('x')</script>\"'&"


class Reader(HTMLParser):
    """Collects the pictures, the text and the tags that are left open."""

    def __init__(self, html):
        super().__init__()
        self.pictures, self.alt, self.text, self.tags, self._open = [], [], [], set(), []
        self.feed(html)
        self.close()
        assert not self._open

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        attrs = dict(attrs)
        if tag == "img":
            kind, _, data = attrs["src"].partition(",")
            assert kind == "data:image/png;base64"
            self.pictures.append(np.asarray(Image.open(BytesIO(b64decode(data)))))
            self.alt.append(attrs["alt"])
        else:
            self._open.append(tag)

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 3), (1, 1, 4)])
def test_other_programs_read_our_png(shape):
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    np.testing.assert_array_equal(Image.open(BytesIO(_png.encode(pixels))), pixels)


@pytest.mark.parametrize("layout", ["gray", "flat", "channels last"])
def test_images_are_pictures_under_their_labels(layout):
    data = make(layout)
    html = Reader(data._repr_html_())
    assert html.alt == ["a", "bc", "d"] * 2
    images = np.squeeze(np.moveaxis(data.recipe.layout.to_engine(data.X), 1, -1))
    low, high = data.X.min(), data.X.max()
    expected = np.rint(255 * (images.astype(float) - low) / (high - low))
    np.testing.assert_array_equal(html.pictures, expected)
    text = " ".join(html.text)
    assert "6, 2 for each of 3 classes" in text
    assert "10 fresh networks (convnet), 30 steps of Adam with learning rate 0.001" in text
    assert "Cutout" in text


def test_tables_are_shown_by_their_first_rows():
    data = make("table", feature_names=("a", "b", "c", "d", "e<i>"), ipc=5, soft=True)
    html = Reader(data._repr_html_())
    assert not html.pictures
    cells = html.text
    assert cells[1:7] == ["a", "b", "c", "d", "e<i>", "label"]
    assert cells[7] == f"{data.X[0, 0]:.4g}"
    best = data.y[0].argmax()
    assert cells[12] == f"{data.classes[best]}, {data.y[0, best]:.2f}"
    assert "… and 5 more samples" in cells


def test_text_in_a_file_is_not_markup():
    about = {"class_names": [EVIL] * 3, "preprocessing": EVIL}
    provenance = {"method": EVIL, "about": about}
    for layout in ("gray", "table"):
        data = make(layout, classes=[EVIL + c for c in "abc"], provenance=provenance)
        recipe = replace(data.recipe, architecture=EVIL, augmentation={"class": EVIL})
        names = (EVIL,) * 5 if layout == "table" else None
        text = replace(data, recipe=recipe, feature_names=names)._repr_html_()
        tags = Reader(text).tags
        assert tags <= {
            "div",
            "b",
            "ul",
            "li",
            "img",
            "figure",
            "figcaption",
            "table",
            "tr",
            "th",
            "td",
        }
        assert "script>" not in text
        assert text.count("<script") == 0


@pytest.mark.parametrize("side", [32, 200])
def test_large_sets_are_shown_in_part(side):
    rng = np.random.default_rng(0)
    n = 120
    X = rng.normal(size=(n, side, side // 2, 3)).astype(np.float32)
    data = make("channels last", classes=np.arange(n), ipc=1)
    layout = replace(data.recipe.layout, user_shape=X.shape[1:], network_shape=(3, side, side // 2))
    data = replace(data, X=X, recipe=replace(data.recipe, layout=layout))
    text = data._repr_html_()
    assert len(text) < 350_000
    html = Reader(text)
    n_shown = len(html.pictures)
    assert 10 < n_shown <= 100
    assert f"… and {n - n_shown} more samples" in html.text
    assert max(html.pictures[0].shape) <= 64
    if side == 200:
        # Means of squares of 4 x 4 pixels.
        small = X[:100].reshape(100, 50, 4, 25, 4, 3).mean(axis=(2, 4), dtype=float)
        expected = np.rint(255 * (small - small.min()) / np.ptp(small))
        np.testing.assert_allclose(html.pictures, expected[:n_shown], atol=1)


def test_preprocessing_is_inverted_if_possible():
    data = make("gray")
    plain = Reader(data._repr_html_()).pictures
    inverse = FunctionTransformer(inverse_func=np.negative)
    shown = Reader(replace(data, preprocessing=inverse)._repr_html_())
    np.testing.assert_allclose(shown.pictures, 255.0 - np.array(plain), atol=1)
    assert "Preprocessing, kept with the set: FunctionTransformer" in shown.text

    def fail(X):
        raise RuntimeError

    broken = FunctionTransformer(inverse_func=fail)
    again = Reader(replace(data, preprocessing=broken)._repr_html_()).pictures
    np.testing.assert_array_equal(again, plain)


@pytest.mark.parametrize(
    "provenance",
    [
        {"about": 3},
        {"about": {"class_names": 3, "test_accuracy": {"mean": "x", "std": 0, "n_networks": 1}}},
        {"about": {"class_names": ["a"], "test_accuracy": {"mean": 10**400, "std": 0}}},
        {"method": ["a"], "about": {"preprocessing": {"a": 1}}},
    ],
)
@pytest.mark.parametrize("layout", ["rgb", "gray", "table"])
def test_an_odd_set_is_still_shown(provenance, layout):
    data = make(layout, provenance=provenance)
    for X in (data.X, np.full_like(data.X, np.nan), np.zeros_like(data.X)):
        assert re.match("<div>.*</div>$", replace(data, X=X)._repr_html_())


def test_images_of_five_channels_are_a_table():
    data = make("rgb")
    layout = replace(data.recipe.layout, user_shape=(5, 4, 2), network_shape=(5, 4, 2))
    X = np.zeros((6, 5, 4, 2), np.float32)
    shown = Reader(_html.render(replace(data, X=X, recipe=replace(data.recipe, layout=layout))))
    assert "table" in shown.tags
    assert "… and 28 more columns" in shown.text
