"""The package as it was at a commit, installed into a folder of its own."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def install(commit: str, folder: Path) -> dict[str, str]:
    """Build a commit's wheel, install it below a folder, and return the environment that has it.

    Its dependencies are those of this environment. One thread, because two processes are compared.
    """
    source, site = folder / "source", folder / "site"
    source.mkdir(parents=True)
    archive = subprocess.run(
        ["git", "archive", commit], check=True, cwd=ROOT, capture_output=True
    ).stdout
    subprocess.run(["tar", "-x", "-C", str(source)], input=archive, check=True)
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(site)]
    subprocess.run([*pip, str(source)], check=True, cwd=ROOT, stdout=subprocess.DEVNULL)
    return {**os.environ, "PYTHONPATH": str(site), "OMP_NUM_THREADS": "1"}
