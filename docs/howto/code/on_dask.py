"""Fits and evaluations on the workers of a Dask cluster, which lose nothing with a worker."""

from contextlib import contextmanager
from itertools import chain

from joblib import parallel_config
from sklearn.base import clone
from sklearn.model_selection import check_cv


@contextmanager
def on_dask(client, *arrays):
    """Let the workers of a cluster do what joblib does, each with a copy of these arrays.

    joblib alone would put an array on one worker, and lose it with that one.
    """
    was_running = client.amm.running()
    # It would drop the copies that no worker is using at the moment.
    client.amm.stop()
    try:
        with parallel_config("dask", client=client, scatter=list(arrays)):
            yield
    finally:
        if was_running:
            client.amm.start()


def fit_on_dask(search, X, y, client):
    """Return a fitted copy of a search; X and y are arrays."""
    folds = list(check_cv(search.cv, y, classifier=True).split(X, y))
    with on_dask(client, X, y, *chain.from_iterable(folds)):
        return clone(search).set_params(cv=folds).fit(X, y)


def evaluate_on_dask(distiller, X_test, y_test, client):
    """Return the evaluation of a fitted distiller; X_test is an array."""
    with on_dask(client, X_test):
        return distiller.evaluate(X_test, y_test)
