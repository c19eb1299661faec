"""Shared fixtures: small problems for the tests of every module."""

import errno
import os
from functools import partial
from pathlib import Path

import pytest
import tools
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from skdistill._engine.learner import Learner
from skdistill._engine.methods.unrolled import Unrolled
from skdistill.networks import MLP, ConvNet

# Several processes, as with pytest -n 2, would divide each small tensor among all cores.
if "PYTEST_XDIST_WORKER" in os.environ:
    torch.set_num_threads(1)

NETWORKS = {
    "convnet": partial(ConvNet, (1, 8, 8), 3, width=4, depth=2),
    "mlp": partial(MLP, (1, 8, 8), 3, width=6, depth=2),
}


@pytest.fixture(params=NETWORKS)
def learner(request):
    """Return a small float64 network family on 1 x 8 x 8 images of three classes."""
    return Learner(NETWORKS[request.param], dtype=torch.float64)


@pytest.fixture(scope="session")
def digits():
    """Return ``X_train, X_test, y_train, y_test`` of the 8 x 8 digits."""
    X, y = load_digits(return_X_y=True)
    return train_test_split(X, y, stratify=y, random_state=0)


@pytest.fixture
def images():
    """Return 40 images of 6 x 6 pixels in two classes that differ in brightness, and labels."""
    return tools.images()


@pytest.fixture
def table():
    """Return 30 rows of three features in two classes that overlap, and labels."""
    return tools.table()


@pytest.fixture
def cores():
    """Return a function that sets how many cores torch may use, until the test ends."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.fixture
def outer_step():
    """Return `tools.OuterStep`, which is undone when the test ends."""
    yield tools.OuterStep
    tools.OuterStep.undo()


@pytest.fixture
def rows(monkeypatch):
    """Return the list of the rows of each outer step's real batch."""
    seen, original = [], Unrolled._real_batch

    def noted(self, problem, rows, *rest):
        seen.append(rows.tolist())
        return original(self, problem, rows, *rest)

    monkeypatch.setattr(Unrolled, "_real_batch", noted)
    return seen


@pytest.fixture
def make_read_only(monkeypatch):
    """Return a function after which nothing in a folder can be written, even by root."""

    def make(folder, number=errno.EROFS):
        def guarded(function, writes=lambda *args: True):
            def call(path, *args, **kwargs):
                inside = isinstance(path, str | Path) and Path(path).is_relative_to(folder)
                if inside and writes(*args):
                    raise OSError(number, os.strerror(number), os.fspath(path))
                return function(path, *args, **kwargs)

            return call

        for name in ("link", "mkdir", "replace", "unlink"):
            monkeypatch.setattr(os, name, guarded(getattr(os, name)))
        flags = os.O_WRONLY | os.O_RDWR | os.O_CREAT
        monkeypatch.setattr(os, "open", guarded(os.open, lambda given, *rest: given & flags))

    return make
