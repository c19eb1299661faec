"""Kernel ridge regression: against dense solves and finite differences, and singular kernels."""

import numpy as np
import pytest
import torch

from skdistill._engine import ridge


def gram(n=5, d=7, seed=0):
    """Return the Gram matrix of random samples, and labels."""
    generator = torch.Generator().manual_seed(seed)
    X = torch.randn(n, d, generator=generator, dtype=torch.float64)
    return X @ X.T, torch.randn(n, 3, generator=generator, dtype=torch.float64)


def test_coefficients_are_those_of_a_dense_solve():
    K, y = gram()
    found = ridge.fit(K, y, 1e-2)
    K, y = K.numpy(), y.numpy()
    expected = np.linalg.solve(K + 1e-2 * np.trace(K) / 5 * np.eye(5), y)
    np.testing.assert_allclose(found.coefficients, expected, rtol=1e-10)
    np.testing.assert_allclose(torch.from_numpy(K) @ found.coefficients, K @ expected, rtol=1e-10)
    assert found.n_raised == 0


def test_a_shift_of_its_own_is_added_as_it_is():
    K, y = gram()
    found = ridge.fit_shifted(K, y, 0.7).coefficients
    A = K + 0.7 * torch.eye(5, dtype=K.dtype)
    torch.testing.assert_close(A @ found, y, rtol=0, atol=1e-12)


def test_single_precision_is_solved_in_double():
    K, y = gram()
    found = ridge.fit(K.float(), y.float(), 1e-6).coefficients
    assert found.dtype == torch.float64
    torch.testing.assert_close(found, ridge.fit(K.float().double(), y.float(), 1e-6)[0])


@pytest.mark.parametrize("forward", [False, True])
def test_first_and_second_derivatives_are_finite_differences(forward):
    X = torch.randn(4, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    _, y = gram(4)
    shift = torch.tensor(0.1, dtype=torch.float64)

    def predicted(X, y, shift):
        # Symmetric whatever X is: the lower triangle alone is read.
        return (X[:2] + 1) @ X.T @ ridge.fit(X @ X.T, y, shift).coefficients

    inputs = [t.requires_grad_() for t in (X, y, shift)]
    assert torch.autograd.gradcheck(predicted, inputs, check_forward_ad=forward)
    assert torch.autograd.gradgradcheck(predicted, inputs)


def test_a_singular_kernel_is_shifted_by_little_and_counted():
    K, y = gram()
    rows = torch.tensor([0, 1, 1, 2, 2])  # duplicate samples
    K, y = K[rows][:, rows], y[rows]
    # Short of positive by a rounding error, as duplicates are on some machines.
    K = K - 1e-15 * K.diagonal().mean() * torch.eye(5)
    found = ridge.fit(K, y, 0.0)
    assert found.n_raised >= 1
    # Duplicates share what one of them would have.
    torch.testing.assert_close(K @ found.coefficients, y, rtol=0, atol=1e-3)
    assert ridge.fit(K, y, 1e-6).n_raised == 0


def test_a_singular_kernel_has_derivatives():
    x = torch.ones(3, 1, dtype=torch.float64, requires_grad=True)
    found = ridge.fit(x @ x.T - 1e-15 * torch.eye(3), torch.ones(3, 1), 0.0)
    assert found.n_raised >= 1
    assert torch.autograd.grad(found.coefficients.sum(), x)[0].isfinite().all()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 0.0])
def test_a_kernel_without_a_solution_gives_nan(value):
    K = torch.full((3, 3), value, requires_grad=True)
    found = ridge.fit(K, torch.ones(3, 2), 1e-6)
    assert found.coefficients.isnan().all()
    assert found.coefficients.shape == (3, 2)
    assert torch.autograd.grad(found.coefficients.sum(), K)[0].isnan().all()


def test_a_factored_kernel_serves_several_labels():
    K, y = gram()
    solver = ridge.factored(K, 0.7)
    for labels in (y, 2 * y - 1):
        torch.testing.assert_close(solver.solve(labels), ridge.fit_shifted(K, labels, 0.7)[0])
    assert solver.n_raised == 0
    assert ridge.factored(torch.zeros(3, 3), 0.0).solve(torch.ones(3, 1)).isnan().all()
