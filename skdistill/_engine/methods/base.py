"""The contract of a method, and what it may know.

A method is a stateless value. What it remembers from step to step is its state: a dictionary that
the run carries and a checkpoint holds. All of its randomness comes from `Problem.rngs`, as a
function of the outer step, so that a run can be resumed at any step.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from ..data import RealData
from ..labels import centered
from ..learner import Learner
from ..memory import PeakMemory
from ..observation import Observation
from ..outer_optimizers import Clip, MovingAverageClip, OuterAdam, OuterOptimizer
from ..rows import ClassRows
from ..streams import Streams

# Nested dictionaries of JSON values and tensors.
State = dict[str, Any]


class Augmentation(Protocol):
    """Random changes of samples; see ``skdistill.augmentation``."""

    def draw(self, generator: torch.Generator, n: int, shape: tuple[int, ...]) -> Tensor:
        """Return the numbers ``(n_numbers, n)`` of an augmentation of ``n`` samples."""

    def apply(self, X: Tensor, draws: Tensor) -> Tensor:
        """Return augmented samples."""


# Returns the tensors of a result on the CPU, by its name, and makes them only if they are not kept.
Keep = Callable[[str, Callable[[], Mapping[str, Tensor]]], dict[str, Tensor]]


class Cache(Protocol):
    """Where `Method.prepare` keeps what is costly to make."""

    def open(self, parameters: Mapping[str, Any]) -> Keep:
        """Return what keeps results.

        Parameters
        ----------
        parameters : mapping
            All that they depend on besides the training data and the networks.
        """


@dataclass(frozen=True, eq=False)
class Problem:
    """All that a method may know of a run, resolved once.

    Parameters
    ----------
    real : RealData
        The training set.
    rows : ClassRows
        The synthetic samples' classes, and their order.
    shape : tuple of int
        Shape of a sample: ``(features,)`` or ``(channels, height, width)``.
    device : torch.device
    rngs : Streams
        The run's randomness.
    learner : Learner or None, default=None
        The networks; None if the method has none.
    augmentation : Augmentation or None, default=None
    chunk : int or None, default=None
        Most samples that go through a network at once without gradients of their own; None for all,
        which networks that couple the samples of a batch need.
    prepared : object, default=None
        What the method's `prepare` returned.
    class_weight : Tensor of shape (n_classes,) or None, default=None
        Weights of the classes, for methods in which all classes count the same. (In the others they
        are part of the real samples' weights.)
    """

    real: RealData
    rows: ClassRows
    shape: tuple[int, ...]
    device: torch.device
    rngs: Streams
    learner: Learner | None = None
    augmentation: Augmentation | None = None
    chunk: int | None = None
    prepared: object = None
    class_weight: Tensor | None = None

    @property
    def networks(self) -> Learner:
        """The networks of a method that has some."""
        if self.learner is None:
            raise ValueError("this method has no networks.")
        return self.learner


@dataclass(frozen=True, eq=False)
class Synthetic:
    """What a method differentiates.

    Parameters
    ----------
    X : Tensor of shape (n, ...)
        Standardized samples, the first of every class, then the second, and so on.
    y : Tensor of shape (n,) or (n, n_classes)
        Class indices, or soft labels if they are learned.
    extra : mapping of str to Tensor, default={}
        The method's further learned tensors, see `Method.extra`.
    """

    X: Tensor
    y: Tensor
    extra: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def learns_labels(self) -> bool:
        """Whether the labels are soft, and learned."""
        return self.y.is_floating_point()


@dataclass(frozen=True, eq=False)
class Gradient:
    """The result of an outer step.

    Parameters
    ----------
    loss : Tensor
        Scalar.
    X : Tensor
        The derivative of the loss with respect to the samples.
    y : Tensor or None, default=None
        The derivative with respect to the labels; None if they are not learned.
    extra : mapping of str to Tensor, default={}
        The derivatives with respect to the method's further tensors.
    record : mapping of str to float, default={}
        Further values for ``history_``, beside loss and norm.
    batch_accuracy : Tensor or None, default=None
        Scalar: the accuracy on the real batch, if the method measures it. `Method.observe` sees it,
        as the mean over all processes, and ``history_`` keeps it.
    """

    loss: Tensor
    X: Tensor
    y: Tensor | None = None
    extra: Mapping[str, Tensor] = field(default_factory=dict)
    record: Mapping[str, float] = field(default_factory=dict)
    batch_accuracy: Tensor | None = None


@dataclass(frozen=True)
class Extra:
    """A further tensor that is learned.

    Parameters
    ----------
    value : Tensor
        Its initial value.
    learning_rate : float
    least : float or None, default=None
        Lower bound of its values.
    """

    value: Tensor
    learning_rate: float
    least: float | None = None


class NonNegative:
    """Labels are non-negative, and need not sum to one [Feng23, C.1]."""

    def __call__(self, y: Tensor) -> Tensor:
        """Return labels at or above 0."""
        return y.clamp(min=0)


class Free:
    """Labels are any numbers, as regression takes them."""

    def __call__(self, y: Tensor) -> Tensor:
        """Return the labels."""
        return y


class Method:
    """The loss and gradient that the outer loop follows. A method implements `gradient`.

    Attributes
    ----------
    project_labels : callable
        Makes learned labels valid after a step.
    label_loss : {"cross-entropy", "mse"}
        The loss by which networks of an evaluation learn learned labels: labels that may be
        negative need "mse".
    optimizer : OuterOptimizer
        What moves the samples, labels and further tensors.
    clip : Clip or None
        How the gradient is clipped; None clips nothing. The default has the norm that is clipped in
        the average by which it is clipped; RaT-BPTT's own, `RobustClip`, only the norms before.
    """

    project_labels: Callable[[Tensor], Tensor] = NonNegative()
    label_loss: Literal["cross-entropy", "mse"] = "cross-entropy"
    optimizer: OuterOptimizer = OuterAdam()
    clip: Clip | None = MovingAverageClip()

    def prepare(self, problem: Problem, cache: Cache) -> object:
        """Prepare a run, however long that takes; the result is `Problem.prepared`.

        It is called in every process that begins or resumes a run, so costly results belong in the
        cache. Runs with other seeds share it: the problem's ``rngs`` are the same for all of them,
        and a method whose preparation is to differ has a parameter for its seed.
        """
        return None

    def stand_in(self, problem: Problem) -> object:
        """Return what has the form of `prepare`'s result, made at once: it is to be timed with."""
        return None

    def first_labels(self, one_hot: Tensor) -> Tensor:
        """Return what learned labels start with, for one-hot labels ``(n, n_classes)``."""
        return one_hot

    def relabeled(self, problem: Problem, synthetic: Synthetic) -> Tensor:
        """Return what learned labels start with where they depend on the first samples."""
        return synthetic.y

    def extra(self, problem: Problem) -> dict[str, Extra]:
        """Return further tensors to learn, by name, with their initial values."""
        return {}

    def protocol(self, extra: Mapping[str, Tensor]) -> Mapping[str, Any]:
        """Return how networks are trained on a result that has these further tensors.

        These are values of `TrainingProtocol`, by name, where they differ from the usual ones: of
        the optimizer, its learning rate and its schedule. They go into the set's recipe, and are
        those of validation during a run.
        """
        return {}

    def init(self, problem: Problem) -> State:
        """Return the state with which a run starts."""
        return {}

    def gradient(
        self, problem: Problem, synthetic: Synthetic, state: State, step: int
    ) -> tuple[Gradient, State]:
        """Return the loss of outer step ``step`` with its derivatives, and the next state.

        If these are not finite the step is skipped, but the next state is kept.
        """
        raise NotImplementedError

    def observe(self, seen: Observation, state: State) -> State:
        """Return the state after an outer step that was not skipped."""
        return state

    def check_state(self, problem: Problem, state: State, step: int) -> None:
        """Raise any error if a run cannot continue from a state that was read from a file."""
        self.observe(Observation(1.0, 1.0, batch_accuracy=1.0), state)

    def peak(self, problem: Problem) -> PeakMemory:
        """Return the memory that an outer step takes."""
        raise NotImplementedError


class RegressionMethod(Method):
    """A method by regression: labels are centered at first, and may become any numbers."""

    project_labels = Free()
    label_loss = "mse"
    clip = None

    def first_labels(self, one_hot: Tensor) -> Tensor:
        """Return centered labels."""
        return centered(one_hot)

    def labels(self, synthetic: Synthetic, n_classes: int, dtype: torch.dtype) -> Tensor:
        """Return the labels of the regression: those learned, or what learned ones start as."""
        if synthetic.learns_labels:
            return synthetic.y
        return self.first_labels(F.one_hot(synthetic.y, n_classes).to(dtype))
