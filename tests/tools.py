"""Tools for several test modules: small problems and sets, and steps that go wrong."""

import importlib.util
import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from skdistill import RaTBPTTDistiller
from skdistill._data.layout import Layout
from skdistill._engine import outer
from skdistill._engine.data import RealData, Standardizer
from skdistill._engine.methods.base import Method, Problem
from skdistill._engine.rows import ClassRows
from skdistill._engine.streams import Streams
from skdistill._run import loop
from skdistill.distilled import DistilledDataset, EvaluationRecipe
from skdistill.distillers import BaseDistiller, Extra, Gradient, OuterSGD

ROOT = Path(__file__).parents[1]


def label(parameter):
    """Return a parameter as text that is the same in every process, as the ids of tests must be."""
    return re.sub(" at 0x[0-9a-f]+", "", str(parameter))


def load(path):
    """Return a file of code as a module of its own, which no import finds."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def how_to(name):
    """Return a file of code that pages of the documentation show, as a module."""
    return load(ROOT / "docs" / "howto" / "code" / f"{name}.py")


def tiny(input_shape, n_classes, width=4):
    """Return a network so small that outer steps take milliseconds."""
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(math.prod(input_shape), width),
        nn.ReLU(),
        nn.Linear(width, n_classes),
    )


QUICK = {
    "max_iter": 3, "window": 2, "unroll": 4, "n_networks": 2, "eval_steps": 5, "random_state": 0
}  # fmt: skip
# As little work as there can be. A new method adds those of its own parameters that cost time.
LEAST = {
    "max_iter": 3, "batch_size": 16, "n_networks": 1, "eval_steps": 2, "architecture": tiny,
    "random_state": 0,
    "window": 1, "unroll": 2,  # RaT-BPTT
    "inner_loop": 2,  # gradient matching
    "pool_size": 2, "pool_steps": 2,  # FRePo, RCIG
    "inner_steps": 2, "inverse_steps": 2,  # RCIG
    "n_experts": 1, "max_start": 2, "epoch_steps": 2, "syn_steps": 2,  # trajectory matching
}  # fmt: skip


def quick(kind=RaTBPTTDistiller, /, **parameters):
    """Return a distiller, of RaT-BPTT or another kind, that needs a fraction of a second."""
    return kind(**_known(kind, QUICK) | parameters)


def smallest(kind, /, **parameters):
    """Return a distiller that does as little as one of its kind can, with the smallest network."""
    return kind(**_known(kind, LEAST) | parameters)


def _known(kind, values):
    return {name: value for name, value in values.items() if name in kind._get_param_names()}


class PlainLayerNorm(nn.LayerNorm):
    """Layer normalization of the last dimension, whose forward derivatives are differentiable.

    torch (2.14) takes the deviation for a constant where its own are differentiated once more.
    """

    def forward(self, X):
        """Return the normalized samples."""
        X = X - X.mean(-1, keepdim=True)
        return X / (X.square().mean(-1, keepdim=True) + self.eps).sqrt() * self.weight + self.bias


def plain(module):
    """Return a network whose layer normalizations are plain ones."""
    for layer in module.modules():
        if isinstance(layer, nn.LayerNorm):
            layer.__class__ = PlainLayerNorm
    return module


def table():
    """Return 30 rows of three features in two classes that overlap, and labels."""
    rng = np.random.default_rng(0)
    y = np.arange(30) % 2
    return rng.normal(size=(30, 3)) + y[:, None], y


def images():
    """Return 40 images of 6 x 6 pixels in two classes that differ in brightness, and labels."""
    rng = np.random.default_rng(0)
    y = np.arange(40) % 2
    X = rng.normal(size=(40, 6, 6)) + np.linspace(-1, 1, 6) * (2 * y - 1)[:, None, None]
    return X, y


def real_data(X, y, weight=None):
    """Return float64 samples that are standardized already."""
    channels = X.shape[1]
    standardizer = Standardizer([0.0] * channels, [1.0] * channels, X.shape[1:], "cpu", X.dtype)
    return RealData(X, y, standardizer, torch.device("cpu"), weight)


def a_problem(X, y, ipc, learner=None, weight=None, rngs=Streams(0), **options):  # noqa: B008
    """Return the problem of real samples that are standardized already."""
    rows = ClassRows(int(y.max()) + 1, ipc)
    shape, device = tuple(X.shape[1:]), torch.device("cpu")
    return Problem(real_data(X, y, weight), rows, shape, device, rngs, learner, **options)


class Slope(Method):
    """Moves samples down, and labels and a further tensor up, each by its learning rate.

    The history holds where they were before each step.
    """

    optimizer, clip = OuterSGD(momentum=0), None

    def extra(self, problem):
        return {"height": Extra(torch.zeros(1), learning_rate=0.5)}

    def gradient(self, problem, synthetic, state, step):
        X, y, height = synthetic.X, synthetic.y, synthetic.extra["height"]
        where = {"where": X.mean().item(), "label": y.double().mean().item()}
        up = {"height": -torch.ones_like(height)}
        return Gradient(X.sum(), torch.ones_like(X), -torch.ones_like(y), up, where), state


class Slide(BaseDistiller):
    """A distiller each of whose steps is as long as its learning rate, whatever the data."""

    _needs_network = False

    def _make_method(self, problem):
        return Slope()


def slide(**parameters):
    """Return a distiller of eight steps of 0.1, and of 0.05 for the labels."""
    usual = {"max_iter": 8, "learning_rate": 0.1, "learn_labels": True, "label_lr_scale": 0.5}
    return Slide(**usual | {"n_networks": 1, "eval_steps": 2, "random_state": 0} | parameters)


class Scaled(Method):
    """A method whose gradients of the samples are multiplied by a function of the steps done."""

    def __init__(self, method, factor):
        self._method, self._factor = method, factor

    def __getattribute__(self, name):
        if name in ("_method", "_factor", "gradient"):
            return object.__getattribute__(self, name)
        return getattr(self._method, name)

    def gradient(self, problem, synthetic, state, step):
        gradient, state = self._method.gradient(problem, synthetic, state, step)
        return replace(gradient, X=gradient.X * self._factor(step)), state


class OuterStep:
    """Something that happens in outer steps, until it is undone or another takes its place.

    `do` is called with the state of the run before the step, or is the error to raise. It happens
    in each step, or in one: with `at`, counted from 1 in its run; with `total`, counted from 1 over
    all runs. `begun` holds the number in its run of each outer step that was begun. With `factor`,
    a function of the number of steps done, the gradients of the samples are multiplied.

    Tests have it as the fixture `outer_step`. As a context manager, it ends with its block.
    """

    def __init__(self, do=None, *, at=None, total=None, factor=None):
        self.begun = []
        self._do, self._at, self._total, self._factor = do, at, total, factor
        loop.update = self._update

    def _update(self, method, problem, state, *rest):
        self.begun.append(state.step + 1)
        if self._at in (None, self.begun[-1]) and self._total in (None, len(self.begun)):
            if isinstance(self._do, BaseException | type):
                raise self._do
            if self._do is not None:
                self._do(state)
        if self._factor is not None:
            method = Scaled(method, self._factor)
        return outer.update(method, problem, state, *rest)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.undo()

    @classmethod
    def refuse(cls):
        """Make every outer step a failure of the test."""
        return cls(lambda state: pytest.fail("work was begun"))

    @classmethod
    def spoil(cls, is_bad):
        """Make the gradients not finite if `is_bad` holds for the number of steps done."""
        return cls(factor=lambda step: float("nan") if is_bad(step) else 1.0)

    @staticmethod
    def undo():
        loop.update = outer.update


def bits(distiller):
    """Return all that two runs must have in common to the bit: what they made, and how."""
    made = distiller.distilled_
    blocks = [array for block in made.bases for array in vars(block).values()]
    # A boosted distiller has none of its own: its blocks have.
    arrays = [made.X, made.y, *getattr(distiller, "extra_", {}).values(), *blocks]
    history = {name: each for name, each in distiller.history_.items() if name != "seconds"}
    return [(array.dtype, array.tobytes()) for array in arrays], history


def check_same_bits_after(how, make, data, folder, *, first):
    """Check that a run in two parts has the bits of a whole one, and return the whole one.

    The first part has `first` outer steps; the second follows by a "warm start", from a
    "checkpoint" of a shorter run, or from a "checkpoint after Ctrl-C" in a run of the same length.
    """
    whole = make().fit(*data)
    if how == "warm start":
        parts = make(warm_start=True, max_iter=first).fit(*data)
        parts.set_params(max_iter=whole.max_iter)
    elif how == "checkpoint":
        make(checkpoint=folder / "run", max_iter=first).fit(*data)
        parts = make(checkpoint=folder / "run")
    else:
        parts = make(checkpoint=folder / "run")
        with OuterStep(KeyboardInterrupt, at=first + 1), pytest.raises(KeyboardInterrupt):
            make(checkpoint=folder / "run").fit(*data)
    assert bits(parts.fit(*data)) == bits(whole)
    return whole


class Callback:
    """A callback of scikit-learn's that does nothing; others say what they do."""

    def setup(self, estimator, context):
        """Do nothing."""

    def teardown(self, estimator, context):
        """Do nothing."""

    def on_fit_task_begin(self, estimator, context):
        """Do nothing."""

    def on_fit_task_end(self, estimator, context):
        """Do nothing."""


class StopAfter(Callback):
    """A callback that stops a run after some outer steps, and counts them."""

    def __init__(self, n):
        self.n, self.steps = n, 0

    def on_fit_task_end(self, estimator, context):
        """Ask to stop after the n-th outer step."""
        self.steps += context.task_name == "outer step"
        return self.steps >= self.n


LAYOUTS = {
    "table": Layout((5,), (5,)),
    "flat": Layout((16,), (1, 4, 4)),
    "gray": Layout((4, 3), (1, 4, 3)),
    "rgb": Layout((3, 4, 2), (3, 4, 2)),
    "channels last": Layout((4, 2, 3), (3, 4, 2), channels_last=True),
}


def make(
    layout="gray", *, classes=("a", "bc", "d"), ipc=2, dtype=np.float32, soft=False, **changes
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


def assert_same(loaded, data):
    """Check that a set is the same as another, bit for bit."""
    for name in ("X", "y", "classes"):
        got, expected = getattr(loaded, name), getattr(data, name)
        np.testing.assert_array_equal(got, expected, strict=True)
    assert loaded.recipe == data.recipe
    assert (loaded.ipc, loaded.provenance) == (data.ipc, data.provenance)
    assert loaded.feature_names == data.feature_names
