"""The architecture: imports only go down, and the page about it names every module."""

import ast
import json
import subprocess
import sys

import pytest
from tools import ROOT

PACKAGE = ROOT / "skdistill"
FILES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in PACKAGE.rglob("*.py")
}
# Packages and modules from bottom to top: each may import from those before it.
FLOORS = [
    {"exceptions", "_version", "_old_names"},
    {"_engine"},
    {"_data"},
    {"_files"},
    {"distilled", "networks", "windows", "augmentation", "sampling", "coresets", "forecast"}
    | {"learning_rates"},
    {"parametrization", "preprocessing", "paper", "kernel_ridge"},
    {"evaluation"},
    {"hardness", "intercorrelation", "_run"},
    {"distillers"},
    {"adapters", "diagnosis", "inspection", "datasets", "monitoring", "pruning"},
    {"_command_line", "__main__"},
]


def imports(module):
    """Return the modules of this package that one imports when it is imported."""
    path = FILES[module]
    package = module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]
    found = set()
    for node in ast.parse(path.read_text()).body:
        if not isinstance(node, ast.ImportFrom):
            continue
        base = package[: len(package) - node.level + 1] if node.level else []
        name = ".".join(base + ([node.module] if node.module else []))
        for alias in node.names:
            target = f"{name}.{alias.name}" if f"{name}.{alias.name}" in FILES else name
            found |= {target} & FILES.keys() - {module}
    return found


def room(module):
    return [*module.split("."), ""][1]


GRAPH = {module: imports(module) for module in FILES}


def test_there_is_no_circle():
    def reached(module):
        seen, todo = set(), [module]
        while todo:
            new = GRAPH[todo.pop()] - seen
            seen |= new
            todo += new
        return seen

    assert GRAPH["skdistill.adapters"]
    assert [module for module in GRAPH if module in reached(module)] == []


def test_imports_go_down():
    floor = {name: k for k, names in enumerate(FLOORS) for name in names}
    assert {room(module) for module in FILES} - {""} == floor.keys()
    # The package itself imports from the lowest floor, and from others when a name is used.
    floor[""] = -1
    up = [
        (module, other)
        for module, others in GRAPH.items()
        for other in others
        if room(module) and room(other) != room(module)
        and floor[room(other)] >= floor[room(module)]
    ]  # fmt: skip
    allowed = {(a, b) for a, b in up if floor[room(a)] == floor[room(b)] and room(a) < room(b)}
    assert [pair for pair in up if pair not in allowed] == []


@pytest.mark.parametrize("parts", ["_engine"])
def test_the_engine_knows_nothing_above_it(parts):
    outside = {
        (module, other)
        for module, others in GRAPH.items()
        if room(module) == parts
        for other in others
        if room(other) not in (parts, "exceptions")
    }
    assert outside == set()


CHECK = """
import importlib, json, sys
for name in json.loads(sys.argv[1]):
    importlib.import_module(name)
print(json.dumps([name for name in json.loads(sys.argv[2]) if name in sys.modules]))
"""


def loaded_with(modules, names):
    """Return which of these names are loaded when modules are imported in a fresh process."""
    command = [sys.executable, "-c", CHECK, json.dumps(sorted(modules)), json.dumps(names)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    return json.loads(done.stdout)


def test_files_need_no_torch():
    modules = [module for module in FILES if room(module) == "_files"]
    assert len(modules) > 3
    strangers = ["torch", "torchvision", "huggingface_hub", "datasets", "pandas"]
    assert loaded_with([*modules, "skdistill.distilled"], strangers) == []


def test_the_engine_needs_no_scikit_learn():
    modules = [module for module in FILES if room(module) == "_engine"]
    assert len(modules) > 10
    assert loaded_with(modules, ["sklearn"]) == []


def test_the_page_of_the_architecture_names_every_module():
    page = (ROOT / "docs/architecture.rst").read_text()
    names = {path.stem for path in FILES.values() if path.name != "__init__.py"}
    names |= {path.parent.name for path in FILES.values() if path.name == "__init__.py"}
    assert sorted(name for name in names if name not in page) == []
