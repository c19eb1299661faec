"""Where the truncated window sits: the schedules of [Feng23, figures 4 and 6].

A schedule answers one question at every outer step: how many inner steps come before the window
(``start``), and how many are in it (``window``)? All truncations in [Feng23] are answers to it, so
the engine has one code path. Schedules hold only parameters. During a run they remember values in a
small dictionary, their state, which the run carries, so that one schedule object can serve many
runs and a run can be resumed.
"""

from numbers import Integral, Real
from typing import Any, Literal

import numpy as np

from ._data.strategy import Strategy
from ._data.validation import Interval, StrOptions
from ._engine.observation import Observation

__all__ = [
    "SCHEDULES",
    "EarlyWindow",
    "FixedWindow",
    "FullWindow",
    "MovingWindow",
    "Observation",
    "RandomLengthWindow",
    "UniformWindow",
    "WindowSchedule",
]


class WindowSchedule(Strategy):
    """Base class of the window schedules.

    A subclass implements `draw`; if it reacts to results, also `init_state` and `observe`.
    """

    # Whether `draw` uses the distiller's `window`.
    uses_window = True

    def init_state(self, window: int, unroll: int) -> dict[str, Any]:
        """Return the state with which a run starts."""
        return {}

    def draw(
        self, rng: np.random.Generator, window: int, unroll: int, state: dict[str, Any]
    ) -> tuple[int, int]:
        """Return ``(start, window)`` for one outer step.

        Parameters
        ----------
        rng : numpy.random.Generator
            The randomness of this outer step.
        window, unroll : int
            The distiller's window size M and unrolling length T, ``1 <= window <= unroll``.
        state : dict
            What `init_state` or the last `observe` returned.
        """
        raise NotImplementedError

    def observe(
        self, seen: Observation, window: int, unroll: int, state: dict[str, Any]
    ) -> dict[str, Any]:
        """Return the state after an outer step that was not skipped.

        Parameters
        ----------
        seen : Observation
            ``loss`` on the real batch, ``grad_norm`` of the meta-gradient before clipping, and
            ``accuracy`` on held-out data, which is None unless the samples were validated after
            this step.
        window, unroll : int
            As in `draw`.
        state : dict
            What `init_state` or the last `observe` returned.
        """
        return state


class UniformWindow(WindowSchedule):
    """RaT-BPTT: the window ends at a step drawn uniformly from ``[window, unroll]``.

    This is Algorithm 1 of [Feng23]_.

    References
    ----------
    .. [Feng23] Y. Feng, R. Vedantam and J. Kempe, "Embarrassingly Simple Dataset Distillation",
       arXiv:2311.07025.

    Examples
    --------
    >>> import numpy as np
    >>> from skdistill.windows import UniformWindow
    >>> start, window = UniformWindow().draw(np.random.default_rng(0), 20, 60, {})
    >>> window, 0 <= start <= 40
    (20, True)
    """

    def draw(
        self, rng: np.random.Generator, window: int, unroll: int, state: dict[str, Any]
    ) -> tuple[int, int]:
        """Return ``(start, window)`` for one outer step."""
        return int(rng.integers(unroll - window + 1)), window


class FixedWindow(WindowSchedule):
    """T-BPTT: the window is always the last ``window`` of ``unroll`` steps.

    This is equation 3 of [Feng23]_.

    References
    ----------
    .. [Feng23] Y. Feng, R. Vedantam and J. Kempe, "Embarrassingly Simple Dataset Distillation",
       arXiv:2311.07025.

    Examples
    --------
    >>> import numpy as np
    >>> from skdistill.windows import FixedWindow
    >>> FixedWindow().draw(np.random.default_rng(0), 20, 60, {})
    (40, 20)
    """

    def draw(
        self, rng: np.random.Generator, window: int, unroll: int, state: dict[str, Any]
    ) -> tuple[int, int]:
        """Return ``(start, window)`` for one outer step."""
        return unroll - window, window


class FullWindow(WindowSchedule):
    """BPTT: differentiate through all ``unroll`` steps; ``window`` is not used.

    This is equation 2 of [Feng23]_.

    References
    ----------
    .. [Feng23] Y. Feng, R. Vedantam and J. Kempe, "Embarrassingly Simple Dataset Distillation",
       arXiv:2311.07025.

    Examples
    --------
    >>> import numpy as np
    >>> from skdistill.windows import FullWindow
    >>> FullWindow().draw(np.random.default_rng(0), 20, 60, {})
    (0, 60)
    """

    uses_window = False

    def draw(
        self, rng: np.random.Generator, window: int, unroll: int, state: dict[str, Any]
    ) -> tuple[int, int]:
        """Return ``(start, window)`` for one outer step."""
        return 0, unroll


class RandomLengthWindow(WindowSchedule):
    """R-BPTT: train and differentiate a random number of steps from ``[window, unroll]``.

    It is in figure 4 of [Feng23]_.

    References
    ----------
    .. [Feng23] Y. Feng, R. Vedantam and J. Kempe, "Embarrassingly Simple Dataset Distillation",
       arXiv:2311.07025.

    Examples
    --------
    >>> import numpy as np
    >>> from skdistill.windows import RandomLengthWindow
    >>> start, window = RandomLengthWindow().draw(np.random.default_rng(0), 20, 60, {})
    >>> start, 20 <= window <= 60
    (0, True)
    """

    def draw(
        self, rng: np.random.Generator, window: int, unroll: int, state: dict[str, Any]
    ) -> tuple[int, int]:
        """Return ``(start, window)`` for one outer step."""
        return 0, int(rng.integers(window, unroll + 1))


class EarlyWindow(WindowSchedule):
    """A random window that favors the early phase of training.

    Section 4.3 of [Feng23]_ reports that "sampling more on the initial phase" gains 0.4 points on
    CIFAR-10, but not how it samples. Here the start is ``floor(u**bias * (unroll - window + 1))``
    with ``u`` uniform in [0, 1): `bias` = 1 is `UniformWindow`; the larger it is, the earlier the
    windows are.

    Parameters
    ----------
    bias : float, default=2.0
        At least 1. With 2, half of the windows start in the first quarter of the possible range.

    References
    ----------
    .. [Feng23] Y. Feng, R. Vedantam and J. Kempe, "Embarrassingly Simple Dataset Distillation",
       arXiv:2311.07025.

    Examples
    --------
    >>> import numpy as np
    >>> from skdistill.windows import EarlyWindow
    >>> rng = np.random.default_rng(0)
    >>> starts = [EarlyWindow(bias=4).draw(rng, 20, 60, {})[0] for _ in range(1000)]
    >>> bool(np.median(starts) < 10)
    True
    """

    _parameter_constraints: dict[str, Any] = {"bias": [Interval(Real, 1, None, closed="left")]}

    def __init__(self, bias: float = 2.0):
        self.bias = bias

    def draw(
        self, rng: np.random.Generator, window: int, unroll: int, state: dict[str, Any]
    ) -> tuple[int, int]:
        """Return ``(start, window)`` for one outer step."""
        return int(rng.random() ** self.bias * (unroll - window + 1)), window


class MovingWindow(WindowSchedule):
    """A window that moves by its own size whenever the loss stagnates.

    A forward window starts at the first inner step and moves later; a backward one starts at the
    last and moves earlier. (Section 4.3 of [Feng23]_, whose figure 6 it is, names the two starting
    points the other way round, which would leave no room to move.) At the other end the window
    stays.

    Parameters
    ----------
    direction : {"forward", "backward"}, default="forward"
        Which way the window moves.
    patience : int, default=2000
        Outer steps without improvement after which the window moves; 2,000 as in [Feng23].
    tol : float, default=1e-3
        What counts as an improvement: the smoothed loss falls by this fraction of the best.
    smoothing : float, default=0.98
        Weight of the past in the exponential moving average of the loss. Each outer step uses
        another network and another real batch, so a single loss says little.

    References
    ----------
    .. [Feng23] Y. Feng, R. Vedantam and J. Kempe, "Embarrassingly Simple Dataset Distillation",
       arXiv:2311.07025.

    Examples
    --------
    >>> import numpy as np
    >>> from skdistill.windows import MovingWindow, Observation
    >>> schedule, rng = MovingWindow(patience=2, smoothing=0), np.random.default_rng(0)
    >>> state, starts = schedule.init_state(20, 60), []
    >>> for loss in [2.0, 1.0, 1.0, 1.0, 1.0]:
    ...     starts.append(schedule.draw(rng, 20, 60, state)[0])
    ...     state = schedule.observe(Observation(loss), 20, 60, state)
    >>> starts
    [0, 0, 0, 0, 20]
    """

    _parameter_constraints: dict[str, Any] = {
        "direction": [StrOptions({"forward", "backward"})],
        "patience": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="left")],
        "smoothing": [Interval(Real, 0, 1, closed="left")],
    }

    def __init__(
        self,
        direction: Literal["forward", "backward"] = "forward",
        patience: int = 2000,
        tol: float = 1e-3,
        smoothing: float = 0.98,
    ):
        self.direction = direction
        self.patience = patience
        self.tol = tol
        self.smoothing = smoothing

    def init_state(self, window: int, unroll: int) -> dict[str, Any]:
        """Return the state with which a run starts."""
        start = 0 if self.direction == "forward" else unroll - window
        return {"start": start, "smoothed": None, "best": None, "stagnant": 0}

    def draw(
        self, rng: np.random.Generator, window: int, unroll: int, state: dict[str, Any]
    ) -> tuple[int, int]:
        """Return ``(start, window)`` for one outer step."""
        return state["start"], window

    def observe(
        self, seen: Observation, window: int, unroll: int, state: dict[str, Any]
    ) -> dict[str, Any]:
        """Return the state after an outer step with this real-data loss."""
        loss = seen.loss
        last = state["smoothed"]
        smoothed = loss if last is None else self.smoothing * last + (1 - self.smoothing) * loss
        if state["best"] is None or smoothed < state["best"] * (1 - self.tol):
            return {**state, "smoothed": smoothed, "best": smoothed, "stagnant": 0}
        stagnant = state["stagnant"] + 1
        if stagnant < self.patience:
            return {**state, "smoothed": smoothed, "stagnant": stagnant}
        # Losses at another window are not comparable with those here: forget them.
        move = window if self.direction == "forward" else -window
        start = min(max(state["start"] + move, 0), unroll - window)
        return {"start": start, "smoothed": None, "best": None, "stagnant": 0}


ScheduleName = Literal["rat-bptt", "bptt", "t-bptt", "r-bptt", "early", "forward", "backward"]
SCHEDULES: dict[str, WindowSchedule] = {
    "rat-bptt": UniformWindow(),
    "bptt": FullWindow(),
    "t-bptt": FixedWindow(),
    "r-bptt": RandomLengthWindow(),
    "early": EarlyWindow(),
    "forward": MovingWindow("forward"),
    "backward": MovingWindow("backward"),
}


def resolve_schedule(schedule: str | WindowSchedule) -> WindowSchedule:
    """Return the schedule that an alias names, or the (checked) schedule itself."""
    schedule = SCHEDULES[schedule] if isinstance(schedule, str) else schedule
    schedule.validate()
    return schedule
