"""Work that kills one of the processes that do it, in the middle and only once.

It is in a file of its own because the processes import it.
"""

import os
import signal
import time
from pathlib import Path

from tools import tiny


class Deadly:
    """A family of small networks; one of the workers that build them is killed.

    It is the one that builds the n-th of them or, if only one worker has begun by then, the first
    that is built after another one has. The process that makes the object is never killed.

    Parameters
    ----------
    folder : path
        What the processes know of each other: a file for each that has built networks, and the
        files "built" and "killed".
    nth : int
    pause : float, default=0.0
        Seconds that a worker takes for each network.
    """

    def __init__(self, folder, nth, pause=0.0):
        self.folder, self.nth, self.pause, self.maker = Path(folder), nth, pause, os.getpid()

    def __call__(self, input_shape, n_classes):
        """Return a network, or do not."""
        if os.getpid() != self.maker:
            time.sleep(self.pause)
            (self.folder / f"worker-{os.getpid()}").touch()
            if self.count() >= self.nth and len(self.workers()) > 1 and self.is_first():
                os.kill(os.getpid(), signal.SIGKILL)
        return tiny(input_shape, n_classes)

    def count(self):
        """Return how many networks workers have begun to build, this one included."""
        with open(self.folder / "built", "ab") as file:
            file.write(b".")
            file.flush()
            return file.tell()

    def workers(self):
        """Return the numbers of the processes that have built networks."""
        return [int(path.name.split("-")[1]) for path in self.folder.glob("worker-*")]

    def is_first(self):
        """Return whether nobody has been killed yet, and note that somebody is now."""
        try:
            with open(self.folder / "killed", "x") as file:
                file.write(str(os.getpid()))
        except FileExistsError:
            return False
        return True

    def killed(self):
        """Return the number of the process that was killed."""
        return int((self.folder / "killed").read_text())
