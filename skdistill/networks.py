"""The networks that are trained on distilled data.

A network here is a pure function of its parameters and the batch: no network keeps running
statistics or has dropout. All except the multilayer perceptron normalize each channel of each
sample by itself (instance normalization, [Feng23, C.1]) by default.
"""

from collections.abc import Callable, Mapping
from functools import partial
from inspect import signature
from math import prod
from typing import Literal

from torch import nn

from ._data.layout import usual_architecture
from ._data.validation import InvalidParameterError, check_count

__all__ = [
    "ARCHITECTURES",
    "MLP",
    "VGG11",
    "AlexNet",
    "ConvNet",
    "convnet_x4",
    "convnet_x8",
    "network_factory",
    "resnet18",
    "resolve_architecture",
]

# Builds a network: ``(input_shape, n_classes) -> torch.nn.Module``.
Architecture = Callable[[tuple[int, ...], int], nn.Module]

# Given a block's channels, height and width. Groups of one channel are instance normalization.
_NORMS: dict[str, Callable[[int, int, int], nn.Module]] = {
    "instance": lambda width, h, w: _instance_norm(width),
    "batch": lambda width, h, w: nn.BatchNorm2d(width, track_running_stats=False),
    "layer": lambda width, h, w: nn.LayerNorm((width, h, w)),
    "group": lambda width, h, w: nn.GroupNorm(4, width),
    "none": lambda width, h, w: nn.Identity(),
}
# These subtract a mean per channel, and with it any bias of the convolution before them. Such a
# bias would only drift: its gradient is rounding noise, which Adam scales up.
_SUBTRACT_BIAS = {"instance", "batch"}
_POOLINGS: dict[str, Callable[[], nn.Module]] = {
    "avg": lambda: nn.AvgPool2d(2),
    "max": lambda: nn.MaxPool2d(2),
    "none": nn.Identity,
}
_ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "sigmoid": nn.Sigmoid,
    "swish": nn.SiLU,
}
# The standard deviation of a normal distribution that is cut off at two deviations.
_TRUNCATED = 0.87962566103423978


class ConvNet(nn.Sequential):
    """The field's ConvNet: blocks of convolution, normalization, activation and pooling.

    Each block is a 3x3 convolution, normalization with learned scale and shift, an activation and
    2x2 pooling; a linear layer follows. The options are those of [Zhao21]_, the defaults those of
    [Feng23]_. Convolutions have no bias where the normalization would subtract it again ("instance"
    and "batch").

    Parameters
    ----------
    input_shape : tuple of int
        ``(channels, height, width)``; both sides at least ``2 ** depth``, unless there is no
        pooling.
    n_classes : int
        Number of outputs.
    width : int or None, default=None
        Channels of each block. None: 128, as in [Feng23, section 4], and 64 for sides below 28.
    depth : int or None, default=None
        Number of blocks. None: 3 for sides from 28 and 4 from 64, as in [Feng23, section 4], and
        one more for every further doubling; 2 from 8 and 1 from 4.
    norm : {"instance", "batch", "layer", "group", "none"}, default="instance"
        "instance" as in [Feng23, C.1]. "group" has four groups, so `width` must be divisible by 4.
        "batch" has a catch: see Notes.
    pooling : {"avg", "max", "none"}, default="avg"
    activation : {"relu", "leaky_relu", "sigmoid", "swish"}, default="relu"
    doubling : bool, default=False
        Whether each block has twice the channels of the one before, as in [Zhou22]_ and [Loo23]_:
        128, 256, 512 for ``width=128``.
    stem : bool, default=False
        Whether a convolution of the same width and an activation come before the blocks, as in
        [Nguyen21b]_.
    padding : int, default=1
        Padding of the first convolution. The codes of [Zhao21]_ and [Zhou22]_ have 3 for images
        with one channel, which makes 28 x 28 pixels 32 x 32.
    initialization : {"torch", "lecun", "he"}, default="torch"
        How weights are drawn: as torch's layers do; "lecun", as flax does and with it [Zhou22]_ and
        [Loo23]_, from a normal distribution of variance ``1 / fan_in`` that is cut off at two
        standard deviations, with biases of 0; "he", as [Nguyen21b]_ and [Loo22]_ do, from one of
        variance ``2 / fan_in``, with biases of standard deviation 0.1.

    Raises
    ------
    ValueError
        If an option is unknown, a number is out of range or the images are too small.

    Notes
    -----
    Batch normalization keeps no running statistics here: they would not be a differentiable
    function of the synthetic samples. It takes the mean and variance of whatever batch it sees, in
    the inner loop, in the outer loss and in an evaluation. The scores of a sample therefore depend
    on the other samples of its batch: a large batch may be taken in chunks, whose size depends on
    the device, each with statistics of its own; and the score of a test sample depends on other
    test samples.

    The options are reached through a callable as `architecture`. To be pickled, for parallel work
    or ``joblib.dump``, it must be a function of a module or a `functools.partial`, not a lambda::

        RaTBPTTDistiller(architecture=partial(ConvNet, norm="batch", pooling="max"))
        RaTBPTTDistiller(architecture=lambda shape, k: ConvNet(shape, k, norm="batch"))

    References
    ----------
    .. [Zhao21] B. Zhao, K. R. Mopuri and H. Bilen, "Dataset Condensation with Gradient Matching",
       ICLR 2021.
    .. [Feng23] Y. Feng, R. Vedantam and J. Kempe, "Embarrassingly Simple Dataset Distillation",
       arXiv:2311.07025.
    .. [Nguyen21b] T. Nguyen, R. Novak, L. Xiao and J. Lee, "Dataset Distillation with Infinitely
       Wide Convolutional Networks", NeurIPS 2021.
    .. [Zhou22] Y. Zhou, E. Nezhadarya and J. Ba, "Dataset Distillation using Neural Feature
       Regression", NeurIPS 2022.
    .. [Loo22] N. Loo, R. Hasani, A. Amini and D. Rus, "Efficient Dataset Distillation using Random
       Feature Approximation", NeurIPS 2022.
    .. [Loo23] N. Loo, R. Hasani, M. Lechner and D. Rus, "Dataset Distillation with Convexified
       Implicit Gradients", ICML 2023.

    Examples
    --------
    >>> import torch
    >>> from skdistill.networks import ConvNet
    >>> ConvNet((3, 32, 32), 10)(torch.zeros(2, 3, 32, 32)).shape
    torch.Size([2, 10])
    >>> ConvNet((3, 32, 32), 10, width=8, norm="none", doubling=True)[6]
    Conv2d(16, 32, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1))
    """

    def __init__(
        self,
        input_shape: tuple[int, ...],
        n_classes: int,
        width: int | None = None,
        depth: int | None = None,
        *,
        norm: Literal["instance", "batch", "layer", "group", "none"] = "instance",
        pooling: Literal["avg", "max", "none"] = "avg",
        activation: Literal["relu", "leaky_relu", "sigmoid", "swish"] = "relu",
        doubling: bool = False,
        stem: bool = False,
        padding: int = 1,
        initialization: Literal["torch", "lecun", "he"] = "torch",
    ):
        channels, *sides = input_shape
        side = min(sides)
        width = _usual_width(side) if width is None else width
        depth = _usual_depth(side) if depth is None else depth
        _check_option("norm", norm, _NORMS)
        _check_option("pooling", pooling, _POOLINGS)
        _check_option("activation", activation, _ACTIVATIONS)
        _check_option("initialization", initialization, _INITIALIZATIONS)
        check_count("width", width, 1)
        check_count("depth", depth, 1)
        check_count("padding", padding, 0)
        if norm == "group" and width % 4:
            raise ValueError(f"width={width} must be divisible by 4 for norm='group'.")
        shrink = 1 if pooling == "none" else 2
        # A convolution adds twice its padding and takes two pixels.
        sides = [n + 2 * (padding - 1) for n in sides]
        if min(sides) < shrink**depth:
            raise ValueError(
                f"A ConvNet with depth={depth} needs images of at least "
                f"{shrink**depth - 2 * (padding - 1)} "
                f"pixels per side; got {input_shape[1]} x {input_shape[2]}. "
                "Use architecture='mlp' or a callable of your own."
            )
        blocks: list[nn.Module] = []
        if stem:
            blocks += [
                nn.Conv2d(channels, width, kernel_size=3, padding=padding),
                _ACTIVATIONS[activation](),
            ]
            channels, padding = width, 1
        for _ in range(depth):
            bias = norm not in _SUBTRACT_BIAS
            block = [
                nn.Conv2d(channels, width, kernel_size=3, padding=padding, bias=bias),
                _NORMS[norm](width, *sides),
                _ACTIVATIONS[activation](),
                _POOLINGS[pooling](),
            ]
            blocks += [layer for layer in block if not isinstance(layer, nn.Identity)]
            channels, sides, padding = width, [n // shrink for n in sides], 1
            width = 2 * width if doubling else width
        super().__init__(*blocks, nn.Flatten(), nn.Linear(channels * prod(sides), n_classes))
        _INITIALIZATIONS[initialization](self)


def _as_lecun(network: nn.Module) -> None:
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            std = layer.weight[0].numel() ** -0.5 / _TRUNCATED
            nn.init.trunc_normal_(layer.weight, std=std, a=-2 * std, b=2 * std)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def _as_he(network: nn.Module) -> None:
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.normal_(layer.weight, std=(2 / layer.weight[0].numel()) ** 0.5)
            if layer.bias is not None:
                nn.init.normal_(layer.bias, std=0.1)


# Given a network whose layers torch has initialized.
_INITIALIZATIONS: dict[str, Callable[[nn.Module], None]] = {
    "torch": lambda network: None,
    "lecun": _as_lecun,
    "he": _as_he,
}


def _check_option(name: str, value: str, options: Mapping[str, object]) -> None:
    if value not in options:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, options))}; got {value!r}.")


def _usual_width(side: int) -> int:
    """Return the channels of a block for images of this many pixels per side."""
    return 128 if side >= 28 else 64


def _usual_depth(side: int) -> int:
    """Return the number of blocks for images of this many pixels per side."""
    if side >= 28:
        return 3 + max(0, (side // 32).bit_length() - 1)
    return 2 if side >= 8 else 1


class MLP(nn.Sequential):
    """A multilayer perceptron for tables: linear layers, layer normalization and ReLU.

    Parameters
    ----------
    input_shape : tuple of int
        Shape of one sample; it is flattened.
    n_classes : int
        Number of outputs.
    width : int, default=128
        Units of each hidden layer.
    depth : int, default=2
        Number of hidden layers; 0 is for a linear classifier.
    norm : {"layer", "none"}, default="layer"
    initialization : {"torch", "lecun", "he"}, default="torch"
        As in `ConvNet`.

    Examples
    --------
    >>> import torch
    >>> from skdistill.networks import MLP
    >>> network = MLP((30,), n_classes=2, width=64)
    >>> network(torch.randn(5, 30)).shape
    torch.Size([5, 2])
    """

    def __init__(
        self,
        input_shape: tuple[int, ...],
        n_classes: int,
        width: int = 128,
        depth: int = 2,
        *,
        norm: Literal["layer", "none"] = "layer",
        initialization: Literal["torch", "lecun", "he"] = "torch",
    ):
        _check_option("norm", norm, {"layer": None, "none": None})
        _check_option("initialization", initialization, _INITIALIZATIONS)
        check_count("width", width, 1)
        check_count("depth", depth, 0)
        features = prod(input_shape)
        layers: list[nn.Module] = [nn.Flatten()]
        for _ in range(depth):
            normalized = [nn.LayerNorm(width)] if norm == "layer" else []
            layers += [nn.Linear(features, width), *normalized, nn.ReLU()]
            features = width
        super().__init__(*layers, nn.Linear(features, n_classes))
        _INITIALIZATIONS[initialization](self)


def convnet_x4(input_shape: tuple[int, ...], n_classes: int) -> ConvNet:
    """Return a `ConvNet` of 4 times its usual width, for transfer to wider networks.

    As in section 4 of [Feng23]_. The parameters are the first two of `ConvNet`.

    References
    ----------
    .. [Feng23] Y. Feng, R. Vedantam and J. Kempe, "Embarrassingly Simple Dataset Distillation",
       arXiv:2311.07025.

    Examples
    --------
    >>> import torch
    >>> from skdistill.networks import convnet_x4
    >>> network = convnet_x4((1, 8, 8), n_classes=10)
    >>> network(torch.randn(5, 1, 8, 8)).shape
    torch.Size([5, 10])
    """
    return ConvNet(input_shape, n_classes, width=4 * _usual_width(min(input_shape[1:])))


def convnet_x8(input_shape: tuple[int, ...], n_classes: int) -> ConvNet:
    """Return a `ConvNet` of 8 times its usual width, for transfer to wider networks.

    As in section 4 of [Feng23]_. The parameters are the first two of `ConvNet`.

    References
    ----------
    .. [Feng23] Y. Feng, R. Vedantam and J. Kempe, "Embarrassingly Simple Dataset Distillation",
       arXiv:2311.07025.

    Examples
    --------
    >>> import torch
    >>> from skdistill.networks import convnet_x8
    >>> network = convnet_x8((1, 8, 8), n_classes=10)
    >>> network(torch.randn(5, 1, 8, 8)).shape
    torch.Size([5, 10])
    """
    return ConvNet(input_shape, n_classes, width=8 * _usual_width(min(input_shape[1:])))


def resnet18(input_shape: tuple[int, ...], n_classes: int) -> nn.Module:
    """Return a ResNet-18 with instance normalization for small images.

    [Feng23]_ transfers to one in Appendix C.3. It is torchvision's with the usual stem for CIFAR: a
    3x3 convolution of stride 1 without pooling. 11.2 million parameters.

    Parameters
    ----------
    input_shape : tuple of int
        ``(channels, height, width)``; both sides at least 9. The last stage sees an eighth of
        them, and a single pixel has no variance to normalize by.
    n_classes : int
        Number of outputs.

    Raises
    ------
    ValueError
        If the images are too small.

    References
    ----------
    .. [Feng23] Y. Feng, R. Vedantam and J. Kempe, "Embarrassingly Simple Dataset Distillation",
       arXiv:2311.07025.

    Examples
    --------
    >>> import torch
    >>> from skdistill.networks import resnet18
    >>> network = resnet18((3, 16, 16), n_classes=10)
    >>> network(torch.randn(2, 3, 16, 16)).shape
    torch.Size([2, 10])
    """
    _check_sides("resnet18", input_shape, 9)
    # torchvision takes a second or two to import, and most runs do not need it.
    from torchvision.models.resnet import BasicBlock, ResNet

    network = ResNet(BasicBlock, [2, 2, 2, 2], n_classes, norm_layer=_instance_norm)
    network.conv1 = nn.Conv2d(input_shape[0], 64, kernel_size=3, padding=1, bias=False)
    nn.init.kaiming_normal_(network.conv1.weight, mode="fan_out", nonlinearity="relu")
    network.maxpool = nn.Identity()
    return network


class VGG11(nn.Sequential):
    """VGG-11 with instance normalization for small images.

    The eight convolutions of VGG-11 with five 2x2 max poolings, an average over the rest of the
    image, and one linear layer, as is usual for CIFAR: torchvision's class has 120 million
    parameters in two more linear layers with dropout. 9.2 million parameters.

    Parameters
    ----------
    input_shape : tuple of int
        ``(channels, height, width)``; both sides at least 16. Sides below 32 are padded to 32 with
        0, the mean color: the last convolutions see a sixteenth, and a single pixel has no variance
        to normalize by.
    n_classes : int
        Number of outputs.

    Raises
    ------
    ValueError
        If the images are too small: below 16 pixels, more than three quarters would be padding.

    Examples
    --------
    >>> import torch
    >>> from skdistill.networks import VGG11
    >>> network = VGG11((3, 16, 16), n_classes=10)
    >>> network(torch.randn(2, 3, 16, 16)).shape
    torch.Size([2, 10])
    """

    def __init__(self, input_shape: tuple[int, ...], n_classes: int):
        _check_sides("vgg11", input_shape, 16)
        channels, *sides = input_shape
        layers: list[nn.Module] = []
        if min(sides) < 32:
            missing = [max(0, 32 - side) for side in sides]
            top, left = (m // 2 for m in missing)
            layers.append(nn.ZeroPad2d((left, missing[1] - left, top, missing[0] - top)))
        for widths in ((64,), (128,), (256, 256), (512, 512), (512, 512)):
            for width in widths:
                layers += _convolution(channels, width, kernel_size=3)
                channels = width
            layers.append(nn.MaxPool2d(2))
        super().__init__(*layers, *_average_and_classify(channels, n_classes))


class AlexNet(nn.Sequential):
    """AlexNet with instance normalization for small images.

    The field's version for 32 x 32 pixels (Zhao, Mopuri and Bilen 2021): five convolutions of 128,
    192, 256, 192 and 192 channels, stride 1, three 2x2 max poolings and one linear layer. Unlike
    theirs, ours normalizes, and averages over the rest of the image, so that it works for all
    sizes. torchvision's is made for 224 x 224 pixels and fails for 32 x 32. 1.8 million parameters.

    Parameters
    ----------
    input_shape : tuple of int
        ``(channels, height, width)``; both sides at least 8. The last convolutions see a quarter of
        them, and a single pixel has no variance to normalize by.
    n_classes : int
        Number of outputs.

    Raises
    ------
    ValueError
        If the images are too small.

    Examples
    --------
    >>> import torch
    >>> from skdistill.networks import AlexNet
    >>> network = AlexNet((3, 16, 16), n_classes=10)
    >>> network(torch.randn(2, 3, 16, 16)).shape
    torch.Size([2, 10])
    """

    def __init__(self, input_shape: tuple[int, ...], n_classes: int):
        _check_sides("alexnet", input_shape, 8)
        super().__init__(
            *_convolution(input_shape[0], 128, kernel_size=5),
            nn.MaxPool2d(2),
            *_convolution(128, 192, kernel_size=5),
            nn.MaxPool2d(2),
            *_convolution(192, 256, kernel_size=3),
            *_convolution(256, 192, kernel_size=3),
            *_convolution(192, 192, kernel_size=3),
            nn.MaxPool2d(2),
            *_average_and_classify(192, n_classes),
        )


def _instance_norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(channels, channels)


def _convolution(channels: int, width: int, kernel_size: int) -> list[nn.Module]:
    """Return a convolution that keeps the image's size, instance normalization and ReLU."""
    return [
        nn.Conv2d(channels, width, kernel_size, padding=kernel_size // 2, bias=False),
        _instance_norm(width),
        nn.ReLU(),
    ]


def _average_and_classify(channels: int, n_classes: int) -> list[nn.Module]:
    return [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, n_classes)]


def _check_sides(name: str, input_shape: tuple[int, ...], least: int) -> None:
    _, height, width = input_shape
    if min(height, width) < least:
        raise ValueError(
            f"architecture={name!r} needs images of at least {least} pixels per side; got "
            f"{height} x {width}. Use architecture='convnet' or a callable of your own."
        )


ArchitectureName = Literal[
    "convnet", "convnet_x4", "convnet_x8", "resnet18", "vgg11", "alexnet", "mlp"
]
ARCHITECTURES: dict[str, Architecture] = {
    "convnet": ConvNet,
    "convnet_x4": convnet_x4,
    "convnet_x8": convnet_x8,
    "resnet18": resnet18,
    "vgg11": VGG11,
    "alexnet": AlexNet,
    "mlp": MLP,
}


def resolve_architecture(
    architecture: str | Architecture, input_shape: tuple[int, ...]
) -> str | Architecture:
    """Return "convnet" or "mlp" for "auto", and anything else as it is."""
    if architecture != "auto":
        return architecture
    return usual_architecture(input_shape)


def network_factory(
    architecture: str | Architecture,
    input_shape: tuple[int, ...],
    n_classes: int,
    parameter: str = "architecture",
) -> Callable[[], nn.Module]:
    """Return a callable without arguments that builds a freshly initialized network.

    Parameters
    ----------
    architecture : str or callable
        "auto", a name in `ARCHITECTURES`, or a callable ``(input_shape, n_classes) -> nn.Module``.
    input_shape : tuple of int
        ``(features,)`` or ``(channels, height, width)``.
    n_classes : int
        Number of outputs that the network must have.
    parameter : str, default="architecture"
        The name of the estimator's parameter that holds the architecture, for messages.

    Raises
    ------
    ValueError
        If the architecture is unknown, cannot be called, or is not for samples of this shape.
    """
    check_architecture(architecture, parameter)
    architecture = resolve_architecture(architecture, input_shape)
    if not isinstance(architecture, str):
        return partial(_build, architecture, input_shape, n_classes)
    if architecture != "mlp" and len(input_shape) != 3:
        raise ValueError(
            f"{parameter}={architecture!r} must be given images; X is a table. "
            f"Pass image_shape=(channels, height, width), or use {parameter}='mlp'."
        )
    return partial(ARCHITECTURES[architecture], input_shape, n_classes)


def check_architecture(architecture: object, name: str = "architecture") -> None:
    """Raise an error unless ``architecture`` names networks or can be called for one.

    ``name`` is that of the parameter that holds it.
    """
    if isinstance(architecture, str):
        _check_option(name, architecture, {"auto": None, **ARCHITECTURES})
        return
    must = f"{name} must be a callable (input_shape, n_classes) -> torch.nn.Module"
    if isinstance(architecture, nn.Module):
        kind = type(architecture).__name__
        raise InvalidParameterError(
            f"{must}, which builds a fresh network in every call; got a Module ({kind}). Pass a "
            f"function instead: {name}=lambda input_shape, n_classes: {kind}(...)."
        )
    if not callable(architecture):
        raise InvalidParameterError(f"{must}, or a name; got {architecture!r}.")
    try:
        parameters = signature(architecture)
    except (TypeError, ValueError):
        return  # a callable without a signature
    try:
        parameters.bind((1, 1, 1), 1)
    except TypeError as error:
        raise InvalidParameterError(
            f"{must}; {describe_architecture(architecture)} takes {parameters}: {error}. "
            "Wrap it in a function of these two."
        ) from error


def describe_architecture(architecture: object) -> str:
    """Return what to call an architecture in a message."""
    return getattr(architecture, "__qualname__", None) or repr(architecture)


def _build(architecture: Architecture, input_shape: tuple[int, ...], n_classes: int) -> nn.Module:
    """Call a user's callable, and raise a clear error if it builds no network."""
    must = "architecture must be a callable (input_shape, n_classes) -> torch.nn.Module"
    name = f"{describe_architecture(architecture)}({input_shape}, {n_classes})"
    try:
        network = architecture(input_shape, n_classes)
    except TypeError as error:
        raise InvalidParameterError(f"{must}; {name} failed: {error}") from error
    if not isinstance(network, nn.Module):
        raise InvalidParameterError(f"{must}; {name} returned {type(network).__name__}.")
    return network
