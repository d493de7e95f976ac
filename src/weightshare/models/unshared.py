"""Locally connected parts of published networks: the last layers of DeepFace and the head of YOLOv1."""

from torch import nn

from ..sharing import Local, Sharing
from ._parts import Stem

LOCAL = Local()


def deepface_head(classes: int = 4030, *, sharing: Sharing = LOCAL) -> nn.Sequential:
    """Build the last five layers of DeepFace: three locally connected layers and two dense ones.

    The input has 16 channels of 63 x 63, the features of an aligned face after the first layers.

    Source: Taigman et al. 2014, DeepFace: closing the gap to human-level performance in face verification,
    section 3.
    """
    stem = Stem(16, (63, 63), sharing)
    stem.conv(16, 9, nn.ReLU).conv(16, 7, nn.ReLU, stride=2).conv(16, 5, nn.ReLU).add(nn.Flatten())
    return nn.Sequential(*stem.layers, nn.Linear(stem.features, 4096), nn.ReLU(), nn.Linear(4096, classes))


def yolov1_head(classes: int = 20, boxes: int = 3, *, sharing: Sharing = LOCAL) -> nn.Sequential:
    """Build the detection head of YOLOv1, in Darknet's configuration, for 1,024 channels of 7 x 7.

    The output has `classes + 5 * boxes` numbers for each of the 7 x 7 cells.

    Source: Redmon et al. 2016, You only look once, section 2.1, and the `[local]` section of its published
    configuration, which is missing in figure 3 of the paper.
    """
    stem = Stem(1024, (7, 7), sharing)
    stem.conv(256, 3, lambda: nn.LeakyReLU(0.1), padding=1).add(nn.Dropout(), nn.Flatten())
    return nn.Sequential(*stem.layers, nn.Linear(stem.features, 7 * 7 * (classes + 5 * boxes)))
