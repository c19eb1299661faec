"""How the papers judge their sets, each by its official code."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, Literal

import numpy as np

from .._data.layout import Layout
from .._data.warn import warn
from ..augmentation import (
    Augmentation,
    Color,
    Crop,
    Cutout,
    Flip,
    OneOf,
    Rotation,
    Scale,
    check_augmentation,
)
from ..distilled._dataset import DistilledDataset
from ..distilled._known import without_accuracy
from ..distilled._protocol import TRAINING, EvaluationProtocol
from ..networks import (
    MLP,
    Architecture,
    ConvNet,
    check_architecture,
    describe_architecture,
    resolve_architecture,
)
from . import _plain_augmentation
from ._plain_architecture import to_plain

__all__ = [
    "PROTOCOLS",
    "by_recipe_of",
    "check_said_once",
    "n_negative_labels",
    "paper_protocol",
    "resolve_protocol",
    "under",
    "warn_of_negative_labels",
    "with_recipe",
]


def paper_protocol(name: str, distilled: DistilledDataset) -> EvaluationProtocol:
    """Return how a paper judges a set such as this one.

    Parameters
    ----------
    name : {"rat_bptt", "bptt", "dc", "dsa", "dm", "mtt", "ftd", "kip", "rfad", "frepo", "rcig"}
        The paper: see Notes.
    distilled : DistilledDataset
        The set to judge: steps, rates and networks depend on the number of its samples and classes,
        and on the shape of a sample.

    Returns
    -------
    EvaluationProtocol
        It is a new value: ``dataclasses.replace`` changes what you like.

    Raises
    ------
    ValueError
        If no paper has this name.

    See Also
    --------
    evaluate : Takes such a protocol, or the name of a paper.

    Notes
    -----
    The constants are those of the official codes, and the comments in
    ``skdistill/evaluation/_papers.py`` say in which file each one stands.

    - "rat_bptt" [Feng23]_: Adam without a schedule, cross-entropy, the augmentation of the set's
      own recipe. 300 steps for one sample per class, else 1000, as in `skdistill.paper_settings`;
      the paper's code reports the best of several numbers of steps.
    - "bptt" [Deng22]_: SGD with momentum, 300 epochs, hard labels.
    - "dc" [Zhao21a]_, "dsa" [Zhao21b]_ and "dm" [Zhao23]_: SGD with momentum and weight decay, the
      rate a tenth from the middle on, hard labels; 300 epochs without augmentation ("dc"), or 1000
      with that of DSA.
    - "mtt" [Cazenavette22]_ and "ftd" [Du23]_: as "dm", with five networks and the learning rate
      that was learned with the set. It is the one of the set's recipe if that trains by SGD, else
      0.01. Soft labels that the recipe learns by cross-entropy are learned as it says, because the
      codes of TESLA and DATM, whose sets have such labels, evaluate in the same way with them.
      Those that it learns by squared error, or that are negative, become hard ones.
    - "kip" [Nguyen21b]_: a ConvNet of width 1024 without normalization, squared error, SGD with
      momentum at the largest stable rate, cosine schedule, 5000 steps. The paper's code estimates
      that rate on 50 validation images; here it is estimated on the first 50 samples of the set.
    - "rfad" [Loo22]_: a ConvNet of width 1024 without normalization, squared error on scores minus
      the initial ones, SGD with momentum, 20,000 steps. The paper's code stops when the accuracy on
      5000 training images has stopped rising; a set has none. Rate and label scale are those for
      CIFAR-10, whatever the data. For CIFAR-100 the code has a rate of 0.1 and a scale of 8 (one
      sample per class) or 2 (ten); for Fashion-MNIST 0.001 and 8 (one), 0.01 and 8 (ten; with a
      weight decay, which is not to be had here beside scores minus the initial ones), and 0.001
      and 2 (50). In a protocol such a rate is ``learning_rate=rate * 2 / (n_classes *
      label_scale**2)``. Color images are whitened there and have a deviation of
      0.447, while here networks see one of 1. Without normalization, the rate then acts about five
      times as strongly.
    - "frepo" [Zhou22]_ and "rcig" [Loo23]_: a ConvNet of widths 128, 256, 512 without
      normalization, squared error, Adam with a warm-up and a cosine schedule, augmentation. Their
      networks see the same deviations as those of "rfad", with less effect on Adam's steps.

    Cutmix, which IDC needs, mixes samples and is not here.

    The papers distill images. For a table, networks are multilayer perceptrons of the paper's
    width, without normalization if the paper has none, and nothing is augmented. One channel stands
    for digits and the like, which are not mirrored. A set does not say what its images show: the
    commands of DSA and DM mirror Fashion-MNIST, and DSA's do not mirror SVHN, so for these replace
    the ``augmentation`` of "dsa", "dm", "mtt" and "ftd".

    References
    ----------
    .. [Feng23] Y. Feng, R. Vedantam and J. Kempe, "Embarrassingly Simple Dataset Distillation",
       arXiv:2311.07025.
    .. [Deng22] Z. Deng and O. Russakovsky, "Remember the Past: Distilling Datasets into Addressable
       Memories for Neural Networks", NeurIPS 2022.
    .. [Zhao21a] B. Zhao, K. R. Mopuri and H. Bilen, "Dataset Condensation with Gradient Matching",
       ICLR 2021.
    .. [Zhao21b] B. Zhao and H. Bilen, "Dataset Condensation with Differentiable Siamese
       Augmentation", ICML 2021.
    .. [Zhao23] B. Zhao and H. Bilen, "Dataset Condensation with Distribution Matching", WACV 2023.
    .. [Cazenavette22] G. Cazenavette, T. Wang, A. Torralba, A. A. Efros and J.-Y. Zhu, "Dataset
       Distillation by Matching Training Trajectories", CVPR 2022.
    .. [Du23] J. Du, Y. Jiang, V. Y. F. Tan, J. T. Zhou and H. Li, "Minimizing the Accumulated
       Trajectory Error to Improve Dataset Distillation", CVPR 2023.
    .. [Nguyen21b] T. Nguyen, R. Novak, L. Xiao and J. Lee, "Dataset Distillation with Infinitely
       Wide Convolutional Networks", NeurIPS 2021.
    .. [Loo22] N. Loo, R. Hasani, A. Amini and D. Rus, "Efficient Dataset Distillation using Random
       Feature Approximation", NeurIPS 2022.
    .. [Zhou22] Y. Zhou, E. Nezhadarya and J. Ba, "Dataset Distillation using Neural Feature
       Regression", NeurIPS 2022.
    .. [Loo23] N. Loo, R. Hasani, M. Lechner and D. Rus, "Dataset Distillation with Convexified
       Implicit Gradients", ICML 2023.

    Examples
    --------
    >>> from dataclasses import replace
    >>> from skdistill.datasets import load_distilled
    >>> from skdistill.evaluation import paper_protocol
    >>> protocol = paper_protocol("dm", load_distilled("cifar10"))
    >>> protocol.optimizer, protocol.momentum, protocol.steps, protocol.n_networks
    ('sgd', 0.9, 1001, 20)
    >>> fewer = replace(protocol, n_networks=5)
    """
    if not isinstance(name, str) or name not in _PAPERS:
        raise ValueError(f"protocol must be one of {_known()}; got {name!r}.")
    return _PAPERS[name](distilled)


def resolve_protocol(
    protocol: str | EvaluationProtocol | None, distilled: DistilledDataset
) -> EvaluationProtocol | None:
    """Return the protocol that a name stands for; None, the set's own recipe, for "recipe".

    Raises
    ------
    ValueError, TypeError
        If it is no protocol, or a name of none.
    """
    if protocol is None or isinstance(protocol, EvaluationProtocol):
        return protocol
    if not isinstance(protocol, str):
        raise TypeError(
            "protocol must be None, the name of a paper or an EvaluationProtocol; "
            f"got {protocol!r:.200} of type {type(protocol).__name__}."
        )
    if protocol == "recipe":
        return None
    if protocol not in _PAPERS:
        raise ValueError(
            f"protocol must be 'recipe', an EvaluationProtocol or one of {_known()}; "
            f"got {protocol!r}."
        )
    return paper_protocol(protocol, distilled)


def check_said_once(
    protocol: EvaluationProtocol | None,
    steps: object = None,
    architecture: object = None,
    augmentation: object = "recipe",
) -> None:
    """Raise a ValueError if arguments say what the protocol says already."""
    if protocol is None:
        return
    said = {"steps": steps is not None}
    said["architecture"] = architecture is not None and protocol.architecture is not None
    said["augmentation"] = augmentation != "recipe" and protocol.augmentation != "recipe"
    for name, twice in said.items():
        if twice:
            raise ValueError(
                f"{name} must not be given beside protocol, which says it already "
                f"({getattr(protocol, name)!r:.100}). Change the protocol instead: "
                f"dataclasses.replace(protocol, {name}=...); paper_protocol(name, distilled) "
                "returns a paper's."
            )


def under(distilled: DistilledDataset, protocol: EvaluationProtocol | None) -> DistilledDataset:
    """Return the set with a recipe that trains networks by this protocol.

    The recipe keeps its networks and its augmentation: the protocol's may have no plain form.
    """
    if protocol is None:
        return distilled
    training = {name: getattr(protocol, name) for name in ("n_networks", *TRAINING)}
    return replace(distilled, recipe=replace(distilled.recipe, **training))


def by_recipe_of(
    first: DistilledDataset, other: DistilledDataset, refusal: str
) -> DistilledDataset:
    """Return a set with the recipe of another one, but in its own units, or raise a ValueError.

    ``refusal`` says that its classes or the shape of its samples are not those of the other one.
    """
    same = np.array_equal(other.classes, first.classes)
    if not same or other.recipe.layout != first.recipe.layout:
        raise ValueError(refusal)
    # Each keeps only what belongs to the data that it was distilled from.
    recipe = replace(first.recipe, mean=other.recipe.mean, scale=other.recipe.scale)
    return replace(other, recipe=recipe)


def with_recipe(
    distilled: DistilledDataset, protocol: str | EvaluationProtocol
) -> DistilledDataset:
    """Return the set with a recipe that says all of a protocol, as `with_protocol` describes.

    Raises
    ------
    ValueError
        If a recipe cannot keep the protocol's networks.
    """
    resolved = resolve_protocol(protocol, distilled)
    if resolved is None:
        return distilled
    recipe = under(distilled, resolved).recipe
    if resolved.architecture is not None:
        shape = recipe.layout.network_shape
        check_architecture(resolved.architecture)
        architecture = to_plain(resolve_architecture(resolved.architecture, shape))
        if architecture is None:
            raise ValueError(
                "protocol must have an architecture that a recipe can keep: a name, or a "
                "functools.partial of ConvNet or MLP in skdistill.networks; got "
                f"{describe_architecture(resolved.architecture)}."
            )
        recipe = replace(recipe, architecture=architecture)
    if resolved.augmentation != "recipe":
        augmentation = check_augmentation(resolved.augmentation, recipe.layout.network_shape)
        recipe = replace(recipe, augmentation=_plain_augmentation.to_plain(augmentation))
    return replace(distilled, recipe=recipe, provenance=without_accuracy(distilled.provenance))


def n_negative_labels(distilled: DistilledDataset) -> int:
    """Return how many labels networks are to learn for which their loss has no minimum."""
    recipe, y = distilled.recipe, distilled.y
    if recipe.loss != "cross-entropy" or recipe.targets != "given" or y.ndim == 1:
        return 0
    return int((y < 0).any(axis=1).sum())


def warn_of_negative_labels(distilled: DistilledDataset) -> None:
    """Warn if networks are to learn labels for which their loss has no minimum."""
    n = n_negative_labels(distilled)
    if n:
        warn(
            f"{n} of {len(distilled)} soft labels have values below 0, for which cross-entropy has "
            "no minimum: networks diverge in time. A protocol with loss='mse' learns such labels, "
            "and one with targets='hard' or 'softmax' makes others of them.",
            UserWarning,
        )


# The papers ---------------------------------------------------------------------------------------


def _network(
    layout: Layout, *, width: int, norm: Literal["instance", "none"], **options: Any
) -> Architecture:
    """Return a paper's ConvNet, or the perceptron that stands for it where there are no images."""
    shape = layout.network_shape
    if resolve_architecture("auto", shape) == "mlp":
        of_table = {k: v for k, v in options.items() if k == "initialization"}
        return partial(MLP, width=width, norm="none" if norm == "none" else "layer", **of_table)
    return partial(ConvNet, width=width, norm=norm, **options)


def _padding(layout: Layout) -> int:
    """Return the first padding of VICO's `networks.py` and FRePo's `lib/models/networks.py`."""
    return 3 if layout.network_shape[0] == 1 else 1


def _usual_network(distilled: DistilledDataset) -> Architecture:
    """Return the field's ConvNet: `get_default_convnet_setting` of VICO's `utils.py`."""
    layout = distilled.recipe.layout
    return _network(layout, width=128, norm="instance", padding=_padding(layout))


def _steps_of(epochs: int, distilled: DistilledDataset, batch_size: int) -> int:
    return epochs * -(-len(distilled) // batch_size)


def _is_mirrored(distilled: DistilledDataset) -> bool | None:
    """Return whether samples may be mirrored; None if they are not images."""
    layout = distilled.recipe.layout
    return layout.network_shape[0] > 1 if layout.is_image else None


def _rat_bptt(distilled: DistilledDataset) -> EvaluationProtocol:
    # [Feng23, section 4 and C.1]: ten networks, Adam at 0.001, no schedule.
    return EvaluationProtocol(
        steps=300 if distilled.ipc == 1 else 1000,  # ours, as `paper_settings` says
        learning_rate=0.001,
        n_networks=10,
        architecture=_network(distilled.recipe.layout, width=128, norm="instance"),
    )


def _bptt(distilled: DistilledDataset) -> EvaluationProtocol:
    # LinBa's configs/compressors_bptt_interventions.yml: evaluation and backbone_optim.
    return EvaluationProtocol(
        # tools/trainer.py: batches of 640, and no schedule (no_scheduler=True in evaluator.py).
        steps=_steps_of(300, distilled, 640),
        batch_size=640,
        optimizer="sgd",
        learning_rate=0.01,
        momentum=0.9,
        targets="hard",  # class indices, tools/trainer.py
        n_networks=10,
        architecture=_usual_network(distilled),
        augmentation=None,  # the README's commands: "none"
    )


def _condensation(
    distilled: DistilledDataset, epochs: int, *, augments: bool, n_networks: int, rate: float
) -> EvaluationProtocol:
    """Return the protocol of `evaluate_synset` in VICO's `utils.py`, which several codes copy."""
    augmentation = None
    mirrored = _is_mirrored(distilled)
    if augments and mirrored is not None:
        # "color_crop_cutout_flip_scale_rotate" of main.py and main_DM.py, and for digits the
        # strategy without "flip", which VICO's readme lists beside it.
        steps: list[Augmentation] = [Color(), Cutout(), Rotation(), Crop(), Scale()]
        augmentation = OneOf([*steps, Flip()] if mirrored else steps)
    return EvaluationProtocol(
        # for ep in range(Epoch + 1), in batches of args.batch_train = 256.
        steps=_steps_of(epochs + 1, distilled, 256),
        batch_size=256,
        optimizer="sgd",
        learning_rate=rate,
        momentum=0.9,
        weight_decay=0.0005,
        schedule="step",
        # The rate falls after epoch Epoch // 2 + 1, counted from 0. (The code makes a new
        # optimizer then, which forgets its velocity.)
        milestones=((epochs // 2 + 2) / (epochs + 1),),
        gamma=0.1,
        targets="hard",  # lab = datum[1].long()
        n_networks=n_networks,
        architecture=_usual_network(distilled),
        augmentation=augmentation,
    )


def _dc(distilled: DistilledDataset) -> EvaluationProtocol:
    # VICO's main.py: epoch_eval_train 300, num_eval 20, lr_net 0.01. (MNIST alone is augmented, by
    # crops, scales and rotations of its own, for 1000 epochs.)
    return _condensation(distilled, 300, augments=False, n_networks=20, rate=0.01)


def _dsa(distilled: DistilledDataset) -> EvaluationProtocol:
    # VICO's main.py with args.dsa, and its main_DM.py, which is DM: epoch_eval_train 1000, num_eval
    # 20, lr_net 0.01.
    return _condensation(distilled, 1000, augments=True, n_networks=20, rate=0.01)


def _mtt(distilled: DistilledDataset) -> EvaluationProtocol:
    # MTT's distill.py: epoch_eval_train 1000, num_eval 5, args.lr_net = syn_lr.item(), which starts
    # at lr_teacher 0.01. FTD's distill/distill_FTD.py has the same.
    recipe = distilled.recipe
    learned = recipe.optimizer == "sgd" and not isinstance(recipe.learning_rate, str)
    rate = recipe.learning_rate if learned else 0.01
    assert not isinstance(rate, str)
    protocol = _condensation(distilled, 1000, augments=True, n_networks=5, rate=rate)
    # The function epoch of TESLA's utils.py, and DATM's distill/evaluation.py, which takes the
    # softmax of its labels, as recipes may.
    soft = distilled.y.ndim == 2 and recipe.loss == "cross-entropy"
    if soft and not n_negative_labels(distilled):
        return replace(protocol, targets=recipe.targets)
    return protocol


def _kip(distilled: DistilledDataset) -> EvaluationProtocol:
    # KIP's nn_training.ipynb, get_config. The notebook trains one network, ours are ten.
    n_classes = len(distilled.classes)
    return EvaluationProtocol(
        steps=5000,
        batch_size=100,
        loss="mse",
        targets="centered",  # the shift of _load_dataset
        optimizer="sgd",
        learning_rate="stable",  # max_lr_factor 1
        momentum=0.9,
        # l2_regularization 0.001, beside a loss that is a mean over classes, where ours is a sum.
        weight_decay=0.001 * n_classes,
        schedule="cosine",
        n_networks=10,
        architecture=_network(
            distilled.recipe.layout, width=1024, norm="none", stem=True, initialization="he"
        ),
        augmentation=None,
    )


def _rfad(distilled: DistilledDataset) -> EvaluationProtocol:
    # RFAD's eval_distilled_set.py and training.py, one network a seed; ours are ten. Rate and label
    # scale are those of get_best_finite_hypers in utils.py for CIFAR-10 with 1, 10 and 50 samples
    # per class, where the weight decay is 0.
    rate, scale = {1: (0.001, 8.0), 10: (0.001, 2.0)}.get(distilled.ipc, (0.01, 2.0))
    return EvaluationProtocol(
        steps=20_000,
        batch_size=513,
        loss="mse",
        targets="centered",  # one-hot - 1/C, run_distillation.py
        label_scale=scale,
        subtract_initial=True,
        optimizer="sgd",
        # The loss is the mean square over samples and classes, divided by the square of the label
        # scale; ours is half the sum over classes.
        learning_rate=rate * 2 / (len(distilled.classes) * scale**2),
        momentum=0.9,
        n_networks=10,
        architecture=_network(
            distilled.recipe.layout, width=1024, norm="none", initialization="he"
        ),
        augmentation=None,
    )


# FRePo's script/eval.py: "Rough estimate of number of steps", by samples.
_FREPO_STEPS_BY_SIZE = {
    10: 1000, 100: 2000, 200: 20_000, 400: 5000, 500: 5000, 1000: 10_000, 2000: 40_000, 5000: 40_000
}  # fmt: skip


def _doubling(distilled: DistilledDataset) -> Architecture:
    """Return the class Conv of FRePo's `lib/models/networks.py` and of RCIG's `models.py`."""
    layout = distilled.recipe.layout
    return _network(
        layout,
        width=128,
        norm="none",
        doubling=True,
        padding=_padding(layout),
        initialization="lecun",
    )


def _one_of(distilled: DistilledDataset, *, colors_gray: bool) -> Augmentation | None:
    """Return "flip_color_crop_rotate_translate_cutout" of FRePo's `lib/dataset/augmax/export.py`.

    Its crop is a zoom of 0.8 to 1.25, its translation ours. Of its color jitter, contrast and
    saturation, whose factors are between 0.78 and 1.28, have no counterpart here.
    """
    mirrored = _is_mirrored(distilled)
    if mirrored is None:
        return None
    steps: list[Augmentation] = [
        Scale(ratio=1.25), Rotation(degrees=15), Crop(padding=0.125), Cutout(ratio=0.25)
    ]  # fmt: skip
    if mirrored or colors_gray:
        steps.append(Color(brightness=0.5, saturation=None, contrast=None))
    return OneOf([*steps, Flip()] if mirrored else steps)


def _frepo(distilled: DistilledDataset) -> EvaluationProtocol:
    n = len(distilled)
    # A number of samples that is not in the list takes the next larger one's.
    steps = next((steps for size, steps in _FREPO_STEPS_BY_SIZE.items() if n <= size), 40_000)
    return EvaluationProtocol(
        # script/eval.py, defaults of main and the lines that train.
        steps=steps,
        batch_size=500,
        loss="mse",  # lib/training/metrics.py: half the squared error, summed over classes
        targets="centered",  # y_transform
        optimizer="adam",
        learning_rate=0.0003,
        # weight_decay 0.0003 is for other optimizers, lib/training/utils.py.
        schedule="cosine",
        final_factor=0.01,  # alpha
        warmup_steps=500,
        n_networks=5,
        architecture=_doubling(distilled),
        # script/eval.py: no flip for MNIST and Fashion-MNIST.
        augmentation=_one_of(distilled, colors_gray=True),
    )


def _rcig(distilled: DistilledDataset) -> EvaluationProtocol:
    # RCIG's eval.py, "with data augmentation". With its configs' use_flip, the mirrored samples are
    # in the set as well; here Flip is among the augmentations alone.
    return EvaluationProtocol(
        steps=1000 if len(distilled) <= 10 else 2000,  # num_online_eval_updates
        batch_size=256,
        loss="mse",  # algorithms.py, get_training_loss_l2: a mean, which Adam does not feel
        targets="centered",
        optimizer="adam",
        learning_rate=0.0001,  # eval_lr
        schedule="cosine",
        final_factor=0.01,  # alpha
        warmup_steps=500,
        n_networks=5,  # models_to_test
        architecture=_doubling(distilled),
        # test_aug of configs_final/depth_3.txt, and of depth_3_no_flip.txt for MNIST.
        augmentation=_one_of(distilled, colors_gray=False),
    )


_PAPERS: dict[str, Callable[[DistilledDataset], EvaluationProtocol]] = {
    "rat_bptt": _rat_bptt,
    "bptt": _bptt,
    "dc": _dc,
    "dsa": _dsa,
    "dm": _dsa,
    "mtt": _mtt,
    "ftd": _mtt,
    "kip": _kip,
    "rfad": _rfad,
    "frepo": _frepo,
    "rcig": _rcig,
}
PROTOCOLS = tuple(_PAPERS)


def _known() -> str:
    return ", ".join(map(repr, PROTOCOLS))
