"""What all distillers share: validated data in, a distilled data set out, its evaluation."""

import platform
import warnings
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from math import isfinite, prod, sqrt
from numbers import Integral, Real
from time import perf_counter

import numpy as np
import sklearn
import torch
from sklearn.base import BaseEstimator
from sklearn.callback import CallbackSupportMixin, with_callbacks
from sklearn.model_selection import train_test_split

from . import __version__, coresets
from ._engine.data import as_tensor
from ._engine.learner import Learner
from ._engine.outer import Objective, OuterState, Record, gaussian_rows, initial_state, update
from ._engine.runtime import resolve_device
from ._engine.streams import Purpose, Streams
from ._layout import Layout
from ._output import DistillerOutputMixin
from ._seeds import draw_seed
from ._training_data import TrainingData, check_training_data, describe, training_data
from ._validation import Interval, StrOptions, check_image_shape, fit_context
from .distilled import DistilledDataset, EvaluationRecipe
from .evaluation import evaluate
from .exceptions import DivergenceError, DivergenceWarning
from .networks import ARCHITECTURES, check_network, network_factory, resolve_architecture

__all__ = ["BaseDistiller"]

# Skipped outer steps in a row after which a run gives up.
_MAX_FAILURES = 10
# Networks that judge an iterate on the held-out part of the training data. They are the same ones
# each time, so that iterates are compared on equal terms.
_VALIDATION_NETWORKS = 3


@dataclass(frozen=True)
class _Best:
    """The iterate that did best on the held-out part of the training data."""

    accuracy: float
    step: int
    samples: np.ndarray


@dataclass
class _Run:
    """A run: as far as it has come, and what is needed to go on with it."""

    seed: int
    state: OuterState
    history: dict[str, list] = field(default_factory=dict)
    best: _Best | None = None
    seconds: float = 0.0

    def append(self, record: Record) -> None:
        """Add an outer step to the history, with None for what is not finite (JSON has no NaN)."""
        row = {
            "loss": record.loss,
            "grad_norm": record.grad_norm,
            "clip_level": record.clip_level,
            "skipped": record.skipped,
            "seconds": record.seconds,
            **record.detail,
        }
        for name, value in row.items():
            self.history.setdefault(name, []).append(value if isfinite(value) else None)


class BaseDistiller(CallbackSupportMixin, DistillerOutputMixin, BaseEstimator):
    """Base class of the distillers.

    A subclass declares its parameters, those below among them, and implements `_make_objective`;
    it may add checks of parameters against each other in `_check_parameters`.

    Parameters
    ----------
    ipc, max_iter, batch_size, learning_rate, init, architecture, image_shape, n_networks, \
eval_steps, validation_fraction, validation_interval, n_iter_no_change, warm_start, random_state, \
device, verbose
        See `RaTBPTTDistiller`.
    """

    _parameter_constraints: dict = {
        "ipc": [Interval(Integral, 1, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "learning_rate": [Interval(Real, 0, None, closed="neither"), StrOptions({"auto"})],
        "init": [StrOptions({"gaussian", "real", "kmeans"}), DistilledDataset],
        "architecture": [StrOptions({"auto", *ARCHITECTURES}), callable],
        "image_shape": [tuple, list, None],
        "n_networks": [Interval(Integral, 1, None, closed="left")],
        "eval_steps": [Interval(Integral, 1, None, closed="left")],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither"), None],
        "validation_interval": [Interval(Integral, 1, None, closed="left")],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left"), None],
        "warm_start": ["boolean"],
        "random_state": ["random_state"],
        "device": [str, torch.device],
        "verbose": ["verbose"],
    }

    # sample_weight is asked for by name, but not a parameter in fit's signature: scikit-learn would
    # run its check of weights against repetition, which compares what transform returns,
    # (X_syn, y_syn), as if it were one array. tests/test_sample_weight.py makes that check instead.
    __metadata_request__fit = {"sample_weight": None}

    @abstractmethod
    def _make_objective(
        self, data: TrainingData, learner: Learner, y: torch.Tensor, streams: Streams
    ) -> Objective:
        """Return what the outer loop minimises."""

    def _check_parameters(self) -> None:
        """Raise ValueError for parameters that do not fit each other."""

    @with_callbacks
    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y, **metadata):
        """Distil a training set.

        Parameters
        ----------
        X : array-like of shape (n, features), (n, H, W), (n, C, H, W) or (n, H, W, C)
            Training samples: table rows, flat images with `image_shape`, or images.
        y : array-like of shape (n,)
            Class labels.
        **metadata : dict
            ``sample_weight``, array-like of shape (n,): weights of the real samples, in the loss
            and in the moments with which samples are standardised. Samples of weight 0 are left
            out. It takes part in metadata routing (``set_fit_request(sample_weight=True)``).

            ``start``, a `DistilledDataset` of the same classes: its samples come first, and those
            that ``ipc`` wants beyond them are made as `init` says.

            ``learning_rate_factors``, array-like of shape (ipc,): what multiplies the learning rate
            of the first sample of every class, of the second, and so on. With 0 a sample of
            ``start`` is kept as it is, bit for bit. These two are what `BoostedDistiller` needs of
            a distiller.

        Returns
        -------
        self : object

        Raises
        ------
        TypeError
            If any other metadata is passed.
        ValueError
            If a parameter or the data is unfit, before any work starts.
        DivergenceError
            If ten meta-gradients in a row are not finite. The fitted attributes are set, and hold
            the samples as they were before.
        """
        sample_weight = metadata.pop("sample_weight", None)
        start = metadata.pop("start", None)
        factors = metadata.pop("learning_rate_factors", None)
        if metadata:
            raise TypeError(
                "fit takes X, y, sample_weight, start and learning_rate_factors; "
                f"got {sorted(metadata)} as well."
            )
        factors = self._check_factors(factors)
        earlier = getattr(self, "_run", None) if self.warm_start else None
        columns = X.columns if hasattr(X, "iloc") and hasattr(X, "columns") else None
        X, y, weight, classes, layout = self.check_input(X, y, sample_weight=sample_weight)
        device = resolve_device(self.device)
        if earlier is not None:
            self._check_continuation(earlier, layout, classes)
        start = self._check_start(start, layout, classes)
        seed = draw_seed(self.random_state) if earlier is None else earlier.seed
        provenance = describe(X, classes[y], weight)
        X, y, weight, held_out = self._hold_out(X, y, weight, classes, seed)
        data = training_data(X, y, weight, classes, layout, device, provenance)
        learner = self._make_learner(layout, len(classes), device)
        streams = Streams(seed)
        synthetic_y = torch.arange(len(classes), device=device).repeat(self.ipc)
        objective = self._make_objective(data, learner, synthetic_y, streams)
        if earlier is None:
            samples = self._initial_samples(X, y, data, start, streams)
            samples = samples.to(device=device, dtype=learner.dtype)
            run = _Run(seed, initial_state(objective, samples))
        else:
            adam = torch.from_numpy(earlier.state.adam).to(device)
            run = replace(earlier, state=replace(earlier.state, adam=adam))

        def fitted_attributes():
            return {**self._fitted_attributes(run, data, start, factors), "_columns": columns}

        rates = self._learning_rates(factors, run.state.samples)
        try:
            self._iterate(objective, run, rates, X, classes[y], held_out, fitted_attributes)
        finally:
            # However the run ended, with an error or Ctrl-C as well, what it had is kept.
            if run.state.step > 0:
                vars(self).update(fitted_attributes())
                adam = run.state.adam.cpu().numpy()
                self._run = replace(run, state=replace(run.state, adam=adam))
        return self

    def check_input(self, X, y, *, sample_weight=None):
        """Check parameters and data as `fit` does before any work.

        Parameters
        ----------
        X, y, sample_weight : array-like
            As in `fit`.

        Returns
        -------
        X, y, sample_weight, classes, layout
            Arrays of the samples that take part, their class indices and weights (or None), the
            class labels, and the layout of a sample.

        Raises
        ------
        ValueError
            If a parameter or the data is unfit.
        """
        image_shape = check_image_shape(self.image_shape)
        if self.n_iter_no_change is not None and self.validation_fraction is None:
            raise ValueError(
                f"n_iter_no_change={self.n_iter_no_change} must come with a validation_fraction: "
                "without one nothing is validated."
            )
        self._check_parameters()
        resolve_device(self.device)
        return check_training_data(self, X, y, sample_weight, image_shape, self.ipc)

    def _check_continuation(self, earlier: _Run, layout: Layout, classes: np.ndarray) -> None:
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
        if self.max_iter < earlier.state.step:
            raise ValueError(
                f"max_iter={self.max_iter} must be at least {earlier.state.step}, the outer steps "
                "done in the earlier fit; warm_start=True continues it."
            )

    def _hold_out(self, X, y, weight, classes, seed):
        """Return training data and, with `validation_fraction`, a stratified part held out."""
        if self.validation_fraction is None:
            return X, y, weight, None
        try:
            rows, rows_out = train_test_split(
                np.arange(len(y)),
                test_size=self.validation_fraction,
                stratify=y,
                random_state=seed % 2**32,
            )
        except ValueError as error:
            raise ValueError(
                f"validation_fraction={self.validation_fraction} must leave samples of every class "
                f"on both sides: {error}"
            ) from error
        weight = None if weight is None else weight[rows]
        return X[rows], y[rows], weight, (X[rows_out], classes[y[rows_out]])

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
            parts.append(
                standardized(choose[self.init](X, y, np.arange(n_classes), n_fresh, rng)[0])
            )
        return torch.cat(parts)

    def _learning_rates(self, factors, samples: torch.Tensor) -> float | torch.Tensor:
        """Return the outer learning rate, or one for each sample if they differ."""
        rate = self._resolve_learning_rate(samples[0].numel())
        if factors is None:
            return rate
        factors = np.repeat(factors, len(samples) // self.ipc)
        factors = torch.from_numpy(factors).to(samples)
        return rate * factors.view(-1, *[1] * (samples.ndim - 1))

    def _make_learner(self, layout: Layout, n_classes: int, device: torch.device) -> Learner:
        factory = network_factory(self.architecture, layout.inner, n_classes)
        learner = Learner(factory, device)
        probe = torch.zeros(2, *layout.inner, device=device, dtype=learner.dtype)
        check_network(learner.module, probe, n_classes)
        return learner

    def _iterate(
        self, objective: Objective, run: _Run, rates, X, y, held_out, fitted_attributes: Callable
    ) -> None:
        """Do the outer steps; `run` holds the last good state at every moment."""
        began = perf_counter() - run.seconds
        # What callbacks may ask for; the attributes are computed only if one does.
        offer = {
            "estimator": self,
            "X": X,
            "y": y,
            "reconstruction_attributes": fitted_attributes,
        }
        n_steps = self.max_iter - run.state.step
        callbacks = self._init_callback_context(max_subtasks=n_steps)
        callbacks.call_on_fit_task_begin(**offer)
        for _ in range(n_steps):
            task = callbacks.subcontext(task_name="outer step")
            task.call_on_fit_task_begin(**offer)
            run.state, record = update(objective, run.state, rates)
            run.append(record)
            run.seconds = perf_counter() - began
            self._watch(run, record)
            if held_out is not None:
                self._validate(run, held_out, fitted_attributes)
            stop = task.call_on_fit_task_end(**offer)
            if stop or self._has_stagnated(run):
                break
        callbacks.call_on_fit_task_end(**offer)

    def _resolve_learning_rate(self, n_values: int) -> float:
        """Return the outer learning rate for samples of this many values."""
        if self.learning_rate != "auto":
            return self.learning_rate
        # A sample of norm 1 has values of about n ** -0.5, and a step of Adam moves each by about
        # the learning rate: this is a quarter of their size (Appendix C.1 on scale and rate).
        return 0.25 / sqrt(n_values)

    def _validate(self, run: _Run, held_out, fitted_attributes: Callable) -> None:
        """Every `validation_interval` steps, judge the samples and keep the best."""
        accuracy, step = None, run.state.step
        if step % self.validation_interval == 0 or step == self.max_iter:
            best, run.best = run.best, None
            current = fitted_attributes()["distilled_"]
            run.best = best
            accuracy = evaluate(
                current,
                *held_out,
                n_networks=_VALIDATION_NETWORKS,
                architecture=self.architecture,
                device=self.device,
            ).mean
            if best is None or accuracy > best.accuracy:
                run.best = _Best(accuracy, step, run.state.samples.cpu().numpy())
        run.history.setdefault("validation_accuracy", []).append(accuracy)

    def _has_stagnated(self, run: _Run) -> bool:
        return (
            self.n_iter_no_change is not None
            and run.best is not None
            and run.state.step - run.best.step >= self.n_iter_no_change
        )

    def _watch(self, run: _Run, record: Record) -> None:
        """Report the last outer step; warn about a skipped one, and give up after many."""
        step = run.state.step
        every = max(1, self.max_iter // 10) if self.verbose == 1 else 1
        if self.verbose and (step % every == 0 or step == self.max_iter):
            print(
                f"[{type(self).__name__}] outer step {step}/{self.max_iter}: "
                f"loss {record.loss:.4f}, gradient norm {record.grad_norm:.3g}, "
                f"{record.seconds:.2f} s"
            )
        if not record.skipped:
            return
        advice = (
            "Use a shorter window, a lower inner_lr, or check the scale of X (section 3 and "
            "appendix C.2 of the paper)."
        )
        if run.state.n_failures >= _MAX_FAILURES:
            raise DivergenceError(
                f"{_MAX_FAILURES} meta-gradients in a row were not finite, up to outer step "
                f"{step}. {advice} The samples from before are kept: transform() returns them."
            )
        if run.state.n_failures == 1:
            warnings.warn(
                f"The meta-gradient of outer step {step} was not finite; the step was skipped. "
                + advice,
                DivergenceWarning,
                stacklevel=4,
            )

    def _fitted_attributes(
        self, run: _Run, data: TrainingData, start: DistilledDataset | None, factors
    ) -> dict:
        """Return the fitted attributes of a run so far: NumPy and JSON-safe Python."""
        n_classes = len(data.classes)
        samples = run.state.samples if run.best is None else as_tensor(run.best.samples)
        samples = data.standardizer.inverse(samples.to(data.device)).cpu().numpy()
        samples = data.layout.to_caller(samples).astype(data.dtype)
        if start is not None and factors is not None:
            # Rounding on the way in and out would move what was not to move.
            kept = np.flatnonzero(np.repeat(factors[: start.ipc] == 0, n_classes))
            samples[kept] = start.X[kept]
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
        )
        provenance = {
            "method": type(self).__name__,
            "parameters": {k: _json_safe(v) for k, v in self.get_params(deep=False).items()},
            "seed": run.seed,
            "learning_rate": self._resolve_learning_rate(prod(data.layout.inner)),
            "n_iter": run.state.step,
            "best_iter": None if run.best is None else run.best.step,
            "n_skipped": run.state.step - run.state.n_updates,
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
            "classes_": data.classes,
            "device_": str(data.device),
            "n_iter_": run.state.step,
            "n_features_in_": prod(data.layout.outer),
            "history_": {name: list(values) for name, values in run.history.items()},
            "distilled_": DistilledDataset(
                X=samples,
                y=data.classes[np.tile(np.arange(n_classes), self.ipc)],
                classes=data.classes,
                ipc=int(self.ipc),
                recipe=recipe,
                provenance=provenance,
                feature_names=None if names is None else tuple(names),
            ),
        }


def _json_safe(value):
    if isinstance(value, str | bool | type(None)):
        return value
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real):
        return float(value)
    if isinstance(value, list | tuple):
        return [_json_safe(v) for v in value]
    return getattr(value, "__qualname__", None) or repr(value)
