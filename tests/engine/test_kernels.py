"""Kernels of wide networks: against scalar arithmetic, finite networks and finite differences."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch

from skdistill._engine.kernels import FullyConnected, blocks

KERNELS = [
    FullyConnected(kind=kind, depth=depth, W_std=W_std, b_std=b_std)
    for kind in ("ntk", "nngp")
    for depth, W_std, b_std in [(0, 1.0, 0.5), (1, math.sqrt(2), 0.1), (3, 1.2, 0.0)]
]
NAMES = [f"{kernel.kind}-{kernel.depth}" for kernel in KERNELS]


def samples(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def slow(kernel, x, z):
    """Return the kernel of two samples, by the recursions written out for numbers."""
    w, b = kernel.W_std**2, kernel.b_std**2

    def dense(value):
        return w * value + b

    xz, xx, zz = (
        dense(sum(p * q for p, q in zip(u, v)) / len(x)) for u, v in ((x, z), (x, x), (z, z))
    )
    tangent = xz
    for _ in range(kernel.depth):
        angle = math.acos(max(-1.0, min(1.0, xz / math.sqrt(xx * zz))))
        active = (math.pi - angle) / (2 * math.pi)
        xz_active = math.sqrt(xx * zz) / (2 * math.pi) * math.sin(angle) + active * xz
        xz, xx, zz = dense(xz_active), dense(xx / 2), dense(zz / 2)
        tangent = w * active * tangent + xz
    return tangent if kernel.kind == "ntk" else xz


@pytest.mark.parametrize("kernel", KERNELS, ids=NAMES)
def test_kernels_are_those_of_scalar_arithmetic(kernel):
    X, Z = samples(3, 2, 2), samples(4, 2, 2, seed=1)
    Z[0] = X[1]
    expected = [[slow(kernel, x, z) for z in Z.flatten(1).tolist()] for x in X.flatten(1).tolist()]
    torch.testing.assert_close(kernel(X, Z), torch.tensor(expected).double(), rtol=1e-6, atol=0)
    apart = kernel(X, Z[1:]).numpy()
    np.testing.assert_allclose(apart, np.array(expected)[:, 1:], rtol=1e-12)


@pytest.mark.parametrize(("depth", "width"), [(1, 40_000), (2, 1500)])
def test_kernels_are_those_of_a_wide_network(depth, width):
    X = samples(3, 4)
    kernel = FullyConnected(depth, W_std=1.3, b_std=0.4)
    sizes = [4, *[width] * depth, 1]
    generator = torch.Generator().manual_seed(2)
    tangent, outputs, n_draws = 0, 0, 4
    for _ in range(n_draws):
        layers = []
        for n_in, n_out in pairwise(sizes):
            W = torch.randn(n_in, n_out, generator=generator)
            layers.append(
                (W.requires_grad_(), torch.randn(n_out, generator=generator).requires_grad_())
            )
        h = X.float()
        for k, (W, b) in enumerate(layers):
            h = h.relu() if k else h
            last = h
            h = 1.3 / math.sqrt(len(W)) * h @ W + 0.4 * b
        tensors = [t for layer in layers for t in layer]
        grads = [torch.autograd.grad(out, tensors, retain_graph=True) for out in h[:, 0]]
        J = torch.stack([torch.cat([g.flatten() for g in row]) for row in grads])
        tangent += J @ J.T / n_draws
        last = last.detach()
        outputs += (1.3**2 / width * last @ last.T + 0.4**2) / n_draws
    torch.testing.assert_close(tangent.double(), kernel(X), rtol=0.05, atol=0.02)
    nngp = FullyConnected(depth, 1.3, 0.4, "nngp")(X)
    torch.testing.assert_close(outputs.double(), nngp, rtol=0.05, atol=0.02)


@pytest.mark.parametrize("kernel", KERNELS, ids=NAMES)
def test_first_and_second_derivatives_are_finite_differences(kernel):
    X, Z = samples(3, 4).requires_grad_(), samples(2, 4, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(kernel, (X, Z))
    assert torch.autograd.gradcheck(kernel, X)  # with the diagonal
    assert torch.autograd.gradgradcheck(kernel, (X, Z))


@pytest.mark.parametrize("kernel", KERNELS, ids=NAMES)
def test_equal_and_opposite_samples_and_zeros_have_finite_derivatives(kernel):
    x = samples(1, 5)
    X = torch.cat([x, x, -x, 0 * x, 1e-9 * x]).requires_grad_()
    K = kernel(X)
    (grad,) = torch.autograd.grad((K * samples(5, 5)).sum(), X)
    assert K.isfinite().all()
    assert grad.isfinite().all()
    torch.testing.assert_close(K[0, 1], K[0, 0], rtol=1e-12, atol=0)
    assert torch.linalg.eigvalsh(K.detach()).min() > -1e-9


def test_the_derivative_at_equal_samples_is_the_mean_of_both_sides():
    kernel, x, v = FullyConnected(), samples(1, 5), 1e-4 * samples(1, 5, seed=1)
    z = x.clone().requires_grad_()
    (grad,) = torch.autograd.grad(kernel(x, z).sum(), z)
    # Exactly on both sides there is a kink.
    ahead, behind, here = (kernel(x, x + s * v).item() for s in (1, -1, 0))
    assert ahead + behind - 2 * here < -1e-5
    assert (grad * v).sum().item() == pytest.approx((ahead - behind) / 2, rel=1e-3)


def test_single_precision_is_computed_in_double():
    X = samples(3, 4).float()
    torch.testing.assert_close(FullyConnected()(X), FullyConnected()(X.double()), rtol=0, atol=0)


def test_blocks_are_all_rows_once():
    parts = list(blocks(1000, 200, torch.device("cpu")))
    assert len(parts) > 1
    assert [i for part in parts for i in range(part.start, part.stop)] == list(range(1000))
    assert {part.stop - part.start for part in blocks(512, 10**9, torch.device("cpu"))} == {256}
