"""Images from folders: what people have in them, how it is converted, and errors for what is not valid."""

import os
import struct
import unicodedata
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from weightshare.errors import DataError
from weightshare.study import StudySpec
from weightshare.study.data import folders, load_examples
from weightshare.study.data.sources import load_raw

GENERATOR = np.random.default_rng(0)


def load(folder, **options):
    return load_examples(StudySpec(f"folder:{folder}", **options))


def noise(*shape, dtype=np.uint8):
    return GENERATOR.integers(0, np.iinfo(dtype).max, shape, dtype=dtype, endpoint=True)


def write(folder, images, suffix="png", **options):
    """Write one image per file into the folder of a class."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, image in enumerate(images):
        image = image if isinstance(image, Image.Image) else Image.fromarray(image)
        image.save(folder / f"{number}.{suffix}", **options)


def test_subfolders_are_classes(class_folder):
    images = load(class_folder)
    assert images.class_names == ("cat", "dog")
    assert [len(labels) for _, labels in (images.train, images.validation, images.test)] == [6, 2, 2]
    assert images.channels == 1
    assert images.notes == ()
    Image.new("RGB", (6, 6), "red").save(class_folder / "dog" / "red.png")
    images = load(class_folder)
    assert images.channels == 3
    assert images.notes == ("10 images were converted from grayscale to RGB.",)


def test_hidden_system_and_other_files_are_skipped_with_a_count(class_folder):
    digest = load(class_folder).digest
    for name in (".DS_Store", "Thumbs.db", "cat/desktop.ini", "cat/._0.png", "README.md", "dog/labels.csv"):
        (class_folder / name).write_text("mine")
    (class_folder / "__MACOSX" / "cat").mkdir(parents=True)
    (class_folder / "dog" / "LICENSE").write_text("mine")
    images = load(class_folder)
    assert images.digest == digest
    assert images.notes == (
        "5 hidden or system files were skipped.",
        "3 files were skipped that are not images (.csv, .md, no suffix).",
    )


def test_the_folder_of_a_study_is_not_a_class(class_folder, monkeypatch):
    digest = load(class_folder).digest
    (class_folder / "study-a").mkdir()
    (class_folder / "study-a" / "records.jsonl").write_text("")
    (class_folder / "cat" / "study-b").mkdir()
    (class_folder / "cat" / "study-b" / ".lock").write_text("")
    monkeypatch.chdir(class_folder)
    images = load(".")
    assert images.digest == digest
    assert images.notes == ()
    Image.new("L", (6, 6)).save(class_folder / "study-a" / "0.png")
    with pytest.raises(
        DataError, match=r"every class must have at least 4 examples .*, got 1 in class 'study-a'"
    ):
        load(".")


@pytest.mark.parametrize(
    ("train", "validation", "test", "counts", "notes"),
    [
        ("train", None, "test", (8, 2, 4), ["The test images are those in 'test'."]),
        ("Training", None, "TESTING", (8, 2, 4), ["The test images are those in 'TESTING'."]),
        ("train", "valid", None, (8, 2, 4), ["The test images are those in 'valid'."]),
        (
            "train",
            "val",
            "test",
            (11, 3, 4),
            ["The test images are those in 'test'.", "The images in 'val' were added to those in 'train'."],
        ),
    ],
)
def test_folders_that_are_split_already(tmp_path, train, validation, test, counts, notes):
    for split, count in ((train, 5), (validation, 2), (test, 2)):
        for shade, name in enumerate(("a", "b")):
            if split is not None:
                write(
                    tmp_path / split / name,
                    [np.full((6, 6), 100 * shade + k, np.uint8) for k in range(count)],
                )
    images = load(tmp_path)
    assert images.class_names == ("a", "b")
    assert tuple(len(labels) for _, labels in (images.train, images.validation, images.test)) == counts
    assert list(images.notes) == notes
    assert images.test[1].tolist() == [0, 0, 1, 1]


def test_a_class_can_be_named_train(tmp_path):
    for name in ("train", "bus"):
        write(tmp_path / name, noise(4, 6, 6))
    assert load(tmp_path).class_names == ("bus", "train")


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


def test_color_images_of_16_bits_are_reduced_with_a_note(tmp_path):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 6, 6, 16, 2, 0, 0, 0)
    rows = b"".join(b"\0" + noise(6, 3, dtype=np.uint16).tobytes() for _ in range(6))
    image = (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for number in range(4):
            (tmp_path / name / f"{number}.png").write_bytes(image)
    assert load_raw(f"folder:{tmp_path}").notes == ("8 images were reduced from 16 to 8 bits per channel.",)


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


def empty(folder):
    for file in sorted(folder.rglob("*.png")):
        file.unlink()


def no_classes(folder):
    empty(folder)
    (folder / "cat").rmdir()
    (folder / "dog").rmdir()


def only_notes(folder):
    no_classes(folder)
    (folder / "notes.txt").write_text("mine")


def corrupt(folder):
    (folder / "cat" / "0.png").write_bytes(b"\x89PNG\r\n\x1a\nrest is missing")


def cut_off(folder):
    Image.effect_noise((6, 6), 50).save(folder / "cat" / "0.png")
    whole = (folder / "cat" / "0.png").read_bytes()
    (folder / "cat" / "0.png").write_bytes(whole[: len(whole) // 2])


def no_bytes(folder):
    (folder / "cat" / "0.png").write_bytes(b"")


def another_format(folder):
    (folder / "cat" / "0.png").write_text("<svg/>")


def unreadable_type(folder):
    (folder / "cat" / "IMG_1.HEIC").write_bytes(b"")


def beside_the_classes(folder):
    Image.new("L", (6, 6)).save(folder / "x.png")
    Image.new("L", (6, 6)).save(folder / "y.png")


def nested(folder):
    write(folder / "cat" / "young", noise(2, 6, 6))


def flat_splits(folder):
    (folder / "cat").rename(folder / "train")
    (folder / "dog").rename(folder / "test")


def two_splits(folder):
    for name in ("train", "test", "testing"):
        write(folder / "x" / name / "a", noise(2, 6, 6))


def other_size(folder):
    Image.new("L", (7, 6)).save(folder / "dog" / "x.png")


def too_large(folder):
    Image.new("1", (513, 6)).save(folder / "dog" / "x.png")


def bomb(folder):
    Image.new("1", (20_000, 20_000)).save(folder / "dog" / "x.png")


def lab(folder):
    Image.new("LAB", (6, 6)).save(folder / "dog" / "x.tiff")


def file_link(folder):
    (folder / "cat" / "link.png").symlink_to(folder / "dog" / "0.png")


def folder_link(folder):
    (folder / "mouse").symlink_to(folder / "dog")


def loop(folder):
    (folder / "mouse").symlink_to(folder / "mouse")


def pipe(folder):
    os.mkfifo(folder / "cat" / "x.png")


def scarce(folder):
    for number in (0, 1):
        (folder / "cat" / f"{number}.png").unlink()


def one_class(folder):
    for file in (folder / "cat").iterdir():
        file.unlink()
    (folder / "cat").rmdir()


def control_characters(folder):
    (folder / "cat").rename(folder / "a\x1b[31m\nb\u202e")
    (folder / "a\x1b[31m\nb\u202e" / "0.png").write_bytes(b"")


def invalid_utf8(folder):
    bad = os.fsencode(folder) + b"/\xff\xfe"
    os.rename(folder / "cat", bad)
    os.truncate(bad + b"/0.png", 0)


@pytest.mark.parametrize(
    ("damage", "text"),
    [
        (empty, "cat: must contain images, got no images; add images or remove the folder."),
        (no_classes, "must have one subfolder of images per class, got an empty folder."),
        (only_notes, "must have one subfolder of images per class, got no subfolder (1 files)."),
        (corrupt, "cat/0.png: must be a readable image, got"),
        (cut_off, "cat/0.png: must be a readable image, got"),
        (
            no_bytes,
            "cat/0.png: must be a readable image, got UnidentifiedImageError: cannot identify image file",
        ),
        (another_format, "cat/0.png: must be a readable image, got"),
        (unreadable_type, "cat/IMG_1.HEIC: images must be .bmp, .gif, "),
        (
            beside_the_classes,
            "per class and no images itself, got 2 images, such as 'x.png'; move each image",
        ),
        (
            nested,
            "cat: the folder of a class must contain only images, got the folder 'young'; name a folder",
        ),
        (
            flat_splits,
            "train: must have one subfolder of images per class and no images itself, got 5 images",
        ),
        (
            two_splits,
            "x: the folder of a class must contain only images, got the folder 'test'; name a folder",
        ),
        (
            other_size,
            "all images must have the same size, got 6 x 6 (cat/0.png) and 6 x 7 (dog/x.png); "
            'give the size to which to scale them, such as resize="64x64".',
        ),
        (
            too_large,
            "dog/x.png: must be at most 512 pixels wide and high, got 6 x 513; scale the images with",
        ),
        (bomb, "dog/x.png: must be at most 512 pixels wide and high, got far more; scale"),
        (lab, "dog/x.tiff: must be a grayscale or RGB image, got mode 'LAB'; convert it"),
        (file_link, "cat/link.png: must be a folder or a file, got a link, which is not followed; copy the"),
        (
            folder_link,
            "mouse: must be a folder or a file, got a link, which is not followed; copy the images",
        ),
        (loop, "mouse: must be a folder or a file, got a link, which is not followed"),
        (pipe, "cat/x.png: must be a folder or a file, got a special file; remove it."),
        (scarce, "every class must have at least 4 examples to split, got 3 in class 'cat'; add examples or"),
        (one_class, "there must be at least 2 classes, got 1."),
        (control_characters, r"a\x1b[31m\nb\u202e/0.png: must be a readable image"),
        (invalid_utf8, r"\udcff\udcfe/0.png: must be a readable image"),
    ],
)
def test_bad_folders(class_folder, damage, text):
    damage(class_folder)
    with pytest.raises(DataError) as caught:
        load(class_folder)
    message = str(caught.value)
    assert text in message
    assert not {unicodedata.category(c) for c in message} & {"Cc", "Cf", "Cs"}


def test_folders_of_a_split_that_do_not_fit(tmp_path):
    for split, names in (("train", "ab"), ("test", "abc")):
        for name in names:
            write(tmp_path / split / name, noise(2, 6, 6))
    with pytest.raises(
        DataError, match="test/c: every class must have training images, got a class without; re"
    ):
        load(tmp_path)
    (tmp_path / "testing").mkdir()
    with pytest.raises(
        DataError, match="must have at most one folder for test, got test and testing; merge them"
    ):
        load(tmp_path)


def test_a_path_that_is_not_a_folder(tmp_path, class_folder):
    (tmp_path / "link").symlink_to(class_folder)
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for path, got in (
        (class_folder / "cat" / "0.png", "a file"),
        (class_folder / "cat" / "0.png" / "below", "a path that does not exist"),
        (tmp_path / "none", "a path that does not exist"),
        (tmp_path / "link", "a link, which is not followed"),
        (tmp_path / "loop" / "x", r"a path that cannot be read \(Too many levels of symbolic links\)"),
        ("x" * 300, r"a path that cannot be read \(File name too long\)"),
        ("a\0b", "a path with a null character"),
    ):
        text = f"must be a folder: it must have one subfolder of images per class, got {got}"
        with pytest.raises(DataError, match=text):
            load(path)


def test_a_folder_with_too_many_images(class_folder, monkeypatch):
    monkeypatch.setattr(folders, "MAX_IMAGES", 9)
    with pytest.raises(DataError, match="must contain at most 9 images, got 10"):
        load(class_folder)
    monkeypatch.setattr(folders, "MAX_IMAGES", 10)
    monkeypatch.setattr(folders, "MAX_VALUES", 359)
    with pytest.raises(
        DataError, match="must contain at most 359 pixel values, got 360; use fewer or smaller"
    ):
        load(class_folder)
    monkeypatch.setattr(folders, "MAX_CLASSES", 1)
    with pytest.raises(DataError, match="must have at most 1 classes, got 2"):
        load(class_folder)
