"""
More samples in the same storage: a linear basis
================================================

Samples can be made of a few bases that all classes share, each with coefficients of its own
([Feng23, 4.2], after Deng and Russakovsky). A basis takes the storage of a sample, a further sample
only that of its coefficients: here 50 synthetic digits fit in about the storage of ten. The gain
that [Feng23] reports took long runs; few outer steps, as here, do not show it.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from skdistill import RaTBPTTDistiller
from skdistill.parametrization import LinearBasis

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, stratify=y, random_state=0)
settings = {
    "image_shape": (1, 8, 8),
    "max_iter": 30,
    "window": 5,
    "unroll": 15,
    "n_networks": 3,
    "eval_steps": 100,
    "random_state": 0,
}

# %%
# One digit per class, learned pixel by pixel, and five per class made of six bases.

distillers = {
    "pixels": RaTBPTTDistiller(1, **settings),
    "six bases": RaTBPTTDistiller(5, parametrization=LinearBasis(n_basis=6), **settings),
}
print(f"{'learned':<12}{'samples per class':>17}{'storage':>9}  accuracy")
for name, distiller in distillers.items():
    distilled = distiller.fit(X_train, y_train).distilled_
    result = distiller.evaluate(X_test, y_test)
    print(f"{name:<12}{distilled.ipc:17d}{distilled.storage:9.2f}  {result}")

# %%
# The bases, and the first sample of each class. The set is an ordinary one: it holds the samples as
# if they had been learned one by one, and ``distilled_.bases`` says what they are made of.

distilled = distillers["six bases"].distilled_
bases, samples = distilled.bases[0].basis, distilled.X[:10]
figure, axes = plt.subplots(2, 10, figsize=(9, 2.3), layout="constrained")
for row, (title, shown) in zip(axes, [("bases", bases), ("samples", samples)]):
    for ax in row:
        ax.set_axis_off()
    for ax, image in zip(row, shown):
        ax.imshow(np.reshape(image, (8, 8)), cmap="gray")
    row[0].set_title(title, loc="left", fontsize=10)
plt.show()
