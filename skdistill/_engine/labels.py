"""Labels for regression: one-hot labels whose mean over the classes is 0."""

import torch
import torch.nn.functional as F
from torch import Tensor


def centered(one_hot: Tensor) -> Tensor:
    """Return one-hot labels ``(n, n_classes)`` minus ``1 / n_classes``."""
    return one_hot - 1 / one_hot.shape[1]


def centered_one_hot(y: Tensor, n_classes: int, dtype: torch.dtype) -> Tensor:
    """Return centered one-hot labels ``(n, n_classes)`` of class indices ``(n,)``."""
    return centered(F.one_hot(y, n_classes).to(dtype))
