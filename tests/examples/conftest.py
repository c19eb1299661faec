"""Ways to import and to start the scripts of ``examples/reproduce``."""

import argparse
import importlib
import runpy
import sys
import traceback
from pathlib import Path

import pytest
import torch
from tools import ROOT

SCRIPTS = ROOT / "examples" / "reproduce"


@pytest.fixture
def shared(monkeypatch):
    """Return a function that imports what the scripts share, as they do."""
    # "data" and "report" are names that others may have, too: the benchmarks, for example.
    for path in SCRIPTS.glob("*.py"):
        monkeypatch.delitem(sys.modules, path.stem, raising=False)
    before = set(sys.modules)
    monkeypatch.syspath_prepend(SCRIPTS)
    yield importlib.import_module
    for name in set(sys.modules) - before:
        if Path(getattr(sys.modules[name], "__file__", None) or "/").parent == SCRIPTS:
            del sys.modules[name]


@pytest.fixture
def start(shared, monkeypatch, capsys):
    """Return a function that runs a script as the command line does, but in this process."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)

    def run(script, *arguments):
        monkeypatch.setattr(sys, "argv", [f"{script}.py", *map(str, arguments)])
        code, message = 0, ""
        try:
            runpy.run_path(str(SCRIPTS / f"{script}.py"), run_name="__main__")
        except SystemExit as stop:
            code, message = (1, stop.code) if isinstance(stop.code, str) else (stop.code or 0, "")
        except Exception:
            code, message = 1, traceback.format_exc()
        printed = capsys.readouterr()
        return argparse.Namespace(returncode=code, stdout=printed.out, stderr=printed.err + message)

    return run
