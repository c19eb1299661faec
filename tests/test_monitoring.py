"""TensorBoard: every value of every outer step, one folder per run, no file left open."""

import pickle
import sys
from functools import partial
from types import ModuleType, SimpleNamespace
from uuid import uuid4

import numpy as np
import pytest
import tools

from skdistill import BoostedDistiller, RaTBPTTDistiller
from skdistill.monitoring import TensorBoard

quick = partial(
    tools.quick,
    window=1,
    unroll=2,
    architecture=tools.tiny,
    n_networks=1,
    eval_steps=2,
    device="cpu",
)


@pytest.fixture
def writers(monkeypatch):
    """Put writers that remember in the place of tensorboard's."""
    made = []

    class SummaryWriter:
        def __init__(self, folder):
            self.folder, self.scalars, self.is_open = folder, {}, True
            made.append(self)

        def add_scalar(self, name, value, step):
            assert self.is_open
            self.scalars.setdefault(name, []).append((step, value))

        def close(self):
            self.is_open = False

    module = ModuleType("torch.utils.tensorboard")
    module.SummaryWriter = SummaryWriter
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    return made


def test_every_value_of_every_step(table, tmp_path, writers):
    distiller = quick(validation_fraction=0.3, validation_interval=2)
    distiller.set_callbacks(TensorBoard(tmp_path)).fit(*table)
    (writer,) = writers
    history = distiller.history_
    assert writer.scalars.keys() == history.keys()
    assert {"loss", "grad_norm", "clip_level", "start", "window", "skipped"} <= history.keys()
    for name, values in history.items():
        expected = [(k + 1, value) for k, value in enumerate(values) if value is not None]
        assert writer.scalars[name] == expected
    assert not writer.is_open
    assert writer.folder.startswith(str(tmp_path))
    assert "RaTBPTTDistiller" in writer.folder
    assert not hasattr(distiller, "_current_run")


def test_a_run_that_goes_on_goes_on_in_steps(table, tmp_path, writers):
    for max_iter in (2, 4):
        distiller = quick(max_iter=max_iter, checkpoint=tmp_path / "run.npz")
        distiller.set_callbacks(TensorBoard(tmp_path)).fit(*table)
    first, second = writers
    assert [step for step, _ in first.scalars["loss"]] == [1, 2]
    assert [step for step, _ in second.scalars["loss"]] == [3, 4]
    assert first.folder != second.folder


def test_distillers_inside_others_are_watched(table, tmp_path, writers):
    boosted = BoostedDistiller(ipc=2, block_size=1, distiller=quick(), random_state=0)
    boosted.set_callbacks(TensorBoard(tmp_path)).fit(*table)
    first, second = writers
    assert (first.folder[-7:], second.folder[-7:]) == ("block-0", "block-1")
    assert first.folder[:-7] == second.folder[:-7]
    losses = [value for writer in writers for _, value in writer.scalars["loss"]]
    assert losses == boosted.history_["loss"]
    assert not any(writer.is_open for writer in writers)


def test_files_are_closed_after_an_interruption(table, tmp_path, writers, outer_step):
    outer_step(at=3, do=KeyboardInterrupt)
    distiller = quick().set_callbacks(TensorBoard(tmp_path))
    with pytest.raises(KeyboardInterrupt):
        distiller.fit(*table)
    assert len(writers[0].scalars["loss"]) == 2
    assert not writers[0].is_open
    assert not hasattr(distiller, "_current_run")


def test_a_callback_travels_to_another_process_without_its_files(table, tmp_path, writers):
    callback = TensorBoard(tmp_path)
    monitor = Pickler(callback)
    quick().set_callbacks(callback, monitor).fit(*table)
    assert monitor.copies[0].log_dir == tmp_path
    assert len(writers) == 1


class Pickler(tools.Callback):
    """A callback that copies another while that has files open."""

    def __init__(self, callback):
        self.callback, self.copies = callback, []

    def on_fit_task_end(self, estimator, context):
        """Copy."""
        self.copies.append(pickle.loads(pickle.dumps(self.callback)))


def test_without_tensorboard_the_error_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(ImportError, match=r"pip install tensorboard"):
        TensorBoard(tmp_path)


@pytest.mark.parametrize("boosts", [False, True])
def test_what_is_missing_is_said_before_any_step(
    boosts, table, tmp_path, writers, outer_step, monkeypatch
):
    outer_step.refuse()
    distiller = BoostedDistiller(ipc=2, block_size=1, distiller=quick()) if boosts else quick()
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        distiller.set_callbacks(TensorBoard(tmp_path / "file")).fit(*table)
    distiller.set_callbacks(TensorBoard(tmp_path / "runs"))
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(ImportError, match=r"pip install tensorboard"):
        distiller.fit(*table)


def test_files_are_what_tensorboard_reads(table, tmp_path):
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    distiller = quick().set_callbacks(TensorBoard(tmp_path)).fit(*table)
    (folder,) = tmp_path.iterdir()
    events = reader.EventAccumulator(str(folder)).Reload()
    losses = [(event.step, event.value) for event in events.Scalars("loss")]
    assert [step for step, _ in losses] == [1, 2, 3]
    np.testing.assert_allclose([v for _, v in losses], distiller.history_["loss"], rtol=1e-6)


# --- memory -----------------------------------------------------------------------------------


def test_steps_that_nobody_looks_at_leave_no_context(table, monkeypatch):
    made = []
    original = RaTBPTTDistiller._init_callback_context

    def remember(self, **options):
        made.append(original(self, **options))
        return made[-1]

    monkeypatch.setattr(RaTBPTTDistiller, "_init_callback_context", remember)
    quick().fit(*table)
    assert len(list(made[0])) == 1
    quick().set_callbacks(Pickler(None)).fit(*table)
    assert len(list(made[1])) == 4


# --- the callbacks of the how-to page ---------------------------------------------------------


class Recorder:
    """Stands for a tracker: what each of its runs was told."""

    def __init__(self):
        self.told = []

    def init(self, config, **settings):
        run = SimpleNamespace(info=SimpleNamespace(run_id=len(self.told)), id=len(self.told))
        self.told.append([])
        run.log = lambda values, step: self.told[run.id].append(values["loss"])
        run.finish = lambda exit_code: self.told[run.id].append(exit_code)
        return run

    def start_run(self, nested):
        return self.init({})

    def active_run(self):
        return None

    def log_params(self, parameters):
        pass

    def log_metrics(self, values, step, run_id):
        self.told[run_id].append(values["loss"])

    def end_run(self, status):
        self.told.append(status)


@pytest.mark.parametrize("name", ["wandb", "mlflow"])
def test_two_fits_at_once_do_not_mix(name, monkeypatch):
    recorder = Recorder()
    monkeypatch.setitem(sys.modules, name, recorder)
    code = tools.how_to(f"{name}_log")
    log = code.WandbLog() if name == "wandb" else code.MlflowLog()
    distiller = quick()
    fits = [SimpleNamespace(root_uuid=uuid4(), task_name="fit") for _ in range(2)]
    for fit in fits:
        log.setup(distiller, fit)
    for k, fit in enumerate(fits):
        step = SimpleNamespace(root_uuid=fit.root_uuid, task_name="outer step")
        fitted = SimpleNamespace(history_={"loss": [10.0 * (k + 1)]}, n_iter_=1)
        log.on_fit_task_end(distiller, step, fitted_estimator=fitted)
    log.on_fit_task_end(distiller, fits[1])
    for fit in fits:
        log.teardown(distiller, fit)
    if name == "wandb":
        assert recorder.told == [[10.0, 1], [20.0, 0]]
    else:
        assert recorder.told == [[10.0], [20.0], "FAILED", "FINISHED"]
