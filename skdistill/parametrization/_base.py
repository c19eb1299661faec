"""What a parametrization says to a run."""

from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor

from .._data.layout import Layout
from .._data.strategy import Strategy
from .._data.training import TrainingData
from .._engine.parametrization import Part
from ..distilled._blocks import Block
from ..distilled._dataset import DistilledDataset

__all__ = ["SampleParametrization"]


class SampleParametrization(Strategy):
    """Base class of the parametrizations.

    A parametrization defines named tensors, their initial values, their learning rates, and the
    part of the samples that they make.
    """

    # Whether its tensors are the samples themselves.
    learns_samples = False

    def check(self, init: object, ipc: int, start: DistilledDataset | None = None) -> None:
        """Raise ValueError if it cannot make these samples.

        Parameters
        ----------
        init : str or DistilledDataset
            The distiller's ``init``.
        ipc : int
            Samples per class in all.
        start : DistilledDataset or None, default=None
            The set whose samples come first.
        """

    def check_layout(self, layout: Layout) -> None:
        """Raise ValueError if it cannot make samples of this layout."""

    def first_tensors(
        self,
        make_samples: Callable[[], Tensor],
        data: TrainingData,
        start: DistilledDataset | None,
        n_fresh: int,
        generator: torch.Generator,
    ) -> dict[str, Tensor]:
        """Return the tensors of a new run, on the CPU.

        Parameters
        ----------
        make_samples : callable
            Returns the standardized samples of the distiller's ``init``, those of ``start`` first.
        data : TrainingData
        start : DistilledDataset or None
            The set whose samples come first.
        n_fresh : int
            Samples that come after these, of all classes together.
        generator : torch.Generator
            The samples of ``init`` may be noise of the same numbers.
        """
        raise NotImplementedError

    def parts(
        self, data: TrainingData, start: DistilledDataset | None, n_fresh: int
    ) -> tuple[Part, ...]:
        """Return the functions that make samples of the tensors."""
        raise NotImplementedError

    def rates(
        self,
        rate: float | None,
        data: TrainingData,
        start: DistilledDataset | None,
        factors: np.ndarray,
    ) -> dict[str, float | np.ndarray]:
        """Return each tensor's learning rate: a number, or an array with one for each row.

        Parameters
        ----------
        rate : float or None
            None means ``learning_rate="auto"``.
        data, start
            As in `first_tensors`.
        factors : ndarray of shape (n,)
            Factor of each sample's rate.
        """
        raise NotImplementedError

    def limits(
        self, data: TrainingData, start: DistilledDataset | None, n_fresh: int
    ) -> dict[str, tuple[Tensor, Tensor]]:
        """Return the least and greatest values of tensors that are kept between such."""
        return {}

    def restandardized(
        self,
        tensors: Mapping[str, Tensor],
        factor: Tensor,
        shift: Tensor,
    ) -> dict[str, Tensor]:
        """Return tensors whose samples are those of these, in other standardized units.

        A run that goes on with data of another mean or deviation keeps its samples in the units of
        the data by that. Here it is refused: samples that are made of parts, such as those of bases
        relative to the mean, need not be possible in other units.

        Parameters
        ----------
        tensors : mapping of str to Tensor
        factor, shift : Tensor
            What samples are to be multiplied by, and what is then added; they broadcast over
            samples.

        Raises
        ------
        ValueError
            If it cannot.
        """
        raise ValueError(
            "X, weights and what is held out must give the mean and the deviation of the earlier "
            f"fit, which warm_start=True continues, with parametrization={self!r}, whose samples "
            "would not stay as they are. Use warm_start=False and init=distiller.distilled_ "
            "to begin a new run with them."
        )

    def blocks(
        self,
        tensors: Mapping[str, Tensor],
        data: TrainingData,
        start: DistilledDataset | None,
        factors: np.ndarray,
    ) -> tuple[Block, ...]:
        """Return what a distilled set keeps beside its samples: nothing, if those are learned."""
        return ()
