"""What moves the synthetic samples, beside Adam, which the outer step is tested with."""

import math

import numpy as np
import pytest
import torch

from skdistill._engine.outer_optimizers import (
    MovingAverageClip,
    NormClip,
    OuterAdaBelief,
    OuterLAMB,
    OuterSGD,
    RobustClip,
)


def lamb(values, grads, rates, decay):
    """Return the values after LAMB's steps, by its formula, number by number."""
    theta, m, v = (
        [[float(a) for a in row] for row in part] for part in (values, 0 * values, 0 * values)
    )
    cells = [(i, j) for i in range(len(theta)) for j in range(len(theta[0]))]
    for t, grad in enumerate(grads, 1):
        change = {}
        for i, j in cells:
            g = float(grad[i, j])
            m[i][j] = 0.9 * m[i][j] + 0.1 * g
            v[i][j] = 0.999 * v[i][j] + 0.001 * g * g
            root = math.sqrt(v[i][j] / (1 - 0.999**t))
            change[i, j] = m[i][j] / (1 - 0.9**t) / (root + 1e-6) + decay * theta[i][j]
        size = math.sqrt(sum(theta[i][j] ** 2 for i, j in cells))
        length = math.sqrt(sum(c**2 for c in change.values()))
        ratio = size / length if size and length else 1.0
        for i, j in cells:
            theta[i][j] -= rates[i] * ratio * change[i, j]
    return np.array(theta)


def adabelief(values, grads, rates):
    """Return the values after AdaBelief's steps, by its formula, number by number."""
    theta = values.astype(float)
    for i, j in np.ndindex(*theta.shape):
        m = s = 0.0
        for t, grad in enumerate(grads, 1):
            g = float(grad[i, j])
            s = 0.999 * s + 0.001 * (g - m) ** 2 + 1e-16
            m = 0.9 * m + 0.1 * g
            root = math.sqrt(s / (1 - 0.999**t))
            theta[i, j] -= rates[i] * m / (1 - 0.9**t) / (root + 1e-16)
    return theta


REFERENCES = {
    "LAMB": (OuterLAMB(), lambda *args: lamb(*args, decay=0.0)),
    "LAMB with decay": (OuterLAMB(weight_decay=0.3), lambda *args: lamb(*args, decay=0.3)),
    "AdaBelief": (OuterAdaBelief(), adabelief),
}


def steps(optimizer, start, grads, rates):
    """Return the state after a step for each gradient, at a rate for each row."""
    slots = optimizer.init(torch.as_tensor(start))
    column = torch.tensor(rates, dtype=slots.dtype)[:, None]
    for t, grad in enumerate(grads, 1):
        slots = optimizer.step(slots, torch.as_tensor(grad), column, t)
    return slots


@pytest.mark.parametrize("start", ["any", "zero"])
@pytest.mark.parametrize("name", REFERENCES)
def test_steps_are_those_of_the_formula_at_a_rate_for_each_sample(name, start):
    optimizer, reference = REFERENCES[name]
    rng = np.random.default_rng(0)
    values, rates = rng.normal(size=(3, 2)) * (start == "any"), [0.0, 0.1, 0.3]
    # The third gradient of 0 leaves a change of the moments alone.
    grads = [scale * rng.normal(size=(3, 2)) for scale in (1.0, 10.0, 0.0, 0.1)]
    slots = steps(optimizer, values, grads, rates)
    assert slots.shape == (3, 3, 2)
    np.testing.assert_allclose(slots[0], reference(values, grads, rates), rtol=1e-12, atol=0)
    # A sample that is held back keeps every bit.
    assert slots[0, 0].tolist() == values[0].tolist()
    # Checkpoints refuse second moments below 0.
    assert (slots[2] >= 0).all()


@pytest.mark.parametrize("name", REFERENCES)
def test_gradients_of_zero_from_the_beginning_move_nothing(name):
    optimizer, _ = REFERENCES[name]
    start = np.zeros((2, 2)) if name == "LAMB with decay" else np.ones((2, 2))
    slots = steps(optimizer, start, 2 * [np.zeros((2, 2))], [0.1, 0.1])
    assert slots[0].tolist() == start.tolist()


def test_steps_of_lamb_have_the_length_of_the_values():
    rng = np.random.default_rng(0)
    start, grad = rng.normal(size=(2, 3, 2))
    moved = steps(OuterLAMB(), start, [grad], 3 * [0.1])[0].numpy()
    assert np.linalg.norm(moved - start) == pytest.approx(0.1 * np.linalg.norm(start), rel=1e-12)


def test_values_whose_scale_makes_no_difference_do_not_grow_exponentially_under_lamb():
    # The loss depends on the directions of the samples alone, as with instance normalization.
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(10, 64, generator=generator)
    slots, norms = OuterLAMB().init(start), []
    for t in range(1, 3001):
        values = slots[0].requires_grad_()
        target = torch.randn(10, 64, generator=generator)
        loss = -torch.cosine_similarity(values, target).sum()
        (grad,) = torch.autograd.grad(loss, values)
        slots = OuterLAMB().step(slots.detach(), grad, 0.03, t)
        norms.append(float(slots[0].norm()))
    # Up to the bound they do, and would have grown by thousands in each thousand steps.
    assert norms[999] > 10 * norms[0]
    assert norms[2999] < 3 * norms[999]


@pytest.mark.parametrize("momentum", [0.0, 0.5])
def test_gradient_descent_is_torchs_at_a_rate_for_each_sample(momentum):
    generator = torch.Generator().manual_seed(0)
    start, *grads = torch.randn(5, 3, 2, dtype=torch.float64, generator=generator)
    rates = [0.0, 0.1, 0.3]
    theirs = [row.clone().requires_grad_() for row in start]
    sgd = torch.optim.SGD(
        [{"params": [row], "lr": rate} for row, rate in zip(theirs, rates)], momentum=momentum
    )
    optimizer = OuterSGD(momentum)
    slots = optimizer.init(start)
    for t, grad in enumerate(grads, 1):
        for row, own in zip(theirs, grad):
            row.grad = own.clone()
        sgd.step()
        slots = optimizer.step(slots, grad, torch.tensor(rates).double()[:, None], t)
    torch.testing.assert_close(slots[0], torch.stack(theirs).detach())
    # A sample that is held back keeps every bit.
    assert torch.equal(slots[0, 0], start[0])


def test_clipping_at_a_norm_or_at_a_multiple_of_its_average():
    assert NormClip(3.0).level(10.0, None) == (10.0, 3.0)
    assert MovingAverageClip().level(10.0, None) == (10.0, 20.0)
    assert MovingAverageClip().level(20.0, 10.0) == (11.0, 22.0)
    assert RobustClip().level(10.0, None) == (10.0, 20.0)
    assert RobustClip().level(15.0, 10.0) == pytest.approx((10.5, 20.0))
    # Whatever the norm, it is clipped as if it had not been, and raises later levels by a tenth.
    assert RobustClip().level(1e6, 10.0) == pytest.approx((11.0, 20.0))
    # Gradients of 0 do not hold back those that come.
    assert RobustClip().level(5.0, 0.0) == (5.0, 10.0)
