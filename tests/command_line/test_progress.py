"""The bar: as many steps as the run has, whatever was done before."""

import sys

import pytest
import tools

from skdistill import BoostedDistiller
from skdistill._command_line.progress import Progress, n_steps, progress_bar


class Bar:
    """A bar that remembers how it was moved."""

    def __init__(self):
        self.moves = []

    def update(self, n_steps):
        self.moves.append(n_steps)


def moves(distiller, data):
    """Return how a fit moves a bar."""
    bar = Bar()
    distiller.set_callbacks(Progress(bar)).fit(*data)
    return bar.moves


def test_a_step_moves_it_by_one(table):
    distiller = tools.quick(max_iter=4)
    assert n_steps(distiller) == 4
    assert moves(distiller, table) == [0, 1, 1, 1, 1]


def test_a_resumed_run_begins_where_it_was(table, tmp_path):
    path = tmp_path / "run.npz"
    tools.quick(max_iter=3, checkpoint=path).fit(*table)
    assert moves(tools.quick(max_iter=5, checkpoint=path), table) == [3, 1, 1]
    assert moves(tools.quick(max_iter=5, checkpoint=path), table) == [5]


def test_the_blocks_of_a_boosted_set_count_together(table, tmp_path):
    def boosted(ipc):
        distiller = tools.quick(max_iter=2, random_state=None)
        return BoostedDistiller(
            ipc, block_size=2, distiller=distiller, checkpoint=tmp_path / "run", random_state=0
        )

    assert n_steps(boosted(3)) == 4
    assert moves(boosted(2), table) == [0, 1, 1]
    assert moves(boosted(3), table) == [2, 0, 1, 1]


@pytest.mark.parametrize("is_terminal", [False, True])
def test_it_is_shown_in_a_terminal_only(table, monkeypatch, capsys, is_terminal):
    monkeypatch.setattr(type(sys.stderr), "isatty", lambda self: is_terminal)
    distiller = tools.quick(max_iter=4)
    with progress_bar(distiller):
        distiller.fit(*table)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert ("Outer steps" in shown.err, "4/4" in shown.err) == (is_terminal, is_terminal)
    assert not hasattr(distiller, "_skl_callbacks")
