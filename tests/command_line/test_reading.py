"""Tables and folders of pictures on their way in: for a run, and for a set that exists."""

import warnings

import numpy as np
import pandas as pd
import pytest
import tools
from PIL import Image
from running import QUICK, people, run, skdistill, write_pictures
from sklearn.compose import make_column_transformer
from sklearn.decomposition import PCA
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

from skdistill import DistilledDataset
from skdistill._command_line.reading import check_same_columns, read_for, read_training
from skdistill.datasets import load_distilled, load_image_folder


@pytest.fixture(scope="module")
def bought(tmp_path_factory):
    """Return the file of a set that was distilled from a table with text and gaps."""
    folder = tmp_path_factory.mktemp("bought")
    people().to_csv(folder / "people.csv", index=False)
    run(
        "distill", folder / "people.csv", "--target=bought", "--ipc=2", "--seed=0", *QUICK,
        "--set=init=real", "-o", folder / "set.npz",
    )  # fmt: skip
    return folder / "set.npz"


def test_rows_come_back_in_the_columns_of_the_file(bought, tmp_path):
    distilled = DistilledDataset.load(bought)
    assert distilled.target_name == "bought"
    assert distilled.provenance["about"] == {"data": "people.csv"}
    run("export", bought, tmp_path / "rows.csv")
    table, rows = people(), pd.read_csv(tmp_path / "rows.csv", dtype={"code": str})
    assert rows.columns.tolist() == table.columns.tolist()
    assert rows["bought"].tolist() == ["no", "yes"] * 2
    assert set(rows["code"]) <= {"01", "1", "A1"}
    assert set(rows["town"].dropna()) <= set(table["town"].dropna())
    assert (rows["age"].dtype, rows["member"].dtype) == (table["age"].dtype, bool)


def test_a_column_is_text_in_all_files_if_it_is_in_one(bought, tmp_path):
    distilled = DistilledDataset.load(bought)
    path = tmp_path / "test.csv"
    # Alone, these codes would be numbers, and these labels booleans.
    table = people(seed=1).assign(code="01")
    table.to_csv(path, index=False)
    X, y = read_for(distilled, path, None)
    assert X["code"].tolist() == ["01"] * len(X)
    assert X.columns.tolist() == table.columns.tolist()[:-1]
    assert y.tolist() == table["bought"].tolist()
    encoded = distilled.preprocessing.transform(X)
    names = distilled.preprocessing.get_feature_names_out().tolist()
    assert encoded[:, names.index("onehotencoder__code_01")].all()


def test_labels_are_text_if_the_sets_are(tmp_path):
    table = pd.DataFrame({"a": range(12), "grade": ["1", "2", "A"] * 4})
    table.to_csv(tmp_path / "train.csv", index=False)
    run("distill", tmp_path / "train.csv", "--target=grade", *QUICK, "-o", tmp_path / "set.npz")
    table[table["grade"] != "A"].to_csv(tmp_path / "test.csv", index=False)
    distilled = DistilledDataset.load(tmp_path / "set.npz")
    assert distilled.preprocessing is None
    _, y = read_for(distilled, tmp_path / "test.csv", None)
    assert distilled.encode_labels(y).tolist() == [0, 1] * 4


def test_other_columns_and_another_order_do_no_harm(bought, tmp_path):
    table = people(seed=1)
    table.to_csv(tmp_path / "test.csv", index=False)
    table[table.columns[::-1]].assign(name="x").to_csv(tmp_path / "other.csv", index=False)
    first, second = (
        run("evaluate", bought, tmp_path / name, "--json").stdout
        for name in ("test.csv", "other.csv")
    )
    assert first == second


def test_a_table_that_lacks_columns_is_refused(bought, tmp_path):
    people().drop(columns=["age", "town"]).to_csv(tmp_path / "test.csv", index=False)
    result = skdistill("evaluate", bought, tmp_path / "test.csv")
    assert result.exit_code == 2
    assert "lacks columns that the set was distilled from: ['age', 'town']" in result.stderr


def written(folder, table):
    """Return the file in which a table is written."""
    table.to_csv(folder / "test.csv", index=False)
    return folder / "test.csv"


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Return the file of a set that was distilled from numbers without gaps."""
    folder = tmp_path_factory.mktemp("whole")
    people()[["age", "member", "bought"]].to_csv(folder / "people.csv", index=False)
    words = ("distill", folder / "people.csv", "--target=bought", "--seed=0", *QUICK)
    run(*words, "-o", folder / "set.npz")
    return folder / "set.npz"


def test_categories_that_the_set_has_never_seen_are_warned_of(bought, tmp_path):
    table = people(seed=1).assign(town="Rome")
    table.loc[:6, "town"] = list("ABCDEFG")
    path = written(tmp_path, table)
    result = run("evaluate", bought, path)
    assert result.stderr == (
        f"Warning: The column 'town' of {path} has values that the set has never seen, in 40 of 40 "
        "rows: 'A', 'B', 'C', 'D', 'E' and 3 more. They say nothing to its networks.\n"
    )
    words = ("--train", bought.with_name("people.csv"), "--test", path, "--networks=1")
    stderr = run("compare", bought, *words, "--baseline=random").stderr
    assert stderr.count("The column 'town' of") == 1
    assert "The column 'town' of" in run("doctor", bought, path).stderr
    # Gaps in text are a category if the set was distilled from some.
    assert run("evaluate", bought, written(tmp_path, people(seed=1))).stderr == ""


def test_a_gap_in_text_may_be_one_of_these_categories(tmp_path):
    table = people()[["age", "code", "bought"]]
    words = ("distill", written(tmp_path, table), "--target=bought", *QUICK)
    run(*words, "-o", tmp_path / "set.npz")
    table.loc[3, "code"] = None
    stderr = run("evaluate", tmp_path / "set.npz", written(tmp_path, table)).stderr
    assert "has values that the set has never seen, in 1 of 40 rows: gaps." in stderr


def test_all_sets_that_are_compared_are_asked_for_what_they_have_seen(bought, tmp_path):
    table = people()
    table["town"] = table["town"].replace("Graz", "Bern")
    table.to_csv(tmp_path / "train.csv", index=False)
    words = ("distill", tmp_path / "train.csv", "--target=bought", *QUICK)
    run(*words, "-o", tmp_path / "other.npz")
    first, second = map(DistilledDataset.load, (bought, tmp_path / "other.npz"))
    path = written(tmp_path, people(seed=1))
    with pytest.warns(UserWarning, match="'town' of .* never seen, in .*: 'Graz'"):
        read_for(first, path, None, [second])


def test_gaps_and_text_are_refused_by_the_names_of_their_columns(whole, bought, tmp_path):
    table = people(seed=1).astype({"age": object})
    table.loc[[3, 5], "age"] = None
    table.loc[7, "age"] = "x"
    result = skdistill("evaluate", whole, written(tmp_path, table))
    assert result.exit_code == 2
    assert "test.csv must be numbers, as in the table" in result.stderr
    assert "there is text in 'age' ('x')." in result.stderr
    result = skdistill("evaluate", bought, tmp_path / "test.csv")
    assert (result.exit_code, "there is text in 'age' ('x')." in result.stderr) == (2, True)
    table.loc[7, "age"] = None
    result = skdistill("evaluate", whole, written(tmp_path, table))
    assert result.exit_code == 2
    assert "test.csv has gaps where the set was distilled from a table without" in result.stderr
    assert ": in 'age' (3). Fill them" in result.stderr
    # The set's imputer fills gaps wherever they are.
    run("evaluate", bought, tmp_path / "test.csv")


def test_gaps_that_later_steps_fill_are_none(tmp_path):
    X, y = people()[["age", "income"]], people()["bought"]
    filled = X.fillna(0)
    path = written(tmp_path, X.assign(bought=y))
    for steps, refused in {
        (StandardScaler(), SimpleImputer()): False,
        (StandardScaler(),): True,
        (StandardScaler(), PCA(1)): True,
    }.items():
        pipe = make_pipeline(*steps, tools.quick()).fit(filled, y)
        distilled = DistilledDataset.from_pipeline(pipe, filled)
        if refused:
            with pytest.raises(ValueError, match=r"without: in 'income' \(6\)"):
                read_for(distilled, path, None)
        else:
            assert read_for(distilled, path, None)[0].isna().to_numpy().any()


def test_words_for_nothing_are_labels_among_texts(tmp_path):
    labels = ["NA", "None", "null", "some"] * 3
    path = written(tmp_path, pd.DataFrame({"a": range(12), "y": labels}))
    assert read_training(path, "y", (), None, False).y.tolist() == labels
    run("distill", path, "--target=y", *QUICK, "-o", tmp_path / "set.npz")
    distilled = DistilledDataset.load(tmp_path / "set.npz")
    assert distilled.classes.tolist() == ["NA", "None", "null", "some"]
    assert read_for(distilled, path, None)[1].tolist() == labels


def test_words_for_nothing_are_categories_among_texts(tmp_path):
    towns = ["NA", "None", "Ulm", ""] * 3
    path = written(tmp_path, pd.DataFrame({"a": range(12), "town": towns, "y": [0, 1] * 6}))
    assert read_training(path, "y", (), None, False).X["town"].fillna("").tolist() == towns
    run("distill", path, "--target=y", *QUICK, "-o", tmp_path / "set.npz")
    X, _ = read_for(DistilledDataset.load(tmp_path / "set.npz"), path, None)
    assert X["town"].fillna("").tolist() == towns


def of_towns(towns):
    """Return a set that Python distilled from a table with a column of towns."""
    table = pd.DataFrame({"town": towns * (12 // len(towns))})
    encode = make_column_transformer(
        (OneHotEncoder(sparse_output=False, handle_unknown="ignore"), ["town"])
    )
    pipe = make_pipeline(encode, tools.quick()).fit(table, [0, 1] * 6)
    return DistilledDataset.from_pipeline(pipe, table)


def test_words_for_nothing_are_gaps_to_sets_that_know_gaps_alone(tmp_path):
    towns = ["NA", "None", "Ulm", ""] * 3
    path = written(tmp_path, pd.DataFrame({"town": towns, "y": [0, 1] * 6}))
    with_gaps, without = of_towns(["Ulm", None]), of_towns(["Ulm", "Bern"])
    assert read_for(with_gaps, path, "y")[0]["town"].fillna("").tolist() == ["", "", "Ulm", ""] * 3
    with pytest.warns(UserWarning, match="'town' .* in 9 of 12 rows: 'NA', 'None', gaps"):
        X, _ = read_for(without, path, "y")
    assert X["town"].fillna("").tolist() == towns


def test_words_for_nothing_are_the_same_in_any_order_of_sets(tmp_path):
    towns = ["NA", "None", "Ulm", ""] * 3
    path = written(tmp_path, pd.DataFrame({"town": towns, "y": [0, 1] * 6}))
    sets = of_towns(["Ulm", None]), of_towns(["Ulm", "NA", None, "Ulm"])
    for first, second in (sets, sets[::-1]):
        with pytest.warns(UserWarning, match="'town' .* never seen, .* rows: 'NA'"):
            X, _ = read_for(first, path, "y", [second])
        assert X["town"].fillna("").tolist() == ["NA", "", "Ulm", ""] * 3


def test_a_table_without_gaps_is_read_once(tmp_path, monkeypatch):
    reads = []
    read = pd.read_csv
    monkeypatch.setattr(
        pd, "read_csv", lambda *words, **how: reads.append(how) or read(*words, **how)
    )
    table = pd.DataFrame({"a": range(4), "town": list("uvuv"), "y": list("xyyx")})
    read_training(written(tmp_path, table), "y", (), None, False)
    assert sum("nrows" not in how for how in reads) == 1
    # The second time, of the columns in question alone.
    table.loc[0, "town"] = None
    read_training(written(tmp_path, table), "y", (), None, False)
    assert [how.get("usecols") for how in reads if "nrows" not in how][1:] == [None, ["town"]]


def test_names_of_rows_as_r_writes_them_are_no_column(tmp_path):
    path = tmp_path / "r.csv"
    path.write_text('"a","y"\n"1",3,"u"\n"2",4,"v"\n')
    training = read_training(path, "y", (), None, False)
    assert (training.X["a"].tolist(), training.y.tolist()) == ([3, 4], ["u", "v"])
    # Some rows left out, and the last column empty.
    path.write_text('"a","y","z"\n"1",3,"u",NA\n"5",4,"NA",NA\n"7",4,"v",NA\n')
    training = read_training(path, "y", ("z",), None, False)
    assert (training.X["a"].tolist(), training.y.tolist()) == ([3, 4, 4], ["u", "NA", "v"])


def test_numbers_without_gaps_need_no_preprocessing(tmp_path):
    table = people()[["age", "member", "bought"]]
    table.to_csv(tmp_path / "people.csv", index=False)
    path = tmp_path / "set.npz"
    run("distill", tmp_path / "people.csv", "--target=bought", *QUICK, "-o", path)
    distilled = DistilledDataset.load(path)
    assert distilled.preprocessing is None
    assert distilled.feature_names == ("age", "member")
    assert distilled.to_frame(original=True).dtypes[:2].tolist() == [np.int64, bool]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "cannot be read as a CSV file: No columns"),
        ('a,y\n"1,2\n', "cannot be read as a CSV file"),
        ("a,y\n1,u\n2,\n3,v\n", "must have a label in every row; 1 of 3 have none"),
        ("a,y\n1,u\n2,\n3,NA\n", "must have a label in every row; 1 of 3 have none"),
        # Among numbers they are no labels.
        ("a,y\n1,0\n2,NA\n3,1\n", "must have a label in every row; 1 of 3 have none"),
        ("a;y\n1,5;u\n2;v\n", r"must have commas .* has ';'. Convert it: .*sep=';'\).*decimal"),
        ("a\ty\n1\tu\n2\tv\n", r"must have commas between its columns; it has '\\t'"),
        (",a,y\n0,3,u\n1,4,v\n", "'Unnamed: 0' has no name .*--drop 'Unnamed: 0'"),
        (
            "who,y\n" + "".join(f"n{i},{i % 2}\n" for i in range(30)),
            "'who' has 30 different texts in 30 rows.*--drop 'who'",
        ),
        ("y,a,b\nu,1,2,\nv,3,4,\n", "got rows that end in a comma, unlike the header"),
        # To pandas such names of rows are as good as none.
        ("id,a,y\n1,0,u,\n2,2,v,\n3,1,u,\n", "got rows that end in a comma, unlike the header"),
        ("y,a,y\nu,1,u\nv,2,v\n", "one column of each name that is used; got more than one 'y'"),
        ("a,b,b,y\n1,1,u,v\n2,2,v,u\n", "name that is used; got more than one 'b'"),
        ("a,y\n", "must have rows below its header; got none"),
        ("y\nu\nv\n", "must have columns beside 'y'; got none"),
        (
            "age,y\n" + "".join(f"{i % 30 or '?'},{i % 2}\n" for i in range(90)),
            r"'age' must be numbers .*; got 30 different texts, .* not '\?'\. .*--drop 'age'",
        ),
        (
            "pay,y\n" + "".join(f'"{i % 30},000",{i % 2}\n' for i in range(90)),
            "'pay' must be numbers .* not '0,000', '1,000', '2,000' and 27 more.* 0,5 is 0.5",
        ),
    ],
)
def test_tables_that_cannot_be_distilled(tmp_path, content, message):
    path = tmp_path / "table.csv"
    path.write_text(content)
    with pytest.raises(ValueError, match=message):
        read_training(path, "y", (), None, False)


def test_codes_with_letters_may_stand_among_numbers(tmp_path):
    codes = [f"{i:02}" for i in range(1, 30)] + ["2A", "2B"]
    path = written(tmp_path, pd.DataFrame({"code": 3 * codes, "y": ["u", "v", "w"] * 31}))
    with pytest.warns(UserWarning, match="'code' becomes 31 categories, .* of '2A', '2B'"):
        training = read_training(path, "y", (), None, False)
    assert training.X["code"].tolist() == 3 * codes


def test_two_columns_of_one_name_that_are_not_used_do_no_harm(whole, tmp_path):
    path, table = tmp_path / "test.csv", people()[["age", "member", "bought"]]
    notes = table.assign(n1="x", n2="x")
    notes.to_csv(path, index=False, header=[*table, "note", "note"])
    training = read_training(path, "bought", ("note", "note.1"), None, False)
    assert training.X.columns.tolist() == ["age", "member"]
    distilled = DistilledDataset.load(whole)
    assert read_for(distilled, path, None)[0].columns.tolist() == ["age", "member"]
    notes.to_csv(path, index=False, header=[*table, "age", "note"])
    with pytest.raises(ValueError, match="name that is used; got more than one 'age'"):
        read_for(distilled, path, None)


def test_what_is_dropped_is_not_looked_at(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text(",who,a,y\n" + "".join(f"{i},n{i},{i},{i % 2}\n" for i in range(30)))
    training = read_training(path, "y", ("Unnamed: 0", "who"), None, False)
    assert training.X.columns.tolist() == ["a"]
    assert training.encoder is None


def test_of_a_table_something_must_be_left(tmp_path):
    path = written(tmp_path, pd.DataFrame({"a": [1, 2], "y": ["u", "v"]}))
    with pytest.raises(ValueError, match="columns beside 'y' that --drop leaves; got none"):
        read_training(path, "y", ("a",), None, False)


def test_a_file_that_is_no_table_is_refused(tmp_path):
    Image.new("L", (9, 9)).save(tmp_path / "picture.png")
    with pytest.raises(ValueError, match=r"picture.png cannot be read as a CSV file"):
        read_training(tmp_path / "picture.png", "y", (), None, False)


def test_sets_of_other_columns_are_not_compared(bought):
    distilled = DistilledDataset.load(bought)
    check_same_columns([distilled, distilled.subset(1)])
    people().drop(columns="age").to_csv(bought.with_name("less.csv"), index=False)
    path = bought.with_name("less.npz")
    run("distill", bought.with_name("less.csv"), "--target=bought", *QUICK, "-o", path)
    with pytest.raises(ValueError, match="from the same columns"):
        check_same_columns([distilled, DistilledDataset.load(path)])


@pytest.mark.parametrize(
    ("options", "size", "shape"),
    [
        ((), None, (12, 12, 3)),
        (("--size", "8"), 8, (8, 8, 3)),
        (("--size", "8x8"), (8, 8), (8, 8, 3)),
        (("--size", "8", "--gray"), 8, (8, 8)),
        (("--size", "8x10", "--gray"), (8, 10), (8, 10)),
    ],
)
def test_test_pictures_become_like_those_of_the_set(tmp_path, options, size, shape):
    # Without a size, all training pictures must have one, and test pictures are cut to it.
    sizes = ((20, 16), (12, 12), (9, 30))
    write_pictures(tmp_path / "train", sizes=sizes if options else ((12, 12),))
    write_pictures(tmp_path / "test", sizes=sizes)
    path = tmp_path / "set.npz"
    run("distill", tmp_path / "train", *options, *QUICK, "-o", path)
    distilled = DistilledDataset.load(path)
    assert distilled.X.shape[1:] == shape
    assert distilled.classes.tolist() == ["dark", "light"]
    mode = "L" if "--gray" in options else "RGB"
    for name in ("train", "test"):
        with warnings.catch_warnings():
            warnings.simplefilter("error" if options else "ignore")
            X, y = read_for(distilled, tmp_path / name, None)
        assert (X.shape[1:], X.dtype) == (shape, np.uint8)
        assert y.tolist() == ["dark"] * 6 + ["light"] * 6
        expected = load_image_folder(tmp_path / name, size=size or 12, mode=mode)
        np.testing.assert_array_equal(X, expected.data)
    # What the run saw is what the set's option makes of the folder.
    expected = load_image_folder(tmp_path / "train", size=size, mode=mode)
    found = read_training(tmp_path / "train", None, (), size, mode == "L")
    np.testing.assert_array_equal(found.X, expected.data)


def test_pictures_whose_height_may_be_a_number_of_channels(tmp_path):
    write_pictures(tmp_path / "train")
    words = ("distill", tmp_path / "train", "--size=4x6", *QUICK, "-o", tmp_path / "set.npz")
    message = skdistill(*words).stderr
    assert "is ambiguous" in message
    assert "Add --set 'image_shape=(3,HEIGHT,WIDTH)'." in message
    run(*words, "--set=image_shape=(3,4,6)")
    distilled = DistilledDataset.load(tmp_path / "set.npz")
    assert (distilled.X.shape[1:], distilled.recipe.layout.channels_last) == ((4, 6, 3), True)


def stretched(folder, side=8):
    """Return the file of a set that Python distilled from stretched pictures."""
    pictures = load_image_folder(folder, size=(side, side))
    made = tools.quick().fit(pictures.data, pictures.target_names[pictures.target])
    made.distilled_.save(folder.with_suffix(".npz"))
    return folder.with_suffix(".npz")


def test_a_set_that_does_not_know_how_its_pictures_were_read_is_told(tmp_path):
    write_pictures(tmp_path / "train", sizes=((20, 16), (12, 12)))
    distilled = DistilledDataset.load(stretched(tmp_path / "train"))
    with pytest.warns(UserWarning, match="6 of 12 pictures in .* --size 8x8; .*cut, --size 8") as w:
        cut, _ = read_for(distilled, tmp_path / "train", None)
    assert len(w) == 1
    for size, is_cut in ((8, True), ((8, 8), False)):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            X, _ = read_for(distilled, tmp_path / "train", None, size=size)
        assert np.array_equal(X, cut) == is_cut
        np.testing.assert_array_equal(X, load_image_folder(tmp_path / "train", size=size).data)
    write_pictures(tmp_path / "square", sizes=((20, 20), (12, 12)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read_for(distilled, tmp_path / "square", None)


def test_commands_that_take_test_pictures_take_their_size(tmp_path):
    write_pictures(tmp_path / "train", sizes=((20, 16), (12, 12)))
    path, pictures = stretched(tmp_path / "train"), tmp_path / "train"
    for words in (
        ("evaluate", path, pictures, "--networks=1"),
        ("compare", path, f"--train={pictures}", f"--test={pictures}", "--networks=1"),
        ("doctor", path, pictures, f"--train={pictures}"),
    ):
        assert "are not square" in run(*words).stderr
        assert "are not square" not in run(*words, "--size=8x8").stderr
        for size in ("9", "8x10"):
            result = skdistill(*words, f"--size={size}")
            assert (result.exit_code, result.stdout) == (2, "")
            assert f"--size {size} must be the size of the set's images, 8x8." in result.stderr


def test_sets_of_pictures_that_were_read_in_two_ways_are_compared_by_one(tmp_path):
    write_pictures(tmp_path / "train", sizes=((20, 16), (12, 12)))
    sets = [tmp_path / f"{size}.npz" for size in ("8", "8x8")]
    for path in sets:
        run("distill", tmp_path / "train", f"--size={path.stem}", *QUICK, "-o", path)
    words = [f"{option}={tmp_path / 'train'}" for option in ("--train", "--test")]
    result = skdistill("compare", *sets, *words)
    assert result.exit_code == 2
    assert "The sets were distilled with --size 8 and 8x8: give the --size" in result.stderr
    run("compare", *sets, *words, "--networks=1", "--baseline=random", "--size=8")


def test_folders_are_the_classes_of_a_set_with_numbers(tmp_path):
    digits = load_distilled("digits")
    digits.export_images(tmp_path / "ten", value_range=(0, 16))
    X, y = read_for(digits, tmp_path / "ten", None)
    # The set has flat images, of other units.
    assert (X.shape, y.tolist()) == ((10, 64), list(range(10)))
    np.testing.assert_allclose(X / 255 * 16, digits.X.clip(0, 16), atol=16 / 255)


def test_a_folder_that_does_not_fit_is_refused(bought, tmp_path):
    write_pictures(tmp_path / "train")
    for words, message in {
        ("evaluate", bought, tmp_path / "train"): "the set has table rows: it needs a CSV file",
        ("evaluate", bought, tmp_path / "train", "--target=a"): "--target is for tables",
        ("evaluate", bought, bought.with_name("people.csv"), "--size=8"): "--size is for folders",
        ("distill", tmp_path / "train", "--target=a", "-o", "a"): "--target and --drop are for",
        ("distill", tmp_path / "train", "--size=0", "-o", "a"): "'0' must be a side in pixels",
        ("distill", tmp_path / "train", "--size=8x8x8", "-o", "a"): "'8x8x8' must be a side",
    }.items():
        result = skdistill(*words)
        assert (result.exit_code, message in result.stderr) == (2, True), result.stderr


@pytest.mark.parametrize("names", [("1", "2"), ("0", "1", "2")])
def test_folders_with_other_numbers_than_the_classes_are_refused(tmp_path, names):
    made = tools.make("gray", classes=[0, 1])
    write_pictures(tmp_path, classes=names[:2], sizes=((4, 3),))
    (tmp_path / names[-1]).mkdir(exist_ok=True)
    Image.new("L", (3, 4)).save(tmp_path / names[-1] / "a.png")
    with pytest.raises(ValueError, match=r"named by classes of the set, \['0', '1'\]; got \['2'\]"):
        read_for(made, tmp_path, None)


def test_folders_with_other_texts_count_as_errors(tmp_path):
    write_pictures(tmp_path, classes=("a", "z"), sizes=((4, 3),))
    _, y = read_for(tools.make("gray", classes=["a", "b"]), tmp_path, None)
    assert sorted(set(y.tolist())) == ["a", "z"]


def coded(path):
    """Return a table with codes of digits, as strings, after writing it."""
    table = pd.DataFrame({"code": ["01", "02"] * 6, "a": range(12), "y": ["u", "v"] * 6})
    table.to_csv(path, index=False)
    return table


@pytest.mark.parametrize(
    ("dtype", "encode", "knows_table"),
    [
        ("category", OneHotEncoder(sparse_output=False), True),
        (str, OneHotEncoder(sparse_output=False), False),
        (object, OrdinalEncoder(), False),
        (object, make_pipeline(SimpleImputer(strategy="most_frequent"), OrdinalEncoder()), False),
    ],
)
def test_codes_of_digits_are_text_if_they_were(tmp_path, dtype, encode, knows_table):
    table = coded(tmp_path / "test.csv")
    X = table[["code", "a"]].astype({"code": dtype})
    columns = make_column_transformer((encode, ["code"]), remainder="passthrough")
    for steps in (columns, make_pipeline(columns, StandardScaler())):
        pipe = make_pipeline(steps, tools.quick()).fit(X, table["y"])
        distilled = DistilledDataset.from_pipeline(pipe, X if knows_table else None)
        found, _ = read_for(distilled, tmp_path / "test.csv", "y")
        assert found["code"].tolist() == table["code"].tolist()
        assert found["a"].tolist() == table["a"].tolist()
