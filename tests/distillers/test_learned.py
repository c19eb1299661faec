"""Learned labels and linear bases of the distillers and of Boost-DD."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import tools
import torch.nn.functional as F
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from torch import from_numpy

from skdistill import (
    BoostedDistiller,
    DistillationSampler,
    DistilledClassifier,
    DistilledDataset,
    DistributionMatchingDistiller,
)
from skdistill.distillers import BaseDistiller
from skdistill.evaluation import evaluate
from skdistill.exceptions import InvalidFileError
from skdistill.parametrization import LinearBasis, Pixels

quick = partial(tools.quick, max_iter=4, eval_steps=20, init="gaussian")
DISTILLERS = {
    "rat-bptt": quick,
    "distribution matching": partial(quick, DistributionMatchingDistiller, batch_size=8),
}
LEARNED = {
    "pixels": {},
    "labels": {"learn_labels": True},
    "basis": {"parametrization": LinearBasis(3)},
    "basis of fewer pixels": {"parametrization": LinearBasis(3, downsample=3)},
    "basis and labels": {"parametrization": LinearBasis(3), "learn_labels": True},
}


@pytest.fixture(params=DISTILLERS)
def make(request):
    return DISTILLERS[request.param]


def rebuilt(bases):
    """Return the samples that bases and coefficients make."""
    return np.concatenate([np.tensordot(b.coefficients, enlarged(b), 1) + b.offset for b in bases])


def enlarged(block):
    """Return the bases of a block, those of gray images as large as the images."""
    if block.basis.shape[1:] == block.offset.shape:
        return block.basis
    large = F.interpolate(from_numpy(block.basis)[:, None], block.offset.shape, mode="bilinear")
    return large[:, 0].numpy()


# --- learned labels ---------------------------------------------------------------------------


def test_labels_start_one_hot_stay_non_negative_and_are_not_normalized(make, images):
    X, y = images
    y = np.array(["down", "up"])[y]
    distiller = make(ipc=2, learn_labels=True, max_iter=30, learning_rate=0.05).fit(X, y)
    X_syn, y_syn = distiller.transform()
    assert X_syn.shape == (4, 6, 6)
    assert (y_syn.shape, y_syn.dtype) == ((4, 2), X_syn.dtype)
    assert y_syn.min() >= 0
    assert abs(y_syn - np.eye(2)[[0, 1, 0, 1]]).max() > 0.1
    assert abs(y_syn.sum(axis=1) - 1).max() > 0.1
    assert distiller.classes_.tolist() == ["down", "up"]
    assert 0 <= distiller.score(X, y) <= 1
    # The first step starts where hard labels start.
    hard = make(ipc=2, max_iter=1).fit(X, y)
    assert distiller.history_["loss"][0] == pytest.approx(hard.history_["loss"][0], rel=1e-5)


def test_labels_have_a_learning_rate_of_their_own(images):
    def moved(scale):
        # One step: Adam moves every value by the learning rate, up to the sign.
        distiller = quick(ipc=2, learn_labels=True, label_lr_scale=scale, learning_rate=0.01)
        X_syn, y_syn = distiller.set_params(max_iter=1).fit(*images).transform()
        return X_syn, abs(y_syn - np.eye(2)[[0, 1, 0, 1]]).max()

    (X_1, moved_1), (X_3, moved_3) = moved(1.0), moved(3.0)
    assert moved_1 == pytest.approx(0.01, rel=1e-3)
    assert moved_3 == pytest.approx(0.03, rel=1e-3)
    np.testing.assert_array_equal(X_1, X_3)


def test_learned_labels_take_part(make, images):
    soft = make(ipc=2, learn_labels=True).fit(*images)
    hard = make(ipc=2).fit(*images)
    assert soft.history_["loss"][0] == pytest.approx(hard.history_["loss"][0], rel=1e-5)
    assert abs(soft.history_["loss"][3] / hard.history_["loss"][3] - 1) > 1e-4


def test_hard_labels(images):
    X, y = images
    y = np.array(["down", "up"])[y]
    distilled = quick(ipc=2, learn_labels=True).fit(X, y).distilled_
    soft = np.array([[0.2, 0.1], [0.0, 3.0], [0.4, 0.5], [0.0, 0.1]])
    distilled = replace(distilled, y=soft)
    assert distilled.hard_labels().tolist() == ["down", "up", "up", "up"]
    hard = distilled.with_hard_labels()
    assert hard.y.tolist() == ["down", "up", "up", "up"]
    np.testing.assert_array_equal(hard.X, distilled.X)
    assert hard.hard_labels().tolist() == hard.y.tolist()
    assert hard.hard_labels() is not hard.y
    assert evaluate(hard, X, y, n_networks=1).n_samples == 4


def test_adapters_train_on_hard_labels(images):
    X, y = images
    distiller = quick(learn_labels=True)
    _, y_syn = DistillationSampler(distiller).fit_resample(X, y)
    assert sorted(y_syn.tolist()) == [0, 1]
    classifier = DistilledClassifier(distiller, LogisticRegression()).fit(X, y)
    assert set(classifier.predict(X)) <= {0, 1}
    # Networks learn from the soft ones.
    assert DistilledClassifier(distiller).fit(X, y).predict_proba(X).shape == (40, 2)


# --- linear bases -----------------------------------------------------------------------------


@pytest.mark.parametrize("channels_last", [False, True])
def test_samples_are_combinations_of_the_bases(make, images, channels_last):
    X, y = images
    X = np.stack([X, 3 * X.transpose(0, 2, 1) + 5, X**2], axis=-1 if channels_last else 1)
    shape = X.shape[1:]
    distiller = make(ipc=4, parametrization=LinearBasis(3)).fit(X, y)
    distilled = distiller.distilled_
    (block,) = distilled.bases
    assert block.basis.shape == (3, *shape)
    assert block.coefficients.shape == (8, 3)
    assert block.offset.shape == shape
    np.testing.assert_allclose(rebuilt(distilled.bases), distilled.X, rtol=1e-5, atol=1e-5)
    assert np.linalg.matrix_rank(distilled.X.reshape(8, -1) - block.offset.ravel(), tol=1e-3) == 3
    axes = (0, 1) if channels_last else (1, 2)
    np.testing.assert_allclose(block.offset.mean(axis=axes), distilled.recipe.mean, rtol=1e-5)
    assert 0 <= distiller.score(X, y) <= 1


@pytest.mark.parametrize("layout", ["HW", "CHW", "HWC", "flat"])
def test_smaller_bases_are_enlarged(images, layout):
    X, y = images
    image_shape = None
    if layout in ("CHW", "HWC"):
        X = np.stack([X, 3 * X.transpose(0, 2, 1) + 5, X**2], axis=-1 if layout == "HWC" else 1)
    elif layout == "flat":
        X, image_shape = X.reshape(40, 36), (1, 6, 6)
    distiller = quick(
        ipc=4, parametrization=LinearBasis(3, downsample=2), image_shape=image_shape
    ).fit(X, y)
    distilled = distiller.distilled_
    (block,) = distilled.bases
    small = {"HW": (3, 3), "CHW": (3, 3, 3), "HWC": (3, 3, 3), "flat": (9,)}[layout]
    assert block.basis.shape == (3, *small)
    # To channels first and back.
    basis = np.moveaxis(block.basis, -1, 1) if layout == "HWC" else block.basis.reshape(3, -1, 3, 3)
    large = F.interpolate(from_numpy(basis), (6, 6), mode="bilinear").numpy()
    large = np.moveaxis(large, 1, -1) if layout == "HWC" else large.reshape(3, *X.shape[1:])
    expected = np.tensordot(block.coefficients, large, 1) + block.offset
    np.testing.assert_allclose(distilled.X, expected, rtol=1e-4, atol=1e-4)
    n_pixels = X[0].size
    assert distilled.storage == pytest.approx((3 * n_pixels / 4 + 8 * 3) / (2 * n_pixels))
    rate = distilled.provenance["learning_rate"]["basis.0"]
    assert rate == pytest.approx(0.25 * np.sqrt(2 / (3 + n_pixels / 4)))


def test_storage_counts_bases_coefficients_and_labels(images):
    def storage(**parameters):
        distilled = quick(max_iter=1, **parameters).fit(*images).distilled_
        return distilled, distilled.storage

    plain, n = storage(ipc=3)
    assert n == 3
    assert "storage" not in repr(plain)
    # Two classes, 36 pixels: 3 bases and 8 rows of 3 coefficients.
    basis, n = storage(ipc=4, parametrization=LinearBasis(3))
    assert n == pytest.approx((3 * 36 + 8 * 3) / (2 * 36))
    assert "ipc=4, storage=1.83, n_classes=2" in repr(basis)
    assert basis.subset(2).storage == pytest.approx((3 * 36 + 4 * 3) / (2 * 36))
    assert storage(ipc=3, learn_labels=True)[1] == pytest.approx(3 * (1 + 2 / 36))
    n = storage(ipc=4, parametrization=LinearBasis(3), learn_labels=True)[1]
    assert n == pytest.approx((3 * 36 + 8 * 3 + 8 * 2) / (2 * 36))


def test_bases_start_by_xavier_and_move_at_a_rate_of_their_size(images):
    def fit(**parameters):
        distiller = quick(ipc=10, parametrization=LinearBasis(12), max_iter=1, **parameters)
        return distiller.fit(*images).distilled_

    # A step of Adam moves every value by the rate: 0 and 1 steps differ by no more than it.
    still, moved = fit(learning_rate=1e-12), fit()
    scale = still.recipe.scale[0]
    sizes = {"basis": np.sqrt(2 / (12 + 36)), "coefficients": np.sqrt(2 / (20 + 12))}
    for name, size in sizes.items():
        unit = scale if name == "basis" else 1
        a, b = (getattr(data.bases[0], name) / unit for data in (still, moved))
        assert a.std() == pytest.approx(size, rel=0.12)
        assert 0.95 * np.sqrt(3) * size < abs(a).max() <= np.sqrt(3) * size * (1 + 1e-6)
        assert np.median(abs(a - b)) == pytest.approx(size / 4, rel=1e-3)
    rates = moved.provenance["learning_rate"]
    assert rates == pytest.approx({f"{name}.0": size / 4 for name, size in sizes.items()})
    both = fit(learning_rate=0.01).provenance["learning_rate"]
    assert both == {"basis.0": 0.01, "coefficients.0": 0.01}


def test_pixels_is_the_default_by_name(images):
    named, by_default = quick(parametrization=Pixels()).fit(*images), quick().fit(*images)
    np.testing.assert_array_equal(named.transform()[0], by_default.transform()[0])
    assert by_default.distilled_.bases == ()
    assert named.distilled_.provenance["learning_rate"] == 0.25 / 6


def test_bases_of_a_table():
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1], 15)
    X = rng.normal(size=(30, 4)) + y[:, None] + 5
    distilled = quick(ipc=3, parametrization=LinearBasis(2)).fit(X, y).distilled_
    np.testing.assert_allclose(rebuilt(distilled.bases), distilled.X, rtol=1e-5)


def test_n_basis_can_be_searched():
    distiller = quick(parametrization=LinearBasis(3))
    assert clone(distiller).set_params(parametrization__n_basis=5).parametrization.n_basis == 5


# --- saving, going on, boosting ---------------------------------------------------------------


@pytest.mark.parametrize("learned", LEARNED)
def test_saved_and_loaded(images, tmp_path, learned):
    distilled = quick(ipc=2, **LEARNED[learned]).fit(*images).distilled_
    distilled.save(tmp_path / "set.npz")
    loaded = DistilledDataset.load(tmp_path / "set.npz")
    np.testing.assert_array_equal(loaded.y, distilled.y)
    assert len(loaded.bases) == len(distilled.bases) == learned.startswith("basis")
    for a, b in zip(loaded.bases, distilled.bases):
        for name in vars(a):
            np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
    assert loaded.storage == distilled.storage


def test_a_file_whose_bases_do_not_fit_is_refused(images, tmp_path):
    distilled = quick(ipc=2, parametrization=LinearBasis(3)).fit(*images).distilled_
    (block,) = distilled.bases
    changes = {
        "basis": (block.basis[:, :5], r"bases' basis must be real numbers of shape \(3, 6, 6\)"),
        "coefficients": (block.coefficients[:3], "bases' coefficients must be a row per sample, 4"),
        "offset": (np.full((6, 6), np.nan), "bases' offset must be finite"),
    }
    for name, (array, message) in changes.items():
        data = replace(distilled, bases=(replace(block, **{name: array}),))
        with pytest.raises(ValueError, match=message):
            data.save(tmp_path / "set.npz")
    distilled.save(tmp_path / "set.npz")
    arrays = dict(np.load(tmp_path / "set.npz"))
    del arrays["bases.0.offset"]
    np.savez(tmp_path / "set.npz", **arrays)
    with pytest.raises(InvalidFileError, match="offset"):
        DistilledDataset.load(tmp_path / "set.npz")


@pytest.mark.parametrize("how", ["warm start", "checkpoint", "checkpoint after Ctrl-C"])
@pytest.mark.parametrize("learned", ["labels", "basis", "basis and labels"])
def test_a_resumed_run_gives_the_same_bits(images, tmp_path, learned, how):
    make = partial(quick, ipc=2, **LEARNED[learned])
    tools.check_same_bits_after(how, make, images, tmp_path, first=2)


@pytest.mark.parametrize("learned", ["labels", "basis and labels"])
def test_the_best_on_held_out_data_comes_back(images, monkeypatch, learned):
    scores = iter([0.2, 0.9, 0.3, 0.1])
    monkeypatch.setattr("skdistill._run.held_out.HeldOut.accuracy", lambda *args: next(scores))
    make = partial(quick, ipc=2, validation_fraction=0.2, validation_interval=1)
    best = make(**LEARNED[learned]).fit(*images)
    monkeypatch.setattr("skdistill._run.held_out.HeldOut.accuracy", lambda *args: 0.5)
    two = make(**LEARNED[learned], max_iter=2).set_params(validation_interval=2).fit(*images)
    assert best.distilled_.provenance["best_iter"] == 2
    for a, b in zip(best.transform(), two.transform()):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("learned", LEARNED)
def test_strong_boosting_leaves_earlier_blocks_bit_for_bit(make, images, learned):
    distiller = make(**LEARNED[learned])
    make_boosted = partial(BoostedDistiller, block_size=1, distiller=distiller, random_state=0)
    long = make_boosted(ipc=3).fit(*images)
    for budget in (1, 2):
        short = make_boosted(ipc=budget).fit(*images)
        for a, b in zip(long.transform(ipc=budget), short.transform()):
            np.testing.assert_array_equal(a, b)
        blocks = long.distilled_.subset(budget).bases
        assert len(blocks) == (budget if learned.startswith("basis") else 0)
        for a, b in zip(blocks, short.distilled_.bases):
            for name in vars(a):
                np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
        assert long.distilled_.subset(budget).storage == short.distilled_.storage
    if learned.startswith("basis"):
        np.testing.assert_allclose(
            rebuilt(long.distilled_.bases), long.distilled_.X, rtol=1e-4, atol=1e-4
        )
    assert len(np.unique(long.transform()[0].reshape(6, -1), axis=0)) == 6


@pytest.mark.parametrize("learned", ["labels", "basis and labels"])
def test_weak_boosting_moves_earlier_blocks_a_little(images, learned):
    distiller = quick(**LEARNED[learned])

    def first_block(beta):
        boosted = BoostedDistiller(
            2, block_size=1, beta=beta, distiller=distiller, random_state=0
        ).fit(*images)
        assert len(boosted.distilled_.bases) == 2 * learned.startswith("basis")
        if boosted.distilled_.bases:
            np.testing.assert_allclose(
                rebuilt(boosted.distilled_.bases), boosted.distilled_.X, rtol=1e-4, atol=1e-4
            )
        return boosted.transform(ipc=1)

    still, weak, full = map(first_block, (0.0, 0.1, 1.0))
    for a, b, c in zip(still, weak, full):
        assert 0 < abs(b - a).mean() < 0.5 * abs(c - a).mean()


def test_a_slow_sample_slows_its_bases(images):
    make = partial(quick, ipc=2, parametrization=LinearBasis(3))
    first = make().fit(*images).distilled_
    distiller = make(random_state=1).fit(*images, start=first, learning_rate_factors=[0, 1])
    distilled = distiller.distilled_
    np.testing.assert_array_equal(distilled.X[:2], first.X[:2])
    np.testing.assert_allclose(distilled.bases[0].basis, first.bases[0].basis, rtol=1e-5)
    assert (abs(distilled.X[2:] - first.X[2:]).reshape(2, -1).max(axis=1) > 1e-3).all()


def test_blocks_whose_training_data_had_other_moments(images, monkeypatch):
    # As in sets of older versions, each block holds out other samples, so that means and scales
    # differ.
    monkeypatch.setattr(BaseDistiller, "_hold_out_as", lambda self, seed: None)
    distiller = quick(parametrization=LinearBasis(3), validation_fraction=0.3)
    for beta in (0.0, 0.1):
        boosted = BoostedDistiller(3, block_size=1, beta=beta, distiller=distiller, random_state=0)
        short = clone(boosted).set_params(ipc=1).fit(*images).distilled_
        distilled = boosted.fit(*images).distilled_
        same = np.array_equal(distilled.bases[0].basis, short.bases[0].basis)
        assert same == (beta == 0)
        offsets = {float(block.offset[0, 0]) for block in distilled.bases}
        assert len(offsets) == 3
        np.testing.assert_allclose(rebuilt(distilled.bases), distilled.X, rtol=1e-4, atol=1e-4)


def test_a_set_to_start_from_brings_its_labels_and_bases(images):
    X, y = images
    first = quick(ipc=2, learn_labels=True, parametrization=LinearBasis(3)).fit(X, y).distilled_
    start = quick(
        ipc=2, learn_labels=True, parametrization=LinearBasis(1), init=first,
        learning_rate=1e-12, max_iter=1,
    ).fit(X, y).distilled_  # fmt: skip
    np.testing.assert_allclose(start.X, first.X, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(start.y, first.y, atol=1e-6)
    assert [len(block.basis) for block in start.bases] == [3]
    # Hard labels become one-hot ones.
    hard = quick(ipc=2).fit(X, y).distilled_
    soft = quick(ipc=2, learn_labels=True, init=hard, learning_rate=1e-12, max_iter=1).fit(X, y)
    np.testing.assert_allclose(soft.transform()[1], np.eye(2)[hard.y], atol=1e-6)


def test_labels_that_are_held_back_are_kept_bit_for_bit(images):
    first = quick(learn_labels=True).fit(*images).distilled_
    # Numbers that single precision does not have.
    first = replace(first, y=first.y + 0.1)
    later = quick(ipc=2, learn_labels=True)
    kept = later.fit(*images, start=first, learning_rate_factors=[0, 1]).transform()[1]
    assert kept.dtype == np.float64
    np.testing.assert_array_equal(kept[:2], first.y)


# --- bad input --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"parametrization": LinearBasis(0)}, "'n_basis' parameter of LinearBasis must be an int"),
        (
            {"parametrization": LinearBasis(2, downsample=0)},
            "'downsample' parameter of LinearBasis must be an int",
        ),
        (
            {"parametrization": LinearBasis(2, downsample=4)},
            r"downsample=4 must divide the images' height and width, \(6, 6\)",
        ),
        ({"parametrization": "linear"}, "'parametrization' parameter .* Got 'linear'"),
        ({"learn_labels": 2}, "'learn_labels' parameter"),
        ({"label_lr_scale": 0.0}, "'label_lr_scale' parameter .* Got 0.0"),
        (
            {"parametrization": LinearBasis(2), "init": "real"},
            r"init='real' must be 'gaussian', .* with parametrization=LinearBasis\(n_basis=2\)",
        ),
    ],
)
def test_bad_parameters(make, images, outer_step, parameters, message):
    outer_step.refuse()
    for distiller in (make(), BoostedDistiller(2, block_size=1, distiller=make())):
        prefix = "distiller__" if isinstance(distiller, BoostedDistiller) else ""
        distiller.set_params(**{prefix + name: value for name, value in parameters.items()})
        with pytest.raises(ValueError, match=message):
            distiller.fit(*images)


def test_bad_sets_to_start_from(images):
    soft = quick(learn_labels=True).fit(*images).distilled_
    with pytest.raises(ValueError, match=r"init must hold hard labels unless learn_labels=True"):
        quick(init=soft).fit(*images)
    with pytest.raises(ValueError, match=r"start must hold hard labels .*with_hard_labels\(\)"):
        quick(ipc=2).fit(*images, start=soft)
    with pytest.raises(ValueError, match=r"must have been distilled with a LinearBasis"):
        quick(init=soft.with_hard_labels(), parametrization=LinearBasis(2)).fit(*images)


def test_another_parametrization_is_another_run(images, tmp_path):
    path = tmp_path / "run"
    quick(ipc=2, parametrization=LinearBasis(3), checkpoint=path).fit(*images)
    for other in ({"parametrization": LinearBasis(2)}, {}, {"learn_labels": True}):
        with pytest.raises(ValueError, match="as in the run that checkpoint="):
            quick(ipc=2, checkpoint=path, **other).fit(*images)


def test_what_is_learned_shares_no_memory_with_the_start(images):
    first = quick(ipc=2, learn_labels=True, parametrization=LinearBasis(3)).fit(*images).distilled_
    before = {name: array.copy() for name, array in vars(first.bases[0]).items()}
    y = first.y.copy()
    quick(ipc=2, learn_labels=True, parametrization=LinearBasis(3), init=first).fit(*images)
    for name, array in before.items():
        np.testing.assert_array_equal(getattr(first.bases[0], name), array)
    np.testing.assert_array_equal(first.y, y)


@pytest.mark.slow
def test_compiled_steps_learn_labels_too(images):
    eager, compiled = (
        quick(ipc=2, learn_labels=True, max_iter=2, architecture="mlp", compile=compile)
        .fit(*images)
        for compile in (False, True)
    )  # fmt: skip
    np.testing.assert_allclose(eager.transform()[1], compiled.transform()[1], atol=1e-4)
