"""Whether this process was forked from one that had threads, which stay behind.

OpenMP does not notice: what it is to do by several threads waits for them for ever. So workers that
are forked (those of joblib's backend "multiprocessing", say) use one. It can be told only if the
package was imported before the fork.
"""

import os
from pathlib import Path

__all__ = ["has_lost_threads", "watch"]

_had_threads, _has_lost_threads = False, False


def has_lost_threads() -> bool:
    """Return whether threads stayed behind; only once, because a caller's choice may follow."""
    global _has_lost_threads
    found, _has_lost_threads = _has_lost_threads, False
    return found


def _before() -> None:
    global _had_threads
    try:
        _had_threads = len([*Path("/proc/self/task").iterdir()]) > 1
    except OSError:
        _had_threads = True  # another system than Linux


def _in_child() -> None:
    global _has_lost_threads
    _has_lost_threads = _had_threads


def watch() -> None:
    """Note from now on whether this process is forked."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(before=_before, after_in_child=_in_child)
