"""
Labels can be learned, too
==========================

With ``learn_labels=True`` the distiller moves the labels as well as the samples: from one-hot rows
to whatever teaches networks best. [Feng23, C.1] does so wherever there are many classes, and for 50
images per class of CIFAR-10. Labels stay non-negative, and need not sum to one. With ten classes
and few outer steps, as here, do not expect a gain: there is more to learn, and the labels are still
on their way. (Forty short steps show what the option does. They are no match for the centroids of
k-means, as ``skdistill.diagnose`` would say.)
"""

import matplotlib.pyplot as plt
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from skdistill import RaTBPTTDistiller
from skdistill.evaluation import evaluate

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, stratify=y, random_state=0)

# %%
# The same run with fixed and with learned labels.

sets = {}
for learn_labels in (False, True):
    distiller = RaTBPTTDistiller(
        image_shape=(1, 8, 8),
        max_iter=40,
        window=5,
        unroll=15,
        learn_labels=learn_labels,
        n_networks=3,
        eval_steps=150,
        random_state=0,
    ).fit(X_train, y_train)
    sets["learned" if learn_labels else "fixed"] = distiller.distilled_

# %%
# ``transform`` returns one row of soft labels per sample. Labels take storage, too: ``storage``
# counts them, in units of samples per class. In the last row of the table the learned labels are
# replaced by the class of the largest one, although the samples were distilled with soft labels.

sets["learned, made hard"] = sets["learned"].with_hard_labels()
print(f"{'labels':<20}{'storage':>9}  accuracy")
for name, distilled in sets.items():
    print(f"{name:<20}{distilled.storage:9.2f}  {evaluate(distilled, X_test, y_test)}")

# %%
# The labels: each row is a sample. Values off the diagonal tell networks which digits look alike.

figure, ax = plt.subplots(figsize=(4.6, 3.8), layout="constrained")
image = ax.imshow(sets["learned"].y, cmap="viridis")
ax.set_xticks(range(10), sets["learned"].classes)
ax.set_yticks(range(10), sets["learned"].hard_labels())
ax.set(xlabel="class", ylabel="synthetic sample of class", title="Learned labels")
figure.colorbar(image)
plt.show()
