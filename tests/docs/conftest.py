"""The scripts of the documentation can be imported here, as they import each other."""

import sys

from tools import ROOT

sys.path.insert(0, str(ROOT / "docs"))
