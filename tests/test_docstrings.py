"""The examples in the docstrings run and print what they say."""

import doctest
import pkgutil
from importlib import import_module

import pytest

import skdistill

MODULES = [
    name
    for _, name, is_package in pkgutil.walk_packages(skdistill.__path__, "skdistill.")
    if not is_package
]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert doctest.testmod(import_module(name)).failed == 0
