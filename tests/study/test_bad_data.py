"""A long list of data that no study can use: each one gets an error of one line that a user understands."""

import os
import re
import struct
import unicodedata
import zipfile
import zlib
from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import Dataset, TensorDataset

from tests.helpers.study import tiny_arrays
from weightshare.errors import DataError, SpecError
from weightshare.study import StudySpec
from weightshare.study.data import load_examples

GENERATOR = np.random.default_rng(0)
X = GENERATOR.random((20, 1, 6, 6)).astype(np.float32)
Y = np.arange(20) % 2
FORMATS = {
    "bmp": "BMP",
    "gif": "GIF",
    "jpg": "JPEG",
    "png": "PNG",
    "ppm": "PPM",
    "tif": "TIFF",
    "webp": "WEBP",
}

#: Values of `StudySpec.data` that do not name a source, or name one that does not exist.
NAMES = [
    "", " ", "digit", "DIGITS", "digits ", "faces/", "npz", "folder", "npz:", "folder:", ":", "::", "a:",
    ":a", "a:b:c", "a.b", "a:1", "1:a", "a b:c", "npz:missing.npz", "npz:.", "npz:/", "npz:/dev/null",
    "npz:/dev/zero", "folder:missing", "folder:/dev/null", "folder:file", "npz:file", "npz:file/x.npz",
    "folder:file/x", "npz:a\0b", "folder:a\0b", "a\0b", "npz:" + "x" * 300, "folder:" + "x" * 300,
    "x" * 300, "npz:" + "x/" * 3000, "folder:" + "x/" * 3000, "npz:loop", "folder:loop", "npz:loop/x",
    "folder:loop/x", "npz:link", "folder:link", "npz:pipe", "folder:pipe", "npz:ä\udcff", "folder:a\nb",
    "npz:a\x1b[31m", "http://example.org/x.npz", "npz:http://example.org/x.npz", "~/images", "missing:f",
    "missing.module:f", "os:missing", "os:path", "os:sep", "os.path:join", "math:pi", "math:sqrt",
    "sys:exit", "a.:b", ".a:b", "builtins:object", "builtins:dict", "weightshare:Full",
    "colorsys:rgb_to_hsv", "file:f", "torch:zeros", "numpy:array",
]  # fmt: skip


def write_npz(path, **change):
    arrays = {key: value for key, value in {**tiny_arrays(), **change}.items() if value is not None}
    np.savez(path, **arrays)


def write_members(path, make):
    """Write an archive in which `make` returns the bytes of every member."""
    with zipfile.ZipFile(path, "w") as archive:
        for key, array in tiny_arrays().items():
            stream = BytesIO()
            np.save(stream, array)
            archive.writestr(f"{key}.npy", make(stream.getvalue()))


def change_header(old, new):
    """Return a function that replaces a part of the header of a .npy file."""

    def make(content):
        assert old in content
        header = content[10:128].rstrip().replace(old, new)
        return content[:8] + struct.pack("<H", len(header) + 1) + header + b"\n" + content[128:]

    return make


def encrypt(path):
    """Mark the members of an archive as encrypted."""
    write_npz(path)
    content = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        for match in re.finditer(re.escape(signature), bytes(content)):
            content[match.start() + offset] |= 1
    path.write_bytes(content)


SHAPE = b"(16, 6, 6)"
X_SHAPES = [
    (16,),
    (16, 6),
    (16, 6, 6, 2),
    (16, 2, 6, 6, 2),
    (16, 1, 1, 6, 6, 6),
    (16, 3, 6, 3),
    (16, 2, 2),
    (1, 6, 6),
    (),
]
DTYPES = ["complex64", "<U3", "S3", "datetime64[s]", "V8", [("a", "u1")]]
NPZ = {
    "no bytes": lambda p: p.write_bytes(b""),
    "text": lambda p: p.write_bytes(b"x_train, y_train"),
    "only the end of an archive": lambda p: p.write_bytes(b"PK\x05\x06" + bytes(18)),
    "no arrays": lambda p: zipfile.ZipFile(p, "w").close(),
    "another archive": lambda p: zipfile.ZipFile(p, "w").writestr("notes.txt", "mine"),
    "names with control characters": lambda p: zipfile.ZipFile(p, "w").writestr("a\x1b[31m\nb" * 900, "mine"),
    "an encrypted archive": encrypt,
    "a .npy file": lambda p: np.save(p.open("wb"), X),
    "members that are empty": lambda p: write_members(p, lambda content: b""),
    "members that are text": lambda p: write_members(p, lambda content: b"mine"),
    "members without values": lambda p: write_members(p, lambda content: content[:128]),
    "members cut off in the header": lambda p: write_members(p, lambda content: content[:60]),
    "members with more values": lambda p: write_members(p, lambda content: content + b"more"),
    "version 3": lambda p: write_members(p, lambda content: content[:6] + b"\3" + content[7:]),
    "version 9": lambda p: write_members(p, lambda content: content[:6] + b"\x09" + content[7:]),
    "a longer header": lambda p: write_members(p, lambda content: content[:8] + b"\xff\xff" + content[10:]),
    "a header with a call": lambda p: write_members(p, change_header(b"False", b"print()")),
    "a header without a shape": lambda p: write_members(p, change_header(b"'shape'", b"'size'")),
    "a header with deep brackets": lambda p: write_members(p, change_header(b"False", b"[" * 3000)),
    "a header of another type": lambda p: write_members(p, change_header(b"'descr': '", b"'descr': '<z")),
    "a header of huge sizes": lambda p: write_members(p, change_header(b"(", b"(" + b"9" * 30 + b", ")),
    "a header of negative sizes": lambda p: write_members(p, change_header(b"(", b"(-1, ")),
    "a header of floats": lambda p: write_members(p, change_header(b"(", b"(1.0, ")),
    **{f"inputs {s}": lambda p, s=s: write_npz(p, x_train=np.zeros(s), x_test=np.zeros(s)) for s in X_SHAPES},
    **{f"inputs of {d}": lambda p, d=d: write_npz(p, x_train=np.zeros((16, 6, 6), dtype=d)) for d in DTYPES},
    **{f"targets of {d}": lambda p, d=d: write_npz(p, y_train=np.zeros(16, dtype=d)) for d in DTYPES},
    "no training inputs": lambda p: write_npz(p, x_train=None),
    "no test targets": lambda p: write_npz(p, y_test=None),
    "objects": lambda p: write_npz(p, y_train=np.array([None] * 16)),
}  # fmt: skip


def as_bytes(suffix, size=(6, 6)):
    stream = BytesIO()
    Image.fromarray(GENERATOR.integers(0, 255, (*size, 3), dtype=np.uint8)).save(stream, FORMATS[suffix])
    return stream.getvalue()


def png(width, height, *chunks):
    """Return a .png file with a header of this size."""
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    body = b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in ((b"IHDR", header), *chunks, (b"IEND", b""))
    )
    return b"\x89PNG\r\n\x1a\n" + body


PIXELS = b"IDAT", zlib.compress(bytes(6 * 7))
IMAGES = {
    **{f"half of a .{s}": (s, as_bytes(s, (40, 40))[: len(as_bytes(s, (40, 40))) // 2]) for s in FORMATS},
    **{f"the beginning of a .{s}": (s, as_bytes(s)[:12]) for s in FORMATS},
    **{f"text as .{s}": (s, b"<html>404 Not Found</html>") for s in FORMATS},
    **{f"an empty .{s}": (s, b"") for s in FORMATS},
    "another size": ("png", as_bytes("png", (6, 7))),
    "one pixel": ("png", as_bytes("png", (1, 1))),
    "a huge .png": ("png", png(2**31 - 1, 2**31 - 1, PIXELS)),
    "a .png of no width": ("png", png(0, 6, PIXELS)),
    "a .png with a bomb as text": (
        "png",
        png(6, 6, (b"zTXt", b"a\0\0" + zlib.compress(bytes(10**8))), PIXELS),
    ),
    "a .png of other pixels": ("png", png(6, 6, (b"IDAT", b"mine"))),
    "a huge .ppm": ("ppm", b"P6 99999 99999 255\n"),
    "a .ppm of a negative size": ("ppm", b"P6 -6 6 255\n" + bytes(108)),
    "a .ppm with a number of 9,999 digits": ("ppm", b"P6 " + b"9" * 9999 + b" 6 255\n"),
    "a huge .bmp": ("bmp", as_bytes("bmp")[:18] + struct.pack("<ii", 2**31 - 1, 2**31 - 1) + bytes(99)),
    "a huge .gif": ("gif", b"GIF89a" + b"\xff\xff\xff\xff" + bytes(99)),
    "a .tif of no pages": ("tif", b"II*\0" + struct.pack("<I", 0)),
    "a .tif that refers to itself": ("tif", b"II*\0" + struct.pack("<IHI", 8, 0, 8)),
    "a raw photograph": ("nef", b""),
    "a vector image": ("svg", b"<svg/>"),
}


class Items(Dataset):
    def __init__(self, items):
        self.items = items

    def __len__(self):
        return 20

    def __getitem__(self, index):
        return self.items(index)


class Endless(Dataset):
    def __getitem__(self, index):
        return X[0], 1


def fail(error):
    raise error


def with_nan(array, value=np.nan):
    array = array.astype(np.float32)
    array[3] = value
    return array


GIVEN = {
    "a number": 3,
    "a range": range(9),
    "a set": {1, 2},
    "an array": X,
    "a tensor": torch.from_numpy(X),
    "no arrays": (),
    "one array": (X,),
    "three arrays": (X, Y, X),
    "five arrays": (X, Y, X, Y, X),
    "names": ("x", "y"),
    "nothing": (None, None),
    "an empty dictionary": {},
    "other keys": {"inputs": X, "targets": Y},
    "a key too many": {"x": X, "y": Y, "z": Y},
    "only a test set": {"test": TensorDataset(torch.from_numpy(X))},
    "keys that are not text": {1: X, 2: Y},
    "inputs and one data set": (X, TensorDataset(torch.from_numpy(X))),
    "axes that are not text": {"x": X, "y": Y, "axes": 3},
    "axes of another number": {"x": X, "y": Y, "axes": "NCL"},
    "axes without examples": {"x": X, "y": Y, "axes": "CDHW"},
    "axes in lower case": {"x": X, "y": Y, "axes": "nchw"},
    "axes of other letters": {"x": X, "y": Y, "axes": "NCXY"},
    "ragged lists": ([[1, 2], [3]], Y),
    "lists of text": ([["a"]] * 20, Y),
    "objects": (np.array([object()] * 20), Y),
    "meta tensors": (torch.empty(20, 1, 6, 6, device="meta"), Y),
    "complex tensors": (torch.zeros(20, 1, 6, 6, dtype=torch.complex64), Y),
    "masked arrays": (np.ma.masked_less(X, 0.5), Y),
    "pairs of one": ((X,), (X,)),
    "pairs of two axes": ((np.zeros((20, 6)), Y), (np.zeros((20, 6)), Y)),
    "pairs of nothing": ((None, Y), (X, Y)),
    "no axes": (np.float32(3), Y),
    "one axis": (np.zeros(20), Y),
    "two axes": (np.zeros((20, 6)), Y),
    "six axes": (np.zeros((20, 1, 6, 6, 6, 6)), Y),
    "no examples": (X[:0], Y[:0]),
    "one example": (X[:1], Y[:1]),
    "three examples": (X[:3], Y[:3]),
    "no channels": (X[:, :0], Y),
    "channels last": (np.zeros((20, 6, 6, 3)), Y),
    "short series": (np.zeros((20, 3, 3)), Y),
    "flat volumes": (np.zeros((20, 1, 6, 6, 2)), Y),
    "constant inputs": (np.ones_like(X), Y),
    "NaN": (with_nan(X), Y),
    "infinity": (with_nan(X, -np.inf), Y),
    "huge numbers": (X.astype(np.float64) * 1e300, Y),
    "test inputs of another size": (X, Y, X[:, :, :5], Y),
    "test inputs of another rank": (X, Y, X[..., None], Y),
    "test inputs of other channels": (X, Y, np.repeat(X, 3, 1), Y),
    "test inputs on another scale": (X, Y, X * 255, Y),
    "test inputs of another kind": (X, Y, (X * 255).astype(np.uint8), Y),
    "no test inputs": (X, Y, X[:0], Y[:0]),
    "NaN in the test": (X, Y, with_nan(X), Y),
    "one target too few": (X, Y[1:]),
    "one single target": (X, 1),
    "a test target too few": (X, Y, X, Y[1:]),
    "a name of a class that is new": (X, ["cat", "dog"] * 10, X, ["cat", "cow"] * 10),
    "names of classes in two axes": (X, [["cat", "dog"]] * 20),
    "one class": (X, Y * 0),
    "negative classes": (X, -Y),
    "a rare class": (X, np.arange(20) // 19),
    "NaN in the targets": (X, with_nan(Y)),
    "constant numbers": (X, np.full(20, 0.5)),
    "one-hot": (X, np.eye(2)[Y]),
    "a test class that is new": (X, Y, X, Y + 1),
    "an item that fails": Items(lambda k: fail(OSError("a\nb"))),
    "an item that has no text": Items(lambda k: fail(ValueError())),
    "an item that exits": Items(lambda k: fail(StopIteration)),
    "items of nothing": Items(lambda k: None),
    "items of text": Items(lambda k: "mine"),
    "items of three": Items(lambda k: (X[0], 1, 2)),
    "items of images": Items(lambda k: (Image.new("L", (6, 6)), 1)),
    "items of other sizes": Items(lambda k: (X[0, :, : 5 + k % 2], 1)),
    "items of other types": Items(lambda k: (X[0], 1 if k % 2 else 1.0)),
    "items of text as a target": Items(lambda k: (X[0], "cat")),
    "items of random numbers": Items(lambda k: (torch.randn(1, 6, 6), k)),
    "a data set without a length": Endless(),
    "a base class": Dataset(),
    "a function with an argument": lambda n: n,
    "a function that fails": lambda: fail(KeyError("a")),
    "a function that exits": lambda: fail(SystemExit("a")),
    "a function that returns nothing": lambda: None,
    "a function that returns a function": lambda: lambda: (X, Y),
    "a class": Items,
}


def load_name(name, folder):
    (folder / "file").write_text("mine")
    (folder / "loop").symlink_to(folder / "loop")
    (folder / "link").symlink_to(folder)
    os.mkfifo(folder / "pipe")
    return {"data": name}


def load_file(write, folder):
    write(folder / "a.npz")
    return {"data": "npz:a.npz"}


def load_image(image, folder):
    suffix, content = image
    for name in ("a", "b"):
        (folder / "images" / name).mkdir(parents=True)
        for number in range(4):
            (folder / "images" / name / f"{number}.png").write_bytes(as_bytes("png"))
    (folder / "images" / "a" / f"x.{suffix}").write_bytes(content)
    return {"data": "folder:images"}


BAD = [
    *[(f"name {name[:20]!r}", load_name, name) for name in NAMES],
    *[(f"file: {what}", load_file, write) for what, write in NPZ.items()],
    *[(f"image: {what}", load_image, image) for what, image in IMAGES.items()],
    *[(f"given: {what}", lambda data, folder: {"data": data}, data) for what, data in GIVEN.items()],
]


@pytest.mark.parametrize(("prepare", "value"), [case[1:] for case in BAD], ids=[case[0] for case in BAD])
@pytest.mark.filterwarnings("ignore")
def test_bad_data_get_an_error_of_one_line(tmp_path, monkeypatch, prepare, value):
    monkeypatch.chdir(tmp_path)
    with pytest.raises((DataError, SpecError)) as caught:
        load_examples(StudySpec(**prepare(value, tmp_path)))
    message = str(caught.value)
    print(message)
    assert re.fullmatch(r".+: .*\b(must|is only for)\b.+, got .+[.?]", message)
    assert not {unicodedata.category(c) for c in message} & {"Cc", "Cf", "Cs", "Zl", "Zp"}
    assert len(message) < 700
    assert not message.endswith("..")
    assert str(tmp_path) not in message
