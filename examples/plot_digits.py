"""
Ten synthetic digits that train a network
=========================================

Three quarters of scikit-learn's handwritten digits, some 1,350 images of 8 x 8 pixels, are
distilled into ten: one per class. Networks trained on the ten alone then read the held-out quarter.
They are compared with networks trained on ten real images, on class means, and on all 1,350.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.callback import ProgressBar
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from skdistill import RaTBPTTDistiller
from skdistill.evaluation import compare

# %%
# Distill. Each row of ``X`` is a flat image, so we say what its shape is.

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, stratify=y, random_state=0)

distiller = RaTBPTTDistiller(ipc=1, image_shape=(1, 8, 8), random_state=0)
distiller.set_callbacks(ProgressBar())
distiller.fit(X_train, y_train)
X_syn, y_syn = distiller.transform()

print(f"Distilled {len(X_train)} images into {len(X_syn)}: {X_syn.shape}, labels {y_syn}\n")

# %%
# Compare. Every row of the table trains freshly initialized networks in the same way: Adam, a
# number of steps that was fixed beforehand, and no look at the test set.

comparison = compare(distiller.distilled_, X_train, y_train, X_test, y_test, n_networks_whole=1)
print(comparison)

# %%
# Look. The images are not typical digits: they are images that move a network the right way.

figure = plt.figure(figsize=(9, 4.2), layout="constrained")
images, curve = figure.subfigures(1, 2, width_ratios=(1.25, 1))

means = [X_train[y_train == label].mean(axis=0) for label in distiller.classes_]
for row, (title, samples) in enumerate([("distilled", X_syn), ("class mean", means)]):
    for column, sample in enumerate(samples):
        ax = images.add_subplot(4, 5, 10 * row + column + 1)
        ax.imshow(np.reshape(sample, (8, 8)), cmap="gray")
        ax.set_axis_off()
        if column == 0:
            ax.set_title(title, loc="left", fontsize=10)

ax = curve.subplots()
loss = np.array(distiller.history_["loss"], dtype=float)
smooth = np.convolve(loss, np.ones(15) / 15, mode="valid")
ax.plot(np.arange(1, len(loss) + 1), loss, color="tab:blue", alpha=0.25)
ax.plot(np.arange(len(smooth)) + 8, smooth, color="tab:blue", label="mean of 15 steps")
ax.set(xlabel="outer step", ylabel="loss on real digits", ylim=(0, None))
ax.legend(frameon=False)
ax.spines[["top", "right"]].set_visible(False)

figure.savefig("digits.png", dpi=120)
print("\nThe figure is in digits.png")
