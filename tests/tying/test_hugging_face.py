"""Ties that Hugging Face models declare are adopted, and their configs agree with the models."""

from typing import Any

import peft
import pytest
import torch
from torch import nn
from transformers import (
    BertConfig,
    BertForMaskedLM,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    T5Config,
    T5ForConditionalGeneration,
    ViTConfig,
    ViTForImageClassification,
)

import weightshare as ws
from tests.helpers.faulty_ties import HEAD, Config, LanguageModel
from weightshare.errors import ArgumentError, TieError

SIZES: dict[str, Any] = {
    "hidden_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 16,
}
TEXT = {**SIZES, "vocab_size": 40, "max_position_embeddings": 16}


def llama(tied):
    config = LlamaConfig(**TEXT, num_key_value_heads=1, pad_token_id=0, tie_word_embeddings=tied)
    return LlamaForCausalLM(config)


def t5():
    return T5ForConditionalGeneration(
        T5Config(vocab_size=40, d_model=8, d_kv=4, d_ff=16, num_layers=1, num_heads=2)
    )


def vit():
    return ViTForImageClassification(ViTConfig(**SIZES, image_size=32))


def get_ties(model):
    report = ws.check_tied_weights(model)
    assert report.broken == report.warnings == ()
    return {alias: tie.source for alias, tie in report.intact}


MODELS = {
    "llama": (lambda: llama(True), {"lm_head.weight": "model.embed_tokens.weight"}),
    "untied": (lambda: llama(False), {}),
    "gpt2": (
        lambda: GPT2LMHeadModel(GPT2Config(vocab_size=40, n_embd=8, n_layer=1, n_head=2, n_positions=16)),
        {"lm_head.weight": "transformer.wte.weight"},
    ),
    "t5": (
        t5,
        dict.fromkeys(
            ["encoder.embed_tokens.weight", "decoder.embed_tokens.weight", "lm_head.weight"], "shared.weight"
        ),
    ),
    "bert": (
        lambda: BertForMaskedLM(BertConfig(**TEXT)),
        {
            "cls.predictions.decoder.weight": "bert.embeddings.word_embeddings.weight",
            "cls.predictions.decoder.bias": "cls.predictions.bias",
        },
    ),
    "vit": (vit, {}),
}


@pytest.mark.parametrize("name", MODELS)
def test_declared_ties_are_adopted(name):
    make, expected = MODELS[name]
    model = make()
    before = {name: id(p) for name, p in model.named_parameters(remove_duplicate=False)}
    for _ in range(2):
        ws.tie_weights(model, "auto")
        assert get_ties(model) == expected
    assert {name: id(p) for name, p in model.named_parameters(remove_duplicate=False)} == before
    inside = nn.ModuleDict({"inside": make()})
    ws.tie_weights(inside, "auto")
    assert get_ties(inside) == {f"inside.{alias}": f"inside.{source}" for alias, source in expected.items()}


class Version4(LanguageModel):
    """Transformers 4 lists the aliases alone, as patterns."""

    _tied_weights_keys = [r"lm_head\.weight", "copy.bias"]  # noqa: RUF012

    def __init__(self, **arguments):
        super().__init__(**arguments)
        self.base, self.copy = nn.Linear(3, 3), nn.Linear(3, 3)
        self.copy.bias = self.base.bias


def test_models_of_transformers_4():
    model = Version4(config=True)
    ws.tie_weights(model, "auto")
    assert get_ties(model) == {"copy.bias": "base.bias", "lm_head.weight": "embed_tokens.weight"}
    model = Version4(config=False)
    ws.tie_weights(model, "auto")
    assert model.lm_head.weight is not model.embed_tokens.weight


class Patterns(nn.Module):
    _tied_weights_keys = {r"layers\.[1-9]": r"layers\.0"}  # noqa: RUF012

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(3, 3) for _ in range(3))


def test_patterns_of_transformers_5():
    assert get_ties(ws.tie_weights(Patterns(), "auto")) == {
        f"layers.{n}.{name}": f"layers.0.{name}" for n in (1, 2) for name in ("weight", "bias")
    }


def test_a_tie_that_loading_refused_is_not_adopted(tmp_path):
    """Transformers leaves the ends separate if a checkpoint has different values."""
    model = llama(False)
    model.config.tie_word_embeddings = True
    model.save_pretrained(tmp_path)
    model = LlamaForCausalLM.from_pretrained(tmp_path)
    head = model.lm_head.weight.detach().clone()
    assert [note.code for note in ws.check_tied_weights(model).warnings] == ["CONFIG_TIED"]
    with pytest.raises(TieError, match=r"'lm_head.weight': must have the values of 'model.embed_tok"):
        ws.tie_weights(model, "auto")
    assert torch.equal(model.lm_head.weight, head)
    ws.tie_weights(model, {"lm_head.weight": "model.embed_tokens.weight"})
    assert torch.equal(model.lm_head.weight, model.model.embed_tokens.weight)


def test_models_that_declare_nothing():
    expected = '"auto" needs a model that declares its ties, such as a transformers model, got Linear; pass'
    with pytest.raises(ArgumentError, match=expected):
        ws.tie_weights(nn.Linear(2, 2), "auto")
    with pytest.raises(ArgumentError, match='ties must map aliases to sources, or be "auto", got str'):
        ws.tie_weights(llama(True), "all")


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("changed", [True, False])
def test_changed_ties_survive_the_files_of_transformers(tied, changed, tmp_path):
    model = llama(not tied)
    if tied:
        ws.tie_weights(model, {"lm_head.weight": "model.embed_tokens.weight"})
    else:
        ws.untie_weights(ws.tie_weights(model, "auto"), "lm_head.weight")
    assert model.config.tie_word_embeddings is tied
    if changed:
        with torch.no_grad():
            model.lm_head.weight.add_(1)
    model.save_pretrained(tmp_path)
    loaded = LlamaForCausalLM.from_pretrained(tmp_path)
    assert torch.equal(loaded.lm_head.weight, model.lm_head.weight)
    assert (loaded.lm_head.weight is loaded.model.embed_tokens.weight) is tied


def test_other_ties_leave_the_config():
    model = LanguageModel(tied=True, config=False)
    model.more = nn.Linear(3, 3)
    model.other = nn.Linear(3, 3)
    ws.tie_weights(model, {"more": "other"})
    ws.untie_weights(model, "more.bias")
    assert not model.config.tie_word_embeddings
    assert [note.code for note in ws.check_tied_weights(model).warnings] == [
        "UNDECLARED_TIE",
        "CONFIG_UNTIED",
    ]


def test_configs_that_disagree():
    for tied in (True, False):
        for config in (True, False):
            warnings = ws.check_tied_weights(LanguageModel(tied=tied, config=config)).warnings
            found = [(note.code, note.names) for note in warnings if note.code != "UNDECLARED_TIE"]
            code = "CONFIG_UNTIED" if tied else "CONFIG_TIED"
            assert found == ([] if tied == config else [(code, HEAD)])
    model = LanguageModel()
    model.config = Config(True)
    del model.lm_head.weight
    assert ws.check_tied_weights(model).warnings == ()


def test_resized_embeddings_stay_tied():
    model = ws.tie_weights(llama(True), "auto")
    model.resize_token_embeddings(44)
    assert get_ties(model) == {"lm_head.weight": "model.embed_tokens.weight"}
    assert model.lm_head.weight.shape == (44, 8)


def test_an_adapter_on_one_end_of_a_tie_that_is_not_declared():
    adapter = peft.LoraConfig(target_modules=["lm_head"], init_lora_weights=False)
    model = peft.get_peft_model(llama(True), adapter)
    names = "base_model.model.lm_head.base_layer.weight", "base_model.model.model.embed_tokens.weight"
    found = {note.code: note.names for note in ws.check_tied_weights(model).warnings}
    assert found == {"UNDECLARED_TIE": names[::-1], "LORA_ON_TIED": names}
    merged = ws.untie_weights(model, names[0]).merge_and_unload()
    assert not torch.equal(merged.lm_head.weight, merged.model.embed_tokens.weight)
    adapter = peft.LoraConfig(target_modules=["lm_head"], ensure_weight_tying=True)
    model = peft.get_peft_model(llama(True), adapter)
    assert "LORA_ON_TIED" not in {note.code for note in ws.check_tied_weights(model).warnings}
