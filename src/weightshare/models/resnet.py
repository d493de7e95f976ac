"""ResNet-18."""

from collections.abc import Sequence

from torch import Tensor
from torch.nn import AdaptiveAvgPool2d, BatchNorm2d, Flatten, Linear, MaxPool2d, Module, ReLU, Sequential

from ..sharing import Full, Sharing
from ._parts import conv2d

FULL = Full()


class BasicBlock(Module):
    """Two 3 x 3 convolutions and a way around them.

    Args:
        size: Spatial size of the input.
    """

    def __init__(
        self, in_channels: int, out_channels: int, stride: int, size: Sequence[int], sharing: Sharing
    ):
        super().__init__()
        inner = [-(-n // stride) for n in size]
        self.conv1 = conv2d(in_channels, out_channels, 3, size, sharing, stride=stride, padding=1, bias=False)
        self.bn1 = BatchNorm2d(out_channels)
        self.conv2 = conv2d(out_channels, out_channels, 3, inner, sharing, padding=1, bias=False)
        self.bn2 = BatchNorm2d(out_channels)
        self.relu = ReLU(inplace=True)
        self.downsample = None
        if stride > 1 or in_channels != out_channels:
            around = conv2d(in_channels, out_channels, 1, size, sharing, stride=stride, bias=False)
            self.downsample = Sequential(around, BatchNorm2d(out_channels))

    def forward(self, input: Tensor) -> Tensor:
        """[N, in, H, W] -> [N, out, H / stride, W / stride]."""
        around = input if self.downsample is None else self.downsample(input)
        inner = self.relu(self.bn1(self.conv1(input)))
        return self.relu(self.bn2(self.conv2(inner)) + around)


def resnet18(classes: int = 1000, *, sharing: Sharing = FULL) -> Sequential:
    """ResNet-18 for 224 x 224 images: 11,689,512 parameters.

    Source: He et al. 2015, Deep residual learning for image recognition, table 1.
    """
    blocks, channels, size = [], 64, 56
    for out_channels, stride in ((64, 1), (128, 2), (256, 2), (512, 2)):
        for step in (stride, 1):
            blocks.append(BasicBlock(channels, out_channels, step, (size, size), sharing))
            channels, size = out_channels, size // step
    first = conv2d(3, 64, 7, (224, 224), sharing, stride=2, padding=3, bias=False)
    stem = [first, BatchNorm2d(64), ReLU(inplace=True), MaxPool2d(3, 2, 1)]
    return Sequential(*stem, *blocks, AdaptiveAvgPool2d(1), Flatten(), Linear(512, classes))
