"""
Which samples does a distilled set teach?
=========================================

As in figure 10 of [Feng23], score every real sample by how often networks forget it while they
train on all of the data. Then see how networks that were trained on a distilled set do on the easy
and on the hard samples. It is the hard ones that the set does not teach.
"""

import matplotlib.pyplot as plt
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from skdistill import RaTBPTTDistiller
from skdistill.hardness import accuracy_by_hardness, forgetting_scores
from skdistill.inspection import HardnessDisplay

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, stratify=y, random_state=0)

# %%
# Forgetting events per network in six epochs, averaged over two networks. [Feng23] averages over
# ten networks.

scores = forgetting_scores(
    X_train,
    y_train,
    image_shape=(1, 8, 8),
    n_networks=2,
    n_epochs=6,
    random_state=0,
)
print(f"{(scores == 0).mean():.0%} of the digits were never forgotten.")

# %%
# Distill one and three samples per class, and test on the samples that were scored, from easy to
# hard.

sets = {}
for ipc in (1, 3):
    distiller = RaTBPTTDistiller(
        ipc, image_shape=(1, 8, 8), max_iter=20, window=5, unroll=15, eval_steps=100, random_state=0
    )
    sets[f"{ipc} per class"] = distiller.fit(X_train, y_train).distilled_

result = accuracy_by_hardness(
    sets,
    X_train,
    y_train,
    scores,
    n_networks=3,
    n_networks_whole=1,
    bins=[0, 0.25, 0.75, max(scores.max(), 1)],
)
print(result)

# %%
# Accuracy by hardness, and the number of samples in each bin. A bin with few samples says little.

display = HardnessDisplay.from_result(result, xlabel="forgetting events per network")
display.ax_.legend(loc="center right", frameon=False)
plt.show()
