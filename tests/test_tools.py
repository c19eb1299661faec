"""The tests' own tools: if they did nothing, other tests would pass for nothing."""

from itertools import chain, repeat

import numpy as np
import pytest
import tools

from skdistill import RaTBPTTDistiller


def fit(data, **parameters):
    parameters = {"max_iter": 3, "window": 1, "unroll": 2, "random_state": 0} | parameters
    return RaTBPTTDistiller(**parameters).fit(*data)


def test_work_that_is_begun_is_noticed(images, outer_step):
    outer_step.refuse()
    with pytest.raises(pytest.fail.Exception, match="work was begun"):
        fit(images)


def test_outer_steps_are_counted_from_1(images, outer_step):
    steps = outer_step(KeyboardInterrupt, at=2)
    with pytest.raises(KeyboardInterrupt):
        fit(images)
    assert steps.begun == [1, 2]
    steps = outer_step(KeyboardInterrupt, total=5)
    fit(images)
    with pytest.raises(KeyboardInterrupt):
        fit(images)
    assert steps.begun == [1, 2, 3, 1, 2]


def test_what_was_done_to_outer_steps_is_undone(images, outer_step):
    whole = fit(images)
    with outer_step(factor=lambda step: -1.0):
        other = fit(images)
    again = fit(images)
    assert np.abs(other.transform()[0] - whole.transform()[0]).max() > 0
    np.testing.assert_array_equal(again.transform()[0], whole.transform()[0])


@pytest.mark.parametrize("how", ["warm start", "checkpoint", "checkpoint after Ctrl-C"])
def test_a_run_in_two_parts_that_has_other_bits_is_noticed(images, tmp_path, how):
    seeds = chain([1], repeat(0))

    def make(**parameters):
        return tools.quick(**parameters, random_state=next(seeds))

    with pytest.raises(AssertionError):
        tools.check_same_bits_after(how, make, images, tmp_path, first=2)
