"""Several processes of one run: the mean of their gradients, one writer, and nobody waits forever.

The processes are those of `two_processes`, which has the scenarios.
"""

import os
import subprocess
import sys

import numpy as np
import pytest
from tools import table, tiny
from two_processes import LEARNED, METHODS, quick, steps

from skdistill._engine.group import Group, join_group
from skdistill._engine.methods.base import Gradient, Method
from skdistill._engine.streams import Streams
from skdistill.evaluation import evaluate

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")


def environment():
    """Return this process's environment, in which another one finds the same modules."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Run all scenarios; return the folder with the results of their ranks."""
    folder = tmp_path_factory.mktemp("ranks")
    code = "import sys, two_processes; two_processes.main(sys.argv[1])"
    subprocess.run(
        [sys.executable, "-c", code, str(folder)], check=True, timeout=120, env=environment()
    )
    return folder


def ranks(folder, name):
    """Return the results of both ranks, or fail with the error that one of them had."""
    results = []
    for rank in range(2):
        error = folder / f"{name}-{rank}.txt"
        assert not error.exists(), error.read_text()
        with np.load(folder / f"{name}-{rank}.npz") as archive:
            results.append(dict(archive))
    return results


def same_ranks(folder, name):
    """Return the result of the first rank, which is that of the second to the bit."""
    first, second = ranks(folder, name)
    assert first.keys() == second.keys()
    for key in first:
        np.testing.assert_array_equal(first[key], second[key], err_msg=key)
    return first


# --- the mean of the gradients ----------------------------------------------------------------


class Both(Method):
    """Both shares of an outer step in one process."""

    def __init__(self, parts):
        self.parts = parts

    def init(self, problem):
        return self.parts[0][0].init(problem)

    def observe(self, seen, state):
        return self.parts[0][0].observe(seen, state)

    def gradient(self, problem, synthetic, state, step):
        found = [method.gradient(own, synthetic, state, step)[0] for method, own in self.parts]
        # The window is shared, the networks and batches are not.
        assert found[0].record == found[1].record
        assert found[0].loss != found[1].loss
        soft = None if found[0].y is None else sum(each.y for each in found) / 2
        loss, X = (sum(getattr(each, name) for each in found) / 2 for name in ("loss", "X"))
        return Gradient(loss, X, soft, record=found[0].record), state


@pytest.mark.parametrize("learned", LEARNED)
@pytest.mark.parametrize("name", METHODS)
def test_two_processes_are_one_with_the_mean_of_both_gradients(folder, name, learned):
    result = same_ranks(folder, "engine")
    parts = [METHODS[name](Streams(5, rank, 2)) for rank in range(2)]
    expected = steps(Both(parts), parts[0][1], learned)
    # And different from a single process.
    alone = steps(*METHODS[name](Streams(5)), learned)
    assert expected.keys() == {*LEARNED[learned]()[0], "records"}
    for key, value in expected.items():
        got = result[f"{name} {learned} {key}"]
        assert got.dtype == np.float64
        np.testing.assert_allclose(got, value, rtol=1e-9, atol=1e-9)
        assert np.abs(alone[key] - value).max() > 1e-3


def test_shares_of_a_step_are_steps_of_a_longer_run():
    # Networks and batches of two processes are those of one process in twice as many steps.
    assert [Streams(0, rank, 2).draw_index(step) for step in range(3) for rank in range(2)] == [
        *range(6)
    ]
    assert [Streams(0).draw_index(step) for step in range(3)] == [0, 1, 2]


def test_alone_there_is_nothing_to_agree_on():
    group = join_group()
    assert group == Group(0, 1)
    tensors = [object()]
    assert group.mean(tensors) == tensors
    assert group.decide(lambda: group) is group
    assert not group.any(False)


# --- runs -------------------------------------------------------------------------------------


def test_the_first_process_writes_and_reports(folder):
    result = same_ranks(folder, "fit")
    out = [(folder / f"fit-{rank}.out").read_text() for rank in range(2)]
    assert "outer step 4/4: loss" in out[0]
    assert "outer step" not in out[1]
    assert (folder / "whole.npz").exists()
    assert result["loss"].shape == (4,)


def test_networks_of_an_evaluation_are_those_of_one_process(folder):
    result = same_ranks(folder, "fit")
    distiller = quick(validation_fraction=0.3, validation_interval=2).fit(*table())
    # The same samples, judged here by one process.
    distiller.distilled_.X[:] = result["X"]
    expected = distiller.evaluate(*table())
    np.testing.assert_array_equal(result["curve"], expected.curve)
    assert result["curve"].shape[0] == 5


def test_networks_that_diverged_are_counted_over_all_processes(folder):
    result = same_ranks(folder, "fit")
    np.testing.assert_array_equal(result["diverged"], [5, 0])
    out = [(folder / f"fit-{rank}.out").read_text() for rank in range(2)]
    assert "5 of 5 networks diverged" in out[0]
    assert "diverged" not in out[1]


def test_fewer_networks_than_processes(folder, monkeypatch):
    # The second process has none to train.
    distiller = quick().fit(*table())
    monkeypatch.setattr("skdistill.evaluation._networks.join_group", lambda: Silent(1, 2))
    result = evaluate(distiller.distilled_, *table(), architecture=tiny, n_networks=1)
    assert (result.curve == 0).all()


class Silent(Group):
    def total(self, array):
        return array


def test_a_run_goes_on_from_the_file_that_the_first_process_wrote(folder):
    first, second = ranks(folder, "resume")
    # Callbacks are only called in the first process, and stop both.
    assert (first.pop("told"), second.pop("told")) == (2, 0)
    assert first["n_iter"] == second["n_iter"] == 2
    for result in (first, second):
        np.testing.assert_array_equal(result["X"], result["whole"])
        assert len(result["loss"]) == 4
    for key in first:
        np.testing.assert_array_equal(first[key], second[key])


def test_labels_bases_and_scores_are_the_same_in_all_processes(folder):
    result = same_ranks(folder, "all_that_is_learned")
    assert len([name for name in result if name.startswith("adam ")]) == 3
    assert result["n_iter"] == 8
    assert len(result["loss"]) == 10
    assert result["scores"].shape == (30,)
    np.testing.assert_array_equal(result["X"], result["whole"])


def test_the_networks_of_a_pool_are_the_same_in_all_processes(folder):
    result = same_ranks(folder, "networks_of_a_pool")
    assert (result["n_iter"], len(result["loss"])) == (6, 10)
    assert result["n_replaced"] > 1
    assert result["pool"].shape[:2] == (2, 3)
    np.testing.assert_array_equal(result["X"], result["whole"])


@pytest.mark.parametrize(
    "name", ["no_seed", "boosted", "other_distiller", "without_networks", "from_experts"]
)
def test_processes_agree(folder, name):
    result = same_ranks(folder, name)
    assert np.isfinite(result["X"]).all()


def test_a_gradient_that_is_not_finite_in_one_process_is_skipped_in_all(folder):
    result = same_ranks(folder, "not_a_number")
    assert result["skipped"].tolist() == [False, True, False, False]
    warned = ["DivergenceWarning" in (folder / f"not_a_number-{r}.out").read_text() for r in (0, 1)]
    assert warned == [True, False]


def test_a_run_that_had_given_up_ends_in_all_processes(folder):
    result = same_ranks(folder, "gave_up")
    assert ["up to outer step 10" in text for text in result["text"]] == [True, True]


def test_samples_that_stay_in_other_units_are_the_same_in_all_processes(folder):
    result = same_ranks(folder, "warm_start")
    np.testing.assert_allclose(result["X"], result["before"], atol=1e-5)


# --- what goes wrong --------------------------------------------------------------------------


def errors(folder, name):
    return [(folder / f"{name}-{rank}.txt").read_text() for rank in range(2)]


def test_other_data_in_one_process_is_refused_in_all(folder):
    for error in errors(folder, "other_data"):
        assert "ValueError: X, y, sample_weight and the parameters must be the same in all" in error


def test_what_the_first_process_refuses_ends_all(folder):
    first, second = errors(folder, "first_refuses")
    assert "ValueError: checkpoint=" in first.splitlines()[-1]
    assert "RuntimeError: The first process stopped: ValueError: checkpoint=" in second


@pytest.mark.parametrize("name", ["lost", "hangs"])
def test_a_lost_process_ends_the_run_with_an_error_and_a_checkpoint(folder, name):
    error = (folder / f"{name}-0.txt").read_text()
    assert "LostProcessError: Process 0 of 2 waited for the others in vain" in error
    assert f"The run is kept up to outer step 2 in checkpoint='{folder / name}.npz'" in error
    # It can be resumed, even by a single process.
    distiller = quick(folder / f"{name}.npz").fit(*table())
    assert distiller.n_iter_ == 4


def test_other_threads_and_processes_are_alone(monkeypatch):
    from joblib import Parallel, delayed

    monkeypatch.setattr("torch.distributed.is_initialized", lambda: True)
    monkeypatch.setattr("torch.distributed.get_rank", lambda: 1)
    monkeypatch.setattr("torch.distributed.get_world_size", lambda: 2)
    monkeypatch.setattr("torch.distributed.get_backend_config", lambda: "cpu:gloo,cuda:nccl")
    assert join_group() == Group(1, 2)
    for group in Parallel(2, backend="threading")(delayed(join_group)() for _ in range(2)):
        assert group == Group()
    monkeypatch.setattr("torch.distributed.get_backend_config", lambda: "cuda:nccl")
    with pytest.raises(ValueError, match="backend must serve the CPU as well"):
        join_group()


TORCHRUN = """
import os, sys
import numpy as np
from tools import table
from two_processes import quick
distiller = quick().fit(*table())
X, score = distiller.transform()[0], distiller.score(*table())
np.savez(os.path.join(sys.argv[1], os.environ["RANK"]), X=X, score=score)
"""


@pytest.mark.slow
def test_torchrun(folder, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(TORCHRUN)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    subprocess.run(
        [*command, str(script), str(tmp_path)], check=True, timeout=120, env=environment()
    )
    first, second = (dict(np.load(tmp_path / f"{rank}.npz")) for rank in range(2))
    for key in first:
        np.testing.assert_array_equal(first[key], second[key])
    np.testing.assert_array_equal(first["X"], ranks(folder, "resume")[0]["whole"])
