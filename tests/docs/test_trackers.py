"""The callbacks that the how-to page shows, with the trackers' own libraries and no network."""

import json
import struct

import numpy as np
import pytest
from tools import how_to, quick, tiny

from skdistill import BoostedDistiller

# The libraries take seconds to import, and are not among those that the quick tests need.
pytestmark = pytest.mark.slow


@pytest.fixture
def distiller():
    """Return a distiller of four outer steps, every second of which is validated."""
    return quick(
        max_iter=4, window=1, unroll=2, architecture=tiny, n_networks=1,
        validation_fraction=0.3, validation_interval=2,
    )  # fmt: skip


def rows(history):
    """Return what is known after each outer step of a history, by its number."""
    columns = zip(*history.values())
    return {
        step: {name: value for name, value in zip(history, row) if value is not None}
        for step, row in enumerate(columns, 1)
    }


# --- Weights & Biases -------------------------------------------------------------------------


@pytest.fixture
def wandb_log(tmp_path, monkeypatch):
    """Return the callback's class, which writes nowhere but into a folder."""
    for name in ("CACHE", "CONFIG", "DATA", "ARTIFACT"):
        monkeypatch.setenv(f"WANDB_{name}_DIR", str(tmp_path))
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")
    monkeypatch.setenv("WANDB_SILENT", "true")
    pytest.importorskip("wandb")
    log = how_to("wandb_log").WandbLog
    return lambda: log(project="digits", mode="offline", dir=tmp_path)


def wandb_records(folder):
    """Return the records that were written for each run, in the order of the runs."""
    from wandb.proto.wandb_internal_pb2 import Record

    files = sorted(
        folder.glob("wandb/offline-run-*/run-*.wandb"), key=lambda file: file.stat().st_mtime_ns
    )
    return [[Record.FromString(content) for content in leveldb_log(file)] for file in files]


def leveldb_log(file):
    """Return what each record of a file in the format of LevelDB's log holds."""
    content, at, records = file.read_bytes(), 7, []
    while at + 7 <= len(content):
        _, length, kind = struct.unpack_from("<IHB", content, at)
        part, at = content[at + 7 : at + 7 + length], at + 7 + length
        # A record is whole (1), or has a first (2), middle (3) and last part (4).
        if kind in (1, 2):
            records.append(part)
        elif kind in (3, 4):
            records[-1] += part
        # No record begins in the last bytes of a block.
        if 2**15 - at % 2**15 < 7:
            at += 2**15 - at % 2**15
    return records


def values(items):
    """Return the values of items, by name."""
    return {item.key or ".".join(item.nested_key): json.loads(item.value_json) for item in items}


def test_weights_and_biases_gets_every_outer_step(wandb_log, distiller, table, tmp_path):
    history = distiller.set_callbacks(wandb_log()).fit(*table).history_
    (records,) = wandb_records(tmp_path)
    logged = [values(record.history.item) for record in records if record.HasField("history")]
    logged = {row["_step"]: row for row in logged}
    expected = rows(history)
    assert list(logged) == list(expected) == [1, 2, 3, 4]
    for step, row in expected.items():
        assert {name: logged[step][name] for name in row} == pytest.approx(row)
        assert {name for name in logged[step] if name in history} == row.keys()
    (run,) = [record.run for record in records if record.HasField("run")]
    config = values(run.config.update)
    assert (config["max_iter"], config["validation_fraction"]) == (4, 0.3)
    assert config["architecture"] == "tools.tiny"
    assert [record.exit.exit_code for record in records if record.HasField("exit")] == [0]


def test_weights_and_biases_is_told_of_a_failure(wandb_log, distiller, table, tmp_path, outer_step):
    callback = wandb_log()
    outer_step(at=3, do=ZeroDivisionError)
    with pytest.raises(ZeroDivisionError):
        distiller.set_callbacks(callback).fit(*table)
    (records,) = wandb_records(tmp_path)
    assert [record.exit.exit_code for record in records if record.HasField("exit")] == [1]
    assert len([record for record in records if record.HasField("history")]) == 2
    assert not callback.runs


# --- MLflow -----------------------------------------------------------------------------------


@pytest.fixture
def mlflow(tmp_path, monkeypatch):
    """Return the library, which keeps its runs in a folder."""
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "runs").as_uri())
    library = pytest.importorskip("mlflow")
    yield library
    while library.active_run() is not None:
        library.end_run()


def runs_of(mlflow):
    """Return the runs, the first one first."""
    return mlflow.search_runs(output_format="list", order_by=["attributes.start_time"])


def test_mlflow_gets_every_outer_step(mlflow, distiller, table):
    log = how_to("mlflow_log").MlflowLog(run_name="digits")
    history = distiller.set_callbacks(log).fit(*table).history_
    (run,) = runs_of(mlflow)
    assert (run.info.run_name, run.info.status) == ("digits", "FINISHED")
    assert mlflow.active_run() is None
    for name, column in history.items():
        found = mlflow.MlflowClient().get_metric_history(run.info.run_id, name)
        expected = [(k, value) for k, value in enumerate(column, 1) if value is not None]
        assert [metric.step for metric in found] == [step for step, _ in expected]
        np.testing.assert_allclose(
            [metric.value for metric in found], [value for _, value in expected], rtol=1e-12
        )
    assert (run.data.params["max_iter"], run.data.params["checkpoint"]) == ("4", "None")


def test_mlflow_is_told_of_a_failure(mlflow, distiller, table, outer_step):
    outer_step(at=3, do=ZeroDivisionError)
    with pytest.raises(ZeroDivisionError):
        distiller.set_callbacks(how_to("mlflow_log").MlflowLog()).fit(*table)
    (run,) = runs_of(mlflow)
    assert run.info.status == "FAILED"
    assert mlflow.active_run() is None
    assert len(mlflow.MlflowClient().get_metric_history(run.info.run_id, "loss")) == 2


def test_blocks_of_boosting_are_runs_inside_the_one_that_is_active(mlflow, distiller, table):
    inner = distiller.set_callbacks(how_to("mlflow_log").MlflowLog())
    with mlflow.start_run() as outer:
        BoostedDistiller(2, block_size=1, distiller=inner, random_state=0).fit(*table)
        assert mlflow.active_run().info.run_id == outer.info.run_id
    blocks = [run for run in runs_of(mlflow) if run.info.run_id != outer.info.run_id]
    assert len(blocks) == 2
    for block in blocks:
        assert block.data.tags["mlflow.parentRunId"] == outer.info.run_id
        assert len(mlflow.MlflowClient().get_metric_history(block.info.run_id, "loss")) == 4


# --- Optuna -----------------------------------------------------------------------------------


@pytest.fixture
def optuna():
    """Return the library, which says nothing."""
    library = pytest.importorskip("optuna")
    before = library.logging.get_verbosity()
    library.logging.set_verbosity(library.logging.ERROR)
    yield library
    library.logging.set_verbosity(before)


def test_optuna_ends_the_runs_that_fall_behind(optuna, digits):
    X, _, y, _ = digits
    code = how_to("optuna_prune")
    distiller = quick(
        image_shape=(1, 8, 8), architecture=tiny, max_iter=12, unroll=20, eval_steps=50,
        inner_lr=0.01, validation_fraction=0.3, validation_interval=3,
    )  # fmt: skip
    study = optuna.create_study(
        direction="maximize",
        pruner=optuna.pruners.MedianPruner(n_startup_trials=2),
        sampler=optuna.samplers.RandomSampler(seed=0),
    )
    # The samples of the last one hardly move.
    for rate in (0.1, 0.08, 1e-4):
        study.enqueue_trial({"learning_rate": rate, "window": 10})
    study.optimize(lambda trial: code.objective(trial, distiller, X, y), n_trials=3)
    assert [trial.state.name for trial in study.trials] == ["COMPLETE", "COMPLETE", "PRUNED"]
    first, second, last = (trial.intermediate_values for trial in study.trials)
    assert list(first) == list(second) == [3, 6, 9, 12]
    # It ended where it was worse than the median of the others, and not before.
    end = max(last)
    assert end < 12
    assert last[end] < (first[end] + second[end]) / 2
    assert study.best_value == max([*first.values(), *second.values()])
