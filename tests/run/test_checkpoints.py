"""Checkpoints: a run that ends at any moment resumes as if nothing had happened."""

import errno
import os
import pickle
import re
import signal
import socket
import subprocess
import sys
import threading
from dataclasses import replace
from fractions import Fraction
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import tools
import torch
from tools import ROOT, StopAfter, tiny
from torch import nn

from skdistill import (
    BoostedDistiller,
    DistilledDataset,
    DistributionMatchingDistiller,
    RaTBPTTDistiller,
)
from skdistill._engine import outer
from skdistill._files import lock as _lock
from skdistill._files import npz as _npz
from skdistill._files.formats import NETWORK_SCORES
from skdistill._run import agreement, loop
from skdistill._run import checkpoint as _checkpoint
from skdistill._run import interruption as _interruption
from skdistill._run import run_file as _run_file
from skdistill._run import state as _run
from skdistill._run.checkpoint import Checkpoint
from skdistill._run.identity import describe_value, differences
from skdistill._run.network_scores import same_scores
from skdistill._run.run_file import RunFile
from skdistill._run.state import Run, RunState
from skdistill.exceptions import CheckpointWarning, DivergenceError, InvalidFileError
from skdistill.hardness import HardnessSampler
from skdistill.networks import MLP
from skdistill.windows import MovingWindow

pytestmark = pytest.mark.filterwarnings("error::skdistill.exceptions.CheckpointWarning")

SCRIPT = ROOT / "examples/benchmarks/kill_resume.py"


QUICK = {
    "max_iter": 4,
    "window": 1,
    "unroll": 3,
    "batch_size": 8,
    "schedule": MovingWindow(patience=2),
    "architecture": tiny,
    "n_networks": 1,
    "eval_steps": 2,
    "device": "cpu",
}
VALIDATED = {"validation_fraction": 0.3, "validation_interval": 2}


def quick(checkpoint=None, **parameters):
    return tools.quick(**QUICK | {"checkpoint": checkpoint} | parameters)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run.npz"


def previous_of(path):
    return path.with_name("run.npz.previous")


def everything(run):
    """Return a run as plain values that can be compared."""

    def comparable(value):
        if isinstance(value, dict):
            return {name: comparable(part) for name, part in value.items()}
        if isinstance(value, np.ndarray):
            return value.dtype, value.shape, value.tobytes()
        return value

    best = None if run.best is None else vars(run.best)
    return {
        **comparable({**vars(run.state), "best": best}),
        "seed": run.seed,
        "history": run.history,
    }


def bits(distiller):
    """Return all that two runs must have in common to the bit."""
    run = {k: v for k, v in everything(distiller._run).items() if k != "seconds"}
    run["history"] = {k: v for k, v in run["history"].items() if k != "seconds"}
    return run, distiller.transform()[0].tobytes(), distiller.n_iter_


def saved_step(path):
    with open(path, "rb") as file:
        return _npz.read(file, "skdistill.Run", 1, (), "run.")[1]["run"]["state"]["step"]


# --- the same bits ----------------------------------------------------------------------------


def kill_and_resume(n_kills):
    command = [sys.executable, str(SCRIPT), "--kills", str(n_kills)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    steps = [int(word) for word in done.stdout.splitlines()[1].split()]
    assert len(steps) == n_kills
    # The processes did go on from each other's steps, and the last had some left.
    assert sorted(steps) == steps
    assert len(set(steps)) > n_kills // 3
    assert done.stdout.endswith("same bits: yes\n")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_a_run_that_is_killed_ten_times_ends_with_the_same_bits():
    kill_and_resume(10)


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_a_run_that_is_killed_a_hundred_times_ends_with_the_same_bits():
    kill_and_resume(100)


class Interruption:
    """Raise KeyboardInterrupt, or only count, at a line of the code that keeps runs."""

    def __init__(self, line=None, modules=(_checkpoint, _run_file, _lock, _npz, _run, loop, outer)):
        self.line, self.n_lines = line, 0
        self.files = {module.__file__ for module in modules}

    def __call__(self, frame, event, argument):
        if frame.f_code.co_filename not in self.files:
            return None
        if event == "line":
            self.n_lines += 1
            if self.n_lines == self.line:
                raise KeyboardInterrupt
        return self

    def call(self, function, *args):
        before = sys.gettrace()  # what measures coverage
        sys.settrace(self)
        try:
            function(*args)
        finally:
            sys.settrace(before)
        return self.n_lines


def interruptions(make_call, *modules):
    """Interrupt a call, made anew each time, at each of the modules' lines; yield after each."""
    for line in range(1, 1 + Interruption(None, modules).call(make_call())):
        with pytest.raises(KeyboardInterrupt):
            Interruption(line, modules).call(make_call())
        yield line


def test_a_run_that_is_interrupted_at_any_line_ends_with_the_same_bits(table, tmp_path):
    parameters = {"ipc": 2, "inner_batch_size": 1, **VALIDATED}
    whole = quick(**parameters).fit(*table)
    parameters["checkpoint_every"] = 1
    n_lines = Interruption().call(quick(tmp_path / "counted.npz", **parameters).fit, *table)
    rng, n_kept = np.random.default_rng(0), 0
    for line in rng.choice(n_lines, size=12, replace=False) + 1:
        path = tmp_path / f"{line}.npz"
        first = quick(path, warm_start=True, **parameters)
        with pytest.raises(KeyboardInterrupt):
            Interruption(line).call(first.fit, *table)
        if hasattr(first, "distilled_"):
            n_kept += 1
            assert set(map(len, first.history_.values())) == {first.n_iter_}
            assert first.transform()[0].shape == (4, 3)
        # Another process, which has only the file, and this one, which also has its memory.
        other = quick(path.with_name("other.npz"), **parameters)
        if path.exists():
            os.replace(path, other.checkpoint)
        assert bits(other.fit(*table)) == bits(whole), line
        assert bits(first.fit(*table)) == bits(whole), line
        other.checkpoint.unlink()
    assert 5 < n_kept < 12


def test_a_step_is_added_as_a_whole_or_not_at_all():
    runs = []

    def state(step):
        return RunState(slots=None, method={}, step=step)

    def advance_once_more():
        runs.append(Run(0, state(0)))
        runs[-1].advance(state(1), {"a": 1, "b": 1})
        return partial(runs[-1].advance, state(2), {"a": 2, "c": 2})

    for _ in interruptions(advance_once_more, _run):
        run = runs[-1]
        assert run.step == 1
        # The name of a third column may be known already.
        assert run.history in ({"a": [1], "b": [1]}, {"a": [1], "b": [1], "c": [None]})
        run.advance(state(2), {"a": 5, "b": 5, "c": 5})
        assert run.history == {"a": [1, 5], "b": [1, 5], "c": [None, 5]}


def test_writing_may_be_interrupted_at_any_line(table, path, monkeypatch):
    # Takes most of the time, and nothing here depends on it.
    monkeypatch.setattr(os, "fsync", lambda file: None)
    runs = [quick(max_iter=n).fit(*table)._run for n in (1, 2, 3)]

    def save():
        path.unlink(missing_ok=True)
        save.checkpoint = Checkpoint(path, 1, {})
        save.checkpoint.save(runs[0])
        return partial(save.checkpoint.save, runs[1])

    steps = []
    for _ in interruptions(save, _checkpoint, _run_file):
        steps.append(Checkpoint(path, 1, {}).load().step)
        save.checkpoint.save(runs[2])
        assert everything(Checkpoint(path, 1, {}).load()) == everything(runs[2])
        assert len(list(path.parent.iterdir())) == 2
    assert sorted(steps) == steps
    assert set(steps) == {1, 2}


@pytest.mark.parametrize("parameters", [{}, VALIDATED], ids=["plain", "validated"])
def test_ctrl_c_writes_the_run_and_sets_its_attributes(table, path, outer_step, parameters):
    whole = quick(max_iter=6, **parameters).fit(*table)
    distiller = quick(path, max_iter=6, **parameters)
    outer_step(at=4, do=KeyboardInterrupt)
    with pytest.raises(KeyboardInterrupt, match=r"kept up to outer step 3 in checkpoint=.*run.npz"):
        distiller.fit(*table)
    outer_step.undo()
    assert (distiller.n_iter_, saved_step(path)) == (3, 3)
    expected = quick(max_iter=3, **parameters)
    if not parameters:
        assert bits(distiller) == bits(expected.fit(*table))
    assert distiller.distilled_.provenance["best_iter"] == (2 if parameters else None)
    assert bits(distiller.fit(*table)) == bits(whole)
    assert bits(quick(path, max_iter=6, **parameters).fit(*table)) == bits(whole)


def test_every_distiller_has_checkpoints(table, path, outer_step):
    parameters = {"max_iter": 4, "batch_size": 8, "architecture": tiny, "random_state": 0}

    def make(checkpoint=None):
        return DistributionMatchingDistiller(**parameters, checkpoint=checkpoint)

    outer_step(at=3, do=KeyboardInterrupt)
    with pytest.raises(KeyboardInterrupt, match="kept up to outer step 2"):
        make(path).fit(*table)
    outer_step.undo()
    assert bits(make(path).fit(*table)) == bits(make().fit(*table))
    with pytest.raises(ValueError, match=r"the distiller must be .*DistributionM.*; got .*RaTBPTT"):
        quick(path).fit(*table)


def test_seconds_add_up(table, path):
    first = quick(path, max_iter=2).fit(*table)
    second = quick(path, max_iter=4).fit(*table)
    assert second.history_["seconds"][:2] == first.history_["seconds"]
    seconds = [d.distilled_.provenance["seconds"] for d in (first, second)]
    assert sum(second.history_["seconds"][2:]) < seconds[1] - seconds[0] < 60


def test_without_a_random_state_the_seed_is_the_runs(table, path):
    first = quick(path, random_state=None, max_iter=2).fit(*table)
    second = quick(path, random_state=None).fit(*table)
    seed = first.distilled_.recipe.seed
    assert second.distilled_.recipe.seed == seed
    assert second.history_["loss"][:2] == first.history_["loss"]


# --- when it is written -----------------------------------------------------------------------


@pytest.fixture
def saves(monkeypatch):
    steps, write = [], RunFile.write

    def recorded(self, run, identity):
        write(self, run, identity)
        assert saved_step(self.path) == run.step
        steps.append(run.step)

    monkeypatch.setattr(RunFile, "write", recorded)
    return steps


def test_every_so_many_steps_and_at_the_end(table, path, saves):
    quick(path, checkpoint_every=2, max_iter=5).fit(*table)
    assert saves == [2, 4, 5]
    assert saved_step(previous_of(path)) == 4
    assert sorted(path.parent.iterdir()) == [path, previous_of(path)]


def test_what_could_not_be_written_is_tried_again_when_it_is_due(table, path, monkeypatch):
    tried = []

    def fail(self, run, identity):
        tried.append(run.step)
        raise OSError("no")

    monkeypatch.setattr(RunFile, "write", fail)
    with pytest.warns(CheckpointWarning, match="could not be written: no"):
        quick(path, checkpoint_every=3, max_iter=7).fit(*table)
    assert tried == [3, 6, 7]


@pytest.mark.parametrize("at", [None, 3])
def test_ctrl_c_while_the_last_step_is_written_loses_nothing(
    table, path, monkeypatch, outer_step, at
):
    write, interruptions = RunFile.write, [KeyboardInterrupt("of the write")]

    def interrupted(self, run, identity):
        if interruptions:
            raise interruptions.pop()
        write(self, run, identity)

    monkeypatch.setattr(RunFile, "write", interrupted)
    if at:
        outer_step(KeyboardInterrupt, at=at)
    kept = at - 1 if at else 4
    with pytest.raises(KeyboardInterrupt, match=f"(?s)of the write.*up to outer step {kept} in"):
        quick(path).fit(*table)
    assert saved_step(path) == kept


def test_every_so_many_seconds(table, path, saves, monkeypatch, outer_step):
    clock = [0.0]
    monkeypatch.setattr("skdistill._run.checkpoint.perf_counter", lambda: clock[0])

    def work(state):
        clock[0] += 10.0

    outer_step(do=work)
    quick(path, checkpoint_every=25.0, max_iter=7).fit(*table)
    assert saves == [3, 6, 7]


def test_the_default_is_a_minute():
    assert RaTBPTTDistiller().checkpoint_every == 60.0


def test_without_a_checkpoint_nothing_is_written(table, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    quick().fit(*table)
    assert list(tmp_path.iterdir()) == []


def test_a_relative_path_stays_where_it_was(table, tmp_path, monkeypatch, outer_step):
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path)
    outer_step(do=lambda state: os.chdir(tmp_path / "other"))
    quick("run.npz", checkpoint_every=1).fit(*table)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["other", "run.npz", "run.npz.previous"]


def test_a_published_set_does_not_tell_the_path(table, path):
    parameters = quick(path).fit(*table).distilled_.provenance["parameters"]
    assert "max_iter" in parameters
    assert not [name for name in parameters if "checkpoint" in name]


# --- runs at their end ------------------------------------------------------------------------


def test_a_complete_run_returns_at_once_and_goes_on_with_more_steps(table, path, outer_step):
    first = quick(path, **VALIDATED).fit(*table)
    before = os.stat(path)
    with outer_step.refuse():
        again = quick(path, **VALIDATED).fit(*table)
    assert bits(again) == bits(first)
    assert again.history_["seconds"] == first.history_["seconds"]
    assert (os.stat(path).st_ino, os.stat(path).st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    more = quick(path, max_iter=8, **VALIDATED).fit(*table)
    assert bits(more) == bits(quick(max_iter=8, **VALIDATED).fit(*table))


def test_a_run_that_has_stagnated_is_complete(table, path, monkeypatch, outer_step):
    parameters = {**VALIDATED, "n_iter_no_change": 3, "max_iter": 20}
    accuracies = iter([0.9, 0.5, 0.5])
    with monkeypatch.context() as patch:
        patch.setattr("skdistill._run.held_out.HeldOut.accuracy", lambda *args: next(accuracies))
        first = quick(path, **parameters).fit(*table)
    assert first.n_iter_ == 6
    outer_step.refuse()
    assert bits(quick(path, **parameters).fit(*table)) == bits(first)


@pytest.mark.filterwarnings("ignore::skdistill.exceptions.DivergenceWarning")
def test_a_run_that_has_diverged_says_so_again(table, path, outer_step):
    steps = []

    def is_bad(step):
        steps.append(step)
        return step >= 2

    outer_step.spoil(is_bad)
    for _ in range(2):
        distiller = quick(path, max_iter=50)
        with pytest.raises(DivergenceError, match="up to outer step 12"):
            distiller.fit(*table)
        assert steps == list(range(12))
        assert np.isfinite(distiller.transform()[0]).all()


def test_a_run_that_a_callback_stopped_goes_on(table, path):
    first = quick(path).set_callbacks(StopAfter(2)).fit(*table)
    assert first.n_iter_ == 2
    assert bits(quick(path).fit(*table)) == bits(quick().fit(*table))


# --- other parameters, other data -------------------------------------------------------------


def other_network(input_shape, n_classes):
    return tiny(input_shape, n_classes)


DIFFERENT = {
    "ipc": ({"ipc": 2}, {}, r"ipc must be 1; got 2; as in the run that checkpoint='.*run.npz' hol"),
    "float": ({"learning_rate": 0.1}, {}, "learning_rate must be 'auto'; got 0.1"),
    "schedule": (
        {"schedule": MovingWindow(patience=5)},
        {},
        "schedule must be {'skdistill.MovingWindow': .*'patience': 2.*; got .*: 5",
    ),
    "function": ({"architecture": other_network}, {}, r"must be '\w+.tiny'; got '\w+.other_netw"),
    "named": ({"architecture": "mlp"}, {}, "architecture must be .*tiny'; got 'mlp'"),
    "init": ({"init": "real"}, {}, "init must be 'gaussian'; got 'real'"),
    "validation": (VALIDATED, {}, "validation_fraction must be None; got 0.3; validation_inter"),
    "random_state": ({"random_state": 1}, {}, "random_state=1 must be .* seed 209652396; got"),
    "max_iter": ({"max_iter": 2}, {}, "max_iter=2 must be at least 4, the outer steps done in"),
    "X": ({}, {"X": 1}, "X, y and sample_weight must be .*'shape': .30, 3.*; got {"),
    "y": ({}, {"y": 1}, "X, y and sample_weight must be"),
    "weight": ({}, {"sample_weight": np.r_[2, np.ones(29)]}, "X, y and sample_weight must be"),
    "factors": ({}, {"learning_rate_factors": [0.5]}, r"factors must be None; got \[0.5\]"),
    "start": ({"ipc": 1}, {"start": 1}, "start must be None; got {'skdistill.Distil"),
}


@pytest.mark.parametrize(("parameters", "data", "message"), DIFFERENT.values(), ids=DIFFERENT)
def test_another_run_is_refused(table, path, outer_step, parameters, data, message):
    X, y = table
    fitted = quick(path).fit(X, y)
    before = path.read_bytes()
    others = {"X": X + np.eye(*X.shape), "y": 1 - y, "start": fitted.distilled_}
    data = {"X": X, "y": y, **{name: others.get(name, value) for name, value in data.items()}}
    outer_step.refuse()
    with pytest.raises(ValueError, match=f"(?s){message}"):
        quick(path, **parameters).fit(**data)
    assert path.read_bytes() == before


def test_eval_steps_only_matter_to_a_validated_run(table, path):
    quick(path, **VALIDATED).fit(*table)
    with pytest.raises(ValueError, match="eval_steps must be 2; got 3"):
        quick(path, eval_steps=3, **VALIDATED).fit(*table)


@pytest.mark.parametrize(("first", "second"), [({}, VALIDATED), (VALIDATED, {})])
def test_of_validation_only_what_was_changed_is_told(table, path, first, second):
    quick(path, eval_steps=5, **first).fit(*table)
    with pytest.raises(ValueError, match="validation_fraction must be") as error:
        quick(path, eval_steps=5, **second).fit(*table)
    assert "eval_steps" not in str(error.value)
    assert "how samples are validated" not in str(error.value)


def test_a_network_that_was_rewritten_under_its_name_is_refused(table, path, monkeypatch):
    quick(path).fit(*table)
    monkeypatch.setattr(tiny, "__defaults__", (5,))
    with pytest.raises(ValueError, match=r"(?s)the network must be .*out_features=4.*; got .*=5"):
        quick(path).fit(*table)


def change_identity(path, change):
    """Change what a checkpoint says that its run is."""
    with open(path, "rb") as file:
        arrays, meta = _npz.read(file, "skdistill.Run", 1, (), "run.")
    change(meta["identity"])
    _npz.write(path, "skdistill.Run", 1, arrays, meta)


def edited(input_shape, n_classes, change=torch.relu):
    """Return a network with layers like those of `tiny`, of which one is a function."""
    return Edited(tiny(input_shape, n_classes), change)


class Edited(nn.Module):
    def __init__(self, layers, change):
        super().__init__()
        self.layers, self.change = layers, change

    def forward(self, X):
        return self.layers[3](self.change(self.layers[1](X)))


def test_a_network_whose_forward_was_edited_is_refused(table, path, monkeypatch):
    expected = bits(quick(path, architecture=edited).fit(*table))
    with monkeypatch.context() as later:
        later.setattr(edited, "__defaults__", (torch.tanh,))
        with pytest.raises(
            ValueError, match=r"the network's scores of a few samples must be \[.*\]"
        ):
            quick(path, architecture=edited).fit(*table)
    # Another machine rounds in another way.
    with monkeypatch.context() as later:
        later.setattr(edited, "__defaults__", (lambda X: torch.relu(X) * 1.0003 + 1e-4,))
        assert bits(quick(path, architecture=edited).fit(*table)) == expected
    # A run of before does not say it.
    change_identity(path, lambda identity: identity.pop(NETWORK_SCORES))
    assert bits(quick(path, architecture=edited).fit(*table)) == expected


def test_auto_of_before_goes_on_with_the_clipping_that_it_stood_for(table, path):
    expected = bits(quick(clip_norm="feng23").fit(*table))
    assert bits(quick().fit(*table)) != expected
    for asked in ("auto", "feng23"):
        quick(path, clip_norm="feng23", max_iter=2).fit(*table)
        change_identity(path, lambda identity: identity.update(clip_norm="auto"))
        resumed = quick(path, clip_norm=asked).fit(*table)
        assert bits(resumed) == expected
        assert resumed.clip_norm_ == "feng23"
        path.unlink()


def test_warm_start_goes_on_with_the_clipping_that_auto_stood_for(table):
    expected = bits(quick(clip_norm="feng23").fit(*table))
    earlier = quick(clip_norm="feng23", max_iter=2, warm_start=True).fit(*table)
    # One of before has no such attribute, and says "auto".
    del earlier.clip_norm_
    assert bits(earlier.set_params(clip_norm="auto", max_iter=4).fit(*table)) == expected


def test_auto_is_not_the_number_of_an_earlier_fit(table):
    earlier = quick(clip_norm=0.01, max_iter=2, warm_start=True).fit(*table)
    later = earlier.set_params(clip_norm="auto", max_iter=4).fit(*table)
    assert later.clip_norm_ == "robust"
    assert later.history_["clip_level"][:2] == [0.01, 0.01]
    assert 0.01 not in later.history_["clip_level"][2:]


def test_what_was_left_open_is_known_beside_parameters_that_are_arrays(table):
    used = quick().fit(*table)._left_open(quick(window="auto", random_state=np.arange(3)))
    assert used["clip_norm"] == "robust"
    assert used["window"] == 1
    assert "random_state" not in used


def test_later_blocks_clip_as_the_first_did(table, tmp_path):
    def boosted(ipc, clip_norm="auto"):
        distiller = quick(clip_norm=clip_norm)
        return BoostedDistiller(
            ipc, block_size=1, distiller=distiller, checkpoint=tmp_path, random_state=0
        )

    boosted(1, "feng23").fit(*table)
    change_identity(tmp_path / "ipc-1.npz", lambda identity: identity.update(clip_norm="auto"))
    blocks = boosted(2).fit(*table).distilled_.provenance["blocks"]
    assert [block["parameters"]["clip_norm"] for block in blocks] == ["feng23", "feng23"]


def test_a_parameter_of_the_same_name_is_another_distillers_own():
    completed = agreement.completed({"clip_norm": "auto"}, {"clip_norm": "auto"}, {}, lambda: None)
    assert completed["clip_norm"] == "auto"


def test_networks_of_the_package_are_known_by_their_names(table, path):
    identities = []
    for architecture in ("mlp", partial(MLP, width=4)):
        quick(path, architecture=architecture).fit(*table)
        change_identity(path, identities.append)
        path.unlink()
    assert [NETWORK_SCORES in identity for identity in identities] == [False, False]


@pytest.mark.parametrize(
    ("saved", "same"),
    [
        ([1.0, -2.01], True),
        ([1.0, -2.1], False),
        ([1.0], False),
        (["nan", 1], False),
        (None, True),
        ("junk", False),
        ({}, False),
    ],
    ids=str,
)
def test_scores_in_a_file_are_compared_whatever_it_holds(saved, same):
    assert same_scores(saved, [1.0, -2.0]) is same


def test_a_network_that_no_seed_determines_is_resumed(table, path):
    unseeded = np.random.default_rng()

    def network(input_shape, n_classes):
        built = tiny(input_shape, n_classes)
        nn.init.constant_(built[1].bias, unseeded.normal())
        return built

    for max_iter in (4, 5):
        distiller = quick(path, architecture=network, max_iter=max_iter)
        with pytest.warns(UserWarning, match="builds two networks from one seed that differ"):
            distiller.fit(*table)
        assert distiller.n_iter_ == max_iter


def test_a_random_state_that_moves_on_is_refused(table, path):
    state = np.random.RandomState(0)
    quick(path, random_state=state).fit(*table)
    with pytest.raises(ValueError, match="A RandomState gives another seed each time"):
        quick(path, random_state=state).fit(*table)


@pytest.mark.parametrize(
    "change",
    [
        {"max_iter": 5},
        {"n_networks": 3},
        {"eval_steps": 3},
        {"verbose": 1},
        {"warm_start": True},
        {"checkpoint_every": 1},
        {"compile": False},
        {"device": torch.device("cpu")},
        {"random_state": None},
    ],
    ids=lambda change: next(iter(change)),
)
def test_parameters_that_may_differ_when_a_run_resumes(table, path, change, capsys):
    quick(path, max_iter=3).fit(*table)
    distiller = quick(path, **change).fit(*table)
    max_iter = change.get("max_iter", 4)
    assert bits(distiller) == bits(quick(max_iter=max_iter).fit(*table))
    assert distiller.n_iter_ == max_iter
    assert ("goes on from outer step 3" in capsys.readouterr().out) == ("verbose" in change)


def test_warm_start_takes_the_run_with_more_steps(table, path, outer_step):
    whole = quick(max_iter=6).fit(*table)
    ahead = quick(path, max_iter=3, warm_start=True).fit(*table)
    quick(path, max_iter=5).fit(*table)
    begun = outer_step().begun
    assert bits(ahead.set_params(max_iter=6).fit(*table)) == bits(whole)
    assert begun == [6]
    ahead.set_params(max_iter=8, checkpoint=None).fit(*table)
    ahead.set_params(max_iter=9, checkpoint=path).fit(*table)
    assert begun == [6, 7, 8, 9]
    assert saved_step(path) == 9


def test_warm_start_of_another_run_is_refused(table, path):
    quick(path, random_state=None).fit(*table)
    distiller = quick(random_state=None, warm_start=True).fit(*table)
    with pytest.raises(ValueError, match="random_state=None must be what the run"):
        distiller.set_params(checkpoint=path).fit(*table)


def test_values_are_distinguished():
    same = [
        (np.float64(0.5), 0.5),
        (1, np.int64(1)),
        ((1, 2), [1, 2]),
        (MovingWindow(patience=3), MovingWindow(patience=3)),
        (partial(tiny, width=3), partial(tiny, width=3)),
        (np.arange(3), np.arange(3)),
        (float("nan"), float("nan")),
        (lambda: 1, lambda: 1),  # of one name
    ]
    for a, b in same:
        assert describe_value(a) == describe_value(b), a
    different = [
        *(None, "a", 1, 1.5, float("inf"), [1], {"a": 1}, {"b": 1}, tiny, other_network),
        *(MovingWindow, MovingWindow(patience=3), MovingWindow(patience=4)),
        *(np.arange(3), np.arange(4), partial(lambda n: n, 3), partial(lambda n: n, 4)),
        *(partial(tiny, width=3), partial(tiny, width=4), partial(other_network, width=3)),
    ]  # fmt: skip
    described = [describe_value(value) for value in different]
    for i, a in enumerate(described):
        assert not [b for j, b in enumerate(described) if j != i and b == a], different[i]
    # Values that cannot be pickled are only distinguished by their type.
    assert describe_value(threading.Lock()) == "_thread.lock"
    data = tools.make()
    turned = replace(data, X=np.asfortranarray(data.X))
    assert describe_value(turned) == describe_value(data)
    assert describe_value(Fraction(1, 4)) == 0.25


def test_a_parameter_that_only_one_of_two_runs_has_is_a_difference():
    assert differences({"a": 1, "b": 2}, {"a": 1}) == ["b must be 2; got 'absent'"]
    assert differences({"a": 1}, {"a": 1, "b": 2}) == ["b must be 'absent'; got 2"]


def test_a_long_value_is_shown_where_it_differs(table, path):
    def deep(input_shape, n_classes, n=20, last=nn.ReLU):
        hidden = [nn.Identity() for _ in range(n)]
        return nn.Sequential(*hidden, nn.Linear(3, 4), last(), nn.Linear(4, n_classes))

    quick(path, architecture=deep).fit(*table)
    deep.__defaults__ = (20, nn.Tanh)
    with pytest.raises(ValueError, match=r"network must be \.\.\.[^;]*ReLU[^;]*; got .*Tanh"):
        quick(path, architecture=deep).fit(*table)


# --- damage -----------------------------------------------------------------------------------


def test_a_damaged_file_is_reported_and_the_one_before_is_used(table, path, outer_step):
    quick(path, checkpoint_every=1).fit(*table)
    path.write_bytes(path.read_bytes()[:-100])
    good = previous_of(path).read_bytes()
    outer_step(at=5, do=KeyboardInterrupt)
    message = r"run.npz cannot be loaded: .* goes on from .*run.npz.previous, outer step 3"
    with pytest.warns(CheckpointWarning, match=message), pytest.raises(KeyboardInterrupt):
        quick(path, checkpoint_every=1, max_iter=6).fit(*table)
    # The good previous file was not thrown away for the damaged one.
    assert previous_of(path).read_bytes() == good
    assert saved_step(path) == 4
    outer_step.undo()
    quick(path, checkpoint_every=10, max_iter=6).fit(*table)
    assert (saved_step(path), saved_step(previous_of(path))) == (6, 4)


def test_a_run_resumed_from_the_previous_file_ends_with_the_same_bits(table, path):
    whole = quick(path, checkpoint_every=1, **VALIDATED).fit(*table)
    path.write_bytes(b"")
    with pytest.warns(CheckpointWarning) as seen:
        again = quick(path, **VALIDATED).fit(*table)
    assert seen[0].filename == __file__
    assert bits(again) == bits(whole)


@pytest.mark.parametrize("with_previous", [True, False])
def test_nothing_is_begun_anew_over_damaged_files(table, path, outer_step, with_previous):
    quick(path, checkpoint_every=1).fit(*table)
    path.write_bytes(b"PK\x03\x04 and nothing else")
    if with_previous:
        previous_of(path).write_bytes(b"x,y\n1,2\n")
        message = "run.npz cannot be loaded: .*previous cannot be loaded: it is not an .npz .*Rem"
    else:
        previous_of(path).unlink()
        message = "run.npz cannot be loaded: .* There is no .*previous to go on from. Remove them"
    outer_step.refuse()
    with pytest.raises(InvalidFileError, match=message):
        quick(path).fit(*table)
    assert path.read_bytes() == b"PK\x03\x04 and nothing else"


@pytest.mark.parametrize("content", [pickle.dumps([1]), b"x,y\n1,2\n"], ids=["pickle", "text"])
def test_what_was_never_a_checkpoint_is_not_taken_for_a_damaged_one(table, path, content):
    quick(path, checkpoint_every=1).fit(*table)
    path.write_bytes(content)
    with pytest.raises(InvalidFileError, match="cannot be loaded: it is "):
        quick(path).fit(*table)
    assert path.read_bytes() == content


def test_a_set_that_comes_to_the_place_of_a_damaged_file_stays(table, path, outer_step):
    distilled = quick().fit(*table).distilled_
    quick(path, checkpoint_every=1).fit(*table)
    path.write_bytes(path.read_bytes()[:-100])
    outer_step(at=4, do=lambda state: distilled.save(path))
    with (
        pytest.warns(CheckpointWarning, match="goes on from"),
        pytest.warns(CheckpointWarning, match="another run has written to it since"),
    ):
        quick(path, checkpoint_every=10).fit(*table)
    assert len(DistilledDataset.load(path)) == len(distilled)


@pytest.mark.parametrize("with_previous", [True, False])
def test_a_file_of_another_kind_is_not_written_over(table, path, with_previous):
    if with_previous:
        quick(path, checkpoint_every=1).fit(*table)
    quick().fit(*table).distilled_.save(path)
    before = path.read_bytes()
    message = r"format must be 'skdistill.Run'; got 'skdistill.D.*': it is a distilled set, which"
    with pytest.raises(InvalidFileError, match=message):
        quick(path).fit(*table)
    assert path.read_bytes() == before


def test_without_its_file_a_run_begins_anew(table, path):
    first = quick(path, checkpoint_every=1, random_state=None).fit(*table)
    path.unlink()
    second = quick(path, checkpoint_every=1, random_state=None).fit(*table)
    assert second.distilled_.recipe.seed != first.distilled_.recipe.seed


# --- forgeries --------------------------------------------------------------------------------


def forge(path, change):
    """Change a checkpoint, and write its checksums anew."""
    with open(path, "rb") as file:
        arrays, meta = _npz.read(file, "skdistill.Run", 1, (), "run.")
    change(arrays, meta["run"])
    _npz.write(path, "skdistill.Run", 1, arrays, meta)


def state(**values):
    return lambda arrays, run: run["state"].update(values)


def plain(**values):
    return lambda arrays, run: run.update(values)


def method_state(part, **values):
    return lambda arrays, run: run["state"]["memory"][part].update(values)


def array(convert, name="run.state.adam.X"):
    return lambda arrays, run: arrays.update({name: convert(arrays[name])})


def spoiled(row, value):
    def convert(array):
        array = array.copy()
        array[row, 0, 0] = value
        return array

    return convert


def rename(arrays, run):
    run["state"]["adam"]["Y"] = run["state"]["adam"].pop("X")


FORGED = {
    "samples": (array(lambda a: a[:, :1]), r"X must be float32 of shape \(3, 2, 3\); got .*1, 3"),
    "moments": (array(lambda a: a[:2]), r"X must be .*shape \(3, 2, 3\); got .* \(2, 2, 3\)"),
    "dtype": (array(lambda a: a.astype(float)), "tensor X must be float32 .*; got 'float64 of"),
    "integers": (array(lambda a: a.astype(np.int32)), "tensor X must be float32 .*; got 'int32"),
    "nan": (array(spoiled(0, np.nan)), "tensor X must be finite"),
    "infinity": (array(spoiled(1, -np.inf)), "tensor X must be finite"),
    "negative square": (array(spoiled(2, -1)), "tensor X must be .* moments that are not negative"),
    "another name": (rename, r"tensors must be \['X'\]; got \['Y'\]"),
    "no tensors": (state(adam={}), r"tensors must be \['X'\]; got \[\]"),
    "no arrays": (state(adam={"X": 1}), "tensors must be a mapping to arrays"),
    "memory": (state(memory={"evil": 1}), r"state must be one with .'schedule', 'sampler'.; got"),
    "list for memory": (state(memory=[]), "state of the method must be a mapping"),
    "schedule": (
        lambda arrays, run: run["state"]["memory"].update(schedule={}),
        "state's schedule must be a mapping with .'start', 'smoothed', ",
    ),
    "window": (method_state("schedule", start=10**9), r"window within 3 steps.* returned \(10+, "),
    "part of a step": (method_state("schedule", start=0.5), "must give a window within 3 steps"),
    "text": (method_state("schedule", smoothed="x", best=1.0), "can't multiply"),
    "few scores": (method_state("sampler", scores=[0] * 29), "scores must be 30, .*; got 29"),
    "wrong scores": (method_state("sampler", scores=[9] * 30), "scores must be between 0 and"),
    "step": (state(step=-1), "step must be a non-negative integer; got -1"),
    "many steps": (state(step=10**30), r"history must be .* lists of 10+ outer steps"),
    "true": (state(step=True), "step must be a non-negative integer; got True"),
    "updates": (state(n_updates=10**30), "n_updates must be an integer from 0 to 4; got 10+"),
    "failures": (state(n_failures=1), "n_failures must be an integer from 0 to 0; got 1"),
    "clip_average": (state(clip_average="x"), "average must be a non-negative number; got 'x'"),
    "clipped to nothing": (state(clip_average=-1), "clip_average must be a non-negative number"),
    "never clipped": (state(clip_average=None), "clip_average must be a non-negative number"),
    "seconds": (plain(seconds="x"), "seconds must be a non-negative number; got 'x'"),
    "huge seconds": (plain(seconds=10**400), "seconds must be a non-negative number; got 10+"),
    "seed": (plain(seed="x"), "seed must be an integer from 0 to .*; got 'x'"),
    "best": (plain(best={"accuracy": 1.0, "step": 2, "tensors": {}}), "best tensors must be .'X'"),
    "history": (plain(history={"loss": "abcd"}), "history must be a mapping to lists"),
    "no losses": (plain(history={"seconds": [1.0] * 4}), "history must be one with .*loss"),
    "words": (
        lambda arrays, run: run["history"].update(loss=["x"] * 4),
        "history's loss must be numbers, booleans or None",
    ),
    "a short history": (
        lambda arrays, run: run["history"]["loss"].pop(),
        r"history must be a mapping to lists of 4 outer steps; got \{.*'loss': 3",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("change", "message"), FORGED.values(), ids=FORGED)
def test_forged_runs_are_refused_before_any_work(table, path, outer_step, change, message):
    parameters = {"sampler": HardnessSampler(n_networks=2, steps=1, start_step=1)}
    quick(path, **parameters).fit(*table)
    forge(path, change)
    outer_step.refuse()
    with pytest.raises(
        InvalidFileError, match=f"run.npz'? (cannot be loaded|holds no run).*{message}"
    ):
        quick(path, max_iter=6, **parameters).fit(*table)


@pytest.mark.parametrize(
    ("name", "convert", "message"),
    [
        ("run.best.tensors.X", lambda a: a[:1], r"best tensor X must be float32 of shape \(2, 3\)"),
        ("run.best.tensors.X", lambda a: a * np.nan, "best tensor X must be finite"),
        ("run.best.tensors.y", lambda a: a.astype(float), "best tensor y must be float32"),
    ],
)
def test_forged_best_samples_are_refused(table, path, outer_step, name, convert, message):
    quick(path, learn_labels=True, **VALIDATED).fit(*table)
    forge(path, array(convert, name))
    outer_step.refuse()
    with pytest.raises(InvalidFileError, match=message):
        quick(path, learn_labels=True, **VALIDATED).fit(*table)


@pytest.mark.parametrize("best", [{"accuracy": 2.0}, {"accuracy": "x"}, {"step": 0}, {"step": 9}])
def test_a_forged_best_step_is_refused(table, path, best):
    quick(path, **VALIDATED).fit(*table)
    forge(path, lambda arrays, run: run["best"].update(best))
    with pytest.raises(InvalidFileError, match=f"its best {next(iter(best))} must be"):
        quick(path, **VALIDATED).fit(*table)


@pytest.mark.parametrize(
    ("window", "message"),
    [("x", "window must be 'x'; got"), (-1, "'window' parameter"), (50, "window=50 must be at")],
)
def test_a_forged_window_is_refused(table, path, outer_step, window, message):
    # Values behind "auto": a resumed run keeps its own.
    quick(path, window="auto").fit(*table)
    with open(path, "rb") as file:
        arrays, meta = _npz.read(file, "skdistill.Run", 1, (), "run.")
    meta["identity"]["window"] = window
    _npz.write(path, "skdistill.Run", 1, arrays, meta)
    outer_step.refuse()
    with pytest.raises(ValueError, match=message):
        quick(path, window="auto", max_iter=6).fit(*table)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"learn_labels": True}, r"tensors must be \['X', 'y'\]; got \['X'\]"),
        ({"sampler": HardnessSampler()}, "state's sampler must be a mapping with .'scores'"),
    ],
    ids=["labels", "sampler"],
)
def test_warm_start_with_what_the_run_does_not_have_is_refused(table, change, message):
    distiller = quick(warm_start=True).fit(*table).set_params(max_iter=5, **change)
    with pytest.raises(
        ValueError, match=f"Parameters must be those of the earlier fit, .*: its {message}.* anew."
    ):
        distiller.fit(*table)


def test_warm_start_may_go_on_with_another_schedule(table):
    distiller = quick(warm_start=True).fit(*table)
    assert distiller.set_params(max_iter=5, schedule="rat-bptt").fit(*table).n_iter_ == 5


# --- disks ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing/run.npz", "there is no folder '.*missing' for 'run.npz'; make it first"),
        ("file/run.npz", "there is no folder '.*file' for 'run.npz'; that is a file"),
        ("folder", "it is a folder"),
    ],
)
def test_where_nothing_can_be_written(table, tmp_path, outer_step, name, message):
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    outer_step.refuse()
    with pytest.raises(
        ValueError, match=f"{name}' must be a file that can be written: .*{message}"
    ):
        quick(tmp_path / name).fit(*table)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"checkpoint": 3}, "'checkpoint' parameter .* Got 3"),
        ({"checkpoint_every": 0}, "'checkpoint_every' parameter .* Got 0"),
        ({"checkpoint_every": "1h"}, "'checkpoint_every' parameter .* Got '1h'"),
    ],
)
def test_bad_parameters(table, parameters, message):
    with pytest.raises(ValueError, match=message):
        quick(**parameters).fit(*table)


def full_disk(*args):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.filterwarnings("default::skdistill.exceptions.CheckpointWarning")
def test_a_state_that_cannot_be_written_hides_no_error(table, path, monkeypatch, outer_step):
    def refuse(*args):
        raise TypeError("no such value in a file")

    monkeypatch.setattr(RunFile, "write", refuse)
    failing = partial(pytest.warns, CheckpointWarning, match="could not be written: no such value")
    with outer_step(KeyboardInterrupt, at=3), pytest.raises(KeyboardInterrupt), failing():
        quick(path).fit(*table)
    with failing():
        assert quick(path).fit(*table).n_iter_ == 4


def test_a_full_disk_is_noticed_before_any_work(table, path, monkeypatch, outer_step):
    monkeypatch.setattr(os, "fsync", full_disk)
    outer_step.refuse()
    with pytest.raises(ValueError, match=r"must be a file that can be written: .*No space left"):
        quick(path).fit(*table)
    assert list(path.parent.iterdir()) == []


def test_a_disk_that_fills_up_does_not_stop_a_run(table, path, monkeypatch, outer_step):
    outer_step(at=3, do=lambda state: monkeypatch.setattr(os, "fsync", full_disk))
    with pytest.warns(CheckpointWarning, match="could not be written: .*No space left") as seen:
        distiller = quick(path, checkpoint_every=1).fit(*table)
    outer_step.undo()
    monkeypatch.undo()
    # One text for all of them, so that Python's default filter shows it once.
    texts = [str(w.message) for w in seen if w.category is CheckpointWarning]
    assert len(texts) == 3
    assert len(set(texts)) == 1
    assert bits(distiller) == bits(quick().fit(*table))
    assert (saved_step(path), saved_step(previous_of(path))) == (2, 1)
    assert len(list(path.parent.iterdir())) == 2
    assert bits(quick(path).fit(*table)) == bits(distiller)


def test_an_error_does_not_claim_that_more_is_kept(table, path, monkeypatch, outer_step):
    quick(path, max_iter=2).fit(*table)
    monkeypatch.setattr(RunFile, "write", full_disk)
    outer_step(at=4, do=KeyboardInterrupt)
    with (
        pytest.warns(CheckpointWarning),
        pytest.raises(KeyboardInterrupt, match="kept up to outer step 2"),
    ):
        quick(path).fit(*table)


class Crash(BaseException):
    """Like the end of a process, it is no error that a warning could report."""


@pytest.mark.parametrize(
    ("name", "nth"),
    [("mkdir", 1), ("fsync", 1), ("replace", 1), ("link", 1), ("replace", 2), ("replace", 3)],
)
def test_a_crash_while_writing_leaves_a_whole_file(table, path, monkeypatch, name, nth):
    runs = [quick(max_iter=n).fit(*table)._run for n in (1, 2, 3, 4)]
    checkpoint = Checkpoint(path, 1, {})
    for run in runs[:2]:
        checkpoint.save(run)
    function, calls = getattr(os, name), []

    def crash(*args, **kwargs):
        calls.append(1)
        if len(calls) == nth:
            raise Crash
        return function(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(os, name, crash)
        # Files that a killed process leaves behind are not removed.
        patch.setattr(RunFile, "_remove_partial", lambda self: None)
        with pytest.raises(Crash):
            checkpoint.save(runs[2])
    another = Checkpoint(path, 1, {})
    assert everything(another.load()) == everything(runs[1])
    assert saved_step(previous_of(path)) in (1, 2)
    for writer, run in ((checkpoint, runs[2]), (another, runs[3])):
        if writer is another:
            another.load()
        writer.save(run)
        assert everything(Checkpoint(path, 1, {}).load()) == everything(run)
        assert saved_step(previous_of(path)) == run.step - 1
        assert len(list(path.parent.iterdir())) == 2


def test_disks_without_hard_links(table, path, monkeypatch):
    def link(*args):
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", link)
    quick(path, checkpoint_every=1).fit(*table)
    assert (saved_step(path), saved_step(previous_of(path))) == (4, 3)


def test_two_runs_do_not_write_over_each_other(table, path, no_locks, outer_step):
    other = quick(path, max_iter=2, random_state=1)

    def run_the_other(state):
        path.unlink()
        other.fit(*table)

    outer_step(at=4, do=run_the_other)
    with (
        pytest.warns(CheckpointWarning, match="is on a file system without locks"),
        pytest.warns(CheckpointWarning, match="written: another run has written to it since"),
    ):
        distiller = quick(path, checkpoint_every=1).fit(*table)
    assert distiller.n_iter_ == 4
    assert saved_step(path) == 2
    assert bits(quick(path, random_state=1, max_iter=2).fit(*table)) == bits(other)


def test_another_time_of_its_file_does_not_stop_a_run_from_saving(table, path, outer_step):
    outer_step(at=3, do=lambda state: os.utime(path, (0, 0)))
    quick(path, checkpoint_every=1).fit(*table)
    assert saved_step(path) == 4


def test_a_damaged_file_may_be_touched_too(table, path, outer_step):
    quick(path, checkpoint_every=1).fit(*table)
    path.write_bytes(path.read_bytes()[:-100])
    outer_step(at=4, do=lambda state: os.utime(path, (0, 0)))
    with pytest.warns(CheckpointWarning, match="goes on from"):
        quick(path, checkpoint_every=10).fit(*table)
    assert saved_step(path) == 4


@pytest.mark.skipif(os.name == "nt", reason="permissions of POSIX")
def test_permissions_stay(table, path):
    quick(path, checkpoint_every=1, max_iter=1).fit(*table)
    path.chmod(0o640)
    distiller = quick(path, checkpoint_every=1).fit(*table)
    assert path.stat().st_mode & 0o777 == 0o640
    place = path.with_name("set.npz")
    for mode in (0o600, 0o644):
        distiller.distilled_.save(place)
        place.chmod(mode)
        distiller.distilled_.save(place)
        assert place.stat().st_mode & 0o777 == mode


def test_a_file_that_is_removed_during_a_run_is_written_again(table, path, outer_step):
    outer_step(at=3, do=lambda state: path.unlink())
    quick(path, checkpoint_every=1).fit(*table)
    assert saved_step(path) == 4


# --- places -----------------------------------------------------------------------------------


@pytest.mark.parametrize("dangling", [True, False])
def test_a_link_is_followed(table, tmp_path, dangling):
    (tmp_path / "scratch").mkdir()
    link, target = tmp_path / "run.npz", tmp_path / "scratch" / "real.npz"
    link.symlink_to(Path("scratch", "real.npz"))
    if not dangling:
        quick(target, max_iter=2).fit(*table)
    quick(link, checkpoint_every=1).fit(*table)
    assert link.is_symlink()
    assert saved_step(target) == 4
    assert sorted(p.name for p in target.parent.iterdir()) == ["real.npz", "real.npz.previous"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["run.npz", "scratch"]


def test_links_in_a_circle_are_refused(table, path):
    path.symlink_to(path)
    with pytest.raises(ValueError, match=r"run\.npz' must be a file that can be written: "):
        quick(path).fit(*table)


def test_the_home_folder_is_expanded(table, path, monkeypatch):
    monkeypatch.setenv("HOME", str(path.parent))
    monkeypatch.setenv("USERPROFILE", str(path.parent))
    quick("~/run.npz").fit(*table)
    assert saved_step(path) == 4


def test_a_complete_run_is_resumed_where_nothing_can_be_written(table, path, make_read_only):
    fitted = quick(path, checkpoint_every=2, **VALIDATED).fit(*table)
    make_read_only(path.parent)
    assert bits(quick(path, **VALIDATED).fit(*table)) == bits(fitted)


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES])
def test_where_nothing_can_be_written_no_work_is_begun(
    table, path, make_read_only, outer_step, number
):
    quick(path).fit(*table)
    make_read_only(path.parent, number)
    outer_step.refuse()
    message = f"run.npz' must be a file that can be written: {os.strerror(number)}.$"
    for distiller in (quick(path, max_iter=5), quick(path.with_name("other-run.npz"))):
        with pytest.raises(ValueError, match=message):
            distiller.fit(*table)


# --- several fits at once ---------------------------------------------------------------------


@pytest.fixture
def no_locks(monkeypatch):
    """Pretend that the file system has no locks."""

    def flock(*args):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("fcntl.flock", flock)


def lock_file(path):
    return path.with_name(f".{path.name}.skdistill-lock")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_what_another_process_writes_is_refused_until_it_is_killed(table, path, outer_step):
    begun, say = os.pipe()
    pid = os.fork()
    if pid == 0:

        def hang(state):
            os.write(say, b"x")
            signal.pause()

        try:
            outer_step(do=hang)
            quick(path).fit(*table)
        finally:
            os._exit(1)
    try:
        os.read(begun, 1)
        with outer_step.refuse():
            host = re.escape(socket.gethostname())
            with pytest.raises(
                ValueError,
                match=f"run.npz' is in use by process {pid} on {host}: wait until .* another path",
            ):
                quick(path).fit(*table)
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    assert lock_file(path).exists()
    assert quick(path).fit(*table).n_iter_ == 4
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("in_thread", [True, False])
def test_what_another_fit_of_this_process_writes_is_refused(table, path, outer_step, in_thread):
    errors = []

    def fit_as_well():
        try:
            quick(path).fit(*table)
        except ValueError as error:
            errors.append(str(error))

    def meanwhile(state):
        # There is room in other places.
        assert quick(path.with_name("other.npz"), max_iter=1).fit(*table).n_iter_ == 1
        if in_thread:
            thread = threading.Thread(target=fit_as_well)
            thread.start()
            thread.join()
        else:
            fit_as_well()

    outer_step(at=2, do=meanwhile)
    assert quick(path, checkpoint_every=1).fit(*table).n_iter_ == 4
    assert len(errors) == 1
    assert "run.npz' is in use by another fit of this process" in errors[0]


def test_a_run_written_until_the_lock_was_free_is_resumed(table, path, monkeypatch):
    ahead = quick(path.with_name("ahead.npz"), max_iter=3).fit(*table)
    acquire = _lock.WriteLock.acquire

    def late(self):
        # Another fit ends between the first look at the file and the lock.
        os.replace(ahead.checkpoint, path)
        acquire(self)

    monkeypatch.setattr(_lock.WriteLock, "acquire", late)
    distiller = quick(path).fit(*table)
    assert distiller.history_["seconds"][:3] == ahead.history_["seconds"]
    assert distiller.n_iter_ == 4


def test_a_fit_that_is_refused_leaves_no_lock(table, path):
    with pytest.raises(ValueError, match="validation_fraction"):
        quick(path, validation_fraction=0.01).fit(*table)
    assert list(path.parent.iterdir()) == []
    assert quick(path).fit(*table).n_iter_ == 4


def test_a_fit_that_is_interrupted_while_it_locks_leaves_no_lock(table, path):
    def fit():
        path.unlink(missing_ok=True)
        return partial(quick(path, max_iter=1).fit, *table)

    n_kept = 0
    for _ in interruptions(fit, _lock):
        n_kept += path.exists()
        assert quick(path, max_iter=2).fit(*table).n_iter_ == 2
    assert n_kept > 0


# --- memory -----------------------------------------------------------------------------------


def allocate(*args):
    torch.empty(2**50)


@pytest.mark.parametrize("error", [MemoryError, torch.OutOfMemoryError, allocate])
def test_out_of_memory_says_what_to_lower_and_loses_nothing(table, path, outer_step, error):
    kinds = (MemoryError, RuntimeError)
    with outer_step(at=3, do=error):
        distiller = quick(path)
        with pytest.raises(
            kinds, match=r"(?s)step 3 ran out of memory: .*lower \w+.* first.*MiB.*step 2 "
        ):
            distiller.fit(*table)
        assert distiller.n_iter_ == 2
    assert bits(quick(path).fit(*table)) == bits(quick().fit(*table))


def test_other_errors_have_nothing_to_do_with_memory(table, path, outer_step):
    outer_step(at=1, do=RuntimeError("something else"))
    with pytest.raises(RuntimeError, match="something else") as raised:
        quick(path).fit(*table)
    assert not hasattr(raised.value, "__notes__")
    assert not path.exists()


# --- SIGTERM and SIGHUP -----------------------------------------------------------------------


def handler_of(name):
    return signal.getsignal(getattr(signal, name))


def is_ours(name):
    # Under nohup, SIGHUP is not.
    return hasattr(signal, name) and handler_of(name) is signal.SIG_DFL


REQUESTS = [*filter(is_ours, ("SIGTERM", "SIGHUP"))]
both = pytest.mark.parametrize("name", REQUESTS)


def sends(name):
    """Return what sends this process a signal in an outer step."""

    def send(state=None):
        # Otherwise the tests would end here.
        assert handler_of(name) is not signal.SIG_DFL
        os.kill(os.getpid(), getattr(signal, name))

    return send


@both
def test_sigterm_is_like_ctrl_c(table, path, outer_step, name):
    outer_step(at=3, do=sends(name))
    distiller = quick(path)
    with pytest.raises(KeyboardInterrupt, match=rf"(?s){name}.*kept up to outer step 2"):
        distiller.fit(*table)
    assert {handler_of(each) for each in REQUESTS} == {signal.SIG_DFL}
    assert distiller.transform()[0].shape == (2, 3)
    assert saved_step(path) == 2


@both
@pytest.mark.parametrize("second", REQUESTS)
def test_a_second_sigterm_leaves_time_to_write(table, path, monkeypatch, outer_step, name, second):
    outer_step(at=3, do=sends(name))
    write = RunFile.write

    def terminated(self, run, identity):
        sends(second)()
        write(self, run, identity)

    monkeypatch.setattr(RunFile, "write", terminated)
    with pytest.raises(KeyboardInterrupt):
        quick(path).fit(*table)
    assert saved_step(path) == 2


@both
@pytest.mark.parametrize("handler", [signal.SIG_IGN, lambda *args: None], ids=["ignored", "own"])
def test_a_programs_own_handler_of_sigterm_is_left_alone(table, path, handler, outer_step, name):
    before = signal.signal(getattr(signal, name), handler)
    try:
        outer_step(at=3, do=sends(name))
        assert quick(path).fit(*table).n_iter_ == 4
        assert handler_of(name) is handler
        # The other one is handled all the same.
        for other in {*REQUESTS} - {name}:
            outer_step(at=5, do=sends(other))
            with pytest.raises(KeyboardInterrupt, match=other):
                quick(path, max_iter=6).fit(*table)
            assert handler_of(name) is handler
    finally:
        signal.signal(getattr(signal, name), before)


def test_signals_are_left_alone_without_a_checkpoint_and_in_other_threads(table, path, outer_step):
    handlers = []
    outer_step(do=lambda state: handlers.extend(map(handler_of, REQUESTS)))
    quick().fit(*table)
    thread = threading.Thread(target=quick(path).fit, args=table)
    thread.start()
    thread.join()
    assert saved_step(path) == 4
    assert handlers == [signal.SIG_DFL] * 8 * len(REQUESTS)


def test_the_handlers_are_put_back_after_an_error():
    def fail():
        assert signal.SIG_DFL not in map(handler_of, REQUESTS)
        raise Crash

    with pytest.raises(Crash), _interruption.signals_interrupt():
        fail()
    assert {handler_of(name) for name in REQUESTS} == {signal.SIG_DFL}
