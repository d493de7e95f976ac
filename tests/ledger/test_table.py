"""Printed rows add up to the unique elements at every depth, filter, folding and width."""

import re
from collections import OrderedDict

import pytest
import torch
from torch import nn

import weightshare as ws
from weightshare.errors import ArgumentError
from weightshare.ledger.tree import build_tree, iter_lines


class Block(nn.Module):
    def __init__(self, width=16):
        super().__init__()
        self.attn = nn.Sequential(OrderedDict(q=nn.Linear(width, width), k=nn.Linear(width, width)))
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.ReLU(), nn.Linear(4 * width, width))

    def forward(self, x):
        return self.mlp(self.attn(x))


class Stack(nn.Module):
    """A transformer-like stack with a tied head."""

    def __init__(self, blocks=6, experts=4):
        super().__init__()
        self.embed = nn.Embedding(100, 16)
        self.layers = nn.ModuleList([Block() for _ in range(blocks)])
        self.experts = nn.ModuleList([nn.Linear(16, 16) for _ in range(experts)])
        self.head = nn.Linear(16, 100)
        self.head.weight = self.embed.weight

    def forward(self, ids):
        x = self.embed(ids)
        for layer in (*self.layers, *self.experts):
            x = layer(x)
        return self.head(x)


BLOCK = 2 * 16 * 17 + 16 * 64 + 64 + 64 * 16 + 16


@pytest.fixture(scope="module")
def stack():
    return ws.summary(Stack(), torch.zeros(1, 8, dtype=torch.long))


def add_up(text):
    """Return the sum of the printed counts of all rows."""
    table = text.split("\n\n")[1]
    rows = [line for line in table.splitlines()[1:] if line.startswith("  ") and line[2] != " "]
    counts = [re.search(r" ([\d,]+) +\d+\.\d( |$)", line) for line in rows]
    return sum(int(count[1].replace(",", "")) for count in counts)


@pytest.mark.parametrize("with_forward", [True, False])
@pytest.mark.parametrize("width", [40, 60, 80, 118, 200])
@pytest.mark.parametrize(
    "form",
    [
        {},
        {"fold": False},
        {"depth": 0},
        {"depth": 1},
        {"depth": 2},
        {"depth": 2, "fold": False},
        {"filter": "layers.*.attn"},
        {"filter": "layers.*", "depth": 1},
        {"filter": "embed", "fold": False},
    ],
    ids=str,
)
def test_rows_add_up_and_fit(stack, form, width, with_forward):
    summary = stack if with_forward else ws.summary(Stack())
    text = summary.to_text(**form, width=width)
    assert add_up(text) == summary.totals.unique == 6 * BLOCK + 4 * 272 + 1700
    assert max(map(len, text.splitlines())) <= width
    counts = [line.split(" | ")[2] for line in summary.to_markdown(**form).splitlines()[4:] if " | " in line]
    assert sum(int(count.replace(",", "")) for count in counts) == summary.totals.unique


def test_equal_blocks_are_folded(stack):
    text = stack.to_text(width=150)
    assert f"layers.0-5: 6 x Block, {BLOCK:,} each" in text
    q, mlp, expert = (
        re.search(rf"  {name} .*", text)[0]
        for name in ("layers.0-5.attn.q", "layers.0-5.mlp.0", "experts.0-3")
    )
    assert q.split()[1:5] == ["6", "x", "Linear", f"{6 * 272:,}"]
    assert "272 each: 256 weight = 16*16; 16 bias" in q
    assert f"{6 * (16 * 64 + 64):,}" in mlp
    assert expert.split()[1:5] == ["4", "x", "Linear", "1,088"]
    assert "layers.3" in stack.to_text(fold=False)
    assert len(list(iter_lines(build_tree(stack.outline, fold=False)))) == len(stack.rows)


def test_nested_blocks_are_folded():
    layers = (nn.Sequential(OrderedDict(experts=nn.ModuleList(map(Block, [4] * 5)))) for _ in range(3))
    summary = ws.summary(nn.Sequential(*layers))
    text = str(summary)
    assert "0-2: 3 x Sequential, 940 each" in text
    assert "0-2.experts.0-4: 15 x Block, 188 each" in text
    assert re.search(r"0-2\.experts\.0-4\.attn\.q +15 x Linear +300 ", text)
    assert add_up(text) == summary.totals.unique == 3 * 940


def test_macs_of_folded_rows_add_up(stack):
    for options in ({}, {"fold": False}, {"depth": 1}, {"pattern": "layers.*.mlp"}):
        lines = list(iter_lines(build_tree(stack.outline, **options)))
        assert sum(line.macs for line in lines) == stack.totals.macs
        assert build_tree(stack.outline, **options).each == stack.totals.unique


def test_a_stack_on_the_meta_device():
    with torch.device("meta"):
        summary = ws.summary(nn.Sequential(*(nn.TransformerEncoderLayer(512, 8) for _ in range(80))))
    assert "0-79: 80 x TransformerEncoderLayer, 3,152,384 each" in str(summary)
    assert "0-79    80 x TransformerEncoderLayer  252,190,720  100.0" in summary.to_text(depth=1)


def test_a_llama():
    transformers = pytest.importorskip("transformers")
    config = transformers.LlamaConfig(
        **{"hidden_size": 8192, "intermediate_size": 28672, "num_hidden_layers": 80, "vocab_size": 128256},
        **{"num_attention_heads": 64, "num_key_value_heads": 8},
    )
    with torch.device("meta"):
        summary = ws.summary(transformers.LlamaForCausalLM(config))
    text = summary.to_text(depth=3)
    assert "model.layers.0-79" in text
    assert "80 x LlamaDecoderLayer  68,452,352,000" in text
    assert "855,654,400 each: 9 tensors in 9 modules" in text
    assert add_up(text) == add_up(str(summary)) == summary.totals.unique == 70_553_706_496


@pytest.mark.parametrize(
    "change",
    [
        lambda block: block.register_parameter("scale", nn.Parameter(torch.zeros(1))),
        lambda block: setattr(block.mlp, "0", nn.Linear(16, 64, bias=False)),
        lambda block: setattr(block, "attn", nn.Sequential(nn.Linear(16, 16), nn.Linear(16, 16))),
        lambda block: setattr(block.attn, "q", nn.utils.parametrizations.weight_norm(nn.Linear(16, 16))),
    ],
)
def test_blocks_that_differ_are_not_folded(change):
    model = Stack(blocks=7)
    change(model.layers[3])
    names = {
        line.row.name.rpartition(".mlp")[0] for line in iter_lines(build_tree(ws.summary(model).outline))
    }
    assert {"layers.0-2", "layers.3", "layers.4-6"} < names
    assert add_up(str(ws.summary(model))) == ws.summary(model).totals.unique


def test_blocks_that_share_weights_with_others_are_not_folded():
    model = Stack(blocks=6)
    model.layers[4].mlp = model.layers[2].mlp
    text = ws.summary(model).to_text(width=150)
    assert "layers.2.mlp.0" in text
    assert "is a repetition of layers.2.mlp.0.weight" in text
    assert add_up(text) == ws.summary(model).totals.unique


def test_blocks_that_share_weights_inside_are_folded():
    model = Stack(blocks=5)
    for layer in model.layers:
        layer.attn.k.weight = layer.attn.q.weight
    text = ws.summary(model).to_text(width=150)
    assert "weight is an alias of layers.0-4.attn.q.weight" in text
    assert add_up(text) == ws.summary(model).totals.unique


def test_two_equal_blocks_and_gaps_are_not_folded():
    assert "layers.0.attn.q" in ws.summary(Stack(blocks=2)).to_text()
    gaps = nn.Sequential(*(layer for _ in range(4) for layer in (nn.Linear(3, 3), nn.ReLU())))
    assert [line.row.name for line in iter_lines(build_tree(ws.summary(gaps).outline))] == [
        "0",
        "2",
        "4",
        "6",
    ]


def test_the_depth_of_a_summary():
    summary = ws.summary(Stack(), depth=1)
    assert str(summary) == summary.to_text(depth=1)
    assert summary.to_dict() == ws.summary(Stack()).to_dict()
    names = [line.split()[0] for line in str(summary).split("\n\n")[1].splitlines()[1:]]
    assert names == ["embed", "layers", "experts", "head"]


def test_sharing_with_other_rows_is_printed_for_merged_rows():
    model = nn.Sequential(OrderedDict(body=Stack(), out=nn.Linear(16, 100)))
    model.out.weight = model.body.embed.weight
    text = ws.summary(model).to_text(depth=1, width=200)
    assert "body.embed.weight also out.weight; body.head.weight is an alias of" not in text
    assert "body.embed.weight also out.weight" in text
    assert "weight is an alias of body.embed.weight" in text


def test_a_filter_keeps_the_other_modules_in_one_row(stack):
    text = stack.to_text(filter="layers.*.attn", width=150)
    assert re.search(r"\(other modules\) +[\d,]+ ", text)
    assert "layers.0-5.attn.q" in text
    assert "mlp" not in text
    everything = stack.to_text(filter="*")
    assert "(other modules)" not in everything


def test_invalid_options(stack):
    with pytest.raises(ArgumentError, match=r"filter must match .*, got 'layer\.\*'; did you mean 'layers"):
        stack.to_text(filter="layer.*")
    with pytest.raises(ArgumentError, match="depth must be at least 0, got -1"):
        stack.to_text(depth=-1)
    with pytest.raises(ArgumentError, match="width must be at least 40, got 5"):
        stack.to_text(width=5)
    with pytest.raises(ArgumentError, match="depth must be an integer, got '2'"):
        ws.summary(nn.Linear(2, 2), depth="2")


def test_long_names_are_shortened_in_the_middle():
    model = nn.Module()
    model.add_module("a_long_name_of_a_module_with_many_words_first_second_third", nn.Linear(300, 200))
    narrow = ws.summary(model).to_text(width=60)
    assert re.search(r"  a_lon\w*…\w*_second_third", narrow)
    assert "a_long_name_of_a_module_with_many_words_first_second_third" in ws.summary(model).to_text(
        width=150
    )


def test_the_width_of_the_terminal(stack, monkeypatch):
    monkeypatch.setenv("COLUMNS", "70")
    assert stack.to_text() == stack.to_text(width=70)
    monkeypatch.setenv("COLUMNS", "10")
    assert stack.to_text() == stack.to_text(width=40)


@pytest.mark.parametrize("model", [nn.ReLU(), nn.Linear(2, 2), nn.Sequential()])
@pytest.mark.parametrize("form", [{}, {"depth": 0}, {"depth": 3}])
def test_models_without_submodules(model, form):
    summary = ws.summary(model, torch.zeros(1, 2))
    assert f"unique  {summary.totals.unique}" in re.sub(" +", "  ", summary.to_text(**form))
