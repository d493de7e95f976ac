import os
import zipfile
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.helpers.study import tiny_arrays
from weightshare.errors import DataError, SpecError
from weightshare.study.data import draw, load_images, npz, shifted
from weightshare.study.data import images as data_room


def test_digits_are_split_by_class_and_normalised():
    images = load_images("digits")
    parts = (images.train, images.validation, images.test)
    assert [len(labels) for _, labels in parts] == [1078, 270, 449]
    assert all(set(labels.tolist()) == set(range(10)) for _, labels in parts)
    assert images.train[0].shape[1:] == (1, 8, 8)
    assert images.train[0].mean().abs() < 1e-5
    assert (images.train[0].std() - 1).abs() < 1e-3
    assert images.digest == load_images("digits").digest
    assert images.shifts == (1, 2)


def test_faces():
    images = load_images("faces")
    assert images.class_names == ("face", "other")
    assert images.size == (25, 25)
    assert images.shifts == (1, 2, 3, 4)
    assert len(images.test[1]) == 50
    assert images.test[1].float().mean() == 0.5


def test_raw_zero_is_the_background():
    images = load_images("digits")
    corner = images.train[0][:, 0, 0, 0]  # the corner of a digit is empty
    assert torch.allclose(corner.median(), images.background[0])


def test_train_images_are_a_part_in_proportion(tiny):
    assert load_images("digits", 100).train[1].bincount().tolist() == [8] * 10
    with pytest.raises(DataError, match=r"train_images must be between 4 \(two a class\) and 16 .* got 17"):
        load_images(tiny, 17)


def test_draw_leaves_every_class_on_both_sides():
    labels = np.repeat([0, 1, 2], [50, 3, 2])
    chosen, rest = draw(labels, 5, seed=0)
    assert sorted([*chosen, *rest]) == list(range(55))
    assert set(labels[chosen]) == set(labels[rest]) == {0, 1, 2}


def test_shift_moves_and_fills():
    images = torch.arange(16.0).reshape(1, 1, 4, 4)
    moved = shifted(images, -1, 2, torch.tensor([-5.0]))
    assert torch.equal(moved[0, 0, :3, 2:], images[0, 0, 1:, :2])
    assert (moved[0, 0, 3] == -5).all()
    assert (moved[0, 0, :, :2] == -5).all()


def test_at_most_so_many_are_shifted(monkeypatch):
    images = load_images("digits")
    assert images.to_shift is images.test
    monkeypatch.setattr(data_room, "MOST_SHIFTED", 100)
    moved, labels = load_images("digits").to_shift
    assert len(moved) == len(labels) == 100
    assert labels.bincount().tolist() == [10] * 10


@pytest.mark.parametrize("layout", ["NHW", "NHWC", "NCHW", "float", "labels as a column"])
def test_npz_layouts_are_the_same_images(tmp_path, layout):
    arrays = tiny_arrays()
    plain = dict(arrays)
    for key in ("x_train", "x_test"):
        x = arrays[key]
        arrays[key] = {
            "NHWC": x[..., None], "NCHW": x[:, None], "float": x.astype(np.float64) / 255
        }.get(layout, x)  # fmt: skip
    if layout == "labels as a column":
        arrays["y_train"] = arrays["y_train"][:, None]
    np.savez(tmp_path / "a.npz", **arrays)
    np.savez_compressed(tmp_path / "b.npz", **plain)
    ours, theirs = (load_images(f"npz:{tmp_path / name}") for name in ("a.npz", "b.npz"))
    assert torch.allclose(ours.train[0], theirs.train[0], atol=1e-5)
    assert torch.equal(ours.test[1], theirs.test[1])


def test_labels_need_not_be_consecutive(tmp_path):
    arrays = tiny_arrays()
    np.savez(
        tmp_path / "a.npz", **{**arrays, "y_train": arrays["y_train"] * 7, "y_test": arrays["y_test"] * 7}
    )
    images = load_images(f"npz:{tmp_path / 'a.npz'}")
    assert images.class_names == ("0", "7")
    assert set(images.test[1].tolist()) == {0, 1}


class Harmful:
    def __reduce__(self):
        return os.system, ("touch harmed",)


WITH_NAN = np.full((16, 6, 6), np.nan)

BAD_ARRAYS = [
    ({"x_test": None}, "must hold x_train, y_train, x_test, y_test, got"),
    ({"x_train": np.array([Harmful()] * 16, dtype=object)}, "pickled objects, which are never loaded"),
    ({"x_train": WITH_NAN}, "pixels must be finite numbers, got NaN or infinity in 16 images"),
    ({"x_test": np.full((8, 6, 6), np.inf, dtype=np.float32)}, "NaN or infinity in 8 images"),
    (
        {"x_train": np.linspace(0, 1e300, 576).reshape(16, 6, 6), "x_test": np.full((8, 6, 6), 1e300)},
        "pixels must be of moderate size",
    ),
    (
        {"x_train": np.linspace(0, 1, 576).reshape(16, 6, 6)},
        "must have the same kind of numbers on the same scale, got float64 from 0 to 1 in x_train and uint8 "
        "from 0 to 250 in x_test; scale both alike.",
    ),
    (
        {"x_train": np.full((16, 6, 6), 255.0), "x_test": np.full((8, 6, 6), 1.0, dtype=np.float32)},
        "got float64 from 255 to 255 in x_train and float32 from 1 to 1 in x_test; scale both alike.",
    ),
    (
        {"x_train": np.zeros((16, 6, 6), dtype=np.uint8)},
        "images must differ, got the same value in every pixel",
    ),
    ({"x_train": np.zeros((16, 6, 6), dtype=np.int64)}, "images must be uint8 or float, got int64"),
    ({"x_train": np.zeros((16, 36), dtype=np.uint8)}, "images must have shape [N, H, W]"),
    ({"x_train": np.zeros((16, 6, 6, 2), dtype=np.uint8)}, "must have 1, 3 or 4 entries (the channels)"),
    ({"x_train": np.zeros((16, 3, 6, 3), dtype=np.uint8)}, "must have 1, 3 or 4 entries (the channels)"),
    ({"x_train": np.zeros((16, 7, 6), dtype=np.uint8)}, "training and test images must have the same size"),
    ({"x_train": np.zeros((0, 6, 6), dtype=np.uint8)}, "must not be empty, got shape (0, 6, 6)"),
    ({"y_train": np.zeros(15, dtype=int)}, "there must be one label an image, got 16 images and 15 labels"),
    ({"y_train": np.zeros(16)}, "labels must be integers, got float64"),
    ({"y_train": np.array(["a", "b"] * 8)}, "labels must be integers, got <U1"),
    ({"y_train": np.arange(16) % 2 - 1}, "labels must be 0 or more, got -1"),
    ({"y_train": np.zeros(16, dtype=int), "y_test": np.zeros(8, dtype=int)}, "at least 2 classes, got 1"),
    ({"y_train": np.arange(16) // 15}, "must have at least 2 images to split, got 1 of class '1'"),
    ({"y_test": np.full(8, 9)}, "every test label must occur in y_train, got label 9, which does not"),
    ({"y_train": np.zeros((16, 2), dtype=int)}, "labels must have shape [N], got (16, 2)"),
]


@pytest.mark.parametrize(("change", "text"), BAD_ARRAYS, ids=[text[:40] for _, text in BAD_ARRAYS])
def test_bad_npz_arrays(tmp_path, monkeypatch, change, text):
    monkeypatch.chdir(tmp_path)
    arrays = {key: value for key, value in {**tiny_arrays(), **change}.items() if value is not None}
    np.savez("bad.npz", **arrays)
    with pytest.raises(DataError) as caught:
        load_images("npz:bad.npz")
    assert "npz:bad.npz" in str(caught.value)
    assert text in str(caught.value)
    assert not os.path.exists("harmed")


def test_images_too_small(tmp_path):
    np.savez(tmp_path / "a.npz", **tiny_arrays(size=3))
    with pytest.raises(DataError, match="images must be at least 4 x 4 pixels, got 3 x 3; use larger images"):
        load_images(f"npz:{tmp_path / 'a.npz'}")


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04 cut off"])
def test_file_that_is_no_archive(tmp_path, content):
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(DataError, match=r"must be a readable \.npz file, got BadZipFile"):
        load_images(f"npz:{tmp_path / 'a.npz'}")


def as_npy(array: np.ndarray) -> bytes:
    """An array as the bytes of a .npy file."""
    stream = BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def cut_in_half(path: Path) -> None:
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])


def other_bytes(path: Path) -> None:
    whole = path.read_bytes()
    path.write_bytes(whole[:300] + b"\xff" * 64 + whole[364:])


def open_bracket(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for key, array in tiny_arrays().items():
            whole = as_npy(array)
            archive.writestr(f"{key}.npy", whole.replace(b"{'descr'", b"({'descr'", 1).replace(b"}", b" ", 1))


def damaged_lzma(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as archive:
        for key, array in tiny_arrays().items():
            archive.writestr(f"{key}.npy", as_npy(array))
        start = archive.getinfo("x_train.npy").header_offset + 30 + len("x_train.npy")
    whole = path.read_bytes()
    path.write_bytes(whole[: start + 9] + b"\xff" * 200 + whole[start + 209 :])


@pytest.mark.parametrize(
    ("damage", "text"),
    [
        (
            cut_in_half,
            ": must be a readable .npz file, got BadZipFile: File is not a zip file; write it with",
        ),
        (other_bytes, "BadZipFile: Bad CRC-32 for file 'x_train.npy'; write it with numpy.savez(file,"),
        (open_bracket, ", x_train: must be a readable .npz file, got TokenError: "),
        (damaged_lzma, ", x_train: must be a readable .npz file, got LZMAError: "),
    ],
)
def test_damaged_archives(tiny, damage, text):
    damage(Path(tiny.partition(":")[2]))
    with pytest.raises(DataError) as caught:
        load_images(tiny)
    assert text in str(caught.value)


def test_all_arrays_together_are_limited(tiny, monkeypatch):
    monkeypatch.setattr(npz, "MAX_BYTES", 1000)
    with pytest.raises(
        DataError, match=r"its arrays must have at most 1,000 bytes together, got 1,\d\d\d; use"
    ):
        load_images(tiny)


def test_normalising_takes_parts_and_gives_the_same(tiny, monkeypatch):
    whole = load_images(tiny)
    monkeypatch.setattr(data_room, "PART", 3)
    parts = load_images(tiny)
    assert torch.allclose(whole.train[0], parts.train[0], atol=1e-6)
    assert parts.train[0].std(correction=0).item() == pytest.approx(1, abs=1e-5)


def header_only(shape: tuple[int, ...]) -> bytes:
    """A .npy file that announces an array and holds none."""
    stream = BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": "|u1", "fortran_order": False, "shape": shape})
    return stream.getvalue()


@pytest.mark.parametrize(
    ("shape", "text"),
    [
        ((10**6, 1000, 1000), "must have at most 536,870,912 values"),
        ((100, 9, 9), "must be as long as its header"),
    ],
)
def test_headers_are_checked_before_anything_is_unpacked(tmp_path, monkeypatch, shape, text):
    monkeypatch.setattr(np.lib.format, "read_array", lambda *_, **__: pytest.fail("unpacked"))
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        for key in ("x_train", "y_train", "x_test", "y_test"):
            archive.writestr(f"{key}.npy", header_only(shape))
    with pytest.raises(DataError) as caught:
        load_images(f"npz:{tmp_path / 'a.npz'}")
    assert text in str(caught.value)


def test_npz_path_that_is_no_file(tmp_path, tiny):
    link = tmp_path / "link.npz"
    link.symlink_to(tiny.partition(":")[2])
    for path, got in (
        (link, "a link, which is not followed"),
        (tmp_path, "a folder"),
        (tmp_path / "x", "nothing"),
    ):
        with pytest.raises(DataError, match=f"must be a file, got {got}"):
            load_images(f"npz:{path}")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("digts", "must be one of digits, faces, npz:FILE, folder:DIR, got 'digts'; did you mean 'digits'?"),
        ("Faces", "did you mean 'faces'"),
        ("npz", "did you mean 'npz:FILE'"),
        ("mine.npz", "did you mean 'npz:mine.npz'"),
        ("imagenet21k", "got 'imagenet21k'."),
    ],
)
def test_unknown_data(name, text):
    with pytest.raises(SpecError) as caught:
        load_images(name)
    assert text in str(caught.value)


def test_folder(class_folder):
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


def no_image(folder):
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
        (empty, "cat: must hold images, got an empty folder; add images or remove the folder."),
        (no_classes, "must have one sub-folder of images a class, got an empty folder"),
        (corrupt, "cat/0.png: must be a readable image, got"),
        (cut_off, "cat/0.png: must be a readable image, got"),
        (no_image, "must hold only images (.bmp, .gif, .jpeg, .jpg, .pgm, .png"),
        (other_size, "must all have the same size, got 6 x 6 (cat/0.png) and 6 x 7 (dog/x.png)"),
        (too_large, "dog/x.png: images must be at most 512 pixels wide and high, got 6 x 513"),
        (bomb, "dog/x.png: images must be at most 512 pixels wide and high, got far more; scale them down."),
        (sixteen_bits, "dog/x.png: images must have 8 bits a channel, got mode 'I;16'"),
        (file_link, "must hold no links, they are not followed, got the link 'link.png'"),
        (folder_link, "must hold no links, they are not followed, got the link 'mouse'"),
        (pipe, "must hold only images"),
        (scarce, "every class must have at least 4 images to split, got 3 of class 'cat'"),
    ],
)
def test_bad_folders(class_folder, damage, text):
    damage(class_folder)
    with pytest.raises(DataError) as caught:
        load_images(f"folder:{class_folder}")
    assert text in str(caught.value)


def test_folder_that_is_none(tmp_path, class_folder):
    (tmp_path / "link").symlink_to(class_folder)
    for path, got in (
        (tmp_path / "none", "no folder there"),
        (tmp_path / "link", "a link, which is not followed"),
    ):
        with pytest.raises(DataError, match=f"must be a folder, got {got}"):
            load_images(f"folder:{path}")


def test_folder_with_too_many_images(class_folder, monkeypatch):
    from weightshare.study.data import folders

    monkeypatch.setattr(folders, "MAX_IMAGES", 9)
    with pytest.raises(DataError, match="must hold at most 9 images, got 10"):
        data_room.load_images(f"folder:{class_folder}")
