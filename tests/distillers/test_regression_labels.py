"""Learned labels of any sign: where a run starts, how networks learn them, what is refused."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from tools import quick

from skdistill._engine.labels import centered, centered_one_hot
from skdistill._engine.protocols import loss_of
from skdistill._run.held_out import HeldOut
from skdistill.distillers import BaseDistiller, Free, Gradient, Method, OuterSGD

TARGET = -0.5


class TowardTarget(Method):
    """Moves all labels toward a negative number."""

    project_labels, label_loss, clip, optimizer = Free(), "mse", None, OuterSGD(0.0)

    def first_labels(self, one_hot):
        return centered(one_hot)

    def gradient(self, problem, synthetic, state, step):
        y = (synthetic.y - TARGET) if synthetic.learns_labels else None
        return Gradient(synthetic.X.new_zeros(()), 0 * synthetic.X, y), state


class Toward(BaseDistiller):
    """The distiller of `TowardTarget`."""

    def _make_method(self, problem):
        return TowardTarget()


make = partial(quick, Toward, learn_labels=True, learning_rate=0.5, label_lr_scale=1.0)


def test_centered_labels():
    expected = torch.tensor([[-1, -1, 2], [2, -1, -1]], dtype=torch.float64) / 3
    y = centered_one_hot(torch.tensor([2, 0]), 3, torch.float64)
    torch.testing.assert_close(y, expected)


def test_a_run_starts_from_the_methods_labels_and_keeps_their_sign(images):
    distilled = make(max_iter=2).fit(*images).distilled_
    first = np.array([[0.5, -0.5], [-0.5, 0.5]])
    # Each step halves the distance.
    np.testing.assert_allclose(distilled.y, TARGET + (first - TARGET) / 4, atol=1e-6)


def test_networks_learn_them_by_squared_error(images, monkeypatch):
    losses, accuracy = [], HeldOut.accuracy

    def noting(self, *args):
        losses.append((self.protocol.loss, self.family.learner.criterion))
        return accuracy(self, *args)

    monkeypatch.setattr(HeldOut, "accuracy", noting)
    options = {"validation_fraction": 0.3, "validation_interval": 1, "max_iter": 1}
    soft = make(**options).fit(*images)
    hard = make(**options, learn_labels=False).fit(*images)
    assert losses == [(name, loss_of(name)) for name in ("mse", "cross-entropy")]
    assert (soft.distilled_.recipe.loss, hard.distilled_.recipe.loss) == ("mse", "cross-entropy")
    # Real samples beside the set have centered labels as well.
    assert (soft.distilled_.recipe.targets, hard.distilled_.recipe.targets) == ("centered", "given")
    assert (soft.distilled_.y < 0).any()
    assert 0 <= soft.score(*images) <= 1


def test_a_start_brings_its_labels(images):
    first = make(max_iter=1).fit(*images).distilled_
    later = make(ipc=2, max_iter=1, learning_rate=1e-12).fit(*images, start=first).distilled_
    np.testing.assert_allclose(later.y[:2], first.y, atol=1e-6)
    np.testing.assert_allclose(later.y[2:], [[0.5, -0.5], [-0.5, 0.5]], atol=1e-6)


@pytest.mark.parametrize("name", ["init", "start"])
def test_labels_that_are_learned_by_another_loss_are_refused(images, outer_step, name):
    regression = make(max_iter=1).fit(*images).distilled_
    probable = quick(learn_labels=True, max_iter=1).fit(*images).distilled_
    outer_step.refuse()
    for into, given in ((make, probable), (partial(quick, learn_labels=True), regression)):
        init, start = ({"init": given}, {}) if name == "init" else ({}, {"start": given})
        with pytest.raises(ValueError, match=r"labels that networks learn by .*with_hard_labels"):
            into(**init).fit(*images, **start)
    # Negative labels are what they are, whatever recipe they have.
    recipe = replace(regression.recipe, loss="cross-entropy")
    init = replace(regression, recipe=recipe)
    with pytest.raises(ValueError, match=r"learn by 'cross-entropy', .* negative in part"):
        quick(learn_labels=True, init=init).fit(*images)
    # Scores are no labels.
    scores = replace(probable, recipe=replace(probable.recipe, targets="softmax"))
    with pytest.raises(ValueError, match=r"learn by 'cross-entropy', .* given are scores, whose"):
        quick(learn_labels=True, init=scores).fit(*images)
    outer_step.undo()
    make(max_iter=1, init=probable.with_hard_labels()).fit(*images)
