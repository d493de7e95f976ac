"""A model that causes each code of `check_tied_weights`."""

import copy
import io
from collections import OrderedDict
from typing import ClassVar

import peft
import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize, prune
from torch.optim.swa_utils import AveragedModel

from tests.helpers.ties import same, transposed

TWO = ("dec.weight", "enc.weight")
HEAD = ("lm_head.weight", "embed_tokens.weight")
LORA = ("base_model.model.dec.base_layer.weight", "base_model.model.enc.weight")
BOTH = ("enc.weight", "dec.weight")


class Ignoring(nn.Module):
    """A common parametrization that never reads its original tensor."""

    def __init__(self, source):
        super().__init__()
        self.read = [source]

    def forward(self, original):
        return self.read[0].weight.t()


def autoencoder():
    return nn.Sequential(OrderedDict(enc=nn.Linear(6, 4, bias=False), dec=nn.Linear(4, 6, bias=False)))


def make_changed(make, change):
    model = make()
    change(model)
    return model


def assign_copy(model):
    model.dec.weight = nn.Parameter(model.dec.weight.detach().clone())


def assign_detached(model):
    model.dec.weight = nn.Parameter(model.enc.weight.detach())


def offload(model):
    model.enc.to("meta")
    model.enc._hf_hook = None


def assign_view(model):
    model.dec.weight = nn.Parameter(model.enc.weight.data.t())


def assign_same(model):
    model.dec.weight = model.enc.weight


def make_lazy(model):
    model.dec = nn.LazyLinear(7, bias=False)


def make_dead(model):
    model.dec.bias = nn.Parameter(torch.zeros(6))
    parametrize.register_parametrization(model.dec, "weight", Ignoring(model.enc))
    model(torch.ones(1, 6)).sum().backward()


def export_and_load():
    file = io.BytesIO()
    torch.export.save(torch.export.export(same(), (torch.tensor([0, 6]),)), file)
    file.seek(0)
    return torch.export.load(file).module()


def replace_alias(model):
    model.dec = nn.Linear(4, 7, bias=False)


def remove_alias(model):
    model.dec = nn.Identity()


def resize_source(model):
    model.enc = nn.Embedding(9, 4)


def assign_slice(model):
    model.dec.weight = nn.Parameter(model.enc.weight.detach().flatten()[:12].view(6, 2))


def add_adapter():
    return peft.get_peft_model(same(), peft.LoraConfig(target_modules=["dec"], init_lora_weights=False))


def make_optimizer(make):
    """Return the optimizer of another model with the same layers."""
    return lambda model: {"optimizer": torch.optim.SGD([*model.parameters(), *make().parameters()], 0.1)}


def list_source(model):
    model.dec.weight = nn.Parameter(torch.zeros(6, 4))
    return {"optimizer": [torch.optim.SGD([model.enc.weight], 0.1)]}


def average_before_tying(model):
    average = AveragedModel(untied())
    return {"ema": average}


def average_in_place(model):
    return {"ema": copy.deepcopy(model.state_dict())}


def untied():
    return nn.Sequential(OrderedDict(enc=nn.Embedding(7, 4), dec=nn.Linear(4, 7, bias=False)))


class Config:
    def __init__(self, tie_word_embeddings):
        self.tie_word_embeddings = tie_word_embeddings


class LanguageModel(nn.Module):
    """A model with the interface of transformers."""

    _tied_weights_keys: ClassVar[dict[str, str]] = {"lm_head.weight": "embed_tokens.weight"}

    def __init__(self, tied=False, config=False):
        super().__init__()
        self.config = Config(config)
        self.embed_tokens, self.lm_head = nn.Embedding(7, 4), nn.Linear(4, 7, bias=False)
        if tied:
            self.lm_head.weight = self.embed_tokens.weight

    def get_input_embeddings(self):
        return self.embed_tokens

    def get_output_embeddings(self):
        return self.lm_head


def list_twice(model):
    parameters = list(model.parameters())
    optimizer = torch.optim.SGD(parameters, 0.1)
    optimizer.param_groups[0]["params"].append(parameters[0])
    return {"optimizer": optimizer}


#: Model, further arguments of the check, and the names in the finding.
CASES = {
    "BROKEN_TIE": (lambda: make_changed(same, assign_copy), {}, TWO),
    "REPLACED_END": (lambda: make_changed(same, replace_alias), {}, TWO),
    "REMOVED_END": (lambda: make_changed(same, remove_alias), {}, TWO),
    "RESIZED_END": (lambda: make_changed(same, resize_source), {}, TWO),
    "ZOMBIE_TIE": (lambda: make_changed(same, assign_detached), {}, TWO),
    "LORA_ON_TIED": (add_adapter, {}, LORA),
    "NORM_ON_TIED": (lambda: make_changed(same, lambda m: parametrizations.weight_norm(m.dec)), {}, TWO),
    "PRUNE_ON_TIED": (
        lambda: make_changed(same, lambda m: prune.l1_unstructured(m.dec, "weight", 0.5)),
        {},
        TWO,
    ),
    "QUANT_UNTIED": (
        lambda: torch.ao.quantization.quantize_dynamic(same(), {nn.Linear}, torch.qint8),
        {},
        TWO,
    ),
    "OFFLOADED": (lambda: make_changed(transposed, offload), {}, TWO),
    "VIEW_TIE": (lambda: make_changed(autoencoder, assign_view), {}, BOTH),
    "SLICE_TIE": (lambda: make_changed(autoencoder, assign_slice), {}, BOTH),
    "CONFIG_UNTIED": (lambda: LanguageModel(tied=True), {}, HEAD),
    "CONFIG_TIED": (lambda: LanguageModel(config=True), {}, HEAD),
    "UNDECLARED_TIE": (
        lambda: make_changed(
            lambda: nn.Sequential(OrderedDict(enc=nn.Linear(4, 4), dec=nn.Linear(4, 4))), assign_same
        ),
        {},
        BOTH,
    ),
    "LOST_SOURCE": (lambda: transposed()[1:], {}, ("dec.weight",)),
    "LAZY": (lambda: make_changed(same, make_lazy), {}, ("dec.weight",)),
    "DEAD_PARAM": (
        lambda: make_changed(autoencoder, make_dead),
        {},
        ("dec.parametrizations.weight.original",),
    ),
    "EXPORT_LOAD_UNTIES": (export_and_load, {}, BOTH),
    "ONNX_LEGACY_DOUBLES": (same, {"saving": "onnx"}, BOTH),
    "SAFETENSORS_REFUSES": (same, {"saving": "safetensors"}, BOTH),
    "DUP_IN_OPTIMIZER": (same, list_twice, ("enc.weight",)),
    "STALE_IN_OPTIMIZER": (
        same,
        make_optimizer(lambda: nn.Linear(3, 2, bias=False)),
        ("optimizer.param_groups[0]['params'][1] (2 x 3)",),
    ),
    "NOT_IN_OPTIMIZER": (autoencoder, list_source, ("dec.weight",)),
    "STALE_IN_EMA": (same, average_before_tying, ("dec.weight",)),
    "DUP_IN_EMA": (same, average_in_place, BOTH),
}
