"""Data sets as image arrays: folders of images, and the sets of the field's benchmarks.

`load_*` read what is on the disk (or comes with scikit-learn), `fetch_*` download what is missing,
`from_torch` takes a data set of torch's.
All return a scikit-learn Bunch, or ``(X, y)`` with ``return_X_y=True``.
"""

from ._cub200 import load_cub200
from ._digits import load_digits
from ._image_folder import load_image_folder
from ._tiny_imagenet import load_tiny_imagenet
from ._torch import from_torch
from ._torchvision import fetch_cifar10, fetch_cifar100, fetch_fashion_mnist

__all__ = [
    "fetch_cifar10",
    "fetch_cifar100",
    "fetch_fashion_mnist",
    "from_torch",
    "load_cub200",
    "load_digits",
    "load_image_folder",
    "load_tiny_imagenet",
]
