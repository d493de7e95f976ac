"""transformers and accelerate read the files that are written here, and their files load here."""

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_model

import weightshare as ws
from weightshare.errors import DataError, TieError
from weightshare.models.weights import load_weights

transformers = pytest.importorskip("transformers")
accelerate = pytest.importorskip("accelerate")

SIZES = {"vocab_size": 31, "hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2}
#: Names of classes of models and configurations, with small sizes.
MODELS = {
    "GPT2LMHeadModel": (
        "GPT2Config",
        {"vocab_size": 31, "n_positions": 16, "n_embd": 8, "n_layer": 2, "n_head": 2},
    ),
    "BertForMaskedLM": ("BertConfig", SIZES | {"intermediate_size": 16, "max_position_embeddings": 16}),
    "LlamaForCausalLM": ("LlamaConfig", SIZES | {"intermediate_size": 16, "tie_word_embeddings": True}),
    "T5ForConditionalGeneration": (
        "T5Config",
        {"vocab_size": 31, "d_model": 8, "d_kv": 4, "d_ff": 16, "num_layers": 1, "num_heads": 2},
    ),
}


def make(kind):
    config, sizes = MODELS[kind]
    return getattr(transformers, kind)(getattr(transformers, config)(**sizes))


def make_source(kind):
    torch.manual_seed(0)
    model = make(kind)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_()
    return model


def assert_same(model, other):
    state, expected = model.state_dict(), other.state_dict()
    assert state.keys() == expected.keys()
    assert all(torch.equal(value, expected[name]) for name, value in state.items())


def list_names(path):
    with safe_open(path, "pt") as file:
        return set(file.keys())


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", MODELS)
def test_transformers(kind, tmp_path):
    source, path = make_source(kind), tmp_path / "model.safetensors"
    source.save_pretrained(tmp_path)
    names = list_names(path)
    assert names < source.state_dict().keys()  # one end of each tie
    for load in (ws.load_safetensors, load_weights):
        for file in (tmp_path, path):
            load(model := make(kind), file)
            assert_same(model, source)
    ws.save_safetensors(source, path)
    assert list_names(path) == names
    model, report = type(source).from_pretrained(tmp_path, output_loading_info=True)
    assert_same(model, source)
    assert not any(report.values())
    load_model(model := make(kind), path)
    assert_same(model, source)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", MODELS)
def test_shards_of_transformers(kind, tmp_path):
    source = make_source(kind)
    source.save_pretrained(tmp_path, max_shard_size="1KB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 2
    for load in (ws.load_safetensors, load_weights):
        for path in (tmp_path, tmp_path / "model.safetensors.index.json"):
            load(model := make(kind), path)
            assert_same(model, source)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", MODELS)
def test_accelerate(kind, tmp_path):
    source = make_source(kind)
    accelerate.Accelerator(cpu=True).save_model(source, tmp_path / "theirs", max_shard_size="2KB")
    load_weights(model := make(kind), tmp_path / "theirs")
    assert_same(model, source)
    ws.save_safetensors(source, tmp_path / "ours.safetensors")
    accelerate.load_checkpoint_in_model(model := make(kind), str(tmp_path / "ours.safetensors"))
    assert_same(model, source)


@pytest.mark.parametrize("alias_first", [False, True])
def test_accelerate_with_declared_ties(alias_first, tmp_path):
    """torch.distributed.checkpoint adds the old value of the end that the file lacks."""

    def tied():
        layers = {"emb": torch.nn.Embedding(9, 4), "head": torch.nn.Linear(4, 9, bias=False)}
        ends = ("emb.weight", "head.weight") if alias_first else ("head.weight", "emb.weight")
        return ws.tie_weights(torch.nn.ModuleDict(layers), dict([ends]))

    source, model = tied(), tied()
    ws.save_safetensors(source, tmp_path / "model.safetensors")
    accelerate.load_checkpoint_in_model(model, str(tmp_path / "model.safetensors"))
    assert_same(model, source)
    assert ws.check_tied_weights(model).ok


@pytest.mark.filterwarnings("ignore")
def test_a_checkpoint_with_two_ends_that_differ(tmp_path):
    """transformers writes both ends if the configuration says that they are not tied."""
    config, sizes = MODELS["LlamaForCausalLM"]
    untied = transformers.LlamaForCausalLM(
        getattr(transformers, config)(**sizes | {"tie_word_embeddings": False})
    )
    untied.save_pretrained(tmp_path)
    message = "lm_head.weight and model.embed_tokens.weight must have equal values"
    with pytest.raises(TieError, match=message):
        ws.load_safetensors(model := make("LlamaForCausalLM"), tmp_path)
    ws.load_safetensors(model, tmp_path, on_conflict="source")
    assert torch.equal(model.lm_head.weight, untied.model.embed_tokens.weight)


@pytest.mark.filterwarnings("ignore")
def test_a_checkpoint_without_its_head(tmp_path):
    """The files of GPT-2 have names without the name of the part; those of BERT have more parts."""
    source, model = make_source("GPT2LMHeadModel"), make("GPT2LMHeadModel")
    ws.save_safetensors(source.transformer, tmp_path / "model.safetensors")
    ws.load_safetensors(model, tmp_path / "model.safetensors")
    assert_same(model, source)
    source = make_source("BertForMaskedLM")
    ws.save_safetensors(source, tmp_path / "bert.safetensors")
    with pytest.raises(
        DataError,
        match=r"this model is the part 'bert' of the checkpoint: keep only those names, without 'bert\.'",
    ):
        ws.load_safetensors(model := make("BertForMaskedLM").bert, tmp_path / "bert.safetensors")
    names = {name: value for name, value in source.state_dict().items() if name.startswith("bert.")}
    ws.tying.load_state_dict(model, names)
    assert_same(model, source.bert)
