"""Where a run starts, how it goes on, and when it ends."""

import pickle
import warnings
from functools import partial
from time import perf_counter

import numpy as np
import pytest
import tools
from sklearn.model_selection import train_test_split

from skdistill import DistributionMatchingDistiller, RaTBPTTDistiller
from skdistill._data.seeds import draw_seed
from skdistill.windows import MovingWindow

quick = partial(tools.quick, inner_lr=0.001, batch_size=16)


# --- warm start -------------------------------------------------------------------------------


@pytest.mark.parametrize("pickled", [False, True], ids=["in place", "pickled"])
@pytest.mark.parametrize(
    "parameters",
    [
        {"ipc": 2, "inner_batch_size": 1},
        {"schedule": MovingWindow(patience=2)},
        {"validation_fraction": 0.25, "validation_interval": 2},
    ],
    ids=["mini-batches", "moving window", "validation"],
)
def test_warm_start_continues_bit_for_bit(images, parameters, pickled):
    X, y = images
    whole = quick(max_iter=7, **parameters).fit(X, y)
    began = perf_counter()
    parts = quick(max_iter=3, warm_start=True, **parameters).fit(X, y)
    if pickled:
        parts = pickle.loads(pickle.dumps(parts))
    parts.set_params(max_iter=7).fit(X, y)
    np.testing.assert_array_equal(parts.transform()[0], whole.transform()[0])
    for name in set(whole.history_) - {"seconds"}:
        # The short run validates at its own last step, too.
        if name != "validation_accuracy":
            assert parts.history_[name] == whole.history_[name]
    assert parts.n_iter_ == 7
    assert len(parts.history_["loss"]) == 7
    seconds = parts.distilled_.provenance["seconds"]
    assert sum(parts.history_["seconds"]) < seconds < perf_counter() - began


def test_warm_start_without_a_random_state_keeps_its_seed(images):
    distiller = quick(random_state=None, warm_start=True).fit(*images)
    seed = distiller.distilled_.recipe.seed
    assert distiller.set_params(max_iter=5).fit(*images).distilled_.recipe.seed == seed


def test_a_cold_start_begins_anew(images):
    distiller = quick().fit(*images)
    first = distiller.transform()[0]
    np.testing.assert_array_equal(distiller.fit(*images).transform()[0], first)
    assert distiller.n_iter_ == 3


def test_warm_start_with_nothing_left_to_do(images):
    distiller = quick(warm_start=True).fit(*images)
    first = distiller.transform()[0]
    np.testing.assert_array_equal(distiller.fit(*images).transform()[0], first)


def test_a_history_has_none_for_values_not_measured_yet(images):
    parameters = {"validation_fraction": 0.25, "validation_interval": 2}
    distiller = quick(warm_start=True, max_iter=4, **parameters).fit(*images)
    accuracies = distiller.history_["validation_accuracy"]
    assert [accuracy is None for accuracy in accuracies] == [True, False, True, False]
    distiller.set_params(max_iter=6, validation_fraction=None).fit(*images)
    assert distiller.history_["validation_accuracy"] == [*accuracies, None, None]


@pytest.mark.parametrize("before", [None, 0.25])
def test_what_was_trained_on_is_not_held_out_later(images, before, outer_step):
    distiller = quick(warm_start=True, validation_fraction=before).fit(*images)
    distiller.set_params(max_iter=5, validation_fraction=0.5)
    message = f"validation_fraction=0.5 must be {before}, as in the earlier fit"
    with outer_step(pytest.fail), pytest.raises(ValueError, match=message):
        distiller.fit(*images)


def test_warm_start_leaves_the_earlier_history_alone(images):
    distiller = quick(warm_start=True).fit(*images)
    history = distiller.history_
    before = {name: list(values) for name, values in history.items()}
    distiller.set_params(max_iter=5).fit(*images)
    assert history == before


def test_warm_start_refuses_what_it_cannot_continue(images):
    X, y = images
    distiller = quick(warm_start=True).fit(X, y)
    for change, data, message in [
        ({"max_iter": 2}, (X, y), "max_iter=2 must be at least 3"),
        ({"ipc": 2}, (X, y), "ipc=2 must be 1, as in the earlier fit"),
        ({}, (X, y + 1), "the same classes as in the earlier fit"),
        ({}, (X[:, :5], y), "samples of the same shape"),
    ]:
        with pytest.raises(ValueError, match=message):
            distiller.set_params(**{"max_iter": 5, "ipc": 1, **change}).fit(*data)
        # The earlier run is still there, and can be continued.
        assert distiller.n_iter_ == 3
    assert distiller.set_params(max_iter=4, ipc=1).fit(X, y).n_iter_ == 4


def test_warm_start_refuses_columns_in_another_order(table, outer_step):
    pd = pytest.importorskip("pandas")
    X, y = pd.DataFrame(table[0], columns=["a", "b", "c"]), table[1]
    distiller = quick(warm_start=True).fit(X, y).set_params(max_iter=5)
    message = (
        "X must have the columns of the earlier fit, in their order: .* column 1 is 'c', and in "
        r"the earlier fit it was 'b'\. Pass X\[list\(distiller.feature_names_in_\)\]\."
    )
    with outer_step(pytest.fail), pytest.raises(ValueError, match=message):
        distiller.fit(X[["a", "c", "b"]], y)
    assert distiller.feature_names_in_.tolist() == ["a", "b", "c"]
    assert distiller.fit(X, y).n_iter_ == 5


STILL = {"max_iter": 4, "learning_rate": 1e-12}


@pytest.mark.parametrize("decay", [None, 0.9])
@pytest.mark.parametrize("change", [{"validation_fraction": None}, {"class_weight": {0: 5.0}}])
def test_samples_stay_as_they_are_when_the_mean_changes(images, change, decay):
    validated = {"validation_fraction": 0.25, "validation_interval": 10, "ema_decay": decay}
    distiller = quick(warm_start=True, **validated).fit(*images)
    before = distiller.distilled_
    # A further step would move averages.
    still = STILL if decay is None else {}
    after = distiller.set_params(**change, **still).fit(*images).distilled_
    assert abs(after.recipe.mean[0] - before.recipe.mean[0]) > 1e-3
    np.testing.assert_allclose(after.X, before.X, atol=1e-5)
    # Networks see them by the mean of now.
    seen = distiller._run.state.result["X"]
    np.testing.assert_allclose(seen, after.standardize(after.X), atol=1e-5)


def test_columns_that_begin_or_cease_to_vary(table):
    X, y = table
    X = np.c_[X, np.full(len(X), 7.0)]
    distiller = quick(warm_start=True).fit(X, y)
    before = distiller.transform()[0]
    other = np.c_[X[:, :2] + 1, np.full(len(X), 5.0), np.arange(len(X)) * 1.0]
    after = distiller.set_params(**STILL).fit(other, y).transform()[0]
    np.testing.assert_allclose(after[:, [0, 1, 3]], before[:, [0, 1, 3]], atol=1e-5)
    assert (after[:, 2] == 5).all()


@pytest.mark.parametrize("way", ["init", "start"])
def test_a_set_in_other_units_is_warned_of(images, way):
    X, y = images
    start = quick().fit(X / 255, y).distilled_
    parameters, arguments = ({"init": start}, {}) if way == "init" else ({}, {"start": start})
    with pytest.warns(UserWarning, match="X does not seem to be in the units of the training data"):
        quick(**parameters).fit(X, y, **arguments)
    # In its own there is nothing to say.
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        quick(**parameters).fit(X / 255, y, **arguments)


def test_data_in_other_units_is_warned_of_when_a_run_goes_on(images):
    distiller = quick(warm_start=True).fit(*images)
    distiller.set_params(max_iter=4)
    with pytest.warns(UserWarning, match="X does not seem to be in the units of the training data"):
        distiller.fit(images[0] / 255, images[1])


def test_a_continued_run_was_begun_in_the_same_way(images):
    first, other = (quick(random_state=seed).fit(*images).distilled_ for seed in (0, 1))
    distiller = quick(ipc=2, warm_start=True)
    distiller.fit(*images, start=first, learning_rate_factors=[0, 1])
    before = distiller.transform()[0]
    distiller = pickle.loads(pickle.dumps(distiller)).set_params(max_iter=4)
    for change, metadata, message in [
        ({}, {"start": other}, "start must be {'skdistill.Dist.*; got {'skdistill.Distilled"),
        ({}, {"start": None}, "start must be {'skdistill.DistilledDataset'.*; got None"),
        ({}, {"learning_rate_factors": [1, 1]}, r"factors must be \[0.0, 1.0\]; got \[1.0, 1.0\]"),
        ({"init": "real"}, {}, "init must be 'gaussian'; got 'real'"),
    ]:
        metadata = {"start": first, "learning_rate_factors": [0, 1], **metadata}
        with pytest.raises(ValueError, match=f"{message}.*; as in the earlier fit, which warm_st"):
            distiller.set_params(**{"init": "gaussian", **change}).fit(*images, **metadata)
        np.testing.assert_array_equal(distiller.transform()[0], before)
    distiller.set_params(init="gaussian")
    distiller.fit(*images, start=first, learning_rate_factors=[0, 1])
    assert distiller.n_iter_ == 4
    # A pickle of an older version says nothing.
    del vars(distiller._run)["begun"]
    assert distiller.set_params(max_iter=5).fit(*images).n_iter_ == 5


# --- initial samples --------------------------------------------------------------------------


def start_of(images, init, **parameters):
    # A learning rate this small moves nothing that float32 could show.
    return quick(init=init, learning_rate=1e-30, max_iter=1, **parameters).fit(*images)


def test_init_gaussian_has_norm_one(images):
    X = images[0]
    X_syn = start_of(images, "gaussian", ipc=3).transform()[0]
    standardized = (X_syn - X.mean()) / X.std()
    np.testing.assert_allclose(np.linalg.norm(standardized.reshape(6, -1), axis=1), 1, rtol=1e-5)


def test_init_real_is_real_samples_of_their_classes(images):
    X, y = images
    X_syn, y_syn = start_of(images, "real", ipc=3).transform()
    for sample, label in zip(X_syn, y_syn):
        assert np.isclose(X[y == label], sample, atol=1e-5).all(axis=(1, 2)).any()


def test_init_kmeans_of_one_sample_is_the_class_mean(images):
    X, y = images
    X_syn = start_of(images, "kmeans").transform()[0]
    np.testing.assert_allclose(X_syn, [X[y == c].mean(axis=0) for c in (0, 1)], atol=1e-5)


def test_init_from_a_distilled_set(images):
    first = quick().fit(*images)
    again = start_of(images, first.distilled_).transform()[0]
    np.testing.assert_allclose(again, first.transform()[0], atol=1e-5)


def test_init_refuses_what_does_not_fit(images):
    X, y = images
    distilled = quick().fit(X, y).distilled_
    for change, data, message in [
        ({"ipc": 2}, (X, y), r"init must hold ipc=2 .* got ipc=1"),
        ({}, (X[:, :5], y), r"of shape \(5, 6\); got ipc=1 of shape \(6, 6\)"),
        ({}, (X, y + 1), "init must hold the classes of y"),
        ({"init": "zeros"}, (X, y), "'init' parameter .* Got 'zeros'"),
        ({"init": "real", "ipc": 15}, (X[:31], np.arange(31) % 31 > 10), "ipc=15 must be at most"),
    ]:
        with pytest.raises(ValueError, match=message):
            quick(**{"init": distilled, **change}).fit(*data)


# --- validation -------------------------------------------------------------------------------


@pytest.fixture
def scripted(monkeypatch):
    """Replace the held-out accuracies by a script, and count the held-out samples."""

    def install(accuracies):
        script, sizes = iter(accuracies), []

        def accuracy(held_out, X, y, changes):
            sizes.append(len(held_out.real))
            return next(script)

        monkeypatch.setattr("skdistill._run.held_out.HeldOut.accuracy", accuracy)
        return sizes

    return install


def test_the_best_iterate_on_held_out_data_is_kept(images, scripted):
    sizes = scripted([0.5, 0.9, 0.6])
    parameters = {"validation_fraction": 0.25, "validation_interval": 2}
    distiller = quick(max_iter=6, **parameters).fit(*images)
    assert sizes == [10, 10, 10]
    assert distiller.history_["validation_accuracy"] == [None, 0.5, None, 0.9, None, 0.6]
    assert distiller.distilled_.provenance["best_iter"] == 4
    assert distiller.n_iter_ == 6
    scripted([0.5, 0.9])
    shorter = quick(max_iter=4, **parameters).fit(*images)
    np.testing.assert_array_equal(distiller.transform()[0], shorter.transform()[0])


def test_all_that_is_learned_is_that_of_the_best_iterate(images, scripted):
    scripted([0.9, 0.5])
    slide = tools.slide(max_iter=4, validation_fraction=0.25, validation_interval=2).fit(*images)
    assert slide.distilled_.provenance["best_iter"] == 2
    # It rises by a half in each step.
    assert slide.extra_["height"].tolist() == [1.0]


def test_it_is_the_latest_iterate_that_is_judged(images, monkeypatch):
    judged = []

    def accuracy(held_out, X, y, changes):
        judged.append(X.numpy().copy())
        return 1.0 - len(judged) / 10

    monkeypatch.setattr("skdistill._run.held_out.HeldOut.accuracy", accuracy)
    parameters = {"validation_fraction": 0.25, "validation_interval": 1}
    distiller = quick(max_iter=3, **parameters).fit(*images)
    # The first was the best, but the later ones were judged as well.
    best = distiller.distilled_.standardize(distiller.transform()[0])
    np.testing.assert_allclose(best, judged[0], atol=1e-6)
    assert np.abs(judged[1] - judged[0]).max() > 0
    assert np.abs(judged[2] - judged[1]).max() > 0


def test_stops_when_the_held_out_accuracy_stagnates(images, scripted):
    scripted([0.5, 0.9, 0.6, 0.9, 0.8, 0.8, 0.8])
    distiller = quick(
        max_iter=100, validation_fraction=0.25, validation_interval=2, n_iter_no_change=5
    ).fit(*images)
    # Best at step 4; step 9 is the fifth without a better one, and 10 the next that is validated.
    assert distiller.n_iter_ == 10
    # It has ended, and does not continue.
    assert distiller.set_params(warm_start=True).fit(*images).n_iter_ == 10


def test_a_run_does_not_stop_before_it_is_validated_again(images, scripted):
    scripted([0.5, 0.6, 0.6])
    distiller = quick(
        max_iter=20, validation_fraction=0.25, validation_interval=3, n_iter_no_change=1
    ).fit(*images)
    assert distiller.n_iter_ == 9
    assert distiller.distilled_.provenance["best_iter"] == 6


def test_the_end_off_the_interval_counts_only_if_it_is_the_end(images, scripted):
    parameters = {"validation_fraction": 0.25, "validation_interval": 2, "warm_start": True}
    scripted([0.5, 0.9, 0.6, 0.7])
    distiller = quick(max_iter=3, **parameters).fit(*images)
    assert distiller.distilled_.provenance["best_iter"] == 3
    # With nothing left to do, too: the best and the last are validated anew.
    scripted([0.5, 0.9])
    assert distiller.fit(*images).distilled_.provenance["best_iter"] == 3
    scripted([0.5, 0.9, 0.6, 0.7])
    distiller.set_params(max_iter=6).fit(*images)
    assert distiller.distilled_.provenance["best_iter"] == 6
    scripted([0.5, 0.6, 0.7])
    whole = quick(max_iter=6, **parameters).fit(*images)
    np.testing.assert_array_equal(distiller.transform()[0], whole.transform()[0])


VALIDATED = {"validation_fraction": 0.25, "validation_interval": 2, "warm_start": True}


@pytest.mark.parametrize(("now", "best"), [([0.3, 0.2, 0.8], 6), ([0.3, 0.2, 0.1], 2)])
def test_the_best_of_an_earlier_fit_is_validated_anew(images, scripted, now, best):
    scripted([0.9, 0.4])
    distiller = quick(max_iter=4, **VALIDATED).fit(*images)
    assert distiller.distilled_.provenance["best_iter"] == 2
    distiller = pickle.loads(pickle.dumps(distiller)).set_params(max_iter=6, eval_steps=6)
    # The best, the last, and the step that is new.
    scripted(now)
    assert distiller.fit(*images).distilled_.provenance["best_iter"] == best
    assert distiller.history_["validation_accuracy"][1::2] == [0.9, *now[1:]]
    assert distiller._run.best.accuracy == max(now)


@pytest.mark.parametrize(("now", "best"), [([0.3, 0.2], 2), ([0.3, 0.5], 4)])
def test_the_best_of_before_may_be_the_last_by_other_validations(images, scripted, now, best):
    scripted([0.9, 0.4])
    distiller = quick(max_iter=4, **VALIDATED).fit(*images)
    before = distiller.transform()[0]
    scripted(now)
    # With these weights the mean is another, and the samples of the best stay as they are.
    after = distiller.set_params(class_weight={0: 5.0}).fit(*images)
    assert after.distilled_.provenance["best_iter"] == best
    assert np.allclose(after.transform()[0], before, atol=1e-5) == (best == 2)


def test_validated_anew_in_the_same_way_it_is_the_same(images):
    distiller = quick(max_iter=5, **VALIDATED).fit(*images)
    best, history = distiller._run.best, distiller.history_
    distiller.fit(*images)
    assert distiller._run.best.accuracy == best.accuracy
    assert distiller.history_ == history


def test_what_continues_does_not_observe_the_end_off_the_interval(images, scripted):
    seen = []

    class Noting(MovingWindow):
        def observe(self, seen_now, *rest):
            seen.append(seen_now.accuracy)
            return super().observe(seen_now, *rest)

    scripted([0.5, 0.9])
    quick(validation_fraction=0.25, validation_interval=2, schedule=Noting()).fit(*images)
    assert seen == [None, 0.5, None]


def test_without_validation_the_last_samples_are_the_result_of_a_continued_run(images):
    distiller = quick(validation_fraction=0.25, validation_interval=1, warm_start=True)
    distiller.fit(*images).set_params(validation_fraction=None)
    for max_iter in (3, 4):
        distiller.set_params(max_iter=max_iter).fit(*images)
        assert distiller.distilled_.provenance["best_iter"] is None
        learned = distiller.distilled_.standardize(distiller.transform()[0])
        last = distiller._run.state.tensors["X"]
        np.testing.assert_allclose(learned, last, atol=1e-5)


def test_an_earlier_fit_that_validated_goes_on_without_in_a_checkpoint(images, tmp_path):
    def fitted(checkpoint):
        distiller = quick(validation_fraction=0.25, validation_interval=1, warm_start=True)
        distiller.fit(*images)
        later = {"validation_fraction": None, "max_iter": 5, "checkpoint": checkpoint}
        return distiller.set_params(**later).fit(*images)

    path = tmp_path / "run.npz"
    kept = fitted(path)
    np.testing.assert_array_equal(kept.transform()[0], fitted(None).transform()[0])
    # The file, of a run without validation, can go on.
    again = quick(max_iter=5, validation_interval=1, checkpoint=path).fit(*images)
    np.testing.assert_array_equal(again.transform()[0], kept.transform()[0])


def test_a_run_of_an_earlier_fit_is_not_refused_in_the_name_of_a_file(images, tmp_path):
    distiller = quick(warm_start=True).fit(*images)
    path = tmp_path / "run.npz"
    distiller.set_params(learn_labels=True, checkpoint=path, max_iter=5)
    with pytest.raises(ValueError, match="Parameters must be those of the earlier fit"):
        distiller.fit(*images)


@pytest.mark.parametrize("kind", [RaTBPTTDistiller, DistributionMatchingDistiller])
def test_held_out_samples_weigh_as_those_that_are_trained_on(images, monkeypatch, kind):
    X, y = images
    weights = []

    def curve(family, training, networks, counts, test, sample_weight=None):
        weights.append(sample_weight)
        return np.full((networks, 1), 0.5), 0

    monkeypatch.setattr("skdistill._run.held_out.accuracy_curve", curve)
    parameters = {"max_iter": 1, "validation_fraction": 0.25}
    tools.quick(kind, **parameters).fit(X, y)
    tools.quick(kind, class_weight={0: 3}, **parameters).fit(X, y, sample_weight=y + 1.0)
    assert weights[0] is None
    assert sorted(weights[1]) == [2.0] * 5 + [3.0] * 5


def test_validation_trains_other_networks_than_score(images, monkeypatch):
    seeds = []

    def curve(family, training, networks, *rest):
        seeds.append(training.seed)
        return np.full((networks, 1), 0.5), 0

    monkeypatch.setattr("skdistill._run.held_out.accuracy_curve", curve)
    distiller = quick(validation_fraction=0.25, validation_interval=1).fit(*images)
    assert len(set(seeds)) == 1
    assert seeds[0] != distiller.distilled_.recipe.seed


def test_held_out_samples_are_stratified_and_not_trained_on(images, monkeypatch):
    X, y = images
    seen = {}

    def spy(X_fit, y_fit, *rest):
        seen["fit"] = X_fit, y_fit
        raise KeyboardInterrupt

    monkeypatch.setattr("skdistill._run.problem.training_data", spy)
    with pytest.raises(KeyboardInterrupt):
        quick(validation_fraction=0.25).fit(X, y)
    X_fit, y_fit = seen["fit"]
    assert len(X_fit) == 30
    assert np.bincount(y_fit).tolist() == [15, 15]
    # The choice of samples is a promise to checkpoints.
    rows, _ = train_test_split(
        np.arange(40), test_size=0.25, stratify=y, random_state=draw_seed(0) % 2**32
    )
    np.testing.assert_array_equal(X_fit, X[rows])
    np.testing.assert_array_equal(y_fit, y[rows])


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"n_iter_no_change": 3}, "n_iter_no_change=3 must come with a validation_fraction"),
        ({"validation_fraction": 1.0}, "'validation_fraction' parameter .* Got 1.0"),
        ({"validation_fraction": 0.01}, "validation_fraction=0.01 must leave samples of every"),
        ({"validation_fraction": 0.5, "ipc": 11}, "ipc=11 must be at most 10: .*=0.5 leaves"),
    ],
)
def test_bad_validation(images, parameters, message):
    with pytest.raises(ValueError, match=message):
        quick(**parameters).fit(*images)
