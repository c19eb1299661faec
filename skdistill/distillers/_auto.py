"""What "auto" stands for in the parameters of distillers, by the size of the samples."""

from functools import partial
from math import ceil
from typing import Any, Final, Literal

from .._data.layout import usual_architecture
from ..networks import Architecture, ConvNet

__all__ = ["AUTO", "is_narrow", "resolve_inner_architecture", "resolve_inner_loop"]

AUTO: Final = "auto"

# Window, unroll and learning rate of the inner Adam for images whose longer side is at most this
# many pixels, and for all larger ones. Tables take the smallest size: for them the settings are
# alike. examples/reproduce/windows.py measured them at equal time on 8, 16, 28 and 32 pixels,
# through the usual networks: a high rate helps on 8 pixels, is two points behind on 16, and does
# harm from 28 on.
_INNER_LOOPS = {8: (20, 30, 0.003), 32: (15, 45, 0.001)}
# Through narrow networks the high rate is good for large images, too
# (examples/reproduce/settings.py).
_NARROW_LOOP = (20, 30, 0.003)
# Images whose longer side is at most this many pixels are distilled through the usual networks,
# larger ones through narrow ones, whose width depends on whether they have one channel or several.
_SMALL, _WIDTHS = 16, (32, 16)
# Beyond this many steps the rate of [Feng23, 4] trains a network far enough, and a larger rate
# makes the long products of its equation 4 explode.
_LONG_UNROLL, _PAPER_LR = 100, 0.001
# The rate with which BPTT (Deng and Russakovsky, 2022) trains its networks by SGD with momentum.
_SGD_LR = 0.01


def resolve_inner_architecture(
    inner: str | Architecture | None,
    architecture: str | Architecture,
    sample_shape: tuple[int, ...],
) -> str | Architecture | None:
    """Return the networks to distill through; None if they are those of the evaluation.

    Parameters
    ----------
    inner, architecture : str, callable or None
        Parameters of a distiller. "auto" for the former has narrow networks for large images, if
        the networks of the evaluation are the usual ones.
    sample_shape : tuple of int
        ``(features,)`` or ``(channels, height, width)``.
    """
    if inner != AUTO:
        return inner
    # "auto" is a multilayer perceptron for images of few pixels in height or width.
    named = usual_architecture(sample_shape) if architecture == AUTO else architecture
    if named != "convnet" or max(sample_shape[1:], default=1) <= _SMALL:
        return None
    return partial(ConvNet, width=_WIDTHS[sample_shape[0] > 1])


def is_narrow(architecture: str | Architecture | None) -> bool:
    """Return whether these are ConvNets of a width that "auto" has, or of a smaller one."""
    if not isinstance(architecture, partial) or architecture.func is not ConvNet:
        return False
    width = architecture.keywords.get("width")
    return width is not None and width <= max(_WIDTHS)


def resolve_inner_loop(
    sample_shape: tuple[int, ...],
    window: int | Literal["auto"],
    unroll: int | Literal["auto"],
    inner_lr: float | Literal["auto"],
    optimizer: str,
    uses_window: bool,
    narrow: bool = False,
) -> dict[str, Any]:
    """Return `window`, `unroll` and `inner_lr` as numbers; given numbers stay as they are.

    Parameters
    ----------
    sample_shape : tuple of int
        ``(features,)`` or ``(channels, height, width)``.
    window, unroll, inner_lr : number or "auto"
    optimizer : {"adam", "sgd"}
    uses_window : bool
        Whether the schedule uses a window; if not, the window is the whole unrolling.
    narrow : bool, default=False
        Whether the networks are narrow.
    """
    side = max(sample_shape[1:], default=1)
    size = next((size for size in _INNER_LOOPS if side <= size), max(_INNER_LOOPS))
    usual_window, usual_unroll, adam_lr = _NARROW_LOOP if narrow else _INNER_LOOPS[size]
    if isinstance(unroll, str):
        # In proportion to a window that is longer than the usual one.
        longer = 1 if isinstance(window, str) or not uses_window else max(1, window / usual_window)
        n_steps = ceil(usual_unroll * longer)
    else:
        n_steps = unroll
    if not uses_window:
        window = n_steps
    elif isinstance(window, str):
        # A third of a long unrolling, as in [Feng23, C.2].
        window = min(n_steps, max(usual_window, n_steps // 3))
    if isinstance(inner_lr, str):
        if optimizer == "sgd":
            inner_lr = _SGD_LR
        else:
            inner_lr = adam_lr if n_steps <= _LONG_UNROLL else _PAPER_LR
    return {"window": int(window), "unroll": int(n_steps), "inner_lr": float(inner_lr)}
