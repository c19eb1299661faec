"""The input of a fit, checked before any work."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from .._data.frames import Origin
from .._data.training import Checked
from .._engine.group import Group
from .._engine.learner import Learner
from ..distilled._dataset import DistilledDataset
from .state import Run

__all__ = ["Given"]


@dataclass(frozen=True, eq=False)
class Given:
    """The input of a fit, checked before any work.

    Parameters
    ----------
    data : Checked
    origin : Origin
        The form of X and y before they became arrays.
    feature_names : sequence of str or None
        Names of a table's columns.
    start : DistilledDataset or None
        The set whose samples come first.
    factors : ndarray of shape (ipc,) or None
        Factors of the learning rates.
    earlier : Run or None
        The run of an earlier fit, to be continued.
    learner : Learner or None
        The networks, which have already been tried; None if the method has none.
    provenance : dict
        What identifies the data.
    group : Group
        The processes of the run.
    split_seed : int or None
        Decides which samples are held out; None is the seed of the run.
    """

    data: Checked
    origin: Origin
    feature_names: Sequence[str] | None
    start: DistilledDataset | None
    factors: np.ndarray | None
    earlier: Run | None
    learner: Learner | None
    provenance: dict
    group: Group
    split_seed: int | None

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the learned tensors, which is that of the networks."""
        return torch.float32 if self.learner is None else self.learner.dtype
