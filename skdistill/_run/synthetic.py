"""The synthetic set of a run: its first values, its learning rates, its result."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from .._data.training import TrainingData
from .._engine.data import as_tensor
from .._engine.methods.base import Extra, Method
from .._engine.outer import Limits
from .._engine.parametrization import EXTRA, LABELS, Parametrization
from .._engine.rows import ClassRows
from ..distilled._blocks import Block
from ..distilled._dataset import DistilledDataset
from ..parametrization import SampleParametrization

__all__ = ["SyntheticSet"]


@dataclass(frozen=True, eq=False)
class SyntheticSet:
    """The samples of a run and, perhaps, their labels and further tensors of the method.

    Parameters
    ----------
    strategy : SampleParametrization
        How samples are made.
    label_lr_scale : float or None
        Factor of the learning rate of the labels; None if they are not learned.
    learning_rate : float or "auto"
    data : TrainingData
    rows : ClassRows
        Which rows belong to which class.
    start : DistilledDataset or None
        The set whose samples come first.
    factors : ndarray of shape (ipc,) or None
        Factors of the learning rates of the first sample of every class, of the second, and so on;
        None if all are 1.
    method : Method
        It says what learned labels start with, and how networks learn them.
    extra : mapping of str to Extra
        The method's further tensors, by name.
    """

    strategy: SampleParametrization
    label_lr_scale: float | None
    learning_rate: float | Literal["auto"]
    data: TrainingData
    rows: ClassRows
    start: DistilledDataset | None
    factors: np.ndarray | None
    method: Method
    extra: Mapping[str, Extra]

    @property
    def _n_fresh(self) -> int:
        """How many samples do not come from ``start``."""
        return len(self.rows) - (0 if self.start is None else len(self.start))

    @cached_property
    def parametrization(self) -> Parametrization:
        """Samples and labels as a function of the learned tensors."""
        y = self.rows.labels(self.data.device)
        parts = self.strategy.parts(self.data, self.start, self._n_fresh)
        return Parametrization(parts, y, self.data.mask)

    def first_tensors(
        self, make_samples: Callable[[], Tensor], generator: torch.Generator, dtype: torch.dtype
    ) -> dict[str, Tensor]:
        """Return the tensors of a new run; ``make_samples`` returns standardized samples."""
        tensors = self.strategy.first_tensors(
            make_samples, self.data, self.start, self._n_fresh, generator
        )
        if self.label_lr_scale is not None:
            tensors[LABELS] = self._first_labels()
        tensors |= {EXTRA + name: each.value for name, each in self.extra.items()}
        return {
            name: tensor.to(device=self.data.device, dtype=dtype)
            for name, tensor in tensors.items()
        }

    def _first_labels(self) -> Tensor:
        """Return the labels that a run starts with: soft ones of ``start``, then the method's."""
        one_hot = torch.eye(self.rows.n_classes, dtype=torch.float32).repeat(self.rows.ipc, 1)
        return self.with_given_labels(self.method.first_labels(one_hot))

    def with_given_labels(self, labels: Tensor) -> Tensor:
        """Return learned labels with the soft ones of ``start`` in their place."""
        labels = labels.clone()
        if self.start is not None and self.start.y.ndim == 2:
            labels[: len(self.start)] = as_tensor(self.start.y)
        return labels

    @property
    def label_loss(self) -> Literal["cross-entropy", "mse"]:
        """The loss by which networks learn the labels."""
        return "cross-entropy" if self.label_lr_scale is None else self.method.label_loss

    def rates(self, tensors: Mapping[str, Tensor]) -> dict[str, float | Tensor]:
        """Return the learning rate of each tensor, or one for each of its rows if they differ."""
        rates: dict[str, float | Tensor] = {
            EXTRA + name: each.learning_rate for name, each in self.extra.items()
        }
        for name, rate in self._rates(self.rows.spread(self._factors)).items():
            if isinstance(rate, float) or np.ptp(rate) == 0:
                rates[name] = float(np.max(rate))
            else:
                column = (-1, *[1] * (tensors[name].ndim - 1))
                rates[name] = torch.from_numpy(rate).to(tensors[name]).view(column)
        return rates

    @property
    def limits(self) -> dict[str, Limits]:
        """The least and greatest values of the tensors that are kept between such, by name."""
        limits: dict[str, Limits] = {
            EXTRA + name: (each.least, None)
            for name, each in self.extra.items()
            if each.least is not None
        }
        return limits | self.strategy.limits(self.data, self.start, self._n_fresh)

    @property
    def _factors(self) -> np.ndarray:
        return np.ones(self.rows.ipc) if self.factors is None else self.factors

    def extra_values(self, tensors: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
        """Return the method's further tensors as arrays, by name."""
        return {name: x.cpu().numpy() for name, x in self.extra_tensors(tensors).items()}

    def extra_tensors(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the method's further tensors, by name."""
        return {name: tensors[EXTRA + name] for name in self.extra}

    @property
    def learning_rate_used(self) -> float | dict[str, float]:
        """The learning rate as a number or, if tensors have their own, by their names."""
        rates = self._rates(np.ones(len(self.rows)))
        rates = {name: float(np.max(rate)) for name, rate in rates.items()}
        return rates["X"] if rates.keys() == {"X"} else rates

    def _rates(self, factors: np.ndarray) -> dict[str, float | np.ndarray]:
        """Return the learning rate of each tensor for these factors of the samples."""
        rate = None if self.learning_rate == "auto" else self.learning_rate
        rates = self.strategy.rates(rate, self.data, self.start, factors)
        if self.label_lr_scale is not None:
            base = self.data.auto_rate if rate is None else rate
            rates[LABELS] = self.label_lr_scale * base * factors
        return rates

    def result(
        self, tensors: Mapping[str, Tensor]
    ) -> tuple[np.ndarray, np.ndarray, tuple[Block, ...]]:
        """Return samples, in X's units and layout, labels, and the bases of the samples."""
        data, start = self.data, self.start
        X = data.to_raw(self.parametrization.samples(tensors))
        factors = self._factors
        if LABELS in tensors:
            y = tensors[LABELS].cpu().numpy().astype(data.dtype)
        else:
            y = data.classes[self.rows.labels().numpy()]
        if start is not None:
            # Rounding on the way in and out would move samples and labels that must not move.
            kept = np.flatnonzero(self.rows.spread(factors[: start.ipc] == 0))
            X[kept] = start.X[kept]
            if start.y.ndim == 2:
                y[kept] = start.y[kept]
        return X, y, self.strategy.blocks(tensors, data, start, self.rows.spread(factors))
