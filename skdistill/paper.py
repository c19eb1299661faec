"""The parameters of the runs in the methods' papers, by data set and samples per class."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from math import sqrt
from typing import Any, Literal

from .augmentation import Color, Compose, Crop, Cutout, Flip, OneOf, Rotation
from .learning_rates import CosineDecay
from .networks import Architecture, ConvNet
from .parametrization import LinearBasis, Tiled
from .windows import StageAwareWindow

__all__ = ["paper_settings"]


@dataclass(frozen=True, eq=False)
class Paper:
    """The benchmarks of a paper, and the parameters of its runs.

    Parameters
    ----------
    where : str
        Where the benchmarks stand, for errors.
    columns : mapping of str to tuple of int
        Samples per class, by data set.
    settings : callable
        ``(dataset, ipc) -> dict`` of a distiller's parameters, for each of them.
    """

    where: str
    columns: Mapping[str, tuple[int, ...]]
    settings: Callable[[str, int], dict[str, Any]]

    def parameters(self, dataset: object, ipc: object) -> dict[str, Any]:
        """Return the parameters of a run; raise ValueError if the paper has no such run."""
        if not isinstance(dataset, str) or dataset not in self.columns:
            raise ValueError(
                f"dataset must be one of {', '.join(map(repr, self.columns))}, those of "
                f"{self.where}; got {dataset!r}."
            )
        budgets = self.columns[dataset]
        if isinstance(ipc, bool) or ipc not in budgets:
            raise ValueError(
                f"ipc must be one of {', '.join(map(str, budgets))} for {dataset!r}, as in "
                f"{self.where}; got {ipc!r}."
            )
        return self.settings(dataset, int(ipc))


# The columns of Table 1: samples per class, by data set.
_COLUMNS = {
    "cifar10": (1, 10, 50),
    "cifar100": (1, 10, 50),
    "cub200": (1, 10),
    "tinyimagenet": (1, 10),
}
# Window and unroll [Feng23, C.2].
_WINDOWS = {
    ("cifar10", 1): (60, 200),
    ("cifar10", 10): (80, 250),
    ("cub200", 1): (60, 200),
    ("cub200", 10): (60, 200),
}
_OTHER_WINDOWS = (100, 300)
# Real samples in an outer step [Feng23, C.1].
_BATCHES = {"cifar10": 5000, "cifar100": 5000, "cub200": 3000, "tinyimagenet": 1000}
# Synthetic samples per class, and classes, in an inner step. Algorithm 1 takes mini-batches and
# does not say how large they are: these are 50 to 200 samples, as in the commands that its code
# gives for three of the columns (ten samples per class of CIFAR-10, CIFAR-100 and Tiny-ImageNet).
_MINI_BATCHES = {
    ("cifar10", 50): (10, None),
    ("cifar100", 10): (1, None),
    ("cifar100", 50): (1, None),
    ("cub200", 10): (1, None),
    ("tinyimagenet", 1): (None, 50),
    ("tinyimagenet", 10): (1, 50),
}


def paper_settings(dataset: str, ipc: int) -> dict[str, Any]:
    """Return the parameters with which the paper distills a benchmark of its Table 1.

    The paper is [Feng23]_. Sections, appendices and tables below are the paper's.

    Parameters
    ----------
    dataset : {"cifar10", "cifar100", "cub200", "tinyimagenet"}
        The data set.
    ipc : int
        Samples per class: 1, 10 or 50 of CIFAR-10 and CIFAR-100, 1 or 10 of CUB-200 and
        Tiny-ImageNet (section 4, Table 1).

    Returns
    -------
    parameters : dict
        Parameters of `RaTBPTTDistiller`, by name. It is a new dictionary: change what you like.

    Raises
    ------
    ValueError
        If Table 1 has no such column.

    Notes
    -----
    What the paper says, and where:

    - `window`, `unroll`: (60, 200) for CIFAR-10 with one sample per class and CUB-200, (80, 250)
      for CIFAR-10 with ten, (100, 300) for all others (Appendix C.2).
    - `batch_size`: 5000 for CIFAR, 3000 for CUB-200, 1000 for Tiny-ImageNet (Appendix C.1).
    - `learning_rate`, `inner_optimizer`, `inner_lr`, `inner_weight_decay`: Adam with 0.001 outside
      and inside, no weight decay (section 4, Appendix C.1).
    - `schedule`: the random window of Algorithm 1.
    - `init`: Gaussian noise of norm 1 (Appendix C.1).
    - `learn_labels`: True for CIFAR-10 with 50 samples per class, and for all data with more
      classes (Appendix C.1).
    - `augmentation`: flip and rotation (section 4, which says "on the target set"; the paper's code
      augments the synthetic samples as well, and so does `RaTBPTTDistiller`); `score` trains its
      networks on augmented samples, too (Appendix C.1).
    - `architecture`: a ConvNet with instance normalization, of three layers for 32 x 32 pixels and
      of four for 64 x 64 (section 4, Appendix C.1), which "convnet" chooses by the size of the
      samples. It distills through no others: `inner_architecture` is None.
    - `n_networks`: ten in the evaluation (section 4).

    Where the paper is silent:

    - `inner_batch_size`, `classes_per_step`: for ten samples per class of CIFAR-100 and
      Tiny-ImageNet, the commands published with the paper's code take one sample per class in a
      step, of all classes and of 50. By our choice, the other columns get about the same number of
      samples per step.
    - `label_lr_scale`: 1, and `clip_norm`: twice a moving average, as in the paper's code.
    - `max_iter`: ours, 50,000. Section 4.3 and Appendix D.2 speak of windows that move after 2,000
      steps and of a change at step 25,000. Take what time allows.
    - `eval_steps`: ours, fixed before a test set is seen: 300 for one sample per class, else 1000.

    ZCA whitening with a regularization of 0.1 is part of the paper's setting for all data sets
    (Appendix C.1), but not a parameter of a distiller: put `ZCAWhitener` in front of it, as below.

    References
    ----------
    .. [Feng23] Y. Feng, R. Vedantam and J. Kempe, "Embarrassingly Simple Dataset Distillation",
       arXiv:2311.07025.

    Examples
    --------
    >>> from sklearn.pipeline import make_pipeline
    >>> from skdistill import RaTBPTTDistiller, ZCAWhitener, paper_settings
    >>> settings = paper_settings("cifar10", ipc=10)
    >>> settings["window"], settings["unroll"]
    (80, 250)
    >>> distiller = RaTBPTTDistiller(**settings, random_state=0)
    >>> pipe = make_pipeline(ZCAWhitener(regularization=0.1), distiller)
    """
    return RAT_BPTT.parameters(dataset, ipc)


def _rat_bptt(dataset: str, ipc: int) -> dict[str, Any]:
    window, unroll = _WINDOWS.get((dataset, ipc), _OTHER_WINDOWS)
    inner_batch_size, classes_per_step = _MINI_BATCHES.get((dataset, ipc), (None, None))
    return {
        "ipc": ipc,
        "window": window,
        "unroll": unroll,
        "max_iter": 50_000,
        "batch_size": _BATCHES[dataset],
        "inner_batch_size": inner_batch_size,
        "classes_per_step": classes_per_step,
        "learning_rate": 0.001,
        "clip_norm": "feng23",
        "inner_optimizer": "adam",
        "inner_lr": 0.001,
        "inner_weight_decay": 0.0,
        "schedule": "rat-bptt",
        "init": "gaussian",
        "learn_labels": dataset != "cifar10" or ipc == 50,
        "label_lr_scale": 1.0,
        "augmentation": "flip_rotate",
        "architecture": "convnet",
        "inner_architecture": None,
        "n_networks": 10,
        "eval_steps": 300 if ipc == 1 else 1000,
    }


def _deng22(ipc: int) -> dict[str, Any]:
    # What BPTT and LinBa have in common: configs/compressors_bptt_interventions.yml,
    # runners/sgld_runner_standard.py and the commands in the README of [Deng22]'s code.
    return {
        "ipc": ipc,
        "schedule": "bptt",
        "unroll": 150,
        "max_iter": 500_000,
        # 64 of each class there; here they are drawn from all.
        "batch_size": 640,
        "inner_optimizer": "sgd",
        "inner_lr": 0.01,
        "inner_momentum": 0.9,
        "inner_weight_decay": 0.0,
        "outer_optimizer": "sgd",
        "outer_momentum": 0.5,
        "learning_rate": 0.1,
        "clip_norm": 2.0,
        "init": "gaussian",
        "learn_labels": False,
        "augmentation": None,
        "shared_augmentation": True,
        "architecture": "convnet",
        "inner_architecture": None,
        "n_networks": 10,
        # 300 epochs of batches of 640.
        "eval_steps": 300 * -(-10 * ipc // 640),
    }


def _bptt(dataset: str, ipc: int) -> dict[str, Any]:
    # The code's samples are the rows of an embedding that starts uniform (Xavier): values have a
    # variance of 2 / (rows + columns), and samples this norm. Ours start with norm 1.
    n_values = 3 * 32 * 32
    norm = sqrt(2 * n_values / (10 * ipc + n_values))
    return _deng22(ipc) | {
        "inner_batch_size": 10 if ipc > 10 else None,
        "learning_rate": _descent_rate(0.1, norm),
        # Samples that are as many times smaller have so many times larger gradients.
        "clip_norm": 2.0 * norm,
    }


# Bases, and the factor by which they are smaller per side, in the command of [Deng22]'s README.
_N_BASIS, _DOWNSAMPLE = 16, 2


def _linba(dataset: str, ipc: int) -> dict[str, Any]:
    # What utils/Img_per_Cls_budget.py leaves for coefficients, after the bases, in the storage of
    # ``ipc`` images of each of ten classes.
    n_values = 3 * 32 * 32
    left = 10 * ipc * n_values - _N_BASIS * n_values // _DOWNSAMPLE**2
    return _deng22(left // (10 * _N_BASIS)) | {
        "inner_batch_size": 32,
        # Bases and coefficients start as there, so that the rate needs no other units.
        "parametrization": LinearBasis(_N_BASIS, _DOWNSAMPLE),
    }


# Window, unroll, radius, real samples, learning rate; in the README of [Li25]'s code.
_AT_BPTT = {
    "cifar10": (40, 200, 10, 5000, 0.001),
    "cifar100": (100, 300, 20, 1000, 0.001),
    "tinyimagenet": (100, 300, 30, 1000, 0.0003),
}


def _at_bptt(dataset: str, ipc: int) -> dict[str, Any]:
    window, unroll, radius, batch_size, rate = _AT_BPTT[dataset]
    n_samples = 100_000 if dataset == "tinyimagenet" else 50_000
    # A period is an epoch, of which there are 60,000.
    epoch = n_samples // batch_size
    return _rat_bptt(dataset, ipc) | {
        "window": window,
        "unroll": unroll,
        "schedule": StageAwareWindow(radius, epoch),
        "batch_size": batch_size,
        "learning_rate": rate,
        "max_iter": 60_000 * epoch,
        # One of the two for a batch.
        "augmentation": OneOf([Flip(), Rotation()]),
    }


# The deviation of the real images as the networks of a code see them, and in whose units it moves
# the synthetic ones: by what the code does to pixels between 0 and 1, and data set. Here it is 1,
# whatever was done before. It is the root of the mean of its square over channels.
_DEVIATIONS = {
    "pixels": {"cifar10": 0.25, "fashion_mnist": 0.353},
    # Constants of VICO's utils.py, which several codes copy. Those of CIFAR-100 and Fashion-MNIST
    # are their deviations; for CIFAR-10, 0.2023, 0.1994, 0.2010, they are too small (0.2470,
    # 0.2435, 0.2616), and for Tiny-ImageNet they are ImageNet's, 0.229, 0.224, 0.225 (0.2763,
    # 0.2687, 0.2813; the deviations of FRePo's lib/dataset/dataloader.py).
    "divided": {"cifar10": 1.25, "cifar100": 1.0, "fashion_mnist": 1.0, "tinyimagenet": 1.22},
    # kornia's ZCAWhitening(eps=0.1) in utils.py of MTT, and of those that follow it, after which
    # nothing is standardized. Measured by examples/benchmarks/whitened_deviation.py on a part of
    # CIFAR-10; that of CIFAR-100 was not, and is taken to be the same.
    "kornia": dict.fromkeys(("cifar10", "cifar100"), 0.254),
    # lib/dataset/ops.py of FRePo, and the same in RCIG and RFAD: standardized, and if in color
    # whitened, with a tenth of the mean eigenvalue. Measured and taken as above.
    "frepo": {"cifar10": 0.447, "cifar100": 0.447, "fashion_mnist": 1.0},
}


def _descent_rate(rate: float, deviation: float) -> float:
    """Return the rate at which gradient descent in our units does the steps of a code.

    Samples are ``deviation`` times as large in the code, and derivatives as many times smaller.
    Nothing else differs for networks with instance normalization, which takes the scale away.
    """
    return rate / deviation**2


def _matching(dataset: str, ipc: int) -> dict[str, Any]:
    # The defaults of main_DM.py, the code that [Zhao23] publishes, but for the evaluation.
    return {
        "ipc": ipc,
        "max_iter": 20_000,
        "batch_size": 256,
        "outer_optimizer": "sgd",
        "learning_rate": _descent_rate(1.0, _DEVIATIONS["divided"][dataset]),
        "init": "real",
        "learn_labels": False,
        "augmentation": "dsa",
        "architecture": "convnet",
        "n_networks": 20,
        "eval_steps": 300 if ipc == 1 else 1000,
    }


def _field_network(dataset: str) -> str | Architecture:
    """Return the ConvNet of VICO's `networks.py` and IDC's, which makes gray images 32 x 32."""
    if dataset == "fashion_mnist":
        return partial(ConvNet, width=128, depth=3, padding=3)
    return "convnet"


def _dc(dataset: str, ipc: int) -> dict[str, Any]:
    # The defaults of main.py, the code of [Zhao21a] and [Zhao21b], but for the start and the
    # evaluation: 1000 networks, each for as many outer steps as there are samples per class.
    return {
        "ipc": ipc,
        "max_iter": 1000 * ipc,
        "batch_size": 256,
        "outer_optimizer": "sgd",
        "learning_rate": _descent_rate(0.1, _DEVIATIONS["divided"][dataset]),
        "init": "real",
        "learn_labels": False,
        "distance": "cosine",
        "matched": "weights",
        "outer_loop": "auto",
        "inner_loop": "auto",
        "network_data": "synthetic",
        "network_batch_size": 256,
        "network_lr": 0.01,
        "network_momentum": 0.0,
        "network_weight_decay": 0.0,
        "architecture": _field_network(dataset),
        "n_networks": 20,
        "eval_steps": 300 if ipc == 1 else 1000,
    }


def _dsa(dataset: str, ipc: int) -> dict[str, Any]:
    # The command in the readme: method DSA, with all its strategies for these data sets.
    return _dc(dataset, ipc) | {"augmentation": "dsa"}


# Distance, learning rate for ten images per class of 32 x 32 pixels, side of an image, and real
# samples that train a network between two outer steps.
_IDC = {"cifar10": ("mse", 5e-3, 32, 2000), "fashion_mnist": ("l1", 1e-4, 28, 500)}


def _idc(dataset: str, ipc: int, factor: int = 2) -> dict[str, Any]:
    # argument.py, condense.py and misc/reproduce.py of the code of [Kim22]. A tile is a sample.
    distance, rate, side, n_samples = _IDC[dataset]
    # tune_lr_img of argument.py.
    rate *= ipc / 10 * (side / 32) ** 2
    return {
        "ipc": ipc * factor**2,
        "parametrization": Tiled(factor, clamp=True),
        "max_iter": 2000 * 100,
        "batch_size": 64,
        "outer_optimizer": "sgd",
        # The code learns pixels.
        "learning_rate": _descent_rate(rate, _DEVIATIONS["pixels"][dataset]),
        "init": "real",
        "learn_labels": False,
        "augmentation": Compose([Color(), Crop(), Cutout()]),
        "distance": distance,
        "matched": "convolutions",
        "outer_loop": 100,
        "inner_loop": -(-n_samples // 64),
        "network_data": "real",
        "network_batch_size": 64,
        "network_lr": 0.01,
        "network_momentum": 0.9,
        "network_weight_decay": 5e-4,
        "architecture": _field_network(dataset),
        "n_networks": 10,
        "eval_steps": 300 if ipc == 1 else 1000,
    }


def _kip(dataset: str, ipc: int) -> dict[str, Any]:
    # The parameters at the head of kip/KIP.ipynb, the code of [Nguyen21a], and of its FC network.
    return {
        "ipc": ipc,
        "max_iter": 300,
        "batch_size": 5000,
        "learning_rate": 0.04,
        "init": "real",
        "learn_labels": False,
        "kernel": "ntk",
        "depth": 1,
        "weight_std": sqrt(2),
        "bias_std": 0.1,
        "regularization": 1e-6,
    }


# What trains networks in the evaluation of script/distill.py; 1000 steps otherwise.
_FREPO_STEPS = {("cifar100", 10): 2000, ("cifar100", 50): 5000}


def _doubling(colored: bool) -> Architecture:
    """Return the networks of FRePo and RCIG, which make gray images larger."""
    return partial(
        ConvNet,
        width=128,
        depth=3,
        norm="none",
        doubling=True,
        padding=1 if colored else 3,
        initialization="lecun",
    )


def _frepo(dataset: str, ipc: int) -> dict[str, Any]:
    # script/distill.py and the command in the README of the code that [Zhou22] publishes.
    colored = dataset != "fashion_mnist"
    return {
        "ipc": ipc,
        "max_iter": 500_000,
        "batch_size": 1024,
        "learning_rate": 3e-4,
        "learning_rate_schedule": CosineDecay(final=0.1),
        "init": "real",
        "learn_labels": True,
        "label_lr_scale": 1.0,
        "flips": dataset == "cifar10" or (dataset == "cifar100" and ipc == 1),
        "regularization": 1e-6,
        "pool_size": 10,
        "pool_max_age": 100,
        "pool_steps": 1,
        "pool_lr": 3e-4,
        "pool_batch_size": 1000,
        "architecture": _doubling(colored),
        "n_networks": 5,
        "eval_steps": _FREPO_STEPS.get((dataset, ipc), 1000),
    }


def _rfad(dataset: str, ipc: int) -> dict[str, Any]:
    # run_distillation.py, distillation.py and models.py, the code of [Loo22]. Its AdaBelief, of
    # torch_optimizer, has the variance around the moving average after the step, beta1 times as far
    # from a gradient as the one before, which ours has: its steps are 1 / beta1 times as long.
    longer, deviation = 1 / 0.9, _DEVIATIONS["frepo"][dataset]
    return {
        "ipc": ipc,
        "max_iter": 100_000,
        "batch_size": 5120,
        # Steps of AdaBelief are of a length that does not depend on units.
        "learning_rate": 0.001 * longer / deviation,
        "init": "real",
        "learn_labels": False,
        # One rate for samples and labels, whose units are the same there and here.
        "label_lr_scale": deviation,
        "loss": "platt",
        "log_scale_lr": 0.01 * longer,
        "regularization": 5e-3,
        "n_feature_networks": 8,
        "redraw_every": 1,
        "architecture": partial(ConvNet, width=256, depth=3, norm="none", initialization="he"),
        "n_networks": 10,
        "eval_steps": 1000,
    }


def _rcig(dataset: str, ipc: int) -> dict[str, Any]:
    # configs_final of the code of [Loo23]: depth_3, depth_3_no_flip and cifar100_50; what is in
    # none of them is in distill_dataset.py, algorithms.py and models.py.
    colored, deviation = dataset != "fashion_mnist", _DEVIATIONS["frepo"][dataset]
    return {
        "ipc": ipc,
        # distilled_images_final has checkpoints of these steps.
        "max_iter": 15_000 if ipc == 1 else 10_000,
        "batch_size": 1024,
        # As in RFAD.
        "learning_rate": 0.003 / deviation,
        "init": "real",
        "learn_labels": True,
        "label_lr_scale": deviation,
        "ema_decay": 0.99,
        "flips": colored and (dataset, ipc) != ("cifar100", 50),
        # Features, derivatives by parameters and what a softplus sees are in proportion to the
        # samples, as long as biases are 0, as at the start of a network: its ridge is absolute.
        "regularization": 5e-4 / deviation**2,
        "softplus_beta": 60.0 * deviation,
        "inner_steps": 20,
        "inverse_steps": 20,
        "log_scale_lr": 0.03,
        "pool_size": 30,
        "pool_max_age": 100,
        "pool_steps": 15,
        "pool_lr": 5e-5,
        "architecture": _doubling(colored),
        "n_networks": 5,
        "eval_steps": 1000 if ipc == 1 and dataset != "cifar100" else 2000,
    }


# Data set, samples per class: student steps, epochs between start and target, end of the range of
# starts, learning rates of samples and of the step size, step size; README of [Cazenavette22].
_MTT = {
    ("cifar10", 1): (50, 2, 2, 100.0, 1e-7, 0.01),
    ("cifar10", 10): (30, 2, 20, 100.0, 1e-5, 0.001),
    ("cifar100", 1): (20, 3, 20, 1000.0, 1e-5, 0.01),
}
# The commands in the README of [Cui23], but for the rate of the samples, 1000 there: distill.py
# multiplies a tuple of gradients by 2, which repeats it, and moves the samples by half of them.
_TESLA = {
    ("cifar10", 1): (50, 2, 5, 500.0, 1e-7, 0.01),
    ("cifar100", 50): (80, 2, 40, 500.0, 1e-5, 0.01),
}
# docs/parameters.png of [Du23]'s code, its Table 7; and the decay of the averages.
_FTD = {
    ("cifar10", 1): ((50, 2, 2, 100.0, 1e-7, 0.01), 0.9999),
    ("cifar10", 10): ((30, 2, 20, 100.0, 1e-5, 0.001), 0.9995),
    ("cifar10", 50): ((30, 2, 40, 1000.0, 1e-5, 0.01), 0.999),
    ("cifar100", 1): ((40, 3, 20, 1000.0, 1e-5, 0.01), 0.9995),
    ("cifar100", 10): ((20, 2, 40, 1000.0, 1e-5, 0.01), 0.9995),
    ("cifar100", 50): ((80, 2, 40, 1000.0, 1e-5, 0.01), 0.999),
    ("tinyimagenet", 1): ((30, 2, 10, 10_000.0, 1e-4, 0.01), 0.999),
    ("tinyimagenet", 10): ((20, 2, 40, 10_000.0, 1e-4, 0.01), 0.999),
}
# configs/*/ConvIN/*.yaml of [Guo24]'s code, as of 2024-04-26: the same; learning rate of the
# labels; begin of the range of starts, its first end, outer steps until the last end. (Their
# ema_decay is read by no script there: nothing is averaged.)
_DATM = {
    ("cifar10", 1): ((80, 2, 4, 100.0, 1e-7, 0.01), 5.0, (0, None, 1)),
    ("cifar10", 10): ((80, 2, 20, 100.0, 1e-5, 0.01), 2.0, (0, 10, 1000)),
    ("cifar10", 50): ((80, 2, 40, 1000.0, 1e-5, 0.01), 2.0, (0, 20, 2000)),
    ("cifar100", 1): ((40, 3, 20, 1000.0, 1e-5, 0.01), 10.0, (0, 10, 1000)),
    ("cifar100", 10): ((80, 2, 50, 1000.0, 1e-5, 0.01), 10.0, (0, 30, 2000)),
    ("cifar100", 50): ((80, 2, 70, 1000.0, 1e-5, 0.01), 10.0, (20, None, 1)),
}
_N_CLASSES = {"cifar10": 10, "cifar100": 100, "tinyimagenet": 200}


def _trajectories(
    dataset: str,
    ipc: int,
    values: tuple[int, int, int, float, float, float],
    images: Literal["kornia", "divided"] = "kornia",
) -> dict[str, Any]:
    # What buffer.py and distill.py of [Cazenavette22] have in common with those that follow it.
    syn_steps, expert_epochs, max_start, rate, rate_of_step_size, step_size = values
    return {
        "ipc": ipc,
        "max_iter": 5000,
        "n_experts": 100,
        "batch_size": 256,
        "epoch_steps": None,
        "expert_epochs": expert_epochs,
        "max_start": max_start,
        "expert_lr": 0.01,
        "syn_steps": syn_steps,
        "outer_optimizer": "sgd",
        "learning_rate": _descent_rate(rate, _DEVIATIONS[images][dataset]),
        "inner_lr": step_size,
        "inner_lr_lr": rate_of_step_size,
        # The codes have no bound, and some runs begin at the default one.
        "inner_lr_min": 1e-6,
        "init": "real",
        "learn_labels": False,
        "augmentation": "dsa",
        "architecture": "convnet",
        "n_networks": 5,
        "eval_steps": _epochs(dataset, ipc, batch_size=256),
    }


def _epochs(dataset: str, ipc: int, batch_size: int) -> int:
    """Return the steps of 1001 epochs of the synthetic samples."""
    return 1001 * -(-ipc * _N_CLASSES[dataset] // batch_size)


def _mtt(dataset: str, ipc: int) -> dict[str, Any]:
    return _trajectories(dataset, ipc, _MTT[dataset, ipc])


def _tesla(dataset: str, ipc: int) -> dict[str, Any]:
    # The command for CIFAR-10 has no --zca.
    images: Literal["kornia", "divided"] = "divided" if dataset == "cifar10" else "kornia"
    return _trajectories(dataset, ipc, _TESLA[dataset, ipc], images) | {
        "max_iter": 10_000,
        "gradient": "first_order",
        # The code has 125 samples in a step, if not all.
        "inner_batch_size": 1 if ipc == 50 else None,
        "n_networks": 3,
    }


# Synthetic samples per class, and classes, in a step: 1000 and 500 samples in all.
_FTD_BATCHES = {("cifar100", 50): (10, None), ("tinyimagenet", 10): (10, 50)}


def _ftd(dataset: str, ipc: int) -> dict[str, Any]:
    values, decay = _FTD[dataset, ipc]
    # All its commands are for CIFAR, and have --zca. Of ImageNet its authors say that it is not
    # whitened (issue 3), and MTT, which they follow, does not whiten Tiny-ImageNet.
    images: Literal["kornia", "divided"] = "divided" if dataset == "tinyimagenet" else "kornia"
    inner_batch_size, classes_per_step = _FTD_BATCHES.get((dataset, ipc), (None, None))
    return _trajectories(dataset, ipc, values, images) | {
        "expert_rho": 0.01,
        "expert_alpha": 0.3 if dataset == "cifar10" and ipc <= 10 else 1.0,
        "ema_decay": decay,
        "inner_batch_size": inner_batch_size,
        "classes_per_step": classes_per_step,
    }


def _datm(dataset: str, ipc: int) -> dict[str, Any]:
    values, label_rate, (first, first_end, n_growing) = _DATM[dataset, ipc]
    parameters = _trajectories(dataset, ipc, values)
    return parameters | {
        "max_iter": 10_000,
        # The command in the README. (buffer/buffer_FTD.py has an alpha of 0.4 by default.)
        "expert_rho": 0.01,
        "expert_alpha": 0.3,
        "min_start": first,
        "first_max_start": first_end,
        "expansion_steps": n_growing,
        "learn_labels": True,
        "expert_labels": True,
        "label_lr_scale": label_rate / parameters["learning_rate"],
        "inner_batch_size": 10 if (dataset, ipc) == ("cifar100", 50) else None,
        # batch_train in the configurations. Those of a recipe are of 256.
        "eval_steps": _epochs(dataset, ipc, batch_size=128),
    }


def _columns(runs: Iterable[tuple[str, int]]) -> dict[str, tuple[int, ...]]:
    """Return samples per class by data set."""
    columns: dict[str, tuple[int, ...]] = {}
    for dataset, ipc in runs:
        columns[dataset] = (*columns.get(dataset, ()), ipc)
    return columns


RAT_BPTT = Paper("Table 1 of [Feng23]", _COLUMNS, _rat_bptt)
BPTT = Paper("the known runs of [Deng22]", {"cifar10": (1, 10, 50)}, _bptt)
AT_BPTT = Paper("the README of [Li25]'s code", dict.fromkeys(_AT_BPTT, (10,)), _at_bptt)
LINBA = Paper("the README of [Deng22]'s code", {"cifar10": (1,)}, _linba)
MATCHING = Paper(
    "the known runs of [Zhao23]",
    dict.fromkeys(("cifar10", "cifar100", "tinyimagenet"), (1, 10, 50)),
    _matching,
)
DC = Paper(
    "the known runs of [Zhao21a]",
    {"cifar10": (1, 10, 50), "cifar100": (1, 10), "fashion_mnist": (1, 10, 50)},
    _dc,
)
DSA = Paper("the known runs of [Zhao21b]", DC.columns, _dsa)
IDC = Paper("the known runs of [Kim22]", dict.fromkeys(_IDC, (1, 10, 50)), _idc)
IDC_I = Paper(IDC.where, IDC.columns, partial(_idc, factor=1))
KIP = Paper("the notebook of [Nguyen21a]'s code", {"cifar10": (10,)}, _kip)
FREPO = Paper(
    "the known runs of [Zhou22]",
    dict.fromkeys(("cifar10", "cifar100", "fashion_mnist"), (1, 10, 50)),
    _frepo,
)
RFAD = Paper("the known runs of [Loo22]", FREPO.columns, _rfad)
MTT = Paper("the known runs of [Cazenavette22]", _columns(_MTT), _mtt)
TESLA = Paper("the README of [Cui23]'s code", _columns(_TESLA), _tesla)
FTD = Paper("the known runs of [Du23]", _columns(_FTD), _ftd)
DATM = Paper("the known runs of [Guo24]", _columns(_DATM), _datm)
RCIG = Paper("the known runs of [Loo23]", FREPO.columns, _rcig)
