"""Checks, before any work, whether a user's augmentation can be replayed.

It must draw its numbers from the generator that it is given, and be a function of samples and
numbers that changes neither: a step's adjoint applies it a second time, and the samples are those
that are learned. It is tried on two samples.
"""

from typing import Protocol

import torch
from torch import Tensor

from .generators import watched
from .settings import own_settings

_CONTRACT = (
    "It must have n_parameters, _draw(generator, n, shape), _apply(X, *numbers) (or, as Rotation "
    "and others that it may derive from, _matrix(*numbers)) and, within OneOf, _identity(shape)."
)


class _Augmentation(Protocol):
    n_parameters: int

    def draw(self, generator: torch.Generator, n: int, shape: tuple[int, ...]) -> Tensor: ...

    def apply(self, X: Tensor, parameters: Tensor) -> Tensor: ...


@own_settings()
def check_is_pure(augmentation: _Augmentation, shape: tuple[int, ...]) -> None:
    """Raise a ValueError unless an augmentation of samples of this shape can be replayed."""
    name = f"augmentation {type(augmentation).__name__}"
    generator = torch.Generator().manual_seed(0)
    X = torch.randn(2, *shape, generator=generator, dtype=torch.float32, device="cpu")
    draws, changed, moved = _try(augmentation, X, name)
    again, changed_again, moved_again = _try(augmentation, X.clone().requires_grad_(), name)
    if moved & moved_again or not torch.equal(draws, again):
        raise ValueError(
            f"{name} must draw its random numbers in _draw, all from the generator that it is "
            "given: torch.rand(1, n, generator=generator). It took others, such as those of a "
            "global generator, so that no run could be repeated."
        )
    if not torch.allclose(changed, changed_again.detach(), rtol=1e-4, atol=1e-5, equal_nan=True):
        raise ValueError(
            f"{name} must be a function of the samples and of the numbers of _draw; given both "
            "again it returned something else. It must draw nothing in _apply, and remember "
            "nothing."
        )
    with torch.no_grad():
        alone = augmentation.apply(X[1:].clone(), draws[:, 1:].clone())
    if not torch.allclose(changed[1:], alone, rtol=1e-3, atol=1e-4, equal_nan=True):
        raise ValueError(
            f"{name} must mix no samples; one came out otherwise beside another than alone. "
            "A batch may be taken in chunks, and with those of other networks."
        )
    if not changed_again.requires_grad:
        raise ValueError(
            f"{name} must be differentiable; nothing leads from its result back to the samples. "
            "Leave no_grad, detach and NumPy out of it."
        )


def _try(augmentation: _Augmentation, X: Tensor, name: str) -> tuple[Tensor, Tensor, set[str]]:
    """Return the numbers of one draw, what they make of ``X``, and whose global states changed."""
    shape, generator = tuple(X.shape[1:]), torch.Generator().manual_seed(1)
    with watched(X.device) as moved:
        try:
            n_parameters = augmentation.n_parameters
            draws = augmentation.draw(generator, len(X), shape)
            if not isinstance(draws, Tensor) or draws.shape != (n_parameters, len(X)):
                raise ValueError(
                    f"_draw must return a tensor of shape (n_parameters, n), here "
                    f"({n_parameters}, {len(X)}), not {getattr(draws, 'shape', draws)}"
                )
            versions = X._version, draws._version
            changed = augmentation.apply(X, draws)
        except Exception as error:
            raise ValueError(
                f"{name} failed on two samples of shape {shape}: {error}. {_CONTRACT}"
            ) from error
    # By torch's count of changes: one like clamping may leave these samples as they are.
    if (X._version, draws._version) != versions:
        raise ValueError(
            f"{name} must leave the samples and the numbers as they are; it changed them in "
            "place. What is learned would change with every step. Take X + ... instead of "
            "X += ... or X.add_(...)."
        )
    if not isinstance(changed, Tensor) or (changed.shape, changed.dtype) != (X.shape, X.dtype):
        got = (
            f"{tuple(changed.shape)}, {changed.dtype}"
            if isinstance(changed, Tensor)
            else type(changed).__name__
        )
        raise ValueError(
            f"{name} must return samples of the shape and dtype that they had, {tuple(X.shape)} "
            f"and {X.dtype} here; it returned {got}."
        )
    return draws, changed, moved
