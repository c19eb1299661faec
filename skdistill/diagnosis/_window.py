"""Whether the window of an unrolled method is too short for the images."""

from math import ceil

from ..distilled._rules import is_count, is_number
from ._case import Case
from ._report import Finding, NotMade

__all__ = ["short_window"]

# Adam moves each parameter by about its learning rate in a step, so window x inner_lr is how far
# the part of a training goes that is differentiated. On images of 32 pixels per side, a run with
# 15 steps at 0.001 gained little after a thousand outer steps (0.348, and 0.361 after 4399; in all
# 36.9 %), and one with 40 steps at 0.001 went on improving (39.0 % after 2708): the files
# table1-cifar10-folder-1*.json in examples/reproduce/results. 30 steps at 0.003 reached 45.8 %.
# In short runs, and on smaller images, the shorter windows did as well or better (windows-*.json).
_SIDE, _LONG, _REACH = 28, 1000, 0.04


def short_window(case: Case) -> Finding | NotMade | None:
    """Look for a window that is too short for a long run on images of 28 pixels or more."""
    layout, known = case.distilled.recipe.layout, case.parameters
    if not layout.is_image:
        return NotMade("Windows were measured on images, and the samples are rows of a table.")
    if not known:
        return NotMade("The set does not record the parameters of its run.")
    window, unroll, rate = (known.get(name) for name in ("window", "unroll", "inner_lr"))
    if window is None and unroll is None:
        return NotMade(f"{case.method or 'The method'} unrolls no training, and has no window.")
    n_steps = case.runs[-1].get("n_iter")
    if not (is_count(window) and is_count(unroll) and is_count(n_steps) and is_number(rate)):
        return NotMade("The set does not record window, unroll, inner_lr and outer steps in full.")
    if known.get("inner_optimizer") != "adam":
        return NotMade("Windows were measured with inner_optimizer='adam'.")
    assert isinstance(window, int)
    assert isinstance(n_steps, int)
    assert isinstance(rate, int | float)
    side = max(layout.network_shape[1:])
    # A product of a rounded rate may miss its bound by the last digit.
    if side < _SIDE or n_steps <= _LONG or window * rate > 0.999 * _REACH:
        return None
    longer = ceil(0.999 * _REACH / rate)
    return Finding(
        "short-window",
        "warning",
        f"window={window} of unroll={unroll} steps at inner_lr={rate:g}, in a run of {n_steps} "
        f"outer steps on images of {side} pixels per side: window x inner_lr is "
        f"{window * rate:.2g}. In runs of more than {_LONG} outer steps on images of that size, "
        f"0.015 gained little in the end and {_REACH:g} went on improving.",
        f"Use window={longer}, unroll={ceil(1.5 * longer)}; or, with networks of width 16 to "
        "distill through (inner_architecture=functools.partial(ConvNet, width=16)), window=30, "
        "unroll=40, inner_lr=0.003.",
    )
