"""A small ResNet, through which one core can distill: the scripts here call it "resnet-small"."""

from torch import nn


class SmallResNet(nn.Sequential):
    """A residual network of three blocks, with 16, 32 and 64 channels and instance normalization.

    The parts are those of `skdistill.networks.resnet18`, which has eight blocks and four times the
    channels.
    """

    def __init__(self, input_shape: tuple[int, ...], n_classes: int):
        channels = (16, 16, 32, 64)
        blocks = [_Block(channels[k], channels[k + 1], 1 if k == 0 else 2) for k in range(3)]
        super().__init__(
            *_convolution(input_shape[0], channels[0], 3, 1),
            nn.ReLU(),
            *blocks,
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(channels[-1], n_classes),
        )


class _Block(nn.Module):
    """Two convolutions and a way around them."""

    def __init__(self, n_in: int, n_out: int, stride: int):
        super().__init__()
        self.way = nn.Sequential(
            *_convolution(n_in, n_out, 3, stride), nn.ReLU(), *_convolution(n_out, n_out, 3, 1)
        )
        same = n_in == n_out and stride == 1
        self.around = nn.Sequential(*([] if same else _convolution(n_in, n_out, 1, stride)))
        self.relu = nn.ReLU()

    def forward(self, x):
        """Return the block's output."""
        return self.relu(self.way(x) + self.around(x))


def _convolution(n_in: int, n_out: int, size: int, stride: int) -> list[nn.Module]:
    """Return a convolution and an instance normalization."""
    convolution = nn.Conv2d(n_in, n_out, size, stride, padding=size // 2, bias=False)
    nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
    return [convolution, nn.GroupNorm(n_out, n_out)]
