"""Tables of text, categories and numbers: refused unencoded, distilled encoded, and restored."""

import datetime
import decimal
import io
import json
import warnings
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import polars as pl
import pytest
import tools
from scipy.sparse import csr_array
from sklearn.compose import ColumnTransformer, make_column_selector, make_column_transformer
from sklearn.decomposition import PCA
from sklearn.feature_selection import VarianceThreshold
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    KBinsDiscretizer,
    KernelCenterer,
    OneHotEncoder,
    OrdinalEncoder,
    PolynomialFeatures,
    QuantileTransformer,
    StandardScaler,
)
from tools import ROOT

from skdistill import (
    BoostedDistiller,
    DistillationSampler,
    DistilledClassifier,
    DistilledDataset,
    KernelRidgeClassifier,
)
from skdistill.evaluation import evaluate

N = 24


# A distiller whose samples stay near the real rows that it starts from.
quick = partial(
    tools.quick,
    ipc=3,
    init="real",
    max_iter=1,
    window=1,
    unroll=1,
    n_networks=1,
    eval_steps=2,
    learning_rate=1e-4,
)


def people():
    """Return a table with a column of every kind, and labels."""
    rng = np.random.default_rng(0)
    income = rng.normal(3e4, 1e4, N).round(2)
    income[::5] = np.nan
    sex = rng.choice(np.array(["m", "f", np.nan], dtype=object), N)
    X = pd.DataFrame(
        {
            "id": np.arange(N),
            "age": rng.integers(18, 90, N).astype(np.uint8),
            "sex": sex,
            "income": income,
            "grade": pd.Categorical(rng.choice(["lo", "hi"], N), ["lo", "mid", "hi"], ordered=True),
            "member": rng.random(N) < 0.5,
            "kids": pd.array(rng.integers(0, 4, N), dtype="Int64"),
            "town": rng.choice(["A", "B", "C"], N),
            "floor": rng.integers(-1, 3, N),
        }
    )
    return X, pd.Series(np.where(X["age"] > 50, "yes", "no"), name="bought")


def encoder(**parameters):
    """Return a transformer that turns `people` into numbers, in several ways."""
    return make_column_transformer(
        (OneHotEncoder(sparse_output=False), make_column_selector(pattern="^sex$")),
        (make_pipeline(SimpleImputer(add_indicator=True), StandardScaler()), ["income"]),
        (OrdinalEncoder(categories=[["lo", "mid", "hi"]]), slice("grade", "grade")),
        (OneHotEncoder(drop="first", dtype=np.float32), ["town"]),
        (OneHotEncoder(drop="if_binary"), [5]),
        (OrdinalEncoder(dtype=float), np.array([False] * 8 + [True])),
        ("drop", ["id"]),
        remainder="passthrough",
        **parameters,
    )


@pytest.fixture(scope="module")
def bought():
    """Return the table, its labels and the set of a pipeline whose last transformer is a scaler."""
    X, y = people()
    pipe = make_pipeline(encoder(), StandardScaler(), quick()).fit(X, y)
    return X, y, DistilledDataset.from_pipeline(pipe, X)


def save_and_load(data, folder):
    data.save(folder / "set.npz")
    return DistilledDataset.load(folder / "set.npz")


# --- what cannot be distilled -----------------------------------------------------------------


NUMBERS = {"a": np.arange(6.0), "b": np.arange(6)}
DAYS = [datetime.date(2020, 1, day) for day in range(1, 7)]
TEXT = ["u", "v"] * 3
UNENCODED = {
    "category": (pd.DataFrame({**NUMBERS, "c": pd.Categorical(TEXT)}), "'c' .categories."),
    "category of numbers": (pd.DataFrame({"c": pd.Categorical([1, 2] * 3)}), "'c' .categories."),
    "string": (pd.DataFrame({**NUMBERS, "c": pd.Series(TEXT, dtype="string")}), "'c' .text."),
    "text in objects": (pd.DataFrame({"c": pd.Series(TEXT, dtype=object)}), "'c' .text."),
    "digits as text": (pd.DataFrame({"c": ["1", "2"] * 3}), "'c' .text."),
    "text and numbers": (pd.DataFrame({"c": pd.Series([1, "x"] * 3, dtype=object)}), "objects"),
    "dates": (pd.DataFrame({**NUMBERS, "c": pd.to_datetime(DAYS)}), "'c' .dates or times.. Turn"),
    "periods": (pd.DataFrame({"c": pd.period_range("2020", periods=6)}), "dates or times.. Turn"),
    "durations": (pd.DataFrame({"c": pd.to_timedelta(range(6), unit="D")}), "'c' .dates or times"),
    "polars Categorical": (pl.DataFrame({"c": pl.Series(TEXT, dtype=pl.Categorical)}), "categori"),
    "polars Enum": (pl.DataFrame({"c": pl.Series(TEXT, dtype=pl.Enum(["u", "v"]))}), "categories"),
    "polars String": (pl.DataFrame({**NUMBERS, "c": TEXT}), "'c' .text."),
    "polars Date": (pl.DataFrame({**NUMBERS, "c": DAYS}), "'c' .dates or times."),
    "dates in objects": (pd.DataFrame({"c": pd.Series(DAYS, dtype=object)}), "dates or times"),
    "lists": (pd.DataFrame({"c": [[1], [2]] * 3}), "'c' .lists or records.. Spread"),
    "arrays": (pd.DataFrame({"c": [np.ones(1)] * 6}), "'c' .lists or records.. Spread"),
    "complex": (pd.DataFrame({"c": np.full(6, 1j)}), "'c' .complex numbers.. Split"),
    "complex in objects": (pd.DataFrame({"c": pd.Series([1, np.complex128(1j)] * 3)}), "complex"),
    "intervals": (pd.DataFrame({"c": pd.interval_range(0, 6)}), "'c' .objects.. Encode"),
    "polars List": (pl.DataFrame({"c": [[1], [2]] * 3}), "'c' .lists or records.. Spread"),
    "polars Struct": (pl.DataFrame({"c": [{"d": 1}] * 6}), "'c' .lists or records.. Spread"),
    "array of dates": (np.array(DAYS, "M8[D]").reshape(-1, 1), r"array of datetime64\[D\]. Turn"),
}  # fmt: skip


@pytest.mark.parametrize(("X", "message"), UNENCODED.values(), ids=UNENCODED)
def test_columns_that_are_not_numbers_are_named_before_any_work(monkeypatch, X, message):
    monkeypatch.setattr(
        "skdistill._data.training.describe", lambda *_: pytest.fail("the data was hashed")
    )
    with pytest.raises(ValueError, match=f"X must hold numbers; got .*{message}"):
        quick(ipc=1).fit(X, [0, 1] * 3)


def test_the_way_out_can_be_pasted():
    X, y = people()
    with pytest.raises(ValueError, match="X must hold numbers") as error:
        BoostedDistiller(ipc=5, distiller=quick()).fit(X, y)
    text = str(error.value)
    for name in ("'sex' (text)", "'town' (text)", "'grade' (categories)"):
        assert name in text
    assert "'age'" not in text
    assert "OrdinalEncoder is for those with an order" in text
    pipe = pasted(text).fit(X, y)
    assert pipe[-1].n_features_in_ == 6 + 3 + 2 + 3
    # A test may have towns that the training data had not.
    assert pipe.score(X.assign(town="Z"), y) >= 0
    whole = X.drop(columns="income")
    with pytest.raises(ValueError, match="remainder='passthrough'") as error:
        quick().fit(whole, y)
    assert pasted(str(error.value)).fit(whole, y)[-1].n_features_in_ == 5 + 3 + 2 + 3


def pasted(message):
    """Return the pipeline that a message says."""
    code = message[message.index("make_pipeline(") : message.index("; OrdinalEncoder")]
    return eval(code, globals() | {"distiller": quick()})


WITH_GAPS = {
    "a": np.array([1.0, np.nan, 3, 4, 5, 6]), "b": np.arange(6.0), "c": [1, None, None, 4, 5, 6]
}  # fmt: skip
FRAMES_WITH_GAPS = {
    "pandas": pd.DataFrame(WITH_GAPS),
    "Float64": pd.DataFrame(WITH_GAPS).astype("Float64"),
    "Int64": pd.DataFrame(WITH_GAPS).astype({"b": "Int64", "c": "Int64"}),
    "objects": pd.DataFrame(WITH_GAPS).astype({"c": object}),
    "NA in objects": pd.DataFrame({**WITH_GAPS, "c": pd.array([1, pd.NA, pd.NA, 4, 5, 6], object)}),
    # Null and NaN are two things there.
    "polars": pl.DataFrame(WITH_GAPS),
}


@pytest.mark.parametrize("X", FRAMES_WITH_GAPS.values(), ids=FRAMES_WITH_GAPS)
def test_gaps_are_refused_by_the_names_of_their_columns(X):
    with pytest.raises(ValueError, match="X must have no missing values") as error:
        quick(ipc=1).fit(X, [0, 1] * 3)
    text = str(error.value)
    assert "; it contains NaN in 'a' (1), 'c' (2). Fill gaps" in text
    if X is FRAMES_WITH_GAPS["pandas"]:
        code = text[text.index("make_pipeline(") : text.index("; or leave")]
        eval(code, globals() | {"distiller": quick(ipc=1)}).fit(X, [0, 1] * 3)


def test_gaps_in_arrays_are_counted():
    X = np.column_stack([*WITH_GAPS.values()]).astype(float)
    message = r"it contains NaN in column 0 \(1\), column 2 \(2\)\. Fill"
    for given in (X, X.tolist(), X.astype(object), np.asfortranarray(X)):
        with pytest.raises(ValueError, match=message):
            quick(ipc=1).fit(given, [0, 1] * 3)
    images = np.zeros((6, 3, 5, 4), np.float32)
    images[1, 0, :2], images[4, 2] = np.nan, np.nan
    flat = images.reshape(6, -1)
    for given, shape in ((images, None), (images[:, :, 0], None), (flat, (3, 5, 4))):
        with pytest.raises(ValueError, match=r"2 of 6 samples contain NaN\. Leave them out"):
            quick(ipc=1, image_shape=shape).fit(given, [0, 1] * 3)


def test_other_errors_of_data_with_gaps_are_as_they_were():
    X = FRAMES_WITH_GAPS["pandas"]
    with pytest.raises(ValueError, match="Found array with 1 sample"):
        quick(ipc=1).fit(X[:1], [0])
    with pytest.raises(ValueError, match="y must have no NaN or None"):
        quick(ipc=1).fit(X[["b"]], [0, np.nan] * 3)


def test_of_very_many_columns_the_first_are_named():
    X = pd.DataFrame({f"c{i}": TEXT for i in range(20)})
    with pytest.raises(ValueError, match=r"'c7' \(text\) and 12 more\. .*'c7', \.\.\.\]"):
        quick().fit(X, [0, 1] * 3)


@pytest.mark.filterwarnings("ignore:pandas.DataFrame with sparse columns")
@pytest.mark.parametrize(
    "column",
    [
        pd.array([1, 2] * 3, dtype="Int64"),
        pd.array([True, False] * 3, dtype="boolean"),
        np.array([True, False] * 3),
        np.array([True, 2.5] * 3, dtype=object),
        np.array([decimal.Decimal("1.5"), 2] * 3, dtype=object),
        pd.arrays.SparseArray([1.0, 0.0] * 3),
    ],
    ids=["Int64", "boolean", "bool", "objects", "decimals", "sparse column"],
)
def test_columns_of_numbers_of_other_dtypes_are_distilled(column):
    X = pd.DataFrame({**NUMBERS, "c": column})
    X_syn, _ = quick(ipc=3).fit(X, [0, 1] * 3).transform()
    expected = np.sort(np.asarray(X, dtype=float), axis=0)
    np.testing.assert_allclose(np.sort(X_syn, axis=0), expected, atol=0.01)


def test_decimals_of_polars_are_distilled():
    X = pl.DataFrame({"a": range(6)}).with_columns(c=pl.col("a").cast(pl.Decimal(10, 2)))
    X_syn, _ = quick().fit(X, [0, 1] * 3).transform()
    np.testing.assert_allclose(X_syn["c"].sort(), np.arange(6), atol=0.01)


def test_a_table_of_pyarrow_is_distilled():
    pa = pytest.importorskip("pyarrow")
    X = pa.table({**NUMBERS, "c": pa.array([True, False] * 3)})
    distiller = quick(ipc=3).fit(X, [0, 1] * 3)
    X_syn, _ = distiller.transform()
    assert isinstance(X_syn, pa.Table)
    assert X_syn.column_names == [*distiller.feature_names_in_] == ["a", "b", "c"]
    assert distiller.score(X, [0, 1] * 3) >= 0
    table = pa.table({"c": TEXT, "d": pa.array(TEXT).dictionary_encode()})
    with pytest.raises(ValueError, match=r"got 'c' \(text\), 'd' \(categories\)\. Encode"):
        quick().fit(table, [0, 1] * 3)


def test_a_lazy_frame_is_to_be_collected():
    lazy, y = pl.DataFrame(NUMBERS).lazy(), [0, 1] * 3
    distiller = quick().fit(lazy.collect(), y)
    for call in (quick().fit, distiller.score, partial(evaluate, distiller.distilled_)):
        with pytest.raises(TypeError, match=r"got a LazyFrame.*Call its \.collect\(\)"):
            call(lazy, y)


def test_a_frame_of_sparse_columns_says_how_to_make_it_dense():
    X = pd.DataFrame(NUMBERS).astype(pd.SparseDtype(float, 0))
    with pytest.raises(TypeError, match=r"sparse columns\. Pass X\.sparse\.to_dense\(\)"):
        quick().fit(X, [0, 1] * 3)
    quick().fit(X.sparse.to_dense(), [0, 1] * 3)


FLAGS = pd.Series([False, True] * 3, name="flag")
LABELS = {
    "boolean": (FLAGS.astype("boolean"), np.bool_),
    "Int64": (FLAGS.astype("Int64"), np.int64),
    "UInt8": (FLAGS.astype("UInt8"), np.uint8),
    "category of bool": (FLAGS.astype("category"), np.bool_),
    "category of Int64": (FLAGS.astype("Int64").astype("category"), np.int64),
    "array of pandas": (FLAGS.astype("boolean").array, np.bool_),
}


@pytest.mark.parametrize(("y", "dtype"), LABELS.values(), ids=LABELS)
def test_labels_of_a_dtype_that_may_have_gaps_stay_what_they_are(y, dtype):
    X = pd.DataFrame(NUMBERS)
    distiller = quick().fit(X, y)
    assert distiller.classes_.dtype == distiller.transform()[1].dtype == dtype
    assert distiller.classes_.tolist() == [0, 1]
    assert distiller.score(X, y) == distiller.score(X, np.asarray(y))


def test_gaps_in_labels_are_refused():
    with pytest.raises(ValueError, match=r"y must have no NaN or None: .* 2 of 6 here"):
        quick().fit(pd.DataFrame(NUMBERS), pd.Series([0, 1, None] * 2, dtype="Int64"))


def test_labels_may_be_a_categorical_of_polars():
    y = pl.Series("kind", TEXT, dtype=pl.Categorical)
    pl.Series(["another", "column"], dtype=pl.Categorical)
    assert quick().fit(pl.DataFrame(NUMBERS), y).classes_.tolist() == ["u", "v"]


@pytest.mark.skipif(not hasattr(np.dtypes, "StringDType"), reason="needs NumPy 2")
def test_labels_may_be_strings_of_numpy():
    X, y = pd.DataFrame(NUMBERS), np.array(TEXT, "T")
    distiller = quick().fit(X, y)
    assert distiller.classes_.tolist() == ["u", "v"]
    assert distiller.score(X, y) == distiller.score(X, TEXT)
    classifier = DistilledClassifier(quick(), classifier=LogisticRegression()).fit(X, y)
    assert classifier.score(X, y) == classifier.score(X, TEXT)
    with pytest.raises(ValueError, match="numeric"):
        quick().fit(X.to_numpy().astype("T"), y)


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (TEXT, r"X must hold numbers; got 'b' \(text\). Turn them into numbers as in the train"),
        (["1", "2"] * 3, r"X must hold numbers; got 'b' \(text\)"),
        (pd.Categorical([1, 2] * 3), r"X must hold numbers; got 'b' \(categories\)"),
        (pd.to_datetime(DAYS), r"X must hold numbers; got 'b' \(dates or times\)"),
        ([1, np.nan] * 3, r"X must have no missing values; it contains NaN in 'b' \(3\)"),
        (pd.array([1, pd.NA] * 3, object), r"X must have no missing .* NaN in 'b' \(3\)"),
    ],
    ids=["text", "digits as text", "categories", "dates", "NaN", "NA"],
)
def test_errors_of_test_data_name_the_columns(column, message):
    X, y = pd.DataFrame(NUMBERS), [0, 1] * 3
    distiller = quick().fit(X, y)
    data = distiller.distilled_
    for call in (partial(distiller.score, y=y), partial(evaluate, data, y=y), data.standardize):
        with pytest.raises(ValueError, match=message):
            call(X.assign(b=column))
    with pytest.raises(ValueError, match=message):
        KernelRidgeClassifier().fit(X, y).predict(X.assign(b=column))
    with pytest.raises(ValueError, match=r"(?s)feature names should match.*unseen at fit.*- c"):
        distiller.score(X.assign(c=column), y)


@pytest.mark.parametrize("wrapped", [False, True])
def test_sparse_data_says_how_an_encoder_gives_dense_data(wrapped):
    distiller = quick(ipc=1)
    if wrapped:
        many = pd.DataFrame({"c": [f"c{i}" for i in range(20)]})
        pipe = make_pipeline(make_column_transformer((OneHotEncoder(), ["c"])), distiller)
        call, X = pipe.fit, many
    else:
        call, X = distiller.fit, csr_array(np.eye(20))
    with pytest.raises(TypeError, match=r"sparse_output=False.*sparse_threshold=0.*toarray\(\)"):
        call(X, [0, 1] * 10)


# --- back to the original table ---------------------------------------------------------------


def test_the_original_columns_come_back(bought):
    X, y, distilled = bought
    frame = distilled.to_frame(original=True)
    features = frame.drop(columns="bought")
    assert list(frame) == [*X.columns[1:], "bought"]
    # Object columns of strings, None among them, are as pandas finds them.
    kept = X.columns[1:].drop(["sex", "town"])
    assert features.dtypes[kept].to_dict() == X.dtypes[kept].to_dict()
    # The samples have hardly moved from the rows that they were.
    rows = X.drop(columns="id").round({"income": -1}).astype(object)
    assert y.groupby(y).size().min() >= 3
    for row, label in zip(features.round({"income": -1}).astype(object).values, frame["bought"]):
        same = [(pd.isna(r) | (r == row)).all() for r in rows[y == label].values]
        assert any(same), row


def test_what_comes_back_can_be_encoded_again(bought):
    _, _, distilled = bought
    frame = distilled.to_frame(original=True)
    again = distilled.preprocessing.transform(frame)
    np.testing.assert_allclose(again, distilled.X, atol=0.02)
    assert evaluate(distilled, frame, frame["bought"]).mean >= 0.5
    csv = io.StringIO(frame.to_csv(index=False))
    assert pd.read_csv(csv)["age"].tolist() == frame["age"].tolist()


def test_a_set_with_encoders_can_be_saved(bought, tmp_path):
    X, _, distilled = bought
    loaded = save_and_load(distilled, tmp_path)
    np.testing.assert_array_equal(
        loaded.preprocessing.transform(X), distilled.preprocessing.transform(X)
    )
    for original in (False, True):
        pd.testing.assert_frame_equal(
            loaded.to_frame(original=original), distilled.to_frame(original=original)
        )
    assert loaded.feature_names == distilled.feature_names
    assert loaded.target_name == "bought"
    assert loaded.original_dtypes == distilled.original_dtypes


def test_features_are_named_by_the_steps(bought):
    _, _, distilled = bought
    assert distilled.feature_names[:4] == (
        "onehotencoder-1__sex_f", "onehotencoder-1__sex_m", "onehotencoder-1__sex_nan",
        "pipeline__income",
    )  # fmt: skip
    assert list(distilled.to_frame())[:-1] == list(distilled.feature_names)


def test_arrays_get_no_invented_names():
    X = np.arange(12.0).reshape(6, 2)
    pipe = make_pipeline(StandardScaler(), quick()).fit(X, [0, 1] * 3)
    distilled = DistilledDataset.from_pipeline(pipe, X.astype(int))
    assert distilled.feature_names is None
    assert distilled.to_frame(original=True).dtypes.tolist() == [np.int64] * 3
    with pytest.raises(ValueError, match="X must have the 2 columns that pipeline was fitted on"):
        DistilledDataset.from_pipeline(pipe, np.zeros((1, 3), int))


def test_without_the_table_numbers_come_back_as_floats():
    X, y = people()
    columns = ["age", "member", "town"]
    pipe = make_pipeline(
        make_column_transformer((OneHotEncoder(), ["town"]), remainder="passthrough"), quick()
    )
    distilled = DistilledDataset.from_pipeline(pipe.fit(X[columns], y))
    frame = distilled.to_frame(original=True)
    assert list(frame) == [*columns, "bought"]
    assert frame["age"].dtype == frame["member"].dtype == np.float64
    assert set(frame["town"]) <= {"A", "B", "C"}
    with pytest.raises(ValueError, match=r"fitted on; it lacks \['member'\]"):
        DistilledDataset.from_pipeline(pipe, X[["town", "age"]])


def test_polars_goes_the_same_way(tmp_path):
    X, y = people()
    X = pl.DataFrame(
        {name: X[name].tolist() for name in ("age", "town", "grade", "member", "kids")}
    )
    X = X.with_columns(
        pl.col("age").cast(pl.UInt8),
        pl.col("town").cast(pl.Categorical),
        pl.col("grade").cast(pl.Enum(["lo", "mid", "hi"])),
    )
    encode = make_column_transformer(
        (OneHotEncoder(sparse_output=False), ["town", "grade"]), remainder="passthrough"
    )
    pipe = make_pipeline(encode, quick()).fit(X, pl.Series("bought", y.tolist()))
    distilled = save_and_load(DistilledDataset.from_pipeline(pipe, X), tmp_path)
    frame = distilled.to_frame(original=True)
    assert list(frame) == [*X.columns, "bought"]
    assert frame.dtypes[["age", "kids", "member"]].tolist() == [np.uint8, np.int64, bool]
    assert frame["town"].cat.categories.tolist() == ["A", "B", "C"]
    assert frame["grade"].cat.categories.tolist() == ["lo", "mid", "hi"]
    assert frame["grade"].cat.ordered


def distilled_by(transformer, X, samples, **changes):
    """Return a set of these samples, with a preprocessing that was fitted on X."""
    pipe = make_pipeline(transformer, quick(ipc=1)).fit(X, np.arange(len(X)) % 2)
    data = DistilledDataset.from_pipeline(pipe, X)
    return replace(data, X=np.asarray(samples, dtype=np.float64), **changes)


def original(transformer, X, samples):
    return distilled_by(transformer, X, samples).to_frame(original=True).drop(columns="target")


@pytest.mark.parametrize(
    ("options", "samples", "expected"),
    [
        ({}, [[0.5, 0.4, 0.3], [-1, -3, -2]], ["a", "a"]),
        ({}, [[-9, 0.1, 0.0], [0, 0, 1e-9]], ["b", "c"]),
        # The column that was dropped is 1 minus the others.
        ({"drop": "first"}, [[0.1, 0.2], [0.45, 0.4]], ["a", "b"]),
        ({"drop": ["b"]}, [[0.1, 0.2], [0.2, 0.7]], ["b", "c"]),
        ({"max_categories": 2}, [[0.6, 0.4], [0.1, 0.2]], ["a", "infrequent_sklearn"]),
        ({"handle_unknown": "ignore"}, [[0, 0, 0], [0, 0.1, 0]], ["a", "b"]),
    ],
    ids=str,
)
def test_one_hot_columns_snap_to_the_largest(options, samples, expected):
    X = pd.DataFrame({"c": ["a", "b", "c", "a"]})
    frame = original(OneHotEncoder(sparse_output=False, **options), X, samples)
    assert frame["c"].tolist() == expected


@pytest.mark.parametrize(
    ("options", "samples", "expected"),
    [
        ({}, [[1.4], [-7]], ["b", "a"]),
        ({}, [[1.6], [99]], ["c", "c"]),
        ({"max_categories": 2}, [[0.4], [0.6]], ["a", "infrequent_sklearn"]),
        ({"encoded_missing_value": -1}, [[-0.6], [-0.4]], [np.nan, "a"]),
        (
            {"encoded_missing_value": -1, "max_categories": 2},
            [[-0.6], [2]],
            [np.nan, "infrequent_sklearn"],
        ),
    ],
    ids=str,
)
def test_ordinal_codes_snap_to_the_nearest(options, samples, expected):
    X = pd.DataFrame({"c": ["a", "b", "c", "a"]})
    if "encoded_missing_value" in options:
        X = pd.concat([X, pd.DataFrame({"c": [np.nan]})])
    frame = original(OrdinalEncoder(**options), X, samples)
    pd.testing.assert_series_equal(frame["c"], pd.Series(expected, name="c"))


@pytest.mark.parametrize(
    "encoder",
    [
        OrdinalEncoder(),
        OrdinalEncoder(min_frequency=2),
        OrdinalEncoder(max_categories=3),
        OrdinalEncoder(max_categories=1, encoded_missing_value=-1),
        OrdinalEncoder(min_frequency=2, encoded_missing_value=-1),
        # Codes that follow that of the pooled category.
        OrdinalEncoder(max_categories=2, encoded_missing_value=2),
        OrdinalEncoder(min_frequency=2, encoded_missing_value=3),
        OrdinalEncoder(min_frequency=2, handle_unknown="use_encoded_value", unknown_value=3),
        OneHotEncoder(sparse_output=False, min_frequency=2),
        OneHotEncoder(sparse_output=False, max_categories=2, drop="first"),
    ],
    ids=str,
)
def test_what_an_encoder_made_of_rare_and_missing_categories_comes_back(encoder):
    values = [*"aaaaabcccccc", *[np.nan] * 4]
    X = pd.DataFrame({"c": np.array(values, dtype=object)})
    # A distiller takes no NaN, which OrdinalEncoder passes on; the indicator brings it back.
    steps = make_pipeline(encoder, SimpleImputer(add_indicator=True))
    rare = (getattr(encoder.fit(X), "infrequent_categories_", None) or [()])[0]
    expected = ["infrequent_sklearn" if v in list(rare) else v for v in values]
    frame = original(steps, X, steps.fit_transform(X))
    pd.testing.assert_series_equal(frame["c"], pd.Series(expected, name="c"))


@pytest.mark.parametrize("dtype", ["uint8", "int8", "Int64", "int64", "UInt64"])
def test_integers_are_rounded_and_do_not_wrap_around(dtype):
    X = pd.DataFrame({"c": pd.array([1, 2, 3, 4], dtype=dtype)})
    limits = np.iinfo(dtype.lower())
    frame = original(FunctionTransformer(), X, [[-1e30], [1e30]])
    assert frame["c"].tolist() == [limits.min, limits.max]
    assert original(FunctionTransformer(), X, [[1.6], [2.4]])["c"].tolist() == [2, 2]
    assert frame["c"].dtype == dtype


def test_large_categories_keep_their_last_digits():
    X = pd.DataFrame({"c": [2**60 + 1, 2**60 + 3] * 2})
    frame = original(OrdinalEncoder(), X, [[0.2], [0.9]])
    assert frame["c"].tolist() == [2**60 + 1, 2**60 + 3]


@pytest.mark.parametrize("dtype", ["bool", "boolean"])
def test_booleans_are_true_from_a_half_on(dtype):
    X = pd.DataFrame({"c": pd.array([True, False] * 2, dtype=dtype)})
    frame = original(FunctionTransformer(), X, [[0.49], [0.5]])
    assert frame["c"].tolist() == [False, True]
    assert frame["c"].dtype == dtype


def test_a_category_of_numbers_snaps_to_the_nearest():
    X = pd.DataFrame({"c": pd.Categorical([10, 20] * 2)})
    frame = original(StandardScaler(), X, [[-0.9], [0.7]])
    assert frame["c"].tolist() == [10, 20]
    assert frame["c"].dtype == "category"


@pytest.mark.parametrize("encoder", [OneHotEncoder(sparse_output=False), OrdinalEncoder()])
def test_a_category_of_booleans_comes_back(encoder):
    X = pd.DataFrame({"c": pd.Categorical([True, False, True, True])})
    frame = original(encoder, X, encoder.fit_transform(X))
    pd.testing.assert_frame_equal(frame, X)


def test_a_dictionary_of_pyarrow_comes_back_as_a_category():
    pa = pytest.importorskip("pyarrow")
    dictionary = pd.ArrowDtype(pa.dictionary(pa.int32(), pa.string()))
    X = pd.DataFrame({"c": pd.Series(["b", "a"] * 3).astype(dictionary)})
    encoder = OneHotEncoder(sparse_output=False)
    frame = original(encoder, X, encoder.fit_transform(X))
    assert frame["c"].dtype == pd.CategoricalDtype(["a", "b"])
    assert frame["c"].tolist() == ["b", "a"] * 3
    _, y_syn = DistillationSampler(quick()).fit_resample(np.eye(6), X["c"])
    assert y_syn.dtype == dictionary
    assert set(y_syn) == {"a", "b"}


def test_a_missing_category_of_numbers_stays_missing():
    X = pd.DataFrame({"c": pd.Categorical([10, 20, None, 20], ordered=True)})
    frame = original(SimpleImputer(add_indicator=True), X, [[18, 0.1], [12, 0.9], [11, 0.4]])
    pd.testing.assert_series_equal(
        frame["c"], pd.Series(pd.Categorical([20, None, 10], [10, 20], ordered=True), name="c")
    )


def test_infinity_is_no_category_of_numbers():
    X = pd.DataFrame({"c": pd.Categorical([10, 20] * 2)})
    to_infinity = FunctionTransformer(np.abs, lambda X: np.where(X > 20, np.inf, X))
    steps = make_pipeline(SimpleImputer(), to_infinity)
    with pytest.warns(UserWarning, match="they become NaN or infinite"):
        frame = original(steps, X, [[12], [21]])
    assert frame["c"].tolist() == [12, np.inf]


def test_a_pooled_category_is_not_lost_from_a_categorical():
    X = pd.DataFrame({"c": pd.Categorical(["a", "a", "b", "c"])})
    encode = OneHotEncoder(max_categories=2, sparse_output=False)
    frame = original(encode, X, [[0.9, 0.1], [0.1, 0.9]])
    assert frame["c"].tolist() == ["a", "infrequent_sklearn"]


def test_missing_values_come_back_where_the_indicator_says_so():
    X = pd.DataFrame({"c": pd.array([1, None, 3, 4], dtype="Int64"), "d": [np.nan] * 4})
    impute = SimpleImputer(add_indicator=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn warns of the empty column
        frame = original(impute, X, [[2.2, 0.6, 0.9], [2.6, 0.4, 0.9]])
    assert frame["c"].isna().tolist() == [True, False]
    assert frame["c"].dtype == "Int64"
    assert frame["c"][1] == 3
    assert frame["d"].isna().all()


def test_imputed_text_comes_back():
    X = pd.DataFrame({"c": np.array(["a", np.nan, "a", "b"], dtype=object)})
    steps = make_pipeline(
        SimpleImputer(strategy="most_frequent"), OneHotEncoder(sparse_output=False)
    )
    assert original(steps, X, [[0.9, 0.1], [0.3, 0.6]])["c"].tolist() == ["a", "b"]


def test_weights_of_a_column_transformer_are_divided_out():
    X = pd.DataFrame({"a": [1.0, 2, 3, 4], "b": [5.0, 6, 7, 8]})
    steps = ColumnTransformer(
        [("p", "passthrough", ["b"]), ("s", "passthrough", ["a"])], transformer_weights={"p": 4}
    )
    frame = original(steps, X, [[4, 1], [8, 2]])
    assert frame.to_dict("list") == {"a": [1, 2], "b": [1, 2]}


def test_the_first_way_back_counts():
    X = pd.DataFrame({"a": [1.0, 2, 3, 4]})
    steps = make_column_transformer(
        (PolynomialFeatures(include_bias=False), ["a"]), ("passthrough", ["a"]),
        (StandardScaler(), ["a"]),
    )  # fmt: skip
    assert original(steps, X, [[9, 9, 1, 9], [9, 9, 2, 9]])["a"].tolist() == [1, 2]


def test_other_inverses_are_used():
    X = pd.DataFrame({"a": [1.0, 2, 3, 4], "b": [1.0, 1, 1, 1], "c": [4.0, 7, 1, 1]})
    steps = make_pipeline(QuantileTransformer(n_quantiles=4), VarianceThreshold(), PCA())
    frame = original(steps, X, np.zeros((2, 2)))
    # The column that the selection dropped left no trace.
    assert list(frame) == ["a", "c"]
    middle = QuantileTransformer(n_quantiles=4).fit(X)
    center = middle.transform(X).mean(axis=0, keepdims=True)
    np.testing.assert_allclose(frame.values[0], middle.inverse_transform(center)[0][[0, 2]])


def test_bins_beyond_the_last_do_not_come_back_as_the_first():
    X = pd.DataFrame({"a": [0.0, 1, 2, 3]})
    bins = KBinsDiscretizer(3, encode="ordinal", strategy="uniform", quantile_method="linear")
    assert original(bins, X, [[-1.4], [3.4]])["a"].tolist() == [0.5, 2.5]


def double(x):
    return 2 * x


def root(x):
    with np.errstate(invalid="ignore"):
        return np.sqrt(x)


def test_columns_without_a_way_back_are_named():
    X = pd.DataFrame({"a": [1.0, 2, 3, 4], "b": [5.0, 6, 7, 8], "c": [1.0, 0, 1, 0]})
    steps = make_column_transformer(
        (PolynomialFeatures(), ["a"]), (FunctionTransformer(double), ["b"]), ("passthrough", ["c"])
    )
    data = distilled_by(make_pipeline(steps, StandardScaler()), X, np.zeros((2, 5)))
    with pytest.raises(
        ValueError,
        match=r"'a' \(PolynomialFeatures\), 'b' \(FunctionTransformer\) has none.*original=False",
    ):
        data.to_frame(original=True)
    assert data.to_frame().shape == (2, 6)
    steps = FunctionTransformer(double, inverse_func=root, check_inverse=False)
    with pytest.warns(UserWarning, match="no original for some values"):
        frame = original(steps, X, [[4.0, 1, 1], [-1, 1, 1]])
    assert frame["a"][0] == 2


def test_frames_that_were_distilled_bare_come_back_rounded(tmp_path):
    X, y = people()
    X = X[["age", "member", "kids", "floor"]]
    distilled = save_and_load(quick().fit(X, y).distilled_, tmp_path)
    frame = distilled.to_frame(original=True)
    assert frame.dtypes[:-1].to_dict() == X.dtypes.to_dict()
    assert distilled.to_frame()["age"].dtype == np.float64
    ints = quick().fit(X[["age", "floor"]].values, y).distilled_
    assert ints.to_frame(original=True).dtypes[:-1].tolist() == [np.int64] * 2


def test_images_go_through_the_inverse_of_their_preprocessing(images):
    X, y = images
    pipe = make_pipeline(
        FunctionTransformer(double, inverse_func=double, check_inverse=False), quick()
    ).fit(X, y)
    distilled = DistilledDataset.from_pipeline(pipe)
    frame = distilled.to_frame(original=True)
    np.testing.assert_array_equal(frame.values[:, :-1], 2 * distilled.X.reshape(6, -1))


def test_images_without_a_way_back_are_refused(images):
    X, y = images
    distilled = quick().fit(X, y).distilled_
    centered = replace(distilled, preprocessing=KernelCenterer())
    with pytest.raises(ValueError, match=r"KernelCenterer\(\) has none.*original=False"):
        centered.to_frame(original=True)
    steps = make_pipeline("passthrough", FunctionTransformer(np.log1p))
    with pytest.raises(ValueError, match=r"FunctionTransformer.*log1p.* has none"):
        replace(distilled, preprocessing=steps).to_frame(original=True)


def test_the_example_of_the_gallery_goes_from_file_to_file(monkeypatch, capsys):
    pyplot = pytest.importorskip("matplotlib.pyplot")
    monkeypatch.setattr(pyplot, "show", lambda: pyplot.close("all"))
    code = (ROOT / "examples/plot_mixed_table.py").read_text()
    smaller = {
        "max_iter=40, window=10, unroll=30": "max_iter=1, window=1, unroll=1, eval_steps=5",
        "n_networks=5, n_networks_whole=3": "n_networks=1, n_networks_whole=1",
    }
    for text, replacement in smaller.items():
        assert code.count(text) == 1, text
        code = code.replace(text, replacement)
    names = {}
    exec(code, names)
    rows = names["rows"]
    assert list(rows) == list(names["table"])
    assert (rows.drop(columns="ash").dtypes == names["table"].drop(columns="ash").dtypes).all()
    assert set(rows["hue"]) <= {"brick", "ruby", "purple"}
    assert rows["color"].nunique() > 1
    assert "k-means centroids" in capsys.readouterr().out


# --- the target's name ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "y",
    [
        pd.Series([0, 1] * 3, name="kind"),
        pd.DataFrame({"kind": [0, 1] * 3}),
        pl.Series("kind", [0, 1] * 3),
        pl.DataFrame({"kind": [0, 1] * 3}),
    ],
    ids=["Series", "DataFrame", "polars Series", "polars DataFrame"],
)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.DataConversionWarning")
def test_the_name_of_the_labels_is_kept(tmp_path, y):
    distilled = save_and_load(quick().fit(np.eye(6), y).distilled_, tmp_path)
    assert distilled.subset(1).to_frame().columns[-1] == "kind"
    assert distilled.to_frame(target_name="sort").columns[-1] == "sort"
    soft = replace(distilled, y=np.eye(2)[distilled.y])
    assert list(soft.to_frame())[-2:] == ["kind_0", "kind_1"]


@pytest.mark.parametrize("make", [pd.Series, pl.Series, list, partial(pd.Series, name=0)])
def test_labels_without_a_name_are_the_target(make):
    assert quick().fit(np.eye(6), make([0, 1] * 3)).distilled_.to_frame().columns[-1] == "target"


def test_files_from_before_the_name_was_kept_load(tmp_path):
    data = quick().fit(pd.DataFrame(NUMBERS), pd.Series([0, 1] * 3, name="kind")).distilled_
    data.save(tmp_path / "set.npz")
    with np.load(tmp_path / "set.npz") as file:
        arrays = dict(file)
    meta = json.loads(arrays.pop("meta").tobytes())
    del meta["target_name"], meta["original_dtypes"]
    arrays["meta"] = np.frombuffer(json.dumps(meta).encode(), np.uint8)
    np.savez(tmp_path / "set.npz", **arrays)
    loaded = DistilledDataset.load(tmp_path / "set.npz")
    assert list(loaded.to_frame(original=True)) == ["a", "b", "target"]


def test_boosted_sets_keep_the_name():
    y = pd.Series([0, 1] * 3, name="kind")
    boosted = BoostedDistiller(ipc=2, block_size=1, distiller=quick()).fit(np.eye(6), y)
    assert boosted.distilled_.target_name == "kind"


@pytest.mark.parametrize("library", [pd, pl])
def test_a_target_that_was_left_in_the_features_is_refused_before_any_work(monkeypatch, library):
    monkeypatch.setattr(
        "skdistill._data.training.describe", lambda *_: pytest.fail("the data was hashed")
    )
    frame = library.DataFrame({"a": np.arange(6.0), "kind": [0, 1] * 3})
    with pytest.raises(ValueError, match="X must not hold the target: it has a column 'kind'"):
        quick().fit(frame, frame["kind"])


def test_a_feature_called_target_is_no_error():
    X = pd.DataFrame({"target": np.arange(6.0), "target_": np.arange(6.0)})
    distilled = quick().fit(X, [0, 1] * 3).distilled_
    assert list(distilled.to_frame()) == ["target", "target_", "target__"]
    assert list(distilled.to_frame(target_name="kind")) == ["target", "target_", "kind"]
    with pytest.raises(ValueError, match=r"target_name='target' must not give .* another"):
        distilled.to_frame(target_name="target")
    with pytest.raises(ValueError, match="target_name must be a string that is not empty"):
        distilled.to_frame(target_name=3)


# --- polars in, polars out --------------------------------------------------------------------


def test_polars_in_polars_out():
    X = pl.DataFrame({"b": np.arange(6.0), "a": np.arange(6)})
    distiller = quick().fit(X, pl.Series("kind", TEXT))
    expected = quick().fit(X.to_numpy(), TEXT).transform()[0]
    X_syn, y_syn = distiller.transform()
    assert isinstance(X_syn, pl.DataFrame)
    assert X_syn.columns == ["b", "a"]
    np.testing.assert_array_equal(X_syn, expected)
    X_syn[0, 0] = 99.0
    assert distiller.distilled_.X.max() < 9
    assert isinstance(y_syn, np.ndarray)
    boosted = BoostedDistiller(ipc=2, block_size=1, distiller=quick()).fit(X, TEXT)
    assert isinstance(boosted.transform(ipc=1)[0], pl.DataFrame)


@pytest.mark.parametrize("dtype", [pl.String, pl.Categorical, pl.Enum(["v", "u"])], ids=str)
def test_polars_is_resampled_to_polars(dtype):
    X = pl.DataFrame({"b": np.arange(6.0), "a": np.arange(6)})
    y = pl.Series("kind", TEXT, dtype=dtype)
    X_syn, y_syn = DistillationSampler(quick(ipc=2)).fit_resample(X, y)
    assert (type(X_syn), X_syn.columns, X_syn.height) == (pl.DataFrame, ["b", "a"], 4)
    assert (y_syn.name, y_syn.dtype, y_syn.to_list()) == ("kind", dtype, ["u", "v"] * 2)


def test_a_chunked_array_of_pyarrow_is_a_target():
    pa = pytest.importorskip("pyarrow")
    X, y = np.random.default_rng(0).normal(size=(20, 3)), np.arange(20) % 2
    chunks = pa.chunked_array([y[:8], y[8:]])
    distiller = quick().fit(X, chunks)
    np.testing.assert_array_equal(distiller.transform()[0], quick().fit(X, y).transform()[0])
    assert distiller.score(X, chunks) == distiller.score(X, y)


def test_columns_may_have_the_names_of_methods():
    X, y = np.random.default_rng(0).normal(size=(20, 2)), np.arange(20) % 2
    frame = pd.DataFrame(X, columns=["detach", "cpu"])
    labels = pd.Series(y, index=["detach", *range(19)])
    fitted = quick().fit(frame, labels)
    np.testing.assert_array_equal(fitted.transform()[0], quick().fit(X, y).transform()[0])


def test_a_target_behind_an_encoder_is_warned_of():
    X = np.random.default_rng(0).normal(size=(20, 2))
    frame = pd.DataFrame(X, columns=["a", "b"]).assign(kind=["no", "yes"] * 10)
    encoder = make_column_transformer(
        (OneHotEncoder(sparse_output=False), ["kind"]), remainder="passthrough"
    )
    pipe = make_pipeline(encoder, quick()).fit(frame, frame["kind"])
    with pytest.warns(UserWarning, match=r"a column 'kind', which is the name of y: if it is"):
        DistilledDataset.from_pipeline(pipe, frame)


def test_a_target_that_the_encoder_drops_is_not_warned_of():
    X = np.random.default_rng(0).normal(size=(20, 2))
    frame = pd.DataFrame(X, columns=["a", "b"]).assign(kind=["no", "yes"] * 10)
    encoder = make_column_transformer((StandardScaler(), ["a", "b"]), remainder="drop")
    pipe = make_pipeline(encoder, quick()).fit(frame, frame["kind"])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert DistilledDataset.from_pipeline(pipe, frame).target_name == "kind"


@pytest.mark.parametrize("form", [list, np.array, lambda y: pd.DataFrame({"y": y})])
def test_missing_labels_in_other_forms(form):
    X, y = np.zeros((20, 2)), [float("nan"), *(["a", "b"] * 10)[1:]]
    y = form(y) if form is not np.array else np.array(y, dtype=object)[:, None]
    with pytest.raises(ValueError, match=r"y must have no NaN or None: .*, 1 of 20 here"):
        quick().fit(X, y)


@pytest.mark.parametrize(
    "missing", [None, float("nan"), np.float32("nan"), decimal.Decimal("nan"), pd.NA, pd.NaT]
)
@pytest.mark.parametrize("make", [quick, lambda: DistillationSampler(quick())])
def test_missing_labels_are_counted(make, missing):
    X, y = np.zeros((20, 2)), np.array([missing, *(["a", "b"] * 10)[1:]], dtype=object)
    fit = getattr(make(), "fit_resample", None) or make().fit
    with pytest.raises(ValueError, match=r"y must have no NaN or None: .*, 1 of 20 here"):
        fit(X, y)
