"""Augmentation: what it does to an image, and that it is a differentiable, replayable function."""

import json

import numpy as np
import pytest
import torch
from sklearn.base import clone
from torch.fx.experimental.proxy_tensor import make_fx

from skdistill._engine.learner import Learner
from skdistill.augmentation import (
    AUGMENTATIONS,
    Augmentation,
    Color,
    Compose,
    Crop,
    Cutout,
    Flip,
    OneOf,
    Rotation,
    Scale,
    check_augmentation,
)
from skdistill.distilled import DistilledDataset
from skdistill.evaluation import evaluate
from skdistill.evaluation._plain_augmentation import from_plain, to_plain
from skdistill.networks import ConvNet

SHAPE = (2, 4, 6)
LEAVES = [Flip(), Rotation(60), Crop(0.3), Scale(1.5), Color(), Cutout(0.4)]
EVERYTHING = Compose([Color(), *LEAVES[:4], Cutout(0.4), OneOf(LEAVES)])
ALL = [*LEAVES, *AUGMENTATIONS.values(), EVERYTHING]


def name_of(augmentation):
    return type(augmentation).__name__


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def batch(n=5, shape=SHAPE, dtype=torch.float64):
    return torch.randn(n, *shape, generator=generator(9), dtype=dtype)


def image(*rows):
    """Return a batch of one image with one channel."""
    return torch.tensor(rows, dtype=torch.float64)[None, None]


def column(*values):
    """Return explicit parameters for a batch of one image."""
    return torch.tensor(values)[:, None]


def assert_gives(augmentation, values, X, expected):
    torch.testing.assert_close(augmentation.apply(X, column(*values)), expected)


# What each does --------------------------------------------------------------------------------


def test_flip_mirrors_rows():
    X = image([1.0, 2.0, 3.0], [4.0, 5.0, 6.0])
    assert_gives(Flip(), [1.0], X, image([3.0, 2.0, 1.0], [6.0, 5.0, 4.0]))
    assert_gives(Flip(), [0.0], X, X)


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_rotation_by_right_angles_is_counterclockwise(turns):
    X = batch(1, (2, 5, 5))
    expected = torch.rot90(X, turns, (2, 3))
    torch.testing.assert_close(
        Rotation().apply(X, column(90.0 * turns)), expected, rtol=0, atol=1e-6
    )


def test_rotation_does_not_shear_an_oblong_image():
    X = torch.zeros(1, 1, 3, 7, dtype=torch.float64)
    X[..., 1, 4] = 1.0  # one pixel to the right of the center
    expected = torch.zeros_like(X)
    expected[..., 0, 3] = 1.0  # one pixel above it
    torch.testing.assert_close(Rotation().apply(X, column(90.0)), expected, rtol=0, atol=1e-6)


def test_crop_shifts_by_whole_pixels_and_pads_with_the_mean_color():
    X = image([1.0, 2.0, 3.0], [4.0, 5.0, 6.0], [7.0, 8.0, 9.0])
    right_and_down = image([0.0, 0.0, 0.0], [0.0, 1.0, 2.0], [0.0, 4.0, 5.0])
    assert_gives(Crop(), [1.0, 1.0], X, right_and_down)
    assert_gives(Crop(), [-2.0, 0.0], X, image([3.0, 0.0, 0.0], [6.0, 0.0, 0.0], [9.0, 0.0, 0.0]))


def test_scale_shrinks_each_axis_on_its_own():
    X = image([1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0])
    # Twice the width is seen: the outer columns show what lies outside, the inner ones the means
    # of the neighbors that they cover.
    assert_gives(Scale(), [2.0, 1.0], X, image([0.0, 1.5, 3.5, 0.0], [0.0, 5.5, 7.5, 0.0]))
    # Half the height is visible: both rows lie a quarter of a pixel from the middle.
    enlarged = image([2.0, 3.0, 4.0, 5.0], [4.0, 5.0, 6.0, 7.0])
    assert_gives(Scale(), [1.0, 0.5], X, enlarged)


def test_color_shifts_and_scales_about_the_means():
    X = torch.tensor([[1.0, 3.0], [5.0, 7.0]], dtype=torch.float64).view(1, 2, 1, 2)
    assert_gives(Color(), [0.5, 1.0, 1.0], X, X + 0.5)
    # A pixel's channels are (1, 5) and (3, 7), with means 3 and 5.
    gray = torch.tensor([[3.0, 5.0], [3.0, 5.0]], dtype=torch.float64).view(1, 2, 1, 2)
    assert_gives(Color(), [0.0, 0.0, 1.0], X, gray)
    assert_gives(Color(), [0.0, 1.0, 0.5], X, 0.5 * (X - 4) + 4)
    assert_gives(Color(), [1.0, 0.0, 0.5], X, 0.5 * (gray - 4) + 5)


def test_saturation_does_nothing_to_one_channel():
    X = image([1.0, 2.0], [3.0, 4.0])
    assert_gives(Color(), [0.0, 0.3, 1.0], X, X)


def test_cutout_zeroes_a_square_that_may_stick_out():
    X = torch.ones(1, 1, 4, 4, dtype=torch.float64)
    inside = image([1.0] * 4, [1.0, 0.0, 0.0, 1.0], [1.0, 0.0, 0.0, 1.0], [1.0] * 4)
    assert_gives(Cutout(), [1.0, 1.0], X, inside)
    corner = image([1.0, 1.0, 1.0, 0.0], [1.0] * 4, [1.0] * 4, [1.0] * 4)
    assert_gives(Cutout(), [-1.0, 3.0], X, corner)


def test_steps_are_applied_in_order():
    X = image([1.0, 2.0, 3.0])
    right, flipped = [1.0, 0.0], [1.0]
    assert_gives(Compose([Crop(), Flip()]), [*right, *flipped], X, image([2.0, 1.0, 0.0]))
    assert_gives(Compose([Flip(), Crop()]), [*flipped, *right], X, image([0.0, 3.0, 2.0]))
    # The cutout lies between two geometric steps: these are not merged across it.
    around = Compose([Flip(), Cutout(0.5), Crop()])
    assert_gives(around, [*flipped, 0.0, -1.0, *right], X, image([0.0, 0.0, 2.0]))


def test_geometric_steps_are_one_resampling():
    X = batch()
    there_and_back = Compose([Crop(), Rotation(), Rotation(), Crop()])
    values = column(3.0, 2.0, 33.0, -33.0, -3.0, -2.0).repeat(1, 5)
    # Two resamplings in a row would have lost what left the image, and blurred the rest.
    torch.testing.assert_close(there_and_back.apply(X, values), X, rtol=0, atol=1e-6)


@pytest.mark.parametrize("augmentation", ALL, ids=name_of)
def test_identity_gives_the_images_back(augmentation):
    X = batch()
    values = augmentation.identity(5, SHAPE)
    assert values.shape == (augmentation.n_parameters, 5)
    torch.testing.assert_close(augmentation.apply(X, values), X, rtol=0, atol=1e-12)


# What is drawn ---------------------------------------------------------------------------------


@pytest.mark.parametrize("augmentation", ALL, ids=name_of)
def test_a_draw_is_repeatable_and_differs_from_the_next(augmentation):
    before = torch.get_rng_state()
    same = generator(3)
    first, second = (augmentation.draw(same, 40, SHAPE) for _ in range(2))
    assert first.shape == (augmentation.n_parameters, 40)
    assert first.dtype == torch.float32
    assert torch.equal(first, augmentation.draw(generator(3), 40, SHAPE))
    assert not torch.equal(first, second)
    assert torch.equal(before, torch.get_rng_state())


def drawn(augmentation, shape=(3, 32, 16), n=20_000):
    return augmentation.draw(generator(1), n, shape)


@pytest.mark.parametrize("p", [0, 0.3, 1])
def test_flip_probability(p):
    values = drawn(Flip(p))
    assert set(values.unique().tolist()) <= {0.0, 1.0}
    # Five standard deviations of a rate over 20,000 samples; for p = 0 and 1 that is none at all.
    assert abs(values.mean().item() - p) <= 5 * (p * (1 - p) / 20_000) ** 0.5


@pytest.mark.parametrize(
    ("augmentation", "ranges"),
    [
        (Rotation(15), [(-15, 15)]),
        (Scale(1.25), [(0.8, 1.25), (0.8, 1.25)]),
        (Color(1.0, 2.0, 0.5), [(-0.5, 0.5), (0, 2), (0.5, 1.5)]),
        (Color(None, None, None), [(0, 0), (1, 1), (1, 1)]),
    ],
)
def test_uniform_ranges(augmentation, ranges):
    for values, (low, high) in zip(drawn(augmentation), ranges, strict=True):
        assert low <= values.min() <= low + 0.01 * (high - low)
        assert high - 0.01 * (high - low) <= values.max() <= high
        assert values.mean().item() == pytest.approx((low + high) / 2, abs=0.02 * (high - low))


@pytest.mark.parametrize(
    ("augmentation", "places"),
    [
        # An eighth of 16 pixels to the right and of 32 down.
        (Crop(0.125), [range(-2, 3), range(-4, 5)]),
        (Crop(0), [range(1), range(1)]),
        # 16 x 8 pixels around each place between pixels, the image's border included.
        (Cutout(0.5), [range(-8, 25), range(-4, 13)]),
        # 3 x 1 pixels around each pixel.
        (Cutout(0.08), [range(-1, 31), range(16)]),
    ],
)
def test_places_are_whole_pixels_and_equally_likely(augmentation, places):
    for values, expected in zip(drawn(augmentation), places, strict=True):
        unique, counts = values.unique(return_counts=True)
        assert unique.tolist() == list(expected)
        mean = 20_000 / len(expected)
        assert (counts - mean).abs().max() <= 5 * mean**0.5


@pytest.mark.parametrize("augmentation", LEAVES, ids=name_of)
def test_samples_have_numbers_of_their_own(augmentation):
    values = drawn(augmentation)
    for row in values:
        left, right = row[:10_000], row[10_000:]
        # Independent: the correlation's standard deviation is 0.01.
        assert abs(torch.corrcoef(torch.stack((left, right)))[0, 1]) < 0.05
    if len(values) > 1:
        between = torch.corrcoef(values) - torch.eye(len(values))
        assert between.abs().max() < 0.05


def test_one_of_chooses_one_for_the_batch():
    choices = OneOf([Rotation(), Crop(), Scale()])
    counts = [0, 0, 0]
    for seed in range(600):
        rotation, crop, scale = choices.draw(generator(seed), 4, (1, 8, 8)).split([1, 2, 2])
        # A crop of 8 pixels by none is one of 9 draws: look at all four samples.
        changed = [rotation.ne(0).any(), crop.ne(0).any(), scale.ne(1).any()]
        assert sum(changed) <= 1
        counts = [count + int(c) for count, c in zip(counts, changed)]
    assert sum(counts) >= 599
    # Five standard deviations of a binomial with p = 1/3.
    assert max(abs(count - 200) for count in counts) < 5 * (600 * 2 / 9) ** 0.5


def test_one_of_applies_only_the_chosen_one():
    X = batch()
    choices = OneOf([Color(), Rotation(60)])
    seen = set()
    for seed in range(10):
        values = choices.draw(generator(seed), 5, SHAPE)
        which = int(values[3].ne(0).any())
        alone = choices.steps[which].apply(X, values.split([3, 1])[which])
        torch.testing.assert_close(choices.apply(X, values), alone, rtol=0, atol=1e-12)
        assert not torch.allclose(alone, X)
        seen.add(which)
    assert seen == {0, 1}


# A differentiable function that can be replayed --------------------------------------------------


@pytest.mark.parametrize("augmentation", ALL, ids=name_of)
def test_samples_and_chunks_are_independent(augmentation):
    X, values = batch(), augmentation.draw(generator(4), 5, SHAPE)
    whole = augmentation.apply(X, values)
    for rows in ([3], [1, 2], [4, 0]):
        torch.testing.assert_close(augmentation.apply(X[rows], values[:, rows]), whole[rows])
    assert torch.equal(augmentation.apply(X, values), whole)


@pytest.mark.parametrize("augmentation", ALL, ids=name_of)
def test_derivatives(augmentation):
    X = batch(2, (2, 3, 4)).requires_grad_()
    values = augmentation.draw(generator(5), 2, (2, 3, 4))

    def apply(X):
        return augmentation.apply(X, values)

    assert torch.autograd.gradcheck(apply, X)
    try:
        assert torch.autograd.gradgradcheck(apply, X)
    except RuntimeError as error:
        # No step needs it (see below), and older versions of torch do not have it.
        if "grid_sampler_2d_backward is not implemented" not in str(error):
            raise
        pytest.skip("this torch has no second derivative of grid_sample")


def inner_gradient(augmentation):
    """Return the gradient of an inner step's loss in the parameters, with augmented images."""
    learner = Learner(lambda: ConvNet(SHAPE, 3, width=3, depth=1), dtype=torch.float64)
    y = torch.arange(3)

    def gradient(theta, X, values):
        loss = learner.loss(theta, augmentation.apply(X, values), y)
        return torch.autograd.grad(loss, theta, create_graph=True)[0]

    return gradient, learner.init(0)


def test_derivatives_of_an_inner_steps_gradient():
    gradient, theta = inner_gradient(EVERYTHING)
    X, values = batch(3), EVERYTHING.draw(generator(5), 3, SHAPE)
    inputs = theta.requires_grad_(), X.requires_grad_()
    assert torch.autograd.gradcheck(lambda theta, X: gradient(theta, X, values), inputs)


@pytest.mark.parametrize("augmentation", [*AUGMENTATIONS.values(), EVERYTHING], ids=name_of)
def test_one_traced_adjoint_serves_all_draws(augmentation):
    gradient, theta = inner_gradient(augmentation)

    def adjoint(theta, X, values, bar):
        theta, X = theta.detach().requires_grad_(), X.detach().requires_grad_()
        return torch.autograd.grad(gradient(theta, X, values), (theta, X), bar)

    X, bar = batch(3), torch.randn(len(theta), generator=generator(6), dtype=torch.float64)
    draws = [augmentation.draw(generator(seed), 3, SHAPE) for seed in range(8)]
    with torch.enable_grad():
        traced = make_fx(adjoint)(theta, X, draws[0], bar)
    results = [traced(theta, X, values, bar) for values in draws]
    for values, result in zip(draws, results):
        torch.testing.assert_close(result, adjoint(theta, X, values, bar))
    assert not torch.allclose(results[0][1], results[1][1])


# Half a minute of compilation.
@pytest.mark.slow
def test_compiled_equals_eager():
    X = batch(3, dtype=torch.float32)

    def squares(X, values):
        X = X.detach().requires_grad_()
        return torch.autograd.grad(EVERYTHING.apply(X, values).square().sum(), X)[0]

    draws = [EVERYTHING.draw(generator(seed), 3, SHAPE) for seed in range(3)]
    with torch.enable_grad():
        traced = make_fx(squares)(X, draws[0])
    compiled = torch.compile(traced, fullgraph=True, dynamic=False)
    for values in draws:
        torch.testing.assert_close(compiled(X, values), squares(X, values), rtol=1e-4, atol=1e-4)


# scikit-learn's habits ---------------------------------------------------------------------------


@pytest.mark.parametrize("alias", AUGMENTATIONS)
def test_aliases(alias):
    assert check_augmentation(alias, (3, 8, 8)) is AUGMENTATIONS[alias]


def test_none_and_objects_are_kept():
    assert check_augmentation(None, (7,)) is None
    augmentation = Compose([Flip(), Rotation(30)])
    assert check_augmentation(augmentation, (3, 8, 8)) is augmentation


def test_flip_rotate_is_the_papers():
    flip, rotation = AUGMENTATIONS["flip_rotate"].steps
    assert (flip.p, rotation.degrees) == (0.5, 15)
    assert type(AUGMENTATIONS["flip_rotate"]) is Compose


def test_dsa_chooses_one_of_its_six():
    dsa = AUGMENTATIONS["dsa"]
    assert type(dsa) is OneOf
    assert {type(step) for step in dsa.steps} == {Color, Cutout, Flip, Rotation, Crop, Scale}


@pytest.mark.parametrize("augmentation", ALL, ids=name_of)
def test_clones_are_equal_and_separate(augmentation):
    copy = clone(augmentation)
    assert copy is not augmentation
    assert repr(copy) == repr(augmentation)
    assert torch.equal(copy.draw(generator(), 3, SHAPE), augmentation.draw(generator(), 3, SHAPE))


def test_parameters_of_steps_have_names():
    inner = OneOf([Crop(), Scale(), Crop(0.25)])
    augmentation = Compose([Rotation(), inner])
    params = augmentation.get_params()
    assert params["rotation"] is augmentation.steps[0]
    assert params["oneof__crop_2__padding"] == 0.25
    assert set(augmentation.get_params(deep=False)) == {"steps"}
    copy = clone(augmentation).set_params(rotation__degrees=40, oneof__crop_2__padding=0.5)
    assert copy.steps[0].degrees == 40
    assert [step.get_params() for step in copy.steps[1].steps] == [
        {"padding": 0.125},
        {"ratio": 1.2},
        {"padding": 0.5},
    ]
    assert augmentation.steps[0].degrees == 15
    assert inner.steps[2].padding == 0.25


def test_steps_can_be_replaced():
    augmentation = Compose([Flip(), Rotation()]).set_params(rotation=Cutout())
    assert [type(step) for step in augmentation.steps] == [Flip, Cutout]
    augmentation.set_params(steps=[Scale()], scale__ratio=2)
    assert [step.ratio for step in augmentation.steps] == [2]
    with pytest.raises(ValueError, match="Invalid parameter 'flip'"):
        augmentation.set_params(flip=Flip())


@pytest.mark.parametrize(
    ("augmentation", "message"),
    [
        ("flip", r"augmentation must be None, one of 'dsa', 'flip_rotate', or.*got 'flip'"),
        (Flip, r"augmentation must be None.*got <class"),
        (Flip(1.5), r"'p' parameter of Flip must be"),
        (Rotation(-1), r"'degrees' parameter of Rotation must be"),
        (Crop(1.0), r"'padding' parameter of Crop must be"),
        (Scale(0.9), r"'ratio' parameter of Scale must be"),
        (Color(saturation=-1), r"'saturation' parameter of Color must be"),
        (Cutout(2), r"'ratio' parameter of Cutout must be"),
        (Compose([Flip(), OneOf([Crop(2)])]), r"'padding' parameter of Crop must be"),
        (Compose([]), r"steps of Compose must be a list of one or more augmentations; got \[\]"),
        (OneOf(Flip()), r"steps of OneOf must be a list.*got Flip\(\)"),
        (Compose([Flip(), "crop"]), r"steps of Compose must be a list.*'crop'"),
    ],
)
def test_bad_augmentations(augmentation, message):
    with pytest.raises(ValueError, match=message):
        check_augmentation(augmentation)


def test_tables_are_refused():
    message = r"augmentation needs images.*got samples of shape \(7,\).*augmentation=None"
    with pytest.raises(ValueError, match=message):
        check_augmentation("dsa", (7,))
    with pytest.raises(ValueError, match=message):
        Flip().draw(generator(), 3, (7,))
    with pytest.raises(ValueError, match=message):
        Flip().identity(3, (7,))


# Augmentations of a user --------------------------------------------------------------------------


class Brighter(Augmentation):
    """A correct one; the tests change one of its parts."""

    n_parameters = 1

    def _identity(self, shape):
        return [0.0]

    def _draw(self, generator, n, shape):
        return torch.rand(1, n, generator=generator)

    def _apply(self, X, more):
        return X + more


class InPlace(Brighter):
    def _apply(self, X, more):
        return X.add_(more)


class DrawsInPlace(Brighter):
    def _apply(self, X, more):
        return X + more.mul_(2)


class Global(Brighter):
    def _draw(self, generator, n, shape):
        return torch.rand(1, n)


class Unseeded(Brighter):
    def _draw(self, generator, n, shape):
        return torch.from_numpy(np.random.default_rng().random((1, n)))


class Noise(Brighter):
    generator = torch.Generator()

    def _apply(self, X, more):
        return X + torch.randn(X.shape, generator=self.generator)


class Flat(Brighter):
    def _draw(self, generator, n, shape):
        return torch.rand(n, generator=generator)


class Uncounted(Augmentation):
    _draw, _apply, _identity = Brighter._draw, Brighter._apply, Brighter._identity


class Unfinished(Augmentation):
    n_parameters, _draw = 1, Brighter._draw


class Shrinking(Brighter):
    def _apply(self, X, more):
        return X[..., :-1] + more


class Doubling(Brighter):
    def _apply(self, X, more):
        return X.double() + more


class Mixing(Brighter):
    def _apply(self, X, more):
        return more * X + (1 - more) * X.flip(0)


class Detaching(Brighter):
    def _apply(self, X, more):
        return X.detach() + more


UNFIT = {
    InPlace: r"leave the samples and the numbers as they are; .*Take X \+ ",
    DrawsInPlace: "leave the samples and the numbers as they are",
    Global: "all from the generator that it is given",
    Unseeded: "all from the generator that it is given",
    Noise: "must be a function of the samples and of the numbers of _draw",
    Flat: r"failed .*_draw must return a tensor of shape \(n_parameters, n\), here \(1, 2\)",
    Uncounted: "failed on two samples .*n_parameters",
    Unfinished: "failed on two samples .*_apply",
    Shrinking: r"must return samples of the shape .*returned \(2, 2, 4, 5\)",
    Doubling: "must return samples of the shape and dtype .*returned .*float64",
    Mixing: "must mix no samples",
    Detaching: "must be differentiable; nothing leads from its result back to the samples",
}


@pytest.mark.parametrize("kind", UNFIT, ids=lambda kind: kind.__name__)
def test_what_cannot_be_replayed_is_refused(kind):
    assert check_augmentation(kind()) is not None  # without samples nothing is tried
    before = torch.get_rng_state()
    for augmentation in (kind(), Compose([Flip(), OneOf([kind(), Crop()])])):
        with pytest.raises(ValueError, match=f"^augmentation {kind.__name__} .*{UNFIT[kind]}"):
            check_augmentation(augmentation, SHAPE)
    assert torch.equal(torch.get_rng_state(), before)


class Choosing(OneOf):
    def _draw(self, generator, n, shape):
        return torch.cat([step.draw(generator, n, shape) for step in self.steps[:1]])


def test_what_is_composed_is_tried_as_a_whole():
    class NoIdentity(Brighter):
        _identity = None

    assert check_augmentation(NoIdentity(), SHAPE) is not None
    with pytest.raises(ValueError, match=r"augmentation OneOf failed .*within OneOf, _identity"):
        check_augmentation(OneOf([Flip(), NoIdentity()]), SHAPE)
    with pytest.raises(ValueError, match=r"augmentation Choosing failed .*\(2, 2\)"):
        check_augmentation(Choosing([Flip(), Flip()]), SHAPE)


@pytest.mark.parametrize("augmentation", [Brighter(), OneOf([Brighter(), Flip()])])
def test_what_can_be_replayed_is_taken(augmentation):
    with torch.inference_mode(), torch.device("meta"), torch.autocast("cpu", torch.bfloat16):
        assert check_augmentation(augmentation, SHAPE) is augmentation


def test_an_evaluation_tries_it_too():
    X = np.random.default_rng(0).normal(size=(4, 1, 6, 6))
    distilled = DistilledDataset.from_arrays(X, [0, 0, 1, 1])
    with pytest.raises(ValueError, match="augmentation InPlace must leave the samples"):
        evaluate(distilled, X, [0, 0, 1, 1], architecture="mlp", augmentation=InPlace())


# plain forms -------------------------------------------------------------------------------------


class Own(Flip):
    """A class that is not the package's."""


@pytest.mark.parametrize("augmentation", ALL, ids=name_of)
def test_plain_forms_are_json_and_come_back(augmentation):
    plain = json.loads(json.dumps(to_plain(augmentation)))
    restored = from_plain(plain)
    assert to_plain(restored) == plain
    expected = augmentation.draw(generator(), 3, SHAPE)
    assert torch.equal(restored.draw(generator(), 3, SHAPE), expected)


def test_plain_forms_of_names_and_numpys_numbers():
    assert to_plain(None) is None is from_plain(None)
    assert to_plain("dsa") == "dsa"
    assert from_plain("dsa") is AUGMENTATIONS["dsa"]
    plain = to_plain(Compose([Rotation(np.float32(30)), Color(contrast=None)]))
    color = {"class": "Color", "brightness": 1.0, "saturation": 2.0, "contrast": None}
    assert plain == {"class": "Compose", "steps": [{"class": "Rotation", "degrees": 30.0}, color]}
    assert json.loads(json.dumps(plain)) == plain


@pytest.mark.parametrize("augmentation", [Own(), Compose([Rotation(), Own()])])
def test_a_users_augmentation_only_has_a_name(augmentation):
    plain = json.loads(json.dumps(to_plain(augmentation)))
    with pytest.raises(ValueError, match=r"augmentation must be given.*test_augmentation\.Own"):
        from_plain(plain)


@pytest.mark.parametrize(
    "plain",
    [
        {},
        {"class": "Shear"},
        {"class": ["Flip"]},
        {"class": "Flip", "degrees": 3.0},
        {"class": "Compose", "steps": ["dsa"]},
        {"class": "Flip", "p": 7.0},
        "flip",
    ],
)
def test_bad_plain_forms(plain):
    with pytest.raises(ValueError, match=r"augmentation|Flip"):
        from_plain(plain)
