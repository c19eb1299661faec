"""The pool: ages, training, replacement, and a state that a file may hold."""

import copy
from dataclasses import replace

import pytest
import torch
from torch import nn

from skdistill._engine.learner import Learner
from skdistill._engine.optimizers import Adam
from skdistill._engine.pool import Pool
from skdistill._engine.protocols import mean_squared_error
from skdistill._engine.steps import Steps
from skdistill._engine.streams import Streams

RNGS = Streams(3)


def make(size=3, max_age=7, batch_size=None, lr=0.01):
    learner = Learner(lambda: nn.Linear(4, 2), dtype=torch.float64)
    learner.criterion = mean_squared_error
    return Pool(Steps(learner, Adam(lr)), size, max_age, batch_size)


def samples(n=6):
    draw = torch.randn(n, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return draw.split([4, 2], dim=1)


def networks(state):
    return [network["slots"][0] for network in state["networks"].values()]


def test_ages_are_spread_from_the_start_and_no_network_is_trained():
    pool = make(size=4, max_age=10)
    state = pool.init(RNGS)
    assert [pool.age(state, k) for k in range(4)] == [0, 2, 4, 6]
    assert [network["n_steps"] for network in state["networks"].values()] == [0] * 4
    assert len({tuple(theta.tolist()) for theta in networks(state)}) == 4
    again = pool.init(Streams(3))
    assert all(map(torch.equal, networks(state), networks(again)))
    assert not torch.equal(networks(pool.init(Streams(4)))[0], networks(state)[0])


def test_every_network_is_drawn_and_processes_draw_the_same():
    pool = make(size=3)
    drawn = [pool.draw(RNGS, step) for step in range(60)]
    assert {drawn.count(k) > 10 for k in range(3)} == {True}
    assert drawn == [pool.draw(replace(RNGS, rank=1, n_ranks=2), step) for step in range(60)]


def test_training_is_adam_on_the_mean_squared_error():
    pool, (X, y) = make(), samples()
    state = first = pool.init(RNGS)
    theta = pool.network(first, 1).clone()
    weight, bias = nn.Parameter(theta[:8].view(2, 4)), nn.Parameter(theta[8:])
    optimizer = torch.optim.Adam([weight, bias], lr=0.01)
    for step, n_steps in ((0, 1), (5, 2)):
        state = pool.advance(state, 1, X, y, RNGS, step, n_steps)
        for _ in range(n_steps):
            optimizer.zero_grad()
            (0.5 * (X @ weight.T + bias - y).square().sum(dim=1)).mean().backward()
            optimizer.step()
    expected = torch.cat((weight.detach().flatten(), bias.detach()))
    torch.testing.assert_close(pool.network(state, 1), expected, rtol=1e-9, atol=1e-12)
    assert (pool.age(state, 1), pool.age(first, 1)) == (2 + 3, 2)
    # The others are the same objects, and the state that was given is as it was.
    for k in "02":
        assert state["networks"][k] is first["networks"][k]
    assert not torch.equal(pool.network(state, 1), pool.network(first, 1))


def test_the_older_are_replaced_one_after_the_other():
    pool, (X, y) = make(size=2, max_age=4), samples()
    state, ages, counts = pool.init(RNGS), [], []
    for step in range(7):
        for k in range(2):
            state = pool.advance(state, k, X, y, RNGS, 2 * step + k)
        ages.append([pool.age(state, k) for k in range(2)])
        counts.append(state["n_too_old"])
    assert ages == [[1, 3], [2, 4], [3, 5], [4, 0], [5, 1], [0, 2], [1, 3]]
    assert counts == [0, 0, 0, 1, 1, 2, 2]
    assert state["n_diverged"] == 0


def test_a_replacement_is_fresh_and_another_each_time():
    pool, (X, y) = make(size=1, max_age=1), samples()
    state, fresh = pool.init(RNGS), []
    for step in range(9):
        state = pool.advance(state, 0, X, y, RNGS, step)
        if pool.age(state, 0) == 0:
            assert state["networks"]["0"]["n_steps"] == 0
            assert not state["networks"]["0"]["slots"][1:].any()
            fresh.append(pool.network(state, 0))
    assert len(fresh) == 3
    all_first = [pool.network(pool.init(RNGS), 0), *fresh]
    assert len({tuple(theta.tolist()) for theta in all_first}) == 4


def test_a_network_that_diverges_is_replaced_and_counted():
    pool, (X, y) = make(), samples()
    state = pool.init(RNGS)
    spoilt = pool.advance(state, 0, X * torch.inf, y, RNGS, 0)
    assert (spoilt["n_diverged"], spoilt["n_too_old"]) == (1, 0)
    assert pool.age(spoilt, 0) == 0
    assert pool.network(spoilt, 0).isfinite().all()
    assert not torch.equal(pool.network(spoilt, 0), pool.network(state, 0))
    assert pool.diverged(spoilt, 2, RNGS, 1)["n_diverged"] == 2


def test_two_networks_that_are_replaced_in_one_outer_step_differ():
    pool = make()
    state = pool.init(RNGS)
    first = pool.diverged(state, 0, RNGS, 4)
    both = pool.diverged(first, 1, RNGS, 4)
    again = pool.diverged(first, 0, RNGS, 4)
    # Only one is as before, so that runs go on from their files with the same bits.
    alone = pool.steps.learner.init(RNGS.integer("pool network", pool.size + 4))
    assert torch.equal(pool.network(first, 0), alone)
    assert torch.equal(pool.network(pool.diverged(state, 1, RNGS, 4), 1), alone)
    assert not torch.equal(pool.network(both, 1), alone)
    assert not torch.equal(pool.network(again, 0), alone)
    other = pool.diverged(pool.diverged(state, 0, RNGS, 5), 1, RNGS, 5)
    assert len({tuple(theta.tolist()) for theta in networks(both) + networks(other)}) == 5
    assert (both["n_diverged"], again["n_diverged"]) == (2, 2)


def test_a_step_of_training_has_a_random_choice_of_many_samples(monkeypatch):
    pool, (X, y) = make(batch_size=4), samples(10)
    seen, forward = [], pool.steps.forward

    def noting(slots, X_batch, y_batch, t):
        rows = [int((x == X).all(dim=1).nonzero()) for x in X_batch]
        assert torch.equal(y_batch, y[rows])
        seen.append(tuple(sorted(rows)))
        return forward(slots, X_batch, y_batch, t)

    monkeypatch.setattr(pool.steps, "forward", noting)
    state = pool.init(RNGS)
    for step in (0, 1, 0):
        pool.advance(state, 0, X, y, RNGS, step, n_steps=2)
    assert {len(set(rows)) for rows in seen} == {4}
    assert len(set(seen[:4])) == 4
    assert seen[4:] == seen[:2]
    pool.advance(state, 0, X[:4], y[:4], RNGS, 2)
    assert seen[-1] == (0, 1, 2, 3)


def spoil(change):
    """Return a state of the pool that something has changed."""
    state = copy.deepcopy(make().init(RNGS))
    change(state)
    return state


def of_first(**changes):
    return lambda state: state["networks"]["0"].update(changes)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("n_diverged"), "must count the networks"),
        (lambda s: s.update(n_too_old=-1), "must count the networks"),
        (lambda s: s.update(networks=[1, 2, 3]), "must have 3 networks"),
        (lambda s: s["networks"].pop("2"), "must have 3 networks"),
        (lambda s: s["networks"].update({"0": 1}), "network 0 must have"),
        (lambda s: s["networks"]["1"].pop("age"), "network 1 must have"),
        (of_first(slots=1.0), "float64 of shape"),
        (of_first(slots=torch.zeros(3, 10)), "float64 of shape"),
        (of_first(slots=torch.zeros(3, 9, dtype=torch.float64)), "float64 of shape"),
        (of_first(slots=torch.full((3, 10), torch.nan, dtype=torch.float64)), "finite slots"),
        (of_first(slots=-torch.ones(3, 10, dtype=torch.float64)), "not negative"),
        (of_first(age=True), "age of its steps"),
        (of_first(age=1, n_steps=2), "age of its steps"),
    ],
)
def test_states_of_no_such_pool_are_refused(change, message):
    make().check(make().init(RNGS))
    with pytest.raises(ValueError, match=message):
        make().check(spoil(change))
