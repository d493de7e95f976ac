"""Images from folders: the layouts that people have, and errors for what is not valid."""

import os
import unicodedata
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from weightshare.errors import DataError
from weightshare.study import StudySpec
from weightshare.study.data import DataFacts, folders, load_examples

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
    (class_folder / "__pycache__").mkdir()
    (class_folder / "dog" / "LICENSE").write_text("mine")
    images = load(class_folder)
    assert images.digest == digest
    assert images.notes == (
        "6 hidden or system files were skipped.",
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


def test_names_of_classes_are_shown_escaped(class_folder):
    control_characters(class_folder)
    write(class_folder / "a\x1b[31m\nb\u202e", noise(1, 6, 6))
    os.rename(class_folder / "dog", os.fsencode(class_folder) + b"/\xff")
    facts = DataFacts.from_examples(load(class_folder))
    assert facts.class_names == (r"a\x1b[31m\nb\u202e", r"\udcff")


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
        (only_notes, "must have one subfolder of images per class, got no subfolder (1 file)."),
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
        (bomb, "dog/x.png: must have at most 178,956,970 pixels, got more; scale it first."),
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
        DataError, match="test/c: every class must have training images, got none for this class; add"
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
        text = f"must be a folder with one subfolder of images per class, got {got}"
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


def test_what_may_not_be_read(class_folder, monkeypatch, tiny):
    """The tests may run with all permissions, so that the system refuses nothing."""

    def refuse(path, *_, **__):
        raise PermissionError(13, "Permission denied", str(path))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "lstat", refuse)
        for data in ("folder:x", "npz:x"):
            with pytest.raises(DataError, match=r"got a path that cannot be read \(Permission denied\)\."):
                load_examples(StudySpec(data))
    with monkeypatch.context() as patch:
        patch.setattr(os, "listdir", refuse)
        with pytest.raises(DataError, match=r"images: must be readable, got Permission denied\."):
            load(class_folder)
    with monkeypatch.context() as patch:
        patch.setattr(Image, "open", refuse)
        with pytest.raises(DataError, match=r"cat/0\.png: must be readable, got Permission denied\."):
            load(class_folder)
    monkeypatch.setattr(zipfile, "ZipFile", refuse)
    with pytest.raises(DataError, match=r"tiny\.npz: must be readable, got Permission denied\."):
        load_examples(StudySpec(tiny))
