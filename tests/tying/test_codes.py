"""Every code of `check_tied_weights` is reported for a model that causes it, and is in docs/tying.md."""

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn.utils import parametrizations, parametrize, prune

import weightshare as ws
from tests.helpers.faulty_ties import CASES, TWO, Ignoring, autoencoder, make_lazy
from tests.helpers.ties import KINDS, same, table_of
from weightshare.errors import ArgumentError
from weightshare.tying.report import CODES


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::UserWarning")
@pytest.mark.parametrize("code", CASES)
def test_each_code(code):
    make, arguments, names = CASES[code]
    model = make()
    report = ws.check_tied_weights(model, **(arguments(model) if callable(arguments) else arguments))
    found = {note.code: note for note in (*report.broken, *report.warnings)}
    assert found[code].names == names
    assert found[code].text == f"{' and '.join(names)}: {'; '.join(CODES[code])}"
    assert found[code].text in str(report)
    allowed = {"LAZY": "REPLACED_END", "CONFIG_UNTIED": "UNDECLARED_TIE"}
    assert found.keys() <= {code, allowed.get(code, code)}


def test_every_code_has_a_case():
    in_processes = {"SPLIT_FSDP_GROUP"}
    assert CODES.keys() - in_processes == CASES.keys()


def test_the_page_lists_every_code():
    _, *rows = table_of("codes")
    assert {code: (meaning, fix) for code, meaning, fix in rows} == CODES


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("saving", ["export", "onnx", "safetensors"])
def test_references_are_saved_once(kind, saving):
    report = ws.check_tied_weights(KINDS[kind](), saving=saving)
    assert bool(report.warnings) == (kind == "same Parameter")
    assert report.ok


def test_the_old_onnx_exporter_writes_a_module_with_two_names_once():
    layer = nn.Linear(3, 3, bias=False)
    model = nn.Sequential(layer, layer)
    codes = {
        saving: [note.code for note in ws.check_tied_weights(model, saving=saving).warnings]
        for saving in ("export", "onnx", "safetensors")
    }
    assert codes == {"export": ["EXPORT_LOAD_UNTIES"], "onnx": [], "safetensors": ["SAFETENSORS_REFUSES"]}


def make_with_buffers(change):
    model = nn.Sequential(nn.BatchNorm1d(3), nn.BatchNorm1d(3))
    change(*model)
    return model


def share_buffer(first, second):
    second.running_mean = first.running_mean


def overlap(first, second):
    memory = torch.zeros(5)
    first.running_mean, second.running_mean = memory[:3], memory[2:]


def split_memory(first, second):
    memory = torch.zeros(6)
    first.running_mean, second.running_mean = memory[:3], memory[3:]


def share_with_parameter(first, second):
    second.running_mean = first.weight.data


def share_unsaved_buffer(first, second):
    memory = torch.zeros(3)
    first.register_buffer("scratch", memory, persistent=False)
    second.register_buffer("scratch", memory, persistent=False)


@pytest.mark.parametrize(
    ("change", "names"),
    [
        (share_buffer, ("0.running_mean", "1.running_mean")),
        (overlap, ("0.running_mean", "1.running_mean")),
        (share_with_parameter, ("0.weight", "1.running_mean")),
        (split_memory, None),
        (share_unsaved_buffer, None),
    ],
)
def test_shared_buffers_are_reported_if_safetensors_refuses_them(change, names, tmp_path):
    model = make_with_buffers(change)
    report = ws.check_tied_weights(model, saving="safetensors")
    expected = [] if names is None else [("SAFETENSORS_REFUSES", names)]
    assert [(note.code, note.names) for note in report.warnings] == expected
    if names is None:
        save_file(model.state_dict(), tmp_path / "model.safetensors")
        return
    with pytest.raises(RuntimeError, match="Some tensors share memory"):
        save_file(model.state_dict(), tmp_path / "model.safetensors")


def test_unknown_formats():
    with pytest.raises(
        ArgumentError, match="saving must be one of None, 'export', 'onnx', 'safetensors', got 'gguf'"
    ):
        ws.check_tied_weights(same(), saving="gguf")


def test_frozen_parameters_and_those_without_a_backward_pass_are_not_dead():
    model = autoencoder()
    parametrize.register_parametrization(model.dec, "weight", Ignoring(model.enc))
    model.dec.bias = nn.Parameter(torch.zeros(6))
    assert ws.check_tied_weights(model).warnings == ()
    model.dec.parametrizations.weight.requires_grad_(False)
    model(torch.ones(1, 6)).sum().backward()
    assert ws.check_tied_weights(model).warnings == ()


def train_discriminator(model):
    """Leave the gradients of a step that trains only the discriminator."""
    model(torch.ones(1, 6)).sum().backward()
    model.enc.zero_grad()


def use_one_head(model):
    model.enc(torch.ones(1, 6)).sum().backward()


def unfreeze(model):
    model.dec.requires_grad_(False)
    model(torch.ones(1, 6)).sum().backward()
    model.dec.requires_grad_()


@pytest.mark.parametrize("change", [train_discriminator, use_one_head, unfreeze])
def test_parameters_without_a_gradient_are_not_reported_as_dead(change):
    model = autoencoder()
    parametrizations.spectral_norm(model.enc)
    change(model)
    assert any(p.grad is None for p in model.parameters())
    assert ws.check_tied_weights(model).warnings == ()


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize(
    "norm", [parametrizations.spectral_norm, parametrizations.orthogonal, nn.utils.spectral_norm]
)
@pytest.mark.parametrize("end", ["enc", "dec"])
def test_a_norm_of_only_one_end(norm, end):
    model = same()
    norm(getattr(model, end))
    model(torch.tensor([0]))
    assert not torch.equal(model.enc.weight, model.dec.weight)
    report = ws.check_tied_weights(model)
    assert [(note.code, note.names) for note in report.broken] == [("NORM_ON_TIED", TWO)]
    assert ws.summary(model).groups[0].owner.startswith("enc.")


class Packed(nn.Module):
    """A quantized layer as in GPTQ and AWQ."""

    def __init__(self):
        super().__init__()
        self.register_buffer("qweight", torch.zeros(7, 1, dtype=torch.int32))


class Integers(nn.Module):
    """A quantized layer as in bitsandbytes."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(7, 4, dtype=torch.int8), requires_grad=False)


@pytest.mark.parametrize("kind", [Packed, Integers])
@pytest.mark.parametrize("end", ["enc", "dec"])
def test_quantized_ends(kind, end):
    model = same()
    setattr(model, end, kind())
    report = ws.retie_weights(model, keep="source")
    assert [(note.code, note.names) for note in report.broken] == [("QUANT_UNTIED", TWO)]
    assert str(ws.check_tied_weights(ws.untie_weights(model, "dec.weight"))) == "0 ties"


def test_ends_with_equal_norms_or_masks_are_tied():
    model = same()
    for layer in model:
        parametrizations.orthogonal(layer)
    assert ws.check_tied_weights(model).ok
    model = same()
    for layer in model:
        prune.l1_unstructured(layer, "weight", 0.5)
    assert torch.equal(model.enc.weight, model.dec.weight)
    assert ws.check_tied_weights(model).ok
    prune.l1_unstructured(model.dec, "weight", 0.5)
    assert [note.code for note in ws.check_tied_weights(model).broken] == ["PRUNE_ON_TIED"]


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize(
    ("change", "name"),
    [
        (parametrizations.spectral_norm, "parametrizations.weight.original"),
        (nn.utils.spectral_norm, "weight_orig"),
        (lambda layer: prune.l1_unstructured(layer, "weight", 0.5), "weight_orig"),
    ],
)
def test_the_source_owns_its_weight_even_if_the_alias_changes(change, name):
    model = nn.Sequential(nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False))
    ws.tie_weights(model, {"0.weight": "1.weight"})
    change(model[0])
    (group,) = ws.find_tied_weights(model)
    assert (group.source, group.alias) == ("1.weight", f"0.{name}")
    assert [row.own_unique for row in ws.summary(model).rows] == [0, 16]


def test_a_declared_tie_is_known_under_each_name_of_its_module():
    model = nn.ModuleDict({"x": nn.Linear(4, 4, bias=False), "z": nn.Linear(4, 4, bias=False)})
    model["y"] = model["x"]
    ws.tie_weights(model, {"y.weight": "z.weight"})
    assert ws.check_tied_weights(model).warnings == ()
    for layer in model.values():
        layer.register_parameter("w_orig", nn.Parameter(torch.ones(2)))
    ws.tie_weights(model, {"x.w_orig": "z.w_orig"})  # a name like those of pruning
    assert ws.check_tied_weights(model).warnings == ()
    model = nn.ModuleDict({"x": model["x"], "w": nn.Linear(4, 4), "y": model["x"]})
    model["w"].weight = model["y"].weight
    assert [note.code for note in ws.check_tied_weights(model).warnings] == ["UNDECLARED_TIE"]


def test_a_reference_of_a_module_under_two_names_is_reported_once():
    model = nn.ModuleDict({"x": nn.Linear(4, 4), "z": nn.Linear(4, 4)})
    model["y"] = model["x"]
    ws.tie_weights(model, {"y.weight": ws.Tie("z.weight", "t")})
    assert [alias for alias, _ in ws.check_tied_weights(model).intact] == ["y.weight"]
    model["z"] = nn.Linear(4, 4)
    report = ws.check_tied_weights(model)
    assert [note.names for note in (*report.broken, *report.warnings)] == [("y.weight", "z.weight")]


def test_ties_of_removed_modules():
    model = nn.Sequential(*(nn.Linear(4, 4, bias=False) for _ in range(3)))
    ws.tie_weights(model, {"2.weight": "1.weight", "1.weight": "0.weight"})
    del model[1]
    model.append(model[0])
    assert ws.check_tied_weights(model).warnings == ()  # all three names are now one parameter
    del model[1:]
    assert len(ws.check_tied_weights(model).broken) == 2


def test_a_lazy_end_is_not_retied_before_it_has_a_shape():
    model = same()
    make_lazy(model)
    report = ws.retie_weights(model)
    assert [note.code for note in report.broken] == ["REPLACED_END"]
    assert not ws.retie_weights(model, keep="source").ok
    model(torch.tensor([0]))
    assert ws.retie_weights(model, keep="source").ok
