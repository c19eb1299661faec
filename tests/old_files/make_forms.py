"""Write a set in each form that files of sets have had, by the code that first wrote that form.

The version of the format has always been 1: what files came to hold after the first samples, labels
and recipes may be absent. Each form here holds something that those before it did not, and its file
was saved by the commit that it is listed with:

    python tests/old_files/make_forms.py tests/old_files

makes ``forms``, and ``experts``, a cache of what a run prepares. Files that are there are not
written again. A new form gets an entry in `FORMS`, with the commit that first writes it.
"""

import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[2]


def ramp(*shape, low=-1.0, high=1.0):
    """Return single-precision numbers that rise evenly from one value to another."""
    return np.linspace(low, high, prod(shape), dtype=np.float32).reshape(shape)


@dataclass(frozen=True)
class Form:
    """A set that holds what came with a commit: one sample for each of two classes.

    Its parts are those of a `DistilledDataset`, where they differ from what `build` has for all.
    """

    commit: str
    # Of a sample: as the user has it, as networks see it, and whether channels come last.
    shapes: tuple = ((3,), (3,), False)
    recipe: dict = field(default_factory=dict)
    parts: dict = field(default_factory=dict)
    # The names of blocks' classes, and their arrays.
    blocks: tuple = ()
    preprocessing: Callable[[], Any] | None = None
    # Two samples to test networks on, as they are before preprocessing.
    samples: Callable[[], Any] | None = None

    def test_data(self):
        """Return two samples and their labels."""
        X = ramp(2, *self.shapes[0]) if self.samples is None else self.samples()
        return X, np.array(["no", "yes"])

    def build(self):
        """Return the set, made by the skdistill that is imported."""
        import skdistill
        from skdistill import distilled

        # Not by trial: an import hook may find what this one lacks in another skdistill.
        if Path(skdistill.__file__).with_name("_layout.py").exists():
            from skdistill._layout import Layout
        else:
            from skdistill._data.layout import Layout
        user, network, _ = self.shapes
        given = {"architecture": "mlp" if len(network) == 1 else "convnet", "steps": 5}
        recipe = distilled.EvaluationRecipe(
            layout=Layout(*self.shapes),
            mean=(0.0,) * network[0],
            scale=(1.0,) * network[0],
            **given | self.recipe,
        )
        given = {"X": ramp(2, *user), "y": np.array(["no", "yes"])}
        more = {}
        if self.blocks:
            more["bases"] = tuple(
                getattr(distilled, kind)(**arrays) for kind, arrays in self.blocks
            )
        if self.preprocessing is not None:
            more["preprocessing"] = self.preprocessing()
        return distilled.DistilledDataset(
            classes=np.array(["no", "yes"]),
            ipc=1,
            recipe=recipe,
            provenance={"method": "none", "commit": self.commit},
            **given | more | self.parts,
        )


def scaler():
    """Return a fitted scaler of three columns."""
    from sklearn.preprocessing import StandardScaler

    return StandardScaler().fit(ramp(4, 3, high=7.0).astype(float))


def frame():
    """Return two rows with a column of text, and one of numbers with a gap."""
    import pandas as pd

    return pd.DataFrame({"hue": ["red", "blue"], "size": [1.0, np.nan]})


def encoder():
    """Return a fitted transformer of such rows, to three columns."""
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.preprocessing import OneHotEncoder

    steps = [
        ("text", OneHotEncoder(sparse_output=False), ["hue"]),
        ("numbers", SimpleImputer(), ["size"]),
    ]
    return ColumnTransformer(steps).fit(frame())


GRAY, LAST = ((4, 4), (1, 4, 4), False), ((4, 4, 3), (3, 4, 4), True)

# By name, in the order of the commits.
FORMS = {
    "first": Form("58a1a5d", parts={"feature_names": ("width", "height", "weight")}),
    "preprocessing": Form("ecd70e3", preprocessing=scaler),
    "soft-labels-and-basis": Form(
        "441f033",
        GRAY,
        parts={"y": ramp(2, 2, low=0.0)},
        blocks=(
            (
                "BasisBlock",
                {"basis": ramp(3, 4, 4), "coefficients": ramp(2, 3), "offset": ramp(4, 4)},
            ),
        ),
    ),
    "smaller-basis": Form(
        "9a1d4e8",
        LAST,
        blocks=(
            (
                "BasisBlock",
                {"basis": ramp(3, 2, 2, 3), "coefficients": ramp(2, 3), "offset": ramp(4, 4, 3)},
            ),
        ),
    ),
    "augmentation": Form("7840dcc", GRAY, {"augmentation": {"class": "Rotation", "degrees": 15.0}}),
    "original-columns": Form(
        "c7f0285",
        parts={
            "target_name": "verdict",
            "original_dtypes": ({"categories": ["blue", "red"], "ordered": False}, "float64"),
        },
        preprocessing=encoder,
        samples=frame,
    ),
    "protocol": Form(
        "ae6f093",
        recipe={
            "loss": "mse",
            "optimizer": "sgd",
            "momentum": 0.9,
            "weight_decay": 0.001,
            "schedule": "cosine",
        },
    ),
    "network-with-options": Form(
        "c0bd5e3", GRAY, {"architecture": {"class": "ConvNet", "width": 4, "depth": 1}}
    ),
    "papers-protocol": Form(
        "ceafd27",
        recipe={
            "loss": "mse",
            "optimizer": "sgd",
            "learning_rate": "stable",
            "schedule": "step",
            "milestones": (0.25, 0.75),
            "gamma": 0.5,
            "warmup_steps": 2,
            "targets": "centered",
            "label_scale": 2.0,
            "subtract_initial": True,
        },
    ),
    "tiles": Form("53509fa", GRAY, blocks=(("TileBlock", {"tiles": ramp(2, 2, 2)}),)),
    "hallucinators": Form(
        "53509fa",
        GRAY,
        blocks=(
            (
                "HallucinatorBlock",
                {
                    "basis": ramp(1, 4, 4),
                    "conv_weight": ramp(2, 2, 1, 3, 3),
                    "conv_bias": ramp(2, 2),
                    "scale": ramp(2, 2, 2, 2),
                    "shift": ramp(2, 2, 2, 2),
                    "transposed_weight": ramp(2, 2, 1, 3, 3),
                    "transposed_bias": ramp(2, 1),
                    "pairs": np.array([[0, 0], [0, 1]]),
                    "offset": ramp(4, 4),
                },
            ),
        ),
    ),
}


# The commit whose code made the experts, the first result of a preparation that is kept.
EXPERTS = "fd01c44"


def fit_with_experts(folder):
    """Return a fitted distiller whose experts are kept in a folder, or are taken from there."""
    from skdistill import TrajectoryMatchingDistiller
    from skdistill.networks import MLP

    y = np.arange(20) % 2
    # Numbers that every machine has to the bit: a cache is one of certain data.
    X = (np.arange(60).reshape(20, 3) * 7 % 11 + 8 * y[:, None]) / 8
    distiller = TrajectoryMatchingDistiller(
        cache=folder, architecture=partial(MLP, width=4, depth=1), n_experts=1, max_start=1,
        epoch_steps=None, batch_size=10, expert_lr=0.01, syn_steps=3, inner_lr=0.01,
        inner_lr_lr=1e-4, max_iter=3, n_networks=1, eval_steps=5, device="cpu", random_state=0,
    )  # fmt: skip
    return distiller.fit(X, y)


def write_form(name, path):
    """Save the set of a form."""
    FORMS[name].build().save(path)


def write_experts(name, path):
    """Keep the experts of a run in a folder, and the losses of its outer steps beside them."""
    losses = fit_with_experts(path).history_["loss"]
    Path(path, "losses.json").write_text(json.dumps(losses) + "\n")


def at_commit(commit, function, *args):
    """Call a function of this script in a process that has the skdistill of a commit."""
    with tempfile.TemporaryDirectory() as folder:
        command = ["git", "archive", commit, "skdistill"]
        content = subprocess.run(command, cwd=ROOT, check=True, capture_output=True).stdout
        with tarfile.open(fileobj=io.BytesIO(content)) as archive:
            archive.extractall(folder, filter="data")
        subprocess.run(
            [sys.executable, __file__, "--call", function.__name__, *map(str, args)],
            env={**os.environ, "PYTHONPATH": folder},
            check=True,
        )


def main(folder):
    """Write what is missing."""
    (folder / "forms").mkdir(parents=True, exist_ok=True)
    for name, form in FORMS.items():
        path = folder / "forms" / f"{name}.npz"
        if not path.exists():
            at_commit(form.commit, write_form, name, path.resolve())
    if not (folder / "experts").exists():
        at_commit(EXPERTS, write_experts, "experts", (folder / "experts").resolve())


if __name__ == "__main__":
    if sys.argv[1] == "--call":
        globals()[sys.argv[2]](*sys.argv[3:])
        # All of it was that commit's, and nothing of a skdistill that is installed.
        files = [m.__file__ for name, m in sys.modules.items() if name.startswith("skdistill")]
        assert all(Path(file).is_relative_to(os.environ["PYTHONPATH"]) for file in files), files
    else:
        main(Path(sys.argv[1]))
