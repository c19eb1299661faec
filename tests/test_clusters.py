"""Searches and evaluations on clusters of real processes: a worker is killed, and nothing is lost.

What runs is the code that the how-to page shows, with the clusters' own libraries; without these
the tests are skipped.
"""

import os
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from deadly import Deadly
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.model_selection import GridSearchCV, HalvingGridSearchCV
from tools import how_to, quick, tiny

pytestmark = pytest.mark.slow

SEARCHES = {
    "grid": GridSearchCV,
    "halving": lambda *args, **options: HalvingGridSearchCV(
        *args, resource="max_iter", min_resources=2, max_resources=8, factor=2, **options
    ),
}
GRID = {"window": [1, 2], "learning_rate": [0.01, 0.03, 0.1, 0.3]}


@pytest.fixture(scope="module", autouse=True)
def _processes():
    """Have each process compute in one thread, and find the same modules."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def data():
    """Return training and test samples: so many that joblib sends them apart from the tasks."""
    rng = np.random.default_rng(0)
    y = np.arange(800) % 2
    X = rng.normal(size=(800, 5)) + 0.4 * y[:, None]
    return X[:400], y[:400], X[400:], y[400:]


def distiller(architecture):
    return quick(max_iter=6, ipc=2, architecture=architecture, n_networks=4)


def search(name, architecture):
    return SEARCHES[name](distiller(architecture), GRID, cv=2)


@pytest.fixture(scope="module")
def alone(data):
    """Return the results of one process: searches by name, and the evaluation of ten networks."""
    X, y, X_test, y_test = data
    found = {name: search(name, tiny).fit(X, y) for name in SEARCHES}
    fitted = distiller(tiny).set_params(n_networks=10).fit(X, y)
    scores = found["grid"].cv_results_["mean_test_score"]
    assert len(np.unique(scores)) > 2
    return SimpleNamespace(**found, fitted=fitted, evaluation=fitted.evaluate(X_test, y_test))


def check_search(found, expected):
    """Fail if a search is not that of one process, to the bit."""
    assert found.best_params_ == expected.best_params_
    for name, values in expected.cv_results_.items():
        if "time" not in name:
            np.testing.assert_array_equal(found.cv_results_[name], values, err_msg=name)
    best = found.best_estimator_.distilled_
    np.testing.assert_array_equal(best.X, expected.best_estimator_.distilled_.X)


# --- Dask -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    """Return a client of a cluster of two processes that import the package before they are made.

    This saves some seconds for each of them and for each that takes the place of another.
    """
    dask = pytest.importorskip("dask")
    distributed = pytest.importorskip("distributed")
    with dask.config.set({"distributed.worker.multiprocessing-method": "forkserver"}):
        distributed.utils.get_mp_context().set_forkserver_preload(["distributed", "deadly"])
        folder = tmp_path_factory.mktemp("dask")
        cluster = distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=None, local_directory=folder
        )
        with cluster, distributed.Client(cluster) as client:
            yield client


@pytest.mark.parametrize("name", SEARCHES)
def test_a_search_on_dask_loses_nothing_with_a_worker(name, client, data, alone, tmp_path):
    client.wait_for_workers(2)
    # As long as it takes Dask to drop copies of the data, if it is let.
    deadly = Deadly(tmp_path, nth=75, pause=0.06)
    found = how_to("on_dask").fit_on_dask(search(name, deadly), *data[:2], client)
    check_search(found, getattr(alone, name))
    assert deadly.killed() in deadly.workers()
    # The killed worker had an heir, and the scheduler drops copies again.
    client.wait_for_workers(2)
    assert deadly.killed() not in client.run(os.getpid).values()
    assert client.amm.running()


def test_an_evaluation_on_dask_loses_nothing_with_a_worker(client, data, alone, tmp_path):
    client.wait_for_workers(2)
    deadly = Deadly(tmp_path, nth=8)
    fitted = alone.fitted.set_params(architecture=deadly)
    result = how_to("on_dask").evaluate_on_dask(fitted, *data[2:], client)
    np.testing.assert_array_equal(result.curve, alone.evaluation.curve)
    assert deadly.killed() in deadly.workers()


# --- Ray --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ray_cluster():
    """Start a cluster of two processes."""
    ray = pytest.importorskip("ray")
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, object_store_memory=2**27)
    yield
    ray.shutdown()


@pytest.mark.parametrize("name", SEARCHES)
def test_a_search_on_ray_loses_nothing_with_a_worker(name, ray_cluster, data, alone, tmp_path):
    deadly = Deadly(tmp_path, nth=30)
    found = how_to("on_ray").fit_on_ray(search(name, deadly), *data[:2])
    check_search(found, getattr(alone, name))
    assert deadly.killed() in deadly.workers()


def test_an_evaluation_on_ray_loses_nothing_with_a_worker(ray_cluster, data, alone, tmp_path):
    deadly = Deadly(tmp_path, nth=8)
    fitted = alone.fitted.set_params(architecture=deadly)
    result = how_to("on_ray").evaluate_on_ray(fitted, *data[2:])
    np.testing.assert_array_equal(result.curve, alone.evaluation.curve)
    # Both worked, and the heir of the one that was lost.
    assert deadly.killed() in deadly.workers()
    assert len(deadly.workers()) >= 2
