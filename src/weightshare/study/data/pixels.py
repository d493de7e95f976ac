"""Read image files as pixels. Sizes are checked before pixels are decoded, and conversions are reported."""

import warnings
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from ...errors import DataError
from ...views.escape import escape_controls
from ..spec import MAX_SIDE
from .describe import describe_exception

_COMMON = (".bmp", ".gif", ".jfif", ".jpe", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
SUFFIXES = (*_COMMON, ".pbm", ".pgm", ".pnm", ".ppm")
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
#: Modes of grayscale and color images, in Pillow's words.
GRAY_MODES = ("1", "L", "LA", "I;16", "I;16B", "I", "F")
COLOR_MODES = ("P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr")
ORIENTATION, ROTATING = 0x0112, (5, 6, 7, 8)

#: What can be done to an image, as the end of a sentence such as "2 images were ...".
CONVERSIONS = {
    "rotated": "rotated or mirrored according to the EXIF orientation",
    "first frame": "reduced to the first frame",
    "white": "partly transparent and were composited onto white",
    "CMYK": "converted from CMYK to RGB without a color profile",
    "8 bits": "reduced from 16 to 8 bits per channel",
    "16 bits": "scaled from 16 bits to the range 0 to 255, without rounding",
    "colored": "converted from grayscale to RGB",
    "scaled": "scaled to the given size",
    "stretched": "changed in aspect ratio",
}


@dataclass(frozen=True)
class Header:
    """Size and kind of an image, as a viewer shows it.

    Args:
        size: Height and width in pixels; before any rotation if the image is to be scaled anyway.
        has_color: Whether the image has colors.
        depth: Bits per value: 8 or 16; 32 if the values are numbers of unknown range.
    """

    size: tuple[int, int]
    has_color: bool
    depth: int


def read_header(file: Path, where: str, can_scale: bool = False) -> Header:
    """Read the header of an image file.

    Args:
        file: Path of the image.
        where: Beginning of errors.
        can_scale: Whether the image may be larger than `MAX_SIDE`.

    Raises:
        DataError: If the file is not an image, is too large, or has an unknown kind of pixels.
    """
    with _open(file, where) as image:
        height, width = image.height, image.width
        if max(height, width) > MAX_SIDE and not can_scale:
            expected = f"must be at most {MAX_SIDE} pixels wide and high"
            raise DataError(where, expected, f"{height} x {width}", "scale the images with resize")
        if image.mode not in GRAY_MODES + COLOR_MODES:
            hint = "convert it to RGB or grayscale"
            raise DataError(where, "must be a grayscale or RGB image", f"mode {image.mode!r}", hint)
        if not can_scale and image.getexif().get(ORIENTATION) in ROTATING:  # slow: may decode the pixels
            height, width = width, height
        return Header((height, width), image.mode in COLOR_MODES, _get_depth(image))


def read_pixels(
    file: Path, where: str, channels: int, size: tuple[int, int] | None = None
) -> tuple[np.ndarray, set[str]]:
    """Read the pixels of an image [C, H, W], as uint8 or, for more than 8 bits, float32.

    Values of 16 bits are divided by 257, so that they fit to images of 8 bits.

    Args:
        file: Path of the image.
        where: Beginning of errors.
        channels: 1 for grayscale, 3 for RGB.
        size: Height and width to which the image is scaled; by default, it is not scaled.

    Returns:
        The pixels, and the keys of the conversions in `CONVERSIONS`.
    """
    done: set[str] = set()
    with _open(file, where) as image:
        depth = _get_depth(image)
        if depth == 8 and ";16" in str(getattr(image, "tile", "")):
            done.add("8 bits")
        if getattr(image, "n_frames", 1) > 1:
            done.add("first frame")
        if image.getexif().get(ORIENTATION, 1) in range(2, 9):
            done.add("rotated")
        if image.mode == "CMYK":
            done.add("CMYK")
        if channels == 3 and image.mode not in COLOR_MODES:
            done.add("colored")
        image = ImageOps.exif_transpose(image)
        if depth > 8:
            image = _convert_deep(image, depth, done)
        else:
            image = _composite(image, done).convert("L" if channels == 1 else "RGB")
        if size is not None and size != (image.height, image.width):
            done.add("scaled")
            if image.height * size[1] != image.width * size[0]:
                done.add("stretched")
            image = image.resize((size[1], size[0]), Image.Resampling.BILINEAR)
        pixels = np.asarray(image)
    pixels = pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
    return np.broadcast_to(pixels, (channels, *pixels.shape[1:])), done


def _get_depth(image: Image.Image) -> int:
    """Return 8, 16 or 32 bits per value."""
    is_small = image.format in ("PNG", "PPM")  # Pillow holds their 16 bits in 32
    return {"I;16": 16, "I;16B": 16, "I": 16 if is_small else 32, "F": 32}.get(image.mode, 8)


def _convert_deep(image: Image.Image, depth: int, done: set[str]) -> Image.Image:
    """Return a grayscale image of more than 8 bits with float values."""
    values = np.asarray(image, dtype=np.float32)
    if depth == 16:
        done.add("16 bits")
        key = image.info.get("transparency")
        if key is not None and (values == key).any():
            done.add("white")
            values = np.where(values == key, 65535, values)
        values = values / 257
    return Image.fromarray(values)


def _composite(image: Image.Image, done: set[str]) -> Image.Image:
    """Return the image on a white background, if a part of it is transparent."""
    if image.mode not in ("LA", "PA", "RGBA") and "transparency" not in image.info:
        return image
    image = image.convert("RGBA")
    if image.getchannel("A").getextrema()[0] == 255:
        return image
    done.add("white")
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)


@contextmanager
def _open(file: Path, where: str) -> Generator[Image.Image]:
    """Open an image. Any exception becomes a DataError: decoders raise exceptions of many types."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about damage that does not matter, or that raises an error too
            with Image.open(file, formats=FORMATS) as image:
                yield image
    except DataError:
        raise
    except Image.DecompressionBombError:
        expected = f"must have at most {2 * (Image.MAX_IMAGE_PIXELS or 0):,} pixels"
        raise DataError(where, expected, "more", "scale it first") from None
    except PermissionError as error:
        raise DataError(where, "must be readable", str(error.strerror)) from None
    except Exception as error:
        reason = describe_exception(error).replace(escape_controls(str(file)), file.name)
        raise DataError(where, "must be a readable image", reason, "repair or remove it") from None
