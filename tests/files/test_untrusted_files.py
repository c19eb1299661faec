"""Files from anywhere: they load as they were or are refused, and never run code."""

import ast
import hashlib
import io
import json
import os
import re
import sys
import tarfile
from math import prod
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.decomposition import PCA
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler
from torch import nn
from torchvision.datasets import CIFAR10

import skdistill
from skdistill import DistilledDataset, RaTBPTTDistiller
from skdistill._files import npz as _npz
from skdistill._run.checkpoint import Checkpoint
from skdistill.datasets import fetch_cifar10, load_cub200, load_tiny_imagenet
from skdistill.exceptions import InvalidFileError
from skdistill.parametrization import Hallucinated, LinearBasis

PACKAGE = Path(skdistill.__file__).parent


# --- kinds of files ---------------------------------------------------------------------------


def fit(path=None, **parameters):
    rng = np.random.default_rng(0)
    y = np.array(["a", "bc"])[np.arange(30) % 2]
    X = rng.normal(size=(30, 3)) + (np.arange(30) % 2)[:, None]
    distiller = tiny_distiller(checkpoint=path, **parameters)
    return make_pipeline(StandardScaler(), PCA(), distiller).fit(X, y)


def tiny_distiller(**parameters):
    return RaTBPTTDistiller(
        window=1, unroll=2, architecture=tiny_mlp, random_state=0, device="cpu",
        validation_fraction=0.3, validation_interval=2, n_networks=1, eval_steps=2,
        **{"max_iter": 3, **parameters},
    )  # fmt: skip


def fit_hallucinators():
    X = np.random.default_rng(0).normal(size=(30, 4, 4))
    return tiny_distiller(ipc=2, parametrization=Hallucinated(2)).fit(X, np.arange(30) % 2)


def fit_encoders():
    """Return a pipeline whose preprocessing has a bit of all that can be written down."""
    X = pd.DataFrame(
        {
            "a": [1.5, np.nan] * 15,
            "b": pd.Series(["x", None, "y\0"] * 10, dtype=object),
            "c": pd.Series([1, True, 2.5] * 10, dtype=object),
            "d": pd.Categorical(["u", "v", "w"] * 10),
            "e": range(30),
        }
    )
    encode = make_column_transformer(
        (make_pipeline(SimpleImputer(add_indicator=True), StandardScaler()), slice("a", "a")),
        (OneHotEncoder(drop="if_binary", sparse_output=False), make_column_selector("b")),
        (OrdinalEncoder(dtype=np.float32, encoded_missing_value=-1), ["b", "c"]),
        (OneHotEncoder(max_categories=2, dtype=float), [3]),
        ("drop", []),
        remainder="passthrough",
    )
    return make_pipeline(encode, tiny_distiller()).fit(X, pd.Series([0, 1] * 15, name="kind")), X


def tiny_mlp(input_shape, n_classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(prod(input_shape), n_classes))


def everything(value):
    """Return an object as plain values and bytes, which can be compared."""
    if isinstance(value, np.ndarray) and value.dtype == object:
        return value.shape, list(map(repr, value.ravel()))
    if isinstance(value, np.ndarray):
        return str(value.dtype), value.shape, value.tobytes()
    if isinstance(value, float):
        return repr(value)  # NaN as well
    if isinstance(value, dict):
        return {name: everything(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [everything(part) for part in value]
    if hasattr(value, "__dict__") and not isinstance(value, type):
        return everything(vars(value))
    return value


# How many damaged files of each kind are tried.
N_DAMAGED = {
    "set": 2000,
    "set with preprocessing": 400,
    "set with encoders": 200,
    "set with bases": 400,
    "set with hallucinators": 200,
    "run": 2000,
}


@pytest.fixture(params=N_DAMAGED)
def kind(request):
    return request.param


@pytest.fixture
def saved(kind, tmp_path):
    """Return the path of a file of this kind, and the function that loads it."""
    path = tmp_path / "file.npz"
    if kind == "run":
        fit(path)
        with open(path, "rb") as file:
            identity = _npz.read(file, "skdistill.Run", 1, (), "run.")[1]["identity"]
        return path, lambda path: Checkpoint(path, 60.0, identity).load()
    if kind == "set with encoders":
        DistilledDataset.from_pipeline(*fit_encoders()).save(path)
        return path, DistilledDataset.load
    if kind == "set with hallucinators":
        fit_hallucinators().distilled_.save(path)
        return path, DistilledDataset.load
    bases = {"ipc": 2, "parametrization": LinearBasis(2), "learn_labels": True}
    pipeline = fit(**bases if kind == "set with bases" else {})
    data = pipeline[-1].distilled_
    if kind == "set with preprocessing":
        data = DistilledDataset.from_pipeline(pipeline)
    data.save(path)
    return path, DistilledDataset.load


# --- damage -----------------------------------------------------------------------------------


class Watch:
    """Fails the test if code in a file runs. Hooks cannot be removed, so there is one for all."""

    EVENTS = ("exec", "pickle.find_class", "os.system", "os.exec", "os.posix_spawn", "subprocess")

    def __init__(self):
        self.active, self.seen = False, []
        sys.addaudithook(self)

    def __call__(self, event, arguments):
        if not self.active or not event.startswith(self.EVENTS):
            return
        # Not the modules of installed packages, some of which loading may import.
        if event != "exec" or not Path(arguments[0].co_filename).exists():
            self.seen.append((event, arguments))

    def __enter__(self):
        self.active, self.seen = True, []
        return self

    def __exit__(self, *error):
        self.active = False
        assert self.seen == []


@pytest.fixture(scope="module")
def no_code_runs():
    return Watch()


def spoil(content, rng):
    """Return a file cut short, with bits of some bytes turned over, written over, or with more."""
    place, how = int(rng.integers(len(content))), rng.random()
    content = bytearray(content)
    if how < 0.3:
        del content[place:]
    elif how < 0.8:
        for _ in range(rng.integers(1, 4)):
            content[rng.integers(len(content))] ^= int(rng.integers(1, 256))
    elif how < 0.9:
        content[place : place + 20] = rng.bytes(20)
    else:
        content += rng.bytes(place)
    return bytes(content)


@pytest.fixture(autouse=True)
def no_flushing(monkeypatch):
    # Before a run is loaded, a file is written to see whether that is possible.
    monkeypatch.setattr(os, "fsync", lambda file: None)


def test_damaged_files_are_refused_or_load_as_they_were(kind, saved, no_code_runs):
    path, load = saved
    whole, expected = path.read_bytes(), everything(load(path))
    rng, n_refused = np.random.default_rng(0), 0
    for _ in range(N_DAMAGED[kind]):
        content = spoil(whole, rng)
        path.write_bytes(content)
        with no_code_runs:
            try:
                loaded = load(path)
            except InvalidFileError:
                n_refused += 1
                continue
        cut_short = len(content) < len(whole) and whole.startswith(content)
        assert not cut_short, "a file that was cut short was loaded"
        assert everything(loaded) == expected
    # Some bytes of a zip file, such as dates, mean nothing.
    assert 0.8 < n_refused / N_DAMAGED[kind] < 1


def forged(meta, rng):
    """Return JSON text with a value, a key or a few bytes changed."""
    text = json.dumps(meta)
    how = rng.integers(3)
    if how == 0:
        places = [m.span() for m in re.finditer(r'-?\d+(\.\d+)?|null|true|"[^"]*"(?!:)', text)]
        start, stop = places[rng.integers(len(places))]
        other = rng.choice(["null", "-1", "1e999", "[]", "{}", '"x"', str(2**80), '{"array": "X"}'])
        return text[:start] + other + text[stop:]
    if how == 1:
        keys = [m.span(1) for m in re.finditer(r'"([^"]*)":', text)]
        start, stop = keys[rng.integers(len(keys))]
        return text[:start] + "other" + text[stop:]
    content = bytearray(text, "utf-8")
    content[rng.integers(len(content))] = int(rng.integers(32, 127))
    return content.decode("utf-8", errors="replace")


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.InconsistentVersionWarning")
def test_forged_files_raise_nothing_but_documented_errors(saved, no_code_runs):
    # Checksums cannot reveal it: somebody wrote them anew.
    path, load = saved
    with np.load(path) as archive:
        arrays = dict(archive)
    meta = json.loads(arrays.pop("meta").tobytes())
    rng, n_refused = np.random.default_rng(0), 0
    for k in range(500):
        changed = dict(arrays)
        if k % 3 == 0:
            name = sorted(arrays)[rng.integers(len(arrays))]
            others = [
                np.zeros(0),
                np.full((2, 2), np.nan),
                np.array("x"),
                np.arange(3),
                np.array(7),
            ]
            changed[name] = others[rng.integers(len(others))]
            text = json.dumps(meta)
        else:
            text = forged(meta, rng)
        np.savez(path, meta=np.frombuffer(text.encode(), np.uint8), **changed)
        with no_code_runs:
            try:
                load(path)
            except InvalidFileError:
                n_refused += 1
            except ValueError as error:
                # A run that is whole, but a different one.
                if "as in the run that checkpoint=" not in str(error):
                    raise
    assert n_refused > 100


class BegunError(Exception):
    pass


def test_forged_runs_are_refused_before_any_work_or_go_on(tmp_path, outer_step):
    def begin(state):
        # A run that is not refused must hold finite samples.
        assert np.isfinite(state.slots["X"].numpy()).all()
        raise BegunError

    path = tmp_path / "file.npz"
    fit(path)
    outer_step(do=begin)
    with np.load(path) as archive:
        arrays = dict(archive)
    meta = json.loads(arrays.pop("meta").tobytes())
    rng, n_refused, n_begun = np.random.default_rng(0), 0, 0
    for k in range(100):
        text = json.dumps(meta)
        if k % 4:
            run = forged(meta["run"], rng)
            text = json.dumps({**meta, "run": "RUN"}).replace('"RUN"', run)
        changed = dict(arrays)
        if k % 4 == 0:
            name = sorted(arrays)[rng.integers(len(arrays))]
            changed[name] = [arrays[name][:1], arrays[name] * np.inf][k // 4 % 2]
        np.savez(path, meta=np.frombuffer(text.encode(), np.uint8), **changed)
        try:
            fit(path, max_iter=4)
        except InvalidFileError:
            n_refused += 1
        except BegunError:
            n_begun += 1
        except ValueError as error:
            # It is whole, but a different one.
            if not str(error).startswith(("random_state=0 must be", "max_iter=4 must be")):
                raise
    assert n_refused > 50
    assert n_begun > 5


# --- code -------------------------------------------------------------------------------------

# Functions that run code in a file, or unpack files to a place that an archive names.
UNSAFE = {
    "pickle", "cPickle", "dill", "cloudpickle", "marshal", "shelve", "tarfile", "extractall",
    "unpack_archive", "eval", "exec", "system", "popen", "Unpickler", "loads_pickle",
}  # fmt: skip


def unsafe_uses(text):
    """Return uses of functions that may run code, in a module's text."""
    found = set()
    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.Import(names=names):
                found |= {name.name.split(".")[0] for name in names} & UNSAFE
            case ast.ImportFrom(module=str(module), names=names):
                found |= ({module.split(".")[0]} | {name.name for name in names}) & UNSAFE
            case ast.Call(func=ast.Name(id=str(name))) if name in UNSAFE:
                found.add(name)
            case ast.Call(func=ast.Attribute(attr=str(name), value=owner), keywords=keywords):
                if name in UNSAFE - {"eval"}:  # Module.eval()
                    found.add(name)
                # json.loads and DistilledDataset.load are harmless; torch's and joblib's are not.
                if name == "load" and ast.unparse(owner) in ("torch", "joblib", "np", "numpy"):
                    found.add(f"{ast.unparse(owner)}.load")
                found |= {
                    "allow_pickle"
                    for keyword in keywords
                    if keyword.arg == "allow_pickle" and ast.unparse(keyword.value) != "False"
                }
    return found


# It unpacks nothing itself, and makes torchvision refuse members that lead out of its folder.
ALLOWED = {"_torchvision.py": {"tarfile"}}


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda p: p.stem)
def test_nothing_in_the_package_unpickles(path):
    assert unsafe_uses(path.read_text(encoding="utf-8")) == ALLOWED.get(path.name, set())


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("import pickle", {"pickle"}),
        ("from joblib import load\nimport dill as d", {"dill"}),
        ("x = torch.load(f, weights_only=False)", {"torch.load"}),
        ("np.lib.format.read_array(f, allow_pickle=flag)", {"allow_pickle"}),
        ("eval(text); model.eval()", {"eval"}),
        ("shutil.unpack_archive(a, b)", {"unpack_archive"}),
        ("archive.extractall(folder)", {"extractall"}),
        ("json.loads(text); DistilledDataset.load(path)", set()),
    ],
)
def test_unsafe_uses_are_found(text, found):
    assert unsafe_uses(text) == found


# --- archives and lists of files --------------------------------------------------------------


def test_an_archive_that_leaves_its_folder_is_refused(tmp_path, monkeypatch):
    home = tmp_path / "home"
    home.mkdir()
    archive = home / CIFAR10.filename
    with tarfile.open(archive, "w:gz") as tar:
        member = tarfile.TarInfo("../evil.txt")
        member.size = 4
        tar.addfile(member, io.BytesIO(b"evil"))
    # As if this were what torchvision expects to download.
    monkeypatch.setattr(CIFAR10, "tgz_md5", hashlib.md5(archive.read_bytes()).hexdigest())
    with pytest.raises(OSError, match=r"download failed: .*evil.txt.* outside the destination"):
        fetch_cifar10(data_home=home)
    assert not (tmp_path / "evil.txt").exists()


@pytest.mark.parametrize("name", ["../../outside.jpg", "/etc/outside.jpg", "a/../../outside.jpg"])
def test_lists_of_files_do_not_lead_out_of_the_folder(tmp_path, name):
    birds = tmp_path / "birds"
    (birds / "images").mkdir(parents=True)
    for file, line in {
        "classes": "1 Crow", "images": f"1 {name}", "image_class_labels": "1 1",
        "train_test_split": "1 1",
    }.items():  # fmt: skip
        (birds / f"{file}.txt").write_text(line)
    with pytest.raises(InvalidFileError, match=r"images.txt names .*outside.jpg', which is not in"):
        load_cub200(birds)
    folder = tmp_path / "tiny"
    (folder / "val" / "images").mkdir(parents=True)
    (folder / "wnids.txt").write_text("n01")
    (folder / "words.txt").write_text("n01 fish")
    (folder / "val" / "val_annotations.txt").write_text(f"{name}\tn01")
    with pytest.raises(InvalidFileError, match=r"annotations.txt names .*outside.jpg'"):
        load_tiny_imagenet(folder, subset="val")
    (folder / "wnids.txt").write_text(name)
    (folder / "words.txt").write_text(f"{name} fish")
    with pytest.raises(InvalidFileError, match=r"wnids.txt names .*outside.jpg', which is not"):
        load_tiny_imagenet(folder)
