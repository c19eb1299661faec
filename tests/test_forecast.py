"""The forecast of a run: its time, its memory, and its advice."""

import subprocess
import sys
from dataclasses import replace
from functools import partial
from time import perf_counter

import numpy as np
import pytest
import tools

from skdistill import (
    BoostedDistiller,
    DistributionMatchingDistiller,
    FRePoDistiller,
    GradientMatchingDistiller,
)
from skdistill._engine.learner import Learner
from skdistill.exceptions import DivergenceWarning
from skdistill.forecast import Forecast
from skdistill.networks import network_factory

quick = partial(tools.quick, max_iter=7)


@pytest.mark.filterwarnings("error", category=DivergenceWarning)
def test_estimate_leaves_the_estimator_as_it_was(images):
    distiller = quick()
    before = vars(distiller).copy()
    forecast = distiller.estimate(*images, n_steps=2)
    assert vars(distiller) == before
    assert forecast.n_steps == 7
    assert 0 < forecast.seconds_per_step < 60
    assert forecast.seconds == 7 * forecast.seconds_per_step
    assert not forecast.compiled
    assert str(forecast).startswith(
        f"{forecast.seconds_per_step:.3g} s per outer step (eager, cpu)"
    )
    # The time of a forecast step is that of a step of fit: the same work, within a wide margin.
    seconds = np.median(distiller.fit(*images).history_["seconds"])
    assert 0.1 < forecast.seconds_per_step / seconds < 10


def test_memory_grows_with_the_window_by_the_states(images):
    parameters = Learner(network_factory("auto", (1, 6, 6), 2)).n_parameters

    def memory(**changes):
        return quick(**changes).estimate(*images, n_steps=1).memory

    short = memory()
    assert memory(window=4).states - short.states == 2 * 3 * 4 * parameters
    assert memory(inner_optimizer="sgd").states * 3 == short.states * 2
    # In proportion to the samples, beside what kernels take.
    one, two, three = (memory(ipc=n).activations for n in (1, 2, 3))
    assert one == short.activations
    assert three - two == pytest.approx(two - one, rel=0.02)
    assert two > 1.2 * one
    assert memory(ipc=3, inner_batch_size=1).activations == one
    ten, twenty, thirty = (memory(batch_size=n).real for n in (10, 20, 30))
    assert thirty - twenty == pytest.approx(twenty - ten, rel=1e-3)
    assert twenty > 1.2 * ten
    assert short.data == images[0].nbytes
    assert short.total == short.states + max(short.activations, short.real) + short.data


def test_every_distiller_has_a_forecast(images):
    matching = DistributionMatchingDistiller(ipc=2, max_iter=5)
    forecast = matching.estimate(*images, n_steps=1)
    assert forecast.n_steps == 5
    assert "batch_size" in forecast.advice
    assert "window" not in forecast.advice
    memory = DistributionMatchingDistiller(ipc=4).estimate(*images, n_steps=1).memory
    assert memory.activations == pytest.approx(2 * forecast.memory.activations, rel=1e-4)


def test_the_forecast_of_a_pool_is_of_all_its_networks(images):
    parameters = Learner(network_factory("convnet", (1, 6, 6), 2)).n_parameters
    small, large = (FRePoDistiller(pool_size=size).estimate(*images, n_steps=1) for size in (2, 5))
    assert large.memory.states - small.memory.states == 3 * 3 * 4 * parameters
    assert "pool_size" in large.advice


def test_the_forecast_of_gradient_matching_is_of_the_larger_of_matching_and_training(images):
    def activations(**parameters):
        distiller = GradientMatchingDistiller(**parameters, inner_loop=1)
        return distiller.estimate(*images, n_steps=1).memory.activations

    matched = activations(network_batch_size=1)
    # Training has 2 of 1 + 1 samples, matching 1 or 20 of a class, at twice the price of each.
    assert activations() < 2 * matched
    assert activations(ipc=20, network_batch_size=1) == pytest.approx(20 * matched, rel=1e-4)
    trained = activations(network_data="real", network_batch_size=30)
    assert trained == pytest.approx(30 * matched * 0.92 / 2, rel=1e-4)


def test_the_forecast_of_boosting_is_of_all_blocks(images):
    block = quick()
    boosted = BoostedDistiller(ipc=3, block_size=2, distiller=block)
    forecast = boosted.estimate(*images, n_steps=1)
    assert forecast.n_steps == 2 * 7
    assert forecast.memory == quick(ipc=3).estimate(*images, n_steps=1).memory
    assert not hasattr(boosted, "budgets_")
    with pytest.raises(ValueError, match="n_steps must be an integer of at least 1"):
        boosted.estimate(*images, n_steps=0)


def test_validations_are_part_of_the_time(images):
    plain = quick().estimate(*images, n_steps=1)
    assert plain.validation_seconds == 0
    options = {"validation_fraction": 0.3, "validation_interval": 2, "eval_steps": 40}
    often = quick(**options).estimate(*images, n_steps=1)
    # After 2, 4, 6 and all 7 steps.
    assert often.validation_seconds > 0
    assert often.seconds == 7 * often.seconds_per_step + often.validation_seconds
    assert "for 7 steps (0 s of it validation), without score" in str(
        replace(often, validation_seconds=0.1)
    )
    made = replace(often, seconds_per_step=1.0, validation_seconds=7.0)
    assert (made.steps_in(60), made.steps_in(0.5)) == (30, 1)
    assert replace(made, n_steps=0).steps_in(60) == 60
    for seconds in (0, -5, np.inf, np.nan):
        with pytest.raises(ValueError, match="seconds must be a positive, finite number; got"):
            made.steps_in(seconds)
    began = perf_counter()
    seconds = sum(quick(**options).fit(*images).history_["seconds"])
    validated = perf_counter() - began - seconds
    assert 0.1 < often.validation_seconds / validated < 10
    blocks = BoostedDistiller(ipc=2, distiller=quick(**options)).estimate(*images, n_steps=1)
    assert blocks.validation_seconds > 0


@pytest.mark.parametrize(
    ("largest", "name"),
    [
        ("states", "window"),
        ("activations", "ipc"),
        ("real", "batch_size"),
        ("data", "the training"),
    ],
)
def test_advice_names_what_takes_most(images, largest, name):
    forecast = quick().estimate(*images, n_steps=1)
    memory = replace(forecast.memory, **{largest: 10**9})
    assert replace(forecast, memory=memory).advice.startswith(f"To take less memory, lower {name}")


@pytest.mark.parametrize(
    ("seconds", "words"), [(10, "70 s for"), (60, "7 min for"), (3600, "7.0 h for")]
)
def test_durations(images, seconds, words):
    forecast = quick().estimate(*images, n_steps=1)
    assert words in str(replace(forecast, seconds_per_step=seconds))
    assert isinstance(forecast, Forecast)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"n_steps": 0}, "n_steps must be an integer of at least 1; got 0"),
        ({"n_steps": 1.5}, r"n_steps must be an integer of at least 1; got 1\.5"),
        ({"n_steps": "a"}, "n_steps must be an integer of at least 1; got 'a'"),
        ({"window": 9}, "window=9 must be at most unroll=4"),
        ({"window": "long"}, "'window'"),
    ],
)
def test_bad_input(images, parameters, message):
    n_steps = parameters.pop("n_steps", 1)
    with pytest.raises(ValueError, match=message):
        quick(**parameters).estimate(*images, n_steps=n_steps)


MEASURE = """if True:
    import ctypes
    import numpy as np
    from skdistill import RaTBPTTDistiller
    from skdistill._engine.runtime import keep_freed_memory
    keep_freed_memory()  # once in a process: it does not undo the following later
    ctypes.CDLL(None).mallopt(-3, 65536)  # every tensor by itself, returned when it is freed

    def peak():
        with open("/proc/self/status") as file:
            return next(int(line.split()[1]) for line in file if line.startswith("VmHWM")) / 1024

    rng = np.random.default_rng(0)
    y = np.arange(40) % 20
    X = rng.normal(size=(40, 1, 28, 28)).astype(np.float32)
    RaTBPTTDistiller(window=1, unroll=1, compile=False).estimate(X[:4], y[:4] % 2, n_steps=1)
    before = peak()
    distiller = RaTBPTTDistiller(
        window=20, unroll=20, compile=False, inner_architecture=None
    )
    forecast = distiller.estimate(X, y, n_steps=1)
    print(peak() - before, forecast.peak_bytes / 2**20)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="peaks of memory are read from /proc")
def test_the_peak_is_near_the_measured_one():
    command = [sys.executable, "-c", MEASURE]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    measured, expected = map(float, done.stdout.split())
    assert expected > 100
    assert measured == pytest.approx(expected, rel=0.3)
