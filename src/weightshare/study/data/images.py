"""The images of a study: split, normalised and checked, as one frozen value of tensors."""

import hashlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from ...errors import DataError
from .raw import Raw
from .sources import load_raw

TEST_FRACTION = 0.25
VALIDATION_FRACTION = 0.2
SPLIT_SEED = 20101
LEAST_SIDE = 4
MOST_SHIFTED = 2_500
PART = 1024
SCALES_APART = 16.0


@dataclass(frozen=True, eq=False)
class Images:
    """Images normalised by the mean and deviation of the training images, and their labels.

    Args:
        name: What the data are called.
        train, validation, test: Pairs of images [N, C, H, W] and labels [N].
        class_names: One a label.
        background: The normalised value of a raw zero in every channel [C], which fills shifted images.
    """

    name: str
    train: tuple[Tensor, Tensor]
    validation: tuple[Tensor, Tensor]
    test: tuple[Tensor, Tensor]
    class_names: tuple[str, ...]
    background: Tensor

    @property
    def channels(self) -> int:
        """Channels of an image."""
        return self.train[0].shape[1]

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of an image, in pixels."""
        return self.train[0].shape[2], self.train[0].shape[3]

    @property
    def shifts(self) -> tuple[int, ...]:
        """Pixels by which test images are shifted: 1 to 4, 1 to 2 where a side has fewer than 16 pixels."""
        return (1, 2) if min(self.size) < 16 else (1, 2, 3, 4)

    @cached_property
    def to_shift(self) -> tuple[Tensor, Tensor]:
        """The test images to shift: all, or 2,500 drawn class by class: each is tested 8 or 16 times."""
        images, labels = self.test
        if len(labels) <= MOST_SHIFTED:
            return self.test
        chosen = torch.from_numpy(draw(labels.numpy(), MOST_SHIFTED, SPLIT_SEED + 3)[0])
        return images[chosen], labels[chosen]

    @cached_property
    def digest(self) -> str:
        """16 hex digits that tell these images, labels and splits from others."""
        state = hashlib.blake2b(digest_size=8)
        for images, labels in (self.train, self.validation, self.test):
            state.update(repr((tuple(images.shape), self.class_names)).encode())
            state.update(images.numpy().data)
            state.update(labels.numpy().data)
        return state.hexdigest()


def load_images(data: str, train_images: int | None = None) -> Images:
    """Load the data that a text names, split them and normalise them.

    Args:
        data: "digits", "faces", "npz:FILE" or "folder:DIR".
        train_images: Images drawn from the training set, class by class in proportion; None: all.

    Raises:
        SpecError: a name that is no source.
        DataError: data that are missing, corrupt, too large, or no classification of images.
    """
    return prepare(load_raw(data), train_images)


def prepare(raw: Raw, train_images: int | None = None) -> Images:
    """Split and normalise; every split is drawn class by class with a fixed seed and never changes."""
    check(raw)
    x, y, x_test, y_test = raw.x, raw.y, raw.x_test, raw.y_test
    if x_test is None or y_test is None:
        chosen, rest = draw(y, round(TEST_FRACTION * len(y)), SPLIT_SEED)
        x, y, x_test, y_test = x[rest], y[rest], x[chosen], y[chosen]
    if train_images is not None:
        least = 2 * len(raw.class_names)
        if not least <= train_images <= len(y):
            raise DataError(
                raw.name,
                f"train_images must be between {least} (two a class) and {len(y)} (all training images)",
                str(train_images),
                "choose a number between them",
            )
        chosen, _ = draw(y, train_images, SPLIT_SEED + 1)
        x, y = x[chosen], y[chosen]
    held_out, rest = draw(y, max(1, round(VALIDATION_FRACTION * len(y))), SPLIT_SEED + 2)
    mean, deviation = statistics(raw.name, x[rest])
    pairs = [
        (normalised(raw.name, images, mean, deviation), torch.from_numpy(labels.astype(np.int64)))
        for images, labels in ((x[rest], y[rest]), (x[held_out], y[held_out]), (x_test, y_test))
    ]
    background = torch.from_numpy((-mean / deviation).astype(np.float32).reshape(-1))
    return Images(raw.name, pairs[0], pairs[1], pairs[2], raw.class_names, background)


def check(raw: Raw) -> None:
    """Refuse what no network could be trained on."""
    side = min(raw.x.shape[2:])
    if side < LEAST_SIDE:
        raise DataError(
            raw.name,
            f"images must be at least {LEAST_SIDE} x {LEAST_SIDE} pixels",
            f"{raw.x.shape[2]} x {raw.x.shape[3]}",
            "use larger images",
        )
    for images in (raw.x, raw.x_test):
        if images is not None and images.dtype.kind == "f":
            bad = np.flatnonzero(~np.isfinite(images).all(axis=(1, 2, 3)))
            if len(bad):
                raise DataError(
                    raw.name,
                    "pixels must be finite numbers",
                    f"NaN or infinity in {len(bad)} images, the first of them image {bad[0]}",
                    "remove or repair these images",
                )
    if raw.x_test is not None:
        check_scales(raw.name, raw.x, raw.x_test)
    counts = np.bincount(raw.y, minlength=len(raw.class_names))
    if len(raw.class_names) < 2:
        raise DataError(
            raw.name, "there must be at least 2 classes", str(len(raw.class_names)), "add images of another"
        )
    least = 2 if raw.x_test is not None else 4
    if counts.min() < least:
        scarce = int(counts.argmin())
        raise DataError(
            raw.name,
            f"every class must have at least {least} images to split",
            f"{counts[scarce]} of class {raw.class_names[scarce]!r}",
            "add images or leave the class out",
        )


def check_scales(name: str, x: np.ndarray, x_test: np.ndarray) -> None:
    """Refuse training and test images whose pixels are not on one scale, such as 0 to 255 and 0 to 1."""
    low, high = sorted(max(abs(float(images.min())), abs(float(images.max()))) for images in (x, x_test))
    if x.dtype.kind != x_test.dtype.kind or (low > 0 and high / low > SCALES_APART):
        ours, theirs = (f"{i.dtype} from {i.min():.4g} to {i.max():.4g}" for i in (x, x_test))
        raise DataError(
            name,
            "training and test images must have the same kind of numbers on the same scale",
            f"{ours} in x_train and {theirs} in x_test",
            "scale both alike",
        )


def draw(labels: np.ndarray, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Choose about `count` items, class by class in proportion; what is chosen and the rest, both in order.

    Every class of at least two items is on both sides.
    """
    generator = np.random.default_rng(seed)
    order = generator.permutation(len(labels))
    sizes = np.bincount(labels)
    quota = sizes * count / len(labels)
    take = np.floor(quota).astype(int)
    for place in np.argsort(take - quota, kind="stable")[: count - take.sum()]:
        take[place] += 1
    if count < len(labels):
        take = np.clip(take, np.minimum(1, sizes), np.maximum(sizes - 1, 0))
    chosen = np.zeros(len(labels), dtype=bool)
    for label, number in enumerate(take):
        chosen[order[labels[order] == label][:number]] = True
    return np.flatnonzero(chosen), np.flatnonzero(~chosen)


def statistics(name: str, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of every channel [C, 1, 1]; a channel that never varies has deviation 1."""
    axes = (0, 2, 3)
    with np.errstate(over="ignore", invalid="ignore"):
        mean = images.mean(axis=axes, dtype=np.float64)[:, None, None]
        total = sum(np.square(part - mean).sum(axis=axes) for part in _parts(images))
        deviation = np.sqrt(total / (images.size / images.shape[1]))[:, None, None]
    if not deviation.any():
        raise DataError(name, "images must differ", "the same value in every pixel", "check the file")
    if not np.isfinite(deviation).all():
        raise DataError(name, "pixels must be of moderate size", "values near float's end", "rescale them")
    return mean, np.where(deviation > 0, deviation, 1.0)


def normalised(name: str, images: np.ndarray, mean: np.ndarray, deviation: np.ndarray) -> Tensor:
    """Images as a float32 tensor with mean 0 and deviation 1 on the training images."""
    result = np.empty(images.shape, dtype=np.float32)
    with np.errstate(over="ignore"):
        for part, place in zip(_parts(images), _parts(result)):
            place[...] = (part - mean) / deviation
    if not np.isfinite(result).all():
        raise DataError(name, "pixels must be of moderate size", "values near float's end", "rescale them")
    return torch.from_numpy(result)


def _parts(images: np.ndarray) -> list[np.ndarray]:
    """Views of some images each, so that what is computed in float64 is never all of them."""
    return [images[start : start + PART] for start in range(0, len(images), PART)]


def shifted(images: Tensor, dy: int, dx: int, background: Tensor) -> Tensor:
    """Images moved down by `dy` and right by `dx` pixels, filled with the background.

    Shape:
        images [N, C, H, W], background [C] -> [N, C, H, W]

    Example:
        >>> shifted(torch.arange(4.0).reshape(1, 1, 2, 2), 0, 1, torch.tensor([9.0])).flatten().tolist()
        [9.0, 0.0, 9.0, 2.0]
    """
    height, width = images.shape[2:]
    result = background.to(images)[None, :, None, None].expand_as(images).clone()
    rows, columns = slice(max(dy, 0), height + min(dy, 0)), slice(max(dx, 0), width + min(dx, 0))
    from_rows = slice(max(-dy, 0), height + min(-dy, 0))
    from_columns = slice(max(-dx, 0), width + min(-dx, 0))
    result[:, :, rows, columns] = images[:, :, from_rows, from_columns]
    return result
