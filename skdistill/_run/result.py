"""The result of a run: a distilled data set with its provenance."""

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from numbers import Integral, Real
from typing import Any, Literal

import numpy as np
import sklearn
import torch
from torch import Tensor

from .._data.frames import Origin
from .._data.training import TrainingData
from .._engine.data import as_tensor
from .._version import __version__
from ..distilled._dataset import DistilledDataset
from ..distilled._recipe import EvaluationRecipe
from ..evaluation import _plain_architecture, _plain_augmentation
from ..networks import resolve_architecture
from .state import Run
from .synthetic import SyntheticSet

__all__ = ["Result", "result_of", "to_dataset"]


@dataclass(frozen=True, eq=False)
class Result:
    """What a run has learned: the best that was validated or, if nothing was, the last.

    If what is learned is averaged, both are averages.

    Parameters
    ----------
    tensors : mapping of str to Tensor
        The learned tensors, on the device.
    best_iter : int or None
        The outer step after which they were so, if they are the best that were validated.
    """

    tensors: Mapping[str, Tensor]
    best_iter: int | None


def result_of(run: Run, parameters: Mapping, device: torch.device) -> Result:
    """Return the result so far of a run of a distiller with these parameters."""
    best = None if parameters["validation_fraction"] is None else run.best_or_last
    if best is None:
        return Result(run.state.result, None)
    return Result({k: as_tensor(v).to(device) for k, v in best.tensors.items()}, best.step)


def to_dataset(
    run: Run,
    result: Result,
    synthetic: SyntheticSet,
    method: str,
    parameters: Mapping,
    origin: Origin,
    feature_names: Sequence[str] | None,
) -> DistilledDataset:
    """Return the samples of a run as a set.

    Parameters
    ----------
    run : Run
    result : Result
        What it has learned.
    synthetic : SyntheticSet
    method : str
        The distiller's class.
    parameters : mapping
        Its parameters, with numbers instead of "auto".
    origin : Origin
        What the training data was before it became arrays.
    feature_names : sequence of str or None
        Names of a table's columns.
    """
    real, tensors = synthetic.data, result.tensors
    X, y, bases = synthetic.result(tensors)
    provenance = {
        "method": method,
        "parameters": {
            name: _json_safe(value)
            for name, value in parameters.items()
            # A path on this machine means nothing to others.
            if not name.startswith(("cache", "checkpoint"))
        },
        "seed": run.seed,
        "learning_rate": synthetic.learning_rate_used,
        "n_iter": run.step,
        "best_iter": result.best_iter,
        "n_skipped": run.step - run.state.n_updates,
        "seconds": run.seconds,
        "device": str(real.device),
        "training_data": real.provenance,
        "versions": {
            "skdistill": __version__,
            "torch": str(torch.__version__),
            "scikit-learn": sklearn.__version__,
            "numpy": np.__version__,
            "python": platform.python_version(),
        },
    }
    return DistilledDataset(
        X=X,
        y=y,
        classes=real.classes,
        ipc=synthetic.rows.ipc,
        recipe=_recipe(
            real,
            parameters,
            run.seed,
            synthetic.label_loss,
            synthetic.method.protocol(synthetic.extra_tensors(tensors)),
        ),
        provenance=provenance,
        bases=bases,
        feature_names=None if feature_names is None else tuple(feature_names),
        target_name=origin.target_name,
        original_dtypes=None if real.layout.is_image else origin.dtypes,
    )


def _recipe(
    real: TrainingData,
    parameters: Mapping,
    seed: int,
    loss: Literal["cross-entropy", "mse"],
    changes: Mapping[str, Any],
) -> EvaluationRecipe:
    """Return how networks are to be trained on the samples.

    ``changes`` are those of the method, see `Method.protocol`.
    """
    architecture = resolve_architecture(parameters["architecture"], real.layout.network_shape)
    usual = EvaluationRecipe(
        layout=real.layout,
        mean=tuple(real.mean.tolist()),
        scale=tuple(real.scale.tolist()),
        architecture=_plain_architecture.to_plain(architecture),
        steps=int(parameters["eval_steps"]),
        n_networks=int(parameters["n_networks"]),
        seed=seed,
        augmentation=_plain_augmentation.to_plain(parameters["augmentation"]),
        loss=loss,
        # Soft labels are learned centered; the hard ones of real samples beside them are made so.
        targets="centered" if loss == "mse" else "given",
    )
    return replace(usual, **changes)


def _json_safe(value):
    """Return a parameter's value, or words for it that JSON can hold."""
    if isinstance(value, str | bool | type(None)):
        return value
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real):
        return float(value)
    if isinstance(value, list | tuple):
        return [_json_safe(v) for v in value]
    if isinstance(value, Mapping):
        return {str(k): _json_safe(v) for k, v in value.items()}
    return getattr(value, "__qualname__", None) or repr(value)
