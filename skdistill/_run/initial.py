"""The samples that a run begins with: given samples, noise, real samples or centroids."""

import numpy as np
import torch

from .. import coresets
from .._engine.data import as_tensor
from .._engine.methods.base import Method, Problem, Synthetic
from .._engine.outer import gaussian_rows, initial_state
from .._engine.parametrization import LABELS
from .._engine.rows import ClassRows
from .._engine.streams import Streams
from .state import Run, RunState
from .synthetic import SyntheticSet

__all__ = ["check_class_sizes", "first_run", "gaussian_set"]

_CHOOSE = {"real": coresets.random_samples, "kmeans": coresets.kmeans_centroids}


def check_class_sizes(init, y: np.ndarray, rows: ClassRows, n_given: int) -> None:
    """Raise ValueError if a class has fewer samples than ``init`` is to choose.

    Parameters
    ----------
    init : str or DistilledDataset
        The start of the samples.
    y : ndarray of int
        Class indices of the real samples.
    rows : ClassRows
    n_given : int
        Samples per class that are given, and need not be chosen.
    """
    fewest = np.bincount(y, minlength=rows.n_classes).min()
    if isinstance(init, str) and init in _CHOOSE and rows.ipc - n_given > fewest:
        raise ValueError(
            f"ipc={rows.ipc} must be at most {fewest + n_given} with init={init!r}: the smallest "
            f"class has {fewest} samples to choose from."
        )


def first_run(
    seed: int,
    method: Method,
    problem: Problem,
    synthetic: SyntheticSet,
    init,
    X,
    y: np.ndarray,
    dtype: torch.dtype,
    averages: bool,
) -> Run:
    """Return a run before its first outer step.

    Parameters
    ----------
    seed : int
    method : Method
    problem : Problem
    synthetic : SyntheticSet
    init : str or DistilledDataset
        The start of the samples.
    X, y : ndarray or Rows, ndarray
        The real samples, in the user's units, and their class indices.
    dtype : torch.dtype
        Dtype of the learned tensors.
    averages : bool
        Whether they are averaged.
    """
    tensors = synthetic.first_tensors(
        lambda: _initial_samples(init, X, y, synthetic, problem.rngs),
        problem.rngs.torch("synthetic", 0),
        dtype,
    )
    if LABELS in tensors:
        labels = method.relabeled(problem, synthetic.parametrization.synthetic(tensors))
        tensors[LABELS] = synthetic.with_given_labels(labels)
    return Run(seed, RunState(**vars(initial_state(method, problem, tensors, averages))))


def _initial_samples(init, X, y, synthetic: SyntheticSet, rngs: Streams) -> torch.Tensor:
    """Return the standardized samples that a run starts from."""
    real, start, rows = synthetic.data, synthetic.start, synthetic.rows
    layout = real.layout
    n_fresh = rows.ipc - (0 if start is None else start.ipc)

    def standardized(samples):
        return real.standardizer.forward(as_tensor(layout.to_engine(samples)))

    parts = [] if start is None else [standardized(start.X)]
    if n_fresh and init == "gaussian":
        fresh = gaussian_rows(
            n_fresh * rows.n_classes, layout.network_shape, rngs.torch("synthetic", 0)
        )
        # In double precision if all samples come from it; the precision of the run rounds them
        # later.
        parts.append(fresh.to(parts[0]) if parts else fresh)
    elif n_fresh:
        # Chosen as networks see them: in raw units a single feature with large values would decide.
        samples, _ = _CHOOSE[init](
            X,
            y,
            np.arange(rows.n_classes),
            n_fresh,
            rngs.numpy("synthetic", 0),
            scale=layout.spread(real.scale),
        )
        parts.append(standardized(samples))
    return torch.cat(parts)


def gaussian_set(
    method: Method, problem: Problem, dtype: torch.dtype, learn_labels: bool
) -> Synthetic:
    """Return Gaussian samples with labels, which are good enough to measure time and memory."""
    labels, n_classes = problem.rows.labels(problem.device), problem.rows.n_classes
    if learn_labels:
        labels = torch.eye(n_classes, device=problem.device, dtype=dtype)[labels]
    samples = gaussian_rows(len(problem.rows), problem.shape, problem.rngs.torch("synthetic", 0))
    extra = {name: each.value for name, each in method.extra(problem).items()}
    return Synthetic(samples.to(device=problem.device, dtype=dtype), labels, extra)
