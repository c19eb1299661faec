"""The parameters of methods whose networks come from a pool, each declared once."""

from copy import copy
from numbers import Integral, Real

from .._data.validation import Interval
from .._engine.learner import Learner
from .._engine.methods.base import Problem
from .._engine.optimizers import Adam
from .._engine.pool import Pool
from .._engine.protocols import mean_squared_error
from .._engine.runtime import synthetic_chunk
from .._engine.steps import Steps
from ._parameters import Parameters, param

__all__ = ["PoolParameters"]


class PoolParameters(Parameters):
    """Parameters of a pool of networks, for classes that are distillers as well."""

    pool_size: int = param(
        default=10,
        constraints=[Interval(Integral, 1, 1000, closed="both")],
        kind="int",
        doc="""Networks in the pool. FRePo has 10, RCIG 30. All are kept, with Adam's moments: three
        times their parameters in memory and in a checkpoint.""",
    )
    pool_max_age: int = param(
        default=100,
        constraints=[Interval(Integral, 1, None, closed="left")],
        kind="int",
        doc="""Steps of training after which a network of the pool is replaced by a fresh one. FRePo
        and RCIG have 100. The networks of a new pool are all fresh, but count as if they had ages
        spread evenly up to this.""",
    )
    pool_steps: int = param(
        default=1,
        constraints=[Interval(Integral, 1, None, closed="left")],
        kind="int",
        doc="""Steps of Adam, on the synthetic set, by which a network is trained after the outer
        step that it was drawn for.""",
    )
    pool_lr: float = param(
        default=3e-4,
        constraints=[Interval(Real, 0, None, closed="neither")],
        kind="float",
        doc="Learning rate of these steps.",
    )
    flips: bool = param(
        default=False,
        constraints=["boolean"],
        kind="bool",
        doc="""Whether the mirror image of each synthetic image (left to right), with the same
        label, is learned from as well.""",
    )

    def _check_flips(self, problem: Problem) -> None:
        if self.flips and len(problem.shape) == 1:
            raise ValueError("flips=True must be False for a table, whose rows have no sides.")

    def _pooled(self, learner: Learner) -> Learner:
        """Return networks that learn by squared error, as those of a pool do."""
        learner = copy(learner)
        learner.criterion = mean_squared_error
        return learner

    def _make_pool(self, problem: Problem, learner: Learner, batch_size: int | None = None) -> Pool:
        chunk = synthetic_chunk(learner, problem.shape, problem.chunk)
        return Pool(
            Steps(learner, Adam(self.pool_lr), chunk),
            self.pool_size,
            self.pool_max_age,
            batch_size,
            problem.augmentation,
        )
