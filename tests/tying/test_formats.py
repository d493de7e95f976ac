"""How many copies of a tied weight other formats hold, as the second table of docs/tying.md says."""

import io
import warnings

import numpy as np
import onnxruntime
import pytest
import torch
from kinds import cells

import weightshare as ws


def large(kind):
    """Of each kind, with weights that outweigh the rest of a file."""
    if kind == "same Parameter":
        model = torch.nn.Sequential(torch.nn.Embedding(1000, 64), torch.nn.Linear(64, 1000, bias=False))
        return ws.tie_weights(model, {"1.weight": "0.weight"}), torch.tensor([[1, 999]])
    if kind == "transposed reference":
        model = torch.nn.Sequential(torch.nn.Linear(400, 160), torch.nn.Linear(160, 400))
        return ws.tie_weights(model, {"1.weight": ws.Tie("0.weight", "t")}), torch.randn(2, 400)
    enc = ws.nn.Conv2d(64, 96, 3)
    return torch.nn.Sequential(enc, ws.nn.TiedConvTranspose2d(enc)), torch.randn(1, 64, 6, 6)


def exported(model, x):
    return copies(torch.export.export(model, (x,)).module(), model)


def saved(model, x):
    file = io.BytesIO()
    torch.export.save(torch.export.export(model, (x,)), file)
    file.seek(0)
    loaded = torch.export.load(file).module()
    if ws.check_tied_weights(loaded).warnings:
        assert [note.code for note in ws.check_tied_weights(loaded).warnings] == ["VIEW_TIE"]
        return "reported: VIEW_TIE"
    return copies(loaded, model)


def copies(module, model):
    have, unique = sum(p.numel() for p in module.parameters()), ws.summary(model).totals.unique
    return "one copy" if have == unique else f"{have / unique:.1f}"


def onnx(dynamo):
    def write(model, x, path):
        torch.onnx.export(model.eval(), (x,), path, dynamo=dynamo, **({"verbose": False} if dynamo else {}))
        session = onnxruntime.InferenceSession(path)
        (got,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
        np.testing.assert_allclose(got, model(x).detach().numpy(), rtol=1e-4, atol=1e-4)
        size = sum(file.stat().st_size for file in path.parent.iterdir())
        return "one copy" if size < 1.1 * ws.summary(model).totals.bytes else "two copies"

    return write


FORMATS = {
    "`torch.export`": exported,
    "`torch.export.save` and `load`": saved,
    "ONNX": onnx(True),
    "ONNX, `dynamo=False`": onnx(False),
}


def test_the_page_has_every_format():
    assert {name for name, _, _ in cells("formats")} == set(FORMATS)


@pytest.mark.parametrize(("name", "kind", "said"), list(cells("formats")))
def test_each_cell(name, kind, said, tmp_path):
    torch.manual_seed(0)
    model, x = large(kind)
    path = () if "export" in name else (tmp_path / "model.onnx",)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert FORMATS[name](model, x, *path) == said
