"""Load the compiled library, select an instruction set, and test it once."""

import ctypes
import os
import struct
import threading
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from .self_test import find_error

#: Environment variable that turns the backend off, or forces an instruction set.
VARIABLE = "WEIGHTSHARE_NATIVE"
#: Instruction sets from the fastest to the slowest.
INSTRUCTION_SETS = ("avx512", "avx2", "portable")
#: Version of the interface, which the library must have, too.
VERSION = 2
FOLDER = Path(__file__).parent


class Layer(ctypes.Structure):
    """The C structure `Layer` of layer.h."""

    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("first", "second", "result", "memory")),
        *((name, ctypes.c_void_p) for name in ("labels", "order", "starts")),
        *((name, ctypes.c_int64) for name in ("batch", "channels", "outputs", "groups", "banks")),
        *(
            (name, ctypes.c_int64 * 3)
            for name in ("input_size", "output_size", "kernel_size", "stride", "dilation", "padding")
        ),
        *((name, ctypes.c_int64) for name in ("type", "first_last", "second_last", "result_last", "threads")),
    )


@dataclass(frozen=True)
class Status:
    """Status of a backend.

    Args:
        instruction_set: Instruction set in use; None if the backend is not available, or has none of its own.
        reason: Reason why the backend is not available; None if it is.
        runnable: Instruction sets in the library that the processor can run, the fastest first.
        broken: Whether there is a library that cannot be used.
    """

    instruction_set: str | None
    reason: str | None
    runnable: tuple[str, ...] = ()
    broken: bool = False

    @property
    def available(self) -> bool:
        """Whether layers can use the backend."""
        return self.reason is None


@dataclass(frozen=True, eq=False)
class Library:
    """A loaded library that passed the self-test."""

    functions: Any
    parallel_for: Any
    status: Status


def load() -> Library | None:
    """Return the library, or None if the native backend is not available."""
    found = _find()
    return found if isinstance(found, Library) else None


def get_status() -> Status:
    """Return whether the native backend is available, and why if it is not."""
    found = _find()
    return found.status if isinstance(found, Library) else found


@contextmanager
def force(instruction_set: str) -> Generator[None]:
    """Use an instruction set, "on" (the fastest one) or "off" inside the `with` block, in all threads."""
    before = os.environ.get(VARIABLE)
    os.environ[VARIABLE] = instruction_set
    _find.cache_clear()
    try:
        yield
    finally:
        if before is None:
            del os.environ[VARIABLE]
        else:
            os.environ[VARIABLE] = before
        _find.cache_clear()
        load()  # the selection is a state of the C library


def _search() -> Library | Status:
    """Load and test the library."""
    wanted = os.environ.get(VARIABLE, "").strip() or "on"
    if wanted == "off":
        return Status(None, f"turned off by {VARIABLE}=off")
    paths = sorted(FOLDER.glob("_native*.so")) + sorted(FOLDER.glob("_native*.dll"))
    if not paths:
        return Status(None, "the package was installed without a C compiler")
    try:
        return _open(paths[0], wanted)
    except Exception as error:  # whatever is wrong with the library, the portable backend works
        text = " ".join(str(error).split()) or type(error).__name__
        return Status(None, f"{paths[0].name} cannot be used: {text}", broken=True)


class _Search:
    """The search for the library. The first call runs it, in one thread; all others use its result.

    The first call warns if there is a library that cannot be used.
    """

    def __init__(self) -> None:
        self._found: Library | Status | None = None
        self._lock = threading.Lock()
        if hasattr(os, "register_at_fork"):  # no child process inherits an unfinished search
            release = self._lock.release
            os.register_at_fork(before=self._lock.acquire, after_in_parent=release, after_in_child=release)

    def __call__(self) -> Library | Status:
        found = self._found
        return self._run() if found is None else found

    def cache_clear(self) -> None:
        self._found = None

    def _run(self) -> Library | Status:
        with self._lock:
            if self._found is not None:
                return self._found
            self._found = found = _search()
        if isinstance(found, Status) and found.broken:
            warnings.warn(
                f"weightshare: {found.reason}. The slower portable backend computes unshared layers instead; "
                f"reinstall the package, or set {VARIABLE}=off to use the portable backend without this "
                "warning.",
                RuntimeWarning,
                stacklevel=4,
            )
        return found


_find = _Search()


class _UnusableError(Exception):
    """A library that can be opened but not used."""


def _open(path: Path, wanted: str) -> Library:
    _check_length(path)
    functions = ctypes.CDLL(str(path))
    pointer, number = ctypes.c_void_p, ctypes.c_int32
    functions.weightshare_version.argtypes = ()
    if functions.weightshare_version() != VERSION:
        raise _UnusableError("it was built for another version of the package")
    functions.weightshare_supports.argtypes = functions.weightshare_select.argtypes = (ctypes.c_char_p,)
    functions.weightshare_count_memory.argtypes = (number, ctypes.POINTER(Layer))
    functions.weightshare_count_memory.restype = ctypes.c_int64
    functions.weightshare_compute.argtypes = (number, ctypes.POINTER(Layer), *(pointer,) * 5)
    runnable = tuple(name for name in INSTRUCTION_SETS if functions.weightshare_supports(name.encode()))
    if wanted not in ("on", *INSTRUCTION_SETS):
        choices = ", ".join(("on", *INSTRUCTION_SETS, "off"))
        raise _UnusableError(f"{VARIABLE} must be one of {choices}, got {wanted!r}")
    if wanted not in ("on", *runnable):
        raise _UnusableError(f"{VARIABLE}={wanted}, but this processor can only run {', '.join(runnable)}")
    if not runnable:
        raise _UnusableError("it has no instruction set that this processor can run")
    name = runnable[0] if wanted == "on" else wanted
    if not functions.weightshare_select(name.encode()):
        raise _UnusableError(f"it does not support {name}")
    error = find_error(functions, Layer)
    if error is not None:
        raise _UnusableError(error)
    return Library(functions, _find_parallel_for(), Status(name, None, runnable))


def _check_length(path: Path) -> None:
    """Raise `_UnusableError` if a file in the ELF format was cut off. Loading it could crash the process.

    The loaders of other systems check this, and refuse files in other formats.
    """
    content = path.read_bytes()
    if content[:6] not in (b"\x7fELF\x02\x01", b"\x7fELF\x02\x02"):
        return
    order = "<" if content[5] == 1 else ">"
    try:
        segments, sections = struct.unpack_from(f"{order}2Q", content, 32)
        segment_size, segment_count, section_size, section_count = struct.unpack_from(
            f"{order}4H", content, 54
        )
        end = sections + section_size * section_count
        for start in range(segments, segments + segment_size * segment_count, segment_size or 1):
            offset, length = struct.unpack_from(f"{order}8xQ16xQ", content, start)
            end = max(end, offset + length)
    except struct.error:
        end = len(content) + 1
    if end > len(content):
        raise _UnusableError(f"the file was cut off after {len(content):,} bytes")


def _find_parallel_for() -> Any:
    """Return the address of the function of torch that runs tasks in its threads; None if there is none."""
    for name in ("libtorch_cpu.so", "libtorch_cpu.dylib"):
        path = Path(torch.__file__).parent / "lib" / name
        if path.exists():
            try:
                return ctypes.cast(ctypes.CDLL(str(path)).torch_parallel_for, ctypes.c_void_p)
            except (OSError, AttributeError):
                return None
    return None
