"""The outer step takes no gradient that is not one, and no method that changes what it is given."""

import numpy as np
import pytest
import torch
from tools import quick

from skdistill import FRePoDistiller, RCIGDistiller
from skdistill._engine.methods.base import Gradient, Method
from skdistill._engine.outer import initial_state, update
from skdistill._engine.parametrization import EXTRA, Parametrization, Rows
from skdistill.augmentation import Augmentation


class Own(Method):
    """A correct method; the tests change what it returns, or what it does to the samples."""

    def __init__(self, change=None, **parts):
        self.change, self.parts = change, parts

    def gradient(self, problem, synthetic, state, step):
        if self.change is not None:
            self.change(synthetic)
        X, y, height = synthetic.X, synthetic.y, synthetic.extra["height"]
        parts = {
            "loss": X.sum(), "X": torch.ones_like(X), "y": torch.ones_like(y),
            "extra": {"height": torch.ones_like(height)}, "record": {"where": 1.0},
        }  # fmt: skip
        return Gradient(**parts | self.parts), state


def step(method, soft=True):
    """Do an outer step with four samples of two classes, soft labels and a further tensor."""
    tensors = {"X": torch.zeros(4, 3), EXTRA + "height": torch.zeros(1)}
    if soft:
        tensors["y"] = torch.eye(2).repeat(2, 1)
    parametrization = Parametrization((Rows("X"),), torch.arange(4) % 2)
    state = initial_state(method, None, tensors)
    return update(method, None, state, parametrization, dict.fromkeys(tensors, 0.1))


@pytest.mark.parametrize("soft", [False, True])
def test_a_correct_gradient_is_taken(soft):
    state, record = step(Own(), soft)
    assert (state.tensors["X"] < 0).all()
    assert record.row()["where"] == 1


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"loss": 1.0}, "loss of a Gradient must be a scalar tensor; Own gave float"),
        ({"loss": torch.ones(4)}, r"must be a scalar tensor; Own gave \(4,\)"),
        ({"X": torch.ones(3)}, r"^X of a Gradient must have the shape .* \(4, 3\); .* \(3,\)"),
        ({"y": torch.ones(2)}, r"^y of a Gradient must have the shape .* \(4, 2\); .* \(2,\)"),
        ({"extra": {"height": torch.ones(2)}}, r"^extra\['height'\] of a Gradient must have the"),
        ({"extra": {}}, r"extra\(problem\) declares, \['height'\]; Own gave \[\]"),
        (
            {"extra": {"height": torch.ones(1), "depth": torch.ones(1)}},
            r"declares, \['height'\]; Own gave \['depth', 'height'\]",
        ),
        (
            {"record": {"loss": 7.0, "skipped": 0.0, "start": 1}},
            r"record .* names of its own; history_ has \['loss', 'skipped'\]",
        ),
        ({"record": {"validation_accuracy": 1.0}}, "record of a Gradient must have names of its"),
    ],
)
def test_what_is_no_gradient_of_what_is_learned_is_refused(parts, message):
    with pytest.raises(ValueError, match=message):
        step(Own(**parts))


@pytest.mark.parametrize(
    "change",
    [
        lambda synthetic: synthetic.X.add_(1),
        lambda synthetic: synthetic.X.detach().flatten()[:1].mul_(2),
        lambda synthetic: synthetic.y.clamp_(0, 1),
        lambda synthetic: synthetic.extra["height"].zero_(),
    ],
)
def test_a_method_leaves_what_it_is_given_as_it_is(change):
    with pytest.raises(ValueError, match=r"must be left as they are; .* changed them in place"):
        step(Own(change))


class LateInPlace(Augmentation):
    """It passes the trial before a run, and changes larger batches."""

    n_parameters = 1

    def _draw(self, generator, n, shape):
        return torch.rand(1, n, generator=generator)

    def _apply(self, X, more):
        return X.add_(more) if len(X) > 2 else X + more


@pytest.mark.parametrize("kind", [FRePoDistiller, RCIGDistiller])
def test_samples_that_an_augmentation_changes_are_not_learned_in_silence(kind):
    X = np.random.default_rng(0).normal(size=(42, 1, 8, 8))
    distiller = quick(kind, max_iter=8, augmentation=LateInPlace())
    with pytest.raises((ValueError, RuntimeError), match=r"in.place"):
        distiller.fit(X, np.arange(42) % 3)
