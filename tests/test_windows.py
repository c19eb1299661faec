"""Window schedules: where they put the window, and what they remember."""

import json

import numpy as np
import pytest
from sklearn.base import clone

from skdistill.windows import (
    SCHEDULES,
    EarlyWindow,
    MovingWindow,
    Observation,
    RandomLengthWindow,
    UniformWindow,
    resolve_schedule,
)

M, T = 20, 60


def draws(schedule, n=2000):
    state = schedule.init_state(M, T)
    return np.array([schedule.draw(np.random.default_rng(i), M, T, state) for i in range(n)])


@pytest.mark.parametrize("alias", SCHEDULES)
def test_every_schedule_stays_within_the_unrolling(alias):
    starts, windows = draws(resolve_schedule(alias)).T
    assert starts.min() >= 0
    assert windows.min() >= 1
    assert (starts + windows).max() <= T


@pytest.mark.parametrize(
    ("alias", "expected"),
    [("bptt", (0, T)), ("t-bptt", (T - M, M)), ("forward", (0, M)), ("backward", (T - M, M))],
)
def test_fixed_positions(alias, expected):
    assert {tuple(d) for d in draws(resolve_schedule(alias), 50)} == {expected}


def test_uniform_window_ends_anywhere_from_window_to_unroll():
    starts, windows = draws(UniformWindow(), 20_000).T
    assert set(windows) == {M}
    counts = np.bincount(starts, minlength=T - M + 1)
    assert len(counts) == T - M + 1
    # 41 cells of about 488 draws: five standard deviations.
    assert np.abs(counts - 20_000 / 41).max() < 5 * np.sqrt(20_000 / 41)


def test_random_length_keeps_every_step():
    starts, windows = draws(RandomLengthWindow()).T
    assert set(starts) == {0}
    assert (windows.min(), windows.max()) == (M, T)


def test_early_window_favors_the_first_steps():
    assert np.median(draws(EarlyWindow(bias=2.0))[:, 0]) == pytest.approx((T - M) / 4, abs=2)
    assert np.median(draws(EarlyWindow(bias=1.0))[:, 0]) == pytest.approx((T - M) / 2, abs=2)


@pytest.mark.parametrize(
    ("direction", "path"), [("forward", [0, 20, 40, 40]), ("backward", [40, 20, 0, 0])]
)
def test_moving_window_moves_by_its_size_when_the_loss_stagnates(direction, path):
    schedule = MovingWindow(direction, patience=3)
    state = schedule.init_state(M, T)
    seen = [state["start"]]
    for _ in path[1:]:
        for _ in range(3):
            assert state["start"] == seen[-1]
            state = schedule.observe(Observation(1.0), M, T, state)
        state = schedule.observe(Observation(1.0), M, T, state)
        seen.append(state["start"])
    assert seen == path


def test_moving_window_stays_while_the_loss_falls():
    schedule = MovingWindow(patience=3)
    state = schedule.init_state(M, T)
    for step in range(100):
        state = schedule.observe(Observation(0.9**step), M, T, state)
    assert state["start"] == 0
    assert json.loads(json.dumps(state)) == state


def test_schedules_are_scikit_learn_parameters():
    schedule = MovingWindow(patience=7)
    assert clone(schedule).set_params(direction="backward").get_params()["patience"] == 7


@pytest.mark.parametrize(
    ("schedule", "message"),
    [
        (MovingWindow("sideways"), "'direction' parameter of MovingWindow must be"),
        (MovingWindow(patience=0), "'patience' parameter of MovingWindow must be"),
        (EarlyWindow(bias=0.5), "'bias' parameter of EarlyWindow must be"),
    ],
)
def test_bad_parameters(schedule, message):
    with pytest.raises(ValueError, match=message):
        resolve_schedule(schedule)
