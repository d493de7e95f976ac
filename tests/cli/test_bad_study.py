"""Every bad command line of `weightshare study` and `evidence` ends in one clear error and writes nothing.

Data and networks that are only unusual work.
"""

import re
import sys
import time

import pytest
import torch

from tests.cli.bad_study_data import DATA
from tests.cli.bad_study_files import write_study_files
from tests.cli.bad_study_folders import EVIDENCE, LINES, OUTS, REPORTS
from tests.cli.bad_study_networks import METRICS, MODELS
from tests.cli.bad_study_options import OPTIONS, SHARINGS

GOOD = "npz:good.npz"
SMALL = {"--sharing": "full", "--seeds": "1", "--epochs-max": "1", "--width": "2", "--accelerator": "cpu"}


def study(*arguments):
    """Return a command line with the options of a small study, unless they are given."""
    options = {"--out": "out", **SMALL}
    return ["study", *arguments, *(x for k, v in options.items() if k not in arguments for x in (k, v))]


ROWS = [
    *((study(name), part) for name, part in DATA.items()),
    *((study(GOOD, "--model", name, "--sharing", "full,local"), part) for name, part in MODELS.items()),
    *((study(GOOD, "--metric", name), part) for name, part in METRICS.items()),
    *((study(GOOD, *options), part) for options, part in OPTIONS),
    *((study(GOOD, "--sharing", text), part) for text, part in SHARINGS.items()),
    *((study(GOOD, "--out", path), part) for path, part in OUTS.items()),
    *((["study", "--report", *arguments], part) for arguments, part in REPORTS),
    *((list(arguments), part) for arguments, part in LINES),
    *((["evidence", *arguments], part) for arguments, part in EVIDENCE),
]

ODD_DATA = [
    "series", "volumes", "float16", "bfloat16", "float64", "booleans", "uint16", "int64", "big_endian",
    "test_of_one", "few", "classes_far_apart", "lists", "names", "targets_column", "numbers", "images",
    "masks", "requires_grad", "not_contiguous", "channels_constant", "many_channels",
]  # fmt: skip
ODD_MODELS = [
    "Holder",
    "batch_norm",
    "inside_float64",
    "inside_bfloat16",
    "lazy",
    "prints",
    "seeds",
    "shared",
]
ODD_LINES = [
    [GOOD, "--batch-size", "100000"],
    [GOOD, "--batch-size", "1"],
    [GOOD, "--train-images", "4"],
    [GOOD, "--sharing", "local", "--width", "1"],
    [GOOD, "--train-sizes", "2,3", "--widths", "1,3", "--augment", "shift:5", "--sharing", "full,local"],
    [GOOD, "--schedules", "relax:1", "--epochs-max", "2", "--sharing", "full,local"],
    [GOOD, "--task", "regression", "--metric", "mae"],
    [GOOD, "--metric", "study_metrics:good"],
    ["npz:names.npz"],
    ["npz:labels_floats.npz", "--metric", "r2"],
    ["folder:images_sizes", "--resize", "9x4"],
    ["study_data:volumes", "--task", "reconstruction"],
    ["study_data:series", "--task", "reconstruction"],
    ["study_data:masks", "--metric", "mean_iou", "--augment", "shift:2"],
]
ODD = [
    *([f"study_data:{name}", "--sharing", "full,lowrank:1,local"] for name in ODD_DATA),
    *([GOOD, "--model", f"study_models:{name}", "--sharing", "full,local"] for name in ODD_MODELS),
    *ODD_LINES,
]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    write_study_files(folder)
    paths = list(sys.path)
    yield folder
    sys.path[:] = paths
    for name in [name for name in sys.modules if name.startswith("study_")]:
        del sys.modules[name]


def list_files(folder):
    """Return all files except locks, which a folder with records can have."""
    return sorted(
        (str(path), path.lstat().st_mtime_ns if path.is_file() else None)
        for path in folder.rglob("*")
        if "__pycache__" not in path.parts and path.name != ".lock"
    )


@pytest.mark.filterwarnings("ignore:.*nested tensors:UserWarning", "ignore:torch.quantize:UserWarning")
@pytest.mark.parametrize(("arguments", "part"), ROWS, ids=lambda value: repr(value)[:90])
def test_a_bad_command_line(command_line, files, monkeypatch, arguments, part):
    monkeypatch.chdir(files)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    before, state, began = list_files(files), torch.get_rng_state(), time.process_time()
    code, out, err = command_line(*arguments)
    assert time.process_time() - began < 4
    assert (code, out) == (2, "")
    lines = err.splitlines()
    if not err.startswith(("Usage: ", "Error: ")):
        assert err.startswith("weightshare: ")
        assert err.endswith((".\n", "?\n"))
        assert len(lines) == 1
    assert all(line.isprintable() for line in lines), err
    assert part in err
    assert not re.search(r" object at 0x|, got [;]|, got \.$|: [.;] ", err), err
    assert list_files(files) == before
    assert torch.equal(torch.get_rng_state(), state) or "item_random" in str(arguments)


@pytest.mark.parametrize("arguments", ODD, ids=lambda value: repr(value)[:90])
def test_an_unusual_command_line_works(command_line, files, monkeypatch, tmp_path, arguments):
    monkeypatch.chdir(files)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    code, out, _ = command_line(*study(*arguments, "--out", str(tmp_path / "out")))
    assert code == 0
    assert out.startswith(arguments[0])
    assert "building" not in out  # what a user-supplied function prints goes to standard error
    assert (tmp_path / "out" / "report.html").is_file()
