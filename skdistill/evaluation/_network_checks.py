"""Checks, before any work, whether a user's network can be trained here.

It must be a pure function of its parameters and the batch, because a step and its derivative call
it twice and must get the same answer; it must be as differentiable as the work needs it; and it
must be a fresh one for every seed. Its layers tell some of that (`skdistill._engine.learner`); the
rest is tried on two samples, and on three.
"""

import numpy as np
import torch
from torch import Tensor, nn

from .._data.warn import warn
from .._engine.generators import watched
from .._engine.group import join_group
from .._engine.learner import Learner
from ..networks import Architecture, describe_architecture, network_factory
from ._plain_architecture import to_plain

__all__ = ["make_learner"]


def make_learner(
    architecture: str | Architecture,
    input_shape: tuple[int, ...],
    n_classes: int,
    device: torch.device,
    autocast: torch.dtype | None = None,
    check: bool = True,
    parameter: str = "architecture",
    derivatives: int = 0,
) -> Learner:
    """Return the networks of an architecture.

    Parameters
    ----------
    architecture, input_shape, n_classes
        As in `skdistill.networks.network_factory`.
    device, autocast
        As in `Learner`.
    check : bool, default=True
        Whether to try the networks of a user's callable. Those that come with the package have
        tests.
    parameter : str, default="architecture"
        The name of the estimator's parameter that holds the architecture, for messages.
    derivatives : {0, 1, 2}, default=0
        How often the scores are differentiated, the last time with respect to the samples. 0 is for
        networks that are only trained.

    Raises
    ------
    ValueError
        If the networks cannot be trained here.
    """
    factory = network_factory(architecture, input_shape, n_classes, parameter)
    learner = Learner(factory, device, autocast=autocast, twice=derivatives > 1)
    if check and to_plain(architecture) is None:
        name = f"{parameter}={describe_architecture(architecture)}"
        X = learner.probes(2, input_shape)
        scores = _check_scores(learner, X, n_classes, parameter, derivatives > 0)
        _check_derivatives(learner, X, scores, parameter, derivatives)
        first, second = learner.fresh(0), learner.fresh(1)
        _check_buffers(first, second, parameter)
        _check_is_registered(learner, second, learner.probes(3, input_shape), n_classes, parameter)
        if join_group().rank == 0:
            _check_initialization(learner, first, second, name)
            _check_is_no_softmax(scores.detach(), name)
    return learner


def _check_scores(
    learner: Learner, X: Tensor, n_classes: int, parameter: str, by_samples: bool
) -> Tensor:
    """Raise a ValueError unless the network maps a batch to scores, always to the same ones.

    They are returned with their graph, of which ``X`` is a leaf if it is ``by_samples``.
    """
    version = X._version
    with torch.no_grad():
        first, moved = _run(learner, X, parameter)
    _check_output(first, X, n_classes, parameter)
    # By torch's count of changes: one like clamping may leave these samples as they are.
    if X._version > version:
        raise ValueError(
            f"{parameter} must leave the batch as it is; the network built changed it in place. "
            "The samples of the next step would be others. Take x = x - ... instead of x -= ..., "
            "x.clamp() instead of x.clamp_(), and no inplace=True in the first layer."
        )
    second, moved_again = _run(learner, X.requires_grad_(by_samples), parameter)
    # A single change may have come from another thread of the caller.
    if moved & moved_again:
        whose = " and ".join(sorted(moved & moved_again))
        raise ValueError(
            f"{parameter} must not draw random numbers; the network built moved {whose} global "
            "random state when it was called in evaluation mode. Leave functional dropout and "
            "other noise out."
        )
    # Beyond rounding, which on a GPU may differ between two calls.
    if not torch.allclose(first, second.detach(), rtol=1e-3, atol=1e-5, equal_nan=True):
        raise ValueError(
            f"{parameter} must be a function of its parameters and the batch alone; the network "
            "built gave other scores when it saw the same batch again. It must draw no random "
            "numbers and remember nothing of earlier batches."
        )
    return second


def _run(learner: Learner, X: Tensor, parameter: str) -> tuple[Tensor, set[str]]:
    """Return the scores of a batch, and whose global random states changed (they are restored)."""
    with watched(X.device) as moved:
        try:
            scores = learner.module(X)
        except Exception as error:
            raise ValueError(
                f"{parameter} must accept batches of shape (n, {', '.join(map(str, X.shape[1:]))}"
                f"); the network built failed on one: {error}"
            ) from error
    return scores, moved


def _check_derivatives(
    learner: Learner, X: Tensor, scores: Tensor, parameter: str, derivatives: int
) -> None:
    """Raise a ValueError unless the scores can be differentiated as often as the work needs.

    ``derivatives`` is that of `make_learner`, and the scores have their graph.
    """
    leaves, times = [*learner.module.parameters()], "twice " if derivatives > 1 else ""
    if derivatives:
        leaves = [X, *leaves]
    # Any combination, but not their sum: that of log-probabilities or normalized scores is flat.
    total = (scores * torch.linspace(-1, 2, scores.numel()).to(scores).view_as(scores)).sum()
    if not total.requires_grad:
        raise ValueError(
            f"{parameter} must be {times}differentiable; nothing leads from the scores of the "
            "network built back to its parameters. Leave no_grad, detach and .data out of forward."
        )
    try:
        grads = torch.autograd.grad(total, leaves, create_graph=derivatives > 1, allow_unused=True)
        if derivatives and not _moves(grads[0]) and not _samples_move_scores(learner, X):
            raise ValueError(
                f"{parameter} must be differentiable with respect to the samples, or they cannot "
                "be distilled; the derivative of the network built is zero. Nothing in forward "
                "may cut it off: no detach or no_grad, no features by NumPy, no round or sign."
            )
        if derivatives > 1:
            slopes = [grad.sum() for grad in grads[1:] if grad is not None and grad.requires_grad]
            torch.autograd.grad(sum(slopes, total), leaves, allow_unused=True)
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        way_out = "Use operations of torch that can be."
        if "attention" in str(error):
            way_out = (
                "Attention can be if it is computed by matrix products: as "
                "torch.nn.MultiheadAttention is here, or with (Q @ K.mT / d**0.5).softmax(-1) @ V "
                "in place of scaled_dot_product_attention."
            )
        raise ValueError(
            f"{parameter} must be {times}differentiable; the network built is not "
            f"({error}). {way_out}"
        ) from error


def _samples_move_scores(learner: Learner, X: Tensor) -> bool:
    """Return whether the scores' derivative by the samples is anything but zero for some network.

    A fresh one may have a last layer of zeros or, if it is small, no unit that is active.
    """
    for seed in range(1, 4):
        samples = learner.probes(8, tuple(X.shape[1:]), seed).requires_grad_()
        scores = learner.logits(learner.near(learner.init(seed)), samples)
        weights = torch.linspace(-1, 2, scores.numel()).to(scores).view_as(scores)
        total = (scores * weights).sum()
        if total.requires_grad and _moves(
            torch.autograd.grad(total, samples, allow_unused=True)[0]
        ):
            return True
    return False


def _moves(grad: Tensor | None) -> bool:
    return grad is not None and bool((grad != 0).any())


def _check_output(scores: object, X: Tensor, n_classes: int, parameter: str) -> None:
    """Raise a ValueError unless the output is the scores of a batch ``X``."""
    if not isinstance(scores, Tensor):
        raise ValueError(
            f"{parameter} must build a network that returns one tensor, scores of shape (n, "
            f"{n_classes}); the one built returned {type(scores).__name__}."
        )
    if tuple(scores.shape) != (len(X), n_classes):
        raise ValueError(
            f"{parameter} must build a network with output of shape (n, {n_classes}); "
            f"for n={len(X)} the one built gave {tuple(scores.shape)}."
        )
    if scores.dtype != X.dtype:
        raise ValueError(
            f"{parameter} must build a network whose scores are {X.dtype} if its samples are; the "
            f"one built gave {scores.dtype}. Tensors that it makes on its way need "
            "dtype=X.dtype; else they have torch.get_default_dtype()."
        )


def _check_buffers(first: nn.Module, second: nn.Module, parameter: str) -> None:
    """Raise a ValueError if fresh networks differ in their buffers.

    All have those of the first. The two are as they were built: one that has seen a batch may have
    kept something for the next.
    """
    of_first, of_second = dict(first.named_buffers()), dict(second.named_buffers())
    for name in of_first.keys() | of_second.keys():
        one, other = (_dense(buffers.get(name)) for buffers in (of_first, of_second))
        if not np.array_equal(one, other, equal_nan=one.dtype.kind in "fc"):
            raise ValueError(
                f"{parameter} must build networks that differ in their parameters alone; buffer "
                f"{name!r} differs between two of them. Make it the same for every seed, or a "
                "parameter."
            )


def _dense(buffer: Tensor | None) -> np.ndarray:
    """Return a buffer as an array; without one, an empty one."""
    if buffer is None:
        return np.empty(0)
    buffer = buffer.detach()
    buffer = buffer if buffer.layout == torch.strided else buffer.to_dense()
    # NumPy knows no bfloat16.
    return (buffer.double() if buffer.is_floating_point() else buffer).numpy()


@torch.no_grad()
def _check_is_registered(
    learner: Learner, fresh: nn.Module, X: Tensor, n_classes: int, parameter: str
) -> None:
    """Raise a ValueError unless a fresh network is the first one with other parameters.

    For all networks are computed so. ``X`` has another number of samples than the first batch.
    """
    fresh = fresh.eval().to(device=learner.device, dtype=learner.dtype)
    named = dict(fresh.named_parameters())
    if [each.shape for each in named.values()] != learner.shapes:
        raise ValueError(
            f"{parameter} must build networks of the same parameters for every seed; those of two "
            "networks have other shapes, or are other ones."
        )
    # Not those it was built with, of which a last layer of zeros would hide what comes before it.
    parameters = learner.parameters(learner.near(learner.flat(fresh)))
    own = dict(zip(named, parameters.values()))
    try:
        scores = torch.func.functional_call(fresh, own, (X,))
    except Exception as error:
        raise ValueError(
            f"{parameter} must build a network that takes batches of any size; the one built took "
            f"two samples, and failed on {len(X)}: {error}"
        ) from error
    _check_output(scores, X, n_classes, parameter)
    expected = torch.func.functional_call(learner.module, parameters, (X,))
    if not torch.allclose(scores, expected, rtol=1e-3, atol=1e-5, equal_nan=True):
        raise ValueError(
            f"{parameter} must register all that differs between networks; two networks gave other "
            "scores with the same parameters. Keep layers in nn.ModuleList, not in a list, and "
            "tensors as nn.Parameter, not as plain attributes."
        )


def _check_is_no_softmax(scores: Tensor, name: str) -> None:
    """Warn if the scores of a batch are probabilities; ``name`` as in `_check_initialization`."""
    totals = scores.sum(dim=1)
    if (scores >= 0).all() and torch.allclose(totals, torch.ones_like(totals), atol=1e-4):
        warn(
            f"{name} builds networks that end in softmax. Cross-entropy applies one itself, and "
            "learns little from probabilities. Leave it out: scores may be any numbers.",
            UserWarning,
        )


def _check_initialization(learner: Learner, first: nn.Module, second: nn.Module, name: str) -> None:
    """Warn if networks do not depend on the seed, or on more than the seed.

    They are fresh ones of the seeds 0 and 1, and ``name`` is their name in messages:
    ``architecture=...``.
    """
    of_module = learner.flat(learner.module)  # of seed 0, too
    if torch.equal(of_module, learner.flat(second)):
        warn(
            f"{name} builds the same network each time, whatever the seed, so all fresh networks "
            "are the same: samples are made for one network, and the spread over networks says "
            "nothing. Every call must initialize its parameters anew, as "
            "torch's layers do, and not return or copy one network.",
            UserWarning,
        )
    elif not torch.equal(of_module, learner.flat(first)):
        warn(
            f"{name} builds two networks from one seed that differ, so that "
            "random_state does not determine the result. Every call must draw its parameters from "
            "torch's global generator, as torch's layers do, which is seeded for it.",
            UserWarning,
        )
