"""Gradient matching: synthetic samples that teach networks what the real ones teach them."""

from numbers import Integral, Real
from typing import Any, Literal

from .._data.validation import Interval, StrOptions
from .._engine.methods.base import Problem
from .._engine.methods.gradient_matching import DISTANCES, GradientDistance, GradientMatching
from .._engine.optimizers import SGD
from .._engine.pool import Pool
from .._engine.rows import rows_by_class
from .._engine.runtime import synthetic_chunk
from .._engine.steps import Steps
from ..forecast import Hints
from ..paper import DC, DSA, IDC, IDC_I
from ._matching import ClassMatchingDistiller
from ._parameters import param

__all__ = ["GradientMatchingDistiller"]

# utils.py of the code of [Zhao21a]: epochs of training between two updates of the samples, from so
# many samples per class on.
_EPOCHS = {2: 50, 20: 25, 30: 20, 40: 15, 50: 10}
_MOST_UPDATES = 50
# condense.py of the code of [Kim22]: updates for which a network serves; real samples that train it
# between two of them, which is n_data in misc/reproduce.py.
_UPDATES_ON_REAL, _REAL_SAMPLES = 100, 2000


class GradientMatchingDistiller(ClassMatchingDistiller):
    """Distill a data set by matching the gradients of networks (DC, DSA, IDC).

    Learns ``ipc`` synthetic samples per class on which a network's gradient is that on the class's
    real samples, so that a step of training on either is the same. Every outer step moves the
    samples down the distance of the two gradients, summed over layers and classes (Algorithm 1 of
    [Zhao21a]_). A network serves for `outer_loop` such steps, between which it is trained on the
    synthetic samples, and is then replaced by a fresh one.

    With `augmentation` that is DSA [Zhao21b]_, and with ``distance="mse"`` or "l1" and
    ``network_data="real"`` the matching of IDC [Kim22]_: see Notes.

    A step costs a gradient of the real samples of all classes, and about four of the synthetic
    ones: their gradient is differentiated once, along one vector.

    Parameters
    ----------
    {parameters}

    Attributes
    ----------
    distilled_ : DistilledDataset
        The synthetic samples with the recipe to evaluate them.
    outer_loop_, inner_loop_ : int
        What "auto" came to.
    history_ : dict of str to list
        One value per outer step: "loss" (the summed distance), "grad_norm" (before clipping),
        "clip_level", "skipped", "seconds", "age" (steps of training of the step's network),
        "n_diverged" (networks that had diverged and were replaced, up to this step), and with
        `validation_fraction` "validation_accuracy". None stands for values that were not finite or
        not measured.
    {fitted}

    See Also
    --------
    DistributionMatchingDistiller : Matches embeddings of untrained networks, for less per step.
    RaTBPTTDistiller : Differentiates the training of networks.
    BoostedDistiller : Runs a distiller block by block, so that every prefix is a good set.

    Notes
    -----
    With ``g`` and ``h`` a layer's gradients of the mean cross-entropy on a class's real and
    synthetic samples, as matrices with a row for each output, "cosine" is ``sum(1 - g_i h_i /
    (norm(g_i) norm(h_i) + 1e-6))`` over the rows. Parameters with one value per output do not
    count: biases, and scales and shifts of normalizations. Those of layer normalization over images
    have one for each pixel, and count, as in the codes of DSA and IDC. ``fit(X, y,
    sample_weight=...)`` weighs the losses of the real samples. All classes count the same, however
    many samples they have, unless ``class_weight`` weighs their terms of the sum.

    Augmentation is "siamese": the same for all samples of a class in a step, real and synthetic,
    drawn anew for each class and step. Networks are trained on augmented samples, too. Learned
    labels are in none of the papers: with them the loss of the synthetic samples is the
    cross-entropy to their labels, and the distance moves these as well.

    What differs from the code of the papers: their networks with batch normalization take the
    moments of real samples, which are fixed for a step, and here those of each class's samples.
    [Zhao21a]_ starts from noise of variance 1 (and reports about the same from real samples).
    [Kim22]_ moves the samples after each class instead of after all, matches at most 128 samples of
    a class at a time, mixes the real images that train its networks (CutMix), which it augments
    without the cutout that CutMix takes the place of (here they are augmented as in the matching),
    and clamps the samples once per network, before its 100 updates, and not after each.

    ``from_paper("cifar10", ipc)`` has the values of DC, ``from_paper("cifar10", ipc, paper="dsa")``
    those of DSA, ``paper="idc"`` those of IDC, whose samples are tiles, four for each of `ipc`, and
    ``paper="idc-i"`` those of IDC without tiles. They are from the codes, ``main.py`` and
    ``utils.py`` of DC and DSA and ``argument.py``, ``condense.py`` and ``misc/reproduce.py`` of
    IDC: 256 (IDC: 64) real samples per class, gradient descent with momentum 0.5, and those named
    with each parameter; 1000 networks, so 1000 times `outer_loop` outer steps (IDC: 2000 networks).
    `learning_rate` is their step in standardized units: DC and DSA divide samples by other
    deviations than those of the data for CIFAR-10, which leaves one of 1.25; IDC learns pixels
    between 0 and 1, of deviation 0.25 (CIFAR-10) and 0.353 (Fashion-MNIST), and multiplies its rate
    by ``ipc / 10`` and by the pixels of an image over 32 x 32. The networks of all three see
    CIFAR-10 with a deviation of 1.25: what "dsa" and `Color` add to the brightness, in standardized
    units, is a quarter more than there. `eval_steps` is ours, as in
    `skdistill.paper_settings`; ``distiller.evaluate(X, y, protocol="dsa")`` is the evaluation of
    DSA, and "dc" that of DC.

    References
    ----------
    .. [Zhao21a] B. Zhao, K. R. Mopuri and H. Bilen, "Dataset Condensation with Gradient Matching",
       ICLR 2021; code: github.com/VICO-UoE/DatasetCondensation.
    .. [Zhao21b] B. Zhao and H. Bilen, "Dataset Condensation with Differentiable Siamese
       Augmentation", ICML 2021; in the same code.
    .. [Kim22] J.-H. Kim et al., "Dataset Condensation via Efficient Synthetic-Data
       Parameterization", ICML 2022; code: github.com/snu-mllab/Efficient-Dataset-Condensation.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skdistill import GradientMatchingDistiller
    >>> X, y = load_digits(return_X_y=True)
    >>> distiller = GradientMatchingDistiller(
    ...     ipc=2, image_shape=(1, 8, 8), max_iter=2, random_state=0
    ... ).fit(X, y)
    >>> X_syn, y_syn = distiller.transform()
    >>> X_syn.shape, y_syn[:12].tolist(), (distiller.outer_loop_, distiller.inner_loop_)
    ((20, 64), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1], (2, 50))
    """

    distance: Literal["cosine", "mse", "l1"] = param(
        default="cosine",
        constraints=[StrOptions(set(DISTANCES))],
        kind='{"cosine", "mse", "l1"}',
        doc="""The distance of a layer's gradients: "cosine" is one minus the cosine, summed over
        its outputs [Zhao21a]; "mse" the sum of squared and "l1" that of absolute differences, as in
        [Kim22] for CIFAR-10 and for Fashion-MNIST.""",
    )
    matched: Literal["weights", "convolutions"] = param(
        default="weights",
        constraints=[StrOptions({"weights", "convolutions"})],
        kind='{"weights", "convolutions"}',
        doc="""The layers that count: "weights" are all matrices and kernels [Zhao21a],
        "convolutions" the kernels alone [Kim22]. With either, so do scales and shifts of layer
        normalization over images, as in both codes.""",
    )
    outer_loop: int | Literal["auto"] = param(
        default="auto",
        constraints=[Interval(Integral, 1, None, closed="left"), StrOptions({"auto"})],
        kind='int or "auto"',
        doc="""Outer steps for which a network serves, before a fresh one takes its place. "auto"
        is `ipc`, at most 50, as in the code of [Zhao21a], and 100 with ``network_data="real"``, as
        in [Kim22], which is for runs of many thousands of steps: short ones see few networks.""",
    )
    inner_loop: int | Literal["auto"] = param(
        default="auto",
        constraints=[Interval(Integral, 1, None, closed="left"), StrOptions({"auto"})],
        kind='int or "auto"',
        doc="""Training of the network between two outer steps: epochs of the synthetic samples, or
        batches of real ones with ``network_data="real"``. "auto" is 50 epochs, from 20 samples per
        class on 25, from 30 on 20, from 40 on 15 and from 50 on 10, as in the code of [Zhao21a],
        and 1 for one sample per class, where a network of ``outer_loop="auto"`` serves once and is
        not trained; or the batches that make 2000 samples, as in [Kim22] for CIFAR-10.""",
    )
    network_data: Literal["synthetic", "real"] = param(
        default="synthetic",
        constraints=[StrOptions({"synthetic", "real"})],
        kind='{"synthetic", "real"}',
        doc="""What trains the network: the synthetic samples, as they are by then [Zhao21a], or
        real ones [Kim22], drawn in proportion to their weights if they have some.""",
    )
    network_batch_size: int = param(
        default=256,
        constraints=[Interval(Integral, 1, None, closed="left")],
        kind="int",
        doc="""Samples, of all classes together, in a step of this training. [Zhao21a]: 256;
        [Kim22]: 64.""",
    )
    network_lr: float = param(
        default=0.01,
        constraints=[Interval(Real, 0, None, closed="neither")],
        kind="float",
        doc="Learning rate of this training, which is by SGD. [Zhao21a] and [Kim22]: 0.01.",
    )
    network_momentum: float = param(
        default=0.0,
        constraints=[Interval(Real, 0, 1, closed="left")],
        kind="float",
        doc="Its momentum. [Zhao21a]: 0 (in the code); [Kim22]: 0.9.",
    )
    network_weight_decay: float = param(
        default=0.0,
        constraints=[Interval(Real, 0, None, closed="left")],
        kind="float",
        doc="Its weight decay. [Zhao21a]: 0; [Kim22]: 0.0005.",
    )

    _derivatives = 2
    _advice = "Use a lower learning_rate or network_lr, or check the scale of X."
    _hints = Hints(
        states="the width of the networks (their parameters and gradients)",
        activations="ipc or network_batch_size (the synthetic samples' activations)",
        real="batch_size (the real samples' activations)",
        time=("batch_size", "inner_loop", "ipc", "the width of the networks"),
        step="gradients on real and synthetic samples, the latter differentiated, and training",
    )
    _paper = DC
    _other_papers = {"dc": DC, "dsa": DSA, "idc": IDC, "idc-i": IDC_I}
    _paper_rate = "0.1 in [Zhao21a]"

    def _resolve(self, sample_shape: tuple[int, ...]) -> dict[str, Any]:
        if self.network_data == "real":
            loops = _UPDATES_ON_REAL, -(-_REAL_SAMPLES // self.network_batch_size)
        else:
            # For one sample per class there is one outer step, and no training.
            epochs = max((n for n in _EPOCHS if n <= self.ipc), default=1)
            loops = min(self.ipc, _MOST_UPDATES), _EPOCHS.get(epochs, 1)
        given = {"outer_loop": self.outer_loop, "inner_loop": self.inner_loop}
        auto = dict(zip(given, loops))
        return {name: auto[name] if value == "auto" else value for name, value in given.items()}

    def _make_method(self, problem: Problem) -> GradientMatching:
        learner, augmentation = problem.networks, problem.augmentation
        n_axes = 3 if self.matched == "convolutions" else 2
        assert not isinstance(self.outer_loop, str)  # they are resolved
        assert not isinstance(self.inner_loop, str)
        steps = Steps(
            learner,
            SGD(self.network_lr, self.network_momentum, self.network_weight_decay),
            synthetic_chunk(learner, problem.shape, problem.chunk),
            None if augmentation is None else augmentation.apply,
        )
        n_steps, on_real = self.inner_loop, self.network_data == "real"
        if not on_real:
            n_steps *= -(-len(problem.rows) // self.network_batch_size)
        # A network is too old once it was trained for all of its outer steps but the first.
        oldest = (self.outer_loop - 1) * n_steps - 1
        return GradientMatching(
            steps=steps,
            pool=Pool(steps, 1, oldest, self.network_batch_size, augmentation),
            distance=GradientDistance(learner, DISTANCES[self.distance], n_axes),
            real_rows=rows_by_class(problem.real.y, problem.rows.n_classes),
            batch_size=self.batch_size,
            n_steps=n_steps,
            on_real=on_real,
            optimizer=self._optimizer(),
            clip=self._clip(),
        )
