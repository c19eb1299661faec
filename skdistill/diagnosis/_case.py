"""What the checks look at before any network is trained."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..distilled._dataset import DistilledDataset
from ..distilled._known import mapping

__all__ = ["Case", "runs_of"]


def runs_of(distilled: DistilledDataset) -> list[Mapping[str, Any]]:
    """Return what a set records of the run that made it; of a boosted set, of each block's.

    It may come from anybody's file: its values are not checked.
    """
    provenance = mapping(distilled.provenance)
    blocks = provenance.get("blocks")
    if isinstance(blocks, list | tuple) and blocks:
        return list(map(mapping, blocks))
    return [provenance]


@dataclass(frozen=True, eq=False)
class Case:
    """A distilled set, the run that made it, and test data.

    Parameters
    ----------
    distilled : DistilledDataset
    history : mapping of str to list or None
        The ``history_`` of the distiller; None for a set alone.
    advice : str
        What the distiller says to change if a run does not go well.
    given : array-like
        The test samples as the caller has them.
    X : ndarray of shape (n, ...)
        The test samples after the preprocessing that the set keeps.
    labels : ndarray of shape (n,)
        The test labels.
    y : ndarray of int, of shape (n,)
        Their class indices, -1 for a label that is no class of the set.
    """

    distilled: DistilledDataset
    history: Mapping[str, Sequence[Any]] | None
    advice: str
    given: Any
    X: np.ndarray
    labels: np.ndarray
    y: np.ndarray

    @property
    def runs(self) -> list[Mapping[str, Any]]:
        """What the set records of the run that made it, see `runs_of`."""
        return runs_of(self.distilled)

    @property
    def parameters(self) -> Mapping[str, Any]:
        """The parameters of the last of the `runs`, with numbers instead of "auto"."""
        return mapping(self.runs[-1].get("parameters"))

    @property
    def method(self) -> Any:
        """The class of the distiller of the last of the `runs`; None if it is not known."""
        return self.runs[-1].get("method")
