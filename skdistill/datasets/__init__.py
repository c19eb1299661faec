"""Data sets as image arrays, and distilled sets that come with the package.

`load_*` read what is on the disk (or comes with scikit-learn), `fetch_*` download what is missing,
`from_torch` takes a PyTorch dataset. All return a scikit-learn Bunch, or ``(X, y)`` with
``return_X_y=True``; only `load_distilled` returns a `skdistill.DistilledDataset`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ._cub200 import load_cub200
    from ._digits import load_digits
    from ._image_folder import load_image_folder
    from ._ready import list_distilled, load_distilled
    from ._tiny_imagenet import load_tiny_imagenet
    from ._torch import from_torch
    from ._torchvision import fetch_cifar10, fetch_cifar100, fetch_fashion_mnist

# A distilled set must load with nothing but NumPy, so names are imported when used.
_HOMES = {
    "fetch_cifar10": "_torchvision",
    "fetch_cifar100": "_torchvision",
    "fetch_fashion_mnist": "_torchvision",
    "from_torch": "_torch",
    "list_distilled": "_ready",
    "load_cub200": "_cub200",
    "load_digits": "_digits",
    "load_distilled": "_ready",
    "load_image_folder": "_image_folder",
    "load_tiny_imagenet": "_tiny_imagenet",
}

__all__ = [
    "fetch_cifar10",
    "fetch_cifar100",
    "fetch_fashion_mnist",
    "from_torch",
    "list_distilled",
    "load_cub200",
    "load_digits",
    "load_distilled",
    "load_image_folder",
    "load_tiny_imagenet",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f".{_HOMES[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
