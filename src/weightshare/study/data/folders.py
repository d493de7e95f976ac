"""Images from a folder with one subfolder per class.

Links are refused, and sizes are checked before pixels are read.
"""

import os
import stat
import warnings
from pathlib import Path

import numpy as np
from PIL import Image

from ...errors import DataError
from .paths import describe_path
from .raw import Raw

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
GRAY_MODES, COLOR_MODES = ("1", "L"), ("P", "RGB", "RGBA", "LA", "CMYK", "YCbCr")
MAX_CLASSES = 1_000
MAX_IMAGES = 200_000
MAX_SIDE = 512
MAX_VALUES = 2**29


def load_folder(folder: Path, name: str) -> Raw:
    """Load every image in every subfolder. The classes are the names of the subfolders, sorted.

    Grayscale images have one channel. If any image has colors, all are read with three channels. Transparency
    is dropped, and only the first frame of an animation is read. Hidden files and folders are skipped.

    Raises:
        DataError: If there are no classes or images, an entry is a link or not an image, or sizes differ.
    """
    classes = _find_classes(folder, name)
    files = [(file, label) for label, place in enumerate(classes) for file in _find_images(place, name)]
    if len(files) > MAX_IMAGES:
        raise DataError(name, f"must contain at most {MAX_IMAGES:,} images", f"{len(files):,}")
    size, channels = _read_common_size([file for file, _ in files], name)
    values = len(files) * channels * size[0] * size[1]
    if values > MAX_VALUES:
        raise DataError(
            name,
            f"must contain at most {MAX_VALUES:,} pixel values",
            f"{values:,}",
            "use fewer or smaller images",
        )
    images = np.stack([_read_pixels(file, name, channels) for file, _ in files])
    labels = np.array([label for _, label in files])
    return Raw(name, images, labels, tuple(place.name for place in classes))


def _find_classes(folder: Path, name: str) -> list[Path]:
    if folder.is_symlink() or not folder.is_dir():
        raise DataError(name, "must be a folder with one subfolder per class", describe_path(folder))
    entries = _list_entries(folder, name)
    classes = [entry for entry in entries if entry.is_dir()]
    if not classes:
        got = f"no subfolder ({len(entries)} files)" if entries else "an empty folder"
        raise DataError(name, "must have one subfolder of images per class", got)
    if len(classes) > MAX_CLASSES:
        raise DataError(name, f"must have at most {MAX_CLASSES:,} classes", f"{len(classes):,}")
    return classes


def _find_images(place: Path, name: str) -> list[Path]:
    where = f"{name}, {place.name}"
    files = _list_entries(place, name)
    if not files:
        raise DataError(where, "must contain images", "an empty folder", "add images or remove the folder")
    for file in files:
        if not stat.S_ISREG(file.stat().st_mode) or file.suffix.lower() not in SUFFIXES:
            raise DataError(where, f"must contain only images ({', '.join(SUFFIXES)})", repr(file.name))
    return files


def _list_entries(folder: Path, name: str) -> list[Path]:
    """Return the entries of a folder that are not hidden, sorted by name. Raise a DataError for a link."""
    try:
        entries = sorted(Path(entry) for entry in os.scandir(folder) if not entry.name.startswith("."))
    except OSError as error:
        raise DataError(name, "must be readable", f"{error.strerror}") from None
    for entry in entries:
        if entry.is_symlink():
            raise DataError(
                name,
                "must not contain links, which are not followed",
                f"the link {entry.name!r}",
                "copy the images instead",
            )
    return entries


def _read_common_size(files: list[Path], name: str) -> tuple[tuple[int, int], int]:
    """Return height and width of all images, and their number of channels, from their headers."""
    size, channels = (0, 0), 1
    first: tuple[tuple[int, int], Path] | None = None
    for file in files:
        with _open(file, name) as image:
            size, mode = (image.height, image.width), image.mode
        if max(size) > MAX_SIDE:
            raise _size_error(file, name, f"{size[0]} x {size[1]}")
        if mode not in GRAY_MODES + COLOR_MODES:
            raise DataError(
                f"{name}, {file.parent.name}/{file.name}",
                "images must have 8 bits per channel",
                f"mode {mode!r}",
            )
        if first is None:
            first = (size, file)
        elif size != first[0]:
            raise DataError(
                name,
                "all images must have the same size",
                f"{first[0][0]} x {first[0][1]} ({first[1].parent.name}/{first[1].name}) "
                f"and {size[0]} x {size[1]} ({file.parent.name}/{file.name})",
                "scale or crop them to one size",
            )
        channels = 3 if mode in COLOR_MODES else channels
    return size, channels


def _read_pixels(file: Path, name: str, channels: int) -> np.ndarray:
    """Return one image as uint8 [C, H, W]."""
    with _open(file, name) as image:
        try:
            pixels = np.asarray(image.convert("L" if channels == 1 else "RGB"))
        except Exception as error:  # on a damaged file, decoders raise exceptions of many types
            raise _damage_error(file, name, error) from None
    return pixels.reshape(*pixels.shape[:2], channels).transpose(2, 0, 1)


def _open(file: Path, name: str) -> Image.Image:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the caller checks the size
        try:
            return Image.open(file, formats=FORMATS)
        except Image.DecompressionBombError:
            raise _size_error(file, name, "far more") from None
        except Exception as error:
            raise _damage_error(file, name, error) from None


def _size_error(file: Path, name: str, got: str) -> DataError:
    return DataError(
        f"{name}, {file.parent.name}/{file.name}",
        f"images must be at most {MAX_SIDE} pixels wide and high",
        got,
    )


def _damage_error(file: Path, name: str, error: Exception) -> DataError:
    return DataError(
        f"{name}, {file.parent.name}/{file.name}",
        "must be a readable image",
        f"{type(error).__name__}: {str(error).replace(str(file), file.name)}",
        "repair or remove it",
    )
