"""Learning rates that are found by trial: by hand, and a state that a file may hold."""

import pytest

from skdistill._engine.tuned_rate import TunedRate, first_that_fails, verdict

RATE = TunedRate(1.0)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([3.0, 2.0, 1.0], "monotone"),
        ([3.0, 2.0, 2.0], "other"),
        ([3.0, 4.0, 2.0], "other"),
        ([0.0, 0.0, 0.0], "other"),
        ([3.0, 2.0, 3.5], "diverged"),
        ([3.0, float("nan"), 1.0], "diverged"),
        ([3.0, 2.0, float("inf")], "diverged"),
        ([3.0], "other"),
        ([], "other"),
    ],
)
def test_verdicts_by_hand(values, expected):
    assert verdict(values) == expected


def test_the_first_rate_is_a_little_above_the_last_one_that_was_monotone():
    tried = []

    def descend(rate):
        tried.append(rate)
        return "monotone" if rate < 1.5 else "other"

    state = RATE.tried(RATE.init(), descend)
    assert tried == pytest.approx([1, 1.2, 1.44, 1.2**4, 1.728])
    assert state["value"] == pytest.approx(1.44 * 1.2 * 1.2 * 0.7)
    assert RATE.tried(state, pytest.fail) == state


@pytest.mark.parametrize("answer", [0, 1, 2, 3, 8, 13, 16])
def test_the_first_number_that_fails_is_found_in_few_trials(answer):
    asked = []

    def holds(k):
        asked.append(k)
        return k < answer

    assert first_that_fails(holds, 16) == answer
    assert len(asked) == len(set(asked)) <= 9


def test_trials_end():
    assert RATE.tried(RATE.init(), lambda rate: "monotone")["value"] < 1e21


@pytest.mark.parametrize(
    ("n_monotone", "n_diverged", "factor"),
    [(0, 14, 1.0), (0, 15, 0.9), (35, 15, 0.9), (35, 14, 1.05), (34, 0, 1.0), (50, 0, 1.05)],
)
def test_a_rate_follows_what_it_has_seen(n_monotone, n_diverged, factor):
    state = {**RATE.init(), "value": 2.0}
    kinds = ["monotone"] * n_monotone + ["diverged"] * n_diverged
    for how in kinds + ["other"] * (50 - len(kinds)):
        assert state["value"] == 2.0
        RATE.check("rate", state)
        before = dict(state)
        new = RATE.followed(state, how)
        assert state == before
        state = new
    assert state == {"value": 2.0 * factor, "n_seen": 0, "n_monotone": 0, "n_diverged": 0}


def test_a_fixed_rate_is_neither_tried_nor_follows():
    rate = TunedRate(1.0, fixed=0.5)
    state = rate.tried(rate.init(), pytest.fail)
    assert state["value"] == 0.5
    assert rate.followed(state, "diverged") == state
    rate.check("rate", state)
    with pytest.raises(ValueError, match=r"rate must have a positive rate; got 0\.7"):
        rate.check("rate", {**state, "value": 0.7})


@pytest.mark.parametrize(
    "change",
    [
        {"value": -1.0},
        {"value": float("nan")},
        {"value": "fast"},
        {"n_seen": 50},
        {"n_seen": -1},
        {"n_monotone": 1},
        {"n_diverged": 0.0},
    ],
    ids=str,
)
def test_a_state_of_something_else_is_refused(change):
    RATE.check("rate", RATE.init())
    with pytest.raises(ValueError, match="its rate must "):
        RATE.check("rate", {**RATE.init(), **change})
