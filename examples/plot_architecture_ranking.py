"""
Ranking architectures by distilled data
=======================================

Which network is best for the data? To know, train them all on everything. To guess, train them on
ten distilled samples, which takes a moment per network. Here are nine networks, their ranking after
training on everything, and three guesses: by distilled samples, by random samples, and by training
on everything that is stopped when it has cost as much, after as many batches of ten.

The last one needs no distilling, and it wins: on data as small as this, do not distill to rank.
``examples/reproduce/architecture_ranking.py`` runs longer, with more rivals;
:doc:`/user_guide/uses` has its results.
"""

from dataclasses import replace
from functools import partial

import matplotlib.pyplot as plt
import numpy as np
from scipy.stats import spearmanr
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from skdistill import RaTBPTTDistiller
from skdistill.coresets import random_samples
from skdistill.evaluation import EvaluationProtocol, evaluate
from skdistill.networks import MLP, ConvNet

X, y = load_digits(return_X_y=True)
X = X.reshape(-1, 8, 8)
architectures = [
    partial(ConvNet, width=2),
    partial(ConvNet, width=4),
    partial(ConvNet, width=8),
    partial(ConvNet, width=16),
    partial(ConvNet, width=8, depth=1),
    partial(ConvNet, width=8, activation="sigmoid"),
    partial(ConvNet, width=8, norm="none"),
    partial(MLP, width=16, depth=1),
    partial(MLP, width=64, depth=2),
]

# %%
# For each seed: training samples, samples that judge the guesses, and others that judge the truth.
# ``replace`` puts other samples into a set with the same recipe, as ``compare`` does.

whole = EvaluationProtocol(steps=150, batch_size=64, n_networks=1)
stopped = EvaluationProtocol(steps=150, batch_size=10, n_networks=1)
small = EvaluationProtocol(steps=150, n_networks=1)
guesses = {"ten distilled samples": [], "ten random samples": [], "everything, stopped early": []}
truth = []


def accuracies(training, protocol, X, y):
    """Return the test accuracy of each architecture, in percent."""
    protocols = [replace(protocol, architecture=architecture) for architecture in architectures]
    return [100 * evaluate(training, X, y, protocol=protocol).mean for protocol in protocols]


for seed in range(3):
    X_train, X_rest, y_train, y_rest = train_test_split(
        X, y, train_size=0.5, stratify=y, random_state=seed
    )
    X_guess, X_truth, y_guess, y_truth = train_test_split(
        X_rest, y_rest, train_size=0.5, stratify=y_rest, random_state=seed
    )
    distiller = RaTBPTTDistiller(
        ipc=1,
        init="kmeans",
        max_iter=60,
        architecture=partial(ConvNet, width=16),
        random_state=seed,
    )
    distilled = distiller.fit(X_train, y_train).distilled_
    rng = np.random.default_rng(seed)
    X_few, y_few = random_samples(X_train, y_train, distilled.classes, 1, rng)
    everything = replace(distilled, X=X_train, y=y_train)
    other_networks = replace(everything, recipe=replace(distilled.recipe, seed=1000 + seed))
    truth.append(accuracies(other_networks, whole, X_truth, y_truth))
    for name, training, protocol in [
        ("ten distilled samples", distilled, small),
        ("ten random samples", replace(distilled, X=X_few, y=y_few), small),
        ("everything, stopped early", everything, stopped),
    ]:
        guesses[name].append(accuracies(training, protocol, X_guess, y_guess))

# %%
# Each point is a network, each color a seed. The rank correlation is 1 if the order is the same.

figure, axes = plt.subplots(1, 3, figsize=(9, 3.3), layout="constrained", sharey=True)
for ax, (name, guess) in zip(axes, guesses.items()):
    correlations = [spearmanr(*pair).statistic for pair in zip(guess, truth)]
    value = f"{np.mean(correlations):.2f} ± {np.std(correlations):.2f}"
    print(f"{name:<26} rank correlation {value} over three seeds")
    for guessed, true in zip(guess, truth):
        ax.plot(guessed, true, "o", alpha=0.7)
    ax.set(xlabel="accuracy as guessed (%)", title=f"{name}\nrank correlation {value}")
    ax.title.set_fontsize(10)
    ax.spines[["top", "right"]].set_visible(False)
axes[0].set_ylabel("after training on everything (%)")
plt.show()
