"""
Choosing window and unroll by grid search
=========================================

How many inner steps should be differentiated, and how far should networks be trained? A distiller
is an ordinary estimator, so scikit-learn's grid search can answer, by the accuracy on held-out
folds. The fits run in two processes.

The ablation of [Feng23, C.2] does this on CIFAR-10: unrolling between twice and five times the
window changes little, and it settles on about three times.
"""

import matplotlib.pyplot as plt
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV, StratifiedKFold, train_test_split

from skdistill import DistilledDataset, RaTBPTTDistiller

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, stratify=y, random_state=0)

# %%
# Short runs are enough to compare settings. A candidate that cannot work, such as a window longer
# than the unrolling, would score NaN with a warning; it would not stop the search.

distiller = RaTBPTTDistiller(
    image_shape=(1, 8, 8), max_iter=30, n_networks=3, eval_steps=100, random_state=0
)
grid = {"window": [5, 15], "unroll": [20, 40]}
search = GridSearchCV(
    distiller, grid, cv=StratifiedKFold(2, shuffle=True, random_state=0), n_jobs=2
)
search.fit(X_train, y_train)
print(
    f"Best of the grid: {search.best_params_}, {100 * search.best_score_:.1f} % on held-out folds"
)
print(f"On the test set: {100 * search.score(X_test, y_test):.1f} %")

# %%
# The best set is saved with its recipe, and loads where torch is not installed.

search.best_estimator_.distilled_.save("digits-search.npz")
print(DistilledDataset.load("digits-search.npz"))

# %%
# The grid as a heat map.

scores = 100 * search.cv_results_["mean_test_score"].reshape(2, 2)
figure, ax = plt.subplots(figsize=(4.2, 3.4), layout="constrained")
image = ax.imshow(scores.T, cmap="viridis")
for (row, column), score in zip([(0, 0), (0, 1), (1, 0), (1, 1)], scores.T.ravel()):
    dark = score < scores.mean()
    ax.text(column, row, f"{score:.1f}", ha="center", va="center", color="w" if dark else "k")
ax.set_xticks([0, 1], grid["unroll"])
ax.set_yticks([0, 1], grid["window"])
ax.set(xlabel="unroll", ylabel="window", title="Held-out accuracy (%)")
figure.colorbar(image)
figure.savefig("grid_search.png", dpi=120)
