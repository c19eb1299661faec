"""Several sets and several protocols side by side."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
from sklearn.preprocessing import StandardScaler
from tools import tiny

from skdistill import DistilledDataset
from skdistill.evaluation import EvaluationProtocol, compare, evaluate
from skdistill.evaluation import _comparison as comparison_module
from skdistill.exceptions import DivergenceWarning

SHORT = EvaluationProtocol(steps=6, n_networks=2)
SQUARED = EvaluationProtocol(steps=4, n_networks=3, loss="mse", targets="centered")
RANDOM = "random real samples"


@pytest.fixture(scope="module")
def data():
    """Return real rows in two classes, and their labels."""
    rng = np.random.default_rng(0)
    y = np.arange(60) % 2
    return 10 * rng.normal(size=(60, 3)) + 10 * y[:, None], y


@pytest.fixture(scope="module")
def sets(data):
    """Return a set in the units of the data, and a larger one that was standardized before."""
    X, y = data
    moments = {"mean": X.mean(axis=0), "scale": X.std(axis=0)}
    small = DistilledDataset.from_arrays(X[:2], y[:2], **moments)
    scaler = StandardScaler().fit(X)
    large = DistilledDataset.from_arrays(scaler.transform(X[:6]), y[:6], preprocessing=scaler)
    return {"small": few(small), "large": few(large, steps=7)}


def few(made, **changes):
    return replace(made, recipe=replace(made.recipe, **{"n_networks": 2, "steps": 5, **changes}))


def test_each_set_follows_its_own_recipe_in_its_own_units(data, sets):
    found = compare(sets, *data, *data, baselines=["herding"])
    assert list(found.results) == ["small", "large", "herding"]
    for name, made in sets.items():
        np.testing.assert_array_equal(found[name].curve, evaluate(made, *data).curve)
    assert [r.n_samples for r in found.results.values()] == [2, 6, 2]
    # Real samples follow the first set.
    alone = compare(sets["small"], *data, *data, baselines=["herding"])
    np.testing.assert_array_equal(found["herding"].curve, alone["herding"].curve)


def test_protocols_side_by_side(data, sets):
    protocols = {"own": "recipe", "short": SHORT, "squared": SQUARED}
    found = compare(sets, *data, *data, protocols=protocols, baselines=[RANDOM], n_draws=2)
    assert list(found.results) == [
        (row, way) for row in ("small", "large", RANDOM) for way in ("own", "short", "squared")
    ]
    for name, made in sets.items():
        for way, protocol in protocols.items():
            expected = evaluate(made, *data, protocol=protocol)
            np.testing.assert_array_equal(found[name, way].curve, expected.curve)
    # Each protocol's own number of networks, which random draws share.
    counts = [len(found["small", way].accuracies) for way in protocols]
    assert counts == [2, 2, 3]
    assert [len(found[RANDOM, way].accuracies) for way in protocols] == [2, 2, 4]
    assert found[RANDOM, "squared"].steps.tolist() == [4]
    lines = str(found).splitlines()
    assert lines[0].split("  ")[0] == "training set"
    assert lines[0].split()[2:] == ["samples", "own", "(%)", "short", "(%)", "squared", "(%)"]
    assert len({len(line) for line in lines}) == 1
    assert f"{100 * found['large', 'squared'].mean:.1f} ± " in lines[2]


def test_one_set_under_named_protocols(data, sets, monkeypatch):
    papers = {"dm": lambda made: SHORT, "kip": lambda made: SQUARED}
    monkeypatch.setattr("skdistill.evaluation._papers._PAPERS", papers)
    found = compare(sets["small"], *data, *data, protocols=["recipe", "dm", SQUARED], baselines=[])
    assert list(found.results) == [
        ("distilled", "recipe"), ("distilled", "dm"), ("distilled", "protocol 3")
    ]  # fmt: skip
    alone = compare(sets["small"], *data, *data, protocols="dm", baselines=[])
    assert list(alone.results) == [("distilled", "dm")]
    np.testing.assert_array_equal(alone["distilled", "dm"].curve, found["distilled", "dm"].curve)


def test_the_numbers_of_networks_go_before_the_protocols(data, sets):
    found = compare(
        sets, *data, *data, protocols=[SQUARED], baselines=["whole training set"],
        n_networks=2, n_networks_whole=1,
    )  # fmt: skip
    counts = {row: len(r.accuracies) for (row, _), r in found.results.items()}
    assert counts == {"small": 2, "large": 2, "whole training set": 1}


def test_samples_are_chosen_once_for_all_protocols(data, sets, monkeypatch):
    calls = []

    def herding(*args, **kwargs):
        calls.append(1)
        return comparison_module.coresets.herding(*args, **kwargs)

    monkeypatch.setitem(comparison_module.BASELINES, "herding", herding)
    compare(sets, *data, *data, protocols=[SHORT, SQUARED], baselines=["herding"])
    assert calls == [1]


def test_what_an_open_protocol_leaves_to_the_caller(data, sets):
    found = compare(sets["small"], *data, *data, protocols=[SHORT], baselines=[], architecture=tiny)
    expected = evaluate(sets["small"], *data, protocol=SHORT, architecture=tiny)
    np.testing.assert_array_equal(found["distilled", "protocol 1"].curve, expected.curve)


def test_diverged_networks_are_marked_in_their_column(data, sets):
    wild = replace(SHORT, optimizer="sgd", loss="mse", learning_rate=1000.0, steps=300)
    with pytest.warns(DivergenceWarning):
        found = compare(
            sets["small"], *data, *data, protocols={"calm": SHORT, "wild": wild}, baselines=[],
            architecture=tiny,
        )  # fmt: skip
    assert "(2 diverged)" in str(found).splitlines()[1]
    assert str(found).count("diverged") == 1


def test_test_samples_are_weighed_in_all_rows(data, sets):
    X, y = data
    weight = np.where(y == 0, 5.0, 1.0)
    found = compare(sets, X, y, X, y, baselines=["herding"], sample_weight=weight)
    for name, made in sets.items():
        expected = evaluate(made, X, y, sample_weight=weight)
        np.testing.assert_array_equal(found[name].curve, expected.curve)
    plain = compare(sets, X, y, X, y, baselines=["herding"])
    assert found["herding"].mean != plain["herding"].mean
    with pytest.raises(ValueError, match="sample_weight"):
        compare(sets, X, y, X, y, sample_weight=weight[:5])


def test_rows_that_were_finished_are_told_if_a_later_one_fails(data, sets, monkeypatch):
    judged, done = comparison_module.evaluate_checked, []

    def twice(*args, **kwargs):
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(judged(*args, **kwargs))
        return done[-1]

    monkeypatch.setattr(comparison_module, "evaluate_checked", twice)
    with pytest.raises(KeyboardInterrupt) as caught:
        compare(sets, *data, *data, baselines=["herding"])
    rows = zip(("small", "large"), done, strict=True)
    assert caught.value.__notes__ == [
        f"{name}: {100 * r.mean:.1f} ± {100 * r.std:.1f} %" for name, r in rows
    ]


def test_real_samples_in_other_units_are_warned_of(data, sets):
    X, y = data
    with pytest.warns(UserWarning, match="X_train does not seem to be in the units of"):
        compare({"small": sets["small"]}, X / 255, y, X, y, baselines=["herding"])


def test_classes_that_are_too_small_for_baselines(data, sets):
    X, y = data
    rows = np.r_[np.flatnonzero(y == 0), np.flatnonzero(y == 1)[:2]]
    large = {"large": sets["large"]}
    with pytest.raises(ValueError, match=r"3 samples per class, .* 2 to choose .* subset\(2\)"):
        compare(large, X[rows], y[rows], X, y)
    found = compare(large, X[rows], y[rows], X, y, baselines=["whole training set"])
    assert list(found.results) == ["large", "whole training set"]


def test_unknown_labels_are_told_once_and_wrong_units_for_each_set(data, sets):
    X, y = data
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        compare(sets, X, y, 1000 * X, np.where(np.arange(60), y, 7), baselines=[])
    told = [str(w.message).split()[:3] for w in caught]
    assert told.count(["1", "of", "60"]) == 1
    assert told.count(["X", "does", "not"]) == 2


BAD = {
    "a list": (lambda s: ([s["small"]], {}), TypeError, "a mapping of names .* got list"),
    "no set": (lambda s: ({}, {}), TypeError, "a mapping of names to at least one; got dict"),
    "a distiller": (lambda s: ({"a": 3}, {}), TypeError, "must map names to Dist.*'a': int"),
    "a number": (lambda s: ({1: s["small"]}, {}), TypeError, "must map names to DistilledDatasets"),
    "a baseline's name": (
        lambda s: ({"herding": s["small"]}, {}), ValueError, "other names than baselines"
    ),
    "other classes": (
        lambda s: ({**s, "c": DistilledDataset.from_arrays(np.eye(4), list("abab"))}, {}),
        ValueError, r"sets of the same classes; 'c' has \['a', 'b'\], 'small' \[0, 1\]",
    ),
    "no protocol": (lambda s: (s, {"protocols": []}), ValueError, "protocols must not be empty"),
    "twice": (lambda s: (s, {"protocols": ["dm", "dm"]}), ValueError, "differ; got 'dm' twice"),
    "unknown": (lambda s: (s, {"protocols": ["idc"]}), ValueError, "protocol must be 'recipe'"),
    "named by numbers": (lambda s: (s, {"protocols": {1: SHORT}}), TypeError, "strings for names"),
    "no text": (lambda s: (s, {"protocols": [3]}), TypeError, "protocol must be None, the name of"),
    "said twice": (
        lambda s: (s, {"protocols": ["kip"], "architecture": "mlp"}),
        ValueError, "architecture must not be given beside protocol",
    ),
    "shape": (
        lambda s: ({**s, "c": DistilledDataset.from_arrays(np.eye(4), [0, 1, 0, 1])}, {}),
        ValueError, "test data does not fit the set 'c': X has 3 features",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("make", "error", "message"), BAD.values(), ids=BAD)
def test_what_is_refused_before_any_work(data, sets, make, error, message, monkeypatch):
    monkeypatch.setattr(
        comparison_module, "evaluate_checked", lambda *args, **kwargs: pytest.fail("trained")
    )
    several, options = make(sets)
    with pytest.raises(error, match=message):
        compare(several, *data, *data, **options)
