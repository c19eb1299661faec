"""For any input the output is finite and of the right shape, or the error is documented."""

import warnings
from contextlib import contextmanager
from functools import partial

import numpy as np
import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from tools import quick, tiny

from skdistill import (
    BoostedDistiller,
    DistillationSampler,
    DistilledClassifier,
    DistributionMatchingDistiller,
    FRePoDistiller,
    GradientMatchingDistiller,
    KIPDistiller,
    RCIGDistiller,
    RFADDistiller,
    TrajectoryMatchingDistiller,
    ZCAWhitener,
)
from skdistill.exceptions import DivergenceError, DivergenceWarning
from skdistill.parametrization import Hallucinated, LinearBasis, Tiled
from skdistill.sampling import KMeansSampler
from skdistill.windows import SCHEDULES, StageAwareWindow

# Without a database of examples and without a deadline: the same on every machine, however busy.
bounded = settings(
    max_examples=150,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
DOCUMENTED = (ValueError, TypeError, DivergenceError)


# --- what goes in -----------------------------------------------------------------------------

DTYPES = [np.float64, np.float32, np.float16, np.int64, np.int8, np.uint8, np.uint16, np.bool_]
# Values of samples: beyond single precision's smallest and largest numbers, and up to them.
SIZES = [1e-300, 1e-40, 1e-30, 1e-6, 1e4, 1e30, 3e37, 1e38, 1e150, 1e300]
LABELS = [
    np.array([0, 1, 2]),
    np.array([-7, 3, 100], dtype=np.int8),
    np.array([False, True, True]),
    np.array(["a", "bc", "été"]),
    np.array(["a", "b", "c"], dtype=object),
    np.array([0.0, 1.0, 2.0]),
]


@st.composite
def values(draw, shape):
    """Draw an array of this shape: of numbers of some size, or of hypothesis' choice."""
    dtype = np.dtype(draw(st.sampled_from(DTYPES)))
    if draw(st.integers(0, 5)) == 0:
        return draw(arrays(dtype, shape))
    size = draw(st.sampled_from([1, 1, 1, 0, *SIZES]) if dtype.kind == "f" else st.just(30))
    rng = np.random.default_rng(draw(st.integers(0, 9)))
    with np.errstate(invalid="ignore", over="ignore"):
        return (size * rng.normal(size=shape)).astype(dtype)


@st.composite
def problems(draw, min_dims=1):
    """Draw training samples in any layout, and labels of any kind."""
    n = draw(st.integers(6, 14))
    shape = draw(array_shapes(min_dims=min_dims, max_dims=3, min_side=1, max_side=5))
    X = draw(values((n, *shape)))
    labels = draw(st.sampled_from(LABELS))
    n_classes = draw(st.integers(1, 3))
    y = labels[np.arange(n) % n_classes]
    return X, y


WHOLE = st.integers(-1, 4)
REAL = st.one_of(st.sampled_from([0.0, 0.001, 1.0, -1.0, 1e6, 1e38, float("nan")]), st.floats(0, 1))
PARAMETERS = {
    "ipc": st.integers(1, 3),
    "batch_size": st.integers(1, 40),
    "learning_rate": st.one_of(st.just("auto"), REAL),
    "init": st.sampled_from(["gaussian", "real", "kmeans", "zeros"]),
    "image_shape": st.sampled_from([None, None, (1, 2, 2), (3, 1, 1), (1, 4), "1,2,2"]),
    "validation_fraction": st.one_of(st.none(), st.sampled_from([0.2, 0.5, 0.9, 1.0])),
    "validation_interval": st.integers(1, 3),
    "n_iter_no_change": st.one_of(st.none(), st.integers(0, 3)),
    "random_state": st.one_of(st.none(), st.integers(-1, 2**32 - 1)),
    "augmentation": st.sampled_from([None, None, "dsa", "flip_rotate", "flip"]),
    "learning_rate_schedule": st.sampled_from(["constant", "linear", "cosine", "none"]),
    "ema_decay": st.sampled_from([None, 0.5, 0.999, 1.0]),
    "sample_norm": st.sampled_from([None, None, 1.0, 1e30, 0.0]),
    "parametrization": st.sampled_from(
        ["pixels", LinearBasis(2, coef_penalty=0.1), Tiled(clamp=True), Hallucinated(1), Tiled(0)]
    ),
}
INNER = {
    "window": WHOLE,
    "unroll": WHOLE,
    "inner_batch_size": st.one_of(st.none(), st.integers(0, 3)),
    "classes_per_step": st.one_of(st.none(), st.integers(0, 3)),
    "inner_optimizer": st.sampled_from(["adam", "sgd", "lion"]),
    "inner_lr": REAL,
    "inner_momentum": REAL,
    "inner_weight_decay": REAL,
    "schedule": st.sampled_from([*SCHEDULES, StageAwareWindow(0), "none"]),
    "sampler": st.sampled_from(
        ["uniform", "random", KMeansSampler(), KMeansSampler("samples", choose="random")]
    ),
    "outer_optimizer": st.sampled_from(["adam", "sgd", "lion"]),
    "clip_norm": st.sampled_from(["auto", "robust", "feng23", None, 1.0, 0.0, float("nan")]),
    "shared_augmentation": st.booleans(),
}
POOL = {
    "flips": st.booleans(),
    "learn_labels": st.booleans(),
    "regularization": REAL,
    "pool_size": WHOLE,
    "pool_max_age": WHOLE,
    "pool_steps": WHOLE,
    "pool_lr": REAL,
    "pool_batch_size": WHOLE,
}
IMPLICIT = {
    "flips": st.booleans(),
    "learn_labels": st.booleans(),
    "regularization": REAL,
    "softplus_beta": st.one_of(st.none(), REAL),
    "inner_steps": WHOLE,
    "inner_lr": st.one_of(st.just("auto"), REAL),
    "inverse_steps": WHOLE,
    "inverse_lr": st.one_of(st.just("auto"), REAL),
    "log_scale_lr": REAL,
    "pool_size": WHOLE,
    "pool_max_age": WHOLE,
    "pool_steps": WHOLE,
    "pool_lr": REAL,
}
KERNEL = {
    "learn_labels": st.booleans(),
    "kernel": st.sampled_from(["ntk", "nngp", "rbf"]),
    "depth": WHOLE,
    "weight_std": REAL,
    "bias_std": REAL,
    "regularization": REAL,
}
RANDOM_FEATURES = {
    "loss": st.sampled_from(["platt", "mse", "hinge"]),
    "log_scale_lr": REAL,
    "learn_labels": st.booleans(),
    "regularization": REAL,
    "n_feature_networks": WHOLE,
    "redraw_every": WHOLE,
}
TRAJECTORIES = {
    "learn_labels": st.booleans(),
    "expert_labels": st.booleans(),
    "n_experts": WHOLE,
    "epoch_steps": WHOLE,
    "expert_epochs": WHOLE,
    "max_start": WHOLE,
    "min_start": WHOLE,
    "first_max_start": WHOLE,
    "expert_lr": REAL,
    "expert_rho": REAL,
    "syn_steps": WHOLE,
    "inner_lr": REAL,
    "inner_lr_lr": REAL,
    "inner_batch_size": WHOLE,
    "classes_per_step": WHOLE,
    "gradient": st.sampled_from(["exact", "first_order", "none"]),
    "outer_optimizer": st.sampled_from(["adam", "sgd"]),
}
GRADIENTS = {
    "distance": st.sampled_from(["cosine", "mse", "l1", "l2"]),
    "matched": st.sampled_from(["weights", "weights", "convolutions"]),
    "outer_loop": st.one_of(st.just("auto"), WHOLE),
    "inner_loop": st.one_of(st.just("auto"), WHOLE),
    "network_data": st.sampled_from(["synthetic", "real", "both"]),
    "network_batch_size": WHOLE,
    "network_lr": REAL,
    "network_momentum": REAL,
    "network_weight_decay": REAL,
    "outer_optimizer": st.sampled_from(["adam", "sgd"]),
    "learn_labels": st.booleans(),
}
short = partial(quick, max_iter=2, n_networks=1, eval_steps=2, architecture=tiny)
rat_bptt = partial(short, window=1, unroll=2)
random_features = partial(short, RFADDistiller, init="gaussian")
regression = partial(short, FRePoDistiller, init="gaussian", pool_size=2)
implicit = partial(
    short, RCIGDistiller, init="gaussian", pool_size=2, inner_steps=2, inverse_steps=2
)
matching = partial(short, DistributionMatchingDistiller, init="gaussian")
gradients = partial(short, GradientMatchingDistiller, init="gaussian")
kernel = partial(short, KIPDistiller, init="gaussian")


trajectories = partial(
    short, TrajectoryMatchingDistiller, init="gaussian", n_experts=1, max_start=1, epoch_steps=1,
    syn_steps=2,
)  # fmt: skip


def some(parameters):
    """Draw at most three parameters, and leave the others as they are."""
    names = st.lists(st.sampled_from(sorted(parameters)), max_size=3, unique=True)
    return names.flatmap(lambda names: st.fixed_dictionaries({n: parameters[n] for n in names}))


# --- what comes out ---------------------------------------------------------------------------


@contextmanager
def documented_errors():
    """Let documented errors end an example, if they say something."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DivergenceWarning)
        try:
            yield
        except DOCUMENTED as error:
            event(f"{type(error).__name__}: {str(error)[:40]}")
            if not str(error):
                raise
        else:
            event("fitted")


def check_set(distiller, X, y):
    """Check what a fitted distiller holds."""
    X_syn, y_syn = distiller.transform()
    classes, ipc = np.unique(y), distiller.get_params()["ipc"]
    assert X_syn.shape == (ipc * len(classes), *X.shape[1:])
    assert np.isfinite(X_syn).all()
    assert X_syn.dtype == (np.float32 if np.can_cast(X.dtype, np.float32) else np.float64)
    if y_syn.ndim == 2:
        assert y_syn.shape == (ipc * len(classes), len(classes))
        assert np.isfinite(y_syn).all()
    else:
        np.testing.assert_array_equal(y_syn, np.tile(classes, ipc))
        assert y_syn.dtype == y.dtype
    assert set(map(len, distiller.history_.values())) == {distiller.n_iter_}


@bounded
@given(problems(), some(PARAMETERS | INNER))
def test_rat_bptt(problem, parameters):
    X, y = problem
    before = X.copy(), y.copy()
    with documented_errors():
        check_set(rat_bptt(**parameters).fit(X, y), X, y)
    np.testing.assert_array_equal(X, before[0])
    np.testing.assert_array_equal(y, before[1])


@bounded
@given(problems(), some(PARAMETERS))
def test_distribution_matching(problem, parameters):
    X, y = problem
    with documented_errors():
        check_set(matching(**parameters).fit(X, y), X, y)


@bounded
@given(problems(), some(PARAMETERS | GRADIENTS))
def test_gradient_matching(problem, parameters):
    X, y = problem
    with documented_errors():
        check_set(gradients(**parameters).fit(X, y), X, y)


@bounded
@given(problems(), some(PARAMETERS | POOL))
def test_feature_regression(problem, parameters):
    X, y = problem
    with documented_errors():
        check_set(regression(**parameters).fit(X, y), X, y)


@bounded
@given(problems(), some(PARAMETERS | RANDOM_FEATURES))
def test_random_features(problem, parameters):
    X, y = problem
    with documented_errors():
        check_set(random_features(**parameters).fit(X, y), X, y)


@bounded
@given(problems(), some(PARAMETERS | TRAJECTORIES))
def test_trajectory_matching(problem, parameters):
    X, y = problem
    with documented_errors():
        check_set(trajectories(**parameters).fit(X, y), X, y)


@bounded
@given(problems(), some(PARAMETERS | IMPLICIT))
def test_implicit_gradients(problem, parameters):
    X, y = problem
    with documented_errors():
        check_set(implicit(**parameters).fit(X, y), X, y)


@bounded
@given(problems(), some(PARAMETERS | KERNEL))
def test_kernel_inducing_points(problem, parameters):
    X, y = problem
    with documented_errors():
        distiller = kernel(**parameters).fit(X, y)
        check_set(distiller, X, y)
        assert np.isfinite(distiller.kernel_classifier().decision_function(X)).all()


@settings(bounded, max_examples=60)
@given(problems(), st.integers(1, 3), st.integers(0, 3), REAL, some(PARAMETERS | INNER))
def test_boosted(problem, ipc, block_size, beta, parameters):
    X, y = problem
    parameters.pop("ipc", None)
    with documented_errors():
        distiller = BoostedDistiller(
            ipc, block_size=block_size, beta=beta, distiller=rat_bptt(**parameters)
        )
        check_set(distiller.fit(X, y), X, y)
        for budget in distiller.budgets_:
            assert len(distiller.transform(ipc=budget)[0]) == budget * len(np.unique(y))


@settings(bounded, max_examples=60)
@given(problems(), some(PARAMETERS | INNER))
def test_evaluation(problem, parameters):
    X, y = problem
    with documented_errors():
        distiller = rat_bptt(**parameters).fit(X, y)
        result = distiller.evaluate(X, y)
        assert ((result.curve >= 0) & (result.curve <= 1)).all()
        assert distiller.score(X, y) == result.mean


@settings(bounded, max_examples=60)
@given(problems(), some(PARAMETERS | INNER))
def test_classifier(problem, parameters):
    X, y = problem
    with documented_errors():
        classifier = DistilledClassifier(rat_bptt(**parameters)).fit(X, y)
        probabilities = classifier.predict_proba(X)
        assert np.isfinite(probabilities).all()
        np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)
        assert set(classifier.predict(X)) <= set(y)


@settings(bounded, max_examples=60)
@given(problems(), some(PARAMETERS | INNER))
def test_sampler(problem, parameters):
    X, y = problem
    with documented_errors():
        X_syn, y_syn = DistillationSampler(rat_bptt(**parameters)).fit_resample(X, y)
        assert np.isfinite(X_syn).all()
        assert set(y_syn) == set(y)


@bounded
@given(
    problems(),
    st.one_of(REAL, st.just(0.1)),
    st.sampled_from(["auto", True, False, "yes"]),
    st.integers(0, 20),
)
def test_whitener(problem, regularization, per_sample, batch_size):
    X, _ = problem
    with documented_errors():
        whitener = ZCAWhitener(regularization, per_sample=per_sample, batch_size=batch_size)
        white = whitener.fit(X).transform(X)
        assert white.shape == X.shape
        assert np.isfinite(white).all()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@settings(bounded, max_examples=10)
@given(problem=problems(), place=st.integers(0, 10**6))
def test_values_that_are_not_finite_are_refused(value, problem, place):
    X, y = problem
    X = X.astype(np.float64)
    X.flat[place % X.size] = value
    with pytest.raises(ValueError, match=r"NaN|infinity|1 class"):
        rat_bptt().fit(X, y)
