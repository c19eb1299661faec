"""The right to write a file: only one run has it at a time, over all processes and machines."""

import errno
import json
import os
import socket
from contextlib import suppress
from pathlib import Path

from filelock import FileLock, Timeout

__all__ = ["InUseError", "NoLocksError", "WriteLock"]

# Errors of file systems without locks, such as some network file systems.
_NO_LOCKS = {errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL}

# To wait while another process that is about to release the lock still has it.
_PATIENCE = 0.3


class InUseError(Exception):
    """Somebody else has the right; the text says who."""


class NoLocksError(Exception):
    """The file system has no locks."""


class WriteLock:
    """The right to write a file.

    It is a lock of the operating system, which ends with the process that has it, even if that is
    killed. It is on a hidden file beside the one to be written. The holder writes its identity into
    the hidden file and removes it at the end; one that a killed process left blocks nobody who may
    write it, as other users of a shared folder may not.

    Parameters
    ----------
    path : Path
        The file that is to be written.
    patience : float, default=0.3
        Seconds for which to wait for another holder; -1 waits until it is done.
    """

    def __init__(self, path: Path, patience: float = _PATIENCE):
        self.path = path.with_name(f".{path.name}.skdistill-lock")
        # On a file system without locks this must raise an error, and not use a file in place of a
        # lock, which a killed process would leave for ever.
        self._lock = FileLock(
            self.path,
            timeout=patience,
            thread_local=False,
            fallback_to_soft=False,
            on_acquired=_sign,
        )
        self._is_there = False

    def acquire(self) -> None:
        """Acquire the right.

        Raises
        ------
        InUseError
            If somebody else has it.
        NoLocksError
            If the file system has no locks.
        OSError
            If the lock's file cannot be written.
        """
        try:
            self._lock.acquire()
            self._is_there = True
        except Timeout:
            raise InUseError(_holder(self.path)) from None
        except OSError as error:
            if error.errno in _NO_LOCKS:
                raise NoLocksError(error.strerror) from error
            raise

    def release(self) -> None:
        """Release the right, if it was acquired."""
        if not self._lock.is_locked:
            return
        try:
            # Removed while it is held: whoever has opened the file before sees that it is gone, and
            # makes another. Windows does not allow an open file to be removed. Only once, even if
            # this was interrupted and is called again: the file may be another's by then.
            if self._is_there:
                self._is_there = False
                with suppress(OSError):
                    self.path.unlink()
        finally:
            self._lock.release()


def _sign(descriptor: int) -> None:
    """Write the identity of the holder into a lock's file."""
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
        # It has not written its identity yet, or its file cannot be read.
        return "another process"
    if (process, host) == (os.getpid(), socket.gethostname()):
        return "another fit of this process"
    return f"process {process} on {host}"
