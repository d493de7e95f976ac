"""Convolutional networks from the literature: LeNet-5, AlexNet and VGG-16."""

from torch import nn

from ..sharing import Full, Sharing
from ._parts import Stem

FULL = Full()


def lenet5(classes: int = 10, *, sharing: Sharing = FULL) -> nn.Sequential:
    """Build LeNet-5 for 28 x 28 images with one channel, in its common modern form: 61,706 parameters.

    In the original, the second convolution is only partly connected, and each pooling layer learns a factor
    and a bias.

    Source: LeCun et al. 1998, Gradient-based learning applied to document recognition, section II.B.

    Example:
        >>> sum(p.numel() for p in lenet5().parameters())
        61706
    """
    stem = Stem(1, (28, 28), sharing)
    stem.conv(6, 5, nn.Tanh, padding=2).pool(2, 2, nn.AvgPool2d).conv(16, 5, nn.Tanh).pool(2, 2, nn.AvgPool2d)
    head = [nn.Linear(stem.features, 120), nn.Tanh(), nn.Linear(120, 84), nn.Tanh(), nn.Linear(84, classes)]
    return nn.Sequential(*stem.layers, nn.Flatten(), *head)


def alexnet(classes: int = 1000, *, sharing: Sharing = FULL) -> nn.Sequential:
    """Build AlexNet for 224 x 224 images, in the variant of torchvision: 61,100,840 parameters.

    Source: Krizhevsky 2014, One weird trick for parallelizing convolutional neural networks.
    """
    stem = Stem(3, (224, 224), sharing)
    stem.conv(64, 11, nn.ReLU, stride=4, padding=2).pool(3, 2).conv(192, 5, nn.ReLU, padding=2).pool(3, 2)
    for channels in (384, 256, 256):
        stem.conv(channels, 3, nn.ReLU, padding=1)
    stem.pool(3, 2).add(nn.AdaptiveAvgPool2d(6), nn.Flatten())
    return nn.Sequential(*stem.layers, *_make_dense_head(stem.channels * 6 * 6, classes, dropout_first=True))


def vgg16(classes: int = 1000, *, sharing: Sharing = FULL) -> nn.Sequential:
    """Build VGG-16 for 224 x 224 images: 138,357,544 parameters.

    Source: Simonyan and Zisserman 2014, Very deep convolutional networks for large-scale image recognition,
    table 1, column D.
    """
    stem = Stem(3, (224, 224), sharing)
    for channels, convolutions in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        for _ in range(convolutions):
            stem.conv(channels, 3, nn.ReLU, padding=1)
        stem.pool(2, 2)
    stem.add(nn.AdaptiveAvgPool2d(7), nn.Flatten())
    return nn.Sequential(*stem.layers, *_make_dense_head(stem.channels * 7 * 7, classes, dropout_first=False))


def _make_dense_head(features: int, classes: int, *, dropout_first: bool) -> list[nn.Module]:
    first, second = nn.Linear(features, 4096), nn.Linear(4096, 4096)
    if dropout_first:
        return [nn.Dropout(), first, nn.ReLU(), nn.Dropout(), second, nn.ReLU(), nn.Linear(4096, classes)]
    return [first, nn.ReLU(), nn.Dropout(), second, nn.ReLU(), nn.Dropout(), nn.Linear(4096, classes)]
