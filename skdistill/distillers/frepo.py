"""FRePo: neural feature regression with a pool of networks."""

from math import prod, sqrt
from numbers import Integral, Real
from typing import Any, Literal

from .._data.validation import Interval, StrOptions
from .._engine.methods.base import Problem
from .._engine.methods.feature_regression import FeatureRegression
from .._engine.methods.matching import Embedding
from ..forecast import Hints
from ..paper import FREPO as PAPER
from ..sampling import uniform_batches
from ._parameters import param
from ._pool_parameters import PoolParameters
from ._shared_parameters import StartsFromReal
from .base import BaseDistiller

__all__ = ["FRePoDistiller"]

# The most that "auto" comes to, which is what it is for 8 x 8 pixels. LAMB's steps are a share of
# the samples' length: a quarter of the size of a value would be 18 % of it for two features.
_MOST_AUTO = 0.25 / 8


class FRePoDistiller(PoolParameters, StartsFromReal, BaseDistiller):
    """Distill a data set by neural feature regression with a pool of networks (FRePo).

    Learns ``ipc`` synthetic samples per class and their labels. Every outer step takes a network
    from a pool and solves for its last layer: a ridge regression of the synthetic labels on the
    features of the synthetic samples, whose squared error on real samples is what samples and
    labels move down (Algorithm 1 of [Zhou22]_). The network's other layers are not differentiated:
    the network is trained on the synthetic set a little further after each step that it was drawn
    for, and starts afresh when it is too old. So the set is learned for networks of all ages,
    without unrolling the training of any.

    A step costs one pass of the real batch without gradients and about four of the synthetic
    samples, and memory the networks of the pool.

    Parameters
    ----------
    {parameters}

    Attributes
    ----------
    distilled_ : DistilledDataset
        The synthetic samples with the recipe to evaluate them. Learned labels are of any sign, and
        their recipe has the loss "mse".
    history_ : dict of str to list
        One value per outer step: "loss" (the squared error on the real batch and the label term),
        "grad_norm", "clip_level" (none: nothing is clipped), "skipped", "seconds", "age" (steps of
        training of the step's network), "n_diverged" (networks that had diverged and were replaced,
        up to this step), "n_raised" (how often the ridge was raised because the kernel was
        singular), and with `validation_fraction` "validation_accuracy". None stands for values that
        were not finite or not measured.
    learning_rate_ : float or "auto"
        The value of `learning_rate` that was used, a number where "auto" is at its bound.
    {fitted}

    See Also
    --------
    RaTBPTTDistiller : Differentiates the training of networks.
    DistributionMatchingDistiller : Trains no network at all.
    BoostedDistiller : Runs a distiller block by block, so that every prefix is a good set.

    Notes
    -----
    Labels start centered, ``(one_hot - 1 / n_classes) / sqrt(n_classes / 10)``, and are never
    projected; without `learn_labels` they stay so in the regression and for the networks of the
    pool. A term of the loss, ``-min(largest - second largest, 1 / n_classes)`` on average,
    keeps them from becoming all the same. The real labels of the regression are ``one_hot - 1 /
    n_classes``. Samples and labels move by LAMB, each by `learning_rate` times its own length, and
    nothing is clipped. Networks learn learned labels by squared error, also in `score` and
    `evaluate`, because cross-entropy means nothing for labels that may be negative.
    `DistilledClassifier` takes the softmax of their scores for probabilities, which are then far
    from certain.

    What differs from the code of [Zhou22]_: it distills through networks with batch normalization
    by running statistics, which this package's networks never have; the features' products and the
    regression are in double precision here; LAMB's steps stop to grow with samples that are ten
    times as large as real ones, because with networks to which scale makes no difference these
    would overflow; and the learning rate, which the code lowers along a
    cosine to a tenth, is constant by default, so that a run can be prolonged
    (``learning_rate_schedule=CosineDecay(final=0.1)`` is the code's).

    `augmentation` changes the real batch, and the synthetic samples on which the networks of the
    pool are trained, as those of the evaluation; the samples of the regression have their mirror
    images, with `flips`. The code augments nothing in distillation but by these.

    `from_paper` has the values of the code for 1, 10 and 50 samples per class of CIFAR-10,
    CIFAR-100 and Fashion-MNIST ("fashion_mnist"): those named with each parameter, a ConvNet of
    widths 128, 256 and 512 without normalization, and five networks in the evaluation. The code
    also whitens color images, after every channel was standardized:
    ``ZCAWhitener(0.1, per_sample=False)``. Its networks see what comes out as it is, of deviation
    0.447 for CIFAR-10 (``examples/benchmarks/whitened_deviation.py``); here they see one of 1.
    Rates are the same, because LAMB's steps are in proportion to the samples. The code evaluates by
    a protocol of its own, ``distiller.evaluate(X, y, protocol="frepo")``.

    References
    ----------
    .. [Zhou22] Y. Zhou, E. Nezhadarya and J. Ba, "Dataset Distillation using Neural Feature
       Regression", NeurIPS 2022. Defaults are from its code, github.com/yongchaoz/FRePo:
       ``script/distill.py`` and ``lib/datadistillation/frepo.py``.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skdistill import FRePoDistiller
    >>> X, y = load_digits(return_X_y=True)
    >>> distiller = FRePoDistiller(ipc=2, image_shape=(1, 8, 8), max_iter=2, random_state=0)
    >>> X_syn, y_syn = distiller.fit(X, y).transform()
    >>> X_syn.shape, y_syn.shape, distiller.distilled_.recipe.loss
    ((20, 64), (20, 10), 'mse')
    """

    batch_size: int = param(
        default=256,
        doc="""Real samples in each outer step; at most all of the training set. [Zhou22]: 1024. The
        default is a quarter of that, because on a CPU they take most of a step.""",
    )
    learning_rate: float | Literal["auto"] = param(
        default="auto",
        constraints=[Interval(Real, 0, 1, closed="right"), StrOptions({"auto"})],
        kind='float or "auto"',
        doc="""By which part of its length the tensor of all samples moves in an outer step; lengths
        of more than ten times that of as many real samples do not count. "auto"
        is ``0.25 / sqrt(number of values in a sample)``: 0.009 for 28 x 28 pixels, 0.031 for 8 x 8,
        and as much for samples of fewer values, which longer steps throw far from real ones.
        [Zhou22]: 0.0003, falling to a tenth of it, for 500,000 steps; "auto" is for some hundreds
        to thousands.""",
    )
    learn_labels: bool = param(
        default=True,
        doc="""Whether labels are learned with the samples, as in [Zhou22]; they then take any sign.
        If not, they stay the classes, in the regression what learned labels start as.""",
    )
    label_lr_scale: float = param(
        default=1.0,
        doc="""Factor of `learning_rate` for the labels. Only used with `learn_labels`. [Zhou22]: 1,
        because LAMB scales each tensor's steps by its length.""",
    )
    flips: bool = param(
        default=False,
        doc="""Whether the mirror image of each synthetic image (left to right), with the same
        label, is in the regression as well. [Zhou22]: True for CIFAR-10, and for one per class
        of CIFAR-100 and Tiny ImageNet; False for more per class of these, and for MNIST,
        Fashion-MNIST and ImageNet. The default is False because a mirrored digit is no longer a
        digit.""",
    )
    regularization: float = param(
        default=1e-6,
        constraints=[Interval(Real, 0, None, closed="left")],
        kind="float",
        doc="""The ridge of the regression, in units of the mean of the kernel's diagonal. [Zhou22]:
        0.000001. A kernel that is singular with it gets a larger one, which ``history_`` counts.
        """,
    )
    pool_steps: int = param(
        default=1,
        doc="""Steps of Adam, on the synthetic set, by which a network is trained after the outer
        step that it was drawn for. [Zhou22]: 1.""",
    )
    pool_lr: float = param(
        default=3e-4,
        doc="Learning rate of these steps. [Zhou22]: 0.0003.",
    )
    pool_batch_size: int = param(
        default=1000,
        constraints=[Interval(Integral, 1, None, closed="left")],
        kind="int",
        doc="""Synthetic samples, of all classes together, in each of these steps: a random choice
        if there are more. [Zhou22]: 1000.""",
    )

    _advice = "Use a lower learning_rate or pool_lr, or check the scale of X."
    _hints = Hints(
        states="pool_size (the networks and their moments)",
        activations="ipc (the synthetic samples' activations)",
        real="batch_size (the real samples' activations and features)",
        time=("batch_size", "ipc", "the width of the networks"),
        step="features of real and synthetic samples, a regression, and a step of a pool's network",
    )

    _paper = PAPER

    def _resolve(self, sample_shape: tuple[int, ...]) -> dict[str, Any]:
        rate = self.learning_rate
        if rate == "auto" and 0.25 / sqrt(prod(sample_shape)) > _MOST_AUTO:
            rate = _MOST_AUTO
        return {"learning_rate": rate}

    def _make_method(self, problem: Problem) -> FeatureRegression:
        self._check_flips(problem)
        learner = self._pooled(problem.networks)
        return FeatureRegression(
            embed=Embedding(learner, problem.shape),
            pool=self._make_pool(problem, learner, self.pool_batch_size),
            batch=uniform_batches(problem, self.batch_size).batch,
            regularization=self.regularization,
            flips=self.flips,
            pool_steps=self.pool_steps,
        )
