"""Findings: what agrees, and how figures and intervals are written."""

from dataclasses import replace
from math import inf

import pytest

from weightshare.study.evidence import Evidence, Finding, base
from weightshare.study.evidence.base import (
    Plot,
    compare_counts,
    compare_order,
    make_series,
    measure,
    measure_percent,
)


def test_a_wrong_count_does_not_agree():
    finding = compare_counts("weights", 1068, 1070)
    assert finding.to_row() == ("weights", "1,068", "1,070", "-", "does not agree", "The difference is +2.")


def test_the_interval_of_a_percentage_ends_at_0_and_100():
    assert measure("accuracy (%)", [99.0, 100.0]).interval[1] > 100
    assert measure_percent("accuracy (%)", [99.0, 100.0]).interval[1] == 100
    assert measure_percent("error (%)", [0.0, 1.0]).interval[0] == 0
    assert measure_percent("error (%)", [0.0]).interval is None


def test_no_value_is_minus_zero():
    assert measure("difference", [-0.04, -0.01], digits=1).to_row()[2] == "0.0"


@pytest.mark.parametrize(
    ("more", "less", "agrees", "note"),
    [
        ([3.0, 4.0, 5.0], [1.0, 2.1, 2.9], True, ""),
        ([1.0, 2.1, 2.9], [3.0, 4.0, 5.0], False, "The difference has the opposite sign."),
        ([1.0, 5.0, 2.0], [2.0, 1.0, 3.0], False, "No clear difference in 3 pairs."),
        ([2.0], [1.0], False, "There is no interval, so this shows nothing."),
    ],
)
def test_an_order_agrees_only_if_the_interval_excludes_zero(more, less, agrees, note):
    finding = compare_order("A minus B", "A > B", more, less)
    assert (finding.agrees, finding.note) == (agrees, note)


def test_results_in_words():
    finding = Finding("error", "5.0", 4.0)
    assert finding.result == "not compared"
    assert replace(finding, published=None).result == "-"


@pytest.mark.parametrize(
    ("is_percent", "limits", "high"), [(True, (0, 100), 100), (False, (-inf, inf), 105.85)]
)
def test_charts_of_percentages_end_at_0_and_100(monkeypatch, is_percent, limits, high):
    drawn = []
    monkeypatch.setattr(
        base, "draw_lines", lambda series, *labels, low, high, **options: drawn.append((series, low, high))
    )
    lines = (make_series("full", 0, [1], [[99.0, 100.0]]),)
    evidence = Evidence("a", "b", "c", "d", "e", 2, {}, "f", (), (Plot("g", "x", "y", lines, is_percent),))
    base.render_page([evidence])
    [([line], *ends)] = drawn
    assert tuple(ends) == limits
    assert line.high == pytest.approx([high], abs=0.01)


def test_settings_are_written_as_words():
    evidence = Evidence("a", "b", "c", "d", "e", 2, {"batch_size": 32, "sizes": (1, 2)}, "f", ())
    assert ("batch size", "32") in evidence.details
    assert ("sizes", "1, 2") in evidence.details
