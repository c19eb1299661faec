"""Weights of real samples: equal to repeating and leaving out, and routed by scikit-learn."""

import inspect

import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.utils.validation import has_fit_parameter
from tools import quick, smallest

from skdistill import BoostedDistiller, all_distillers

METHODS = dict(all_distillers())


@pytest.fixture
def weighted(images):
    """Return images, labels, and integer weights with a few zeros."""
    X, y = images
    return X, y, np.random.default_rng(2).integers(0, 4, size=len(y))


@pytest.mark.parametrize("method", METHODS)
def test_weights_equal_repetition(weighted, method):
    X, y, weight = weighted
    # A Gaussian start and all samples in each batch: otherwise they would differ by chance.
    usual = {"init": "gaussian", "batch_size": 256, "architecture": "auto"}
    # Rounding would be large after so short a window, and with a nearly singular kernel.
    more = {"window": 2, "unroll": 4, "regularization": 1e-2}
    kind = METHODS[method]
    usual |= {name: value for name, value in more.items() if name in kind._get_param_names()}
    a = smallest(kind, **usual).fit(X, y, sample_weight=weight)
    b = smallest(kind, **usual).fit(X.repeat(weight, axis=0), y.repeat(weight))
    np.testing.assert_allclose(a.history_["loss"], b.history_["loss"], rtol=1e-4)
    np.testing.assert_allclose(a.transform()[0], b.transform()[0], rtol=1e-3, atol=1e-3)
    # Weights move the loss more than through the moments with which samples are standardized.
    losses = [each.history_["loss"] for each in (smallest(kind, **usual).fit(X, y), a)]
    assert abs(np.subtract(*losses) / losses[0]).max() > 1e-2


@pytest.mark.parametrize("init", ["gaussian", "real"])
def test_weight_zero_equals_leaving_out(weighted, init):
    X, y, weight = weighted
    kept = weight > 0
    a = quick(init=init).fit(X, y, sample_weight=kept)
    b = quick(init=init).fit(X[kept], y[kept], sample_weight=np.ones(kept.sum()))
    np.testing.assert_array_equal(a.transform()[0], b.transform()[0])


def test_a_class_without_weight_is_warned_of(images):
    X, y = images
    labels = np.where(np.arange(40) < 4, "rare", y.astype(str))
    with pytest.warns(UserWarning, match="sample_weight is 0 for all samples of 'rare': the dist"):
        distiller = quick().fit(X, labels, sample_weight=labels != "rare")
    assert distiller.classes_.tolist() == ["0", "1"]


def test_equal_weights_change_nothing(images):
    X, y = images
    a = quick().fit(X, y, sample_weight=np.full(40, 7.0))
    b = quick().fit(X, y)
    np.testing.assert_allclose(a.transform()[0], b.transform()[0], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("container", [list, pd.Series])
def test_containers(weighted, container):
    X, y, weight = weighted
    a = quick().fit(X, y, sample_weight=container(weight))
    b = quick().fit(X, y, sample_weight=weight)
    np.testing.assert_array_equal(a.transform()[0], b.transform()[0])


def test_held_out_samples_keep_their_weights_apart(weighted):
    X, y, weight = weighted
    distiller = quick(validation_fraction=0.3, validation_interval=1)
    history = distiller.fit(X, y, sample_weight=weight).history_
    assert None not in history["validation_accuracy"]


def test_the_weights_are_not_changed(weighted):
    X, y, weight = weighted
    before = weight.copy()
    quick().fit(X, y, sample_weight=weight)
    np.testing.assert_array_equal(weight, before)


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        (np.ones(39), "sample_weight.shape"),
        (np.ones((40, 2)), "1D"),
        (np.full(40, -1.0), "Negative values"),
        (np.full(40, np.nan), "NaN"),
        (np.zeros(40), "at least one non-zero"),
        (np.linspace(1, 2, 40) * 1e-320, "got 2e-320 and .* divide them by their maximum"),
        (np.linspace(1, 2, 40) * 1e300, "got 2e.300 and 6e.301. Only their ratios matter"),
        (np.arange(40) % 2, "y must hold at least 2 classes"),
    ],
)
@pytest.mark.filterwarnings("ignore:sample_weight is 0 for all samples of")
def test_bad_weights(images, weight, message):
    with pytest.raises(ValueError, match=message):
        quick().fit(*images, sample_weight=weight)


def test_other_metadata_is_refused(images):
    with pytest.raises(TypeError, match="unexpected keyword argument 'sample_weights'"):
        quick().fit(*images, sample_weights=np.ones(40))


@pytest.mark.parametrize("distiller", [quick(), BoostedDistiller(1, distiller=quick())])
def test_a_signature_that_editors_and_scikit_learn_can_read(distiller):
    assert has_fit_parameter(distiller, "sample_weight")
    assert inspect.signature(distiller.fit).parameters["sample_weight"].default is None
    # Only the weights have a value per row, which meta-estimators could split.
    with sklearn.config_context(enable_metadata_routing=True):
        assert distiller.get_metadata_routing().fit.requests == {"sample_weight": None}


def test_metadata_routing(images):
    X, y = images
    X = X.reshape(40, 36)
    weight = np.linspace(0, 1, 40)
    expected = quick().fit(X, y, sample_weight=weight).transform()[0]
    with sklearn.config_context(enable_metadata_routing=True):
        distiller = quick().set_fit_request(sample_weight=True)
        pipeline = make_pipeline("passthrough", distiller).fit(X, y, sample_weight=weight)
        np.testing.assert_array_equal(pipeline[-1].transform()[0], expected)
        distiller.set_score_request(sample_weight=True)
        search = GridSearchCV(
            make_pipeline("passthrough", distiller), {"ratbpttdistiller__window": [1, 2]}, cv=2
        ).fit(X, y, sample_weight=weight)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


def test_weights_of_the_test_samples(images):
    X, y = images
    distiller = quick().fit(X, y)
    only_first = (y == 0).astype(float)
    assert distiller.score(X, y, sample_weight=only_first) == distiller.score(X[y == 0], y[y == 0])
    assert distiller.score(X, y, sample_weight=np.ones(40)) == distiller.score(X, y)
