"""Pictures of patterns show the weight of each connection."""

import pytest
import torch

import weightshare as ws
from weightshare import Pattern
from weightshare.errors import PatternError


def find_letters(figure):
    return [text.get_text() for text in figure.axes[0].texts]


@pytest.mark.parametrize(
    "pattern",
    [
        Pattern.of(torch.nn.Conv1d(1, 1, 3, padding=1), 6),
        Pattern.of(ws.nn.Conv1d(2, 2, 3, padding=1, sharing=ws.Tiled(2), input_size=4)),
        Pattern([(0, 0, 0), (0, 0, 1), (1, 1, 0)], 2, 3, n_weights=2),
    ],
)
def test_the_letters_are_those_of_the_drawing(pattern):
    assert find_letters(pattern.plot()) == [c for c in pattern.draw().split() if c != "."]


def test_the_picture_has_the_counts_and_the_names_of_the_axes():
    axes = Pattern.of(torch.nn.Conv1d(1, 1, 3, padding=1), 20).plot().axes[0]
    assert (
        axes.get_title().replace("\n", " ") == "20 inputs, 20 outputs: 58 connections with 3 weights, 1 bias"
    )
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("inputs", "outputs")


def test_lines_separate_the_channels():
    dots, *lines = Pattern([(0, 0, 0)], (3, 2), (2, 4)).plot().axes[0].lines
    assert len(dots.get_xdata()) == 6 * 8 - 1
    assert [line.get_ydata()[0] for line in lines[:2]] == [2, 4]
    assert [line.get_xdata()[0] for line in lines[2:]] == [4]


def test_with_more_weights_than_letters_colors_remain():
    figure = Pattern.of(torch.nn.Linear(10, 8)).plot()
    assert find_letters(figure) == []
    assert len(figure.axes[0].collections[0].get_facecolors()) == 80


def test_unused_weights_need_no_memory():
    assert find_letters(Pattern([(0, 0, 10**7)], 2, 2).plot()) == []


def test_pairs_without_connection_are_transparent():
    image = Pattern.of(torch.nn.Conv1d(1, 1, 3, padding=1), 100).plot().axes[0].images[0].get_array()
    assert (image[..., 3] > 0).sum() == 298


def test_a_pattern_without_connections_can_be_drawn():
    assert find_letters(Pattern([], 2, 2).plot()) == []


def test_a_note_is_part_of_the_title():
    layer = ws.nn.Conv1d(1, 1, 3, sharing=ws.LowRank(1), input_size=8)
    assert "(" in Pattern.of(layer).plot().axes[0].get_title()


def test_large_patterns_are_refused():
    expected = (
        r"^Pattern\.plot: the pattern must have at most 512 inputs and outputs, "
        r"got 900 inputs and 784 outputs; plot the pattern of a smaller input or of fewer channels\.$"
    )
    with pytest.raises(PatternError, match=expected):
        Pattern.of(torch.nn.Conv2d(1, 1, 3), 30).plot()
