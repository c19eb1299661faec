"""Words for messages: what went wrong, and names that may be many."""

from collections.abc import Iterable

__all__ = ["listed", "percent", "reason"]


def reason(error: BaseException) -> str:
    """Return what went wrong, of the system's errors without the path, which their caller names.

    A damaged file raises errors of a dozen kinds, from zipfile's to NumPy's, that mean one thing;
    some of them have no words.
    """
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def listed(names: Iterable[str], most: int = 5) -> str:
    """Return the first of these names, separated by commas, and how many there are besides."""
    names = list(names)
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def percent(mean: float, std: float, n: int) -> str:
    """Return the mean and standard deviation of ``n`` accuracies, which one has none of."""
    return f"{100 * mean:.1f}" + (f" ± {100 * std:.1f}" if n > 1 else "")
