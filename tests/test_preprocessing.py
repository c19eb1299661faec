"""ZCA whitening: the recipes in plain NumPy, the way back, layouts, and scikit-learn's habits."""

import pickle
import tracemalloc

import joblib
import numpy as np
import pandas as pd
import pytest
import torch
from sklearn import config_context
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks

from skdistill import RaTBPTTDistiller, ZCAWhitener


@pytest.fixture
def X():
    """Return 60 correlated samples of 12 features, each with a level and a contrast of its own."""
    rng = np.random.default_rng(0)
    samples = rng.normal(size=(60, 12)) @ rng.normal(size=(12, 12))
    return samples * rng.uniform(0.5, 2, size=(60, 1)) + rng.normal(5, 1, size=(60, 1))


def standardized(X):
    centered = X - X.mean(axis=1, keepdims=True)
    return centered / np.linalg.norm(centered, axis=1, keepdims=True)


def plain_zca(X, regularization, per_sample):
    """Return `X` whitened and the whitening matrix, as in the papers, in a few lines."""
    X = standardized(X) if per_sample else X - X.mean(axis=0)
    covariance = X.T @ X / len(X)
    values, vectors = np.linalg.eigh(covariance)
    values = values + regularization * np.trace(covariance) / len(covariance)
    W = vectors @ np.diag(values**-0.5) @ vectors.T
    return X @ W, W


@parametrize_with_checks([ZCAWhitener(), ZCAWhitener(per_sample=True)])
def test_scikit_learn_checks(estimator, check):
    check(estimator)


# --- the numbers ------------------------------------------------------------------------------


@pytest.mark.parametrize("regularization", [0.1, 2.0])
@pytest.mark.parametrize("per_sample", [True, False])
def test_equals_the_recipe_in_numpy(X, per_sample, regularization):
    whitener = ZCAWhitener(regularization, per_sample=per_sample).fit(X)
    white, W = plain_zca(X, regularization, per_sample)
    np.testing.assert_allclose(whitener.transform(X), white, rtol=0, atol=1e-10)
    U = whitener.eigenvectors_
    np.testing.assert_allclose(U @ np.diag(whitener.eigenvalues_**-0.5) @ U.T, W, atol=1e-10)


def test_new_samples_use_the_moments_of_the_training_set(X):
    whitener = ZCAWhitener().fit(X[:40])
    W = plain_zca(X[:40], 0.1, False)[1]
    expected = (X[40:] - X[:40].mean(axis=0)) @ W
    # Fewer samples than features take another order of multiplication than many.
    for rows in (slice(None), slice(3)):
        np.testing.assert_allclose(whitener.transform(X[40:][rows]), expected[rows], atol=1e-10)


def test_without_regularization_the_covariance_becomes_the_identity(X):
    white = ZCAWhitener(regularization=0).fit_transform(X)
    np.testing.assert_allclose(np.cov(white.T, bias=True), np.eye(12), atol=1e-10)


def test_per_sample_the_second_moments_become_the_identity_but_for_the_mean(X):
    white = ZCAWhitener(regularization=1e-9, per_sample=True).fit_transform(X)
    np.testing.assert_allclose(white.T @ white / 60, np.eye(12) - 1 / 12, atol=1e-6)


def test_auto_is_per_sample_for_images_only(X):
    images = X.reshape(60, 3, 4)
    assert ZCAWhitener().fit(images).per_sample_ is True
    assert ZCAWhitener().fit(X).per_sample_ is False
    flat = ZCAWhitener(per_sample=True).fit_transform(X)
    np.testing.assert_allclose(ZCAWhitener().fit_transform(images).reshape(60, 12), flat)


# --- the way back -----------------------------------------------------------------------------


def test_inverse_without_per_sample_is_exact(X):
    whitener = ZCAWhitener().fit(X)
    np.testing.assert_allclose(whitener.inverse_transform(whitener.transform(X)), X, atol=1e-10)
    assert whitener.scale_ == 1


def test_inverse_per_sample_gives_the_average_mean_and_norm(X):
    whitener = ZCAWhitener(per_sample=True).fit(X)
    norms = np.linalg.norm(X - X.mean(axis=1, keepdims=True), axis=1)
    expected = standardized(X) * norms.mean() + X.mean()
    back = whitener.inverse_transform(whitener.transform(X))
    np.testing.assert_allclose(back, expected, atol=1e-10)
    assert whitener.mean_ == pytest.approx(X.mean())
    assert whitener.scale_ == pytest.approx(norms.mean())


@pytest.mark.parametrize("per_sample", [True, False])
def test_inverse_then_transform_of_samples_that_were_never_real(X, per_sample):
    whitener = ZCAWhitener(per_sample=per_sample).fit(X)
    synthetic = np.random.default_rng(1).normal(size=(4, 12))
    back = whitener.inverse_transform(synthetic)
    again = whitener.transform(back)
    if not per_sample:
        np.testing.assert_allclose(again, synthetic, atol=1e-10)
    else:
        # W maps the synthetic sample to one with a mean and a norm; these are lost.
        W = plain_zca(X, 0.1, True)[1]
        np.testing.assert_allclose(again, standardized(synthetic @ np.linalg.inv(W)) @ W)


# --- shapes, dtypes, batches ------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(12,), (3, 4), (3, 2, 2), (2, 2, 3)])
def test_samples_come_back_in_their_shape(X, shape):
    samples = X.reshape(60, *shape)
    whitener = ZCAWhitener().fit(samples)
    white = whitener.transform(samples)
    assert white.shape == samples.shape
    assert whitener.inverse_transform(white[:2]).shape == (2, *shape)
    assert whitener.n_features_in_ == 12
    assert whitener.sample_shape_ == shape


def test_channels_last_is_channels_first(X):
    first = X.reshape(60, 3, 2, 2)
    last = np.moveaxis(first, 1, -1)
    whitener = ZCAWhitener().fit(last)
    white = ZCAWhitener().fit_transform(first)
    np.testing.assert_allclose(np.moveaxis(whitener.transform(last), -1, 1), white, atol=1e-10)


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.uint16, bool, np.float32, ">f4"])
def test_all_dtypes_are_computed_in_double_precision(X, dtype):
    samples = (X * 10).clip(0, 255).astype(dtype) if dtype is not bool else X > 5
    before = samples.copy()
    white = ZCAWhitener().fit_transform(samples)
    assert white.dtype == (np.float64 if dtype is np.int64 else np.float32)
    expected = ZCAWhitener().fit_transform(samples.astype(np.float64)).astype(white.dtype)
    np.testing.assert_array_equal(white, expected)
    np.testing.assert_array_equal(samples, before)


def test_large_whole_numbers_come_back(X):
    times = (100 * X).astype(np.int64) + 1_700_000_000
    whitener = ZCAWhitener().fit(times)
    back = whitener.inverse_transform(whitener.transform(times))
    np.testing.assert_allclose(back, times, rtol=0, atol=1e-3)


def test_inverse_keeps_the_dtype(X):
    whitener = ZCAWhitener().fit(X.astype(np.float32))
    assert whitener.inverse_transform(X).dtype == np.float64
    assert whitener.inverse_transform(X.astype(np.float32)).dtype == np.float32


def test_tensors_are_arrays(X):
    images = X.reshape(60, 3, 4)
    white = ZCAWhitener().fit_transform(torch.from_numpy(images))
    np.testing.assert_array_equal(white, ZCAWhitener().fit_transform(images))


@pytest.mark.parametrize("per_sample", [True, False])
def test_batches_equal_the_whole(X, per_sample):
    whole = ZCAWhitener(per_sample=per_sample).fit(X)
    batched = ZCAWhitener(per_sample=per_sample, batch_size=7).fit(X)
    np.testing.assert_allclose(batched.transform(X), whole.transform(X), atol=1e-10)
    np.testing.assert_allclose(batched.mean_, whole.mean_, rtol=1e-12)
    np.testing.assert_allclose(batched.scale_, whole.scale_, rtol=1e-12)
    white = whole.transform(X)
    np.testing.assert_allclose(
        batched.inverse_transform(white), whole.inverse_transform(white), atol=1e-10
    )


def test_memory_mapped_bytes_are_never_copied_whole(tmp_path):
    images = np.random.default_rng(0).integers(256, size=(20_000, 8, 8), dtype=np.uint8)
    np.save(tmp_path / "images.npy", images)
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    whitener = ZCAWhitener(batch_size=100)
    tracemalloc.start()
    whitener.fit(mapped)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < images.nbytes / 2
    np.testing.assert_array_equal(
        whitener.transform(mapped[:50]), whitener.fit(images).transform(images[:50])
    )


# --- unpleasant data --------------------------------------------------------------------------


@pytest.mark.parametrize("value", [0.0, 0.1, 1e9 / 3])
def test_constant_samples_become_zero(X, value):
    X[0] = value
    whitener = ZCAWhitener(per_sample=True).fit(X)
    white = whitener.transform(X)
    assert np.isfinite(white).all()
    np.testing.assert_array_equal(white[0], 0)
    assert np.linalg.norm(white[1:], axis=1).min() > 0.1
    np.testing.assert_allclose(whitener.inverse_transform(white)[0], whitener.mean_)


@pytest.mark.parametrize("value", [0.0, 0.1, 1e9 / 3])
def test_constant_features_stay_zero(X, value):
    X[:, 0] = value
    white = ZCAWhitener().fit_transform(X)
    np.testing.assert_allclose(white[:, 0], 0, atol=1e-10)
    # The others see the zero only in the mean eigenvalue.
    np.testing.assert_allclose(white[:, 1:], plain_zca(X[:, 1:], 0.1 * 11 / 12, False)[0])


@pytest.mark.parametrize("per_sample", [True, False])
def test_more_features_than_samples(X, per_sample):
    few = X[:5]
    whitener = ZCAWhitener(per_sample=per_sample).fit(few)
    white = whitener.transform(few)
    np.testing.assert_allclose(white, plain_zca(few, 0.1, per_sample)[0], atol=1e-10)
    back = whitener.inverse_transform(white)
    expected = standardized(few) * whitener.scale_ + whitener.mean_ if per_sample else few
    np.testing.assert_allclose(back, expected, atol=1e-10)


@pytest.mark.parametrize(
    ("rows", "per_sample", "rank"), [(slice(5), False, 4), (slice(None), True, 11)]
)
def test_singular_without_regularization(X, rows, per_sample, rank):
    message = rf"regularization=0 must be larger.* rank {rank} for 12 features"
    with pytest.raises(ValueError, match=message):
        ZCAWhitener(regularization=0, per_sample=per_sample).fit(X[rows])


@pytest.mark.parametrize(
    "X",
    [np.full((7, 3), 0.1), np.full((5, 3, 3), 0.1), np.arange(5.0).repeat(4).reshape(5, 2, 2)],
    ids=["table", "images", "images of different brightness"],
)
def test_data_that_do_not_vary(X):
    with pytest.raises(ValueError, match="X must vary: its covariance is zero"):
        ZCAWhitener().fit(X)


# --- scikit-learn's habits --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"regularization": -0.1}, "'regularization' parameter"),
        ({"per_sample": "yes"}, "'per_sample' parameter"),
        ({"batch_size": 0}, "'batch_size' parameter"),
        ({"device": "abacus"}, "device must be 'auto' or a device"),
    ],
)
def test_unfit_parameters(X, parameters, message):
    with pytest.raises(ValueError, match=message):
        ZCAWhitener(**parameters).fit(X)


@pytest.mark.parametrize("method", ["transform", "inverse_transform"])
def test_unfit_samples(X, method):
    with pytest.raises(NotFittedError):
        getattr(ZCAWhitener(), method)(X)
    call = getattr(ZCAWhitener().fit(X), method)
    with pytest.raises(ValueError, match="X has 11 features, but ZCAWhitener is expecting 12"):
        call(X[:, 1:])
    with pytest.raises(ValueError, match="Input X contains NaN"):
        call(np.full((2, 12), np.nan))
    with pytest.raises(ValueError, match=r"samples of shape \(12,\), as in fit; .* \(12, 1\)"):
        call(X[:, :, None])
    with pytest.raises(ValueError, match="Expected 2D array, got 1D array instead"):
        call(X[0])
    call = getattr(ZCAWhitener().fit(X.reshape(60, 3, 4)), method)
    for shape in [(60, 12), (60, 4, 3), (60, 3, 4, 1)]:
        with pytest.raises(ValueError, match=r"samples of shape \(3, 4\), as in fit"):
            call(X.reshape(shape))


def test_samples_of_one_feature_have_no_contrast():
    with pytest.raises(ValueError, match=r"per_sample=True .* got n_features=1"):
        ZCAWhitener(per_sample=True).fit(np.arange(5.0)[:, None])


def test_data_frames(X):
    frame = pd.DataFrame(X, columns=[f"sensor {i}" for i in range(12)], index=np.arange(60) + 7)
    whitener = ZCAWhitener().set_output(transform="pandas").fit(frame)
    white = whitener.transform(frame)
    pd.testing.assert_index_equal(white.columns, frame.columns)
    pd.testing.assert_index_equal(white.index, frame.index)
    assert whitener.get_feature_names_out().tolist() == frame.columns.tolist()
    np.testing.assert_allclose(white, ZCAWhitener().fit_transform(X))
    np.testing.assert_allclose(whitener.inverse_transform(white), X)
    with pytest.raises(ValueError, match="feature names should match"):
        whitener.transform(frame.rename(columns={"sensor 0": "sensor 12"}))


@pytest.mark.filterwarnings("error")
def test_saved_and_loaded(X, tmp_path):
    whitener = ZCAWhitener().fit(X)
    white = whitener.transform(X)
    assert isinstance(whitener.eigenvectors_, np.ndarray)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(whitener)).transform(X), white)
    joblib.dump(whitener, tmp_path / "whitener.joblib")
    mapped = joblib.load(tmp_path / "whitener.joblib", mmap_mode="r")
    np.testing.assert_array_equal(mapped.transform(X), white)


def test_in_front_of_a_distiller(images):
    X, y = images
    distiller = RaTBPTTDistiller(
        ipc=1, max_iter=2, window=1, unroll=2, n_networks=1, eval_steps=2, random_state=0
    )
    pipe = make_pipeline(ZCAWhitener(), distiller).fit(X, y)
    X_syn, _ = pipe[-1].transform()
    back = pipe[:-1].inverse_transform(X_syn)
    assert back.shape == (2, 6, 6)
    direct = distiller.fit(ZCAWhitener().fit_transform(X), y).transform()[0]
    np.testing.assert_array_equal(X_syn, direct)
    assert 0 <= pipe.score(X, y) <= 1


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
@pytest.mark.parametrize("per_sample", [True, False])
def test_gpu_equals_cpu(X, per_sample):
    cpu = ZCAWhitener(per_sample=per_sample, device="cpu").fit(X)
    gpu = ZCAWhitener(per_sample=per_sample, device="cuda").fit(X)
    assert isinstance(gpu.eigenvectors_, np.ndarray)
    white = cpu.transform(X)
    np.testing.assert_allclose(gpu.transform(X), white, atol=1e-10)
    np.testing.assert_allclose(gpu.inverse_transform(white), cpu.inverse_transform(white))


def test_a_fit_that_fails_leaves_the_features_of_an_earlier_one():
    X = np.random.default_rng(0).normal(size=(9, 4))
    whitener = ZCAWhitener().fit(X)
    with pytest.raises(ValueError, match="per_sample=True needs samples of at least 2 features"):
        whitener.set_params(per_sample=True).fit(X[:, :1])
    assert whitener.n_features_in_ == 4


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_images_stay_arrays_where_tables_become_frames(images, X, library):
    pixels = images[0]
    white = ZCAWhitener().fit_transform(pixels)
    for whitener in (ZCAWhitener().set_output(transform=library), ZCAWhitener().fit(pixels)):
        whitener.set_output(transform=library)
        np.testing.assert_array_equal(whitener.fit(pixels).transform(pixels), white)
        assert not isinstance(whitener.fit_transform(X), np.ndarray)
    with config_context(transform_output=library):
        np.testing.assert_array_equal(ZCAWhitener().fit_transform(pixels), white)
        assert not isinstance(ZCAWhitener().fit_transform(X), np.ndarray)
