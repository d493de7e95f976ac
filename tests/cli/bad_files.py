"""Write files for `test_bad_input` that are damaged, of the wrong kind, or contain code that fails."""

import json
import os
import pickle
import struct
import zipfile

import numpy as np
import torch
from safetensors.torch import save_file

MODELS = """
import sys

import torch
from torch import nn

five = 5
text = "model"


def needs_width(width):
    return nn.Linear(width, 1)


def raises():
    1 / 0


def raises_lines():
    raise RuntimeError("first\\nsecond\\x1b[31m")


def raises_without_text():
    raise RuntimeError


def leaves():
    sys.exit(3)


def recurses():
    return recurses()


def returns_none():
    return None


def returns_class():
    return nn.ReLU


def returns_list():
    return [nn.ReLU()]


class Constructor(nn.Module):
    def __init__(self):
        super().__init__()
        raise KeyError("width")


class NotCalled(nn.Module):
    def __init__(self):
        self.layer = nn.Linear(1, 1)


class Gives(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.conv = nn.Conv2d(1, 1, 3, padding=1)
        self.function = function

    def forward(self, x):
        return self.function(self.conv(x))


class TwoInputs(nn.Module):
    def forward(self, x, y):
        return x + y


class KeywordOnly(nn.Module):
    def forward(self, *, pixels):
        return pixels


class Second(nn.Module):
    def __init__(self):
        super().__init__()
        self.calls = 0

    def forward(self, x):
        self.calls += 1
        if self.calls > 1:
            raise OSError("no second run")
        return x


def fail(x):
    raise IndexError("no\\nluck \\x1b[31m")


def leave(x):
    sys.exit(5)


FUNCTIONS = {
    "none": lambda x: None,
    "tuple": lambda x: (x, x),
    "mapping": lambda x: {"out": x},
    "number": lambda x: 1.0,
    "nan": lambda x: x * float("nan"),
    "random": lambda x: x + torch.rand_like(x),
    "reshapes": lambda x: x.reshape(-1, 7),
    "fails": fail,
    "quits": leave,
    "asserts": lambda x: (_ for _ in ()).throw(AssertionError()),
    "numpy": lambda x: x.numpy(),
}


def __getattr__(name):
    if name in FUNCTIONS:
        return lambda: Gives(FUNCTIONS[name])
    raise AttributeError(name)
"""


def write_bad_files(folder):
    """Write all files into an empty folder."""
    (folder / "folder").mkdir()
    (folder / "file").write_text("a file")
    modules = {
        "models": MODELS,
        "syntax": "def f(:\n",
        "tabs": "def f():\n\tpass\n        pass\n",
        "divides": "1 / 0\n",
        "leaves": "import sys; sys.exit(0)\n",
        "missing_import": "import no_such_module_at_all\n",
        "asserts": "assert False\n",
        "lines": "raise ValueError('one\\ntwo\\x1b[31m')\n",
        "circular": "from bad_circular import f\n",
        "interrupts": "raise MemoryError\n",
        "empty": "",
    }
    for name, text in modules.items():
        (folder / f"bad_{name}.py").write_text(text)
    (folder / "bad_null.py").write_bytes(b"x = 1\0\n")
    (folder / "bad_latin.py").write_bytes(b"x = '\xe9'\n")
    _write_checkpoints(folder)
    _write_labels(folder)


def _write_checkpoints(folder):
    state = torch.nn.Linear(3, 2).state_dict()
    torch.save(state, folder / "other.pt")
    save_file(state, folder / "other.safetensors")
    (folder / "half.pt").write_bytes((folder / "other.pt").read_bytes()[:300])
    (folder / "half.safetensors").write_bytes((folder / "other.safetensors").read_bytes()[:-4])
    (folder / "head.safetensors").write_bytes(struct.pack("<Q", 90_000_000) + b"{")
    (folder / "huge.safetensors").write_bytes(struct.pack("<Q", 2**63) + b"{}")
    (folder / "json.safetensors").write_bytes(struct.pack("<Q", 9) + b"{'a': 1,}")
    (folder / "empty.pt").write_bytes(b"")
    (folder / "text.pt").write_text("weights")
    (folder / "weights.json").write_text(json.dumps({"weight": [1]}))
    (folder / "code.pkl").write_bytes(pickle.dumps(print))
    torch.save(torch.zeros(3), folder / "tensor.pt")
    torch.save({"weights": [1, 2]}, folder / "list.pt")
    os.mkfifo(folder / "pipe")
    torch.save({1: torch.zeros(2)}, folder / "numbers.pt")
    with zipfile.ZipFile(folder / "other.zip", "w") as archive:
        archive.writestr("a.txt", "text")


def _write_labels(folder):
    np.save(folder / "floats.npy", np.zeros((3, 3)))
    np.save(folder / "negative.npy", np.full((3, 3), -1))
    np.save(folder / "gaps.npy", np.array([[0, 2], [0, 2]]))
    np.save(folder / "scalar.npy", np.array(0))
    np.save(folder / "empty.npy", np.zeros((0, 3), dtype=int))
    np.save(folder / "axes.npy", np.zeros((1, 1, 1, 1), dtype=int))
    np.save(folder / "small.npy", np.zeros((2, 2), dtype=int))
    np.save(folder / "objects.npy", np.array([None, 1], dtype=object), allow_pickle=True)
    np.save(folder / "strings.npy", np.array(["a", "b"]))
    np.save(folder / "booleans.npy", np.zeros((3, 3), dtype=bool))
    np.savez(folder / "archive.npz", labels=np.zeros((3, 3), dtype=int))
    np.savez(folder / "archive.npy.npz", labels=np.zeros((3, 3), dtype=int))
    (folder / "cut.npy").write_bytes((folder / "small.npy").read_bytes()[:100])
    (folder / "short.npy").write_bytes((folder / "small.npy").read_bytes()[:-8])
    (folder / "text.npy").write_text("0 0\n1 1\n")
    (folder / "nothing.npy").write_bytes(b"")
    _write_large_header(folder / "large.npy")


def _write_large_header(path):
    header = b"{'descr': '<i8', 'fortran_order': False, 'shape': (99999999, 99999999), }"
    header += b" " * (118 - len(header) - 1) + b"\n"
    path.write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header)
