"""RFAD: kernel regression on the features of random networks."""

from numbers import Integral, Real
from typing import Literal

from .._data.validation import Interval, StrOptions
from .._engine.methods.base import Problem
from .._engine.methods.matching import Embedding
from .._engine.methods.random_features import RandomFeatures
from ..forecast import Hints
from ..paper import RFAD as PAPER
from ..sampling import uniform_batches
from ._parameters import param
from ._shared_parameters import StartsFromReal
from .base import BaseDistiller

__all__ = ["RFADDistiller"]


class RFADDistiller(StartsFromReal, BaseDistiller):
    """Distill a data set by random feature approximation (RFAD).

    Learns ``ipc`` synthetic samples per class from which a kernel regression predicts the real
    ones. The kernel is that of an infinitely wide convolutional network, as in KIP, but estimated
    from the features of a few networks of finite width, freshly initialized and never trained
    [Loo22]_: that is what makes convolutional kernels affordable.

    An outer step costs one pass of the real batch without gradients and three of the synthetic
    samples, through each of `n_feature_networks` networks. With `redraw_every` networks and real
    features are kept for some steps, and these then cost the synthetic samples alone.

    Parameters
    ----------
    {parameters}

    Attributes
    ----------
    distilled_ : DistilledDataset
        The synthetic samples with the recipe to evaluate them. Learned labels are of any sign, and
        their recipe has the loss "mse".
    extra_ : dict of str to ndarray
        "log_scale", the logarithm of the scale of the scores, with `loss` "platt".
    history_ : dict of str to list
        One value per outer step: "loss" (on the real batch), "grad_norm", "clip_level" (none:
        nothing is clipped), "skipped", "seconds", "n_raised" (how often the ridge was raised
        because the kernel was singular), and with `validation_fraction` "validation_accuracy". None
        stands for values that were not finite or not measured.
    {fitted}

    See Also
    --------
    KIPDistiller : The same with the exact kernel of fully connected networks.
    FRePoDistiller : A regression on the features of networks that are trained along with the set.

    Notes
    -----
    The kernel is ``2 phi phi^T / n_features + 0.01`` with the inputs ``phi`` of the last layers of
    all networks. Labels are ``one_hot - 1 / n_classes``, and with `learn_labels` start there.
    Samples, labels and the scale move by AdaBelief, and nothing is clipped. `augmentation` changes
    the real batch.

    What differs from the code of [Loo22]_: it learns a matrix of all pixels to all pixels besides,
    which the stored images are multiplied by, and stops when the accuracy on 5000 held-out images
    has not risen for 1000 steps (`validation_fraction` and `n_iter_no_change` do that with trained
    networks). Its networks are `ConvNet` with ``norm="none"``, ``width=256`` and
    ``initialization="he"``, as in `from_paper`; `architecture` has others by default.

    `from_paper` has the values of the code for 1, 10 and 50 samples per class of CIFAR-10,
    CIFAR-100 and Fashion-MNIST ("fashion_mnist"); `max_iter` is the largest number of steps that
    the code does, and `eval_steps` is ours. The code whitens color images, after every channel was
    standardized: ``ZCAWhitener(0.1, per_sample=False)``. Its networks see what comes out as it is,
    of deviation 0.447 for CIFAR-10 (``examples/benchmarks/whitened_deviation.py``), and here one
    of 1: `learning_rate` is the same step in these units, and `label_lr_scale` leaves the labels
    their rate. (The biases of the networks and the constant of the kernel are in no units of the
    samples, and count less here.) `learning_rate` and `log_scale_lr` have a factor of ``1 / 0.9``,
    because the AdaBelief of the code, which has the variance around the average after a step, takes
    steps that are longer by this. The code evaluates by a protocol of its own,
    ``distiller.evaluate(X, y, protocol="rfad")``.

    References
    ----------
    .. [Loo22] N. Loo, R. Hasani, A. Amini and D. Rus, "Efficient Dataset Distillation using Random
       Feature Approximation", NeurIPS 2022. Values are those of its code, ``distillation.py``,
       ``run_distillation.py``, ``models.py`` and ``random_features.py``.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skdistill import RFADDistiller
    >>> X, y = load_digits(return_X_y=True)
    >>> distiller = RFADDistiller(
    ...     ipc=2, image_shape=(1, 8, 8), n_feature_networks=1, max_iter=2, random_state=0
    ... ).fit(X, y)
    >>> X_syn, y_syn = distiller.transform()
    >>> X_syn.shape, y_syn[:12].tolist()
    ((20, 64), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1])
    """

    batch_size: int = param(
        default=256,
        doc="""Real samples in each outer step; at most all of the training set. [Loo22]: 5120, in
        four parts; the default is a twentieth of that, because on a CPU they take most of a
        step.""",
    )
    learn_labels: bool = param(
        default=False,
        doc="""Whether labels are learned with the samples; they start centered, take any sign, and
        networks learn them by squared error. [Loo22] has both.""",
    )
    loss: Literal["platt", "mse"] = param(
        default="platt",
        constraints=[StrOptions({"platt", "mse"})],
        kind='{"platt", "mse"}',
        doc="""What is minimized on the real batch: "platt" is the cross-entropy of the predictions
        times a learned scale (Platt scaling), "mse" half the squared error. [Loo22] has both.""",
    )
    log_scale_lr: float = param(
        default=0.01,
        constraints=[Interval(Real, 0, None, closed="neither")],
        kind="float",
        doc="""Learning rate of the logarithm of the scale, which starts at 0. [Loo22]: 0.01. Only
        used with `loss` "platt".""",
    )
    regularization: float = param(
        default=5e-3,
        constraints=[Interval(Real, 0, None, closed="left")],
        kind="float",
        doc="""The ridge of the regression, in units of the mean of the kernel's diagonal. [Loo22]:
        0.005. A kernel that is singular with it gets a larger one, which ``history_`` counts.""",
    )
    n_feature_networks: int = param(
        default=2,
        constraints=[Interval(Integral, 1, 1000, closed="both")],
        kind="int",
        doc="""Networks whose features make the kernel. [Loo22]: 8, of width 256; the default is a
        quarter of that, for a CPU.""",
    )
    redraw_every: int = param(
        default=1,
        constraints=[Interval(Integral, 1, None, closed="left")],
        kind="int",
        doc="""Outer steps for which the same networks and the same real batch serve. Their features
        are computed once: with ten, say, a step costs little more than the synthetic samples.
        [Loo22]: 1.""",
    )

    _hints = Hints(
        states="n_feature_networks (the networks)",
        activations="ipc (the synthetic samples' activations)",
        real="batch_size (the real samples' activations and features)",
        time=("batch_size", "n_feature_networks", "the width of the networks", "ipc"),
        step="features of real and synthetic samples by fresh networks, and a regression",
    )
    _paper = PAPER

    def _make_method(self, problem: Problem) -> RandomFeatures:
        return RandomFeatures(
            embed=Embedding(problem.networks, problem.shape),
            n_networks=self.n_feature_networks,
            redraw_every=self.redraw_every,
            batch=uniform_batches(problem, self.batch_size).batch,
            regularization=self.regularization,
            log_scale_lr=self.log_scale_lr if self.loss == "platt" else None,
        )
