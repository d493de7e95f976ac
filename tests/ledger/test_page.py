"""The page of a summary: a tree of `<details>` that loads nothing, with links between shared weights."""

import re
from collections import OrderedDict
from html.parser import HTMLParser

import pytest
import torch
from torch import nn

import weightshare as ws
from weightshare.errors import ArgumentError

HOSTILE = "</code><script>alert(1)</script>\x1b[31m\u202e\"'&"


class Page(HTMLParser):
    """The elements of a page; closing tags must match."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.ids, self.links, self.text = [], [], [], [], ""
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "br", "link", "img"):
            self.open.append(tag)
        self.ids += [value for name, value in attrs if name == "id"]
        self.links += [value for name, value in attrs if name == "href"]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.text += data


def tied():
    """Return a stack of equal blocks with a tied head and a dead layer."""
    blocks = nn.Sequential(*(nn.Sequential(nn.Linear(8, 8), nn.ReLU()) for _ in range(5)))
    model = nn.Sequential(OrderedDict(embed=nn.Embedding(20, 8), body=blocks, head=nn.Linear(8, 20)))
    model.head.weight = model.embed.weight
    return model


@pytest.fixture(scope="module")
def summary():
    return ws.summary(tied(), torch.zeros(1, 4, dtype=torch.long))


def write(summary, tmp_path):
    path = tmp_path / "page.html"
    summary.to_html(path)
    return path.read_text(encoding="utf-8")


def test_the_tree(summary, tmp_path):
    page = Page(write(summary, tmp_path))
    words = " ".join(page.text.split())
    assert sum(tag == "details" for tag, _ in page.tags) == sum(tag == "summary" for tag, _ in page.tags) == 7
    assert "(model) Sequential shared 540 100.0%" in words
    assert "0-4 5 x Sequential 360 66.7%" in words
    assert "72 each; 1 call, output 1 x 4 x 8, 1,280 MACs" in words
    assert "weight 160 = 20 embeddings * 8 features shared also head.weight" in words
    assert (
        "weight 0 of 160 = 20 output features * 8 input features shared is an alias of embed.weight" in words
    )
    assert "1 shared name head.weight is an alias of embed.weight" in words
    assert "unique540distinct elements, each counted once" in words
    assert "Tying saves 160 parameters." in words


def test_links_lead_to_parameters_on_the_page(summary, tmp_path):
    page = Page(write(summary, tmp_path))
    assert len(page.links) == 4  # owner to alias, alias to owner, and both in the list of shared names
    assert len(set(page.ids)) == len(page.ids)
    assert {link[1:] for link in page.links} <= set(page.ids)
    assert all(link.startswith("#") for link in page.links)


def test_nothing_is_loaded_or_run(summary, tmp_path):
    text = write(summary, tmp_path)
    assert not {tag for tag, _ in Page(text).tags} & {"script", "link", "img", "iframe", "object", "form"}
    assert not re.search(r"url\(|@import|https?:|\bon\w+=", text)
    assert '<meta name="color-scheme" content="light dark">' in text


def test_names_are_escaped(tmp_path):
    model = nn.Module()
    model.add_module(HOSTILE, nn.Linear(2, 2))
    model.add_module("other", nn.Linear(2, 2))
    model.other.register_parameter(HOSTILE, model.get_submodule(HOSTILE).weight)
    text = write(ws.summary(model), tmp_path)
    page = Page(text)
    assert "script" not in {tag for tag, _ in page.tags}
    assert not set(text) & set("\x1b\u202e")
    assert page.text.count("</code><script>alert(1)</script>\\x1b[31m\\u202e\"'&") >= 3
    titles = [attrs["title"] for tag, attrs in page.tags if tag == "summary" and "title" in attrs]
    assert "</code><script>alert(1)</script>\\x1b[31m\\u202e\"'&" in titles


def test_the_fragment_for_notebooks(summary):
    fragment = summary._repr_html_()
    assert fragment.startswith('<div class="weightshare">')
    assert "<html" not in fragment
    assert "\\n" not in fragment
    Page(fragment)
    other = ws.summary(nn.Linear(2, 2))._repr_html_()
    assert not set(Page(fragment).ids) & set(Page(other).ids)  # two summaries in one notebook


def test_notes_are_on_the_page(tmp_path):
    model = nn.Sequential(nn.Linear(3, 3))
    model.register_module("unused", nn.Linear(2, 2))
    model.forward = lambda x: model[0](x)
    text = write(ws.summary(model, torch.zeros(1, 3)), tmp_path)
    assert "DEAD_PARAM: unused.weight, unused.bias: not read" in text
    assert re.search(r'<span class="mark">dead</span>', text)


def test_large_trees_are_collapsed(tmp_path):
    model = nn.Sequential(*(nn.Linear(n, n) for n in range(1, 60)))
    page = Page(write(ws.summary(model), tmp_path))
    opened = [attrs for tag, attrs in page.tags if tag == "details" and "open" in attrs]
    assert len(opened) == 1


def test_a_file_that_cannot_be_written(summary, tmp_path):
    with pytest.raises(ArgumentError, match="path must be a writable file"):
        summary.to_html(tmp_path / "absent" / "page.html")
    with pytest.raises(ArgumentError, match="path must be text or a"):
        summary.to_html(5)


def test_pages_of_explanations_keep_their_lines(tmp_path):
    path = tmp_path / "page.html"
    ws.explain("Linear(3, 4)").to_html(path)
    text = path.read_text(encoding="utf-8")
    assert "\\n" not in text
    Page(text)
