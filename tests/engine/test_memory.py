"""Memory grows only by the kept states, and the data may be larger than the memory."""

import json
import os
import platform
import subprocess
import sys
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import tools
from numpy.lib.format import open_memmap
from tools import ROOT

from skdistill import DistributionMatchingDistiller, RaTBPTTDistiller, ZCAWhitener
from skdistill._engine.learner import Learner
from skdistill.networks import network_factory

BENCHMARKS = ROOT / "examples/benchmarks"


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
@pytest.mark.parametrize("gradient", ["exact", "first_order"])
def test_many_steps_of_trajectory_matching_take_the_memory_of_few_and_the_states(gradient):
    def peak(n_steps):
        script = str(BENCHMARKS / "trajectory_memory.py")
        command = [sys.executable, script, "--peak", str(n_steps), gradient]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return float(done.stdout.split()[-1])

    few, many = peak(10), peak(50)
    n_parameters = Learner(network_factory("convnet", (3, 32, 32), 10)).n_parameters
    # 40 more states of gradient descent: parameters and the gradient of the step, 4 bytes each.
    states = 40 * 2 * 4 * n_parameters / 2**20
    assert few > 20
    assert many <= 1.2 * few + states, f"{few:.0f} MiB, {many:.0f} MiB, states {states:.0f}"


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads Linux's /proc")
def test_two_thousand_outer_steps_take_no_more_memory_than_a_hundred():
    command = [sys.executable, str(BENCHMARKS / "memory_growth.py"), "--steps", "2000"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    mib = json.loads(done.stdout)
    assert mib["2000"] - mib["100"] < 20


# --- data that is larger than the memory ------------------------------------------------------


@contextmanager
def at_most(n_bytes):
    """Limit the further memory of this process; files that are mapped do not count."""
    import resource

    (line,) = (x for x in Path("/proc/self/status").read_text().splitlines() if "VmData" in x)
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (1024 * int(line.split()[1]) + n_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def sparse_file(path, dtype, shape):
    """Return a mapped array of zeros, which take no room on the disk, except for a few samples."""
    X = open_memmap(path, mode="w+", dtype=dtype, shape=shape)
    X[:200] = np.random.default_rng(0).integers(100, size=(200, *shape[1:]))
    return np.load(path, mmap_mode="r")


only_linux = pytest.mark.skipif(sys.platform != "linux", reason="the limit is Linux's")
quick = partial(
    tools.quick, DistributionMatchingDistiller, max_iter=1, batch_size=32, eval_steps=2,
    validation_interval=1,
)  # fmt: skip


@only_linux
@pytest.mark.parametrize(
    "parameters",
    [
        {"init": "gaussian"},
        {"init": "real", "validation_fraction": 0.5},
        {"init": "kmeans", "ipc": 2, "sample_weight": np.arange(15_000) % 3, "max_iter": 2},
        {"init": "gaussian", "sample_weight": np.arange(15_000) % 3, "validation_fraction": 0.2},
    ],
    ids=["plain", "validation and real", "weights and k-means", "weights and validation"],
)
def test_a_mapped_array_is_not_copied(tmp_path, parameters, monkeypatch):
    X, y = sparse_file(tmp_path / "X.npy", np.float64, (15_000, 1_000)), np.arange(15_000) % 2
    parameters = dict(parameters)
    weight = parameters.pop("sample_weight", None)
    distiller = quick(**parameters)
    # The usual size of a block is some 100 MB: here it is small.
    monkeypatch.setattr("skdistill.coresets._MOST", 2**20)
    monkeypatch.setattr("skdistill._data.rows._BLOCK", 2**18)
    monkeypatch.setattr("skdistill.evaluation._networks.chunk_size", lambda learner, shape: 500)
    monkeypatch.setattr("skdistill._run.held_out.chunk_size", lambda learner, shape: 500)
    distiller.fit(X[:2000], y[:2000]).score(X[:2000], y[:2000])  # what is loaded once is there
    with at_most(X.nbytes // 2):
        distiller.fit(X, y, sample_weight=weight)
        distiller.score(X, y)
    assert distiller.distilled_.X.shape == (2 * distiller.ipc, 1_000)


@only_linux
def test_whitened_samples_may_be_larger_than_the_memory(tmp_path):
    X = sparse_file(tmp_path / "X.npy", np.uint8, (400_000, 8, 8))
    whitener = ZCAWhitener().fit(X[:300])
    path = tmp_path / "white.npy"
    with at_most(X.nbytes):
        white = whitener.fit(X).transform(X, mmap_path=path)
    assert white.nbytes == 4 * X.nbytes
    assert isinstance(white, np.memmap)
    assert not white.flags.writeable
    np.testing.assert_allclose(white[:300], whitener.transform(X[:300]), rtol=1e-5, atol=1e-7)
    assert [file.name for file in tmp_path.iterdir()].count("white.npy") == 1
    with pytest.raises(FileExistsError, match=r"mmap_path='.*white\.npy' must be .* new file"):
        whitener.transform(X[:10], mmap_path=path)


def test_a_mapped_array_is_distilled_like_a_plain_one(images, tmp_path):
    X, y = images
    whitener = ZCAWhitener().fit(X)
    white = whitener.transform(X, mmap_path=tmp_path / "white.npy")
    np.testing.assert_array_equal(white, whitener.transform(X))
    assert white.dtype == np.float64
    quick = RaTBPTTDistiller(max_iter=1, window=1, unroll=2, random_state=0)
    np.testing.assert_array_equal(
        quick.fit(white, y).transform()[0], quick.fit(whitener.transform(X), y).transform()[0]
    )


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's thresholds")
def test_freed_memory_is_kept_even_in_a_worker_of_dask():
    code = """
import resource
import torch
from skdistill._engine.runtime import keep_freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        torch.empty(40 * 2**20, dtype=torch.uint8).fill_(0)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

before = faults()
keep_freed_memory()
faults()
print(before, faults())
"""
    # What Dask's nanny sets for its workers.
    environment = os.environ | {"MALLOC_TRIM_THRESHOLD_": "65536"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    )
    before, after = map(int, done.stdout.split())
    # Each block has 10,240 pages of 4 KiB, or 20 of 2 MiB.
    assert before >= 200
    assert after < before / 20
