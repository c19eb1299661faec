"""What all distillers share: validated data in, a distilled data set out."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Callable
from contextlib import ExitStack, contextmanager
from copy import copy
from dataclasses import dataclass, replace
from math import prod
from typing import ClassVar, Self

import numpy as np
import torch
from sklearn.base import BaseEstimator, clone
from sklearn.callback import CallbackSupportMixin, with_callbacks
from sklearn.utils.metadata_routing import UNUSED

from .. import coresets
from .._data.class_weight import check_class_weight, class_weights
from .._data.frames import Origin
from .._data.layout import Layout
from .._data.rows import Rows
from .._data.seeds import draw_seed
from .._data.training import Checked, TrainingData, check_training_data, describe, training_data
from .._data.validation import check_image_shape, fit_context, keeping_features
from .._engine.data import as_tensor
from .._engine.group import Averaged, Group, join_group
from .._engine.learner import Learner
from .._engine.methods.base import Method, Problem, Synthetic
from .._engine.outer import gaussian_rows, initial_state
from .._engine.rows import ClassRows
from .._engine.runtime import chunk_size, resolve_device
from .._engine.settings import own_settings
from .._engine.streams import Streams
from .._run.callbacks import OuterCallbacks
from .._run.check import check_state, check_tensors
from .._run.checkpoint import Checkpoint, NoCheckpoint
from .._run.held_out import HeldOut, hold_out
from .._run.identity import describe_defaults, describe_value
from .._run.loop import OuterLoop, distil, has_stagnated
from .._run.processes import begin_together
from .._run.result import to_dataset
from .._run.state import Run, RunState
from .._run.synthetic import SyntheticSet
from .._run.watch import Watch, explain_out_of_memory
from ..augmentation import check_augmentation
from ..distilled._dataset import DistilledDataset, EvaluationRecipe
from ..evaluation._network_checks import make_learner
from ..evaluation._output import DistillerOutputMixin
from ..evaluation._plain_augmentation import to_plain
from ..exceptions import InvalidFileError
from ..forecast import Forecast, Hints, advice, forecast
from ..networks import check_architecture, resolve_architecture
from ..parametrization import resolve_parametrization
from ._parameters import may_change
from ._shared_parameters import SharedParameters

__all__ = ["BaseDistiller"]


class BaseDistiller(SharedParameters, CallbackSupportMixin, DistillerOutputMixin, BaseEstimator):
    """Base class of the distillers.

    A subclass declares the parameters that it adds as fields, and says by `_make_method` how they
    become what the outer loop moves the samples down. It may add checks of parameters against each
    other in `_check_parameters`.

    Parameters
    ----------
    {parameters}
    """

    # Of what `fit` takes, the weights alone are a value for each row of X, which meta-estimators
    # could split and pass on.
    __metadata_request__fit = {"start": UNUSED, "learning_rate_factors": UNUSED}

    # What to change if a run does not go well.
    _advice = "Use a lower learning_rate, or check the scale of X."
    # Which parameters memory and time grow with.
    _hints: ClassVar[Hints]
    # Whether the method has networks (without, they are used in the evaluation alone).
    _needs_network = True
    # Whether weights of classes multiply those of samples, or the classes' terms of a sum.
    _weighs_terms = False

    @abstractmethod
    def _make_method(self, problem: Problem) -> Method:
        """Return what the outer loop moves the samples down."""

    def _check_parameters(self) -> None:
        """Raise ValueError for parameters that do not fit each other."""

    def _check_classes(self, n_classes: int) -> None:
        """Raise ValueError for parameters that do not fit so many classes."""

    def _resolve(self, sample_shape: tuple[int, ...]) -> dict:
        """Return numbers for parameters that may be "auto", by name, for samples of this shape.

        They become fitted attributes (``window_``), and stand in the provenance and in a
        checkpoint. A run that is resumed keeps its own for those that the user left open.
        """
        return {}

    def _autocast(self) -> torch.dtype | None:
        """Return the precision of convolutions and products during a run, if it is another."""
        return None

    @with_callbacks
    @fit_context(prefer_skip_nested_validation=True)
    @own_settings()
    def fit(self, X, y=None, *, sample_weight=None, start=None, learning_rate_factors=None) -> Self:
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
            fit = self._begin(X, y, sample_weight, start, learning_rate_factors, at_end)
            self._distil(fit)
        return self

    def _distil(self, fit: _Fit) -> None:
        """Do the outer steps that are left, and set the fitted attributes."""
        run = fit.run

        def fitted_attributes(run=run):
            return self._fitted_attributes(run, fit)

        watch = Watch(
            type(self).__name__,
            self.max_iter,
            self.verbose,
            self._advice,
            speaks=fit.group.rank == 0,
            expects_progress=not fit.has_start,
            ways_out=self._ways_out(),
        )
        # What callbacks may ask for; the attributes are computed only if one does.
        offer = {"X": fit.X, "y": fit.y, "reconstruction_attributes": fitted_attributes}
        callbacks = OuterCallbacks(self, offer, fit.group)
        with fit.checkpoint.saving(run):
            try:
                # What `skdistill.monitoring` looks at.
                self._current_run = run
                distil(run, fit.loop, watch, callbacks, fit.checkpoint)
            except Exception as error:
                explain_out_of_memory(error, run, lambda: advice(fit.peak(), self._hints))
                raise
            finally:
                vars(self).pop("_current_run", None)
                # However the run ended, with an error or Ctrl-C as well, what it had is kept.
                if run.step > 0:
                    for name, value in fitted_attributes().items():
                        setattr(self, name, value)
                    self._run = run.to_cpu_arrays()

    def _begin(self, X, y, sample_weight, start, learning_rate_factors, at_end: ExitStack) -> _Fit:
        """Check everything, and return a run that is ready for its next outer step.

        What is to be given back at the end goes to ``at_end``.
        """
        factors = self._check_factors(learning_rate_factors)
        earlier = getattr(self, "_run", None) if self.warm_start else None
        origin = Origin.of(X, y)
        X, y, weight, classes, layout = self.check_input(X, y, sample_weight=sample_weight)
        if earlier is not None:
            self._check_continuation(earlier, layout, classes)
        start = self._check_start(start, layout, classes)
        device = resolve_device(self.device)
        learner = self._make_learner(layout.network_shape, len(classes), device)
        dtype = torch.float32 if learner is None else learner.dtype
        provenance = describe(X, classes[y], weight)
        group = join_group()
        resumed = self._resume(earlier, learner, provenance, layout, start, factors, group, at_end)

        weight = self._weigh_samples(weight, y, classes)
        X, y, weight, rows_out = hold_out(self.validation_fraction, X, y, weight, resumed.seed)
        names = getattr(self, "feature_names_in_", None)
        real = training_data(X, y, weight, classes, layout, device, provenance, names)
        problem = self._make_problem(real, learner, Streams(resumed.seed, group.rank, group.size))
        method = self._with(resumed.resolved)._make_method(problem)
        problem = replace(problem, prepared=method.prepare(problem))
        extra = method.extra(problem)
        synthetic = SyntheticSet(
            resolve_parametrization(self.parametrization),
            self.label_lr_scale if self.learn_labels else None,
            self.learning_rate,
            real,
            problem.rows,
            start,
            factors,
            extra,
        )
        run = self._first_or_earlier(resumed, method, problem, synthetic, X, y, dtype)
        loop = OuterLoop(
            method=Averaged(method, group) if group.size > 1 else method,
            problem=problem,
            parametrization=synthetic.parametrization,
            rates=synthetic.rates(run.state.tensors),
            least={k: v.least for k, v in extra.items() if v.least is not None},
            max_iter=self.max_iter,
            held_out=self._make_held_out(rows_out, real, resumed.seed),
            validation_interval=self.validation_interval,
            n_iter_no_change=self.n_iter_no_change,
        )
        return _Fit(
            run=run,
            loop=loop,
            method=method,
            synthetic=synthetic,
            checkpoint=resumed.checkpoint,
            group=group,
            has_start=start is not None,
            resolved=resumed.resolved,
            X=X,
            y=classes[y],
            origin=origin,
        )

    def _resume(
        self,
        earlier: Run | None,
        learner: Learner | None,
        provenance: dict,
        layout: Layout,
        start: DistilledDataset | None,
        factors: np.ndarray | None,
        group: Group,
        at_end: ExitStack,
    ) -> _Resumed:
        """Return what a run goes on with: that of the checkpoint, an earlier fit's, or nothing."""
        resolved = self._resolve(layout.network_shape)
        open_names = [name for name in resolved if resolved[name] != getattr(self, name)]
        if earlier is not None:
            resolved |= {n: getattr(self, f"{n}_", resolved[n]) for n in open_names}
        identity = self._identity(learner, provenance, start, factors, resolved)
        checkpoint = NoCheckpoint()

        def resume() -> tuple[int, dict, Run | None]:
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
                # Twice, because Ctrl-C may interrupt the first.
                at_end.callback(checkpoint.release)
                at_end.callback(checkpoint.release)
            run = checkpoint.resume(earlier, self.random_state, self.max_iter, self._is_complete)
            seed = draw_seed(self.random_state) if run is None else run.seed
            return seed, dict(checkpoint.open_values), run

        seed, open_values, run = begin_together(group, identity, resume)
        if open_values:
            with self._explaining_what_does_not_fit():
                other = self._with(open_values)
                other._validate_params()
                other._check_parameters()
        return _Resumed(seed, resolved | open_values, run, checkpoint)

    def _make_problem(self, real: TrainingData, learner: Learner | None, rngs: Streams) -> Problem:
        """Return all that a method may know."""
        shape, n_classes = real.layout.network_shape, len(real.classes)
        chunk = None
        # What depends on its whole batch, as batch normalisation does, cannot be taken in chunks.
        if learner is not None and not learner.couples_samples(shape):
            chunk = chunk_size(learner, shape)
        return Problem(
            real=real.real,
            rows=ClassRows(n_classes, self.ipc),
            shape=shape,
            device=real.device,
            rngs=rngs,
            learner=learner,
            augmentation=check_augmentation(self.augmentation),
            chunk=chunk,
            class_weight=self._weigh_terms(real),
        )

    def _make_held_out(
        self, rows_out: tuple[Rows, np.ndarray] | None, real: TrainingData, seed: int
    ) -> HeldOut | None:
        """Return what the samples are validated on, as networks see it."""
        if rows_out is None:
            return None
        return HeldOut.of(
            *rows_out,
            real,
            seed,
            steps=self.eval_steps,
            architecture=self.architecture,
            augmentation=self.augmentation,
        )

    def _first_or_earlier(
        self,
        resumed: _Resumed,
        method: Method,
        problem: Problem,
        synthetic: SyntheticSet,
        X,
        y,
        dtype: torch.dtype,
    ) -> Run:
        """Return the run to go on with, on the device; it is checked if it was begun before."""
        rngs = problem.rngs

        def tensors(make_samples: Callable[[], torch.Tensor]) -> dict[str, torch.Tensor]:
            return synthetic.first_tensors(make_samples, rngs.torch("synthetic", 0), dtype)

        if resumed.run is None:
            first = tensors(lambda: self._initial_samples(X, y, synthetic, rngs))
            return Run(resumed.seed, RunState(**vars(initial_state(method, problem, first))))
        run = resumed.run
        with self._explaining_what_does_not_fit():
            placeholder = tensors(lambda: torch.zeros(len(problem.rows), *problem.shape))
            fresh = initial_state(method, problem, placeholder)
            check_tensors(run, fresh)
            if self.checkpoint is not None and self.validation_fraction is None and run.best:
                raise ValueError("it must have no best step, because nothing is validated.")
            check_state(run.state.method, fresh.method)
        run = run.to_device(problem.device)
        with self._explaining_what_does_not_fit():
            method.check_state(problem, run.state.method, run.step)
        return run

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
            Seconds per outer step and in all, bytes at the peak of memory, and which parameter to
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
        other = other._with(other._resolve(layout.network_shape))
        device = resolve_device(self.device)
        learner = other._make_learner(layout.network_shape, len(classes), device)
        real = training_data(X, y, weight, classes, layout, device, {})
        problem = other._make_problem(real, learner, Streams(0))
        method = other._make_method(problem)
        dtype = torch.float32 if learner is None else learner.dtype
        labels = problem.rows.labels(device)
        if self.learn_labels:
            labels = torch.eye(len(classes), device=device, dtype=dtype)[labels]
        samples = gaussian_rows(
            len(problem.rows), problem.shape, problem.rngs.torch("synthetic", 0)
        )
        extra = {name: each.value for name, each in method.extra(problem).items()}
        synthetic = Synthetic(samples.to(device=device, dtype=dtype), labels, extra)
        return forecast(method, problem, synthetic, n_steps, self.max_iter, self._hints)

    def check_input(self, X, y, *, sample_weight=None) -> Checked:
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
        # A meta-estimator's fit may skip validation, so validate here too.
        self._validate_params()
        image_shape = check_image_shape(self.image_shape)
        if self.n_iter_no_change is not None and self.validation_fraction is None:
            raise ValueError(
                f"n_iter_no_change={self.n_iter_no_change} must come with a validation_fraction: "
                "without one nothing is validated."
            )
        parametrization = resolve_parametrization(self.parametrization)
        parametrization.check(self.init)
        self._check_parameters()
        check_augmentation(self.augmentation)
        check_architecture(self.architecture)
        if self.inner_architecture is not None:
            check_architecture(self.inner_architecture, "inner_architecture")
        resolve_device(self.device)
        checked = check_training_data(self, X, y, sample_weight, image_shape, self.ipc)
        parametrization.check_layout(checked.layout)
        check_class_weight(self.class_weight, checked.classes)
        self._check_classes(len(checked.classes))
        check_augmentation(self.augmentation, checked.layout.network_shape)
        return checked

    def _weigh_samples(self, weight, y, classes):
        """Return the samples' weights, multiplied by those of their classes; None if all are 1."""
        if self._weighs_terms:
            return weight
        of_class = class_weights(self.class_weight, classes, y, weight)
        if of_class is None:
            return weight
        return of_class[y] if weight is None else weight * of_class[y]

    def _weigh_terms(self, real: TrainingData) -> torch.Tensor | None:
        """Return the weights of the classes' terms; None if the method has none."""
        if not self._weighs_terms or not isinstance(self.class_weight, dict):
            return None
        weights = class_weights(self.class_weight, real.classes, y=None, sample_weight=None)
        return as_tensor(weights).to(device=real.device, dtype=torch.float32)

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
        learner: Learner | None,
        provenance: dict,
        start: DistilledDataset | None,
        factors: np.ndarray | None,
        resolved: dict,
    ) -> dict:
        """Return what makes a run this one, as JSON can say it."""
        # Without validation, networks are evaluated after the run alone.
        others = may_change(self) | ({"eval_steps"} if self.validation_fraction is None else set())
        parameters = {**self.get_params(deep=False), **resolved}
        # A function may have been rewritten under its name.
        is_named = isinstance(self._networks(), str)
        module = None if is_named or learner is None else learner.module
        identity = {
            "the distiller": type(self),
            **{name: value for name, value in parameters.items() if name not in others},
            "the network": None if module is None else repr(module),
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

    def _check_start(self, start, layout: Layout, classes: np.ndarray) -> DistilledDataset | None:
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
                f"{name} must hold {most} samples per class of shape {layout.user_shape}; "
                f"got ipc={start.ipc} of shape {start.recipe.layout.user_shape}."
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

    def _initial_samples(self, X, y, synthetic: SyntheticSet, rngs: Streams) -> torch.Tensor:
        """Return the standardised samples that a run starts from."""
        real, start, n_classes = synthetic.data, synthetic.start, synthetic.rows.n_classes
        layout = real.layout
        n_fresh = self.ipc - (0 if start is None else start.ipc)

        def standardized(samples):
            return real.standardizer.forward(as_tensor(layout.to_engine(samples)))

        parts = [] if start is None else [standardized(start.X)]
        if n_fresh and self.init == "gaussian":
            rows = gaussian_rows(
                n_fresh * n_classes, layout.network_shape, rngs.torch("synthetic", 0)
            )
            # In double precision if it stands alone: the run's own precision rounds it.
            parts.append(rows.to(parts[0]) if parts else rows)
        elif n_fresh:
            choose = {"real": coresets.random_samples, "kmeans": coresets.kmeans_centroids}
            # Chosen as networks see them: in raw units one feature of a large unit would decide.
            samples, _ = choose[self.init](
                X,
                y,
                np.arange(n_classes),
                n_fresh,
                rngs.numpy("synthetic", 0),
                scale=layout.spread(real.scale),
            )
            parts.append(standardized(samples))
        return torch.cat(parts)

    def _make_learner(
        self, sample_shape: tuple[int, ...], n_classes: int, device: torch.device
    ) -> Learner | None:
        if not self._needs_network:
            return None
        if self.inner_architecture is not None:
            # Those of the evaluation must be as good, and nobody has tried them by then.
            make_learner(self.architecture, sample_shape, n_classes, device)
        parameter = "architecture" if self.inner_architecture is None else "inner_architecture"
        return make_learner(
            getattr(self, parameter),
            sample_shape,
            n_classes,
            device,
            self._autocast(),
            parameter=parameter,
        )

    def _networks(self):
        """Return the architecture of the networks that are distilled through."""
        return self.architecture if self.inner_architecture is None else self.inner_architecture

    def _is_complete(self, run: Run) -> bool:
        return run.step >= self.max_iter or has_stagnated(run, self.n_iter_no_change)

    def _fitted_attributes(self, run: Run, fit: _Fit) -> dict:
        """Return the fitted attributes of a run so far: NumPy and JSON-safe Python."""
        real, origin = fit.synthetic.data, fit.origin
        names = getattr(self, "feature_names_in_", None)
        architecture = resolve_architecture(self.architecture, real.layout.network_shape)
        recipe = EvaluationRecipe(
            layout=real.layout,
            mean=tuple(real.mean.tolist()),
            scale=tuple(real.scale.tolist()),
            architecture=architecture if isinstance(architecture, str) else None,
            steps=int(self.eval_steps),
            n_networks=int(self.n_networks),
            seed=run.seed,
            augmentation=to_plain(self.augmentation),
        )
        distilled = to_dataset(
            run,
            fit.synthetic,
            recipe,
            type(self).__name__,
            {**self.get_params(deep=False), **fit.resolved},
            feature_names=None if names is None else tuple(names),
            target_name=origin.target_name,
            original_dtypes=None if real.layout.is_image else origin.dtypes,
        )
        return {
            **{f"{name}_": value for name, value in fit.resolved.items()},
            "classes_": real.classes,
            "device_": str(real.device),
            "n_iter_": run.step,
            "n_features_in_": prod(real.layout.user_shape),
            "history_": run.history,
            "extra_": fit.synthetic.extra_values(run.state.tensors),
            "distilled_": distilled,
            "_origin": origin,
        }


@dataclass(frozen=True, eq=False)
class _Resumed:
    """What a run goes on with.

    Parameters
    ----------
    seed : int
    resolved : dict
        The values of parameters that may be "auto", by name.
    run : Run or None
        The run at rest; None begins anew.
    checkpoint : Checkpoint or NoCheckpoint
    """

    seed: int
    resolved: dict
    run: Run | None
    checkpoint: Checkpoint | NoCheckpoint


@dataclass(frozen=True, eq=False)
class _Fit:
    """What a fit works on: a run, and all that its outer steps need.

    Parameters
    ----------
    run : Run
    loop : OuterLoop
    method : Method
        Of this process; in a group, the loop's is the average of all.
    synthetic : SyntheticSet
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

    run: Run
    loop: OuterLoop
    method: Method
    synthetic: SyntheticSet
    checkpoint: Checkpoint | NoCheckpoint
    group: Group
    has_start: bool
    resolved: dict
    X: np.ndarray | Rows
    y: np.ndarray
    origin: Origin

    def peak(self):
        """Return what an outer step takes of the memory."""
        problem = self.loop.problem
        placeholder = torch.empty(len(problem.rows), *problem.shape, device="meta")
        return self.method.peak(problem, Synthetic(placeholder, problem.rows.labels("meta")))
