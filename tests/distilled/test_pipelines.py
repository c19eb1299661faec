"""Preprocessing that is kept with a distilled set: applied, inverted, saved and restored."""

import json
import subprocess
import sys
from dataclasses import replace
from functools import partial
from io import BytesIO

import joblib
import numpy as np
import pandas as pd
import pytest
import tools
import torch
from PIL import Image
from sklearn import config_context
from sklearn.base import clone
from sklearn.compose import ColumnTransformer, make_column_selector, make_column_transformer
from sklearn.datasets import load_wine
from sklearn.decomposition import PCA
from sklearn.exceptions import InconsistentVersionWarning
from sklearn.impute import SimpleImputer
from sklearn.pipeline import FunctionTransformer, Pipeline, make_pipeline
from sklearn.preprocessing import (
    MaxAbsScaler,
    MinMaxScaler,
    OneHotEncoder,
    OrdinalEncoder,
    PowerTransformer,
    QuantileTransformer,
    RobustScaler,
    StandardScaler,
)

from skdistill import DistilledDataset, LossPruner, ZCAWhitener
from skdistill.evaluation import compare, evaluate
from skdistill.exceptions import InvalidFileError

# Calls give a new one each time, because a pipeline fits the steps that it is given.
quick = partial(tools.quick, max_iter=2, eval_steps=20)


@pytest.fixture(scope="module")
def wine():
    return load_wine(return_X_y=True, as_frame=True)


@pytest.fixture
def scaled(wine):
    return DistilledDataset.from_pipeline(make_pipeline(StandardScaler(), quick()).fit(*wine))


def save_and_load(data, folder):
    data.save(folder / "set.npz")
    return DistilledDataset.load(folder / "set.npz")


def test_evaluation_takes_unprocessed_test_data(wine, tmp_path):
    X, y = wine
    pipe = make_pipeline(MinMaxScaler((-100, 100)), quick()).fit(X, y)
    distilled = DistilledDataset.from_pipeline(pipe)
    loaded = save_and_load(distilled, tmp_path)
    assert evaluate(distilled, X, y).mean == pipe.score(X, y)
    assert evaluate(loaded, X, y).mean == pipe.score(X, y)
    inside = compare(pipe[-1].distilled_, pipe[:-1].transform(X), y, pipe[:-1].transform(X), y)
    outside = compare(loaded, X, y, X, y)
    assert str(outside) == str(inside)


@pytest.mark.parametrize(
    "transformer",
    [
        MaxAbsScaler(),
        MinMaxScaler(feature_range=(2, 3)),
        PCA(n_components=4, whiten=True, random_state=0),
        PowerTransformer(),
        QuantileTransformer(n_quantiles=20),
        RobustScaler(),
        StandardScaler(with_mean=False),
        ZCAWhitener(),
        make_pipeline(RobustScaler(), make_pipeline(PCA(3))),
    ],
    ids=lambda t: type(t).__name__,
)
@pytest.mark.parametrize("output", ["default", "pandas"])
def test_transformers_come_back_as_they_were(wine, scaled, tmp_path, transformer, output):
    X, _ = wine
    if not isinstance(transformer, Pipeline):
        transformer.set_output(transform=output)
    transformer.fit(X)
    loaded = save_and_load(replace(scaled, preprocessing=transformer), tmp_path).preprocessing
    expected, got = transformer.transform(X), loaded.transform(X)
    assert type(got) is type(expected)
    np.testing.assert_array_equal(got, expected)
    np.testing.assert_array_equal(
        loaded.inverse_transform(np.asarray(got)), transformer.inverse_transform(np.asarray(got))
    )
    assert str(loaded.get_params()) == str(transformer.get_params())
    with pytest.raises(ValueError, match="feature names should match"):
        loaded.transform(X.rename(columns={"alcohol": "water"}))


def test_whitened_images_are_exported_as_they_look(images, tmp_path):
    X, y = images
    pipe = make_pipeline(ZCAWhitener(), quick()).fit(X, y)
    distilled = save_and_load(DistilledDataset.from_pipeline(pipe), tmp_path)
    distilled.export_images(tmp_path / "tree", value_range=(-4, 4))
    expected = pipe[:-1].inverse_transform(pipe.transform(X)[0])
    shown = np.asarray(Image.open(tmp_path / "tree" / "0" / "000.png"), float) / 255 * 8 - 4
    np.testing.assert_allclose(shown, expected[0].clip(-4, 4), atol=8 / 255)


def test_a_set_with_a_whitener_loads_without_torch(images, tmp_path):
    distilled = DistilledDataset.from_pipeline(make_pipeline(ZCAWhitener(), quick()).fit(*images))
    distilled.save(tmp_path / "set.npz")
    joblib.dump(distilled, tmp_path / "set.joblib")
    (tmp_path / "torch.py").write_text("raise ImportError('no torch here')")
    script = """if True:
        import joblib
        from skdistill import DistilledDataset
        for data in (DistilledDataset.load("set.npz"), joblib.load("set.joblib")):
            print(data.preprocessing[0].eigenvectors_.shape)
    """
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    n = np.prod(images[0].shape[1:])
    assert done.stdout == f"({n}, {n})\n" * 2


def test_a_pipeline_of_the_distiller_alone_has_no_preprocessing(wine):
    pipe = Pipeline([("distill", quick())]).fit(*wine)
    assert DistilledDataset.from_pipeline(pipe).preprocessing is None


def test_steps_that_do_nothing_to_test_data_are_left_out(wine, tmp_path):
    imblearn = pytest.importorskip("imblearn.pipeline")
    pruned = imblearn.make_pipeline(StandardScaler(), LossPruner(keep=0.5), quick()).fit(*wine)
    distilled = DistilledDataset.from_pipeline(pruned)
    assert [name for name, _ in distilled.preprocessing.steps] == ["standardscaler"]
    expected = pruned[-1].evaluate(pruned[0].transform(wine[0]), wine[1]).mean
    assert evaluate(save_and_load(distilled, tmp_path), *wine).mean == expected


@pytest.mark.parametrize("step", ["passthrough", None])
def test_a_pipeline_that_changes_nothing_has_no_preprocessing(wine, step):
    pipe = make_pipeline(step, quick()).fit(*wine)
    assert DistilledDataset.from_pipeline(pipe).preprocessing is None


@pytest.mark.parametrize(
    "pipeline",
    [quick(), make_pipeline(StandardScaler(), quick()), make_pipeline(StandardScaler())],
    ids=["no pipeline", "not fitted", "no distiller"],
)
def test_anything_but_a_fitted_pipeline_is_refused(pipeline):
    with pytest.raises(TypeError, match="pipeline must be a Pipeline that ends in a fitted dist"):
        DistilledDataset.from_pipeline(pipeline)


def test_what_cannot_be_saved_without_a_pickle(scaled, tmp_path):
    class Mine(StandardScaler):
        pass

    for bad, message in {
        make_column_transformer((OneHotEncoder(), lambda X: ["a"])): "plain values to be saved",
        OneHotEncoder(feature_name_combiner=str.join): "plain values to be saved",
        FunctionTransformer(np.log1p): "one of .*ColumnTransformer.*got FunctionTransformer",
        Mine(): "got Mine",
        StandardScaler().set_params(copy=np.add): "must hold plain values to be saved",
    }.items():
        with pytest.raises(ValueError, match=message):
            replace(scaled, preprocessing=bad).save(tmp_path / "set.npz")
    with pytest.raises(ValueError, match="preprocessing must be None or a fitted transformer"):
        replace(scaled, preprocessing="scaled").save(tmp_path / "set.npz")
    assert not list(tmp_path.iterdir())


def rewritten(path, change):
    """Change the metadata of a file, and its further arrays."""
    with np.load(path) as file:
        arrays = dict(file)
    meta = json.loads(arrays.pop("meta").tobytes())
    change(meta, arrays)
    arrays["meta"] = np.frombuffer(json.dumps(meta).encode(), np.uint8)
    stream = BytesIO()
    np.savez(stream, **arrays)
    path.write_bytes(stream.getvalue())


def state_of(meta):
    """Return the description of the standard scaler in the pipeline."""
    steps = meta["preprocessing"]["state"]["steps"]["list"]
    return steps[0]["tuple"][1]


TABLE = pd.DataFrame(
    {
        "text": np.array(["a", "b", "a\0", "c"] * 5, dtype=object),
        "gaps": np.array(["a", None, np.nan, "b"] * 5, dtype=object),
        "kinds": np.array([1, 2.5, 2**60 + 1, np.nan] * 5, dtype=object),
        "flag": [True, False] * 10,
        "number": [1, 2, 3, np.nan] * 5,
        "count": range(20),
    }
)
NUMBERS = ["number", "count"]


@pytest.mark.parametrize(
    "transformer",
    [
        make_column_transformer((OneHotEncoder(), ["text", "gaps", "kinds", "flag"])),
        make_column_transformer((OneHotEncoder(drop="first", dtype=np.int8), ["text", "flag"])),
        make_column_transformer((OneHotEncoder(drop=["a"]), slice("text", "text"))),
        make_column_transformer(
            (OneHotEncoder(max_categories=2, handle_unknown="infrequent_if_exist"), [0]),
            remainder=SimpleImputer(strategy="most_frequent"),
        ),
        make_column_transformer((OneHotEncoder(categories=[["c", "b", "a", "a\0"]]), ["text"])),
        make_column_transformer(
            (OrdinalEncoder(encoded_missing_value=-1), TABLE.columns[1:3]),
            (
                OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=9),
                TABLE.count() == 5,
            ),
        ),
        ColumnTransformer(
            [
                ("a", SimpleImputer(add_indicator=True, keep_empty_features=True), NUMBERS),
                ("b", "passthrough", [-3]),
                ("c", "drop", ["text"]),
                ("d", make_pipeline(SimpleImputer(strategy="median"), PCA()), NUMBERS),
                ("e", StandardScaler(), []),
            ],
            transformer_weights={"b": 2.5},
            verbose_feature_names_out=False,
        ),
        make_column_transformer(
            (FunctionTransformer(feature_names_out="one-to-one"), np.array([False] * 5 + [True]))
        ),
        make_column_transformer((OneHotEncoder(), make_column_selector(pattern="^text$|flag"))),
        make_pipeline(
            make_column_transformer((SimpleImputer(), NUMBERS), n_jobs=1), "passthrough", None
        ),
    ],
    ids=lambda t: f"{t!r:.40}",
)
@pytest.mark.parametrize("output", ["default", "pandas"])
def test_encoders_come_back_as_they_were(scaled, tmp_path, transformer, output):
    transformer = clone(transformer)
    if output == "pandas":
        for part in transformer.get_params().values():
            if isinstance(part, OneHotEncoder):
                part.set_params(sparse_output=False)
        transformer.set_output(transform="pandas")
    transformer.fit(TABLE)
    loaded = save_and_load(replace(scaled, preprocessing=transformer), tmp_path).preprocessing
    expected, got = transformer.transform(TABLE), loaded.transform(TABLE)
    assert type(got) is type(expected)
    dense = [x.toarray() if hasattr(x, "toarray") else np.asarray(x) for x in (got, expected)]
    np.testing.assert_array_equal(*dense)
    assert dense[0].dtype == dense[1].dtype
    assert loaded.get_feature_names_out().tolist() == transformer.get_feature_names_out().tolist()
    for name, value in transformer.get_params().items():
        if isinstance(value, bool | int | float | str | type | dict | None):
            expected = None if name.endswith("n_jobs") else value
            assert str(loaded.get_params()[name]) == str(expected), name


def encoded(scaled):
    """Return a set with a ColumnTransformer of a scaler and a column that is passed through."""
    steps = make_column_transformer((StandardScaler(), ["count"]), remainder="passthrough")
    return replace(scaled, preprocessing=steps.fit(TABLE[NUMBERS]))


def column_transformer(meta):
    return meta["preprocessing"]["state"]


def test_a_file_does_not_say_how_many_processes_start(scaled, tmp_path):
    encoded(scaled).save(tmp_path / "set.npz")
    rewritten(
        tmp_path / "set.npz", lambda meta, arrays: column_transformer(meta).update(n_jobs=10**6)
    )
    assert DistilledDataset.load(tmp_path / "set.npz").preprocessing.n_jobs is None


def fitted_part(meta, k):
    return column_transformer(meta)["transformers_"]["list"][k]["tuple"][1]["state"]


@pytest.mark.parametrize(
    "change",
    [
        lambda meta: fitted_part(meta, 1).update(func={"type": "float"}),
        lambda meta: fitted_part(meta, 1).update(inverse_func={"type": "numpy.float64"}),
        # One array for two: a thousand copies of a large one would fit into a small file.
        lambda meta: fitted_part(meta, 0).update(mean_=fitted_part(meta, 0)["scale_"]),
        lambda meta: fitted_part(meta, 0).update(copy={"type": "type"}),
        lambda meta: fitted_part(meta, 0).update(copy={"dtype": "U99999999"}),
        lambda meta: fitted_part(meta, 0).update(copy={"dtype": "f8,f8"}),
        lambda meta: fitted_part(meta, 0).update(copy={"float": "1e5"}),
        lambda meta: fitted_part(meta, 0).update(copy={"slice": [0]}),
        lambda meta: fitted_part(meta, 0).update(copy={"slice": [[0], 1, 1]}),
        lambda meta: fitted_part(meta, 0).update(copy={"objects": [[1]]}),
        lambda meta: fitted_part(meta, 0).update(copy={"objects": [{"type": "int"}]}),
        lambda meta: fitted_part(meta, 0).update(copy={"items": [[{"list": []}, 1]]}),
    ],
)
def test_encoders_that_are_not_right(scaled, tmp_path, change):
    encoded(scaled).save(tmp_path / "set.npz")
    rewritten(tmp_path / "set.npz", lambda meta, arrays: change(meta))
    with pytest.raises(InvalidFileError, match=r"set\.npz cannot be loaded: preprocessing cannot"):
        DistilledDataset.load(tmp_path / "set.npz")


@pytest.mark.parametrize(
    "change",
    [
        lambda meta, arrays: meta.update(preprocessing="StandardScaler"),
        lambda meta, arrays: meta.update(preprocessing={"list": []}),
        lambda meta, arrays: state_of(meta).update(estimator="os.system"),
        lambda meta, arrays: state_of(meta).update(state=["ls"]),
        lambda meta, arrays: state_of(meta)["state"].update(mean_={"array": "X"}, more={}),
        lambda meta, arrays: arrays.pop("preprocessing.0"),
    ],
)
def test_descriptions_that_are_not_right(scaled, tmp_path, change):
    scaled.save(tmp_path / "set.npz")
    rewritten(tmp_path / "set.npz", change)
    with pytest.raises(InvalidFileError, match=r"set\.npz cannot be loaded: preprocessing "):
        DistilledDataset.load(tmp_path / "set.npz")


def test_another_version_of_scikit_learn_warns(scaled, tmp_path):
    scaled.save(tmp_path / "set.npz")
    rewritten(
        tmp_path / "set.npz",
        lambda meta, arrays: state_of(meta)["state"].update(_sklearn_version="1.2"),
    )
    with pytest.warns(InconsistentVersionWarning, match=r"StandardScaler from version 1\.2"):
        DistilledDataset.load(tmp_path / "set.npz")


def test_arrays_that_claim_the_same_bytes(scaled, tmp_path):
    path = tmp_path / "set.npz"
    scaled.save(path)
    content = bytearray(path.read_bytes())
    size = int(0.6 * len(content)).to_bytes(4, "little")
    at = content.find(b"PK\x01\x02")
    while at >= 0:  # the entries of the directory at the end of the file
        if content[at + 46 :].startswith(b"preprocessing."):
            content[at + 20 : at + 28] = 2 * size
        at = content.find(b"PK\x01\x02", at + 1)
    path.write_bytes(content)
    with pytest.raises(
        InvalidFileError, match=r"arrays must fit into the file's \d+ bytes together"
    ):
        DistilledDataset.load(path)


def test_a_set_keeps_its_steps_when_the_pipeline_is_fitted_again(wine):
    X, y = wine
    pipe = make_pipeline(StandardScaler(), quick()).fit(X, y)
    distilled = DistilledDataset.from_pipeline(pipe)
    expected = pipe[:-1].transform(X)
    pipe.fit(100 * X, y)
    np.testing.assert_array_equal(distilled.preprocessing.transform(X), expected)


@pytest.mark.parametrize("device", ["cuda:7", torch.device("cpu")], ids=str)
def test_a_device_stays_on_its_machine(scaled, images, tmp_path, device):
    whitener = ZCAWhitener().fit(images[0]).set_params(device=device)
    steps = make_pipeline(whitener)
    loaded = save_and_load(replace(scaled, preprocessing=steps), tmp_path).preprocessing
    assert loaded[0].device == "auto"
    assert whitener.device == device
    loaded.transform(images[0])


def test_a_set_with_preprocessing_standardizes_tensors(scaled, wine):
    X = wine[0].to_numpy()
    scaled = replace(scaled, preprocessing=StandardScaler().fit(X))
    found = scaled.standardize(torch.tensor(X, requires_grad=True))
    np.testing.assert_array_equal(found, scaled.standardize(X))


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_a_set_with_names_of_its_own_takes_what_its_steps_make(library):
    X, y = np.random.default_rng(0).normal(size=(30, 3)), np.arange(30) % 2
    pca = PCA(2).fit(X)
    frame = pd.DataFrame(pca.transform(X)[:2], columns=["u", "v"])
    data = DistilledDataset.from_arrays(frame, y[:2], preprocessing=pca)
    expected = data.standardize(X)
    with config_context(transform_output=library):
        np.testing.assert_array_equal(data.standardize(X), expected)
