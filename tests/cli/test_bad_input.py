"""Every bad command line ends with exit code 2 and one line that names what is wrong, and writes nothing.

Each row is a command line that has one fault. Rows are built from tables, so that a new kind of bad value is
tried in every place that takes such a value.
"""

import re
import sys
import time

import pytest

from tests.cli.bad_files import write_bad_files
from tests.cli.bad_values import (
    CHECKPOINTS,
    LAYER,
    LAYERS,
    MODELS,
    NOT_NUMBERS,
    NOT_SIZES,
    NOT_WRITABLE,
    RUNS,
    SHARINGS,
    SHIFTS,
)

#: Groups of command lines, with a part of the error.
ROWS = [
    *((["explain", layer], part) for layer, part in LAYERS.items()),
    *((["explore", layer, "--input", "9"], part) for layer, part in list(LAYERS.items())[:60:4]),
    *((["explain", LAYER, "--input", size], "input size: ") for size in NOT_SIZES),
    *((["explore", LAYER, "--input", size], "input size: ") for size in NOT_SIZES[::3]),
    *((["summary", "lenet5", "--input", size], "input size: ") for size in NOT_SIZES[::2]),
    *((["equivariance", "lenet5", "--input", size], "input size: ") for size in NOT_SIZES[1::2]),
    (["explain", LAYER, "--input", "1x9x9"], "must have in_channels=3, got 1"),
    (["explain", LAYER, "--input", "9x9x3"], "must have in_channels=3, got 9"),
    (["explain", LAYER, "--input", "3x9x9x9"], "input_size must have length 2"),
    (["explain", LAYER, "--input", "2x3x9x9x9x9"], "input_size must have length 2"),
    (["explain", LAYER, "--input", "2x2"], "must be at least (3, 3)"),
    (["explain", "Linear(3, 2)", "--input", "4"], "must have in_features=3, got 4"),
    (["explain", "Linear(3, 2)", "--input", "3x3"], "input_size must have length 1"),
    (["explain", "Conv2D(8, 3)", "--input", "9x9"], "an input size without channels"),
    (["explain", "Conv2D(8, 3)", "--input", "2x2x3"], "must be at least (3, 3)"),
    *((["explain", LAYER, "--input", "3x9x9", "--sharing", s], part) for s, part in SHARINGS.items()),
    *(
        (["explore", LAYER, "--input", "3x9x9", "--sharing", s], part)
        for s, part in list(SHARINGS.items())[::5]
    ),
    (["explain", LAYER, "--sharing", "local"], "needs an input size"),
    (["explain", "Linear(3, 2)", "--sharing", "lowrank:1"], "needs a layer with spatial positions"),
    *((["explain", LAYER, "--html", path], "path must be a writable file") for path in NOT_WRITABLE),
    *((["explore", "--no-browser", "--out", path], "path must be a writable file") for path in NOT_WRITABLE),
    (["explore", "--input", "9"], "--input and --sharing need a layer"),
    (["explore", "--sharing", "full"], "--input and --sharing need a layer"),
    (["explore", LAYER], "its input size must be known"),
    (["explore", "Linear(3, 2)", "--input", "3"], "must be a small enough convolution"),
    (["explore", LAYER, "--input", "3x200000x200000"], "must be a small enough convolution"),
    *((["summary", name], part) for name, part in MODELS.items()),
    *((["ties", name], part) for name, part in list(MODELS.items())[::3]),
    *((["equivariance", name, "--input", "1x8x8"], part) for name, part in list(MODELS.items())[::3]),
    *((["equivariance", name, "--input", "1x8x8"], part) for name, part in RUNS.items()),
    *((["summary", "lenet5", "--weights", path], part) for path, part in CHECKPOINTS.items()),
    *((["ties", "lenet5", "--weights", path], part) for path, part in list(CHECKPOINTS.items())[::4]),
    *((["equivariance", "lenet5", "--weights", path], part) for path, part in list(CHECKPOINTS.items())[::4]),
    *((["equivariance", "lenet5", "--shift", shift], part) for shift, part in SHIFTS.items()),
    *((["equivariance", "lenet5", "--seed", text], "--seed") for text in [*NOT_NUMBERS[:-2], "-1", "9" * 30]),
    (["equivariance", "torch.nn:ReLU"], "needs the shape of one example"),
    (["equivariance", "torch.nn:ReLU", "--input", "9"], "floating-point tensor [N, C, *spatial]"),
    (["equivariance", "lenet5", "--input", "1x1000000x1000000"], "bytes of memory"),
    (["equivariance", "torch.nn:ReLU", "--input", "1x999999999x999999999"], "bytes of memory"),
    (["equivariance", "lenet5", "--shift", "1", "--shift", "x"], "--shift must be an integer"),
    (
        ["equivariance", "lenet5", "--shift", "1", "--shift", "1x1x1"],
        "one integer for each of 2 spatial axes",
    ),
    *(
        (["summary", "lenet5", "--device", name], "device must be available here")
        for name in ["", "gpu", "cuda:x", "cpu:-1", "5", "\x1b"]
    ),
    (["summary", "lenet5", "--input", "1x999999999x999999999x999999999"], "must fit in memory"),
    (["summary", "lenet5", "--explain", "nothing"], "nothing"),
    (["summary", "lenet5", "--explain", "\x1b[31m"], "explain"),
    *((["summary", "lenet5", "--reconcile", text], "--reconcile") for text in NOT_NUMBERS[:-2]),
    (["summary", "lenet5", "--reconcile", "-1"], "reconcile"),
    (["summary", "lenet5", "--json", "--markdown"], "--markdown"),
    (["summary", "lenet5", "--json", "--explain", "0.weight"], "--explain"),
    (["summary", "lenet5", "--markdown", "--reconcile", "5"], "--reconcile"),
    ([], ""),
    (["--bogus"], "No such option: --bogus"),
    (["expalin"], "expalin"),
    (["\x1b[31m"], "No such command"),
    (["explain"], "Missing argument"),
    (["explain", LAYER, LAYER], "unexpected extra argument"),
    (["explain", LAYER, "--inptu", "3"], "No such option: --inptu"),
    (["explain", LAYER, "--\x1b[31m"], "No such option"),
    (["explain", LAYER, "--input"], "--input"),
    (["explain", LAYER, "--json=1"], "--json"),
    (["explain", LAYER, "--input", "9", "--input", "8"], "'--input' must be given only once"),
    (["explain", LAYER, "--json", "--json"], "'--json' must be given only once"),
    (
        ["summary", "lenet5", "--weights", "other.pt", "--weights", "half.pt"],
        "'--weights' must be given only once",
    ),
    (["equivariance", "lenet5", "--seed", "1", "--seed", "2"], "'--seed' must be given only once"),
    (["equivariance", "lenet5", "--interventions", "--no-interventions"], "must be given only once"),
    (["explore", "--out", "a.html", "--out", "b.html"], "'--out' must be given only once"),
    (["backends", "x"], "unexpected extra argument"),
    (["ties"], "Missing argument"),
]


@pytest.fixture(scope="module")
def bad_files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bad")
    write_bad_files(folder)
    paths = list(sys.path)
    yield folder
    sys.path[:] = paths
    for name in [name for name in sys.modules if name.startswith("bad_")]:
        del sys.modules[name]


def list_files(folder):
    return sorted(
        (path.relative_to(folder).as_posix(), path.stat().st_size, path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if "__pycache__" not in path.parts and path.is_file()
    )


@pytest.mark.parametrize(("arguments", "part"), ROWS, ids=lambda value: repr(value)[:90])
def test_a_bad_command_line(command_line, bad_files, monkeypatch, arguments, part):
    monkeypatch.chdir(bad_files)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    before, began = list_files(bad_files), time.process_time()
    code, out, err = command_line(*arguments)
    assert time.process_time() - began < 2
    assert (code, out if arguments else "") == (2, "")
    lines = err.splitlines()
    if not err.startswith(("Usage: ", "Error: ")):
        assert err.startswith("weightshare: ")
        assert err.endswith(".\n") or err.endswith("?\n")
        assert len(lines) == 1
    assert all(line.isprintable() for line in lines), err
    assert "Traceback" not in err
    assert part in err
    assert not re.search(r" object at 0x|, got [.;]|: [.;]", err), err
    assert list_files(bad_files) == before
