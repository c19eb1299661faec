"""Reports on a run: warnings of what goes wrong, and none for a healthy run."""

import warnings

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning
from tools import tiny

from skdistill import DistributionMatchingDistiller, RaTBPTTDistiller
from skdistill._engine.outer import Record
from skdistill._run.state import Run, RunState
from skdistill._run.watch import Watch
from skdistill.exceptions import DivergenceError, DivergenceWarning, LongRunWarning


def watch(norms, losses=None, begin=0, **options):
    """Report steps with these norms and losses; return the warnings with their steps."""
    losses = np.linspace(2, 1, len(norms)) if losses is None else losses
    run, seen = Run(0, RunState(slots=None, method={})), []
    watch = Watch("Distiller", len(norms), 0, "Do better.", **options)
    for step, (norm, loss) in enumerate(zip(norms, losses), start=1):
        skipped = not np.isfinite(norm)
        record = Record(float(loss), float(norm), 1.0, skipped, 0.1, {})
        run.advance(RunState(slots=None, method={}, step=step), record.row())
        if step <= begin:
            continue
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            watch.step(run, record)
        seen += [(step, w.category, str(w.message)) for w in caught]
    return seen


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def noise(rng, n, size=0.4):
    return np.exp(size * rng.normal(size=n))


def test_a_healthy_run(rng):
    n = 500
    norms = np.geomspace(0.2, 0.03, n) * noise(rng, n)
    # Now and then a step's norm is a hundred times the usual.
    norms[rng.choice(n, 30, replace=False)] *= 100
    losses = np.linspace(2.0, 1.6, n) + 0.2 * rng.normal(size=n)
    assert watch(norms, losses) == []


@pytest.mark.parametrize("begin", [0, 60])
def test_norms_that_explode_are_reported_once(rng, begin):
    norms = noise(rng, 200)
    norms[55:] *= 30
    ((step, category, text),) = watch(norms, begin=begin)
    # In the block of steps 51 to 75 most are large.
    assert (step, category) == (75, DivergenceWarning)
    assert text.startswith("The norm of the meta-gradient has risen to ")
    assert text.endswith("at outer step 75. Do better.")


def test_norms_that_explode_again_are_reported_again(rng):
    norms = noise(rng, 150)
    norms[25:50] *= 30
    norms[100:125] *= 30
    assert [step for step, *_ in watch(norms)] == [50, 125]


def test_norms_that_grow_a_little(rng):
    assert watch(noise(rng, 300) * np.linspace(1, 3, 300)) == []


def test_a_loss_that_does_not_fall_is_reported_once(rng):
    losses = rng.normal(size=25)
    norms, losses = noise(rng, 300), np.tile(2.3 + 0.2 * (losses - losses.mean()), 12)
    ((step, category, text),) = watch(norms, losses)
    assert (step, category) == (100, ConvergenceWarning)
    assert "has not fallen in 100 outer steps: it was 2.3" in text
    assert text.endswith("Do better.")


def test_a_loss_that_rises(rng):
    losses = np.linspace(1, 3, 100) + 0.2 * rng.normal(size=100)
    assert [category for _, category, _ in watch(noise(rng, 100), losses)] == [ConvergenceWarning]


def test_a_loss_that_falls_at_once_and_stays(rng):
    losses = np.r_[np.linspace(2.3, 1, 20), np.ones(180)] + 0.2 * rng.normal(size=200)
    assert watch(noise(rng, 200), losses) == []


def test_samples_that_were_distilled_before_need_not_become_better(rng):
    losses = 1 + 0.2 * rng.normal(size=200)
    assert watch(noise(rng, 200), losses, expects_progress=False) == []


def test_steps_that_are_not_finite_do_not_count(rng):
    norms, losses = noise(rng, 200), np.linspace(2, 1, 200)
    losses[::3] = norms[::3] = np.nan
    texts = [text for *_, text in watch(norms, losses)]
    assert not [text for text in texts if "risen" in text or "fallen" in text]
    norms[100:120] = np.nan
    assert not [text for *_, text in watch(norms, losses) if "risen" in text]


def test_nothing_is_reported_again_after_a_block_that_is_not_finite(rng):
    norms, losses = noise(rng, 150), np.full(150, 2.0)
    norms[50:] *= 30
    norms[75:95] = losses[100:120] = np.nan
    assert [step for step, _, text in watch(norms, losses) if "risen" in text] == [75]
    assert [step for step, _, text in watch(norms, losses) if "fallen" in text] == [100]


def test_only_one_of_several_processes_reports(rng):
    norms = noise(rng, 100)
    norms[50:] *= 100
    assert watch(norms, 2 + 0.1 * rng.normal(size=100), speaks=False) == []


# --- in a run ---------------------------------------------------------------------------------


def large_after_50(step):
    return 1000.0 if step >= 50 else 1.0


def test_a_run_warns_with_advice_from_the_paper(table, outer_step):
    outer_step(factor=large_after_50)
    distiller = RaTBPTTDistiller(
        max_iter=75, window=1, unroll=2, batch_size=8, architecture=tiny, random_state=0
    )
    match = r"(?s)risen to .* shorter window, a lower inner_lr.*section 3 and C.2"
    with pytest.warns(DivergenceWarning, match=match) as seen:
        distiller.fit(*table)
    # It points at the line that called fit.
    assert seen[0].filename == __file__


def test_the_advice_is_the_distillers_own(table, outer_step):
    outer_step(factor=large_after_50)
    distiller = DistributionMatchingDistiller(
        max_iter=75, batch_size=8, architecture=tiny, random_state=0
    )
    with pytest.warns(DivergenceWarning, match=r"Use a lower learning_rate, or check"):
        distiller.fit(*table)


def test_the_history_has_all_that_is_watched(table):
    distiller = RaTBPTTDistiller(
        max_iter=3, window=1, unroll=2, architecture=tiny, random_state=0, validation_fraction=0.3
    )
    history = distiller.fit(*table).history_
    names = {"loss", "grad_norm", "clip_level", "skipped", "seconds", "start", "window"}
    assert history.keys() == names | {"validation_accuracy"}
    assert all(0 <= start <= 1 for start in history["start"])
    assert all(len(values) == 3 for values in history.values())


def forecasts(seconds, max_iter, **options):
    """Report steps that take so long; return the warnings about the time."""
    run, state = Run(0, RunState(slots=None, method={})), {"slots": None, "method": {}}
    watch = Watch("Distiller", max_iter, 0, "Do better.", **options)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for step, taken in enumerate(seconds, start=1):
            record = Record(1.0, 1.0, 1.0, False, taken, {})
            run.advance(RunState(**state, step=step), record.row())
            watch.step(run, record)
    return [str(w.message) for w in caught if w.category is LongRunWarning]


def test_a_long_run_says_so_once_and_what_to_do():
    # The first step is long because it compiles.
    (text,) = forecasts([60.0] + [5.0] * 20, max_iter=200, ways_out="Do this")
    assert text == "About 16 min to go: 195 outer steps of 5 s. Do this."


def test_the_first_of_several_blocks_tells_the_time_of_all():
    seconds = [0.1, 5.0, 5.0, 5.0, 5.0, 5.0]
    assert forecasts(seconds, max_iter=65) == []
    (text,) = forecasts(seconds, max_iter=65, n_blocks=3)
    assert text.startswith(
        "About 5 min to go in this block, and as long or longer in each of 2 more: 60 outer steps "
    )
    assert forecasts(seconds, max_iter=2000, n_blocks=0) == []


@pytest.mark.parametrize(
    ("per_step", "n_to_come", "words"),
    [
        (0.1, 8, ["About 14 min to go, 13 min of it for 8 validations of 1e+02 s. A larger "]),
        (0.1, 4, []),
        # Neither is long by itself.
        (2.0, 4, ["About 15 min to go, 7 min of it for 4 validations"]),
        # The steps are, so that little is new.
        (4.0, 4, ["About 16 min to go: 245 outer steps"]),
        (4.0, 20, ["About 16 min to go: 245 outer steps", "About 50 min to go, 33 min of it"]),
    ],
)
def test_the_time_of_validations_is_told_once(per_step, n_to_come, words):
    run = Run(0, RunState(slots=None, method={}))
    watch = Watch("Distiller", 250, 0, "Do better.")
    texts = []
    for step in range(1, 8):
        record = Record(1.0, 1.0, 1.0, False, per_step, {})
        run.advance(RunState(slots=None, method={}, step=step), record.row())
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            watch.step(run, record)
            if step > 5:
                watch.validated(run, 100, n_to_come)
        texts += [str(w.message) for w in caught]
    assert [text[: len(start)] for text, start in zip(texts, words, strict=True)] == words


@pytest.mark.parametrize("options", [{}, {"speaks": False}])
def test_a_short_run_is_silent(options):
    seconds = [60.0] + [0.1 if options == {} else 50.0] * 20
    assert forecasts(seconds, max_iter=200, **options) == []


def test_the_advice_leaves_out_what_is_done_already(tmp_path):
    def ways_out(**parameters):
        return RaTBPTTDistiller(**parameters)._make_watch(200, True, True).ways_out

    assert "ProgressBar" in ways_out()
    assert "checkpoint=" in ways_out()
    few = ways_out(verbose=1, checkpoint=tmp_path / "run.npz")
    assert few.startswith("a lower max_iter, window and unroll together")


def test_samples_that_overflow_in_the_last_step_are_no_result(table, outer_step):
    outer_step(factor=lambda step: 1e10)
    distiller = DistributionMatchingDistiller(
        outer_optimizer="sgd", learning_rate=1e38, max_iter=1, random_state=0
    )
    with pytest.raises(DivergenceError, match="not finite after outer step 1: a step was too long"):
        distiller.fit(*table)


def test_samples_that_overflow_in_the_units_of_x_are_no_result(table):
    X, y = table
    distiller = DistributionMatchingDistiller(learning_rate=1e36, max_iter=1, random_state=0)
    with pytest.raises(DivergenceError, match="not finite after outer step 1: a step was too long"):
        distiller.fit((1e4 * X).astype(np.float32), y)
