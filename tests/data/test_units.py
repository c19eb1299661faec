"""Test data in other units than the training data raises a warning, and unusual data does not."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
from sklearn.datasets import load_digits, load_iris
from tools import make

from skdistill import DistilledDataset
from skdistill._data.units import Moments, moments
from skdistill.datasets import load_distilled
from skdistill.evaluation import evaluate

OPTIONS = {"n_networks": 1, "steps": 1, "architecture": "mlp", "augmentation": None}
DIGITS = load_digits()


def bytes_and_whitened():
    """Return images of bytes, and two sets: distilled from them, and from smaller numbers."""
    X = np.random.default_rng(0).integers(0, 256, (40, 4, 3), dtype=np.uint8)
    data = make(classes=[0, 1], X=np.float32(X[:4]))
    recipe = replace(data.recipe, mean=(float(X.mean()),), scale=(float(X.std()),))
    white = replace(data.recipe, mean=(0.0,), scale=(0.3,))
    return X, replace(data, recipe=recipe), replace(data, recipe=white, X=data.X / 500)


def test_test_data_in_other_units_raises_a_warning():
    X, data, white = bytes_and_whitened()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        data.standardize(X)
        # A few samples may be odd.
        data.standardize(X[:3] / 255)
    with pytest.warns(UserWarning, match="mean size of 1.67 .* deviation of 0.00") as record:
        data.standardize(X / 255)
    assert record[0].filename == __file__
    with pytest.warns(UserWarning, match="the same fitted whitening"):
        white.standardize(X)


def test_evaluate_warns_of_other_units():
    X, data, _ = bytes_and_whitened()
    y = np.arange(40) % 2
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        evaluate(data, X, y, **OPTIONS)
    with pytest.warns(UserWarning, match="units of the training data"):
        evaluate(data, X / 255, y, **OPTIONS)


def is_warned_of(distilled, X, y):
    with warnings.catch_warnings(record=True) as record:
        warnings.simplefilter("always")
        evaluate(distilled, X, y, **OPTIONS)
    return any("in the units of the training data" in str(each.message) for each in record)


@pytest.mark.parametrize(
    "change",
    [
        lambda X: X / 16,
        lambda X: X / 4,
        lambda X: X * 4,
        lambda X: 255 - X,
        lambda X: (X - X.mean()) / X.std(),
    ],
    ids=["0 to 1", "a quarter", "four times", "negative", "standardized"],
)
def test_digits_in_other_units(change):
    distilled = load_distilled("digits")
    for n in (10, 300):
        X, y = DIGITS.data[:n], DIGITS.target[:n]
        assert is_warned_of(distilled, change(X), y)
        assert not is_warned_of(distilled, X, y)


def table_set(X, y):
    """Return a set of rows of a table, with its moments."""
    classes, first = np.unique(y, return_index=True)
    return DistilledDataset.from_arrays(
        X[first], y[first], classes=classes, mean=X.mean(axis=0), scale=X.std(axis=0)
    )


def test_samples_of_some_classes_only_are_not_suspicious():
    digits = load_distilled("digits")
    iris = load_iris(return_X_y=True)
    rng = np.random.default_rng(0)
    # Far apart: a class has a tenth of the deviation.
    y = np.arange(400) % 2
    apart = 20.0 * y[:, np.newaxis] + rng.normal(size=(400, 3)), y
    for distilled, X, y in (
        (digits, DIGITS.data, DIGITS.target),
        (table_set(*iris), *iris),
        (table_set(*apart), *apart),
    ):
        for label in np.unique(y):
            for n in (10, 50, None):
                some = np.flatnonzero(y == label)[:n]
                assert not is_warned_of(distilled, X[some], y[some])
                # Where nobody says what they are, too.
                with warnings.catch_warnings():
                    warnings.simplefilter("error")
                    distilled.standardize(X[some])


def test_other_shares_of_classes_are_not_suspicious():
    y = np.arange(400) % 2
    X = 20.0 * y[:, np.newaxis] + np.random.default_rng(0).normal(size=(400, 3))
    distilled = table_set(X, y)
    some = np.r_[np.flatnonzero(y == 0), np.flatnonzero(y == 1)[:5]]
    assert not is_warned_of(distilled, X[some], y[some])
    assert is_warned_of(distilled, X / 10, y)


def test_a_rare_class_of_the_training_data_is_not_suspicious():
    rng = np.random.default_rng(0)
    y = (np.arange(400) % 20 == 0).astype(int)
    X = 6.0 * y[:, np.newaxis] + rng.normal(size=(400, 5))
    distilled = table_set(X, y)
    half = rng.integers(2, size=400)
    X_half = 6.0 * half[:, np.newaxis] + rng.normal(size=(400, 5))
    assert not is_warned_of(distilled, X_half, half)
    assert not is_warned_of(distilled, X[y == 1], y[y == 1])
    assert is_warned_of(distilled, X_half / 20, half)


@pytest.mark.parametrize("sigma", [2, 3])
def test_long_tails_are_not_suspicious(sigma):
    rng = np.random.default_rng(0)
    X = rng.lognormal(0, sigma, size=(2000, 4))
    y = np.arange(2000) % 2
    distilled = table_set(X, y)
    found = 0
    for _ in range(20):
        some = rng.choice(2000, 100, replace=False)
        found += is_warned_of(distilled, X[some], y[some])
    assert found <= 1


@pytest.mark.parametrize("seed", range(10))
def test_a_few_samples_are_not_suspicious(seed):
    rng = np.random.default_rng(seed)
    y = rng.integers(3, size=1000)
    # Of every kind: normal, rare, skewed, and one that follows from the class.
    kinds = rng.normal(size=1000), rng.random(1000) < 0.02, rng.lognormal(size=1000), y
    X = np.stack(kinds, axis=1).astype(float)
    distilled = table_set(X, y)
    for n in (10, 15, 30, 100):
        some = rng.choice(1000, n, replace=False)
        assert not is_warned_of(distilled, X[some], y[some])


def test_a_set_that_does_not_know_its_moments_has_little_to_say():
    X, y = np.random.default_rng(0).normal(size=(100, 3)), np.arange(100) % 2
    distilled = DistilledDataset.from_arrays(X[:2], y[:2])
    assert not is_warned_of(distilled, X * 4, y)
    assert is_warned_of(distilled, X * 100, y)


def test_what_the_classes_explain():
    layout = make("table", classes=[0, 1]).recipe.layout
    X = np.zeros((100, 5))
    for y, mix in (
        (np.zeros(100, int), 1.0),
        (np.arange(100) % 2, 0.0),
        (np.full(100, -1), 1.0),
        (None, 1.0),
    ):
        assert moments(X, layout, [0.0] * 5, [2.0] * 5, 2, y).mix == pytest.approx(mix)


def test_hopeless_values_are_far_off_even_if_a_milder_rule_holds():
    # A table whose mean is off, which is strange by itself and not wrong.
    off = Moments(100, False, 2.0, 1.0, 1.0, 2.0, 1.0, 0.0)
    assert off.level == 1
    for hopeless in (off._replace(size=6.0), off._replace(spread=0.01)):
        assert hopeless.is_hopeless
        assert hopeless.level == 2
