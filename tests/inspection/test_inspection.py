"""Displays: they draw the given data in the given axes."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from skdistill import DistilledDataset, RaTBPTTDistiller
from skdistill._data.layout import Layout
from skdistill.distilled import EvaluationRecipe
from skdistill.evaluation import EvaluationResult
from skdistill.hardness import HardnessResult
from skdistill.inspection import (
    BudgetCurveDisplay,
    DistilledImagesDisplay,
    HardnessDisplay,
    TrainingCurveDisplay,
)
from skdistill.intercorrelation import SubsampleCurve

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")
plt = pytest.importorskip("matplotlib.pyplot")


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def make_images(layout, ipc=4, classes=("a", "b", "c"), **fields):
    """Return a set of random images."""
    n = ipc * len(classes)
    channels = layout.network_shape[0]
    recipe = EvaluationRecipe(
        1,
        layout=layout,
        mean=(0.0,) * channels,
        scale=(1.0,) * channels,
        architecture="convnet",
    )
    X = np.random.default_rng(0).normal(size=(n, *layout.user_shape))
    classes = np.array(classes)
    return DistilledDataset(X, np.tile(classes, ipc), classes, ipc, recipe, **fields)


GRAY = Layout((3, 5), (1, 3, 5))
BOOSTED = {"parameters": {"ipc": 4, "block_size": 2}}


def test_images_stand_in_columns_of_classes_and_rows_of_samples():
    distilled = make_images(GRAY)
    display = DistilledImagesDisplay.from_distilled(distilled)
    assert display.images.shape == (4, 3, 3, 5)
    low, high = distilled.X.min(), distilled.X.max()
    expected = np.rint(255 * (distilled.X - low) / (high - low))
    for k in range(4):
        for c in range(3):
            np.testing.assert_array_equal(display.images[k, c], expected[k * 3 + c])
    canvas = display.image_.get_array()
    assert canvas.shape == (4 * 3 + 3, 3 * 5 + 2)  # a gap of one pixel
    for k in range(4):
        for c in range(3):
            part = canvas[4 * k : 4 * k + 3, 6 * c : 6 * c + 5]
            np.testing.assert_array_equal(part, display.images[k, c])
    assert (canvas[3::4] == 255).all()
    assert (canvas[:, 5::6] == 255).all()
    assert display.image_.get_clim() == (0, 255)
    assert [t.get_text() for t in display.ax_.get_xticklabels()] == ["a", "b", "c"]
    assert [t.get_text() for t in display.ax_.get_yticklabels()] == ["1", "2", "3", "4"]
    assert display.ax_.get_xticks().tolist() == [2, 8, 14]
    assert display.ax_.get_yticks().tolist() == [1, 5, 9, 13]
    assert display.figure_ is display.ax_.figure


@pytest.mark.parametrize(
    "layout",
    [Layout((4, 4, 3), (3, 4, 4), channels_last=True), Layout((48,), (3, 4, 4))],
)
def test_color_images_in_every_layout(layout):
    distilled = make_images(layout)
    display = DistilledImagesDisplay.from_distilled(distilled, value_range=(-1, 1))
    assert display.images.shape == (4, 3, 4, 4, 3)
    image = layout.to_engine(distilled.X)[3 * 2 + 1]
    expected = np.rint(255 * (image.clip(-1, 1) + 1) / 2)
    np.testing.assert_array_equal(display.images[2, 1], np.moveaxis(expected, 0, -1))
    assert display.image_.get_array().shape == (4 * 5 - 1, 3 * 5 - 1, 3)


def test_some_of_the_images():
    distilled = make_images(GRAY)
    whole = DistilledImagesDisplay.from_distilled(distilled)
    part = DistilledImagesDisplay.from_distilled(distilled, ipc=2, classes=["c", "a"])
    # Values keep the range of the whole set.
    np.testing.assert_array_equal(part.images, whole.images[:2, [2, 0]])
    assert part.classes.tolist() == ["c", "a"]
    pale = DistilledImagesDisplay.from_distilled(distilled, value_range=(-100, 100))
    assert pale.image_.get_clim() == (0, 255)


def test_given_axes_are_used():
    figure, (left, right) = plt.subplots(1, 2)
    display = DistilledImagesDisplay.from_distilled(make_images(GRAY), ax=right)
    assert display.ax_ is right
    assert display.figure_ is figure
    assert len(figure.axes) == 2
    assert not left.images
    display.plot(ax=left)
    assert display.ax_ is left


def test_lines_between_blocks():
    boosted = make_images(GRAY, ipc=5, provenance=BOOSTED)
    display = DistilledImagesDisplay.from_distilled(boosted)
    heights = [segment[0, 1] for segment in display.block_lines_.get_segments()]
    # Rows are 4 pixels high with the gap, and the pixel above them is at 4 k - 1.
    assert heights == [7, 15]
    assert display.ax_.get_xlim() == (-0.5, 16.5)
    assert DistilledImagesDisplay.from_distilled(boosted, block_size=None).block_lines_ is None
    assert DistilledImagesDisplay.from_distilled(make_images(GRAY)).block_lines_ is None
    one = DistilledImagesDisplay.from_distilled(boosted, block_size=3)
    assert len(one.block_lines_.get_segments()) == 1
    # None after the last block.
    assert DistilledImagesDisplay.from_distilled(boosted, ipc=2).block_lines_ is None
    two = DistilledImagesDisplay.from_distilled(boosted, ipc=4)
    assert len(two.block_lines_.get_segments()) == 1


def test_images_come_back_from_their_preprocessing():
    whitened = make_images(GRAY)
    tripled = replace(whitened, preprocessing=FunctionTransformer(inverse_func=np.tanh))
    clip = {"value_range": (-1, 1)}
    expected = DistilledImagesDisplay.from_distilled(
        replace(whitened, X=np.tanh(whitened.X)), **clip
    )
    own = DistilledImagesDisplay.from_distilled(tripled, **clip)
    np.testing.assert_array_equal(own.images, expected.images)
    given = DistilledImagesDisplay.from_distilled(whitened, inverse_transform=np.tanh, **clip)
    np.testing.assert_array_equal(given.images, expected.images)
    # The given inverse replaces that of the set.
    other = DistilledImagesDisplay.from_distilled(tripled, inverse_transform=np.positive, **clip)
    plain = DistilledImagesDisplay.from_distilled(whitened, **clip)
    np.testing.assert_array_equal(other.images, plain.images)
    assert not np.array_equal(plain.images, expected.images)


def test_images_of_estimators_and_pipelines(images):
    X, y = images
    distiller = RaTBPTTDistiller(ipc=2, max_iter=1, window=1, unroll=1, random_state=0)
    display = DistilledImagesDisplay.from_estimator(distiller.fit(X, y), value_range=(-1, 1))
    assert display.images.shape == (2, 2, 6, 6)
    tenfold = FunctionTransformer(lambda X: 10 * X, inverse_func=lambda X: X / 10)
    pipe = make_pipeline(tenfold, distiller).fit(X, y)
    again = DistilledImagesDisplay.from_estimator(pipe, value_range=(-1, 1))
    np.testing.assert_allclose(again.images.astype(int), display.images.astype(int), atol=1)
    with pytest.raises(NotFittedError):
        DistilledImagesDisplay.from_estimator(RaTBPTTDistiller())


def test_dollars_in_names_are_no_formulas():
    distilled = make_images(GRAY, classes=("$5 or $6", "$a_$", "b"))
    display = DistilledImagesDisplay.from_distilled(distilled)
    display.figure_.canvas.draw()  # a formula that cannot be read is an error
    assert not any(name.get_parse_math() for name in display.ax_.get_xticklabels())


def test_many_classes_are_not_all_named():
    wide = make_images(GRAY, ipc=1, classes=np.arange(90))
    display = DistilledImagesDisplay.from_distilled(wide)
    names = [t.get_text() for t in display.ax_.get_xticklabels()]
    assert names == [str(k) for k in range(0, 90, 5)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ipc": 5}, "ipc=5 must be between 1 and 4"),
        ({"ipc": 0}, "ipc=0 must be between 1 and 4"),
        ({"classes": ["a", "z"]}, r"classes must be among the classes of the set; got \['z'\]"),
        ({"classes": []}, r"classes must be among the classes of the set; got \[\]"),
        ({"block_size": 0}, "block_size=0 must be at least 1"),
        ({"block_size": "all"}, "block_size must be 'auto', an integer or None; got 'all'"),
        ({"value_range": (1, 1)}, r"value_range must be \(low, high\)"),
        (
            {"inverse_transform": lambda X: X[:, :2]},
            r"inverse_transform must keep .*, \(12, 3, 5\); got \(12, 2, 5\)",
        ),
    ],
)
def test_bad_arguments_of_images(change, message):
    with pytest.raises(ValueError, match=message):
        DistilledImagesDisplay.from_distilled(make_images(GRAY), **change)
    assert not plt.get_fignums()


def test_tables_are_no_images():
    table = make_images(Layout((4,), (4,)))
    with pytest.raises(ValueError, match="must hold images; got table rows of 4 features"):
        DistilledImagesDisplay.from_distilled(table)


HISTORY = {
    "loss": [3.0, 1.0, None, 2.0],
    "grad_norm": [0.5, 4.0, None, 0.25],
    "clip_level": [1.0, 1.5, None, 1.25],
    "skipped": [False, False, True, False],
    "validation_accuracy": [None, 0.5, None, 0.75],
}


def a_run(history):
    """Return a distiller that has had this history."""
    distiller = RaTBPTTDistiller()
    distiller.history_ = history
    return distiller


RUN = a_run(HISTORY)


def test_training_curve():
    display = TrainingCurveDisplay.from_estimator(RUN, smoothing=2)
    nan = np.nan
    expected = {
        "loss": ([1, 2, 3, 4], [3, 1, nan, 2]),
        # Of two steps, or of those that have a loss.
        "loss_mean": ([1, 2, 3, 4], [3, 2, 1, 2]),
        "validation_accuracy": ([2, 4], [0.5, 0.75]),
        "grad_norm": ([1, 2, 3, 4], [0.5, 4, nan, 0.25]),
        "clip_level": ([1, 2, 3, 4], [1, 1.5, nan, 1.25]),
    }
    for name, (steps, values) in expected.items():
        np.testing.assert_array_equal(display.lines_[name].get_xdata(), steps)
        np.testing.assert_allclose(display.lines_[name].get_ydata(), values)
    assert display.lines_["skipped"].get_xdata().tolist() == [3]
    loss, accuracy, norm = display.axes_
    assert display.ax_ is loss
    assert [display.lines_[k].axes for k in expected] == [loss, loss, accuracy, norm, norm]
    assert norm.get_yscale() == "log"
    assert [t.get_text() for t in norm.get_legend().get_texts()] == [
        "norm",
        "clipped at",
        "skipped",
    ]


def test_training_curve_without_held_out_data_and_skipped_steps():
    history = {**HISTORY, "skipped": [False] * 4}
    del history["validation_accuracy"]
    display = TrainingCurveDisplay.from_estimator(a_run(history))
    assert len(display.axes_) == 2
    assert "validation_accuracy" not in display.lines_
    assert [t.get_text() for t in display.axes_[1].get_legend().get_texts()] == [
        "norm",
        "clipped at",
    ]
    assert [t.get_text() for t in display.ax_.get_legend().get_texts()] == ["mean of 15 steps"]


def test_no_loss_has_no_mean():
    display = TrainingCurveDisplay(
        loss=[None, None, 2.0], grad_norm=[1, 1, 1], clip_level=[1, 1, 1], skipped=[1, 1, 0]
    ).plot(smoothing=2)
    np.testing.assert_array_equal(display.lines_["loss_mean"].get_ydata(), [np.nan, np.nan, 2])


def test_a_run_without_steps_is_empty():
    display = TrainingCurveDisplay(loss=[], grad_norm=[], clip_level=[], skipped=[]).plot()
    assert len(display.lines_["loss_mean"].get_ydata()) == 0


def test_a_large_loss_is_forgotten_by_the_mean():
    display = TrainingCurveDisplay(
        loss=[1e20, 1, 2, 3], grad_norm=[1] * 4, clip_level=[1] * 4, skipped=[0] * 4
    ).plot(smoothing=2)
    np.testing.assert_array_equal(display.lines_["loss_mean"].get_ydata(), [1e20, 5e19, 1.5, 2.5])


def test_runs_are_compared_in_the_same_axes():
    first = TrainingCurveDisplay.from_estimator(RUN, label="RaT-BPTT")
    first.axes_[2].plot([1], [1])  # a panel's own lines do not move the colors of a run
    second = TrainingCurveDisplay.from_estimator(RUN, ax=first.axes_, label="BPTT")
    assert list(second.axes_) == list(first.axes_)
    assert len(first.figure_.axes) == 3
    names = [t.get_text() for t in first.ax_.get_legend().get_texts()]
    assert names == ["RaT-BPTT", "BPTT"]
    for display in (first, second):
        colors = {line.get_color() for k, line in display.lines_.items() if k != "skipped"}
        assert len(colors) == 1
    assert first.lines_["loss"].get_color() != second.lines_["loss"].get_color()


def test_training_curve_of_a_distiller(images):
    distiller = RaTBPTTDistiller(max_iter=3, window=1, unroll=2, random_state=0)
    pipe = make_pipeline(FunctionTransformer(), distiller).fit(*images)
    display = TrainingCurveDisplay.from_estimator(pipe)
    np.testing.assert_array_equal(display.lines_["loss"].get_ydata(), distiller.history_["loss"])
    with pytest.raises(NotFittedError):
        TrainingCurveDisplay.from_estimator(RaTBPTTDistiller())


def test_axes_that_do_not_fit():
    figure, axes = plt.subplots(1, 2)
    with pytest.raises(ValueError, match="ax must be 3 Axes, one per panel, or one; got 2"):
        TrainingCurveDisplay.from_estimator(RUN, ax=axes)
    with pytest.raises(ValueError, match="ax must be 3 Axes, one per panel, or one; got 4"):
        TrainingCurveDisplay.from_estimator(RUN, ax=[*axes, *axes])
    with pytest.raises(ValueError, match="ax must be made by subplots to be divided; pass 3 Axes"):
        TrainingCurveDisplay.from_estimator(RUN, ax=figure.add_axes((0, 0, 1, 1)))
    with pytest.raises(ValueError, match="smoothing=0 must be at least 1"):
        TrainingCurveDisplay.from_estimator(RUN, smoothing=0)


def test_one_axes_is_divided_into_panels():
    figure, (left, right) = plt.subplots(1, 2)
    display = TrainingCurveDisplay.from_estimator(RUN, ax=right)
    assert display.figure_ is figure
    assert not right.axison
    figure.canvas.draw()
    middle = right.get_position().x0 - 0.01
    assert all(panel.get_position().x0 > middle for panel in display.axes_)
    assert not left.lines


def test_budget_curves():
    joint = np.array([0.5, np.nan, 0.75]), np.array([0.125, np.nan, 0.25])
    display = BudgetCurveDisplay(
        budgets=[1, 5, 10], curves={"joint": joint, "boosted": ([0.25, 0.5, 0.5], None)}
    ).plot()
    assert display.lines_["joint"].get_xdata().tolist() == [1, 10]
    assert display.lines_["joint"].get_ydata().tolist() == [0.5, 0.75]
    assert display.lines_["boosted"].get_xdata().tolist() == [1, 5, 10]
    bars = [segment.tolist() for segment in display.errors_["joint"].get_segments()]
    assert bars == [[[1, 0.375], [1, 0.625]], [[10, 0.5], [10, 1.0]]]
    assert list(display.errors_) == ["joint"]
    assert [t.get_text() for t in display.ax_.get_legend().get_texts()] == ["joint", "boosted"]
    figure, ax = plt.subplots()
    assert display.plot(ax=ax).ax_ is ax
    assert display.figure_ is figure


def test_budget_curves_of_results():
    def result(*accuracies):
        accuracies = np.array(accuracies)
        return EvaluationResult(accuracies, np.array([1]), accuracies[:, None], 2)

    results = {
        "boosted": {5: result(0.25, 0.75), 10: result(0.75, 0.75)},
        "joint": {1: result(0.5, 0.5)},
    }
    display = BudgetCurveDisplay.from_results(results)
    assert display.budgets.tolist() == [1, 5, 10]
    np.testing.assert_array_equal(display.curves["boosted"][0], [np.nan, 0.5, 0.75])
    np.testing.assert_array_equal(display.curves["boosted"][1], [np.nan, 0.25, 0])
    assert display.lines_["joint"].get_ydata().tolist() == [0.5]


def test_budget_curves_of_subsamples():
    curve = SubsampleCurve(
        ipc=5, sizes=np.array([1, 2]), subsets=np.array([[[0.25, 0.75]], [[0.5, 1.0]]])
    )
    _, ax = plt.subplots()
    display = BudgetCurveDisplay.from_subsample_curve(curve, ax=ax)
    assert display.ax_ is ax
    assert display.lines_["random subsets"].get_xdata().tolist() == [1, 2]
    assert display.lines_["random subsets"].get_ydata().tolist() == [0.5, 0.75]


def test_budget_curves_of_another_length():
    with pytest.raises(ValueError, match=r"curves\['a'\] must have as many values .* 2; .* \(3,\)"):
        BudgetCurveDisplay(budgets=[1, 5], curves={"a": ([0.5] * 3, None)})


RESULT = HardnessResult(
    edges=np.array([0.0, 1.0, 3.0, 4.0]),
    counts=np.array([90, 0, 10]),
    accuracies={
        "IPC 1": np.array([[0.75, np.nan, 0.0], [1.0, np.nan, 0.5]]),
        "Optimal": np.array([[1.0, np.nan, 0.875], [1.0, np.nan, 0.875]]),
    },
)


def test_hardness():
    display = HardnessDisplay.from_result(RESULT)
    assert display.lines_["IPC 1"].get_xdata().tolist() == [0.5, 3.5]
    assert display.lines_["IPC 1"].get_ydata().tolist() == [0.875, 0.25]
    band = display.bands_["IPC 1"].get_paths()[0].vertices
    assert {tuple(v) for v in band} == {(0.5, 0.75), (0.5, 1.0), (3.5, 0.0), (3.5, 0.5)}
    assert [bar.get_height() for bar in display.histogram_] == [90, 0, 10]
    assert [bar.get_x() for bar in display.histogram_] == [0, 1, 3]
    assert [bar.get_width() for bar in display.histogram_] == [1, 2, 1]
    assert len(display.axes_) == 2
    assert display.ax_ is display.axes_[0]
    assert display.ax_.get_xlim() == display.axes_[1].get_xlim() == (0, 4)


def test_hardness_in_given_axes():
    figure, axes = plt.subplots(2, 1)
    display = HardnessDisplay.from_result(RESULT, ax=axes, xlabel="forgetting score")
    assert list(display.axes_) == list(axes)
    assert display.figure_ is figure
    assert axes[1].get_xlabel() == "forgetting score"
    assert len(axes[0].lines) == 2
    assert len(axes[1].patches) == 3


def test_bands_stay_accuracies():
    accuracies = {"a": np.array([[1.0], [1.0], [0.25]])}
    display = HardnessDisplay(edges=[0, 1], counts=[5], accuracies=accuracies).plot()
    assert display.bands_["a"].get_paths()[0].vertices[:, 1].max() == 1


@pytest.mark.parametrize(
    "draw",
    [
        lambda: DistilledImagesDisplay.from_distilled(make_images(GRAY)),
        lambda: TrainingCurveDisplay.from_estimator(RUN),
        lambda: BudgetCurveDisplay(budgets=[1], curves={}).plot(),
        lambda: HardnessDisplay.from_result(RESULT),
    ],
)
def test_matplotlib_is_asked_for_by_name(monkeypatch, draw):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r"Display.* requires matplotlib"):
        draw()


def test_importing_the_displays_needs_neither_matplotlib_nor_torch():
    code = "import sys, skdistill.inspection; print({'torch', 'matplotlib'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize(
    "parameters", [None, [1], {"block_size": "2"}, {"block_size": 0}, {"block_size": True}]
)
def test_a_provenance_that_says_nothing_of_blocks_gives_no_lines(parameters):
    distilled = make_images(GRAY, provenance={"parameters": parameters})
    assert DistilledImagesDisplay.from_distilled(distilled).block_lines_ is None
