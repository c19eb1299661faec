"""Tiles, hallucinators and penalties of distillers: what they make, keep, store and refuse."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import tools
import torch
import torch.nn.functional as F
from tools import tiny

from skdistill import BoostedDistiller, DistilledDataset
from skdistill.distilled import HallucinatorBlock, TileBlock
from skdistill.exceptions import InvalidFileError
from skdistill.parametrization import Hallucinated, LinearBasis, Tiled

quick = partial(tools.quick, ipc=4, max_iter=3, eval_steps=3, architecture=tiny)
MADE = {
    "tiles": {"parametrization": Tiled(), "init": "real"},
    "clamped tiles of noise": {"parametrization": Tiled(3, clamp=True), "learn_labels": True},
    "hallucinators": {"parametrization": Hallucinated(2), "init": "real"},
    "hallucinators and labels": {"parametrization": Hallucinated(4), "learn_labels": True},
    "penalty": {"parametrization": LinearBasis(2, coef_penalty=0.1), "init": "gaussian"},
}
LAYOUTS = ["HW", "CHW", "HWC", "flat"]


@pytest.fixture(params=MADE)
def made(request):
    return MADE[request.param]


def laid_out(images, layout):
    """Return images with channels and in another layout, labels, and their image_shape."""
    X, y = images
    if layout == "flat":
        return X.reshape(len(X), -1), y, (1, 6, 6)
    if layout != "HW":
        X = np.stack([X, 3 * X.transpose(0, 2, 1) + 5, X**2], axis=-1 if layout == "HWC" else 1)
    return X, y, None


def rebuilt(distilled):
    """Return the samples that the blocks of a set make, with channels first."""
    layout, parts = distilled.recipe.layout, []
    for block in distilled.bases:
        arrays = {name: torch.from_numpy(array) for name, array in vars(block).items()}
        if isinstance(block, TileBlock):
            factor = layout.factor_of(block.tiles[0].size)
            tiles = torch.from_numpy(layout.smaller(factor).to_engine(block.tiles))
            parts.append(F.interpolate(tiles, layout.network_shape[1:], mode="bilinear"))
        elif isinstance(block, HallucinatorBlock):
            basis = torch.from_numpy(layout.to_engine(block.basis))
            offset = torch.from_numpy(layout.to_engine(block.offset[None]))
            for b, h in block.pairs:
                X = F.conv2d(basis[b][None], arrays["conv_weight"][h], arrays["conv_bias"][h])
                X = X * arrays["scale"][h] + arrays["shift"][h]
                weight, bias = (arrays[f"transposed_{name}"][h] for name in ("weight", "bias"))
                parts.append(F.conv_transpose2d(X, weight, bias) + offset)
        else:
            X = np.tensordot(block.coefficients, block.basis, 1) + block.offset
            parts.append(torch.from_numpy(layout.to_engine(X)))
    return torch.cat(parts).numpy()


def assert_made_of_its_blocks(distilled):
    X = distilled.recipe.layout.to_engine(distilled.X)
    np.testing.assert_allclose(X, rebuilt(distilled), rtol=1e-4, atol=1e-4)


def same(a, b):
    """Return whether two sets have the same samples, labels and blocks, bit for bit."""
    arrays = [
        [each.X, each.y, *(array for block in each.bases for array in vars(block).values())]
        for each in (a, b)
    ]
    kinds = [[type(block) for block in each.bases] for each in (a, b)]
    return kinds[0] == kinds[1] and all(
        x.dtype == y.dtype and np.array_equal(x, y) for x, y in zip(*arrays, strict=True)
    )


# --- what they make ---------------------------------------------------------------------------


@pytest.mark.parametrize("layout", LAYOUTS)
def test_samples_are_made_of_what_is_kept(images, made, layout):
    X, y, image_shape = laid_out(images, layout)
    distilled = quick(image_shape=image_shape, **made).fit(X, y).distilled_
    assert distilled.X.shape == (8, *X.shape[1:])
    assert_made_of_its_blocks(distilled)
    assert len(np.unique(distilled.X.reshape(8, -1), axis=0)) == 8
    averaged = quick(image_shape=image_shape, ema_decay=0.5, **made).fit(X, y).distilled_
    assert_made_of_its_blocks(averaged)
    assert not np.array_equal(averaged.X, distilled.X)


def test_a_constant_channel_comes_back_as_it_was(images, made):
    X, y = images
    X = np.stack([X, np.full_like(X, 0.1)], axis=1)
    distilled = quick(image_shape=(2, 6, 6), **made).fit(X, y).distilled_
    assert (distilled.X[:, 1] == 0.1).all()
    assert_made_of_its_blocks(distilled)


def test_tiles_start_from_smaller_samples(images):
    start = partial(quick, init="real", learning_rate=1e-12, max_iter=1)
    samples = start().fit(*images).distilled_.X
    (block,) = start(parametrization=Tiled(3)).fit(*images).distilled_.bases
    assert block.tiles.shape == (8, 2, 2)
    np.testing.assert_allclose(block.tiles, samples[:, ::3, ::3], rtol=1e-5, atol=1e-6)


def test_bases_start_from_samples_and_hallucinators_are_shared_by_the_classes(images):
    start = partial(quick, init="real", learning_rate=1e-12, max_iter=1)
    samples = start().fit(*images).distilled_.X
    distilled = start(parametrization=Hallucinated(2)).fit(*images).distilled_
    (block,) = distilled.bases
    recipe = distilled.recipe
    bases = block.basis * recipe.scale[0] + recipe.mean[0]
    # Two of each class.
    np.testing.assert_allclose(bases, samples[[0, 1, 4, 5]], rtol=1e-4, atol=1e-5)
    # The first basis of both classes by the first hallucinator, then by the second.
    assert block.pairs.tolist() == [[0, 0], [1, 0], [0, 1], [1, 1], [2, 0], [3, 0], [2, 1], [3, 1]]
    assert block.conv_weight.shape == (2, 1, 1, 3, 3)


def test_noise_and_kernels_are_not_of_the_same_numbers(images):
    distilled = quick(parametrization=Hallucinated(4), learning_rate=1e-12, max_iter=1).fit(*images)
    (block,) = distilled.distilled_.bases
    basis, kernels = block.basis.ravel()[:36], block.conv_weight.ravel()
    # Uniform numbers that noise was made of would rank as it does.
    assert abs(np.corrcoef(basis, kernels)[0, 1]) < 0.5
    assert np.linalg.norm(block.basis[0]) == pytest.approx(1, rel=1e-5)


def test_all_tensors_of_hallucinators_are_learned_at_one_rate(images):
    still, moved = (
        quick(parametrization=Hallucinated(2), init="real", max_iter=1, **rate).fit(*images)
        for rate in ({"learning_rate": 1e-12}, {})
    )
    rates = moved.distilled_.provenance["learning_rate"]
    assert set(rates.values()) == {0.25 / 6}
    a, b = (each.distilled_.bases[0] for each in (still, moved))
    scale = moved.distilled_.recipe.scale[0]
    for name in ("basis", *a.hallucinators):
        unit = scale if name.startswith("transposed") else 1
        # Adam's first step is as long as the rate.
        step = abs(getattr(a, name) - getattr(b, name)) / unit
        assert np.median(step) == pytest.approx(0.25 / 6, rel=1e-3)


def test_clamped_tiles_stay_within_the_training_data(images):
    X, y, _ = laid_out(images, "CHW")
    inside, outside = (
        quick(parametrization=Tiled(clamp=clamp), learning_rate=5.0).fit(X, y)
        for clamp in (True, False)
    )
    low, high = X.min(axis=(0, 2, 3)), X.max(axis=(0, 2, 3))
    tiles = inside.distilled_.bases[0].tiles
    for channel in range(3):
        ours = tiles[:, channel]
        assert ours.min() == pytest.approx(low[channel], rel=1e-5, abs=1e-5)
        assert ours.max() == pytest.approx(high[channel], rel=1e-5, abs=1e-5)
    free = outside.distilled_.bases[0].tiles
    assert (free.min(axis=(0, 2, 3)) < low - 0.1).any()
    # So are the samples, which are between the values of their tile.
    assert (inside.transform()[0].min(axis=(0, 2, 3)) >= low - 1e-4).all()


def test_a_penalty_shrinks_the_coefficients_and_is_not_in_the_history(images):
    def fit(penalty):
        basis = LinearBasis(2, coef_penalty=penalty)
        distiller = quick(parametrization=basis, init="gaussian", max_iter=4).fit(*images)
        return distiller.distilled_, distiller.history_

    (plain, plain_history), (small, small_history) = fit(0.0), fit(1e4)
    norms = [np.linalg.norm(each.bases[0].coefficients) for each in (plain, small)]
    assert norms[1] < 0.7 * norms[0]
    assert small_history["loss"][0] == plain_history["loss"][0]
    assert small_history["grad_norm"][0] > 1e3 > plain_history["grad_norm"][0]


# --- storage ----------------------------------------------------------------------------------


def test_storage(images):
    def storage(**parameters):
        distilled = quick(max_iter=1, **parameters).fit(*images).distilled_
        return distilled, distilled.storage

    # The same storage as one plain sample per class, for any number of tiles of a sample.
    assert storage(ipc=4, parametrization=Tiled())[1] == storage(ipc=1)[1] == 1
    distilled, n = storage(ipc=9, parametrization=Tiled(3))
    assert (n, distilled.subset(3).storage) == (1, pytest.approx(1 / 3))
    assert storage(ipc=3, parametrization=Tiled(), learn_labels=True)[1] == pytest.approx(
        3 * (1 / 4 + 2 / 36)
    )
    # Two kernels of nine with a bias each, and scale and shift of 4 x 4 pixels.
    distilled, n = storage(ipc=4, parametrization=Hallucinated(2))
    each = 2 * (9 + 1 + 16)
    assert n == pytest.approx((4 * 36 + 2 * each) / (2 * 36))
    assert f"ipc=4, storage={n:.3g}" in repr(distilled)
    # The first basis of each class and the first hallucinator, then both hallucinators.
    assert distilled.subset(1).storage == pytest.approx((2 * 36 + each) / (2 * 36))
    assert distilled.subset(2).storage == pytest.approx((2 * 36 + 2 * each) / (2 * 36))
    assert distilled.subset(3).storage == pytest.approx(n)
    for ipc in (1, 2, 3):
        assert_made_of_its_blocks(distilled.subset(ipc))
    assert "they take the storage of" in distilled.card()


# --- saving, going on, boosting ---------------------------------------------------------------


def test_saved_and_loaded_bit_for_bit(images, tmp_path, made):
    distilled = quick(**made).fit(*images).distilled_
    for each in (distilled, distilled.subset(3)):
        each.save(tmp_path / "set.npz")
        loaded = DistilledDataset.load(tmp_path / "set.npz")
        assert same(loaded, each)
        assert loaded.storage == each.storage


def test_files_whose_blocks_do_not_fit_are_refused(images, tmp_path):
    def refused(distilled, block, message):
        with pytest.raises(ValueError, match=message):
            replace(distilled, bases=(block,)).save(tmp_path / "set.npz")

    tiles = quick(**MADE["tiles"]).fit(*images).distilled_
    (block,) = tiles.bases
    refused(tiles, TileBlock(block.tiles[:, :2]), r"tiles must be real .* of shape \(8, 6, 6\)")
    refused(tiles, TileBlock(block.tiles[:7]), "bases' tiles must be a row per sample, 8; got 7")
    refused(tiles, TileBlock(np.full_like(block.tiles, np.nan)), "bases' tiles must be finite")
    made = quick(**MADE["hallucinators"]).fit(*images).distilled_
    (block,) = made.bases
    for changes, message in (
        ({"scale": block.scale[:, :, 1:]}, r"bases' scale must be .* shape \(2, 1, 4, 4\)"),
        ({"conv_weight": block.conv_weight[:, 0]}, r"bases' conv_weight must be real numbers"),
        ({"pairs": block.pairs + 1}, "bases' pairs must be rows of a basis and a hallucinator"),
        ({"pairs": -block.pairs}, "bases' pairs must be rows of a basis and a hallucinator"),
        ({"pairs": block.pairs[1:]}, "bases' pairs must be a row per sample, 8; got 7"),
        ({"offset": np.full((6, 6), np.inf)}, "bases' offset must be finite"),
    ):
        refused(made, replace(block, **changes), message)
    made.save(tmp_path / "set.npz")
    whole = dict(np.load(tmp_path / "set.npz"))
    for name, message in (("scale", "scale"), ("pairs", "one of coefficients, tiles, pairs")):
        arrays = {k: v for k, v in whole.items() if k != f"bases.0.{name}"}
        np.savez(tmp_path / "set.npz", **arrays)
        with pytest.raises(InvalidFileError, match=message):
            DistilledDataset.load(tmp_path / "set.npz")


@pytest.mark.parametrize(("how", "first"), [("warm start", 1), ("checkpoint after Ctrl-C", 2)])
def test_a_resumed_run_gives_the_same_bits(images, tmp_path, made, how, first):
    make = partial(quick, ema_decay=0.9, **made)
    tools.check_same_bits_after(how, make, images, tmp_path, first=first)


def test_a_run_with_bases_does_not_go_on_in_other_units(images, made):
    X, y = images
    distiller = quick(**made, warm_start=True).fit(X, y).set_params(max_iter=4)
    with pytest.raises(ValueError, match=r"must give the mean .*init=distiller\.distilled_"):
        distiller.fit(1.5 * X + 0.2, y)
    assert distiller.fit(X, y).n_iter_ == 4


def test_strong_boosting_leaves_earlier_blocks_bit_for_bit(images, made):
    make = partial(BoostedDistiller, block_size=4, distiller=quick(**made), random_state=0)
    long, short = (make(ipc).fit(*images).distilled_ for ipc in (8, 4))
    assert len(long.bases) == 2
    assert same(long.subset(4), short)
    assert long.subset(4).storage == short.storage
    assert_made_of_its_blocks(long)


def test_blocks_whose_training_data_had_other_moments(images, made):
    # Each block holds out other samples, so that means and scales differ.
    distiller = quick(validation_fraction=0.3, **made)
    for beta in (0.0, 0.1):
        make = partial(BoostedDistiller, block_size=4, beta=beta, distiller=distiller)
        long, short = (make(ipc, random_state=0).fit(*images).distilled_ for ipc in (8, 4))
        assert same(long.subset(4), short) == (beta == 0)
        assert_made_of_its_blocks(long)


def test_single_samples_are_kept(images):
    first = quick(**MADE["tiles"]).fit(*images).distilled_
    factors = [0, 0, 1, 0.5]
    tiles = quick(**MADE["tiles"]).fit(*images, start=first, learning_rate_factors=factors)
    distilled = tiles.distilled_
    np.testing.assert_array_equal(distilled.X[:4], first.X[:4])
    np.testing.assert_array_equal(distilled.bases[0].tiles[:4], first.bases[0].tiles[:4])
    assert (abs(distilled.X[4:] - first.X[4:]).reshape(4, -1).max(axis=1) > 1e-3).all()
    assert_made_of_its_blocks(distilled)


def test_tiles_that_are_held_back_are_not_clamped(images):
    X, y = images
    first = quick(parametrization=Tiled(), ipc=2).fit(X, y).distilled_
    far = first.X.max() + X.max()
    first = replace(first, X=first.X + far, bases=(TileBlock(first.bases[0].tiles + far),))
    distiller = quick(parametrization=Tiled(clamp=True), ipc=3)

    def tiles(factors):
        fitted = distiller.fit(X, y, start=first, learning_rate_factors=factors)
        # As the networks have seen them.
        return fitted._run.state.tensors["tiles.0"], fitted.distilled_

    for factors, still in (([0, 0, 1], slice(0, 4)), ([0, 1, 1], slice(0, 2))):
        seen, distilled = tiles(factors)
        mean, scale = (getattr(distilled.recipe, name)[0] for name in ("mean", "scale"))
        found = seen[:, 0] * scale + mean
        np.testing.assert_allclose(found[still], first.bases[0].tiles[still], rtol=1e-5)
        assert (found[still.stop :] <= X.max() + 1e-4).all()
        np.testing.assert_array_equal(distilled.X[still], first.X[still])


def test_a_set_to_start_from_goes_on_as_it_is(images, made):
    first = quick(**made).fit(*images).distilled_
    kind = type(made["parametrization"])
    # Other numbers of tiles or hallucinators are those of later blocks.
    other = {Tiled: Tiled(2), Hallucinated: Hallucinated(1), LinearBasis: LinearBasis(1)}[kind]
    options = {**made, "parametrization": other, "learning_rate": 1e-12, "max_iter": 1}
    again = quick(**{**options, "init": first}).fit(*images).distilled_
    np.testing.assert_allclose(again.X, first.X, rtol=1e-4, atol=1e-4)
    shapes = [[array.shape for array in vars(each.bases[0]).values()] for each in (again, first)]
    assert shapes[0] == shapes[1]
    assert_made_of_its_blocks(again)
    more = quick(**options).set_params(ipc=5).fit(*images, start=first).distilled_
    assert [block.n_samples for block in more.bases] == [8, 2]
    assert_made_of_its_blocks(more)


# --- bad input --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"parametrization": Tiled(0)}, "'factor' parameter of Tiled must be an int"),
        ({"parametrization": Tiled(clamp=2)}, "'clamp' parameter of Tiled must be"),
        ({"parametrization": Tiled(4)}, r"factor=4 must divide .* height and width, \(6, 6\)"),
        ({"parametrization": Hallucinated(0)}, "'n' parameter of Hallucinated must be an int"),
        (
            {"parametrization": Hallucinated(3)},
            r"ipc=4 must be a multiple of n=3 with parametrization=Hallucinated\(n=3\): every",
        ),
        (
            {"parametrization": LinearBasis(2, coef_penalty=-1.0)},
            "'coef_penalty' parameter of LinearBasis must be a float",
        ),
    ],
)
def test_bad_parameters(images, outer_step, parameters, message):
    outer_step.refuse()
    with pytest.raises(ValueError, match=message):
        quick(**parameters).fit(*images)
    boosted = BoostedDistiller(4, block_size=4, distiller=quick(**parameters))
    with pytest.raises(ValueError, match=message):
        boosted.fit(*images)


@pytest.mark.parametrize("made", [Tiled(), Hallucinated(2)])
def test_tables_and_tiny_images_are_refused(table, images, outer_step, made):
    outer_step.refuse()
    words = "must be 'pixels' or a LinearBasis for samples that are not images"
    with pytest.raises(ValueError, match=words):
        quick(parametrization=made).fit(*table)
    with pytest.raises(ValueError, match=words):
        quick(parametrization=made).estimate(*table)
    X, y = images
    message = (
        r"divide .* \(2, 3\)" if isinstance(made, Tiled) else "at least 3 x 3 pixels; got .2, 3"
    )
    with pytest.raises(ValueError, match=message):
        quick(parametrization=made).fit(X[:, :2, :3], y)


def test_a_set_to_start_from_must_be_of_the_same_kind(images, outer_step):
    sets = {name: quick(**MADE[name]).fit(*images).distilled_ for name in ("tiles", "penalty")}
    plain = quick().fit(*images).distilled_
    outer_step.refuse()
    for start, parametrization, message in (
        (plain, Tiled(), "distilled with a Tiled, because .* it has none"),
        (sets["tiles"], Hallucinated(2), "with a Hallucinated, .* its own are of another kind"),
        (sets["penalty"], Tiled(), "with a Tiled, .* its own are of another kind"),
        (sets["tiles"], LinearBasis(2), "with a LinearBasis, .* its own are of another kind"),
    ):
        with pytest.raises(ValueError, match=message):
            quick(parametrization=parametrization, init=start).fit(*images)
    with pytest.raises(ValueError, match=r"must hold a multiple of n=3 samples per class .* got 4"):
        quick(ipc=6, parametrization=Hallucinated(3), init="gaussian").fit(
            *images, start=sets["tiles"]
        )


def test_estimate_counts_the_samples_that_are_made(images):
    plain, tiles = (quick(parametrization=p).estimate(*images) for p in ("pixels", Tiled()))
    assert tiles.memory == plain.memory
    assert tiles.seconds_per_step > 0
