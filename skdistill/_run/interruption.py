"""Requests to end that do not come by Ctrl-C."""

import signal
import threading
from contextlib import contextmanager

__all__ = ["signals_interrupt"]

# From `kill` or a scheduler, and, where there are any, of a terminal that closes or a connection
# that drops.
_NAMES = ("SIGTERM", "SIGHUP")


@contextmanager
def signals_interrupt():
    """Let SIGTERM and SIGHUP raise KeyboardInterrupt, as Ctrl-C does, and not end the process.

    Only in the main thread, because others cannot have handlers; and each only in place of the
    default handler: a program that handles or ignores one, as under nohup, has its reasons. After
    the first both are ignored, so that there is time to finish what it started: a terminal that
    closes may send several.
    """
    numbers = [getattr(signal, name) for name in _NAMES if hasattr(signal, name)]
    if threading.current_thread() is not threading.main_thread():
        numbers = []
    numbers = [number for number in numbers if signal.getsignal(number) is signal.SIG_DFL]

    def handle(handler):
        for number in numbers:
            signal.signal(number, handler)

    def interrupt(number, frame):
        handle(signal.SIG_IGN)
        raise KeyboardInterrupt(signal.Signals(number).name)

    try:
        handle(interrupt)
        yield
    finally:
        handle(signal.SIG_DFL)
