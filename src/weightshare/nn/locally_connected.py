"""Locally connected layers under their usual name: convolutions with `sharing=Local()`."""

from ..sharing import Local
from .conv import Conv1d, Conv2d, Conv3d


class LocallyConnected1d(Conv1d):
    """`Conv1d` with `sharing=Local()`: each output position has its own kernel. `input_size` is required.

    Example:
        >>> layer = LocallyConnected1d(3, 8, kernel_size=3, input_size=10)
        >>> layer.weight.shape, layer.bias.shape
        (torch.Size([8, 3, 3, 8]), torch.Size([8, 8]))
    """

    _fixed_sharing = Local()


class LocallyConnected2d(Conv2d):
    """`Conv2d` with `sharing=Local()`: each output position has its own kernel. `input_size` is required.

    Example:
        >>> layer = LocallyConnected2d(3, 8, kernel_size=3, input_size=(10, 12))
        >>> layer.weight.shape, layer.bias.shape
        (torch.Size([80, 3, 3, 3, 8]), torch.Size([80, 8]))
    """

    _fixed_sharing = Local()


class LocallyConnected3d(Conv3d):
    """`Conv3d` with `sharing=Local()`: each output position has its own kernel. `input_size` is required.

    Example:
        >>> layer = LocallyConnected3d(1, 4, kernel_size=3, input_size=5)
        >>> layer.weight.shape, layer.bias.shape
        (torch.Size([27, 3, 3, 3, 1, 4]), torch.Size([27, 4]))
    """

    _fixed_sharing = Local()
