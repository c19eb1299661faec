"""A bar of the outer steps that are done, by scikit-learn's protocol for callbacks."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import click

__all__ = ["Progress", "n_steps", "progress_bar"]


class Bar(Protocol):
    """What can be moved on by some steps."""

    def update(self, n_steps: int) -> None:
        """Move on."""


class Progress:
    """A callback that moves a bar.

    scikit-learn's own bar writes to standard output, which belongs to the results here, and its
    time grows with the square of the steps.
    """

    # In scikit-learn's protocol: distillers at any depth inside others are watched.
    max_propagation_depth = None

    def __init__(self, bar: Bar):
        self._bar = bar

    def setup(self, estimator: Any, context: Any) -> None:
        """Do nothing."""

    def teardown(self, estimator: Any, context: Any) -> None:
        """Do nothing."""

    def on_fit_task_begin(self, estimator: Any, context: Any) -> None:
        """Move the bar past the steps of a run that a checkpoint has done already."""
        # A boosted distiller has no steps of its own.
        if context.task_name != "outer step" and hasattr(estimator, "max_iter"):
            self._bar.update(estimator.max_iter - context.max_subtasks)

    def on_fit_task_end(self, estimator: Any, context: Any) -> None:
        """Move the bar by an outer step."""
        if context.task_name == "outer step":
            self._bar.update(1)


@contextmanager
def progress_bar(distiller: Any) -> Iterator[None]:
    """Show a bar on standard error during fits of a distiller, if that is a terminal."""
    with click.progressbar(
        length=n_steps(distiller),
        label="Outer steps",
        file=sys.stderr,
        hidden=not sys.stderr.isatty(),
        show_pos=True,
    ) as bar:
        distiller.set_callbacks(Progress(bar))
        try:
            yield
        finally:
            distiller.set_callbacks()


def n_steps(distiller: Any) -> int:
    """Return how many outer steps a fit has in all."""
    if hasattr(distiller, "max_iter"):
        return int(distiller.max_iter)
    n_blocks = -(-distiller.ipc // distiller.block_size)
    return int(n_blocks * distiller.distiller.max_iter)
