"""Where the truncated window sits: the schedules of [Feng23, figures 4 and 6].

A schedule answers one question at every outer step: how many inner steps come before the window
(``start``), and how many are in it (``window``)? All truncations in [Feng23] are answers to it, so
the engine has one code path. Schedules hold only parameters. During a run they remember values in a
small dictionary, their state, which the run carries, so that one schedule object can serve many
runs and a run can be resumed.
"""

from collections.abc import Callable
from math import ceil
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
    "StageAwareWindow",
    "UniformWindow",
    "WindowSchedule",
]


class WindowSchedule(Strategy):
    """Base class of the window schedules.

    A subclass implements `draw`; if it reacts to results, also `init_state` and `observe`; if it
    looks at the gradients of inner steps, also `prepare`.
    """

    # Whether `draw` uses the distiller's `window`.
    uses_window = True
    # Whether `observe` is to see the accuracy on the real batch, which costs a pass through it.
    uses_accuracy = False

    def check(self, window: int, unroll: int) -> None:
        """Raise ValueError if there is no room for the windows."""

    def longest(self, window: int, unroll: int) -> int:
        """Return the most inner steps that are in a window, which memory depends on."""
        return window

    def init_state(self, window: int, unroll: int) -> dict[str, Any]:
        """Return the state with which a run starts."""
        return {}

    def prepare(
        self,
        step: int,
        gradient_norms: Callable[[], np.ndarray],
        window: int,
        unroll: int,
        state: dict[str, Any],
    ) -> dict[str, Any]:
        """Return the state for an outer step, before `draw`.

        Parameters
        ----------
        step : int
            Outer steps done.
        gradient_norms : callable
            Trains a fresh network on the current synthetic samples and returns the norm of its
            gradient in each of ``unroll`` inner steps. It takes about as long as a quarter of a
            window of that length.
        window, unroll : int
            As in `draw`.
        state : dict
            What `init_state` or the last `observe` returned.
        """
        return state

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
            What `prepare` returned.
        """
        raise NotImplementedError

    def observe(
        self, seen: Observation, window: int, unroll: int, state: dict[str, Any]
    ) -> dict[str, Any]:
        """Return the state after an outer step that was not skipped.

        Parameters
        ----------
        seen : Observation
            ``loss`` on the real batch, ``grad_norm`` of the meta-gradient before clipping,
            ``accuracy`` on held-out data, which is None unless the samples were validated after
            this step, and ``batch_accuracy`` on the real batch, which is None unless
            `uses_accuracy`.
        window, unroll : int
            As in `draw`.
        state : dict
            What `prepare` returned.
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

    def longest(self, window: int, unroll: int) -> int:
        """Return the most inner steps that are in a window."""
        return unroll


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


_EARLY, _MIDDLE, _LATE = range(3)


class StageAwareWindow(WindowSchedule):
    """AT-BPTT: where gradients are large at first, then anywhere, at last where they are small.

    Inner steps are weighed by the norms of their gradients, which are measured every `renew_every`
    outer steps: a fresh network is trained on the current samples. A run has three stages [Li25]_:

    - early: the window starts at a step drawn with the probabilities ``softmax(norms)``. The more
      the gradient changes there, the longer the window is: ``window - radius + 2 * radius * r``,
      where ``r`` is the part of all steps at which the norm changes less from the step before.
    - middle: it starts anywhere, and has ``window + radius`` steps.
    - late: it starts at a step drawn with ``softmax(-norms)``, and has ``window - radius`` steps.

    A stage ends when the accuracy on real batches has stopped to rise: when the mean over
    `renew_every` outer steps was less than `early_tol` (`middle_tol`) above the one before in
    enough such periods in a row.

    Parameters
    ----------
    radius : int, default=10
        By how much the window is longer or shorter than `window`, which must be larger; with it,
        it must be at most `unroll`. [Li25]: 10 for windows of 40 of 200 steps. Its successor has 8
        for 16 of 32.
    renew_every : int, default=10
        Outer steps between two measurements of the norms, and in a mean of the accuracy. [Li25]: an
        epoch, which is 10 batches of 5000 samples. The norms take less than a tenth of the time.
    early_tol : float, default=0.015
        In the early stage, the rise of the accuracy, from 0 to 1, below which a period does not
        count as one. [Li25]: 1.5 points.
    middle_tol : float, default=0.01
        The same in the middle stage. [Li25]: 1 point.
    early_patience : float, default=0.15
        How many such periods in a row end the early stage, as a part of `unroll` (rounded up): 30
        for an `unroll` of 200, as in [Li25].
    middle_patience : float, default=0.125
        The same for the middle stage: 25 for an `unroll` of 200, as in [Li25].

    Notes
    -----
    Values are those of the code of [Li25], which draws a window once in an epoch and not in every
    outer step, and takes its length from the one before in place of `window`, so that lengths
    drift; here each is drawn from `window`. Late windows are mirrored early ones there, ``unroll -
    width - start`` for a start drawn with ``softmax(norms)``. Where all norms are small, both draws
    are spread over all steps; where those of the first steps are some units larger, the code nearly
    always takes the last window, and here all steps whose norms are small have a part. The code
    waits for exactly ``0.125 * unroll`` periods before the late stage, which for an `unroll` of 300
    is no whole number: it never begins there. Its approximation of Hessians is not in that code,
    and not here: gradients are exact. For the settings of its successor, AT-BPTT++, whose policy
    for the windows is another, take ``window=16, unroll=32, sample_norm=1.0`` and
    ``augmentation="flip_rotate"`` with `radius` 8.

    References
    ----------
    .. [Li25] M. Li et al., "Beyond Random: Automatic Inner-loop Optimization in Dataset
       Distillation", arXiv:2510.04838. Its code is github.com/GH209515338/AT-BPTT, that of its
       successor github.com/aether-hang/at-bptt-plus.

    Examples
    --------
    >>> import numpy as np
    >>> from skdistill.windows import StageAwareWindow
    >>> schedule, rng = StageAwareWindow(radius=5), np.random.default_rng(0)
    >>> state = schedule.init_state(20, 60)
    >>> norms = np.where(np.arange(60) == 7, 50.0, 1.0)
    >>> state = schedule.prepare(0, lambda: norms, 20, 60, state)
    >>> schedule.draw(rng, 20, 60, state)
    (7, 24)
    """

    _parameter_constraints: dict[str, Any] = {
        "radius": [Interval(Integral, 0, None, closed="left")],
        "renew_every": [Interval(Integral, 1, None, closed="left")],
        "early_tol": [Interval(Real, 0, 1, closed="both")],
        "middle_tol": [Interval(Real, 0, 1, closed="both")],
        "early_patience": [Interval(Real, 0, None, closed="neither")],
        "middle_patience": [Interval(Real, 0, None, closed="neither")],
    }
    uses_accuracy = True

    def __init__(
        self,
        radius: int = 10,
        renew_every: int = 10,
        early_tol: float = 0.015,
        middle_tol: float = 0.01,
        early_patience: float = 0.15,
        middle_patience: float = 0.125,
    ):
        self.radius = radius
        self.renew_every = renew_every
        self.early_tol = early_tol
        self.middle_tol = middle_tol
        self.early_patience = early_patience
        self.middle_patience = middle_patience

    def check(self, window: int, unroll: int) -> None:
        """Raise ValueError if there is no room for the windows."""
        if not (self.radius < window and window + self.radius <= unroll):
            raise ValueError(
                f"radius={self.radius} of StageAwareWindow must be less than window={window} and "
                f"at most {unroll - window}, the steps that unroll={unroll} leaves beside it."
            )

    def longest(self, window: int, unroll: int) -> int:
        """Return the most inner steps that are in a window."""
        return window + self.radius

    def init_state(self, window: int, unroll: int) -> dict[str, Any]:
        """Return the state with which a run starts."""
        # Norms of None have not been measured; an empty list is one in which some were not finite.
        return {
            "stage": _EARLY,
            "norms": None,
            "stagnant": 0,
            "n_seen": 0,
            "total": 0.0,
            "last": 0.0,
        }

    def prepare(
        self,
        step: int,
        gradient_norms: Callable[[], np.ndarray],
        window: int,
        unroll: int,
        state: dict[str, Any],
    ) -> dict[str, Any]:
        """Return the state for an outer step, with new norms if they are due."""
        due = state["norms"] is None or step % self.renew_every == 0
        if state["stage"] == _MIDDLE or not due:
            return state
        norms = gradient_norms()
        return {**state, "norms": norms.tolist() if np.isfinite(norms).all() else []}

    def draw(
        self, rng: np.random.Generator, window: int, unroll: int, state: dict[str, Any]
    ) -> tuple[int, int]:
        """Return ``(start, window)`` for one outer step."""
        stage = state["stage"]
        if stage not in (_EARLY, _MIDDLE, _LATE):
            raise ValueError(f"its stage must be 0, 1 or 2; got {stage!r}.")
        length = window + (0, self.radius, -self.radius)[stage]
        if stage == _MIDDLE or not state["norms"]:
            return int(rng.integers(unroll - length + 1)), length
        norms = np.asarray(state["norms"], dtype=np.float64)
        start = int(rng.choice(unroll, p=_softmax(norms if stage == _EARLY else -norms)))
        if stage == _EARLY:
            changes = np.abs(np.diff(norms, prepend=norms[0]))
            rank = int((changes < changes[start]).sum())
            length = window - self.radius + int(2 * self.radius * rank / unroll)
        return min(start, unroll - length), length

    def observe(
        self, seen: Observation, window: int, unroll: int, state: dict[str, Any]
    ) -> dict[str, Any]:
        """Return the state after an outer step with this accuracy on the real batch."""
        stage = state["stage"]
        if seen.batch_accuracy is None or stage == _LATE:
            return state
        n_seen, total = state["n_seen"] + 1, state["total"] + seen.batch_accuracy
        if n_seen < self.renew_every:
            return {**state, "n_seen": n_seen, "total": total}
        mean = total / n_seen
        rises = mean - state["last"] >= (self.early_tol, self.middle_tol)[stage]
        stagnant = 0 if rises else state["stagnant"] + 1
        if stagnant >= ceil((self.early_patience, self.middle_patience)[stage] * unroll):
            # Norms from before the middle stage are those of other samples.
            stage, stagnant, state = stage + 1, 0, {**state, "norms": None}
        return {
            **state,
            "stage": stage,
            "stagnant": stagnant,
            "n_seen": 0,
            "total": 0.0,
            "last": mean,
        }


def _softmax(values: np.ndarray) -> np.ndarray:
    weights = np.exp(values - values.max())
    return weights / weights.sum()


ScheduleName = Literal[
    "rat-bptt", "bptt", "t-bptt", "r-bptt", "early", "forward", "backward", "at-bptt"
]
SCHEDULES: dict[str, WindowSchedule] = {
    "rat-bptt": UniformWindow(),
    "bptt": FullWindow(),
    "t-bptt": FixedWindow(),
    "r-bptt": RandomLengthWindow(),
    "early": EarlyWindow(),
    "forward": MovingWindow("forward"),
    "backward": MovingWindow("backward"),
    "at-bptt": StageAwareWindow(),
}


def resolve_schedule(schedule: str | WindowSchedule) -> WindowSchedule:
    """Return the schedule that an alias names, or the (checked) schedule itself."""
    schedule = SCHEDULES[schedule] if isinstance(schedule, str) else schedule
    schedule.validate()
    return schedule
