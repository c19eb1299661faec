"""
Distilled or chosen? When coresets are enough
=============================================

Before you distill, see what choosing does: random samples, herding, and k-means centroids cost
seconds. ``compare`` trains the same networks on each under one protocol. On data as easy as this,
the digits 0 to 4, well-chosen samples are hard to beat, and a run as short as this one may lose to
them: the run of some ten seconds in :ref:`sphx_glr_auto_examples_plot_digits.py` does better.
"""

import matplotlib.pyplot as plt
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from skdistill import RaTBPTTDistiller
from skdistill.evaluation import compare

X, y = load_digits(n_class=5, return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, stratify=y, random_state=0)

# %%
# Short runs, with one and three samples per class. The three start from the centroids of k-means,
# so the difference between two rows of the table is what distilling adds to these.

rows = ["random real samples", "herding", "k-means centroids"]
comparisons = {}
for ipc, init in [(1, "gaussian"), (3, "kmeans")]:
    distiller = RaTBPTTDistiller(
        ipc,
        image_shape=(1, 8, 8),
        init=init,
        max_iter=25,
        window=5,
        unroll=15,
        eval_steps=100,
        random_state=0,
    ).fit(X_train, y_train)
    comparisons[ipc] = compare(
        distiller.distilled_,
        X_train,
        y_train,
        X_test,
        y_test,
        baselines=rows,
        n_networks=3,
        n_draws=3,
    )
    print(f"\n{ipc} per class\n{comparisons[ipc]}")

# %%
# Bars, with one standard deviation over networks (and over draws, for random samples).

figure, axes = plt.subplots(1, 2, figsize=(8, 3), layout="constrained", sharex=True)
for ax, (ipc, comparison) in zip(axes, comparisons.items()):
    names = list(comparison.results)[::-1]
    means = [100 * comparison[name].mean for name in names]
    stds = [100 * comparison[name].std for name in names]
    colors = ["tab:orange" if name == "distilled" else "tab:gray" for name in names]
    ax.barh(names, means, xerr=stds, color=colors)
    ax.set(xlabel="test accuracy (%)", xlim=(0, 100), title=f"{ipc} per class")
    ax.spines[["top", "right"]].set_visible(False)
axes[1].set_yticklabels([])
plt.show()
