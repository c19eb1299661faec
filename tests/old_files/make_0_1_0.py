"""Write files of skdistill 0.1.0, which later versions are to read: see `test_old_files.py`.

The files were written by that version, and are never written again:

    python tests/old_files/make_0_1_0.py tests/old_files/0.1.0

The next release gets a script and a folder of its own: copy this one, add what is new since, and
run it before anything else changes.
"""

import json
import platform
import sys
from functools import partial
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import sklearn
import torch
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import skdistill
from skdistill import (
    BoostedDistiller,
    DistilledDataset,
    DistributionMatchingDistiller,
    RaTBPTTDistiller,
)
from skdistill._engine import outer
from skdistill.hardness import HardnessSampler
from skdistill.networks import ConvNet
from skdistill.parametrization import LinearBasis
from skdistill.preprocessing import ZCAWhitener
from skdistill.windows import MovingWindow

STEPS = 6
# Outer steps after which runs are stopped, of both blocks together where there are blocks.
STOPPED_AFTER = {"boosted": STEPS + 3}
SHARED = {
    "max_iter": STEPS,
    "batch_size": 16,
    "n_networks": 2,
    "eval_steps": 20,
    "device": "cpu",
    "random_state": 0,
}
INNER = {"window": 2, "unroll": 4, "compile": False}
SMALL_NET = partial(ConvNet, width=4, depth=1)
NAMES = ["width", "height", "weight"]
RANGE = (-4, 4)
VALIDATED = {"validation_fraction": 0.25, "validation_interval": 2}

# What each run is made of: its data and its distiller.
RUNS = {
    "images": ("float32 images", lambda checkpoint: RaTBPTTDistiller(
        ipc=2, init="real", augmentation="dsa", architecture=SMALL_NET, checkpoint=checkpoint,
        **SHARED, **INNER,
    )),
    "table": ("float64 table", lambda checkpoint: RaTBPTTDistiller(
        ipc=2, learn_labels=True, schedule=MovingWindow(patience=2), checkpoint=checkpoint,
        sampler=HardnessSampler(n_networks=2, steps=5, renew_every=1), **SHARED, **INNER,
        **VALIDATED,
    )),
    "table32": ("float32 table", lambda checkpoint: RaTBPTTDistiller(
        ipc=2, inner_optimizer="sgd", inner_lr=0.01, inner_batch_size=1, learning_rate=0.05,
        checkpoint=checkpoint, **SHARED, **INNER, **VALIDATED,
    )),
    "basis": ("bytes", lambda checkpoint: RaTBPTTDistiller(
        ipc=3, parametrization=LinearBasis(4, downsample=2), schedule="early",
        architecture=SMALL_NET, checkpoint=checkpoint, **SHARED, **INNER,
    )),
    "matching": ("bytes", lambda checkpoint: DistributionMatchingDistiller(
        ipc=2, augmentation="flip_rotate", architecture=SMALL_NET, checkpoint=checkpoint,
        **SHARED, **VALIDATED,
    )),
    "boosted": ("float32 images", lambda checkpoint: BoostedDistiller(
        ipc=2, block_size=1, beta=0.1, checkpoint=checkpoint, random_state=0,
        distiller=RaTBPTTDistiller(
            architecture=SMALL_NET, **{**SHARED, **INNER, "random_state": None}
        ),
    )),
}  # fmt: skip


def make_data():
    """Return X and y of each small training set."""
    rng = np.random.default_rng(0)
    y = np.arange(40) % 2
    classes = np.array(["no", "yes"])[y]
    images = rng.integers(-16, 17, size=(40, 6, 6)) / 8
    images[:, :3] += 2 * y[:, None, None]
    table = rng.normal(size=(40, 3)) * [1, 10, 0.1] + y[:, None] * [1, 20, 0] + [0, 100, 1]
    pixels = rng.integers(256, size=(40, 6, 6, 3))
    pixels[..., 0] = (pixels[..., 0] + 255 * y[:, None, None]) // 2
    return {
        "float32 images": (images.astype(np.float32), y),
        "float64 table": (table, classes),
        "float32 table": (table.astype(np.float32), classes),
        "bytes": (pixels.astype(np.uint8), y + 5),
    }


def environment():
    """Return what bits may depend on."""
    return {
        "torch": str(torch.__version__),
        "numpy": np.__version__,
        "scikit-learn": sklearn.__version__,
        "machine": platform.machine(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "processor": processor(),
    }


def processor():
    """Return what tells this kind of processor from others that know the same instructions."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    fields = dict(line.split(":", 1) for line in lines if ":" in line)
    fields = {name.strip(): value.strip() for name, value in fields.items()}
    return " ".join(fields.get(name, "") for name in ("vendor_id", "cpu family", "model"))


def stop_after(n, fit, X, y):
    """Interrupt a fit after so many outer steps."""
    done = []

    def update(*args):
        if len(done) == n:
            raise KeyboardInterrupt
        done.append(1)
        return outer.update(*args)

    skdistill.base.update = update
    try:
        fit(X, y)
    except KeyboardInterrupt:
        return
    finally:
        skdistill.base.update = outer.update
    raise RuntimeError("it was to be interrupted.")


def write_runs(folder, data):
    """Stop each run in the middle, and keep where it would have ended."""
    ends = {}
    for name, (kind, make) in RUNS.items():
        path = folder / (name if name == "boosted" else f"{name}.npz")
        stop_after(STOPPED_AFTER.get(name, STEPS // 2), make(path).fit, *data[kind])
        whole = make(None).fit(*data[kind])
        X, y = whole.transform()
        ends |= {f"{name} X": X, f"{name} y": y, f"{name} loss": whole.history_["loss"]}
        yield name, whole
    np.savez(folder / "ends.npz", **ends)


def write_sets(folder, data, fitted):
    """Save a set of each kind, and what networks that it trains get of the training data right."""
    table, y = data["float64 table"]
    frame = pd.DataFrame(table, columns=NAMES)
    quick = {**SHARED, **INNER}
    scaled = make_pipeline(StandardScaler(), RaTBPTTDistiller(**quick)).fit(frame, y)
    images = data["float32 images"]
    small = RaTBPTTDistiller(architecture="convnet", **quick)
    white = make_pipeline(ZCAWhitener(), small).fit(*images)
    sets = {
        **{name: (RUNS[name][0], distiller.distilled_) for name, distiller in fitted.items()},
        "frame": ("float64 table", RaTBPTTDistiller(**quick).fit(frame, y).distilled_),
        "scaled": ("float64 table", DistilledDataset.from_pipeline(scaled)),
        "whitened": ("float32 images", DistilledDataset.from_pipeline(white)),
    }
    accuracies = {}
    for name, (kind, distilled) in sets.items():
        distilled.save(folder / f"{name}.npz")
        # Architectures that are no names are not in the file.
        given = None if distilled.recipe.architecture else SMALL_NET
        X, y = data[kind]
        result = skdistill.evaluation.evaluate(distilled, X, y, architecture=given, device="cpu")
        accuracies[name] = [kind, result.accuracies.tolist()]
    (folder / "accuracies.json").write_text(json.dumps(accuracies, indent=1) + "\n")
    images = sets["images"][1]
    images.export_images(folder.with_name("exported"), value_range=RANGE)
    return sets


def write_pickles(folder, data, sets, fitted):
    """Pickle a fitted distiller that is to go on, one of blocks, one of a frame, and a set."""
    kind, make = RUNS["images"]
    joblib.dump(
        make(None).set_params(warm_start=True, max_iter=STEPS // 2).fit(*data[kind]),
        folder / "distiller.joblib",
    )
    joblib.dump(fitted["boosted"], folder / "boosted.joblib")
    joblib.dump(sets["scaled"][1], folder / "distilled.joblib")
    table, y = data["float64 table"]
    frame = pd.DataFrame(table, columns=NAMES)
    joblib.dump(RaTBPTTDistiller(**SHARED, **INNER).fit(frame, y), folder / "frame.joblib")


def main(folder):
    """Write all."""
    if skdistill.__version__ != "0.1.0":
        raise SystemExit(
            f"Only skdistill 0.1.0 writes these files; this is {skdistill.__version__}."
        )
    torch.set_num_threads(1)
    for part in ("runs", "sets", "pickles"):
        (folder / part).mkdir(parents=True)
    data = make_data()
    np.savez(
        folder / "data.npz",
        **{f"{name} {part}": v for name, pair in data.items() for part, v in zip("Xy", pair)},
    )
    fitted = dict(write_runs(folder / "runs", data))
    sets = write_sets(folder / "sets", data, fitted)
    write_pickles(folder / "pickles", data, sets, fitted)
    (folder / "environment.json").write_text(json.dumps(environment(), indent=1) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
