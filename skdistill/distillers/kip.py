"""Kernel inducing points: synthetic samples from which a kernel regression learns the real ones."""

from math import sqrt
from numbers import Integral, Real
from typing import Literal

from sklearn.utils.validation import check_is_fitted

from .._data.validation import Interval, StrOptions
from .._engine.kernels import FullyConnected
from .._engine.methods.base import Problem
from .._engine.methods.kernel import KernelRidge
from .._engine.rows import rows_by_class
from ..forecast import Hints
from ..kernel_ridge import KERNELS, KernelRidgeClassifier
from ..paper import KIP as PAPER
from ._parameters import param
from ._shared_parameters import StartsFromReal, WeighsTerms
from .base import BaseDistiller

__all__ = ["KIPDistiller"]


class KIPDistiller(StartsFromReal, WeighsTerms, BaseDistiller):
    """Distill a data set by kernel inducing points (KIP).

    Learns ``ipc`` synthetic samples per class, and perhaps their labels, such that a kernel ridge
    regression that is fitted to them predicts the labels of the real samples [Nguyen21a]_. The
    kernel is that of an infinitely wide, fully connected ReLU network: the neural tangent kernel,
    by which such a network learns, or the covariance of its outputs. It has a closed form, so
    no network is made, trained or drawn: a step is a few products of matrices.

    `score` and `evaluate` train networks of finite width on the samples, as for every distiller.
    `kernel_classifier` returns the kernel regression itself, which the samples are made for.

    Parameters
    ----------
    {parameters}

    Attributes
    ----------
    distilled_ : DistilledDataset
        The synthetic samples with the recipe to evaluate them.
    history_ : dict of str to list
        One value per outer step: "loss" (half the squared error of the regression's predictions for
        the real batch, as a mean over classes and samples), "grad_norm", "n_raised" (how often
        `regularization` had to be raised, tenfold each time, because the kernel of the synthetic
        samples was singular), "clip_level" (None: nothing is clipped), "skipped", "seconds", and
        with `validation_fraction` "validation_accuracy". None stands for values that were not
        finite or not measured.
    {fitted}

    See Also
    --------
    skdistill.KernelRidgeClassifier : The regression as a classifier.
    RaTBPTTDistiller : Learns samples that train a network of finite width well.

    Notes
    -----
    The defaults are those of the notebook ``kip/KIP.ipynb`` of [Code]_: its kernel of one hidden
    layer, its Adam without clipping and its number of steps, and labels that are one-hot minus
    ``1 / n_classes``. The samples are standardized per channel or feature, as there. `from_paper`
    has the run that the notebook shows, ten samples per class of CIFAR-10. For whitened images put
    ``ZCAWhitener(0.1)`` in front. Convolutional kernels are not here.

    A real batch has equally many samples of each class, and all classes count the same in the loss,
    however many samples they have, unless ``class_weight`` weighs their terms.
    ``fit(X, y, sample_weight=...)`` weighs the samples of a class against each other.

    With `augmentation` the real samples of each step are augmented; `score` and `evaluate` augment
    the synthetic samples while networks are trained on them.

    Learned labels may be negative. Networks learn them by the squared error, and hard labels by
    cross-entropy.

    Kernels are computed in double precision. On "mps", which has none, they are computed on the
    CPU.

    References
    ----------
    .. [Nguyen21a] T. Nguyen, Z. Chen and J. Lee, "Dataset Meta-Learning from Kernel
       Ridge-Regression", ICLR 2021.
    .. [Code] https://github.com/google-research/google-research/tree/master/kip

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skdistill import KIPDistiller
    >>> X, y = load_digits(return_X_y=True)
    >>> distiller = KIPDistiller(ipc=2, image_shape=(1, 8, 8), max_iter=20, random_state=0)
    >>> X_syn, y_syn = distiller.fit(X, y).transform()
    >>> X_syn.shape, y_syn[:12].tolist()
    ((20, 64), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1])
    >>> distiller.kernel_classifier().score(X, y) > 0.9
    True
    """

    max_iter: int = param(
        default=300,
        doc="""Outer steps. The default is that of [Code], which takes 1000 "or more" until nothing
        changes any more.""",
    )
    batch_size: int = param(
        default=5000,
        doc="""Real samples in each outer step, equally many of each class: at most ``batch_size //
        n_classes``, and all samples of a class that has fewer. The default is that of [Code].""",
    )
    learning_rate: float | Literal["auto"] = param(
        default=0.04,
        doc="""Learning rate of Adam, for samples that are standardized. The default is that of
        [Code]. "auto" is ``0.25 / sqrt(number of values in a sample)``, which suits a start from
        Gaussian rows.""",
    )
    learn_labels: bool = param(
        default=False,
        doc="""Whether labels are learned with the samples. They start as one-hot labels minus ``1 /
        n_classes``, and become numbers of any sign; `transform` then returns a row of soft labels
        per sample. False is the default of [Code].""",
    )
    label_lr_scale: float = param(
        default=1.0,
        doc="""Factor of `learning_rate` for the labels. Only used with `learn_labels`. [Code] has
        one rate for both.""",
    )
    kernel: Literal["ntk", "nngp"] = param(
        default="ntk",
        constraints=[StrOptions(KERNELS)],
        kind='{"ntk", "nngp"}',
        doc="""The neural tangent kernel, by which a wide network learns (as in [Code]), or the
        covariance of the outputs of random networks (neural network Gaussian process), by which one
        learns of which only the last layer is trained.""",
    )
    depth: int = param(
        default=1,
        constraints=[Interval(Integral, 0, None, closed="left")],
        kind="int",
        doc="""Hidden layers of the networks that the kernel stands for. The default is that of
        [Code]; with 0 the networks are linear.""",
    )
    weight_std: float = param(
        default=sqrt(2),
        constraints=[Interval(Real, 0, None, closed="neither")],
        kind="float",
        doc="""Standard deviation of the weights, times the root of the number of a layer's inputs.
        The default, the square root of 2, is that of [Code].""",
    )
    bias_std: float = param(
        default=0.1,
        constraints=[Interval(Real, 0, None, closed="left")],
        kind="float",
        doc="Standard deviation of the biases. The default is that of [Code].",
    )
    regularization: float = param(
        default=1e-6,
        constraints=[Interval(Real, 0, None, closed="left")],
        kind="float",
        doc="""What is added to the diagonal of the synthetic samples' kernel, in units of the
        diagonal's mean. The default is that of [Code].""",
    )

    _hints = Hints(
        states="ipc (the kernel of the synthetic samples)",
        activations="ipc (the synthetic samples and their gradients)",
        real="depth (a block of the kernel of real and synthetic samples)",
        time=("batch_size", "ipc", "depth"),
        step="the kernels of real and synthetic samples, and a regression",
    )
    _paper = PAPER
    _needs_network = False

    def _check_classes(self, n_classes: int) -> None:
        if self.batch_size < n_classes:
            raise ValueError(
                f"batch_size={self.batch_size} must be at least {n_classes}, one real sample of "
                "each class."
            )

    def _make_method(self, problem: Problem) -> KernelRidge:
        return KernelRidge(
            kernel=FullyConnected(self.depth, self.weight_std, self.bias_std, self.kernel),
            regularization=self.regularization,
            real_rows=rows_by_class(problem.real.y, problem.rows.n_classes),
            batch_size=self.batch_size,
        )

    def kernel_classifier(self) -> KernelRidgeClassifier:
        """Return the kernel regression that the samples are made for, fitted to them.

        Returns
        -------
        KernelRidgeClassifier
            With this distiller's kernel and regularization. It predicts samples in the units and
            the layout of the training samples.
        """
        check_is_fitted(self, "distilled_")
        names = ("kernel", "depth", "weight_std", "bias_std", "regularization", "device")
        classifier = KernelRidgeClassifier(**{name: getattr(self, name) for name in names})
        return classifier.fit_distilled(self.distilled_)
