"""Errors and warnings of skdistill that are more specific than Python's and scikit-learn's."""

__all__ = [
    "CheckpointWarning",
    "DivergenceError",
    "DivergenceWarning",
    "InvalidFileError",
    "LongRunWarning",
    "LostProcessError",
]


class CheckpointWarning(UserWarning):
    """A checkpoint could not be written, or it was damaged and the one before it was used."""


class DivergenceWarning(UserWarning):
    """Values that should be finite were not, or grew without end.

    These are a meta-gradient, whose outer step was skipped, or the scores of networks trained on a
    set, which count as errors.
    """


class DivergenceError(FloatingPointError):
    """Meta-gradients stayed non-finite for many outer steps in a row.

    The distiller's fitted attributes hold the samples as they were before the first of them.
    """


class InvalidFileError(ValueError):
    """A file is not what it should be: truncated, damaged, foreign, or of a newer version.

    The message names the file and what is wrong with it.
    """


class LongRunWarning(UserWarning):
    """A run will take more than ten minutes; the message says how long, and what to do."""


class LostProcessError(RuntimeError):
    """Another process of a run on several has ended, failed or hangs.

    The fitted attributes and, in the first process, the checkpoint hold the run before that.
    """
