"""The conda recipe says of the package what the package says of itself."""

import re
import tomllib

import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from tools import ROOT

import skdistill

PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT = PYPROJECT["project"]
TEXT = (ROOT / "docs" / "conda" / "recipe.yaml").read_text()
CONTEXT = yaml.safe_load(TEXT)["context"]
RECIPE = yaml.safe_load(
    re.sub(r"\$\{\{ (version|python_min) \}\}", lambda match: CONTEXT[match[1]], TEXT)
)
# Packages that conda's channels have under other names.
CONDA_NAMES = {"torch": "pytorch"}


def python_requirements(lines):
    """Return requirements as pyproject.toml has them: versions by conda's names."""
    found = {}
    for requirement in map(Requirement, lines):
        # The recipe would need a selector for these.
        assert (requirement.marker, requirement.extras) == (None, set()), requirement
        found[CONDA_NAMES.get(requirement.name, requirement.name)] = requirement.specifier
    return found


def conda_requirements(lines):
    """Return requirements as the recipe has them: versions by names."""
    parts = [line.partition(" ") for line in lines]
    return {name: SpecifierSet(versions) for name, _, versions in parts}


def recipe_tests(kind):
    """Return the recipe's one test of a kind."""
    (found,) = (each[kind] for each in RECIPE["tests"] if kind in each)
    return found


def test_the_requirements_are_those_of_the_package():
    needed = python_requirements(PROJECT["dependencies"])
    needed["python"] = SpecifierSet(PROJECT["requires-python"])
    assert conda_requirements(RECIPE["requirements"]["run"]) == needed


def test_it_is_built_with_what_the_package_is_built_with():
    needed = python_requirements(PYPROJECT["build-system"]["requires"])
    host = [line for line in RECIPE["requirements"]["host"] if not line.startswith("python ")]
    assert conda_requirements(host) == {**needed, "pip": SpecifierSet()}
    # Built and tested with the oldest Python that the package allows.
    oldest = PROJECT["requires-python"].removeprefix(">=")
    assert f"python {oldest}.*" in RECIPE["requirements"]["host"]
    assert recipe_tests("python")["python_version"] == f"{oldest}.*"


def test_it_is_this_version_of_this_package():
    assert RECIPE["package"] == {"name": PROJECT["name"], "version": skdistill.__version__}
    about = RECIPE["about"]
    assert (about["license"], about["summary"]) == (PROJECT["license"], PROJECT["description"])
    assert [about["license_file"]] == PROJECT["license-files"]


def test_what_it_looks_for_and_imports_is_there():
    contents = recipe_tests("package_contents")
    assert all((ROOT / name).is_file() for name in contents["site_packages"])
    for name in recipe_tests("python")["imports"]:
        path = ROOT.joinpath(*name.split("."))
        assert (path / "__init__.py").is_file() or path.with_suffix(".py").is_file(), name
