"""A forecast of a run: how long, how much memory, and what to lower."""

from dataclasses import dataclass
from math import inf
from time import perf_counter

from ._engine.memory import PeakMemory
from ._engine.methods.base import Method, Problem, Synthetic
from ._engine.steps import CompiledSteps

__all__ = ["Forecast"]

_MIB = 2**20


@dataclass(frozen=True)
class Hints:
    """The parameters of a distiller with which its memory and its time grow.

    Parameters
    ----------
    states, activations, real : str
        As in `PeakMemory`.
    time : tuple of str
        Parameters to lower for less time; the first helps most.
    step : str, default=""
        What an outer step computes, for the table of all methods.
    """

    states: str
    activations: str
    real: str
    time: tuple[str, ...]
    step: str = ""


@dataclass(frozen=True)
class Forecast:
    """Time and memory of a run, estimated from a few of its outer steps; prints as a few lines.

    Parameters
    ----------
    seconds_per_step : float
        Mean over the measured outer steps. The length of the unrolled training is random, so a few
        steps give the mean within about a tenth. Not counted are what a sampler does once in many
        steps (clusters, scores of hardness), and that a window which moves takes longer in another
        place: the first is what is measured.
    n_steps : int
        Outer steps of the run.
    memory : PeakMemory
        Bytes at the peak, by what they grow with.
    compiled : bool
        Whether the steps were compiled; half a minute to a minute of compilation is not counted.
    device : str
        Where the time was measured.
    hints : Hints
        Which parameters memory and time grow with.
    validation_seconds : float, default=0.0
        Seconds of all validations of the run; 0 without a `validation_fraction`.
    """

    seconds_per_step: float
    n_steps: int
    memory: PeakMemory
    compiled: bool
    device: str
    hints: Hints
    validation_seconds: float = 0.0

    @property
    def seconds(self) -> float:
        """Seconds of the whole run with its validations, but without `score`."""
        return self.seconds_per_step * self.n_steps + self.validation_seconds

    def steps_in(self, seconds: float) -> int:
        """Return how many outer steps a time is enough for, with their validations; at least 1.

        Parameters
        ----------
        seconds : float

        Returns
        -------
        int
            A value for `max_iter`; of a boosted run, the steps of all blocks together.

        Raises
        ------
        ValueError
            If ``seconds`` is not a positive, finite number.
        """
        if not 0 < seconds < inf:
            raise ValueError(f"seconds must be a positive, finite number; got {seconds!r}.")
        validation = self.validation_seconds / self.n_steps if self.n_steps else 0.0
        return max(1, int(seconds / (self.seconds_per_step + validation)))

    @property
    def peak_bytes(self) -> int:
        """Bytes at the peak, in addition to those of torch and Python."""
        return self.memory.total

    @property
    def advice(self) -> str:
        """Parameters to lower if there is too little memory or time."""
        return advice(self.memory, self.hints)

    def __str__(self) -> str:
        how = "compiled" if self.compiled else "eager"
        validated = ""
        if self.validation_seconds:
            validated = f" ({duration(self.validation_seconds)} of it validation)"
        return (
            f"{self.seconds_per_step:.3g} s per outer step ({how}, {self.device}), "
            f"{duration(self.seconds)} for {self.n_steps} steps{validated}, without score; "
            f"{self.peak_bytes / _MIB:.0f} MiB at the peak.\n{self.advice}"
        )


def forecast(
    method: Method,
    problem: Problem,
    synthetic: Synthetic,
    n_steps: int,
    max_iter: int,
    hints: Hints,
) -> Forecast:
    """Time a few outer steps from this synthetic set, after one that is not counted."""
    state = method.init(problem)
    seconds = []
    for step in range(n_steps + 1):
        began = perf_counter()
        gradient, state = method.gradient(problem, synthetic, state, step)
        gradient.loss.item()  # waits for a GPU
        seconds.append(perf_counter() - began)
    return Forecast(
        seconds_per_step=sum(seconds[1:]) / n_steps,
        n_steps=max_iter,
        memory=method.peak(problem),
        compiled=isinstance(getattr(method, "steps", None), CompiledSteps),
        device=str(synthetic.X.device),
        hints=hints,
    )


def advice(memory: PeakMemory, hints: Hints) -> str:
    """Return which parameter to lower for less memory, and which for less time."""
    parts = {
        hints.states: memory.states,
        hints.activations: memory.activations,
        hints.real: memory.real,
        "the training set (uint8 takes a quarter of float32; nothing if on the host)": memory.data,
    }
    largest = max(parts, key=lambda name: parts[name])
    shares = ", ".join(f"{name} {size / _MIB:.0f} MiB" for name, size in parts.items())
    return (
        f"To take less memory, lower {largest} first. In all: {shares}. "
        f"To take less time, lower {', '.join(hints.time)}."
    )


def duration(seconds: float) -> str:
    """Return a time in words."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
