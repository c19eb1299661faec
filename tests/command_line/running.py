"""The command in this process, and data for it: a table with text and gaps, and pictures."""

import numpy as np
import pandas as pd
from click.testing import CliRunner
from PIL import Image

from skdistill._command_line.app import commands

# Small runs and evaluations.
QUICK = [
    f"--set={setting}"
    for setting in ("max_iter=2", "window=2", "unroll=4", "n_networks=2", "eval_steps=5")
]


def skdistill(*words):
    """Return the result of a command."""
    return CliRunner().invoke(commands, [str(word) for word in words])


def run(*words):
    """Return the result of a command that is to succeed."""
    result = skdistill(*words)
    assert result.exit_code == 0, result.output
    return result


def people(n=40, seed=0):
    """Return a table with a column of every kind that a CSV file can have."""
    rng = np.random.default_rng(seed)
    age = rng.integers(18, 90, n)
    income = rng.normal(3e4, 1e4, n).round(2)
    income[::7] = np.nan
    town = rng.choice(["Ulm", "Bern", "Graz"], n).astype(object)
    town[::9] = None
    return pd.DataFrame(
        {
            "age": age,
            "income": income,
            "town": town,
            "code": rng.choice(["01", "1", "A1"], n),
            "member": rng.random(n) < 0.5,
            "bought": np.where(age > 50, "yes", "no"),
        }
    )


def write_pictures(folder, sizes=((12, 12),), n=6, classes=("dark", "light")):
    """Write pictures of two classes that differ in brightness."""
    rng = np.random.default_rng(0)
    for label, gray in zip(classes, (60, 180)):
        (folder / label).mkdir(parents=True)
        for k in range(n):
            pixels = gray + rng.integers(0, 40, (*sizes[k % len(sizes)], 3))
            Image.fromarray(pixels.astype(np.uint8)).save(folder / label / f"{k}.png")
