"""Checkpoints load in two safe formats; all other files are refused and leave the model unchanged."""

import pickle

import pytest
import torch
from safetensors.torch import save_file, save_model

import weightshare as ws
from weightshare.errors import DataError
from weightshare.models.weights import load_weights


def model():
    return torch.nn.Sequential(torch.nn.Linear(3, 2))


class Opens:
    def __reduce__(self):
        return open, ("there", "w")


@pytest.mark.parametrize("suffix", [".safetensors", ".pt", ""])
@pytest.mark.parametrize("form", ["safetensors", "torch"])
def test_both_formats_load_under_any_file_name(tmp_path, suffix, form):
    source, target, path = model(), model(), tmp_path / f"weights{suffix}"
    (save_file if form == "safetensors" else torch.save)(source.state_dict(), path)
    load_weights(target, path)
    assert torch.equal(target[0].weight, source[0].weight)


def damaged(tmp_path):
    path = tmp_path / "half.safetensors"
    save_file(model().state_dict(), path)
    path.write_bytes(path.read_bytes()[:-4])
    return path


def written(name, content):
    def write(tmp_path):
        path = tmp_path / name
        content(path)
        return path

    return write


CASES = {
    "absent": (lambda tmp_path: tmp_path / "absent.pt", "must be a readable file"),
    "half": (damaged, "must be a readable safetensors file, got .*not fully covered"),
    "pickle": (
        written("code.pt", lambda p: torch.save({"0.weight": Opens()}, p)),
        r"save it with safetensors\.torch\.save_model",
    ),
    "plain pickle": (
        written("code.pkl", lambda p: p.write_bytes(pickle.dumps(Opens()))),
        "must be a safetensors file, or a state dict",
    ),
    "text": (
        written("a.safetensors", lambda p: p.write_text("hello")),
        "must be a safetensors file, or a state dict",
    ),
    "empty": (written("a.pt", lambda p: p.write_bytes(b"")), "must be a safetensors file, or a state dict"),
    "a tensor": (
        written("a.pt", lambda p: torch.save(torch.zeros(3), p)),
        "must be a state dict \\(a mapping",
    ),
    "other names": (
        written("a.pt", lambda p: torch.save({"0.weight": torch.zeros(2, 3), "b": torch.zeros(2)}, p)),
        r"Missing key\(s\) in state_dict: \"0.bias\"; Unexpected key\(s\) in state_dict: \"b\"",
    ),
    "other shapes": (
        written("a.pt", lambda p: torch.save({"0.weight": torch.zeros(3, 2), "0.bias": torch.zeros(2)}, p)),
        r"size mismatch for 0.weight: .*\[3, 2\].*\[2, 3\]",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_refused(tmp_path, name, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make, message = CASES[name]
    target = model()
    before = target[0].weight.clone()
    with pytest.raises(DataError, match=message):
        load_weights(target, make(tmp_path))
    assert torch.equal(target[0].weight, before)
    assert not (tmp_path / "there").exists()


def test_a_checkpoint_that_fits_only_partly_changes_nothing(tmp_path):
    """The second layer has another sharing with the same shapes, after a batch norm that would fit."""

    def net(sharing):
        layer = ws.nn.Conv2d(2, 3, 3, sharing=sharing, input_size=6)
        return torch.nn.Sequential(torch.nn.BatchNorm2d(2), layer)

    source, target = net(ws.Regional(2)), net(ws.Tiled(2))
    torch.nn.init.constant_(source[0].weight, 7.0)
    torch.save(source.state_dict(), tmp_path / "weights.pt")
    with pytest.raises(DataError, match=r"must fit the model, got .*Regional\(\(2, 2\)\)"):
        load_weights(target, tmp_path / "weights.pt")
    assert bool((target[0].weight == 1).all())


def test_tied_models_and_plain_convolutions(tmp_path):
    def tied():
        model = torch.nn.Sequential(torch.nn.Embedding(5, 3), torch.nn.Linear(3, 5, bias=False))
        model[1].weight = model[0].weight
        return model

    source, target, path = tied(), tied(), tmp_path / "tied.safetensors"
    save_model(source, path)
    load_weights(target, path)
    assert torch.equal(target[1].weight, source[0].weight)
    plain = torch.nn.Sequential(torch.nn.Conv2d(2, 3, 3))
    torch.save(plain.state_dict(), tmp_path / "plain.pt")
    ours = torch.nn.Sequential(ws.nn.Conv2d(2, 3, 3, sharing=ws.Local(), input_size=6))
    load_weights(ours, tmp_path / "plain.pt")
    x = torch.randn(1, 2, 6, 6)
    torch.testing.assert_close(ours(x), plain(x))


def test_weights_are_not_loaded_on_the_meta_device(tmp_path):
    path = tmp_path / "a.pt"
    torch.save(model().state_dict(), path)
    with pytest.raises(DataError, match="needs a model with allocated memory, got one on the meta device"):
        load_weights(model().to("meta"), path)
