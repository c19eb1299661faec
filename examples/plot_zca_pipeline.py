"""
Whitened digits, and the way back
=================================

[Feng23, C.1] whitens images before it distills them. Here a pipeline does so: the distiller sees
whitened digits, its ten synthetic ones are whitened too, and the same pipeline turns them back into
brightness, so that we can look at them.
"""

import matplotlib.pyplot as plt
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline

from skdistill import RaTBPTTDistiller, ZCAWhitener

# %%
# Distill. Given images of 8 x 8 pixels, not rows of 64 values, ``ZCAWhitener`` follows the recipe
# of [Feng23]: every image minus its own mean, divided by its own norm, then whitened.

digits = load_digits()
X_train, X_test, y_train, y_test = train_test_split(
    digits.images, digits.target, stratify=digits.target, random_state=0
)

pipe = make_pipeline(
    ZCAWhitener(),
    RaTBPTTDistiller(
        ipc=1, image_shape=(1, 8, 8), max_iter=50, window=8, unroll=24, random_state=0
    ),
)
pipe.fit(X_train, y_train)

# %%
# Score. The pipeline whitens the test images, too, with what it learned from the training images.
# Fifty short steps are enough to look at, not to win: ten centroids of k-means, whitened as well,
# still score a little more.

print(f"Ten networks, trained on ten digits: {pipe.score(X_test, y_test):.1%} of the test digits")

# %%
# Look. All steps but the last can be inverted. Whitening stresses sharp edges; the way back tones
# them down again. A whitened sample has lost its own brightness and contrast, and synthetic samples
# never had any: they get the average of the training images.

X_syn, y_syn = pipe[-1].transform()
whitener = pipe[:-1]

rows = {
    "real, whitened": whitener.transform(X_train),
    "real, and back": whitener.inverse_transform(whitener.transform(X_train)),
    "distilled, whitened": X_syn,
    "distilled, and back": whitener.inverse_transform(X_syn),
}
first_of_class = [(y_train == label).argmax() for label in y_syn]

figure, axes = plt.subplots(4, 10, figsize=(9, 4.4), layout="constrained")
for (title, samples), axes_row in zip(rows.items(), axes):
    shown = samples[first_of_class] if title.startswith("real") else samples
    for ax, sample in zip(axes_row, shown):
        ax.imshow(sample, cmap="gray", vmin=shown.min(), vmax=shown.max())
        ax.set_axis_off()
    axes_row[0].set_title(title, loc="left", fontsize=10)

figure.savefig("zca_pipeline.png", dpi=120)
print("The figure is in zca_pipeline.png")
