"""Samples that are learned value by value."""

from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor

from .._data.training import TrainingData
from .._engine.parametrization import Part, Rows
from ..distilled._dataset import DistilledDataset
from ._base import SampleParametrization

__all__ = ["Pixels", "resolve_parametrization"]


class Pixels(SampleParametrization):
    """Every value of every sample is learned: the object behind "pixels".

    Examples
    --------
    >>> from skdistill.parametrization import Pixels
    >>> Pixels()
    Pixels()
    """

    learns_samples = True

    def first_tensors(
        self,
        make_samples: Callable[[], Tensor],
        data: TrainingData,
        start: DistilledDataset | None,
        n_fresh: int,
        generator: torch.Generator,
    ) -> dict[str, Tensor]:
        """Return the samples."""
        return {"X": make_samples()}

    def parts(
        self, data: TrainingData, start: DistilledDataset | None, n_fresh: int
    ) -> tuple[Part, ...]:
        """Return a single part, all samples."""
        return (Rows("X"),)

    def rates(
        self,
        rate: float | None,
        data: TrainingData,
        start: DistilledDataset | None,
        factors: np.ndarray,
    ) -> dict[str, float | np.ndarray]:
        """Return a rate for each sample."""
        return {"X": (data.auto_rate if rate is None else rate) * factors}

    def restandardized(
        self,
        tensors: Mapping[str, Tensor],
        factor: Tensor,
        shift: Tensor,
    ) -> dict[str, Tensor]:
        """Return the samples in other standardized units."""
        return {"X": tensors["X"] * factor + shift}


def resolve_parametrization(parametrization: str | SampleParametrization) -> SampleParametrization:
    """Return the object that ``parametrization`` names, with its parameters checked."""
    resolved = Pixels() if isinstance(parametrization, str) else parametrization
    resolved.validate()
    return resolved
