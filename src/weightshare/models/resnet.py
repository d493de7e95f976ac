"""ResNet-18."""

from collections.abc import Sequence

from torch import Tensor
from torch.nn import AdaptiveAvgPool2d, BatchNorm2d, Flatten, Linear, MaxPool2d, Module, ReLU, Sequential

from ..sharing import Full, Sharing
from ._parts import make_conv2d

FULL = Full()


class BasicBlock(Module):
    """Two 3 x 3 convolutions with a shortcut around them.

    Args:
        in_channels: Number of input channels.
        out_channels: Number of output channels.
        stride: Stride of the first convolution and of the shortcut.
        size: Spatial size of the input.
        sharing: Sharing of every convolution.
    """

    def __init__(
        self, in_channels: int, out_channels: int, stride: int, size: Sequence[int], sharing: Sharing
    ):
        super().__init__()
        inner = [-(-n // stride) for n in size]
        self.conv1 = make_conv2d(
            in_channels, out_channels, 3, size, sharing, stride=stride, padding=1, bias=False
        )
        self.bn1 = BatchNorm2d(out_channels)
        self.conv2 = make_conv2d(out_channels, out_channels, 3, inner, sharing, padding=1, bias=False)
        self.bn2 = BatchNorm2d(out_channels)
        self.relu = ReLU(inplace=True)
        self.downsample = None
        if stride > 1 or in_channels != out_channels:
            shortcut = make_conv2d(in_channels, out_channels, 1, size, sharing, stride=stride, bias=False)
            self.downsample = Sequential(shortcut, BatchNorm2d(out_channels))

    def forward(self, input: Tensor) -> Tensor:
        """Apply the block.

        Shape:
            [N, in, H, W] -> [N, out, ceil(H / stride), ceil(W / stride)]
        """
        shortcut = input if self.downsample is None else self.downsample(input)
        inner = self.relu(self.bn1(self.conv1(input)))
        return self.relu(self.bn2(self.conv2(inner)) + shortcut)


def resnet18(classes: int = 1000, *, sharing: Sharing = FULL) -> Sequential:
    """Build ResNet-18 for 224 x 224 images: 11,689,512 parameters.

    Source: He et al. 2015, Deep residual learning for image recognition, table 1.
    """
    blocks: list[BasicBlock] = []
    channels, size = 64, 56
    for out_channels, stride in ((64, 1), (128, 2), (256, 2), (512, 2)):
        for step in (stride, 1):
            blocks.append(BasicBlock(channels, out_channels, step, (size, size), sharing))
            channels, size = out_channels, size // step
    first = make_conv2d(3, 64, 7, (224, 224), sharing, stride=2, padding=3, bias=False)
    stem = [first, BatchNorm2d(64), ReLU(inplace=True), MaxPool2d(3, 2, 1)]
    return Sequential(*stem, *blocks, AdaptiveAvgPool2d(1), Flatten(), Linear(512, classes))
