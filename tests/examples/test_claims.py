"""The claims of the paper: the rule of the verdicts, the plan, and its runs."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import t as student


@pytest.fixture
def rule(shared):
    """Return the module of the rule."""
    return shared("claims_rule")


@pytest.fixture
def numbers(shared):
    """Return the module that says what rows have."""
    return shared("claims_rows")


@pytest.fixture
def plan(shared):
    """Return the module of the plan."""
    return shared("claims_plan")


@pytest.fixture
def claims(shared):
    """Return the module of the command."""
    return shared("claims")


def rows_of(**numbers):
    """Return rows, a part of a claim: accuracies of names by seed."""
    return [
        {"name": name, "seed": seed, "accuracy": value / 100}
        for name, values in numbers.items()
        for seed, value in enumerate(values)
    ]


def points(parts, names):
    """Return the accuracies of the first part, in points."""
    values = {}
    for row in parts[0]:
        values.setdefault(row["name"], {})[row["seed"]] = 100 * row["accuracy"]
    return values


def claim(rule, *statements, names=("a", "b"), seeds=(0, 1), **more):
    """Return a claim of one finding."""
    part = rule.Part("none", "none", "a.json", "", "name", names, seeds)
    return rule.Claim(
        "A claim",
        (part,),
        points,
        (rule.Finding("It is so.", statements, **more),),
        hours=1,
    )


def test_the_margin_is_students_with_the_pooled_deviation(rule):
    ab, ac = rule.Statement("a", "b", 0), rule.Statement("a", "c", 0)
    which = claim(rule, ab, ac, names=("a", "b", "c"))
    rows = rows_of(a=[80, 82], b=[78, 81], c=[70, 80])
    # Differences: 2 and 1; 10 and 2.
    (first, second), degrees = rule.judge(which, [rows])[0], 2
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
def test_verdicts_follow_from_difference_and_margin(rule, b, least, expected):
    which = claim(rule, rule.Statement("a", "b", least))
    assert rule.verdict(which, [rows_of(a=[80.0, 80.0], b=b)]) == expected


def test_nothing_is_decided_while_a_run_is_missing_or_without_a_spread(rule):
    which = claim(rule, rule.Statement("a", "b", 0), seeds=(0, 1, 2))
    assert rule.verdict(which, [[]]) == "undecided"
    rows = rows_of(a=[80, 80, 80], b=[60, 60.1, 60])
    assert rule.verdict(which, [rows[:-1]]) == "undecided"
    assert rule.verdict(which, [rows]) == "holds"
    one = claim(rule, rule.Statement("a", "b", 0), seeds=(0,))
    assert rule.verdict(one, [rows_of(a=[80], b=[60])]) == "undecided"


def test_one_statement_is_enough_where_any_is_asked_for(rule):
    statements = [rule.Statement("a", "b", least) for least in (0, 10)]
    rows = [rows_of(a=[80.0, 80.0], b=[78.0, 78.2])]
    assert rule.verdict(claim(rule, *statements), rows) == "does not hold"
    assert rule.verdict(claim(rule, *statements, needs="any"), rows) == "holds"
    hopeless = [rule.Statement("b", "a", least) for least in (0, 10)]
    assert rule.verdict(claim(rule, *hopeless, needs="any"), rows) == "does not hold"


def test_methods_far_away_need_one_seed(rule):
    part = rule.Part("none", "none", "a.json", "", "name", ("a", "b", "c"), (0, 1), close=10.0)
    assert len(part.cells([])) == 6
    rows = rows_of(a=[80], b=[71], c=[69])
    assert part.missing(rows) == [("a", 1), ("b", 1)]
    # By the protocol that is best for it.
    rows[2]["accuracy by its own recipe"] = 0.75
    assert part.missing(rows) == [("a", 1), ("b", 1), ("c", 1)]
    # What diverged before its first step has no accuracy.
    del rows[1]["accuracy"]
    assert part.missing(rows) == [("a", 1), ("c", 1)]


def test_no_second_seed_is_run_before_it_is_known_to_be_needed(rule, claims, tmp_path, monkeypatch):
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
    which = claim(rule, rule.Statement("a", "b", 0))
    which = replace(which, parts=(replace(which.parts[0], close=5.0),))
    claims.run(which, {"none": None}, only="b", results=tmp_path)
    assert started == [("0", "b")]
    claims.run(which, {"none": None}, only="a", results=tmp_path)
    claims.run(which, {"none": None}, only="b", results=tmp_path)
    assert started[1:] == [("0", "a"), ("1", "a"), ("1", "b")]


def test_curves_are_compared_by_the_last_quarter(numbers):
    curve = {"step": [10, 20, 30, 40], "seconds": [1, 2, 3, 4], "accuracy": [0.1, 0.2, 0.3, 0.5]}
    slow = {"step": [10, 20], "seconds": [2, 4], "accuracy": [0.6, 0.8]}
    rows = [
        {"method": name, "seed": 0, "curve": each} for name, each in (("a", curve), ("b", slow))
    ]
    names = [f"x, {name}, equal {axis}" for name in "ab" for axis in ("steps", "time")]
    values = numbers.of_curves("x")([rows], names)
    assert values["x, a, equal steps"][0] == pytest.approx(20)
    assert values["x, a, equal time"][0] == pytest.approx(40)
    assert values["x, b, equal steps"][0] == pytest.approx(80)
    assert values["x, b, equal time"][0] == pytest.approx(80)
    # Only what is compared has a say in how far it goes.
    assert numbers.of_curves("x")([rows], ["x, a, equal steps"]) == {
        "x, a, equal steps": {0: pytest.approx(40)}
    }


def test_a_run_that_diverged_does_not_shorten_the_others(numbers):
    curve = {"step": [100, 200], "seconds": [1.0, 2.0], "accuracy": [0.2, 0.3]}
    short = {name: values[:1] for name, values in curve.items()}
    rows = [
        {"method": "a", "seed": 0, "curve": curve},
        {"method": "b", "seed": 0, "curve": short},
    ]
    names = ["a, equal steps", "b, equal steps"]
    values = numbers.of_curves("")
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


def test_a_window_that_has_not_moved_decides_nothing(rule, numbers):
    names = ("RaT-BPTT", "BPTT", "moves forward")
    part = rule.Part("none", "none", "a.json", "--minutes 1", "method", names, (0, 1))
    above = [rule.Statement(f"{a}, equal steps", f"{b}, equal steps", -5) for a, b in
             (("RaT-BPTT", "moves forward"), ("moves forward", "BPTT"))]  # fmt: skip
    which = rule.Claim(
        "A claim", (part,), numbers.of_curves(""), tuple(rule.Finding("So.", (s,)) for s in above),
        hours=1, obstacle=numbers.has_not_moved
    )  # fmt: skip
    for places, expected in (([1, 1], ["undecided"] * 2), ([1, 2], ["holds", "undecided"])):
        rows = curves_of_windows(places)
        # Pooled deviations are of some spread.
        rows[0]["curve"] = rows[0]["curve"] | {"accuracy": [0.2, 0.301]}
        judged = rule.judge(which, [rows])
        assert [each.verdict for (each,) in judged] == expected
        assert judged[1][0].remarks == ("the window is still at its first place",)


def test_what_is_told_of_windows_is_what_the_script_calls_it(numbers, shared):
    truncations = shared("truncations")
    assert (numbers.PLACES, numbers.NORM) == (truncations.PLACES, truncations.MEDIAN)
    assert {numbers.FORWARD, numbers.BACKWARD} <= truncations.SCHEDULES.keys()


def test_rows_of_different_machines_are_told_where_minutes_count(rule):
    which = claim(rule, rule.Statement("a", "b", 0), names=("a", "b", "c"))
    timed = replace(which, parts=(replace(which.parts[0], arguments="--minutes 6"),))
    rows = rows_of(a=[80.0, 80.1], b=[78.0, 78.2], c=[70.0, 70.0])
    # Rows of before have none.
    assert rule.judge(timed, [rows])[0][0].remarks == ()
    for row in rows:
        row["machine"] = "fast" if row["seed"] == 0 or row["name"] == "c" else "slow"
    # Differences are those of a seed; c is in no statement.
    assert rule.judge(timed, [rows])[0][0].remarks == ()
    rows[0]["machine"] = ["fast", "slow"]
    (remark,) = rule.judge(timed, [rows])[0][0].remarks
    assert remark == "its rows are from different machines (fast; slow)"
    assert rule.judge(which, [rows])[0][0].remarks == ()


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


def test_every_statement_is_about_numbers_of_planned_runs(rule, plan):
    rng = np.random.default_rng(0)
    for number, which in plan.CLAIMS.items():
        rows = [
            [row(part, name, seed, rng) for name in part.names for seed in part.seeds]
            for part in which.parts
        ]
        assert not any(part.missing(own) for part, own in zip(which.parts, rows))
        for finding, judged in zip(which.findings, rule.judge(which, rows)):
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
def on_digits(plan):
    """Return a claim with digits in place of its data."""

    def make(number):
        which = plan.CLAIMS[number]
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
def test_a_claim_runs_in_sittings(plan, claims, tmp_path, capsys):
    quick = "--ipc 2 --block-size 1 --max-iter 2 --kip-steps 1 --draws 1 --width 4 --networks 1"
    names = plan.STRONG, plan.JOINT
    part = replace(
        plan.CLAIMS[1].parts[0],
        data="digits",
        arguments=f"{quick} --window 1 --unroll 2",
        names=names,
    )
    which = replace(plan.CLAIMS[1], parts=(part,))
    claims.run(which, {"digits": None}, only=plan.JOINT, results=tmp_path)
    assert part.missing(part.rows(tmp_path)) == [(plan.STRONG, 0), (plan.STRONG, 1)]
    claims.run(which, {"digits": None}, minutes_left=0.001, results=tmp_path)
    assert "The time is over" in capsys.readouterr().out
    claims.run(which, {"digits": None}, results=tmp_path)
    rows = part.rows(tmp_path)
    assert part.missing(rows) == []
    values = which.values([rows], [])
    assert set(values[f"{plan.STRONG}, 2 per class"]) == {0, 1}
    assert set(values[f"{plan.JOINT}, 2 per class, in equal time"]) == {0, 1}
    assert set(values[f"{plan.STRONG}, later blocks alone"]) == {0, 1}
    assert not (tmp_path / "checkpoints").exists()


def test_status_and_verdicts_say_what_is_missing(plan, claims, tmp_path):
    text = claims.status(tmp_path)
    assert "3. The random window: 0 of 21 runs, about 5.5 h in all; next RaT-BPTT, seed 0" in text
    assert "unfinished: none" in text
    assert claims.verdicts(tmp_path).count("not run yet") == 8
    part = plan.CLAIMS[3].parts[0]
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
