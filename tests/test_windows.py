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
    StageAwareWindow,
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


# Norms that fall, with a jump at step 5.
NORMS = np.r_[np.full(5, 3.0), 12.0, np.linspace(2, 1, T - 6)]


def staged(norms=NORMS, stage=0, **parameters):
    schedule = StageAwareWindow(**{"radius": 5} | parameters)
    state = {**schedule.init_state(M, T), "stage": stage}
    return schedule, schedule.prepare(0, lambda: norms, M, T, state)


def drawn(schedule, state, n=1000):
    return np.array([schedule.draw(np.random.default_rng(i), M, T, state) for i in range(n)]).T


def test_early_windows_start_where_gradients_are_large():
    starts, windows = drawn(*staged(np.log(np.arange(1, T + 1))))
    # softmax(log(k)) is k / sum(k), and late starts are moved to the last possible one.
    weights = np.arange(1, T + 1) / np.arange(1, T + 1).sum()
    first = np.mean(starts < 20)
    assert first == pytest.approx(weights[:20].sum(), abs=5 * np.sqrt(0.1 / 1000))
    assert (starts + windows).max() == T


def test_early_windows_are_longer_where_gradients_change():
    schedule, state = staged(NORMS)
    starts, windows = drawn(schedule, state)
    # Step 5 is drawn nearly always. Only the fall after it is larger than its change.
    assert np.mean(starts == 5) > 0.98
    changes = np.abs(np.diff(NORMS, prepend=NORMS[0]))
    rank = sorted(changes).index(changes[5])
    assert set(windows[starts == 5]) == {int(M - 5 + 2 * 5 * rank / T)}
    flat, _ = staged(np.ones(T))
    _, lengths = drawn(*staged(np.ones(T)))
    assert set(lengths) == {M - 5}
    assert flat.longest(M, T) == M + 5


def test_middle_windows_are_anywhere_and_long():
    def never():
        raise AssertionError("they are not asked for")

    schedule, state = staged(stage=1)
    assert schedule.prepare(0, never, M, T, state)["norms"] is None
    starts, windows = drawn(schedule, state)
    assert set(windows) == {M + 5}
    counts = np.bincount(starts)
    assert len(counts) == T - M - 5 + 1
    assert np.abs(counts - 1000 / len(counts)).max() < 5 * np.sqrt(1000 / len(counts))


def test_late_windows_start_where_gradients_are_small():
    norms = np.where(np.arange(T) == 17, 0.0, 20.0)
    starts, windows = drawn(*staged(norms, stage=2))
    assert set(windows) == {M - 5}
    assert np.mean(starts == 17) > 0.99


def test_norms_that_are_not_finite_are_not_used():
    schedule, state = staged(np.full(T, np.nan))
    assert state["norms"] == []
    starts, windows = drawn(schedule, state)
    assert set(windows) == {M}
    assert len(set(starts)) == T - M + 1


def test_norms_are_measured_in_every_period():
    asked = []

    def norms():
        asked.append(step)
        return NORMS

    schedule, state = StageAwareWindow(renew_every=4), {"norms": None, "stage": 0}
    for step in range(1, 10):
        state = schedule.prepare(step, norms, M, T, state)
    assert asked == [1, 4, 8]


def test_stages_end_when_the_accuracy_stops_to_rise():
    schedule = StageAwareWindow(
        5,
        renew_every=2,
        early_tol=0.02,
        middle_tol=0.01,
        early_patience=2 / T,
        middle_patience=0.01,
    )
    state, stages = schedule.init_state(M, T), []
    # Means of 0.1, 0.4, 0.41 and 0.42: two periods in a row in which they rise by less than 0.02.
    # Then 0.43 still rises by 0.01, and 0.43 again does not.
    for mean in (0.1, 0.4, 0.41, 0.42, 0.4301, 0.4302, 0.4302):
        for accuracy in (mean - 0.05, mean + 0.05):
            state = schedule.observe(Observation(1.0, batch_accuracy=accuracy), M, T, state)
            stages.append(state["stage"])
    assert stages == [0] * 7 + [1] * 4 + [2] * 3
    assert schedule.observe(Observation(1.0), M, T, state) is state
    assert json.loads(json.dumps(state)) == state
    # As the code has it for 200 steps: 30 periods, then 25.
    usual, still = StageAwareWindow(renew_every=1), Observation(1.0, batch_accuracy=0.0)
    state, lengths = usual.init_state(40, 200), [0, 0, 0]
    for _ in range(60):
        lengths[state["stage"]] += 1
        state = usual.observe(still, 40, 200, state)
    assert lengths == [30, 25, 5]


@pytest.mark.parametrize(("window", "unroll"), [(5, 60), (56, 60), (60, 60)])
def test_stages_need_room(window, unroll):
    with pytest.raises(ValueError, match=f"radius=5 of StageAwareWindow must be .*window={window}"):
        StageAwareWindow(5).check(window, unroll)
    StageAwareWindow(5).check(6, 11)


def test_schedules_are_scikit_learn_parameters():
    schedule = MovingWindow(patience=7)
    assert clone(schedule).set_params(direction="backward").get_params()["patience"] == 7


@pytest.mark.parametrize(
    ("schedule", "message"),
    [
        (MovingWindow("sideways"), "'direction' parameter of MovingWindow must be"),
        (MovingWindow(patience=0), "'patience' parameter of MovingWindow must be"),
        (StageAwareWindow(-1), "'radius' parameter of StageAwareWindow must be"),
        (StageAwareWindow(early_tol=2), "'early_tol' parameter of StageAwareWindow must be"),
        (EarlyWindow(bias=0.5), "'bias' parameter of EarlyWindow must be"),
    ],
)
def test_bad_parameters(schedule, message):
    with pytest.raises(ValueError, match=message):
        resolve_schedule(schedule)
