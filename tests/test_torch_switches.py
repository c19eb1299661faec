"""Torch's global switches belong to the caller, and change no result."""

import threading
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from tools import quick, smallest

from skdistill import (
    BoostedDistiller,
    DistilledClassifier,
    DistributionMatchingDistiller,
    FRePoDistiller,
    GradientMatchingDistiller,
    KernelRidgeClassifier,
    KIPDistiller,
    RCIGDistiller,
    RFADDistiller,
    TrajectoryMatchingDistiller,
    ZCAWhitener,
)
from skdistill._engine.learner import Learner
from skdistill.hardness import accuracy_by_hardness, disagreement_scores, forgetting_scores
from skdistill.networks import ConvNet, network_factory
from skdistill.parametrization import LinearBasis


@contextmanager
def default_device(name):
    before = torch.get_default_device()
    torch.set_default_device(name)
    try:
        yield
    finally:
        torch.set_default_device(None if before.type == "cpu" else before)


@contextmanager
def default_dtype(dtype):
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


SWITCHES = {
    "float64": lambda: default_dtype(torch.float64),
    "meta": lambda: default_device("meta"),
    "with meta": lambda: torch.device("meta"),
    "inference": torch.inference_mode,
    "no_grad": torch.no_grad,
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
}


@pytest.fixture(params=SWITCHES.values(), ids=SWITCHES)
def switch(request):
    """Return a function that makes a context in which a switch of torch is changed."""
    return request.param


DISTILLERS = {
    "all that is drawn": quick(
        ipc=2,
        inner_batch_size=1,
        augmentation="dsa",
        learn_labels=True,
        validation_fraction=0.5,
        validation_interval=1,
    ),
    "basis": quick(parametrization=LinearBasis(n_basis=2), ipc=2),
    "own network": quick(architecture=ConvNet),
    "matching": quick(DistributionMatchingDistiller, augmentation="flip_rotate"),
    "kip": quick(KIPDistiller, augmentation="flip_rotate", learn_labels=True),
    "DSA": quick(GradientMatchingDistiller, ipc=2, inner_loop=1, augmentation="flip_rotate"),
    "RFAD": quick(RFADDistiller, redraw_every=2, augmentation="flip_rotate"),
    "RCIG": quick(RCIGDistiller, inner_steps=2, inverse_steps=2, pool_size=1),
    "FRePo": quick(FRePoDistiller, ipc=2, pool_size=1, pool_batch_size=1),
    "MTT": quick(TrajectoryMatchingDistiller, n_experts=1, epoch_steps=2, syn_steps=2),
    "boosted": BoostedDistiller(ipc=2, block_size=1, distiller=quick(), random_state=0),
    "bfloat16": quick(precision="bfloat16"),
}


def results(distiller, X, y):
    """Return all numbers that a distiller fitted on this gives."""
    X_syn, y_syn = distiller.fit(X, y).transform()
    return X_syn, y_syn, distiller.evaluate(X, y, steps=[1, 3]).curve, distiller.history_["loss"]


EXPECTED = {}


@pytest.mark.parametrize("name", DISTILLERS)
def test_no_switch_changes_a_bit_of_a_distiller(switch, name, images):
    if name not in EXPECTED:
        EXPECTED[name] = results(DISTILLERS[name], *images)
    with switch():
        found = results(DISTILLERS[name], *images)
    for part, expected in zip(found, EXPECTED[name], strict=True):
        np.testing.assert_array_equal(part, expected)


@pytest.mark.parametrize("kind", [FRePoDistiller, KIPDistiller, RFADDistiller, RCIGDistiller])
def test_first_labels_are_in_single_precision_whatever_the_default(kind):
    # A third is another number in double precision; a half, of two classes, is not.
    X, y = np.random.default_rng(0).normal(size=(36, 1, 6, 6)), np.arange(36) % 3
    expected = smallest(kind, learn_labels=True).fit(X, y).distilled_
    with default_dtype(torch.float64):
        found = smallest(kind, learn_labels=True).fit(X, y).distilled_
    np.testing.assert_array_equal(found.y, expected.y)
    np.testing.assert_array_equal(found.X, expected.X)


def test_no_switch_changes_a_bit_of_what_else_computes(switch, images):
    X, y = images
    distilled = quick().fit(X, y).distilled_

    def compute():
        few = {"n_networks": 2, "random_state": 0}
        whitener = ZCAWhitener().fit(X)
        classifier = DistilledClassifier(quick()).fit(X, y)
        yield whitener.inverse_transform(whitener.transform(X))
        yield classifier.predict_proba(X)
        yield classifier.score(X, y)
        yield KernelRidgeClassifier().fit_distilled(distilled).decision_function(X)
        yield forgetting_scores(X, y, n_epochs=2, **few)
        yield disagreement_scores(distilled, X, y, **few)
        parts = accuracy_by_hardness(distilled, X, y, np.arange(40), n_networks=2, bins=2)
        yield from parts.accuracies.values()

    expected = list(compute())
    with switch():
        for part, wanted in zip(compute(), expected, strict=True):
            np.testing.assert_array_equal(part, wanted)


def test_a_forecast_is_made_whatever_the_switch(switch, images):
    with switch():
        assert quick().estimate(*images, n_steps=1).seconds > 0


def test_tensors_of_inference_mode_are_taken(images):
    expected = quick().fit(*images).transform()[0]
    with torch.inference_mode():
        X, y = (torch.from_numpy(part).clone() for part in images)
        inside = quick().fit(X, y).transform()[0]
    assert X.is_inference()
    np.testing.assert_array_equal(inside, expected)
    np.testing.assert_array_equal(quick().fit(X, y).transform()[0], expected)


def test_the_switches_are_the_callers_again_after_a_fit(images):
    with default_device("meta"), default_dtype(torch.float64), torch.inference_mode():
        with torch.autocast("cpu", torch.bfloat16):
            quick().fit(*images)
            assert torch.is_autocast_enabled("cpu")
        assert torch.is_inference_mode_enabled()
        assert not torch.is_grad_enabled()
        assert torch.empty(0).device.type == "meta"
        assert torch.get_default_dtype() == torch.float64


def test_without_switches_nothing_is_set():
    from skdistill._engine.settings import own_settings

    before = torch.overrides._get_current_function_mode_stack()
    with own_settings():
        assert torch.overrides._get_current_function_mode_stack() == before
        assert torch.is_grad_enabled()


def test_a_network_is_built_on_the_cpu_from_its_generator():
    factory = network_factory("convnet", (1, 8, 8), 3)
    expected = Learner(factory).init(7)
    with default_device("meta"), default_dtype(torch.float64):
        state = torch.get_rng_state()
        theta = Learner(factory).init(7)
        assert torch.equal(torch.get_rng_state(), state)
    assert theta.device.type == "cpu"
    assert torch.equal(theta, expected)


def test_two_threads_with_switches_of_their_own_do_not_meet(images):
    expected, found = quick().fit(*images).transform()[0], {}

    def work(name, switch):
        with switch():
            found[name] = quick().fit(*images).transform()[0]
            found[name, "device"] = torch.empty(0).device.type

    switches = {"meta": lambda: default_device("meta"), "inference": torch.inference_mode}
    threads = [threading.Thread(target=work, args=item) for item in switches.items()]
    with default_dtype(torch.float64):
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert torch.get_default_dtype() == torch.float64
    for name in switches:
        np.testing.assert_array_equal(found[name], expected)
    assert (found["meta", "device"], found["inference", "device"]) == ("meta", "cpu")
