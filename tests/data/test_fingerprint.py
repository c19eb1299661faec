"""What identifies a training set: its values, whatever their order in memory."""

import joblib
import numpy as np
import pandas as pd
import pytest
import tools

from skdistill._data.fingerprint import describe, describe_as_before
from skdistill._data.rows import take
from skdistill._data.training import Checked

ORDERS = {
    "C": np.ascontiguousarray,
    "F": np.asfortranarray,
    "channels last": lambda X: np.moveaxis(np.ascontiguousarray(np.moveaxis(X, 1, -1)), -1, 1),
    "a part": lambda X: np.repeat(X, 2, axis=2)[:, :, ::2],
}


@pytest.mark.parametrize("shape", [(40, 5, 4), (40, 1, 1)])
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("dtype", [np.uint8, np.float64, ">f4"])
def test_the_order_in_memory_does_not_matter(order, dtype, shape, monkeypatch):
    monkeypatch.setattr("skdistill._data.rows._BLOCK", 60)
    X = np.random.default_rng(0).integers(9, size=shape).astype(dtype)
    y, weight = np.arange(40) % 2, np.ones(40)
    ordered = ORDERS[order](X)
    got = describe(ordered, y, weight)
    assert got == {
        "fingerprint": joblib.hash((X, y, weight)),
        "shape": [*shape],
        "dtype": str(X.dtype),
    }
    rows = np.flatnonzero(np.arange(40) % 3)
    assert describe(take(ordered, rows), y, weight) == describe(X[rows], y, weight)


def test_mapped_arrays_are_described_as_others(tmp_path):
    X, y = np.random.default_rng(0).normal(size=(40, 4)), np.arange(40) % 2
    for order in "CF":
        np.save(tmp_path / "X.npy", np.array(X, order=order))
        assert describe(np.load(tmp_path / "X.npy", mmap_mode="r"), y, None) == describe(X, y, None)


@pytest.mark.parametrize("order", ORDERS)
def test_what_0_1_0_said_is_known(order):
    X, y = np.random.default_rng(0).normal(size=(40, 5, 4)), np.arange(40) % 2
    before = describe_as_before(ORDERS[order](X), y, None)
    assert (before is None) == (order == "C")
    assert order == "C" or before["fingerprint"] == joblib.hash((ORDERS[order](X), y))


def test_a_run_on_a_frame_goes_on_with_an_array_and_the_other_way_round(tmp_path):
    X, y = np.random.default_rng(0).normal(size=(40, 4)), np.arange(40) % 2
    # pandas keeps columns together.
    frame = pd.DataFrame(np.asfortranarray(X)).add_prefix("p")
    assert not frame.to_numpy().flags.c_contiguous
    for name, (first, second) in {"a": (frame, X), "b": (X, frame)}.items():
        tools.quick(checkpoint=tmp_path / f"{name}.npz").fit(first, y)
        tools.quick(checkpoint=tmp_path / f"{name}.npz").fit(second, y)


def test_a_run_that_0_1_0_wrote_of_a_frame_goes_on(tmp_path, monkeypatch):
    X, y = np.random.default_rng(0).normal(size=(40, 4)), np.arange(40) % 2
    frame = pd.DataFrame(np.asfortranarray(X)).add_prefix("p")
    path = tmp_path / "run.npz"
    with monkeypatch.context() as before:
        before.setattr(Checked, "fingerprint", Checked.fingerprint_before)
        tools.quick(checkpoint=path).fit(frame, y)
    with pytest.raises(ValueError, match="X, y and sample_weight must be"):
        tools.quick(checkpoint=path).fit(frame + 1, y)
    # Once it has gone on, its file is in the new form.
    tools.quick(checkpoint=path, max_iter=5).fit(frame, y)
    tools.quick(checkpoint=path, max_iter=5).fit(X, y)
