"""
A distilled start for active learning
=====================================

New digits have come without labels, and each label costs. Active learning buys those of which the
networks are least sure; but the first networks know nothing. Here labeled digits of earlier writers
were there once, of which only ten samples are left, a byte per value. Do they save labels? At
first some twenty; with every label that is bought it matters less where one has started.

Distilled samples know only what labels have told them: distilling the labels that were just bought
would add nothing. ``examples/reproduce/active_learning.py`` runs longer, with more starts;
:doc:`/user_guide/uses` has its results.
"""

from dataclasses import replace
from functools import partial

import matplotlib.pyplot as plt
import numpy as np
from sklearn.base import BaseEstimator
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from skdistill import DistilledClassifier, DistributionMatchingDistiller
from skdistill.coresets import random_samples
from skdistill.networks import ConvNet

X, y = load_digits(return_X_y=True)
X = X.reshape(-1, 8, 8)
# Rows come writer by writer; with row 915 the eighth of fourteen begins.
X_earlier, y_earlier, X_new, y_new = X[:915], y[:915], X[915:], y[915:]

# %%
# ``DistilledClassifier`` trains the networks of a set by its recipe. It asks for a distiller; this
# one distills nothing: the samples of the set are those that it is given.


class AsGiven(BaseEstimator):
    """Stands where a distiller is wanted; ``like`` is a set with the recipe of the networks."""

    def __init__(self, like):
        self.like = like

    def fit(self, X, y):
        """Take the samples."""
        self.classes_, self.n_features_in_ = self.like.classes, X[0].size
        self.distilled_ = replace(self.like, X=X, y=y)
        return self

    def transform(self, X=None):
        """Return the samples."""
        return self.distilled_.X, self.distilled_.y


def in_bytes(X):
    """Return samples as they come out of a store of bytes, in quarters from -16 to 47.75."""
    stored = np.clip(np.round(4 * X) + 64, 0, 255).astype(np.uint8)
    return (stored - 64.0) / 4


# %%
# Buy labels ten at a time: those of the samples for which the two most probable digits differ least
# in probability. Without a start, the first ten are random.


def buy(like, X_start, y_start, pool, test, seed):
    """Return the test accuracy after 0, 10, 20, 30 and 40 labels, in percent."""
    bought, curve = np.zeros(0, int), []
    for _ in range(5):
        X_known = np.concatenate([X_start, pool[0][bought]])
        y_known = np.concatenate([y_start, pool[1][bought]])
        left = np.setdiff1d(np.arange(len(pool[0])), bought)
        if len(X_known) == 0:
            curve.append(np.nan)
            chosen = np.random.default_rng(seed).choice(left, 10, replace=False)
        else:
            networks = DistilledClassifier(AsGiven(like)).fit(X_known, y_known)
            curve.append(100 * networks.score(*test))
            ranked = np.sort(networks.predict_proba(pool[0][left]), axis=1)
            chosen = left[np.argsort(ranked[:, -1] - ranked[:, -2])[:10]]
        bought = np.concatenate([bought, chosen])
    return curve


curves = {"distilled": [], "random exemplars": [], "no start": []}
for seed in range(3):
    X_pool, X_test, y_pool, y_test = train_test_split(
        X_new, y_new, test_size=0.5, stratify=y_new, random_state=seed
    )
    distiller = DistributionMatchingDistiller(
        ipc=1,
        init="kmeans",
        max_iter=60,
        architecture=partial(ConvNet, width=16),
        eval_steps=150,
        n_networks=2,
        random_state=seed,
    )
    distilled = distiller.fit(X_earlier, y_earlier).distilled_
    rng = np.random.default_rng(seed)
    starts = {
        "distilled": (in_bytes(distilled.X), distilled.y),
        "random exemplars": random_samples(X_earlier, y_earlier, distilled.classes, 1, rng),
        "no start": (X_earlier[:0], y_earlier[:0]),
    }
    # All are standardized by the pool, which needs no labels.
    recipe = replace(distilled.recipe, mean=(X_pool.mean(),), scale=(X_pool.std(),))
    like = replace(distilled, recipe=recipe)
    for name, samples in starts.items():
        curves[name].append(buy(like, *samples, (X_pool, y_pool), (X_test, y_test), seed))

# %%
# Test accuracy on the new digits: mean and standard deviation over the seeds.

figure, ax = plt.subplots(figsize=(5.5, 3.4), layout="constrained")
for (name, curve), color in zip(curves.items(), ("tab:orange", "tab:gray", "tab:blue")):
    mean, std = np.mean(curve, axis=0), np.std(curve, axis=0)
    values = "  ".join(f"{m:5.1f} ± {s:3.1f}" for m, s in zip(mean, std))
    print(f"{name:<18} {values} %")
    ax.errorbar(range(0, 41, 10), mean, yerr=std, color=color, capsize=3, label=name)
ax.set(xlabel="labels bought", ylabel="test accuracy (%)")
ax.spines[["top", "right"]].set_visible(False)
ax.legend(frameon=False)
plt.show()
