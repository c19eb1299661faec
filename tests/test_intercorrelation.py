"""Random subsets of a distilled set: which samples they hold, and what they are compared with."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from sklearn.preprocessing import StandardScaler

from skdistill import DistilledDataset, RaTBPTTDistiller
from skdistill._data.layout import Layout
from skdistill.distilled import EvaluationRecipe
from skdistill.evaluation import EvaluationResult, evaluate
from skdistill.hardness import accuracy_by_hardness, disagreement_scores
from skdistill.inspection import DistilledImagesDisplay
from skdistill.intercorrelation import SubsampleCurve, compare_blocks, subsample_curve

CLASSES = np.array(["a", "b", "c"])
RECIPE = EvaluationRecipe(
    layout=Layout((2,), (2,)),
    mean=(1.0, 1.0),
    scale=(1.0, 2.0),
    architecture="mlp",
    steps=5,
    n_networks=4,
    seed=3,
)


def make_set(ipc, recipe=RECIPE):
    """Return a set in which each sample holds its class and its number within the class."""
    X = np.array([[c, k] for k in range(ipc) for c in range(3)], dtype=float)
    return DistilledDataset(X, np.tile(CLASSES, ipc), CLASSES, ipc, recipe)


@pytest.fixture
def test_data():
    rng = np.random.default_rng(0)
    return rng.normal(size=(40, 2)) * 2, CLASSES[rng.integers(3, size=40)]


@pytest.fixture
def real_data():
    """Return 8 real samples of every class; their second feature differs from distilled ones."""
    index = np.arange(24) % 3
    return np.column_stack([index, 100 + np.arange(24)]).astype(float), CLASSES[index]


@pytest.fixture
def trained_on(monkeypatch):
    """Record every evaluation instead of doing it: accuracies are 1, 2, 3... thousandths."""
    noted = []

    def note(data, X, y, *, n_networks, architecture, device):
        noted.append((data, n_networks))
        k = 1 + np.arange(n_networks)
        return EvaluationResult(k / 1000, np.array([1]), k[:, None] / 1000, len(data))

    monkeypatch.setattr("skdistill.intercorrelation.evaluate_checked", note)
    return noted


def test_a_subset_of_all_samples_is_the_set_itself(test_data):
    distilled = make_set(3)
    curve = subsample_curve(distilled, *test_data, sizes=[3, 1], n_draws=1)
    assert curve.sizes.tolist() == [1, 3]
    assert curve.subsets.shape == (2, 1, 4)
    whole = evaluate(distilled, *test_data)
    np.testing.assert_array_equal(curve.subsets[1, 0], whole.accuracies)
    assert not np.array_equal(curve.subsets[0, 0], whole.accuracies)


def test_subsets_hold_random_samples_of_every_class_in_the_order_of_sets(trained_on, test_data):
    subsample_curve(make_set(6), *test_data, sizes=[2, 5], n_draws=4, n_networks=4)
    assert [data.ipc for data, _ in trained_on] == 4 * [2] + 4 * [5]
    for data, _ in trained_on:
        np.testing.assert_array_equal(data.X[:, 0], np.tile([0, 1, 2], data.ipc))
        np.testing.assert_array_equal(data.y, np.tile(CLASSES, data.ipc))
        numbers = data.X[:, 1].reshape(data.ipc, 3)
        assert (np.diff(numbers, axis=0) > 0).all()
    small = [data.X[:, 1].reshape(2, 3) for data, _ in trained_on[:4]]
    # Draws differ, and the samples of each class are drawn separately.
    assert len({numbers.tobytes() for numbers in small}) == 4
    assert any(len(set(map(tuple, numbers.T))) > 1 for numbers in small)


def test_soft_labels_stay_with_their_samples(trained_on, test_data):
    distilled = make_set(6)
    soft = distilled.X[:, [1, 0, 1]] / 10
    subsample_curve(replace(distilled, y=soft), *test_data, sizes=[2], n_draws=3)
    for data, _ in trained_on:
        np.testing.assert_array_equal(data.y, data.X[:, [1, 0, 1]] / 10)


def test_draws_repeat_and_do_not_depend_on_other_sizes(trained_on, test_data):
    def rows(**arguments):
        trained_on.clear()
        subsample_curve(make_set(6), *test_data, n_draws=2, **arguments)
        return [data.X[:, 1].tolist() for data, _ in trained_on]

    first = rows(sizes=[3])
    assert rows(sizes=[2, 3])[2:] == first
    assert rows(sizes=[3], random_state=0) == rows(sizes=[3], random_state=0) != first
    assert rows(sizes=[3], random_state=1) != rows(sizes=[3], random_state=0)


def test_draws_share_the_networks_and_train_different_ones(trained_on, test_data, real_data):
    curve = subsample_curve(
        make_set(4), *test_data, sizes=[1], n_draws=3, n_networks=4, real=real_data
    )
    assert curve.subsets.shape == curve.real.shape == (1, 3, 2)
    assert curve.subsets[0, 1].tolist() == [0.001, 0.002]
    assert [n for _, n in trained_on] == [2] * 6
    assert [data.recipe.seed for data, _ in trained_on] == [3, 4, 5] * 2
    assert all(replace(data.recipe, seed=3) == RECIPE for data, _ in trained_on)


def test_real_samples(trained_on, test_data, real_data):
    subsample_curve(make_set(4), *test_data, sizes=[2, 3], n_draws=2, real=real_data)
    of_real = [data for data, _ in trained_on if data.X[0, 1] >= 100]
    assert [len(data) for data in of_real] == [6, 6, 9, 9]
    for data in of_real:
        np.testing.assert_array_equal(data.y, CLASSES[data.X[:, 0].astype(int)])
        np.testing.assert_array_equal(data.X[:, 0], np.tile([0, 1, 2], data.ipc))
        assert len(set(data.X[:, 1])) == len(data)
    assert of_real[0].X.tolist() != of_real[1].X.tolist()


def test_sets_of_their_size_are_trained_on_by_the_same_recipe(trained_on, test_data):
    other = make_set(2, replace(RECIPE, steps=99, seed=7, mean=(5.0, 5.0)))
    curve = subsample_curve(make_set(4), *test_data, sizes=[1, 2], n_draws=2, sets={2: other})
    (used,) = [data for data, n in trained_on if n == 4]
    assert used.recipe == replace(RECIPE, mean=(5.0, 5.0))
    np.testing.assert_array_equal(used.X, other.X)
    np.testing.assert_array_equal(curve.direct, [[np.nan] * 4, [0.001, 0.002, 0.003, 0.004]])


def test_data_as_it_was_before_preprocessing(test_data, real_data):
    X, y = test_data
    scaler = StandardScaler().fit(X)
    plain = make_set(3)
    kept = replace(plain, preprocessing=scaler)
    expected = subsample_curve(
        plain,
        scaler.transform(X),
        y,
        sizes=[1, 2],
        n_draws=2,
        real=(scaler.transform(real_data[0]), real_data[1]),
        sets={2: make_set(2)},
    )
    own = replace(make_set(2), preprocessing=scaler)
    curve = subsample_curve(kept, X, y, sizes=[1, 2], n_draws=2, real=real_data, sets={2: own})
    np.testing.assert_array_equal(curve.subsets, expected.subsets)
    np.testing.assert_array_equal(curve.real, expected.real)
    np.testing.assert_array_equal(curve.direct, expected.direct)
    unscaled = subsample_curve(plain, X, y, sizes=[1, 2], n_draws=2)
    assert not np.array_equal(unscaled.subsets, expected.subsets)


def test_curves_and_table():
    curve = SubsampleCurve(
        ipc=10,
        sizes=np.array([1, 5]),
        subsets=np.array([[[0.2, 0.4], [0.3, 0.3]], [[0.5, 0.5], [0.7, 0.7]]]),
        direct=np.array([[np.nan, np.nan], [0.8, 0.9]]),
    )
    assert list(curve.curves) == ["distilled at that size", "random subsets"]
    mean, std = curve.curves["random subsets"]
    np.testing.assert_allclose(mean, [0.3, 0.6])
    np.testing.assert_allclose(std, [np.sqrt(0.005), 0.1])
    np.testing.assert_allclose(curve.curves["distilled at that size"][0], [np.nan, 0.85])
    assert str(curve).splitlines() == [
        "samples per class  distilled at that size (%)  random subsets (%)",
        "                1                           -          30.0 ± 7.1",
        "                5                  85.0 ± 5.0         60.0 ± 10.0",
        "Subsets of 10 samples per class. Draws x networks: 2 x 2.",
    ]
    # A single network on a single draw has no deviation.
    single = SubsampleCurve(ipc=10, sizes=np.array([1]), subsets=np.array([[[0.5]]]))
    assert str(single).splitlines()[1].split() == ["1", "50.0"]


def test_blocks(trained_on, test_data):
    blocks = compare_blocks(make_set(5), *test_data, block_size=2, n_networks=3)
    assert list(blocks.results) == ["block 1", "block 2", "block 3"]
    assert [data.X[::3, 1].tolist() for data, _ in trained_on] == [[0, 1], [2, 3], [4]]
    assert [data.ipc for data, _ in trained_on] == [2, 2, 1]
    assert all(n == 3 and data.recipe == RECIPE for data, n in trained_on)


def test_the_first_block_is_the_first_subset(test_data):
    distilled = make_set(4)
    blocks = compare_blocks(distilled, *test_data, block_size=2)
    first = evaluate(distilled.subset(2), *test_data)
    np.testing.assert_array_equal(blocks["block 1"].accuracies, first.accuracies)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sizes": [1, 5]}, "sizes must be at most ipc=4, what was distilled; got 5"),
        ({"sizes": [0, 2]}, r"sizes must be positive integers; got \[0, 2\]"),
        ({"sizes": [1.5]}, r"sizes must be positive integers; got \[1.5\]"),
        ({"sizes": []}, r"sizes must be positive integers; got \[\]"),
        ({"n_draws": 0}, "n_draws must be an integer of at least 1; got 0"),
        ({"n_networks": 0}, "n_networks must be an integer of at least 1; got 0"),
        ({"sets": {3: make_set(3)}}, r"sets must be of sizes among \[1, 2\]; got one of 3"),
        ({"sets": {2: make_set(3)}}, r"sets\[2\] must hold 2 samples per class; got ipc=3"),
        (
            {"sets": {2: replace(make_set(2), classes=np.array(["a", "b", "d"]))}},
            r"sets\[2\] must have the classes and sample shape of distilled",
        ),
        (
            {"sets": {2: replace(make_set(2), preprocessing=StandardScaler())}},
            r"sets\[2\] must keep its preprocessing if distilled does",
        ),
        ({"real": np.zeros((9, 2))}, r"real must be \(X_train, y_train\); got ndarray"),
    ],
)
def test_bad_arguments(trained_on, test_data, change, message):
    with pytest.raises(ValueError, match=message):
        subsample_curve(make_set(4), *test_data, **{"sizes": [1, 2], **change})
    assert not trained_on


def test_bad_data(trained_on, test_data, real_data):
    X, y = real_data
    with pytest.raises(
        ValueError, match="at most 1, the smallest class of the real samples; got 2"
    ):
        subsample_curve(make_set(4), *test_data, sizes=[2], real=(X[:5], y[:5]))
    with pytest.raises(ValueError, match="real must hold only labels"):
        subsample_curve(make_set(4), *test_data, sizes=[2], real=(X, np.full(24, "z")))
    with pytest.raises(ValueError, match="X has 1 features"):
        subsample_curve(make_set(4), X[:, :1], y, sizes=[2])
    with pytest.raises(ValueError, match="block_size=5 must be between 1 and 4"):
        compare_blocks(make_set(4), *test_data, block_size=5)
    assert not trained_on


def test_a_distiller_is_no_set(test_data):
    X, y = test_data
    distiller = RaTBPTTDistiller()
    for ask in (
        partial(subsample_curve, distiller, X, y, sizes=[1]),
        partial(compare_blocks, distiller, X, y, block_size=1),
        partial(disagreement_scores, distiller, X, y),
        partial(accuracy_by_hardness, distiller, X, y, np.zeros(len(y))),
        partial(accuracy_by_hardness, {"one": distiller}, X, y, np.zeros(len(y))),
        partial(DistilledImagesDisplay.from_distilled, distiller),
    ):
        with pytest.raises(TypeError, match="fitted distiller has one as distilled_"):
            ask()


@pytest.mark.parametrize("block_size", [0, 1.0, "1", True])
def test_a_block_has_a_whole_number_of_samples(test_data, block_size):
    with pytest.raises(ValueError, match="block_size must be an integer of at least 1; got"):
        compare_blocks(make_set(4), *test_data, block_size=block_size)
