"""Effect of each operation on each kind of tie: every cell of the first table of docs/tying.md."""

import copy
import inspect
import io
import pickle
from contextlib import suppress

import accelerate
import peft
import pytest
import torch
from accelerate.utils import find_tied_parameters, retie_parameters
from safetensors.torch import load_file
from torch import nn
from torch.func import functional_call
from torch.nn.utils import parametrizations, prune
from torch.optim.swa_utils import AveragedModel
from torchao.quantization import Int8WeightOnlyConfig, quantize_

import weightshare as ws
from tests.helpers.ties import KINDS, cells, input_of
from weightshare.errors import TieError
from weightshare.parameters.references import get_reference
from weightshare.tying.report import CODES


def save_and_load(model, save=torch.save, load=torch.load):
    file = io.BytesIO()
    save(model, file)
    file.seek(0)
    return load(file, weights_only=False)


def make_conversion(switch):
    """Return a dtype conversion with one of the global switches of `torch.__future__` on."""

    def convert(model):
        switch(True)
        try:
            return model.double()
        finally:
            switch(False)

    return convert


def make_optimizer_groups(model):
    """Give each end its own parameter group, as for two learning rates."""
    ends = [list(end.parameters()) for end in (model.enc, model.dec)]
    torch.optim.SGD([{"params": parameters} for parameters in ends], 0.1)
    return model


def reset_alias(model):
    model.dec.reset_parameters()
    return model


def make_loader(make, **arguments):
    def load(model):
        other = make(model)
        model.load_state_dict(copy.deepcopy(other.state_dict()), **arguments)
        return model

    return load


def load_without_alias(model):
    state = {k: v for k, v in copy.deepcopy(model).state_dict().items() if k != "dec.weight"}
    state["enc.weight"] = state["enc.weight"] + 1
    ws.tying.load_state_dict(model, state)
    return model


def load_without_alias_not_strict(model):
    state = {name: value for name, value in copy.deepcopy(model.state_dict()).items() if name != "dec.weight"}
    state["enc.weight"] = state["enc.weight"] + 1
    model.load_state_dict(state, strict=False)
    return model


def assign_without_alias(model):
    state = {name: value for name, value in copy.deepcopy(model.state_dict()).items() if name != "dec.weight"}
    model.load_state_dict(state, strict=False, assign=True)
    return model


def load_untied_checkpoint(model):
    model.load_state_dict(copy.deepcopy(model.state_dict()) | {"dec.weight": model.dec.weight.detach() + 1})
    return model


def load_through_file(model):
    file = io.BytesIO()
    torch.save(model.state_dict(), file)
    file.seek(0)
    model.load_state_dict(torch.load(file))
    return model


def load_through_safetensors(model, tmp_path):
    path = tmp_path / "model.safetensors"
    expected = model.enc.weight.detach().clone()
    ws.save_safetensors(model, path)
    with torch.no_grad():
        model.enc.weight.zero_()
    ws.load_safetensors(model, path)
    assert torch.equal(model.enc.weight, expected)
    return model


def load_with_load_file(model, tmp_path):
    ws.save_safetensors(model, tmp_path / "model.safetensors")
    model.load_state_dict(load_file(tmp_path / "model.safetensors"))
    return model


def call_functional(model):
    before = model.enc.weight.detach().clone()
    state = {name: torch.zeros_like(p) for name, p in model.named_parameters()}
    functional_call(model, state, (input_of(model),))
    assert torch.equal(model.enc.weight, before)
    return model


def set_alias_in_functional_call(model):
    functional_call(model, {"dec.weight": torch.zeros_like(model.dec.weight)}, (input_of(model),))
    return model


def assign_alias(model):
    model.dec.weight = nn.Parameter(model.dec.weight.detach() + 1)
    return model


def train_compiled(model):
    eager, other = copy.deepcopy(model), torch.compile(model, backend="aot_eager", fullgraph=True)
    for trained in (eager, other):
        step(trained)
    for parameter, expected in zip(model.parameters(), eager.parameters()):
        torch.testing.assert_close(parameter, expected)
    return other


def step(model):
    optimizer = torch.optim.Adam(model.parameters(), 0.1)
    model(input_of(model)).square().sum().backward()
    optimizer.step()
    return model


def clip_gradients(model):
    """Clip gradients, and check that the norm counts each parameter once."""
    model(input_of(model)).square().sum().backward()
    weight, *rest = [p.grad.clone() for p in model.parameters()]
    found = nn.utils.clip_grad_norm_(model.parameters(), 0.1)
    torch.testing.assert_close(found, torch.cat([weight.flatten(), *(g.flatten() for g in rest)]).norm())
    return model


def add_to_alias(model):
    with torch.no_grad():
        model.dec.weight.add_(1.0)
    return model


def apply_to(end, change):
    def apply(model):
        change(getattr(model, end))
        return model

    return apply


def replace_alias_module(model):
    if isinstance(model.dec, nn.Conv2d):
        model.dec = nn.Conv2d(2, 2, 3, padding=1)
        return model
    if model.dec.weight.dim() > 2:
        model.dec = ws.nn.ConvTranspose2d(3, 2, 3, sharing=ws.Tiled(2), input_size=4)
        return model
    model.dec = nn.Linear(*model.dec.weight.shape[::-1], bias=model.dec.bias is not None)
    return model


def replace_source_module(model):
    shapes = {nn.Embedding: (7, 4), nn.Linear: (6, 4)}
    if type(model.enc) in shapes:
        model.enc = type(model.enc)(*shapes[type(model.enc)])
    elif isinstance(model.enc, nn.Conv2d):
        model.enc = nn.Conv2d(2, 2, 3, padding=1)
    else:
        model.enc = ws.nn.Conv2d(2, 3, 3, sharing=ws.Tiled(2), input_size=6)
    return model


def quantize(model):
    return torch.ao.quantization.quantize_dynamic(model, {nn.Linear}, torch.qint8)


def quantize_with_torchao(model):
    with suppress(NotImplementedError):  # it cannot transpose the quantized source
        quantize_(model, Int8WeightOnlyConfig())
    return model


def merge_lora(model):
    config = peft.LoraConfig(target_modules=["dec"], init_lora_weights=False)
    return peft.get_peft_model(model, config).merge_and_unload()


def retie_with_accelerate(model):
    tied = find_tied_parameters(model)
    model = model.to("meta").to_empty(device="cpu")
    retie_parameters(model, tied)
    return model


def make_dispatch(enc, dec):
    """Return a dispatch by accelerate, whose hooks load offloaded weights for each call."""

    def dispatch(model, tmp_path):
        places, x = {"enc": enc, "dec": dec}, input_of(model)
        expected = model(x).detach()
        found = accelerate.dispatch_model(model, places, offload_dir=tmp_path, force_hooks=True)
        if enc == "cpu" or not get_reference(model.dec, "weight"):
            with torch.no_grad():
                torch.testing.assert_close(found(x), expected)
        return found

    return dispatch


OPERATIONS = {
    "`copy.deepcopy`": copy.deepcopy,
    "`copy.deepcopy` of the alias's module only": lambda model: nn.Sequential(copy.deepcopy(model.dec)),
    "`pickle`": lambda model: pickle.loads(pickle.dumps(model)),
    "`torch.save` and `load` of the model": save_and_load,
    "`.half()`": lambda model: model.half(),
    "`.bfloat16()`": lambda model: model.bfloat16(),
    "`.double()`": lambda model: model.double(),
    '`.to("meta")`': lambda model: model.to("meta"),
    "`.to_empty()` from meta": lambda model: model.to("meta").to_empty(device="cpu"),
    "dtype conversion that overwrites parameters": make_conversion(
        torch.__future__.set_overwrite_module_params_on_conversion
    ),
    "dtype conversion that swaps parameters": make_conversion(
        torch.__future__.set_swap_module_params_on_conversion
    ),
    "`load_state_dict`": make_loader(copy.deepcopy),
    "`load_state_dict(assign=True)`": make_loader(copy.deepcopy, assign=True),
    "`load_state_dict(strict=False)` without the alias": load_without_alias_not_strict,
    "`load_state_dict` of an untied checkpoint": load_untied_checkpoint,
    "`tying.load_state_dict` without the alias": load_without_alias,
    "`load_state_dict(strict=False, assign=True)` without the alias": assign_without_alias,
    "`torch.save` and `load` of the state dict": load_through_file,
    "`save_safetensors`, `load_file`, strict `load_state_dict`": load_with_load_file,
    "`save_safetensors`, `load_safetensors`": load_through_safetensors,
    "`AveragedModel`": lambda model: AveragedModel(model).module,
    "`torch.compile`, training": train_compiled,
    "`functional_call`": call_functional,
    "`functional_call` that sets the alias": set_alias_in_functional_call,
    "assignment to the alias": assign_alias,
    "optimizer step": step,
    "optimizer with one parameter group per end": make_optimizer_groups,
    "`clip_grad_norm_`": clip_gradients,
    "in-place addition to the alias, as in merging LoRA": add_to_alias,
    "`reset_parameters` of the alias": reset_alias,
    "`requires_grad_(False)` of the alias's module": apply_to("dec", lambda m: m.requires_grad_(False)),
    "`weight_norm` of the alias": apply_to("dec", parametrizations.weight_norm),
    "`spectral_norm` of the alias": apply_to("dec", parametrizations.spectral_norm),
    "`weight_norm` of the source": apply_to("enc", parametrizations.weight_norm),
    "`spectral_norm` of the source": apply_to("enc", parametrizations.spectral_norm),
    "pruning the source": apply_to("enc", lambda m: prune.l1_unstructured(m, "weight", 0.5)),
    "pruning the alias": apply_to("dec", lambda m: prune.l1_unstructured(m, "weight", 0.5)),
    "`quantize_dynamic`": quantize,
    "torchao, `Int8WeightOnlyConfig`": quantize_with_torchao,
    "PEFT, merging LoRA into the alias": merge_lora,
    "accelerate, `retie_parameters` after `to_empty()`": retie_with_accelerate,
    "accelerate, `dispatch_model`": make_dispatch("cpu", "cpu"),
    "accelerate, `dispatch_model` with the source on disk": make_dispatch("disk", "cpu"),
    "replacing the alias's module": replace_alias_module,
    "replacing the source's module": replace_source_module,
}


#: Operations that change the alias's values in place.
WRITING = {"in-place addition to the alias, as in merging LoRA", "PEFT, merging LoRA into the alias"}
#: Type and part of the text of the error of each refused operation, by operation or (operation, kind).
REFUSALS = {
    "`load_state_dict` of an untied checkpoint": (TieError, "must have equal values, because they are tied"),
    **{
        ("`load_state_dict` of an untied checkpoint", kind): (
            RuntimeError,
            'Unexpected key(s) in state_dict: "dec.weight"',
        )
        for kind in ("`TiedLinear`", "`TiedConvTranspose2d`")
    },
    "`save_safetensors`, `load_file`, strict `load_state_dict`": (
        RuntimeError,
        "Missing key(s) in state_dict",
    ),
    "`functional_call` that sets the alias": (TieError, "must not be assigned, because it is read"),
    "assignment to the alias": (TieError, "must not be assigned, because it is read"),
    "optimizer with one parameter group per end": (ValueError, "appear in more than one parameter group"),
    "`weight_norm` of the alias": (ValueError, "does not have a parameter, a buffer, or a parametrized"),
    "`spectral_norm` of the alias": (ValueError, "does not have a parameter, a buffer, or a parametrized"),
    "pruning the alias": (TieError, "must not be pruned, because it is read"),
    "PEFT, merging LoRA into the alias": (ValueError, "is not supported"),
}


def follows(model):
    """Return whether a change of the source changes the alias."""
    model = getattr(model, "_orig_mod", model).eval()  # a spectral norm does not change in evaluation mode
    source, alias = model.enc.weight, model.dec.weight
    if source.is_meta:
        return alias.is_meta
    before = alias.detach().clone()
    with torch.no_grad():
        parameter = next(p for name, p in model.enc.named_parameters() if "bias" not in name)
        parameter.copy_(torch.rand_like(parameter))
    for hook in model.enc._forward_pre_hooks.values():  # pruning uses one
        hook(model.enc, None)
    value = model.enc.weight
    if isinstance(model.enc, nn.Conv2d):
        expected = value.flip(2, 3)
    else:
        expected = value.t() if "Linear" in type(model.enc).__name__ else value
    return torch.equal(model.dec.weight, expected) and not torch.equal(model.dec.weight, before)


def get_state(model):
    """Return the state that a refused operation must leave unchanged: classes, hooks, names and values."""
    modules = [
        (
            name,
            type(module),
            {key: dict(value) for key, value in vars(module).items() if "hooks" in key and value},
            vars(module).keys(),
            {key: id(value) for key, value in (module._parameters | module._buffers).items()},
        )
        for name, module in model.named_modules()
    ]
    return modules, {key: value.tolist() for key, value in model.state_dict().items()}


def run_cell(name, kind, tmp_path):
    model, operation = KINDS[kind](), OPERATIONS[name]
    before, weight = get_state(model), model.dec.weight.detach().clone()
    arguments = (tmp_path,) if "tmp_path" in inspect.signature(operation).parameters else ()
    refused = None
    try:
        result = operation(model, *arguments)
    except Exception as error:
        refused = error
    if refused is not None:
        expected, said = REFUSALS.get((name, kind)) or REFUSALS[name]
        assert type(refused) is expected
        assert said in str(refused)
        assert get_state(model) == before
        assert ws.check_tied_weights(model).ok
        assert follows(model)
        return "refused"
    report = ws.check_tied_weights(result)
    if report.ok and report.warnings:
        return f"reported: {report.warnings[0].code}"
    if report.ok and not report.intact:
        return "dropped"
    if name in WRITING and torch.equal(result.dec.weight, weight):
        assert follows(result)
        return "silently lost"
    if report.ok:
        return "intact" if follows(result) else "silently untied"
    (broken,) = report.broken
    assert broken.text.endswith("; ".join(CODES[broken.code]))
    repaired = ws.retie_weights(result)
    if repaired.ok:
        return f"repaired: {broken.code}" if follows(result) else "repaired in name only"
    return f"reported: {broken.code}"


def test_the_page_has_every_operation():
    assert {name for name, _, _ in cells("operations")} == set(OPERATIONS)


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::UserWarning")
@pytest.mark.parametrize(("name", "kind", "expected"), list(cells("operations")))
def test_each_cell(name, kind, expected, tmp_path):
    torch.manual_seed(0)
    assert run_cell(name, kind, tmp_path) == expected


@pytest.mark.parametrize("kind", KINDS)
def test_five_steps_equal_a_functional_reference(kind):
    """Train with Adam, and compare with a model written with plain functions and one tensor per weight."""
    torch.manual_seed(0)
    model = KINDS[kind]().double()
    x = input_of(model)
    x = x if x.dtype == torch.long else x.double()
    free = {n: p.detach().clone().requires_grad_() for n, p in model.named_parameters()}
    ours, theirs = torch.optim.Adam(model.parameters(), 0.05), torch.optim.Adam(free.values(), 0.05)

    def written_out():
        w, b, c = free["enc.weight"], free.get("enc.bias"), free.get("dec.bias")
        if kind == "same Parameter":
            return nn.functional.linear(nn.functional.embedding(x, w), w)
        if kind in ("transposed reference", "`TiedLinear`"):
            return nn.functional.linear(nn.functional.linear(x, w, b), w.t(), c)
        if kind == "flipped reference":
            hidden = nn.functional.conv2d(x, w, b, padding=1)
            return nn.functional.conv2d(hidden, w.flip(2, 3), c, padding=1)
        labels = torch.tensor(model.enc.sharing.labels((4, 4)))
        hidden = []
        patches = nn.functional.unfold(x, 3)  # [1, 18, 16]
        for p, bank in enumerate(labels.tolist()):
            hidden.append(w[bank].flatten(1) @ patches[0, :, p] + b[bank])
        h = torch.stack(hidden, 1)  # [3, 16]
        columns = torch.stack([w[bank].flatten(1).t() @ h[:, p] for p, bank in enumerate(labels.tolist())], 1)
        return nn.functional.fold(columns[None], (6, 6), 3) + c.view(1, -1, 1, 1)

    for _ in range(5):
        for optimizer, output in ((ours, lambda: model(x)), (theirs, written_out)):
            optimizer.zero_grad()
            (output() - 1).square().mean().backward()
            optimizer.step()
    assert len(ours.state) == len(free)
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter, free[name], rtol=1e-6, atol=1e-6)
