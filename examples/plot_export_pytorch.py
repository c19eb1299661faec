"""
A distilled set in plain PyTorch
================================

A distilled set is a file of arrays. To use it, you need none of this package's networks: here a
plain PyTorch training loop learns from one. Two things must be right: real samples are
standardized as the synthetic ones were, and the number of steps is fixed beforehand.
"""

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn

from skdistill import DistilledDataset, RaTBPTTDistiller

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, stratify=y, random_state=0)

# %%
# One person distills and saves. The file holds samples, labels and the recipe, but no pickles.

folder = tempfile.TemporaryDirectory()
path = Path(folder.name, "digits.npz")
RaTBPTTDistiller(image_shape=(1, 8, 8), max_iter=50, window=6, unroll=18, random_state=0).fit(
    X_train, y_train
).distilled_.save(path)

# %%
# Another loads it. ``to_torch`` gives a ``TensorDataset`` of standardized images, as networks see
# them; ``standardize`` and ``encode_labels`` treat real ones in the same way.

distilled = DistilledDataset.load(path)
samples, labels = distilled.to_torch().tensors
print(distilled, samples.shape, labels)

X_real = torch.from_numpy(distilled.standardize(X_test))
y_real = torch.from_numpy(distilled.encode_labels(y_test))

# %%
# A network of your own, with instance normalization like the network that the digits were distilled
# for, and the usual loop.

torch.manual_seed(0)
network = nn.Sequential(
    nn.Conv2d(1, 48, 3, padding=1),
    nn.GroupNorm(48, 48),
    nn.ReLU(),
    nn.AvgPool2d(2),
    nn.Conv2d(48, 48, 3, padding=1),
    nn.GroupNorm(48, 48),
    nn.ReLU(),
    nn.AvgPool2d(2),
    nn.Flatten(),
    nn.Linear(48 * 2 * 2, 10),
)
optimizer = torch.optim.Adam(network.parameters(), lr=distilled.recipe.learning_rate)
curve = []
for step in range(distilled.recipe.steps):
    optimizer.zero_grad()
    loss = nn.functional.cross_entropy(network(samples), labels)
    loss.backward()
    optimizer.step()
    if step % 10 == 9:
        with torch.no_grad():
            curve.append((network(X_real).argmax(1) == y_real).float().mean().item())
print(f"After {step + 1} steps on {len(samples)} digits: {curve[-1]:.1%} of the test digits")

# %%
# The curve is only for looking at. The result is its last point: choosing the best point would mean
# choosing it on the test set.

figure, ax = plt.subplots(figsize=(5, 3.2), layout="constrained")
ax.plot(range(10, step + 2, 10), [100 * value for value in curve])
ax.set(xlabel="steps on the distilled digits", ylabel="test accuracy (%)", ylim=(0, 100))
ax.spines[["top", "right"]].set_visible(False)
plt.show()
folder.cleanup()
