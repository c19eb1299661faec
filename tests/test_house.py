"""The architecture: imports only go down, and the page about it names every module."""

import ast
import json
import re
import subprocess
import sys

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


# Imports against the order, each for a reason: types alone, and a method of a set that evaluates.
UP = {
    ("_engine.protocols", "distilled._protocol"),
    ("distilled._card", "evaluation._protocol"),
    ("distilled._dataset", "evaluation._papers"),
    ("distilled._dataset", "evaluation._protocol"),
    ("distilled._hub", "evaluation._protocol"),
}


def imports(module, deep=False):
    """Return the modules of this package that one imports when it is imported or, deep, ever."""
    path = FILES[module]
    package = module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]
    tree = ast.parse(path.read_text())
    found = set()
    for node in ast.walk(tree) if deep else tree.body:
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
    # The package itself imports from all floors, when a name is used.
    modules = [module for module in FILES if room(module)]
    up = {
        (module.removeprefix("skdistill."), other.removeprefix("skdistill."))
        for module in modules
        for other in imports(module, deep=True)
        if room(other) != room(module) and floor.get(room(other), -1) >= floor[room(module)]
    }
    # Rooms of one floor may be used by each other in one direction, see the test above.
    same = {(a, b) for a, b in up if floor[a.split(".")[0]] == floor[b.split(".")[0]]}
    assert up - same == UP


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
    assert sorted(names - set(re.findall(r"\w+", page))) == []
