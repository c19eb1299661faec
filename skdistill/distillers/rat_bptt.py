"""RaT-BPTT: random truncated backpropagation through time."""

from collections.abc import Callable
from functools import partial
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, Literal, cast

import torch

from .._data.validation import Interval, StrOptions
from .._data.warn import warn
from .._engine.inner_batches import InnerBatches
from .._engine.methods.base import Problem
from .._engine.methods.unrolled import Sampler, Unrolled
from .._engine.optimizers import SGD, Adam, InnerOptimizer
from .._engine.outer_optimizers import (
    Clip,
    MovingAverageClip,
    NormClip,
    OuterAdam,
    OuterSGD,
    RobustClip,
)
from .._engine.runtime import pays_to_compile, synthetic_chunk
from .._engine.steps import CompiledSteps, Steps
from ..forecast import Hints
from ..networks import Architecture, ArchitectureName
from ..paper import AT_BPTT, BPTT, LINBA, RAT_BPTT
from ..sampling import BatchStrategy, uniform_batches
from ..windows import SCHEDULES, ScheduleName, WindowSchedule, resolve_schedule
from ._auto import AUTO, is_narrow, resolve_inner_architecture, resolve_inner_loop
from ._parameter_checks import check_classes_per_step, check_inner_batch_size, check_rate
from ._parameters import param
from .base import BaseDistiller

__all__ = ["RaTBPTTDistiller"]


class RaTBPTTDistiller(BaseDistiller):
    """Distill a data set by random truncated backpropagation through time (RaT-BPTT).

    Learns ``ipc`` synthetic samples per class such that a network trained on them for up to
    `unroll` steps does well on the real data. Every outer step trains a fresh network,
    differentiates a randomly placed window of its training exactly, and moves the samples down that
    meta-gradient (Algorithm 1 of [Feng23]_).

    The defaults are made for a laptop and small images: minutes without a GPU. For the results of
    [Feng23] use its values, which are given with each parameter, on a GPU.

    Parameters
    ----------
    {parameters}

    Attributes
    ----------
    distilled_ : DistilledDataset
        The synthetic samples with the recipe to evaluate them.
    history_ : dict of str to list
        One value per outer step: "loss" (on the real batch), "grad_norm" (of the meta-gradient,
        before clipping), "clip_level", "skipped", "seconds", "start" and "window" (in inner
        steps), with `schedule` "at-bptt" "batch_accuracy" (on the real batch), and with
        `validation_fraction` "validation_accuracy". None stands for values that
        were not finite or not measured.
    window_, unroll_ : int
        The values of `window` and `unroll` that were used.
    inner_lr_ : float
        The value of `inner_lr` that was used.
    clip_norm_ : float, str or None
        The value of `clip_norm` that was used, "robust" for "auto".
    {fitted}

    See Also
    --------
    BoostedDistiller : Distills block by block, so that every prefix is a good set.
    DistributionMatchingDistiller : Matches distributions; faster, for many samples per class.

    Notes
    -----
    Samples are standardized internally (per channel or feature), start as Gaussian noise of norm 1
    [Feng23, C.1] and come back in the units of `X`. Meta-gradients are clipped at twice a moving
    average of their norms; one that is not finite is skipped and counted.

    What differs from the code of [Feng23]_: the average is that of the norms before, as they were
    clipped (`clip_norm`); with learned labels, the norm, its moving average and
    the clipping are those of the samples' gradient alone there, and that of the labels is not
    clipped; here samples and labels have one norm, and are clipped together.

    BPTT as [Deng22]_ ran it, through all steps of SGD with momentum, is `schedule` "bptt" with
    other optimizers. ``from_paper("cifar10", ipc, paper="bptt")`` has it for 1, 10 and 50 samples
    per class, and ``from_paper("cifar10", 1, paper="linba")`` for 115 samples per class that are
    combinations of 16 bases of half the height and width, which take the storage of one. The values
    are those of the two commands in its code's README, one for each, and of its configuration file;
    what these leave open is ours. The command for BPTT whitens the images, so put
    ``ZCAWhitener(0.1)`` in front; that for LinBa does not. The code puts `augmentation` in by hand:
    ``OneOf([Flip(), Rotation()])``. Its real batches have 64 samples of each class, while here as
    many are drawn from all classes together. The penalty of the coefficients in the command for
    LinBa has no effect there: the parameters of the networks, by which the loss is differentiated
    first, are not in it. Bases and coefficients start as there. But samples start uniform (Xavier)
    there, with a norm of 1.41 (1.31 for 50 per class), and here Gaussian, with norm 1: in these
    units the rate of 0.1 and the clipping at 2 become a `learning_rate` of 0.05 and a `clip_norm`
    of 2.8.

    ``from_paper(dataset, 10, paper="at-bptt")`` has the commands of the README of AT-BPTT's code,
    for CIFAR-10, CIFAR-100 and Tiny-ImageNet; see `skdistill.windows.StageAwareWindow`.

    References
    ----------
    .. [Feng23] Y. Feng, R. Vedantam and J. Kempe, "Embarrassingly Simple Dataset Distillation",
       arXiv:2311.07025.
    .. [Deng22] Z. Deng and O. Russakovsky, "Remember the Past: Distilling Datasets into Addressable
       Memories for Neural Networks", NeurIPS 2022. Its code is
       github.com/princetonvisualai/RememberThePast-DatasetDistillation.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skdistill import RaTBPTTDistiller
    >>> X, y = load_digits(return_X_y=True)
    >>> distiller = RaTBPTTDistiller(
    ...     ipc=1, image_shape=(1, 8, 8), max_iter=2, window=2, unroll=4, random_state=0
    ... ).fit(X, y)
    >>> X_syn, y_syn = distiller.transform()
    >>> X_syn.shape, y_syn.tolist()
    ((10, 64), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
    """

    window: int | Literal["auto"] = param(
        default=AUTO,
        constraints=[Interval(Integral, 1, None, closed="left"), StrOptions({AUTO})],
        kind='int or "auto"',
        doc="""Inner steps that are differentiated, M. At most `unroll`. "auto" is 20 for tables,
        for images of up to 8 pixels per side, and through ConvNets of width 32 or less, and 15 for
        larger images through others; or, if `unroll` is given, a third of it where that is more,
        and all of an `unroll` that is shorter. Tables and images of 8, 16, 28 and 32 pixels per
        side were measured, at equal time, in some minutes (``examples/reproduce/windows.py`` and
        ``settings.py``); other sizes were not, and go by the same limits. For runs of an hour on 28
        pixels and more, through wide networks, 40 of 60 steps do better. [Feng23, C.2]: 60, 80 or
        100.""",
    )
    unroll: int | Literal["auto"] = param(
        default=AUTO,
        constraints=[Interval(Integral, 1, None, closed="left"), StrOptions({AUTO})],
        kind='int or "auto"',
        doc="""Inner steps that a network is trained for at most, T. "auto" is 30 where `window` is
        20, and 45 where it is 15, and more in proportion to a longer `window`. [Feng23, C.2]: 200,
        250 or 300; about three times the window.""",
    )
    sampler: Literal["uniform"] | BatchStrategy = param(
        default="uniform",
        constraints=[StrOptions({"uniform"}), BatchStrategy],
        kind='{"uniform"}, HardnessSampler or KMeansSampler',
        doc="""Which real samples make a batch: every sample once per epoch, in a random order;
        samples chosen by how hard they are for networks trained on the current synthetic ones
        [Feng23, D.2], see `skdistill.hardness.HardnessSampler`; or samples that represent their
        classes, see `skdistill.sampling.KMeansSampler`.""",
    )
    inner_batch_size: int | None = param(
        default=None,
        constraints=[Interval(Integral, 1, None, closed="left"), None],
        kind="int or None",
        doc="Synthetic samples per class in each inner step; None uses all.",
    )
    classes_per_step: int | None = param(
        default=None,
        constraints=[Interval(Integral, 1, None, closed="left"), None],
        kind="int or None",
        doc="""Classes whose synthetic samples take part in each inner step, drawn anew for every
        step; None uses all. At most the number of classes. It keeps steps small if there are many
        classes; the real batch is drawn from all classes in any case. [Feng23] does not give it;
        its code has 50 of the 200 classes of Tiny-ImageNet.""",
    )
    inner_optimizer: Literal["adam", "sgd"] = param(
        default="adam",
        constraints=[StrOptions({"adam", "sgd"})],
        kind='{"adam", "sgd"}',
        doc="Optimizer of the networks. [Feng23, section 4]: Adam.",
    )
    inner_lr: float | Literal["auto"] = param(
        default=AUTO,
        constraints=[Interval(Real, 0, None, closed="neither"), StrOptions({AUTO})],
        kind='float or "auto"',
        doc="""Learning rate of the inner optimizer. "auto" is, for Adam, 0.003 where "auto" stands
        for a `window` of 20, with which it was measured, and 0.001 otherwise or if `unroll` is more
        than 100 ([Feng23, section 4]); for SGD 0.01, as in BPTT by Deng and Russakovsky (2022).""",
    )
    inner_momentum: float = param(
        default=0.9,
        constraints=[Interval(Real, 0, 1, closed="left")],
        kind="float",
        doc='Momentum of the inner optimizer. Only used with ``inner_optimizer="sgd"``.',
    )
    outer_optimizer: Literal["adam", "sgd"] = param(
        default="adam",
        constraints=[StrOptions({"adam", "sgd"})],
        kind='{"adam", "sgd"}',
        doc="""What moves the samples: Adam [Feng23, C.1], or gradient descent with momentum, for
        which `learning_rate` must be a number: 0.1 in [Deng22].""",
    )
    outer_momentum: float = param(
        default=0.5,
        constraints=[Interval(Real, 0, 1, closed="left")],
        kind="float",
        doc="""Momentum of the outer optimizer. Only used with ``outer_optimizer="sgd"``. [Deng22]:
        0.5.""",
    )
    clip_norm: float | Literal["auto", "robust", "feng23"] | None = param(
        default=AUTO,
        constraints=[
            Interval(Real, 0, None, closed="neither"),
            StrOptions({AUTO, "robust", "feng23"}),
            None,
        ],
        kind='float, {"auto", "robust", "feng23"} or None',
        doc="""The norm at which the whole meta-gradient is clipped. "feng23" is twice the moving
        average of its norm [Feng23, C.1], with this one in it, as in the code of [Feng23]. Of a
        single norm that is a thousand times the usual one, two hundred times the usual one get
        through then. "robust" takes twice the moving average of the norms before, as they were
        clipped: of that, up to twice the usual norm gets through, in the direction of the large
        one, unless it is the first of all. "auto" is "robust". A number is the same in all steps, 2
        in [Deng22]; None clips nothing.""",
    )
    shared_augmentation: bool = param(
        default=False,
        constraints=["boolean"],
        kind="bool",
        doc="""Whether all samples of an outer step, in all inner steps and in the real batch, are
        augmented by the same random numbers, as in [Deng22]: all are mirrored or none is, all turn
        by the same angle. The synthetic samples are then augmented once in an outer step instead
        of once in an inner step. With False every sample has numbers of its own in every step.
        Only used with `augmentation`; networks of an evaluation learn from samples with numbers of
        their own in any case.""",
    )
    inner_weight_decay: float = param(
        default=0.0,
        constraints=[Interval(Real, 0, None, closed="left")],
        kind="float",
        doc="""L2 penalty that the inner optimizer adds to the gradient. [Feng23, C.1]: none.""",
    )
    inner_architecture: Literal["auto"] | ArchitectureName | Architecture | None = param(
        default=AUTO,
        doc="""The networks to distill through. "auto" is, for images of more than 16 pixels per
        side, if `architecture` is "convnet" (or "auto", which it is for them), a ConvNet of width
        32 (one channel) or 16 (several), with which a CPU does many more outer steps in the same
        time; otherwise, and with None, they are those of `architecture`, which `score`, `evaluate`
        and validation during a run train in any case. Narrow ones were measured on 28 pixels (one
        channel) and 32 (three); other sizes of more than 16 take the same. For a long run on a
        GPU, take None.
        [Feng23] has no others than `architecture`.""",
    )
    schedule: ScheduleName | WindowSchedule = param(
        default="rat-bptt",
        constraints=[StrOptions(set(SCHEDULES)), WindowSchedule],
        kind="str or WindowSchedule",
        doc="""Where the window sits: "rat-bptt" (ends anywhere from `window` to `unroll`;
        [Feng23, Algorithm 1]), "bptt" (all `unroll` steps; `window` is not used), "t-bptt" (the
        last `window` of `unroll` steps), "r-bptt" (all of a random number of steps), "early"
        (random, favors the first steps; [Feng23, section 4.3]), "forward" and "backward" (moves
        when the loss stagnates; [Feng23, figure 6]), "at-bptt" (where gradients are large at first,
        then anywhere, then where they are small; see `skdistill.windows.StageAwareWindow`), or an
        object from `skdistill.windows` with
        parameters of its own.""",
    )
    compile: bool | Literal["auto"] = param(
        default="auto",
        constraints=["boolean", StrOptions({"auto"})],
        kind='bool or "auto"',
        doc="""Whether to compile the inner steps and their adjoints with ``torch.compile``, which
        takes half a minute to a minute. On a CPU a network of any layers is then about twice as
        fast. ``"convnet"`` and, with Adam, ``"mlp"`` are not: the functions that this package has
        for them are faster, from the first step (they need a C compiler, like compiled steps).
        Steps that cannot be compiled run uncompiled, with a warning unless "auto" chose to compile.
        The results differ in the last bits. "auto" compiles on a CPU if the number of steps repays
        it.""",
        may_change=True,
    )
    precision: Literal["auto", "float32", "bfloat16"] = param(
        default="auto",
        constraints=[StrOptions({"auto", "float32", "bfloat16"})],
        kind='{"auto", "float32", "bfloat16"}',
        doc="""Precision of convolutions and matrix products in the runs; all else, and the
        evaluation, is in single precision. "bfloat16" is for GPUs whose convolutions are faster in
        it. Its meta-gradient is farther from the exact one than that of single precision
        (``examples/benchmarks/bench_precision.py``). "auto" is therefore "float32".""",
    )

    if TYPE_CHECKING:
        # What `fit` sets. Annotations would make parameters of them.
        @property
        def window_(self) -> int:
            """What `window` stood for."""
            raise NotImplementedError

        @property
        def unroll_(self) -> int:
            """What `unroll` stood for."""
            raise NotImplementedError

        @property
        def inner_lr_(self) -> float:
            """What `inner_lr` stood for."""
            raise NotImplementedError

        @property
        def clip_norm_(self) -> float | str | None:
            """What `clip_norm` stood for."""
            raise NotImplementedError

    _derivatives = 2
    _advice = (
        "Use a shorter window, a lower inner_lr, or check the scale of X ([Feng23, section 3 and "
        "C.2])."
    )
    _hints = Hints(
        states="window (the states of its steps)",
        activations="ipc, inner_batch_size or classes_per_step (activations of synthetic samples)",
        real="batch_size (the real samples' activations)",
        time=("window and unroll together", "batch_size", "the width of the networks"),
        step="a fresh network's training of up to unroll steps, window of them differentiated",
    )
    _paper = RAT_BPTT
    _other_papers = {"bptt": BPTT, "linba": LINBA, "at-bptt": AT_BPTT}

    def _check_parameters(self) -> None:
        uses_window = resolve_schedule(self.schedule).uses_window
        window, unroll = self.window, self.unroll
        if window != AUTO and unroll != AUTO and uses_window and window > unroll:
            raise ValueError(f"window={window} must be at most unroll={unroll}.")
        check_inner_batch_size(self.inner_batch_size, self.ipc)
        check_rate(self.outer_optimizer, self.learning_rate, "0.1 in [Deng22]")
        if not isinstance(self.sampler, str):
            self.sampler.validate()

    def _check_classes(self, n_classes: int) -> None:
        check_classes_per_step(self.classes_per_step, n_classes)

    def _resolve(self, sample_shape: tuple[int, ...]) -> dict[str, Any]:
        schedule = resolve_schedule(self.schedule)
        inner = resolve_inner_architecture(self.inner_architecture, self.architecture, sample_shape)
        resolved = resolve_inner_loop(
            sample_shape,
            self.window,
            self.unroll,
            self.inner_lr,
            self.inner_optimizer,
            schedule.uses_window,
            is_narrow(self.architecture if inner is None else inner),
        )
        schedule.check(resolved["window"], resolved["unroll"])
        clip_norm = "robust" if self.clip_norm == AUTO else self.clip_norm
        return {**resolved, "clip_norm": clip_norm}

    def _autocast(self) -> torch.dtype | None:
        return torch.bfloat16 if self.precision == "bfloat16" else None

    def _make_method(self, problem: Problem) -> Unrolled:
        learner, augmentation = problem.networks, problem.augmentation
        window, unroll, _ = self._inner_loop()
        make_steps: Callable[..., Steps] = Steps
        if self._compiles(problem):
            # "auto" has promised nothing; only one of several processes warns.
            speaks = self.compile != "auto" and problem.rngs.rank == 0
            make_steps = partial(CompiledSteps, report=_warn_of_eager_steps if speaks else None)
        return Unrolled(
            steps=make_steps(
                learner,
                self._make_inner_optimizer(),
                synthetic_chunk(learner, problem.shape, problem.chunk),
                augment=None if augmentation is None else augmentation.apply,
            ),
            sampler=self._make_sampler(problem),
            schedule=resolve_schedule(self.schedule),
            window=window,
            unroll=unroll,
            batches=InnerBatches(self.inner_batch_size, self.classes_per_step),
            shared_augmentation=self.shared_augmentation,
            optimizer=(
                OuterAdam()
                if self.outer_optimizer == "adam"
                else OuterSGD(momentum=self.outer_momentum)
            ),
            clip=self._make_clip(),
        )

    def _make_clip(self) -> Clip | None:
        if self.clip_norm is None:
            return None
        if isinstance(self.clip_norm, str):
            return MovingAverageClip() if self.clip_norm == "feng23" else RobustClip()
        return NormClip(float(self.clip_norm))

    def _inner_loop(self) -> tuple[int, int, float]:
        """Return `window`, `unroll` and `inner_lr`, of which `_resolve` has made numbers."""
        return cast("tuple[int, int, float]", (self.window, self.unroll, self.inner_lr))

    def _make_sampler(self, problem: Problem) -> Sampler:
        if isinstance(self.sampler, str):
            return uniform_batches(problem, self.batch_size)
        return self.sampler.during(problem, self.batch_size)

    def _compiles(self, problem: Problem) -> bool:
        if self.compile != "auto":
            return bool(self.compile)
        window, unroll, _ = self._inner_loop()
        per_class = self.inner_batch_size or self.ipc
        # On average (unroll + window) / 2 steps, and an adjoint costs about three.
        n_steps = self.max_iter * ((unroll + window) / 2 + 3 * window)
        batch = (self.classes_per_step or problem.rows.n_classes) * per_class
        optimizer = self._make_inner_optimizer()
        return pays_to_compile(problem.networks, optimizer, problem.shape, batch, n_steps)

    def _make_inner_optimizer(self) -> InnerOptimizer:
        *_, lr = self._inner_loop()
        if self.inner_optimizer == "adam":
            return Adam(lr=lr, weight_decay=self.inner_weight_decay)
        return SGD(lr=lr, momentum=self.inner_momentum, weight_decay=self.inner_weight_decay)


def _warn_of_eager_steps(reason: str) -> None:
    warn(
        "compile=True: some or all steps could not be compiled and run eagerly, slower but right. "
        f"The reason: {reason}. A C++ compiler may be missing, or the network may have an "
        "operation that cannot be compiled; compile=False does without.",
        UserWarning,
    )
