"""Distilled data sets: files that load anywhere or say why not, and other tools' formats."""

import copy
import csv
import json
import os
import pickle
import re
import subprocess
import sys
import zipfile
from dataclasses import fields, replace
from io import BytesIO

import joblib
import numpy as np
import pytest
import torch
from PIL import Image
from tools import LAYOUTS, assert_same, make
from torchvision.datasets import ImageFolder

from skdistill import RaTBPTTDistiller
from skdistill._data.layout import Layout
from skdistill.distilled import DistilledDataset, EvaluationRecipe, _consistency
from skdistill.exceptions import InvalidFileError


@pytest.fixture
def path(tmp_path):
    return tmp_path / "set.npz"


# --- files ------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    "kind",
    [
        {"classes": ["no", "yés"]},
        {"classes": [False, True]},
        {"classes": [-5, 3]},
        {"classes": np.array([1, 2], np.uint8)},
        {"classes": [0.5, 1.0]},
        {"dtype": np.float64},
        {"soft": True},
    ],
    ids=str,
)
def test_save_and_load(path, layout, kind):
    data = make(layout, **kind)
    data.save(path)
    assert_same(DistilledDataset.load(str(path)), data)


def test_feature_names_and_unknown_architecture(path):
    data = make("table", feature_names=("a", "b", "c", "d", "é"))
    data = replace(data, recipe=replace(data.recipe, architecture=None))
    data.save(path)
    assert_same(DistilledDataset.load(path), data)


@pytest.mark.parametrize("dtype", [object, "T"])
def test_strings_in_other_arrays_become_numpys(path, dtype):
    if dtype == "T":
        dtype = pytest.importorskip("numpy", "2.0").dtypes.StringDType()
    data = make()
    replace(data, y=data.y.astype(dtype), classes=data.classes.astype(dtype)).save(path)
    assert_same(DistilledDataset.load(path), data)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"classes": np.array([1, 2, 3], object)}, r"classes must hold strings.*got 1 of type int"),
        ({"y": np.array(["a", None] * 3)}, r"y must hold strings.*got None of type NoneType"),
        ({"y": np.array(["a\0"] * 6, object)}, "y must not hold strings that end in a null"),
        ({"provenance": {"rate": np.float32(1)}}, "JSON-safe: .*float32 is not JSON"),
        ({"provenance": {"loss": float("nan")}}, "JSON-safe: Out of range"),
        ({"X": np.full((6, 4, 3), np.nan)}, r"X must be finite; got 'NaN or infinity'"),
        ({"ipc": 3}, r"X must be of shape \(9, 4, 3\), .*got \(6, 4, 3\)"),
    ],
)
def test_unfit_sets_are_not_saved(path, changes, message):
    with pytest.raises(ValueError, match=message):
        replace(make(), **changes).save(path)
    assert not list(path.parent.iterdir())


@pytest.mark.parametrize("call", ["numpy.savez", "os.fsync", "os.replace"])
def test_a_crash_while_saving_leaves_the_old_file_alone(path, monkeypatch, call):
    data = make()
    data.save(path)

    def crash(file, *args, **kwargs):
        if call == "numpy.savez":
            file.write(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(call, crash)
    with pytest.raises(KeyboardInterrupt):
        make("rgb").save(path)
    assert [p.name for p in path.parent.iterdir()] == ["set.npz"]
    assert_same(DistilledDataset.load(path), data)


@pytest.mark.parametrize("dangling", [True, False])
def test_a_link_is_followed(path, dangling):
    target = path.with_name("scratch.npz")
    path.symlink_to("scratch.npz")
    if not dangling:
        make("rgb").save(target)
    data = make()
    data.save(path)
    assert path.is_symlink()
    assert_same(DistilledDataset.load(target), data)


def test_the_home_folder_is_expanded(path, monkeypatch):
    monkeypatch.setenv("HOME", str(path.parent))
    monkeypatch.setenv("USERPROFILE", str(path.parent))
    make().save("~/set.npz")
    assert_same(DistilledDataset.load("~/set.npz"), DistilledDataset.load(path))
    make("rgb").export_images("~/images")
    assert (path.parent / "images" / "labels.csv").exists()
    with pytest.raises(FileNotFoundError, match="home folder ~nosuchuser is not known"):
        make("rgb").export_images("~nosuchuser/images")


def test_where_nothing_can_be_saved(path):
    missing = path.parent / "missing"
    with pytest.raises(
        FileNotFoundError, match=r"no folder '.*missing' for 'a.npz'; make it first"
    ):
        make().save(missing / "a.npz")
    missing.touch()
    with pytest.raises(NotADirectoryError, match=r"no folder '.*missing' for 'a.npz'; that is a f"):
        make().save(missing / "a.npz")
    with pytest.raises(IsADirectoryError, match=r"directory: '[^>]*'$"):
        make().save(path.parent)
    path.symlink_to(path)
    with pytest.raises(OSError, match=r"symbolic links: '.*set.npz'"):
        make().save(path)


@pytest.mark.skipif(os.name == "nt", reason="POSIX permissions")
def test_saved_files_have_the_usual_permissions(path):
    make().save(path)
    (path.parent / "other").touch()
    assert path.stat().st_mode == (path.parent / "other").stat().st_mode


def test_the_file_holds_plain_arrays(path):
    make().save(path)
    with np.load(path, allow_pickle=False) as archive:
        assert set(archive) == {"X", "y", "classes", "meta"}
        meta = json.loads(archive["meta"].tobytes())
    assert (meta["format"], meta["version"]) == ("skdistill.DistilledDataset", 1)


def test_every_field_of_a_recipe_is_checked():
    together = {"layout", "mean", "scale"}
    assert {f.name for f in fields(EvaluationRecipe)} == together | {*_consistency._RECIPE_RULES}


# --- without torch ----------------------------------------------------------------------------

WITHOUT_TORCH = """
import sys

class NoTorch:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "torchvision"):
            raise ImportError(f"{name} is not for this process")

sys.meta_path.insert(0, NoTorch())
import joblib, numpy as np, pickle, skdistill
from skdistill import DistilledDataset
assert "sklearn" not in sys.modules
folder = sys.argv[1]
with open(f"{folder}/set.pickle", "rb") as file:
    sets = [
        DistilledDataset.load(f"{folder}/set.npz"),
        joblib.load(f"{folder}/set.joblib"),
        pickle.load(file),
    ]
expected = np.load(f"{folder}/X.npy")
for data in sets:
    np.testing.assert_array_equal(data.X, expected)
    assert data.y.tolist() == ["down", "up"] and data.recipe.layout.network_shape == (1, 6, 6)
    assert data.provenance["n_iter"] == 1 and data.subset(1).to_frame().shape == (2, 37)
try:
    data.to_torch()
except ImportError:
    print("no torch, as agreed")
"""


def test_files_of_a_distiller_load_without_torch(images, tmp_path):
    X, y = images
    distiller = RaTBPTTDistiller(max_iter=1, window=1, unroll=1, random_state=0)
    data = distiller.fit(X, np.array(["down", "up"])[y]).distilled_
    data.save(tmp_path / "set.npz")
    joblib.dump(data, tmp_path / "set.joblib")
    (tmp_path / "set.pickle").write_bytes(pickle.dumps(data))
    np.save(tmp_path / "X.npy", data.X)
    # python, not pytest: this process has torch already.
    command = [sys.executable, "-c", WITHOUT_TORCH, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (0, "no torch, as agreed\n"), done.stderr


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda d: pickle.loads(pickle.dumps(d))])
def test_copies(duplicate):
    data = make(soft=True)
    assert_same(duplicate(data), data)


# --- files that are not right -----------------------------------------------------------------
# A change takes the arrays of a file by name and puts others in.


def edit(path, change):
    """Rewrite a file with a change."""
    with np.load(path) as archive:
        content = dict(archive)
    change(content)
    np.savez(path, **content)


def arrays(**new):
    return lambda content: content.update(new)


def drop(name):
    return lambda content: content.pop(name)


def text(new):
    return arrays(meta=np.frombuffer(new.encode(), np.uint8))


def in_meta(change):
    def change_file(content):
        meta = json.loads(content["meta"].tobytes())
        change(meta)
        text(json.dumps(meta))(content)

    return change_file


def top(**new):
    return in_meta(lambda meta: meta.update(new))


def recipe(**new):
    return in_meta(lambda meta: meta["recipe"].update(new))


def layout(**new):
    return in_meta(lambda meta: meta["recipe"]["layout"].update(new))


def without(name):
    return in_meta(lambda meta: meta.pop(name, None) or meta["recipe"].pop(name))


def refused(path, message):
    """Assert that the file is refused with a message that names it and says what is wrong."""
    with pytest.raises(InvalidFileError, match=message) as info:
        DistilledDataset.load(path)
    assert str(info.value).startswith(f"{path} cannot be loaded: ")


def test_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        DistilledDataset.load(tmp_path / "none.npz")


def write_zip(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.txt", "a" * 99)


def write_npy(path):
    with open(path, "wb") as file:
        np.save(file, np.zeros(3))


NOT_OURS = {
    "empty": (lambda p: p.write_bytes(b""), r"it is not an \.npz file"),
    "text": (lambda p: p.write_text("X,y\n1,2\n"), r"it is not an \.npz file"),
    "npy": (write_npy, r"it is not an \.npz file"),
    "pickle": (lambda p: p.write_bytes(pickle.dumps(make())), "it is a pickle, .* never loaded"),
    "joblib": (lambda p: joblib.dump(make(), p), "it is a pickle, .* joblib.load reads it"),
    "zip": (write_zip, "it lacks X.npy, .*y.n"),
    "npz": (lambda p: np.savez(p, X=np.zeros(3), y=np.zeros(3)), "it lacks classes.npy, meta.npy"),
    "PK": (lambda p: p.write_bytes(b"PK\x03\x04" + bytes(100)), "it is truncated or damaged"),
}


@pytest.mark.parametrize(("write", "message"), NOT_OURS.values(), ids=NOT_OURS)
def test_foreign_files(path, write, message):
    write(path)
    refused(path, message)


class Bomb:
    """An object whose unpickling leaves a trace."""

    def __reduce__(self):
        return os.putenv, ("skdistill_bomb", "exploded")


@pytest.mark.parametrize("name", ["X", "y", "classes", "meta"])
def test_pickled_objects_are_refused_unopened(path, monkeypatch, name):
    make().save(path)
    edit(path, arrays(**{name: np.array([Bomb()] * 6, object)}))
    monkeypatch.setattr(pickle, "load", lambda *args, **kwargs: pytest.fail("unpickled"))
    refused(path, f"{name} holds pickled objects, which may run code and are never loaded")


ILL = {
    "future version": (top(version=2), "version must be at most 1 here; got 2, which a newer"),
    "no version": (top(version=None), "version must be 1; got None"),
    "version a word": (top(version="2"), "version must be 1; got '2'"),
    "version true": (top(version=True), "version must be 1; got True"),
    "other format": (top(format="skdistill.Run"), r"format must be 'skdistill.D.*got 'skdistill.R"),
    "strange format": (top(format=["a"] * 99), r"format must be 'skdistill.D.*got \['a', .{94}\."),
    "other format, no arrays": (
        lambda content: (drop("X")(content), top(format="skdistill.Run")(content)),
        "it is the checkpoint of a run. Fit a distiller",
    ),
    "no array": (drop("classes"), "it lacks classes.npy"),
    "no meta": (drop("meta"), "it lacks meta.npy"),
    "meta of floats": (arrays(meta=np.zeros(3)), "meta must be bytes; got float64"),
    "meta no JSON": (text("{"), "Expecting property name"),
    "meta NaN": (text('{"ipc": NaN}'), "meta holds NaN, which is not JSON"),
    "meta a list": (text("[1]"), "meta must be a JSON object; got list"),
    "meta deep": (text("[" * 100_000), "recursion"),
    "X short": (arrays(X=np.zeros((5, 4, 3))), r"X must be of shape \(6, 4, 3\)"),
    "X a number": (arrays(X=np.zeros(())), r"X must be of shape .* got \(\)"),
    "X another layout": (arrays(X=np.zeros((6, 3, 4))), r"X must be .*got \(6, 3, 4\)"),
    "X infinite": (arrays(X=np.full((6, 4, 3), np.inf)), "X must be finite"),
    "X text": (arrays(X=np.full((6, 4, 3), "x")), "X must be real numbers .*; got dtype"),
    "X complex": (arrays(X=np.zeros((6, 4, 3), complex)), "X must be real numbers"),
    "X long": (arrays(X=np.zeros((6, 4, 3), "g")), "X must be real numbers of at most 64 bits"),
    "X huge": (arrays(X=np.full((6, 4, 3), -1e300)), r"X must be at most 1e\+38 in size; got 1e"),
    "y short": (arrays(y=np.array(["a"])), r"y must be of shape \(6,\), .*got \(1,\)"),
    "y unknown": (arrays(y=np.array(["z"] * 6)), "y must be labels that are in classes"),
    "y ints": (arrays(y=np.arange(6)), "y must be labels that are in classes"),
    "y 3-d": (arrays(y=np.zeros((6, 3, 1))), r"y must be of shape \(6,\)"),
    "soft y wide": (arrays(y=np.zeros((6, 4))), r"y must be of shape \(6, 3\), a column"),
    "soft y ints": (arrays(y=np.zeros((6, 3), int)), "y must be soft labels; got dtype"),
    "soft y NaN": (arrays(y=np.full((6, 3), np.nan)), "y must be finite"),
    "soft y huge": (arrays(y=np.full((6, 3), 1e300)), r"y must be at most 1e\+38 in size; got 1e"),
    "classes unsorted": (arrays(classes=np.array(["d", "bc", "a"])), "classes must be"),
    "classes twice": (arrays(classes=np.array(["a", "a", "d"])), "classes must be"),
    "classes 2-d": (arrays(classes=np.array([["a", "bc", "d"]])), "classes must be"),
    "classes none": (arrays(classes=np.array([], "U1")), "classes must be"),
    "classes void": (arrays(classes=np.zeros(3, "V4")), "classes must be"),
    "classes dates": (arrays(classes=np.zeros(3, "M8[s]")), "classes must be"),
    "ipc": (top(ipc=2.0), r"ipc must be a positive integer; got 2\.0"),
    "ipc huge": (top(ipc=10**30), r"X must be of shape"),
    "ipc true": (top(ipc=True), "ipc must be a positive integer; got True"),
    "no ipc": (without("ipc"), "meta must be a JSON object with .*ipc"),
    "feature_names": (top(feature_names=["a"]), "feature_names must be None or 12 strings"),
    "feature_names ints": (top(feature_names=[1] * 12), "feature_names must be None or 12 strings"),
    "feature_names text": (top(feature_names="a" * 12), "feature_names must be None or 12 strings"),
    "target_name": (top(target_name=1), "target_name must be None or a string"),
    "target_name empty": (top(target_name=""), "target_name must be None or a string"),
    "original_dtypes": (top(original_dtypes=["int65"] * 12), "original_dtypes must be None or the"),
    "original_dtypes few": (top(original_dtypes=["int64"]), "original_dtypes must be None or the"),
    "original_dtypes text": (top(original_dtypes="int64"), "original_dtypes must be None or the"),
    "categories": (
        top(original_dtypes=[{"categories": [["a"]], "ordered": True}] * 12),
        "original_dtypes must be None or the",
    ),
    "provenance": (top(provenance=[1]), "provenance must be a mapping"),
    "recipe": (top(recipe=3), "recipe must be a JSON object with layout; got 3"),
    "no layout": (without("layout"), "recipe must be a JSON object with layout"),
    "no steps": (without("steps"), "missing 1 required .* 'steps'"),
    "unknown field": (recipe(speed=1), "unexpected keyword argument 'speed'"),
    "steps": (recipe(steps="30"), "recipe.steps must be an integer from 1 to 10.*; got '30'"),
    "steps huge": (recipe(steps=10**18), "recipe.steps must be .* to 10,000,000; got 10+"),
    "n_networks": (recipe(n_networks=0), "recipe.n_networks must be an integer from 1 .* got 0"),
    "n_networks huge": (recipe(n_networks=10**9), "n_networks must be .* to 10,000; got 10+"),
    "batch_size": (recipe(batch_size=None), "recipe.batch_size must be .* got None"),
    "seed": (recipe(seed=-1), "recipe.seed must be a non-negative integer; got -1"),
    "rate huge": (
        recipe(learning_rate=10**400),
        "recipe.learning_rate must be a positive number up to 1000, or 'stable'; got 1000",
    ),
    "rate": (recipe(learning_rate=0), "recipe.learning_rate must be a positive number .* got 0"),
    "rate large": (recipe(learning_rate=1e308), "recipe.learning_rate must be .*; got 1e"),
    "architecture": (
        recipe(architecture=["mlp"]),
        "recipe.architecture must be a name, a dict or None",
    ),
    "augmentation": (recipe(augmentation=[]), "recipe.augmentation must be a name, a dict or None"),
    "mean long": (recipe(mean=[0.0, 1.0]), "recipe.mean must be 1 numbers"),
    "mean huge": (recipe(mean=[-1e308]), r"recipe.mean must be .* from -1e\+38 to 1e\+38; got"),
    "mean a number": (recipe(mean=0.0), "recipe.mean must be 1 numbers"),
    "mean text": (recipe(mean=["0"]), "recipe.mean must be 1 numbers"),
    "scale zero": (recipe(scale=[0.0]), r"recipe.scale must be .* from 1.2e-38 to 1e\+38"),
    "scale tiny": (recipe(scale=[1e-320]), "recipe.scale must be .*; got"),
    "scale huge": (recipe(scale=[1e300]), "recipe.scale must be .*; got"),
    "scale short": (recipe(scale=[]), "recipe.scale must be 1 numbers"),
    "inner": (layout(inner=[4, 3]), "recipe.layout.network_shape must be 1 or 3 positive integers"),
    "inner floats": (
        layout(inner=[1.0, 4.0, 3.0]),
        "recipe.layout.network_shape must be 1 or 3 positive",
    ),
    "inner other": (layout(inner=[1, 4, 4]), r"recipe.layout.user_shape .* becomes \(1, 4, 4\)"),
    "inner minus": (
        layout(inner=[1, -4, -3]),
        "recipe.layout.network_shape must be 1 or 3 positive",
    ),
    "outer deep": (layout(outer=[[4, 3]]), "recipe.layout.user_shape must be a shape"),
    "channels last": (layout(channels_last=True), "recipe.layout.user_shape must be a shape"),
    "channels last 1": (layout(channels_last=1), "recipe.layout.channels_last must be true or"),
    "layout": (recipe(layout=[1]), "recipe.layout must be a JSON object"),
}


@pytest.mark.parametrize(("change", "message"), ILL.values(), ids=ILL)
def test_parts_that_do_not_fit(path, change, message):
    make().save(path)
    edit(path, change)
    refused(path, message)


def test_a_number_beyond_floats(path):
    make().save(path)

    def change(content):
        meta = content["meta"].tobytes().decode()
        text(meta.replace('"learning_rate": 0.001', '"learning_rate": 1e999'))(content)

    edit(path, change)
    refused(path, "recipe.learning_rate must be a positive number up to 1000, .*; got inf")


def test_an_unchanged_rewrite_loads(path):
    """The refusals above are due to the changes, not to the rewriting."""
    make().save(path)
    edit(path, lambda content: None)
    assert_same(DistilledDataset.load(path), make())


def test_compressed_files_are_refused(path):
    make().save(path)
    with np.load(path) as archive:
        content = dict(archive)
    np.savez_compressed(path, **content)
    refused(path, "meta must be stored uncompressed")


def member(shape, *, descr="<f8", content=b""):
    """Return the bytes of an array in NumPy's format with a header of our choice."""
    file = BytesIO()
    header = {"descr": descr, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)
    return file.getvalue() + content


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (member((2**40,)), r"X of shape \(1099511627776,\) needs 8796093022208 bytes; it has 0"),
        (member((2**62, 2**62)), "X of shape .* needs"),
        (member((6, 4), content=bytes(8 * 72)), r"X of shape \(6, 4\) needs 192 bytes; it has 576"),
        (member((-6, -12), content=bytes(8 * 72)), r"X cannot be of shape \(-6, -12\)"),
        (member((2**62,), descr="<U0"), r"X cannot be of shape .* and dtype <U0"),
        (member((6, 4, 3), content=bytes(8 * 71)), "needs 576 bytes; it has 568"),
        (b"cos\nsystem\n(S'true'\ntR.", "magic string is not correct"),
        (b"", "magic string"),
    ],
    ids=["8 TiB", "overflow", "less", "negative", "no bytes", "short", "pickle", "empty"],
)
def test_headers_that_lie(path, content, message):
    make().save(path)
    with np.load(path) as archive:
        good = dict(archive)
    del good["X"]
    np.savez(path, **good)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("X.npy", content)
    refused(path, message)


# --- torch ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LAYOUTS)
def test_to_torch(name):
    data = make(name)
    inner = data.recipe.layout.to_engine(data.X)
    X, y = data.to_torch(standardize=False).tensors
    assert (X.dtype, y.dtype) == (torch.float32, torch.int64)
    np.testing.assert_array_equal(X, inner)
    assert y.tolist() == [0, 1, 2, 0, 1, 2]
    column = (-1, *[1] * (inner.ndim - 2))
    mean, scale = (np.reshape(v, column) for v in (data.recipe.mean, data.recipe.scale))
    np.testing.assert_allclose(data.to_torch()[:][0], (inner - mean) / scale, rtol=1e-5, atol=1e-6)


def test_to_torch_with_soft_labels_of_doubles():
    data = make(soft=True, dtype=np.float64)
    X, y = data.to_torch().tensors
    assert (X.dtype, y.dtype) == (torch.float32, torch.float32)
    np.testing.assert_allclose(y, data.y, rtol=1e-6)


@pytest.mark.parametrize("standardize", [False, True])
def test_to_torch_copies(standardize):
    data = make(soft=True)
    before = copy.deepcopy(data)
    for tensor in data.to_torch(standardize).tensors:
        tensor.zero_()
    assert_same(data, before)


# --- tables -----------------------------------------------------------------------------------


def test_to_frame():
    data = make("table", classes=[3, 5])
    frame = data.to_frame()
    assert frame.columns.tolist() == ["x0", "x1", "x2", "x3", "x4", "target"]
    np.testing.assert_array_equal(frame.iloc[:, :5], data.X)
    assert frame["target"].tolist() == [3, 5, 3, 5]
    assert (frame["x0"].dtype, frame["target"].dtype) == (np.float32, data.y.dtype)


def test_to_frame_with_names_and_soft_labels():
    data = make("table", soft=True, feature_names=tuple("vwxyz"))
    frame = data.to_frame()
    assert frame.columns.tolist() == [*"vwxyz", "target_a", "target_bc", "target_d"]
    np.testing.assert_array_equal(frame[["target_a", "target_bc", "target_d"]], data.y)


def test_to_frame_of_images_is_flat():
    data = make("channels last")
    frame = data.to_frame()
    assert frame.columns[-2:].tolist() == ["x23", "target"]
    np.testing.assert_array_equal(frame.iloc[:, :-1], data.X.reshape(6, -1))


def test_to_frame_copies():
    data = make("table")
    before = data.X.copy()
    frame = data.to_frame()
    frame.iloc[:, 0] = 9
    np.testing.assert_array_equal(data.X, before)


def test_to_frame_says_what_it_cannot_do(monkeypatch):
    with pytest.raises(ValueError, match="target_name='a' must not give a column the name"):
        make("table", feature_names=tuple("abcde"), target_name="e").to_frame(target_name="a")
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match="to_frame needs pandas: pip install pandas"):
        make("table").to_frame()


# --- image folders ----------------------------------------------------------------------------


def table(folder):
    with open(folder / "labels.csv", newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


def in_folder(folder):
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*.*"))


@pytest.mark.parametrize("name", ["flat", "gray", "rgb", "channels last"])
def test_export_images(tmp_path, name):
    data = make(name, classes=["été", "a b"][::-1])
    folder = tmp_path / "new" / "images"
    data.export_images(folder)
    images = ImageFolder(folder)
    assert images.classes == ["a b", "été"]
    assert [label for _, label in images.samples] == [0, 0, 1, 1]
    files = ["a b/000.png", "été/000.png", "a b/001.png", "été/001.png"]
    assert table(folder) == [["file", "label"], *zip_lists(files, data.y.tolist())]
    inner = data.recipe.layout.to_engine(data.X).astype(float)
    expected = 255 * (inner - inner.min()) / (inner.max() - inner.min())
    for file, image in zip(files, expected):
        with Image.open(folder / file) as saved:
            assert saved.mode == ("L" if len(image) == 1 else "RGB")
            pixels = np.asarray(saved).reshape(*image.shape[1:], -1)
        np.testing.assert_allclose(np.moveaxis(pixels, -1, 0), image, atol=0.501)


def zip_lists(*columns):
    return [list(row) for row in zip(*columns)]


def pixels(folder, file="a/000.png"):
    with Image.open(folder / file) as image:
        return np.asarray(image).ravel().tolist()


def test_value_range_clips(tmp_path):
    X = np.zeros((1, 4, 3))
    X.flat[:6] = [-9, 0, 10, 20, 25, 99]
    data = make(classes=["a"], ipc=1, X=X)
    data.export_images(tmp_path, value_range=(0, 20))
    assert pixels(tmp_path)[:6] == [0, 0, 128, 255, 255, 255]


def test_constant_images_are_black(tmp_path):
    make(classes=["a"], ipc=1, X=np.full((1, 4, 3), 7.0)).export_images(tmp_path)
    assert pixels(tmp_path) == [0] * 12


def test_images_with_an_alpha_channel(tmp_path):
    layout = Layout((4, 4, 2), (4, 4, 2))
    data = make("rgb", X=np.random.default_rng(0).normal(size=(6, 4, 4, 2)))
    replace(data, recipe=replace(data.recipe, layout=layout)).export_images(tmp_path)
    with Image.open(tmp_path / "a/000.png") as image:
        assert (image.mode, image.size) == ("RGBA", (2, 4))


def test_export_soft_labels(tmp_path):
    data = make(soft=True, dtype=np.float64)
    data.export_images(tmp_path)
    header, *rows = table(tmp_path)
    assert header == ["file", "label_a", "label_bc", "label_d"]
    np.testing.assert_array_equal([[float(v) for v in row[1:]] for row in rows], data.y)
    assert [row[0].split("/")[0] for row in rows] == data.classes[data.y.argmax(axis=1)].tolist()
    assert in_folder(tmp_path) == sorted([*(row[0] for row in rows), "labels.csv"])


def test_class_names_are_not_formulas_in_the_table(tmp_path):
    names = sorted(["=1+1", "+a", "-5", "-a", "@x", "a=1"])
    make(classes=names, ipc=1).export_images(tmp_path)
    expected = [
        ["./=1+1/000.png", "'=1+1"],
        ["./+a/000.png", "'+a"],
        ["./-5/000.png", "-5"],
        ["./-a/000.png", "'-a"],
        ["./@x/000.png", "'@x"],
        ["a=1/000.png", "a=1"],
    ]
    assert sorted(table(tmp_path)[1:]) == sorted(expected)
    assert all((tmp_path / file).exists() for file, _ in expected)


def test_negative_numbers_stay_numbers_in_the_table(tmp_path):
    make(classes=[-5, 3], ipc=1).export_images(tmp_path)
    assert [row[1] for row in table(tmp_path)[1:]] == ["-5", "3"]


UNSAFE = [
    "", ".", "..", "a/b", "a\\b", "../x", "C:", "a\0b", " ", "labels.csv", ".hidden", "CON",
    "nul.txt", "com1 ",
]  # fmt: skip


@pytest.mark.parametrize("name", UNSAFE, ids=repr)
def test_unsafe_class_names(tmp_path, name):
    classes = np.array(sorted([name, "ok"]), object)
    with pytest.raises(ValueError, match="Class names must be safe as names of folders") as info:
        make(classes=classes).export_images(tmp_path / "images")
    assert f"got {name!r}" in str(info.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("data", "arguments", "message"),
    [
        (make("table"), {}, "export_images needs images; got table rows of 5 features"),
        (make(X=np.full((6, 4, 3), np.nan)), {}, "X must be finite"),
        (make(), {"value_range": (1, 1)}, r"value_range must be .*low < high; got \(1, 1\)"),
        (make(), {"value_range": (0, np.inf)}, "value_range must be"),
        (make(), {"value_range": 255}, "value_range must be .*; got 255"),
    ],
)
def test_what_cannot_be_exported(tmp_path, data, arguments, message):
    with pytest.raises(ValueError, match=message):
        data.export_images(tmp_path / "images", **arguments)
    assert not list(tmp_path.iterdir())


def test_channels_that_no_png_has(tmp_path):
    data = make("rgb", X=np.zeros((6, 2, 4, 2)))
    data = replace(data, recipe=replace(data.recipe, layout=Layout((2, 4, 2), (2, 4, 2))))
    with pytest.raises(ValueError, match=r"1 \(gray\), 3 \(RGB\) or 4 \(RGBA\) channels; got 2"):
        data.export_images(tmp_path)


def test_without_pillow(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(ImportError, match="export_images needs Pillow: pip install pillow"):
        make().export_images(tmp_path)


def test_exports_are_only_replaced_on_demand(tmp_path):
    make(ipc=3).export_images(tmp_path)
    before = in_folder(tmp_path)
    data = make(classes=["a", "z"], ipc=1)
    with pytest.raises(FileExistsError, match="is not empty; pass overwrite=True"):
        data.export_images(tmp_path)
    assert in_folder(tmp_path) == before
    data.export_images(tmp_path, overwrite=True)
    assert in_folder(tmp_path) == ["a/000.png", "labels.csv", "z/000.png"]


@pytest.mark.parametrize("other", ["notes.txt", "a/notes.txt", "a/cat.png", "b/c/000.png"])
def test_nothing_but_an_export_is_ever_replaced(tmp_path, other):
    make().export_images(tmp_path)
    (tmp_path / other).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / other).write_text("mine")
    before = in_folder(tmp_path)
    with pytest.raises(FileExistsError, match="holds more than an earlier export"):
        make().export_images(tmp_path, overwrite=True)
    assert in_folder(tmp_path) == before


@pytest.mark.parametrize("missing", ["the table", "its header", "a row"])
def test_pictures_that_no_table_of_ours_lists_are_never_removed(tmp_path, missing):
    make().export_images(tmp_path)
    file = tmp_path / "labels.csv"
    if missing == "the table":
        file.unlink()
    else:
        lines = file.read_text().splitlines(keepends=True)
        file.write_text("".join(lines[1:] if missing == "its header" else lines[:-1]))
    before = in_folder(tmp_path)
    with pytest.raises(FileExistsError, match="holds more than an earlier export"):
        make().export_images(tmp_path, overwrite=True)
    assert in_folder(tmp_path) == before


def test_a_link_to_pictures_elsewhere_is_not_followed(tmp_path):
    folder = tmp_path / "images"
    make().export_images(folder)
    (folder / "a").rename(tmp_path / "mine")
    (folder / "a").symlink_to(tmp_path / "mine")
    with pytest.raises(FileExistsError, match=r"holds more than an earlier export, .*: 'a'\."):
        make().export_images(folder, overwrite=True)
    assert (tmp_path / "mine" / "000.png").exists()


@pytest.mark.parametrize("calls", [1, 2, 3])
def test_an_export_that_was_cut_short_is_replaced(tmp_path, monkeypatch, calls):
    make().export_images(tmp_path)
    whole = in_folder(tmp_path)
    replace, done = os.replace, []

    def interrupted(source, target):
        done.append(target)
        if len(done) == calls:
            raise KeyboardInterrupt
        replace(source, target)

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        make().export_images(tmp_path, overwrite=True)
    monkeypatch.undo()
    make().export_images(tmp_path, overwrite=True)
    assert in_folder(tmp_path) == whole
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_what_an_export_that_was_killed_left_is_removed(tmp_path):
    make().export_images(tmp_path)
    whole = in_folder(tmp_path)
    left = tmp_path / f".{16 * 'a'}.partial"
    left.mkdir()
    (left / "labels.csv").write_text("file,label\n")
    make().export_images(tmp_path, overwrite=True)
    assert in_folder(tmp_path) == whole
    assert not left.exists()


def test_what_a_table_lists_may_be_gone(tmp_path):
    make().export_images(tmp_path)
    (tmp_path / "a" / "000.png").unlink()
    data = make(classes=["y", "z"], ipc=1)
    data.export_images(tmp_path, overwrite=True)
    assert in_folder(tmp_path) == ["labels.csv", "y/000.png", "z/000.png"]
    assert {path.name for path in tmp_path.iterdir()} == {"labels.csv", "y", "z"}


def test_an_earlier_export_stays_if_a_new_one_fails(tmp_path, monkeypatch):
    make().export_images(tmp_path)
    before = {file: (tmp_path / file).read_bytes() for file in in_folder(tmp_path)}
    save = Image.Image.save

    def full(image, file):
        if file.stem == "001":
            raise OSError(28, "No space left on device")
        save(image, file)

    monkeypatch.setattr(Image.Image, "save", full)
    data = make(X=np.zeros((6, 4, 3)))
    with pytest.raises(OSError, match="No space left"):
        data.export_images(tmp_path, overwrite=True)
    assert {path.name for path in tmp_path.iterdir()} == {"a", "bc", "d", "labels.csv"}
    assert {file: (tmp_path / file).read_bytes() for file in in_folder(tmp_path)} == before


@pytest.mark.parametrize("ipc", [0, 3, 1.0, True, "1"])
def test_a_subset_of_what_is_no_number_of_samples(ipc):
    message = re.escape(f"ipc={ipc!r} must be an integer between 1 and 2, what was distilled")
    with pytest.raises(ValueError, match=message):
        make(ipc=2).subset(ipc)


def test_a_subset_of_a_number_of_numpys_can_be_saved(path):
    make(ipc=2).subset(np.int64(1)).save(path)
    assert DistilledDataset.load(path).ipc == 1
