"""Tensors, and the samples and labels made of them: against autograd, in float64."""

from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from skdistill._engine.learner import Learner
from skdistill._engine.methods.base import Gradient, Method
from skdistill._engine.optimizers import SGD, Adam
from skdistill._engine.outer import initial_state, update
from skdistill._engine.parametrization import (
    EXTRA,
    HALLUCINATOR,
    Combinations,
    Enlarged,
    Hallucinations,
    Parametrization,
    Rows,
    first_hallucinators,
    xavier_size,
    xavier_uniform,
)
from skdistill._engine.steps import Steps
from skdistill._engine.unroll import InnerLoop, meta_gradient

LOSS = torch.tensor(0.0)
SHAPE = (2, 3, 3)
N_CLASSES = 2


@pytest.fixture
def draw():
    return partial(torch.randn, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.fixture
def mixed(draw):
    """Return blocks of bases, plain samples and smaller bases: 4, 2, 4, 3; and the tensors."""
    tensors = {
        "basis.0": draw(3, *SHAPE),
        "coefficients.0": draw(4, 3),
        "basis.1": draw(2, *SHAPE),
        "coefficients.1": draw(2, 2),
        "small": draw(2, 2, 2, 1),
        "coefficients.2": draw(3, 2),
        "X": draw(4, *SHAPE),
    }
    parts = (
        Combinations("basis.0", "coefficients.0", draw(2, 1, 1)),
        Combinations("basis.1", "coefficients.1"),
        Rows("X"),
        Combinations("small", "coefficients.2", draw(2, 1, 1), size=SHAPE[1:]),
    )
    return Parametrization(parts, torch.arange(13) % N_CLASSES), tensors


# --- samples and the way back -----------------------------------------------------------------


def test_samples(mixed):
    parametrization, tensors = mixed
    X = parametrization.samples(tensors)
    assert X.shape == (13, *SHAPE)
    shift = parametrization.parts[0].shift
    for k in range(4):
        expected = sum(tensors["coefficients.0"][k, j] * tensors["basis.0"][j] for j in range(3))
        torch.testing.assert_close(X[k], expected + shift)
    expected = sum(tensors["coefficients.1"][1, j] * tensors["basis.1"][j] for j in range(2))
    torch.testing.assert_close(X[5], expected)
    assert torch.equal(X[6:10], tensors["X"])
    # Two rows enlarged to three, bilinearly: the mean of both stands in the middle. One column is
    # the same everywhere.
    small = tensors["small"][..., 0]
    enlarged = torch.stack([small[..., 0], small.mean(-1), small[..., 1]], dim=-1)
    expected = torch.einsum("nb,bch->nch", tensors["coefficients.2"], enlarged)[..., None]
    torch.testing.assert_close(
        X[10:], (expected + parametrization.parts[3].shift).expand(3, *SHAPE)
    )


def test_pull_back_by_hand(mixed, draw):
    parametrization, tensors = mixed
    bar = draw(13, *SHAPE)
    grads = parametrization.pull_back(tensors, Gradient(LOSS, bar))
    assert grads.keys() == tensors.keys()
    part = bar[:4].flatten(1)
    basis, coefficients = tensors["basis.0"].flatten(1), tensors["coefficients.0"]
    torch.testing.assert_close(grads["basis.0"].flatten(1), coefficients.T @ part)
    torch.testing.assert_close(grads["coefficients.0"], part @ basis.T)
    part = bar[4:6].flatten(1)
    expected = tensors["coefficients.1"].T @ part
    torch.testing.assert_close(grads["basis.1"].flatten(1), expected)
    assert torch.equal(grads["X"], bar[6:10])
    assert not any(tensor.requires_grad for tensor in tensors.values())


def test_pull_back_equals_finite_differences(mixed, draw):
    parametrization, tensors = mixed
    bar = draw(13, *SHAPE)
    grads = parametrization.pull_back(tensors, Gradient(LOSS, bar))

    def value(name, change):
        return (bar * parametrization.samples({**tensors, name: tensors[name] + change})).sum()

    for name, tensor in tensors.items():
        direction = draw(*tensor.shape)
        slope = (value(name, 1e-6 * direction) - value(name, -1e-6 * direction)) / 2e-6
        assert slope.item() == pytest.approx((grads[name] * direction).sum().item(), rel=1e-6)


def test_labels_are_indices_unless_they_are_learned(mixed, draw):
    parametrization, tensors = mixed
    assert torch.equal(parametrization.labels(tensors), parametrization.y)
    learned = {**tensors, "y": draw(13, N_CLASSES)}
    assert torch.equal(parametrization.labels(learned), learned["y"])
    bar, y_bar = draw(13, *SHAPE), draw(13, N_CLASSES)
    grads = parametrization.pull_back(learned, Gradient(LOSS, bar, y_bar))
    assert torch.equal(grads.pop("y"), y_bar)
    for name, grad in parametrization.pull_back(tensors, Gradient(LOSS, bar)).items():
        assert torch.equal(grads[name], grad)


# --- tiles, hallucinators, penalties ----------------------------------------------------------


@pytest.fixture(params=["tiles", "hallucinators", "penalty"])
def made(request, draw):
    """Return six samples of 2 x 6 x 6 values, made of less, and the tensors."""
    shape = 2, 6, 6
    if request.param == "tiles":
        tensors, part = {"tiles": draw(6, 2, 3, 2)}, Enlarged("tiles", (6, 6))
    elif request.param == "hallucinators":
        # Six of the eight pairs of four bases and two hallucinators, in any order.
        part = Hallucinations("basis", ".0", torch.tensor([7, 0, 1, 4, 2, 6]), draw(*shape))
        tensors = {"basis": draw(4, *shape)}
        first = first_hallucinators(2, shape, torch.Generator().manual_seed(1))
        tensors |= {f"{k}.0": v.double() + 0.1 * draw(*v.shape) for k, v in first.items()}
    else:
        tensors = {"basis": draw(3, *shape), "coefficients": draw(6, 3)}
        part = Combinations("basis", "coefficients", coef_penalty=0.3)
    return Parametrization((part,), torch.arange(6) % 3), tensors


def test_tiles_are_enlarged_as_by_a_layer_of_torchs(draw):
    tiles = draw(3, 2, 2, 3)
    X = Enlarged("tiles", (4, 6)).samples({"tiles": tiles})
    assert torch.equal(X, nn.Upsample((4, 6), mode="bilinear")(tiles))
    # The corners are those of the tile.
    assert torch.equal(X[:, :, -1, 0], tiles[:, :, -1, 0])


def test_hallucinations_are_those_of_torchs_layers(draw):
    n, inner, channels = 3, 4, 2
    encoders = [nn.Conv2d(channels, inner, 3).double() for _ in range(n)]
    decoders = [nn.ConvTranspose2d(inner, channels, 3).double() for _ in range(n)]
    values = (
        torch.stack([layer.weight for layer in encoders]),
        torch.stack([layer.bias for layer in encoders]),
        draw(n, inner, 3, 2),
        draw(n, inner, 3, 2),
        torch.stack([layer.weight for layer in decoders]),
        torch.stack([layer.bias for layer in decoders]),
    )
    tensors = {f"{name}.5": value for name, value in zip(HALLUCINATOR, values)}
    tensors["bases"] = draw(2, channels, 5, 4)
    pairs = [(1, 2), (0, 0), (1, 0), (0, 2)]
    flat = torch.tensor([n * basis + k for basis, k in pairs])
    X = Hallucinations("bases", ".5", flat).samples(tensors)
    assert X.shape == (4, channels, 5, 4)
    for sample, (basis, k) in zip(X, pairs):
        seen = encoders[k](tensors["bases"][basis][None]) * values[2][k] + values[3][k]
        torch.testing.assert_close(sample, decoders[k](seen)[0])


def test_first_hallucinators_are_those_of_torchs_layers():
    first = first_hallucinators(200, (3, 6, 5), torch.Generator().manual_seed(0))
    assert tuple(first) == HALLUCINATOR
    # They go into Conv2d(3, 3, 3) and ConvTranspose2d(3, 3, 3).
    bound = 1 / np.sqrt(27)
    layers = {"conv": nn.Conv2d(3, 3, 3), "transposed": nn.ConvTranspose2d(3, 3, 3)}
    for name, layer in layers.items():
        for kind in ("weight", "bias"):
            ours, theirs = first[f"{name}_{kind}"], getattr(layer, kind)
            assert ours.shape == (200, *theirs.shape)
            assert theirs.abs().max() <= bound
            assert 0.98 * bound < ours.abs().max() <= bound
            assert ours.std().item() == pytest.approx(bound / np.sqrt(3), rel=0.05)
    assert first["scale"].shape == first["shift"].shape == (200, 3, 4, 3)
    assert (first["scale"] == 1).all()
    assert not first["shift"].any()


def test_pull_back_equals_autograd_through_the_inner_loop(made, draw):
    parametrization, tensors = made
    learner = Learner(
        lambda: nn.Sequential(nn.Conv2d(2, 3, 3), nn.Tanh(), nn.Flatten(), nn.Linear(48, 3)),
        dtype=torch.float64,
    )
    real, theta, n_steps, rate = (draw(9, 2, 6, 6), torch.arange(9) % 3), learner.init(0), 3, 0.1

    def outer_loss(theta):
        theta = theta.detach().requires_grad_()
        with torch.enable_grad():
            loss = learner.loss(theta, *real)
        return loss.detach(), torch.autograd.grad(loss, theta)[0]

    X = parametrization.samples(tensors)
    loop = InnerLoop(Steps(learner, SGD(lr=rate)), X, parametrization.y)
    gradient = meta_gradient(loop, theta, 0, n_steps, outer_loss)
    ours = parametrization.pull_back(tensors, Gradient(gradient.loss, gradient.X))

    def whole_loss(tensors):
        X, moved = parametrization.samples(tensors), theta.clone().requires_grad_()
        for _ in range(n_steps):
            loss = learner.loss(moved, X, parametrization.y)
            moved = moved - rate * torch.autograd.grad(loss, moved, create_graph=True)[0]
        loss = learner.loss(moved, *real)
        if "coefficients" in tensors:
            loss = loss + 0.3 * (tensors["coefficients"] ** 2).sum().sqrt()
        return loss

    inputs = {name: tensor.clone().requires_grad_() for name, tensor in tensors.items()}
    theirs = torch.autograd.grad(whole_loss(inputs), list(inputs.values()))
    assert ours.keys() == inputs.keys()
    for name, expected in zip(inputs, theirs):
        assert expected.norm() > 1e-4
        assert (ours[name] - expected).norm() <= 1e-9 * expected.norm()
        direction = draw(*expected.shape)
        near = [{**tensors, name: tensors[name] + h * direction} for h in (1e-5, -1e-5)]
        slope = (whole_loss(near[0]) - whole_loss(near[1])) / 2e-5
        assert slope.item() == pytest.approx((expected * direction).sum().item(), rel=1e-4)


def test_the_penalty_of_coefficients_of_zero_has_no_gradient(draw):
    tensors = {"basis": draw(3, *SHAPE), "coefficients": torch.zeros(4, 3).double()}
    part = Combinations("basis", "coefficients", coef_penalty=0.3)
    parametrization = Parametrization((part,), torch.arange(4) % 2)
    grads = parametrization.pull_back(tensors, Gradient(LOSS, torch.zeros(4, *SHAPE).double()))
    assert not any(grad.any() for grad in grads.values())


# --- the outer step ---------------------------------------------------------------------------


class Quadratic(Method):
    """Half the squared distance of samples and labels to targets."""

    def __init__(self, X, y, scales=(1.0,)):
        self.X, self.y, self.scales = X, y, scales

    def gradient(self, problem, synthetic, state, step):
        X_bar, y_bar = synthetic.X - self.X, synthetic.y - self.y
        scale = self.scales[step % len(self.scales)]
        loss = ((X_bar**2).sum() + (y_bar**2).sum()) / 2
        return Gradient(loss, scale * X_bar, scale * y_bar), state


def test_outer_steps_are_those_of_torch(mixed, draw):
    parametrization, tensors = mixed
    tensors = {**tensors, "y": torch.eye(2).double().repeat(7, 1)[:13]}
    # The fourth gradient is so large that it is clipped.
    scales = (1.0, 1.0, 1.0, 30.0, 1.0)
    method = Quadratic(draw(13, *SHAPE), draw(13, N_CLASSES).abs() + 0.3, scales)
    rates = {name: 0.01 * (k + 1) for k, name in enumerate(tensors)}
    # The reference: autograd through everything, torch's Adam and its clipping.
    theirs = {name: tensor.clone().requires_grad_() for name, tensor in tensors.items()}
    groups = [{"params": [theirs[name]], "lr": rates[name]} for name in tensors]
    adam, average = torch.optim.Adam(groups), None
    state = initial_state(method, None, tensors)
    for scale in scales:
        X, y = parametrization.samples(theirs), theirs["y"]
        loss = (((X - method.X) ** 2).sum() + ((y - method.y) ** 2).sum()) / 2
        adam.zero_grad()
        (scale * loss).backward()
        norm = torch.nn.utils.get_total_norm([t.grad for t in theirs.values()])
        average = norm if average is None else 0.9 * average + 0.1 * norm
        torch.nn.utils.clip_grad_norm_(theirs.values(), 2 * average)
        adam.step()
        state, record = update(method, None, state, parametrization, rates)
        assert record.loss == pytest.approx(loss.item())
        assert record.grad_norm == pytest.approx(norm.item())
    for name, tensor in state.tensors.items():
        torch.testing.assert_close(tensor, theirs[name].detach())
        assert (tensor != tensors[name]).all()


def test_labels_stay_non_negative_and_other_tensors_need_not(draw):
    parametrization = Parametrization((Rows("X"),), torch.tensor([0, 1]))
    tensors = {"X": torch.zeros(2, *SHAPE).double(), "y": torch.eye(2).double()}
    method = Quadratic(torch.full((2, *SHAPE), -1.0), torch.tensor([[-1.0, -1.0], [2.0, 0.5]]))
    state = initial_state(method, None, tensors)
    for _ in range(30):
        state, _ = update(method, None, state, parametrization, {"X": 0.1, "y": 0.1})
    y = state.tensors["y"]
    assert y[0].tolist() == [0, 0]
    assert (y[1] > 0).all()
    # Not normalized: what they sum to is learned as well.
    assert y[1].sum() > 2
    assert (state.tensors["X"] < -0.5).all()


def test_tensors_stay_within_limits(draw):
    # The second of two channels has other limits than the first; a further tensor has one.
    parametrization = Parametrization((Rows("X"),), torch.tensor([0, 1]))
    tensors = {"X": torch.zeros(2, *SHAPE).double(), EXTRA + "height": torch.ones(1).double()}

    class Falling(Quadratic):
        def gradient(self, problem, synthetic, state, step):
            extra = {"height": torch.ones(1).double()}
            return Gradient(LOSS, synthetic.X - self.X, extra=extra), state

    low, high = torch.tensor([[-0.5, -0.1], [0.3, 5.0]], dtype=torch.float64)[..., None, None]
    limits = {"X": (low, high), EXTRA + "height": (0.75, None)}
    target = torch.stack([torch.full(SHAPE, 2.0), torch.full(SHAPE, -2.0)]).double()
    method, rates = Falling(target, None), dict.fromkeys(tensors, 0.1)
    state = initial_state(method, None, tensors)
    for _ in range(20):
        state, _ = update(method, None, state, parametrization, rates, limits)
    X = state.tensors["X"]
    assert (X[0, 0] == 0.3).all()
    assert (X[1, 0] == -0.5).all()
    assert (X[1, 1] == -0.1).all()
    assert (X[0, 1] > 1).all()
    assert state.tensors[EXTRA + "height"].item() == 0.75


def test_a_rate_of_zero_keeps_every_bit(mixed, draw):
    parametrization, tensors = mixed
    tensors = {name: tensor.float() for name, tensor in tensors.items()}
    tensors["y"] = torch.eye(2).repeat(7, 1)[:13]
    parametrization = Parametrization(
        (
            Combinations("basis.0", "coefficients.0"),
            *parametrization.parts[1:3],
            Combinations("small", "coefficients.2", size=SHAPE[1:]),
        ),
        parametrization.y,
    )
    method = Quadratic(draw(13, *SHAPE).float(), draw(13, N_CLASSES).float())
    rates = dict.fromkeys(tensors, 0.1)
    rates["basis.0"] = 0.0
    rates["coefficients.0"] = torch.tensor([0.0, 0.0, 0.1, 0.1])[:, None]
    rates["y"] = torch.tensor([0.0] * 5 + [0.1] * 8)[:, None]
    state = initial_state(method, None, tensors)
    for _ in range(3):
        state, _ = update(method, None, state, parametrization, rates)
    new = state.tensors
    assert torch.equal(new["basis.0"], tensors["basis.0"])
    assert torch.equal(new["coefficients.0"][:2], tensors["coefficients.0"][:2])
    assert (new["coefficients.0"][2:] != tensors["coefficients.0"][2:]).all()
    assert torch.equal(new["y"][:5], tensors["y"][:5])
    assert (new["y"][5:] != tensors["y"][5:]).any(dim=1).all()


def test_plain_samples_move_as_by_adam_alone(draw):
    X = draw(4, *SHAPE)
    parametrization = Parametrization((Rows("X"),), torch.arange(4) % 2)

    class Fixed(Quadratic):
        def gradient(self, problem, synthetic, state, step):
            return Gradient(synthetic.X.sum(), self.X), state

    method = Fixed(draw(4, *SHAPE), None)
    first = initial_state(method, None, {"X": X})
    state, _ = update(method, None, first, parametrization, {"X": 0.1})
    adam = Adam(lr=0.1)
    expected = adam.step(adam.init(X), method.X, *adam.scalars(1))
    assert torch.equal(state.slots["X"], expected)


# --- Xavier -----------------------------------------------------------------------------------


def test_xavier_is_torchs():
    matrix = xavier_uniform(30, 50, torch.Generator().manual_seed(0))
    theirs = torch.nn.init.xavier_uniform_(torch.empty(30, 50).double())
    bound = np.sqrt(6 / 80)
    for values in (matrix, theirs):
        assert 0.98 * bound < abs(values).max() <= bound
        assert values.std().item() == pytest.approx(xavier_size(30, 50), rel=0.05)
        assert abs(values.mean()) < 0.02
