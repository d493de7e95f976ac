"""Images of every kind that people have: how they are converted, and that each conversion is stated."""

import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from tests.study.test_folders import GENERATOR, load, noise, write
from weightshare.errors import DataError
from weightshare.study.data.sources import load_raw


def test_photographs_are_rotated_by_their_exif_orientation(tmp_path):
    pixels = noise(6, 8)
    shown = {1: pixels, 3: pixels[::-1, ::-1], 6: np.rot90(pixels, -1), 8: np.rot90(pixels)}
    for orientation, expected in shown.items():
        tag = Image.Exif()
        tag[0x0112] = orientation
        folder = tmp_path / str(orientation)
        for name in ("a", "b"):
            write(folder / name, [pixels] * 4, exif=tag)
        raw = load_raw(f"folder:{folder}")
        assert np.array_equal(raw.x[0, 0], expected)
        rotated = ("8 images were rotated or mirrored according to the EXIF orientation.",)
        assert raw.notes == (rotated if orientation > 1 else ())


def test_transparent_images_are_composited_onto_white(class_folder):
    pixels = noise(6, 6, 4)
    pixels[..., 3] = 255
    pixels[:2, :, 3], pixels[2, 0, 3] = 0, 51
    Image.fromarray(pixels).save(class_folder / "cat" / "rgba.png")
    palette = Image.new("P", (6, 6), 1)
    palette.putpalette([0, 0, 0, 9, 8, 7])
    palette.putpixel((0, 0), 0)
    palette.save(class_folder / "cat" / "zpalette.png", transparency=0)
    raw = load_raw(f"folder:{class_folder}")
    rgba, colored = raw.x[5], raw.x[6]
    assert (rgba[:, :2] == 255).all()
    assert np.array_equal(rgba[:, 3:], pixels[3:, :, :3].transpose(2, 0, 1))
    assert np.allclose(rgba[:, 2, 0], 0.2 * pixels[2, 0, :3] + 0.8 * 255, atol=1)
    assert colored[:, 0, 0].tolist() == [255] * 3
    assert colored[:, 1, 1].tolist() == [9, 8, 7]
    assert "2 images were partly transparent and were composited onto white." in raw.notes


def test_gray_images_with_transparency_stay_gray(tmp_path):
    image = Image.new("LA", (6, 6), (7, 255))
    image.putpixel((0, 0), (0, 0))
    for name in ("a", "b"):
        write(tmp_path / name, [image] * 4)
    raw = load_raw(f"folder:{tmp_path}")
    assert raw.x.shape == (8, 1, 6, 6)
    assert raw.x[0, 0, 0, :2].tolist() == [255, 7]


def test_glyphs_in_the_alpha_channel_are_an_error_that_names_transparency(tmp_path):
    for name in ("a", "b"):
        glyphs = np.full((4, 6, 6, 4), 255, np.uint8)
        glyphs[:, :3, :, 3] = 0
        write(tmp_path / name, list(glyphs))
    with pytest.raises(DataError, match=r"must not be constant, got .* \(8 images were partly transparent"):
        load(tmp_path)


@pytest.mark.parametrize("suffix", ["png", "tif", "pgm"])
def test_images_of_16_bits_keep_their_values(tmp_path, suffix):
    pixels = noise(6, 6, dtype=np.uint16)
    for name in ("a", "b"):
        write(tmp_path / name, [pixels] * 4, suffix)
    raw = load_raw(f"folder:{tmp_path}")
    assert raw.x.dtype == np.float32
    assert np.allclose(raw.x[0, 0] * 257, pixels)
    assert raw.notes == ("8 images were scaled from 16 bits to the range 0 to 255, without rounding.",)
    assert (load(tmp_path).train[0].std() - 1).abs() < 0.01


def test_images_of_8_and_16_bits_are_on_one_scale(class_folder):
    Image.fromarray(np.full((6, 6), 200 * 257, np.uint16)).save(class_folder / "dog" / "deep.png")
    raw = load_raw(f"folder:{class_folder}")
    assert (raw.x[-1] == 200).all()
    assert raw.x[0, 0, 0, 0] == 40


def test_images_of_floats_keep_their_values_and_are_not_mixed(tmp_path):
    pixels = GENERATOR.random((6, 6)).astype(np.float32) * 1e4
    for name in ("a", "b"):
        write(tmp_path / name, [pixels] * 4, "tiff")
    assert np.array_equal(load_raw(f"folder:{tmp_path}").x[0, 0], pixels)
    Image.new("L", (6, 6)).save(tmp_path / "b" / "other.png")
    with pytest.raises(
        DataError, match=r"32 bits per value must not be mixed with others, got .* 8 and 32 bits"
    ):
        load(tmp_path)


def test_cmyk_palettes_and_animations(class_folder):
    image = Image.new("CMYK", (6, 6), (0, 255, 255, 0))
    image.save(class_folder / "cat" / "cmyk.jpg", quality=100)
    frames = [Image.new("L", (6, 6), shade) for shade in (10, 20)]
    frames[0].save(class_folder / "dog" / "moving.gif", save_all=True, append_images=frames[1:])
    raw = load_raw(f"folder:{class_folder}")
    red = raw.x[5, :, 0, 0].astype(int)
    assert red[0] > 240
    assert max(red[1:]) < 15
    assert (raw.x[-1] == 10).all()
    assert raw.notes[:2] == (
        "1 image was reduced to the first frame.",
        "1 image was converted from CMYK to RGB without a color profile.",
    )


def write_deep_pngs(folder, color_type, values, *chunks):
    """Write images of 16 bits and 6 x 6 pixels, which Pillow cannot write."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 6, 6, 16, color_type, 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    parts = ((b"IHDR", header), *chunks, (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    for name in ("a", "b"):
        (folder / name).mkdir()
        for number in range(4):
            content = b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)
            (folder / name / f"{number}.png").write_bytes(content)


def test_color_images_of_16_bits_are_reduced_with_a_note(tmp_path):
    write_deep_pngs(tmp_path, 2, noise(6, 6, 3, dtype=np.uint16))
    assert load_raw(f"folder:{tmp_path}").notes == ("8 images were reduced from 16 to 8 bits per channel.",)


def test_a_transparent_value_of_16_bits_is_white(tmp_path):
    values = np.full((6, 6), 1000)
    values[0, 0] = 300
    write_deep_pngs(tmp_path, 0, values, (b"tRNS", struct.pack(">H", 300)))
    raw = load_raw(f"folder:{tmp_path}")
    assert raw.x[0, 0, 0, 0] == 255
    assert raw.x[0, 0, 1, 1] == np.float32(1000) / np.float32(257)
    assert "8 images were partly transparent and were composited onto white." in raw.notes


def test_resize_scales_images_of_any_size(class_folder):
    Image.new("L", (700, 700), 90).save(class_folder / "cat" / "large.png")
    Image.new("L", (12, 6), 90).save(class_folder / "dog" / "wide.png")
    images = load(class_folder, resize="8x10")
    assert images.size == (8, 10)
    assert images.notes == (
        "12 images were scaled to the given size.",
        "12 images were changed in aspect ratio.",
    )
    raw = load_raw(f"folder:{class_folder}", resize=(6, 6))
    assert (raw.x[5] == 90).all()
    assert "1 image was changed in aspect ratio." in raw.notes


def test_resize_keeps_the_values_of_16_bits(tmp_path):
    for name in ("a", "b"):
        write(tmp_path / name, [np.full((6, 6), 300, np.uint16)] * 4)
    raw = load_raw(f"folder:{tmp_path}", resize=(4, 4))
    assert torch.allclose(torch.from_numpy(raw.x), torch.tensor(300 / 257))
