"""Hardness: forgetting and disagreement counted by hand, accuracy by bins, weighted batches."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

from skdistill import DistilledDataset
from skdistill._data.layout import Layout
from skdistill._data.validation import InvalidParameterError
from skdistill.distilled import EvaluationRecipe
from skdistill.evaluation import compare, evaluate
from skdistill.exceptions import DivergenceWarning
from skdistill.hardness import (
    HardnessResult,
    HardnessSampler,
    WeightedSampler,
    accuracy_by_hardness,
    count_forgetting_events,
    disagreement_scores,
    forgetting_scores,
    hardness_weights,
)
from skdistill.intercorrelation import compare_blocks, subsample_curve

CLASSES = np.array(["no", "yes"])
NAMES = ["a", "b"]
RECIPE = EvaluationRecipe(
    layout=Layout((2,), (2,)),
    mean=(0.0, 0.0),
    scale=(1.0, 1.0),
    architecture="mlp",
    steps=6,
    n_networks=3,
    batch_size=16,
    seed=5,
)
DISTILLED = DistilledDataset(
    np.array([[-1.0, 0.0], [1.0, 0.0], [0.0, -1.0], [0.5, 1.0]]),
    np.tile(CLASSES, 2),
    CLASSES,
    2,
    RECIPE,
)


@pytest.fixture
def data():
    """Return 60 points of two overlapping classes, and labels."""
    rng = np.random.default_rng(0)
    index = np.arange(60) % 2
    X = rng.normal(size=(60, 2))
    X[:, 0] += 2 * index - 1
    return X, CLASSES[index]


def test_forgetting_events_counted_by_hand():
    history = {
        "always right": ([1, 1, 1, 1, 1, 1], 0),
        "learnt late": ([0, 0, 0, 0, 0, 1], 0),
        "forgotten once": ([0, 1, 0, 0, 1, 1], 1),
        "forgotten at the end": ([1, 1, 1, 1, 1, 0], 1),
        "as often as can be": ([1, 0, 1, 0, 1, 0], 3),
        "never learnt": ([0, 0, 0, 0, 0, 0], 6),
    }
    correct = np.array([c for c, _ in history.values()]).T
    assert count_forgetting_events(correct).tolist() == [n for _, n in history.values()]


def test_forgetting_scores_are_means_over_networks(monkeypatch, data):
    # Of 60 samples all are always right, except these two.
    histories = {0: [[1, 0, 1, 0], [0, 0, 0, 0]], 1: [[1, 1, 0, 0], [0, 1, 0, 1]]}

    def told(family, distilled, n_networks, counts, real):
        for k in range(n_networks):
            for j in range(len(counts)):
                correct = np.ones(60, dtype=bool)
                correct[:2] = [history[j] for history in histories[k]]
                yield k, j, correct

    monkeypatch.setattr("skdistill.hardness.forgetting.correct_while_training", told)
    scores = forgetting_scores(*data, n_networks=2, n_epochs=4)
    assert scores[:2].tolist() == [(2 + 1) / 2, (4 + 1) / 2]
    assert not scores[2:].any()


def test_forgetting_asks_after_every_epoch(monkeypatch, data):
    asked = []

    def note(family, distilled, n_networks, counts, *visit):
        asked.append((distilled, n_networks, list(counts)))
        return iter(())

    monkeypatch.setattr("skdistill.hardness._common.train_networks", note)
    for batch_size in (25, 1000):
        forgetting_scores(*data, n_networks=2, n_epochs=3, batch_size=batch_size, learning_rate=0.1)
    (training, n_networks, counts), (_, _, counts_of_one_batch) = asked
    # Two batches of 25 fit into 60 samples.
    assert (n_networks, counts, counts_of_one_batch) == (2, [2, 4, 6], [1, 2, 3])
    standardized = (data[0] - data[0].mean(axis=0)) / data[0].std(axis=0)
    np.testing.assert_allclose(training.X.numpy(), standardized, atol=1e-5)
    np.testing.assert_array_equal(np.unique(data[1])[training.y.numpy()], data[1])
    assert (training.protocol.learning_rate, training.protocol.batch_size) == (0.1, 25)


def test_mislabeled_samples_are_forgotten_most(data):
    X, y = data
    wrong = np.array([0, 7, 20, 41])
    X = X * 0.3
    X[:, 0] += np.where(y == "yes", 1, -1)
    y[wrong] = np.where(y[wrong] == "yes", "no", "yes")
    numpy_before, torch_before = np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    scores = forgetting_scores(
        X, y, n_networks=2, n_epochs=5, batch_size=20, learning_rate=0.01, random_state=0
    )
    assert scores[wrong].min() > np.delete(scores, wrong).max()
    again = forgetting_scores(
        X, y, n_networks=2, n_epochs=5, batch_size=20, learning_rate=0.01, random_state=0
    )
    np.testing.assert_array_equal(scores, again)
    numpy_after = np.random.get_state()  # noqa: NPY002
    np.testing.assert_array_equal(numpy_after[1], numpy_before[1])
    assert numpy_after[2] == numpy_before[2]
    assert torch.equal(torch.get_rng_state(), torch_before)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_networks": 0}, "n_networks must be an integer of at least 1; got 0"),
        ({"n_epochs": 1}, "n_epochs must be an integer of at least 2; got 1"),
        ({"batch_size": 2.5}, "batch_size must be an integer of at least 1; got 2.5"),
        ({"learning_rate": 0}, "learning_rate must be a positive number; got 0"),
        ({"image_shape": (1, 2)}, "image_shape must be None or three positive integers"),
        ({"image_shape": (True, 6, 6)}, "image_shape must be None or three positive integers"),
        ({"architecture": "convnet"}, "architecture='convnet' must be given images"),
        (
            {"architecture": lambda shape, k: torch.nn.Linear(2, 5)},
            r"architecture must build a network with output of shape \(n, 2\)",
        ),
    ],
)
def test_bad_arguments_of_forgetting(data, change, message):
    with pytest.raises(ValueError, match=message):
        forgetting_scores(*data, **change)


def test_bad_data_of_forgetting(data):
    X, y = data
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        forgetting_scores(X, y[:-1])
    with pytest.raises(ValueError, match="at least 2 classes"):
        forgetting_scores(X, np.zeros(60))
    with pytest.raises(ValueError, match="NaN"):
        forgetting_scores(X * np.nan, y)


def test_accuracy_in_a_bin_is_that_of_an_evaluation_on_its_samples(data):
    X, y = data
    scores = np.arange(60) % 4
    result = accuracy_by_hardness(DISTILLED, X, y, scores, bins=[0, 1, 2, 5], n_networks=2)
    assert result.counts.tolist() == [15, 15, 30]
    whole = replace(DISTILLED, X=X, y=y)
    for name, trained_on in [("distilled", DISTILLED), ("whole training set", whole)]:
        values = result.accuracies[name]
        for i, inside in enumerate([scores == 0, scores == 1, scores >= 2]):
            alone = evaluate(trained_on, X[inside], y[inside], n_networks=2)
            np.testing.assert_allclose(values[:, i], alone.accuracies)
        overall = evaluate(trained_on, X, y, n_networks=2)
        np.testing.assert_allclose(values @ result.counts / 60, overall.accuracies)
    assert not np.array_equal(*result.accuracies.values())


def test_a_number_of_bins(data):
    scores = np.linspace(2, 4, 60)
    result = accuracy_by_hardness(
        DISTILLED, *data, scores, bins=4, n_networks=1, n_networks_whole=0
    )
    np.testing.assert_allclose(result.edges, [2, 2.5, 3, 3.5, 4])
    assert result.counts.tolist() == [15, 15, 15, 15]
    assert list(result.accuracies) == ["distilled"]


def test_bins_without_samples_and_limits_that_are_scores(data):
    scores = np.repeat([0.0, 3.0], 30)
    result = accuracy_by_hardness(
        DISTILLED, *data, scores, bins=[0, 1, 2, 3], n_networks=1, n_networks_whole=0
    )
    assert result.counts.tolist() == [30, 0, 30]
    assert np.isnan(result.accuracies["distilled"]).tolist() == [[False, True, False]]
    # A limit between two bins belongs to the upper one.
    result = accuracy_by_hardness(
        DISTILLED, *data, scores, bins=[0, 3, 4], n_networks=1, n_networks_whole=0
    )
    assert result.counts.tolist() == [30, 30]


def test_several_sets_by_the_first_ones_recipe(data):
    other = replace(DISTILLED, recipe=replace(RECIPE, steps=1, seed=0, mean=(0.5, 0.5)))
    sets = {"two": DISTILLED, "one": other.subset(1)}
    result = accuracy_by_hardness(
        sets, *data, np.zeros(60), bins=1, n_networks=2, n_networks_whole=1
    )
    shapes = {name: values.shape for name, values in result.accuracies.items()}
    assert shapes == {"two": (2, 1), "one": (2, 1), "whole training set": (1, 1)}
    expected = replace(DISTILLED.subset(1), recipe=replace(RECIPE, mean=(0.5, 0.5)))
    np.testing.assert_allclose(
        result.accuracies["one"][:, 0], evaluate(expected, *data, n_networks=2).accuracies
    )


def test_hardness_takes_samples_as_they_were_before_preprocessing(data):
    X, y = data
    scaler = StandardScaler().fit(10 * X + 3)
    kept = replace(DISTILLED, preprocessing=scaler)
    scores = np.arange(60) % 3
    scaled = scaler.transform(10 * X + 3)
    expected = accuracy_by_hardness(DISTILLED, scaled, y, scores, bins=3, n_networks=2)
    result = accuracy_by_hardness(kept, 10 * X + 3, y, scores, bins=3, n_networks=2)
    for name, values in expected.accuracies.items():
        np.testing.assert_array_equal(result.accuracies[name], values)
    np.testing.assert_array_equal(
        disagreement_scores(kept, 10 * X + 3, y), disagreement_scores(DISTILLED, scaled, y)
    )


def test_table_of_a_hardness_result():
    result = HardnessResult(
        edges=np.array([0, 0.5, 2]),
        counts=np.array([90, 0]),
        accuracies={"IPC 1": np.array([[0.5, np.nan], [0.7, np.nan]])},
    )
    assert str(result).splitlines() == [
        "hardness  samples     IPC 1 (%)",
        "0 to 0.5       90   60.0 ± 10.0",
        "0.5 to 2        0             -",
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scores": np.zeros(59)}, r"scores must be of shape \(60,\), one .*; got shape \(59,\)"),
        ({"scores": np.zeros((60, 1))}, r"scores must be of shape .*; got shape \(60, 1\)"),
        ({"scores": np.full(60, np.inf)}, "scores must be finite; got NaN or infinity"),
        ({"bins": 0}, "bins must be an integer of at least 1; got 0"),
        ({"bins": [0, 0, 1]}, "bins must be a number or at least 2 ascending limits"),
        ({"bins": [-1, -0.5]}, "must hold every score; got limits from -1 to -0.5 for scores .* 0"),
        ({"bins": [1, 2]}, "must hold every score"),
        ({"n_networks": 0}, "n_networks must be an integer of at least 1; got 0"),
        ({"n_networks_whole": -1}, "n_networks_whole must be an integer of at least 0; got -1"),
        ({"distilled": {}}, "distilled must hold at least one set"),
        (
            {"distilled": {"whole training set": DISTILLED}},
            "none named 'whole training set'",
        ),
        (
            {"distilled": {"a": DISTILLED, "b": replace(DISTILLED, classes=np.array([0, 1]))}},
            "sets of the same classes and sample shape; 'b' differs",
        ),
        ({"y": np.full(60, "maybe")}, "y must hold only labels that the distilled set knows"),
    ],
)
def test_bad_arguments_of_accuracy_by_hardness(monkeypatch, data, change, message):
    monkeypatch.setattr("skdistill.hardness._common.train_networks", None)  # no work has started
    arguments = {"distilled": DISTILLED, "X": data[0], "y": data[1], "scores": np.zeros(60)}
    with pytest.raises(ValueError, match=message):
        accuracy_by_hardness(**{**arguments, **change})


def test_disagreement_counts_the_networks_that_are_wrong(data):
    X, y = data
    y[0] = "maybe"
    with pytest.warns(UserWarning, match="1 of 60 samples have labels that were not in fit"):
        scores = disagreement_scores(DISTILLED, X, y, n_networks=4)
    assert scores.dtype == np.int64
    assert scores.shape == (60,)
    for i in (1, 2, 11, 30):
        right = evaluate(DISTILLED, X[i : i + 1], y[i : i + 1], n_networks=4).accuracies.sum()
        assert scores[i] == 4 - right
    # A label that the set does not know is wrong for all; and scores are no trivial ones.
    assert scores[0] == 4
    assert {0, 4} < set(scores.tolist())


def test_disagreement_takes_other_networks_for_another_random_state(data):
    recipe = disagreement_scores(DISTILLED, *data, n_networks=3)
    first = disagreement_scores(DISTILLED, *data, n_networks=3, random_state=0)
    again = disagreement_scores(DISTILLED, *data, n_networks=3, random_state=0)
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, recipe)
    with pytest.raises(ValueError, match="n_networks must be an integer of at least 1; got 0"):
        disagreement_scores(DISTILLED, *data, n_networks=0)


@pytest.mark.parametrize(
    ("threshold", "favor", "weights"),
    [
        (1, "extremes", [5, 4, 3, 2, 1, 2, 3, 4, 5]),
        (4, "extremes", [8, 7, 6, 5, 4, 5, 6, 7, 8]),
        (1, "medium", [1, 2, 3, 4, 5, 4, 3, 2, 1]),
        (4, "medium", [4, 5, 6, 7, 8, 7, 6, 5, 4]),
    ],
)
def test_weights_of_the_papers_scores_and_thresholds(threshold, favor, weights):
    assert hardness_weights(range(9), 8, threshold, favor).tolist() == weights
    strategy = HardnessSampler(threshold=threshold, favor=favor)
    sampler = strategy.make(range(9), 4, np.random.default_rng)
    expected = WeightedSampler(weights, 4, np.random.default_rng)
    for step in range(5):
        np.testing.assert_array_equal(sampler.batch(step), expected.batch(step))


def test_weights_of_another_number_of_networks():
    assert hardness_weights([0, 1, 2, 3], n_networks=3).tolist() == [2.5, 1.5, 1.5, 2.5]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([0, 9], 8), r"scores must be between 0 and n_networks=8; got 0 to 9"),
        (([-1, 3], 8), r"scores must be between 0 and n_networks=8; got -1 to 3"),
        (([np.nan], 8), "scores must be finite"),
        (([[1]], 8), r"scores must be of shape \(n,\); got shape \(1, 1\)"),
        (([1], 8, 0), "threshold=0 must be positive"),
        (([1], 8, 1, "easy"), "favor must be 'extremes' or 'medium'; got 'easy'"),
    ],
)
def test_bad_scores_and_weights(arguments, message):
    with pytest.raises(ValueError, match=message):
        hardness_weights(*arguments)


def test_samples_are_drawn_in_proportion_to_their_weights():
    weights = np.array([5.0, 1.0, 0.0, 2.0])
    sampler = WeightedSampler(weights, 4, lambda step: np.random.default_rng((0, step)))
    drawn = np.concatenate([sampler.batch(step) for step in range(4000)])
    share = np.bincount(drawn, minlength=4) / len(drawn)
    # Four standard deviations of 16,000 independent draws.
    np.testing.assert_allclose(share, weights / 8, atol=4 * np.sqrt(0.25 / len(drawn)))
    assert share[2] == 0
    # As many as there are samples, but not all of them: weights matter in the largest batch, too.
    assert any(len(set(sampler.batch(step))) < 3 for step in range(20))


def test_a_batch_is_a_function_of_its_step():
    def make():
        return HardnessSampler().make(
            np.arange(50) % 9, 8, lambda step: np.random.default_rng((7, step))
        )

    sampler = make()
    forth = [sampler.batch(step).tolist() for step in range(6)]
    back = [make().batch(step).tolist() for step in reversed(range(6))]
    assert back[::-1] == forth
    assert len(set(map(tuple, forth))) == 6
    assert len(HardnessSampler().make([0, 1, 8], 8, np.random.default_rng).batch(0)) == 3


def test_scores_are_due_every_so_many_epochs():
    strategy = HardnessSampler(renew_every=3, start_step=5)
    # 103 samples make 10 batches of 10: an epoch is 10 steps.
    due = [step for step in range(100) if strategy.is_due(step, 103, 10)]
    assert due == [5, 35, 65, 95]
    assert [step for step in range(12) if strategy.is_due(step, 8, 100)] == [5, 8, 11]


def test_the_sampler_is_a_strategy_with_parameters():
    strategy = clone(HardnessSampler(threshold=4)).set_params(favor="medium")
    assert strategy.get_params() == {
        "threshold": 4,
        "favor": "medium",
        "n_networks": 8,
        "steps": 300,
        "renew_every": 50,
        "start_step": 0,
    }
    strategy.validate()


@pytest.mark.parametrize(
    "bad",
    [
        {"threshold": 0},
        {"favor": "easy"},
        {"n_networks": 1},
        {"steps": 0},
        {"renew_every": 0},
        {"start_step": -1},
    ],
)
def test_bad_parameters_of_the_sampler(bad):
    name = next(iter(bad))
    with pytest.raises(InvalidParameterError, match=f"'{name}' parameter of HardnessSampler"):
        HardnessSampler(**bad).validate()


def test_networks_that_diverge_are_wrong_about_all_samples_and_reported(data):
    X, y = data
    spoiled = replace(DISTILLED, recipe=replace(RECIPE, learning_rate=1e30))
    with pytest.warns(DivergenceWarning, match="2 of 2 networks diverged"):
        scores = disagreement_scores(spoiled, X, y, n_networks=2)
    np.testing.assert_array_equal(scores, 2)
    with pytest.warns(DivergenceWarning, match="2 of 2 networks diverged"):
        result = accuracy_by_hardness(spoiled, X, y, scores, n_networks=2, n_networks_whole=0)
    np.testing.assert_array_equal(result.accuracies["distilled"][:, result.counts > 0], 0)
    with pytest.warns(DivergenceWarning, match="2 of 2 networks diverged") as caught:
        scores = forgetting_scores(X, y, n_networks=2, n_epochs=3, learning_rate=1e30)
    assert [warning.filename for warning in caught] == [__file__]
    np.testing.assert_array_equal(scores, 3)


@pytest.mark.parametrize(
    "look",
    [
        evaluate,
        lambda d, X, y: evaluate(
            replace(d, preprocessing=StandardScaler().set_output(transform="pandas").fit(X)), X, y
        ),
        lambda d, X, y: compare(d, X, y, X[NAMES], y),
        lambda d, X, y: compare(d, X[NAMES], y, X, y),
        lambda d, X, y: subsample_curve(d, X, y, sizes=[1]),
        lambda d, X, y: subsample_curve(d, X[NAMES], y, sizes=[1], real=(X, y)),
        lambda d, X, y: compare_blocks(d, X, y, block_size=1),
        disagreement_scores,
        lambda d, X, y: accuracy_by_hardness(d, X, y, np.arange(len(X))),
    ],
)
def test_columns_in_another_order_are_refused(data, look):
    X, y = data
    distilled = replace(DISTILLED, feature_names=("a", "b"))
    frame = pd.DataFrame(X, columns=NAMES)[NAMES[::-1]]
    with pytest.raises(ValueError, match="in another order: column 0 is 'b'"):
        look(distilled, frame, y)


def test_frames_with_the_columns_of_the_set_are_its_data(data):
    X, y = data
    distilled = replace(DISTILLED, feature_names=("a", "b"))
    frame = pd.DataFrame(X, columns=NAMES)
    expected = evaluate(distilled, X, y).accuracies
    np.testing.assert_array_equal(evaluate(distilled, frame, y).accuracies, expected)
    # Columns without names, or of names that the set's own preprocessing gives, are as they come.
    frame = frame.set_axis([0, 1], axis=1)
    np.testing.assert_array_equal(evaluate(distilled, frame, y).accuracies, expected)
    rotated = replace(distilled, preprocessing=PCA(2).set_output(transform="pandas").fit(X))
    assert len(evaluate(rotated, X, y).accuracies) == len(expected)


def test_negative_labels_that_cross_entropy_is_to_learn_are_warned_of(data):
    soft = replace(DISTILLED, y=np.array([[0.5, -0.5], [-0.5, 0.5]] * 2))
    with pytest.warns(UserWarning, match="4 of 4 soft labels have values below 0"):
        accuracy_by_hardness(
            {"first": DISTILLED, "soft": soft}, *data, np.arange(60), n_networks=1, bins=2
        )
    with pytest.warns(UserWarning, match="4 of 4 soft labels have values below 0"):
        disagreement_scores(soft, *data, n_networks=1)


def test_events_need_epochs_and_samples():
    with pytest.raises(ValueError, match=r"correct must be of shape \(n_epochs, n\); got shape"):
        count_forgetting_events([1, 0, 1, 0])
