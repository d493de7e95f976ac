"""Images from a folder with one sub-folder a class.

Links are refused, and sizes are checked before pixels are read.
"""

import os
import stat
import warnings
from pathlib import Path

import numpy as np
from PIL import Image

from ...errors import DataError
from .raw import Raw

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
GREY, COLOUR = ("1", "L"), ("P", "RGB", "RGBA", "LA", "CMYK", "YCbCr")
MAX_CLASSES = 1_000
MAX_IMAGES = 200_000
MAX_SIDE = 512
MAX_VALUES = 2**29


def load_folder(folder: Path, name: str) -> Raw:
    """Read every image of every sub-folder; the sub-folders' names, sorted, are the classes.

    Grey images have one channel; if any image has colours, all are read with three. Transparency is dropped,
    and of a moving picture the first frame is read. Names that start with a dot are left out.

    Raises:
        DataError: no classes, no images, a link, a file that is no image, or images of different sizes.
    """
    classes = _classes(folder, name)
    files = [(file, label) for label, place in enumerate(classes) for file in _files(place, name)]
    if len(files) > MAX_IMAGES:
        raise DataError(name, f"must hold at most {MAX_IMAGES:,} images", f"{len(files):,}", "use fewer")
    size, channels = _common_size([file for file, _ in files], name)
    values = len(files) * channels * size[0] * size[1]
    if values > MAX_VALUES:
        raise DataError(
            name,
            f"must hold at most {MAX_VALUES:,} pixel values",
            f"{values:,}",
            "use fewer or smaller images",
        )
    images = np.stack([_pixels(file, name, channels) for file, _ in files])
    labels = np.array([label for _, label in files])
    return Raw(name, images, labels, tuple(place.name for place in classes))


def _classes(folder: Path, name: str) -> list[Path]:
    if folder.is_symlink() or not folder.is_dir():
        got = "a link, which is not followed" if folder.is_symlink() else "no folder there"
        raise DataError(name, "must be a folder", got, "give a folder with one sub-folder of images a class")
    entries = _entries(folder, name)
    classes = [entry for entry in entries if entry.is_dir()]
    if not classes:
        got = f"no sub-folder ({len(entries)} files)" if entries else "an empty folder"
        raise DataError(
            name, "must have one sub-folder of images a class", got, "put the images of each class in one"
        )
    if len(classes) > MAX_CLASSES:
        raise DataError(name, f"must have at most {MAX_CLASSES:,} classes", f"{len(classes):,}", "merge some")
    return classes


def _files(place: Path, name: str) -> list[Path]:
    files = _entries(place, name)
    if not files:
        raise DataError(
            f"{name}, {place.name}", "must hold images", "an empty folder", "add images or remove the folder"
        )
    for file in files:
        if not stat.S_ISREG(file.stat().st_mode) or file.suffix.lower() not in SUFFIXES:
            raise DataError(
                f"{name}, {place.name}",
                f"must hold only images ({', '.join(SUFFIXES)})",
                repr(file.name),
                "move everything else away",
            )
    return files


def _entries(folder: Path, name: str) -> list[Path]:
    """What a folder holds, sorted by name, without hidden names; a link is an error."""
    try:
        entries = sorted(Path(entry) for entry in os.scandir(folder) if not entry.name.startswith("."))
    except OSError as error:
        raise DataError(name, "must be readable", f"{error.strerror}", "check its permissions") from None
    for entry in entries:
        if entry.is_symlink():
            raise DataError(
                name,
                "must hold no links, they are not followed",
                f"the link {entry.name!r}",
                "copy the images there",
            )
    return entries


def _common_size(files: list[Path], name: str) -> tuple[tuple[int, int], int]:
    """Height and width of all images, and their channels, from their headers."""
    channels = 1
    first: tuple[tuple[int, int], Path] | None = None
    for file in files:
        with _opened(file, name) as image:
            size, mode = (image.height, image.width), image.mode
        if max(size) > MAX_SIDE:
            raise _too_large(file, name, f"{size[0]} x {size[1]}")
        if mode not in GREY + COLOUR:
            raise DataError(
                f"{name}, {file.parent.name}/{file.name}",
                "images must have 8 bits a channel",
                f"mode {mode!r}",
                "convert them",
            )
        if first is None:
            first = (size, file)
        elif size != first[0]:
            raise DataError(
                name,
                "images must all have the same size",
                f"{first[0][0]} x {first[0][1]} ({first[1].parent.name}/{first[1].name}) "
                f"and {size[0]} x {size[1]} ({file.parent.name}/{file.name})",
                "scale or crop them to one size",
            )
        channels = 3 if mode in COLOUR else channels
    return size, channels


def _pixels(file: Path, name: str, channels: int) -> np.ndarray:
    """One image [C, H, W], uint8."""
    with _opened(file, name) as image:
        try:
            pixels = np.asarray(image.convert("L" if channels == 1 else "RGB"))
        except Exception as error:  # decoders raise whatever they like on a damaged file
            raise _corrupt(file, name, error) from None
    return pixels.reshape(*pixels.shape[:2], channels).transpose(2, 0, 1)


def _opened(file: Path, name: str) -> Image.Image:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the size is checked above
        try:
            return Image.open(file, formats=FORMATS)
        except Image.DecompressionBombError:
            raise _too_large(file, name, "far more") from None
        except Exception as error:
            raise _corrupt(file, name, error) from None


def _too_large(file: Path, name: str, got: str) -> DataError:
    return DataError(
        f"{name}, {file.parent.name}/{file.name}",
        f"images must be at most {MAX_SIDE} pixels wide and high",
        got,
        "scale them down",
    )


def _corrupt(file: Path, name: str, error: Exception) -> DataError:
    return DataError(
        f"{name}, {file.parent.name}/{file.name}",
        "must be a readable image",
        f"{type(error).__name__}: {str(error).replace(str(file), file.name)}",
        "repair or remove it",
    )
