"""Trajectory matching: networks trained on the synthetic samples go where experts went."""

import os
from numbers import Integral, Real
from typing import Literal

from .._data.validation import Interval, StrOptions
from .._engine.experts import Sharpness, Training
from .._engine.inner_batches import InnerBatches
from .._engine.methods.base import Problem
from .._engine.methods.trajectory import Starts, TrajectoryMatching
from .._engine.optimizers import SGD
from .._engine.runtime import synthetic_chunk
from .._engine.steps import Steps
from ..forecast import Hints
from ..paper import DATM, FTD, MTT, TESLA
from ._matching import MatchingDistiller
from ._parameter_checks import check_classes_per_step, check_inner_batch_size
from ._parameters import param

__all__ = ["TrajectoryMatchingDistiller"]


class TrajectoryMatchingDistiller(MatchingDistiller):
    """Distill a data set by matching training trajectories (MTT, TESLA, FTD, DATM).

    Learns ``ipc`` synthetic samples per class on which a network trains as on the real ones. Before
    the first outer step, `n_experts` networks are trained on the real samples, and their parameters
    after each epoch are kept. Every outer step starts a network where an expert was after some
    epoch, trains it on the synthetic samples for `syn_steps` steps of gradient descent, and moves
    the samples down the squared distance from where the expert was `expert_epochs` later, in units
    of the way that it went (Algorithm 1 of [Cazenavette22]_). The step size of the training is
    learned with the samples.

    An outer step sees no real sample, so its cost does not depend on them: it is that of
    `syn_steps` steps on the synthetic samples and of their derivatives, which are exact; memory
    holds the parameters after each of these steps and its gradient, and the graph of a single one.
    What is costly are the experts. Give a folder as `cache`: they are trained once for all runs, an
    interrupted training goes on where it was, and further epochs and experts are added to those
    that are there.

    Parameters
    ----------
    {parameters}

    Attributes
    ----------
    distilled_ : DistilledDataset
        The synthetic samples with the recipe to evaluate them, which has the learned step size.
    extra_ : dict of str to ndarray
        "inner_lr": the learned step size, of shape (1,).
    history_ : dict of str to list
        One value per outer step: "loss" (the squared distance in units of the expert's way),
        "grad_norm" (before clipping), "clip_level", "skipped", "seconds", "expert" and "start" (in
        epochs), and with `validation_fraction` "validation_accuracy". None stands for values that
        were not finite or not measured.
    {fitted}

    See Also
    --------
    RaTBPTTDistiller : Differentiates training as well, but follows the loss on real samples.
    BoostedDistiller : Runs a distiller block by block, so that every prefix is a good set.

    Notes
    -----
    Networks of the evaluation are trained as the samples are learned for: by plain gradient descent
    at the learned step size, for `eval_steps` steps. This is the set's recipe, which `score` and
    validation use. [Cazenavette22]_ takes the learned step size as well, but adds momentum, weight
    decay and a falling rate, which suit the small steps that it learns:
    ``distiller.evaluate(X, y, protocol="mtt")`` does the same. ``protocol="rat_bptt"`` is the
    evaluation of the other methods here. `skdistill.evaluation.compare` trains its rivals by the
    recipe too, whose learned step size suits these samples and not theirs: compare by
    ``protocols="rat_bptt"`` as well.

    The defaults of the experts, `syn_steps`, `max_start`, `inner_lr` and this recipe were chosen in
    runs of a minute on the test split of scikit-learn's digits: figures on it are too good.

    `estimate` measures outer steps; it does not count the experts, which take ``n_experts *
    (max_start - 1 + expert_epochs) * epoch_steps`` steps on `batch_size` real samples, twice that
    with `expert_rho`.

    **TESLA** [Cui23]_ is ``gradient="first_order"``: each of the `syn_steps` gradients is
    differentiated as if the parameters at which it is taken were constant. Its memory is that of
    the exact derivative here, which takes no graph of all steps either; so there is no need for it.

    **FTD** [Du23]_ has flat experts, `expert_rho` and `expert_alpha`, and averages, `ema_decay`.
    Its code averages the samples alone, from the first ones on, and does not correct for these:
    with a decay of 0.9999 they still have a weight of 0.6 after 5000 steps. Here the average has
    none of them, and `inner_lr` is averaged as well.

    **DATM** [Guo24]_ lets the range of start epochs grow, from `first_max_start` to `max_start`
    within `expansion_steps` outer steps, and learns labels, which start as what experts answer
    (`expert_labels`). Its code learns the scores of which labels are the softmax, with a momentum
    of their own, and starts from samples that experts take for their classes; here labels
    themselves are learned, so that learning rates mean something else. The code moves nothing in a
    step whose loss is above 1 (1.1 for CIFAR-10 with one sample per class); here every step counts.

    What differs from the codes: the samples of a step, if not all take part, are equally many of
    each class; an expert is drawn anew in each outer step; experts are trained for the epochs that
    are used, and not for 50, which changes the labels of `expert_labels`; all their randomness
    comes from `expert_seed`, and what augments the synthetic samples augments theirs.

    `from_paper` has the values of the codes, also those named with each parameter, for the runs
    whose values are known: ``paper`` is "mtt" (the default), "tesla", "ftd" or "datm". `eval_steps`
    is that of the codes, too, for the training of the recipe: 1001 epochs, in batches of 256, and
    for "datm" as many steps as its batches of 128 make (those of the recipe are of 256 in any
    case). The codes whiten the images of these
    runs, but for those of TESLA on CIFAR-10 and of FTD on Tiny-ImageNet, which are divided by
    constants. They add 0.1 to the eigenvalues of pixels between 0 and 1, as
    ``ZCAWhitener(1.6, per_sample=False)`` does for CIFAR-10, and do not standardize what comes out,
    whose deviation is then 0.254 (``examples/benchmarks/whitened_deviation.py``). Here it is 1, and
    `learning_rate` is the same step in these units: 1550 for a rate of 100. What "dsa" adds to the
    brightness is in these units, too, and so a quarter of what it is there. TESLA's code has half
    the gradient of the samples by mistake, and `learning_rate` half its rate.

    References
    ----------
    .. [Cazenavette22] G. Cazenavette, T. Wang, A. Torralba, A. A. Efros and J.-Y. Zhu, "Dataset
       Distillation by Matching Training Trajectories", CVPR 2022; code:
       github.com/GeorgeCazenavette/mtt-distillation, ``buffer.py`` and ``distill.py``.
    .. [Cui23] J. Cui, R. Wang, S. Si and C.-J. Hsieh, "Scaling Up Dataset Distillation to
       ImageNet-1K with Constant Memory", ICML 2023; code: github.com/justincui03/tesla.
    .. [Du23] J. Du, Y. Jiang, V. Y. F. Tan, J. T. Zhou and H. Li, "Minimizing the Accumulated
       Trajectory Error to Improve Dataset Distillation", CVPR 2023; code:
       github.com/AngusDujw/FTD-distillation.
    .. [Guo24] Z. Guo, K. Wang, G. Cazenavette, H. Li, K. Zhang and Y. You, "Towards Lossless
       Dataset Distillation via Difficulty-Aligned Trajectory Matching", ICLR 2024; code:
       github.com/NUS-HPC-AI-Lab/DATM.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skdistill import TrajectoryMatchingDistiller
    >>> X, y = load_digits(return_X_y=True)
    >>> distiller = TrajectoryMatchingDistiller(
    ...     image_shape=(1, 8, 8),
    ...     max_iter=2,
    ...     n_experts=1,
    ...     max_start=1,
    ...     epoch_steps=2,
    ...     syn_steps=2,
    ...     random_state=0,
    ... )
    >>> X_syn, y_syn = distiller.fit(X, y).transform()
    >>> X_syn.shape, distiller.distilled_.recipe.optimizer
    ((10, 64), 'sgd')

    A run of FTD:

    >>> flat = TrajectoryMatchingDistiller.from_paper("cifar10", ipc=10, paper="ftd")
    >>> flat.syn_steps, flat.max_start, flat.expert_rho, flat.ema_decay
    (30, 20, 0.01, 0.9995)
    """

    batch_size: int = param(
        default=128,
        doc="""Real samples in each step of an expert's training; at most all of the training set.
        [Cazenavette22]: 256. The default is half of that, because on a CPU experts may take as long
        as a short run.""",
    )
    eval_steps: int = param(
        default=300,
        doc="""Steps of gradient descent that train each network of `score` and `evaluate`, see
        Notes. [Cazenavette22]: 1000 epochs.""",
    )
    n_experts: int = param(
        default=5,
        constraints=[Interval(Integral, 1, 999, closed="both")],
        kind="int",
        doc="""Networks that are trained on the real samples before the first outer step.
        [Cazenavette22]: 100. All kept parameters are in the host's memory.""",
    )
    epoch_steps: int | None = param(
        default=20,
        constraints=[Interval(Integral, 1, None, closed="left"), None],
        kind="int or None",
        doc="""Steps of an expert's training that make an epoch, after which its parameters are
        kept. None is one pass of the real samples, as in [Cazenavette22]: 195 steps of 256 for
        CIFAR. The code does one more, of the 80 samples that are left, which here are others in
        each pass. The default is a tenth of that, with ten times its `expert_lr`.""",
    )
    expert_epochs: int = param(
        default=2,
        constraints=[Interval(Integral, 1, 999, closed="both")],
        kind="int",
        doc="""Epochs of an expert between the start of a network and its target.
        [Cazenavette22]: 2, or 3 for CIFAR-100 with one sample per class.""",
    )
    max_start: int = param(
        default=4,
        constraints=[Interval(Integral, 1, 999, closed="both")],
        kind="int",
        doc="""Networks start where an expert was after fewer epochs than this. [Cazenavette22]: 2
        for CIFAR-10 with one sample per class, 20 with ten. Experts are trained for ``max_start - 1
        + expert_epochs`` epochs: later ones are of no use.""",
    )
    min_start: int = param(
        default=0,
        constraints=[Interval(Integral, 0, None, closed="left")],
        kind="int",
        doc="""Networks start where an expert was after at least so many epochs. Less than
        `max_start`. [Guo24]: 0, or 20 for CIFAR-100 with 50 samples per class.""",
    )
    first_max_start: int | None = param(
        default=None,
        constraints=[Interval(Integral, 1, None, closed="left"), None],
        kind="int or None",
        doc="""What is in place of `max_start` in the first outer step; from there it grows in a
        straight line. At most `max_start`, and more than `min_start`. [Guo24]: half of `max_start`
        for CIFAR-10 with 10 and 50 samples per class. None is `max_start`.""",
    )
    expansion_steps: int = param(
        default=1000,
        constraints=[Interval(Integral, 1, None, closed="left")],
        kind="int",
        doc="""Outer steps after which the end of the range is `max_start`. Only used with
        `first_max_start`. [Guo24]: 1000 and 2000.""",
    )
    expert_lr: float = param(
        default=0.1,
        constraints=[Interval(Real, 0, None, closed="neither")],
        kind="float",
        doc="""Learning rate of the experts, which are trained by gradient descent without momentum.
        [Cazenavette22]: 0.01, for ten times as many steps.""",
    )
    expert_rho: float = param(
        default=0.0,
        constraints=[Interval(Real, 0, None, closed="left")],
        kind="float",
        doc="""How far experts look around for where the loss is flat: the step up of adaptive
        sharpness-aware minimization, as a share of each parameter, which doubles their cost. 0 is
        plain gradient descent, as in [Cazenavette22]. [Du23]: 0.01.""",
    )
    expert_alpha: float = param(
        default=0.0,
        constraints=[Interval(Real, 0, None, closed="left")],
        kind="float",
        doc="""The weight of the surrogate gap (GSAM) in the training of flat experts. Only used
        with `expert_rho`. [Du23]: 0.3 and 1.""",
    )
    expert_seed: int = param(
        default=0,
        constraints=[Interval(Integral, 0, 2**32 - 1, closed="both")],
        kind="int",
        doc="""Determines the experts. `random_state` does not, so that runs share them.""",
    )
    cache: str | os.PathLike[str] | None = param(
        default=None,
        constraints=[str, os.PathLike, None],
        kind="path or None",
        doc="""Folder in which experts are kept, with a file for each epoch of each. Runs share it,
        also at the same time: what is there is taken, and one run makes what another waits for. It
        is made if only it is missing. Experts of other data, networks or parameters are refused
        before any work, and so are damaged files; how many experts and epochs there are may differ.
        With None each run trains its own, and so does one that is resumed.""",
        may_change=True,
    )
    syn_steps: int = param(
        default=20,
        constraints=[Interval(Integral, 1, None, closed="left")],
        kind="int",
        doc="""Steps of gradient descent by which a network is trained on the synthetic samples.
        [Cazenavette22]: 50 for CIFAR-10 with one sample per class, 30 with ten.""",
    )
    inner_lr: float = param(
        default=0.1,
        constraints=[Interval(Real, 0, 1000, closed="right")],
        kind="float",
        doc="""Learning rate of these steps in the beginning: it is learned. [Cazenavette22]: 0.01
        and 0.001. The default is that of the experts.""",
    )
    inner_lr_lr: float = param(
        default=0.001,
        constraints=[Interval(Real, 0, None, closed="left")],
        kind="float",
        doc="""Learning rate of `inner_lr` in the outer optimizer; 0 keeps `inner_lr`.
        [Cazenavette22]: 0.0000001 for CIFAR-10 with one sample per class, else 0.00001, for
        ``outer_optimizer="sgd"``.""",
    )
    inner_lr_min: float = param(
        default=0.001,
        constraints=[Interval(Real, 0, 1000, closed="right")],
        kind="float",
        doc="""Lower bound of the learned rate; at most `inner_lr`. The code of [Cazenavette22] has
        none (`from_paper`: 0.000001), that of HaBa, which has the same loss, 0.001.""",
    )
    inner_batch_size: int | None = param(
        default=None,
        constraints=[Interval(Integral, 1, None, closed="left"), None],
        kind="int or None",
        doc="Synthetic samples per class in each of these steps; None uses all.",
    )
    classes_per_step: int | None = param(
        default=None,
        constraints=[Interval(Integral, 1, None, closed="left"), None],
        kind="int or None",
        doc="""Classes whose synthetic samples take part in each of these steps, drawn anew for
        every step; None uses all. At most the number of classes.""",
    )
    gradient: Literal["exact", "first_order"] = param(
        default="exact",
        constraints=[StrOptions({"exact", "first_order"})],
        kind='{"exact", "first_order"}',
        doc="""The derivative of the loss: "exact" is that of the whole training, [Cazenavette22];
        "first_order" leaves out what each step changes of the gradients in later ones, [Cui23].""",
    )
    expert_labels: bool = param(
        default=False,
        constraints=["boolean"],
        kind="bool",
        doc="""Whether learned labels start as the probabilities that experts, after their last
        epoch, give to the classes of the first samples, as in [Guo24]: those of the mean scores of
        the experts that are right. Needs `learn_labels`.""",
    )
    outer_optimizer: Literal["adam", "sgd"] = param(
        default="adam",
        doc="""What moves the samples, labels and `inner_lr`: Adam with gradients that are clipped
        at twice the moving average of their norms, each with itself in it (``MovingAverageClip``),
        or, as in [Cazenavette22], gradient descent with momentum 0.5 and without clipping, for
        which `learning_rate` must be a number: 100 and 1000 in [Cazenavette22], for whitened
        samples of deviation 0.254, which are 1550 and 15,500 for standardized ones.""",
    )

    _derivatives = 2
    _advice = "Use a lower learning_rate, inner_lr or inner_lr_lr, or check the scale of X."
    _hints = Hints(
        states="syn_steps (the parameters after each), and n_experts and max_start on a CPU",
        activations="ipc, inner_batch_size or classes_per_step (activations of synthetic samples)",
        real="batch_size (the activations of an expert's real samples)",
        time=("syn_steps", "the width of the networks", "n_experts and max_start"),
        step="syn_steps steps from where an expert was, differentiated; before, the experts",
    )
    _paper = MTT
    _paper_rate = "1550 in [Cazenavette22], for standardized samples"
    _other_papers = {"mtt": MTT, "tesla": TESLA, "ftd": FTD, "datm": DATM}

    def _check_parameters(self) -> None:
        super()._check_parameters()
        if self.inner_lr_min > self.inner_lr:
            raise ValueError(
                f"inner_lr_min={self.inner_lr_min} must be at most inner_lr={self.inner_lr}."
            )
        if self.min_start >= self.max_start:
            raise ValueError(
                f"min_start={self.min_start} must be less than max_start={self.max_start}."
            )
        first = self.first_max_start
        if first is not None and not self.min_start < first <= self.max_start:
            raise ValueError(
                f"first_max_start={first} must be more than min_start={self.min_start} and at most "
                f"max_start={self.max_start}."
            )
        if self.expert_alpha and not self.expert_rho:
            raise ValueError(
                f"expert_alpha={self.expert_alpha} must come with an expert_rho above 0: 0.01 in "
                "[Du23]."
            )
        if self.expert_labels and not self.learn_labels:
            raise ValueError("expert_labels=True must come with learn_labels=True.")
        check_inner_batch_size(self.inner_batch_size, self.ipc)

    def _check_classes(self, n_classes: int) -> None:
        check_classes_per_step(self.classes_per_step, n_classes)

    def _make_method(self, problem: Problem) -> TrajectoryMatching:
        learner, augmentation = problem.networks, problem.augmentation
        recipe = {
            "expert_seed": self.expert_seed,
            "expert_lr": self.expert_lr,
            "expert_rho": self.expert_rho,
            "expert_alpha": self.expert_alpha,
            "epoch_steps": self.epoch_steps,
            "batch_size": min(self.batch_size, len(problem.real)),
            "augmentation": augmentation,
        }
        training = Training(
            steps=Steps(
                learner,
                SGD(self.expert_lr),
                synthetic_chunk(learner, problem.shape, problem.chunk),
                augment=None if augmentation is None else augmentation.apply,
            ),
            seed=self.expert_seed,
            learning_rate=self.expert_lr,
            batch_size=self.batch_size,
            sharpness=Sharpness(self.expert_rho, self.expert_alpha),
            steps_per_epoch=self.epoch_steps,
        )
        return TrajectoryMatching(
            training=training,
            recipe=recipe,
            n_experts=self.n_experts,
            expert_epochs=self.expert_epochs,
            starts=Starts(
                self.min_start, self.max_start, self.first_max_start, self.expansion_steps
            ),
            syn_steps=self.syn_steps,
            batches=InnerBatches(self.inner_batch_size, self.classes_per_step),
            inner_lr=self.inner_lr,
            inner_lr_lr=self.inner_lr_lr,
            inner_lr_min=self.inner_lr_min,
            first_order=self.gradient == "first_order",
            expert_labels=self.expert_labels,
            optimizer=self._optimizer(),
            clip=self._clip(),
        )
