"""What all distillers share: validated data in, a distilled data set out, its evaluation."""

import os
import platform
from abc import abstractmethod
from collections.abc import Callable, Mapping
from contextlib import ExitStack, contextmanager
from copy import copy
from dataclasses import dataclass
from math import prod
from numbers import Integral, Real
from time import perf_counter
from typing import Self

import numpy as np
import sklearn
import torch
from sklearn.base import BaseEstimator, clone
from sklearn.callback import CallbackSupportMixin, with_callbacks
from sklearn.utils.metadata_routing import UNUSED

from . import __version__, coresets
from ._agreement import begin_together
from ._checkpoint import Checkpoint, NoCheckpoint
from ._class_weight import check_class_weight, class_weights
from ._consistency import MAX_NETWORKS, MAX_STEPS
from ._engine.data import as_tensor
from ._engine.group import AveragedObjective, Group, join_group
from ._engine.learner import Learner
from ._engine.outer import Objective, OuterState, gaussian_rows, initial_state, update
from ._engine.runtime import resolve_device
from ._engine.settings import own_settings
from ._engine.streams import Purpose, Streams
from ._frames import Origin
from ._held_out import HeldOut, hold_out
from ._identity import describe_defaults, describe_value
from ._layout import Layout
from ._learned import Learned
from ._network_checks import make_learner
from ._outer_callbacks import OuterCallbacks
from ._output import DistillerOutputMixin
from ._plain_augmentation import to_plain
from ._rows import Rows
from ._run import Best, Point, Run
from ._run_check import check_memory, check_tensors
from ._seeds import draw_seed
from ._training_data import TrainingData, check_training_data, describe, training_data
from ._validation import (
    Interval,
    StrOptions,
    check_image_shape,
    fit_context,
    keeping_features,
    refuse_booleans,
)
from ._watch import Watch, explain_out_of_memory
from .distilled import DistilledDataset, EvaluationRecipe
from .exceptions import InvalidFileError
from .forecast import Forecast, Hints, advice, forecast
from .networks import ARCHITECTURES, check_architecture, resolve_architecture
from .parametrization import SampleParametrization, resolve_parametrization

__all__ = ["BaseDistiller"]

# What a run that is taken up from a checkpoint may have otherwise: how far it goes, where and by
# what code it is computed, what is told of it, how its result is scored. `random_state` is compared
# by the seed that it gives.
_MAY_CHANGE = {
    "max_iter", "device", "compile", "verbose", "n_networks", "warm_start", "random_state",
    "checkpoint", "checkpoint_every",
}  # fmt: skip


class BaseDistiller(CallbackSupportMixin, DistillerOutputMixin, BaseEstimator):
    """Base class of the distillers.

    A subclass declares its parameters, those below among them, and implements `_make_objective`;
    it may add checks of parameters against each other in `_check_parameters`.

    Parameters
    ----------
    ipc, max_iter, batch_size, class_weight, learning_rate, init, parametrization, learn_labels, \
label_lr_scale, \
architecture, image_shape, n_networks, eval_steps, validation_fraction, validation_interval, \
n_iter_no_change, warm_start, checkpoint, checkpoint_every, random_state, device, verbose
        See `RaTBPTTDistiller`.
    """

    _parameter_constraints: dict = {
        "ipc": [Interval(Integral, 1, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "class_weight": [dict, StrOptions({"balanced"}), None],
        "learning_rate": [Interval(Real, 0, None, closed="neither"), StrOptions({"auto"})],
        "init": [StrOptions({"gaussian", "real", "kmeans"}), DistilledDataset],
        "parametrization": [StrOptions({"pixels"}), SampleParametrization],
        "learn_labels": ["boolean"],
        "label_lr_scale": [Interval(Real, 0, None, closed="neither")],
        "architecture": [StrOptions({"auto", *ARCHITECTURES}), callable],
        "image_shape": [tuple, list, None],
        # What a distilled set can be saved with.
        "n_networks": [Interval(Integral, 1, MAX_NETWORKS, closed="both")],
        "eval_steps": [Interval(Integral, 1, MAX_STEPS, closed="both")],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither"), None],
        "validation_interval": [Interval(Integral, 1, None, closed="left")],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left"), None],
        "warm_start": ["boolean"],
        "checkpoint": [str, os.PathLike, None],
        "checkpoint_every": [Interval(Real, 0, None, closed="neither")],
        "random_state": ["random_state"],
        "device": [str, torch.device],
        "verbose": ["verbose"],
    }

    # Of what `fit` takes, the weights alone are a value for each row of X, which meta-estimators
    # could split and pass on.
    __metadata_request__fit = {"start": UNUSED, "learning_rate_factors": UNUSED}

    # What to change if a run does not go well.
    _advice = "Use a lower learning_rate, or check the scale of X."
    # Which parameters memory and time grow with.
    _hints: Hints

    @abstractmethod
    def _make_objective(self, data: TrainingData, learner: Learner, streams: Streams) -> Objective:
        """Return what the outer loop minimises."""

    def _check_parameters(self) -> None:
        """Raise ValueError for parameters that do not fit each other."""

    @with_callbacks
    @fit_context(prefer_skip_nested_validation=True)
    @own_settings()
    # Labels are needed; but `fit(dataset)` of torch's users is to be told of from_torch.
    def fit(self, X, y=None, *, sample_weight=None, start=None, learning_rate_factors=None):
        """Distil a training set.

        Parameters
        ----------
        X : array-like of shape (n, features), (n, H, W), (n, C, H, W) or (n, H, W, C)
            Training samples: table rows, flat images with `image_shape`, or images.
        y : array-like of shape (n,)
            Class labels.
        sample_weight : array-like of shape (n,) or None, default=None
            Weights of the real samples, in the loss and in the moments with which samples are
            standardised. Samples of weight 0 are left out. It takes part in metadata routing
            (``set_fit_request(sample_weight=True)``).
        start : DistilledDataset or None, default=None
            A set of the same classes whose samples come first; those that ``ipc`` wants beyond them
            are made as `init` says. Soft labels need `learn_labels`, and a `LinearBasis` as
            `parametrization` needs a set that was distilled with one.
        learning_rate_factors : array-like of shape (ipc,) or None, default=None
            What multiplies the learning rate of the first sample of every class and its labels, of
            the second, and so on. With 0 a sample of ``start`` is kept as it is, bit for bit.
            (Bases are learned at the lowest of their samples' rates.) This and ``start`` are what
            `BoostedDistiller` needs of a distiller.

        Returns
        -------
        self : object

        Raises
        ------
        ValueError
            If a parameter or the data is unfit, or not that of the run in `checkpoint`, before any
            work starts.
        InvalidFileError
            If the file at `checkpoint` and the one before it are damaged, or hold what no run of
            these parameters and data could have left.
        DivergenceError
            If ten meta-gradients in a row are not finite. The fitted attributes are set, and hold
            the samples as they were before.
        """
        with keeping_features(self), ExitStack() as at_end:
            task = self._begin(X, y, sample_weight, start, learning_rate_factors, at_end)
            return self._run_to_the_end(task)

    def _run_to_the_end(self, task: "_Task") -> Self:
        """Do the outer steps that are left, and set the fitted attributes."""
        run = task.run

        def fitted_attributes(run=run):
            return self._fitted_attributes(run, task.learned, task.resolved, task.origin)

        watch = Watch(
            type(self).__name__,
            self.max_iter,
            self.verbose,
            self._advice,
            speaks=task.group.rank == 0,
            expects_progress=not task.has_start,
            ways_out=self._ways_out(),
        )
        # What callbacks may ask for; the attributes are computed only if one does.
        offer = {"X": task.X, "y": task.y, "reconstruction_attributes": fitted_attributes}
        callbacks = OuterCallbacks(self, offer, task.group)
        with task.checkpoint.guard(run):
            try:
                # What `skdistill.monitoring` looks at.
                self._current_run = run
                self._iterate(task, fitted_attributes, watch, callbacks)
            except Exception as error:
                shape = (self.ipc * len(task.learned.data.classes), *task.learned.data.layout.inner)
                explain_out_of_memory(
                    error,
                    run,
                    lambda: advice(
                        task.own_objective.peak(torch.empty(shape, device="meta")), self._hints
                    ),
                )
                raise
            finally:
                vars(self).pop("_current_run", None)
                # However the run ended, with an error or Ctrl-C as well, what it had is kept.
                if run.step > 0:
                    vars(self).update(fitted_attributes())
                    self._run = run.at_rest()
        return self

    def _begin(
        self, X, y, sample_weight, start, learning_rate_factors, at_end: ExitStack
    ) -> "_Task":
        """Check everything, and return a run that is ready for its next outer step.

        What is to be given back at the end goes to ``at_end``.
        """
        factors = self._check_factors(learning_rate_factors)
        earlier = getattr(self, "_run", None) if self.warm_start else None
        origin = Origin.of(X, y)
        X, y, weight, classes, layout = self.check_input(X, y, sample_weight=sample_weight)
        device = resolve_device(self.device)
        if earlier is not None:
            self._check_continuation(earlier, layout, classes)
        start = self._check_start(start, layout, classes)
        learner = self._make_learner(layout, len(classes), device)
        provenance = describe(X, classes[y], weight)
        group = join_group()
        resolved = self._resolve(layout)
        open_names = [name for name in resolved if resolved[name] != getattr(self, name)]
        if earlier is not None:
            resolved |= {n: getattr(self, f"{n}_", resolved[n]) for n in open_names}
        identity = self._identity(learner, provenance, start, factors, resolved)
        checkpoint = NoCheckpoint()

        def take_up() -> tuple[int, dict, Run | None]:
            # In the first process alone, which writes for all.
            nonlocal checkpoint
            if self.checkpoint is not None:
                checkpoint = Checkpoint(
                    self.checkpoint,
                    self.checkpoint_every,
                    identity,
                    open_names,
                    describe_defaults(self),
                )
                # Twice, for Ctrl-C may interrupt the first.
                at_end.callback(checkpoint.release)
                at_end.callback(checkpoint.release)
            run = checkpoint.take_up(earlier, self.random_state, self.max_iter, self._is_complete)
            seed = draw_seed(self.random_state) if run is None else run.seed
            return seed, dict(checkpoint.open_values), run

        seed, open_values, earlier = begin_together(group, identity, take_up)
        resolved |= open_values
        if open_values:
            with self._explaining_what_does_not_fit():
                other = self._with(open_values)
                other._validate_params()
                other._check_parameters()
        weight = self._weigh_classes(weight, y, classes)
        X, y, weight, held_out = hold_out(self.validation_fraction, X, y, weight, seed)
        names = getattr(self, "feature_names_in_", None)
        data = training_data(X, y, weight, classes, layout, device, provenance, names)
        streams = Streams(seed, group.rank, group.size)
        own_objective = self._with(resolved)._make_objective(data, learner, streams)
        objective = AveragedObjective(own_objective, group) if group.size > 1 else own_objective
        learned = Learned(
            resolve_parametrization(self.parametrization),
            self.label_lr_scale if self.learn_labels else None,
            self.learning_rate,
            data,
            self.ipc,
            start,
            factors,
        )
        if earlier is None:
            tensors = learned.begin(
                lambda: self._initial_samples(X, y, data, start, streams),
                streams.torch(Purpose.SYNTHETIC, 0),
                learner.dtype,
            )
            run = Run(seed, Point(initial_state(objective, tensors)))
        else:
            with self._explaining_what_does_not_fit():
                self._check_run(earlier, learned, own_objective, streams, learner.dtype)
            run = earlier.on(device)
        return _Task(
            objective=objective,
            own_objective=own_objective,
            run=run,
            learned=learned,
            held_out=held_out,
            checkpoint=checkpoint,
            group=group,
            has_start=start is not None,
            resolved=resolved,
            X=X,
            y=classes[y],
            origin=origin,
        )

    def _check_run(
        self, run: Run, learned: Learned, objective: Objective, streams: Streams, dtype
    ) -> None:
        """Raise an error of any kind unless a run at rest can go on with these parameters."""
        shape = (self.ipc * len(learned.data.classes), *learned.data.layout.inner)
        generator = streams.torch(Purpose.SYNTHETIC, 0)
        tensors = learned.begin(lambda: torch.zeros(shape), generator, dtype)
        check_tensors(run, initial_state(objective, tensors))
        if self.checkpoint is not None and self.validation_fraction is None and run.best:
            raise ValueError("it must have no best step, because nothing is validated.")
        check_memory(run.state.memory, objective.begin())
        self._rehearse(objective, run.state)

    def _rehearse(self, objective: Objective, state: OuterState) -> None:
        """Raise an error of any kind if an objective cannot go on from the memory in a state."""
        objective.observe(1.0, state.memory)

    @contextmanager
    def _explaining_what_does_not_fit(self):
        """Say of which run it is that something does not fit this fit."""
        try:
            yield
        except Exception as error:
            # Of many kinds: what is in a file, schedules and samplers have not checked.
            reason = str(error) or type(error).__name__
            if self.checkpoint is not None:
                raise InvalidFileError(
                    f"checkpoint={os.fspath(self.checkpoint)!r} holds no run that can go on: "
                    f"{reason} Give another path to begin a new run."
                ) from error
            raise ValueError(
                "Parameters must be those of the earlier fit, which warm_start=True continues: "
                f"{reason} Use warm_start=False to begin anew."
            ) from error

    @own_settings()
    def estimate(self, X, y, *, sample_weight=None, n_steps=3) -> Forecast:
        """Say what a long run will take, from a few of its outer steps.

        Parameters
        ----------
        X, y, sample_weight : array-like
            As in `fit`.
        n_steps : int, default=3
            Outer steps to time, after one that is not counted. If steps are compiled, they are
            compiled first, as in `fit`.

        Returns
        -------
        Forecast
            Seconds an outer step and in all, bytes at the peak of memory, and which parameter to
            lower first. It prints as a few lines. The estimator is left as it was.

        Raises
        ------
        ValueError
            If a parameter or the data is unfit, as in `fit`.

        Examples
        --------
        >>> from sklearn.datasets import load_digits
        >>> from skdistill import RaTBPTTDistiller
        >>> X, y = load_digits(return_X_y=True)
        >>> forecast = RaTBPTTDistiller(image_shape=(1, 8, 8), window=3, unroll=9).estimate(X, y)
        >>> forecast.n_steps
        200
        """
        if n_steps < 1:
            raise ValueError(f"n_steps must be at least 1; got {n_steps}.")
        other = clone(self)
        X, y, weight, classes, layout = other.check_input(X, y, sample_weight=sample_weight)
        other = other._with(other._resolve(layout))
        data = training_data(X, y, weight, classes, layout, resolve_device(self.device), {})
        learner = other._make_learner(layout, len(classes), data.device)
        streams = Streams(0)
        objective = other._make_objective(data, learner, streams)
        labels = torch.arange(len(classes), device=data.device).repeat(self.ipc)
        samples = gaussian_rows(len(labels), layout.inner, streams.torch(Purpose.SYNTHETIC, 0)).to(
            device=data.device, dtype=learner.dtype
        )
        if self.learn_labels:
            labels = torch.eye(len(classes)).to(samples)[labels]
        return forecast(objective, samples, labels, n_steps, self.max_iter, self._hints)

    def check_input(self, X, y, *, sample_weight=None):
        """Check parameters and data as `fit` does before any work.

        Parameters
        ----------
        X, y, sample_weight : array-like
            As in `fit`.

        Returns
        -------
        X, y, sample_weight, classes, layout
            The samples that take part, their class indices and weights (or None), the class labels,
            and the layout of a sample. Samples are an array or, where some of it have weight 0, an
            object that NumPy makes one of.

        Raises
        ------
        ValueError
            If a parameter or the data is unfit.
        """
        # Within others' fit, which may skip it, or before it.
        self._validate_params()
        refuse_booleans(self)
        image_shape = check_image_shape(self.image_shape)
        if self.n_iter_no_change is not None and self.validation_fraction is None:
            raise ValueError(
                f"n_iter_no_change={self.n_iter_no_change} must come with a validation_fraction: "
                "without one nothing is validated."
            )
        resolve_parametrization(self.parametrization).check(self.init)
        self._check_parameters()
        check_architecture(self.architecture)
        resolve_device(self.device)
        checked = check_training_data(self, X, y, sample_weight, image_shape, self.ipc)
        resolve_parametrization(self.parametrization).check_layout(checked[-1])
        check_class_weight(self.class_weight, checked[-2])
        return checked

    def _weigh_classes(self, weight: np.ndarray | None, y: np.ndarray, classes: np.ndarray):
        """Return the samples' weights, multiplied by those of their classes; None if all are 1."""
        of_class = class_weights(self.class_weight, classes, y, weight)
        if of_class is None:
            return weight
        return of_class[y] if weight is None else weight * of_class[y]

    def _check_continuation(self, earlier: Run, layout: Layout, classes: np.ndarray) -> None:
        """Raise ValueError unless an earlier run can be continued with these parameters."""
        recipe = self.distilled_.recipe
        if recipe.layout != layout or not np.array_equal(self.classes_, classes):
            raise ValueError(
                "X and y must hold samples of the same shape and the same classes as in the "
                "earlier fit; warm_start=True continues it. Use warm_start=False to begin anew."
            )
        if self.distilled_.ipc != self.ipc:
            raise ValueError(
                f"ipc={self.ipc} must be {self.distilled_.ipc}, as in the earlier fit; "
                "warm_start=True continues it."
            )
        if self.max_iter < earlier.step:
            raise ValueError(
                f"max_iter={self.max_iter} must be at least {earlier.step}, the outer steps "
                "done in the earlier fit; warm_start=True continues it."
            )

    def _resolve(self, layout: Layout) -> dict:
        """Return numbers for parameters that may be "auto", by name, for samples of this layout.

        They become fitted attributes (``window_``), and stand in the provenance and in a
        checkpoint. A run that is taken up keeps its own for those that the user left open.
        """
        return {}

    def _with(self, resolved: dict) -> Self:
        """Return this distiller with other values of parameters."""
        other = copy(self)
        vars(other).update(resolved)
        return other

    def _ways_out(self) -> str:
        """Return what to do about a run that takes long, in words."""
        ways = []
        if not self.verbose and not getattr(self, "_skl_callbacks", None):
            ways.append("set_callbacks(sklearn.callback.ProgressBar()) shows progress")
        if self.checkpoint is None:
            ways.append("checkpoint=PATH keeps the run if it is interrupted")
        costs = ", ".join(self._hints.time)
        return "; ".join([*ways, f"a lower max_iter, {costs} takes less time"])

    def _identity(
        self,
        learner: Learner,
        provenance: dict,
        start: DistilledDataset | None,
        factors,
        resolved: dict,
    ) -> dict:
        """Return what makes a run this one, as JSON can say it."""
        # Without validation, networks are evaluated after the run alone.
        may_change = _MAY_CHANGE | ({"eval_steps"} if self.validation_fraction is None else set())
        parameters = {**self.get_params(deep=False), **resolved}
        identity = {
            "the distiller": type(self),
            **{name: value for name, value in parameters.items() if name not in may_change},
            # A function may have been rewritten under its name.
            "the network": None if isinstance(self.architecture, str) else repr(learner.module),
            "X, y and sample_weight": provenance,
            "start": start if start is not self.init else None,
            "learning_rate_factors": None if factors is None else factors.tolist(),
        }
        return describe_value(identity)

    def _check_factors(self, factors) -> np.ndarray | None:
        if factors is None:
            return None
        factors = np.asarray(factors, dtype=np.float64)
        if factors.shape != (self.ipc,) or not (np.isfinite(factors) & (factors >= 0)).all():
            raise ValueError(
                f"learning_rate_factors must be ipc={self.ipc} non-negative numbers; "
                f"got {factors.tolist()!r:.200}."
            )
        return factors

    def _check_start(self, start, layout: Layout, classes) -> DistilledDataset | None:
        """Return the set whose samples come first, of `fit` or of `init`, or raise ValueError."""
        name, most = "start", f"at most ipc={self.ipc}"
        if isinstance(self.init, DistilledDataset):
            if start is not None:
                raise ValueError("start must not be given with an init that is a set as well.")
            name, start, most = "init", self.init, f"ipc={self.ipc}"
        if start is None:
            return None
        if not isinstance(start, DistilledDataset):
            raise ValueError(f"start must be a DistilledDataset; got {type(start).__name__}.")
        good = start.ipc == self.ipc if name == "init" else start.ipc <= self.ipc
        if not good or start.recipe.layout != layout:
            raise ValueError(
                f"{name} must hold {most} samples a class of shape {layout.outer}; "
                f"got ipc={start.ipc} of shape {start.recipe.layout.outer}."
            )
        if not np.array_equal(start.classes, classes):
            raise ValueError(f"{name} must hold the classes of y; its own differ.")
        if start.y.ndim == 2 and not self.learn_labels:
            raise ValueError(
                f"{name} must hold hard labels unless learn_labels=True; its own are soft. "
                "with_hard_labels() of a distilled set makes them."
            )
        resolve_parametrization(self.parametrization).check(self.init, start)
        return start

    def _initial_samples(
        self, X, y, data: TrainingData, start: DistilledDataset | None, streams: Streams
    ) -> torch.Tensor:
        """Return the standardised samples that a run starts from."""
        layout, n_classes = data.layout, len(data.classes)
        n_fresh = self.ipc - (0 if start is None else start.ipc)

        def standardized(samples):
            return data.standardizer.forward(as_tensor(layout.to_engine(samples)))

        parts = [] if start is None else [standardized(start.X)]
        if n_fresh and self.init == "gaussian":
            generator = streams.torch(Purpose.SYNTHETIC, 0)
            rows = gaussian_rows(n_fresh * n_classes, layout.inner, generator)
            # In double precision if it stands alone: the run's own precision rounds it.
            parts.append(rows.to(parts[0]) if parts else rows)
        elif n_fresh:
            choose = {"real": coresets.random_samples, "kmeans": coresets.kmeans_centroids}
            rng = streams.numpy(Purpose.SYNTHETIC, 0)
            # Chosen as networks see them: in raw units one feature of a large unit would decide.
            samples, _ = choose[self.init](
                X, y, np.arange(n_classes), n_fresh, rng, scale=layout.spread(data.scale)
            )
            parts.append(standardized(samples))
        return torch.cat(parts)

    def _make_learner(
        self,
        layout: Layout,
        n_classes: int,
        device: torch.device,
        autocast: torch.dtype | None = None,
    ) -> Learner:
        return make_learner(self.architecture, layout.inner, n_classes, device, autocast)

    def _iterate(
        self, task: "_Task", fitted_attributes: Callable, watch: Watch, callbacks: OuterCallbacks
    ) -> None:
        """Do the outer steps; the task's run holds the last good state at every moment."""
        run, learned = task.run, task.learned
        began = perf_counter() - run.seconds
        rates = learned.rates(run.state.tensors)
        n_steps = self.max_iter - run.step
        watch.begin(run)
        callbacks.fit_begins(n_steps)
        if self.checkpoint is not None:
            # A run that had given up when it was saved does so again.
            watch.give_up_after_many_failures(run)
        for _ in range(n_steps):
            if self._has_stagnated(run):
                break
            callbacks.step_begins()
            state, record = update(task.objective, run.state, learned.parametrization, rates)
            best, judged = self._judge(run, state, task.held_out, fitted_attributes)
            run.advance(Point(state, best, perf_counter() - began), record.row() | judged)
            watch.step(run, record)
            task.checkpoint.save_if_due(run)
            if callbacks.step_ends():
                break
        callbacks.fit_ends()

    def _judge(
        self, run: Run, state: OuterState, held_out: HeldOut | None, fitted_attributes: Callable
    ) -> tuple[Best | None, dict]:
        """Every `validation_interval` steps, judge the samples in a run's next state.

        Returns the best ones so far, and what the history is to tell of it.
        """
        if held_out is None:
            return run.best, {}
        if state.step % self.validation_interval and state.step != self.max_iter:
            return run.best, {"validation_accuracy": None}
        # A run without a best one, so that it is the last samples that are judged.
        latest = Run(run.seed, Point(state), run.columns)
        distilled = fitted_attributes(latest)["distilled_"]
        accuracy = held_out.accuracy(distilled, self.architecture, self.augmentation, self.device)
        best = run.best
        if best is None or accuracy > best.accuracy:
            tensors = {name: tensor.cpu().numpy() for name, tensor in state.tensors.items()}
            best = Best(accuracy, state.step, tensors)
        return best, {"validation_accuracy": accuracy}

    def _is_complete(self, run: Run) -> bool:
        return run.step >= self.max_iter or self._has_stagnated(run)

    def _has_stagnated(self, run: Run) -> bool:
        return (
            self.n_iter_no_change is not None
            and run.best is not None
            and run.step - run.best.step >= self.n_iter_no_change
        )

    def _fitted_attributes(
        self, run: Run, learned: Learned, resolved: dict, origin: Origin
    ) -> dict:
        """Return the fitted attributes of a run so far: NumPy and JSON-safe Python."""
        data, tensors = learned.data, run.state.tensors
        if run.best is not None:
            tensors = {k: as_tensor(v).to(data.device) for k, v in run.best.tensors.items()}
        X_syn, y_syn, bases = learned.result(tensors)
        names = getattr(self, "feature_names_in_", None)
        architecture = resolve_architecture(self.architecture, data.layout.inner)
        recipe = EvaluationRecipe(
            layout=data.layout,
            mean=tuple(data.mean.tolist()),
            scale=tuple(data.scale.tolist()),
            architecture=architecture if isinstance(architecture, str) else None,
            steps=int(self.eval_steps),
            n_networks=int(self.n_networks),
            seed=run.seed,
            augmentation=to_plain(self.augmentation),
        )
        provenance = {
            "method": type(self).__name__,
            "parameters": {
                name: _json_safe(value)
                for name, value in {**self.get_params(deep=False), **resolved}.items()
                # A path on this machine tells others nothing.
                if not name.startswith("checkpoint")
            },
            "seed": run.seed,
            "learning_rate": learned.learning_rate_used,
            "n_iter": run.step,
            "best_iter": None if run.best is None else run.best.step,
            "n_skipped": run.step - run.state.n_updates,
            "seconds": run.seconds,
            "device": str(data.device),
            "training_data": data.provenance,
            "versions": {
                "skdistill": __version__,
                "torch": str(torch.__version__),
                "scikit-learn": sklearn.__version__,
                "numpy": np.__version__,
                "python": platform.python_version(),
            },
        }
        return {
            **{f"{name}_": value for name, value in resolved.items()},
            "classes_": data.classes,
            "device_": str(data.device),
            "n_iter_": run.step,
            "n_features_in_": prod(data.layout.outer),
            "history_": run.history,
            "distilled_": DistilledDataset(
                X=X_syn,
                y=y_syn,
                classes=data.classes,
                ipc=int(self.ipc),
                recipe=recipe,
                provenance=provenance,
                feature_names=None if names is None else tuple(names),
                bases=bases,
                target_name=origin.target_name,
                original_dtypes=None if data.layout.is_image else origin.dtypes,
            ),
            "_origin": origin,
        }


@dataclass(frozen=True, eq=False)
class _Task:
    """What a fit works on: a run, and all that its outer steps need.

    Parameters
    ----------
    objective, own_objective : Objective
        What is minimised: in a group of processes, the average of their own ones.
    run : Run
    learned : Learned
    held_out : HeldOut or None
    checkpoint : Checkpoint or NoCheckpoint
    group : Group
    has_start : bool
        Whether there was a set whose samples come first.
    resolved : dict
        The values of parameters that may be "auto", by name.
    X : ndarray or Rows
        The samples that are trained on.
    y : ndarray
        Their labels.
    origin : Origin
        What X and y were before they became arrays.
    """

    objective: Objective
    own_objective: Objective
    run: Run
    learned: Learned
    held_out: HeldOut | None
    checkpoint: Checkpoint | NoCheckpoint
    group: Group
    has_start: bool
    resolved: dict
    X: np.ndarray | Rows
    y: np.ndarray
    origin: Origin


def _json_safe(value):
    if isinstance(value, str | bool | type(None)):
        return value
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real):
        return float(value)
    if isinstance(value, list | tuple):
        return [_json_safe(v) for v in value]
    if isinstance(value, Mapping):
        return {str(k): _json_safe(v) for k, v in value.items()}
    return getattr(value, "__qualname__", None) or repr(value)
