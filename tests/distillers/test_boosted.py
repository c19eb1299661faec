"""Boost-DD: nested blocks, which samples stay and which move, budgets, resuming."""

import os
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import tools
from sklearn.base import clone
from sklearn.callback import ProgressBar, ScoringMonitor
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skdistill import (
    BoostedDistiller,
    DistilledDataset,
    DistributionMatchingDistiller,
    TrajectoryMatchingDistiller,
)
from skdistill._files import npz as _npz
from skdistill._run.block_folder import BlockFolder
from skdistill._run.held_out import hold_out
from skdistill.evaluation import evaluate
from skdistill.exceptions import CheckpointWarning, DivergenceError, InvalidFileError
from skdistill.parametrization import LinearBasis

quick = partial(tools.quick, eval_steps=20, random_state=None)


def boosted(ipc=3, block_size=1, beta=0.0, distiller=None, **parameters):
    distiller = quick() if distiller is None else distiller
    parameters = {"random_state": 0, **parameters}
    return BoostedDistiller(
        ipc, block_size=block_size, beta=beta, distiller=distiller, **parameters
    )


# --- the hook of the distillers ---------------------------------------------------------------


def test_the_learning_rate_of_each_sample(images):
    X, y = images
    start = quick(ipc=2, random_state=0).fit(X, y).distilled_
    first = quick(ipc=3, max_iter=1, random_state=1, learning_rate=0.01)

    def moved(factors):
        # One step: Adam then moves every value by the learning rate, up to the sign.
        stay = clone(first).fit(X, y, start=start, learning_rate_factors=[0, 0, 0])
        go = clone(first).fit(X, y, start=start, learning_rate_factors=factors)
        distance = abs(go.transform()[0] - stay.transform()[0]) / go.distilled_.recipe.scale[0]
        return np.median(distance.reshape(3, -1), axis=1)

    np.testing.assert_allclose(moved([0, 0.1, 1]), [0, 0.001, 0.01], rtol=1e-2, atol=0)
    np.testing.assert_allclose(moved([1, 1, 1]), [0.01, 0.01, 0.01], rtol=1e-2)


@pytest.mark.parametrize("init", ["gaussian", "kmeans", "real"])
def test_start_comes_first_and_init_makes_the_rest(images, init):
    X, y = images
    start = quick(ipc=1, random_state=0).fit(X, y).distilled_
    distiller = quick(ipc=3, init=init, random_state=1, max_iter=1)
    distiller.fit(X, y, start=start, learning_rate_factors=[0, 0, 0])
    samples, _ = distiller.transform()
    np.testing.assert_array_equal(samples[:2], start.X)
    if init == "real":
        for sample, label in zip(samples[2:], [0, 1, 0, 1]):
            assert np.isclose(X[y == label], sample, atol=1e-5).all(axis=(1, 2)).any()
    elif init == "gaussian":
        scale, mean = distiller.distilled_.recipe.scale[0], distiller.distilled_.recipe.mean[0]
        norms = np.linalg.norm((samples[2:] - mean) / scale, axis=(1, 2))
        np.testing.assert_allclose(norms, 1, rtol=1e-4)


@pytest.mark.parametrize(
    ("parameters", "metadata", "message"),
    [
        ({}, {"start": "set"}, "start must be a DistilledDataset; got str"),
        ({"ipc": 1}, {"start": 2}, r"start must hold at most ipc=1 samples per class .*got ipc=2"),
        ({"init": 2}, {"start": 2}, "start must not be given with an init that is a set"),
        ({}, {"learning_rate_factors": [1]}, r"must be ipc=2 non-negative numbers; got \[1.0\]"),
        ({}, {"learning_rate_factors": [1, -1]}, "must be ipc=2 non-negative numbers"),
        ({}, {"learning_rate_factors": [1, np.nan]}, "must be ipc=2 non-negative numbers"),
        (
            {},
            {"learning_rate_factors": ["a", 1]},
            r"_factors must be .*; got \['a', 1\]",
        ),
    ],
)
def test_bad_starts_and_factors(images, parameters, metadata, message):
    two = quick(ipc=2, random_state=0).fit(*images).distilled_
    metadata = {k: two if v == 2 else v for k, v in metadata.items()}
    parameters = {"ipc": 2} | {k: two if k == "init" else v for k, v in parameters.items()}
    with pytest.raises(ValueError, match=message):
        quick(**parameters).fit(*images, **metadata)


@pytest.mark.parametrize("name", ["start", "init"])
def test_a_start_whose_rows_are_in_another_order_keeps_its_labels(images, name):
    start = quick(ipc=2, random_state=0).fit(*images).distilled_
    # Of the first class the second and last row, of the second the others.
    other = replace(start, X=start.X[[1, 0, 3, 2]], y=start.y[[1, 0, 3, 2]])
    behind = replace(start, X=start.X[[0, 2, 1, 3]], y=start.y[[0, 2, 1, 3]])
    assert [each.y.tolist() for each in (other, behind)] == [[1, 0, 1, 0], [0, 0, 1, 1]]
    for given in (other, behind):
        init, metadata = ({"init": given}, {}) if name == "init" else ({}, {"start": given})
        later = quick(ipc=2, **init)
        later.fit(*images, **metadata, learning_rate_factors=[0, 0])
        np.testing.assert_array_equal(later.transform()[0], start.X)
        np.testing.assert_array_equal(later.transform()[1], start.y)


def test_a_start_with_other_numbers_of_each_class_is_refused(images, outer_step):
    soft = quick(ipc=2, learn_labels=True, random_state=0).fit(*images).distilled_
    start = replace(soft, y=np.array([[1.0, 0], [1, 0], [1, 0], [0, 1]])).with_hard_labels()
    outer_step.refuse()
    message = r"start must hold 2 samples of every class; by its labels it has \{0: 3, 1: 1\}"
    with pytest.raises(ValueError, match=message):
        quick(ipc=2).fit(*images, start=start)


def test_a_start_of_bases_whose_rows_are_in_another_order(images, outer_step):
    basis = LinearBasis(3)
    soft = quick(ipc=2, learn_labels=True, parametrization=basis, random_state=0)
    start = soft.fit(*images).distilled_
    start = replace(start, y=start.y[:, ::-1]).with_hard_labels()
    assert start.y.tolist() == [1, 0, 1, 0]
    with outer_step(pytest.fail), pytest.raises(ValueError, match="whose bases are in that order"):
        quick(ipc=2, parametrization=basis).fit(*images, start=start)
    pixels = quick(ipc=2).fit(*images, start=start, learning_rate_factors=[0, 0]).transform()[0]
    np.testing.assert_array_equal(pixels, start.X[[1, 0, 3, 2]])


@pytest.mark.parametrize("name", ["start", "init"])
def test_a_start_of_other_columns_is_refused(images, outer_step, name):
    pd = pytest.importorskip("pandas")
    X = pd.DataFrame(images[0].reshape(40, 36)[:, :3], columns=["a", "b", "c"])
    given = quick(random_state=0).fit(X, images[1]).distilled_
    init, metadata = ({"init": given}, {}) if name == "init" else ({}, {"start": given})
    outer_step.refuse()
    for other, message in (
        (X[["b", "a", "c"]], f"column 0 is 'b', and in {name} it was 'a'"),
        (X.rename(columns={"c": "d"}), "it lacks 'c', and it has 'd' besides"),
    ):
        with pytest.raises(ValueError, match=f"the columns of {name}, in their order: .*{message}"):
            quick(**init).fit(other, images[1], **metadata)
    outer_step.undo()
    # An array has no names.
    quick(max_iter=1, **init).fit(X.to_numpy(), images[1], **metadata)


def test_start_of_other_classes_or_shape(images):
    X, y = images
    start = quick().fit(X, y).distilled_
    with pytest.raises(ValueError, match="start must hold the classes of y"):
        quick().fit(X, y + 1, start=start)
    with pytest.raises(ValueError, match=r"start must hold .* of shape \(5, 6\)"):
        quick(architecture="mlp").fit(X[:, 1:], y, start=start)


# --- blocks -----------------------------------------------------------------------------------


def test_strong_boosting_leaves_earlier_blocks_bit_for_bit(images):
    short = boosted(ipc=2, block_size=2).fit(*images)
    long = boosted(ipc=5, block_size=2).fit(*images)
    assert (short.budgets_, long.budgets_) == ([2], [2, 4, 5])
    for budget in (2, 4):
        before = boosted(ipc=budget, block_size=2).fit(*images)
        for a, b in zip(long.transform(ipc=budget), before.transform()):
            np.testing.assert_array_equal(a, b)
    assert len(long.transform()[0]) == 10
    assert long.transform()[1].tolist() == [0, 1] * 5
    fresh = long.transform()[0].reshape(5, -1)
    assert len(np.unique(fresh, axis=0)) == 5


def test_a_block_is_no_larger_than_the_set(images):
    small = boosted(ipc=2, block_size=5).fit(*images)
    assert small.budgets_ == [2]
    one_block = boosted(ipc=2, block_size=2).fit(*images)
    np.testing.assert_array_equal(small.transform()[0], one_block.transform()[0])
    # Its default serves all budgets, in a search as well.
    search = GridSearchCV(BoostedDistiller(distiller=quick()), {"ipc": [1, 4]}, cv=2).fit(*images)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


def test_weak_boosting_moves_earlier_blocks_a_little(images):
    first = boosted(ipc=1).fit(*images).transform()[0]
    weak = boosted(ipc=2, beta=0.1).fit(*images).transform()[0][:2]
    full = boosted(ipc=2, beta=1.0).fit(*images).transform()[0][:2]
    assert 0 < abs(weak - first).mean() < 0.5 * abs(full - first).mean()


def test_fitted_attributes(images):
    X, y = images
    y = np.array(["down", "up"])[y]
    fitted = boosted().fit(X, y)
    assert fitted.n_iter_ == 9
    assert fitted.history_["block"] == [0] * 3 + [1] * 3 + [2] * 3
    assert len(fitted.history_["loss"]) == 9
    assert fitted.classes_.tolist() == ["down", "up"]
    assert fitted.distilled_.ipc == 3
    provenance = fitted.distilled_.provenance
    assert provenance["method"] == "BoostedDistiller"
    assert [block["ipc"] for block in provenance["blocks"]] == [1, 2, 3]
    assert len({block["seed"] for block in provenance["blocks"]}) == 3
    assert provenance["parameters"]["block_size"] == 1
    # What all blocks cost, and not the last.
    assert provenance["n_iter"] == fitted.n_iter_ > provenance["blocks"][-1]["n_iter"]
    assert provenance["n_skipped"] == sum(fitted.history_["skipped"])
    assert provenance["seconds"] == sum(block["seconds"] for block in provenance["blocks"])
    assert "best_iter" not in provenance


def test_saved_and_loaded_sets_keep_their_budgets(images, tmp_path):
    fitted = boosted().fit(*images)
    fitted.distilled_.save(tmp_path / "set.npz")
    loaded = DistilledDataset.load(tmp_path / "set.npz")
    np.testing.assert_array_equal(loaded.subset(2).X, fitted.transform(ipc=2)[0])
    assert [block["ipc"] for block in loaded.provenance["blocks"]] == [1, 2, 3]


def test_all_blocks_hold_out_the_same_samples(images, monkeypatch):
    parts = []

    def spy(fraction, y, n_classes, ipc, seed):
        parts.append(hold_out(fraction, y, n_classes, ipc, seed))
        return parts[-1]

    monkeypatch.setattr("skdistill._run.assemble.hold_out", spy)
    boosted(distiller=quick(validation_fraction=0.25)).fit(*images)
    assert len(parts) == 3
    for part in parts[1:]:
        np.testing.assert_array_equal(part[1], parts[0][1])


def test_scores(images):
    X, y = images
    fitted = boosted(ipc=3, block_size=2).fit(X, y)
    budgets = fitted.evaluate_budgets(X, y)
    assert list(budgets) == [2, 3]
    assert [result.n_samples for result in budgets.values()] == [4, 6]
    assert fitted.score(X, y) == budgets[3].mean
    assert budgets[2].mean != budgets[3].mean
    with pytest.warns(UserWarning, match=r"20 of 40 .* not in fit: \[2\]") as record:
        fitted.evaluate_budgets(X, y * 2)
    assert len(record) == 1
    part = replace(fitted.distilled_, X=fitted.transform(ipc=2)[0], y=np.array([0, 1] * 2), ipc=2)
    assert evaluate(part, X, y).mean == budgets[2].mean


def test_every_budget_is_judged_at_the_rate_that_was_learned_with_it(images):
    X, y = images
    distiller = tools.quick(
        TrajectoryMatchingDistiller, architecture=tools.tiny, n_experts=1, max_start=1,
        epoch_steps=4, syn_steps=2, inner_lr=0.05, inner_lr_lr=0.01, eval_steps=20,
    )  # fmt: skip
    fitted = boosted(ipc=2, distiller=distiller).fit(X, y)
    alone = boosted(ipc=1, distiller=distiller).fit(X, y)
    rates = [each.distilled_.recipe.learning_rate for each in (alone, fitted)]
    assert rates[0] != rates[1]
    budgets = fitted.evaluate_budgets(X, y)
    assert [budgets[ipc].recipe.learning_rate for ipc in (1, 2)] == rates
    blocks = fitted.distilled_.provenance["blocks"]
    assert [block["recipe_learning_rate"] for block in blocks] == rates
    # One that was pickled before rates were kept has the last block's for all.
    for block in blocks:
        del block["recipe_learning_rate"]
    budgets = fitted.evaluate_budgets(X, y)
    assert [budgets[ipc].recipe.learning_rate for ipc in (1, 2)] == [rates[1]] * 2


def test_same_seed_same_bits(images):
    first, again = (boosted().fit(*images).transform()[0] for _ in range(2))
    np.testing.assert_array_equal(first, again)
    other = boosted(random_state=1).fit(*images).transform()[0]
    assert abs(first - other).max() > 1e-3
    inner = boosted(random_state=None, distiller=quick(random_state=0))
    np.testing.assert_array_equal(*(clone(inner).fit(*images).transform()[0] for _ in range(2)))


def test_warm_start_adds_blocks(images):
    growing = boosted(ipc=2, warm_start=True).fit(*images)
    growing.set_params(ipc=4).fit(*images)
    whole = boosted(ipc=4).fit(*images)
    assert growing.budgets_ == whole.budgets_ == [1, 2, 3, 4]
    np.testing.assert_array_equal(growing.transform()[0], whole.transform()[0])
    assert growing.history_["loss"] == whole.history_["loss"]
    before = growing.transform()[0]
    np.testing.assert_array_equal(growing.fit(*images).transform()[0], before)
    with pytest.raises(ValueError, match="ipc=3 must be at least 4, what an earlier fit"):
        growing.set_params(ipc=3).fit(*images)


def test_added_blocks_hold_out_what_the_earlier_ones_did(images, outer_step):
    growing = boosted(ipc=1, warm_start=True, distiller=quick(validation_fraction=0.25))
    growing.fit(*images)
    before = growing.transform()[0]

    def refused(fraction, message):
        growing.set_params(ipc=3, distiller__validation_fraction=fraction)
        with outer_step(pytest.fail), pytest.raises(ValueError, match=f"{message}, as in the earl"):
            growing.fit(*images)

    refused(0.5, "distiller's validation_fraction=0.5 must be 0.25")
    np.testing.assert_array_equal(growing.transform()[0], before)
    # One that holds out nothing was trained on all.
    growing.set_params(ipc=2, distiller__validation_fraction=None).fit(*images)
    refused(0.25, "distiller's validation_fraction=0.25 must be None")
    assert growing.set_params(distiller__validation_fraction=None).fit(*images).budgets_ == [
        1,
        2,
        3,
    ]


def test_a_history_has_none_for_what_a_block_did_not_measure(images):
    growing = boosted(ipc=1, warm_start=True, distiller=quick(validation_fraction=0.25))
    growing.fit(*images)
    judged = growing.history_["validation_accuracy"]
    assert judged[-1] is not None
    growing.set_params(ipc=2, distiller__validation_fraction=None).fit(*images)
    other = quick(DistributionMatchingDistiller)
    growing.set_params(ipc=3, distiller=other).fit(*images)
    assert {len(column) for column in growing.history_.values()} == {9}
    assert growing.history_["validation_accuracy"] == [*judged, *[None] * 6]
    assert growing.history_["start"][6:] == [None] * 3
    assert growing.history_["block"] == [0] * 3 + [1] * 3 + [2] * 3


def test_columns_of_added_blocks(images, outer_step):
    pd = pytest.importorskip("pandas")
    X = pd.DataFrame(images[0].reshape(40, 36)[:, :3], columns=["a", "b", "c"])
    growing = boosted(ipc=1, warm_start=True).fit(X, images[1]).set_params(ipc=2)
    message = (
        "X must have the columns of the earlier fit, in their order: .* column 0 is 'b', and in "
        r"the earlier fit it was 'a'\. Pass X\[list\(boosted.feature_names_in_\)\]\."
    )
    with outer_step(pytest.fail), pytest.raises(ValueError, match=message):
        growing.fit(X[["b", "a", "c"]], images[1])
    assert growing.fit(X, images[1]).budgets_ == [1, 2]


@pytest.mark.parametrize("error", [KeyboardInterrupt, DivergenceError])
def test_an_interrupted_run_keeps_its_blocks_and_goes_on(images, outer_step, error):
    outer_step(total=5, do=error)  # in the second block
    distiller = boosted(warm_start=True)
    with pytest.raises(error):
        distiller.fit(*images)
    assert distiller.budgets_ == [1]
    assert len(distiller.transform()[0]) == 2
    # The block in progress begins again: only its checkpoint, if it had one, has its steps.
    steps = outer_step()
    distiller.fit(*images)
    assert steps.begun[0] == 1
    whole = boosted().fit(*images)
    np.testing.assert_array_equal(distiller.transform()[0], whole.transform()[0])


def test_a_block_in_progress_is_kept(images, outer_step):
    distiller = boosted().fit(*images)
    with outer_step(total=2, do=KeyboardInterrupt), pytest.raises(KeyboardInterrupt):
        distiller.fit(*images)
    # Nothing is left of the earlier fit.
    assert not hasattr(distiller, "distilled_")
    assert distiller.budgets_ == []
    assert distiller.distiller_.n_iter_ == 1
    with outer_step(total=5, do=KeyboardInterrupt), pytest.raises(KeyboardInterrupt):
        distiller.fit(*images)
    assert distiller.distilled_.ipc == 1
    assert distiller.distiller_.distilled_.ipc == 2
    assert distiller.score(*images) > 0


def test_a_fit_that_does_not_begin_leaves_an_earlier_one_as_it_was(images, outer_step):
    distiller = boosted().fit(*images)
    before = distiller.transform()[0]
    with outer_step(do=ZeroDivisionError), pytest.raises(ZeroDivisionError):
        distiller.fit(*images)
    # What is only found when the first block is assembled.
    distiller.set_params(block_size=3, distiller__init="real")
    with pytest.raises(ValueError, match="ipc=3 must be at most 2 with init='real'"):
        distiller.fit(images[0], np.arange(40) < 2)
    np.testing.assert_array_equal(distiller.transform()[0], before)
    assert distiller.budgets_ == [1, 2, 3]


def test_no_names_of_an_earlier_fit_stay(images):
    pd = pytest.importorskip("pandas")
    X, y = images[0].reshape(40, 36)[:, :3], images[1]
    growing = boosted(ipc=1, warm_start=True).fit(pd.DataFrame(X, columns=["a", "b", "c"]), y)
    assert growing.feature_names_in_.tolist() == ["a", "b", "c"]
    assert not hasattr(growing.set_params(ipc=2).fit(X, y), "feature_names_in_")


def test_sample_weight_reaches_the_blocks(images):
    X, y = images
    weight = (np.arange(len(y)) % 3 > 0).astype(float)
    kept = weight > 0
    weighted = boosted().fit(X, y, sample_weight=weight).transform()[0]
    np.testing.assert_allclose(weighted, boosted().fit(X[kept], y[kept]).transform()[0], rtol=1e-3)


def test_pipelines_frames_and_callbacks(capsys):
    pd = pytest.importorskip("pandas")
    pytest.importorskip("rich")
    rng = np.random.default_rng(0)
    X, y = pd.DataFrame(rng.normal(size=(30, 2)), columns=["a", "b"]), np.arange(30) % 2
    pipe = make_pipeline(StandardScaler().set_output(transform="pandas"), boosted())
    X_syn, _ = pipe.set_callbacks(ProgressBar()).fit(X, y).transform(X)
    assert X_syn.columns.tolist() == ["a", "b"]
    assert "BoostedDistiller" in capsys.readouterr().out
    monitor = ScoringMonitor(scoring={"score": lambda distiller, *data: distiller.score(*data)})
    boosted(distiller=quick().set_callbacks(monitor)).fit(X, y)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"beta": -0.1}, r"'beta' .* float in the range \[0.0, 1.0\]. Got -0.1"),
        ({"beta": 1.5}, r"'beta' .* float in the range \[0.0, 1.0\]. Got 1.5"),
        ({"block_size": 0}, "'block_size'"),
        ({"distiller": StandardScaler()}, "'distiller' .*BaseDistiller' or None. Got Stand"),
        ({"distiller": quick(schedule="moving")}, "'schedule' parameter .* Got 'moving'"),
        ({"distiller": quick(window=9)}, "window=9 must be at most unroll=4"),
        ({"ipc": 1000}, "ipc=1000 must be at most"),
        ({"distiller": quick(checkpoint="run")}, "distiller's checkpoint must be None"),
    ],
)
@pytest.mark.parametrize("method", ["fit", "estimate"])
def test_bad_parameters(images, outer_step, method, parameters, message):
    outer_step.refuse()
    with pytest.raises(ValueError, match=message):
        getattr(boosted(**parameters), method)(*images)


def test_a_set_to_start_from_needs_a_single_block(images, outer_step):
    init = quick().fit(*images).distilled_
    single = boosted(ipc=1, distiller=quick(init=init), warm_start=True).fit(*images)
    outer_step.refuse()
    for several in (single.set_params(ipc=2), clone(single).set_params(ipc=3)):
        with pytest.raises(ValueError, match="distiller's init must not be a set unless"):
            several.fit(*images)


def test_an_estimate_counts_the_blocks_that_are_left(images):
    growing = boosted(ipc=2, warm_start=True)
    assert growing.estimate(*images, n_steps=1).n_steps == 6
    growing.fit(*images)
    assert growing.estimate(*images, n_steps=1).n_steps == 0
    assert growing.set_params(ipc=3).estimate(*images, n_steps=1).n_steps == 3
    assert growing.set_params(warm_start=False).estimate(*images, n_steps=1).n_steps == 9


def test_budgets_that_were_not_built(images):
    fitted = boosted(ipc=4, block_size=2).fit(*images)
    with pytest.raises(ValueError, match=r"ipc=3 must be one of \[2, 4\].*subset takes any size"):
        fitted.transform(ipc=3)
    for ipc in (2.0, "2", True):
        with pytest.raises(ValueError, match=r"must be one of \[2, 4\]"):
            fitted.transform(ipc=ipc)


def test_the_budget_is_no_metadata():
    assert not hasattr(BoostedDistiller, "set_transform_request")


def test_unknown_metadata(images):
    with pytest.raises(TypeError, match="unexpected keyword argument 'start'"):
        boosted().fit(*images, start=None)


# --- checkpoints ------------------------------------------------------------------------------


def checkpointed(folder, ipc=3, every=1, **parameters):
    return boosted(
        ipc,
        distiller=quick(checkpoint_every=every),
        checkpoint=folder,
        **parameters,
    )


@pytest.mark.parametrize("random_state", [0, None])
def test_another_process_goes_on_in_the_block_that_was_interrupted(
    images, tmp_path, monkeypatch, outer_step, random_state
):
    parameters = {"beta": 0.1, "random_state": random_state}
    first = checkpointed(tmp_path / "run", **parameters)
    # In the second block, of three steps.
    with outer_step(total=6, do=KeyboardInterrupt), pytest.raises(KeyboardInterrupt):
        first.fit(*images)
    assert first.budgets_ == [1]
    done = outer_step().begun
    second = checkpointed(tmp_path / "run", **parameters).fit(*images)
    assert len(done) == 4
    monkeypatch.setattr("skdistill.distillers.boosted.draw_seed", lambda state: first._seed)
    whole = boosted(beta=0.1).fit(*images)
    np.testing.assert_array_equal(second.transform()[0], whole.transform()[0])
    assert second.history_["loss"] == whole.history_["loss"]
    assert second.history_["block"] == [0] * 3 + [1] * 3 + [2] * 3
    # All that is done stays done, and a larger ipc adds to it.
    done.clear()
    again = checkpointed(tmp_path / "run", **parameters).fit(*images)
    assert done == []
    np.testing.assert_array_equal(again.transform()[0], whole.transform()[0])
    more = checkpointed(tmp_path / "run", ipc=4, **parameters).fit(*images)
    assert len(done) == 3
    assert more.budgets_ == [1, 2, 3, 4]


def test_a_smaller_last_block_allows_a_larger_ipc(images, tmp_path, outer_step):
    checkpointed(tmp_path, ipc=3, block_size=2).fit(*images)
    done = outer_step().begun
    more = checkpointed(tmp_path, ipc=4, block_size=2).fit(*images)
    assert len(done) == 3
    outer_step.undo()
    whole = boosted(ipc=4, block_size=2).fit(*images)
    np.testing.assert_array_equal(more.transform()[0], whole.transform()[0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"block_size": 2}, "block_size must be 1; got 2; as in the blocks that checkpoint="),
        ({"beta": 0.5}, "beta must be 0.0; got 0.5; as in the blocks"),
        ({"random_state": 1}, "the seed that random_state gives must be 209652396; got 1791"),
        (
            {"distiller": quick(window=1)},
            "window must be 2; got 1; as in the",
        ),
    ],
)
def test_blocks_of_another_run_are_refused(images, tmp_path, outer_step, change, message):
    checkpointed(tmp_path).fit(*images)
    outer_step.refuse()
    distiller = checkpointed(tmp_path).set_params(**change)
    with pytest.raises(ValueError, match=message):
        distiller.fit(*images)
    with pytest.raises(ValueError, match="X, y and sample_weight must be"):
        checkpointed(tmp_path).fit(images[0] + 1, images[1])


def test_bad_checkpoints(images, tmp_path, outer_step):
    outer_step.refuse()
    (tmp_path / "file").touch()

    def refused(message, error=ValueError, **parameters):
        with pytest.raises(error, match=message):
            boosted(**{"distiller": quick(), **parameters}).fit(*images)

    refused("distiller's checkpoint must be None", distiller=quick(checkpoint="run"))
    refused("file' must be a folder that can be written", checkpoint=tmp_path / "file")
    refused(
        "a/b' must be a folder .* place for one: .*/a'; make it first", checkpoint=tmp_path / "a/b"
    )
    refused("'checkpoint' parameter .* Got 3", checkpoint=3)
    (tmp_path / "boosted.npz").write_bytes(b"PK")
    refused("boosted.npz cannot be loaded: it is", InvalidFileError, checkpoint=tmp_path)


def test_finished_blocks_are_taken_from_where_nothing_can_be_written(
    images, tmp_path, make_read_only
):
    folder = tmp_path / "run"
    first = checkpointed(folder).fit(*images)
    make_read_only(tmp_path)
    again = checkpointed(folder).fit(*images)
    np.testing.assert_array_equal(again.transform()[0], first.transform()[0])
    with pytest.raises(
        ValueError, match=r"ipc-4\.npz' must be a file that can be written: Read-on"
    ):
        checkpointed(folder, ipc=4).fit(*images)


def test_the_folder_may_be_in_the_home_folder(images, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    checkpointed("~/run", ipc=1, every=1e6).fit(*images)
    names = sorted(path.name for path in (tmp_path / "run").iterdir())
    assert names == ["boosted.npz", "ipc-1.npz"]


def test_two_fits_that_begin_in_one_folder_share_a_seed(images, tmp_path, monkeypatch):
    first = checkpointed(tmp_path, ipc=1).fit(*images)
    real, read = BlockFolder._read, iter([None])
    # The second has looked into the folder before the first wrote to it.
    monkeypatch.setattr(BlockFolder, "_read", lambda folder: next(read, real(folder)))
    second = checkpointed(tmp_path, ipc=1, random_state=None).fit(*images)
    assert second._seed == first._seed


@pytest.mark.parametrize(
    ("common", "message"),
    [
        *(({name: value}, "a seed") for name, value in (("seed", "x"), ("seed", -1))),
        *(({name: value}, "a seed") for name, value in (("block_size", 1.5), ("beta", None))),
        *(
            ({"ends": ends}, "numbers of outer steps")
            for ends in (3, {"1": 3}, {"1": [0, 1]}, {"x": [1, 1]}, {"1": [1.0, 1]})
        ),
    ],
)
def test_a_forged_folder_is_refused(images, tmp_path, common, message):
    common = {"seed": 0, "block_size": 1, "beta": 0.0, **common}
    _npz.write(tmp_path / "boosted.npz", "skdistill.BoostedRun", 1, {}, common)
    with pytest.raises(
        InvalidFileError,
        match=rf"boosted\.npz cannot be loaded: it must hold {message}.* remove this file, and",
    ):
        checkpointed(tmp_path, random_state=None).fit(*images)


def test_a_block_that_another_began_from_is_never_changed(images, tmp_path, outer_step):
    first = checkpointed(tmp_path).fit(*images)
    blocks = [tmp_path / f"ipc-{k}.npz" for k in (1, 2, 3)]
    before = [block.read_bytes() for block in blocks]
    done = outer_step().begun
    longer = checkpointed(tmp_path)
    with pytest.warns(CheckpointWarning, match=r"up to 2 samples per class keep .*max_iter=5 is"):
        longer.set_params(distiller__max_iter=5).fit(*images)
    # The last block goes on.
    assert done == [4, 5]
    assert [block.read_bytes() == old for block, old in zip(blocks, before)] == [True, True, False]
    X, X_longer = first.transform()[0], longer.transform()[0]
    np.testing.assert_array_equal(X[:4], X_longer[:4])
    assert not np.array_equal(X[4:], X_longer[4:])


def ends(folder):
    with open(folder / "boosted.npz", "rb") as file:
        return _npz.read(file, "skdistill.BoostedRun", 1, (), "blocks.")[1]["ends"]


def test_of_blocks_that_are_gone_nothing_is_known(images, tmp_path):
    checkpointed(tmp_path).fit(*images)
    for path in tmp_path.glob("ipc-*"):
        path.unlink()
    longer = checkpointed(tmp_path).set_params(distiller__max_iter=5).fit(*images)
    assert longer.n_iter_ == 15
    assert ends(tmp_path) == {"1": [5, 5], "2": [5, 5]}


def test_blocks_of_a_folder_of_before_are_not_changed(images, tmp_path):
    first = checkpointed(tmp_path).fit(*images)
    path = tmp_path / "boosted.npz"
    with open(path, "rb") as file:
        meta = _npz.read(file, "skdistill.BoostedRun", 1, (), "blocks.")[1]
    assert meta.pop("ends") == {"1": [3, 3], "2": [3, 3]}
    _npz.write(path, "skdistill.BoostedRun", 1, {}, meta)
    longer = checkpointed(tmp_path).set_params(distiller__max_iter=5)
    with pytest.warns(CheckpointWarning, match="keep their outer steps"):
        longer.fit(*images)
    assert longer.n_iter_ == 3 + 3 + 5
    np.testing.assert_array_equal(first.transform()[0][:4], longer.transform()[0][:4])


def test_blocks_whose_shared_file_was_lost_are_not_changed(images, tmp_path):
    first = checkpointed(tmp_path).fit(*images)
    (tmp_path / "boosted.npz").unlink()
    longer = checkpointed(tmp_path).set_params(distiller__max_iter=5)
    with pytest.warns(CheckpointWarning, match="keep their outer steps"):
        longer.fit(*images)
    assert longer.n_iter_ == 3 + 3 + 5
    np.testing.assert_array_equal(first.transform()[0][:4], longer.transform()[0][:4])


@pytest.mark.parametrize("at", [5, 6])
def test_an_interrupted_block_is_not_taken_for_the_one_before(images, tmp_path, outer_step, at):
    growing = checkpointed(tmp_path, warm_start=True)
    # In the second block, of three steps.
    with outer_step(total=at, do=KeyboardInterrupt), pytest.raises(KeyboardInterrupt):
        growing.fit(*images)
    growing.fit(*images)
    assert ends(tmp_path) == {"1": [3, 3], "2": [3, 3]}


def test_a_lost_block_is_made_as_it_was(images, tmp_path):
    validated = {"validation_fraction": 0.3, "validation_interval": 2}
    first = checkpointed(tmp_path).set_params(distiller=quick(checkpoint_every=1, **validated))
    first.fit(*images)
    for path in tmp_path.glob("ipc-1*"):
        path.unlink()
    longer = clone(first).set_params(distiller__max_iter=5)
    with pytest.warns(CheckpointWarning, match="keep their outer steps"):
        longer.fit(*images)
    np.testing.assert_array_equal(first.transform()[0][:4], longer.transform()[0][:4])


def test_blocks_that_a_callback_ended_stay_so(images, tmp_path, outer_step):
    class Short(tools.Callback):
        def on_fit_task_end(self, estimator, context):
            return context.task_name == "outer step" and context.task_id == 1

    def make():
        distiller = quick(checkpoint_every=1).set_callbacks(Short())
        return boosted(distiller=distiller, checkpoint=tmp_path)

    whole = make().fit(*images)
    assert whole.n_iter_ == 6
    block = (tmp_path / "ipc-1.npz").read_bytes()
    done = outer_step().begun
    again = make().fit(*images)
    # Only the last one may go on, as a run without blocks does.
    assert len(done) == 1
    np.testing.assert_array_equal(again.transform()[0][:4], whole.transform()[0][:4])
    assert (tmp_path / "ipc-1.npz").read_bytes() == block


def test_the_folder_stays_where_it_was(images, tmp_path, monkeypatch, outer_step):
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path)
    outer_step(do=lambda state: os.chdir(tmp_path / "other"))
    checkpointed("run").fit(*images)
    assert list((tmp_path / "other").iterdir()) == []
    assert (tmp_path / "run/ipc-3.npz").exists()


def test_without_its_shared_file_blocks_need_their_seed(images, tmp_path):
    checkpointed(tmp_path, random_state=None).fit(*images)
    (tmp_path / "boosted.npz").unlink()
    with pytest.raises(ValueError, match=r"holds ipc-1.npz, but no boosted.npz any more"):
        checkpointed(tmp_path, random_state=None).fit(*images)
    assert not (tmp_path / "boosted.npz").exists()


def test_warm_start_writes_checkpoints_too(images, tmp_path, outer_step):
    growing = checkpointed(tmp_path, ipc=1, warm_start=True).fit(*images)
    growing.set_params(ipc=2).fit(*images)
    done = outer_step().begun
    again = checkpointed(tmp_path, ipc=2).fit(*images)
    assert done == []
    np.testing.assert_array_equal(again.transform()[0], growing.transform()[0])
