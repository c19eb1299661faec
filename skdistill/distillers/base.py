"""The base class of all distillers: validated data in, a distilled data set out."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from contextlib import ExitStack
from copy import copy
from dataclasses import replace
from math import ceil, prod
from typing import Any, ClassVar, Literal, Self

import torch
from numpy.typing import ArrayLike
from sklearn.base import clone
from sklearn.utils.metadata_routing import UNUSED

from .._data.bases import BaseEstimator
from .._data.class_weight import check_class_weight
from .._data.frames import Origin
from .._data.layout import Layout
from .._data.older_versions import as_before
from .._data.rows import take
from .._data.strategy import plain_parameters
from .._data.training import Checked, check_training_data
from .._data.validation import check_count, check_image_shape, fit_context, keeping_features
from .._engine.group import join_group
from .._engine.learner import Learner
from .._engine.methods.base import Method, Problem
from .._engine.runtime import resolve_device
from .._engine.settings import own_settings
from .._engine.streams import Streams
from .._run.assemble import Fit, assemble
from .._run.callbacks import (
    CallbackSupportMixin,
    OuterCallbacks,
    shown_to_monitors,
    with_callbacks,
)
from .._run.given import Given
from .._run.held_out import HeldOut, hold_out
from .._run.identity import describe_defaults
from .._run.initial import gaussian_set
from .._run.loop import distill
from .._run.problem import make_networks, pose
from .._run.result import result_of, to_dataset
from .._run.resume import Resumed, check_continuation, resume
from .._run.start import check_factors, check_start
from .._run.watch import Watch, explaining_out_of_memory, ways_out
from ..augmentation import check_augmentation
from ..distilled._dataset import DistilledDataset
from ..evaluation._output import DistillerOutputMixin
from ..forecast import Forecast, Hints, forecast
from ..learning_rates import resolve_rate_schedule
from ..networks import check_architecture
from ..paper import Paper
from ..parametrization import resolve_parametrization
from ._auto import resolve_inner_architecture
from ._features import check_refusals
from ._parameters import may_change
from ._shared_parameters import SharedParameters

__all__ = ["BaseDistiller"]

# Fitted attributes that docstrings of distillers describe in the same words.
_FITTED = """n_iter_ : int
    Outer steps done.
classes_ : ndarray of shape (n_classes,)
    The class labels.
device_ : str
    Where the run was computed.
n_features_in_ : int
    Number of features, or of values in an image, of a sample.
feature_names_in_ : ndarray of shape (n_features,)
    Names of the features; only if `fit` was given a DataFrame whose column names are strings."""


class BaseDistiller(SharedParameters, CallbackSupportMixin, DistillerOutputMixin, BaseEstimator):
    """Base class of the distillers.

    A subclass declares the parameters that it adds as fields, and makes its method from them in
    `_make_method`: the loss and gradient that the outer loop follows. It may add checks of
    parameters against each other in `_check_parameters`, and lists in `_refuses` what its method
    cannot do.

    Parameters
    ----------
    {parameters}
    """

    # Of the arguments of `fit`, only the weights have a value per row of X, which meta-estimators
    # could split and pass on.
    __metadata_request__fit = {"start": UNUSED, "learning_rate_factors": UNUSED}

    # What to change if a run does not go well.
    _advice = "Use a lower learning_rate, or check the scale of X."
    _texts: ClassVar[Mapping[str, str]] = {"{fitted}": _FITTED}
    # The parameters with which memory and time grow.
    _hints: ClassVar[Hints] = Hints(
        states="the width of the networks (their parameters)",
        activations="ipc (the synthetic samples' activations)",
        real="batch_size (the real samples' activations)",
        time=("batch_size", "ipc", "the width of the networks"),
        step="a fresh network's pass over real and synthetic samples, the latter differentiated",
    )
    # Whether the method has networks (if not, only the evaluation uses them).
    _needs_network = True
    # Blocks of a boosted run, this one included, of whose time to warn.
    _n_blocks_ahead = 1
    # The outer step with which a run ends if that is not max_iter: a block of a boosted run from
    # which another began goes no further.
    _last_step = None
    # Outer steps that the last fit did; the others came from a checkpoint or an earlier fit.
    _n_steps_here = 0
    # How often the method differentiates networks, the last time with respect to the samples. If
    # that is more than once, networks of the user's are tried for it before any work.
    _derivatives = 1
    # Whether class weights multiply sample weights, or the classes' terms of a sum.
    _weighs_terms = False
    # What the method cannot do, of `_features.FEATURES`, each with the reason.
    _refuses: ClassVar[Mapping[str, str]] = {}
    # The runs of the method's paper.
    _paper: ClassVar[Paper | None] = None
    # Runs of other papers by the same method, by the names that `from_paper` has for them.
    _other_papers: ClassVar[Mapping[str, Paper]] = {}

    @abstractmethod
    def _make_method(self, problem: Problem) -> Method:
        """Return the method: the loss and gradient that the outer loop follows."""

    def _check_parameters(self) -> None:
        """Raise ValueError for parameters that do not fit each other."""

    def _check_classes(self, n_classes: int) -> None:
        """Raise ValueError for parameters that do not fit so many classes."""

    def _resolve(self, sample_shape: tuple[int, ...]) -> dict[str, Any]:
        """Return numbers for parameters that may be "auto", by name, for samples of this shape.

        They become fitted attributes (``window_``), and are kept in the provenance and in
        checkpoints. A resumed run keeps its own values where the user left them open.
        """
        return {}

    def _parameters(self, layout: Layout) -> dict[str, Any]:
        """Return the parameters, with the networks to distill through for samples like these."""
        parameters = plain_parameters(self)
        parameters["inner_architecture"] = resolve_inner_architecture(
            self.inner_architecture, self.architecture, layout.network_shape
        )
        return parameters

    def _autocast(self) -> torch.dtype | None:
        """Return the precision of convolutions and products during a run, if it differs."""
        return None

    @classmethod
    def from_paper(
        cls, dataset: str, ipc: int, *, paper: str | None = None, **parameters: Any
    ) -> Self:
        """Return a distiller with the parameters of a run in the method's paper.

        Where each value stands in the paper, the page of the class says, and for RaT-BPTT that of
        `skdistill.paper_settings`. They are for a GPU and for hours.

        Parameters
        ----------
        dataset : str
            The data set, as in `skdistill.datasets`: "cifar10", for example.
        ipc : int
            Samples per class. (If the run learns bases, the storage in units of samples per class.)
        paper : str or None, default=None
            The paper, if the method was run in several. None is the method's own;
            `RaTBPTTDistiller` has "bptt", "linba" and "at-bptt" as well,
            `TrajectoryMatchingDistiller` "tesla", "ftd" and "datm", and
            `GradientMatchingDistiller` "dsa", "idc" and "idc-i", see there.
        **parameters
            Parameters of the distiller, which take the place of the paper's: `random_state`, say,
            or a `max_iter` that time allows.

        Returns
        -------
        distiller : estimator
            It is not fitted.

        Raises
        ------
        ValueError
            If the paper has no such run; the message says which it has.

        Examples
        --------
        >>> from skdistill import RaTBPTTDistiller
        >>> distiller = RaTBPTTDistiller.from_paper("cifar10", ipc=10, max_iter=1000)
        >>> distiller.window, distiller.unroll, distiller.max_iter
        (80, 250, 1000)
        """
        if cls._paper is None:
            raise ValueError(f"{cls.__name__} knows no runs of a paper; pass it its parameters.")
        if paper is not None and paper not in cls._other_papers:
            names = ", ".join(["None", *map(repr, cls._other_papers)])
            raise ValueError(f"paper must be one of {names} for {cls.__name__}; got {paper!r}.")
        known = cls._paper if paper is None else cls._other_papers[paper]
        return cls(**known.parameters(dataset, ipc) | parameters)

    @with_callbacks
    @fit_context(prefer_skip_nested_validation=True)
    @own_settings()
    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike | None = None,
        *,
        sample_weight: ArrayLike | None = None,
        start: DistilledDataset | None = None,
        learning_rate_factors: ArrayLike | None = None,
    ) -> Self:
        """Distill a training set.

        Parameters
        ----------
        X : array-like of shape (n, features), (n, H, W), (n, C, H, W) or (n, H, W, C)
            Training samples: table rows, flat images with `image_shape`, or images.
        y : array-like of shape (n,)
            Class labels.
        sample_weight : array-like of shape (n,) or None, default=None
            Weights of the real samples, in the loss and in the moments with which samples are
            standardized. Samples of weight 0 are left out; a class that has no others is warned
            of. It takes part in metadata routing (``set_fit_request(sample_weight=True)``).
        start : DistilledDataset or None, default=None
            A set of the same classes whose samples come first; `init` makes the rest of the ``ipc``
            samples per class. Hard labels may be in any order, equally many of every class. Soft
            labels need `learn_labels`, and a `parametrization` other than pixels needs a set that
            was distilled with one of its kind.
        learning_rate_factors : array-like of shape (ipc,) or None, default=None
            Factors of the learning rate of the first sample of every class and its labels, of the
            second, and so on. With 0 a sample of ``start`` is kept as it is, bit for bit. (Bases
            are learned at the lowest of their samples' rates.) `BoostedDistiller` needs this
            parameter and ``start`` of a distiller.

        Returns
        -------
        self : object

        Raises
        ------
        ValueError
            If a parameter or the data is unfit, or differs from the run in `checkpoint`, before any
            work starts.
        InvalidFileError
            If the file at `checkpoint` and the one before it are damaged, or hold what no run with
            these parameters and data can have written.
        DivergenceError
            If ten meta-gradients in a row are not finite. The fitted attributes are set, and hold
            the samples as they were before. Also if samples or labels overflow in the last step.
        """
        with keeping_features(self), ExitStack() as at_end:
            given = self._check(X, y, sample_weight, start, learning_rate_factors)
            resumed = self._resume(given, at_end)
            make_method = self._with(resumed.resolved)._make_method
            # Before the method is prepared, which may take hours: one may refuse to be set up.
            callbacks = OuterCallbacks(self, resumed.n_steps, given.group)
            fit = assemble(given, resumed, make_method, self._weighs_terms)
            run, checkpoint, n_before = fit.run, resumed.checkpoint, fit.run.step
            watch = self._make_watch(fit.loop.last_step, given.group.rank == 0, given.start is None)
            callbacks.offer(
                X=fit.data.X,
                y=fit.data.classes[fit.data.y],
                # They are computed only if a callback asks for them.
                reconstruction_attributes=lambda: self._fitted_attributes(fit),
            )
            with checkpoint.saving(run):
                try:
                    with (
                        shown_to_monitors(self, run),
                        explaining_out_of_memory(run, fit.peak, self._hints),
                    ):
                        distill(run, fit.loop, watch, callbacks, checkpoint, resumed.from_file)
                finally:
                    # However the run ended, even with an error or Ctrl-C, its result so far is
                    # kept.
                    self._n_steps_here = run.step - n_before
                    if run.step > 0:
                        self._set_fitted(fit)
                        self._run = run.to_cpu_arrays()
        watch.check_result(run, self.distilled_.X)
        return self

    def _set_fitted(self, fit: Fit) -> None:
        """Set the fitted attributes from a run so far: NumPy and JSON-safe Python."""
        run, real, given = fit.run, fit.synthetic.data, fit.given
        method, parameters = type(self).__name__, fit.resumed.parameters
        result = result_of(run, parameters, real.device)
        distilled = to_dataset(
            run, result, fit.synthetic, method, parameters, given.origin, given.feature_names
        )
        for name, value in fit.resumed.resolved.items():
            setattr(self, f"{name}_", value)
        self.classes_ = real.classes
        self.device_ = str(real.device)
        self.n_features_in_ = prod(real.layout.user_shape)
        self.n_iter_ = run.step
        self.history_ = run.history
        self.extra_ = fit.synthetic.extra_values(result.tensors)
        self.distilled_ = distilled
        self._origin = given.origin

    def _fitted_attributes(self, fit: Fit) -> dict[str, Any]:
        """Return what `_set_fitted` would set now, by name."""
        other = copy(self)
        other._set_fitted(fit)
        return {k: v for k, v in vars(other).items() if k.endswith("_") or k == "_origin"}

    def _check(
        self,
        X: ArrayLike,
        y: ArrayLike | None,
        sample_weight: ArrayLike | None,
        start: DistilledDataset | None,
        learning_rate_factors: ArrayLike | None,
    ) -> Given:
        """Check all input of a fit, and the run of an earlier fit."""
        factors = check_factors(learning_rate_factors, self.ipc)
        earlier = getattr(self, "_run", None) if self.warm_start else None
        origin = Origin.of(X, y)
        data = self._check_input(X, y, sample_weight)
        names = getattr(self, "feature_names_in_", None)
        if earlier is not None:
            check_continuation(
                earlier,
                self.distilled_,
                self.classes_,
                data,
                names,
                self.ipc,
                self.max_iter,
                self.learning_rate_schedule,
                self.validation_fraction,
            )
        group = join_group()
        asked = start if factors is None else factors
        self._check_refusals(start=asked, n_processes=group.size)
        parametrization = resolve_parametrization(self.parametrization)
        start = check_start(
            start, self.init, data, self.ipc, self.learn_labels, parametrization, names
        )
        return Given(
            data=data,
            origin=origin,
            feature_names=names,
            start=start,
            factors=factors,
            earlier=earlier,
            learner=self._make_networks(data),
            provenance=data.fingerprint(),
            group=group,
            split_seed=getattr(self, "_split_seed", None),
        )

    def _resume(self, given: Given, at_end: ExitStack) -> Resumed:
        """Return where to start: the checkpoint's run, that of an earlier fit, or anew."""
        parameters = self._parameters(given.data.layout)
        resolved = self._with({})._resolve(given.data.layout.network_shape)
        open_names = [name for name in resolved if resolved[name] != parameters[name]]
        if given.earlier is not None:
            # It keeps its own values of the parameters that the user left open, unless it had a
            # number where "auto" is a word.
            kept = self._left_open(self)
            resolved |= {
                name: kept[name]
                for name in open_names
                if name in kept and type(kept[name]) is type(resolved[name])
            }
        return resume(
            given,
            type(self),
            parameters,
            resolved,
            open_names,
            may_change(self),
            describe_defaults(self),
            self._check_values,
            self._last_step,
            at_end,
        )

    def _left_open(self, other: BaseDistiller) -> dict[str, Any]:
        """Return what this fitted distiller has used for what is "auto" in another one, by name."""
        # One of an older version may lack some.
        before, there = as_before(type(self)), other.get_params(deep=False)
        # A parameter may be an array, which has no one answer to whether it is "auto".
        names = [
            name for name, value in there.items() if isinstance(value, str) and value == "auto"
        ]
        used = {name: getattr(self, f"{name}_", before.get(name)) for name in names}
        return {name: value for name, value in used.items() if value is not None}

    def _hold_out_as(self, seed: int) -> None:
        """Hold out the samples that a run of this seed does, whatever the seed of this one."""
        self._split_seed = seed

    def _check_values(self, values: dict[str, Any]) -> None:
        """Raise ValueError for invalid values of parameters."""
        other = self._with(values)
        other._validate_params()
        other._check_parameters()

    def _check_refusals(self, **given: Any) -> None:
        """Raise ValueError for what the method cannot do, given parameters and arguments."""
        check_refusals(type(self), self._refuses, given)

    def _make_watch(self, last_step: int, speaks: bool, expects_progress: bool) -> Watch:
        """Return the object that reports on a run in progress."""
        shows_progress = bool(self.verbose or getattr(self, "_skl_callbacks", None))
        return Watch(
            type(self).__name__,
            last_step,
            self.verbose,
            self._advice,
            speaks,
            expects_progress,
            ways_out(shows_progress, self.checkpoint is not None, self._hints.time),
            self._n_blocks_ahead,
        )

    def _make_networks(self, data: Checked) -> Learner | None:
        """Return the networks to distill through, or None if the method needs none."""
        parameters = self._parameters(data.layout)
        return make_networks(
            parameters, data, self._needs_network, self._autocast(), self._derivatives
        )

    def _with(self, resolved: dict[str, Any]) -> Self:
        """Return this distiller with Python's numbers, and other values of parameters."""
        other = copy(self)
        vars(other).update(plain_parameters(self) | resolved)
        return other

    @own_settings()
    def estimate(
        self,
        X: ArrayLike,
        y: ArrayLike,
        *,
        sample_weight: ArrayLike | None = None,
        n_steps: int = 3,
    ) -> Forecast:
        """Estimate the time and memory of a run, from a few of its outer steps.

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
        check_count("n_steps", n_steps, 1)
        other = clone(self)
        data = other._check_input(X, y, sample_weight)
        other = other._with(other._with({})._resolve(data.layout.network_shape))
        names = getattr(other, "feature_names_in_", None)
        parameters = other._parameters(data.layout)
        learner = other._make_networks(data)
        real, problem = pose(data, learner, Streams(0), {}, parameters, self._weighs_terms, names)
        method = other._make_method(problem)
        if type(method).peak is Method.peak:
            raise NotImplementedError(
                f"estimate asks {type(method).__name__} for its peak of memory: it must have a "
                "method `peak`, as skdistill.distillers.Method describes it."
            )
        problem = replace(problem, prepared=method.stand_in(problem))
        dtype = torch.float32 if learner is None else learner.dtype
        synthetic = gaussian_set(method, problem, dtype, self.learn_labels)
        found = forecast(method, problem, synthetic, n_steps, self.max_iter, self._hints)
        rows = hold_out(self.validation_fraction, data.y, len(data.classes), self.ipc, seed=0)
        if rows is None:
            return found
        loss: Literal["cross-entropy", "mse"] = "cross-entropy"
        if self.learn_labels:
            loss = method.label_loss
        held = HeldOut.of(take(data.X, rows[1]), data.y[rows[1]], None, real, 0, parameters, loss)
        each = held.seconds(synthetic.X, synthetic.y, method.protocol(synthetic.extra))
        n_validations = ceil(self.max_iter / self.validation_interval)
        return replace(found, validation_seconds=n_validations * each)

    def check_input(
        self, X: ArrayLike, y: ArrayLike | None, *, sample_weight: ArrayLike | None = None
    ) -> Checked:
        """Check parameters and data as `fit` does before any work.

        Parameters
        ----------
        X, y, sample_weight : array-like
            As in `fit`.

        Returns
        -------
        X, y, sample_weight, classes, layout
            The samples that take part, their class indices and weights (or None), the class labels,
            and the layout of a sample. Samples are an array or, if some have weight 0, an object
            that NumPy converts to one.

        Raises
        ------
        ValueError
            If a parameter or the data is unfit.
        """
        # A copy, because a fitted estimator keeps what it knows about its own features.
        return copy(self)._check_input(X, y, sample_weight)

    def _check_input(
        self, X: ArrayLike, y: ArrayLike | None, sample_weight: ArrayLike | None
    ) -> Checked:
        """Check parameters and data, see `check_input`, and note what the features are."""
        # A meta-estimator's fit may skip validation, so validate here too.
        self._validate_params()
        image_shape = check_image_shape(self.image_shape)
        if self.n_iter_no_change is not None and self.validation_fraction is None:
            raise ValueError(
                f"n_iter_no_change={self.n_iter_no_change} must come with a validation_fraction: "
                "without one nothing is validated."
            )
        parametrization = resolve_parametrization(self.parametrization)
        parametrization.check(self.init, self.ipc)
        if self.sample_norm is not None and not parametrization.learns_samples:
            raise ValueError(
                f"sample_norm={self.sample_norm} must be None with parametrization="
                f"{self.parametrization!r}: only samples that are learned themselves can be scaled."
            )
        resolve_rate_schedule(self.learning_rate_schedule)
        self._check_refusals(**self.get_params(deep=False), sample_weight=sample_weight)
        self._check_parameters()
        check_augmentation(self.augmentation)
        check_architecture(self.architecture)
        if self.inner_architecture is not None:
            check_architecture(self.inner_architecture, "inner_architecture")
            if not self._needs_network:
                raise ValueError(
                    f"inner_architecture must be None: {type(self).__name__} distills through no "
                    "networks; those of score and evaluate are `architecture`."
                )
        resolve_device(self.device)
        checked = check_training_data(self, X, y, sample_weight, image_shape, self.ipc)
        self._check_refusals(layout=checked.layout)
        parametrization.check_layout(checked.layout)
        # The seed of the run is not known yet, and decides nothing that is checked here.
        hold_out(self.validation_fraction, checked.y, len(checked.classes), self.ipc, seed=0)
        check_class_weight(self.class_weight, checked.classes)
        self._check_classes(len(checked.classes))
        check_augmentation(self.augmentation, checked.layout.network_shape)
        return checked
