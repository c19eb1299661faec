"""Tables of the pages are made from the benchmarks' files."""

import subprocess
import sys

from tools import ROOT

SCRIPT = ROOT / "docs" / "tables.py"


def test_tables_are_those_of_the_files():
    done = subprocess.run([sys.executable, SCRIPT, "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
