"""Fits and evaluations on the workers of a Ray cluster, which lose nothing with a worker."""

from joblib import parallel_config
from ray.util.joblib import register_ray


def on_ray(n_jobs=-1):
    """Let the workers of a cluster do what joblib does, with so many of its cores or all (-1).

    By default Ray does not replace a worker that is lost, and the work ends with an error.
    """
    register_ray()
    again = {"max_restarts": 3, "max_task_retries": 3}
    return parallel_config("ray", n_jobs=n_jobs, ray_remote_args=again)


def fit_on_ray(search, X, y, n_jobs=-1):
    """Return the search, fitted."""
    with on_ray(n_jobs):
        return search.fit(X, y)


def evaluate_on_ray(distiller, X_test, y_test, n_jobs=-1):
    """Return the evaluation of a fitted distiller."""
    with on_ray(n_jobs):
        return distiller.evaluate(X_test, y_test)
