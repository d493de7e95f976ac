"""Arrays from .npz files: valid layouts, and errors for arrays and files that are not valid."""

import os
import zipfile
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.helpers.study import tiny_arrays
from weightshare.errors import DataError
from weightshare.study import StudySpec
from weightshare.study.data import load_examples, npz


@pytest.mark.parametrize("layout", ["NHW", "NHWC", "NCHW", "float", "labels as a column"])
def test_all_layouts_are_read_as_the_same_images(tmp_path, layout):
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
    first, second = (load_examples(StudySpec(f"npz:{tmp_path / name}")) for name in ("a.npz", "b.npz"))
    assert torch.allclose(first.train[0], second.train[0], atol=1e-5)
    assert torch.equal(first.test[1], second.test[1])


def test_classes_need_not_be_consecutive(tmp_path):
    arrays = tiny_arrays()
    np.savez(
        tmp_path / "a.npz", **{**arrays, "y_train": arrays["y_train"] * 7, "y_test": arrays["y_test"] * 7}
    )
    images = load_examples(StudySpec(f"npz:{tmp_path / 'a.npz'}"))
    assert images.class_names == ("0", "7")
    assert set(images.test[1].tolist()) == {0, 1}


def test_axes_tell_series_from_images(tmp_path):
    x = np.random.default_rng(0).random((30, 3, 8))
    y = np.arange(30) % 2
    np.savez(tmp_path / "images.npz", x=x, y=y)
    np.savez(tmp_path / "series.npz", x=x, y=y, axes="NCL")
    np.savez(tmp_path / "last.npz", x=x.transpose(0, 2, 1), y=y, axes="NLC")
    images, series, last = (f"npz:{tmp_path}/{name}.npz" for name in ("images", "series", "last"))
    with pytest.raises(DataError, match="got 3 x 8 with 1 channel; inputs have the shape"):
        load_examples(StudySpec(images))
    assert load_examples(StudySpec(series)).size == (8,)
    assert load_examples(StudySpec(series)).channels == 3
    assert load_examples(StudySpec(series)).digest == load_examples(StudySpec(last)).digest


@pytest.mark.parametrize(
    ("shape", "axes", "size", "channels"),
    [
        ((30, 5, 6, 7), "NDHW", (5, 6, 7), 1),
        ((30, 1, 5, 6, 7), None, (5, 6, 7), 1),
        ((30, 5, 6, 7, 3), None, (5, 6, 7), 3),
        ((30, 5, 6, 7), "NCHW", (6, 7), 5),
        ((30, 5, 6, 7), "NHWC", (5, 6), 7),
        ((30, 9), "NL", (9,), 1),
    ],
)
def test_axes_of_other_inputs(tmp_path, shape, axes, size, channels):
    arrays = {"x": np.random.default_rng(0).random(shape), "y": np.arange(30) % 2}
    np.savez(tmp_path / "a.npz", **arrays, **({} if axes is None else {"axes": axes}))
    examples = load_examples(StudySpec(f"npz:{tmp_path / 'a.npz'}"))
    assert (examples.size, examples.channels) == (size, channels)
    assert [len(y) for _, y in (examples.train, examples.validation, examples.test)] == [18, 4, 8]


class Harmful:
    def __reduce__(self):
        return os.system, ("touch harmed",)


WITH_NAN = np.full((16, 6, 6), np.nan)

BAD_ARRAYS = [
    (
        {"x_test": None},
        "must contain x_train, y_train, x_test, y_test, or x and y, got x_train.npy, y_test.npy, y_train",
    ),
    ({"x_train": np.array([Harmful()] * 16, dtype=object)}, "pickled objects, which are never loaded"),
    (
        {"x_train": WITH_NAN},
        "training inputs: must be finite numbers, got NaN or infinity in 16 examples, first",
    ),
    (
        {"x_test": np.full((8, 6, 6), np.inf, dtype=np.float32)},
        "test inputs: must be finite numbers, got NaN",
    ),
    (
        {"x_train": np.linspace(0, 1e300, 576).reshape(16, 6, 6), "x_test": np.full((8, 6, 6), 1e300)},
        "must be small enough to normalize, got values that overflow; rescale them.",
    ),
    (
        {"x_train": np.linspace(0, 1, 576).reshape(16, 6, 6)},
        "must be of the same kind (integer or float) and on the same scale, got float64 from 0 to 1 for "
        "training and uint8 from 0 to 250 for the test; scale both in the same way.",
    ),
    (
        {"x_train": np.full((16, 6, 6), 255.0), "x_test": np.full((8, 6, 6), 1.0, dtype=np.float32)},
        "got float64 from 255 to 255 for training and float32 from 1 to 1 for the test; scale both in",
    ),
    (
        {"x_train": np.zeros((16, 6, 6), dtype=np.uint8)},
        "training inputs: must not be constant, got the same value everywhere.",
    ),
    ({"x_train": np.zeros((16, 6, 6), dtype=complex)}, "x_train: must be numbers, got complex128"),
    (
        {"x_train": np.zeros((16, 36), dtype=np.uint8)},
        "must have the shape [N, H, W], [N, H, W, C] or [N, C, H, W]",
    ),
    ({"x_train": np.zeros((16, 6, 6, 2), dtype=np.uint8)}, "must have 1, 3 or 4 entries (the channels)"),
    ({"x_train": np.zeros((16, 3, 6, 3), dtype=np.uint8)}, "must have 1, 3 or 4 entries (the channels)"),
    (
        {"x_train": np.zeros((16, 7, 6), dtype=np.uint8)},
        "training and test inputs must have the same shape, got 7 x 6 with 1 channel and 6 x 6 with 1",
    ),
    ({"x_train": np.zeros((0, 6, 6), dtype=np.uint8)}, "must not be empty, got shape (0, 6, 6)"),
    (
        {"y_train": np.zeros(15, dtype=int)},
        "training targets: there must be one target per input, got 16 inputs and 15 targets",
    ),
    (
        {"y_train": np.array(["a", "b"] * 8)},
        "training and test targets must both be numbers, or both names of classes, got numbers and names",
    ),
    ({"y_train": np.arange(16) % 2 - 1}, "training targets: classes must be at least 0, got -1"),
    (
        {"y_train": None},
        "every input must have a target, got inputs without targets; add targets, or use the task",
    ),
    ({"axes": np.array("NLCD")}, "x_train: must have 4 axes (NLCD), got shape (16, 6, 6)"),
    (
        {"axes": np.array("NHX")},
        "axes must be N, C and one to three of D, H, W and L, such as NCL or NHWC, got 'NHX'",
    ),
    (
        {"axes": np.array("NCC")},
        "axes must be N, C and one to three of D, H, W and L, such as NCL or NHWC, got 'NCC'",
    ),
    (
        {"axes": np.array("NC")},
        "axes must be N, C and one to three of D, H, W and L, such as NCL or NHWC, got 'NC'",
    ),
    ({"axes": np.arange(3)}, """axes: must be a text, such as "NCL", got shape (3,) of int64"""),
    ({"y_train": np.zeros(16, dtype=int), "y_test": np.zeros(8, dtype=int)}, "at least 2 classes, got 1"),
    ({"y_train": np.arange(16) // 15}, "must have at least 2 examples to split, got 1 in class '1'"),
    (
        {"y_test": np.full(8, 9)},
        "test targets: every class must occur in the training targets, got class 9, which does not",
    ),
    ({"y_train": np.zeros((16, 2), dtype=int)}, "must have the shape [N] for classification, got (16, 2)"),
]


@pytest.mark.parametrize(("change", "text"), BAD_ARRAYS, ids=[text[:40] for _, text in BAD_ARRAYS])
def test_arrays_that_are_not_images_and_labels(tmp_path, monkeypatch, change, text):
    monkeypatch.chdir(tmp_path)
    arrays = {key: value for key, value in {**tiny_arrays(), **change}.items() if value is not None}
    np.savez("bad.npz", **arrays)
    with pytest.raises(DataError) as caught:
        load_examples(StudySpec("npz:bad.npz"))
    assert "npz:bad.npz" in str(caught.value)
    assert text in str(caught.value)
    assert not os.path.exists("harmed")


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04 cut off"])
def test_a_file_that_is_not_an_archive(tmp_path, content):
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(DataError, match=r"must be a readable \.npz file, got BadZipFile"):
        load_examples(StudySpec(f"npz:{tmp_path / 'a.npz'}"))


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
        load_examples(StudySpec(tiny))
    assert text in str(caught.value)


def test_the_total_size_of_the_arrays_is_limited(tiny, monkeypatch):
    monkeypatch.setattr(npz, "MAX_BYTES", 1000)
    with pytest.raises(
        DataError, match=r"the arrays must have at most 1,000 bytes in total, got 1,\d\d\d; use"
    ):
        load_examples(StudySpec(tiny))


def header_only(shape: tuple[int, ...]) -> bytes:
    """A .npy file with the header of an array, but without its values."""
    stream = BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": "|u1", "fortran_order": False, "shape": shape})
    return stream.getvalue()


@pytest.mark.parametrize(
    ("shape", "text"),
    [
        ((10**6, 1000, 1000), "must have at most 536,870,912 values"),
        ((100, 9, 9), "must be as long as its header states"),
    ],
)
def test_headers_are_checked_before_an_array_is_read(tmp_path, monkeypatch, shape, text):
    monkeypatch.setattr(np.lib.format, "read_array", lambda *_, **__: pytest.fail("unpacked"))
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        for key in ("x_train", "y_train", "x_test", "y_test"):
            archive.writestr(f"{key}.npy", header_only(shape))
    with pytest.raises(DataError) as caught:
        load_examples(StudySpec(f"npz:{tmp_path / 'a.npz'}"))
    assert text in str(caught.value)


def test_a_path_that_is_not_a_file(tmp_path, tiny):
    link = tmp_path / "link.npz"
    link.symlink_to(tiny.partition(":")[2])
    for path, got in (
        (link, "a link, which is not followed"),
        (tmp_path, "a folder"),
        (tmp_path / "x", "a path that does not exist"),
        ("x" * 300, r"a path that cannot be read \(File name too long\)"),
        ("a\0b", "a path with a null character"),
    ):
        with pytest.raises(DataError, match=f"must be a file, got {got}"):
            load_examples(StudySpec(f"npz:{path}"))
