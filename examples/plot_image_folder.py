"""
From a folder of pictures to a distilled set
============================================

Six lines turn your own pictures, in a folder that holds one folder per class, into a distilled set
and its score. This example needs no download, because it makes the pictures first: scikit-learn's
digits, enlarged and saved as JPEG files.
"""

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from skdistill import RaTBPTTDistiller
from skdistill.datasets import load_image_folder
from skdistill.inspection import DistilledImagesDisplay

# %%
# The pictures: 120 of each of the digits 0 to 3, 32 x 32 pixels.

pictures = tempfile.TemporaryDirectory()
digits = load_digits(n_class=4)
for name in range(4):
    folder = Path(pictures.name, f"digit {name}")
    folder.mkdir()
    for k, image in enumerate(digits.images[digits.target == name][:120]):
        gray = Image.fromarray((image * 255 / 16).astype(np.uint8))
        gray.resize((32, 32), Image.Resampling.BICUBIC).save(folder / f"{k:03d}.jpg", quality=90)

# %%
# The six lines. ``mode="L"`` reads the pictures in gray; the default is color. ``size`` makes them
# squares of one size; small ones are quick.

X, y = load_image_folder(pictures.name, size=12, mode="L", return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, stratify=y, random_state=0)
distiller = RaTBPTTDistiller(ipc=1, max_iter=40, window=5, unroll=15, n_networks=5, random_state=0)
distiller.fit(X_train, y_train)
result = distiller.evaluate(X_test, y_test)
distiller.distilled_.save(Path(pictures.name, "pictures.npz"))

# %%
# How good is it? Four pictures trained the networks. The labels are positions in the list of class
# folders, which is ``target_names`` of ``load_image_folder(...)`` without ``return_X_y``.

print(f"{len(X_train)} pictures became {len(distiller.distilled_)}.")
print(f"Networks trained on these read the held-out pictures with {result}")

DistilledImagesDisplay.from_estimator(distiller)
plt.show()
pictures.cleanup()
