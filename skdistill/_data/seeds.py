"""From scikit-learn's `random_state` to one integer, without touching a global state."""

import numpy as np
from sklearn.utils import check_random_state


def draw_seed(random_state) -> int:
    """Return a seed; None takes the operating system's entropy, never NumPy's global state."""
    if random_state is None:
        return int(np.random.SeedSequence().generate_state(1)[0])
    return int(check_random_state(random_state).randint(2**31 - 1))
