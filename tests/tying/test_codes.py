"""Every code that `check_tied_weights` reports, made to appear, with its text; the page lists them all."""

import io
from collections import OrderedDict

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn.utils import parametrizations, parametrize, prune

import weightshare as ws
from tests.helpers.ties import KINDS, same, table_of, transposed
from weightshare.errors import ArgumentError
from weightshare.tying.report import CODES

TWO = ("dec.weight", "enc.weight")
BOTH = ("enc.weight", "dec.weight")


class Ignoring(nn.Module):
    """The popular parametrization whose original nothing reads."""

    def __init__(self, source):
        super().__init__()
        self.read = [source]

    def forward(self, original):
        return self.read[0].weight.t()


def autoencoder():
    return nn.Sequential(OrderedDict(enc=nn.Linear(6, 4, bias=False), dec=nn.Linear(4, 6, bias=False)))


def changed(make, change):
    model = make()
    change(model)
    return model


def own(model):
    model.dec.weight = nn.Parameter(model.dec.weight.detach().clone())


def zombie(model):
    model.dec.weight = nn.Parameter(model.enc.weight.detach())


def offloaded(model):
    model.enc.to("meta")
    model.enc._hf_hook = None


def view(model):
    model.dec.weight = nn.Parameter(model.enc.weight.data.t())


def undeclared(model):
    model.dec.weight = model.enc.weight


def lazy(model):
    model.dec = nn.LazyLinear(7, bias=False)


def dead(model):
    model.dec.bias = nn.Parameter(torch.zeros(6))
    parametrize.register_parametrization(model.dec, "weight", Ignoring(model.enc))
    model(torch.ones(1, 6)).sum().backward()


def loaded():
    file = io.BytesIO()
    torch.export.save(torch.export.export(same(), (torch.tensor([0, 6]),)), file)
    file.seek(0)
    return torch.export.load(file).module()


def twice(model):
    parameters = list(model.parameters())
    optimizer = torch.optim.SGD(parameters, 0.1)
    optimizer.param_groups[0]["params"].append(parameters[0])
    return {"optimizer": optimizer}


#: The model, what else the check is given, and the names that it gives back.
CASES = {
    "BROKEN_TIE": (lambda: changed(same, own), {}, TWO),
    "ZOMBIE_TIE": (lambda: changed(same, zombie), {}, TWO),
    "NORM_ON_TIED": (lambda: changed(same, lambda m: parametrizations.weight_norm(m.dec)), {}, TWO),
    "PRUNE_ON_TIED": (
        lambda: changed(same, lambda m: prune.l1_unstructured(m.dec, "weight", 0.5)),
        {},
        TWO,
    ),
    "QUANT_UNTIED": (
        lambda: torch.ao.quantization.quantize_dynamic(same(), {nn.Linear}, torch.qint8),
        {},
        TWO,
    ),
    "OFFLOADED": (lambda: changed(transposed, offloaded), {}, TWO),
    "VIEW_TIE": (lambda: changed(autoencoder, view), {}, BOTH),
    "UNDECLARED_TIE": (
        lambda: changed(
            lambda: nn.Sequential(OrderedDict(enc=nn.Linear(4, 4), dec=nn.Linear(4, 4))), undeclared
        ),
        {},
        BOTH,
    ),
    "LOST_SOURCE": (lambda: transposed()[1:], {}, ("dec.weight",)),
    "LAZY": (lambda: changed(same, lazy), {}, ("dec.weight",)),
    "DEAD_PARAM": (
        lambda: changed(autoencoder, dead),
        {},
        ("dec.parametrizations.weight.original",),
    ),
    "EXPORT_LOAD_UNTIES": (loaded, {}, BOTH),
    "ONNX_LEGACY_DOUBLES": (same, {"saving": "onnx"}, BOTH),
    "SAFETENSORS_REFUSES": (same, {"saving": "safetensors"}, BOTH),
    "DUP_IN_OPTIMIZER": (same, twice, ("enc.weight",)),
}


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
    assert found.keys() <= {code, "BROKEN_TIE"}


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


def test_a_module_under_two_names_is_one_to_the_old_exporter():
    layer = nn.Linear(3, 3, bias=False)
    model = nn.Sequential(layer, layer)
    codes = {
        saving: [note.code for note in ws.check_tied_weights(model, saving=saving).warnings]
        for saving in ("export", "onnx", "safetensors")
    }
    assert codes == {"export": ["EXPORT_LOAD_UNTIES"], "onnx": [], "safetensors": ["SAFETENSORS_REFUSES"]}


def with_buffers(change):
    model = nn.Sequential(nn.BatchNorm1d(3), nn.BatchNorm1d(3))
    change(*model)
    return model


def same_buffer(first, second):
    second.running_mean = first.running_mean


def overlapping(first, second):
    memory = torch.zeros(5)
    first.running_mean, second.running_mean = memory[:3], memory[2:]


def side_by_side(first, second):
    memory = torch.zeros(6)
    first.running_mean, second.running_mean = memory[:3], memory[3:]


def of_a_parameter(first, second):
    second.running_mean = first.weight.data


def not_saved(first, second):
    memory = torch.zeros(3)
    first.register_buffer("scratch", memory, persistent=False)
    second.register_buffer("scratch", memory, persistent=False)


@pytest.mark.parametrize(
    ("change", "names"),
    [
        (same_buffer, ("0.running_mean", "1.running_mean")),
        (overlapping, ("0.running_mean", "1.running_mean")),
        (of_a_parameter, ("0.weight", "1.running_mean")),
        (side_by_side, None),
        (not_saved, None),
    ],
)
def test_buffers_that_safetensors_refuses(change, names, tmp_path):
    model = with_buffers(change)
    report = ws.check_tied_weights(model, saving="safetensors")
    expected = [] if names is None else [("SAFETENSORS_REFUSES", names)]
    assert [(note.code, note.names) for note in report.warnings] == expected
    if names is None:
        save_file(model.state_dict(), tmp_path / "model.safetensors")
        return
    with pytest.raises(RuntimeError, match="Some tensors share memory"):
        save_file(model.state_dict(), tmp_path / "model.safetensors")


def test_formats_that_are_not_known():
    with pytest.raises(
        ArgumentError, match="saving must be one of None, 'export', 'onnx', 'safetensors', got 'gguf'"
    ):
        ws.check_tied_weights(same(), saving="gguf")


def test_nothing_is_dead_before_a_backward_pass_or_where_it_is_frozen():
    model = autoencoder()
    parametrize.register_parametrization(model.dec, "weight", Ignoring(model.enc))
    model.dec.bias = nn.Parameter(torch.zeros(6))
    assert ws.check_tied_weights(model).warnings == ()
    model.dec.parametrizations.weight.requires_grad_(False)
    model(torch.ones(1, 6)).sum().backward()
    assert ws.check_tied_weights(model).warnings == ()


def generator(model):
    """After a step of the discriminator alone."""
    model(torch.ones(1, 6)).sum().backward()
    model.enc.zero_grad()


def one_head(model):
    model.enc(torch.ones(1, 6)).sum().backward()


def thawed(model):
    model.dec.requires_grad_(False)
    model(torch.ones(1, 6)).sum().backward()
    model.dec.requires_grad_()


@pytest.mark.parametrize("change", [generator, one_head, thawed])
def test_what_has_no_gradient_now_is_not_called_dead(change):
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
def test_a_norm_of_one_end_alone(norm, end):
    model = same()
    norm(getattr(model, end))
    model(torch.tensor([0]))
    assert not torch.equal(model.enc.weight, model.dec.weight)
    report = ws.check_tied_weights(model)
    assert [(note.code, note.names) for note in report.broken] == [("NORM_ON_TIED", TWO)]
    assert ws.summary(model).groups[0].owner.startswith("enc.")


def test_both_ends_normed_or_pruned_alike_are_tied():
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
def test_the_source_owns_its_weight_whatever_becomes_of_the_alias(change, name):
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
    ws.tie_weights(model, {"x.w_orig": "z.w_orig"})  # a name as pruning gives
    assert ws.check_tied_weights(model).warnings == ()
    model = nn.ModuleDict({"x": model["x"], "w": nn.Linear(4, 4), "y": model["x"]})
    model["w"].weight = model["y"].weight
    assert [note.code for note in ws.check_tied_weights(model).warnings] == ["UNDECLARED_TIE"]


def test_a_reference_of_a_module_under_two_names_is_told_once():
    model = nn.ModuleDict({"x": nn.Linear(4, 4), "z": nn.Linear(4, 4)})
    model["y"] = model["x"]
    ws.tie_weights(model, {"y.weight": ws.Tie("z.weight", "t")})
    assert [alias for alias, _ in ws.check_tied_weights(model).intact] == ["y.weight"]
    model["z"] = nn.Linear(4, 4)
    report = ws.check_tied_weights(model)
    assert [note.names for note in (*report.broken, *report.warnings)] == [("y.weight", "z.weight")]


def test_ties_whose_modules_are_gone():
    model = nn.Sequential(*(nn.Linear(4, 4, bias=False) for _ in range(3)))
    ws.tie_weights(model, {"2.weight": "1.weight", "1.weight": "0.weight"})
    del model[1]
    model.append(model[0])
    assert ws.check_tied_weights(model).warnings == ()  # the three are one
    del model[1:]
    assert len(ws.check_tied_weights(model).broken) == 2


def test_a_lazy_end_stays_as_it_is():
    model = same()
    lazy(model)
    report = ws.retie_weights(model)
    assert [note.code for note in report.broken] == ["BROKEN_TIE"]
    model(torch.tensor([0]))
    assert ws.retie_weights(model).ok
