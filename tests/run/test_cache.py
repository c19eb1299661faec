"""The stage before a run, and the cache in which its results outlive the run."""

from functools import partial
from numbers import Real
from pathlib import Path
from threading import Event, Thread
from typing import Any

import numpy as np
import pytest
import tools
import torch
from tools import bits

from skdistill import BoostedDistiller
from skdistill._data.layout import Layout
from skdistill._data.training import Checked
from skdistill._engine.learner import Learner
from skdistill._engine.memory import PeakMemory
from skdistill._engine.outer_optimizers import OuterSGD
from skdistill._files import npz as _npz
from skdistill._files.lock import InUseError, WriteLock
from skdistill._run.cache import FolderCache
from skdistill._run.network_scores import describe_initialization
from skdistill.distillers import BaseDistiller, Extra, Gradient, Method, param
from skdistill.exceptions import CheckpointWarning, InvalidFileError
from skdistill.networks import MLP

pytestmark = pytest.mark.filterwarnings("error::skdistill.exceptions.CheckpointWarning")

# Names of the results that were made, and whether the making of one is to be interrupted.
MADE, INTERRUPTED = [], set()


@pytest.fixture(autouse=True)
def nothing_made():
    MADE.clear()
    INTERRUPTED.clear()


class ToAnchors(Method):
    """Pulls samples to their classes' means plus a noise, both prepared, times a learned factor.

    There are no networks, nothing is clipped, and the outer optimizer is not Adam.
    """

    clip = None
    optimizer = OuterSGD()

    def __init__(self, noise, least):
        self.noise, self.least = noise, least

    def prepare(self, problem, cache):
        keep = cache.open({"noise": self.noise})
        labels = range(problem.rows.n_classes)
        anchors = [keep(f"anchor-{k}", lambda k=k: self._anchor(problem, k)) for k in labels]
        return torch.stack([each["mean"] for each in anchors])

    def _anchor(self, problem, k):
        if k in INTERRUPTED:
            raise KeyboardInterrupt
        MADE.append(k)
        rows = np.flatnonzero(problem.real.y == k)
        mean = problem.real.batch(rows)[0].mean(dim=0)
        noise = torch.randn(mean.shape, generator=problem.rngs.torch("anchors", k))
        return {"mean": mean + self.noise * noise}

    def stand_in(self, problem):
        return torch.zeros(problem.rows.n_classes, *problem.shape)

    def peak(self, problem):
        return PeakMemory(states=0, activations=0, real=0, data=problem.real.n_bytes)

    def extra(self, problem):
        return {"factor": Extra(torch.ones(1), learning_rate=0.05, least=self.least)}

    def gradient(self, problem, synthetic, state, step):
        targets, factor = problem.prepared[problem.rows.labels("cpu")], synthetic.extra["factor"]
        gaps = synthetic.X - factor * targets
        slope = -2 * (gaps * targets).sum().view(1)
        return Gradient(gaps.square().sum(), 2 * gaps, extra={"factor": slope}), state


class ToAnchorsDistiller(BaseDistiller):
    """Pulls samples to anchors.

    Parameters
    ----------
    {parameters}
    """

    noise: float = param(default=0.1, constraints=[Real], kind="float", doc="Size.")
    least: Any = param(default=None, constraints=[Real, None], kind="float", doc="A bound.")
    cache: Any = param(
        default=None, constraints=[str, Path, None], kind="path", doc="Where.", may_change=True
    )
    _needs_network = False

    def _make_method(self, problem):
        return ToAnchors(self.noise, self.least)


def quick(cache=None, **parameters):
    settings = {"learning_rate": 0.05, "max_iter": 4, "n_networks": 1, "eval_steps": 2}
    settings |= {"device": "cpu", "random_state": 0, "cache": cache}
    return ToAnchorsDistiller(**{**settings, **parameters})


@pytest.fixture
def table():
    rng = np.random.default_rng(0)
    y = np.arange(30) % 2
    return rng.normal(size=(30, 3)) + y[:, None], y


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


def contents(folder):
    return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


# --- found again ------------------------------------------------------------------------------


def test_what_is_prepared_is_made_once_for_all_runs_that_share_a_cache(table, cache):
    plain = [quick(random_state=seed).fit(*table) for seed in (0, 1)]
    assert MADE == [0, 1] * 2
    cached = [quick(cache, random_state=seed).fit(*table) for seed in (0, 1)]
    assert MADE == [0, 1] * 3
    # Made, found, or kept nowhere: the same bits.
    assert [bits(each) for each in cached] == [bits(each) for each in plain]
    assert bits(cached[0]) != bits(cached[1])
    assert quick(cache, noise=0.1, max_iter=2, ipc=2).fit(*table).n_iter_ == 2
    assert MADE == [0, 1] * 3
    assert sorted(contents(cache)) == ["anchor-0.npz", "anchor-1.npz"]


def test_a_run_that_is_resumed_finds_its_cache(table, cache, tmp_path, outer_step):
    whole = quick().fit(*table)
    MADE.clear()
    parameters = {"checkpoint": tmp_path / "run.npz", "checkpoint_every": 1}
    with outer_step(KeyboardInterrupt, at=3), pytest.raises(KeyboardInterrupt):
        quick(cache, **parameters).fit(*table)
    assert bits(quick(cache, **parameters).fit(*table)) == bits(whole)
    assert MADE == [0, 1]


def test_a_run_that_is_resumed_without_its_cache_makes_another(table, cache, tmp_path, outer_step):
    whole = quick().fit(*table)
    path = tmp_path / "run.npz"
    with outer_step(KeyboardInterrupt, at=3), pytest.raises(KeyboardInterrupt):
        quick(cache, checkpoint=path).fit(*table)
    assert bits(quick(tmp_path / "another", checkpoint=path).fit(*table)) == bits(whole)
    assert len(MADE) == 6


def test_what_is_prepared_when_it_is_interrupted_is_kept(table, cache):
    INTERRUPTED.add(1)
    with pytest.raises(KeyboardInterrupt):
        quick(cache).fit(*table)
    INTERRUPTED.clear()
    assert bits(quick(cache).fit(*table)) == bits(quick().fit(*table))
    assert MADE == [0, 1, 0, 1]


def test_blocks_share_a_cache(table, cache):
    boosted = BoostedDistiller(ipc=2, block_size=1, distiller=quick(cache)).fit(*table)
    assert boosted.budgets_ == [1, 2]
    assert MADE == [0, 1]


def test_the_cache_may_be_in_the_home_folder(table, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    fitted = quick("~/cache").fit(*table)
    assert len(contents(tmp_path / "cache")) == 2
    # A path on this machine means nothing to others.
    assert "cache" not in fitted.distilled_.provenance["parameters"]


def test_an_estimate_prepares_nothing(table, cache):
    assert quick(cache).estimate(*table).n_steps == 4
    assert MADE == []
    assert not cache.exists()


# --- refused ----------------------------------------------------------------------------------

OTHERS = {
    "data": (lambda X, y: ((X + 1, y), {}), "the training data must be .*; got "),
    "labels": (lambda X, y: ((X, 1 - y), {}), "the training data must be"),
    "weights": (
        lambda X, y: ((X, y), {"class_weight": {0: 1.0, 1: 2.0}}),
        "the training data must be",
    ),
    "held out": (lambda X, y: ((X, y), {"validation_fraction": 0.2}), "the training data must be"),
    "shape": (
        lambda X, y: ((X, y), {"image_shape": (3, 1, 1)}),
        r"the shape of samples must be \[3\]; got \[3, 1, 1\]",
    ),
    "parameter": (lambda X, y: ((X, y), {"noise": 0.5}), r"^noise must be 0\.1; got 0\.5"),
}


@pytest.mark.parametrize(("change", "message"), OTHERS.values(), ids=OTHERS)
def test_a_cache_of_something_else_is_refused_before_any_work(
    table, cache, outer_step, change, message
):
    quick(cache).fit(*table)
    # The first result would have to be made: nothing is, because of the second.
    (cache / "anchor-0.npz").unlink()
    before = contents(cache)
    data, parameters = change(*table)
    outer_step.refuse()
    MADE.clear()
    with pytest.raises(ValueError, match=f"{message}.*cache='.*cache' holds. Give another folder"):
        quick(cache, **parameters).fit(*data)
    assert (MADE, contents(cache)) == ([], before)


def test_a_cache_of_other_networks_is_refused(table, cache):
    X, y = table
    data = Checked(X, y, None, np.arange(2), Layout((3,), (3,)))

    def learner(width=4, **options):
        return Learner(partial(MLP, (3,), 2, width=width, depth=1), **options)

    made = FolderCache(cache, data, learner()).open({})("one", lambda: {"theta": torch.ones(2)})
    found = FolderCache(cache, data, learner()).open({})("one", pytest.fail)
    assert torch.equal(found["theta"], made["theta"])
    for other in (learner(width=5), learner(dtype=torch.float64), learner(autocast=torch.bfloat16)):
        with pytest.raises(ValueError, match=r"^the network must be .*; got .*; as in what cache="):
            FolderCache(cache, data, other).open({})


def test_a_cache_of_networks_with_other_weights_is_refused(table, cache):
    X, y = table
    data = Checked(X, y, None, np.arange(2), Layout((3,), (3,)))

    def opened(architecture):
        learner = Learner(partial(MLP, (3,), 2, width=4, depth=1))
        parameters = {"architecture": architecture, "inner_architecture": None}
        how = describe_initialization(parameters, learner)
        return FolderCache(cache, data, learner, initialization=how).open({})

    usual, he = partial(MLP, width=4), partial(MLP, width=4, initialization="he")
    own = partial(tools.tiny, width=4)
    opened(usual)("one", lambda: {"theta": torch.ones(2)})
    # The same networks, in other words.
    for same in (partial(usual, initialization="torch"), "mlp"):
        opened(same)
    message = "the initialization of the network must be 'torch'; got '{}.*; as in what cache="
    for other, word in ((he, "he"), (own, "that of a network of your own")):
        with pytest.raises(ValueError, match=message.format(word)):
            opened(other)
    # A result of before does not say it: it is one of the usual weights, or of a network that has
    # scores.
    path = cache / "one.npz"
    with open(path, "rb") as file:
        arrays, meta = _npz.read(file, "skdistill.Prepared", 1, (), "result.")
    del meta["identity"]["the initialization of the network"]
    _npz.write(path, "skdistill.Prepared", 1, arrays, {"identity": meta["identity"]})
    for same in (usual, own):
        opened(same)
    with pytest.raises(ValueError, match=r"did not note how weights are drawn, .* than 'he'"):
        opened(he)


def test_the_order_in_memory_does_not_matter(table, cache, monkeypatch):
    def open_with(order):
        X, y = table
        data = Checked(np.array(X, order=order), y, None, np.arange(2), Layout((3,), (3,)))
        return FolderCache(cache, data, None).open({})

    with monkeypatch.context() as before:
        # As 0.1.0 described data.
        before.setattr(Checked, "fingerprint", Checked.fingerprint_before)
        made = open_with("F")("one", lambda: {"theta": torch.ones(2)})
    assert torch.equal(open_with("F")("one", pytest.fail)["theta"], made["theta"])
    (cache / "one.npz").unlink()
    made = open_with("F")("one", lambda: {"theta": torch.full((2,), 2.0)})
    assert torch.equal(open_with("C")("one", pytest.fail)["theta"], made["theta"])


def test_files_that_are_no_results_are_refused(table, cache, outer_step):
    quick(cache).fit(*table)
    path = cache / "anchor-1.npz"
    whole = path.read_bytes()
    outer_step.refuse()
    for content, message in [
        (whole[:-90], "it is truncated or damaged"),
        (whole.replace(b'"version": 1', b'"version": 2'), "Bad CRC-32"),
    ]:
        path.write_bytes(content)
        with pytest.raises(InvalidFileError, match=rf"anchor-1\.npz cannot .*{message}.* Remove"):
            quick(cache).fit(*table)
    arrays, identity = {"result.mean": np.zeros(3)}, {"identity": {}}
    for kind, version, message in [
        ("skdistill.Run", 1, "its format must be 'skdistill.Prepared'; got 'skdistill.Run'"),
        ("skdistill.Prepared", 2, "got 2, which a newer skdistill wrote"),
    ]:
        _npz.write(path, kind, version, arrays, identity)
        with pytest.raises(InvalidFileError, match=f"{message}.* Give another folder") as info:
            quick(cache).fit(*table)
        assert "Remove" not in str(info.value)
    # Files of the user's own.
    path.write_bytes(b"X,y\n1,2\n")
    with pytest.raises(InvalidFileError, match=r"it is not an .npz file. Give another folder as"):
        quick(cache).fit(*table)
    np.savez(path, X=np.zeros(3))
    with pytest.raises(InvalidFileError, match=r"it lacks meta.npy. Give another folder as cache"):
        quick(cache).fit(*table)


def test_a_callback_that_cannot_be_set_up_stops_a_fit_before_anything_is_made(table, cache):
    class Refusing(tools.Callback):
        def setup(self, estimator, context):
            raise OSError("no place")

    with pytest.raises(OSError, match="no place"):
        quick(cache).set_callbacks(Refusing()).fit(*table)
    assert MADE == []


def test_checkpoints_and_sets_may_be_in_the_same_folder(table, cache, outer_step):
    cache.mkdir()
    path = cache / "run.npz"
    with outer_step(KeyboardInterrupt, at=3), pytest.raises(KeyboardInterrupt):
        quick(cache, checkpoint=path).fit(*table)
    whole = quick(cache, checkpoint=path).fit(*table)
    whole.distilled_.save(cache / "set.npz")
    again = quick(cache).fit(*table)
    np.testing.assert_array_equal(again.transform()[0], whole.transform()[0])


def test_a_place_that_is_no_folder_is_refused(table, tmp_path, outer_step):
    (tmp_path / "file").write_text("")
    outer_step.refuse()
    for place in ("file", "nowhere/cache"):
        with pytest.raises(ValueError, match=f"cache='.*{place}' must be a folder, or a place for"):
            quick(tmp_path / place).fit(*table)
    assert MADE == []


def test_a_folder_that_cannot_be_written_does_not_stop_a_run(table, cache, make_read_only):
    cache.mkdir()
    make_read_only(cache)
    with pytest.warns(
        CheckpointWarning, match="cache='.*' could not be written: Read-only"
    ) as seen:
        fitted = quick(cache).fit(*table)
    assert seen[0].filename == __file__
    assert bits(fitted) == bits(quick().fit(*table))


# --- a method without networks, that moves by gradient descent and clips nothing ----------------


def test_a_further_tensor_stays_at_or_above_its_least(table):
    def factor(**parameters):
        return quick(noise=1.0, **parameters).fit(*table).extra_["factor"].item()

    assert factor(max_iter=3) < 0
    assert factor(max_iter=3, least=0.75) == 0.75
    # It is no stop: the samples come nearer, and the factor rises again.
    assert factor(max_iter=60, least=0.75) > 0.7501


def test_a_method_that_clips_nothing_is_resumed(table, tmp_path):
    whole = quick().fit(*table)
    assert whole.history_["clip_level"] == [None] * 4
    path = tmp_path / "run.npz"
    quick(max_iter=2, checkpoint=path).fit(*table)
    assert bits(quick(checkpoint=path).fit(*table)) == bits(whole)
    warm = quick(max_iter=2, warm_start=True).fit(*table)
    assert bits(warm.set_params(max_iter=4).fit(*table)) == bits(whole)


# --- runs that are there at once --------------------------------------------------------------


def test_a_run_waits_for_another_that_makes_what_it_needs(table, cache):
    data = Checked(*table, None, np.arange(2), Layout((3,), (3,)))
    making, go_on, got = Event(), Event(), []

    def slowly():
        MADE.append("slowly")
        making.set()
        assert go_on.wait(10)
        return {"theta": torch.ones(2)}

    def run(make):
        got.append(FolderCache(cache, data, None).open({})("one", make)["theta"].tolist())

    first, second = Thread(target=run, args=(slowly,)), Thread(target=run, args=(pytest.fail,))
    first.start()
    assert making.wait(10)
    second.start()
    second.join(0.2)
    assert second.is_alive()
    go_on.set()
    first.join(10)
    second.join(10)
    assert (MADE, got) == (["slowly"], [[1.0, 1.0]] * 2)
    assert sorted(contents(cache)) == ["one.npz"]


def test_who_waits_makes_what_the_other_could_not(table, cache):
    data = Checked(*table, None, np.arange(2), Layout((3,), (3,)))
    keep = FolderCache(cache, data, None).open({})

    def fails():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        keep("one", fails)
    assert keep("one", lambda: {"theta": torch.ones(1)})["theta"].item() == 1
    assert sorted(contents(cache)) == ["one.npz"]


def test_a_lock_that_is_released_twice_takes_none_from_others(tmp_path, monkeypatch):
    first, second, third = (WriteLock(tmp_path / "one.npz", patience=0) for _ in range(3))
    first.acquire()
    with monkeypatch.context() as patched:

        def interrupted():
            raise KeyboardInterrupt

        patched.setattr(first._lock, "release", interrupted)
        with pytest.raises(KeyboardInterrupt):
            first.release()
    second.acquire()  # the file is gone: another is made
    first.release()
    with pytest.raises(InUseError):
        third.acquire()
    second.release()
    third.acquire()
    third.release()


def test_a_process_that_does_not_write_waits_for_nobody(table, cache):
    data = Checked(*table, None, np.arange(2), Layout((3,), (3,)))
    reading = FolderCache(cache, data, None, writes=False).open({})
    lock = WriteLock(cache / "one.npz")
    lock.acquire()
    try:
        assert reading("one", lambda: {"theta": torch.ones(1)})["theta"].item() == 1
    finally:
        lock.release()
    assert contents(cache) == {}
