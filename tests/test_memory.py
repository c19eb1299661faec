"""Memory grows by the kept states alone: not by the window's graphs, and not with outer steps."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from skdistill._engine.learner import Learner
from skdistill.networks import network_factory

BENCHMARKS = Path(__file__).parents[1] / "examples/benchmarks"


def peak_mib(config, which="ours"):
    job = json.dumps({"config": config, "device": "cpu", "which": which})
    command = [sys.executable, str(BENCHMARKS / "bench_meta_gradient.py"), "--peak", job]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


@pytest.mark.slow
def test_peak_with_a_long_window_is_that_of_a_short_one_and_the_states():
    config = {
        "shape": (3, 32, 32), "ipc": 1, "unroll": 60, "real": 64, "width": 128, "depth": 3,
        "n_classes": 10, "window": 10,
    }  # fmt: skip
    short, long = peak_mib(config), peak_mib({**config, "window": 60})
    n_parameters = Learner(network_factory("convnet", (3, 32, 32), 10)).n_parameters
    # 50 more states of Adam: parameters and two moments, 4 bytes each.
    states = 50 * 3 * 4 * n_parameters / 2**20
    # Activations alone take more than this: a peak near 0 would mean that nothing was measured.
    assert short > 20
    assert long <= 1.2 * short + states, f"{short:.0f} MiB, {long:.0f} MiB, states {states:.0f}"


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads Linux's /proc")
def test_two_thousand_outer_steps_take_no_more_memory_than_a_hundred():
    command = [sys.executable, str(BENCHMARKS / "memory_growth.py"), "--steps", "2000"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    mib = json.loads(done.stdout)
    assert mib["2000"] - mib["100"] < 20
