"""Schedules of the learning rate: their factors, what a run makes of them, and how it resumes."""

from math import cos, pi

import numpy as np
import pytest
from tools import quick, slide

from skdistill.learning_rates import ConstantRate, CosineDecay, LearningRateSchedule, LinearDecay


class Negative(LearningRateSchedule):
    """A schedule that errs in its third step."""

    def factor(self, step, max_iter):
        return 1 - step / 2 if step < 2 else -1.0


SCHEDULES = {
    "constant": ("constant", lambda s: 1.0),
    "linear": ("linear", lambda s: 1 - s / 8),
    "cosine": ("cosine", lambda s: (1 + cos(pi * s / 8)) / 2),
    "cosine to a tenth": (CosineDecay(0.1), lambda s: 0.1 + 0.9 * (1 + cos(pi * s / 8)) / 2),
    "linear after a rise": (
        LinearDecay(0.2, warmup=0.25),
        lambda s: (s + 1) / 2 if s < 2 else 1 - 0.8 * (s - 2) / 6,
    ),
    "constant after a rise": (ConstantRate(0.5), lambda s: min(1, (s + 1) / 4)),
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_each_step_has_the_rate_of_the_schedule(table, name):
    schedule, expected = SCHEDULES[name]
    history = slide(learning_rate_schedule=schedule).fit(*table).history_
    factors = np.array([expected(step) for step in range(7)])
    np.testing.assert_allclose(np.diff(history["where"]), -0.1 * factors, rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(np.diff(history["label"]), 0.05 * factors, rtol=1e-3, atol=1e-6)


def test_samples_have_the_schedule_on_top_of_their_own_rates(table):
    held = slide(learning_rate_schedule="linear").fit(*table, learning_rate_factors=[0.5])
    np.testing.assert_allclose(
        np.diff(held.history_["where"]), -0.05 * (1 - np.arange(7) / 8), rtol=1e-3
    )


def run_of(kind, table, **parameters):
    """Return a fitted distiller of the real kind, whose rates fall."""
    return quick(max_iter=4, learning_rate_schedule=kind, **parameters).fit(*table)


@pytest.mark.parametrize("kind", ["cosine", LinearDecay(warmup=0.5)])
@pytest.mark.parametrize("how", ["checkpoint", "warm start"])
def test_a_resumed_run_has_the_rates_of_an_uninterrupted_one(
    table, tmp_path, outer_step, kind, how
):
    whole = run_of(kind, table)
    where = {"checkpoint": tmp_path / "run"} if how == "checkpoint" else {"warm_start": True}
    parts = quick(max_iter=4, learning_rate_schedule=kind, **where)
    with outer_step(at=3, do=KeyboardInterrupt), pytest.raises(KeyboardInterrupt):
        parts.fit(*table)
    outer_step.undo()
    assert parts.n_iter_ == 2
    parts.fit(*table)
    np.testing.assert_array_equal(parts.transform()[0], whole.transform()[0])
    assert parts.history_["loss"] == whole.history_["loss"]
    constant = quick(max_iter=4).fit(*table)
    assert (parts.transform()[0] != constant.transform()[0]).any()


@pytest.mark.parametrize("max_iter", [3, 5])
def test_a_run_whose_rates_depend_on_max_iter_keeps_it(table, tmp_path, outer_step, max_iter):
    path = tmp_path / "run"
    made = run_of("cosine", table, checkpoint=path)
    warm = run_of("cosine", table, warm_start=True).set_params(max_iter=max_iter)
    before = path.read_bytes()
    outer_step.refuse()
    with pytest.raises(
        ValueError,
        match=rf"learning_rate_schedule must be {{'schedule': 'cosine', 'max_iter': 4}}; got "
        rf"{{'schedule': 'cosine', 'max_iter': {max_iter}}}; as in the run that checkpoint=",
    ):
        made.set_params(max_iter=max_iter).fit(*table)
    message = rf"max_iter={max_iter} must be (4|at least 4), .* the earlier fit"
    with pytest.raises(ValueError, match=message):
        warm.fit(*table)
    assert path.read_bytes() == before


def test_a_warm_start_may_go_on_at_the_full_rate(table):
    warm = run_of("cosine", table, warm_start=True)
    warm.set_params(max_iter=6, learning_rate_schedule="constant").fit(*table)
    assert warm.n_iter_ == 6


def test_a_schedule_that_gives_impossible_factors_is_stopped_there(table):
    distiller = quick(learning_rate_schedule=Negative())
    with pytest.raises(ValueError, match=r"Negative\(\) must give a factor of at least 0 .* -1.0"):
        distiller.fit(*table)
    assert distiller.n_iter_ == 2


@pytest.mark.parametrize(
    ("schedule", "message"),
    [
        ("exponential", "'learning_rate_schedule' parameter .* Got 'exponential'"),
        (CosineDecay(final=1.5), "'final' parameter of CosineDecay"),
        (LinearDecay(warmup=1.0), "'warmup' parameter of LinearDecay"),
        (ConstantRate(warmup=-0.1), "'warmup' parameter of ConstantRate"),
    ],
)
def test_bad_schedules_are_refused_before_any_work(table, outer_step, schedule, message):
    outer_step.refuse()
    with pytest.raises(ValueError, match=message):
        quick(learning_rate_schedule=schedule).fit(*table)
