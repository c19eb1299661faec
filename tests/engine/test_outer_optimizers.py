"""What moves the synthetic samples, beside Adam, which the outer step is tested with."""

import pytest
import torch

from skdistill._engine.outer_optimizers import MovingAverageClip, NormClip, OuterSGD


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
