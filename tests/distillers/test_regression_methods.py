"""What the methods by regression have in common: hopeless kernels and networks, and flips."""

import numpy as np
import pytest
import tools

from skdistill import FRePoDistiller, RCIGDistiller, all_distillers
from skdistill.exceptions import DivergenceWarning


def having(parameter):
    """Return the methods that have a parameter."""
    return [kind for _, kind in all_distillers() if parameter in kind._get_param_names()]


@pytest.mark.parametrize("kind", having("regularization"))
def test_a_singular_kernel_is_counted(images, kind):
    # All samples of a class are the same. RCIG must have some regularization.
    X, y = images[0][:2].repeat(20, axis=0), np.repeat([0, 1], 20)
    ridge = 1e-30 if kind is RCIGDistiller else 0.0
    history = tools.smallest(kind, ipc=3, regularization=ridge, max_iter=1).fit(X, y).history_
    assert history["n_raised"][0] > 0
    assert history["skipped"] == [False]


@pytest.mark.parametrize(
    ("kind", "rates"),
    [
        (FRePoDistiller, "learning_rate or pool_lr"),
        (RCIGDistiller, "learning_rate, inner_lr, inverse_lr"),
    ],
)
def test_networks_that_diverge_do_not_end_a_run(images, kind, rates):
    # Their first step of training makes networks whose features overflow.
    distiller = tools.smallest(kind, max_iter=12, pool_lr=1e30, pool_steps=1, architecture="mlp")
    with pytest.warns(DivergenceWarning, match=f"Use a lower {rates}"):
        distiller.fit(*images)
    history = distiller.history_
    assert history["n_diverged"][-1] > 2
    assert sorted(set(history["skipped"])) == [False, True]
    assert np.isfinite(distiller.transform()[0]).all()


@pytest.mark.parametrize("kind", having("flips"))
def test_a_table_has_no_flips(table, outer_step, kind):
    outer_step.refuse()
    with pytest.raises(ValueError, match="flips=True must be False for a table"):
        tools.smallest(kind, flips=True).fit(*table)
