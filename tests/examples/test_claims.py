"""The claims of the paper: how runs take several sittings, and the rule of the verdicts."""

import json
import re
from argparse import ArgumentParser, Namespace
from dataclasses import replace
from warnings import catch_warnings, simplefilter

import numpy as np
import pytest
from scipy.stats import t as student
from sklearn.datasets import load_iris

from skdistill import BoostedDistiller, RaTBPTTDistiller
from skdistill._run import loop
from skdistill.exceptions import DivergenceError

X, Y = load_iris(return_X_y=True)
QUICK = {
    "max_iter": 6, "window": 1, "unroll": 2, "compile": False, "n_networks": 1, "random_state": 0
}  # fmt: skip

# --- sittings -----------------------------------------------------------------------------------


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
    assert sets[-1] is distiller.distilled_

    # A run that has had its time does no further step, and one with more time goes on.
    again, sets = fit(sit().cell("a"))
    assert again.n_iter_ == 9
    assert [second.seconds(each) for each in sets] == seconds
    longer = RaTBPTTDistiller(**QUICK)
    sit().cell("a").fit_for(longer, X, Y, 1.5)
    assert longer.n_iter_ == 14


# --- the rule -----------------------------------------------------------------------------------


@pytest.fixture
def claims(shared):
    """Return the module of the claims."""
    return shared("claims")


def rows_of(**numbers):
    """Return rows, a part of a claim: accuracies of names by seed."""
    return [
        {"name": name, "seed": seed, "accuracy": value / 100}
        for name, values in numbers.items()
        for seed, value in enumerate(values)
    ]


def claim(claims, *statements, names=("a", "b"), seeds=(0, 1), **more):
    """Return a claim of one finding."""
    part = claims.Part("none", "none", "a.json", "", "name", names, seeds)
    return claims.Claim(
        "A claim",
        (part,),
        lambda parts, names: claims.collect(
            (row["name"], row["seed"], row["accuracy"]) for row in parts[0]
        ),
        (claims.Finding("It is so.", statements, **more),),
        hours=1,
    )


def test_the_margin_is_students_with_the_pooled_deviation(claims):
    ab, ac = claims.Statement("a", "b", 0), claims.Statement("a", "c", 0)
    which = claim(claims, ab, ac, names=("a", "b", "c"))
    rows = rows_of(a=[80, 82], b=[78, 81], c=[70, 80])
    # Differences: 2 and 1; 10 and 2.
    (first, second), degrees = claims.judge(which, [rows])[0], 2
    pooled = np.sqrt((0.5 + 32) / degrees)
    quantile = student.ppf(0.95, degrees)
    assert first.difference == pytest.approx(1.5)
    assert first.margin == pytest.approx(quantile * pooled / np.sqrt(2))
    # Its own deviation is larger than the pooled one.
    assert second.difference == pytest.approx(6)
    assert second.margin == pytest.approx(quantile * np.sqrt(32) / np.sqrt(2))


@pytest.mark.parametrize(
    ("b", "least", "expected"),
    [
        ([78.0, 78.2], 0, "holds"),
        ([78.0, 78.2], 5, "does not hold"),
        ([81.0, 81.2], -3, "holds"),
        ([81.0, 81.2], 0, "does not hold"),
        ([79.0, 81.2], 0, "undecided"),
    ],
)
def test_verdicts_follow_from_difference_and_margin(claims, b, least, expected):
    which = claim(claims, claims.Statement("a", "b", least))
    assert claims.verdict(which, [rows_of(a=[80.0, 80.0], b=b)]) == expected


def test_nothing_is_decided_while_a_run_is_missing_or_without_a_spread(claims):
    which = claim(claims, claims.Statement("a", "b", 0), seeds=(0, 1, 2))
    assert claims.verdict(which, [[]]) == "undecided"
    rows = rows_of(a=[80, 80, 80], b=[60, 60.1, 60])
    assert claims.verdict(which, [rows[:-1]]) == "undecided"
    assert claims.verdict(which, [rows]) == "holds"
    one = claim(claims, claims.Statement("a", "b", 0), seeds=(0,))
    assert claims.verdict(one, [rows_of(a=[80], b=[60])]) == "undecided"


def test_one_statement_is_enough_where_any_is_asked_for(claims):
    statements = [claims.Statement("a", "b", least) for least in (0, 10)]
    rows = [rows_of(a=[80.0, 80.0], b=[78.0, 78.2])]
    assert claims.verdict(claim(claims, *statements), rows) == "does not hold"
    assert claims.verdict(claim(claims, *statements, needs="any"), rows) == "holds"
    hopeless = [claims.Statement("b", "a", least) for least in (0, 10)]
    assert claims.verdict(claim(claims, *hopeless, needs="any"), rows) == "does not hold"


def test_methods_far_away_need_one_seed(claims):
    part = claims.Part("none", "none", "a.json", "", "name", ("a", "b", "c"), (0, 1), close=10.0)
    assert len(part.cells([])) == 6
    rows = rows_of(a=[80], b=[71], c=[69])
    assert part.missing(rows) == [("a", 1), ("b", 1)]
    # By the protocol that is best for it.
    rows[2]["accuracy by its own recipe"] = 0.75
    assert part.missing(rows) == [("a", 1), ("b", 1), ("c", 1)]
    # What diverged before its first step has no accuracy.
    del rows[1]["accuracy"]
    assert part.missing(rows) == [("a", 1), ("c", 1)]


def test_no_second_seed_is_run_before_it_is_known_to_be_needed(claims, tmp_path, monkeypatch):
    started = []

    class Script:
        @staticmethod
        def main(arguments):
            k, j = arguments.index("--seeds"), arguments.index("--only")
            started.append((arguments[k + 1], arguments[j + 1]))
            rows = [{"name": arguments[j + 1], "seed": int(arguments[k + 1]), "accuracy": 0.5}]
            path = tmp_path / "a.json"
            rows += json.loads(path.read_text())["rows"] if path.exists() else []
            path.write_text(json.dumps({"rows": rows}))

    monkeypatch.setattr(claims, "import_module", lambda name: Script)
    which = claim(claims, claims.Statement("a", "b", 0))
    which = replace(which, parts=(replace(which.parts[0], close=5.0),))
    claims.run(which, {"none": None}, only="b", results=tmp_path)
    assert started == [("0", "b")]
    claims.run(which, {"none": None}, only="a", results=tmp_path)
    claims.run(which, {"none": None}, only="b", results=tmp_path)
    assert started[1:] == [("0", "a"), ("1", "a"), ("1", "b")]


def test_curves_are_compared_by_the_last_quarter(claims):
    curve = {"step": [10, 20, 30, 40], "seconds": [1, 2, 3, 4], "accuracy": [0.1, 0.2, 0.3, 0.5]}
    slow = {"step": [10, 20], "seconds": [2, 4], "accuracy": [0.6, 0.8]}
    rows = [
        {"method": name, "seed": 0, "curve": each} for name, each in (("a", curve), ("b", slow))
    ]
    names = [f"x, {name}, equal {axis}" for name in "ab" for axis in ("steps", "time")]
    values = claims.of_curves("x")([rows], names)
    assert values["x, a, equal steps"][0] == pytest.approx(20)
    assert values["x, a, equal time"][0] == pytest.approx(40)
    assert values["x, b, equal steps"][0] == pytest.approx(80)
    assert values["x, b, equal time"][0] == pytest.approx(80)
    # Only what is compared has a say in how far it goes.
    assert claims.of_curves("x")([rows], ["x, a, equal steps"]) == {
        "x, a, equal steps": {0: pytest.approx(40)}
    }


def test_a_run_that_diverged_does_not_shorten_the_others(claims):
    curve = {"step": [100, 200], "seconds": [1.0, 2.0], "accuracy": [0.2, 0.3]}
    short = {name: values[:1] for name, values in curve.items()}
    rows = [
        {"method": "a", "seed": 0, "curve": curve},
        {"method": "b", "seed": 0, "curve": short},
    ]
    names = ["a, equal steps", "b, equal steps"]
    values = claims.of_curves("")
    assert values([rows], names)["a, equal steps"] == {0: pytest.approx(20)}
    rows[1]["ended by"] = "it diverged"
    found = values([rows], names)
    assert found == {names[0]: {0: pytest.approx(30)}, names[1]: {0: pytest.approx(20)}}
    # All of them: the first that ended.
    rows[0]["ended by"] = "it diverged"
    assert values([rows], names)["a, equal steps"] == {0: pytest.approx(20)}


def curves_of_windows(places):
    """Return rows of three methods: BPTT has few steps, and a window moves after some time."""
    curve = {"step": [100, 200], "seconds": [1.0, 2.0], "accuracy": [0.2, 0.3]}
    rows = []
    for seed in (0, 1):
        few = {name: values[:1] for name, values in curve.items()}
        rows += [
            {"method": "RaT-BPTT", "seed": seed, "curve": curve},
            {"method": "BPTT", "seed": seed, "curve": few},
            {
                "method": "moves forward",
                "seed": seed,
                "curve": curve | {"places of the window": places},
            },
        ]
    return rows


def test_a_window_that_has_not_moved_decides_nothing(claims):
    names = ("RaT-BPTT", "BPTT", "moves forward")
    part = claims.Part("none", "none", "a.json", "--minutes 1", "method", names, (0, 1))
    above = [claims.Statement(f"{a}, equal steps", f"{b}, equal steps", -5) for a, b in
             (("RaT-BPTT", "moves forward"), ("moves forward", "BPTT"))]  # fmt: skip
    which = claims.Claim(
        "A claim", (part,), claims.of_curves(""), tuple(claims.Finding("So.", (s,)) for s in above),
        hours=1, obstacle=claims.has_not_moved
    )  # fmt: skip
    for places, expected in (([1, 1], ["undecided"] * 2), ([1, 2], ["holds", "undecided"])):
        rows = curves_of_windows(places)
        # Pooled deviations are of some spread.
        rows[0]["curve"] = rows[0]["curve"] | {"accuracy": [0.2, 0.301]}
        judged = claims.judge(which, [rows])
        assert [each.verdict for (each,) in judged] == expected
        assert judged[1][0].remarks == ("the window is still at its first place",)


def test_what_is_told_of_windows_is_what_the_script_calls_it(claims, shared):
    truncations = shared("truncations")
    assert (claims.PLACES, claims.NORM) == (truncations.PLACES, truncations.MEDIAN)
    assert {claims.FORWARD, claims.BACKWARD} <= truncations.SCHEDULES.keys()


def test_rows_of_different_machines_are_told_where_minutes_count(claims):
    which = claim(claims, claims.Statement("a", "b", 0), names=("a", "b", "c"))
    timed = replace(which, parts=(replace(which.parts[0], arguments="--minutes 6"),))
    rows = rows_of(a=[80.0, 80.1], b=[78.0, 78.2], c=[70.0, 70.0])
    # Rows of before have none.
    assert claims.judge(timed, [rows])[0][0].remarks == ()
    for row in rows:
        row["machine"] = "fast" if row["seed"] == 0 or row["name"] == "c" else "slow"
    # Differences are those of a seed; c is in no statement.
    assert claims.judge(timed, [rows])[0][0].remarks == ()
    rows[0]["machine"] = ["fast", "slow"]
    (remark,) = claims.judge(timed, [rows])[0][0].remarks
    assert remark == "its rows are from different machines (fast; slow)"
    assert claims.judge(which, [rows])[0][0].remarks == ()


# --- the plan -----------------------------------------------------------------------------------


def row(part, name, seed, rng):
    """Return a row as the script of a part would write it."""
    accuracy = list(rng.uniform(0.5, 0.9, 5))
    found = {part.key: name, "seed": seed}
    if part.where is not None:
        found |= dict([part.where])
    if part.script == "boosting":
        found |= {"budgets": [2, 4, 6, 8, 10], "accuracy": accuracy}
        if name.startswith(("strong", "weak")):
            found["accuracy of single blocks"] = accuracy
        else:
            found["accuracy of the largest in the time of all blocks"] = accuracy[0]
        found["accuracy of random parts"] = accuracy
    elif part.script in ("truncations", "figure11"):
        axis = [100, 200, 300, 400, 500]
        found["curve"] = {"step": axis, "seconds": axis, "accuracy": accuracy}
    elif part.script == "architectures":
        names = part.arguments.split("--on ")[1].split(" --")[0].split()
        found |= {f"on {on}": {"mean": rng.uniform(0.5, 0.9)} for on in names}
    elif part.script == "hardness":
        found |= {"accuracy": accuracy[0], "accuracy by score": accuracy}
    else:
        found["accuracy"] = accuracy[0]
        if name in ("mtt", "ftd"):
            found["accuracy by its own recipe"] = accuracy[1]
    return found


def test_every_statement_is_about_numbers_of_planned_runs(claims):
    rng = np.random.default_rng(0)
    for number, which in claims.CLAIMS.items():
        rows = [
            [row(part, name, seed, rng) for name in part.names for seed in part.seeds]
            for part in which.parts
        ]
        assert not any(part.missing(own) for part, own in zip(which.parts, rows))
        for finding, judged in zip(which.findings, claims.judge(which, rows)):
            for each in judged:
                assert each.difference is not None, (number, each.statement)
                # A seed of each run that it rests on.
                parts = (
                    which.parts
                    if finding.parts is None
                    else [which.parts[k] for k in finding.parts]
                )
                assert each.n_seeds == max(len(part.seeds) for part in parts), each.statement
                assert each.margin > 0
        if which.lines is not None:
            assert all(which.lines(rows).values()) or number == 8


@pytest.fixture
def on_digits(claims, monkeypatch):
    """Return a claim with digits in place of its data."""

    def make(number):
        which = claims.CLAIMS[number]
        parts = tuple(replace(part, data="digits") for part in which.parts)
        return replace(which, parts=parts)

    return make


@pytest.mark.parametrize("number", range(1, 9))
def test_scripts_take_the_arguments_of_the_plan(
    claims, shared, on_digits, number, tmp_path, monkeypatch, capsys
):
    sittings = shared("sittings")

    def no_time(sitting, seconds=0.0):
        raise sittings.OutOfTimeError

    # Arguments are read and data is loaded, but no run begins.
    monkeypatch.setattr(sittings.Sitting, "check", no_time)
    which = on_digits(number)
    for part in which.parts:
        claims.run(replace(which, parts=(part,)), {"digits": None}, results=tmp_path)
        assert "The time is over. The next call" in capsys.readouterr().out, part
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_claim_runs_in_sittings(claims, tmp_path, capsys):
    quick = "--ipc 2 --block-size 1 --max-iter 2 --kip-steps 1 --draws 1 --width 4 --networks 1"
    names = claims.STRONG, claims.JOINT
    part = replace(
        claims.CLAIMS[1].parts[0],
        data="digits",
        arguments=f"{quick} --window 1 --unroll 2",
        names=names,
    )
    which = replace(claims.CLAIMS[1], parts=(part,))
    claims.run(which, {"digits": None}, only=claims.JOINT, results=tmp_path)
    assert part.missing(part.rows(tmp_path)) == [(claims.STRONG, 0), (claims.STRONG, 1)]
    claims.run(which, {"digits": None}, minutes_left=0.001, results=tmp_path)
    assert "The time is over" in capsys.readouterr().out
    claims.run(which, {"digits": None}, results=tmp_path)
    rows = part.rows(tmp_path)
    assert part.missing(rows) == []
    values = which.values([rows], [])
    assert set(values[f"{claims.STRONG}, 2 per class"]) == {0, 1}
    assert set(values[f"{claims.JOINT}, 2 per class, in equal time"]) == {0, 1}
    assert set(values[f"{claims.STRONG}, later blocks alone"]) == {0, 1}
    assert not (tmp_path / "checkpoints").exists()


def test_status_and_verdicts_say_what_is_missing(claims, tmp_path):
    text = claims.status(tmp_path)
    assert "3. The random window: 0 of 21 runs, about 5.5 h in all; next RaT-BPTT, seed 0" in text
    assert "unfinished: none" in text
    assert claims.verdicts(tmp_path).count("not run yet") == 8
    part = claims.CLAIMS[3].parts[0]
    rows = [row(part, "BPTT", 0, np.random.default_rng(0))]
    (tmp_path / part.file).write_text(json.dumps({"rows": rows}))
    assert "3. The random window: 1 of 21 runs" in claims.status(tmp_path)
    assert "3. The random window: undecided" in claims.verdicts(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "9"], "invalid choice: '?9"),
        (["run", "3"], "claim 3 needs --cifar10"),
        (["run", "4", "--cifar10", "x"], "claim 4 needs --fashion-mnist"),
        (
            ["run", "3", "--cifar10", "x", "--only", "no"],
            "--only must be one of BPTT, .*; got 'no'",
        ),
    ],
)
def test_the_command_refuses(claims, arguments, message, capsys):
    with pytest.raises(SystemExit):
        claims.main(arguments)
    assert re.search(message, capsys.readouterr().err)
