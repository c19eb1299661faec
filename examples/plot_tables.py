"""
Tables: ten rows per class
==========================

A distiller takes plain tables, too: rows in, rows out, in the units of the columns. Here two of
scikit-learn's own tables are distilled to ten rows per class. Networks trained on those rows are
compared with networks trained on ten random rows and on ten k-means centroids per class, found
among standardized rows. Centroids are a strong rival on tables as small as these: distilling adds a
point or two to them on the first table, and nothing on the second.

The rows are made for the kind of network that they were distilled through. What other classifiers
learn from them is another question, which the figure answers. At the end, distilling balances a
table with a rare class (this part needs imbalanced-learn).
"""

import matplotlib.pyplot as plt
import numpy as np
from imblearn.pipeline import make_pipeline
from imblearn.under_sampling import ClusterCentroids, RandomUnderSampler
from sklearn.datasets import load_breast_cancer, load_wine, make_classification
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_score, train_test_split
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler

from skdistill import DistillationSampler, RaTBPTTDistiller
from skdistill.coresets import kmeans_centroids, random_samples
from skdistill.evaluation import compare

IPC = 10
CLASSIFIERS = {
    "logistic regression": lambda seed: LogisticRegression(max_iter=1000),
    "random forest": lambda seed: RandomForestClassifier(random_state=seed),
    "3 nearest neighbors": lambda seed: KNeighborsClassifier(3),
}

# %%
# What networks learn from the rows, under one protocol.

tables = {}
for name, load in {"breast cancer": load_breast_cancer, "wine": load_wine}.items():
    X, y = load(return_X_y=True)
    data = X_train, X_test, y_train, y_test = train_test_split(X, y, stratify=y, random_state=0)
    distiller = RaTBPTTDistiller(
        ipc=IPC, init="kmeans", max_iter=40, window=10, unroll=30, random_state=0
    )
    tables[name] = distiller.fit(X_train, y_train), data
    print(f"\n{name}: {X_train.shape[0]} rows, {X_train.shape[1]} columns\n")
    data = X_train, y_train, X_test, y_test
    print(compare(distiller.distilled_, *data, n_networks=5, n_networks_whole=3))

# %%
# What other classifiers learn from them: mean accuracy over five seeds, on standardized columns.

accuracy = {}
for name, (distiller, (X_train, X_test, y_train, y_test)) in tables.items():
    scaler = StandardScaler().fit(X_train)
    sets = {"distilled": [distiller.transform()] * 5}
    for title, choose in {"random": random_samples, "k-means": kmeans_centroids}.items():
        rngs = map(np.random.default_rng, range(5))
        real = X_train, y_train, distiller.classes_, IPC
        sets[title] = [choose(*real, rng, scale=scaler.scale_) for rng in rngs]
    sets["all rows"] = [(X_train, y_train)] * 5
    accuracy[name] = {
        title: [
            100
            * np.mean(
                [
                    make(seed)
                    .fit(scaler.transform(rows), labels)
                    .score(scaler.transform(X_test), y_test)
                    for seed, (rows, labels) in enumerate(draws)
                ]
            )
            for make in CLASSIFIERS.values()
        ]
        for title, draws in sets.items()
    }

figure, axes = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained", sharey=True)
looks = {"distilled": ("tab:orange", "D"), "random": ("0.7", "o"), "k-means": ("0.5", "s")}
looks["all rows"] = ("0.1", "_")
for ax, (name, rows) in zip(axes, accuracy.items()):
    for k, (title, scores) in enumerate(rows.items()):
        color, marker = looks[title]
        places = np.arange(len(CLASSIFIERS)) + 0.15 * (k - 1.5)
        ax.scatter(places, scores, s=60, color=color, marker=marker, label=title)
    ax.set_xticks(range(len(CLASSIFIERS)), ["\n".join(text.rsplit(" ", 1)) for text in CLASSIFIERS])
    ax.set(title=name, xlim=(-0.5, len(CLASSIFIERS) - 0.5), ylim=(80, 101))
    ax.spines[["top", "right"]].set_visible(False)
axes[0].set_ylabel("test accuracy (%)")
figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
plt.show()

# %%
# Balance. A distilled set holds as many rows of a rare class as of a common one.
# ``DistillationSampler`` is a sampler in the sense of imbalanced-learn: put in front of a
# classifier in its pipeline, it replaces the training set, only in ``fit``, by a few synthetic rows
# per class. Of these 2,000 rows one in twenty is positive. The sampler gives both classes the same
# weight (``class_weight="balanced"``); without that, twenty balanced rows would still teach the
# frequencies of the two thousand.

X, y = make_classification(
    n_samples=2000, n_features=12, n_informative=6, weights=[0.95], class_sep=1.2, random_state=0
)
folds = StratifiedKFold(3, shuffle=True, random_state=0)
ten = {"sampling_strategy": {0: IPC, 1: IPC}, "random_state": 0}
distiller = RaTBPTTDistiller(
    ipc=IPC, init="kmeans", max_iter=40, window=10, unroll=30, random_state=0
)
samplers = {
    "all rows": "passthrough",
    "random, as many as the rare class": RandomUnderSampler(random_state=0),
    "random, 10 per class": RandomUnderSampler(**ten),
    "cluster centroids, 10 per class": ClusterCentroids(**ten),
    "distilled, 10 per class": DistillationSampler(distiller),
}
print(f"{'training rows':<36}balanced accuracy (%)")
for name, sampler in samplers.items():
    pipeline = make_pipeline(StandardScaler(), sampler, LogisticRegression())
    scores = cross_val_score(pipeline, X, y, cv=folds, scoring="balanced_accuracy")
    print(f"{name:<36}{100 * scores.mean():.1f} ± {100 * scores.std():.1f}")
