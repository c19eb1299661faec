"""Everything on a simulated accelerator: as on the CPU, and no wait for it is unseen."""

from functools import partial

import numpy as np
import pytest
import tools
import torch
from numpy.testing import assert_allclose, assert_array_equal
from simulated_device import NAME, SimulatedDevice
from sklearn.pipeline import make_pipeline

from skdistill import (
    BoostedDistiller,
    DistilledClassifier,
    DistributionMatchingDistiller,
    FRePoDistiller,
    GradientMatchingDistiller,
    KIPDistiller,
    RaTBPTTDistiller,
    RCIGDistiller,
    RFADDistiller,
    TrajectoryMatchingDistiller,
    ZCAWhitener,
    all_distillers,
)
from skdistill._engine import ensemble, native
from skdistill._engine.ensemble import Plan
from skdistill._engine.runtime import resolve_device
from skdistill._run import loop
from skdistill.evaluation import _networks, compare, evaluate
from skdistill.hardness import (
    HardnessSampler,
    accuracy_by_hardness,
    disagreement_scores,
    forgetting_scores,
)
from skdistill.intercorrelation import subsample_curve
from skdistill.networks import MLP, ConvNet
from skdistill.parametrization import Hallucinated, LinearBasis, Tiled
from skdistill.sampling import KMeansSampler
from skdistill.windows import StageAwareWindow


@pytest.fixture(autouse=True)
def without_fused_layers(monkeypatch):
    """Let the CPU compute by the same operations as the device."""
    monkeypatch.setattr(native, "load", lambda dtype: None)


def small_network(input_shape, n_classes):
    """Return a network with the layers of all: convolution, normalization, pooling."""
    return ConvNet(input_shape, n_classes, width=4, depth=1)


small = partial(
    tools.smallest, batch_size=10, n_networks=2, eval_steps=3, architecture=small_network
)
rat_bptt = partial(small, RaTBPTTDistiller, window=2, unroll=4)
matching = partial(small, DistributionMatchingDistiller, ipc=2)
gradients = partial(small, GradientMatchingDistiller, ipc=2)
trajectories = partial(small, TrajectoryMatchingDistiller)
kip = partial(small, KIPDistiller, ipc=2)


def boosted(**parameters):
    return BoostedDistiller(
        ipc=2, block_size=1, beta=0.5, distiller=rat_bptt(**parameters), random_state=0
    )


# What every method has, and what some have.
OPTIONS = {"ipc": 2, "augmentation": "dsa", "class_weight": {0: 2.0}, "learn_labels": True}
DISTILLERS = {name: small(kind, **OPTIONS) for name, kind in all_distillers()}
DISTILLERS |= {
    "RaT-BPTT": rat_bptt(),
    "mini-batches": rat_bptt(ipc=3, inner_batch_size=2, classes_per_step=1),
    "labels and SGD": rat_bptt(learn_labels=True, inner_optimizer="sgd", init="real"),
    "basis": rat_bptt(ipc=2, parametrization=LinearBasis(2)),
    "small basis": rat_bptt(ipc=2, parametrization=LinearBasis(2, downsample=2), learn_labels=True),
    "penalty": rat_bptt(ipc=2, parametrization=LinearBasis(2, coef_penalty=0.1)),
    "tiles": rat_bptt(ipc=2, parametrization=Tiled(clamp=True), init="real"),
    "boosted hallucinators": boosted(parametrization=Hallucinated(1)),
    "flip and rotation": rat_bptt(augmentation="flip_rotate"),
    "dsa": rat_bptt(augmentation="dsa", class_weight="balanced", init="kmeans"),
    "hardness": rat_bptt(sampler=HardnessSampler(n_networks=2, steps=2)),
    "k-means": rat_bptt(sampler=KMeansSampler(steps=1, renew_every=2)),
    "AT-BPTT": rat_bptt(schedule=StageAwareWindow(1), sample_norm=1.0, augmentation="flip_rotate"),
    "LinBa's": rat_bptt(
        outer_optimizer="sgd",
        learning_rate=0.1,
        clip_norm=2.0,
        augmentation="dsa",
        shared_augmentation=True,
    ),
    "validation": rat_bptt(validation_fraction=0.3, validation_interval=2, n_iter_no_change=1),
    "backward": rat_bptt(schedule="backward"),
    "averages": rat_bptt(ema_decay=0.9, learning_rate_schedule="cosine", learn_labels=True),
    "boosted": boosted(learn_labels=True),
    "boosted basis": boosted(parametrization=LinearBasis(1)),
    "DM": matching(augmentation="dsa", class_weight={0: 2.0}),
    "IDC": gradients(network_data="real", distance="l1", outer_loop=2, matched="convolutions"),
    "RFAD": small(RFADDistiller, redraw_every=2, augmentation="dsa", learn_labels=True),
    "RCIG": small(RCIGDistiller, flips=True, pool_size=1, pool_max_age=1, augmentation="dsa"),
    "FRePo": small(FRePoDistiller, ipc=2, flips=True, pool_size=1, pool_max_age=1),
    "MTT": trajectories(augmentation="dsa", ipc=2, inner_batch_size=1, classes_per_step=1),
    "DATM": trajectories(learn_labels=True, expert_labels=True, validation_fraction=0.3),
    "DM with labels": matching(learn_labels=True, augmentation="flip_rotate"),
}


# Methods by regression compute it in double precision (on the CPU, for torch's one kind of device
# that has none).
NEED_FLOAT64 = FRePoDistiller, KIPDistiller, RCIGDistiller, RFADDistiller


def on(distiller, device):
    """Return an unfitted copy that computes on this device."""
    copy = type(distiller)(**distiller.get_params(deep=False))
    if isinstance(copy, BoostedDistiller):
        return copy.set_params(distiller=on(distiller.distiller, device))
    return copy.set_params(device=device)


def assert_same_results(got, expected):
    """Assert that two fitted distillers have the same results, within rounding."""
    for name in ("X", "y"):
        ours, theirs = (getattr(each.distilled_, name) for each in (got, expected))
        if ours.dtype.kind == "f":
            assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)
        else:
            assert_array_equal(ours, theirs)
    for name in ("loss", "grad_norm"):
        assert_allclose(got.history_[name], expected.history_[name], rtol=1e-4)
    assert got.history_.get("validation_accuracy") == expected.history_.get("validation_accuracy")


@pytest.fixture
def table():
    """Return a table with a column of time stamps, whose labels are names."""
    rng = np.random.default_rng(0)
    y = np.arange(30) % 3
    X = rng.normal(size=(30, 4)) + y[:, None]
    X[:, 0] += 1.7e9
    return X, np.array(["a", "b", "c"])[y]


@pytest.mark.parametrize("name", DISTILLERS)
def test_a_fit_is_that_of_the_cpu(name, images):
    distiller = DISTILLERS[name]
    expected = on(distiller, "cpu").fit(*images)
    with SimulatedDevice(has_float64=isinstance(distiller, NEED_FLOAT64)) as device:
        got = on(distiller, NAME).fit(*images)
    assert device.sent
    assert_same_results(got, expected)


@pytest.mark.parametrize("dtype", [np.uint8, np.float64])
@pytest.mark.parametrize("distiller", [rat_bptt(), matching()])
def test_samples_of_any_dtype_and_weight_come_to_a_device(distiller, dtype, images):
    X, y = (images[0] * 20 + 100).astype(dtype), images[1]
    weight = np.arange(len(y)) % 4.0
    expected = on(distiller, "cpu").fit(X, y, sample_weight=weight)
    with SimulatedDevice():
        got = on(distiller, NAME).fit(X, y, sample_weight=weight)
    assert_same_results(got, expected)


def test_a_table_with_time_stamps_comes_to_a_device_without_double_precision(table):
    distiller = rat_bptt(architecture="auto", validation_fraction=0.2)
    expected = on(distiller, "cpu").fit(*table)
    with SimulatedDevice():
        got = on(distiller, NAME).fit(*table)
        accuracy = got.score(*table)
    assert_same_results(got, expected)
    assert accuracy == expected.score(*table)


def test_a_kernel_regression_predicts_on_the_device(images):
    fitted = on(kip(), "cpu").fit(*images)
    expected = fitted.kernel_classifier().decision_function(images[0])
    with SimulatedDevice(has_float64=True) as device:
        got = fitted.set_params(device=NAME).kernel_classifier().decision_function(images[0])
    assert device.sent
    assert_allclose(got, expected, rtol=1e-9)


def test_an_outer_step_waits_for_the_device_once(images, device_waits):
    """For the loss and the norm, which clipping needs; all else the host does beside it."""
    for distiller in (
        rat_bptt(ipc=3, inner_batch_size=2, augmentation="dsa", learn_labels=True),
        rat_bptt(ipc=2, parametrization=LinearBasis(2, downsample=2)),
        rat_bptt(schedule=StageAwareWindow(1), sample_norm=1.0),
        rat_bptt(augmentation="dsa", shared_augmentation=True, sampler=KMeansSampler()),
        matching(augmentation="dsa", learn_labels=True),
        matching(),
        trajectories(ipc=2, inner_batch_size=1, augmentation="dsa", learn_labels=True),
        gradients(augmentation="dsa", outer_loop=1),
    ):
        assert device_waits(distiller, *images) == ["a copy to the host"]


@pytest.fixture
def device_waits(monkeypatch):
    """Return the waits of the host in the last outer step of a distiller's fit."""
    original = loop.update

    def waits(distiller, X, y):
        seen = []

        def update(*args):
            device.waits.clear()
            result = original(*args)
            seen[:] = device.waits
            return result

        monkeypatch.setattr(loop, "update", update)
        with SimulatedDevice() as device:
            on(distiller, NAME).fit(X, y)
        return seen

    return waits


def narrow_network(input_shape, n_classes):
    """Return a network that takes less memory than the samples it sees."""
    return MLP(input_shape, n_classes, width=4, depth=1)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
@pytest.mark.parametrize("method", [rat_bptt, matching])
def test_a_training_set_larger_than_the_device_stays_on_the_host(method, dtype):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(2000, 6, 6)), np.arange(2000) % 2
    X = (20 * X + 100).astype(dtype)
    weight = np.arange(2000) % 4.0
    distiller = method(architecture=narrow_network, validation_fraction=0.1, validation_interval=2)
    expected = on(distiller, "cpu").fit(X, y, sample_weight=weight)
    batch = 10 * 36 * min(4, X.itemsize)
    with SimulatedDevice(memory=1350 * 36 * min(4, X.itemsize) - 1) as device:
        with pytest.raises(torch.OutOfMemoryError) as error:
            on(distiller, NAME).fit(X, y, sample_weight=weight)
        assert 'data_device="host"' in str(error.value.__notes__)
        device.sent.clear()
        distiller = on(distiller, NAME).set_params(data_device="host")
        got = distiller.fit(X, y, sample_weight=weight)
    assert_same_results(got, expected)
    n_sent = sum(size > 0 and size % batch == 0 and pinned for size, pinned in device.sent)
    assert n_sent >= distiller.max_iter


def test_batches_from_the_host_are_sent_without_a_wait(images, device_waits):
    distiller = rat_bptt(data_device="host", init="real", augmentation="flip_rotate")
    assert device_waits(distiller, *images) == ["a copy to the host"]
    assert device_waits(matching(data_device="host"), *images) == ["a copy to the host"]


def test_a_set_on_the_host_takes_nothing_of_the_device(images):
    with SimulatedDevice():
        there = rat_bptt(device=NAME).estimate(*images, n_steps=1).memory.data
        here = rat_bptt(device=NAME, data_device="host").estimate(*images, n_steps=1).memory.data
    assert (there, here) == (40 * 36 * 4, 0)
    on_the_cpu = rat_bptt(device="cpu", data_device="host").estimate(*images, n_steps=1)
    assert on_the_cpu.memory.data == 40 * 36 * 8


@pytest.mark.parametrize("there", ["cpu", NAME])
def test_a_run_goes_on_from_a_checkpoint_on_another_device(there, images, tmp_path):
    back = NAME if there == "cpu" else "cpu"
    expected = rat_bptt(max_iter=4, ipc=2, learn_labels=True, device="cpu").fit(*images)
    distiller = rat_bptt(ipc=2, learn_labels=True, checkpoint=tmp_path / "run")
    with SimulatedDevice():
        on(distiller, there).set_params(max_iter=2).fit(*images)
        got = on(distiller, back).set_params(max_iter=4, data_device="host").fit(*images)
    assert_same_results(got, expected)


def test_a_warm_start_goes_on_on_the_device(images):
    expected = rat_bptt(max_iter=4, device="cpu").fit(*images)
    with SimulatedDevice():
        got = rat_bptt(max_iter=2, warm_start=True, device=NAME).fit(*images)
        got.set_params(max_iter=4).fit(*images)
    assert_same_results(got, expected)


def test_a_basis_and_labels_start_from_a_distilled_set_on_the_device(images):
    distiller = rat_bptt(ipc=2, parametrization=LinearBasis(2), learn_labels=True)
    first = on(distiller, "cpu").fit(*images).distilled_
    more = distiller.get_params(deep=False) | {"ipc": 4}
    options = {"start": first, "learning_rate_factors": [0.0, 0.5, 1.0, 1.0]}
    expected = RaTBPTTDistiller(**more | {"device": "cpu"}).fit(*images, **options)
    with SimulatedDevice():
        got = RaTBPTTDistiller(**more | {"device": NAME}).fit(*images, **options)
    assert_same_results(got, expected)


@pytest.fixture(scope="module")
def fitted():
    """Return distillers fitted on the CPU, with hard labels and with learned ones, and data."""
    rng = np.random.default_rng(1)
    y = np.arange(40) % 2
    X = rng.normal(size=(40, 6, 6)) + np.linspace(-1, 1, 6) * (2 * y - 1)[:, None, None]
    options = {"ipc": 2, "eval_steps": 4, "architecture": "mlp", "device": "cpu"}
    hard = rat_bptt(**options, augmentation="flip_rotate").fit(X, y)
    return hard, rat_bptt(**options, learn_labels=True).fit(X, y), X, y


@pytest.mark.parametrize("stack", [1, 2])
@pytest.mark.parametrize("which", [0, 1])
def test_an_evaluation_is_that_of_the_cpu(which, stack, fitted, monkeypatch):
    monkeypatch.setattr(_networks, "choose_plan", lambda *args: Plan(stack=stack))
    distiller, (X, y) = fitted[which], fitted[2:]
    expected = evaluate(distiller.distilled_, X, y, architecture="mlp", device="cpu")
    if stack > 1:
        # What cannot be stacked would be trained one after the other, without a word.
        monkeypatch.setattr(ensemble, "_train_one", None)
    with SimulatedDevice() as device:
        got = evaluate(distiller.distilled_, X, y, architecture="mlp", device=NAME)
    assert_allclose(got.accuracies, expected.accuracies)
    # For the answers of every network to the test samples, and never while it is trained.
    assert device.waits.count("a copy to the host") == 2


def test_networks_train_without_a_wait(fitted):
    """Mini-batches and augmentations are on the device before the first step."""
    distilled = fitted[0].distilled_
    with SimulatedDevice() as device:
        family = _networks.network_family(distilled, "mlp", NAME)
        training = _networks.training_samples(family, distilled)
        many = torch.cat([training.X] * 200), torch.cat([training.y] * 200)
        training = _networks.TrainingSamples(*many, training.protocol, training.seed)
        assert len(training.X) > training.protocol.batch_size
        device.waits.clear()
        for _ in _networks.train_networks(family, training, 2, [3]):
            pass
    assert device.waits == []


def test_measures_of_samples_are_those_of_the_cpu(fitted):
    distiller, _, X, y = fitted
    distilled = distiller.distilled_

    def measured(device):
        options = {"architecture": "mlp", "device": device}
        forgotten = forgetting_scores(
            X, y, n_networks=2, n_epochs=3, batch_size=16, random_state=0, **options
        )
        wrong = disagreement_scores(distilled, X, y, n_networks=2, random_state=0, **options)
        bins = accuracy_by_hardness(
            distilled, X, y, wrong, n_networks=2, n_networks_whole=1, bins=2, **options
        )
        curve = subsample_curve(
            distilled, X, y, sizes=[1, 2], n_draws=2, n_networks=1, random_state=0, **options
        )
        rows = compare(distilled, X, y, X, y, n_networks=2, **options)
        return forgotten, wrong, *bins.accuracies.values(), str(curve), str(rows)

    expected = measured("cpu")
    with SimulatedDevice():
        got = measured(NAME)
    for ours, theirs in zip(got, expected, strict=True):
        assert_array_equal(ours, theirs)


def test_a_classifier_predicts_on_the_device(images):
    expected = DistilledClassifier(rat_bptt(device="cpu")).fit(*images)
    with SimulatedDevice():
        got = DistilledClassifier(rat_bptt(device=NAME)).fit(*images)
        probabilities = got.predict_proba(images[0])
    assert_allclose(probabilities, expected.predict_proba(images[0]), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("per_sample", [False, True])
def test_whitening_on_a_device_with_double_precision_is_that_of_the_cpu(per_sample, images):
    X, _ = images
    expected = ZCAWhitener(per_sample=per_sample, device="cpu").fit(X)
    with SimulatedDevice(has_float64=True):
        got = ZCAWhitener(per_sample=per_sample, device=NAME).fit(X)
        white = got.transform(X)
        back = got.inverse_transform(white)
    assert_allclose(white, expected.transform(X), rtol=1e-9)
    assert_allclose(back, expected.inverse_transform(white), rtol=1e-9)


def test_whitening_on_the_host_comes_before_a_device_without_double_precision(images):
    def pipeline(device):
        return make_pipeline(ZCAWhitener(device="cpu"), rat_bptt(device=device))

    expected = pipeline("cpu").fit(*images)
    with SimulatedDevice():
        got = pipeline(NAME).fit(*images)
        accuracy = got.score(*images)
    assert_same_results(got[-1], expected[-1])
    assert accuracy == expected.score(*images)


def test_whitening_says_that_a_device_lacks_double_precision(images):
    with SimulatedDevice(), pytest.raises(ValueError, match=r"device must .* double precision"):
        ZCAWhitener(device=NAME).fit(images[0])


def test_the_device_refuses_what_one_refuses():
    """Or the tests above would find nothing."""
    with SimulatedDevice(memory=100):
        x = torch.ones(3, device=NAME)
        with pytest.raises(RuntimeError, match="of the host meet"):
            x + torch.ones(3)
        with pytest.raises(RuntimeError, match="of the host meet"):
            torch.cat([x, torch.ones(3)])
        with pytest.raises(TypeError, match="double precision"):
            x.double()
        with pytest.raises(TypeError, match="double precision"):
            torch.ones(3, dtype=torch.float64).to(NAME)
        with pytest.raises(torch.OutOfMemoryError):
            torch.empty(26, device=NAME)
        with pytest.raises(TypeError, match="to numpy"):
            x.numpy()
    assert resolve_device("auto").type != NAME


@pytest.mark.parametrize(
    "ask",
    [
        lambda x: x.sum().item(),
        lambda x: bool(x.sum() > 1),
        lambda x: x.tolist(),
        lambda x: x.cpu(),
        lambda x: x.nonzero(),
        lambda x: x[x > 0],
        lambda x: x[torch.tensor([0])],
        lambda x: torch.equal(x, x),
        lambda x: torch.allclose(x, x),
        lambda x: torch.tensor([1.0], device=NAME),
        lambda x: x.new_tensor([1.0]),
        lambda x: torch.ones(3).to(NAME),
        lambda x: torch.ones(3).copy_(x),
        lambda x: x.copy_(torch.ones(3)),
    ],
)
def test_the_device_notes_who_waits_for_it(ask):
    with SimulatedDevice() as device:
        x = torch.ones(3, device=NAME)
        y = x.sum() * 2 + x[0]
        torch.ones(3).pin_memory().to(NAME, non_blocking=True)
        assert device.waits == []
        assert y.device.type == NAME
        ask(x)
    assert len(device.waits) == 1


def test_derivatives_and_stacks_are_those_of_the_cpu():
    x = torch.linspace(-1, 1, 12).view(3, 4)
    weights = torch.linspace(0, 1, 8).view(2, 4)

    def derivative(x, weights):
        x = x.clone().requires_grad_()
        losses = torch.func.vmap(lambda w: (x @ w).sigmoid().sum())(weights)
        (slope,) = torch.autograd.grad((losses**2).sum(), x, create_graph=True)
        return torch.autograd.grad((slope**2).sum(), x)[0]

    with SimulatedDevice():
        got = derivative(x.to(NAME), weights.to(NAME)).cpu()
    assert torch.equal(got, derivative(x, weights))
