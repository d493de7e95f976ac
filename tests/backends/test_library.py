"""A library that cannot be used is reported once, and the portable backend computes instead."""

import ctypes
import os
import subprocess
import sys
import threading
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

import weightshare as ws
from tests.helpers.programs import require
from weightshare import Local, nn, reference
from weightshare.backends import native
from weightshare.backends.native import library, self_test

BUILT = sorted(Path(library.__file__).parent.glob("_native*"))


@pytest.fixture
def folder(monkeypatch, tmp_path):
    """An empty folder in which the library is searched for."""
    monkeypatch.setattr(library, "FOLDER", tmp_path)
    with native.force("on"):
        yield tmp_path
        monkeypatch.undo()
    native.load()


def compute():
    torch.manual_seed(0)
    layer = nn.Conv2d(3, 8, 3, sharing=Local(), input_size=6)
    x = torch.randn(2, 3, 6, 6)
    torch.testing.assert_close(layer(x), reference.output(layer, x), rtol=1e-4, atol=1e-4)


def check_refused(reason):
    """Check that one warning names the reason, and that layers work."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(2):
            compute()
            status = ws.backends().native
    assert [warning.category for warning in caught] == [RuntimeWarning]
    assert str(caught[0].message) == (
        f"weightshare: {status.reason}. The slower portable backend computes unshared layers instead; "
        "reinstall the package, or set WEIGHTSHARE_NATIVE=off to use the portable backend without this "
        "warning."
    )
    assert status.broken
    assert not status.available
    assert reason in status.reason
    assert "\n" not in status.reason
    assert f"not available: {status.reason}" in str(ws.backends())


def read_library():
    if not BUILT:
        pytest.skip("the package was installed without a C compiler")
    return BUILT[0].read_bytes()


@pytest.mark.skipif(sys.platform != "linux", reason="the format of Linux")
@pytest.mark.parametrize("part", [0, 1, 10, 63, 64, 200, 0.1, 0.5, 0.9, 0.999, -1])
def test_a_library_that_was_cut_off(folder, part):
    content = read_library()
    length = int(part * len(content)) if isinstance(part, float) else part
    (folder / "_native.so").write_bytes(content[:length])
    check_refused("too short" if 10 > length >= 0 else "")


@pytest.mark.skipif(sys.platform != "linux", reason="the format of Linux")
@pytest.mark.parametrize(
    ("place", "value"),
    [(4, b"\x01"), (5, b"\x02"), (16, b"\x01\x00"), (18, b"\xb7\x00"), (18, b"\xf3\x00"), (18, b"\x16\x00")],
    ids=["32 bits", "big-endian", "object file", "aarch64 or x86-64", "riscv", "s390"],
)
def test_a_library_of_another_machine(folder, place, value):
    content = read_library()
    if content[place : place + len(value)] == value:
        value = b"\x3e\x00"
    (folder / "_native.so").write_bytes(content[:place] + value + content[place + len(value) :])
    check_refused("_native.so cannot be used")


@pytest.mark.parametrize(
    "content", [b"", b"not a library", b"\x7fELF", b"\x7fELF\x02\x01" + bytes(200)], ids=str
)
def test_files_that_are_not_libraries(folder, content):
    (folder / "_native.so").write_bytes(content)
    check_refused("_native.so cannot be used")


@pytest.mark.parametrize(
    "make", [Path.mkdir, lambda path: path.symlink_to("missing")], ids=["folder", "link"]
)
def test_a_folder_and_a_dangling_link(folder, make):
    make(folder / "_native.so")
    check_refused("_native.so cannot be used")


STUB = """
#include <stdint.h>
int32_t weightshare_version(void) { return VERSION; }
int32_t weightshare_supports(const char *isa) { return SUPPORTS; }
int32_t weightshare_select(const char *isa) { return 1; }
int64_t weightshare_count_memory(int32_t map, const void *layer) { return MEMORY; }
int32_t weightshare_compute(int32_t map, const void *l, const void *a, const void *b, void *c, void *d,
                            void *e)
{ return ERROR; }
"""


def compile_stub(folder, source):
    (folder / "stub.c").write_text(source)
    command = [
        require("cc", "gcc", "clang"),
        "-shared",
        "-fPIC",
        "-o",
        folder / "_native.so",
        folder / "stub.c",
    ]
    subprocess.run(command, check=True)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"VERSION": "0"}, "another version of the package"),
        ({}, "map 0 computes wrong numbers"),
        ({"ERROR": "1"}, "map 0 fails"),
        ({"MEMORY": "-1000"}, ""),
        ({"MEMORY": "INT64_MAX"}, ""),
        ({"SUPPORTS": "0"}, "no instruction set"),
        ({"weightshare_version": "other"}, "weightshare_version"),
        ({"weightshare_supports": "other"}, "weightshare_supports"),
        ({"weightshare_select": "other"}, "weightshare_select"),
        ({"weightshare_count_memory": "other"}, "weightshare_count_memory"),
        ({"weightshare_compute": "other"}, "weightshare_compute"),
    ],
    ids=lambda value: " ".join(map("=".join, value.items())) if isinstance(value, dict) else "",
)
def test_other_libraries(folder, changes, reason):
    source = STUB
    defaults = {"VERSION": str(library.VERSION), "SUPPORTS": "1", "MEMORY": "64", "ERROR": "0"}
    for old, new in {**defaults, **changes}.items():
        source = source.replace(old, new)
    compile_stub(folder, source)
    check_refused(reason)


@pytest.mark.parametrize("name", ["float64", "float32", "bfloat16", "float16"])
@pytest.mark.parametrize("number", range(3))
def test_the_self_test_finds_a_wrong_map(name, number):
    """Each map is computed correctly in all types, except that one number is wrong in one of them."""
    with native.force("on"):
        found = native.load()
    if found is None:
        pytest.skip("the package was installed without a C compiler")
    (kind,) = (kind for kind in self_test.TYPES if kind[0] == name)
    _, type_number, encode, decode, _ = kind

    class Wrong:
        weightshare_count_memory = found.functions.weightshare_count_memory

        @staticmethod
        def weightshare_compute(map, layer, first, second, result, memory, parallel_for):
            addresses = (first, second, result, memory, parallel_for)
            code = found.functions.weightshare_compute(map, layer, *addresses)
            if (map, layer.type) == (number, type_number):
                dtype = encode(np.zeros(1)).dtype
                value = np.frombuffer((ctypes.c_char * dtype.itemsize).from_address(result), dtype)
                value[:] = encode(decode(value) + 0.5)
            return code

    assert self_test.find_error(found.functions, library.Layer) is None
    assert self_test.find_error(Wrong, library.Layer) == f"map {number} computes wrong numbers in {name}"


def test_a_warning_as_an_error_leaves_the_portable_backend(folder):
    (folder / "_native.so").write_bytes(b"")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(RuntimeWarning, match="cannot be used"):
            ws.backends()
        compute()
        assert ws.backends().native.broken


THREADS = """
import threading, torch, warnings
import weightshare as ws
from weightshare.backends.native import library, self_test
calls, found, together = [], [], threading.Barrier(8)
find = library._open
library._open = lambda *arguments: calls.append(1) or find(*arguments)
def work():
    together.wait()
    found.append(library.load())
threads = [threading.Thread(target=work) for _ in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
assert len(calls) <= 1 and len(found) == 8 and all(other is found[0] for other in found), (calls, found)
"""


def test_threads_that_load_at_once():
    """The library is loaded and tested by one of them, and the others wait for it."""
    subprocess.run([sys.executable, "-c", THREADS], check=True, timeout=120)


FORK = """
import os, threading, time, torch
import weightshare as ws
from weightshare.backends.native import library, self_test
find, started = library._open, threading.Event()
def slow(*arguments):
    started.set()
    time.sleep(0.5)
    return find(*arguments)
library._open = slow
thread = threading.Thread(target=library.load)
thread.start()
started.wait(0.2)
child = os.fork()
if child == 0:
    library._open = find
    layer, x = ws.nn.Conv2d(3, 8, 3, sharing=ws.Local(), input_size=6), torch.randn(2, 3, 6, 6)
    os._exit(0 if torch.allclose(layer(x), ws.reference.output(layer, x), atol=1e-4) else 1)
thread.join()
assert os.waitpid(child, 0)[1] == 0
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
def test_a_fork_while_another_thread_loads():
    subprocess.run([sys.executable, "-W", "ignore", "-c", FORK], check=True, timeout=60)


def test_one_warning_for_many_threads(folder):
    (folder / "_native.so").write_bytes(b"")
    together = threading.Barrier(8)

    def load():
        together.wait()
        native.load()

    def load_in_threads():
        threads = [threading.Thread(target=load) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    with pytest.warns(RuntimeWarning, match="cannot be used") as caught:
        load_in_threads()
    assert len(caught) == 1


@pytest.mark.parametrize(("value", "used"), [(None, True), ("", True), ("on", True), ("off", False)])
def test_the_variable(value, used):
    environment = {key: text for key, text in os.environ.items() if key != library.VARIABLE}
    if value is not None:
        environment[library.VARIABLE] = value
    code = "import weightshare as ws; print(ws.backends().native.available)"
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == str(used and bool(BUILT))
