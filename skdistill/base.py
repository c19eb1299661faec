"""What all distillers share: validated data in, a distilled data set out, its evaluation."""

import platform
import warnings
from abc import abstractmethod
from dataclasses import dataclass, field
from math import isfinite, prod
from numbers import Integral, Real
from time import perf_counter

import numpy as np
import sklearn
import torch
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.callback import CallbackSupportMixin, with_callbacks
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from . import __version__
from ._engine.data import RealData, Standardizer, as_tensor
from ._engine.learner import Learner
from ._engine.outer import Objective, OuterState, Record, gaussian_rows, initial_state, update
from ._engine.runtime import resolve_device
from ._engine.streams import Purpose, Streams
from ._layout import Layout, infer_layout
from ._validation import Interval, StrOptions, check_image_shape, fit_context
from .distilled import DistilledDataset, EvaluationRecipe
from .evaluation import EvaluationResult, evaluate
from .exceptions import DivergenceError, DivergenceWarning
from .networks import ARCHITECTURES, check_network, network_factory, resolve_architecture

__all__ = ["BaseDistiller"]

# Skipped outer steps in a row after which a run gives up.
_MAX_FAILURES = 10
# The data's mean and variance are summed over about this many values at a time.
_MOMENT_BLOCK = 2**22


@dataclass(frozen=True)
class TrainingData:
    """A validated training set and what belongs to it on the device.

    Parameters
    ----------
    device : torch.device
    layout : Layout
    classes : ndarray of shape (n_classes,)
    dtype : numpy.dtype
        Of the synthetic samples.
    mean, scale : ndarray
        One value a channel or feature.
    standardizer : Standardizer
    real : RealData
    """

    device: torch.device
    layout: Layout
    classes: np.ndarray
    dtype: np.dtype
    mean: np.ndarray
    scale: np.ndarray
    standardizer: Standardizer
    real: RealData


@dataclass
class _Run:
    """A run in progress; what `fit` stores when it ends, however it ends."""

    state: OuterState
    records: list[Record] = field(default_factory=list)


class BaseDistiller(
    CallbackSupportMixin, TransformerMixin, BaseEstimator, auto_wrap_output_keys=None
):
    """Base class of the distillers.

    A subclass declares its parameters, those below among them, and implements `_make_objective`;
    it may add checks of parameters against each other in `_check_parameters`.

    Parameters
    ----------
    ipc, max_iter, batch_size, learning_rate, architecture, image_shape, n_networks, eval_steps, \
random_state, device, verbose
        See `RaTBPTTDistiller`.
    """

    _parameter_constraints: dict = {
        "ipc": [Interval(Integral, 1, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "learning_rate": [Interval(Real, 0, None, closed="neither")],
        "architecture": [StrOptions({"auto", *ARCHITECTURES}), callable],
        "image_shape": [tuple, list, None],
        "n_networks": [Interval(Integral, 1, None, closed="left")],
        "eval_steps": [Interval(Integral, 1, None, closed="left")],
        "random_state": ["random_state"],
        "device": [str, torch.device],
        "verbose": ["verbose"],
    }

    @abstractmethod
    def _make_objective(
        self, data: TrainingData, learner: Learner, y: torch.Tensor, streams: Streams
    ) -> Objective:
        """Return what the outer loop minimises."""

    def _check_parameters(self) -> None:
        """Raise ValueError for parameters that do not fit each other."""

    @with_callbacks
    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y):
        """Distil a training set.

        Parameters
        ----------
        X : array-like of shape (n, features), (n, H, W), (n, C, H, W) or (n, H, W, C)
            Training samples: table rows, flat images with `image_shape`, or images.
        y : array-like of shape (n,)
            Class labels.

        Returns
        -------
        self : object

        Raises
        ------
        ValueError
            If a parameter or the data is unfit, before any work starts.
        DivergenceError
            If ten meta-gradients in a row are not finite. The fitted attributes are set, and hold
            the samples as they were before.
        """
        image_shape = check_image_shape(self.image_shape)
        self._check_parameters()
        device = resolve_device(self.device)
        X, y, classes, layout = self._check_training_data(X, y, image_shape)
        data = _on_device(X, y, classes, layout, device)
        learner = self._make_learner(layout, len(classes), device)
        seed = _draw_seed(self.random_state)
        streams = Streams(seed)

        n_synthetic = self.ipc * len(classes)
        synthetic_y = torch.arange(len(classes), device=device).repeat(self.ipc)
        generator = streams.torch(Purpose.SYNTHETIC, 0)
        synthetic_X = gaussian_rows(n_synthetic, layout.inner, generator)
        synthetic_X = synthetic_X.to(device=device, dtype=learner.dtype)
        objective = self._make_objective(data, learner, synthetic_y, streams)

        run = _Run(initial_state(objective, synthetic_X))
        began = perf_counter()

        def fitted_attributes():
            return self._fitted_attributes(run, data, seed, perf_counter() - began)

        try:
            self._iterate(objective, run, X, y, fitted_attributes)
        finally:
            # However the run ended, with an error or Ctrl-C as well, what it had is kept.
            vars(self).update(fitted_attributes())
        return self

    def _check_training_data(self, X, y, image_shape):
        """Return arrays, class indices, classes and layout, or raise a ValueError."""
        if isinstance(X, torch.Tensor):
            X = X.detach().cpu().numpy()
        if isinstance(y, torch.Tensor):
            y = y.detach().cpu().numpy()
        _refuse_ragged(X)
        _refuse_empty_categories(y)
        X, y = validate_data(self, X, y, allow_nd=True, dtype="numeric", ensure_min_samples=2)
        check_classification_targets(y)
        layout = infer_layout(X.shape, image_shape)
        classes, y = np.unique(y, return_inverse=True)
        if len(classes) < 2:
            raise ValueError(f"y must hold at least 2 classes; got 1 class, {classes[0]!r}.")
        if self.ipc * len(classes) > len(X):
            raise ValueError(
                f"ipc={self.ipc} must be at most {len(X) // len(classes)}: a distilled set of "
                f"{self.ipc} x {len(classes)} classes would be larger than the {len(X)} training "
                "samples."
            )
        return X, y, classes, layout

    def _make_learner(self, layout: Layout, n_classes: int, device: torch.device) -> Learner:
        factory = network_factory(self.architecture, layout.inner, n_classes)
        learner = Learner(factory, device)
        probe = torch.zeros(2, *layout.inner, device=device, dtype=learner.dtype)
        check_network(learner.module, probe, n_classes)
        return learner

    def _iterate(self, objective: Objective, run: _Run, X, y, fitted_attributes) -> None:
        """Do the outer steps; `run` holds the last good state at every moment."""
        # What callbacks may ask for; the attributes are computed only if one does.
        offer = {
            "estimator": self,
            "X": X,
            "y": y,
            "reconstruction_attributes": fitted_attributes,
        }
        callbacks = self._init_callback_context(max_subtasks=self.max_iter)
        callbacks.call_on_fit_task_begin(**offer)
        for _ in range(self.max_iter):
            task = callbacks.subcontext(task_name="outer step")
            task.call_on_fit_task_begin(**offer)
            run.state, record = update(objective, run.state, self.learning_rate)
            run.records.append(record)
            self._watch(run)
            if task.call_on_fit_task_end(**offer):
                break
        callbacks.call_on_fit_task_end(**offer)

    def _watch(self, run: _Run) -> None:
        """Report the last outer step; warn about a skipped one, and give up after many."""
        step, record = run.state.step, run.records[-1]
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

    def _fitted_attributes(self, run: _Run, data: TrainingData, seed: int, seconds: float) -> dict:
        """Return the fitted attributes of a run so far: NumPy and JSON-safe Python."""
        n_classes = len(data.classes)
        samples = data.standardizer.inverse(run.state.samples).cpu().numpy()
        architecture = resolve_architecture(self.architecture, data.layout.inner)
        recipe = EvaluationRecipe(
            layout=data.layout,
            mean=tuple(data.mean.tolist()),
            scale=tuple(data.scale.tolist()),
            architecture=architecture if isinstance(architecture, str) else None,
            steps=int(self.eval_steps),
            n_networks=int(self.n_networks),
            seed=seed,
        )
        provenance = {
            "method": type(self).__name__,
            "parameters": {k: _json_safe(v) for k, v in self.get_params(deep=False).items()},
            "seed": seed,
            "n_iter": run.state.step,
            "n_skipped": run.state.step - run.state.n_updates,
            "seconds": seconds,
            "device": str(data.device),
            "versions": {
                "skdistill": __version__,
                "torch": torch.__version__,
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
            "history_": _history(run.records),
            "distilled_": DistilledDataset(
                X=data.layout.to_caller(samples).astype(data.dtype),
                y=data.classes[np.tile(np.arange(n_classes), self.ipc)],
                classes=data.classes,
                ipc=int(self.ipc),
                recipe=recipe,
                provenance=provenance,
            ),
        }

    def transform(self, X=None):
        """Return the synthetic samples and their labels.

        Parameters
        ----------
        X : None
            Not used: a distiller changes the number of samples, so it ends a pipeline.

        Returns
        -------
        X_syn : ndarray of shape (n_classes * ipc, ...)
            Samples in the units, shape and layout of the training samples, of dtype float64 if
            those were, else float32. The first ``k * n_classes`` are ``k`` of every class.
        y_syn : ndarray of shape (n_classes * ipc,)
            Their labels.
        """
        check_is_fitted(self)
        return self.distilled_.X.copy(), self.distilled_.y.copy()

    def score(self, X, y) -> float:
        """Return the mean test accuracy of `n_networks` networks trained on the synthetic samples.

        Parameters
        ----------
        X : array-like of shape (n, ...)
            Test samples in the layout of the training samples.
        y : array-like of shape (n,)
            Test labels.

        Returns
        -------
        float
            Between 0 and 1.
        """
        return self.evaluate(X, y, steps=None).mean

    def evaluate(
        self, X, y, *, n_networks=None, steps="curve", architecture=None
    ) -> EvaluationResult:
        """Train fresh networks on the synthetic samples and test them.

        Parameters
        ----------
        X, y : array-like
            Test samples in the layout of the training samples, and their labels.
        n_networks : int or None, default=None
            Networks to train; None is the parameter `n_networks`.
        steps : int, sequence of int, None or "curve", default="curve"
            Steps of training; a sequence gives the accuracy at each, and the largest counts. None
            is the parameter `eval_steps`, and "curve" five counts up to it.
        architecture : str, callable or None, default=None
            Network family; None is the parameter `architecture`.

        Returns
        -------
        EvaluationResult
        """
        check_is_fitted(self)
        if len(self.distilled_.recipe.layout.outer) == 1:
            X = validate_data(self, X, reset=False, dtype="numeric")
        if isinstance(steps, str):
            if steps != "curve":
                raise ValueError(f"steps must be 'curve', integers or None; got {steps!r}.")
            steps = np.unique([max(1, self.eval_steps * k // 12) for k in (1, 2, 4, 8, 12)])
        return evaluate(
            self.distilled_,
            X,
            y,
            n_networks=n_networks,
            steps=steps,
            architecture=self.architecture if architecture is None else architecture,
            device=self.device,
        )

    def __sklearn_tags__(self):
        """Return scikit-learn's tags: labels are needed, images have more than two dimensions."""
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        tags.input_tags.three_d_array = True
        return tags


def _draw_seed(random_state) -> int:
    """Return a seed; None takes the operating system's entropy, never NumPy's global state."""
    if random_state is None:
        return int(np.random.SeedSequence().generate_state(1)[0])
    return int(check_random_state(random_state).randint(2**31 - 1))


def _refuse_ragged(X) -> None:
    """Raise a ValueError that says so if samples differ in shape (NumPy's names no culprit)."""
    if isinstance(X, list | tuple) or (isinstance(X, np.ndarray) and X.dtype == object):
        shapes = {np.shape(x) for x in X} if _shapes_known(X) else None
        if shapes is None or len(shapes) > 1:
            found = "ragged samples" if shapes is None else f"shapes {sorted(shapes)[:3]}"
            raise ValueError(f"X must hold samples of one shape; got {found}.")


def _shapes_known(X) -> bool:
    try:
        for x in X:
            np.shape(x)
    except ValueError:
        return False
    return True


def _refuse_empty_categories(y) -> None:
    """Raise a ValueError if a categorical ``y`` declares a class that has no samples."""
    categories = getattr(getattr(y, "dtype", None), "categories", None)
    if categories is None:
        return
    missing = [c for c in categories if not (y == c).any()]
    if missing:
        raise ValueError(
            f"y must have samples of every class that it declares; {missing} have none. "
            "Drop them with y.cat.remove_unused_categories()."
        )


def _on_device(X, y, classes, layout: Layout, device: torch.device) -> TrainingData:
    """Return the training set with its moments; ``X`` keeps its dtype, so bytes stay bytes."""
    inner = layout.to_engine(X)
    mean, scale = _moments(inner)
    standardizer = Standardizer(mean, scale, layout.inner, device, torch.float32)
    real = RealData(as_tensor(inner), as_tensor(y), standardizer, device)
    dtype = np.dtype(np.float64 if X.dtype == np.float64 else np.float32)
    return TrainingData(device, layout, classes, dtype, mean, scale, standardizer, real)


def _moments(X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and standard deviation a channel or feature; a constant one is given scale 1."""
    axes = (0, *range(2, X.ndim))
    block = max(1, _MOMENT_BLOCK // max(1, prod(X.shape[1:])))
    blocks = [slice(i, i + block) for i in range(0, len(X), block)]
    count = X.size // X.shape[1]
    mean = sum(X[b].sum(axis=axes, dtype=np.float64) for b in blocks) / count
    column = mean.reshape(-1, *[1] * (X.ndim - 2))
    variance = sum(((X[b] - column) ** 2).sum(axis=axes) for b in blocks) / count
    scale = np.sqrt(variance)
    # Rounding leaves a constant feature a tiny variance; dividing by its root would make noise.
    scale[scale <= 10 * np.finfo(np.float64).eps * np.abs(mean)] = 1.0
    scale[scale == 0] = 1.0
    return mean, scale


def _history(records: list[Record]) -> dict[str, list]:
    """Return one list a quantity, with None for what is not finite (JSON has no NaN)."""
    rows = [
        {
            "loss": r.loss,
            "grad_norm": r.grad_norm,
            "clip_level": r.clip_level,
            "skipped": r.skipped,
            "seconds": r.seconds,
            **r.detail,
        }
        for r in records
    ]
    names = rows[0] if rows else ()
    return {name: [_finite(row[name]) for row in rows] for name in names}


def _finite(x):
    return x if isfinite(x) else None


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
