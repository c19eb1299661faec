"""The problem that a run poses to its method."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from .._data.class_weight import class_weights
from .._data.training import Checked, TrainingData, training_data
from .._engine.data import as_tensor
from .._engine.learner import Learner
from .._engine.methods.base import Problem
from .._engine.rows import ClassRows
from .._engine.runtime import chunk_size, resolve_device
from .._engine.streams import Streams
from ..augmentation import check_augmentation
from ..evaluation._network_checks import make_learner

__all__ = ["make_networks", "pose"]


def make_networks(
    parameters: Mapping[str, Any],
    data: Checked,
    needs_network: bool,
    autocast: torch.dtype | None,
    derivatives: int,
) -> Learner | None:
    """Return the networks to distill through, which have been tried, if the method has any.

    Parameters
    ----------
    parameters : mapping
        The parameters of the distiller.
    data : Checked
    needs_network : bool
        Whether the method has networks.
    autocast : torch.dtype or None
        As in `Learner`.
    derivatives : {1, 2}
        How often the method differentiates them, as in `make_learner`.
    """
    shape, n_classes = data.layout.network_shape, len(data.classes)
    device, name = resolve_device(parameters["device"]), "architecture"
    if parameters["inner_architecture"] is not None or not needs_network:
        # The networks of the evaluation must be valid, too, and have not been tried yet.
        make_learner(parameters["architecture"], shape, n_classes, device)
        name = "inner_architecture"
    if not needs_network:
        return None
    return make_learner(
        parameters[name],
        shape,
        n_classes,
        device,
        autocast,
        parameter=name,
        derivatives=derivatives,
    )


def pose(
    data: Checked,
    learner: Learner | None,
    rngs: Streams,
    provenance: dict,
    parameters: Mapping,
    weighs_terms: bool,
    feature_names: Sequence[str] | None,
) -> tuple[TrainingData, Problem]:
    """Return the training set on the device, and all that a method may know.

    Parameters
    ----------
    data : Checked
    learner : Learner or None
    rngs : Streams
    provenance : dict
        What identifies the data.
    parameters : mapping
        The parameters of the distiller.
    weighs_terms : bool
        Whether class weights multiply the classes' terms of a sum instead of sample weights.
    feature_names : sequence of str or None
        Names of a table's columns, for warnings.
    """
    device = resolve_device(parameters["device"])
    on_host = parameters["data_device"] == "host"
    try:
        real = training_data(*data, device, provenance, feature_names, on_host)
    except torch.OutOfMemoryError as error:
        if not on_host:
            error.add_note('The training set is kept on the host with data_device="host".')
        raise
    shape, chunk = data.layout.network_shape, None
    # Networks that depend on the whole batch, as with batch normalization, cannot take chunks.
    if learner is not None and not learner.couples_samples(shape):
        chunk = chunk_size(learner, shape)
    problem = Problem(
        real=real.real,
        rows=ClassRows(len(real.classes), parameters["ipc"]),
        shape=shape,
        device=device,
        rngs=rngs,
        learner=learner,
        augmentation=check_augmentation(parameters["augmentation"]),
        chunk=chunk,
        class_weight=_weigh_terms(parameters["class_weight"], real) if weighs_terms else None,
    )
    return real, problem


def _weigh_terms(
    class_weight: Mapping[Any, float] | str | None, real: TrainingData
) -> torch.Tensor | None:
    """Return the weights of the classes' terms; None if all are the same."""
    if not isinstance(class_weight, Mapping):
        return None
    weights = class_weights(class_weight, real.classes, y=None, sample_weight=None)
    assert weights is not None  # a mapping has some
    return as_tensor(weights).to(device=real.device, dtype=torch.float32)
