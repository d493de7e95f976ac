"""What every operation does to each kind of tie, cell by cell as docs/tying.md says."""

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


def through_file(model, save=torch.save, load=torch.load):
    file = io.BytesIO()
    save(model, file)
    file.seek(0)
    return load(file, weights_only=False)


def converting(switch):
    """To another dtype, by a way that torch has behind a switch."""

    def convert(model):
        switch(True)
        try:
            return model.double()
        finally:
            switch(False)

    return convert


def in_two_groups(model):
    """One for each end, as for two learning rates."""
    ends = [list(end.parameters()) for end in (model.enc, model.dec)]
    torch.optim.SGD([{"params": parameters} for parameters in ends], 0.1)
    return model


def reset(model):
    model.dec.reset_parameters()
    return model


def loaded(make, **arguments):
    def load(model):
        other = make(model)
        model.load_state_dict(copy.deepcopy(other.state_dict()), **arguments)
        return model

    return load


def without_alias(model):
    state = {k: v for k, v in copy.deepcopy(model).state_dict().items() if k != "dec.weight"}
    state["enc.weight"] = state["enc.weight"] + 1
    ws.tying.load_state_dict(model, state)
    return model


def without_alias_not_strict(model):
    state = {name: value for name, value in copy.deepcopy(model.state_dict()).items() if name != "dec.weight"}
    state["enc.weight"] = state["enc.weight"] + 1
    model.load_state_dict(state, strict=False)
    return model


def without_alias_assigned(model):
    state = {name: value for name, value in copy.deepcopy(model.state_dict()).items() if name != "dec.weight"}
    model.load_state_dict(state, strict=False, assign=True)
    return model


def untied_checkpoint(model):
    model.load_state_dict(copy.deepcopy(model.state_dict()) | {"dec.weight": model.dec.weight.detach() + 1})
    return model


def by_file(model):
    file = io.BytesIO()
    torch.save(model.state_dict(), file)
    file.seek(0)
    model.load_state_dict(torch.load(file))
    return model


def by_safetensors(model, tmp_path):
    path = tmp_path / "model.safetensors"
    expected = model.enc.weight.detach().clone()
    ws.save_safetensors(model, path)
    with torch.no_grad():
        model.enc.weight.zero_()
    ws.load_safetensors(model, path)
    assert torch.equal(model.enc.weight, expected)
    return model


def by_load_file(model, tmp_path):
    ws.save_safetensors(model, tmp_path / "model.safetensors")
    model.load_state_dict(load_file(tmp_path / "model.safetensors"))
    return model


def called(model):
    before = model.enc.weight.detach().clone()
    state = {name: torch.zeros_like(p) for name, p in model.named_parameters()}
    functional_call(model, state, (input_of(model),))
    assert torch.equal(model.enc.weight, before)
    return model


def setting_the_alias(model):
    functional_call(model, {"dec.weight": torch.zeros_like(model.dec.weight)}, (input_of(model),))
    return model


def assigned(model):
    model.dec.weight = nn.Parameter(model.dec.weight.detach() + 1)
    return model


def compiled(model):
    eager, other = copy.deepcopy(model), torch.compile(model, backend="aot_eager", fullgraph=True)
    for trained in (eager, other):
        stepped(trained)
    for ours, theirs in zip(model.parameters(), eager.parameters()):
        torch.testing.assert_close(ours, theirs)
    return other


def stepped(model):
    optimizer = torch.optim.Adam(model.parameters(), 0.1)
    model(input_of(model)).square().sum().backward()
    optimizer.step()
    return model


def clipped(model):
    """By the norm over every parameter once, as without ties."""
    model(input_of(model)).square().sum().backward()
    weight, *rest = [p.grad.clone() for p in model.parameters()]
    found = nn.utils.clip_grad_norm_(model.parameters(), 0.1)
    torch.testing.assert_close(found, torch.cat([weight.flatten(), *(g.flatten() for g in rest)]).norm())
    return model


def added(model):
    with torch.no_grad():
        model.dec.weight.add_(1.0)
    return model


def on(end, change):
    def apply(model):
        change(getattr(model, end))
        return model

    return apply


def replaced(model):
    if isinstance(model.dec, nn.Conv2d):
        model.dec = nn.Conv2d(2, 2, 3, padding=1)
        return model
    if model.dec.weight.dim() > 2:
        model.dec = ws.nn.ConvTranspose2d(3, 2, 3, sharing=ws.Tiled(2), input_size=4)
        return model
    model.dec = nn.Linear(*model.dec.weight.shape[::-1], bias=model.dec.bias is not None)
    return model


def source_replaced(model):
    shapes = {nn.Embedding: (7, 4), nn.Linear: (6, 4)}
    if type(model.enc) in shapes:
        model.enc = type(model.enc)(*shapes[type(model.enc)])
    elif isinstance(model.enc, nn.Conv2d):
        model.enc = nn.Conv2d(2, 2, 3, padding=1)
    else:
        model.enc = ws.nn.Conv2d(2, 3, 3, sharing=ws.Tiled(2), input_size=6)
    return model


def quantized(model):
    return torch.ao.quantization.quantize_dynamic(model, {nn.Linear}, torch.qint8)


def quantized_by_torchao(model):
    with suppress(NotImplementedError):  # it cannot transpose what it has made of the source
        quantize_(model, Int8WeightOnlyConfig())
    return model


def merged_lora(model):
    config = peft.LoraConfig(target_modules=["dec"], init_lora_weights=False)
    return peft.get_peft_model(model, config).merge_and_unload()


def retied_by_accelerate(model):
    tied = find_tied_parameters(model)
    model = model.to("meta").to_empty(device="cpu")
    retie_parameters(model, tied)
    return model


def dispatched(enc, dec):
    """By accelerate, with its hooks; what is on the disk is brought back for each call."""

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
    "`torch.save` and `load` of the model": through_file,
    "`.half()`": lambda model: model.half(),
    "`.bfloat16()`": lambda model: model.bfloat16(),
    "`.double()`": lambda model: model.double(),
    '`.to("meta")`': lambda model: model.to("meta"),
    "`.to_empty()` from meta": lambda model: model.to("meta").to_empty(device="cpu"),
    "dtype conversion that overwrites parameters": converting(
        torch.__future__.set_overwrite_module_params_on_conversion
    ),
    "dtype conversion that swaps parameters": converting(
        torch.__future__.set_swap_module_params_on_conversion
    ),
    "`load_state_dict`": loaded(copy.deepcopy),
    "`load_state_dict(assign=True)`": loaded(copy.deepcopy, assign=True),
    "`load_state_dict(strict=False)` without the alias": without_alias_not_strict,
    "`load_state_dict` of an untied checkpoint": untied_checkpoint,
    "`tying.load_state_dict` without the alias": without_alias,
    "`load_state_dict(strict=False, assign=True)` without the alias": without_alias_assigned,
    "`torch.save` and `load` of the state dict": by_file,
    "`save_safetensors`, `load_file`, strict `load_state_dict`": by_load_file,
    "`save_safetensors`, `load_safetensors`": by_safetensors,
    "`AveragedModel`": lambda model: AveragedModel(model).module,
    "`torch.compile`, training": compiled,
    "`functional_call`": called,
    "`functional_call` that sets the alias": setting_the_alias,
    "assignment to the alias": assigned,
    "optimizer step": stepped,
    "optimizer with one parameter group per end": in_two_groups,
    "`clip_grad_norm_`": clipped,
    "in-place addition to the alias, as in merging LoRA": added,
    "`reset_parameters` of the alias": reset,
    "`requires_grad_(False)` of the alias's module": on("dec", lambda m: m.requires_grad_(False)),
    "`weight_norm` of the alias": on("dec", parametrizations.weight_norm),
    "`spectral_norm` of the alias": on("dec", parametrizations.spectral_norm),
    "`weight_norm` of the source": on("enc", parametrizations.weight_norm),
    "`spectral_norm` of the source": on("enc", parametrizations.spectral_norm),
    "pruning the source": on("enc", lambda m: prune.l1_unstructured(m, "weight", 0.5)),
    "pruning the alias": on("dec", lambda m: prune.l1_unstructured(m, "weight", 0.5)),
    "`quantize_dynamic`": quantized,
    "torchao, `Int8WeightOnlyConfig`": quantized_by_torchao,
    "PEFT, merging LoRA into the alias": merged_lora,
    "accelerate, `retie_parameters` after `to_empty()`": retied_by_accelerate,
    "accelerate, `dispatch_model`": dispatched("cpu", "cpu"),
    "accelerate, `dispatch_model` with the source on disk": dispatched("disk", "cpu"),
    "replacing the alias's module": replaced,
    "replacing the source's module": source_replaced,
}


#: Those that change the alias's numbers in place.
WRITING = {"in-place addition to the alias, as in merging LoRA", "PEFT, merging LoRA into the alias"}
#: The errors of what is refused, by the operation, or by it and the kind: their type and some of their text.
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
    "`spectral_norm` of the source": on("enc", parametrizations.spectral_norm),
    "pruning the source": on("enc", lambda m: prune.l1_unstructured(m, "weight", 0.5)),
    "pruning the alias": (TieError, "must not be pruned, because it is read"),
    "PEFT, merging LoRA into the alias": (ValueError, "is not supported"),
}


def follows(model):
    """Whether a change of the source is a change of the alias."""
    model = getattr(model, "_orig_mod", model).eval()  # where a spectral norm stands still
    source, alias = model.enc.weight, model.dec.weight
    if source.is_meta:
        return alias.is_meta
    before = alias.detach().clone()
    with torch.no_grad():
        parameter = next(p for name, p in model.enc.named_parameters() if "bias" not in name)
        parameter.copy_(torch.rand_like(parameter))
    for hook in model.enc._forward_pre_hooks.values():  # pruning works by one
        hook(model.enc, None)
    value = model.enc.weight
    if isinstance(model.enc, nn.Conv2d):
        expected = value.flip(2, 3)
    else:
        expected = value.t() if "Linear" in type(model.enc).__name__ else value
    return torch.equal(model.dec.weight, expected) and not torch.equal(model.dec.weight, before)


def looks(model):
    """What an operation that is refused leaves as it was: classes, hooks, all names and numbers."""
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


def outcome(name, kind, tmp_path):
    model, operation = KINDS[kind](), OPERATIONS[name]
    before, weight = looks(model), model.dec.weight.detach().clone()
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
        assert looks(model) == before
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
        return "intact" if follows(result) else "parted without a word"
    (broken,) = report.broken
    assert broken.text.endswith("; ".join(CODES[broken.code]))
    mended = ws.retie_weights(result)
    if mended.ok:
        return f"repaired: {broken.code}" if follows(result) else "mended in name only"
    return f"reported: {broken.code}"


def test_the_page_has_every_operation():
    assert {name for name, _, _ in cells("operations")} == set(OPERATIONS)


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::UserWarning")
@pytest.mark.parametrize(("name", "kind", "said"), list(cells("operations")))
def test_each_cell(name, kind, said, tmp_path):
    torch.manual_seed(0)
    assert outcome(name, kind, tmp_path) == said


@pytest.mark.parametrize("kind", KINDS)
def test_five_steps_equal_a_functional_reference(kind):
    """Adam with one state for the weight, against a model written out with one tensor."""
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
