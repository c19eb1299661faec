"""RaT-BPTT: random truncated backpropagation through time."""

from functools import partial
from numbers import Integral, Real

import numpy as np
import torch

from ._auto import AUTO, resolve_inner_loop
from ._engine.objective import UnrolledObjective
from ._engine.optimizers import SGD, Adam
from ._engine.runtime import chunk_size, pays_to_compile
from ._engine.steps import CompiledSteps, Steps
from ._engine.streams import Purpose
from ._validation import Interval, StrOptions
from ._warn import warn
from .augmentation import AUGMENTATIONS, Augmentation, check_augmentation
from .base import BaseDistiller
from .forecast import UNROLLED
from .hardness import AdaptiveSampler, HardnessSampler, scores_in_a_run
from .sampling import UniformSampler
from .windows import SCHEDULES, WindowSchedule, resolve_schedule

__all__ = ["RaTBPTTDistiller"]


class RaTBPTTDistiller(BaseDistiller):
    """Distil a data set by random truncated backpropagation through time (RaT-BPTT).

    Learns ``ipc`` synthetic samples a class such that a network trained on them for up to `unroll`
    steps does well on the real data. Every outer step trains a fresh network, differentiates a
    randomly placed window of its training exactly, and moves the samples down that meta-gradient
    (Algorithm 1 of Feng, Vedantam and Kempe, "Embarrassingly Simple Dataset Distillation").

    The defaults are made for a laptop and small images: minutes without a GPU. For the paper's
    results use its values, given with each parameter, on a GPU.

    Parameters
    ----------
    ipc : int, default=1
        Synthetic samples a class ("images per class"). The paper: 1, 10 and 50.
    window : int or "auto", default="auto"
        Inner steps that are differentiated, M. At most `unroll`. "auto" is 20 for tables and images
        of up to 8 pixels a side, 15 for larger ones; or a third of an `unroll` that is longer than
        three times that, or all of one that is shorter. Which values suit which size was measured
        at equal time, some minutes (``examples/reproduce/windows.py``); for runs of an hour on 28
        pixels and more, 40 of 60 steps do better. The paper: 60, 80 or 100 (Appendix C.2).
    unroll : int or "auto", default="auto"
        Inner steps that a network is trained for at most, T. "auto" is 30 for tables and images of
        up to 8 pixels a side, 45 for larger ones, and more in proportion to a longer `window`. The
        paper: 200, 250 or 300 (Appendix C.2); about three times the window.
    max_iter : int, default=200
        Outer steps. The paper: tens of thousands.
    batch_size : int, default=256
        Real samples in each outer step; at most all there are. The paper: 5000 for CIFAR, 3000 for
        CUB-200, 1000 for Tiny-ImageNet (Appendix C.1).
    class_weight : dict, "balanced" or None, default=None
        Weights of the classes, which multiply the ``sample_weight`` of `fit`, as in scikit-learn:
        ``{label: weight}``, where a class that is not named has 1; "balanced" lets each class count
        alike, however many samples it has. With None each counts by its samples, and the synthetic
        ones, though as many of each class, teach the networks the classes' frequencies in `y`.
    sampler : {"uniform"} or HardnessSampler, default="uniform"
        Which real samples make a batch: every one once an epoch, in a random order, or by how hard
        they are for networks trained on the current synthetic samples (Appendix D.2); see
        `skdistill.hardness.HardnessSampler`.
    inner_batch_size : int or None, default=None
        Synthetic samples a class in each inner step; None uses all.
    classes_per_step : int or None, default=None
        Classes whose synthetic samples take part in each inner step, drawn anew for every step;
        None uses all. At most all there are. It makes the steps of sets of many classes small; the
        real batch stays over all classes. The paper does not give it; its code has 50 of the 200
        classes of Tiny-ImageNet.
    learning_rate : float or "auto", default="auto"
        Of the outer Adam. "auto" is a quarter of the size of the initial values,
        ``0.25 / sqrt(number of values in a sample)``: 0.031 for 8 x 8 pixels, 0.009 for 28 x 28.
        The paper: 0.001 for 3 x 32 x 32 pixels (Appendix C.1), a quarter of "auto", for many more
        steps.
    inner_optimizer : {"adam", "sgd"}, default="adam"
        What trains the networks. The paper: Adam (section 4).
    inner_lr : float or "auto", default="auto"
        Learning rate of the inner optimiser. "auto" is, for Adam, 0.003 for tables and images of up
        to 8 pixels a side, measured together with the window, and 0.001 for larger ones or if
        `unroll` is more than 100 (the paper's, section 4); for SGD 0.01, as in BPTT by Deng and
        Russakovsky (2022).
    inner_momentum : float, default=0.9
        Momentum of the inner optimiser. Only used with ``inner_optimizer="sgd"``.
    inner_weight_decay : float, default=0.0
        L2 penalty that the inner optimiser adds to the gradient. The paper: none (Appendix C.1).
    schedule : str or WindowSchedule, default="rat-bptt"
        Where the window sits: "rat-bptt" (ends anywhere from `window` to `unroll`; Algorithm 1),
        "bptt" (all `unroll` steps; `window` is not used), "t-bptt" (the last `window` of `unroll`
        steps), "r-bptt" (all of a random number of steps), "early" (random, favours the first
        steps; section 4.3), "forward" and "backward" (moves when the loss stagnates; figure 6), or
        an object from `skdistill.windows` with parameters of its own.
    init : {"gaussian", "real", "kmeans"} or DistilledDataset, default="gaussian"
        What the samples start from: Gaussian noise of norm 1 (Appendix C.1; the paper found random
        and real starts comparable), random real samples, the centroids of k-means in every class
        (of standardised samples), or a set that was distilled before.
    parametrization : {"pixels"}, Pixels or LinearBasis, default="pixels"
        What is learned: the values of the samples, or bases that the samples are linear
        combinations of (section 4.2). See `skdistill.parametrization`.
    learn_labels : bool, default=False
        Whether labels are learned with the samples: one-hot to begin with, kept non-negative and
        not normalised (Appendix C.1). `transform` then returns a row of soft labels a sample. The
        paper: for 50 images a class of CIFAR-10, and for all sets of more classes.
    label_lr_scale : float, default=0.3
        What multiplies `learning_rate` for the labels. Only used with `learn_labels`. The paper
        does not give it; its code has 1 for a learning rate of 0.001, which for 3 x 32 x 32 pixels
        is a quarter of "auto".
    augmentation : {"dsa", "flip_rotate"}, Augmentation or None, default=None
        Differentiable augmentation of images: of the synthetic batch at every inner step, anew each
        time, and of the real batch once in every outer step. `score` and `evaluate` augment the
        synthetic samples in the same way while networks are trained on them, and nothing in the
        test. "flip_rotate": mirrored left to right or not, and turned by up to 15 degrees; "dsa":
        one of colour, cutout, flip, rotation, crop and scale for a batch; or an object from
        `skdistill.augmentation` with parameters of its own. The paper: flip and rotation "on the
        target set" (section 4), and in its evaluation what earlier work does (Appendix C.1). The
        default is None because it depends on the data which change leaves a sample in its class: a
        mirrored digit is none, and a table has no sides.
    architecture : {"auto", "convnet", "convnet_x4", "convnet_x8", "resnet18", "vgg11", \
"alexnet", "mlp"} or callable, default="auto"
        The networks: "auto" is "convnet" for images and "mlp" for tables; a callable is
        ``(input_shape, n_classes) -> torch.nn.Module``. The paper: a ConvNet of width 128 and depth
        3, or 4 for 64 x 64 pixels (section 4). See `skdistill.networks`.
    image_shape : tuple of int or None, default=None
        ``(channels, height, width)`` of the samples, needed if they are flat or if it is ambiguous.
    n_networks : int, default=10
        Networks over which `score` and `evaluate` average. The paper: 10 (section 4).
    eval_steps : int, default=300
        Steps of Adam, learning rate 0.001, that train each of them (the rate is the paper's,
        Appendix C.1; it does not give the steps).
    validation_fraction : float or None, default=None
        Fraction of the training data to hold out. If given, the samples of every
        `validation_interval`-th outer step are evaluated on it (three networks, the same ones each
        time), and the best are the result. None: the last are.
    validation_interval : int, default=25
        Outer steps between two evaluations on the held-out part.
    n_iter_no_change : int or None, default=None
        Stop after this many outer steps without a better held-out accuracy. Needs
        `validation_fraction`.
    warm_start : bool, default=False
        Whether `fit` continues the last one: with a larger `max_iter`, which counts from the start,
        the result is the same, bit for bit on the CPU, as if it had not been interrupted.
    checkpoint : path or None, default=None
        File in which the run is kept while it goes on, and after: all that is needed to go on
        exactly. If it is there, `fit` goes on from it, in another process as well, and the result
        is the same, bit for bit on the CPU, as if nothing had happened; at once if the run was at
        its end. Parameters and data must be those of the run: others are refused, but for
        `max_iter`, which may be larger, `device`, `compile`, `n_networks`, `verbose`, and
        `eval_steps` if nothing is validated. The file before the last one is kept as
        ``<checkpoint>.previous``, and used, with a warning, if the last is damaged. ``~`` is
        expanded, and a link is followed. While a fit writes to the file, another one with it is
        refused (by a lock on the hidden file ``.<checkpoint>.skdistill-lock``). None writes
        nothing.
    checkpoint_every : int or float, default=60.0
        Outer steps (an int) or seconds (a float) between two writings of `checkpoint`. It is
        written at the end as well, however `fit` ends: by an error, Ctrl-C, or SIGTERM, which in
        the main thread raises KeyboardInterrupt while a run with a checkpoint goes on.
    random_state : int, RandomState instance or None, default=None
        Determines the initial samples, the networks, windows, batches and augmentations. The same
        int gives the same bits on the CPU. Global random states are neither read nor changed.
    compile : bool or "auto", default="auto"
        Whether to compile the inner steps and their adjoints with ``torch.compile``: about twice as
        fast on a CPU, after half a minute to a minute of compilation; what cannot be compiled runs
        as it is, with a warning unless "auto" chose to compile. The results differ in the last
        bits. "auto" compiles on a CPU if the number and size of the steps make the run some minutes
        long.
    precision : {"auto", "float32", "bfloat16"}, default="auto"
        Of convolutions and matrix products in the runs; all else, and the evaluation, is in single
        precision. "bfloat16" is for GPUs whose convolutions are faster in it. On digits
        (``examples/benchmarks/bench_precision.py``) its meta-gradient is 14 to 19% away from the
        exact one, single precision's at most 5%. "auto" is therefore "float32".
    device : str, default="auto"
        Where to compute: "auto" is a CUDA GPU if there is one, else the CPU.
    verbose : int, default=0
        1 prints about ten lines a run, 2 a line an outer step. For a progress bar, call
        ``set_callbacks(sklearn.callback.ProgressBar())``.

    Attributes
    ----------
    distilled_ : DistilledDataset
        The synthetic samples with the recipe to evaluate them.
    history_ : dict of str to list
        One value an outer step: "loss" (on the real batch), "grad_norm" (of the meta-gradient,
        before clipping), "clip_level", "skipped", "seconds", "start" and "window" (in inner
        steps), and with `validation_fraction` "validation_accuracy". None stands for values that
        were not finite or not measured.
    n_iter_ : int
        Outer steps done.
    window_, unroll_ : int
        What `window` and `unroll` stood for.
    inner_lr_ : float
        What `inner_lr` stood for.
    classes_ : ndarray of shape (n_classes,)
        The class labels.
    device_ : str
        Where the run was computed.
    n_features_in_ : int
        Number of features, or of values in an image, of a sample.

    Notes
    -----
    Samples are standardised inside (a channel or a feature), start as Gaussian noise of norm 1
    (Appendix C.1) and come back in the units of `X`. Meta-gradients are clipped at twice their
    norm's moving average (Appendix C.1); one that is not finite is skipped and counted.

    To scikit-learn a distiller is a classifier without `predict`: `cross_val_score` and searches
    stratify their folds and take the mean of `score`. For ``scoring="accuracy"`` and whatever else
    predicts, use `DistilledClassifier`.

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

    _advice = (
        "Use a shorter window, a lower inner_lr, or check the scale of X (section 3 and appendix "
        "C.2 of the paper)."
    )
    _hints = UNROLLED

    _parameter_constraints: dict = {
        **BaseDistiller._parameter_constraints,
        "window": [Interval(Integral, 1, None, closed="left"), StrOptions({AUTO})],
        "unroll": [Interval(Integral, 1, None, closed="left"), StrOptions({AUTO})],
        "sampler": [StrOptions({"uniform"}), HardnessSampler],
        "inner_batch_size": [Interval(Integral, 1, None, closed="left"), None],
        "classes_per_step": [Interval(Integral, 1, None, closed="left"), None],
        "inner_optimizer": [StrOptions({"adam", "sgd"})],
        "inner_lr": [Interval(Real, 0, None, closed="neither"), StrOptions({AUTO})],
        "inner_momentum": [Interval(Real, 0, 1, closed="left")],
        "inner_weight_decay": [Interval(Real, 0, None, closed="left")],
        "schedule": [StrOptions(set(SCHEDULES)), WindowSchedule],
        "augmentation": [StrOptions(set(AUGMENTATIONS)), Augmentation, None],
        "compile": ["boolean", StrOptions({"auto"})],
        "precision": [StrOptions({"auto", "float32", "bfloat16"})],
    }

    def __init__(
        self,
        ipc=1,
        *,
        window="auto",
        unroll="auto",
        max_iter=200,
        batch_size=256,
        class_weight=None,
        sampler="uniform",
        inner_batch_size=None,
        classes_per_step=None,
        learning_rate="auto",
        inner_optimizer="adam",
        inner_lr="auto",
        inner_momentum=0.9,
        inner_weight_decay=0.0,
        schedule="rat-bptt",
        init="gaussian",
        parametrization="pixels",
        learn_labels=False,
        label_lr_scale=0.3,
        augmentation=None,
        architecture="auto",
        image_shape=None,
        n_networks=10,
        eval_steps=300,
        validation_fraction=None,
        validation_interval=25,
        n_iter_no_change=None,
        warm_start=False,
        checkpoint=None,
        checkpoint_every=60.0,
        random_state=None,
        compile="auto",
        precision="auto",
        device="auto",
        verbose=0,
    ):
        self.ipc = ipc
        self.window = window
        self.unroll = unroll
        self.max_iter = max_iter
        self.batch_size = batch_size
        self.class_weight = class_weight
        self.sampler = sampler
        self.inner_batch_size = inner_batch_size
        self.classes_per_step = classes_per_step
        self.learning_rate = learning_rate
        self.inner_optimizer = inner_optimizer
        self.inner_lr = inner_lr
        self.inner_momentum = inner_momentum
        self.inner_weight_decay = inner_weight_decay
        self.schedule = schedule
        self.init = init
        self.parametrization = parametrization
        self.learn_labels = learn_labels
        self.label_lr_scale = label_lr_scale
        self.augmentation = augmentation
        self.architecture = architecture
        self.image_shape = image_shape
        self.n_networks = n_networks
        self.eval_steps = eval_steps
        self.validation_fraction = validation_fraction
        self.validation_interval = validation_interval
        self.n_iter_no_change = n_iter_no_change
        self.warm_start = warm_start
        self.checkpoint = checkpoint
        self.checkpoint_every = checkpoint_every
        self.random_state = random_state
        self.compile = compile
        self.precision = precision
        self.device = device
        self.verbose = verbose

    def _resolve(self, layout):
        return resolve_inner_loop(
            layout.inner,
            self.window,
            self.unroll,
            self.inner_lr,
            self.inner_optimizer,
            resolve_schedule(self.schedule).uses_window,
        )

    def check_input(self, X, y, *, sample_weight=None):
        """Check parameters and data as `fit` does before any work; see `BaseDistiller`."""
        checked = super().check_input(X, y, sample_weight=sample_weight)
        *_, classes, layout = checked
        if self.classes_per_step is not None and self.classes_per_step > len(classes):
            raise ValueError(
                f"classes_per_step={self.classes_per_step} must be at most {len(classes)}, the "
                "number of classes in y."
            )
        check_augmentation(self.augmentation, layout.inner)
        return checked

    def _check_parameters(self):
        both_given = AUTO not in (self.window, self.unroll)
        uses_window = resolve_schedule(self.schedule).uses_window
        if both_given and uses_window and self.window > self.unroll:
            raise ValueError(f"window={self.window} must be at most unroll={self.unroll}.")
        if self.inner_batch_size is not None and self.inner_batch_size > self.ipc:
            raise ValueError(
                f"inner_batch_size={self.inner_batch_size} must be at most ipc={self.ipc}: it "
                "counts synthetic samples a class."
            )
        if not isinstance(self.sampler, str):
            self.sampler.validate()
        check_augmentation(self.augmentation)

    def _make_learner(self, layout, n_classes, device):
        autocast = torch.bfloat16 if self.precision == "bfloat16" else None
        return super()._make_learner(layout, n_classes, device, autocast)

    def _make_objective(self, data, learner, streams):
        shape = data.layout.inner
        augmentation = check_augmentation(self.augmentation)
        make_steps = Steps
        if self._compiles(learner, data):
            # "auto" has promised nothing; of several processes one speaks.
            speaks = self.compile != "auto" and streams.rank == 0
            make_steps = partial(CompiledSteps, report=_warn_of_eager_steps if speaks else None)
        # What depends on its whole batch, as batch normalisation does, cannot be taken in chunks.
        whole = learner.couples_samples(shape)
        return UnrolledObjective(
            steps=make_steps(
                learner,
                self._make_inner_optimizer(),
                None if whole else chunk_size(learner, shape, synthetic=True),
                augment=None if augmentation is None else augmentation.apply,
            ),
            data=data.real,
            sampler=self._make_sampler(data, learner, streams),
            schedule=resolve_schedule(self.schedule),
            window=self.window,
            unroll=self.unroll,
            n_classes=len(data.classes),
            inner_batch_size=self.inner_batch_size,
            classes_per_step=self.classes_per_step,
            chunk=None if whole else chunk_size(learner, shape),
            streams=streams,
            draw=None if augmentation is None else augmentation.draw,
        )

    def _rehearse(self, objective, state):
        super()._rehearse(objective, state)
        memory, unroll = state.memory, objective.unroll
        # What is drawn is thrown away: the numbers of a step depend on nothing before it.
        rng = np.random.default_rng(0)
        start, window = objective.schedule.draw(rng, objective.window, unroll, memory["schedule"])
        whole = isinstance(start, Integral) and isinstance(window, Integral)
        if not whole or window < 1 or start not in range(unroll - window + 1):
            raise ValueError(
                f"its memory must give a window within {unroll} steps; got {start=}, {window=}."
            )
        objective.sampler.batch(state.step, memory["sampler"])

    def _make_sampler(self, data, learner, streams):
        def generator(step):
            return streams.numpy(Purpose.REAL_BATCH, step)

        # Its numbers are those of epochs, not of steps.
        uniform = UniformSampler(len(data.real), self.batch_size, generator)
        if isinstance(self.sampler, str):
            return uniform

        def score(X, y, step):
            return scores_in_a_run(
                learner,
                X,
                y,
                data.real,
                len(data.classes),
                self.sampler.n_networks,
                self.sampler.steps,
                streams.integer(Purpose.HARDNESS, step),
            )

        return AdaptiveSampler(
            self.sampler, uniform, len(data.real), self.batch_size, generator, score
        )

    def _compiles(self, learner, data) -> bool:
        if self.compile != "auto":
            return self.compile
        per_class = self.inner_batch_size or self.ipc
        # On average (unroll + window) / 2 steps, and an adjoint costs about three.
        n_steps = self.max_iter * ((self.unroll + self.window) / 2 + 3 * self.window)
        batch = (self.classes_per_step or len(data.classes)) * per_class
        return pays_to_compile(learner, data.layout.inner, batch, n_steps)

    def _make_inner_optimizer(self):
        if self.inner_optimizer == "adam":
            return Adam(lr=self.inner_lr, weight_decay=self.inner_weight_decay)
        return SGD(
            lr=self.inner_lr, momentum=self.inner_momentum, weight_decay=self.inner_weight_decay
        )


def _warn_of_eager_steps(reason: str) -> None:
    warn(
        "compile=True: some or all steps could not be compiled and run eagerly, slower but right. "
        f"The reason: {reason}. A C++ compiler may be missing, or the network may have an "
        "operation that cannot be compiled; compile=False does without.",
        UserWarning,
    )
