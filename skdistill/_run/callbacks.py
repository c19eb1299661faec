"""Calls scikit-learn's callbacks in the outer steps of a run."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Self, TypeVar

import numpy as np

from .._data.bases import MYPY
from .._engine.group import Group
from .state import Run

__all__ = ["CallbackSupportMixin", "OuterCallbacks", "shown_to_monitors", "with_callbacks"]

# See `_data.bases`.
if MYPY:
    _Function = TypeVar("_Function", bound=Callable[..., Any])

    class CallbackSupportMixin:
        def set_callbacks(self, *callbacks: Any) -> Self: ...
        def _init_callback_context(self, *, max_subtasks: int | None = 0) -> Any: ...

    def with_callbacks(method: _Function) -> _Function: ...

else:
    from sklearn.callback import CallbackSupportMixin, with_callbacks


class OuterCallbacks:
    """Calls an estimator's callbacks during a run, in the first of its processes.

    They are set up when it is made.

    Parameters
    ----------
    estimator : estimator
    n_steps : int
        Outer steps to come.
    group : Group
    """

    def __init__(self, estimator: Any, n_steps: int, group: Group):
        self._group, self._offer = group, {"estimator": estimator}
        # scikit-learn keeps the context of every task, so steps without callbacks get none.
        self._are_there = bool(getattr(estimator, "_skl_callbacks", None))
        self._fit: Any = None
        if group.rank == 0:
            self._fit = estimator._init_callback_context(max_subtasks=n_steps)

    def offer(self, **values: Any) -> None:
        """Give callbacks what they may ask for."""
        self._offer |= values
        if self._are_there:
            # They are promised arrays; only for them, samples that are `Rows` are copied.
            self._offer["X"] = np.asarray(self._offer["X"])

    def fit_begins(self) -> None:
        """Report the beginning of a run."""
        if self._fit is not None:
            self._fit.call_on_fit_task_begin(**self._offer)

    def step_begins(self) -> None:
        """Report the beginning of an outer step."""
        if self._are_there and self._fit is not None:
            self._step = self._fit.subcontext(task_name="outer step")
            self._step.call_on_fit_task_begin(**self._offer)

    def step_ends(self) -> bool:
        """Report the end of an outer step; return whether a callback wants it to be the last."""
        if not self._are_there:
            return False
        stop = self._fit is not None and self._step.call_on_fit_task_end(**self._offer)
        return self._group.any(stop)

    def fit_ends(self) -> None:
        """Report the end of the run."""
        if self._fit is not None:
            self._fit.call_on_fit_task_end(**self._offer)


@contextmanager
def shown_to_monitors(estimator: Any, run: Run) -> Iterator[None]:
    """Let `skdistill.monitoring` look at an estimator's run while it goes on."""
    try:
        estimator._current_run = run
        yield
    finally:
        vars(estimator).pop("_current_run", None)
