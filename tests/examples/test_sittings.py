"""Runs that take several sittings."""

import json
from argparse import ArgumentParser, Namespace
from dataclasses import replace
from warnings import catch_warnings, simplefilter

import numpy as np
import pytest
from sklearn.datasets import load_iris

from skdistill import BoostedDistiller, RaTBPTTDistiller
from skdistill._run import loop
from skdistill.exceptions import DivergenceError

X, Y = load_iris(return_X_y=True)
QUICK = {
    "max_iter": 6, "window": 1, "unroll": 2, "compile": False, "n_networks": 1, "random_state": 0
}  # fmt: skip


@pytest.fixture
def sit(shared, tmp_path):
    """Return a function that begins a sitting, of which the report and the cells are kept."""
    sittings, report = shared("sittings"), shared("report")

    def begin(minutes=None):
        path = tmp_path / "a.json"
        end = np.inf if minutes is None else sittings.perf_counter() + 60 * minutes
        args = Namespace(json=path, checkpoints=tmp_path / "kept", end=end)
        return sittings.Sitting(report.Report(path, {}, ("name", "seed")), args)

    return begin


def steps_in(sitting, n):
    """Let a sitting have time for so many checks."""
    left = [n]

    def check(seconds=0.0):
        left[0] -= 1
        if left[0] < 0:
            sitting.end = 0.0
        type(sitting).check(sitting, seconds)

    sitting.check = check
    return sitting


def test_a_run_goes_on_where_the_sitting_before_was(sit, tmp_path):
    def compute(cell):
        distiller = RaTBPTTDistiller(**QUICK)
        cell.fit(distiller, X, Y)
        return {"name": "A b", "seed": 0, "X": distiller.distilled_.X.tolist()}

    with steps_in(sit(), 3) as first:
        first.run(compute, name="A b", seed=0)
        pytest.fail("the time was over")
    folder = tmp_path / "kept" / "a-a-b-0"
    assert (folder / "run.npz").exists()
    assert not (tmp_path / "a.json").exists()
    row = sit().run(compute, name="A b", seed=0)
    assert row["X"] == RaTBPTTDistiller(**QUICK).fit(X, Y).distilled_.X.tolist()
    assert json.loads((tmp_path / "a.json").read_text())["rows"] == [row]
    # Nothing is kept of a finished run.
    assert not (tmp_path / "kept").exists()


def test_the_end_of_a_sitting_is_told_and_other_errors_are_not_hidden(sit, capsys):
    with sit(minutes=0) as sitting:
        sitting.run(lambda cell: pytest.fail("begun"), name="a", seed=0)
    assert "The time is over" in capsys.readouterr().out
    with pytest.raises(ZeroDivisionError), sit() as sitting:
        sitting.run(lambda cell: 1 / 0, name="a", seed=0)


def test_what_was_measured_is_not_measured_again(sit):
    sitting = sit()
    assert sitting.cell("a").once("n", lambda: [1.5, 2]) == [1.5, 2]
    # There is no folder before there is something to keep.
    again = sit().cell("a")
    assert again.once("n", lambda: pytest.fail("measured again")) == [1.5, 2]
    # A measurement that took longer than the time that is left is not begun.
    with sit(minutes=1) as short:
        short.took["m"] = 100.0
        short.cell("a").once("m", lambda: pytest.fail("begun"))
    with sit(minutes=1) as short:
        short.took["m"] = 1.0
        assert short.cell("a").once("m", lambda: 3) == 3


def test_how_long_a_measurement_took_is_known_in_the_next_sitting(sit):
    def compute(cell):
        cell.once("m", lambda: 1)
        return {"name": "a", "seed": 0}

    row = sit().run(compute, name="a", seed=0)
    assert list(row["took"]) == ["m"]
    assert sit().took == row["took"]


def test_the_minutes_of_a_sitting_begin_when_arguments_are_read(shared, monkeypatch):
    sittings = shared("sittings")
    monkeypatch.setattr(sittings, "perf_counter", lambda: 100.0)
    parser = ArgumentParser()
    sittings.add_arguments(parser)
    args = parser.parse_args(["--minutes-left", "2"])
    monkeypatch.setattr(sittings, "perf_counter", lambda: 150.0)
    args.json = None
    assert sittings.Sitting(None, args).end == 220
    assert parser.parse_args([]).end == np.inf


def test_a_row_says_where_it_was_measured(sit, shared, monkeypatch):
    def compute(cell):
        cell.once("m", lambda: 1)
        cell.sitting.check()
        return {"name": "a", "seed": seed}

    sittings = shared("sittings")
    seed = 0
    here = sit().run(compute, name="a", seed=0)["machine"]
    assert here == shared("report").machine()
    # A row of several sittings names the machines of all.
    seed = 1
    with steps_in(sit(), 2) as sitting:
        sitting.run(compute, name="a", seed=1)
    monkeypatch.setattr(sittings, "machine", lambda: "another")
    assert sit().run(compute, name="a", seed=1)["machine"] == [here, "another"]
    # What was begun before notes had it.
    seed = 2
    old = sit().cell("a", 2)
    old.notes = {"m": 1}
    old.save()
    assert sit().run(compute, name="a", seed=2)["machine"] == ["unknown", "another"]


def test_short_runs_begin_only_if_there_is_time_for_all_of_them(sit):
    with sit(minutes=5) as sitting:
        sitting.cell("a").fit_for(None, X, Y, 360.0)
        pytest.fail("begun")


def test_a_run_that_diverges_has_ended_with_its_last_samples(sit):
    def compute(cell):
        distiller = RaTBPTTDistiller(**QUICK | {"inner_lr": 1e38, "max_iter": 30})
        if timed:
            cell.fit_for(distiller, X, Y, 3600.0)
        else:
            cell.fit(distiller, X, Y, keeps_diverged=True)
        cell.sitting.check()
        return {"name": "a", "seed": timed, "X": distiller.distilled_.X.shape}

    for timed in (False, True):
        with catch_warnings():
            simplefilter("ignore")
            # In the sitting in which it diverges there is no time left; the next one finds it.
            with sit() as sitting:
                cell = sitting.cell("a", timed)
                compute(cell)
            row = sit().run(compute, name="a", seed=timed)
        assert "not finite" in row["ended by"]


def test_an_error_without_samples_is_none_of_a_run_that_ended(sit):
    class Diverges(RaTBPTTDistiller):
        def fit(self, X, y):
            raise DivergenceError("experts")

    with pytest.raises(DivergenceError, match="experts"):
        sit().cell("a").fit_for(Diverges(), X, Y, 1.0)


def test_blocks_go_on_and_an_unfinished_one_is_not_built_upon(sit):
    def boosted():
        distiller = RaTBPTTDistiller(**QUICK)
        return BoostedDistiller(2, block_size=1, distiller=distiller, random_state=0)

    def compute(cell):
        distiller = boosted()
        cell.fit(distiller, X, Y, name="blocks")
        return {"name": "a", "seed": 0, "X": distiller.distilled_.X.tolist()}

    for n in (4, 6):
        # In the first block, and in the second.
        with steps_in(sit(), n) as sitting:
            sitting.run(compute, name="a", seed=0)
            pytest.fail("the time was over")
    row = sit().run(compute, name="a", seed=0)
    assert row["X"] == boosted().fit(X, Y).distilled_.X.tolist()


class Slow:
    """A callback, and a clock by which a step takes 0.1 seconds and what comes before it 0.03."""

    def __init__(self):
        self.now = 0.0

    def setup(self, estimator, context):
        pass

    def teardown(self, estimator, context):
        pass

    def on_fit_task_begin(self, estimator, context):
        if context.task_name == "outer step":
            self.now += 0.03

    def on_fit_task_end(self, estimator, context):
        pass


def test_minutes_are_those_of_all_sittings(sit, shared, monkeypatch):
    slow, whole, update = Slow(), RaTBPTTDistiller.set_callbacks, loop.update

    def step(*arguments):
        slow.now += 0.1
        state, record = update(*arguments)
        return state, replace(record, seconds=0.1)

    monkeypatch.setattr(loop, "update", step)
    monkeypatch.setattr(loop, "perf_counter", lambda: slow.now)
    monkeypatch.setattr(shared("sittings"), "perf_counter", lambda: slow.now)

    def prepare(self, *others):
        # What comes before the first step takes 0.05 seconds.
        slow.now += 0.05
        return whole(self, slow, *others)

    monkeypatch.setattr(RaTBPTTDistiller, "set_callbacks", prepare)

    def fit(cell):
        distiller = RaTBPTTDistiller(**QUICK)
        return distiller, cell.fit_for(distiller, X, Y, 1.0, (0.25, 0.5))

    # One check is that a run of a second is not begun in less.
    with steps_in(sit(), 3) as sitting:
        first = sitting.cell("a")
        fit(first)
        pytest.fail("the time was over")
    assert first.notes == {
        "prepared run.npz": pytest.approx(0.05),
        "seconds of run.npz at step 2": pytest.approx(0.25),
    }
    assert [path.name for path in first.folder.glob("*s-run.npz")] == ["0.25s-run.npz"]

    second = sit().cell("a")
    distiller, sets = fit(second)
    # A step that would end after a moment comes after it, but for the first of a sitting.
    seconds = [second.seconds(each) for each in sets]
    assert seconds == pytest.approx([0.25, 0.55, 0.95])
    assert distiller.n_iter_ == 9
    # By this name kept notes have it.
    assert second.notes["steps of run.npz in 1 s"] == 9
    assert sets[-1] is distiller.distilled_

    # A run that has had its time does no further step, and one with more time goes on.
    again, sets = fit(sit().cell("a"))
    assert again.n_iter_ == 9
    assert [second.seconds(each) for each in sets] == seconds
    longer = RaTBPTTDistiller(**QUICK)
    sit().cell("a").fit_for(longer, X, Y, 1.5)
    assert longer.n_iter_ == 14
