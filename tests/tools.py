"""What several test modules use: small problems and sets, and steps that go wrong."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from skdistill._data.layout import Layout
from skdistill._engine import outer
from skdistill._engine.data import RealData, Standardizer
from skdistill._engine.methods.base import Method, Problem
from skdistill._engine.rows import ClassRows
from skdistill._engine.streams import Streams
from skdistill.distilled import DistilledDataset, EvaluationRecipe

STEP = "skdistill._run.loop.update"


def real_data(X, y, weight=None):
    """Return float64 samples that are standardised already."""
    channels = X.shape[1]
    standardizer = Standardizer([0.0] * channels, [1.0] * channels, X.shape[1:], "cpu", X.dtype)
    return RealData(X, y, standardizer, torch.device("cpu"), weight)


def a_problem(X, y, ipc, learner=None, weight=None, rngs=Streams(0), **options):  # noqa: B008
    """Return the problem of real samples that are standardised already."""
    rows = ClassRows(int(y.max()) + 1, ipc)
    shape, device = tuple(X.shape[1:]), torch.device("cpu")
    return Problem(real_data(X, y, weight), rows, shape, device, rngs, learner, **options)


class Spoiled(Method):
    """A method whose gradients are not finite in some steps."""

    def __init__(self, method, is_bad):
        self._method, self._is_bad = method, is_bad

    def __getattribute__(self, name):
        if name in ("_method", "_is_bad", "gradient"):
            return object.__getattribute__(self, name)
        return getattr(self._method, name)

    def gradient(self, problem, synthetic, state, step):
        gradient, state = self._method.gradient(problem, synthetic, state, step)
        factor = float("nan") if self._is_bad(step) else 1.0
        return replace(gradient, X=gradient.X * factor), state


def spoil(monkeypatch, is_bad):
    """Make the gradients of the outer steps for which ``is_bad`` holds not finite."""
    original = outer.update
    monkeypatch.setattr(STEP, lambda method, *rest: original(Spoiled(method, is_bad), *rest))


def refuse_work(monkeypatch):
    """Make the first outer step a failure of the test."""
    monkeypatch.setattr(STEP, lambda *args: pytest.fail("work was begun"))


LAYOUTS = {
    "table": Layout((5,), (5,)),
    "flat": Layout((16,), (1, 4, 4)),
    "grey": Layout((4, 3), (1, 4, 3)),
    "rgb": Layout((3, 4, 2), (3, 4, 2)),
    "channels last": Layout((4, 2, 3), (3, 4, 2), channels_last=True),
}


def make(
    layout="grey", *, classes=("a", "bc", "d"), ipc=2, dtype=np.float32, soft=False, **changes
):
    """Return a distilled set of random samples."""
    rng = np.random.default_rng(0)
    layout, classes = LAYOUTS[layout], np.asarray(classes)
    n, channels = ipc * len(classes), layout.network_shape[0]
    recipe = EvaluationRecipe(
        layout=layout,
        mean=tuple(rng.normal(size=channels).tolist()),
        scale=tuple(rng.uniform(1, 2, size=channels).tolist()),
        architecture="convnet",
        steps=30,
        seed=7,
        augmentation={"class": "Compose", "steps": [{"class": "Cutout", "ratio": 0.25}]},
    )
    data = DistilledDataset(
        X=rng.normal(size=(n, *layout.user_shape)).astype(dtype),
        y=rng.dirichlet(np.ones(len(classes)), n).astype(dtype) if soft else np.tile(classes, ipc),
        classes=classes,
        ipc=ipc,
        recipe=recipe,
        provenance={"method": "Nöne", "parameters": {"window": 3, "rate": 0.1, "shape": [1, 2]}},
    )
    return replace(data, **changes)
