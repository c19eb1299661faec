"""
Four ways to truncate backpropagation through time
==================================================

A distiller differentiates through the training of a network. Through how much of it? [Feng23,
figure 4] compares four answers on CIFAR-10: all of the training (BPTT), its last steps (T-BPTT),
all of a random number of steps (R-BPTT), and a window of fixed length at a random place (RaT-BPTT).
Here is that comparison at the size of a laptop: 8 x 8 digits, one sample per class, one seed.
"""

from functools import partial

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from skdistill import RaTBPTTDistiller
from skdistill.networks import ConvNet

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, stratify=y, random_state=0)

# %%
# ``schedule`` says where the window sits; everything else is the same. BPTT and R-BPTT do not use
# ``window`` as the length, and differentiate more steps than the others, as the seconds show.
# Narrow networks keep the example short, and a larger learning rate than the default lets them get
# somewhere in few steps.

NAMES = {"bptt": "BPTT", "t-bptt": "T-BPTT", "r-bptt": "R-BPTT", "rat-bptt": "RaT-BPTT"}
distillers = {}
print(f"{'':<10}{'accuracy (%)':>14}{'seconds':>9}{'spread of the gradient norm':>29}")
for schedule, name in NAMES.items():
    distiller = RaTBPTTDistiller(
        image_shape=(1, 8, 8),
        architecture=partial(ConvNet, width=24),
        window=5,
        unroll=15,
        inner_lr=0.005,
        max_iter=30,
        schedule=schedule,
        n_networks=3,
        eval_steps=150,
        random_state=0,
    ).fit(X_train, y_train)
    distillers[name] = distiller
    result = distiller.evaluate(X_test, y_test)
    norms = np.array(distiller.history_["grad_norm"], dtype=float)
    seconds = distiller.distilled_.provenance["seconds"]
    print(
        f"{name:<10}{f'{100 * result.mean:.1f} ± {100 * result.std:.1f}':>14}{seconds:9.1f}"
        f"{norms.std() / norms.mean():29.2f}"
    )

# %%
# Left: the loss on real digits at the end of each outer step's training. These losses are only
# loosely comparable, because the trainings of R-BPTT and RaT-BPTT end at random steps: the
# accuracies above are what counts. Right: the norm of the meta-gradient. With thirty outer steps
# and one seed this shows how the schedules are used; it does not rank them. With other settings (a
# lower inner learning rate, window 6 of 18 steps) T-BPTT came out first.
# ``examples/reproduce/truncations.py`` compares them over three seeds.

figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
for name, distiller in distillers.items():
    loss = np.array(distiller.history_["loss"], dtype=float)
    smooth = np.convolve(loss, np.ones(9) / 9, mode="valid")
    left.plot(np.arange(len(smooth)) + 5, smooth, label=name)
    right.plot(np.arange(len(loss)) + 1, np.array(distiller.history_["grad_norm"], dtype=float))
left.set(xlabel="outer step (mean of nine)", ylabel="loss on real digits")
right.set(xlabel="outer step", ylabel="norm of the meta-gradient", yscale="log")
for ax in (left, right):
    ax.spines[["top", "right"]].set_visible(False)
left.legend(frameon=False)
plt.show()
