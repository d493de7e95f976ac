"""Tied models of each kind, and the tables about them in docs/tying.md."""

from collections import OrderedDict
from pathlib import Path

import torch
from torch import nn

import weightshare as ws

PAGE = Path(__file__).parents[2] / "docs/tying.md"


def same():
    model = nn.Sequential(OrderedDict(enc=nn.Embedding(7, 4), dec=nn.Linear(4, 7, bias=False)))
    return ws.tie_weights(model, {"dec.weight": "enc.weight"})


def transposed():
    model = nn.Sequential(OrderedDict(enc=nn.Linear(6, 4), dec=nn.Linear(4, 6)))
    return ws.tie_weights(model, {"dec.weight": ws.Tie("enc.weight", transform="t")})


def flipped():
    layers = OrderedDict(enc=nn.Conv2d(2, 2, 3, padding=1), dec=nn.Conv2d(2, 2, 3, padding=1))
    return ws.tie_weights(nn.Sequential(layers), {"dec.weight": ws.Tie("enc.weight", transform="flip")})


def tied_linear():
    enc = nn.Linear(6, 4)
    return nn.Sequential(OrderedDict(enc=enc, dec=ws.nn.TiedLinear(enc)))


def convolution():
    enc = ws.nn.Conv2d(2, 3, 3, sharing=ws.Tiled(2), input_size=6)
    return nn.Sequential(OrderedDict(enc=enc, dec=ws.nn.TiedConvTranspose2d(enc)))


def tied_linears():
    """Return an encoder and a decoder that reads the encoder's weight transposed."""
    model = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 3))
    return ws.tie_weights(model, {"1.weight": ws.Tie("0.weight", "t")})


def language_model():
    """Return an untied language model inside a larger model."""
    body = OrderedDict(emb=nn.Embedding(10, 4), mid=nn.Linear(4, 4), head=nn.Linear(4, 10, bias=False))
    return nn.Sequential(OrderedDict(lm=nn.Sequential(body), other=nn.Linear(10, 4)))


def tied_language_model():
    return ws.tie_weights(language_model(), {"lm.head.weight": "lm.emb.weight"})


KINDS = {
    "same Parameter": same,
    "transposed reference": transposed,
    "flipped reference": flipped,
    "`TiedLinear`": tied_linear,
    "`TiedConvTranspose2d`": convolution,
}
INPUTS = {
    nn.Embedding: torch.tensor([0, 6]),
    nn.Linear: torch.ones(2, 6),
    nn.Conv2d: torch.ones(1, 2, 6, 6),
    ws.nn.Conv2d: torch.ones(1, 2, 6, 6),
}


def input_of(model):
    return INPUTS[type(model.enc)]


def table_of(name):
    """Return the rows of a table of the page, starting with its header."""
    text = PAGE.read_text().partition(f"<!-- {name} -->")[2].partition("<!-- end -->")[0].strip()
    head, _, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines()]
    return head, *rows


def cells(table):
    """Yield (row, kind, cell) for each cell of a table of the page."""
    head, *rows = table_of(table)
    assert head[1:] == list(KINDS)
    for name, *row in rows:
        yield from ((name, kind, cell) for kind, cell in zip(head[1:], row))
