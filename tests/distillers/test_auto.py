"""The values behind "auto" in window, unroll and inner_lr, and where they are kept."""

from functools import partial

import pytest
import tools

from skdistill import BoostedDistiller
from skdistill.distillers import _auto
from skdistill.distillers._auto import resolve_inner_loop

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
