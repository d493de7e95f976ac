"""Compile the native backend into the package if there is a C compiler; installation succeeds without one.

`CC` names the compiler, and `CC=false` builds without one. The sources need neither torch nor Python headers.
Each instruction set is one object file, and the library selects one when it is loaded.
"""

import os
import platform
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SOURCES = Path("src/weightshare/backends/native")
LIBRARY = "_native.so"
FLAGS = ("-std=gnu11", "-O3", "-ffp-contract=fast", "-fPIC", "-fvisibility=hidden", "-Wno-psabi")
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
    """Adds the compiled library to wheels, also to editable ones, which find it next to the sources."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if self.target_name != "wheel":
            return
        folder = Path(self.root) / SOURCES
        reason = compile_library(folder, folder / LIBRARY)
        if reason is not None:
            self.app.display_warning(f"The native backend was not compiled, so layers are slower: {reason}")
            return
        build_data["artifacts"].append(f"/{(SOURCES / LIBRARY).as_posix()}")
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{sysconfig.get_platform().replace('-', '_').replace('.', '_')}"


def compile_library(folder: Path, library: Path) -> str | None:
    """Compile the sources in a folder; return the reason if there is no library afterwards."""
    compiler = find_compiler()
    library.unlink(missing_ok=True)  # it could be of another version
    if compiler is None:
        return "no C compiler was found (CC, cc, gcc or clang)"
    try:
        with tempfile.TemporaryDirectory() as scratch:
            objects = compile_objects(compiler, folder, Path(scratch))
            made = Path(scratch) / LIBRARY
            run([*compiler, "-shared", *map(str, objects), "-o", str(made)])
            shutil.move(made, library)
    except (OSError, subprocess.SubprocessError) as error:
        output = getattr(error, "stderr", None) or str(error)
        return f"{shlex.join(compiler)} failed: {output.strip()[-2000:]}"
    return None


def find_compiler() -> list[str] | None:
    """Return the command of the C compiler, or None."""
    if os.environ.get("CC"):
        return shlex.split(os.environ["CC"])
    if sys.platform == "win32":  # the library needs a compiler with the vector extensions of GNU C
        names = ("clang", "gcc")
    else:
        names = ("cc", "gcc", "clang")
    return next(([name] for name in names if shutil.which(name)), None)


def compile_objects(compiler: list[str], folder: Path, scratch: Path) -> list[Path]:
    """Compile one object per instruction set that the compiler supports, and the one that selects a set."""
    objects = [scratch / "portable.o"]
    accumulators = 24 if is_arm64() else 12  # half of the registers, or more
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
    return platform.machine().lower() in ("x86_64", "amd64") and sys.maxsize > 2**32


def is_arm64() -> bool:
    return platform.machine().lower() in ("arm64", "aarch64")


def run(command: list[str]) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True, timeout=600)


if __name__ == "__main__":
    sources = Path(__file__).parent / SOURCES
    failure = compile_library(sources, sources / LIBRARY)
    print(failure if failure is not None else sources / LIBRARY)
    raise SystemExit(failure is not None)
