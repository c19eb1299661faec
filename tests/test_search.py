"""Pipelines, searches and data frames: the way a scikit-learn user works."""

import subprocess
import sys
import textwrap
import warnings

import joblib
import numpy as np
import pandas as pd
import pytest
import sklearn
from PIL import Image
from sklearn.base import clone
from sklearn.callback import ProgressBar
from sklearn.datasets import load_iris, load_wine
from sklearn.exceptions import FitFailedWarning
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.model_selection import (
    GridSearchCV,
    HalvingGridSearchCV,
    RandomizedSearchCV,
    StratifiedKFold,
    cross_val_score,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from tools import quick, smallest

from skdistill import BoostedDistiller, all_distillers
from skdistill.datasets import load_image_folder
from skdistill.windows import MovingWindow


@pytest.fixture
def frame():
    """Return a table of two classes as a data frame with an integer column, and string labels."""
    rng = np.random.default_rng(0)
    y = np.tile(["no", "yes"], 15)
    X = pd.DataFrame({"a": rng.normal(size=30), "b": rng.integers(9, size=30)})
    return X, pd.Series(y)


# --- folds of sorted labels -------------------------------------------------------------------


WITH_FOLDS = {name: smallest(kind, max_iter=1) for name, kind in all_distillers()} | {
    "boosted": BoostedDistiller(1, block_size=1, distiller=quick(), random_state=0),
    "pipeline": make_pipeline(StandardScaler(), quick()),
}


@pytest.mark.parametrize("name", WITH_FOLDS)
def test_folds_are_stratified(name):
    y = np.repeat(["a", "b", "c"], 9)
    tested = []

    def scorer(estimator, X, y):
        tested.append(sorted(y))
        return estimator.score(X, y)

    X = np.random.default_rng(0).normal(size=(27, 2))
    GridSearchCV(WITH_FOLDS[name], {}, cv=3, scoring=scorer, refit=False).fit(X, y)
    assert tested == [sorted([*"abc"] * 3)] * 3


def picture_folder(path):
    """Write five folders of 20 noisy variants of one picture each, and read them."""
    rng = np.random.default_rng(0)
    for name, picture in zip("abcde", rng.integers(256, size=(5, 8, 8))):
        (path / name).mkdir()
        for k in range(20):
            pixels = 0.35 * picture + 0.65 * rng.integers(256, size=(8, 8))
            Image.fromarray(pixels.astype(np.uint8)).save(path / name / f"{k}.png")
    return load_image_folder(path, mode="L", return_X_y=True)


@pytest.mark.slow  # ten repetitions are 50 fits
@pytest.mark.parametrize("data", ["iris", "wine", "folder"])
def test_default_folds_score_as_shuffled_ones_do(data, tmp_path):
    tables = {"iris": load_iris, "wine": load_wine}
    X, y = tables[data](return_X_y=True) if data in tables else picture_folder(tmp_path)
    assert (np.diff(y) >= 0).all()
    distiller = quick(init="kmeans", eval_steps=60)
    shuffled = np.array(
        [
            cross_val_score(distiller, X, y, cv=StratifiedKFold(5, shuffle=True, random_state=k))
            for k in range(10)
        ]
    )
    # The standard error of a mean over five folds, by the spread of the 50 folds.
    error = shuffled.std(ddof=1) / np.sqrt(5)
    assert abs(cross_val_score(distiller, X, y).mean() - shuffled.mean()) < 2 * error
    assert shuffled.mean() > 0.75


# --- searches and pipelines -------------------------------------------------------------------


def test_grid_over_window_and_unroll(images):
    grid = {"window": [1, 2], "unroll": [2, 4]}
    search = GridSearchCV(quick(), grid, cv=2, n_jobs=2).fit(*images)
    assert search.best_params_.keys() == grid.keys()
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert search.best_estimator_.distilled_.X.shape == (2, 6, 6)


@pytest.mark.filterwarnings("ignore:One or more of the test scores:UserWarning")
def test_a_bad_candidate_does_not_stop_a_search(images):
    with pytest.warns(FitFailedWarning, match="window=4 must be at most unroll=2"):
        search = GridSearchCV(quick(unroll=2), {"window": [1, 4]}, cv=2).fit(*images)
    scores = search.cv_results_["mean_test_score"]
    assert np.isnan(scores[1])
    assert search.best_params_ == {"window": 1}


def test_grid_reaches_into_the_schedule(images):
    distiller = quick(schedule=MovingWindow())
    grid = {"schedule__patience": [1, 2], "schedule__direction": ["forward", "backward"]}
    search = GridSearchCV(distiller, grid, cv=2).fit(*images)
    assert search.best_estimator_.schedule.patience in (1, 2)


def test_randomized_search(images):
    search = RandomizedSearchCV(
        quick(), {"learning_rate": [0.01, 0.1], "ipc": [1, 2]}, n_iter=2, cv=2, random_state=0
    ).fit(*images)
    assert len(search.cv_results_["params"]) == 2


def test_halving_search_with_max_iter_as_the_resource(images):
    search = HalvingGridSearchCV(
        quick(),
        {"window": [1, 2]},
        resource="max_iter",
        min_resources=1,
        max_resources=4,
        factor=2,
        cv=2,
    ).fit(*images)
    assert search.best_estimator_.n_iter_ == search.n_resources_[-1]


def test_pipeline_parameters_and_score(frame):
    X, y = frame
    pipeline = make_pipeline(StandardScaler(), quick())
    search = GridSearchCV(pipeline, {"ratbpttdistiller__window": [1, 2]}, cv=2).fit(X, y)
    assert 0 <= search.best_score_ <= 1


def test_progress_bar_under_a_search(images, capsys):
    pytest.importorskip("rich")
    search = GridSearchCV(quick(), {"window": [1, 2]}, cv=2).set_callbacks(ProgressBar())
    search.fit(*images)
    assert "GridSearchCV" in capsys.readouterr().out


def test_progress_bar_under_a_pipeline(frame, capsys):
    pytest.importorskip("rich")
    make_pipeline(StandardScaler(), quick()).set_callbacks(ProgressBar()).fit(*frame)
    assert "Pipeline" in capsys.readouterr().out


def test_data_frames_come_back_with_their_columns(frame):
    X, y = frame
    distiller = quick(ipc=2).fit(X, y)
    X_syn, y_syn = distiller.transform()
    assert isinstance(X_syn, pd.DataFrame)
    assert X_syn.columns.tolist() == ["a", "b"]
    assert (X_syn.dtypes == np.float64).all()
    assert y_syn.tolist() == ["no", "yes"] * 2
    assert distiller.feature_names_in_.tolist() == ["a", "b"]
    with pytest.raises(ValueError, match="feature names should match"):
        distiller.score(X.rename(columns={"a": "z"}), y)


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_set_output_reaches_the_distiller_at_the_end_of_a_pipeline(frame, library):
    pytest.importorskip(library)
    X, y = frame
    pipeline = make_pipeline(StandardScaler(), quick()).set_output(transform=library)
    X_syn, _ = clone(pipeline).fit(X, y).transform(X)
    assert type(X_syn).__module__.startswith(library)
    assert list(X_syn.columns) == ["a", "b"]
    # Columns of arrays have no names, and other values stay as they are.
    distiller = quick().set_output(transform=library).set_output().fit(X.to_numpy(), y)
    X_syn, _ = distiller.transform()
    assert list(X_syn.columns) == ["x0", "x1"]
    array = distiller.set_output(transform="default").transform()[0]
    np.testing.assert_array_equal(X_syn.to_numpy(), array)
    with sklearn.config_context(transform_output=library):
        assert list(quick().fit(X.to_numpy(), y).transform()[0].columns) == ["x0", "x1"]


def test_set_output_leaves_images_and_refuses_what_it_does_not_know(images):
    distiller = quick().set_output(transform="pandas").fit(*images)
    assert distiller.transform()[0].shape == (2, 6, 6)
    with pytest.raises(ValueError, match="'default', 'pandas', 'polars' or None; got 'arrow'"):
        distiller.set_output(transform="arrow")


def test_columns_that_are_not_named_by_strings(frame):
    X, y = frame
    X_syn, _ = quick().fit(X.set_axis([3, 4], axis=1), y).transform()
    assert X_syn.columns.tolist() == [3, 4]


def test_memory_maps_fortran_order_and_float32(images, tmp_path):
    X, y = images
    expected = quick().fit(X.astype(np.float32), y).transform()[0]
    path = tmp_path / "X.npy"
    np.save(path, X.astype(np.float32))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        mapped = quick().fit(np.load(path, mmap_mode="r"), y).transform()[0]
        fortran = quick().fit(np.asfortranarray(X.astype(np.float32)), y).transform()[0]
    assert expected.dtype == np.float32
    np.testing.assert_array_equal(mapped, expected)
    np.testing.assert_allclose(fortran, expected, rtol=1e-4, atol=1e-5)


def test_the_best_set_of_a_search_loads_without_torch(images, tmp_path):
    search = GridSearchCV(quick(), {"window": [1, 2]}, cv=2).fit(*images)
    distilled = search.best_estimator_.distilled_
    path = tmp_path / "best.joblib"
    joblib.dump(distilled, path)
    script = f"""
        import sys
        sys.modules["torch"] = None  # importing it now raises ImportError
        import joblib
        distilled = joblib.load({str(path)!r})
        print(repr(distilled.X.sum().item()), distilled.y.tolist())
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, check=True
    )
    assert done.stdout.split("\n")[0] == f"{distilled.X.sum().item()!r} {distilled.y.tolist()}"


def test_a_joblib_file_of_ten_digits_per_class_is_small(digits, tmp_path):
    X_train, _, y_train, _ = digits
    distilled = quick(ipc=10, image_shape=(1, 8, 8)).fit(X_train, y_train).distilled_
    path = tmp_path / "digits.joblib"
    joblib.dump(distilled, path)
    assert path.stat().st_size < 200_000
