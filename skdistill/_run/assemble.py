"""A run that is ready for its next outer step, and all that the step needs."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from .._data.class_weight import weigh_samples
from .._data.rows import Rows, take
from .._data.training import Checked
from .._engine.memory import PeakMemory
from .._engine.methods.base import Method, Problem
from .._engine.streams import Streams
from ..learning_rates import resolve_rate_schedule
from ..parametrization import resolve_parametrization
from .cache import FolderCache
from .given import Given
from .held_out import HeldOut, hold_out, seed_of_networks
from .initial import check_class_sizes, first_run
from .loop import OuterLoop, validate_anew
from .network_scores import describe_initialization, describe_scores
from .problem import pose
from .resume import Resumed, continued
from .start import check_label_loss
from .state import Run
from .synthetic import SyntheticSet

__all__ = ["Fit", "assemble"]


@dataclass(frozen=True, eq=False)
class Fit:
    """The values that a fit works with.

    Parameters
    ----------
    given : Given
    resumed : Resumed
    data : Checked
        The data to train on: the given data without the held-out part.
    method : Method
        The method of this process; in a group, that of the loop is the average of all.
    synthetic : SyntheticSet
    run : Run
    loop : OuterLoop
    """

    given: Given
    resumed: Resumed
    data: Checked
    method: Method
    synthetic: SyntheticSet
    run: Run
    loop: OuterLoop

    def peak(self) -> PeakMemory:
        """Return the memory that an outer step takes."""
        return self.method.peak(self.loop.problem)


def assemble(
    given: Given,
    resumed: Resumed,
    make_method: Callable[[Problem], Method],
    weighs_terms: bool,
) -> Fit:
    """Return the values that a fit works with.

    Parameters
    ----------
    given : Given
    resumed : Resumed
        The run to continue, and the distiller's parameters.
    make_method : callable
        Returns the method of the distiller with these parameters.
    weighs_terms : bool
        As in `pose`.
    """
    parameters, seed, group = resumed.parameters, resumed.seed, given.group
    data, held_out = _sides(given, resumed, weighs_terms)
    rngs = Streams(seed, group.rank, group.size)
    real, problem = pose(
        data,
        given.learner,
        rngs,
        given.provenance,
        parameters,
        weighs_terms,
        given.feature_names,
    )
    method = make_method(problem)
    synthetic = SyntheticSet(
        resolve_parametrization(parameters["parametrization"]),
        parameters["label_lr_scale"] if parameters["learn_labels"] else None,
        parameters["learning_rate"],
        real,
        problem.rows,
        given.start,
        given.factors,
        method,
        extra={},
    )
    run, problem, synthetic = _begun(given, resumed, data, method, problem, synthetic)
    held = None
    if held_out is not None:
        of_networks = seed if resumed.validates_as_before else seed_of_networks(seed)
        held = HeldOut.of(*held_out, real, of_networks, parameters, synthetic.label_loss)
    loop = OuterLoop(
        method=method,
        problem=problem,
        parametrization=synthetic.parametrization,
        rates=synthetic.rates(run.state.tensors),
        schedule=resolve_rate_schedule(parameters["learning_rate_schedule"]),
        limits=synthetic.limits,
        ema_decay=parameters["ema_decay"],
        sample_norm=parameters["sample_norm"],
        max_iter=parameters["max_iter"],
        last_step=resumed.last_step,
        held_out=held,
        validation_interval=parameters["validation_interval"],
        n_iter_no_change=parameters["n_iter_no_change"],
        stops_every=resumed.stops_every,
        group=group,
    )
    if resumed.run is not None and not resumed.from_file:
        validate_anew(run, loop)
    run.begun, run.units = resumed.begun, real.described_units
    return Fit(given, resumed, data, method, synthetic, run, loop)


def _sides(
    given: Given, resumed: Resumed, weighs_terms: bool
) -> tuple[Checked, tuple[Rows, np.ndarray, np.ndarray | None] | None]:
    """Return what a run is trained on, with its weights, and what it is validated on, if that."""
    parameters, as_before = resumed.parameters, resumed.validates_as_before
    X, y, weight, classes, layout = given.data
    # Held-out samples are weighed in the same way for all methods. (Where it is the classes' terms
    # that are weighed in the loss, None is "balanced" there, but not here.)
    weighed = weigh_samples(parameters["class_weight"], classes, y, weight)
    if not weighs_terms:
        weight = weighed
    split_seed = None if as_before else given.split_seed
    split_seed = resumed.seed if split_seed is None else split_seed
    fraction, ipc = parameters["validation_fraction"], parameters["ipc"]
    rows = hold_out(fraction, y, len(classes), ipc, split_seed)
    if rows is None:
        return Checked(X, y, weight, classes, layout), None
    held_out = _part(X, y, None if as_before else weighed, rows[1])
    return Checked(*_part(X, y, weight, rows[0]), classes, layout), held_out


def _begun(
    given: Given,
    resumed: Resumed,
    data: Checked,
    method: Method,
    problem: Problem,
    synthetic: SyntheticSet,
) -> tuple[Run, Problem, SyntheticSet]:
    """Return the run where it begins or goes on, and what it works with, prepared."""
    parameters = resumed.parameters
    prepare = partial(_prepare, given, parameters, data, method, problem)
    # What is unfit is refused before the method is prepared, which may take hours.
    check_label_loss(given.start, synthetic.label_loss)
    if resumed.run is None:
        init, start = parameters["init"], given.start
        check_class_sizes(init, data.y, problem.rows, 0 if start is None else start.ipc)
        problem, synthetic = _completed(prepare(), method, problem, synthetic)
        averages = parameters["ema_decay"] is not None
        samples = (init, data.X, data.y, given.dtype)
        run = first_run(resumed.seed, method, problem, synthetic, *samples, averages)
        return run, problem, synthetic
    at_once = _has_stand_in(method)
    made = method.stand_in(problem) if at_once else prepare()
    problem, synthetic = _completed(made, method, problem, synthetic)
    run = continued(resumed, method, problem, synthetic, given.dtype, data)
    # A run at its end is returned without what only outer steps need. An earlier fit's that has
    # stagnated may go on, because its samples are validated anew.
    may_go_on = not resumed.from_file and run.step < resumed.last_step
    if at_once and (may_go_on or not resumed.is_at_end(run)):
        problem, synthetic = _completed(prepare(), method, problem, synthetic)
    return run, problem, synthetic


def _prepare(
    given: Given, parameters: Mapping[str, Any], data: Checked, method: Method, problem: Problem
) -> Any:
    """Return what the method prepares, from the cache if it is there."""
    # Of no seed of a run, because runs share what is prepared.
    shared = replace(problem, rngs=Streams(0))
    folder, writes = parameters.get("cache"), given.group.rank == 0
    scores = describe_scores(folder, parameters, given.learner, problem.shape)
    initialization = describe_initialization(parameters, given.learner)
    cache = FolderCache(folder, data, given.learner, writes, scores, initialization)
    return method.prepare(shared, cache)


def _completed(
    made: Any, method: Method, problem: Problem, synthetic: SyntheticSet
) -> tuple[Problem, SyntheticSet]:
    """Return problem and set with what the method prepared, and the tensors that it adds."""
    whole = replace(problem, prepared=made)
    return whole, replace(synthetic, extra=method.extra(whole))


def _has_stand_in(method: Method) -> bool:
    """Return whether a method has a stand-in for what it prepares, or prepares nothing."""
    kind = type(method)
    return kind.stand_in is not Method.stand_in or kind.prepare is Method.prepare


def _part(
    X: np.ndarray | Rows, y: np.ndarray, weight: np.ndarray | None, rows: np.ndarray
) -> tuple[Rows, np.ndarray, np.ndarray | None]:
    """Return these rows of samples, class indices and weights; the samples are not copied."""
    return take(X, rows), y[rows], None if weight is None else weight[rows]
