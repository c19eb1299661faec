"""Shared fixtures: a small problem for the methods by regression."""

from functools import partial

import pytest
import torch


@pytest.fixture
def problem():
    """Return 20 real images of three classes, their weights, two synthetic ones per class."""
    draw = partial(torch.randn, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    X, X_syn, y_syn, weight = draw(20, 1, 8, 8), draw(6, 1, 8, 8), draw(6, 3), draw(20).abs()
    # Margins on both sides of 1 / n_classes.
    return X, torch.arange(20) % 3, weight, X_syn, 0.5 * y_syn
