"""The values behind "auto" in window, unroll and inner_lr, and where they are kept."""

from functools import partial

import numpy as np
import pytest
import tools
from torch import nn

from skdistill import BoostedDistiller, DistributionMatchingDistiller, RaTBPTTDistiller
from skdistill.distillers import _auto
from skdistill.distillers._auto import is_narrow, resolve_inner_architecture, resolve_inner_loop
from skdistill.networks import MLP, ConvNet

AUTO = ("auto", "auto", "auto", "adam", True)


def resolved(shape, *arguments):
    return tuple(resolve_inner_loop(shape, *arguments).values())


quick = partial(tools.quick, max_iter=1, window="auto", unroll="auto", n_networks=1, eval_steps=2)


def test_sizes_between_and_beyond_those_measured(monkeypatch):
    loops = {8: (2, 3, 0.1), 32: (4, 6, 0.2)}
    monkeypatch.setattr(_auto, "_INNER_LOOPS", loops)
    assert resolved((5,), *AUTO) == loops[8]
    assert resolved((1, 8, 8), *AUTO) == loops[8]
    assert resolved((3, 8, 9), *AUTO) == loops[32]
    assert resolved((3, 32, 32), *AUTO) == loops[32]
    assert resolved((3, 64, 64), *AUTO) == loops[32]


def test_given_values_stay():
    assert resolved((3, 32, 32), 7, 9, 0.5, "adam", True) == (7, 9, 0.5)


@pytest.mark.parametrize("unroll", [1, 10, 50, 200])
def test_a_window_fits_into_the_unroll_that_is_given(unroll):
    window, length, _ = resolved((1, 8, 8), "auto", unroll, "auto", "adam", True)
    assert length == unroll
    assert 1 <= window <= unroll
    assert window >= unroll // 3


@pytest.mark.parametrize("window", [1, 20, 60, 61])
def test_an_unroll_is_no_shorter_than_the_window_that_is_given(window):
    given, unroll, _ = resolved((1, 8, 8), window, "auto", "auto", "adam", True)
    assert given == window
    usual = resolved((1, 8, 8), *AUTO)
    assert unroll >= max(window, usual[1])


def test_long_unrolls_have_the_papers_rate_and_sgd_its_own():
    assert resolved((3, 32, 32), 60, 200, "auto", "adam", True)[2] == 0.001
    assert resolved((3, 32, 32), 60, 200, "auto", "sgd", True)[2] == 0.01


def first_conv(architecture):
    return next(m for m in architecture((1, 32, 32), 2).modules() if isinstance(m, nn.Conv2d))


def test_large_images_are_distilled_through_narrow_networks():
    def width(*arguments):
        found = resolve_inner_architecture("auto", *arguments)
        return None if found is None else first_conv(found).out_channels

    assert width("auto", (1, 28, 28)) == 32
    assert width("convnet", (3, 16, 17)) == 16
    # Small images, tables, and whoever names other networks: those of the evaluation.
    assert width("auto", (3, 16, 16)) is width("auto", (50,)) is None
    # "auto" is a multilayer perceptron there, in the evaluation.
    assert width("auto", (1, 3, 128)) is width("auto", (4, 1, 25)) is None
    assert width("convnet", (1, 3, 128)) == 32
    assert width("resnet18", (3, 32, 32)) is width(ConvNet, (3, 32, 32)) is None
    # Nothing else is "auto".
    for given in (None, "convnet", MLP):
        assert resolve_inner_architecture(given, "auto", (3, 32, 32)) is given


def test_narrow_networks_have_the_high_rate():
    narrow = partial(ConvNet, width=16)
    assert is_narrow(narrow)
    assert is_narrow(resolve_inner_architecture("auto", "auto", (1, 28, 28)))
    others = ("convnet", ConvNet, partial(ConvNet, width=33), partial(ConvNet, depth=2), None)
    assert not any(map(is_narrow, (*others, partial(MLP, width=8))))
    assert resolved((3, 32, 32), *AUTO, True) == (20, 30, 0.003)
    assert resolved((3, 32, 32), 60, 200, "auto", "adam", True, True) == (60, 200, 0.001)


def test_a_run_through_narrow_networks_keeps_the_usual_ones_for_its_evaluation(tmp_path):
    X = np.random.default_rng(0).integers(0, 256, (12, 1, 17, 17)).astype(np.uint8)
    y = np.arange(12) % 2
    kept = quick(window=1, unroll=2, checkpoint=tmp_path / "run.npz").fit(X, y)
    assert kept.distilled_.recipe.architecture == "convnet"
    assert "width=32" in kept.distilled_.provenance["parameters"]["inner_architecture"]
    assert kept.get_params()["inner_architecture"] == "auto"
    narrow = partial(ConvNet, width=32)
    same = quick(window=1, unroll=2, inner_architecture=narrow).fit(X, y)
    np.testing.assert_array_equal(same.transform()[0], kept.transform()[0])
    wide = quick(window=1, unroll=2, inner_architecture=None).fit(X, y)
    assert not np.array_equal(wide.transform()[0], kept.transform()[0])
    # A run through other networks does not go on.
    with pytest.raises(ValueError, match=r"inner_architecture must be .*width.*; got None"):
        quick(
            window=1,
            unroll=2,
            max_iter=2,
            inner_architecture=None,
            checkpoint=tmp_path / "run.npz",
        ).fit(X, y)


def test_only_one_method_is_narrow_by_default():
    assert RaTBPTTDistiller().inner_architecture == "auto"
    assert DistributionMatchingDistiller().inner_architecture is None
    papers = (
        RaTBPTTDistiller.from_paper("cifar10", 1),
        RaTBPTTDistiller.from_paper("cifar10", 1, paper="bptt"),
    )
    assert [paper.inner_architecture for paper in papers] == [None, None]


def test_a_pickle_from_before_has_no_networks_of_its_own():
    distiller = RaTBPTTDistiller()
    state = distiller.__getstate__()
    del state["inner_architecture"]
    older = RaTBPTTDistiller.__new__(RaTBPTTDistiller)
    older.__setstate__(state)
    assert older.inner_architecture is None


def test_a_schedule_without_a_window_ignores_it(table):
    distiller = quick(schedule="bptt", window=9, unroll=3).fit(*table)
    assert (distiller.window_, distiller.unroll_) == (3, 3)
    assert distiller.history_["window"] == [3]


def test_resolved_values_are_attributes_and_in_the_provenance(table):
    distiller = quick().fit(*table)
    window, unroll, inner_lr = resolved((3,), *AUTO)
    assert (distiller.window_, distiller.unroll_, distiller.inner_lr_) == (window, unroll, inner_lr)
    assert distiller.get_params()["window"] == "auto"
    parameters = distiller.distilled_.provenance["parameters"]
    assert (parameters["window"], parameters["unroll"]) == (window, unroll)
    assert parameters["inner_lr"] == inner_lr
    spelled_out = quick(window=window, unroll=unroll, inner_lr=inner_lr).fit(*table)
    assert (spelled_out.transform()[0] == distiller.transform()[0]).all()


def test_other_defaults_do_not_refuse_an_old_run(table, tmp_path, monkeypatch):
    path = tmp_path / "run.npz"
    monkeypatch.setattr(_auto, "_INNER_LOOPS", {8: (2, 4, 0.01)})
    quick(checkpoint=path).fit(*table)
    whole = quick(max_iter=3).fit(*table)
    monkeypatch.setattr(_auto, "_INNER_LOOPS", {8: (3, 5, 0.02)})
    resumed = quick(checkpoint=path, max_iter=3).fit(*table)
    assert (resumed.window_, resumed.unroll_, resumed.inner_lr_) == (2, 4, 0.01)
    assert (resumed.transform()[0] == whole.transform()[0]).all()
    # The values of the run, and no others.
    again = quick(checkpoint=path, max_iter=3, window=2, unroll=4, inner_lr=0.01).fit(*table)
    assert (again.transform()[0] == whole.transform()[0]).all()
    with pytest.raises(ValueError, match=r"window must be 2; got 3"):
        quick(checkpoint=path, max_iter=3, window=3).fit(*table)


def test_a_warm_start_keeps_its_values(table, monkeypatch):
    monkeypatch.setattr(_auto, "_INNER_LOOPS", {8: (2, 4, 0.01)})
    distiller = quick(warm_start=True).fit(*table)
    monkeypatch.setattr(_auto, "_INNER_LOOPS", {8: (3, 5, 0.02)})
    assert distiller.set_params(max_iter=2).fit(*table).window_ == 2


def test_boosting_uses_the_resolved_values(table):
    boosted = BoostedDistiller(ipc=2, block_size=1, distiller=quick(), random_state=0).fit(*table)
    assert boosted.distiller_.window_ == resolved((3,), *AUTO)[0]


@pytest.mark.parametrize("name", ["window", "unroll", "inner_lr"])
def test_other_words_are_refused(table, name):
    with pytest.raises(ValueError, match=f"The '{name}' parameter"):
        quick(**{name: "long"}).fit(*table)
