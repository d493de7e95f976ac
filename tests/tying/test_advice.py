"""Following the advice of each code of `check_tied_weights` removes the finding."""

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize, prune
from torch.optim.swa_utils import AveragedModel

import weightshare as ws
from tests.helpers.faulty_ties import CASES, LORA
from tests.helpers.ties import same


def tie(transform=None):
    return lambda model: ws.tie_weights(model, {"dec.weight": ws.Tie("enc.weight", transform)})


def untie(model):
    return ws.untie_weights(model, ws.check_tied_weights(model).broken[0].names[0])


def retie(keep=None, prepare=None):
    def repair(model):
        if prepare is not None:
            prepare(model)
        ws.retie_weights(model, keep=keep)
        return model

    return repair


def use_slice(model):
    del model.dec.weight
    return model


def resize_alias(model):
    model.dec = nn.Linear(4, 9, bias=False)


def call(model):
    model(torch.tensor([0]))
    return ws.tie_weights(model, {"dec.weight": "enc.weight"})


def remove_norm(model):
    parametrize.remove_parametrizations(model.dec, "weight")


def remove_pruning(model):
    prune.remove(model.dec, "weight")


def untie_before_merging(model):
    merged = ws.untie_weights(model, LORA[0]).merge_and_unload()
    assert not torch.equal(merged.enc.weight, merged.dec.weight)
    return merged


def load_to_device(model):
    return model.to_empty(device="cpu")


def quantize_untied(model):
    return torch.ao.quantization.quantize_dynamic(ws.untie_weights(same(), "dec.weight"), {nn.Linear})


def set_config(value):
    def change(model):
        model.config.tie_word_embeddings = value
        return model

    return change


def unchanged(model):
    return model


def make_new_optimizer(model):
    return {"optimizer": torch.optim.SGD(model.parameters(), 0.1)}


def average_parameters(model):
    return {"ema": {name: value.detach().clone() for name, value in model.named_parameters()}}


#: Code, change of the model and arguments of the next check that follow the advice of the code.
ADVICE = [
    ("BROKEN_TIE", retie(), {}),
    ("BROKEN_TIE", retie("alias"), {}),
    ("REPLACED_END", retie("source"), {}),
    ("REPLACED_END", retie("alias"), {}),
    ("REPLACED_END", untie, {}),
    ("REPLACED_END", tie(), {}),
    ("REMOVED_END", untie, {}),
    ("RESIZED_END", retie("source", resize_alias), {}),
    ("RESIZED_END", retie("alias", resize_alias), {}),
    ("RESIZED_END", untie, {}),
    ("ZOMBIE_TIE", retie(), {}),
    ("NORM_ON_TIED", retie("source", remove_norm), {}),
    ("NORM_ON_TIED", retie("alias", remove_norm), {}),
    ("PRUNE_ON_TIED", retie(None, remove_pruning), {}),
    ("LORA_ON_TIED", untie_before_merging, {}),
    ("QUANT_UNTIED", quantize_untied, {}),
    ("VIEW_TIE", tie("t"), {}),
    ("SLICE_TIE", use_slice, {}),
    ("UNDECLARED_TIE", tie(), {}),
    ("OFFLOADED", load_to_device, {}),
    ("LAZY", call, {}),
    ("CONFIG_UNTIED", set_config(True), {}),
    ("CONFIG_TIED", set_config(False), {}),
    ("CONFIG_TIED", lambda model: ws.tie_weights(model, "auto"), {}),
    ("EXPORT_LOAD_UNTIES", tie(), {}),
    ("DUP_IN_OPTIMIZER", unchanged, make_new_optimizer),
    ("STALE_IN_OPTIMIZER", unchanged, make_new_optimizer),
    ("NOT_IN_OPTIMIZER", unchanged, make_new_optimizer),
    ("STALE_IN_EMA", unchanged, lambda model: {"ema": AveragedModel(model)}),
    ("DUP_IN_EMA", unchanged, average_parameters),
]


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::UserWarning")
@pytest.mark.parametrize(("code", "follow", "arguments"), ADVICE)
def test_the_advice_works(code, follow, arguments):
    model = CASES[code][0]()
    if callable(CASES[code][1]):
        CASES[code][1](model)
    model = follow(model)
    report = ws.check_tied_weights(model, **(arguments(model) if callable(arguments) else arguments))
    assert report.ok
    assert [note.code for note in report.warnings if note.code != "UNDECLARED_TIE"] == []
