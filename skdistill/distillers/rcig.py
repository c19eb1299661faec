"""RCIG: implicit gradients of linearized networks."""

from collections.abc import Mapping
from functools import partial
from numbers import Integral, Real
from typing import ClassVar, Literal

from .._data.validation import Interval, StrOptions
from .._engine.linearized import softened
from .._engine.methods.base import Problem
from .._engine.methods.implicit import ImplicitGradient
from .._engine.methods.matching import Embedding
from .._engine.tuned_rate import TunedRate
from ..forecast import Hints
from ..paper import RCIG as PAPER
from ..sampling import uniform_batches
from ._parameters import param
from ._pool_parameters import PoolParameters
from ._shared_parameters import StartsFromReal
from .base import BaseDistiller

__all__ = ["RCIGDistiller"]

# The lowest rates that are tried, `inner_learning_rate` and `hvp_learning_rate` of
# distill_dataset.py.
_FIRST_INNER, _FIRST_INVERSE = 1e-5, 5e-5


class RCIGDistiller(PoolParameters, StartsFromReal, BaseDistiller):
    """Distill a data set by implicit gradients of linearized networks (RCIG).

    Learns ``ipc`` synthetic samples per class and their labels. Every outer step takes a network
    from a pool and linearizes it: how it would learn the synthetic set is then a convex problem,
    with the last layer solved for by ridge regression and the changes of all other parameters
    approached by some steps of Adam. The loss of the result on real samples is differentiated by
    the implicit function theorem [Loo23]_: directly through the regression, and through what the
    samples change in the other layers, by a product with the inverse of a Hessian matrix, which
    further steps of Adam approach. The network itself is trained on the synthetic set a little
    further after each step that it was drawn for, and starts afresh when it is too old.

    So a step sees how the body of a network follows the samples, which FRePo leaves out, without
    unrolling any training. It costs about four passes of the synthetic samples through the network
    for each of the `inner_steps` and `inverse_steps`, about eight of the real batch, and memory the
    networks of the pool.

    Parameters
    ----------
    {parameters}

    Attributes
    ----------
    distilled_ : DistilledDataset
        The synthetic samples with the recipe to evaluate them. Learned labels are of any sign, and
        their recipe has the loss "mse".
    extra_ : dict of str to ndarray
        "log_scale", the logarithm of the scale of the scores.
    history_ : dict of str to list
        One value per outer step: "loss" (the cross-entropy on the real batch and the label term),
        "grad_norm", "clip_level" (none: nothing is clipped), "skipped", "seconds", "age" (steps of
        training of the step's network), "n_diverged" (networks without a finite loss that were
        replaced, up to this step), "n_raised" (how often the ridge was raised because the kernel
        was singular), "inner_lr" and "inverse_lr" (the learning rates after the step),
        "implicit_ratio" (the norm of the implicit part of the samples' gradient, before it is
        limited, in units of that of the direct part), and with `validation_fraction`
        "validation_accuracy". None stands for values that were not finite or not measured.
    {fitted}

    See Also
    --------
    FRePoDistiller : The same regression without what the other layers follow.
    RaTBPTTDistiller : Differentiates the training of networks as it is.
    BoostedDistiller : Runs a distiller block by block, so that every prefix is a good set.

    Notes
    -----
    With the Jacobian ``J`` of the network's scores with respect to all parameters but the weights
    of the last layer, the change ``t`` of these parameters (the tangents, 0 at the start of every
    step), and the features ``phi`` before the last layer, the predictions are ``J t + phi W``. The
    weights ``W`` are those of the ridge regression of ``y - J t`` on the features, with a ridge of
    `regularization` times the number of synthetic samples, which the tangents have as well. Labels
    start as ``one_hot - 1 / n_classes``, and are never projected. The loss is the cross-entropy of
    the predictions times a learned scale, and with learned labels minus a term that keeps them
    apart, ``min(largest - second largest, 0.5 / n_classes)`` on average.

    In the gradients of samples and labels, the implicit part is at most as long as the direct one.
    Samples, labels and the scale move by AdaBelief, nothing is clipped, and the average of the
    learned tensors over the steps is the result (`ema_decay`).

    Learning rates that are "auto" are tried in the first outer step, which therefore takes as long
    as some ten others: they are little above the highest, in steps of a factor of 1.2 from a low
    one on, with which the descent falls in every step. After every 50 descents they become 0.9
    times as large if 29 % of these ended higher than they began, else 1.05 times as large if 70 %
    fell in every step.

    What differs from the code of [Loo23]_: it moves the weights of the last layer by their raw
    gradients as well, up and not down (by very little), and has them among the parameters of the
    Hessian matrix; a network's Adam counts the steps of all earlier descents; whether a descent
    falls is told without its last value, and rates are tried one after the other, here by doubling
    and halving the exponent; a network is replaced as soon as it reaches `pool_max_age`, and all
    begin with age 0, where here it is replaced when it is next drawn, and first ages are spread
    evenly; and of thousands of synthetic samples it differentiates 2000 at a time, which here are
    taken in chunks, all of them. The regression is in double precision here.

    `augmentation` changes the real batch, and the synthetic samples on which the networks of the
    pool are trained, as those of the evaluation. The code augments nothing in distillation but by
    mirror images.

    `from_paper` has the values of the code for 1, 10 and 50 samples per class of CIFAR-10,
    CIFAR-100 and Fashion-MNIST ("fashion_mnist"): those named with each parameter, a ConvNet of
    widths 128, 256 and 512 without normalization, and the `max_iter` of the sets that the code
    comes with (15,000 for one per class, else 10,000). The code also whitens color images, after
    every channel was standardized: ``ZCAWhitener(0.1, per_sample=False)``. Its networks see what
    comes out as it is, of deviation 0.447 for CIFAR-10
    (``examples/benchmarks/whitened_deviation.py``); here they see one of 1. For color images
    `from_paper` has converted `learning_rate`, `regularization` and `softplus_beta` to these units,
    and has a `label_lr_scale` that leaves the labels their rate. The steps are then the code's, and
    the regressions are while the biases of a network are 0, as at its start. The code evaluates by
    a protocol of its own, ``distiller.evaluate(X, y, protocol="rcig")``.

    References
    ----------
    .. [Loo23] N. Loo, R. Hasani, M. Lechner and D. Rus, "Dataset Distillation with Convexified
       Implicit Gradients", ICML 2023. Values are those of its code, github.com/yolky/RCIG:
       ``configs_final/depth_3.txt``, ``distill_dataset.py`` and ``algorithms.py``.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skdistill import RCIGDistiller
    >>> X, y = load_digits(return_X_y=True)
    >>> distiller = RCIGDistiller(
    ...     ipc=1, image_shape=(1, 8, 8), inner_steps=3, inverse_steps=3, max_iter=2, random_state=0
    ... ).fit(X, y)
    >>> X_syn, y_syn = distiller.transform()
    >>> X_syn.shape, y_syn.shape, distiller.distilled_.recipe.loss
    ((10, 64), (10, 10), 'mse')
    """

    batch_size: int = param(
        default=256,
        doc="""Real samples in each outer step; at most all of the training set. [Loo23]: 1024.""",
    )
    learn_labels: bool = param(
        default=True,
        doc="""Whether labels are learned with the samples, as in [Loo23]; they then take any sign.
        If not, they stay the classes, centered in the regression.""",
    )
    label_lr_scale: float = param(
        default=1.0,
        doc="""Factor of `learning_rate` for the labels. Only used with `learn_labels`. [Loo23]:
        1, with a learning rate of 0.003 for 3 x 32 x 32 pixels, which is two thirds of "auto", for
        samples of deviation 0.447 (see Notes).""",
    )
    ema_decay: float | None = param(
        default=0.99,
        doc="""Decay of an exponential moving average of all that is learned: samples (or bases and
        coefficients), labels and the scale. The average is the result, and what is validated and
        shown to callbacks, while the run goes on from the values themselves. It is corrected as
        Adam's moments are, so that the start of the samples has no weight in it, and skipped steps
        do not count. With None the last values are the result. [Loo23]: 0.99. After about a hundred
        steps such an average still holds much of the first ones, and 0.9 is better.""",
    )
    flips: bool = param(
        default=False,
        doc="""Whether the mirror image of each synthetic image (left to right), with the same
        label, is learned from as well. [Loo23]: True for CIFAR-10 and CIFAR-100; False for 50 per
        class of CIFAR-100, and for MNIST and Fashion-MNIST. The default is False because a mirrored
        digit is no longer a digit.""",
    )
    regularization: float = param(
        default=5e-4,
        constraints=[Interval(Real, 0, None, closed="neither")],
        kind="float",
        doc="""The ridge of the regression and of the tangents, for each synthetic sample. [Loo23]:
        0.0005. A kernel that is singular with it gets a larger one, which ``history_`` counts.""",
    )
    softplus_beta: float | None = param(
        default=60.0,
        constraints=[Interval(Real, 0, None, closed="neither"), None],
        kind="float or None",
        doc="""How sharp the bend is of the softplus that layers of ReLU (``torch.nn.ReLU``) are
        replaced by in distillation, because ReLU has no second derivative. [Loo23]: 60. None
        replaces none. The networks of `score` and `evaluate` are as they are.""",
    )
    inner_steps: int = param(
        default=20,
        constraints=[Interval(Integral, 0, None, closed="left")],
        kind="int",
        doc="""Steps of Adam toward the tangents. With 0 they stay 0. [Loo23]: 20.""",
    )
    inner_lr: float | Literal["auto"] = param(
        default="auto",
        constraints=[Interval(Real, 0, None, closed="neither"), StrOptions({"auto"})],
        kind='float or "auto"',
        doc="""Learning rate of these steps. "auto" tries rates in the first outer step, from
        0.00001 on as in [Loo23], and later follows how the descents go: see Notes.""",
    )
    inverse_steps: int = param(
        default=20,
        constraints=[Interval(Integral, 0, None, closed="left")],
        kind="int",
        doc="""Steps of Adam toward the product with the inverse of the Hessian matrix. With 0 there
        is no implicit part. [Loo23]: 20.""",
    )
    inverse_lr: float | Literal["auto"] = param(
        default="auto",
        constraints=[Interval(Real, 0, None, closed="neither"), StrOptions({"auto"})],
        kind='float or "auto"',
        doc="""Learning rate of these steps; "auto" is as for `inner_lr`, from 0.00005 on.""",
    )
    log_scale_lr: float = param(
        default=0.03,
        constraints=[Interval(Real, 0, None, closed="neither")],
        kind="float",
        doc="""Learning rate of the logarithm of the scale of the scores, which starts at 0.
        [Loo23]: 0.03.""",
    )
    pool_steps: int = param(
        default=15,
        doc="""Most steps of Adam, on the synthetic set, by which a network is trained after the
        outer step that it was drawn for: their number is drawn, from 1 on. [Loo23]: 15.""",
    )
    pool_lr: float = param(
        default=5e-5,
        doc="Learning rate of these steps. [Loo23]: 0.00005.",
    )

    _derivatives = 2
    _advice = "Use a lower learning_rate, inner_lr, inverse_lr or pool_lr, or check the scale of X."
    _hints = Hints(
        states="pool_size (the networks and their moments)",
        activations="ipc (the synthetic samples' activations)",
        real="batch_size (the real samples' activations and features)",
        time=("inner_steps", "inverse_steps", "ipc", "batch_size", "the width of the networks"),
        step="descents of a linearized network on the synthetic samples, and a real batch",
    )
    _refuses: ClassVar[Mapping[str, str]] = {
        "several processes": "its learning rates follow how the descents of one process go"
    }
    _paper = PAPER

    def _make_method(self, problem: Problem) -> ImplicitGradient:
        self._check_flips(problem)
        learner = problem.networks
        if self.softplus_beta is not None:
            learner = learner.changed(partial(softened, beta=self.softplus_beta))
        learner = self._pooled(learner)

        def rate(value: float | Literal["auto"], first: float) -> TunedRate:
            return TunedRate(first, None if value == "auto" else float(value))

        return ImplicitGradient(
            embed=Embedding(learner, problem.shape),
            pool=self._make_pool(problem, learner),
            batch=uniform_batches(problem, self.batch_size).batch,
            regularization=self.regularization,
            flips=self.flips,
            inner_steps=self.inner_steps,
            inverse_steps=self.inverse_steps,
            inner_rate=rate(self.inner_lr, _FIRST_INNER),
            inverse_rate=rate(self.inverse_lr, _FIRST_INVERSE),
            pool_steps=self.pool_steps,
            log_scale_lr=self.log_scale_lr,
        )
