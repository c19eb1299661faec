"""Samples on their way in and out: no differences are lost to rounding, and constants stay."""

import warnings
from functools import partial

import numpy as np
import pandas as pd
import pytest
import tools
import torch

from skdistill import BoostedDistiller, DistributionMatchingDistiller
from skdistill._data.rows import take
from skdistill._engine.data import RealData, Standardizer, as_tensor
from skdistill._engine.methods.base import Gradient
from skdistill._engine.parametrization import Parametrization, Rows
from skdistill.evaluation import evaluate
from skdistill.parametrization import LinearBasis

quick = partial(tools.quick, max_iter=2, eval_steps=60)


@pytest.fixture
def table():
    """Return 120 whole numbers around 0 in three columns, of three classes, as floats."""
    rng = np.random.default_rng(0)
    y = np.arange(120) % 3
    return np.rint(10 * rng.normal(size=(120, 3)) + 25 * np.eye(3)[y]), y


# --- large means ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("offset", "dtype"),
    [
        *[(offset, float) for offset in (1e5, 1e7, 1e8, 1e9, 1e12)],
        *[(1_700_000_000, dtype) for dtype in (np.int64, np.int32, np.uint32)],
        (2**63, np.uint64),
    ],
)
def test_an_offset_loses_nothing(table, offset, dtype):
    X, y = table
    unit = 2**24 if dtype is np.uint64 else 1  # doubles as large as this offset are 2,048 apart
    X_far = np.int64(unit * X).astype(dtype) + dtype(offset)  # whole numbers may wrap on the way
    plain, far = (quick(init="kmeans").fit(Z, y) for Z in (unit * X, X_far))
    assert plain.score(unit * X, y) > 0.8
    assert far.score(X_far, y) == pytest.approx(plain.score(unit * X, y), abs=0.01)
    X_syn = far.transform()[0]
    assert X_syn.dtype == np.float64
    near = (X_syn - offset) / unit
    np.testing.assert_allclose(near, plain.transform()[0] / unit, rtol=0, atol=0.1)
    assert np.ptp(near, axis=0).min() > 5


def test_samples_of_large_means_start_other_runs(table):
    X, y = table
    X_syn = quick(ipc=2, init="real").fit(X + 1e9, y).distilled_
    again = quick(ipc=2, init=X_syn, learning_rate=1e-9).fit(X + 1e9, y).transform()[0]
    np.testing.assert_allclose(again - 1e9, X_syn.X - 1e9, rtol=0, atol=1e-5)


def standardizer(mean, scale, device="cpu"):
    return Standardizer(mean, scale, (len(mean),), device, torch.float32)


@pytest.mark.parametrize("dtype", [np.float64, np.int64, np.float32, np.uint8, np.uint16, ">f4"])
def test_means_that_are_not_large_give_the_bits_of_single_precision(dtype):
    X = np.random.default_rng(0).integers(200, size=(50, 2)).astype(dtype)
    if X.dtype == np.float64:
        X += 0.1
    mean, scale = X.mean(axis=0, dtype=np.float64), X.std(axis=0, dtype=np.float64)
    expected = (X.astype(np.float32) - np.float32(mean)) / np.float32(scale)
    data = RealData(as_tensor(X), torch.zeros(50), standardizer(mean, scale), "cpu")
    np.testing.assert_array_equal(data.batch(np.arange(50))[0].numpy(), expected)


@pytest.mark.parametrize("dtype", [torch.float64, torch.int64])
@pytest.mark.parametrize("mean", [1.0, 1e9])
def test_other_devices_hold_single_precision(dtype, mean, monkeypatch):
    # Memory is pinned for a real device, which need not be here.
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda x: x)
    # A device that has no memory shows what would be on one.
    X = torch.zeros(10, 4, 5, 3, dtype=dtype).permute(0, 3, 1, 2)
    there = Standardizer([mean] * 3, [1.0] * 3, (3, 4, 5), "meta", torch.float32)
    data = RealData(X, torch.zeros(10), there, torch.device("meta"))
    assert data.n_bytes == 4 * X.numel()
    batch, _ = data.batch(np.arange(4))
    assert (batch.dtype, batch.device.type) == (torch.float32, "meta")
    # Batches have the memory order of the CPU's, on which a convolution's algorithm may depend.
    assert batch.stride() == X[torch.arange(4)].stride()


def test_what_other_devices_hold_becomes_what_the_cpu_computes():
    X = torch.from_numpy(np.random.default_rng(0).normal([0.5, 1e9], size=(20, 2)))
    here = standardizer([0.5, 1e9], [1.0, 1.0])
    assert torch.equal(here.finish(here.narrow(X)), here.forward(X))
    np.testing.assert_allclose(here.forward(X), X.numpy() - [0.5, 1e9], atol=1e-6)


# --- rows of an array -------------------------------------------------------------------------


def test_rows_of_rows_and_their_batches():
    X = np.arange(60.0).reshape(20, 3)
    rows = take(take(X, np.arange(0, 20, 2)), np.array([7, 1, 4]))
    assert rows.shape == (3, 3)
    np.testing.assert_array_equal(rows, X[[14, 2, 8]])
    here = standardizer([0.0] * 3, [1.0] * 3)
    for device in ("cpu", "meta"):
        there = standardizer([0.0] * 3, [1.0] * 3, device)
        data = RealData(torch.from_numpy(X), torch.arange(3), there, device, rows=rows.rows)
        assert len(data) == 3
        assert data.n_bytes == 3 * 3 * (8 if device == "cpu" else 4)
    data = RealData(torch.from_numpy(X), torch.arange(3), here, "cpu", torch.ones(3), rows.rows)
    batch, y, _ = data.batch(np.array([2, 0]))
    np.testing.assert_array_equal(batch, X[[8, 14]])
    assert y.tolist() == [2, 0]


@pytest.mark.parametrize("dtype", [np.uint8, np.float64])
def test_limits_are_those_of_the_samples_that_take_part(monkeypatch, dtype):
    monkeypatch.setattr("skdistill._engine.data._BLOCK", 100)
    X = np.random.default_rng(0).integers(50, 200, size=(40, 2, 4, 3)).astype(dtype)
    X[3, 1, 2, 2], X[4] = 5, 255
    here = Standardizer([100.0, 50.0], [10.0, 20.0], (2, 4, 3), "cpu", torch.float32)
    rows = np.delete(np.arange(40), 4)
    data = RealData(torch.from_numpy(X), torch.zeros(39), here, "cpu", rows=rows)
    for limit, raw in zip(data.limits(), (X[rows].min((0, 2, 3)), X[rows].max((0, 2, 3)))):
        assert limit.shape == (2, 1, 1)
        expected = (raw - np.array([100.0, 50.0])) / [10, 20]
        np.testing.assert_allclose(limit.flatten(), expected, rtol=1e-6)


# --- what float64 cannot hold, or float32 -----------------------------------------------------


def test_lost_digits_are_reported_by_name(table):
    X, y = table
    frame = pd.DataFrame(100 * X, columns=["a", "time", "c"])
    frame["time"] += 1.7e9
    with pytest.warns(UserWarning, match=r"Differences in column 'time' of X .* float32"):
        quick().fit(frame.astype(np.float32), y)
    distiller = quick().fit(frame, y)
    with pytest.warns(UserWarning, match=r"Differences in column 'time' of X .* float32"):
        evaluate(distiller.distilled_, frame.to_numpy(np.float32), y)
    with pytest.warns(UserWarning, match=r"Differences in column 1, column 2 of X .* float64"):
        quick().fit(X * [1, 100, 1e-40] + [0, 1e18, 0], y)
    images = np.zeros((120, 3, 2, 2)) + 100 * X[:, :, None, None] + [[[0]], [[0]], [[1e18]]]
    with pytest.warns(UserWarning, match="Differences in channel 2 of X"):
        quick().fit(images, y)


def test_exact_and_constant_columns_raise_no_warning(table):
    X, y = table
    X = np.column_stack([X + 1e7, np.full(120, 1e9), np.full(120, 0.1)])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        distilled = quick().fit(X, y).distilled_
        result = evaluate(distilled, X, y)
        quick().fit(X.astype(np.float32) - np.float32(1e7), y)
        quick().fit((X % 256).astype(np.uint8), y)
    assert result.mean > 0.5


# --- constant columns ---------------------------------------------------------------------------

CONSTANTS = [3.0, 0.1, 1e-40, 1e9 / 3, -7.7e30, 0.0]


@pytest.mark.parametrize(
    "distiller",
    [
        quick(ipc=2),
        quick(ipc=2, init="real", learn_labels=True),
        quick(ipc=2, init="kmeans", validation_fraction=0.2, validation_interval=1),
        quick(ipc=3, parametrization=LinearBasis(2)),
        BoostedDistiller(3, block_size=2, distiller=quick(), random_state=0),
        BoostedDistiller(3, block_size=2, beta=0.1, distiller=quick(), random_state=0),
        BoostedDistiller(4, block_size=2, distiller=quick(parametrization=LinearBasis(2))),
        DistributionMatchingDistiller(2, max_iter=2, random_state=0),
    ],
    ids=["gaussian", "real", "kmeans", "basis", "boosted", "weak", "boosted bases", "matching"],
)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_constant_columns_come_back_as_they_were(table, distiller, dtype):
    X, y = table
    constants = np.array(CONSTANTS, dtype)
    X = np.column_stack([X.astype(dtype), np.tile(constants, (120, 1))])
    weight = np.linspace(0.3, 1, 120)
    distilled = distiller.fit(X, y, sample_weight=weight).distilled_
    assert distilled.X.dtype == dtype
    np.testing.assert_array_equal(distilled.X[:, 3:], np.tile(constants, (len(distilled), 1)))
    assert np.ptp(distilled.X[:, :3], axis=0).min() > 1
    assert distilled.recipe.mean[3:] == tuple(constants.tolist())
    if distilled.bases:
        made = [np.tensordot(b.coefficients, b.basis, 1) + b.offset for b in distilled.bases]
        np.testing.assert_allclose(np.concatenate(made), distilled.X, rtol=1e-5, atol=1e-4)


def test_a_constant_channel_comes_back_as_it_was(images):
    X, y = images
    X = np.stack([X, np.full_like(X, 0.1), np.zeros_like(X)], axis=-1)
    X_syn = quick().fit(X, y).transform()[0]
    assert (X_syn[..., 1] == 0.1).all()
    assert not X_syn[..., 2].any()
    X_syn = quick().fit(np.full_like(X, 7, dtype=np.uint8) * (X > 0), y).transform()[0]
    assert not X_syn[..., 2].any()
    assert np.ptp(X_syn[..., 0]) > 1


def test_constant_features_are_not_learned():
    mask = torch.tensor([1.0, 0.0])
    samples = Parametrization((Rows("X"),), torch.zeros(3), mask)
    tensors = {"X": torch.randn(3, 2, generator=torch.Generator().manual_seed(0))}
    assert torch.equal(samples.samples(tensors) != 0, mask.bool().expand(3, 2))
    grad = samples.pull_back(tensors, Gradient(torch.tensor(0.0), torch.ones(3, 2)))["X"]
    assert torch.equal(grad, mask.expand(3, 2))
