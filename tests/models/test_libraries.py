"""Models of stand-ins for timm and torchvision: broken installs, and builders that would load weights."""

import os
import subprocess
import sys
import textwrap

import pytest

from weightshare.errors import MissingExtraError, SpecError
from weightshare.models import find_model

LIBRARIES = pytest.mark.parametrize("library", ["timm", "torchvision"])
BROKEN = {
    "RuntimeError": "raise RuntimeError('operator torchvision::nms does not exist')",
    "ImportError": "raise ImportError('undefined symbol: _ZN3c10')",
    "OSError": "raise OSError('libcudart.so.12: cannot open shared object file')",
    "AttributeError": "import torch; torch.no_such_part",
    "SystemExit": "raise SystemExit(3)",
    "ModuleNotFoundError": "import no_such_package",
    "SyntaxError": "def f(:",
}
MODELS = """
import torch


def list_models():
    return ["detector", "classifier", "text"]


def _check(**given):
    assert not any(given.values()), f"would download {given}"


def detector(*, weights=None, progress=True, weights_backbone="DEFAULT", num_classes=None, **kwargs):
    _check(weights=weights, weights_backbone=weights_backbone)
    return torch.nn.Linear(3, 4)


def classifier(*, weights=None, progress=True, **kwargs):
    _check(weights=weights)
    assert not kwargs
    return torch.nn.Linear(3, 5)


def text(*, weights_encoder="DEFAULT"):
    _check(weights_encoder=weights_encoder)
    return torch.nn.Linear(3, 6)


def get_model_builder(name):
    return globals()[name]


def get_model(name, **config):
    return get_model_builder(name)(**config)
"""


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Return a function that writes a package, in place of the installed one, if any."""
    monkeypatch.syspath_prepend(tmp_path)
    for name in [*sys.modules]:
        if name.partition(".")[0] in ("timm", "torchvision"):
            monkeypatch.delitem(sys.modules, name)

    def write(name, text, models=""):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "__init__.py").write_text(text)
        (folder / "models.py").write_text(models)
        return tmp_path

    yield write
    for name in [*sys.modules]:
        if name.partition(".")[0] in ("timm", "torchvision"):
            del sys.modules[name]


@LIBRARIES
@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_install(library, kind, install):
    install(library, BROKEN[kind])
    with pytest.raises(SpecError) as caught:
        find_model(f"{library}:resnet18")
    assert str(caught.value).startswith(
        f"{library}:resnet18: needs {library}, which must be importable, got "
    )
    assert kind in str(caught.value) or "libcudart" in str(caught.value)
    assert f"install the release of {library} that was made for torch" in caught.value.hint


@LIBRARIES
def test_the_command_line_prints_no_traceback(library, install):
    folder = install(library, BROKEN["RuntimeError"])
    for command in ("summary", "ties"):
        done = subprocess.run(
            [sys.executable, "-m", "weightshare.cli", command, f"{library}:resnet18"],
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), *sys.path])},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 2
        assert done.stderr.startswith(f"weightshare: {library}:resnet18: needs {library}")
        assert "Traceback" not in done.stderr


@LIBRARIES
def test_a_library_that_is_not_installed(library, monkeypatch):
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(MissingExtraError, match=f"needs the package {library}"):
        find_model(f"{library}:resnet18")


@pytest.mark.parametrize(("name", "outputs"), [("detector", 4), ("classifier", 5), ("text", 6)])
def test_no_weights_are_loaded(name, outputs, install):
    install("torchvision", "", textwrap.dedent(MODELS))
    model = find_model(f"torchvision:{name}", device="meta")
    assert (model.out_features, model.weight.is_meta) == (outputs, True)


def test_an_unknown_name(install):
    install("torchvision", "", MODELS)
    with pytest.raises(SpecError, match="did you mean 'detector'"):
        find_model("torchvision:detecto")
