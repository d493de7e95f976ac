"""Images of a study, split and normalized, as one frozen value of tensors."""

import hashlib
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from .split import SHIFT_SEED, draw

MAX_SHIFT_IMAGES = 2_500


@dataclass(frozen=True, eq=False)
class Images:
    """Images, normalized by the mean and standard deviation of the training set, and their labels.

    Args:
        name: Name of the data.
        train, validation, test: Pairs of images [N, C, H, W] and labels [N].
        class_names: One name per label.
        background: Normalized value of a raw zero in each channel [C]. It fills shifted images.
    """

    name: str
    train: tuple[Tensor, Tensor]
    validation: tuple[Tensor, Tensor]
    test: tuple[Tensor, Tensor]
    class_names: tuple[str, ...]
    background: Tensor

    @property
    def channels(self) -> int:
        """Number of channels of an image."""
        return self.train[0].shape[1]

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of an image in pixels."""
        return self.train[0].shape[2], self.train[0].shape[3]

    @property
    def shifts(self) -> tuple[int, ...]:
        """Shifts of the test images in pixels: 1 to 4, or 1 to 2 if a side is shorter than 16 pixels."""
        return (1, 2) if min(self.size) < 16 else (1, 2, 3, 4)

    @cached_property
    def shift_test(self) -> tuple[Tensor, Tensor]:
        """Test images and labels to shift: a stratified sample of 2,500, or all if there are fewer.

        They are sampled because each image is evaluated at 8 or 16 shifts.
        """
        images, labels = self.test
        if len(labels) <= MAX_SHIFT_IMAGES:
            return self.test
        chosen = torch.from_numpy(draw(labels.numpy(), MAX_SHIFT_IMAGES, SHIFT_SEED)[0])
        return images[chosen], labels[chosen]

    @cached_property
    def digest(self) -> str:
        """Digest of the images, labels and splits, in 16 hex digits."""
        state = hashlib.blake2b(digest_size=8)
        for images, labels in (self.train, self.validation, self.test):
            state.update(repr((tuple(images.shape), self.class_names)).encode())
            state.update(images.numpy().data)
            state.update(labels.numpy().data)
        return state.hexdigest()


def shift_images(images: Tensor, dy: int, dx: int, background: Tensor) -> Tensor:
    """Shift images down by `dy` and right by `dx` pixels, and fill the gap with the background.

    Shape:
        images [N, C, H, W], background [C] -> [N, C, H, W]

    Example:
        >>> shift_images(torch.arange(4.0).reshape(1, 1, 2, 2), 0, 1, torch.tensor([9.0])).flatten().tolist()
        [9.0, 0.0, 9.0, 2.0]
    """
    height, width = images.shape[2:]
    result = background.to(images)[None, :, None, None].expand_as(images).clone()
    rows, columns = slice(max(dy, 0), height + min(dy, 0)), slice(max(dx, 0), width + min(dx, 0))
    from_rows = slice(max(-dy, 0), height + min(-dy, 0))
    from_columns = slice(max(-dx, 0), width + min(-dx, 0))
    result[:, :, rows, columns] = images[:, :, from_rows, from_columns]
    return result
