"""Every parameter of every method takes part: with another value, losses are others."""

from dataclasses import fields
from functools import cache, partial
from inspect import get_annotations

import numpy as np
import pytest
import tools

from skdistill import all_distillers
from skdistill.distillers import BaseDistiller
from skdistill.sampling import KMeansSampler

METHODS = dict(all_distillers())
POOL = [{"pool_size": 3}, {"pool_max_age": 1}, {"pool_steps": 3}, {"pool_lr": 0.1}]
# By method: its usual parameters here, and changes of them. What is tried is the last parameter of
# a change; those before it are what it needs.
TRIED = {
    "DistributionMatchingDistiller": (
        {},
        [
            {"batch_size": 8}, {"class_weight": {0: 2.0}}, {"init": "kmeans"},
            {"learning_rate": 1.0, "outer_optimizer": "sgd"}, {"augmentation": "flip_rotate"},
        ],
    ),
    "FRePoDistiller": (
        {"max_iter": 6, "pool_size": 2, "pool_max_age": 3},
        [
            {"flips": True}, {"augmentation": "dsa"}, {"regularization": 1.0}, {"batch_size": 8},
            {"learning_rate": 0.1}, {"init": "kmeans"}, {"pool_batch_size": 1},
            {"learn_labels": False}, {"label_lr_scale": 3.0}, *POOL,
        ],
    ),
    "GradientMatchingDistiller": (
        {"batch_size": 16, "ipc": 2, "inner_loop": 1, "outer_loop": 9},
        [
            {"distance": "mse"}, {"distance": "l1"}, {"matched": "convolutions"}, {"outer_loop": 1},
            {"inner_loop": 2}, {"network_data": "real"}, {"network_batch_size": 2},
            {"network_lr": 0.5}, {"network_momentum": 0.9}, {"network_weight_decay": 1.0},
            {"batch_size": 8}, {"class_weight": {0: 2.0}}, {"init": "kmeans"},
            {"learning_rate": 0.1, "outer_optimizer": "sgd"}, {"augmentation": "dsa"},
            {"learn_labels": True},
        ],
    ),
    "KIPDistiller": (
        {},
        [
            {"kernel": "nngp"}, {"depth": 2}, {"depth": 0}, {"weight_std": 1.0}, {"bias_std": 1.0},
            {"regularization": 0.1}, {"batch_size": 8}, {"augmentation": "flip_rotate"},
            {"class_weight": {0: 2.0}}, {"init": "kmeans"}, {"learning_rate": 0.1},
            {"learn_labels": True}, {"learn_labels": True, "label_lr_scale": 3.0},
        ],
    ),
    "RCIGDistiller": (
        {
            "max_iter": 6, "inner_steps": 3, "inverse_steps": 3, "pool_size": 2, "pool_max_age": 30,
            "learning_rate": 0.1, "architecture": tools.tiny,
        },
        [
            {"flips": True}, {"augmentation": "dsa"}, {"regularization": 1.0},
            {"softplus_beta": None}, {"inner_steps": 5}, {"inner_lr": 0.1}, {"inverse_steps": 0},
            {"inverse_lr": 1e-9}, {"log_scale_lr": 0.5}, {"batch_size": 8}, {"init": "kmeans"},
            {"learn_labels": False}, {"label_lr_scale": 3.0}, *POOL,
        ],
    ),
    "RFADDistiller": (
        {"batch_size": 16},
        [
            {"loss": "mse"}, {"log_scale_lr": 0.5}, {"regularization": 1.0}, {"batch_size": 8},
            {"n_feature_networks": 3}, {"redraw_every": 2}, {"init": "kmeans"},
            {"augmentation": "dsa"}, {"learn_labels": True},
        ],
    ),
    "RaTBPTTDistiller": (
        {"ipc": 2, "max_iter": 4, "batch_size": 16, "architecture": tools.tiny},
        [
            {"window": 1}, {"unroll": 6}, {"schedule": "early"}, {"sampler": KMeansSampler()},
            {"inner_batch_size": 1}, {"classes_per_step": 1}, {"inner_optimizer": "sgd"},
            {"inner_optimizer": "sgd", "inner_momentum": 0.5}, {"inner_lr": 0.1},
            {"inner_weight_decay": 1.0}, {"inner_architecture": partial(tools.tiny, width=8)},
            {"learning_rate": 0.1, "outer_optimizer": "sgd"},
            {"learning_rate": 0.1, "outer_optimizer": "sgd", "outer_momentum": 0.9},
            {"clip_norm": 1e-3}, {"augmentation": "dsa"},
            {"augmentation": "dsa", "shared_augmentation": True},
        ],
    ),
    "TrajectoryMatchingDistiller": (
        {
            "ipc": 2, "max_iter": 4, "batch_size": 16, "architecture": tools.tiny, "n_experts": 2,
            "max_start": 2, "epoch_steps": None, "expert_lr": 0.01, "syn_steps": 3,
            "inner_lr": 0.01, "inner_lr_lr": 1e-4,
        },
        [
            {"batch_size": 8}, {"init": "kmeans"}, {"epoch_steps": 3}, {"expert_epochs": 1},
            {"max_start": 4}, {"min_start": 1}, {"first_max_start": 1},
            {"max_start": 4, "first_max_start": 1, "expansion_steps": 2}, {"expert_lr": 0.1},
            {"expert_rho": 0.5}, {"expert_rho": 0.5, "expert_alpha": 0.9}, {"expert_seed": 1},
            {"n_experts": 5}, {"syn_steps": 2}, {"inner_lr": 0.02}, {"inner_lr_lr": 0.1},
            {"inner_lr_lr": 0.1, "inner_lr_min": 0.01}, {"inner_batch_size": 1},
            {"classes_per_step": 1}, {"gradient": "first_order"},
            {"learning_rate": 1.0, "outer_optimizer": "sgd"}, {"augmentation": "dsa"},
            {"learn_labels": True}, {"learn_labels": True, "expert_labels": True},
        ],
    ),
}  # fmt: skip
# Parameters on which losses do not depend, but perhaps for rounding, and why.
NOT_TRIED = {
    "max_iter": "it says how many losses there are",
    "eval_steps": "only networks of the evaluation take them",
    "ema_decay": "losses are those of the values, and not of their average",
    "cache": "experts are the same wherever they are kept",
    "compile": "it says how to compute, and not what",
    "precision": "it says how to compute, and not what",
}


def losses(method, parameters):
    distiller = tools.quick(METHODS[method], **TRIED[method][0] | parameters)
    return distiller.fit(*tools.images()).history_["loss"]


@cache
def losses_before(method, *parameters):
    return losses(method, dict(parameters))


@pytest.mark.parametrize(
    ("method", "change"),
    [(method, change) for method, (_, changes) in TRIED.items() for change in changes],
    ids=tools.label,
)
def test_parameters_take_part(method, change):
    *needed, _ = change.items()
    before, after = losses_before(method, *needed), losses(method, change)
    assert not np.allclose(before, after, rtol=1e-6, atol=0)


@pytest.mark.parametrize("method", METHODS)
def test_every_parameter_is_tried(method):
    kind = METHODS[method]
    own = [get_annotations(c).keys() for c in kind.__mro__ if c not in BaseDistiller.__mro__]
    declared = {f.name for f in fields(kind)} & set().union(*own)
    assert declared - NOT_TRIED.keys() <= {[*change][-1] for change in TRIED[method][1]}
