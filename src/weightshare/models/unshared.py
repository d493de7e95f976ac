"""The parts of published networks that share nothing: DeepFace's last feature layers, YOLOv1's first head."""

from torch.nn import Dropout, Flatten, LeakyReLU, Linear, ReLU, Sequential

from ..sharing import Local, Sharing
from ._parts import Stem

LOCAL = Local()


def deepface_head(classes: int = 4030, *, sharing: Sharing = LOCAL) -> Sequential:
    """DeepFace from its third to its last layer, for aligned faces as 16 channels of 63 x 63.

    Three locally connected layers, then two dense ones.

    Source: Taigman et al. 2014, DeepFace: closing the gap to human-level performance in face verification,
    section 3.
    """
    stem = Stem(16, (63, 63), sharing)
    stem.conv(16, 9, ReLU).conv(16, 7, ReLU, stride=2).conv(16, 5, ReLU).add(Flatten())
    return Sequential(*stem.layers, Linear(stem.features, 4096), ReLU(), Linear(4096, classes))


def yolov1_head(classes: int = 20, boxes: int = 3, *, sharing: Sharing = LOCAL) -> Sequential:
    """YOLOv1's detection head in Darknet's configuration, for 1,024 channels of 7 x 7.

    Out come classes + 5 boxes numbers for each of the 7 x 7 cells.

    Source: Redmon et al. 2016, You only look once, section 2.1, and the `[local]` section of its published
    configuration, which the paper's figure 3 leaves out.
    """
    stem = Stem(1024, (7, 7), sharing)
    stem.conv(256, 3, lambda: LeakyReLU(0.1), padding=1).add(Dropout(), Flatten())
    return Sequential(*stem.layers, Linear(stem.features, 7 * 7 * (classes + 5 * boxes)))
