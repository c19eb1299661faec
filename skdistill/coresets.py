"""Real samples that represent the whole set: the baselines that a distilled set must beat.

They choose by distances, so the units of the features matter. Networks see standardized samples.
With ``scale``, the standard deviations of the features, these functions choose among standardized
samples, too; `skdistill.evaluation.compare` and ``init="kmeans"`` do so.
"""

from math import prod

import numpy as np
from numpy.typing import ArrayLike
from sklearn.cluster import KMeans

from ._data.rows import Rows
from ._data.validation import as_array, check_count

__all__ = ["herding", "kmeans_centroids", "random_samples"]

# Values that are held in double precision at a time.
_MOST = 2**25


def _as_arrays(
    X: np.ndarray | Rows, y: ArrayLike, classes: ArrayLike, ipc: int
) -> tuple[np.ndarray | Rows, np.ndarray, np.ndarray]:
    """Return samples, labels and classes as arrays: a series is indexed by names, not by places."""
    check_count("ipc", ipc, 1)
    X = X if isinstance(X, Rows) else np.asarray(as_array(X))
    y, classes = np.asarray(as_array(y)), np.asarray(as_array(classes))
    if y.ndim != 1 or len(X) != len(y):
        raise ValueError(
            f"y must hold a label for each of the {len(X)} samples of X; got shape {y.shape}."
        )
    return X, y, classes


def _rows_by_class(y: np.ndarray, classes: np.ndarray, ipc: int) -> list[np.ndarray]:
    rows = [np.flatnonzero(y == c) for c in classes]
    sizes = [len(r) for r in rows]
    fewest = min(sizes)
    if fewest < ipc:
        # In words, because whoever compares sets has given no `ipc`.
        smallest = classes.tolist()[sizes.index(fewest)]
        raise ValueError(
            f"ipc={ipc}, the real samples to choose of each class, must be at most {fewest}: there "
            f"are no more of the smallest class, {smallest!r}."
        )
    return rows


def _interleave(per_class: list[np.ndarray]) -> np.ndarray:
    """Order samples as distilled sets are: the first of every class, then the second..."""
    return np.stack(per_class, axis=1).reshape(-1, *per_class[0].shape[1:])


def _flat_scale(scale: ArrayLike | None, sample_shape: tuple[int, ...]) -> np.ndarray | None:
    """Return the divisors of a sample's values; None if they change no order of distances."""
    if scale is None:
        return None
    scale = np.broadcast_to(np.asarray(scale, dtype=np.float64), sample_shape).ravel()
    bad = ~(np.isfinite(scale) & (scale > 0))
    if bad.any():
        raise ValueError(
            f"scale must be positive; got {scale[bad][0]} for feature {np.flatnonzero(bad)[0]}. "
            "StandardScaler().fit(X).scale_ has 1 for features that do not vary."
        )
    # This avoids even a rounding: one channel gives the same as without a scale.
    return scale if (scale != scale[0]).any() else None


def _members(
    X: np.ndarray | Rows, rows: np.ndarray, scale: np.ndarray | None, origin: np.ndarray
) -> np.ndarray:
    """Return samples flat, in double precision; with a scale, in its units from an origin."""
    members = X[rows].reshape(len(rows), -1).astype(np.float64, copy=False)
    if scale is not None:
        # Constant values are then exactly 0, however large they are.
        members -= origin
        members /= scale
    return members


def random_samples(
    X: np.ndarray | Rows,
    y: np.ndarray,
    classes: np.ndarray,
    ipc: int,
    rng: np.random.Generator,
    scale: ArrayLike | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Return ``ipc`` random real samples of every class, without replacement, and their labels.

    Parameters
    ----------
    X : ndarray of shape (n, ...)
        Real samples.
    y : ndarray of shape (n,)
        Their labels.
    classes : ndarray of shape (n_classes,)
        The labels to choose for, in the order of the result.
    ipc : int
        Samples per class.
    rng : numpy.random.Generator
    scale : array-like that broadcasts to a sample, or None, default=None
        Values are divided by it before distances are computed: the standard deviations of the
        features, as in ``StandardScaler().fit(X).scale_``, if these have different units. None
        computes distances in the units of ``X``. Not used for random samples, which need no
        distances.

    Returns
    -------
    X : ndarray of shape (n_classes * ipc, ...)
        In the units of ``X``. The first ``k * n_classes`` are ``k`` of every class.
    y : ndarray of shape (n_classes * ipc,)

    Raises
    ------
    ValueError
        If a class has fewer samples, if a scale is not positive, or if samples and labels are not
        as many.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_iris
    >>> from skdistill.coresets import random_samples
    >>> X, y = load_iris(return_X_y=True)
    >>> X_2, y_2 = random_samples(X, y, np.unique(y), 2, np.random.default_rng(0))
    >>> X_2.shape, y_2.tolist()
    ((6, 4), [0, 1, 2, 0, 1, 2])
    """
    X, y, classes = _as_arrays(X, y, classes, ipc)
    rows = _rows_by_class(y, classes, ipc)
    chosen = _interleave([rng.choice(r, ipc, replace=False) for r in rows])
    return X[chosen], y[chosen]


def kmeans_centroids(
    X: np.ndarray | Rows,
    y: np.ndarray,
    classes: np.ndarray,
    ipc: int,
    rng: np.random.Generator,
    scale: ArrayLike | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the centroids of k-means with ``ipc`` clusters in every class, and their labels.

    Parameters, result and error are those of `random_samples`. With ``ipc=1`` these are the class
    means. If a class has more than 2**25 values, a random part of that size is clustered: a class
    need not fit into memory.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_iris
    >>> from skdistill.coresets import kmeans_centroids
    >>> X, y = load_iris(return_X_y=True)
    >>> means, _ = kmeans_centroids(X, y, np.unique(y), 1, np.random.default_rng(0))
    >>> np.allclose(means[0], X[y == 0].mean(axis=0))
    True
    """
    X, y, classes = _as_arrays(X, y, classes, ipc)
    scale = _flat_scale(scale, X.shape[1:])
    most = max(ipc, _MOST // max(1, prod(X.shape[1:])))
    centroids = []
    for rows in _rows_by_class(y, classes, ipc):
        # Our own copy may be changed during clustering.
        kmeans = KMeans(ipc, n_init=1, random_state=int(rng.integers(2**31)), copy_x=False)
        if len(rows) > most:
            rows = np.sort(rng.choice(rows, most, replace=False))
        origin = X[rows[:1]].reshape(-1).astype(np.float64)
        centers = kmeans.fit(_members(X, rows, scale, origin)).cluster_centers_
        if scale is not None:
            centers = centers * scale + origin
        centroids.append(centers.reshape(ipc, *X.shape[1:]))
    return _interleave(centroids), np.tile(classes, ipc)


def herding(
    X: np.ndarray | Rows,
    y: np.ndarray,
    classes: np.ndarray,
    ipc: int,
    rng: np.random.Generator,
    scale: ArrayLike | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the real samples whose running mean follows the class mean (Welling 2009).

    Parameters, result and error are those of `random_samples`; ``rng`` is not used, and samples
    must be finite. Distances are taken between samples, not in the feature space of a trained
    network as some papers do.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_iris
    >>> from skdistill.coresets import herding
    >>> X, y = load_iris(return_X_y=True)
    >>> X_1, _ = herding(X, y, np.unique(y), 1, np.random.default_rng(0))
    >>> bool((X == X_1[0]).all(axis=1).any())
    True
    """
    X, y, classes = _as_arrays(X, y, classes, ipc)
    scale = _flat_scale(scale, X.shape[1:])
    size = max(1, _MOST // max(1, prod(X.shape[1:])))
    chosen = []
    for rows in _rows_by_class(y, classes, ipc):
        origin = X[rows[:1]].reshape(-1).astype(np.float64)
        # A class need not fit into memory: it is read again for every chosen sample.
        blocks = [rows[first : first + size] for first in range(0, len(rows), size)]
        mean = sum(_members(X, b, scale, origin).sum(axis=0) for b in blocks) / len(rows)
        if not np.isfinite(mean).all():
            raise ValueError("X must hold finite numbers; it holds NaN or infinity.")
        total, picks = np.zeros_like(mean), list[int]()
        for k in range(1, ipc + 1):
            distances = []
            for block in blocks:
                gap = _members(X, block, scale, origin)
                gap += total
                gap -= k * mean
                distances.append(np.square(gap, out=gap).sum(axis=1))
            distance = np.concatenate(distances)
            distance[picks] = np.inf
            picks.append(int(np.argmin(distance)))
            total += _members(X, rows[picks[-1:]], scale, origin)[0]
        chosen.append(rows[picks])
    chosen = _interleave(chosen)
    return X[chosen], y[chosen]
