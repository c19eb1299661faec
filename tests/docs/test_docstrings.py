"""The examples in the docstrings run and print what they say."""

import ast
import doctest
import inspect
import pkgutil
from importlib import import_module

import pytest

import skdistill

# Packages and private modules, too: every example in a docstring must be true.
MODULES = [
    "skdistill",
    *(name for _, name, _ in pkgutil.walk_packages(skdistill.__path__, "skdistill.")),
]
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef)


def written(module):
    """Count the docstrings with examples in a module's source."""
    nodes = ast.walk(ast.parse(inspect.getsource(module)))
    return sum(">>>" in (ast.get_docstring(n) or "") for n in nodes if isinstance(n, DOCUMENTED))


@pytest.mark.parametrize("name", MODULES)
def test_examples(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    module = import_module(name)
    found = [test for test in doctest.DocTestFinder().find(module) if test.examples]
    # doctest skips what it cannot see, such as docstrings behind a decorator's property.
    assert len(found) == written(module)
    assert doctest.testmod(module).failed == 0


def test_there_are_examples_to_run():
    assert sum(written(import_module(name)) for name in MODULES) > 35
    assert {"skdistill", "skdistill.datasets", "skdistill._engine.unroll"} <= set(MODULES)
