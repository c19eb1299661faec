"""
Continual learning with a distilled memory
==========================================

Classes come two at a time, and their images go when the next ones come. What stays is a memory of
one image per class, 64 bytes each. After each task, networks are trained on the memory alone and
tested on all digits seen so far. Is a distilled memory better than one of real images? It is, but
most of its advantage is that of a mean over one image: centroids have it, too.

This is small, to be run in seconds. ``examples/reproduce/continual_learning.py`` runs longer, with
more memories; :doc:`/user_guide/uses` has its results.
"""

from functools import partial

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from skdistill import DistilledDataset, DistributionMatchingDistiller
from skdistill.coresets import kmeans_centroids, random_samples
from skdistill.evaluation import EvaluationProtocol, evaluate
from skdistill.networks import ConvNet

X, y = load_digits(return_X_y=True)
X = X.reshape(-1, 8, 8)
X_train, X_test, y_train, y_test = train_test_split(X, y, stratify=y, random_state=0)
narrow = partial(ConvNet, width=16)

# %%
# Three ways to remember a task. Distribution matching starts from the centroids of k-means and
# looks at one class at a time: it need not know what other classes there are.


def remember(name, X, y, seed):
    """Return one sample per class in the place of these, and their labels."""
    if name == "distilled":
        distiller = DistributionMatchingDistiller(
            ipc=1, init="kmeans", max_iter=60, architecture=narrow, random_state=seed
        )
        return distiller.fit(X, y).transform()
    choose = kmeans_centroids if name == "k-means centroids" else random_samples
    return choose(X, y, np.unique(y), 1, np.random.default_rng(seed))


def in_bytes(X):
    """Return samples as they come out of a store of bytes, in quarters from -16 to 47.75.

    The pixels of real digits, whole numbers from 0 to 16, lose nothing by this.
    """
    stored = np.clip(np.round(4 * X) + 64, 0, 255).astype(np.uint8)
    return (stored - 64.0) / 4


# %%
# Five tasks, in an order that differs from seed to seed. Samples are standardized as the first task
# says, because nothing else is known at the time.

memories = ["distilled", "k-means centroids", "random exemplars"]
protocol = EvaluationProtocol(steps=150, n_networks=2, architecture=narrow)
accuracies = {name: [] for name in memories}
for name in memories:
    for seed in range(3):
        tasks = np.random.default_rng(seed).permutation(10).reshape(5, 2)
        first = X_train[np.isin(y_train, tasks[0])]
        parts, curve = [], []
        for k, task in enumerate(tasks):
            of_task = np.isin(y_train, task)
            X_new, y_new = remember(name, X_train[of_task], y_train[of_task], seed)
            parts.append((in_bytes(X_new), y_new))
            memory = DistilledDataset.from_arrays(
                *map(np.concatenate, zip(*parts)),
                mean=first.mean(),
                scale=first.std(),
                protocol=protocol,
                seed=seed,
            )
            seen = np.isin(y_test, tasks[: k + 1])
            curve.append(100 * evaluate(memory, X_test[seen], y_test[seen]).mean)
        accuracies[name].append(curve)
    last = np.array(accuracies[name])[:, -1]
    print(f"{name:<18} all ten digits: {last.mean():.1f} ± {last.std():.1f} % over three seeds")

# %%
# Accuracy over all classes seen so far: mean and standard deviation over the seeds.

figure, ax = plt.subplots(figsize=(5.5, 3.4), layout="constrained")
for name, color in zip(memories, ("tab:orange", "tab:blue", "tab:gray")):
    curves = np.array(accuracies[name])
    ax.errorbar(
        np.arange(2, 11, 2),
        curves.mean(axis=0),
        yerr=curves.std(axis=0),
        color=color,
        capsize=3,
        label=name,
    )
ax.set(xlabel="classes seen", ylabel="test accuracy (%)", xticks=range(2, 11, 2))
ax.spines[["top", "right"]].set_visible(False)
ax.legend(frameon=False)
plt.show()
