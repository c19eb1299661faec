"""What the methods that match real samples have in common: they move by the gradients alone."""

from functools import partial

import numpy as np
import pytest
import tools

from skdistill import DistributionMatchingDistiller, GradientMatchingDistiller


@pytest.mark.parametrize("kind", [DistributionMatchingDistiller, GradientMatchingDistiller])
def test_gradient_descent_moves_by_the_gradients_themselves(images, kind):
    distil = partial(tools.quick, kind, batch_size=16, outer_optimizer="sgd", max_iter=1)
    start, moved = (distil(learning_rate=rate).fit(*images) for rate in (1e-12, 0.5))
    way = (moved.transform()[0] - start.transform()[0]) / moved.distilled_.recipe.scale[0]
    assert np.linalg.norm(way) == pytest.approx(0.5 * moved.history_["grad_norm"][0], rel=1e-4)
    # Nothing is clipped.
    assert moved.history_["clip_level"] == [None]
