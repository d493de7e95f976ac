"""The networks of LeCun 1989: five for small sets of digits, and the one for zip codes.

Every unit has its own bias. Windows that reach over the border see a background of -1, which is part of the
input, so the connections of a layer are those that the papers count.
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from .. import nn
from ..sharing import Full, Local, Sharing

FULL, LOCAL = Full(), Local()
BACKGROUND = -1.0
#: Maps of H1 that each map of H2 sees: 8 of 12. The paper states the number but not the table, so this table
#: is that of Karpathy's re-implementation (2022), in which 4 consecutive maps of H2 see the same 8 maps.
SEEN = (
    *[tuple(range(8))] * 4,
    *[tuple(range(4, 12))] * 4,
    *[(*range(4), *range(8, 12))] * 4,
)


class ScaledTanh(torch.nn.Module):
    """The activation 1.7159 tanh(2 x / 3), which maps 1 to 1 and -1 to -1."""

    def forward(self, input: Tensor) -> Tensor:
        return 1.7159 * torch.tanh(input * (2 / 3))


class SelectMaps(torch.nn.Module):
    """Copy the maps that each group of a grouped convolution sees, one group after the other."""

    index: Tensor

    def __init__(self, maps: Sequence[int]):
        super().__init__()
        self.register_buffer("index", torch.tensor(maps), persistent=False)

    def forward(self, input: Tensor) -> Tensor:
        return input[:, self.index]


def zip_code_network(*, sharing: Sharing = FULL) -> torch.nn.Sequential:
    """Build LeCun's zip-code network for 16 x 16 images from -1 to 1: 9,760 parameters.

    Without sharing, it has 64,660. The outputs are linear, because the network is meant to be trained with
    cross-entropy. Those of the paper have an activation and are trained with squared error.

    Args:
        sharing: Sharing of both convolutions.

    Source: LeCun et al. 1989, Backpropagation applied to handwritten zip code recognition.

    Example:
        >>> [sum(p.numel() for p in zip_code_network(sharing=s).parameters()) for s in (FULL, LOCAL)]
        [9760, 64660]
    """
    seen = [channel for maps in SEEN[::4] for channel in maps]
    h1 = nn.Conv2d(1, 12, 5, stride=2, sharing=sharing, input_size=20, bias_sharing=LOCAL)
    h2 = nn.Conv2d(24, 12, 5, stride=2, groups=3, sharing=sharing, input_size=12, bias_sharing=LOCAL)
    layers: dict[str, torch.nn.Module] = {
        "pad1": torch.nn.ConstantPad2d(2, BACKGROUND),
        "h1": h1,
        "tanh1": ScaledTanh(),
        "pad2": torch.nn.ConstantPad2d(2, BACKGROUND),
        "select": SelectMaps(seen),
        "h2": h2,
        "tanh2": ScaledTanh(),
        "flatten": torch.nn.Flatten(),
        "h3": torch.nn.Linear(192, 30),
        "tanh3": ScaledTanh(),
        "output": torch.nn.Linear(30, 10),
    }
    return torch.nn.Sequential(OrderedDict(layers))


def digit_network(number: int, copies: int = 1) -> torch.nn.Sequential:
    """Build one of LeCun's five networks for 16 x 16 images from -1 to 1.

    The networks have these hidden layers, links and weights::

        1   none                                         2,570   2,570
        2   12 units, dense                              3,214   3,214
        3   8 x 8 and 4 x 4 units, local                 1,226   1,226
        4   two shared 8 x 8 maps; 4 x 4 units, local    2,266   1,132
        5   two 8 x 8 maps and four 4 x 4 maps, shared   5,194   1,060

    Windows have 3 x 3 inputs in the first hidden layer and 5 x 5 in the second, with stride 2. The outputs
    have the same activation as the hidden units.

    Args:
        number: Number of the network, from 1 to 5.
        copies: Number of independent copies of the network, each with its own image and outputs. They are
            the groups of its layers, so that many small networks can be trained at once.

    Shape:
        [N, copies, 16, 16] -> [N, 10 copies]

    Source: LeCun 1989, Generalization and network design strategies; table 11.1 of Hastie, Tibshirani and
    Friedman, The Elements of Statistical Learning.

    Example:
        >>> [sum(p.numel() for p in digit_network(number).parameters()) for number in range(1, 6)]
        [2570, 3214, 1226, 1132, 1060]
    """

    def conv(maps: int, out: int, kernel: int, sharing: Sharing = FULL, size: int | None = None) -> nn.Conv2d:
        stride, bias_sharing = (1, None) if size is None else (2, LOCAL)
        return nn.Conv2d(
            copies * maps,
            copies * out,
            kernel,
            stride,
            groups=copies,
            sharing=sharing,
            input_size=size,
            bias_sharing=bias_sharing,
        )

    def pad(before: int, after: int) -> torch.nn.ConstantPad2d:
        return torch.nn.ConstantPad2d((before, after, before, after), BACKGROUND)

    def hide(first: Sharing, maps: int, second: Sharing, second_maps: int) -> list[torch.nn.Module]:
        h1, h2 = conv(1, maps, 3, first, 17), conv(maps, second_maps, 5, second, 11)
        return [
            pad(0, 1),
            h1,
            ScaledTanh(),
            pad(1, 2),
            h2,
            ScaledTanh(),
            conv(second_maps, 10, 4),
        ]

    builders: dict[int, Callable[[], list[torch.nn.Module]]] = {
        1: lambda: [conv(1, 10, 16)],
        2: lambda: [conv(1, 12, 16), ScaledTanh(), conv(12, 10, 1)],
        3: lambda: hide(LOCAL, 1, LOCAL, 1),
        4: lambda: hide(FULL, 2, LOCAL, 1),
        5: lambda: hide(FULL, 2, FULL, 4),
    }
    return torch.nn.Sequential(*builders[number](), torch.nn.Flatten(), ScaledTanh())
