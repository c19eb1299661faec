"""The data of the scripts here, by name, and the size at which they run on it."""

import argparse
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from report import DIGITS
from sklearn.model_selection import train_test_split

from skdistill import DistilledDataset, KIPDistiller, ZCAWhitener, paper_settings
from skdistill.datasets import (
    fetch_cifar10,
    fetch_cifar100,
    fetch_fashion_mnist,
    load_cub200,
    load_digits,
    load_image_folder,
    load_tiny_imagenet,
)
from skdistill.evaluation import BASELINES

NAMES = {
    "digits": DIGITS,
    "fashion-mnist": "Fashion-MNIST",
    "cifar10": "CIFAR-10",
    "cifar10-folder": "CIFAR-10 (JPEG copy)",
    "cifar100": "CIFAR-100",
    "cub200": "CUB-200",
    "tinyimagenet": "Tiny-ImageNet",
}
GRAY = ("digits", "fashion-mnist")
# Steps per unit of whitened values, whose deviation is some tenths of one.
_STEPS = 256
# Columns of Table 1 in [Feng23], "the paper"; gray data has none there and gets CIFAR-10's.
COLUMNS = {"cifar10-folder": "cifar10", "digits": "cifar10", "fashion-mnist": "cifar10"}
# The inner loop of RaT-BPTT.
LOOP = ("window", "unroll", "inner_lr")


def add_arguments(parser: argparse.ArgumentParser, default: str | None = "digits") -> None:
    """Add --dataset, --data, --paper, --small and --zca to a script's arguments."""
    parser.add_argument("--dataset", choices=NAMES, default=default, required=default is None)
    parser.add_argument(
        "--data",
        type=Path,
        help="folder that the data is in; digits need none, see skdistill.datasets",
    )
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--paper", action="store_true", help="the paper's size, as with a GPU")
    size.add_argument("--small", action="store_true", help="the small size, as without a GPU")
    parser.add_argument(
        "--zca",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="whiten the images (regularization 0.1); default: images with colors",
    )


def add_clipping(parser: argparse.ArgumentParser, default: str = "feng23") -> None:
    """Add --clip-norm, of RaT-BPTT; the claims of the paper are tested with the paper's rule."""
    parser.add_argument(
        "--clip-norm",
        choices=["robust", "feng23"],
        default=default,
        help="how meta-gradients are clipped, as in RaTBPTTDistiller; default: %(default)s",
    )


def add_loop(parser: argparse.ArgumentParser) -> None:
    """Add --window, --unroll and --inner-lr, of RaT-BPTT."""
    for option, kind in (("--window", int), ("--unroll", int), ("--inner-lr", float)):
        parser.add_argument(option, type=kind, help="default: the distiller's, or the paper's")


def given(args: argparse.Namespace, names: Sequence[str] = LOOP) -> dict:
    """Return the arguments of these names that were given, as parameters of a distiller."""
    return {name: getattr(args, name) for name in names if getattr(args, name) is not None}


def parse(parser: argparse.ArgumentParser, argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Return the arguments with --paper, --small and --zca resolved; None takes the process's."""
    args = parser.parse_args(argv)
    if args.dataset != "digits" and args.data is None:
        parser.error(f"--dataset {args.dataset} needs --data, the folder that it is in")
    # Digits get the small size even if there is a GPU.
    big = torch.cuda.is_available() and args.dataset != "digits"
    args.paper = args.paper or (big and not args.small)
    del args.small
    if args.zca is None:
        args.zca = args.dataset not in GRAY
    return args


def name(args: argparse.Namespace) -> str:
    """Return what a report calls the data."""
    return NAMES[args.dataset] + (", whitened" if args.zca else "")


def image_shape(args: argparse.Namespace, X) -> tuple[int, int, int]:
    """Return the shape of images with channels last, of gray ones, or of digits, which are flat."""
    if args.dataset == "digits":
        return 1, 8, 8
    height, width, *channels = X.shape[1:]
    return (channels or [1])[0], height, width


def settings(args: argparse.Namespace, ipc: int) -> dict:
    """Return the distiller's parameters: the paper's or, at the small size, the defaults."""
    if not args.paper:
        return {"ipc": ipc}
    parameters = paper_settings(COLUMNS.get(args.dataset, args.dataset), ipc)
    # A mirrored digit is no digit, and the paper has no gray data.
    return parameters | ({"augmentation": None} if args.dataset in GRAY else {})


def load(args: argparse.Namespace) -> list[np.ndarray]:
    """Return X_train, X_test, y_train and y_test."""
    X_train, X_test, y_train, y_test = _load(args.dataset, args.data)
    if args.zca:
        whitener = ZCAWhitener(0.1, per_sample=True)
        X_train, X_test = whitener.fit_transform(X_train), whitener.transform(X_test)
        # Whitened values differ in their last bits from machine to machine, and a checkpoint goes
        # on only with the same data: coarser than that, they are the same.
        for X in (X_train, X_test):
            np.rint(_STEPS * X, out=X)
            X /= _STEPS
    # Single precision is what networks compute with; bytes stay bytes.
    X_train, X_test = (X if X.dtype == np.uint8 else np.float32(X) for X in (X_train, X_test))
    return [X_train, X_test, y_train, y_test]


def held_out(X, y) -> list[np.ndarray]:
    """Return X_train, X_held, y_train and y_held, all of training samples."""
    return train_test_split(X, y, test_size=min(5000, len(X) // 4), stratify=y, random_state=0)


def chosen(
    name: str, seed: int, ipc: int, args: argparse.Namespace, X, y, draws: int = 1
) -> Iterator[DistilledDataset]:
    """Yield sets of real samples, or of centroids, as a distiller would return them.

    Parameters
    ----------
    name : str
        One of `skdistill.evaluation.BASELINES`.
    seed, ipc : int
    args : argparse.Namespace
    X, y : ndarray
    draws : int, default=1
        How many sets.
    """
    # Its layout, moments and recipe are those of every method.
    shape = image_shape(args, X)
    like = KIPDistiller(ipc=ipc, image_shape=shape, max_iter=1, random_state=seed)
    like = like.fit(X, y).distilled_
    scale = like.recipe.layout.spread(like.recipe.scale)
    for draw in range(draws):
        rng = np.random.default_rng((seed, draw))
        X_few, y_few = BASELINES[name](X, y, like.classes, ipc, rng, scale=scale)
        # Other networks for each draw.
        recipe = replace(like.recipe, seed=like.recipe.seed + draw)
        yield replace(like, X=X_few, y=y_few, recipe=recipe)


def _load(dataset: str, folder: Path | None):
    if dataset == "digits":
        X, y = load_digits(return_X_y=True)
        return train_test_split(X, y, stratify=y, random_state=0)
    if dataset == "cifar10-folder":
        parts = [load_image_folder(folder / part, return_X_y=True) for part in ("train", "test")]
    elif dataset in ("cub200", "tinyimagenet"):
        read, test = {
            "cub200": (load_cub200, "test"),
            "tinyimagenet": (load_tiny_imagenet, "val"),
        }[dataset]
        parts = [read(folder, subset=part, return_X_y=True) for part in ("train", test)]
    elif dataset == "fashion-mnist":
        parts = _fashion_mnist(folder)
    else:
        fetch = {"cifar10": fetch_cifar10, "cifar100": fetch_cifar100}[dataset]
        parts = _fetch(fetch, folder)
    (X_train, y_train), (X_test, y_test) = parts
    return X_train, X_test, y_train, y_test


def _fetch(fetch, home: Path) -> list:
    options = {"data_home": home, "download_if_missing": False, "return_X_y": True}
    return [fetch(subset=subset, **options) for subset in ("train", "test")]


def _fashion_mnist(folder: Path) -> list:
    """Read torchvision's folder or, as Debian's package has them, the four files by themselves."""
    files = sorted(folder.glob("*-ubyte.gz"))
    if not files:
        return _fetch(fetch_fashion_mnist, folder)
    with tempfile.TemporaryDirectory() as home:
        raw = Path(home, "FashionMNIST", "raw")
        raw.mkdir(parents=True)
        for file in files:
            (raw / file.name).symlink_to(file.resolve())
        return _fetch(fetch_fashion_mnist, Path(home))
