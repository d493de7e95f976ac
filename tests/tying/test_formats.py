"""Copies of a tied weight in other file formats: each cell of the second table of docs/tying.md."""

import io
import warnings
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from safetensors.torch import save_file

import weightshare as ws
from tests.helpers.ties import cells
from weightshare.errors import DataError


def make_large(kind):
    """Return a model and an input; the weights are larger than the rest of any file."""
    if kind == "same Parameter":
        model = torch.nn.Sequential(torch.nn.Embedding(1000, 64), torch.nn.Linear(64, 1000, bias=False))
        return ws.tie_weights(model, {"1.weight": "0.weight"}), torch.tensor([[1, 999]])
    if kind == "`TiedLinear`":
        enc = torch.nn.Linear(400, 160)
        return torch.nn.Sequential(enc, ws.nn.TiedLinear(enc)), torch.randn(2, 400)
    if kind == "transposed reference":
        model = torch.nn.Sequential(torch.nn.Linear(400, 160), torch.nn.Linear(160, 400))
        return ws.tie_weights(model, {"1.weight": ws.Tie("0.weight", "t")}), torch.randn(2, 400)
    if kind == "flipped reference":
        model = torch.nn.Sequential(*(torch.nn.Conv2d(96, 96, 3, padding=1) for _ in range(2)))
        return ws.tie_weights(model, {"1.weight": ws.Tie("0.weight", "flip")}), torch.randn(1, 96, 6, 6)
    enc = ws.nn.Conv2d(64, 96, 3)
    return torch.nn.Sequential(enc, ws.nn.TiedConvTranspose2d(enc)), torch.randn(1, 64, 6, 6)


def export(model, x):
    return count_copies(torch.export.export(model, (x,)).module(), model)


def export_save_load(model, x):
    file = io.BytesIO()
    torch.export.save(torch.export.export(model, (x,)), file)
    file.seek(0)
    loaded = torch.export.load(file).module()
    expected, found = (
        get_codes(model, "export"),
        [note.code for note in ws.check_tied_weights(loaded).warnings],
    )
    assert expected == found
    if found:
        assert count_copies(loaded, model) != "one copy"
        ws.tie_weights(loaded, {"1.weight": "0.weight"})
        torch.testing.assert_close(loaded(x), model(x))
    assert count_copies(loaded, model) == "one copy"
    return f"reported: {found[0]}" if found else "one copy"


def get_codes(model, saving):
    return [note.code for note in ws.check_tied_weights(model, saving=saving).warnings]


def save_safetensors(model, x, path):
    found = get_codes(model, "safetensors")
    try:
        save_file(model.state_dict(), path)
    except RuntimeError:
        return f"refused: {found[0]}"
    assert not found
    return "one copy" if path.stat().st_size < 1.1 * ws.summary(model).totals.bytes else "two copies"


def count_copies(module, model):
    have, unique = sum(p.numel() for p in module.parameters()), ws.summary(model).totals.unique
    return "one copy" if have == unique else f"{have / unique:.1f}"


def make_onnx_exporter(dynamo):
    def write(model, x, path):
        torch.onnx.export(model.eval(), (x,), path, dynamo=dynamo, **({"verbose": False} if dynamo else {}))
        session = onnxruntime.InferenceSession(path)
        (got,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
        np.testing.assert_allclose(got, model(x).detach().numpy(), rtol=1e-4, atol=1e-4)
        size = sum(file.stat().st_size for file in path.parent.iterdir())
        found = [] if dynamo else get_codes(model, "onnx")
        assert bool(found) == (size > 1.1 * ws.summary(model).totals.bytes)
        return f"two copies: {found[0]}" if found else "one copy"

    return write


FORMATS = {
    "`torch.export`": export,
    "`torch.export.save` and `load`": export_save_load,
    "ONNX": make_onnx_exporter(True),
    "ONNX, `dynamo=False`": make_onnx_exporter(False),
    "`safetensors.torch.save_file` of the state dict": save_safetensors,
}


def test_the_page_has_every_format():
    assert {name for name, _, _ in cells("formats")} == set(FORMATS)


@pytest.mark.parametrize(("name", "kind", "expected"), list(cells("formats")))
def test_each_cell(name, kind, expected, tmp_path):
    torch.manual_seed(0)
    model, x = make_large(kind)
    path = () if "export" in name else (tmp_path / "model.onnx",)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert FORMATS[name](model, x, *path) == expected


def test_save_safetensors_replaces_files_only(tmp_path):
    model, target, link = torch.nn.Linear(2, 2), tmp_path / "folder" / "weights", tmp_path / "link"
    target.parent.mkdir()
    target.touch(mode=0o644)
    link.symlink_to(target)
    ws.save_safetensors(model, link)
    assert link.is_symlink()
    ws.load_safetensors(model, target)
    (tmp_path / "new").touch()
    assert target.stat().st_mode == (tmp_path / "new").stat().st_mode
    for path in (tmp_path, "/dev/null", tmp_path / "absent" / "weights"):
        with pytest.raises(DataError, match="must be a writable file"):
            ws.save_safetensors(model, path)
    assert not Path("/dev/null").is_file()
