"""Images from folders: valid ones, and errors for each kind of entry that is not valid."""

import os

import numpy as np
import pytest
from PIL import Image

from weightshare.errors import DataError
from weightshare.study.data import folders, load_images


def test_subfolders_are_classes(class_folder):
    images = load_images(f"folder:{class_folder}")
    assert images.class_names == ("cat", "dog")
    assert [len(labels) for _, labels in (images.train, images.validation, images.test)] == [6, 2, 2]
    assert images.channels == 1
    Image.new("RGB", (6, 6), "red").save(class_folder / "dog" / "red.png")
    (class_folder / "dog" / ".hidden").write_text("left out")
    assert load_images(f"folder:{class_folder}").channels == 3


def empty(folder):
    for file in sorted(folder.rglob("*.png")):
        file.unlink()


def no_classes(folder):
    empty(folder)
    (folder / "cat").rmdir()
    (folder / "dog").rmdir()


def corrupt(folder):
    (folder / "cat" / "0.png").write_bytes(b"\x89PNG\r\n\x1a\nrest is missing")


def cut_off(folder):
    Image.effect_noise((6, 6), 50).save(folder / "cat" / "0.png")
    whole = (folder / "cat" / "0.png").read_bytes()
    (folder / "cat" / "0.png").write_bytes(whole[: len(whole) // 2])


def not_an_image(folder):
    (folder / "cat" / "notes.txt").write_text("mine")


def other_size(folder):
    Image.new("L", (7, 6)).save(folder / "dog" / "x.png")


def too_large(folder):
    Image.new("1", (513, 6)).save(folder / "dog" / "x.png")


def bomb(folder):
    Image.new("1", (20_000, 20_000)).save(folder / "dog" / "x.png")


def sixteen_bits(folder):
    Image.fromarray(np.zeros((6, 6), dtype=np.uint16)).save(folder / "dog" / "x.png")


def file_link(folder):
    (folder / "cat" / "link.png").symlink_to(folder / "dog" / "0.png")


def folder_link(folder):
    (folder / "mouse").symlink_to(folder / "dog")


def pipe(folder):
    os.mkfifo(folder / "cat" / "x.png")


def scarce(folder):
    for number in (0, 1):
        (folder / "cat" / f"{number}.png").unlink()


@pytest.mark.parametrize(
    ("damage", "text"),
    [
        (empty, "cat: must contain images, got an empty folder; add images or remove the folder."),
        (no_classes, "must have one subfolder of images per class, got an empty folder"),
        (corrupt, "cat/0.png: must be a readable image, got"),
        (cut_off, "cat/0.png: must be a readable image, got"),
        (not_an_image, "must contain only images (.bmp, .gif, .jpeg, .jpg, .pgm, .png"),
        (other_size, "all images must have the same size, got 6 x 6 (cat/0.png) and 6 x 7 (dog/x.png)"),
        (too_large, "dog/x.png: images must be at most 512 pixels wide and high, got 6 x 513"),
        (bomb, "dog/x.png: images must be at most 512 pixels wide and high, got far more."),
        (sixteen_bits, "dog/x.png: images must have 8 bits per channel, got mode 'I;16'"),
        (file_link, "must not contain links, which are not followed, got the link 'link.png'"),
        (folder_link, "must not contain links, which are not followed, got the link 'mouse'"),
        (pipe, "must contain only images"),
        (scarce, "every class must have at least 4 images to split, got 3 in class 'cat'"),
    ],
)
def test_bad_folders(class_folder, damage, text):
    damage(class_folder)
    with pytest.raises(DataError) as caught:
        load_images(f"folder:{class_folder}")
    assert text in str(caught.value)


def test_a_path_that_is_not_a_folder(tmp_path, class_folder):
    (tmp_path / "link").symlink_to(class_folder)
    for path, got in (
        (class_folder / "cat" / "0.png", "a file"),
        (tmp_path / "none", "a path that does not exist"),
        (tmp_path / "link", "a link, which is not followed"),
    ):
        with pytest.raises(DataError, match=f"must be a folder with one subfolder per class, got {got}"):
            load_images(f"folder:{path}")


def test_a_folder_with_too_many_images(class_folder, monkeypatch):
    monkeypatch.setattr(folders, "MAX_IMAGES", 9)
    with pytest.raises(DataError, match="must contain at most 9 images, got 10"):
        load_images(f"folder:{class_folder}")
