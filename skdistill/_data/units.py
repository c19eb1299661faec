"""Whether test data is in the units of the training data, by its means and deviations."""

from collections.abc import Sequence
from math import sqrt
from typing import NamedTuple

import numpy as np

from .layout import Layout
from .network_input import Numbers, standardized_in_double
from .rows import Rows
from .warn import warn

__all__ = [
    "FAR",
    "FEW",
    "NARROW",
    "Moments",
    "are_known",
    "moments",
    "some_rows",
    "standardized_part",
    "warn_of_other_units",
]

# Fewer samples than the first number may be unusual with good reason; at most the second number are
# looked at.
FEW, _MANY = 10, 256
# The training data, standardized, has a mean of 0 and a deviation of 1 in every channel or feature.
# By how much that of test data may be off, in all of them together: the mean, and the factor of the
# deviation. Beyond the first pair it is strange, beyond the second it is wrong. Where a set of
# whitened CIFAR-10 has a scale of 0.48, images that were standardized instead are off by a factor
# of 2.1, and pixels from 0 to 1, with a mean of a half, by 1.0 in the mean.
_OFF, _FAR_OFF = (0.5, 1.5), (1.0, 3.0)
# Values so many deviations from the mean are a long tail, of which few samples tell little.
_TAIL = 4.0
# Standard errors that are put down to chance.
_ERRORS = 4
# Values that are this far from 0 on average, or vary this little, are wrong whatever the classes of
# the samples: pixels from 0 to 255 are hundreds where images were whitened, and pixels from 0 to 1
# hardly vary where they were bytes.
FAR, NARROW = 5.0, 0.05


class Moments(NamedTuple):
    """How far standardized test samples are from the mean and deviation of the training data."""

    n: int
    is_image: bool
    # The root mean square of the means of the channels or features, and the median and the largest
    # of their deviations. A feature that is rare need not occur in the test data, and one with a
    # long tail may have any deviation: too small is what the largest is, of those without a tail,
    # and too large the median.
    shift: float
    median: float
    largest: float
    # The mean size of all values, and their deviation.
    size: float
    spread: float
    # The squared distance (chi square) of the shares of the classes from equal ones: 0 if they are
    # equal, the number of classes less 1 if all samples are of one.
    mix: float

    @property
    def is_hopeless(self) -> bool:
        """Whether values are so far away, or vary so little, that they cannot be in the units."""
        return self.size > FAR or self.spread < NARROW

    @property
    def level(self) -> int:
        """0 if they fit, 1 if they are off, 2 if they are far off."""
        if self.is_hopeless:
            return 2
        chance = _ERRORS / sqrt(self.n)
        # Other shares of the classes move a mean by at most the root of their distance
        # (Cauchy-Schwarz), and multiply a variance by at most 1 more than it. Of two classes that
        # lie far apart they leave this of the variance, which is nothing if there is only one.
        left = sqrt(max(0.0, 1 - self.mix))
        for level, (shift, factor) in ((2, _FAR_OFF), (1, _OFF)):
            factor = max(factor, 1 + chance)
            is_off = self.shift > max(shift, chance + sqrt(self.mix))
            # Of a table classes may lie far apart, and their shares in the training data, of which
            # its mean is, are not known: another mean is strange there, and not wrong.
            is_off &= self.is_image or level == 1
            is_wide = self.median > factor * sqrt(1 + self.mix)
            if is_off or is_wide or self.largest < left / factor:
                return level
        return 0


def moments(
    X: np.ndarray,
    layout: Layout,
    mean: Numbers,
    scale: Numbers,
    n_classes: int,
    y: np.ndarray | None = None,
) -> Moments:
    """Return the moments of test samples.

    Parameters
    ----------
    X, layout, mean, scale
        As in `standardize`.
    n_classes : int
        Classes of the set.
    y : ndarray of int, of shape (n,), or None, default=None
        Class indices, -1 for a label that is no class. If it is None, all samples may be of one
        class.
    """
    part = standardized_part(X, layout, mean, scale)
    axes = (0, *range(2, part.ndim))
    means, deviations = part.mean(axis=axes), part.std(axis=axes)
    peaks = np.maximum(part.max(axis=axes) - means, means - part.min(axis=axes))
    # Features that do not vary have a scale of 1 and no deviation.
    varies = ~(np.equal(scale, 1) & (deviations == 0))
    mix = _distance_of_shares(None if y is None else some_rows(y), n_classes)
    size, spread = float(np.abs(part).mean()), float(part.std())
    if not varies.any():
        return Moments(len(part), layout.is_image, 0.0, 1.0, 1.0, 1.0, 1.0, mix)
    means, deviations = means[varies], deviations[varies]
    narrow = deviations[peaks[varies] <= _TAIL * deviations]
    return Moments(
        len(part),
        layout.is_image,
        float(np.sqrt(np.square(means).mean())),
        float(np.median(deviations)),
        float(narrow.max(initial=0)) if len(narrow) else 1.0,
        size,
        spread,
        mix,
    )


def are_known(mean: Sequence[float], scale: Sequence[float]) -> bool:
    """Return whether a set knows the mean and deviation of its training data.

    One that was made from arrays without them has 0 and 1.
    """
    return any(mean) or set(scale) != {1}


def warn_of_other_units(
    X: np.ndarray,
    layout: Layout,
    mean: Sequence[float],
    scale: Sequence[float],
    n_classes: int,
    y: np.ndarray | None = None,
    name: str = "X",
) -> None:
    """Warn if samples cannot be in the training data's units.

    Parameters are those of `moments`, and what the samples are called.
    """
    if len(X) < FEW:
        return
    found = moments(X, layout, mean, scale, n_classes, y)
    if not found.is_hopeless and (found.level < 2 or not are_known(mean, scale)):
        return
    what = "channels" if layout.is_image else "features"
    warn(
        f"{name} does not seem to be in the units of the training data: standardized, its values "
        f"have a mean size of {found.size:.3g} and a standard deviation of {found.spread:.3g}, "
        f"where about 1 is usual, and the means of its {what} are {found.shift:.3g} in size, where "
        f"0 is. Treat {name} as the training data was treated before it was distilled (the same "
        "fitted whitening, the same range of pixels), and in no other way.",
        UserWarning,
    )


def standardized_part(X: np.ndarray, layout: Layout, mean: Numbers, scale: Numbers) -> np.ndarray:
    """Return a part of the samples, standardized, in the networks' layout and double precision."""
    return standardized_in_double(layout.to_engine(some_rows(X)), mean, scale)


def some_rows(X: np.ndarray | Rows) -> np.ndarray:
    """Return at most `_MANY` rows, evenly spaced, so that sorted labels do not matter."""
    return X[:: -(-len(X) // _MANY)]


def _distance_of_shares(y: np.ndarray | None, n_classes: int) -> float:
    counts = np.zeros(0) if y is None else np.bincount(y[y >= 0], minlength=n_classes)
    n = counts.sum()
    if n == 0:
        return n_classes - 1.0
    return float(np.square(counts / n - 1 / n_classes).sum() * n_classes)
