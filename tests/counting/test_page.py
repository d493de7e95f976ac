"""The HTML page is complete, escaped and self-contained, and is written as a whole or not at all."""

import json
import os
import re
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser

import pytest

from weightshare import explain
from weightshare.errors import ArgumentError


class Reader(HTMLParser):
    def __init__(self):
        super().__init__()
        self.open, self.words, self.links = [], [], []

    def handle_starttag(self, tag, attrs):
        self.links += [value for name, value in attrs if name in ("src", "href")]
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


def read(html):
    reader = Reader()
    reader.feed(html)
    assert reader.open == []
    assert reader.links == []
    return " ".join(reader.words)


@pytest.mark.parametrize(
    ("spec", "size"),
    [
        ("Conv2d(3, 96, 11, stride=4)", 227),
        ("Conv2d(1, 1, 3)", None),
        ("Linear(3, 4)", None),
        ("ConvTranspose1d(2, 4, 3, sharing='local')", 9),
        ("Conv3d(2, 4, 3, padding=1, sharing='lowrank:2', groups=2)", 9),
    ],
)
def test_the_page_is_complete_and_loads_nothing(spec, size, tmp_path):
    answer = explain(spec, size)
    answer.to_html(tmp_path / "page.html")
    words = read((tmp_path / "page.html").read_text(encoding="utf-8"))
    assert f"{answer.parameters:,}" in words
    assert str(answer.layer) in words
    frame = answer._repr_html_()
    page = unescape(re.search('srcdoc="([^"]*)"', frame).group(1)) if frame.startswith("<iframe") else frame
    assert frame.startswith("<iframe") == (size is not None)
    assert f"{answer.parameters:,}" in read(page)
    assert os.listdir(tmp_path) == ["page.html"]


@pytest.mark.parametrize("size", [None, 9])
def test_text_from_outside_is_escaped(size, tmp_path):
    answer = replace(explain("Conv2d(1, 1, 3)", size), notes=("<script>alert(1)</script>",))
    answer.to_html(tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    for html in (page, answer._repr_html_()):
        assert "<script>alert" not in html
    assert "&lt;script&gt;alert" in page


def test_an_existing_file_is_unchanged_if_writing_fails(tmp_path):
    answer = explain("Conv2d(1, 1, 3)")
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("before")
    for path in (
        tmp_path / "folder",
        tmp_path / "none" / "x",
        tmp_path / "file" / "x",
        "a\0b",
        tmp_path / ("x" * 300),
    ):
        with pytest.raises(ArgumentError, match="path must be a writable file"):
            answer.to_html(path)
    assert sorted(os.listdir(tmp_path)) == ["file", "folder"]
    answer.to_html(tmp_path / "file")
    assert (tmp_path / "file").read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    with pytest.raises(ArgumentError, match="not a regular file"):
        answer.to_html(os.devnull)


@pytest.mark.parametrize(
    ("spec", "size"),
    [
        ("Linear(3, 4)", 3),
        ("Conv2d(1, 1, 3)", None),
        ("Conv2d(1, 1, 3)", 200_000),
        ("Conv2d(9000, 9000, 3)", 99_999),  # the dense count is not exact in JavaScript
    ],
)
def test_what_cannot_be_drawn_is_text(spec, size, tmp_path):
    answer = explain(spec, size)
    answer.to_html(tmp_path / "page.html")
    assert "explorer" not in (tmp_path / "page.html").read_text(encoding="utf-8")
    with pytest.raises(ArgumentError, match="the layer must be a small enough convolution"):
        answer.to_widget()


def test_json_is_the_counts():
    answer = explain("Conv2d(3, 8, 3, sharing='tiled:2')", 9)
    assert json.loads(answer.to_json()) == answer.counts == answer.to_dict()
