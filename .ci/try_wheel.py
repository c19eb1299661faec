"""What an installed wheel must do where there are no sources: archives.py runs it there.

It is quick: archives.py is for what a wheel may lack, the tests for what the package does.
"""

import os
import shutil
import sys
from importlib.metadata import distribution
from pathlib import Path

import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import skdistill
from skdistill import DistilledDataset, RaTBPTTDistiller
from skdistill._engine import native
from skdistill.datasets import list_distilled, load_distilled
from skdistill.evaluation import evaluate

home = Path(skdistill.__file__).resolve().parent
assert home.is_relative_to(Path(sys.prefix).resolve()), f"skdistill is that of {home}"
installed = distribution("skdistill")
assert installed.version == skdistill.__version__
# Each command is there, with what it imports.
for command in installed.entry_points:
    assert callable(command.load()), command

# The sets that come with the package, and one of them as good as it is said to be.
assert {("digits", 1), ("fashion-mnist", 1), ("cifar10", 1)} <= set(list_distilled())
for name, ipc in list_distilled():
    load_distilled(name, ipc)
X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, stratify=y, random_state=0)
assert evaluate(load_distilled("digits"), X_test, y_test, n_networks=1, steps=100).mean > 0.85

# The functions in C are compiled from the source in the wheel. They are optional, so other systems
# may lack what they need.
compiler = os.environ.get("CC", "cc").split()[0]
if sys.platform == "linux" and shutil.which(compiler):
    assert native.load(torch.float32) is not None, "native.c was not compiled"

# A run, its file, and the file's evaluation.
distiller = RaTBPTTDistiller(
    image_shape=(1, 8, 8), max_iter=2, window=2, unroll=4, n_networks=1, eval_steps=5,
    random_state=0,
).fit(X_train, y_train)  # fmt: skip
distiller.distilled_.save("digits.npz")
again = evaluate(DistilledDataset.load("digits.npz"), X_test, y_test)
assert again.mean == distiller.score(X_test, y_test)
print(f"skdistill {installed.version} works from {home}")
