"""The command as a program: what it imports, how it ends, and what it says then."""

import errno
import os
import re
import signal
import subprocess
import sys
import tomllib
from functools import partial
from importlib import import_module
from pathlib import Path

import pytest
import torch
from running import QUICK, people, run, skdistill
from tools import ROOT

from skdistill import DistilledDataset, _command_line
from skdistill._command_line.app import commands
from skdistill._run.run_file import RunFile

TABLE = ("distill", "people.csv", "--target", "bought")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Return the current folder, which has a table."""
    monkeypatch.chdir(tmp_path)
    people().to_csv("people.csv", index=False)
    return tmp_path


def process(*words, cwd=None):
    command = [sys.executable, *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd)


def test_help_comes_without_the_heavy_packages():
    script = (
        "import sys, skdistill.__main__, skdistill._command_line.app; "
        "print([n for n in ('torch', 'sklearn', 'numpy', 'pandas') if n in sys.modules])"
    )
    done = process("-c", script, cwd=ROOT)
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_a_process_distills_a_table(folder, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    done = process("-m", "skdistill", *TABLE, "-o", "set.npz", *QUICK)
    assert done.returncode == 0, done.stderr
    # No bar where there is no terminal.
    assert (done.stdout, done.stderr) == ("Wrote set.npz: 2 samples, 1 per class.\n", "")
    assert DistilledDataset.load("set.npz").classes.tolist() == ["no", "yes"]
    done = process("-m", "skdistill", *TABLE, "-o", "set.npz")
    assert done.returncode == 2
    assert done.stderr == "Error: set.npz exists; --overwrite replaces it.\n"


def test_the_script_that_is_installed_is_the_command():
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    module, _, name = scripts["skdistill"].partition(":")
    assert getattr(import_module(module), name) is _command_line.main


def test_without_click_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "click", None)
    monkeypatch.delitem(sys.modules, "skdistill._command_line.app")
    with pytest.raises(SystemExit, match=re.escape('pip install "skdistill[cli]"')):
        _command_line.main()


def test_every_command_has_a_help_that_names_its_options():
    assert list(commands.commands) == [
        "distill", "evaluate", "compare", "show", "export", "info", "doctor"
    ]  # fmt: skip
    for name, command in commands.commands.items():
        text = run(name, "--help").output
        for parameter in command.params:
            if parameter.param_type_name == "option":
                assert parameter.help, (name, parameter.name)
                assert parameter.opts[-1] in text


def test_the_help_says_how_a_run_becomes_longer():
    assert "max_iter=2000 for a longer run" in " ".join(run("distill", "--help").output.split())


def test_every_option_is_on_the_page():
    page = (ROOT / "docs/command_line.rst").read_text()
    for name, command in commands.commands.items():
        assert f"``{name} " in page
        for parameter in command.params:
            if parameter.param_type_name == "option":
                assert re.search(rf"{parameter.opts[-1]}\b", page), (name, parameter.name)


def test_versions():
    assert re.fullmatch(r"skdistill, version \d+\.\d+\.\d+\S*\n", run("--version").output)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "Usage:"),
        (("destill",), "No such command 'destill'"),
        ((*TABLE, "--ipk", "1"), "No such option"),
        ((*TABLE, "-o", "set.npz", "--method", "rat"), "'rat' is not one of"),
        (TABLE, "Missing option '-o'"),
        ((*TABLE, "-o", "nowhere/set.npz"), "there is no folder"),
        ((*TABLE, "-o", "."), "is a directory"),
        ((*TABLE, "-o", "set.npz", "--ipc", "0"), "'ipc' parameter"),
        ((*TABLE, "-o", "set.npz", "--ipc", "50"), "ipc=50 must be at most 20"),
        ((*TABLE, "-o", "set.npz", "--set", "window"), "'window' must be NAME=VALUE"),
        ((*TABLE, "-o", "set.npz", "--set", "windw=3"), "Invalid parameter 'windw'"),
        ((*TABLE, "-o", "set.npz", "--set", "window=0"), "'window' parameter"),
        (
            (*TABLE, "-o", "set.npz", "--set", "window=80", "--set", "unroll=60"),
            "window=80 must be at most unroll=60.",
        ),
        ((*TABLE, "-o", "set.npz", "--size", "8"), "--size and --gray are for folders"),
        (("distill", "people.csv", "-o", "set.npz"), "Missing option '--target'"),
        (
            ("distill", "people.csv", "-o", "set.npz", "--target", "sold"),
            "there is no column 'sold'; there are 'age', ",
        ),
        ((*TABLE, "-o", "set.npz", "--drop", "name"), "there is no column 'name'"),
        (("distill", "nothing.csv", "-o", "set.npz"), "does not exist"),
        (("evaluate", "people.csv", "people.csv"), "it is not an .npz file"),
        (("info", "people.csv"), "people.csv cannot be read: it is not an .npz file"),
        (("info", "."), "is a folder, and not one of checkpoints"),
    ],
)
def test_invalid_input_ends_with_a_line_and_with_two(folder, outer_step, words, message):
    outer_step.refuse()
    result = skdistill(*words)
    assert result.exit_code == 2
    assert message in result.stderr
    assert "Traceback" not in result.output
    assert result.stdout == ""
    assert [path.name for path in folder.iterdir()] == ["people.csv"]


def test_a_run_that_diverges_ends_with_one(folder, outer_step):
    outer_step.spoil(lambda step: True)
    words = (*TABLE, "-o", "set.npz", *QUICK[1:], "--set=max_iter=20")
    result = skdistill(*words)
    assert result.exit_code == 1
    assert "Error: 10 meta-gradients in a row were not finite" in result.stderr
    # Of the first one that was skipped: a line, without the place in the source.
    assert re.search("^Warning: The meta-gradient of outer step 1 was", result.stderr, re.M)
    assert ".py:" not in result.stderr
    # The samples from before are kept, as the error says.
    assert "Wrote set.npz: samples of outer step 10; the run diverged.\n" in result.stderr
    distilled = DistilledDataset.load("set.npz")
    assert distilled.provenance["n_iter"] == 10
    assert distilled.provenance["about"] == {"data": "people.csv"}
    assert distilled.preprocessing is not None


def test_samples_that_cannot_be_saved_do_not_hide_how_the_run_ended(
    folder, outer_step, monkeypatch
):
    def fail(*args):
        raise OSError(errno.ENOSPC, "No space left on device")

    outer_step.spoil(lambda step: True)
    monkeypatch.setattr(DistilledDataset, "save", fail)
    result = skdistill(*TABLE, "-o", "set.npz", *QUICK[1:], "--set=max_iter=20")
    assert result.exit_code == 1
    assert "Error: 10 meta-gradients in a row were not finite" in result.stderr
    told = "\nset.npz was not written: No space left on device. The samples are lost: No space left"
    assert told in result.stderr


@pytest.mark.parametrize("ends_early", [False, True])
@pytest.mark.parametrize(
    "error", [partial(OSError, errno.ENOSPC, "No space left"), KeyboardInterrupt]
)
def test_samples_that_cannot_be_saved_are_saved_elsewhere(
    folder, outer_step, monkeypatch, tmp_path_factory, ends_early, error
):
    save, elsewhere = DistilledDataset.save, tmp_path_factory.mktemp("elsewhere")

    def fail_here(distilled, path):
        if not Path(path).is_relative_to(elsewhere):
            raise error()
        save(distilled, path)

    monkeypatch.setattr(DistilledDataset, "save", fail_here)
    monkeypatch.setattr("tempfile.tempdir", str(elsewhere))
    if ends_early:
        outer_step(KeyboardInterrupt, at=3)
    result = skdistill(*TABLE, "-o", "set.npz", *QUICK[1:], "--set=max_iter=3")
    assert result.exit_code == (130 if ends_early or error is KeyboardInterrupt else 1)
    path = re.search(r"The samples are in (.*)\.\n", result.stderr).group(1)
    distilled = DistilledDataset.load(path)
    assert distilled.provenance["n_iter"] == (2 if ends_early else 3)
    assert distilled.preprocessing is not None


def test_samples_are_saved_without_their_encoder_if_need_be(folder, monkeypatch, tmp_path_factory):
    def fail(*args):
        raise RuntimeError("a surprise")

    monkeypatch.setattr(DistilledDataset, "from_pipeline", fail)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path_factory.mktemp("elsewhere")))
    result = skdistill(*TABLE, "-o", "set.npz", *QUICK)
    assert result.exit_code == 1
    assert "RuntimeError: a surprise" in result.stderr
    told = r"The samples, with the columns of networks, are in (.*)\.\n"
    distilled = DistilledDataset.load(re.search(told, result.stderr).group(1))
    assert distilled.preprocessing is None
    assert distilled.provenance["about"] == {"data": "people.csv"}
    assert not (folder / "set.npz").exists()


@pytest.mark.parametrize("ends_early", [False, True])
def test_a_set_that_appeared_during_the_run_is_not_replaced_unasked(
    folder, outer_step, monkeypatch, tmp_path_factory, ends_early
):
    kept = folder / "set.npz"

    def write_another(state):
        kept.write_bytes(b"another set")
        if ends_early:
            raise KeyboardInterrupt

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path_factory.mktemp("elsewhere")))
    words = (*TABLE, "-o", "set.npz", *QUICK)
    outer_step(write_another, at=2)
    result = skdistill(*words)
    assert result.exit_code == (130 if ends_early else 2)
    told = r"set.npz exists; --overwrite replaces it\.\s(?:The samples are in )(.*)\.\n"
    path = re.search(told, result.stderr).group(1)
    assert DistilledDataset.load(path).provenance["n_iter"] == (1 if ends_early else 2)
    assert kept.read_bytes() == b"another set"
    result = skdistill(*words, "--overwrite")
    assert result.exit_code == (130 if ends_early else 0)
    assert DistilledDataset.load(kept).provenance["n_iter"] == (1 if ends_early else 2)


@pytest.mark.parametrize(
    "error",
    [MemoryError, RuntimeError("a surprise"), OSError(errno.EIO, "a disk"), torch.OutOfMemoryError],
)
def test_a_run_that_fails_leaves_its_samples(folder, outer_step, error):
    outer_step(error, at=3)
    words = (*TABLE, *QUICK[1:], "--set=max_iter=9", "-o", "set.npz")
    result = skdistill(*words)
    assert result.exit_code == 1
    told = "Wrote set.npz: samples of outer step 2; the run failed.\nError: "
    assert result.stderr.startswith(told)
    kept = folder / "set.npz"
    assert DistilledDataset.load(kept).provenance["n_iter"] == 2
    kept.unlink()
    # A checkpoint keeps the run, and the same command, which goes on, must find no set.
    words = (*words, "--checkpoint=run.npz")
    result = skdistill(*words)
    assert result.exit_code == 1
    assert "The run is kept up to outer step 2 in" in result.stderr
    assert not kept.exists()
    steps = outer_step()
    run(*words)
    assert steps.begun[0] == 3


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_a_run_that_is_told_to_end_leaves_its_samples(folder, outer_step, name):
    if not hasattr(signal, name) or signal.getsignal(getattr(signal, name)) is not signal.SIG_DFL:
        pytest.skip("there is no such signal, or it is ignored, as under nohup")

    def send(state):
        # Otherwise the tests would end here.
        assert signal.getsignal(getattr(signal, name)) is not signal.SIG_DFL
        os.kill(os.getpid(), getattr(signal, name))

    outer_step(send, at=3)
    result = skdistill(*TABLE, *QUICK[1:], "--set=max_iter=9", "-o", "set.npz")
    assert result.exit_code == 130
    told = "Wrote set.npz: samples of outer step 2; the run was interrupted.\nError: interrupted.\n"
    assert result.stderr == told
    assert DistilledDataset.load("set.npz").provenance["n_iter"] == 2
    assert signal.getsignal(getattr(signal, name)) is signal.SIG_DFL


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError("a surprise")])
def test_a_checkpoint_that_could_not_be_written_keeps_nothing(
    folder, monkeypatch, outer_step, error
):
    def full(self, run, identity):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(RunFile, "write", full)
    outer_step(error, at=3)
    words = (*TABLE, *QUICK[1:], "--set=max_iter=9", "-o", "set.npz", "--checkpoint=run.npz")
    result = skdistill(*words)
    assert result.exit_code in (1, 130)
    assert "Wrote set.npz: samples of outer step 2" in result.stderr
    assert "writes the set of these steps" not in result.stderr
    assert DistilledDataset.load("set.npz").provenance["n_iter"] == 2


def test_an_interrupted_run_leaves_its_samples(folder, outer_step):
    words = (*TABLE, *QUICK[1:], "--seed=0", "-o", "set.npz", "--set")
    outer_step(KeyboardInterrupt, at=3)
    result = skdistill(*words, "max_iter=9")
    assert (result.exit_code, result.stdout) == (130, "")
    assert result.stderr == (
        "Wrote set.npz: samples of outer step 2; the run was interrupted.\nError: interrupted.\n"
    )
    outer_step()
    run(*words[:-3], "-o", "whole.npz", "--set=max_iter=2")
    kept, whole = map(DistilledDataset.load, ("set.npz", "whole.npz"))
    assert kept.X.tobytes() == whole.X.tobytes()
    outer_step(KeyboardInterrupt, at=1)
    result = skdistill(*words[:-3], "-o", "none.npz")
    assert (result.exit_code, result.stderr) == (130, "Error: interrupted.\n")
    assert not (folder / "none.npz").exists()


def test_an_interrupted_run_of_blocks_leaves_those_that_are_finished(folder, outer_step):
    inner = [f"--set=distiller__{setting.removeprefix('--set=')}" for setting in QUICK]
    words = (*TABLE, *inner, "--method=boosted", "--ipc=2", "-o", "set.npz")
    for total, n_samples in ((2, 0), (4, 2)):
        outer_step(KeyboardInterrupt, total=total)
        assert skdistill(*words, "--set=block_size=1").exit_code == 130
        kept = folder / "set.npz"
        assert (len(DistilledDataset.load(kept)) if kept.exists() else 0) == n_samples


def test_a_surprise_ends_with_one_and_is_shown_in_full_if_asked(folder, outer_step):
    outer_step(RuntimeError("a surprise"))
    result = skdistill(*TABLE, "-o", "set.npz", *QUICK)
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: RuntimeError: a surprise\n(skdistill --traceback")
    result = skdistill("--traceback", *TABLE, "-o", "set.npz", *QUICK)
    assert isinstance(result.exception, RuntimeError)


def test_a_missing_package_ends_with_one(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    result = skdistill(*TABLE, "-o", "set.npz")
    assert result.exit_code == 1
    assert result.stderr == 'Error: Tables need pandas: pip install "skdistill[cli]".\n'


def test_an_interrupted_run_says_where_it_is_kept_and_goes_on(folder, outer_step):
    words = (*TABLE, *QUICK, "--seed", 0)
    run(*words, "-o", "whole.npz")
    words = (*words, "--checkpoint", "run.npz", "-o", "set.npz")
    outer_step(KeyboardInterrupt, at=2)
    result = skdistill(*words)
    assert result.exit_code == 130
    note = (
        r"Error: interrupted\.\nThe run is kept up to outer step 1 in .*: the same command goes on"
    )
    assert re.search(note, result.stderr)
    # The same command goes on, so that nothing may be where it writes.
    assert not (folder / "set.npz").exists()
    steps = outer_step()
    run(*words)
    assert steps.begun == [2]
    whole, resumed = map(DistilledDataset.load, ("whole.npz", "set.npz"))
    assert whole.X.tobytes() == resumed.X.tobytes()


@pytest.mark.parametrize("more", [(), ("--set=validation_fraction=0.3",)])
def test_a_set_of_an_interrupted_run_is_written_as_the_message_says(folder, outer_step, more):
    words = (*TABLE, *QUICK[1:], "--seed=0", *more, "--checkpoint=run.npz")
    outer_step(KeyboardInterrupt, at=4)
    result = skdistill(*words, "--set=max_iter=9", "-o", "set.npz")
    assert result.exit_code == 130
    way = r"The same command with --set (max_iter=\d), in place of its own if it has one, writes"
    option = re.search(way, result.stderr).group(1)
    assert option == "max_iter=3"
    steps = outer_step()
    run(*words, f"--set={option}", "-o", "part.npz")
    assert steps.begun == []
    assert DistilledDataset.load("part.npz").provenance["n_iter"] == 3
    # Nothing has changed for the run itself.
    run(*words, "--set=max_iter=9", "-o", "set.npz")
    assert (steps.begun[0], DistilledDataset.load("set.npz").provenance["n_iter"]) == (4, 9)


@pytest.mark.parametrize(
    "schedule", ["linear", "cosine", '{"class": "ConstantRate", "warmup": 0.5}']
)
def test_a_run_whose_rates_depend_on_its_length_has_no_set_before_its_end(
    folder, outer_step, schedule
):
    words = (*TABLE, *QUICK[1:], f"--set=learning_rate_schedule={schedule}", "--checkpoint=a.npz")
    outer_step(KeyboardInterrupt, at=4)
    result = skdistill(*words, "--set=max_iter=9", "-o", "set.npz")
    assert "No set can be made of it before the end, because the learning" in result.stderr
    assert "--set max_iter" not in result.stderr
    # It is refused.
    outer_step()
    result = skdistill(*words, "--set=max_iter=3", "-o", "part.npz")
    assert (result.exit_code, "learning_rate_schedule must be" in result.stderr) == (2, True)


def test_the_finished_blocks_of_an_interrupted_run_are_written_as_the_message_says(
    folder, outer_step
):
    inner = [f"--set=distiller__{setting.removeprefix('--set=')}" for setting in QUICK]
    words = (*TABLE, *inner, "--method=boosted", "--set=block_size=2", "--seed=0")
    words = (*words, "--checkpoint=blocks")
    way = "writes the set of the finished blocks"
    outer_step(KeyboardInterrupt, total=2)
    assert way not in skdistill(*words, "--ipc=5", "-o", "set.npz").stderr
    outer_step(KeyboardInterrupt, total=2)
    result = skdistill(*words, "--ipc=5", "-o", "set.npz")
    assert f"The same command with --ipc 2 {way}" in result.stderr
    outer_step()
    run(*words, "--ipc=2", "-o", "part.npz")
    run(*words, "--ipc=5", "-o", "set.npz")
    part, whole = map(DistilledDataset.load, ("part.npz", "set.npz"))
    assert (part.ipc, whole.ipc) == (2, 5)
    assert part.X.tobytes() == whole.subset(2).X.tobytes()


def test_what_to_do_about_a_long_run_is_said_in_options(folder, monkeypatch):
    monkeypatch.setattr("skdistill._run.watch._LONG", 0.0)
    words = (*TABLE, "--overwrite", "-o", "set.npz")
    settings = [setting.replace("max_iter=2", "max_iter=6") for setting in QUICK]
    inner = [setting.replace("--set=", "--set=distiller__") for setting in settings]
    end = "window and unroll together, batch_size, the width of the networks takes less time.\n"
    for options, prefix in ((settings, ""), (["--method=boosted", *inner], "distiller__")):
        warning = run(*words, *options).stderr
        assert warning.startswith("Warning: About ")
        assert (
            ". --checkpoint PATH keeps the run if it is interrupted; a lower max_iter "
            f"(--set {prefix}max_iter=N), {end}"
        ) in warning
        assert "checkpoint=" not in warning
        assert "keeps" not in run(*words, *options, f"--checkpoint=run{prefix}").stderr
