"""What is known after an outer step."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Observation:
    """What is known after an outer step.

    Parameters
    ----------
    loss : float
        The loss of the method.
    grad_norm : float, default=0.0
        Norm of the whole gradient, before clipping.
    accuracy : float or None, default=None
        Accuracy on held-out data, if the samples were validated after this step.
    batch_accuracy : float or None, default=None
        Accuracy on the real batch of this step, if the method measured it.
    """

    loss: float
    grad_norm: float = 0.0
    accuracy: float | None = None
    batch_accuracy: float | None = None
