"""Networks to distill through that differ from those of the evaluation."""

from functools import partial

import numpy as np
import pytest
from sklearn.datasets import load_iris
from tools import quick
from torch import nn

from skdistill import DistributionMatchingDistiller, FRePoDistiller, GradientMatchingDistiller
from skdistill.networks import MLP

unrolled = partial(quick, eval_steps=20)
matching = partial(unrolled, DistributionMatchingDistiller)
regression = partial(unrolled, FRePoDistiller)
gradients = partial(unrolled, GradientMatchingDistiller)
NARROW = partial(MLP, width=8)


@pytest.mark.parametrize("make", [unrolled, matching, gradients, regression])
def test_samples_are_those_of_the_inner_networks(make):
    X, y = load_iris(return_X_y=True)
    inner = make(inner_architecture=NARROW).fit(X, y)
    both = make(architecture=NARROW).fit(X, y)
    usual = make().fit(X, y)
    np.testing.assert_array_equal(inner.transform()[0], both.transform()[0])
    assert not np.array_equal(inner.transform()[0], usual.transform()[0])


def test_the_evaluation_keeps_the_networks_of_architecture():
    X, y = load_iris(return_X_y=True)
    distiller = unrolled(inner_architecture=NARROW).fit(X, y)
    assert distiller.distilled_.recipe.architecture == "mlp"
    narrow = distiller.evaluate(X, y, architecture=NARROW)
    usual = distiller.evaluate(X, y, architecture="mlp")
    np.testing.assert_array_equal(distiller.evaluate(X, y).accuracies, usual.accuracies)
    assert not np.array_equal(usual.accuracies, narrow.accuracies)


def test_validation_during_a_run_trains_the_networks_of_architecture():
    X, y = load_iris(return_X_y=True)
    options = {"validation_fraction": 0.3, "validation_interval": 1}
    seen = []

    def watched(input_shape, n_classes):
        seen.append(n_classes)
        return MLP(input_shape, n_classes)

    unrolled(inner_architecture=NARROW, architecture=watched, **options).fit(X, y)
    with_validation = len(seen)
    seen.clear()
    unrolled(inner_architecture=NARROW, architecture=watched).fit(X, y)
    assert with_validation > len(seen)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"inner_architecture": "resnet"}, "'inner_architecture' parameter"),
        ({"inner_architecture": lambda shape: None}, "inner_architecture must be a callable"),
        ({"inner_architecture": nn.Linear(4, 3)}, "inner_architecture must be a callable"),
        (
            {"inner_architecture": "mlp", "architecture": lambda shape, n: nn.Linear(4, n + 1)},
            "architecture must build a network with output",
        ),
    ],
)
def test_networks_that_cannot_serve_are_refused_before_any_work(options, message):
    X, y = load_iris(return_X_y=True)
    with pytest.raises(ValueError, match=message):
        unrolled(**options, checkpoint="never-written.npz").fit(X, y)


def test_a_resumed_run_must_have_the_same_inner_networks(tmp_path):
    X, y = load_iris(return_X_y=True)
    file = tmp_path / "run.npz"
    unrolled(checkpoint=file).fit(X, y)
    with pytest.raises(ValueError, match="inner_architecture must be None"):
        unrolled(checkpoint=file, inner_architecture="mlp").fit(X, y)
