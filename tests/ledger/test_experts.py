"""A mixture of experts reports the parameters that each token uses, however its experts are computed."""

import pytest
import torch
import transformers
from torch import nn

import weightshare as ws

EXPERT = 8 * 16 + 16 + 16 * 8 + 8
ROUTER = 8 * 4 + 4


class Experts(nn.Module):
    """Four experts, of which `route` chooses two per token."""

    def __init__(self, route="topk", run="chosen", count=4, chosen=2):
        super().__init__()
        self.route, self.run, self.chosen = route, run, chosen
        self.router = nn.Linear(8, count)
        self.experts = nn.ModuleList(
            [nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 8)) for _ in range(count)]
        )

    def choose(self, scores):
        if self.route == "sort":
            return scores.argsort(descending=True)[:, : self.chosen]
        if self.route == "argmax":
            first = scores.argmax(-1, keepdim=True)
            return torch.cat([first, scores.scatter(1, first, -1).argmax(-1, keepdim=True)], 1)
        return scores.topk(self.chosen).indices

    def forward(self, x):
        x = x.flatten(0, -2)
        scores = self.router(x).softmax(-1)
        if self.route == "threshold":
            used = scores > 0.2
        else:
            used = torch.zeros_like(scores).scatter(1, self.choose(scores), 1).bool()
        if self.run == "all":
            return sum(expert(x) * mask[:, None] for expert, mask in zip(self.experts, used.t()))
        out = torch.zeros_like(x)
        for expert, mask in zip(self.experts, used.t()):
            if mask.any():
                out[mask] += expert(x[mask])
        return out


class Stacked(nn.Module):
    """Four experts in one parameter per layer, of which two are chosen per token."""

    def __init__(self, run):
        super().__init__()
        self.run = run
        self.router = nn.Parameter(torch.randn(4, 8))
        self.up, self.bias = nn.Parameter(torch.randn(4, 8, 16)), nn.Parameter(torch.randn(4, 16))
        self.down = nn.Parameter(torch.randn(4, 16, 8))

    def forward(self, x):
        x = x.flatten(0, -2)
        chosen = (x @ self.router.t()).topk(2).indices
        if self.run == "indexed":
            hidden = torch.einsum("td,tkdf->tkf", x, self.up[chosen]) + self.bias[chosen]
            return torch.einsum("tkf,tkfd->td", hidden.relu(), self.down[chosen])
        used = torch.zeros(len(x), 4).scatter(1, chosen, 1).t()
        if self.run == "batched":
            hidden = torch.baddbmm(self.bias[:, None], x.expand(4, *x.shape), self.up).relu()
            return (hidden @ self.down * used[..., None]).sum(0)
        if self.run == "grouped":
            order = chosen.flatten().argsort()
            ends = chosen.flatten().bincount(minlength=4).cumsum(0).int()
            hidden = torch._grouped_mm(x[order // 2].bfloat16(), self.up.bfloat16(), ends).float()
            hidden = hidden + self.bias[chosen.flatten()[order]]
            return torch._grouped_mm(hidden.relu().bfloat16(), self.down.bfloat16(), ends)
        out = torch.zeros_like(x)
        for i, mask in enumerate(used.bool()):
            out[mask] += torch.addmm(self.bias[i], x[mask], self.up[i]).relu() @ self.down[i]
        return out


def summarize(model, *shape):
    torch.manual_seed(0)
    return ws.summary(model, torch.randn(*shape))


@pytest.mark.parametrize("run", ["chosen", "all"])
@pytest.mark.parametrize("route", ["topk", "sort", "argmax"])
def test_experts_in_modules(route, run):
    answer = summarize(nn.Sequential(nn.Linear(8, 8), Experts(route, run)), 2, 5, 8)
    assert answer.totals.unique == 72 + ROUTER + 4 * EXPERT
    (note,) = answer.warnings
    assert (note.code, note.names) == ("EXPERTS", ("1",))
    if run == "all" and route != "topk":  # nothing shows how many of the experts count
        assert answer.totals.active is None
        assert note.text == "1: 4 experts; it is not known how many of them each token uses"
        return
    assert answer.totals.active == 72 + ROUTER + 2 * EXPERT
    assert note.text == "1: 4 experts, of which each token uses 2"


def test_weights_that_experts_share_are_active():
    model = Experts("topk", "chosen")
    for expert in model.experts[1:]:
        expert[0].weight = model.experts[0][0].weight
    answer = summarize(model, 10, 8)
    shared = model.experts[0][0].weight.numel()
    assert answer.totals.unique == ROUTER + 4 * (EXPERT - shared) + shared
    assert answer.totals.active == ROUTER + 2 * (EXPERT - shared) + shared


@pytest.mark.parametrize("run", ["indexed", "batched", "grouped", "sliced"])
def test_experts_in_stacked_parameters(run):
    answer = summarize(Stacked(run), 2, 5, 8)
    assert answer.totals.unique == 32 + 4 * (128 + 16 + 128)
    assert answer.totals.active == 32 + 2 * (128 + 16 + 128)
    products = (4 if run == "batched" else 2) * 10 * 256
    assert answer.totals.macs == 10 * 32 + products


def test_a_number_of_experts_that_depends_on_the_scores_is_not_known():
    answer = summarize(Experts("threshold"), 1, 1, 8)
    assert answer.totals.active is None
    assert [note.code for note in answer.warnings] == ["EXPERTS"]


def test_experts_that_no_token_uses_are_not_dead():
    answer = summarize(Experts(count=16, chosen=1), 1, 1, 8)
    assert answer.totals.active == 8 * 16 + 16 + EXPERT
    assert answer.totals.dead == 0
    assert {row.parts[0].kind for row in answer.rows} == {"owned"}


def test_experts_that_are_called_twice():
    layer = Experts()
    answer = summarize(nn.Sequential(layer, layer), 2, 5, 8)
    assert answer.totals.active == ROUTER + 2 * EXPERT


class Stack(nn.Module):
    """Ten layers of equal size, and a choice among ten classes."""

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(10, 10) for _ in range(10))

    def forward(self, x):
        for layer in self.layers:
            x = layer(x)
        return x.argmax(-1), x.topk(3)


class TopAttention(nn.Module):
    """Attention to the two tokens with the largest scores."""

    def __init__(self):
        super().__init__()
        self.query = nn.Linear(8, 8)

    def forward(self, x):
        scores = self.query(x) @ x.transpose(1, 2)
        values, indices = scores.topk(2)
        return torch.zeros_like(scores).scatter(-1, indices, values.softmax(-1)) @ x


@pytest.mark.parametrize(
    ("model", "shape"),
    [(Stack(), (3, 10)), (nn.Sequential(*(TopAttention() for _ in range(5))), (2, 5, 8))],
)
def test_other_choices_are_not_mixtures_of_experts(model, shape):
    answer = summarize(model, *shape)
    assert answer.totals.active is None
    assert answer.warnings == ()


#: Model, configuration, unique elements, and those that a token uses.
PUBLISHED = {
    "Mixtral 8x7B": ("Mixtral", {}, 46_702_792_704, 12_879_925_248),
    "DeepSeek-V3": ("DeepseekV3", {}, 671_026_404_352, 37_552_282_624),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_models(name):
    prefix, arguments, unique, active = PUBLISHED[name]
    model_class = getattr(transformers, f"{prefix}ForCausalLM")
    with torch.device("meta"):
        model = model_class(model_class.config_class(**arguments)).to(torch.bfloat16)
    answer = ws.summary(model, torch.zeros(1, 8, dtype=torch.long, device="meta"))
    assert (answer.totals.unique, answer.totals.active) == (unique, active)
    assert [note.code for note in answer.warnings] == ["EXPERTS"]
