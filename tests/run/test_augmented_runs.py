"""Augmentation in a run: when it is drawn, to what it is applied, and what it does not change."""

import json

import numpy as np
import pytest
import tools
import torch
from sklearn.base import clone

from skdistill._engine.chain import Chain
from skdistill._engine.steps import Steps
from skdistill._engine.streams import Streams, purpose_number
from skdistill.augmentation import (
    AUGMENTATIONS,
    Color,
    Compose,
    Crop,
    Cutout,
    Flip,
    OneOf,
    Rotation,
)

N_REAL, N_SYNTHETIC = 16, 4


def quick(augmentation=None, **parameters):
    settings = {"ipc": 2, "unroll": 5, "batch_size": 16, "augmentation": augmentation}
    return tools.quick(**settings | parameters)


def samples(distiller, data):
    return distiller.fit(*data).transform()[0]


class Spy(Rotation):
    """A rotation that records its draws and the samples that it was applied to, in order."""

    # As one of the package's, it is not tried before a run.
    __module__ = Rotation.__module__

    def draw(self, generator, n, shape):
        parameters = super().draw(generator, n, shape)
        self.__dict__.setdefault("drawn", []).append(parameters)
        return parameters

    def apply(self, X, parameters):
        self.__dict__.setdefault("applied", []).append((X, parameters))
        return super().apply(X, parameters)

    def drawn_for(self, n):
        return [parameters for parameters in self.drawn if parameters.shape[1] == n]

    def applied_to(self, n):
        return [parameters for X, parameters in self.applied if len(X) == n]


def equal(a, b):
    """Return whether two sequences of tensors are the same."""
    return len(a) == len(b) and all(map(torch.equal, a, b))


@pytest.fixture
def calls(monkeypatch):
    """Record the engine's functions and the shapes of their tensors, in order."""
    record = []

    def call(self, function, *tensors):
        shapes = [tuple(x.shape) for x in tensors if isinstance(x, torch.Tensor)]
        record.append((function.__name__, shapes))
        return function(*tensors)

    monkeypatch.setattr(Steps, "_call", call)
    return record


# What is augmented, and when ----------------------------------------------------------------------


def test_every_inner_step_and_every_real_batch_has_draws_of_its_own(images):
    spy = Spy()
    history = quick(spy).fit(*images).history_
    lengths = [start + window for start, window in zip(history["start"], history["window"])]
    assert len(spy.drawn_for(N_REAL)) == 3
    assert len(spy.drawn_for(N_SYNTHETIC)) == sum(lengths)
    assert len(spy.drawn) == 3 + sum(lengths)
    values = torch.cat([parameters.flatten() for parameters in spy.drawn])
    assert len(values.unique()) == len(values)


def test_the_real_batch_is_augmented_once_in_every_outer_step(images):
    spy = Spy()
    quick(spy).fit(*images)
    assert equal(spy.applied_to(N_REAL), spy.drawn_for(N_REAL))
    X, _ = images
    standardized = torch.from_numpy((X - X.mean()) / X.std()).flatten(1)
    for batch in [X for X, _ in spy.applied if len(X) == N_REAL]:
        nearest = torch.cdist(batch.flatten(1).double(), standardized).min(dim=1)
        assert nearest.values.max() < 1e-5
        assert len(nearest.indices.unique()) == N_REAL


def test_the_loss_is_that_of_the_augmented_real_batch(images):
    class HideReal(Cutout):
        def draw(self, generator, n, shape):
            return torch.zeros(2, n) if n == N_REAL else self.identity(n, shape)

    plain = quick(max_iter=1).fit(*images).history_
    hidden = quick(HideReal(ratio=1.0), max_iter=1).fit(*images).history_
    # The same network, trained on the same samples: only the real batch differs.
    assert hidden["start"] == plain["start"]
    assert abs(hidden["loss"][0] - plain["loss"][0]) > 1e-3


def test_a_step_is_replayed_with_the_draws_that_it_had(images):
    spy = Spy()
    history = quick(spy, max_iter=1).fit(*images).history_
    start, n_steps = history["start"][0], history["start"][0] + history["window"][0]
    drawn, applied = spy.drawn_for(N_SYNTHETIC), spy.applied_to(N_SYNTHETIC)
    assert start > 0
    assert equal(applied[:n_steps], drawn)
    back = applied[n_steps:]
    assert {next(i for i, d in enumerate(drawn) if torch.equal(d, a)) for a in back} == set(
        range(start, n_steps)
    )


def test_mini_batches_are_drawn_for_their_samples(images):
    spy = Spy()
    quick(spy, ipc=3, inner_batch_size=2).fit(*images)
    assert {parameters.shape for parameters in spy.drawn} == {(1, 4), (1, N_REAL)}
    assert {len(X) for X, _ in spy.applied} == {4, N_REAL}


def test_chunks_have_the_columns_of_their_samples(images, monkeypatch):
    whole = quick("dsa", max_iter=1).fit(*images).history_
    monkeypatch.setattr("skdistill._run.problem.chunk_size", lambda *args, **options: 3)
    monkeypatch.setattr("skdistill.distillers.rat_bptt.synthetic_chunk", lambda *args, **options: 3)
    chunked = quick("dsa", max_iter=1).fit(*images).history_
    for name in ("loss", "grad_norm"):
        assert chunked[name] == pytest.approx(whole[name], rel=1e-4)
    spy = Spy()
    quick(spy, max_iter=1).fit(*images)
    # 16 in 8 chunks of 2, and 4 in 2 of 2.
    assert {len(X) for X, _ in spy.applied} == {2}
    assert {parameters.shape[1] for parameters in spy.drawn} == {N_REAL, N_SYNTHETIC}
    (real,) = spy.drawn_for(N_REAL)
    columns = {tuple(parameters.flatten().tolist()) for _, parameters in spy.applied}
    assert {tuple(part.flatten().tolist()) for part in real.split(2, dim=1)} <= columns


def test_networks_learn_from_augmented_samples_and_are_tested_on_plain_ones(images):
    spy = Spy()
    distiller = quick(spy).fit(*images)
    n = len(spy.applied)
    distiller.evaluate(*images, n_networks=2, steps=[3, 5])
    applied = spy.applied[n:]
    # At each of the steps of two networks, and nowhere else: there are 16 test images.
    assert [len(X) for X, _ in applied] == [N_SYNTHETIC] * 10
    assert len({tuple(parameters.flatten().tolist()) for _, parameters in applied}) == 10


# Randomness ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("alias", AUGMENTATIONS)
def test_augmentation_changes_the_run(images, alias):
    plain, augmented = samples(quick(), images), samples(quick(alias), images)
    assert np.abs(plain - augmented).max() > 0.01


@pytest.mark.parametrize(
    "parameters", [{}, {"inner_batch_size": 1}, {"inner_optimizer": "sgd"}], ids=str
)
@pytest.mark.parametrize("alias", AUGMENTATIONS)
def test_the_same_seed_gives_the_same_bits(images, alias, parameters):
    first, second = (samples(quick(alias, **parameters), images) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_another_seed_gives_other_draws(images):
    spies = Spy(), Spy()
    for seed, spy in enumerate(spies):
        quick(spy, random_state=seed).fit(*images)
    first, second = (torch.cat([p.flatten() for p in spy.drawn]) for spy in spies)
    assert not set(first.tolist()) & set(second.tolist())


def test_a_longer_run_keeps_its_draws(images):
    short, long = Spy(), Spy()
    quick(short, schedule="t-bptt", unroll=4).fit(*images)
    quick(long, schedule="t-bptt", unroll=6).fit(*images)
    assert equal(short.drawn_for(N_REAL), long.drawn_for(N_REAL))
    for k in range(3):
        first = long.drawn_for(N_SYNTHETIC)[6 * k : 6 * k + 4]
        assert equal(short.drawn_for(N_SYNTHETIC)[4 * k : 4 * k + 4], first)


def test_warm_start_continues_bit_for_bit(images):
    whole = samples(quick("dsa", max_iter=4), images)
    parts = quick("dsa", max_iter=2, warm_start=True).fit(*images)
    np.testing.assert_array_equal(samples(parts.set_params(max_iter=4), images), whole)


def test_global_random_states_are_left_alone(images):
    before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    quick("dsa").fit(*images)
    assert torch.equal(torch.get_rng_state(), before[0])
    np.testing.assert_array_equal(np.random.get_state()[1], before[1])  # noqa: NPY002


# Without it ---------------------------------------------------------------------------------------


def test_other_draws_do_not_change(images):
    """A cutout of no size changes no bit, though its places are drawn."""
    plain, idle = quick().fit(*images), quick(Cutout(ratio=0)).fit(*images)
    np.testing.assert_array_equal(idle.transform()[0], plain.transform()[0])
    assert idle.history_["loss"] == plain.history_["loss"]


def test_none_computes_nothing_more(images, calls, monkeypatch):
    # C functions do whole steps, in calls that are not seen here.
    monkeypatch.setattr(Chain, "whole_steps", lambda self, optimizer: None)
    quick(max_iter=1, schedule="t-bptt").fit(*images)
    plain = calls.copy()
    calls.clear()
    quick("dsa", max_iter=1, schedule="t-bptt").fit(*images)
    assert {name for name, _ in plain} == {"_forward", "_gradient", "_adjoint"}
    # With augmentation a step gets the same, because augmentation is separate calls.
    own = [call for call in calls if "augment" not in call[0]]
    assert own == plain
    others = [name for name, _ in calls if "augment" in name]
    # Five steps, two of them seen again on the way back, and the real batch.
    assert others.count("_augmented") == 5 + 2 + 1
    assert others.count("_augmentation_adjoint") == 2


def test_purposes_keep_their_numbers():
    names = ["synthetic", "window", "real_batch", "network", "inner_batch", "evaluation_network"]
    names += ["evaluation_batch", "coreset", "inner_augmentation", "real_augmentation", "hardness"]
    names += ["inner_classes", "evaluation_augmentation"]
    assert [purpose_number(name) for name in names] == list(range(13))
    # A new purpose is hashed: the same everywhere, and never one of these numbers.
    assert purpose_number("kip.batch") == 9937311984438434739
    assert Streams(0).integer("network", 1) == 3679268941


# scikit-learn's habits ----------------------------------------------------------------------------


def test_parameters_of_the_augmentation_are_reached_by_name(images):
    distiller = quick(Rotation())
    assert distiller.get_params()["augmentation__degrees"] == 15
    distiller.set_params(augmentation__degrees=60)
    assert distiller.augmentation.degrees == 60
    nested = quick(Compose([Flip(), Rotation()])).set_params(augmentation__rotation__degrees=30)
    assert nested.augmentation.steps[1].degrees == 30
    assert "augmentation__p" not in quick("dsa").get_params()


def test_clones_are_separate():
    distiller = quick(Compose([Flip(), OneOf([Rotation(), Crop()])]))
    copy = clone(distiller).set_params(augmentation__oneof__rotation__degrees=90)
    assert copy.augmentation.steps[1].steps[0].degrees == 90
    assert distiller.augmentation.steps[1].steps[0].degrees == 15
    assert clone(quick()).augmentation is None


def test_set_parameters_count(images):
    by_name = quick(Rotation()).set_params(augmentation__degrees=60)
    np.testing.assert_array_equal(samples(by_name, images), samples(quick(Rotation(60)), images))
    assert np.abs(samples(by_name, images) - samples(quick(Rotation()), images)).max() > 1e-3


@pytest.mark.parametrize(
    ("augmentation", "recorded"),
    [(None, None), ("dsa", "dsa"), (Rotation(30), "Rotation(degrees=30)")],
)
def test_the_distilled_set_says_what_was_applied(images, augmentation, recorded):
    provenance = quick(augmentation).fit(*images).distilled_.provenance
    assert provenance["parameters"]["augmentation"] == recorded
    json.dumps(provenance, allow_nan=False)


@pytest.mark.parametrize(
    ("augmentation", "message"),
    [
        ("flip", r"'augmentation' parameter of RaTBPTTDistiller must be .*'dsa'.* Got 'flip'"),
        (Flip, r"'augmentation' parameter of RaTBPTTDistiller must be"),
        (Rotation(-1), r"'degrees' parameter of Rotation must be"),
        (Compose([Flip(), Color(contrast=-1)]), r"'contrast' parameter of Color must be"),
        (Compose([]), r"steps of Compose must be a list of one or more augmentations"),
    ],
)
def test_bad_augmentations_are_refused_before_the_data_are_seen(augmentation, message):
    with pytest.raises(ValueError, match=message):
        quick(augmentation).fit(None, None)


@pytest.mark.parametrize("method", ["fit", "check_input"])
def test_tables_are_refused_before_any_work(monkeypatch, method):
    def no_work(*args):
        raise AssertionError("work was begun")

    monkeypatch.setattr("skdistill._data.training.describe", no_work)
    X, y = np.random.default_rng(0).normal(size=(40, 36)), np.arange(40) % 2
    distiller = quick("dsa")
    message = r"augmentation needs images.*got samples of shape \(36,\).*image_shape.*=None"
    with pytest.raises(ValueError, match=message):
        getattr(distiller, method)(X, y)
    assert not hasattr(distiller, "distilled_")


def test_flat_images_are_augmented_with_their_shape(images):
    X, y = images
    flat = samples(quick("dsa", image_shape=(1, 6, 6)), (X.reshape(40, 36), y))
    np.testing.assert_array_equal(flat.reshape(4, 6, 6), samples(quick("dsa"), images))
