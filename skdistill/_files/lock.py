"""The right to write a file: one run at a time has it, whatever process or machine it is in."""

import errno
import json
import os
import socket
from contextlib import suppress
from pathlib import Path

from filelock import FileLock, Timeout

__all__ = ["InUseError", "NoLocksError", "WriteLock"]

# What a file system says that has no locks: some of those over a network.
_NO_LOCKS = {errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL}

# For the moment in which another process may have the lock that is about to give it back.
_PATIENCE = 0.3


class InUseError(Exception):
    """Somebody else has the right; says who, for an error's text."""


class NoLocksError(Exception):
    """The file system has no locks."""


class WriteLock:
    """The right to write a file.

    It is a lock of the operating system's, which ends with the process that has it, even if that is
    killed. It is on a hidden file beside the one to be written, in which the holder says who it is,
    and which is removed at the end; one that a killed process left stands in nobody's way.

    Parameters
    ----------
    path : Path
        What is to be written.
    """

    def __init__(self, path: Path):
        self.path = path.with_name(f".{path.name}.skdistill-lock")
        # On a file system without locks this is to say so, and not to have a file stand for one,
        # which a killed process would leave for ever.
        self._lock = FileLock(
            self.path,
            timeout=_PATIENCE,
            thread_local=False,
            fallback_to_soft=False,
            on_acquired=_sign,
        )

    def acquire(self) -> None:
        """Take the right.

        Raises
        ------
        InUseError
            If somebody else has it.
        NoLocksError
            If the file system has no locks.
        OSError
            If nothing can be written there.
        """
        try:
            self._lock.acquire()
        except Timeout:
            raise InUseError(_holder(self.path)) from None
        except OSError as error:
            if error.errno in _NO_LOCKS:
                raise NoLocksError(error.strerror) from error
            raise

    def release(self) -> None:
        """Give the right back, if it was taken."""
        if not self._lock.is_locked:
            return
        try:
            # While it is held: who has opened the file before sees that it is gone, and makes
            # another. Windows lets nobody remove a file that is open.
            with suppress(OSError):
                self.path.unlink()
        finally:
            self._lock.release()


def _sign(descriptor: int) -> None:
    """Write into a lock's file who holds it."""
    os.ftruncate(descriptor, 0)
    holder = {"process": os.getpid(), "host": socket.gethostname()}
    os.write(descriptor, json.dumps(holder).encode())


def _holder(path: Path) -> str:
    """Return who holds a lock, in words."""
    try:
        with open(path, "rb") as file:
            holder = json.loads(file.read(1000))
        process, host = int(holder["process"]), str(holder["host"])
    except (OSError, ValueError, TypeError, KeyError):
        return "another process"  # which is about to say so, or whose file cannot be read
    if (process, host) == (os.getpid(), socket.gethostname()):
        return "another fit of this process"
    return f"process {process} on {host}"
