"""Batches by hardness in a run: when scores are renewed, their effect, and resuming with them."""

from functools import partial

import numpy as np
import pytest
import tools

from skdistill import BoostedDistiller
from skdistill.augmentation import Flip, OneOf, Rotation
from skdistill.hardness import (
    HardnessSampler,
    WeightedSampler,
    disagreement,
    disagreement_scores,
)

# 40 images and batches of 8: an epoch is five outer steps.
quick = partial(tools.quick, max_iter=7, batch_size=8, eval_steps=20)
ONCE_AN_EPOCH = partial(HardnessSampler, n_networks=3, steps=5, renew_every=1)


def script_scores(monkeypatch, *answers):
    """Replace the scores by a script; return the list of their arguments."""
    asked, answers = [], iter(answers)

    def scores(problem, X, y, n_networks, steps, step):
        asked.append((X.clone(), n_networks, steps, problem.rngs.integer("hardness", step)))
        return np.array(next(answers))

    monkeypatch.setattr("skdistill.hardness.sampler.scores_in_a_run", scores)
    return asked


def test_scores_are_those_of_the_current_samples(images, monkeypatch):
    X, y = images
    found = []
    monkeypatch.setattr(
        "skdistill.hardness.AdaptiveSampler.batch",
        lambda self, step, state: found.append(state["scores"]) or np.arange(8),
    )
    distiller = quick(ipc=2, max_iter=6, sampler=ONCE_AN_EPOCH(steps=20)).fit(X, y)
    # The second scores: of the samples after five steps.
    five = quick(ipc=2, max_iter=5, sampler=ONCE_AN_EPOCH(steps=20)).fit(X, y).distilled_
    assert found[0] == found[4] != found[5]
    assert set(found[5]) <= {0, 1, 2, 3}
    # Other networks, but the same samples are hard for them.
    reference = sum(
        disagreement_scores(five, X, y, n_networks=3, random_state=seed) for seed in range(10)
    )
    assert np.corrcoef(found[5], reference)[0, 1] > 0.6
    assert distiller.n_iter_ == 6


@pytest.mark.parametrize("augmentation", [None, OneOf([Flip(), Rotation(30.0)])], ids=str)
def test_networks_are_those_of_the_run_and_trained_with_its_augmentation(
    images, monkeypatch, augmentation
):
    families, original = [], disagreement.correct_while_training

    def noted(family, *rest):
        families.append(family)
        return original(family, *rest)

    monkeypatch.setattr(disagreement, "correct_while_training", noted)
    narrow = partial(tools.tiny, width=3)
    quick(
        max_iter=1, sampler=ONCE_AN_EPOCH(), augmentation=augmentation, inner_architecture=narrow
    ).fit(*images)
    (family,) = families
    assert family.augmentation is augmentation
    assert family.learner.module[1].out_features == 3


def test_scores_are_renewed_from_the_samples_of_that_step(images, monkeypatch):
    asked = script_scores(monkeypatch, *[np.arange(40) % 3] * 4)
    sampler = ONCE_AN_EPOCH(n_networks=2, steps=9, start_step=1)
    distiller = quick(max_iter=14, sampler=sampler).fit(*images)
    # Before the steps 1, 6 and 11, counted from 0.
    assert [(n_networks, steps) for _, n_networks, steps, _ in asked] == [(2, 9)] * 3
    assert len({seed for *_, seed in asked}) == 3
    for (X, *_), step in zip(asked, (1, 6, 11)):
        script_scores(monkeypatch, *[np.arange(40) % 3] * 4)
        part = quick(max_iter=step, sampler=sampler).fit(*images)
        np.testing.assert_array_equal(X.numpy(), part._run.state.slots["X"][0])
    assert distiller.n_iter_ == 14


def test_batches_are_drawn_by_the_last_scores(images, monkeypatch, rows):
    middle_is_low = np.where(np.arange(40) < 20, 1, 2)
    script_scores(monkeypatch, middle_is_low, 3 - middle_is_low)
    sampler = ONCE_AN_EPOCH(threshold=1e-9, n_networks=2, start_step=1)
    quick(max_iter=11, sampler=sampler.set_params(favor="medium")).fit(*images)
    # Uniform first, the same batch as without a sampler, then by the scores.
    medium = rows.copy()
    assert all(row < 20 for step in medium[1:6] for row in step)
    assert all(row >= 20 for step in medium[6:] for row in step)
    assert len(set(map(tuple, medium))) == 11
    rows.clear()
    script_scores(monkeypatch, middle_is_low, 3 - middle_is_low)
    quick(max_iter=11, sampler=sampler.set_params(favor="extremes")).fit(*images)
    assert all(row >= 20 for step in rows[1:6] for row in step)
    assert rows[0] == medium[0]
    rows.clear()
    quick(max_iter=1).fit(*images)
    assert rows[0] == medium[0]


@pytest.mark.parametrize("how", ["warm start", "checkpoint"])
def test_resuming_between_two_scores_gives_the_same_bits(images, tmp_path, how):
    make = partial(quick, ipc=2, sampler=ONCE_AN_EPOCH(threshold=0.01), max_iter=8)
    whole = tools.check_same_bits_after(how, make, images, tmp_path, first=3)
    uniform = make(sampler="uniform").fit(*images)
    assert uniform.history_["loss"][0] != whole.history_["loss"][0]


def test_scores_outlive_a_skipped_step(images, monkeypatch, outer_step, rows):
    outer_step.spoil(lambda step: step == 0)
    script_scores(monkeypatch, np.where(np.arange(40) < 20, 1, 2))
    sampler = ONCE_AN_EPOCH(threshold=1e-9, n_networks=2, favor="medium")
    with pytest.warns(UserWarning, match="step was skipped"):
        quick(max_iter=4, sampler=sampler).fit(*images)
    assert all(row < 20 for step in rows for row in step)


@pytest.mark.parametrize("parameters", [{"learn_labels": True}, {"schedule": "forward"}])
def test_with_other_strategies_and_in_blocks(images, parameters):
    distiller = quick(max_iter=2, sampler=ONCE_AN_EPOCH(), **parameters)
    boosted = BoostedDistiller(2, block_size=1, distiller=distiller, random_state=0).fit(*images)
    assert boosted.budgets_ == [1, 2]


@pytest.mark.parametrize(
    ("sampler", "message"),
    [
        (HardnessSampler(n_networks=1), r"'n_networks' parameter of HardnessSampler .*\[2, inf\)"),
        (HardnessSampler(favor="hard"), "'favor' parameter of HardnessSampler"),
        ("hardness", "'sampler' parameter of RaTBPTTDistiller .* Got 'hardness'"),
    ],
)
def test_bad_samplers(images, outer_step, sampler, message):
    outer_step.refuse()
    with pytest.raises(ValueError, match=message):
        quick(sampler=sampler).fit(*images)


@pytest.mark.parametrize("weights", [[-1, 3.0], [0, 0], [np.nan, 1], [], [[1.0]]])
def test_weights_that_cannot_be_drawn_by_are_refused(weights):
    with pytest.raises(ValueError, match="weights must be non-negative numbers, and not all 0"):
        WeightedSampler(weights, 2, np.random.default_rng)
