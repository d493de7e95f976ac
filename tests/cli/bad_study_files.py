"""Write the files of `bad_study`: data, modules and the folders of studies, most of them faulty."""

import json
import os
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from tests.helpers.study import tiny_arrays
from weightshare.study import StudySpec, run

#: Modules that the command lines name.
MODULES = Path(__file__).parent / "study_files"


def write_study_files(folder):
    """Write all files into an empty folder."""
    for path in MODULES.glob("*.py"):
        shutil.copy(path, folder)
    _write_modules(folder)
    _write_arrays(folder)
    _write_images(folder)
    _write_studies(folder)


def _write_modules(folder):
    modules = {
        "syntax": "def f(:\n",
        "tabs": "def f():\n\tpass\n        pass\n",
        "divides": "1 / 0\n",
        "leaves": "import sys; sys.exit(0)\n",
        "missing": "import no_such_module_at_all\n",
        "asserts": "assert False\n",
        "lines": "raise ValueError('one\\ntwo\\x1b[31m')\n",
        "memory": "raise MemoryError\n",
        "empty": "",
    }
    for name, text in modules.items():
        (folder / f"study_{name}.py").write_text(text)
    (folder / "study_null.py").write_bytes(b"x = 1\0\n")
    (folder / "study_latin.py").write_bytes(b"x = '\xe9'\n")


def _write_arrays(folder):
    good = tiny_arrays()
    x, y, names = good["x_train"], good["y_train"], np.array(["cat", "dog"])
    np.savez(folder / "good.npz", **good)
    changes = {
        "no_x": {"x_train": None},
        "no_y": {"y_train": None},
        "no_test": {"x_test": None},
        "no_test_targets": {"y_test": None},
        "nan": {"x_train": np.where(x > 200, np.nan, x), "x_test": good["x_test"] / 1.0},
        "strings": {"x_train": x.astype(str)},
        "names": {"y_train": names[y], "y_test": names[good["y_test"]]},
        "names_unseen": {"y_train": names[y], "y_test": names[good["y_test"]] + "s"},
        "labels_bytes": {"y_train": y.astype("S1")},
        "labels_floats": {"y_train": y / 3, "y_test": good["y_test"] / 3},
        "labels_negative": {"y_train": y - 1, "y_test": good["y_test"] - 1},
        "labels_unseen": {"y_test": good["y_test"] + 5},
        "labels_objects": {"y_train": np.array([None] * len(y))},
        "labels_short": {"y_train": y[1:]},
        "labels_long": {"y_train": np.append(y, 0)},
        "labels_one_hot": {"y_train": np.eye(2)[y], "y_test": np.eye(2)[good["y_test"]]},
        "one_class": {"y_train": y * 0, "y_test": good["y_test"] * 0},
        "one_image": {"x_train": x[:1], "y_train": y[:1]},
        "empty": {"x_train": x[:0], "y_train": y[:0]},
        "empty_test": {"x_test": x[:0], "y_test": y[:0]},
        "constant": {"x_train": x * 0, "x_test": good["x_test"] * 0},
        "complex": {"x_train": x + 1j},
        "dates": {"x_train": x.astype("datetime64[s]")},
        "structured": {"x_train": x.astype([("a", "u1")])},
        "small": {"x_train": x[:, :3, :3], "x_test": good["x_test"][:, :3, :3]},
        "sizes": {"x_test": good["x_test"][:, :5]},
        "two_axes": {"x_train": x[:, 0], "x_test": good["x_test"][:, 0]},
        "which_axis": {"x_train": x[:, None, :, :3], "x_test": good["x_test"][:, None, :, :3]},
        "scales": {"x_train": x / 255.0, "x_test": good["x_test"] / 1.0},
        "axes_wrong": {"axes": np.array("NCHW")},
        "axes_number": {"axes": np.array(3)},
        "axes_list": {"axes": np.array(["N", "H", "W"])},
        "axes_unknown": {"axes": np.array("NXY")},
    }  # fmt: skip
    for name, change in changes.items():
        arrays = {key: value for key, value in {**good, **change}.items() if value is not None}
        np.savez(folder / f"{name}.npz", **arrays)
    np.savez(folder / "keys.npz", images=x, labels=y)
    np.savez(folder / "case.npz", X_train=x, Y_train=y, X_test=x, Y_test=y)
    np.savez(folder / "positional.npz", x, y)
    np.savez(folder / "nothing.npz")
    np.save(folder / "array.npy", x)
    (folder / "array.npy").rename(folder / "array.npz")
    (folder / "text.npz").write_text("x_train y_train")
    (folder / "bytes.npz").write_bytes(b"")
    (folder / "half.npz").write_bytes((folder / "good.npz").read_bytes()[:900])
    with zipfile.ZipFile(folder / "notes.npz", "w") as archive:
        archive.writestr("x_train.npy\x1b[31m\n", "mine")
    (folder / "file").write_text("a file")
    os.mkfifo(folder / "pipe")
    (folder / "link").symlink_to("good.npz")
    (folder / "loop").symlink_to("loop")


def _write_images(folder):
    def write(name, images, suffix="png"):
        for path, size in images.items():
            file = folder / name / f"{path}.{suffix}"
            file.parent.mkdir(parents=True, exist_ok=True)
            value = sum(map(ord, path)) % 256
            Image.fromarray(np.full(size, value, dtype=np.uint8)).save(file)

    size = (6, 6)
    good = {f"{name}/{k}": size for name in ("cat", "dog") for k in range(5)}
    write("images", good)
    write("images_flat", {str(k): size for k in range(5)})
    write("images_one_class", {f"cat/{k}": size for k in range(5)})
    write("images_few", {f"{name}/{k}": size for name in ("cat", "dog") for k in range(2)})
    write("images_sizes", {**good, "dog/9": (6, 7)})
    write("images_small", dict.fromkeys(good, (2, 2)))
    write("images_nested", {f"{name}/more/{k}": size for name in ("cat", "dog") for k in range(5)})
    write("images_other", good)
    (folder / "images_other" / "dog" / "a.heic").write_bytes(b"")
    write("images_damaged", good)
    (folder / "images_damaged" / "dog" / "a\x1b[31m.png").write_bytes(b"<html>")
    write("images_linked", good)
    (folder / "images_linked" / "dog" / "a.png").symlink_to("0.png")
    write("images_empty_class", good)
    (folder / "images_empty_class" / "bird").mkdir()
    write("images_test", {f"{part}/{name}": s for part in ("train", "test") for name, s in good.items()})
    write("images_test", {"test/bird/0": size})
    (folder / "folder").mkdir()
    (folder / "folder_of_files").mkdir()
    (folder / "folder_of_files" / "notes.txt").write_text("mine")


def _write_studies(folder):
    spec = StudySpec(f"npz:{folder / 'good.npz'}", "full", seeds=1, width=2, epochs_max=1, accelerator="cpu")
    run(replace(spec, out=folder / "study_done"))
    record = {"study": "0" * 16, "title": "digits: full; 1 seed"}
    contents = {
        "study_text": "not JSON\n",
        "study_number": "5\n",
        "study_torn": '{"study": "00',
        "study_empty": "",
        "study_older": json.dumps(record) + "\n",
        "study_list": "[1]\n",
        "study_deep": "[" * 100_000 + "\n",
        "study_null": '{"study": "\0"}\n',
    }
    for name, text in contents.items():
        (folder / name).mkdir()
        (folder / name / "records.jsonl").write_text(text)
    (folder / "study_binary").mkdir()
    (folder / "study_binary" / "records.jsonl").write_bytes(bytes(range(256)) + b"\n")
    (folder / "study_folder" / "records.jsonl").mkdir(parents=True)
    (folder / "study_pipe").mkdir()
    os.mkfifo(folder / "study_pipe" / "records.jsonl")
    (folder / "study_report").mkdir()
    (folder / "study_report" / "report.html").write_text("mine")
    (folder / "study_lock" / ".lock").mkdir(parents=True)
    (folder / "study_states").mkdir()
    (folder / "study_states" / ".states").write_text("mine")
