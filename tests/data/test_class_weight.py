"""Weights of classes: they equal weights of samples, and bad ones are refused."""

import json
from functools import partial

import numpy as np
import pytest
import tools
from sklearn.utils.class_weight import compute_sample_weight

from skdistill import BoostedDistiller, DistributionMatchingDistiller, KIPDistiller

quick = partial(tools.quick, max_iter=2)


@pytest.fixture
def rare():
    """Return images of which 30 are "common" and 5 are "rare", and random weights."""
    rng = np.random.default_rng(0)
    y = np.repeat(["common", "rare"], [30, 5])
    return rng.normal(size=(35, 6, 6)) + (y == "rare")[:, None, None], y, rng.integers(1, 4, 35)


def samples(distiller, X, y, **metadata):
    return distiller.fit(X, y, **metadata).transform()[0]


@pytest.mark.parametrize("class_weight", ["balanced", {"rare": 3, "common": 0.5}, {"rare": 3}])
def test_classes_weigh_as_their_samples_do(rare, class_weight):
    X, y, _ = rare
    by_class = samples(quick(class_weight=class_weight), X, y)
    weight = compute_sample_weight(class_weight, y)
    np.testing.assert_array_equal(by_class, samples(quick(), X, y, sample_weight=weight))
    assert abs(by_class - samples(quick(), X, y)).max() > 1e-3


def test_weights_of_classes_and_samples_are_multiplied(rare):
    X, y, weight = rare
    both = samples(quick(class_weight={"rare": 3}), X, y, sample_weight=weight)
    product = np.where(y == "rare", 3, 1) * weight
    np.testing.assert_array_equal(both, samples(quick(), X, y, sample_weight=product))


def test_a_sample_of_weight_two_counts_as_two_when_classes_are_balanced(rare):
    X, y, weight = rare
    a = quick(class_weight="balanced").fit(X, y, sample_weight=weight)
    b = quick(class_weight="balanced").fit(X.repeat(weight, axis=0), y.repeat(weight))
    np.testing.assert_allclose(a.history_["loss"], b.history_["loss"], rtol=1e-5)


def test_balanced_blocks(rare):
    X, y, _ = rare
    boosted = BoostedDistiller(2, block_size=1, distiller=quick(), random_state=0)
    balanced = samples(boosted.set_params(distiller__class_weight="balanced"), X, y)
    boosted.set_params(distiller__class_weight=None)
    weight = compute_sample_weight("balanced", y)
    np.testing.assert_array_equal(balanced, samples(boosted, X, y, sample_weight=weight))


def test_labels_that_look_like_numbers(rare):
    X, y, _ = rare
    y = np.where(y == "rare", "1", "0")
    by_class = samples(quick(class_weight={"1": 3}), X, y)
    weight = np.where(y == "1", 3, 1)
    np.testing.assert_array_equal(by_class, samples(quick(), X, y, sample_weight=weight))


@pytest.mark.parametrize("learn_labels", [False, True])
def test_distribution_matching_weighs_the_classes_distances(rare, learn_labels):
    X, y, _ = rare

    def losses(class_weight):
        options = {"class_weight": class_weight, "learn_labels": learn_labels}
        return quick(DistributionMatchingDistiller, **options).fit(X, y).history_["loss"][0]

    plain, rare_alone, common_alone = map(losses, (None, {"common": 1e-9}, {"rare": 1e-9}))
    assert rare_alone + common_alone == pytest.approx(plain, rel=1e-5)
    assert losses({"rare": 3, "common": 2}) == pytest.approx(
        3 * rare_alone + 2 * common_alone, rel=1e-5
    )
    # They already count the same.
    assert losses("balanced") == plain


def test_the_weights_are_kept_with_the_result(rare):
    X, y, _ = rare
    fitted = quick(class_weight={"rare": np.float32(3)}).fit(X, y)
    parameters = json.loads(json.dumps(fitted.distilled_.provenance["parameters"]))
    assert parameters["class_weight"] == {"rare": 3.0}
    plain = quick().fit(X, y).distilled_.provenance["training_data"]
    assert fitted.distilled_.provenance["training_data"] == plain


@pytest.mark.parametrize("make", [quick, DistributionMatchingDistiller, KIPDistiller])
@pytest.mark.parametrize(
    ("class_weight", "message"),
    [
        ({"rare": 1, "other": 2}, r"must name classes of y, which are \['common', 'rare'\]; got"),
        ({"rare": 0}, "must hold positive numbers; got 0 for class 'rare'"),
        ({"rare": -1.0}, "must hold positive numbers; got -1.0"),
        ({"rare": np.nan}, "must hold positive numbers; got nan"),
        ({"rare": "2"}, "must hold positive numbers; got '2'"),
        ("equal", "'class_weight' parameter of .* must be"),
        ([1, 2], "'class_weight' parameter of .* must be"),
    ],
)
def test_bad_weights(rare, outer_step, make, class_weight, message):
    outer_step.refuse()
    with pytest.raises(ValueError, match=message):
        make(class_weight=class_weight).fit(*rare[:2])
