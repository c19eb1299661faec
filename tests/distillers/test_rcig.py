"""RCIG: both parts of the gradient against other ways to compute them, and the distiller."""

import copy
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import tools
import torch
import torch.nn.functional as F
from tools import a_problem
from torch import nn
from torch.func import functional_call, jvp

from skdistill import RCIGDistiller
from skdistill._engine.features import Features, RealFeatures
from skdistill._engine.learner import Learner
from skdistill._engine.linearized import Linearized, softened
from skdistill._engine.methods.base import Synthetic
from skdistill._engine.methods.feature_regression import label_term
from skdistill._engine.methods.implicit import (
    ImplicitGradient,
    SelfLoss,
    direct_gradient,
    inverse_product,
    with_implicit,
)
from skdistill._engine.methods.matching import Embedding
from skdistill._engine.optimizers import Adam
from skdistill._engine.pool import Pool
from skdistill._engine.protocols import mean_squared_error
from skdistill._engine.steps import Steps
from skdistill._engine.streams import Streams
from skdistill._engine.tuned_rate import TunedRate
from skdistill.augmentation import Rotation
from skdistill.exceptions import DivergenceError, InvalidFileError

SHAPE = (1, 8, 8)
SHIFT = 0.3
quick = partial(tools.quick, RCIGDistiller, inner_steps=3, inverse_steps=3, pool_size=3)


# --- the mathematics, with other tools ----------------------------------------------------------


class Other:
    """The learning problem of a linearized network in other words, differentiable throughout."""

    def __init__(self, learner, theta, n_copies=1):
        self.body = nn.Sequential(*list(learner.changed(tools.plain).module)[:-1])
        names = [name for name, _ in self.body.named_parameters()]
        parameters = learner.parameters(theta)
        self.parameters = {name: parameters[name] for name in names}
        self.last = list(parameters.values())[-2:]
        self.learner, self.n_copies = learner, n_copies

    def features(self, X):
        return functional_call(self.body, self.parameters, (X,))

    def scores(self, t, X):
        """Return the first order of the scores for tangents, last weights left out."""
        tangents = self.learner.parameters(t)
        own = {name: tangents[name] for name in self.parameters}
        along = jvp(
            lambda parameters: functional_call(self.body, parameters, (X,)),
            (self.parameters,),
            (own,),
        )[1]
        return along @ self.last[0].T + list(tangents.values())[-1]

    def support(self, X, y):
        if self.n_copies == 1:
            return X, y
        return torch.cat((X, X.flip(3))), torch.cat((y, y))

    def head(self, t, X, y):
        """Return the last layer's weights by ridge regression in the space of the features."""
        X, y = self.support(X, y)
        phi = self.features(X)
        A = phi.T @ phi + SHIFT * torch.eye(phi.shape[1]).double()
        return torch.linalg.solve(A, phi.T @ (y - self.scores(t, X)))

    def self_loss(self, t, X, y):
        head = self.head(t, X, y)
        X, y = self.support(X, y)
        errors = y - self.scores(t, X) - self.features(X) @ head
        body = t * (1 - self.is_last(t))
        penalty = SHIFT * ((head**2).sum() + (body**2).sum())
        return ((errors**2).sum() + penalty) / 2 / y.numel()

    def is_last(self, t):
        mask = torch.zeros_like(t)
        size = self.last[0].numel() + self.last[1].numel()
        mask[-size : -self.last[1].numel()] = 1
        return mask

    def real_loss(self, t, X, y, log_scale, real, y_real, weight, learns):
        predicted = self.scores(t, real) + self.features(real) @ self.head(t, X, y)
        losses = F.cross_entropy(log_scale.exp() * predicted, y_real, reduction="none")
        loss = (losses * weight).sum() / weight.sum()
        if learns:
            ordered = y.sort(dim=1, descending=True).values
            margins = ordered[:, 0] - ordered[:, 1]
            loss = loss - torch.where(margins < 1 / 6, margins, 1 / 6).mean()
        return loss


class Case:
    """A synthetic set, a real batch and a network of float64."""

    def __init__(self, learner, chunk=None, flips=False, weighted=False):
        draw = partial(torch.randn, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
        learner = learner.changed(partial(softened, beta=5.0))
        self.embed, self.theta = Embedding(learner, SHAPE), learner.init(3)
        self.X, self.y, self.t = draw(4, *SHAPE), draw(4, 3) / 2, draw(learner.n_parameters) / 9
        self.v = draw(learner.n_parameters) / 9
        self.t, self.v = self.t * self.embed.body, self.v * self.embed.body
        self.log_scale = torch.full((1,), 0.3, dtype=torch.float64)
        self.real, self.y_real = draw(7, *SHAPE), torch.arange(7) % 3
        self.weight = draw(7).abs() if weighted else None
        self.chunk, self.flips = chunk, flips
        self.other = Other(learner, self.theta, 2 if flips else 1)

    def at(self, X):
        return Linearized(self.embed.with_scores, self.theta, self.embed.body, X, self.chunk)

    def loss(self, X=None, y=None):
        X, y = self.X if X is None else X, self.y if y is None else y
        X = torch.cat((X, X.flip(-1))) if self.flips else X
        return SelfLoss(self.at(X), y, SHIFT, 2 if self.flips else 1)

    def direct(self, X=None, y=None, t=None, log_scale=None, learns=True):
        batch = RealFeatures(self.real, self.y_real, self.weight)
        t = self.t if t is None else t
        log_scale = self.log_scale if log_scale is None else log_scale
        return direct_gradient(self.loss(X, y), t, self.at(self.real), batch, log_scale, learns)

    def others(self, learns=True):
        weight = torch.ones(7).double() if self.weight is None else self.weight
        return partial(
            self.other.real_loss, real=self.real, y_real=self.y_real, weight=weight, learns=learns
        )

    def folded(self, X_bar):
        return X_bar[:4] + X_bar[4:].flip(-1) if self.flips else X_bar

    def hessian(self, X=None, y=None):
        """Return the Hessian matrix by autograd, with ones for parameters without tangents."""
        X, y = self.X if X is None else X, self.y if y is None else y
        H = torch.autograd.functional.hessian(
            lambda t: self.other.self_loss(t, X, y), torch.zeros_like(self.t), vectorize=True
        )
        return H + torch.diag(1 - self.embed.body)


def assert_near(got, expected, tolerance=1e-9):
    size = expected.norm().item()
    assert size > 1e-6
    assert (got - expected).norm().item() < tolerance * size


@pytest.mark.parametrize("chunk", [None, 3])
@pytest.mark.parametrize("flips", [False, True])
def test_the_loss_on_the_set_is_that_quadratic(learner, flips, chunk):
    case = Case(learner, chunk, flips)
    loss, t = case.loss(), case.t.clone().requires_grad_()
    value = case.other.self_loss(t, case.X, case.y)
    (gradient,) = torch.autograd.grad(value, t)
    assert_near(loss.product(case.t) - loss.slope(), gradient * case.embed.body)
    at_0 = case.other.self_loss(torch.zeros_like(t), case.X, case.y)
    quadratic = loss.square(case.t) / 2 - case.t @ loss.slope()
    assert (at_0 + quadratic).item() == pytest.approx(value.item(), rel=1e-9)
    assert loss.square(case.t).item() == pytest.approx((case.t @ loss.product(case.t)).item())


@pytest.mark.parametrize("chunk", [None, 3])
@pytest.mark.parametrize("flips", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
def test_the_direct_gradient_and_that_of_tangents_equal_autograd(learner, weighted, flips, chunk):
    case = Case(learner, chunk, flips, weighted)
    for learns in (True, False):
        found = case.direct(learns=learns)
        inputs = [
            each.clone().requires_grad_() for each in (case.t, case.X, case.y, case.log_scale)
        ]
        loss = case.others(learns)(*inputs)
        t_bar, X_bar, y_bar, log_scale_bar = torch.autograd.grad(loss, inputs)
        assert found.loss.item() == pytest.approx(loss.item(), rel=1e-9)
        assert_near(found.t, t_bar * case.embed.body)
        assert_near(case.folded(found.X), X_bar)
        assert_near(found.y, y_bar)
        assert_near(found.log_scale, log_scale_bar)


def test_the_direct_gradient_equals_finite_differences(learner):
    case = Case(learner, chunk=3)
    found = case.direct()
    draw = partial(torch.randn, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    dX, dy, dt, dk = draw(case.X.shape), draw(case.y.shape), draw(case.t.shape), 0.7
    dt = dt * case.embed.body
    above, below = (
        case.direct(case.X + e * dX, case.y + e * dy, case.t + e * dt, case.log_scale + e * dk).loss
        for e in (1e-6, -1e-6)
    )
    slope = (found.X * dX).sum() + (found.y * dy).sum() + found.t @ dt + found.log_scale * dk
    assert ((above - below) / 2e-6).item() == pytest.approx(slope.item(), rel=1e-5)


@pytest.mark.parametrize("chunk", [None, 3])
@pytest.mark.parametrize("flips", [False, True])
def test_the_implicit_gradient_of_a_vector_equals_autograd(learner, flips, chunk):
    case = Case(learner, chunk, flips)
    t, X, y = (each.clone().requires_grad_() for each in (case.t, case.X, case.y))
    loss = case.other.self_loss(t, X, y)
    (g_s,) = torch.autograd.grad(loss, t, create_graph=True)
    X_bar, y_bar = torch.autograd.grad(-(case.v @ g_s), (X, y))
    got_X, got_y = case.loss().implicit_gradient(case.t, case.v)
    assert_near(case.folded(got_X), X_bar)
    assert_near(got_y, y_bar)


@pytest.mark.parametrize("flips", [False, True])
def test_with_exact_solutions_it_is_the_gradient_through_them(learner, flips):
    # What linear algebra learns, differentiated by autograd: no implicit function theorem.
    case = Case(learner, flips=flips)
    X, y = case.X.clone().requires_grad_(), case.y.clone().requires_grad_()
    zero, body = torch.zeros_like(case.t), case.embed.body.bool()

    def gradient(t):
        return torch.func.grad(case.other.self_loss)(t, X, y)

    H = torch.func.jacfwd(gradient)(zero)[body][:, body]
    t_best = torch.zeros_like(zero).masked_scatter(
        body, torch.linalg.solve(H, -gradient(zero)[body])
    )
    loss = case.others()(t_best, X, y, case.log_scale)
    X_bar, y_bar = torch.autograd.grad(loss, (X, y))
    t = t_best.detach()
    direct = case.direct(t=t)
    v = torch.zeros_like(zero)
    v[body] = torch.linalg.solve(H.detach(), direct.t[body])
    X_implicit, y_implicit = case.loss().implicit_gradient(t, v)
    assert X_implicit.norm() > 0.05 * direct.X.norm()
    assert_near(case.folded(direct.X + X_implicit), X_bar, 1e-7)
    assert_near(direct.y + y_implicit, y_bar, 1e-7)


def test_descents_approach_the_dense_solution(learner):
    case = Case(learner)
    H, loss = case.hessian(), case.loss()
    for b in (loss.slope(), case.direct().t):
        solution = torch.linalg.solve(H, b)
        rate = solution.abs().max().item() / 10
        errors = []
        for n_steps in (0, 20, 100, 300):
            found, values = inverse_product(loss, b, rate, n_steps)
            errors.append(((found - solution).norm() / solution.norm()).item())
            assert len(values) == n_steps + 1
            expected = found @ H @ found - 2 * found @ b
            assert values[-1] == pytest.approx(expected.item(), rel=1e-9, abs=1e-15)
        assert errors[0] == 1
        assert errors[0] > errors[1] > errors[2] > errors[3]
        assert errors[3] < 0.05
    # And with them the implicit part.
    exact = loss.implicit_gradient(case.t, torch.linalg.solve(H, b))
    for got, expected in zip(loss.implicit_gradient(case.t, found), exact):
        assert_near(got, expected, 0.05)


def test_the_implicit_part_is_at_most_as_long_as_the_direct_one():
    direct, implicit = torch.tensor([3.0, 4.0]), torch.tensor([0.0, 10.0])
    total, ratio = with_implicit(direct, implicit)
    assert (total.tolist(), ratio) == ([3, 9], 2)
    total, ratio = with_implicit(direct, implicit / 10)
    assert (total.tolist(), ratio) == ([3, 5], pytest.approx(0.2))
    assert with_implicit(direct, 0 * direct)[0].tolist() == [3, 4]
    assert with_implicit(0 * direct, implicit)[0].tolist() == [0, 0]
    total, ratio = with_implicit(direct, torch.tensor([np.nan, 1.0]))
    assert total.tolist() == [3, 4]
    assert np.isnan(ratio)


# --- an outer step ------------------------------------------------------------------------------


def method_of(learner, X, y, flips=False, batch=None, rngs=Streams(0), **changes):  # noqa: B008
    """Return the method, and the problem of these real samples."""
    learner = learner.changed(partial(softened, beta=60.0))
    learner.criterion = mean_squared_error
    problem = a_problem(X, y, 2, learner, None, rngs)
    method = ImplicitGradient(
        embed=Embedding(learner, tuple(X.shape[1:])),
        pool=Pool(Steps(learner, Adam(0.01)), size=3, max_age=20),
        batch=batch or (lambda index: np.arange(len(X))),
        regularization=5e-3,
        flips=flips,
        inner_steps=5,
        inverse_steps=6,
        inner_rate=TunedRate(1e-3),
        inverse_rate=TunedRate(1e-3),
        pool_steps=4,
        log_scale_lr=0.03,
    )
    return replace(method, **changes), problem


def outer_gradient(method, X_syn, y_syn, step=0, state=None):
    """Return the gradient and the state of an outer step."""
    method, problem = method
    state = method.init(problem) if state is None else state
    extra = {"log_scale": torch.full((1,), 0.2, dtype=torch.float64)}
    return method.gradient(problem, Synthetic(X_syn, y_syn, extra), state, step)


@pytest.mark.parametrize(("flips", "learns"), [(False, True), (True, False)])
def test_a_step_puts_the_parts_together(learner, problem, flips, learns):
    X, y, _, X_syn, y_syn = problem
    method, posed = method_of(learner, X, y, flips)
    if not learns:
        y_syn = torch.arange(3).repeat(2)
    found, state = outer_gradient((method, posed), X_syn, y_syn)
    soft = y_syn if learns else torch.eye(3).double()[y_syn] - 1 / 3
    theta = method.pool.network(state["pool"], method.pool.draw(Streams(0), 0))
    at = partial(Linearized, method.embed.with_scores, theta, method.embed.body)
    support = torch.cat((X_syn, X_syn.flip(-1))) if flips else X_syn
    # The ridge counts each sample once.
    loss = SelfLoss(at(support), soft, 6 * 5e-3, 2 if flips else 1)
    inner, inverse = (found.record[name] for name in ("inner_lr", "inverse_lr"))
    t, _ = inverse_product(loss, loss.slope(), inner, 5)
    direct = direct_gradient(
        loss, t, at(X), RealFeatures(X, y, None), torch.tensor([0.2], dtype=torch.float64), learns
    )
    v, _ = inverse_product(loss, direct.t, inverse, 6)
    X_implicit, y_implicit = loss.implicit_gradient(t, v)
    parts = [direct.X, X_implicit]
    if flips:
        parts = [part[:6] + part[6:].flip(-1) for part in parts]
    expected, ratio = with_implicit(*parts)
    assert_near(found.X, expected)
    assert found.record["implicit_ratio"] == pytest.approx(ratio)
    assert ratio > 0
    assert found.loss.item() == pytest.approx(direct.loss.item())
    if learns:
        assert_near(found.y, with_implicit(direct.y, y_implicit)[0])
    else:
        assert found.y is None
    assert_near(found.extra["log_scale"], direct.log_scale)


def test_without_steps_there_is_no_implicit_part(learner, problem):
    X, y, _, X_syn, y_syn = problem
    found, state = outer_gradient(method_of(learner, X, y, inverse_steps=0), X_syn, y_syn)
    assert found.record["implicit_ratio"] == 0
    other, _ = outer_gradient(method_of(learner, X, y), X_syn, y_syn)
    assert not torch.allclose(found.X, other.X)
    assert state["inverse"]["n_seen"] == 1


def test_rates_are_tried_once_and_followed(learner, problem):
    X, y, _, X_syn, y_syn = problem
    method = method_of(learner, X, y)
    state, rates = None, []
    for step in range(3):
        found, state = outer_gradient(method, X_syn, y_syn, step, state)
        rates.append((found.record["inner_lr"], found.record["inverse_lr"]))
        assert [state[name]["n_seen"] for name in ("inner", "inverse")] == [step + 1] * 2
    assert len(set(rates)) == 1
    assert min(rates[0]) > 1e-3
    state["inner"]["n_seen"] = state["inner"]["n_diverged"] = 49
    assert outer_gradient(method, X_syn, y_syn, 3, state)[1]["inner"]["value"] == pytest.approx(
        0.9 * rates[0][0]
    )


def test_a_network_is_trained_on_what_its_step_left_and_its_mirror_images(learner, problem):
    X, y, _, X_syn, y_syn = problem
    method = method_of(learner, X, y, flips=True)
    pool = method[0].pool
    _, state = outer_gradient(method, X_syn, y_syn)
    begun = method[0].init(method[1])["pool"]
    _, state = outer_gradient(method, X_syn + 1, y_syn, 1, state)
    k, n_steps = pool.draw(Streams(0), 0), method[0]._n_pool_steps(Streams(0), 0)
    support = torch.cat((X_syn + 1, (X_syn + 1).flip(3))), y_syn.repeat(2, 1)
    expected = pool.advance(begun, k, *support, Streams(0), 1, n_steps)
    for j in range(3):
        assert torch.equal(pool.network(state["pool"], j), pool.network(expected, j))
    assert pool.age(state["pool"], k) == pool.age(begun, k) + n_steps
    drawn = {method[0]._n_pool_steps(Streams(0), step) for step in range(50)}
    assert drawn == {1, 2, 3, 4}


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_labels_that_collapsed_have_finite_gradients_that_part_them(learner, problem, value):
    X, y, _, X_syn, _ = problem
    y_syn = torch.full((6, 3), value, dtype=torch.float64)
    found, _ = outer_gradient(method_of(learner, X, y), X_syn, y_syn)
    assert found.loss.isfinite()
    assert found.X.isfinite().all()
    assert found.y.isfinite().all()
    moved = label_term(y_syn - 1e-3 * found.y / found.y.norm())
    assert moved < label_term(y_syn) == 0


@pytest.mark.parametrize("factor", [np.nan, 1e200], ids=["not a number", "infinite"])
def test_a_network_without_a_finite_loss_is_replaced_and_counted(problem, factor):
    X, y, _, X_syn, y_syn = problem
    learner = Learner(partial(tools.tiny, SHAPE, 3), dtype=torch.float64)
    method = method_of(learner, X, y)
    state = method[0].init(method[1])
    k = method[0].pool.draw(Streams(0), 0)
    spoilt = state["pool"]["networks"][str(k)]
    spoilt["slots"] = spoilt["slots"] * factor
    found, new = outer_gradient(method, X_syn, y_syn, 0, copy.deepcopy(state))
    assert not found.loss.isfinite()
    assert new["pool"]["n_diverged"] == found.record["n_diverged"] == 1
    # Such a network says nothing of rates.
    assert (new["inner"], new["inverse"]) == (state["inner"], state["inverse"])
    found, new = outer_gradient(method, X_syn, y_syn, 0, new)
    assert found.loss.isfinite()
    assert new["inner"]["value"] > 0


def test_augmentation_changes_the_real_batch_and_what_networks_are_trained_on(learner, problem):
    X, y, _, X_syn, y_syn = problem
    turn, (method, posed) = Rotation(90.0), method_of(learner, X, y)
    draws = turn.draw(Streams(0).torch("real_augmentation", 0), 20, SHAPE)
    expected = outer_gradient(method_of(learner, turn.apply(X, draws), y), X_syn, y_syn)[0]
    turned = replace(method, pool=replace(method.pool, augmentation=turn))
    got, state = outer_gradient((turned, replace(posed, augmentation=turn)), X_syn, y_syn)
    assert got.loss.item() == pytest.approx(expected.loss.item(), rel=1e-9)
    plain = outer_gradient((method, posed), X_syn, y_syn, 1, state)[1]
    state = outer_gradient((turned, posed), X_syn, y_syn, 1, state)[1]
    k = method.pool.draw(Streams(0), 0)
    networks = [method.pool.network(each["pool"], k) for each in (plain, state)]
    assert not torch.equal(*networks)


# --- the distiller ------------------------------------------------------------------------------


def test_what_comes_out(images):
    X, y = images
    y = np.array(["down", "up"])[y]
    distiller = quick(ipc=2).fit(X, y)
    X_syn, y_syn = distiller.transform()
    assert (X_syn.shape, y_syn.shape) == ((4, 6, 6), (4, 2))
    assert set(distiller.history_) == {
        *("loss", "grad_norm", "clip_level", "skipped", "seconds", "age", "n_diverged", "n_raised"),
        *("implicit_ratio", "inner_lr", "inverse_lr"),
    }
    assert y_syn.min() < 0
    assert distiller.distilled_.hard_labels().tolist() == ["down", "up"] * 2
    assert distiller.distilled_.recipe.loss == "mse"
    assert distiller.extra_["log_scale"] != 0
    # The average is the result.
    assert distiller.distilled_.provenance["parameters"]["ema_decay"] == 0.99
    hard = quick(ipc=2, learn_labels=False).fit(X, y)
    assert hard.transform()[1].tolist() == ["down", "up"] * 2
    assert hard.distilled_.recipe.loss == "cross-entropy"
    # The term that keeps labels apart is a part of the loss only where they are learned.
    term = distiller.history_["loss"][0] - hard.history_["loss"][0]
    assert term == pytest.approx(-0.25, abs=1e-5)


@pytest.mark.parametrize("how", ["warm start", "checkpoint", "checkpoint after Ctrl-C"])
def test_a_resumed_run_gives_the_same_bits(images, tmp_path, how, monkeypatch):
    # Every network is drawn, trained and replaced, and rates change.
    monkeypatch.setattr("skdistill._engine.tuned_rate._EVERY", 3)
    make = partial(quick, ipc=2, max_iter=10, pool_size=2, pool_max_age=6, batch_size=8)
    make = partial(make, architecture=tools.tiny)
    whole = tools.check_same_bits_after(how, make, images, tmp_path, first=5)
    assert len(set(whole.history_["inner_lr"]) | set(whole.history_["inverse_lr"])) > 2
    assert max(whole.history_["age"]) > 6
    assert 0 in whole.history_["age"][4:]


def test_a_checkpoint_with_another_rate_is_refused(images, tmp_path, monkeypatch):
    quick(checkpoint=tmp_path / "run", max_iter=2).fit(*images)
    fixed = lambda first, value: TunedRate(first, 0.5)  # noqa: E731
    monkeypatch.setattr("skdistill.distillers.rcig.TunedRate", fixed)
    with pytest.raises(InvalidFileError, match="inner rate must have a positive rate"):
        quick(checkpoint=tmp_path / "run").fit(*images)


def test_a_rate_that_always_diverges_ends_a_run(images):
    distiller = quick(max_iter=12, inner_lr=1e38)
    with pytest.raises(DivergenceError, match="Use a lower learning_rate, inner_lr"):
        distiller.fit(*images)
    assert np.isfinite(distiller.transform()[0]).all()


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"flips": 1}, "'flips' parameter"),
        ({"regularization": 0.0}, r"'regularization' parameter .* Got 0\.0"),
        ({"softplus_beta": 0.0}, r"'softplus_beta' parameter .* Got 0\.0"),
        ({"inner_steps": -1}, "'inner_steps' parameter .* Got -1"),
        ({"inverse_steps": -1}, "'inverse_steps' parameter .* Got -1"),
        ({"inner_lr": "fast"}, "'inner_lr' parameter .* Got 'fast'"),
        ({"inverse_lr": 0.0}, r"'inverse_lr' parameter .* Got 0\.0"),
        ({"log_scale_lr": 0.0}, r"'log_scale_lr' parameter .* Got 0\.0"),
        ({"pool_size": 0}, "'pool_size' parameter .* Got 0"),
        ({"pool_max_age": 0}, "'pool_max_age' parameter .* Got 0"),
        ({"pool_steps": 0}, "'pool_steps' parameter .* Got 0"),
        ({"pool_lr": 0.0}, r"'pool_lr' parameter .* Got 0\.0"),
    ],
)
def test_bad_parameters(images, outer_step, parameters, message):
    outer_step.refuse()
    with pytest.raises(ValueError, match=message):
        quick(**parameters).fit(*images)


def test_samples_pass_as_features_of_themselves(problem):
    X, y, *_ = problem
    batch = Features(lambda X: X, 7).of_real(a_problem(X, y, 2), np.arange(3, 15), 0)
    torch.testing.assert_close(batch.features, X[3:15])


@pytest.mark.parametrize("norm", [nn.utils.parametrizations.weight_norm, nn.utils.weight_norm])
@pytest.mark.filterwarnings("ignore:.*weight_norm.*deprecated")
def test_a_last_layer_without_weights_of_its_own_is_refused(images, norm, outer_step):
    def architecture(shape, n_classes):
        network = tools.tiny(shape, n_classes)
        norm(network[-1])
        return network

    step = outer_step()
    with pytest.raises(ValueError, match=r"last linear layer .* as by weight_norm\. Leave it out"):
        quick(architecture=architecture).fit(*images)
    assert not step.begun
