"""What a run has come to: a distilled data set with its provenance."""

import platform
from collections.abc import Mapping
from numbers import Integral, Real

import numpy as np
import sklearn
import torch

from .._engine.data import as_tensor
from .._version import __version__
from ..distilled._dataset import DistilledDataset, EvaluationRecipe
from .state import Run
from .synthetic import SyntheticSet

__all__ = ["to_dataset"]


def to_dataset(
    run: Run,
    synthetic: SyntheticSet,
    recipe: EvaluationRecipe,
    method: str,
    parameters: Mapping,
    **names,
) -> DistilledDataset:
    """Return the samples of a run: the best that were validated or, if none were, the last.

    Parameters
    ----------
    run : Run
    synthetic : SyntheticSet
    recipe : EvaluationRecipe
    method : str
        The distiller's class.
    parameters : mapping
        Its parameters, with numbers in the place of "auto".
    **names : dict
        What a `DistilledDataset` is told of the training data's names and dtypes.
    """
    real, tensors = synthetic.data, run.state.tensors
    if run.best is not None:
        tensors = {k: as_tensor(v).to(real.device) for k, v in run.best.tensors.items()}
    X, y, bases = synthetic.result(tensors)
    provenance = {
        "method": method,
        "parameters": {
            name: _json_safe(value)
            for name, value in parameters.items()
            # A path on this machine tells others nothing.
            if not name.startswith("checkpoint")
        },
        "seed": run.seed,
        "learning_rate": synthetic.learning_rate_used,
        "n_iter": run.step,
        "best_iter": None if run.best is None else run.best.step,
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
        recipe=recipe,
        provenance=provenance,
        bases=bases,
        **names,
    )


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
