"""The build hook chooses compilers, flags and tags that fit the system."""

import importlib.util
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from weightshare.backends.native import library

ROOT = Path(__file__).parents[2]


@pytest.fixture
def hook(monkeypatch):
    spec = importlib.util.spec_from_file_location("hatch_build", ROOT / "hatch_build.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for name in ("CC", "ARCHFLAGS", "MACOSX_DEPLOYMENT_TARGET"):
        monkeypatch.delenv(name, raising=False)
    return module


def pretend(monkeypatch, hook, system, machine, platform_name):
    """Let the hook see another system."""
    monkeypatch.setattr(hook, "sys", SimpleNamespace(platform=system, maxsize=sys.maxsize))
    monkeypatch.setattr(hook, "platform", SimpleNamespace(machine=lambda: machine))
    monkeypatch.setattr(hook, "sysconfig", SimpleNamespace(get_platform=lambda: platform_name))


@pytest.mark.parametrize(
    ("system", "machine", "name", "archflags", "tag", "flags", "is_x86"),
    [
        ("linux", "x86_64", "linux-x86_64", "", "linux_x86_64", ["-fPIC"], True),
        ("linux", "aarch64", "linux-aarch64", "", "linux_aarch64", ["-fPIC"], False),
        ("win32", "AMD64", "win-amd64", "", "win_amd64", [], True),
        ("win32", "ARM64", "win-arm64", "", "win_arm64", [], False),
        (
            "darwin",
            "arm64",
            "macosx-10.9-universal2",
            "",
            "macosx_11_0_arm64",
            ["-fPIC", "-arch", "arm64", "-mmacosx-version-min=11.0"],
            False,
        ),
        (
            "darwin",
            "arm64",
            "macosx-10.9-universal2",
            "-arch x86_64",
            "macosx_10_13_x86_64",
            ["-fPIC", "-arch", "x86_64", "-mmacosx-version-min=10.13"],
            True,
        ),
        (
            "darwin",
            "arm64",
            "macosx-10.9-universal2",
            "-arch arm64 -arch x86_64",
            "macosx_11_0_arm64",
            ["-fPIC", "-arch", "arm64", "-mmacosx-version-min=11.0"],
            False,
        ),
    ],
)
def test_flags_and_tags(monkeypatch, hook, system, machine, name, archflags, tag, flags, is_x86):
    pretend(monkeypatch, hook, system, machine, name)
    monkeypatch.setenv("ARCHFLAGS", archflags)
    assert hook.get_platform_tag() == tag
    assert hook.get_target_flags(["cc"]) == flags
    assert hook.is_x86_64() == is_x86


def test_microsofts_linker_is_told_what_to_export(monkeypatch, hook):
    assert hook.get_export_flags(["cc"]) == []
    pretend(monkeypatch, hook, "win32", "AMD64", "win-amd64")
    for target, expected in (("x86_64-pc-windows-msvc", True), ("x86_64-w64-windows-gnu", False)):
        monkeypatch.setattr(hook, "run", lambda command, target=target: f"{target}\n")
        flags = hook.get_export_flags(["clang"])
        assert flags == [f"-Wl,/export:{name}" for name in hook.EXPORTS if expected]


def test_the_exported_functions_are_those_of_the_sources(hook):
    text = (ROOT / hook.SOURCES / "dispatch.c").read_text()
    exported = [line.split("(")[0].split()[-1] for line in text.splitlines() if line.startswith("API ")]
    assert tuple(exported) == hook.EXPORTS
    assert f"weightshare_version(void) {{ return {library.VERSION}; }}" in text


def test_the_compiler_is_named_by_cc(monkeypatch, hook):
    monkeypatch.setenv("CC", "ccache gcc")
    assert hook.find_compiler() == ["ccache", "gcc"]
    monkeypatch.delenv("CC")
    found = {"gcc", "clang"}
    monkeypatch.setattr(hook, "shutil", SimpleNamespace(which=lambda name: name in found))
    assert hook.find_compiler() == ["gcc"]
    pretend(monkeypatch, hook, "win32", "AMD64", "win-amd64")
    assert hook.find_compiler() == ["clang"]
    found.clear()
    assert hook.find_compiler() is None
    assert hook.compile_library(Path("."), Path("missing.so")) == (
        "no C compiler was found (CC, cc, gcc or clang)"
    )


@pytest.mark.parametrize("compiler", ["false", "no-such-compiler"])
def test_a_failing_compiler_removes_a_library_of_another_version(monkeypatch, hook, compiler, tmp_path):
    stale = tmp_path / "_native.so"
    stale.write_bytes(b"of another version")
    monkeypatch.setenv("CC", compiler)
    reason = hook.compile_library(ROOT / hook.SOURCES, stale)
    assert compiler in reason
    assert "\n" not in reason
    assert not stale.exists()


def test_the_message_of_a_compiler_is_one_line(monkeypatch, hook, tmp_path):
    (tmp_path / "maps.c").write_text("#error first\n#error second\n")
    monkeypatch.setenv("CC", "cc")
    if hook.shutil.which("cc") is None:
        pytest.skip("there is no C compiler")
    reason = hook.compile_library(tmp_path, tmp_path / "_native.so")
    assert reason.startswith("cc failed: ")
    assert "#error first" in reason
    assert "\n" not in reason
