"""Exponential moving averages of what is learned: the result of a run with `ema_decay`."""

import json
import pickle
from functools import partial

import numpy as np
import pytest
import tools
from sklearn.base import clone
from tools import Callback, slide

from skdistill import BoostedDistiller
from skdistill._files import npz
from skdistill.exceptions import InvalidFileError
from skdistill.parametrization import LinearBasis

quick = partial(tools.quick, max_iter=4, ipc=2)
LEARNED = {
    "samples": {},
    "labels": {"learn_labels": True},
    "bases": {"parametrization": LinearBasis(2), "learn_labels": True},
}
DECAY = 0.7


def weights(n, decay=DECAY):
    """Return the weight of each of the values that are averaged."""
    each = (1 - decay) * decay ** np.arange(n)[::-1]
    return each / (1 - decay**n)


def learned(distiller):
    """Return what was learned, by name, in the units of X."""
    data = distiller.distilled_
    arrays = {"X": data.X, "y": data.y}
    if data.bases:
        arrays = {"y": data.y, "C": data.bases[0].coefficients, "B": data.bases[0].basis}
    return arrays | distiller.extra_


@pytest.mark.parametrize("kind", LEARNED)
def test_the_result_is_the_corrected_average_of_the_values_of_all_steps(table, kind):
    steps = [learned(quick(max_iter=n, **LEARNED[kind]).fit(*table)) for n in range(1, 5)]
    distiller = quick(ema_decay=DECAY, **LEARNED[kind]).fit(*table)
    for name, average in learned(distiller).items():
        if average.dtype.kind == "f":
            values = np.stack([step[name] for step in steps])
            expected = np.average(values, axis=0, weights=weights(4))
            np.testing.assert_allclose(average, expected, rtol=1e-5, atol=1e-6)
            assert (abs(average - values[-1]) > 1e-3).any()
    # The run itself is the same.
    plain = quick(**LEARNED[kind]).fit(*table)
    assert distiller.history_["loss"] == plain.history_["loss"]


def test_further_tensors_are_averaged(table):
    distiller = slide(ema_decay=DECAY).fit(*table)
    expected = np.average(0.5 * np.arange(1, 9), weights=weights(8))
    np.testing.assert_allclose(distiller.extra_["height"], [expected], rtol=1e-6)


def test_skipped_steps_do_not_count(table, outer_step):
    outer_step.spoil(lambda step: step in (0, 3))
    with pytest.warns(UserWarning, match="was not finite"):
        distiller = slide(ema_decay=DECAY).fit(*table)
    expected = np.average(0.5 * np.arange(1, 7), weights=weights(6))
    np.testing.assert_allclose(distiller.extra_["height"], [expected], rtol=1e-6)


def test_a_run_that_only_skips_has_its_start_as_average(table, outer_step):
    outer_step.spoil(lambda step: True)
    with pytest.warns(UserWarning, match="was not finite"):
        averaged, plain = (slide(max_iter=2, ema_decay=d).fit(*table) for d in (DECAY, None))
    np.testing.assert_array_equal(averaged.transform()[0], plain.transform()[0])


@pytest.mark.parametrize("how", ["checkpoint", "warm start", "pickle"])
@pytest.mark.parametrize("kind", ["samples", "bases"])
def test_a_resumed_run_has_the_bits_of_an_uninterrupted_one(table, tmp_path, outer_step, kind, how):
    make = partial(quick, ema_decay=DECAY, learning_rate_schedule="cosine", **LEARNED[kind])
    whole = make().fit(*table)
    where = {"checkpoint": tmp_path / "run"} if how == "checkpoint" else {"warm_start": True}
    parts = make(**where)
    with outer_step(at=3, do=KeyboardInterrupt), pytest.raises(KeyboardInterrupt):
        parts.fit(*table)
    outer_step.undo()
    assert parts.n_iter_ == 2
    if how == "pickle":
        parts = pickle.loads(pickle.dumps(parts))
    parts = clone(parts) if how == "checkpoint" else parts
    parts.fit(*table)
    for name, array in learned(whole).items():
        np.testing.assert_array_equal(learned(parts)[name], array)
    assert parts.history_["loss"] == whole.history_["loss"]


def test_what_is_validated_and_best_is_the_average(table, monkeypatch):
    seen, scores = [], iter([0.2, 0.9, 0.3, 0.1])

    def accuracy(held_out, X, y, changes):
        seen.append(X.clone())
        return next(scores)

    monkeypatch.setattr("skdistill._run.held_out.HeldOut.accuracy", accuracy)
    validated = partial(quick, validation_fraction=0.2, validation_interval=1, ema_decay=DECAY)
    best = validated().fit(*table)
    scores = iter([0.2, 0.3])
    two = validated(max_iter=2).fit(*table)
    np.testing.assert_array_equal(best.transform()[0], two.transform()[0])
    # In engine units, up to the standardization of the samples.
    mean, scale = (
        np.asarray(v, np.float32) for v in (two.distilled_.recipe.mean, two.distilled_.recipe.scale)
    )
    np.testing.assert_allclose(seen[1].numpy() * scale + mean, two.transform()[0], rtol=1e-4)


class Watch(Callback):
    """Keeps the samples that it is shown after each step."""

    def __init__(self):
        self.samples = []

    def on_fit_task_end(self, estimator, context, *, fitted_estimator=None):
        """Keep the samples of an outer step."""
        if context.task_name == "outer step":
            self.samples.append(fitted_estimator.transform()[0])


def test_callbacks_see_the_average(table):
    watch = Watch()
    quick(max_iter=3, ema_decay=DECAY).set_callbacks(watch).fit(*table)
    expected = quick(max_iter=2, ema_decay=DECAY).fit(*table).transform()[0]
    np.testing.assert_array_equal(watch.samples[1], expected)


@pytest.mark.parametrize("kind", LEARNED)
def test_strong_boosting_leaves_averaged_blocks_bit_for_bit(table, kind):
    distiller = quick(ema_decay=DECAY, max_iter=2, **LEARNED[kind])
    make = partial(BoostedDistiller, block_size=1, distiller=distiller, random_state=0)
    one, two = (make(ipc=ipc).fit(*table) for ipc in (1, 2))
    for first, both in zip(one.transform(), two.transform(ipc=1)):
        np.testing.assert_array_equal(first, both)


def test_a_file_holds_values_and_averages_and_without_averages_none(table, tmp_path):
    def content(**parameters):
        quick(checkpoint=tmp_path / "run", **parameters).fit(*table)
        with np.load(tmp_path / "run") as archive:
            arrays = {name: archive[name] for name in archive.files}
        (tmp_path / "run").unlink()
        return arrays, json.loads(arrays["meta"].tobytes())["run"]["state"]

    arrays, state = content(ema_decay=DECAY)
    assert arrays["run.state.averages.X"].shape == arrays["run.state.adam.X"][0].shape
    assert (arrays["run.state.averages.X"] != arrays["run.state.adam.X"][0]).any()
    # Versions before this one read it.
    arrays, state = content()
    assert "averages" not in state
    assert not [name for name in arrays if "averages" in name]


FORGED = {
    "missing": (lambda state, arrays: state.pop("averages"), "averages must be arrays with ema_d"),
    "not a number": (
        lambda state, arrays: arrays["run.state.averages.X"].fill(np.nan),
        "average X must be finite",
    ),
    "another shape": (
        lambda state, arrays: arrays.update({"run.state.averages.X": np.zeros(3, np.float32)}),
        r"average X must be float32 of shape \(4, 3\)",
    ),
    "text": (lambda state, arrays: state.update(averages="x"), "averages must be a mapping to arr"),
}


@pytest.mark.parametrize(("change", "message"), FORGED.values(), ids=FORGED)
def test_forged_averages_are_refused_before_any_work(table, tmp_path, outer_step, change, message):
    path = tmp_path / "run"
    distiller = quick(checkpoint=path, ema_decay=DECAY).fit(*table)
    with open(path, "rb") as file:
        arrays, meta = npz.read(file, "skdistill.Run", 1, (), "run.")
    change(meta["run"]["state"], arrays)
    npz.write(path, "skdistill.Run", 1, arrays, meta)
    outer_step.refuse()
    with pytest.raises(InvalidFileError, match=message):
        distiller.set_params(max_iter=6).fit(*table)


@pytest.mark.parametrize(("before", "after"), [(None, DECAY), (DECAY, None)])
def test_averages_neither_begin_nor_end_in_a_run(table, tmp_path, outer_step, before, after):
    warm = quick(warm_start=True, ema_decay=before).fit(*table)
    kept = quick(checkpoint=tmp_path / "run", ema_decay=before).fit(*table)
    outer_step.refuse()
    with pytest.raises(ValueError, match=r"Parameters must be those of the earlier fit.* averages"):
        warm.set_params(max_iter=6, ema_decay=after).fit(*table)
    with pytest.raises(ValueError, match=f"ema_decay must be {before}; got {after}; as in the run"):
        kept.set_params(max_iter=6, ema_decay=after).fit(*table)


@pytest.mark.parametrize("decay", [0, 1, 1.5, "0.9"])
def test_bad_decays_are_refused_before_any_work(table, outer_step, decay):
    outer_step.refuse()
    with pytest.raises(ValueError, match="'ema_decay' parameter"):
        quick(ema_decay=decay).fit(*table)
