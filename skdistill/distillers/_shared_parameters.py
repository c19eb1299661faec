"""The parameters that all distillers have, each declared once."""

import os
from collections.abc import Mapping
from numbers import Integral, Real
from typing import Any, Literal

import numpy as np
import torch

from .._data.validation import Interval, StrOptions
from ..augmentation import AUGMENTATIONS, Augmentation, AugmentationName
from ..distilled._dataset import DistilledDataset
from ..distilled._rules import MAX_NETWORKS, MAX_STEPS
from ..learning_rates import RATE_SCHEDULES, LearningRateSchedule, RateScheduleName
from ..networks import ARCHITECTURES, Architecture, ArchitectureName
from ..parametrization import SampleParametrization
from ._parameters import Parameters, param

__all__ = ["SharedParameters", "StartsFromReal", "WeighsTerms"]


class SharedParameters(Parameters):
    """Parameters of every distiller: `BaseDistiller` reads them, so no subclass can lack them."""

    ipc: int = param(
        default=1,
        constraints=[Interval(Integral, 1, None, closed="left")],
        kind="int",
        doc='Synthetic samples per class ("images per class"). [Feng23]: 1, 10 and 50.',
        kw_only=False,
    )
    max_iter: int = param(
        default=200,
        constraints=[Interval(Integral, 1, None, closed="left")],
        kind="int",
        doc="Outer steps. [Feng23]: tens of thousands.",
        may_change=True,
    )
    batch_size: int = param(
        default=256,
        constraints=[Interval(Integral, 1, None, closed="left")],
        kind="int",
        doc="Real samples in each outer step; at most all of the training set.",
    )
    class_weight: Mapping[Any, float] | Literal["balanced"] | None = param(
        default=None,
        constraints=[dict, StrOptions({"balanced"}), None],
        kind='dict, "balanced" or None',
        doc="""Weights of the classes, which multiply the ``sample_weight`` of `fit`, as in
        scikit-learn: ``{label: weight}``, where a class that is not named has 1; "balanced" gives
        every class the same total weight, however many samples it has. With None a class counts in
        proportion to its samples: the synthetic samples, although equally many of each class, teach
        networks the frequencies of the classes in `y`.""",
    )
    learning_rate: float | Literal["auto"] = param(
        default="auto",
        constraints=[Interval(Real, 0, None, closed="neither"), StrOptions({"auto"})],
        kind='float or "auto"',
        doc="""Learning rate of the outer optimizer. "auto" is a quarter of the size of the initial
        values, ``0.25 / sqrt(number of values in a sample)``: 0.031 for 8 x 8 pixels, 0.009 for 28
        x 28. [Feng23, C.1]: 0.001 for 3 x 32 x 32 pixels, a quarter of "auto", for many more
        steps.""",
    )
    learning_rate_schedule: RateScheduleName | LearningRateSchedule = param(
        default="constant",
        constraints=[StrOptions(set(RATE_SCHEDULES)), LearningRateSchedule],
        kind='{"constant", "linear", "cosine"} or LearningRateSchedule',
        doc="""How all learning rates of the outer optimizer change during the run: "constant" not
        at all; "linear" and "cosine" fall from their values to 0, as a function of the outer step
        and `max_iter`; or an object from `skdistill.learning_rates`, with a rise at the beginning,
        say, or another end. A run whose rates depend on `max_iter` cannot be continued with another
        `max_iter`, because its first steps would have been others.""",
    )
    ema_decay: float | None = param(
        default=None,
        constraints=[Interval(Real, 0, 1, closed="neither"), None],
        kind="float or None",
        doc="""Decay of an exponential moving average of all that is learned: samples (or bases and
        coefficients), labels and further tensors. If given, the average is the result, and what is
        validated and shown to callbacks, while the run goes on from the values themselves. It is
        corrected as Adam's moments are, so that the start of the samples has no weight in it, and
        skipped steps do not count. RCIG has 0.99 with this correction; FTD 0.9995, say, without it.
        With None the last values are the result.""",
    )
    sample_norm: float | None = param(
        default=None,
        constraints=[Interval(Real, 0, None, closed="neither"), None],
        kind="float or None",
        doc="""The norm to which every sample is scaled after each outer step, in the standardized
        units in which "gaussian" samples start with norm 1. Samples that are held back stay as they
        are, and so does the average of `ema_decay`. It needs ``parametrization="pixels"``. The code
        of AT-BPTT++ has 1. With None norms are free.""",
    )
    init: Literal["gaussian", "real", "kmeans"] | DistilledDataset = param(
        default="gaussian",
        constraints=[StrOptions({"gaussian", "real", "kmeans"}), DistilledDataset],
        kind='{"gaussian", "real", "kmeans"} or DistilledDataset',
        doc="""The start of the samples: Gaussian noise of norm 1 [Feng23, C.1], which found random
        and real starts comparable; random real samples; the centroids of k-means in every class; or
        a set that was distilled before. ``sample_weight`` plays no part in choosing samples and
        clustering.""",
    )
    parametrization: Literal["pixels"] | SampleParametrization = param(
        default="pixels",
        constraints=[StrOptions({"pixels"}), SampleParametrization],
        kind='{"pixels"}, Pixels, LinearBasis, Tiled or Hallucinated',
        doc="""What is learned: the values of the samples, or less from which they are made: bases
        whose linear combinations they are [Feng23, section 4.2], small images, or bases and
        hallucinators. See `skdistill.parametrization`.""",
    )
    learn_labels: bool = param(
        default=False,
        constraints=["boolean"],
        kind="bool",
        doc="""Whether labels are learned with the samples: they start one-hot, are kept
        non-negative and are not normalized [Feng23, C.1]. `transform` then returns a row of soft
        labels per sample. [Feng23] learns labels for 50 images per class of CIFAR-10, and for all
        data with more classes.""",
    )
    label_lr_scale: float = param(
        default=0.3,
        constraints=[Interval(Real, 0, None, closed="neither")],
        kind="float",
        doc="""Factor of `learning_rate` for the labels. Only used with `learn_labels`. [Feng23]
        does not give it; its code has 1 for a learning rate of 0.001, which for 3 x 32 x 32 pixels
        is a quarter of "auto".""",
    )
    augmentation: AugmentationName | Augmentation | None = param(
        default=None,
        constraints=[StrOptions(set(AUGMENTATIONS)), Augmentation, None],
        kind='{"dsa", "flip_rotate"}, Augmentation or None',
        doc="""Differentiable augmentation of images. `score` and `evaluate` augment the synthetic
        samples in the same way while networks are trained on them, and augment nothing in the test.
        "flip_rotate" mirrors left to right or not, and turns by up to 15 degrees; "dsa" is one of
        color, cutout, flip, rotation, crop and scale for a batch; or an object from
        `skdistill.augmentation` with parameters of its own. The default is None because which
        changes leave a sample in its class depends on the data: a mirrored digit is no longer a
        digit, and a table has no sides.""",
    )
    architecture: Literal["auto"] | ArchitectureName | Architecture = param(
        default="auto",
        constraints=[StrOptions({"auto", *ARCHITECTURES}), callable],
        kind="{" + ", ".join(f'"{name}"' for name in ("auto", *ARCHITECTURES)) + "} or callable",
        doc="""The networks: "auto" is "convnet" for images and "mlp" for tables; a callable is
        ``(input_shape, n_classes) -> torch.nn.Module``. [Feng23, section 4]: a ConvNet of width 128
        and depth 3, or 4 for 64 x 64 pixels. See `skdistill.networks`.""",
    )
    inner_architecture: Literal["auto"] | ArchitectureName | Architecture | None = param(
        default=None,
        constraints=[StrOptions({"auto", *ARCHITECTURES}), callable, None],
        kind="like `architecture`, or None",
        doc="""The networks to distill through, if they are to differ from `architecture`, the
        networks that `score`, `evaluate` and validation during a run train. Narrow ones,
        ``functools.partial(skdistill.networks.ConvNet, width=32)``, allow more outer steps in the
        same time. "auto" is this, for images of more than 16 pixels per side with one channel, and
        width 16 with several, if `architecture` is "auto" or "convnet"; otherwise, and with None,
        it is `architecture`.""",
    )
    image_shape: tuple[int, int, int] | list[int] | None = param(
        default=None,
        constraints=[tuple, list, None],
        kind="tuple of int or None",
        doc="""``(channels, height, width)`` of the samples, needed if they are flat or if it is
        ambiguous. Flat samples must be in this order, channel by channel and each row by row.""",
    )
    n_networks: int = param(
        default=10,
        constraints=[Interval(Integral, 1, MAX_NETWORKS, closed="both")],
        kind="int",
        doc="Networks over which `score` and `evaluate` average. [Feng23, section 4]: 10.",
        may_change=True,
    )
    eval_steps: int = param(
        default=300,
        constraints=[Interval(Integral, 1, MAX_STEPS, closed="both")],
        kind="int",
        doc="""Steps of Adam, learning rate 0.001, that train each of these networks (the rate is
        that of [Feng23, C.1], which does not give the steps).""",
    )
    validation_fraction: float | None = param(
        default=None,
        constraints=[Interval(Real, 0, 1, closed="neither"), None],
        kind="float or None",
        doc="""Fraction of the training data to hold out. If given, the samples of every
        `validation_interval`-th outer step and of the last one are evaluated on it, with the
        weights of samples and classes (three networks, the same ones each time, and not those of
        `score`), and the best are the result. With None the last samples are the result.""",
    )
    validation_interval: int = param(
        default=25,
        constraints=[Interval(Integral, 1, None, closed="left")],
        kind="int",
        doc="Outer steps between two evaluations on the held-out part.",
    )
    n_iter_no_change: int | None = param(
        default=None,
        constraints=[Interval(Integral, 1, None, closed="left"), None],
        kind="int or None",
        doc="""Stop after this many outer steps without a better held-out accuracy, at a step that
        is evaluated: with less than `validation_interval`, at the first that is not better. Needs
        `validation_fraction`.""",
    )
    warm_start: bool = param(
        default=False,
        constraints=["boolean"],
        kind="bool",
        doc="""Whether `fit` continues the last `fit`. With a larger `max_iter`, which counts from
        the start, the result is the same as if it had not been interrupted: bit for bit on the CPU,
        with the same versions, kind of processor and number of threads. With other data (or
        weights, or without a held-out part) samples stay as they are in the units of X, although
        networks see them by another mean and deviation; other parametrizations than "pixels" are
        refused then. The best samples of before are validated anew, because networks and data may
        be others now.""",
        may_change=True,
    )
    checkpoint: str | os.PathLike[str] | None = param(
        default=None,
        constraints=[str, os.PathLike, None],
        kind="path or None",
        doc="""File in which the run is kept, during the run and after it, with all that is needed
        to continue it exactly. If the file exists, `fit` continues from it, also in another
        process, and the result is the same as if nothing had happened: bit for bit on the CPU, with
        the same versions, kind of processor and number of threads, elsewhere up to rounding, which
        many steps amplify. A finished run is returned at once. Parameters and data must be those of
        the run: others are refused, except `max_iter`, which may be larger (unless
        `learning_rate_schedule` depends on it), and parameters that the samples do not depend on
        (`device`, `data_device`, `n_networks`, `verbose`, and `eval_steps` if nothing is
        validated). The previous file is kept as ``<checkpoint>.previous``, and is used, with a
        warning, if the last one is damaged. None writes nothing.""",
        may_change=True,
    )
    checkpoint_every: float = param(
        default=60.0,
        constraints=[Interval(Real, 0, None, closed="neither")],
        kind="int or float",
        doc="""Outer steps (an int) or seconds (a float) between two writings of `checkpoint`. It is
        written at the end as well, however `fit` ends: by an error, by Ctrl-C, or by SIGTERM or
        SIGHUP, which raise KeyboardInterrupt in the main thread during a run with a checkpoint.""",
        may_change=True,
    )
    random_state: int | np.random.RandomState | None = param(
        default=None,
        constraints=["random_state"],
        kind="int, RandomState instance or None",
        doc="""Determines the initial samples, the networks, batches and augmentations. The same int
        gives the same bits on the CPU, with the same versions, kind of processor and number of
        threads. Global random states are neither read nor changed.""",
        may_change=True,
    )
    device: str | torch.device = param(
        default="auto",
        constraints=[str, torch.device],
        kind="str",
        doc='Where to compute: "auto" is a CUDA GPU if there is one, else the CPU.',
        may_change=True,
    )
    data_device: Literal["device", "host"] = param(
        default="device",
        constraints=[StrOptions({"device", "host"})],
        kind='{"device", "host"}',
        doc="""Where a run keeps the training set: on `device`, or on the host if it is larger than
        the device's memory. From the host, the samples of each batch are sent when they are needed,
        from pinned memory, while the device works. The result is the same. On the CPU both are the
        same.""",
        may_change=True,
    )
    verbose: int = param(
        default=0,
        constraints=["verbose"],
        kind="int",
        doc="""1 prints about ten lines per run, 2 one line per outer step. For a progress bar, call
        ``set_callbacks(sklearn.callback.ProgressBar())``.""",
        may_change=True,
    )


class StartsFromReal(Parameters):
    """The start of the samples for methods whose papers begin with real ones."""

    init: Literal["gaussian", "real", "kmeans"] | DistilledDataset = param(
        default="real",
        constraints=[StrOptions({"gaussian", "real", "kmeans"}), DistilledDataset],
        kind='{"gaussian", "real", "kmeans"} or DistilledDataset',
        doc="""The start of the samples: Gaussian noise of norm 1, random real samples (as in the
        code of the paper), the centroids of k-means in every class, or a set that was distilled
        before. ``sample_weight`` plays no part in choosing samples and clustering.""",
    )


class WeighsTerms(Parameters):
    """The weights of classes for methods whose loss has a term for each class."""

    class_weight: Mapping[Any, float] | Literal["balanced"] | None = param(
        default=None,
        constraints=[dict, StrOptions({"balanced"}), None],
        kind='dict, "balanced" or None',
        doc="""Factor of each class's term in the loss: ``{label: weight}``, where a class that is
        not named has 1. In the loss None and "balanced" are the same: all classes count the same,
        however many samples they have. Held-out samples (`validation_fraction`) are weighed as in
        other distillers: with None each counts the same, as in `score`, and with "balanced" each
        class.""",
    )

    _weighs_terms = True
