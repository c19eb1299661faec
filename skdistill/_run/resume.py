"""Where a fit starts: from the run in a checkpoint, from that of an earlier fit, or anew."""

import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from .._data.columns import check_names
from .._data.seeds import draw_seed
from .._data.training import Checked
from .._data.units import some_rows, warn_of_other_units
from .._data.wording import reason
from .._engine.methods.base import Method, Problem
from .._engine.outer import initial_state
from .._files.formats import NETWORK_SCORES
from ..distilled._dataset import DistilledDataset
from ..exceptions import InvalidFileError
from ..learning_rates import LearningRateSchedule, resolve_rate_schedule
from .check import check_clipping, check_state, check_tensors
from .checkpoint import Checkpoint, NoCheckpoint
from .given import Given
from .identity import BEGINNING, differences, identify
from .loop import is_complete
from .network_scores import describe_scores
from .processes import begin_together
from .state import Run
from .synthetic import SyntheticSet

__all__ = ["Resumed", "check_continuation", "continued", "resume"]


@dataclass(frozen=True, eq=False)
class Resumed:
    """The run to continue, and its parameters.

    Parameters
    ----------
    seed : int
    parameters : dict
        The distiller's parameters, with numbers instead of "auto".
    resolved : dict
        Those parameters that may be "auto".
    run : Run or None
        The run at rest; None begins anew.
    from_file : bool
        Whether the run comes from a checkpoint; the same in all processes, of which only the first
        needs a path.
    checkpoint : Checkpoint or NoCheckpoint
    begun : dict or None
        As in `Run`.
    units : dict or None
        What an earlier fit's run is standardized by, as in `Run`; None for all other runs.
    validates_as_before : bool
        Whether it is a run of 0.1.0, which validated in another way (`VALIDATION`).
    last_step : int
        The outer step with which it ends: `max_iter`, or an earlier one.
    """

    seed: int
    parameters: dict
    resolved: dict
    run: Run | None
    from_file: bool
    checkpoint: Checkpoint | NoCheckpoint
    begun: dict | None
    units: dict | None
    validates_as_before: bool
    last_step: int

    @property
    def source(self) -> str | os.PathLike | None:
        """The checkpoint that the run comes from, if it does and this process knows it."""
        return self.parameters["checkpoint"] if self.from_file else None

    @property
    def stops_every(self) -> int:
        """Steps between two at which a run may end without a better validation."""
        return stops_every(self.parameters, self.validates_as_before)

    @property
    def n_steps(self) -> int:
        """Outer steps to come, if the run does not end before."""
        return self.last_step - (0 if self.run is None else self.run.step)

    def is_at_end(self, run: Run) -> bool:
        """Return whether no outer steps are left to do."""
        n_iter_no_change = self.parameters["n_iter_no_change"]
        return is_complete(run, self.last_step, n_iter_no_change, self.stops_every)


def stops_every(parameters: Mapping, validates_as_before: bool) -> int:
    """Return the steps between two at which a run may end without a better validation."""
    return 1 if validates_as_before else parameters["validation_interval"]


def check_continuation(
    earlier: Run,
    distilled: DistilledDataset,
    classes: np.ndarray,
    data: Checked,
    feature_names: Sequence[str] | None,
    ipc: int,
    max_iter: int,
    rates: str | LearningRateSchedule,
    validation_fraction: float | None,
) -> None:
    """Raise ValueError unless an earlier fit's run can be continued.

    Parameters
    ----------
    earlier : Run
    distilled : DistilledDataset
        Its result.
    classes : ndarray of shape (n_classes,)
        Its class labels.
    data : Checked
        The data of this fit.
    feature_names : sequence of str or None
        Names of its columns.
    ipc, max_iter : int
    rates : str or LearningRateSchedule
    validation_fraction : float or None
        The parameters of this fit, of which ``rates`` is its `learning_rate_schedule`.
    """
    if distilled.recipe.layout != data.layout or not np.array_equal(classes, data.classes):
        raise ValueError(
            "X and y must hold samples of the same shape and the same classes as in the "
            "earlier fit; warm_start=True continues it. Use warm_start=False to begin anew."
        )
    check_names(
        feature_names,
        distilled.feature_names,
        "the earlier fit",
        "X[list(distiller.feature_names_in_)]",
    )
    if distilled.ipc != ipc:
        raise ValueError(
            f"ipc={ipc} must be {distilled.ipc}, as in the earlier fit; "
            "warm_start=True continues it."
        )
    if max_iter < earlier.step:
        raise ValueError(
            f"max_iter={max_iter} must be at least {earlier.step}, the outer steps "
            "done in the earlier fit; warm_start=True continues it."
        )
    before = distilled.provenance["parameters"].get("validation_fraction")
    if validation_fraction not in (None, before):
        raise ValueError(
            f"validation_fraction={validation_fraction} must be {before}, as in the earlier fit, "
            "which warm_start=True continues: that was trained on samples that would be held out "
            "now. Use warm_start=False to begin anew."
        )
    planned = distilled.provenance["parameters"]["max_iter"]
    if max_iter != planned and resolve_rate_schedule(rates).uses_max_iter:
        raise ValueError(
            f"max_iter={max_iter} must be {planned}, as in the earlier fit, which warm_start=True "
            f"continues: with learning_rate_schedule={rates!r} the learning rate of every step "
            'depends on max_iter. Use learning_rate_schedule="constant" for more steps at the full '
            "rate, or warm_start=False to begin anew."
        )


def resume(
    given: Given,
    kind: type,
    parameters: Mapping,
    resolved: Mapping,
    open_names: Collection[str],
    may_change: Collection[str],
    defaults: Mapping[str, Mapping],
    check_values: Callable[[dict], None],
    last_step: int | None,
    at_end: ExitStack,
) -> Resumed:
    """Return the run that all processes continue, and its parameters.

    Parameters
    ----------
    given : Given
    kind : type
        The distiller's class.
    parameters : mapping
        Its parameters.
    resolved : mapping
        Numbers for the parameters that may be "auto".
    open_names : collection of str
        Names of the parameters that the user left open: a run in a checkpoint keeps its own.
    may_change : collection of str
        Names of the parameters that the samples do not depend on.
    defaults : mapping of str to mapping
        As in `Checkpoint`.
    check_values : callable
        Raises if a run's own values of parameters are not allowed.
    last_step : int or None
        The outer step with which the run ends, if that may be before `max_iter`.
    at_end : ExitStack
        Resources to be released at the end go to it.
    """
    parameters = {**parameters, **resolved}
    path, shape = parameters["checkpoint"], given.data.layout.network_shape
    identity = identify(
        kind,
        parameters,
        may_change,
        given.learner,
        describe_scores(path, parameters, given.learner, shape),
        given.provenance,
        given.start,
        given.factors,
        given.split_seed,
    )
    begun = {name: identity[name] for name in BEGINNING}
    max_iter = parameters["max_iter"]
    last_step = max_iter if last_step is None else min(last_step, max_iter)
    _check_beginning(given.earlier, begun)
    checkpoint: Checkpoint | NoCheckpoint = NoCheckpoint()

    def begin() -> tuple[int, dict, Run | None]:
        # Only in the first process, which writes for all.
        nonlocal checkpoint
        if path is not None:
            every = parameters["checkpoint_every"]
            before = given.data.fingerprint_before
            checkpoint = Checkpoint(path, every, identity, open_names, defaults, before)
            # Twice, because Ctrl-C may interrupt the first.
            at_end.callback(checkpoint.release)
            at_end.callback(checkpoint.release)
        return _choose(checkpoint, given.earlier, parameters, last_step)

    # Without what is rounded in another way on another machine.
    shared = {name: part for name, part in identity.items() if name != NETWORK_SCORES}
    seed, known, run = begin_together(given.group, shared, begin)
    open_values, as_before = known["open values"], known["validates as before"]
    if open_values:
        with _explaining_what_does_not_fit(path):
            check_values(open_values)
    return Resumed(
        seed,
        {**parameters, **open_values},
        {**resolved, **open_values},
        run,
        known["from file"],
        checkpoint,
        # Without, so that it goes on in its way next time, too.
        None if as_before else begun,
        known["units"],
        as_before,
        last_step,
    )


def _choose(
    checkpoint: Checkpoint | NoCheckpoint,
    earlier: Run | None,
    parameters: Mapping,
    last_step: int,
) -> tuple[int, dict, Run | None]:
    """Return the seed, what else is known of the run to continue, and that run, if there is one."""
    max_iter, random_state = parameters["max_iter"], parameters["random_state"]
    validates = parameters["validation_fraction"] is not None

    def is_of_before(run: Run | None) -> bool:
        if run is None or not validates:
            return False
        return run.begun is None if run is earlier else checkpoint.validates_as_before

    def is_at_end(run: Run) -> bool:
        every = stops_every(parameters, is_of_before(run))
        return is_complete(run, last_step, parameters["n_iter_no_change"], every)

    run = checkpoint.resume(earlier, random_state, max_iter, is_at_end)
    seed = draw_seed(random_state) if run is None else run.seed
    from_file, as_before = run is not None and run is not earlier, is_of_before(run)
    if as_before:
        checkpoint.validate_as_before()
    if run is not None and not from_file and not validates:
        # The earlier fit may have validated: its best samples are not the result of this one.
        run = replace(run, state=replace(run.state, best=None))
    known = {
        "open values": dict(checkpoint.open_values),
        "from file": from_file,
        "validates as before": as_before,
        "units": None if run is None or from_file else run.units,
    }
    return seed, known, run


def _check_beginning(earlier: Run | None, begun: dict[str, Any]) -> None:
    """Raise ValueError unless an earlier fit's run was begun like this one."""
    if earlier is None or earlier.begun is None:
        return
    texts = differences(earlier.begun, begun)
    if texts:
        raise ValueError(
            f"{'; '.join(texts)}; as in the earlier fit, which warm_start=True continues. Use "
            "warm_start=False to begin anew."
        )


def continued(
    resumed: Resumed,
    method: Method,
    problem: Problem,
    synthetic: SyntheticSet,
    dtype: torch.dtype,
    data: Checked,
) -> Run:
    """Return a run at rest as one on the device that can continue; its contents are checked.

    Parameters
    ----------
    resumed : Resumed
    method : Method
    problem : Problem
    synthetic : SyntheticSet
    dtype : torch.dtype
        Dtype of the learned tensors.
    data : Checked
        The data to train on.

    Raises
    ------
    InvalidFileError
        If the run in the checkpoint cannot continue.
    ValueError
        If that of the earlier fit cannot.
    """
    run = resumed.run
    assert run is not None
    with _explaining_what_does_not_fit(resumed.source):
        placeholder = synthetic.first_tensors(
            lambda: torch.zeros(len(problem.rows), *problem.shape),
            problem.rngs.torch("synthetic", 0),
            dtype,
        )
        averages = resumed.parameters["ema_decay"] is not None
        fresh = initial_state(method, problem, placeholder, averages)
        check_clipping(run.state, clips=method.clip is not None)
        check_tensors(run, fresh)
        if resumed.parameters["validation_fraction"] is None and run.best:
            raise ValueError("it must have no best step, because nothing is validated.")
        check_state(run.state.method, fresh.method)
    run = run.to_device(problem.device)
    with _explaining_what_does_not_fit(resumed.source):
        method.check_state(problem, run.state.method, run.step)
    if resumed.units is None:
        return run
    return _in_units_of(synthetic, run, resumed.units, data)


def _in_units_of(synthetic: SyntheticSet, run: Run, units: dict, data: Checked) -> Run:
    """Return an earlier fit's run whose samples stay as they are in the units of X.

    Its tensors are standardized by ``units``, the mean and deviation of the data of then. With
    other data, weights or held-out samples these are others.
    """
    now = synthetic.data
    mean, scale, varied = (np.array(units[name]) for name in ("mean", "scale", "varies"))
    rounding = 1e-6 * scale + 1e-12 * np.abs(mean)
    if (np.maximum(abs(now.mean - mean), abs(now.scale - scale)) <= rounding).all():
        return run
    # Samples that stay as they are would be far from those of X.
    X, y = some_rows(data.X), some_rows(data.y)
    warn_of_other_units(X, now.layout, units["mean"], units["scale"], len(data.classes), y)
    # What did not vary had its mean in all samples, whatever the tensors.
    factor, shift = (
        torch.from_numpy(values).view(-1, *[1] * (len(now.layout.network_shape) - 1))
        for values in (np.where(varied, scale / now.scale, 0.0), (mean - now.mean) / now.scale)
    )

    def moved(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        like = next(iter(tensors.values()))
        return {
            **tensors,
            **synthetic.strategy.restandardized(tensors, factor.to(like), shift.to(like)),
        }

    state = run.state
    # The moments of the optimizer are soon those of the new units.
    slots = {name: rows.clone() for name, rows in state.slots.items()}
    for name, values in moved(state.tensors).items():
        slots[name][0] = values
    averages = None if state.averages is None else moved(state.averages)
    best = state.best
    if best is not None:
        tensors = moved({name: torch.from_numpy(array) for name, array in best.tensors.items()})
        best = replace(best, tensors={name: each.numpy() for name, each in tensors.items()})
    return replace(run, state=replace(state, slots=slots, averages=averages, best=best))


@contextmanager
def _explaining_what_does_not_fit(source: str | os.PathLike | None) -> Iterator[None]:
    """Say which run does not fit this fit, and why; ``source`` is its checkpoint, if it has one."""
    try:
        yield
    except Exception as error:
        # Of many kinds: schedules and samplers have not checked what is in a file.
        if source is not None:
            raise InvalidFileError(
                f"checkpoint={os.fspath(source)!r} holds no run that can go on: "
                f"{reason(error)} Give another path to begin a new run."
            ) from error
        raise ValueError(
            "Parameters must be those of the earlier fit, which warm_start=True continues: "
            f"{reason(error)} Use warm_start=False to begin anew."
        ) from error
