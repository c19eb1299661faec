"""Requests to end that do not come by Ctrl-C."""

import signal
import threading
from contextlib import contextmanager

__all__ = ["sigterm_interrupts"]


@contextmanager
def sigterm_interrupts():
    """Let SIGTERM raise KeyboardInterrupt, as Ctrl-C does, where it would end the process at once.

    Only in the main thread, because others cannot have handlers; and only in place of the default
    handler: a program that handles or ignores SIGTERM has its reasons. A second SIGTERM is ignored,
    so that there is time to finish what the first one started.
    """
    if (
        threading.current_thread() is not threading.main_thread()
        or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
    ):
        yield
        return

    def interrupt(number, frame):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise KeyboardInterrupt("SIGTERM")

    signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
