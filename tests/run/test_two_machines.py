"""One run on two machines, which are two agents of `torchrun` here: one is lost, and comes back."""

import os
import subprocess
import sys

import numpy as np
import pytest
from two_processes import free_port

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="forks"),
]

# What each machine runs. The second is lost in the third outer step, with the agent that started
# this process: it has no time to say anything.
SCRIPT = """
import os, signal, sys
from pathlib import Path
import numpy as np
from tools import OuterStep, table
from two_processes import quick

folder, machine = Path(sys.argv[1]), sys.argv[2]

def lose_the_second(state):
    lost = folder / "lost"
    if machine == "second" and not lost.exists():
        lost.touch()
        os.kill(os.getppid(), signal.SIGKILL)
        os.kill(os.getpid(), signal.SIGKILL)

with OuterStep(at=3, do=lose_the_second) as steps:
    distiller = quick(folder / "run.npz").fit(*table())
np.savez(
    folder / machine, X=distiller.transform()[0], score=distiller.score(*table()),
    begun=steps.begun, without_a_loss=quick().fit(*table()).transform()[0],
    processes=os.environ["WORLD_SIZE"],
)
"""


def environment():
    """Return this process's environment, in which others find the same modules."""
    return {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join(sys.path),
        # By default a machine that comes back waits in vain for the address of a store that the
        # others have kept.
        "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1",
    }


@pytest.fixture
def start(tmp_path):
    """Return a function that starts the agent of a machine, and end those that are left."""
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    agents, port = [], free_port()

    def start(machine):
        command = [
            sys.executable, "-m", "torch.distributed.run",
            "--nnodes=2", "--nproc-per-node=1", "--max-restarts=3", "--rdzv-id=a-run",
            "--rdzv-backend=c10d", f"--rdzv-endpoint=127.0.0.1:{port}", "--local-addr=127.0.0.1",
            # The first machine has the endpoint; a lost one is missed after 3 seconds, not 15.
            f"--rdzv-conf=is_host={machine == 'first'},keep_alive_interval=1",
            script, tmp_path, machine,
        ]  # fmt: skip
        output = (tmp_path / f"{machine}.txt").open("a")
        agents.append(
            subprocess.Popen(command, env=environment(), stdout=output, stderr=subprocess.STDOUT)
        )
        output.close()
        return agents[-1]

    yield start
    for agent in agents:
        # An agent that is told to end ends its processes; one that was killed has none left.
        agent.terminate()
        agent.wait(timeout=30)


def test_a_machine_that_is_lost_comes_back_and_the_run_goes_on(start, tmp_path):
    first = start("first")
    second = start("second")
    assert second.wait(timeout=120) == -9
    assert not (tmp_path / "second.npz").exists()
    second = start("second")
    for agent in (first, second):
        assert agent.wait(timeout=120) == 0, (tmp_path / "first.txt").read_text()
    results = [dict(np.load(tmp_path / f"{machine}.npz")) for machine in ("first", "second")]
    for result in results:
        assert result["processes"] == "2"
        # Two of the four steps were in the file.
        assert result["begun"].tolist() == [3, 4]
        np.testing.assert_array_equal(result["X"], result["without_a_loss"])
    for name, value in results[0].items():
        np.testing.assert_array_equal(results[1][name], value, err_msg=name)
