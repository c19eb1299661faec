"""
Tables: ten rows a class
========================

A distiller takes plain tables, too: rows in, rows out, in the units of the columns. Here three of
scikit-learn's own tables are distilled to ten rows a class, and networks trained on those rows are
put beside networks trained on ten random rows and on ten k-means centroids a class.

The rows are made for the kind of network that they were distilled through. What other classifiers
learn from them is another question; the second table answers it.
"""

import numpy as np
from sklearn.datasets import load_breast_cancer, load_digits, load_wine
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler

from skdistill import RaTBPTTDistiller
from skdistill.coresets import kmeans_centroids, random_samples
from skdistill.evaluation import compare

IPC = 10
CLASSIFIERS = {
    "logistic regression": lambda seed: LogisticRegression(max_iter=1000),
    "random forest": lambda seed: RandomForestClassifier(random_state=seed),
    "3 nearest neighbours": lambda seed: KNeighborsClassifier(3),
}

for load in (load_breast_cancer, load_wine, load_digits):
    X, y = load(return_X_y=True)
    X_train, X_test, y_train, y_test = train_test_split(X, y, stratify=y, random_state=0)
    distiller = RaTBPTTDistiller(ipc=IPC, init="kmeans", max_iter=100, random_state=0)
    distiller.fit(X_train, y_train)

    # %%
    # For networks, under one protocol.
    name = load.__name__.removeprefix("load_")
    print(f"\n{name}: {X_train.shape[0]} rows, {X_train.shape[1]} columns\n")
    print(compare(distiller.distilled_, X_train, y_train, X_test, y_test, n_networks_whole=3))

    # %%
    # For other classifiers: mean accuracy over five seeds, on standardised columns.
    scaler = StandardScaler().fit(X_train)
    sets = {
        "distilled": [distiller.transform()] * 5,
        "whole training set": [(X_train, y_train)] * 5,
    }
    for title, choose in {"random": random_samples, "k-means": kmeans_centroids}.items():
        rngs = map(np.random.default_rng, range(5))
        sets[title] = [choose(X_train, y_train, distiller.classes_, IPC, rng) for rng in rngs]
    print(f"\n{'test accuracy (%)':<22}" + "".join(f"{title:>20}" for title in sets))
    for title, make in CLASSIFIERS.items():
        row = []
        for draws in sets.values():
            scores = [
                make(seed)
                .fit(scaler.transform(rows), labels)
                .score(scaler.transform(X_test), y_test)
                for seed, (rows, labels) in enumerate(draws)
            ]
            row.append(100 * np.mean(scores))
        print(f"{title:<22}" + "".join(f"{score:20.1f}" for score in row))
