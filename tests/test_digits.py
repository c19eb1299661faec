"""The claim of the README: ten synthetic digits teach a network more than ten real ones."""

import pytest

from skdistill import RaTBPTTDistiller
from skdistill.evaluation import compare


def test_a_short_run_beats_random_real_digits(digits):
    X_train, X_test, y_train, y_test = digits
    distiller = RaTBPTTDistiller(
        image_shape=(1, 8, 8), max_iter=30, window=10, unroll=40, random_state=0, n_networks=3
    ).fit(X_train, y_train)
    comparison = compare(
        distiller.distilled_, X_train, y_train, X_test, y_test, n_draws=3, n_networks_whole=1
    )
    assert comparison["distilled"].mean > comparison["random real samples"].mean + 0.05


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_one_sample_a_class(digits, seed):
    X_train, X_test, y_train, y_test = digits
    distiller = RaTBPTTDistiller(image_shape=(1, 8, 8), random_state=seed).fit(X_train, y_train)
    comparison = compare(distiller.distilled_, X_train, y_train, X_test, y_test, n_networks_whole=1)
    assert comparison["distilled"].mean >= 0.90
    assert comparison["distilled"].mean >= comparison["random real samples"].mean + 0.20


@pytest.mark.slow
def test_ten_samples_a_class(digits):
    X_train, X_test, y_train, y_test = digits
    distiller = RaTBPTTDistiller(ipc=10, image_shape=(1, 8, 8), random_state=0)
    assert distiller.fit(X_train, y_train).score(X_test, y_test) > 0.97
