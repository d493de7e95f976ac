"""Published counts and ties of transformers and Keras models are reproduced from their configurations."""

import json
import os
import subprocess
import sys

import pytest
import torch
import transformers

import weightshare as ws

BART = {
    "vocab_size": 50265,
    "d_model": 768,
    "encoder_layers": 6,
    "decoder_layers": 6,
    "encoder_attention_heads": 12,
    "decoder_attention_heads": 12,
    "encoder_ffn_dim": 3072,
    "decoder_ffn_dim": 3072,
}
ALBERT = {"hidden_size": 768, "num_attention_heads": 12, "intermediate_size": 3072}
LLAMA_405B = {
    "vocab_size": 128256,
    "hidden_size": 16384,
    "intermediate_size": 53248,
    "num_hidden_layers": 126,
    "num_attention_heads": 128,
    "num_key_value_heads": 8,
}
SHARED = [("shared.weight", f"{side}.embed_tokens.weight") for side in ("encoder", "decoder")]
#: Model, configuration, unique elements, ties.
MODELS = {
    "GPT-2": ("GPT2LMHeadModel", {}, 124_439_808, [("transformer.wte.weight", "lm_head.weight")]),
    "T5-small": (
        "T5ForConditionalGeneration",
        {},
        60_506_624,
        [*SHARED, ("shared.weight", "lm_head.weight")],
    ),
    "BART-base": ("BartModel", BART, 139_420_416, SHARED),
    "BART-base, generating": (
        "BartForConditionalGeneration",
        BART,
        139_420_416,
        [
            ("model.shared.weight", f"{name}.weight")
            for name in ("model.encoder.embed_tokens", "model.decoder.embed_tokens", "lm_head")
        ],
    ),
    "ALBERT-base, masked": (
        "AlbertForMaskedLM",
        ALBERT,
        11_221_680,
        [
            ("albert.embeddings.word_embeddings.weight", "predictions.decoder.weight"),
            ("predictions.bias", "predictions.decoder.bias"),
        ],
    ),
    "ViT-base": ("ViTForImageClassification", {"num_labels": 1000}, 86_567_656, []),
    "ResNet-50": ("ResNetForImageClassification", {"num_labels": 1000}, 25_557_032, []),
    "ALBERT-base": ("AlbertModel", ALBERT, 11_683_584, []),
    "BERT-base": ("BertModel", {}, 109_482_240, []),
    "Llama-3.1-405B": ("LlamaForCausalLM", LLAMA_405B, 405_853_388_800, []),
}


def build(name):
    model, arguments, _, _ = MODELS[name]
    cls = getattr(transformers, model)
    with torch.device("meta"):
        return cls(cls.config_class(**arguments))


@pytest.mark.parametrize("name", MODELS)
def test_models_of_transformers(name):
    _, _, unique, ties = MODELS[name]
    answer = ws.summary(build(name))
    assert answer.totals.unique == unique
    assert [(tie["source"], tie["alias"]) for tie in answer.to_dict()["ties"]] == ties
    assert sum(eval(row.derivation) for row in answer.rows) == unique


def test_albert_calls_one_layer_twelve_times():
    ids = torch.zeros(1, 8, dtype=torch.long, device="meta")
    answer = ws.summary(build("ALBERT-base"), ids)
    assert answer.totals.unrolled == 89_650_176
    assert {row.calls for row in answer.rows if ".albert_layers." in row.name} == {12}


KERAS = """
import json, keras, torch
import weightshare as ws
found = {}
for name in ("ResNet50", "MobileNetV2", "EfficientNetB0"):
    model = getattr(keras.applications, name)(weights=None)
    answer = ws.summary(model)
    derived = sum(eval(row.derivation) for row in answer.rows)
    found[name] = [answer.totals.unique, model.count_params(), derived]
    if name == "ResNet50":
        found["reconciled"] = str(answer.reconcile(25_557_032))
inputs = keras.Input((28, 28, 1))
model = keras.Model(inputs, keras.layers.Conv2D(10, 5)(inputs))
answer = ws.summary(model, torch.zeros(1, 28, 28, 1))
row, = answer.rows
found["row"] = [row.type, row.own_unique, row.biases, row.calls, row.macs, answer.totals.unshared]
print(json.dumps(found))
"""


@pytest.mark.long
def test_models_of_keras():
    environment = {**os.environ, "KERAS_BACKEND": "torch"}
    completed = subprocess.run([sys.executable, "-c", KERAS], capture_output=True, text=True, env=environment)
    assert completed.returncode == 0, completed.stderr
    found = json.loads(completed.stdout.splitlines()[-1])
    assert found["ResNet50"] == [25_636_712] * 3
    assert len(set(found["MobileNetV2"])) == len(set(found["EfficientNetB0"])) == 1
    assert found["reconciled"].splitlines()[0] == (
        "25,557,032 = 25,636,712 - 53,120 batch-norm statistics - 26,560 convolution biases"
    )
    assert found["row"] == ["Conv2D", 260, 10, 1, 24 * 24 * 250, 24 * 24 * 260]
