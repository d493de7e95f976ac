"""Compile the native backend into the package if there is a C compiler; installation succeeds without one.

`CC` names the compiler, and `CC=false` builds without one. The sources need neither torch nor Python headers.
Each instruction set is one object file, and the library selects one when it is loaded.

`python hatch_build.py` compiles the library next to the sources.
"""

import os
import platform
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from itertools import pairwise
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SOURCES = Path("src/weightshare/backends/native")
#: Path of the library in a wheel.
TARGET = "weightshare/backends/native/_native.so"
LIBRARY = "_native.so"
FLAGS = ("-std=gnu11", "-O3", "-ffp-contract=fast", "-fvisibility=hidden", "-Wno-psabi")
#: Functions that the library exports.
EXPORTS = tuple(
    f"weightshare_{name}" for name in ("version", "supports", "select", "count_memory", "compute")
)
#: Oldest version of macOS on which the library runs, by machine.
MACOS = {"arm64": "11.0", "x86_64": "10.13"}
#: Compiler flags, bytes per vector and number of accumulators by instruction set, for x86-64.
X86_SETS = {
    "avx2": (("-mavx2", "-mfma", "-mf16c"), 32, 12),
    "avx512": (
        (
            "-mavx512f",
            "-mavx512vl",
            "-mavx512bw",
            "-mavx512dq",
            "-mfma",
            "-mf16c",
            "-mprefer-vector-width=512",
        ),
        64,
        24,
    ),
}


class NativeBuildHook(BuildHookInterface):
    """Hook that adds the compiled library to wheels, or for an editable installation to the sources."""

    _scratch: str | None = None

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if self.target_name != "wheel":
            return
        folder = Path(self.root) / SOURCES
        if version == "editable":
            library = folder / LIBRARY
        else:
            self._scratch = tempfile.mkdtemp()
            library = Path(self._scratch) / LIBRARY
        reason = compile_library(folder, library)
        if reason is not None:
            self.app.display_warning(f"The native backend was not compiled, so layers are slower: {reason}")
            return
        if version != "editable":
            build_data["force_include"][str(library)] = TARGET
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{get_platform_tag()}"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        if self._scratch is not None:
            shutil.rmtree(self._scratch, ignore_errors=True)


def compile_library(folder: Path, library: Path) -> str | None:
    """Compile the sources in a folder. If this fails, return the reason in one line, else None."""
    compiler = find_compiler()
    try:
        library.unlink(missing_ok=True)  # it could be from another version
        if compiler is None:
            return "no C compiler was found (CC, cc, gcc or clang)"
        with tempfile.TemporaryDirectory() as scratch:
            compiler = [*compiler, *get_target_flags(compiler)]
            objects = compile_objects(compiler, folder, Path(scratch))
            made = Path(scratch) / LIBRARY
            run([*compiler, "-shared", *map(str, objects), *get_export_flags(compiler), "-o", str(made)])
            shutil.move(made, library)
    except subprocess.CalledProcessError as error:
        lines = [line.strip() for line in error.stderr.splitlines()]
        first = next((line for line in lines if "error" in line), f"exit status {error.returncode}")
        return f"{shlex.join(find_compiler() or ())} failed: {first[:500]}"
    except (OSError, subprocess.SubprocessError) as error:
        return " ".join(str(error).split())[:500]
    return None


def find_compiler() -> list[str] | None:
    """Return the command of the C compiler, or None."""
    if os.environ.get("CC"):
        return shlex.split(os.environ["CC"], posix=sys.platform != "win32")
    if sys.platform == "win32":  # the library needs a compiler with the vector extensions of GNU C
        names = ("clang", "gcc")
    else:
        names = ("cc", "gcc", "clang")
    return next(([name] for name in names if shutil.which(name)), None)


def get_target_flags(compiler: list[str]) -> list[str]:
    """Return the flags for the machine and the system that the library is compiled for."""
    if sys.platform == "darwin":
        machine = get_machine()
        return ["-fPIC", "-arch", machine, f"-mmacosx-version-min={get_macos_version(machine)}"]
    return [] if sys.platform == "win32" else ["-fPIC"]  # all code on Windows is position-independent


def get_export_flags(compiler: list[str]) -> list[str]:
    """Return the linker flags that export the functions; only Microsoft's linker needs any."""
    if sys.platform != "win32" or "msvc" not in run([*compiler, "-dumpmachine"]):
        return []
    return [f"-Wl,/export:{name}" for name in EXPORTS]


def get_machine() -> str:
    """Return the processor that the library is compiled for. On macOS, `ARCHFLAGS` can choose it."""
    named = os.environ.get("ARCHFLAGS", "").split() if sys.platform == "darwin" else []
    chosen = [name for flag, name in pairwise(named) if flag == "-arch"]
    return chosen[0] if len(chosen) == 1 else platform.machine().lower()


def get_macos_version(machine: str) -> str:
    """Return the oldest supported version of macOS."""
    return os.environ.get("MACOSX_DEPLOYMENT_TARGET") or MACOS.get(machine, "11.0")


def get_platform_tag() -> str:
    """Return the platform tag of a wheel with the library.

    On macOS, Python may be built for two processors or for an older system, but the library is for one
    processor.
    """
    if sys.platform == "darwin":
        name = f"macosx-{get_macos_version(get_machine())}-{get_machine()}"
    else:
        name = sysconfig.get_platform()
    return name.replace("-", "_").replace(".", "_")


def compile_objects(compiler: list[str], folder: Path, scratch: Path) -> list[Path]:
    """Compile one object per instruction set that the compiler supports, and the one that selects a set."""
    objects = [scratch / "portable.o"]
    accumulators = 24 if get_machine() in ("arm64", "aarch64") else 12  # half of the registers, or more
    wide = ("-DVECTOR_BYTES=16", f"-DACCUMULATORS={accumulators}")
    run([*compiler, *FLAGS, "-DISA=portable", *wide, "-c", str(folder / "maps.c"), "-o", str(objects[0])])
    defined = []
    for name, (flags, size, accumulators) in (X86_SETS if is_x86_64() else {}).items():
        target = scratch / f"{name}.o"
        macros = (f"-DISA={name}", f"-DVECTOR_BYTES={size}", f"-DACCUMULATORS={accumulators}")
        try:
            run([*compiler, *FLAGS, *flags, *macros, "-c", str(folder / "maps.c"), "-o", str(target)])
        except subprocess.CalledProcessError:
            continue  # an older compiler
        objects.append(target)
        defined.append(f"-DHAS_{name.upper()}")
    objects.append(scratch / "dispatch.o")
    run([*compiler, *FLAGS, *defined, "-c", str(folder / "dispatch.c"), "-o", str(objects[-1])])
    return objects


def is_x86_64() -> bool:
    return get_machine() in ("x86_64", "amd64") and sys.maxsize > 2**32


def run(command: list[str]) -> str:
    """Run a command; return what it prints."""
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=600).stdout


if __name__ == "__main__":
    sources = Path(__file__).parent / SOURCES
    failure = compile_library(sources, sources / LIBRARY)
    print(failure if failure is not None else sources / LIBRARY)
    raise SystemExit(failure is not None)
