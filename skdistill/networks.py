"""The networks that are trained on distilled data."""

from collections.abc import Callable
from functools import partial

from torch import Tensor, nn

__all__ = ["ARCHITECTURES", "MLP", "ConvNet", "network_factory", "resolve_architecture"]


class ConvNet(nn.Sequential):
    """The field's ConvNet: blocks of convolution, instance normalisation, ReLU and pooling.

    Each block is a 3x3 convolution, instance normalisation with learned scale and shift, a ReLU
    and 2x2 average pooling; a linear layer follows. The convolutions have no bias: instance
    normalisation subtracts it again.

    Parameters
    ----------
    input_shape : tuple of int
        ``(channels, height, width)``; both sides at least ``2 ** depth``.
    n_classes : int
        Number of outputs.
    width : int or None, default=None
        Channels of each block. None: 128, as in the paper (section 4), and 64 for sides below 28.
    depth : int or None, default=None
        Number of blocks. None: 3 for sides from 28 and 4 from 64, as in the paper (section 4) and
        one more for every further doubling; 2 from 8 and 1 from 4.

    Examples
    --------
    >>> import torch
    >>> from skdistill.networks import ConvNet
    >>> ConvNet((3, 32, 32), 10)(torch.zeros(2, 3, 32, 32)).shape
    torch.Size([2, 10])
    """

    def __init__(self, input_shape, n_classes, width=None, depth=None):
        channels, height, breadth = input_shape
        side = min(height, breadth)
        width = (128 if side >= 28 else 64) if width is None else width
        depth = _usual_depth(side) if depth is None else depth
        if side < 2**depth or depth < 1:
            raise ValueError(
                f"A ConvNet with depth={depth} needs images of at least {2 ** max(depth, 1)} "
                f"pixels a side; got {height} x {breadth}. "
                "Use architecture='mlp' or a callable of your own."
            )
        blocks = []
        for _ in range(depth):
            blocks += [
                nn.Conv2d(channels, width, kernel_size=3, padding=1, bias=False),
                nn.GroupNorm(width, width),
                nn.ReLU(),
                nn.AvgPool2d(2),
            ]
            channels, height, breadth = width, height // 2, breadth // 2
        super().__init__(*blocks, nn.Flatten(), nn.Linear(width * height * breadth, n_classes))


def _usual_depth(side: int) -> int:
    """Return the number of blocks for images of this many pixels a side."""
    if side >= 28:
        return 3 + max(0, (side // 32).bit_length() - 1)
    return 2 if side >= 8 else 1


class MLP(nn.Sequential):
    """A multilayer perceptron for tables: linear layers, layer normalisation and ReLU.

    Parameters
    ----------
    input_shape : tuple of int
        Shape of one sample; it is flattened.
    n_classes : int
        Number of outputs.
    width : int, default=128
        Units of each hidden layer.
    depth : int, default=2
        Number of hidden layers.
    """

    def __init__(self, input_shape, n_classes, width=128, depth=2):
        features = 1
        for n in input_shape:
            features *= n
        layers: list[nn.Module] = [nn.Flatten()]
        for _ in range(depth):
            layers += [nn.Linear(features, width), nn.LayerNorm(width), nn.ReLU()]
            features = width
        super().__init__(*layers, nn.Linear(features, n_classes))


ARCHITECTURES: dict[str, Callable[..., nn.Module]] = {"convnet": ConvNet, "mlp": MLP}


def resolve_architecture(architecture, input_shape: tuple[int, ...]):
    """Return "convnet" or "mlp" for "auto", and anything else as it is."""
    if architecture != "auto":
        return architecture
    return "convnet" if len(input_shape) == 3 and min(input_shape[1:]) >= 4 else "mlp"


def network_factory(
    architecture, input_shape: tuple[int, ...], n_classes: int
) -> Callable[[], nn.Module]:
    """Return a callable without arguments that builds a freshly initialised network.

    Parameters
    ----------
    architecture : str or callable
        "auto", a name in `ARCHITECTURES`, or a callable ``(input_shape, n_classes) -> nn.Module``.
    input_shape : tuple of int
        ``(features,)`` or ``(channels, height, width)``.
    n_classes : int
        Number of outputs that the network must have.
    """
    architecture = resolve_architecture(architecture, input_shape)
    if architecture == "convnet" and len(input_shape) != 3:
        raise ValueError(
            "architecture='convnet' must be given images; X is a table. "
            "Pass image_shape=(channels, height, width), or use architecture='mlp'."
        )
    build = ARCHITECTURES[architecture] if isinstance(architecture, str) else architecture
    return partial(build, input_shape, n_classes)


def check_network(module, X: Tensor, n_classes: int) -> None:
    """Raise an error unless ``module`` maps the batch ``X`` to ``n_classes`` scores a sample."""
    try:
        shape = tuple(module(X).shape)
    except RuntimeError as error:
        raise ValueError(
            f"architecture must accept batches of shape (n, {', '.join(map(str, X.shape[1:]))}); "
            f"the network built failed on one: {error}"
        ) from error
    if shape != (len(X), n_classes):
        raise ValueError(
            f"architecture must build a network with output of shape (n, {n_classes}); "
            f"for n={len(X)} the one built gave {shape}."
        )
