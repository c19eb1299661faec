"""The evaluation: its measurements, their repeatability, and the baselines."""

import subprocess
import sys
import warnings
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from joblib import parallel_config
from torch import nn

from skdistill import BoostedDistiller, RaTBPTTDistiller
from skdistill._engine.ensemble import Plan
from skdistill._engine.optimizers import SGD, Adam
from skdistill.augmentation import Flip
from skdistill.evaluation import EvaluationProtocol, compare, evaluate
from skdistill.evaluation._networks import (
    network_family,
    plan_of,
    train_networks,
    training_samples,
)
from skdistill.evaluation._protocol import _job
from skdistill.exceptions import DivergenceWarning
from skdistill.intercorrelation import compare_blocks, subsample_curve


@pytest.fixture(scope="module")
def distilled():
    """Return a set in which two classes of 6 x 6 images are told apart by their brighter side."""
    rng = np.random.default_rng(0)
    y = np.arange(40) % 2
    X = rng.normal(size=(40, 6, 6)) + np.linspace(-1, 1, 6) * (2 * y - 1)[:, None, None]
    quick = RaTBPTTDistiller(max_iter=1, window=1, unroll=1, n_networks=3, eval_steps=40)
    data = quick.set_params(random_state=0).fit(X, y).distilled_
    ramp = np.linspace(-3, 3, 6) + np.zeros((6, 6))
    return replace(data, X=np.stack([-ramp, ramp]))


@pytest.fixture(scope="module")
def unseen():
    """Return noisy copies of the two classes' patterns."""
    rng = np.random.default_rng(1)
    y = np.arange(60) % 2
    X = rng.normal(size=(60, 6, 6)) + np.linspace(-3, 3, 6) * (2 * y - 1)[:, None, None]
    return X, y


def test_good_samples_train_good_networks_and_swapped_labels_bad_ones(distilled, unseen):
    assert evaluate(distilled, *unseen).mean > 0.95
    assert evaluate(replace(distilled, y=distilled.y[::-1]), *unseen).mean < 0.05


@pytest.mark.parametrize("backend", ["loky", "threading"])
def test_joblib_spreads_the_networks(distilled, unseen, backend, monkeypatch):
    alone = evaluate(distilled, *unseen, n_networks=5, steps=[1, 2])
    with parallel_config(backend, n_jobs=2):
        spread = evaluate(distilled, *unseen, n_networks=5, steps=[1, 2])
    np.testing.assert_array_equal(spread.curve, alone.curve)
    assert len(np.unique(alone.curve, axis=0)) > 1  # their order shows
    shares = []

    def job(*args):
        shares.append(args[2].tolist())
        return _job(*args)

    monkeypatch.setattr("skdistill.evaluation._protocol._job", job)
    with parallel_config("threading", n_jobs=2):
        evaluate(distilled, *unseen, n_networks=5, steps=3)
    assert sorted(shares) == [[0, 1, 2], [3, 4]]


def test_workers_get_the_callers_array_and_no_other_to_scatter(distilled, unseen, monkeypatch):
    # joblib's backend for Dask finds by their identity the arrays that each worker has already.
    jobs = []

    def job(*args):
        jobs.append(args)
        return _job(*args)

    monkeypatch.setattr("skdistill.evaluation._protocol._job", job)
    with parallel_config("threading", n_jobs=2):
        evaluate(distilled, *unseen, steps=1, sample_weight=np.ones(60))
    for args in jobs:
        large = [arg for arg in args if isinstance(arg, np.ndarray) and arg.nbytes > 1000]
        assert [arg is unseen[0] for arg in large] == [True]


def test_a_task_of_dask_trains_all_networks_itself(distilled, unseen, monkeypatch):
    def no_worker():
        raise ValueError("No worker found")

    calls = []

    def job(*args):
        calls.append(args)
        return _job(*args)

    monkeypatch.setattr("skdistill.evaluation._protocol._job", job)
    dask = SimpleNamespace(get_worker=no_worker)
    monkeypatch.setitem(sys.modules, "distributed", dask)
    with parallel_config("threading", n_jobs=2):
        expected = evaluate(distilled, *unseen, steps=2)
        assert len(calls) == 2
        dask.get_worker = object
        result = evaluate(distilled, *unseen, steps=2)
        assert len(calls) == 2
    np.testing.assert_array_equal(result.curve, expected.curve)


def test_soft_labels(distilled, unseen):
    soft = replace(distilled, y=np.array([[0.9, 0.1], [0.2, 0.8]]))
    assert evaluate(soft, *unseen).mean > 0.95


def test_curve_ends_at_the_accuracy_that_counts(distilled, unseen):
    result = evaluate(distilled, *unseen, steps=[40, 1, 10])
    assert result.steps.tolist() == [1, 10, 40]
    assert result.curve.shape == (3, 3)
    np.testing.assert_array_equal(result.accuracies, result.curve[:, -1])
    np.testing.assert_array_equal(result.accuracies, evaluate(distilled, *unseen).accuracies)
    assert result.mean == result.accuracies.mean()
    assert result.std == result.accuracies.std()
    assert str(result).endswith("(3 networks, 40 steps)")


def test_what_is_printed_of_a_result(distilled, unseen):
    # One network has no deviation, and weights are told.
    one = evaluate(distilled, *unseen, n_networks=1, steps=2)
    assert str(one) == f"{100 * one.mean:.1f} % (1 network, 2 steps)"
    weight = np.ones(len(unseen[1]))
    weighted = evaluate(distilled, *unseen, n_networks=2, steps=2, sample_weight=weight)
    assert str(weighted).endswith("(2 networks, 2 steps; test samples weighted)")


def test_networks_differ_and_repeat(distilled, unseen):
    first = evaluate(distilled, *unseen, steps=[1, 2], n_networks=4)
    again = evaluate(distilled, *unseen, steps=[1, 2], n_networks=4)
    fewer = evaluate(distilled, *unseen, steps=[1, 2], n_networks=2)
    np.testing.assert_array_equal(first.curve, again.curve)
    np.testing.assert_array_equal(first.curve[:2], fewer.curve)
    assert len(np.unique(first.curve, axis=0)) > 1


def test_a_network_is_the_same_whatever_else_is_trained_and_counted(distilled):
    family = network_family(distilled, "mlp", "cpu")

    def train(n_networks, counts):
        trained = train_networks(family, training_samples(family, distilled), n_networks, counts)
        return {(k, counts[j]): theta.numpy().copy() for k, j, theta in trained}

    several = train(2, [1, 3, 6])
    assert list(several) == [(k, count) for k in range(2) for count in (1, 3, 6)]
    for (k, count), theta in several.items():
        np.testing.assert_array_equal(theta, train(3, [count])[k, count])
    assert not np.array_equal(several[0, 3], several[0, 6])


def test_networks_on_tables_have_threads_if_they_leave_python_alone(distilled, cores):
    cores(3)
    plans = []
    for augmentation, optimizer in ((None, Adam()), (None, SGD(0.1)), (Flip(), Adam())):
        family = network_family(distilled, "mlp", "cpu", augmentation)
        plans.append(plan_of(family, training_samples(family, distilled), optimizer, 10))
    assert plans == [Plan(workers=3), Plan(), Plan()]


def test_mini_batches_for_sets_larger_than_one(distilled, unseen):
    recipe = replace(distilled.recipe, batch_size=16)
    X, y = unseen
    assert evaluate(replace(distilled, X=X, y=y, recipe=recipe), X, y).mean > 0.95


# networks that diverge ---------------------------------------------------------------------------


def with_rate(distilled, rate):
    """Return the set with another learning rate in its recipe."""
    return replace(distilled, recipe=replace(distilled.recipe, learning_rate=rate))


def test_a_diverged_network_is_counted_and_always_wrong(distilled, unseen):
    X, y = unseen
    message = "3 of 3 networks diverged: their scores are not finite"
    with pytest.warns(DivergenceWarning, match=message) as caught:
        result = evaluate(with_rate(distilled, 1e30), X, y, steps=[1, 5], architecture=linear)
    # Once, and at this line.
    assert [warning.filename for warning in caught] == [__file__]
    assert result.n_diverged == 3
    np.testing.assert_array_equal(result.accuracies, 0)
    assert str(result) == "0.0 ± 0.0 % (3 networks, 5 steps; 3 diverged)"


def linear(shape, n_classes):
    """Return a network that may grow without limit."""
    return nn.Sequential(
        nn.Flatten(), nn.Linear(36, 8), nn.ReLU(), nn.Linear(8, 8), nn.Linear(8, n_classes)
    )


@pytest.mark.filterwarnings("ignore:X does not seem to be in the units")
def test_only_what_is_not_finite_is_an_error(distilled, unseen):
    # Samples of the first class are beyond what the network computes with: to take what is not a
    # number for the largest of the scores would make them right.
    X, y = unseen[0].copy(), unseen[1]
    X[y == 0] = 1e38
    with pytest.warns(DivergenceWarning, match="3 of 3"):
        result = evaluate(distilled, X, y, architecture=Squaring)
    assert 0 < result.mean <= 0.5
    with pytest.warns(DivergenceWarning):
        assert evaluate(distilled, X, y, architecture=Squaring, sample_weight=y == 0).mean == 0


class Squaring(nn.Sequential):
    """A network whose scores of large samples are beyond the largest number."""

    def __init__(self, shape, n_classes):
        super().__init__(nn.Flatten(), nn.Linear(36, n_classes))

    def forward(self, X):
        return super().forward(X) + 1e-30 * X.flatten(1)[:, :1] ** 2


@pytest.mark.parametrize("backend", ["loky", "threading"])
def test_the_count_comes_back_from_workers(distilled, unseen, backend):
    with (
        parallel_config(backend, n_jobs=2),
        pytest.warns(DivergenceWarning, match="3 of 3") as caught,
    ):
        result = evaluate(with_rate(distilled, 1e30), *unseen, architecture=linear)
    assert [warning.filename for warning in caught] == [__file__]
    assert result.n_diverged == 3


def test_a_comparison_says_which_row_diverged(distilled, unseen):
    X, y = unseen
    with pytest.warns(DivergenceWarning):
        comparison = compare(
            with_rate(distilled, 1e30), X, y, X, y, architecture=linear, n_draws=2,
            baselines=["random real samples"],
        )  # fmt: skip
    assert [r.n_diverged for r in comparison.results.values()] == [3, 4]
    assert str(comparison).splitlines()[2].endswith("(4 diverged)")


def test_a_score_warns_once_and_so_does_a_validation(unseen):
    quick = RaTBPTTDistiller(max_iter=1, window=1, unroll=1, n_networks=2, eval_steps=5)
    quick.set_params(random_state=0, validation_fraction=0.5, architecture=Growing)
    with pytest.warns(DivergenceWarning, match="3 of 3 networks diverged") as caught:
        quick.fit(*unseen)
    assert {warning.filename for warning in caught} == {__file__}
    assert quick.history_["validation_accuracy"] == [0]
    with pytest.warns(DivergenceWarning, match="2 of 2 networks diverged") as caught:
        assert quick.score(*unseen) == 0
    assert [warning.filename for warning in caught] == [__file__]


class Growing(nn.Sequential):
    """A network whose scores are finite only until the first step of its training."""

    def __init__(self, shape, n_classes):
        super().__init__(nn.Flatten(), nn.Linear(36, n_classes))
        self.growth = nn.Parameter(torch.tensor([1e-9]))

    def forward(self, X):
        return super().forward(X) * (1e6 * self.growth).cosh()


def test_random_subsets_whose_networks_diverge_are_reported(distilled, unseen):
    spoiled = with_rate(distilled, 1e30)
    with pytest.warns(DivergenceWarning):
        curve = subsample_curve(spoiled, *unseen, sizes=[1], n_draws=2, architecture=linear)
    np.testing.assert_array_equal(curve.subsets, 0)


def test_chunks_do_not_matter(monkeypatch, distilled, unseen):
    whole = evaluate(distilled, *unseen, steps=[1, 10]).curve
    monkeypatch.setattr("skdistill.evaluation._networks.chunk_size", lambda learner, shape: 7)
    np.testing.assert_array_equal(evaluate(distilled, *unseen, steps=[1, 10]).curve, whole)


def test_another_architecture(distilled, unseen):
    assert evaluate(distilled, *unseen, architecture="mlp", steps=200).mean > 0.9


def test_unknown_labels_count_as_errors_and_are_named(distilled, unseen):
    X, y = unseen
    known = evaluate(distilled, X, y).mean
    message = rf"{len(y)} of {2 * len(y)} samples have labels that were not in fit: \[2, 3\]; they"
    with pytest.warns(UserWarning, match=message) as record:
        half = evaluate(distilled, np.concatenate([X, X]), np.concatenate([y, y + 2])).mean
    assert half == pytest.approx(known / 2)
    assert record[0].filename == __file__


@pytest.mark.parametrize("kind", [str, object, "S1"])
def test_labels_of_another_kind_are_not_labels_of_fit(distilled, unseen, kind):
    X, y = unseen[0], unseen[1].astype(str).astype(kind)
    with pytest.warns(UserWarning, match=r"b?'0', b?'1'\]; .* labels in fit were \[0, 1\]"):
        assert evaluate(distilled, X, y, n_networks=1).mean == 0


def test_labels_of_an_equal_value_are_labels_of_fit(distilled, unseen):
    X, y = unseen
    expected = evaluate(distilled, X, y, n_networks=1).mean
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for same in (y.astype(float), y.astype(object), y.astype(bool)):
            assert evaluate(distilled, X, same, n_networks=1).mean == expected


def test_comparisons_warn_of_unknown_labels_once(distilled, unseen):
    X, y = unseen
    two = replace(
        distilled, **{k: np.concatenate([getattr(distilled, k)] * 2) for k in "Xy"}, ipc=2
    )
    for call in (
        lambda y_test: compare(distilled, X, y, X, y_test, n_draws=2, n_networks=2),
        lambda y_test: compare_blocks(two, X, y_test, block_size=1, n_networks=1),
        lambda y_test: subsample_curve(two, X, y_test, sizes=[1, 2], n_draws=2, sets={2: two}),
    ):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            call(np.where(np.arange(len(y)), y, 7))
        assert len(caught) == 1
        assert f"1 of {len(y)} samples have labels that were not in fit: [7]" in str(caught[0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": 0}, "steps must be positive integers; got 0"),
        ({"steps": 1.5}, "steps must be positive integers; got 1.5"),
        ({"steps": True}, "steps must be positive integers; got True"),
        ({"n_networks": 0}, "n_networks must be an integer of at least 1; got 0"),
        ({"n_networks": 2.5}, "n_networks must be an integer of at least 1; got 2.5"),
        ({"n_networks": True}, "n_networks must be an integer of at least 1; got True"),
    ],
)
def test_bad_arguments(distilled, unseen, change, message):
    with pytest.raises(ValueError, match=message):
        evaluate(distilled, *unseen, **change)


def test_bad_test_data(distilled, unseen):
    X, y = unseen
    with pytest.raises(ValueError, match=r"samples of shape \(6, 6\), as in fit"):
        evaluate(distilled, X[:, :5], y)
    with pytest.raises(ValueError, match="must have the same length; got 60 and 59"):
        evaluate(distilled, X, y[:-1])
    pandas = pytest.importorskip("pandas")
    gap = np.where(y == 0, np.nan, y)
    objects = gap.astype(object)
    nothing = [None if label != label else label for label in gap.tolist()]
    for missing in (gap, objects, nothing, pandas.array(nothing, dtype="Int64")):
        with pytest.raises(ValueError, match=r"y must have no NaN or None: .*, 30 of 60 here"):
            evaluate(distilled, X, missing)
    with pytest.raises(TypeError, match=r"got RaTBPTTDistiller.* has one as distilled_"):
        evaluate(RaTBPTTDistiller(), X, y)
    with pytest.raises(ValueError, match="no missing values; 60 of 60 samples contain NaN"):
        evaluate(distilled, X * np.nan, y)


def test_an_architecture_that_was_not_saved(distilled, unseen):
    recipe = replace(distilled.recipe, architecture=None)
    with pytest.raises(ValueError, match="architecture must be given"):
        evaluate(replace(distilled, recipe=recipe), *unseen)


def test_comparison(distilled, unseen):
    X, y = unseen
    comparison = compare(distilled, X[:40], y[:40], X[40:], y[40:], n_draws=2, n_networks=3)
    assert list(comparison.results) == [
        "distilled",
        "random real samples",
        "herding",
        "k-means centroids",
        "whole training set",
    ]
    assert [r.n_samples for r in comparison.results.values()] == [2, 2, 2, 2, 40]
    # Two draws share three networks: two each.
    assert [len(r.accuracies) for r in comparison.results.values()] == [3, 4, 3, 3, 3]
    assert comparison["distilled"].mean == evaluate(distilled, X[40:], y[40:]).mean
    lines = str(comparison).splitlines()
    assert lines[0] == "training set         samples  networks  test accuracy (%)"
    assert len(lines) == 6


def test_comparison_refuses_training_labels_it_does_not_know(distilled, unseen):
    X, y = unseen
    with pytest.raises(ValueError, match=r"y_train must hold only labels .*; got 2 as well"):
        compare(distilled, X, y + 1, X, y)


def test_comparison_with_some_baselines(distilled, unseen):
    X, y = unseen
    chosen = ["whole training set", "herding"]
    comparison = compare(distilled, X[:40], y[:40], X[40:], y[40:], baselines=chosen)
    assert list(comparison.results) == ["distilled", *chosen]
    again = compare(distilled, X[:40], y[:40], X[40:], y[40:], baselines=iter(chosen))
    assert list(again.results) == ["distilled", *chosen]
    with pytest.raises(ValueError, match=r"baselines must be a sequence of names .* got 'herding'"):
        compare(distilled, *unseen, *unseen, baselines="herding")
    for name in ("n_draws", "n_networks", "n_networks_whole"):
        with pytest.raises(ValueError, match=f"{name} must be an integer of at least 1; got 1.5"):
            compare(distilled, *unseen, *unseen, **{name: 1.5})
    with pytest.raises(ValueError, match=r"baselines must be among .* got \['medoids'\]"):
        compare(distilled, X, y, X, y, baselines=["medoids"])


def test_the_baselines_choose_among_standardized_samples():
    rng = np.random.default_rng(0)
    y = np.arange(60) % 2
    X = rng.normal(size=(60, 2)) + np.stack([2 * y, 0 * y], axis=1)
    # A power of two, so that standardized values have the same bits in both units.
    units = np.array([1.0, 2.0**30])
    quick = RaTBPTTDistiller(2, max_iter=1, window=1, unroll=1, n_networks=2, eval_steps=20)
    rows = {"baselines": ["herding", "k-means centroids"]}
    small, large = (
        compare(quick.set_params(random_state=0).fit(Z, y).distilled_, Z, y, Z, y, **rows)
        for Z in (X, X * units)
    )
    for name in rows["baselines"]:
        np.testing.assert_array_equal(large[name].curve, small[name].curve)


# augmentation ------------------------------------------------------------------------------------


def with_augmentation(distilled, augmentation):
    """Return the set as if it had been distilled with it."""
    return replace(distilled, recipe=replace(distilled.recipe, augmentation=augmentation))


def test_the_recipes_augmentation_is_the_default(distilled, unseen):
    # A mirrored sample is one of the other class: networks learn nothing from both.
    flips = {"class": "Flip", "p": 0.5}
    assert evaluate(distilled, *unseen).mean > 0.95
    confused = evaluate(with_augmentation(distilled, flips), *unseen)
    assert confused.mean < 0.9
    same = evaluate(distilled, *unseen, augmentation=Flip())
    np.testing.assert_array_equal(same.curve, confused.curve)
    off = evaluate(with_augmentation(distilled, flips), *unseen, augmentation=None)
    np.testing.assert_array_equal(off.curve, evaluate(distilled, *unseen).curve)


def test_always_flipped_samples_teach_the_opposite(distilled, unseen):
    # Only what networks are trained on is augmented: the test samples are not.
    assert evaluate(distilled, *unseen, augmentation=Flip(p=1)).mean < 0.05


def test_augmentation_does_not_depend_on_other_networks_or_workers(distilled, unseen):
    data = with_augmentation(distilled, "dsa")
    alone = evaluate(data, *unseen, n_networks=3, steps=[1, 2, 9])
    with parallel_config("threading", n_jobs=2):
        spread = evaluate(data, *unseen, n_networks=3, steps=[1, 2, 9])
    np.testing.assert_array_equal(spread.curve, alone.curve)
    fewer = evaluate(data, *unseen, n_networks=2, steps=[2, 9])
    np.testing.assert_array_equal(fewer.curve, alone.curve[:2, 1:])


def test_augmented_mini_batches(distilled, unseen):
    X, y = unseen
    recipe = replace(distilled.recipe, batch_size=16, augmentation="flip_rotate")
    data = replace(distilled, X=X, y=y, recipe=recipe)
    # Mirrored, both classes are the same: so the augmentation has been applied.
    assert evaluate(data, X, y).mean < 0.9
    assert evaluate(data, X, y, augmentation=None).mean > 0.95


def test_the_comparison_augments_all_rows(distilled, unseen):
    X, y = unseen
    data = with_augmentation(distilled, {"class": "Flip", "p": 1.0})
    rows = ["random real samples", "whole training set"]
    results = compare(data, X, y, X, y, baselines=rows).results
    assert all(result.mean < 0.1 for result in results.values())
    results = compare(data, X, y, X, y, baselines=rows, augmentation=None).results
    assert all(result.mean > 0.9 for result in results.values())


def test_an_augmentation_that_was_not_saved(distilled, unseen):
    data = with_augmentation(distilled, {"class": "lab.Blur"})
    with pytest.raises(ValueError, match=r"augmentation must be given.*lab\.Blur"):
        evaluate(data, *unseen)
    assert evaluate(data, *unseen, augmentation=None).mean > 0.95
    with pytest.raises(ValueError, match="augmentation must be None, one of"):
        evaluate(data, *unseen, augmentation="blur")


class Mirror(Flip):
    """An augmentation of a user."""


def test_a_distiller_evaluates_with_its_own_augmentation(unseen):
    quick = RaTBPTTDistiller(max_iter=1, window=1, unroll=1, n_networks=2, eval_steps=5)
    quick.set_params(augmentation=Mirror(p=1), random_state=0, validation_fraction=0.5)
    distiller = BoostedDistiller(ipc=1, block_size=1, distiller=quick).fit(*unseen)
    recipe = distiller.distilled_.recipe
    assert recipe.augmentation == {"class": f"{__name__}.Mirror"}
    result = distiller.evaluate(*unseen)
    same = evaluate(distiller.distilled_, *unseen, steps=result.steps, augmentation=Flip(p=1))
    np.testing.assert_array_equal(result.curve, same.curve)


def test_counts_may_be_any_integers(distilled, unseen):
    expected = evaluate(distilled, *unseen, n_networks=2, steps=3)
    for steps in (np.uint8(3), np.array([3], np.uint16)):
        found = evaluate(distilled, *unseen, n_networks=np.int64(2), steps=steps)
        np.testing.assert_array_equal(found.curve, expected.curve)
        assert found.steps.tolist() == [3]


def test_a_result_of_several_draws_counts_all_networks(distilled, unseen):
    rows = ["random real samples"]
    found = compare(distilled, *unseen, *unseen, baselines=rows, n_draws=2, n_networks=4)
    assert len(found[rows[0]].accuracies) == 4
    assert found[rows[0]].recipe.n_networks == 4


def test_a_result_knows_how_its_networks_were_trained(distilled, unseen):
    recipe = distilled.recipe
    result = evaluate(distilled, *unseen, n_networks=1)
    assert result.recipe == replace(recipe, n_networks=1)
    result = evaluate(
        distilled, *unseen, n_networks=1, steps=[2, 3], architecture="mlp", augmentation=Flip(p=1)
    )
    assert result.recipe.architecture == "mlp"
    assert result.recipe.augmentation == {"class": "Flip", "p": 1.0}
    assert result.recipe.steps == 3
    # The same, in other words.
    named = with_augmentation(distilled, "flip_rotate")
    result = evaluate(named, *unseen, n_networks=1, steps=1, augmentation="flip_rotate")
    assert result.recipe == replace(named.recipe, n_networks=1, steps=1)
    own = with_augmentation(distilled, {"class": f"{__name__}.Mirror"})
    result = evaluate(own, *unseen, n_networks=1, steps=1, augmentation=Mirror(p=1))
    assert result.recipe == replace(own.recipe, n_networks=1, steps=1)
    protocol = EvaluationProtocol(steps=2, n_networks=1, optimizer="sgd", architecture="auto")
    result = evaluate(distilled, *unseen, protocol=protocol)
    assert result.recipe == replace(recipe, steps=2, n_networks=1, optimizer="sgd")


def test_parameters_that_were_set_after_the_fit_do_not_count(unseen):
    quick = RaTBPTTDistiller(max_iter=1, window=1, unroll=1, n_networks=2, eval_steps=12)
    quick.set_params(random_state=0, augmentation="flip_rotate").fit(*unseen)
    expected, score = quick.evaluate(*unseen), quick.score(*unseen)
    assert expected.steps.tolist() == [1, 2, 4, 8, 12]
    quick.set_params(architecture="mlp", augmentation=None, eval_steps=24, n_networks=3)
    found = quick.evaluate(*unseen)
    np.testing.assert_array_equal(found.steps, expected.steps)
    np.testing.assert_array_equal(found.curve, expected.curve)
    assert quick.score(*unseen) == score
    assert found.recipe == quick.distilled_.recipe


FORKED = """
import sys
import torch
from joblib import parallel_config
from skdistill.datasets import load_digits, load_distilled
from skdistill.evaluation import evaluate

torch.set_num_threads(2)
torch.ones(2**20).exp()  # by threads, which stay here
X, y = load_digits(return_X_y=True)
X = X.reshape(len(X), -1)
with parallel_config("multiprocessing", n_jobs=2):
    print(evaluate(load_distilled("digits"), X[:20], y[:20], n_networks=2, steps=2))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="where processes fork by default")
def test_workers_that_are_forked_do_not_wait_for_threads_of_their_parent():
    done = subprocess.run(
        [sys.executable, "-c", FORKED], capture_output=True, text=True, timeout=120
    )
    assert "(2 networks, 2 steps)" in done.stdout, done.stderr
